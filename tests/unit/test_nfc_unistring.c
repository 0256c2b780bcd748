/*
 * NFC against pairs taken from Unicode's own tables, and against itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/nfc.h"
#include "engine/base/rng.h"

static void
nfc_composes_what_unicode_composes(void **state)
{
	static const struct {
		const char *in, *out;
	} table[] = {
		{ "Zu\xcc\x88rich", "Z\xc3\xbcrich" },
		{ "cafe\xcc\x81", "caf\xc3\xa9" },
		{ "a\xcc\x88/o\xcc\x88", "\xc3\xa4/\xc3\xb6" },
		/* U+212B ANGSTROM SIGN is U+00C5. */
		{ "\xe2\x84\xab", "\xc3\x85" },
		/* Two marks come into one order: dot below, dot above. */
		{ "s\xcc\x87\xcc\xa3", "\xe1\xb9\xa9" },
		/* Hangul: U+1112 U+1161 U+11AB is U+D55C. */
		{ "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c" },
		/* U+0958 is excluded from composition: it gets longer. */
		{ "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc" },
		/* U+1D160: three characters of four bytes from one. */
		{ "\xf0\x9d\x85\xa0",
		    "\xf0\x9d\x85\x98\xf0\x9d\x85\xa5\xf0\x9d\x85\xae" },
	};
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct slice in = slice_str(table[i].in);
		const struct slice out = slice_str(table[i].out);

		assert_false(nfc_is(in));
		assert_true(nfc_is(out));
		assert_true(slice_equal(nfc_of(in, &arena), out));
	}
	arena_fini(&arena);
}

static void
nfc_leaves_what_is_composed_where_it_is(void **state)
{
	static const char *const table[] = { "", "a", "plain/ascii.txt",
		"Z\xc3\xbcrich", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x90\xa7",
		"q\xcc\x87" };
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct slice in = slice_str(table[i]);

		assert_true(nfc_is(in));
		assert_ptr_equal(nfc_of(in, &arena).ptr, in.ptr);
	}
	arena_fini(&arena);
}

static size_t
put_utf8(uint8_t *p, uint32_t c)
{
	if (c < 0x80) {
		p[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		p[0] = (uint8_t)(0xc0 | c >> 6);
		p[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		p[0] = (uint8_t)(0xe0 | c >> 12);
		p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		p[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	p[0] = (uint8_t)(0xf0 | c >> 18);
	p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	p[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

static void
nfc_of_any_text_is_in_nfc(void **state)
{
	static uint8_t text[4096];
	struct arena arena = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 7);
	for (int round = 0; round < 2000; round++) {
		const size_t want = (size_t)rng_below(&rng,
		    round % 100 == 0 ? sizeof(text) - 4 : 40);
		struct slice out;
		size_t len = 0;

		while (len < want) {
			uint32_t c = (uint32_t)rng_below(&rng,
			    rng_below(&rng, 2) == 0 ? 0x370 : 0x110000);

			if (c == 0 || (c >= 0xd800 && c < 0xe000))
				continue;
			len += put_utf8(text + len, c);
		}
		out = nfc_of(slice_of(text, len), &arena);
		assert_true(nfc_is(out));
		assert_true(slice_is_utf8(out));
		assert_int_equal(nfc_is(slice_of(text, len)),
		    out.ptr == (len == 0 ? out.ptr : text));
		arena_clear(&arena);
	}
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nfc_composes_what_unicode_composes),
		cmocka_unit_test(nfc_leaves_what_is_composed_where_it_is),
		cmocka_unit_test(nfc_of_any_text_is_in_nfc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
