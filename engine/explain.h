/*
 * Explain: everything about one path, and why it is as it is.
 *
 * Reads rows, ignore rules, the pull and the connected peers; asks no disk and
 * no peer.  DESIGN.md, decision 7: a path that is not in sync has a reason.
 *
 * Thread: loop, between two steps.
 */
#ifndef HOLDFAST_ENGINE_EXPLAIN_H
#define HOLDFAST_ENGINE_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/entry.h"
#include "engine/base/arena.h"
#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/engine.h"
#include "engine/ignore.h"
#include "engine/reason.h"

/* One version of the path that some device has. */
struct explain_version {
	struct entry entry;         /* as in struct row_version */
	bool is_local;              /* what this disk has */
	bool is_global;             /* what everyone should have */
	struct slice vector;        /* version_text() */
	struct slice modified_by;   /* name of the device, or its short ID */
	const struct devid *holder; /* can serve it; ourselves included */
	uint32_t holder_count;
	const struct devid *shadow; /* know it but cannot serve it */
	uint32_t shadow_count;
};

struct explain {
	bool known;         /* the index has a row for it */
	bool in_sync;       /* here: the global version, or rightly nothing */
	bool everywhere;    /* every device it is shared with has it too */
	enum reason reason; /* why it is not in sync, or is special; NONE */
	struct slice text;  /* detail of the reason; may be empty */
	int64_t since_wall_ns;    /* of the reason; 0: unknown */
	struct slice blocked_by;  /* PARENT_BLOCKED, NAME_CLASH: the path; or
				   * empty */
	struct ignore_match rule; /* the ignore rule that hits, if any */
	bool local_changed;       /* receive-only: changed here */
	uint64_t sequence;        /* of our word on it; 0: never spoke */
	int64_t bytes_done, bytes_total; /* while it is being received */
	const struct devid *source;      /* connected devices that can serve
					  * the global version */
	uint32_t source_count;
	const struct explain_version *version; /* global first, then local */
	uint32_t version_count;
	const struct slice *conflict; /* conflict copies of it */
	uint32_t conflict_count;
};

/*
 * Explain `path` (checked, relative to the folder's root).  0; ERR_NOT_FOUND
 * when there is no such folder; ERR_BUSY when it is not open (paused, halted:
 * status.h says why).  All of `out` lives in `arena`.
 */
int explain_path(const struct engine *en, struct slice folder_id,
    struct slice path, struct now now, struct arena *arena, struct explain *out,
    struct err *err);

/*
 * Only the ignore rules: which of them hits `path`?  Same errors; ERR_INVALID
 * with file and line when the rules could not be read.  Its texts live until
 * the rules are read again.
 */
int explain_ignore(const struct engine *en, struct slice folder_id,
    struct slice path, struct ignore_match *out, struct err *err);
/*
 * All of them, those of included files too, in the order in which they are
 * asked.  Same errors.  The list lives in `arena`, its texts until the rules
 * are read again.
 */
int explain_rules(const struct engine *en, struct slice folder_id,
    struct arena *arena, const struct ignore_match **out, uint32_t *count,
    struct err *err);

#endif
