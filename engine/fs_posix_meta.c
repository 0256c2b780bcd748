/*
 * Directories, permissions and times; flushing names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

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

/*
 * Make a directory in staging and move it to its name when it is as it shall
 * be.  Ended between the two steps, it would be found at its name with the
 * permissions of nobody's choice, and be taken for what a person did.  One in
 * a directory that hands down its group is made in place, to get that.
 */
static int
meta_make_staged(const struct fs_root *root, const struct fs_at *at,
    const struct effect_meta *meta, struct err *err)
{
	struct fs_at stage = { .dir = root->stage_fd };
	struct stat st;
	int fd, rc;

	if (fstatat(at->dir, at->base, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0; /* whatever it is, the caller looks */
	if (stage.dir < 0 ||
	    (fstat(at->dir, &st) == 0 && (st.st_mode & S_ISGID) != 0))
		goto in_place;
	/* A worker makes one at a time; one that a crash left is as good. */
	snprintf(stage.base, sizeof(stage.base), "dir-%ld", (long)gettid());
	if (mkdirat(stage.dir, stage.base, 0777) < 0 && errno != EEXIST)
		return fs_posix_walk_err(err, errno, "make directory");
	fd = openat(stage.dir, stage.base,
	    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fs_posix_walk_err(err, errno, "open directory");
	rc = fs_posix_set_meta_fd(root, fd, meta, err);
	close(fd);
	if (rc == 0 && fs_posix_walk_rename_new(root, &stage, at) == 0)
		return 0;
	(void)unlinkat(stage.dir, stage.base, AT_REMOVEDIR);
	if (rc < 0)
		return rc;
	/* Whatever is wrong with the name, the plain way tells it. */
in_place:
	if (mkdirat(at->dir, at->base, 0777) < 0 && errno != EEXIST)
		return fs_posix_walk_err(err, errno, "make directory");
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
	rc = meta_make_staged(root, &at, &effect->u.meta, err);
	/* Only now: another worker may have made it in the other spelling. */
	if (rc == 0 && root->facts.folds_case &&
	    fs_posix_walk_is_spelled(at.dir, at.base) == 0)
		rc = err_set(err, ERR_EXISTS,
		    "the name is taken in another spelling");
	if (rc < 0)
		goto out;
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

/*
 * What came out of staging is at its new name; btrfs, when only that directory
 * is flushed, may show it at both after a power cut, and as it is now.  The old
 * directory's flush takes the new name along.
 */
static int
meta_sync_stage(const struct fs_root *root, struct err *err)
{
	struct statfs fs;

	if (root->stage_fd < 0 || fstatfs(root->stage_fd, &fs) < 0 ||
	    fs.f_type != BTRFS_SUPER_MAGIC || fsync(root->stage_fd) == 0)
		return 0;
	return fs_posix_walk_err(err, errno, "flush staging directory");
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
	rc = meta_sync_stage(root, err);
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
