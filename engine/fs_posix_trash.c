/*
 * The trash can: ".stversions" below the root, laid out as Syncthing's trash
 * can is, so that either program finds what the other kept.
 *
 * A file comes here by one rename out of staging and keeps its path; an older
 * one of the same path makes room.  When it came is its mtime, for Syncthing
 * and for people.  Cleaning goes by ctime, which the rename itself has set and
 * which no crash between two calls can leave old.
 *
 * Never touched by cleaning: our own staging directory, where that had to be
 * here, and names with a stamp ("a~20260102-030405.txt"), which another kind of
 * Syncthing's versioning made and keeps by rules of its own.
 *
 * docs/design/0007-trash.md.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/base/vec.h"
#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"
#include "engine/trash.h"

#define TRASH_DIR ".stversions"
#define TRASH_STAGE ".holdfast" /* staging, below it: fs_posix.h */
/* Free names tried for what is in the way. */
#define TRASH_ASIDE_TRIES 1000
/* A directory may be cleaned away while something is on its way into it. */
#define TRASH_KEEP_TRIES 8
/* Of a small file system no more than this part is kept free: one in ... */
#define TRASH_FREE_PART 50u

/* --- Keeping --- */

/* "name~1", "name~2", ...: something that is in the way makes room. */
static int
trash_free_name(const struct fs_root *root, const struct fs_at *from,
    int to_dir, const char *base)
{
	struct fs_at to = { .dir = to_dir };
	int rc = -EEXIST;

	for (int i = 1; i <= TRASH_ASIDE_TRIES && rc == -EEXIST; i++) {
		snprintf(to.base, sizeof(to.base), "%.240s~%d", base, i);
		rc = fs_posix_walk_rename_new(root, from, &to);
	}
	return rc;
}

/* Make `name` in `dir` so that it survives; already there is fine. */
static int
trash_make_dir(int dir, const char *name)
{
	int fd, rc = 0;

	if (mkdirat(dir, name, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Some network file systems flush no directories. */
	if (fsync(fd) < 0 && errno != EINVAL)
		rc = -errno;
	close(fd);
	return rc;
}

/* Open `name` in `dir`, made when missing; a file there makes room.  fd. */
static int
trash_subdir(const struct fs_root *root, int dir, const char *name)
{
	struct fs_at at = { .dir = dir };
	int fd = -1, rc;

	for (int i = 0; i < 2; i++) {
		rc = trash_make_dir(dir, name);
		if (rc < 0)
			return rc;
		fd = openat(dir, name,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 || errno != ENOTDIR || i > 0)
			break;
		snprintf(at.base, sizeof(at.base), "%s", name);
		rc = trash_free_name(root, &at, dir, name);
		if (rc < 0)
			return rc;
	}
	return fd < 0 ? -errno : fd;
}

/* The trash can itself: fd or -errno.  A link in its place is not followed. */
static int
trash_open(const struct fs_root *root, bool make)
{
	int rc = make ? trash_make_dir(root->fd, TRASH_DIR) : 0;
	int fd;

	if (rc < 0)
		return rc;
	fd = openat(root->fd, TRASH_DIR,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The directory of `path` in the trash can, made when missing; fd or -errno. */
static int
trash_dir_of(const struct fs_root *root, struct slice path)
{
	struct slice left = path_parent(path);
	int dir = trash_open(root, true);

	while (dir >= 0 && left.len > 0) {
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
		next = trash_subdir(root, dir, name);
		close(dir);
		dir = next;
		left = slice_from(left, slash == SIZE_MAX ? len : len + 1);
	}
	return dir;
}

/*
 * The reaction to a trash can that cannot be used is one whatever the reason:
 * the bytes stay where they are.  What is full or broken says so itself.
 */
static int
trash_err(struct err *err, int errnum, const char *what)
{
	int rc = fs_posix_walk_err(err, errnum, "%s", what);

	if (rc == ERR_CHANGED || rc == ERR_NOT_FOUND || rc == ERR_EXISTS) {
		rc = ERR_DENIED;
		if (err != NULL)
			err->code = rc;
	}
	return rc;
}

static int
trash_put(const struct fs_root *root, const struct fs_at *stage,
    struct slice path, struct err *err)
{
	const struct slice base = path_base(path);
	struct fs_at to = { .owned = true };
	int rc = -ENOENT;

	memcpy(to.base, base.ptr, base.len);
	to.base[base.len] = '\0';
	for (int i = 0; i < TRASH_KEEP_TRIES && rc == -ENOENT; i++) {
		to.dir = trash_dir_of(root, path);
		if (to.dir < 0)
			return trash_err(err, -to.dir, "open trash can");
		rc = renameat(stage->dir, stage->base, to.dir, to.base) < 0
			 ? -errno
			 : 0;
		if (rc == -EISDIR || rc == -ENOTEMPTY || rc == -EEXIST)
			rc = trash_free_name(root, stage, to.dir, to.base);
		fs_posix_walk_leave(&to);
		to.owned = true;
	}
	return rc < 0 ? trash_err(err, -rc, "move to trash can") : 0;
}

/*
 * When it came, for whoever looks.  After the rename: until then a crash has to
 * find the file as it was.  Not where the file has another name as well: that
 * is a person's.
 */
static void
trash_stamp(int fd)
{
	const struct timespec now[2] = {
		{ .tv_sec = 0, .tv_nsec = UTIME_OMIT },
		{ .tv_sec = 0, .tv_nsec = UTIME_NOW },
	};
	struct stat st;
	char self[40];

	if (fstat(fd, &st) < 0 || st.st_nlink != 1)
		return;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (utimensat(fd, "", now, AT_EMPTY_PATH) < 0 && !S_ISLNK(st.st_mode))
		(void)utimensat(AT_FDCWD, self, now, 0);
}

FS_POSIX_EFFECT(keep_version)
{
	const struct slice base = path_base(effect->path);
	struct identity seen;
	struct fs_at stage;
	int fd, rc;

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
	fd = openat(stage.dir, stage.base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	rc = trash_put(root, &stage, effect->path, err);
	if (fd >= 0 && rc == 0)
		trash_stamp(fd);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* --- Cleaning --- */

/* One that is in it, to find out which are the oldest. */
struct trash_file {
	int64_t ctime_ns;
	int64_t size;
};

struct trash_clean {
	const struct fs_root *root;
	struct arena *arena; /* of paths */
	VEC(char *) dir;     /* below the root; parents before children */
	VEC(struct trash_file) file;
	int64_t until_ns; /* what came then or before goes */
	bool gather;      /* fill `file` */
	struct trash_totals left, gone;
};

static int64_t
trash_ctime_ns(const struct stat *st)
{
	if (st->st_ctim.tv_sec > INT64_MAX / 1000000000 - 1)
		return INT64_MAX;
	if (st->st_ctim.tv_sec < 0)
		return 0;
	return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

static void
trash_clean_file(struct trash_clean *tc, int dir, const char *name,
    const struct stat *st)
{
	const int64_t ctime_ns = trash_ctime_ns(st);
	struct trash_totals *t = &tc->left;

	if (trash_is_stamped(slice_str(name)))
		return;
	if (ctime_ns <= tc->until_ns && unlinkat(dir, name, 0) == 0)
		t = &tc->gone;
	t->files++;
	t->bytes += st->st_size;
	if (t == &tc->left && tc->gather)
		*VEC_ADD(&tc->file) = (struct trash_file){
			.ctime_ns = ctime_ns,
			.size = st->st_size,
		};
}

static void
trash_clean_name(struct trash_clean *tc, int dir, const char *path,
    const char *name)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return;
	if (strcmp(path, TRASH_DIR) == 0 && strcmp(name, TRASH_STAGE) == 0)
		return;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISDIR(st.st_mode))
		*VEC_ADD(&tc->dir) =
		    arena_printf(tc->arena, "%s/%s", path, name);
	else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
		trash_clean_file(tc, dir, name, &st);
}

/* What is in one directory; what cannot be read stays as it is. */
static int
trash_clean_dir(struct trash_clean *tc, const char *path, struct err *err)
{
	struct dirent *de;
	DIR *d;
	int fd;
	const int rc = fs_posix_dir_open((struct fs_root *)(uintptr_t)tc->root,
	    slice_str(path), &fd, err);

	if (rc < 0)
		return rc;
	d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return err_sys(err, ENOMEM, "read trash can");
	}
	while ((de = readdir(d)) != NULL)
		trash_clean_name(tc, fd, path, de->d_name);
	closedir(d);
	return 0;
}

/* All of it, once; directories that are empty afterwards go. */
static int
trash_clean_pass(struct trash_clean *tc, struct err *err)
{
	int rc;

	memset(&tc->left, 0, sizeof(tc->left));
	VEC_CLEAR(&tc->dir);
	VEC_CLEAR(&tc->file);
	rc = trash_clean_dir(tc, TRASH_DIR, err);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc == ERR_CHANGED ? err_set(err, ERR_DENIED,
					       "the trash can is no directory")
					 : rc;
	for (size_t i = 0; i < tc->dir.len; i++)
		(void)trash_clean_dir(tc, tc->dir.item[i], NULL);
	for (size_t i = tc->dir.len; i-- > 0;) {
		struct fs_at at;

		if (fs_posix_walk_parent(tc->root, slice_str(tc->dir.item[i]),
			&at, NULL) < 0)
			continue;
		(void)unlinkat(at.dir, at.base, AT_REMOVEDIR);
		fs_posix_walk_leave(&at);
	}
	return 0;
}

static int
trash_older(const void *a, const void *b)
{
	const struct trash_file *x = a, *y = b;

	return (x->ctime_ns > y->ctime_ns) - (x->ctime_ns < y->ctime_ns);
}

/* How many bytes are to go for the file system's sake? */
static int64_t
trash_want_free(const struct fs_root *root, int64_t free_min)
{
	struct statvfs fs;
	uint64_t part, free;

	if (fstatvfs(root->fd, &fs) < 0 || fs.f_blocks == 0)
		return 0;
	part = (uint64_t)fs.f_blocks / TRASH_FREE_PART * fs.f_frsize;
	free = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (part > (uint64_t)free_min)
		part = (uint64_t)free_min;
	return free >= part ? 0 : (int64_t)(part - free);
}

/* Until which time all has to go so that `excess` bytes are gone. */
static int64_t
trash_cutoff(struct trash_clean *tc, int64_t excess)
{
	int64_t until_ns = tc->until_ns;

	qsort(tc->file.item, tc->file.len, sizeof(*tc->file.item), trash_older);
	for (size_t i = 0; i < tc->file.len && excess > 0; i++) {
		excess -= tc->file.item[i].size;
		until_ns = tc->file.item[i].ctime_ns;
	}
	return until_ns;
}

FS_POSIX_EFFECT(clean_trash)
{
	struct trash_clean tc = {
		.root = root,
		.arena = &work->arena,
		.until_ns = effect->u.clean.until_ns,
		.gather = true,
	};
	int64_t excess, want;
	int rc = trash_clean_pass(&tc, err);

	if (rc == 0 && faccessat(root->fd, TRASH_DIR, W_OK | X_OK, 0) < 0 &&
	    errno != ENOENT)
		rc = trash_err(err, errno, "write to trash can");
	if (rc < 0)
		goto out;
	excess = tc.left.bytes > effect->u.clean.bytes_max
		     ? tc.left.bytes - effect->u.clean.bytes_max
		     : 0;
	want = trash_want_free(root, effect->u.clean.free_min);
	if (want < effect->u.clean.give - tc.gone.bytes)
		want = effect->u.clean.give - tc.gone.bytes;
	if (want > excess)
		excess = want;
	if (excess > 0 && tc.file.len > 0) {
		tc.until_ns = trash_cutoff(&tc, excess);
		tc.gather = false;
		rc = trash_clean_pass(&tc, err);
	}
	done->u.done.trash = tc.left;
	done->u.done.trash_gone = tc.gone;
out:
	VEC_FINI(&tc.dir);
	VEC_FINI(&tc.file);
	return rc;
}
