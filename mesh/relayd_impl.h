/*
 * The inside of our relay: shared by relayd_uv.c and relayd_pipe_uv.c.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_RELAYD_IMPL_H
#define HOLDFAST_MESH_RELAYD_IMPL_H

#include <uv.h>

#include "engine/base/list.h"
#include "mesh/doorman.h"
#include "mesh/relayd_uv.h"
#include "mesh/switchboard.h"
#include "mesh/tcp_uv.h"

struct relayd {
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	relayd_may_fn *may;
	void *arg;
	const struct log *log;
	struct tcp_listener *listener;
	struct addr bound;
	struct switchboard *board;
	struct doorman doorman;
	struct list guests; /* from their first byte to their last */
	struct list pipes;
	uv_timer_t timer;
	uint64_t rate, bytes;
	unsigned handles; /* things that call back when freed */
	bool lan_only, closing;
	void (*on_closed)(void *);
	void *closed_arg;
};

void relayd_freed(void *arg); /* one of `handles` is gone */

/* --- relayd_pipe_uv.c: sessions --- */

/*
 * `tcp` has `side` of `session`: forward, when the other is there, too.  Takes
 * it.  `hello` are the bytes it is to be told first, at most 64.
 */
void relayd_pipe_put(struct relayd *r, uint64_t session, int side,
    struct tcp *tcp, struct slice hello);
void relayd_pipe_end(struct relayd *r, uint64_t session);
/* Deadlines, and a tenth of a second's worth of `rate`. */
void relayd_pipe_tick(struct relayd *r, uint64_t now_ns);
void relayd_pipe_end_all(struct relayd *r);

#endif
