/*
 * Explain: what it says of paths in all kinds of states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/explain.h"
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

static void
check(struct testlib_world *w, uint32_t dev, const char *path, bool in_sync,
    enum reason reason)
{
	const struct explain ex = explain(w, dev, path);

	if (ex.in_sync == in_sync && ex.reason == reason)
		return;
	testlib_world_print_log(w);
	fail_msg("%c %s: in_sync=%d reason=%s; not %d, %s", (char)('A' + dev),
	    path, ex.in_sync, reason_name(ex.reason), in_sync,
	    reason_name(reason));
}

static struct testlib_world *
two(enum folder_mode a, enum folder_mode b)
{
	struct testlib_world *w = testlib_world_new(5, 2);

	testlib_world_set_mode(w, A, a);
	testlib_world_set_mode(w, B, b);
	testlib_world_mkdir(w, A, "d");
	testlib_world_write(w, A, "d/x.txt", "of A");
	testlib_world_write(w, A, "a", "of A");
	testlib_world_start_all(w);
	settle(w);
	return w;
}

static void
what_is_everywhere_says_so(void **state)
{
	struct testlib_world *w = two(0, 0);
	const struct explain ex = explain(w, B, "d/x.txt");

	(void)state;
	assert_true(ex.known && ex.in_sync && ex.everywhere);
	assert_int_equal(ex.reason, REASON_NONE);
	assert_int_equal(ex.version_count, 1);
	assert_true(ex.version[0].is_local && ex.version[0].is_global);
	assert_int_equal(ex.version[0].holder_count, 2);
	assert_int_equal(ex.version[0].shadow_count, 0);
	assert_true(slice_equal(ex.version[0].modified_by, SLICE_LIT("A")));
	assert_true(ex.version[0].vector.len > 0);
	assert_int_equal(ex.version[0].entry.size, 4);
	assert_true(ex.sequence > 0);
	assert_int_equal(ex.source_count, 1);
	assert_int_equal(ex.rule.line, 0);
	testlib_world_free(w);
}

static void
what_nobody_knows_is_rightly_not_here(void **state)
{
	struct testlib_world *w = two(0, 0);
	const struct explain ex = explain(w, B, "d/none");
	struct explain out;
	struct err err = { 0 };

	(void)state;
	assert_true(!ex.known && ex.in_sync && ex.everywhere);
	assert_int_equal(ex.reason, REASON_NONE);
	assert_int_equal(ex.version_count, 0);
	assert_int_equal(explain_path(testlib_world_engine(w, A),
			     SLICE_LIT("g"), SLICE_LIT("a"),
			     testlib_world_now(w), &arena, &out, &err),
	    ERR_NOT_FOUND);
	assert_int_equal(explain_path(testlib_world_engine(w, A),
			     SLICE_LIT("f"), SLICE_EMPTY, testlib_world_now(w),
			     &arena, &out, &err),
	    ERR_INVALID);
	testlib_world_free(w);
}

static void
a_deletion_is_a_version(void **state)
{
	struct testlib_world *w = two(0, 0);
	struct explain ex;

	(void)state;
	testlib_world_remove(w, A, "a");
	settle(w);
	ex = explain(w, B, "a");
	assert_true(ex.in_sync && ex.everywhere);
	assert_true(ex.version[0].entry.deleted);
	testlib_world_disconnect(w, A, B);
	testlib_world_remove(w, A, "d/x.txt");
	settle(w);
	ex = explain(w, A, "d/x.txt");
	assert_true(ex.in_sync);
	assert_false(ex.everywhere); /* B has it still */
	assert_int_equal(ex.version_count, 2);
	assert_true(ex.version[0].is_global && ex.version[0].entry.deleted);
	testlib_world_free(w);
}

static void
what_is_on_its_way_is_receiving_or_without_source(void **state)
{
	struct testlib_world *w = two(0, 0);
	const size_t len = 3 * MIB;
	uint8_t *data = mem_zalloc(len);
	struct explain ex;
	bool seen = false;

	(void)state;
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	testlib_world_set_delay(w, 20 * CLOCK_MS);
	testlib_disk_write(testlib_world_disk(w, A), "big",
	    slice_of(data, len));
	testlib_world_hint(w, A, "big");
	for (int i = 0; i < 100000 && !seen; i++) {
		assert_true(testlib_world_step(w));
		ex = explain(w, B, "big");
		seen = ex.bytes_done > 0 && ex.bytes_done < ex.bytes_total;
	}
	assert_true(seen);
	assert_int_equal(ex.reason, REASON_RECEIVING);
	assert_false(ex.in_sync);
	assert_int_equal(ex.bytes_total, len);
	assert_int_equal(ex.source_count, 1);
	testlib_world_disconnect(w, A, B);
	settle(w);
	check(w, B, "big", false, REASON_NO_SOURCE);
	assert_int_equal(explain(w, B, "big").source_count, 0);
	mem_free(data);
	testlib_world_free(w);
}

static void
modes_are_reasons(void **state)
{
	struct testlib_world *w = two(FOLDER_SEND_ONLY, FOLDER_SEND_RECEIVE);

	(void)state;
	testlib_world_write(w, B, "a", "of B");
	settle(w);
	check(w, A, "a", false, REASON_SEND_ONLY);
	check(w, B, "a", true, REASON_NONE);
	testlib_world_free(w);

	w = two(FOLDER_SEND_RECEIVE, FOLDER_RECEIVE_ONLY);
	testlib_world_write(w, B, "a", "of B");
	testlib_world_write(w, B, "mine", "of B");
	settle(w);
	check(w, B, "a", false, REASON_LOCALLY_CHANGED);
	assert_true(explain(w, B, "a").local_changed);
	assert_int_equal(explain(w, B, "mine").reason, REASON_LOCALLY_CHANGED);
	/* The others know of it, and that it is not to be had. */
	assert_int_equal(explain(w, A, "mine").source_count, 0);
	assert_int_equal(explain(w, A, "a").reason, REASON_NONE);
	testlib_world_free(w);
}

static void
ignored_paths_name_the_rule(void **state)
{
	struct testlib_world *w = two(0, 0);
	struct ignore_match m;
	struct explain ex;
	struct err err = { 0 };

	(void)state;
	testlib_disk_write(testlib_world_disk(w, B), ".stignore",
	    SLICE_LIT("// mine\n!/keep/y\n*.o\n/keep\n"));
	testlib_world_command(w, B, COMMAND_IGNORES);
	settle(w);
	testlib_world_write(w, A, "a.o", "of A");
	testlib_world_mkdir(w, A, "keep");
	testlib_world_write(w, A, "keep/y", "of A");
	testlib_world_write(w, A, "keep/z", "of A");
	settle(w);
	check(w, B, "a.o", true, REASON_IGNORED);
	ex = explain(w, B, "a.o");
	assert_true(ex.known && ex.rule.ignored);
	assert_int_equal(ex.rule.line, 3);
	assert_true(slice_equal(ex.rule.rule, SLICE_LIT("*.o")));
	check(w, B, "keep/z", true, REASON_IGNORED);
	check(w, B, "keep/y", true, REASON_NONE);
	check(w, B, "not/there.o", true, REASON_IGNORED);
	assert_int_equal(explain_ignore(testlib_world_engine(w, B),
			     SLICE_LIT("f"), SLICE_LIT("x/y.o"), &m, &err),
	    0);
	assert_true(m.ignored);
	assert_int_equal(m.line, 3);
	assert_int_equal(explain_ignore(testlib_world_engine(w, B),
			     SLICE_LIT("g"), SLICE_LIT("x"), &m, &err),
	    ERR_NOT_FOUND);
	testlib_world_free(w);
}

static void
conflict_copies_are_named(void **state)
{
	const char *path[] = { "d/x.txt", "a", ".hidden" };
	struct testlib_world *w = two(0, 0);

	(void)state;
	testlib_world_write(w, A, ".hidden", "first");
	settle(w);
	testlib_world_disconnect(w, A, B);
	settle(w);
	for (size_t i = 0; i < 3; i++) {
		testlib_world_write(w, A, path[i], "of A again");
		testlib_world_write(w, B, path[i], "and of B");
	}
	settle(w);
	testlib_world_connect(w, A, B);
	settle(w);
	for (size_t i = 0; i < 3; i++) {
		const struct explain ex = explain(w, A, path[i]);

		assert_true(ex.in_sync && ex.everywhere);
		assert_int_equal(ex.reason, REASON_CONFLICT);
		assert_int_equal(ex.conflict_count, 1);
	}
	testlib_world_free(w);
}

static void
broken_rules_are_told_with_their_line(void **state)
{
	struct testlib_world *w = two(0, 0);
	struct ignore_match m;
	struct explain ex;
	struct err err = { 0 };

	(void)state;
	testlib_disk_write(testlib_world_disk(w, B), ".stignore",
	    SLICE_LIT("ok\n[\n"));
	testlib_world_command(w, B, COMMAND_IGNORES);
	testlib_world_run(w, CLOCK_S);
	assert_int_equal(explain_ignore(testlib_world_engine(w, B),
			     SLICE_LIT("f"), SLICE_LIT("x"), &m, &err),
	    ERR_INVALID);
	assert_non_null(strstr(err.text, ".stignore:2"));
	assert_int_equal(explain_path(testlib_world_engine(w, B),
			     SLICE_LIT("f"), SLICE_LIT("a"),
			     testlib_world_now(w), &arena, &ex, &err),
	    ERR_BUSY);
	assert_non_null(strstr(err.text, "ignores-bad"));
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
		cmocka_unit_test(what_is_everywhere_says_so),
		cmocka_unit_test(what_nobody_knows_is_rightly_not_here),
		cmocka_unit_test(a_deletion_is_a_version),
		cmocka_unit_test(
		    what_is_on_its_way_is_receiving_or_without_source),
		cmocka_unit_test(modes_are_reasons),
		cmocka_unit_test(ignored_paths_name_the_rule),
		cmocka_unit_test(conflict_copies_are_named),
		cmocka_unit_test(broken_rules_are_told_with_their_line),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
