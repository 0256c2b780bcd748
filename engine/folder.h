/*
 * One folder in the engine: its state, its index, and the parts at work on it.
 *
 * Private to engine/.  folder.c opens, checks, halts and closes; scan.c finds
 * what people did; exchange.c speaks with the peers that share the folder;
 * pull.c brings this disk to the global state.
 *
 * States
 *	CLOSED -> OPENING -> RUNNING <-> HALTED      (reason says why)
 *	               \-> HALTED (root missing, ...) -> OPENING, by itself
 *	any -> CLOSING -> CLOSED                     (paused, removed)
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_FOLDER_H
#define HOLDFAST_ENGINE_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/vec.h"
#include "engine/core.h"
#include "engine/ignore.h"
#include "engine/index.h"
#include "engine/reason.h"
#include "engine/setup.h"

enum folder_state {
	FOLDER_CLOSED,
	FOLDER_OPENING,
	FOLDER_RUNNING,
	FOLDER_HALTED, /* nothing is changed, nothing announced */
	FOLDER_CLOSING,
};

struct scan;
struct pull;
struct peer;
struct trash;
struct brake;

/* The folder as shared with one device. */
struct share {
	struct devid device;
	struct slice name; /* of the device; for logs and notes */
	uint32_t slot;     /* in the index; valid while the index is open */
	struct peer *peer; /* NULL while it is not connected */
	bool remote_runs;  /* its ClusterConfig lists the folder, running */
	bool remote_lists; /* ... lists it at all */
	/* Sending our index to it. */
	bool send_full;    /* the next message is an Index */
	bool send_empty;   /* ... even if there is nothing to say */
	bool send_busy;    /* a batch is on its way: wait for its DONE */
	uint64_t sent_seq; /* it has everything up to here */
	int64_t said_seq;  /* ... and heard this number last */
	/* Receiving its index. */
	bool forgetting; /* dropping its old index, step by step */
	struct slice forget_cursor;
	uint64_t last_index_ns; /* mono time of its last index message */
	bool more_coming;       /* its last message was a full batch */
};

struct folder_walk;       /* folder_modes.c */
struct exchange_progress; /* exchange_progress.c */

struct folder_waiter { /* of a commit */
	core_done_fn *done;
	void *arg;
};

struct folder {
	struct engine *en;
	uint32_t number;
	enum folder_state state;
	enum reason reason;     /* of HALTED; or REASON_NONE */
	char reason_text[240];  /* detail for people */
	enum reason told;       /* the halt that was logged last */
	enum reason halted_for; /* of the last HALTED, until it RUNS or is
				 * CLOSED: it is tried again meanwhile */
	int64_t since_wall_ns;  /* of state; a try does not count as one */
	struct arena cfg_arena; /* owns cfg's slices and shares' names */
	struct setup_folder cfg;
	struct share *share; /* owned; one a device it is shared with */
	uint32_t share_count;

	struct index *ix; /* NULL unless opened */
	struct root_facts root;
	struct ignore *ignore; /* NULL until read */
	struct scan *scan;     /* live while ix is */
	struct pull *pull;     /* live while ix is */
	struct trash *trash;   /* owned; always there */
	struct brake *brake;   /* owned; always there */
	uint32_t ops;          /* effects not yet answered */
	bool removed;          /* no longer configured: free when CLOSED */
	bool soft;             /* HALTED, but the index is open: disk full */
	bool opened;           /* OPEN_FOLDER succeeded; CLOSE_FOLDER is owed */
	bool halting;          /* CLOSING on the way to HALTED */
	bool reopen;           /* CLOSING on the way to OPENING */
	bool rebuild;          /* the next open sets the damaged store aside */
	bool settled;          /* a full scan has ended since it was opened */
	enum watch_state watch;
	struct ignore *ignore_new; /* being read; owned */
	bool ignore_busy;          /* a file of it is being read */
	bool ignore_again;         /* it changed while it was read */
	struct folder_walk *walk;  /* override or revert under way; owned */
	struct core_timer retry;   /* of HALTED; root is looked at again */
	struct core_timer rescan;

	/* Commits: one on its way, one gathering. */
	bool unflushed; /* put: what a person wrote, and may not have flushed */
	bool commit_flush; /* the commit on its way flushes that first */
	bool commit_busy;
	bool commit_refused; /* the last one: commit_timer tries again */
	uint64_t commit_start_ns;
	size_t commit_puts;      /* in the one that began last */
	uint64_t commit_seq;     /* the last sequence in the one on its way */
	uint64_t committed_seq;  /* durable: may be announced */
	uint64_t asked_again_ns; /* all indexes; exchange_index.c */
	uint64_t opened_seq;     /* what is later was put since it opened */
	uint64_t told_seq;       /* ... nobody has heard of yet */
	VEC(struct folder_waiter) commit_wait; /* for the next one */
	VEC(struct folder_waiter) commit_now;  /* for the one on its way */
	struct core_timer commit_timer;

	struct exchange_progress *progress; /* owned; NULL until needed */

	/* Requests served: the block list looked at last. */
	struct digest list_hash;
	struct digest *list; /* owned */
	uint32_t list_count;

	/* Last change, for status. */
	struct devid changed_by;
	int64_t changed_wall_ns;
	char changed_path[256];
};

/* Make a folder for this setup; it opens itself unless paused. */
struct folder *folder_new(struct engine *en, uint32_t number,
    const struct setup_folder *cfg);
void folder_free(struct folder *f); /* CLOSED, no op outstanding */
/* A device has another ID now; it is not connected.  Before folder_setup(). */
void folder_rename(struct folder *f, const struct devid *was,
    const struct devid *now);
/* The configuration changed; devices, mode, pause. */
void folder_setup(struct folder *f, const struct setup_folder *cfg);
/* End of every step: begin a commit that is due. */
void folder_step_end(struct folder *f);
void folder_hints(struct folder *f, const struct event *ev);
void folder_close(struct folder *f);
void folder_reopen(struct folder *f); /* close, then open again */
/*
 * Halted because the directory is not what it was, and a person says that it
 * shall be the folder from now on: with a new index, so that what is missing
 * in it comes back from others and nothing counts as deleted.
 */
void folder_adopt(struct folder *f);
/* People's commands. */
void folder_override(struct folder *f);
void folder_revert(struct folder *f);
void folder_reject(struct folder *f);    /* what the brake holds: ours wins */
void folder_walk_free(struct folder *f); /* ends one that is under way */
/*
 * Rules or mode may be others than the index was made by: see to the rows that
 * are marked because of them.  Cheap when they are the same.
 */
void folder_settle(struct folder *f);
void folder_read_ignores(struct folder *f);
/* Why a folder halts whose disk did not take a flush. */
enum reason folder_flush_reason(int code);
/* Index open, and told to peers as running? (RUNNING, or softly HALTED) */
bool folder_talks(const struct folder *f);

/*
 * Stop the folder because of `r`: pulling and announcing end, nothing is
 * deleted, and the root is checked again every few seconds until it is well.
 */
void folder_halt(struct folder *f, enum reason r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Is it RUNNING, with an index, root proven and ignore rules read? */
bool folder_is_running(const struct folder *f);
/* Why this root is not the one the index is of; REASON_NONE when it is. */
enum reason folder_judge_root(struct folder *f, const struct root_facts *root);
/* It is: remember all that it says of itself. */
void folder_know_root(struct folder *f, const struct root_identity *now);
/* A disk error code met during work: halts for ERR_FULL, ERR_MISSING_ROOT,
 * ERR_CORRUPT and a read-only disk; true when it did. */
bool folder_met_error(struct folder *f, int code, struct slice text);
/* The share with this slot, or device; NULL when there is none. */
struct share *folder_share_of_slot(struct folder *f, uint32_t slot);
struct share *folder_share(struct folder *f, const struct devid *dev);
/* Name of a device for notes and conflict lists: configured, or short ID. */
void folder_changed(struct folder *f, uint64_t by_short, struct slice path);

#endif
