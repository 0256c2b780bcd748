/*
 * The watcher's core, fed with events as the kernel orders them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "engine/base/clock.h"
#include "watcher/watch.h"

static struct watch *w;
static struct arena arena;
static struct change_batch batch;
static uint64_t now;

static int
setup(void **state)
{
	(void)state;
	w = watch_new(1);
	now = 1000 * CLOCK_S;
	watch_folder(w, 2, true);
	watch_added(w, 2, SLICE_EMPTY, 1, now);
	watch_added(w, 2, SLICE_LIT("d"), 2, now);
	watch_added(w, 2, SLICE_LIT("d/e"), 3, now);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	watch_free(w);
	arena_fini(&arena);
	return 0;
}

static void
happens(enum watch_happening what, int wd, const char *name, bool is_dir,
    uint32_t cookie)
{
	const struct watch_event ev = { what, wd, is_dir, cookie,
		slice_str(name) };

	watch_event(w, &ev, now);
}

static bool
next_batch(void)
{
	arena_clear(&arena);
	for (int i = 0; i < 10000; i++) {
		const uint64_t due = watch_due(w);

		if (due == UINT64_MAX)
			return false;
		if (due > now)
			now = due;
		if (watch_take(w, now, &batch, &arena))
			return true;
	}
	fail_msg("busy for nothing");
	return false;
}

static const struct change *
hint(const char *path)
{
	for (uint32_t i = 0; i < batch.count; i++)
		if (slice_equal(batch.change[i].path, slice_str(path)))
			return &batch.change[i];
	return NULL;
}

static void
events_become_paths(void **state)
{
	(void)state;
	happens(WATCH_CLOSED, 3, "f", false, 0);
	happens(WATCH_CLOSED, 1, "top", false, 0);
	assert_true(next_batch());
	assert_int_equal(batch.folder, 2);
	assert_int_equal(batch.count, 2);
	assert_int_equal(batch.cover, COVER_FULL);
	assert_non_null(hint("d/e/f"));
	assert_non_null(hint("top"));
	assert_false(next_batch());
}

static void
a_directory_that_moves_takes_its_watches_along(void **state)
{
	(void)state;
	happens(WATCH_MOVED_FROM, 1, "d", true, 5);
	happens(WATCH_MOVED_TO, 1, "new", true, 5);
	assert_true(next_batch());
	assert_int_equal(batch.count, 2);
	assert_non_null(hint("d"));
	assert_true(hint("new")->subtree);
	happens(WATCH_CLOSED, 3, "f", false, 0);
	assert_true(next_batch());
	assert_non_null(hint("new/e/f"));
	assert_int_equal(watch_dead(w), -1);
}

static void
a_directory_that_moves_out_is_no_longer_watched(void **state)
{
	int dead;

	(void)state;
	happens(WATCH_MOVED_FROM, 1, "d", true, 5);
	assert_true(next_batch());
	assert_non_null(hint("d"));
	dead = watch_dead(w);
	assert_int_equal(dead + watch_dead(w), 5);
	assert_int_equal(watch_count(w), 1);
	happens(WATCH_MOVED_TO, 1, "x", true, 6); /* from somewhere */
	assert_true(next_batch());
	assert_true(hint("x")->subtree);
	assert_false(next_batch());
}

static void
two_renames_in_a_row_are_not_confused(void **state)
{
	(void)state;
	happens(WATCH_MOVED_FROM, 1, "a", false, 5);
	happens(WATCH_MOVED_FROM, 1, "b", false, 6);
	happens(WATCH_MOVED_TO, 1, "c", false, 6);
	assert_true(next_batch());
	assert_int_equal(batch.count, 2);
	assert_non_null(hint("b"));
	assert_non_null(hint("c"));
	assert_true(next_batch());
	assert_non_null(hint("a"));
}

static void
internal_names_are_silent_but_for_the_marker(void **state)
{
	(void)state;
	happens(WATCH_CREATED, 1, ".stversions", true, 0);
	happens(WATCH_CLOSED, 2, ".syncthing.f.tmp", false, 0);
	happens(WATCH_TOUCHED, 1, ".stfolder", true, 0);
	assert_false(next_batch());
	happens(WATCH_REMOVED, 1, ".stfolder", true, 0);
	assert_true(next_batch());
	assert_int_equal(batch.count, 1);
	assert_non_null(hint(""));
	happens(WATCH_MOVED_FROM, 1, ".syncthing.f.tmp", false, 9);
	happens(WATCH_MOVED_TO, 1, "f", false, 9); /* a neighbour's finish */
	assert_true(next_batch());
	assert_int_equal(batch.count, 1);
	assert_non_null(hint("f"));
}

static void
lost_events_and_limits_become_visible(void **state)
{
	(void)state;
	watch_overflow(w, now);
	happens(WATCH_CLOSED, 1, "a", false, 0);
	assert_true(next_batch());
	assert_true(batch.overflow);
	assert_int_equal(batch.count, 0);
	watch_added(w, 2, SLICE_LIT("more"), WATCH_FAILURE_LIMIT, now);
	assert_true(next_batch());
	assert_int_equal(batch.cover, COVER_PARTIAL);
	assert_int_equal(watch_cover(w, 2), COVER_PARTIAL);
	watch_added(w, 2, SLICE_LIT("gone"), WATCH_FAILURE_GONE, now);
	assert_false(next_batch());
	watch_added(w, 2, SLICE_LIT("more"), 8, now); /* the limit was raised */
	assert_true(next_batch());
	assert_int_equal(batch.cover, COVER_FULL);
	watch_added(w, 2, SLICE_LIT("x"), WATCH_FAILURE_NEVER, now);
	assert_true(next_batch());
	assert_int_equal(batch.cover, COVER_FAILED);
	assert_int_equal(watch_cover(w, 0), COVER_OFF);
}

static void
what_happens_before_we_know_where_is_not_lost(void **state)
{
	(void)state;
	happens(WATCH_CLOSED, 77, "f", false, 0);
	assert_false(next_batch());
	watch_added(w, 2, SLICE_LIT("d/late"), 77, now);
	assert_true(next_batch());
	assert_non_null(hint("d/late"));
	watch_added(w, 2, SLICE_LIT("d/calm"), 78, now);
	assert_false(next_batch());
}

static void
a_root_that_goes_is_hinted_at(void **state)
{
	(void)state;
	happens(WATCH_SELF_GONE, 1, "", true, 0);
	happens(WATCH_ENDED, 1, "", true, 0);
	assert_true(next_batch());
	assert_int_equal(batch.count, 1);
	assert_true(hint("")->subtree);
	happens(WATCH_REMOVED, 2, "e", true, 0);
	happens(WATCH_ENDED, 3, "", true, 0); /* after its parent told */
	assert_true(next_batch());
	assert_int_equal(batch.count, 1);
	assert_non_null(hint("d/e"));
}

static void
a_folder_switched_off_is_forgotten(void **state)
{
	int n = 0;

	(void)state;
	happens(WATCH_CLOSED, 1, "a", false, 0);
	watch_folder(w, 2, false);
	assert_false(next_batch());
	while (watch_dead(w) >= 0)
		n++;
	assert_int_equal(n, 3);
	watch_added(w, 2, SLICE_LIT("late"), 9, now); /* was on its way */
	assert_int_equal(watch_dead(w), 9);
	assert_int_equal(watch_count(w), 0);
	happens(WATCH_CLOSED, 1, "a", false, 0);
	assert_false(next_batch());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(events_become_paths),
		T(a_directory_that_moves_takes_its_watches_along),
		T(a_directory_that_moves_out_is_no_longer_watched),
		T(two_renames_in_a_row_are_not_confused),
		T(internal_names_are_silent_but_for_the_marker),
		T(lost_events_and_limits_become_visible),
		T(what_happens_before_we_know_where_is_not_lost),
		T(a_root_that_goes_is_hinted_at),
		T(a_folder_switched_off_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
