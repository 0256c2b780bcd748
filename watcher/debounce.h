/*
 * Debouncing: when is a hint ripe, and which go together?
 *
 * Every path that something happened to waits here once, whatever else happens
 * to it meanwhile.  Pure: time comes in.  Delays, in short:
 *
 *   closed after writing, moved here, made (directory)     5 ms
 *   removed, moved away                                    30 ms
 *   made (file): its close usually follows                 50 ms
 *   written to and still open                              1 s after the last
 *       write, but no later than 4 s, 8 s, ... 60 s after the first
 *   told more than 20 times in a row                       1 s, 2 s, ... 60 s
 *       after the last telling
 *
 * Times are monotonic nanoseconds.  Thread: loop.
 */
#ifndef HOLDFAST_WATCHER_DEBOUNCE_H
#define HOLDFAST_WATCHER_DEBOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/slice.h"
#include "watcher/change.h"

/* Paths waiting in one folder; beyond it their directories wait instead. */
#define DEBOUNCE_PATHS 8192u
/* Beyond this many in all the folder's next batch is an overflow. */
#define DEBOUNCE_PATHS_MAX (2 * DEBOUNCE_PATHS)
/* Paths of one folder whose last telling is remembered. */
#define DEBOUNCE_RECENT 1024u

enum debounce_kind {
	DEBOUNCE_SETTLED, /* whole: look at it */
	DEBOUNCE_GONE,
	DEBOUNCE_TOUCHED, /* mode or time; nothing while it grows */
	DEBOUNCE_CREATED,
	DEBOUNCE_GROWING,
};

struct debounce; /* opaque: one folder's */

struct debounce *debounce_new(uint32_t folder, uint64_t hash_seed);
void debounce_free(struct debounce *d); /* accepts NULL */

void debounce_add(struct debounce *d, struct slice path,
    enum debounce_kind kind, bool subtree, uint64_t now);
/* A rename: both in one batch, which is soon. */
void debounce_move(struct debounce *d, struct slice from, struct slice to,
    bool subtree, uint64_t now);
/* Forget all paths; look at everything. */
void debounce_overflow(struct debounce *d, uint64_t now);
/* Send a batch soon even when there is nothing to say. */
void debounce_announce(struct debounce *d, uint64_t now);

/* When debounce_take() may have something; UINT64_MAX: never. */
uint64_t debounce_due(const struct debounce *d);
/*
 * All that is ripe, sorted; false when nothing is.  Paths live in `arena`.  The
 * caller sets out->cover.
 */
bool debounce_take(struct debounce *d, uint64_t now, struct change_batch *out,
    struct arena *arena);

#endif
