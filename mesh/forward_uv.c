/*
 * Carried connections; see forward_uv.h.
 *
 * Invariants
 *   - a pipe has a channel until it is over; its owner pointer is the pipe.
 *   - a stream is read only while its channel has room and fewer than
 *     LIMIT_FORWARD_QUEUED of its words wait to be sent.
 *   - bytes that came are held until the stream took them, at most a window.
 *   - a pipe is freed when its handle, if it has one, is closed.
 */
#include "mesh/forward_uv.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "mesh/forward.h"

/* A tag is this bit, "ours", and the channel's number. */
#define FORWARD_TAG (UINT64_C(1) << 63)
#define FORWARD_TAG_OWN (UINT64_C(1) << 62)
#define FORWARD_TAG_NUMBER (FORWARD_TAG_OWN - 1)

#define FORWARD_FATES 128u /* of those that are over, remembered */

struct forward_peer {
	struct devid id;
	bool speaks, dropped;
	struct forward channels;
	size_t unsent; /* words that wait to be sent */
};

struct forward_pipe {
	struct list_node node;
	struct forwards *fw;
	struct forward_peer *peer;  /* NULL: it is over here */
	struct forward_channel *ch; /* likewise */
	uint64_t number;            /* ours: of the asker's; else 0 */
	uint16_t port;
	uint64_t until_ns; /* it is to be attached until then */
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t local;
	} h;
	bool has_handle, is_tcp, is_up; /* is_up: it is connected */
	bool second;                    /* ::1 is tried */
	bool reading, shutting, shut, closing;
	unsigned queued;  /* words of it that wait to be sent */
	struct buf early; /* came before it was attached; at most a window */
	uv_connect_t connect;
	uv_shutdown_t shutdown;
};

struct forward_write {
	uv_write_t req;
	uint32_t len;
	uint8_t data[];
};

struct forward_past {
	uint64_t number;
	struct forward_uv_fate fate;
};

struct forwards {
	uv_loop_t *loop;
	const struct log *log;
	struct forward_uv_callbacks cb;
	void *arg;
	VEC(struct forward_peer *) peer; /* owned; those that are connected */
	struct list pipes;
	uint64_t numbers;
	struct forward_past past[FORWARD_FATES];
	uint64_t past_count;
	uv_timer_t timer;
	bool closing, closed;              /* closed: the timer is gone */
	uint8_t chunk[LIMIT_FORWARD_DATA]; /* what was read just now */
};

static struct forward_peer *
forward_peer_of(const struct forwards *fw, const struct devid *id)
{
	for (size_t i = 0; i < fw->peer.len; i++)
		if (devid_equal(&fw->peer.item[i]->id, id))
			return fw->peer.item[i];
	return NULL;
}

static void
forward_peer_drop(struct forwards *fw, struct forward_peer *p, const char *why)
{
	if (p->dropped)
		return;
	p->dropped = true;
	log_warn(fw->log, "forward drop reason=\"%s\"", why);
	fw->cb.drop(fw->arg, &p->id, why);
}

/* To the peer; `pipe` is whose word it is, or NULL. */
static void
forward_say(struct forwards *fw, struct forward_peer *p,
    struct forward_pipe *pipe, const struct forward_message *w)
{
	const struct message m = { .type = MESSAGE_FORWARD, .u.forward = *w };
	const uint64_t tag = FORWARD_TAG | (w->own ? FORWARD_TAG_OWN : 0) |
			     (w->channel & FORWARD_TAG_NUMBER);

	if (p->dropped)
		return;
	if (p->unsent >= LIMIT_FORWARD_UNSENT ||
	    fw->cb.send(fw->arg, &p->id, &m, tag) < 0) {
		forward_peer_drop(fw, p, "it does not take what it asked for");
		return;
	}
	p->unsent++;
	if (pipe != NULL)
		pipe->queued++;
}

/* --- the end of one ------------------------------------------------------ */

static void
forward_free_if_done(struct forwards *fw)
{
	if (!fw->closed || list_first(&fw->pipes) != NULL)
		return;
	VEC_FINI(&fw->peer);
	mem_free(fw);
}

static void
forward_pipe_free(struct forward_pipe *pipe)
{
	struct forwards *fw = pipe->fw;

	list_remove(&fw->pipes, &pipe->node);
	buf_fini(&pipe->early);
	mem_free(pipe);
	forward_free_if_done(fw);
}

static void
forward_on_closed(uv_handle_t *handle)
{
	forward_pipe_free(handle->data);
}

/* Its stream goes, with or without a word; it may be freed here. */
static void
forward_pipe_close(struct forward_pipe *pipe, bool well)
{
	if (pipe->closing)
		return;
	pipe->closing = true;
	if (!pipe->has_handle) {
		forward_pipe_free(pipe);
		return;
	}
	/* A reset says more than an end; not after a shutdown, libuv says. */
	if (well || !pipe->is_tcp || !pipe->is_up || pipe->shutting ||
	    uv_tcp_close_reset(&pipe->h.tcp, forward_on_closed) < 0)
		uv_close(&pipe->h.handle, forward_on_closed);
}

static void
forward_remember(struct forwards *fw, const struct forward_pipe *pipe,
    const struct devid *id, enum forward_uv_state state, uint32_t code,
    bool lost)
{
	if (pipe->number == 0)
		return;
	fw->past[fw->past_count++ % FORWARD_FATES] =
	    (struct forward_past){ .number = pipe->number,
		    .fate = { .state = state,
			.id = *id,
			.port = pipe->port,
			.code = code,
			.lost = lost } };
	if (!fw->closing)
		fw->cb.on_change(fw->arg);
}

/* It is over; nothing is said to the peer.  `pipe` may be freed. */
static void
forward_over(struct forward_pipe *pipe, enum forward_uv_state state,
    uint32_t code, bool lost)
{
	struct forwards *fw = pipe->fw;
	struct forward_peer *p = pipe->peer;

	if (p == NULL)
		return;
	forward_drop(&p->channels, pipe->ch);
	if (forward_first(&p->channels) == NULL)
		fw->cb.busy(fw->arg, &p->id, false);
	pipe->ch = NULL;
	pipe->peer = NULL;
	forward_remember(fw, pipe, &p->id, state, code, lost);
	log_debug(fw->log, "forward over port=%u well=%d code=%s",
	    (unsigned)pipe->port, state == FORWARD_UV_ENDED,
	    lost ? "lost" : forward_code_text(code));
	forward_pipe_close(pipe, state == FORWARD_UV_ENDED);
}

/* It is over, and the peer is told. */
static void
forward_break(struct forward_pipe *pipe, enum forward_code code)
{
	struct forward_message w;

	if (pipe->peer == NULL)
		return;
	forward_reset(pipe->ch, code, &w);
	forward_say(pipe->fw, pipe->peer, NULL, &w);
	forward_over(pipe, FORWARD_UV_BROKEN, code, false);
}

/* --- bytes of the stream ------------------------------------------------- */

static void
forward_over_if_done(struct forward_pipe *pipe)
{
	if (pipe->peer != NULL && forward_is_over(pipe->ch) && pipe->shut)
		forward_over(pipe, FORWARD_UV_ENDED, 0, false);
}

static void
forward_on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
	struct forward_pipe *pipe = handle->data;

	(void)hint;
	*buf = uv_buf_init((char *)pipe->fw->chunk,
	    pipe->peer != NULL ? forward_room(pipe->ch) : 0);
}

static void forward_on_read(uv_stream_t *stream, ssize_t n,
    const uv_buf_t *buf);

/* Read as long as what was read can go on, and no longer. */
static void
forward_pump(struct forward_pipe *pipe)
{
	const bool may = pipe->peer != NULL && pipe->is_up && !pipe->closing &&
			 forward_room(pipe->ch) > 0 &&
			 pipe->queued < LIMIT_FORWARD_QUEUED;

	if (may == pipe->reading)
		return;
	pipe->reading = may;
	if (!may)
		uv_read_stop(&pipe->h.stream);
	else if (uv_read_start(&pipe->h.stream, forward_on_alloc,
		     forward_on_read) < 0)
		forward_break(pipe, FORWARD_CLOSED);
}

static void
forward_send(struct forward_pipe *pipe, struct slice data)
{
	struct forward_message w;

	forward_data(pipe->ch, data, &w);
	forward_say(pipe->fw, pipe->peer, pipe, &w);
}

static void
forward_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct forward_pipe *pipe = stream->data;
	struct forward_message w;

	if (pipe->peer == NULL || n == 0)
		return;
	if (n > 0) {
		forward_send(pipe, slice_of(buf->base, (size_t)n));
		forward_pump(pipe);
		return;
	}
	pipe->reading = false;
	uv_read_stop(stream);
	if (n != UV_EOF) {
		forward_break(pipe, FORWARD_CLOSED);
		return;
	}
	forward_end(pipe->ch, &w);
	forward_say(pipe->fw, pipe->peer, pipe, &w);
	forward_over_if_done(pipe);
}

static void
forward_on_written(uv_write_t *req, int status)
{
	struct forward_write *wr = (struct forward_write *)(void *)req;
	struct forward_pipe *pipe = req->handle->data;
	struct forward_message w;
	const uint32_t len = wr->len;

	mem_free(wr);
	if (pipe->peer == NULL)
		return;
	if (status < 0)
		forward_break(pipe, FORWARD_CLOSED);
	else if (forward_taken(pipe->ch, len, &w))
		forward_say(pipe->fw, pipe->peer, pipe, &w);
}

static void
forward_write(struct forward_pipe *pipe, struct slice data)
{
	struct forward_write *wr = mem_alloc(sizeof(*wr) + data.len);
	uv_buf_t buf;

	wr->len = (uint32_t)data.len;
	memcpy(wr->data, data.ptr, data.len);
	buf = uv_buf_init((char *)wr->data, wr->len);
	if (uv_write(&wr->req, &pipe->h.stream, &buf, 1, forward_on_written) ==
	    0)
		return;
	mem_free(wr);
	forward_break(pipe, FORWARD_CLOSED);
}

static void
forward_on_shut(uv_shutdown_t *req, int status)
{
	struct forward_pipe *pipe = req->handle->data;

	if (pipe->peer == NULL)
		return;
	/* Who is gone needs no end. */
	if (status < 0 && status != UV_ENOTCONN) {
		forward_break(pipe, FORWARD_CLOSED);
		return;
	}
	pipe->shut = true;
	forward_over_if_done(pipe);
}

static void
forward_came(struct forward_pipe *pipe, struct slice data)
{
	if (pipe->is_up)
		forward_write(pipe, data);
	else
		buf_put(&pipe->early, data);
}

/* The peer's half is over: the stream hears of it behind all that came. */
static void
forward_shut(struct forward_pipe *pipe)
{
	pipe->shutting = true;
	if (uv_shutdown(&pipe->shutdown, &pipe->h.stream, forward_on_shut) < 0)
		forward_break(pipe, FORWARD_CLOSED);
}

/* --- those that a peer opens --------------------------------------------- */

static void forward_dial(struct forward_pipe *pipe);

/* Nobody at 127.0.0.1: the handle is closed, then ::1 gets another one. */
static void
forward_on_first_closed(uv_handle_t *handle)
{
	struct forward_pipe *pipe = handle->data;

	pipe->has_handle = false;
	pipe->closing = false;
	if (pipe->peer == NULL)
		forward_pipe_free(pipe);
	else
		forward_dial(pipe);
}

static void
forward_on_connect(uv_connect_t *req, int status)
{
	struct forward_pipe *pipe = req->data;
	struct forward_message w;

	if (pipe->peer == NULL || pipe->closing)
		return;
	if (status == UV_ECONNREFUSED && !pipe->second) {
		pipe->second = pipe->closing = true;
		uv_close(&pipe->h.handle, forward_on_first_closed);
		return;
	}
	if (status < 0) {
		/* Without IPv6 it is as if nobody listened there. */
		forward_break(pipe, status == UV_ECONNREFUSED || pipe->second
					? FORWARD_NOBODY
					: FORWARD_FAILED);
		return;
	}
	pipe->is_up = true;
	uv_tcp_nodelay(&pipe->h.tcp, 1);
	forward_accept(pipe->ch, &w);
	forward_say(pipe->fw, pipe->peer, pipe, &w);
	forward_pump(pipe);
}

/* Loopback, and nothing else. */
static void
forward_dial(struct forward_pipe *pipe)
{
	struct sockaddr_in four = { .sin_family = AF_INET,
		.sin_port = htons(pipe->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6,
		.sin6_port = htons(pipe->port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const void *at = pipe->second ? (const void *)&six : &four;

	uv_tcp_init(pipe->fw->loop, &pipe->h.tcp);
	pipe->h.handle.data = pipe;
	pipe->has_handle = pipe->is_tcp = true;
	pipe->connect.data = pipe;
	if (uv_tcp_connect(&pipe->connect, &pipe->h.tcp, at,
		forward_on_connect) < 0)
		forward_break(pipe,
		    pipe->second ? FORWARD_NOBODY : FORWARD_FAILED);
}

static struct forward_pipe *
forward_pipe_new(struct forwards *fw, struct forward_peer *p,
    struct forward_channel *ch, uint16_t port)
{
	struct forward_pipe *pipe = mem_zalloc(sizeof(*pipe));

	pipe->fw = fw;
	pipe->peer = p;
	pipe->ch = ch;
	pipe->port = port;
	ch->user = pipe;
	list_add(&fw->pipes, &pipe->node);
	fw->cb.busy(fw->arg, &p->id, true);
	return pipe;
}

static void
forward_asked(struct forwards *fw, struct forward_peer *p,
    struct forward_channel *ch, uint16_t port)
{
	struct forward_pipe *pipe = forward_pipe_new(fw, p, ch, port);
	const bool may = fw->cb.may(fw->arg, &p->id, port);

	log_info(fw->log, "forward %s port=%u", may ? "dial" : "refuse",
	    (unsigned)port);
	if (may)
		forward_dial(pipe);
	else
		forward_break(pipe, FORWARD_DENIED);
}

void
forward_uv_judge(struct forwards *fw)
{
	struct list_node *node, *next;

	for (node = list_first(&fw->pipes); node != NULL; node = next) {
		struct forward_pipe *pipe =
		    LIST_ITEM(node, struct forward_pipe, node);

		next = list_next(&fw->pipes, node);
		if (pipe->peer != NULL && !pipe->ch->own &&
		    !fw->cb.may(fw->arg, &pipe->peer->id, pipe->port))
			forward_break(pipe, FORWARD_DENIED);
	}
}

/* --- the peer's words ---------------------------------------------------- */

static void
forward_heard(struct forwards *fw, struct forward_peer *p,
    const struct forward_message *m)
{
	struct forward_channel *ch = NULL;
	struct forward_message out;
	struct forward_pipe *pipe;
	struct err err = { 0 };
	const enum forward_event ev =
	    forward_take(&p->channels, m, &ch, &out, &err);

	pipe = ch != NULL ? ch->user : NULL;
	switch (ev) {
	case FORWARD_NOTHING:
		break;
	case FORWARD_ASKED:
		forward_asked(fw, p, ch, (uint16_t)m->port);
		break;
	case FORWARD_FULL:
		forward_say(fw, p, NULL, &out);
		break;
	case FORWARD_ACCEPTED:
		fw->cb.on_change(fw->arg);
		break;
	case FORWARD_CAME:
		forward_came(pipe, m->data);
		break;
	case FORWARD_ROOM:
		forward_pump(pipe);
		break;
	case FORWARD_ENDED:
		if (pipe->is_up)
			forward_shut(pipe);
		break;
	case FORWARD_BROKEN:
		forward_over(pipe, FORWARD_UV_BROKEN, m->code, false);
		break;
	case FORWARD_WRONG:
		forward_peer_drop(fw, p, err.text);
		break;
	}
}

void
forward_uv_said(struct forwards *fw, const struct devid *id,
    const struct forward_message *m)
{
	struct forward_peer *p = forward_peer_of(fw, id);

	if (p != NULL && p->speaks && !p->dropped)
		forward_heard(fw, p, m);
}

bool
forward_uv_has_tag(uint64_t tag)
{
	return (tag & FORWARD_TAG) != 0;
}

void
forward_uv_sent(struct forwards *fw, const struct devid *id, uint64_t tag)
{
	struct forward_peer *p = forward_peer_of(fw, id);
	struct forward_channel *ch;
	struct forward_pipe *pipe;

	if (p == NULL || p->unsent == 0)
		return;
	p->unsent--;
	ch = forward_find(&p->channels, (tag & FORWARD_TAG_OWN) != 0,
	    tag & FORWARD_TAG_NUMBER);
	pipe = ch != NULL ? ch->user : NULL;
	if (pipe == NULL)
		return;
	if (pipe->queued > 0)
		pipe->queued--;
	forward_pump(pipe);
}

void
forward_uv_up(struct forwards *fw, const struct devid *id, bool speaks)
{
	struct forward_peer *p;

	forward_uv_down(fw, id);
	p = mem_zalloc(sizeof(*p));
	p->id = *id;
	p->speaks = speaks;
	forward_init(&p->channels);
	*VEC_ADD(&fw->peer) = p;
}

void
forward_uv_down(struct forwards *fw, const struct devid *id)
{
	struct forward_peer *p = forward_peer_of(fw, id);
	struct forward_channel *ch;

	if (p == NULL)
		return;
	while ((ch = forward_first(&p->channels)) != NULL)
		forward_over(ch->user, FORWARD_UV_BROKEN, FORWARD_CLOSED, true);
	for (size_t i = 0; i < fw->peer.len; i++)
		if (fw->peer.item[i] == p) {
			VEC_DROP(&fw->peer, i);
			break;
		}
	forward_fini(&p->channels);
	mem_free(p);
}

/* --- those we open ------------------------------------------------------- */

static struct forward_pipe *
forward_pipe_of(const struct forwards *fw, uint64_t number)
{
	for (struct list_node *node = list_first(&fw->pipes); node != NULL;
	     node = list_next(&fw->pipes, node)) {
		struct forward_pipe *pipe =
		    LIST_ITEM(node, struct forward_pipe, node);

		if (pipe->number == number && pipe->peer != NULL)
			return pipe;
	}
	return NULL;
}

/* Who asked does not come for what he asked: it goes. */
static void
forward_on_timer(uv_timer_t *timer)
{
	struct forwards *fw = timer->data;
	const uint64_t now = uv_hrtime();
	struct list_node *node, *next;
	bool more = false;

	for (node = list_first(&fw->pipes); node != NULL; node = next) {
		struct forward_pipe *pipe =
		    LIST_ITEM(node, struct forward_pipe, node);

		next = list_next(&fw->pipes, node);
		if (pipe->number == 0 || pipe->has_handle)
			continue;
		if (now >= pipe->until_ns)
			forward_break(pipe, FORWARD_FAILED);
		else
			more = true;
	}
	if (!more)
		uv_timer_stop(timer);
}

int
forward_uv_ask(struct forwards *fw, const struct devid *id, uint16_t port,
    uint64_t *number, struct err *err)
{
	struct forward_peer *p = forward_peer_of(fw, id);
	struct forward_channel *ch;
	struct forward_message w;
	struct forward_pipe *pipe;

	if (p == NULL || p->dropped)
		return err_set(err, ERR_CLOSED, "it is not connected");
	if (!p->speaks)
		return err_set(err, ERR_UNSUPPORTED,
		    "its program does not carry connections");
	ch = forward_open(&p->channels, port, &w);
	if (ch == NULL)
		return err_set(err, ERR_LIMIT,
		    "%u connections to it are open already",
		    LIMIT_FORWARD_CHANNELS);
	pipe = forward_pipe_new(fw, p, ch, port);
	pipe->number = *number = ++fw->numbers;
	pipe->until_ns = uv_hrtime() + LIMIT_FORWARD_ASK_NS;
	if (!uv_is_active((uv_handle_t *)&fw->timer))
		uv_timer_start(&fw->timer, forward_on_timer, 1000, 1000);
	forward_say(fw, p, pipe, &w);
	return 0;
}

bool
forward_uv_look(const struct forwards *fw, uint64_t number,
    struct forward_uv_fate *out)
{
	const struct forward_pipe *pipe =
	    number != 0 ? forward_pipe_of(fw, number) : NULL;

	if (pipe != NULL) {
		*out = (struct forward_uv_fate){ .state = FORWARD_UV_ASKED,
			.id = pipe->peer->id,
			.port = pipe->port };
		if (pipe->ch->open)
			out->state = pipe->has_handle ? FORWARD_UV_JOINED
						      : FORWARD_UV_READY;
		return true;
	}
	for (size_t i = 0; number != 0 && i < FORWARD_FATES; i++)
		if (fw->past[i].number == number) {
			*out = fw->past[i].fate;
			return true;
		}
	return false;
}

void
forward_uv_attach(struct forwards *fw, uint64_t number, int fd,
    struct slice early)
{
	struct forward_pipe *pipe = forward_pipe_of(fw, number);

	if (pipe == NULL || !pipe->ch->open || pipe->has_handle) {
		close(fd);
		return;
	}
	uv_pipe_init(fw->loop, &pipe->h.local, 0);
	pipe->h.handle.data = pipe;
	pipe->has_handle = true;
	if (uv_pipe_open(&pipe->h.local, fd) < 0) {
		close(fd);
		forward_break(pipe, FORWARD_CLOSED);
		return;
	}
	pipe->is_up = true;
	/* What was read with the request is less than a window. */
	while (early.len > 0 && pipe->peer != NULL) {
		const uint32_t room = forward_room(pipe->ch);
		const size_t n = early.len < room ? early.len : room;

		if (n == 0) {
			forward_break(pipe, FORWARD_FAILED);
			return;
		}
		forward_send(pipe, slice_to(early, n));
		early = slice_from(early, n);
	}
	if (pipe->peer != NULL && pipe->early.len > 0)
		forward_write(pipe, buf_slice(&pipe->early));
	buf_fini(&pipe->early);
	if (pipe->peer != NULL && pipe->ch->end_came)
		forward_shut(pipe);
	forward_pump(pipe);
}

/* --- all of it ----------------------------------------------------------- */

struct forwards *
forward_uv_open(uv_loop_t *loop, const struct forward_uv_callbacks *callbacks,
    void *arg, const struct log *log)
{
	struct forwards *fw = mem_zalloc(sizeof(*fw));

	fw->loop = loop;
	fw->log = log;
	fw->cb = *callbacks;
	fw->arg = arg;
	list_init(&fw->pipes);
	uv_timer_init(loop, &fw->timer);
	fw->timer.data = fw;
	return fw;
}

static void
forward_on_timer_closed(uv_handle_t *handle)
{
	struct forwards *fw = handle->data;

	fw->closed = true;
	forward_free_if_done(fw);
}

void
forward_uv_close(struct forwards *fw)
{
	fw->closing = true;
	while (fw->peer.len > 0) {
		const struct devid id = fw->peer.item[0]->id;

		forward_uv_down(fw, &id);
	}
	uv_close((uv_handle_t *)&fw->timer, forward_on_timer_closed);
}
