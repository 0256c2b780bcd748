/* When two ends let go of a link that nobody needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "mesh/rest.h"

#define T0 (1000 * CLOCK_S)
#define AFTER (300 * CLOCK_S)

static void
rest_comes_when_both_agree(void **state)
{
	struct rest a, b;
	const uint64_t now = T0 + AFTER;

	(void)state;
	rest_init(&a, T0);
	rest_init(&b, T0 + 10 * CLOCK_S);
	assert_true(rest_due_at(&a, AFTER) == now);
	rest_asked(&a, now);
	assert_int_equal(rest_hear(&b, REST_ASK, AFTER, now), REST_SAY_AGREE);
	assert_int_equal(rest_hear(&a, REST_AGREE, AFTER, now), REST_CLOSE);
	assert_true(rest_is_agreed(&a));
	assert_true(rest_is_agreed(&b));
	assert_true(rest_due_at(&b, AFTER) == CLOCK_NEVER);
}

static void
rest_waits_for_who_is_busy(void **state)
{
	struct rest a, b;
	const uint64_t now = T0 + AFTER;

	(void)state;
	rest_init(&a, T0);
	rest_init(&b, T0);
	rest_use(&b, now - CLOCK_S);
	rest_asked(&a, now);
	assert_int_equal(rest_hear(&b, REST_ASK, AFTER, now), REST_NOTHING);
	/* Or does not rest at all. */
	assert_int_equal(rest_hear(&b, REST_ASK, 0, now + CLOCK_HOUR),
	    REST_NOTHING);
	assert_false(rest_is_agreed(&b));
	/* It is asked again later, and not at once. */
	assert_true(rest_due_at(&a, AFTER) == now + AFTER);
	assert_true(rest_due_at(&a, 0) == CLOCK_NEVER);
}

static void
rest_is_over_with_the_first_word_of_use(void **state)
{
	struct rest a, b;
	const uint64_t now = T0 + AFTER;

	(void)state;
	rest_init(&a, T0);
	rest_init(&b, T0);
	rest_asked(&a, now);
	assert_int_equal(rest_hear(&b, REST_ASK, AFTER, now), REST_SAY_AGREE);
	/* While that is on its way, one has something to say. */
	rest_use(&a, now);
	assert_int_equal(rest_hear(&a, REST_AGREE, AFTER, now), REST_NOTHING);
	assert_false(rest_is_agreed(&a));
	rest_use(&b, now);
	assert_false(rest_is_agreed(&b));
}

static void
rest_hears_no_answer_that_was_not_asked_for(void **state)
{
	struct rest a;

	(void)state;
	rest_init(&a, T0);
	assert_int_equal(rest_hear(&a, REST_AGREE, AFTER, T0 + CLOCK_HOUR),
	    REST_NOTHING);
	assert_false(rest_is_agreed(&a));
}

static void
rest_reads_its_own_words_alone(void **state)
{
	static const uint8_t others[][REST_WORD_LEN] = { { 'P', 1, 1 },
		{ 'Z', 2, 1 }, { 'Z', 1, 0 }, { 'Z', 1, 3 } };
	uint8_t body[REST_WORD_LEN];
	enum rest_word word;

	(void)state;
	for (int w = REST_ASK; w <= REST_AGREE; w++) {
		rest_encode((enum rest_word)w, body);
		assert_true(rest_decode(&word, slice_of(body, sizeof(body))));
		assert_int_equal(word, w);
	}
	assert_false(rest_decode(&word, slice_of(body, 2)));
	assert_false(rest_decode(&word, slice_of(body, 0)));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(
		    rest_decode(&word, slice_of(others[i], REST_WORD_LEN)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rest_comes_when_both_agree),
		cmocka_unit_test(rest_waits_for_who_is_busy),
		cmocka_unit_test(rest_is_over_with_the_first_word_of_use),
		cmocka_unit_test(rest_hears_no_answer_that_was_not_asked_for),
		cmocka_unit_test(rest_reads_its_own_words_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
