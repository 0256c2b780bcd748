/*
 * The plan.  See plan.h.
 */
#include "engine/plan.h"

#include "engine/brake.h"
#include "engine/core_state.h"
#include "engine/decide.h"
#include "engine/folder.h"
#include "engine/pull.h"

static const char *const plan_names[] = {
	[PLAN_CREATE] = "create",
	[PLAN_UPDATE] = "update",
	[PLAN_META] = "meta",
	[PLAN_DELETE] = "delete",
	[PLAN_CONFLICT] = "conflict",
	[PLAN_ANNOUNCE] = "announce",
};

const char *
plan_act_name(enum plan_act act)
{
	return plan_names[act];
}

static const struct folder *
plan_folder(const struct engine *en, struct slice id)
{
	for (size_t i = 0; i < en->folder.len; i++) {
		const struct folder *f = en->folder.item[i];

		if (f != NULL && !f->removed && slice_equal(f->cfg.id, id))
			return f;
	}
	return NULL;
}

/* False: nothing is to be done on disk. */
static bool
plan_act_of(const struct verdict *v, enum plan_act *out)
{
	const bool have = v->ours != NULL && !v->ours->entry.deleted;

	switch (v->kind) {
	case VERDICT_NOTHING:
	case VERDICT_ADOPT:
		return false;
	case VERDICT_META:
		*out = PLAN_META;
		return true;
	case VERDICT_TAKE:
		*out = have ? PLAN_UPDATE : PLAN_CREATE;
		return true;
	case VERDICT_DELETE:
		*out = PLAN_DELETE;
		return true;
	case VERDICT_CONFLICT:
		*out = PLAN_CONFLICT;
		return true;
	case VERDICT_REVIVE:
		*out = PLAN_ANNOUNCE;
		return true;
	}
	return false;
}

static struct devid
plan_device(const struct folder *f, uint64_t by_short)
{
	const struct setup *su = core_setup(f->en);

	if (by_short == devid_short(&su->self))
		return su->self;
	for (uint32_t i = 0; i < su->device_count; i++)
		if (devid_short(&su->device[i].id) == by_short)
			return su->device[i].id;
	return (struct devid){ 0 };
}

static bool
plan_entry_of(const struct folder *f, const struct row *row, bool held,
    struct arena *arena, struct plan_entry *out)
{
	const struct verdict v = decide(row, f->cfg.mode, f->cfg.ignore_perms);
	const bool waits = brake_has(f, row, &v);
	const struct entry *e;
	int64_t done, total;

	if ((held && !waits) || !plan_act_of(&v, &out->act))
		return false;
	e = out->act == PLAN_DELETE || out->act == PLAN_ANNOUNCE
		? &v.ours->entry
		: &v.take->entry;
	out->path = arena_dup(arena, row->path);
	out->type = e->type;
	out->size = e->type == ENTRY_FILE ? e->size : 0;
	out->device = plan_device(f, v.take->entry.modified_by);
	out->reason = waits ? REASON_MASS_CHANGE
			    : pull_reason(f, row->path, &done, &total);
	return true;
}

bool
plan_page(const struct engine *en, struct slice folder_id, struct slice after,
    bool held, uint32_t limit, struct arena *arena, struct plan_page *out)
{
	const struct folder *f = plan_folder(en, folder_id);
	struct arena rows[2] = { { 0 } }; /* the row at hand and the next */
	struct plan_entry *entry;
	struct slice at = after;
	uint32_t looked = 0;

	*out = (struct plan_page){ 0 };
	if (f == NULL || f->ix == NULL || f->state == FOLDER_CLOSING)
		return false;
	if (limit == 0 || limit > PLAN_PAGE_MAX)
		limit = PLAN_PAGE_MAX;
	entry = arena_array(arena, limit, sizeof(*entry));
	arena_init(&rows[0]);
	arena_init(&rows[1]);
	while (out->count < limit && looked < PLAN_ROWS_MAX) {
		struct arena *next = &rows[looked++ % 2];
		const struct row *row;

		arena_clear(next);
		row = index_next_need(f->ix, at, next);
		if (row == NULL) {
			at = SLICE_EMPTY;
			break;
		}
		at = row->path;
		if (plan_entry_of(f, row, held, arena, &entry[out->count]))
			out->count++;
	}
	out->entry = entry;
	out->next = arena_dup(arena, at);
	arena_fini(&rows[0]);
	arena_fini(&rows[1]);
	return true;
}
