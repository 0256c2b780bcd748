/*
 * Our line to a coordinator; see coord_client_uv.h.
 *
 * What is to be said gathers in the caller; a timer at now takes it to the
 * stream, so that no call from outside ever meets a stream that fails.
 */
#include "mesh/coord_client_uv.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/coord_caller.h"
#include "mesh/stream_tls_uv.h"

#define CLIENT_READ_LEN (16u * 1024u)

struct coord_client {
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	struct addr at;
	struct devid must_be; /* none: nobody was seen there yet */
	struct coord_client_callbacks cb;
	void *arg;
	const struct log *log;
	struct coord_caller *caller;
	struct stream *stream; /* NULL while away */
	struct buf in;
	struct arena arena; /* of the message at hand */
	uv_timer_t timer;
	uint64_t bytes_in, bytes_out;
	bool open, closing;
	unsigned handles;
	void (*on_closed)(void *);
	void *closed_arg;
};

/* --- ending ----------------------------------------------------------- */

static void
client_freed(void *arg)
{
	struct coord_client *c = arg;

	if (--c->handles > 0 || !c->closing)
		return;
	if (c->on_closed != NULL)
		c->on_closed(c->closed_arg);
	coord_caller_free(c->caller);
	buf_fini(&c->in);
	arena_fini(&c->arena);
	mem_free(c);
}

static void
client_timer_freed(uv_handle_t *handle)
{
	client_freed(handle->data);
}

static void
client_hang_up(struct coord_client *c)
{
	if (c->stream != NULL)
		stream_close(c->stream, NULL, client_freed, c);
	c->stream = NULL;
	c->open = false;
	buf_fini(&c->in);
}

static void client_arm(struct coord_client *c);

/* Hang up; one line when that is news. */
static void
client_leave(struct coord_client *c, const char *why)
{
	const bool was_up = coord_caller_is_up(c->caller);
	char before[256], text[ADDR_TEXT_MAX];

	snprintf(before, sizeof(before), "%s", coord_caller_why(c->caller));
	coord_caller_lost(c->caller, why, uv_hrtime());
	why = coord_caller_why(c->caller);
	addr_text_host(&c->at, text);
	if (was_up || strcmp(before, why) != 0)
		log_warn(c->log, "coord lost address=%s reason=\"%s\"", text,
		    why);
	client_hang_up(c);
	client_arm(c);
	if (was_up)
		c->cb.on_down(c->arg, why);
}

/* --- out -------------------------------------------------------------- */

static void
client_push(struct coord_client *c)
{
	struct buf *out = coord_caller_out(c->caller);
	struct err err = { 0 };
	size_t n = 0;
	int rc = 0;

	if (!c->open || out->len == 0)
		return;
	while (rc == 0 && out->len > 0) {
		rc = stream_write(c->stream, buf_slice(out), &n, &err);
		if (rc < 0 || n == 0)
			break;
		c->bytes_out += n;
		buf_consume(out, n);
	}
	if (rc == 0)
		rc = stream_flush(c->stream, &err);
	if (rc < 0)
		client_leave(c, err.text);
	else if (out->len == 0)
		buf_fini(out);
}

/* --- in --------------------------------------------------------------- */

static void
client_tell(struct coord_client *c, const struct coord_message *m)
{
	switch (m->type) {
	case COORD_ENTRIES:
		c->cb.on_entries(c->arg, m->u.entries.seq, m->u.entries.entry,
		    m->u.entries.count);
		return;
	case COORD_WHERE:
		c->cb.on_where(c->arg, &m->u.where.id, m->u.where.addr,
		    m->u.where.count, m->u.where.here);
		return;
	case COORD_SIGNAL:
		c->cb.on_signal(c->arg, &m->u.signal.peer, m->u.signal.body);
		return;
	case COORD_BOX:
		c->cb.on_box(c->arg, m->u.mail.box);
		return;
	case COORD_MAIL:
		c->cb.on_mail(c->arg, m->u.mail.box, m->u.mail.stranger,
		    m->u.mail.body);
		return;
	case COORD_REFUSED:
		c->cb.on_refused(c->arg, m->u.refused.of, m->u.refused.code,
		    m->u.refused.text);
		return;
	case COORD_HELLO:
	case COORD_WELCOME:
	case COORD_PING:
	case COORD_PONG:
	case COORD_PUBLISH:
	case COORD_WANT:
		return;
	}
}

static void
client_hear(struct coord_client *c, const struct coord_message *m)
{
	char text[ADDR_TEXT_MAX];

	switch (coord_caller_hear(c->caller, m, uv_hrtime())) {
	case COORD_CALLER_NOTHING:
		return;
	case COORD_CALLER_UP:
		addr_text_host(&c->at, text);
		log_info(c->log, "coord join address=%s", text);
		c->cb.on_up(c->arg, m);
		return;
	case COORD_CALLER_TELL:
		client_tell(c, m);
		return;
	case COORD_CALLER_NO_BOX:
		c->cb.on_refused(c->arg, COORD_BOX, m->u.refused.code,
		    m->u.refused.text);
		if (!c->closing)
			c->cb.on_box(c->arg, 0);
		return;
	case COORD_CALLER_LEAVE:
		client_leave(c, "");
		return;
	}
}

/* Hand on the messages that are whole. */
static int
client_deliver(struct coord_client *c, struct err *err)
{
	const struct stream *st = c->stream;
	struct coord_message m;
	size_t used, at = 0;
	int rc = 0;

	while (!c->closing && c->stream == st) {
		arena_clear(&c->arena);
		rc = coord_decode(&m, slice_of(c->in.ptr + at, c->in.len - at),
		    &used, &c->arena, err);
		at += used;
		if (rc == 1)
			client_hear(c, &m);
		else if (rc != ERR_UNSUPPORTED)
			break;
	}
	if (c->closing || c->stream != st)
		return 0;
	buf_consume(&c->in, at);
	return rc;
}

static void
client_on_readable(void *arg)
{
	struct coord_client *c = arg;
	const struct stream *st = c->stream;
	struct err err = { 0 };
	size_t n;
	int rc = 1;

	while (!c->closing && c->stream == st && rc == 1) {
		buf_reserve(&c->in, CLIENT_READ_LEN);
		rc = stream_read(c->stream, c->in.ptr + c->in.len,
		    CLIENT_READ_LEN, &n, &err);
		c->in.len += n;
		c->bytes_in += n;
		if (rc == 1 && client_deliver(c, &err) < 0)
			rc = err.code;
	}
	if (c->closing || c->stream != st)
		return;
	if (rc < 0) {
		client_leave(c, err.text);
		return;
	}
	if (c->in.len == 0) {
		buf_fini(&c->in);
		arena_fini(&c->arena);
	}
	client_push(c);
	if (!c->closing && c->stream == st)
		stream_idle(c->stream); /* small words, far between */
	client_arm(c);
}

static void
client_on_reached(void *arg)
{
	(void)arg;
}

static void
client_on_open(void *arg)
{
	struct coord_client *c = arg;
	const struct devid *who = stream_peer(c->stream);

	if (devid_is_none(&c->must_be))
		c->must_be = *who;
	if (!devid_equal(&c->must_be, who)) {
		client_leave(c, "another device answers there");
		return;
	}
	c->open = true;
	coord_caller_opened(c->caller, uv_hrtime());
	client_push(c);
	client_arm(c);
}

static void
client_on_writable(void *arg)
{
	client_push(arg);
}

static void
client_on_end(void *arg, const struct err *err)
{
	client_leave(arg, err->text);
}

static void
client_dial(struct coord_client *c)
{
	static const struct stream_callbacks callbacks = {
		.on_reached = client_on_reached,
		.on_open = client_on_open,
		.on_readable = client_on_readable,
		.on_writable = client_on_writable,
		.on_end = client_on_end,
	};

	c->handles++;
	c->stream = stream_tls_dial(c->loop, c->identity, &c->at);
	stream_tls_speak(c->stream, TLS_COORD);
	stream_own(c->stream, &callbacks, c);
}

/* --- time ------------------------------------------------------------- */

static void
client_on_timer(uv_timer_t *timer)
{
	struct coord_client *c = timer->data;
	const uint64_t now_ns = uv_hrtime();
	const char *over = coord_caller_over(c->caller, now_ns);

	if (over != NULL) {
		client_leave(c, over);
		return;
	}
	if (coord_caller_is_due(c->caller, now_ns)) {
		coord_caller_dialled(c->caller, now_ns);
		client_dial(c);
	}
	coord_caller_tick(c->caller, now_ns);
	client_push(c);
	if (!c->closing)
		client_arm(c);
}

static void
client_arm(struct coord_client *c)
{
	if (!c->closing)
		timer_uv_arm(&c->timer, client_on_timer,
		    coord_caller_wake_at(c->caller));
}

/* Something was said, or is to be looked at: from the loop. */
static void
client_kick(struct coord_client *c)
{
	if (!c->closing)
		timer_uv_arm(&c->timer, client_on_timer, 0);
}

/* --- opening and closing ---------------------------------------------- */

int
coord_client_open(struct coord_client **out, uv_loop_t *loop,
    const struct identity *id, const struct addr *at,
    const struct devid *must_be, const struct coord_client_callbacks *cb,
    void *arg, const struct log *log, struct err *err)
{
	struct coord_client *c;
	uint64_t seed = 0;

	*out = NULL;
	if (at->scheme != ADDR_TCP || at->host == ADDR_NONE || at->port == 0)
		return err_set(err, ERR_INVALID,
		    "a coordinator is at tcp://HOST:PORT");
	if (uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) != 0)
		seed = uv_hrtime();
	c = mem_zalloc(sizeof(*c));
	c->loop = loop;
	c->identity = id;
	c->at = *at;
	if (must_be != NULL)
		c->must_be = *must_be;
	c->cb = *cb;
	c->arg = arg;
	c->log = log;
	c->caller = coord_caller_new(seed, uv_hrtime());
	uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	c->handles = 1;
	client_kick(c);
	*out = c;
	return 0;
}

void
coord_client_close(struct coord_client *c, void (*on_closed)(void *), void *arg)
{
	ASSERT(!c->closing);
	c->closing = true;
	c->on_closed = on_closed;
	c->closed_arg = arg;
	client_hang_up(c);
	uv_close((uv_handle_t *)&c->timer, client_timer_freed);
}

/* --- what our owner says ---------------------------------------------- */

void
coord_client_set_domain(struct coord_client *c, const struct coord_id *domain,
    uint64_t seq, const uint8_t head[32])
{
	coord_caller_set_domain(c->caller, domain, seq, head);
	client_kick(c);
}

void
coord_client_set_run(struct coord_client *c, uint64_t run)
{
	coord_caller_set_run(c->caller, run);
}

void
coord_client_publish(struct coord_client *c, const struct addr *addr,
    size_t count)
{
	coord_caller_publish(c->caller, addr, count, uv_hrtime());
	client_kick(c);
}

void
coord_client_want(struct coord_client *c, const struct devid *id, size_t count)
{
	coord_caller_want(c->caller, id, count, uv_hrtime());
	client_kick(c);
}

bool
coord_client_append(struct coord_client *c, uint64_t seq,
    const struct slice *entry, size_t count)
{
	client_kick(c);
	return coord_caller_append(c->caller, seq, entry, count);
}

bool
coord_client_signal(struct coord_client *c, const struct devid *to,
    struct slice body)
{
	client_kick(c);
	return coord_caller_signal(c->caller, to, body);
}

bool
coord_client_open_box(struct coord_client *c)
{
	client_kick(c);
	return coord_caller_open_box(c->caller);
}

bool
coord_client_claim_box(struct coord_client *c, uint32_t box)
{
	client_kick(c);
	return coord_caller_claim_box(c->caller, box);
}

void
coord_client_close_box(struct coord_client *c, uint32_t box)
{
	coord_caller_close_box(c->caller, box);
	client_kick(c);
}

bool
coord_client_mail(struct coord_client *c, uint32_t box, uint64_t stranger,
    struct slice body)
{
	client_kick(c);
	return coord_caller_mail(c->caller, box, stranger, body);
}

void
coord_client_refresh(struct coord_client *c)
{
	coord_caller_refresh(c->caller, uv_hrtime());
	client_kick(c);
}

void
coord_client_state(const struct coord_client *c, struct coord_client_state *out)
{
	*out = (struct coord_client_state){ .at = &c->at,
		.up = coord_caller_is_up(c->caller),
		.rtt_ns = coord_caller_rtt_ns(c->caller),
		.bytes_in = c->bytes_in,
		.bytes_out = c->bytes_out,
		.why = coord_caller_why(c->caller),
		.cloned = coord_caller_is_cloned(c->caller, uv_hrtime()) };
	if (out->up)
		out->id = c->must_be;
}
