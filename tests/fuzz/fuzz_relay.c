/*
 * Bytes of a relay, or of a stranger to ours.  What is accepted says the same
 * when it is written and read again, and relay_wants() never asks for more than
 * the message.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "mesh/relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct slice in = slice_of(data, len);
	struct relay_message m, n;
	struct buf out = { 0 };
	size_t used, again, at = 0;

	while (relay_decode(&m, in, &used, NULL) == 1) {
		ASSERT(used >= RELAY_HEADER_LEN && used <= RELAY_MESSAGE_MAX);
		ASSERT(relay_wants(slice_to(in, used)) == 0);
		/* Read as it asks, it ends where the message does. */
		for (at = 0; at < used;) {
			const size_t more = relay_wants(slice_to(in, at));

			ASSERT(more > 0 && at + more <= used);
			at += more;
		}
		buf_clear(&out);
		relay_encode(&m, &out);
		ASSERT(relay_decode(&n, buf_slice(&out), &again, NULL) == 1);
		ASSERT(again == out.len && memcmp(&m, &n, sizeof(m)) == 0);
		in = slice_from(in, used);
	}
	buf_fini(&out);
	return 0;
}
