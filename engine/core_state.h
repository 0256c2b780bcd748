/*
 * The engine's own state.  Private to core.c, engine.c and the readers
 * status.c, explain.c and plan.c.  Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_CORE_STATE_H
#define HOLDFAST_ENGINE_CORE_STATE_H

#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "engine/core.h"
#include "engine/exchange.h"

struct core_op {          /* an effect that waits for its DONE */
	struct folder *f; /* NULL: of a peer */
	core_done_fn *done;
	void *arg;
};

struct engine {
	const struct log *log; /* borrowed */
	struct rng rng;
	struct now now;
	struct arena scratch; /* emptied at the start of each step */
	VEC(struct effect) effect;
	struct heap timer;
	struct umap op; /* id -> struct core_op, owned */
	VEC(struct core_op *) spare_op;
	uint64_t next_id;
	bool started;
	struct arena setup_arena[2]; /* the setup lives in one of them */
	int setup_at;
	struct setup setup;
	VEC(struct folder *) folder; /* by number; NULL where one was freed */
	VEC(struct peer *) peer;     /* connected, in order of arrival */
	struct list sent; /* exchange_index.c: batches on their way */
};

/* An effect of no folder; `done` may be NULL, and gets no folder. */
struct effect *core_ask_peer(struct engine *en, enum effect_kind kind,
    core_done_fn *done, void *arg);
/* DONE has come: call who waits.  False when nobody does. */
bool core_done(struct engine *en, const struct event *ev);
/* Fire the timers that are due. */
void core_fire(struct engine *en);

#endif
