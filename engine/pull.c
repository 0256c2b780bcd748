/*
 * The pull: which rows are worked on, when, and how it looks from outside.
 *
 * Planning is a pass over the rows that need work: forward first, in path
 * order, for what is made or changed; then, when nothing is being copied from
 * what may go, backward for deletions, deepest first.  What changes meanwhile
 * asks for another pass.  A pass touches a bounded number of rows a step and
 * makes a bounded number of items; it stands still while there is no room.
 */
#include "engine/pull.h"

#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/digest.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/brake.h"
#include "engine/fetch.h"
#include "engine/pull_park.h"
#include "engine/pull_plan.h"
#include "engine/scan.h"
#include "engine/trash.h"
#include "engine/writer.h"

void
pull_plan_soon(struct pull *pl)
{
	const uint64_t now = core_now(pl->f->en).mono_ns;

	/* At now + 1 it goes on where a step's worth of rows ended. */
	if (pl->timer.node.pos == HEAP_OUT || pl->timer.node.at_ns > now + 1)
		core_timer_set(pl->f->en, &pl->timer, now);
}

struct item *
pull_find(const struct pull *pl, struct slice path)
{
	return path.len == 0 ? NULL : map_find(&pl->items, path);
}

/* Temporaries */

void
pull_keep_temp(struct pull *pl, struct slice temp, struct slice path)
{
	char *text = mem_zalloc(path.len + 1);

	if (path.len > 0)
		memcpy(text, path.ptr, path.len);
	mem_free(map_put(&pl->temps, temp, text));
	pl->temps_ns = core_now(pl->f->en).mono_ns;
}

bool
pull_take_temp(struct pull *pl, struct slice temp)
{
	void *path = map_remove(&pl->temps, temp);

	mem_free(path);
	return path != NULL;
}

void
pull_avoid_temp(struct pull *pl, struct slice temp)
{
	map_put(&pl->taken, temp, pl);
}

#define TEMP_NAME_LEN 32u

static void
temp_name_of(struct slice text, char name[TEMP_NAME_LEN])
{
	static const char hex[] = "0123456789abcdef";
	struct digest d;

	digest_of(text, &d);
	for (size_t i = 0; i < TEMP_NAME_LEN; i++)
		name[i] = hex[d.b[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
}

static void
temp_name(enum item_kind kind, struct slice path, struct version version,
    char name[TEMP_NAME_LEN])
{
	struct buf text = { 0 };

	buf_put_u8(&text, (uint8_t)kind);
	buf_put_str(&text, path);
	version_encode(version, &text);
	temp_name_of(buf_slice(&text), name);
	buf_fini(&text);
}

struct slice
pull_temp_name(struct item *it, struct slice path, struct version version)
{
	char name[TEMP_NAME_LEN];

	temp_name(it->kind, path, version, name);
	while (map_find(&it->pl->taken, slice_of(name, sizeof(name))) != NULL)
		temp_name_of(slice_of(name, sizeof(name)), name);
	return item_own(it, slice_of(name, sizeof(name)));
}

bool
pull_own_version(struct item *it, const struct row_version *v,
    struct entry *out)
{
	struct pull *pl = it->pl;
	const struct digest *block = v->entry.block;
	struct err err = { 0 };

	if (v->entry.type == ENTRY_FILE && !v->entry.deleted && block == NULL &&
	    v->entry.block_count > 0 &&
	    index_blocks(pl->f->ix, &v->entry, &block, &pl->row, &err) < 0) {
		folder_met_error(pl->f, err.code, slice_str(err.text));
		return false;
	}
	*out = item_own_entry(it, &v->entry, block);
	return true;
}

/*
 * Is a peer's index still coming, so that a rename may not be whole yet?
 * `more`: by its last message's word; else when the last came `quiet_ns` ago
 * or less.
 */
bool
pull_holds(struct pull *pl, bool more, uint64_t quiet_ns)
{
	const struct folder *f = pl->f;
	const uint64_t now = core_now(f->en).mono_ns;
	uint64_t until = 0;

	for (uint32_t i = 0; i < f->share_count; i++) {
		const struct share *sh = &f->share[i];

		if (sh->peer != NULL && sh->last_index_ns > 0 &&
		    (sh->more_coming || !more) &&
		    sh->last_index_ns + quiet_ns > until)
			until = sh->last_index_ns + quiet_ns;
	}
	if (until <= now) {
		pl->hold_since_ns = 0;
		return false;
	}
	if (pl->hold_since_ns == 0)
		pl->hold_since_ns = now;
	if (now >= pl->hold_since_ns + PULL_HOLD_MAX_NS)
		return false;
	core_timer_set(f->en, &pl->timer, until);
	return true;
}

/* Passes */

static bool
pull_has_room(const struct pull *pl)
{
	return pl->item_count < LIMIT_FOLDER_ITEMS &&
	       pl->block_count < PULL_BLOCKS_MAX && !pl->stopped;
}

/* New names of what is to be deleted may still be on their way. */
static bool
pull_holds_deletes(struct pull *pl)
{
	const struct need_totals need = index_need_totals(pl->f->ix, ROW_SELF);

	return need.deletes > 0 &&
	       pull_holds(pl, false,
		   need.deletes > PULL_HOLD_DELETES ? PULL_HOLD_DIR_NS
						    : PULL_HOLD_DELETE_NS);
}

/* May deletions begin: is nothing that goes still of use? */
static bool
pull_may_delete(const struct pull *pl)
{
	return pl->copying == 0 && !pl->again;
}

static void
pull_begin_pass(struct pull *pl, enum pull_pass pass)
{
	pl->pass = pass;
	buf_clear(&pl->cursor);
	if (pass == PASS_FORWARD) {
		pl->again = false;
		pl->pass_no++;
		brake_pass_began(pl->f);
		map_fini(&pl->no_move);
		if (pl->name_freed)
			pull_park_retry_clashes(pl);
	}
}

/* Everything that could be planned is: directories get their last touch. */
static void
pull_finish_late(struct pull *pl)
{
	struct list_node *n;

	if (pl->item_count > pl->late.count)
		return;
	/* The last made are the deepest: first. */
	while ((n = list_first(&pl->late)) != NULL)
		pull_item_finish_late(LIST_ITEM(n, struct item, node));
}

static void
pull_drop_temp(struct pull *pl, struct slice temp)
{
	struct effect *ef = core_tell(pl->f, EFFECT_DROP_TEMP);

	ef->temp = arena_dup(core_scratch(pl->f->en), temp);
	pull_take_temp(pl, temp);
}

/* In sync: what was kept to be resumed is of no use any more. */
static void
pull_drop_temps(struct folder *f, void *arg, const struct event *ev)
{
	struct pull *pl = arg;

	(void)f;
	/* Only now no intent that names one of them can come back. */
	if (ev->u.done.code != 0 || pl->stopped || pl->item_count > 0)
		return;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->temps, it)) != NULL;)
		pull_drop_temp(pl, it->key);
}

/* Is there enough in it to be worth its room on a full disk, and for what? */
static bool
pull_wants_temp(struct pull *pl, struct slice temp, struct slice path)
{
	const struct row_version *g;
	const struct row *row;
	char name[TEMP_NAME_LEN];

	if (path.len == 0)
		return true; /* of a former run: nobody knows */
	row = index_row(pl->f->ix, path, core_scratch(pl->f->en));
	g = row != NULL ? row_global(row) : NULL;
	if (g == NULL || g->entry.deleted || g->entry.type != ENTRY_FILE ||
	    g->entry.block_count < 2 || devset_has(&g->holders, ROW_SELF))
		return false;
	temp_name(ITEM_FILE, path, g->entry.version, name);
	return slice_equal(temp, slice_of(name, sizeof(name)));
}

/* The disk is full, and there is what may go before anything else is put. */
static void
pull_drop_stale_temps(struct folder *f, void *arg, const struct event *ev)
{
	struct pull *pl = arg;

	(void)f;
	if (ev->u.done.code != 0 || pl->stopped)
		return;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->temps, it)) != NULL;)
		if (!pull_wants_temp(pl, it->key, slice_str(it->value)))
			pull_drop_temp(pl, it->key);
}

static void
pull_end_pass(struct pull *pl)
{
	if (pl->make_room == ROOM_DELETES) {
		pl->make_room = ROOM_WAITS;
		pl->pass = PASS_NONE;
		pl->again = true;
		return;
	}
	if (pl->pass == PASS_FORWARD) {
		pull_begin_pass(pl, PASS_DELETE);
		return;
	}
	pl->pass = PASS_NONE;
	pull_park_sweep(pl);
	if (!pl->again && pl->item_count == 0)
		brake_pass_ended(pl->f);
}

/* What is kept to be resumed goes after a while of being in sync. */
static void
pull_tidy_temps(struct pull *pl)
{
	const uint64_t at_ns = pl->temps_ns + PULL_TEMPS_NS;

	if (map_count(&pl->temps) == 0 || pl->pass != PASS_NONE || pl->again ||
	    pl->item_count > 0 || map_count(&pl->parked) > 0 ||
	    index_has_need(pl->f->ix))
		return; /* what ends that comes by here, too */
	if (core_now(pl->f->en).mono_ns >= at_ns)
		core_commit(pl->f, pull_drop_temps, pl);
	else
		core_timer_set(pl->f->en, &pl->retry, at_ns);
}

static const struct row *
pull_pass_row(struct pull *pl)
{
	const struct slice at = buf_slice(&pl->cursor);

	return pl->pass == PASS_FORWARD
		   ? index_next_need(pl->f->ix, at, &pl->row)
		   : index_prev_need(pl->f->ix, at, &pl->row);
}

/* Plan up to a step's worth of rows; true when there is more to do now. */
static bool
pull_plan(struct pull *pl)
{
	for (uint32_t i = 0; i < LIMIT_STEP_ROWS; i++) {
		const struct row *row;
		enum pull_planned rs = PLAN_NEXT;

		if (pl->pass == PASS_NONE) {
			if (!pl->again ||
			    (pl->make_room == ROOM_WAITS && pl->item_count > 0))
				return false;
			if (pl->make_room == ROOM_WAITS)
				pl->make_room = ROOM_ENOUGH;
			/* No intent may name what goes. */
			if (pl->make_room == ROOM_DELETES &&
			    map_count(&pl->temps) > 0)
				core_commit(pl->f, pull_drop_stale_temps, pl);
			pull_begin_pass(pl, pl->make_room == ROOM_DELETES
						? PASS_DELETE
						: PASS_FORWARD);
		}
		/* A directory rename has the index for itself. */
		if (!pull_has_room(pl) || pl->move != NULL)
			return false;
		if (pl->pass == PASS_DELETE && pl->cursor.len == 0 &&
		    pull_holds_deletes(pl))
			return false;
		if (pl->pass == PASS_DELETE && pl->cursor.len == 0 &&
		    pl->make_room != ROOM_DELETES && !pull_may_delete(pl)) {
			/* Changes first: they may want what would go. */
			if (pl->copying > 0)
				return false;
			pull_begin_pass(pl, PASS_FORWARD);
		}
		arena_clear(&pl->row);
		row = pull_pass_row(pl);
		if (row == NULL) {
			pull_end_pass(pl);
			continue;
		}
		if (pl->pass == PASS_FORWARD)
			rs = pull_plan_row(pl, row);
		else
			pull_plan_delete(pl, row);
		if (rs == PLAN_STAND)
			return false;
		buf_clear(&pl->cursor);
		buf_put(&pl->cursor, row->path);
	}
	return true;
}

static void
pull_on_timer(struct engine *en, void *arg)
{
	struct pull *pl = arg;

	if (!folder_is_running(pl->f) || pl->stopped)
		return;
	if (pull_plan(pl))
		core_timer_set(en, &pl->timer, core_now(en).mono_ns + 1);
	pull_tidy_temps(pl);
	pull_finish_late(pl);
	fetch_pump(pl);
	writer_pump(pl->writer);
}

static void
pull_on_retry(struct engine *en, void *arg)
{
	struct pull *pl = arg;

	(void)en;
	pl->again = true;
	pull_plan_soon(pl);
}

/* Outside */

struct pull *
pull_new(struct folder *f)
{
	struct pull *pl = mem_zalloc(sizeof(*pl));

	pl->f = f;
	core_map_init(f->en, &pl->items);
	core_map_init(f->en, &pl->parked);
	core_map_init(f->en, &pl->below);
	core_map_init(f->en, &pl->owned);
	core_map_init(f->en, &pl->temps);
	core_map_init(f->en, &pl->taken);
	core_map_init(f->en, &pl->no_move);
	core_timer_init(&pl->timer, pull_on_timer, pl);
	core_timer_init(&pl->retry, pull_on_retry, pl);
	list_init(&pl->hungry);
	list_init(&pl->late);
	pl->writer = writer_new(pl);
	return pl;
}

/* Some item that is not ending yet, or, when `force`d, any. */
static struct item *
pull_some_item(const struct pull *pl, bool force)
{
	for (struct map_item *mi = NULL;
	     (mi = map_next(&pl->items, mi)) != NULL;) {
		struct item *it = mi->value;

		if (force ||
		    (it->state != ITEM_BATCHED && it->state != ITEM_ENDING))
			return it;
	}
	return NULL;
}

static void
pull_end_items(struct pull *pl, bool force)
{
	struct item *it;

	/* Ending one may end others: look afresh each time. */
	while ((it = pull_some_item(pl, force)) != NULL) {
		if (force)
			it->ops = 0;
		if (it->state == ITEM_ENDING)
			pull_item_end(it);
		else
			pull_item_cancel(it);
	}
}

void
pull_free(struct pull *pl)
{
	if (pl == NULL)
		return;
	pl->stopped = pl->freeing = true;
	writer_free(pl->writer);
	pull_end_items(pl, true);
	ASSERT(pl->item_count == 0);
	pull_move_free(pl);
	core_timer_clear(pl->f->en, &pl->timer);
	core_timer_clear(pl->f->en, &pl->retry);
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;)
		pull_park_free(it->value);
	map_fini(&pl->items);
	map_fini(&pl->parked);
	map_fini(&pl->below);
	map_fini(&pl->owned);
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->temps, it)) != NULL;)
		mem_free(it->value);
	map_fini(&pl->temps);
	map_fini(&pl->taken);
	map_fini(&pl->no_move);
	pull_recover_free(pl);
	pull_yield_free(pl);
	buf_fini(&pl->cursor);
	arena_fini(&pl->row);
	mem_free(pl);
}

void
pull_wake(struct folder *f)
{
	struct pull *pl = f->pull;

	if (pl == NULL || !folder_is_running(f))
		return;
	pl->stopped = false;
	pl->again = true;
	pull_plan_soon(pl);
}

void
pull_peer_down(struct folder *f, struct share *sh)
{
	(void)sh; /* what it owed was answered ERR_CLOSED */
	pull_wake(f);
}

void
pull_local_changed(struct folder *f, struct slice path)
{
	struct pull *pl = f->pull;
	struct item *it;

	if (pl == NULL)
		return;
	it = pull_find(pl, path);
	if (it != NULL)
		pull_item_cancel(it);
	pull_move_dir_changed(pl, path);
	pull_unpark(pl, path);
	pull_stir(pl, path);
	pull_wake(f);
}

void
pull_stop(struct folder *f)
{
	struct pull *pl = f->pull;

	if (pl == NULL)
		return;
	pl->stopped = true;
	if (f->reason == REASON_DISK_FULL)
		pl->make_room = ROOM_DELETES;
	pull_end_items(pl, false);
	pl->pass = PASS_NONE;
	core_timer_clear(f->en, &pl->timer);
	core_timer_clear(f->en, &pl->retry);
}

void
pull_retry(struct folder *f)
{
	struct pull *pl = f->pull;

	if (pl == NULL)
		return;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;)
		((struct parked *)it->value)->retry_ns = 0;
	pull_wake(f);
}

bool
pull_is_idle(const struct folder *f)
{
	const struct pull *pl = f->pull;

	return pl == NULL ||
	       (pl->item_count == 0 && pl->pass == PASS_NONE && !pl->again &&
		   pl->move == NULL && writer_is_idle(pl->writer));
}

struct pull_progress
pull_progress(const struct folder *f)
{
	const struct pull *pl = f->pull;
	struct pull_progress out = { 0 };

	if (pl == NULL)
		return out;
	out.items = pl->item_count;
	out.received = pl->received;
	out.asked = pl->asked;
	out.writing = pl->in_flight - pl->asked;
	out.failed = (uint32_t)map_count(&pl->parked);
	for (struct map_item *mi = NULL;
	     (mi = map_next(&pl->items, mi)) != NULL;) {
		const struct item *it = mi->value;

		if (it->kind != ITEM_FILE || !slice_equal(it->path, mi->key))
			continue;
		out.bytes_done += it->bytes_have;
		out.bytes_total += it->entry.size;
	}
	return out;
}

static int
problem_cmp(const void *a, const void *b)
{
	const struct pull_problem *x = a, *y = b;

	return slice_cmp(x->path, y->path);
}

uint32_t
pull_problems(const struct folder *f, struct pull_problem **out, uint32_t max,
    struct arena *arena)
{
	const struct pull *pl = f->pull;
	const size_t count = pl == NULL ? 0 : map_count(&pl->parked);
	struct pull_problem *p = arena_array(arena, count + 1, sizeof(*p));
	uint32_t n = 0;

	*out = p;
	if (pl == NULL)
		return 0;
	for (struct map_item *it = NULL;
	     (it = map_next(&pl->parked, it)) != NULL;) {
		const struct parked *pk = it->value;

		p[n++] = (struct pull_problem){
			.path = arena_dup(arena, it->key),
			.reason = pk->reason,
			.text = arena_dup(arena, pk->text),
			.since_wall_ns = pk->since_wall_ns,
			.tries = pk->tries + 1,
		};
	}
	qsort(p, n, sizeof(*p), problem_cmp);
	return n < max ? n : max;
}

enum reason
pull_reason(const struct folder *f, struct slice path, int64_t *bytes_done,
    int64_t *bytes_total)
{
	const struct pull *pl = f->pull;
	const struct item *it = pl == NULL ? NULL : pull_find(pl, path);
	const struct parked *pk;

	*bytes_done = *bytes_total = 0;
	if (pl == NULL)
		return REASON_NONE;
	if (it != NULL) {
		*bytes_done = it->bytes_have;
		*bytes_total = it->kind == ITEM_FILE ? it->entry.size : 0;
		return it->kind == ITEM_FILE && it->state == ITEM_LOADING
			   ? REASON_RECEIVING
			   : REASON_QUEUED;
	}
	pk = map_find(&pl->parked, path);
	if (pk != NULL)
		return pk->reason;
	return pull_park_holds_above(pl, path) ? REASON_PARENT_BLOCKED
					       : REASON_NONE;
}

bool
pull_temp_block(const struct folder *f, struct slice path, struct slice *temp,
    int64_t offset, uint32_t len)
{
	const struct pull *pl = f->pull;
	const struct item *it = pl == NULL ? NULL : pull_find(pl, path);
	int64_t no;

	if (it == NULL || it->kind != ITEM_FILE || it->block == NULL ||
	    !it->touched || it->acted || offset < 0 || len == 0 ||
	    offset >= it->entry.size || len > it->entry.size - offset)
		return false;
	for (no = offset / it->entry.block_size;
	     no * it->entry.block_size < offset + len; no++)
		if (it->block[no] != BLOCK_HAVE)
			return false;
	*temp = it->temp;
	return true;
}
