/*
 * A file of ours stands where others have a directory with things in it that
 * nobody deleted.
 *
 * The file may be the newer one, and yet it cannot have the name everywhere: a
 * Syncthing never replaces a directory that is not empty, so what is in it
 * would never come here, and the file never there.  After a while we do what a
 * person would: the file gets its conflict name.  The scanner finds both
 * changes, and what is in the directory brings the directory with it.
 */
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/conflict.h"
#include "engine/pull_state.h"
#include "engine/scan.h"

/* Whoever has the directory has tried to revive it by then. */
#define PULL_YIELD_NS (15 * CLOCK_S)
#define PULL_YIELD_BUSY_NS CLOCK_S

static struct slice
yield_own(struct slice s)
{
	return slice_of(mem_dup(s.ptr, s.len), s.len);
}

void
pull_yield_free(struct pull *pl)
{
	mem_free((void *)(uintptr_t)pl->yield_from.ptr);
	mem_free((void *)(uintptr_t)pl->yield_to.ptr);
	pl->yield_from = pl->yield_to = SLICE_EMPTY;
}

static void
yield_done(struct folder *f, void *arg, const struct event *ev)
{
	struct pull *pl = arg;

	if (ev->u.done.code == 0) {
		log_info(core_log(f->en), "pull yield path=%s to=%s",
		    path_print(core_scratch(f->en), pl->yield_from),
		    path_print(core_scratch(f->en), pl->yield_to));
		scan_hint(f, pl->yield_from, true);
		scan_hint(f, pl->yield_to, false);
	} else {
		log_info(core_log(f->en), "pull yield path=%s reason=\"%.*s\"",
		    path_print(core_scratch(f->en), pl->yield_from),
		    SLICE_FMT(ev->u.done.text));
	}
	pull_yield_free(pl);
}

/* What of ours is in the way of `path`?  NULL: nothing we may move. */
static const struct row *
yield_row(struct pull *pl, struct slice path)
{
	struct slice dir = path_parent(path);

	for (; dir.len > 0; dir = path_parent(dir)) {
		const struct row *row = index_row(pl->f->ix, dir, &pl->row);
		const struct row_version *ours =
		    row == NULL ? NULL : row_local(row);

		if (ours == NULL || ours->entry.deleted)
			continue;
		return ours->entry.type != ENTRY_DIR && row->flags == 0 &&
			       row->local == row->global
			   ? row
			   : NULL;
	}
	return NULL;
}

/* How many who hold the file, and are there, have the say before us? */
static uint32_t
yield_rank(const struct folder *f, const struct row *row)
{
	const struct devset *holders = &row_local(row)->holders;
	uint32_t rank = 0;

	for (uint32_t i = 0; i < f->share_count; i++) {
		const struct share *sh = &f->share[i];

		if (sh->peer != NULL && devset_has(holders, sh->slot) &&
		    devid_cmp(&sh->device, &core_setup(f->en)->self) < 0)
			rank++;
	}
	return rank;
}

uint64_t
pull_yield(struct pull *pl, struct slice path, uint64_t since_ns)
{
	struct folder *f = pl->f;
	const struct now now = core_now(f->en);
	const struct row *row;
	struct effect *ef;
	uint64_t due_ns;

	if (f->cfg.mode != FOLDER_SEND_RECEIVE)
		return CLOCK_NEVER;
	row = yield_row(pl, path);
	if (row == NULL)
		return CLOCK_NEVER;
	/* One at a time, and none that somebody is at. */
	if (pl->yield_from.len > 0 || pull_find(pl, row->path) != NULL ||
	    scan_has(f, row->path))
		return now.mono_ns + PULL_YIELD_BUSY_NS;
	due_ns = since_ns + PULL_YIELD_NS * (1 + yield_rank(f, row));
	if (now.mono_ns < due_ns)
		return due_ns;
	pl->yield_from = yield_own(row->path);
	pl->yield_to = yield_own(
	    conflict_name(row->path, now.wall_ns, core_setup(f->en)->zone_s,
		row_local(row)->entry.modified_by, 0, &pl->row));
	ef = core_ask(f, EFFECT_MOVE, yield_done, pl);
	ef->path = arena_dup(core_scratch(f->en), pl->yield_from);
	ef->want = row->seen;
	ef->u.move.to = arena_dup(core_scratch(f->en), pl->yield_to);
	return CLOCK_NEVER;
}
