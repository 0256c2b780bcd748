/*
 * One item, from plan to end.  See item.h for its states.
 */
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/exchange.h"
#include "engine/exchange_index.h"
#include "engine/fetch.h"
#include "engine/pull_park.h"
#include "engine/pull_state.h"
#include "engine/reuse.h"
#include "engine/scan.h"
#include "engine/writer.h"

/* Marks in pl->owned. */
static char mark_quiet, mark_asked;

void
pull_own(struct pull *pl, struct slice path)
{
	if (map_find(&pl->owned, path) == NULL)
		map_put(&pl->owned, path, &mark_quiet);
}

void
pull_disown(struct pull *pl, struct slice path)
{
	/* Somebody wanted to look while we were at it: look now. */
	if (map_remove(&pl->owned, path) == &mark_asked && !pl->freeing &&
	    !MUTANT(MUTANT_HINT_FORGOTTEN))
		scan_hint(pl->f, path, true);
}

bool
pull_owns(struct folder *f, struct slice path)
{
	struct pull *pl = f->pull;

	if (pl == NULL || MUTANT(MUTANT_OWN_WORK_SCANNED))
		return false;
	if (map_find(&pl->owned, path) != NULL) {
		map_put(&pl->owned, path, &mark_asked);
		return true;
	}
	return pull_move_dir_owns(pl, path);
}

/* How many items take things out of the directory `path` is in. */
static void
item_enter_below(struct pull *pl, struct slice path)
{
	const struct slice dir = path_parent(path);
	struct below *b = map_find(&pl->below, dir);

	if (b == NULL) {
		b = mem_zalloc(sizeof(*b));
		map_put(&pl->below, dir, b);
	}
	b->count++;
}

static void
item_leave_below(struct pull *pl, struct slice path)
{
	const struct slice dir = path_parent(path);
	struct below *b = map_find(&pl->below, dir);
	struct item *waits;

	ASSERT(b != NULL && b->count > 0);
	if (--b->count > 0)
		return;
	waits = b->waits;
	map_remove(&pl->below, dir);
	mem_free(b);
	if (waits != NULL && !pl->freeing) /* then there is no writer */
		pull_item_loaded(waits);
}

static bool
item_empties(const struct item *it)
{
	return it->kind == ITEM_REMOVE || it->kind == ITEM_RMDIR;
}

static void
item_register(struct item *it)
{
	struct pull *pl = it->pl;
	void *was = map_put(&pl->items, it->path, it);

	ASSERT(was == NULL);
	if (it->from.len > 0) {
		was = map_put(&pl->items, it->from, it);
		ASSERT(was == NULL);
		item_enter_below(pl, it->from);
	}
	if (item_empties(it))
		item_enter_below(pl, it->path);
	pl->item_count++;
	pl->block_count += it->entry.block_count;
}

/* It leaves the maps, and is gone when nothing is due to it. */
static void
item_unregister(struct item *it)
{
	struct pull *pl = it->pl;

	ASSERT(it->ops == 0);
	/* A directory that never came to the writer.  One that was made while
	 * the pull stopped keeps its intent: the next start understands it. */
	if (it->kind == ITEM_DIR && !it->acted && it->intent != 0 &&
	    !pl->freeing && (!it->made || !pl->stopped))
		index_remove_intent(pl->f->ix, it->intent);
	map_remove(&pl->items, it->path);
	pl->item_count--;
	pl->block_count -= it->entry.block_count;
	if (it->from.len > 0) {
		map_remove(&pl->items, it->from);
		item_leave_below(pl, it->from);
	}
	if (item_empties(it))
		item_leave_below(pl, it->path);
	pull_disown(pl, it->path);
	if (it->from.len > 0)
		pull_disown(pl, it->from);
	/* A deletion that came meanwhile has not seen what was put. */
	if (!item_empties(it) && !pl->freeing && !pl->stopped &&
	    folder_talks(pl->f))
		exchange_index_revive(pl->f, it->path);
	pl->again = pl->again || it->met;
	reuse_free(it);
	pull_rmdir_free(it);
	item_free(it);
	/* There is room for another, or a child may be planned now. */
	pull_plan_soon(pl);
}

static void
item_unlist(struct item *it)
{
	struct pull *pl = it->pl;

	fetch_unlist(it);
	if (it->late && list_has(&it->node)) {
		list_remove(&pl->late, &it->node);
	} else if (it->state == ITEM_HELD && list_has(&it->node)) {
		struct item *dir = pull_find(pl, path_parent(it->path));

		if (dir != NULL)
			list_remove(&dir->held, &it->node);
	} else if (it->state == ITEM_READY) {
		writer_remove(pl->writer, it);
	}
	if (it->kind == ITEM_RMDIR && it->state == ITEM_HELD) {
		struct below *b = map_find(&pl->below, it->path);

		if (b != NULL)
			b->waits = NULL;
	}
}

/* Those who waited for this directory: on with them, or give them up. */
static void
item_release_held(struct item *it)
{
	struct list_node *n;

	while ((n = list_first(&it->held)) != NULL) {
		struct item *child = LIST_ITEM(n, struct item, node);

		list_remove(&it->held, n);
		if (it->made && !it->pl->freeing)
			pull_item_loaded(child);
		else
			pull_item_cancel(child);
	}
}

void
pull_item_end(struct item *it)
{
	item_unlist(it);
	item_release_held(it);
	fetch_stop(it);
	it->state = ITEM_ENDING;
	if (it->ops == 0)
		item_unregister(it);
}

bool
pull_item_answered(struct item *it)
{
	ASSERT(it->ops > 0);
	it->ops--;
	if (it->state != ITEM_ENDING)
		return false;
	if (it->ops == 0)
		item_unregister(it);
	return true;
}

void
pull_item_cancel(struct item *it)
{
	if (it->state == ITEM_ENDING)
		return;
	if (it->state == ITEM_BATCHED) {
		it->stale = true; /* the writer sees to it */
		return;
	}
	fetch_keep_temp(it);
	it->pl->again = true;
	pull_item_end(it);
}

void
pull_item_fail(struct item *it, enum reason reason, const char *text)
{
	struct pull *pl = it->pl;

	pull_park(pl, it->path, reason, text);
	fetch_keep_temp(it);
	pull_item_end(it);
}

/* What is on disk is not what the index says. */
static void
item_look_again(const struct item *it)
{
	scan_hint(it->pl->f, it->path, false);
	if (it->from.len > 0)
		scan_hint(it->pl->f, it->from, false);
}

void
pull_item_error(struct item *it, int code, struct slice text)
{
	struct pull *pl = it->pl;
	struct folder *f = pl->f;
	char why[200];
	bool halts;

	/* A folder that halts ends its items, this one too: it must live. */
	it->ops++;
	halts = code == ERR_CLOSED || folder_met_error(f, code, text);
	if (pull_item_answered(it))
		return;
	if (halts) {
		pull_item_cancel(it);
		return;
	}
	snprintf(why, sizeof(why), "%.*s",
	    (int)(text.len < sizeof(why) ? text.len : sizeof(why) - 1),
	    (const char *)text.ptr);
	if (code == ERR_CHANGED || code == ERR_EXISTS || code == ERR_NOT_FOUND)
		item_look_again(it);
	pull_item_fail(it, pull_reason_of(it, code), why);
}

static struct effect_meta
item_meta(const struct item *it)
{
	const struct entry *e = &it->entry;

	return (struct effect_meta){
		.set_perms = !e->no_perms && !it->pl->f->cfg.ignore_perms,
		.perms = e->perms & 0777u,
		.set_mtime = e->type == ENTRY_FILE,
		.mtime_s = e->mtime_s,
		.mtime_ns = e->mtime_ns,
	};
}

static void
item_late_done(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;

	(void)f;
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code != 0) {
		pull_item_error(it, ev->u.done.code, ev->u.done.text);
		return;
	}
	it->seen = ev->u.done.seen;
	it->acted = true;
	writer_add(it->pl->writer, it);
}

void
pull_item_finish_late(struct item *it)
{
	struct effect *ef;

	list_remove(&it->pl->late, &it->node);
	it->late = false;
	ef = core_ask(it->pl->f, EFFECT_SET_META, item_late_done, it);
	ef->path = arena_dup(core_scratch(it->pl->f->en), it->path);
	ef->want = it->seen;
	ef->u.meta = item_meta(it);
	it->ops++;
}

static void
item_dir_done(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;
	const int code = ev->u.done.code;

	it->made = code == 0;
	if (pull_item_answered(it))
		return;
	if (code == ERR_EXISTS && it->implicit) {
		/* It is there, only the index does not know yet. */
		it->made = true;
		scan_hint(f, it->path, false);
		pull_item_end(it);
		return;
	}
	if (code != 0) {
		pull_item_error(it, code, ev->u.done.text);
		return;
	}
	it->seen = ev->u.done.seen;
	if (it->late) {
		it->state = ITEM_HELD;
		list_add(&it->pl->late, &it->node);
		pull_plan_soon(it->pl); /* it may be all there is */
	} else {
		it->acted = true;
		writer_add(it->pl->writer, it);
	}
	item_release_held(it);
}

static void
item_ask_dir(struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect *ef = core_ask(f, EFFECT_MAKE_DIR, item_dir_done, it);
	struct effect_meta meta = item_meta(it);

	it->ops++;
	/* Nothing could be put in it: it gets these permissions later. */
	if (meta.set_perms && (meta.perms & 0300u) != 0300u) {
		meta.perms |= 0700u;
		it->late = true;
	}
	ef->path = arena_dup(core_scratch(f->en), it->path);
	ef->u.meta = meta;
}

static void
item_dir_intended(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;

	(void)f;
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code != 0)
		pull_item_cancel(it);
	else
		item_ask_dir(it);
}

static void
item_make_dir(struct item *it)
{
	it->state = ITEM_LOADING;
	pull_own(it->pl, it->path);
	if (it->implicit) {
		item_ask_dir(it); /* its version is made with it */
		return;
	}
	writer_intend_dir(it->pl->writer, it);
	core_commit(it->pl->f, item_dir_intended, it);
	it->ops++;
}

void
pull_item_loaded(struct item *it)
{
	struct pull *pl = it->pl;
	struct item *dir = pull_find(pl, path_parent(it->path));

	if (it->kind == ITEM_RMDIR) {
		struct below *b = map_find(&pl->below, it->path);

		if (b != NULL && b->count > 0) {
			it->state = ITEM_HELD;
			b->waits = it;
			return;
		}
	} else if (dir != NULL && dir->kind == ITEM_DIR && !dir->made) {
		if (dir->state == ITEM_ENDING) {
			pull_item_cancel(it);
			return;
		}
		it->state = ITEM_HELD;
		list_add(&dir->held, &it->node);
		return;
	}
	if (it->kind == ITEM_DIR)
		item_make_dir(it);
	else
		writer_add(pl->writer, it);
}

void
pull_item_start(struct item *it)
{
	item_register(it);
	if (it->kind == ITEM_FILE)
		fetch_start(it);
	else
		pull_item_loaded(it);
}
