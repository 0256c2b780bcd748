/*
 * Waiting at a relay: our place there, kept under libuv as waiter.h says.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 */
#ifndef HOLDFAST_MESH_WAITING_UV_H
#define HOLDFAST_MESH_WAITING_UV_H

#include <uv.h>

#include "engine/base/log.h"
#include "mesh/addr.h"
#include "mesh/identity.h"
#include "mesh/stream.h"

/* Opaque: one relay. */
struct waiting;

struct waiting_callbacks {
	/* Somebody asks for us, `from` (ADDR_TCP); takes `stream`. */
	void (*on_stream)(void *arg, struct stream *stream,
	    const struct addr *from);
	/* We have a place there, or have it no more. */
	void (*on_change)(void *arg);
};

/* `relay` is ADDR_RELAY.  Borrows `id` for its life; copies `cb`. */
struct waiting *waiting_open(uv_loop_t *loop, const struct identity *id,
    const struct addr *relay, const struct waiting_callbacks *cb, void *arg,
    const struct log *log);
void waiting_close(struct waiting *w, void (*on_closed)(void *), void *arg);
const struct addr *waiting_address(const struct waiting *w);
bool waiting_has_place(const struct waiting *w);
/* Why it is of no use just now; "" when it is. */
const char *waiting_error(const struct waiting *w);
uint64_t waiting_rtt_ns(const struct waiting *w); /* 0: unknown */
void waiting_refresh(struct waiting *w);
void waiting_tick(struct waiting *w, uint64_t now_ns);
uint64_t waiting_wake_at(const struct waiting *w);

#endif
