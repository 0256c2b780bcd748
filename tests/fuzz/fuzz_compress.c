/* Decompression: byte 0 is the kind.  What came out must go in again. */
#include <stdint.h>
#include <stdlib.h>

#include "blockproto/compress.h"

#define OUT_MAX (1u << 20) /* bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = { 0 }, again = { 0 }, back = { 0 };
	enum compress_kind kind;
	int rc;

	if (size < 1)
		return 0;
	kind = (enum compress_kind)(data[0] % 4);
	rc = compress_undo(kind, slice_of(data + 1, size - 1), OUT_MAX, &out,
	    NULL);
	if (rc < 0) {
		if (out.len != 0)
			abort();
		goto end;
	}
	if (out.len > OUT_MAX)
		abort();
	rc = kind == COMPRESS_ZSTD ? compress_zstd(buf_slice(&out), &again)
				   : compress_lz4(buf_slice(&out), &again);
	if (rc < 0)
		goto end;
	if (compress_undo(kind == COMPRESS_ZSTD ? COMPRESS_ZSTD : COMPRESS_LZ4,
		buf_slice(&again), OUT_MAX, &back, NULL) < 0 ||
	    !slice_equal(buf_slice(&out), buf_slice(&back)))
		abort();
end:
	buf_fini(&out);
	buf_fini(&again);
	buf_fini(&back);
	return 0;
}
