/*
 * Directories, permissions and times; the trash can; flushing names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/path.h"
#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

#define META_VERSIONS ".stversions"
/* Free names tried for what is in the way in the trash can. */
#define META_ASIDE_TRIES 1000

/* Set what is asked for at an open name, and say what it is then. */
static int
meta_apply(const struct fs_root *root, int fd, const struct effect_meta *meta,
    struct event *done, struct err *err)
{
	struct stat st;
	int rc = fs_posix_set_meta_fd(root, fd, meta, err);

	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0)
		return fs_posix_walk_err(err, errno, "stat");
	fs_posix_walk_identity(&st, &done->u.done.seen);
	return 0;
}

FS_POSIX_EFFECT(make_dir)
{
	struct fs_at at;
	int fd;
	int rc = fs_posix_walk_parent(root, effect->path, &at, err);

	(void)work;
	if (rc < 0)
		return rc;
	if (mkdirat(at.dir, at.base, 0777) < 0 && errno != EEXIST) {
		rc = fs_posix_walk_err(err, errno, "make directory");
		goto out;
	}
	fd = openat(at.dir, at.base,
	    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOTDIR) {
		fs_posix_walk_look(&at, &done->u.done.seen, NULL);
		rc = err_set(err, ERR_EXISTS, "the name is taken");
	} else if (fd < 0) {
		rc = fs_posix_walk_err(err, errno, "open directory");
	} else {
		rc = meta_apply(root, fd, &effect->u.meta, done, err);
		close(fd);
	}
out:
	fs_posix_walk_leave(&at);
	return rc;
}

FS_POSIX_EFFECT(set_meta)
{
	struct identity seen;
	struct stat st;
	int fd;
	int rc = fs_posix_walk_open(root, effect->path, O_PATH, &fd, err);

	(void)work;
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0) {
		rc = fs_posix_walk_err(err, errno, "stat");
		goto out;
	}
	fs_posix_walk_identity(&st, &seen);
	if (effect->want.type != IDENTITY_ABSENT &&
	    !identity_same(&effect->want, &seen)) {
		done->u.done.seen = seen;
		rc = err_set(err, ERR_CHANGED, "not what was seen before");
		goto out;
	}
	if (seen.type == IDENTITY_OTHER) {
		rc = err_set(err, ERR_DENIED, "not a regular file");
		goto out;
	}
	rc = meta_apply(root, fd, &effect->u.meta, done, err);
	/* Written to meanwhile: the old word lets a scan find that. */
	if (rc == 0 && seen.type == IDENTITY_FILE &&
	    (done->u.done.seen.size != seen.size ||
		(!effect->u.meta.set_mtime &&
		    (done->u.done.seen.mtime_s != seen.mtime_s ||
			done->u.done.seen.mtime_ns != seen.mtime_ns))))
		done->u.done.seen = seen;
out:
	close(fd);
	return rc;
}

/* "name~1", "name~2", ...: something in the trash can makes room. */
static int
meta_free_name(const struct fs_root *root, const struct fs_at *from, int to_dir,
    const char *base)
{
	struct fs_at to = { .dir = to_dir };
	int rc = -EEXIST;

	for (int i = 1; i <= META_ASIDE_TRIES && rc == -EEXIST; i++) {
		snprintf(to.base, sizeof(to.base), "%.240s~%d", base, i);
		rc = fs_posix_walk_rename_new(root, from, &to);
	}
	return rc;
}

/* Open `name` in `dir`, made when missing; a file there makes room.  fd. */
static int
meta_subdir(const struct fs_root *root, int dir, const char *name)
{
	struct fs_at at = { .dir = dir };
	int fd = -1, rc;

	for (int i = 0; i < 2; i++) {
		if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
			return -errno;
		fd = openat(dir, name,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 || errno != ENOTDIR || i > 0)
			break;
		snprintf(at.base, sizeof(at.base), "%s", name);
		rc = meta_free_name(root, &at, dir, name);
		if (rc < 0)
			return rc;
	}
	return fd < 0 ? -errno : fd;
}

/* The directory of `path` in the trash can, made when missing; fd or -errno. */
static int
meta_versions_dir(const struct fs_root *root, struct slice path)
{
	struct slice left = path_parent(path);
	int dir = openat(root->fd, META_VERSIONS,
	    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0 && errno == ENOENT &&
	    (mkdirat(root->fd, META_VERSIONS, 0700) == 0 || errno == EEXIST))
		dir = openat(root->fd, META_VERSIONS,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	while (left.len > 0) {
		const size_t slash = slice_find(left, '/');
		const size_t len = slash == SIZE_MAX ? left.len : slash;
		char name[LIMIT_NAME_LEN + 1];
		int next;

		if (len > LIMIT_NAME_LEN) {
			close(dir);
			return -ENAMETOOLONG;
		}
		memcpy(name, left.ptr, len);
		name[len] = '\0';
		next = meta_subdir(root, dir, name);
		close(dir);
		if (next < 0)
			return next;
		dir = next;
		left = slice_from(left, slash == SIZE_MAX ? len : len + 1);
	}
	return dir;
}

FS_POSIX_EFFECT(keep_version)
{
	const struct timespec now[2] = {
		{ .tv_sec = 0, .tv_nsec = UTIME_OMIT },
		{ .tv_sec = 0, .tv_nsec = UTIME_NOW },
	};
	const struct slice base = path_base(effect->path);
	struct identity seen;
	struct fs_at stage, to;
	int rc;

	(void)work;
	(void)done;
	rc = fs_posix_walk_stage(root, effect->temp, &stage, err);
	if (rc < 0)
		return rc;
	rc = fs_posix_walk_look(&stage, &seen, err);
	if (rc < 0)
		return rc;
	if (seen.type == IDENTITY_ABSENT)
		return err_set(err, ERR_NOT_FOUND, "nothing in staging");
	/* Somebody still has it open and wrote to it (case 99). */
	if (effect->want.type != IDENTITY_ABSENT &&
	    !identity_same(&effect->want, &seen))
		return err_set(err, ERR_CHANGED, "temporary was written");
	if (base.len == 0 || base.len > LIMIT_NAME_LEN)
		return err_set(err, ERR_LIMIT, "name of %zu bytes", base.len);
	memcpy(to.base, base.ptr, base.len);
	to.base[base.len] = '\0';
	to.owned = true;
	to.dir = meta_versions_dir(root, effect->path);
	if (to.dir < 0)
		return fs_posix_walk_err(err, -to.dir, "open trash can");
	/* When it came here is what a clean-out goes by. */
	(void)utimensat(stage.dir, stage.base, now, AT_SYMLINK_NOFOLLOW);
	if (renameat(stage.dir, stage.base, to.dir, to.base) < 0) {
		rc = -errno;
		if (rc == -EISDIR || rc == -ENOTEMPTY || rc == -EEXIST)
			rc = meta_free_name(root, &stage, to.dir, to.base);
		if (rc < 0)
			rc = fs_posix_walk_err(err, -rc, "move to trash can");
	}
	fs_posix_walk_leave(&to);
	return rc;
}

FS_POSIX_EFFECT(sync_dirs)
{
	const uint32_t count = effect->u.sync.count;
	int rc = 0;

	(void)work;
	(void)done;
	if (count >= FS_POSIX_SYNCFS_FROM && root->syncfs) {
		if (syncfs(root->fd) < 0)
			return fs_posix_walk_err(err, errno,
			    "flush file system");
		return 0;
	}
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		int fd;

		rc = fs_posix_dir_open(root, effect->u.sync.name[i], &fd, err);
		if (rc == ERR_NOT_FOUND || rc == ERR_CHANGED) {
			rc = 0; /* its names went with it */
			continue;
		}
		if (rc < 0)
			break;
		/* Some network file systems flush no directories. */
		if (fsync(fd) < 0 && errno != EINVAL)
			rc = fs_posix_walk_err(err, errno, "flush directory");
		close(fd);
	}
	return rc;
}
