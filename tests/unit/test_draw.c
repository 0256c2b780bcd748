/*
 * Drawn bytes: the same ones from the same key, others each time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "mesh/draw.h"

static const uint8_t key[DRAW_KEY_LEN] = { 1, 2, 3 };

static void
one_key_draws_the_same_bytes_again(void **state)
{
	uint8_t a[DRAW_MAX], b[DRAW_MAX];
	struct draw one, two;

	(void)state;
	draw_init(&one, key);
	draw_init(&two, key);
	for (int i = 0; i < 3; i++) {
		draw_next(&one, a, sizeof(a));
		draw_next(&two, b, sizeof(b));
		assert_memory_equal(a, b, sizeof(a));
	}
}

static void
no_two_of_a_thousand_draws_are_alike(void **state)
{
	static uint8_t drawn[1000][8];
	struct draw d;

	(void)state;
	draw_init(&d, key);
	for (size_t i = 0; i < 1000; i++) {
		draw_next(&d, drawn[i], sizeof(drawn[i]));
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(drawn[i], drawn[j], 8);
	}
}

static void
another_key_draws_other_bytes(void **state)
{
	const uint8_t other_key[DRAW_KEY_LEN] = { 1, 2, 4 };
	uint8_t a[DRAW_MAX], b[DRAW_MAX];
	struct draw one, two;

	(void)state;
	draw_init(&one, key);
	draw_init(&two, other_key);
	draw_next(&one, a, sizeof(a));
	draw_next(&two, b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

static void
a_short_draw_is_not_longer_than_asked(void **state)
{
	uint8_t out[8] = { 0 };
	struct draw d;

	(void)state;
	draw_init(&d, key);
	draw_next(&d, out, 4);
	assert_memory_not_equal(out, "\0\0\0\0", 4);
	assert_memory_equal(out + 4, "\0\0\0\0", 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_key_draws_the_same_bytes_again),
		cmocka_unit_test(no_two_of_a_thousand_draws_are_alike),
		cmocka_unit_test(another_key_draws_other_bytes),
		cmocka_unit_test(a_short_draw_is_not_longer_than_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
