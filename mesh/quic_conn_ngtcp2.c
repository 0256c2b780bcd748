/*
 * One QUIC connection; see quic_conn_ngtcp2.h.
 *
 * Bytes in:  packet -> ngtcp2 -> `in` -> stream_read(), which gives credit back
 * Bytes out: stream_write() -> `out` -> ngtcp2 -> bursts of equal packets
 */
#include "mesh/quic_conn_ngtcp2.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/crypto.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/addr_uv.h"
#include "mesh/mesh.h"

#define QUIC_BURST_LEN 64000 /* of one call: UDP's own limit */
#define QUIC_STUCK_NS (500 * CLOCK_MS)
#define QUIC_LEAVE_MIN_NS (100 * CLOCK_MS)
#define QUIC_LEAVE_MAX_NS CLOCK_S
#define QUIC_LAST_SAID 8 /* times the last packet is repeated */
#define QUIC_ROOM (LIMIT_QUIC_UNSENT / 2)

static const struct stream_ops quic_conn_ops;

static struct quic_conn *
quic_conn_of(struct stream *st)
{
	return (struct quic_conn *)(void *)st;
}

static const struct quic_conn *
quic_conn_const(const struct stream *st)
{
	return (const struct quic_conn *)(const void *)st;
}

static bool
quic_conn_is_live(const struct quic_conn *c)
{
	return c->state == QUIC_SHAKING || c->state == QUIC_OPEN;
}

static void
quic_conn_path(ngtcp2_path *path, const struct quic_udp_burst *b)
{
	*path = (ngtcp2_path){
		.local = { (ngtcp2_sockaddr *)(uintptr_t)&b->own, b->own_len },
		.remote = { (ngtcp2_sockaddr *)(uintptr_t)&b->peer,
		    b->peer_len },
	};
}

static void
quic_conn_take_address(struct quic_conn *c, const ngtcp2_addr *remote)
{
	addr_uv_from_sockaddr(&c->address, remote->addr);
	c->address.scheme = ADDR_QUIC;
}

/* --- what ngtcp2 calls: notes only ------------------------------------ */

static ngtcp2_conn *
quic_conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
	return ((struct quic_conn *)ref->user_data)->conn;
}

static void
quic_conn_on_rand(uint8_t *out, size_t len, const ngtcp2_rand_ctx *ctx)
{
	(void)ctx;
	quic_random(out, len);
}

static int
quic_conn_on_new_cid(ngtcp2_conn *conn, ngtcp2_cid *cid, uint8_t *token,
    size_t len, void *arg)
{
	struct quic_conn *c = arg;

	(void)conn;
	cid->datalen = len;
	quic_random(cid->data, len);
	if (ngtcp2_crypto_generate_stateless_reset_token(token, c->quic->secret,
		sizeof(c->quic->secret), cid) != 0 ||
	    !quic_route_add(c->quic, cid, c))
		return NGTCP2_ERR_CALLBACK_FAILURE;
	return 0;
}

static int
quic_conn_on_drop_cid(ngtcp2_conn *conn, const ngtcp2_cid *cid, void *arg)
{
	struct quic_conn *c = arg;

	(void)conn;
	for (size_t i = 0; i < c->cid.len; i++)
		if (ngtcp2_cid_eq(&c->cid.item[i], cid)) {
			quic_route_drop(c->quic, cid);
			VEC_DROP(&c->cid, i);
			break;
		}
	return 0;
}

static int
quic_conn_on_shaken(ngtcp2_conn *conn, void *arg)
{
	struct quic_conn *c = arg;

	(void)conn;
	c->shaken = true;
	return 0;
}

static int
quic_conn_on_stream(ngtcp2_conn *conn, int64_t id, void *arg)
{
	struct quic_conn *c = arg;

	(void)conn;
	/* The peer may open one, and only when it dialled: our parameters. */
	if (c->id < 0)
		c->id = id;
	return 0;
}

static int
quic_conn_on_data(ngtcp2_conn *conn, uint32_t flags, int64_t id,
    uint64_t offset, const uint8_t *data, size_t len, void *arg,
    void *stream_arg)
{
	struct quic_conn *c = arg;

	(void)offset;
	(void)stream_arg;
	if (id != c->id)
		return 0;
	if ((flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0)
		c->fin = true;
	if (c->discarding) {
		ngtcp2_conn_extend_max_offset(conn, len);
		return ngtcp2_conn_extend_max_stream_offset(conn, id, len);
	}
	buf_put(&c->in, slice_of(data, len));
	return 0;
}

static int
quic_conn_on_acked(ngtcp2_conn *conn, int64_t id, uint64_t offset, uint64_t len,
    void *arg, void *stream_arg)
{
	struct quic_conn *c = arg;

	(void)conn;
	(void)stream_arg;
	if (id == c->id) {
		quic_send_acked(&c->out, offset + len);
		quic_size_acked(&c->size, offset + len, c->told_ns);
	}
	return 0;
}

static int
quic_conn_on_stream_end(struct quic_conn *c, int64_t id)
{
	if (id == c->id)
		c->fin = true;
	return 0;
}

static int
quic_conn_on_reset(ngtcp2_conn *conn, int64_t id, uint64_t size, uint64_t code,
    void *arg, void *stream_arg)
{
	(void)conn;
	(void)size;
	(void)code;
	(void)stream_arg;
	return quic_conn_on_stream_end(arg, id);
}

static int
quic_conn_on_stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t id,
    uint64_t code, void *arg, void *stream_arg)
{
	(void)conn;
	(void)flags;
	(void)code;
	(void)stream_arg;
	return quic_conn_on_stream_end(arg, id);
}

static const ngtcp2_callbacks quic_conn_callbacks = {
	.client_initial = ngtcp2_crypto_client_initial_cb,
	.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
	.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
	.encrypt = ngtcp2_crypto_encrypt_cb,
	.decrypt = ngtcp2_crypto_decrypt_cb,
	.hp_mask = ngtcp2_crypto_hp_mask_cb,
	.recv_retry = ngtcp2_crypto_recv_retry_cb,
	.update_key = ngtcp2_crypto_update_key_cb,
	.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
	.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
	.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
	.version_negotiation = ngtcp2_crypto_version_negotiation_cb,
	.rand = quic_conn_on_rand,
	.get_new_connection_id = quic_conn_on_new_cid,
	.remove_connection_id = quic_conn_on_drop_cid,
	.handshake_completed = quic_conn_on_shaken,
	.stream_open = quic_conn_on_stream,
	.recv_stream_data = quic_conn_on_data,
	.acked_stream_data_offset = quic_conn_on_acked,
	.stream_reset = quic_conn_on_reset,
	.stream_close = quic_conn_on_stream_close,
};

/* --- ending ----------------------------------------------------------- */

void
quic_conn_fail(struct quic_conn *c, const struct err *why)
{
	if (c->state == QUIC_OVER || c->state == QUIC_LEAVING)
		return;
	c->state = QUIC_OVER;
	c->end = *why;
	c->expiry_ns = CLOCK_NEVER;
	quic_touch(c);
}

/* Give up what only a living connection needs. */
static void
quic_conn_drop_state(struct quic_conn *c)
{
	if (c->conn != NULL)
		ngtcp2_conn_del(c->conn);
	c->conn = NULL;
	if (c->session != NULL)
		gnutls_deinit(c->session);
	c->session = NULL;
}

static void
quic_conn_drop_routes(struct quic_conn *c)
{
	for (size_t i = 0; i < c->cid.len; i++)
		quic_route_drop(c->quic, &c->cid.item[i]);
	VEC_CLEAR(&c->cid);
}

void
quic_conn_free(struct quic_conn *c)
{
	struct quic *q = c->quic;

	ASSERT(!c->resolving && !c->closed);
	if (list_has(&c->touched))
		list_remove(&q->touched, &c->touched);
	list_remove(&q->conns, &c->node);
	quic_conn_drop_routes(c);
	quic_conn_drop_state(c);
	VEC_FINI(&c->cid);
	tls_proof_fini(&c->proof);
	quic_send_fini(&c->out);
	buf_fini(&c->in);
	buf_fini(&c->last);
	if (c->list != NULL)
		uv_freeaddrinfo(c->list);
	mem_free(c);
}

/* The peer said that it is over; how, in words. */
static void
quic_conn_closed_by_peer(struct quic_conn *c)
{
	struct err err = { 0 };
	char text[160];
	ngtcp2_ccerr said;

	quic_compat_ccerr(c->conn, &said);
	mesh_clean_text(text, sizeof(text),
	    slice_of(said.reason, said.reasonlen));
	if (said.type == NGTCP2_CCERR_TYPE_APPLICATION)
		err_set(&err, ERR_CLOSED, "the peer closed%s%s",
		    text[0] != '\0' ? ": " : "", text);
	else if (said.error_code >= NGTCP2_CRYPTO_ERROR &&
		 said.error_code < NGTCP2_CRYPTO_ERROR + 256)
		err_set(&err, ERR_PROTOCOL, "TLS: the peer refused: %s",
		    gnutls_alert_get_name(
			(gnutls_alert_description_t)(said.error_code -
						     NGTCP2_CRYPTO_ERROR)));
	else
		err_set(&err, ERR_CLOSED,
		    "the peer closed: QUIC error 0x%llx%s%s",
		    (unsigned long long)said.error_code,
		    text[0] != '\0' ? ": " : "", text);
	c->quiet = true;
	quic_conn_fail(c, &err);
}

/* ngtcp2 gave up, with its code `rv`. */
static void
quic_conn_broken(struct quic_conn *c, int rv)
{
	struct err err = { 0 };
	uint8_t alert;

	switch (rv) {
	case NGTCP2_ERR_DRAINING:
		quic_conn_closed_by_peer(c);
		return;
	case NGTCP2_ERR_IDLE_CLOSE:
		c->quiet = true;
		err_set(&err, ERR_CLOSED, "nothing heard for %u s",
		    (unsigned)(LIMIT_QUIC_IDLE_NS / CLOCK_S));
		break;
	case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
		c->quiet = true;
		err_set(&err, ERR_CLOSED, "no answer within %u s",
		    (unsigned)(LIMIT_DIAL_NS / CLOCK_S));
		err.sys = ETIMEDOUT;
		break;
	case NGTCP2_ERR_DROP_CONN:
	case NGTCP2_ERR_RETRY:
		c->quiet = true;
		err_set(&err, ERR_PROTOCOL, "QUIC: not a connection");
		break;
	case NGTCP2_ERR_CRYPTO:
		alert = ngtcp2_conn_get_tls_alert(c->conn);
		ngtcp2_ccerr_set_tls_alert(&c->words, alert, NULL, 0);
		c->has_words = true;
		err_set(&err, ERR_PROTOCOL, "TLS handshake: %s",
		    gnutls_alert_get_name((gnutls_alert_description_t)alert));
		break;
	default:
		ngtcp2_ccerr_set_liberr(&c->words, rv, NULL, 0);
		c->has_words = true;
		err_set(&err, ERR_PROTOCOL, "QUIC: %s", ngtcp2_strerror(rv));
		break;
	}
	quic_conn_fail(c, &err);
}

/* --- opening ---------------------------------------------------------- */

static struct quic_conn *
quic_conn_new(struct quic *q, bool dialled)
{
	struct quic_conn *c = mem_zalloc(sizeof(*c));

	c->stream.ops = &quic_conn_ops;
	c->quic = q;
	c->dialled = c->proven = dialled;
	c->id = -1;
	c->resolve.data = c;
	c->ref.get_conn = quic_conn_of_ref;
	c->ref.user_data = c;
	c->expiry_ns = CLOCK_NEVER;
	list_add(&q->conns, &c->node);
	return c;
}

/*
 * The time to tell ngtcp2: never before what it was told last, or 1.x ends the
 * program.  A burst of datagrams has one time, and is older than a connection
 * that is made for the first of them.
 */
static uint64_t
quic_conn_time(struct quic_conn *c, uint64_t now_ns)
{
	if (now_ns > c->told_ns)
		c->told_ns = now_ns;
	return c->told_ns;
}

static void
quic_conn_settings(struct quic_conn *c, ngtcp2_settings *settings,
    ngtcp2_transport_params *params)
{
	const unsigned tries = c->tries > 0 ? c->tries : 1;

	c->size = (struct quic_size){ 0 };
	ngtcp2_settings_default(settings);
	settings->initial_ts = quic_conn_time(c, uv_hrtime());
	settings->handshake_timeout = LIMIT_DIAL_NS / tries;
	settings->max_tx_udp_payload_size = QUIC_SIZE_SHORT;
	if (addr_is_loopback(&c->address)) {
		quic_size_try(&c->size);
		/* We say how long each may be; ngtcp2 is to try nothing. */
		settings->max_tx_udp_payload_size = QUIC_SIZE_LONG;
		settings->no_tx_udp_payload_size_shaping = 1;
		settings->no_pmtud = 1;
	}
	/* Where packets get lost by chance, CUBIC starves; 0011-quic.md. */
	settings->cc_algo = addr_is_loopback(&c->address) ? NGTCP2_CC_ALGO_CUBIC
							  : QUIC_COMPAT_BBR;
	ngtcp2_transport_params_default(params);
	params->initial_max_data = LIMIT_QUIC_EARLY;
	params->initial_max_stream_data_bidi_local = LIMIT_QUIC_EARLY;
	params->initial_max_stream_data_bidi_remote = LIMIT_QUIC_EARLY;
	params->initial_max_streams_bidi = c->dialled ? 0 : 1;
	params->initial_max_streams_uni = 0;
	params->max_idle_timeout = LIMIT_QUIC_IDLE_NS;
	params->active_connection_id_limit = 4;
}

static int
quic_conn_start_tls(struct quic_conn *c, struct err *err)
{
	const enum tls_role role = c->dialled ? TLS_CLIENT : TLS_SERVER;
	int rc = tls_proof_session(&c->session, c->quic->identity, role,
	    TLS_PROOF_QUIC, err);

	if (rc < 0)
		return rc;
	if ((c->dialled
		    ? ngtcp2_crypto_gnutls_configure_client_session(c->session)
		    : ngtcp2_crypto_gnutls_configure_server_session(
			  c->session)) != 0)
		return err_set(err, ERR_IO, "QUIC: no TLS session");
	gnutls_session_set_ptr(c->session, &c->ref);
	return 0;
}

static void
quic_conn_new_cid(ngtcp2_cid *cid)
{
	cid->datalen = QUIC_CID_LEN;
	quic_random(cid->data, QUIC_CID_LEN);
}

/* Who was called waits until it knows by whom. */
void
quic_conn_keep_alive(struct quic_conn *c)
{
	if (quic_conn_is_live(c) && (c->dialled || c->trusted))
		ngtcp2_conn_set_keep_alive_timeout(c->conn,
		    c->quic->keep_alive_ns);
}

/* The first packet goes out with the next quic_conn_write(). */
static int
quic_conn_connect(struct quic_conn *c, struct sockaddr_storage *to,
    struct err *err)
{
	struct quic_udp_burst b = { .own = c->quic->udp.at,
		.own_len = c->quic->udp.at_len };
	ngtcp2_transport_params params;
	ngtcp2_settings settings;
	ngtcp2_cid dcid, scid;
	ngtcp2_path path;
	int rc;

	if (!quic_udp_fit(&c->quic->udp, to, &b.peer_len))
		return err_set(err, ERR_NOT_FOUND,
		    "the socket cannot reach such an address");
	b.peer = *to;
	quic_conn_path(&path, &b);
	quic_conn_take_address(c, &path.remote);
	rc = quic_conn_start_tls(c, err);
	if (rc < 0)
		return rc;
	quic_conn_settings(c, &settings, &params);
	quic_conn_new_cid(&dcid);
	quic_conn_new_cid(&scid);
	rc = ngtcp2_conn_client_new(&c->conn, &dcid, &scid, &path,
	    NGTCP2_PROTO_VER_V1, &quic_conn_callbacks, &settings, &params, NULL,
	    c);
	if (rc != 0)
		return err_set(err, ERR_IO, "QUIC: %s", ngtcp2_strerror(rc));
	ngtcp2_conn_set_tls_native_handle(c->conn, c->session);
	c->state = QUIC_SHAKING;
	quic_conn_keep_alive(c);
	if (!quic_route_add(c->quic, &scid, c))
		return err_set(err, ERR_IO, "QUIC: no connection ID");
	return 0;
}

/* Try the addresses that are left; fails the connection when none is. */
static void
quic_conn_connect_next(struct quic_conn *c)
{
	struct err err = { 0 };

	err_set(&err, ERR_NOT_FOUND, "the name has no usable address");
	while (c->next != NULL) {
		struct sockaddr_storage to = { 0 };
		const struct addrinfo *at = c->next;

		c->next = at->ai_next;
		if ((at->ai_family == AF_INET &&
			c->address.family == ADDR_V6) ||
		    (at->ai_family == AF_INET6 &&
			c->address.family == ADDR_V4) ||
		    at->ai_addrlen > sizeof(to))
			continue;
		quic_conn_drop_routes(c);
		quic_conn_drop_state(c);
		memcpy(&to, at->ai_addr, at->ai_addrlen);
		if (quic_conn_connect(c, &to, &err) == 0) {
			quic_touch(c);
			return;
		}
	}
	c->quiet = true;
	quic_conn_fail(c, &err);
}

static void
quic_conn_on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct quic_conn *c = req->data;
	struct err err = { 0 };

	c->resolving = false;
	c->list = c->next = list;
	if (c->state != QUIC_RESOLVING) {
		/* Given up meanwhile; it may be freed now. */
		c->quic->armed_ns = CLOCK_NEVER;
		quic_arm(c->quic);
		return;
	}
	for (const struct addrinfo *a = list; a != NULL && c->tries < 3;
	     a = a->ai_next)
		c->tries++;
	if (status >= 0) {
		quic_conn_connect_next(c);
		return;
	}
	err_set(&err, ERR_NOT_FOUND, "resolve %s: %s", c->address.name,
	    uv_strerror(status));
	quic_conn_fail(c, &err);
}

static void
quic_conn_resolve(struct quic_conn *c, struct err *err)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_DGRAM };
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%u", c->address.port);
	rc = uv_getaddrinfo(c->quic->loop, &c->resolve, quic_conn_on_resolved,
	    c->address.name, port, &hints);
	c->resolving = rc == 0;
	if (rc < 0)
		err_set(err, ERR_NOT_FOUND, "resolve %s: %s", c->address.name,
		    uv_strerror(rc));
}

/* From the loop, once; so that no callback comes from inside quic_dial(). */
static void
quic_conn_dial_now(struct quic_conn *c, uint64_t now_ns)
{
	struct sockaddr_storage to;
	struct err err = { 0 };

	c->started = true;
	c->expiry_ns = now_ns + LIMIT_DIAL_NS;
	if (c->address.host == ADDR_NAME &&
	    strcmp(c->address.name, "localhost") != 0)
		quic_conn_resolve(c, &err);
	else if (addr_uv_to_sockaddr(&c->address, &to, &err) == 0)
		(void)quic_conn_connect(c, &to, &err);
	if (err.code != 0)
		quic_conn_fail(c, &err);
	else if (c->state == QUIC_SHAKING)
		quic_touch(c);
}

struct quic_conn *
quic_conn_dial(struct quic *q, const struct addr *to)
{
	struct quic_conn *c = quic_conn_new(q, true);

	c->state = QUIC_RESOLVING;
	c->address = *to;
	c->expiry_ns = 0;
	return c;
}

struct quic_conn *
quic_conn_accept(struct quic *q, const struct quic_udp_burst *b,
    const ngtcp2_pkt_hd *hd, bool proven, const ngtcp2_cid *odcid,
    struct err *err)
{
	struct quic_conn *c = quic_conn_new(q, false);
	ngtcp2_transport_params params;
	ngtcp2_settings settings;
	ngtcp2_cid scid;
	ngtcp2_path path;
	int rc;

	quic_conn_path(&path, b);
	quic_conn_take_address(c, &path.remote);
	c->state = QUIC_SHAKING;
	c->proven = proven;
	rc = quic_conn_start_tls(c, err);
	if (rc < 0)
		goto out;
	quic_conn_settings(c, &settings, &params);
	quic_compat_original_dcid(&params, proven ? odcid : &hd->dcid);
	if (proven) {
		params.retry_scid = hd->dcid;
		params.retry_scid_present = 1;
		quic_compat_set_token(&settings, hd);
	}
	quic_conn_new_cid(&scid);
	rc = ngtcp2_conn_server_new(&c->conn, &hd->scid, &scid, &path,
	    hd->version, &quic_conn_callbacks, &settings, &params, NULL, c);
	if (rc != 0) {
		rc = err_set(err, ERR_IO, "QUIC: %s", ngtcp2_strerror(rc));
		goto out;
	}
	ngtcp2_conn_set_tls_native_handle(c->conn, c->session);
	/* The client uses its own choice of ID until it has heard of ours. */
	if (!quic_route_add(q, &scid, c) || !quic_route_add(q, &hd->dcid, c))
		rc = err_set(err, ERR_IO, "QUIC: no connection ID");
out:
	if (rc < 0) {
		quic_conn_free(c);
		return NULL;
	}
	return c;
}

/* --- packets ---------------------------------------------------------- */

static void
quic_conn_say_last(struct quic_conn *c)
{
	if (c->last.len == 0 || c->last_said >= QUIC_LAST_SAID)
		return;
	c->last_said++;
	(void)quic_udp_send(&c->quic->udp, c->last.ptr, &c->last_to);
}

void
quic_conn_read(struct quic_conn *c, const struct quic_udp_burst *b,
    const uint8_t *data, size_t len, uint64_t now_ns)
{
	const ngtcp2_pkt_info pi = { 0 };
	struct quic_udp_burst at;
	ngtcp2_path path;
	int rv;

	if (c->state == QUIC_LEAVING)
		quic_conn_say_last(c);
	if (!quic_conn_is_live(c))
		return;
	now_ns = quic_conn_time(c, now_ns);
	quic_conn_path(&path, b);
	if (c->dialled) {
		/* Ours is whatever the system takes: it may change. */
		at = (struct quic_udp_burst){ .own = c->quic->udp.at,
			.own_len = c->quic->udp.at_len };
		path.local =
		    (ngtcp2_addr){ (ngtcp2_sockaddr *)&at.own, at.own_len };
	}
	rv = ngtcp2_conn_read_pkt(c->conn, &path, &pi, data, len, now_ns);
	if (rv == 0)
		c->heard_ns = now_ns;
	else
		quic_conn_broken(c, rv);
	quic_touch(c);
}

/* One packet into `dest`; 0: none now; below 0: it is over. */
static ngtcp2_ssize
quic_conn_packet(struct quic_conn *c, ngtcp2_path *path, uint8_t *dest,
    size_t dest_len, uint64_t now_ns)
{
	ngtcp2_vec vec[2];
	struct slice piece[2];
	ngtcp2_pkt_info pi;
	ngtcp2_ssize n, taken = -1;
	int64_t id = -1;
	size_t count = 0;

	if (c->id >= 0 && quic_send_unsent(&c->out) > 0 && !c->fin) {
		id = c->id;
		count = quic_send_next(&c->out, piece);
		for (size_t i = 0; i < count; i++)
			vec[i] =
			    (ngtcp2_vec){ (uint8_t *)(uintptr_t)piece[i].ptr,
				    piece[i].len };
	}
	n = ngtcp2_conn_writev_stream(c->conn, path, &pi, dest, dest_len,
	    &taken, NGTCP2_WRITE_STREAM_FLAG_NONE, id, vec, count, now_ns);
	/* No credit, or nobody reads: acknowledgements still go. */
	if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED ||
	    n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND)
		n = ngtcp2_conn_writev_stream(c->conn, path, &pi, dest,
		    dest_len, &taken, NGTCP2_WRITE_STREAM_FLAG_NONE, -1, NULL,
		    0, now_ns);
	if (taken > 0)
		quic_send_sent(&c->out, (size_t)taken);
	if (n > 0)
		quic_size_sent(&c->size, (size_t)n, c->out.next, now_ns);
	return n;
}

static void
quic_conn_begin_burst(struct quic_udp_burst *b, const ngtcp2_path *path,
    size_t len)
{
	b->peer_len = path->remote.addrlen;
	memcpy(&b->peer, path->remote.addr, b->peer_len);
	b->own_len = path->local.addrlen;
	memcpy(&b->own, path->local.addr, b->own_len);
	b->len = b->segment = len;
}

static bool
quic_conn_same_way(const struct quic_udp_burst *b, const ngtcp2_path *path)
{
	ngtcp2_path built;

	quic_conn_path(&built, b);
	return ngtcp2_path_eq(&built, path) != 0;
}

/*
 * Build packets of one length behind one another and send them with one call.
 * True: there may be more.
 */
static bool
quic_conn_burst(struct quic_conn *c, size_t len_max, uint64_t now_ns)
{
	struct quic *q = c->quic;
	struct quic_udp_burst *b = &q->built;
	const size_t max = quic_size_max(&c->size);
	ngtcp2_path_storage way;
	size_t count = 0;

	ngtcp2_path_storage_zero(&way);
	while (b->len + max <= len_max && count < QUIC_UDP_SEGMENTS) {
		uint8_t *dest = q->out + b->len;
		const ngtcp2_ssize n =
		    quic_conn_packet(c, &way.path, dest, max, now_ns);

		if (n < 0)
			quic_conn_broken(c, (int)n);
		if (n <= 0) {
			(void)quic_push(q);
			return false;
		}
		if (b->len > 0 && ((size_t)n > b->segment ||
				      !quic_conn_same_way(b, &way.path))) {
			/* A probe of another size or way goes alone. */
			if (!quic_push(q))
				return false; /* lost; it is only a probe */
			memmove(q->out, dest, (size_t)n);
		}
		if (b->len == 0) {
			quic_conn_begin_burst(b, &way.path, (size_t)n);
			count = 0;
		} else {
			b->len += (size_t)n;
		}
		count++;
		if ((size_t)n < b->segment)
			break;
	}
	return quic_push(q);
}

void
quic_conn_write(struct quic_conn *c, uint64_t now_ns)
{
	bool more = true;

	if (!quic_conn_is_live(c) || c->conn == NULL)
		return;
	now_ns = quic_conn_time(c, now_ns);
	while (more && quic_conn_is_live(c)) {
		size_t len = ngtcp2_conn_get_send_quantum(c->conn);

		if (c->quic->blocked) {
			quic_touch(c); /* when there is room */
			return;
		}
		if (len > QUIC_BURST_LEN)
			len = QUIC_BURST_LEN;
		if (len < quic_size_max(&c->size))
			len = quic_size_max(&c->size);
		c->quic->udp.too_long = false;
		more = quic_conn_burst(c, len, now_ns);
		if (c->quic->udp.too_long)
			quic_size_refused(&c->size);
		ngtcp2_conn_update_pkt_tx_time(c->conn, now_ns);
	}
	if (quic_conn_is_live(c))
		c->expiry_ns = ngtcp2_conn_get_expiry(c->conn);
}

/* --- telling the owner ------------------------------------------------ */

static void
quic_conn_opened(struct quic_conn *c)
{
	struct err err = { 0 };

	if (tls_proof_take(&c->proof, c->session, &err) < 0) {
		ngtcp2_ccerr_set_tls_alert(&c->words, GNUTLS_A_BAD_CERTIFICATE,
		    NULL, 0);
		c->has_words = true;
		quic_conn_fail(c, &err);
		return;
	}
	c->state = QUIC_OPEN;
	c->proven = true;
	c->stream.cb.on_open(c->stream.arg);
}

/* The dialler's stream, as soon as the peer allows one. */
static void
quic_conn_open_stream(struct quic_conn *c)
{
	int64_t id;

	if (c->state == QUIC_OPEN && c->dialled && c->id < 0 &&
	    ngtcp2_conn_open_bidi_stream(c->conn, &id, NULL) == 0)
		c->id = id;
}

static void
quic_conn_follow(struct quic_conn *c)
{
	struct addr now;

	if (c->dialled || c->state != QUIC_OPEN)
		return;
	addr_uv_from_sockaddr(&now, ngtcp2_conn_get_path(c->conn)->remote.addr);
	now.scheme = ADDR_QUIC;
	if (!addr_equal(&now, &c->address))
		c->address = now;
}

void
quic_conn_tell(struct quic_conn *c)
{
	if (!c->started)
		return;
	if (!c->reached && quic_conn_is_live(c) && c->heard_ns != 0) {
		c->reached = true;
		if (c->dialled)
			c->stream.cb.on_reached(c->stream.arg);
	}
	if (c->state == QUIC_SHAKING && c->shaken)
		quic_conn_opened(c);
	quic_conn_open_stream(c);
	quic_conn_follow(c);
	/* What came before an end is heard before it. */
	if ((c->state == QUIC_OPEN || c->state == QUIC_OVER) && !c->told &&
	    !c->paused && (c->in.len > c->in_at || c->fin) && c->proof.cert)
		c->stream.cb.on_readable(c->stream.arg);
	if (c->state == QUIC_OPEN && c->full &&
	    quic_send_room(&c->out) >= QUIC_ROOM) {
		c->full = false;
		c->stream.cb.on_writable(c->stream.arg);
	}
	if (c->state == QUIC_OVER && !c->told) {
		c->told = true;
		c->stream.cb.on_end(c->stream.arg, &c->end);
	}
}

void
quic_conn_expire(struct quic_conn *c, uint64_t now_ns)
{
	struct err err = { 0 };
	int rv;

	switch (c->state) {
	case QUIC_RESOLVING:
		if (!c->started) {
			quic_conn_dial_now(c, now_ns);
			return;
		}
		err_set(&err, ERR_CLOSED, "no answer within %u s",
		    (unsigned)(LIMIT_DIAL_NS / CLOCK_S));
		err.sys = ETIMEDOUT;
		quic_conn_fail(c, &err);
		return;
	case QUIC_SHAKING:
	case QUIC_OPEN:
		now_ns = quic_conn_time(c, now_ns);
		quic_size_wait(&c->size, ngtcp2_conn_get_pto(c->conn), now_ns);
		rv = ngtcp2_conn_handle_expiry(c->conn, now_ns);
		if (rv == NGTCP2_ERR_HANDSHAKE_TIMEOUT && c->next != NULL)
			quic_conn_connect_next(c);
		else if (rv != 0)
			quic_conn_broken(c, rv);
		quic_touch(c);
		return;
	case QUIC_LEAVING:
		if (!c->closed && !c->resolving)
			quic_conn_free(c);
		return;
	case QUIC_OVER:
		return;
	}
}

/* --- the stream ------------------------------------------------------- */

static void
quic_conn_start(struct stream *st)
{
	struct quic_conn *c = quic_conn_of(st);

	c->started = true;
	st->cb.on_reached(st->arg);
	quic_touch(c);
}

/* Give back credit for `n` bytes that are off our hands. */
static void
quic_conn_credit(struct quic_conn *c, size_t n)
{
	if (c->state != QUIC_OPEN || c->id < 0)
		return;
	ngtcp2_conn_extend_max_offset(c->conn, n);
	(void)ngtcp2_conn_extend_max_stream_offset(c->conn, c->id, n);
	quic_touch(c);
}

static int
quic_conn_take(struct stream *st, uint8_t *out, size_t len, size_t *n,
    struct err *err)
{
	struct quic_conn *c = quic_conn_of(st);
	const size_t left = c->in.len - c->in_at;

	*n = len < left ? len : left;
	if (*n == 0)
		return c->fin ? err_set(err, ERR_CLOSED, "the peer closed") : 0;
	memcpy(out, c->in.ptr + c->in_at, *n);
	c->in_at += *n;
	if (c->in_at == c->in.len)
		c->in.len = c->in_at = 0;
	else if (c->in_at > c->in.len / 2 && c->in_at > QUIC_UDP_BURST) {
		buf_consume(&c->in, c->in_at);
		c->in_at = 0;
	}
	quic_conn_credit(c, *n);
	return 1;
}

static int
quic_conn_put(struct stream *st, struct slice plain, size_t *n, struct err *err)
{
	struct quic_conn *c = quic_conn_of(st);
	const size_t room = c->state == QUIC_OPEN ? quic_send_room(&c->out) : 0;

	(void)err;
	*n = plain.len < room ? plain.len : room;
	if (*n < plain.len)
		c->full = true;
	quic_send_put(&c->out, slice_to(plain, *n));
	return 0;
}

static int
quic_conn_flush(struct stream *st, struct err *err)
{
	struct quic_conn *c = quic_conn_of(st);

	quic_conn_write(c, uv_hrtime());
	quic_arm(c->quic);
	if (c->state != QUIC_OVER || c->told)
		return 0;
	/* The caller closes it: nobody is to be told once more. */
	c->told = true;
	*err = c->end;
	return c->end.code;
}

static void
quic_conn_pause(struct stream *st, bool pause)
{
	struct quic_conn *c = quic_conn_of(st);

	if (c->paused == pause)
		return;
	c->paused = pause;
	quic_touch(c);
}

static void
quic_conn_discard(struct stream *st)
{
	struct quic_conn *c = quic_conn_of(st);
	const size_t left = c->in.len - c->in_at;

	c->discarding = true;
	c->in.len = c->in_at = 0;
	quic_conn_credit(c, left);
}

static void
quic_conn_trust(struct stream *st)
{
	struct quic_conn *c = quic_conn_of(st);

	if (c->trusted)
		return;
	c->trusted = true;
	quic_conn_keep_alive(c);
	quic_conn_credit(c, LIMIT_QUIC_WINDOW - LIMIT_QUIC_EARLY);
}

/* The last packet, and where it goes. */
static void
quic_conn_make_last(struct quic_conn *c, const struct err *why, uint64_t now_ns)
{
	const char *text =
	    why != NULL && why->code == ERR_CLOSED ? why->text : "closing";
	ngtcp2_path_storage way;
	ngtcp2_pkt_info pi;
	ngtcp2_ssize n;
	ngtcp2_ccerr words;

	if (c->conn == NULL || c->quiet)
		return;
	if (!c->has_words)
		ngtcp2_ccerr_set_application_error(&words, 0,
		    (const uint8_t *)text, strlen(text));
	else
		words = c->words;
	ngtcp2_path_storage_zero(&way);
	buf_reserve(&c->last, QUIC_SIZE_SHORT);
	n = ngtcp2_conn_write_connection_close(c->conn, &way.path, &pi,
	    c->last.ptr, QUIC_SIZE_SHORT, &words, quic_conn_time(c, now_ns));
	if (n <= 0)
		return;
	c->last.len = (size_t)n;
	quic_conn_begin_burst(&c->last_to, &way.path, (size_t)n);
}

void
quic_conn_cut(struct quic_conn *c, const struct err *why)
{
	if (quic_conn_is_live(c)) {
		quic_conn_make_last(c, why, uv_hrtime());
		quic_conn_say_last(c);
		c->quiet = true;
	}
	quic_conn_fail(c, why);
}

static void
quic_conn_close(struct stream *st, const struct err *why,
    void (*on_closed)(void *), void *arg)
{
	struct quic_conn *c = quic_conn_of(st);
	const uint64_t now_ns = uv_hrtime();
	uint64_t stay_ns = 0;

	ASSERT(c->state != QUIC_LEAVING);
	if (c->state == QUIC_OPEN)
		quic_conn_write(c, now_ns); /* what was said before */
	quic_conn_make_last(c, why, now_ns);
	if (c->last.len > 0) {
		quic_conn_say_last(c);
		stay_ns = 3 * ngtcp2_conn_get_pto(c->conn);
		if (stay_ns < QUIC_LEAVE_MIN_NS)
			stay_ns = QUIC_LEAVE_MIN_NS;
		if (stay_ns > QUIC_LEAVE_MAX_NS)
			stay_ns = QUIC_LEAVE_MAX_NS;
	}
	if (c->resolving)
		uv_cancel((uv_req_t *)&c->resolve);
	quic_conn_drop_state(c);
	quic_send_fini(&c->out);
	buf_fini(&c->in);
	c->in = (struct buf){ 0 };
	c->in_at = 0;
	c->state = QUIC_LEAVING;
	c->expiry_ns = now_ns + stay_ns;
	c->on_closed = on_closed;
	c->closed_arg = arg;
	c->closed = true;
	quic_touch(c);
}

static bool
quic_conn_is_lean(const struct stream *st)
{
	const struct quic_conn *c = quic_conn_const(st);

	return c->in.cap == 0 && c->out.chunk.len == 0;
}

static void
quic_conn_idle(struct stream *st)
{
	struct quic_conn *c = quic_conn_of(st);

	if (c->in.len == 0) {
		buf_fini(&c->in);
		c->in = (struct buf){ 0 };
	}
	if (quic_send_held(&c->out) == 0)
		quic_send_rest(&c->out);
}

static bool
quic_conn_is_stuck(const struct stream *st)
{
	const struct quic_conn *c = quic_conn_const(st);

	return c->state == QUIC_OPEN && quic_send_held(&c->out) > 0 &&
	       uv_hrtime() - c->heard_ns > QUIC_STUCK_NS;
}

static bool
quic_conn_is_proven(const struct stream *st)
{
	return quic_conn_const(st)->proven;
}

static uint64_t
quic_conn_rtt_ns(const struct stream *st)
{
	const struct quic_conn *c = quic_conn_const(st);

	return c->state == QUIC_OPEN ? quic_compat_rtt(c->conn) : 0;
}

static const struct devid *
quic_conn_peer(const struct stream *st)
{
	return &quic_conn_const(st)->proof.peer;
}

static const struct addr *
quic_conn_address(const struct stream *st)
{
	return &quic_conn_const(st)->address;
}

static const char *
quic_conn_text(const struct stream *st)
{
	return quic_conn_const(st)->proof.text;
}

static int
quic_conn_check_name(const struct stream *st, const char *name, struct err *err)
{
	return tls_proof_check_name(&quic_conn_const(st)->proof, name, err);
}

static const struct stream_ops quic_conn_ops = {
	.start = quic_conn_start,
	.read = quic_conn_take,
	.write = quic_conn_put,
	.flush = quic_conn_flush,
	.pause = quic_conn_pause,
	.discard = quic_conn_discard,
	.trust = quic_conn_trust,
	.close = quic_conn_close,
	.is_lean = quic_conn_is_lean,
	.idle = quic_conn_idle,
	.is_stuck = quic_conn_is_stuck,
	.is_proven = quic_conn_is_proven,
	.rtt_ns = quic_conn_rtt_ns,
	.peer = quic_conn_peer,
	.address = quic_conn_address,
	.text = quic_conn_text,
	.check_name = quic_conn_check_name,
};
