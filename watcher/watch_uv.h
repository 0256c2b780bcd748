/*
 * The watcher under libuv: one inotify descriptor and one timer for all
 * folders.  The only header of this room that the wiring needs.
 *
 * Use: watch_uv_folder(w, n, true), then for every directory that is listed
 * watch_uv_add() on whatever thread lists it, before it is read, and
 * watch_uv_added() on the loop thread afterwards (disk_uv.h's two hooks).
 * Directories that appear are only hinted at; whoever lists them adds them.
 *
 * A hint comes a few milliseconds after a file is closed, so that bursts are
 * one batch; a file that keeps changing is hinted at ever more rarely, at least
 * once a minute.  Both names of a rename come in one batch.  When idle nothing
 * wakes up.  Internal names (change.h) are never hinted at; the marker's
 * removal is a hint at the root.
 *
 * Thread: loop, but for watch_uv_add().
 */
#ifndef HOLDFAST_WATCHER_WATCH_UV_H
#define HOLDFAST_WATCHER_WATCH_UV_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "engine/base/slice.h"
#include "watcher/change.h"

struct watch_uv; /* opaque */

/*
 * Never NULL: without inotify every folder is COVER_FAILED.  `on_changes` is
 * called from the loop, never from inside the functions below; the batch is
 * borrowed for the call.  A batch may have no hint: the cover changed.
 */
struct watch_uv *watch_uv_new(uv_loop_t *loop,
    void (*on_changes)(void *arg, const struct change_batch *batch), void *arg);
/* Closes handles; `closed` (may be NULL) is called when all memory is gone. */
void watch_uv_close(struct watch_uv *w, void (*closed)(void *arg), void *arg);

/* Begin or stop watching a folder; off forgets its directories and hints. */
void watch_uv_folder(struct watch_uv *w, uint32_t folder, bool on);
enum change_cover watch_uv_cover(const struct watch_uv *w, uint32_t folder);
/* Directories watched, all folders together. */
uint32_t watch_uv_count(const struct watch_uv *w);

/* ANY thread: watch the directory open at `dir_fd`; a descriptor or -errno. */
int watch_uv_add(struct watch_uv *w, int dir_fd);
/* Loop: what watch_uv_add() answered for the directory `path` of `folder`. */
void watch_uv_added(struct watch_uv *w, uint32_t folder, struct slice path,
    int wd);

#endif
