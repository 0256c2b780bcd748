/*
 * Channels; see channel_uv.h.
 */
#include "mesh/channel_uv.h"

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "mesh/stream_tls_uv.h"

#define CHANNEL_OUT_MAX (64u * 1024) /* a relay that does not read: no more */

struct channel {
	struct stream *stream;
	struct addr to;
	struct channel_callbacks cb;
	void *arg;
	struct buf out; /* not taken by the stream yet */
	uint8_t in[RELAY_MESSAGE_MAX];
	size_t in_len;
	bool closed;
	void (*on_closed)(void *);
	void *closed_arg;
};

static void
channel_fail(struct channel *c, const struct err *err)
{
	if (!c->closed)
		c->cb.on_end(c->arg, err);
}

static void
channel_push(struct channel *c)
{
	struct err err = { 0 };
	size_t n = 0;
	int rc = 0;

	while (c->out.len > 0) {
		rc = stream_write(c->stream, buf_slice(&c->out), &n, &err);
		if (rc < 0 || n == 0)
			break;
		buf_consume(&c->out, n);
	}
	if (rc == 0)
		rc = stream_flush(c->stream, &err);
	if (rc < 0)
		channel_fail(c, &err);
}

static void
channel_on_reached(void *arg)
{
	(void)arg;
}

static void
channel_on_open(void *arg)
{
	struct channel *c = arg;
	struct err err = { 0 };

	if (!devid_is_none(&c->to.relay) &&
	    !devid_equal(&c->to.relay, stream_peer(c->stream))) {
		err_set(&err, ERR_DENIED,
		    "it is not the relay that ?id= names");
		channel_fail(c, &err);
		return;
	}
	c->cb.on_open(c->arg);
}

/* Hand on the messages that are whole. */
static int
channel_deliver(struct channel *c, struct err *err)
{
	struct relay_message m;
	size_t used, at = 0;
	int rc;

	while (!c->closed &&
	       (rc = relay_decode(&m, slice_of(c->in + at, c->in_len - at),
		    &used, err)) == 1) {
		at += used;
		c->cb.on_message(c->arg, &m);
	}
	if (c->closed)
		return 0;
	for (size_t i = at; i < c->in_len; i++)
		c->in[i - at] = c->in[i];
	c->in_len -= at;
	return rc;
}

static void
channel_on_readable(void *arg)
{
	struct channel *c = arg;
	struct err err = { 0 };
	size_t n;
	int rc = 1;

	while (!c->closed && rc == 1) {
		rc = stream_read(c->stream, c->in + c->in_len,
		    sizeof(c->in) - c->in_len, &n, &err);
		c->in_len += n;
		if (rc == 1 && channel_deliver(c, &err) < 0)
			rc = err.code;
	}
	if (rc < 0)
		channel_fail(c, &err);
}

static void
channel_on_writable(void *arg)
{
	channel_push(arg);
}

static void
channel_on_end(void *arg, const struct err *err)
{
	channel_fail(arg, err);
}

static const struct stream_callbacks channel_stream_callbacks = {
	.on_reached = channel_on_reached,
	.on_open = channel_on_open,
	.on_readable = channel_on_readable,
	.on_writable = channel_on_writable,
	.on_end = channel_on_end,
};

struct channel *
channel_dial(uv_loop_t *loop, const struct identity *id, const struct addr *to,
    const struct channel_callbacks *cb, void *arg)
{
	struct channel *c = mem_zalloc(sizeof(*c));
	struct addr at = *to;

	c->to = *to;
	c->cb = *cb;
	c->arg = arg;
	at.scheme = ADDR_TCP;
	c->stream = stream_tls_dial(loop, id, &at);
	stream_tls_speak(c->stream, TLS_RELAY);
	stream_own(c->stream, &channel_stream_callbacks, c);
	return c;
}

void
channel_send(struct channel *c, const struct relay_message *m)
{
	ASSERT(!c->closed);
	/* It reads nothing, though it asks: its silence will end it. */
	if (c->out.len > CHANNEL_OUT_MAX)
		return;
	relay_encode(m, &c->out);
	channel_push(c);
}

const struct addr *
channel_address(const struct channel *c)
{
	return stream_address(c->stream);
}

static void
channel_freed(void *arg)
{
	struct channel *c = arg;

	if (c->on_closed != NULL)
		c->on_closed(c->closed_arg);
	buf_fini(&c->out);
	mem_free(c);
}

void
channel_close(struct channel *c, void (*on_closed)(void *), void *arg)
{
	ASSERT(!c->closed);
	c->closed = true;
	c->on_closed = on_closed;
	c->closed_arg = arg;
	stream_close(c->stream, NULL, channel_freed, c);
}
