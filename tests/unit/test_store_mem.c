/*
 * The store in memory: what is durable, and when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/store_mem.h"

static void
put(struct store *st, const char *key, const char *value)
{
	store_put(st, STORE_ROW, slice_str(key), slice_str(value));
}

static void
drop(struct store *st, const char *key)
{
	store_remove(st, STORE_ROW, slice_str(key));
}

static void
expect(struct store *st, const char *key, const char *value)
{
	struct arena arena = { 0 };
	struct slice got;
	const bool found =
	    store_find(st, STORE_ROW, slice_str(key), &got, &arena);

	assert_int_equal(found, value != NULL);
	if (found)
		assert_true(slice_equal(got, slice_str(value)));
	arena_fini(&arena);
}

static void
puts_are_seen_at_once_and_lost_in_a_crash(void **state)
{
	struct store *st = store_mem_new();

	(void)state;
	put(st, "a", "1");
	put(st, "b", "2");
	store_mem_commit(st);
	assert_int_equal(store_pending(st), 0);
	put(st, "a", "9");
	put(st, "a", "10");
	drop(st, "b");
	put(st, "b", "11");
	drop(st, "b");
	put(st, "c", "3");
	expect(st, "a", "10");
	expect(st, "b", NULL);
	expect(st, "c", "3");
	store_mem_crash(st);
	expect(st, "a", "1");
	expect(st, "b", "2");
	expect(st, "c", NULL);
	assert_int_equal(store_pending(st), 0);
	store_mem_free(st);
}

static void
commit_under_way_may_be_lost_or_not(void **state)
{
	(void)state;
	for (int survives = 0; survives < 2; survives++) {
		struct store *st = store_mem_new();

		put(st, "a", "1");
		store_mem_commit_begin(st);
		put(st, "a", "2");
		put(st, "b", "2");
		assert_true(store_mem_is_committing(st));
		expect(st, "a", "2");
		if (survives)
			store_mem_commit_end(st);
		store_mem_crash(st);
		assert_false(store_mem_is_committing(st));
		expect(st, "a", survives ? "1" : NULL);
		expect(st, "b", NULL);
		store_mem_free(st);
	}
}

static void
failed_commit_goes_with_the_next(void **state)
{
	struct store *st = store_mem_new();

	(void)state;
	put(st, "a", "0");
	store_mem_commit(st);
	put(st, "a", "1");
	store_mem_commit_begin(st);
	put(st, "a", "2");
	put(st, "b", "2");
	store_mem_commit_fail(st);
	assert_int_equal(store_pending(st), 3);
	expect(st, "a", "2");
	store_mem_crash(st);
	expect(st, "a", "0");
	expect(st, "b", NULL);
	store_mem_free(st);
}

static void
walks_go_in_byte_order_both_ways(void **state)
{
	static const char *const keys[] = { "a", "a!", "a/", "a0", "b" };
	struct store *st = store_mem_new();
	struct arena arena = { 0 };
	struct slice key = SLICE_EMPTY, value;

	(void)state;
	for (size_t i = 5; i-- > 0;)
		put(st, keys[i], "x");
	for (size_t i = 0; i < 5; i++) {
		assert_true(
		    store_next(st, STORE_ROW, key, true, &key, &value, &arena));
		assert_true(slice_equal(key, slice_str(keys[i])));
		assert_true(
		    store_next(st, STORE_ROW, key, false, &key, NULL, &arena));
		assert_true(slice_equal(key, slice_str(keys[i])));
	}
	assert_false(
	    store_next(st, STORE_ROW, key, true, &key, &value, &arena));
	key = SLICE_LIT("\xff");
	for (size_t i = 5; i-- > 0;) {
		assert_true(
		    store_prev(st, STORE_ROW, key, &key, &value, &arena));
		assert_true(slice_equal(key, slice_str(keys[i])));
	}
	assert_false(store_prev(st, STORE_ROW, key, &key, &value, &arena));
	arena_fini(&arena);
	store_mem_free(st);
}

static void
damaged_store_has_nothing(void **state)
{
	struct store *st = store_mem_new();
	struct err err = { 0 };

	(void)state;
	put(st, "a", "1");
	assert_null(store_error(st));
	err_set(&err, ERR_CORRUPT, "bits fell");
	store_mem_set_error(st, &err);
	assert_int_equal(store_error(st)->code, ERR_CORRUPT);
	expect(st, "a", NULL);
	store_mem_free(st);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_are_seen_at_once_and_lost_in_a_crash),
		cmocka_unit_test(commit_under_way_may_be_lost_or_not),
		cmocka_unit_test(failed_commit_goes_with_the_next),
		cmocka_unit_test(walks_go_in_byte_order_both_ways),
		cmocka_unit_test(damaged_store_has_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
