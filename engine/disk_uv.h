/*
 * The disk's executor: takes disk effects, gives back EVENT_DONEs.
 *
 * It copies what it needs of an effect, queues it by kind, and lets workers do
 * many small ones at a time (fs_posix.h).  Effects on one folder are not
 * ordered among themselves (effect.h).  An effect on a folder that is closed,
 * closing or missing is answered too: ERR_CLOSED, ERR_MISSING_ROOT.
 *
 * A large file is hashed by all workers; no more jobs of a kind run at once
 * than leaves room for the others, so hashing never starves serving.
 *
 * Root: OPEN_FOLDER and CHECK_ROOT look at the path afresh.  When it names
 * another directory than before (a disk came back), later effects go to the
 * new one; their DONE carries the facts, and the engine decides whether it is
 * the right one before it asks for anything else.  MAKE_MARKER's DONE carries
 * facts too.  A missing root is code ERR_MISSING_ROOT with root.exists false.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_DISK_UV_H
#define HOLDFAST_ENGINE_DISK_UV_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/effect.h"
#include "engine/event.h"
#include "engine/pool_uv.h"

struct disk; /* opaque */

struct disk_uv_hooks {
	/*
	 * Loop thread, never from inside disk_uv_do().  `event` is a DONE,
	 * borrowed for the call; the payload in it is given.  The receiver sets
	 * event->now, and, for OPEN_FOLDER, done.store: the disk knows no store
	 * and leaves it NULL.
	 */
	void (*done)(void *arg, struct event *event);
	/*
	 * WORKER thread: put a watch on the directory open at `dir_fd`, before
	 * it is read; a watch descriptor, or -errno.  For LIST_DIR of folders
	 * with disk_uv_watch() on.  NULL: never.
	 */
	int (*watch_dir)(void *arg, uint32_t folder, int dir_fd);
	/* Loop thread, before the LIST_DIR's done(): the answer of it. */
	void (*watched)(void *arg, uint32_t folder, struct slice path, int wd);
	void *arg;
};

/* `pool` is borrowed for the disk's life, `hooks` copied. */
struct disk *disk_uv_new(struct pool *pool, const struct disk_uv_hooks *hooks);
/* Nothing may be in work: disk_uv_idle().  Closes all roots.  Accepts NULL. */
void disk_uv_free(struct disk *disk);
bool disk_uv_idle(const struct disk *disk);

/* Is this kind carried out here?  All but SEND, DROP_PEER, COMMIT, WATCH, NOTE.
 */
bool disk_uv_takes(enum effect_kind kind);

/*
 * Begin an effect; takes its payload.  With id != 0 done() is called later,
 * exactly once.  CLOSE_FOLDER is answered when nothing of the folder runs any
 * more: what was queued before it is answered ERR_CLOSED first.
 */
void disk_uv_do(struct disk *disk, const struct effect *effect);

/*
 * The descriptor of the folder's root once more, the caller's to close; -1: the
 * folder is not open, or there are no descriptors.
 */
int disk_uv_dup_root(const struct disk *disk, uint32_t folder);

/*
 * How much room the folder's file system had when its root was last looked at
 * or names in it were last flushed; all zero: not known.
 */
struct disk_space disk_uv_space(const struct disk *disk, uint32_t folder);

/* Put watches on directories when they are listed?  After OPEN_FOLDER. */
void disk_uv_watch(struct disk *disk, uint32_t folder, bool on);

#endif
