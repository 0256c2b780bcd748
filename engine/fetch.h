/*
 * Fetching: which block of which file from where, and when.
 *
 * Private to the pull.  Each file that loads stands in one ring; whoever is at
 * its head asks for one block and goes to its end, so that small files do not
 * wait behind a huge one.  A block comes from this disk where it is (reuse.h),
 * else from the holder of whom least is being asked.  BEP-FACTS.md 7.1, 7.2.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_FETCH_H
#define HOLDFAST_ENGINE_FETCH_H

#include "engine/pull_state.h"

/* Begin loading `it`; it ends in pull_item_loaded() or pull_item_fail(). */
void fetch_start(struct item *it);
/* Ask for whatever may be asked for now. */
void fetch_pump(struct pull *pl);
/* Take back what was asked for it; its temp stays. */
void fetch_stop(struct item *it);
void fetch_unlist(struct item *it);
/* Remember its temp, if there is one, for the next try. */
void fetch_keep_temp(struct item *it);
/* It may want more now. */
void fetch_hungry(struct item *it);

enum fetch_result {
	FETCH_DID,     /* asked for something */
	FETCH_NO_ROOM, /* wants more, nobody has room now */
	FETCH_ENOUGH,  /* until an answer comes */
	FETCH_ENDED,   /* the item failed */
};

/* For reuse.c: a wanted range that is not one block, asked of a holder. */
enum fetch_result fetch_range(struct item *it, int64_t offset, uint32_t len);

#endif
