/* When the caller dials, what it says, what it says again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "mesh/coord_caller.h"

#define T0 (1000 * CLOCK_S)

static const struct coord_id domain = { "domain" };
static const uint8_t head[32] = "head";
static struct arena arena;

/* Takes the next message it says; 0 when it says nothing. */
static enum coord_type
said(struct coord_caller *c, struct coord_message *m)
{
	struct buf *out = coord_caller_out(c);
	struct slice copy = arena_dup(&arena, buf_slice(out));
	size_t used;

	if (out->len == 0)
		return (enum coord_type)0;
	assert_int_equal(coord_decode(m, copy, &used, &arena, NULL), 1);
	buf_consume(out, used);
	return m->type;
}

static void
expect(struct coord_caller *c, enum coord_type type)
{
	struct coord_message m;

	assert_int_equal(said(c, &m), type);
}

static enum coord_caller_answer
hear(struct coord_caller *c, enum coord_type type, uint64_t now_ns)
{
	struct coord_message m = { .type = type };

	if (type == COORD_WELCOME) {
		m.u.welcome.version = 1;
		m.u.welcome.idle_s = 100;
	}
	return coord_caller_hear(c, &m, now_ns);
}

static enum coord_caller_answer
hear_box(struct coord_caller *c, uint32_t box)
{
	struct coord_message m = { .type = COORD_BOX, .u.mail.box = box };

	return coord_caller_hear(c, &m, T0);
}

static enum coord_caller_answer
hear_refused(struct coord_caller *c, enum coord_code code, enum coord_type of)
{
	struct coord_message m = { .type = COORD_REFUSED };

	m.u.refused.code = code;
	m.u.refused.of = of;
	return coord_caller_hear(c, &m, T0);
}

/* One that was welcomed, with what it says of itself taken. */
static struct coord_caller *
up(void)
{
	struct coord_caller *c = coord_caller_new(1, T0);

	coord_caller_set_domain(c, &domain, 3, head);
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	expect(c, COORD_HELLO);
	assert_int_equal(hear(c, COORD_WELCOME, T0), COORD_CALLER_UP);
	expect(c, COORD_PING);
	assert_int_equal(hear(c, COORD_PONG, T0 + 5), COORD_CALLER_NOTHING);
	return c;
}

static void
caller_says_hello_and_who_it_is(void **state)
{
	struct coord_caller *c = coord_caller_new(1, T0);
	struct coord_message m;

	(void)state;
	assert_true(coord_caller_is_due(c, T0));
	coord_caller_dialled(c, T0);
	assert_false(coord_caller_is_due(c, T0));
	coord_caller_opened(c, T0);
	assert_int_equal(said(c, &m), COORD_HELLO);
	assert_false(m.u.hello.has_domain);
	assert_int_equal(m.u.hello.version, COORD_VERSION);
	coord_caller_free(c);
	c = coord_caller_new(1, T0);
	coord_caller_set_domain(c, &domain, 3, head);
	coord_caller_set_run(c, 4711);
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	assert_int_equal(said(c, &m), COORD_HELLO);
	assert_true(m.u.hello.has_domain);
	assert_int_equal(m.u.hello.seq, 3);
	assert_memory_equal(m.u.hello.domain.b, domain.b, 32);
	assert_memory_equal(m.u.hello.head, head, 32);
	assert_int_equal(m.u.hello.run, 4711);
	coord_caller_free(c);
}

static void
caller_dials_again_after_longer_and_longer_pauses(void **state)
{
	struct coord_caller *c = coord_caller_new(1, T0);
	uint64_t now_ns = T0, pause_ns = CLOCK_S;

	(void)state;
	for (int i = 0; i < 10; i++) {
		uint64_t at;

		coord_caller_dialled(c, now_ns);
		assert_null(coord_caller_over(c, now_ns));
		assert_string_equal(
		    coord_caller_over(c, now_ns + LIMIT_COORD_NS), "no answer");
		coord_caller_lost(c, "refused", now_ns);
		assert_string_equal(coord_caller_why(c), "refused");
		at = coord_caller_wake_at(c);
		assert_in_range(at - now_ns, pause_ns * 3 / 4,
		    pause_ns * 5 / 4);
		assert_false(coord_caller_is_due(c, at - 1));
		assert_true(coord_caller_is_due(c, at));
		now_ns = at;
		pause_ns =
		    pause_ns * 2 < 60 * CLOCK_S ? pause_ns * 2 : 60 * CLOCK_S;
	}
	coord_caller_dialled(c, now_ns);
	coord_caller_lost(c, "refused", now_ns);
	coord_caller_refresh(c, now_ns);
	assert_true(coord_caller_is_due(c, now_ns));
	coord_caller_free(c);
}

static void
caller_that_held_starts_with_short_pauses(void **state)
{
	struct coord_caller *c = coord_caller_new(1, T0);
	uint64_t now_ns = T0;

	(void)state;
	for (int i = 0; i < 8; i++) {
		coord_caller_dialled(c, now_ns);
		coord_caller_opened(c, now_ns);
		assert_int_equal(hear(c, COORD_WELCOME, now_ns),
		    COORD_CALLER_UP);
		coord_caller_lost(c, "gone", now_ns);
	}
	/* Welcomed and thrown out at once: that is no reason to hurry. */
	assert_true(coord_caller_wake_at(c) > now_ns + 40 * CLOCK_S);
	coord_caller_dialled(c, now_ns);
	coord_caller_opened(c, now_ns);
	assert_int_equal(hear(c, COORD_WELCOME, now_ns), COORD_CALLER_UP);
	now_ns += LIMIT_COORD_HELD_NS;
	coord_caller_lost(c, "gone", now_ns);
	assert_true(coord_caller_wake_at(c) < now_ns + 2 * CLOCK_S);
	coord_caller_free(c);
}

static void
caller_tells_everything_again_after_a_break(void **state)
{
	struct coord_caller *c = up();
	struct devid id = { { 7 } };
	struct coord_message m;
	struct addr addr;

	(void)state;
	assert_int_equal(
	    addr_parse(&addr, SLICE_LIT("tcp://192.0.2.1:22000"), NULL), 0);
	coord_caller_publish(c, &addr, 1, T0);
	coord_caller_want(c, &id, 1, T0);
	expect(c, COORD_PUBLISH);
	expect(c, COORD_WANT);
	/* The same once more is no news. */
	coord_caller_publish(c, &addr, 1, T0);
	coord_caller_want(c, &id, 1, T0);
	expect(c, (enum coord_type)0);
	coord_caller_lost(c, "gone", T0);
	coord_caller_publish(c, &addr, 1, T0);
	expect(c, (enum coord_type)0);
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	expect(c, COORD_HELLO);
	assert_int_equal(hear(c, COORD_WELCOME, T0), COORD_CALLER_UP);
	expect(c, COORD_PING);
	assert_int_equal(said(c, &m), COORD_PUBLISH);
	assert_int_equal(m.u.where.count, 1);
	assert_int_equal(said(c, &m), COORD_WANT);
	assert_true(devid_equal(&m.u.want.id[0], &id));
	coord_caller_free(c);
}

static void
caller_tells_a_flapping_address_once_a_second(void **state)
{
	struct coord_caller *c = up();
	struct coord_message m;
	unsigned told = 0;
	struct addr addr;

	(void)state;
	assert_int_equal(
	    addr_parse(&addr, SLICE_LIT("tcp://192.0.2.1:1"), NULL), 0);
	for (unsigned i = 0; i < 100; i++) {
		addr.port = (uint16_t)(i + 1);
		coord_caller_publish(c, &addr, 1, T0);
		while (said(c, &m) != 0)
			told++;
	}
	assert_in_range(told, 1, 8);
	assert_in_range(coord_caller_wake_at(c), T0 + 1, T0 + 2 * CLOCK_S);
	coord_caller_tick(c, T0 + 2 * CLOCK_S);
	assert_int_equal(said(c, &m), COORD_PUBLISH);
	assert_int_equal(m.u.where.addr[0].port, 100);
	coord_caller_tick(c, T0 + 3 * CLOCK_S);
	expect(c, (enum coord_type)0);
	coord_caller_free(c);
}

static void
caller_as_a_stranger_tells_nothing(void **state)
{
	struct coord_caller *c = coord_caller_new(1, T0);
	struct devid id = { { 7 } };

	(void)state;
	coord_caller_want(c, &id, 1, T0);
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	expect(c, COORD_HELLO);
	assert_false(coord_caller_mail(c, 4271, 0, SLICE_LIT("early")));
	assert_int_equal(hear(c, COORD_WELCOME, T0), COORD_CALLER_UP);
	expect(c, COORD_PING);
	expect(c, (enum coord_type)0);
	assert_false(coord_caller_signal(c, &id, SLICE_LIT("hi")));
	assert_false(coord_caller_open_box(c));
	assert_true(coord_caller_mail(c, 4271, 0, SLICE_LIT("letter")));
	expect(c, COORD_MAIL);
	assert_int_equal(hear(c, COORD_MAIL, T0), COORD_CALLER_TELL);
	/* What is for members is not for it. */
	assert_int_equal(hear(c, COORD_WHERE, T0), COORD_CALLER_LEAVE);
	coord_caller_free(c);
}

static void
caller_with_another_domain_dials_anew(void **state)
{
	struct coord_caller *c = up();
	const struct coord_id other = { "other" };

	(void)state;
	coord_caller_set_domain(c, &domain, 4, head);
	assert_null(coord_caller_over(c, T0));
	coord_caller_set_domain(c, &other, 1, head);
	assert_non_null(coord_caller_over(c, T0));
	assert_true(coord_caller_wake_at(c) <= T0);
	coord_caller_lost(c, coord_caller_over(c, T0), T0);
	assert_true(coord_caller_wake_at(c) < T0 + 2 * CLOCK_S);
	coord_caller_free(c);
}

static void
caller_pings_when_silent_and_gives_up_unanswered(void **state)
{
	struct coord_caller *c = up();

	(void)state;
	assert_int_equal(coord_caller_rtt_ns(c), 5);
	assert_int_equal(coord_caller_wake_at(c), T0 + 100 * CLOCK_S);
	coord_caller_tick(c, T0 + 99 * CLOCK_S);
	expect(c, (enum coord_type)0);
	coord_caller_tick(c, T0 + 100 * CLOCK_S);
	expect(c, COORD_PING);
	assert_null(coord_caller_over(c, T0 + 100 * CLOCK_S));
	assert_non_null(
	    coord_caller_over(c, T0 + 100 * CLOCK_S + LIMIT_COORD_NS));
	assert_int_equal(hear(c, COORD_PONG, T0 + 101 * CLOCK_S),
	    COORD_CALLER_NOTHING);
	assert_int_equal(coord_caller_rtt_ns(c), CLOCK_S);
	assert_null(coord_caller_over(c, T0 + 200 * CLOCK_S));
	assert_int_equal(hear(c, COORD_PING, T0), COORD_CALLER_NOTHING);
	expect(c, COORD_PONG);
	coord_caller_free(c);
}

static void
caller_leaves_one_that_does_not_keep_to_it(void **state)
{
	static const enum coord_type early[] = { COORD_ENTRIES, COORD_PING,
		COORD_SIGNAL, COORD_HELLO };
	static const enum coord_type later[] = { COORD_WELCOME, COORD_HELLO,
		COORD_PUBLISH, COORD_WANT, COORD_BOX };
	struct coord_caller *c;

	(void)state;
	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
		c = coord_caller_new(1, T0);
		coord_caller_dialled(c, T0);
		coord_caller_opened(c, T0);
		assert_int_equal(hear(c, early[i], T0), COORD_CALLER_LEAVE);
		coord_caller_free(c);
	}
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		c = up();
		assert_int_equal(hear(c, later[i], T0), COORD_CALLER_LEAVE);
		coord_caller_free(c);
	}
}

static void
caller_remembers_why_it_was_refused(void **state)
{
	struct coord_caller *c = coord_caller_new(1, T0);

	(void)state;
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	assert_int_equal(hear_refused(c, COORD_NOT_MEMBER, COORD_HELLO),
	    COORD_CALLER_TELL);
	assert_non_null(coord_caller_over(c, T0));
	coord_caller_lost(c, "the peer hung up", T0);
	assert_string_equal(coord_caller_why(c),
	    coord_code_text(COORD_NOT_MEMBER));
	coord_caller_free(c);
	/* Refused later on, too: a member that was removed. */
	c = up();
	assert_int_equal(hear_refused(c, COORD_NOT_HERE, COORD_SIGNAL),
	    COORD_CALLER_TELL);
	assert_null(coord_caller_over(c, T0));
	assert_int_equal(hear_refused(c, COORD_NOT_MEMBER, COORD_HELLO),
	    COORD_CALLER_TELL);
	assert_non_null(coord_caller_over(c, T0));
	coord_caller_free(c);
}

static void
caller_knows_that_its_key_is_elsewhere_until_a_line_holds(void **state)
{
	struct coord_caller *c = up();
	struct coord_message m;
	uint64_t t = T0;

	(void)state;
	assert_false(coord_caller_is_cloned(c, t));
	assert_int_equal(hear_refused(c, COORD_CLONE, COORD_HELLO),
	    COORD_CALLER_TELL);
	coord_caller_lost(c, "the peer hung up", t);
	assert_true(coord_caller_is_cloned(c, t));
	t += 10 * CLOCK_S;
	coord_caller_dialled(c, t);
	coord_caller_opened(c, t);
	assert_int_equal(said(c, &m), COORD_HELLO);
	assert_int_equal(hear(c, COORD_WELCOME, t), COORD_CALLER_UP);
	assert_true(coord_caller_is_cloned(c, t));
	assert_true(coord_caller_is_cloned(c, t + LIMIT_COORD_HELD_NS - 1));
	assert_false(coord_caller_is_cloned(c, t + LIMIT_COORD_HELD_NS));
	coord_caller_free(c);
}

static void
caller_claims_its_boxes_again(void **state)
{
	struct coord_caller *c = up();
	struct coord_message m;

	(void)state;
	assert_true(coord_caller_open_box(c));
	assert_true(coord_caller_open_box(c));
	assert_true(coord_caller_open_box(c));
	for (int i = 0; i < 3; i++)
		expect(c, COORD_BOX);
	assert_int_equal(hear_box(c, 11), COORD_CALLER_TELL);
	assert_int_equal(hear_refused(c, COORD_TOO_MUCH, COORD_BOX),
	    COORD_CALLER_NO_BOX);
	assert_int_equal(hear_box(c, 13), COORD_CALLER_TELL);
	coord_caller_close_box(c, 11);
	assert_int_equal(said(c, &m), COORD_BOX);
	assert_true(m.u.mail.close);
	coord_caller_lost(c, "gone", T0);
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	expect(c, COORD_HELLO);
	assert_int_equal(hear(c, COORD_WELCOME, T0), COORD_CALLER_UP);
	expect(c, COORD_PING);
	assert_int_equal(said(c, &m), COORD_BOX);
	assert_int_equal(m.u.mail.box, 13);
	assert_false(m.u.mail.close);
	assert_int_equal(hear_box(c, 13), COORD_CALLER_NOTHING);
	expect(c, (enum coord_type)0);
	coord_caller_free(c);
}

/* One that was ours before we were started anew. */
static void
caller_claims_a_box_of_an_earlier_run(void **state)
{
	struct coord_caller *c = up();
	struct coord_message m;

	(void)state;
	assert_true(coord_caller_claim_box(c, 13));
	assert_int_equal(said(c, &m), COORD_BOX);
	assert_int_equal(m.u.mail.box, 13);
	assert_false(m.u.mail.close);
	assert_int_equal(hear_box(c, 13), COORD_CALLER_NOTHING);
	coord_caller_lost(c, "gone", T0);
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	expect(c, COORD_HELLO);
	assert_int_equal(hear(c, COORD_WELCOME, T0), COORD_CALLER_UP);
	expect(c, COORD_PING);
	assert_int_equal(said(c, &m), COORD_BOX);
	assert_int_equal(m.u.mail.box, 13);
	/* Somebody else's by now: it is not asked for again. */
	assert_int_equal(hear_refused(c, COORD_NO_BOX, COORD_BOX),
	    COORD_CALLER_TELL);
	coord_caller_lost(c, "gone", T0);
	assert_false(coord_caller_claim_box(c, 13));
	coord_caller_dialled(c, T0);
	coord_caller_opened(c, T0);
	expect(c, COORD_HELLO);
	assert_int_equal(hear(c, COORD_WELCOME, T0), COORD_CALLER_UP);
	expect(c, COORD_PING);
	expect(c, (enum coord_type)0);
	coord_caller_free(c);
}

static void
caller_appends_a_long_log_in_several_messages(void **state)
{
	static uint8_t bytes[COORD_ENTRY_MAX];
	static struct slice entry[200];
	struct coord_caller *c = up();
	struct coord_message m;
	uint64_t next = 10;

	(void)state;
	for (size_t i = 0; i < 200; i++)
		entry[i] = slice_of(bytes, sizeof(bytes));
	assert_true(coord_caller_append(c, next, entry, 200));
	while (said(c, &m) != 0) {
		assert_int_equal(m.type, COORD_ENTRIES);
		assert_int_equal(m.u.entries.seq, next);
		next += m.u.entries.count;
	}
	assert_int_equal(next, 210);
	coord_caller_free(c);
}

static void
caller_takes_no_more_than_it_may_hold(void **state)
{
	static uint8_t body[COORD_SIGNAL_MAX];
	struct coord_caller *c = up();
	struct devid id = { { 7 } };

	(void)state;
	while (coord_caller_signal(c, &id, slice_of(body, sizeof(body))))
		continue;
	assert_in_range(coord_caller_out(c)->len, LIMIT_COORD_OUT,
	    LIMIT_COORD_OUT + 2 * COORD_SIGNAL_MAX);
	/* Nor is it made to answer without end. */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(hear(c, COORD_PING, T0), COORD_CALLER_NOTHING);
	assert_true(
	    coord_caller_out(c)->len < LIMIT_COORD_OUT + 2 * COORD_SIGNAL_MAX);
	coord_caller_lost(c, "gone", T0);
	assert_int_equal(coord_caller_out(c)->len, 0);
	assert_false(coord_caller_signal(c, &id, SLICE_LIT("hi")));
	coord_caller_free(c);
}

static int
clear(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caller_says_hello_and_who_it_is),
		cmocka_unit_test(
		    caller_dials_again_after_longer_and_longer_pauses),
		cmocka_unit_test(caller_that_held_starts_with_short_pauses),
		cmocka_unit_test(caller_tells_everything_again_after_a_break),
		cmocka_unit_test(caller_tells_a_flapping_address_once_a_second),
		cmocka_unit_test(caller_as_a_stranger_tells_nothing),
		cmocka_unit_test(caller_with_another_domain_dials_anew),
		cmocka_unit_test(
		    caller_pings_when_silent_and_gives_up_unanswered),
		cmocka_unit_test(caller_leaves_one_that_does_not_keep_to_it),
		cmocka_unit_test(caller_remembers_why_it_was_refused),
		cmocka_unit_test(
		    caller_knows_that_its_key_is_elsewhere_until_a_line_holds),
		cmocka_unit_test(caller_claims_its_boxes_again),
		cmocka_unit_test(caller_claims_a_box_of_an_earlier_run),
		cmocka_unit_test(caller_appends_a_long_log_in_several_messages),
		cmocka_unit_test(caller_takes_no_more_than_it_may_hold),
	};

	return cmocka_run_group_tests(tests, NULL, clear);
}
