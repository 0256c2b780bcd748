/*
 * The control plane with many devices, in domains of 2 to 50: what a change
 * costs grows with the devices it concerns, not with all that are there.
 *
 *	test_coord_server_scale [DEVICES]     10000 without a number
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"
#include "mesh/coord_server.h"
#include "mesh/members_entry.h"

#define SIZE_MIN 2u
#define SIZE_MAX_ 50u
#define CHANGES 2000u

static uint32_t devices = 10000;

struct domain {
	struct coord_id id;
	uint8_t head[32];
	uint64_t seq;
	uint32_t first, count; /* its devices */
};

struct world {
	struct coord_server *s;
	struct now now;
	struct rng rng;
	struct sign_secret key;
	VEC(struct domain) domain;
	VEC(struct coord_server_guest *) guest;
	struct arena ar;
};

/* What some changes cost, all together. */
struct cost {
	uint64_t changes, concerned, visits, sends, bytes, ns;
};

static struct devid
dev(uint32_t n)
{
	struct devid id = { { 1 } };

	memcpy(id.b + 4, &n, sizeof(n));
	return id;
}

static uint64_t
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_S + (uint64_t)ts.tv_nsec;
}

static void
drain(struct world *w)
{
	struct coord_server_effect ef;

	while (coord_server_next(w->s, &ef))
		assert_int_not_equal(ef.kind, COORD_SERVER_DROP);
}

/* The next entry of a domain's log, signed. */
static struct slice
entry(struct world *w, struct domain *d, enum members_kind kind, uint32_t n)
{
	struct members_entry e = { .kind = kind,
		.seq = ++d->seq,
		.wall_s = 1000000 };
	struct buf body = { 0 }, out = { 0 };
	struct slice s;

	memcpy(e.prev.b, d->head, sizeof(d->head));
	if (kind == MEMBERS_FOUND) {
		sign_public_of(&w->key, &e.owner[0]);
		e.owner_count = e.need = 1;
		e.recovery.b[0] = 9;
		snprintf(e.name, sizeof(e.name), "domain %u", n);
	} else {
		e.device = dev(n);
	}
	if (kind == MEMBERS_ADD)
		snprintf(e.name, sizeof(e.name), "device %u", n);
	members_entry_body(&e, &body);
	members_entry_sign(buf_slice(&body), &w->key, 1, &out);
	s = arena_dup(&w->ar, buf_slice(&out));
	buf_fini(&body);
	buf_fini(&out);
	assert_int_equal(members_entry_decode(&e, s, NULL), 0);
	memcpy(d->head, e.digest.b, sizeof(d->head));
	if (kind == MEMBERS_FOUND)
		memcpy(d->id.b, e.digest.b, sizeof(d->id.b));
	return s;
}

static void
publish(struct world *w, uint32_t n, uint32_t ip)
{
	struct coord_message m = { .type = COORD_PUBLISH };
	struct addr a[2] = { { .scheme = ADDR_TCP,
				 .host = ADDR_IP4,
				 .ip = { 10, (uint8_t)(ip >> 16),
				     (uint8_t)(ip >> 8), (uint8_t)ip },
				 .port = 22000 },
		{ 0 } };

	a[1] = a[0];
	a[1].scheme = ADDR_QUIC;
	m.u.where.addr = a;
	m.u.where.count = 2;
	coord_server_hear(w->s, w->guest.item[n], &m, w->now);
	drain(w);
}

/* A device comes: HELLO, where it is, whom it wants. */
static void
come(struct world *w, const struct domain *d, uint32_t n)
{
	struct coord_message m = { .type = COORD_HELLO };
	const struct devid id = dev(n);
	struct addr from = { .host = ADDR_IP4, .ip = { 192, 0, 2, 1 } };
	struct devid want[SIZE_MAX_ + 1];

	w->guest.item[n] =
	    coord_server_enter(w->s, NULL, &id, &from, false, w->now);
	m.u.hello.version = 1;
	m.u.hello.has_domain = true;
	m.u.hello.domain = d->id;
	m.u.hello.seq = d->seq;
	memcpy(m.u.hello.head, d->head, sizeof(d->head));
	coord_server_hear(w->s, w->guest.item[n], &m, w->now);
	drain(w);
	assert_true(coord_server_is_in(w->guest.item[n]));
	publish(w, n, n);
	m = (struct coord_message){ .type = COORD_WANT };
	m.u.want.id = want;
	for (uint32_t i = 0; i < d->count; i++)
		want[m.u.want.count++] = dev(d->first + i);
	coord_server_hear(w->s, w->guest.item[n], &m, w->now);
	drain(w);
}

static void
build(struct world *w, uint32_t count)
{
	*w = (struct world){ .now = { 1000 * CLOCK_S,
				 2000000 * (int64_t)CLOCK_S },
		.key = { { 5 } } };
	w->s = coord_server_new(1);
	rng_init(&w->rng, 7);
	while (w->guest.len < count) {
		struct domain *d = VEC_ADD(&w->domain);
		const uint32_t size = SIZE_MIN + (uint32_t)rng_below(&w->rng,
						     SIZE_MAX_ - SIZE_MIN + 1);

		*d = (struct domain){ .first = (uint32_t)w->guest.len };
		for (uint32_t i = 0; i <= size; i++) {
			const struct slice e =
			    entry(w, d, i == 0 ? MEMBERS_FOUND : MEMBERS_ADD,
				i == 0 ? (uint32_t)w->domain.len
				       : (uint32_t)w->guest.len);

			assert_int_equal(
			    coord_server_restore(w->s, &d->id, d->seq, e, NULL),
			    0);
			if (i > 0)
				*VEC_ADD(&w->guest) = NULL;
			arena_clear(&w->ar);
		}
		d->count = size;
		for (uint32_t i = 0; i < size; i++)
			come(w, d, d->first + i);
	}
}

static void
tear_down(struct world *w)
{
	for (size_t i = 0; i < w->guest.len; i++) {
		coord_server_leave(w->s, w->guest.item[i], w->now);
		drain(w);
	}
	coord_server_free(w->s);
	VEC_FINI(&w->domain);
	VEC_FINI(&w->guest);
	arena_fini(&w->ar);
}

enum change { CHANGE_ADDRESS, CHANGE_RESTART, CHANGE_LOG, CHANGE_SIGNAL };

static void
change_one(struct world *w, enum change kind, struct domain *d, uint32_t n,
    uint32_t i)
{
	struct coord_message m = { 0 };
	struct slice e;

	switch (kind) {
	case CHANGE_ADDRESS:
		publish(w, n, 0x800000 + i);
		return;
	case CHANGE_RESTART:
		coord_server_leave(w->s, w->guest.item[n], w->now);
		drain(w);
		come(w, d, n);
		return;
	case CHANGE_LOG:
		e = entry(w, d, MEMBERS_ADD, 0x40000000 + i);
		m.type = COORD_ENTRIES;
		m.u.entries.seq = d->seq;
		m.u.entries.entry = &e;
		m.u.entries.count = 1;
		break;
	case CHANGE_SIGNAL:
		m.type = COORD_SIGNAL;
		m.u.signal.peer = dev(d->first);
		m.u.signal.body = SLICE_LIT("a word of some length or other");
		break;
	}
	coord_server_hear(w->s, w->guest.item[n], &m, w->now);
	drain(w);
	arena_clear(&w->ar);
}

/* As many changes, each of a device by chance. */
static struct cost
change(struct world *w, enum change kind)
{
	struct coord_server_state was, is;
	struct cost c = { .changes = CHANGES };
	const uint64_t begin = cpu_ns();

	coord_server_state(w->s, &was);
	for (uint32_t i = 0; i < CHANGES; i++) {
		struct domain *d =
		    &w->domain.item[rng_below(&w->rng, w->domain.len)];

		w->now.mono_ns += CLOCK_MS; /* an hour has many changes */
		c.concerned += d->count;
		change_one(w, kind, d,
		    d->first + (uint32_t)rng_below(&w->rng, d->count), i);
	}
	coord_server_state(w->s, &is);
	c.visits = is.visits - was.visits;
	c.sends = is.sends - was.sends;
	c.bytes = is.bytes - was.bytes;
	c.ns = cpu_ns() - begin;
	return c;
}

static const char *const names[] = { "address", "restart", "log", "signal" };

static void
print(const char *what, size_t count, const struct cost *c)
{
	printf("%7zu devices  %-8s per change: %5.1f concerned, %6.1f looked "
	       "at, %5.1f messages, %7.0f bytes, %6.1f us\n",
	    count, what, (double)c->concerned / (double)c->changes,
	    (double)c->visits / (double)c->changes,
	    (double)c->sends / (double)c->changes,
	    (double)c->bytes / (double)c->changes,
	    (double)c->ns / (double)c->changes / 1000);
}

/* For each that is concerned, in thousandths. */
static uint64_t
share(uint64_t sum, const struct cost *c)
{
	return sum * 1000 / c->concerned;
}

static void
measure(uint32_t count, struct cost out[4])
{
	struct coord_server_state state;
	struct world w;
	const uint64_t begin = cpu_ns();

	build(&w, count);
	coord_server_state(w.s, &state);
	assert_true(state.members >= count);
	printf("%7zu devices in %zu domains, all here after %.1f s, %.0f bytes "
	       "told to each\n",
	    state.members, state.domains, (double)(cpu_ns() - begin) / 1e9,
	    (double)state.bytes / (double)state.members);
	for (int kind = CHANGE_ADDRESS; kind <= CHANGE_SIGNAL; kind++) {
		out[kind] = change(&w, (enum change)kind);
		print(names[kind], w.guest.len, &out[kind]);
	}
	tear_down(&w);
}

static void
coord_server_costs_what_is_concerned_and_not_what_is_there(void **state)
{
	struct cost few[4], many[4];

	(void)state;
	measure(devices / 10, few);
	measure(devices, many);
	for (int kind = CHANGE_ADDRESS; kind <= CHANGE_SIGNAL; kind++) {
		const struct cost *a = &few[kind], *b = &many[kind];

		/* Ten times as many devices: the same for each concerned. */
		assert_in_range(share(b->visits, b), 0,
		    share(a->visits, a) * 5 / 4 + 100);
		assert_in_range(share(b->bytes, b), 0,
		    share(a->bytes, a) * 5 / 4 + 100);
		assert_in_range(share(b->sends, b), 0,
		    share(a->sends, a) * 5 / 4 + 100);
	}
	/* An address goes once to each who wants it. */
	assert_in_range(many[CHANGE_ADDRESS].sends, 1,
	    many[CHANGE_ADDRESS].concerned);
	/* A signal concerns two, however large the domain. */
	assert_in_range(many[CHANGE_SIGNAL].sends, 1, 2 * CHANGES);
	assert_in_range(many[CHANGE_SIGNAL].visits, 1, 2 * CHANGES);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    coord_server_costs_what_is_concerned_and_not_what_is_there),
	};

	if (argc > 1)
		devices = (uint32_t)strtoul(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
