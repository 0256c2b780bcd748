/*
 * Status: a picture of the whole engine, for a person who asks.
 *
 * Plain values, made on demand and borrowed from an arena; nothing is kept up
 * to date for it.  O(folders * devices), plus the bounded lists: never a walk
 * of an index, so it may be asked several times a second.  What the network
 * knows of a device (address, round trip, bytes) is mesh/net_uv.h's; names of
 * states here, in JSON and in FEATURES.md E4 are the same.
 *
 * Thread: loop, between two steps.
 */
#ifndef HOLDFAST_ENGINE_STATUS_H
#define HOLDFAST_ENGINE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/arena.h"
#include "engine/base/clock.h"
#include "engine/brake.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "engine/index.h"
#include "engine/reason.h"
#include "engine/setup.h"

#define STATUS_PROBLEMS_MAX 100u  /* failed items listed for one folder */
#define STATUS_CONFLICTS_MAX 500u /* conflict copies listed for one folder */

/* What a folder is doing; the worst that applies, in this order. */
enum status_state {
	STATUS_HALTED,    /* `reason` says why; nothing is changed */
	STATUS_PAUSED,    /* by a person */
	STATUS_STARTING,  /* being opened, or recovering */
	STATUS_SCANNING,  /* the first full scan since the start is under way;
			   * later ones show in `scan` alone */
	STATUS_RECEIVING, /* this disk lacks something and it is coming */
	STATUS_WAITING,   /* this disk lacks something nobody here can give,
			   * or that failed and is tried again later */
	STATUS_IN_SYNC,   /* this disk has all that is known to exist */
};

/* A failed or blocked item of a folder. */
struct status_problem {
	struct slice path;
	enum reason reason;
	struct slice text; /* detail for people; may be empty */
	int64_t since_wall_ns;
	uint32_t tries;
};

/* What one device lacks of a folder. */
struct status_share {
	struct devid device;
	bool connected;
	bool known; /* it told us its index in full, now or before: `need` is
		     * what it lacks; else `need` is everything */
	/* NONE, OFFLINE, PAUSED (device, by us), PEER_PAUSED or
	 * PEER_NOT_SHARING. */
	enum reason reason;
	struct need_totals need;
};

struct status_scan {
	bool running;         /* a full scan is under way */
	uint64_t passes;      /* grows with each full scan that ended, well or
			       * not; a pass asked for while one is running
			       * begins in the step in which that one ends */
	uint64_t dirs, files; /* looked at so far in the running one */
	uint64_t hashed_bytes;
	int64_t last_end_wall_ns; /* 0: none yet since the start */
	uint32_t changing;        /* files that keep changing */
	uint32_t failed;          /* paths that could not be looked at */
};

struct status_change {
	int64_t wall_ns;     /* 0: none known; then all else is empty */
	struct devid device; /* none: unknown */
	struct slice path;
};

struct status_folder {
	struct slice id, label, path;
	enum folder_mode mode;
	enum status_state state;
	enum reason reason;    /* HALTED, PAUSED, WAITING; or a warning such as
				* REASON_WATCH_LIMIT; else NONE */
	struct slice text;     /* detail for people; may be empty */
	int64_t since_wall_ns; /* of the state */
	bool idle; /* nothing is queued, hashed, fetched or written */

	struct totals local, global;
	struct need_totals need; /* of this device */
	int64_t changed;         /* receive-only: items changed here */

	/* The pull. */
	uint32_t items;     /* in work */
	int64_t bytes_done; /* of those, already here */
	uint64_t received;  /* bytes fetched since start; only grows */
	uint64_t rate;      /* bytes a second over the last seconds */
	/* RECEIVING: what all wait for, this device to write or that one to
	 * send; none while nothing is on its way. */
	struct devid limit;
	/* Room there is, when it was last looked at; left at 0 like `rate`. */
	struct disk_space space;
	uint32_t copies_have; /* devices that have everything, we included */
	uint32_t copies_want; /* devices that share it, we included */
	struct status_change last_change;
	struct status_scan scan;
	enum watch_state watch;
	uint32_t ignore_rules;
	bool has_trash;            /* it is on, and measured */
	struct trash_totals trash; /* what is in it, about */
	/* Devices whose mass change waits for a person's word. */
	const struct brake_held *held;
	uint32_t held_count;
	struct slice trash_failure; /* why nothing goes in; empty: it does */
	int64_t conflicts;          /* conflict copies there are */
	uint32_t problem_count;     /* all of them */
	const struct status_problem *problem; /* the first in path order */
	uint32_t problem_listed;              /* at most STATUS_PROBLEMS_MAX */
	const struct status_share *share;     /* in order of configuration */
	uint32_t share_count;
};

/* A device as the engine knows it. */
struct status_device {
	struct devid id;
	struct slice name;
	bool paused;
	bool connected;
	struct slice client, address; /* of EVENT_PEER_UP; empty when down */
	uint32_t features;
	struct need_totals behind; /* sum over the folders shared with it */
};

struct status_report {
	struct devid self;
	struct slice name;
	const struct status_folder *folder; /* in order of configuration */
	uint32_t folder_count;
	const struct status_device *device;
	uint32_t device_count;
};

/* Everything at this moment; all of it lives in `arena`. */
void status_report(const struct engine *en, struct now now, struct arena *arena,
    struct status_report *out);

/*
 * The conflict copies of a folder, at most STATUS_CONFLICTS_MAX, in path
 * order.  May walk the index.  False when there is no such folder, or it is
 * not open.
 */
struct status_conflict {
	struct slice path;     /* the copy that keeps the losing bytes */
	struct slice original; /* what it is a copy of */
	int64_t size;
	int64_t mtime_s;
	uint64_t modified_by; /* short device ID of the copy's maker; 0 */
};
bool status_conflicts(const struct engine *en, struct slice folder_id,
    struct arena *arena, const struct status_conflict **out, uint32_t *count);

/* "in_sync", "halted", ...: stable, for JSON. */
const char *status_state_name(enum status_state s);

#endif
