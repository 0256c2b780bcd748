/*
 * The brake's look: what would really be gone?
 *
 * Two walks over all that is needed, a step's worth of rows at a time: first
 * what content is coming, then what of ours would go and neither comes under
 * another name nor is on this disk elsewhere.  With that each device that waits
 * is judged.
 */
#include "engine/brake_state.h"

#include "engine/base/limits.h"
#include "engine/pull.h"

/* Rows are looked at when no index came for a moment, at last after ... */
#define BRAKE_LOOK_NS CLOCK_S
#define BRAKE_LOOK_MAX_NS (10 * CLOCK_S)
/* Places at which the same content is looked for. */
#define BRAKE_PLACES 8u

static bool
look_first_block(struct brake *br, const struct entry *e, struct digest *out)
{
	const struct digest *block = e->block;
	struct err err = { 0 };

	if (e->type != ENTRY_FILE || e->size == 0 || e->block_count == 0)
		return false;
	if (block == NULL &&
	    index_blocks(br->f->ix, e, &block, &br->row, &err) < 0)
		return false;
	*out = block[0];
	return true;
}

bool
brake_look_elsewhere(struct brake *br, struct slice path, const struct entry *e)
{
	const struct setup_folder *cfg = &br->f->cfg;
	struct block_place place[BRAKE_PLACES];
	struct digest hash;
	uint32_t n;

	if (!look_first_block(br, e, &hash))
		return false;
	n = index_block_places(br->f->ix, &hash, place, BRAKE_PLACES, &br->row);
	for (uint32_t i = 0; i < n; i++) {
		const struct row *row;
		struct verdict v;

		if (place[i].block != 0 || slice_equal(place[i].path, path))
			continue;
		row = index_row(br->f->ix, place[i].path, &br->row);
		if (row == NULL || row_local(row) == NULL ||
		    !decide_same_content(&row_local(row)->entry, e))
			continue;
		v = decide(row, cfg->mode, cfg->ignore_perms);
		if (!brake_is_loss(&v))
			return true;
	}
	return false;
}

/* By which a content is known among those that are coming. */
static uint64_t
look_content(const struct brake *br, const struct entry *e)
{
	return brake_hash(br,
	    slice_of(&e->blocks_hash, sizeof(e->blocks_hash)));
}

static bool
look_is_coming(const struct brake *br, const struct entry *e)
{
	return e->type == ENTRY_FILE && e->size > 0 &&
	       umap_find(&br->coming, look_content(br, e)) != NULL;
}

/* The first walk: what it would make here is new content. */
static void
look_coming(struct brake *br, const struct verdict *v)
{
	if ((v->kind == VERDICT_TAKE || v->kind == VERDICT_CONFLICT) &&
	    v->take->entry.type == ENTRY_FILE &&
	    umap_count(&br->coming) < BRAKE_PATHS_MAX)
		umap_put(&br->coming, look_content(br, &v->take->entry), br);
}

/* For one of those who stand for it. */
static void
look_count(struct brake *br, struct brake_source *src, const struct row *row,
    const struct verdict *v, bool gone)
{
	src->seen++;
	if (!gone)
		return;
	if (v->kind == VERDICT_DELETE)
		src->deletes++;
	else
		src->rewrites++;
	if (umap_find(&src->done, brake_hash(br, row->path)) != NULL)
		src->again++;
}

/*
 * What several told us counts for each of them: who was let because another
 * one stands for it would be suspected again at once, for ever.
 */
static void
look_loss(struct brake *br, const struct row *row, const struct verdict *v)
{
	const struct row_version *g = row_global(row);
	struct brake_source *src;
	bool waits, gone;

	src = brake_row_source(br, row, &waits);
	if (src == NULL || !waits)
		return;
	gone = !look_is_coming(br, &v->ours->entry) &&
	       !brake_look_elsewhere(br, row->path, &v->ours->entry);
	if (devid_short(&src->held.device) == g->entry.modified_by) {
		look_count(br, src, row, v, gone);
		return;
	}
	for (uint32_t i = 0; i < br->count && i < br->f->share_count; i++)
		if (devset_has(&g->holders, br->f->share[i].slot))
			look_count(br, &br->source[i], row, v, gone);
}

static void
look_row(struct brake *br, const struct row *row)
{
	struct folder *f = br->f;
	const struct verdict v = decide(row, f->cfg.mode, f->cfg.ignore_perms);

	if (br->look == LOOK_NEW)
		look_coming(br, &v);
	else if (brake_is_loss(&v))
		look_loss(br, row, &v);
}

/* It was only suspected: is it too much? */
static void
look_judge_suspect(struct brake *br, struct brake_source *src)
{
	const int64_t waiting = src->deletes + src->rewrites;
	const int64_t all =
	    waiting - src->again + (int64_t)umap_count(&src->done);

	if (all <= brake_source_limit(br, src)) {
		src->state = BRAKE_FREE; /* and goes on counting */
		src->allowed = src->seen;
		brake_source_save(br);
		pull_wake(br->f);
		return;
	}
	src->held.deletes = src->deletes;
	src->held.rewrites = src->rewrites;
	src->held.done = all - waiting;
	brake_source_hold(br, src);
}

/* It is held until a person decides, or nothing is left to decide about. */
static void
look_judge_held(struct brake *br, struct brake_source *src)
{
	if (src->deletes + src->rewrites == 0) {
		brake_source_release(br, src);
		return;
	}
	if (src->held.deletes == src->deletes &&
	    src->held.rewrites == src->rewrites)
		return;
	src->held.deletes = src->deletes;
	src->held.rewrites = src->rewrites;
	brake_source_save(br);
}

static void
look_judge(struct brake *br, struct brake_source *src)
{
	if (!brake_source_waits(src))
		return;
	src->heard = 0;
	if (src->state == BRAKE_HOLDS)
		look_judge_held(br, src);
	else
		look_judge_suspect(br, src);
}

void
brake_look_stop(struct brake *br)
{
	core_timer_clear(br->f->en, &br->timer);
	br->look = LOOK_NOT;
	umap_fini(&br->coming);
	umap_init(&br->coming);
}

static void
look_end(struct brake *br)
{
	brake_look_stop(br);
	for (uint32_t i = 0; i < br->count; i++)
		look_judge(br, &br->source[i]);
}

static void
look_begin(struct brake *br)
{
	br->look = LOOK_NEW;
	buf_clear(&br->cursor);
	for (uint32_t i = 0; i < br->count; i++)
		br->source[i].seen = br->source[i].deletes =
		    br->source[i].rewrites = br->source[i].again = 0;
}

/* A step's worth of rows; true when there is more. */
static bool
look_rows(struct brake *br)
{
	for (uint32_t i = 0; i < LIMIT_STEP_ROWS; i++) {
		const struct row *row = index_next_need(br->f->ix,
		    buf_slice(&br->cursor), &br->row);

		if (row == NULL) {
			buf_clear(&br->cursor);
			if (br->look == LOOK_LOSSES) {
				look_end(br);
				return false;
			}
			br->look = LOOK_LOSSES;
			return true;
		}
		buf_clear(&br->cursor);
		buf_put(&br->cursor, row->path);
		look_row(br, row);
		arena_clear(&br->row);
	}
	return true;
}

/* Is more of an index probably on its way?  Not for ever. */
static bool
look_may_begin(const struct brake *br)
{
	const struct folder *f = br->f;
	const uint64_t now = core_now(f->en).mono_ns;

	for (uint32_t i = 0; i < br->count; i++)
		if (br->source[i].state == BRAKE_LOOKS &&
		    now - br->source[i].since_ns >= BRAKE_LOOK_MAX_NS)
			return true;
	for (uint32_t i = 0; i < f->share_count; i++)
		if (f->share[i].peer != NULL &&
		    f->share[i].last_index_ns + BRAKE_LOOK_NS > now)
			return false;
	return true;
}

static void
look_on_timer(struct engine *en, void *arg)
{
	struct brake *br = arg;
	const uint64_t now = core_now(en).mono_ns;

	if (brake_is_off(br) || br->f->state == FOLDER_CLOSING) {
		brake_look_stop(br);
		return;
	}
	if (br->look == LOOK_NOT) {
		if (!brake_is_on(br->f))
			return;
		if (!look_may_begin(br)) {
			core_timer_set(en, &br->timer, now + BRAKE_LOOK_NS);
			return;
		}
		look_begin(br);
	}
	if (look_rows(br))
		core_timer_set(en, &br->timer, now + 1);
	arena_clear(&br->row);
}

void
brake_look_soon(struct brake *br)
{
	if (br->look == LOOK_NOT && br->timer.node.pos == HEAP_OUT)
		core_timer_set(br->f->en, &br->timer,
		    core_now(br->f->en).mono_ns + BRAKE_LOOK_NS);
}

void
brake_look_init(struct brake *br)
{
	umap_init(&br->coming);
	arena_init(&br->row);
	core_timer_init(&br->timer, look_on_timer, br);
}

void
brake_look_fini(struct brake *br)
{
	core_timer_clear(br->f->en, &br->timer);
	umap_fini(&br->coming);
	buf_fini(&br->cursor);
	arena_fini(&br->row);
}
