/*
 * Slices: order, cutting, and UTF-8 by RFC 3629 (table of edges).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/base/slice.h"

static void
order_is_bytewise_and_a_prefix_comes_first(void **state)
{
	static const char *const sorted[] = { "", "a", "a\x01", "aa", "b",
		"\x7f", "\xc3\xa4", "\xff" };
	const size_t n = sizeof(sorted) / sizeof(sorted[0]);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++) {
			const int c = slice_cmp(slice_str(sorted[i]),
			    slice_str(sorted[k]));

			assert_int_equal((c > 0) - (c < 0), (i > k) - (i < k));
			assert_int_equal(slice_equal(slice_str(sorted[i]),
					     slice_str(sorted[k])),
			    i == k);
		}
	}
	assert_int_equal(slice_cmp(SLICE_EMPTY, SLICE_LIT("")), 0);
	assert_true(slice_equal(SLICE_EMPTY, SLICE_LIT("")));
}

static void
prefix_and_suffix_include_the_empty_and_the_whole(void **state)
{
	const struct slice s = SLICE_LIT("a/b.txt");

	(void)state;
	assert_true(slice_has_prefix(s, SLICE_EMPTY));
	assert_true(slice_has_prefix(s, s));
	assert_true(slice_has_prefix(s, SLICE_LIT("a/")));
	assert_false(slice_has_prefix(s, SLICE_LIT("b")));
	assert_false(slice_has_prefix(s, SLICE_LIT("a/b.txt2")));
	assert_true(slice_has_suffix(s, SLICE_EMPTY));
	assert_true(slice_has_suffix(s, s));
	assert_true(slice_has_suffix(s, SLICE_LIT(".txt")));
	assert_false(slice_has_suffix(s, SLICE_LIT(".tx")));
	assert_false(slice_has_suffix(SLICE_EMPTY, s));
}

static void
cutting_and_finding_agree(void **state)
{
	const struct slice s = SLICE_LIT("a/b/c");

	(void)state;
	assert_int_equal(slice_find(s, '/'), 1);
	assert_int_equal(slice_rfind(s, '/'), 3);
	assert_true(slice_find(s, 'x') == SIZE_MAX);
	assert_true(slice_rfind(s, 'x') == SIZE_MAX);
	assert_true(slice_find(SLICE_EMPTY, 0) == SIZE_MAX);
	assert_true(slice_rfind(SLICE_EMPTY, 0) == SIZE_MAX);
	assert_true(slice_equal(slice_from(s, 4), SLICE_LIT("c")));
	assert_true(slice_equal(slice_from(s, 5), SLICE_EMPTY));
	assert_true(slice_equal(slice_to(s, 1), SLICE_LIT("a")));
	assert_true(slice_equal(slice_to(s, 0), SLICE_EMPTY));
	assert_int_equal(slice_from(SLICE_EMPTY, 0).len, 0);
}

static const struct {
	const char *bytes;
	bool ok;
} utf8_table[] = {
	{ "", true },
	{ "plain", true },
	{ "exactly8", true },
	{ "more than eight bytes of ASCII", true },
	{ "\x7f", true },
	{ "\x80", false },
	{ "\xbf", false },
	{ "\xc0\x80", false }, /* overlong NUL */
	{ "\xc1\xbf", false },
	{ "\xc2\x80", true }, /* U+0080 */
	{ "\xc2", false },
	{ "\xc2\x7f", false },
	{ "\xc2\xc0", false },
	{ "\xdf\xbf", true },
	{ "\xe0\x80\x80", false },
	{ "\xe0\x9f\xbf", false }, /* overlong */
	{ "\xe0\xa0\x80", true },  /* U+0800 */
	{ "\xe0\xa0", false },
	{ "\xe0\xa0\x7f", false },
	{ "\xed\x9f\xbf", true },  /* U+D7FF */
	{ "\xed\xa0\x80", false }, /* U+D800, surrogate */
	{ "\xed\xbf\xbf", false }, /* U+DFFF */
	{ "\xee\x80\x80", true },
	{ "\xef\xbf\xbf", true },      /* U+FFFF */
	{ "\xf0\x8f\xbf\xbf", false }, /* overlong */
	{ "\xf0\x90\x80\x80", true },  /* U+10000 */
	{ "\xf0\x90\x80", false },
	{ "\xf0\x90\x80\xc0", false },
	{ "\xf4\x8f\xbf\xbf", true },  /* U+10FFFF */
	{ "\xf4\x90\x80\x80", false }, /* above */
	{ "\xf5\x80\x80\x80", false },
	{ "\xf8\x88\x80\x80\x80", false },
	{ "\xfe", false },
	{ "\xff", false },
	{ "1234567\xc3\xa4", true }, /* a sequence over a word's end */
	{ "12345678\xc3", false },
	{ "\xc3\xa4"
	  "12345678\x80",
	    false },
	{ "12345678"
	  "1234567\xf0\x9f\x98\x80"
	  "12345678",
	    true },
};

static void
utf8_follows_rfc_3629(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(utf8_table) / sizeof(utf8_table[0]);
	     i++) {
		const struct slice s = slice_str(utf8_table[i].bytes);
		/* An exact copy, for the sanitizer to see a read behind it. */
		uint8_t *copy = malloc(s.len > 0 ? s.len : 1);

		assert_non_null(copy);
		if (s.len > 0)
			memcpy(copy, s.ptr, s.len);
		if (slice_is_utf8(slice_of(copy, s.len)) != utf8_table[i].ok)
			fail_msg("row %zu", i);
		free(copy);
	}
}

/* Against a decoder written the other way round: by code point. */
static bool
reference_is_utf8(const uint8_t *p, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

	for (size_t i = 0; i < len;) {
		size_t n = 1;
		uint32_t v = p[i];

		if (p[i] >= 0xf8)
			return false;
		if (p[i] >= 0x80) {
			n = 0;
			while (n < 5 && (p[i] & (0x80u >> n)) != 0)
				n++;
			if (n < 2 || i + n > len)
				return false;
			v = p[i] & (0x7fu >> n);
			for (size_t k = 1; k < n; k++) {
				if (p[i + k] < 0x80 || p[i + k] > 0xbf)
					return false;
				v = v << 6 | (p[i + k] & 0x3fu);
			}
			if (v < least[n])
				return false;
		}
		if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
			return false;
		i += n;
	}
	return true;
}

static void
utf8_agrees_with_a_reference_on_all_short_strings(void **state)
{
	static const uint8_t edge[] = { 0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90,
		0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
		0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
	const size_t n = sizeof(edge);

	(void)state;
	for (size_t i = 0; i < n * n * n * n; i++) {
		const uint8_t s[4] = { edge[i % n], edge[i / n % n],
			edge[i / n / n % n], edge[i / n / n / n] };

		for (size_t len = 1; len <= 4; len++) {
			if (slice_is_utf8(slice_of(s, len)) !=
			    reference_is_utf8(s, len))
				fail_msg("%02x %02x %02x %02x", s[0], s[1],
				    s[2], s[3]);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_bytewise_and_a_prefix_comes_first),
		cmocka_unit_test(
		    prefix_and_suffix_include_the_empty_and_the_whole),
		cmocka_unit_test(cutting_and_finding_agree),
		cmocka_unit_test(utf8_follows_rfc_3629),
		cmocka_unit_test(
		    utf8_agrees_with_a_reference_on_all_short_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
