/*
 * The coordinator against its members, and against those who are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "mesh/coord_server.h"
#include "mesh/members.h"
#include "mesh/members_entry.h"
#include "testmembers.h"

static struct now now;

/* --- logs ------------------------------------------------------------- */

/* A domain of `owner` with these devices; its entries. */
struct log {
	VEC(struct slice) entry;
	struct coord_id id;
	uint8_t head[32];
	uint8_t owner;
};

static void
log_add(struct log *l, enum members_kind kind, char letter)
{
	const struct sign_secret key = key_of(l->owner);
	struct members_entry e = { .kind = kind,
		.seq = l->entry.len + 1,
		.wall_s = 1000000 };
	struct members_entry last;

	memcpy(e.prev.b, l->head, sizeof(l->head));
	if (kind == MEMBERS_FOUND) {
		sign_public_of(&key, &e.owner[0]);
		e.owner_count = e.need = 1;
		e.recovery.b[0] = 9;
		snprintf(e.name, sizeof(e.name), "home");
	} else {
		e.device = dev(letter);
	}
	if (kind == MEMBERS_ADD)
		snprintf(e.name, sizeof(e.name), "device %c", letter);
	*VEC_ADD(&l->entry) = sealed_by(&e, &key, 1);
	assert_int_equal(
	    members_entry_decode(&last, l->entry.item[l->entry.len - 1], NULL),
	    0);
	memcpy(l->head, last.digest.b, sizeof(l->head));
	if (kind == MEMBERS_FOUND)
		memcpy(l->id.b, last.digest.b, sizeof(l->id.b));
}

static struct log
log_of(uint8_t owner, const char *letters)
{
	struct log l = { .owner = owner };

	log_add(&l, MEMBERS_FOUND, 0);
	for (; *letters != '\0'; letters++)
		log_add(&l, MEMBERS_ADD, *letters);
	return l;
}

/* --- guests, and what they hear --------------------------------------- */

struct guest {
	struct coord_server_guest *g;
	struct devid id;
	struct buf heard;
	bool dropped, vain;
};

static VEC(struct guest *) guests;
static char notes[65536];
static unsigned kept;

static void
drain(struct coord_server *s)
{
	struct coord_server_effect ef;

	while (coord_server_next(s, &ef)) {
		struct guest *g = ef.owner;

		switch (ef.kind) {
		case COORD_SERVER_SEND:
			assert_false(g->dropped);
			buf_put(&g->heard, ef.bytes);
			break;
		case COORD_SERVER_DROP:
			assert_false(g->dropped);
			g->dropped = true;
			g->vain = ef.vain;
			break;
		case COORD_SERVER_KEEP:
			kept++;
			break;
		case COORD_SERVER_NOTE:
			snprintf(notes + strlen(notes),
			    sizeof(notes) - strlen(notes), "%s:%s\n", ef.what,
			    ef.text);
			break;
		}
	}
}

static struct guest *
enter(struct coord_server *s, char letter, bool may_found)
{
	struct guest *g = mem_zalloc(sizeof(*g));
	struct addr from;

	assert_int_equal(
	    addr_parse(&from, SLICE_LIT("tcp://192.0.2.7:99"), NULL), 0);
	g->id = dev(letter);
	g->g = coord_server_enter(s, g, &g->id, &from, may_found, now);
	*VEC_ADD(&guests) = g;
	drain(s);
	return g;
}

static void
say(struct coord_server *s, struct guest *g, const struct coord_message *m)
{
	coord_server_hear(s, g->g, m, now);
	drain(s);
}

static void
leave(struct coord_server *s, struct guest *g)
{
	coord_server_leave(s, g->g, now);
	g->g = NULL;
	drain(s);
}

/* The next message it heard; 0: none. */
static enum coord_type
heard(struct guest *g, struct coord_message *m)
{
	const struct slice copy = arena_dup(&ar, buf_slice(&g->heard));
	size_t used;

	if (copy.len == 0)
		return (enum coord_type)0;
	assert_int_equal(coord_decode(m, copy, &used, &ar, NULL), 1);
	buf_consume(&g->heard, used);
	return m->type;
}

static void
hears(struct guest *g, enum coord_type type)
{
	struct coord_message m;

	assert_int_equal(heard(g, &m), type);
}

static void
hears_refusal(struct guest *g, enum coord_code code, enum coord_type of)
{
	struct coord_message m;

	assert_int_equal(heard(g, &m), COORD_REFUSED);
	assert_int_equal(m.u.refused.code, code);
	assert_int_equal(m.u.refused.of, of);
}

static uint64_t run; /* of who says HELLO */

static void
hello(struct coord_server *s, struct guest *g, const struct log *l,
    uint64_t seq)
{
	struct coord_message m = { .type = COORD_HELLO };

	m.u.hello.version = 1;
	if (l != NULL) {
		struct members_entry e;

		m.u.hello.has_domain = true;
		m.u.hello.domain = l->id;
		m.u.hello.seq = seq;
		m.u.hello.run = run;
		if (seq > 0) {
			assert_int_equal(members_entry_decode(&e,
					     l->entry.item[seq - 1], NULL),
			    0);
			memcpy(m.u.hello.head, e.digest.b, 32);
		}
	}
	say(s, g, &m);
}

static void
bring(struct coord_server *s, struct guest *g, const struct log *l,
    uint64_t from)
{
	struct coord_message m = { .type = COORD_ENTRIES };

	m.u.entries.seq = from;
	m.u.entries.entry = l->entry.item + from - 1;
	m.u.entries.count = l->entry.len - (from - 1);
	say(s, g, &m);
}

static void
publish(struct coord_server *s, struct guest *g, const char *text)
{
	struct coord_message m = { .type = COORD_PUBLISH };
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	m.u.where.addr = &a;
	m.u.where.count = 1;
	say(s, g, &m);
}

static void
want(struct coord_server *s, struct guest *g, const char *letters)
{
	struct coord_message m = { .type = COORD_WANT };
	struct devid id[26];

	m.u.want.id = id;
	for (; *letters != '\0'; letters++)
		id[m.u.want.count++] = dev(*letters);
	say(s, g, &m);
}

static bool
signal_to(struct coord_server *s, struct guest *g, char letter)
{
	struct coord_message m = { .type = COORD_SIGNAL };

	m.u.signal.peer = dev(letter);
	m.u.signal.body = SLICE_LIT("knock");
	say(s, g, &m);
	return !g->dropped;
}

static void
hears_where(struct guest *g, char letter, const char *text, bool here)
{
	struct coord_message m;
	char got[ADDR_TEXT_MAX] = "";
	const struct devid id = dev(letter);

	assert_int_equal(heard(g, &m), COORD_WHERE);
	assert_true(devid_equal(&m.u.where.id, &id));
	if (m.u.where.count > 0)
		addr_text(&m.u.where.addr[0], got);
	assert_string_equal(got, text);
	assert_int_equal(m.u.where.here, here);
}

/* A server that has this domain, as after a restart. */
static struct coord_server *
server_of(const struct log *l)
{
	struct coord_server *s = coord_server_new(1);

	now = (struct now){ .mono_ns = 1000 * CLOCK_S,
		.wall_ns = 2000000 * (int64_t)CLOCK_S };
	notes[0] = '\0';
	kept = 0;
	for (uint64_t i = 0; l != NULL && i < l->entry.len; i++)
		assert_int_equal(coord_server_restore(s, &l->id, i + 1,
				     l->entry.item[i], NULL),
		    0);
	return s;
}

static void
end(struct coord_server *s, struct log *l)
{
	for (size_t i = 0; i < guests.len; i++) {
		if (guests.item[i]->g != NULL)
			leave(s, guests.item[i]);
		buf_fini(&guests.item[i]->heard);
		mem_free(guests.item[i]);
	}
	VEC_FINI(&guests);
	drain(s);
	coord_server_free(s);
	if (l != NULL)
		VEC_FINI(&l->entry);
	arena_clear(&ar);
}

/* A member that is up to date, with its WELCOME taken. */
static struct guest *
member(struct coord_server *s, const struct log *l, char letter)
{
	struct guest *g = enter(s, letter, false);

	hello(s, g, l, l->entry.len);
	hears(g, COORD_WELCOME);
	assert_true(coord_server_is_in(g->g));
	return g;
}

/* --- the stories ------------------------------------------------------ */

static void
coord_server_knows_the_members_of_its_domains(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	const struct devid a = dev('a'), b = dev('b'), c = dev('c');
	struct guest *g;

	(void)state;
	assert_true(coord_server_knows(s, &a, now));
	assert_true(coord_server_knows(s, &b, now));
	assert_false(coord_server_knows(s, &c, now));
	g = member(s, &l, 'a');
	log_add(&l, MEMBERS_REMOVE, 'b');
	bring(s, g, &l, l.entry.len);
	assert_false(coord_server_knows(s, &b, now));
	end(s, &l);
}

static void
coord_server_welcomes_members_with_what_they_lack(void **state)
{
	struct log l = log_of(1, "abc");
	struct coord_server *s = server_of(&l);
	struct guest *g = enter(s, 'a', false);
	struct coord_message m;

	(void)state;
	hello(s, g, &l, 2);
	assert_int_equal(heard(g, &m), COORD_WELCOME);
	assert_int_equal(m.u.welcome.seq, 4);
	assert_int_equal(m.u.welcome.seen.port, 99);
	assert_int_equal(heard(g, &m), COORD_ENTRIES);
	assert_int_equal(m.u.entries.seq, 3);
	assert_int_equal(m.u.entries.count, 2);
	assert_true(slice_equal(m.u.entries.entry[1], l.entry.item[3]));
	hears(g, (enum coord_type)0);
	/* Nothing at all when it has all. */
	g = member(s, &l, 'b');
	hears(g, (enum coord_type)0);
	end(s, &l);
}

static void
coord_server_refuses_who_is_no_member(void **state)
{
	struct log l = log_of(1, "ab"), other = log_of(2, "x");
	struct coord_server *s = server_of(&l);
	struct guest *g = enter(s, 'x', true);

	(void)state;
	hello(s, g, &l, 3);
	hears_refusal(g, COORD_NOT_MEMBER, COORD_HELLO);
	assert_true(g->dropped);
	assert_true(g->vain);
	/* A domain that it has not, from who may not found. */
	g = enter(s, 'x', false);
	hello(s, g, &other, 2);
	hears_refusal(g, COORD_NO_DOMAIN, COORD_HELLO);
	assert_true(g->dropped);
	assert_non_null(strstr(notes, "refuse-member:"));
	assert_non_null(strstr(notes, "refuse-domain:"));
	VEC_FINI(&other.entry);
	end(s, &l);
}

static void
coord_server_takes_on_a_domain_that_a_founder_brings(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(NULL);
	struct guest *a = enter(s, 'a', true);
	struct coord_message m;
	struct coord_server_domain d;

	(void)state;
	hello(s, a, &l, 3);
	assert_int_equal(heard(a, &m), COORD_WELCOME);
	assert_int_equal(m.u.welcome.seq, 0);
	/* What it says too early is held. */
	publish(s, a, "tcp://192.0.2.1:22000");
	want(s, a, "b");
	assert_false(coord_server_domain_at(s, 0, &d));
	bring(s, a, &l, 1);
	assert_true(coord_server_is_in(a->g));
	assert_int_equal(kept, 3);
	assert_true(coord_server_domain_at(s, 0, &d));
	assert_int_equal(d.members, 2);
	assert_int_equal(d.entries, 3);
	assert_int_equal(d.here, 1);
	assert_string_equal(d.name, "home");
	hears_where(a, 'b', "", false);
	assert_non_null(strstr(notes, "found:home"));
	assert_non_null(strstr(notes, "add:entry 2 "));
	end(s, &l);
}

static void
coord_server_takes_no_domain_of_who_is_not_in_it(void **state)
{
	struct log l = log_of(1, "ab"), other = log_of(2, "x");
	struct coord_server *s = server_of(NULL);
	struct guest *g = enter(s, 'x', true);
	struct coord_server_domain d;

	(void)state;
	hello(s, g, &l, 3);
	hears(g, COORD_WELCOME);
	bring(s, g, &l, 1);
	assert_false(coord_server_is_in(g->g));
	assert_false(coord_server_domain_at(s, 0, &d));
	assert_int_equal(kept, 0);
	/* And it waits for that not for ever. */
	now.mono_ns += 31 * CLOCK_S;
	coord_server_tick(s, now);
	drain(s);
	assert_true(g->dropped);
	/* Entries of another domain than it said, and damaged ones. */
	g = enter(s, 'x', true);
	hello(s, g, &l, 3);
	hears(g, COORD_WELCOME);
	bring(s, g, &other, 1);
	hears_refusal(g, COORD_BAD_ENTRY, COORD_HELLO);
	g = enter(s, 'a', true);
	hello(s, g, &l, 3);
	hears(g, COORD_WELCOME);
	l.entry.item[1] = arena_dup(&ar, l.entry.item[1]);
	((uint8_t *)l.entry.item[1].ptr)[l.entry.item[1].len - 1] ^= 1;
	bring(s, g, &l, 1);
	hears_refusal(g, COORD_BAD_ENTRY, COORD_HELLO);
	assert_int_equal(kept, 0);
	VEC_FINI(&other.entry);
	end(s, &l);
}

static void
coord_server_pushes_entries_to_that_domain_alone(void **state)
{
	struct log l = log_of(1, "ab"), other = log_of(2, "x");
	struct coord_server *s = server_of(&l);
	struct guest *a, *b, *x;
	struct coord_message m;

	(void)state;
	for (uint64_t i = 0; i < other.entry.len; i++)
		assert_int_equal(coord_server_restore(s, &other.id, i + 1,
				     other.entry.item[i], NULL),
		    0);
	a = member(s, &l, 'a');
	b = member(s, &l, 'b');
	x = member(s, &other, 'x');
	log_add(&l, MEMBERS_ADD, 'c');
	bring(s, a, &l, 4);
	assert_int_equal(heard(b, &m), COORD_ENTRIES);
	assert_int_equal(m.u.entries.seq, 4);
	hears(a, COORD_ENTRIES);
	hears(x, (enum coord_type)0);
	/* Again is no news. */
	bring(s, b, &l, 1);
	hears(a, (enum coord_type)0);
	assert_int_equal(kept, 1);
	VEC_FINI(&other.entry);
	end(s, &l);
}

static void
coord_server_refuses_forged_entries(void **state)
{
	struct log l = log_of(1, "ab"), forged = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b');

	(void)state;
	/* Signed by somebody who is no owner. */
	forged.owner = 3;
	log_add(&forged, MEMBERS_ADD, 'x');
	for (unsigned i = 0; i + 1 < LIMIT_COORD_VAIN; i++) {
		bring(s, a, &forged, 4);
		hears_refusal(a, COORD_BAD_ENTRY, COORD_ENTRIES);
	}
	assert_int_equal(kept, 0);
	hears(b, (enum coord_type)0);
	bring(s, a, &forged, 4);
	assert_true(a->dropped);
	assert_non_null(strstr(notes, "refuse-entry:"));
	/* With a gap nothing can be said of it. */
	log_add(&l, MEMBERS_ADD, 'c');
	log_add(&l, MEMBERS_ADD, 'd');
	bring(s, b, &l, 5);
	hears_refusal(b, COORD_BEHIND, COORD_ENTRIES);
	hears(b, COORD_ENTRIES); /* so it gets what we have */
	VEC_FINI(&forged.entry);
	end(s, &l);
}

static void
coord_server_cuts_a_removed_device_at_once(void **state)
{
	struct log l = log_of(1, "abc");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b');

	(void)state;
	publish(s, b, "tcp://192.0.2.2:22000");
	want(s, a, "b");
	hears_where(a, 'b', "tcp://192.0.2.2:22000", true);
	log_add(&l, MEMBERS_REMOVE, 'b');
	bring(s, a, &l, 5);
	hears(b, COORD_ENTRIES);
	hears_refusal(b, COORD_NOT_MEMBER, COORD_HELLO);
	assert_true(b->dropped);
	hears(a, COORD_ENTRIES);
	hears_where(a, 'b', "", false);
	leave(s, b);
	b = enter(s, 'b', true);
	hello(s, b, &l, 5);
	hears_refusal(b, COORD_NOT_MEMBER, COORD_HELLO);
	assert_non_null(strstr(notes, "cut:"));
	end(s, &l);
}

static void
coord_server_catches_up_with_a_member_it_does_not_know(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *c;
	struct coord_message m;

	(void)state;
	log_add(&l, MEMBERS_ADD, 'c');
	c = enter(s, 'c', false);
	hello(s, c, &l, 4);
	assert_int_equal(heard(c, &m), COORD_WELCOME);
	assert_int_equal(m.u.welcome.seq, 3);
	assert_false(coord_server_is_in(c->g));
	/* Before that it is nobody. */
	(void)signal_to(s, c, 'a');
	hears_refusal(c, COORD_NOT_MEMBER, COORD_SIGNAL);
	hears(a, (enum coord_type)0);
	bring(s, c, &l, 4);
	assert_true(coord_server_is_in(c->g));
	hears(a, COORD_ENTRIES);
	(void)signal_to(s, c, 'a');
	hears(a, COORD_SIGNAL);
	end(s, &l);
}

static void
coord_server_tells_who_wants_it_and_nobody_else(void **state)
{
	struct log l = log_of(1, "abcd");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b'),
		     *c = member(s, &l, 'c');

	(void)state;
	want(s, a, "bdb");
	hears_where(a, 'b', "", false);
	hears_where(a, 'd', "", false);
	hears(a, (enum coord_type)0);
	publish(s, b, "tcp://192.0.2.2:1");
	hears_where(a, 'b', "tcp://192.0.2.2:1", true);
	hears(c, (enum coord_type)0);
	hears(b, (enum coord_type)0);
	/* The same is no news; another is. */
	publish(s, b, "tcp://192.0.2.2:1");
	hears(a, (enum coord_type)0);
	publish(s, b, "tcp://192.0.2.2:2");
	hears_where(a, 'b', "tcp://192.0.2.2:2", true);
	/* Who wants it no more is not told. */
	want(s, a, "d");
	hears_where(a, 'd', "", false);
	publish(s, b, "tcp://192.0.2.2:3");
	hears(a, (enum coord_type)0);
	want(s, c, "b");
	hears_where(c, 'b', "tcp://192.0.2.2:3", true);
	end(s, &l);
}

static void
coord_server_remembers_who_left_for_an_hour(void **state)
{
	struct log l = log_of(1, "abc");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b'), *c;

	(void)state;
	publish(s, b, "tcp://192.0.2.2:1");
	want(s, a, "b");
	hears_where(a, 'b', "tcp://192.0.2.2:1", true);
	leave(s, b);
	hears_where(a, 'b', "tcp://192.0.2.2:1", false);
	/* Kept alive by what they say, as members do. */
	for (int i = 0; i < 40; i++) {
		const struct coord_message ping = { .type = COORD_PING };

		now.mono_ns += 90 * CLOCK_S;
		say(s, a, &ping);
		coord_server_tick(s, now);
		drain(s);
		hears(a, COORD_PONG);
	}
	assert_false(a->dropped);
	c = member(s, &l, 'c');
	want(s, c, "b");
	hears_where(c, 'b', "", false);
	end(s, &l);
}

static void
coord_server_lets_the_newest_connection_of_a_device_be(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b'), *again;

	(void)state;
	publish(s, b, "tcp://192.0.2.2:1");
	want(s, a, "b");
	hears_where(a, 'b', "tcp://192.0.2.2:1", true);
	again = member(s, &l, 'b');
	assert_true(b->dropped);
	leave(s, b);
	publish(s, again, "tcp://192.0.2.2:1");
	/* Nobody need know that it dialled again. */
	hears(a, (enum coord_type)0);
	(void)signal_to(s, a, 'b');
	hears(again, COORD_SIGNAL);
	end(s, &l);
}

/* The device of `letter` as that run of it; is it let in? */
static struct guest *
comes(struct coord_server *s, const struct log *l, char letter, uint64_t as)
{
	struct guest *g = enter(s, letter, false);

	run = as;
	hello(s, g, l, l->entry.len);
	run = 0;
	hears(g, COORD_WELCOME);
	return g;
}

static void
coord_server_tells_two_machines_with_one_key(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *b[8];

	(void)state;
	/* Another network, and then a restart: one after the other. */
	b[0] = comes(s, &l, 'b', 7);
	b[1] = comes(s, &l, 'b', 7);
	b[2] = comes(s, &l, 'b', 8);
	b[3] = comes(s, &l, 'b', 8);
	for (int i = 0; i < 3; i++) {
		hears_refusal(b[i], COORD_TOO_MUCH, COORD_HELLO);
		assert_true(b[i]->dropped);
	}
	assert_null(strstr(notes, "clone:"));
	/* What was followed by another one is here again: both live. */
	b[4] = comes(s, &l, 'b', 7);
	for (int i = 3; i < 5; i++) {
		hears_refusal(b[i], COORD_CLONE, COORD_HELLO);
		assert_true(b[i]->dropped);
	}
	assert_non_null(strstr(notes, "clone:"));
	for (int i = 0; i < 5; i++)
		leave(s, b[i]);
	/* Alone either of them is served. */
	b[5] = comes(s, &l, 'b', 8);
	assert_true(coord_server_is_in(b[5]->g));
	leave(s, b[5]);
	b[5] = comes(s, &l, 'b', 7);
	assert_true(coord_server_is_in(b[5]->g));
	/* Who tells no run is never one. */
	b[6] = comes(s, &l, 'b', 0);
	hears_refusal(b[5], COORD_TOO_MUCH, COORD_HELLO);
	b[7] = comes(s, &l, 'b', 0);
	assert_true(coord_server_is_in(b[7]->g));
	end(s, &l);
}

static void
coord_server_completes_addresses_with_what_it_sees(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b');

	(void)state;
	want(s, a, "b");
	hears_where(a, 'b', "", false);
	publish(s, b, "tcp://0.0.0.0:22000");
	hears_where(a, 'b', "tcp://192.0.2.7:22000", true);
	/* Of IPv6 alone it knows nothing. */
	publish(s, b, "tcp6://:22000");
	hears_where(a, 'b', "", true);
	end(s, &l);
}

static void
coord_server_passes_signals_within_a_domain_alone(void **state)
{
	struct log l = log_of(1, "ab"), other = log_of(2, "bx");
	struct coord_server *s = server_of(&l);
	struct guest *a, *b, *x;
	struct coord_message m;
	const struct devid from = dev('a');

	(void)state;
	for (uint64_t i = 0; i < other.entry.len; i++)
		assert_int_equal(coord_server_restore(s, &other.id, i + 1,
				     other.entry.item[i], NULL),
		    0);
	a = member(s, &l, 'a');
	x = member(s, &other, 'x');
	(void)signal_to(s, a, 'b');
	hears_refusal(a, COORD_NOT_HERE, COORD_SIGNAL);
	b = member(s, &l, 'b');
	(void)signal_to(s, a, 'b');
	assert_int_equal(heard(b, &m), COORD_SIGNAL);
	assert_true(devid_equal(&m.u.signal.peer, &from));
	assert_true(slice_equal(m.u.signal.body, SLICE_LIT("knock")));
	(void)signal_to(s, a, 'x');
	hears_refusal(a, COORD_NOT_HERE, COORD_SIGNAL);
	hears(x, (enum coord_type)0);
	/* Nor does it learn where such a device is. */
	publish(s, x, "tcp://192.0.2.9:1");
	want(s, a, "x");
	hears_where(a, 'x', "", false);
	VEC_FINI(&other.entry);
	end(s, &l);
}

static uint32_t
open_box(struct coord_server *s, struct guest *g, uint32_t number)
{
	struct coord_message m = { .type = COORD_BOX, .u.mail.box = number };

	say(s, g, &m);
	return heard(g, &m) == COORD_BOX ? m.u.mail.box : 0;
}

static void
mail(struct coord_server *s, struct guest *g, uint32_t box, uint64_t stranger,
    const char *text)
{
	struct coord_message m = { .type = COORD_MAIL };

	m.u.mail.box = box;
	m.u.mail.stranger = stranger;
	m.u.mail.body = slice_str(text);
	say(s, g, &m);
}

static void
coord_server_carries_letters_between_a_box_and_strangers(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *x = enter(s, 'x', false),
		     *y = enter(s, 'y', false);
	const uint32_t box = open_box(s, a, 0);
	struct coord_message m;
	uint64_t of_x, of_y;

	(void)state;
	assert_in_range(box, 1000, 9999);
	hello(s, x, NULL, 0);
	hears(x, COORD_WELCOME);
	hello(s, y, NULL, 0);
	hears(y, COORD_WELCOME);
	mail(s, x, box, 77, "from x");
	assert_int_equal(heard(a, &m), COORD_MAIL);
	of_x = m.u.mail.stranger;
	assert_true(slice_equal(m.u.mail.body, SLICE_LIT("from x")));
	mail(s, y, box, 0, "from y");
	assert_int_equal(heard(a, &m), COORD_MAIL);
	of_y = m.u.mail.stranger;
	assert_int_not_equal(of_x, of_y);
	mail(s, a, box, of_y, "to y");
	assert_int_equal(heard(y, &m), COORD_MAIL);
	assert_int_equal(m.u.mail.stranger, 0);
	assert_int_equal(m.u.mail.box, box);
	hears(x, (enum coord_type)0);
	/* Nobody is written to who did not write first. */
	mail(s, a, box, 1, "to nobody");
	hears_refusal(a, COORD_NOT_HERE, COORD_MAIL);
	leave(s, y);
	mail(s, a, box, of_y, "to y");
	hears_refusal(a, COORD_NOT_HERE, COORD_MAIL);
	assert_non_null(strstr(notes, "invite:"));
	assert_non_null(strstr(notes, "invite-used:"));
	end(s, &l);
}

static void
coord_server_keeps_a_box_for_its_owner(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b'),
		     *x = enter(s, 'x', false);
	const uint32_t box = open_box(s, a, 0);
	struct coord_message close = { .type = COORD_BOX,
		.u.mail = { .box = box, .close = true } };

	(void)state;
	hello(s, x, NULL, 0);
	hears(x, COORD_WELCOME);
	assert_int_equal(open_box(s, b, box), 0); /* it is another's */
	leave(s, a);
	mail(s, x, box, 0, "hello?");
	hears_refusal(x, COORD_NOT_HERE, COORD_MAIL);
	a = member(s, &l, 'a');
	assert_int_equal(open_box(s, a, box), box);
	mail(s, x, box, 0, "hello!");
	hears(a, COORD_MAIL);
	/* After a restart of ours it claims it again. */
	assert_int_equal(open_box(s, a, 4321), 4321);
	/* Another cannot close it; it can. */
	say(s, b, &close);
	mail(s, x, box, 0, "still?");
	hears(a, COORD_MAIL);
	say(s, a, &close);
	mail(s, x, box, 0, "gone?");
	hears_refusal(x, COORD_NO_BOX, COORD_MAIL);
	/* Not for ever, and not many. */
	for (unsigned i = 1; i < LIMIT_COORD_BOXES; i++)
		assert_int_not_equal(open_box(s, a, 0), 0);
	assert_int_equal(open_box(s, a, 0), 0);
	now.mono_ns += LIMIT_COORD_BOX_NS;
	coord_server_tick(s, now);
	drain(s);
	mail(s, x, 4321, 0, "gone?");
	end(s, &l);
}

static void
coord_server_lets_no_stranger_try_many_boxes(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a');
	const uint32_t box = open_box(s, a, 0);
	struct guest *x = enter(s, 'x', false);

	(void)state;
	hello(s, x, NULL, 0);
	for (uint32_t i = 0; i < LIMIT_COORD_VAIN; i++)
		mail(s, x, box == 1000 + i ? 5000 : 1000 + i, 0, "?");
	assert_true(x->dropped);
	assert_true(x->vain);
	/* And a box is used up some day. */
	for (unsigned i = 0; i < LIMIT_COORD_BOX_STRANGERS + 1; i++) {
		struct coord_message m;

		x = enter(s, 'y', false);
		hello(s, x, NULL, 0);
		hears(x, COORD_WELCOME);
		mail(s, x, box, 0, "?");
		if (i == LIMIT_COORD_BOX_STRANGERS)
			hears_refusal(x, COORD_NO_BOX, COORD_MAIL);
		else
			assert_int_equal(heard(a, &m), COORD_MAIL);
	}
	end(s, &l);
}

static void
coord_server_gives_strangers_nothing_else(void **state)
{
	static const enum coord_type types[] = { COORD_ENTRIES, COORD_PUBLISH,
		COORD_WANT };
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *b = member(s, &l, 'b');

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct coord_message m = { .type = types[i] };
		/* One of ours, even: without its domain it is a stranger. */
		struct guest *x = enter(s, 'a', true);

		hello(s, x, NULL, 0);
		hears(x, COORD_WELCOME);
		m.u.entries.seq = 1;
		say(s, x, &m);
		hears_refusal(x, COORD_NOT_MEMBER, types[i]);
		(void)signal_to(s, x, 'b');
		hears_refusal(x, COORD_NOT_MEMBER, COORD_SIGNAL);
		assert_int_equal(open_box(s, x, 0), 0);
	}
	hears(b, (enum coord_type)0);
	end(s, &l);
}

static void
coord_server_drops_who_says_too_much(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *b = member(s, &l, 'b');
	unsigned n = 0;

	(void)state;
	while (signal_to(s, a, 'b'))
		assert_in_range(n++, 0, 1000);
	assert_in_range(n, 100, 1000);
	assert_non_null(strstr(notes, "flood:"));
	/* A signal now and then is not too much. */
	for (int i = 0; i < 2000; i++) {
		now.mono_ns += CLOCK_S / 10;
		(void)signal_to(s, b, 'a');
	}
	assert_false(b->dropped);
	end(s, &l);
}

static void
coord_server_bounds_the_notes_of_strangers(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	unsigned lines = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct guest *x = enter(s, 'x', false);

		hello(s, x, &l, 3);
		leave(s, x);
	}
	for (const char *p = notes; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	assert_in_range(lines, 1, 100);
	end(s, &l);
}

static void
coord_server_lets_silent_guests_go(void **state)
{
	struct log l = log_of(1, "ab");
	struct coord_server *s = server_of(&l);
	struct guest *a = member(s, &l, 'a'), *n = enter(s, 'n', false);

	(void)state;
	now.mono_ns += 31 * CLOCK_S;
	coord_server_tick(s, now);
	drain(s);
	assert_true(n->dropped);
	assert_false(a->dropped);
	now.mono_ns += 300 * CLOCK_S;
	coord_server_tick(s, now);
	drain(s);
	assert_true(a->dropped);
	leave(s, a);
	leave(s, n);
	assert_true(coord_server_wake_at(s) == CLOCK_NEVER);
	end(s, &l);
}

static void
coord_server_restores_nothing_that_does_not_fit(void **state)
{
	struct log l = log_of(1, "ab"), other = log_of(2, "x");
	struct coord_server *s = server_of(NULL);
	struct coord_server_domain d;

	(void)state;
	assert_int_equal(
	    coord_server_restore(s, &l.id, 2, l.entry.item[1], NULL),
	    ERR_CORRUPT);
	assert_int_equal(
	    coord_server_restore(s, &l.id, 1, other.entry.item[0], NULL),
	    ERR_CORRUPT);
	assert_int_equal(
	    coord_server_restore(s, &l.id, 1, SLICE_LIT("junk"), NULL),
	    ERR_CORRUPT);
	assert_false(coord_server_domain_at(s, 0, &d));
	assert_int_equal(
	    coord_server_restore(s, &l.id, 1, l.entry.item[0], NULL), 0);
	assert_int_equal(
	    coord_server_restore(s, &l.id, 3, l.entry.item[2], NULL),
	    ERR_CORRUPT);
	VEC_FINI(&other.entry);
	end(s, &l);
}

static int
clear(void **state)
{
	(void)state;
	arena_fini(&ar);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coord_server_knows_the_members_of_its_domains),
		cmocka_unit_test(
		    coord_server_welcomes_members_with_what_they_lack),
		cmocka_unit_test(coord_server_refuses_who_is_no_member),
		cmocka_unit_test(
		    coord_server_takes_on_a_domain_that_a_founder_brings),
		cmocka_unit_test(
		    coord_server_takes_no_domain_of_who_is_not_in_it),
		cmocka_unit_test(
		    coord_server_pushes_entries_to_that_domain_alone),
		cmocka_unit_test(coord_server_refuses_forged_entries),
		cmocka_unit_test(coord_server_cuts_a_removed_device_at_once),
		cmocka_unit_test(
		    coord_server_catches_up_with_a_member_it_does_not_know),
		cmocka_unit_test(
		    coord_server_tells_who_wants_it_and_nobody_else),
		cmocka_unit_test(coord_server_remembers_who_left_for_an_hour),
		cmocka_unit_test(
		    coord_server_lets_the_newest_connection_of_a_device_be),
		cmocka_unit_test(coord_server_tells_two_machines_with_one_key),
		cmocka_unit_test(
		    coord_server_completes_addresses_with_what_it_sees),
		cmocka_unit_test(
		    coord_server_passes_signals_within_a_domain_alone),
		cmocka_unit_test(
		    coord_server_carries_letters_between_a_box_and_strangers),
		cmocka_unit_test(coord_server_keeps_a_box_for_its_owner),
		cmocka_unit_test(coord_server_lets_no_stranger_try_many_boxes),
		cmocka_unit_test(coord_server_gives_strangers_nothing_else),
		cmocka_unit_test(coord_server_drops_who_says_too_much),
		cmocka_unit_test(coord_server_bounds_the_notes_of_strangers),
		cmocka_unit_test(coord_server_lets_silent_guests_go),
		cmocka_unit_test(
		    coord_server_restores_nothing_that_does_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, clear);
}
