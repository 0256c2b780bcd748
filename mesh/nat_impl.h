/*
 * The inside of the NAT driver: shared by nat_uv.c, nat_life_uv.c and
 * nat_socket_uv.c, nobody else's.
 *
 * An attempt against a hard NAT has sockets of its own, numbered from 1.  One
 * that a way was found for becomes a QUIC socket at the same port: its hole in
 * the router stays.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_NAT_IMPL_H
#define HOLDFAST_MESH_NAT_IMPL_H

#include <netdb.h>

#include "engine/base/vec.h"
#include "mesh/nat_uv.h"
#include "mesh/natlife.h"
#include "mesh/quic_udp_posix.h"

#define NAT_SOCKETS 4u /* that QUIC listens on, of use here */
#define NAT_PORTMAPPED 8u

struct nat_socket { /* of an attempt */
	struct nat *nat;
	unsigned slot, number;
	struct quic_udp udp; /* closed when it is QUIC's */
	struct addr bound;
	uv_poll_t poll;
	bool has_poll;
	struct quic *quic; /* NULL: it is not QUIC's */
	bool dropped;      /* its attempt is over: freed when all is closed */
};

struct nat_ear { /* of the life of a mapping */
	struct nat *nat;
	bool quiet;
	struct quic_udp udp;
	uv_poll_t poll;
};

struct nat_server {
	struct addr addr; /* as given */
	uv_getaddrinfo_t resolve;
	bool resolving;
	bool dropped; /* it was configured away meanwhile */
	struct nat *nat;
	VEC(struct addr) found;
	char error[128];
};

struct nat {
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	struct nat_callbacks cb;
	void *arg;
	const struct log *log;
	struct natcheck *check;
	struct puncher *puncher;
	struct quic *quic[NAT_SOCKETS]; /* borrowed */
	struct addr bound[NAT_SOCKETS];
	size_t quic_count;
	VEC(struct nat_server *) server; /* owned */
	struct addr portmapped[NAT_PORTMAPPED];
	size_t portmapped_count;
	struct addr local[NATCHECK_LOCALS]; /* of this machine, with our port */
	size_t local_count;
	uint64_t look_ns; /* at those, again */
	bool side_due;    /* the puncher waits to know where we are */
	uint64_t changes; /* natcheck_changes() that was told */
	struct natlife *life;
	struct nat_ear *ear[2]; /* asking, quiet; NULL: nothing is measured */
	struct addr life_of;    /* how we were seen when it began */
	uint64_t life_rounds;   /* natcheck_rounds() that it knows of */
	uint64_t say_ns;        /* to the sockets of QUIC */
	struct nat_socket **socket[PUNCHER_ATTEMPTS]; /* of each attempt */
	unsigned socket_count[PUNCHER_ATTEMPTS];
	uint8_t *in;      /* owned, QUIC_UDP_BURST bytes */
	unsigned handles; /* that call back when they are gone */
	bool lan_only;
	bool pumping, closing;
	uv_timer_t later; /* only to end from the loop */
	void (*on_closed)(void *);
	void *closed_arg;
};

/* In nat_uv.c. */
void nat_take(struct nat *n, unsigned slot, unsigned socket,
    struct slice datagram, const struct addr *from);
void nat_handle_closed(struct nat *n);

/* In nat_life_uv.c. */
/*
 * What is due.  When a check is over: is there something to measure?  When that
 * is over, tell the sockets of QUIC.
 */
void nat_life_pump(struct nat *n, uint64_t now_ns);
void nat_life_stop(struct nat *n);

/* In nat_socket_uv.c. */
void nat_socket_open_all(struct nat *n, unsigned slot, unsigned count);
void nat_socket_close_all(struct nat *n, unsigned slot);
void nat_socket_send(struct nat *n, unsigned slot, unsigned socket,
    struct slice datagram, const struct addr *to, int hops);
/* Make it QUIC's, when it is not; NULL when that fails. */
struct quic *nat_socket_promote(struct nat *n, unsigned slot, unsigned socket);

#endif
