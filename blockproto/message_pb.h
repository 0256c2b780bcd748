/*
 * The door to the protobuf library (nanopb): fields out of hostile bytes.
 * Writing needs no library: two inline functions.
 *
 * Knows the wire format and no message.  A message is walked field by field;
 * nothing is allocated or copied, and every length has met the bytes that are
 * there before it is believed.  Any thread.  docs/design/0002-protobuf.md.
 */
#ifndef HOLDFAST_BLOCKPROTO_MESSAGE_PB_H
#define HOLDFAST_BLOCKPROTO_MESSAGE_PB_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

enum message_pb_kind {
	MESSAGE_PB_VARINT,
	MESSAGE_PB_FIXED64,
	MESSAGE_PB_FIXED32,
	MESSAGE_PB_BYTES, /* string, bytes, message or packed numbers */
};

struct message_pb_field {
	uint32_t tag;
	enum message_pb_kind kind;
	uint64_t value;     /* of the three number kinds */
	struct slice bytes; /* of BYTES; borrows from what is walked */
};

/*
 * Take the next field off the front of `rest`.  1: *out is it; 0: nothing is
 * left; ERR_PROTOCOL: no protobuf.  Groups, which nobody sends, are refused.
 */
int message_pb_next(struct slice *rest, struct message_pb_field *out,
    struct err *err);
/* The same for one number of a packed list, which has no tag. */
int message_pb_varint(struct slice *rest, uint64_t *out, struct err *err);
int message_pb_fixed64(struct slice *rest, uint64_t *out, struct err *err);

/* Append a field; whether nothing is worth a field is the caller's to say. */
static inline void
message_pb_put_number(struct buf *out, uint32_t tag, uint64_t value)
{
	buf_put_varint(out, (uint64_t)tag << 3);
	buf_put_varint(out, value);
}

static inline void
message_pb_put_bytes(struct buf *out, uint32_t tag, struct slice s)
{
	buf_put_varint(out, (uint64_t)tag << 3 | 2);
	buf_put_str(out, s);
}

#endif
