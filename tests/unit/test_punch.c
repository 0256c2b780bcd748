/*
 * Punching, between model routers of every kind, in model time.
 *
 * The routers are written from RFC 4787's words, not from punch.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"
#include "mesh/punch.h"

#define T0 (1000 * CLOCK_S)
#define TURN (5 * CLOCK_MS)
#define LATENCY (20 * CLOCK_MS)
#define SIGNAL_LATENCY (35 * CLOCK_MS)

/* --- routers ---------------------------------------------------------- */

enum kind {
	OPEN,      /* no router, no filter */
	FIREWALL,  /* no translation; lets in whom we spoke to */
	FULL_CONE, /* translates; lets in all */
	BY_HOST,   /* lets in hosts that we spoke to */
	BY_PORT,   /* lets in host and port */
	SYMMETRIC, /* another port for each destination, and as BY_PORT */
	KINDS,
};

static const char *const kind_names[] = { "open", "firewall", "full-cone",
	"address-restricted", "port-restricted", "symmetric" };

struct hole {
	unsigned socket;
	uint16_t port; /* out there */
	struct addr to;
};

struct box {
	enum kind kind;
	bool grim; /* who knocks too early spoils the port for us */
	uint8_t host;
	struct rng *rng;
	VEC(struct hole) hole;
	VEC(struct hole) spoiled;
};

static struct addr
place(uint8_t host, uint16_t port)
{
	return (struct addr){ .scheme = ADDR_QUIC,
		.host = ADDR_IP4,
		.ip = { 203, 0, 113, host },
		.port = port };
}

static bool
is_taken(const struct box *b, uint16_t port)
{
	for (size_t i = 0; i < b->hole.len; i++)
		if (b->hole.item[i].port == port)
			return true;
	return false;
}

static uint16_t
fresh_port(struct box *b)
{
	uint16_t port;

	do
		port = (uint16_t)(1024 + rng_below(b->rng, 65536 - 1024));
	while (is_taken(b, port));
	return port;
}

/* A datagram leaves: from where, seen from outside? */
static struct addr
box_out(struct box *b, unsigned socket, const struct addr *to)
{
	uint16_t port = (uint16_t)(30000 + socket);

	for (size_t i = 0; i < b->hole.len; i++)
		if (b->hole.item[i].socket == socket &&
		    addr_equal(&b->hole.item[i].to, to))
			return place(b->host, b->hole.item[i].port);
	for (size_t i = 0; b->grim && i < b->spoiled.len; i++)
		if (b->spoiled.item[i].port == port &&
		    addr_equal(&b->spoiled.item[i].to, to))
			port = fresh_port(b);
	if (b->kind == SYMMETRIC)
		port = fresh_port(b);
	*VEC_ADD(&b->hole) = (struct hole){ socket, port, *to };
	return place(b->host, port);
}

/* A datagram comes: for which socket?  -1: none. */
static int
box_in(struct box *b, uint16_t port, const struct addr *from)
{
	if (b->kind == OPEN || b->kind == FULL_CONE)
		return port >= 30000 && port <= 30000 + PUNCH_SOCKETS
			   ? port - 30000
			   : -1;
	for (size_t i = 0; i < b->hole.len; i++) {
		const struct hole *h = &b->hole.item[i];

		if (h->port == port && memcmp(h->to.ip, from->ip, 4) == 0 &&
		    (b->kind == BY_HOST || h->to.port == from->port))
			return (int)h->socket;
	}
	*VEC_ADD(&b->spoiled) = (struct hole){ 0, port, *from };
	return -1;
}

/* --- two ends --------------------------------------------------------- */

struct end {
	struct punch *punch;
	struct punch_side side;
	struct box box;
	unsigned sockets; /* open, besides the first */
	bool promoted[PUNCH_SOCKETS + 1];
	enum punch_end over;
	unsigned sent;
};

struct parcel {
	uint64_t at_ns;
	int to; /* end */
	struct addr dest, from;
	uint8_t bytes[PUNCH_PROBE_LEN];
};

struct pair {
	struct end end[2]; /* caller, called */
	VEC(struct parcel) way;
	struct rng rng;
	uint64_t now_ns;
	unsigned loss; /* percent */
	bool silent;   /* the called hears of nothing */
	bool direct;   /* dialled, and QUIC would be heard */
	uint64_t direct_ns;
};

static void
end_init(struct pair *p, int i, enum kind kind, bool grim)
{
	struct end *e = &p->end[i];
	const struct addr server = place(200, 3478);

	e->box.kind = kind;
	e->box.grim = grim;
	e->box.host = (uint8_t)(i + 1);
	e->box.rng = &p->rng;
	e->side.mapping = kind == SYMMETRIC                  ? NATCHECK_BY_PORT
			  : kind == OPEN || kind == FIREWALL ? NATCHECK_NONE
							     : NATCHECK_SAME;
	/* What a STUN server saw, and an address at home. */
	e->side.candidate[0] = (struct punch_candidate){ PUNCH_MAPPED,
		box_out(&e->box, 0, &server) };
	e->side.candidate[1].kind = PUNCH_HOST;
	e->side.candidate[1].addr = (struct addr){ .scheme = ADDR_QUIC,
		.host = ADDR_IP4,
		.ip = { 10, 0, 0, (uint8_t)(i + 1) },
		.port = 22000 };
	e->side.count = 2;
}

static void
pair_init(struct pair *p, enum kind caller, enum kind called, uint64_t seed)
{
	memset(p, 0, sizeof(*p));
	rng_init(&p->rng, seed);
	p->now_ns = T0;
	end_init(p, 0, caller, false);
	end_init(p, 1, called, false);
}

static void
pair_fini(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		punch_free(p->end[i].punch);
		VEC_FINI(&p->end[i].box.hole);
		VEC_FINI(&p->end[i].box.spoiled);
	}
	VEC_FINI(&p->way);
}

/* The socket at which a datagram arrives, over both routers; -1: nowhere. */
static int
carry(struct pair *p, int from, unsigned socket, const struct addr *to,
    struct addr *seen)
{
	struct box *out = &p->end[from].box, *in = &p->end[1 - from].box;

	if (to->ip[0] == 10)
		return -1; /* another home */
	*seen = box_out(out, socket, to);
	return to->ip[3] == in->host ? box_in(in, to->port, seen) : -1;
}

static void
do_send(struct pair *p, int i, const struct punch_act *act)
{
	struct end *e = &p->end[i];
	struct parcel *parcel;

	assert_true(act->socket <= e->sockets);
	e->sent++;
	if (act->to.ip[0] == 10)
		return;
	if (act->hops != 0) { /* through our own router, and lost */
		(void)box_out(&e->box, act->socket, &act->to);
		return;
	}
	if (rng_below(&p->rng, 100) < p->loss)
		return;
	parcel = VEC_ADD(&p->way);
	parcel->at_ns = p->now_ns + LATENCY;
	parcel->to = 1 - i;
	parcel->dest = act->to;
	parcel->from = box_out(&e->box, act->socket, &act->to);
	memcpy(parcel->bytes, act->datagram, PUNCH_PROBE_LEN);
}

static void
do_dial(struct pair *p, int i, const struct punch_act *act)
{
	struct addr seen;
	int socket;

	assert_int_equal(i, 0);
	assert_true(act->socket == 0 || p->end[i].promoted[act->socket]);
	socket = carry(p, i, act->socket, &act->to, &seen);
	/* There is somebody who speaks QUIC at that socket. */
	assert_true(socket >= 0);
	assert_true(socket == 0 || p->end[1 - i].promoted[socket]);
	p->direct = true;
	p->direct_ns = p->now_ns - T0;
}

static void
do_acts(struct pair *p, int i)
{
	struct end *e = &p->end[i];
	struct punch_act act;

	while (punch_next(e->punch, p->now_ns, &act)) {
		switch (act.kind) {
		case PUNCH_DO_SEND:
			do_send(p, i, &act);
			break;
		case PUNCH_DO_OPEN:
			assert_int_equal(e->sockets, 0);
			e->sockets = act.count;
			break;
		case PUNCH_DO_PROMOTE:
			assert_false(e->promoted[act.socket]);
			e->promoted[act.socket] = true;
			break;
		case PUNCH_DO_DIAL:
			do_dial(p, i, &act);
			break;
		case PUNCH_DO_END:
			e->over = act.end;
			assert_int_equal(punch_wake_at(e->punch), CLOCK_NEVER);
			break;
		}
	}
}

static void
deliver(struct pair *p)
{
	for (size_t i = 0; i < p->way.len;) {
		struct parcel parcel = p->way.item[i];
		struct end *e = &p->end[parcel.to];
		int socket;

		if (parcel.at_ns > p->now_ns) {
			i++;
			continue;
		}
		VEC_DROP(&p->way, i);
		if (parcel.dest.ip[3] != e->box.host)
			continue;
		socket = box_in(&e->box, parcel.dest.port, &parcel.from);
		if (socket < 0 || (unsigned)socket > e->sockets)
			continue;
		assert_true(punch_take(e->punch, (unsigned)socket,
		    slice_of(parcel.bytes, PUNCH_PROBE_LEN), &parcel.from,
		    p->now_ns));
	}
}

/* The word of one, as the other reads it. */
static struct punch_signal
say(const struct end *e, enum punch_word word, const struct punch_cookie *c)
{
	const struct punch_signal s = { .word = word,
		.cookie = *c,
		.side = e->side };
	struct punch_signal out;
	struct buf b = { 0 };

	punch_signal_encode(&s, &b);
	assert_true(b.len <= PUNCH_SIGNAL_MAX);
	assert_int_equal(punch_signal_decode(&out, buf_slice(&b), NULL), 0);
	buf_fini(&b);
	return out;
}

static void
pair_run(struct pair *p)
{
	const struct punch_cookie cookie = { { 7, 7 } };
	struct end *a = &p->end[0], *b = &p->end[1];
	struct punch_signal s;

	a->punch = punch_new(PUNCH_CALLER, &cookie, &a->side, 1, p->now_ns);
	b->punch = punch_new(PUNCH_CALLED, &cookie, &b->side, 2,
	    p->now_ns + SIGNAL_LATENCY);
	for (; a->over == PUNCH_RUNS || (b->over == PUNCH_RUNS && !p->silent);
	     p->now_ns += TURN) {
		if (p->now_ns == T0 + SIGNAL_LATENCY && !p->silent) {
			s = say(a, PUNCH_CALL, &cookie);
			punch_begin(b->punch, &s.side, p->now_ns);
		}
		if (p->now_ns == T0 + 2 * SIGNAL_LATENCY && !p->silent) {
			s = say(b, PUNCH_ANSWER, &cookie);
			punch_begin(a->punch, &s.side, p->now_ns);
		}
		deliver(p);
		for (int i = 0; i < 2; i++)
			if (p->end[i].over == PUNCH_RUNS)
				do_acts(p, i);
		assert_true(p->now_ns < T0 + 40 * CLOCK_S);
		if (p->direct)
			break;
	}
}

static void
punch_opens_every_pair_but_two_hard_ones(void **state)
{
	(void)state;
	for (int a = 0; a < KINDS; a++)
		for (int b = 0; b < KINDS; b++)
			for (unsigned loss = 0; loss <= 20; loss += 20) {
				const bool hard =
				    a == SYMMETRIC && b == SYMMETRIC;
				struct pair p;

				pair_init(&p, (enum kind)a, (enum kind)b, 3);
				p.loss = loss;
				pair_run(&p);
				if (p.direct == hard)
					fail_msg("%s calls %s, loss %u: %s",
					    kind_names[a], kind_names[b], loss,
					    p.direct ? "direct"
						     : punch_end_text(
							   p.end[0].over));
				if (hard) {
					assert_int_equal(p.end[0].over,
					    PUNCH_HARD_BOTH);
					assert_int_equal(p.end[1].over,
					    PUNCH_HARD_BOTH);
					/* Not tried for long. */
					assert_true(
					    p.now_ns - T0 < 2 * CLOCK_S);
				}
				pair_fini(&p);
			}
}

static void
punch_is_quick_where_no_port_is_guessed(void **state)
{
	(void)state;
	for (int a = 0; a < SYMMETRIC; a++)
		for (int b = 0; b < SYMMETRIC; b++) {
			struct pair p;

			pair_init(&p, (enum kind)a, (enum kind)b, 4);
			pair_run(&p);
			assert_true(p.direct);
			if (p.direct_ns > 500 * CLOCK_MS)
				fail_msg("%s calls %s: %u ms", kind_names[a],
				    kind_names[b],
				    (unsigned)(p.direct_ns / CLOCK_MS));
			pair_fini(&p);
		}
}

/* How often guessing finds a port, and for how many datagrams. */
static void
punch_guesses_nearly_always_right(void **state)
{
	unsigned missed = 0, most = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 40; seed++) {
		const bool turned = seed % 2 != 0;
		struct pair p;

		pair_init(&p, turned ? BY_PORT : SYMMETRIC,
		    turned ? SYMMETRIC : BY_PORT, seed);
		pair_run(&p);
		missed += !p.direct;
		for (int i = 0; i < 2; i++)
			if (p.end[i].sent > most)
				most = p.end[i].sent;
		pair_fini(&p);
	}
	/* The chance of one miss in 40 is 1.5 %, and the seeds are fixed. */
	assert_int_equal(missed, 0);
	assert_in_range(most, 256, PUNCH_GUESSES + 1000);
}

static void
punch_passes_routers_that_forgive_nothing(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, BY_PORT, BY_PORT, 5);
	p.end[0].box.grim = p.end[1].box.grim = true;
	pair_run(&p);
	assert_true(p.direct);
	assert_true(p.direct_ns < CLOCK_S);
	pair_fini(&p);
}

static void
punch_ends_when_the_peer_is_silent(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, BY_PORT, BY_PORT, 6);
	p.silent = true;
	pair_run(&p);
	assert_false(p.direct);
	assert_int_equal(p.end[0].over, PUNCH_SILENT);
	assert_int_equal(p.end[0].sent, 0);
	assert_in_range(p.now_ns - T0, 5 * CLOCK_S, 5100 * CLOCK_MS);
	pair_fini(&p);
}

static void
punch_ends_when_nothing_comes_through(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, BY_PORT, BY_PORT, 7);
	p.loss = 100;
	pair_run(&p);
	assert_int_equal(p.end[0].over, PUNCH_NO_ANSWER);
	assert_int_equal(p.end[1].over, PUNCH_NO_ANSWER);
	assert_true(p.end[0].sent <= 2 * 41);
	pair_fini(&p);
	pair_init(&p, SYMMETRIC, BY_PORT, 7);
	p.loss = 100;
	pair_run(&p);
	assert_int_equal(p.end[0].over, PUNCH_HARD_ONE);
	assert_int_equal(p.end[1].over, PUNCH_HARD_ONE);
	assert_int_equal(p.end[0].sockets, PUNCH_SOCKETS);
	/* All that a liar with the cookie can make us send. */
	assert_in_range(p.end[0].sent, 700, 1400);
	assert_in_range(p.end[1].sent, PUNCH_GUESSES, PUNCH_GUESSES + 300);
	pair_fini(&p);
}

static void
punch_hardly_tries_without_udp(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, BY_PORT, BY_PORT, 8);
	p.end[1].side.no_udp = true;
	p.loss = 100;
	pair_run(&p);
	assert_int_equal(p.end[0].over, PUNCH_UDP_BLOCKED_THERE);
	assert_int_equal(p.end[1].over, PUNCH_UDP_BLOCKED);
	assert_true(p.now_ns - T0 < 2 * CLOCK_S);
	pair_fini(&p);
}

static void
punch_answers_no_forged_probe(void **state)
{
	const struct punch_cookie cookie = { { 1 } }, wrong = { { 2 } };
	const struct punch_probe good = { .role = PUNCH_CALLER };
	const struct punch_probe mirrored = { .role = PUNCH_CALLED };
	const struct addr from = place(9, 9);
	const struct punch_side side = { 0 };
	struct punch *p = punch_new(PUNCH_CALLED, &cookie, &side, 1, T0);
	uint8_t bytes[PUNCH_PROBE_LEN];
	struct punch_act act;

	(void)state;
	punch_begin(p, &side, T0);
	assert_false(punch_next(p, T0, &act));
	punch_probe_encode(&good, &wrong, bytes);
	assert_true(punch_is_probe(slice_of(bytes, sizeof(bytes))));
	assert_false(
	    punch_take(p, 0, slice_of(bytes, sizeof(bytes)), &from, T0));
	/* Our own, thrown back at us. */
	punch_probe_encode(&mirrored, &cookie, bytes);
	assert_false(
	    punch_take(p, 0, slice_of(bytes, sizeof(bytes)), &from, T0));
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		punch_probe_encode(&good, &cookie, bytes);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(punch_take(p, 0, slice_of(bytes, sizeof(bytes)),
		    &from, T0));
	}
	assert_false(punch_next(p, T0, &act));
	punch_probe_encode(&good, &cookie, bytes);
	assert_true(
	    punch_take(p, 0, slice_of(bytes, sizeof(bytes)), &from, T0));
	assert_true(punch_next(p, T0, &act));
	assert_int_equal(act.kind, PUNCH_DO_SEND);
	assert_true(addr_equal(&act.to, &from));
	punch_free(p);
}

static void
punch_signals_leave_out_where_nobody_is(void **state)
{
	static const char *const text[] = { "quic://203.0.113.7:1",
		"quic://127.0.0.1:22", "quic://224.0.0.1:1", "quic://0.0.0.0:1",
		"quic://[fe80::1]:1", "quic://[2001:db8::1]:22000",
		"quic://203.0.113.7:0" };
	struct punch_signal s = { .word = PUNCH_CALL }, got;
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		s.side.candidate[i].kind = PUNCH_HOST;
		assert_int_equal(addr_parse(&s.side.candidate[i].addr,
				     slice_str(text[i]), NULL),
		    0);
		s.side.count++;
	}
	punch_signal_encode(&s, &b);
	assert_int_equal(punch_signal_decode(&got, buf_slice(&b), NULL), 0);
	assert_int_equal(got.side.count, 2);
	assert_true(
	    addr_equal(&got.side.candidate[1].addr, &s.side.candidate[5].addr));
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(
		    punch_signal_decode(&got, slice_of(b.ptr, n), NULL),
		    ERR_PROTOCOL);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(punch_opens_every_pair_but_two_hard_ones),
		cmocka_unit_test(punch_is_quick_where_no_port_is_guessed),
		cmocka_unit_test(punch_guesses_nearly_always_right),
		cmocka_unit_test(punch_passes_routers_that_forgive_nothing),
		cmocka_unit_test(punch_ends_when_the_peer_is_silent),
		cmocka_unit_test(punch_ends_when_nothing_comes_through),
		cmocka_unit_test(punch_hardly_tries_without_udp),
		cmocka_unit_test(punch_answers_no_forged_probe),
		cmocka_unit_test(punch_signals_leave_out_where_nobody_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
