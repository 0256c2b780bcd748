/* Who may meet whom at our relay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "mesh/switchboard.h"

#define T0 (1000 * CLOCK_S)

static struct devid
device(unsigned n)
{
	struct devid id = { { 1, (uint8_t)(n >> 8), (uint8_t)n } };

	return id;
}

/* Two keys that no other call gives. */
static void
keys(struct relay_key key[2])
{
	static uint32_t n;

	for (int i = 0; i < 2; i++) {
		key[i] = (struct relay_key){ .len = RELAY_KEY_MAX };
		n++;
		memcpy(key[i].b, &n, sizeof(n));
	}
}

static enum relay_code
ask(struct switchboard *sb, unsigned from, unsigned to, struct relay_key key[2],
    void **member)
{
	const struct devid a = device(from), b = device(to);

	keys(key);
	return switchboard_connect(sb, &a, &b, key, T0, member);
}

static void
switchboard_brings_two_together(void **state)
{
	struct switchboard *sb = switchboard_new();
	const struct devid b = device(2);
	struct relay_key key[2];
	uint64_t session;
	void *member;
	int mine = 0, side;

	(void)state;
	assert_int_equal(ask(sb, 1, 2, key, &member), RELAY_NOT_FOUND);
	assert_null(member);
	assert_int_equal(switchboard_join(sb, &b, &mine), RELAY_OK);
	assert_int_equal(switchboard_join(sb, &b, &side), RELAY_ALREADY);
	assert_int_equal(ask(sb, 1, 2, key, &member), RELAY_OK);
	assert_ptr_equal(member, &mine);
	session = switchboard_enter(sb, &key[1], &side, T0);
	assert_true(session != 0 && side == 1);
	assert_false(switchboard_is_whole(sb, session));
	/* A key opens once. */
	assert_true(switchboard_enter(sb, &key[1], &side, T0) == 0);
	assert_true(switchboard_enter(sb, &key[0], &side, T0) == session);
	assert_int_equal(side, 0);
	assert_true(switchboard_is_whole(sb, session));
	assert_true(switchboard_expire(sb, T0 + CLOCK_HOUR) == 0);
	switchboard_end(sb, session);
	assert_int_equal(switchboard_sessions(sb), 0);
	switchboard_leave(sb, &b);
	assert_int_equal(ask(sb, 1, 2, key, &member), RELAY_NOT_FOUND);
	switchboard_free(sb);
}

static void
switchboard_knows_no_guessed_or_stale_key(void **state)
{
	struct switchboard *sb = switchboard_new();
	const struct devid b = device(2);
	struct relay_key key[2], guess;
	void *member;
	int side;

	(void)state;
	switchboard_join(sb, &b, &side);
	assert_int_equal(ask(sb, 1, 2, key, &member), RELAY_OK);
	guess = key[0];
	guess.b[31] ^= 1;
	assert_true(switchboard_enter(sb, &guess, &side, T0) == 0);
	guess = key[0];
	guess.len--;
	assert_true(switchboard_enter(sb, &guess, &side, T0) == 0);
	assert_true(switchboard_enter(sb, &key[0], &side, T0 + CLOCK_MIN) == 0);
	assert_true(switchboard_expire(sb, T0 + CLOCK_MIN - 1) == 0);
	assert_true(switchboard_expire(sb, T0 + CLOCK_MIN) != 0);
	assert_true(switchboard_expire(sb, T0 + CLOCK_MIN) == 0);
	switchboard_free(sb);
}

static void
switchboard_gives_no_device_more_than_its_share(void **state)
{
	struct switchboard *sb = switchboard_new();
	struct relay_key key[2];
	struct devid id;
	void *member;
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < LIMIT_RELAY_MEMBERS; i++) {
		id = device(i);
		assert_int_equal(switchboard_join(sb, &id, sb), RELAY_OK);
	}
	id = device(LIMIT_RELAY_MEMBERS);
	assert_int_equal(switchboard_join(sb, &id, sb), RELAY_INTERNAL);
	assert_int_equal(switchboard_members(sb), LIMIT_RELAY_MEMBERS);
	/* One that asks without end. */
	while (ask(sb, 1000, n + 1, key, &member) == RELAY_OK)
		n++;
	assert_int_equal(n, LIMIT_RELAY_DEVICE);
	/* One that is asked for without end. */
	n = 0;
	while (ask(sb, 2000 + n, 400, key, &member) == RELAY_OK)
		n++;
	assert_int_equal(n, LIMIT_RELAY_DEVICE);
	/* Others still can, until all places are taken. */
	assert_int_equal(ask(sb, 1001, 401, key, &member), RELAY_OK);
	for (n = 0; n < 10000; n++)
		ask(sb, 3000 + n, n % LIMIT_RELAY_MEMBERS, key, &member);
	assert_int_equal(switchboard_sessions(sb), LIMIT_RELAY_SESSIONS);
	switchboard_free(sb);
}

static void
switchboard_connects_nobody_with_himself(void **state)
{
	struct switchboard *sb = switchboard_new();
	const struct devid a = device(1);
	struct relay_key key[2];
	void *member;

	(void)state;
	switchboard_join(sb, &a, sb);
	assert_int_equal(ask(sb, 1, 1, key, &member), RELAY_NOT_FOUND);
	switchboard_free(sb);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(switchboard_brings_two_together),
		cmocka_unit_test(switchboard_knows_no_guessed_or_stale_key),
		cmocka_unit_test(
		    switchboard_gives_no_device_more_than_its_share),
		cmocka_unit_test(switchboard_connects_nobody_with_himself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
