/*
 * QUIC: one UDP socket, and all the connections on it, accepted and dialled.
 *
 * Each connection is a stream (stream.h): one bidirectional QUIC stream, opened
 * by whoever dialled, with BEP's bytes in it; version 1 (RFC 9000), ALPN
 * "bep/1.0", the certificate and the rule of TLS on TCP (tls_proof_gnutls.h).
 * So a Syncthing's QUIC is served, and dialled, as one of ours.
 *
 * A peer may change its address in the middle (a rebinding NAT, another
 * network): the connection follows, after the new address was proven.  We may,
 * too: the socket is bound to no interface.
 *
 * What a stranger can make us hold: nothing before on_knock() lets it in; after
 * that, until stream_trust(), its TLS handshake, LIMIT_QUIC_EARLY bytes in, and
 * LIMIT_DIAL_NS of time.  Its datagrams are answered with at most three times
 * their bytes before its address is proven.  Who it is decides conn_uv's owner.
 *
 * Close codes: application error 0 and the reason as text, as Syncthing does;
 * TLS alerts and QUIC's own errors as the RFC has them.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 * docs/design/0011-quic.md.
 */
#ifndef HOLDFAST_MESH_QUIC_NGTCP2_H
#define HOLDFAST_MESH_QUIC_NGTCP2_H

#include <stdbool.h>

#include <uv.h>

#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/identity.h"
#include "mesh/stream.h"

/* Opaque. */
struct quic;

enum quic_welcome {
	QUIC_IGNORE, /* no answer at all */
	QUIC_PROVE,  /* it shall show that the address is its own (Retry) */
	QUIC_ENTER,
};

struct quic_callbacks {
	/*
	 * Somebody new.  `proven`: the address is really its own; without, it
	 * may be anybody's.
	 */
	enum quic_welcome (
	    *on_knock)(void *arg, const struct addr *from, bool proven);
	/* After QUIC_ENTER: `st` is the callee's.  stream_own() it at once. */
	void (*on_accept)(void *arg, struct stream *st);
};

/*
 * Bind and listen.  *bound: the address with its real port.  Borrows `id`;
 * copies `cb`; with `cb` NULL nobody can call us, we can only dial.
 */
int quic_open(struct quic **out, uv_loop_t *loop, const struct identity *id,
    const struct addr *at, const struct quic_callbacks *cb, void *arg,
    struct addr *bound, struct err *err);
/*
 * What comes from an address that is not addr_is_lan() is dropped unread, and
 * quic_send_other() sends nothing there: mesh.scope.
 */
void quic_set_lan_only(struct quic *q, bool lan_only);
/*
 * Nobody new comes in.  It goes, with the socket, when its last stream was
 * closed; then calls `on_closed` (may be NULL).
 */
void quic_close(struct quic *q, void (*on_closed)(void *), void *arg);
/*
 * As quic_close(), at once: every stream ends with `why`, the port is free when
 * this returns.
 */
void quic_cut(struct quic *q, const char *why, void (*on_closed)(void *),
    void *arg);

#define QUIC_KEEP_ALIVE_NS 15000000000ull /* as Syncthing */

/*
 * Connections that say nothing say something after so long, so that routers
 * remember them: these from now on, and those to come.  QUIC_KEEP_ALIVE_NS
 * when never said.
 */
void quic_set_keep_alive(struct quic *q, uint64_t keep_alive_ns);

/* Is it bound to no address, and can it reach one of that kind? */
bool quic_can_dial(const struct quic *q, const struct addr *to);
/* Call; a name is resolved first.  At most LIMIT_DIAL_NS. */
struct stream *quic_dial(struct quic *q, const struct addr *to);

/* --- what else goes through the socket: STUN, probes ------------------ */

/*
 * A datagram that no connection is meant by and that does not begin one came
 * from `from`.  Borrowed for the call, which may be the last of the socket.
 */
typedef void quic_other_fn(void *arg, struct quic *q, struct slice datagram,
    const struct addr *from);
void quic_set_other(struct quic *q, quic_other_fn *fn, void *arg);
/*
 * Send one; best effort.  `hops`: how many routers it may pass, to open our
 * own and not reach the other's; 0: all.
 */
void quic_send_other(struct quic *q, struct slice datagram,
    const struct addr *to, int hops);

#endif
