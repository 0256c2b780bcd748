/*
 * The scanner's state.  Private to scan*.c.  Thread: loop.
 *
 * A pass goes through stages, each begun when the one before has no question
 * open:
 *
 *	ROOT   is the root the one we opened?
 *	KNOWN  stat the hints, list the directories we know; remember what is
 *	       missing, hold new files and new directories back
 *	MATCH  index what is missing by its identity on disk
 *	NEW    new files: a missing one that moved, or bytes to hash; list the
 *	       new directories, the same for what is in them
 *	PROOF  is the root still the one we opened?
 *	GONE   what is missing now counts as deleted
 *	DRAIN  wait for the last hashes
 *
 * There are two passes: one for full scans, one for hints, so that a small
 * change need not wait for the end of a long scan.
 */
#ifndef HOLDFAST_ENGINE_SCAN_STATE_H
#define HOLDFAST_ENGINE_SCAN_STATE_H

#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/omap.h"
#include "engine/base/vec.h"
#include "engine/core_state.h"
#include "engine/scan.h"

enum scan_stage {
	SCAN_IDLE,
	SCAN_ROOT,
	SCAN_KNOWN,
	SCAN_MATCH,
	SCAN_NEW,
	SCAN_PROOF,
	SCAN_GONE,
	SCAN_DRAIN,
};

struct scan_found { /* a new file, held until it is known what is missing */
	struct slice path; /* owned */
	struct identity seen;
};

struct scan_gone {
	struct slice path; /* owned */
	uint64_t seq;      /* of the index when it was looked for */
	bool below_only;   /* the name itself is something else now */
	bool look_again;   /* then at `path` itself */
};

struct scan_pass {
	struct scan *sc;
	bool full;
	enum scan_stage stage;
	VEC(struct slice) known_dir; /* still to be listed; owned paths */
	VEC(struct slice) new_dir;
	VEC(struct scan_found) held;
	VEC(struct scan_gone) gone;
	size_t gone_at; /* MATCH, GONE: the root in work */
	struct slice
	    gone_after;    /* ... and the last path seen below it; owned */
	struct umap moved; /* identity hash -> path of a missing file (owned) */
	uint32_t ops;      /* lists and stats not yet answered */
	uint64_t seq;      /* of the index when what is answered was asked */
	bool waited;       /* for the old name of a new directory */
	struct list ask;   /* these; owned */
	struct core_timer again; /* a long stage goes on in the next step */
};

struct scan_ask {              /* a question open; freed with its answer */
	struct list_node node; /* in ps->ask */
	struct scan_pass *ps;
	struct slice path; /* owned */
	uint32_t flags;
	uint64_t seq; /* of the index when it was asked */
};

enum scan_item_state { ITEM_WAITS, ITEM_HASHES, ITEM_RESTS };

struct scan_item {             /* a file to be hashed */
	struct list_node node; /* in scan.queue while it WAITS */
	struct scan *sc;
	struct slice path;     /* owned */
	int64_t size;          /* when it was last looked at */
	struct identity fresh; /* ... of a file not in the index; or absent */
	bool hinted;           /* fresh, and not of a full pass */
	enum scan_item_state state;
	uint32_t tries;
	int64_t asked_wall_s;    /* when its hash was */
	uint64_t asked_seq;      /* ... of the index */
	bool again;              /* a hint came while it was hashed */
	bool other;              /* ... and it is no file any more */
	struct core_timer timer; /* RESTS: it keeps changing */
};

enum scan_hint_flag {
	HINT_LOOK = 1,
	HINT_SUBTREE = 2,
	HINT_FORCE = 4, /* a parent of something synced, ignored or not */
	HINT_BELOW = 8, /* what is below is gone, if this is no directory */
	HINT_PARENT_KNOWN = 16, /* of a listing: what it is in needs no look */
};

struct scan {
	struct folder *f;
	struct scan_pass full, hints;
	bool full_wanted;
	struct map hint; /* path -> flags as pointer */
	struct map item; /* path -> struct scan_item, owned */
	struct list queue;
	/*
	 * path -> not NULL: hashed soon after its last change.  A write sets
	 * the times when it begins and the bytes when it goes on, so the hash
	 * may be of what was there before, and no stat will ever tell.
	 */
	struct map racy;
	uint32_t hashing;
	bool stopped;
	uint64_t moving_since_ns;  /* a pass finds out a rename; 0: none */
	struct core_timer release; /* of what is held back, if it can be */
	struct scan_progress progress;
	struct omap *problem;    /* path -> scan_problem.c */
	uint64_t pass_no;        /* full passes begun */
	uint64_t failed_now;     /* of the pass under way */
	struct core_timer retry; /* of what failed for a while, perhaps */
	uint32_t retries;
};

/* scan.c */
void scan_start_due(struct scan *sc);

/* scan_pass.c */
void scan_pass_start(struct scan_pass *ps);
void scan_pass_go(struct scan_pass *ps);
void scan_pass_clear(struct scan_pass *ps);
void scan_release(struct scan *sc);
void scan_pass_fini(struct scan_pass *ps); /* answers still due never come */
struct slice scan_own(struct slice s);     /* a copy, owned */
void scan_disown(struct slice s);

/* The pass waits for the answer; `path` is copied. */
struct scan_ask *scan_ask_new(struct scan_pass *ps, struct slice path,
    uint32_t flags);
/* It came: frees `ask`, and the pass goes on. */
void scan_ask_end(struct scan_ask *ask);

/* scan_name.c */
/*
 * Seen on disk: true when its name is not in NFC and that is being seen to, or
 * need not be; false when it is to be looked at under this name.
 */
bool scan_compose(struct scan_pass *ps, struct slice path,
    const struct identity *seen);
/* The NFC names of what is listed under other forms of them: not missing. */
void scan_composable(const struct event *ev, struct slice dir, struct map *out,
    struct arena *arena);

/* scan_problem.c */
/* `path` cannot be synced; logged when that is new. */
void scan_problem_put(struct scan *sc, struct slice path, enum reason reason,
    struct slice text);
bool scan_problem_has(const struct scan *sc, struct slice path);
/* It is well. */
void scan_problem_clear(struct scan *sc, struct slice path);
/* It is gone, with all that was in it. */
void scan_problem_gone(struct scan *sc, struct slice path);
/* A full pass ended: what it did not meet is no more. */
void scan_problem_sweep(struct scan *sc);
/* The reason that status gives for an error of looking or reading. */
enum reason scan_problem_reason(int code);
/* The timer's: look again at what the disk or the system refused. */
void scan_problem_retry(struct engine *en, void *scan);

/* scan_item.c */
/* A file that changed, */
void scan_item_add(struct scan *sc, struct slice path, int64_t size);
/* ... and one the index does not know: it may be one that was renamed. */
void scan_item_add_fresh(struct scan_pass *ps, struct slice path,
    const struct identity *seen);
/* It is no file any more. */
void scan_item_drop(struct scan *sc, struct slice path);
void scan_item_go(struct scan *sc);
/* Must it be hashed again though its times are the same?  Says so once. */
bool scan_item_take_racy(struct scan *sc, struct slice path);
void scan_item_free(struct scan_item *it);
/*
 * `e` is on this disk as `seen`: make it a version of ours, or adopt the one
 * of others that it equals.  Fills in version, modified_by.
 */
void scan_record(struct scan *sc, const struct row *row, struct entry *e,
    const struct identity *seen);
/* What every entry found on disk begins with. */
struct entry scan_entry(const struct scan *sc, struct slice path,
    const struct identity *seen);
/*
 * Was the row put after the index had come to `seq`, when the disk was asked?
 * Then the answer may be of before that, and tells nothing.
 */
bool scan_is_late(const struct row *row, uint64_t seq);
/* Has the row a live, followed version of ours? */
bool scan_has_local(const struct row *row);

#endif
