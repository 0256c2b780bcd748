/*
 * What compress.c asks of the two doors; inside blockproto/ only.
 */
#ifndef HOLDFAST_BLOCKPROTO_COMPRESS_CODEC_H
#define HOLDFAST_BLOCKPROTO_COMPRESS_CODEC_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

/*
 * Append exactly `len` bytes that `in` (behind the length) decompresses to.
 * ERR_PROTOCOL when it does not; `out` may then have a rest of it.  `len` has
 * met its limit, but not yet memory: what `in` cannot hold is refused first.
 */
int compress_lz4_undo(struct slice in, size_t len, struct buf *out,
    struct err *err);
int compress_zstd_undo(struct slice in, size_t len, struct buf *out,
    struct err *err);
/* The most bytes a compressed form may have to be worth sending. */
static inline size_t
compress_worth(size_t len)
{
	return len - len / 32 - (len % 32 > 0 ? 1 : 0);
}

#endif
