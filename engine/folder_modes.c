/*
 * The two commands of one-way folders.
 *
 * Override (send-only): what we have wins over what others changed.  Each row
 * that others brought forward gets a version of ours above all that exist of
 * it; what we do not have becomes a deletion.  Nothing on disk is touched.
 *
 * Revert (receive-only): what people changed here is undone.  What another
 * device has is given an empty vector, older than anything, and the pull
 * replaces it; what nobody else has is removed, files first and directories at
 * the end, deepest first.  BEP-FACTS.md 9.5.
 *
 * Both walk the index a bounded number of rows a step.  They begin when a full
 * scan has ended: before it a missing row may be a file nobody looked at yet.
 */
#include "engine/folder.h"

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/decide.h"
#include "engine/pull.h"
#include "engine/scan.h"

#define FOLDER_WALK_WAIT_NS CLOCK_S /* for the folder to run and settle */
#define FOLDER_REMOVALS_MAX 64u     /* files being removed at once */

struct folder_walk {
	struct folder *f;
	bool revert;
	bool listed;           /* every row has been looked at */
	struct buf cursor;     /* path of the last row looked at */
	VEC(struct slice) dir; /* to be removed, parents first; owned */
	struct list removing;  /* removals not yet answered; owned */
	bool ended;            /* it only waits for them: the folder closes */
	uint64_t done, failed;
	struct core_timer timer;
};

struct folder_removal {
	struct list_node node; /* in walk.removing */
	struct folder_walk *w;
	struct slice path; /* owned */
	char temp[32];
	struct identity want;
};

static void folder_walk_go(struct folder_walk *w);

static void
folder_walk_later(struct folder_walk *w, uint64_t after_ns)
{
	struct engine *en = w->f->en;

	core_timer_set(en, &w->timer, core_now(en).mono_ns + after_ns);
}

static void
folder_walk_end(struct folder_walk *w)
{
	struct folder *f = w->f;

	log_info(core_log(f->en),
	    "folder %s folder=%s changed=%llu failed=%llu",
	    w->revert ? "revert" : "override",
	    path_print(core_scratch(f->en), f->cfg.id),
	    (unsigned long long)w->done, (unsigned long long)w->failed);
	folder_walk_free(f);
	pull_wake(f);
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
	    core_now(f->en).wall_ns / (int64_t)CLOCK_S, arena);
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

	if (v.kind != VERDICT_NOTHING ||
	    (v.reason != REASON_SEND_ONLY &&
		v.reason != REASON_LOCALLY_CHANGED))
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
folder_removal_free(struct folder_removal *rm)
{
	list_remove(&rm->w->removing, &rm->node);
	mem_free((void *)(uintptr_t)rm->path.ptr);
	mem_free(rm);
}

static void
folder_on_removed(struct folder *f, void *arg, const struct event *ev)
{
	struct folder_removal *rm = arg;
	struct folder_walk *w = rm->w;
	const int code = ev->u.done.code;
	const struct row *row = index_row(f->ix, rm->path, core_scratch(f->en));
	const struct row_version *ours = row == NULL ? NULL : row_local(row);

	if (code == 0 || code == ERR_NOT_FOUND) {
		/* Unless somebody put something new there meanwhile. */
		if (ours != NULL && (ours->entry.deleted ||
					identity_same(&row->seen, &rm->want)))
			index_forget_local(f->ix, rm->path);
		if (code == 0 && ev->u.done.kept.type != IDENTITY_ABSENT)
			core_tell(f, EFFECT_DROP_TEMP)->temp =
			    arena_dup(core_scratch(f->en), slice_str(rm->temp));
	} else if (!folder_met_error(f, code, ev->u.done.text)) {
		log_info(core_log(f->en),
		    "folder revert skip path=%s reason=\"%.*s\"",
		    path_print(core_scratch(f->en), rm->path),
		    SLICE_FMT(ev->u.done.text));
		scan_hint(f, rm->path, false);
	}
	if (code == 0)
		w->done++;
	else
		w->failed++;
	folder_removal_free(rm);
	if (!w->ended)
		folder_walk_later(w, 0);
	else if (w->removing.count == 0)
		folder_walk_free(f);
}

static void
folder_remove(struct folder_walk *w, const struct row *row)
{
	struct folder *f = w->f;
	struct folder_removal *rm = mem_zalloc(sizeof(*rm));
	const unsigned long long random = rng_u64(core_rng(f->en));
	struct effect *ef;

	rm->path =
	    slice_of(mem_dup(row->path.ptr, row->path.len), row->path.len);
	memcpy(rm->temp,
	    arena_printf(core_scratch(f->en), "revert-%016llx", random),
	    sizeof("revert-") + 16);
	rm->want = row->seen;
	rm->w = w;
	list_add(&w->removing, &rm->node);
	ef = core_ask(f, EFFECT_REMOVE, folder_on_removed, rm);
	ef->path = rm->path;
	ef->temp = slice_str(rm->temp);
	ef->want = rm->want;
}

static void
folder_revert_row(struct folder_walk *w, const struct row *row,
    struct arena *arena)
{
	struct folder *f = w->f;
	const struct row_version *ours = row_local(row);
	const struct row_version *global = row_global(row);
	struct entry e;

	if ((row->flags & ROW_LOCAL_CHANGED) == 0 || ours == NULL)
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
		row = w->revert ? index_next(f->ix, at, &arena)
				: index_next_need(f->ix, at, &arena);
		if (row == NULL) {
			w->listed = true;
			break;
		}
		buf_clear(&w->cursor);
		buf_put(&w->cursor, row->path);
		if (w->revert)
			folder_revert_row(w, row, &arena);
		else
			folder_override_row(w, row, &arena);
		arena_clear(&arena);
	}
	arena_fini(&arena);
}

static void
folder_walk_go(struct folder_walk *w)
{
	struct folder *f = w->f;
	const enum folder_mode mode =
	    w->revert ? FOLDER_RECEIVE_ONLY : FOLDER_SEND_ONLY;

	if (!folder_is_running(f) || !f->settled) {
		folder_walk_later(w, FOLDER_WALK_WAIT_NS);
		return;
	}
	if (f->cfg.mode != mode) { /* it was changed meanwhile */
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
folder_walk_start(struct folder *f, bool revert)
{
	const char *verb = revert ? "revert" : "override";
	struct folder_walk *w;

	if (f->cfg.mode != (revert ? FOLDER_RECEIVE_ONLY : FOLDER_SEND_ONLY)) {
		log_warn(core_log(f->en),
		    "folder %s refused folder=%s: not a %s folder", verb,
		    path_print(core_scratch(f->en), f->cfg.id),
		    revert ? "receive-only" : "send-only");
		return;
	}
	if (f->ix == NULL || f->state == FOLDER_CLOSING) {
		log_warn(core_log(f->en),
		    "folder %s refused folder=%s: it is not open", verb,
		    path_print(core_scratch(f->en), f->cfg.id));
		return;
	}
	if (f->walk != NULL && f->walk->removing.count > 0)
		return; /* one is at work; it goes on to the end */
	folder_walk_free(f);
	w = mem_zalloc(sizeof(*w));
	w->f = f;
	w->revert = revert;
	list_init(&w->removing);
	core_timer_init(&w->timer, folder_on_walk, w);
	f->walk = w;
	folder_walk_go(w);
}

void
folder_walk_free(struct folder *f)
{
	struct folder_walk *w = f->walk;
	struct list_node *n;

	if (w == NULL)
		return;
	core_timer_clear(f->en, &w->timer);
	/* Answers are still due: the last of them ends it. */
	if (f->state == FOLDER_CLOSING && w->removing.count > 0 && !w->ended) {
		w->ended = true;
		return;
	}
	while ((n = list_first(&w->removing)) != NULL)
		folder_removal_free(LIST_ITEM(n, struct folder_removal, node));
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
	folder_walk_start(f, false);
}

void
folder_revert(struct folder *f)
{
	folder_walk_start(f, true);
}
