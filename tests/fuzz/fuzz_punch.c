/*
 * What a coordinator passes on as another device's word, and what comes to the
 * port.  What is accepted says the same when it is written and read again; no
 * bytes are a probe of ours but with the cookie.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "mesh/punch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* An attempt with that peer, until it ends or a thousand things were done. */
static void
fuzz_attempt(const struct punch_signal *s)
{
	struct punch *p = punch_new(PUNCH_CALLED, &s->cookie, &s->side, 1, 0);
	uint64_t now_ns = 0;
	struct punch_act act;

	punch_begin(p, &s->side, 0);
	for (int i = 0; i < 1000 && punch_wake_at(p) != UINT64_MAX; i++) {
		if (punch_wake_at(p) > now_ns)
			now_ns = punch_wake_at(p);
		if (punch_next(p, now_ns, &act) && act.kind == PUNCH_DO_SEND) {
			ASSERT(addr_is_dialable(&act.to));
			ASSERT(!addr_is_loopback(&act.to));
		}
	}
	punch_free(p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct punch_cookie cookie = { { 0x5a } };
	const struct slice in = slice_of(data, len);
	struct punch_signal s, t;
	struct punch_probe probe;
	struct buf out = { 0 };

	ASSERT(!punch_probe_decode(&probe, in, &cookie));
	if (punch_signal_decode(&s, in, NULL) == 0) {
		punch_signal_encode(&s, &out);
		ASSERT(punch_signal_decode(&t, buf_slice(&out), NULL) == 0);
		ASSERT(memcmp(&s, &t, sizeof(s)) == 0);
		if (s.word != PUNCH_REFUSE)
			fuzz_attempt(&s);
	}
	buf_fini(&out);
	return 0;
}
