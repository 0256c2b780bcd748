/*
 * The inside of the pull: shared by pull*.c, fetch.c, reuse.c and writer*.c.
 *
 * pull.c walks the rows that need work, pull_plan.c makes items of them, and
 * pull_park.c remembers what must wait.  pull_item.c carries one item from plan
 * to end, through fetch.c and reuse.c where there is something to load, and
 * writer.c; pull_rmdir.c sees to a directory that is not empty, pull_yield.c to
 * a file of ours that is in the way.  pull_move.c recognises renames,
 * pull_recover.c mends what a crash left, pull_files.c tells what is in work.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_PULL_STATE_H
#define HOLDFAST_ENGINE_PULL_STATE_H

#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "engine/decide.h"
#include "engine/folder.h"
#include "engine/item.h"
#include "engine/pull.h"

/* Items loading at once whose block lists together are larger than this wait:
 * 8 MiB of hashes. */
#define PULL_BLOCKS_MAX (256u * 1024)
/* Paths that failed and are remembered; beyond it they are tried each pass. */
#define PULL_PARKED_MAX 16384u
/* Rows looked at for a reason why a directory stays. */
#define PULL_ALIVE_ROWS 16u
/* A deletion that comes in pieces is believed to be whole after this. */
#define PULL_REVIVE_NS (10 * CLOCK_S)
/*
 * What may turn out a rename waits for the other half of it: until the peers'
 * indexes have been quiet for a moment, and at most so long in all.  A few
 * deletions wait hardly noticeably, many as long as a large rename pauses.
 */
#define PULL_HOLD_DELETE_NS (40 * CLOCK_MS)
#define PULL_HOLD_DELETES 64
#define PULL_HOLD_FILE_NS (60 * CLOCK_MS)
#define PULL_HOLD_DIR_NS (400 * CLOCK_MS)
#define PULL_HOLD_MAX_NS (10 * CLOCK_S)
/* Temps nobody resumed are dropped when in sync, and not right after a start:
 * the peers' indexes may not have come yet. */
#define PULL_TEMPS_NS (10 * CLOCK_MIN)
#define PULL_RETRY_NS CLOCK_MIN
/* A disk that failed once, or no descriptors: mostly well in seconds. */
#define PULL_IO_NS (2 * CLOCK_S)
/* What a device has and does not give: most often it is changing there, and
 * its next word about it comes sooner than this. */
#define PULL_REFUSED_NS (200 * CLOCK_MS)
#define PULL_RETRY_MAX_NS CLOCK_HOUR

enum pull_pass {
	PASS_NONE,
	PASS_FORWARD, /* makes and changes, in path order */
	PASS_DELETE,  /* deletes, deepest first */
};

/* A path that cannot proceed until its row changes or time passes. */
struct parked {
	enum reason reason;
	struct slice text; /* owned */
	int64_t since_wall_ns;
	uint64_t since_ns; /* mono */
	uint64_t retry_ns; /* mono */
	uint64_t sign;     /* of the row then */
	uint32_t tries;
	uint32_t pass; /* last met */
	bool refused;  /* NO_SOURCE, but one was there and did not give it */
};

/* A directory that waits until nothing in it is in work. */
struct below {
	uint32_t count;
	struct item *waits; /* borrows */
};

struct writer;
struct move_dir;
struct recover;

/* The disk was full: what is to be deleted goes first, then the rest. */
enum pull_room {
	ROOM_ENOUGH,
	ROOM_DELETES, /* the next pass deletes */
	ROOM_WAITS,   /* for those deletions to be done */
};

struct pull {
	struct folder *f;
	struct core_timer timer;
	struct arena row; /* of the row in work */
	bool stopped;
	bool freeing; /* nothing outside is touched any more */
	bool again;   /* something changed since this pass began */
	enum pull_pass pass;
	uint32_t pass_no;
	struct buf cursor;      /* path of the last row met */
	uint64_t hold_since_ns; /* 0: not holding */
	struct core_timer retry;

	struct map items;  /* path -> struct item; MOVE: both paths */
	struct map parked; /* path -> struct parked, owned */
	struct map below;  /* directory -> struct below, owned */
	struct map owned;  /* path -> PULL_QUIET or PULL_ASKED */
	bool name_freed;   /* one of two spellings is gone since that pass */
	struct map temps; /* staging names that may be resumed -> path, owned */
	struct map taken; /* ... that hold something else until a start */
	uint64_t temps_ns; /* when the last came to be in it */
	uint32_t item_count;
	uint64_t block_count; /* of items in work */
	struct list hungry;   /* want blocks */
	struct list late;     /* directories that get permissions last */
	uint32_t copying;     /* COPY_TEMPs under way, all items */
	uint64_t in_flight;   /* bytes asked and being written, all items */
	uint64_t asked;       /* of these, asked */
	uint64_t received;
	struct writer *writer;
	struct move_dir *move; /* the directory rename in work, or NULL */
	uint32_t adopted;      /* puts of this step that nobody waits for */
	struct map no_move;    /* new directories that are no renames */
	bool move_failed;      /* maybe because not all had come: once more */
	enum pull_room make_room;
	struct recover *recover;
	/* A file that gets out of the way, and its new name; owned. */
	struct slice yield_from, yield_to;
};

/* pull.c */
void pull_plan_soon(struct pull *pl);
struct item *pull_find(const struct pull *pl, struct slice path);
bool pull_holds(struct pull *pl, bool more, uint64_t quiet_ns);
/* A temp that may be resumed; `path`: of what, empty when nobody knows. */
void pull_keep_temp(struct pull *pl, struct slice temp, struct slice path);
/* It is resumed or dropped; false when there is none of that name. */
bool pull_take_temp(struct pull *pl, struct slice temp);
/* What is in it could not be put elsewhere, or dropped: not to be used. */
void pull_avoid_temp(struct pull *pl, struct slice temp);
/* A staging name for `path` in this version: the same again after a restart. */
struct slice pull_temp_name(struct item *it, struct slice path,
    struct version version);
/* The row's version with its whole block list, owned by the item. */
bool pull_own_version(struct item *it, const struct row_version *v,
    struct entry *out);

/* pull_item.c */
/* In work from here on; begins loading where there is something to load. */
void pull_item_start(struct item *it);
/* Loaded, or nothing to load: to the writer as soon as its parent is there. */
void pull_item_loaded(struct item *it);
/* It cannot go on now: remember why, try later. */
void pull_item_fail(struct item *it, enum reason reason, const char *text);
/* The same for an effect's answer: halts the folder where that is due. */
void pull_item_error(struct item *it, int code, struct slice text);
/* Give up without a word: it is planned again when still needed. */
void pull_item_cancel(struct item *it);
/* Done, or done with: forget it. */
void pull_item_end(struct item *it);
/* An answer due to it came; frees it when it was ending and this the last. */
bool pull_item_answered(struct item *it);
/* A directory made writable to be filled gets its permissions. */
void pull_item_finish_late(struct item *it);
/* While we act on a name, what is seen there is ours: pull_owns(). */
void pull_own(struct pull *pl, struct slice path);
void pull_disown(struct pull *pl, struct slice path);

/* pull_rmdir.c: the directory `it` was to remove is not empty. */
void pull_rmdir_refused(struct item *it);
void pull_rmdir_free(struct item *it);

/* pull_move.c: renames recognised by content. */
enum pull_move {
	PULL_MOVE_NO,
	PULL_MOVE_LATER,   /* nothing known in it: when more has come */
	PULL_MOVE_MAYBE,   /* what it may have been is not deleted yet */
	PULL_MOVE_STAND,   /* when its parent is there */
	PULL_MOVE_STARTED, /* pl->move is it */
};
/*
 * An item that renames into place the content of `row`, a file that is new
 * here; NULL when nothing fits.  *wait: what fits is not deleted (yet).
 */
struct item *pull_move_plan(struct pull *pl, const struct row *row, bool *wait);
/* A directory that is new here: is it one of ours, renamed as a whole? */
enum pull_move pull_move_dir_plan(struct pull *pl, const struct row *row);
/* Is `path` in a directory being renamed?  Remembers the question. */
bool pull_move_dir_owns(struct pull *pl, struct slice path);
/* A person changed `path`: what was compared is not so any more. */
void pull_move_dir_changed(struct pull *pl, struct slice path);
/* After a crash: go on with the rows; pull_recover.c. */
void pull_move_dir_resume(struct pull *pl, struct slice from, struct slice to,
    const struct identity *seen, uint64_t intent,
    void (*done)(struct pull *pl));
void pull_move_free(struct pull *pl);

/*
 * pull_yield.c: `path` cannot be here since `since_ns` because of a file of
 * ours: that gets out of the way, when it is time.  Says when to ask again,
 * mono ns; CLOCK_NEVER: there is nothing to wait for.
 */
uint64_t pull_yield(struct pull *pl, struct slice path, uint64_t since_ns);
void pull_yield_free(struct pull *pl);

/* pull_recover.c */
void pull_recover_free(struct pull *pl);

#endif
