/*
 * Undoing compression: which way, and the checks all ways share.
 */
#include "blockproto/compress.h"

#include "blockproto/compress_codec.h"

#define COMPRESS_PREFIX_LEN 4u /* u32be, the length before compression */

int
compress_undo(enum compress_kind kind, struct slice in, size_t max,
    struct buf *out, struct err *err)
{
	const size_t before = out->len;
	struct reader r;
	uint32_t len;
	int rc = 0;

	if (kind == COMPRESS_NONE) {
		if (in.len > max)
			return err_set(err, ERR_LIMIT,
			    "%zu bytes, more than %zu", in.len, max);
		buf_put(out, in);
		return 0;
	}
	reader_init(&r, in);
	len = reader_u32be(&r);
	if (!reader_ok(&r))
		return err_set(err, ERR_PROTOCOL,
		    "compressed: %zu bytes are no message", in.len);
	if (len > max)
		return err_set(err, ERR_LIMIT,
		    "compressed: %u bytes declared, more than %zu", len, max);
	in = slice_from(in, COMPRESS_PREFIX_LEN);
	switch (kind) {
	case COMPRESS_LZ4:
		rc = compress_lz4_undo(in, len, out, err);
		break;
	case COMPRESS_ZSTD:
		rc = compress_zstd_undo(in, len, out, err);
		break;
	case COMPRESS_NONE:
	default: /* a number from the wire */
		rc = err_set(err, ERR_PROTOCOL, "compression %d", (int)kind);
		break;
	}
	if (rc < 0)
		out->len = before;
	return rc;
}
