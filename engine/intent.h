/*
 * Intents: what is being done to a name on disk, written down before it is.
 *
 * A record in the index (index_put_intent()); after a crash pull_recover.c
 * tells from it and from what is on disk how far things went.
 * RELIABILITY.md 5.1; docs/formats.md.
 */
#ifndef HOLDFAST_ENGINE_INTENT_H
#define HOLDFAST_ENGINE_INTENT_H

#include <stdbool.h>

#include "blockproto/version.h"
#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/identity.h"

enum intent_kind {
	INTENT_FILE = 1, /* temp goes to path */
	INTENT_LINK = 2,
	INTENT_REMOVE = 3, /* path goes to temp */
	INTENT_MOVE = 4,   /* from goes to path */
	INTENT_MOVE_DIR = 5,
	INTENT_REVERT = 6, /* as REMOVE; the row forgets it */
	INTENT_MAKE_DIR = 7,
	INTENT_META = 8,  /* permissions and time of what is at path */
	INTENT_RMDIR = 9, /* the directory at path goes */
};

struct intent { /* a value that borrows */
	enum intent_kind kind;
	bool replace; /* REMOVE: only to make way */
	struct slice path;
	struct slice from;
	struct slice temp;
	struct slice keep;      /* name for what was at `path`; empty: none */
	struct identity base;   /* was at `path`; of moves: at `from` */
	struct identity staged; /* the sealed temp; META: as it shall be */
	bool had;               /* the index had a version at `path` ... */
	struct version before;  /* ... this: an intent is of use only then */
	struct version target;  /* what `path` becomes */
	struct version gone;    /* of moves: what `from` becomes */
};

/* Puts the record behind what is in `out`. */
void intent_encode(const struct intent *in, struct buf *out);
/* False when it is none of ours: damaged, or of a later version.  Borrows
 * `record`; versions live in `arena`. */
bool intent_decode(struct slice record, struct intent *out,
    struct arena *arena);

#endif
