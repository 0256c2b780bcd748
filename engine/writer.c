/*
 * The writer.  See writer.h.
 *
 * A batch goes
 *
 *	STAGING  temps are flushed
 *	INTENDED intents are being committed
 *	ACTING   names are changed
 *	NAMED    waits for earlier batches
 *	FLUSHING directories are flushed
 *	PUTTING  rows are being committed
 *	CLEANING what was taken off the names goes to the trash can
 *	FILING   its directories are flushed
 *
 * and is freed.  An item that fails on the way leaves its batch at once; what
 * happened to the others does not depend on it.
 */
#include "engine/writer_state.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/conflict.h"
#include "engine/pull_park.h"

/* Batches under way at once; more would only hold more temps. */
#define WRITER_BATCHES_MAX 4u
#define WRITER_BATCH_ITEMS LIMIT_STEP_ROWS
/* While one is under way the next gathers as many: flushes cost the same. */
#define WRITER_BATCH_WORTH 256u

static void batch_let(struct list_node *next);

struct writer *
writer_new(struct pull *pl)
{
	struct writer *wr = mem_zalloc(sizeof(*wr));

	wr->pl = pl;
	list_init(&wr->ready);
	list_init(&wr->batches);
	return wr;
}

/* The folder closed over them; the index tells the rest. */
static void
writer_end_items(struct list *items)
{
	struct list_node *n;

	while ((n = list_first(items)) != NULL) {
		struct item *it = ITEM_OF(n);

		/* Here: an item that ends later would look for its list. */
		list_remove(items, n);
		it->batch = NULL;
		it->ops = 0;
		it->state = ITEM_ENDING;
		pull_item_end(it);
	}
}

void
writer_free(struct writer *wr)
{
	struct list_node *n;

	while ((n = list_first(&wr->batches)) != NULL) {
		struct batch *b = LIST_ITEM(n, struct batch, node);

		writer_end_items(&b->items);
		list_remove(&wr->batches, n);
		mem_free(b);
	}
	writer_end_items(&wr->ready);
	buf_fini(&wr->record);
	mem_free(wr);
}

bool
writer_is_idle(const struct writer *wr)
{
	return wr->ready.count == 0 && wr->batches.count == 0;
}

void
writer_add(struct writer *wr, struct item *it)
{
	it->state = ITEM_READY;
	list_add(&wr->ready, &it->node);
	/* At the end of the step: what else becomes ready goes along. */
	pull_plan_soon(wr->pl);
}

void
writer_remove(struct writer *wr, struct item *it)
{
	list_remove(&wr->ready, &it->node);
}

void
writer_leave(struct batch *b, struct item *it)
{
	list_remove(&b->items, &it->node);
	it->batch = NULL;
	it->state = ITEM_LOADING;
}

struct slice
writer_conflict_name(const struct item *it)
{
	struct folder *f = it->pl->f;

	return conflict_name(it->path, core_now(f->en).wall_ns,
	    core_setup(f->en)->zone_s, it->entry.modified_by, it->keep_tries,
	    core_scratch(f->en));
}

void
writer_disown(struct item *it)
{
	pull_disown(it->pl, it->path);
	if (it->from.len > 0)
		pull_disown(it->pl, it->from);
	if (it->keep.len > 0)
		pull_disown(it->pl, it->keep);
}

/* Not done, and nothing happened: it leaves, and its path is free again. */
static void
batch_abandon(struct batch *b, struct item *it)
{
	writer_drop_intent(it);
	writer_leave(b, it);
	writer_disown(it);
	pull_item_cancel(it);
}

void
writer_fail(struct batch *b, struct item *it, int code, struct slice text)
{
	writer_drop_intent(it);
	writer_leave(b, it);
	writer_disown(it);
	if (it->kind == ITEM_RMDIR && code == ERR_BUSY)
		pull_rmdir_refused(it);
	else
		pull_item_error(it, code, text);
}

void
writer_end(struct batch *b)
{
	struct writer *wr = b->wr;

	ASSERT(b->items.count == 0);
	list_remove(&wr->batches, &b->node);
	mem_free(b);
	writer_pump(wr);
}

void
writer_dirs_init(struct writer_dirs *dirs, struct folder *f, size_t cap)
{
	core_map_init(f->en, &dirs->seen);
	dirs->name = arena_array(core_scratch(f->en), cap, sizeof(*dirs->name));
	dirs->count = 0;
}

void
writer_dirs_add(struct writer_dirs *dirs, struct slice path)
{
	if (map_put(&dirs->seen, path, dirs) == NULL)
		dirs->name[dirs->count++] = path;
}

void
writer_dirs_flush(struct writer_dirs *dirs, struct folder *f,
    core_done_fn *done, void *arg)
{
	struct effect *ef = core_ask(f, EFFECT_SYNC_DIRS, done, arg);

	for (uint32_t i = 0; i < dirs->count; i++)
		dirs->name[i] = arena_dup(core_scratch(f->en), dirs->name[i]);
	ef->u.sync.name = dirs->name;
	ef->u.sync.count = dirs->count;
	map_fini(&dirs->seen);
}

/* PUTTING */

static void
batch_put_done(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;

	if (ev->u.done.code != 0) {
		/* The folder is halting: the intents stay, and tell it all. */
		BATCH_EACH(b, n) {
			struct item *it = ITEM_OF(n);

			writer_leave(b, it);
			writer_disown(it);
			pull_item_end(it);
		}
		writer_end(b);
		return;
	}
	f->pull->again = true;
	writer_clean(b);
	pull_plan_soon(f->pull);
}

/*
 * A directory was made because of what is in it, and meanwhile the others spoke
 * of it: what we have is what it was before that, and is no word of ours
 * against theirs.
 */
static void
batch_put_implicit(struct item *it)
{
	struct pull *pl = it->pl;
	const struct arena_mark mark = arena_mark(&pl->row);
	const struct row *row = index_row(pl->f->ix, it->path, &pl->row);
	const struct row_version *global = row == NULL ? NULL : row_global(row);

	if (global != NULL && row_local(row) == NULL)
		it->entry.version = item_own_version(it,
		    version_before(global->entry.version, &pl->row));
	arena_reset(&pl->row, mark);
}

/* What the index says of an item that was done. */
static void
batch_put_item(struct item *it)
{
	struct index *ix = it->pl->f->ix;
	static const struct identity absent;
	uint32_t flags = 0;

	if (it->replace) {
		/* Its new version is made next, at a free name. */
		index_vacate_local(ix, it->path);
		return;
	}
	if (MUTANT(MUTANT_TOMBSTONE_FORGOTTEN) && it->kind == ITEM_REMOVE) {
		index_forget_local(ix, it->path);
		return;
	}
	if (it->kind == ITEM_REMOVE || it->kind == ITEM_RMDIR) {
		index_put_local(ix, &it->entry, &absent, 0);
		return;
	}
	if (it->implicit)
		batch_put_implicit(it);
	if (it->implicit && it->pl->f->cfg.mode == FOLDER_RECEIVE_ONLY)
		flags = ROW_LOCAL_CHANGED;
	if (it->kind == ITEM_MOVE)
		index_put_local(ix, &it->gone, &absent, 0);
	/* Attributes alone went to the disk with no bytes and no name: lost
	 * with the power they would look like a person's change. */
	if (it->kind == ITEM_META)
		it->pl->f->unflushed = true;
	index_put_local(ix, &it->entry, &it->seen, flags);
}

static void
batch_put(struct batch *b)
{
	b->stage = BATCH_PUTTING;
	BATCH_EACH(b, n) {
		struct item *it = ITEM_OF(n);

		batch_put_item(it);
		pull_unpark(it->pl, it->path);
		pull_stir(it->pl, it->path);
		if (it->from.len > 0)
			pull_stir(it->pl, it->from);
		/* What is kept in a temp is a person's until it is dropped:
		 * the intent says whose it was. */
		if (MUTANT(MUTANT_INTENT_GONE_EARLY) ||
		    it->kept.type == IDENTITY_ABSENT)
			writer_drop_intent(it);
	}
	core_commit(b->wr->pl->f, batch_put_done, b);
}

/* NAMED: directories, in the order of batches. */

static void
batch_flushed(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;
	struct list_node *next = list_next(&b->wr->batches, &b->node);

	if (ev->u.done.code != 0) {
		/* A failed flush is final.  What was done may or may not last,
		 * and a scan would take it for a person's doing: the folder is
		 * opened anew, and recovery tells by the intents, which stay.
		 */
		folder_halt(f, folder_flush_reason(ev->u.done.code),
		    "flush: %.*s", SLICE_FMT(ev->u.done.text));
		BATCH_EACH(b, n) {
			ITEM_OF(n)->intent = 0;
			batch_abandon(b, ITEM_OF(n));
		}
	}
	if (b->items.count == 0)
		writer_end(b);
	else
		batch_put(b);
	batch_let(next);
}

static bool
batch_is_first_to_name(const struct batch *b)
{
	const struct list_node *n = list_first(&b->wr->batches);

	for (; n != &b->node; n = list_next(&b->wr->batches, n))
		if (LIST_ITEM(n, struct batch, node)->stage < BATCH_PUTTING)
			return false;
	return true;
}

static void
batch_add_parent(struct writer_dirs *dirs, struct slice path)
{
	if (path.len > 0)
		writer_dirs_add(dirs, path_parent(path));
}

/* Every directory whose names changed, once. */
static void
batch_name(struct batch *b)
{
	struct folder *f = b->wr->pl->f;
	struct writer_dirs dirs;

	b->stage = BATCH_NAMED;
	if (!batch_is_first_to_name(b))
		return;
	b->stage = BATCH_FLUSHING;
	writer_dirs_init(&dirs, f, b->items.count * 3);
	BATCH_EACH(b, n) {
		struct item *it = ITEM_OF(n);

		/* The old directory first: if the new one alone is flushed,
		 * btrfs may show the file at both names after a power cut. */
		batch_add_parent(&dirs, it->from);
		batch_add_parent(&dirs, it->path);
		batch_add_parent(&dirs, it->keep_now);
	}
	if (MUTANT(MUTANT_NO_DIR_FLUSH))
		dirs.count = 0;
	writer_dirs_flush(&dirs, f, batch_flushed, b);
}

/* The batch behind one that was in its way. */
static void
batch_let(struct list_node *next)
{
	struct batch *b;

	if (next == NULL)
		return;
	b = LIST_ITEM(next, struct batch, node);
	if (b->stage == BATCH_NAMED)
		batch_name(b);
}

/* ACTING */

void
writer_acted(struct batch *b)
{
	if (--b->left > 0)
		return;
	if (b->items.count > 0) {
		batch_name(b);
		return;
	}
	/* Nobody is left; those behind must not wait for us. */
	b->stage = BATCH_CLEANING;
	batch_let(list_next(&b->wr->batches, &b->node));
	writer_end(b);
}

static void
batch_act(struct batch *b)
{
	b->stage = BATCH_ACTING;
	b->left = 1; /* ours */
	BATCH_EACH(b, n) {
		struct item *it = ITEM_OF(n);

		if (it->acted)
			continue; /* a directory, made before */
		if ((it->stale && !MUTANT(MUTANT_PLAN_NOT_REVALIDATED)) ||
		    !writer_is_wanted(it) || b->wr->pl->stopped) {
			batch_abandon(b, it);
			continue;
		}
		b->left++;
		writer_act(it);
	}
	writer_acted(b);
}

/* INTENDED */

static void
batch_intent_done(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;

	(void)f;
	if (ev->u.done.code != 0) {
		BATCH_EACH(b, n)
			batch_abandon(b, ITEM_OF(n));
	}
	batch_act(b);
}

static void
batch_intend(struct batch *b)
{
	struct pull *pl = b->wr->pl;
	uint32_t intents = 0;

	b->stage = BATCH_INTENDED;
	BATCH_EACH(b, n) {
		struct item *it = ITEM_OF(n);

		if (pl->stopped || !writer_is_current(it)) {
			batch_abandon(b, it);
			continue;
		}
		pull_own(pl, it->path);
		if (it->from.len > 0)
			pull_own(pl, it->from);
		if (it->keep.len > 0)
			pull_own(pl, it->keep);
		intents += writer_intend(b->wr, it);
	}
	if (intents > 0 && !MUTANT(MUTANT_INTENT_NOT_AWAITED))
		core_commit(pl->f, batch_intent_done, b);
	else
		batch_act(b);
	/* The next may be staged while this one is acted on. */
	writer_pump(pl->writer);
}

/* STAGING */

/* No intent names these temps any more: they may go. */
static void
batch_discard(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;

	BATCH_EACH(b, n) {
		struct item *it = ITEM_OF(n);
		struct effect *ef;

		if (it->kind != ITEM_FILE)
			continue;
		if (ev->u.done.code == 0) {
			ef = core_tell(f, EFFECT_DROP_TEMP);
			ef->temp = arena_dup(core_scratch(f->en), it->temp);
			it->touched = false;
		}
		writer_fail(b, it, b->code, slice_str(b->text));
	}
	batch_intend(b);
}

static void
batch_staged(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;

	if (ev->u.done.code == 0 || MUTANT(MUTANT_FLUSH_ERROR_IGNORED)) {
		batch_intend(b);
		return;
	}
	/*
	 * These pages may be lost without a second word: discard.  But an
	 * intent of an earlier try may name one of them on disk still, and a
	 * temp that is gone then says that it was put.
	 */
	b->code = ev->u.done.code;
	snprintf(b->text, sizeof(b->text), "%.*s", SLICE_FMT(ev->u.done.text));
	core_commit(f, batch_discard, b);
}

static void
batch_stage(struct batch *b)
{
	struct folder *f = b->wr->pl->f;
	struct arena *scratch = core_scratch(f->en);
	struct slice *temp =
	    arena_array(scratch, b->items.count, sizeof(*temp));
	uint32_t count = 0;
	struct effect *ef;

	b->stage = BATCH_STAGING;
	BATCH_EACH(b, n) {
		struct item *it = ITEM_OF(n);

		if (it->kind == ITEM_FILE)
			temp[count++] = arena_dup(scratch, it->temp);
	}
	if (count == 0 || MUTANT(MUTANT_NO_STAGE_FLUSH)) {
		batch_intend(b);
		return;
	}
	ef = core_ask(f, EFFECT_SYNC_TEMPS, batch_staged, b);
	ef->u.sync.name = temp;
	ef->u.sync.count = count;
}

/* One batch is staged at a time: the next gathers while it is. */
static bool
writer_may_begin(const struct writer *wr)
{
	struct list_node *n = list_first(&wr->batches);

	if (wr->ready.count == 0 || wr->batches.count >= WRITER_BATCHES_MAX ||
	    wr->pl->stopped)
		return false;
	if (wr->batches.count > 0 && wr->ready.count < WRITER_BATCH_WORTH)
		return false;
	for (; n != NULL; n = list_next(&wr->batches, n))
		if (LIST_ITEM(n, struct batch, node)->stage == BATCH_STAGING)
			return false;
	return true;
}

void
writer_pump(struct writer *wr)
{
	struct list_node *n;
	struct batch *b;

	if (!writer_may_begin(wr))
		return;
	b = mem_zalloc(sizeof(*b));
	b->wr = wr;
	list_init(&b->items);
	list_add(&wr->batches, &b->node);
	while (b->items.count < WRITER_BATCH_ITEMS &&
	       (n = list_first(&wr->ready)) != NULL) {
		struct item *it = ITEM_OF(n);

		list_remove(&wr->ready, n);
		list_add(&b->items, n);
		it->state = ITEM_BATCHED;
		it->batch = b;
	}
	batch_stage(b);
}
