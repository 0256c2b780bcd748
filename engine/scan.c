/*
 * The scanner's outside: what is asked of it, when its passes begin.
 */
#include "engine/scan.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/scan_state.h"

/* A rename is told in one go, if finding it out takes no longer than this. */
#define SCAN_MOVING_MAX_NS (15 * CLOCK_S)

static void
scan_on_again(struct engine *en, void *arg)
{
	(void)en;
	scan_pass_go(arg);
}

static void
scan_on_release(struct engine *en, void *arg)
{
	(void)en;
	scan_release(arg);
}

static void
scan_init_pass(struct scan *sc, struct scan_pass *ps, bool full)
{
	ps->sc = sc;
	ps->full = full;
	core_timer_init(&ps->again, scan_on_again, ps);
	umap_init(&ps->moved);
	list_init(&ps->ask);
}

struct scan *
scan_new(struct folder *f)
{
	struct scan *sc = mem_zalloc(sizeof(*sc));

	sc->f = f;
	scan_init_pass(sc, &sc->full, true);
	scan_init_pass(sc, &sc->hints, false);
	core_map_init(f->en, &sc->hint);
	core_map_init(f->en, &sc->item);
	core_map_init(f->en, &sc->racy);
	sc->problem = omap_new();
	list_init(&sc->queue);
	core_timer_init(&sc->release, scan_on_release, sc);
	core_timer_init(&sc->retry, scan_problem_retry, sc);
	return sc;
}

void
scan_free(struct scan *sc)
{
	if (sc == NULL)
		return;
	/* An engine may be freed in the middle of everything. */
	core_timer_clear(sc->f->en, &sc->release);
	core_timer_clear(sc->f->en, &sc->retry);
	core_timer_clear(sc->f->en, &sc->full.again);
	core_timer_clear(sc->f->en, &sc->hints.again);
	scan_pass_fini(&sc->full);
	scan_pass_fini(&sc->hints);
	for (struct map_item *it = NULL;
	     (it = map_next(&sc->item, it)) != NULL;)
		scan_item_free(it->value);
	map_fini(&sc->item);
	map_fini(&sc->racy);
	map_fini(&sc->hint);
	omap_free(sc->problem);
	mem_free(sc);
}

/* Begin what is wanted and can begin. */
void
scan_start_due(struct scan *sc)
{
	if (sc->stopped || !folder_talks(sc->f) || sc->f->ignore_new != NULL)
		return;
	if (sc->full_wanted && sc->full.stage == SCAN_IDLE && sc->full.ops == 0)
		scan_pass_start(&sc->full);
	if (map_count(&sc->hint) > 0 && sc->hints.stage == SCAN_IDLE &&
	    sc->hints.ops == 0)
		scan_pass_start(&sc->hints);
}

void
scan_all(struct folder *f)
{
	if (f->scan == NULL)
		return;
	f->scan->full_wanted = true;
	scan_start_due(f->scan);
}

void
scan_go_on(struct folder *f)
{
	if (f->scan != NULL)
		scan_start_due(f->scan);
}

static void
scan_add_hint(struct scan *sc, struct slice path, bool subtree)
{
	uintptr_t flags;
	struct err err = { 0 };

	if (path.len > 0 &&
	    (path_check(path, &err) < 0 || entry_is_internal(path)))
		return;
	flags = (uintptr_t)map_find(&sc->hint, path);
	flags |= HINT_LOOK | (subtree ? HINT_SUBTREE : 0);
	map_put(&sc->hint, path, (void *)flags);
}

void
scan_hint(struct folder *f, struct slice path, bool subtree)
{
	if (f->scan == NULL || f->scan->stopped)
		return;
	scan_add_hint(f->scan, path, subtree);
	scan_start_due(f->scan);
}

void
scan_hints(struct folder *f, const struct change_hint *hint, uint32_t count)
{
	if (f->scan == NULL || f->scan->stopped)
		return;
	for (uint32_t i = 0; i < count; i++)
		scan_add_hint(f->scan, hint[i].path, hint[i].subtree);
	scan_start_due(f->scan);
}

bool
scan_is_idle(const struct folder *f)
{
	const struct scan *sc = f->scan;

	return sc == NULL ||
	       (!sc->full_wanted && sc->full.stage == SCAN_IDLE &&
		   sc->hints.stage == SCAN_IDLE && map_count(&sc->hint) == 0 &&
		   map_count(&sc->item) == 0);
}

void
scan_stop(struct folder *f)
{
	struct scan *sc = f->scan;

	sc->stopped = true;
	sc->full_wanted = false;
	core_timer_clear(f->en, &sc->release);
	core_timer_clear(f->en, &sc->retry);
	scan_pass_clear(&sc->full);
	scan_pass_clear(&sc->hints);
}

struct scan_progress
scan_progress(const struct folder *f)
{
	struct scan_progress out = { 0 };

	if (f->scan == NULL)
		return out;
	out = f->scan->progress;
	/* The pass counts what is too much to be remembered. */
	if (scan_problem_count(f) < LIMIT_SCAN_PROBLEMS)
		out.failed = scan_problem_count(f);
	return out;
}

bool
scan_holds_back(const struct folder *f)
{
	return f->scan != NULL && f->scan->moving_since_ns != 0 &&
	       core_now(f->en).mono_ns - f->scan->moving_since_ns <
		   SCAN_MOVING_MAX_NS;
}

bool
scan_has(const struct folder *f, struct slice path)
{
	return f->scan != NULL && map_find(&f->scan->item, path) != NULL;
}
