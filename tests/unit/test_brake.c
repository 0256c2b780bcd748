/*
 * The brake, told as stories between devices: what is too much waits, all else
 * goes on, and a person's word is done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/brake.h"
#include "engine/plan.h"
#include "engine/status.h"
#include "testlib_world.h"

#define A 0u
#define B 1u
#define C 2u
#define D 3u
#define FILES 80u /* a quarter of which is 20 */

static void
settle(struct testlib_world *w)
{
	if (testlib_world_settle(w))
		return;
	testlib_world_print_log(w);
	fail_msg("it never came to rest");
}

static const char *
name_of(uint32_t i)
{
	static char name[32];

	snprintf(name, sizeof(name), "d%u/f%02u", i % 4, i);
	return name;
}

static void
fill(struct testlib_world *w, uint32_t dev)
{
	char text[32];

	for (uint32_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "d%u", i);
		testlib_world_mkdir(w, dev, text);
	}
	for (uint32_t i = 0; i < FILES; i++) {
		snprintf(text, sizeof(text), "file %u of %u", i, dev);
		testlib_world_write(w, dev, name_of(i), text);
	}
}

static void
set_brake(struct testlib_world *w, uint32_t dev, uint32_t percent,
    uint32_t files)
{
	testlib_world_folder(w, dev)->brake_percent = percent;
	testlib_world_folder(w, dev)->brake_files = files;
}

/* Devices with the same files; all but A have a brake at 20 files. */
static struct testlib_world *
world(uint64_t seed, uint32_t count)
{
	struct testlib_world *w = testlib_world_new(seed, count);

	for (uint32_t i = 1; i < count; i++)
		set_brake(w, i, 25, 10);
	fill(w, A);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_run(w, 2 * CLOCK_MIN);
	return w;
}

static uint32_t
files_left(struct testlib_world *w, uint32_t dev)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < FILES; i++)
		n += testlib_disk_has(testlib_world_disk(w, dev), name_of(i));
	return n;
}

static void
delete_from(struct testlib_world *w, uint32_t dev, uint32_t first,
    uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		testlib_world_remove(w, dev, name_of(i));
}

/* What status says; the report dies with the next question. */
static struct status_folder
status_of(struct testlib_world *w, uint32_t dev)
{
	static struct arena arena;
	struct status_report rp;

	arena_clear(&arena);
	status_report(testlib_world_engine(w, dev), testlib_world_now(w),
	    &arena, &rp);
	return rp.folder[0];
}

static void
check_held(struct testlib_world *w, uint32_t dev, int64_t deletes,
    int64_t rewrites)
{
	const struct status_folder st = status_of(w, dev);

	if (st.held_count == 1 && st.held[0].deletes == deletes &&
	    st.held[0].rewrites == rewrites &&
	    st.reason == REASON_MASS_CHANGE && st.state != STATUS_IN_SYNC)
		return;
	testlib_world_print_log(w);
	fail_msg("%c: %u held, %lld and %lld, not %lld and %lld, state %s",
	    (char)('A' + dev), (unsigned)st.held_count,
	    st.held_count == 0 ? 0LL : (long long)st.held[0].deletes,
	    st.held_count == 0 ? 0LL : (long long)st.held[0].rewrites,
	    (long long)deletes, (long long)rewrites,
	    status_state_name(st.state));
}

static void
check_free(struct testlib_world *w, uint32_t dev)
{
	const struct status_folder st = status_of(w, dev);

	if (st.held_count == 0 && st.state == STATUS_IN_SYNC)
		return;
	testlib_world_print_log(w);
	fail_msg("%c: %u held, state %s", (char)('A' + dev),
	    (unsigned)st.held_count, status_state_name(st.state));
}

static void
the_limit_is_a_part_but_never_too_few(void **state)
{
	(void)state;
	assert_int_equal(brake_limit(0, 25, 100), 100);
	assert_int_equal(brake_limit(400, 25, 100), 100);
	assert_int_equal(brake_limit(404, 25, 100), 101);
	assert_int_equal(brake_limit(41205, 25, 100), 10301);
	assert_int_equal(brake_limit(1000, 100, 1), 1000);
	assert_int_equal(brake_limit(INT64_MAX / 2, 100, 1), INT64_MAX / 2);
}

static void
a_mass_delete_waits_and_all_else_goes_on(void **state)
{
	struct testlib_world *w = world(1, 2);

	(void)state;
	delete_from(w, A, 0, 60);
	testlib_world_write(w, A, "new", "new of A");
	testlib_world_write(w, B, "b", "new of B");
	settle(w);
	assert_int_equal(files_left(w, B), FILES);
	check_held(w, B, 60, 0);
	assert_true(testlib_disk_has(testlib_world_disk(w, B), "new"));
	assert_true(testlib_disk_has(testlib_world_disk(w, A), "b"));
	/* It also waits when more comes, and is counted again. */
	delete_from(w, A, 60, 5);
	testlib_world_write(w, A, name_of(70), "rewritten");
	testlib_world_write(w, A, "newer", "newer of A");
	settle(w);
	assert_int_equal(files_left(w, B), FILES);
	check_held(w, B, 65, 1);
	assert_true(testlib_disk_has(testlib_world_disk(w, B), "newer"));
	testlib_world_free(w);
}

static void
confirmed_it_is_done(void **state)
{
	struct testlib_world *w = world(2, 2);

	(void)state;
	delete_from(w, A, 0, 60);
	testlib_world_write(w, A, name_of(70), "rewritten");
	settle(w);
	check_held(w, B, 60, 1);
	testlib_world_command(w, B, COMMAND_CONFIRM);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(files_left(w, B), FILES - 60);
	check_free(w, B);
	/* That was for this time only. */
	fill(w, A);
	settle(w);
	testlib_world_run(w, 2 * CLOCK_MIN);
	delete_from(w, A, 0, 60);
	settle(w);
	assert_int_equal(files_left(w, B), FILES);
	check_held(w, B, 60, 0);
	testlib_world_free(w);
}

static void
rejected_ours_comes_back_everywhere(void **state)
{
	struct testlib_world *w = world(3, 2);

	(void)state;
	delete_from(w, A, 0, 60);
	testlib_world_write(w, A, name_of(70), "ransom");
	testlib_world_write(w, A, "new", "stays");
	settle(w);
	check_held(w, B, 60, 1);
	testlib_world_command(w, B, COMMAND_REJECT);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(files_left(w, A), FILES);
	check_free(w, B);
	assert_true(slice_equal(
	    testlib_disk_read(testlib_world_disk(w, A), name_of(70)),
	    SLICE_LIT("file 70 of 0")));
	assert_true(testlib_disk_has(testlib_world_disk(w, B), "new"));
	testlib_world_free(w);
}

static void
a_mass_rewrite_waits(void **state)
{
	struct testlib_world *w = world(4, 2);
	struct status_folder st;
	int64_t kept = 0;

	(void)state;
	for (uint32_t i = 0; i < FILES; i++)
		testlib_world_write(w, A, name_of(i), "ransom");
	settle(w);
	st = status_of(w, B);
	assert_int_equal(st.held_count, 1);
	/* What was told before it was too much is done. */
	assert_int_equal(st.held[0].rewrites + st.held[0].done, FILES);
	assert_true(st.held[0].done <= 20);
	for (uint32_t i = 0; i < FILES; i++)
		kept += testlib_disk_read(testlib_world_disk(w, B), name_of(i))
			    .len > 6;
	assert_int_equal(kept, st.held[0].rewrites);
	testlib_world_command(w, B, COMMAND_REJECT);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

static void
fewer_than_the_limit_just_happen(void **state)
{
	struct testlib_world *w = world(5, 2);

	(void)state;
	delete_from(w, A, 0, 20);
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	/* A minute later counts anew; right away it does not. */
	testlib_world_run(w, 2 * CLOCK_MIN);
	delete_from(w, A, 20, 10);
	settle(w);
	check_free(w, B);
	delete_from(w, A, 30, 8);
	settle(w);
	check_held(w, B, 8, 0);
	testlib_world_free(w);
}

static void
one_after_the_other_they_add_up(void **state)
{
	struct testlib_world *w = world(6, 2);

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		testlib_world_remove(w, A, name_of(i));
		testlib_world_run(w, 15 * CLOCK_S);
	}
	settle(w);
	assert_int_equal(files_left(w, B), FILES - 20);
	check_held(w, B, 20, 0);
	testlib_world_free(w);
}

static void
the_same_file_again_and_again_is_one(void **state)
{
	struct testlib_world *w = world(7, 2);
	char text[32];

	(void)state;
	for (uint32_t i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "line %u", i);
		testlib_world_write(w, A, name_of(0), text);
		testlib_world_run(w, CLOCK_S);
	}
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	testlib_world_free(w);
}

static void
a_rename_is_no_loss(void **state)
{
	struct testlib_world *w = world(8, 2);
	char to[48];

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		char from[8];

		snprintf(from, sizeof(from), "d%u", i);
		snprintf(to, sizeof(to), "elsewhere%u", i);
		testlib_world_rename(w, A, from, to);
	}
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	/* And every file for itself. */
	for (uint32_t i = 0; i < FILES; i++) {
		char from[48];

		snprintf(from, sizeof(from), "elsewhere%u/f%02u", i % 4, i);
		snprintf(to, sizeof(to), "renamed-%02u", i);
		testlib_world_rename(w, A, from, to);
	}
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	assert_int_equal(testlib_world_effects(w, B, EFFECT_KEEP_VERSION), 0);
	testlib_world_free(w);
}

static void
what_is_copied_and_then_deleted_is_no_loss(void **state)
{
	struct testlib_world *w = world(9, 2);
	char to[48], text[48];

	(void)state;
	for (uint32_t i = 0; i < FILES; i++) {
		snprintf(text, sizeof(text), "file %u of %u", i, A);
		snprintf(to, sizeof(to), "copy-%02u", i);
		testlib_world_write(w, A, to, text);
	}
	settle(w);
	delete_from(w, A, 0, FILES);
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	testlib_world_free(w);
}

/* Each takes the name of the next, as old logs do: one content goes. */
static void
a_rotation_is_no_loss(void **state)
{
	struct testlib_world *w = world(20, 2);
	char from[48];

	(void)state;
	for (uint32_t i = FILES; i-- > 1;) {
		snprintf(from, sizeof(from), "%s", name_of(i - 1));
		testlib_world_rename(w, A, from, name_of(i));
	}
	testlib_world_write(w, A, name_of(0), "the newest");
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	testlib_world_free(w);
}

static void
a_new_device_is_filled_without_a_question(void **state)
{
	struct testlib_world *w = testlib_world_new(10, 2);

	(void)state;
	set_brake(w, A, 25, 10);
	set_brake(w, B, 25, 10);
	fill(w, A);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	check_free(w, A);
	check_free(w, B);
	testlib_world_free(w);
}

/* Both had files of the same names before they met: copies, no question. */
static void
a_merge_of_two_devices_asks_nothing(void **state)
{
	struct testlib_world *w = testlib_world_new(11, 2);

	(void)state;
	set_brake(w, A, 25, 10);
	set_brake(w, B, 25, 10);
	fill(w, A);
	fill(w, B);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_check_same(w);
	check_free(w, A);
	check_free(w, B);
	testlib_world_free(w);
}

static void
what_a_person_does_here_is_not_asked_about(void **state)
{
	struct testlib_world *w = world(12, 2);

	(void)state;
	delete_from(w, B, 0, FILES);
	settle(w);
	testlib_world_check_same(w); /* A has no brake */
	check_free(w, B);
	testlib_world_free(w);
}

static void
what_is_held_stays_so_over_a_restart(void **state)
{
	struct testlib_world *w = world(13, 2);

	(void)state;
	delete_from(w, A, 0, 60);
	settle(w);
	check_held(w, B, 60, 0);
	testlib_world_kill(w, B);
	testlib_world_start(w, B);
	settle(w);
	assert_int_equal(files_left(w, B), FILES);
	check_held(w, B, 60, 0);
	testlib_world_connect(w, A, B);
	settle(w);
	assert_int_equal(files_left(w, B), FILES);
	check_held(w, B, 60, 0);
	testlib_world_command(w, B, COMMAND_CONFIRM);
	testlib_world_run(w, 2 * CLOCK_MS);
	testlib_world_kill(w, B);
	testlib_world_start(w, B);
	testlib_world_connect(w, A, B);
	settle(w);
	/* The word may have been lost with the crash; it is given again. */
	testlib_world_command(w, B, COMMAND_CONFIRM);
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	testlib_world_free(w);
}

static void
what_is_held_stays_so_under_another_id(void **state)
{
	(void)state;
	/* B runs meanwhile, is off, or is killed before it wrote that down. */
	for (int how = 0; how < 3; how++) {
		struct testlib_world *w = world(17, 2);

		delete_from(w, A, 0, 60);
		settle(w);
		check_held(w, B, 60, 0);
		if (how == 1)
			testlib_world_kill(w, B);
		testlib_world_rotate(w, A);
		if (how == 2)
			testlib_world_kill(w, B);
		if (how > 0)
			testlib_world_start(w, B);
		settle(w);
		check_held(w, B, 60, 0);
		testlib_world_connect(w, A, B);
		settle(w);
		assert_int_equal(files_left(w, B), FILES);
		check_held(w, B, 60, 0);
		testlib_world_command(w, B, COMMAND_CONFIRM);
		settle(w);
		testlib_world_check_same(w);
		check_free(w, B);
		testlib_world_free(w);
	}
}

static void
killed_at_any_moment_no_more_than_the_limit_is_gone(void **state)
{
	(void)state;
	for (uint32_t steps = 0; steps < 200; steps += 3) {
		struct testlib_world *w = world(1000 + steps, 2);

		delete_from(w, A, 0, 60);
		for (uint32_t i = 0; i < steps; i++)
			testlib_world_step(w);
		testlib_world_kill(w, B);
		testlib_world_start(w, B);
		testlib_world_connect(w, A, B);
		settle(w);
		if (files_left(w, B) < FILES - 40) {
			testlib_world_print_log(w);
			fail_msg("%u are left", files_left(w, B));
		}
		assert_true(status_of(w, B).held_count == 1);
		testlib_world_free(w);
	}
}

static void
taken_back_by_its_maker_it_is_over(void **state)
{
	struct testlib_world *w = world(14, 2);
	char text[32];

	(void)state;
	delete_from(w, A, 0, 60);
	settle(w);
	check_held(w, B, 60, 0);
	for (uint32_t i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "d%u", i);
		testlib_world_mkdir(w, A, text);
	}
	for (uint32_t i = 0; i < 60; i++) {
		snprintf(text, sizeof(text), "file %u of %u", i, A);
		testlib_world_write(w, A, name_of(i), text);
	}
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	testlib_world_free(w);
}

/* Two who stand for the same changes are both held, and it is quiet then. */
static void
by_way_of_two_others_it_waits_too(void **state)
{
	struct testlib_world *w = testlib_world_new(16, 4);
	uint32_t left;

	(void)state;
	set_brake(w, B, 25, 10);
	fill(w, A);
	for (uint32_t i = 0; i < 4; i++)
		testlib_world_start(w, i);
	testlib_world_connect(w, A, C);
	testlib_world_connect(w, A, D);
	testlib_world_connect(w, C, B);
	testlib_world_connect(w, D, B);
	settle(w);
	testlib_world_run(w, 2 * CLOCK_MIN);
	delete_from(w, A, 0, 60);
	settle(w);
	left = files_left(w, B);
	assert_in_range(left, FILES - 40, FILES); /* a limit for each */
	assert_int_equal(status_of(w, B).reason, REASON_MASS_CHANGE);
	assert_int_equal(status_of(w, B).held_count, 2);
	testlib_world_command(w, B, COMMAND_CONFIRM);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_free(w);
}

/* C asks nobody and tells B the same: it waits as well. */
static void
by_way_of_a_third_device_it_waits_too(void **state)
{
	struct testlib_world *w = testlib_world_new(15, 3);

	(void)state;
	set_brake(w, B, 25, 10);
	fill(w, A);
	for (uint32_t i = 0; i < 3; i++)
		testlib_world_start(w, i);
	testlib_world_connect(w, A, C);
	testlib_world_connect(w, C, B);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_run(w, 2 * CLOCK_MIN);
	delete_from(w, A, 0, 60);
	settle(w);
	assert_int_equal(files_left(w, C), FILES - 60);
	assert_int_equal(files_left(w, B), FILES);
	check_held(w, B, 60, 0);
	testlib_world_connect(w, A, B);
	settle(w);
	assert_int_equal(files_left(w, B), FILES);
	testlib_world_command(w, B, COMMAND_REJECT);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(files_left(w, A), FILES);
	testlib_world_free(w);
}

static void
other_devices_are_not_held_for_it(void **state)
{
	struct testlib_world *w = world(16, 3);

	(void)state;
	set_brake(w, C, 0, 0);
	delete_from(w, A, 0, 60);
	settle(w);
	check_held(w, B, 60, 0);
	/* Of what A left alone, and of what it deleted. */
	testlib_world_write(w, C, name_of(75), "edit of C");
	testlib_world_write(w, C, name_of(5), "also of C");
	settle(w);
	assert_true(slice_equal(
	    testlib_disk_read(testlib_world_disk(w, B), name_of(75)),
	    SLICE_LIT("edit of C")));
	assert_true(
	    slice_equal(testlib_disk_read(testlib_world_disk(w, B), name_of(5)),
		SLICE_LIT("also of C")));
	testlib_world_free(w);
}

static void
switched_off_it_asks_nothing(void **state)
{
	struct testlib_world *w = testlib_world_new(17, 2);

	(void)state;
	fill(w, A);
	testlib_world_start_all(w);
	settle(w);
	delete_from(w, A, 0, FILES);
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	testlib_world_free(w);
}

static void
a_receiver_can_confirm(void **state)
{
	struct testlib_world *w = testlib_world_new(18, 2);

	(void)state;
	set_brake(w, B, 25, 10);
	testlib_world_set_mode(w, B, FOLDER_RECEIVE_ONLY);
	fill(w, A);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_run(w, 2 * CLOCK_MIN);
	delete_from(w, A, 0, 60);
	settle(w);
	check_held(w, B, 60, 0);
	testlib_world_command(w, B, COMMAND_REJECT); /* is refused */
	settle(w);
	check_held(w, B, 60, 0);
	testlib_world_command(w, B, COMMAND_CONFIRM);
	settle(w);
	testlib_world_check_same(w);
	check_free(w, B);
	testlib_world_free(w);
}

static void
the_plan_lists_what_is_held_page_by_page(void **state)
{
	struct testlib_world *w = world(19, 2);
	struct arena arena = { 0 };
	struct plan_page page;
	struct slice after = SLICE_EMPTY;
	uint32_t count = 0, pages = 0;

	(void)state;
	delete_from(w, A, 0, 60);
	testlib_world_write(w, A, name_of(70), "rewritten");
	settle(w);
	do {
		assert_true(plan_page(testlib_world_engine(w, B),
		    SLICE_LIT("f"), after, true, 7, &arena, &page));
		assert_true(page.count <= 7);
		for (uint32_t i = 0; i < page.count; i++) {
			const struct plan_entry *e = &page.entry[i];

			assert_true(slice_cmp(after, e->path) < 0);
			after = e->path;
			assert_int_equal(e->act,
			    slice_equal(e->path, slice_str(name_of(70)))
				? PLAN_UPDATE
				: PLAN_DELETE);
			assert_int_equal(e->reason, REASON_MASS_CHANGE);
			assert_int_equal(e->device.b[0], 16); /* A */
			assert_true(e->size > 0);
		}
		count += page.count;
		after = page.next;
		pages++;
	} while (page.next.len > 0);
	assert_int_equal(count, 61);
	assert_int_equal(pages, 9);
	assert_true(plan_page(testlib_world_engine(w, A), SLICE_LIT("f"),
	    SLICE_EMPTY, false, 0, &arena, &page));
	assert_int_equal(page.count, 0);
	assert_false(plan_page(testlib_world_engine(w, A), SLICE_LIT("g"),
	    SLICE_EMPTY, false, 0, &arena, &page));
	arena_fini(&arena);
	testlib_world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_is_a_part_but_never_too_few),
		cmocka_unit_test(a_mass_delete_waits_and_all_else_goes_on),
		cmocka_unit_test(confirmed_it_is_done),
		cmocka_unit_test(rejected_ours_comes_back_everywhere),
		cmocka_unit_test(a_mass_rewrite_waits),
		cmocka_unit_test(fewer_than_the_limit_just_happen),
		cmocka_unit_test(one_after_the_other_they_add_up),
		cmocka_unit_test(the_same_file_again_and_again_is_one),
		cmocka_unit_test(a_rename_is_no_loss),
		cmocka_unit_test(what_is_copied_and_then_deleted_is_no_loss),
		cmocka_unit_test(a_rotation_is_no_loss),
		cmocka_unit_test(a_new_device_is_filled_without_a_question),
		cmocka_unit_test(a_merge_of_two_devices_asks_nothing),
		cmocka_unit_test(what_a_person_does_here_is_not_asked_about),
		cmocka_unit_test(what_is_held_stays_so_over_a_restart),
		cmocka_unit_test(what_is_held_stays_so_under_another_id),
		cmocka_unit_test(
		    killed_at_any_moment_no_more_than_the_limit_is_gone),
		cmocka_unit_test(taken_back_by_its_maker_it_is_over),
		cmocka_unit_test(by_way_of_a_third_device_it_waits_too),
		cmocka_unit_test(by_way_of_two_others_it_waits_too),
		cmocka_unit_test(other_devices_are_not_held_for_it),
		cmocka_unit_test(switched_off_it_asks_nothing),
		cmocka_unit_test(a_receiver_can_confirm),
		cmocka_unit_test(the_plan_lists_what_is_held_page_by_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
