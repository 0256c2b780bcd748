/*
 * The pull, in a world of real engines and disks in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "testlib_world.h"

static void
settle(struct testlib_world *w)
{
	if (testlib_world_settle(w))
		return;
	testlib_world_print_log(w);
	fail_msg("it does not come to rest");
}

static void
check_text(struct testlib_world *w, uint32_t dev, const char *path,
    const char *text)
{
	const struct slice s =
	    testlib_disk_read(testlib_world_disk(w, dev), path);

	if (s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0)
		return;
	testlib_world_print_log(w);
	fail_msg("%c: %s is \"%.*s\"", (char)('A' + dev), path, SLICE_FMT(s));
}

static void
a_file_goes_to_the_other_device(void **state)
{
	struct testlib_world *w = testlib_world_new(1, 2);

	(void)state;
	testlib_world_write(w, 0, "a.txt", "hello");
	testlib_world_start_all(w);
	settle(w);
	check_text(w, 1, "a.txt", "hello");
	testlib_world_check_same(w);
	testlib_world_free(w);
}

/* Two devices in sync, with a few files. */
static struct testlib_world *
pair(uint64_t seed)
{
	struct testlib_world *w = testlib_world_new(seed, 2);

	testlib_world_mkdir(w, 0, "d");
	testlib_world_write(w, 0, "d/one", "first");
	testlib_world_write(w, 0, "two", "second");
	testlib_world_write(w, 0, "stays", "always there");
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	return w;
}

static void
all_kinds_of_things_go_over(void **state)
{
	struct testlib_world *w = testlib_world_new(2, 3);
	struct testlib_disk *dk = testlib_world_disk(w, 0);

	(void)state;
	testlib_world_mkdir(w, 0, "d");
	testlib_world_mkdir(w, 0, "d/deep");
	testlib_world_mkdir(w, 0, "empty");
	testlib_world_write(w, 0, "d/deep/x", "text");
	testlib_world_write(w, 0, "d/none", "");
	testlib_disk_link(dk, "d/link", "deep/x");
	testlib_disk_chmod(dk, "d/none", 0600);
	testlib_world_mkdir(w, 0, "closed");
	testlib_world_write(w, 0, "closed/f", "inside");
	testlib_disk_chmod(dk, "closed", 0555);
	testlib_world_start_all(w);
	settle(w);
	check_text(w, 2, "d/deep/x", "text");
	check_text(w, 2, "closed/f", "inside");
	assert_true(testlib_disk_has(testlib_world_disk(w, 1), "empty"));
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
edits_deletes_and_attributes_follow(void **state)
{
	struct testlib_world *w = pair(3);

	(void)state;
	testlib_world_write(w, 1, "d/one", "changed");
	settle(w);
	check_text(w, 0, "d/one", "changed");
	testlib_disk_chmod(testlib_world_disk(w, 0), "two", 0755);
	testlib_world_hint(w, 0, "two");
	settle(w);
	testlib_world_check_same(w);
	testlib_world_remove(w, 0, "d");
	settle(w);
	assert_false(testlib_disk_has(testlib_world_disk(w, 1), "d"));
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
types_change_into_one_another(void **state)
{
	struct testlib_world *w = pair(4);

	(void)state;
	/* A directory becomes a file, a file a directory, a link either. */
	testlib_world_remove(w, 0, "d");
	testlib_world_write(w, 0, "d", "now a file");
	testlib_world_remove(w, 0, "two");
	testlib_world_mkdir(w, 0, "two");
	testlib_world_write(w, 0, "two/in", "inside");
	settle(w);
	check_text(w, 1, "d", "now a file");
	check_text(w, 1, "two/in", "inside");
	testlib_world_check_same(w);
	testlib_world_remove(w, 1, "two");
	testlib_disk_link(testlib_world_disk(w, 1), "two", "d");
	testlib_world_hint(w, 1, "two");
	testlib_world_remove(w, 1, "d");
	testlib_world_mkdir(w, 1, "d");
	settle(w);
	testlib_world_check_same(w);
	testlib_world_remove(w, 0, "two");
	testlib_world_write(w, 0, "two", "file again");
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static bool
tree_has_text(struct testlib_world *w, uint32_t dev, const char *text)
{
	return testlib_disk_has_content(testlib_world_disk(w, dev),
	    slice_str(text));
}

static void
two_edits_are_both_kept(void **state)
{
	struct testlib_world *w = pair(5);

	(void)state;
	testlib_world_disconnect(w, 0, 1);
	testlib_world_write(w, 0, "two", "from A");
	testlib_world_run(w, CLOCK_S);
	testlib_world_write(w, 1, "two", "from B");
	settle(w);
	testlib_world_connect(w, 0, 1);
	settle(w);
	check_text(w, 0, "two", "from B");
	assert_true(tree_has_text(w, 0, "from A"));
	assert_true(tree_has_text(w, 1, "from A"));
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
equal_edits_are_no_conflict(void **state)
{
	struct testlib_world *w = pair(6);
	uint64_t before;

	(void)state;
	testlib_world_disconnect(w, 0, 1);
	testlib_world_write(w, 0, "two", "the same");
	testlib_world_run(w, CLOCK_S);
	testlib_world_write(w, 1, "two", "the same");
	settle(w);
	before = testlib_world_payload_bytes(w);
	testlib_world_connect(w, 0, 1);
	settle(w);
	assert_int_equal(testlib_world_payload_bytes(w), before);
	testlib_world_check_same(w);
	assert_int_equal(testlib_disk_count(testlib_world_disk(w, 0)), 4);
	testlib_world_free(w);
}

static void
an_edit_outlives_a_deletion_it_did_not_see(void **state)
{
	struct testlib_world *w = pair(7);

	(void)state;
	testlib_world_disconnect(w, 0, 1);
	testlib_world_remove(w, 0, "two");
	testlib_world_write(w, 1, "two", "still wanted");
	testlib_world_remove(w, 0, "d");
	testlib_world_write(w, 1, "d/new", "new in it");
	settle(w);
	testlib_world_connect(w, 0, 1);
	settle(w);
	check_text(w, 0, "two", "still wanted");
	check_text(w, 0, "d/new", "new in it");
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
a_renamed_file_is_renamed_and_not_sent(void **state)
{
	struct testlib_world *w = pair(8);
	const uint64_t before = testlib_world_payload_bytes(w);

	(void)state;
	testlib_world_rename(w, 0, "two", "d/three");
	settle(w);
	check_text(w, 1, "d/three", "second");
	testlib_world_check_same(w);
	assert_int_equal(testlib_world_payload_bytes(w), before);
	assert_int_equal(testlib_world_effects(w, 1, EFFECT_MOVE), 1);
	testlib_world_free(w);
}

static void
a_renamed_directory_is_one_rename(void **state)
{
	struct testlib_world *w = testlib_world_new(9, 2);
	uint64_t before;
	char path[64], text[64];

	(void)state;
	testlib_world_mkdir(w, 0, "top");
	for (int i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "top/%d", i);
		testlib_world_mkdir(w, 0, path);
		for (int k = 0; k < 50; k++) {
			snprintf(path, sizeof(path), "top/%d/f%d", i, k);
			snprintf(text, sizeof(text), "%d of %d", k, i);
			testlib_world_write(w, 0, path, k == 0 ? "" : text);
		}
	}
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	before = testlib_world_payload_bytes(w);
	testlib_world_rename(w, 0, "top", "other");
	settle(w);
	testlib_world_check_same(w);
	if (testlib_world_effects(w, 1, EFFECT_MOVE) != 1)
		testlib_world_print_log(w);
	assert_int_equal(testlib_world_effects(w, 1, EFFECT_MOVE), 1);
	assert_int_equal(testlib_world_payload_bytes(w), before);
	testlib_world_free(w);
}

static void
swaps_and_chains_come_out_right(void **state)
{
	struct testlib_world *w = pair(10);

	(void)state;
	testlib_world_rename(w, 0, "two", "tmp");
	testlib_world_rename(w, 0, "d/one", "two");
	testlib_world_rename(w, 0, "tmp", "d/one");
	settle(w);
	check_text(w, 1, "two", "first");
	check_text(w, 1, "d/one", "second");
	testlib_world_check_same(w);
	testlib_world_rename(w, 1, "two", "three");
	testlib_world_rename(w, 1, "d/one", "two");
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

/* Random bytes that do not compress, as text for testlib_world_write(). */
static char *
big_text(uint64_t seed, size_t len)
{
	struct rng rng;
	char *text = mem_alloc(len + 1);

	rng_init(&rng, seed);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(1 + rng_below(&rng, 255));
	text[len] = '\0';
	return text;
}

static void
blocks_that_are_here_are_not_asked_for(void **state)
{
	struct testlib_world *w = testlib_world_new(11, 2);
	char *text = big_text(1, 3 * 1024 * 1024);
	uint64_t before;

	(void)state;
	testlib_world_write(w, 0, "big", text);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	before = testlib_world_payload_bytes(w);
	assert_true(before >= 3 * 1024 * 1024);
	text[1500000] ^= 1;
	testlib_world_write(w, 0, "big", text);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(testlib_world_payload_bytes(w) - before, 128 * 1024);
	before = testlib_world_payload_bytes(w);
	testlib_world_write(w, 0, "copy", text);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(testlib_world_payload_bytes(w), before);
	mem_free(text);
	testlib_world_free(w);
}

static void
shifted_data_is_found_between_our_own_nodes(void **state)
{
	struct testlib_world *w = testlib_world_new(12, 2);
	const size_t len = 12 * 1024 * 1024;
	char *text = big_text(2, len + 1);
	uint64_t before;

	(void)state;
	testlib_world_set_features(w, FEATURE_CHUNKS);
	testlib_world_write(w, 0, "big", text + 1);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	before = testlib_world_payload_bytes(w);
	testlib_world_write(w, 0, "big", text);
	settle(w);
	testlib_world_check_same(w);
	assert_in_range(testlib_world_payload_bytes(w) - before, 1,
	    1024 * 1024);
	mem_free(text);
	testlib_world_free(w);
}

static void
a_download_goes_on_after_a_crash(void **state)
{
	struct testlib_world *w = testlib_world_new(13, 2);
	const size_t len = 40 * 1024 * 1024;
	char *text = big_text(3, len);

	(void)state;
	testlib_world_write(w, 0, "big", text);
	testlib_world_start_all(w);
	while (testlib_world_payload_bytes(w) < len / 2)
		testlib_world_step(w);
	testlib_world_run(w, 5 * CLOCK_MS);
	testlib_world_kill(w, 1);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	assert_true(testlib_world_payload_bytes(w) < len + len / 3);
	mem_free(text);
	testlib_world_free(w);
}

static void
what_nobody_has_is_waited_for(void **state)
{
	struct testlib_world *w = testlib_world_new(14, 3);

	(void)state;
	testlib_world_write(w, 0, "a", "only on A");
	testlib_world_start_all(w);
	testlib_world_disconnect(w, 0, 2);
	testlib_world_set_delay(w, 1000);
	settle(w);
	testlib_world_check_same(w);
	/* C hears of it through B and gets it from there. */
	testlib_world_disconnect(w, 1, 2);
	testlib_world_write(w, 0, "b", "on A and B");
	settle(w);
	assert_false(testlib_disk_has(testlib_world_disk(w, 2), "b"));
	testlib_world_kill(w, 0);
	testlib_world_connect(w, 1, 2);
	settle(w);
	check_text(w, 2, "b", "on A and B");
	testlib_world_free(w);
}

static void
a_full_disk_pauses_and_goes_on(void **state)
{
	struct testlib_world *w = testlib_world_new(15, 2);
	char *text = big_text(4, 1024 * 1024);

	(void)state;
	testlib_disk_set_room(testlib_world_disk(w, 1), 600 * 1024);
	testlib_world_write(w, 0, "big", text);
	testlib_world_write(w, 0, "small", "x");
	testlib_world_start_all(w);
	testlib_world_run(w, 30 * CLOCK_S);
	assert_false(testlib_disk_has(testlib_world_disk(w, 1), "big"));
	testlib_disk_set_room(testlib_world_disk(w, 1), INT64_MAX);
	testlib_world_run(w, 30 * CLOCK_S);
	settle(w);
	testlib_world_check_same(w);
	mem_free(text);
	testlib_world_free(w);
}

static void
send_only_takes_nothing_and_receive_only_keeps_its_own(void **state)
{
	struct testlib_world *w = testlib_world_new(16, 2);

	(void)state;
	testlib_world_set_mode(w, 0, FOLDER_SEND_ONLY);
	testlib_world_set_mode(w, 1, FOLDER_RECEIVE_ONLY);
	testlib_world_write(w, 0, "a", "truth");
	testlib_world_start_all(w);
	settle(w);
	check_text(w, 1, "a", "truth");
	testlib_world_write(w, 1, "a", "my notes");
	testlib_world_write(w, 1, "mine", "new here");
	settle(w);
	check_text(w, 0, "a", "truth");
	check_text(w, 1, "a", "my notes");
	assert_false(testlib_disk_has(testlib_world_disk(w, 0), "mine"));
	testlib_world_free(w);
}

static void
ignored_paths_are_not_taken(void **state)
{
	struct testlib_world *w = testlib_world_new(17, 2);

	(void)state;
	testlib_world_write(w, 1, ".stignore", "*.o\n(?d)*.tmp\n");
	testlib_world_mkdir(w, 0, "d");
	testlib_world_write(w, 0, "d/a.o", "object");
	testlib_world_write(w, 0, "d/a.c", "source");
	testlib_world_start_all(w);
	settle(w);
	check_text(w, 1, "d/a.c", "source");
	assert_false(testlib_disk_has(testlib_world_disk(w, 1), "d/a.o"));
	/* A (?d) file goes with its directory, another ignored one not. */
	testlib_world_write(w, 1, "d/x.tmp", "temporary");
	settle(w);
	testlib_world_remove(w, 0, "d");
	settle(w);
	assert_false(testlib_disk_has(testlib_world_disk(w, 1), "d"));
	testlib_world_mkdir(w, 0, "e");
	settle(w);
	testlib_world_write(w, 1, "e/keep.o", "mine");
	testlib_world_remove(w, 0, "e");
	settle(w);
	check_text(w, 1, "e/keep.o", "mine");
	testlib_world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_goes_to_the_other_device),
		cmocka_unit_test(all_kinds_of_things_go_over),
		cmocka_unit_test(edits_deletes_and_attributes_follow),
		cmocka_unit_test(types_change_into_one_another),
		cmocka_unit_test(two_edits_are_both_kept),
		cmocka_unit_test(equal_edits_are_no_conflict),
		cmocka_unit_test(an_edit_outlives_a_deletion_it_did_not_see),
		cmocka_unit_test(a_renamed_file_is_renamed_and_not_sent),
		cmocka_unit_test(a_renamed_directory_is_one_rename),
		cmocka_unit_test(swaps_and_chains_come_out_right),
		cmocka_unit_test(blocks_that_are_here_are_not_asked_for),
		cmocka_unit_test(shifted_data_is_found_between_our_own_nodes),
		cmocka_unit_test(a_download_goes_on_after_a_crash),
		cmocka_unit_test(what_nobody_has_is_waited_for),
		cmocka_unit_test(a_full_disk_pauses_and_goes_on),
		cmocka_unit_test(
		    send_only_takes_nothing_and_receive_only_keeps_its_own),
		cmocka_unit_test(ignored_paths_are_not_taken),
	};

	cmocka_set_test_filter(getenv("TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
