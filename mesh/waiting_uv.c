/*
 * Waiting at a relay; see waiting_uv.h.
 */
#include "mesh/waiting_uv.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "mesh/channel_uv.h"
#include "mesh/stream_relay_uv.h"
#include "mesh/waiter.h"

struct waiting {
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	struct addr relay;
	struct waiting_callbacks cb;
	void *arg;
	const struct log *log;
	struct waiter waiter;
	struct channel *channel; /* NULL while away */
	bool closing;
	unsigned handles; /* channels that are not closed yet */
	void (*on_closed)(void *);
	void *closed_arg;
};

static void
waiting_try_free(struct waiting *w)
{
	if (!w->closing || w->handles > 0)
		return;
	if (w->on_closed != NULL)
		w->on_closed(w->closed_arg);
	mem_free(w);
}

static void
waiting_channel_closed(void *arg)
{
	struct waiting *w = arg;

	w->handles--;
	waiting_try_free(w);
}

static void
waiting_hang_up(struct waiting *w)
{
	if (w->channel == NULL)
		return;
	channel_close(w->channel, waiting_channel_closed, w);
	w->channel = NULL;
}

/* Hang up; one line when that is news. */
static void
waiting_leave(struct waiting *w, const char *why)
{
	const bool had_place = waiting_has_place(w);
	char before[sizeof(w->waiter.why)], text[ADDR_TEXT_MAX];

	memcpy(before, w->waiter.why, sizeof(before));
	waiter_lost(&w->waiter, why, uv_hrtime());
	addr_text_host(&w->relay, text);
	if (had_place || strcmp(before, w->waiter.why) != 0)
		log_warn(w->log, "relay lost address=%s reason=\"%s\"", text,
		    w->waiter.why);
	waiting_hang_up(w);
	if (had_place)
		w->cb.on_change(w->arg);
}

static void
waiting_on_open(void *arg)
{
	struct waiting *w = arg;
	struct relay_message m = { .type = RELAY_JOIN };

	memcpy(m.u.token, w->relay.token, sizeof(m.u.token));
	waiter_asked(&w->waiter, uv_hrtime());
	channel_send(w->channel, &m);
}

static void
waiting_on_message(void *arg, const struct relay_message *m)
{
	struct waiting *w = arg;
	const struct relay_message pong = { .type = RELAY_PONG };
	const struct relay_message ping = { .type = RELAY_PING };
	const bool had_place = waiting_has_place(w);
	char text[ADDR_TEXT_MAX];
	struct addr at;

	switch (waiter_hear(&w->waiter, m, uv_hrtime())) {
	case WAITER_NOTHING:
		break;
	case WAITER_PONG:
		channel_send(w->channel, &pong);
		break;
	case WAITER_PONG_AND_PING:
		channel_send(w->channel, &pong);
		channel_send(w->channel, &ping);
		break;
	case WAITER_GO:
		at = *channel_address(w->channel);
		w->cb.on_stream(w->arg,
		    stream_relay_follow(w->loop, w->identity, &w->relay, &at,
			m),
		    &at);
		break;
	case WAITER_LEAVE:
		waiting_leave(w, "it refused");
		return;
	}
	if (had_place || !waiting_has_place(w))
		return;
	addr_text_host(&w->relay, text);
	log_info(w->log, "relay join address=%s", text);
	w->cb.on_change(w->arg);
}

static void
waiting_on_end(void *arg, const struct err *err)
{
	waiting_leave(arg, err->text);
}

struct waiting *
waiting_open(uv_loop_t *loop, const struct identity *id,
    const struct addr *relay, const struct waiting_callbacks *cb, void *arg,
    const struct log *log)
{
	struct waiting *w = mem_zalloc(sizeof(*w));
	uint64_t seed = 0;

	ASSERT(relay->scheme == ADDR_RELAY);
	if (uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) != 0)
		seed = uv_hrtime();
	w->loop = loop;
	w->identity = id;
	w->relay = *relay;
	w->cb = *cb;
	w->arg = arg;
	w->log = log;
	waiter_init(&w->waiter, seed, uv_hrtime());
	return w;
}

void
waiting_close(struct waiting *w, void (*on_closed)(void *), void *arg)
{
	ASSERT(!w->closing);
	w->closing = true;
	w->on_closed = on_closed;
	w->closed_arg = arg;
	waiting_hang_up(w);
	waiting_try_free(w);
}

const struct addr *
waiting_address(const struct waiting *w)
{
	return &w->relay;
}

bool
waiting_has_place(const struct waiting *w)
{
	return w->waiter.state == WAITER_JOINED;
}

const char *
waiting_error(const struct waiting *w)
{
	return w->waiter.why;
}

uint64_t
waiting_rtt_ns(const struct waiting *w)
{
	return waiting_has_place(w) ? w->waiter.rtt_ns : 0;
}

void
waiting_refresh(struct waiting *w)
{
	waiter_refresh(&w->waiter, uv_hrtime());
}

void
waiting_tick(struct waiting *w, uint64_t now_ns)
{
	static const struct channel_callbacks callbacks = {
		.on_open = waiting_on_open,
		.on_message = waiting_on_message,
		.on_end = waiting_on_end,
	};

	if (waiter_is_over(&w->waiter, now_ns))
		waiting_leave(w,
		    waiting_has_place(w) ? "silent for too long" : "no answer");
	if (!waiter_is_due(&w->waiter, now_ns))
		return;
	waiter_knocked(&w->waiter, now_ns);
	w->handles++;
	w->channel =
	    channel_dial(w->loop, w->identity, &w->relay, &callbacks, w);
}

uint64_t
waiting_wake_at(const struct waiting *w)
{
	return waiter_wake_at(&w->waiter);
}
