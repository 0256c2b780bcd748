/*
 * A pass of the scanner over the whole tree, or over some hints.
 * See scan_state.h for the stages.
 */
#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/exchange.h"
#include "engine/pull.h"
#include "engine/scan_look.h"
/* Missing files remembered at most, to recognise moves. */
#define SCAN_MOVED_MAX 262144u
/* No more directories are listed while this many files wait to be hashed. */
#define SCAN_QUEUE_MAX 4096u
#define SCAN_OLD_NAME_NS (60 * CLOCK_MS)
/* Two passes may find out one rename: the second is asked for so often. */
#define SCAN_RELEASE_NS (20 * CLOCK_MS)

struct slice
scan_own(struct slice s)
{
	return slice_of(mem_dup(s.ptr, s.len), s.len);
}

void
scan_disown(struct slice s)
{
	mem_free((void *)(uintptr_t)s.ptr);
}

/* --- Listings and stats --- */

struct scan_ask *
scan_ask_new(struct scan_pass *ps, struct slice path, uint32_t flags)
{
	struct scan_ask *ask = mem_alloc(sizeof(*ask));

	*ask = (struct scan_ask){ .ps = ps,
		.path = scan_own(path),
		.seq = index_seq(ps->sc->f->ix),
		.flags = flags };
	list_add(&ps->ask, &ask->node);
	ps->ops++;
	return ask;
}

static void
scan_ask_free(struct scan_ask *ask)
{
	list_remove(&ask->ps->ask, &ask->node);
	scan_disown(ask->path);
	mem_free(ask);
}

void
scan_ask_end(struct scan_ask *ask)
{
	struct scan_pass *ps = ask->ps;

	ps->ops--;
	scan_ask_free(ask);
	scan_pass_go(ps);
}

static void
scan_on_list(struct folder *f, void *arg, const struct event *ev)
{
	struct scan_ask *ask = arg;
	struct scan_pass *ps = ask->ps;

	if (ps->sc->stopped || ps->stage == SCAN_IDLE) {
		scan_ask_end(ask);
		return;
	}
	ps->seq = ask->seq;
	if (ev->u.done.code == 0) {
		scan_problem_clear(ps->sc, ask->path);
		scan_look_listed(ps, ask->path, ev);
	} else if ((ev->u.done.code == ERR_NOT_FOUND ||
		       ev->u.done.code == ERR_CHANGED) &&
		   ask->path.len > 0) {
		/* Gone meanwhile, or something else. */
		scan_hint(f, ask->path, false);
	} else if (!folder_met_error(f, ev->u.done.code, ev->u.done.text)) {
		/* Not readable is not empty: nothing in it is missing. */
		scan_look_failed(ps->sc, ask->path, ev->u.done.code,
		    ev->u.done.text);
	}
	scan_ask_end(ask);
}

/*
 * A parent of `path` is not what it was.  If it is no directory, what is below
 * it is gone, also what the index learnt of after it had learnt of the parent.
 */
static void
scan_look_above(struct scan_pass *ps, struct slice path)
{
	struct scan *sc = ps->sc;
	const struct slice dir = path_parent(path);
	uintptr_t flags = (uintptr_t)map_find(&sc->hint, dir);

	flags |= HINT_LOOK | HINT_BELOW;
	if (dir.len > 0)
		map_put(&sc->hint, dir, (void *)flags);
	scan_hint(sc->f, dir, true);
}

static void
scan_on_stat(struct folder *f, void *arg, const struct event *ev)
{
	struct scan_ask *ask = arg;
	struct scan_pass *ps = ask->ps;
	const struct slice path = ask->path;
	struct arena *scratch = core_scratch(f->en);
	struct row *row;

	if (ps->sc->stopped || ps->stage == SCAN_IDLE) {
		scan_ask_end(ask);
		return;
	}
	ps->seq = ask->seq;
	switch (ev->u.done.code) {
	case 0:
		if (scan_compose(ps, path, &ev->u.done.seen))
			break;
		row = index_row(f->ix, path, scratch);
		scan_look(ps, row, path, &ev->u.done.seen,
		    ev->u.done.link_target, ask->flags);
		break;
	case ERR_NOT_FOUND:
		scan_problem_gone(ps->sc, path);
		if (!pull_owns(f, path))
			scan_look_missed(ps, index_row(f->ix, path, scratch),
			    path);
		break;
	case ERR_CHANGED:
		scan_look_above(ps, path);
		break;
	default:
		if (!folder_met_error(f, ev->u.done.code, ev->u.done.text))
			scan_look_failed(ps->sc, path, ev->u.done.code,
			    ev->u.done.text);
		break;
	}
	scan_ask_end(ask);
}

static void
scan_list(struct scan_pass *ps, struct slice owned)
{
	struct scan_ask *ask = scan_ask_new(ps, owned, 0);
	struct effect *ef =
	    core_ask(ps->sc->f, EFFECT_LIST_DIR, scan_on_list, ask);

	ef->path = ask->path;
	scan_disown(owned);
}

static void
scan_stat(struct scan_pass *ps, struct slice path, uint32_t flags)
{
	struct scan_ask *ask = scan_ask_new(ps, path, flags);
	struct effect *ef = core_ask(ps->sc->f, EFFECT_STAT, scan_on_stat, ask);

	ef->path = ask->path;
}

/* --- Stages --- */

static void
scan_next_stage(struct scan_pass *ps, enum scan_stage stage)
{
	log_debug(core_log(ps->sc->f->en),
	    "scan stage pass=%s stage=%d gone=%zu new=%zu held=%zu moved=%zu",
	    ps->full ? "full" : "hints", (int)stage, ps->gone.len,
	    ps->new_dir.len, ps->held.len, umap_count(&ps->moved));
	ps->stage = stage;
	ps->gone_at = 0;
	scan_disown(ps->gone_after);
	ps->gone_after = SLICE_EMPTY;
}

static void
scan_on_root(struct folder *f, void *arg, const struct event *ev)
{
	struct scan_pass *ps = arg;
	enum reason r = REASON_NONE;

	ps->ops--;
	if (ps->sc->stopped || ps->stage == SCAN_IDLE) {
		scan_pass_go(ps);
		return;
	}
	if (ev->u.done.code == ERR_MISSING_ROOT)
		r = REASON_ROOT_MISSING;
	else if (ev->u.done.code == 0)
		r = folder_judge_root(f, &ev->u.done.root);
	else
		r = REASON_IO_ERROR;
	if (r != REASON_NONE) {
		folder_halt(f, r, "%.*s", SLICE_FMT(f->cfg.path));
		return;
	}
	scan_next_stage(ps, ps->stage == SCAN_ROOT ? SCAN_KNOWN : SCAN_GONE);
	scan_pass_go(ps);
}

static void
scan_check_root(struct scan_pass *ps)
{
	ps->ops++;
	core_ask(ps->sc->f, EFFECT_CHECK_ROOT, scan_on_root, ps);
}

/*
 * The next row of a missing subtree after ps->gone_after; NULL at its end.
 * "a" and "a/b" may have "a!" between them in byte order: seek past it.
 */
static struct row *
scan_next_gone(struct scan_pass *ps, const struct scan_gone *g,
    struct arena *arena)
{
	struct index *ix = ps->sc->f->ix;
	const char *below = arena_printf(arena, "%.*s/", SLICE_FMT(g->path));
	struct row *row;

	if (ps->gone_after.ptr != NULL && slice_equal(ps->gone_after, g->path))
		return NULL;
	if (ps->gone_after.ptr == NULL)
		row = index_from(ix, slice_str(below), arena);
	else
		row = index_next(ix, ps->gone_after, arena);
	if (row != NULL && path_is_below(row->path, g->path))
		return row;
	return g->below_only ? NULL : index_row(ix, g->path, arena);
}

/* Is this ours, and nothing that came there since it was looked for? */
static bool
scan_is_gone(struct scan_pass *ps, const struct scan_gone *g,
    const struct row *row)
{
	struct folder *f = ps->sc->f;

	if (!scan_has_local(row) || pull_owns(f, row->path))
		return false;
	if (!scan_is_late(row, g->seq))
		return true;
	scan_hint(f, row->path, true);
	return false;
}

/*
 * Walk the rows of what is missing, LIMIT_STEP_ROWS a step; false while there
 * is more.  `each` is called with every live row of ours.
 */
static bool
scan_walk_gone(struct scan_pass *ps,
    void (*each)(struct scan_pass *ps, const struct row *row))
{
	struct arena arena = { 0 };

	arena_init(&arena);
	for (uint32_t i = 0; i < LIMIT_STEP_ROWS; i++) {
		const struct scan_gone *g;
		struct row *row;

		if (ps->gone_at >= ps->gone.len)
			break;
		g = &ps->gone.item[ps->gone_at];
		row = scan_next_gone(ps, g, &arena);
		if (row != NULL && scan_is_gone(ps, g, row))
			each(ps, row);
		scan_disown(ps->gone_after);
		ps->gone_after =
		    row == NULL ? SLICE_EMPTY : scan_own(row->path);
		if (row == NULL)
			ps->gone_at++;
		arena_clear(&arena);
	}
	arena_fini(&arena);
	return ps->gone_at >= ps->gone.len;
}

static void
scan_remember(struct scan_pass *ps, const struct row *row)
{
	const struct row_version *v = row_local(row);

	if (v->entry.type != ENTRY_FILE ||
	    umap_count(&ps->moved) >= SCAN_MOVED_MAX)
		return;
	mem_free(umap_put(&ps->moved, scan_look_key(&row->seen),
	    mem_strdup(arena_str(core_scratch(ps->sc->f->en), row->path))));
}

static void
scan_delete(struct scan_pass *ps, const struct row *row)
{
	struct folder *f = ps->sc->f;
	const struct identity nothing = { 0 };
	struct entry e = row_local(row)->entry;

	e.name = row->path;
	e.deleted = true;
	e.size = 0;
	e.block_count = 0;
	e.block = NULL;
	e.block_size = 0;
	e.link_target = SLICE_EMPTY;
	memset(&e.blocks_hash, 0, sizeof(e.blocks_hash));
	e.mtime_s = core_now(f->en).wall_ns / (int64_t)CLOCK_S;
	scan_record(ps->sc, row, &e, &nothing);
	for (uint32_t i = 0;
	     MUTANT(MUTANT_TOMBSTONE_COLLECTED) && i < f->share_count; i++)
		if (f->share[i].peer == NULL)
			index_forget_local(f->ix, row->path);
}

static void
scan_free_moved(struct scan_pass *ps)
{
	for (struct umap_item *it = NULL;
	     (it = umap_next(&ps->moved, it)) != NULL;)
		mem_free(it->value);
	umap_fini(&ps->moved);
	umap_init(&ps->moved);
}

static void
scan_take_held(struct scan_pass *ps)
{
	uint32_t budget = LIMIT_STEP_ROWS;

	while (ps->held.len > 0 && budget-- > 0) {
		const struct scan_found found = ps->held.item[--ps->held.len];

		if (!scan_look_moved(ps, found.path, &found.seen))
			scan_item_add_fresh(ps, found.path, &found.seen);
		scan_disown(found.path);
	}
}

/* Is this pass in the middle of finding out what is missing? */
static bool
scan_is_finding(const struct scan_pass *ps)
{
	return ps->stage != SCAN_IDLE && ps->stage != SCAN_DRAIN &&
	       ps->gone.len > 0;
}

static void
scan_on_released(struct folder *f, void *arg, const struct event *ev)
{
	struct scan *sc = f->scan;

	(void)arg;
	(void)ev;
	if (sc == NULL)
		return;
	if (scan_holds_back(f) &&
	    (scan_is_finding(&sc->full) || scan_is_finding(&sc->hints))) {
		core_timer_set(f->en, &sc->release,
		    core_now(f->en).mono_ns + SCAN_RELEASE_NS);
		return;
	}
	sc->moving_since_ns = 0;
	exchange_index_grew(f);
}

/*
 * No rename is being found out any more: announce what was held back, all of
 * it in one go, so when all of it is on disk.
 */
void
scan_release(struct scan *sc)
{
	if (sc->moving_since_ns != 0)
		core_commit(sc->f, scan_on_released, NULL);
}

static void
scan_end_pass(struct scan_pass *ps)
{
	struct scan *sc = ps->sc;
	struct folder *f = sc->f;
	struct effect_note *note;

	for (size_t i = 0; i < ps->gone.len; i++)
		if (ps->gone.item[i].look_again)
			scan_hint(f, ps->gone.item[i].path, false);
	scan_pass_clear(ps);
	scan_release(sc);
	if (!ps->full)
		return;
	sc->progress.running = false;
	sc->progress.passes++;
	sc->progress.failed = (uint32_t)sc->failed_now;
	scan_problem_sweep(sc);
	sc->progress.last_end_wall_ns = core_now(f->en).wall_ns;
	f->settled = true;
	note = core_note(f, NOTE_SCAN);
	note->count = (int64_t)sc->progress.files;
	note->bytes = (int64_t)sc->progress.hashed_bytes;
	log_info(core_log(f->en),
	    "scan end folder=%s dirs=%llu files=%llu "
	    "hashed=%llu failed=%llu",
	    path_print(core_scratch(f->en), f->cfg.id),
	    (unsigned long long)sc->progress.dirs,
	    (unsigned long long)sc->progress.files,
	    (unsigned long long)sc->progress.hashed_bytes,
	    (unsigned long long)sc->failed_now);
	pull_wake(f);
}

static void
scan_go_on_next_step(struct scan_pass *ps)
{
	core_timer_set(ps->sc->f->en, &ps->again,
	    core_now(ps->sc->f->en).mono_ns);
}

static bool
scan_list_some(struct scan_pass *ps)
{
	struct scan *sc = ps->sc;

	while (ps->ops < LIMIT_SCAN_LISTS && sc->queue.count < SCAN_QUEUE_MAX &&
	       ps->known_dir.len > 0)
		scan_list(ps, ps->known_dir.item[--ps->known_dir.len]);
	if (ps->stage != SCAN_NEW)
		return ps->ops == 0 && ps->known_dir.len == 0;
	if (ps->held.len > 0) {
		scan_take_held(ps);
		scan_go_on_next_step(ps);
		return false;
	}
	while (ps->ops < LIMIT_SCAN_LISTS && sc->queue.count < SCAN_QUEUE_MAX &&
	       ps->new_dir.len > 0)
		scan_list(ps, ps->new_dir.item[--ps->new_dir.len]);
	return ps->ops == 0 && ps->known_dir.len == 0 && ps->new_dir.len == 0 &&
	       ps->held.len == 0;
}

/* Look at all that was hinted at up to now. */
static void
scan_take_hints(struct scan_pass *ps)
{
	struct scan *sc = ps->sc;

	for (struct map_item *it = NULL;
	     (it = map_next(&sc->hint, it)) != NULL;) {
		if (it->key.len == 0) {
			sc->full_wanted = true;
			continue;
		}
		scan_stat(ps, it->key, (uint32_t)(uintptr_t)it->value);
	}
	map_fini(&sc->hint);
}

/*
 * A directory appeared and none is missing: if it is an old one renamed, the
 * hint at its old name may come a moment later.
 */
static bool
scan_waits_for_old_name(struct scan_pass *ps)
{
	struct engine *en = ps->sc->f->en;

	if (ps->full || ps->waited || ps->new_dir.len == 0 ||
	    ps->gone.len > 0 || ps->sc->moving_since_ns == 0)
		return false;
	ps->waited = true;
	core_timer_set(en, &ps->again, core_now(en).mono_ns + SCAN_OLD_NAME_NS);
	return true;
}

/* The stages in their order; each returns when it waits for something. */
void
scan_pass_go(struct scan_pass *ps)
{
	struct scan *sc = ps->sc;

	if (sc->stopped || ps->stage == SCAN_IDLE)
		return;
	if (ps->stage == SCAN_KNOWN) {
		if (ps->again.node.pos != HEAP_OUT)
			return; /* it waits for an old name */
		if (ps->waited)
			scan_take_hints(ps);
		if (!scan_list_some(ps) || scan_waits_for_old_name(ps))
			return;
		scan_next_stage(ps, SCAN_MATCH);
	}
	if (ps->stage == SCAN_MATCH) {
		if ((ps->held.len > 0 || ps->new_dir.len > 0 ||
			map_count(&sc->item) > 0) &&
		    !scan_walk_gone(ps, scan_remember)) {
			scan_go_on_next_step(ps);
			return;
		}
		if (!scan_look_pending(ps) && umap_count(&ps->moved) == 0)
			scan_release(sc);
		else if (sc->moving_since_ns == 0)
			sc->moving_since_ns = core_now(sc->f->en).mono_ns;
		scan_next_stage(ps, SCAN_NEW);
	}
	if (ps->stage == SCAN_NEW) {
		if (!scan_list_some(ps))
			return;
		scan_next_stage(ps, ps->gone.len > 0 ? SCAN_PROOF : SCAN_DRAIN);
		if (ps->stage == SCAN_PROOF) {
			scan_check_root(ps);
			return;
		}
	}
	if (ps->stage == SCAN_GONE) {
		if (!scan_walk_gone(ps, scan_delete)) {
			scan_go_on_next_step(ps);
			return;
		}
		scan_next_stage(ps, SCAN_DRAIN);
	}
	if (ps->stage == SCAN_DRAIN) {
		/* Files that keep changing do not hold up the pass. */
		if (ps->full && (sc->queue.count > 0 || sc->hashing > 0))
			return;
		scan_end_pass(ps);
		scan_start_due(sc);
	}
}

void
scan_pass_start(struct scan_pass *ps)
{
	struct scan *sc = ps->sc;

	ASSERT(ps->stage == SCAN_IDLE && ps->ops == 0);
	ps->stage = SCAN_ROOT;
	umap_init(&ps->moved);
	if (ps->full) {
		sc->full_wanted = false;
		sc->failed_now = 0;
		sc->pass_no++;
		sc->progress.running = true;
		sc->progress.dirs = sc->progress.files = 0;
		sc->progress.hashed_bytes = 0;
		*VEC_ADD(&ps->known_dir) = scan_own(SLICE_LIT(""));
		scan_check_root(ps);
		return;
	}
	/* Hints: a missing root shows itself as missing names, and those are
	 * proven before they count. */
	ps->stage = SCAN_KNOWN;
	scan_take_hints(ps);
	scan_pass_go(ps);
}

void
scan_pass_clear(struct scan_pass *ps)
{
	for (size_t i = 0; i < ps->known_dir.len; i++)
		scan_disown(ps->known_dir.item[i]);
	for (size_t i = 0; i < ps->new_dir.len; i++)
		scan_disown(ps->new_dir.item[i]);
	for (size_t i = 0; i < ps->held.len; i++)
		scan_disown(ps->held.item[i].path);
	for (size_t i = 0; i < ps->gone.len; i++)
		scan_disown(ps->gone.item[i].path);
	VEC_FINI(&ps->known_dir);
	VEC_FINI(&ps->new_dir);
	VEC_FINI(&ps->held);
	VEC_FINI(&ps->gone);
	scan_free_moved(ps);
	scan_disown(ps->gone_after);
	ps->gone_after = SLICE_EMPTY;
	core_timer_clear(ps->sc->f->en, &ps->again);
	ps->waited = false;
	ps->stage = SCAN_IDLE;
}

void
scan_pass_fini(struct scan_pass *ps)
{
	struct list_node *n;

	scan_pass_clear(ps);
	umap_fini(&ps->moved);
	while ((n = list_first(&ps->ask)) != NULL)
		scan_ask_free(LIST_ITEM(n, struct scan_ask, node));
}
