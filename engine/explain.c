/*
 * Explain: puts together what row, rules, pull and scanner know of one path.
 */
#include "engine/explain.h"

#include "engine/base/path.h"
#include "engine/brake.h"
#include "engine/conflict.h"
#include "engine/core_state.h"
#include "engine/decide.h"
#include "engine/exchange_state.h"
#include "engine/folder.h"
#include "engine/pull.h"
#include "engine/scan.h"

/* Failed items looked through for the text of this one. */
#define EXPLAIN_PROBLEMS_MAX 65536u
#define EXPLAIN_CONFLICTS_MAX 100u

static struct folder *
explain_find(const struct engine *en, struct slice id)
{
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];

		if (f != NULL && !f->removed && slice_equal(f->cfg.id, id))
			return f;
	}
	return NULL;
}

/* The folder, open and with its rules read. */
static int
explain_folder(const struct engine *en, struct slice id, struct folder **out,
    struct err *err)
{
	*out = explain_find(en, id);
	if (*out == NULL)
		return err_set(err, ERR_NOT_FOUND, "no such folder");
	if ((*out)->ix == NULL || (*out)->ignore == NULL ||
	    (*out)->state == FOLDER_CLOSING)
		return err_set(err, ERR_BUSY, "the folder is not open: %s",
		    (*out)->cfg.paused ? reason_name(REASON_PAUSED)
				       : reason_name((*out)->reason));
	return 0;
}

/* --- Versions and who has them --- */

static struct slice
explain_device_name(const struct engine *en, uint64_t short_id,
    struct arena *arena)
{
	const struct setup *su = &en->setup;
	char text[DEVID_SHORT_TEXT_LEN + 1];

	if (short_id == 0)
		return SLICE_EMPTY;
	if (short_id == devid_short(&su->self) && su->name.len > 0)
		return arena_dup(arena, su->name);
	for (uint32_t i = 0; i < su->device_count; i++)
		if (devid_short(&su->device[i].id) == short_id &&
		    su->device[i].name.len > 0)
			return arena_dup(arena, su->device[i].name);
	devid_short_text(short_id, text);
	return arena_dup(arena, slice_str(text));
}

static const struct devid *
explain_devices(const struct folder *f, const struct devset *set,
    uint32_t *count, struct arena *arena)
{
	const uint32_t slots = index_slots(f->ix);
	struct devid *out = arena_array(arena, slots, sizeof(*out));

	*count = 0;
	for (uint32_t slot = 0; slot < slots; slot++)
		if (devset_has(set, slot))
			out[(*count)++] = *index_device(f->ix, slot);
	return out;
}

static void
explain_add_version(const struct folder *f, const struct row *row, uint32_t i,
    struct explain_version *out, struct arena *arena)
{
	const struct row_version *v = &row->version[i];

	*out = (struct explain_version){
		.entry = v->entry,
		.is_local = (int32_t)i == row->local,
		.is_global = (int32_t)i == row->global,
		.vector = slice_str(version_text(v->entry.version, arena)),
		.modified_by =
		    explain_device_name(f->en, v->entry.modified_by, arena),
	};
	out->holder =
	    explain_devices(f, &v->holders, &out->holder_count, arena);
	out->shadow =
	    explain_devices(f, &v->shadows, &out->shadow_count, arena);
}

/* The global one first, ours next, then the rest in the row's order. */
static void
explain_versions(const struct folder *f, const struct row *row,
    struct explain *out, struct arena *arena)
{
	struct explain_version *version =
	    arena_array(arena, row->version_count, sizeof(*version));
	uint32_t n = 0;

	if (row->global >= 0)
		explain_add_version(f, row, (uint32_t)row->global,
		    &version[n++], arena);
	if (row->local >= 0 && row->local != row->global)
		explain_add_version(f, row, (uint32_t)row->local, &version[n++],
		    arena);
	for (uint32_t i = 0; i < row->version_count; i++)
		if ((int32_t)i != row->global && (int32_t)i != row->local)
			explain_add_version(f, row, i, &version[n++], arena);
	out->version = version;
	out->version_count = n;
}

/* Connected devices that can serve the global version. */
static void
explain_sources(const struct folder *f, const struct row_version *global,
    struct explain *out, struct arena *arena)
{
	struct devid *source =
	    arena_array(arena, f->share_count, sizeof(*source));

	for (uint32_t i = 0; i < f->share_count; i++) {
		const struct share *sh = &f->share[i];

		if (sh->peer != NULL && sh->remote_runs &&
		    devset_has(&global->holders, sh->slot))
			source[out->source_count++] = sh->device;
	}
	out->source = source;
}

/* Does the device have what everyone should have? */
static bool
explain_has(const struct row *row, const struct row_version *global,
    uint32_t slot)
{
	if (devset_has(&global->holders, slot) ||
	    devset_has(&global->shadows, slot))
		return true;
	if (!global->entry.deleted)
		return false;
	/* Deleted, and it has nothing it could lose. */
	for (uint32_t i = 0; i < row->version_count; i++)
		if (!row->version[i].entry.deleted &&
		    devset_has(&row->version[i].holders, slot))
			return false;
	return true;
}

static bool
explain_everywhere(const struct folder *f, const struct row *row,
    const struct row_version *global)
{
	for (uint32_t i = 0; i < f->share_count; i++) {
		const uint32_t slot = f->share[i].slot;

		if (index_peer(f->ix, slot).index_id == 0 ||
		    !explain_has(row, global, slot))
			return false;
	}
	return true;
}

/* --- Why --- */

/* The first parent that is there and is no directory. */
static struct slice
explain_blocker(const struct folder *f, struct slice path, struct arena *arena)
{
	for (size_t i = 0; i < path.len; i++) {
		const struct slice dir = slice_to(path, i);
		const struct row *row;
		const struct row_version *v;

		if (path.ptr[i] != '/')
			continue;
		row = index_row(f->ix, dir, arena);
		v = row == NULL ? NULL : row_local(row);
		if (v == NULL || v->entry.deleted || v->entry.type != ENTRY_DIR)
			return arena_dup(arena, dir);
	}
	return SLICE_EMPTY;
}

/* Text and age of what failed, as the pull remembers it. */
static void
explain_problem(const struct folder *f, struct slice path, struct explain *out,
    struct arena *arena)
{
	struct pull_problem *p = NULL;
	const uint32_t count =
	    pull_problems(f, &p, EXPLAIN_PROBLEMS_MAX, arena);

	for (uint32_t i = 0; i < count; i++) {
		if (!slice_equal(p[i].path, path))
			continue;
		out->reason = p[i].reason;
		out->text = p[i].text;
		out->since_wall_ns = p[i].since_wall_ns;
		return;
	}
}

/* The reason of a verdict that asks for work nobody has begun. */
static enum reason
explain_verdict(const struct verdict *v, const struct explain *out)
{
	switch (v->kind) {
	case VERDICT_NOTHING:
		return v->reason;
	case VERDICT_TAKE:
	case VERDICT_CONFLICT:
	case VERDICT_META:
		break;
	case VERDICT_ADOPT:
	case VERDICT_DELETE:
	case VERDICT_REVIVE:
		return REASON_QUEUED; /* needs no source */
	}
	if (v->take->entry.type != ENTRY_FILE || v->kind == VERDICT_META)
		return REASON_QUEUED;
	return out->source_count > 0 ? REASON_QUEUED : REASON_NO_SOURCE;
}

static void
explain_row(const struct folder *f, const struct row *row, struct explain *out,
    struct arena *arena)
{
	const struct verdict v = decide(row, f->cfg.mode, f->cfg.ignore_perms);
	const struct row_version *global = row_global(row);

	out->known = true;
	out->local_changed = (row->flags & ROW_LOCAL_CHANGED) != 0;
	out->sequence = row->seq;
	explain_versions(f, row, out, arena);
	if (global != NULL)
		explain_sources(f, global, out, arena);
	out->in_sync = v.kind == VERDICT_NOTHING &&
		       v.reason != REASON_SEND_ONLY &&
		       v.reason != REASON_LOCALLY_CHANGED;
	out->reason = explain_verdict(&v, out);
	if (brake_has(f, row, &v))
		out->reason = REASON_MASS_CHANGE;
	if (out->local_changed)
		out->reason = REASON_LOCALLY_CHANGED;
	out->everywhere =
	    out->in_sync &&
	    (global == NULL || explain_everywhere(f, row, global));
}

/* What is being done, or failed, says more than what the row asks for. */
static void
explain_work(const struct folder *f, struct slice path, struct explain *out,
    struct arena *arena)
{
	const enum reason r =
	    pull_reason(f, path, &out->bytes_done, &out->bytes_total);

	if (r != REASON_NONE) {
		out->reason = r;
		out->in_sync = out->everywhere = false;
		explain_problem(f, path, out, arena);
	}
	if (out->reason == REASON_PARENT_BLOCKED)
		out->blocked_by = explain_blocker(f, path, arena);
	if (r == REASON_NONE && scan_has(f, path)) {
		out->reason = REASON_CHANGING;
		out->in_sync = out->everywhere = false;
	}
}

/* Copies are named after it: they stand together in the index. */
static void
explain_conflicts(const struct folder *f, struct slice path,
    struct explain *out, struct arena *arena)
{
	const struct slice base = path_base(path);
	const size_t dot = slice_rfind(base, '.');
	const size_t stem =
	    path.len - base.len + (dot == SIZE_MAX ? base.len : dot);
	const struct slice prefix = slice_str(arena_printf(arena,
	    "%.*s.sync-conflict-", SLICE_FMT(slice_to(path, stem))));
	struct slice *list =
	    arena_array(arena, EXPLAIN_CONFLICTS_MAX, sizeof(*list));
	struct row *row = index_from(f->ix, prefix, arena);

	for (; row != NULL && slice_has_prefix(row->path, prefix) &&
	       out->conflict_count < EXPLAIN_CONFLICTS_MAX;
	     row = index_next(f->ix, row->path, arena)) {
		const struct row_version *v = row_local(row);

		if (v != NULL && !v->entry.deleted &&
		    slice_equal(conflict_original(row->path, arena), path))
			list[out->conflict_count++] = row->path;
	}
	out->conflict = list;
}

/* What is on this disk and cannot be taken into the index. */
static void
explain_skipped(const struct folder *f, struct slice path, struct explain *out,
    struct arena *arena)
{
	struct scan_problem p;

	if (scan_reason(f, path, arena, &p) == REASON_NONE)
		return;
	out->reason = p.reason;
	out->text = p.text;
	out->since_wall_ns = p.since_wall_ns;
	out->in_sync = out->everywhere = false;
}

static struct ignore_match
explain_rule(const struct folder *f, struct slice path, struct arena *arena)
{
	struct ignore_match m = ignore_test(f->ignore, path);

	m.file = arena_dup(arena, m.file);
	m.rule = arena_dup(arena, m.rule);
	return m;
}

/* Do we follow it?  So it is with the parents of what is not ignored. */
static bool
explain_is_followed(const struct row *row)
{
	const struct row_version *v = row == NULL ? NULL : row_local(row);

	return v != NULL && !v->entry.deleted &&
	       (row->flags & ROW_IGNORED) == 0;
}

int
explain_path(const struct engine *en, struct slice folder_id, struct slice path,
    struct now now, struct arena *arena, struct explain *out, struct err *err)
{
	struct folder *f = NULL;
	const struct row *row;
	int rc;

	(void)now;
	*out = (struct explain){ 0 };
	rc = explain_folder(en, folder_id, &f, err);
	if (rc < 0)
		return rc;
	if (path.len == 0)
		return err_set(err, ERR_INVALID, "the root has no versions");
	/* Nothing is known of it: nothing is what should be here. */
	out->in_sync = out->everywhere = true;
	out->rule = explain_rule(f, path, arena);
	row = index_row(f->ix, path, arena);
	if (row != NULL)
		explain_row(f, row, out, arena);
	explain_skipped(f, path, out, arena);
	explain_work(f, path, out, arena);
	explain_conflicts(f, path, out, arena);
	if (out->rule.ignored && !explain_is_followed(row)) {
		out->reason = REASON_IGNORED;
		out->in_sync = out->everywhere = true; /* rightly nothing */
		if (out->rule.file.len == 0)
			out->text = SLICE_LIT("names of this kind are for the "
					      "daemon's own files");
	}
	if (out->conflict_count > 0 && out->reason == REASON_NONE)
		out->reason = REASON_CONFLICT;
	return 0;
}

/* The rules of a folder, if it has read them. */
static int
explain_find_rules(const struct engine *en, struct slice folder_id,
    const struct ignore **out, struct err *err)
{
	const struct folder *f = explain_find(en, folder_id);

	if (f == NULL)
		return err_set(err, ERR_NOT_FOUND, "no such folder");
	*out = f->ignore;
	if (f->ignore != NULL)
		return 0;
	if (f->reason == REASON_IGNORES_BAD)
		return err_set(err, ERR_INVALID, "%s", f->reason_text);
	return err_set(err, ERR_BUSY, "the folder is not open: %s",
	    f->cfg.paused ? reason_name(REASON_PAUSED)
			  : reason_name(f->reason));
}

int
explain_ignore(const struct engine *en, struct slice folder_id,
    struct slice path, struct ignore_match *out, struct err *err)
{
	const struct ignore *ig;
	const int rc = explain_find_rules(en, folder_id, &ig, err);

	if (rc == 0)
		*out = ignore_test(ig, path);
	return rc;
}

int
explain_rules(const struct engine *en, struct slice folder_id,
    struct arena *arena, const struct ignore_match **out, uint32_t *count,
    struct err *err)
{
	const struct ignore *ig;
	const int rc = explain_find_rules(en, folder_id, &ig, err);
	struct ignore_match *list;

	if (rc < 0)
		return rc;
	*count = ignore_count(ig);
	list = arena_array(arena, *count, sizeof(*list));
	for (uint32_t i = 0; i < *count; i++)
		list[i] = ignore_rule(ig, i);
	*out = list;
	return 0;
}
