/* When the waiter knocks, what it answers, when it gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "mesh/waiter.h"

#define T0 (1000 * CLOCK_S)

static enum waiter_answer
hear(struct waiter *w, enum relay_type type, int32_t code, uint64_t now_ns)
{
	struct relay_message m = { .type = type };

	if (type == RELAY_RESPONSE)
		m.u.response.code = code;
	return waiter_hear(w, &m, now_ns);
}

static void
waiter_joins_and_answers(void **state)
{
	struct waiter w;

	(void)state;
	waiter_init(&w, 1, T0);
	assert_true(waiter_is_due(&w, T0));
	waiter_knocked(&w, T0);
	assert_false(waiter_is_due(&w, T0));
	assert_int_equal(hear(&w, RELAY_RESPONSE, 0, T0), WAITER_NOTHING);
	assert_int_equal(w.state, WAITER_JOINED);
	assert_int_equal(hear(&w, RELAY_PING, 0, T0), WAITER_PONG);
	assert_int_equal(hear(&w, RELAY_INVITATION, 0, T0), WAITER_GO);
	assert_string_equal(w.why, "");
}

static void
waiter_measures_how_far_the_relay_is(void **state)
{
	struct waiter w;
	uint64_t now = T0;

	(void)state;
	waiter_init(&w, 1, T0);
	waiter_knocked(&w, T0);
	waiter_asked(&w, T0);
	assert_true(w.rtt_ns == 0);
	hear(&w, RELAY_RESPONSE, 0, T0 + 40 * CLOCK_MS);
	assert_true(w.rtt_ns == 40 * CLOCK_MS);
	/* A Pong that was not asked for tells nothing. */
	hear(&w, RELAY_PONG, 0, T0 + CLOCK_S);
	assert_true(w.rtt_ns == 40 * CLOCK_MS);
	for (int i = 1; i < 10; i++) {
		now += CLOCK_MIN;
		assert_int_equal(hear(&w, RELAY_PING, 0, now), WAITER_PONG);
	}
	now += CLOCK_MIN;
	assert_int_equal(hear(&w, RELAY_PING, 0, now), WAITER_PONG_AND_PING);
	hear(&w, RELAY_PONG, 0, now + 80 * CLOCK_MS);
	assert_true(w.rtt_ns == 50 * CLOCK_MS);
	assert_int_equal(hear(&w, RELAY_PING, 0, now + CLOCK_MIN), WAITER_PONG);
	/* What an ended connection was asked, the next one does not answer. */
	waiter_asked(&w, now);
	waiter_lost(&w, "ended", now);
	waiter_knocked(&w, now);
	hear(&w, RELAY_RESPONSE, 0, now + CLOCK_HOUR);
	assert_true(w.rtt_ns == 50 * CLOCK_MS);
}

static void
waiter_follows_nobody_before_it_has_a_place(void **state)
{
	struct waiter w;

	(void)state;
	waiter_init(&w, 1, T0);
	waiter_knocked(&w, T0);
	assert_int_equal(hear(&w, RELAY_INVITATION, 0, T0), WAITER_LEAVE);
	waiter_lost(&w, "", T0);
	waiter_knocked(&w, T0);
	assert_int_equal(hear(&w, RELAY_RESPONSE, 0, T0), WAITER_NOTHING);
	assert_int_equal(hear(&w, RELAY_CONNECT, 0, T0), WAITER_LEAVE);
	waiter_lost(&w, "", T0);
	assert_string_equal(w.why, "the relay said what it should not");
}

static void
waiter_gives_up_on_silence(void **state)
{
	struct waiter w;

	(void)state;
	waiter_init(&w, 1, T0);
	waiter_knocked(&w, T0);
	assert_false(waiter_is_over(&w, T0 + LIMIT_RELAY_NS - 1));
	assert_true(waiter_is_over(&w, T0 + LIMIT_RELAY_NS));
	hear(&w, RELAY_RESPONSE, 0, T0);
	assert_false(waiter_is_over(&w, T0 + 119 * CLOCK_S));
	hear(&w, RELAY_PING, 0, T0 + 60 * CLOCK_S);
	assert_false(waiter_is_over(&w, T0 + 179 * CLOCK_S));
	assert_true(waiter_is_over(&w, T0 + 180 * CLOCK_S));
}

static void
waiter_does_not_hurry_back_when_refused(void **state)
{
	struct waiter w;

	(void)state;
	waiter_init(&w, 1, T0);
	waiter_knocked(&w, T0);
	assert_int_equal(hear(&w, RELAY_FULL, 0, T0), WAITER_LEAVE);
	waiter_lost(&w, "gone", T0);
	assert_string_equal(w.why, "the relay is full");
	assert_true(waiter_wake_at(&w) >= T0 + 45 * CLOCK_S);
	/* But when a person asks for it. */
	waiter_refresh(&w, T0);
	assert_true(waiter_is_due(&w, T0));
	waiter_knocked(&w, T0);
	waiter_lost(&w, "connection refused", T0);
	assert_string_equal(w.why, "connection refused");
	assert_true(waiter_wake_at(&w) <= T0 + 7 * CLOCK_S);
}

static void
waiter_backs_off_to_ten_minutes(void **state)
{
	struct waiter w;
	uint64_t now = T0;

	(void)state;
	waiter_init(&w, 1, T0);
	for (int i = 0; i < 50; i++) {
		now = waiter_wake_at(&w);
		waiter_knocked(&w, now);
		waiter_lost(&w, "no", now);
	}
	assert_in_range(waiter_wake_at(&w) - now, 450 * CLOCK_S, 750 * CLOCK_S);
	/* One success, and it begins anew. */
	now = waiter_wake_at(&w);
	waiter_knocked(&w, now);
	hear(&w, RELAY_RESPONSE, 0, now);
	waiter_lost(&w, "ended", now);
	assert_true(waiter_wake_at(&w) - now <= 7 * CLOCK_S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waiter_joins_and_answers),
		cmocka_unit_test(waiter_measures_how_far_the_relay_is),
		cmocka_unit_test(waiter_follows_nobody_before_it_has_a_place),
		cmocka_unit_test(waiter_gives_up_on_silence),
		cmocka_unit_test(waiter_does_not_hurry_back_when_refused),
		cmocka_unit_test(waiter_backs_off_to_ten_minutes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
