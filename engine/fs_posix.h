/*
 * The door to a folder on disk: every disk effect of effect.h, done at once.
 *
 * A struct fs_root is one folder's root as it was opened: a held descriptor of
 * the root and one of its private staging directory.  It never changes after
 * fs_posix_open(), so any number of workers may use one root at once.  All
 * names are reached from the held descriptors, by openat2(RESOLVE_BENEATH,
 * NO_SYMLINKS, NO_XDEV, NO_MAGICLINKS) or, where the kernel has none, component
 * by component with O_NOFOLLOW.  No symlink is ever followed, no mount crossed,
 * nothing but regular files is opened for reading or writing.
 *
 * It decides nothing: which file is right, what a version is called and when to
 * try again is the engine's.  It blocks, so only workers call it (disk_uv.h).
 *
 * Staging directory: ".stfolder/holdfast", mode 0700, on the folder's own file
 * system; where the marker is a plain file (as old Syncthing made it) it is
 * ".stversions/.holdfast" instead.  Both lie below names that are never synced.
 * It is made when the root is opened and the marker is there, never before.
 *
 * Codes: ERR_CHANGED (not what `want` says, or a parent is no directory any
 * more: look again), ERR_NOT_FOUND, ERR_EXISTS (the name is taken), ERR_BUSY (a
 * directory to be removed is not empty; too many open files), ERR_DENIED (no
 * permission; read-only file system; not a regular file; another file system
 * mounted there), ERR_FULL, ERR_IO, ERR_CORRUPT (payload is not its hash),
 * ERR_LIMIT (name or file too long), ERR_MISSING_ROOT, ERR_UNSUPPORTED.
 *
 * Safe replacement and its fallback: docs/design/0005-replace.md.
 * Thread: workers.  RELIABILITY.md 5.1 and 5.3.
 */
#ifndef HOLDFAST_ENGINE_FS_POSIX_H
#define HOLDFAST_ENGINE_FS_POSIX_H

#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/effect.h"
#include "engine/event.h"

/* Largest file that READ_FILE reads, bytes: rules and notes, not data. */
#define FS_POSIX_READ_FILE_MAX (4 * MIB)
/* Bytes a work buffer holds; fits the second-level cache. */
#define FS_POSIX_BUF_LEN (256 * KIB)
/* In one write past the page cache, of data that lies askew. */
#define FS_POSIX_DIRECT_LEN (1 * MIB)
/* From this many names on, one syncfs() is cheaper than an fsync() each. */
#define FS_POSIX_SYNCFS_FROM 9u

struct fs_root; /* opaque */

/* What a worker needs while it works; results live in `arena`. */
struct fs_posix_work {
	struct arena arena;
	uint8_t *buf;    /* FS_POSIX_BUF_LEN bytes, made at first use; owned */
	uint8_t *direct; /* the same, FS_POSIX_DIRECT_LEN, aligned */
};

/*
 * Open the folder at the absolute path `path` and look at it.  `facts` is
 * filled in any case; when it fails (ERR_MISSING_ROOT: not there or no
 * directory; ERR_DENIED) *out is NULL.  A staging directory that cannot be made
 * is no failure: the folder can be read, effects on temps say why they fail.
 */
int fs_posix_open(struct fs_root **out, const char *path,
    struct root_facts *facts, struct err *err);
void fs_posix_close(struct fs_root *root); /* accepts NULL */
/*
 * Look again, without writing anything: does `path` still name what is held,
 * and is its staging directory still the one held?  `facts` is fresh, what
 * needs a probe is as it was.  *same false: open it anew.
 */
int fs_posix_check(const struct fs_root *held, const char *path,
    struct root_facts *facts, bool *same, struct err *err);
/* All zero when the file system does not say. */
struct disk_space fs_posix_space(const struct fs_root *root);
/* The root's descriptor once more, the caller's to close; -1 and errno. */
int fs_posix_dup(const struct fs_root *root);
/* All that anybody wrote to its file system so far is on the disk after 0. */
int fs_posix_flush(int root_fd, struct err *err);
/*
 * Make the marker directory in the folder at `path`, and in it the nonce that
 * tells this folder's disk from others; there already is fine.  A nonce that
 * cannot be written is no failure.
 */
int fs_posix_make_marker(const char *path, struct err *err);

void fs_posix_work_init(struct fs_posix_work *work);
void fs_posix_work_fini(struct fs_posix_work *work);

/*
 * Do one disk effect; all kinds but OPEN_FOLDER, CLOSE_FOLDER, CHECK_ROOT and
 * MAKE_MARKER.  Fills done->u.done but for id, code and text; what it points to
 * is in work->arena, a payload is given.  A payload of the effect stays the
 * caller's.  SYNC_TEMPS fsyncs each temp when `fsync_each`, however many.
 */
int fs_posix_do(struct fs_root *root, const struct effect *effect,
    struct fs_posix_work *work, struct event *done, struct err *err);

/* Does one syncfs() tell of every write error here?  Linux 5.8. */
bool fs_posix_can_syncfs(const struct fs_root *root);

/* LIST_DIR in two steps, so that a watch can be put in between. */
int fs_posix_dir_open(struct fs_root *root, struct slice path, int *fd,
    struct err *err);
int fs_posix_dir_read(int fd, struct fs_posix_work *work, struct event *done,
    struct err *err); /* does not close */

/*
 * Flush `count` temps and then the staging directory.  One syncfs() from
 * FS_POSIX_SYNCFS_FROM on, unless `each`.  An error is of the whole batch; the
 * caller never tries the same flush again but discards (RELIABILITY.md 5.1).
 */
int fs_posix_sync_temps(struct fs_root *root, const struct slice *temp,
    uint32_t count, bool each, struct err *err);

/*
 * A large file hashed by several workers: begin, parts in any order and on any
 * thread (disjoint ranges), end.  fs_posix_hash_end() answers ERR_CHANGED when
 * the file is not what it was at the beginning.
 */
struct fs_hash { /* filled by begin; read-only in parts, but for the arrays */
	int fd;
	struct identity seen;
	uint32_t block_size;
	uint32_t block_count;
	struct digest *block; /* in the arena of begin's work */
	bool chunks;
	uint32_t chunk_count;
	struct chunk *chunk;             /* len filled by fs_posix_hash_cut() */
	const struct chunk_range *range; /* borrows the effect's, or all */
	uint32_t range_count;
	int64_t *chunk_at; /* where each begins */
};

int fs_posix_hash_begin(struct fs_root *root, const struct effect *effect,
    struct fs_posix_work *work, struct fs_hash *h, struct err *err);
/* Find the cuts of all ranges: sequential, before the chunk parts. */
int fs_posix_hash_cut(struct fs_hash *h, struct fs_posix_work *work,
    struct err *err);
int fs_posix_hash_blocks(const struct fs_hash *h, uint32_t first,
    uint32_t count, struct fs_posix_work *work, struct err *err);
int fs_posix_hash_chunks(const struct fs_hash *h, uint32_t first,
    uint32_t count, struct fs_posix_work *work, struct err *err);
/* Closes; after a failed part too (`failed`), then only that. */
int fs_posix_hash_end(struct fs_hash *h, bool failed, struct event *done,
    struct err *err);

/*
 * For tests: walk component by component as on kernels without openat2, and
 * back again; where there is none it is the only walk.
 */
void fs_posix_set_walk(struct fs_root *root, bool by_component);
/* For tests: act as on a file system without RENAME_EXCHANGE / NOREPLACE. */
void fs_posix_set_exchange(struct fs_root *root, bool exchange, bool noreplace);

#endif
