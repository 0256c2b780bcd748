/*
 * Compression of single messages.  BEP-FACTS.md 4.1.
 *
 * LZ4: u32be uncompressed length, then one raw LZ4 block.  zstd (between
 * Holdfast nodes only): the same four bytes, then one zstd frame.  Any thread.
 */
#ifndef HOLDFAST_BLOCKPROTO_COMPRESS_H
#define HOLDFAST_BLOCKPROTO_COMPRESS_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

enum compress_kind {
	COMPRESS_NONE = 0,
	COMPRESS_LZ4 = 1,
	COMPRESS_ZSTD = 2, /* never to a peer that did not announce it */
};

/*
 * Append the compressed form of `in` to `out`; 0, or ERR_LIMIT (and `out` as
 * it was) when it would not save at least one part in 32: send it plain.
 */
int compress_lz4(struct slice in, struct buf *out);
int compress_zstd(struct slice in, struct buf *out);
/*
 * Append the decompressed form; the declared length meets `max` before any
 * allocation.  ERR_PROTOCOL when it does not decompress to it.
 */
int compress_undo(enum compress_kind kind, struct slice in, size_t max,
    struct buf *out, struct err *err);

#endif
