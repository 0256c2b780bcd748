/*
 * The QUIC socket; see quic_ngtcp2.h.
 *
 * A turn: read a few bursts, give each packet to its connection, tell owners
 * what came, then let each touched connection write: so acknowledgements and
 * answers share packets.  What is asked for from outside a turn (a flush)
 * writes at once.
 */
#include "mesh/quic_ngtcp2.h"

#include <string.h>

#include <gnutls/crypto.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/addr_uv.h"
#include "mesh/quic_conn_ngtcp2.h"

#define QUIC_BURSTS 8              /* read in one turn */
#define QUIC_FIRST_LEN 1200        /* RFC 9000, 14.1 */
#define QUIC_TOKEN_NS LIMIT_TLS_NS /* a Retry token is good for */

/* --- routes ----------------------------------------------------------- */

void
quic_random(void *out, size_t len)
{
	const int rc = gnutls_rnd(GNUTLS_RND_RANDOM, out, len);

	/* Without random numbers there is no encryption: nothing goes on. */
	ASSERT(rc >= 0);
}

static struct slice
quic_route_key(const ngtcp2_cid *cid)
{
	return slice_of(cid->data, cid->datalen);
}

bool
quic_route_add(struct quic *q, const ngtcp2_cid *cid, struct quic_conn *c)
{
	if (map_find(&q->by_cid, quic_route_key(cid)) != NULL)
		return false;
	map_put(&q->by_cid, quic_route_key(cid), c);
	*VEC_ADD(&c->cid) = *cid;
	return true;
}

void
quic_route_drop(struct quic *q, const ngtcp2_cid *cid)
{
	map_remove(&q->by_cid, quic_route_key(cid));
}

/* --- the loop --------------------------------------------------------- */

static void quic_on_poll(uv_poll_t *poll, int status, int events);
static void quic_on_timer(uv_timer_t *timer);

static void
quic_watch(struct quic *q)
{
	if (q->udp.fd >= 0)
		(void)uv_poll_start(&q->poll,
		    UV_READABLE | (q->blocked ? UV_WRITABLE : 0), quic_on_poll);
}

void
quic_touch(struct quic_conn *c)
{
	struct quic *q = c->quic;

	if (!list_has(&c->touched))
		list_add(&q->touched, &c->touched);
	if (!q->working)
		quic_arm(q);
}

bool
quic_push(struct quic *q)
{
	size_t n;

	if (q->built.len == 0)
		return true;
	n = quic_udp_send(&q->udp, q->out, &q->built);
	if (n == q->built.len) {
		q->built.len = 0;
		return true;
	}
	memmove(q->out, q->out + n, q->built.len - n);
	q->built.len -= n;
	q->blocked = true;
	quic_watch(q);
	return false;
}

void
quic_arm(struct quic *q)
{
	const uint64_t now_ns = uv_hrtime();
	uint64_t at = CLOCK_NEVER;
	struct list_node *node;

	if (q->working || !q->has_timer ||
	    uv_is_closing((uv_handle_t *)&q->timer))
		return;
	for (node = list_first(&q->conns); node != NULL;
	     node = list_next(&q->conns, node)) {
		const struct quic_conn *c =
		    LIST_ITEM(node, struct quic_conn, node);

		if (c->expiry_ns < at &&
		    !(c->state == QUIC_LEAVING && c->resolving))
			at = c->expiry_ns;
	}
	if (list_first(&q->touched) != NULL && !q->blocked)
		at = 0;
	if (q->closing && list_first(&q->conns) == NULL)
		at = 0;
	if (at >= q->armed_ns && q->armed_ns > now_ns)
		return;
	q->armed_ns = at;
	timer_uv_arm(&q->timer, quic_on_timer, at);
}

static void
quic_tell_closed(struct quic_conn *c)
{
	if (!c->closed)
		return;
	c->closed = false;
	if (c->on_closed != NULL)
		c->on_closed(c->closed_arg);
}

/* Owners hear what came; each connection stays touched. */
static void
quic_tell(struct quic *q)
{
	struct list_node *node = list_first(&q->touched);

	while (node != NULL) {
		struct quic_conn *c =
		    LIST_ITEM(node, struct quic_conn, touched);

		/* None is freed in here: the next one stays valid. */
		node = list_next(&q->touched, node);
		quic_conn_tell(c);
	}
}

/* Let those that were touched speak. */
static void
quic_finish(struct quic *q)
{
	size_t turns = q->touched.count;
	struct list_node *node;

	while (turns-- > 0 && (node = list_first(&q->touched)) != NULL) {
		struct quic_conn *c =
		    LIST_ITEM(node, struct quic_conn, touched);

		list_remove(&q->touched, node);
		quic_conn_write(c, uv_hrtime());
		quic_conn_tell(c);
		quic_tell_closed(c);
	}
}

static void
quic_expire(struct quic *q, uint64_t now_ns)
{
	struct list_node *node = list_first(&q->conns);

	while (node != NULL) {
		struct quic_conn *c = LIST_ITEM(node, struct quic_conn, node);

		node = list_next(&q->conns, node);
		if (c->expiry_ns <= now_ns)
			quic_conn_expire(c, now_ns);
	}
}

static void
quic_on_timer(uv_timer_t *timer)
{
	struct quic *q = timer->data;

	q->armed_ns = CLOCK_NEVER;
	q->working = true;
	quic_expire(q, uv_hrtime());
	quic_tell(q);
	quic_finish(q);
	q->working = false;
	quic_try_free(q);
	quic_arm(q);
}

/* --- strangers -------------------------------------------------------- */

static void
quic_reply(struct quic *q, const struct quic_udp_burst *b, size_t len)
{
	struct quic_udp_burst to = *b;

	to.len = to.segment = len;
	(void)quic_udp_send(&q->udp, q->out, &to);
}

static void
quic_refuse_version(struct quic *q, const struct quic_udp_burst *b,
    const ngtcp2_version_cid *vc)
{
	const uint32_t version[] = { NGTCP2_PROTO_VER_V1 };
	uint8_t random;
	ngtcp2_ssize n;

	quic_random(&random, 1);
	n = ngtcp2_pkt_write_version_negotiation(q->out, QUIC_FIRST_LEN, random,
	    vc->scid, vc->scidlen, vc->dcid, vc->dcidlen, version, 1);
	if (n > 0)
		quic_reply(q, b, (size_t)n);
}

static void
quic_ask_proof(struct quic *q, const struct quic_udp_burst *b,
    const ngtcp2_pkt_hd *hd)
{
	uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
	ngtcp2_cid scid = { .datalen = QUIC_CID_LEN };
	ngtcp2_ssize n;

	quic_random(scid.data, QUIC_CID_LEN);
	n = ngtcp2_crypto_generate_retry_token(token, q->secret,
	    sizeof(q->secret), hd->version, (const ngtcp2_sockaddr *)&b->peer,
	    b->peer_len, &scid, &hd->dcid, uv_hrtime());
	if (n < 0)
		return;
	n = ngtcp2_crypto_write_retry(q->out, QUIC_FIRST_LEN, hd->version,
	    &hd->scid, &scid, &hd->dcid, token, (size_t)n);
	if (n > 0)
		quic_reply(q, b, (size_t)n);
}

/* A first packet of nobody we know. */
static void
quic_knock(struct quic *q, const struct quic_udp_burst *b, const uint8_t *data,
    size_t len, uint64_t now_ns)
{
	ngtcp2_cid odcid = { 0 };
	struct err err = { 0 };
	const uint8_t *token;
	struct quic_conn *c;
	ngtcp2_pkt_hd hd;
	struct addr from;
	size_t token_len;
	bool proven = false;

	if (ngtcp2_accept(&hd, data, len) != 0)
		return;
	quic_compat_token(&hd, &token, &token_len);
	if (token_len > 0 && token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY) {
		/* A client takes one Retry and no second: a bad token is the
		 * end. */
		if (ngtcp2_crypto_verify_retry_token(&odcid, token, token_len,
			q->secret, sizeof(q->secret), hd.version,
			(const ngtcp2_sockaddr *)&b->peer, b->peer_len,
			&hd.dcid, QUIC_TOKEN_NS, now_ns) != 0)
			return;
		proven = true;
	}
	addr_uv_from_sockaddr(&from, (const struct sockaddr *)&b->peer);
	from.scheme = ADDR_QUIC;
	switch (q->cb.on_knock(q->arg, &from, proven)) {
	case QUIC_IGNORE:
		return;
	case QUIC_PROVE:
		if (!q->blocked) /* else `out` is in use */
			quic_ask_proof(q, b, &hd);
		return;
	case QUIC_ENTER:
		break;
	}
	c = quic_conn_accept(q, b, &hd, proven, &odcid, &err);
	if (c == NULL)
		return;
	q->cb.on_accept(q->arg, &c->stream);
	quic_conn_read(c, b, data, len, now_ns);
}

/* --- packets ---------------------------------------------------------- */

/* Nobody's packet: STUN's, a probe, or noise. */
static void
quic_other(struct quic *q, const struct quic_udp_burst *b,
    struct slice datagram)
{
	struct addr from;

	if (q->on_other == NULL)
		return;
	addr_uv_from_sockaddr(&from, (const struct sockaddr *)&b->peer);
	from.scheme = ADDR_QUIC;
	q->on_other(q->other_arg, q, datagram, &from);
}

/*
 * By the ID it is sent to.  The bit that marks QUIC does not tell: peers may
 * clear it (RFC 9287), and ngtcp2 0.12 does.
 */
static void
quic_deal(struct quic *q, const struct quic_udp_burst *b, const uint8_t *data,
    size_t len, uint64_t now_ns)
{
	struct quic_conn *c = NULL;
	ngtcp2_version_cid vc;
	int rv;

	if (len == 0)
		return;
	rv = ngtcp2_pkt_decode_version_cid(&vc, data, len, QUIC_CID_LEN);
	if (rv == 0 || rv == NGTCP2_ERR_VERSION_NEGOTIATION)
		c = map_find(&q->by_cid, slice_of(vc.dcid, vc.dcidlen));
	if (c != NULL)
		quic_conn_read(c, b, data, len, now_ns);
	else if ((data[0] & 0x80) == 0)
		quic_other(q, b, slice_of(data, len));
	else if (!q->accepting)
		return;
	else if (rv == 0)
		quic_knock(q, b, data, len, now_ns);
	else if (rv == NGTCP2_ERR_VERSION_NEGOTIATION &&
		 len >= QUIC_FIRST_LEN && !q->blocked)
		quic_refuse_version(q, b, &vc);
}

/* Is it from, or for, a place that quic_set_lan_only() leaves out? */
static bool
quic_leaves_out(const struct quic *q, const struct sockaddr_storage *there)
{
	struct addr addr;

	if (!q->lan_only)
		return false;
	addr_uv_from_sockaddr(&addr, (const struct sockaddr *)there);
	return !addr_is_lan(&addr);
}

void
quic_set_lan_only(struct quic *q, bool lan_only)
{
	q->lan_only = lan_only;
}

void
quic_set_keep_alive(struct quic *q, uint64_t keep_alive_ns)
{
	struct list_node *node;

	if (q->keep_alive_ns == keep_alive_ns)
		return;
	q->keep_alive_ns = keep_alive_ns;
	for (node = list_first(&q->conns); node != NULL;
	     node = list_next(&q->conns, node)) {
		struct quic_conn *c = LIST_ITEM(node, struct quic_conn, node);

		quic_conn_keep_alive(c);
		quic_touch(c);
	}
}

static void
quic_receive(struct quic *q)
{
	struct quic_udp_burst b;

	for (int i = 0; i < QUIC_BURSTS; i++) {
		uint64_t now_ns;

		if (q->udp.fd < 0 || !quic_udp_receive(&q->udp, q->in, &b))
			return;
		if (quic_leaves_out(q, &b.peer))
			continue;
		now_ns = uv_hrtime();
		for (size_t at = 0; at < b.len; at += b.segment) {
			size_t n = b.len - at;

			if (n > b.segment)
				n = b.segment;
			quic_deal(q, &b, q->in + at, n, now_ns);
		}
		quic_tell(q);
	}
}

static void
quic_on_poll(uv_poll_t *poll, int status, int events)
{
	struct quic *q = poll->data;

	q->working = true;
	/* An error of the socket is read away like a datagram. */
	if (status < 0 || (events & UV_READABLE) != 0)
		quic_receive(q);
	if ((events & UV_WRITABLE) != 0 && q->blocked) {
		q->blocked = false;
		if (quic_push(q))
			quic_watch(q);
	}
	quic_finish(q);
	q->working = false;
	q->armed_ns = CLOCK_NEVER;
	quic_arm(q);
}

/* --- opening and closing ---------------------------------------------- */

int
quic_open(struct quic **out, uv_loop_t *loop, const struct identity *id,
    const struct addr *at, const struct quic_callbacks *cb, void *arg,
    struct addr *bound, struct err *err)
{
	struct quic *q = mem_zalloc(sizeof(*q));
	uint64_t seed;
	int rc = quic_udp_open(&q->udp, at, bound, err);

	*out = NULL;
	if (rc < 0) {
		mem_free(q);
		return rc;
	}
	q->loop = loop;
	q->identity = id;
	q->arg = arg;
	q->accepting = cb != NULL;
	if (cb != NULL)
		q->cb = *cb;
	quic_random(q->secret, sizeof(q->secret));
	quic_random(&seed, sizeof(seed));
	map_init_seed(&q->by_cid, seed);
	list_init(&q->conns);
	list_init(&q->touched);
	q->in = mem_alloc(QUIC_UDP_BURST);
	q->out = mem_alloc(QUIC_UDP_BURST);
	q->armed_ns = CLOCK_NEVER;
	q->keep_alive_ns = QUIC_KEEP_ALIVE_NS;
	q->poll.data = q->timer.data = q;
	rc = uv_poll_init(loop, &q->poll, q->udp.fd);
	ASSERT(rc == 0);
	uv_timer_init(loop, &q->timer);
	q->has_poll = q->has_timer = true;
	quic_watch(q);
	*out = q;
	return 0;
}

static void
quic_freed(struct quic *q)
{
	if (q->has_poll || q->has_timer)
		return;
	if (q->on_closed != NULL)
		q->on_closed(q->closed_arg);
	map_fini(&q->by_cid);
	mem_free(q->in);
	mem_free(q->out);
	memset(q->secret, 0, sizeof(q->secret));
	mem_free(q);
}

static void
quic_poll_freed(uv_handle_t *handle)
{
	struct quic *q = handle->data;

	q->has_poll = false;
	quic_freed(q);
}

static void
quic_timer_freed(uv_handle_t *handle)
{
	struct quic *q = handle->data;

	q->has_timer = false;
	quic_freed(q);
}

static void
quic_close_socket(struct quic *q)
{
	if (!uv_is_closing((uv_handle_t *)&q->poll))
		uv_close((uv_handle_t *)&q->poll, quic_poll_freed);
	quic_udp_close(&q->udp);
	q->built.len = 0;
	q->blocked = false;
}

/* Those that only wait to repeat their last packet do not hold it up. */
void
quic_try_free(struct quic *q)
{
	struct list_node *node;

	if (!q->closing || uv_is_closing((uv_handle_t *)&q->timer))
		return;
	for (node = list_first(&q->conns); node != NULL;
	     node = list_next(&q->conns, node)) {
		const struct quic_conn *c =
		    LIST_ITEM(node, struct quic_conn, node);

		if (c->state != QUIC_LEAVING || c->closed || c->resolving)
			return;
	}
	while ((node = list_first(&q->conns)) != NULL)
		quic_conn_free(LIST_ITEM(node, struct quic_conn, node));
	quic_close_socket(q);
	uv_close((uv_handle_t *)&q->timer, quic_timer_freed);
}

void
quic_close(struct quic *q, void (*on_closed)(void *), void *arg)
{
	ASSERT(!q->closing);
	q->closing = true;
	q->accepting = false;
	q->on_other = NULL;
	q->on_closed = on_closed;
	q->closed_arg = arg;
	q->armed_ns = CLOCK_NEVER;
	quic_arm(q);
}

void
quic_cut(struct quic *q, const char *why, void (*on_closed)(void *), void *arg)
{
	struct list_node *node;
	struct err err = { 0 };

	err_set(&err, ERR_CLOSED, "%s", why);
	for (node = list_first(&q->conns); node != NULL;
	     node = list_next(&q->conns, node))
		quic_conn_cut(LIST_ITEM(node, struct quic_conn, node), &err);
	quic_close_socket(q);
	quic_close(q, on_closed, arg);
}

/* --- dialling --------------------------------------------------------- */

bool
quic_can_dial(const struct quic *q, const struct addr *to)
{
	struct sockaddr_storage sa;
	socklen_t len;

	if (q->closing || !q->udp.wild)
		return false;
	if (to->host == ADDR_NAME)
		return q->udp.at.ss_family == AF_INET6 || to->family == ADDR_V4;
	return addr_uv_to_sockaddr(to, &sa, NULL) == 0 &&
	       quic_udp_fit(&q->udp, &sa, &len);
}

struct stream *
quic_dial(struct quic *q, const struct addr *to)
{
	struct quic_conn *c;

	ASSERT(!q->closing);
	c = quic_conn_dial(q, to);
	quic_arm(q);
	return &c->stream;
}

void
quic_set_other(struct quic *q, quic_other_fn *fn, void *arg)
{
	q->on_other = fn;
	q->other_arg = arg;
}

void
quic_send_other(struct quic *q, struct slice datagram, const struct addr *to,
    int hops)
{
	struct quic_udp_burst b = { .own = q->udp.at,
		.own_len = q->udp.at_len,
		.hops = hops };

	if (datagram.len == 0 || datagram.len > QUIC_FIRST_LEN ||
	    addr_uv_to_sockaddr(to, &b.peer, NULL) < 0 ||
	    quic_leaves_out(q, &b.peer) ||
	    !quic_udp_fit(&q->udp, &b.peer, &b.peer_len))
		return;
	b.len = b.segment = datagram.len;
	(void)quic_udp_send(&q->udp, datagram.ptr, &b);
}
