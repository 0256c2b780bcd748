/* version: the laws of vectors, tried over a whole small world of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blockproto/version.h"

/* All vectors over three devices with counters 0, 1 and 2: 27 of them. */
#define IDS 3u
#define VALUES 3u
#define WORLD 27u

static struct counter world_counter[WORLD][IDS];
static struct version world[WORLD];

static void
world_make(void)
{
	for (unsigned n = 0; n < WORLD; n++) {
		unsigned rest = n;
		uint32_t count = 0;

		for (unsigned id = 1; id <= IDS; id++, rest /= VALUES) {
			if (rest % VALUES == 0)
				continue;
			world_counter[n][count].id = id * UINT64_C(0x50000000);
			world_counter[n][count++].value = rest % VALUES;
		}
		world[n] = (struct version){ world_counter[n], count };
	}
}

/* The oracle: counter by counter, with nothing of the walk in it. */
static unsigned
at(unsigned n, unsigned id)
{
	while (id-- > 0)
		n /= VALUES;
	return n % VALUES;
}

static enum version_order
order_of(unsigned a, unsigned b)
{
	bool more = false, less = false;

	for (unsigned id = 0; id < IDS; id++) {
		more = more || at(a, id) > at(b, id);
		less = less || at(a, id) < at(b, id);
	}
	if (more && less)
		return VERSION_CONCURRENT;
	return more ? VERSION_NEWER : less ? VERSION_OLDER : VERSION_EQUAL;
}

static void
compare_is_elementwise(void **state)
{
	(void)state;
	for (unsigned a = 0; a < WORLD; a++) {
		for (unsigned b = 0; b < WORLD; b++) {
			const enum version_order want = order_of(a, b);

			assert_int_equal(version_compare(world[a], world[b]),
			    want);
			assert_int_equal(version_equal(world[a], world[b]),
			    a == b);
			assert_int_equal(version_covers(world[a], world[b]),
			    want == VERSION_EQUAL || want == VERSION_NEWER);
		}
	}
}

static void
beats_is_total_antisymmetric_and_extends_causality(void **state)
{
	(void)state;
	for (unsigned a = 0; a < WORLD; a++) {
		for (unsigned b = 0; b < WORLD; b++) {
			const bool ab = version_beats(world[a], world[b]);
			const bool ba = version_beats(world[b], world[a]);

			if (a == b)
				assert_false(ab || ba);
			else
				assert_true(ab != ba);
			if (order_of(a, b) == VERSION_NEWER)
				assert_true(ab);
		}
	}
}

static void
beats_is_transitive_over_all_triples(void **state)
{
	(void)state;
	for (unsigned a = 0; a < WORLD; a++) {
		for (unsigned b = 0; b < WORLD; b++) {
			if (!version_beats(world[a], world[b]))
				continue;
			for (unsigned c = 0; c < WORLD; c++) {
				if (version_beats(world[b], world[c]))
					assert_true(
					    version_beats(world[a], world[c]));
			}
		}
	}
}

static void
merge_is_the_least_that_covers_both(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	for (unsigned a = 0; a < WORLD; a++) {
		for (unsigned b = 0; b < WORLD; b++) {
			const struct version ab =
			    version_merge(world[a], world[b], &arena);
			const struct version ba =
			    version_merge(world[b], world[a], &arena);

			assert_true(version_is_canonical(ab));
			assert_true(version_equal(ab, ba));
			assert_true(version_covers(ab, world[a]));
			assert_true(version_covers(ab, world[b]));
			for (unsigned c = 0; c < WORLD; c++) {
				if (version_covers(world[c], world[a]) &&
				    version_covers(world[c], world[b]))
					assert_true(
					    version_covers(world[c], ab));
			}
		}
	}
	arena_fini(&arena);
}

static void
bump_is_newer_than_what_it_was_and_touches_one_counter(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	for (unsigned a = 0; a < WORLD; a++) {
		for (uint64_t id = 1; id <= IDS + 1; id++) {
			const uint64_t own = id * UINT64_C(0x50000000);
			const struct version v =
			    version_bump(world[a], own, 0, &arena);

			assert_true(version_is_canonical(v));
			assert_int_equal(version_compare(v, world[a]),
			    VERSION_NEWER);
			assert_true(version_counter(v, own) ==
				    version_counter(world[a], own) + 1);
			for (unsigned b = 0; b < WORLD; b++) {
				if (version_covers(world[a], world[b]))
					assert_true(
					    version_covers(v, world[b]));
			}
			for (uint32_t i = 0; i < world[a].count; i++) {
				const struct counter *c = &world[a].counter[i];

				if (c->id != own)
					assert_true(version_counter(v, c->id) ==
						    c->value);
			}
		}
	}
	arena_fini(&arena);
}

static void
bump_takes_the_wall_clock_when_it_is_sane(void **state)
{
	const struct counter c = { 5, 1700000000 };
	const struct version v = { &c, 1 };
	const struct counter top = { 5, UINT64_MAX };
	const struct {
		int64_t wall;
		uint64_t want;
	} rows[] = {
		{ 1600000000, 1700000001 },
		{ 1700000000, 1700000001 },
		{ 1700000001, 1700000001 },
		{ 1700000002, 1700000002 },
		{ 0, 1700000001 },
		{ -1, 1700000001 },
		{ INT64_MIN, 1700000001 },
		{ INT64_MAX, 1700000001 },
		{ INT64_C(4102444799), UINT64_C(4102444799) },
		{ INT64_C(4102444800), 1700000001 },
	};
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_true(
		    version_counter(version_bump(v, 5, rows[i].wall, &arena),
			5) == rows[i].want);
	/* A new counter before 2001 begins at one. */
	assert_true(
	    version_counter(version_bump(v, 4, 978307199, &arena), 4) == 1);
	assert_true(version_counter(version_bump(v, 4, 978307200, &arena), 4) ==
		    978307200);
	/* At the very end it stays, it does not begin anew. */
	assert_true(version_counter(
			version_bump((struct version){ &top, 1 }, 5, 0, &arena),
			5) == UINT64_MAX);
	arena_fini(&arena);
}

static void
canonical_sorts_drops_zeroes_and_keeps_the_higher(void **state)
{
	const struct counter raw[] = { { 9, 1 }, { 3, 0 }, { 7, 4 }, { 9, 6 },
		{ UINT64_MAX, 2 }, { 7, 4 }, { 0, 5 }, { 3, 0 } };
	const struct counter want[] = { { 0, 5 }, { 7, 4 }, { 9, 6 },
		{ UINT64_MAX, 2 } };
	struct arena arena = { 0 };
	struct version v = version_canonical(raw, 8, &arena);

	(void)state;
	assert_int_equal(v.count, 4);
	for (uint32_t i = 0; i < v.count; i++) {
		assert_true(v.counter[i].id == want[i].id);
		assert_true(v.counter[i].value == want[i].value);
	}
	assert_false(version_is_canonical((struct version){ raw, 8 }));
	v = version_canonical(&raw[1], 1, &arena);
	assert_int_equal(v.count, 0);
	v = version_canonical(NULL, 0, &arena);
	assert_int_equal(v.count, 0);
	v = version_canonical(want, 4, &arena);
	assert_int_equal(v.count, 4);
	assert_ptr_not_equal(v.counter, want);
	arena_fini(&arena);
}

static void
only_keeps_one_device_and_dup_all(void **state)
{
	const struct counter c[] = { { 1, 5 }, { 2, 6 } };
	const struct version v = { c, 2 };
	struct arena arena = { 0 };

	(void)state;
	assert_int_equal(version_only(v, 2, &arena).count, 1);
	assert_true(version_only(v, 2, &arena).counter[0].value == 6);
	assert_int_equal(version_only(v, 3, &arena).count, 0);
	assert_int_equal(version_compare(version_before(v, &arena), v),
	    VERSION_OLDER);
	assert_true(version_is_canonical(version_before(v, &arena)));
	assert_true(version_equal(version_dup(v, &arena), v));
	assert_ptr_not_equal(version_dup(v, &arena).counter, c);
	assert_int_equal(version_dup((struct version){ 0 }, &arena).count, 0);
	arena_fini(&arena);
}

static void
stored_form_comes_back_and_bad_ones_fail(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{ "", 0 },
		{ "\x01", 1 },
		{ "\x01\0\0\0\0\0\0\0\x01", 9 },    /* value missing */
		{ "\x01\0\0\0\0\0\0\0\x01\0", 10 }, /* value 0 */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0", 11 },
		{ "\x02\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\0\x01\x01", 19 },
		{ "\x02\0\0\0\0\0\0\0\x01\x01\0\0\0\0\0\0\0\x01\x01", 19 },
	};
	struct arena arena = { 0 };
	struct buf b = { 0 };
	struct reader r;

	(void)state;
	for (unsigned a = 0; a < WORLD; a++) {
		buf_clear(&b);
		version_encode(world[a], &b);
		reader_init(&r, buf_slice(&b));
		assert_true(
		    version_equal(version_decode(&r, &arena), world[a]));
		assert_true(reader_done(&r));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reader_init(&r, slice_of(bad[i].bytes, bad[i].len));
		assert_int_equal(version_decode(&r, &arena).count, 0);
		assert_false(reader_ok(&r));
	}
	buf_fini(&b);
	arena_fini(&arena);
}

static void
vectors_of_the_fact_sheet(void **state)
{
	const struct counter a1[] = { { 1, 1 } }, b1[] = { { 2, 1 } };
	const struct counter a2[] = { { 1, 5 }, { 2, 1 } };
	const struct counter b2[] = { { 1, 4 }, { 2, 9 } };
	const struct counter zero[] = { { 1, 0 } };
	const struct version none = { 0 };

	(void)state;
	assert_int_equal(version_compare((struct version){ a1, 1 },
			     (struct version){ b1, 1 }),
	    VERSION_CONCURRENT);
	assert_true(version_beats((struct version){ a1, 1 },
	    (struct version){ b1, 1 }));
	assert_true(version_beats((struct version){ a2, 2 },
	    (struct version){ b2, 2 }));
	/* Equal in meaning, though not canonical. */
	assert_true(version_equal((struct version){ zero, 1 }, none));
	assert_int_equal(version_compare(none, (struct version){ a1, 1 }),
	    VERSION_OLDER);
}

static void
text_names_devices_as_people_see_them(void **state)
{
	const struct counter c[] = { { UINT64_C(0x0001020304050607), 3 },
		{ UINT64_C(0xe3b0c44298fc1c14), 1700000000 } };
	struct arena arena = { 0 };

	(void)state;
	assert_string_equal(version_text((struct version){ c, 2 }, &arena),
	    "AAAQEAY:3,4OYMIQU:1700000000");
	assert_string_equal(version_text((struct version){ 0 }, &arena), "");
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compare_is_elementwise),
		cmocka_unit_test(
		    beats_is_total_antisymmetric_and_extends_causality),
		cmocka_unit_test(beats_is_transitive_over_all_triples),
		cmocka_unit_test(merge_is_the_least_that_covers_both),
		cmocka_unit_test(
		    bump_is_newer_than_what_it_was_and_touches_one_counter),
		cmocka_unit_test(bump_takes_the_wall_clock_when_it_is_sane),
		cmocka_unit_test(
		    canonical_sorts_drops_zeroes_and_keeps_the_higher),
		cmocka_unit_test(only_keeps_one_device_and_dup_all),
		cmocka_unit_test(stored_form_comes_back_and_bad_ones_fail),
		cmocka_unit_test(vectors_of_the_fact_sheet),
		cmocka_unit_test(text_names_devices_as_people_see_them),
	};

	world_make();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
