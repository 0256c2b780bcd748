/*
 * Buffers and readers: what is put comes back, what is hostile fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

static void
numbers_have_the_bytes_of_their_order(void **state)
{
	static const uint8_t want[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
		0x07, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x03,
		0x02, 0x07, 0x06, 0x05, 0x04, 0x08, 0x07, 0x06, 0x05, 0x04,
		0x03, 0x02, 0x01 };
	struct buf b = { 0 };
	struct reader r;

	(void)state;
	buf_put_u8(&b, 0x01);
	buf_put_u16be(&b, 0x0203);
	buf_put_u32be(&b, 0x04050607);
	buf_put_u64be(&b, UINT64_C(0x0102030405060708));
	buf_put_u16le(&b, 0x0203);
	buf_put_u32le(&b, 0x04050607);
	buf_put_u64le(&b, UINT64_C(0x0102030405060708));
	assert_true(slice_equal(buf_slice(&b), slice_of(want, sizeof(want))));

	reader_init(&r, buf_slice(&b));
	assert_int_equal(reader_u8(&r), 0x01);
	assert_int_equal(reader_u16be(&r), 0x0203);
	assert_int_equal(reader_u32be(&r), 0x04050607);
	assert_true(reader_u64be(&r) == UINT64_C(0x0102030405060708));
	assert_int_equal(reader_u16le(&r), 0x0203);
	assert_int_equal(reader_u32le(&r), 0x04050607);
	assert_false(reader_done(&r));
	assert_true(reader_u64le(&r) == UINT64_C(0x0102030405060708));
	assert_true(reader_done(&r));
	buf_fini(&b);
}

static void
varints_come_back(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit <= 64; bit++) {
		for (int off = -2; off <= 2; off++) {
			const uint64_t v = (bit < 64 ? UINT64_C(1) << bit : 0) +
					   (uint64_t)(int64_t)off;
			struct buf b = { 0 };
			struct reader r;

			buf_put_varint(&b, v);
			buf_put_svarint(&b, (int64_t)v);
			reader_init(&r, buf_slice(&b));
			assert_true(reader_varint(&r) == v);
			assert_true(reader_svarint(&r) == (int64_t)v);
			assert_true(reader_done(&r));
			buf_fini(&b);
		}
	}
}

static void
varints_have_protobufs_bytes(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_put_varint(&b, 300);
	buf_put_svarint(&b, -1);
	buf_put_svarint(&b, 1);
	buf_put_svarint(&b, INT64_MIN);
	assert_true(slice_equal(buf_slice(&b),
	    SLICE_LIT("\xac\x02\x01\x02"
		      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")));
	buf_fini(&b);
}

static void
hostile_varints_fail(void **state)
{
	static const struct slice table[] = {
		SLICE_INIT(""),
		SLICE_INIT("\x80"),
		SLICE_INIT("\xff\xff\xff"),
		/* 65 bits, and eleven bytes of nothing */
		SLICE_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
		SLICE_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
		SLICE_INIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
		SLICE_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		SLICE_INIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct reader r;

		reader_init(&r, table[i]);
		assert_true(reader_varint(&r) == 0);
		assert_false(reader_ok(&r));
		reader_init(&r, table[i]);
		assert_true(reader_svarint(&r) == 0);
		assert_false(reader_ok(&r));
	}
}

static void
overlong_varints_are_read_as_protobuf_does(void **state)
{
	struct reader r;

	(void)state;
	reader_init(&r, SLICE_LIT("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00"));
	assert_true(reader_varint(&r) == 1);
	assert_true(reader_done(&r));
}

static void
strings_meet_their_limits(void **state)
{
	struct buf b = { 0 };
	struct reader r;

	(void)state;
	buf_put_str(&b, SLICE_LIT("hello"));
	reader_init(&r, buf_slice(&b));
	assert_true(slice_equal(reader_str(&r, 5), SLICE_LIT("hello")));
	assert_true(reader_done(&r));
	reader_init(&r, buf_slice(&b));
	assert_int_equal(reader_str(&r, 4).len, 0);
	assert_false(reader_ok(&r));
	/* Longer than what is there. */
	reader_init(&r, slice_to(buf_slice(&b), 5));
	assert_int_equal(reader_str(&r, SIZE_MAX).len, 0);
	assert_false(reader_ok(&r));
	buf_clear(&b);
	buf_put_varint(&b, UINT64_MAX);
	buf_put_u8(&b, 'x');
	reader_init(&r, buf_slice(&b));
	assert_int_equal(reader_str(&r, SIZE_MAX).len, 0);
	assert_false(reader_ok(&r));
	buf_fini(&b);
}

static void
the_first_failure_stays(void **state)
{
	struct reader r;

	(void)state;
	reader_init(&r, SLICE_LIT("\x01\x02\x03"));
	assert_int_equal(reader_u32be(&r), 0);
	assert_false(reader_ok(&r));
	/* There would be bytes for these; they are not given any more. */
	assert_int_equal(reader_u8(&r), 0);
	assert_int_equal(reader_u16le(&r), 0);
	assert_int_equal(reader_bytes(&r, 0).len, 0);
	assert_int_equal(reader_bytes(&r, SIZE_MAX).len, 0);
	assert_int_equal(reader_str(&r, 10).len, 0);
	assert_false(reader_ok(&r));
	assert_false(reader_done(&r));
}

static void
a_reader_of_nothing_is_done(void **state)
{
	struct reader r;

	(void)state;
	reader_init(&r, SLICE_EMPTY);
	assert_true(reader_done(&r));
	assert_int_equal(reader_bytes(&r, 0).len, 0);
	assert_true(reader_done(&r));
	assert_int_equal(reader_u8(&r), 0);
	assert_false(reader_ok(&r));
}

static void
a_reader_never_leaves_its_bytes(void **state)
{
	struct rng rng;

	(void)state;
	rng_init(&rng, 7);
	for (int round = 0; round < 20000; round++) {
		const size_t len = (size_t)rng_below(&rng, 24);
		uint8_t *bytes = mem_alloc(len); /* exact: sanitizers watch */
		struct reader r;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)(rng_u64(&rng) |
					     (rng_below(&rng, 2) << 7));
		reader_init(&r, slice_of(bytes, len));
		for (int i = 0; i < 8; i++) {
			switch (rng_below(&rng, 6)) {
			case 0:
				(void)reader_u8(&r);
				break;
			case 1:
				(void)reader_u64le(&r);
				break;
			case 2:
				(void)reader_varint(&r);
				break;
			case 3:
				(void)reader_str(&r, 8);
				break;
			case 4:
				(void)reader_bytes(&r,
				    (size_t)rng_below(&rng, 9));
				break;
			default:
				(void)reader_u16be(&r);
				break;
			}
			assert_true(r.len <= len);
			assert_true(!r.failed || r.len == 0);
		}
		mem_free(bytes);
	}
}

static void
growing_and_consuming_keep_the_order(void **state)
{
	struct buf b;
	uint32_t next_in = 0, next_out = 0;
	struct rng rng;

	(void)state;
	buf_init(&b);
	rng_init(&rng, 3);
	for (int round = 0; round < 2000; round++) {
		const uint64_t in = rng_below(&rng, 50);
		uint64_t out;

		for (uint64_t i = 0; i < in; i++)
			buf_put_u32le(&b, next_in++);
		out = rng_below(&rng, next_in - next_out + 1);
		for (uint64_t i = 0; i < out; i++) {
			struct reader r;

			reader_init(&r, slice_from(buf_slice(&b), i * 4));
			assert_int_equal(reader_u32le(&r), next_out++);
		}
		buf_consume(&b, (size_t)out * 4);
		assert_int_equal(b.len, (next_in - next_out) * 4);
	}
	buf_consume(&b, b.len);
	assert_int_equal(b.len, 0);
	buf_fini(&b);
	buf_consume(&b, 0);
}

static void
printf_appends_without_its_nul(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_printf(&b, "%d", 12);
	buf_printf(&b, "%s", "");
	for (int i = 0; i < 100; i++)
		buf_printf(&b, "%s", "abcdefghij");
	assert_int_equal(b.len, 1002);
	assert_true(slice_has_prefix(buf_slice(&b), SLICE_LIT("12abc")));
	buf_reserve(&b, 100000);
	assert_true(b.cap >= 101002);
	memset(buf_extend(&b, 100000), 1, 100000);
	assert_int_equal(b.len, 101002);
	buf_put(&b, SLICE_EMPTY);
	assert_int_equal(b.len, 101002);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_the_bytes_of_their_order),
		cmocka_unit_test(varints_come_back),
		cmocka_unit_test(varints_have_protobufs_bytes),
		cmocka_unit_test(hostile_varints_fail),
		cmocka_unit_test(overlong_varints_are_read_as_protobuf_does),
		cmocka_unit_test(strings_meet_their_limits),
		cmocka_unit_test(the_first_failure_stays),
		cmocka_unit_test(a_reader_of_nothing_is_done),
		cmocka_unit_test(a_reader_never_leaves_its_bytes),
		cmocka_unit_test(growing_and_consuming_keep_the_order),
		cmocka_unit_test(printf_appends_without_its_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
