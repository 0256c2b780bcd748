/*
 * The plan: what would be done to this disk next, page by page.
 *
 * Reads the rows that need work and says of each what the planner (pull.c)
 * would do and whose change it is, the brake's included.  Keeps nothing,
 * changes nothing; a page costs the rows it looks at and no more.
 *
 * Thread: loop, between two steps.
 */
#ifndef HOLDFAST_ENGINE_PLAN_H
#define HOLDFAST_ENGINE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "blockproto/entry.h"
#include "engine/base/arena.h"
#include "engine/engine.h"
#include "engine/reason.h"

/* Entries of one page, and rows looked at for it. */
#define PLAN_PAGE_MAX 1000u
#define PLAN_ROWS_MAX 20000u

enum plan_act {
	PLAN_CREATE,
	PLAN_UPDATE, /* other bytes */
	PLAN_META,   /* permissions or time only */
	PLAN_DELETE,
	PLAN_CONFLICT, /* theirs is taken, ours kept beside it */
	PLAN_ANNOUNCE, /* ours is announced above a deletion */
};

struct plan_entry {
	struct slice path;
	enum plan_act act;
	enum entry_type type; /* of what is there afterwards; DELETE: now */
	int64_t size;         /* the same */
	struct devid device;  /* who made the change; none: unknown */
	enum reason reason;   /* why not yet: MASS_CHANGE, NO_SOURCE, ... */
};

struct plan_page {
	const struct plan_entry *entry;
	uint32_t count;
	struct slice next; /* ask on after this path; empty: that was all */
};

/*
 * The plan of a folder after path `after` (empty: from the beginning), in path
 * order; `held`: only what the brake holds.  `limit` 0 or too large: the
 * largest page.  False when there is no such folder, or it is not open.
 */
bool plan_page(const struct engine *en, struct slice folder_id,
    struct slice after, bool held, uint32_t limit, struct arena *arena,
    struct plan_page *out);
/* "create", "delete", ...: stable, for JSON. */
const char *plan_act_name(enum plan_act act);

#endif
