/*
 * Slices: comparing, cutting, searching, and the UTF-8 check.
 */
#include "engine/base/slice.h"

#include "engine/base/assert.h"

int
slice_cmp(struct slice a, struct slice b)
{
	const size_t len = a.len < b.len ? a.len : b.len;
	const int c = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;

	if (c != 0)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool
slice_has_prefix(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len &&
	       slice_equal(slice_to(s, prefix.len), prefix);
}

bool
slice_has_suffix(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len &&
	       slice_equal(slice_from(s, s.len - suffix.len), suffix);
}

struct slice
slice_from(struct slice s, size_t from)
{
	ASSERT(from <= s.len);
	if (from == 0)
		return s;
	return slice_of(s.ptr + from, s.len - from);
}

struct slice
slice_to(struct slice s, size_t len)
{
	ASSERT(len <= s.len);
	return slice_of(s.ptr, len);
}

size_t
slice_find(struct slice s, uint8_t byte)
{
	const uint8_t *at = s.len > 0 ? memchr(s.ptr, byte, s.len) : NULL;

	return at != NULL ? (size_t)(at - s.ptr) : SIZE_MAX;
}

size_t
slice_rfind(struct slice s, uint8_t byte)
{
	for (size_t i = s.len; i > 0; i--) {
		if (s.ptr[i - 1] == byte)
			return i - 1;
	}
	return SIZE_MAX;
}

/*
 * Length of the sequence that `lead` begins, and the bounds of the byte after
 * it (RFC 3629, section 4); 0 when nothing may begin so.  The bounds are what
 * keeps out overlong forms, surrogates and what is above U+10FFFF.
 */
static size_t
slice_utf8_lead(uint8_t lead, uint8_t *low, uint8_t *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef) {
		if (lead == 0xe0)
			*low = 0xa0;
		if (lead == 0xed)
			*high = 0x9f;
		return 3;
	}
	if (lead >= 0xf0 && lead <= 0xf4) {
		if (lead == 0xf0)
			*low = 0x90;
		if (lead == 0xf4)
			*high = 0x8f;
		return 4;
	}
	return 0;
}

bool
slice_is_utf8(struct slice s)
{
	size_t i = 0;

	while (i < s.len) {
		uint8_t low, high;
		uint64_t word;
		size_t n;

		/* Most names are ASCII: eight bytes at a time. */
		while (s.len - i >= sizeof(word)) {
			memcpy(&word, s.ptr + i, sizeof(word));
			if ((word & UINT64_C(0x8080808080808080)) != 0)
				break;
			i += sizeof(word);
		}
		if (i == s.len)
			break;
		n = slice_utf8_lead(s.ptr[i], &low, &high);
		if (n == 0 || n > s.len - i)
			return false;
		if (n > 1 && (s.ptr[i + 1] < low || s.ptr[i + 1] > high))
			return false;
		for (size_t k = 2; k < n; k++) {
			if ((s.ptr[i + k] & 0xc0) != 0x80)
				return false;
		}
		i += n;
	}
	return true;
}
