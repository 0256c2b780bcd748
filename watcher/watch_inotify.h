/*
 * The door to inotify: one descriptor, read without blocking.
 *
 * Why inotify itself and not libuv's fs events: the end of writing, the two
 * halves of a rename and a queue that overflowed are visible only here
 * (LIMITS.md 7).  Thread: loop, but for watch_inotify_add().
 */
#ifndef HOLDFAST_WATCHER_WATCH_INOTIFY_H
#define HOLDFAST_WATCHER_WATCH_INOTIFY_H

#include <stdint.h>

#include "watcher/watch.h"

/* A descriptor, or -errno. */
int watch_inotify_open(void);
/* ANY thread: watch the directory open at `dir_fd`; its wd, or -errno. */
int watch_inotify_add(int fd, int dir_fd);
void watch_inotify_end(int fd, int wd);
/* What a result of watch_inotify_add() is for watch_added(). */
int watch_inotify_result(int rc);
/* Hand what has come to `w`, at most about a thousand events. */
void watch_inotify_read(int fd, struct watch *w, uint64_t now);

#endif
