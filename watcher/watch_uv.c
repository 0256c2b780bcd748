/*
 * The watcher under libuv; see watch_uv.h.
 *
 * The poll handle wakes us for events, the timer for ripe hints; with neither
 * there is nothing that ticks.
 */
#include "watcher/watch_uv.h"

#include <unistd.h>

#include "engine/base/arena.h"
#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "watcher/watch.h"
#include "watcher/watch_inotify.h"

struct watch_uv {
	uv_loop_t *loop;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles; /* not closed yet */
	int fd;           /* -1: no inotify here */
	uint64_t due;     /* what the timer is set for */
	struct watch *core;
	struct arena arena;
	void (*on_changes)(void *arg, const struct change_batch *batch);
	void *arg;
	void (*closed)(void *arg);
	void *closed_arg;
	bool closing;
};

static void watch_uv_rearm(struct watch_uv *w);

static void
watch_uv_flush(struct watch_uv *w)
{
	struct change_batch batch;

	while (!w->closing &&
	       watch_take(w->core, uv_hrtime(), &batch, &w->arena)) {
		w->on_changes(w->arg, &batch);
		arena_clear(&w->arena);
	}
}

static void
watch_uv_on_timer(uv_timer_t *timer)
{
	struct watch_uv *w = timer->data;

	w->due = UINT64_MAX;
	watch_uv_flush(w);
	if (!w->closing)
		watch_uv_rearm(w);
}

static void
watch_uv_end_dead(struct watch_uv *w)
{
	int wd;

	while ((wd = watch_dead(w->core)) >= 0)
		if (w->fd >= 0)
			watch_inotify_end(w->fd, wd);
}

static void
watch_uv_on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch_uv *w = poll->data;

	(void)events;
	if (status < 0)
		return;
	watch_inotify_read(w->fd, w->core, uv_hrtime());
	watch_uv_end_dead(w);
	watch_uv_rearm(w);
}

/* Set the timer for the first hint that gets ripe, if it is another one. */
static void
watch_uv_rearm(struct watch_uv *w)
{
	const uint64_t due = watch_due(w->core);

	if (due == w->due)
		return;
	w->due = due;
	timer_uv_arm(&w->timer, watch_uv_on_timer, due);
}

struct watch_uv *
watch_uv_new(uv_loop_t *loop,
    void (*on_changes)(void *arg, const struct change_batch *batch), void *arg)
{
	struct watch_uv *w = mem_zalloc(sizeof(*w));
	uint64_t hash_seed = 0;
	int rc;

	w->loop = loop;
	rc = uv_random(NULL, NULL, &hash_seed, sizeof(hash_seed), 0, NULL);
	ASSERT(rc == 0);
	w->core = watch_new(hash_seed);
	arena_init(&w->arena);
	w->on_changes = on_changes;
	w->arg = arg;
	w->due = UINT64_MAX;
	rc = uv_timer_init(loop, &w->timer);
	ASSERT(rc == 0);
	w->timer.data = w;
	w->handles = 1;
	w->fd = watch_inotify_open();
	if (w->fd >= 0 && uv_poll_init(loop, &w->poll, w->fd) == 0) {
		w->poll.data = w;
		w->handles++;
		rc = uv_poll_start(&w->poll, UV_READABLE, watch_uv_on_poll);
		ASSERT(rc == 0);
	} else if (w->fd >= 0) {
		close(w->fd);
		w->fd = -1;
	}
	return w;
}

static void
watch_uv_on_close(uv_handle_t *handle)
{

	struct watch_uv *w = handle->data;
	void (*closed)(void *) = w->closed;
	void *arg = w->closed_arg;

	if (--w->handles > 0)
		return;
	if (w->fd >= 0)
		close(w->fd);
	watch_free(w->core);
	arena_fini(&w->arena);
	mem_free(w);
	if (closed != NULL)
		closed(arg);
}

void
watch_uv_close(struct watch_uv *w, void (*closed)(void *arg), void *arg)
{
	ASSERT(!w->closing);
	w->closing = true;
	w->closed = closed;
	w->closed_arg = arg;
	if (w->fd >= 0)
		uv_close((uv_handle_t *)&w->poll, watch_uv_on_close);
	uv_close((uv_handle_t *)&w->timer, watch_uv_on_close);
}

void
watch_uv_folder(struct watch_uv *w, uint32_t folder, bool on)
{
	watch_folder(w->core, folder, on);
	if (on && w->fd < 0)
		watch_added(w->core, folder, SLICE_EMPTY, WATCH_FAILURE_NEVER,
		    uv_hrtime());
	watch_uv_end_dead(w);
	watch_uv_rearm(w);
}

enum change_cover
watch_uv_cover(const struct watch_uv *w, uint32_t folder)
{
	return watch_cover(w->core, folder);
}

uint32_t
watch_uv_count(const struct watch_uv *w)
{
	return watch_count(w->core);
}

int
watch_uv_add(struct watch_uv *w, int dir_fd)
{
	/* Reads what never changes after watch_uv_new(). */
	return watch_inotify_add(w->fd, dir_fd);
}

void
watch_uv_added(struct watch_uv *w, uint32_t folder, struct slice path, int wd)
{
	if (w->closing)
		return;
	watch_added(w->core, folder, path, watch_inotify_result(wd),
	    uv_hrtime());
	watch_uv_end_dead(w);
	watch_uv_rearm(w);
}
