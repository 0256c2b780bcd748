/* The life of a mapping, before routers of our own making. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "mesh/natlife.h"
#include "mesh/stun.h"

#define T0 (1000 * CLOCK_S)
#define PORT 40000

/* A router and a server behind it. */
struct net {
	struct natlife *life;
	uint64_t keeps_ns;   /* a mapping that nothing passes */
	uint64_t touched_ns; /* the quiet one's mapping */
	uint64_t begun_ns;   /* the conversation */
	uint64_t talk_ns;    /* keeps_ns holds for one that is as old */
	uint64_t now_ns;
	bool silent, plain; /* plain: it answers to who asks, always */
	bool knows_no_port; /* it refuses RESPONSE-PORT */
	unsigned lose;      /* every so many-th answer; 0: none */
	unsigned sent, answers;
};

static struct addr
parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static struct addr
server(void)
{
	return parse("quic://198.51.100.1:3478");
}

static void
open_net(struct net *net, uint64_t keeps_ns)
{
	static const uint8_t key[DRAW_KEY_LEN] = { 7 };
	const struct addr at = server();

	*net = (struct net){ .life = natlife_new(key),
		.keeps_ns = keeps_ns,
		.now_ns = T0 };
	natlife_begin(net->life, &at, net->now_ns);
	assert_true(natlife_runs(net->life));
}

static void
answer(struct net *net, bool quiet, struct slice datagram)
{
	const struct addr at = server();

	net->answers++;
	if (net->lose != 0 && net->answers % net->lose == 0)
		return;
	net->now_ns += 30 * CLOCK_MS;
	assert_true(natlife_take(net->life, quiet, datagram, &at, net->now_ns));
}

static bool
remembers(const struct net *net)
{
	const uint64_t old_ns = net->touched_ns - net->begun_ns;

	return old_ns >= net->talk_ns &&
	       net->now_ns - net->touched_ns < net->keeps_ns;
}

static void
serve(struct net *net, const struct natlife_send *out)
{
	const struct addr seen = parse("quic://203.0.113.5:40000");
	struct stun_message m;
	struct buf bytes = { 0 };
	uint16_t port;

	net->sent++;
	assert_int_equal(stun_decode(&m, buf_slice(&out->datagram), NULL), 0);
	assert_int_equal(out->quiet, m.response_port == 0);
	if (out->quiet) {
		if (net->now_ns - net->touched_ns >= 10 * CLOCK_S)
			net->begun_ns = net->now_ns;
		net->touched_ns = net->now_ns;
	}
	assert_true(
	    stun_answer(buf_slice(&out->datagram), &seen, &bytes, &port));
	if (net->knows_no_port && port != 0) {
		m.class = STUN_ERROR;
		m.code = 420;
		buf_clear(&bytes);
		stun_encode(&m, &bytes);
		answer(net, false, buf_slice(&bytes));
	} else if (net->silent) {
		assert_true(out->quiet);
	} else if (port == 0 || net->plain) {
		answer(net, out->quiet, buf_slice(&bytes));
	} else {
		assert_int_equal(port, PORT);
		if (remembers(net))
			answer(net, true, buf_slice(&bytes));
	}
	buf_fini(&bytes);
}

static const struct natlife_result *
run(struct net *net)
{
	struct natlife_send out;

	while (natlife_runs(net->life)) {
		const uint64_t at_ns = natlife_wake_at(net->life);

		assert_true(at_ns != CLOCK_NEVER);
		if (at_ns > net->now_ns)
			net->now_ns = at_ns;
		while (natlife_next(net->life, net->now_ns, &out)) {
			serve(net, &out);
			buf_fini(&out.datagram);
		}
		assert_true(net->now_ns < T0 + 3600 * CLOCK_S);
	}
	assert_true(natlife_wake_at(net->life) == CLOCK_NEVER);
	return natlife_result(net->life);
}

static void
close_net(struct net *net)
{
	natlife_free(net->life);
}

static void
every_life_is_found_within_five_seconds(void **state)
{
	(void)state;
	for (uint64_t s = 1; s < 160; s++) {
		const struct natlife_result *r;
		struct net net;

		open_net(&net, s * CLOCK_S);
		r = run(&net);
		assert_true(r->known);
		/* A little passes between the last word and the question. */
		assert_true(r->kept_ns <= s * CLOCK_S);
		assert_true(r->forgotten_ns + CLOCK_S > s * CLOCK_S);
		assert_true(r->forgotten_ns - r->kept_ns <= NATLIFE_GRAIN_NS);
		/* Rare words: it costs nobody anything. */
		assert_true(net.sent < 60);
		close_net(&net);
	}
}

static void
a_router_that_never_forgets_is_believed_after_a_while(void **state)
{
	const struct natlife_result *r;
	struct net net;

	(void)state;
	open_net(&net, UINT64_MAX);
	r = run(&net);
	assert_true(r->known && r->forgotten_ns == 0);
	assert_true(r->kept_ns == NATLIFE_MAX_NS);
	assert_true(net.now_ns - T0 < 600 * CLOCK_S);
	close_net(&net);
}

/* As Linux: a mapping of less than two seconds is a short-lived one. */
static void
it_is_a_conversation_that_is_measured(void **state)
{
	const struct natlife_result *r;
	struct net net;

	(void)state;
	open_net(&net, 120 * CLOCK_S);
	net.talk_ns = 2 * CLOCK_S;
	r = run(&net);
	assert_true(r->known && r->kept_ns >= 115 * CLOCK_S);
	close_net(&net);
}

static void
a_lost_answer_is_no_forgotten_mapping(void **state)
{
	(void)state;
	for (unsigned lose = 2; lose < 8; lose++) {
		const struct natlife_result *r;
		struct net net;

		open_net(&net, 60 * CLOCK_S);
		net.lose = lose;
		r = run(&net);
		assert_true(r->known);
		assert_true(r->kept_ns >= 50 * CLOCK_S);
		assert_true(r->kept_ns <= 60 * CLOCK_S);
		close_net(&net);
	}
}

static void
a_server_that_cannot_says_nothing(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		const struct natlife_result *r;
		struct net net;

		open_net(&net, how == 3 ? 0 : 60 * CLOCK_S);
		net.silent = how == 0;
		net.plain = how == 1;
		net.knows_no_port = how == 2;
		r = run(&net);
		assert_false(r->known);
		assert_true(net.now_ns - T0 < 60 * CLOCK_S);
		assert_true(natlife_say_ns(r, 15 * CLOCK_S) == 15 * CLOCK_S);
		close_net(&net);
	}
}

static void
what_is_no_answer_changes_nothing(void **state)
{
	const struct addr at = server(),
			  other = parse("quic://198.51.100.2:3478");
	struct stun_message m = { .class = STUN_SUCCESS,
		.method = STUN_BINDING,
		.has_mapped = true,
		.mapped = parse("quic://203.0.113.5:40000") };
	struct natlife_send out;
	struct buf bytes = { 0 };
	struct net net;
	struct stun_message asked;

	(void)state;
	open_net(&net, 60 * CLOCK_S);
	assert_true(natlife_next(net.life, net.now_ns, &out));
	assert_int_equal(stun_decode(&asked, buf_slice(&out.datagram), NULL),
	    0);
	buf_fini(&out.datagram);
	stun_encode(&m, &bytes); /* another ID */
	assert_false(
	    natlife_take(net.life, true, buf_slice(&bytes), &at, net.now_ns));
	m.id = asked.id;
	buf_clear(&bytes);
	stun_encode(&m, &bytes);
	assert_false(natlife_take(net.life, true, buf_slice(&bytes), &other,
	    net.now_ns));
	assert_false(
	    natlife_take(net.life, true, SLICE_LIT("noise"), &at, net.now_ns));
	assert_true(
	    natlife_take(net.life, true, buf_slice(&bytes), &at, net.now_ns));
	/* The same once more: nothing is asked at the moment. */
	assert_false(
	    natlife_take(net.life, true, buf_slice(&bytes), &at, net.now_ns));
	natlife_stop(net.life);
	assert_true(natlife_wake_at(net.life) == CLOCK_NEVER);
	assert_false(natlife_result(net.life)->known);
	buf_fini(&bytes);
	close_net(&net);
}

static void
something_is_said_before_the_router_forgets(void **state)
{
	struct natlife_result r = { .known = true };

	(void)state;
	for (uint64_t s = 0; s <= 160; s++) {
		uint64_t say_ns;

		r.kept_ns = s * CLOCK_S;
		say_ns = natlife_say_ns(&r, 15 * CLOCK_S);
		assert_true(say_ns >= 5 * CLOCK_S && say_ns <= 23 * CLOCK_S);
		assert_true(say_ns <= r.kept_ns || s < 5);
	}
	assert_true(natlife_say_ns(&r, 15 * CLOCK_S) == 23 * CLOCK_S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_life_is_found_within_five_seconds),
		cmocka_unit_test(
		    a_router_that_never_forgets_is_believed_after_a_while),
		cmocka_unit_test(it_is_a_conversation_that_is_measured),
		cmocka_unit_test(a_lost_answer_is_no_forgotten_mapping),
		cmocka_unit_test(a_server_that_cannot_says_nothing),
		cmocka_unit_test(what_is_no_answer_changes_nothing),
		cmocka_unit_test(something_is_said_before_the_router_forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
