/*
 * Connections; see conn_uv.h.
 *
 * Bytes in:  stream -> conn_pump_in() -> session -> events
 * Bytes out: session -> conn_pump_out() -> stream
 */
#include "mesh/conn_uv.h"

#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/mesh.h"

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
	bool dialled;
	struct stream *stream; /* owned */
	struct session *session;
	struct conn_callbacks cb;
	void *arg;
	bool paused, resume, working;
	uint64_t deadline_ns; /* of TLS, of CLOSING */
	uint64_t heard_ns, moved_ns;
	uint64_t probed_ns; /* when conn_is_stuck() asked; 0: never */
	uint64_t bytes_in, bytes_out;
	struct err reason;
};

/* --- ending ----------------------------------------------------------- */

static void
conn_on_closed(void *arg)
{
	struct conn *c = arg;

	c->cb.on_freed(c->arg);
	session_free(c->session);
	mem_free(c);
}

static void
conn_end(struct conn *c, const struct err *why)
{
	c->state = CONN_DEAD;
	stream_close(c->stream, why, conn_on_closed, c);
}

void
conn_abort(struct conn *c)
{
	if (c->state != CONN_DEAD)
		conn_end(c, NULL);
}

static void
conn_fail(struct conn *c, const struct err *err)
{
	const struct err copy = *err;

	if (c->state == CONN_DEAD)
		return;
	conn_end(c, &copy);
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

/* Hand the stream what it has room for; *sum: how much that was. */
static int
conn_fill(struct conn *c, size_t *sum, struct err *err)
{
	struct slice s;
	size_t n = 1;
	int rc;

	*sum = 0;
	while (n > 0 && c->session != NULL && session_output(c->session, &s)) {
		rc = stream_write(c->stream, s, &n, err);
		if (rc < 0)
			return rc;
		if (n > 0)
			session_output_done(c->session, n, uv_hrtime());
		*sum += n;
	}
	return stream_flush(c->stream, err);
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

/* Write until nothing is left or the way is full; true: there is more. */
static bool
conn_pump_out(struct conn *c)
{
	struct err err = { 0 };
	size_t turn = 0, n;

	do {
		if (turn >= CONN_TURN_LEN)
			return true;
		if (conn_fill(c, &n, &err) < 0) {
			conn_fail(c, &err);
			return false;
		}
		if (n > 0)
			c->moved_ns = uv_hrtime();
		c->bytes_out += n;
		turn += n;
	} while (n > 0);
	return false;
}

static void
conn_on_writable(void *arg)
{
	struct conn *c = arg;

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
		else if (c->state == CONN_UP)
			stream_trust(c->stream);
		return;
	case SESSION_MESSAGE:
		if (ev->message->type == MESSAGE_CLOSE) {
			conn_on_close_message(c, &ev->message->u.close);
		} else {
			c->cb.on_message(c->arg, ev->message, ev->payload);
		}
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
	rc = stream_read(c->stream, space, len, &n, err);
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

	while (rc == 1 && !c->paused && conn_is_live(c))
		rc = conn_pump_session(c, &err);
	if (!conn_is_live(c))
		return;
	if (rc < 0) {
		conn_explain(c, &err);
		conn_fail(c, &err);
		return;
	}
	if (c->state != CONN_UP)
		conn_want_work(c);
}

static void
conn_on_readable(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_CLOSING)
		return;
	c->heard_ns = c->moved_ns = uv_hrtime();
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
	conn_explain(c, &copy);
	conn_fail(c, &copy);
}

/* --- opening ---------------------------------------------------------- */

static void
conn_on_reached(void *arg)
{
	struct conn *c = arg;

	c->state = CONN_TLS;
	c->heard_ns = c->moved_ns = uv_hrtime();
	c->deadline_ns = c->heard_ns + LIMIT_TLS_NS;
}

static void
conn_on_open(void *arg)
{
	struct conn *c = arg;
	struct session_config cfg = { 0 };
	struct err err = { 0 };

	c->heard_ns = c->moved_ns = uv_hrtime();
	if (c->cb.on_peer(c->arg, stream_peer(c->stream), &cfg, &err) < 0) {
		conn_fail(c, &err);
		return;
	}
	if (c->state == CONN_DEAD)
		return;
	c->session = session_new(&cfg, c->heard_ns);
	c->state = CONN_HELLO;
	conn_want_work(c);
}

static const struct stream_callbacks conn_stream_callbacks = {
	.on_reached = conn_on_reached,
	.on_open = conn_on_open,
	.on_readable = conn_on_readable,
	.on_writable = conn_on_writable,
	.on_end = conn_on_end,
};

struct conn *
conn_open(struct stream *stream, bool dialled, const struct conn_callbacks *cb,
    void *arg)
{
	struct conn *c = mem_zalloc(sizeof(*c));

	c->stream = stream;
	c->dialled = dialled;
	c->cb = *cb;
	c->arg = arg;
	c->deadline_ns = CLOCK_NEVER;
	stream_own(stream, &conn_stream_callbacks, c);
	/* An accepted one starts with conn_work(): no callback from here. */
	if (!dialled)
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
		       stream_is_stuck(c->stream);
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

void
conn_answer(struct conn *c, const struct echo *reply)
{
	if (c->state != CONN_UP)
		return;
	session_answer(c->session, reply);
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
		if (!c->dialled)
			stream_start(c->stream);
		return false;
	}
	if (c->resume) {
		c->resume = false;
		conn_pump_in(c);
		if (c->state == CONN_DEAD)
			return false;
		stream_pause(c->stream, false);
	}
	if (c->paused && conn_is_live(c))
		stream_pause(c->stream, true);
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
		/* What still comes while we leave is read and forgotten. */
		stream_discard(c->stream);
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
	if (now_ns - c->moved_ns < CONN_IDLE_NS || stream_is_lean(c->stream))
		return;
	c->moved_ns = now_ns; /* ask again later */
	stream_idle(c->stream);
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
	if (c->moved_ns + CONN_IDLE_NS < at && !stream_is_lean(c->stream))
		at = c->moved_ns + CONN_IDLE_NS;
	return at;
}

/* --- what it is ------------------------------------------------------- */

bool
conn_is_half_open(const struct conn *c)
{
	return c->state == CONN_TLS || c->state == CONN_HELLO ||
	       (c->state == CONN_DIALLING && !c->dialled);
}

const struct addr *
conn_address(const struct conn *c)
{
	return stream_address(c->stream);
}

const char *
conn_tls_text(const struct conn *c)
{
	return stream_text(c->stream);
}

int
conn_check_name(const struct conn *c, const char *name, struct err *err)
{
	return stream_check_name(c->stream, name, err);
}

bool
conn_is_proven(const struct conn *c)
{
	return stream_is_proven(c->stream);
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
	return c->state == CONN_DIALLING || c->state == CONN_DEAD
		   ? 0
		   : stream_rtt_ns(c->stream);
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
