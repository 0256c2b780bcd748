/*
 * Private addresses: the same for everybody, and never another device's in a
 * domain.  The vectors were computed by hand from docs/protocol.md, section 11.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "mesh/fixedaddr.h"
#include "mesh/members_entry.h"

#define S(text) SLICE_LIT(text)

static struct devid
device(uint32_t n)
{
	struct devid id = { { (uint8_t)n, (uint8_t)(n >> 8), 1 } };

	return id;
}

/* --- a log --------------------------------------------------------------- */

struct log_of {
	struct members *ms;
	struct buf last;
};

static void
put(struct log_of *l, enum members_kind kind, uint32_t about, uint32_t other)
{
	const struct sign_secret owner = { { 1, 7 } }, recovery = { { 9, 7 } };
	struct members_entry e = { .kind = kind, .seq = 1, .wall_s = 5 };
	struct members_entry before;
	struct buf body = { 0 }, out = { 0 };

	if (l->last.len > 0) {
		assert_int_equal(
		    members_entry_decode(&before, buf_slice(&l->last), NULL),
		    0);
		e.seq = before.seq + 1;
		e.prev = before.digest;
		e.device = device(about);
		if (kind == MEMBERS_ROTATE)
			e.other = device(other);
		if (kind == MEMBERS_ADD)
			snprintf(e.name, sizeof(e.name), "%u %u", about,
			    (unsigned)e.seq);
	} else {
		sign_public_of(&owner, &e.owner[0]);
		sign_public_of(&recovery, &e.recovery);
		e.owner_count = e.need = 1;
	}
	members_entry_body(&e, &body);
	members_entry_sign(buf_slice(&body), &owner, 1, &out);
	assert_int_equal(members_take(l->ms, e.seq, buf_slice(&out), NULL),
	    MEMBERS_ADDED);
	buf_fini(&body);
	buf_fini(&l->last);
	l->last = out;
}

static void
open_log(struct log_of *l)
{
	*l = (struct log_of){ .ms = members_new() };
	put(l, MEMBERS_FOUND, 0, 0);
}

static void
close_log(struct log_of *l)
{
	members_free(l->ms);
	buf_fini(&l->last);
}

static uint32_t
v4(const struct log_of *l, uint32_t n)
{
	struct fixedaddr_book *book =
	    l != NULL ? fixedaddr_book_new(l->ms) : NULL;
	const struct devid id = device(n);
	struct fixedaddr a;

	fixedaddr_of(book, &id, &a);
	fixedaddr_book_free(book);
	return (uint32_t)a.v4[0] << 24 | (uint32_t)a.v4[1] << 16 |
	       (uint32_t)a.v4[2] << 8 | a.v4[3];
}

/* --- tests --------------------------------------------------------------- */

static void
vectors_are_those_of_the_page(void **state)
{
	static const struct {
		uint8_t fill;
		const char *v4, *v6;
	} vector[] = {
		{ 0x01, "100.67.88.233",
		    "fd6b:e6d7:f1d6:b1a3:286:dc9c:fd39:9da6" },
		{ 0x5a, "100.79.138.163",
		    "fd6b:e6d7:f1d6:54eb:edd9:b57b:9e39:8514" },
		{ 0xff, "100.68.109.165",
		    "fd6b:e6d7:f1d6:5565:a1cd:13dc:9840:e525" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(vector) / sizeof(vector[0]); i++) {
		struct fixedaddr_text text;
		struct fixedaddr a;
		struct devid id;

		memset(id.b, vector[i].fill, sizeof(id.b));
		fixedaddr_of(NULL, &id, &a);
		fixedaddr_print(&a, &text);
		assert_string_equal(text.v4, vector[i].v4);
		assert_string_equal(text.v6, vector[i].v6);
		assert_true(fixedaddr_is(&a, slice_str(text.v4)));
		assert_true(fixedaddr_is(&a, slice_str(text.v6)));
	}
}

static void
an_address_is_known_however_it_is_written(void **state)
{
	const struct fixedaddr a = { { 100, 64, 1, 2 },
		{ 0xfd, 0x6b, 0xe6, 0xd7, 0xf1, 0xd6, [15] = 0xab } };

	(void)state;
	assert_true(fixedaddr_is(&a, S("100.64.1.2")));
	assert_true(fixedaddr_is(&a, S("fd6b:e6d7:f1d6::ab")));
	assert_true(fixedaddr_is(&a, S("FD6B:E6D7:F1D6:0:0:0:0:00ab")));
	assert_false(fixedaddr_is(&a, S("100.64.1.3")));
	assert_false(fixedaddr_is(&a, S("fd6b:e6d7:f1d6::ac")));
	assert_false(fixedaddr_is(&a, S("100.64.1.2:22")));
	assert_false(fixedaddr_is(&a, S("[fd6b:e6d7:f1d6::ab]")));
	assert_false(fixedaddr_is(&a, S("hub")));
	assert_false(fixedaddr_is(&a, S("")));
	assert_false(fixedaddr_is(&a, S(":")));
}

/* Two devices whose digests say the same number; found by looking. */
static void
two_that_meet(uint32_t *a, uint32_t *b)
{
	static uint32_t seen[65536];

	for (uint32_t n = 1; n < 65536; n++) {
		seen[n] = v4(NULL, n);
		for (uint32_t k = 1; k < n; k++)
			if (seen[k] == seen[n]) {
				*a = k;
				*b = n;
				return;
			}
	}
	fail_msg("no two of 65535 meet among 4 million?");
}

static void
members_never_have_the_same_and_the_first_keeps_its_own(void **state)
{
	struct log_of l, other;
	uint32_t a, b;

	(void)state;
	two_that_meet(&a, &b);
	open_log(&l);
	put(&l, MEMBERS_ADD, a, 0);
	put(&l, MEMBERS_ADD, b, 0);
	assert_int_equal(v4(&l, a), v4(NULL, a));
	assert_int_equal(v4(&l, b), v4(NULL, a) + 1);
	open_log(&other);
	put(&other, MEMBERS_ADD, b, 0);
	put(&other, MEMBERS_ADD, a, 0);
	assert_int_equal(v4(&other, b), v4(NULL, b));
	assert_int_equal(v4(&other, a), v4(NULL, b) + 1);
	close_log(&l);
	close_log(&other);
}

static void
an_address_outlives_who_had_it(void **state)
{
	struct log_of l;
	uint32_t a, b, was;

	(void)state;
	two_that_meet(&a, &b);
	open_log(&l);
	put(&l, MEMBERS_ADD, a, 0);
	put(&l, MEMBERS_ADD, b, 0);
	was = v4(&l, b);
	/* The first one leaves: the second keeps what it has. */
	put(&l, MEMBERS_REMOVE, a, 0);
	assert_int_equal(v4(&l, b), was);
	/* And so does the second when it comes back. */
	put(&l, MEMBERS_REMOVE, b, 0);
	put(&l, MEMBERS_ADD, b, 0);
	assert_int_equal(v4(&l, b), was);
	put(&l, MEMBERS_ADD, a, 0);
	assert_int_equal(v4(&l, a), v4(NULL, a));
	close_log(&l);
}

static void
a_new_key_keeps_the_number(void **state)
{
	struct log_of l;
	uint32_t was;

	(void)state;
	open_log(&l);
	put(&l, MEMBERS_ADD, 1, 0);
	was = v4(&l, 1);
	put(&l, MEMBERS_ROTATE, 1, 2);
	assert_int_equal(v4(&l, 2), was);
	/* The ID it had, as a device of its own, does not get it back. */
	put(&l, MEMBERS_ADD, 1, 0);
	assert_int_not_equal(v4(&l, 1), was);
	assert_int_equal(v4(&l, 2), was);
	close_log(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_are_those_of_the_page),
		cmocka_unit_test(an_address_is_known_however_it_is_written),
		cmocka_unit_test(
		    members_never_have_the_same_and_the_first_keeps_its_own),
		cmocka_unit_test(an_address_outlives_who_had_it),
		cmocka_unit_test(a_new_key_keeps_the_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
