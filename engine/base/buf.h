/*
 * A growing byte buffer, and a bounds-checked reader.
 *
 * struct buf owns its bytes.  The put_* functions write little-endian (le) or
 * big-endian (be), or a varint (LEB128, as protobuf's).  struct reader borrows
 * a slice; it remembers its first failure, so a decoder is a straight list of
 * reads checked once with reader_ok().  After a failure all reads give zero.
 */
#ifndef HOLDFAST_BASE_BUF_H
#define HOLDFAST_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/slice.h"

struct buf {
	uint8_t *ptr; /* owned */
	size_t len;
	size_t cap;
};

void buf_init(struct buf *b); /* {0} is valid too */
void buf_fini(struct buf *b);
void buf_clear(struct buf *b);                /* len 0, memory kept */
void buf_reserve(struct buf *b, size_t n);    /* room for n more bytes */
uint8_t *buf_extend(struct buf *b, size_t n); /* n more, uninitialised */
void buf_put(struct buf *b, struct slice s);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16be(struct buf *b, uint16_t v);
void buf_put_u32be(struct buf *b, uint32_t v);
void buf_put_u64be(struct buf *b, uint64_t v);
void buf_put_u16le(struct buf *b, uint16_t v);
void buf_put_u32le(struct buf *b, uint32_t v);
void buf_put_u64le(struct buf *b, uint64_t v);
void buf_put_varint(struct buf *b, uint64_t v);
void buf_put_svarint(struct buf *b, int64_t v);  /* zigzag */
void buf_put_str(struct buf *b, struct slice s); /* varint length, bytes */
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct slice buf_slice(const struct buf *b);
/* Drop the first n bytes; moves the rest down. */
void buf_consume(struct buf *b, size_t n);

struct reader {
	const uint8_t *ptr;
	size_t len; /* bytes left */
	bool failed;
};

void reader_init(struct reader *r, struct slice s);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16be(struct reader *r);
uint32_t reader_u32be(struct reader *r);
uint64_t reader_u64be(struct reader *r);
uint16_t reader_u16le(struct reader *r);
uint32_t reader_u32le(struct reader *r);
uint64_t reader_u64le(struct reader *r);
uint64_t reader_varint(struct reader *r); /* over 64 bits fails */
int64_t reader_svarint(struct reader *r);
struct slice reader_bytes(struct reader *r, size_t n); /* borrows */
/* Varint length then bytes; a length over `max` fails. */
struct slice reader_str(struct reader *r, size_t max);
static inline bool
reader_ok(const struct reader *r)
{
	return !r->failed;
}
/* Nothing failed and nothing is left. */
static inline bool
reader_done(const struct reader *r)
{
	return !r->failed && r->len == 0;
}

#endif
