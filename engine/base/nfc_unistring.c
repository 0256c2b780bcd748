/*
 * NFC by GNU libunistring, which GnuTLS brings anyway.
 * docs/design/0006-nfc.md.
 */
#include "engine/base/nfc.h"

#include <uninorm.h>

#include "engine/base/assert.h"

/* A text in NFC has at most three times the bytes (UAX #15, 9). */
#define NFC_GROWTH 3
/* Bytes normalised on the stack: more than any name has. */
#define NFC_STACK 1024

/*
 * No character below U+0300 is changed by NFC or has to do with the one before
 * it; in UTF-8 these are the ones whose bytes are all below 0xcc.
 */
static bool
nfc_is_plain(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 0xcc)
			return false;
	return true;
}

/* `buf` holds NFC_GROWTH * s.len bytes. */
static struct slice
nfc_write(struct slice s, uint8_t *buf)
{
	size_t len = NFC_GROWTH * s.len;
	const uint8_t *got = u8_normalize(UNINORM_NFC, s.ptr, s.len, buf, &len);

	ASSERT(got == buf);
	return slice_of(got, len);
}

struct slice
nfc_of(struct slice s, struct arena *arena)
{
	const struct arena_mark mark = arena_mark(arena);
	struct slice out;

	if (nfc_is_plain(s))
		return s;
	out = nfc_write(s, arena_alloc(arena, NFC_GROWTH * s.len));
	if (!slice_equal(out, s))
		return out;
	arena_reset(arena, mark);
	return s;
}

bool
nfc_is(struct slice s)
{
	uint8_t buf[NFC_GROWTH * NFC_STACK];
	struct arena arena = { 0 };
	bool is;

	if (nfc_is_plain(s))
		return true;
	if (s.len <= NFC_STACK)
		return slice_equal(nfc_write(s, buf), s);
	arena_init(&arena);
	is = nfc_of(s, &arena).ptr == s.ptr;
	arena_fini(&arena);
	return is;
}
