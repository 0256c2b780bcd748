/*
 * Intents as bytes.  See intent.h.
 */
#include "engine/intent.h"

#include "engine/base/limits.h"

#define INTENT_FORMAT 1u

static void
put_identity(struct buf *out, const struct identity *id)
{
	buf_put_u8(out, (uint8_t)id->type);
	if (id->type == IDENTITY_ABSENT)
		return;
	buf_put_varint(out, id->mode);
	buf_put_svarint(out, id->size);
	buf_put_svarint(out, id->mtime_s);
	buf_put_svarint(out, id->mtime_ns);
	buf_put_svarint(out, id->ctime_s);
	buf_put_svarint(out, id->ctime_ns);
	buf_put_varint(out, id->ino);
	buf_put_varint(out, id->dev);
}

static struct identity
take_identity(struct reader *r)
{
	struct identity id = { 0 };
	const uint8_t type = reader_u8(r);

	if (type == IDENTITY_ABSENT)
		return id;
	if (type > IDENTITY_OTHER)
		r->failed = true;
	id.type = (enum identity_type)type;
	id.mode = (uint32_t)reader_varint(r);
	id.size = reader_svarint(r);
	id.mtime_s = reader_svarint(r);
	id.mtime_ns = (int32_t)reader_svarint(r);
	id.ctime_s = reader_svarint(r);
	id.ctime_ns = (int32_t)reader_svarint(r);
	id.ino = reader_varint(r);
	id.dev = reader_varint(r);
	return id;
}

void
intent_encode(const struct intent *in, struct buf *out)
{
	buf_put_u8(out, INTENT_FORMAT);
	buf_put_u8(out, (uint8_t)in->kind);
	buf_put_u8(out, in->replace);
	buf_put_str(out, in->path);
	buf_put_str(out, in->from);
	buf_put_str(out, in->temp);
	buf_put_str(out, in->keep);
	put_identity(out, &in->base);
	put_identity(out, &in->staged);
	buf_put_u8(out, in->had);
	version_encode(in->before, out);
	version_encode(in->target, out);
	version_encode(in->gone, out);
}

bool
intent_decode(struct slice record, struct intent *out, struct arena *arena)
{
	struct reader r;
	uint8_t kind;

	*out = (struct intent){ 0 };
	reader_init(&r, record);
	if (reader_u8(&r) != INTENT_FORMAT)
		return false;
	kind = reader_u8(&r);
	if (kind < INTENT_FILE || kind > INTENT_RMDIR)
		return false;
	out->kind = (enum intent_kind)kind;
	out->replace = reader_u8(&r) != 0;
	out->path = reader_str(&r, LIMIT_PATH_LEN);
	out->from = reader_str(&r, LIMIT_PATH_LEN);
	out->temp = reader_str(&r, LIMIT_NAME_LEN);
	out->keep = reader_str(&r, LIMIT_PATH_LEN);
	out->base = take_identity(&r);
	out->staged = take_identity(&r);
	out->had = reader_u8(&r) != 0;
	out->before = version_decode(&r, arena);
	out->target = version_decode(&r, arena);
	out->gone = version_decode(&r, arena);
	return reader_done(&r) && out->path.len > 0;
}
