/*
 * The door to inotify; see watch_inotify.h.
 */
#include "watcher/watch_inotify.h"

#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* IN_EXCL_UNLINK: what is done to a file without a name is nobody's matter. */
#define INOTIFY_MASK                                                           \
	(IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE |      \
	    IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |      \
	    IN_ONLYDIR | IN_EXCL_UNLINK)
#define INOTIFY_BUF_LEN (64 * 1024)

int
watch_inotify_open(void)
{
	const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int
watch_inotify_add(int fd, int dir_fd)
{
	char self[40];
	int wd;

	/* By descriptor: the path could lead somewhere else by now. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", dir_fd);
	wd = inotify_add_watch(fd, self, INOTIFY_MASK);
	return wd < 0 ? -errno : wd;
}

void
watch_inotify_end(int fd, int wd)
{
	(void)inotify_rm_watch(fd, wd); /* ended by itself: as well */
}

int
watch_inotify_result(int rc)
{
	if (rc >= 0)
		return rc;
	switch (-rc) {
	case ENOENT:
	case ENOTDIR:
		/* Without /proc this is what every directory says. */
		return access("/proc/self/fd", F_OK) == 0 ? WATCH_FAILURE_GONE
							  : WATCH_FAILURE_NEVER;
	case ENOSPC:
	case ENOMEM:
		return WATCH_FAILURE_LIMIT;
	case EBADF:
	case ENOSYS:
	case EMFILE:
		return WATCH_FAILURE_NEVER;
	default:
		return WATCH_FAILURE_OTHER;
	}
}

static void
inotify_give(struct watch *w, const struct inotify_event *ie, uint64_t now)
{
	static const struct {
		uint32_t bit;
		enum watch_happening what;
	} table[] = {
		{ IN_CREATE, WATCH_CREATED },
		{ IN_MODIFY, WATCH_MODIFIED },
		{ IN_CLOSE_WRITE, WATCH_CLOSED },
		{ IN_ATTRIB, WATCH_TOUCHED },
		{ IN_DELETE, WATCH_REMOVED },
		{ IN_MOVED_FROM, WATCH_MOVED_FROM },
		{ IN_MOVED_TO, WATCH_MOVED_TO },
		{ IN_DELETE_SELF, WATCH_SELF_GONE },
		{ IN_MOVE_SELF, WATCH_SELF_GONE },
		{ IN_UNMOUNT, WATCH_SELF_GONE },
		{ IN_IGNORED, WATCH_ENDED },
	};
	struct watch_event ev = { .wd = ie->wd,
		.is_dir = (ie->mask & IN_ISDIR) != 0,
		.cookie = ie->cookie };

	if (ie->mask & IN_Q_OVERFLOW) {
		watch_overflow(w, now);
		return;
	}
	if (ie->len > 0)
		ev.name = slice_of(ie->name, strnlen(ie->name, ie->len));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if ((ie->mask & table[i].bit) == 0)
			continue;
		ev.what = table[i].what;
		watch_event(w, &ev, now);
	}
}

void
watch_inotify_read(int fd, struct watch *w, uint64_t now)
{
	alignas(struct inotify_event) char buf[INOTIFY_BUF_LEN];
	ssize_t n, at = 0;

	do
		n = read(fd, buf, sizeof(buf));
	while (n < 0 && errno == EINTR);
	while (at + (ssize_t)sizeof(struct inotify_event) <= n) {
		const struct inotify_event *ie = (const void *)(buf + at);

		at += (ssize_t)(sizeof(*ie) + ie->len);
		if (at > n)
			break;
		inotify_give(w, ie, now);
	}
}
