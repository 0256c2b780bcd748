/*
 * A slice: borrowed bytes, a pointer and a length.  Values; they own nothing.
 * A slice need not end in NUL.  {NULL, 0} is the empty slice.
 */
#ifndef HOLDFAST_BASE_SLICE_H
#define HOLDFAST_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *ptr;
	size_t len;
};

#define SLICE_EMPTY ((struct slice){ NULL, 0 })
#define SLICE_LIT(s) ((struct slice){ (const uint8_t *)("" s), sizeof(s) - 1 })
/* The same as an initialiser, for static tables: standard C wants constants. */
#define SLICE_INIT(s)                                                          \
	{                                                                      \
		(const uint8_t *)("" s), sizeof(s) - 1                         \
	}
/* For "%.*s": SLICE_FMT(name). */
#define SLICE_FMT(s) (int)(s).len, (const char *)(s).ptr

static inline struct slice
slice_of(const void *ptr, size_t len)
{
	return (struct slice){ (const uint8_t *)ptr, len };
}

static inline struct slice
slice_str(const char *s)
{
	return (struct slice){ (const uint8_t *)s, strlen(s) };
}

static inline bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len &&
	       (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Bytewise order, a shorter prefix first: <0, 0, >0. */
int slice_cmp(struct slice a, struct slice b);
bool slice_has_prefix(struct slice s, struct slice prefix);
bool slice_has_suffix(struct slice s, struct slice suffix);
/* `s` from byte `from` on; `from` <= s.len. */
struct slice slice_from(struct slice s, size_t from);
/* The first `len` bytes; `len` <= s.len. */
struct slice slice_to(struct slice s, size_t len);
/* Index of the first / last `byte`; SIZE_MAX when there is none. */
size_t slice_find(struct slice s, uint8_t byte);
size_t slice_rfind(struct slice s, uint8_t byte);
/* Valid UTF-8 by RFC 3629: no surrogates, no overlong forms. */
bool slice_is_utf8(struct slice s);

#endif
