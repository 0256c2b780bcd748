/*
 * Override and revert, told as stories between devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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
check_holds(struct testlib_world *w, uint32_t dev, const char *path,
    const char *text)
{
	const struct slice got =
	    testlib_disk_read(testlib_world_disk(w, dev), path);

	if (testlib_disk_has(testlib_world_disk(w, dev), path) &&
	    slice_equal(got, slice_str(text)))
		return;
	testlib_world_print_log(w);
	fail_msg("%c: %s holds \"%.*s\", not \"%s\"", (char)('A' + dev), path,
	    SLICE_FMT(got), text);
}

static void
check_gone(struct testlib_world *w, uint32_t dev, const char *path)
{
	if (!testlib_disk_has(testlib_world_disk(w, dev), path))
		return;
	testlib_world_print_log(w);
	fail_msg("%c: %s is still there", (char)('A' + dev), path);
}

/* Two devices with some files, the same on both. */
static struct testlib_world *
world(enum folder_mode a, enum folder_mode b)
{
	struct testlib_world *w = testlib_world_new(7, 2);

	testlib_world_set_mode(w, A, a);
	testlib_world_set_mode(w, B, b);
	testlib_world_mkdir(w, A, "d");
	testlib_world_write(w, A, "a", "a of A");
	testlib_world_write(w, A, "b", "b of A");
	testlib_world_write(w, A, "d/x", "x of A");
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	return w;
}

static void
override_makes_the_senders_state_win(void **state)
{
	struct testlib_world *w = world(FOLDER_SEND_ONLY, FOLDER_SEND_RECEIVE);

	(void)state;
	testlib_world_write(w, B, "a", "a of B");
	testlib_world_write(w, B, "new", "new of B");
	testlib_world_mkdir(w, B, "nd");
	testlib_world_write(w, B, "nd/y", "y of B");
	testlib_world_remove(w, B, "b");
	testlib_world_remove(w, B, "d");
	settle(w);
	/* A sender takes nothing. */
	check_holds(w, A, "a", "a of A");
	check_gone(w, A, "new");
	testlib_world_command(w, A, COMMAND_OVERRIDE);
	settle(w);
	testlib_world_check_same(w);
	check_holds(w, B, "a", "a of A");
	check_holds(w, B, "b", "b of A");
	check_holds(w, B, "d/x", "x of A");
	check_gone(w, B, "new");
	check_gone(w, B, "nd");
	testlib_world_free(w);
}

static void
override_beats_every_version_there_is(void **state)
{
	struct testlib_world *w = testlib_world_new(3, 3);

	(void)state;
	testlib_world_set_mode(w, A, FOLDER_SEND_ONLY);
	testlib_world_write(w, A, "a", "a of A");
	testlib_world_start_all(w);
	settle(w);
	/* Two edits that know nothing of one another. */
	testlib_world_disconnect(w, B, 2);
	settle(w);
	testlib_world_write(w, B, "a", "a of B");
	testlib_world_write(w, 2, "a", "a of C");
	settle(w);
	testlib_world_command(w, A, COMMAND_OVERRIDE);
	settle(w);
	check_holds(w, B, "a", "a of A");
	check_holds(w, 2, "a", "a of A");
	testlib_world_free(w);
}

static void
override_is_for_senders_only(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);

	(void)state;
	testlib_world_write(w, A, "a", "newer");
	testlib_world_write(w, B, "mine", "mine of B");
	testlib_world_command(w, A, COMMAND_OVERRIDE);
	testlib_world_command(w, B, COMMAND_OVERRIDE);
	testlib_world_command(w, A, COMMAND_REVERT);
	settle(w);
	check_holds(w, A, "a", "newer");
	check_holds(w, B, "a", "newer");
	check_holds(w, B, "mine", "mine of B");
	check_gone(w, A, "mine");
	testlib_world_free(w);
}

static void
override_waits_for_the_first_scan(void **state)
{
	struct testlib_world *w = testlib_world_new(11, 2);

	(void)state;
	/* The same files on both, and no index yet at A. */
	testlib_world_set_mode(w, A, FOLDER_SEND_ONLY);
	testlib_world_write(w, A, "a", "same");
	testlib_world_write(w, A, "b", "old");
	testlib_world_write(w, B, "a", "same");
	testlib_world_write(w, B, "b", "new");
	testlib_world_start_all(w);
	testlib_world_command(w, A, COMMAND_OVERRIDE);
	for (int i = 0; i < 40; i++) {
		testlib_world_run(w, 200 * CLOCK_US);
		testlib_world_command(w, A, COMMAND_OVERRIDE);
	}
	settle(w);
	check_holds(w, A, "a", "same");
	check_holds(w, B, "a", "same");
	check_holds(w, A, "b", "old");
	check_holds(w, B, "b", "old");
	testlib_world_free(w);
}

static void
change_receiver(struct testlib_world *w)
{
	testlib_world_write(w, B, "a", "a of B");
	testlib_world_write(w, B, "mine", "mine of B");
	testlib_world_mkdir(w, B, "ld");
	testlib_world_mkdir(w, B, "ld/deep");
	testlib_world_write(w, B, "ld/deep/f", "f of B");
	testlib_world_remove(w, B, "b");
	testlib_world_remove(w, B, "d");
	settle(w);
}

static void
a_receivers_changes_stay_with_it(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);

	(void)state;
	change_receiver(w);
	check_holds(w, B, "a", "a of B");
	check_holds(w, B, "ld/deep/f", "f of B");
	check_gone(w, B, "b");
	check_holds(w, A, "a", "a of A");
	check_holds(w, A, "b", "b of A");
	check_holds(w, A, "d/x", "x of A");
	check_gone(w, A, "mine");
	check_gone(w, A, "ld");
	testlib_world_free(w);
}

static void
revert_undoes_them(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);

	(void)state;
	change_receiver(w);
	testlib_world_command(w, B, COMMAND_REVERT);
	settle(w);
	testlib_world_check_same(w);
	check_holds(w, B, "a", "a of A");
	check_holds(w, B, "b", "b of A");
	check_holds(w, B, "d/x", "x of A");
	check_gone(w, B, "mine");
	check_gone(w, B, "ld");
	/* And nothing of it comes back. */
	testlib_world_command(w, B, COMMAND_SCAN);
	testlib_world_command(w, B, COMMAND_REVERT);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
revert_leaves_what_was_saved_meanwhile(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);

	(void)state;
	change_receiver(w);
	testlib_world_command(w, B, COMMAND_REVERT);
	/* The removal is asked for; a person is quicker. */
	testlib_world_write(w, B, "mine", "newer");
	settle(w);
	check_holds(w, B, "mine", "newer");
	check_gone(w, B, "ld");
	testlib_world_command(w, B, COMMAND_REVERT);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

/* It takes a while, and what was not there when the word was given stays. */
static void
revert_leaves_what_was_written_since(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);
	char path[32];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "f%03d", i);
		testlib_world_write(w, B, path, path);
	}
	settle(w);
	testlib_world_command(w, B, COMMAND_REVERT);
	testlib_world_write(w, B, "zz", "written since");
	settle(w);
	check_holds(w, B, "zz", "written since");
	check_gone(w, B, "f000");
	check_gone(w, B, "f299");
	testlib_world_command(w, B, COMMAND_REVERT);
	settle(w);
	check_gone(w, B, "zz");
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
revert_leaves_directories_that_hold_something(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);

	(void)state;
	testlib_disk_write(testlib_world_disk(w, B), ".stignore",
	    SLICE_LIT("*.tmp\n"));
	testlib_world_command(w, B, COMMAND_IGNORES);
	testlib_world_mkdir(w, B, "ld");
	testlib_world_write(w, B, "ld/keep.tmp", "ignored");
	testlib_world_write(w, B, "ld/f", "f of B");
	settle(w);
	testlib_world_command(w, B, COMMAND_REVERT);
	settle(w);
	check_gone(w, B, "ld/f");
	check_holds(w, B, "ld/keep.tmp", "ignored");
	testlib_world_free(w);
}

static void
revert_goes_on_after_a_crash(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 12; seed++) {
		struct testlib_world *w =
		    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);
		char path[32];

		for (int i = 0; i < 100; i++) {
			snprintf(path, sizeof(path), "f%d", i);
			testlib_world_write(w, B, path, path);
		}
		change_receiver(w);
		testlib_world_command(w, B, COMMAND_REVERT);
		testlib_world_run(w, seed * 300 * CLOCK_US);
		testlib_world_kill(w, B);
		check_holds(w, A, "d/x", "x of A");
		testlib_world_start_all(w);
		settle(w);
		testlib_world_command(w, B, COMMAND_REVERT);
		settle(w);
		check_holds(w, B, "a", "a of A");
		check_gone(w, B, "f99");
		check_gone(w, B, "ld");
		testlib_world_free(w);
	}
}

static void
revert_is_bounded_and_complete(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);
	char path[64];

	(void)state;
	for (int i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "dir%d", i);
		testlib_world_mkdir(w, B, path);
		for (int k = 0; k < 40; k++) {
			snprintf(path, sizeof(path), "dir%d/f%d", i, k);
			testlib_world_write(w, B, path, path);
		}
	}
	settle(w);
	testlib_world_command(w, B, COMMAND_REVERT);
	assert_true(testlib_world_effects(w, B, EFFECT_REMOVE) <= 64);
	settle(w);
	assert_int_equal(testlib_world_effects(w, B, EFFECT_REMOVE), 1230);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

/* The start goes on by itself: without its marker a folder has no staging. */
static void
a_scan_asked_for_while_a_folder_starts_does_not_overtake_it(void **state)
{
	struct testlib_world *w = testlib_world_new(5, 1);

	(void)state;
	testlib_world_start(w, 0);
	while (testlib_world_effects(w, 0, EFFECT_MAKE_MARKER) == 0)
		assert_true(testlib_world_step(w));
	testlib_world_command(w, 0, COMMAND_SCAN);
	assert_int_equal(testlib_world_effects(w, 0, EFFECT_READ_FILE), 0);
	assert_true(testlib_world_settle(w));
	assert_in_range(testlib_world_effects(w, 0, EFFECT_READ_FILE), 1, 2);
	assert_int_equal(testlib_world_effects(w, 0, EFFECT_LIST_TEMPS), 1);
	testlib_world_free(w);
}

static void
rules(struct testlib_world *w, uint32_t dev, const char *text)
{
	testlib_disk_write(testlib_world_disk(w, dev), ".stignore",
	    slice_str(text));
	testlib_world_command(w, dev, COMMAND_IGNORES);
}

static void
a_rule_taken_back_brings_what_it_hid(void **state)
{
	struct testlib_world *w = world(0, 0);

	(void)state;
	rules(w, B, "*.o\n/hid\n");
	settle(w);
	testlib_world_write(w, A, "a.o", "o of A");
	testlib_world_write(w, A, "d/b.o", "b of A");
	testlib_world_write(w, B, "both.o", "of B");
	testlib_world_write(w, A, "both.o", "of A");
	testlib_world_mkdir(w, A, "hid");
	testlib_world_write(w, A, "hid/x", "x of A");
	settle(w);
	check_gone(w, B, "a.o");
	check_gone(w, B, "hid");
	check_holds(w, B, "both.o", "of B");
	rules(w, B, "");
	settle(w);
	check_holds(w, B, "a.o", "o of A");
	check_holds(w, B, "d/b.o", "b of A");
	check_holds(w, B, "hid/x", "x of A");
	testlib_world_check_same(w); /* both.o and its conflict copy, too */
	testlib_world_free(w);
}

static void
a_rule_taken_back_while_we_slept_does_so_too(void **state)
{
	struct testlib_world *w = world(0, 0);

	(void)state;
	rules(w, B, "*.o\n");
	settle(w);
	testlib_world_write(w, A, "a.o", "o of A");
	settle(w);
	testlib_world_kill(w, B);
	testlib_disk_remove(testlib_world_disk(w, B), ".stignore");
	testlib_world_start_all(w);
	settle(w);
	check_holds(w, B, "a.o", "o of A");
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
a_rule_hides_what_is_here_and_deletes_nothing(void **state)
{
	struct testlib_world *w = world(0, 0);

	(void)state;
	rules(w, B, "a\n");
	settle(w);
	testlib_world_remove(w, B, "a");
	settle(w);
	check_holds(w, A, "a", "a of A");
	testlib_world_write(w, A, "a", "newer");
	settle(w);
	check_gone(w, B, "a");
	rules(w, B, "// nothing\n");
	settle(w);
	check_holds(w, B, "a", "newer");
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
what_is_kept_below_an_ignored_directory_arrives(void **state)
{
	struct testlib_world *w = world(0, 0);

	(void)state;
	rules(w, B, "!/keep/deep/y\n/keep\n");
	settle(w);
	testlib_world_mkdir(w, A, "keep");
	testlib_world_mkdir(w, A, "keep/deep");
	testlib_world_write(w, A, "keep/z", "z of A");
	testlib_world_write(w, A, "keep/deep/y", "y of A");
	settle(w);
	check_holds(w, B, "keep/deep/y", "y of A");
	check_gone(w, B, "keep/z");
	testlib_world_command(w, B, COMMAND_SCAN);
	settle(w);
	testlib_world_write(w, B, "keep/deep/y", "y of B");
	settle(w);
	check_holds(w, A, "keep/deep/y", "y of B");
	check_holds(w, A, "keep/z", "z of A");
	testlib_world_free(w);
}

static void
a_receiver_that_may_send_again_tells_its_changes(void **state)
{
	struct testlib_world *w =
	    world(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);

	(void)state;
	testlib_world_write(w, B, "mine", "mine of B");
	testlib_world_remove(w, B, "b");
	settle(w);
	check_gone(w, A, "mine");
	testlib_world_kill(w, B);
	testlib_world_set_mode(w, B, FOLDER_SEND_RECEIVE);
	testlib_world_start_all(w);
	settle(w);
	check_holds(w, A, "mine", "mine of B");
	testlib_world_check_same(w);
	testlib_world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_scan_asked_for_while_a_folder_starts_does_not_overtake_it),
		cmocka_unit_test(override_makes_the_senders_state_win),
		cmocka_unit_test(override_beats_every_version_there_is),
		cmocka_unit_test(override_is_for_senders_only),
		cmocka_unit_test(override_waits_for_the_first_scan),
		cmocka_unit_test(a_receivers_changes_stay_with_it),
		cmocka_unit_test(revert_undoes_them),
		cmocka_unit_test(revert_leaves_what_was_saved_meanwhile),
		cmocka_unit_test(revert_leaves_what_was_written_since),
		cmocka_unit_test(revert_leaves_directories_that_hold_something),
		cmocka_unit_test(revert_goes_on_after_a_crash),
		cmocka_unit_test(revert_is_bounded_and_complete),
		cmocka_unit_test(a_rule_taken_back_brings_what_it_hid),
		cmocka_unit_test(a_rule_taken_back_while_we_slept_does_so_too),
		cmocka_unit_test(a_rule_hides_what_is_here_and_deletes_nothing),
		cmocka_unit_test(
		    what_is_kept_below_an_ignored_directory_arrives),
		cmocka_unit_test(
		    a_receiver_that_may_send_again_tells_its_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
