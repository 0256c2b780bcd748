/*
 * The inside of QUIC: shared by quic_ngtcp2.c (the socket, who gets a packet)
 * and quic_conn_ngtcp2.c (one connection), nobody else's.
 *
 *   RESOLVING -> SHAKING -> OPEN -> OVER -> LEAVING -> freed
 *
 * OVER: it ended, its owner was told or will be; nothing moves any more.
 * LEAVING: its owner has closed it; for a while its last packet is said again
 * to a peer that did not hear it.
 *
 * ngtcp2 calls back from the middle of its work, where nothing of it may be
 * called: its callbacks only make notes, and quic_conn_tell() hands them on.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_QUIC_CONN_NGTCP2_H
#define HOLDFAST_MESH_QUIC_CONN_NGTCP2_H

#include <netdb.h>

#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "mesh/quic_compat_ngtcp2.h"
#include "mesh/quic_ngtcp2.h"
#include "mesh/quic_send.h"
#include "mesh/quic_size.h"
#include "mesh/quic_udp_posix.h"
#include "mesh/tls_proof_gnutls.h"

#define QUIC_CID_LEN 12 /* of the connection IDs we choose */
#define QUIC_SECRET_LEN 32

struct quic {
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	struct quic_callbacks cb;
	void *arg;
	quic_other_fn *on_other; /* NULL: nobody wants them */
	void *other_arg;
	struct quic_udp udp;
	uv_poll_t poll;
	uv_timer_t timer;
	bool has_poll, has_timer; /* libuv still holds them */
	bool accepting, closing;
	bool lan_only;
	uint64_t armed_ns;
	uint64_t keep_alive_ns;
	uint8_t secret[QUIC_SECRET_LEN]; /* of Retry and reset tokens */
	struct map by_cid;               /* -> struct quic_conn */
	struct list conns;               /* all */
	struct list touched;             /* have something to say or tell */
	uint8_t *in, *out;               /* owned, QUIC_UDP_BURST bytes each */
	struct quic_udp_burst built;     /* in `out`; len 0: nothing */
	bool blocked;                    /* the socket is full */
	bool working;                    /* quic_work() will come to it */
	void (*on_closed)(void *);
	void *closed_arg;
};

enum quic_conn_state {
	QUIC_RESOLVING,
	QUIC_SHAKING,
	QUIC_OPEN,
	QUIC_OVER,
	QUIC_LEAVING,
};

struct quic_conn {
	struct stream stream; /* first */
	enum quic_conn_state state;
	struct list_node node, touched;
	struct quic *quic;
	ngtcp2_conn *conn;        /* NULL while resolving and when leaving */
	gnutls_session_t session; /* as long as `conn` */
	ngtcp2_crypto_conn_ref ref;
	struct tls_proof proof;
	struct addr address; /* as dialled, or where it is now */
	bool dialled, started, reached, shaken, proven, trusted;
	bool full; /* its owner waits for room */
	bool paused, discarding;
	bool fin;   /* the peer said its last */
	bool told;  /* on_end() was called, or need not be */
	bool quiet; /* nobody listens: leave without a word */
	int64_t id; /* of the stream; -1: none yet */
	struct quic_send out;
	struct quic_size size;
	struct buf in; /* plaintext, not read yet */
	size_t in_at;
	uint64_t expiry_ns; /* of ngtcp2, of the name, of leaving */
	uint64_t heard_ns;
	uint64_t told_ns;    /* the time in the last call of ngtcp2 */
	VEC(ngtcp2_cid) cid; /* ours, in quic->by_cid */
	struct err end;
	ngtcp2_ccerr words; /* how to say it */
	bool has_words;
	struct buf last; /* the closing packet */
	struct quic_udp_burst last_to;
	unsigned last_said;
	/* Dialling by name. */
	uv_getaddrinfo_t resolve;
	bool resolving;
	struct addrinfo *list, *next; /* addresses of the name, and to try */
	unsigned tries;               /* that LIMIT_DIAL_NS must do for */
	void (*on_closed)(void *);
	void *closed_arg;
	bool closed; /* `on_closed` is due */
};

/* In quic_ngtcp2.c. */
void quic_random(void *out, size_t len);
bool quic_route_add(struct quic *q, const ngtcp2_cid *cid, struct quic_conn *c);
void quic_route_drop(struct quic *q, const ngtcp2_cid *cid);
/* Something is to be done for it: from the loop, soon. */
void quic_touch(struct quic_conn *c);
/* Send q->built; false when the socket is full and it must wait. */
bool quic_push(struct quic *q);
void quic_arm(struct quic *q);
void quic_try_free(struct quic *q);

/* In quic_conn_ngtcp2.c. */
struct quic_conn *quic_conn_dial(struct quic *q, const struct addr *to);
/* NULL when it cannot be made; `proven`: its token was ours, for `odcid`. */
struct quic_conn *quic_conn_accept(struct quic *q,
    const struct quic_udp_burst *b, const ngtcp2_pkt_hd *hd, bool proven,
    const ngtcp2_cid *odcid, struct err *err);
void quic_conn_read(struct quic_conn *c, const struct quic_udp_burst *b,
    const uint8_t *data, size_t len, uint64_t now_ns);
/* Send what there is to send. */
void quic_conn_write(struct quic_conn *c, uint64_t now_ns);
/* Hand notes on to the owner; the owner may close it. */
void quic_conn_tell(struct quic_conn *c);
void quic_conn_expire(struct quic_conn *c, uint64_t now_ns);
/* As the socket has it now. */
void quic_conn_keep_alive(struct quic_conn *c);
/* End it from here: `why` for the owner. */
void quic_conn_fail(struct quic_conn *c, const struct err *why);
/* The same, and tell the peer at once: the socket goes. */
void quic_conn_cut(struct quic_conn *c, const struct err *why);
void quic_conn_free(struct quic_conn *c);

#endif
