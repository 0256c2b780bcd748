/*
 * How long datagrams may be; see quic_size.h.
 */
#include "mesh/quic_size.h"

#include "engine/base/clock.h"

#define QUIC_SIZE_PTOS 3
/* A busy peer may need a while; one that took long ones, longer. */
#define QUIC_SIZE_TRYING_NS CLOCK_S
#define QUIC_SIZE_PROVEN_NS (5 * CLOCK_S)

void
quic_size_try(struct quic_size *s)
{
	*s = (struct quic_size){ .state = QUIC_SIZE_IS_TRYING };
}

size_t
quic_size_max(const struct quic_size *s)
{
	return s->state == QUIC_SIZE_IS_SHORT || s->acked == 0 ? QUIC_SIZE_SHORT
							       : QUIC_SIZE_LONG;
}

void
quic_size_sent(struct quic_size *s, size_t len, uint64_t end, uint64_t now_ns)
{
	if (s->state == QUIC_SIZE_IS_SHORT || len <= QUIC_SIZE_SHORT ||
	    end <= s->acked)
		return;
	if (!s->open) {
		s->open_ns = now_ns;
		s->try_end = end;
	}
	s->open = true;
	s->open_end = end;
}

void
quic_size_acked(struct quic_size *s, uint64_t offset, uint64_t now_ns)
{
	if (offset <= s->acked)
		return;
	s->acked = offset;
	if (s->state == QUIC_SIZE_IS_TRYING && s->open && offset >= s->try_end)
		s->state = QUIC_SIZE_IS_PROVEN;
	if (s->state == QUIC_SIZE_IS_PROVEN) {
		s->open = offset < s->open_end;
		s->open_ns = now_ns;
	}
}

void
quic_size_refused(struct quic_size *s)
{
	s->state = QUIC_SIZE_IS_SHORT;
}

void
quic_size_wait(struct quic_size *s, uint64_t pto_ns, uint64_t now_ns)
{
	uint64_t wait_ns = s->state == QUIC_SIZE_IS_TRYING
			       ? QUIC_SIZE_TRYING_NS
			       : QUIC_SIZE_PROVEN_NS;

	if (wait_ns < QUIC_SIZE_PTOS * pto_ns)
		wait_ns = QUIC_SIZE_PTOS * pto_ns;
	if (s->open && now_ns - s->open_ns >= wait_ns)
		s->state = QUIC_SIZE_IS_SHORT;
}
