/*
 * TLS on TCP; see stream_tls_uv.h.
 *
 * Bytes in:  tcp -> tls input -> stream_tls_read()
 * Bytes out: stream_tls_write() -> tls output -> `flight` -> tcp
 * While tcp writes, `flight` is lent to it and nothing more is encrypted: that
 * is the back-pressure.
 */
#include "mesh/stream_tls_uv.h"

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/mem.h"

struct stream_tls {
	struct stream stream;
	const struct identity *identity; /* borrowed */
	enum tls_role role;
	enum tls_protocol protocol;
	struct tcp *tcp;
	struct tls *tls; /* NULL while dialling */
	struct addr address;
	struct buf flight; /* ciphertext on its way to tcp */
	size_t flight_at;
	uint8_t first; /* read before we had it */
	bool has_first;
	bool ready, reading, discarding, lean, closing;
	uint64_t told_ns;  /* when our last word of the handshake went out */
	uint64_t shake_ns; /* from there to its end: a round trip */
	void (*on_closed)(void *);
	void *closed_arg;
};

static struct stream_tls *
stream_tls_of(struct stream *st)
{
	return (struct stream_tls *)(void *)st;
}

static const struct stream_tls *
stream_tls_const(const struct stream *st)
{
	return (const struct stream_tls *)(const void *)st;
}

/* --- out -------------------------------------------------------------- */

/* Hand to tcp what is encrypted, if it takes anything now. */
static void
stream_tls_push(struct stream_tls *s)
{
	if (tcp_is_writing(s->tcp))
		return;
	s->flight.len = s->flight_at = 0;
	tls_output_take(s->tls, &s->flight);
	if (s->flight.len == 0)
		return;
	s->lean = false;
	if (!s->ready)
		s->told_ns = uv_hrtime();
	(void)tcp_write(s->tcp, s->flight.ptr, s->flight.len);
	s->flight_at = s->flight.len;
}

static int
stream_tls_write(struct stream *st, struct slice plain, size_t *n,
    struct err *err)
{
	struct stream_tls *s = stream_tls_of(st);

	*n = 0;
	if (!s->ready || tcp_is_writing(s->tcp) ||
	    tls_output_len(s->tls) >= TLS_OUTPUT_LEN)
		return 0;
	if (plain.len > TLS_OUTPUT_LEN)
		plain.len = TLS_OUTPUT_LEN;
	*n = plain.len;
	s->lean = false;
	return tls_write(s->tls, plain, err);
}

static int
stream_tls_flush(struct stream *st, struct err *err)
{
	struct stream_tls *s = stream_tls_of(st);
	int rc;

	if (s->tls == NULL || tcp_is_writing(s->tcp))
		return 0;
	rc = tls_flush(s->tls, err);
	if (rc < 0)
		return rc;
	stream_tls_push(s);
	return 0;
}

static void
stream_tls_on_written(void *arg, const struct err *err)
{
	struct stream_tls *s = arg;

	if (s->closing)
		return;
	if (err != NULL)
		s->stream.cb.on_end(s->stream.arg, err);
	else if (!s->ready)
		stream_tls_push(s);
	else
		s->stream.cb.on_writable(s->stream.arg);
}

/* --- in --------------------------------------------------------------- */

static int
stream_tls_read(struct stream *st, uint8_t *out, size_t len, size_t *n,
    struct err *err)
{
	struct stream_tls *s = stream_tls_of(st);

	*n = 0;
	return s->ready ? tls_read(s->tls, out, len, n, err) : 0;
}

/* True when it is done: then the stream is open. */
static bool
stream_tls_shake(struct stream_tls *s)
{
	struct err err = { 0 };
	const int rc = tls_handshake(s->tls, &err);

	if (rc < 0) {
		s->stream.cb.on_end(s->stream.arg, &err);
		return false;
	}
	if (rc == 0) {
		stream_tls_push(s);
		return false;
	}
	/* The last of the handshake goes out with the first that is said. */
	s->ready = true;
	s->shake_ns = s->told_ns != 0 ? uv_hrtime() - s->told_ns : 0;
	s->stream.cb.on_open(s->stream.arg);
	return !s->closing;
}

static void
stream_tls_pump(struct stream_tls *s)
{
	if (!s->ready && !stream_tls_shake(s))
		return;
	s->stream.cb.on_readable(s->stream.arg);
	/* Key updates and the like. */
	if (!s->closing && tls_output_len(s->tls) > 0)
		s->stream.cb.on_writable(s->stream.arg);
}

static uint8_t *
stream_tls_on_space(void *arg, size_t *len)
{
	static uint8_t sink[16 * 1024];
	struct stream_tls *s = arg;

	if (s->discarding) {
		*len = sizeof(sink);
		return sink;
	}
	s->lean = false;
	return tls_input_space(s->tls, len);
}

static void
stream_tls_on_read(void *arg, size_t n)
{
	struct stream_tls *s = arg;

	if (s->closing || s->discarding)
		return;
	tls_input_add(s->tls, n);
	stream_tls_pump(s);
}

static void
stream_tls_on_end(void *arg, const struct err *err)
{
	struct stream_tls *s = arg;

	s->reading = false;
	if (err->code == ERR_CLOSED && !s->discarding) {
		tls_input_end(s->tls);
		stream_tls_pump(s);
	}
	if (!s->closing)
		s->stream.cb.on_end(s->stream.arg, err);
}

/* --- opening ---------------------------------------------------------- */

static void
stream_tls_start(struct stream *st)
{
	struct stream_tls *s = stream_tls_of(st);
	struct err err = { 0 };

	ASSERT(s->tls == NULL);
	s->address = *tcp_peer(s->tcp);
	if (tls_open(&s->tls, s->identity, s->role, s->protocol, &err) < 0) {
		st->cb.on_end(st->arg, &err);
		return;
	}
	st->cb.on_reached(st->arg);
	if (s->closing)
		return;
	if (s->has_first) {
		size_t len;

		*tls_input_space(s->tls, &len) = s->first;
		tls_input_add(s->tls, 1);
	}
	s->reading = true;
	tcp_read(s->tcp, true);
	(void)stream_tls_shake(s);
}

static void
stream_tls_on_dialled(void *arg, const struct err *err)
{
	struct stream_tls *s = arg;

	if (err != NULL)
		s->stream.cb.on_end(s->stream.arg, err);
	else
		stream_tls_start(&s->stream);
}

static void
stream_tls_pause(struct stream *st, bool pause)
{
	struct stream_tls *s = stream_tls_of(st);

	/* It may have stopped by itself, for want of space: say it again. */
	if (s->tls == NULL || (pause && !s->reading))
		return;
	s->reading = !pause;
	tcp_read(s->tcp, !pause);
}

static void
stream_tls_discard(struct stream *st)
{
	struct stream_tls *s = stream_tls_of(st);

	s->discarding = true;
	if (s->tls != NULL && !s->reading) {
		s->reading = true;
		tcp_read(s->tcp, true);
	}
}

static void
stream_tls_trust(struct stream *st)
{
	(void)st; /* its buffers are bounded from the start */
}

/* --- closing ---------------------------------------------------------- */

static void
stream_tls_on_closed(void *arg)
{
	struct stream_tls *s = arg;

	if (s->on_closed != NULL)
		s->on_closed(s->closed_arg);
	tls_close(s->tls);
	buf_fini(&s->flight);
	mem_free(s);
}

static void
stream_tls_close(struct stream *st, const struct err *why,
    void (*on_closed)(void *), void *arg)
{
	struct stream_tls *s = stream_tls_of(st);

	ASSERT(!s->closing);
	s->closing = true;
	s->on_closed = on_closed;
	s->closed_arg = arg;
	/* The last TLS words, or an alert; they go if the socket takes them. */
	if (why != NULL && s->tls != NULL && !tcp_is_writing(s->tcp) &&
	    s->flight_at == s->flight.len) {
		tls_end(s->tls);
		stream_tls_push(s);
	}
	tcp_close(s->tcp, stream_tls_on_closed, s);
}

/* --- what it is ------------------------------------------------------- */

static bool
stream_tls_is_lean(const struct stream *st)
{
	return stream_tls_const(st)->lean;
}

static void
stream_tls_idle(struct stream *st)
{
	struct stream_tls *s = stream_tls_of(st);

	if (s->tls == NULL || tcp_is_writing(s->tcp))
		return;
	s->lean = true;
	tls_idle(s->tls);
	buf_fini(&s->flight);
	s->flight = (struct buf){ 0 };
	s->flight_at = 0;
}

static bool
stream_tls_is_stuck(const struct stream *st)
{
	return tcp_is_stuck(stream_tls_const(st)->tcp);
}

static bool
stream_tls_is_proven(const struct stream *st)
{
	(void)st; /* TCP's own handshake did that */
	return true;
}

static uint64_t
stream_tls_rtt_ns(const struct stream *st)
{
	const struct stream_tls *s = stream_tls_const(st);

	return s->ready ? tcp_rtt_ns(s->tcp) : 0;
}

static const struct devid *
stream_tls_peer(const struct stream *st)
{
	return tls_peer(stream_tls_const(st)->tls);
}

static const struct addr *
stream_tls_address(const struct stream *st)
{
	return &stream_tls_const(st)->address;
}

static const char *
stream_tls_text(const struct stream *st)
{
	const struct stream_tls *s = stream_tls_const(st);

	return s->tls != NULL ? tls_text(s->tls) : "";
}

static int
stream_tls_check_name(const struct stream *st, const char *name,
    struct err *err)
{
	return tls_check_name(stream_tls_const(st)->tls, name, err);
}

static const struct stream_ops stream_tls_ops = {
	.start = stream_tls_start,
	.read = stream_tls_read,
	.write = stream_tls_write,
	.flush = stream_tls_flush,
	.pause = stream_tls_pause,
	.discard = stream_tls_discard,
	.trust = stream_tls_trust,
	.close = stream_tls_close,
	.is_lean = stream_tls_is_lean,
	.idle = stream_tls_idle,
	.is_stuck = stream_tls_is_stuck,
	.is_proven = stream_tls_is_proven,
	.rtt_ns = stream_tls_rtt_ns,
	.peer = stream_tls_peer,
	.address = stream_tls_address,
	.text = stream_tls_text,
	.check_name = stream_tls_check_name,
};

static const struct tcp_callbacks stream_tls_tcp_callbacks = {
	.on_open = stream_tls_on_dialled,
	.on_space = stream_tls_on_space,
	.on_read = stream_tls_on_read,
	.on_end = stream_tls_on_end,
	.on_written = stream_tls_on_written,
};

static struct stream_tls *
stream_tls_new(const struct identity *id, enum tls_role role)
{
	struct stream_tls *s = mem_zalloc(sizeof(*s));

	s->stream.ops = &stream_tls_ops;
	s->identity = id;
	s->role = role;
	return s;
}

struct stream *
stream_tls_dial(uv_loop_t *loop, const struct identity *id,
    const struct addr *to)
{
	struct stream_tls *s = stream_tls_new(id, TLS_CLIENT);

	s->address = *to;
	s->tcp = tcp_dial(loop, to, &stream_tls_tcp_callbacks, s);
	return &s->stream;
}

struct stream *
stream_tls_over(const struct identity *id, struct tcp *tcp, enum tls_role role)
{
	struct stream_tls *s = stream_tls_new(id, role);

	s->tcp = tcp;
	tcp_set_owner(tcp, &stream_tls_tcp_callbacks, s);
	s->address = *tcp_peer(tcp);
	return &s->stream;
}

void
stream_tls_speak(struct stream *st, enum tls_protocol protocol)
{
	stream_tls_of(st)->protocol = protocol;
}

uint64_t
stream_tls_shake_ns(const struct stream *st)
{
	return stream_tls_const(st)->shake_ns;
}

bool
stream_tls_is_web(const struct stream *st)
{
	return tls_is_web(stream_tls_const(st)->tls);
}

void
stream_tls_put_back(struct stream *st, uint8_t byte)
{
	stream_tls_of(st)->first = byte;
	stream_tls_of(st)->has_first = true;
}
