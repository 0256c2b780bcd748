/*
 * The pull: brings this disk to the folder's global state.
 *
 * Private to engine/.  Takes the rows that need work from the index, decides
 * each (decide.h), and carries it through staging, fetching and safe
 * replacement, a bounded number at a time: directories before what is in them,
 * renames recognised by content, deletions last and deepest first.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_PULL_H
#define HOLDFAST_ENGINE_PULL_H

#include "engine/folder.h"

struct pull_progress {
	uint32_t items;     /* in work */
	int64_t bytes_done; /* of the items in work, fetched or copied */
	int64_t bytes_total;
	uint64_t received; /* bytes fetched since start, monotonic */
	uint64_t asked;    /* bytes that others are to send now */
	uint64_t writing;  /* bytes that came and are being written */
	uint32_t failed;   /* items that failed and wait for a retry */
};

/* An item that failed or waits, for status and explain. */
struct pull_problem {
	struct slice path;
	enum reason reason;
	struct slice text;
	int64_t since_wall_ns;
	uint32_t tries;
};

/* A file of which parts are in a temp; lives to the end of the step. */
struct pull_file {
	struct slice path;
	struct version version;
	uint32_t block_size, block_count;
	const uint8_t *state; /* for pull_file_has() */
};

struct pull *pull_new(struct folder *f);
void pull_free(struct pull *pl); /* no op may be outstanding */
/*
 * Once, before the first scan: finish or undo what a crash left half done
 * (intents; RELIABILITY.md 5.1), then drop stale temporaries.  `done` when the
 * scanner may start.
 */
void pull_recover(struct folder *f, void (*done)(struct folder *f));
/* There may be work: rows changed, a peer came, a scan ended. */
void pull_wake(struct folder *f);
/* A device went: ask others for what it owed. */
void pull_peer_down(struct folder *f, struct share *sh);
/* This device's row of `path` changed by a person: plan it again. */
void pull_local_changed(struct folder *f, struct slice path);
/*
 * Is `path` being changed on disk by us right now?  Then what the scanner sees
 * there is ours; scan_hint() is called for it when we are done.
 */
bool pull_owns(struct folder *f, struct slice path);
/* Stop: abandon what can be abandoned; acts under way are finished. */
void pull_stop(struct folder *f);
/* Try failed items at once. */
void pull_retry(struct folder *f);
bool pull_is_idle(const struct folder *f);
struct pull_progress pull_progress(const struct folder *f);
/* Problems, in path order; lives in `arena`; at most `max`. */
uint32_t pull_problems(const struct folder *f, struct pull_problem **out,
    uint32_t max, struct arena *arena);
/* What is being done about `path`; REASON_NONE when nothing. */
enum reason pull_reason(const struct folder *f, struct slice path,
    int64_t *bytes_done, int64_t *bytes_total);
/* The files in work with at least `blocks_min` blocks, at most `max`. */
uint32_t pull_files(const struct folder *f, uint32_t blocks_min, uint32_t max,
    struct pull_file **out, struct arena *arena);
/* Is block `no` in its temp, verified? */
bool pull_file_has(const struct pull_file *file, uint32_t no);
/*
 * The temp that holds parts of this version of `path`, and whether block `no`
 * is in it: for requests with from_temporary.
 */
bool pull_temp_block(const struct folder *f, struct slice path,
    struct slice *temp, int64_t offset, uint32_t len);

#endif
