/*
 * LZ4 blocks: the compression every BEP peer understands.  See compress.h.
 */
#include "blockproto/compress.h"

#include <lz4.h>

#include "blockproto/compress_codec.h"

#define LZ4_PREFIX_LEN 4u
/* A byte of an LZ4 block stands for at most 255, and a few at its ends. */
#define LZ4_GAIN_MAX 255u

int
compress_lz4(struct slice in, struct buf *out)
{
	const size_t worth = compress_worth(in.len);
	const size_t before = out->len;
	uint8_t *p;
	int n;

	/* An empty LZ4 block is more than some peers can read. */
	if (worth <= LZ4_PREFIX_LEN || in.len > LZ4_MAX_INPUT_SIZE)
		return ERR_LIMIT;
	buf_put_u32be(out, (uint32_t)in.len);
	p = buf_extend(out, worth - LZ4_PREFIX_LEN);
	n = LZ4_compress_default((const char *)in.ptr, (char *)p, (int)in.len,
	    (int)(worth - LZ4_PREFIX_LEN));
	if (n <= 0) {
		out->len = before;
		return ERR_LIMIT;
	}
	out->len = before + LZ4_PREFIX_LEN + (size_t)n;
	return 0;
}

int
compress_lz4_undo(struct slice in, size_t len, struct buf *out, struct err *err)
{
	uint8_t *p;
	int n;

	if (in.len == 0 || in.len > LZ4_MAX_INPUT_SIZE ||
	    len > LZ4_MAX_INPUT_SIZE || len / LZ4_GAIN_MAX > in.len)
		return err_set(err, ERR_PROTOCOL,
		    "lz4: %zu bytes cannot be %zu", in.len, len);
	p = buf_extend(out, len > 0 ? len : 1);
	n = LZ4_decompress_safe((const char *)in.ptr, (char *)p, (int)in.len,
	    (int)len);
	if (n < 0 || (size_t)n != len)
		return err_set(err, ERR_PROTOCOL,
		    "lz4: not the %zu bytes declared", len);
	if (len == 0)
		out->len--;
	return 0;
}
