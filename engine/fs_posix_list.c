/*
 * Looking at names: directories, the staging directory, one name.
 *
 * A listing is whole or an error: a name that a short listing lacks would look
 * deleted (RELIABILITY.md, case 60).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

struct listing {
	struct dir_entry *item; /* heap while it grows */
	size_t len, cap;
};

static int
list_read_link(int dir, const char *name, struct arena *arena,
    struct slice *target, struct err *err)
{
	char text[LIMIT_LINK_LEN + 2];
	const ssize_t n = readlinkat(dir, name, text, sizeof(text));

	if (n < 0)
		return fs_posix_walk_err(err, errno, "read link");
	if ((size_t)n > LIMIT_LINK_LEN)
		return err_set(err, ERR_LIMIT, "link target too long");
	*target = arena_dup(arena, slice_of(text, (size_t)n));
	return 0;
}

/* One name; what cannot be looked at is an entry with an error. */
static void
list_add(struct listing *l, int dir, const char *name, struct arena *arena)
{
	struct dir_entry e = { 0 };
	struct err err;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		fs_posix_walk_identity(&st, &e.seen);
		if (e.seen.type == IDENTITY_LINK)
			e.error = list_read_link(dir, name, arena,
			    &e.link_target, &err);
	} else if (errno == ENOENT) {
		return; /* gone since readdir: that is what there is now */
	} else {
		e.error = fs_posix_walk_err(&err, errno, "stat");
	}
	if (e.error == ERR_NOT_FOUND)
		return;
	e.name = arena_dup(arena, slice_str(name));
	if (l->len == l->cap)
		l->item = vec_grow(l->item, l->len, &l->cap, sizeof(*l->item));
	l->item[l->len++] = e;
}

static int
list_compare(const void *a, const void *b)
{
	const struct dir_entry *x = a, *y = b;

	return slice_cmp(x->name, y->name);
}

int
fs_posix_dir_read(int fd, struct fs_posix_work *work, struct event *done,
    struct err *err)
{
	uint8_t *buf = fs_posix_walk_buf(work);
	struct listing l = { 0 };
	ssize_t n;
	int rc = 0;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return fs_posix_walk_err(err, errno, "rewind directory");
	while ((n = getdents64(fd, buf, FS_POSIX_BUF_LEN)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOENT) { /* removed meanwhile */
			rc = err_set(err, ERR_NOT_FOUND, "directory is gone");
			goto out;
		}
		if (n < 0) {
			rc = fs_posix_walk_err(err, errno, "read directory");
			goto out;
		}
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *de =
			    (const void *)(buf + (size_t)at);
			const char *name = de->d_name;

			at += de->d_reclen;
			if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
				list_add(&l, fd, name, &work->arena);
		}
	}
	if (l.len > 1)
		qsort(l.item, l.len, sizeof(*l.item), list_compare);
	/* Some file systems give a name twice when it is renamed meanwhile. */
	for (size_t i = 1; i < l.len; i++) {
		if (!slice_equal(l.item[i - 1].name, l.item[i].name))
			continue;
		memmove(&l.item[i], &l.item[i + 1],
		    (l.len - i - 1) * sizeof(*l.item));
		l.len--;
		i--;
	}
	if (l.len > 0) {
		struct dir_entry *e =
		    arena_alloc(&work->arena, l.len * sizeof(*e));

		memcpy(e, l.item, l.len * sizeof(*e));
		done->u.done.entry = e;
	}
	done->u.done.entry_count = (uint32_t)l.len;
out:
	mem_free(l.item);
	return rc;
}

int
fs_posix_dir_open(struct fs_root *root, struct slice path, int *fd,
    struct err *err)
{
	return fs_posix_walk_open(root, path,
	    O_RDONLY | O_DIRECTORY | O_NONBLOCK, fd, err);
}

FS_POSIX_EFFECT(list_dir)
{
	int fd;
	int rc = fs_posix_dir_open(root, effect->path, &fd, err);

	if (rc < 0)
		return rc;
	rc = fs_posix_dir_read(fd, work, done, err);
	close(fd);
	return rc;
}

FS_POSIX_EFFECT(list_temps)
{
	int fd, rc;

	(void)effect;
	if (root->stage_fd < 0) {
		*err = root->stage_err;
		return err->code;
	}
	fd = openat(root->stage_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fs_posix_walk_err(err, errno, "open staging directory");
	rc = fs_posix_dir_read(fd, work, done, err);
	close(fd);
	return rc;
}

FS_POSIX_EFFECT(stat)
{
	struct stat st;
	int fd;
	int rc = fs_posix_walk_open(root, effect->path, O_PATH, &fd, err);

	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0) {
		rc = fs_posix_walk_err(err, errno, "stat");
	} else {
		fs_posix_walk_identity(&st, &done->u.done.seen);
		if (done->u.done.seen.type == IDENTITY_LINK)
			rc = list_read_link(fd, "", &work->arena,
			    &done->u.done.link_target, err);
	}
	close(fd);
	return rc;
}
