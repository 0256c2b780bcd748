/*
 * Datagrams at the port that STUN shares with QUIC.  What is accepted says the
 * same when it is written and read again, and an answer is a message.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "mesh/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct addr from = { .scheme = ADDR_QUIC,
		.host = ADDR_IP4,
		.ip = { 192, 0, 2, 1 },
		.port = 7 };
	const struct slice in = slice_of(data, len);
	struct stun_message m, n;
	struct buf out = { 0 };
	uint16_t port;

	if (stun_decode(&m, in, NULL) == 0) {
		ASSERT(stun_is(in));
		/* What others did not know is told by errors alone. */
		if (m.class != STUN_ERROR) {
			m.unknown_count = 0;
			memset(m.unknown, 0, sizeof(m.unknown));
			memset(m.text, 0, sizeof(m.text));
			m.code = 0;
		}
		m.has_fingerprint = true;
		stun_encode(&m, &out);
		ASSERT(stun_decode(&n, buf_slice(&out), NULL) == 0);
		ASSERT(memcmp(&m, &n, sizeof(m)) == 0);
	}
	buf_clear(&out);
	if (stun_answer(in, &from, &out, &port))
		ASSERT(stun_decode(&n, buf_slice(&out), NULL) == 0 &&
		       n.class != STUN_REQUEST);
	buf_fini(&out);
	return 0;
}
