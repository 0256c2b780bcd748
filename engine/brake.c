/*
 * The brake.  See brake.h.
 */
#include "engine/brake.h"

#include "engine/base/buf.h"
#include "engine/base/hash.h"
#include "engine/base/limits.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/base/vec.h"
#include "engine/pull.h"

#define BRAKE_FACT "brake"
#define BRAKE_FORMAT 1u
/* A device that took nothing away for so long begins to count anew. */
#define BRAKE_QUIET_NS CLOCK_MIN
/* Rows are looked at when no index came for a moment, at last after ... */
#define BRAKE_LOOK_NS CLOCK_S
#define BRAKE_LOOK_MAX_NS (10 * CLOCK_S)
/* Places at which the same content is looked for. */
#define BRAKE_PLACES 8u
/* Paths counted of one device, and contents that are on their way; beyond it
 * it is too much in any case. */
#define BRAKE_PATHS_MAX 1000000u

enum brake_state { BRAKE_FREE, BRAKE_LOOKS, BRAKE_HOLDS, BRAKE_CONFIRMED };

/* One device. */
struct brake_source {
	struct brake_held held; /* its device is always set */
	enum brake_state state;
	struct umap done; /* hashes of the paths it took away */
	uint64_t heard;   /* losses told since looked at last */
	uint64_t last_ns; /* mono: of the last loss */
	uint64_t since_ns;
	bool met; /* in this pass */
	/* Losses that the last look let pass, whatever they are counted as
	 * now: what it took for a rename may look like less by the hour. */
	int64_t allowed;
	/* Of the look under way. */
	int64_t seen, deletes, rewrites, again;
};

enum brake_look {
	LOOK_NOT,
	LOOK_NEW,    /* gathers what content is coming */
	LOOK_LOSSES, /* counts what would be gone */
};

struct brake {
	struct folder *f;
	struct brake_source *source; /* by share */
	uint32_t count;
	uint64_t seed; /* of hashes: paths are the peers' to choose */
	enum brake_look look;
	struct buf cursor;
	struct umap coming; /* contents */
	struct arena row;   /* of the row in work */
	struct core_timer timer;
};

static char brake_mark; /* a value for sets */

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

static bool
brake_is_off(const struct brake *br)
{
	return br->f->cfg.brake_percent == 0 || br->f->ix == NULL;
}

static bool
source_waits(const struct brake_source *src)
{
	return !MUTANT(MUTANT_BRAKE_IGNORED) &&
	       (src->state == BRAKE_LOOKS || src->state == BRAKE_HOLDS);
}

static int64_t
source_limit(const struct brake *br, const struct brake_source *src)
{
	const struct setup_folder *cfg = &br->f->cfg;
	const int64_t limit =
	    brake_limit(src->held.files, cfg->brake_percent, cfg->brake_files);

	return limit < (int64_t)BRAKE_PATHS_MAX ? limit
						: (int64_t)BRAKE_PATHS_MAX;
}

static uint64_t
brake_hash(const struct brake *br, struct slice s)
{
	return hash_u64_seed(s, br->seed);
}

/* --- What is kept --- */

static void
brake_save(struct brake *br)
{
	struct buf out = { 0 };

	buf_put_u8(&out, BRAKE_FORMAT);
	for (uint32_t i = 0; i < br->count; i++) {
		const struct brake_source *src = &br->source[i];

		if (src->state == BRAKE_FREE)
			continue;
		buf_put(&out,
		    slice_of(src->held.device.b, sizeof(src->held.device.b)));
		buf_put_u8(&out, (uint8_t)src->state);
		buf_put_svarint(&out, src->held.deletes);
		buf_put_svarint(&out, src->held.rewrites);
		buf_put_svarint(&out, src->held.done);
		buf_put_svarint(&out, src->held.files);
		buf_put_svarint(&out, src->held.since_wall_ns);
	}
	index_put_fact(br->f->ix, BRAKE_FACT, buf_slice(&out));
	buf_fini(&out);
}

static struct brake_source *
brake_source_of(const struct brake *br, const struct devid *dev)
{
	for (uint32_t i = 0; i < br->count; i++)
		if (devid_equal(&br->source[i].held.device, dev))
			return &br->source[i];
	return NULL;
}

static void
brake_load_one(struct brake *br, struct reader *r)
{
	struct brake_source one = { 0 }, *src;
	struct slice id = reader_bytes(r, sizeof(one.held.device.b));
	const uint8_t state = reader_u8(r);

	one.held.deletes = reader_svarint(r);
	one.held.rewrites = reader_svarint(r);
	one.held.done = reader_svarint(r);
	one.held.files = reader_svarint(r);
	one.held.since_wall_ns = reader_svarint(r);
	if (r->failed || state > BRAKE_CONFIRMED)
		return;
	memcpy(one.held.device.b, id.ptr, sizeof(one.held.device.b));
	src = brake_source_of(br, &one.held.device);
	if (src == NULL)
		return; /* it is not shared with any more */
	src->held = one.held;
	src->state = (enum brake_state)state;
}

static void
brake_load(struct brake *br)
{
	struct slice fact = SLICE_EMPTY;
	struct reader r;

	if (!index_fact(br->f->ix, BRAKE_FACT, &fact, core_scratch(br->f->en)))
		return;
	reader_init(&r, fact);
	if (reader_u8(&r) != BRAKE_FORMAT)
		return;
	while (!r.failed && !reader_done(&r))
		brake_load_one(br, &r);
}

/* --- States --- */

static void
brake_look_soon(struct brake *br)
{
	if (br->look == LOOK_NOT && br->timer.node.pos == HEAP_OUT)
		core_timer_set(br->f->en, &br->timer,
		    core_now(br->f->en).mono_ns + BRAKE_LOOK_NS);
}

static void
source_forget(struct brake_source *src)
{
	umap_fini(&src->done);
	umap_init(&src->done);
	src->heard = 0;
	src->allowed = 0;
}

static void
source_free(struct brake *br, struct brake_source *src)
{
	const struct devid device = src->held.device;

	source_forget(src);
	src->state = BRAKE_FREE;
	memset(&src->held, 0, sizeof(src->held));
	src->held.device = device;
	brake_save(br);
	pull_wake(br->f);
}

static void
source_suspect(struct brake *br, struct brake_source *src)
{
	src->state = BRAKE_LOOKS;
	src->since_ns = core_now(br->f->en).mono_ns;
	brake_save(br);
	brake_look_soon(br);
}

/* Something of this device begins, or goes on. */
static void
source_stir(struct brake *br, struct brake_source *src)
{
	const uint64_t now = core_now(br->f->en).mono_ns;
	const int64_t files = index_local_totals(br->f->ix).files;

	if (src->state == BRAKE_FREE && now - src->last_ns >= BRAKE_QUIET_NS) {
		source_forget(src);
		src->held.files = 0;
	}
	/* What it has grown to meanwhile is there to be lost, too. */
	if (src->held.files < files)
		src->held.files = files;
	src->last_ns = now;
}

static struct slice
source_name(const struct brake *br, const struct brake_source *src)
{
	const struct share *sh = folder_share(br->f, &src->held.device);

	return sh == NULL ? SLICE_EMPTY : sh->name;
}

static void
source_hold(struct brake *br, struct brake_source *src)
{
	struct folder *f = br->f;
	struct effect_note *note;

	src->state = BRAKE_HOLDS;
	src->held.since_wall_ns = core_now(f->en).wall_ns;
	brake_save(br);
	note = core_note(f, NOTE_HELD);
	note->device = src->held.device;
	note->reason = REASON_MASS_CHANGE;
	note->count = src->held.deletes + src->held.rewrites;
	log_error(core_log(f->en),
	    "brake hold folder=%s device=%.*s deletes=%lld rewrites=%lld "
	    "files=%lld",
	    path_print(core_scratch(f->en), f->cfg.id),
	    SLICE_FMT(source_name(br, src)), (long long)src->held.deletes,
	    (long long)src->held.rewrites, (long long)src->held.files);
}

/* --- Whose is it? --- */

/*
 * Who stands for a row's global version: the device that made it when it told
 * us itself, else the first that did and does not wait, else the first.
 * *waits: all who told us do, or the one who made it; a version that somebody
 * else brought as well goes on.
 */
static struct brake_source *
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
			*waits = source_waits(src);
			return src;
		}
		if (first == NULL || (all && !source_waits(src)))
			first = src;
		all = all && source_waits(src);
	}
	*waits = first != NULL && all;
	return first;
}

bool
brake_is_on(const struct folder *f)
{
	for (uint32_t i = 0; i < f->brake->count; i++)
		if (source_waits(&f->brake->source[i]))
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

/* --- Is it really gone? --- */

static bool
brake_first_block(struct brake *br, const struct entry *e, struct digest *out)
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

/* Does another file of this disk have the same bytes, and keep them? */
static bool
brake_is_elsewhere(struct brake *br, struct slice path, const struct entry *e)
{
	const struct setup_folder *cfg = &br->f->cfg;
	struct block_place place[BRAKE_PLACES];
	struct digest hash;
	uint32_t n;

	if (!brake_first_block(br, e, &hash))
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

static bool
brake_is_coming(const struct brake *br, const struct entry *e)
{
	return e->type == ENTRY_FILE && e->size > 0 &&
	       umap_find(&br->coming,
		   brake_hash(br, slice_of(&e->blocks_hash,
				      sizeof(e->blocks_hash)))) != NULL;
}

/* --- Looking --- */

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
	gone = !brake_is_coming(br, &v->ours->entry) &&
	       !brake_is_elsewhere(br, row->path, &v->ours->entry);
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

	if (br->look == LOOK_NEW) {
		const struct entry *e = v.take == NULL ? NULL : &v.take->entry;

		if ((v.kind == VERDICT_TAKE || v.kind == VERDICT_CONFLICT) &&
		    e->type == ENTRY_FILE &&
		    umap_count(&br->coming) < BRAKE_PATHS_MAX)
			umap_put(&br->coming,
			    brake_hash(br, slice_of(&e->blocks_hash,
					       sizeof(e->blocks_hash))),
			    &brake_mark);
		return;
	}
	if (brake_is_loss(&v))
		look_loss(br, row, &v);
}

static void
look_judge(struct brake *br, struct brake_source *src)
{
	const int64_t waiting = src->deletes + src->rewrites;
	const int64_t all =
	    waiting - src->again + (int64_t)umap_count(&src->done);

	if (!source_waits(src))
		return;
	src->heard = 0;
	if (src->state == BRAKE_HOLDS ? waiting == 0
				      : all <= source_limit(br, src)) {
		if (src->state == BRAKE_HOLDS) {
			source_free(br, src);
			return;
		}
		src->state = BRAKE_FREE; /* and goes on counting */
		src->allowed = src->seen;
		brake_save(br);
		pull_wake(br->f);
		return;
	}
	if (src->held.deletes == src->deletes &&
	    src->held.rewrites == src->rewrites && src->state == BRAKE_HOLDS)
		return;
	src->held.deletes = src->deletes;
	src->held.rewrites = src->rewrites;
	if (src->state == BRAKE_LOOKS)
		src->held.done = all - waiting;
	if (src->state == BRAKE_LOOKS)
		source_hold(br, src);
	else
		brake_save(br);
}

static void
look_end(struct brake *br)
{
	br->look = LOOK_NOT;
	umap_fini(&br->coming);
	umap_init(&br->coming);
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
brake_may_look(const struct brake *br)
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
brake_on_timer(struct engine *en, void *arg)
{
	struct brake *br = arg;
	const uint64_t now = core_now(en).mono_ns;

	if (brake_is_off(br) || br->f->state == FOLDER_CLOSING) {
		br->look = LOOK_NOT;
		return;
	}
	if (br->look == LOOK_NOT) {
		if (!brake_is_on(br->f))
			return;
		if (!brake_may_look(br)) {
			core_timer_set(en, &br->timer, now + BRAKE_LOOK_NS);
			return;
		}
		look_begin(br);
	}
	if (look_rows(br))
		core_timer_set(en, &br->timer, now + 1);
	arena_clear(&br->row);
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
			source_stir(br, src);
			src->heard++;
		}
	}
	arena_clear(&br->row);
	if (src->state == BRAKE_HOLDS)
		brake_look_soon(br); /* more, or less */
	else if (!source_waits(src) &&
		 (int64_t)(src->heard + umap_count(&src->done)) >
		     source_limit(br, src))
		source_suspect(br, src);
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
	source_stir(br, src);
	stays = brake_is_elsewhere(br, row->path, &v->ours->entry);
	arena_clear(&br->row);
	if (stays)
		return false;
	if ((int64_t)umap_count(&src->done) >= source_limit(br, src)) {
		if (src->allowed-- > 0)
			return false;
		source_suspect(br, src);
		return true;
	}
	umap_put(&src->done, hash, &brake_mark);
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
			source_forget(src);
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
			source_free(br, &br->source[i]);
}

/* --- People --- */

void
brake_confirm(struct folder *f)
{
	struct brake *br = f->brake;

	for (uint32_t i = 0; i < br->count; i++) {
		struct brake_source *src = &br->source[i];

		if (!source_waits(src))
			continue;
		log_info(core_log(f->en), "brake confirm folder=%s device=%.*s",
		    path_print(core_scratch(f->en), f->cfg.id),
		    SLICE_FMT(source_name(br, src)));
		source_forget(src);
		src->state = BRAKE_CONFIRMED;
		src->met = true; /* until a pass has told */
	}
	if (f->ix == NULL)
		return;
	brake_save(br);
	pull_wake(f);
}

void
brake_rejected(struct folder *f)
{
	struct brake *br = f->brake;

	for (uint32_t i = 0; i < br->count; i++)
		if (source_waits(&br->source[i]))
			source_free(br, &br->source[i]);
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
	umap_init(&br->coming);
	arena_init(&br->row);
	core_timer_init(&br->timer, brake_on_timer, br);
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
	core_timer_clear(br->f->en, &br->timer);
	brake_drop_sources(br->source, br->count);
	umap_fini(&br->coming);
	buf_fini(&br->cursor);
	arena_fini(&br->row);
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
brake_open(struct folder *f)
{
	struct brake *br = f->brake;

	brake_bind(br);
	brake_load(br);
	/* The peers' indexes may have changed it meanwhile: look. */
	if (!brake_is_off(br) && brake_is_on(f))
		brake_look_soon(br);
}

void
brake_close(struct folder *f)
{
	struct brake *br = f->brake;

	core_timer_clear(f->en, &br->timer);
	br->look = LOOK_NOT;
	umap_fini(&br->coming);
	umap_init(&br->coming);
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
				source_free(br, &br->source[i]);
}
