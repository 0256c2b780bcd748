/*
 * Bytes of a QUIC stream on their way; see quic_send.h.
 */
#include "mesh/quic_send.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

void
quic_send_fini(struct quic_send *q)
{
	for (size_t i = 0; i < q->chunk.len; i++)
		mem_free(q->chunk.item[i]);
	VEC_FINI(&q->chunk);
	*q = (struct quic_send){ 0 };
}

size_t
quic_send_held(const struct quic_send *q)
{
	return (size_t)(q->end - q->base);
}

size_t
quic_send_unsent(const struct quic_send *q)
{
	return (size_t)(q->end - q->next);
}

size_t
quic_send_room(const struct quic_send *q)
{
	const size_t held = quic_send_held(q), unsent = quic_send_unsent(q);
	size_t room = 0;

	if (held < LIMIT_QUIC_UNACKED && unsent < LIMIT_QUIC_UNSENT) {
		room = LIMIT_QUIC_UNACKED - held;
		if (room > LIMIT_QUIC_UNSENT - unsent)
			room = LIMIT_QUIC_UNSENT - unsent;
	}
	return room;
}

void
quic_send_put(struct quic_send *q, struct slice s)
{
	ASSERT(s.len <= quic_send_room(q));
	while (s.len > 0) {
		const uint64_t at = q->end - q->first;
		const size_t inside = (size_t)(at % QUIC_SEND_CHUNK);
		size_t n = QUIC_SEND_CHUNK - inside;

		if (at / QUIC_SEND_CHUNK == q->chunk.len)
			*VEC_ADD(&q->chunk) = mem_alloc(QUIC_SEND_CHUNK);
		if (n > s.len)
			n = s.len;
		memcpy(q->chunk.item[at / QUIC_SEND_CHUNK] + inside, s.ptr, n);
		q->end += n;
		s = slice_from(s, n);
	}
}

size_t
quic_send_next(const struct quic_send *q, struct slice out[2])
{
	uint64_t at = q->next;
	size_t count = 0;

	while (count < 2 && at < q->end) {
		const uint64_t from = at - q->first;
		const size_t inside = (size_t)(from % QUIC_SEND_CHUNK);
		size_t n = QUIC_SEND_CHUNK - inside;

		if (n > q->end - at)
			n = (size_t)(q->end - at);
		out[count++] =
		    slice_of(q->chunk.item[from / QUIC_SEND_CHUNK] + inside, n);
		at += n;
	}
	return count;
}

void
quic_send_sent(struct quic_send *q, size_t n)
{
	ASSERT(n <= quic_send_unsent(q));
	q->next += n;
}

void
quic_send_acked(struct quic_send *q, uint64_t offset)
{
	size_t gone;

	ASSERT(offset <= q->next);
	if (offset <= q->base)
		return;
	q->base = offset;
	gone = (size_t)((q->base - q->first) / QUIC_SEND_CHUNK);
	for (size_t i = 0; i < gone; i++)
		mem_free(q->chunk.item[i]);
	if (gone == 0)
		return;
	q->chunk.len -= gone;
	memmove(q->chunk.item, q->chunk.item + gone,
	    q->chunk.len * sizeof(q->chunk.item[0]));
	q->first += (uint64_t)gone * QUIC_SEND_CHUNK;
}

void
quic_send_rest(struct quic_send *q)
{
	const uint64_t end = q->end;

	ASSERT(quic_send_held(q) == 0);
	quic_send_fini(q);
	q->first = q->base = q->next = q->end = end;
}
