/*
 * The log between two members: whoever has less ends up with all of it, and a
 * peer that asks or tells too much gets nothing by it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "mesh/members_entry.h"
#include "mesh/members_talk.h"
#include "testmembers.h"

/* --- logs ---------------------------------------------------------------- */

/* An entry after `prev`, or the FOUND, by owner 1. */
static struct slice
entry_after(struct slice prev, enum members_kind kind, uint32_t about)
{
	struct members_entry e = { .kind = kind, .seq = 1, .wall_s = 5 };
	const struct sign_secret owner = key_of(1), recovery = key_of(9);
	struct members_entry before;

	if (prev.len > 0) {
		assert_int_equal(members_entry_decode(&before, prev, NULL), 0);
		e.seq = before.seq + 1;
		e.prev = before.digest;
		e.device.b[0] = (uint8_t)about;
		e.device.b[1] = (uint8_t)(about >> 8);
		e.device.b[2] = 1;
		snprintf(e.name, sizeof(e.name), "device %u", about);
	} else {
		sign_public_of(&owner, &e.owner[0]);
		sign_public_of(&recovery, &e.recovery);
		e.owner_count = e.need = 1;
	}
	return sealed_by(&e, &owner, 1);
}

static enum members_verdict
take(struct members *ms, struct slice entry)
{
	struct members_entry e;

	assert_int_equal(members_entry_decode(&e, entry, NULL), 0);
	return members_take(ms, e.seq, entry, NULL);
}

/* A log of `count` entries, the same for all that begin the same. */
static struct slice
fill(struct members *ms, uint32_t count)
{
	struct slice last = entry_after(SLICE_EMPTY, MEMBERS_FOUND, 0);

	assert_int_equal(take(ms, last), MEMBERS_ADDED);
	for (uint32_t i = 1; i < count; i++) {
		last = entry_after(last, MEMBERS_ADD, i);
		assert_int_equal(take(ms, last), MEMBERS_ADDED);
	}
	return last;
}

static bool
agree(const struct members *a, const struct members *b)
{
	uint8_t x[32], y[32];

	members_sum(a, x);
	members_sum(b, y);
	return memcmp(x, y, sizeof(x)) == 0;
}

/* --- two who talk -------------------------------------------------------- */

struct side {
	struct members *ms;
	struct members_talk talk;
	unsigned said, pages;
};

static void said(struct side *to, struct side *from, struct slice bytes);

static void
say(struct side *from, struct side *to, const struct members_word *w)
{
	struct buf out = { 0 };

	from->said++;
	members_talk_encode(w, &out);
	assert_true(out.len <= LIMIT_MEMBERS_LEN);
	said(to, from, buf_slice(&out));
	buf_fini(&out);
}

static void
took(struct side *s, struct side *peer, const struct members_word *w)
{
	enum members_verdict v = MEMBERS_KNOWN;
	struct members_word out;

	if (!members_talk_wants(&s->talk))
		return;
	s->pages++;
	for (size_t i = 0; i < w->count && v != MEMBERS_GAP; i++)
		v = take(s->ms, w->entry[i]);
	if (members_talk_took(&s->talk, s->ms, w, v, &out))
		say(s, peer, &out);
	if (members_talk_head(&s->talk, s->ms, &out))
		say(s, peer, &out);
}

static void
said(struct side *to, struct side *from, struct slice bytes)
{
	struct members_word w, out;

	assert_int_equal(members_talk_decode(&w, bytes, &ar, NULL), 0);
	switch (w.kind) {
	case MEMBERS_TALK_HEAD:
		if (members_talk_on_head(&to->talk, to->ms, &w, &out))
			say(to, from, &out);
		break;
	case MEMBERS_TALK_ASK:
		if (members_talk_on_ask(&to->talk, to->ms, &w, &ar, &out))
			say(to, from, &out);
		break;
	case MEMBERS_TALK_ENTRIES:
		took(to, from, &w);
		break;
	case MEMBERS_TALK_BALLOT:
		break;
	}
}

static void
connect(struct side *a, struct side *b)
{
	struct members_word w;

	a->talk = b->talk = (struct members_talk){ 0 };
	a->said = a->pages = b->said = b->pages = 0;
	if (members_talk_head(&a->talk, a->ms, &w))
		say(a, b, &w);
	if (members_talk_head(&b->talk, b->ms, &w))
		say(b, a, &w);
}

struct pair {
	struct side a, b;
};

static int
setup(void **state)
{
	static struct pair p;

	arena_init(&ar);
	p = (struct pair){ .a.ms = members_new(), .b.ms = members_new() };
	*state = &p;
	return 0;
}

static int
teardown(void **state)
{
	struct pair *p = *state;

	members_free(p->a.ms);
	members_free(p->b.ms);
	arena_fini(&ar);
	return 0;
}

/* --- tests --------------------------------------------------------------- */

static void
equals_say_one_head_each_and_no_more(void **state)
{
	struct pair *p = *state;

	fill(p->a.ms, 5);
	fill(p->b.ms, 5);
	connect(&p->a, &p->b);
	assert_int_equal(p->a.said, 1);
	assert_int_equal(p->b.said, 1);
	assert_true(members_talk_agrees(&p->a.talk, p->a.ms));
	assert_true(members_talk_agrees(&p->b.talk, p->b.ms));
}

static void
who_is_behind_gets_what_it_lacks_alone(void **state)
{
	struct pair *p = *state;
	const struct slice last = fill(p->a.ms, 20);

	fill(p->b.ms, 17);
	connect(&p->a, &p->b);
	assert_true(agree(p->a.ms, p->b.ms));
	assert_int_equal(p->b.pages, 1);
	assert_int_equal(p->a.pages, 0);
	/* One more, while they are connected. */
	struct members_word w;
	assert_int_equal(take(p->a.ms, entry_after(last, MEMBERS_ADD, 99)),
	    MEMBERS_ADDED);
	assert_true(members_talk_head(&p->a.talk, p->a.ms, &w));
	say(&p->a, &p->b, &w);
	assert_true(agree(p->a.ms, p->b.ms));
	assert_int_equal(members_seq(p->b.ms), 21);
}

static void
a_long_log_comes_in_pages(void **state)
{
	struct pair *p = *state;

	fill(p->a.ms, 2500);
	fill(p->b.ms, 1);
	connect(&p->b, &p->a);
	assert_true(agree(p->a.ms, p->b.ms));
	assert_true(p->b.pages >= 3);
}

static void
two_branches_become_one_log_on_both_sides(void **state)
{
	struct pair *p = *state;
	struct slice a = fill(p->a.ms, 6), b = fill(p->b.ms, 6);
	uint8_t x[32], y[32];

	for (uint32_t i = 0; i < 3; i++) {
		a = entry_after(a, MEMBERS_ADD, 100 + i);
		take(p->a.ms, a);
	}
	b = entry_after(b, MEMBERS_REMOVE, 2);
	take(p->b.ms, b);
	connect(&p->a, &p->b);
	assert_true(agree(p->a.ms, p->b.ms));
	members_head(p->a.ms, x);
	members_head(p->b.ms, y);
	assert_memory_equal(x, y, 32);
	assert_int_equal(members_kept_count(p->a.ms), 10);
	/* The same again costs a word each. */
	connect(&p->a, &p->b);
	assert_int_equal(p->a.said + p->b.said, 2);
}

static void
what_lies_beside_equal_logs_is_told_too(void **state)
{
	struct pair *p = *state;
	const struct slice a = fill(p->a.ms, 6), b = fill(p->b.ms, 6);
	const struct slice removal = entry_after(a, MEMBERS_REMOVE, 2);

	assert_true(slice_equal(a, b));
	/* Both have the removal as their log; one knows of an addition. */
	take(p->a.ms, removal);
	take(p->b.ms, removal);
	assert_int_equal(take(p->a.ms, entry_after(a, MEMBERS_ADD, 50)),
	    MEMBERS_LOST);
	assert_false(agree(p->a.ms, p->b.ms));
	connect(&p->a, &p->b);
	assert_true(agree(p->a.ms, p->b.ms));
	assert_int_equal(p->b.pages, 1);
	assert_int_equal(p->a.pages, 0);
}

static void
an_empty_log_is_not_asked_for(void **state)
{
	struct pair *p = *state;

	fill(p->a.ms, 3);
	connect(&p->a, &p->b);
	assert_int_equal(p->b.said, 0);
	assert_int_equal(members_seq(p->b.ms), 0);
}

static void
a_peer_may_ask_twice_for_each_head(void **state)
{
	struct pair *p = *state;
	struct members_word ask = { .kind = MEMBERS_TALK_ASK, .seq = 1 };
	struct members_word out;

	fill(p->a.ms, 1100);
	assert_false(members_talk_on_ask(&p->a.talk, p->a.ms, &ask, &ar, &out));
	assert_true(members_talk_head(&p->a.talk, p->a.ms, &out));
	assert_false(members_talk_head(&p->a.talk, p->a.ms, &out));
	for (int i = 0; i < 2; i++)
		assert_true(
		    members_talk_on_ask(&p->a.talk, p->a.ms, &ask, &ar, &out));
	assert_false(members_talk_on_ask(&p->a.talk, p->a.ms, &ask, &ar, &out));
	/* The next page, once; no other. */
	ask.page = 7;
	assert_false(members_talk_on_ask(&p->a.talk, p->a.ms, &ask, &ar, &out));
	ask.page = p->a.talk.next_page;
	assert_true(ask.page > 0);
	assert_true(members_talk_on_ask(&p->a.talk, p->a.ms, &ask, &ar, &out));
	assert_int_equal(out.page, 0);
	assert_false(members_talk_on_ask(&p->a.talk, p->a.ms, &ask, &ar, &out));
}

static void
who_tells_what_cannot_be_is_asked_no_more(void **state)
{
	struct pair *p = *state;
	struct members_word w = { .kind = MEMBERS_TALK_HEAD, .seq = 9 }, out;

	fill(p->b.ms, 3);
	w.head[0] = w.sum[0] = 1;
	assert_false(members_talk_wants(&p->b.talk));
	assert_true(members_talk_on_head(&p->b.talk, p->b.ms, &w, &out));
	assert_int_equal(out.seq, 4);
	assert_true(members_talk_wants(&p->b.talk));
	/* A page that does not follow: from the start, once. */
	w.kind = MEMBERS_TALK_ENTRIES;
	assert_true(
	    members_talk_took(&p->b.talk, p->b.ms, &w, MEMBERS_GAP, &out));
	assert_int_equal(out.seq, 1);
	assert_false(
	    members_talk_took(&p->b.talk, p->b.ms, &w, MEMBERS_GAP, &out));
	assert_false(members_talk_wants(&p->b.talk));
	w.kind = MEMBERS_TALK_HEAD;
	w.sum[1] = 1;
	assert_false(members_talk_on_head(&p->b.talk, p->b.ms, &w, &out));
}

static void
broken_words_are_refused(void **state)
{
	static const struct members_word head = { .kind = MEMBERS_TALK_HEAD,
		.seq = 3 };
	struct members_word w;
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(members_talk_decode(&w, SLICE_EMPTY, &ar, NULL),
	    ERR_UNSUPPORTED);
	assert_int_equal(
	    members_talk_decode(&w, SLICE_LIT("\x08\x09"), &ar, NULL),
	    ERR_UNSUPPORTED);
	assert_int_equal(members_talk_decode(&w, SLICE_LIT("\xff"), &ar, NULL),
	    ERR_PROTOCOL);
	/* A digest of another length; a ballot without its entry. */
	assert_int_equal(
	    members_talk_decode(&w, SLICE_LIT("\x08\x01\x2a\x01x"), &ar, NULL),
	    ERR_PROTOCOL);
	assert_int_equal(
	    members_talk_decode(&w, SLICE_LIT("\x08\x04"), &ar, NULL),
	    ERR_PROTOCOL);
	members_talk_encode(&head, &b);
	assert_int_equal(members_talk_decode(&w, buf_slice(&b), &ar, NULL), 0);
	assert_int_equal(w.seq, 3);
	buf_put_u8(&b, 8 << 3 | 2);
	buf_put_varint(&b, COORD_ENTRY_MAX + 1);
	buf_extend(&b, COORD_ENTRY_MAX + 1);
	memset(b.ptr + b.len - COORD_ENTRY_MAX - 1, 'x', COORD_ENTRY_MAX + 1);
	assert_int_equal(members_talk_decode(&w, buf_slice(&b), &ar, NULL),
	    ERR_PROTOCOL);
	buf_clear(&b);
	members_talk_encode(&head, &b);
	for (unsigned i = 0; i <= MEMBERS_TALK_ENTRIES_MAX; i++)
		buf_put(&b, SLICE_LIT("\x42\x01x"));
	assert_int_equal(members_talk_decode(&w, buf_slice(&b), &ar, NULL),
	    ERR_PROTOCOL);
	buf_fini(&b);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(equals_say_one_head_each_and_no_more),
		TEST(who_is_behind_gets_what_it_lacks_alone),
		TEST(a_long_log_comes_in_pages),
		TEST(two_branches_become_one_log_on_both_sides),
		TEST(what_lies_beside_equal_logs_is_told_too),
		TEST(an_empty_log_is_not_asked_for),
		TEST(a_peer_may_ask_twice_for_each_head),
		TEST(who_tells_what_cannot_be_is_asked_no_more),
		TEST(broken_words_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
