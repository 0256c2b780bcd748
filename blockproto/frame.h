/*
 * Frames: hello, then header + length + body, out of a stream of bytes.
 *
 * A frame_reader is told of bytes as they come and says what it wants next, so
 * that the bytes of a large frame can be received straight into the buffer
 * that will hold it.  Lengths meet their limits before any allocation.
 * BEP-FACTS.md 3 and 4.1.
 */
#ifndef HOLDFAST_BLOCKPROTO_FRAME_H
#define HOLDFAST_BLOCKPROTO_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define FRAME_HELLO_MAGIC UINT32_C(0x2EA7D90B)

enum frame_kind {
	FRAME_HELLO,
	FRAME_MESSAGE,
};

/*
 * One whole frame; `block` is owned by whoever took it (mem_free), and `body`
 * lies in it.  A body of LIMIT_DIRECT_FROM bytes and more ends at a multiple of
 * LIMIT_DIRECT_ALIGN: the data of a Response, which is its end, can then be
 * written to a disk as it lies, past the page cache.
 */
struct frame {
	enum frame_kind kind;
	int32_t type;        /* enum message_type as sent; of messages */
	int32_t compression; /* enum compress_kind as sent */
	uint8_t *block;      /* owned; NULL when len is 0 */
	uint8_t *body;       /* `len` bytes in it */
	size_t len;
};

enum frame_state {
	FRAME_WANT_MAGIC,
	FRAME_WANT_HELLO,
	FRAME_WANT_HEADER_LEN,
	FRAME_WANT_HEADER,
	FRAME_WANT_LEN,
	FRAME_WANT_BODY,
	FRAME_FAILED,
};

struct frame_reader {
	enum frame_state state;
	uint8_t small[64]; /* fixed-size parts being gathered */
	struct buf header;
	size_t have, want;  /* bytes of the part in work */
	struct frame frame; /* in work; body owned until taken */
	uint64_t bytes;     /* read in all */
};

/* `hello`: expect a Hello first, as on a new connection. */
void frame_reader_init(struct frame_reader *fr, bool hello);
void frame_reader_fini(struct frame_reader *fr);
/*
 * Where the next bytes go, and how many at most: read them there (from TLS),
 * then call frame_reader_add() with the number.  Never NULL unless FAILED.
 */
uint8_t *frame_reader_space(struct frame_reader *fr, size_t *len);
/*
 * `n` bytes were put at frame_reader_space().  1: *out is a whole frame and
 * its body the caller's; 0: more is needed; ERR_PROTOCOL / ERR_LIMIT: drop.
 */
int frame_reader_add(struct frame_reader *fr, size_t n, struct frame *out,
    struct err *err);

/* Hello with magic and length. */
void frame_put_hello(struct buf *out, struct slice body);
/* Header and length of a message whose `body_len` bytes follow. */
void frame_put_header(struct buf *out, int32_t type, int32_t compression,
    size_t body_len);

#endif
