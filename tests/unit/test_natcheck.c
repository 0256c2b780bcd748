/* The NAT check, before routers of every kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "mesh/natcheck.h"
#include "mesh/stun.h"

#define T0 (1000 * CLOCK_S)

enum kind { OPEN, SAME, BY_HOST, BY_PORT };

/* A router and the servers behind it. */
struct net {
	struct natcheck *check;
	enum kind kind;
	bool hairpin, blocked, v6_blocked;
	unsigned lose;     /* the first so many of each server */
	unsigned seen[8];  /* by the last part of its address */
	struct addr other; /* told by every server, when it has a port */
	struct addr away;  /* this server is silent */
	uint64_t now_ns;
	unsigned sent;
};

static struct addr
parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static struct addr
mapped(const struct net *net, const struct addr *to)
{
	struct addr a =
	    parse(to->host == ADDR_IP6 ? "quic://[2001:db8::5]:22000"
				       : "quic://203.0.113.5:1000");

	if (net->kind == OPEN)
		return to->host == ADDR_IP6 ? a
					    : parse("quic://10.0.0.5:22000");
	if (net->kind != SAME)
		a.port = (uint16_t)(a.port + to->ip[3]);
	if (net->kind == BY_PORT)
		a.port = (uint16_t)(a.port + to->port % 100);
	return a;
}

static void
serve(struct net *net, const struct natcheck_send *out)
{
	struct stun_message m;
	struct addr seen = mapped(net, &out->to);
	struct buf answer = { 0 };
	uint16_t port;

	assert_int_equal(stun_decode(&m, buf_slice(&out->datagram), NULL), 0);
	if (net->blocked || (net->v6_blocked && out->to.host == ADDR_IP6) ||
	    addr_equal(&out->to, &net->away))
		return;
	if (out->to.ip[0] == 203) {
		if (net->hairpin)
			assert_true(natcheck_take(net->check,
			    buf_slice(&out->datagram), &seen, net->now_ns));
		return;
	}
	if (net->seen[out->to.ip[3] % 8]++ < net->lose)
		return;
	assert_true(
	    stun_answer(buf_slice(&out->datagram), &seen, &answer, &port));
	if (net->other.port != 0) {
		assert_int_equal(stun_decode(&m, buf_slice(&answer), NULL), 0);
		m.has_other = true;
		m.other = net->other;
		buf_clear(&answer);
		stun_encode(&m, &answer);
	}
	net->now_ns += 20 * CLOCK_MS;
	(void)natcheck_take(net->check, buf_slice(&answer), &out->to,
	    net->now_ns);
	buf_fini(&answer);
}

static void
run(struct net *net)
{
	struct natcheck_send out;

	while (natcheck_wake_at(net->check) != CLOCK_NEVER) {
		if (natcheck_wake_at(net->check) > net->now_ns)
			net->now_ns = natcheck_wake_at(net->check);
		while (natcheck_next(net->check, net->now_ns, &out)) {
			net->sent++;
			serve(net, &out);
			buf_fini(&out.datagram);
		}
	}
	assert_false(natcheck_runs(net->check));
}

static void
make(struct net *net, enum kind kind, const char *const *server)
{
	static const uint8_t key[DRAW_KEY_LEN] = { 1 };
	const struct addr local[] = { parse("quic://10.0.0.5:22000"),
		parse("quic://[2001:db8::5]:22000") };
	struct natcheck_server list[8];
	size_t count = 0;

	for (; server[count] != NULL; count++)
		list[count].addr = parse(server[count]);
	net->kind = kind;
	net->now_ns = T0;
	net->check = natcheck_new(key);
	natcheck_set_locals(net->check, local, 2);
	natcheck_set_servers(net->check, list, count);
	natcheck_begin(net->check, T0);
}

static const char *const two_by_two[] = { "quic://192.0.2.1:3478",
	"quic://192.0.2.1:3479", "quic://192.0.2.2:3478",
	"quic://192.0.2.2:3479", NULL };
static const char *const one[] = { "quic://192.0.2.1:3478", NULL };

static void
expect(enum kind kind, const char *const *server, const char *mapping)
{
	struct net net = { .hairpin = true };
	const struct natcheck_result *r;

	make(&net, kind, server);
	run(&net);
	r = natcheck_result(net.check, false);
	assert_true(r->udp);
	assert_string_equal(natcheck_mapping_text(r->mapping), mapping);
	natcheck_free(net.check);
}

static void
natcheck_tells_every_kind_of_mapping(void **state)
{
	static const char *const two_hosts[] = { "quic://192.0.2.1:3478",
		"quic://192.0.2.2:3478", NULL };

	(void)state;
	expect(OPEN, two_by_two, "none");
	expect(SAME, two_by_two, "endpoint-independent");
	expect(BY_HOST, two_by_two, "address-dependent");
	expect(BY_PORT, two_by_two, "address-and-port-dependent");
	/* Too few to tell, or to tell more than the worst. */
	expect(SAME, one, "unknown");
	expect(OPEN, one, "none");
	expect(BY_HOST, two_hosts, "address-and-port-dependent");
	expect(SAME, two_hosts, "endpoint-independent");
}

static void
natcheck_asks_a_server_at_its_other_address(void **state)
{
	struct net net = { .other = parse("quic://192.0.2.9:3479") };

	(void)state;
	make(&net, BY_HOST, one);
	run(&net);
	assert_int_equal(natcheck_result(net.check, false)->asked, 3);
	assert_int_equal(natcheck_result(net.check, false)->mapping,
	    NATCHECK_BY_HOST);
	natcheck_free(net.check);
	/* A server out there does not send us to somebody's own network. */
	memset(&net, 0, sizeof(net));
	net.other = parse("quic://10.0.0.1:53");
	make(&net, SAME, one);
	run(&net);
	assert_int_equal(natcheck_result(net.check, false)->asked, 1);
	natcheck_free(net.check);
}

static void
natcheck_asks_again_when_datagrams_are_lost(void **state)
{
	struct net net = { .lose = STUN_TRIES - 1 };

	(void)state;
	make(&net, SAME, one);
	run(&net);
	assert_true(natcheck_result(net.check, false)->udp);
	/* The round trip is the last question's. */
	assert_int_equal(natcheck_result(net.check, false)->rtt_ns,
	    20 * CLOCK_MS);
	natcheck_free(net.check);
}

static void
natcheck_finds_udp_blocked_in_ten_seconds(void **state)
{
	struct net net = { .blocked = true };

	(void)state;
	make(&net, SAME, two_by_two);
	run(&net);
	assert_false(natcheck_result(net.check, false)->udp);
	assert_int_equal(natcheck_result(net.check, false)->asked, 4);
	assert_int_equal(net.now_ns, T0 + stun_retry_ns(STUN_TRIES));
	assert_int_equal(net.sent, 4 * STUN_TRIES);
	natcheck_free(net.check);
}

static void
natcheck_keeps_the_families_apart(void **state)
{
	static const char *const both[] = { "quic://192.0.2.1:3478",
		"quic://192.0.2.1:3479", "quic://[2001:db8::99]:3478", NULL };
	struct net net = { .v6_blocked = true };

	(void)state;
	make(&net, BY_PORT, both);
	run(&net);
	assert_true(natcheck_result(net.check, false)->udp);
	assert_false(natcheck_result(net.check, true)->udp);
	natcheck_free(net.check);
	memset(&net, 0, sizeof(net));
	make(&net, OPEN, both);
	run(&net);
	assert_int_equal(natcheck_result(net.check, true)->mapping,
	    NATCHECK_NONE);
	natcheck_free(net.check);
}

static void
natcheck_finds_a_router_that_turns_around(void **state)
{
	struct net net = { .hairpin = true };

	(void)state;
	make(&net, SAME, two_by_two);
	run(&net);
	assert_int_equal(natcheck_result(net.check, false)->hairpin,
	    NATCHECK_HAIRPIN_YES);
	net.hairpin = false;
	natcheck_begin(net.check, net.now_ns);
	run(&net);
	assert_int_equal(natcheck_result(net.check, false)->hairpin,
	    NATCHECK_HAIRPIN_NO);
	natcheck_free(net.check);
}

static void
natcheck_refreshes_by_one_question(void **state)
{
	struct net net = { 0 };
	uint64_t changes;

	(void)state;
	make(&net, SAME, two_by_two);
	run(&net);
	changes = natcheck_changes(net.check);
	net.sent = 0;
	net.now_ns += CLOCK_MIN;
	natcheck_refresh(net.check, net.now_ns);
	run(&net);
	assert_int_equal(net.sent, 1);
	assert_int_equal(natcheck_changes(net.check), changes);
	assert_int_equal(natcheck_result(net.check, false)->at_ns, net.now_ns);
	/* Another network: it looks around. */
	net.kind = BY_PORT;
	natcheck_refresh(net.check, net.now_ns);
	run(&net);
	assert_true(natcheck_changes(net.check) > changes);
	assert_int_equal(natcheck_result(net.check, false)->mapping,
	    NATCHECK_BY_PORT);
	natcheck_free(net.check);
}

static void
natcheck_looks_around_when_its_server_is_gone(void **state)
{
	struct net net = { 0 };

	(void)state;
	make(&net, SAME, two_by_two);
	run(&net);
	net.away = parse("quic://192.0.2.1:3478");
	natcheck_refresh(net.check, net.now_ns);
	run(&net);
	assert_int_equal(natcheck_result(net.check, false)->answered, 3);
	assert_int_equal(natcheck_result(net.check, false)->mapping,
	    NATCHECK_SAME);
	natcheck_free(net.check);
}

static void
natcheck_does_not_wait_for_the_silent(void **state)
{
	struct net net = { .away = parse("quic://192.0.2.2:3479") };
	struct natcheck_send out;

	(void)state;
	make(&net, SAME, two_by_two);
	while (!natcheck_is_known(net.check, net.now_ns) ||
	       !natcheck_result(net.check, false)->udp) {
		assert_true(natcheck_wake_at(net.check) != CLOCK_NEVER);
		if (natcheck_wake_at(net.check) > net.now_ns)
			net.now_ns = natcheck_wake_at(net.check);
		while (natcheck_next(net.check, net.now_ns, &out)) {
			serve(&net, &out);
			buf_fini(&out.datagram);
		}
	}
	assert_in_range(net.now_ns - T0, 1500 * CLOCK_MS, 2 * CLOCK_S);
	assert_true(natcheck_runs(net.check));
	assert_int_equal(natcheck_result(net.check, false)->mapping,
	    NATCHECK_SAME);
	natcheck_free(net.check);
}

static void
natcheck_believes_nobody_else(void **state)
{
	struct net net = { 0 };
	struct natcheck_send out;
	struct stun_message m;
	struct buf answer = { 0 };
	const struct addr server = parse("quic://192.0.2.1:3478");
	const struct addr liar = parse("quic://192.0.2.1:3479");
	const struct addr lie = parse("quic://198.51.100.1:9");
	uint16_t port;

	(void)state;
	make(&net, SAME, one);
	assert_true(natcheck_next(net.check, T0, &out));
	assert_true(
	    stun_answer(buf_slice(&out.datagram), &lie, &answer, &port));
	/* The right ID from elsewhere; from there with a wrong ID. */
	assert_false(natcheck_take(net.check, buf_slice(&answer), &liar, T0));
	assert_int_equal(stun_decode(&m, buf_slice(&answer), NULL), 0);
	m.id.b[0] ^= 1;
	buf_clear(&answer);
	stun_encode(&m, &answer);
	assert_false(natcheck_take(net.check, buf_slice(&answer), &server, T0));
	assert_true(natcheck_runs(net.check));
	buf_fini(&answer);
	buf_fini(&out.datagram);
	natcheck_free(net.check);
}

static void
natcheck_of_nobody_is_over_at_once(void **state)
{
	static const char *const none[] = { NULL };
	struct net net = { 0 };

	(void)state;
	make(&net, SAME, none);
	run(&net);
	assert_int_equal(natcheck_result(net.check, false)->asked, 0);
	assert_int_equal(natcheck_rounds(net.check), 1);
	natcheck_free(net.check);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(natcheck_tells_every_kind_of_mapping),
		cmocka_unit_test(natcheck_asks_a_server_at_its_other_address),
		cmocka_unit_test(natcheck_asks_again_when_datagrams_are_lost),
		cmocka_unit_test(natcheck_finds_udp_blocked_in_ten_seconds),
		cmocka_unit_test(natcheck_keeps_the_families_apart),
		cmocka_unit_test(natcheck_finds_a_router_that_turns_around),
		cmocka_unit_test(natcheck_refreshes_by_one_question),
		cmocka_unit_test(natcheck_looks_around_when_its_server_is_gone),
		cmocka_unit_test(natcheck_does_not_wait_for_the_silent),
		cmocka_unit_test(natcheck_believes_nobody_else),
		cmocka_unit_test(natcheck_of_nobody_is_over_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
