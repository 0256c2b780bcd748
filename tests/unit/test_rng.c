/*
 * The generator: the same numbers everywhere, and no bias.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/rng.h"

static void
the_same_seed_gives_the_same_numbers(void **state)
{
	struct rng a, b, c;
	unsigned same = 0;

	(void)state;
	rng_init(&a, 42);
	rng_init(&b, 42);
	rng_init(&c, 43);
	for (int i = 0; i < 1000; i++) {
		const uint64_t v = rng_u64(&a);

		assert_true(v == rng_u64(&b));
		same += v == rng_u64(&c);
	}
	assert_int_equal(same, 0);
}

/* The published algorithm, step by step, from the state {1, 2, 3, 4}. */
static void
numbers_are_those_of_xoshiro256starstar(void **state)
{
	static const uint64_t want[] = { UINT64_C(11520), UINT64_C(0),
		UINT64_C(1509978240), UINT64_C(1215971899390074240) };
	struct rng r = { { 1, 2, 3, 4 } };

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_true(rng_u64(&r) == want[i]);
}

static void
zero_is_a_good_seed(void **state)
{
	struct rng r;
	uint64_t ones = 0;

	(void)state;
	rng_init(&r, 0);
	assert_true((r.s[0] | r.s[1] | r.s[2] | r.s[3]) != 0);
	for (int i = 0; i < 1000; i++) {
		for (uint64_t v = rng_u64(&r); v != 0; v >>= 1)
			ones += v & 1;
	}
	assert_in_range(ones, 31500, 32500);
}

static void
below_stays_below_and_reaches_all(void **state)
{
	unsigned hits[7] = { 0 };
	struct rng r;

	(void)state;
	rng_init(&r, 9);
	for (int i = 0; i < 70000; i++)
		hits[rng_below(&r, 7)]++;
	for (int i = 0; i < 7; i++)
		assert_in_range(hits[i], 9600, 10400);
	for (int i = 0; i < 100; i++) {
		assert_true(rng_below(&r, 1) == 0);
		assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
		/* Just over half: nearly every second draw is thrown away. */
		assert_true(rng_below(&r, (UINT64_C(1) << 63) + 1) <=
			    UINT64_C(1) << 63);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_gives_the_same_numbers),
		cmocka_unit_test(numbers_are_those_of_xoshiro256starstar),
		cmocka_unit_test(zero_is_a_good_seed),
		cmocka_unit_test(below_stays_below_and_reaches_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
