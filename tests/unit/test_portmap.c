/*
 * Ports asked of a router that a test plays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "mesh/portmap.h"

static const struct portmap_port quic = { ADDR_QUIC, 22000 };
static const struct portmap_port tcp = { ADDR_TCP, 22000 };

struct router {
	struct portmap *pm;
	struct portmap_ask ask; /* the last one */
	uint64_t now_ns;
};

static int
start(void **state)
{
	static struct router r;
	const uint8_t nonce[PCP_NONCE_LEN] = { 9 };

	r = (struct router){ .pm = portmap_new(1, nonce),
		.now_ns = 100 * CLOCK_S };
	*state = &r;
	return 0;
}

static int
end(void **state)
{
	struct router *r = *state;

	portmap_free(r->pm);
	return 0;
}

static void
want(struct router *r, const struct portmap_port *port, size_t count)
{
	portmap_set(r->pm, port, count, r->now_ns);
}

static bool
asks(struct router *r)
{
	return portmap_next(r->pm, r->now_ns, &r->ask);
}

static struct addr
address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static void
answer(struct router *r, enum portmap_code code, const char *outer,
    uint32_t lease_s)
{
	struct portmap_answer a = { .code = code, .lease_s = lease_s };

	a.router = address("tcp://192.168.1.1:5351");
	if (outer != NULL)
		a.outer = address(outer);
	snprintf(a.why, sizeof(a.why), "said so");
	portmap_answered(r->pm, &r->ask, &a, r->now_ns);
}

static void
grant(struct router *r, uint32_t lease_s)
{
	answer(r, PORTMAP_GRANTED, "tcp://203.0.113.7:40000", lease_s);
}

static size_t
own(const struct router *r)
{
	struct addr a[PORTMAP_PORTS];

	return portmap_own(r->pm, a, PORTMAP_PORTS);
}

static void
wait(struct router *r)
{
	assert_true(portmap_wake_at(r->pm) != CLOCK_NEVER);
	if (portmap_wake_at(r->pm) > r->now_ns)
		r->now_ns = portmap_wake_at(r->pm);
}

static void
nothing_is_asked_when_nothing_is_wanted(void **state)
{
	struct router *r = *state;

	assert_false(asks(r));
	assert_true(portmap_wake_at(r->pm) == CLOCK_NEVER);
	want(r, NULL, 0);
	assert_false(asks(r));
}

static void
the_methods_are_asked_in_turn_and_the_good_one_is_kept(void **state)
{
	struct router *r = *state;
	const struct portmap_port both[] = { quic, tcp };
	struct portmap_state s;
	struct addr a[2];

	want(r, both, 2);
	for (unsigned m = 0; m < PORTMAP_METHODS; m++) {
		assert_true(asks(r));
		assert_int_equal(r->ask.method, m);
		assert_int_equal(r->ask.port.scheme, ADDR_QUIC);
		assert_false(asks(r)); /* one at a time */
		if (m < PORTMAP_UPNP)
			answer(r, PORTMAP_NO_ANSWER, NULL, 0);
	}
	grant(r, 3600);
	assert_int_equal(portmap_own(r->pm, a, 2), 1);
	assert_int_equal(a[0].scheme, ADDR_QUIC);
	assert_int_equal(a[0].port, 40000);
	assert_true(portmap_state_at(r->pm, 0, &s));
	assert_true(s.open);
	assert_string_equal(portmap_method_text(s.method), "upnp");
	assert_string_equal(s.why, "");
}

static void
an_open_port_is_renewed_at_half_its_lease_with_the_same_number(void **state)
{
	struct router *r = *state;
	uint64_t changes;

	want(r, &quic, 1);
	assert_true(asks(r));
	assert_int_equal(r->ask.outer, 22000);
	grant(r, 600);
	changes = portmap_changes(r->pm);
	assert_true(portmap_wake_at(r->pm) == r->now_ns + 300 * CLOCK_S);
	wait(r);
	assert_true(asks(r));
	assert_int_equal(r->ask.method, PORTMAP_PCP);
	assert_int_equal(r->ask.outer, 40000);
	assert_false(r->ask.remove);
	grant(r, UINT32_MAX); /* a lie, or nearly: looked after all the same */
	assert_true(portmap_wake_at(r->pm) == r->now_ns + 600 * CLOCK_S);
	assert_true(portmap_changes(r->pm) == changes);
}

static void
a_lease_of_a_second_is_not_asked_for_every_half_a_second(void **state)
{
	struct router *r = *state;

	want(r, &quic, 1);
	assert_true(asks(r));
	grant(r, 1);
	assert_true(portmap_wake_at(r->pm) >= r->now_ns + 20 * CLOCK_S);
}

static void
a_router_that_does_not_open_is_asked_more_and_more_seldom(void **state)
{
	struct router *r = *state;
	uint64_t before = r->now_ns;
	struct portmap_state s;

	want(r, &quic, 1);
	for (unsigned round = 0; round < 8; round++) {
		uint64_t pause;

		for (unsigned m = 0; m < PORTMAP_METHODS; m++) {
			assert_true(asks(r));
			answer(r, PORTMAP_REFUSED, NULL, 0);
		}
		assert_false(asks(r));
		before = r->now_ns;
		wait(r);
		pause = (r->now_ns - before) / CLOCK_S;
		assert_in_range(pause, round < 4 ? 225u << round : 2700,
		    round < 4 ? 375u << round : 4500);
	}
	assert_true(portmap_state_at(r->pm, 0, &s));
	assert_false(s.open);
	assert_string_equal(s.why, "said so");
	/* Somebody is impatient. */
	assert_true(asks(r));
	answer(r, PORTMAP_REFUSED, NULL, 0);
	portmap_refresh(r->pm, r->now_ns);
	assert_true(asks(r));
}

static void
a_port_that_can_not_be_renewed_is_closed_in_the_end(void **state)
{
	struct router *r = *state;

	want(r, &quic, 1);
	assert_true(asks(r));
	grant(r, 3600);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(own(r), 1);
		wait(r);
		assert_true(asks(r));
		answer(r, PORTMAP_NO_ANSWER, NULL, 0);
	}
	assert_int_equal(own(r), 0);
	assert_true(asks(r)); /* and asked for as new */
}

static void
an_address_that_is_not_public_is_not_told(void **state)
{
	static const char *const outer[] = { "tcp://192.168.0.2:40000",
		"tcp://100.64.0.2:40000", "tcp://169.254.1.1:40000" };
	struct router *r = *state;
	struct portmap_state s;

	want(r, &quic, 1);
	for (size_t i = 0; i < sizeof(outer) / sizeof(outer[0]); i++) {
		assert_true(asks(r));
		assert_int_equal(r->ask.method, PORTMAP_PCP);
		answer(r, PORTMAP_GRANTED, outer[i], 3600);
		assert_int_equal(own(r), 0);
		assert_true(portmap_state_at(r->pm, 0, &s));
		assert_false(s.open);
		assert_non_null(strstr(s.why, "behind another"));
		wait(r);
	}
}

static void
an_address_that_is_none_is_no_grant(void **state)
{
	static const char *const outer[] = { "tcp://0.0.0.0:40000",
		"tcp://127.0.0.1:40000", "tcp://224.0.0.1:40000",
		"tcp://255.255.255.255:1", "tcp://[2001:db8::1]:40000",
		"tcp://203.0.113.7:0" };
	struct router *r = *state;

	want(r, &quic, 1);
	for (size_t i = 0; i < sizeof(outer) / sizeof(outer[0]); i++) {
		assert_true(asks(r));
		assert_int_equal(r->ask.method, i % PORTMAP_METHODS);
		answer(r, PORTMAP_GRANTED, outer[i], 3600);
		assert_int_equal(own(r), 0);
		wait(r);
	}
}

static void
a_taken_port_is_asked_for_with_another_number(void **state)
{
	struct router *r = *state;
	uint16_t before;

	want(r, &quic, 1);
	assert_true(asks(r));
	before = r->ask.outer;
	for (unsigned i = 0; i < 4; i++) {
		answer(r, PORTMAP_TAKEN, NULL, 0);
		assert_true(asks(r));
		assert_int_equal(r->ask.method, PORTMAP_PCP);
		assert_int_not_equal(r->ask.outer, before);
		assert_true(r->ask.outer >= 1024);
		before = r->ask.outer;
	}
	answer(r, PORTMAP_TAKEN, NULL, 0);
	assert_true(asks(r));
	assert_int_equal(r->ask.method, PORTMAP_NATPMP);
}

static void
a_router_without_leases_is_asked_for_ever_once(void **state)
{
	struct router *r = *state;

	want(r, &quic, 1);
	assert_true(asks(r));
	assert_int_equal(r->ask.lease_s, 3600);
	answer(r, PORTMAP_FOR_EVER, NULL, 0);
	assert_true(asks(r));
	assert_int_equal(r->ask.lease_s, 0);
	answer(r, PORTMAP_FOR_EVER, NULL, 0);
	assert_true(asks(r));
	assert_int_equal(r->ask.method, PORTMAP_NATPMP);
	assert_int_equal(r->ask.lease_s, 3600);
}

static void
what_is_not_wanted_any_more_is_given_back(void **state)
{
	struct router *r = *state;
	const struct portmap_port both[] = { quic, tcp };

	want(r, both, 2);
	assert_true(asks(r));
	grant(r, 3600);
	assert_true(asks(r));
	grant(r, 3600);
	assert_int_equal(own(r), 2);
	want(r, &tcp, 1);
	assert_int_equal(own(r), 1);
	assert_true(asks(r));
	assert_true(r->ask.remove);
	assert_int_equal(r->ask.port.scheme, ADDR_QUIC);
	assert_int_equal(r->ask.outer, 40000);
	answer(r, PORTMAP_NO_ANSWER, NULL, 0); /* it was told once */
	assert_false(asks(r));
	/* Wanted no more while the question is on its way. */
	want(r, &quic, 1);
	while (asks(r) && r->ask.remove)
		answer(r, PORTMAP_GRANTED, NULL, 0);
	assert_int_equal(r->ask.port.scheme, ADDR_QUIC);
	want(r, NULL, 0);
	grant(r, 3600);
	assert_int_equal(own(r), 0);
	assert_true(asks(r));
	assert_true(r->ask.remove);
	answer(r, PORTMAP_GRANTED, NULL, 0);
	assert_true(portmap_wake_at(r->pm) == CLOCK_NEVER);
}

static void
grant_at(struct router *r, uint32_t epoch_s)
{
	struct portmap_answer a = { .code = PORTMAP_GRANTED,
		.lease_s = 3600,
		.has_epoch = true,
		.epoch_s = epoch_s };

	a.router = address("tcp://192.168.1.1:5351");
	a.outer = address("tcp://203.0.113.7:40000");
	portmap_answered(r->pm, &r->ask, &a, r->now_ns);
}

static void
a_router_whose_clock_went_back_is_asked_for_all(void **state)
{
	struct router *r = *state;
	const struct portmap_port both[] = { quic, tcp };

	want(r, both, 2);
	assert_true(asks(r));
	grant_at(r, 5000);
	assert_true(asks(r));
	grant_at(r, 5000);
	r->now_ns += 300 * CLOCK_S;
	assert_false(asks(r));
	r->now_ns += 300 * CLOCK_S;
	assert_true(asks(r));
	grant_at(r, 5600);
	assert_true(asks(r));
	grant_at(r, 5601);
	assert_false(asks(r));
	r->now_ns += 300 * CLOCK_S;
	portmap_refresh(r->pm, r->now_ns);
	assert_true(asks(r));
	grant_at(r, 5900);
	r->now_ns += CLOCK_S;
	assert_true(asks(r));
	grant_at(r, 3); /* and so the other is asked for again, too */
	assert_true(asks(r));
	grant_at(r, 3);
	assert_false(asks(r));
}

static void
a_router_whose_clock_jumps_is_not_asked_more_often_for_it(void **state)
{
	struct router *r = *state;
	const struct portmap_port both[] = { quic, tcp };
	const uint64_t end = r->now_ns + 3600 * CLOCK_S;
	unsigned asked = 0;

	want(r, both, 2);
	while (r->now_ns < end) {
		while (asks(r)) {
			asked++;
			grant_at(r, asked * 7919 % 100000);
		}
		wait(r);
	}
	/* Two ports, each 30 s at most. */
	assert_in_range(asked, 2 * 6, 2 * 121);
}

static void
a_router_that_tells_of_its_start_is_asked_at_once(void **state)
{
	static const uint8_t fresh[12] = { 0, 128, 0, 0, 0, 0, 0, 1 };
	static const uint8_t same[12] = { 0, 128, 0, 0, 0, 0, 0x13, 0x92 };
	const struct addr stranger = address("tcp://192.168.1.66:5351");
	const struct addr router = address("tcp://192.168.1.1:5351");
	struct router *r = *state;

	want(r, &quic, 1);
	assert_true(asks(r));
	grant_at(r, 5000);
	r->now_ns += 10 * CLOCK_S;
	portmap_heard(r->pm, slice_of(same, 12), &router, r->now_ns);
	portmap_heard(r->pm, slice_of(fresh, 12), &stranger, r->now_ns);
	portmap_heard(r->pm, slice_of(fresh, 11), &router, r->now_ns);
	assert_false(asks(r));
	portmap_heard(r->pm, slice_of(fresh, 12), &router, r->now_ns);
	assert_true(asks(r));
	assert_int_equal(own(r), 1); /* it may well be there still */
}

static void
another_router_has_nothing_of_the_old_ones(void **state)
{
	struct router *r = *state;
	struct portmap_answer a = { .code = PORTMAP_REFUSED };
	const uint64_t changes = portmap_changes(r->pm);

	want(r, &quic, 1);
	assert_true(asks(r));
	grant_at(r, 5000);
	portmap_refresh(r->pm, r->now_ns);
	assert_true(asks(r));
	a.router = address("tcp://192.168.178.1:5351");
	portmap_answered(r->pm, &r->ask, &a, r->now_ns);
	assert_int_equal(own(r), 0);
	assert_true(portmap_changes(r->pm) > changes);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_asked_when_nothing_is_wanted),
		TEST(the_methods_are_asked_in_turn_and_the_good_one_is_kept),
		TEST(
		    an_open_port_is_renewed_at_half_its_lease_with_the_same_number),
		TEST(a_lease_of_a_second_is_not_asked_for_every_half_a_second),
		TEST(a_router_that_does_not_open_is_asked_more_and_more_seldom),
		TEST(a_port_that_can_not_be_renewed_is_closed_in_the_end),
		TEST(an_address_that_is_not_public_is_not_told),
		TEST(an_address_that_is_none_is_no_grant),
		TEST(a_taken_port_is_asked_for_with_another_number),
		TEST(a_router_without_leases_is_asked_for_ever_once),
		TEST(what_is_not_wanted_any_more_is_given_back),
		TEST(a_router_whose_clock_went_back_is_asked_for_all),
		TEST(a_router_whose_clock_jumps_is_not_asked_more_often_for_it),
		TEST(a_router_that_tells_of_its_start_is_asked_at_once),
		TEST(another_router_has_nothing_of_the_old_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
