/*
 * When hints are ripe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "engine/base/clock.h"
#include "watcher/debounce.h"

#define MS CLOCK_MS

static struct debounce *d;
static struct arena arena;
static struct change_batch batch;
static uint64_t now;

static int
setup(void **state)
{
	(void)state;
	d = debounce_new(7, 1);
	now = 1000 * CLOCK_S;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	debounce_free(d);
	arena_fini(&arena);
	return 0;
}

static void
add(const char *path, enum debounce_kind kind)
{
	debounce_add(d, slice_str(path), kind, false, now);
}

/* The milliseconds until something comes; the clock goes there. */
static uint64_t
wait_ms(void)
{
	const uint64_t begin = now;

	arena_clear(&arena);
	for (int i = 0; i < 10000; i++) {
		const uint64_t due = debounce_due(d);

		if (due == UINT64_MAX)
			return UINT64_MAX;
		if (due > now)
			now = due;
		if (debounce_take(d, now, &batch, &arena))
			return (now - begin) / MS;
	}
	fail_msg("busy for nothing");
	return 0;
}

static bool
has(const char *path)
{
	for (uint32_t i = 0; i < batch.count; i++)
		if (slice_equal(batch.change[i].path, slice_str(path)))
			return true;
	return false;
}

static void
a_closed_file_is_told_at_once_and_a_burst_as_one(void **state)
{
	(void)state;
	assert_int_equal(debounce_due(d), UINT64_MAX);
	assert_false(debounce_take(d, now, &batch, &arena));
	add("b", DEBOUNCE_SETTLED);
	add("a", DEBOUNCE_SETTLED);
	now += 1 * MS;
	add("c", DEBOUNCE_SETTLED);
	add("a", DEBOUNCE_SETTLED);
	assert_in_range(wait_ms(), 3, 6);
	assert_int_equal(batch.folder, 7);
	assert_int_equal(batch.count, 3);
	assert_true(slice_equal(batch.change[0].path, SLICE_LIT("a")));
	assert_true(slice_equal(batch.change[2].path, SLICE_LIT("c")));
	assert_false(batch.overflow);
	assert_int_equal(wait_ms(), UINT64_MAX); /* idle means idle */
}

static void
a_file_being_written_waits_for_its_close(void **state)
{
	(void)state;
	add("a", DEBOUNCE_CREATED);
	for (int i = 0; i < 20; i++) {
		add("a", DEBOUNCE_GROWING);
		now += 10 * MS;
		assert_false(debounce_take(d, now, &batch, &arena));
	}
	add("a", DEBOUNCE_TOUCHED); /* changes nothing */
	assert_true(debounce_due(d) > now);
	add("a", DEBOUNCE_SETTLED);
	assert_in_range(wait_ms(), 0, 5);
	assert_true(has("a"));
	add("link", DEBOUNCE_CREATED); /* no close follows */
	assert_in_range(wait_ms(), 40, 60);
}

static void
an_editors_dance_is_one_hint_a_name(void **state)
{
	(void)state;
	debounce_move(d, SLICE_LIT("f"), SLICE_LIT("f~"), false, now);
	add("f", DEBOUNCE_CREATED);
	add("f", DEBOUNCE_GROWING);
	now += 2 * MS;
	add("f", DEBOUNCE_SETTLED);
	add("f~", DEBOUNCE_GONE);
	while (wait_ms() != UINT64_MAX && !has("f"))
		assert_false(has("f"));
	assert_true(has("f"));
}

static void
both_names_of_a_rename_come_together(void **state)
{
	(void)state;
	add("a", DEBOUNCE_GONE);
	debounce_move(d, SLICE_LIT("a"), SLICE_LIT("b"), true, now);
	assert_in_range(wait_ms(), 3, 10);
	assert_int_equal(batch.count, 2);
	assert_true(has("a") && has("b"));
	assert_true(batch.change[1].subtree);
}

static void
a_file_that_keeps_growing_is_told_ever_more_rarely(void **state)
{
	uint64_t gap[12];

	(void)state;
	for (int told = 0; told < 12; told++) {
		const uint64_t begin = now;

		while (!debounce_take(d, now, &batch, &arena)) {
			add("log", DEBOUNCE_GROWING);
			now += 100 * MS;
			arena_clear(&arena);
		}
		gap[told] = now - begin;
	}
	assert_in_range(gap[0] / MS, 3900, 4200);
	for (int i = 2; i < 5; i++)
		assert_true(gap[i] > gap[i - 1]);
	assert_in_range(gap[11] / MS, 50000, 60200);
}

static void
a_file_saved_all_the_time_is_put_off_but_a_calm_one_is_not(void **state)
{
	unsigned told = 0;

	(void)state;
	for (int i = 0; i < 6000; i++) { /* 10 minutes, 10 a second */
		add("noisy", DEBOUNCE_SETTLED);
		now += 100 * MS;
		told += debounce_take(d, now, &batch, &arena);
		arena_clear(&arena);
	}
	assert_in_range(told, 20, 45);
	now += 400 * CLOCK_S; /* quiet again */
	add("noisy", DEBOUNCE_SETTLED);
	assert_in_range(wait_ms(), 0, 6);
	for (int i = 0; i < 100; i++) { /* every 5 seconds: a person */
		add("calm", DEBOUNCE_SETTLED);
		assert_in_range(wait_ms(), 0, 6);
		now += 5 * CLOCK_S;
	}
}

static void
a_flood_becomes_directories_and_then_everything(void **state)
{
	char path[64];
	size_t files = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		snprintf(path, sizeof(path), "dir%d/file%d", i % 5, i);
		add(path, DEBOUNCE_SETTLED);
	}
	while (wait_ms() != UINT64_MAX) {
		files += batch.count;
		assert_false(batch.overflow);
	}
	assert_int_equal(files, DEBOUNCE_PATHS + 5);
	for (int i = 0; i < 20000; i++) {
		snprintf(path, sizeof(path), "dir%d/file", i);
		add(path, DEBOUNCE_SETTLED);
	}
	assert_in_range(wait_ms(), 90, 110);
	assert_true(batch.overflow);
	assert_int_equal(batch.count, 0);
	assert_int_equal(wait_ms(), UINT64_MAX);
	debounce_announce(d, now);
	assert_int_equal(wait_ms(), 0);
	assert_int_equal(batch.count, 0);
	assert_false(batch.overflow);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_closed_file_is_told_at_once_and_a_burst_as_one),
		T(a_file_being_written_waits_for_its_close),
		T(an_editors_dance_is_one_hint_a_name),
		T(both_names_of_a_rename_come_together),
		T(a_file_that_keeps_growing_is_told_ever_more_rarely),
		T(a_file_saved_all_the_time_is_put_off_but_a_calm_one_is_not),
		T(a_flood_becomes_directories_and_then_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
