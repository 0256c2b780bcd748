/*
 * The writer's acts: one effect an item changes what is at its name.
 *
 * Whatever the disk answers, the batch hears of it by writer_acted(), once.
 */
#include "engine/writer_state.h"

#include "engine/base/mutant.h"

struct effect_meta
writer_act_meta(const struct item *it)
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

static void act_done(struct folder *f, void *arg, const struct event *ev);

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
	ef->u.meta = writer_act_meta(it);
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
	writer_drop_intent(it);
	writer_leave(b, it);
	writer_disown(it);
	it->keep_tries++;
	it->keep = item_own(it, writer_conflict_name(it));
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
		writer_acted(b);
		return;
	}
	if (code == ERR_EXISTS && it->kind == ITEM_REMOVE)
		act_clear_temp(it);
	if (code != 0 && it->acted) {
		act_moved_only(it);
		writer_acted(b);
		return;
	}
	if (code != 0 && !MUTANT(MUTANT_ACT_ERROR_IGNORED)) {
		writer_fail(b, it, code, ev->u.done.text);
		writer_acted(b);
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
	writer_acted(b);
}

void
writer_act(struct item *it)
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
		ef->u.meta = writer_act_meta(it);
	} else if (it->kind == ITEM_MOVE) {
		ef->path = arena_dup(scratch, it->from);
		ef->want = it->want_from;
		ef->u.move.to = arena_dup(scratch, it->path);
		ef->u.move.want_to = it->want;
	}
}
