/*
 * zstd frames, between Holdfast nodes only.  See compress.h.
 */
#include "blockproto/compress.h"

#include <zstd.h>

#include "blockproto/compress_codec.h"

#define ZSTD_PREFIX_LEN 4u
/* Faster than the network it saves, and much smaller than LZ4 makes it. */
#define ZSTD_LEVEL 1
/* A block of at most 128 KiB takes at least this; more is no real frame. */
#define ZSTD_BLOCK_LEN_MAX (128u * 1024u)
#define ZSTD_BLOCK_LEN_MIN 3u

int
compress_zstd(struct slice in, struct buf *out)
{
	const size_t worth = compress_worth(in.len);
	const size_t before = out->len;
	uint8_t *p;
	size_t n;

	if (worth <= ZSTD_PREFIX_LEN || in.len > UINT32_MAX)
		return ERR_LIMIT;
	buf_put_u32be(out, (uint32_t)in.len);
	p = buf_extend(out, worth - ZSTD_PREFIX_LEN);
	n = ZSTD_compress(p, worth - ZSTD_PREFIX_LEN, in.ptr, in.len,
	    ZSTD_LEVEL);
	if (ZSTD_isError(n)) {
		out->len = before;
		return ERR_LIMIT;
	}
	out->len = before + ZSTD_PREFIX_LEN + n;
	return 0;
}

int
compress_zstd_undo(struct slice in, size_t len, struct buf *out,
    struct err *err)
{
	unsigned long long said;
	uint8_t *p;
	size_t n;

	said = ZSTD_getFrameContentSize(in.ptr, in.len);
	if (said != len)
		return err_set(err, ERR_PROTOCOL,
		    "zstd: the frame is not of the %zu bytes declared", len);
	if (len / ZSTD_BLOCK_LEN_MAX > in.len / ZSTD_BLOCK_LEN_MIN)
		return err_set(err, ERR_PROTOCOL,
		    "zstd: %zu bytes cannot be %zu", in.len, len);
	p = buf_extend(out, len > 0 ? len : 1);
	n = ZSTD_decompress(p, len, in.ptr, in.len);
	if (ZSTD_isError(n) || n != len)
		return err_set(err, ERR_PROTOCOL,
		    "zstd: not the %zu bytes declared", len);
	if (len == 0)
		out->len--;
	return 0;
}
