/*
 * Commits of a folder, told as stories: what cannot be made durable now is
 * kept, and tried again at a bearable pace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "testlib_world.h"

#define A 0u
#define B 1u

static void
settle(struct testlib_world *w)
{
	if (testlib_world_settle(w))
		return;
	testlib_world_print_log(w);
	fail_msg("it never came to rest");
}

/* Two devices with the same file; the disk of A's index takes no more. */
static struct testlib_world *
world_with_full_index(void)
{
	struct testlib_world *w = testlib_world_new(1, 2);

	testlib_world_write(w, A, "old", "in time");
	testlib_world_start_all(w);
	settle(w);
	testlib_world_fail_commits(w, A, ERR_FULL);
	testlib_world_write(w, A, "new", "too late");
	testlib_world_run(w, CLOCK_S / 2);
	return w;
}

/* COMMITs of A in so much time. */
static uint64_t
commits_in(struct testlib_world *w, uint64_t ns)
{
	const uint64_t before = testlib_world_effects(w, A, EFFECT_COMMIT);

	testlib_world_run(w, ns);
	return testlib_world_effects(w, A, EFFECT_COMMIT) - before;
}

static void
pause_folder(struct testlib_world *w, bool on)
{
	testlib_world_folder(w, A)->paused = on;
	testlib_world_setup(w, A);
}

static void
commit_on_a_full_disk_is_tried_each_second(void **state)
{
	struct testlib_world *w = world_with_full_index();

	(void)state;
	assert_in_range(commits_in(w, 10 * CLOCK_S), 5, 12);
	assert_false(
	    testlib_disk_has(testlib_world_disk(w, B), "new")); /* untold */
	testlib_world_fail_commits(w, A, 0);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
folder_that_closes_on_a_full_disk_tries_each_second(void **state)
{
	struct testlib_world *w = world_with_full_index();

	(void)state;
	pause_folder(w, true);
	assert_in_range(commits_in(w, 10 * CLOCK_S), 5, 12);
	testlib_world_fail_commits(w, A, 0);
	settle(w);
	pause_folder(w, false);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commit_on_a_full_disk_is_tried_each_second),
		cmocka_unit_test(
		    folder_that_closes_on_a_full_disk_tries_each_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
