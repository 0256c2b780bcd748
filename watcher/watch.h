/*
 * The watcher's core: raw events in, batches of hints out.  Pure.
 *
 * It knows which watch is which directory (dirtree.h), pairs the two halves of
 * a rename, and lets debounce.h say when a hint is ripe.  What an event is and
 * where it comes from is watch_inotify.c's; the loop is watch_uv.c's.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_WATCHER_WATCH_H
#define HOLDFAST_WATCHER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/slice.h"
#include "watcher/change.h"

enum watch_happening {
	WATCH_CREATED,
	WATCH_MODIFIED, /* written to; still open */
	WATCH_CLOSED,   /* closed after being open for writing */
	WATCH_TOUCHED,  /* mode, times, links */
	WATCH_REMOVED,
	WATCH_MOVED_FROM,
	WATCH_MOVED_TO,
	WATCH_SELF_GONE, /* the watched directory: removed, moved, unmounted */
	WATCH_ENDED,     /* the kernel gave the watch up */
};

struct watch_event {
	enum watch_happening what;
	int wd;
	bool is_dir;
	uint32_t cookie;   /* of a move */
	struct slice name; /* in the directory; empty: itself */
};

/* errno of a failed watch, as far as it matters. */
enum watch_failure {
	WATCH_FAILURE_GONE = -1,  /* no directory any more: nothing to watch */
	WATCH_FAILURE_LIMIT = -2, /* no more watches allowed */
	WATCH_FAILURE_OTHER = -3,
	WATCH_FAILURE_NEVER = -4, /* this system has no watching */
};

struct watch; /* opaque */

/* `hash_seed`: see map.h. */
struct watch *watch_new(uint64_t hash_seed);
void watch_free(struct watch *w); /* accepts NULL */

void watch_folder(struct watch *w, uint32_t folder, bool on);
/* `path` is watched as `wd`, or an enum watch_failure. */
void watch_added(struct watch *w, uint32_t folder, struct slice path, int wd,
    uint64_t now);
void watch_event(struct watch *w, const struct watch_event *ev, uint64_t now);
/* Events were lost. */
void watch_overflow(struct watch *w, uint64_t now);

/* The next watch to end; -1 when there is none. */
int watch_dead(struct watch *w);
enum change_cover watch_cover(const struct watch *w, uint32_t folder);
uint32_t watch_count(const struct watch *w);

/* When watch_take() may have something; UINT64_MAX: never. */
uint64_t watch_due(const struct watch *w);
/* The next ripe batch of any folder; paths live in `arena`. */
bool watch_take(struct watch *w, uint64_t now, struct change_batch *out,
    struct arena *arena);

#endif
