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
#include "engine/status.h"
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
	testlib_world_check_no_temps(w);
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
	testlib_world_check_no_temps(w);
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
	testlib_world_check_no_temps(w);
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
	testlib_world_check_no_temps(w);
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
	testlib_world_check_no_temps(w);
	testlib_world_free(w);
}

/* Of equal size, and no hint has told of it yet. */
static void
attributes_that_come_do_not_hide_an_edit(void **state)
{
	struct testlib_world *w = pair(33);
	struct testlib_disk *theirs = testlib_world_disk(w, 1);

	(void)state;
	assert_true(testlib_disk_write(theirs, "two", SLICE_LIT("SECOND")));
	testlib_disk_chmod(testlib_world_disk(w, 0), "two", 0600);
	testlib_world_hint(w, 0, "two");
	settle(w);
	check_text(w, 1, "two", "SECOND");
	check_text(w, 0, "two", "SECOND");
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
	testlib_world_check_no_temps(w);
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
many_small_files_share_their_flushes(void **state)
{
	struct testlib_world *w = testlib_world_new(9, 2);
	const int files = 2000;
	uint64_t flushes;
	char path[64];

	(void)state;
	for (int i = 0; i < files; i++) {
		snprintf(path, sizeof(path), "f%d", i);
		testlib_world_write(w, 0, path, path);
	}
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	flushes = testlib_world_effects(w, 1, EFFECT_SYNC_TEMPS);
	printf("%d files, %llu flushes\n", files, (unsigned long long)flushes);
	/* A batch is at least 256 files, but the first and the last ones. */
	assert_in_range(flushes, 1, files / 256 + 4);
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
	testlib_world_check_no_temps(w);
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

/* How much is asked for at once, of a file of `mib`. */
static uint64_t
asked_of_a_file(size_t mib)
{
	struct testlib_world *w = testlib_world_new(13, 2);
	char *text = big_text(3, mib * 1024 * 1024);
	uint64_t most;

	testlib_world_write(w, 0, "big", text);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	most = testlib_world_asked_most(w);
	mem_free(text);
	testlib_world_free(w);
	return most;
}

static void
a_long_file_fills_a_long_way(void **state)
{
	const uint64_t mib = 1024 * 1024;

	(void)state;
	/* A second source, should it come, finds something to give. */
	assert_in_range(asked_of_a_file(30), 12 * mib, 16 * mib);
	assert_in_range(asked_of_a_file(72), 17 * mib, 32 * mib);
}

enum { EDIT_BLOCK = 128 * 1024, EDIT_LEN = 96 * EDIT_BLOCK };

/* A file of EDIT_LEN bytes that both have; the holder's maps are `maps`. */
static struct testlib_world *
edited_world(uint64_t seed, enum testlib_maps maps, char **text)
{
	struct testlib_world *w = testlib_world_new(seed, 2);

	*text = big_text(seed, EDIT_LEN + 1000);
	(*text)[EDIT_LEN] = '\0';
	testlib_world_set_features(w, FEATURE_CHUNKS);
	testlib_disk_set_maps(testlib_world_disk(w, 0), maps);
	testlib_world_write(w, 0, "big", *text);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	return w;
}

/* What it costs to have `text` on both. */
static uint64_t
edit_sends(struct testlib_world *w, const char *text)
{
	const uint64_t before = testlib_world_payload_bytes(w);

	testlib_world_write(w, 0, "big", text);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_check_no_temps(w);
	return testlib_world_payload_bytes(w) - before;
}

static void
expect_maps(struct testlib_world *w, uint64_t holder, uint64_t asker)
{
	assert_int_equal(testlib_world_effects(w, 0, EFFECT_CHUNK_FILE),
	    holder);
	assert_int_equal(testlib_world_effects(w, 1, EFFECT_CHUNK_FILE), asker);
}

static void
an_edit_in_place_sends_the_chunks_around_it(void **state)
{
	char *text;
	struct testlib_world *w = edited_world(31, TESTLIB_MAPS_TRUE, &text);

	(void)state;
	/* Two blocks differ, and four more elsewhere: one map each. */
	text[50 * EDIT_BLOCK - 1] ^= 1;
	text[50 * EDIT_BLOCK + 1] ^= 1;
	for (size_t i = 0; i < 4; i++)
		text[(size_t)(70 + i) * EDIT_BLOCK] ^= 1;
	assert_in_range(edit_sends(w, text), 2, 5 * EDIT_BLOCK);
	expect_maps(w, 1, 1);
	/* A single block is as good as its chunks. */
	text[20 * EDIT_BLOCK] ^= 1;
	assert_int_equal(edit_sends(w, text), EDIT_BLOCK);
	expect_maps(w, 1, 1);
	/* The last two. */
	text[95 * EDIT_BLOCK - 1] ^= 1;
	text[95 * EDIT_BLOCK] ^= 1;
	assert_in_range(edit_sends(w, text), 2, 2 * EDIT_BLOCK - 1);
	expect_maps(w, 2, 2);
	mem_free(text);
	testlib_world_free(w);
}

/* Bytes put in and others taken out: the rest between moves, the ends stay. */
static void
what_moved_within_a_file_is_found_in_place(void **state)
{
	char *text;
	struct testlib_world *w = edited_world(32, TESTLIB_MAPS_TRUE, &text);
	const size_t from = 30 * EDIT_BLOCK + 77, to = 60 * EDIT_BLOCK + 5;

	(void)state;
	memmove(text + from + 100, text + from, to - from - 100);
	memset(text + from, 'x', 100);
	assert_in_range(edit_sends(w, text), 100, 6 * EDIT_BLOCK);
	expect_maps(w, 1, 1);
	/* From here on all is further behind: up to the old file's end. */
	memmove(text + from + 333, text + from, EDIT_LEN - from + 1);
	memset(text + from, 'y', 333);
	assert_in_range(edit_sends(w, text), 333, 6 * EDIT_BLOCK);
	expect_maps(w, 2, 2);
	/* ... and back again, to a shorter one. */
	memmove(text + from, text + from + 200000,
	    EDIT_LEN + 333 - from - 200000 + 1);
	assert_in_range(edit_sends(w, text), 1, 6 * EDIT_BLOCK);
	expect_maps(w, 3, 3);
	mem_free(text);
	testlib_world_free(w);
}

static void
what_is_put_behind_the_end_needs_no_map(void **state)
{
	char *text;
	struct testlib_world *w = edited_world(33, TESTLIB_MAPS_TRUE, &text);

	(void)state;
	memset(text + EDIT_LEN, 'z', 999);
	text[EDIT_LEN + 999] = '\0';
	assert_int_equal(edit_sends(w, text), 999);
	expect_maps(w, 0, 0);
	mem_free(text);
	testlib_world_free(w);
}

static void
maps_that_are_wrong_cost_whole_blocks(void **state)
{
	(void)state;
	for (enum testlib_maps maps = TESTLIB_MAPS_WHOLE;
	     maps <= TESTLIB_MAPS_FALSE; maps++) {
		char *text;
		struct testlib_world *w = edited_world(34 + maps, maps, &text);
		uint64_t sent;

		/* Of one hash all chunks: what is copied is not the file. */
		testlib_disk_set_maps(testlib_world_disk(w, 1), maps);
		text[50 * EDIT_BLOCK - 1] ^= 1;
		text[50 * EDIT_BLOCK + 1] ^= 1;
		sent = edit_sends(w, text);
		if (maps == TESTLIB_MAPS_WHOLE)
			assert_int_equal(sent, 2 * EDIT_BLOCK);
		else
			assert_in_range(sent, EDIT_BLOCK, 4 * EDIT_BLOCK);
		expect_maps(w, 1, 1);
		mem_free(text);
		testlib_world_free(w);
	}
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
	if (testlib_world_payload_bytes(w) >= len + len / 3)
		testlib_world_print_log(w);
	assert_true(testlib_world_payload_bytes(w) < len + len / 3);
	mem_free(text);
	testlib_world_free(w);
}

/* Made, and the crash came before the index knew; then it was deleted. */
static void
a_directory_made_before_a_crash_does_not_come_back(void **state)
{
	(void)state;
	for (uint64_t seed = 300; seed < 320; seed++) {
		struct testlib_world *w = pair(seed);
		struct testlib_disk *ours = testlib_world_disk(w, 0);
		struct testlib_disk *theirs = testlib_world_disk(w, 1);

		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_world_mkdir(w, 0, "new");
		testlib_world_mkdir(w, 0, "new/er");
		while (!testlib_disk_has(theirs, "new/er"))
			assert_true(testlib_world_step(w));
		testlib_world_kill(w, 1);
		testlib_world_remove(w, 0, "new");
		testlib_world_run(w, CLOCK_S);
		testlib_world_start(w, 1);
		testlib_world_connect(w, 0, 1);
		settle(w);
		if (testlib_disk_has(ours, "new") ||
		    testlib_disk_has(theirs, "new")) {
			testlib_world_print_log(w);
			fail_msg("seed %d: it is back", (int)seed);
		}
		testlib_world_check_same(w);
		testlib_world_free(w);
	}
}

/* The disk goes after its temps were listed, before the names are looked at. */
static void
what_a_crash_left_is_told_only_from_a_disk_that_is_there(void **state)
{
	struct testlib_world *w = pair(321);
	struct testlib_disk *ours = testlib_world_disk(w, 0);
	struct testlib_disk *theirs = testlib_world_disk(w, 1);
	uint64_t watched;

	(void)state;
	testlib_world_set_delay(w, 20 * CLOCK_MS);
	testlib_world_mkdir(w, 0, "new");
	while (!testlib_disk_has(theirs, "new"))
		assert_true(testlib_world_step(w));
	testlib_world_kill(w, 1);
	testlib_world_remove(w, 0, "new");
	testlib_world_run(w, CLOCK_S);
	testlib_disk_fail(theirs, EFFECT_STAT, ERR_MISSING_ROOT);
	watched = testlib_world_effects(w, 1, EFFECT_WATCH);
	testlib_world_start(w, 1);
	testlib_world_connect(w, 0, 1);
	testlib_world_run(w, 2 * CLOCK_S);
	/* It did not run: what the crash left was not told yet. */
	assert_int_equal(testlib_world_effects(w, 1, EFFECT_WATCH), watched);
	testlib_disk_fail(theirs, EFFECT_STAT, 0);
	settle(w);
	assert_false(testlib_disk_has(ours, "new"));
	assert_false(testlib_disk_has(theirs, "new"));
	testlib_world_check_same(w);
	testlib_world_free(w);
}

/*
 * Moved with its directory, deleted by who moved it, and that came, or came
 * with a crash, before the rows knew of the move.
 */
static void
move_and_delete(uint64_t seed, uint32_t steps)
{
	struct testlib_world *w = pair(seed);
	const uint64_t moves = testlib_world_effects(w, 1, EFFECT_MOVE);

	testlib_world_mkdir(w, 0, "d");
	testlib_world_write(w, 0, "d/g", "stays in it");
	testlib_world_write(w, 0, "d/f", "text");
	settle(w);
	testlib_world_rename(w, 0, "d", "e");
	while (testlib_world_effects(w, 1, EFFECT_MOVE) == moves)
		assert_true(testlib_world_step(w));
	testlib_world_remove(w, 0, "e/f");
	while (steps-- > 0)
		testlib_world_step(w);
	testlib_world_kill(w, 1);
	testlib_world_start(w, 1);
	testlib_world_connect(w, 0, 1);
	settle(w);
	if (testlib_disk_has(testlib_world_disk(w, 0), "e/f")) {
		testlib_world_print_log(w);
		fail_msg("seed %d: it is back", (int)seed);
	}
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
what_was_deleted_while_its_directory_moved_does_not_come_back(void **state)
{
	(void)state;
	for (uint64_t seed = 400; seed < 420; seed++)
		for (uint32_t steps = 2; steps < 90; steps += 4)
			move_and_delete(seed, steps);
	/* A listing from before the move is answered after it. */
	move_and_delete(420, 0);
	move_and_delete(424, 0);
	move_and_delete(541, 0);
}

/* It is made with more permissions, to be filled: those are nobody's wish. */
static void
a_directory_half_made_at_a_crash_gets_its_permissions(void **state)
{
	(void)state;
	for (uint64_t seed = 340; seed < 360; seed++) {
		struct testlib_world *w = pair(seed);
		struct testlib_disk *ours = testlib_world_disk(w, 0);
		struct testlib_disk *theirs = testlib_world_disk(w, 1);
		struct arena arena = { 0 };
		const char *was;

		arena_init(&arena);
		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_disk_mkdir(ours, "closed");
		testlib_disk_write(ours, "closed/f", SLICE_LIT("inside"));
		testlib_disk_chmod(ours, "closed", 0555);
		testlib_world_hint(w, 0, "closed");
		was = testlib_disk_dump(ours, &arena);
		while (!testlib_disk_has(theirs, "closed"))
			assert_true(testlib_world_step(w));
		for (uint64_t n = 0; n < seed % 20; n++)
			assert_true(testlib_world_step(w));
		testlib_world_kill(w, 1);
		testlib_world_start(w, 1);
		testlib_world_connect(w, 0, 1);
		settle(w);
		testlib_world_check_same(w);
		assert_string_equal(testlib_disk_dump(ours, &arena), was);
		arena_fini(&arena);
		testlib_world_free(w);
	}
}

static void
count_file(void *arg, struct slice data)
{
	(void)data;
	++*(int64_t *)arg;
}

/* As many files in the index as on the disk. */
static void
check_count(struct testlib_world *w, uint32_t dev)
{
	struct status_report rp;
	struct arena arena = { 0 };
	int64_t files = 0;

	arena_init(&arena);
	testlib_disk_each(testlib_world_disk(w, dev), "", count_file, &files);
	status_report(testlib_world_engine(w, dev), testlib_world_now(w),
	    &arena, &rp);
	if (rp.folder[0].local.files != files ||
	    rp.folder[0].state != STATUS_IN_SYNC) {
		testlib_world_print_log(w);
		fail_msg("%c has %d files, and says %d, %s", (char)('A' + dev),
		    (int)files, (int)rp.folder[0].local.files,
		    status_state_name(rp.folder[0].state));
	}
	arena_fini(&arena);
}

/* The row of a file is put when its directory is one no more. */
static void
a_directory_that_becomes_a_file_takes_what_was_coming(void **state)
{
	(void)state;
	for (uint64_t seed = 400; seed < 440; seed++) {
		struct testlib_world *w = pair(seed);
		struct testlib_disk *theirs = testlib_world_disk(w, 1);

		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_world_write(w, 0, "d/new", "on its way");
		while (!testlib_disk_has(theirs, "d/new"))
			assert_true(testlib_world_step(w));
		for (uint64_t n = 0; n < seed % 10; n++)
			(void)testlib_world_step(w);
		testlib_world_remove(w, 1, "d");
		testlib_world_write(w, 1, "d", "a file now");
		settle(w);
		check_text(w, 0, "d", "a file now");
		testlib_world_check_same(w);
		check_count(w, 0);
		check_count(w, 1);
		testlib_world_free(w);
	}
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

/* What was put and could not be flushed is no file of a person here. */
static void
what_could_not_be_flushed_is_known_when_the_folder_is_back(void **state)
{
	(void)state;
	for (uint64_t seed = 330; seed < 340; seed++) {
		struct testlib_world *w = pair(seed);
		struct testlib_disk *ours = testlib_world_disk(w, 0);
		struct testlib_disk *theirs = testlib_world_disk(w, 1);

		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_disk_fail(theirs, EFFECT_SYNC_DIRS, ERR_IO);
		testlib_world_write(w, 0, "new", "to be deleted");
		testlib_world_write(w, 0, "stays", "edited");
		while (!testlib_disk_has(theirs, "new"))
			assert_true(testlib_world_step(w));
		testlib_world_remove(w, 0, "new");
		testlib_world_write(w, 0, "stays", "edited again");
		testlib_world_run(w, CLOCK_S);
		testlib_disk_fail(theirs, EFFECT_SYNC_DIRS, 0);
		testlib_world_run(w, 30 * CLOCK_S);
		settle(w);
		testlib_world_check_same(w);
		assert_false(testlib_disk_has(ours, "new"));
		assert_int_equal(testlib_disk_count(ours), 4);
		testlib_world_free(w);
	}
}

static bool
has_line(struct testlib_world *w, uint32_t dev, const char *line)
{
	struct arena arena = { 0 };
	bool has;

	has = strstr(testlib_disk_dump(testlib_world_disk(w, dev), &arena),
		  line) != NULL;
	arena_fini(&arena);
	return has;
}

/* They were set, the crash came before the index knew; then others went on. */
static void
attributes_set_before_a_crash_are_no_edit(void **state)
{
	(void)state;
	for (uint64_t seed = 340; seed < 350; seed++) {
		struct testlib_world *w = pair(seed);
		struct testlib_disk *ours = testlib_world_disk(w, 0);

		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_disk_chmod(ours, "two", 0600);
		testlib_world_hint(w, 0, "two");
		while (!has_line(w, 1, "two f 600"))
			assert_true(testlib_world_step(w));
		testlib_world_kill(w, 1);
		testlib_world_remove(w, 0, "two");
		testlib_world_run(w, CLOCK_S);
		testlib_world_start(w, 1);
		testlib_world_connect(w, 0, 1);
		settle(w);
		testlib_world_check_same(w);
		assert_false(testlib_disk_has(ours, "two"));
		testlib_world_free(w);
	}
}

/* Killed while the new file had the name of the conflict copy: not for long. */
static void
a_conflict_copy_that_was_half_made_is_made_once(void **state)
{
	(void)state;
	for (uint64_t seed = 360; seed < 366; seed++) {
		struct testlib_world *w = pair(seed);
		struct testlib_disk *ours = testlib_world_disk(w, 0);
		struct testlib_disk *theirs = testlib_world_disk(w, 1);

		testlib_world_disconnect(w, 0, 1);
		testlib_world_write(w, 1, "two", "it loses");
		testlib_world_run(w, CLOCK_S);
		testlib_world_write(w, 0, "two", "it wins");
		testlib_world_run(w, CLOCK_S);
		testlib_disk_halve(theirs, true);
		testlib_world_connect(w, 0, 1);
		while (testlib_disk_count(theirs) < 5)
			assert_true(testlib_world_step(w));
		testlib_world_kill(w, 1);
		testlib_disk_halve(theirs, false);
		assert_true(slice_equal(testlib_disk_read(theirs, "two"),
		    SLICE_LIT("it loses")));
		testlib_world_start(w, 1);
		testlib_world_connect(w, 0, 1);
		settle(w);
		testlib_world_check_same(w);
		assert_int_equal(testlib_disk_count(ours), 5);
		assert_true(slice_equal(testlib_disk_read(ours, "two"),
		    SLICE_LIT("it wins")));
		assert_true(
		    testlib_disk_has_content(ours, SLICE_LIT("it loses")));
		testlib_world_free(w);
	}
}

/* Of two deletions that did not see one another the third sees both. */
static void
two_deletions_at_once_delete_what_each_saw(void **state)
{
	for (uint64_t seed = 370; seed < 380; seed++) {
		struct testlib_world *w = testlib_world_new(seed, 3);

		(void)state;
		testlib_world_start_all(w);
		settle(w);
		testlib_world_disconnect(w, 0, 2);
		testlib_world_disconnect(w, 1, 2);
		testlib_world_write(w, 0, "a", "of A, and B has it");
		testlib_world_run(w, CLOCK_S);
		testlib_world_disconnect(w, 0, 1);
		testlib_world_write(w, 2, "a", "of C alone");
		testlib_world_run(w, CLOCK_S);
		testlib_world_remove(w, 0, "a");
		testlib_world_run(w, 2 * CLOCK_S);
		testlib_world_remove(w, 2, "a"); /* the later one wins */
		testlib_world_run(w, CLOCK_S);
		testlib_world_connect(w, 0, 2);
		testlib_world_run(w, CLOCK_S);
		testlib_world_connect(w, 0, 1);
		testlib_world_run(w, 30 * CLOCK_S);
		settle(w);
		testlib_world_check_same(w);
		assert_false(testlib_disk_has(testlib_world_disk(w, 1), "a"));
		testlib_world_free(w);
	}
}

/* Removed, and the crash came before the index knew; then it was made anew. */
static void
what_is_back_after_a_crash_is_not_missed(void **state)
{
	(void)state;
	for (uint64_t seed = 360; seed < 370; seed++) {
		struct testlib_world *w = pair(seed);
		struct testlib_disk *ours = testlib_world_disk(w, 0);
		struct testlib_disk *theirs = testlib_world_disk(w, 1);

		testlib_world_mkdir(w, 0, "empty");
		settle(w);
		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_world_remove(w, 0, "empty");
		testlib_world_rename(w, 0, "two", "other");
		while (testlib_disk_has(theirs, "empty"))
			assert_true(testlib_world_step(w));
		testlib_world_kill(w, 1);
		testlib_world_mkdir(w, 0, "empty");
		testlib_world_rename(w, 0, "other", "two");
		testlib_world_run(w, CLOCK_S);
		testlib_world_start(w, 1);
		testlib_world_connect(w, 0, 1);
		settle(w);
		testlib_world_check_same(w);
		assert_true(testlib_disk_is_dir(ours, "empty"));
		check_text(w, 0, "two", "second");
		assert_int_equal(testlib_disk_count(ours), 5);
		testlib_world_free(w);
	}
}

/* It has its new name; what it had not got yet is no edit of a person. */
static void
a_move_without_its_attributes_is_still_a_move(void **state)
{
	struct testlib_world *w = pair(350);
	struct testlib_disk *ours = testlib_world_disk(w, 0);
	struct testlib_disk *theirs = testlib_world_disk(w, 1);

	(void)state;
	testlib_disk_fail(theirs, EFFECT_SET_META, ERR_FULL);
	testlib_disk_rename(ours, "two", "moved");
	testlib_disk_chmod(ours, "moved", 0600);
	testlib_world_hint(w, 0, "two");
	testlib_world_hint(w, 0, "moved");
	testlib_world_run(w, 2 * CLOCK_S);
	assert_true(testlib_disk_has(theirs, "moved"));
	testlib_world_write(w, 0, "moved", "edited");
	testlib_world_run(w, CLOCK_S);
	testlib_world_write(w, 0, "moved", "edited again");
	testlib_world_run(w, CLOCK_S);
	testlib_disk_fail(theirs, EFFECT_SET_META, 0);
	testlib_world_run(w, 30 * CLOCK_S);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(testlib_disk_count(ours), 4);
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

/* Half of a file that was deleted meanwhile held the room for another. */
static void
what_was_staged_in_vain_makes_room_on_a_full_disk(void **state)
{
	struct testlib_world *w = testlib_world_new(15, 2);
	char *text = big_text(4, 1024 * 1024);
	char *other = big_text(5, 300 * 1024);

	(void)state;
	testlib_disk_set_room(testlib_world_disk(w, 1), 600 * 1024);
	testlib_world_write(w, 0, "big", text);
	testlib_world_start_all(w);
	testlib_world_run(w, 30 * CLOCK_S);
	assert_false(testlib_disk_has(testlib_world_disk(w, 1), "big"));
	testlib_world_remove(w, 0, "big");
	testlib_world_write(w, 0, "other", other);
	testlib_world_run(w, 120 * CLOCK_S);
	assert_true(testlib_disk_has(testlib_world_disk(w, 1), "other"));
	testlib_world_check_same(w);
	mem_free(text);
	mem_free(other);
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

/*
 * The other device never takes the directory away: a send-only one here, a
 * Syncthing elsewhere.  Somebody has to give way, and nothing is lost.
 */
static void
a_file_gives_way_to_a_directory_that_stays(void **state)
{
	struct testlib_world *w = testlib_world_new(29, 2);
	struct testlib_disk *ours = testlib_world_disk(w, 0);

	(void)state;
	testlib_world_set_mode(w, 1, FOLDER_SEND_ONLY);
	testlib_world_mkdir(w, 1, "x");
	testlib_world_write(w, 1, "x/inside", "in the directory");
	testlib_world_start(w, 1);
	testlib_world_run(w, 5 * CLOCK_S);
	testlib_world_write(w, 0, "x", "the newer file");
	testlib_world_start(w, 0);
	testlib_world_run(w, CLOCK_S);
	testlib_world_connect(w, 0, 1);
	testlib_world_run(w, 5 * CLOCK_S);
	check_text(w, 0, "x", "the newer file");
	testlib_world_run(w, 60 * CLOCK_S);
	check_text(w, 0, "x/inside", "in the directory");
	check_text(w, 1, "x/inside", "in the directory");
	assert_true(
	    testlib_disk_has_content(ours, SLICE_LIT("the newer file")));
	testlib_world_free(w);
}

/* Each edit makes another pass over what waits; none puts the day off. */
static void
a_file_gives_way_in_time_while_others_work(void **state)
{
	struct testlib_world *w = testlib_world_new(31, 2);
	struct testlib_disk *ours = testlib_world_disk(w, 0);

	(void)state;
	testlib_world_set_mode(w, 1, FOLDER_SEND_ONLY);
	testlib_world_mkdir(w, 1, "x");
	testlib_world_write(w, 1, "x/inside", "in the directory");
	testlib_world_start(w, 1);
	testlib_world_run(w, 5 * CLOCK_S);
	testlib_world_write(w, 0, "x", "the newer file");
	testlib_world_start(w, 0);
	testlib_world_run(w, CLOCK_S);
	testlib_world_connect(w, 0, 1);
	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "other%d", i);
		testlib_world_write(w, 1, name, name);
		testlib_world_run(w, CLOCK_S);
	}
	check_text(w, 0, "x", "the newer file");
	testlib_world_run(w, 8 * CLOCK_S);
	check_text(w, 0, "x/inside", "in the directory");
	assert_true(
	    testlib_disk_has_content(ours, SLICE_LIT("the newer file")));
	testlib_world_free(w);
}

static void
ignored_paths_are_not_taken(void **state)
{
	struct testlib_world *w = testlib_world_new(17, 2);

	(void)state;
	testlib_world_write(w, 0, "stays", "always there");
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

/* What was there before a rule hid it is not what a person went on from. */
static void
what_is_written_at_an_ignored_name_replaces_nothing_unseen(void **state)
{
	struct testlib_world *w = testlib_world_new(19, 2);

	(void)state;
	testlib_world_write(w, 0, ".stignore", "*.o");
	testlib_world_write(w, 1, "x.o", "theirs");
	testlib_world_start_all(w);
	settle(w);
	testlib_world_run(w, CLOCK_S);
	testlib_world_write(w, 0, "x.o", "ours, which is newer");
	settle(w);
	testlib_world_write(w, 0, ".stignore", "");
	settle(w);
	check_text(w, 1, "x.o", "ours, which is newer");
	assert_true(testlib_disk_has_content(testlib_world_disk(w, 1),
	    SLICE_LIT("theirs")));
	testlib_world_free(w);
}

static void
what_comes_to_be_ignored_while_it_is_fetched_is_not_put(void **state)
{
	(void)state;
	for (uint64_t seed = 400; seed < 420; seed++) {
		struct testlib_world *w = pair(seed);
		const uint64_t before =
		    testlib_world_effects(w, 1, EFFECT_WRITE_TEMP);

		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_world_write(w, 0, "two", "theirs, to come");
		while (testlib_world_effects(w, 1, EFFECT_WRITE_TEMP) == before)
			assert_true(testlib_world_step(w));
		testlib_world_write(w, 1, ".stignore", "two");
		testlib_world_write(w, 1, "two", "ours, ignored");
		settle(w);
		check_text(w, 1, "two", "ours, ignored");
		testlib_world_free(w);
	}
}

/* Nobody told of the rules; a person asks for a scan. */
static void
a_scan_reads_the_rules_again(void **state)
{
	struct testlib_world *w = pair(420);

	(void)state;
	assert_true(testlib_disk_write(testlib_world_disk(w, 1), ".stignore",
	    SLICE_LIT("*.o")));
	testlib_world_command(w, 1, COMMAND_SCAN);
	settle(w);
	testlib_world_write(w, 0, "x.o", "object");
	settle(w);
	assert_false(testlib_disk_has(testlib_world_disk(w, 1), "x.o"));
	testlib_world_free(w);
}

static bool
is_halted(struct testlib_world *w, uint32_t dev, enum reason reason)
{
	struct arena arena = { 0 };
	struct status_report r;
	bool is;

	status_report(testlib_world_engine(w, dev), testlib_world_now(w),
	    &arena, &r);
	is = r.folder[0].state == STATUS_HALTED && r.folder[0].reason == reason;
	arena_fini(&arena);
	return is;
}

/* What was staged before may be lost: then it is read from the disk. */
static void
a_flush_before_a_commit_that_fails_opens_the_folder_anew(void **state)
{
	(void)state;
	for (uint64_t seed = 430; seed < 440; seed++) {
		struct testlib_world *w = pair(seed);

		testlib_world_set_delay(w, 20 * CLOCK_MS);
		testlib_world_fail_flushes(w, 1, ERR_IO);
		testlib_world_write(w, 1, "two", "a person's");
		testlib_world_write(w, 0, "new", "staged when it fails");
		while (!is_halted(w, 1, REASON_IO_ERROR))
			assert_true(testlib_world_step(w));
		testlib_world_fail_flushes(w, 1, 0);
		settle(w);
		testlib_world_check_same(w);
		check_text(w, 1, "new", "staged when it fails");
		check_text(w, 0, "two", "a person's");
		testlib_world_free(w);
	}
}

/*
 * Storms: random things done by people on all devices, with connections cut,
 * processes killed; then all must become equal, and no bytes a person wrote be
 * gone that the same person did not replace or delete.  RELIABILITY.md I1, I14.
 */

#define STORM_TOKENS 4096

struct storm {
	struct testlib_world *w;
	struct rng rng;
	uint32_t devices;
	uint64_t seed;
	uint64_t tokens;               /* written so far */
	bool superseded[STORM_TOKENS]; /* by somebody who had it */
	bool found[STORM_TOKENS];
	bool kills;
};

/* "<token 7>" is 7; 0 for what is none. */
static uint64_t
storm_token(struct slice data)
{
	char text[64] = "";
	unsigned long long token = 0;

	if (data.len < sizeof(text))
		memcpy(text, data.ptr, data.len);
	return sscanf(text, "<token %llu>", &token) == 1 ? token : 0;
}

static void
storm_mark(void *arg, struct slice data)
{
	struct storm *st = arg;

	st->superseded[storm_token(data)] = true;
}

static void
storm_find(void *arg, struct slice data)
{
	struct storm *st = arg;

	st->found[storm_token(data)] = true;
}

static void
storm_path(struct storm *st, char *path, size_t len)
{
	static const char *const name[] = { "a", "b", "c.txt", "d" };
	size_t at = 0;
	uint64_t depth = 1 + rng_below(&st->rng, 3);

	for (uint64_t i = 0; i < depth; i++)
		at += (size_t)snprintf(path + at, len - at, "%s%s",
		    i == 0 ? "" : "/", name[rng_below(&st->rng, 4)]);
}

static void
storm_write(struct storm *st, uint32_t dev, const char *path)
{
	struct testlib_disk *dk = testlib_world_disk(st->w, dev);
	char text[64];

	if (st->tokens + 1 >= STORM_TOKENS)
		return;
	/* A directory is not replaced by writing to its name. */
	if (testlib_disk_is_dir(dk, path))
		return;
	testlib_disk_each(dk, path, storm_mark, st);
	snprintf(text, sizeof(text), "<token %llu>",
	    (unsigned long long)st->tokens + 1);
	testlib_world_write(st->w, dev, path, text);
	if (testlib_disk_read(dk, path).len == strlen(text))
		st->tokens++;
}

static void
storm_act(struct storm *st)
{
	struct testlib_world *w = st->w;
	const uint32_t dev = (uint32_t)rng_below(&st->rng, st->devices);
	const uint32_t other = (uint32_t)rng_below(&st->rng, st->devices);
	struct testlib_disk *dk = testlib_world_disk(w, dev);
	char path[64], to[64];

	storm_path(st, path, sizeof(path));
	storm_path(st, to, sizeof(to));
	switch (rng_below(&st->rng, st->kills ? 13 : 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		storm_write(st, dev, path);
		break;
	case 4:
	case 5:
		testlib_world_mkdir(w, dev, path);
		break;
	case 6:
	case 7:
		testlib_disk_each(dk, path, storm_mark, st);
		testlib_world_remove(w, dev, path);
		break;
	case 8:
	case 9:
		if (!testlib_disk_has(dk, to))
			testlib_world_rename(w, dev, path, to);
		break;
	case 10:
		testlib_world_disconnect(w, dev, other);
		break;
	case 11:
		if (dev != other)
			testlib_world_connect(w, dev, other);
		break;
	case 12:
		testlib_world_kill(w, dev);
		testlib_world_start_all(w);
		break;
	default:
		break;
	}
}

static void
storm_check_nothing_lost(struct storm *st)
{
	for (uint32_t i = 0; i < st->devices; i++)
		testlib_disk_each(testlib_world_disk(st->w, i), "", storm_find,
		    st);
	for (uint64_t t = 1; t <= st->tokens; t++) {
		if (st->superseded[t] || st->found[t])
			continue;
		testlib_world_print_log(st->w);
		fail_msg("seed %llu: token %llu is lost",
		    (unsigned long long)st->seed, (unsigned long long)t);
	}
}

static void
storm(uint64_t seed, uint32_t devices, uint32_t acts, bool kills)
{
	struct storm *st = mem_zalloc(sizeof(*st));
	struct testlib_world *w = testlib_world_new(seed, devices);

	st->w = w;
	st->devices = devices;
	st->kills = kills;
	st->seed = seed;
	rng_init(&st->rng, seed ^ 0x5eed);
	for (uint32_t i = 0; i < devices; i++)
		testlib_world_write(w, i, "stays", "always there");
	testlib_world_start_all(w);
	testlib_world_run(w, CLOCK_S);
	for (uint32_t i = 0; i < acts; i++) {
		storm_act(st);
		if (rng_below(&st->rng, 3) == 0)
			testlib_world_run(w,
			    rng_below(&st->rng, 300 * CLOCK_MS));
	}
	testlib_world_start_all(w);
	if (!testlib_world_settle(w)) {
		testlib_world_print_log(w);
		fail_msg("seed %llu: no rest", (unsigned long long)seed);
	}
	if (!testlib_world_is_same(w)) {
		printf("seed %llu\n", (unsigned long long)seed);
		testlib_world_check_same(w);
	}
	storm_check_nothing_lost(st);
	testlib_world_free(w);
	mem_free(st);
}

/* Seeds from the environment, to look for more: STORM_SEEDS="100 2000". */
static void
storms(uint32_t devices, uint32_t acts, bool kills, uint64_t count)
{
	const char *range = getenv("STORM_SEEDS");
	unsigned long long from = 1, to = count;

	if (range != NULL)
		(void)sscanf(range, "%llu %llu", &from, &to);
	for (unsigned long long seed = from; seed <= to; seed++)
		storm(seed, devices, acts, kills);
}

static void
two_devices_in_a_storm_become_equal_and_lose_nothing(void **state)
{
	(void)state;
	storms(2, 60, false, 60);
}

static void
three_devices_in_a_storm_become_equal_and_lose_nothing(void **state)
{
	(void)state;
	storms(3, 80, false, 40);
}

static void
devices_killed_in_a_storm_become_equal_and_lose_nothing(void **state)
{
	(void)state;
	storms(3, 80, true, 60);
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
		cmocka_unit_test(attributes_that_come_do_not_hide_an_edit),
		cmocka_unit_test(equal_edits_are_no_conflict),
		cmocka_unit_test(an_edit_outlives_a_deletion_it_did_not_see),
		cmocka_unit_test(a_renamed_file_is_renamed_and_not_sent),
		cmocka_unit_test(many_small_files_share_their_flushes),
		cmocka_unit_test(a_renamed_directory_is_one_rename),
		cmocka_unit_test(swaps_and_chains_come_out_right),
		cmocka_unit_test(blocks_that_are_here_are_not_asked_for),
		cmocka_unit_test(a_long_file_fills_a_long_way),
		cmocka_unit_test(shifted_data_is_found_between_our_own_nodes),
		cmocka_unit_test(an_edit_in_place_sends_the_chunks_around_it),
		cmocka_unit_test(what_moved_within_a_file_is_found_in_place),
		cmocka_unit_test(what_is_put_behind_the_end_needs_no_map),
		cmocka_unit_test(maps_that_are_wrong_cost_whole_blocks),
		cmocka_unit_test(a_download_goes_on_after_a_crash),
		cmocka_unit_test(
		    what_was_deleted_while_its_directory_moved_does_not_come_back),
		cmocka_unit_test(
		    a_directory_made_before_a_crash_does_not_come_back),
		cmocka_unit_test(
		    what_a_crash_left_is_told_only_from_a_disk_that_is_there),
		cmocka_unit_test(
		    a_directory_half_made_at_a_crash_gets_its_permissions),
		cmocka_unit_test(
		    a_directory_that_becomes_a_file_takes_what_was_coming),
		cmocka_unit_test(what_nobody_has_is_waited_for),
		cmocka_unit_test(
		    what_could_not_be_flushed_is_known_when_the_folder_is_back),
		cmocka_unit_test(attributes_set_before_a_crash_are_no_edit),
		cmocka_unit_test(
		    a_conflict_copy_that_was_half_made_is_made_once),
		cmocka_unit_test(two_deletions_at_once_delete_what_each_saw),
		cmocka_unit_test(a_move_without_its_attributes_is_still_a_move),
		cmocka_unit_test(what_is_back_after_a_crash_is_not_missed),
		cmocka_unit_test(a_full_disk_pauses_and_goes_on),
		cmocka_unit_test(
		    what_was_staged_in_vain_makes_room_on_a_full_disk),
		cmocka_unit_test(
		    send_only_takes_nothing_and_receive_only_keeps_its_own),
		cmocka_unit_test(a_file_gives_way_to_a_directory_that_stays),
		cmocka_unit_test(a_file_gives_way_in_time_while_others_work),
		cmocka_unit_test(ignored_paths_are_not_taken),
		cmocka_unit_test(
		    what_is_written_at_an_ignored_name_replaces_nothing_unseen),
		cmocka_unit_test(
		    what_comes_to_be_ignored_while_it_is_fetched_is_not_put),
		cmocka_unit_test(a_scan_reads_the_rules_again),
		cmocka_unit_test(
		    a_flush_before_a_commit_that_fails_opens_the_folder_anew),
		cmocka_unit_test(
		    two_devices_in_a_storm_become_equal_and_lose_nothing),
		cmocka_unit_test(
		    three_devices_in_a_storm_become_equal_and_lose_nothing),
		cmocka_unit_test(
		    devices_killed_in_a_storm_become_equal_and_lose_nothing),
	};

	cmocka_set_test_filter(getenv("TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
