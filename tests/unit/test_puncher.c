/* Who calls whom to open a way, when, and when again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "mesh/puncher.h"

#define T0 (1000 * CLOCK_S)
#define LATENCY (30 * CLOCK_MS)

/* Two nodes; A has the smaller ID. */
enum { A, B, NODES };

struct node {
	struct puncher *puncher;
	struct devid id;
	struct punch_side side;
	unsigned refreshes, calls, answers, refusals, dials, sends;
	enum punch_end end;
	unsigned ends;
	uint64_t first_call_ns;
};

struct word {
	uint64_t at_ns;
	int to;
	struct punch_signal signal;
};

struct world {
	struct node node[NODES];
	VEC(struct word) way;
	uint64_t now_ns;
	bool mute;    /* signals are lost */
	bool deaf;    /* probes are lost */
	bool forgets; /* nobody says where we are */
};

static struct addr
place(int i)
{
	return (struct addr){ .scheme = ADDR_QUIC,
		.host = ADDR_IP4,
		.ip = { 203, 0, 113, (uint8_t)(i + 1) },
		.port = 22000 };
}

static void
world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->now_ns = T0;
	for (int i = 0; i < NODES; i++) {
		struct node *n = &w->node[i];
		const uint8_t key[DRAW_KEY_LEN] = { (uint8_t)(i + 1) };

		memset(n->id.b, i + 1, sizeof(n->id.b));
		n->side.mapping = NATCHECK_SAME;
		n->side.candidate[0] =
		    (struct punch_candidate){ PUNCH_MAPPED, place(i) };
		n->side.count = 1;
		n->puncher = puncher_new(&n->id, key);
	}
}

static void
world_fini(struct world *w)
{
	for (int i = 0; i < NODES; i++)
		puncher_free(w->node[i].puncher);
	VEC_FINI(&w->way);
}

/* `i` wants the other, and can be reached. */
static void
want(struct world *w, int i)
{
	const struct devid *peer = &w->node[1 - i].id;

	puncher_want(w->node[i].puncher, peer, 1, w->now_ns);
	puncher_set_here(w->node[i].puncher, peer, true, w->now_ns);
}

static void
do_signal(struct world *w, int i, const struct puncher_act *act)
{
	struct node *n = &w->node[i];

	assert_true(devid_equal(&act->id, &w->node[1 - i].id));
	n->calls += act->signal.word == PUNCH_CALL;
	n->answers += act->signal.word == PUNCH_ANSWER;
	n->refusals += act->signal.word == PUNCH_REFUSE;
	if (n->first_call_ns == 0 && act->signal.word == PUNCH_CALL)
		n->first_call_ns = w->now_ns;
	if (!w->mute)
		*VEC_ADD(&w->way) =
		    (struct word){ w->now_ns + LATENCY, 1 - i, act->signal };
}

static void
do_punch(struct world *w, int i, const struct puncher_act *act)
{
	const struct addr from = place(i);
	struct node *n = &w->node[i];

	switch (act->punch.kind) {
	case PUNCH_DO_SEND:
		n->sends++;
		if (!w->deaf && act->punch.hops == 0)
			(void)puncher_take(w->node[1 - i].puncher, 0, 0,
			    slice_of(act->punch.datagram, PUNCH_PROBE_LEN),
			    &from, w->now_ns);
		break;
	case PUNCH_DO_DIAL:
		n->dials++;
		break;
	case PUNCH_DO_END:
		n->end = act->punch.end;
		n->ends++;
		break;
	case PUNCH_DO_OPEN:
	case PUNCH_DO_PROMOTE:
		break;
	}
}

static void
do_all(struct world *w, int i)
{
	struct node *n = &w->node[i];
	struct puncher_act act;

	while (puncher_next(n->puncher, w->now_ns, &act)) {
		switch (act.kind) {
		case PUNCHER_DO_SIGNAL:
			do_signal(w, i, &act);
			break;
		case PUNCHER_DO_REFRESH:
			n->refreshes++;
			if (!w->forgets)
				puncher_set_side(n->puncher, &n->side,
				    w->now_ns);
			break;
		case PUNCHER_DO_PUNCH:
			do_punch(w, i, &act);
			break;
		}
	}
}

static void
run(struct world *w, uint64_t for_ns)
{
	const uint64_t until = w->now_ns + for_ns;

	for (; w->now_ns < until; w->now_ns += 10 * CLOCK_MS) {
		for (size_t k = 0; k < w->way.len;) {
			const struct word word = w->way.item[k];

			if (word.at_ns > w->now_ns) {
				k++;
				continue;
			}
			VEC_DROP(&w->way, k);
			puncher_take_signal(w->node[word.to].puncher,
			    &w->node[1 - word.to].id, &word.signal, w->now_ns);
		}
		for (int i = 0; i < NODES; i++)
			do_all(w, i);
	}
}

static unsigned
dials(const struct world *w)
{
	return w->node[A].dials + w->node[B].dials;
}

static void
puncher_opens_a_way_once(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	want(&w, A);
	want(&w, B);
	run(&w, 4 * CLOCK_S);
	assert_int_equal(dials(&w), 1);
	assert_int_equal(w.node[A].calls, 1);
	assert_int_equal(w.node[B].calls, 0);
	/* Each made sure where it is, once. */
	assert_int_equal(w.node[A].refreshes, 1);
	assert_int_equal(w.node[B].refreshes, 1);
	/* A second for plain dials. */
	assert_true(w.node[A].first_call_ns >= T0 + CLOCK_S);
	/* Connected: it is over, and counts. */
	puncher_want(w.node[A].puncher, NULL, 0, w.now_ns);
	run(&w, 100 * CLOCK_MS);
	assert_int_equal(w.node[A].ends, 1);
	assert_int_equal(puncher_count(w.node[A].puncher, PUNCH_RUNS), 1);
	assert_int_equal(puncher_end(w.node[A].puncher, &w.node[B].id, NULL),
	    PUNCH_RUNS);
	world_fini(&w);
}

static void
puncher_lets_the_larger_one_call_when_the_smaller_does_not(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	want(&w, B);
	puncher_want(w.node[A].puncher, &w.node[B].id, 1, T0);
	run(&w, 5 * CLOCK_S);
	assert_int_equal(w.node[B].calls, 1);
	assert_int_equal(w.node[B].dials, 1);
	assert_int_equal(w.node[A].answers, 1);
	world_fini(&w);
}

static void
puncher_calls_at_once_who_was_woken(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	/* The larger one waits longest, and now it does not. */
	want(&w, B);
	puncher_want(w.node[A].puncher, &w.node[B].id, 1, T0);
	puncher_hurry(w.node[B].puncher, &w.node[A].id, T0);
	run(&w, CLOCK_S);
	assert_int_equal(w.node[B].dials, 1);
	assert_true(w.node[B].first_call_ns < T0 + 100 * CLOCK_MS);
	/* Who is not wanted is not called. */
	puncher_want(w.node[B].puncher, NULL, 0, w.now_ns);
	puncher_hurry(w.node[B].puncher, &w.node[A].id, w.now_ns);
	run(&w, CLOCK_S);
	assert_int_equal(w.node[B].calls, 1);
	world_fini(&w);
}

static void
puncher_of_two_calls_takes_the_smaller_ones(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	want(&w, B);
	run(&w, 2 * CLOCK_S);
	want(&w, A); /* due together with B's */
	run(&w, 4 * CLOCK_S);
	assert_int_equal(w.node[A].calls, 1);
	assert_int_equal(w.node[B].calls, 1);
	assert_int_equal(w.node[A].dials, 1);
	assert_int_equal(w.node[B].dials, 0);
	assert_int_equal(w.node[A].answers, 0);
	world_fini(&w);
}

static void
puncher_waits_longer_each_time(void **state)
{
	uint64_t next, last = 0;
	struct world w;

	(void)state;
	world_init(&w);
	w.mute = true;
	want(&w, A);
	for (unsigned n = 1; n <= 4; n++) {
		while (w.node[A].ends < n)
			run(&w, 100 * CLOCK_MS);
		assert_int_equal(w.node[A].end, PUNCH_SILENT);
		assert_int_equal(
		    puncher_end(w.node[A].puncher, &w.node[B].id, &next),
		    PUNCH_SILENT);
		assert_true(next - w.now_ns > last);
		assert_in_range(next - w.now_ns, (7 << (n - 1)) * CLOCK_S,
		    (13 << (n - 1)) * CLOCK_S);
		last = next - w.now_ns;
	}
	/* Back again: at once. */
	puncher_set_here(w.node[A].puncher, &w.node[B].id, false, w.now_ns);
	(void)puncher_end(w.node[A].puncher, &w.node[B].id, &next);
	assert_int_equal(next, CLOCK_NEVER);
	puncher_set_here(w.node[A].puncher, &w.node[B].id, true, w.now_ns);
	(void)puncher_end(w.node[A].puncher, &w.node[B].id, &next);
	assert_int_equal(next, w.now_ns + CLOCK_S);
	world_fini(&w);
}

static void
puncher_tries_the_impossible_once_a_minute(void **state)
{
	uint64_t next;
	struct world w;

	(void)state;
	world_init(&w);
	w.deaf = true;
	w.node[A].side.mapping = w.node[B].side.mapping = NATCHECK_BY_PORT;
	want(&w, A);
	want(&w, B);
	while (w.node[A].ends == 0)
		run(&w, 100 * CLOCK_MS);
	assert_int_equal(w.node[A].end, PUNCH_HARD_BOTH);
	(void)puncher_end(w.node[A].puncher, &w.node[B].id, &next);
	assert_true(next >= w.now_ns + 40 * CLOCK_S);
	/* Another network: things are no longer as they were. */
	w.node[A].side.mapping = NATCHECK_SAME;
	puncher_set_side(w.node[A].puncher, &w.node[A].side, w.now_ns);
	(void)puncher_end(w.node[A].puncher, &w.node[B].id, &next);
	assert_int_equal(next, w.now_ns + CLOCK_S);
	world_fini(&w);
}

static void
puncher_does_not_wait_for_ever_to_know_where_it_is(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	w.forgets = true;
	want(&w, A);
	run(&w, 5 * CLOCK_S);
	assert_int_equal(w.node[A].refreshes, 1);
	assert_int_equal(w.node[A].calls, 1);
	assert_in_range(w.node[A].first_call_ns, T0 + 4 * CLOCK_S,
	    T0 + 4200 * CLOCK_MS);
	world_fini(&w);
}

static void
puncher_opens_nothing_for_who_is_not_wanted(void **state)
{
	const struct punch_signal call = { .word = PUNCH_CALL };
	struct world w;

	(void)state;
	world_init(&w);
	/* A stranger gets not a word. */
	puncher_take_signal(w.node[A].puncher, &w.node[B].id, &call, T0);
	run(&w, CLOCK_S);
	assert_int_equal(w.node[A].refusals + w.node[A].answers, 0);
	/* A friend that is connected a refusal. */
	want(&w, A);
	puncher_want(w.node[A].puncher, NULL, 0, w.now_ns);
	puncher_take_signal(w.node[A].puncher, &w.node[B].id, &call, w.now_ns);
	run(&w, 5 * CLOCK_S);
	assert_int_equal(w.node[A].refusals, 1);
	assert_int_equal(w.node[A].answers + w.node[A].calls, 0);
	assert_int_equal(w.node[A].sends, 0);
	world_fini(&w);
}

/* A coordinator that forges calls makes us send little. */
static void
puncher_bounds_what_forged_calls_do(void **state)
{
	struct punch_signal call = { .word = PUNCH_CALL };
	struct world w;

	(void)state;
	world_init(&w);
	w.mute = w.deaf = true;
	puncher_want(w.node[A].puncher, &w.node[B].id, 1, T0);
	call.side = w.node[B].side;
	for (int i = 0; i < 1000; i++) {
		call.cookie.b[0] = (uint8_t)i;
		call.cookie.b[1] = (uint8_t)(i >> 8);
		puncher_take_signal(w.node[A].puncher, &w.node[B].id, &call,
		    w.now_ns);
		run(&w, 10 * CLOCK_MS);
	}
	/* In ten seconds. */
	assert_in_range(w.node[A].answers, 1, 5);
	assert_in_range(w.node[A].sends, 1, 150);
	world_fini(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puncher_opens_a_way_once),
		cmocka_unit_test(
		    puncher_lets_the_larger_one_call_when_the_smaller_does_not),
		cmocka_unit_test(puncher_calls_at_once_who_was_woken),
		cmocka_unit_test(puncher_of_two_calls_takes_the_smaller_ones),
		cmocka_unit_test(puncher_waits_longer_each_time),
		cmocka_unit_test(puncher_tries_the_impossible_once_a_minute),
		cmocka_unit_test(
		    puncher_does_not_wait_for_ever_to_know_where_it_is),
		cmocka_unit_test(puncher_opens_nothing_for_who_is_not_wanted),
		cmocka_unit_test(puncher_bounds_what_forged_calls_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
