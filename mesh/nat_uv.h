/*
 * NATs: looks at the one before us and opens ways through it, under libuv.
 *
 * natcheck.h, natlife.h and puncher.h say what to do; here it is done: with the
 * sockets that QUIC listens on, with others that an attempt opens, with the
 * names of servers and the addresses of this machine.
 *
 * Nobody is asked unless there are servers, and nobody is probed unless a
 * signal said so.  Between checks this machine's own addresses are looked at
 * every half minute, which sends nothing; another set of them is a reason to
 * check anew.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 */
#ifndef HOLDFAST_MESH_NAT_UV_H
#define HOLDFAST_MESH_NAT_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "mesh/identity.h"
#include "mesh/natcheck.h"
#include "mesh/natlife.h"
#include "mesh/puncher.h"
#include "mesh/quic_ngtcp2.h"

/* Opaque. */
struct nat;

struct nat_callbacks {
	/* Send a signal to a device; best effort. */
	void (*signal)(void *arg, const struct devid *to, struct slice body);
	/* A way is open: call the device there, from that socket. */
	void (*dial)(void *arg, const struct devid *id, struct quic *from,
	    const struct addr *to);
	/* nat_addresses() are others now. */
	void (*on_change)(void *arg);
	/* Whom an attempt's own sockets let in, as quic_open() wants it. */
	const struct quic_callbacks *accept;
};

/* Borrows `id` and `log`; copies `cb`. */
int nat_open(struct nat **out, uv_loop_t *loop, const struct identity *id,
    const struct nat_callbacks *cb, void *arg, const struct log *log,
    struct err *err);
void nat_close(struct nat *n, void (*on_closed)(void *), void *arg);

/*
 * The sockets that QUIC listens on, and where; borrowed until the next call.
 * Those bound to one address are of no use here.
 */
void nat_set_sockets(struct nat *n, struct quic *const *quic,
    const struct addr *bound, size_t count);
/* Whom to ask for our address, by name or literally; the same again: nothing.
 */
void nat_set_servers(struct nat *n, const struct addr *server, size_t count);
/* What our router promised (portmap.h): those of QUIC are candidates. */
void nat_set_portmapped(struct nat *n, const struct addr *addr, size_t count);

/* Nothing goes to what is not addr_is_lan(): mesh.scope. */
void nat_set_lan_only(struct nat *n, bool lan_only);

/* As puncher.h has them. */
void nat_want(struct nat *n, const struct devid *id, size_t count);
void nat_set_here(struct nat *n, const struct devid *id, bool here);
void nat_hurry(struct nat *n, const struct devid *id);
void nat_take_signal(struct nat *n, const struct devid *from,
    struct slice body);

/* Ask the servers anew. */
void nat_check(struct nat *n);
/* The network may be another one: look, check, and try everybody now. */
void nat_refresh(struct nat *n);
void nat_tick(struct nat *n, uint64_t now_ns);
uint64_t nat_wake_at(const struct nat *n);

/*
 * How others see us from outside, where that does not depend on who asks.  How
 * many were put into `out`.
 */
size_t nat_addresses(const struct nat *n, struct addr *out, size_t cap);
const struct natcheck *nat_natcheck(const struct nat *n);
const struct puncher *nat_puncher(const struct nat *n);
/* Of IPv4; measured once for each network. */
const struct natlife_result *nat_life(const struct nat *n);
bool nat_has_socket(const struct nat *n);
/* Are servers asked, or their names? */
bool nat_is_asking(const struct nat *n);

/* Server `i` as it was given, and what is wrong with its name; false past the
 * end. */
struct nat_server_state {
	const struct addr *addr;
	const char *error; /* "" when its name is known */
};
bool nat_server_at(const struct nat *n, size_t i, struct nat_server_state *out);

#endif
