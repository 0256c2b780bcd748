/*
 * The scanner, on a disk in memory: what it makes of what people do.
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

static struct arena arena;

static void
settle(struct testlib_world *w)
{
	if (testlib_world_settle(w))
		return;
	testlib_world_print_log(w);
	fail_msg("it never came to rest");
}

static struct explain
explain(struct testlib_world *w, uint32_t dev, const char *path)
{
	struct explain ex;
	struct err err = { 0 };

	arena_clear(&arena);
	if (explain_path(testlib_world_engine(w, dev), SLICE_LIT("f"),
		slice_str(path), testlib_world_now(w), &arena, &ex, &err) < 0)
		fail_msg("explain %s: %s", path, err.text);
	return ex;
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
is_deleted(struct testlib_world *w, uint32_t dev, const char *path)
{
	const struct explain ex = explain(w, dev, path);

	return ex.known && ex.version_count > 0 && ex.version[0].entry.deleted;
}

static uint64_t
hashes(struct testlib_world *w)
{
	return testlib_world_effects(w, A, EFFECT_HASH_FILE);
}

/* One device with d/, d/x, d/y and a, scanned. */
static struct testlib_world *
one(void)
{
	struct testlib_world *w = testlib_world_new(21, 2);

	testlib_world_mkdir(w, A, "d");
	testlib_world_write(w, A, "d/x", "x");
	testlib_world_write(w, A, "d/y", "y");
	testlib_world_write(w, A, "a", "a");
	testlib_world_start(w, A);
	settle(w);
	return w;
}

static void
rescan(struct testlib_world *w)
{
	testlib_world_command(w, A, COMMAND_SCAN);
	settle(w);
}

static void
a_tree_is_found_once_and_hashed_once(void **state)
{
	struct testlib_world *w = one();

	(void)state;
	assert_int_equal(hashes(w), 3);
	assert_int_equal(folder(w, A).local.files, 3);
	assert_int_equal(folder(w, A).local.dirs, 1);
	rescan(w);
	assert_int_equal(hashes(w), 3);
	testlib_world_free(w);
}

static void
unchanged_trees_are_not_hashed_after_a_restart(void **state)
{
	struct testlib_world *w = one();
	const uint64_t seq = explain(w, A, "a").sequence;

	(void)state;
	testlib_world_kill(w, A);
	testlib_world_start(w, A);
	settle(w);
	assert_int_equal(hashes(w), 3);
	assert_int_equal(explain(w, A, "a").sequence, seq);
	testlib_world_free(w);
}

static void
a_hint_finds_a_change(void **state)
{
	struct testlib_world *w = one();
	const uint64_t lists = testlib_world_effects(w, A, EFFECT_LIST_DIR);

	(void)state;
	testlib_world_write(w, A, "d/x", "longer");
	settle(w);
	assert_int_equal(explain(w, A, "d/x").version[0].entry.size, 6);
	assert_int_equal(hashes(w), 4);
	/* And nothing else was looked at. */
	assert_int_equal(testlib_world_effects(w, A, EFFECT_LIST_DIR), lists);
	testlib_world_free(w);
}

static void
a_rescan_finds_what_no_hint_told(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_disk_write(dk, "d/x", SLICE_LIT("longer"));
	testlib_disk_write(dk, "d/new", SLICE_LIT("new"));
	testlib_disk_mkdir(dk, "e");
	testlib_disk_write(dk, "e/f", SLICE_LIT("f"));
	testlib_disk_link(dk, "l", "a");
	testlib_disk_remove(dk, "d/y");
	testlib_disk_chmod(dk, "a", 0600);
	rescan(w);
	assert_int_equal(explain(w, A, "d/x").version[0].entry.size, 6);
	assert_true(explain(w, A, "d/new").known);
	assert_true(explain(w, A, "e/f").known);
	assert_true(is_deleted(w, A, "d/y"));
	assert_int_equal(explain(w, A, "a").version[0].entry.perms, 0600);
	assert_int_equal(explain(w, A, "l").version[0].entry.type, ENTRY_LINK);
	assert_true(slice_equal(explain(w, A, "l").version[0].entry.link_target,
	    SLICE_LIT("a")));
	testlib_world_free(w);
}

static void
a_removed_directory_goes_with_all_in_it(void **state)
{
	struct testlib_world *w = one();

	(void)state;
	testlib_world_write(w, A, "d!", "sorts between d and d/x");
	settle(w);
	testlib_world_remove(w, A, "d");
	settle(w);
	assert_true(is_deleted(w, A, "d"));
	assert_true(is_deleted(w, A, "d/x"));
	assert_true(is_deleted(w, A, "d/y"));
	assert_false(is_deleted(w, A, "d!"));
	assert_int_equal(folder(w, A).local.files, 2);
	testlib_world_free(w);
}

static void
a_directory_that_becomes_a_file_loses_what_was_in_it(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_disk_remove(dk, "d");
	testlib_disk_write(dk, "d", SLICE_LIT("a file now"));
	testlib_world_hint(w, A, "d");
	settle(w);
	assert_int_equal(explain(w, A, "d").version[0].entry.type, ENTRY_FILE);
	assert_true(is_deleted(w, A, "d/x"));
	testlib_disk_remove(dk, "d");
	testlib_disk_mkdir(dk, "d");
	testlib_disk_write(dk, "d/x", SLICE_LIT("back"));
	rescan(w);
	assert_int_equal(explain(w, A, "d").version[0].entry.type, ENTRY_DIR);
	assert_false(is_deleted(w, A, "d/x"));
	assert_true(is_deleted(w, A, "d/y"));
	testlib_world_free(w);
}

static void
a_moved_file_is_not_hashed_again(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_world_rename(w, A, "a", "d/moved");
	settle(w);
	testlib_disk_rename(dk, "d", "e");
	rescan(w);
	assert_true(is_deleted(w, A, "a"));
	assert_true(is_deleted(w, A, "d/moved"));
	assert_false(is_deleted(w, A, "e/moved"));
	assert_int_equal(explain(w, A, "e/moved").version[0].entry.size, 1);
	assert_true(is_deleted(w, A, "d/x"));
	assert_true(explain(w, A, "e/x").known);
	/* As they were first found; neither rename hashes anything. */
	assert_int_equal(hashes(w), 3);
	testlib_world_free(w);
}

/* While it was hashed under the second name it went; then its first is missed.
 */
static void
a_file_renamed_and_removed_at_once_is_gone(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < 120; seed++) {
		struct testlib_world *w = testlib_world_new(seed, 2);
		struct testlib_disk *dk = testlib_world_disk(w, A);
		uint64_t before;

		testlib_world_write(w, A, "a", "text");
		testlib_world_start(w, A);
		settle(w);
		before = hashes(w);
		testlib_disk_rename(dk, "a", "b");
		testlib_world_hint(w, A, "b");
		testlib_world_set_delay(w, CLOCK_S);
		while (hashes(w) == before)
			assert_true(testlib_world_step(w));
		testlib_world_set_delay(w, CLOCK_MS);
		testlib_disk_remove(dk, "b");
		testlib_world_hint(w, A, "b");
		testlib_world_hint(w, A, "a");
		settle(w);
		assert_true(is_deleted(w, A, "a"));
		assert_true(!explain(w, A, "b").known || is_deleted(w, A, "b"));
		testlib_world_free(w);
	}
}

static void
what_others_have_already_is_adopted(void **state)
{
	struct testlib_world *w = testlib_world_new(4, 2);

	(void)state;
	/* The same bytes and times on both before they ever met. */
	for (uint32_t dev = A; dev <= B; dev++) {
		struct testlib_disk *dk = testlib_world_disk(w, dev);

		testlib_disk_write(dk, "same", SLICE_LIT("bytes"));
	}
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(testlib_world_payload_bytes(w), 0);
	assert_int_equal(explain(w, A, "same").version_count, 1);
	testlib_world_free(w);
}

/* Else others make a directory of their own for it, which nobody deletes. */
static void
what_is_new_is_told_after_its_directory(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_disk_mkdir(dk, "n");
	testlib_disk_mkdir(dk, "n/m");
	testlib_disk_write(dk, "n/m/f", SLICE_LIT("new"));
	testlib_world_hint(w, A, "n/m/f");
	settle(w);
	assert_true(explain(w, A, "n/m/f").known);
	assert_true(
	    explain(w, A, "n/m").sequence < explain(w, A, "n/m/f").sequence);
	assert_true(
	    explain(w, A, "n").sequence < explain(w, A, "n/m").sequence);
	/* A file that became one is no directory yet. */
	testlib_disk_remove(dk, "a");
	testlib_disk_mkdir(dk, "a");
	testlib_disk_write(dk, "a/f", SLICE_LIT("new"));
	testlib_world_hint(w, A, "a/f");
	settle(w);
	assert_int_equal(explain(w, A, "a").version[0].entry.type, ENTRY_DIR);
	assert_true(
	    explain(w, A, "a").sequence < explain(w, A, "a/f").sequence);
	testlib_world_free(w);
}

/* The write had set the times; its bytes came when the hash was done. */
static void
a_write_that_goes_on_after_the_hash_is_found(void **state)
{
	struct testlib_world *w = one();
	uint64_t before;
	struct slice data;

	(void)state;
	testlib_world_write(w, A, "d/x", "begun");
	settle(w);
	testlib_world_run(w, 10 * CLOCK_S);
	before = hashes(w);
	data = testlib_disk_read(testlib_world_disk(w, A), "d/x");
	memcpy((void *)(uintptr_t)data.ptr, "ended", 5); /* no new times */
	testlib_world_hint(w, A, "d/x");
	settle(w);
	assert_int_equal(hashes(w), before + 1);
	/* Nothing was written since: once was enough. */
	testlib_world_hint(w, A, "d/x");
	settle(w);
	assert_int_equal(hashes(w), before + 1);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	assert_true(testlib_disk_has_content(testlib_world_disk(w, B),
	    SLICE_LIT("ended")));
	testlib_world_free(w);
}

static void
what_people_wrote_is_flushed_before_its_row(void **state)
{
	struct testlib_world *w = one();
	uint64_t before = testlib_world_flushes(w, A);

	(void)state;
	assert_true(before > 0);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	/* B flushed its temps and names itself: nothing of a person's. */
	assert_true(testlib_world_effects(w, B, EFFECT_COMMIT) > 0);
	assert_int_equal(testlib_world_flushes(w, B), 0);
	before = testlib_world_flushes(w, A);
	testlib_world_write(w, A, "d/x", "longer");
	settle(w);
	assert_true(testlib_world_flushes(w, A) > before);
	before = testlib_world_flushes(w, A);
	testlib_world_remove(w, A, "d/x");
	settle(w);
	assert_true(testlib_world_flushes(w, A) > before);
	testlib_world_free(w);
}

static void
a_root_that_is_gone_deletes_nothing(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_world_start_all(w);
	settle(w);
	testlib_disk_unmount(dk, true);
	/* Hints for everything, as if all had been removed. */
	testlib_world_hint(w, A, "a");
	testlib_world_hint(w, A, "d");
	testlib_world_hint(w, A, "d/x");
	testlib_world_run(w, 60 * CLOCK_S);
	assert_int_equal(folder(w, A).state, STATUS_HALTED);
	assert_true(testlib_disk_has(testlib_world_disk(w, B), "a"));
	assert_true(testlib_disk_has(testlib_world_disk(w, B), "d/x"));
	testlib_disk_unmount(dk, false);
	testlib_world_run(w, 60 * CLOCK_S);
	assert_int_equal(folder(w, A).state, STATUS_IN_SYNC);
	assert_false(is_deleted(w, A, "a"));
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
what_the_disk_refused_is_looked_at_again(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_disk_fail(dk, EFFECT_STAT, ERR_BUSY);
	testlib_world_write(w, A, "d/x", "longer");
	settle(w);
	assert_int_equal(explain(w, A, "d/x").version[0].entry.size, 1);
	assert_int_equal(folder(w, A).scan.failed, 1);
	assert_false(is_deleted(w, A, "d/x"));
	testlib_disk_fail(dk, EFFECT_STAT, 0);
	/* Nobody hints at it again. */
	testlib_world_run(w, 30 * CLOCK_S);
	settle(w);
	assert_int_equal(explain(w, A, "d/x").version[0].entry.size, 6);
	assert_int_equal(folder(w, A).scan.failed, 0);
	testlib_disk_fail(dk, EFFECT_HASH_FILE, ERR_IO);
	testlib_world_write(w, A, "a", "longer still");
	settle(w);
	assert_int_equal(explain(w, A, "a").version[0].entry.size, 1);
	testlib_disk_fail(dk, EFFECT_HASH_FILE, 0);
	testlib_world_run(w, 30 * CLOCK_S);
	settle(w);
	assert_int_equal(explain(w, A, "a").version[0].entry.size, 12);
	testlib_world_free(w);
}

static void
internal_names_are_never_seen(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_disk_write(dk, ".syncthing.a.tmp", SLICE_LIT("t"));
	testlib_disk_write(dk, "d/~syncthing~a.tmp", SLICE_LIT("t"));
	testlib_disk_mkdir(dk, ".stversions");
	testlib_disk_write(dk, ".stversions/a", SLICE_LIT("old"));
	testlib_world_hint(w, A, ".stversions/a");
	rescan(w);
	assert_int_equal(folder(w, A).local.files, 3);
	assert_int_equal(hashes(w), 3);
	testlib_world_free(w);
}

static void
ignored_names_are_not_hashed(void **state)
{
	struct testlib_world *w = one();
	struct testlib_disk *dk = testlib_world_disk(w, A);

	(void)state;
	testlib_disk_write(dk, ".stignore", SLICE_LIT("*.o\n/skip\n"));
	testlib_world_hint(w, A, ".stignore");
	settle(w);
	testlib_disk_write(dk, "d/z.o", SLICE_LIT("o"));
	testlib_disk_mkdir(dk, "skip");
	testlib_disk_write(dk, "skip/x", SLICE_LIT("x"));
	rescan(w);
	assert_int_equal(hashes(w), 3);
	assert_false(explain(w, A, "d/z.o").known);
	assert_false(explain(w, A, "skip/x").known);
	testlib_world_free(w);
}

static void
many_files_come_in_bounded_portions(void **state)
{
	struct testlib_world *w = testlib_world_new(8, 1);
	struct testlib_disk *dk = testlib_world_disk(w, A);
	char path[64];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "dir%d", i);
		testlib_disk_mkdir(dk, path);
		for (int k = 0; k < 100; k++) {
			snprintf(path, sizeof(path), "dir%d/f%d", i, k);
			testlib_disk_write(dk, path, slice_str(path));
		}
	}
	testlib_world_start(w, A);
	settle(w);
	assert_int_equal(folder(w, A).local.files, 2000);
	assert_int_equal(hashes(w), 2000);
	/* All moved at once: recognised, however many. */
	testlib_disk_mkdir(dk, "new");
	for (int i = 0; i < 20; i++) {
		char to[64];

		snprintf(path, sizeof(path), "dir%d", i);
		snprintf(to, sizeof(to), "new/dir%d", i);
		assert_true(testlib_disk_rename(dk, path, to));
	}
	rescan(w);
	assert_int_equal(folder(w, A).local.files, 2000);
	assert_int_equal(folder(w, A).local.dirs, 21);
	assert_int_equal(hashes(w), 2000);
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
		cmocka_unit_test(a_tree_is_found_once_and_hashed_once),
		cmocka_unit_test(
		    unchanged_trees_are_not_hashed_after_a_restart),
		cmocka_unit_test(a_hint_finds_a_change),
		cmocka_unit_test(a_rescan_finds_what_no_hint_told),
		cmocka_unit_test(a_removed_directory_goes_with_all_in_it),
		cmocka_unit_test(
		    a_directory_that_becomes_a_file_loses_what_was_in_it),
		cmocka_unit_test(a_moved_file_is_not_hashed_again),
		cmocka_unit_test(a_file_renamed_and_removed_at_once_is_gone),
		cmocka_unit_test(what_others_have_already_is_adopted),
		cmocka_unit_test(what_is_new_is_told_after_its_directory),
		cmocka_unit_test(a_write_that_goes_on_after_the_hash_is_found),
		cmocka_unit_test(what_people_wrote_is_flushed_before_its_row),
		cmocka_unit_test(a_root_that_is_gone_deletes_nothing),
		cmocka_unit_test(what_the_disk_refused_is_looked_at_again),
		cmocka_unit_test(internal_names_are_never_seen),
		cmocka_unit_test(ignored_names_are_not_hashed),
		cmocka_unit_test(many_files_come_in_bounded_portions),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
