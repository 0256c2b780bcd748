/*
 * Renames, recognised by content.
 *
 * A file that is new here and has the content of one that is to be deleted here
 * is that file, renamed.  A directory that is new here, and whose every entry
 * is new and equals the entry of the same name in a directory that is to be
 * deleted whole, is that directory: one rename, however much is in it, and then
 * the rows, a step's worth at a time.
 *
 *	MOVE_COMPARES -> MOVE_INTENDS -> MOVE_ACTS -> MOVE_FLUSHES
 *	    -> MOVE_REWRITES -> MOVE_COMMITS -> gone
 */
#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/fetch.h"
#include "engine/intent.h"
#include "engine/pull_state.h"
#include "engine/scan.h"

#define MOVE_PLACES 8u
/* Rows below a new directory looked at for a first file to go by. */
#define MOVE_PEEK_ROWS 64u

enum move_state {
	MOVE_COMPARES,
	MOVE_INTENDS,
	MOVE_ACTS,
	MOVE_FLUSHES,
	MOVE_REWRITES,
	MOVE_COMMITS,
};

struct move_dir {
	enum move_state state;
	struct slice from, to;     /* owned */
	struct identity want;      /* of `from` */
	struct identity seen;      /* of `to`, after */
	struct buf at_from, at_to; /* paths of the rows met last */
	uint64_t intent;
	uint64_t rows;
	bool asked;   /* the scanner wanted to look */
	bool changed; /* a person changed something in it */
	struct core_timer timer;
	struct pull *pl;
	uint64_t by_short;
	void (*resumed)(struct pull *pl);
};

static bool
path_is_at(struct slice path, struct slice dir)
{
	return slice_equal(path, dir) || path_is_below(path, dir);
}

/* Files */

/* The hash of its first block; false when it has none worth looking for. */
static bool
move_first_hash(struct pull *pl, const struct entry *e, struct digest *out)
{
	const struct digest *block = e->block;
	struct err err = { 0 };

	if (e->type != ENTRY_FILE || e->deleted || e->size == 0 ||
	    e->block_count == 0)
		return false;
	if (block == NULL &&
	    index_blocks(pl->f->ix, e, &block, &pl->row, &err) < 0)
		return false;
	*out = block[0];
	return true;
}

/* Is the row one of ours that the others deleted? */
static bool
move_is_leaving(const struct pull *pl, const struct row *row)
{
	return decide(row, pl->f->cfg.mode, pl->f->cfg.ignore_perms).kind ==
	       VERDICT_DELETE;
}

/* The same name but for the case of ASCII letters. */
static bool
move_is_respelled(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		const uint8_t x = a.ptr[i], y = b.ptr[i];
		const uint8_t lx = x >= 'A' && x <= 'Z' ? x | 32u : x;
		const uint8_t ly = y >= 'A' && y <= 'Z' ? y | 32u : y;

		if (lx != ly)
			return false;
	}
	return true;
}

static struct item *
move_item(struct pull *pl, const struct row *from, const struct row *to)
{
	struct item *it = item_new(pl, ITEM_MOVE, to->path);
	const struct row_version *ours = row_local(to);

	if (!pull_own_version(it, row_global(to), &it->entry)) {
		item_free(it);
		return NULL;
	}
	it->from = item_own(it, from->path);
	it->gone = item_own_entry(it, &row_global(from)->entry, NULL);
	it->want_from = from->seen;
	if (ours != NULL) {
		it->had = true;
		it->base = item_own_version(it, ours->entry.version);
	}
	if (pl->f->root.folds_case && move_is_respelled(from->path, to->path))
		it->want = from->seen;
	it->set_meta = !decide_same_meta(&row_local(from)->entry, &it->entry,
	    pl->f->cfg.ignore_perms);
	return it;
}

struct item *
pull_move_plan(struct pull *pl, const struct row *row, bool *wait)
{
	const struct entry *e = &row_global(row)->entry;
	struct block_place place[MOVE_PLACES];
	struct digest hash;
	uint32_t count;

	*wait = false;
	if (!move_first_hash(pl, e, &hash))
		return NULL;
	count =
	    index_block_places(pl->f->ix, &hash, place, MOVE_PLACES, &pl->row);
	for (uint32_t i = 0; i < count; i++) {
		const struct row *from;
		const struct row_version *v;

		if (place[i].block != 0 ||
		    slice_equal(place[i].path, row->path))
			continue;
		from = index_row(pl->f->ix, place[i].path, &pl->row);
		v = from == NULL ? NULL : row_local(from);
		if (v == NULL || from->flags != 0 ||
		    !decide_same_content(&v->entry, e))
			continue;
		if (!move_is_leaving(pl, from)) {
			*wait = true;
			continue;
		}
		if (pull_find(pl, from->path) == NULL &&
		    from->seen.type == IDENTITY_FILE)
			return move_item(pl, from, row);
	}
	return NULL;
}

/* Directories: finding the one it may have been */

/* "a/b/c.txt" found for "x/c.txt" below "x": was "a/b". */
static bool
move_cut(struct slice found, struct slice rel, struct slice *dir)
{
	if (found.len <= rel.len + 1 || !slice_has_suffix(found, rel) ||
	    found.ptr[found.len - rel.len - 1] != '/')
		return false;
	*dir = slice_to(found, found.len - rel.len - 1);
	return true;
}

static bool
move_is_busy_below(const struct pull *pl, struct slice dir)
{
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->items, it)) != NULL;)
		if (path_is_at(it->key, dir))
			return true;
	return false;
}

/* Could `from`, one of our directories, be what `to` is now called? */
static bool
move_fits(struct pull *pl, const struct row *to, struct slice from, bool *maybe)
{
	const struct row *row;
	const struct row_version *v;

	if (path_is_at(from, to->path) || path_is_at(to->path, from))
		return false;
	row = index_row(pl->f->ix, from, &pl->row);
	v = row == NULL ? NULL : row_local(row);
	if (v == NULL || v->entry.deleted || v->entry.type != ENTRY_DIR ||
	    row->flags != 0 || row->seen.type != IDENTITY_DIR)
		return false;
	if (!move_is_leaving(pl, row)) {
		*maybe = true;
		return false;
	}
	return !move_is_busy_below(pl, from) &&
	       !move_is_busy_below(pl, to->path);
}

/* The old name of `to`, judging by one file in it. */
static bool
move_candidate(struct pull *pl, const struct row *to, const struct row *file,
    struct slice *from, bool *maybe)
{
	const struct slice rel = slice_from(file->path, to->path.len + 1);
	struct block_place place[MOVE_PLACES];
	struct digest hash;
	uint32_t count;

	if (!move_first_hash(pl, &row_global(file)->entry, &hash))
		return false;
	count =
	    index_block_places(pl->f->ix, &hash, place, MOVE_PLACES, &pl->row);
	for (uint32_t i = 0; i < count; i++)
		if (place[i].block == 0 && move_cut(place[i].path, rel, from) &&
		    move_fits(pl, to, *from, maybe))
			return true;
	return false;
}

/* Is `row` something new here that is to be made? */
static bool
move_is_coming(const struct row *row)
{
	const struct row_version *ours = row_local(row);
	const struct row_version *global = row_global(row);

	return (ours == NULL || ours->entry.deleted) && global != NULL &&
	       !global->entry.deleted && !devset_is_empty(&global->holders);
}

static enum pull_move
move_search(struct pull *pl, const struct row *to, struct slice *from)
{
	struct slice after = SLICE_EMPTY;
	bool maybe = false;

	for (uint32_t i = 0; i < MOVE_PEEK_ROWS; i++) {
		const struct row *row =
		    index_next_below(pl->f->ix, to->path, after, &pl->row);

		if (row == NULL)
			break;
		after = row->path;
		if (!move_is_coming(row) ||
		    row_global(row)->entry.type != ENTRY_FILE ||
		    row_global(row)->entry.size == 0)
			continue;
		if (move_candidate(pl, to, row, from, &maybe))
			return PULL_MOVE_STARTED;
		return maybe ? PULL_MOVE_MAYBE : PULL_MOVE_NO;
	}
	return PULL_MOVE_LATER; /* no file to go by yet */
}

static void move_on_timer(struct engine *en, void *arg);

static struct move_dir *
move_new(struct pull *pl, struct slice from, struct slice to)
{
	struct move_dir *mv = mem_zalloc(sizeof(*mv));

	mv->pl = pl;
	mv->from = slice_of(mem_dup(from.ptr, from.len), from.len);
	mv->to = slice_of(mem_dup(to.ptr, to.len), to.len);
	core_timer_init(&mv->timer, move_on_timer, mv);
	pl->move = mv;
	return mv;
}

static void
move_go_on(struct move_dir *mv)
{
	struct engine *en = mv->pl->f->en;

	core_timer_set(en, &mv->timer, core_now(en).mono_ns + 1);
}

enum pull_move
pull_move_dir_plan(struct pull *pl, const struct row *row)
{
	const struct slice parent = path_parent(row->path);
	const struct item *dir = pull_find(pl, parent);
	struct slice from = SLICE_EMPTY;
	const struct row *up;
	enum pull_move m;

	if (map_find(&pl->no_move, row->path) != NULL || !pl->f->root.exists)
		return PULL_MOVE_NO;
	m = move_search(pl, row, &from);
	if (m != PULL_MOVE_STARTED)
		return m;
	if (dir != NULL)
		return PULL_MOVE_STAND;
	/* Both halves come in many messages: all of them first. */
	if (pull_holds(pl, true, PULL_HOLD_DIR_NS) ||
	    pull_holds(pl, false,
		pl->move_failed ? PULL_HOLD_DIR_NS : PULL_HOLD_DELETE_NS))
		return PULL_MOVE_STAND;
	if (parent.len > 0) {
		up = index_row(pl->f->ix, parent, &pl->row);
		if (up == NULL || row_local(up) == NULL ||
		    row_local(up)->entry.deleted ||
		    row_local(up)->entry.type != ENTRY_DIR)
			return PULL_MOVE_NO;
	}
	up = index_row(pl->f->ix, from, &pl->row);
	if (up == NULL || row_local(up) == NULL ||
	    !decide_same_meta(&row_local(up)->entry, &row_global(row)->entry,
		pl->f->cfg.ignore_perms))
		return PULL_MOVE_NO;
	move_new(pl, from, row->path)->want = up->seen;
	move_go_on(pl->move);
	return PULL_MOVE_STARTED;
}

/* Directories: comparing */

static void
move_end(struct move_dir *mv)
{
	struct pull *pl = mv->pl;
	struct folder *f = pl->f;
	const bool acted = mv->state >= MOVE_ACTS;

	if (mv->state == MOVE_COMPARES && !pl->move_failed &&
	    pull_holds(pl, false, PULL_HOLD_DIR_NS)) {
		pl->move_failed = true;
	} else {
		pl->move_failed = false;
		if (mv->state < MOVE_REWRITES)
			map_put(&pl->no_move, mv->to, pl);
	}
	if (mv->intent != 0 && mv->state != MOVE_COMMITS)
		index_remove_intent(f->ix, mv->intent);
	pl->move = NULL;
	if (acted && mv->asked) {
		scan_hint(f, mv->from, true);
		scan_hint(f, mv->to, true);
	}
	core_timer_clear(f->en, &mv->timer);
	buf_fini(&mv->at_from);
	buf_fini(&mv->at_to);
	mem_free((void *)(uintptr_t)mv->from.ptr);
	mem_free((void *)(uintptr_t)mv->to.ptr);
	if (mv->resumed != NULL)
		mv->resumed(pl);
	mem_free(mv);
	pl->again = true;
	pull_plan_soon(pl);
}

void
pull_move_free(struct pull *pl)
{
	struct move_dir *mv = pl->move;

	if (mv == NULL)
		return;
	core_timer_clear(pl->f->en, &mv->timer);
	buf_fini(&mv->at_from);
	buf_fini(&mv->at_to);
	mem_free((void *)(uintptr_t)mv->from.ptr);
	mem_free((void *)(uintptr_t)mv->to.ptr);
	mem_free(mv);
	pl->move = NULL;
}

/* The next row below `dir` that matters: here now, or coming. */
static const struct row *
move_next(struct pull *pl, struct slice dir, struct buf *at, bool coming,
    uint32_t *budget)
{
	const struct row *row;

	while (*budget > 0 && (row = index_next_below(pl->f->ix, dir,
				   buf_slice(at), &pl->row)) != NULL) {
		const struct row_version *ours = row_local(row);

		--*budget;
		buf_clear(at);
		buf_put(at, row->path);
		if (ours != NULL && !ours->entry.deleted)
			return row;
		if (coming && move_is_coming(row))
			return row;
	}
	return NULL;
}

static bool
move_pair_fits(const struct move_dir *mv, const struct row *a,
    const struct row *b)
{
	const struct pull *pl = mv->pl;
	const struct entry *have, *want;

	if (!slice_equal(slice_from(a->path, mv->from.len),
		slice_from(b->path, mv->to.len)))
		return false;
	if (a->flags != 0 || b->flags != 0 || !move_is_leaving(pl, a) ||
	    !move_is_coming(b))
		return false;
	have = &row_local(a)->entry;
	want = &row_global(b)->entry;
	return decide_same_content(have, want) &&
	       decide_same_meta(have, want, pl->f->cfg.ignore_perms) &&
	       !ignore_test(pl->f->ignore, b->path).ignored;
}

static void move_intend(struct move_dir *mv);

/* Both subtrees side by side: every name in both, and equal. */
static void
move_compare(struct move_dir *mv)
{
	struct pull *pl = mv->pl;
	uint32_t seen = 0;

	while (seen < LIMIT_STEP_ROWS) {
		const struct row *a, *b;
		/* More dead rows than this in a run are not worth it. */
		uint32_t left_a = LIMIT_STEP_ROWS, left_b = LIMIT_STEP_ROWS;

		arena_clear(&pl->row);
		a = move_next(pl, mv->from, &mv->at_from, false, &left_a);
		b = move_next(pl, mv->to, &mv->at_to, true, &left_b);
		if (left_a > 0 && left_b > 0 && a == NULL && b == NULL) {
			move_intend(mv);
			return;
		}
		if (a == NULL || b == NULL || !move_pair_fits(mv, a, b)) {
			log_debug(core_log(pl->f->en),
			    "pull no-move from=%s to=%s at=%s with=%s",
			    path_print(core_scratch(pl->f->en), mv->from),
			    path_print(core_scratch(pl->f->en), mv->to),
			    a == NULL
				? "-"
				: path_print(core_scratch(pl->f->en), a->path),
			    b == NULL
				? "-"
				: path_print(core_scratch(pl->f->en), b->path));
			move_end(mv);
			return;
		}
		mv->rows++;
		seen += 2 * LIMIT_STEP_ROWS - left_a - left_b;
	}
	move_go_on(mv);
}

/* Directories: acting */

static void
move_flushed(struct folder *f, void *arg, const struct event *ev)
{
	struct move_dir *mv = arg;

	if (ev->u.done.code != 0) {
		/* As in writer.c: recovery tells, when the folder is back. */
		mv->intent = 0;
		folder_halt(f, REASON_IO_ERROR, "flush: %.*s",
		    SLICE_FMT(ev->u.done.text));
		move_end(mv);
		return;
	}
	mv->state = MOVE_REWRITES;
	buf_clear(&mv->at_from);
	move_go_on(mv);
}

static void
move_acted(struct folder *f, void *arg, const struct event *ev)
{
	struct move_dir *mv = arg;
	struct arena *scratch = core_scratch(f->en);
	struct slice *dir;
	struct effect *ef;

	if (ev->u.done.code != 0) {
		mv->asked = true;
		folder_met_error(f, ev->u.done.code, ev->u.done.text);
		move_end(mv);
		return;
	}
	mv->seen = ev->u.done.seen;
	mv->state = MOVE_FLUSHES;
	dir = arena_array(scratch, 2, sizeof(*dir));
	/* The old one first, as in writer.c. */
	dir[0] = arena_dup(scratch, path_parent(mv->from));
	dir[1] = arena_dup(scratch, path_parent(mv->to));
	ef = core_ask(f, EFFECT_SYNC_DIRS, move_flushed, mv);
	ef->u.sync.name = dir;
	ef->u.sync.count = 2;
}

static void
move_intended(struct folder *f, void *arg, const struct event *ev)
{
	struct move_dir *mv = arg;
	struct effect *ef;

	if (ev->u.done.code != 0 || mv->changed || mv->pl->stopped) {
		move_end(mv);
		return;
	}
	mv->state = MOVE_ACTS;
	ef = core_ask(f, EFFECT_MOVE, move_acted, mv);
	ef->path = arena_dup(core_scratch(f->en), mv->from);
	ef->want = mv->want;
	ef->u.move.to = arena_dup(core_scratch(f->en), mv->to);
}

static void
move_intend(struct move_dir *mv)
{
	struct folder *f = mv->pl->f;
	struct buf record = { 0 };
	const struct intent in = {
		.kind = INTENT_MOVE_DIR,
		.path = mv->to,
		.from = mv->from,
		.base = mv->want,
	};

	if (mv->changed || mv->pl->stopped) {
		move_end(mv);
		return;
	}
	mv->state = MOVE_INTENDS;
	intent_encode(&in, &record);
	mv->intent = index_put_intent(f->ix, buf_slice(&record));
	buf_fini(&record);
	core_commit(f, move_intended, mv);
}

/* Directories: rows */

static void
move_done(struct folder *f, void *arg, const struct event *ev)
{
	struct move_dir *mv = arg;
	struct effect_note *note = core_note(f, NOTE_REMOTE_CHANGE);

	(void)ev;
	note->path = arena_dup(core_scratch(f->en), mv->to);
	note->action = SLICE_LIT("move");
	note->count = (int64_t)mv->rows;
	folder_changed(f, mv->by_short, mv->to);
	log_info(core_log(f->en), "pull move-dir from=%s to=%s rows=%llu",
	    path_print(core_scratch(f->en), mv->from),
	    path_print(core_scratch(f->en), mv->to),
	    (unsigned long long)mv->rows);
	move_end(mv);
}

/*
 * While we moved it, the others deleted or changed it at its new name.  What
 * we have there is what it was before that, whatever its version: then the
 * change is taken from them as any other, where the scan would find a person's
 * new file in what only came late.
 */
static struct entry
move_entry_before(const struct move_dir *mv, const struct row *a,
    struct slice path, const struct entry *now)
{
	struct entry e = row_local(a)->entry;

	e.name = path;
	e.version = version_before(now->version, &mv->pl->row);
	return e;
}

/* What was at `a` is at its new name: both rows say so. */
static void
move_row(struct move_dir *mv, const struct row *a, const struct identity *seen)
{
	struct pull *pl = mv->pl;
	struct index *ix = pl->f->ix;
	const struct slice path =
	    path_rebase(&pl->row, a->path, mv->from, mv->to);
	const struct row *b = index_row(ix, path, &pl->row);
	static const struct identity absent;
	const struct entry *e;
	const struct digest *block;
	struct entry whole, before;
	struct err err = { 0 };

	/* After a crash, what differs is left to the scan. */
	if (b == NULL || !move_is_leaving(pl, a) || row_global(b) == NULL ||
	    (row_local(b) != NULL && !row_local(b)->entry.deleted))
		return;
	e = &row_global(b)->entry;
	if (!move_is_coming(b) ||
	    !decide_same_content(&row_local(a)->entry, e) ||
	    !decide_same_meta(&row_local(a)->entry, e,
		pl->f->cfg.ignore_perms)) {
		before = move_entry_before(mv, a, path, e);
		e = &before;
	}
	block = e->block;
	if (e->type == ENTRY_FILE && block == NULL && e->block_count > 0 &&
	    index_blocks(ix, e, &block, &pl->row, &err) < 0)
		return;
	whole = *e;
	whole.block = block;
	mv->by_short = e->modified_by;
	index_put_local(ix, &whole, seen, 0);
	index_put_local(ix, &row_global(a)->entry, &absent, 0);
}

static void
move_rewrite(struct move_dir *mv)
{
	struct pull *pl = mv->pl;
	struct index *ix = pl->f->ix;
	uint32_t budget = LIMIT_STEP_ROWS / 2;
	const struct row *a;

	if (mv->at_from.len == 0) {
		a = index_row(ix, mv->from, &pl->row);
		if (a != NULL && row_local(a) != NULL)
			move_row(mv, a, &mv->seen);
	}
	while (budget > 0) {
		arena_clear(&pl->row);
		a = move_next(pl, mv->from, &mv->at_from, false, &budget);
		if (a != NULL) {
			move_row(mv, a, &a->seen);
			continue;
		}
		if (budget == 0)
			break;
		/* The intent goes with the last rows. */
		mv->state = MOVE_COMMITS;
		index_remove_intent(ix, mv->intent);
		core_commit(pl->f, move_done, mv);
		return;
	}
	move_go_on(mv);
}

static void
move_on_timer(struct engine *en, void *arg)
{
	struct move_dir *mv = arg;

	(void)en;
	if (mv->state == MOVE_REWRITES) {
		move_rewrite(mv); /* also when stopping: it is done on disk */
		return;
	}
	ASSERT(mv->state == MOVE_COMPARES);
	if (mv->changed || mv->pl->stopped)
		move_end(mv);
	else
		move_compare(mv);
}

void
pull_move_dir_resume(struct pull *pl, struct slice from, struct slice to,
    const struct identity *seen, uint64_t intent, void (*done)(struct pull *pl))
{
	struct move_dir *mv = move_new(pl, from, to);

	mv->state = MOVE_REWRITES;
	mv->seen = *seen;
	mv->intent = intent;
	mv->asked = true;
	mv->resumed = done;
	move_go_on(mv);
}

bool
pull_move_dir_owns(struct pull *pl, struct slice path)
{
	struct move_dir *mv = pl->move;

	if (mv == NULL || mv->state < MOVE_ACTS ||
	    (!path_is_at(path, mv->from) && !path_is_at(path, mv->to)))
		return false;
	mv->asked = true;
	return true;
}

void
pull_move_dir_changed(struct pull *pl, struct slice path)
{
	struct move_dir *mv = pl->move;

	if (mv != NULL &&
	    (path_is_at(path, mv->from) || path_is_at(path, mv->to)))
		mv->changed = true;
}
