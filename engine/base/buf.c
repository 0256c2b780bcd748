/*
 * Byte buffers and the reader: every length is compared before arithmetic.
 */
#include "engine/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"

#define BUF_FIRST 64u     /* bytes of the first allocation */
#define VARINT_LEN_MAX 10 /* bytes; 7 bits each make 64 */

void
buf_init(struct buf *b)
{
	*b = (struct buf){ 0 };
}

void
buf_fini(struct buf *b)
{
	mem_free(b->ptr);
	buf_init(b);
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
}

void
buf_reserve(struct buf *b, size_t n)
{
	size_t cap = b->cap > 0 ? b->cap : BUF_FIRST;

	if (n <= b->cap - b->len)
		return;
	ASSERT(n <= SIZE_MAX / 4 - b->len);
	while (cap - b->len < n)
		cap *= 2;
	b->ptr = mem_resize(b->ptr, cap);
	b->cap = cap;
}

uint8_t *
buf_extend(struct buf *b, size_t n)
{
	uint8_t *at;

	buf_reserve(b, n > 0 ? n : 1);
	at = b->ptr + b->len;
	b->len += n;
	return at;
}

void
buf_put(struct buf *b, struct slice s)
{
	if (s.len > 0)
		memcpy(buf_extend(b, s.len), s.ptr, s.len);
}

void
buf_put_u8(struct buf *b, uint8_t v)
{
	*buf_extend(b, 1) = v;
}

static void
buf_put_be(struct buf *b, uint64_t v, unsigned bytes)
{
	uint8_t *at = buf_extend(b, bytes);

	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
}

static void
buf_put_le(struct buf *b, uint64_t v, unsigned bytes)
{
	uint8_t *at = buf_extend(b, bytes);

	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

void
buf_put_u16be(struct buf *b, uint16_t v)
{
	buf_put_be(b, v, 2);
}

void
buf_put_u32be(struct buf *b, uint32_t v)
{
	buf_put_be(b, v, 4);
}

void
buf_put_u64be(struct buf *b, uint64_t v)
{
	buf_put_be(b, v, 8);
}

void
buf_put_u16le(struct buf *b, uint16_t v)
{
	buf_put_le(b, v, 2);
}

void
buf_put_u32le(struct buf *b, uint32_t v)
{
	buf_put_le(b, v, 4);
}

void
buf_put_u64le(struct buf *b, uint64_t v)
{
	buf_put_le(b, v, 8);
}

void
buf_put_varint(struct buf *b, uint64_t v)
{
	buf_reserve(b, VARINT_LEN_MAX);
	while (v >= 0x80) {
		b->ptr[b->len++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	b->ptr[b->len++] = (uint8_t)v;
}

void
buf_put_svarint(struct buf *b, int64_t v)
{
	const uint64_t sign = v < 0 ? UINT64_MAX : 0;

	buf_put_varint(b, ((uint64_t)v << 1) ^ sign);
}

void
buf_put_str(struct buf *b, struct slice s)
{
	buf_put_varint(b, s.len);
	buf_put(b, s);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	ASSERT(n >= 0);
	buf_reserve(b, (size_t)n + 1); /* vsnprintf() ends in NUL; len does not
					  count it */
	va_start(ap, fmt);
	vsnprintf((char *)b->ptr + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

struct slice
buf_slice(const struct buf *b)
{
	return slice_of(b->ptr, b->len);
}

void
buf_consume(struct buf *b, size_t n)
{
	ASSERT(n <= b->len);
	b->len -= n;
	if (n > 0 && b->len > 0)
		memmove(b->ptr, b->ptr + n, b->len);
}

void
reader_init(struct reader *r, struct slice s)
{
	*r = (struct reader){ .ptr = s.ptr, .len = s.len };
}

/* `n` bytes, or NULL and failed for good. */
static const uint8_t *
reader_take(struct reader *r, size_t n)
{
	const uint8_t *at = r->ptr;

	if (r->failed || n > r->len) {
		r->failed = true;
		r->len = 0;
		return NULL;
	}
	if (n > 0) {
		r->ptr += n;
		r->len -= n;
	}
	return at;
}

static uint64_t
reader_be(struct reader *r, unsigned bytes)
{
	const uint8_t *at = reader_take(r, bytes);
	uint64_t v = 0;

	if (at == NULL)
		return 0;
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | at[i];
	return v;
}

static uint64_t
reader_le(struct reader *r, unsigned bytes)
{
	const uint8_t *at = reader_take(r, bytes);
	uint64_t v = 0;

	if (at == NULL)
		return 0;
	for (unsigned i = bytes; i > 0; i--)
		v = v << 8 | at[i - 1];
	return v;
}

uint8_t
reader_u8(struct reader *r)
{
	return (uint8_t)reader_be(r, 1);
}

uint16_t
reader_u16be(struct reader *r)
{
	return (uint16_t)reader_be(r, 2);
}

uint32_t
reader_u32be(struct reader *r)
{
	return (uint32_t)reader_be(r, 4);
}

uint64_t
reader_u64be(struct reader *r)
{
	return reader_be(r, 8);
}

uint16_t
reader_u16le(struct reader *r)
{
	return (uint16_t)reader_le(r, 2);
}

uint32_t
reader_u32le(struct reader *r)
{
	return (uint32_t)reader_le(r, 4);
}

uint64_t
reader_u64le(struct reader *r)
{
	return reader_le(r, 8);
}

uint64_t
reader_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < VARINT_LEN_MAX; i++) {
		const uint8_t *at = reader_take(r, 1);

		if (at == NULL)
			return 0;
		/* The tenth byte has room for one bit only. */
		if (i == VARINT_LEN_MAX - 1 && *at > 1)
			break;
		v |= (uint64_t)(*at & 0x7f) << (7 * i);
		if (*at < 0x80)
			return v;
	}
	r->failed = true;
	r->len = 0;
	return 0;
}

int64_t
reader_svarint(struct reader *r)
{
	const uint64_t v = reader_varint(r);
	const uint64_t sign = (v & 1) != 0 ? UINT64_MAX : 0;

	return (int64_t)((v >> 1) ^ sign);
}

struct slice
reader_bytes(struct reader *r, size_t n)
{
	const uint8_t *at = reader_take(r, n);

	return r->failed ? SLICE_EMPTY : slice_of(at, n);
}

struct slice
reader_str(struct reader *r, size_t max)
{
	const uint64_t len = reader_varint(r);

	if (len > max || len > r->len) {
		r->failed = true;
		r->len = 0;
		return SLICE_EMPTY;
	}
	return reader_bytes(r, (size_t)len);
}
