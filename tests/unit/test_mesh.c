/* Whom to dial when, and who may stay. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "mesh/mesh.h"

#define T0 (1000 * CLOCK_S)

static struct devid
device(uint8_t n)
{
	struct devid id = { { 0 } };

	id.b[0] = n;
	return id;
}

static const struct err refused = { .code = ERR_IO,
	.sys = ECONNREFUSED,
	.text = "refused" };
static const struct err late = { .code = ERR_CLOSED,
	.sys = ETIMEDOUT,
	.text = "late" };

static struct addr
parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

/* A mesh of device 5 with one peer at one address ("" = dynamic only). */
static struct mesh *
mesh_with(uint8_t peer, const char *address)
{
	const struct devid own = device(5);
	struct mesh *m = mesh_new(&own, 1);
	const struct addr at = parse(address[0] != '\0' ? address : "dynamic");
	const struct mesh_peer_config cfg = { .id = device(peer),
		.name = "peer",
		.address = &at,
		.address_count = 1 };

	mesh_configure(m, &cfg, 1, T0);
	return m;
}

static struct now
at(uint64_t ns)
{
	return (struct now){ .mono_ns = ns, .wall_ns = 77 };
}

static void
mesh_dials_at_once_and_then_backs_off_to_a_minute(void **state)
{
	struct mesh *m = mesh_with(9, "tcp://hub:1");
	struct mesh_dial d;
	uint64_t now = T0, want = 1;
	bool eager;

	(void)state;
	assert_int_equal(mesh_wake_at(m, now), T0);
	for (int i = 0; i < 60; i++) {
		assert_true(mesh_next(m, now, &d));
		assert_false(mesh_next(m, now, &d));
		assert_int_equal(mesh_wake_at(m, now), CLOCK_NEVER);
		mesh_dial_failed(m, &d, &refused, at(now));
		/* The first minute somebody may be waiting. */
		eager = now - T0 < 60 * CLOCK_S;
		assert_in_range(mesh_wake_at(m, now) - now,
		    want * CLOCK_S * 3 / 4, want * CLOCK_S * 5 / 4);
		assert_false(mesh_next(m, now, &d));
		now = mesh_wake_at(m, now);
		want = want * 2 > 60 ? 60 : want * 2;
		if (eager)
			want = 2;
	}
	assert_int_equal(want, 60);
	assert_string_equal(mesh_address_at(m, &d.id, 0)->error, "refused");
	assert_int_equal(mesh_address_at(m, &d.id, 0)->failure,
	    FAILURE_REFUSED);
	mesh_refresh(m, now - 1);
	assert_true(mesh_next(m, now - 1, &d));
	mesh_free(m);
}

static void
mesh_does_not_dial_who_is_connected_or_paused(void **state)
{
	struct mesh *m = mesh_with(9, "tcp://hub:1");
	const struct devid peer = device(9);
	const struct addr a = parse("tcp://hub:1");
	struct mesh_peer_config cfg = { .id = peer,
		.name = "peer",
		.address = &a,
		.address_count = 1,
		.paused = true };
	struct mesh_dial d;

	(void)state;
	assert_int_equal(mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, T0),
	    MESH_ACCEPT);
	assert_false(mesh_next(m, T0, &d));
	mesh_down(m, &peer, T0);
	mesh_configure(m, &cfg, 1, T0);
	assert_false(mesh_next(m, T0 + 100 * CLOCK_S, &d));
	assert_int_equal(mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, T0),
	    MESH_PAUSED);
	cfg.paused = false;
	mesh_configure(m, &cfg, 1, T0 + 1);
	assert_true(mesh_next(m, T0 + 1, &d));
	mesh_free(m);
}

static void
mesh_redials_a_lost_peer_at_once_but_not_for_ever(void **state)
{
	struct mesh *m = mesh_with(9, "tcp://hub:1");
	const struct devid peer = device(9);
	struct mesh_dial d;

	(void)state;
	for (int i = 0; i < 4; i++) {
		const uint64_t now = T0 + (uint64_t)i * CLOCK_S;

		assert_int_equal(
		    mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, now),
		    MESH_ACCEPT);
		mesh_up(m, &peer, NULL, now);
		mesh_settled(m, &peer);
		mesh_down(m, &peer, now);
		assert_int_equal(mesh_next(m, now, &d), i < 3);
		if (i < 3)
			mesh_dial_ended(m, &d);
	}
	/* Two minutes later it may again. */
	assert_int_equal(mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, T0),
	    MESH_ACCEPT);
	mesh_up(m, &peer, NULL, T0);
	mesh_settled(m, &peer);
	mesh_down(m, &peer, T0 + 130 * CLOCK_S);
	assert_true(mesh_next(m, T0 + 130 * CLOCK_S, &d));
	mesh_free(m);
}

/* A Syncthing says Hello to strangers, too, and hangs up then. */
static void
ask_a_stranger(const char *address, bool relayed)
{
	struct mesh *m = mesh_with(9, address);
	const struct devid peer = device(9);
	uint64_t now = T0;
	struct mesh_dial d;
	int dials = 0;

	while (now < T0 + 600 * CLOCK_S) {
		assert_true(mesh_next(m, now, &d));
		assert_int_equal(
		    mesh_judge(m, &peer, MESH_DIALLED, relayed, 0, now),
		    MESH_ACCEPT);
		mesh_up(m, &peer, &d, now);
		mesh_down(m, &peer, now);
		assert_true(mesh_wake_at(m, now) > now);
		if (now < T0 + 58 * CLOCK_S)
			assert_true(mesh_wake_at(m, now) - now < 3 * CLOCK_S);
		now = mesh_wake_at(m, now);
		dials++;
	}
	assert_in_range(dials, 30, 60);
	mesh_free(m);
}

static void
mesh_asks_again_soon_where_nobody_knows_us_yet(void **state)
{
	(void)state;
	ask_a_stranger("tcp://hub:1", false);
	ask_a_stranger("relay://far:1", true);
}

static void
mesh_lets_the_smaller_id_redial_first(void **state)
{
	struct mesh *m = mesh_with(3, "tcp://hub:1");
	const struct devid peer = device(3);
	struct mesh_dial d;

	(void)state;
	mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, T0);
	mesh_up(m, &peer, NULL, T0);
	mesh_settled(m, &peer);
	mesh_down(m, &peer, T0);
	assert_false(mesh_next(m, T0, &d));
	assert_true(mesh_next(m, T0 + CLOCK_S, &d));
	mesh_free(m);
}

static void
mesh_keeps_what_the_smaller_id_dialled(void **state)
{
	struct mesh *big = mesh_with(3, "tcp://hub:1");
	struct mesh *small = mesh_with(9, "tcp://hub:1");
	const struct devid three = device(3), nine = device(9);

	(void)state;
	/* We are 5; 3 is smaller: its call wins over ours. */
	assert_int_equal(mesh_judge(big, &three, MESH_DIALLED, false, 0, T0),
	    MESH_ACCEPT);
	assert_int_equal(mesh_judge(big, &three, MESH_ACCEPTED, false, 0, T0),
	    MESH_REPLACE);
	assert_int_equal(mesh_judge(big, &three, MESH_DIALLED, false, 0, T0),
	    MESH_SURPLUS);
	/* 9 is bigger: ours wins, whichever came first. */
	assert_int_equal(mesh_judge(small, &nine, MESH_DIALLED, false, 0, T0),
	    MESH_ACCEPT);
	assert_int_equal(mesh_judge(small, &nine, MESH_ACCEPTED, false, 0, T0),
	    MESH_SURPLUS);
	mesh_down(small, &nine, T0);
	assert_int_equal(mesh_judge(small, &nine, MESH_ACCEPTED, false, 0, T0),
	    MESH_ACCEPT);
	assert_int_equal(mesh_judge(small, &nine, MESH_DIALLED, false, 0, T0),
	    MESH_REPLACE);
	/* An established one stays, whoever dials. */
	mesh_up(small, &nine, NULL, T0);
	assert_int_equal(
	    mesh_judge(small, &nine, MESH_DIALLED, false, 0, T0 + CLOCK_HOUR),
	    MESH_SURPLUS);
	assert_int_equal(
	    mesh_judge(small, &nine, MESH_ACCEPTED, false, 0, T0 + CLOCK_HOUR),
	    MESH_SURPLUS);
	mesh_free(big);
	mesh_free(small);
}

static void
mesh_lets_a_peer_call_again_when_its_first_call_hangs(void **state)
{
	struct mesh *m = mesh_with(9, "");
	const struct devid peer = device(9);

	(void)state;
	mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, T0);
	assert_int_equal(
	    mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, T0 + CLOCK_S),
	    MESH_SURPLUS);
	assert_int_equal(
	    mesh_judge(m, &peer, MESH_ACCEPTED, false, 0, T0 + 3 * CLOCK_S),
	    MESH_REPLACE);
	mesh_free(m);
}

static void
mesh_knows_itself_and_strangers(void **state)
{
	struct mesh *m = mesh_with(9, "");
	const struct devid own = device(5), other = device(7);

	(void)state;
	assert_int_equal(mesh_judge(m, &own, MESH_DIALLED, false, 0, T0),
	    MESH_OWN);
	assert_int_equal(mesh_judge(m, &other, MESH_ACCEPTED, false, 0, T0),
	    MESH_UNKNOWN);
	mesh_free(m);
}

static void
mesh_gives_better_ways_a_head_start(void **state)
{
	struct mesh *m = mesh_with(9, "quic://192.168.1.5:22000");
	const struct addr at3[] = { parse("quic://192.168.1.5:22000"),
		parse("tcp://198.51.100.7:22000"),
		parse("tcp://192.168.1.5:22000") };
	const struct mesh_peer_config cfg = { .id = device(9),
		.name = "peer",
		.address = at3,
		.address_count = 3 };
	struct mesh_dial d;

	(void)state;
	mesh_configure(m, &cfg, 1, T0);
	assert_true(mesh_next(m, T0, &d));
	assert_int_equal(d.addr.scheme, ADDR_TCP);
	assert_true(addr_is_lan(&d.addr));
	assert_false(mesh_next(m, T0 + 100 * CLOCK_MS, &d));
	assert_int_equal(mesh_wake_at(m, T0 + 100 * CLOCK_MS),
	    T0 + 250 * CLOCK_MS);
	assert_true(mesh_next(m, T0 + 250 * CLOCK_MS, &d));
	assert_int_equal(d.addr.scheme, ADDR_QUIC);
	/* The next one need not wait when that one failed. */
	mesh_dial_failed(m, &d, &refused, at(T0 + 300 * CLOCK_MS));
	assert_true(mesh_next(m, T0 + 300 * CLOCK_MS, &d));
	assert_int_equal(d.addr.scheme, ADDR_TCP);
	assert_false(addr_is_lan(&d.addr));
	mesh_free(m);
}

static void
mesh_forgets_announced_addresses_after_90_s(void **state)
{
	struct mesh *m = mesh_with(9, "");
	const struct devid peer = device(9), other = device(7);
	const struct addr a = parse("tcp://192.168.1.5:22000");
	const struct addr r = parse("tcp://0.0.0.0:22000");
	struct mesh_dial d;

	(void)state;
	assert_int_equal(mesh_wake_at(m, T0), CLOCK_NEVER);
	assert_false(mesh_found(m, &other, &a, 1, T0));
	assert_false(mesh_found(m, &peer, &r, 1, T0));
	assert_true(mesh_found(m, &peer, &a, 1, T0));
	assert_false(mesh_found(m, &peer, &a, 1, T0));
	assert_true(mesh_next(m, T0, &d));
	mesh_dial_failed(m, &d, &refused, at(T0));
	assert_false(mesh_next(m, T0, &d));
	/* A new instance: it started anew, so dial at once. */
	assert_true(mesh_found(m, &peer, &a, 2, T0));
	assert_true(mesh_next(m, T0, &d));
	mesh_dial_failed(m, &d, &refused, at(T0));
	assert_false(mesh_next(m, T0 + 91 * CLOCK_S, &d));
	assert_null(mesh_address_at(m, &peer, 0));
	mesh_free(m);
}

static void
mesh_keeps_the_latest_of_what_servers_tell(void **state)
{
	struct mesh *m = mesh_with(9, "");
	const struct devid id = device(9);
	struct addr addr = parse("tcp://10.0.0.1:1");
	const struct addr near = parse("tcp://192.168.1.2:22000");
	struct devid sought;
	size_t count = 0;

	(void)state;
	assert_int_equal(mesh_sought(m, &sought, 1), 1);
	assert_true(devid_equal(&sought, &id));
	for (uint16_t i = 1; i <= 100; i++) {
		addr.port = i;
		assert_true(mesh_looked_up(m, &id, &addr, T0 + i));
		assert_false(mesh_looked_up(m, &id, &addr, T0 + i));
	}
	/* A liar leaves room for those on the cable. */
	assert_true(mesh_found(m, &id, &near, 1, T0));
	while (mesh_address_at(m, &id, count) != NULL)
		count++;
	assert_int_equal(count, MESH_LOOKED_UP + 1);
	/* Connected, it is not sought. */
	assert_int_equal(mesh_judge(m, &id, MESH_ACCEPTED, false, 0, T0),
	    MESH_ACCEPT);
	assert_int_equal(mesh_sought(m, &sought, 1), 0);
	mesh_free(m);
}

/* Device 9 at a relay, and at `direct` unless that is "". */
static struct mesh *
mesh_at_relay(const char *direct)
{
	const struct devid own = device(5);
	struct mesh *m = mesh_new(&own, 1);
	const struct addr at[] = { parse("relay://r:1"),
		parse(direct[0] != '\0' ? direct : "dynamic") };
	const struct mesh_peer_config cfg = { .id = device(9),
		.name = "peer",
		.address = at,
		.address_count = 2 };

	mesh_configure(m, &cfg, 1, T0);
	return m;
}

static void
mesh_tries_relays_after_the_rest(void **state)
{
	struct mesh *m = mesh_at_relay("tcp://hub:1");
	struct mesh_dial d;

	(void)state;
	assert_true(mesh_next(m, T0, &d));
	assert_false(addr_is_relayed(&d.addr));
	assert_false(mesh_next(m, T0, &d));
	assert_true(mesh_wake_at(m, T0) == T0 + CLOCK_S);
	assert_true(mesh_next(m, T0 + CLOCK_S, &d));
	assert_true(addr_is_relayed(&d.addr));
	mesh_free(m);
	m = mesh_at_relay("");
	assert_true(mesh_next(m, T0, &d));
	assert_true(addr_is_relayed(&d.addr));
	mesh_free(m);
}

static void
mesh_puts_a_direct_connection_in_a_relayed_ones_place(void **state)
{
	struct mesh *m = mesh_at_relay("tcp://hub:1");
	const struct devid id = device(9);
	struct mesh_dial direct, relayed;

	(void)state;
	assert_true(mesh_next(m, T0, &direct));
	assert_true(mesh_next(m, T0 + CLOCK_S, &relayed));
	assert_int_equal(
	    mesh_judge(m, &id, MESH_DIALLED, true, 0, T0 + CLOCK_S),
	    MESH_ACCEPT);
	mesh_up(m, &id, &relayed, T0 + CLOCK_S);
	mesh_settled(m, &id);
	assert_int_equal(mesh_detour(m, &id), MESH_DIRECT_UNTRIED);
	mesh_dial_failed(m, &direct, &refused, at(T0 + 2 * CLOCK_S));
	assert_int_equal(mesh_detour(m, &id), MESH_DIRECT_FAILED);
	/* It goes on trying, but for the relay. */
	assert_true(mesh_next(m, T0 + 10 * CLOCK_S, &direct));
	assert_false(addr_is_relayed(&direct.addr));
	assert_false(mesh_next(m, T0 + 100 * CLOCK_S, &relayed));
	/* Another relayed one is one too many, a direct one is not. */
	assert_int_equal(
	    mesh_judge(m, &id, MESH_ACCEPTED, true, 0, T0 + 11 * CLOCK_S),
	    MESH_SURPLUS);
	assert_int_equal(
	    mesh_judge(m, &id, MESH_DIALLED, false, 0, T0 + 11 * CLOCK_S),
	    MESH_BETTER);
	/* Own 5 is smaller: what we dialled stays. */
	assert_int_equal(
	    mesh_judge(m, &id, MESH_ACCEPTED, false, 0, T0 + 11 * CLOCK_S),
	    MESH_SURPLUS);
	mesh_better_up(m, &id, &direct);
	assert_int_equal(mesh_detour(m, &id), MESH_DIRECT);
	assert_int_equal(
	    mesh_judge(m, &id, MESH_ACCEPTED, false, 0, T0 + 12 * CLOCK_S),
	    MESH_SURPLUS);
	assert_false(mesh_next(m, T0 + 500 * CLOCK_S, &direct));
	mesh_free(m);
}

static void
mesh_keeps_the_better_one_when_the_relayed_one_ends_first(void **state)
{
	struct mesh *m = mesh_at_relay("");
	const struct devid id = device(9);
	struct mesh_dial d;

	(void)state;
	assert_true(mesh_next(m, T0, &d));
	assert_int_equal(mesh_judge(m, &id, MESH_DIALLED, true, 0, T0),
	    MESH_ACCEPT);
	mesh_up(m, &id, &d, T0);
	assert_int_equal(mesh_detour(m, &id), MESH_NO_DIRECT_WAY);
	assert_int_equal(mesh_judge(m, &id, MESH_ACCEPTED, false, 0, T0),
	    MESH_BETTER);
	mesh_down(m, &id, T0);
	/* It counts now: nobody is dialled, and it comes up. */
	assert_false(mesh_next(m, T0 + 100 * CLOCK_S, &d));
	mesh_up(m, &id, NULL, T0);
	assert_int_equal(mesh_detour(m, &id), MESH_DIRECT);
	mesh_free(m);
}

/* Device 9, connected by relay `far` of two, at T0; the way is 200 ms long. */
static struct mesh *
mesh_by_far_relay(struct mesh_dial *far, struct mesh_dial *near)
{
	struct mesh *m = mesh_new(&(struct devid){ .b = { 5 } }, 1);
	const struct devid id = device(9);
	const struct addr at[] = { parse("relay://far:1"),
		parse("relay://near:1") };
	const struct mesh_peer_config cfg = { .id = id,
		.name = "peer",
		.address = at,
		.address_count = 2 };

	mesh_configure(m, &cfg, 1, T0);
	assert_true(mesh_next(m, T0, far));
	assert_true(mesh_next(m, T0, near)); /* side by side */
	assert_true(addr_equal(&far->addr, &at[0]));
	mesh_measured(m, far, 200 * CLOCK_MS, T0);
	assert_int_equal(
	    mesh_judge(m, &id, MESH_DIALLED, true, 200 * CLOCK_MS, T0),
	    MESH_ACCEPT);
	mesh_up(m, &id, far, T0);
	mesh_dial_ended(m, near);
	mesh_may_move(m, &id, true);
	mesh_settled(m, &id);
	return m;
}

static void
mesh_moves_to_a_relay_that_is_nearer(void **state)
{
	struct mesh_dial far, near;
	struct mesh *m = mesh_by_far_relay(&far, &near);
	const struct devid id = device(9);
	uint64_t now = T0 + 30 * CLOCK_S;

	(void)state;
	assert_false(mesh_next(m, now - 1, &near));
	assert_true(mesh_wake_at(m, now - 1) == now);
	assert_true(mesh_next(m, now, &near));
	assert_false(addr_equal(&near.addr, &far.addr));
	mesh_measured(m, &near, 20 * CLOCK_MS, now);
	assert_int_equal(
	    mesh_judge(m, &id, MESH_DIALLED, true, 20 * CLOCK_MS, now),
	    MESH_BETTER);
	/* A direct one is better than that. */
	assert_int_equal(mesh_judge(m, &id, MESH_ACCEPTED, false, 0, now),
	    MESH_BETTER);
	mesh_better_down(m, &id);
	assert_int_equal(
	    mesh_judge(m, &id, MESH_DIALLED, true, 20 * CLOCK_MS, now),
	    MESH_BETTER);
	mesh_better_up(m, &id, &near);
	mesh_may_move(m, &id, true);
	mesh_settled(m, &id);
	assert_int_equal(mesh_detour(m, &id), MESH_NO_DIRECT_WAY);
	/* The other one is known to be farther: measured anew in an hour. */
	assert_false(mesh_next(m, T0 + CLOCK_HOUR - 1, &far));
	now = T0 + CLOCK_HOUR;
	assert_true(mesh_next(m, now, &far));
	/* Now about as far: it stays. */
	mesh_measured(m, &far, 18 * CLOCK_MS, now);
	assert_int_equal(
	    mesh_judge(m, &id, MESH_DIALLED, true, 18 * CLOCK_MS, now),
	    MESH_SURPLUS);
	mesh_dial_ended(m, &far);
	assert_false(mesh_next(m, now + CLOCK_HOUR - 1, &far));
	/* The nearer one is gone: all are tried, at once. */
	mesh_down(m, &id, now);
	assert_true(mesh_next(m, now + CLOCK_S, &far));
	assert_true(mesh_next(m, now + CLOCK_S, &near));
	mesh_free(m);
}

static void
mesh_lets_a_peer_of_ours_move_to_another_relay(void **state)
{
	struct mesh_dial far, near;
	struct mesh *m = mesh_by_far_relay(&far, &near);
	const struct devid id = device(9);

	(void)state;
	assert_int_equal(
	    mesh_judge(m, &id, MESH_ACCEPTED, true, 300 * CLOCK_MS, T0),
	    MESH_BETTER);
	mesh_better_up(m, &id, NULL);
	/* A Syncthing means nothing by it, and is not asked to. */
	assert_int_equal(
	    mesh_judge(m, &id, MESH_ACCEPTED, true, 10 * CLOCK_MS, T0),
	    MESH_SURPLUS);
	assert_false(mesh_next(m, T0 + CLOCK_HOUR, &near));
	mesh_free(m);
}

static void
mesh_asks_a_relay_that_does_not_answer_rarely(void **state)
{
	struct mesh_dial far, near;
	struct mesh *m = mesh_by_far_relay(&far, &near);
	uint64_t now = T0 + 30 * CLOCK_S;

	(void)state;
	assert_true(mesh_next(m, now, &near));
	mesh_dial_failed(m, &near, &refused, at(now));
	assert_false(mesh_next(m, now + 449 * CLOCK_S, &near));
	assert_true(mesh_next(m, now + 751 * CLOCK_S, &near));
	mesh_dial_failed(m, &near, &refused, at(now));
	/* A person is impatient. */
	mesh_refresh(m, now);
	assert_true(mesh_next(m, now, &near));
	mesh_free(m);
}

static void
mesh_seeks_nobody_that_sleeps(void **state)
{
	struct mesh *m = mesh_with(9, "dynamic");
	const struct devid id = device(9);
	const struct addr way = parse("quic://192.0.2.7:22000");
	struct devid sought;
	struct mesh_dial d;

	(void)state;
	assert_true(mesh_looked_up(m, &id, &way, T0));
	assert_true(mesh_next(m, T0, &d));
	assert_int_equal(mesh_judge(m, &id, MESH_DIALLED, false, 0, T0),
	    MESH_ACCEPT);
	mesh_up(m, &id, &d, T0);
	mesh_settled(m, &id);
	mesh_sleep(m, &id, T0);
	assert_int_equal(mesh_sought(m, &sought, 1), 0);
	assert_int_equal(mesh_dynamic(m, &sought, 1), 1);
	assert_false(mesh_next(m, T0 + CLOCK_MIN, &d));
	assert_true(mesh_wake_at(m, T0 + CLOCK_MIN) == CLOCK_NEVER);
	mesh_wake(m, &id, T0 + CLOCK_MIN);
	assert_int_equal(mesh_sought(m, &sought, 1), 1);
	assert_true(mesh_next(m, T0 + CLOCK_MIN, &d));
	/* Or it comes by itself. */
	assert_int_equal(mesh_judge(m, &id, MESH_ACCEPTED, false, 0, T0),
	    MESH_ACCEPT);
	mesh_up(m, &id, NULL, T0);
	mesh_sleep(m, &id, T0);
	assert_int_equal(mesh_judge(m, &id, MESH_ACCEPTED, false, 0, T0),
	    MESH_ACCEPT);
	mesh_down(m, &id, T0 + CLOCK_MIN);
	assert_int_equal(mesh_sought(m, &sought, 1), 1);
	mesh_free(m);
}

static void
mesh_does_not_listen_to_announcements_of_fixed_peers(void **state)
{
	struct mesh *m = mesh_with(9, "tcp://10.0.0.1:1");
	const struct devid peer = device(9);
	const struct addr a = parse("tcp://192.168.1.5:22000");

	(void)state;
	assert_false(mesh_found(m, &peer, &a, 1, T0));
	mesh_free(m);
}

static void
mesh_keeps_what_it_knows_through_a_new_configuration(void **state)
{
	struct mesh *m = mesh_with(9, "tcp://hub:1");
	const struct addr two[] = { parse("tcp://hub:1"),
		parse("tcp://hub:2") };
	struct mesh_peer_config cfg = { .id = device(9),
		.name = "new",
		.address = two,
		.address_count = 2 };
	const struct devid peer = device(9);
	struct mesh_dial d;

	(void)state;
	assert_true(mesh_next(m, T0, &d));
	mesh_dial_failed(m, &d, &refused, at(T0));
	mesh_configure(m, &cfg, 1, T0);
	assert_string_equal(mesh_name(m, &peer), "new");
	assert_string_equal(mesh_address_at(m, &peer, 0)->error, "refused");
	assert_true(mesh_next(m, T0, &d)); /* the new one */
	assert_int_equal(d.addr.port, 2);
	/* Removed while it is being dialled. */
	mesh_configure(m, NULL, 0, T0);
	assert_false(mesh_has(m, &peer));
	mesh_dial_failed(m, &d, &late, at(T0));
	mesh_dial_ended(m, &d);
	mesh_down(m, &peer, T0);
	mesh_free(m);
}

static void
mesh_bounds_the_dials_that_run_at_once(void **state)
{
	const struct devid own = device(5);
	struct mesh *m = mesh_new(&own, 1);
	struct addr way[8];
	struct mesh_peer_config cfg[20];
	struct mesh_dial d;
	char text[64];
	size_t count = 0;

	(void)state;
	for (int i = 0; i < 8; i++) {
		snprintf(text, sizeof(text), "tcp://hub:%d", i + 1);
		way[i] = parse(text);
	}
	for (uint8_t i = 0; i < 20; i++)
		cfg[i] =
		    (struct mesh_peer_config){ .id = device((uint8_t)(i + 10)),
			    .name = "x",
			    .address = way,
			    .address_count = 8 };
	mesh_configure(m, cfg, 1, T0);
	while (mesh_next(m, T0, &d))
		count++;
	assert_int_equal(count, 4); /* to one peer */
	mesh_configure(m, cfg, 20, T0);
	while (mesh_next(m, T0, &d))
		count++;
	assert_int_equal(count, LIMIT_DIALS);
	assert_int_equal(mesh_wake_at(m, T0), CLOCK_NEVER);
	mesh_dial_ended(m, &d);
	mesh_free(m);
}

static void
mesh_remembers_strangers_within_bounds(void **state)
{
	struct mesh *m = mesh_with(9, "");
	size_t count = 0;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		struct devid id = device(100);

		id.b[1] = (uint8_t)i;
		id.b[2] = (uint8_t)(i >> 8);
		assert_true(
		    mesh_stranger_add(m, &id, SLICE_LIT("phone\n\x1b[31m"),
			"1.2.3.4:5", (int64_t)(i + 1)));
		assert_false(mesh_stranger_add(m, &id, SLICE_LIT("phone"),
		    "1.2.3.4:5", (int64_t)(i + 2)));
	}
	while (mesh_stranger_at(m, count) != NULL)
		count++;
	assert_int_equal(count, LIMIT_STRANGERS);
	mesh_free(m);
}

static void
mesh_cleans_text_of_peers(void **state)
{
	char out[8];

	(void)state;
	mesh_clean_text(out, sizeof(out), SLICE_LIT("a\nb\x7f"));
	assert_string_equal(out, "a?b?");
	mesh_clean_text(out, sizeof(out), SLICE_LIT("abcdef\xc3\xa9"));
	assert_string_equal(out, "abcdef");
	mesh_clean_text(out, sizeof(out), SLICE_LIT("\xff"));
	assert_string_equal(out, "(not UT");
}

static void
mesh_with_scope_lan_dials_private_addresses_alone(void **state)
{
	static const char *const text[] = { "tcp://192.0.2.1:1",
		"quic://[2001:db8::1]:1", "tcp://nas.example:1",
		"relay://192.0.2.9:1", "quic://192.168.0.4:1" };
	const struct devid own = device(5), id = device(9);
	struct addr at_list[5];
	struct mesh_peer_config cfg = { .id = id,
		.name = "peer",
		.address = at_list,
		.address_count = 5 };
	struct mesh *m = mesh_new(&own, 1);
	struct mesh_dial d;

	(void)state;
	for (size_t i = 0; i < 5; i++)
		at_list[i] = parse(text[i]);
	mesh_set_lan_only(m, true);
	mesh_configure(m, &cfg, 1, T0);
	assert_true(mesh_next(m, T0, &d));
	assert_true(addr_equal(&d.addr, &at_list[4]));
	mesh_dial_failed(m, &d, &refused, at(T0));
	for (uint64_t now = T0; now < T0 + 120 * CLOCK_S; now += CLOCK_S)
		if (mesh_next(m, now, &d)) {
			assert_true(addr_equal(&d.addr, &at_list[4]));
			mesh_dial_failed(m, &d, &refused, at(now));
		}
	assert_true(mesh_leaves_out(m, &at_list[0]));
	assert_false(mesh_leaves_out(m, &at_list[4]));
	/* What one hears of is no better. */
	cfg.address_count = 0;
	mesh_configure(m, &cfg, 1, T0);
	assert_true(mesh_looked_up(m, &id, &at_list[0], T0));
	assert_false(mesh_next(m, T0, &d));
	mesh_set_lan_only(m, false);
	assert_true(mesh_next(m, T0, &d));
	mesh_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    mesh_dials_at_once_and_then_backs_off_to_a_minute),
		cmocka_unit_test(mesh_does_not_dial_who_is_connected_or_paused),
		cmocka_unit_test(
		    mesh_redials_a_lost_peer_at_once_but_not_for_ever),
		cmocka_unit_test(
		    mesh_asks_again_soon_where_nobody_knows_us_yet),
		cmocka_unit_test(mesh_lets_the_smaller_id_redial_first),
		cmocka_unit_test(mesh_keeps_what_the_smaller_id_dialled),
		cmocka_unit_test(
		    mesh_lets_a_peer_call_again_when_its_first_call_hangs),
		cmocka_unit_test(mesh_knows_itself_and_strangers),
		cmocka_unit_test(mesh_gives_better_ways_a_head_start),
		cmocka_unit_test(mesh_forgets_announced_addresses_after_90_s),
		cmocka_unit_test(mesh_keeps_the_latest_of_what_servers_tell),
		cmocka_unit_test(mesh_tries_relays_after_the_rest),
		cmocka_unit_test(mesh_seeks_nobody_that_sleeps),
		cmocka_unit_test(mesh_moves_to_a_relay_that_is_nearer),
		cmocka_unit_test(
		    mesh_lets_a_peer_of_ours_move_to_another_relay),
		cmocka_unit_test(mesh_asks_a_relay_that_does_not_answer_rarely),
		cmocka_unit_test(
		    mesh_puts_a_direct_connection_in_a_relayed_ones_place),
		cmocka_unit_test(
		    mesh_keeps_the_better_one_when_the_relayed_one_ends_first),
		cmocka_unit_test(
		    mesh_does_not_listen_to_announcements_of_fixed_peers),
		cmocka_unit_test(
		    mesh_keeps_what_it_knows_through_a_new_configuration),
		cmocka_unit_test(mesh_bounds_the_dials_that_run_at_once),
		cmocka_unit_test(mesh_remembers_strangers_within_bounds),
		cmocka_unit_test(mesh_cleans_text_of_peers),
		cmocka_unit_test(
		    mesh_with_scope_lan_dials_private_addresses_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
