/*
 * How long datagrams may be; see quic_size.h.
 */
#include "mesh/quic_size.h"

#include "engine/base/clock.h"

#define QUIC_SIZE_PTOS 3
#define QUIC_SIZE_WAIT_NS CLOCK_S /* a busy peer may need a while */

void
quic_size_try(struct quic_size *s)
{
	*s = (struct quic_size){ .state = QUIC_SIZE_IS_TRYING };
}

size_t
quic_size_max(const struct quic_size *s)
{
	return s->state == QUIC_SIZE_IS_SHORT ? QUIC_SIZE_SHORT
					      : QUIC_SIZE_LONG;
}

void
quic_size_sent(struct quic_size *s, size_t len, uint64_t end, uint64_t now_ns)
{
	if (s->state != QUIC_SIZE_IS_TRYING || s->sent ||
	    len <= QUIC_SIZE_SHORT)
		return;
	s->sent = true;
	s->sent_ns = now_ns;
	s->sent_end = end;
}

void
quic_size_acked(struct quic_size *s, uint64_t offset)
{
	if (s->state == QUIC_SIZE_IS_TRYING && s->sent && offset >= s->sent_end)
		s->state = QUIC_SIZE_IS_PROVEN;
}

void
quic_size_refused(struct quic_size *s)
{
	s->state = QUIC_SIZE_IS_SHORT;
}

void
quic_size_wait(struct quic_size *s, uint64_t pto_ns, uint64_t now_ns)
{
	uint64_t wait_ns = QUIC_SIZE_PTOS * pto_ns;

	if (wait_ns < QUIC_SIZE_WAIT_NS)
		wait_ns = QUIC_SIZE_WAIT_NS;
	if (s->state == QUIC_SIZE_IS_TRYING && s->sent &&
	    now_ns - s->sent_ns >= wait_ns)
		s->state = QUIC_SIZE_IS_SHORT;
}
