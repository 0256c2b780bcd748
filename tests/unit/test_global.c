/*
 * The winner: every set of versions over a small domain, in every order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/global.h"

/* Two counters of 0..2, deleted or not, two times, held or not. */
#define DOMAIN (3 * 3 * 2 * 2 * 2)

static struct counter counters[DOMAIN][2];
static struct row_version domain[DOMAIN];

static int
make_domain(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DOMAIN; i++) {
		struct row_version *v = &domain[i];
		const unsigned n[2] = { i % 3, i / 3 % 3 };

		*v = (struct row_version){ 0 };
		for (unsigned k = 0; k < 2; k++) {
			if (n[k] > 0)
				counters[i][v->entry.version.count++] =
				    (struct counter){ k + 1, n[k] };
		}
		v->entry.version.counter = counters[i];
		v->entry.deleted = i / 9 % 2 != 0;
		v->entry.mtime_s = i / 18 % 2;
		devset_add(i / 36 != 0 ? &v->holders : &v->shadows, 3);
	}
	return 0;
}

/* A row holds no two versions with equal vectors. */
static bool
are_distinct(unsigned a, unsigned b)
{
	return a % 9 != b % 9;
}

static bool
dominates(unsigned a, unsigned b)
{
	return version_compare(domain[a].entry.version,
		   domain[b].entry.version) == VERSION_NEWER;
}

static bool
are_concurrent(unsigned a, unsigned b)
{
	return are_distinct(a, b) && !dominates(a, b) && !dominates(b, a);
}

static void
of_two_versions_exactly_one_beats(void **state)
{
	(void)state;
	for (unsigned a = 0; a < DOMAIN; a++) {
		assert_false(global_beats(&domain[a], &domain[a]));
		for (unsigned b = 0; b < DOMAIN; b++) {
			if (!are_distinct(a, b))
				continue;
			assert_true(global_beats(&domain[a], &domain[b]) !=
				    global_beats(&domain[b], &domain[a]));
		}
	}
}

static void
order_of_versions_that_do_not_dominate_is_transitive(void **state)
{
	(void)state;
	for (unsigned a = 0; a < DOMAIN; a++) {
		for (unsigned b = 0; b < DOMAIN; b++) {
			if (!are_concurrent(a, b) ||
			    !global_beats(&domain[a], &domain[b]))
				continue;
			for (unsigned c = 0; c < DOMAIN; c++) {
				if (!are_concurrent(b, c) ||
				    !are_concurrent(a, c) ||
				    !global_beats(&domain[b], &domain[c]))
					continue;
				assert_true(
				    global_beats(&domain[a], &domain[c]));
			}
		}
	}
}

static void
pick_of_two_is_the_one_that_beats(void **state)
{
	(void)state;
	for (unsigned a = 0; a < DOMAIN; a++) {
		for (unsigned b = 0; b < DOMAIN; b++) {
			const struct row_version two[2] = { domain[a],
				domain[b] };

			if (!are_distinct(a, b))
				continue;
			assert_int_equal(global_pick(two, 2),
			    global_beats(&two[0], &two[1]) ? 0 : 1);
		}
	}
}

static void
pick_does_not_depend_on_the_order(void **state)
{
	static const unsigned order[6][3] = { { 0, 1, 2 }, { 0, 2, 1 },
		{ 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

	(void)state;
	for (unsigned i = 0; i < DOMAIN * DOMAIN * DOMAIN; i++) {
		const unsigned n[3] = { i % DOMAIN, i / DOMAIN % DOMAIN,
			i / DOMAIN / DOMAIN };
		unsigned winner = 0;

		if (!are_distinct(n[0], n[1]) || !are_distinct(n[0], n[2]) ||
		    !are_distinct(n[1], n[2]))
			continue;
		for (unsigned o = 0; o < 6; o++) {
			struct row_version three[3];
			int32_t got;

			for (unsigned k = 0; k < 3; k++)
				three[k] = domain[n[order[o][k]]];
			got = global_pick(three, 3);
			assert_in_range(got, 0, 2);
			if (o == 0)
				winner = n[order[o][got]];
			assert_int_equal(n[order[o][got]], winner);
		}
	}
}

static void
pick_is_never_dominated_by_one_as_valid(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DOMAIN * DOMAIN * DOMAIN; i++) {
		const unsigned n[3] = { i % DOMAIN, i / DOMAIN % DOMAIN,
			i / DOMAIN / DOMAIN };
		const struct row_version three[3] = { domain[n[0]],
			domain[n[1]], domain[n[2]] };
		unsigned got;

		if (!are_distinct(n[0], n[1]) || !are_distinct(n[0], n[2]) ||
		    !are_distinct(n[1], n[2]))
			continue;
		got = n[global_pick(three, 3)];
		for (unsigned k = 0; k < 3; k++) {
			const bool valid = !devset_is_empty(&three[k].holders);

			if (devset_is_empty(&domain[got].holders))
				assert_false(valid);
			else if (valid)
				assert_false(dominates(n[k], got));
		}
	}
}

static struct row_version
held(const struct counter *c, uint32_t count)
{
	struct row_version v = { .entry.version = { c, count } };

	devset_add(&v.holders, 1);
	return v;
}

static void
edit_beats_a_later_deletion(void **state)
{
	static const struct counter a[1] = { { 1, 5 } }, b[1] = { { 2, 5 } };
	struct row_version two[2] = { held(a, 1), held(b, 1) };

	(void)state;
	two[1].entry.deleted = true;
	two[1].entry.mtime_s = 100;
	assert_int_equal(global_pick(two, 2), 0);
}

static void
newer_nanoseconds_decide_then_the_lower_device(void **state)
{
	static const struct counter a[1] = { { 1, 5 } }, b[1] = { { 2, 9 } };
	struct row_version two[2] = { held(a, 1), held(b, 1) };

	(void)state;
	assert_int_equal(global_pick(two, 2), 0);
	two[1].entry.mtime_ns = 1;
	assert_int_equal(global_pick(two, 2), 1);
}

static void
nothing_has_no_winner(void **state)
{
	(void)state;
	assert_int_equal(global_pick(NULL, 0), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_two_versions_exactly_one_beats),
		cmocka_unit_test(
		    order_of_versions_that_do_not_dominate_is_transitive),
		cmocka_unit_test(pick_of_two_is_the_one_that_beats),
		cmocka_unit_test(pick_does_not_depend_on_the_order),
		cmocka_unit_test(pick_is_never_dominated_by_one_as_valid),
		cmocka_unit_test(edit_beats_a_later_deletion),
		cmocka_unit_test(
		    newer_nanoseconds_decide_then_the_lower_device),
		cmocka_unit_test(nothing_has_no_winner),
	};

	return cmocka_run_group_tests(tests, make_domain, NULL);
}
