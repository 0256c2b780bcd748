/*
 * Connections; see conn_uv.h.
 *
 * Bytes in:  tcp -> tls input -> conn_pump_in() -> session -> events
 * Bytes out: session -> conn_pump_out() -> tls output -> `flight` -> tcp
 * While tcp writes, `flight` is lent to it and nothing more is encrypted: that
 * is the back-pressure.
 */
#include "mesh/conn_uv.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/mesh.h"
#include "mesh/tls.h"

#define CONN_CLOSE_NS CLOCK_S            /* for saying goodbye */
#define CONN_IDLE_NS (5 * CLOCK_S)       /* then buffers are given back */
#define CONN_PROBE_NS (500 * CLOCK_MS)   /* an answer takes less */
#define CONN_PROBE_MAX_NS (60 * CLOCK_S) /* an older question says nothing */
#define CONN_TURN_LEN (4 * 1024 * 1024)  /* bytes written before others */

enum conn_state {
	CONN_DIALLING,
	CONN_TLS,
	CONN_HELLO,
	CONN_UP,
	CONN_CLOSING,
	CONN_DEAD,
};

struct conn {
	enum conn_state state;
	const struct identity *identity; /* borrowed */
	enum tls_role role;
	struct tcp *tcp;
	struct tls *tls;
	struct session *session;
	struct conn_callbacks cb;
	void *arg;
	struct addr address;
	struct buf flight; /* ciphertext on its way to tcp */
	size_t flight_at;
	bool paused, reading, resume, working, lean;
	uint64_t deadline_ns; /* of TLS, of CLOSING */
	uint64_t heard_ns, moved_ns;
	uint64_t probed_ns; /* when conn_is_stuck() asked; 0: never */
	uint64_t bytes_in, bytes_out;
	struct err reason;
};

/* --- ending ----------------------------------------------------------- */

static void
conn_on_tcp_closed(void *arg)
{
	struct conn *c = arg;

	c->cb.on_freed(c->arg);
	session_free(c->session);
	tls_close(c->tls);
	buf_fini(&c->flight);
	mem_free(c);
}

void
conn_abort(struct conn *c)
{
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	tcp_close(c->tcp, conn_on_tcp_closed, c);
}

static void
conn_fail(struct conn *c, const struct err *err)
{
	const struct err copy = *err;

	if (c->state == CONN_DEAD)
		return;
	/* The last TLS words, or an alert; they go if the socket takes them. */
	if (c->tls != NULL && c->state != CONN_DIALLING &&
	    !tcp_is_writing(c->tcp) && c->flight_at == c->flight.len) {
		c->flight.len = c->flight_at = 0;
		tls_end(c->tls);
		tls_output_take(c->tls, &c->flight);
		if (c->flight.len > 0)
			(void)tcp_write(c->tcp, c->flight.ptr, c->flight.len);
	}
	conn_abort(c);
	c->cb.on_end(c->arg, &copy);
}

/* --- out -------------------------------------------------------------- */

static void
conn_want_work(struct conn *c)
{
	if (c->working || c->state == CONN_DEAD)
		return;
	c->working = true;
	c->cb.on_work(c->arg);
}

/* Encrypt the next piece into `flight`, which is empty. */
static int
conn_fill_flight(struct conn *c, struct err *err)
{
	struct slice s;
	int rc;

	c->flight.len = c->flight_at = 0;
	while (c->session != NULL && tls_output_len(c->tls) < TLS_OUTPUT_LEN &&
	       session_output(c->session, &s)) {
		if (s.len > TLS_OUTPUT_LEN)
			s.len = TLS_OUTPUT_LEN;
		rc = tls_write(c->tls, s, err);
		if (rc < 0)
			return rc;
		session_output_done(c->session, s.len, uv_hrtime());
		c->bytes_out += s.len;
	}
	rc = c->session != NULL ? tls_flush(c->tls, err) : 0;
	if (rc < 0)
		return rc;
	tls_output_take(c->tls, &c->flight);
	return 0;
}

static void
conn_deliver_sent(struct conn *c)
{
	struct session_event ev;
	struct err err = { 0 };
	int rc = 0;

	while (c->session != NULL && c->state == CONN_UP &&
	       (rc = session_next(c->session, &ev, &err)) == 1) {
		/* Frames are taken where they are read; only tags wait. */
		ASSERT(ev.kind == SESSION_SENT);
		c->cb.on_sent(c->arg, ev.tag);
	}
	if (rc < 0)
		conn_fail(c, &err);
}

/* Write until nothing is left or the socket is full; true: there is more. */
static bool
conn_pump_out(struct conn *c)
{
	struct err err = { 0 };
	size_t turn = 0;

	while (!tcp_is_writing(c->tcp)) {
		size_t n;

		if (turn >= CONN_TURN_LEN)
			return true;
		if (conn_fill_flight(c, &err) < 0) {
			conn_fail(c, &err);
			return false;
		}
		if (c->flight.len == 0)
			break;
		c->moved_ns = uv_hrtime();
		c->lean = false;
		n = tcp_write(c->tcp, c->flight.ptr, c->flight.len);
		c->flight_at = c->flight.len;
		turn += n;
	}
	return false;
}

static void
conn_on_written(void *arg, const struct err *err)
{
	struct conn *c = arg;

	if (c->state == CONN_DEAD)
		return;
	if (err != NULL) {
		conn_fail(c, err);
		return;
	}
	if (conn_pump_out(c))
		conn_want_work(c);
	conn_deliver_sent(c);
}

/* --- in --------------------------------------------------------------- */

static void
conn_on_close_message(struct conn *c, const struct close_message *m)
{
	struct err err = { 0 };
	char reason[200];

	mesh_clean_text(reason, sizeof(reason), m->reason);
	err_set(&err, ERR_CLOSED, "the peer said: %s",
	    reason[0] != '\0' ? reason : "closing");
	conn_fail(c, &err);
}

static void
conn_on_event(struct conn *c, const struct session_event *ev)
{
	struct err err = { 0 };

	switch (ev->kind) {
	case SESSION_HELLO:
		c->state = CONN_UP;
		if (c->cb.on_hello(c->arg, ev->hello, &err) < 0)
			conn_fail(c, &err);
		return;
	case SESSION_MESSAGE:
		if (ev->message->type == MESSAGE_CLOSE)
			conn_on_close_message(c, &ev->message->u.close);
		else
			c->cb.on_message(c->arg, ev->message, ev->payload);
		return;
	case SESSION_SENT:
		if (c->state == CONN_UP)
			c->cb.on_sent(c->arg, ev->tag);
		return;
	}
}

static bool
conn_is_live(const struct conn *c)
{
	return c->state == CONN_HELLO || c->state == CONN_UP;
}

/* 1: go on reading; 0: more bytes are needed, or it is over. */
static int
conn_pump_session(struct conn *c, struct err *err)
{
	struct session_event ev;
	uint8_t *space;
	size_t len, n;
	int rc;

	space = session_space(c->session, &len);
	rc = tls_read(c->tls, space, len, &n, err);
	if (rc <= 0)
		return rc;
	c->bytes_in += n;
	rc = session_add(c->session, n, c->heard_ns, err);
	if (rc < 0)
		return rc;
	/* A frame on hand is handed out even if its owner says pause. */
	while (
	    conn_is_live(c) && (rc = session_next(c->session, &ev, err)) == 1)
		conn_on_event(c, &ev);
	return rc < 0 ? rc : 1;
}

static int
conn_pump_handshake(struct conn *c, struct err *err)
{
	struct session_config cfg = { 0 };
	int rc;

	rc = tls_handshake(c->tls, err);
	if (rc <= 0)
		return rc;
	rc = c->cb.on_peer(c->arg, tls_peer(c->tls), &cfg, err);
	if (rc < 0 || c->state == CONN_DEAD)
		return rc;
	c->session = session_new(&cfg, uv_hrtime());
	c->state = CONN_HELLO;
	return 1;
}

/* Words for what happens when the other side does not want us. */
static void
conn_explain(const struct conn *c, struct err *err)
{
	if (c->state == CONN_HELLO && err->code == ERR_CLOSED &&
	    session_hello(c->session) == NULL)
		err_wrap(err, "before its Hello (does it know this device? is "
			      "it connected already?)");
}

static void
conn_pump_in(struct conn *c)
{
	struct err err = { 0 };
	int rc = 1;

	while (rc == 1 && !c->paused) {
		if (c->state == CONN_TLS)
			rc = conn_pump_handshake(c, &err);
		else if (conn_is_live(c))
			rc = conn_pump_session(c, &err);
		else
			return;
	}
	if (c->state == CONN_DEAD)
		return;
	if (rc < 0) {
		conn_explain(c, &err);
		conn_fail(c, &err);
		return;
	}
	/* Handshakes, the Hello, key updates; the rest is batched. */
	if (c->state != CONN_UP || tls_output_len(c->tls) > 0)
		conn_want_work(c);
}

static uint8_t *
conn_on_space(void *arg, size_t *len)
{
	/* What still comes while we leave is read and forgotten. */
	static uint8_t sink[16 * 1024];
	struct conn *c = arg;

	if (c->state == CONN_CLOSING) {
		*len = sizeof(sink);
		return sink;
	}
	c->lean = false;
	return tls_input_space(c->tls, len);
}

static void
conn_on_read(void *arg, size_t n)
{
	struct conn *c = arg;

	if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
		return;
	c->heard_ns = c->moved_ns = uv_hrtime();
	tls_input_add(c->tls, n);
	conn_pump_in(c);
}

static void
conn_on_end(void *arg, const struct err *err)
{
	struct conn *c = arg;
	struct err copy = *err;

	if (c->state == CONN_CLOSING) {
		conn_fail(c, &c->reason);
		return;
	}
	c->reading = false;
	if (err->code == ERR_CLOSED) {
		tls_input_end(c->tls);
		conn_pump_in(c);
	}
	if (c->state == CONN_DEAD)
		return;
	conn_explain(c, &copy);
	conn_fail(c, &copy);
}

/* --- opening ---------------------------------------------------------- */

static void
conn_start_tls(struct conn *c)
{
	struct err err = { 0 };

	c->state = CONN_TLS;
	c->heard_ns = c->moved_ns = uv_hrtime();
	c->deadline_ns = c->heard_ns + LIMIT_TLS_NS;
	c->address = *tcp_peer(c->tcp);
	if (tls_open(&c->tls, c->identity, c->role, &err) < 0) {
		conn_fail(c, &err);
		return;
	}
	c->reading = true;
	tcp_read(c->tcp, true);
	conn_pump_in(c);
}

static void
conn_on_open(void *arg, const struct err *err)
{
	struct conn *c = arg;

	if (err != NULL)
		conn_fail(c, err);
	else
		conn_start_tls(c);
}

static const struct tcp_callbacks conn_tcp_callbacks = {
	.on_open = conn_on_open,
	.on_space = conn_on_space,
	.on_read = conn_on_read,
	.on_end = conn_on_end,
	.on_written = conn_on_written,
};

static struct conn *
conn_new(const struct identity *id, enum tls_role role,
    const struct conn_callbacks *cb, void *arg)
{
	struct conn *c = mem_zalloc(sizeof(*c));

	c->identity = id;
	c->role = role;
	c->cb = *cb;
	c->arg = arg;
	c->deadline_ns = CLOCK_NEVER;
	return c;
}

struct conn *
conn_dial(uv_loop_t *loop, const struct identity *id, const struct addr *to,
    const struct conn_callbacks *cb, void *arg)
{
	struct conn *c = conn_new(id, TLS_CLIENT, cb, arg);

	c->address = *to;
	c->tcp = tcp_dial(loop, to, &conn_tcp_callbacks, c);
	return c;
}

struct conn *
conn_accept(uv_loop_t *loop, const struct identity *id, struct tcp *stream,
    const struct conn_callbacks *cb, void *arg)
{
	struct conn *c = conn_new(id, TLS_SERVER, cb, arg);

	(void)loop;
	c->tcp = stream;
	tcp_set_owner(stream, &conn_tcp_callbacks, c);
	/* Nothing is read or said before conn_work(): no callback from here. */
	c->address = *tcp_peer(stream);
	c->resume = true;
	conn_want_work(c);
	return c;
}

/* --- what owners ask for ---------------------------------------------- */

int
conn_send(struct conn *c, const struct message *m, struct payload *data,
    uint64_t tag, struct err *err)
{
	int rc;

	if (c->state != CONN_UP && c->state != CONN_HELLO) {
		payload_free(data);
		return err_set(err, ERR_CLOSED, "not connected");
	}
	rc = session_send(c->session, m, data, tag, err);
	if (rc == 0)
		conn_want_work(c);
	return rc;
}

bool
conn_is_stuck(struct conn *c)
{
	static const struct message ping = { .type = MESSAGE_PING };
	const uint64_t now_ns = uv_hrtime();

	if (c->state != CONN_UP)
		return false;
	if (c->probed_ns != 0 && now_ns - c->probed_ns < CONN_PROBE_MAX_NS)
		return now_ns - c->probed_ns >= CONN_PROBE_NS &&
		       tcp_is_stuck(c->tcp);
	c->probed_ns = now_ns;
	if (session_queued(c->session) == 0)
		(void)conn_send(c, &ping, NULL, 0, NULL);
	return false;
}

void
conn_pause(struct conn *c, bool pause)
{
	if (c->paused == pause)
		return;
	c->paused = pause;
	c->resume = !pause;
	conn_want_work(c);
}

bool
conn_work(struct conn *c)
{
	bool more;

	c->working = false;
	if (c->state == CONN_DEAD)
		return false;
	if (c->state == CONN_DIALLING) {
		if (c->role == TLS_SERVER)
			conn_start_tls(c);
		return false;
	}
	if (c->resume) {
		c->resume = false;
		conn_pump_in(c);
		if (c->state == CONN_DEAD)
			return false;
		/* It may have stopped by itself, for want of space. */
		c->reading = true;
		tcp_read(c->tcp, true);
	}
	if (c->paused && c->reading && conn_is_live(c)) {
		c->reading = false;
		tcp_read(c->tcp, false);
	}
	more = conn_pump_out(c);
	conn_deliver_sent(c);
	if (c->state == CONN_DEAD)
		return false;
	c->working = more;
	return more;
}

void
conn_close(struct conn *c, const char *reason)
{
	struct message m = { .type = MESSAGE_CLOSE };

	if (c->state == CONN_CLOSING || c->state == CONN_DEAD)
		return;
	err_set(&c->reason, ERR_CLOSED, "%s", reason);
	c->deadline_ns = uv_hrtime() + CONN_CLOSE_NS;
	if (c->state == CONN_UP) {
		m.u.close.reason = slice_str(reason);
		/*
		 * The end comes after the peer's own: an end of stream right
		 * behind the Close makes a Syncthing overlook its words.
		 */
		(void)session_send(c->session, &m, NULL, 0, NULL);
	} else {
		c->deadline_ns = uv_hrtime(); /* nobody to talk to */
	}
	/* Before TLS there is no session; the tick ends it. */
	if (c->state == CONN_UP) {
		c->state = CONN_CLOSING;
		if (!c->reading) {
			c->reading = true;
			tcp_read(c->tcp, true);
		}
	}
	conn_want_work(c);
}

void
conn_tick(struct conn *c, uint64_t now_ns)
{
	struct err err = { 0 };

	if (c->state == CONN_DEAD)
		return;
	if (now_ns >= c->deadline_ns &&
	    (c->state == CONN_CLOSING || c->reason.code != 0)) {
		conn_fail(c, &c->reason);
		return;
	}
	if (c->state == CONN_TLS && now_ns >= c->deadline_ns) {
		err_set(&err, ERR_CLOSED, "TLS: not done within %u s",
		    (unsigned)(LIMIT_TLS_NS / CLOCK_S));
		conn_fail(c, &err);
		return;
	}
	if (!conn_is_live(c))
		return;
	if (session_tick(c->session, now_ns, &err) < 0) {
		conn_fail(c, &err);
		return;
	}
	if (session_queued(c->session) > 0)
		conn_want_work(c);
	if (c->lean || now_ns - c->moved_ns < CONN_IDLE_NS)
		return;
	c->moved_ns = now_ns; /* ask again later */
	if (!tcp_is_writing(c->tcp)) {
		c->lean = true;
		tls_idle(c->tls);
		buf_fini(&c->flight);
		c->flight = (struct buf){ 0 };
		c->flight_at = 0;
	}
}

uint64_t
conn_wake_at(const struct conn *c)
{
	uint64_t at = CLOCK_NEVER;

	if (c->state == CONN_TLS || c->state == CONN_CLOSING ||
	    c->reason.code != 0)
		at = c->deadline_ns;
	if (!conn_is_live(c))
		return at;
	if (session_wake_at(c->session) < at)
		at = session_wake_at(c->session);
	if (!c->lean && c->moved_ns + CONN_IDLE_NS < at)
		at = c->moved_ns + CONN_IDLE_NS;
	return at;
}

/* --- what it is ------------------------------------------------------- */

bool
conn_is_half_open(const struct conn *c)
{
	return c->state == CONN_TLS || c->state == CONN_HELLO ||
	       (c->state == CONN_DIALLING && c->role == TLS_SERVER);
}

const struct addr *
conn_address(const struct conn *c)
{
	return &c->address;
}

const char *
conn_tls_text(const struct conn *c)
{
	return c->tls != NULL ? tls_text(c->tls) : "";
}

int
conn_check_name(const struct conn *c, const char *name, struct err *err)
{
	return tls_check_name(c->tls, name, err);
}

uint32_t
conn_features(const struct conn *c)
{
	return c->session != NULL ? session_features(c->session) : 0;
}

size_t
conn_queued(const struct conn *c)
{
	return c->session != NULL ? session_queued(c->session) : 0;
}

uint64_t
conn_rtt_ns(const struct conn *c)
{
	return c->state == CONN_UP ? tcp_rtt_ns(c->tcp) : 0;
}

uint64_t
conn_bytes_in(const struct conn *c)
{
	return c->bytes_in;
}

uint64_t
conn_bytes_out(const struct conn *c)
{
	return c->bytes_out;
}

uint64_t
conn_heard_ns(const struct conn *c)
{
	return c->heard_ns;
}
