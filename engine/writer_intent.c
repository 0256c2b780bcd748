/*
 * The writer's intents: what is written down before an act, and whether the
 * act is still right.
 *
 * Reads and puts in the index only; asks nothing of the disk.
 * RELIABILITY.md 5.1, I23; the record is intent.h's.
 */
#include "engine/writer_state.h"

#include "engine/base/assert.h"
#include "engine/base/mutant.h"
#include "engine/intent.h"

void
writer_drop_intent(struct item *it)
{
	if (it->intent == 0)
		return;
	index_remove_intent(it->pl->f->ix, it->intent);
	it->intent = 0;
}

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
	const struct effect_meta meta = writer_act_meta(it);
	struct identity out = it->want;

	if (meta.set_perms)
		out.mode = (out.mode & ~0777u) | meta.perms;
	if (meta.set_mtime) {
		out.mtime_s = meta.mtime_s;
		out.mtime_ns = meta.mtime_ns;
	}
	return out;
}

bool
writer_intend(struct writer *wr, struct item *it)
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
	writer_intend(wr, it);
}

/*
 * Is `target` still what `path` shall become?  Something may have come since
 * that makes what we had the winner, or a rule that ignores it: no pass meets
 * such a row.
 */
static bool
intent_is_wanted(struct pull *pl, struct slice path, struct version target,
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

bool
writer_is_wanted(const struct item *it)
{
	if (it->implicit || it->acted)
		return true;
	return intent_is_wanted(it->pl, it->path, it->entry.version,
		   it->kind == ITEM_DIR) &&
	       (it->kind != ITEM_MOVE ||
		   intent_is_wanted(it->pl, it->from, it->gone.version, false));
}

/* Is the index still as it was when this was planned?  RELIABILITY.md I23. */
static bool
intent_base_is_same(struct pull *pl, struct slice path, bool had,
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

bool
writer_is_current(struct item *it)
{
	struct pull *pl = it->pl;
	struct identity want = it->want;
	const struct arena_mark mark = arena_mark(&pl->row);
	bool same;

	if (it->stale && !MUTANT(MUTANT_PLAN_NOT_REVALIDATED))
		return false;
	if (!writer_is_wanted(it))
		return false;
	if (it->acted || it->kind == ITEM_MOVE)
		return true; /* a scan would have made it stale */
	same = intent_base_is_same(pl, it->path, it->had, it->base, &want);
	arena_reset(&pl->row, mark);
	/* Deleted here: whatever the row remembers, nothing is there. */
	if (same && it->want.type != IDENTITY_ABSENT)
		it->want = want;
	return same;
}
