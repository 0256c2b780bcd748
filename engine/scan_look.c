/*
 * What is found at a name.  See scan_look.h.
 */
#include "engine/scan_look.h"

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/pull.h"

/* New files held back at most; more are hashed, moved or not. */
#define SCAN_HELD_MAX 16384u
/* More files that wait for their hash are not looked through. */
#define SCAN_PENDING_MAX 4096u

uint64_t
scan_look_key(const struct identity *id)
{
	const uint64_t k[4] = { id->ino, (uint64_t)id->size,
		(uint64_t)id->mtime_s, (uint64_t)id->mtime_ns };

	return hash_u64(slice_of(k, sizeof(k)));
}

static void
scan_add_gone(struct scan_pass *ps, struct slice path, bool below_only)
{
	*VEC_ADD(&ps->gone) = (struct scan_gone){ .path = scan_own(path),
		.seq = ps->seq,
		.below_only = below_only };
}

/* Nothing is at `path`. */
void
scan_look_missed(struct scan_pass *ps, const struct row *row, struct slice path)
{
	if (scan_is_late(row, ps->seq))
		scan_hint(ps->sc->f, path, true);
	else
		scan_add_gone(ps, path, false);
}

/* It could not be looked at. */
void
scan_look_failed(struct scan *sc, struct slice path, int code,
    struct slice text)
{
	scan_problem_put(sc, path, scan_problem_reason(code), text);
}

/*
 * A file we do not have in the index.  If a missing one has its inode, size
 * and mtime it is that one, moved: its hashes are known.
 */
bool
scan_look_moved(struct scan_pass *ps, struct slice path,
    const struct identity *seen)
{
	struct scan *sc = ps->sc;
	struct folder *f = sc->f;
	struct arena *scratch = core_scratch(f->en);
	const char *from = umap_find(&ps->moved, scan_look_key(seen));
	const struct row *old;
	const struct entry *oe;
	struct err err = { 0 };
	struct entry e;

	if (from == NULL)
		return false;
	old = index_row(f->ix, slice_str(from), scratch);
	if (!scan_has_local(old) || row_local(old)->entry.type != ENTRY_FILE ||
	    !identity_same_object(&old->seen, seen))
		return false;
	oe = &row_local(old)->entry;
	e = scan_entry(sc, path, seen);
	e.block_size = oe->block_size;
	e.block_count = oe->block_count;
	e.block = oe->block;
	e.blocks_hash = oe->blocks_hash;
	if (e.block == NULL &&
	    index_blocks(f->ix, oe, &e.block, scratch, &err) < 0)
		return false;
	scan_record(sc, index_row(f->ix, path, scratch), &e, seen);
	mem_free(umap_remove(&ps->moved, scan_look_key(seen)));
	return true;
}

static void
scan_new_file(struct scan_pass *ps, struct slice path,
    const struct identity *seen)
{
	if (ps->stage == SCAN_KNOWN && !index_is_new(ps->sc->f->ix) &&
	    ps->held.len < SCAN_HELD_MAX) {
		*VEC_ADD(&ps->held) =
		    (struct scan_found){ .path = scan_own(path),
			    .seen = *seen };
		return;
	}
	if (!scan_look_moved(ps, path, seen))
		scan_item_add_fresh(ps, path, seen);
}

/* New files of an earlier pass, not hashed yet, may be what is missing now. */
bool
scan_look_pending(struct scan_pass *ps)
{
	struct map *item = &ps->sc->item;
	bool any = false;

	if (umap_count(&ps->moved) == 0 || map_count(item) > SCAN_PENDING_MAX)
		return false;
	for (struct map_item *mi = NULL; (mi = map_next(item, mi)) != NULL;) {
		const struct scan_item *it = mi->value;

		if (it->fresh.type != IDENTITY_FILE || it->again || it->other ||
		    !scan_look_moved(ps, it->path, &it->fresh))
			continue;
		/* It was seen a while ago: is it still that? */
		scan_hint(ps->sc->f, it->path, false);
		scan_item_drop(ps->sc, it->path);
		any = true;
	}
	return any;
}

static void
scan_look_file(struct scan_pass *ps, const struct row *row, struct slice path,
    const struct identity *seen)
{
	ps->sc->progress.files++;
	if (!scan_has_local(row) || row_local(row)->entry.type != ENTRY_FILE) {
		scan_new_file(ps, path, seen);
		return;
	}
	if (!identity_same(&row->seen, seen) ||
	    (!ps->full && scan_item_take_racy(ps->sc, path)))
		scan_item_add(ps->sc, path, seen->size);
	else
		scan_problem_clear(ps->sc, path);
}

static void
scan_look_link(struct scan_pass *ps, const struct row *row, struct slice path,
    const struct identity *seen, struct slice target)
{
	struct entry e = scan_entry(ps->sc, path, seen);

	if (!ps->sc->f->root.has_links)
		return;
	scan_problem_clear(ps->sc, path);
	e.link_target = target;
	if (scan_has_local(row) && entry_same(&row_local(row)->entry, &e)) {
		if (!identity_same(&row->seen, seen))
			index_put_seen(ps->sc->f->ix, path, seen);
		return;
	}
	scan_record(ps->sc, row, &e, seen);
}

/*
 * A new directory may be an old one by another name; what is missing tells.
 * Until that is known nothing is announced (scan_holds_back()).
 */
static void
scan_add_new_dir(struct scan_pass *ps, struct slice path)
{
	struct scan *sc = ps->sc;

	*VEC_ADD(&ps->new_dir) = scan_own(path);
	if (ps->stage == SCAN_KNOWN && sc->moving_since_ns == 0 &&
	    index_local_totals(sc->f->ix).dirs > 1)
		sc->moving_since_ns = core_now(sc->f->en).mono_ns;
}

static void
scan_look_dir(struct scan_pass *ps, const struct row *row, struct slice path,
    const struct identity *seen, bool subtree)
{
	const bool known =
	    scan_has_local(row) && row_local(row)->entry.type == ENTRY_DIR;
	struct entry e = scan_entry(ps->sc, path, seen);

	ps->sc->progress.dirs++;
	if (!known || !entry_same(&row_local(row)->entry, &e))
		scan_record(ps->sc, row, &e, seen);
	else if (row->seen.ino != seen->ino || row->seen.dev != seen->dev)
		index_put_seen(ps->sc->f->ix, path, seen);
	/* One that could not be listed may be well now. */
	if (known && (subtree || scan_problem_has(ps->sc, path)))
		*VEC_ADD(&ps->known_dir) = scan_own(path);
	else if (!known)
		scan_add_new_dir(ps, path);
}

/* An ignored name: tell others once that we do not follow it any more. */
static void
scan_look_ignored(struct scan_pass *ps, const struct row *row,
    struct slice path, const struct identity *seen)
{
	struct folder *f = ps->sc->f;

	scan_problem_clear(ps->sc, path);
	if (scan_has_local(row)) {
		struct entry e = row_local(row)->entry;
		struct err err = { 0 };

		e.name = path;
		if (e.block == NULL && e.block_count > 0 &&
		    index_blocks(f->ix, &e, &e.block, core_scratch(f->en),
			&err) < 0)
			return;
		index_put_local(f->ix, &e, seen, ROW_IGNORED);
	}
	if (seen->type != IDENTITY_DIR || ignore_can_skip(f->ignore, path))
		return;
	if (ps->stage == SCAN_NEW)
		*VEC_ADD(&ps->new_dir) = scan_own(path);
	else
		*VEC_ADD(&ps->known_dir) = scan_own(path);
}

/* Is something below this ignored directory followed? */
static bool
scan_holds_wanted(struct scan_pass *ps, struct slice dir)
{
	struct folder *f = ps->sc->f;
	struct arena rows[2] = { { 0 } }; /* the row at hand and the next */
	struct slice after = SLICE_EMPTY;
	bool wanted = false;
	int at = 0;

	if (ignore_can_skip(f->ignore, dir))
		return false;
	arena_init(&rows[0]);
	arena_init(&rows[1]);
	for (uint32_t i = 0; i < LIMIT_STEP_ROWS && !wanted; i++) {
		const struct row *row =
		    index_next_below(f->ix, dir, after, &rows[at]);

		if (row == NULL)
			break;
		wanted = scan_has_local(row) &&
			 !ignore_test(f->ignore, row->path).ignored;
		after = row->path;
		at = 1 - at;
		arena_clear(&rows[at]);
	}
	arena_fini(&rows[0]);
	arena_fini(&rows[1]);
	return wanted;
}

/* Is anything of ours still alive below `path`? */
static bool
scan_lives_below(struct scan_pass *ps, struct slice path)
{
	struct index *ix = ps->sc->f->ix;
	struct arena rows[2]; /* the row at hand and the next */
	const struct row *row;
	bool lives = false;
	int at = 0;

	arena_init(&rows[0]);
	arena_init(&rows[1]);
	row = index_from(ix,
	    slice_str(arena_printf(&rows[0], "%.*s/", SLICE_FMT(path))),
	    &rows[0]);
	while (row != NULL && path_is_below(row->path, path) && !lives) {
		lives = scan_has_local(row) && !pull_owns(ps->sc->f, row->path);
		at = 1 - at;
		arena_clear(&rows[at]);
		row = index_next(ix, row->path, &rows[at]);
	}
	arena_fini(&rows[0]);
	arena_fini(&rows[1]);
	return lives;
}

/*
 * A directory became something else: what was in it is gone.  Its own row
 * changes last, in a pass of its own: a crash in between would leave rows alive
 * below what is no directory, where no scan ever looks.
 */
static bool
scan_waits_for_below(struct scan_pass *ps, const struct row *row,
    struct slice path, uint32_t flags)
{
	const bool was_dir =
	    scan_has_local(row) && row_local(row)->entry.type == ENTRY_DIR;

	if (was_dir || (flags & HINT_BELOW) != 0)
		scan_add_gone(ps, path, true);
	if (!was_dir || !scan_lives_below(ps, path))
		return false;
	ps->gone.item[ps->gone.len - 1].look_again = true;
	return true;
}

/* Do others hear of `dir` before, or with, what is new in it? */
static bool
scan_is_known_dir(struct scan *sc, struct slice dir)
{
	struct arena *scratch = core_scratch(sc->f->en);
	const struct arena_mark mark = arena_mark(scratch);
	const struct row *row =
	    dir.len == 0 ? NULL : index_row(sc->f->ix, dir, scratch);
	const bool known =
	    dir.len == 0 ||
	    (scan_has_local(row) && row_local(row)->entry.type == ENTRY_DIR);

	arena_reset(scratch, mark);
	return known;
}

/*
 * What is new here is told after the directory it is in: who heard of it alone
 * would make a directory of its own for it, which nobody deletes when both are
 * gone, or wait for a file to make way.  The directory is looked at first, and
 * what is in it again.
 */
static bool
scan_waits_for_parent(struct scan_pass *ps, const struct row *row,
    struct slice path, uint32_t asked)
{
	struct scan *sc = ps->sc;
	const struct slice dir = path_parent(path);
	uintptr_t flags;

	if (scan_has_local(row) || (asked & HINT_PARENT_KNOWN) != 0 ||
	    scan_is_known_dir(sc, dir) || MUTANT(MUTANT_CHILD_TOLD_FIRST))
		return false;
	flags = (uintptr_t)map_find(&sc->hint, dir);
	flags |= HINT_LOOK | HINT_FORCE | HINT_SUBTREE;
	map_put(&sc->hint, dir, (void *)flags);
	return true;
}

void
scan_look(struct scan_pass *ps, const struct row *row, struct slice path,
    const struct identity *seen, struct slice target, uint32_t flags)
{
	struct folder *f = ps->sc->f;

	if (pull_owns(f, path))
		return; /* we are at it ourselves; a hint comes afterwards */
	if (scan_is_late(row, ps->seq)) {
		scan_hint(f, path, true);
		return;
	}
	if (ignore_test(f->ignore, path).ignored &&
	    (seen->type != IDENTITY_DIR ||
		((flags & HINT_FORCE) == 0 && !scan_holds_wanted(ps, path)))) {
		scan_look_ignored(ps, row, path, seen);
		return;
	}
	if (scan_waits_for_parent(ps, row, path, flags))
		return;
	if (seen->type != IDENTITY_FILE)
		scan_item_drop(ps->sc, path);
	if (seen->type != IDENTITY_DIR &&
	    scan_waits_for_below(ps, row, path, flags))
		return;
	switch (seen->type) {
	case IDENTITY_FILE:
		scan_look_file(ps, row, path, seen);
		break;
	case IDENTITY_DIR:
		scan_look_dir(ps, row, path, seen,
		    ps->full || (flags & HINT_SUBTREE) != 0);
		break;
	case IDENTITY_LINK:
		scan_look_link(ps, row, path, seen, target);
		break;
	case IDENTITY_OTHER:
		scan_problem_put(ps->sc, path, REASON_BAD_TYPE,
		    SLICE_LIT("not a file, directory or symlink"));
		break;
	case IDENTITY_ABSENT:
		break;
	}
}

/* One name of a listing, with its row if there is one. */
static void
scan_entry_listed(struct scan_pass *ps, struct slice dir,
    const struct dir_entry *de, const struct row *row, uint32_t flags,
    struct arena *arena)
{
	const struct slice path = path_join(arena, dir, de->name);
	struct err err = { 0 };

	if (path_check(path, &err) < 0) {
		scan_problem_put(ps->sc, path, REASON_BAD_NAME,
		    slice_str(err.text));
		return;
	}
	if (entry_is_internal(path))
		return;
	if (de->error != 0) {
		scan_look_failed(ps->sc, path, de->error,
		    slice_str(err_name(de->error)));
		return;
	}
	if (scan_compose(ps, path, &de->seen))
		return;
	scan_look(ps, row, path, &de->seen, de->link_target, flags);
}

/*
 * Both are in byte order of base names: walk them side by side.  A row with a
 * live version of ours and no name in the listing is missing.
 */
void
scan_look_listed(struct scan_pass *ps, struct slice dir, const struct event *ev)
{
	struct folder *f = ps->sc->f;
	struct arena arena = { 0 };
	const struct dir_entry *de = ev->u.done.entry;
	uint32_t left = ev->u.done.entry_count;
	uint32_t flags = HINT_SUBTREE;
	struct slice after = SLICE_EMPTY;
	struct arena rows[2] = { { 0 } }; /* the row at hand and the next */
	struct map composed;
	int at = 0;
	struct row *row;

	arena_init(&arena);
	arena_init(&rows[0]);
	arena_init(&rows[1]);
	core_map_init(f->en, &composed);
	scan_composable(ev, dir, &composed, &arena);
	arena_clear(&arena);
	if (scan_is_known_dir(ps->sc, dir))
		flags |= HINT_PARENT_KNOWN; /* asked once for all in it */
	row = index_next_child(f->ix, dir, after, &rows[at]);
	while (row != NULL || left > 0) {
		const int cmp = row == NULL ? 1
				: left == 0
				    ? -1
				    : slice_cmp(path_base(row->path), de->name);

		if (cmp < 0) {
			if (row_local(row) != NULL &&
			    !row_local(row)->entry.deleted &&
			    !pull_owns(f, row->path) &&
			    map_find(&composed, row->path) == NULL)
				scan_look_missed(ps, row, row->path);
		} else {
			scan_entry_listed(ps, dir, de, cmp == 0 ? row : NULL,
			    flags, &arena);
			arena_clear(&arena);
			de++;
			left--;
		}
		if (cmp <= 0) {
			at = 1 - at;
			arena_clear(&rows[at]);
			row = index_next_child(f->ix, dir, path_base(row->path),
			    &rows[at]);
		}
	}
	map_fini(&composed);
	arena_fini(&arena);
	arena_fini(&rows[0]);
	arena_fini(&rows[1]);
}
