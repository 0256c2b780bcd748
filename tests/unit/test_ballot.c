/*
 * What k of n owners have to sign: signatures come together wherever they were
 * made, and nothing counts before there are enough of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "mesh/ballot.h"
#include "testmembers.h"

#define NOW 1000000

struct node {
	struct members *ms;
	struct ballot *b;
	struct sign_secret key;
};

/* After the log's end. */
static struct members_entry
after(const struct members *ms, enum members_kind kind, char letter)
{
	struct members_entry e = { .kind = kind,
		.seq = members_seq(ms) + 1,
		.wall_s = NOW };

	members_head(ms, e.prev.b);
	if (letter != 0)
		e.device = dev(letter);
	if (kind == MEMBERS_ADD || kind == MEMBERS_RENAME)
		snprintf(e.name, sizeof(e.name), "device %c", letter);
	return e;
}

static enum ballot_verdict
take(struct node *n, struct slice entry)
{
	return ballot_take(n->b, n->ms, entry, false, NOW, NULL);
}

/* What it has goes to the other. */
static void
pass(struct node *from, struct node *to)
{
	const struct ballot_item *it;

	for (size_t i = 0; (it = ballot_at(from->b, i)) != NULL; i++)
		(void)take(to, it->bytes);
}

static void
follow(struct node *n)
{
	(void)ballot_follow(n->b, n->ms, &n->key, NOW);
}

/* Two of the owners 1, 2 and 3 must sign; 'a' is a member. */
static int
setup(void **state)
{
	static struct node n[3];
	struct members_entry f = { .kind = MEMBERS_FOUND, .seq = 1 }, a;
	const struct sign_secret recovery = key_of(9);

	arena_init(&ar);
	owners(&f, 2, "123");
	sign_public_of(&recovery, &f.recovery);
	for (int i = 0; i < 3; i++) {
		n[i] =
		    (struct node){ members_new(), ballot_new(), key_of(i + 1) };
		assert_int_equal(
		    members_take(n[i].ms, 1, sealed(&f, "12"), NULL),
		    MEMBERS_ADDED);
		a = after(n[i].ms, MEMBERS_ADD, 'a');
		assert_int_equal(
		    members_take(n[i].ms, 2, sealed(&a, "12"), NULL),
		    MEMBERS_ADDED);
	}
	*state = n;
	return 0;
}

static int
teardown(void **state)
{
	struct node *n = *state;

	for (int i = 0; i < 3; i++) {
		members_free(n[i].ms);
		ballot_free(n[i].b);
	}
	arena_fini(&ar);
	return 0;
}

static void
one_of_two_signatures_counts_for_nothing(void **state)
{
	struct node *n = *state;
	const struct members_entry e = after(n[0].ms, MEMBERS_ADD, 'b');
	const struct ballot_item *it;
	struct err err = { 0 };

	assert_int_equal(take(&n[0], sealed(&e, "1")), BALLOT_NEW);
	assert_int_equal(take(&n[0], sealed(&e, "1")), BALLOT_KNOWN);
	it = ballot_at(n[0].b, 0);
	assert_false(ballot_is_full(it, n[0].ms));
	assert_int_equal(members_take(n[0].ms, 3, it->bytes, &err),
	    MEMBERS_INVALID);
	/* Again the same owner, or nobody: no more than there was. */
	assert_true(ballot_sign(n[0].b, n[0].ms, &it->wish, &n[0].key));
	assert_false(ballot_is_full(ballot_at(n[0].b, 0), n[0].ms));
	pass(&n[0], &n[1]);
	it = ballot_at(n[1].b, 0);
	assert_true(ballot_sign(n[1].b, n[1].ms, &it->wish, &n[1].key));
	it = ballot_at(n[1].b, 0);
	assert_true(ballot_is_full(it, n[1].ms));
	assert_int_equal(members_take(n[1].ms, 3, it->bytes, NULL),
	    MEMBERS_ADDED);
	follow(&n[1]);
	assert_null(ballot_at(n[1].b, 0));
}

static void
signatures_come_together_on_whoever_gets_them(void **state)
{
	struct node *n = *state;
	const struct members_entry e = after(n[0].ms, MEMBERS_ADD, 'b');

	assert_int_equal(take(&n[2], sealed(&e, "2")), BALLOT_NEW);
	assert_int_equal(take(&n[2], sealed(&e, "1")), BALLOT_MORE);
	assert_int_equal(take(&n[1], sealed(&e, "1")), BALLOT_NEW);
	assert_int_equal(take(&n[1], sealed(&e, "2")), BALLOT_MORE);
	assert_true(ballot_is_full(ballot_at(n[2].b, 0), n[2].ms));
	assert_true(slice_equal(ballot_at(n[1].b, 0)->bytes,
	    ballot_at(n[2].b, 0)->bytes));
	/* A bad one beside a good one is left out. */
	assert_int_equal(take(&n[0], sealed(&e, "18")), BALLOT_NEW);
	assert_int_equal(ballot_at(n[0].b, 0)->good, 1);
	assert_int_equal(ballot_at(n[0].b, 0)->e.sig_count, 1);
}

static void
what_no_owner_signed_is_no_ballot(void **state)
{
	struct node *n = *state;
	struct members_entry e = after(n[0].ms, MEMBERS_ADD, 'b');
	struct err err = { 0 };

	assert_int_equal(take(&n[0], sealed(&e, "")), BALLOT_INVALID);
	assert_int_equal(take(&n[0], sealed(&e, "9")), BALLOT_INVALID);
	assert_int_equal(take(&n[0], SLICE_LIT("x")), BALLOT_INVALID);
	/* What makes no sense, or another place in the log. */
	e = after(n[0].ms, MEMBERS_REMOVE, 'z');
	assert_int_equal(
	    ballot_take(n[0].b, n[0].ms, sealed(&e, "1"), false, NOW, &err),
	    BALLOT_INVALID);
	assert_non_null(strstr(err.text, "no member"));
	e = after(n[0].ms, MEMBERS_ADD, 'b');
	e.prev.b[0] ^= 1;
	assert_int_equal(take(&n[0], sealed(&e, "1")), BALLOT_STALE);
	assert_null(ballot_at(n[0].b, 0));
	/* Of an earlier run, and after an older entry: until it is looked at.
	 */
	assert_int_equal(
	    members_entry_decode(&e, members_entry(n[0].ms, 2), NULL), 0);
	e.device = dev('c');
	memcpy(e.name, "device c", sizeof("device c"));
	assert_int_equal(take(&n[0], sealed(&e, "1")), BALLOT_STALE);
	assert_int_equal(
	    ballot_take(n[0].b, n[0].ms, sealed(&e, "1"), true, NOW, NULL),
	    BALLOT_NEW);
	follow(&n[0]);
	assert_int_equal(ballot_at(n[0].b, 0)->e.seq, 3);
	assert_int_equal(ballot_at(n[0].b, 0)->good, 1);
}

static void
what_was_denied_does_not_come_back(void **state)
{
	struct node *n = *state;
	const struct members_entry e = after(n[0].ms, MEMBERS_ADD, 'b');
	struct digest wish;

	take(&n[0], sealed(&e, "1"));
	wish = ballot_at(n[0].b, 0)->wish;
	ballot_deny(n[0].b, &wish);
	assert_null(ballot_at(n[0].b, 0));
	assert_int_equal(take(&n[0], sealed(&e, "12")), BALLOT_KNOWN);
	assert_true(digest_equal(ballot_denied(n[0].b, 0), &wish));
	assert_null(ballot_denied(n[0].b, 1));
	assert_false(ballot_sign(n[0].b, n[0].ms, &wish, &n[0].key));
}

static void
what_waits_follows_the_log_and_keeps_its_signatures(void **state)
{
	struct node *n = *state;
	const struct members_entry b = after(n[0].ms, MEMBERS_ADD, 'b');
	const struct members_entry c = after(n[0].ms, MEMBERS_ADD, 'c');
	const struct slice other = sealed(&c, "23");
	struct digest wish;

	for (int i = 0; i < 2; i++)
		take(&n[i], sealed(&b, i == 0 ? "1" : "2"));
	take(&n[2], sealed(&b, "1"));
	wish = ballot_at(n[0].b, 0)->wish;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(members_take(n[i].ms, 3, other, NULL),
		    MEMBERS_ADDED);
		follow(&n[i]);
	}
	/* Node 3 had signed nothing: it hears of it from who did. */
	assert_null(ballot_at(n[2].b, 0));
	pass(&n[0], &n[2]);
	pass(&n[1], &n[2]);
	assert_int_equal(ballot_at(n[2].b, 0)->e.seq, 4);
	assert_true(digest_equal(&ballot_at(n[2].b, 0)->wish, &wish));
	assert_true(ballot_is_full(ballot_at(n[2].b, 0), n[2].ms));
	assert_int_equal(
	    members_take(n[2].ms, 4, ballot_at(n[2].b, 0)->bytes, NULL),
	    MEMBERS_ADDED);
	/* Who had it waiting under its old place sees that it is done. */
	assert_int_equal(
	    members_take(n[0].ms, 4, members_entry(n[2].ms, 4), NULL),
	    MEMBERS_ADDED);
	follow(&n[0]);
	assert_null(ballot_at(n[0].b, 0));
}

static void
an_owner_who_was_removed_counts_no_more(void **state)
{
	struct node *n = *state;
	const struct members_entry b = after(n[0].ms, MEMBERS_ADD, 'b');
	struct members_entry fewer = after(n[0].ms, MEMBERS_OWNERS, 0);
	struct members_entry back = fewer;

	owners(&fewer, 2, "12");
	owners(&back, 1, "3");
	take(&n[0], sealed(&b, "1"));
	take(&n[0], sealed(&b, "3"));
	take(&n[0], sealed(&back, "3"));
	assert_int_equal(ballot_at(n[0].b, 0)->good, 2);
	assert_int_equal(members_take(n[0].ms, 3, sealed(&fewer, "12"), NULL),
	    MEMBERS_ADDED);
	follow(&n[0]);
	/* What was said of owners before is over; the rest is signed anew. */
	assert_null(ballot_at(n[0].b, 1));
	assert_int_equal(ballot_at(n[0].b, 0)->e.kind, MEMBERS_ADD);
	assert_int_equal(ballot_at(n[0].b, 0)->good, 1);
	assert_true(ballot_sign(n[0].b, n[0].ms, &ballot_at(n[0].b, 0)->wish,
	    &n[2].key));
	assert_false(ballot_is_full(ballot_at(n[0].b, 0), n[0].ms));
	assert_true(ballot_sign(n[0].b, n[0].ms, &ballot_at(n[0].b, 0)->wish,
	    &n[1].key));
	assert_true(ballot_is_full(ballot_at(n[0].b, 0), n[0].ms));
}

static void
what_waits_is_bounded_in_number_and_time(void **state)
{
	struct node *n = *state;
	struct members_entry e = after(n[0].ms, MEMBERS_ADD, 'b');

	for (unsigned i = 0; i < BALLOT_MAX; i++) {
		e.device.b[5] = (uint8_t)i;
		assert_int_equal(take(&n[0], sealed(&e, "2")), BALLOT_NEW);
	}
	e.device.b[5] = BALLOT_MAX;
	assert_int_equal(take(&n[0], sealed(&e, "2")), BALLOT_INVALID);
	assert_false(ballot_follow(n[0].b, n[0].ms, NULL, NOW + BALLOT_KEEP_S));
	assert_true(
	    ballot_follow(n[0].b, n[0].ms, NULL, NOW + BALLOT_KEEP_S + 1));
	assert_null(ballot_at(n[0].b, 0));
	assert_int_equal(ballot_take(n[0].b, n[0].ms, sealed(&e, "2"), false,
			     NOW + BALLOT_KEEP_S + 1, NULL),
	    BALLOT_KNOWN);
}

static void
a_wish_is_found_by_its_first_digits(void **state)
{
	struct node *n = *state;
	const struct members_entry e = after(n[0].ms, MEMBERS_ADD, 'b');
	char text[9];

	take(&n[0], sealed(&e, "1"));
	for (int i = 0; i < 4; i++)
		snprintf(text + 2 * i, 3, "%02x",
		    ballot_at(n[0].b, 0)->wish.b[i]);
	assert_non_null(ballot_find(n[0].b, slice_str(text)));
	assert_non_null(ballot_find(n[0].b, slice_of(text, 4)));
	assert_null(ballot_find(n[0].b, slice_of(text, 3)));
	text[7] = text[7] == '0' ? '1' : '0';
	assert_null(ballot_find(n[0].b, slice_str(text)));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_of_two_signatures_counts_for_nothing),
		TEST(signatures_come_together_on_whoever_gets_them),
		TEST(what_no_owner_signed_is_no_ballot),
		TEST(what_was_denied_does_not_come_back),
		TEST(what_waits_follows_the_log_and_keeps_its_signatures),
		TEST(an_owner_who_was_removed_counts_no_more),
		TEST(what_waits_is_bounded_in_number_and_time),
		TEST(a_wish_is_found_by_its_first_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
