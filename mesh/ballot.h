/*
 * Entries of a membership log that want more owners' signatures than they have.
 *
 * Where k of n owners must sign, one signs and the others hear of it, each on
 * its own device; whoever adds the last signature has an entry, and puts it on
 * the log.  Until then it counts for nothing.
 *
 * An entry names the one before it, so when the log moves on, what waits has to
 * be written anew after its new end: everybody does so with what he has signed
 * himself, in the same way, so that the signatures come together again.  What
 * such entries have in common is the *wish*: the digest of all that they say
 * but their place.  A wish is over when the log has it, when a person here
 * denied it, after BALLOT_KEEP_S, and, being about owners, when these changed.
 *
 * Pure.  Thread: any; one at a time.
 */
#ifndef HOLDFAST_MESH_BALLOT_H
#define HOLDFAST_MESH_BALLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/members.h"
#include "mesh/members_entry.h"
#include "mesh/sign.h"

#define BALLOT_MAX 64u
#define BALLOT_KEEP_S INT64_C(604800) /* a week after it was first signed */

/* Opaque. */
struct ballot;

struct ballot_item {
	struct slice bytes; /* with the good signatures there are */
	struct members_entry e;
	struct digest wish;
	uint32_t good; /* signatures of who are owners now */
};

enum ballot_verdict {
	BALLOT_NEW,
	BALLOT_MORE,    /* it has more signatures now */
	BALLOT_KNOWN,   /* nothing new, or denied here */
	BALLOT_STALE,   /* it follows another end of the log than ours */
	BALLOT_INVALID, /* err says why */
};

struct ballot *ballot_new(void);
void ballot_free(struct ballot *b); /* accepts NULL */

/*
 * Somebody has signed this.  `kept`: we had it in an earlier run, so it may
 * follow an older end of the log, until ballot_follow().
 */
enum ballot_verdict ballot_take(struct ballot *b, const struct members *ms,
    struct slice bytes, bool kept, int64_t now_s, struct err *err);
/* In the order they came; NULL past the end.  Borrowed until a change. */
const struct ballot_item *ballot_at(const struct ballot *b, size_t i);
/* By what its wish begins with, as hexadecimal digits, four at least; NULL. */
const struct ballot_item *ballot_find(const struct ballot *b,
    struct slice text);
/* Has it all it needs? */
bool ballot_is_full(const struct ballot_item *it, const struct members *ms);
/* One more signature; false: there is no such wish. */
bool ballot_sign(struct ballot *b, const struct members *ms,
    const struct digest *wish, const struct sign_secret *key);
/* A person here does not want it; it will not come back. */
void ballot_deny(struct ballot *b, const struct digest *wish);
/* What was denied, for who keeps it; NULL past the end. */
const struct digest *ballot_denied(const struct ballot *b, size_t i);
/*
 * The log moved, or time passed: what is over goes, and what `key` (NULL: we
 * have none) signed is put after the new end.  Did anything change?
 */
bool ballot_follow(struct ballot *b, const struct members *ms,
    const struct sign_secret *key, int64_t now_s);

#endif
