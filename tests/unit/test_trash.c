/*
 * The trash can, told as stories between devices: what a peer takes away is in
 * it, whatever happens, and nothing else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/status.h"
#include "engine/trash.h"
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

static void
check_trash(struct testlib_world *w, uint32_t dev, const char *path,
    const char *text)
{
	const struct slice got =
	    testlib_disk_trash_read(testlib_world_disk(w, dev), path);

	if (slice_equal(got, slice_str(text)))
		return;
	testlib_world_print_log(w);
	fail_msg("%c: the trash can has \"%.*s\" for %s, not \"%s\"",
	    (char)('A' + dev), SLICE_FMT(got), path, text);
}

static int64_t
trash_files(struct testlib_world *w, uint32_t dev)
{
	int64_t files, bytes;

	testlib_disk_trash(testlib_world_disk(w, dev), &files, &bytes);
	return files;
}

static struct testlib_world *
world(uint64_t seed)
{
	struct testlib_world *w = testlib_world_new(seed, 2);

	testlib_world_mkdir(w, A, "d");
	testlib_world_write(w, A, "a", "a of A");
	testlib_world_write(w, A, "d/x", "x of A");
	testlib_world_start_all(w);
	settle(w);
	return w;
}

static void
what_a_peer_replaces_and_deletes_is_kept(void **state)
{
	struct testlib_world *w = world(1);

	(void)state;
	testlib_world_write(w, A, "a", "a again");
	testlib_world_remove(w, A, "d");
	settle(w);
	testlib_world_check_same(w);
	check_trash(w, B, "a", "a of A");
	check_trash(w, B, "d/x", "x of A");
	/* The one who did it has nothing of it. */
	assert_int_equal(trash_files(w, A), 0);
	testlib_world_write(w, A, "a", "a a third time");
	settle(w);
	check_trash(w, B, "a", "a again");
	assert_int_equal(trash_files(w, B), 2);
	testlib_world_free(w);
}

static void
a_conflict_copy_is_no_rubbish(void **state)
{
	struct testlib_world *w = world(2);

	(void)state;
	testlib_world_disconnect(w, A, B);
	settle(w);
	testlib_world_write(w, A, "a", "edit of A");
	testlib_world_write(w, B, "a", "edit of B");
	settle(w);
	testlib_world_connect(w, A, B);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(trash_files(w, A) + trash_files(w, B), 0);
	testlib_world_free(w);
}

static void
a_rename_keeps_nothing(void **state)
{
	struct testlib_world *w = world(3);

	(void)state;
	testlib_world_rename(w, A, "a", "b");
	testlib_world_rename(w, A, "d", "e");
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(trash_files(w, B), 0);
	testlib_world_free(w);
}

static void
switched_off_it_keeps_nothing(void **state)
{
	struct testlib_world *w = testlib_world_new(4, 2);

	(void)state;
	testlib_world_folder(w, B)->trash = false;
	testlib_world_write(w, A, "a", "a of A");
	testlib_world_start_all(w);
	settle(w);
	testlib_world_write(w, A, "a", "a again");
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(trash_files(w, B), 0);
	assert_int_equal(testlib_world_effects(w, B, EFFECT_KEEP_VERSION), 0);
	testlib_world_free(w);
}

static void
what_a_revert_takes_back_is_kept(void **state)
{
	struct testlib_world *w = testlib_world_new(5, 2);

	(void)state;
	testlib_world_set_mode(w, B, FOLDER_RECEIVE_ONLY);
	testlib_world_write(w, A, "a", "a of A");
	testlib_world_start_all(w);
	settle(w);
	testlib_world_write(w, B, "a", "a of B");
	testlib_world_write(w, B, "new", "new of B");
	settle(w);
	testlib_world_command(w, B, COMMAND_REVERT);
	settle(w);
	testlib_world_check_same(w);
	check_trash(w, B, "a", "a of B");
	check_trash(w, B, "new", "new of B");
	testlib_world_free(w);
}

/*
 * Killed at every turn on the way: what the peer took away is either still
 * under its name or in the trash can, and in the end it is there.
 */
static void
killed_at_any_moment_it_is_kept(bool revert, uint32_t steps)
{
	struct testlib_world *w = testlib_world_new(100 + steps, 2);

	if (revert)
		testlib_world_set_mode(w, B, FOLDER_RECEIVE_ONLY);
	testlib_world_mkdir(w, A, "d");
	testlib_world_write(w, A, "d/b", "b of A");
	testlib_world_write(w, A, "d/c", "c of A");
	testlib_world_start_all(w);
	settle(w);
	if (revert) {
		testlib_world_write(w, B, "d/b", "mine");
		testlib_world_write(w, B, "d/new", "also mine");
		settle(w);
		testlib_world_command(w, B, COMMAND_REVERT);
	} else {
		testlib_world_write(w, A, "d/b", "again");
		testlib_world_remove(w, A, "d/c");
	}
	for (uint32_t i = 0; i < steps; i++)
		testlib_world_step(w);
	testlib_world_kill(w, B);
	testlib_world_start(w, B);
	testlib_world_connect(w, A, B);
	settle(w);
	if (revert) {
		testlib_world_command(w, B, COMMAND_REVERT);
		settle(w);
	}
	testlib_world_check_same(w);
	check_trash(w, B, "d/b", revert ? "mine" : "b of A");
	check_trash(w, B, revert ? "d/new" : "d/c",
	    revert ? "also mine" : "c of A");
	assert_int_equal(trash_files(w, B), 2);
	testlib_world_check_no_temps(w);
	testlib_world_free(w);
}

static void
a_crash_on_the_way_loses_nothing(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 120; i++)
		killed_at_any_moment_it_is_kept(false, i);
}

static void
a_crash_during_a_revert_loses_nothing(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 60; i++)
		killed_at_any_moment_it_is_kept(true, i);
}

static void
status_of(struct testlib_world *w, uint32_t dev, struct arena *arena,
    struct status_folder *out)
{
	struct status_report rp;

	status_report(testlib_world_engine(w, dev), testlib_world_now(w), arena,
	    &rp);
	*out = rp.folder[0];
}

static void
what_cannot_be_kept_stays_in_staging_and_is_told(void **state)
{
	struct testlib_world *w = world(6);
	struct testlib_disk *dk = testlib_world_disk(w, B);
	struct status_folder st;
	struct arena arena = { 0 };

	(void)state;
	testlib_disk_break_trash(dk, ERR_DENIED);
	testlib_world_remove(w, A, "a");
	testlib_world_run(w, 5 * CLOCK_S);
	assert_false(testlib_disk_has(dk, "a"));
	assert_int_equal(testlib_disk_temps(dk), 1);
	status_of(w, B, &arena, &st);
	assert_true(st.trash_failure.len > 0);
	/* From now on nothing more is taken away; what is new comes. */
	testlib_world_remove(w, A, "d/x");
	testlib_world_write(w, A, "new", "new of A");
	testlib_world_run(w, 5 * CLOCK_S);
	assert_true(testlib_disk_has(dk, "d/x"));
	assert_true(testlib_disk_has(dk, "new"));
	assert_int_equal(testlib_disk_temps(dk), 1);
	status_of(w, B, &arena, &st);
	assert_int_equal(st.problem_listed, 1);
	assert_int_equal(st.problem[0].reason, REASON_TRASH_FAILED);
	/* The next start finds the trash can well. */
	testlib_disk_break_trash(dk, 0);
	testlib_world_kill(w, B);
	testlib_world_start(w, B);
	settle(w);
	check_trash(w, B, "a", "a of A");
	assert_int_equal(testlib_disk_temps(dk), 0);
	status_of(w, B, &arena, &st);
	assert_int_equal(st.trash_failure.len, 0);
	assert_true(st.has_trash);
	assert_int_equal(st.trash.files, 2);
	assert_int_equal(st.trash.bytes, 12);
	testlib_world_connect(w, A, B);
	settle(w);
	testlib_world_check_same(w);
	check_trash(w, B, "d/x", "x of A");
	arena_fini(&arena);
	testlib_world_free(w);
}

static void
a_trash_can_that_is_well_again_is_used_without_a_start(void **state)
{
	struct testlib_world *w = world(10);
	struct testlib_disk *dk = testlib_world_disk(w, B);

	(void)state;
	/* As it is told when the folder opens: not even one is taken. */
	testlib_world_kill(w, B);
	testlib_disk_break_trash(dk, ERR_DENIED);
	testlib_world_start(w, B);
	testlib_world_connect(w, A, B);
	testlib_world_run(w, CLOCK_S);
	testlib_world_write(w, A, "a", "again");
	testlib_world_run(w, 30 * CLOCK_S);
	assert_true(
	    slice_equal(testlib_disk_read(dk, "a"), SLICE_LIT("a of A")));
	testlib_disk_break_trash(dk, 0);
	testlib_world_run(w, 90 * CLOCK_S);
	testlib_world_check_same(w);
	check_trash(w, B, "a", "a of A");
	testlib_world_free(w);
}

/* Whatever it was: a while later it is filed, without anyone's help. */
static void
what_stayed_in_staging_is_filed_when_it_can_be(void **state)
{
	static const int codes[] = { ERR_DENIED, ERR_IO, ERR_FULL,
		ERR_READ_ONLY, ERR_MISSING_ROOT };

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct testlib_world *w = world(20 + i);
		struct testlib_disk *dk = testlib_world_disk(w, B);

		testlib_disk_break_trash(dk, codes[i]);
		testlib_world_remove(w, A, "a");
		testlib_world_run(w, 30 * CLOCK_S);
		assert_int_equal(testlib_disk_temps(dk), 1);
		testlib_disk_break_trash(dk, 0);
		testlib_world_run(w, 2 * CLOCK_HOUR);
		check_trash(w, B, "a", "a of A");
		assert_int_equal(testlib_disk_temps(dk), 0);
		testlib_world_check_same(w);
		testlib_world_free(w);
	}
}

static void
it_that_stays_broken_is_not_tried_all_the_time(void **state)
{
	struct testlib_world *w = world(30);
	struct testlib_disk *dk = testlib_world_disk(w, B);

	(void)state;
	testlib_disk_break_keeping(dk, ERR_DENIED); /* looks well, is not */
	testlib_world_remove(w, A, "a");
	testlib_world_run(w, 10 * CLOCK_HOUR);
	assert_int_equal(testlib_disk_temps(dk), 1);
	assert_true(testlib_world_effects(w, B, EFFECT_KEEP_VERSION) < 40);
	assert_true(testlib_world_effects(w, B, EFFECT_OPEN_FOLDER) < 40);
	testlib_world_free(w);
}

static void
it_is_cleaned_by_size_and_age(void **state)
{
	struct testlib_world *w = testlib_world_new(7, 2);
	char name[16];

	(void)state;
	testlib_world_folder(w, B)->trash_bytes_max = 100;
	testlib_world_folder(w, B)->trash_age_ns = 3 * 24 * CLOCK_HOUR;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%02d", i);
		testlib_world_write(w, A, name, "ten bytes!");
	}
	testlib_world_start_all(w);
	settle(w);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%02d", i);
		testlib_world_remove(w, A, name);
		settle(w);
		assert_true(trash_files(w, B) <= 10);
	}
	assert_true(trash_files(w, B) >= 9);
	check_trash(w, B, "f19", "ten bytes!");
	testlib_world_run(w, 2 * 24 * CLOCK_HOUR);
	assert_true(trash_files(w, B) >= 9);
	testlib_world_run(w, 3 * 24 * CLOCK_HOUR);
	assert_int_equal(trash_files(w, B), 0);
	testlib_world_free(w);
}

static void
a_full_disk_is_made_free_by_the_trash_can(void **state)
{
	struct testlib_world *w = world(8);
	struct testlib_disk *dk = testlib_world_disk(w, B);
	char text[200];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	testlib_world_write(w, A, "a", text);
	settle(w);
	testlib_world_remove(w, A, "a");
	settle(w);
	check_trash(w, B, "a", text);
	testlib_disk_set_room(dk, 250);
	testlib_world_write(w, A, "b", text);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(trash_files(w, B), 0);
	testlib_world_free(w);
}

static void
a_person_may_empty_it(void **state)
{
	struct testlib_world *w = world(9);

	(void)state;
	testlib_world_remove(w, A, "a");
	settle(w);
	assert_int_equal(trash_files(w, B), 1);
	testlib_world_command(w, B, COMMAND_EMPTY_TRASH);
	settle(w);
	assert_int_equal(trash_files(w, B), 0);
	testlib_world_free(w);
}

static void
stamped_names_are_told_from_others(void **state)
{
	static const char *const yes[] = { "a~20240102-030405.txt",
		"a~20240102-030405", "~20240102-030405.x",
		"a~b~20240102-030405" };
	static const char *const no[] = { "a", "a~1", "", "a~20240102-03040",
		"a~20240102-0304056", "a~20240102_030405.txt", "a~2024",
		"20240102-030405", "a~20240102-030405~" };

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(trash_is_stamped(slice_str(yes[i])));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(trash_is_stamped(slice_str(no[i])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_peer_replaces_and_deletes_is_kept),
		cmocka_unit_test(a_conflict_copy_is_no_rubbish),
		cmocka_unit_test(a_rename_keeps_nothing),
		cmocka_unit_test(switched_off_it_keeps_nothing),
		cmocka_unit_test(what_a_revert_takes_back_is_kept),
		cmocka_unit_test(a_crash_on_the_way_loses_nothing),
		cmocka_unit_test(a_crash_during_a_revert_loses_nothing),
		cmocka_unit_test(
		    what_cannot_be_kept_stays_in_staging_and_is_told),
		cmocka_unit_test(
		    a_trash_can_that_is_well_again_is_used_without_a_start),
		cmocka_unit_test(
		    what_stayed_in_staging_is_filed_when_it_can_be),
		cmocka_unit_test(
		    it_that_stays_broken_is_not_tried_all_the_time),
		cmocka_unit_test(it_is_cleaned_by_size_and_age),
		cmocka_unit_test(a_full_disk_is_made_free_by_the_trash_can),
		cmocka_unit_test(a_person_may_empty_it),
		cmocka_unit_test(stamped_names_are_told_from_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
