/*
 * The scanner: finds what people did on this disk and puts it in the index.
 *
 * Private to engine/.  A full scan walks the tree; a hint looks at one path.
 * What it sees is compared with the row; what differs is hashed, and becomes a
 * new version of ours, unless it equals a version others already have.
 * Absence is believed only in a directory that could be read, in a root proven
 * present before and after (RELIABILITY.md I4, I6, I7).
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_SCAN_H
#define HOLDFAST_ENGINE_SCAN_H

#include "engine/folder.h"

struct scan_progress {
	bool running; /* a full scan is under way */
	uint64_t
	    passes; /* full scans that ended, since the folder was opened */
	uint64_t dirs, files; /* looked at so far in it */
	uint64_t hashed_bytes;
	int64_t last_end_wall_ns; /* of the last full scan; 0: none yet */
	uint32_t changing;        /* files that keep changing */
	uint32_t failed;          /* paths that could not be looked at */
};

/* A path on this disk that cannot be synced. */
struct scan_problem {
	struct slice path;  /* as it is on disk: any bytes */
	enum reason reason; /* NONE: there is no problem */
	struct slice text;
	int64_t since_wall_ns;
};

struct scan *scan_new(struct folder *f);
void scan_free(struct scan *sc); /* no op may be outstanding */
/* Look at everything; one more pass is queued when one is under way. */
void scan_all(struct folder *f);
/* Look at one path (and what is below, when it is a directory that is new or
 * `subtree`).  Cheap; merged. */
void scan_hint(struct folder *f, struct slice path, bool subtree);
/* Hints that came together are looked into together: they may be a rename. */
void scan_hints(struct folder *f, const struct change_hint *hint,
    uint32_t count);
/* The ignore rules are complete: passes that waited for them begin. */
void scan_go_on(struct folder *f);
/* Is nothing queued, listed, hashed or held? */
bool scan_is_idle(const struct folder *f);
/* Stop at the next step; what is under way is thrown away. */
void scan_stop(struct folder *f);
struct scan_progress scan_progress(const struct folder *f);
/*
 * A rename of many files is being found out: what is put into the index now
 * is announced together, when it is complete, so that the others see that it
 * is a rename.  Only for a bounded time.
 */
bool scan_holds_back(const struct folder *f);
/* Is the scanner hashing or holding this path right now? */
bool scan_has(const struct folder *f, struct slice path);
/*
 * The problems met, in path order, at most `max`; they live in `arena`.
 * LIMIT_SCAN_PROBLEMS are remembered; scan_progress() counts all.
 */
uint32_t scan_problems(const struct folder *f, struct scan_problem **out,
    uint32_t max, struct arena *arena);
uint32_t scan_problem_count(const struct folder *f);
/* Why this path cannot be synced; NONE when nothing is known against it. */
enum reason scan_reason(const struct folder *f, struct slice path,
    struct arena *arena, struct scan_problem *out);

#endif
