/*
 * Ignore rules: .stignore with the whole of Syncthing's semantics.
 *
 * First match decides; no match means not ignored.  BEP-FACTS.md 9.2 has the
 * rules and a table of examples.  Pure: files named by #include are asked for
 * and added by the caller.  Matching is linear in pattern and path: no pattern
 * can make it exponential.
 */
#ifndef HOLDFAST_ENGINE_IGNORE_H
#define HOLDFAST_ENGINE_IGNORE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

struct ignore; /* opaque */

struct ignore_match {
	bool ignored;
	bool deletable;    /* (?d): may be removed with its directory */
	struct slice file; /* of the rule that hit; empty when none did */
	uint32_t line;     /* from 1 */
	struct slice rule; /* as written */
};

/* No rules at all: nothing but internal and temp names is ignored. */
struct ignore *ignore_new(void);
void ignore_free(struct ignore *ig); /* accepts NULL */
/*
 * Parse the root file (".stignore").  ERR_INVALID with file, line and what is
 * wrong: then the set is unusable and the folder must stop.  Files it includes
 * are then asked for by ignore_wanted().
 */
int ignore_parse(struct ignore *ig, struct slice text, struct err *err);
/* A file still to be read (path relative to the root); false: complete. */
bool ignore_wanted(const struct ignore *ig, struct slice *path);
/* Its text, for the path ignore_wanted() gave. */
int ignore_add(struct ignore *ig, struct slice path, struct slice text,
    struct err *err);
/* Is `path` ignored?  Internal names are (with no rule named). */
struct ignore_match ignore_test(const struct ignore *ig, struct slice path);
/* The rules in the order in which they are asked, from 0; ignore_count(). */
struct ignore_match ignore_rule(const struct ignore *ig, uint32_t i);
/* May an ignored directory be skipped, or can an earlier `!` rule match below
 * it? */
bool ignore_can_skip(const struct ignore *ig, struct slice dir);
/* A hash of the rules: changes when they do. */
uint64_t ignore_digest(const struct ignore *ig);
uint32_t ignore_count(const struct ignore *ig);
/* Do the rules stand in `path`, in a file below it, or in one they still
 * wait for?  Then a change of it may change them. */
bool ignore_is_source(const struct ignore *ig, struct slice path);

#endif
