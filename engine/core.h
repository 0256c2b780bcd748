/*
 * The core: what the parts of the engine lend one another within a step.
 *
 * Asking for effects, waiting for their DONE, timers, time and scratch memory.
 * Private to engine/: engine.h is the outside.  Everything here belongs to the
 * engine's one thread and one step.
 */
#ifndef HOLDFAST_ENGINE_CORE_H
#define HOLDFAST_ENGINE_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/clock.h"
#include "engine/base/heap.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/rng.h"
#include "engine/effect.h"
#include "engine/event.h"

struct engine;
struct folder;

/* Called once with the DONE of what was asked; `ev->kind` is EVENT_DONE. */
typedef void core_done_fn(struct folder *f, void *arg, const struct event *ev);

/*
 * Ask for an effect on a folder's disk.  The returned effect has kind, id and
 * folder set and all else zero; fill it before anything else is asked.  What
 * it points to must live to the end of the step: core_scratch(), or longer.
 * `done` (not NULL) is called with its DONE; the folder, and whatever `arg`
 * is, must live until then: folder_close() waits for f->ops to be 0.
 */
struct effect *core_ask(struct folder *f, enum effect_kind kind,
    core_done_fn *done, void *arg);
/* The same for an effect that nobody waits for. */
struct effect *core_tell(struct folder *f, enum effect_kind kind);
/* A note, filled by the caller; device none and reason NONE at first. */
struct effect_note *core_note(struct folder *f, enum note_kind kind);

/*
 * Run `done` once everything put into the folder's index so far is on disk.
 * Commits are grouped; the callback gets an event whose done.code is 0, or the
 * failure (ERR_FULL: the commit is tried again by the folder; ERR_CORRUPT: the
 * folder is being halted).
 */
void core_commit(struct folder *f, core_done_fn *done, void *arg);

/* A map whose keys come from peers. */
void core_map_init(struct engine *en, struct map *m);

/* A timer; embed it, zero it, core_timer_init() before use. */
struct core_timer {
	struct heap_node node;
	void (*fire)(struct engine *en, void *arg);
	void *arg;
};
void core_timer_init(struct core_timer *t,
    void (*fire)(struct engine *en, void *arg), void *arg);
void core_timer_set(struct engine *en, struct core_timer *t, uint64_t at_ns);
void core_timer_clear(struct engine *en, struct core_timer *t);

struct now core_now(const struct engine *en);  /* of the event in work */
struct arena *core_scratch(struct engine *en); /* emptied after each step */
const struct log *core_log(const struct engine *en);
struct rng *core_rng(struct engine *en);
const struct setup *core_setup(const struct engine *en);
uint64_t core_self_short(const struct engine *en);

#endif
