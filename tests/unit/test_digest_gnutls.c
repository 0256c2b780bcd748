/*
 * SHA-256 and XXH3 against published vectors, and against themselves in
 * pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/digest.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

static void
hex_of(const struct digest *d, char out[2 * DIGEST_LEN + 1])
{
	for (size_t i = 0; i < DIGEST_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", d->b[i]);
}

/* FIPS 180-4 examples. */
static void
sha256_gives_the_published_digests(void **state)
{
	static const struct {
		struct slice data;
		const char *hex;
	} table[] = {
		{ { NULL, 0 }, "e3b0c44298fc1c149afbf4c8996fb924"
			       "27ae41e4649b934ca495991b7852b855" },
		{ SLICE_INIT("abc"), "ba7816bf8f01cfea414140de5dae2223"
				     "b00361a396177a9cb410ff61f20015ad" },
		{ SLICE_INIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmno"
			     "mnopnopq"),
		    "248d6a61d20638b8e5c026930c3e6039"
		    "a33ce45964ff2167f6ecedd419db06c1" },
	};
	char hex[2 * DIGEST_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct digest d;

		digest_of(table[i].data, &d);
		hex_of(&d, hex);
		assert_string_equal(hex, table[i].hex);
	}
}

static void
pieces_give_the_digest_of_the_whole(void **state)
{
	const size_t len = 300000;
	uint8_t *data = mem_alloc(len);
	struct digest whole;

	(void)state;
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	digest_of(slice_of(data, len), &whole);
	for (size_t step = 1; step <= len; step = step * 7 + 1) {
		struct digest_state st;
		struct digest d;
		/* Small steps over the beginning, the rest at once. */
		const size_t small = step * 1000 < len ? step * 1000 : len;

		digest_init(&st);
		for (size_t at = 0; at < small; at += step)
			digest_add(&st,
			    slice_of(data + at,
				step < small - at ? step : small - at));
		digest_add(&st, SLICE_EMPTY);
		digest_add(&st, slice_of(data + small, len - small));
		digest_fini(&st, &d);
		assert_true(digest_equal(&d, &whole));
	}
	whole.b[31] ^= 1;
	digest_of(slice_of(data, len), (struct digest *)(void *)data);
	assert_false(digest_equal((struct digest *)(void *)data, &whole));
	mem_free(data);
}

/* Values of the reference implementation, version 0.8. */
static void
xxh3_is_the_same_on_every_machine(void **state)
{
	struct hash128 h;

	(void)state;
	assert_true(hash_u64(SLICE_EMPTY) == UINT64_C(0x2d06800538d394c2));
	assert_true(hash_u64(SLICE_LIT("abc")) == UINT64_C(0x78af5f94892f3950));
	assert_true(
	    hash_u64_seed(SLICE_LIT("abc"), 0) == hash_u64(SLICE_LIT("abc")));
	assert_true(
	    hash_u64_seed(SLICE_LIT("abc"), 1) != hash_u64(SLICE_LIT("abc")));
	h = hash_u128(SLICE_EMPTY);
	assert_true(h.hi == UINT64_C(0x99aa06d3014798d8));
	assert_true(h.lo == UINT64_C(0x6001c324468d497f));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_gives_the_published_digests),
		cmocka_unit_test(pieces_give_the_digest_of_the_whole),
		cmocka_unit_test(xxh3_is_the_same_on_every_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
