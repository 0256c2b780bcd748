/*
 * Blocks of unfinished files, between devices that are fetching the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "testlib_world.h"

#define A 0u
#define B 1u
#define C 2u
#define BLOCKS 40u

static void
settle(struct testlib_world *w)
{
	if (testlib_world_settle(w))
		return;
	testlib_world_print_log(w);
	fail_msg("it never came to rest");
}

/* Three devices in sync; then A has a file that takes its time. */
static struct testlib_world *
three(uint64_t seed, uint32_t blocks)
{
	struct testlib_world *w = testlib_world_new(seed, 3);
	const size_t len = blocks * LIMIT_BLOCK_LEN_MIN;
	uint8_t *data = mem_alloc(len);
	struct rng rng;

	rng_init(&rng, seed);
	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		const uint64_t r = rng_u64(&rng);

		memcpy(data + i, &r, sizeof(r));
	}
	testlib_world_start_all(w);
	settle(w);
	assert_true(testlib_disk_write(testlib_world_disk(w, A), "big",
	    slice_of(data, len)));
	mem_free(data);
	testlib_world_set_delay(w, 15 * CLOCK_S);
	testlib_world_hint(w, A, "big");
	return w;
}

/* Until some blocks came, and word of them could go round. */
static void
run_until_some_came(struct testlib_world *w, uint64_t bytes)
{
	const uint64_t before = testlib_world_payload_bytes(w);

	for (int i = 0; i < 10000; i++) {
		if (testlib_world_payload_bytes(w) >= before + bytes)
			return;
		assert_true(testlib_world_step(w));
	}
	fail_msg("nothing came");
}

static void
two_receivers_go_on_with_each_other(void **state)
{
	struct testlib_world *w = three(3, BLOCKS);
	uint64_t before;

	(void)state;
	run_until_some_came(w, BLOCKS * LIMIT_BLOCK_LEN_MIN);
	testlib_world_run(w, 3 * CLOCK_S);
	assert_false(testlib_disk_has(testlib_world_disk(w, B), "big"));
	assert_false(testlib_disk_has(testlib_world_disk(w, C), "big"));
	/* The only one that has it goes: what comes now is of temporaries. */
	testlib_world_disconnect(w, A, B);
	testlib_world_disconnect(w, A, C);
	before = testlib_world_payload_bytes(w);
	testlib_world_run(w, 10 * CLOCK_S);
	assert_false(testlib_disk_has(testlib_world_disk(w, B), "big"));
	assert_false(testlib_disk_has(testlib_world_disk(w, C), "big"));
	assert_true(testlib_world_payload_bytes(w) > before);
	testlib_world_set_delay(w, CLOCK_MS);
	testlib_world_connect(w, A, B);
	testlib_world_connect(w, A, C);
	settle(w);
	testlib_world_check_same(w);
	testlib_world_check_no_temps(w);
	testlib_world_free(w);
}

static void
an_idle_folder_wakes_nobody(void **state)
{
	struct testlib_world *w = three(4, BLOCKS);
	uint64_t before;

	(void)state;
	settle(w);
	testlib_world_check_same(w);
	before = testlib_world_messages(w);
	/* What was told is taken back, and that is the last word. */
	testlib_world_run(w, 10 * CLOCK_S);
	assert_true(testlib_world_messages(w) <= before + 6);
	before = testlib_world_messages(w);
	testlib_world_run(w, CLOCK_MIN);
	assert_int_equal(testlib_world_messages(w), before);
	testlib_world_free(w);
}

static void
small_files_are_not_spoken_of(void **state)
{
	struct testlib_world *w = testlib_world_new(5, 2);
	uint64_t before;

	(void)state;
	testlib_world_start_all(w);
	settle(w);
	testlib_world_write(w, A, "small", "text");
	testlib_world_set_delay(w, 20 * CLOCK_S);
	before = testlib_world_messages(w);
	settle(w);
	testlib_world_check_same(w);
	/* Index, request, response, index, and nothing else. */
	assert_int_equal(testlib_world_messages(w), before + 4);
	testlib_world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_receivers_go_on_with_each_other),
		cmocka_unit_test(an_idle_folder_wakes_nobody),
		cmocka_unit_test(small_files_are_not_spoken_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
