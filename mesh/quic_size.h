/*
 * How long a QUIC connection's datagrams may be.
 *
 * ngtcp2 finds out what a network carries, up to an Ethernet's 1500 bytes.
 * Inside this machine there is room for far more, and most of what a datagram
 * costs it costs once, however long it is.  So a connection over the loopback
 * sends long ones, until they turn out to be lost on the way: somebody who
 * forwards datagrams may have room for an Ethernet's only.
 *
 *   SHORT                             not over the loopback, or they were lost
 *   TRYING --an answer--> PROVEN      long ones
 *
 * The first of the stream's bytes and all before them, the handshake, go in
 * short ones: ngtcp2 fills the handshake's up, and an answer to those proves
 * nothing of what comes later.  That what was proven is lost is noticed, too,
 * only later: bytes of a long one may have come in short ones sent again, and
 * a way may change.
 *
 * Pure.  Thread: loop.
 */
#ifndef HOLDFAST_MESH_QUIC_SIZE_H
#define HOLDFAST_MESH_QUIC_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUIC_SIZE_SHORT 1452 /* bytes: IPv6 and UDP fill an Ethernet's 1500 */
#define QUIC_SIZE_LONG 16000 /* four of them are one call of the system */

enum quic_size_state {
	QUIC_SIZE_IS_SHORT,
	QUIC_SIZE_IS_TRYING,
	QUIC_SIZE_IS_PROVEN,
};

struct quic_size { /* {0}: short */
	enum quic_size_state state;
	uint64_t acked;    /* the stream's bytes before this arrived */
	bool open;         /* long ones are on their way: */
	uint64_t open_ns;  /* since then, or since the last that arrived, */
	uint64_t open_end; /* with the stream's bytes up to here */
	uint64_t try_end;  /* TRYING: the first one's */
};

void quic_size_try(struct quic_size *s);
/* Bytes a datagram may have now. */
size_t quic_size_max(const struct quic_size *s);
/* A datagram of `len` bytes went out; the stream is at offset `end` now. */
void quic_size_sent(struct quic_size *s, size_t len, uint64_t end,
    uint64_t now_ns);
/* The stream's bytes before `offset` arrived. */
void quic_size_acked(struct quic_size *s, uint64_t offset, uint64_t now_ns);
/* The system refused one as too long. */
void quic_size_refused(struct quic_size *s);
/* Time passed; `pto_ns`: of a probe time-out. */
void quic_size_wait(struct quic_size *s, uint64_t pto_ns, uint64_t now_ns);

#endif
