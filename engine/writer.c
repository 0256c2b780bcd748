/*
 * The writer.  See writer.h.
 *
 * A batch goes
 *
 *	STAGING  temps are flushed
 *	INTENDED intents are being committed
 *	ACTING   names are changed
 *	NAMED    waits for earlier batches, then directories are flushed
 *	PUTTING  rows are being committed
 *	CLEANING what was taken off the names goes to the trash can
 *	FILING   its directories are flushed
 *
 * and is freed.  An item that fails on the way leaves its batch at once; what
 * happened to the others does not depend on it.
 */
#include "engine/writer.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/conflict.h"
#include "engine/intent.h"
#include "engine/pull_park.h"
#include "engine/scan.h"
#include "engine/trash.h"

/* Batches under way at once; more would only hold more temps. */
#define WRITER_BATCHES_MAX 4u
#define WRITER_BATCH_ITEMS LIMIT_STEP_ROWS
/* While one is under way the next gathers as many: flushes cost the same. */
#define WRITER_BATCH_WORTH 256u
/* Conflict names tried, a second apart each. */
#define WRITER_KEEP_TRIES 1000u

enum batch_stage {
	BATCH_STAGING,
	BATCH_INTENDED,
	BATCH_ACTING,
	BATCH_NAMED,
	BATCH_FLUSHING,
	BATCH_PUTTING,
	BATCH_CLEANING,
	BATCH_FILING,
};

struct batch {
	struct list_node node; /* in writer->batches, oldest first */
	struct writer *wr;
	enum batch_stage stage;
	struct list items;
	uint32_t left; /* answers due in this stage */
	int code;      /* STAGING: why it failed */
	char text[200];
};

struct writer {
	struct pull *pl;
	struct list ready;
	struct list batches;
	struct buf record; /* scratch, for one intent */
};

#define BATCH_EACH(b, n)                                                       \
	for (struct list_node *n = list_first(&(b)->items), *n##_next;         \
	     n != NULL && (n##_next = list_next(&(b)->items, n), true);        \
	     n = n##_next)
#define ITEM_OF(n) LIST_ITEM(n, struct item, node)

static void batch_name(struct batch *b);
static bool batch_item_is_wanted(const struct item *it);

struct writer *
writer_new(struct pull *pl)
{
	struct writer *wr = mem_zalloc(sizeof(*wr));

	wr->pl = pl;
	list_init(&wr->ready);
	list_init(&wr->batches);
	return wr;
}

void
writer_free(struct writer *wr)
{
	struct list_node *n;

	while ((n = list_first(&wr->batches)) != NULL) {
		struct batch *b = LIST_ITEM(n, struct batch, node);

		/* The folder closed over it; the index tells the rest. */
		BATCH_EACH(b, i)
		{
			list_remove(&b->items, i);
			ITEM_OF(i)->batch = NULL;
			ITEM_OF(i)->ops = 0;
			ITEM_OF(i)->state = ITEM_ENDING;
			pull_item_end(ITEM_OF(i));
		}
		list_remove(&wr->batches, n);
		mem_free(b);
	}
	/* Ended here: an item that ends later would look for this list. */
	while ((n = list_first(&wr->ready)) != NULL) {
		list_remove(&wr->ready, n);
		ITEM_OF(n)->ops = 0;
		ITEM_OF(n)->state = ITEM_ENDING;
		pull_item_end(ITEM_OF(n));
	}
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

/* Does it leave a batch that goes on without it? */
static void
batch_leave(struct batch *b, struct item *it)
{
	list_remove(&b->items, &it->node);
	it->batch = NULL;
	it->state = ITEM_LOADING;
}

static void
batch_drop_intent(struct item *it)
{
	if (it->intent == 0)
		return;
	index_remove_intent(it->pl->f->ix, it->intent);
	it->intent = 0;
}

/* Each try another. */
static struct slice
item_conflict_name(const struct item *it)
{
	struct folder *f = it->pl->f;

	return conflict_name(it->path, core_now(f->en).wall_ns,
	    core_setup(f->en)->zone_s, it->entry.modified_by, it->keep_tries,
	    core_scratch(f->en));
}

static void
item_disown(struct item *it)
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
	batch_drop_intent(it);
	batch_leave(b, it);
	item_disown(it);
	pull_item_cancel(it);
}

static void
batch_fail(struct batch *b, struct item *it, int code, struct slice text)
{
	batch_drop_intent(it);
	batch_leave(b, it);
	item_disown(it);
	if (it->kind == ITEM_RMDIR && code == ERR_BUSY)
		pull_rmdir_refused(it);
	else
		pull_item_error(it, code, text);
}

/* The batch is empty or done with. */
static void
batch_end(struct batch *b)
{
	struct writer *wr = b->wr;

	ASSERT(b->items.count == 0);
	list_remove(&wr->batches, &b->node);
	mem_free(b);
	writer_pump(wr);
}

/* CLEANING, FILING */

static void
clean_item_end(struct item *it)
{
	struct batch *b = it->batch;

	if (it->intent_stays)
		pull_avoid_temp(it->pl, it->temp);
	else
		batch_drop_intent(it);
	batch_leave(b, it);
	pull_item_end(it);
}

static void
batch_filed(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;

	(void)f;
	BATCH_EACH(b, n)
	{
		/* Not flushed: the intent tells the next start. */
		ITEM_OF(n)->intent_stays = ev->u.done.code != 0;
		clean_item_end(ITEM_OF(n));
	}
	batch_end(b);
}

static void
batch_add_dir(struct map *seen, struct slice *dir, uint32_t *count,
    struct slice path)
{
	if (map_put(seen, path, seen) == NULL)
		dir[(*count)++] = path;
}

/* What is in the trash can stays there: only then its intents may go. */
static void
batch_file(struct batch *b)
{
	struct folder *f = b->wr->pl->f;
	struct arena *scratch = core_scratch(f->en);
	struct slice *dir = arena_array(scratch, b->items.count, sizeof(*dir));
	struct map seen;
	struct effect *ef;
	uint32_t count = 0;

	b->stage = BATCH_FILING;
	core_map_init(f->en, &seen);
	BATCH_EACH(b, n)
	batch_add_dir(&seen, dir, &count,
	    arena_dup(scratch, trash_dir(ITEM_OF(n)->path, scratch)));
	map_fini(&seen);
	ef = core_ask(f, EFFECT_SYNC_DIRS, batch_filed, b);
	ef->u.sync.name = dir;
	ef->u.sync.count = count;
}

/* The intents that go last need no commit of their own. */
static void
batch_cleaned(struct batch *b)
{
	if (b->left > 0)
		return;
	if (b->items.count > 0)
		batch_file(b);
	else
		batch_end(b);
}

/* An item's bytes are where they shall be. */
static void
clean_item_done(struct item *it)
{
	struct batch *b = it->batch;

	b->left--;
	if (!it->filed)
		clean_item_end(it);
	batch_cleaned(b);
}

static void clean_keep(struct item *it);

static void
clean_kept(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;
	const int code = ev->u.done.code;

	it->ops--;
	if (code == ERR_EXISTS && it->keep_tries < WRITER_KEEP_TRIES) {
		it->keep_tries++;
		clean_keep(it);
		return;
	}
	/*
	 * Not there: the bytes stay in the temp, and the next start tries
	 * again.  There: its name is not flushed.  In both cases it is the
	 * intent that says that these bytes are a person's.
	 */
	it->intent_stays = true;
	if (code == 0)
		scan_hint(f, it->keep_now, false);
	else
		log_error(core_log(f->en),
		    "writer conflict-copy failed path=%s text=\"%.*s\"",
		    path_print(core_scratch(f->en), it->path),
		    SLICE_FMT(ev->u.done.text));
	clean_item_done(it);
}

/* A program still had the old file open and wrote to it: it gets a name. */
static void
clean_keep(struct item *it)
{
	struct folder *f = it->pl->f;
	struct arena *scratch = core_scratch(f->en);
	struct effect *ef = core_ask(f, EFFECT_PUT_BACK, clean_kept, it);

	it->keep_now = item_own(it, item_conflict_name(it));
	ef->path = arena_dup(scratch, it->keep_now);
	ef->temp = arena_dup(scratch, it->temp);
	it->ops++;
}

static void
clean_done(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;

	it->ops--;
	if (ev->u.done.code == ERR_CHANGED) {
		clean_keep(it);
		return;
	}
	if (it->to_trash) {
		it->filed = trash_answered(f, ev, it->kept.size);
		/* Then the bytes stay in the temp, as the intent says. */
		it->intent_stays = !it->filed;
	}
	if (ev->u.done.code != 0)
		pull_avoid_temp(it->pl, it->temp);
	clean_item_done(it);
}

static void
clean_note(struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect_note *note = core_note(f, NOTE_REMOTE_CHANGE);
	struct arena *scratch = core_scratch(f->en);
	const struct entry *e = &it->entry;

	note->path = arena_dup(scratch, it->path);
	note->action = slice_str(item_action(it));
	for (uint32_t i = 0; i < f->share_count; i++)
		if (devid_short(&f->share[i].device) == e->modified_by)
			note->device = f->share[i].device;
	note->bytes = e->size;
	folder_changed(f, e->modified_by, it->path);
	if (it->keep_now.len == 0)
		return;
	note = core_note(f, NOTE_CONFLICT);
	note->path = arena_dup(scratch, it->keep_now);
	note->reason = REASON_CONFLICT;
	log_info(core_log(f->en), "writer conflict path=%s copy=%s",
	    path_print(scratch, it->path), path_print(scratch, it->keep_now));
}

static void
batch_clean_item(struct batch *b, struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect *ef;

	clean_note(it);
	item_disown(it);
	if (it->keep_now.len > 0)
		scan_hint(f, it->keep_now, false);
	if (it->kept.type == IDENTITY_ABSENT) {
		clean_item_end(it);
		return;
	}
	it->ops++;
	b->left++;
	it->to_trash = trash_takes(f, &it->kept);
	if (it->to_trash) {
		trash_keep(f, it->path, it->temp, &it->kept, clean_done, it);
		return;
	}
	ef = core_ask(f, EFFECT_DROP_TEMP, clean_done, it);
	ef->temp = arena_dup(core_scratch(f->en), it->temp);
	ef->want = it->kept;
}

static void
batch_put_done(struct folder *f, void *arg, const struct event *ev)
{
	struct batch *b = arg;

	b->stage = BATCH_CLEANING;
	if (ev->u.done.code != 0) {
		/* The folder is halting: the intents stay, and tell it all. */
		BATCH_EACH(b, n)
		{
			struct item *it = ITEM_OF(n);

			batch_leave(b, it);
			item_disown(it);
			pull_item_end(it);
		}
		batch_end(b);
		return;
	}
	b->left = 1; /* ours */
	BATCH_EACH(b, n)
	batch_clean_item(b, ITEM_OF(n));
	b->left--;
	f->pull->again = true;
	batch_cleaned(b);
	pull_plan_soon(f->pull);
}

/* PUTTING */

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
	BATCH_EACH(b, n)
	{
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
			batch_drop_intent(it);
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
		BATCH_EACH(b, n)
		{
			ITEM_OF(n)->intent = 0;
			batch_abandon(b, ITEM_OF(n));
		}
	}
	if (b->items.count == 0)
		batch_end(b);
	else
		batch_put(b);
	if (next != NULL &&
	    LIST_ITEM(next, struct batch, node)->stage == BATCH_NAMED)
		batch_name(LIST_ITEM(next, struct batch, node));
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
batch_add_parent(struct map *seen, struct slice *dir, uint32_t *count,
    struct slice path)
{
	if (path.len > 0)
		batch_add_dir(seen, dir, count, path_parent(path));
}

/* Every directory whose names changed, once. */
static void
batch_name(struct batch *b)
{
	struct folder *f = b->wr->pl->f;
	struct arena *scratch = core_scratch(f->en);
	struct slice *dir =
	    arena_array(scratch, b->items.count * 3 + 1, sizeof(*dir));
	struct map seen;
	struct effect *ef;
	uint32_t count = 0;

	b->stage = BATCH_NAMED;
	if (!batch_is_first_to_name(b))
		return;
	b->stage = BATCH_FLUSHING;
	core_map_init(f->en, &seen);
	BATCH_EACH(b, n)
	{
		struct item *it = ITEM_OF(n);

		/* The old directory first: if the new one alone is flushed,
		 * btrfs may show the file at both names after a power cut. */
		batch_add_parent(&seen, dir, &count, it->from);
		batch_add_parent(&seen, dir, &count, it->path);
		batch_add_parent(&seen, dir, &count, it->keep_now);
	}
	map_fini(&seen);
	if (MUTANT(MUTANT_NO_DIR_FLUSH))
		count = 0;
	for (uint32_t i = 0; i < count; i++)
		dir[i] = arena_dup(scratch, dir[i]);
	ef = core_ask(f, EFFECT_SYNC_DIRS, batch_flushed, b);
	ef->u.sync.name = dir;
	ef->u.sync.count = count;
}

/* ACTING */

static void
batch_acted(struct batch *b)
{
	if (--b->left > 0)
		return;
	if (b->items.count > 0) {
		batch_name(b);
		return;
	}
	/* Nobody is left; those behind must not wait for us. */
	struct list_node *next = list_next(&b->wr->batches, &b->node);

	b->stage = BATCH_CLEANING;
	if (next != NULL &&
	    LIST_ITEM(next, struct batch, node)->stage == BATCH_NAMED)
		batch_name(LIST_ITEM(next, struct batch, node));
	batch_end(b);
}

static void act_done(struct folder *f, void *arg, const struct event *ev);

static struct effect_meta
act_meta(const struct item *it)
{
	const struct entry *e = &it->entry;

	return (struct effect_meta){
		.set_perms = e->type != ENTRY_LINK && !e->no_perms &&
			     !it->pl->f->cfg.ignore_perms,
		.perms = e->perms & 0777u,
		.set_mtime = e->type == ENTRY_FILE,
		.mtime_s = e->mtime_s,
		.mtime_ns = e->mtime_ns,
	};
}

/* Moved, with other permissions or another time than it had. */
static void
act_meta_too(struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect *ef = core_ask(f, EFFECT_SET_META, act_done, it);

	it->set_meta = false;
	f->unflushed = true; /* as batch_put_item() */
	it->ops++;
	ef->path = arena_dup(core_scratch(f->en), it->path);
	ef->want = it->seen;
	ef->u.meta = act_meta(it);
}

/*
 * It has its new name and not its new attributes.  What we have is what the new
 * version was made from, so these are still wanted; a failure to give it them
 * is not a person's file that appeared.
 */
static void
act_moved_only(struct item *it)
{
	struct pull *pl = it->pl;
	const struct arena_mark mark = arena_mark(&pl->row);

	it->entry.version =
	    item_own_version(it, version_before(it->entry.version, &pl->row));
	it->entry.perms = it->seen.mode & 0777u;
	it->entry.mtime_s = it->seen.mtime_s;
	it->entry.mtime_ns = it->seen.mtime_ns;
	arena_reset(&pl->row, mark);
}

/*
 * Something is where the bytes were to go.  What no intent speaks of is a rest
 * of an index that was lost: it is in the way until it goes.
 */
static void
act_clear_temp(struct item *it)
{
	struct pull *pl = it->pl;
	struct effect *ef;

	if (!pull_take_temp(pl, it->temp))
		return;
	ef = core_tell(pl->f, EFFECT_DROP_TEMP);
	ef->temp = arena_dup(core_scratch(pl->f->en), it->temp);
}

/* The name for the conflict copy is taken: once more, with another. */
static bool
act_again(struct batch *b, struct item *it)
{
	if (it->keep.len == 0 || it->stale || it->pl->stopped ||
	    it->keep_tries == WRITER_KEEP_TRIES)
		return false;
	batch_drop_intent(it);
	batch_leave(b, it);
	item_disown(it);
	it->keep_tries++;
	it->keep = item_own(it, item_conflict_name(it));
	writer_add(b->wr, it);
	return true;
}

static void
act_done(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;
	struct batch *b = it->batch;
	const int code = ev->u.done.code;

	(void)f;
	it->ops--;
	if (code == ERR_EXISTS && act_again(b, it)) {
		batch_acted(b);
		return;
	}
	if (code == ERR_EXISTS && it->kind == ITEM_REMOVE)
		act_clear_temp(it);
	if (code != 0 && it->acted) {
		act_moved_only(it);
		batch_acted(b);
		return;
	}
	if (code != 0 && !MUTANT(MUTANT_ACT_ERROR_IGNORED)) {
		batch_fail(b, it, code, ev->u.done.text);
		batch_acted(b);
		return;
	}
	it->acted = true;
	it->touched = false; /* what is in the temp now is none of ours */
	it->seen = ev->u.done.seen;
	it->kept = ev->u.done.kept;
	if (it->set_meta) {
		act_meta_too(it);
		return;
	}
	if (it->keep.len > 0) {
		it->keep_now = it->keep;
		it->kept.type = IDENTITY_ABSENT; /* not in the temp */
	}
	batch_acted(b);
}

static void
act_start(struct item *it)
{
	static const enum effect_kind kind[] = {
		[ITEM_FILE] = EFFECT_FINISH_FILE,
		[ITEM_LINK] = EFFECT_MAKE_LINK,
		[ITEM_META] = EFFECT_SET_META,
		[ITEM_REMOVE] = EFFECT_REMOVE,
		[ITEM_RMDIR] = EFFECT_REMOVE,
		[ITEM_MOVE] = EFFECT_MOVE,
	};
	struct folder *f = it->pl->f;
	struct arena *scratch = core_scratch(f->en);
	/* Out of the way by a rename alone: nobody looks into staging. */
	const bool moves = it->kind == ITEM_REMOVE && it->keep.len > 0;
	struct effect *ef =
	    core_ask(f, moves ? EFFECT_MOVE : kind[it->kind], act_done, it);

	it->ops++;
	ef->path = arena_dup(scratch, it->path);
	ef->temp = arena_dup(scratch, it->temp);
	ef->want = it->want;
	if (moves) {
		ef->u.move.to = arena_dup(scratch, it->keep);
	} else if (it->kind == ITEM_FILE) {
		ef->u.finish.keep = arena_dup(scratch, it->keep);
	} else if (it->kind == ITEM_LINK) {
		ef->u.link.target = arena_dup(scratch, it->entry.link_target);
	} else if (it->kind == ITEM_META) {
		ef->u.meta = act_meta(it);
	} else if (it->kind == ITEM_MOVE) {
		ef->path = arena_dup(scratch, it->from);
		ef->want = it->want_from;
		ef->u.move.to = arena_dup(scratch, it->path);
		ef->u.move.want_to = it->want;
	}
}

static void
batch_act(struct batch *b)
{
	b->stage = BATCH_ACTING;
	b->left = 1; /* ours */
	BATCH_EACH(b, n)
	{
		struct item *it = ITEM_OF(n);

		if (it->acted)
			continue; /* a directory, made before */
		if ((it->stale && !MUTANT(MUTANT_PLAN_NOT_REVALIDATED)) ||
		    !batch_item_is_wanted(it) || b->wr->pl->stopped) {
			batch_abandon(b, it);
			continue;
		}
		b->left++;
		act_start(it);
	}
	batch_acted(b);
}

/* INTENDED */

static bool
intent_kind_of(const struct item *it, enum intent_kind *out)
{
	switch (it->kind) {
	case ITEM_FILE:
		*out = INTENT_FILE;
		return true;
	case ITEM_LINK:
		*out = INTENT_LINK;
		return true;
	case ITEM_REMOVE:
		*out = INTENT_REMOVE;
		return true;
	case ITEM_MOVE:
		*out = INTENT_MOVE;
		return true;
	case ITEM_DIR:
		*out = INTENT_MAKE_DIR;
		return true;
	case ITEM_META:
		*out = INTENT_META;
		return true;
	case ITEM_RMDIR:
		*out = INTENT_RMDIR;
		return true;
	case ITEM_MOVE_DIR:
		break; /* pull_move.c writes its own */
	}
	return false;
}

/* How what is there will look. */
static struct identity
intent_meta(const struct item *it)
{
	const struct effect_meta meta = act_meta(it);
	struct identity out = it->want;

	if (meta.set_perms)
		out.mode = (out.mode & ~0777u) | meta.perms;
	if (meta.set_mtime) {
		out.mtime_s = meta.mtime_s;
		out.mtime_ns = meta.mtime_ns;
	}
	return out;
}

static bool
intent_put(struct writer *wr, struct item *it)
{
	struct intent in = {
		.path = it->path,
		.from = it->from,
		.temp = it->temp,
		.keep = it->keep,
		.replace = it->replace,
		.base = it->kind == ITEM_MOVE ? it->want_from : it->want,
		.staged = it->staged,
		.had = it->had,
		.before = it->base,
		.target = it->entry.version,
		.gone = it->gone.version,
	};

	/* A directory is made, or was there, before it comes here. */
	if (it->acted || MUTANT(MUTANT_NO_INTENT) ||
	    !intent_kind_of(it, &in.kind))
		return false;
	if (in.kind == INTENT_META)
		in.staged = intent_meta(it);
	buf_clear(&wr->record);
	intent_encode(&in, &wr->record);
	it->intent = index_put_intent(wr->pl->f->ix, buf_slice(&wr->record));
	it->intended = true;
	return true;
}

void
writer_intend_dir(struct writer *wr, struct item *it)
{
	ASSERT(it->kind == ITEM_DIR && it->intent == 0);
	intent_put(wr, it);
}

/*
 * Is `target` still what `path` shall become?  Something may have come since
 * that makes what we had the winner, or a rule that ignores it: no pass meets
 * such a row.
 */
static bool
batch_is_wanted(struct pull *pl, struct slice path, struct version target,
    bool dir)
{
	const struct arena_mark mark = arena_mark(&pl->row);
	const struct row *row = index_row(pl->f->ix, path, &pl->row);
	const struct row_version *global = row == NULL ? NULL : row_global(row);
	const bool is =
	    global != NULL && version_equal(global->entry.version, target) &&
	    (dir ||
		((row->flags & ROW_IGNORED) == 0 && row->local != row->global));

	arena_reset(&pl->row, mark);
	return is || MUTANT(MUTANT_TARGET_UNCHECKED);
}

static bool
batch_item_is_wanted(const struct item *it)
{
	if (it->implicit || it->acted)
		return true;
	return batch_is_wanted(it->pl, it->path, it->entry.version,
		   it->kind == ITEM_DIR) &&
	       (it->kind != ITEM_MOVE ||
		   batch_is_wanted(it->pl, it->from, it->gone.version, false));
}

/* Is the index still as it was when this was planned?  RELIABILITY.md I23. */
static bool
batch_base_is_same(struct pull *pl, struct slice path, bool had,
    struct version base, struct identity *want)
{
	const struct row *row = index_row(pl->f->ix, path, &pl->row);
	const struct row_version *local = row == NULL ? NULL : row_local(row);

	if ((local != NULL) != had)
		return false;
	if (local == NULL)
		return true;
	if (!version_equal(local->entry.version, base) &&
	    !MUTANT(MUTANT_PLAN_NOT_REVALIDATED))
		return false;
	*want = row->seen;
	return true;
}

static bool
batch_item_is_current(struct item *it)
{
	struct pull *pl = it->pl;
	struct identity want = it->want;
	const struct arena_mark mark = arena_mark(&pl->row);
	bool same;

	if (it->stale && !MUTANT(MUTANT_PLAN_NOT_REVALIDATED))
		return false;
	if (!batch_item_is_wanted(it))
		return false;
	if (it->acted || it->kind == ITEM_MOVE)
		return true; /* a scan would have made it stale */
	same = batch_base_is_same(pl, it->path, it->had, it->base, &want);
	arena_reset(&pl->row, mark);
	/* Deleted here: whatever the row remembers, nothing is there. */
	if (same && it->want.type != IDENTITY_ABSENT)
		it->want = want;
	return same;
}

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
	BATCH_EACH(b, n)
	{
		struct item *it = ITEM_OF(n);

		if (pl->stopped || !batch_item_is_current(it)) {
			batch_abandon(b, it);
			continue;
		}
		pull_own(pl, it->path);
		if (it->from.len > 0)
			pull_own(pl, it->from);
		if (it->keep.len > 0)
			pull_own(pl, it->keep);
		intents += intent_put(b->wr, it);
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

	BATCH_EACH(b, n)
	{
		struct item *it = ITEM_OF(n);
		struct effect *ef;

		if (it->kind != ITEM_FILE)
			continue;
		if (ev->u.done.code == 0) {
			ef = core_tell(f, EFFECT_DROP_TEMP);
			ef->temp = arena_dup(core_scratch(f->en), it->temp);
			it->touched = false;
		}
		batch_fail(b, it, b->code, slice_str(b->text));
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
	BATCH_EACH(b, n)
	{
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
