/*
 * Fields out of hostile bytes, by nanopb: see message_pb.h.
 *
 * nanopb reads tags, numbers and lengths from a stream of its own over the
 * bytes that are left.  How far it came is told by its bytes_left alone, so
 * nothing here knows the inside of a stream.
 */
#include "blockproto/message_pb.h"

#include <pb_decode.h>

static int
message_pb_fail(const pb_istream_t *stream, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "protobuf: %s", PB_GET_ERROR(stream));
}

static void
message_pb_advance(struct slice *rest, const pb_istream_t *stream)
{
	*rest = slice_from(*rest, rest->len - stream->bytes_left);
}

/* What stands behind a tag; leaves `rest` behind it. */
static bool
message_pb_value(pb_istream_t *stream, pb_wire_type_t type, struct slice *rest,
    struct message_pb_field *out)
{
	pb_istream_t sub;
	uint32_t small = 0;

	switch (type) {
	case PB_WT_VARINT:
		out->kind = MESSAGE_PB_VARINT;
		if (!pb_decode_varint(stream, &out->value))
			return false;
		break;
	case PB_WT_64BIT:
		out->kind = MESSAGE_PB_FIXED64;
		if (!pb_decode_fixed64(stream, &out->value))
			return false;
		break;
	case PB_WT_32BIT:
		out->kind = MESSAGE_PB_FIXED32;
		if (!pb_decode_fixed32(stream, &small))
			return false;
		out->value = small;
		break;
	case PB_WT_STRING:
		out->kind = MESSAGE_PB_BYTES;
		/* Checks the length and puts `stream` behind the bytes. */
		if (!pb_make_string_substream(stream, &sub))
			return false;
		message_pb_advance(rest, stream);
		out->bytes =
		    slice_of(rest->ptr - sub.bytes_left, sub.bytes_left);
		return true;
	case PB_WT_PACKED: /* nanopb's own mark, never read */
	default:
		PB_SET_ERROR(stream, "unknown wire type");
		return false;
	}
	message_pb_advance(rest, stream);
	return true;
}

int
message_pb_next(struct slice *rest, struct message_pb_field *out,
    struct err *err)
{
	pb_istream_t stream = pb_istream_from_buffer(rest->ptr, rest->len);
	pb_wire_type_t type;
	bool end = false;

	if (rest->len == 0)
		return 0;
	out->value = 0;
	out->bytes = SLICE_EMPTY;
	if (!pb_decode_tag(&stream, &type, &out->tag, &end))
		return message_pb_fail(&stream, err);
	if (out->tag == 0)
		return err_set(err, ERR_PROTOCOL, "protobuf: field number 0");
	if (!message_pb_value(&stream, type, rest, out))
		return message_pb_fail(&stream, err);
	return 1;
}

int
message_pb_varint(struct slice *rest, uint64_t *out, struct err *err)
{
	pb_istream_t stream = pb_istream_from_buffer(rest->ptr, rest->len);

	if (rest->len == 0)
		return 0;
	if (!pb_decode_varint(&stream, out))
		return message_pb_fail(&stream, err);
	message_pb_advance(rest, &stream);
	return 1;
}

int
message_pb_fixed64(struct slice *rest, uint64_t *out, struct err *err)
{
	pb_istream_t stream = pb_istream_from_buffer(rest->ptr, rest->len);

	if (rest->len == 0)
		return 0;
	if (!pb_decode_fixed64(&stream, out))
		return message_pb_fail(&stream, err);
	message_pb_advance(rest, &stream);
	return 1;
}
