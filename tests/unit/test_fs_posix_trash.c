/*
 * The trash can on a real file system: what goes in, what stays, what goes.
 */
#include "testfolder.h"

#include <time.h>

static struct folder f;

static int
setup(void **state)
{
	(void)state;
	folder_init(&f, ".", true);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	folder_fini(&f);
	return 0;
}

static int
keep(const char *path, const char *bytes)
{
	struct effect e = { .kind = EFFECT_KEEP_VERSION,
		.path = slice_str(path),
		.temp = SLICE_LIT("t") };

	assert_int_equal(folder_stage(&f, "t", bytes), 0);
	return folder_do(&f, &e);
}

/* Later than anything before, as far as file systems tell. */
static void
a_moment(void)
{
	const struct timespec ts = { .tv_nsec = 30 * 1000000 };

	nanosleep(&ts, NULL);
}

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static struct trash_totals
clean(int64_t until_ns, int64_t bytes_max, int64_t give)
{
	struct effect e = { .kind = EFFECT_CLEAN_TRASH };

	e.u.clean.until_ns = until_ns;
	e.u.clean.bytes_max = bytes_max;
	e.u.clean.give = give;
	assert_int_equal(folder_do(&f, &e), 0);
	return f.done.u.done.trash;
}

static void
a_trash_can_that_is_not_there_is_empty(void **state)
{
	(void)state;
	assert_int_equal(clean(INT64_MAX, 0, INT64_MAX).files, 0);
	assert_false(folder_has(&f, ".stversions"));
}

static void
what_is_old_goes_and_what_is_new_stays(void **state)
{
	struct trash_totals left;
	int64_t then;

	(void)state;
	assert_int_equal(keep("d/old", "old"), 0);
	a_moment();
	then = now_ns();
	a_moment();
	assert_int_equal(keep("e/new", "newer"), 0);
	left = clean(then, INT64_MAX, 0);
	assert_int_equal(left.files, 1);
	assert_int_equal(left.bytes, 5);
	assert_int_equal(f.done.u.done.trash_gone.files, 1);
	assert_int_equal(f.done.u.done.trash_gone.bytes, 3);
	/* The directory that is empty now went along. */
	assert_false(folder_has(&f, ".stversions/d"));
	assert_true(folder_holds(&f, ".stversions/e/new", "newer"));
}

static void
over_its_size_the_oldest_goes_first(void **state)
{
	(void)state;
	assert_int_equal(keep("z", "first"), 0);
	a_moment();
	assert_int_equal(keep("m/m", "second"), 0);
	a_moment();
	assert_int_equal(keep("a", "third"), 0);
	assert_int_equal(clean(INT64_MIN, 16, 0).files, 3);
	assert_int_equal(clean(INT64_MIN, 15, 0).files, 2);
	assert_false(folder_has(&f, ".stversions/z"));
	assert_int_equal(clean(INT64_MIN, 10, 0).bytes, 5);
	assert_true(folder_holds(&f, ".stversions/a", "third"));
	/* What is asked for in any case, and then all of it. */
	assert_int_equal(keep("b", "fourth"), 0);
	assert_int_equal(clean(INT64_MIN, INT64_MAX, 1).files, 1);
	assert_true(folder_has(&f, ".stversions/b"));
	assert_int_equal(clean(INT64_MIN, INT64_MAX, INT64_MAX).files, 0);
}

static void
how_old_a_file_was_before_does_not_count(void **state)
{
	(void)state;
	/* A temp is sealed with a time of the year 2001. */
	assert_int_equal(keep("a", "text"), 0);
	assert_int_equal(
	    clean(now_ns() - INT64_C(3600) * 1000000000, INT64_MAX, 0).files,
	    1);
}

static void
versions_of_other_kinds_and_our_staging_are_left_alone(void **state)
{
	(void)state;
	assert_int_equal(keep("a", "text"), 0);
	folder_write(&f, ".stversions/a~20240102-030405.txt", "staggered");
	folder_write(&f, ".stversions/b~20240102-030405", "staggered");
	folder_write(&f, ".stversions/c~20240102-03040x", "a file's name");
	assert_int_equal(mkdir(folder_path(&f, ".stversions/.holdfast"), 0700),
	    0);
	folder_write(&f, ".stversions/.holdfast/t", "staged");
	assert_int_equal(clean(INT64_MAX, 0, INT64_MAX).files, 0);
	assert_false(folder_has(&f, ".stversions/a"));
	assert_false(folder_has(&f, ".stversions/c~20240102-03040x"));
	assert_true(folder_has(&f, ".stversions/a~20240102-030405.txt"));
	assert_true(folder_has(&f, ".stversions/b~20240102-030405"));
	assert_true(folder_has(&f, ".stversions/.holdfast/t"));
}

static void
a_link_in_place_of_the_trash_can_is_refused(void **state)
{
	char outside[256];
	struct effect e = { .kind = EFFECT_CLEAN_TRASH };

	(void)state;
	snprintf(outside, sizeof(outside), "%s/outside", f.top);
	folder_write(&f, "../outside/canary", "safe");
	assert_int_equal(symlink(outside, folder_path(&f, ".stversions")), 0);
	assert_int_equal(keep("a", "text"), ERR_DENIED);
	/* Nothing is lost by that: the bytes are still in staging. */
	assert_true(folder_holds(&f, ".stfolder/holdfast/t", "text"));
	e.u.clean.until_ns = INT64_MAX;
	assert_int_equal(folder_do(&f, &e), ERR_DENIED);
	assert_true(folder_holds(&f, "../outside/canary", "safe"));
	assert_false(folder_has(&f, "../outside/a"));
}

static void
a_file_with_another_name_keeps_its_time(void **state)
{
	struct effect e = { .kind = EFFECT_KEEP_VERSION,
		.path = SLICE_LIT("a"),
		.temp = SLICE_LIT("t") };
	char staged[256];

	(void)state;
	assert_int_equal(folder_stage(&f, "t", "text"), 0);
	snprintf(staged, sizeof(staged), "%s",
	    folder_path(&f, ".stfolder/holdfast/t"));
	assert_int_equal(link(staged, folder_path(&f, "b")), 0);
	assert_int_equal(folder_do(&f, &e), 0);
	assert_int_equal(folder_see(&f, "b").mtime_s, 1000000000);
	/* Alone, it gets the time at which it came. */
	assert_int_equal(keep("c", "text"), 0);
	assert_true(folder_see(&f, ".stversions/c").mtime_s >
		    now_ns() / 1000000000 - 9);
}

static void
what_somebody_wrote_to_meanwhile_is_not_taken(void **state)
{
	struct effect e = { .kind = EFFECT_KEEP_VERSION,
		.path = SLICE_LIT("a"),
		.temp = SLICE_LIT("t") };

	(void)state;
	assert_int_equal(folder_stage(&f, "t", "text"), 0);
	e.want = f.done.u.done.seen;
	folder_write(&f, ".stfolder/holdfast/t", "a newer save");
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
	assert_true(folder_holds(&f, ".stfolder/holdfast/t", "a newer save"));
	assert_false(folder_has(&f, ".stversions/a"));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_trash_can_that_is_not_there_is_empty),
		TEST(what_is_old_goes_and_what_is_new_stays),
		TEST(over_its_size_the_oldest_goes_first),
		TEST(how_old_a_file_was_before_does_not_count),
		TEST(versions_of_other_kinds_and_our_staging_are_left_alone),
		TEST(a_link_in_place_of_the_trash_can_is_refused),
		TEST(a_file_with_another_name_keeps_its_time),
		TEST(what_somebody_wrote_to_meanwhile_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
