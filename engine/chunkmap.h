/*
 * Chunk maps: content-defined chunks, so that shifted data is found again.
 *
 * FastCDC with a gear table: chunks of 16 KiB to 256 KiB, about 64 KiB on
 * average, cut where the content says, so an insertion moves only the cuts
 * near it.  Only between two Holdfast nodes (FEATURE_CHUNKS).  Pure.
 */
#ifndef HOLDFAST_ENGINE_CHUNKMAP_H
#define HOLDFAST_ENGINE_CHUNKMAP_H

#include <stdint.h>

#include "blockproto/message.h"
#include "engine/base/arena.h"
#include "engine/base/slice.h"

#define CHUNKMAP_MIN (16 * KIB)
#define CHUNKMAP_MAX (256 * KIB)

/* Cutting a stream: feed bytes, take cut positions. */
struct chunkmap_cutter {
	uint64_t gear;
	uint64_t in_chunk; /* bytes of the chunk in work so far */
};

void chunkmap_cutter_init(struct chunkmap_cutter *c);
/*
 * How many of `data` belong to the chunk in work; *cut says whether the chunk
 * ends there.  Call again with the rest.
 */
size_t chunkmap_cut(struct chunkmap_cutter *c, struct slice data, bool *cut);

/* A file's chunks, or those of some ranges of it, and where each begins. */
struct chunkmap {
	const struct chunk *chunk; /* borrows */
	const int64_t *at;         /* lives in the arena */
	uint32_t count;
};
/*
 * The map of these ranges.  False when it is another's: its chunks must fill
 * each range exactly, and none may be empty or larger than CHUNKMAP_MAX.
 */
bool chunkmap_place(struct chunkmap *out, const struct chunk *chunk,
    uint32_t count, const struct chunk_range *range, uint32_t range_count,
    struct arena *arena);

/* A piece of the new file: from our old file, or to be asked for. */
struct chunkmap_range {
	int64_t offset; /* in the new file */
	int64_t len;
	int64_t from; /* in the old file; -1: must be fetched */
};
/*
 * What of the new map is in the old one: pieces in order, neighbours of one
 * kind joined, fetched ones cut at `fetch_max` bytes.  Together they are what
 * the new map is of.  Hashes are short: every block is verified afterwards.
 */
uint32_t chunkmap_match(const struct chunkmap *old, const struct chunkmap *new_,
    uint32_t fetch_max, struct chunkmap_range **out, struct arena *arena);

#endif
