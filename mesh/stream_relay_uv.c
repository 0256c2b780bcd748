/*
 * Streams through a relay; see stream_relay_uv.h.
 *
 *   ASKING   a channel with the relay: CONNECT, and the invitation comes
 *   ENTERING TCP to the relay: SESSION(key), and the answer
 *   INSIDE   stream_tls_uv.c has that TCP; everything is passed on
 */
#include "mesh/stream_relay_uv.h"

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/channel_uv.h"
#include "mesh/stream_tls_uv.h"

struct stream_relay {
	struct stream stream;
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	struct addr relay;               /* as it was given */
	struct addr at;                  /* where it is, ADDR_TCP */
	struct devid peer;               /* ASKING: who is wanted */
	struct relay_message invitation;
	struct channel *channel; /* ASKING; else NULL */
	struct tcp *tcp;         /* ENTERING; else NULL */
	struct stream *inner;    /* INSIDE; else NULL */
	uint8_t in[RELAY_MESSAGE_MAX];
	size_t in_len;
	struct buf out;
	uv_timer_t timer;
	uint64_t
	    open_ns;     /* when the inside was open; 0: an answer came since */
	uint64_t rtt_ns; /* of the whole way */
	bool closing;
	unsigned handles; /* things below that are not closed yet */
	void (*on_closed)(void *);
	void *closed_arg;
};

static struct stream_relay *
stream_relay_of(struct stream *st)
{
	return (struct stream_relay *)(void *)st;
}

static const struct stream_relay *
stream_relay_const(const struct stream *st)
{
	return (const struct stream_relay *)(const void *)st;
}

static void
stream_relay_freed(void *arg)
{
	struct stream_relay *s = arg;

	if (--s->handles > 0)
		return;
	if (s->on_closed != NULL)
		s->on_closed(s->closed_arg);
	buf_fini(&s->out);
	mem_free(s);
}

static void
stream_relay_hang_up(struct stream_relay *s)
{
	if (s->channel == NULL)
		return;
	s->handles++;
	channel_close(s->channel, stream_relay_freed, s);
	s->channel = NULL;
}

/* Told once: nothing of ours goes on after it. */
static void
stream_relay_fail(struct stream_relay *s, const struct err *err)
{
	const struct err copy = *err;

	uv_timer_stop(&s->timer);
	stream_relay_hang_up(s);
	if (!s->closing)
		s->stream.cb.on_end(s->stream.arg, &copy);
}

/* --- INSIDE: what happens below happens here ------------------------- */

static void
stream_relay_on_reached(void *arg)
{
	(void)arg; /* said when the session was entered */
}

static void
stream_relay_on_open(void *arg)
{
	struct stream_relay *s = arg;

	s->open_ns = uv_hrtime();
	s->rtt_ns = stream_tls_shake_ns(s->inner);
	s->stream.cb.on_open(s->stream.arg);
}

static void
stream_relay_on_readable(void *arg)
{
	struct stream_relay *s = arg;

	s->stream.cb.on_readable(s->stream.arg);
}

static void
stream_relay_on_writable(void *arg)
{
	struct stream_relay *s = arg;

	s->stream.cb.on_writable(s->stream.arg);
}

static void
stream_relay_on_end(void *arg, const struct err *err)
{
	struct stream_relay *s = arg;

	s->stream.cb.on_end(s->stream.arg, err);
}

static const struct stream_callbacks stream_relay_inner_callbacks = {
	.on_reached = stream_relay_on_reached,
	.on_open = stream_relay_on_open,
	.on_readable = stream_relay_on_readable,
	.on_writable = stream_relay_on_writable,
	.on_end = stream_relay_on_end,
};

/* --- ENTERING --------------------------------------------------------- */

static void
stream_relay_inside(struct stream_relay *s)
{
	struct tcp *tcp = s->tcp;

	uv_timer_stop(&s->timer);
	tcp_read(tcp, false);
	s->tcp = NULL;
	s->inner = stream_tls_over(s->identity, tcp,
	    s->invitation.u.invitation.server ? TLS_SERVER : TLS_CLIENT);
	stream_own(s->inner, &stream_relay_inner_callbacks, s);
	s->stream.cb.on_reached(s->stream.arg);
	if (!s->closing)
		stream_start(s->inner);
}

/* What the relay says to our key. */
static void
stream_relay_on_answer(struct stream_relay *s)
{
	struct relay_message m;
	struct err err = { 0 };
	size_t used;
	int rc;

	rc = relay_decode(&m, slice_of(s->in, s->in_len), &used, &err);
	if (rc == 0)
		return;
	if (rc == 1 && (m.type != RELAY_RESPONSE || used != s->in_len))
		rc = err_set(&err, ERR_PROTOCOL, "the relay does not answer");
	else if (rc == 1 && m.u.response.code != RELAY_OK)
		rc = err_set(&err, ERR_CLOSED, "the session is over: %s",
		    relay_code_text(m.u.response.code));
	if (rc < 0)
		stream_relay_fail(s, &err);
	else
		stream_relay_inside(s);
}

static void
stream_relay_on_tcp_open(void *arg, const struct err *err)
{
	struct stream_relay *s = arg;
	struct relay_message m = { .type = RELAY_SESSION };

	if (s->closing)
		return;
	if (err != NULL) {
		stream_relay_fail(s, err);
		return;
	}
	m.u.key = s->invitation.u.invitation.key;
	buf_clear(&s->out);
	relay_encode(&m, &s->out);
	tcp_read(s->tcp, true);
	(void)tcp_write(s->tcp, s->out.ptr, s->out.len);
}

static uint8_t *
stream_relay_on_tcp_space(void *arg, size_t *len)
{
	struct stream_relay *s = arg;

	/* Not a byte of what the device says after it. */
	*len = relay_wants(slice_of(s->in, s->in_len));
	return s->in + s->in_len;
}

static void
stream_relay_on_tcp_read(void *arg, size_t n)
{
	struct stream_relay *s = arg;

	s->in_len += n;
	if (!s->closing)
		stream_relay_on_answer(s);
}

static void
stream_relay_on_tcp_end(void *arg, const struct err *err)
{
	stream_relay_fail(arg, err);
}

static void
stream_relay_on_tcp_written(void *arg, const struct err *err)
{
	if (err != NULL)
		stream_relay_fail(arg, err);
}

static const struct tcp_callbacks stream_relay_tcp_callbacks = {
	.on_open = stream_relay_on_tcp_open,
	.on_space = stream_relay_on_tcp_space,
	.on_read = stream_relay_on_tcp_read,
	.on_end = stream_relay_on_tcp_end,
	.on_written = stream_relay_on_tcp_written,
};

static void
stream_relay_enter(struct stream_relay *s)
{
	struct addr to = s->at;

	to.port = s->invitation.u.invitation.port;
	s->in_len = 0;
	s->tcp = tcp_dial(s->loop, &to, &stream_relay_tcp_callbacks, s);
}

/* --- ASKING ----------------------------------------------------------- */

static void
stream_relay_on_channel_open(void *arg)
{
	struct stream_relay *s = arg;
	struct relay_message m = { .type = RELAY_CONNECT };

	m.u.device = s->peer;
	channel_send(s->channel, &m);
}

static void
stream_relay_on_message(void *arg, const struct relay_message *m)
{
	struct stream_relay *s = arg;
	struct err err = { 0 };

	if (m->type == RELAY_PING || m->type == RELAY_PONG)
		return; /* it does not wait for an answer so early */
	if (m->type == RELAY_INVITATION &&
	    devid_equal(&m->u.invitation.from, &s->peer) &&
	    m->u.invitation.port != 0) {
		s->invitation = *m;
		s->at = *channel_address(s->channel);
		stream_relay_hang_up(s);
		stream_relay_enter(s);
		return;
	}
	if (m->type == RELAY_RESPONSE && m->u.response.code != RELAY_OK)
		err_set(&err, ERR_NOT_FOUND, "%s",
		    relay_code_text(m->u.response.code));
	else if (m->type == RELAY_FULL)
		err_set(&err, ERR_BUSY, "the relay is full");
	else
		err_set(&err, ERR_PROTOCOL,
		    "the relay said what it should not");
	stream_relay_fail(s, &err);
}

static void
stream_relay_on_channel_end(void *arg, const struct err *err)
{
	stream_relay_fail(arg, err);
}

static const struct channel_callbacks stream_relay_channel_callbacks = {
	.on_open = stream_relay_on_channel_open,
	.on_message = stream_relay_on_message,
	.on_end = stream_relay_on_channel_end,
};

/* --- the stream ------------------------------------------------------- */

static void
stream_relay_on_timer(uv_timer_t *timer)
{
	struct err err = { 0 };

	err_set(&err, ERR_CLOSED, "not through the relay within %u s",
	    (unsigned)(LIMIT_RELAY_NS / CLOCK_S));
	err.sys = ETIMEDOUT;
	stream_relay_fail(timer->data, &err);
}

static void
stream_relay_start(struct stream *st)
{
	struct stream_relay *s = stream_relay_of(st);

	if (s->tcp == NULL && s->inner == NULL)
		stream_relay_enter(s);
}

/*
 * The client is open first, and what it hears then was said when its own last
 * word was there.
 */
static void
stream_relay_measure(struct stream_relay *s)
{
	const uint64_t answer_ns = uv_hrtime() - s->open_ns;

	if (s->open_ns != 0 && !s->invitation.u.invitation.server &&
	    answer_ns < s->rtt_ns)
		s->rtt_ns = answer_ns;
	s->open_ns = 0;
}

static int
stream_relay_read(struct stream *st, uint8_t *out, size_t len, size_t *n,
    struct err *err)
{
	struct stream_relay *s = stream_relay_of(st);
	int rc;

	*n = 0;
	if (s->inner == NULL)
		return 0;
	rc = stream_read(s->inner, out, len, n, err);
	if (*n > 0)
		stream_relay_measure(s);
	return rc;
}

static int
stream_relay_write(struct stream *st, struct slice plain, size_t *n,
    struct err *err)
{
	struct stream_relay *s = stream_relay_of(st);

	*n = 0;
	return s->inner != NULL ? stream_write(s->inner, plain, n, err) : 0;
}

static int
stream_relay_flush(struct stream *st, struct err *err)
{
	struct stream_relay *s = stream_relay_of(st);

	return s->inner != NULL ? stream_flush(s->inner, err) : 0;
}

static void
stream_relay_pause(struct stream *st, bool pause)
{
	if (stream_relay_of(st)->inner != NULL)
		stream_pause(stream_relay_of(st)->inner, pause);
}

static void
stream_relay_discard(struct stream *st)
{
	if (stream_relay_of(st)->inner != NULL)
		stream_discard(stream_relay_of(st)->inner);
}

static void
stream_relay_timer_freed(uv_handle_t *handle)
{
	stream_relay_freed(handle->data);
}

static void
stream_relay_close(struct stream *st, const struct err *why,
    void (*on_closed)(void *), void *arg)
{
	struct stream_relay *s = stream_relay_of(st);

	ASSERT(!s->closing);
	s->closing = true;
	s->on_closed = on_closed;
	s->closed_arg = arg;
	stream_relay_hang_up(s);
	if (s->tcp != NULL) {
		s->handles++;
		tcp_close(s->tcp, stream_relay_freed, s);
	}
	if (s->inner != NULL) {
		s->handles++;
		stream_close(s->inner, why, stream_relay_freed, s);
	}
	uv_close((uv_handle_t *)&s->timer, stream_relay_timer_freed);
}

static bool
stream_relay_is_lean(const struct stream *st)
{
	const struct stream_relay *s = stream_relay_const(st);

	return s->inner != NULL ? stream_is_lean(s->inner) : true;
}

static void
stream_relay_idle(struct stream *st)
{
	if (stream_relay_of(st)->inner != NULL)
		stream_idle(stream_relay_of(st)->inner);
}

/* Only as far as the relay: it takes our bytes even when nobody reads them. */
static bool
stream_relay_is_stuck(const struct stream *st)
{
	const struct stream_relay *s = stream_relay_const(st);

	return s->inner != NULL && stream_is_stuck(s->inner);
}

static uint64_t
stream_relay_rtt_ns(const struct stream *st)
{
	return stream_relay_const(st)->rtt_ns;
}

static const struct devid *
stream_relay_peer(const struct stream *st)
{
	return stream_peer(stream_relay_const(st)->inner);
}

static const struct addr *
stream_relay_address(const struct stream *st)
{
	return &stream_relay_const(st)->relay;
}

static const char *
stream_relay_text(const struct stream *st)
{
	const struct stream_relay *s = stream_relay_const(st);

	return s->inner != NULL ? stream_text(s->inner) : "";
}

static int
stream_relay_check_name(const struct stream *st, const char *name,
    struct err *err)
{
	return stream_check_name(stream_relay_const(st)->inner, name, err);
}

static void
stream_relay_trust(struct stream *st)
{
	(void)st; /* its buffers are bounded from the start */
}

static bool
stream_relay_is_proven(const struct stream *st)
{
	(void)st; /* the relay has a connection with it */
	return true;
}

static const struct stream_ops stream_relay_ops = {
	.start = stream_relay_start,
	.read = stream_relay_read,
	.write = stream_relay_write,
	.flush = stream_relay_flush,
	.pause = stream_relay_pause,
	.discard = stream_relay_discard,
	.trust = stream_relay_trust,
	.close = stream_relay_close,
	.is_lean = stream_relay_is_lean,
	.idle = stream_relay_idle,
	.is_stuck = stream_relay_is_stuck,
	.is_proven = stream_relay_is_proven,
	.rtt_ns = stream_relay_rtt_ns,
	.peer = stream_relay_peer,
	.address = stream_relay_address,
	.text = stream_relay_text,
	.check_name = stream_relay_check_name,
};

static struct stream_relay *
stream_relay_new(uv_loop_t *loop, const struct identity *id,
    const struct addr *relay)
{
	struct stream_relay *s = mem_zalloc(sizeof(*s));

	s->stream.ops = &stream_relay_ops;
	s->loop = loop;
	s->identity = id;
	s->relay = *relay;
	uv_timer_init(loop, &s->timer);
	s->handles = 1;
	s->timer.data = s;
	uv_timer_start(&s->timer, stream_relay_on_timer,
	    LIMIT_RELAY_NS / CLOCK_MS, 0);
	return s;
}

struct stream *
stream_relay_dial(uv_loop_t *loop, const struct identity *id,
    const struct addr *relay, const struct devid *peer)
{
	struct stream_relay *s = stream_relay_new(loop, id, relay);

	s->peer = *peer;
	s->channel =
	    channel_dial(loop, id, relay, &stream_relay_channel_callbacks, s);
	return &s->stream;
}

struct stream *
stream_relay_follow(uv_loop_t *loop, const struct identity *id,
    const struct addr *relay, const struct addr *at,
    const struct relay_message *invitation)
{
	struct stream_relay *s = stream_relay_new(loop, id, relay);

	ASSERT(invitation->type == RELAY_INVITATION);
	s->at = *at;
	s->invitation = *invitation;
	return &s->stream;
}
