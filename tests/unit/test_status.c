/*
 * Status, seen while things happen between devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/conflict.h"
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

static struct status_report
report(struct testlib_world *w, uint32_t dev)
{
	struct status_report r;

	arena_clear(&arena);
	status_report(testlib_world_engine(w, dev), testlib_world_now(w),
	    &arena, &r);
	assert_int_equal(r.folder_count, 1);
	return r;
}

static struct status_folder
folder(struct testlib_world *w, uint32_t dev)
{
	return report(w, dev).folder[0];
}

static void
check_state(struct testlib_world *w, uint32_t dev, enum status_state state,
    enum reason reason)
{
	const struct status_folder f = folder(w, dev);

	if (f.state == state && f.reason == reason)
		return;
	testlib_world_print_log(w);
	fail_msg("%c is %s, %s; not %s, %s", (char)('A' + dev),
	    status_state_name(f.state), reason_name(f.reason),
	    status_state_name(state), reason_name(reason));
}

/* Let things happen until the folder is in `state`; false: it never was. */
static bool
run_until(struct testlib_world *w, uint32_t dev, enum status_state state)
{
	for (int i = 0; i < 100000; i++) {
		if (folder(w, dev).state == state)
			return true;
		if (!testlib_world_step(w))
			return false;
	}
	return false;
}

static struct testlib_world *
two(void)
{
	struct testlib_world *w = testlib_world_new(5, 2);

	testlib_world_mkdir(w, A, "d");
	testlib_world_write(w, A, "a", "12345");
	testlib_world_write(w, A, "d/x", "1234567");
	return w;
}

static void
a_folder_starts_scans_and_is_in_sync(void **state)
{
	struct testlib_world *w = two();
	struct status_folder f;

	(void)state;
	testlib_world_start(w, A);
	check_state(w, A, STATUS_STARTING, REASON_STARTING);
	assert_false(folder(w, A).idle);
	assert_true(run_until(w, A, STATUS_SCANNING));
	f = folder(w, A);
	assert_true(f.scan.running);
	assert_int_equal(f.scan.passes, 0);
	settle(w);
	check_state(w, A, STATUS_IN_SYNC, REASON_NONE);
	f = folder(w, A);
	assert_true(f.idle);
	assert_false(f.scan.running);
	assert_int_equal(f.scan.passes, 1);
	assert_true(f.scan.last_end_wall_ns > 0);
	assert_int_equal(f.scan.failed, 0);
	assert_int_equal(f.local.files, 2);
	assert_int_equal(f.local.dirs, 1);
	assert_int_equal(f.local.bytes, 12);
	assert_int_equal(f.global.files, 2);
	assert_int_equal(f.need.items, 0);
	assert_true(slice_equal(f.id, SLICE_LIT("f")));
	assert_true(slice_equal(f.path, SLICE_LIT("/f")));
	assert_int_equal(f.problem_count, 0);
	assert_int_equal(f.conflicts, 0);
	testlib_world_command(w, A, COMMAND_SCAN);
	settle(w);
	assert_int_equal(folder(w, A).scan.passes, 2);
	testlib_world_free(w);
}

static void
devices_are_connected_or_behind(void **state)
{
	struct testlib_world *w = two();
	struct status_report r;
	struct status_folder f;

	(void)state;
	testlib_world_start(w, A);
	settle(w);
	f = folder(w, A);
	/* Never heard of: it lacks everything. */
	assert_int_equal(f.share_count, 1);
	assert_false(f.share[0].known);
	assert_int_equal(f.share[0].need.items, 3);
	assert_int_equal(f.share[0].need.bytes, 12);
	assert_int_equal(f.share[0].reason, REASON_OFFLINE);
	assert_int_equal(f.copies_have, 1);
	assert_int_equal(f.copies_want, 2);

	testlib_world_start_all(w);
	settle(w);
	r = report(w, A);
	f = r.folder[0];
	assert_true(f.share[0].known && f.share[0].connected);
	assert_int_equal(f.share[0].need.items, 0);
	assert_int_equal(f.share[0].reason, REASON_NONE);
	assert_int_equal(f.copies_have, 2);
	assert_int_equal(r.device_count, 1);
	assert_true(r.device[0].connected);
	assert_true(slice_equal(r.device[0].name, SLICE_LIT("B")));
	assert_true(slice_equal(r.device[0].client, SLICE_LIT("world")));
	assert_int_equal(r.device[0].behind.items, 0);

	testlib_world_disconnect(w, A, B);
	testlib_world_write(w, A, "a", "1234567890");
	testlib_world_remove(w, A, "d/x");
	settle(w);
	r = report(w, A);
	assert_false(r.device[0].connected);
	assert_int_equal(r.device[0].behind.items, 1);
	assert_int_equal(r.device[0].behind.deletes, 1);
	assert_int_equal(r.device[0].behind.bytes, 10);
	assert_int_equal(r.folder[0].share[0].reason, REASON_OFFLINE);
	assert_int_equal(r.folder[0].copies_have, 1);
	check_state(w, A, STATUS_IN_SYNC, REASON_NONE);
	testlib_world_free(w);
}

static void
receiving_shows_what_is_left(void **state)
{
	struct testlib_world *w = testlib_world_new(9, 2);
	const size_t len = 3 * MIB;
	uint8_t *data = mem_zalloc(len);
	struct status_folder f;

	(void)state;
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	testlib_disk_write(testlib_world_disk(w, A), "big",
	    slice_of(data, len));
	testlib_world_set_delay(w, 20 * CLOCK_MS);
	testlib_world_start_all(w);
	assert_true(run_until(w, B, STATUS_RECEIVING));
	f = folder(w, B);
	assert_int_equal(f.need.items, 1);
	assert_int_equal(f.need.bytes, len);
	assert_int_equal(f.copies_have, 1);
	assert_false(f.idle);
	while (devid_is_none(&f.limit)) { /* till something was asked for */
		assert_true(testlib_world_step(w));
		f = folder(w, B);
	}
	assert_true(devid_equal(&f.limit, &f.share[0].device));
	settle(w);
	f = folder(w, B);
	assert_true(devid_is_none(&f.limit));
	check_state(w, B, STATUS_IN_SYNC, REASON_NONE);
	assert_int_equal(f.need.bytes, 0);
	assert_int_equal(f.received, len);
	assert_int_equal(f.rate, 0); /* the asker's to make */
	assert_true(f.last_change.wall_ns > 0);
	assert_true(slice_equal(f.last_change.path, SLICE_LIT("big")));
	mem_free(data);
	testlib_world_free(w);
}

static void
what_nobody_can_give_is_waited_for(void **state)
{
	struct testlib_world *w = testlib_world_new(9, 2);
	const size_t len = 3 * MIB;
	uint8_t *data = mem_zalloc(len);

	(void)state;
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	testlib_disk_write(testlib_world_disk(w, A), "big",
	    slice_of(data, len));
	testlib_world_set_delay(w, 20 * CLOCK_MS);
	testlib_world_start_all(w);
	assert_true(run_until(w, B, STATUS_RECEIVING));
	testlib_world_disconnect(w, A, B);
	settle(w);
	check_state(w, B, STATUS_WAITING, REASON_NO_SOURCE);
	assert_int_equal(folder(w, B).need.items, 1);
	testlib_world_connect(w, A, B);
	settle(w);
	check_state(w, B, STATUS_IN_SYNC, REASON_NONE);
	mem_free(data);
	testlib_world_free(w);
}

static void
a_sender_waits_for_a_person(void **state)
{
	struct testlib_world *w = two();

	(void)state;
	testlib_world_set_mode(w, A, FOLDER_SEND_ONLY);
	testlib_world_start_all(w);
	settle(w);
	check_state(w, A, STATUS_IN_SYNC, REASON_NONE);
	testlib_world_write(w, B, "a", "of B");
	settle(w);
	check_state(w, A, STATUS_WAITING, REASON_SEND_ONLY);
	assert_int_equal(folder(w, A).need.items, 1);
	testlib_world_command(w, A, COMMAND_OVERRIDE);
	settle(w);
	check_state(w, A, STATUS_IN_SYNC, REASON_NONE);
	check_state(w, B, STATUS_IN_SYNC, REASON_NONE);
	testlib_world_free(w);
}

static void
a_receivers_changes_are_counted(void **state)
{
	struct testlib_world *w = two();

	(void)state;
	testlib_world_set_mode(w, B, FOLDER_RECEIVE_ONLY);
	testlib_world_start_all(w);
	settle(w);
	testlib_world_write(w, B, "mine", "of B");
	settle(w);
	assert_int_equal(folder(w, B).changed, 1);
	check_state(w, B, STATUS_IN_SYNC, REASON_NONE);
	assert_int_equal(folder(w, A).global.files, 2);
	testlib_world_command(w, B, COMMAND_REVERT);
	settle(w);
	assert_int_equal(folder(w, B).changed, 0);
	testlib_world_free(w);
}

static void
a_missing_root_halts_and_comes_back(void **state)
{
	struct testlib_world *w = two();
	int64_t since;
	uint64_t notes;

	(void)state;
	testlib_world_start_all(w);
	settle(w);
	testlib_disk_unmount(testlib_world_disk(w, A), true);
	testlib_world_command(w, A, COMMAND_SCAN);
	testlib_world_run(w, CLOCK_S);
	check_state(w, A, STATUS_HALTED, REASON_ROOT_MISSING);
	assert_true(folder(w, A).text.len > 0);
	/* It is tried again and again; that is not news each time. */
	since = folder(w, A).since_wall_ns;
	notes = testlib_world_effects(w, A, EFFECT_NOTE);
	for (int i = 0; i < 3000; i++) {
		testlib_world_run(w, 7 * CLOCK_MS);
		check_state(w, A, STATUS_HALTED, REASON_ROOT_MISSING);
	}
	assert_true(testlib_world_effects(w, A, EFFECT_OPEN_FOLDER) > 3);
	assert_true(folder(w, A).since_wall_ns == since);
	assert_int_equal(testlib_world_effects(w, A, EFFECT_NOTE), notes);
	/* The peer sees that it is not there, and loses nothing. */
	assert_int_equal(folder(w, B).share[0].reason, REASON_PEER_PAUSED);
	assert_int_equal(folder(w, B).local.files, 2);
	testlib_disk_unmount(testlib_world_disk(w, A), false);
	testlib_world_run(w, 20 * CLOCK_S);
	check_state(w, A, STATUS_IN_SYNC, REASON_NONE);
	assert_int_equal(folder(w, B).share[0].reason, REASON_NONE);
	testlib_world_free(w);
}

static void
a_full_disk_halts_and_goes_on(void **state)
{
	struct testlib_world *w = two();
	bool halted = false;

	(void)state;
	testlib_disk_set_room(testlib_world_disk(w, B), 4);
	testlib_world_start_all(w);
	for (int i = 0; i < 100 && !halted; i++) {
		testlib_world_run(w, 100 * CLOCK_MS);
		halted = folder(w, B).state == STATUS_HALTED;
	}
	check_state(w, B, STATUS_HALTED, REASON_DISK_FULL);
	testlib_disk_set_room(testlib_world_disk(w, B), 1000000);
	testlib_world_run(w, 30 * CLOCK_S);
	check_state(w, B, STATUS_IN_SYNC, REASON_NONE);
	testlib_world_free(w);
}

static void
a_paused_folder_is_paused_and_idle(void **state)
{
	const struct log log = { LOG_ERROR, NULL, NULL };
	struct engine *en = engine_new(&log);
	struct setup_device sd = { .paused = true };
	struct setup_folder sf = { .id = SLICE_LIT("p"),
		.label = SLICE_LIT("Pictures"),
		.path = SLICE_LIT("/p"),
		.paused = true,
		.mode = FOLDER_RECEIVE_ONLY };
	struct event ev = { .kind = EVENT_START };
	struct effects out;
	struct status_report r;

	(void)state;
	memset(sd.id.b, 7, sizeof(sd.id.b));
	memset(ev.u.setup.self.b, 9, sizeof(ev.u.setup.self.b));
	sf.device = &sd.id;
	sf.device_count = 1;
	ev.u.setup.name = SLICE_LIT("me");
	ev.u.setup.device = &sd;
	ev.u.setup.device_count = 1;
	ev.u.setup.folder = &sf;
	ev.u.setup.folder_count = 1;
	engine_step(en, &ev, &out);
	arena_clear(&arena);
	status_report(en, ev.now, &arena, &r);
	assert_true(slice_equal(r.name, SLICE_LIT("me")));
	assert_true(devid_equal(&r.self, &ev.u.setup.self));
	assert_int_equal(r.folder_count, 1);
	assert_int_equal(r.folder[0].state, STATUS_PAUSED);
	assert_int_equal(r.folder[0].reason, REASON_PAUSED);
	assert_int_equal(r.folder[0].mode, FOLDER_RECEIVE_ONLY);
	assert_true(slice_equal(r.folder[0].label, SLICE_LIT("Pictures")));
	assert_true(r.folder[0].idle);
	assert_int_equal(r.folder[0].share[0].reason, REASON_PAUSED);
	assert_int_equal(r.folder[0].copies_have, 0);
	assert_true(r.device[0].paused);
	engine_free(en);
}

static void
conflict_copies_are_listed(void **state)
{
	struct testlib_world *w = two();
	const struct status_conflict *list;
	uint32_t count;

	(void)state;
	testlib_world_start_all(w);
	settle(w);
	testlib_world_disconnect(w, A, B);
	settle(w);
	testlib_world_write(w, A, "d/x", "of A");
	testlib_world_write(w, B, "d/x", "of B, and longer");
	settle(w);
	testlib_world_connect(w, A, B);
	settle(w);
	testlib_world_check_same(w);
	assert_int_equal(folder(w, A).conflicts, 1);
	assert_int_equal(folder(w, B).conflicts, 1);
	arena_clear(&arena);
	assert_true(status_conflicts(testlib_world_engine(w, A), SLICE_LIT("f"),
	    &arena, &list, &count));
	assert_int_equal(count, 1);
	assert_true(slice_equal(list[0].original, SLICE_LIT("d/x")));
	assert_true(conflict_is_name(list[0].path));
	assert_true(list[0].size == 4 || list[0].size == 16);
	assert_true(list[0].modified_by != 0);
	assert_false(status_conflicts(testlib_world_engine(w, A),
	    SLICE_LIT("g"), &arena, &list, &count));
	testlib_world_free(w);
}

static void
states_have_stable_names(void **state)
{
	(void)state;
	assert_string_equal(status_state_name(STATUS_HALTED), "halted");
	assert_string_equal(status_state_name(STATUS_PAUSED), "paused");
	assert_string_equal(status_state_name(STATUS_STARTING), "starting");
	assert_string_equal(status_state_name(STATUS_SCANNING), "scanning");
	assert_string_equal(status_state_name(STATUS_RECEIVING), "receiving");
	assert_string_equal(status_state_name(STATUS_WAITING), "waiting");
	assert_string_equal(status_state_name(STATUS_IN_SYNC), "in_sync");
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
		cmocka_unit_test(a_folder_starts_scans_and_is_in_sync),
		cmocka_unit_test(devices_are_connected_or_behind),
		cmocka_unit_test(receiving_shows_what_is_left),
		cmocka_unit_test(what_nobody_can_give_is_waited_for),
		cmocka_unit_test(a_sender_waits_for_a_person),
		cmocka_unit_test(a_receivers_changes_are_counted),
		cmocka_unit_test(a_missing_root_halts_and_comes_back),
		cmocka_unit_test(a_full_disk_halts_and_goes_on),
		cmocka_unit_test(a_paused_folder_is_paused_and_idle),
		cmocka_unit_test(conflict_copies_are_listed),
		cmocka_unit_test(states_have_stable_names),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
