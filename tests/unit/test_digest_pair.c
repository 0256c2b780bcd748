/*
 * Two digests at once are the two digests.  The oracle is GnuTLS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/base/digest_pair.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define ROOM 70000u

static uint8_t *bytes;

static int
setup(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, 7);
	bytes = mem_alloc(ROOM);
	for (size_t i = 0; i < ROOM; i++)
		bytes[i] = (uint8_t)rng_below(&rng, 256);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	mem_free(bytes);
	return 0;
}

static void
check(struct slice a, struct slice b)
{
	const struct slice both[2] = { a, b };
	struct digest got[2], want[2];

	digest_of(a, &want[0]);
	digest_of(b, &want[1]);
	digest_pair_of(both, got);
	assert_memory_equal(got[0].b, want[0].b, DIGEST_LEN);
	assert_memory_equal(got[1].b, want[1].b, DIGEST_LEN);
}

static void
every_length_around_a_block_is_right(void **state)
{
	(void)state;
	for (size_t a = 0; a <= 200; a++)
		for (size_t b = 0; b <= 200; b += a % 7 + 1)
			check(slice_of(bytes + a % 5, a),
			    slice_of(bytes + 1000 + b % 3, b));
}

static void
random_lengths_and_places_are_right(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, 8);
	for (int i = 0; i < 300; i++) {
		const size_t a = rng_below(&rng, ROOM),
			     b = rng_below(&rng, ROOM);

		check(slice_of(bytes + a, rng_below(&rng, ROOM - a)),
		    slice_of(bytes + b, rng_below(&rng, ROOM - b)));
	}
}

static void
pieces_give_what_the_whole_gives(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, 9);
	for (int i = 0; i < 300; i++) {
		const size_t len = rng_below(&rng, ROOM / 2);
		const uint8_t *b = bytes + ROOM / 2;
		struct digest got[2], want[2];
		struct digest_pair dp;
		size_t at = 0;

		digest_pair_init(&dp);
		while (at < len) {
			size_t n =
			    DIGEST_PAIR_STEP * (size_t)rng_below(&rng, 100);

			if (n > len - at)
				n = len - at;
			digest_pair_add(&dp, bytes + at, b + at, n);
			at += n;
		}
		digest_pair_fini(&dp, got);
		digest_of(slice_of(bytes, len), &want[0]);
		digest_of(slice_of(b, len), &want[1]);
		assert_memory_equal(got, want, sizeof(want));
	}
}

/* FIPS 180-4's own examples, from the standard. */
static void
known_answers_are_given(void **state)
{
	static const uint8_t abc[4] = { 0xba, 0x78, 0x16, 0xbf };
	static const uint8_t two[4] = { 0x24, 0x8d, 0x6a, 0x61 };
	const struct slice data[2] = { SLICE_LIT("abc"),
		SLICE_LIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnop"
			  "nopq") };
	struct digest got[2];
	struct digest_pair dp;

	(void)state;
	digest_pair_of(data, got);
	assert_memory_equal(got[0].b, abc, sizeof(abc));
	assert_memory_equal(got[1].b, two, sizeof(two));
	digest_pair_init(&dp);
	digest_pair_add(&dp, data[0].ptr, data[0].ptr, data[0].len);
	digest_pair_fini(&dp, got);
	assert_memory_equal(got[1].b, abc, sizeof(abc));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_around_a_block_is_right),
		cmocka_unit_test(random_lengths_and_places_are_right),
		cmocka_unit_test(pieces_give_what_the_whole_gives),
		cmocka_unit_test(known_answers_are_given),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
