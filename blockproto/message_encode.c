/*
 * Messages to protobuf bytes: BEP-FACTS.md 4.2, field numbers in bep.proto.
 *
 * What Syncthing writes, byte for byte where it can be seen: fields ascending,
 * zero values left out, a nested message even when it is empty.  The one
 * exception is Response, whose data comes last so that it need not be copied.
 * A nested message is written behind where its length will stand; then the
 * length moves it up, which costs less than to measure everything twice.
 */
#include "blockproto/message.h"

#include "blockproto/blocks.h"
#include "blockproto/message_fields.h"
#include "blockproto/message_pb.h"
#include "engine/base/assert.h"
#include "engine/base/limits.h"

#define WIRE_VARINT 0u
#define WIRE_FIXED64_LEN 8u
#define WIRE_BYTES 2u
/* What an entry of a small file takes, about: saves growing step by step. */
#define ENCODE_ENTRY_LEN 192u
#define ENCODE_BLOCK_LEN 48u

static void
put_tag(struct buf *out, uint32_t tag, uint32_t wire)
{
	buf_put_varint(out, (uint64_t)tag << 3 | wire);
}

static void
put_u64(struct buf *out, uint32_t tag, uint64_t v)
{
	if (v != 0)
		message_pb_put_number(out, tag, v);
}

/* int32, int64 and enum: a negative one takes ten bytes. */
static void
put_i64(struct buf *out, uint32_t tag, int64_t v)
{
	put_u64(out, tag, (uint64_t)v);
}

static void
put_bool(struct buf *out, uint32_t tag, bool v)
{
	put_u64(out, tag, v ? 1 : 0);
}

static void
put_bytes(struct buf *out, uint32_t tag, struct slice s)
{
	if (s.len > 0)
		message_pb_put_bytes(out, tag, s);
}

static void
put_digest(struct buf *out, uint32_t tag, const struct digest *d)
{
	static const struct digest none;

	if (!digest_equal(d, &none))
		put_bytes(out, tag, slice_of(d->b, DIGEST_LEN));
}

/* Begin a nested message; gives what put_close() wants to know. */
static size_t
put_open(struct buf *out, uint32_t tag)
{
	put_tag(out, tag, WIRE_BYTES);
	return out->len;
}

static size_t
varint_width(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

static void
put_close(struct buf *out, size_t at)
{
	const size_t len = out->len - at;
	const size_t width = varint_width(len);
	uint64_t rest = len;
	uint8_t *p;

	ASSERT(out->len >= at);
	buf_extend(out, width);
	p = out->ptr + at;
	memmove(p + width, p, len);
	for (size_t i = 0; i < width; i++, rest >>= 7)
		p[i] = (uint8_t)((rest & 0x7f) | (i + 1 < width ? 0x80 : 0));
}

static void
put_version(struct buf *out, uint32_t tag, struct version v)
{
	const size_t at = put_open(out, tag);

	for (uint32_t i = 0; i < v.count; i++) {
		const size_t counter = put_open(out, VECTOR_COUNTER);

		put_u64(out, COUNTER_ID, v.counter[i].id);
		put_u64(out, COUNTER_VALUE, v.counter[i].value);
		put_close(out, counter);
	}
	put_close(out, at);
}

static void
put_blocks(struct buf *out, const struct entry *e)
{
	int64_t offset = 0;

	buf_reserve(out, (size_t)e->block_count * ENCODE_BLOCK_LEN);
	for (uint32_t i = 0; i < e->block_count; i++) {
		const uint32_t len = blocks_len(e->size, e->block_size, i);
		const size_t at = put_open(out, FILE_BLOCK);

		put_i64(out, BLOCK_OFFSET, offset);
		put_u64(out, BLOCK_LEN, len);
		put_bytes(out, BLOCK_HASH, slice_of(e->block[i].b, DIGEST_LEN));
		put_close(out, at);
		offset += len;
	}
}

/* BEP-FACTS.md 6.3: which fields which kind of item has. */
static void
put_entry(struct buf *out, uint32_t tag, const struct entry *e)
{
	const size_t at = put_open(out, tag);
	const bool link = e->type == ENTRY_LINK;
	const bool file = e->type == ENTRY_FILE && !e->deleted;

	put_bytes(out, FILE_NAME, e->name);
	put_i64(out, FILE_TYPE, (int64_t)e->type);
	put_i64(out, FILE_SIZE, file ? e->size : 0);
	put_u64(out, FILE_PERMISSIONS, link ? 0 : e->perms & 0777u);
	put_i64(out, FILE_MODIFIED_S, e->mtime_s);
	put_bool(out, FILE_DELETED, e->deleted);
	put_bool(out, FILE_INVALID, e->invalid);
	put_bool(out, FILE_NO_PERMISSIONS, e->no_perms || link);
	put_version(out, FILE_VERSION, e->version);
	put_i64(out, FILE_SEQUENCE, e->sequence);
	put_i64(out, FILE_MODIFIED_NS, e->mtime_ns);
	put_u64(out, FILE_MODIFIED_BY, e->modified_by);
	put_u64(out, FILE_BLOCK_SIZE, e->block_size);
	put_bytes(out, FILE_PLATFORM, e->platform);
	if (file && e->block != NULL)
		put_blocks(out, e);
	if (link)
		put_bytes(out, FILE_LINK_TARGET, e->link_target);
	put_digest(out, FILE_BLOCKS_HASH, &e->blocks_hash);
	put_digest(out, FILE_PREVIOUS_BLOCKS_HASH, &e->previous_blocks_hash);
	put_close(out, at);
}

static void
encode_index(struct buf *out, const struct index_message *m, bool update)
{
	buf_reserve(out, (size_t)m->entry_count * ENCODE_ENTRY_LEN);
	put_bytes(out, INDEX_FOLDER, m->folder);
	for (uint32_t i = 0; i < m->entry_count; i++)
		put_entry(out, INDEX_FILE, &m->entry[i]);
	put_i64(out, INDEX_LAST_SEQUENCE, m->last_sequence);
	if (update)
		put_i64(out, INDEX_PREV_SEQUENCE, m->prev_sequence);
}

static void
put_device(struct buf *out, const struct cc_device *d)
{
	const size_t at = put_open(out, FOLDER_DEVICE);

	put_bytes(out, DEVICE_ID, slice_of(d->id.b, DEVID_LEN));
	put_bytes(out, DEVICE_NAME, d->name);
	for (uint32_t i = 0; i < d->address_count; i++) {
		put_tag(out, DEVICE_ADDRESS, WIRE_BYTES);
		buf_put_str(out, d->address[i]);
	}
	put_i64(out, DEVICE_COMPRESSION, (int64_t)d->compression);
	put_bytes(out, DEVICE_CERT_NAME, d->cert_name);
	put_i64(out, DEVICE_MAX_SEQUENCE, d->max_sequence);
	put_bool(out, DEVICE_INTRODUCER, d->introducer);
	put_u64(out, DEVICE_INDEX_ID, d->index_id);
	put_bool(out, DEVICE_SKIP_REMOVALS, d->skip_introduction_removals);
	put_bytes(out, DEVICE_TOKEN, d->encryption_password_token);
	put_close(out, at);
}

static void
encode_cluster_config(struct buf *out, const struct cluster_config *cc)
{
	for (uint32_t i = 0; i < cc->folder_count; i++) {
		const struct cc_folder *f = &cc->folder[i];
		const size_t at = put_open(out, CLUSTER_CONFIG_FOLDER);

		put_bytes(out, FOLDER_ID, f->id);
		put_bytes(out, FOLDER_LABEL, f->label);
		put_i64(out, FOLDER_TYPE, f->type);
		put_bool(out, FOLDER_STOP_REASON, f->paused);
		for (uint32_t d = 0; d < f->device_count; d++)
			put_device(out, &f->device[d]);
		put_close(out, at);
	}
	put_bool(out, CLUSTER_CONFIG_SECONDARY, cc->secondary);
}

static void
encode_request(struct buf *out, const struct request *r)
{
	put_i64(out, REQUEST_ID, r->id);
	put_bytes(out, REQUEST_FOLDER, r->folder);
	put_bytes(out, REQUEST_NAME, r->name);
	put_i64(out, REQUEST_OFFSET, r->offset);
	put_i64(out, REQUEST_LEN, r->size);
	put_bytes(out, REQUEST_HASH, r->hash);
	put_bool(out, REQUEST_FROM_TEMPORARY, r->from_temporary);
	put_i64(out, REQUEST_BLOCK_NO, r->block_no);
}

static void
put_progress_update(struct buf *out, const struct progress_update *u)
{
	const size_t at = put_open(out, PROGRESS_UPDATE);

	put_bool(out, PROGRESS_UPDATE_TYPE, u->forget);
	put_bytes(out, PROGRESS_UPDATE_NAME, u->name);
	put_version(out, PROGRESS_UPDATE_VERSION, u->version);
	/* Unpacked, as every Syncthing sends and some only read it. */
	for (uint32_t i = 0; i < u->block_count; i++) {
		put_tag(out, PROGRESS_UPDATE_BLOCK, WIRE_VARINT);
		buf_put_varint(out, (uint64_t)(int64_t)u->block[i]);
	}
	put_i64(out, PROGRESS_UPDATE_BLOCK_SIZE, u->block_size);
	put_close(out, at);
}

static void
encode_progress(struct buf *out, const struct progress *p)
{
	put_bytes(out, PROGRESS_FOLDER, p->folder);
	for (uint32_t i = 0; i < p->update_count; i++)
		put_progress_update(out, &p->update[i]);
}

static void
encode_chunks_request(struct buf *out, const struct chunks_request *r)
{
	size_t at;

	put_i64(out, CHUNKS_REQUEST_ID, r->id);
	put_bytes(out, CHUNKS_REQUEST_FOLDER, r->folder);
	put_bytes(out, CHUNKS_REQUEST_NAME, r->name);
	put_version(out, CHUNKS_REQUEST_VERSION, r->version);
	if (r->range_count == 0)
		return;
	at = put_open(out, CHUNKS_REQUEST_OFFSET);
	for (uint32_t i = 0; i < r->range_count; i++)
		buf_put_varint(out, (uint64_t)r->range[i].offset);
	put_close(out, at);
	at = put_open(out, CHUNKS_REQUEST_LEN);
	for (uint32_t i = 0; i < r->range_count; i++)
		buf_put_varint(out, (uint64_t)r->range[i].len);
	put_close(out, at);
}

static void
encode_chunks(struct buf *out, const struct chunks *c)
{
	size_t at;

	put_i64(out, CHUNKS_ID, c->id);
	put_i64(out, CHUNKS_CODE, (int64_t)c->code);
	if (c->count == 0)
		return;
	at = put_open(out, CHUNKS_LENGTH);
	for (uint32_t i = 0; i < c->count; i++)
		buf_put_varint(out, c->chunk[i].len);
	put_close(out, at);
	put_tag(out, CHUNKS_HASH, WIRE_BYTES);
	buf_put_varint(out, (uint64_t)c->count * WIRE_FIXED64_LEN);
	for (uint32_t i = 0; i < c->count; i++)
		buf_put_u64le(out, c->chunk[i].hash);
}

void
message_response_prefix(const struct response *r, struct buf *out)
{
	put_i64(out, RESPONSE_ID, r->id);
	put_i64(out, RESPONSE_CODE, (int64_t)r->code);
	if (r->data.len == 0)
		return;
	put_tag(out, RESPONSE_DATA, WIRE_BYTES);
	buf_put_varint(out, r->data.len);
}

static void
encode_echo(struct buf *out, const struct echo *e)
{
	put_u64(out, ECHO_ID, e->id);
	put_bool(out, ECHO_REPLY, e->reply);
	put_bool(out, ECHO_REFUSED, e->refused);
	put_bool(out, ECHO_MORE, e->more);
	put_bytes(out, ECHO_NAME, e->name);
	put_bytes(out, ECHO_SEEN, e->seen);
	put_u64(out, ECHO_UPTIME, e->uptime_s);
}

static void
encode_forward(struct buf *out, const struct forward_message *f)
{
	put_u64(out, FORWARD_WORD, f->word);
	put_u64(out, FORWARD_CHANNEL, f->channel);
	put_bool(out, FORWARD_OWN, f->own);
	put_u64(out, FORWARD_PORT, f->port);
	put_u64(out, FORWARD_CREDIT, f->credit);
	put_u64(out, FORWARD_CODE, f->code);
	put_bytes(out, FORWARD_DATA, f->data);
}

void
message_encode(const struct message *m, struct buf *out)
{
	switch (m->type) {
	case MESSAGE_CLUSTER_CONFIG:
		encode_cluster_config(out, &m->u.cluster_config);
		break;
	case MESSAGE_INDEX:
	case MESSAGE_INDEX_UPDATE:
		encode_index(out, &m->u.index, m->type != MESSAGE_INDEX);
		break;
	case MESSAGE_REQUEST:
		encode_request(out, &m->u.request);
		break;
	case MESSAGE_RESPONSE:
		message_response_prefix(&m->u.response, out);
		break;
	case MESSAGE_PROGRESS:
		encode_progress(out, &m->u.progress);
		break;
	case MESSAGE_PING:
		break;
	case MESSAGE_CLOSE:
		put_bytes(out, CLOSE_REASON, m->u.close.reason);
		break;
	case MESSAGE_CHUNKS_REQUEST:
		encode_chunks_request(out, &m->u.chunks_request);
		break;
	case MESSAGE_CHUNKS:
		encode_chunks(out, &m->u.chunks);
		break;
	case MESSAGE_ECHO:
		encode_echo(out, &m->u.echo);
		break;
	case MESSAGE_SIGNAL:
		put_bytes(out, SIGNAL_BODY, m->u.signal.body);
		break;
	case MESSAGE_MEMBERS:
		put_bytes(out, MEMBERS_BODY, m->u.members.body);
		break;
	case MESSAGE_FORWARD:
		encode_forward(out, &m->u.forward);
		break;
	case MESSAGE_UNKNOWN:
		ASSERT(m->type != MESSAGE_UNKNOWN);
		break;
	}
}

void
message_hello_encode(const struct hello *h, struct buf *out)
{
	size_t at;

	put_bytes(out, HELLO_DEVICE_NAME, h->device_name);
	put_bytes(out, HELLO_CLIENT_NAME, h->client_name);
	put_bytes(out, HELLO_CLIENT_VERSION, h->client_version);
	put_i64(out, HELLO_NUM_CONNECTIONS, h->num_connections);
	put_i64(out, HELLO_TIMESTAMP, h->timestamp);
	if (h->features == 0)
		return;
	at = put_open(out, HELLO_EXTENSION);
	put_u64(out, EXTENSION_MAGIC, MESSAGE_EXTENSION_MAGIC);
	put_u64(out, EXTENSION_VERSION, MESSAGE_EXTENSION_VERSION);
	put_u64(out, EXTENSION_FEATURES, h->features);
	put_close(out, at);
}

void
message_header_encode(int32_t type, int32_t compression, struct buf *out)
{
	put_i64(out, HEADER_TYPE, type);
	put_i64(out, HEADER_COMPRESSION, compression);
}
