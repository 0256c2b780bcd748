/*
 * Names the scanner cannot take as they are: composed, or told to a person.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/explain.h"
#include "engine/status.h"
#include "testlib_world.h"

#define A 0u
#define B 1u
#define NFD "Zu\xcc\x88rich"
#define NFC "Z\xc3\xbcrich"
#define BAD "latin1-\xe9"

static struct arena arena;

static void
settle(struct testlib_world *w)
{
	if (testlib_world_settle(w))
		return;
	testlib_world_print_log(w);
	fail_msg("it never came to rest");
}

static enum reason
why(struct testlib_world *w, uint32_t dev, const char *path)
{
	struct explain ex;
	struct err err = { 0 };

	arena_clear(&arena);
	if (explain_path(testlib_world_engine(w, dev), SLICE_LIT("f"),
		slice_str(path), testlib_world_now(w), &arena, &ex, &err) < 0)
		fail_msg("explain %s: %s", path, err.text);
	if (ex.reason == REASON_NAME_CLASH || ex.reason == REASON_BAD_NAME) {
		assert_false(ex.known);
		assert_false(ex.in_sync);
		assert_true(ex.since_wall_ns > 0);
	}
	return ex.reason;
}

static struct status_folder
folder(struct testlib_world *w, uint32_t dev)
{
	struct status_report r;

	arena_clear(&arena);
	status_report(testlib_world_engine(w, dev), testlib_world_now(w),
	    &arena, &r);
	return r.folder[0];
}

static bool
has(struct testlib_world *w, uint32_t dev, const char *path)
{
	return testlib_disk_has(testlib_world_disk(w, dev), path);
}

static bool
holds(struct testlib_world *w, uint32_t dev, const char *path, const char *text)
{
	return slice_equal(testlib_disk_read(testlib_world_disk(w, dev), path),
	    slice_str(text));
}

static struct testlib_world *
two(void)
{
	struct testlib_world *w = testlib_world_new(11, 2);

	testlib_world_write(w, A, "a", "a");
	testlib_world_start_all(w);
	settle(w);
	return w;
}

static void
a_decomposed_name_is_composed_by_a_hint(void **state)
{
	struct testlib_world *w = two();

	(void)state;
	testlib_world_write(w, A, NFD, "text");
	settle(w);
	assert_true(has(w, A, NFC));
	assert_false(has(w, A, NFD));
	assert_true(holds(w, B, NFC, "text"));
	assert_int_equal(folder(w, A).problem_count, 0);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
a_decomposed_tree_is_composed_by_the_first_scan(void **state)
{
	struct testlib_world *w = testlib_world_new(12, 2);

	(void)state;
	testlib_world_mkdir(w, A, NFD);
	testlib_world_mkdir(w, A, NFD "/cafe\xcc\x81");
	testlib_world_write(w, A, NFD "/cafe\xcc\x81/o\xcc\x88", "1");
	testlib_world_write(w, A, NFD "/plain", "2");
	testlib_world_start_all(w);
	settle(w);
	assert_true(holds(w, B, NFC "/caf\xc3\xa9/\xc3\xb6", "1"));
	assert_true(holds(w, B, NFC "/plain", "2"));
	assert_false(has(w, A, NFD));
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
a_name_that_was_decomposed_by_somebody_comes_back(void **state)
{
	struct testlib_world *w = two();

	(void)state;
	testlib_world_write(w, A, NFC, "text");
	settle(w);
	/* Without a hint: a rescan finds the old name missing. */
	testlib_disk_rename(testlib_world_disk(w, A), NFC, NFD);
	testlib_world_command(w, A, COMMAND_SCAN);
	settle(w);
	assert_true(holds(w, A, NFC, "text"));
	assert_true(holds(w, B, NFC, "text"));
	assert_int_equal(folder(w, A).local.deleted, 0);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
a_taken_name_is_a_clash_until_it_is_free(void **state)
{
	struct testlib_world *w = two();

	(void)state;
	testlib_world_write(w, A, NFC, "composed");
	settle(w);
	testlib_world_write(w, A, NFD, "decomposed");
	settle(w);
	assert_true(holds(w, A, NFD, "decomposed"));
	assert_true(holds(w, A, NFC, "composed"));
	assert_false(has(w, B, NFD));
	assert_int_equal(why(w, A, NFD), REASON_NAME_CLASH);
	assert_int_equal(why(w, A, NFC), REASON_NONE);
	assert_int_equal(folder(w, A).problem_count, 1);
	assert_int_equal(folder(w, A).problem[0].reason, REASON_NAME_CLASH);
	/* Still told after a rescan, and once. */
	testlib_world_command(w, A, COMMAND_SCAN);
	settle(w);
	assert_int_equal(folder(w, A).problem_count, 1);
	testlib_world_remove(w, A, NFC);
	settle(w);
	testlib_world_command(w, A, COMMAND_SCAN);
	settle(w);
	assert_true(holds(w, B, NFC, "decomposed"));
	assert_int_equal(folder(w, A).problem_count, 0);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
a_bad_name_is_told_until_it_is_gone(void **state)
{
	struct testlib_world *w = two();

	(void)state;
	testlib_world_mkdir(w, A, "d");
	assert_true(testlib_disk_write(testlib_world_disk(w, A), "d/" BAD,
	    SLICE_LIT("x")));
	testlib_world_command(w, A, COMMAND_SCAN);
	settle(w);
	assert_int_equal(why(w, A, "d/" BAD), REASON_BAD_NAME);
	assert_int_equal(folder(w, A).problem_count, 1);
	assert_int_equal(folder(w, A).scan.failed, 1);
	assert_int_equal(folder(w, A).state, STATUS_IN_SYNC);
	assert_true(has(w, B, "d"));
	testlib_world_remove(w, A, "d");
	settle(w);
	assert_int_equal(folder(w, A).problem_count, 0);
	assert_int_equal(folder(w, A).scan.failed, 0);
	assert_int_equal(why(w, A, "d/" BAD), REASON_NONE);
	testlib_world_free(w);
}

static void
more_problems_than_are_remembered_are_counted(void **state)
{
	struct testlib_world *w = two();
	char path[64];

	(void)state;
	for (int i = 0; i < 1200; i++) {
		snprintf(path, sizeof(path), BAD "%d", i);
		assert_true(testlib_disk_write(testlib_world_disk(w, A), path,
		    SLICE_LIT("x")));
	}
	testlib_world_command(w, A, COMMAND_SCAN);
	settle(w);
	assert_int_equal(folder(w, A).problem_count, 1200);
	assert_int_equal(folder(w, A).problem_listed, STATUS_PROBLEMS_MAX);
	for (uint32_t i = 1; i < STATUS_PROBLEMS_MAX; i += 33)
		assert_true(slice_cmp(folder(w, A).problem[i - 1].path,
				folder(w, A).problem[i].path) < 0);
	testlib_world_free(w);
}

static int
end(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_decomposed_name_is_composed_by_a_hint),
		cmocka_unit_test(
		    a_decomposed_tree_is_composed_by_the_first_scan),
		cmocka_unit_test(
		    a_name_that_was_decomposed_by_somebody_comes_back),
		cmocka_unit_test(a_taken_name_is_a_clash_until_it_is_free),
		cmocka_unit_test(a_bad_name_is_told_until_it_is_gone),
		cmocka_unit_test(more_problems_than_are_remembered_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
