/*
 * A disk that does not exist: one folder's tree and its staging directory, in
 * memory, with inodes and identities, for tests of the engine without doors.
 *
 * It does disk effects as fs_posix.h promises them, in one step each, and what
 * a person or a program does to the same tree in between.  Time is given; each
 * change takes a nanosecond, so no two ctimes are equal.
 */
#ifndef HOLDFAST_TESTS_TESTLIB_DISK_H
#define HOLDFAST_TESTS_TESTLIB_DISK_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/effect.h"
#include "engine/event.h"

struct testlib_disk; /* opaque */

struct testlib_disk *testlib_disk_new(uint64_t number);
void testlib_disk_free(struct testlib_disk *dk);
void testlib_disk_set_time(struct testlib_disk *dk, int64_t wall_ns);
/* What its chunk maps are worth; TESTLIB_MAPS_TRUE unless told. */
enum testlib_maps {
	TESTLIB_MAPS_TRUE,
	TESTLIB_MAPS_WHOLE, /* of all, whatever was asked: ranges are unknown */
	TESTLIB_MAPS_FALSE, /* every chunk has the same hash */
};
void testlib_disk_set_maps(struct testlib_disk *dk, enum testlib_maps maps);
/* Bytes that may be held in files; WRITE and COPY beyond it are ERR_FULL. */
void testlib_disk_set_room(struct testlib_disk *dk, int64_t bytes);

/* What a person does.  False: not possible. */
bool testlib_disk_write(struct testlib_disk *dk, const char *path,
    struct slice data);
bool testlib_disk_mkdir(struct testlib_disk *dk, const char *path);
bool testlib_disk_link(struct testlib_disk *dk, const char *path,
    const char *target);
bool testlib_disk_chmod(struct testlib_disk *dk, const char *path,
    uint32_t mode);
/* A file, link, or directory with all that is in it. */
bool testlib_disk_remove(struct testlib_disk *dk, const char *path);
bool testlib_disk_rename(struct testlib_disk *dk, const char *from,
    const char *to); /* replaces a file */
bool testlib_disk_has(struct testlib_disk *dk, const char *path);
bool testlib_disk_is_dir(struct testlib_disk *dk, const char *path);
/* The bytes of a file; empty when there is none.  Borrowed. */
struct slice testlib_disk_read(struct testlib_disk *dk, const char *path);
/* Is there a file with exactly these bytes?  How many entries in all? */
bool testlib_disk_has_content(struct testlib_disk *dk, struct slice data);
size_t testlib_disk_count(struct testlib_disk *dk);
/* Call `fn` with the bytes of each file at or below `path` ("": all). */
void testlib_disk_each(struct testlib_disk *dk, const char *path,
    void (*fn)(void *arg, struct slice data), void *arg);
/*
 * The whole tree as text, a line an entry: path, type, mode, mtime of files,
 * hash of the content or target.  Internal names are left out.
 */
char *testlib_disk_dump(struct testlib_disk *dk, struct arena *arena);
/* Names in the staging directory. */
size_t testlib_disk_temps(const struct testlib_disk *dk);
/* The trash can: kept apart, so that what is only there counts as lost. */
struct slice testlib_disk_trash_read(struct testlib_disk *dk, const char *path);
void testlib_disk_trash(struct testlib_disk *dk, int64_t *files,
    int64_t *bytes);
/* From now on nothing can be put into it, for this reason; 0: it can. */
void testlib_disk_break_trash(struct testlib_disk *dk, int code);
/*
 * A file that is to be put while the old one gets a name beside it: the act
 * dies between its two calls, and the new one has that name.
 */
void testlib_disk_halve(struct testlib_disk *dk, bool on);
/* From now on effects of one kind answer with this; 0: none does. */
void testlib_disk_fail(struct testlib_disk *dk, enum effect_kind kind,
    int code);
/* The same, but cleaning it finds nothing wrong. */
void testlib_disk_break_keeping(struct testlib_disk *dk, int code);
/* Lose the folder's root, or give it back: effects say ERR_MISSING_ROOT. */
void testlib_disk_unmount(struct testlib_disk *dk, bool gone);

/*
 * Do one disk effect; fills done->u.done but for id and store.  What it points
 * to lives in `arena`.  Does not free the effect's payload.
 */
void testlib_disk_do(struct testlib_disk *dk, const struct effect *ef,
    struct event *done, struct arena *arena);

#endif
