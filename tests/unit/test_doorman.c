/*
 * The doorman: who comes in vain is turned away after a while, others are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "mesh/doorman.h"

static const uint64_t t0 = 1000 * CLOCK_S;

static struct addr
ip4(uint32_t n)
{
	struct addr a = { .host = ADDR_IP4 };

	memcpy(a.ip, &n, 4);
	return a;
}

static void
a_source_is_turned_away_when_it_knocked_too_often(void **state)
{
	struct doorman *d = calloc(1, sizeof(*d));
	const struct addr bad = ip4(7), other = ip4(8);

	(void)state;
	for (uint32_t i = 0; i < LIMIT_KNOCKS; i++) {
		assert_true(doorman_lets_in(d, &bad, 0, t0));
		doorman_charge(d, &bad, t0);
	}
	assert_false(doorman_lets_in(d, &bad, 0, t0));
	assert_true(doorman_lets_in(d, &other, 0, t0));
	/* One for each LIMIT_KNOCK_NS, and no fraction is lost. */
	assert_false(doorman_lets_in(d, &bad, 0, t0 + LIMIT_KNOCK_NS - 1));
	assert_true(doorman_lets_in(d, &bad, 0, t0 + LIMIT_KNOCK_NS));
	doorman_charge(d, &bad, t0 + LIMIT_KNOCK_NS * 3 / 2);
	assert_false(doorman_lets_in(d, &bad, 0, t0 + LIMIT_KNOCK_NS * 3 / 2));
	assert_true(doorman_lets_in(d, &bad, 0, t0 + LIMIT_KNOCK_NS * 2));
	/* Those that are under way count. */
	assert_true(doorman_lets_in(d, &bad, 4, t0 + LIMIT_KNOCK_NS * 6));
	assert_false(doorman_lets_in(d, &bad, 5, t0 + LIMIT_KNOCK_NS * 6));
	assert_true(doorman_lets_in(d, &other, 5, t0));
	/* In vain more often than it has tokens: never below none. */
	for (int i = 0; i < 1000; i++)
		doorman_charge(d, &bad, t0 + LIMIT_KNOCK_NS * 2);
	assert_true(doorman_lets_in(d, &bad, 0, t0 + LIMIT_KNOCK_NS * 3));
	/* All forgiven in the end; never more than at first. */
	for (uint32_t i = 0; i < LIMIT_KNOCKS; i++)
		doorman_charge(d, &bad, t0 * 1000);
	assert_false(doorman_lets_in(d, &bad, 0, t0 * 1000));
	free(d);
}

static void
an_ipv6_source_is_its_64_bits_of_network(void **state)
{
	struct doorman *d = calloc(1, sizeof(*d));
	struct addr a = { .host = ADDR_IP6, .ip = { 0x20, 1 } };
	struct addr near = a, far = a;

	(void)state;
	near.ip[15] = 9;
	far.ip[7] = 9;
	for (uint32_t i = 0; i < LIMIT_KNOCKS; i++)
		doorman_charge(d, &a, t0);
	assert_false(doorman_lets_in(d, &near, 0, t0));
	assert_true(doorman_lets_in(d, &far, 0, t0));
	free(d);
}

static void
a_million_sources_do_not_wash_away_the_worst(void **state)
{
	struct doorman *d = calloc(1, sizeof(*d));
	const struct addr bad = ip4(7);

	(void)state;
	for (uint32_t i = 0; i < LIMIT_KNOCKS; i++)
		doorman_charge(d, &bad, t0);
	for (uint32_t n = 0; n < 1000000; n++) {
		const struct addr a = ip4(n * 2654435761u);

		if (doorman_lets_in(d, &a, 0, t0))
			doorman_charge(d, &a, t0);
	}
	assert_false(doorman_lets_in(d, &bad, 0, t0));
	free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_source_is_turned_away_when_it_knocked_too_often),
		cmocka_unit_test(an_ipv6_source_is_its_64_bits_of_network),
		cmocka_unit_test(a_million_sources_do_not_wash_away_the_worst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
