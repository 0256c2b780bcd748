/*
 * Planning one row.  See pull_plan.h.
 */
#include "engine/pull_plan.h"

#include "engine/base/path.h"
#include "engine/brake.h"
#include "engine/conflict.h"
#include "engine/exchange.h"
#include "engine/exchange_index.h"
#include "engine/fetch.h"
#include "engine/pull_park.h"
#include "engine/trash.h"

enum parent_state {
	PARENT_OK,      /* is there, or is being made */
	PARENT_LATER,   /* something else is done with it first */
	PARENT_BLOCKED, /* cannot be a directory now */
};

static void plan_make(struct pull *pl, const struct row *row,
    enum item_kind kind);

/*
 * Does a directory of ours hold something that is in sync, and so stays?  Of
 * many things to go first few are looked at: the disk tells, too.
 */
static bool
pull_dir_is_alive(struct pull *pl, struct slice dir)
{
	struct slice after = SLICE_EMPTY;

	for (uint32_t i = 0; i < PULL_ALIVE_ROWS; i++) {
		const struct row *row =
		    index_next_below(pl->f->ix, dir, after, &pl->row);

		if (row == NULL)
			return false;
		after = row->path;
		if (row_local(row) != NULL && row->local == row->global &&
		    !row_local(row)->entry.deleted && row->flags == 0)
			return true;
	}
	return false;
}

/* Would bytes of ours go, while there is no place to keep them? */
static bool
pull_lacks_trash(struct pull *pl, const struct row *row,
    const struct verdict *v)
{
	const char *why = trash_broken(pl->f);

	if (why == NULL || !brake_is_loss(v))
		return false;
	pull_park(pl, row->path, REASON_TRASH_FAILED, why);
	return true;
}

static struct item *
plan_item(struct pull *pl, const struct row *row, enum item_kind kind)
{
	const struct row_version *ours = row_local(row);
	struct item *it = item_new(pl, kind, row->path);

	if (!pull_own_version(it, row_global(row), &it->entry)) {
		item_free(it);
		return NULL;
	}
	it->holders = row_global(row)->holders;
	if (ours != NULL) {
		it->had = true;
		it->base = item_own_version(it, ours->entry.version);
		if (!ours->entry.deleted)
			it->want = row->seen;
	}
	if (kind == ITEM_FILE || kind == ITEM_LINK || kind == ITEM_REMOVE)
		it->temp = pull_temp_name(it, it->path, it->entry.version);
	return it;
}

static void
plan_keep(struct item *it)
{
	struct folder *f = it->pl->f;

	it->keep = item_own(it, conflict_name(it->path, core_now(f->en).wall_ns,
				    core_setup(f->en)->zone_s,
				    it->entry.modified_by, 0, &it->pl->row));
}

/* A directory nobody announces, but something in it: ours from now on. */
static bool
plan_implicit_dir(struct pull *pl, struct slice path, const struct row *row)
{
	struct folder *f = pl->f;
	const uint64_t self = core_self_short(f->en);
	const struct now now = core_now(f->en);
	struct item *it = item_new(pl, ITEM_DIR, path);
	struct entry e = {
		.name = path,
		.type = ENTRY_DIR,
		.perms = 0755,
		.mtime_s = 0, /* whoever says more of it wins */
		.modified_by = self,
	};

	if (row != NULL) {
		const struct row_version *ours = row_local(row);

		for (uint32_t i = 0; i < row->version_count; i++)
			e.version = version_merge(e.version,
			    row->version[i].entry.version, &pl->row);
		if (ours != NULL) {
			it->had = true;
			it->base = item_own_version(it, ours->entry.version);
		}
	}
	if (f->cfg.mode == FOLDER_RECEIVE_ONLY)
		e.version = (struct version){ 0 };
	else
		e.version = version_bump(e.version, self,
		    index_stamp(f->ix, now.wall_ns / (int64_t)CLOCK_S),
		    &pl->row);
	it->entry = item_own_entry(it, &e, NULL);
	it->implicit = true;
	pull_item_start(it);
	return true;
}

/*
 * Has `path` waited for a directory that others deleted?  Its own deletion may
 * still be on its way, or the word of who keeps the directory for its sake.
 */
static bool
plan_has_waited(const struct pull *pl, struct slice path)
{
	const struct parked *pk = map_find(&pl->parked, path);

	return pk != NULL && pk->reason == REASON_PARENT_BLOCKED &&
	       core_now(pl->f->en).mono_ns - pk->since_ns >= PULL_REVIVE_NS;
}

/*
 * See to it that the directory of `path` is there or comes; one that is deleted
 * is made anew only when `undo`.
 */
static enum parent_state
plan_parent(struct pull *pl, struct slice path, bool undo)
{
	const struct slice dir = path_parent(path);
	struct item *it = pull_find(pl, dir);
	const struct row *row;
	const struct row_version *ours, *global;
	enum parent_state up;

	if (dir.len == 0)
		return PARENT_OK;
	if (it != NULL && it->state != ITEM_ENDING &&
	    (it->kind == ITEM_DIR || it->kind == ITEM_META))
		return PARENT_OK;
	if (it != NULL) {
		it->met = true;
		return PARENT_LATER;
	}
	row = index_row(pl->f->ix, dir, &pl->row);
	ours = row == NULL ? NULL : row_local(row);
	/* Of an ignored one we may know no more than that it exists. */
	if (ours != NULL && !ours->entry.deleted &&
	    ours->entry.type == ENTRY_DIR &&
	    ((row->flags & ROW_IGNORED) == 0 || row->seen.type == IDENTITY_DIR))
		return PARENT_OK;
	if (ours != NULL && !ours->entry.deleted &&
	    (row->flags & (ROW_IGNORED | ROW_UNSUPPORTED)) == 0)
		return PARENT_BLOCKED; /* a file or link nobody moves */
	up = plan_parent(pl, dir, undo);
	if (up != PARENT_OK)
		return up;
	global = row == NULL ? NULL : row_global(row);
	if (global != NULL && !global->entry.deleted &&
	    !devset_is_empty(&global->holders)) {
		if (global->entry.type != ENTRY_DIR)
			return PARENT_BLOCKED;
		/* What is not ignored takes its ignored parents along. */
		if ((row->flags & ROW_IGNORED) != 0) {
			plan_make(pl, row, ITEM_DIR);
			return PARENT_OK;
		}
		if (row->local != row->global) {
			pull_plan_row(pl, row);
			it = pull_find(pl, dir);
			return it != NULL && it->kind == ITEM_DIR
				   ? PARENT_OK
				   : PARENT_LATER;
		}
	}
	if (global != NULL && global->entry.deleted && !undo)
		return PARENT_BLOCKED;
	plan_implicit_dir(pl, dir, row);
	return PARENT_OK;
}

static void
plan_put_now(struct pull *pl, const struct row *row, const struct entry *e,
    const struct digest *block, uint32_t flags)
{
	struct entry whole = *e;

	whole.block = block;
	index_put_local(pl->f->ix, &whole, &row->seen, flags);
	pull_unpark(pl, row->path);
	pull_stir(pl, row->path);
}

static bool
plan_blocks(struct pull *pl, const struct entry *e, const struct digest **out)
{
	struct err err = { 0 };

	*out = e->block;
	if (e->type != ENTRY_FILE || e->deleted || e->block != NULL ||
	    e->block_count == 0)
		return true;
	if (index_blocks(pl->f->ix, e, out, &pl->row, &err) == 0)
		return true;
	folder_met_error(pl->f, err.code, slice_str(err.text));
	return false;
}

/*
 * Of two deletions that did not know of one another, ours was above what the
 * other did not see: somebody who still has that must not take it for an edit
 * nobody deleted.  So we hold both.
 */
static void
plan_adopt(struct pull *pl, const struct row *row)
{
	const struct row_version *ours = row_local(row);
	struct entry e = row_global(row)->entry;
	const struct digest *block;

	if (!plan_blocks(pl, &e, &block))
		return;
	if (e.deleted && ours != NULL && ours->entry.deleted)
		e.version =
		    version_merge(e.version, ours->entry.version, &pl->row);
	plan_put_now(pl, row, &e, block, 0);
	/* What we had did not survive a deletion; what it is now may. */
	if (!e.deleted)
		exchange_index_revive(pl->f, row->path);
}

/* An ignored path: we know the version, and that is all.  BEP-FACTS 6.7. */
static void
plan_ignored(struct pull *pl, const struct row *row)
{
	const struct entry *e = &row_global(row)->entry;
	const struct digest *block;

	if (plan_blocks(pl, e, &block))
		plan_put_now(pl, row, e, block, ROW_IGNORED);
}

/*
 * Ours stays: it is what a deletion did not see, or a directory that cannot
 * make way for a file because of what is in it.  It goes above every deletion,
 * but not above what others wrote: against that it only wins, and they keep
 * theirs.
 */
void
pull_revive(struct pull *pl, const struct row *row)
{
	struct folder *f = pl->f;
	const struct row_version *global = row_global(row);
	struct entry e = row_local(row)->entry;
	const struct digest *block;
	const uint64_t self = core_self_short(f->en);
	const int64_t now_s = core_now(f->en).wall_ns / (int64_t)CLOCK_S;

	if (!plan_blocks(pl, &e, &block))
		return;
	for (uint32_t i = 0; i < row->version_count; i++)
		if (row->version[i].entry.deleted)
			e.version = version_merge(e.version,
			    row->version[i].entry.version, &pl->row);
	e.version =
	    version_bump(e.version, self, index_stamp(f->ix, now_s), &pl->row);
	e.modified_by = self;
	if (e.type == ENTRY_DIR && global != NULL && !global->entry.deleted)
		e.mtime_s = now_s > global->entry.mtime_s
				? now_s
				: global->entry.mtime_s + 1;
	plan_put_now(pl, row, &e, block, 0);
	log_info(core_log(f->en), "pull revive path=%s",
	    path_print(core_scratch(f->en), row->path));
}

static enum pull_planned
plan_file(struct pull *pl, const struct row *row, const struct verdict *v)
{
	const bool have = v->ours != NULL && !v->ours->entry.deleted;
	struct item *it = NULL;
	bool wait = false;

	if (!have) {
		it = pull_move_plan(pl, row, &wait);
		if (it == NULL && wait &&
		    pull_holds(pl, false, PULL_HOLD_FILE_NS))
			return PLAN_STAND;
	}
	if (it == NULL)
		it = plan_item(pl, row, ITEM_FILE);
	if (it == NULL)
		return PLAN_STAND; /* the folder is halting */
	if (v->kind == VERDICT_CONFLICT)
		plan_keep(it);
	pull_item_start(it);
	return PLAN_NEXT;
}

static void
plan_make(struct pull *pl, const struct row *row, enum item_kind kind)
{
	struct item *it = plan_item(pl, row, kind);

	if (it != NULL)
		pull_item_start(it);
}

/* Something of another type is in the way of what shall be here. */
static void
plan_make_way(struct pull *pl, const struct row *row, const struct verdict *v)
{
	struct item *it = plan_item(pl, row, ITEM_REMOVE);

	if (it == NULL)
		return;
	it->replace = true;
	if (v->kind == VERDICT_CONFLICT)
		plan_keep(it);
	pull_item_start(it);
}

/*
 * It is planned in every pass, so how often it was tried says nothing: what is
 * in the way may have to make way sooner than the next try.
 */
static void
plan_blocked(struct pull *pl, const struct row *row)
{
	struct parked *pk;
	uint64_t due_ns;

	pull_park(pl, row->path, REASON_PARENT_BLOCKED, "");
	pk = map_find(&pl->parked, row->path);
	if (pk == NULL)
		return;
	due_ns = pull_yield(pl, row->path, pk->since_ns);
	if (pk->since_ns + PULL_REVIVE_NS < due_ns &&
	    !plan_has_waited(pl, row->path))
		due_ns = pk->since_ns + PULL_REVIVE_NS;
	if (due_ns < pk->retry_ns)
		pk->retry_ns = due_ns; /* the end of the pass sets the timer */
}

static enum pull_planned
plan_take(struct pull *pl, const struct row *row, const struct verdict *v)
{
	const enum entry_type type = v->take->entry.type;
	const struct entry *ours =
	    v->ours != NULL && !v->ours->entry.deleted ? &v->ours->entry : NULL;

	if (ours != NULL && ours->type == ENTRY_DIR)
		return PLAN_NEXT; /* the pass of deletions makes way */
	if (ours == NULL && type == ENTRY_DIR) {
		const enum pull_move m = pull_move_dir_plan(pl, row);

		if (m == PULL_MOVE_STARTED || m == PULL_MOVE_STAND)
			return PLAN_STAND;
		if ((m == PULL_MOVE_MAYBE || m == PULL_MOVE_LATER) &&
		    pull_holds(pl, m == PULL_MOVE_LATER, PULL_HOLD_DIR_NS))
			return PLAN_STAND;
	}
	switch (plan_parent(pl, row->path, plan_has_waited(pl, row->path))) {
	case PARENT_OK:
		break;
	case PARENT_LATER:
		return PLAN_NEXT; /* its end begins another pass */
	case PARENT_BLOCKED:
		plan_blocked(pl, row);
		return PLAN_NEXT;
	}
	switch (type) {
	case ENTRY_FILE:
		return plan_file(pl, row, v);
	case ENTRY_LINK:
		if (!pl->f->root.has_links)
			pull_park(pl, row->path, REASON_NO_LINKS, "");
		else if (v->kind == VERDICT_CONFLICT)
			plan_make_way(pl, row, v);
		else
			plan_make(pl, row, ITEM_LINK);
		break;
	case ENTRY_DIR:
		if (ours != NULL)
			plan_make_way(pl, row, v);
		else
			plan_make(pl, row, ITEM_DIR);
		break;
	}
	return PLAN_NEXT;
}

/* An item is at work on this path: for the version that is wanted now? */
static void
plan_known(const struct row *row, struct item *it)
{
	const struct row_version *global = row_global(row);

	it->met = true;
	if (it->state == ITEM_ENDING || global == NULL)
		return;
	if (slice_equal(it->path, row->path) &&
	    version_equal(it->entry.version, global->entry.version)) {
		it->holders = global->holders;
		fetch_hungry(it);
		return;
	}
	/* On disk, or about to be: a person's, unless the index says so. */
	if (it->kind == ITEM_DIR && (it->made || it->ops > 0))
		return;
	if (slice_equal(it->path, row->path) && !it->replace &&
	    it->kind != ITEM_MOVE_DIR)
		pull_item_cancel(it);
}

enum pull_planned
pull_plan_row(struct pull *pl, const struct row *row)
{
	struct folder *f = pl->f;
	struct item *it = pull_find(pl, row->path);
	struct verdict v;

	v = decide(row, f->cfg.mode, f->cfg.ignore_perms);
	if (it != NULL) {
		pull_park_met(pl, row->path);
		if (it->kind == ITEM_FILE && it->state != ITEM_BATCHED &&
		    brake_has(f, row, &v))
			pull_item_cancel(it); /* begun before it was too much */
		else
			plan_known(row, it);
		return PLAN_NEXT;
	}
	if ((v.kind == VERDICT_TAKE && brake_stops(f, row, &v)) ||
	    pull_park_holds(pl, row) ||
	    (v.kind == VERDICT_TAKE && pull_lacks_trash(pl, row, &v)))
		return PLAN_NEXT;
	if (v.take == NULL)
		return PLAN_NEXT;
	/* What is ignored and not here is not taken; what is here stays. */
	if (v.kind != VERDICT_NOTHING && v.kind != VERDICT_REVIVE &&
	    (v.ours == NULL || v.ours->entry.deleted) &&
	    !v.take->entry.deleted && f->ignore != NULL &&
	    ignore_test(f->ignore, row->path).ignored) {
		plan_ignored(pl, row);
		return PLAN_NEXT;
	}
	switch (v.kind) {
	case VERDICT_NOTHING:
	case VERDICT_DELETE:
		return PLAN_NEXT;
	case VERDICT_ADOPT:
		plan_adopt(pl, row);
		return PLAN_NEXT;
	case VERDICT_REVIVE:
		pull_revive(pl, row);
		return PLAN_NEXT;
	case VERDICT_META:
		plan_make(pl, row, ITEM_META);
		return PLAN_NEXT;
	case VERDICT_TAKE:
	case VERDICT_CONFLICT:
		if (pull_park_holds_above(pl, row->path))
			return PLAN_NEXT;
		return plan_take(pl, row, &v);
	}
	return PLAN_NEXT;
}

/*
 * A directory that shall go, with something in it that shall not.  The rest of
 * its deletion may still be on its way; if not, it stays, and says so.
 */
static void
plan_full_dir(struct pull *pl, const struct row *row)
{
	const struct parked *pk = map_find(&pl->parked, row->path);

	if (pk != NULL && pk->reason == REASON_DIR_NOT_EMPTY &&
	    core_now(pl->f->en).mono_ns - pk->since_ns >= PULL_REVIVE_NS &&
	    pl->f->cfg.mode == FOLDER_SEND_RECEIVE) {
		pull_revive(pl, row);
		pl->again = true;
		return;
	}
	pull_park(pl, row->path, REASON_DIR_NOT_EMPTY,
	    "it holds things that are not deleted");
}

/* The pass of deletions. */
void
pull_plan_delete(struct pull *pl, const struct row *row)
{
	struct folder *f = pl->f;
	struct item *it = pull_find(pl, row->path);
	struct verdict v;
	bool way;

	if (it != NULL) {
		it->met = true;
		pull_park_met(pl, row->path);
		return;
	}
	v = decide(row, f->cfg.mode, f->cfg.ignore_perms);
	if (brake_stops(f, row, &v) || pull_park_holds(pl, row) ||
	    pull_lacks_trash(pl, row, &v))
		return;
	way = (v.kind == VERDICT_TAKE || v.kind == VERDICT_CONFLICT) &&
	      v.ours != NULL && !v.ours->entry.deleted &&
	      v.ours->entry.type == ENTRY_DIR;
	if (v.kind != VERDICT_DELETE && !way)
		return;
	if (v.ours->entry.type == ENTRY_DIR &&
	    pull_dir_is_alive(pl, row->path)) {
		plan_full_dir(pl, row);
		return;
	}
	it = plan_item(pl, row,
	    v.ours->entry.type == ENTRY_DIR ? ITEM_RMDIR : ITEM_REMOVE);
	if (it == NULL)
		return;
	it->replace = way;
	pull_item_start(it);
}
