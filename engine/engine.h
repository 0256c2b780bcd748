/*
 * The engine: one call, one thread, no I/O.
 *
 * Feed it everything that happened (struct event); do everything it asks for
 * (struct effect).  It never reads a clock, a file, a socket or a random
 * device, so the same events always give the same effects.
 */
#ifndef HOLDFAST_ENGINE_ENGINE_H
#define HOLDFAST_ENGINE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/log.h"
#include "engine/effect.h"
#include "engine/event.h"

struct engine; /* opaque */

/* What one step asks of the world; valid until the next engine_step(). */
struct effects {
	const struct effect *item;
	size_t count;
	uint64_t wake_at_ns; /* monotonic; CLOCK_NEVER = no timer wanted */
};

/* `log` is borrowed for the engine's life. */
struct engine *engine_new(const struct log *log);
void engine_free(struct engine *en); /* accepts NULL */

/*
 * Take one event and say what must be done about it.  Borrows `event` for the
 * call only, but for its payload, which it takes.
 */
void engine_step(struct engine *en, const struct event *event,
    struct effects *out);

#endif
