/*
 * Names of conflict copies, as Syncthing makes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/limits.h"
#include "engine/base/path.h"
#include "engine/conflict.h"

#define WALL INT64_C(1770000000000000000) /* 2026-02-02 02:40:00 UTC */

static void
check(struct arena *ar, const char *path, const char *want)
{
	const struct slice name =
	    conflict_name(slice_str(path), WALL, 3600, 0, 0, ar);
	const struct slice back = conflict_original(name, ar);

	assert_int_equal(name.len, strlen(want));
	assert_memory_equal(name.ptr, want, name.len);
	assert_true(conflict_is_name(name));
	assert_int_equal(back.len, strlen(path));
	assert_memory_equal(back.ptr, path, back.len);
	assert_false(conflict_is_name(slice_str(path)));
}

static void
a_name_has_stem_time_device_and_extension(void **state)
{
	struct arena ar = { 0 };

	(void)state;
	check(&ar, "notes.txt",
	    "notes.sync-conflict-20260202-034000-AAAAAAA.txt");
	check(&ar, "a/b.d/c", "a/b.d/c.sync-conflict-20260202-034000-AAAAAAA");
	check(&ar, ".bashrc", ".sync-conflict-20260202-034000-AAAAAAA.bashrc");
	check(&ar, "x.tar.gz",
	    "x.tar.sync-conflict-20260202-034000-AAAAAAA.gz");
	arena_fini(&ar);
}

static void
another_attempt_is_another_name(void **state)
{
	struct arena ar = { 0 };
	const struct slice a =
	    conflict_name(SLICE_LIT("a"), WALL, 0, 7, 0, &ar);
	const struct slice b =
	    conflict_name(SLICE_LIT("a"), WALL, 0, 7, 1, &ar);

	(void)state;
	assert_int_equal(a.len, b.len);
	assert_memory_not_equal(a.ptr, b.ptr, a.len);
	arena_fini(&ar);
}

static void
a_copy_of_a_copy_is_kept_too(void **state)
{
	struct arena ar = { 0 };
	const struct slice a =
	    conflict_name(SLICE_LIT("n.txt"), WALL, 0, 7, 0, &ar);
	const struct slice b = conflict_name(a, WALL, 0, 7, 1, &ar);

	(void)state;
	assert_true(b.len > a.len);
	assert_true(slice_equal(conflict_original(b, &ar), a));
	arena_fini(&ar);
}

static void
long_names_are_cut_between_characters(void **state)
{
	struct arena ar = { 0 };
	char path[LIMIT_PATH_LEN + 1];
	size_t len = 0;

	(void)state;
	/* 127 two-byte letters and one more byte. */
	for (size_t i = 0; i < 127; i++)
		len += (size_t)snprintf(path + len, sizeof(path) - len, "ä");
	path[len++] = 'x';
	for (size_t cut = 0; cut < 8; cut++) {
		const struct slice name =
		    conflict_name(slice_of(path + 2 * cut, len - 2 * cut), WALL,
			0, 7, 0, &ar);

		assert_int_equal(path_check(name, NULL), 0);
	}
	/* An extension that leaves no room is part of the stem. */
	path[0] = '.';
	memset(path + 1, 'e', 254);
	assert_int_equal(
	    path_check(conflict_name(slice_of(path, 255), WALL, 0, 7, 0, &ar),
		NULL),
	    0);
	arena_fini(&ar);
}

static void
long_paths_move_up_rather_than_fail(void **state)
{
	struct arena ar = { 0 };
	char path[LIMIT_PATH_LEN + 1];

	(void)state;
	for (size_t len = 3900; len <= LIMIT_PATH_LEN; len++) {
		memset(path, 'p', len);
		for (size_t i = 50; i + 1 < len; i += 51)
			path[i] = '/';
		path[len - 1] = 'p';
		assert_int_equal(path_check(conflict_name(slice_of(path, len),
						WALL, 0, 7, 0, &ar),
				     NULL),
		    0);
	}
	arena_fini(&ar);
}

static void
names_that_only_look_so_have_no_original(void **state)
{
	struct arena ar = { 0 };

	(void)state;
	assert_int_equal(
	    conflict_original(SLICE_LIT("a.sync-conflict-"), &ar).len, 0);
	assert_int_equal(
	    conflict_original(
		SLICE_LIT("a.sync-conflict-2026x202-034000-AAAAAAA"), &ar)
		.len,
	    0);
	assert_int_equal(conflict_original(SLICE_LIT("plain.txt"), &ar).len, 0);
	arena_fini(&ar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_has_stem_time_device_and_extension),
		cmocka_unit_test(another_attempt_is_another_name),
		cmocka_unit_test(a_copy_of_a_copy_is_kept_too),
		cmocka_unit_test(long_names_are_cut_between_characters),
		cmocka_unit_test(long_paths_move_up_rather_than_fail),
		cmocka_unit_test(names_that_only_look_so_have_no_original),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
