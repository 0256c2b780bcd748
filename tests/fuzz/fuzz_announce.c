/*
 * A datagram of a stranger.  What is accepted must survive a second round:
 * encoded and decoded again it says the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "mesh/announce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct addr from = { .scheme = ADDR_TCP,
		.host = ADDR_IP4,
		.ip = { 192, 168, 1, 9 },
		.port = 21027 };
	struct announce a, b;
	struct buf out = { 0 };

	if (announce_decode(&a, slice_of(data, len), &from, NULL) == 0) {
		announce_encode(&a, &out);
		ASSERT(announce_decode(&b, buf_slice(&out), &from, NULL) == 0);
		ASSERT(devid_equal(&a.id, &b.id));
		ASSERT(a.instance == b.instance);
		ASSERT(a.address_count == b.address_count);
		for (size_t i = 0; i < a.address_count; i++)
			ASSERT(addr_equal(&a.address[i], &b.address[i]));
		buf_fini(&out);
	}
	return 0;
}
