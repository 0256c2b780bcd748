/*
 * Channels of carried connections: two that keep the rules, and a peer that
 * does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "mesh/forward.h"

#define WINDOW ((uint32_t)LIMIT_FORWARD_WINDOW)
#define CHUNK ((uint32_t)LIMIT_FORWARD_DATA)

static uint8_t bytes[LIMIT_FORWARD_DATA + 1];

struct side {
	struct forward f;
	struct forward_channel *ch; /* the last event's */
	struct forward_message out; /* and its answer */
	struct err err;
};

static void
open_sides(struct side *a, struct side *b)
{
	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	forward_init(&a->f);
	forward_init(&b->f);
}

static void
close_sides(struct side *a, struct side *b)
{
	forward_fini(&a->f);
	forward_fini(&b->f);
}

static enum forward_event
said(struct side *s, struct forward_message m)
{
	memset(&s->err, 0, sizeof(s->err));
	return forward_take(&s->f, &m, &s->ch, &s->out, &s->err);
}

static void
expect_wrong(struct side *s, struct forward_message m, const char *why)
{
	assert_int_equal(said(s, m), FORWARD_WRONG);
	assert_int_equal(s->err.code, ERR_PROTOCOL);
	if (strstr(s->err.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", s->err.text, why);
}

static struct forward_message
word(enum forward_word w, uint64_t channel, bool own)
{
	return (struct forward_message){ .word = w,
		.channel = channel,
		.own = own };
}

static struct forward_message
open_word(uint64_t channel, uint32_t port, uint32_t credit)
{
	struct forward_message m = word(FORWARD_WORD_OPEN, channel, true);

	m.port = port;
	m.credit = credit;
	return m;
}

static struct forward_message
data_word(uint64_t channel, bool own, uint32_t len)
{
	struct forward_message m = word(FORWARD_WORD_DATA, channel, own);

	m.data = slice_of(bytes, len);
	return m;
}

static struct forward_message
credit_word(uint64_t channel, bool own, uint32_t n)
{
	struct forward_message m = word(FORWARD_WORD_CREDIT, channel, own);

	m.credit = n;
	return m;
}

/* A channel from a to b, open at both. */
static void
joined(struct side *a, struct side *b, struct forward_channel **at_a,
    struct forward_channel **at_b)
{
	struct forward_message m;

	*at_a = forward_open(&a->f, 22, &m);
	assert_non_null(*at_a);
	assert_int_equal(m.port, 22);
	assert_int_equal(forward_room(*at_a), 0);
	assert_int_equal(said(b, m), FORWARD_ASKED);
	*at_b = b->ch;
	forward_accept(*at_b, &m);
	assert_int_equal(said(a, m), FORWARD_ACCEPTED);
	assert_ptr_equal(a->ch, *at_a);
}

/* --- who keeps the rules ------------------------------------------------- */

static void
bytes_go_both_ways_and_each_half_ends_alone(void **state)
{
	struct forward_channel *x, *y;
	struct forward_message m;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	joined(&a, &b, &x, &y);
	forward_data(x, slice_of(bytes, 5), &m);
	assert_int_equal(said(&b, m), FORWARD_CAME);
	assert_ptr_equal(b.ch, y);
	forward_data(y, slice_of(bytes, 7), &m);
	assert_int_equal(said(&a, m), FORWARD_CAME);
	forward_end(x, &m);
	assert_int_equal(said(&b, m), FORWARD_ENDED);
	assert_int_equal(forward_room(x), 0);
	/* The other half goes on. */
	assert_false(forward_is_over(x));
	forward_data(y, slice_of(bytes, 9), &m);
	assert_int_equal(said(&a, m), FORWARD_CAME);
	forward_end(y, &m);
	assert_int_equal(said(&a, m), FORWARD_ENDED);
	assert_true(forward_is_over(x));
	assert_true(forward_is_over(y));
	close_sides(&a, &b);
}

static void
who_is_not_read_sends_a_window_and_then_waits(void **state)
{
	struct forward_channel *x, *y;
	struct forward_message m, back;
	struct side a, b;
	uint32_t sent = 0;

	(void)state;
	open_sides(&a, &b);
	joined(&a, &b, &x, &y);
	while (forward_room(x) > 0) {
		const uint32_t n = forward_room(x);

		assert_true(n <= CHUNK);
		forward_data(x, slice_of(bytes, n), &m);
		assert_int_equal(said(&b, m), FORWARD_CAME);
		sent += n;
	}
	assert_int_equal(sent, WINDOW);
	/* Little was taken: nothing is said of it yet. */
	assert_false(forward_taken(y, WINDOW / 2 - 1, &back));
	assert_int_equal(forward_room(x), 0);
	assert_true(forward_taken(y, 1, &back));
	assert_int_equal(back.credit, WINDOW / 2);
	assert_int_equal(said(&a, back), FORWARD_ROOM);
	assert_int_equal(forward_room(x), CHUNK);
	close_sides(&a, &b);
}

static void
both_may_open_the_same_numbers(void **state)
{
	struct forward_channel *x, *y, *u, *v;
	struct forward_message m;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	joined(&a, &b, &x, &y);
	joined(&b, &a, &u, &v);
	assert_int_equal(x->number, u->number);
	forward_data(x, slice_of(bytes, 1), &m);
	assert_int_equal(said(&b, m), FORWARD_CAME);
	assert_ptr_equal(b.ch, y);
	forward_data(u, slice_of(bytes, 1), &m);
	assert_int_equal(said(&a, m), FORWARD_CAME);
	assert_ptr_equal(a.ch, v);
	close_sides(&a, &b);
}

static void
a_refusal_ends_it_and_what_crossed_is_passed_over(void **state)
{
	struct forward_channel *x;
	struct forward_message m, late;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	x = forward_open(&a.f, 80, &m);
	assert_int_equal(said(&b, m), FORWARD_ASKED);
	forward_reset(b.ch, FORWARD_DENIED, &m);
	forward_reset(x, FORWARD_CLOSED, &late);
	forward_drop(&b.f, b.ch);
	assert_int_equal(said(&a, m), FORWARD_BROKEN);
	assert_int_equal(m.code, FORWARD_DENIED);
	forward_drop(&a.f, x);
	assert_int_equal(said(&b, late), FORWARD_NOTHING);
	assert_int_equal(said(&a, m), FORWARD_NOTHING);
	close_sides(&a, &b);
}

static void
an_opener_counts_its_own(void **state)
{
	struct forward_message m;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	for (unsigned i = 0; i < LIMIT_FORWARD_CHANNELS; i++)
		assert_non_null(forward_open(&a.f, 22, &m));
	assert_null(forward_open(&a.f, 22, &m));
	forward_drop(&a.f, forward_first(&a.f));
	assert_non_null(forward_open(&a.f, 22, &m));
	assert_int_equal(m.channel, LIMIT_FORWARD_CHANNELS + 1);
	close_sides(&a, &b);
}

static void
words_of_the_future_are_passed_over(void **state)
{
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	assert_int_equal(said(&a, word((enum forward_word)0, 1, true)),
	    FORWARD_NOTHING);
	assert_int_equal(said(&a, word((enum forward_word)7, 1, true)),
	    FORWARD_NOTHING);
	assert_string_equal(forward_code_text(99), "failed");
	close_sides(&a, &b);
}

/* --- who does not -------------------------------------------------------- */

static void
ten_thousand_channels_are_sixty_four(void **state)
{
	unsigned asked = 0, full = 0;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	for (uint64_t n = 1; n <= 10000; n++) {
		const enum forward_event ev = said(&b, open_word(n, 22, 1000));

		if (ev == FORWARD_FULL) {
			assert_int_equal(b.out.word, FORWARD_WORD_RESET);
			assert_int_equal(b.out.channel, n);
			assert_int_equal(b.out.code, FORWARD_BUSY);
			assert_false(b.out.own);
		}
		asked += ev == FORWARD_ASKED;
		full += ev == FORWARD_FULL;
	}
	assert_int_equal(asked, LIMIT_FORWARD_CHANNELS);
	assert_int_equal(full, 10000 - LIMIT_FORWARD_CHANNELS);
	assert_int_equal(b.f.channel.count, LIMIT_FORWARD_CHANNELS);
	/* Of one that was refused nothing more is heard. */
	assert_int_equal(said(&b, data_word(9999, true, 1)), FORWARD_NOTHING);
	close_sides(&a, &b);
}

static void
data_beyond_its_credit_ends_the_session(void **state)
{
	struct forward_channel *x, *y;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	joined(&a, &b, &x, &y);
	for (uint32_t n = 0; n < WINDOW; n += CHUNK)
		assert_int_equal(said(&b, data_word(1, true, CHUNK)),
		    FORWARD_CAME);
	expect_wrong(&b, data_word(1, true, 1), "without credit");
	/* One that was not accepted has none at all. */
	assert_int_equal(said(&b, open_word(2, 22, 9)), FORWARD_ASKED);
	expect_wrong(&b, data_word(2, true, 1), "without credit");
	close_sides(&a, &b);
}

static void
what_makes_no_sense_ends_the_session(void **state)
{
	struct forward_channel *x, *y;
	struct forward_message m;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	joined(&a, &b, &x, &y);
	expect_wrong(&b, open_word(1, 22, 9), "not a new one");
	expect_wrong(&b, open_word(0, 22, 9), "not a new one");
	expect_wrong(&b, open_word(2, 0, 9), "no port");
	expect_wrong(&b, open_word(2, 65536, 9), "no port");
	expect_wrong(&b, open_word(2, 22, UINT32_MAX), "too much credit");
	m = open_word(2, 22, 9);
	m.own = false;
	expect_wrong(&b, m, "not a new one");
	expect_wrong(&b, data_word(7, true, 1), "never was");
	expect_wrong(&b, data_word(1, false, 1), "never was");
	expect_wrong(&b, data_word(0, true, 1), "never was");
	expect_wrong(&b, data_word(1, true, 0), "without a byte");
	expect_wrong(&b, credit_word(1, true, 0), "nothing or too much");
	expect_wrong(&b, credit_word(1, true, INT32_MAX), "too much");
	expect_wrong(&b, word(FORWARD_WORD_ACCEPT, 1, true), "not asked for");
	expect_wrong(&a, word(FORWARD_WORD_ACCEPT, 1, false), "not asked for");
	assert_int_equal(said(&b, word(FORWARD_WORD_END, 1, true)),
	    FORWARD_ENDED);
	expect_wrong(&b, data_word(1, true, 1), "after its end");
	expect_wrong(&b, word(FORWARD_WORD_END, 1, true), "none can be");
	/* Before it is open there is neither credit nor an end. */
	assert_int_equal(said(&b, open_word(2, 22, 9)), FORWARD_ASKED);
	expect_wrong(&b, credit_word(2, true, 1), "before it is open");
	expect_wrong(&b, word(FORWARD_WORD_END, 2, true), "none can be");
	close_sides(&a, &b);
}

static void
credit_never_overflows(void **state)
{
	struct forward_channel *x, *y;
	struct side a, b;

	(void)state;
	open_sides(&a, &b);
	joined(&a, &b, &x, &y);
	assert_int_equal(said(&a, credit_word(1, false, INT32_MAX - WINDOW)),
	    FORWARD_ROOM);
	assert_int_equal(forward_room(x), CHUNK);
	expect_wrong(&a, credit_word(1, false, 1), "too much");
	close_sides(&a, &b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways_and_each_half_ends_alone),
		cmocka_unit_test(who_is_not_read_sends_a_window_and_then_waits),
		cmocka_unit_test(both_may_open_the_same_numbers),
		cmocka_unit_test(
		    a_refusal_ends_it_and_what_crossed_is_passed_over),
		cmocka_unit_test(an_opener_counts_its_own),
		cmocka_unit_test(words_of_the_future_are_passed_over),
		cmocka_unit_test(ten_thousand_channels_are_sixty_four),
		cmocka_unit_test(data_beyond_its_credit_ends_the_session),
		cmocka_unit_test(what_makes_no_sense_ends_the_session),
		cmocka_unit_test(credit_never_overflows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
