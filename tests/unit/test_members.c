/*
 * The membership log against everybody who is not its owner, and against
 * owners who do not agree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/rng.h"
#include "mesh/members.h"
#include "mesh/members_entry.h"
#include "testmembers.h"

#define NOW 1000000
#define RECOVERY 9

/* An entry after `prev`, or the first one, about `letter`. */
static struct members_entry
after(struct slice prev, enum members_kind kind, char letter)
{
	struct members_entry e = { .kind = kind, .seq = 1, .wall_s = NOW };
	struct members_entry before;

	if (prev.len > 0) {
		assert_int_equal(members_entry_decode(&before, prev, NULL), 0);
		e.seq = before.seq + 1;
		e.prev = before.digest;
	}
	if (letter != 0)
		e.device = dev(letter);
	if (kind == MEMBERS_ADD)
		snprintf(e.name, sizeof(e.name), "device %c", letter);
	return e;
}

static struct slice
found(uint32_t need, const char *digits)
{
	struct members_entry e = after(SLICE_EMPTY, MEMBERS_FOUND, 0);

	owners(&e, need, digits);
	e.recovery = public_of(RECOVERY);
	memcpy(e.name, "home", 5);
	return sealed(&e, digits);
}

static struct slice
add(struct slice prev, char letter)
{
	const struct members_entry e = after(prev, MEMBERS_ADD, letter);

	return sealed(&e, "1");
}

static struct slice
removal(struct slice prev, char letter)
{
	const struct members_entry e = after(prev, MEMBERS_REMOVE, letter);

	return sealed(&e, "1");
}

static struct slice
new_owners(struct slice prev, const char *digits, const char *by)
{
	struct members_entry e = after(prev, MEMBERS_OWNERS, 0);

	owners(&e, 1, digits);
	return sealed(&e, by);
}

static enum members_verdict
take(struct members *ms, struct slice entry)
{
	struct members_entry e;

	assert_int_equal(members_entry_decode(&e, entry, NULL), 0);
	return members_take(ms, e.seq, entry, NULL);
}

static bool
has(const struct members *ms, char letter)
{
	const struct devid id = dev(letter);

	return members_find(ms, &id, NOW) != NULL;
}

static bool
was(const struct members *ms, char letter)
{
	const struct devid id = dev(letter);

	return members_was(ms, &id);
}

static bool
heads(const struct members *ms, struct slice entry)
{
	struct members_entry e;
	uint8_t head[32];

	assert_int_equal(members_entry_decode(&e, entry, NULL), 0);
	members_head(ms, head);
	return memcmp(head, e.digest.b, 32) == 0 && members_seq(ms) == e.seq &&
	       slice_equal(members_entry(ms, e.seq), entry);
}

static int
setup(void **state)
{
	arena_init(&ar);
	*state = members_new();
	return 0;
}

static int
teardown(void **state)
{
	members_free(*state);
	arena_fini(&ar);
	return 0;
}

/* --- one owner ----------------------------------------------------------- */

static void
a_domain_is_founded_and_devices_come_and_go(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	const struct slice b = add(f, 'b'), a = add(b, 'a');
	const struct slice gone = removal(a, 'b');
	const struct slice back = add(gone, 'b');
	struct members_entry e;
	struct coord_id domain;

	members_domain(ms, &domain);
	assert_true(domain.b[0] == 0 && members_seq(ms) == 0);
	assert_int_equal(take(ms, f), MEMBERS_ADDED);
	assert_int_equal(take(ms, b), MEMBERS_ADDED);
	assert_int_equal(take(ms, a), MEMBERS_ADDED);
	members_domain(ms, &domain);
	assert_int_equal(members_entry_decode(&e, f, NULL), 0);
	assert_memory_equal(domain.b, e.digest.b, 32);
	assert_string_equal(members_name(ms), "home");
	assert_string_equal(members_at(ms, 0)->name, "device a");
	assert_string_equal(members_at(ms, 1)->name, "device b");
	assert_null(members_at(ms, 2));
	assert_int_equal(members_at(ms, 1)->since_seq, 2);
	assert_int_equal(take(ms, gone), MEMBERS_ADDED);
	assert_false(has(ms, 'b'));
	assert_true(was(ms, 'b') && !was(ms, 'a') && !was(ms, 'z'));
	assert_true(heads(ms, gone));
	assert_int_equal(take(ms, back), MEMBERS_ADDED);
	assert_true(has(ms, 'b') && !was(ms, 'b'));
	assert_int_equal(take(ms, gone), MEMBERS_KNOWN);
	assert_true(has(ms, 'b'));
}

static void
an_entry_of_somebody_else_changes_nothing(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	struct members_entry e = after(f, MEMBERS_ADD, 'x');
	struct err err = { 0 };

	take(ms, f);
	assert_int_equal(members_take(ms, 2, sealed(&e, "2"), &err),
	    MEMBERS_INVALID);
	assert_non_null(strstr(err.text, "0 of 1"));
	assert_int_equal(take(ms, sealed(&e, "")), MEMBERS_INVALID);
	/* The recovery key adds nobody. */
	assert_int_equal(take(ms, sealed(&e, "9")), MEMBERS_INVALID);
	assert_true(heads(ms, f));
	assert_int_equal(take(ms, sealed(&e, "21")), MEMBERS_ADDED);
}

static void
no_bit_of_an_entry_can_be_changed(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a');
	int same = 0;

	take(ms, f);
	for (size_t i = 0; i < a.len * 8; i++) {
		uint8_t *bent = (uint8_t *)(uintptr_t)arena_dup(&ar, a).ptr;

		bent[i / 8] = (uint8_t)(bent[i / 8] ^ (1u << i % 8));
		/* One that names another before it has to wait for that. */
		const enum members_verdict v =
		    members_take(ms, 2, slice_of(bent, a.len), NULL);
		if (v != MEMBERS_INVALID && v != MEMBERS_GAP)
			same++;
	}
	assert_int_equal(same, 0);
	assert_true(heads(ms, f));
	assert_int_equal(members_take(ms, 3, a, NULL), MEMBERS_INVALID);
	for (size_t n = 0; n < a.len; n++)
		assert_int_equal(members_take(ms, 2, slice_of(a.ptr, n), NULL),
		    MEMBERS_INVALID);
	assert_int_equal(take(ms, a), MEMBERS_ADDED);
}

static void
the_same_body_with_other_signatures_is_the_same_entry(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "12");
	const struct members_entry e = after(f, MEMBERS_ADD, 'a');
	const struct sign_secret two = key_of(2);
	struct buf both = { 0 };

	take(ms, f);
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_ADDED);
	assert_int_equal(take(ms, sealed(&e, "2")), MEMBERS_KNOWN);
	assert_int_equal(
	    members_entry_cosign(sealed(&e, "1"), &two, &both, NULL), 0);
	assert_int_equal(take(ms, buf_slice(&both)), MEMBERS_KNOWN);
	buf_fini(&both);
}

static void
what_makes_no_sense_is_refused(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a');
	const struct slice a2 = found(1, "2");
	struct members_entry e;

	assert_int_equal(take(ms, a), MEMBERS_GAP);
	take(ms, f);
	take(ms, a);
	assert_int_equal(take(ms, a2), MEMBERS_INVALID); /* another domain */
	e = after(a, MEMBERS_ADD, 'b');
	memcpy(e.name, "device a", 9);
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_INVALID);
	assert_false(has(ms, 'b'));
	e = after(a, MEMBERS_REMOVE, 'b');
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_INVALID);
	e = after(a, MEMBERS_RENAME, 'b');
	memcpy(e.name, "bee", 4);
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_INVALID);
	e = after(a, MEMBERS_ADD, 'b');
	e.prev.b[0] ^= 1;
	assert_int_equal(members_take(ms, 3, sealed(&e, "1"), NULL),
	    MEMBERS_GAP);
	e = after(f, MEMBERS_ADD, 'b');
	e.seq = 3; /* and names the first as the one before */
	assert_int_equal(members_take(ms, 3, sealed(&e, "1"), NULL),
	    MEMBERS_INVALID);
	assert_true(heads(ms, a));
}

static void
names_are_for_people(void **state)
{
	char name[80];

	(void)state;
	memset(name, 'n', sizeof(name));
	assert_true(members_entry_name_is_good(slice_str("Küche")));
	assert_true(members_entry_name_is_good(slice_of(name, 63)));
	assert_false(members_entry_name_is_good(slice_of(name, 64)));
	assert_false(members_entry_name_is_good(slice_str("")));
	assert_false(members_entry_name_is_good(slice_str(" a")));
	assert_false(members_entry_name_is_good(slice_str("a\nb")));
	assert_false(members_entry_name_is_good(slice_str("\x1b[2J")));
	assert_false(members_entry_name_is_good(slice_str("\xff")));
}

static void
a_device_is_renamed_and_its_old_name_is_free(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a');
	struct members_entry e = after(a, MEMBERS_RENAME, 'a');
	struct slice r;

	take(ms, f);
	take(ms, a);
	memcpy(e.name, "laptop", 7);
	r = sealed(&e, "1");
	assert_int_equal(take(ms, r), MEMBERS_ADDED);
	assert_string_equal(members_at(ms, 0)->name, "laptop");
	e = after(r, MEMBERS_ADD, 'b');
	memcpy(e.name, "device a", 9);
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_ADDED);
}

static void
a_key_is_rotated_and_the_old_one_is_good_for_a_while(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a');
	struct members_entry e = after(a, MEMBERS_ROTATE, 'a');
	const struct devid old = dev('a'), new = dev('n');
	struct slice r;

	take(ms, f);
	take(ms, a);
	e.other = new;
	e.until_wall_s = NOW + 100;
	r = sealed(&e, "1");
	assert_int_equal(take(ms, r), MEMBERS_ADDED);
	assert_int_equal(members_count(ms), 1);
	assert_ptr_equal(members_find(ms, &new, NOW), members_at(ms, 0));
	assert_ptr_equal(members_find(ms, &old, NOW + 99), members_at(ms, 0));
	assert_null(members_find(ms, &old, NOW + 100));
	assert_true(was(ms, 'a') && !was(ms, 'n'));
	/* Who removes it by the ID it had, removes it. */
	assert_int_equal(take(ms, removal(r, 'a')), MEMBERS_ADDED);
	assert_null(members_find(ms, &new, NOW));
	assert_null(members_find(ms, &old, NOW));
}

static void
what_a_member_may_follows_it_to_its_new_id(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a'), b = add(a, 'b');
	struct members_entry e = after(b, MEMBERS_ALLOW, 'a');
	const struct devid old = dev('a'), new = dev('n'), other = dev('b');
	struct devid now;
	struct slice r;

	take(ms, f);
	take(ms, a);
	take(ms, b);
	e.other = other;
	e.service = MEMBERS_DIAG;
	r = sealed(&e, "1");
	assert_int_equal(take(ms, r), MEMBERS_ADDED);
	assert_false(members_may(ms, &old, &other, MEMBERS_DIAG));
	assert_true(members_now(ms, &old, &now) && devid_equal(&now, &old));
	e = after(r, MEMBERS_ROTATE, 'a');
	e.other = new;
	e.until_wall_s = NOW + 1;
	r = sealed(&e, "1");
	assert_int_equal(take(ms, r), MEMBERS_ADDED);
	assert_false(members_may(ms, &new, &other, MEMBERS_DIAG));
	assert_false(members_may(ms, &old, &other, MEMBERS_DIAG));
	assert_true(members_may(ms, &other, &new, MEMBERS_DIAG));
	assert_true(members_now(ms, &old, &now) && devid_equal(&now, &new));
	assert_true(members_now(ms, &new, &now) && devid_equal(&now, &new));
	/* A newer one about it by its new ID decides. */
	e = after(r, MEMBERS_ALLOW, 'n');
	e.other = other;
	e.service = MEMBERS_DIAG;
	e.allowed = true;
	r = sealed(&e, "1");
	assert_int_equal(take(ms, r), MEMBERS_ADDED);
	assert_true(members_may(ms, &new, &other, MEMBERS_DIAG));
	assert_int_equal(take(ms, removal(r, 'n')), MEMBERS_ADDED);
	assert_false(
	    members_now(ms, &old, &now) || members_now(ms, &new, &now));
}

static void
a_key_that_rotates_back_makes_no_circle(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a');
	struct slice last = a;
	const char *way = "abcacba";

	take(ms, f);
	take(ms, a);
	for (size_t i = 0; way[i + 1] != '\0'; i++) {
		struct members_entry e = after(last, MEMBERS_ROTATE, way[i]);

		e.other = dev(way[i + 1]);
		e.until_wall_s = NOW + 1;
		last = sealed(&e, "1");
		assert_int_equal(take(ms, last), MEMBERS_ADDED);
		assert_true(has(ms, way[i]) && has(ms, way[i + 1]));
	}
	assert_int_equal(take(ms, removal(last, 'c')), MEMBERS_ADDED);
	assert_true(!has(ms, 'a') && !has(ms, 'b') && !has(ms, 'c'));
}

static void
rules_say_who_may_what_and_the_newest_counts(void **state)
{
	struct members *ms = *state;
	struct slice last = found(1, "1");
	const struct devid a = dev('a'), b = dev('b');
	static const struct {
		char from, to;
		enum members_service service;
		bool allowed, sync_ab, diag_ab, sync_ba;
	} rule[] = {
		{ 0, 0, MEMBERS_DIAG, false, true, false, true },
		{ 'a', 'b', MEMBERS_ALL, false, false, false, true },
		{ 'a', 0, MEMBERS_DIAG, true, false, true, true },
		{ 0, 'a', MEMBERS_SYNC, false, false, true, false },
		{ 'a', 'b', MEMBERS_ALL, true, true, true, false },
	};

	take(ms, last);
	assert_true(members_may(ms, &a, &b, MEMBERS_SYNC));
	for (size_t i = 0; i < sizeof(rule) / sizeof(rule[0]); i++) {
		struct members_entry e =
		    after(last, MEMBERS_ALLOW, rule[i].from);

		if (rule[i].to != 0)
			e.other = dev(rule[i].to);
		e.service = rule[i].service;
		e.allowed = rule[i].allowed;
		last = sealed(&e, "1");
		assert_int_equal(take(ms, last), MEMBERS_ADDED);
		assert_int_equal(members_may(ms, &a, &b, MEMBERS_SYNC),
		    rule[i].sync_ab);
		assert_int_equal(members_may(ms, &a, &b, MEMBERS_DIAG),
		    rule[i].diag_ab);
		assert_int_equal(members_may(ms, &b, &a, MEMBERS_SYNC),
		    rule[i].sync_ba);
	}
	/* The last one took the place of the second. */
	assert_non_null(members_rule(ms, 3));
	assert_null(members_rule(ms, 4));
}

static void
a_kind_of_the_future_has_its_place_and_no_effect(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	struct members_entry e = after(f, MEMBERS_OTHER, 'a');
	const struct slice o = sealed(&e, "1");

	take(ms, f);
	assert_int_equal(take(ms, o), MEMBERS_ADDED);
	assert_true(heads(ms, o) && members_count(ms) == 0);
	assert_int_equal(take(ms, add(o, 'a')), MEMBERS_ADDED);
}

/* --- several owners, and the recovery key -------------------------------- */

static void
two_of_three_owners_must_sign(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(2, "123");
	const struct members_entry e = after(f, MEMBERS_ADD, 'a');
	const struct sign_secret one = key_of(1);
	struct buf twice = { 0 };

	assert_int_equal(take(ms, f), MEMBERS_ADDED);
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_INVALID);
	assert_int_equal(
	    members_entry_cosign(sealed(&e, "1"), &one, &twice, NULL), 0);
	assert_int_equal(take(ms, buf_slice(&twice)), MEMBERS_INVALID);
	assert_int_equal(take(ms, sealed(&e, "14")), MEMBERS_INVALID);
	assert_int_equal(take(ms, sealed(&e, "31")), MEMBERS_ADDED);
	buf_fini(&twice);
}

static void
a_domain_is_founded_by_its_own_owners(void **state)
{
	struct members *ms = *state;
	struct members_entry e = after(SLICE_EMPTY, MEMBERS_FOUND, 0);

	owners(&e, 2, "12");
	e.recovery = public_of(RECOVERY);
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_INVALID);
	assert_int_equal(take(ms, sealed(&e, "13")), MEMBERS_INVALID);
	assert_int_equal(members_seq(ms), 0);
	assert_int_equal(take(ms, sealed(&e, "12")), MEMBERS_ADDED);
}

static void
new_owners_are_signed_by_the_old_or_by_the_recovery_key(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	const struct slice own = new_owners(f, "2", "1");
	const struct slice rec = new_owners(own, "3", "9");
	struct members_entry e;

	take(ms, f);
	assert_int_equal(take(ms, new_owners(f, "2", "2")), MEMBERS_INVALID);
	assert_int_equal(take(ms, own), MEMBERS_ADDED);
	e = after(own, MEMBERS_ADD, 'a');
	assert_int_equal(take(ms, sealed(&e, "1")), MEMBERS_INVALID);
	assert_int_equal(take(ms, rec), MEMBERS_ADDED);
	e = after(rec, MEMBERS_ADD, 'a');
	assert_int_equal(take(ms, sealed(&e, "2")), MEMBERS_INVALID);
	assert_int_equal(take(ms, sealed(&e, "3")), MEMBERS_ADDED);
}

/* --- forks --------------------------------------------------------------- */

/* The one of two whose digest is smaller, and the other. */
static void
in_order(struct slice *a, struct slice *b)
{
	struct members_entry x, y;
	const struct slice t = *a;

	assert_int_equal(members_entry_decode(&x, *a, NULL), 0);
	assert_int_equal(members_entry_decode(&y, *b, NULL), 0);
	if (memcmp(x.digest.b, y.digest.b, 32) < 0)
		return;
	*a = *b;
	*b = t;
}

static void
of_two_equal_entries_the_smaller_digest_wins(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	struct slice x = add(f, 'x'), y = add(f, 'y');

	in_order(&x, &y);
	take(ms, f);
	assert_int_equal(take(ms, y), MEMBERS_ADDED);
	assert_int_equal(take(ms, x), MEMBERS_FORK);
	assert_true(heads(ms, x) && members_count(ms) == 1);
	assert_int_equal(take(ms, y), MEMBERS_KNOWN);
	/* What follows the one that lost is lost, however long. */
	assert_int_equal(take(ms, add(y, 'z')), MEMBERS_LOST);
	assert_int_equal(take(ms, add(add(y, 'z'), 'w')), MEMBERS_LOST);
	assert_true(heads(ms, x));
}

static void
what_a_losing_branch_removes_stays_removed(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	const struct slice a = add(f, 'a');
	const struct slice ra = removal(a, 'a');
	const struct slice b = add(a, 'b'), rb = removal(b, 'a');
	struct slice x = add(a, 'x'), y = add(a, 'y');
	struct slice gone;

	/* A REMOVE comes before an ADD. */
	take(ms, f);
	take(ms, a);
	assert_int_equal(take(ms, b), MEMBERS_ADDED);
	assert_int_equal(take(ms, ra), MEMBERS_FORK);
	assert_true(heads(ms, ra) && !has(ms, 'a') && !has(ms, 'b'));
	assert_int_equal(take(ms, rb), MEMBERS_LOST);
	members_free(ms);
	/* Deep in a branch that lost, it counts all the same... */
	*state = ms = members_new();
	in_order(&x, &y);
	gone = removal(y, 'a');
	take(ms, f);
	take(ms, a);
	take(ms, x);
	assert_int_equal(take(ms, y), MEMBERS_LOST);
	assert_true(has(ms, 'a'));
	assert_int_equal(take(ms, gone), MEMBERS_LOST);
	assert_true(heads(ms, x) && !has(ms, 'a') && was(ms, 'a'));
	assert_int_equal(members_count(ms), 1);
	/* ...until the owner adds it again, behind that. */
	gone = add(x, 'q');
	take(ms, gone);
	assert_false(has(ms, 'a'));
	assert_int_equal(take(ms, add(gone, 'a')), MEMBERS_ADDED);
	assert_true(has(ms, 'a') && !was(ms, 'a'));
}

static void
a_rollback_is_no_fork(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	const struct slice a = add(f, 'a'), b = add(a, 'b');
	const struct slice ra = removal(b, 'a');

	take(ms, f);
	take(ms, a);
	take(ms, b);
	take(ms, ra);
	/* The log as it was, as often as somebody likes. */
	assert_int_equal(take(ms, f), MEMBERS_KNOWN);
	assert_int_equal(take(ms, a), MEMBERS_KNOWN);
	assert_int_equal(take(ms, b), MEMBERS_KNOWN);
	assert_true(heads(ms, ra) && !has(ms, 'a'));
}

static void
a_key_that_owns_no_more_cannot_go_back(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "12");
	const struct slice a = add(f, 'a'), own = new_owners(a, "2", "2");
	struct members_entry e;
	struct slice x;

	take(ms, f);
	take(ms, a);
	assert_int_equal(take(ms, own), MEMBERS_ADDED);
	/* Beside what is settled: whatever it says, whatever it removes. */
	e = after(a, MEMBERS_REMOVE, 'a');
	x = sealed(&e, "1");
	assert_int_equal(take(ms, x), MEMBERS_LOST);
	assert_int_equal(take(ms, new_owners(x, "1", "1")), MEMBERS_LOST);
	assert_int_equal(take(ms, new_owners(a, "1", "1")), MEMBERS_LOST);
	assert_int_equal(take(ms, new_owners(f, "1", "1")), MEMBERS_LOST);
	assert_true(heads(ms, own) && has(ms, 'a'));
}

static void
owners_come_before_everything(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a');
	const struct slice ra = removal(a, 'a');
	const struct slice own = new_owners(a, "2", "1");

	take(ms, f);
	take(ms, a);
	take(ms, ra);
	assert_int_equal(take(ms, own), MEMBERS_FORK);
	assert_true(heads(ms, own));
	/* The REMOVE was beside an OWNERS: who signed it may own no more. */
	assert_true(has(ms, 'a'));
}

static void
the_recovery_key_wins_against_any_branch(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1"), a = add(f, 'a');
	/* A thief with the owner's key: new owners, and many entries. */
	const struct slice t1 = new_owners(a, "5", "1");
	const struct slice t2 = new_owners(t1, "6", "5");
	/* The owner has seen nothing of it, and added one more. */
	const struct slice b = add(a, 'b');
	const struct slice rec = new_owners(b, "2", "9");
	struct members_entry e = after(rec, MEMBERS_ADD, 'c');

	take(ms, f);
	take(ms, a);
	take(ms, t1);
	take(ms, t2);
	assert_int_equal(take(ms, b), MEMBERS_LOST);
	assert_int_equal(take(ms, rec), MEMBERS_FORK);
	assert_true(heads(ms, rec) && has(ms, 'a') && has(ms, 'b'));
	assert_int_equal(take(ms, sealed(&e, "2")), MEMBERS_ADDED);
	assert_int_equal(take(ms, new_owners(t2, "5", "6")), MEMBERS_LOST);
}

static void
too_many_entries_beside_the_log_are_refused(void **state)
{
	struct members *ms = *state;
	const struct slice f = found(1, "1");
	struct slice side, last;
	struct members_entry e;
	const struct slice a = add(f, 'a');

	take(ms, f);
	take(ms, a);
	last = removal(a, 'a');
	take(ms, last);
	side = add(a, 'b');
	for (unsigned i = 0; i < MEMBERS_SIDE_MAX; i++) {
		assert_int_equal(take(ms, side), MEMBERS_LOST);
		e = after(side, MEMBERS_RENAME, 'b');
		snprintf(e.name, sizeof(e.name), "b %u", i);
		side = sealed(&e, "1");
	}
	assert_int_equal(take(ms, side), MEMBERS_INVALID);
	assert_int_equal(take(ms, add(last, 'z')), MEMBERS_ADDED);
}

static void
assert_same(const struct members *a, const struct members *b)
{
	uint8_t x[32], y[32];

	members_head(a, x);
	members_head(b, y);
	assert_memory_equal(x, y, 32);
	assert_int_equal(members_count(a), members_count(b));
	for (size_t i = 0; i < members_count(a); i++)
		assert_string_equal(members_at(a, i)->name,
		    members_at(b, i)->name);
	for (char c = 'a'; c < 'f'; c++)
		assert_int_equal(was(a, c), was(b, c));
}

/*
 * Owners who cannot hear each other, no OWNERS: a random tree, given to two
 * nodes in different orders, makes the same log and the same members.
 */
static void
everybody_with_the_same_entries_has_the_same_log(void **state)
{
	struct slice node[24];
	struct rng rng;

	(void)state;
	rng_init(&rng, 20221);
	for (int round = 0; round < 60; round++) {
		struct members *a = members_new(), *b = members_new();
		size_t left = 1;

		node[0] = found(1, "1");
		take(a, node[0]);
		while (left < 24) {
			const struct slice from = node[rng_below(&rng, left)];
			const char letter =
			    (char)('a' + (int)rng_below(&rng, 5));
			const uint64_t what = rng_below(&rng, 10);
			const struct slice s =
			    what == 0  ? new_owners(from, "1", "9")
			    : what < 5 ? removal(from, letter)
				       : add(from, letter);

			/* It may be nonsense there, or there already. */
			const enum members_verdict v = take(a, s);

			if (v != MEMBERS_INVALID && v != MEMBERS_KNOWN)
				node[left++] = s;
		}
		/* Any order in which each has what it follows. */
		while (left > 0) {
			const size_t i = rng_below(&rng, left);
			const enum members_verdict v = take(b, node[i]);

			assert_int_not_equal(v, MEMBERS_INVALID);
			if (v != MEMBERS_GAP)
				node[i] = node[--left];
		}
		assert_same(a, b);
		members_free(a);
		members_free(b);
	}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_domain_is_founded_and_devices_come_and_go),
		T(an_entry_of_somebody_else_changes_nothing),
		T(no_bit_of_an_entry_can_be_changed),
		T(the_same_body_with_other_signatures_is_the_same_entry),
		T(what_makes_no_sense_is_refused),
		T(names_are_for_people),
		T(a_device_is_renamed_and_its_old_name_is_free),
		T(a_key_is_rotated_and_the_old_one_is_good_for_a_while),
		T(what_a_member_may_follows_it_to_its_new_id),
		T(a_key_that_rotates_back_makes_no_circle),
		T(rules_say_who_may_what_and_the_newest_counts),
		T(a_kind_of_the_future_has_its_place_and_no_effect),
		T(two_of_three_owners_must_sign),
		T(a_domain_is_founded_by_its_own_owners),
		T(new_owners_are_signed_by_the_old_or_by_the_recovery_key),
		T(of_two_equal_entries_the_smaller_digest_wins),
		T(what_a_losing_branch_removes_stays_removed),
		T(a_rollback_is_no_fork),
		T(a_key_that_owns_no_more_cannot_go_back),
		T(owners_come_before_everything),
		T(the_recovery_key_wins_against_any_branch),
		T(too_many_entries_beside_the_log_are_refused),
		T(everybody_with_the_same_entries_has_the_same_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
