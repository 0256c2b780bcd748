/*
 * Reusing: bytes of a new file that are on this disk already.
 *
 * Private to the pull.  Places are taken from the index, and verified by the
 * disk when they are copied: a wrong one costs a request, never a wrong byte.
 */
#ifndef HOLDFAST_ENGINE_REUSE_H
#define HOLDFAST_ENGINE_REUSE_H

#include "engine/fetch.h"

struct reuse_place {
	struct slice path; /* lives in the arena */
	struct identity want;
	int64_t offset;
};

/* Where on this disk is block `no` of the item's file?  False: nowhere. */
bool reuse_find(struct item *it, uint32_t no, struct reuse_place *out,
    struct arena *arena);

/*
 * Shifted data, between two Holdfast nodes: when few blocks of our older
 * version are in the new one, compare chunk maps (chunkmap.h), copy what is
 * common wherever it stands, and ask for the rest in free ranges.  All of it
 * is checked block by block afterwards.
 */
void reuse_start(struct item *it);
/* Do the ranges go first?  Then reuse_step() asks for the next of them. */
bool reuse_is_busy(const struct item *it);
enum fetch_result reuse_step(struct item *it);
void reuse_range_came(struct item *it);
void reuse_range_failed(struct item *it);
void reuse_stop(struct item *it); /* take back what was asked */
void reuse_free(struct item *it);

#endif
