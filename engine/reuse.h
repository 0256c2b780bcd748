/*
 * Reusing: bytes of a new file that are on this disk already.
 *
 * Private to the pull.  Places are taken from the index, and verified by the
 * disk when they are copied: a wrong one costs a request, never a wrong byte.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_REUSE_H
#define HOLDFAST_ENGINE_REUSE_H

#include "engine/fetch.h"

struct reuse_place {
	struct slice path; /* lives in the arena; empty: the item's temp */
	struct identity want;
	int64_t offset;
};

/* Where on this disk is block `no` of the item's file?  False: nowhere. */
bool reuse_find(struct item *it, uint32_t no, struct reuse_place *out,
    struct arena *arena);

/*
 * Between two Holdfast nodes, blocks that are nowhere on this disk need not be
 * fetched whole: compare chunk maps (chunkmap.h) of the runs of such blocks
 * with our older version's, copy what is common, and ask for the rest in free
 * ranges.  Such a block is BLOCK_PIECES until all its ranges are there, then
 * BLOCK_STAGED until it is verified; one that does not fit is fetched whole.
 * All others are copied meanwhile.
 */
void reuse_start(struct item *it);
/* Ask for the next range, if there is one: FETCH_ENOUGH when not. */
enum fetch_result reuse_step(struct item *it);
void reuse_range_came(struct item *it);
void reuse_range_failed(struct item *it);
void reuse_stop(struct item *it); /* take back what was asked */
void reuse_free(struct item *it);

#endif
