/*
 * Walking without following; see fs_posix_walk.h.
 */
#include "engine/fs_posix_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"

#define WALK_RESOLVE                                                           \
	(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV |             \
	    RESOLVE_NO_MAGICLINKS)
/* Times that openat2 may lose against renames before we say so. */
#define WALK_RETRIES 16

int
fs_posix_walk_err(struct err *err, int errnum, const char *fmt, ...)
{
	char text[160];
	va_list ap;
	int code;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	switch (errnum) {
	case ENOTDIR: /* a parent is a file or, without openat2, a symlink */
	case ELOOP:   /* a symlink where none was */
		code = ERR_CHANGED;
		break;
	case EXDEV:
		return err_set(err, ERR_DENIED,
		    "%s: another file system is mounted there", text);
	case ENXIO: /* a socket, or a FIFO without a reader */
	case ENODEV:
		code = ERR_DENIED;
		break;
	case EISDIR:
		code = ERR_EXISTS;
		break;
	default:
		return err_sys(err, errnum, "%s", text);
	}
	err_sys(err, errnum, "%s", text);
	if (err != NULL)
		err->code = code;
	return code;
}

static int
walk_openat2(int dir, const char *path, int flags)
{
	struct open_how how = { 0 };
	long fd;

	how.flags = (uint64_t)(uint32_t)flags;
	how.resolve = WALK_RESOLVE;
	for (int i = 0; i < WALK_RETRIES; i++) {
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	return -errno;
}

static int
walk_openat(int dir, const char *name, int flags)
{
	int fd;

	do
		fd = openat(dir, name, flags);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

bool
fs_posix_walk_has_openat2(int dir)
{
	const int fd = walk_openat2(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) /* ENOSYS; EPERM or anything else from a sandbox */
		return false;
	close(fd);
	return true;
}

/* Another file system begins here?  As far as st_dev can tell. */
static int
walk_same_dev(int fd, int dir)
{
	struct stat a, b;

	if (fstat(fd, &a) < 0 || fstat(dir, &b) < 0)
		return -errno;
	return a.st_dev == b.st_dev ? 0 : -EXDEV;
}

int
fs_posix_walk_is_spelled(int dir, const char *name)
{
	const int fd =
	    walk_openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *de;
	DIR *list;
	int rc = 0;

	if (fd < 0)
		return fd;
	list = fdopendir(fd);
	if (list == NULL) {
		rc = -errno;
		close(fd);
		return rc;
	}
	errno = 0;
	while (rc == 0 && (de = readdir(list)) != NULL)
		rc = strcmp(de->d_name, name) == 0;
	if (rc == 0 && errno != 0)
		rc = -errno;
	closedir(list);
	return rc;
}

/*
 * One directory at a time, each held while the next is opened.  With `exact`
 * a name of another spelling is not there.
 */
static int
walk_by_component(int root, char *path, int flags, bool exact)
{
	int dir = root, fd = -1, rc;
	char *name = path;

	for (;;) {
		char *slash = strchr(name, '/');
		const bool last = slash == NULL;

		if (!last)
			*slash = '\0';
		fd = walk_openat(dir, name,
		    last ? flags
			 : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		rc = fd < 0 ? fd : walk_same_dev(fd, dir);
		if (rc == 0 && exact) {
			rc = fs_posix_walk_is_spelled(dir, name);
			rc = rc > 0 ? 0 : rc == 0 ? -ENOENT : rc;
		}
		if (dir != root)
			close(dir);
		if (rc < 0 && fd >= 0)
			close(fd);
		if (rc < 0)
			return rc;
		if (last)
			return fd;
		dir = fd;
		name = slash + 1;
	}
}

/* Descriptor or -errno. */
static int
walk_raw(const struct fs_root *root, struct slice path, int flags)
{
	char text[LIMIT_PATH_LEN + 1];

	if (path.len > LIMIT_PATH_LEN)
		return -ENAMETOOLONG;
	if (path.len == 0)
		return walk_openat(root->fd, ".", flags | O_CLOEXEC);
	memcpy(text, path.ptr, path.len);
	text[path.len] = '\0';
	flags |= O_NOFOLLOW | O_CLOEXEC;
	if (root->by_component || root->facts.folds_case)
		return walk_by_component(root->fd, text, flags,
		    root->facts.folds_case);
	return walk_openat2(root->fd, text, flags);
}

int
fs_posix_walk_open(const struct fs_root *root, struct slice path, int flags,
    int *fd, struct err *err)
{
	*fd = walk_raw(root, path, flags);
	if (*fd < 0)
		return fs_posix_walk_err(err, -*fd, "open");
	return 0;
}

int
fs_posix_walk_file(const struct fs_root *root, struct slice path, int *fd,
    struct stat *st, struct err *err)
{
	/* O_NONBLOCK: a FIFO swapped in must not hold us (case 102). */
	const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;

	*fd = walk_raw(root, path, flags | O_NOATIME);
	if (*fd == -EPERM) /* not ours, so its access time is not ours either */
		*fd = walk_raw(root, path, flags);
	if (*fd < 0)
		return fs_posix_walk_err(err, -*fd, "open");
	if (fstat(*fd, st) < 0) {
		const int rc = fs_posix_walk_err(err, errno, "fstat");

		close(*fd);
		*fd = -1;
		return rc;
	}
	if (!S_ISREG(st->st_mode)) {
		close(*fd);
		*fd = -1;
		return err_set(err, ERR_DENIED, "not a regular file");
	}
	return 0;
}

static int
walk_set_base(struct fs_at *at, struct slice name, struct err *err)
{
	if (name.len == 0 || name.len > LIMIT_NAME_LEN)
		return err_set(err, ERR_LIMIT, "name of %zu bytes", name.len);
	memcpy(at->base, name.ptr, name.len);
	at->base[name.len] = '\0';
	return 0;
}

int
fs_posix_walk_parent(const struct fs_root *root, struct slice path,
    struct fs_at *at, struct err *err)
{
	const struct slice parent = path_parent(path);
	int rc;

	at->dir = root->fd;
	at->owned = false;
	rc = walk_set_base(at, path_base(path), err);
	if (rc < 0 || parent.len == 0)
		return rc;
	at->dir = walk_raw(root, parent, O_PATH | O_DIRECTORY);
	if (at->dir < 0) {
		rc = fs_posix_walk_err(err, -at->dir, "open parent");
		at->dir = -1;
		return rc;
	}
	at->owned = true;
	return 0;
}

int
fs_posix_walk_stage(const struct fs_root *root, struct slice temp,
    struct fs_at *at, struct err *err)
{
	at->dir = root->stage_fd;
	at->owned = false;
	if (root->stage_fd < 0) {
		if (err != NULL)
			*err = root->stage_err;
		return root->stage_err.code;
	}
	ASSERT(slice_find(temp, '/') == SIZE_MAX);
	return walk_set_base(at, temp, err);
}

void
fs_posix_walk_leave(struct fs_at *at)
{
	if (at->owned && at->dir >= 0)
		close(at->dir);
	at->owned = false;
	at->dir = -1;
}

void
fs_posix_walk_identity(const struct stat *st, struct identity *out)
{
	memset(out, 0, sizeof(*out));
	if (S_ISREG(st->st_mode))
		out->type = IDENTITY_FILE;
	else if (S_ISDIR(st->st_mode))
		out->type = IDENTITY_DIR;
	else if (S_ISLNK(st->st_mode))
		out->type = IDENTITY_LINK;
	else
		out->type = IDENTITY_OTHER;
	out->mode = st->st_mode & 07777;
	out->size = st->st_size;
	out->mtime_s = st->st_mtim.tv_sec;
	out->mtime_ns = (int32_t)st->st_mtim.tv_nsec;
	out->ctime_s = st->st_ctim.tv_sec;
	out->ctime_ns = (int32_t)st->st_ctim.tv_nsec;
	out->ino = st->st_ino;
	out->dev = st->st_dev;
}

int
fs_posix_walk_look(const struct fs_at *at, struct identity *out,
    struct err *err)
{
	struct stat st;

	memset(out, 0, sizeof(*out));
	if (fstatat(at->dir, at->base, &st, AT_SYMLINK_NOFOLLOW) == 0)
		fs_posix_walk_identity(&st, out);
	else if (errno != ENOENT)
		return fs_posix_walk_err(err, errno, "stat");
	return 0;
}

ssize_t
fs_posix_walk_pread(int fd, void *buf, size_t len, int64_t offset)
{
	uint8_t *p = buf;
	size_t done = 0;

	while (done < len) {
		const ssize_t n =
		    pread(fd, p + done, len - done, offset + (int64_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int
fs_posix_walk_pwrite(int fd, const void *buf, size_t len, int64_t offset)
{
	const uint8_t *p = buf;
	size_t done = 0;

	while (done < len) {
		const ssize_t n =
		    pwrite(fd, p + done, len - done, offset + (int64_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENOSPC; /* no progress and no reason given */
		done += (size_t)n;
	}
	return 0;
}

uint8_t *
fs_posix_walk_buf(struct fs_posix_work *work)
{
	if (work->buf == NULL)
		work->buf = mem_alloc(FS_POSIX_BUF_LEN);
	return work->buf;
}

uint8_t *
fs_posix_walk_direct_buf(struct fs_posix_work *work)
{
	if (work->direct == NULL)
		work->direct =
		    mem_aligned(LIMIT_DIRECT_ALIGN, FS_POSIX_DIRECT_LEN);
	return work->direct;
}

int
fs_posix_walk_rename_new(const struct fs_root *root, const struct fs_at *from,
    const struct fs_at *to)
{
	struct stat st;

	if (root->noreplace) {
		if (renameat2(from->dir, from->base, to->dir, to->base,
			RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EINVAL && errno != ENOSYS)
			return -errno;
	}
	/*
	 * A second name never replaces either.  Only for names of ours: at a
	 * person's name, what is unlinked may be newer than what was linked.
	 */
	if (from->dir == root->stage_fd) {
		if (linkat(from->dir, from->base, to->dir, to->base, 0) == 0)
			return unlinkat(from->dir, from->base, 0) < 0 ? -errno
								      : 0;
		if (errno == EEXIST)
			return -EEXIST;
	}
	if (fstatat(to->dir, to->base, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (errno != ENOENT)
		return -errno;
	/* The gap of 0005-replace.md: looked, now rename. */
	if (renameat(from->dir, from->base, to->dir, to->base) < 0)
		return -errno;
	return 0;
}
