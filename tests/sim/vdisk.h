/*
 * A disk that does not exist: one folder's tree in memory, as everybody sees
 * it now, and what of it would still be there after the power went.
 *
 * What is durable.  A file's bytes and attributes are what they were at its
 * last flush; names are those of a list of changes, of which a flush of a
 * directory makes durable
 *
 *	VDISK_ORDERED  all up to the last that concerns the directory, as a
 *	               journal does
 *	VDISK_HOSTILE  only those that concern it, and what they build upon
 *
 * and the power keeps of the rest a random beginning (ordered) or any subset
 * that makes sense (hostile).  A file that was not flushed is then as it was
 * flushed last, or new, or empty; in the hostile model also torn, or zeroes.
 * (A person's file is then shorter: the same size, times and inode with other
 * bytes is what nobody can see who does not read it all again.)
 * Attributes go with a file's bytes, and in the ordered model with any flush of
 * a directory.  The disk effects flush exactly what the door behind fs_posix.h
 * flushes: SYNC_TEMPS the temps and the staging directory, SYNC_DIRS the names
 * in the directories, both everything from FS_POSIX_SYNCFS_FROM names on where
 * the disk has syncfs(), MAKE_MARKER the root, KEEP_VERSION the directories it
 * makes; a COMMIT that is to flush people's files everything (node_engine.c).
 * Nothing else flushes anything.
 *
 * A failed flush is final: those bytes may never reach the disk, whatever a
 * later flush says.
 *
 * All of it lives in an arena given at the beginning: nothing is freed alone.
 * Names of the tree are told to the oracle (oracle.h) as they change.
 */
#ifndef HOLDFAST_TESTS_SIM_VDISK_H
#define HOLDFAST_TESTS_SIM_VDISK_H

#include "choice.h"
#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/effect.h"
#include "engine/event.h"

struct vdisk; /* opaque */
struct oracle;
struct token;

enum vdisk_model {
	VDISK_ORDERED,
	VDISK_HOSTILE,
};

enum vdisk_names {
	VDISK_EXACT,
	VDISK_FOLDS,      /* "A" and "a" are one name */
	VDISK_NORMALISES, /* the composed and decomposed form are one */
};

enum vdisk_away {
	VDISK_HERE,
	VDISK_GONE, /* the path is not there */
	VDISK_BARE, /* the empty directory it was mounted on is */
};

struct vdisk_make {
	struct arena *arena;
	struct choice *choice;
	struct oracle *oracle;
	uint32_t number;
	enum vdisk_model model;
	enum vdisk_names names;
	bool syncfs;
	bool reuses; /* inode numbers of what is gone are given again */
};

/* Weather: one call in so many fails; 0: none. */
struct vdisk_trouble {
	uint32_t read_io, write_io, sync_io, full, flips;
};

/* An object; read by the oracle only. */
struct vnode {
	struct identity id;
	struct slice data;  /* bytes, or the link's target */
	struct vname *name; /* of directories, in byte order */
	uint32_t names, names_cap;
	struct token *token;  /* of linked files; oracle.h */
	struct vnode *parent; /* NULL: it has no name now */
	struct vnode *was_in; /* ... and when the power went */
	bool visible;         /* not below an internal name */
	bool ours;            /* made in staging by the engine */
	bool clean;           /* its bytes are durable as they are */
	bool meta_clean;      /* ... its attributes */
	bool lost_pages;      /* a flush failed: never durable again */
	bool had;             /* was durable once: */
	struct identity had_id;
	struct slice had_data;
	struct vname *had_name;
	uint32_t had_names, had_names_cap;
	uint32_t mark;
};

struct vname {
	struct slice name;
	struct vnode *node;
};

struct vdisk *vdisk_new(const struct vdisk_make *make);
void vdisk_free(struct vdisk *dk); /* but for what is in the arena */
void vdisk_set_time(struct vdisk *dk, int64_t wall_ns);
void vdisk_set_trouble(struct vdisk *dk, const struct vdisk_trouble *trouble);
/* Bytes that may be held in files; beyond it writes are ERR_FULL. */
void vdisk_set_room(struct vdisk *dk, int64_t bytes);
void vdisk_set_read_only(struct vdisk *dk, bool on);
void vdisk_set_away(struct vdisk *dk, enum vdisk_away away);
bool vdisk_is_here(const struct vdisk *dk);
bool vdisk_is_full(const struct vdisk *dk);
bool vdisk_is_writable(const struct vdisk *dk);
/* Grows with every change. */
int64_t vdisk_changes(const struct vdisk *dk);
int64_t vdisk_used(const struct vdisk *dk);

/* The power goes and comes back. */
void vdisk_power_loss(struct vdisk *dk);
/* Half a minute passed, or somebody called sync(1). */
void vdisk_flush(struct vdisk *dk);
/* All is to be flushed, and fails: bytes that were not will never be. */
void vdisk_fail_flushes(struct vdisk *dk);
bool vdisk_is_flushed(const struct vdisk *dk);

/*
 * What a person or a program does.  False: not possible.  `flushed`: they
 * flush what they did, name and all.
 */
bool vdisk_write(struct vdisk *dk, const char *path, struct slice data,
    bool flushed);
bool vdisk_mkdir(struct vdisk *dk, const char *path, bool flushed);
bool vdisk_link(struct vdisk *dk, const char *path, const char *target,
    bool flushed);
bool vdisk_chmod(struct vdisk *dk, const char *path, uint32_t mode);
bool vdisk_utimes(struct vdisk *dk, const char *path, int64_t mtime_s);
/* A file, link or empty directory. */
bool vdisk_remove(struct vdisk *dk, const char *path, bool flushed);
/* Replaces a file. */
bool vdisk_rename(struct vdisk *dk, const char *from, const char *to,
    bool flushed);
/*
 * A file that a program has open: it goes on writing to it wherever it is by
 * now.  False: it is nowhere any more.
 */
struct vnode *vdisk_open(struct vdisk *dk, const char *path);
bool vdisk_is_staged(const struct vdisk *dk, const struct vnode *in);
bool vdisk_write_open(struct vdisk *dk, struct vnode *in, struct slice data);
bool vdisk_has(struct vdisk *dk, const char *path);
bool vdisk_is_dir(struct vdisk *dk, const char *path);
const struct vnode *vdisk_find(struct vdisk *dk, const char *path);
struct slice vdisk_read(struct vdisk *dk, const char *path);

/* The root; for walks. */
const struct vnode *vdisk_root(const struct vdisk *dk);
/*
 * The tree as text, a line an entry: path, type, mode, mtime of files, hash of
 * the content or target.  Internal names and those that end in ".ign" are left
 * out; paths in composed form (NFC).
 */
char *vdisk_dump(struct vdisk *dk, struct arena *arena);
/* Names in the staging directory. */
size_t vdisk_temps(const struct vdisk *dk);
/* Is there one among them that was a visible file before? */
bool vdisk_has_kept(const struct vdisk *dk);
/* ... or one of ours whose bytes are not flushed yet? */
bool vdisk_has_unflushed_temps(const struct vdisk *dk);

/*
 * Do one disk effect; fills done->u.done but for id and store.  What it points
 * to lives in `arena`.  Does not free the effect's payload.
 */
void vdisk_do(struct vdisk *dk, const struct effect *ef, struct event *done,
    struct arena *arena);

#endif
