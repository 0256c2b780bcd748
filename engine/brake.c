/*
 * The brake.  See brake.h.
 */
#include "engine/brake_state.h"

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/pull.h"

int64_t
brake_limit(int64_t files, uint32_t percent, uint32_t files_min)
{
	const int64_t part =
	    files / 100 * percent + files % 100 * percent / 100;

	return part > (int64_t)files_min ? part : (int64_t)files_min;
}

bool
brake_is_loss(const struct verdict *v)
{
	const struct entry *ours =
	    v->ours == NULL || v->ours->entry.deleted ? NULL : &v->ours->entry;

	if (v->kind != VERDICT_TAKE && v->kind != VERDICT_DELETE)
		return false;
	/* An empty vector: a person gave it up (revert). */
	return ours != NULL && ours->type != ENTRY_DIR &&
	       ours->version.count > 0;
}

bool
brake_is_off(const struct brake *br)
{
	return br->f->cfg.brake_percent == 0 || br->f->ix == NULL;
}

uint64_t
brake_hash(const struct brake *br, struct slice s)
{
	return hash_u64_seed(s, br->seed);
}

/* --- Whose is it? --- */

struct brake_source *
brake_row_source(const struct brake *br, const struct row *row, bool *waits)
{
	const struct row_version *v = row_global(row);
	struct brake_source *first = NULL;
	bool all = true;

	*waits = false;
	for (uint32_t i = 0; i < br->count && i < br->f->share_count; i++) {
		struct brake_source *src = &br->source[i];
		const struct share *sh = &br->f->share[i];

		if (!devset_has(&v->holders, sh->slot))
			continue;
		if (devid_short(&sh->device) == v->entry.modified_by) {
			*waits = brake_source_waits(src);
			return src;
		}
		if (first == NULL || (all && !brake_source_waits(src)))
			first = src;
		all = all && brake_source_waits(src);
	}
	*waits = first != NULL && all;
	return first;
}

bool
brake_is_on(const struct folder *f)
{
	for (uint32_t i = 0; i < f->brake->count; i++)
		if (brake_source_waits(&f->brake->source[i]))
			return true;
	return false;
}

/* Directories are no loss by themselves, but go and stay with their files. */
static bool
brake_concerns(const struct row *row, const struct verdict *v)
{
	return row->global >= 0 &&
	       (brake_is_loss(v) ||
		   (v->ours != NULL && !v->ours->entry.deleted &&
		       v->ours->entry.type == ENTRY_DIR &&
		       (v->kind == VERDICT_DELETE || v->kind == VERDICT_TAKE)));
}

bool
brake_has(const struct folder *f, const struct row *row,
    const struct verdict *v)
{
	bool waits;

	if (brake_is_off(f->brake) || !brake_is_on(f) ||
	    !brake_concerns(row, v))
		return false;
	brake_row_source(f->brake, row, &waits);
	return waits;
}

/* --- Counting --- */

void
brake_heard(struct folder *f, const struct share *sh, struct slice path)
{
	struct brake *br = f->brake;
	struct brake_source *src = brake_source_of(br, &sh->device);
	const struct row *row;
	struct verdict v;

	if (src == NULL || brake_is_off(br))
		return;
	/* Too few to be too much: an empty folder that is filled. */
	if (src->state == BRAKE_FREE && umap_count(&src->done) == 0 &&
	    index_local_totals(f->ix).files <= (int64_t)f->cfg.brake_files)
		return;
	row = index_row(f->ix, path, &br->row);
	if (row != NULL && row->global >= 0 &&
	    devset_has(&row_global(row)->holders, sh->slot)) {
		v = decide(row, f->cfg.mode, f->cfg.ignore_perms);
		if (brake_is_loss(&v)) {
			brake_source_stir(br, src);
			src->heard++;
		}
	}
	arena_clear(&br->row);
	if (src->state == BRAKE_HOLDS)
		brake_look_soon(br); /* more, or less */
	else if (!brake_source_waits(src) &&
		 (int64_t)(src->heard + umap_count(&src->done)) >
		     brake_source_limit(br, src))
		brake_source_suspect(br, src);
}

bool
brake_stops(struct folder *f, const struct row *row, const struct verdict *v)
{
	struct brake *br = f->brake;
	struct brake_source *src;
	uint64_t hash;
	bool waits, stays;

	if (brake_is_off(br) || !brake_concerns(row, v))
		return false;
	src = brake_row_source(br, row, &waits);
	if (src == NULL)
		return false;
	src->met = true;
	if (waits)
		return true;
	if (src->state == BRAKE_CONFIRMED || !brake_is_loss(v))
		return false;
	hash = brake_hash(br, row->path);
	if (umap_find(&src->done, hash) != NULL)
		return false;
	brake_source_stir(br, src);
	stays = brake_look_elsewhere(br, row->path, &v->ours->entry);
	arena_clear(&br->row);
	if (stays)
		return false;
	if ((int64_t)umap_count(&src->done) >= brake_source_limit(br, src)) {
		if (src->allowed-- > 0)
			return false;
		brake_source_suspect(br, src);
		return true;
	}
	umap_put(&src->done, hash, src);
	return false;
}

void
brake_pass_began(struct folder *f)
{
	const uint64_t now = core_now(f->en).mono_ns;

	for (uint32_t i = 0; i < f->brake->count; i++) {
		struct brake_source *src = &f->brake->source[i];

		src->met = false;
		if (src->state == BRAKE_FREE &&
		    now - src->last_ns >= BRAKE_QUIET_NS)
			brake_source_forget(src);
	}
}

void
brake_pass_ended(struct folder *f)
{
	struct brake *br = f->brake;

	for (uint32_t i = 0; i < br->count; i++)
		if ((br->source[i].state == BRAKE_CONFIRMED ||
			br->source[i].state == BRAKE_HOLDS) &&
		    !br->source[i].met)
			brake_source_release(br, &br->source[i]);
}

/* --- People --- */

void
brake_confirm(struct folder *f)
{
	struct brake *br = f->brake;

	for (uint32_t i = 0; i < br->count; i++) {
		struct brake_source *src = &br->source[i];

		if (!brake_source_waits(src))
			continue;
		log_info(core_log(f->en), "brake confirm folder=%s device=%.*s",
		    path_print(core_scratch(f->en), f->cfg.id),
		    SLICE_FMT(brake_source_name(br, src)));
		brake_source_forget(src);
		src->state = BRAKE_CONFIRMED;
		src->met = true; /* until a pass has told */
	}
	if (f->ix == NULL)
		return;
	brake_source_save(br);
	pull_wake(f);
}

void
brake_rejected(struct folder *f)
{
	struct brake *br = f->brake;

	for (uint32_t i = 0; i < br->count; i++)
		if (brake_source_waits(&br->source[i]))
			brake_source_release(br, &br->source[i]);
}

uint32_t
brake_list(const struct folder *f, struct brake_held **out, struct arena *arena)
{
	const struct brake *br = f->brake;
	struct brake_held *list = arena_array(arena, br->count, sizeof(*list));
	uint32_t n = 0;

	*out = list;
	for (uint32_t i = 0; i < br->count; i++)
		if (br->source[i].state == BRAKE_HOLDS)
			list[n++] = br->source[i].held;
	return n;
}

/* --- Life --- */

struct brake *
brake_new(struct folder *f)
{
	struct brake *br = mem_zalloc(sizeof(*br));

	br->f = f;
	br->seed = rng_u64(core_rng(f->en));
	brake_look_init(br);
	return br;
}

static void
brake_drop_sources(struct brake_source *source, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		umap_fini(&source[i].done);
	mem_free(source);
}

void
brake_free(struct brake *br)
{
	if (br == NULL)
		return;
	brake_look_fini(br);
	brake_drop_sources(br->source, br->count);
	mem_free(br);
}

/* One source a share, in their order; those that stay keep what they have. */
static void
brake_bind(struct brake *br)
{
	const struct folder *f = br->f;
	struct brake_source *was = br->source;
	const uint32_t was_count = br->count;

	br->source = mem_array(f->share_count + 1, sizeof(*br->source));
	br->count = f->share_count;
	memset(br->source, 0, (br->count + 1) * sizeof(*br->source));
	for (uint32_t i = 0; i < br->count; i++) {
		struct brake_source *src = &br->source[i];

		src->held.device = f->share[i].device;
		for (uint32_t k = 0; k < was_count; k++) {
			if (!devid_equal(&was[k].held.device,
				&src->held.device))
				continue;
			*src = was[k];
			umap_init(&was[k].done);
		}
	}
	brake_drop_sources(was, was_count);
}

void
brake_rename(struct folder *f, const struct devid *was, const struct devid *now)
{
	struct brake_source *src = brake_source_of(f->brake, was);

	if (src != NULL)
		src->held.device = *now;
}

void
brake_open(struct folder *f)
{
	struct brake *br = f->brake;

	brake_bind(br);
	brake_source_load(br);
	/* The peers' indexes may have changed it meanwhile: look. */
	if (!brake_is_off(br) && brake_is_on(f))
		brake_look_soon(br);
}

void
brake_close(struct folder *f)
{
	struct brake *br = f->brake;

	brake_look_stop(br);
	brake_drop_sources(br->source, br->count);
	br->source = NULL;
	br->count = 0;
}

void
brake_setup(struct folder *f)
{
	struct brake *br = f->brake;

	if (f->ix == NULL)
		return;
	brake_bind(br);
	if (brake_is_off(br)) /* nothing is held by what is not asked for */
		for (uint32_t i = 0; i < br->count; i++)
			if (br->source[i].state != BRAKE_FREE)
				brake_source_release(br, &br->source[i]);
}
