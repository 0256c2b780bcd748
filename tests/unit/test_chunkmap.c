/*
 * Chunk maps: where cuts fall, and what of a file is found in another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "engine/base/hash.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/chunkmap.h"

enum { LEN = 8 << 20, CHUNKS = 1024 };

/* Chunks of `data`, fed in pieces of at most `piece` bytes. */
static uint32_t
cut_all(struct slice data, size_t piece, struct chunk *out)
{
	struct chunkmap_cutter c;
	const uint8_t *begin = data.ptr;
	uint32_t count = 0;

	chunkmap_cutter_init(&c);
	while (data.len > 0) {
		const size_t n = data.len < piece ? data.len : piece;
		bool cut;
		const size_t used = chunkmap_cut(&c, slice_to(data, n), &cut);

		assert_in_range(used, 1, n);
		data = slice_from(data, used);
		if (!cut && data.len > 0)
			continue;
		assert_in_range(count, 0, CHUNKS - 1);
		out[count].len = (uint32_t)(data.ptr - begin);
		out[count].hash = hash_u64(slice_of(begin, out[count].len));
		count++;
		begin = data.ptr;
	}
	return count;
}

static uint8_t *
random_bytes(uint64_t seed, size_t len)
{
	uint8_t *p = mem_alloc(len);
	struct rng r;

	rng_init(&r, seed);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_u64(&r);
	return p;
}

static void
cuts_depend_on_content_alone(void **state)
{
	uint8_t *p = random_bytes(1, LEN);
	struct chunk a[CHUNKS], b[CHUNKS];
	const size_t pieces[] = { 1000, 4096, 262144, LEN };
	const uint32_t count = cut_all(slice_of(p, LEN), 65536, a);

	(void)state;
	assert_in_range(count, LEN / (110 * 1024), LEN / (50 * 1024));
	for (uint32_t i = 0; i + 1 < count; i++)
		assert_in_range(a[i].len, CHUNKMAP_MIN + 1, CHUNKMAP_MAX);
	for (size_t k = 0; k < 4; k++) {
		assert_int_equal(cut_all(slice_of(p, LEN), pieces[k], b),
		    count);
		assert_memory_equal(a, b, count * sizeof(*a));
	}
	mem_free(p);
}

/* As an independent program cuts the same bytes (docs/protocol.md). */
static void
cuts_are_the_agreed_ones(void **state)
{
	static const uint32_t want[] = { 90223, 21964, 85556, 74200, 67480,
		70039, 68011, 75456, 88819, 66917, 76343, 106243, 101881,
		55444 };
	uint8_t *p = mem_alloc(1 << 20);
	struct chunk a[CHUNKS];
	uint64_t x = 1;
	uint32_t count;

	(void)state;
	for (size_t i = 0; i < 1 << 20; i++) {
		x = x * UINT64_C(6364136223846793005) +
		    UINT64_C(1442695040888963407);
		p[i] = (uint8_t)(x >> 56);
	}
	count = cut_all(slice_of(p, 1 << 20), 1 << 20, a);
	mem_free(p);
	assert_int_equal(count, sizeof(want) / sizeof(want[0]));
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(a[i].len, want[i]);
}

static void
bytes_without_cuts_are_cut_at_the_maximum(void **state)
{
	uint8_t *p = mem_zalloc(1 << 20);
	struct chunk a[CHUNKS];
	const uint32_t count = cut_all(slice_of(p, 1 << 20), 50000, a);

	(void)state;
	assert_int_equal(count, 4);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(a[i].len, CHUNKMAP_MAX);
	mem_free(p);
}

/* chunkmap_match() of two whole files. */
static uint32_t
match(const struct chunk *old, uint32_t old_count, const struct chunk *new_,
    uint32_t new_count, uint32_t fetch_max, struct chunkmap_range **out,
    struct arena *arena)
{
	struct chunk_range all[2] = { { 0, 0 }, { 0, 0 } };
	struct chunkmap map[2];

	for (uint32_t i = 0; i < old_count; i++)
		all[0].len += old[i].len;
	for (uint32_t i = 0; i < new_count; i++)
		all[1].len += new_[i].len;
	assert_true(chunkmap_place(&map[0], old, old_count, &all[0], 1, arena));
	assert_true(
	    chunkmap_place(&map[1], new_, new_count, &all[1], 1, arena));
	return chunkmap_match(&map[0], &map[1], fetch_max, out, arena);
}

/* Build the new bytes from the ranges and compare. */
static uint64_t
check_ranges(const uint8_t *old, const uint8_t *new_, size_t new_len,
    const struct chunkmap_range *r, uint32_t count, uint32_t fetch_max)
{
	int64_t at = 0;
	uint64_t fetched = 0;

	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(r[i].offset, at);
		assert_true(r[i].len > 0);
		at += r[i].len;
		if (r[i].from < 0) {
			assert_in_range(r[i].len, 1, fetch_max);
			fetched += (uint64_t)r[i].len;
			continue;
		}
		assert_memory_equal(old + r[i].from, new_ + r[i].offset,
		    (size_t)r[i].len);
		if (i > 0 && r[i - 1].from >= 0)
			assert_true(r[i - 1].from + r[i - 1].len != r[i].from);
	}
	assert_int_equal(at, new_len);
	return fetched;
}

static void
one_byte_in_front_costs_one_chunk(void **state)
{
	uint8_t *old = random_bytes(2, LEN);
	uint8_t *new_ = mem_alloc(LEN + 1);
	struct chunk a[CHUNKS], b[CHUNKS];
	struct chunkmap_range *r;
	struct arena arena = { 0 };
	uint32_t na, nb, count;

	(void)state;
	new_[0] = 'x';
	memcpy(new_ + 1, old, LEN);
	na = cut_all(slice_of(old, LEN), LEN, a);
	nb = cut_all(slice_of(new_, LEN + 1), LEN + 1, b);
	count = match(a, na, b, nb, 131072, &r, &arena);
	assert_in_range(check_ranges(old, new_, LEN + 1, r, count, 131072), 1,
	    2 * CHUNKMAP_MAX);
	assert_in_range(count, 2, 6);
	arena_fini(&arena);
	mem_free(old);
	mem_free(new_);
}

static void
random_edits_are_described_exactly(void **state)
{
	struct arena arena = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 99);
	for (int round = 0; round < 20; round++) {
		const size_t old_len = (size_t)rng_below(&rng, 3 << 20);
		uint8_t *old = random_bytes(rng_u64(&rng), old_len + 1);
		uint8_t *new_ = mem_alloc(5 << 20);
		struct chunk a[CHUNKS], b[CHUNKS];
		struct chunkmap_range *r;
		size_t at = 0, from = 0;
		uint32_t na, nb, count;

		/* Stretches of the old file, with other bytes between. */
		while (from < old_len) {
			size_t n = (size_t)rng_below(&rng, 600000);

			n = n > old_len - from ? old_len - from : n;
			memcpy(new_ + at, old + from, n);
			from += n + (size_t)rng_below(&rng, 3) * 1000;
			at += n;
			for (uint64_t k = rng_below(&rng, 500); k > 0; k--)
				new_[at++] = (uint8_t)rng_u64(&rng);
		}
		na = cut_all(slice_of(old, old_len), 70000, a);
		nb = cut_all(slice_of(new_, at), 70000, b);
		count = match(a, na, b, nb, 100000, &r, &arena);
		check_ranges(old, new_, at, r, count, 100000);
		arena_clear(&arena);
		mem_free(old);
		mem_free(new_);
	}
	arena_fini(&arena);
}

/* Edits in place: only the blocks around them are looked at, on both sides. */
static void
maps_of_ranges_find_an_edit_in_place(void **state)
{
	enum { BLOCK = 1 << 20 };
	const struct chunk_range range[] = { { BLOCK, BLOCK },
		{ 5 * BLOCK, 2 * BLOCK } };
	uint8_t *old = random_bytes(3, LEN);
	uint8_t *new_ = random_bytes(3, LEN);
	struct chunk a[CHUNKS], b[CHUNKS];
	struct chunkmap ma, mb;
	struct chunkmap_range *r;
	struct arena arena = { 0 };
	uint32_t na = 0, nb = 0, count;
	int64_t at = BLOCK;
	uint64_t fetched = 0;

	(void)state;
	memset(new_ + BLOCK + 5000, 'x', 4096);
	memset(new_ + 6 * BLOCK - 2048, 'x', 4096);
	for (int i = 0; i < 2; i++) {
		const size_t len = (size_t)range[i].len;

		na += cut_all(slice_of(old + range[i].offset, len), 65536,
		    a + na);
		nb += cut_all(slice_of(new_ + range[i].offset, len), 65536,
		    b + nb);
	}
	assert_true(chunkmap_place(&ma, a, na, range, 2, &arena));
	assert_true(chunkmap_place(&mb, b, nb, range, 2, &arena));
	count = chunkmap_match(&ma, &mb, BLOCK, &r, &arena);
	for (uint32_t i = 0; i < count; i++) {
		if (at == 2 * BLOCK)
			at = 5 * BLOCK;
		assert_int_equal(r[i].offset, at);
		at += r[i].len;
		assert_true(at <= 2 * BLOCK || r[i].offset >= 5 * BLOCK);
		if (r[i].from < 0) {
			fetched += (uint64_t)r[i].len;
			continue;
		}
		assert_int_equal(r[i].from, r[i].offset);
		assert_memory_equal(old + r[i].from, new_ + r[i].offset,
		    (size_t)r[i].len);
	}
	assert_int_equal(at, 7 * BLOCK);
	assert_in_range(fetched, 8192, 4 * CHUNKMAP_MAX);
	arena_fini(&arena);
	mem_free(old);
	mem_free(new_);
}

static void
a_map_of_other_ranges_is_none(void **state)
{
	static const struct chunk chunk[] = { { 20000, 1 }, { 30000, 2 },
		{ 20000, 3 } };
	static const struct chunk bad[] = { { 0, 1 }, { 20000, 1 },
		{ CHUNKMAP_MAX + 1, 1 }, { UINT32_MAX, 1 } };
	const struct chunk_range good[] = { { 7, 50000 }, { 90000, 20000 } };
	const struct chunk_range longer[] = { { 7, 50000 }, { 90000, 20001 } };
	const struct chunk_range across[] = { { 7, 40000 }, { 90000, 30000 } };
	struct arena arena = { 0 };
	struct chunkmap map;

	(void)state;
	assert_true(chunkmap_place(&map, chunk, 3, good, 2, &arena));
	assert_int_equal(map.count, 3);
	assert_int_equal(map.at[0], 7);
	assert_int_equal(map.at[1], 20007);
	assert_int_equal(map.at[2], 90000);
	assert_false(chunkmap_place(&map, chunk, 2, good, 2, &arena));
	assert_false(chunkmap_place(&map, chunk, 3, good, 1, &arena));
	assert_false(chunkmap_place(&map, chunk, 3, longer, 2, &arena));
	assert_false(chunkmap_place(&map, chunk, 3, across, 2, &arena));
	assert_false(chunkmap_place(&map, NULL, 0, good, 2, &arena));
	for (int i = 0; i < 4; i++) {
		const struct chunk_range one = { 0, bad[i].len };

		assert_int_equal(
		    chunkmap_place(&map, &bad[i], 1, &one, 1, &arena), i == 1);
	}
	arena_fini(&arena);
}

static void
hostile_maps_are_bounded_work(void **state)
{
	struct chunk *same = mem_array(100000, sizeof(*same));
	struct chunkmap_range *r;
	struct arena arena = { 0 };

	(void)state;
	/* One chunk a hundred thousand times: one walk, one range. */
	for (uint32_t i = 0; i < 100000; i++)
		same[i] = (struct chunk){ 20000, 5 };
	assert_int_equal(match(same, 100000, same, 100000, 1000, &r, &arena),
	    1);
	assert_int_equal(r[0].len, INT64_C(2000000000));
	assert_int_equal(match(NULL, 0, same, 3, 16384, &r, &arena), 4);
	arena_fini(&arena);
	mem_free(same);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_depend_on_content_alone),
		cmocka_unit_test(cuts_are_the_agreed_ones),
		cmocka_unit_test(bytes_without_cuts_are_cut_at_the_maximum),
		cmocka_unit_test(one_byte_in_front_costs_one_chunk),
		cmocka_unit_test(random_edits_are_described_exactly),
		cmocka_unit_test(maps_of_ranges_find_an_edit_in_place),
		cmocka_unit_test(a_map_of_other_ranges_is_none),
		cmocka_unit_test(hostile_maps_are_bounded_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
