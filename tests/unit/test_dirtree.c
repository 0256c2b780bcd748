/*
 * The tree of watched directories, against a plain table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/base/rng.h"
#include "watcher/dirtree.h"

static bool
is_at(const struct dirtree *t, int wd, const char *path)
{
	const uint32_t i = dirtree_find(t, wd);
	struct buf b = { 0 };
	bool same;

	if (i == DIRTREE_NONE)
		return false;
	dirtree_path(t, i, &b);
	same = slice_equal(buf_slice(&b), slice_str(path));
	buf_fini(&b);
	return same;
}

static void
paths_are_found_by_watch_and_move_with_their_parents(void **state)
{
	struct dirtree *t = dirtree_new(1);
	const uint32_t root = dirtree_add_root(t, 3);

	(void)state;
	dirtree_put(t, root, SLICE_EMPTY, 1);
	dirtree_put(t, root, SLICE_LIT("a"), 2);
	dirtree_put(t, root, SLICE_LIT("a/b/c"), 3); /* b is not watched */
	dirtree_put(t, root, SLICE_LIT("d"), 4);
	assert_true(is_at(t, 1, "") && is_at(t, 2, "a"));
	assert_true(is_at(t, 3, "a/b/c"));
	assert_int_equal(dirtree_folder(t, dirtree_find(t, 3)), 3);
	dirtree_move(t, dirtree_find(t, 2), dirtree_find(t, 4),
	    SLICE_LIT("renamed"));
	assert_true(is_at(t, 2, "d/renamed"));
	assert_true(is_at(t, 3, "d/renamed/b/c"));
	/* Into itself: our picture is wrong, nothing happens. */
	dirtree_move(t, dirtree_find(t, 4), dirtree_find(t, 3), SLICE_LIT("x"));
	assert_true(is_at(t, 3, "d/renamed/b/c"));
	/* The same directory listed under another path. */
	dirtree_put(t, root, SLICE_LIT("e"), 3);
	assert_true(is_at(t, 3, "e"));
	/* Another directory at a path we know. */
	dirtree_put(t, root, SLICE_LIT("e"), 9);
	assert_int_equal(dirtree_dead(t), 3);
	assert_int_equal(dirtree_dead(t), -1);
	assert_int_equal(dirtree_count(t), 4);
	dirtree_remove(t, dirtree_find(t, 4));
	assert_int_equal(dirtree_count(t), 2);
	assert_int_equal(dirtree_dead(t) + dirtree_dead(t), 6); /* 2 and 4 */
	dirtree_unwatch(t, 9);
	assert_int_equal(dirtree_find(t, 9), DIRTREE_NONE);
	assert_int_equal(dirtree_child(t, root, SLICE_LIT("e")), DIRTREE_NONE);
	dirtree_free(t);
}

enum { MODEL = 400 };

static void
random_trees_agree_with_a_table(void **state)
{
	/* wd -> path, moved by comparing prefixes. */
	static char model[MODEL][128];
	struct dirtree *t = dirtree_new(1);
	const uint32_t root = dirtree_add_root(t, 0);
	struct rng r;
	int next = 0;

	(void)state;
	rng_init(&r, 20261121);
	memset(model, 0, sizeof(model));
	for (int step = 0; step < 6000; step++) {
		const int a = (int)rng_below(&r, MODEL);
		const int b = (int)rng_below(&r, MODEL);
		char path[128], was[128];
		size_t len;

		if (model[a][0] == '\0' && strlen(model[b]) < 100) {
			snprintf(path, sizeof(path), "%.99s%sn%d", model[b],
			    model[b][0] == '\0' ? "" : "/", next++);
			memcpy(model[a], path, sizeof(path));
			dirtree_put(t, root, slice_str(path), a);
		} else if (model[a][0] != '\0' && rng_below(&r, 3) == 0) {
			memcpy(was, model[a], sizeof(was));
			len = strlen(was);
			dirtree_remove(t, dirtree_find(t, a));
			for (int i = 0; i < MODEL; i++)
				if (strncmp(model[i], was, len) == 0 &&
				    (model[i][len] == '/' ||
					model[i][len] == '\0'))
					model[i][0] = '\0';
			while (dirtree_dead(t) >= 0)
				continue;
		} else if (model[a][0] != '\0' && model[b][0] != '\0' &&
			   strlen(model[b]) < 60) {
			memcpy(was, model[a], sizeof(was));
			len = strlen(was);
			if (strncmp(model[b], was, len) == 0 &&
			    (model[b][len] == '/' || model[b][len] == '\0'))
				continue;
			snprintf(path, sizeof(path), "%.99s/m%d", model[b],
			    next);
			dirtree_move(t, dirtree_find(t, a), dirtree_find(t, b),
			    slice_str(strrchr(path, '/') + 1));
			next++;
			for (int i = 0; i < MODEL; i++) {
				char moved[128];

				if (strncmp(model[i], was, len) != 0 ||
				    (model[i][len] != '/' &&
					model[i][len] != '\0'))
					continue;
				if (strlen(path) + strlen(model[i]) - len >=
				    sizeof(moved)) { /* too long: forget */
					dirtree_unwatch(t, i);
					model[i][0] = '\0';
					continue;
				}
				snprintf(moved, sizeof(moved), "%.100s%.27s",
				    path, model[i] + len);
				if (strlen(model[i] + len) > 27) {
					dirtree_unwatch(t, i);
					model[i][0] = '\0';
					continue;
				}
				memcpy(model[i], moved, sizeof(moved));
			}
		}
		if (step % 50 != 0)
			continue;
		for (int i = 0; i < MODEL; i++) {
			if (model[i][0] == '\0')
				assert_int_equal(dirtree_find(t, i),
				    DIRTREE_NONE);
			else
				assert_true(is_at(t, i, model[i]));
		}
	}
	dirtree_free(t);
}

static void
a_hundred_thousand_directories_are_small(void **state)
{
	struct dirtree *t = dirtree_new(1);
	const uint32_t root = dirtree_add_root(t, 0);
	char path[64];

	(void)state;
	for (int i = 0; i < 100000; i++) {
		snprintf(path, sizeof(path), "dir%d/sub%d", i / 100, i);
		dirtree_put(t, root, slice_str(path), i + 1);
	}
	assert_in_range(dirtree_held(t), 0, 10 << 20);
	assert_true(is_at(t, 77778, "dir777/sub77777"));
	/* A chain as deep as paths allow, removed without recursion. */
	dirtree_remove(t, root);
	assert_int_equal(dirtree_count(t), 0);
	dirtree_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    paths_are_found_by_watch_and_move_with_their_parents),
		cmocka_unit_test(random_trees_agree_with_a_table),
		cmocka_unit_test(a_hundred_thousand_directories_are_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
