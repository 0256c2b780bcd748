/*
 * Messages out of protobuf bytes: see message.h and BEP-FACTS.md 4.2.
 *
 * Repeated fields are counted first and meet their limit, then they get an
 * array of just that size.  The two large ones have files of their own:
 * message_decode_index.c and message_decode_config.c.
 */
#include "blockproto/message_decode.h"

#include "blockproto/message_fields.h"
#include "engine/base/limits.h"

/* Our own field of a Hello.  Whatever is wrong with it: then it is not ours. */
static uint32_t
decode_extension(struct slice body)
{
	struct message_pb_field f;
	uint64_t magic = 0, features = 0;
	int rc;

	while ((rc = message_pb_next(&body, &f, NULL)) > 0) {
		if (f.tag == EXTENSION_MAGIC)
			rc = message_decode_u64(&f, &magic, NULL);
		else if (f.tag == EXTENSION_FEATURES)
			rc = message_decode_u64(&f, &features, NULL);
		if (rc < 0)
			break;
	}
	if (rc < 0 || magic != MESSAGE_EXTENSION_MAGIC)
		return 0;
	return (uint32_t)(features & UINT32_MAX);
}

static int
decode_hello_field(const struct message_pb_field *f, struct hello *out,
    struct err *err)
{
	switch (f->tag) {
	case HELLO_DEVICE_NAME:
		return message_decode_text(f, &out->device_name, err);
	case HELLO_CLIENT_NAME:
		return message_decode_text(f, &out->client_name, err);
	case HELLO_CLIENT_VERSION:
		return message_decode_text(f, &out->client_version, err);
	case HELLO_NUM_CONNECTIONS:
		return message_decode_i32(f, &out->num_connections, err);
	case HELLO_TIMESTAMP:
		return message_decode_i64(f, &out->timestamp, err);
	case HELLO_EXTENSION:
		if (f->kind == MESSAGE_PB_BYTES)
			out->features = decode_extension(f->bytes);
		return 0;
	default:
		return 0;
	}
}

int
message_hello_decode(struct hello *out, struct slice body, struct arena *arena,
    struct err *err)
{
	struct message_pb_field f;
	int rc;

	*out = (struct hello){ 0 };
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		rc = decode_hello_field(&f, out, err);
		if (rc < 0)
			break;
	}
	if (rc < 0) {
		err_wrap(err, "hello");
		return rc;
	}
	/* A Hello outlives its frame: it names the peer. */
	out->device_name = arena_dup(arena, out->device_name);
	out->client_name = arena_dup(arena, out->client_name);
	out->client_version = arena_dup(arena, out->client_version);
	return 0;
}

int
message_header_decode(int32_t *type, int32_t *compression, struct slice body,
    struct err *err)
{
	struct message_pb_field f;
	int rc;

	*type = 0;
	*compression = 0;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == HEADER_TYPE)
			rc = message_decode_i32(&f, type, err);
		else if (f.tag == HEADER_COMPRESSION)
			rc = message_decode_i32(&f, compression, err);
		if (rc < 0)
			break;
	}
	if (rc < 0)
		err_wrap(err, "header");
	return rc;
}

static int
decode_hash(const struct message_pb_field *f, struct slice *out,
    struct err *err)
{
	const int rc = message_decode_bytes(f, LIMIT_STRING_LEN, out, err);

	if (rc == 0 && out->len != 0 && out->len != DIGEST_LEN)
		return err_set(err, ERR_PROTOCOL, "a hash of %zu bytes",
		    out->len);
	return rc;
}

static int
decode_request_field(const struct message_pb_field *f, struct request *out,
    struct err *err)
{
	switch (f->tag) {
	case REQUEST_ID:
		return message_decode_i32(f, &out->id, err);
	case REQUEST_FOLDER:
		return message_decode_text(f, &out->folder, err);
	case REQUEST_NAME:
		return message_decode_text(f, &out->name, err);
	case REQUEST_OFFSET:
		return message_decode_i64(f, &out->offset, err);
	case REQUEST_LEN:
		return message_decode_i32(f, &out->size, err);
	case REQUEST_HASH:
		return decode_hash(f, &out->hash, err);
	case REQUEST_FROM_TEMPORARY:
		return message_decode_bool(f, &out->from_temporary, err);
	case REQUEST_BLOCK_NO:
		return message_decode_i32(f, &out->block_no, err);
	default:
		return 0;
	}
}

static int
decode_request(struct request *out, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		rc = decode_request_field(&f, out, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* A code we do not know is still a refusal. */
static int
decode_code(const struct message_pb_field *f, enum response_code *out,
    struct err *err)
{
	int32_t v = 0;
	const int rc = message_decode_i32(f, &v, err);

	*out = RESPONSE_GENERIC;
	if (v >= RESPONSE_OK && v <= RESPONSE_INVALID_FILE)
		*out = (enum response_code)v;
	return rc;
}

static int
decode_response(struct response *out, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == RESPONSE_ID)
			rc = message_decode_i32(&f, &out->id, err);
		else if (f.tag == RESPONSE_DATA)
			rc = message_decode_nested(&f, &out->data, err);
		else if (f.tag == RESPONSE_CODE)
			rc = decode_code(&f, &out->code, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* Where the numbers of a repeated field go: counted when `out` is NULL. */
struct numbers {
	uint32_t tag;
	enum message_pb_kind kind;
	uint32_t count, max;
	uint64_t *out;
};

static int
numbers_add(struct numbers *list, uint64_t v, struct err *err)
{
	if (list->count == list->max)
		return err_set(err, ERR_LIMIT,
		    "field %u has more than %u numbers", list->tag, list->max);
	if (list->out != NULL)
		list->out[list->count] = v;
	list->count++;
	return 0;
}

/* One field of it: a number, or many packed into bytes. */
static int
numbers_take(struct numbers *list, const struct message_pb_field *f,
    struct err *err)
{
	struct slice rest = f->bytes;
	uint64_t v = 0;
	int rc;

	if (f->kind == list->kind)
		return numbers_add(list, f->value, err);
	if (f->kind != MESSAGE_PB_BYTES)
		return err_set(err, ERR_PROTOCOL, "field %u has wire type %d",
		    f->tag, (int)f->kind);
	do {
		if (list->kind == MESSAGE_PB_FIXED64)
			rc = message_pb_fixed64(&rest, &v, err);
		else
			rc = message_pb_varint(&rest, &v, err);
		if (rc > 0 && numbers_add(list, v, err) < 0)
			return ERR_LIMIT;
	} while (rc > 0);
	return rc;
}

static int
numbers_walk(struct numbers *list, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	list->count = 0;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == list->tag)
			rc = numbers_take(list, &f, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* All numbers of a repeated field, packed or not, as 64 bits each. */
static int
decode_numbers(struct numbers *list, struct slice body, struct arena *arena,
    struct err *err)
{
	int rc = numbers_walk(list, body, err);

	if (rc < 0 || list->count == 0)
		return rc;
	list->out = arena_array(arena, list->count, sizeof(*list->out));
	return numbers_walk(list, body, err);
}

static int
decode_update_blocks(struct slice body, struct progress_update *out,
    uint32_t *left, struct arena *arena, struct err *err)
{
	struct numbers list = { .tag = PROGRESS_UPDATE_BLOCK,
		.kind = MESSAGE_PB_VARINT,
		.max = *left };
	int32_t *block;
	int rc;

	rc = decode_numbers(&list, body, arena, err);
	if (rc < 0 || list.count == 0)
		return rc;
	*left -= list.count;
	block = arena_array(arena, list.count, sizeof(*block));
	for (uint32_t i = 0; i < list.count; i++)
		block[i] = (int32_t)(uint32_t)(list.out[i] & UINT32_MAX);
	out->block = block;
	out->block_count = list.count;
	return 0;
}

static int
decode_update(struct slice body, struct progress_update *out, uint32_t *left,
    struct arena *arena, struct err *err)
{
	struct slice rest = body;
	struct slice version = SLICE_EMPTY;
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&rest, &f, err)) > 0) {
		if (f.tag == PROGRESS_UPDATE_TYPE)
			rc = message_decode_bool(&f, &out->forget, err);
		else if (f.tag == PROGRESS_UPDATE_NAME)
			rc = message_decode_text(&f, &out->name, err);
		else if (f.tag == PROGRESS_UPDATE_VERSION)
			rc = message_decode_nested(&f, &version, err);
		else if (f.tag == PROGRESS_UPDATE_BLOCK_SIZE)
			rc = message_decode_i32(&f, &out->block_size, err);
		if (rc < 0)
			return rc;
	}
	if (rc == 0)
		rc = message_decode_version(version, &out->version, arena, err);
	if (rc == 0 && out->version.count > LIMIT_COUNTERS)
		rc = err_set(err, ERR_LIMIT, "%u counters in a version",
		    out->version.count);
	if (rc == 0)
		rc = decode_update_blocks(body, out, left, arena, err);
	return rc;
}

static int
decode_progress(struct progress *out, struct slice body, struct arena *arena,
    struct err *err)
{
	uint32_t left = LIMIT_BLOCKS; /* in all updates together */
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	struct progress_update *update;
	uint32_t n = 0;
	int rc;

	rc = message_decode_count(body, PROGRESS_UPDATE, LIMIT_PROGRESS_UPDATES,
	    &out->update_count, err);
	if (rc < 0)
		return rc;
	update = arena_array(arena, out->update_count, sizeof(*update));
	out->update = update;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == PROGRESS_FOLDER)
			rc = message_decode_text(&f, &out->folder, err);
		if (rc >= 0 && f.tag == PROGRESS_UPDATE) {
			rc = message_decode_nested(&f, &nested, err);
			if (rc == 0)
				rc = decode_update(nested, &update[n++], &left,
				    arena, err);
		}
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int
decode_close(struct close_message *out, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == CLOSE_REASON)
			rc = message_decode_text(&f, &out->reason, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* No fields that we know, but protobuf it must be. */
static int
decode_ping(struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0)
		;
	return rc;
}

/* Two lists of one length become one list of ranges: in order, apart. */
static int
decode_chunk_ranges(struct chunks_request *out, struct slice body,
    struct arena *arena, struct err *err)
{
	struct numbers offset = { .tag = CHUNKS_REQUEST_OFFSET,
		.kind = MESSAGE_PB_VARINT,
		.max = LIMIT_CHUNK_RANGES };
	struct numbers len = { .tag = CHUNKS_REQUEST_LEN,
		.kind = MESSAGE_PB_VARINT,
		.max = LIMIT_CHUNK_RANGES };
	struct chunk_range *range;
	uint64_t end = 0;
	int rc;

	rc = decode_numbers(&offset, body, arena, err);
	if (rc == 0)
		rc = decode_numbers(&len, body, arena, err);
	if (rc < 0)
		return rc;
	if (offset.count != len.count)
		return err_set(err, ERR_PROTOCOL, "%u offsets of %u ranges",
		    offset.count, len.count);
	range = arena_array(arena, offset.count, sizeof(*range));
	for (uint32_t i = 0; i < offset.count; i++) {
		if (len.out[i] == 0 || len.out[i] > INT64_MAX ||
		    offset.out[i] < end ||
		    offset.out[i] > INT64_MAX - len.out[i])
			return err_set(err, ERR_PROTOCOL,
			    "ranges are not in order");
		range[i].offset = (int64_t)offset.out[i];
		range[i].len = (int64_t)len.out[i];
		end = offset.out[i] + len.out[i];
	}
	out->range = range;
	out->range_count = offset.count;
	return 0;
}

static int
decode_chunks_request(struct chunks_request *out, struct slice body,
    struct arena *arena, struct err *err)
{
	struct slice version = SLICE_EMPTY;
	struct slice rest = body;
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&rest, &f, err)) > 0) {
		if (f.tag == CHUNKS_REQUEST_ID)
			rc = message_decode_i32(&f, &out->id, err);
		else if (f.tag == CHUNKS_REQUEST_FOLDER)
			rc = message_decode_text(&f, &out->folder, err);
		else if (f.tag == CHUNKS_REQUEST_NAME)
			rc = message_decode_text(&f, &out->name, err);
		else if (f.tag == CHUNKS_REQUEST_VERSION)
			rc = message_decode_nested(&f, &version, err);
		if (rc < 0)
			return rc;
	}
	if (rc == 0)
		rc = message_decode_version(version, &out->version, arena, err);
	if (rc == 0 && out->version.count > LIMIT_COUNTERS)
		rc = err_set(err, ERR_LIMIT, "%u counters in a version",
		    out->version.count);
	return rc < 0 ? rc : decode_chunk_ranges(out, body, arena, err);
}

/* Two lists of one length become one list of chunks. */
static int
decode_chunk_lists(struct chunks *out, struct slice body, struct arena *arena,
    struct err *err)
{
	struct numbers len = { .tag = CHUNKS_LENGTH,
		.kind = MESSAGE_PB_VARINT,
		.max = LIMIT_BLOCKS };
	struct numbers hash = { .tag = CHUNKS_HASH,
		.kind = MESSAGE_PB_FIXED64,
		.max = LIMIT_BLOCKS };
	struct chunk *chunk;
	int rc;

	rc = decode_numbers(&len, body, arena, err);
	if (rc == 0)
		rc = decode_numbers(&hash, body, arena, err);
	if (rc < 0)
		return rc;
	if (len.count != hash.count)
		return err_set(err, ERR_PROTOCOL, "%u lengths of %u chunks",
		    len.count, hash.count);
	chunk = arena_array(arena, len.count, sizeof(*chunk));
	for (uint32_t i = 0; i < len.count; i++) {
		if (len.out[i] == 0 || len.out[i] > LIMIT_BLOCK_LEN_MAX)
			return err_set(err, ERR_PROTOCOL,
			    "a chunk of %llu bytes",
			    (unsigned long long)len.out[i]);
		chunk[i].len = (uint32_t)len.out[i];
		chunk[i].hash = hash.out[i];
	}
	out->chunk = chunk;
	out->count = len.count;
	return 0;
}

static int
decode_chunks(struct chunks *out, struct slice body, struct arena *arena,
    struct err *err)
{
	struct slice rest = body;
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&rest, &f, err)) > 0) {
		if (f.tag == CHUNKS_ID)
			rc = message_decode_i32(&f, &out->id, err);
		else if (f.tag == CHUNKS_CODE)
			rc = decode_code(&f, &out->code, err);
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? rc : decode_chunk_lists(out, body, arena, err);
}

static int
decode_echo_field(const struct message_pb_field *f, struct echo *out,
    struct err *err)
{
	switch (f->tag) {
	case ECHO_ID:
		return message_decode_u64(f, &out->id, err);
	case ECHO_REPLY:
		return message_decode_bool(f, &out->reply, err);
	case ECHO_REFUSED:
		return message_decode_bool(f, &out->refused, err);
	case ECHO_MORE:
		return message_decode_bool(f, &out->more, err);
	case ECHO_NAME:
		return message_decode_bytes(f, LIMIT_ECHO_TEXT, &out->name,
		    err);
	case ECHO_SEEN:
		return message_decode_bytes(f, LIMIT_ECHO_TEXT, &out->seen,
		    err);
	case ECHO_UPTIME:
		return message_decode_u64(f, &out->uptime_s, err);
	default:
		return 0;
	}
}

static int
decode_echo(struct echo *out, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		rc = decode_echo_field(&f, out, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int
decode_signal(struct signal *out, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == SIGNAL_BODY)
			rc = message_decode_bytes(&f, LIMIT_SIGNAL_LEN,
			    &out->body, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int
decode_members(struct members_message *out, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == MEMBERS_BODY)
			rc = message_decode_bytes(&f, LIMIT_MEMBERS_LEN,
			    &out->body, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* A number of 32 bits; a larger one is nothing that we could mean. */
static int
decode_forward_number(const struct message_pb_field *f, uint32_t *out,
    struct err *err)
{
	uint64_t value;
	const int rc = message_decode_u64(f, &value, err);

	if (rc < 0)
		return rc;
	if (value > UINT32_MAX)
		return err_set(err, ERR_LIMIT, "field %u is over 32 bits",
		    (unsigned)f->tag);
	*out = (uint32_t)value;
	return 0;
}

static int
decode_forward_field(const struct message_pb_field *f,
    struct forward_message *out, struct err *err)
{
	switch (f->tag) {
	case FORWARD_WORD:
		return decode_forward_number(f, &out->word, err);
	case FORWARD_CHANNEL:
		return message_decode_u64(f, &out->channel, err);
	case FORWARD_OWN:
		return message_decode_bool(f, &out->own, err);
	case FORWARD_PORT:
		return decode_forward_number(f, &out->port, err);
	case FORWARD_CREDIT:
		return decode_forward_number(f, &out->credit, err);
	case FORWARD_CODE:
		return decode_forward_number(f, &out->code, err);
	case FORWARD_DATA:
		return message_decode_bytes(f, LIMIT_FORWARD_DATA, &out->data,
		    err);
	default:
		return 0;
	}
}

static int
decode_forward(struct forward_message *out, struct slice body, struct err *err)
{
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		rc = decode_forward_field(&f, out, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int
decode_body(struct message *out, struct slice body, struct arena *arena,
    struct err *err)
{
	switch (out->type) {
	case MESSAGE_CLUSTER_CONFIG:
		return message_decode_config(&out->u.cluster_config, body,
		    arena, err);
	case MESSAGE_INDEX:
	case MESSAGE_INDEX_UPDATE:
		return message_decode_index(&out->u.index, body, arena, err);
	case MESSAGE_REQUEST:
		return decode_request(&out->u.request, body, err);
	case MESSAGE_RESPONSE:
		return decode_response(&out->u.response, body, err);
	case MESSAGE_PROGRESS:
		return decode_progress(&out->u.progress, body, arena, err);
	case MESSAGE_PING:
		return decode_ping(body, err);
	case MESSAGE_CLOSE:
		return decode_close(&out->u.close, body, err);
	case MESSAGE_CHUNKS_REQUEST:
		return decode_chunks_request(&out->u.chunks_request, body,
		    arena, err);
	case MESSAGE_CHUNKS:
		return decode_chunks(&out->u.chunks, body, arena, err);
	case MESSAGE_ECHO:
		return decode_echo(&out->u.echo, body, err);
	case MESSAGE_SIGNAL:
		return decode_signal(&out->u.signal, body, err);
	case MESSAGE_MEMBERS:
		return decode_members(&out->u.members, body, err);
	case MESSAGE_FORWARD:
		return decode_forward(&out->u.forward, body, err);
	case MESSAGE_UNKNOWN:
		break;
	}
	return 0;
}

/* The message a number on the wire stands for. */
static enum message_type
type_of(int32_t type)
{
	if (type >= MESSAGE_CLUSTER_CONFIG && type <= MESSAGE_CLOSE)
		return (enum message_type)type;
	if (type >= MESSAGE_CHUNKS_REQUEST && type <= MESSAGE_FORWARD)
		return (enum message_type)type;
	return MESSAGE_UNKNOWN;
}

int
message_decode(struct message *out, int32_t type, struct slice body,
    struct arena *arena, struct err *err)
{
	int rc;

	memset(out, 0, sizeof(*out));
	out->type = type_of(type);
	rc = decode_body(out, body, arena, err);
	if (rc < 0)
		err_wrap(err, "%s", message_name(out->type));
	return rc;
}
