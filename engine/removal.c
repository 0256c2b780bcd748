/*
 * Removals.  See removal.h.
 *
 *	intent committed -> REMOVE -> row forgotten, committed
 *	                            -> KEEP_VERSION -> flushed -> intent dropped
 */
#include "engine/removal.h"

#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/intent.h"
#include "engine/scan.h"
#include "engine/trash.h"

struct removal {
	struct list_node node;
	struct folder *f;
	struct list *in;
	removal_done_fn *done;
	void *arg;
	struct slice path; /* owned */
	char temp[32];
	struct identity want;
	struct identity kept; /* what is at `temp` now */
	uint64_t intent;      /* 0: none */
	bool removed;
};

static void
removal_free(struct removal *rm)
{
	list_remove(rm->in, &rm->node);
	mem_free((void *)(uintptr_t)rm->path.ptr);
	mem_free(rm);
}

void
removal_free_all(struct list *in)
{
	struct list_node *n;

	while ((n = list_first(in)) != NULL)
		removal_free(LIST_ITEM(n, struct removal, node));
}

/* `keep_intent`: the next start has something to mend. */
static void
removal_end(struct removal *rm, bool keep_intent)
{
	removal_done_fn *done = rm->done;
	void *arg = rm->arg;
	const bool removed = rm->removed;

	if (rm->intent != 0 && !keep_intent)
		index_remove_intent(rm->f->ix, rm->intent);
	removal_free(rm);
	done(arg, removed);
}

static void
removal_flushed(struct folder *f, void *arg, const struct event *ev)
{
	(void)f;
	removal_end(arg, ev->u.done.code != 0);
}

static void
removal_filed(struct folder *f, void *arg, const struct event *ev)
{
	struct removal *rm = arg;
	struct slice *dir;
	struct effect *ef;

	if (!trash_answered(f, ev, rm->kept.size)) {
		/* Written to meanwhile, or no trash can: recovery sees to it.
		 */
		removal_end(rm, true);
		return;
	}
	dir = arena_alloc(core_scratch(f->en), sizeof(*dir));
	*dir = arena_dup(core_scratch(f->en),
	    trash_dir(rm->path, core_scratch(f->en)));
	ef = core_ask(f, EFFECT_SYNC_DIRS, removal_flushed, rm);
	ef->u.sync.name = dir;
	ef->u.sync.count = 1;
}

static void
removal_dropped(struct folder *f, void *arg, const struct event *ev)
{
	(void)f;
	removal_end(arg, ev->u.done.code != 0);
}

/* The row is durable: the bytes may leave staging. */
static void
removal_forgotten(struct folder *f, void *arg, const struct event *ev)
{
	struct removal *rm = arg;
	struct effect *ef;

	if (ev->u.done.code != 0) {
		removal_end(rm, true);
		return;
	}
	if (trash_takes(f, &rm->kept)) {
		trash_keep(f, rm->path, slice_str(rm->temp), &rm->kept,
		    removal_filed, rm);
		return;
	}
	ef = core_ask(f, EFFECT_DROP_TEMP, removal_dropped, rm);
	ef->temp = slice_str(rm->temp);
	ef->want = rm->kept;
}

static void
removal_failed(struct removal *rm, int code, struct slice text)
{
	struct folder *f = rm->f;

	if (code == ERR_CLOSED || folder_met_error(f, code, text))
		return;
	log_info(core_log(f->en), "folder revert skip path=%s reason=\"%.*s\"",
	    path_print(core_scratch(f->en), rm->path), SLICE_FMT(text));
	scan_hint(f, rm->path, false);
}

static void
removal_acted(struct folder *f, void *arg, const struct event *ev)
{
	struct removal *rm = arg;
	const int code = ev->u.done.code;
	const struct row *row = index_row(f->ix, rm->path, core_scratch(f->en));
	const struct row_version *ours = row == NULL ? NULL : row_local(row);

	rm->removed = code == 0;
	if (code != 0 && code != ERR_NOT_FOUND) {
		removal_failed(rm, code, ev->u.done.text);
		removal_end(rm, false);
		return;
	}
	/* Unless somebody put something new there meanwhile. */
	if (ours != NULL &&
	    (ours->entry.deleted || identity_same(&row->seen, &rm->want)))
		index_forget_local(f->ix, rm->path);
	rm->kept = ev->u.done.kept;
	if (code == 0 && rm->kept.type != IDENTITY_ABSENT)
		core_commit(f, removal_forgotten, rm);
	else
		removal_end(rm, false);
}

static void
removal_act(struct removal *rm)
{
	struct effect *ef = core_ask(rm->f, EFFECT_REMOVE, removal_acted, rm);

	ef->path = rm->path;
	ef->temp = slice_str(rm->temp);
	ef->want = rm->want;
}

static void
removal_intended(struct folder *f, void *arg, const struct event *ev)
{
	if (ev->u.done.code != 0 || f->state == FOLDER_CLOSING)
		removal_end(arg, false);
	else
		removal_act(arg);
}

static void
removal_put_intent(struct removal *rm, const struct row_version *ours)
{
	const struct intent in = {
		.kind = INTENT_REVERT,
		.path = rm->path,
		.temp = slice_str(rm->temp),
		.base = rm->want,
		.had = true,
		.before = ours->entry.version,
	};
	struct buf record = { 0 };

	intent_encode(&in, &record);
	rm->intent = index_put_intent(rm->f->ix, buf_slice(&record));
	buf_fini(&record);
}

void
removal_start(struct folder *f, const struct row *row, struct list *in,
    removal_done_fn *done, void *arg)
{
	struct removal *rm = mem_zalloc(sizeof(*rm));
	const unsigned long long random = rng_u64(core_rng(f->en));

	rm->f = f;
	rm->in = in;
	rm->done = done;
	rm->arg = arg;
	rm->path =
	    slice_of(mem_dup(row->path.ptr, row->path.len), row->path.len);
	memcpy(rm->temp,
	    arena_printf(core_scratch(f->en), "revert-%016llx", random),
	    sizeof("revert-") + 16);
	rm->want = row->seen;
	list_add(in, &rm->node);
	if (row_local(row)->entry.type == ENTRY_DIR) {
		removal_act(rm); /* nothing of it goes to staging */
		return;
	}
	removal_put_intent(rm, row_local(row));
	core_commit(f, removal_intended, rm);
}
