/*
 * Fetching.  See fetch.h.
 */
#include "engine/fetch.h"

#include "blockproto/blocks.h"
#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/exchange.h"
#include "engine/reuse.h"

/*
 * Bytes asked and being written: of one file, so that others find room and a
 * second source something to give, and of all, which is what a slow disk makes
 * us hold.  Of large blocks eight: two on the wire while three writers have two
 * each.  A file that has gone on for a while may have as much, for on a long
 * way it is this that bounds the speed; a second source has come by then, or
 * there is none.
 */
#define FETCH_FILE_BYTES (16 * MIB)
#define FETCH_FILE_BLOCKS 8u
#define FETCH_FILE_BYTES_MAX (32 * MIB)
#define FETCH_ALL_BYTES (64 * MIB)
/* Copies from this disk at once. */
#define FETCH_FILE_COPIES 8u
#define FETCH_ALL_COPIES 64u
#define FREE_RANGE UINT32_MAX

static uint32_t
block_len(const struct item *it, uint32_t no)
{
	return blocks_len(it->entry.size, it->entry.block_size, no);
}

static int64_t
block_offset(const struct item *it, uint32_t no)
{
	return (int64_t)no * it->entry.block_size;
}

/* May `len` more bytes of this file be asked for? */
static bool
file_has_room(const struct item *it, uint32_t len)
{
	uint64_t most = (uint64_t)it->entry.block_size * FETCH_FILE_BLOCKS;

	if (most < (uint64_t)it->bytes_have / 2)
		most = (uint64_t)it->bytes_have / 2;
	if (most < FETCH_FILE_BYTES)
		most = FETCH_FILE_BYTES;
	if (most > FETCH_FILE_BYTES_MAX)
		most = FETCH_FILE_BYTES_MAX;
	return it->in_flight == 0 || it->in_flight + len <= most;
}

void
fetch_hungry(struct item *it)
{
	if (it->hungry || it->state != ITEM_LOADING || it->block == NULL)
		return;
	it->hungry = true;
	list_add(&it->pl->hungry, &it->node);
}

void
fetch_unlist(struct item *it)
{
	if (!it->hungry)
		return;
	it->hungry = false;
	list_remove(&it->pl->hungry, &it->node);
}

static void
fetch_sate(struct item *it, uint64_t bytes)
{
	ASSERT(it->in_flight >= bytes && it->pl->in_flight >= bytes);
	it->in_flight -= bytes;
	it->pl->in_flight -= bytes;
}

static void
ask_free(struct item_ask *ask)
{
	ask->item->pl->asked -= ask->len;
	list_remove(&ask->item->asks, &ask->node);
	mem_free(ask);
}

void
fetch_stop(struct item *it)
{
	struct folder *f = it->pl->f;
	struct list_node *n;

	reuse_stop(it);
	while ((n = list_first(&it->asks)) != NULL) {
		struct item_ask *ask = LIST_ITEM(n, struct item_ask, node);
		struct share *sh = folder_share_of_slot(f, ask->slot);

		if (sh != NULL && !it->pl->freeing)
			exchange_cancel(f, sh, ask->number);
		fetch_sate(it, ask->len);
		ask_free(ask);
	}
}

void
fetch_keep_temp(struct item *it)
{
	struct effect *ef;

	if (it->kind != ITEM_FILE || !it->touched)
		return;
	/* What an intent named goes when no crash can bring that back: a temp
	 * that is gone then says that it was put. */
	if (it->pl->make_room == ROOM_ENOUGH || it->entry.block_count > 1 ||
	    (it->intended && !MUTANT(MUTANT_TEMP_GONE_FIRST))) {
		pull_keep_temp(it->pl, it->temp, it->path);
		return;
	}
	/* Little to resume, and the disk is full: not worth its inode. */
	ef = core_tell(it->pl->f, EFFECT_DROP_TEMP);
	ef->temp = arena_dup(core_scratch(it->pl->f->en), it->temp);
}

static struct effect_meta
fetch_meta(const struct item *it)
{
	const struct entry *e = &it->entry;

	return (struct effect_meta){
		.set_perms = !e->no_perms && !it->pl->f->cfg.ignore_perms,
		.perms = e->perms & 0777u,
		.set_mtime = true,
		.mtime_s = e->mtime_s,
		.mtime_ns = e->mtime_ns,
	};
}

/* Is whatever is being put into the temp now the last of it? */
static bool
fetch_is_last(const struct item *it)
{
	return it->missing == 1;
}

static void
fetch_sealed(struct item *it, const struct event *ev)
{
	it->staged = ev->u.done.seen;
	fetch_unlist(it);
	pull_item_loaded(it);
}

static void
fetch_seal_done(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;

	(void)f;
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code != 0)
		pull_item_error(it, ev->u.done.code, ev->u.done.text);
	else
		fetch_sealed(it, ev);
}

/* All bytes are there, or there are none: size, permissions and time. */
static void
fetch_seal(struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect *ef;

	fetch_unlist(it);
	it->ops++;
	if (it->touched) {
		ef = core_ask(f, EFFECT_SEAL_TEMP, fetch_seal_done, it);
		ef->u.seal.file_size = it->entry.size;
		ef->u.seal.meta = fetch_meta(it);
	} else {
		ef = core_ask(f, EFFECT_WRITE_TEMP, fetch_seal_done, it);
		ef->u.write.payload = payload_new(0);
		ef->u.write.file_size = it->entry.size;
		ef->u.write.seal = true;
		ef->u.write.meta = fetch_meta(it);
		it->touched = true;
	}
	ef->temp = arena_dup(core_scratch(f->en), it->temp);
}

/* The block `no` is in the temp, verified. */
static void
fetch_have(struct item *it, uint32_t no)
{
	ASSERT(it->missing > 0);
	it->block[no] = BLOCK_HAVE;
	it->missing--;
	it->bytes_have += block_len(it, no);
}

static void
fetch_want(struct item *it, uint32_t no, enum block_state state)
{
	it->block[no] = (uint8_t)state;
	if (no < it->next)
		it->next = no;
	fetch_hungry(it);
}

static void
fetch_go_on(struct item *it)
{
	if (it->missing == 0 && it->ops == 0 && it->asks.count == 0)
		fetch_seal(it);
	else if (it->missing > 0)
		fetch_hungry(it);
}

/* A write or copy that also answers for its block. */
struct fetch_put {
	struct item *item;
	uint32_t block;
	uint32_t len;
	uint32_t slot; /* who sent it; of writes */
	bool from_temp;
	bool seal;
	bool copy;
};

static struct fetch_put *
fetch_put_new(struct item *it, uint32_t no, uint32_t len)
{
	struct fetch_put *put = item_own_zeroed(it, sizeof(*put));

	put->item = it;
	put->block = no;
	put->len = len;
	put->seal = no != FREE_RANGE && fetch_is_last(it);
	it->ops++;
	it->touched = true;
	return put;
}

static void
fetch_copy_done(struct folder *f, void *arg, const struct event *ev)
{
	struct fetch_put put = *(struct fetch_put *)arg;
	struct item *it = put.item;
	struct pull *pl = f->pull;
	const int code = ev->u.done.code;

	it->copies--;
	if (--pl->copying == 0)
		pull_plan_soon(pl); /* deletions may wait for that */
	if (pull_item_answered(it))
		return;
	if (code == ERR_FULL || code == ERR_IO || code == ERR_MISSING_ROOT) {
		pull_item_error(it, code, ev->u.done.text);
		return;
	}
	if (code != 0) {
		/* Not what the index thought: a peer has it. */
		fetch_want(it, put.block, BLOCK_FAR);
	} else {
		fetch_have(it, put.block);
		if (put.seal) {
			fetch_sealed(it, ev);
			return;
		}
		fetch_go_on(it);
	}
	fetch_pump(pl);
}

static void
fetch_copy(struct item *it, uint32_t no, const struct reuse_place *place)
{
	struct folder *f = it->pl->f;
	struct fetch_put *put = fetch_put_new(it, no, block_len(it, no));
	struct effect *ef = core_ask(f, EFFECT_COPY_TEMP, fetch_copy_done, put);

	ef->temp = arena_dup(core_scratch(f->en), it->temp);
	if (place->path.len > 0) {
		ef->path = arena_dup(core_scratch(f->en), place->path);
		ef->want = place->want;
	} else {
		ef->u.copy.from_temp = ef->temp;
	}
	ef->u.copy.from_offset = place->offset;
	ef->u.copy.offset = block_offset(it, no);
	ef->u.copy.len = block_len(it, no);
	ef->u.copy.verify = !MUTANT(MUTANT_COPY_UNCHECKED);
	ef->u.copy.hash = it->entry.block[no];
	ef->u.copy.file_size = it->entry.size;
	ef->u.copy.seal = put->seal;
	ef->u.copy.meta = fetch_meta(it);
	it->block[no] = BLOCK_ASKED;
	it->copies++;
	it->pl->copying++;
}

/*
 * The device did not give what it said it has.  Of a temporary that may be, and
 * counts only against that; a holder is not asked for this file again.
 */
static void
fetch_blame(struct item *it, uint32_t slot, bool from_temp, bool bad_data)
{
	const struct share *sh;

	if (!from_temp) {
		devset_add(&it->failed, slot);
		it->bad_data |= bad_data;
		return;
	}
	sh = folder_share_of_slot(it->pl->f, slot);
	if (sh != NULL)
		exchange_temp_failed(it->pl->f, sh, it->path);
}

static void
fetch_write_done(struct folder *f, void *arg, const struct event *ev)
{
	struct fetch_put put = *(struct fetch_put *)arg;
	struct item *it = put.item;
	const int code = ev->u.done.code;

	fetch_sate(it, put.len);
	if (pull_item_answered(it)) {
		fetch_pump(f->pull);
		return;
	}
	if (code == ERR_CORRUPT) {
		/* It sent something else: not from there again. */
		log_warn(core_log(f->en), "fetch bad-data slot=%u path=%s",
		    (unsigned)put.slot,
		    path_print(core_scratch(f->en), it->path));
		fetch_blame(it, put.slot, put.from_temp, true);
		fetch_want(it, put.block, BLOCK_FAR);
	} else if (code != 0 && !MUTANT(MUTANT_WRITE_ERROR_IGNORED)) {
		pull_item_error(it, code, ev->u.done.text);
	} else if (put.block == FREE_RANGE) {
		reuse_range_came(it);
	} else {
		fetch_have(it, put.block);
		if (put.seal)
			fetch_sealed(it, ev);
		else
			fetch_go_on(it);
	}
	fetch_pump(f->pull);
}

/* `payload` is taken. */
static void
fetch_write(struct item *it, const struct item_ask *ask,
    struct payload *payload)
{
	struct folder *f = it->pl->f;
	struct fetch_put *put = fetch_put_new(it, ask->block, ask->len);
	struct effect *ef =
	    core_ask(f, EFFECT_WRITE_TEMP, fetch_write_done, put);

	put->slot = ask->slot;
	put->from_temp = ask->from_temp;
	ef->temp = arena_dup(core_scratch(f->en), it->temp);
	ef->u.write.offset = ask->offset;
	ef->u.write.payload = payload;
	if (ask->block != FREE_RANGE) {
		ef->u.write.verify = !MUTANT(MUTANT_HASH_UNCHECKED);
		ef->u.write.hash = it->entry.block[ask->block];
	}
	ef->u.write.file_size = it->entry.size;
	ef->u.write.seal = put->seal;
	ef->u.write.meta = fetch_meta(it);
}

static void
fetch_answer(struct folder *f, void *arg, int code, struct payload *payload)
{
	struct item_ask ask = *(struct item_ask *)arg;
	struct item *it = ask.item;

	ask_free(arg);
	if (code != 0) {
		fetch_sate(it, ask.len);
		if (code == ERR_NOT_FOUND && !ask.from_temp)
			devset_add(&it->lacking, ask.slot);
		if (code != ERR_CLOSED)
			fetch_blame(it, ask.slot, ask.from_temp,
			    code == ERR_CORRUPT);
		if (ask.block == FREE_RANGE)
			reuse_range_failed(it);
		else
			fetch_want(it, ask.block, BLOCK_FAR);
	} else {
		f->pull->received += ask.len;
		fetch_write(it, &ask, payload);
	}
	fetch_pump(f->pull);
}

/* The holder of whom least is asked, with room for `len`; NULL: none now. */
static struct share *
fetch_choose(const struct item *it, uint32_t len, bool *none)
{
	struct folder *f = it->pl->f;
	struct share *best = NULL;

	*none = true;
	for (uint32_t i = 0; i < f->share_count; i++) {
		struct share *sh = &f->share[i];

		if (sh->peer == NULL || !sh->remote_runs ||
		    !devset_has(&it->holders, sh->slot) ||
		    devset_has(&it->failed, sh->slot))
			continue;
		*none = false;
		if (!exchange_has_room(sh, len))
			continue;
		if (best == NULL ||
		    exchange_asked_bytes(sh) < exchange_asked_bytes(best))
			best = sh;
	}
	return best;
}

static void
fetch_ask(struct item *it, struct share *sh, uint32_t no, int64_t offset,
    uint32_t len, bool from_temp)
{
	struct folder *f = it->pl->f;
	struct item_ask *ask = mem_zalloc(sizeof(*ask));
	struct request rq = {
		.name = arena_dup(core_scratch(f->en), it->path),
		.offset = offset,
		.size = (int32_t)len,
		.from_temporary = from_temp,
	};

	*ask = (struct item_ask){
		.item = it,
		.slot = sh->slot,
		.offset = offset,
		.len = len,
		.block = no,
		.from_temp = from_temp,
	};
	if (no != FREE_RANGE) {
		rq.block_no = (int32_t)no;
		rq.hash = arena_dup(core_scratch(f->en),
		    slice_of(it->entry.block[no].b, DIGEST_LEN));
	}
	list_add(&it->asks, &ask->node);
	it->in_flight += len;
	it->pl->in_flight += len;
	it->pl->asked += len;
	ask->number = exchange_request(f, sh, &rq, fetch_answer, ask);
}

/*
 * Did we give it away, to make way for something that nobody has any more, and
 * did all who are said to have it do the same?  Each counts on the others then,
 * for ever.  Once refused may mean that a word is on its way.
 */
static bool
fetch_is_nowhere(const struct item *it)
{
	struct pull *pl = it->pl;
	const struct parked *pk = map_find(&pl->parked, it->path);
	const struct row *row = index_row(pl->f->ix, it->path, &pl->row);

	if (row == NULL || row->local >= 0 || row->seq == 0 ||
	    row->global < 0 || pl->f->cfg.mode != FOLDER_SEND_RECEIVE ||
	    !version_equal(row_global(row)->entry.version, it->entry.version) ||
	    MUTANT(MUTANT_NOWHERE_AWAITED))
		return false;
	for (uint32_t slot = 0; slot < index_slots(pl->f->ix); slot++)
		if (devset_has(&row_global(row)->holders, slot) &&
		    !devset_has(&it->lacking, slot))
			return false;
	return pk != NULL && pk->reason == REASON_NO_SOURCE &&
	       core_now(pl->f->en).mono_ns - pk->since_ns >= PULL_REVIVE_NS;
}

/* It is in trash cans only: say so. */
static void
fetch_put_gone(const struct item *it)
{
	struct folder *f = it->pl->f;
	static const struct identity absent;
	const int64_t now_s = core_now(f->en).wall_ns / (int64_t)CLOCK_S;
	const struct entry e = {
		.name = it->path,
		.type = it->entry.type,
		.deleted = true,
		.perms = it->entry.perms,
		.no_perms = it->entry.no_perms,
		.mtime_s = now_s,
		.modified_by = core_self_short(f->en),
		.version =
		    version_bump(it->entry.version, core_self_short(f->en),
			index_stamp(f->ix, now_s), &it->pl->row),
	};

	log_warn(core_log(f->en), "fetch nowhere path=%s",
	    path_print(core_scratch(f->en), it->path));
	index_put_local(f->ix, &e, &absent, 0);
}

/* Nobody there has it: wait for one, unless something is still on its way. */
static enum fetch_result
fetch_no_source(struct item *it)
{
	if (it->ops > 0 || it->asks.count > 0)
		return FETCH_ENOUGH;
	if (fetch_is_nowhere(it)) {
		fetch_put_gone(it);
		pull_item_cancel(it);
		return FETCH_ENDED;
	}
	pull_item_fail(it, it->bad_data ? REASON_BAD_DATA : REASON_NO_SOURCE,
	    it->bad_data ? "what was sent is not what was announced" : "");
	return FETCH_ENDED;
}

enum fetch_result
fetch_range(struct item *it, int64_t offset, uint32_t len)
{
	struct share *sh;
	bool none;

	if (!file_has_room(it, len))
		return FETCH_ENOUGH;
	sh = fetch_choose(it, len, &none);
	if (sh == NULL)
		return none ? fetch_no_source(it) : FETCH_NO_ROOM;
	fetch_ask(it, sh, FREE_RANGE, offset, len, false);
	return FETCH_DID;
}

/* Somebody who is fetching the same and has this block already. */
static struct share *
fetch_choose_temp(const struct item *it, uint32_t no)
{
	const struct exchange_temp want = {
		.name = it->path,
		.version = it->entry.version,
		.block_size = it->entry.block_size,
		.block = no,
		.len = block_len(it, no),
	};

	return exchange_temp_source(it->pl->f, &want);
}

/* One more block to ask for. */
static enum fetch_result
fetch_block(struct item *it)
{
	struct pull *pl = it->pl;
	struct reuse_place place;
	struct share *sh;
	uint32_t no, len;
	bool none, from_temp;

	while (
	    it->next < it->entry.block_count && it->block[it->next] > BLOCK_FAR)
		it->next++;
	no = it->next;
	if (no >= it->entry.block_count)
		return FETCH_ENOUGH;
	len = block_len(it, no);
	if (it->block[no] < BLOCK_FAR) {
		if (it->copies >= FETCH_FILE_COPIES)
			return FETCH_ENOUGH;
		if (pl->copying >= FETCH_ALL_COPIES)
			return FETCH_NO_ROOM;
		if (reuse_find(it, no, &place, &pl->row)) {
			fetch_copy(it, no, &place);
			return FETCH_DID;
		}
		it->block[no] = BLOCK_FAR;
	}
	if (!file_has_room(it, len))
		return FETCH_ENOUGH;
	sh = fetch_choose(it, len, &none);
	from_temp = sh == NULL;
	if (from_temp)
		sh = fetch_choose_temp(it, no);
	if (sh == NULL)
		return none ? fetch_no_source(it) : FETCH_NO_ROOM;
	it->block[no] = BLOCK_ASKED;
	fetch_ask(it, sh, no, block_offset(it, no), len, from_temp);
	return FETCH_DID;
}

/* One more thing to ask for: ranges first, then whole blocks. */
static enum fetch_result
fetch_one(struct item *it)
{
	enum fetch_result range, block;

	if (it->checking)
		return FETCH_ENOUGH;
	range = reuse_step(it);
	if (range == FETCH_DID || range == FETCH_ENDED)
		return range;
	block = fetch_block(it);
	return block == FETCH_ENOUGH ? range : block;
}

/* Could any peer be asked for anything at all? */
static bool
fetch_has_room(const struct pull *pl)
{
	const struct folder *f = pl->f;

	if (pl->in_flight >= FETCH_ALL_BYTES)
		return false;
	for (uint32_t i = 0; i < f->share_count; i++)
		if (exchange_has_room(&f->share[i], 1))
			return true;
	/* Without peers files may still be made of what is here. */
	return pl->in_flight == 0;
}

void
fetch_pump(struct pull *pl)
{
	size_t tries = pl->hungry.count;

	/* One round finds whoever can go on; a new one only after success. */
	while (tries > 0 && pl->hungry.count > 0 && !pl->stopped &&
	       fetch_has_room(pl)) {
		struct item *it =
		    LIST_ITEM(list_first(&pl->hungry), struct item, node);
		const struct arena_mark mark = arena_mark(&pl->row);

		fetch_unlist(it);
		switch (fetch_one(it)) {
		case FETCH_DID:
			fetch_hungry(it);
			tries = pl->hungry.count;
			break;
		case FETCH_NO_ROOM:
			fetch_hungry(it);
			tries--;
			break;
		case FETCH_ENOUGH:
		case FETCH_ENDED:
			tries--;
			break;
		}
		arena_reset(&pl->row, mark);
	}
}

static void
fetch_check_done(struct folder *f, void *arg, const struct event *ev)
{
	struct item *it = arg;
	const uint8_t *have = ev->u.done.have;

	it->checking = false;
	if (pull_item_answered(it))
		return;
	if (ev->u.done.code == 0 && have != NULL) {
		for (uint32_t i = 0; i < it->entry.block_count; i++)
			if (it->block[i] != BLOCK_HAVE &&
			    (have[i / 8] >> (i % 8) & 1) != 0)
				fetch_have(it, i);
	}
	it->touched = ev->u.done.code == 0;
	fetch_go_on(it);
	fetch_pump(f->pull);
}

/* Which blocks does the temp of an earlier try hold? */
static void
fetch_check(struct item *it)
{
	struct folder *f = it->pl->f;
	struct effect *ef =
	    core_ask(f, EFFECT_CHECK_TEMP, fetch_check_done, it);

	it->checking = true;
	it->ops++;
	ef->temp = arena_dup(core_scratch(f->en), it->temp);
	ef->u.check.size = it->entry.size;
	ef->u.check.block_size = it->entry.block_size;
	ef->u.check.count = it->entry.block_count;
	ef->u.check.hash = it->entry.block;
}

void
fetch_start(struct item *it)
{
	const uint32_t count = it->entry.block_count;

	it->state = ITEM_LOADING;
	it->block = mem_zalloc(count + 1);
	it->missing = count;
	if (pull_take_temp(it->pl, it->temp)) {
		it->touched = true;  /* to be kept again when we are stopped */
		it->intended = true; /* ... an earlier item's may come back */
	}
	if (it->touched && it->entry.size > 0) {
		fetch_check(it);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t len = block_len(it, i);

		/* Holes read as zeros: nothing to fetch or write. */
		if (len == 0 || blocks_is_zero(&it->entry.block[i], len))
			fetch_have(it, i);
	}
	if (it->missing == 0) {
		fetch_seal(it);
		return;
	}
	reuse_start(it);
	fetch_hungry(it);
}
