/*
 * A join, alone and with somebody in the middle who knows everything but the
 * code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/join.h"
#include "mesh/join_letter.h"

#define NOW 1000
#define EXPIRES (NOW + JOIN_EXPIRES_S)

static const struct join_code code_1 = { 4271, { 0x9b, 0xee, 1, 2, 3 } };
static const struct join_code code_2 = { 4271, { 0x9b, 0xee, 1, 2, 4 } };
static const struct join_asker laptop = { { { 7, 7 } }, "laptop" };
static const uint8_t random_j[PAKE_SID_LEN + PAKE_SCALAR_LEN] = { 1, 2,
	3, [20] = 4, [47] = 5 };
static const struct join_answer welcome = { .verdict = JOIN_WELCOME,
	.domain = { { 3 } },
	.seq = 12,
	.head = { 5 },
	.domain_name = "home",
	.inviter = { { 9 } },
	.inviter_name = "hub",
	.text = "" };

/* Field by field: what is between the fields is anybody's. */
static void
expect_welcome(const struct join_answer *a)
{
	assert_int_equal(a->verdict, welcome.verdict);
	assert_memory_equal(&a->domain, &welcome.domain, sizeof(a->domain));
	assert_int_equal(a->seq, welcome.seq);
	assert_memory_equal(a->head, welcome.head, sizeof(a->head));
	assert_string_equal(a->domain_name, welcome.domain_name);
	assert_true(devid_equal(&a->inviter, &welcome.inviter));
	assert_string_equal(a->inviter_name, welcome.inviter_name);
	assert_string_equal(a->text, welcome.text);
}

static enum join_event
inviter_hears(struct join_inviter *in, uint64_t stranger, struct slice letter,
    int64_t now, struct buf *reply, struct join_asker *who)
{
	static uint8_t fresh[PAKE_SCALAR_LEN];

	fresh[3]++;
	fresh[0] = 1;
	buf_clear(reply);
	return join_inviter_take(in, stranger, letter, now, fresh, reply, who);
}

struct joined {
	enum join_event event; /* at the inviter, at last */
	enum join_step step;   /* at the joiner, at last */
	enum join_refusal why;
	struct join_asker who;
	struct join_answer answer;
};

/* One join over a post that hands every letter to the other side. */
static struct joined
run(struct join_inviter *in, uint64_t stranger, const struct join_code *typed,
    int64_t now)
{
	struct joined r = { .event = JOIN_QUIET };
	struct buf to = { 0 }, from = { 0 };
	struct join_joiner *j = join_joiner_new(typed, &laptop, random_j, &to);

	for (int i = 0; i < 4; i++) {
		r.event = inviter_hears(in, stranger, buf_slice(&to), now,
		    &from, &r.who);
		if (r.event == JOIN_ASKED)
			assert_true(
			    join_inviter_answer(in, stranger, &welcome, &from));
		buf_clear(&to);
		r.step = join_joiner_take(j, buf_slice(&from), &to, &r.answer,
		    &r.why);
		assert_true(to.len <= COORD_SIGNAL_MAX);
		if (r.step != JOIN_STEP_REPLY)
			break;
	}
	join_joiner_free(j);
	buf_fini(&to);
	buf_fini(&from);
	return r;
}

static void
who_types_the_code_joins(void **state)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	const struct joined r = run(in, 1, &code_1, NOW);

	(void)state;
	assert_int_equal(r.event, JOIN_ASKED);
	assert_int_equal(r.step, JOIN_STEP_DONE);
	assert_true(devid_equal(&r.who.id, &laptop.id));
	assert_string_equal(r.who.name, "laptop");
	expect_welcome(&r.answer);
	assert_int_equal(join_inviter_state(in, NOW), JOIN_IS_USED);
	join_inviter_free(in);
}

static void
a_code_is_good_once_and_for_a_time(void **state)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	struct joined r = run(in, 1, &code_1, EXPIRES);

	(void)state;
	assert_int_equal(r.step, JOIN_STEP_REFUSED);
	assert_int_equal(r.why, JOIN_EXPIRED);
	r = run(in, 2, &code_1, EXPIRES - 1);
	assert_int_equal(r.step, JOIN_STEP_DONE);
	r = run(in, 3, &code_1, EXPIRES - 1);
	assert_int_equal(r.step, JOIN_STEP_REFUSED);
	assert_int_equal(r.why, JOIN_USED);
	join_inviter_free(in);
}

static void
three_wrong_guesses_burn_a_code(void **state)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	struct joined r;

	(void)state;
	for (unsigned i = 1; i <= JOIN_ATTEMPTS; i++) {
		r = run(in, i, &code_2, NOW);
		assert_int_equal(r.step, JOIN_STEP_REFUSED);
		assert_int_equal(r.why,
		    i < JOIN_ATTEMPTS ? JOIN_WRONG : JOIN_BURNT);
		assert_int_equal(join_inviter_wrong(in), i);
	}
	r = run(in, 9, &code_1, NOW);
	assert_int_equal(r.step, JOIN_STEP_REFUSED);
	assert_int_equal(r.why, JOIN_BURNT);
	assert_int_not_equal(r.event, JOIN_ASKED);
	join_inviter_free(in);
}

/* The same secret with another box is another code. */
static void
a_code_belongs_to_its_box(void **state)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	struct join_code elsewhere = code_1;

	(void)state;
	elsewhere.box++;
	assert_int_equal(run(in, 1, &elsewhere, NOW).step, JOIN_STEP_REFUSED);
	join_inviter_free(in);
}

/* --- in the middle ------------------------------------------------------- */

/*
 * It answers the joiner itself, and asks the inviter itself, with a guess:
 * each tells it that the guess is wrong, and nothing else.
 */
static void
who_stands_between_with_a_guess_gets_nowhere(void **state)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	struct join_inviter *fake = join_inviter_new(&code_2, EXPIRES);
	struct join_answer answer;
	struct join_asker who;
	struct buf to = { 0 }, from = { 0 };
	enum join_refusal why;
	struct join_joiner *j =
	    join_joiner_new(&code_1, &laptop, random_j, &to);

	(void)state;
	assert_int_equal(
	    inviter_hears(fake, 1, buf_slice(&to), NOW, &from, &who),
	    JOIN_REPLY);
	buf_clear(&to);
	assert_int_equal(
	    join_joiner_take(j, buf_slice(&from), &to, &answer, &why),
	    JOIN_STEP_REPLY);
	/* It cannot read who this is. */
	assert_int_equal(
	    inviter_hears(fake, 1, buf_slice(&to), NOW, &from, &who),
	    JOIN_REPLY);
	assert_int_equal(join_inviter_wrong(fake), 1);
	/* Nor does that letter help with the inviter. */
	assert_int_equal(inviter_hears(in, 1, buf_slice(&to), NOW, &from, &who),
	    JOIN_QUIET);
	assert_int_equal(run(in, 2, &code_2, NOW).step, JOIN_STEP_REFUSED);
	join_joiner_free(j);
	join_inviter_free(in);
	join_inviter_free(fake);
	buf_fini(&to);
	buf_fini(&from);
}

/* Which letter is bent: the joiner's START and PROVE, the other's two. */
static bool
bent_passes(int which, size_t bit, size_t *bits)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	struct join_answer answer;
	struct join_asker who = { 0 };
	struct buf letter[4] = { 0 };
	struct buf none = { 0 };
	enum join_refusal why;
	struct join_joiner *j =
	    join_joiner_new(&code_1, &laptop, random_j, &letter[0]);
	enum join_event event;
	enum join_step step;
	bool passed = false;

	for (int i = 0; i < 4; i++) {
		if (i == which) {
			*bits = letter[i].len * 8;
			letter[i].ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		if (i % 2 == 0) {
			event = inviter_hears(in, 1, buf_slice(&letter[i]), NOW,
			    &letter[i + 1], &who);
			if (event == JOIN_ASKED)
				join_inviter_answer(in, 1, &welcome,
				    &letter[i + 1]);
			else if (event != JOIN_REPLY)
				break;
			if (event == JOIN_ASKED &&
			    (!devid_equal(&who.id, &laptop.id) ||
				strcmp(who.name, laptop.name) != 0))
				fail();
		} else {
			step = join_joiner_take(j, buf_slice(&letter[i]),
			    i < 3 ? &letter[i + 1] : &none, &answer, &why);
			passed = step == JOIN_STEP_DONE;
			if (step != JOIN_STEP_REPLY)
				break;
		}
	}
	if (passed)
		expect_welcome(&answer);
	join_joiner_free(j);
	join_inviter_free(in);
	for (int i = 0; i < 4; i++)
		buf_fini(&letter[i]);
	buf_fini(&none);
	return passed;
}

static void
no_letter_can_be_changed(void **state)
{
	size_t passed = 0, bits;

	(void)state;
	for (int which = 0; which < 4; which++) {
		bits = 1;
		for (size_t bit = 0; bit < bits; bit++)
			passed += bent_passes(which, bit, &bits);
		assert_true(bits > 250);
	}
	assert_int_equal(passed, 0);
}

static void
letters_heard_before_are_worth_nothing(void **state)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	struct join_inviter *next = join_inviter_new(&code_1, EXPIRES);
	struct join_answer answer;
	struct join_asker who;
	struct buf start = { 0 }, prove = { 0 }, from = { 0 };
	enum join_refusal why;
	struct join_joiner *j =
	    join_joiner_new(&code_1, &laptop, random_j, &start);

	(void)state;
	inviter_hears(in, 1, buf_slice(&start), NOW, &from, &who);
	join_joiner_take(j, buf_slice(&from), &prove, &answer, &why);
	assert_int_equal(
	    inviter_hears(in, 1, buf_slice(&prove), NOW, &from, &who),
	    JOIN_ASKED);
	/* Once more, to the same one and to one who has the same code. */
	assert_int_equal(
	    inviter_hears(in, 1, buf_slice(&prove), NOW, &from, &who),
	    JOIN_REPLY);
	assert_int_equal(
	    inviter_hears(next, 1, buf_slice(&start), NOW, &from, &who),
	    JOIN_REPLY);
	assert_int_equal(
	    inviter_hears(next, 1, buf_slice(&prove), NOW, &from, &who),
	    JOIN_REPLY);
	assert_int_equal(join_inviter_wrong(next), 1);
	join_joiner_free(j);
	join_inviter_free(in);
	join_inviter_free(next);
	buf_fini(&start);
	buf_fini(&prove);
	buf_fini(&from);
}

/* Else one typing of the code would be worth as many guesses as letters. */
static void
the_joiner_looks_at_one_answer_only(void **state)
{
	struct join_inviter *fake = join_inviter_new(&code_2, EXPIRES);
	struct join_answer answer;
	struct join_asker who;
	struct buf start = { 0 }, out = { 0 }, from = { 0 };
	enum join_refusal why;
	struct join_joiner *j =
	    join_joiner_new(&code_1, &laptop, random_j, &start);

	(void)state;
	inviter_hears(fake, 1, buf_slice(&start), NOW, &from, &who);
	assert_int_equal(
	    join_joiner_take(j, buf_slice(&from), &out, &answer, &why),
	    JOIN_STEP_REPLY);
	inviter_hears(fake, 2, buf_slice(&start), NOW, &from, &who);
	assert_int_equal(
	    join_joiner_take(j, buf_slice(&from), &out, &answer, &why),
	    JOIN_STEP_NONE);
	join_joiner_free(j);
	join_inviter_free(fake);
	buf_fini(&start);
	buf_fini(&out);
	buf_fini(&from);
}

static void
many_strangers_take_no_memory_and_no_attempt(void **state)
{
	struct join_inviter *in = join_inviter_new(&code_1, EXPIRES);
	struct join_asker who;
	struct buf start = { 0 }, from = { 0 };
	struct join_joiner *j =
	    join_joiner_new(&code_2, &laptop, random_j, &start);

	(void)state;
	for (uint64_t i = 100; i < 300; i++)
		assert_int_equal(
		    inviter_hears(in, i, buf_slice(&start), NOW, &from, &who),
		    JOIN_REPLY);
	assert_int_equal(join_inviter_wrong(in), 0);
	assert_int_equal(run(in, 1, &code_1, NOW).step, JOIN_STEP_DONE);
	join_joiner_free(j);
	join_inviter_free(in);
	buf_fini(&start);
	buf_fini(&from);
}

/* --- codes --------------------------------------------------------------- */

static void
a_code_is_read_as_it_was_written_or_typed(void **state)
{
	static const char *const typed[] = { "4271-KFQ0-4105", "4271kfq04105",
		" 4271 - kfqo - 4lo5 ", "4271-KFQO-4IO5",
		"holdfast:4271-KFQ0-4105" };
	static const char *const wrong[] = { "", "KFQ04105", "-KFQ0-4105",
		"4271-KFQ0-410U", "0-KFQ0-4105", "42A1-KFQ0-4105",
		"4294967296-KFQ0-4105", "4271-KFQ0_4105",
		"11111111111111111111111111111111111111111111111111" };
	struct join_place place;
	struct join_code code;
	char text[JOIN_CODE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(typed) / sizeof(typed[0]); i++) {
		assert_int_equal(
		    join_code_parse(&code, &place, slice_str(typed[i]), NULL),
		    0);
		join_code_text(&code, text);
		assert_string_equal(text, "4271-KFQ0-4105");
		assert_int_equal(place.at.len, 0);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(
		    join_code_parse(&code, &place, slice_str(wrong[i]), NULL),
		    ERR_INVALID);
	}
	code.box = UINT32_MAX;
	memset(code.secret, 0xff, sizeof(code.secret));
	join_code_text(&code, text);
	assert_string_equal(text, "4294967295-ZZZZ-ZZZZ");
}

static void
the_long_form_says_where(void **state)
{
	const struct devid id = { { 1, 2, 3 } };
	struct join_place place;
	struct join_code code;
	struct buf b = { 0 };

	(void)state;
	join_code_link(&code_1, SLICE_LIT("tcp://[::1]:22067"), &id, &b);
	assert_int_equal(join_code_parse(&code, &place, buf_slice(&b), NULL),
	    0);
	assert_int_equal(code.box, code_1.box);
	assert_memory_equal(code.secret, code_1.secret, sizeof(code.secret));
	assert_true(slice_equal(place.at, SLICE_LIT("tcp://[::1]:22067")));
	assert_true(place.has_coordinator);
	assert_true(devid_equal(&place.coordinator, &id));
	b.ptr[b.len - 1] ^= 1; /* the ID's check character */
	assert_int_equal(join_code_parse(&code, &place, buf_slice(&b), NULL),
	    ERR_INVALID);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_types_the_code_joins),
		cmocka_unit_test(a_code_is_good_once_and_for_a_time),
		cmocka_unit_test(three_wrong_guesses_burn_a_code),
		cmocka_unit_test(a_code_belongs_to_its_box),
		cmocka_unit_test(who_stands_between_with_a_guess_gets_nowhere),
		cmocka_unit_test(no_letter_can_be_changed),
		cmocka_unit_test(letters_heard_before_are_worth_nothing),
		cmocka_unit_test(the_joiner_looks_at_one_answer_only),
		cmocka_unit_test(many_strangers_take_no_memory_and_no_attempt),
		cmocka_unit_test(a_code_is_read_as_it_was_written_or_typed),
		cmocka_unit_test(the_long_form_says_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
