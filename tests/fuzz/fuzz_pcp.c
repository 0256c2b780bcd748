/*
 * A datagram of a router, or of somebody who says so.  What is accepted as an
 * answer says the same when it is written as a request again.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/assert.h"
#include "mesh/pcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t client[16] = { 0 };
	struct pcp_answer a;
	struct buf out = { 0 };
	uint32_t epoch_s;

	(void)pcp_decode_announce(&epoch_s, slice_of(data, len));
	if (pcp_decode_map(&a, slice_of(data, len), NULL) < 0)
		return 0;
	ASSERT(pcp_is_answer(&a, &a.map));
	pcp_encode_map(&a.map, client, &out);
	/* Behind the header both are alike, but for what is reserved. */
	ASSERT(out.len <= len);
	ASSERT(memcmp(out.ptr + 24, data + 24, 13) == 0);
	ASSERT(memcmp(out.ptr + 40, data + 40, 20) == 0);
	buf_fini(&out);
	return 0;
}
