/*
 * The index: what each call promises.  Random histories are compared with a
 * model in test_index_model.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blockproto/blocks.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"
#include "engine/index.h"
#include "engine/schema.h"
#include "engine/store_mem.h"

static const struct devid self = { { 1 } }, peer_a = { { 2 } },
			  peer_b = { { 3 } };
static const struct identity seen = { .type = IDENTITY_FILE, .ino = 7 };

struct fixture {
	struct store *st;
	struct index *ix;
	struct arena arena;
	uint32_t a, b; /* slots */
};

static void
open_index(struct fixture *f)
{
	assert_int_equal(index_open(&f->ix, f->st, &self, 42, NULL), 0);
	assert_int_equal(index_slot(f->ix, &peer_a, &f->a, NULL), 0);
	assert_int_equal(index_slot(f->ix, &peer_b, &f->b, NULL), 0);
}

static int
setup(void **state)
{
	struct fixture *f = mem_zalloc(sizeof(*f));

	f->st = store_mem_new();
	open_index(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	index_close(f->ix);
	store_mem_free(f->st);
	arena_fini(&f->arena);
	mem_free(f);
	return 0;
}

static void
reopen(struct fixture *f)
{
	index_flush(f->ix);
	store_mem_commit(f->st);
	index_close(f->ix);
	store_mem_crash(f->st);
	open_index(f);
}

/* A file of `count` blocks that begin with `content`. */
static struct entry
file(struct fixture *f, const char *name, uint64_t id, uint64_t value,
    uint8_t content, uint32_t count)
{
	struct counter *c = arena_array(&f->arena, 1, sizeof(*c));
	struct digest *d = arena_array(&f->arena, count, sizeof(*d));
	struct entry e = { .name = slice_str(name),
		.perms = 0644,
		.size = (int64_t)count * 131072,
		.mtime_s = 100,
		.modified_by = id,
		.version = { c, id != 0 ? 1 : 0 },
		.block_size = 131072,
		.block_count = count,
		.block = d };

	*c = (struct counter){ id, value };
	for (uint32_t i = 0; i < count; i++) {
		d[i].b[0] = content;
		d[i].b[1] = (uint8_t)i;
		d[i].b[2] = (uint8_t)(i >> 8);
	}
	blocks_digest(d, count, &e.blocks_hash);
	return e;
}

static struct row *
row_of(struct fixture *f, const char *path)
{
	return index_row(f->ix, slice_str(path), &f->arena);
}

static void
new_index_has_an_id_and_no_rows(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 1, 1);

	assert_int_equal(index_id(f->ix), 42);
	assert_true(index_is_new(f->ix));
	assert_int_equal(index_seq(f->ix), 0);
	reopen(f);
	assert_true(index_is_new(f->ix));
	assert_null(index_next(f->ix, SLICE_EMPTY, &f->arena));
	index_put_local(f->ix, &e, &seen, 0);
	index_forget_local(f->ix, e.name);
	assert_null(row_of(f, "a"));
	assert_false(index_is_new(f->ix));
	reopen(f);
	assert_false(index_is_new(f->ix));
	assert_int_equal(index_seq(f->ix), 1);
}

static void
a_device_with_another_id_keeps_its_slot_and_its_word(void **state)
{
	struct fixture *f = *state;
	const struct devid me = { { 11 } }, a = { { 12 } }, c = { { 14 } };
	const struct setup_former former[] = { { self, me }, { peer_a, a } };
	const struct peer_state said = { .index_id = 77, .max_sequence = 5 };
	struct entry e = file(f, "ours", 1, 1, 1, 1);
	struct entry r = file(f, "theirs", 2, 1, 2, 1);
	struct err err = { 0 };
	uint32_t slot;

	index_put_local(f->ix, &e, &seen, 0);
	assert_int_equal(index_put_remote(f->ix, f->a, &r, &err), 0);
	index_put_peer(f->ix, f->a, said);
	index_rename(f->ix, &c, &a); /* of whom nothing is known */
	assert_true(devid_equal(index_device(f->ix, f->a), &peer_a));
	index_flush(f->ix);
	store_mem_commit(f->st);
	index_close(f->ix);
	/* Another device's still, unless it is said who is who. */
	assert_int_equal(index_open(&f->ix, f->st, &me, 9, &err), ERR_CORRUPT);
	assert_int_equal(
	    index_open_former(&f->ix, f->st, &me, former, 2, 9, &err), 0);
	assert_int_equal(index_id(f->ix), 42);
	assert_true(devid_equal(index_device(f->ix, ROW_SELF), &me));
	assert_int_equal(index_slot(f->ix, &a, &slot, NULL), 0);
	assert_int_equal(slot, f->a);
	assert_int_equal(index_peer(f->ix, slot).index_id, 77);
	assert_int_equal(index_peer(f->ix, slot).max_sequence, 5);
	assert_true(row_of(f, "ours")->local >= 0);
	assert_true(devset_has(&row_of(f, "theirs")->version[0].holders, slot));
	/* A kill before the commit: the same once more; after it, nothing. */
	for (int i = 0; i < 2; i++) {
		if (i > 0) {
			index_flush(f->ix);
			store_mem_commit(f->st);
		}
		index_close(f->ix);
		store_mem_crash(f->st);
		assert_int_equal(
		    index_open_former(&f->ix, f->st, &me, former, 2, 9, &err),
		    0);
		assert_true(devid_equal(index_device(f->ix, ROW_SELF), &me));
		assert_int_equal(index_slots(f->ix), 3);
	}
}

static void
a_new_id_that_has_a_slot_of_its_own_leaves_both(void **state)
{
	struct fixture *f = *state;

	index_rename(f->ix, &peer_a, &peer_b);
	assert_true(devid_equal(index_device(f->ix, f->a), &peer_a));
	assert_true(devid_equal(index_device(f->ix, f->b), &peer_b));
	/* This device is slot 0, whatever others were. */
	for (int i = 0; i < 2; i++) {
		index_rename(f->ix, &self, &peer_b);
		assert_true(
		    devid_equal(index_device(f->ix, ROW_SELF), &peer_b));
		assert_true(devid_equal(index_device(f->ix, f->b), &self));
	}
	index_rename(f->ix, &peer_b, &self); /* teardown opens nothing */
}

static void
index_of_another_device_or_format_is_refused(void **state)
{
	struct fixture *f = *state;
	struct index *other = NULL;
	struct err err = { 0 };
	struct buf rec = { 0 };

	reopen(f);
	assert_int_equal(index_open(&other, f->st, &peer_a, 9, &err),
	    ERR_CORRUPT);
	assert_null(other);
	schema_seal(SLICE_LIT("format"),
	    SLICE_LIT("\x63\x01\x01\x01\x01\x01\x01\x01\x01"), &rec);
	store_put(f->st, STORE_META, SLICE_LIT("format"), buf_slice(&rec));
	assert_int_equal(index_open(&other, f->st, &self, 9, &err),
	    ERR_CORRUPT);
	assert_non_null(strstr(err.text, "format 99"));
	store_remove(f->st, STORE_META, SLICE_LIT("format"));
	assert_int_equal(index_open(&other, f->st, &self, 9, &err),
	    ERR_CORRUPT);
	buf_fini(&rec);
}

/* They were not kept once: an index of then says nothing of them. */
static void
conflict_copies_are_counted_and_those_of_an_old_index_too(void **state)
{
	static const char copy[] =
	    "d/a.sync-conflict-20260102-030405-ABCDEFG.x";
	struct fixture *f = *state;
	struct entry plain = file(f, "a", 1, 1, 1, 1);
	struct entry kept = file(f, copy, 1, 2, 1, 1);
	struct slice value, body = SLICE_EMPTY;
	struct buf rec = { 0 };
	struct err err = { 0 };

	index_put_local(f->ix, &plain, &seen, 0);
	assert_int_equal(index_conflict_totals(f->ix), 0);
	index_put_local(f->ix, &kept, &seen, 0);
	assert_int_equal(index_conflict_totals(f->ix), 1);
	reopen(f);
	assert_int_equal(index_conflict_totals(f->ix), 1);

	assert_true(store_find(f->st, STORE_META, SLICE_LIT("state"), &value,
	    &f->arena));
	assert_int_equal(schema_unseal(SLICE_LIT("state"), value, &body, &err),
	    0);
	assert_int_equal(body.ptr[body.len - 1], 2); /* 1, as a svarint */
	schema_seal(SLICE_LIT("state"), slice_of(body.ptr, body.len - 1), &rec);
	index_close(f->ix);
	store_put(f->st, STORE_META, SLICE_LIT("state"), buf_slice(&rec));
	open_index(f);
	assert_int_equal(index_conflict_totals(f->ix), 1);

	kept.deleted = true;
	kept.size = 0;
	kept.block_count = 0;
	kept.block_size = 0;
	index_put_local(f->ix, &kept, &seen, 0);
	assert_int_equal(index_conflict_totals(f->ix), 0);
	buf_fini(&rec);
}

static void
facts_root_peers_and_intents_survive(void **state)
{
	struct fixture *f = *state;
	const struct root_identity root = { 1, 2, 3, 4, 5 };
	struct root_identity got;
	struct slice value;
	uint64_t id, first;

	assert_false(index_root(f->ix, &got));
	assert_false(index_fact(f->ix, "token", &value, &f->arena));
	index_put_root(f->ix, &root);
	index_put_fact(f->ix, "token", SLICE_LIT("abc"));
	index_put_peer(f->ix, f->a,
	    (struct peer_state){ .index_id = 5, .max_sequence = 6 });
	first = index_put_intent(f->ix, SLICE_LIT("one"));
	index_put_intent(f->ix, SLICE_LIT("two"));
	index_remove_intent(f->ix, first);
	assert_true(index_pending(f->ix) > 0);
	reopen(f);
	assert_true(index_root(f->ix, &got));
	assert_memory_equal(&got, &root, sizeof(root));
	assert_true(index_fact(f->ix, "token", &value, &f->arena));
	assert_true(slice_equal(value, SLICE_LIT("abc")));
	assert_int_equal(index_peer(f->ix, f->a).index_id, 5);
	assert_int_equal(index_peer(f->ix, f->a).max_sequence, 6);
	assert_int_equal(index_slots(f->ix), 3);
	assert_true(devid_equal(index_device(f->ix, f->b), &peer_b));
	assert_true(index_next_intent(f->ix, 0, &id, &value, &f->arena));
	assert_int_equal(id, first + 1);
	assert_true(slice_equal(value, SLICE_LIT("two")));
	assert_false(index_next_intent(f->ix, id, &id, &value, &f->arena));
	assert_int_equal(index_put_intent(f->ix, SLICE_LIT("x")), first + 2);
}

/* Between two runs there is a gap; only another life of it spoke of that. */
static void
numbers_between_two_runs_were_never_given_out(void **state)
{
	struct fixture *f = *state;
	const struct entry e = file(f, "a", 1, 1, 1, 1);

	index_put_local(f->ix, &e, &seen, 0);
	assert_true(index_gave(f->ix, 1));
	assert_false(index_gave(f->ix, 2));
	index_advance_seq(f->ix, 100);
	assert_true(index_gave(f->ix, 1));
	assert_false(index_gave(f->ix, 2));
	assert_false(index_gave(f->ix, 100));
	reopen(f);
	index_put_local(f->ix, &e, &seen, 0);
	assert_true(index_gave(f->ix, 101));
	assert_false(index_gave(f->ix, 50));
	/* A run that gave out none makes the gap longer, not another. */
	index_advance_seq(f->ix, 200);
	index_advance_seq(f->ix, 300);
	index_put_local(f->ix, &e, &seen, 0);
	reopen(f);
	assert_true(index_gave(f->ix, 101));
	assert_false(index_gave(f->ix, 250));
	assert_true(index_gave(f->ix, 301));
}

static void
of_many_runs_the_oldest_are_not_told_apart(void **state)
{
	struct fixture *f = *state;
	const struct entry e = file(f, "a", 1, 1, 1, 1);
	const uint64_t runs = LIMIT_INDEX_GAPS + 10;

	for (uint64_t i = 1; i <= runs; i++) {
		index_advance_seq(f->ix, i * 100);
		index_put_local(f->ix, &e, &seen, 0);
		reopen(f);
	}
	for (uint64_t i = 0; i < runs; i++)
		assert_false(index_gave(f->ix, i * 100 + 50));
	assert_true(index_gave(f->ix, runs * 100 + 1));
	assert_true(index_gave(f->ix, runs * 100 - 99));
	/* What was given out so long ago counts as if it had not been. */
	assert_false(index_gave(f->ix, 101));
}

static void
only_a_peers_new_state_is_pending_too(void **state)
{
	struct fixture *f = *state;

	index_flush(f->ix);
	store_mem_commit(f->st);
	assert_int_equal(index_pending(f->ix), 0);
	index_put_peer(f->ix, f->a, (struct peer_state){ .index_id = 1 });
	assert_int_equal(index_pending(f->ix), 1);
	index_flush(f->ix);
	store_mem_commit(f->st);
	assert_int_equal(index_pending(f->ix), 0);
}

static void
slots_run_out_and_are_kept(void **state)
{
	struct fixture *f = *state;
	struct devid id = { { 9 } };
	uint32_t slot = 0;
	int rc = 0;

	for (unsigned i = 3; i < LIMIT_FOLDER_DEVICES; i++) {
		id.b[1] = (uint8_t)i;
		assert_int_equal(index_slot(f->ix, &id, &slot, NULL), 0);
		assert_int_equal(slot, i);
	}
	id.b[2] = 1;
	rc = index_slot(f->ix, &id, &slot, NULL);
	assert_int_equal(rc, ERR_LIMIT);
	reopen(f);
	id.b[2] = 0;
	assert_int_equal(index_slot(f->ix, &id, &slot, NULL), 0);
	assert_int_equal(slot, LIMIT_FOLDER_DEVICES - 1);
}

static void
metadata_change_touches_no_place_of_a_block(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 100);
	struct block_place place[4];

	index_put_local(f->ix, &e, &seen, 0);
	assert_int_equal(store_mem_count(f->st, STORE_BLOCK), 100);
	for (uint64_t value = 2; value < 5; value++) {
		struct entry later = file(f, "a", 1, value, 7, 100);
		size_t before = store_pending(f->st);

		later.mtime_s = 200;
		index_put_local(f->ix, &later, &seen, 0);
		/* Row, two of the sequence, two of the list's users. */
		assert_in_range(store_pending(f->st) - before, 1, 5);
	}
	assert_int_equal(store_mem_count(f->st, STORE_BLOCK), 100);
	/* The owner's number and the newest. */
	assert_int_equal(store_mem_count(f->st, STORE_SEQ), 2);
	assert_int_equal(
	    index_block_places(f->ix, &e.block[99], place, 4, &f->arena), 1);
	assert_int_equal(place[0].block, 99);
	assert_true(slice_equal(place[0].path, e.name));
	assert_int_equal(index_next_seq(f->ix, 0, &f->arena)->seq, 4);
	reopen(f);
	e = file(f, "a", 1, 9, 8, 1);
	index_put_local(f->ix, &e, &seen, 0);
	assert_int_equal(store_mem_count(f->st, STORE_BLOCK), 1);
	assert_int_equal(store_mem_count(f->st, STORE_LIST), 0);
	e.deleted = true;
	e.block_count = 0;
	e.block = NULL;
	index_put_local(f->ix, &e, &seen, 0);
	assert_int_equal(store_mem_count(f->st, STORE_BLOCK), 0);
	assert_int_equal(store_mem_count(f->st, STORE_SEQ), 1);
}

static void
appended_block_adds_one_place(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 100);
	struct entry more = file(f, "a", 1, 2, 7, 101);
	size_t before;

	index_put_local(f->ix, &e, &seen, 0);
	before = store_pending(f->st);
	index_put_local(f->ix, &more, &seen, 0);
	assert_in_range(store_pending(f->st) - before, 1, 8);
	assert_int_equal(store_mem_count(f->st, STORE_BLOCK), 101);
}

static void
blocks_of_zeroes_have_no_places(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 3);
	struct digest d[3];
	uint8_t *zero = mem_zalloc(131072);

	memcpy(d, e.block, sizeof(d));
	digest_of(slice_of(zero, 131072), &d[1]);
	mem_free(zero);
	e.block = d;
	blocks_digest(d, 3, &e.blocks_hash);
	index_put_local(f->ix, &e, &seen, 0);
	assert_int_equal(store_mem_count(f->st, STORE_BLOCK), 2);
}

static void
first_word_of_a_version_counts_and_the_liar_becomes_a_shadow(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 1);
	struct entry lie = file(f, "a", 1, 1, 8, 1);
	struct row *r;

	index_put_remote(f->ix, f->a, &e, NULL);
	index_put_remote(f->ix, f->b, &lie, NULL);
	r = row_of(f, "a");
	assert_int_equal(r->version_count, 1);
	assert_true((r->flags & ROW_EQUIVOCAL) != 0);
	assert_true(devset_has(&r->version[0].holders, f->a));
	assert_true(devset_has(&r->version[0].shadows, f->b));
	assert_int_equal(r->version[0].entry.block[0].b[0], 7);
	/* Ours on disk is the truth. */
	index_put_local(f->ix, &lie, &seen, 0);
	r = row_of(f, "a");
	assert_int_equal(r->version[0].entry.block[0].b[0], 8);
	assert_true(devset_has(&r->version[0].holders, ROW_SELF));
	assert_true(devset_has(&r->version[0].shadows, f->a));
	index_put_remote(f->ix, f->b, &lie, NULL);
	r = row_of(f, "a");
	assert_true(devset_has(&r->version[0].holders, f->b));
}

static void
sole_holder_may_correct_itself(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 2);
	struct entry again = file(f, "a", 1, 1, 8, 3);
	struct row *r;

	index_put_remote(f->ix, f->a, &e, NULL);
	index_put_remote(f->ix, f->a, &again, NULL);
	r = row_of(f, "a");
	assert_int_equal(r->version_count, 1);
	assert_int_equal(r->flags, 0);
	assert_int_equal(r->version[0].entry.block_count, 3);
	assert_int_equal(store_mem_count(f->st, STORE_LIST), 2);
}

static void
bare_word_of_an_ignorer_is_filled_by_the_first_holder(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 2);
	struct entry bare = e;
	struct row *r;

	bare.invalid = true;
	bare.block = NULL;
	bare.block_count = 0;
	bare.size = 0;
	index_put_remote(f->ix, f->a, &bare, NULL);
	assert_int_equal(index_global_totals(f->ix).files, 0);
	assert_false(index_has_need(f->ix));
	index_put_remote(f->ix, f->b, &e, NULL);
	r = row_of(f, "a");
	assert_int_equal(r->version_count, 1);
	assert_int_equal(r->version[0].entry.block_count, 2);
	assert_true(devset_has(&r->version[0].shadows, f->a));
	assert_true(devset_has(&r->version[0].holders, f->b));
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).items, 1);
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).bytes, e.size);
	/* And the other way: what holders have stays. */
	index_put_remote(f->ix, f->a, &bare, NULL);
	assert_int_equal(row_of(f, "a")->version[0].entry.block_count, 2);
}

static void
local_change_under_a_taken_vector_goes_to_the_empty_one(void **state)
{
	struct fixture *f = *state;
	struct entry theirs = file(f, "a", 1, 1, 7, 1);
	struct entry ours = file(f, "a", 1, 1, 8, 1);
	struct row *r;

	index_put_remote(f->ix, f->a, &theirs, NULL);
	index_put_local(f->ix, &ours, &seen, ROW_LOCAL_CHANGED);
	r = row_of(f, "a");
	assert_int_equal(r->version_count, 2);
	assert_int_equal(row_global(r)->entry.block[0].b[0], 7);
	assert_int_equal(row_local(r)->entry.block[0].b[0], 8);
	assert_int_equal(row_local(r)->entry.version.count, 0);
	assert_int_equal(index_changed_totals(f->ix), 1);
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).items, 1);
}

static void
too_many_versions_lose_the_dominated_and_the_least(void **state)
{
	struct fixture *f = *state;
	struct entry mine = file(f, "a", 5000, 1, 1, 1);
	struct row *r;

	mine.mtime_s = 1;
	index_put_local(f->ix, &mine, &seen, 0);
	for (uint32_t i = 0; i < 100; i++) {
		struct devid id = { { 77, (uint8_t)i } };
		struct entry e = file(f, "a", 100 + i, 5, 3, 2);
		uint32_t slot;

		e.mtime_s = 100 + i;
		assert_int_equal(index_slot(f->ix, &id, &slot, NULL), 0);
		assert_int_equal(index_put_remote(f->ix, slot, &e, NULL), 0);
	}
	r = row_of(f, "a");
	assert_int_equal(r->version_count, LIMIT_ROW_VERSIONS);
	assert_int_equal(row_global(r)->entry.mtime_s, 199);
	assert_non_null(row_local(r));
	for (uint32_t i = 0; i < r->version_count; i++)
		assert_true(r->version[i].entry.mtime_s > 136 ||
			    (int32_t)i == r->local);
	assert_null(index_error(f->ix));
}

static void
damaged_row_stops_the_index_and_reads_say_not_there(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 1);
	size_t pending;

	index_put_local(f->ix, &e, &seen, 0);
	store_put(f->st, STORE_ROW, SLICE_LIT("a"), SLICE_LIT("rubbish"));
	assert_null(row_of(f, "a"));
	assert_non_null(index_error(f->ix));
	assert_int_equal(index_error(f->ix)->code, ERR_CORRUPT);
	pending = store_pending(f->st);
	e = file(f, "b", 1, 1, 7, 1);
	index_put_local(f->ix, &e, &seen, 0);
	assert_int_equal(index_put_remote(f->ix, f->a, &e, NULL), ERR_CORRUPT);
	index_flush(f->ix);
	assert_int_equal(store_pending(f->st), pending);
	assert_null(index_next(f->ix, SLICE_EMPTY, &f->arena));
	assert_null(index_next_seq(f->ix, 0, &f->arena));
	assert_null(
	    index_next_child(f->ix, SLICE_EMPTY, SLICE_EMPTY, &f->arena));
	assert_false(index_has_need(f->ix));
}

static void
lost_block_list_is_corruption(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 3);
	const struct digest *d;
	struct err err = { 0 };
	struct slice key;
	struct row *r;

	index_put_remote(f->ix, f->a, &e, NULL);
	r = row_of(f, "a");
	while (store_next(f->st, STORE_LIST, SLICE_EMPTY, false, &key, NULL,
	    &f->arena))
		store_remove(f->st, STORE_LIST, key);
	assert_int_equal(
	    index_blocks(f->ix, &row_global(r)->entry, &d, &f->arena, &err),
	    ERR_CORRUPT);
	assert_int_equal(index_error(f->ix)->code, ERR_CORRUPT);
}

static void
rows_without_their_flush_are_refused(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "a", 1, 1, 7, 1);
	struct index *again = NULL;

	index_flush(f->ix);
	index_put_local(f->ix, &e, &seen, 0);
	store_mem_commit(f->st);
	assert_int_equal(index_open(&again, f->st, &self, 1, NULL),
	    ERR_CORRUPT);
}

/* Trees */

static int
compare_slices(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

struct tree {
	VEC(struct slice) path;
	struct rng rng;
};

static bool
tree_has(const struct tree *t, struct slice path)
{
	for (size_t i = 0; i < t->path.len; i++) {
		if (slice_equal(t->path.item[i], path))
			return true;
	}
	return false;
}

/* Names around '/', short ones and, in long trees, very long ones. */
static struct slice
some_name(struct fixture *f, struct tree *t, bool is_long)
{
	static const char alphabet[] = "a!.-0 b\x7f\xc3\xa9";
	uint8_t *b = arena_alloc(&f->arena, LIMIT_NAME_LEN);
	size_t len = 1 + (size_t)rng_below(&t->rng, 2);
	size_t fill = 0;

	if (is_long) {
		static const size_t fills[] = { 0, 100, 200, 227, 228, 229, 240,
			252 };

		fill = fills[rng_below(&t->rng, 8)];
		memset(b, 'n', fill);
	}
	for (size_t i = 0; i < len; i++)
		b[fill + i] = (uint8_t)alphabet[rng_below(&t->rng, 8)];
	return slice_of(b, fill + len);
}

static void
check_tree(struct fixture *f, struct tree *t)
{
	for (size_t d = 0; d <= t->path.len; d++) {
		const struct slice dir =
		    d == t->path.len ? SLICE_EMPTY : t->path.item[d];
		struct slice after = SLICE_EMPTY, below = SLICE_EMPTY;
		VEC(struct slice) children = { 0 };
		size_t count = 0, got = 0;
		struct row *r;

		for (size_t i = 0; i < t->path.len; i++) {
			count += path_is_below(t->path.item[i], dir);
			if (slice_equal(path_parent(t->path.item[i]), dir))
				*VEC_ADD(&children) = t->path.item[i];
		}
		if (children.len > 0)
			qsort(children.item, children.len,
			    sizeof(*children.item), compare_slices);
		for (size_t i = 0; i < children.len; i++) {
			r = index_next_child(f->ix, dir, after, &f->arena);
			assert_non_null(r);
			assert_true(slice_equal(r->path, children.item[i]));
			after = path_base(r->path);
		}
		assert_null(index_next_child(f->ix, dir, after, &f->arena));
		VEC_FINI(&children);
		while ((r = index_next_below(f->ix, dir, below, &f->arena)) !=
		       NULL) {
			assert_true(path_is_below(r->path, dir));
			below = r->path;
			got++;
		}
		assert_int_equal(got, count);
	}
}

static void
check_random_trees(struct fixture *f, bool is_long)
{
	for (uint64_t seed = 1; seed <= 25; seed++) {
		struct tree t = { 0 };
		size_t walked = 0;
		struct slice after = SLICE_EMPTY;
		struct row *r;

		rng_init(&t.rng, seed);
		index_close(f->ix);
		store_mem_free(f->st);
		f->st = store_mem_new();
		open_index(f);
		for (int i = 0; i < 80; i++) {
			const uint64_t at = rng_below(&t.rng, t.path.len + 1);
			const struct slice dir =
			    at == t.path.len ? SLICE_EMPTY : t.path.item[at];
			struct slice path = path_join(&f->arena, dir,
			    some_name(f, &t, is_long));
			struct entry e = file(f, "x", 1, 1, 1, 1);

			if (path.len > 2500 || tree_has(&t, path))
				continue;
			*VEC_ADD(&t.path) = path;
			e.name = path;
			index_put_local(f->ix, &e, &seen, 0);
		}
		check_tree(f, &t);
		while ((r = index_next(f->ix, after, &f->arena)) != NULL) {
			assert_true(tree_has(&t, r->path));
			after = r->path;
			walked++;
		}
		assert_int_equal(walked, t.path.len);
		VEC_FINI(&t.path);
		arena_clear(&f->arena);
	}
}

static void
children_of_random_trees_come_in_order(void **state)
{
	check_random_trees(*state, false);
}

static void
children_of_trees_with_long_names_come_in_order(void **state)
{
	check_random_trees(*state, true);
}

static void
places_of_long_paths_are_found(void **state)
{
	struct fixture *f = *state;
	char path[701];
	struct entry e = file(f, "x", 1, 1, 9, 1);
	struct block_place place[2];

	memset(path, 'p', 700);
	path[250] = path[500] = '/';
	e.name = slice_of(path, 700);
	index_put_local(f->ix, &e, &seen, 0);
	assert_int_equal(
	    index_block_places(f->ix, e.block, place, 2, &f->arena), 1);
	assert_true(slice_equal(place[0].path, e.name));
	assert_int_equal(index_next_seq(f->ix, 0, &f->arena)->path.len, 700);
}

static void
what_is_no_path_has_no_row(void **state)
{
	struct fixture *f = *state;
	struct entry e = file(f, "x", 1, 1, 9, 1);
	char path[4200];

	memset(path, 'p', sizeof(path));
	path[200] = path[400] = '/';
	e.name = slice_of(path, LIMIT_KEY_LEN);
	index_put_local(f->ix, &e, &seen, 0);
	assert_non_null(index_row(f->ix, e.name, &f->arena));
	for (size_t len = LIMIT_KEY_LEN + 1; len < sizeof(path); len++)
		assert_null(index_row(f->ix, slice_of(path, len), &f->arena));
	assert_null(index_row(f->ix, SLICE_EMPTY, &f->arena));
	assert_null(index_error(f->ix));
}

/* A Syncthing counts us as behind until we say the same as all. */
static void
another_deletion_of_what_is_deleted_here_is_needed(void **state)
{
	struct fixture *f = *state;
	struct entry ours = file(f, "a", 1, 5, 1, 1);
	struct entry theirs = file(f, "a", 2, 5, 1, 1);
	struct entry never = file(f, "b", 2, 6, 1, 1);

	ours.deleted = theirs.deleted = never.deleted = true;
	ours.block_count = theirs.block_count = never.block_count = 0;
	theirs.mtime_s = 200; /* so it is the global one */
	index_put_local(f->ix, &ours, &seen, 0);
	assert_int_equal(index_put_remote(f->ix, f->a, &theirs, NULL), 0);
	assert_int_equal(index_put_remote(f->ix, f->a, &never, NULL), 0);
	assert_true(index_has_need(f->ix));
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).deletes, 1);
	index_put_local(f->ix, &theirs, &seen, 0);
	assert_false(index_has_need(f->ix));
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).deletes, 0);
}

/* Who else could tell those who still have it? */
static void
what_comes_where_we_deleted_covers_the_deletion(void **state)
{
	struct fixture *f = *state;
	struct entry gone = file(f, "a", 1, 5, 1, 1);
	const struct entry theirs = file(f, "a", 2, 5, 2, 1);
	const struct row *row;

	gone.deleted = true;
	gone.block_count = 0;
	index_put_local(f->ix, &gone, &seen, 0);
	assert_int_equal(index_put_remote(f->ix, f->a, &theirs, NULL), 0);
	index_put_local(f->ix, &theirs, &seen, 0);
	row = row_of(f, "a");
	assert_true(row->local == row->global);
	assert_false(row_local(row)->entry.deleted);
	assert_true(
	    version_covers(row_local(row)->entry.version, gone.version));
	assert_true(
	    version_covers(row_local(row)->entry.version, theirs.version));
	/* A change that is told to nobody says nothing of it. */
	index_put_local(f->ix, &gone, &seen, ROW_LOCAL_CHANGED);
	index_put_local(f->ix, &theirs, &seen, 0);
	assert_true(version_equal(row_local(row_of(f, "a"))->entry.version,
	    theirs.version));
}

/* Who else could tell those who still have what ours was made from? */
static void
what_wins_over_ours_covers_it(void **state)
{
	struct fixture *f = *state;
	const struct entry ours = file(f, "a", 1, 5, 1, 1);
	struct entry theirs = file(f, "a", 2, 5, 2, 1);
	struct entry gone = file(f, "a", 3, 5, 1, 1);
	struct version both;

	theirs.mtime_s = ours.mtime_s + 1;
	index_put_local(f->ix, &ours, &seen, 0);
	index_put_local(f->ix, &theirs, &seen, 0);
	both = row_local(row_of(f, "a"))->entry.version;
	assert_true(version_covers(both, ours.version));
	assert_true(version_covers(both, theirs.version));
	/* What would lose to it is put as it is: elsewhere the same two may
	 * come to the other content. */
	index_put_local(f->ix, &ours, &seen, 0);
	assert_true(version_equal(row_local(row_of(f, "a"))->entry.version,
	    ours.version));
	theirs.mtime_s = ours.mtime_s - 1;
	index_put_local(f->ix, &theirs, &seen, 0);
	assert_true(version_equal(row_local(row_of(f, "a"))->entry.version,
	    theirs.version));
	/* A deletion wins over nothing that it has not seen. */
	gone.deleted = true;
	gone.block_count = 0;
	index_put_local(f->ix, &gone, &seen, 0);
	assert_true(version_equal(row_local(row_of(f, "a"))->entry.version,
	    gone.version));
}

static void
who_goes_tells_whether_it_said_something_else(void **state)
{
	struct fixture *f = *state;
	const struct entry one = file(f, "a", 2, 5, 1, 1);
	const struct entry other = file(f, "a", 2, 5, 2, 1);
	struct slice cursor = SLICE_EMPTY;
	bool two = false;

	assert_int_equal(index_put_remote(f->ix, f->a, &one, NULL), 0);
	while (index_forget_step(f->ix, f->a, &cursor, 9, &f->arena, &two))
		;
	assert_false(two);
	assert_int_equal(index_put_remote(f->ix, f->a, &one, NULL), 0);
	assert_int_equal(index_put_remote(f->ix, f->b, &other, NULL), 0);
	cursor = SLICE_EMPTY;
	while (index_forget_step(f->ix, f->a, &cursor, 9, &f->arena, &two))
		;
	assert_true(two);
	assert_int_equal(row_of(f, "a")->flags, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(new_index_has_an_id_and_no_rows),
		TEST(a_device_with_another_id_keeps_its_slot_and_its_word),
		TEST(a_new_id_that_has_a_slot_of_its_own_leaves_both),
		TEST(index_of_another_device_or_format_is_refused),
		TEST(conflict_copies_are_counted_and_those_of_an_old_index_too),
		TEST(facts_root_peers_and_intents_survive),
		TEST(numbers_between_two_runs_were_never_given_out),
		TEST(of_many_runs_the_oldest_are_not_told_apart),
		TEST(only_a_peers_new_state_is_pending_too),
		TEST(slots_run_out_and_are_kept),
		TEST(metadata_change_touches_no_place_of_a_block),
		TEST(appended_block_adds_one_place),
		TEST(blocks_of_zeroes_have_no_places),
		TEST(
		    first_word_of_a_version_counts_and_the_liar_becomes_a_shadow),
		TEST(sole_holder_may_correct_itself),
		TEST(bare_word_of_an_ignorer_is_filled_by_the_first_holder),
		TEST(local_change_under_a_taken_vector_goes_to_the_empty_one),
		TEST(too_many_versions_lose_the_dominated_and_the_least),
		TEST(damaged_row_stops_the_index_and_reads_say_not_there),
		TEST(another_deletion_of_what_is_deleted_here_is_needed),
		TEST(what_comes_where_we_deleted_covers_the_deletion),
		TEST(what_wins_over_ours_covers_it),
		TEST(who_goes_tells_whether_it_said_something_else),
		TEST(lost_block_list_is_corruption),
		TEST(rows_without_their_flush_are_refused),
		TEST(children_of_random_trees_come_in_order),
		TEST(children_of_trees_with_long_names_come_in_order),
		TEST(places_of_long_paths_are_found),
		TEST(what_is_no_path_has_no_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
