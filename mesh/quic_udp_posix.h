/*
 * A UDP socket that moves many datagrams with one call: segmentation offload
 * out (UDP_SEGMENT), coalescing in (UDP_GRO), each used where the kernel and
 * the card have it.
 *
 * A socket bound to no address answers from the one it was called at.  A lost
 * datagram is not an error: whatever the system says about one is taken as a
 * loss, and QUIC sends again.
 *
 * Thread: loop.  Nothing here waits.
 */
#ifndef HOLDFAST_MESH_QUIC_UDP_POSIX_H
#define HOLDFAST_MESH_QUIC_UDP_POSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "engine/base/err.h"
#include "mesh/addr.h"

#define QUIC_UDP_BURST 65536 /* bytes one call can bring */
#define QUIC_UDP_SEGMENTS 64 /* datagrams one call can send, at most */

struct quic_udp {
	int fd;                     /* owned; -1: closed */
	struct sockaddr_storage at; /* what it is bound to */
	socklen_t at_len;
	bool wild;     /* bound to no address */
	bool segments; /* the system cuts what we send */
	bool too_long; /* set when it refused a datagram for its length */
};

/* Datagrams of one peer, all but the last `segment` bytes long. */
struct quic_udp_burst {
	struct sockaddr_storage peer, own; /* addresses, theirs and ours */
	socklen_t peer_len, own_len;
	size_t len, segment;
	int hops; /* sending: how far it may go; 0: as the system says */
};

/* Bind; *bound is the address with its real port. */
int quic_udp_open(struct quic_udp *u, const struct addr *at, struct addr *bound,
    struct err *err);
void quic_udp_close(struct quic_udp *u);
/* Fills `data`, which has QUIC_UDP_BURST bytes; false when nothing is there. */
bool quic_udp_receive(struct quic_udp *u, uint8_t *data,
    struct quic_udp_burst *out);
/*
 * Send what `b` describes.  Returns how many bytes went (or were lost); less
 * than b->len when the socket is full: again when it is writable.
 */
size_t quic_udp_send(struct quic_udp *u, const uint8_t *data,
    const struct quic_udp_burst *b);
/* Make `sa` fit the socket: IPv4 in IPv6 where it speaks both. */
bool quic_udp_fit(const struct quic_udp *u, struct sockaddr_storage *sa,
    socklen_t *len);

#endif
