/*
 * Parking.  See pull_park.h.
 */
#include "engine/pull_park.h"

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"

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

void
pull_park_free(struct parked *pk)
{
	mem_free((void *)(uintptr_t)pk->text.ptr);
	mem_free(pk);
}

void
pull_unpark(struct pull *pl, struct slice path)
{
	struct parked *pk = map_remove(&pl->parked, path);

	if (pk != NULL)
		pull_park_free(pk);
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

/* Its row is still needed, though an item is at work on it now. */
void
pull_park_met(struct pull *pl, struct slice path)
{
	struct parked *pk = map_find(&pl->parked, path);

	if (pk != NULL)
		pk->pass = pl->pass_no;
}

/* Must this row still wait? */
bool
pull_park_holds(struct pull *pl, const struct row *row)
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

bool
pull_park_holds_above(const struct pull *pl, struct slice path)
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
void
pull_park_retry_clashes(struct pull *pl)
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
void
pull_park_sweep(struct pull *pl)
{
	const uint64_t now = core_now(pl->f->en).mono_ns;
	uint64_t at = CLOCK_NEVER;

	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;) {
		struct parked *pk = it->value;

		if (pk->pass != pl->pass_no) {
			map_remove(&pl->parked, it->key);
			pull_park_free(pk);
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
