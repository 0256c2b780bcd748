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

/* Chunk maps cost a read of both files: only where there is much to save. */
#define REUSE_SIZE_MIN ((int64_t)(8 * MIB))
#define REUSE_OLD_MIN ((int64_t)MIB)
#define REUSE_PLACES 4u
/* Parts of a long range, so that several workers copy. */
#define REUSE_COPY_LEN ((int64_t)(64 * MIB))
#define REUSE_FETCH_LEN ((uint32_t)MIB)
#define REUSE_COPIES 4u

enum reuse_state {
	REUSE_PLAIN,  /* whole blocks only */
	REUSE_ASKING, /* both chunk maps are on their way */
	REUSE_RANGES, /* copying and fetching ranges */
};

struct reuse {
	enum reuse_state state;
	/* Our older version, block by block. */
	struct digest *old; /* owned; NULL: none */
	uint32_t old_count;
	uint32_t old_block_size;
	int64_t old_size;
	/* Chunk maps. */
	struct chunk *ours, *theirs; /* owned */
	uint32_t ours_count, theirs_count;
	uint32_t waiting; /* maps due */
	bool failed;
	uint64_t asked; /* number of the request; 0: none */
	uint32_t slot;
	struct arena arena; /* of the ranges */
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
	mem_free(ru->ours);
	mem_free(ru->theirs);
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

bool
reuse_find(struct item *it, uint32_t no, struct reuse_place *out,
    struct arena *arena)
{
	const struct reuse *ru = it->reuse;
	const struct digest *hash = &it->entry.block[no];
	const uint32_t len =
	    blocks_len(it->entry.size, it->entry.block_size, no);
	struct block_place place[REUSE_PLACES];
	uint32_t count;

	/* Most often it stands where it stood. */
	if (ru != NULL && no < ru->old_count &&
	    ru->old_block_size == it->entry.block_size &&
	    digest_equal(&ru->old[no], hash) &&
	    it->want.type == IDENTITY_FILE &&
	    blocks_len(ru->old_size, ru->old_block_size, no) == len) {
		out->path = it->path;
		out->want = it->want;
		out->offset = (int64_t)no * ru->old_block_size;
		return true;
	}
	count =
	    index_block_places(it->pl->f->ix, hash, place, REUSE_PLACES, arena);
	for (uint32_t i = 0; i < count; i++)
		if (reuse_place_at(it, &place[i], len, out, arena))
			return true;
	return false;
}

/* How many of the new blocks are in the old file, in percent. */
static uint32_t
reuse_covered(const struct item *it, const struct reuse *ru)
{
	struct umap known = { 0 };
	uint64_t found = 0;

	if (ru->old_block_size != it->entry.block_size)
		return 0;
	for (uint32_t i = 0; i < ru->old_count; i++) {
		uint64_t key;

		memcpy(&key, ru->old[i].b, sizeof(key));
		umap_put(&known, key, &known);
	}
	for (uint32_t i = 0; i < it->entry.block_count; i++) {
		uint64_t key;

		memcpy(&key, it->entry.block[i].b, sizeof(key));
		found += umap_find(&known, key) != NULL;
	}
	umap_fini(&known);
	return (uint32_t)(found * 100 / it->entry.block_count);
}

bool
reuse_is_busy(const struct item *it)
{
	return it->reuse != NULL && it->reuse->state != REUSE_PLAIN;
}

/* No chunks: blocks, as with everybody else. */
static void
reuse_give_up(struct item *it)
{
	it->reuse->state = REUSE_PLAIN;
	fetch_hungry(it);
	fetch_pump(it->pl);
}

static void
reuse_match(struct item *it)
{
	struct reuse *ru = it->reuse;
	int64_t size = 0;

	for (uint32_t i = 0; i < ru->theirs_count; i++)
		size += ru->theirs[i].len;
	if (ru->failed || size != it->entry.size) {
		reuse_give_up(it);
		return;
	}
	ru->range_count = chunkmap_match(ru->ours, ru->ours_count, ru->theirs,
	    ru->theirs_count, REUSE_FETCH_LEN, &ru->range, &ru->arena);
	ru->state = REUSE_RANGES;
	it->dirty = true;
	/* Holes are no longer known to be holes. */
	memset(it->block, BLOCK_WANT, it->entry.block_count);
	it->missing = it->entry.block_count;
	it->bytes_have = 0;
	it->next = 0;
	fetch_hungry(it);
	fetch_pump(it->pl);
}

static void
reuse_map_came(struct item *it)
{
	if (--it->reuse->waiting == 0)
		reuse_match(it);
}

static void
reuse_ours_came(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;
	struct reuse *ru = it->reuse;

	(void)f;
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code != 0 || ev->u.done.chunk_count == 0) {
		ru->failed = true;
	} else {
		ru->ours_count = ev->u.done.chunk_count;
		ru->ours = mem_dup(ev->u.done.chunk,
		    ru->ours_count * sizeof(*ru->ours));
	}
	reuse_map_came(it);
}

static void
reuse_theirs_came(struct folder *f, void *arg, int code,
    const struct chunk *chunk, uint32_t count)
{
	struct item *it = arg;
	struct reuse *ru = it->reuse;

	(void)f;
	ru->asked = 0;
	if (code != 0 || count == 0) {
		ru->failed = true;
	} else {
		ru->theirs_count = count;
		ru->theirs = mem_dup(chunk, count * sizeof(*chunk));
	}
	reuse_map_came(it);
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

void
reuse_start(struct item *it)
{
	struct folder *f = it->pl->f;
	struct share *sh;
	struct reuse *ru;
	struct effect *ef;

	if (!it->had || it->want.type != IDENTITY_FILE ||
	    it->entry.block_count < 2)
		return;
	ru = it->reuse = mem_zalloc(sizeof(*ru));
	reuse_load_old(it, ru);
	if (ru->old == NULL || it->entry.size < REUSE_SIZE_MIN ||
	    ru->old_size < REUSE_OLD_MIN || reuse_covered(it, ru) >= 90)
		return;
	sh = reuse_share(it);
	if (sh == NULL)
		return;
	ru->state = REUSE_ASKING;
	ru->waiting = 2;
	ru->slot = sh->slot;
	ef = core_ask(f, EFFECT_CHUNK_FILE, reuse_ours_came, it);
	ef->path = arena_dup(core_scratch(f->en), it->path);
	ef->want = it->want;
	it->ops++;
	ru->asked = exchange_request_chunks(f, sh,
	    arena_dup(core_scratch(f->en), it->path),
	    version_dup(it->entry.version, core_scratch(f->en)),
	    reuse_theirs_came, it);
}

/* All ranges are in the temp, or could not be had. */
static void
reuse_ranges_done(struct item *it)
{
	struct reuse *ru = it->reuse;

	if (ru->due > 0 || (ru->next < ru->range_count && !ru->failed))
		return;
	ru->state = REUSE_PLAIN;
	fetch_check(it);
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

	if (ru->state != REUSE_RANGES || ru->failed ||
	    ru->next >= ru->range_count)
		return FETCH_ENOUGH;
	r = &ru->range[ru->next];
	max = r->from >= 0 ? REUSE_COPY_LEN : (int64_t)REUSE_FETCH_LEN;
	len = r->len - ru->done < max ? r->len - ru->done : max;
	if (r->from >= 0)
		rs = reuse_copy(it, r, len);
	else
		rs = fetch_range(it, r->offset + ru->done, (uint32_t)len);
	if (rs == FETCH_ENDED)
		return rs;
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
