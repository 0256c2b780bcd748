/*
 * Frames out of a stream of bytes: see frame.h.
 *
 *	WANT_MAGIC -> WANT_HELLO -.
 *	                          v
 *	      .-------> WANT_HEADER_LEN -> WANT_HEADER -> WANT_LEN -> WANT_BODY
 *	      '------------------------------------------------------------'
 *
 * Each state gathers exactly `want` bytes: into `small`, into `header`, or into
 * the body of the frame.  A part of no bytes is over as soon as it begins.
 */
#include "blockproto/frame.h"

#include "blockproto/message.h"
#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define FRAME_MAGIC_LEN 6u      /* magic and length of a Hello */
#define FRAME_HEADER_LEN_LEN 2u /* length of a header */
#define FRAME_LEN_LEN 4u        /* length of a message */
#define FRAME_SIGN16 0x8000u    /* lengths are signed on the other side */
#define FRAME_SIGN32 UINT32_C(0x80000000)
/* What peers from before 0.14 begin with. */
#define FRAME_OLD_MAGIC UINT32_C(0x9F79BC40)

static void
frame_want(struct frame_reader *fr, enum frame_state state, size_t want)
{
	fr->state = state;
	fr->have = 0;
	fr->want = want;
}

static void
frame_want_header_len(struct frame_reader *fr)
{
	memset(&fr->frame, 0, sizeof(fr->frame));
	frame_want(fr, FRAME_WANT_HEADER_LEN, FRAME_HEADER_LEN_LEN);
}

/* The body gets its memory here: its length has met the limit. */
static void
frame_want_body(struct frame_reader *fr, enum frame_state state, size_t len)
{
	struct frame *f = &fr->frame;

	f->len = len;
	if (len >= LIMIT_DIRECT_FROM) {
		const size_t room = (len + LIMIT_DIRECT_ALIGN - 1) /
				    LIMIT_DIRECT_ALIGN * LIMIT_DIRECT_ALIGN;

		f->block = mem_aligned(LIMIT_DIRECT_ALIGN, room);
		f->body = f->block + room - len;
	} else {
		f->block = len > 0 ? mem_alloc(len) : NULL;
		f->body = f->block;
	}
	frame_want(fr, state, len);
}

void
frame_reader_init(struct frame_reader *fr, bool hello)
{
	memset(fr, 0, sizeof(*fr));
	buf_init(&fr->header);
	if (hello)
		frame_want(fr, FRAME_WANT_MAGIC, FRAME_MAGIC_LEN);
	else
		frame_want_header_len(fr);
}

void
frame_reader_fini(struct frame_reader *fr)
{
	mem_free(fr->frame.block);
	fr->frame.block = fr->frame.body = NULL;
	buf_fini(&fr->header);
	fr->state = FRAME_FAILED;
}

/* Where the part in work is gathered. */
static uint8_t *
frame_part(struct frame_reader *fr)
{
	switch (fr->state) {
	case FRAME_WANT_HELLO:
	case FRAME_WANT_BODY:
		return fr->frame.body;
	case FRAME_WANT_HEADER:
		return fr->header.ptr;
	case FRAME_WANT_MAGIC:
	case FRAME_WANT_HEADER_LEN:
	case FRAME_WANT_LEN:
		return fr->small;
	case FRAME_FAILED:
		break;
	}
	return NULL;
}

uint8_t *
frame_reader_space(struct frame_reader *fr, size_t *len)
{
	uint8_t *part = frame_part(fr);

	*len = fr->want - fr->have;
	if (part == NULL) {
		*len = 0;
		return NULL;
	}
	return part + fr->have;
}

static int
frame_take_magic(struct frame_reader *fr, struct err *err)
{
	struct reader r;
	uint32_t magic;
	uint16_t len;

	reader_init(&r, slice_of(fr->small, FRAME_MAGIC_LEN));
	magic = reader_u32be(&r);
	len = reader_u16be(&r);
	if (magic == FRAME_OLD_MAGIC || magic >> 16 == 1)
		return err_set(err, ERR_PROTOCOL,
		    "hello: a peer older than version 0.14");
	if (magic != FRAME_HELLO_MAGIC)
		return err_set(err, ERR_PROTOCOL,
		    "hello: unknown protocol, first bytes 0x%08x", magic);
	if (len > LIMIT_HELLO_LEN)
		return err_set(err, ERR_PROTOCOL, "hello: length %u",
		    (unsigned)len);
	fr->frame.kind = FRAME_HELLO;
	frame_want_body(fr, FRAME_WANT_HELLO, len);
	return 0;
}

static int
frame_take_header_len(struct frame_reader *fr, struct err *err)
{
	struct reader r;
	uint16_t len;

	reader_init(&r, slice_of(fr->small, FRAME_HEADER_LEN_LEN));
	len = reader_u16be(&r);
	if (len >= FRAME_SIGN16)
		return err_set(err, ERR_PROTOCOL, "frame: header of %d bytes",
		    (int)len - 0x10000);
	if (len > LIMIT_HEADER_LEN)
		return err_set(err, ERR_LIMIT,
		    "frame: header of %u bytes, more than %u", (unsigned)len,
		    LIMIT_HEADER_LEN);
	buf_clear(&fr->header);
	buf_extend(&fr->header, len);
	frame_want(fr, FRAME_WANT_HEADER, len);
	return 0;
}

static int
frame_take_header(struct frame_reader *fr, struct err *err)
{
	int rc;

	rc = message_header_decode(&fr->frame.type, &fr->frame.compression,
	    buf_slice(&fr->header), err);
	fr->frame.kind = FRAME_MESSAGE;
	frame_want(fr, FRAME_WANT_LEN, FRAME_LEN_LEN);
	return rc;
}

static int
frame_take_len(struct frame_reader *fr, struct err *err)
{
	struct reader r;
	uint32_t len;

	reader_init(&r, slice_of(fr->small, FRAME_LEN_LEN));
	len = reader_u32be(&r);
	if (len >= FRAME_SIGN32)
		return err_set(err, ERR_PROTOCOL,
		    "frame: message of %lld bytes",
		    (long long)len - (INT64_C(1) << 32));
	if (len > LIMIT_FRAME_LEN)
		return err_set(err, ERR_LIMIT,
		    "frame: message of %u bytes, more than %u", len,
		    (unsigned)LIMIT_FRAME_LEN);
	frame_want_body(fr, FRAME_WANT_BODY, len);
	return 0;
}

/* A part is whole: go on to the next one.  1 with a whole frame in *out. */
static int
frame_take(struct frame_reader *fr, struct frame *out, struct err *err)
{
	switch (fr->state) {
	case FRAME_WANT_MAGIC:
		return frame_take_magic(fr, err);
	case FRAME_WANT_HEADER_LEN:
		return frame_take_header_len(fr, err);
	case FRAME_WANT_HEADER:
		return frame_take_header(fr, err);
	case FRAME_WANT_LEN:
		return frame_take_len(fr, err);
	case FRAME_WANT_HELLO:
	case FRAME_WANT_BODY:
		*out = fr->frame;
		frame_want_header_len(fr);
		return 1;
	case FRAME_FAILED:
		break;
	}
	return err_set(err, ERR_PROTOCOL, "frame: failed before");
}

int
frame_reader_add(struct frame_reader *fr, size_t n, struct frame *out,
    struct err *err)
{
	int rc = 0;

	if (fr->state == FRAME_FAILED)
		return err_set(err, ERR_PROTOCOL, "frame: failed before");
	ASSERT(n <= fr->want - fr->have);
	fr->have += n;
	fr->bytes += n;
	while (rc == 0 && fr->have == fr->want)
		rc = frame_take(fr, out, err);
	if (rc < 0)
		frame_reader_fini(fr);
	return rc;
}

void
frame_put_hello(struct buf *out, struct slice body)
{
	ASSERT(body.len <= LIMIT_HELLO_LEN);
	buf_put_u32be(out, FRAME_HELLO_MAGIC);
	buf_put_u16be(out, (uint16_t)body.len);
	buf_put(out, body);
}

void
frame_put_header(struct buf *out, int32_t type, int32_t compression,
    size_t body_len)
{
	const size_t at = out->len;
	size_t len;

	ASSERT(body_len <= LIMIT_FRAME_LEN);
	buf_put_u16be(out, 0);
	message_header_encode(type, compression, out);
	len = out->len - at - FRAME_HEADER_LEN_LEN;
	out->ptr[at] = (uint8_t)(len >> 8);
	out->ptr[at + 1] = (uint8_t)(len & 0xff);
	buf_put_u32be(out, (uint32_t)body_len);
}
