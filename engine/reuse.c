/*
 * Reuse of local bytes.  See reuse.h.
 */
#include "engine/reuse.h"

#include "blockproto/blocks.h"
#include "engine/base/assert.h"
#include "engine/base/hash.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/chunkmap.h"
#include "engine/exchange.h"

/* Chunk maps cost a read of both sides: only where there is much to save. */
#define REUSE_SIZE_MIN ((int64_t)(8 * MIB))
#define REUSE_OLD_MIN ((int64_t)MIB)
/* In a shorter run of blocks the chunks around an edit cost about as much. */
#define REUSE_RUN_MIN ((int64_t)(256 * KIB))
/* Where the old file would be read whole: when so many percent of the blocks
 * are here, they are enough. */
#define REUSE_COVERED 90u
/* Bytes of runs in a batch: half of what a peer has to answer. */
#define REUSE_BATCH_LEN (LIMIT_CHUNK_MAP_LEN / 2)
/* Blocks looked for all over the disk in one step. */
#define REUSE_LOOKUPS 4096u
#define REUSE_PLACES 4u
/* Parts of a long range, so that several workers copy. */
#define REUSE_COPY_LEN ((int64_t)(64 * MIB))
#define REUSE_FETCH_LEN ((uint32_t)MIB)
#define REUSE_COPIES 8u

enum reuse_state {
	REUSE_PLAIN,  /* whole blocks only */
	REUSE_ASKING, /* both chunk maps are on their way */
	REUSE_RANGES, /* copying and fetching ranges */
};

/* A chunk map, and the ranges it shall be of. */
struct reuse_map {
	struct chunk_range *range; /* in the batch's arena */
	uint32_t range_count;
	struct chunk *chunk; /* owned; NULL: has not come */
	uint32_t count;
};

/*
 * Runs of blocks are done in batches of up to LIMIT_CHUNK_RANGES runs and
 * REUSE_BATCH_LEN bytes, which bounds the maps.  A batch is the blocks from
 * `first` up to `end` that are BLOCK_PIECES.
 */
struct reuse {
	enum reuse_state state;
	/* Our older version, block by block. */
	struct digest *old; /* owned; NULL: none */
	uint32_t old_count;
	uint32_t old_block_size;
	int64_t old_size;
	/* An edit in place: what a run was made of is at its place in the old
	 * file, and only that is read; else the old file is, once. */
	bool in_place;
	/* The batch in work. */
	uint32_t first, end;
	struct arena arena;
	struct reuse_map ours, theirs;
	uint32_t waiting; /* maps due */
	bool failed;
	uint64_t asked; /* number of the request; 0: none */
	uint32_t slot;
	struct chunkmap_range *range;
	uint32_t range_count, next;
	int64_t done; /* bytes of the range in work already asked for */
	uint32_t due; /* copies and fetches */
};

void
reuse_free(struct item *it)
{
	struct reuse *ru = it->reuse;

	if (ru == NULL)
		return;
	mem_free(ru->old);
	mem_free(ru->ours.chunk);
	mem_free(ru->theirs.chunk);
	arena_fini(&ru->arena);
	mem_free(ru);
	it->reuse = NULL;
}

/* Read the block list of what is at the item's own path. */
static void
reuse_load_old(struct item *it, struct reuse *ru)
{
	struct pull *pl = it->pl;
	const struct row *row = index_row(pl->f->ix, it->path, &pl->row);
	const struct row_version *v = row == NULL ? NULL : row_local(row);
	const struct digest *block;
	struct err err = { 0 };

	if (v == NULL || v->entry.deleted || v->entry.type != ENTRY_FILE ||
	    v->entry.block_count == 0 || v->entry.block_size == 0)
		return;
	block = v->entry.block;
	if (block == NULL &&
	    index_blocks(pl->f->ix, &v->entry, &block, &pl->row, &err) < 0)
		return;
	ru->old = mem_dup(block, v->entry.block_count * sizeof(*block));
	ru->old_count = v->entry.block_count;
	ru->old_block_size = v->entry.block_size;
	ru->old_size = v->entry.size;
}

static bool
reuse_place_at(struct item *it, const struct block_place *bp, uint32_t len,
    struct reuse_place *out, struct arena *arena)
{
	struct pull *pl = it->pl;
	const struct row *row = index_row(pl->f->ix, bp->path, arena);
	const struct row_version *v = row == NULL ? NULL : row_local(row);

	if (v == NULL || v->entry.deleted || v->entry.type != ENTRY_FILE ||
	    row->seen.type != IDENTITY_FILE || v->entry.block_size == 0 ||
	    bp->block >= v->entry.block_count ||
	    (row->flags & (ROW_IGNORED | ROW_UNSUPPORTED)) != 0)
		return false;
	if (blocks_len(v->entry.size, v->entry.block_size, bp->block) != len)
		return false;
	/* It is just being replaced or moved away. */
	if (map_find(&pl->owned, bp->path) != NULL)
		return false;
	out->path = bp->path;
	out->want = row->seen;
	out->offset = (int64_t)bp->block * v->entry.block_size;
	return true;
}

/* Is block `no` in the old file where it is in the new one? */
static bool
reuse_stands(const struct item *it, uint32_t no)
{
	const struct reuse *ru = it->reuse;

	return ru != NULL && no < ru->old_count &&
	       ru->old_block_size == it->entry.block_size &&
	       digest_equal(&ru->old[no], &it->entry.block[no]) &&
	       it->want.type == IDENTITY_FILE &&
	       blocks_len(ru->old_size, ru->old_block_size, no) ==
		   blocks_len(it->entry.size, it->entry.block_size, no);
}

bool
reuse_find(struct item *it, uint32_t no, struct reuse_place *out,
    struct arena *arena)
{
	const struct digest *hash = &it->entry.block[no];
	const uint32_t len =
	    blocks_len(it->entry.size, it->entry.block_size, no);
	struct block_place place[REUSE_PLACES];
	uint32_t count;

	out->offset = (int64_t)no * it->entry.block_size;
	if (it->block[no] == BLOCK_STAGED) {
		out->path = SLICE_EMPTY;
		return true;
	}
	/* Most often it stands where it stood. */
	if (reuse_stands(it, no)) {
		out->path = it->path;
		out->want = it->want;
		return true;
	}
	count =
	    index_block_places(it->pl->f->ix, hash, place, REUSE_PLACES, arena);
	for (uint32_t i = 0; i < count; i++)
		if (reuse_place_at(it, &place[i], len, out, arena))
			return true;
	return false;
}

/*
 * Blocks that are nowhere here become BLOCK_PIECES.  False: there are none, or
 * so few that they are not worth a look at all of the old file.
 */
static bool
reuse_pick(struct item *it, struct reuse *ru)
{
	const uint32_t count = it->entry.block_count;
	uint32_t stands = 0, moved = 0, pieces = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct arena_mark mark = arena_mark(&it->pl->row);
		struct reuse_place place;

		if (it->block[i] != BLOCK_WANT)
			continue; /* a hole */
		if (reuse_stands(it, i)) {
			stands++;
		} else if (moved + pieces < REUSE_LOOKUPS &&
			   reuse_find(it, i, &place, &it->pl->row)) {
			moved++;
		} else {
			it->block[i] = BLOCK_PIECES;
			pieces++;
		}
		arena_reset(&it->pl->row, mark);
	}
	/* A few blocks that are elsewhere do not make it another file. */
	ru->in_place = stands > 0 && moved <= stands / 8;
	/* One that is too large for a map is looked at run by run, too. */
	if (ru->old_size > (int64_t)LIMIT_CHUNK_MAP_LEN)
		ru->in_place = true;
	if (ru->in_place)
		return pieces > 0;
	return (uint64_t)(count - pieces) * 100 / count < REUSE_COVERED;
}

/* What is BLOCK_PIECES in `first` up to `end` is `state` from here on. */
static void
reuse_release(struct item *it, uint32_t first, uint32_t end,
    enum block_state state)
{
	for (uint32_t i = first; i < end; i++) {
		if (it->block[i] != BLOCK_PIECES)
			continue;
		it->block[i] = (uint8_t)state;
		if (i < it->next)
			it->next = i;
	}
	fetch_hungry(it);
}

/* Something was put behind the old file's end: that is not in the old file. */
static void
reuse_leave_tail(struct item *it, const struct reuse *ru)
{
	if (ru->in_place && ru->old_count >= 2 &&
	    ru->old_count < it->entry.block_count &&
	    it->block[ru->old_count - 2] != BLOCK_PIECES)
		reuse_release(it, ru->old_count, it->entry.block_count,
		    BLOCK_WANT);
}

static void
reuse_add_range(struct reuse_map *map, int64_t offset, int64_t end)
{
	struct chunk_range *r = &map->range[map->range_count++];

	r->offset = offset;
	r->len = end - offset;
}

/* One run of blocks: what shall be known of both files. */
static void
reuse_add_run(struct item *it, struct reuse *ru, uint32_t first, uint32_t end)
{
	const int64_t size = it->entry.size;
	const int64_t from = (int64_t)first * it->entry.block_size;
	int64_t to = (int64_t)end * it->entry.block_size;

	if (to > size)
		to = size;
	if (to - from < REUSE_RUN_MIN ||
	    (ru->in_place && from + REUSE_RUN_MIN > ru->old_size)) {
		reuse_release(it, first, end, BLOCK_WANT);
		return;
	}
	reuse_add_range(&ru->theirs, from, to);
	if (!ru->in_place)
		return;
	/* The last run may have come from further behind. */
	if (to == size || to > ru->old_size)
		to = ru->old_size;
	reuse_add_range(&ru->ours, from, to);
}

/* The runs of the next batch.  False: there is none. */
static bool
reuse_collect(struct item *it, struct reuse *ru)
{
	const uint32_t count = it->entry.block_count;
	uint32_t at = ru->end;
	uint64_t len = 0;

	mem_free(ru->theirs.chunk);
	ru->theirs.chunk = NULL;
	ru->theirs.range_count = 0;
	arena_clear(&ru->arena);
	ru->theirs.range = arena_array(&ru->arena, LIMIT_CHUNK_RANGES,
	    sizeof(*ru->theirs.range));
	ru->ours.range = arena_array(&ru->arena, LIMIT_CHUNK_RANGES,
	    sizeof(*ru->ours.range));
	ru->ours.range_count = 0;
	if (ru->in_place) {
		mem_free(ru->ours.chunk);
		ru->ours.chunk = NULL;
	} else {
		reuse_add_range(&ru->ours, 0, ru->old_size);
	}
	ru->first = at;
	while (at < count && len < REUSE_BATCH_LEN &&
	       ru->theirs.range_count < LIMIT_CHUNK_RANGES) {
		const uint32_t first = at;

		while (at < count && len < REUSE_BATCH_LEN &&
		       it->block[at] == BLOCK_PIECES) {
			len += it->entry.block_size;
			at++;
		}
		if (at > first)
			reuse_add_run(it, ru, first, at);
		else
			at++;
	}
	ru->end = at;
	return ru->theirs.range_count > 0;
}

static void reuse_next(struct item *it);

/* All maps and ranges of the batch are there, or will never be. */
static void
reuse_batch_done(struct item *it, enum block_state state)
{
	struct reuse *ru = it->reuse;

	ru->state = REUSE_PLAIN;
	reuse_release(it, ru->first, ru->end, state);
	if (ru->failed)
		reuse_release(it, ru->end, it->entry.block_count, BLOCK_WANT);
	else
		reuse_next(it);
}

static bool
reuse_place_map(const struct reuse_map *map, struct chunkmap *out,
    struct arena *arena)
{
	return chunkmap_place(out, map->chunk, map->count, map->range,
	    map->range_count, arena);
}

static void
reuse_match(struct item *it)
{
	struct reuse *ru = it->reuse;
	struct chunkmap ours, theirs;

	if (ru->failed || !reuse_place_map(&ru->ours, &ours, &ru->arena) ||
	    !reuse_place_map(&ru->theirs, &theirs, &ru->arena)) {
		ru->failed = true;
		reuse_batch_done(it, BLOCK_WANT);
	} else {
		ru->range_count = chunkmap_match(&ours, &theirs,
		    REUSE_FETCH_LEN, &ru->range, &ru->arena);
		ru->next = 0;
		ru->state = REUSE_RANGES;
		fetch_hungry(it);
	}
	fetch_pump(it->pl);
}

static void
reuse_map_came(struct item *it, struct reuse_map *map, int code,
    const struct chunk *chunk, uint32_t count)
{
	struct reuse *ru = it->reuse;

	if (code != 0 || count == 0) {
		ru->failed = true;
	} else {
		map->count = count;
		map->chunk = mem_dup(chunk, count * sizeof(*chunk));
	}
	if (--ru->waiting == 0)
		reuse_match(it);
}

static void
reuse_ours_came(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;

	(void)f;
	if (pull_item_answered(it))
		return;
	reuse_map_came(it, &it->reuse->ours, ev->u.done.code, ev->u.done.chunk,
	    ev->u.done.chunk_count);
}

static void
reuse_theirs_came(struct folder *f, void *arg, int code,
    const struct chunk *chunk, uint32_t count)
{
	struct item *it = arg;

	(void)f;
	it->reuse->asked = 0;
	reuse_map_came(it, &it->reuse->theirs, code, chunk, count);
}

static struct share *
reuse_share(const struct item *it)
{
	struct folder *f = it->pl->f;

	for (uint32_t i = 0; i < f->share_count; i++) {
		struct share *sh = &f->share[i];

		if (sh->peer != NULL && sh->remote_runs &&
		    devset_has(&it->holders, sh->slot) &&
		    (exchange_features(sh) & FEATURE_CHUNKS) != 0)
			return sh;
	}
	return NULL;
}

void
reuse_stop(struct item *it)
{
	struct reuse *ru = it->reuse;
	struct share *sh;

	if (ru == NULL || ru->asked == 0)
		return;
	sh = folder_share_of_slot(it->pl->f, ru->slot);
	if (sh != NULL && !it->pl->freeing)
		exchange_cancel(it->pl->f, sh, ru->asked);
	ru->asked = 0;
}

static void
reuse_ask_ours(struct item *it)
{
	struct reuse *ru = it->reuse;
	struct folder *f = it->pl->f;
	struct effect *ef = core_ask(f, EFFECT_CHUNK_FILE, reuse_ours_came, it);

	ef->path = arena_dup(core_scratch(f->en), it->path);
	ef->want = it->want;
	if (ru->in_place) {
		ef->u.chunk.range = ru->ours.range;
		ef->u.chunk.count = ru->ours.range_count;
	}
	ru->waiting++;
	it->ops++;
}

static void
reuse_ask_theirs(struct item *it, struct share *sh)
{
	struct reuse *ru = it->reuse;
	struct folder *f = it->pl->f;
	struct arena *scratch = core_scratch(f->en);
	struct chunks_request rq = { .name = arena_dup(scratch, it->path),
		.version = version_dup(it->entry.version, scratch) };

	if (ru->theirs.range[0].len < it->entry.size) {
		rq.range = ru->theirs.range;
		rq.range_count = ru->theirs.range_count;
	}
	ru->slot = sh->slot;
	ru->waiting++;
	ru->asked = exchange_request_chunks(f, sh, &rq, reuse_theirs_came, it);
}

/* Ask for the maps of the next batch, if there is one. */
static void
reuse_next(struct item *it)
{
	struct reuse *ru = it->reuse;
	struct share *sh = reuse_share(it);

	if (sh == NULL || !reuse_collect(it, ru)) {
		reuse_release(it, ru->end, it->entry.block_count, BLOCK_WANT);
		return;
	}
	ru->state = REUSE_ASKING;
	if (ru->ours.chunk == NULL)
		reuse_ask_ours(it);
	reuse_ask_theirs(it, sh);
}

void
reuse_start(struct item *it)
{
	struct reuse *ru;

	if (!it->had || it->want.type != IDENTITY_FILE ||
	    it->entry.block_count < 2)
		return;
	ru = it->reuse = mem_zalloc(sizeof(*ru));
	reuse_load_old(it, ru);
	if (ru->old == NULL || it->entry.size < REUSE_SIZE_MIN ||
	    ru->old_size < REUSE_OLD_MIN || reuse_share(it) == NULL)
		return;
	if (!reuse_pick(it, ru)) {
		reuse_release(it, 0, it->entry.block_count, BLOCK_WANT);
		return;
	}
	reuse_leave_tail(it, ru);
	reuse_next(it);
}

/* All ranges are in the temp, or could not be had. */
static void
reuse_ranges_done(struct item *it)
{
	struct reuse *ru = it->reuse;

	if (ru->due > 0 || (ru->next < ru->range_count && !ru->failed))
		return;
	reuse_batch_done(it, BLOCK_STAGED);
}

void
reuse_range_came(struct item *it)
{
	struct reuse *ru = it->reuse;

	ASSERT(ru->due > 0);
	ru->due--;
	if (ru->state != REUSE_RANGES)
		return;
	fetch_hungry(it);
	reuse_ranges_done(it);
}

void
reuse_range_failed(struct item *it)
{
	it->reuse->failed = true;
	reuse_range_came(it);
}

static void
reuse_copied(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;

	it->copies--;
	if (--f->pull->copying == 0)
		pull_plan_soon(f->pull);
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code == ERR_FULL || ev->u.done.code == ERR_IO) {
		pull_item_error(it, ev->u.done.code, ev->u.done.text);
		return;
	}
	if (ev->u.done.code != 0)
		reuse_range_failed(it);
	else
		reuse_range_came(it);
	fetch_pump(f->pull);
}

static enum fetch_result
reuse_copy(struct item *it, const struct chunkmap_range *r, int64_t len)
{
	struct folder *f = it->pl->f;
	struct effect *ef;

	if (it->copies >= REUSE_COPIES)
		return FETCH_ENOUGH;
	ef = core_ask(f, EFFECT_COPY_TEMP, reuse_copied, it);
	ef->path = arena_dup(core_scratch(f->en), it->path);
	ef->want = it->want;
	ef->temp = arena_dup(core_scratch(f->en), it->temp);
	ef->u.copy.from_offset = r->from + it->reuse->done;
	ef->u.copy.offset = r->offset + it->reuse->done;
	ef->u.copy.len = len;
	ef->u.copy.file_size = it->entry.size;
	it->ops++;
	it->touched = true;
	it->copies++;
	it->pl->copying++;
	return FETCH_DID;
}

enum fetch_result
reuse_step(struct item *it)
{
	struct reuse *ru = it->reuse;
	const struct chunkmap_range *r;
	enum fetch_result rs;
	int64_t len, max;

	if (ru == NULL || ru->state != REUSE_RANGES || ru->failed ||
	    ru->next >= ru->range_count)
		return FETCH_ENOUGH;
	r = &ru->range[ru->next];
	max = r->from >= 0 ? REUSE_COPY_LEN : (int64_t)REUSE_FETCH_LEN;
	len = r->len - ru->done < max ? r->len - ru->done : max;
	if (r->from >= 0)
		rs = reuse_copy(it, r, len);
	else
		rs = fetch_range(it, r->offset + ru->done, (uint32_t)len);
	if (rs != FETCH_DID)
		return rs;
	ru->due++;
	ru->done += len;
	if (ru->done == r->len) {
		ru->next++;
		ru->done = 0;
	}
	return rs;
}
