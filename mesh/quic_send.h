/*
 * What a QUIC stream has taken to send: kept until it is acknowledged, because
 * it may have to be sent again from where it lies.
 *
 *   [ acknowledged, gone | sent | not sent yet | room ]
 *                        base   next           end
 *
 * Bytes never move while they are held: pieces given by quic_send_next() stay
 * valid until quic_send_acked() passes them.  Offsets count from the start of
 * the stream.
 *
 * Pure.  Thread: loop.
 */
#ifndef HOLDFAST_MESH_QUIC_SEND_H
#define HOLDFAST_MESH_QUIC_SEND_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/slice.h"
#include "engine/base/vec.h"

#define QUIC_SEND_CHUNK (64 * 1024) /* bytes of one piece of memory */

struct quic_send {            /* {0} is empty */
	VEC(uint8_t *) chunk; /* owned, in order */
	uint64_t first;       /* offset of the first chunk's first byte */
	uint64_t base, next, end;
};

void quic_send_fini(struct quic_send *q);
/* Bytes it will take now: LIMIT_QUIC_UNSENT and LIMIT_QUIC_UNACKED. */
size_t quic_send_room(const struct quic_send *q);
/* Copies; at most quic_send_room() bytes. */
void quic_send_put(struct quic_send *q, struct slice s);
/* What is to be sent next, in at most two pieces; their number. */
size_t quic_send_next(const struct quic_send *q, struct slice out[2]);
/* The next `n` bytes went out. */
void quic_send_sent(struct quic_send *q, size_t n);
/* Everything before `offset` arrived. */
void quic_send_acked(struct quic_send *q, uint64_t offset);
/* Nothing is held: give the memory back. */
void quic_send_rest(struct quic_send *q);
size_t quic_send_held(const struct quic_send *q);   /* not acknowledged */
size_t quic_send_unsent(const struct quic_send *q); /* of them, not sent */

#endif
