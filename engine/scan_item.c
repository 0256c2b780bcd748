/*
 * Scanning one file: hash it, and put what it is into the index.
 */
#include "blockproto/blocks.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/exchange_index.h"
#include "engine/pull.h"
#include "engine/scan_state.h"

#define SCAN_REST_MIN_NS (500 * CLOCK_MS)
#define SCAN_REST_MAX_NS CLOCK_MIN
/* A change so long before its hash was asked for is over, on any clock. */
#define SCAN_RACY_S 3
#define SCAN_RACY_MAX 4096u /* paths; then all are forgotten */
/* Files with the same first block that may be the one renamed. */
#define SCAN_NAMES 4u

bool
scan_has_local(const struct row *row)
{
	const struct row_version *v = row == NULL ? NULL : row_local(row);

	return v != NULL && !v->entry.deleted &&
	       (row->flags & ROW_IGNORED) == 0;
}

bool
scan_is_late(const struct row *row, uint64_t seq)
{
	return row != NULL && row->seq > seq && !MUTANT(MUTANT_LATE_BELIEVED);
}

struct entry
scan_entry(const struct scan *sc, struct slice path,
    const struct identity *seen)
{
	const struct folder *f = sc->f;
	struct entry e = { .name = path, .type = ENTRY_DIR };

	e.perms = seen->mode & 0777;
	e.no_perms = f->cfg.ignore_perms || !f->root.has_perms;
	e.mtime_s = seen->mtime_s;
	e.mtime_ns = seen->mtime_ns;
	if (seen->type == IDENTITY_FILE) {
		e.type = ENTRY_FILE;
		e.size = seen->size;
	} else if (seen->type == IDENTITY_LINK) {
		e.type = ENTRY_LINK;
		e.no_perms = true;
		e.perms = 0;
		e.mtime_s = 0;
		e.mtime_ns = 0;
	}
	return e;
}

/*
 * A version others already have that is just this, and that does not fall
 * behind ours: after a lost index, or when two people did the same.
 */
static const struct row_version *
scan_same_version(const struct row *row, const struct entry *e)
{
	const struct row_version *ours = row_local(row);
	const struct row_version *best = NULL;

	for (uint32_t i = 0; i < row->version_count; i++) {
		const struct row_version *v = &row->version[i];

		if (v->entry.version.count == 0 || !entry_same(&v->entry, e))
			continue;
		if (ours != NULL && !MUTANT(MUTANT_OLDER_ADOPTED) &&
		    (row->flags & ROW_LOCAL_CHANGED) == 0 &&
		    !version_covers(v->entry.version, ours->entry.version))
			continue;
		if (best == NULL || (int32_t)i == row->global)
			best = v;
	}
	return best;
}

/* The parents of what is synced are synced, ignored or not. */
static void
scan_want_parent(struct scan *sc, struct slice path)
{
	const struct slice dir = path_parent(path);
	uintptr_t flags;

	if (dir.len == 0)
		return;
	if (scan_has_local(index_row(sc->f->ix, dir, core_scratch(sc->f->en))))
		return;
	flags = (uintptr_t)map_find(&sc->hint, dir);
	map_put(&sc->hint, dir, (void *)(flags | HINT_LOOK | HINT_FORCE));
}

/*
 * Others may know of a later word of ours than we do, when our index is of a
 * backup: a person's edit is not to look older than that.
 */
static struct version
scan_above_ours(const struct row *row, struct version base, uint64_t self,
    struct arena *arena)
{
	for (uint32_t i = 0; i < row->version_count; i++)
		base = version_merge(base,
		    version_only(row->version[i].entry.version, self, arena),
		    arena);
	return base;
}

void
scan_record(struct scan *sc, const struct row *row, struct entry *e,
    const struct identity *seen)
{
	struct folder *f = sc->f;
	struct arena *scratch = core_scratch(f->en);
	const struct row_version *ours = row == NULL ? NULL : row_local(row);
	const struct row_version *same =
	    row == NULL ? NULL : scan_same_version(row, e);
	const uint64_t self = core_self_short(f->en);
	struct version base = { NULL, 0 };
	uint32_t flags = 0;
	struct effect_note *note;

	if (ours != NULL) {
		base = ours->entry.version;
		/* Of what is ignored we know what others have, not what was
		 * here: nothing was made from that. */
		if ((row->flags & ROW_IGNORED) != 0)
			base = version_only(base, self, scratch);
		else if (!e->deleted)
			e->platform = ours->entry.platform;
		if ((row->flags & ROW_IGNORED) == 0 ||
		    MUTANT(MUTANT_IGNORED_PREVIOUS))
			e->previous_blocks_hash = ours->entry.blocks_hash;
	}
	if (same != NULL) {
		e->version = same->entry.version;
		e->modified_by = same->entry.modified_by;
		e->platform = same->entry.platform;
		e->previous_blocks_hash = same->entry.previous_blocks_hash;
	} else {
		/* In a receive-only folder nobody is told this version: it
		 * only says which of theirs ours was made from. */
		if (f->cfg.mode == FOLDER_RECEIVE_ONLY)
			flags |= ROW_LOCAL_CHANGED;
		else if (row != NULL)
			base = scan_above_ours(row, base, self, scratch);
		e->version = version_bump(base, self,
		    index_stamp(f->ix,
			core_now(f->en).wall_ns / (int64_t)CLOCK_S),
		    scratch);
		e->modified_by = self;
	}
	index_put_local(f->ix, e, seen, flags);
	/* A row must not outlive a power cut that its file does not. */
	f->unflushed = true;
	if (!e->deleted)
		scan_want_parent(sc, e->name);
	pull_local_changed(f, e->name);
	if (same != NULL)
		return;
	exchange_index_revive(f, e->name);
	folder_changed(f, self, e->name);
	if (!f->settled)
		return; /* the first scan's numbers are in NOTE_SCAN */
	note = core_note(f, NOTE_LOCAL_CHANGE);
	note->path = arena_dup(scratch, e->name);
	note->action = e->deleted ? SLICE_LIT("delete") : SLICE_LIT("update");
	note->device = core_setup(f->en)->self;
}

static void
scan_item_done(struct scan_item *it)
{
	struct scan *sc = it->sc;

	map_remove(&sc->item, it->path);
	scan_item_free(it);
	scan_item_go(sc);
	scan_pass_go(&sc->full);
	scan_pass_go(&sc->hints);
}

void
scan_item_free(struct scan_item *it)
{
	core_timer_clear(it->sc->f->en, &it->timer);
	if (list_has(&it->node))
		list_remove(&it->sc->queue, &it->node);
	if (it->state == ITEM_RESTS)
		it->sc->progress.changing--;
	mem_free((void *)(uintptr_t)it->path.ptr);
	mem_free(it);
}

/* It changed while it was read: rest a while, longer each time. */
static void
scan_item_rest(struct scan_item *it)
{
	struct engine *en = it->sc->f->en;
	uint64_t ns = SCAN_REST_MIN_NS << (it->tries < 8 ? it->tries : 8);

	if (ns > SCAN_REST_MAX_NS)
		ns = SCAN_REST_MAX_NS;
	it->tries++;
	it->state = ITEM_RESTS;
	it->sc->progress.changing++;
	core_timer_set(en, &it->timer, core_now(en).mono_ns + ns);
}

static void
scan_on_rested(struct engine *en, void *arg)
{
	struct scan_item *it = arg;

	(void)en;
	it->sc->progress.changing--;
	it->state = ITEM_WAITS;
	it->again = false;
	list_add(&it->sc->queue, &it->node);
	scan_item_go(it->sc);
}

bool
scan_item_take_racy(struct scan *sc, struct slice path)
{
	return map_remove(&sc->racy, path) != NULL;
}

static void
scan_item_note_racy(struct scan_item *it, const struct identity *seen)
{
	struct map *racy = &it->sc->racy;

	if (seen->ctime_s < it->asked_wall_s - SCAN_RACY_S)
		return;
	if (map_count(racy) >= SCAN_RACY_MAX) {
		map_fini(racy);
		core_map_init(it->sc->f->en, racy);
	}
	map_put(racy, it->path, it->sc);
}

/*
 * A file that seemed new is one the index knows under another name, by its
 * inode: it was renamed, or has two names.  The hint at its old name may come a
 * moment later; what is announced waits for that look.
 */
static void
scan_item_look_behind(struct scan_item *it, const struct entry *e,
    const struct identity *seen)
{
	struct scan *sc = it->sc;
	struct folder *f = sc->f;
	struct arena *scratch = core_scratch(f->en);
	struct block_place place[SCAN_NAMES];
	uint32_t n;

	if (!it->hinted || e->block_count == 0)
		return;
	n = index_block_places(f->ix, &e->block[0], place, SCAN_NAMES, scratch);
	for (uint32_t i = 0; i < n; i++) {
		const struct row *old =
		    index_row(f->ix, place[i].path, scratch);

		if (slice_equal(place[i].path, it->path) ||
		    !scan_has_local(old) ||
		    !identity_same_object(&old->seen, seen))
			continue;
		if (sc->moving_since_ns == 0)
			sc->moving_since_ns = core_now(f->en).mono_ns;
		scan_hint(f, place[i].path, false);
	}
}

static void
scan_item_hashed(struct scan_item *it, const struct event *ev)
{
	struct scan *sc = it->sc;
	struct folder *f = sc->f;
	const struct identity *seen = &ev->u.done.seen;
	struct row *row = index_row(f->ix, it->path, core_scratch(f->en));
	struct entry e = scan_entry(sc, it->path, seen);

	if (scan_is_late(row, it->asked_seq)) {
		scan_hint(f, it->path, false);
		return;
	}
	e.block_size = ev->u.done.block_size;
	e.block = ev->u.done.hash;
	e.block_count = ev->u.done.hash_count;
	blocks_digest(e.block, e.block_count, &e.blocks_hash);
	scan_item_note_racy(it, seen);
	scan_problem_clear(sc, it->path);
	sc->progress.hashed_bytes += (uint64_t)e.size;
	if (scan_has_local(row) && entry_same(&row_local(row)->entry, &e)) {
		/* Only its inode or ctime is another: nothing to tell. */
		index_put_seen(f->ix, it->path, seen);
		return;
	}
	scan_item_look_behind(it, &e, seen);
	scan_record(sc, row, &e, seen);
}

/*
 * It could not be read.  The first time it is looked at once more: it may have
 * become a directory, or something else that is not read but is well.
 */
static void
scan_item_failed(struct scan_item *it, int code, struct slice text)
{
	struct scan *sc = it->sc;
	const bool was = scan_problem_has(sc, it->path);

	scan_problem_put(sc, it->path, scan_problem_reason(code), text);
	if (!was && scan_problem_has(sc, it->path))
		scan_hint(sc->f, it->path, false);
}

static void
scan_on_hash(struct folder *f, void *arg, const struct event *ev)
{
	struct scan_item *it = arg;
	struct scan *sc = it->sc;
	const struct slice path = it->path;

	(void)f;
	sc->hashing--;
	if (sc->stopped || it->other || pull_owns(sc->f, path)) {
		scan_item_done(it);
		return;
	}
	if (ev->u.done.code == 0) {
		/* It was whole; a hint that came meanwhile is looked into. */
		const bool again = it->again;

		scan_item_hashed(it, ev);
		if (again)
			scan_hint(sc->f, path, false);
		scan_item_done(it);
		return;
	}
	switch (ev->u.done.code) {
	case ERR_CHANGED:
		scan_item_rest(it);
		scan_item_go(sc);
		scan_pass_go(&sc->full); /* it does not wait for this one */
		return;
	case ERR_NOT_FOUND:
		scan_hint(sc->f, path, false);
		break;
	default:
		scan_item_failed(it, ev->u.done.code, ev->u.done.text);
		break;
	}
	scan_item_done(it);
}

/* A known file keeps its block size if it can: blocks stay comparable. */
static uint32_t
scan_block_size(const struct row *row, int64_t size)
{
	if (scan_has_local(row) && row_local(row)->entry.type == ENTRY_FILE)
		return blocks_size_keep(size, row_local(row)->entry.block_size);
	return blocks_size_for(size);
}

/* Begin as many hashes as may run at once. */
void
scan_item_go(struct scan *sc)
{
	struct folder *f = sc->f;

	while (!sc->stopped && sc->hashing < LIMIT_SCAN_HASHES &&
	       sc->queue.count > 0) {
		struct scan_item *it =
		    LIST_ITEM(list_first(&sc->queue), struct scan_item, node);
		const struct row *row =
		    index_row(f->ix, it->path, core_scratch(f->en));
		struct effect *ef;

		list_remove(&sc->queue, &it->node);
		it->state = ITEM_HASHES;
		it->asked_wall_s = core_now(f->en).wall_ns / (int64_t)CLOCK_S;
		it->asked_seq = index_seq(f->ix);
		it->again = false;
		sc->hashing++;
		ef = core_ask(f, EFFECT_HASH_FILE, scan_on_hash, it);
		ef->path = it->path;
		ef->u.hash.size = it->size;
		ef->u.hash.block_size = scan_block_size(row, it->size);
	}
}

void
scan_item_drop(struct scan *sc, struct slice path)
{
	struct scan_item *it = map_find(&sc->item, path);

	if (it == NULL)
		return;
	if (it->state == ITEM_HASHES) {
		it->other = true;
		return;
	}
	map_remove(&sc->item, path);
	scan_item_free(it);
}

void
scan_item_add(struct scan *sc, struct slice path, int64_t size)
{
	struct scan_item *it = map_find(&sc->item, path);

	if (it != NULL) {
		it->size = size;
		it->fresh.type = IDENTITY_ABSENT;
		it->again = it->state == ITEM_HASHES;
		it->other = false;
		return;
	}
	it = mem_zalloc(sizeof(*it));
	it->sc = sc;
	it->size = size;
	it->path = slice_of(mem_dup(path.ptr, path.len), path.len);
	core_timer_init(&it->timer, scan_on_rested, it);
	map_put(&sc->item, it->path, it);
	list_add(&sc->queue, &it->node);
	scan_item_go(sc);
}

void
scan_item_add_fresh(struct scan_pass *ps, struct slice path,
    const struct identity *seen)
{
	struct scan_item *it;

	scan_item_add(ps->sc, path, seen->size);
	it = map_find(&ps->sc->item, path);
	if (it->again)
		return; /* what is hashed may be another */
	it->fresh = *seen;
	it->hinted = !ps->full;
}
