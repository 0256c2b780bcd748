/*
 * Sessions of our relay; see relayd_impl.h.
 *
 * Each way has one buffer: what was read into it is written to the other end,
 * and nothing is read before that is done.  That is all the back-pressure, and
 * no session can hold more than its two buffers.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/relayd_impl.h"

#define RELAYD_IDLE_NS (180 * CLOCK_S) /* a device pings every 90 s */

struct relayd_pipe;

struct relayd_end {
	struct relayd_pipe *pipe;
	int side;
	struct tcp *tcp; /* NULL: not there, or gone */
	uint8_t *buf;    /* owned: what was read here */
	bool busy;       /* `buf` is being written to the other end */
	bool ended;      /* nothing more comes from here */
	bool starved;    /* stopped for want of allowance */
	uint64_t allowance;
	uint8_t hello[64];
};

struct relayd_pipe {
	struct list_node node; /* in relayd->pipes */
	struct relayd *r;
	uint64_t session;
	struct relayd_end end[2];
	uint64_t moved_ns;
	unsigned handles;
	bool closing;
};

static void
relayd_pipe_freed(void *arg)
{
	struct relayd_pipe *p = arg;
	struct relayd *r = p->r;

	if (--p->handles > 0)
		return;
	mem_free(p->end[0].buf);
	mem_free(p->end[1].buf);
	mem_free(p);
	relayd_freed(r);
}

static void
relayd_pipe_close(struct relayd_pipe *p)
{
	if (p->closing)
		return;
	p->closing = true;
	list_remove(&p->r->pipes, &p->node);
	switchboard_end(p->r->board, p->session);
	p->handles = 1;
	for (int i = 0; i < 2; i++) {
		if (p->end[i].tcp == NULL)
			continue;
		p->handles++;
		tcp_close(p->end[i].tcp, relayd_pipe_freed, p);
	}
	relayd_pipe_freed(p);
}

static bool
relayd_pipe_is_whole(const struct relayd_pipe *p)
{
	return p->end[0].tcp != NULL && p->end[1].tcp != NULL;
}

static uint8_t *
relayd_pipe_on_space(void *arg, size_t *len)
{
	struct relayd_end *e = arg;
	const uint64_t rate = e->pipe->r->rate;

	*len = 0;
	if (e->pipe->closing || e->busy)
		return NULL;
	*len = LIMIT_RELAY_LEN;
	if (rate != 0 && e->allowance < *len)
		*len = e->allowance;
	e->starved = *len == 0;
	if (e->buf == NULL && *len > 0)
		e->buf = mem_alloc(LIMIT_RELAY_LEN);
	return e->buf;
}

static void
relayd_pipe_on_read(void *arg, size_t n)
{
	struct relayd_end *e = arg;
	struct relayd_pipe *p = e->pipe;
	struct relayd_end *other = &p->end[1 - e->side];

	if (p->closing)
		return;
	p->moved_ns = uv_hrtime();
	p->r->bytes += n;
	if (p->r->rate != 0)
		e->allowance -= n < e->allowance ? n : e->allowance;
	ASSERT(!e->busy);
	e->busy = tcp_write(other->tcp, e->buf, n) < n;
}

/* What came before it goes out first. */
static void
relayd_pipe_on_end(void *arg, const struct err *err)
{
	struct relayd_end *e = arg;

	(void)err;
	e->ended = true;
	if (!e->busy || !relayd_pipe_is_whole(e->pipe))
		relayd_pipe_close(e->pipe);
}

/* This end has taken what the other one read. */
static void
relayd_pipe_on_written(void *arg, const struct err *err)
{
	struct relayd_end *e = arg;
	struct relayd_pipe *p = e->pipe;
	struct relayd_end *from = &p->end[1 - e->side];

	if (p->closing)
		return;
	if (err != NULL || (from->busy && from->ended)) {
		relayd_pipe_close(p);
		return;
	}
	p->moved_ns = uv_hrtime();
	from->busy = false;
	/* It may have been its own greeting that went out. */
	if (relayd_pipe_is_whole(p))
		tcp_read(from->tcp, true);
}

static const struct tcp_callbacks relayd_pipe_callbacks = {
	.on_space = relayd_pipe_on_space,
	.on_read = relayd_pipe_on_read,
	.on_end = relayd_pipe_on_end,
	.on_written = relayd_pipe_on_written,
};

static struct relayd_pipe *
relayd_pipe_find(struct relayd *r, uint64_t session)
{
	for (struct list_node *node = list_first(&r->pipes); node != NULL;
	     node = list_next(&r->pipes, node)) {
		struct relayd_pipe *p =
		    LIST_ITEM(node, struct relayd_pipe, node);

		if (p->session == session)
			return p;
	}
	return NULL;
}

static struct relayd_pipe *
relayd_pipe_new(struct relayd *r, uint64_t session)
{
	struct relayd_pipe *p = mem_zalloc(sizeof(*p));

	p->r = r;
	p->session = session;
	for (int i = 0; i < 2; i++) {
		p->end[i].pipe = p;
		p->end[i].side = i;
	}
	list_add(&r->pipes, &p->node);
	r->handles++;
	return p;
}

void
relayd_pipe_put(struct relayd *r, uint64_t session, int side, struct tcp *tcp,
    struct slice hello)
{
	struct relayd_pipe *p = relayd_pipe_find(r, session);
	struct relayd_end *e;

	if (p == NULL)
		p = relayd_pipe_new(r, session);
	e = &p->end[side];
	ASSERT(e->tcp == NULL && hello.len <= sizeof(e->hello));
	e->tcp = tcp;
	e->allowance = r->rate;
	p->moved_ns = uv_hrtime();
	memcpy(e->hello, hello.ptr, hello.len);
	tcp_set_owner(tcp, &relayd_pipe_callbacks, e);
	/* A socket that does not take so little is not worth waiting for. */
	if (tcp_write(tcp, e->hello, hello.len) < hello.len) {
		relayd_pipe_close(p);
		return;
	}
	if (!relayd_pipe_is_whole(p))
		return;
	for (int i = 0; i < 2; i++)
		tcp_read(p->end[i].tcp, true);
}

void
relayd_pipe_end(struct relayd *r, uint64_t session)
{
	struct relayd_pipe *p = relayd_pipe_find(r, session);

	if (p != NULL)
		relayd_pipe_close(p);
}

static void
relayd_pipe_feed(struct relayd_pipe *p)
{
	const uint64_t rate = p->r->rate;

	for (int i = 0; i < 2; i++) {
		struct relayd_end *e = &p->end[i];

		e->allowance += rate / 10 + 1;
		if (e->allowance > rate)
			e->allowance = rate;
		if (!e->starved || e->busy || e->ended ||
		    !relayd_pipe_is_whole(p))
			continue;
		e->starved = false;
		tcp_read(e->tcp, true);
	}
}

void
relayd_pipe_tick(struct relayd *r, uint64_t now_ns)
{
	struct list_node *node = list_first(&r->pipes);

	while (node != NULL) {
		struct relayd_pipe *p =
		    LIST_ITEM(node, struct relayd_pipe, node);

		node = list_next(&r->pipes, node);
		if (now_ns - p->moved_ns >= RELAYD_IDLE_NS)
			relayd_pipe_close(p);
		else
			relayd_pipe_feed(p);
	}
}

void
relayd_pipe_end_all(struct relayd *r)
{
	struct list_node *node;

	while ((node = list_first(&r->pipes)) != NULL)
		relayd_pipe_close(LIST_ITEM(node, struct relayd_pipe, node));
}
