/*
 * The pull: which rows are worked on, when, and how it looks from outside.
 *
 * Planning is a pass over the rows that need work: forward first, in path
 * order, for what is made or changed; then, when nothing is being copied from
 * what may go, backward for deletions, deepest first.  What changes meanwhile
 * asks for another pass.  A pass touches a bounded number of rows a step and
 * makes a bounded number of items; it stands still while there is no room.
 */
#include "engine/pull.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/digest.h"
#include "engine/base/hash.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/brake.h"
#include "engine/conflict.h"
#include "engine/exchange.h"
#include "engine/exchange_index.h"
#include "engine/fetch.h"
#include "engine/pull_state.h"
#include "engine/scan.h"
#include "engine/trash.h"
#include "engine/writer.h"

enum plan_result {
	PLAN_NEXT,  /* on to the next row */
	PLAN_STAND, /* stand still at this row: look again soon */
};

enum parent_state {
	PARENT_OK,      /* is there, or is being made */
	PARENT_LATER,   /* something else is done with it first */
	PARENT_BLOCKED, /* cannot be a directory now */
};

static enum plan_result plan_row(struct pull *pl, const struct row *row);
static bool pull_has_source(const struct pull *pl, const struct row_version *v);
static void plan_make(struct pull *pl, const struct row *row,
    enum item_kind kind);

void
pull_plan_soon(struct pull *pl)
{
	const uint64_t now = core_now(pl->f->en).mono_ns;

	/* At now + 1 it goes on where a step's worth of rows ended. */
	if (pl->timer.node.pos == HEAP_OUT || pl->timer.node.at_ns > now + 1)
		core_timer_set(pl->f->en, &pl->timer, now);
}

struct item *
pull_find(const struct pull *pl, struct slice path)
{
	return path.len == 0 ? NULL : map_find(&pl->items, path);
}

/* Parking */

static uint64_t
sign_version(const struct row_version *v, uint64_t seed)
{
	const struct version *vv = &v->entry.version;

	return hash_u64_seed(
	    slice_of(vv->counter, vv->count * sizeof(*vv->counter)), seed);
}

uint64_t
pull_sign(const struct row *row)
{
	uint64_t sign = row->flags + 1;

	if (row->local >= 0)
		sign = sign_version(row_local(row), sign);
	if (row->global >= 0) {
		const struct row_version *g = row_global(row);

		sign = sign_version(g, sign ^ 0x9e37u);
		/* Somebody else has it now: ask there. */
		sign = hash_u64_seed(slice_of(&g->holders, sizeof(g->holders)),
		    sign);
	}
	sign ^= row->seen.ino * 31 + (uint64_t)row->seen.ctime_ns;
	return sign ^ (uint64_t)row->seen.ctime_s << 20;
}

static void
parked_free(struct parked *pk)
{
	mem_free((void *)(uintptr_t)pk->text.ptr);
	mem_free(pk);
}

void
pull_unpark(struct pull *pl, struct slice path)
{
	struct parked *pk = map_remove(&pl->parked, path);

	if (pk != NULL)
		parked_free(pk);
}

/* How long until it is tried again. */
static uint64_t
park_wait(enum reason reason, bool refused, uint32_t tries)
{
	uint64_t ns = refused                          ? PULL_REFUSED_NS
		      : reason == REASON_LOCAL_CHANGED ? CLOCK_S
		      : reason == REASON_IO_ERROR      ? PULL_IO_NS
		      : reason == REASON_BUSY          ? PULL_IO_NS
		      : reason == REASON_DIR_NOT_EMPTY ? PULL_REVIVE_NS
						       : PULL_RETRY_NS;

	ns <<= tries < 8 ? tries : 8;
	return ns < PULL_RETRY_MAX_NS ? ns : PULL_RETRY_MAX_NS;
}

/* The row, and who is there that could serve it: another may be better. */
static uint64_t
park_sign(const struct pull *pl, const struct row *row)
{
	const struct row_version *v = row_global(row);
	uint64_t sign = pull_sign(row);

	for (uint32_t i = 0; v != NULL && i < pl->f->share_count; i++) {
		const struct share *sh = &pl->f->share[i];

		if (sh->peer != NULL && sh->remote_runs &&
		    devset_has(&v->holders, sh->slot))
			sign = (sign ^ (sh->slot + 1)) * 0x100000001b3u;
	}
	return sign;
}

static void
park_note(struct pull *pl, struct slice path, const struct parked *pk)
{
	struct folder *f = pl->f;
	struct effect_note *note = core_note(f, NOTE_ITEM_FAILED);

	note->path = arena_dup(core_scratch(f->en), path);
	note->reason = pk->reason;
	note->text = arena_dup(core_scratch(f->en), pk->text);
	log_info(core_log(f->en), "pull wait path=%s reason=%s text=\"%.*s\"",
	    path_print(core_scratch(f->en), path), reason_name(pk->reason),
	    SLICE_FMT(pk->text));
}

void
pull_park(struct pull *pl, struct slice path, enum reason reason,
    const char *text)
{
	const struct now now = core_now(pl->f->en);
	const struct arena_mark mark = arena_mark(&pl->row);
	const struct row *row = index_row(pl->f->ix, path, &pl->row);
	struct parked *pk = map_find(&pl->parked, path);
	bool is_new = pk == NULL;

	if (pk == NULL) {
		if (map_count(&pl->parked) >= PULL_PARKED_MAX)
			goto out;
		pk = mem_zalloc(sizeof(*pk));
		pk->since_wall_ns = now.wall_ns;
		pk->since_ns = now.mono_ns;
		map_put(&pl->parked, path, pk);
	} else {
		/* Another reason is another story: no long wait for it. */
		is_new = pk->reason != reason;
		pk->tries = is_new ? 0 : pk->tries + 1;
		if (is_new)
			pk->since_ns = now.mono_ns;
		mem_free((void *)(uintptr_t)pk->text.ptr);
	}
	pk->reason = reason;
	pk->text = slice_of(mem_strdup(text), strlen(text));
	pk->sign = row == NULL ? 0 : park_sign(pl, row);
	pk->refused = reason == REASON_NO_SOURCE && row != NULL &&
		      row_global(row) != NULL &&
		      pull_has_source(pl, row_global(row));
	pk->retry_ns = now.mono_ns + park_wait(reason, pk->refused, pk->tries);
	pk->pass = pl->pass_no;
	if (is_new && reason != REASON_NO_SOURCE)
		park_note(pl, path, pk);
	if (pl->retry.node.pos == HEAP_OUT ||
	    pl->retry.node.at_ns > pk->retry_ns)
		core_timer_set(pl->f->en, &pl->retry, pk->retry_ns);
out:
	arena_reset(&pl->row, mark);
}

/* Can somebody who is there serve this version now? */
static bool
pull_has_source(const struct pull *pl, const struct row_version *v)
{
	const struct folder *f = pl->f;

	for (uint32_t i = 0; i < f->share_count; i++)
		if (f->share[i].peer != NULL && f->share[i].remote_runs &&
		    devset_has(&v->holders, f->share[i].slot))
			return true;
	return false;
}

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

/* Its row is still needed, though an item is at work on it now. */
static void
pull_meet_parked(struct pull *pl, struct slice path)
{
	struct parked *pk = map_find(&pl->parked, path);

	if (pk != NULL)
		pk->pass = pl->pass_no;
}

/* Must this row still wait? */
static bool
pull_is_parked(struct pull *pl, const struct row *row)
{
	struct parked *pk = map_find(&pl->parked, row->path);

	if (pk == NULL)
		return false;
	pk->pass = pl->pass_no;
	if (pk->sign != park_sign(pl, row)) {
		pk->tries = 0;
		return false;
	}
	/* It is the parent's row that has to change: look each time. */
	if (pk->reason == REASON_PARENT_BLOCKED)
		return false;
	if (core_now(pl->f->en).mono_ns >= pk->retry_ns)
		return false;
	return pk->reason != REASON_NO_SOURCE || pk->refused ||
	       !pull_has_source(pl, row_global(row));
}

static bool
pull_parent_is_parked(const struct pull *pl, struct slice path)
{
	if (map_count(&pl->parked) == 0)
		return false;
	for (path = path_parent(path); path.len > 0; path = path_parent(path)) {
		const struct parked *pk = map_find(&pl->parked, path);

		/* One that is too full to go is there, and may stay for us. */
		if (pk != NULL && pk->reason != REASON_DIR_NOT_EMPTY)
			return true;
	}
	return false;
}

static bool
pull_is_gone(const struct pull *pl, struct slice path)
{
	const struct row *row =
	    index_row(pl->f->ix, path, core_scratch(pl->f->en));

	return row == NULL || row_local(row) == NULL ||
	       row_local(row)->entry.deleted;
}

void
pull_stir(struct pull *pl, struct slice path)
{
	if (map_count(&pl->parked) == 0)
		return;
	if (pl->f->root.folds_case && pull_is_gone(pl, path)) {
		pl->name_freed = true;
		pl->again = true;
		pull_plan_soon(pl);
	}
	for (path = path_parent(path); path.len > 0; path = path_parent(path)) {
		struct parked *pk = map_find(&pl->parked, path);

		if (pk == NULL || pk->reason != REASON_DIR_NOT_EMPTY)
			continue;
		pk->retry_ns = 0;
		pk->tries = 0;
	}
}

/* Which two names are one is the disk's affair: all that clash try again. */
static void
pull_retry_clashes(struct pull *pl)
{
	pl->name_freed = false;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;) {
		struct parked *pk = it->value;

		if (pk->reason == REASON_NAME_CLASH)
			pk->retry_ns = 0;
	}
}

/* Rows that are not needed any more need no remembering. */
static void
pull_sweep_parked(struct pull *pl)
{
	const uint64_t now = core_now(pl->f->en).mono_ns;
	uint64_t at = CLOCK_NEVER;

	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;) {
		struct parked *pk = it->value;

		if (pk->pass != pl->pass_no) {
			map_remove(&pl->parked, it->key);
			parked_free(pk);
			pl->again = true; /* for what is below it */
		} else if (pk->retry_ns > now && pk->retry_ns < at) {
			/* One that is due, and was passed over, waits for what
			 * it was passed over for. */
			at = pk->retry_ns;
		}
	}
	if (at == CLOCK_NEVER)
		core_timer_clear(pl->f->en, &pl->retry);
	else
		core_timer_set(pl->f->en, &pl->retry, at);
}

enum reason
pull_reason_of(const struct item *it, int code)
{
	switch (code) {
	case ERR_CHANGED:
		/* Nothing is there, and something is: another spelling. */
		return it->pl->f->root.folds_case &&
			       it->want.type == IDENTITY_ABSENT
			   ? REASON_NAME_CLASH
			   : REASON_LOCAL_CHANGED;
	case ERR_NOT_FOUND:
		return REASON_LOCAL_CHANGED;
	case ERR_EXISTS:
		return it->pl->f->root.folds_case ? REASON_NAME_CLASH
						  : REASON_LOCAL_CHANGED;
	case ERR_DENIED:
		return REASON_UNWRITABLE;
	case ERR_LIMIT:
		return REASON_NAME_TOO_LONG;
	case ERR_BUSY:
		return it->kind == ITEM_RMDIR ? REASON_DIR_NOT_EMPTY
					      : REASON_BUSY;
	case ERR_UNSUPPORTED:
		return it->entry.type == ENTRY_LINK ? REASON_NO_LINKS
						    : REASON_UNWRITABLE;
	case ERR_INVALID:
		return REASON_BAD_NAME;
	default:
		return REASON_IO_ERROR;
	}
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

/* Making items */

void
pull_keep_temp(struct pull *pl, struct slice temp, struct slice path)
{
	char *text = mem_zalloc(path.len + 1);

	if (path.len > 0)
		memcpy(text, path.ptr, path.len);
	mem_free(map_put(&pl->temps, temp, text));
	pl->temps_ns = core_now(pl->f->en).mono_ns;
}

bool
pull_take_temp(struct pull *pl, struct slice temp)
{
	void *path = map_remove(&pl->temps, temp);

	mem_free(path);
	return path != NULL;
}

void
pull_avoid_temp(struct pull *pl, struct slice temp)
{
	map_put(&pl->taken, temp, pl);
}

#define TEMP_NAME_LEN 32u

static void
temp_name_of(struct slice text, char name[TEMP_NAME_LEN])
{
	static const char hex[] = "0123456789abcdef";
	struct digest d;

	digest_of(text, &d);
	for (size_t i = 0; i < TEMP_NAME_LEN; i++)
		name[i] = hex[d.b[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
}

static void
temp_name(enum item_kind kind, struct slice path, struct version version,
    char name[TEMP_NAME_LEN])
{
	struct buf text = { 0 };

	buf_put_u8(&text, (uint8_t)kind);
	buf_put_str(&text, path);
	version_encode(version, &text);
	temp_name_of(buf_slice(&text), name);
	buf_fini(&text);
}

struct slice
pull_temp_name(struct item *it, struct slice path, struct version version)
{
	char name[TEMP_NAME_LEN];

	temp_name(it->kind, path, version, name);
	while (map_find(&it->pl->taken, slice_of(name, sizeof(name))) != NULL)
		temp_name_of(slice_of(name, sizeof(name)), name);
	return item_own(it, slice_of(name, sizeof(name)));
}

bool
pull_own_version(struct item *it, const struct row_version *v,
    struct entry *out)
{
	struct pull *pl = it->pl;
	const struct digest *block = v->entry.block;
	struct err err = { 0 };

	if (v->entry.type == ENTRY_FILE && !v->entry.deleted && block == NULL &&
	    v->entry.block_count > 0 &&
	    index_blocks(pl->f->ix, &v->entry, &block, &pl->row, &err) < 0) {
		folder_met_error(pl->f, err.code, slice_str(err.text));
		return false;
	}
	*out = item_own_entry(it, &v->entry, block);
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
			plan_row(pl, row);
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

/* Verdicts that cost no work on disk. */

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

/*
 * Is a peer's index still coming, so that a rename may not be whole yet?
 * `more`: by its last message's word; else when the last came `quiet_ns` ago
 * or less.
 */
bool
pull_holds(struct pull *pl, bool more, uint64_t quiet_ns)
{
	const struct folder *f = pl->f;
	const uint64_t now = core_now(f->en).mono_ns;
	uint64_t until = 0;

	for (uint32_t i = 0; i < f->share_count; i++) {
		const struct share *sh = &f->share[i];

		if (sh->peer != NULL && sh->last_index_ns > 0 &&
		    (sh->more_coming || !more) &&
		    sh->last_index_ns + quiet_ns > until)
			until = sh->last_index_ns + quiet_ns;
	}
	if (until <= now) {
		pl->hold_since_ns = 0;
		return false;
	}
	if (pl->hold_since_ns == 0)
		pl->hold_since_ns = now;
	if (now >= pl->hold_since_ns + PULL_HOLD_MAX_NS)
		return false;
	core_timer_set(f->en, &pl->timer, until);
	return true;
}

static enum plan_result
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

static enum plan_result
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

static enum plan_result
plan_row(struct pull *pl, const struct row *row)
{
	struct folder *f = pl->f;
	struct item *it = pull_find(pl, row->path);
	struct verdict v;

	v = decide(row, f->cfg.mode, f->cfg.ignore_perms);
	if (it != NULL) {
		pull_meet_parked(pl, row->path);
		if (it->kind == ITEM_FILE && it->state != ITEM_BATCHED &&
		    brake_has(f, row, &v))
			pull_item_cancel(it); /* begun before it was too much */
		else
			plan_known(row, it);
		return PLAN_NEXT;
	}
	if ((v.kind == VERDICT_TAKE && brake_stops(f, row, &v)) ||
	    pull_is_parked(pl, row) ||
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
		if (pull_parent_is_parked(pl, row->path))
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
static void
plan_delete(struct pull *pl, const struct row *row)
{
	struct folder *f = pl->f;
	struct item *it = pull_find(pl, row->path);
	struct verdict v;
	bool way;

	if (it != NULL) {
		it->met = true;
		pull_meet_parked(pl, row->path);
		return;
	}
	v = decide(row, f->cfg.mode, f->cfg.ignore_perms);
	if (brake_stops(f, row, &v) || pull_is_parked(pl, row) ||
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

/* Passes */

static bool
pull_has_room(const struct pull *pl)
{
	return pl->item_count < LIMIT_FOLDER_ITEMS &&
	       pl->block_count < PULL_BLOCKS_MAX && !pl->stopped;
}

/* New names of what is to be deleted may still be on their way. */
static bool
pull_holds_deletes(struct pull *pl)
{
	const struct need_totals need = index_need_totals(pl->f->ix, ROW_SELF);

	return need.deletes > 0 &&
	       pull_holds(pl, false,
		   need.deletes > PULL_HOLD_DELETES ? PULL_HOLD_DIR_NS
						    : PULL_HOLD_DELETE_NS);
}

/* May deletions begin: is nothing that goes still of use? */
static bool
pull_may_delete(const struct pull *pl)
{
	return pl->copying == 0 && !pl->again;
}

static void
pull_begin_pass(struct pull *pl, enum pull_pass pass)
{
	pl->pass = pass;
	buf_clear(&pl->cursor);
	if (pass == PASS_FORWARD) {
		pl->again = false;
		pl->pass_no++;
		brake_pass_began(pl->f);
		map_fini(&pl->no_move);
		if (pl->name_freed)
			pull_retry_clashes(pl);
	}
}

/* Everything that could be planned is: directories get their last touch. */
static void
pull_finish_late(struct pull *pl)
{
	struct list_node *n;

	if (pl->item_count > pl->late.count)
		return;
	/* The last made are the deepest: first. */
	while ((n = list_first(&pl->late)) != NULL)
		pull_item_finish_late(LIST_ITEM(n, struct item, node));
}

static void
pull_drop_temp(struct pull *pl, struct slice temp)
{
	struct effect *ef = core_tell(pl->f, EFFECT_DROP_TEMP);

	ef->temp = arena_dup(core_scratch(pl->f->en), temp);
	pull_take_temp(pl, temp);
}

/* In sync: what was kept to be resumed is of no use any more. */
static void
pull_drop_temps(struct folder *f, void *arg, const struct event *ev)
{
	struct pull *pl = arg;

	(void)f;
	/* Only now no intent that names one of them can come back. */
	if (ev->u.done.code != 0 || pl->stopped || pl->item_count > 0)
		return;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->temps, it)) != NULL;)
		pull_drop_temp(pl, it->key);
}

/* Is there enough in it to be worth its room on a full disk, and for what? */
static bool
pull_wants_temp(struct pull *pl, struct slice temp, struct slice path)
{
	const struct row_version *g;
	const struct row *row;
	char name[TEMP_NAME_LEN];

	if (path.len == 0)
		return true; /* of a former run: nobody knows */
	row = index_row(pl->f->ix, path, core_scratch(pl->f->en));
	g = row != NULL ? row_global(row) : NULL;
	if (g == NULL || g->entry.deleted || g->entry.type != ENTRY_FILE ||
	    g->entry.block_count < 2 || devset_has(&g->holders, ROW_SELF))
		return false;
	temp_name(ITEM_FILE, path, g->entry.version, name);
	return slice_equal(temp, slice_of(name, sizeof(name)));
}

/* The disk is full, and there is what may go before anything else is put. */
static void
pull_drop_stale_temps(struct folder *f, void *arg, const struct event *ev)
{
	struct pull *pl = arg;

	(void)f;
	if (ev->u.done.code != 0 || pl->stopped)
		return;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->temps, it)) != NULL;)
		if (!pull_wants_temp(pl, it->key, slice_str(it->value)))
			pull_drop_temp(pl, it->key);
}

static void
pull_end_pass(struct pull *pl)
{
	if (pl->make_room == ROOM_DELETES) {
		pl->make_room = ROOM_WAITS;
		pl->pass = PASS_NONE;
		pl->again = true;
		return;
	}
	if (pl->pass == PASS_FORWARD) {
		pull_begin_pass(pl, PASS_DELETE);
		return;
	}
	pl->pass = PASS_NONE;
	pull_sweep_parked(pl);
	if (!pl->again && pl->item_count == 0)
		brake_pass_ended(pl->f);
}

/* What is kept to be resumed goes after a while of being in sync. */
static void
pull_tidy_temps(struct pull *pl)
{
	const uint64_t at_ns = pl->temps_ns + PULL_TEMPS_NS;

	if (map_count(&pl->temps) == 0 || pl->pass != PASS_NONE || pl->again ||
	    pl->item_count > 0 || map_count(&pl->parked) > 0 ||
	    index_has_need(pl->f->ix))
		return; /* what ends that comes by here, too */
	if (core_now(pl->f->en).mono_ns >= at_ns)
		core_commit(pl->f, pull_drop_temps, pl);
	else
		core_timer_set(pl->f->en, &pl->retry, at_ns);
}

static const struct row *
pull_pass_row(struct pull *pl)
{
	const struct slice at = buf_slice(&pl->cursor);

	return pl->pass == PASS_FORWARD
		   ? index_next_need(pl->f->ix, at, &pl->row)
		   : index_prev_need(pl->f->ix, at, &pl->row);
}

/* Plan up to a step's worth of rows; true when there is more to do now. */
static bool
pull_plan(struct pull *pl)
{
	for (uint32_t i = 0; i < LIMIT_STEP_ROWS; i++) {
		const struct row *row;
		enum plan_result rs = PLAN_NEXT;

		if (pl->pass == PASS_NONE) {
			if (!pl->again ||
			    (pl->make_room == ROOM_WAITS && pl->item_count > 0))
				return false;
			if (pl->make_room == ROOM_WAITS)
				pl->make_room = ROOM_ENOUGH;
			/* No intent may name what goes. */
			if (pl->make_room == ROOM_DELETES &&
			    map_count(&pl->temps) > 0)
				core_commit(pl->f, pull_drop_stale_temps, pl);
			pull_begin_pass(pl, pl->make_room == ROOM_DELETES
						? PASS_DELETE
						: PASS_FORWARD);
		}
		/* A directory rename has the index for itself. */
		if (!pull_has_room(pl) || pl->move != NULL)
			return false;
		if (pl->pass == PASS_DELETE && pl->cursor.len == 0 &&
		    pull_holds_deletes(pl))
			return false;
		if (pl->pass == PASS_DELETE && pl->cursor.len == 0 &&
		    pl->make_room != ROOM_DELETES && !pull_may_delete(pl)) {
			/* Changes first: they may want what would go. */
			if (pl->copying > 0)
				return false;
			pull_begin_pass(pl, PASS_FORWARD);
		}
		arena_clear(&pl->row);
		row = pull_pass_row(pl);
		if (row == NULL) {
			pull_end_pass(pl);
			continue;
		}
		if (pl->pass == PASS_FORWARD)
			rs = plan_row(pl, row);
		else
			plan_delete(pl, row);
		if (rs == PLAN_STAND)
			return false;
		buf_clear(&pl->cursor);
		buf_put(&pl->cursor, row->path);
	}
	return true;
}

static void
pull_on_timer(struct engine *en, void *arg)
{
	struct pull *pl = arg;

	if (!folder_is_running(pl->f) || pl->stopped)
		return;
	if (pull_plan(pl))
		core_timer_set(en, &pl->timer, core_now(en).mono_ns + 1);
	pull_tidy_temps(pl);
	pull_finish_late(pl);
	fetch_pump(pl);
	writer_pump(pl->writer);
}

static void
pull_on_retry(struct engine *en, void *arg)
{
	struct pull *pl = arg;

	(void)en;
	pl->again = true;
	pull_plan_soon(pl);
}

/* Outside */

struct pull *
pull_new(struct folder *f)
{
	struct pull *pl = mem_zalloc(sizeof(*pl));

	pl->f = f;
	core_map_init(f->en, &pl->items);
	core_map_init(f->en, &pl->parked);
	core_map_init(f->en, &pl->below);
	core_map_init(f->en, &pl->owned);
	core_map_init(f->en, &pl->temps);
	core_map_init(f->en, &pl->taken);
	core_map_init(f->en, &pl->no_move);
	core_timer_init(&pl->timer, pull_on_timer, pl);
	core_timer_init(&pl->retry, pull_on_retry, pl);
	list_init(&pl->hungry);
	list_init(&pl->late);
	pl->writer = writer_new(pl);
	return pl;
}

/* Some item that is not ending yet, or, when `force`d, any. */
static struct item *
pull_some_item(const struct pull *pl, bool force)
{
	for (struct map_item *mi = NULL;
	     (mi = map_next(&pl->items, mi)) != NULL;) {
		struct item *it = mi->value;

		if (force ||
		    (it->state != ITEM_BATCHED && it->state != ITEM_ENDING))
			return it;
	}
	return NULL;
}

static void
pull_end_items(struct pull *pl, bool force)
{
	struct item *it;

	/* Ending one may end others: look afresh each time. */
	while ((it = pull_some_item(pl, force)) != NULL) {
		if (force)
			it->ops = 0;
		if (it->state == ITEM_ENDING)
			pull_item_end(it);
		else
			pull_item_cancel(it);
	}
}

void
pull_free(struct pull *pl)
{
	if (pl == NULL)
		return;
	pl->stopped = pl->freeing = true;
	writer_free(pl->writer);
	pull_end_items(pl, true);
	ASSERT(pl->item_count == 0);
	pull_move_free(pl);
	core_timer_clear(pl->f->en, &pl->timer);
	core_timer_clear(pl->f->en, &pl->retry);
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;)
		parked_free(it->value);
	map_fini(&pl->items);
	map_fini(&pl->parked);
	map_fini(&pl->below);
	map_fini(&pl->owned);
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->temps, it)) != NULL;)
		mem_free(it->value);
	map_fini(&pl->temps);
	map_fini(&pl->taken);
	map_fini(&pl->no_move);
	pull_recover_free(pl);
	pull_yield_free(pl);
	buf_fini(&pl->cursor);
	arena_fini(&pl->row);
	mem_free(pl);
}

void
pull_wake(struct folder *f)
{
	struct pull *pl = f->pull;

	if (pl == NULL || !folder_is_running(f))
		return;
	pl->stopped = false;
	pl->again = true;
	pull_plan_soon(pl);
}

void
pull_peer_down(struct folder *f, struct share *sh)
{
	(void)sh; /* what it owed was answered ERR_CLOSED */
	pull_wake(f);
}

void
pull_local_changed(struct folder *f, struct slice path)
{
	struct pull *pl = f->pull;
	struct item *it;

	if (pl == NULL)
		return;
	it = pull_find(pl, path);
	if (it != NULL)
		pull_item_cancel(it);
	pull_move_dir_changed(pl, path);
	pull_unpark(pl, path);
	pull_stir(pl, path);
	pull_wake(f);
}

void
pull_stop(struct folder *f)
{
	struct pull *pl = f->pull;

	if (pl == NULL)
		return;
	pl->stopped = true;
	if (f->reason == REASON_DISK_FULL)
		pl->make_room = ROOM_DELETES;
	pull_end_items(pl, false);
	pl->pass = PASS_NONE;
	core_timer_clear(f->en, &pl->timer);
	core_timer_clear(f->en, &pl->retry);
}

void
pull_retry(struct folder *f)
{
	struct pull *pl = f->pull;

	if (pl == NULL)
		return;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;)
		((struct parked *)it->value)->retry_ns = 0;
	pull_wake(f);
}

bool
pull_is_idle(const struct folder *f)
{
	const struct pull *pl = f->pull;

	return pl == NULL ||
	       (pl->item_count == 0 && pl->pass == PASS_NONE && !pl->again &&
		   pl->move == NULL && writer_is_idle(pl->writer));
}

struct pull_progress
pull_progress(const struct folder *f)
{
	const struct pull *pl = f->pull;
	struct pull_progress out = { 0 };

	if (pl == NULL)
		return out;
	out.items = pl->item_count;
	out.received = pl->received;
	out.failed = (uint32_t)map_count(&pl->parked);
	for (struct map_item *mi = NULL;
	     (mi = map_next(&pl->items, mi)) != NULL;) {
		const struct item *it = mi->value;

		if (it->kind != ITEM_FILE || !slice_equal(it->path, mi->key))
			continue;
		out.bytes_done += it->bytes_have;
		out.bytes_total += it->entry.size;
	}
	return out;
}

static int
problem_cmp(const void *a, const void *b)
{
	const struct pull_problem *x = a, *y = b;

	return slice_cmp(x->path, y->path);
}

uint32_t
pull_problems(const struct folder *f, struct pull_problem **out, uint32_t max,
    struct arena *arena)
{
	const struct pull *pl = f->pull;
	const size_t count = pl == NULL ? 0 : map_count(&pl->parked);
	struct pull_problem *p = arena_array(arena, count + 1, sizeof(*p));
	uint32_t n = 0;

	*out = p;
	if (pl == NULL)
		return 0;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;) {
		const struct parked *pk = it->value;

		p[n++] = (struct pull_problem){
			.path = arena_dup(arena, it->key),
			.reason = pk->reason,
			.text = arena_dup(arena, pk->text),
			.since_wall_ns = pk->since_wall_ns,
			.tries = pk->tries + 1,
		};
	}
	qsort(p, n, sizeof(*p), problem_cmp);
	return n < max ? n : max;
}

enum reason
pull_reason(const struct folder *f, struct slice path, int64_t *bytes_done,
    int64_t *bytes_total)
{
	const struct pull *pl = f->pull;
	const struct item *it = pl == NULL ? NULL : pull_find(pl, path);
	const struct parked *pk;

	*bytes_done = *bytes_total = 0;
	if (pl == NULL)
		return REASON_NONE;
	if (it != NULL) {
		*bytes_done = it->bytes_have;
		*bytes_total = it->kind == ITEM_FILE ? it->entry.size : 0;
		return it->kind == ITEM_FILE && it->state == ITEM_LOADING
			   ? REASON_RECEIVING
			   : REASON_QUEUED;
	}
	pk = map_find(&pl->parked, path);
	if (pk != NULL)
		return pk->reason;
	return pull_parent_is_parked(pl, path) ? REASON_PARENT_BLOCKED
					       : REASON_NONE;
}

bool
pull_temp_block(const struct folder *f, struct slice path, struct slice *temp,
    int64_t offset, uint32_t len)
{
	const struct pull *pl = f->pull;
	const struct item *it = pl == NULL ? NULL : pull_find(pl, path);
	int64_t no;

	if (it == NULL || it->kind != ITEM_FILE || it->block == NULL ||
	    !it->touched || it->acted || offset < 0 || len == 0 ||
	    offset >= it->entry.size || len > it->entry.size - offset)
		return false;
	for (no = offset / it->entry.block_size;
	     no * it->entry.block_size < offset + len; no++)
		if (it->block[no] != BLOCK_HAVE)
			return false;
	*temp = it->temp;
	return true;
}
