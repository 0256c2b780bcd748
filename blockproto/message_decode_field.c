/*
 * Values out of single fields: see message_decode.h.
 */
#include "blockproto/message_decode.h"

#include "blockproto/message_fields.h"
#include "engine/base/limits.h"

static int
want_kind(const struct message_pb_field *f, enum message_pb_kind kind,
    struct err *err)
{
	if (f->kind == kind)
		return 0;
	return err_set(err, ERR_PROTOCOL, "field %u has wire type %d, not %d",
	    f->tag, (int)f->kind, (int)kind);
}

int
message_decode_u64(const struct message_pb_field *f, uint64_t *out,
    struct err *err)
{
	const int rc = want_kind(f, MESSAGE_PB_VARINT, err);

	if (rc == 0)
		*out = f->value;
	return rc;
}

int
message_decode_i64(const struct message_pb_field *f, int64_t *out,
    struct err *err)
{
	const int rc = want_kind(f, MESSAGE_PB_VARINT, err);

	if (rc == 0)
		*out = (int64_t)f->value;
	return rc;
}

int
message_decode_i32(const struct message_pb_field *f, int32_t *out,
    struct err *err)
{
	const int rc = want_kind(f, MESSAGE_PB_VARINT, err);

	if (rc == 0)
		*out = (int32_t)(uint32_t)(f->value & UINT32_MAX);
	return rc;
}

int
message_decode_bool(const struct message_pb_field *f, bool *out,
    struct err *err)
{
	const int rc = want_kind(f, MESSAGE_PB_VARINT, err);

	if (rc == 0)
		*out = f->value != 0;
	return rc;
}

int
message_decode_bytes(const struct message_pb_field *f, size_t max,
    struct slice *out, struct err *err)
{
	const int rc = want_kind(f, MESSAGE_PB_BYTES, err);

	if (rc < 0)
		return rc;
	if (f->bytes.len > max)
		return err_set(err, ERR_LIMIT,
		    "field %u has %zu bytes, more than %zu", f->tag,
		    f->bytes.len, max);
	*out = f->bytes;
	return 0;
}

int
message_decode_text(const struct message_pb_field *f, struct slice *out,
    struct err *err)
{
	const int rc = message_decode_bytes(f, LIMIT_STRING_LEN, out, err);

	if (rc < 0)
		return rc;
	if (!slice_is_utf8(*out))
		return err_set(err, ERR_PROTOCOL, "field %u is not UTF-8",
		    f->tag);
	return 0;
}

int
message_decode_nested(const struct message_pb_field *f, struct slice *out,
    struct err *err)
{
	return message_decode_bytes(f, LIMIT_FRAME_LEN, out, err);
}

int
message_decode_count(struct slice body, uint32_t tag, uint32_t max,
    uint32_t *out, struct err *err)
{
	struct message_pb_field f;
	uint32_t n = 0;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag != tag)
			continue;
		if (n == max)
			return err_set(err, ERR_LIMIT,
			    "field %u comes more than %u times", tag, max);
		n++;
	}
	*out = n;
	return rc;
}

static int
decode_counter(struct slice body, struct counter *out, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == COUNTER_ID)
			rc = message_decode_u64(&f, &out->id, err);
		else if (f.tag == COUNTER_VALUE)
			rc = message_decode_u64(&f, &out->value, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

int
message_decode_version(struct slice body, struct version *out,
    struct arena *arena, struct err *err)
{
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	struct counter *counter;
	uint32_t n = 0;
	int rc;

	*out = (struct version){ 0 };
	rc = message_decode_count(body, VECTOR_COUNTER, UINT32_MAX, &out->count,
	    err);
	if (rc < 0 || out->count == 0 || out->count > LIMIT_COUNTERS)
		return rc;
	counter = arena_array(arena, out->count, sizeof(*counter));
	out->counter = counter;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag != VECTOR_COUNTER)
			continue;
		rc = message_decode_nested(&f, &nested, err);
		if (rc == 0)
			rc = decode_counter(nested, &counter[n++], err);
		if (rc < 0)
			return rc;
	}
	return rc;
}
