/* blocks: the table of sizes, counts at the edges.  BEP-FACTS.md 6.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blockproto/blocks.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

static void
size_follows_the_table(void **state)
{
	static const struct {
		int64_t below;
		uint32_t size;
	} rows[] = {
		{ 262144000, 131072 },
		{ 524288000, 262144 },
		{ 1048576000, 524288 },
		{ 2097152000, 1048576 },
		{ INT64_C(4194304000), 2097152 },
		{ INT64_C(8388608000), 4194304 },
		{ INT64_C(16777216000), 8388608 },
	};

	(void)state;
	assert_int_equal(blocks_size_for(0), 131072);
	assert_int_equal(blocks_size_for(-1), 131072);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(blocks_size_for(rows[i].below - 1),
		    rows[i].size);
		assert_int_equal(blocks_size_for(rows[i].below),
		    rows[i].size * 2);
	}
	assert_int_equal(blocks_size_for(INT64_MAX), 16 << 20);
}

static void
old_size_is_kept_within_a_factor_of_two(void **state)
{
	(void)state;
	assert_int_equal(blocks_size_keep(1, 131072), 131072);
	assert_int_equal(blocks_size_keep(1, 262144), 262144);
	assert_int_equal(blocks_size_keep(1, 524288), 131072);
	assert_int_equal(blocks_size_keep(1048576000, 524288), 524288);
	assert_int_equal(blocks_size_keep(1048576000, 262144), 1048576);
	assert_int_equal(blocks_size_keep(1, 0), 131072);
	assert_int_equal(blocks_size_keep(1, 131073), 131072);
	assert_int_equal(blocks_size_keep(1, UINT32_MAX), 131072);
}

static void
eight_sizes_are_valid(void **state)
{
	unsigned valid = 0;

	(void)state;
	for (uint32_t i = 0; i < 32; i++)
		valid += blocks_size_is_valid(UINT32_C(1) << i) ? 1 : 0;
	assert_int_equal(valid, 8);
	assert_false(blocks_size_is_valid(0));
	assert_false(blocks_size_is_valid(131112));
	assert_false(blocks_size_is_valid(131071));
}

static void
blocks_cover_the_file_exactly(void **state)
{
	static const uint32_t sizes[] = { 131072, 262144, 16777216 };
	static const int64_t files[] = { 1, 131071, 131072, 131073, 262144,
		INT64_C(4294967295), INT64_C(4294967296), INT64_C(4294967297) };

	(void)state;
	for (size_t s = 0; s < 3; s++) {
		assert_int_equal(blocks_count(0, sizes[s]), 1);
		assert_int_equal(blocks_len(0, sizes[s], 0), 0);
		for (size_t f = 0; f < 8; f++) {
			const uint32_t n = blocks_count(files[f], sizes[s]);
			int64_t sum = 0;

			for (uint32_t i = 0; i < n; i++) {
				const uint32_t len =
				    blocks_len(files[f], sizes[s], i);

				assert_true(len > 0 && len <= sizes[s]);
				if (i + 1 < n)
					assert_int_equal(len, sizes[s]);
				sum += len;
			}
			assert_true(sum == files[f]);
			assert_int_equal(blocks_len(files[f], sizes[s], n), 0);
		}
	}
}

static void
absurd_sizes_do_no_harm(void **state)
{
	(void)state;
	assert_int_equal(blocks_count(INT64_MAX, 131072), UINT32_MAX);
	assert_int_equal(blocks_count(INT64_MIN, 131072), 1);
	assert_int_equal(blocks_count(131073, 0), 2);
	assert_int_equal(blocks_len(131073, 0, 1), 1);
	assert_int_equal(blocks_len(INT64_MIN, 131072, 0), 0);
	assert_int_equal(blocks_len(INT64_MAX, UINT32_MAX, UINT32_MAX), 0);
	assert_int_equal(blocks_len(1, UINT32_MAX, UINT32_MAX), 0);
}

static void
zero_blocks_are_known_by_hash(void **state)
{
	uint8_t *zero = mem_zalloc(LIMIT_BLOCK_LEN_MAX);
	struct digest d;

	(void)state;
	for (uint32_t len = 131072; len <= LIMIT_BLOCK_LEN_MAX; len *= 2) {
		digest_of(slice_of(zero, len), &d);
		assert_true(blocks_is_zero(&d, len));
		assert_false(blocks_is_zero(&d, len - 1));
		assert_false(blocks_is_zero(&d, len * 2));
		d.b[31] ^= 1;
		assert_false(blocks_is_zero(&d, len));
	}
	digest_of(SLICE_EMPTY, &d);
	assert_true(digest_equal(&d, &blocks_empty_hash));
	mem_free(zero);
}

static void
digest_of_blocks_is_that_of_syncthing_2(void **state)
{
	static const uint8_t empty[] = { 0x5d, 0xf6, 0xe0, 0xe2, 0x76, 0x13,
		0x59, 0xd3, 0x0a, 0x82, 0x75, 0x05, 0x8e, 0x29, 0x9f, 0xcc,
		0x03, 0x81, 0x53, 0x45, 0x45, 0xf5, 0x5c, 0xf4, 0x3e, 0x41,
		0x98, 0x3f, 0x5d, 0x4c, 0x94, 0x56 };
	static const uint8_t hello[] = { 0xf8, 0x3e, 0x4b, 0x6b, 0xba, 0x3e,
		0xfa, 0xc4 };
	struct digest block, all;

	(void)state;
	blocks_digest(&blocks_empty_hash, 1, &all);
	assert_memory_equal(all.b, empty, sizeof(empty));
	digest_of(SLICE_LIT("hello world\n"), &block);
	blocks_digest(&block, 1, &all);
	assert_memory_equal(all.b, hello, sizeof(hello));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_follows_the_table),
		cmocka_unit_test(old_size_is_kept_within_a_factor_of_two),
		cmocka_unit_test(eight_sizes_are_valid),
		cmocka_unit_test(blocks_cover_the_file_exactly),
		cmocka_unit_test(absurd_sizes_do_no_harm),
		cmocka_unit_test(zero_blocks_are_known_by_hash),
		cmocka_unit_test(digest_of_blocks_is_that_of_syncthing_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
