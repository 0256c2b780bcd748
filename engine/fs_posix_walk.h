/*
 * Inside fs_posix: from a checked path to a descriptor, following nothing.
 *
 * Included by fs_posix*.c and their tests only.  Functions give a descriptor
 * or translate errno as a walk means it: a parent that is a symlink or a file
 * is ERR_CHANGED, a mount in the way ERR_DENIED.
 */
#ifndef HOLDFAST_ENGINE_FS_POSIX_WALK_H
#define HOLDFAST_ENGINE_FS_POSIX_WALK_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "engine/base/err.h"
#include "engine/base/limits.h"
#include "engine/base/slice.h"
#include "engine/event.h"
#include "engine/fs_posix.h"
#include "engine/identity.h"

struct fs_root {
	int fd;               /* O_RDONLY | O_DIRECTORY */
	int stage_fd;         /* the same; -1: see stage_err */
	struct err stage_err; /* why there is no staging directory */
	dev_t stage_dev;
	ino_t stage_ino;
	struct root_facts facts;
	mode_t umask;      /* the process's when this was opened */
	bool by_component; /* no openat2 here */
	bool exchange;     /* try RENAME_EXCHANGE */
	bool noreplace;    /* try RENAME_NOREPLACE */
	bool syncfs;       /* syncfs() reports errors: Linux 5.8 */
};

/* The directory of a name, and the name in it, for the *at() calls. */
struct fs_at {
	int dir;
	bool owned; /* `dir` is ours to close: not the root's, not staging's */
	char base[LIMIT_NAME_LEN + 1];
};

/* errno as a walk means it; "text: strerror". */
int fs_posix_walk_err(struct err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Does this kernel have openat2, and may we use it? */
bool fs_posix_walk_has_openat2(int dir);

/* Open `path` below `root` (empty: the root again) with O_NOFOLLOW. */
int fs_posix_walk_open(const struct fs_root *root, struct slice path, int flags,
    int *fd, struct err *err);
/*
 * Open a regular file for reading, without touching its access time where
 * allowed; anything else at the name is ERR_DENIED and is not opened.
 */
int fs_posix_walk_file(const struct fs_root *root, struct slice path, int *fd,
    struct stat *st, struct err *err);
/* The parent directory of `path`, held, and the last name. */
int fs_posix_walk_parent(const struct fs_root *root, struct slice path,
    struct fs_at *at, struct err *err);
/* The same for a staging name. */
int fs_posix_walk_stage(const struct fs_root *root, struct slice temp,
    struct fs_at *at, struct err *err);
void fs_posix_walk_leave(struct fs_at *at);

/*
 * Is there an entry `name` in `dir`, spelled just so?  Where "A" and "a" are
 * one name, an open or a stat does not tell; it takes reading the directory,
 * and is asked on such file systems only.  1, 0 or -errno.
 */
int fs_posix_walk_is_spelled(int dir, const char *name);

/* What is at the name; ABSENT when nothing is (and 0). */
int fs_posix_walk_look(const struct fs_at *at, struct identity *out,
    struct err *err);
void fs_posix_walk_identity(const struct stat *st, struct identity *out);

/* All `len` bytes, whatever is interrupted; bytes until the end, or -errno. */
ssize_t fs_posix_walk_pread(int fd, void *buf, size_t len, int64_t offset);
/* 0 or -errno. */
int fs_posix_walk_pwrite(int fd, const void *buf, size_t len, int64_t offset);
/* The work's buffer, made at first use. */
uint8_t *fs_posix_walk_buf(struct fs_posix_work *work);
uint8_t *fs_posix_walk_direct_buf(struct fs_posix_work *work);

/*
 * Rename, not replacing.  Where the kernel cannot: by link and unlink out of
 * staging, else by looking first (0005-replace.md says what that leaves open).
 */
int fs_posix_walk_rename_new(const struct fs_root *root,
    const struct fs_at *from, const struct fs_at *to); /* 0 or -errno */

/* One effect each; fs_posix.c chooses. */
#define FS_POSIX_EFFECT(name)                                                  \
	int fs_posix_##name(struct fs_root *root, const struct effect *effect, \
	    struct fs_posix_work *work, struct event *done, struct err *err)

FS_POSIX_EFFECT(list_dir);
FS_POSIX_EFFECT(list_temps);
FS_POSIX_EFFECT(stat);
FS_POSIX_EFFECT(hash_file);
FS_POSIX_EFFECT(chunk_file);
FS_POSIX_EFFECT(read_file);
FS_POSIX_EFFECT(read_block);
FS_POSIX_EFFECT(write_temp);
FS_POSIX_EFFECT(copy_temp);
FS_POSIX_EFFECT(check_temp);
FS_POSIX_EFFECT(seal_temp);
FS_POSIX_EFFECT(drop_temp);
FS_POSIX_EFFECT(finish_file);
FS_POSIX_EFFECT(make_link);
FS_POSIX_EFFECT(make_dir);
FS_POSIX_EFFECT(move);
FS_POSIX_EFFECT(remove);
FS_POSIX_EFFECT(set_meta);
FS_POSIX_EFFECT(put_back);
FS_POSIX_EFFECT(keep_version);
FS_POSIX_EFFECT(clean_trash);
FS_POSIX_EFFECT(sync_dirs);

/* Permissions and mtime of an open O_PATH or other descriptor. */
int fs_posix_set_meta_fd(const struct fs_root *root, int fd,
    const struct effect_meta *meta, struct err *err);

#endif
