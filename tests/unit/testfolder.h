/*
 * A real folder in a temporary directory, for tests of doors to the disk.
 *
 * Lives below the working directory, or on tmpfs (/dev/shm) when asked for.
 */
#ifndef HOLDFAST_TESTS_TESTFOLDER_H
#define HOLDFAST_TESTS_TESTFOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/fs_posix.h"

struct folder {
	char top[128];  /* removed at the end; `path` and outside/ are in it */
	char path[160]; /* the folder */
	struct fs_root *root;
	struct root_facts facts;
	struct fs_posix_work work;
	struct event done;
	struct err err;
	char text[4608]; /* scratch of folder_path() */
};

/* The absolute path of `name` in the folder. */
static inline const char *
folder_path(struct folder *f, const char *name)
{
	snprintf(f->text, sizeof(f->text), "%.159s/%.4400s", f->path, name);
	return f->text;
}

static inline void
folder_write(struct folder *f, const char *name, const char *bytes)
{
	const int fd = open(folder_path(f, name),
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	close(fd);
}

static inline bool
folder_has(struct folder *f, const char *name)
{
	struct stat st;

	return lstat(folder_path(f, name), &st) == 0;
}

/* Is `name` a file with exactly these bytes? */
static inline bool
folder_holds(struct folder *f, const char *name, const char *bytes)
{
	char buf[4096];
	const int fd =
	    open(folder_path(f, name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf));
	close(fd);
	return n == (ssize_t)strlen(bytes) &&
	       memcmp(buf, bytes, (size_t)n) == 0;
}

static inline int
folder_unlink_one(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* Open the folder anew, as after a change of its file system. */
static inline void
folder_reopen(struct folder *f)
{
	fs_posix_close(f->root);
	assert_int_equal(fs_posix_open(&f->root, f->path, &f->facts, &f->err),
	    0);
}

/* A folder with a marker, or without one. */
static inline void
folder_init(struct folder *f, const char *below, bool marker)
{
	char outside[192];

	memset(f, 0, sizeof(*f));
	snprintf(f->top, sizeof(f->top), "%s/testfolder-XXXXXX", below);
	assert_non_null(mkdtemp(f->top));
	if (f->top[0] != '/') {
		char cwd[64];
		char rest[64];

		assert_non_null(getcwd(cwd, sizeof(cwd)));
		snprintf(rest, sizeof(rest), "%.63s", f->top);
		snprintf(f->top, sizeof(f->top), "%.63s/%.63s", cwd, rest);
	}
	snprintf(f->path, sizeof(f->path), "%s/folder", f->top);
	snprintf(outside, sizeof(outside), "%s/outside", f->top);
	assert_int_equal(mkdir(f->path, 0755), 0);
	assert_int_equal(mkdir(outside, 0755), 0);
	if (marker)
		assert_int_equal(fs_posix_make_marker(f->path, &f->err), 0);
	fs_posix_work_init(&f->work);
	assert_int_equal(fs_posix_open(&f->root, f->path, &f->facts, &f->err),
	    0);
}

static inline void
folder_fini(struct folder *f)
{
	fs_posix_close(f->root);
	fs_posix_work_fini(&f->work);
	nftw(f->top, folder_unlink_one, 32, FTW_DEPTH | FTW_PHYS);
}

static inline int
folder_do(struct folder *f, const struct effect *effect)
{
	int rc;

	f->err.code = 0;
	f->err.text[0] = '\0';
	rc = fs_posix_do(f->root, effect, &f->work, &f->done, &f->err);
	if (rc < 0)
		assert_int_equal(f->err.code, rc);
	return rc;
}

/* What is at `name` now. */
static inline struct identity
folder_see(struct folder *f, const char *name)
{
	struct effect e = { .kind = EFFECT_STAT, .path = slice_str(name) };
	const int rc = folder_do(f, &e);

	if (rc == ERR_NOT_FOUND)
		return (struct identity){ 0 };
	assert_int_equal(rc, 0);
	return f->done.u.done.seen;
}

/* A sealed temp with these bytes. */
static inline int
folder_stage(struct folder *f, const char *temp, const char *bytes)
{
	struct effect e = { .kind = EFFECT_WRITE_TEMP,
		.temp = slice_str(temp) };
	int rc;

	e.u.write.payload = payload_new(strlen(bytes));
	memcpy(e.u.write.payload->data, bytes, strlen(bytes));
	e.u.write.file_size = (int64_t)strlen(bytes);
	e.u.write.verify = true;
	digest_of(slice_str(bytes), &e.u.write.hash);
	e.u.write.seal = true;
	e.u.write.meta.set_perms = true;
	e.u.write.meta.perms = 0640;
	e.u.write.meta.set_mtime = true;
	e.u.write.meta.mtime_s = 1000000000;
	e.u.write.meta.mtime_ns = 123456789;
	rc = folder_do(f, &e);
	payload_free(e.u.write.payload);
	return rc;
}

static inline int
folder_finish(struct folder *f, const char *temp, const char *name,
    struct identity want)
{
	struct effect e = { .kind = EFFECT_FINISH_FILE,
		.temp = slice_str(temp),
		.path = slice_str(name),
		.want = want };

	return folder_do(f, &e);
}

#endif
