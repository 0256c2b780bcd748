/*
 * The two commands of one-way folders, and what a change of mode or of ignore
 * rules means for rows that nobody touches.
 *
 * Override (send-only): what we have wins over what others changed.  Each row
 * that others brought forward gets a version of ours above all that exist of
 * it; what we do not have becomes a deletion.  Nothing on disk is touched.
 *
 * Reject: the same for what the brake holds (brake.h), and for nothing else.
 *
 * Revert (receive-only): what people changed here is undone.  What another
 * device has is given an empty vector, older than anything, and the pull
 * replaces it; what nobody else has is removed, files first and directories at
 * the end, deepest first.  What is written since stays.  BEP-FACTS.md 9.5.
 *
 * Settle: what is marked as ignored and is not any more is forgotten, so that
 * scan and pull meet it as new; what a person changed while the folder only
 * received becomes a version like any other when it does more than that, and
 * what met a deletion while the folder made no versions is revived now.  Which
 * rules and mode the marks belong to is a fact of the index.
 *
 * All walk the index a bounded number of rows a step.  Override and revert
 * begin when a full scan has ended: before it a missing row may be a file
 * nobody looked at yet.
 */
#include "engine/folder.h"

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/brake.h"
#include "engine/decide.h"
#include "engine/exchange_index.h"
#include "engine/pull.h"
#include "engine/removal.h"
#include "engine/scan.h"

#define FOLDER_WALK_WAIT_NS CLOCK_S /* for the folder to run and settle */
#define FOLDER_REMOVALS_MAX 64u     /* files being removed at once */
#define FOLDER_FACT "settled"       /* digest of rules and mode, u64le */

enum walk_kind { WALK_OVERRIDE, WALK_REJECT, WALK_REVERT, WALK_SETTLE };

struct folder_walk {
	struct folder *f;
	enum walk_kind kind;
	uint64_t digest;   /* SETTLE: rules and mode it is for */
	uint64_t told_seq; /* of the index, when it was asked for */
	int64_t told_wall_ns;
	bool listed;           /* every row has been looked at */
	struct buf cursor;     /* path of the last row looked at */
	VEC(struct slice) dir; /* to be removed, parents first; owned */
	struct list removing;  /* removals not yet ended; owned */
	bool ended;            /* it only waits for them: the folder closes */
	uint64_t done, failed;
	struct core_timer timer;
};

static void folder_walk_go(struct folder_walk *w);

static const char *
folder_walk_name(enum walk_kind kind)
{
	switch (kind) {
	case WALK_OVERRIDE:
		return "override";
	case WALK_REJECT:
		return "reject";
	case WALK_REVERT:
		return "revert";
	case WALK_SETTLE:
		break;
	}
	return "settle";
}

static void
folder_walk_later(struct folder_walk *w, uint64_t after_ns)
{
	struct engine *en = w->f->en;

	core_timer_set(en, &w->timer, core_now(en).mono_ns + after_ns);
}

static uint64_t
folder_digest(const struct folder *f)
{
	static const uint64_t mode[] = {
		[FOLDER_SEND_RECEIVE] = 0,
		[FOLDER_SEND_ONLY] = UINT64_C(0x5555555555555555),
		[FOLDER_RECEIVE_ONLY] = UINT64_MAX,
	};

	return ignore_digest(f->ignore) ^ mode[f->cfg.mode];
}

static void
folder_walk_end(struct folder_walk *w)
{
	struct folder *f = w->f;

	if (w->kind == WALK_SETTLE && w->listed) {
		struct buf fact = { 0 };

		buf_put_u64le(&fact, w->digest);
		index_put_fact(f->ix, FOLDER_FACT, buf_slice(&fact));
		buf_fini(&fact);
	}
	if (w->kind == WALK_REJECT && w->listed)
		brake_rejected(f);
	log_info(core_log(f->en),
	    "folder %s folder=%s changed=%llu failed=%llu",
	    folder_walk_name(w->kind),
	    path_print(core_scratch(f->en), f->cfg.id),
	    (unsigned long long)w->done, (unsigned long long)w->failed);
	folder_walk_free(f);
	pull_wake(f);
	folder_settle(f); /* what a command pushed aside */
}

/*
 * The row's local entry with its whole block list, in `arena`; false when the
 * list is lost: the row is left alone, and the step's end halts the folder.
 */
static bool
folder_own_entry(struct folder *f, const struct row *row, struct entry *out,
    struct arena *arena)
{
	struct err err = { 0 };

	*out = row_local(row)->entry;
	out->name = row->path;
	if (out->block_count == 0 || out->block != NULL)
		return true;
	if (index_blocks(f->ix, &row_local(row)->entry, &out->block, arena,
		&err) == 0)
		return true;
	log_error(core_log(f->en), "folder skip path=%s reason=\"%s\"",
	    path_print(core_scratch(f->en), row->path), err.text);
	return false;
}

/* --- Override --- */

/* Above every version there is, so that none of them can win again. */
static struct version
folder_version_above(const struct folder *f, const struct row *row,
    struct arena *arena)
{
	struct version v = { NULL, 0 };

	for (uint32_t i = 0; i < row->version_count; i++)
		v = version_merge(v, row->version[i].entry.version, arena);
	return version_bump(v, core_self_short(f->en),
	    index_stamp(f->ix, core_now(f->en).wall_ns / (int64_t)CLOCK_S),
	    arena);
}

static void
folder_make_tombstone(const struct folder *f, struct entry *e)
{
	e->deleted = true;
	e->size = 0;
	e->block_size = 0;
	e->block_count = 0;
	e->block = NULL;
	e->link_target = SLICE_EMPTY;
	memset(&e->blocks_hash, 0, sizeof(e->blocks_hash));
	e->mtime_s = core_now(f->en).wall_ns / (int64_t)CLOCK_S;
	e->mtime_ns = 0;
}

/* Is it a row whose others' version ours shall win over? */
static bool
folder_overrides(const struct folder_walk *w, const struct row *row)
{
	const struct folder *f = w->f;
	const struct verdict v = decide(row, f->cfg.mode, f->cfg.ignore_perms);

	if (w->kind == WALK_REJECT)
		return brake_has(f, row, &v);
	return v.kind == VERDICT_NOTHING &&
	       (v.reason == REASON_SEND_ONLY ||
		   v.reason == REASON_LOCALLY_CHANGED);
}

static void
folder_override_row(struct folder_walk *w, const struct row *row,
    struct arena *arena)
{
	struct folder *f = w->f;
	const struct verdict v =
	    decide(row, FOLDER_SEND_ONLY, f->cfg.ignore_perms);
	const struct identity nothing = { 0 };
	const bool have = v.ours != NULL && !v.ours->entry.deleted;
	struct entry e;

	if (!folder_overrides(w, row))
		return;
	/* We say nothing of what we do not follow. */
	if (ignore_test(f->ignore, row->path).ignored)
		return;
	ASSERT(v.take != NULL);
	if (have) {
		if (!folder_own_entry(f, row, &e, arena))
			return;
	} else {
		e = v.take->entry;
		e.name = row->path;
		folder_make_tombstone(f, &e);
	}
	e.previous_blocks_hash = v.take->entry.blocks_hash;
	e.version = folder_version_above(f, row, arena);
	e.modified_by = core_self_short(f->en);
	index_put_local(f->ix, &e, have ? &row->seen : &nothing, 0);
	folder_changed(f, e.modified_by, row->path);
	pull_local_changed(f, row->path);
	w->done++;
}

/* --- Revert --- */

static void
folder_on_removed(void *arg, bool removed)
{
	struct folder_walk *w = arg;

	if (removed)
		w->done++;
	else
		w->failed++;
	if (!w->ended)
		folder_walk_later(w, 0);
	else if (w->removing.count == 0)
		folder_walk_free(w->f);
}

static void
folder_remove(struct folder_walk *w, const struct row *row)
{
	removal_start(w->f, row, &w->removing, folder_on_removed, w);
}

/*
 * Has somebody written it since the word was given?  That is not what was
 * meant.  (A clock that was wrong may say so of an older file: the next word
 * reaches it, for the index knows it by then.)
 */
static bool
folder_is_later(const struct folder_walk *w, const struct row *row)
{
	const struct identity *seen = &row->seen;
	const int64_t told_s = w->told_wall_ns / (int64_t)CLOCK_S;

	if (row->seq <= w->told_seq || seen->type == IDENTITY_ABSENT)
		return false;
	return seen->ctime_s != told_s
		   ? seen->ctime_s > told_s
		   : seen->ctime_ns > w->told_wall_ns % (int64_t)CLOCK_S;
}

static void
folder_revert_row(struct folder_walk *w, const struct row *row,
    struct arena *arena)
{
	struct folder *f = w->f;
	const struct row_version *ours = row_local(row);
	const struct row_version *global = row_global(row);
	struct entry e;

	if ((row->flags & ROW_LOCAL_CHANGED) == 0 || ours == NULL ||
	    folder_is_later(w, row))
		return;
	if (ours->entry.deleted) {
		index_forget_local(f->ix, row->path);
	} else if (global != NULL && !devset_is_empty(&global->holders)) {
		if (!folder_own_entry(f, row, &e, arena))
			return;
		e.version = (struct version){ NULL, 0 };
		index_put_local(f->ix, &e, &row->seen, 0);
	} else if (ours->entry.type == ENTRY_DIR) {
		*VEC_ADD(&w->dir) = slice_of(
		    mem_dup(row->path.ptr, row->path.len), row->path.len);
		return;
	} else {
		folder_remove(w, row);
		return;
	}
	pull_local_changed(f, row->path);
	w->done++;
}

/* The deepest directory left; it is empty now, or it stays. */
static void
folder_remove_dir(struct folder_walk *w)
{
	struct folder *f = w->f;
	const struct slice path = w->dir.item[--w->dir.len];
	const struct row *row = index_row(f->ix, path, core_scratch(f->en));

	if (row != NULL && row_local(row) != NULL &&
	    (row->flags & ROW_LOCAL_CHANGED) != 0)
		folder_remove(w, row);
	mem_free((void *)(uintptr_t)path.ptr);
}

/* --- Settle --- */

/* A counter of ours that no version of this row has: the others may still hold
 * one that we made before our change became local. */
static int64_t
folder_stamp(struct folder *f, const struct row *row)
{
	int64_t stamp =
	    index_stamp(f->ix, core_now(f->en).wall_ns / (int64_t)CLOCK_S);

	for (uint32_t i = 0; i < row->version_count; i++) {
		const uint64_t had = version_counter(
		    row->version[i].entry.version, core_self_short(f->en));

		if (had < INT64_MAX && stamp <= (int64_t)had)
			stamp = (int64_t)had + 1;
	}
	return stamp;
}

/*
 * It is followed again.  Until it is looked at we have nothing there, which
 * says nothing against what others have; and they must hear it, for to them we
 * may still be who has what there was before it was ignored.
 */
static void
folder_follow_again(struct folder *f, const struct row *row)
{
	static const struct identity absent;
	const struct row_version *ours = row_local(row);
	const struct entry e = {
		.name = row->path,
		.type = ours == NULL ? ENTRY_FILE : ours->entry.type,
		.deleted = true,
		.mtime_s = core_now(f->en).wall_ns / (int64_t)CLOCK_S,
		.modified_by = core_self_short(f->en),
	};

	if (MUTANT(MUTANT_UNIGNORED_UNTOLD))
		index_forget_local(f->ix, row->path);
	else
		index_put_local(f->ix, &e, &absent, 0);
	scan_hint(f, row->path, true);
}

static void
folder_settle_row(struct folder_walk *w, const struct row *row,
    struct arena *arena)
{
	struct folder *f = w->f;
	struct entry e;

	if ((row->flags & ROW_IGNORED) != 0) {
		if (ignore_test(f->ignore, row->path).ignored)
			return;
		folder_follow_again(f, row);
	} else if ((row->flags & ROW_LOCAL_CHANGED) != 0 &&
		   f->cfg.mode != FOLDER_RECEIVE_ONLY) {
		if (row_local(row) == NULL ||
		    !folder_own_entry(f, row, &e, arena))
			return;
		/* We cannot tell from what it was made: beside, not above. */
		e.version = version_bump((struct version){ NULL, 0 },
		    core_self_short(f->en), folder_stamp(f, row), arena);
		e.modified_by = core_self_short(f->en);
		index_put_local(f->ix, &e, &row->seen, 0);
	} else {
		/* Nothing else meets a row whose winner is ours. */
		if (row->version_count > 1)
			exchange_index_revive(f, row->path);
		return;
	}
	pull_local_changed(f, row->path);
	w->done++;
}

/* --- The walk --- */

static void
folder_walk_rows(struct folder_walk *w)
{
	struct folder *f = w->f;
	struct arena arena = { 0 };

	arena_init(&arena);
	for (uint32_t i = 0; i < LIMIT_STEP_ROWS; i++) {
		const struct slice at = buf_slice(&w->cursor);
		const struct row *row;

		if (w->removing.count >= FOLDER_REMOVALS_MAX)
			break;
		row = w->kind == WALK_OVERRIDE || w->kind == WALK_REJECT
			  ? index_next_need(f->ix, at, &arena)
			  : index_next(f->ix, at, &arena);
		if (row == NULL) {
			w->listed = true;
			break;
		}
		buf_clear(&w->cursor);
		buf_put(&w->cursor, row->path);
		switch (w->kind) {
		case WALK_OVERRIDE:
		case WALK_REJECT:
			folder_override_row(w, row, &arena);
			break;
		case WALK_REVERT:
			folder_revert_row(w, row, &arena);
			break;
		case WALK_SETTLE:
			folder_settle_row(w, row, &arena);
			break;
		}
		arena_clear(&arena);
	}
	arena_fini(&arena);
}

static bool
folder_walk_is_due(const struct folder_walk *w)
{
	switch (w->kind) {
	case WALK_OVERRIDE:
		return w->f->cfg.mode == FOLDER_SEND_ONLY;
	case WALK_REJECT:
		return w->f->cfg.mode == FOLDER_SEND_RECEIVE;
	case WALK_REVERT:
		return w->f->cfg.mode == FOLDER_RECEIVE_ONLY;
	case WALK_SETTLE:
		break;
	}
	return w->digest == folder_digest(w->f);
}

static void
folder_walk_go(struct folder_walk *w)
{
	struct folder *f = w->f;

	if (!folder_is_running(f) || (!f->settled && w->kind != WALK_SETTLE)) {
		folder_walk_later(w, FOLDER_WALK_WAIT_NS);
		return;
	}
	if (!folder_walk_is_due(w)) { /* configured anew meanwhile */
		if (w->removing.count == 0)
			folder_walk_end(w);
		return;
	}
	if (!w->listed) {
		folder_walk_rows(w);
		/* A full house is woken by folder_on_removed(). */
		if (w->removing.count < FOLDER_REMOVALS_MAX)
			folder_walk_later(w, 1);
		return;
	}
	if (w->removing.count > 0)
		return;
	if (w->dir.len > 0) {
		folder_remove_dir(w);
		if (w->removing.count == 0)
			folder_walk_later(w, 1);
		return;
	}
	folder_walk_end(w);
}

static void
folder_on_walk(struct engine *en, void *arg)
{
	(void)en;
	folder_walk_go(arg);
}

static void
folder_walk_start(struct folder *f, enum walk_kind kind)
{
	struct folder_walk *w;

	folder_walk_free(f);
	w = mem_zalloc(sizeof(*w));
	w->f = f;
	w->kind = kind;
	w->digest = folder_digest(f);
	w->told_seq = index_seq(f->ix);
	w->told_wall_ns = core_now(f->en).wall_ns;
	list_init(&w->removing);
	core_timer_init(&w->timer, folder_on_walk, w);
	f->walk = w;
	folder_walk_go(w);
}

static void
folder_command(struct folder *f, enum walk_kind kind, enum folder_mode mode)
{
	const char *why = NULL;

	if (f->cfg.mode != mode)
		why = mode == FOLDER_SEND_ONLY ? "not a send-only folder"
		      : mode == FOLDER_RECEIVE_ONLY
			  ? "not a receive-only folder"
			  : "it makes no versions";
	else if (f->ix == NULL || f->ignore == NULL ||
		 f->state == FOLDER_CLOSING)
		why = "it is not open";
	else if (f->walk != NULL && f->walk->removing.count > 0)
		return; /* one is at work; it goes on to the end */
	if (why == NULL)
		folder_walk_start(f, kind);
	else
		log_warn(core_log(f->en),
		    "folder %s refused folder=%s reason=\"%s\"",
		    folder_walk_name(kind),
		    path_print(core_scratch(f->en), f->cfg.id), why);
}

void
folder_walk_free(struct folder *f)
{
	struct folder_walk *w = f->walk;

	if (w == NULL)
		return;
	core_timer_clear(f->en, &w->timer);
	/* Answers are still due: the last of them ends it. */
	if (f->state == FOLDER_CLOSING && w->removing.count > 0 && !w->ended) {
		w->ended = true;
		return;
	}
	removal_free_all(&w->removing);
	for (size_t i = 0; i < w->dir.len; i++)
		mem_free((void *)(uintptr_t)w->dir.item[i].ptr);
	VEC_FINI(&w->dir);
	buf_fini(&w->cursor);
	mem_free(w);
	f->walk = NULL;
}

void
folder_override(struct folder *f)
{
	folder_command(f, WALK_OVERRIDE, FOLDER_SEND_ONLY);
}

void
folder_revert(struct folder *f)
{
	folder_command(f, WALK_REVERT, FOLDER_RECEIVE_ONLY);
}

void
folder_reject(struct folder *f)
{
	folder_command(f, WALK_REJECT, FOLDER_SEND_RECEIVE);
}

void
folder_settle(struct folder *f)
{
	struct slice fact = SLICE_EMPTY;
	struct reader r;

	if (f->ix == NULL || f->ignore == NULL || f->walk != NULL ||
	    f->state == FOLDER_CLOSING)
		return;
	if (index_fact(f->ix, FOLDER_FACT, &fact, core_scratch(f->en)) &&
	    fact.len == 8) {
		reader_init(&r, fact);
		if (reader_u64le(&r) == folder_digest(f))
			return;
		/* From now on rows are put by the new rules: if the old ones
		 * come back before this walk is done, it is due again. */
		index_put_fact(f->ix, FOLDER_FACT, SLICE_EMPTY);
	}
	folder_walk_start(f, WALK_SETTLE);
}
