/* compress: round trips, when it is not worth it, bombs and wrong lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blockproto/compress.h"
#include "engine/base/limits.h"
#include "engine/base/rng.h"

static const struct {
	enum compress_kind kind;
	int (*pack)(struct slice in, struct buf *out);
} kinds[] = {
	{ COMPRESS_LZ4, compress_lz4 },
	{ COMPRESS_ZSTD, compress_zstd },
};
#define KINDS 2u

static int
undo(enum compress_kind kind, struct slice in, size_t max, struct buf *out)
{
	struct err err = { 0 };
	const size_t before = out->len;
	const int rc = compress_undo(kind, in, max, out, &err);

	assert_int_equal(err.code, rc);
	if (rc < 0)
		assert_int_equal(out->len, before);
	return rc;
}

static void
what_shrinks_comes_back(void **state)
{
	static const size_t lens[] = { 64, 128, 1000, 65536, 131072, 1000000,
		16 << 20 };
	struct buf in = { 0 }, small = { 0 }, out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		buf_clear(&in);
		memset(buf_extend(&in, lens[i]), 'a', lens[i]);
		for (size_t n = 0; n < lens[i]; n += 97)
			in.ptr[n] = (uint8_t)n;
		for (unsigned k = 0; k < KINDS; k++) {
			buf_clear(&small);
			buf_clear(&out);
			buf_put(&small, SLICE_LIT("keep"));
			buf_put(&out, SLICE_LIT("too"));
			assert_int_equal(kinds[k].pack(buf_slice(&in), &small),
			    0);
			assert_memory_equal(small.ptr, "keep", 4);
			assert_true(small.len - 4 <= lens[i] - lens[i] / 32);
			assert_int_equal(undo(kinds[k].kind,
					     slice_from(buf_slice(&small), 4),
					     lens[i], &out),
			    0);
			assert_int_equal(out.len, lens[i] + 3);
			assert_memory_equal(out.ptr, "too", 3);
			assert_memory_equal(out.ptr + 3, in.ptr, lens[i]);
		}
	}
	buf_fini(&in);
	buf_fini(&small);
	buf_fini(&out);
}

static void
what_does_not_shrink_is_left_alone(void **state)
{
	struct buf in = { 0 }, out = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 1);
	for (unsigned i = 0; i < 512; i++)
		buf_put_u64le(&in, rng_u64(&rng));
	buf_put(&out, SLICE_LIT("keep"));
	for (unsigned k = 0; k < KINDS; k++) {
		for (size_t len = 0; len <= in.len; len += 1 + len / 3) {
			assert_int_equal(
			    kinds[k].pack(slice_of(in.ptr, len), &out),
			    ERR_LIMIT);
			assert_int_equal(out.len, 4);
		}
	}
	buf_fini(&in);
	buf_fini(&out);
}

static void
declared_length_must_be_the_real_one(void **state)
{
	static uint8_t zero[100000];
	struct buf small = { 0 }, out = { 0 };

	(void)state;
	for (unsigned k = 0; k < KINDS; k++) {
		for (int off = -2; off <= 2; off++) {
			const uint32_t len = (uint32_t)(100000 + off);

			buf_clear(&small);
			assert_int_equal(
			    kinds[k].pack(slice_of(zero, 100000), &small), 0);
			small.ptr[0] = (uint8_t)(len >> 24);
			small.ptr[1] = (uint8_t)(len >> 16);
			small.ptr[2] = (uint8_t)(len >> 8);
			small.ptr[3] = (uint8_t)len;
			assert_int_equal(undo(kinds[k].kind, buf_slice(&small),
					     1u << 20, &out),
			    off == 0 ? 0 : ERR_PROTOCOL);
			buf_clear(&out);
		}
	}
	buf_fini(&small);
	buf_fini(&out);
}

static void
bombs_are_refused_before_they_get_memory(void **state)
{
	static uint8_t zero[1 << 20];
	struct buf small = { 0 }, out = { 0 };

	(void)state;
	for (unsigned k = 0; k < KINDS; k++) {
		buf_clear(&small);
		assert_int_equal(
		    kinds[k].pack(slice_of(zero, sizeof(zero)), &small), 0);
		assert_int_equal(undo(kinds[k].kind, buf_slice(&small),
				     sizeof(zero) - 1, &out),
		    ERR_LIMIT);
		/* A few bytes that claim to be the most that is allowed. */
		memcpy(small.ptr, "\x04\0\0\0", 4);
		assert_int_equal(undo(kinds[k].kind, slice_of(small.ptr, 40),
				     LIMIT_FRAME_LEN, &out),
		    ERR_PROTOCOL);
		memcpy(small.ptr, "\xff\xff\xff\xff", 4);
		assert_int_equal(undo(kinds[k].kind, buf_slice(&small),
				     LIMIT_FRAME_LEN, &out),
		    ERR_LIMIT);
	}
	assert_int_equal(out.cap, 0);
	buf_fini(&small);
	buf_fini(&out);
}

static void
every_cut_and_every_flipped_bit_is_survived(void **state)
{
	static const char text[] = "the quick brown fox, the quick brown fox, "
				   "the quick brown fox, the quick brown dog";
	struct buf in = { 0 }, small = { 0 }, out = { 0 };

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		buf_put(&in, slice_str(text));
	for (unsigned k = 0; k < KINDS; k++) {
		buf_clear(&small);
		assert_int_equal(kinds[k].pack(buf_slice(&in), &small), 0);
		for (size_t cut = 0; cut < small.len; cut++)
			assert_int_equal(undo(kinds[k].kind,
					     slice_of(small.ptr, cut), 4096,
					     &out),
			    ERR_PROTOCOL);
		for (size_t bit = 0; bit < small.len * 8; bit++) {
			small.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
			buf_clear(&out);
			(void)undo(kinds[k].kind, buf_slice(&small), 4096,
			    &out);
			assert_true(out.len <= 4096);
			small.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
	buf_fini(&in);
	buf_fini(&small);
	buf_fini(&out);
}

static void
plain_and_unknown_kinds(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(undo(COMPRESS_NONE, SLICE_LIT("abc"), 3, &out), 0);
	assert_int_equal(out.len, 3);
	assert_int_equal(undo(COMPRESS_NONE, SLICE_LIT("abcd"), 3, &out),
	    ERR_LIMIT);
	assert_int_equal(undo(COMPRESS_NONE, SLICE_EMPTY, 3, &out), 0);
	for (int kind = -1; kind < 9; kind++) {
		if (kind >= COMPRESS_NONE && kind <= COMPRESS_ZSTD)
			continue;
		assert_int_equal(undo((enum compress_kind)kind,
				     SLICE_LIT("\0\0\0\1xx"), 99, &out),
		    ERR_PROTOCOL);
	}
	buf_clear(&out);
	/* An LZ4 block of no bytes is legal, if nobody sends it. */
	assert_int_equal(undo(COMPRESS_LZ4, slice_of("\0\0\0\0\0", 5), 9, &out),
	    0);
	assert_int_equal(out.len, 0);
	assert_int_equal(undo(COMPRESS_LZ4, slice_of("\0\0\0\0", 4), 9, &out),
	    ERR_PROTOCOL);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_shrinks_comes_back),
		cmocka_unit_test(what_does_not_shrink_is_left_alone),
		cmocka_unit_test(declared_length_must_be_the_real_one),
		cmocka_unit_test(bombs_are_refused_before_they_get_memory),
		cmocka_unit_test(every_cut_and_every_flipped_bit_is_survived),
		cmocka_unit_test(plain_and_unknown_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
