/*
 * message: hostile and broken bytes.  Well-formed ones are in
 * test_message_golden.c.  RELIABILITY.md 4.A.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blockproto/message.h"
#include "engine/base/limits.h"
#include "engine/base/rng.h"

static const int32_t types[] = { MESSAGE_CLUSTER_CONFIG, MESSAGE_INDEX,
	MESSAGE_INDEX_UPDATE, MESSAGE_REQUEST, MESSAGE_RESPONSE,
	MESSAGE_PROGRESS, MESSAGE_PING, MESSAGE_CLOSE, MESSAGE_CHUNKS_REQUEST,
	MESSAGE_CHUNKS, MESSAGE_ECHO, MESSAGE_SIGNAL, MESSAGE_MEMBERS,
	MESSAGE_FORWARD };
#define TYPES (sizeof(types) / sizeof(types[0]))

/* Decode, and hold every answer to the contract. */
static int
decode(struct message *out, int32_t type, struct slice body,
    struct arena *arena)
{
	struct err err = { 0 };
	const int rc = message_decode(out, type, body, arena, &err);

	assert_true(rc == 0 || rc == ERR_PROTOCOL || rc == ERR_LIMIT);
	assert_int_equal(err.code, rc);
	return rc;
}

static int
verdict(int32_t type, const char *bytes, size_t len)
{
	struct arena arena = { 0 };
	struct message m;
	const int rc = decode(&m, type, slice_of(bytes, len), &arena);

	arena_fini(&arena);
	return rc;
}
#define VERDICT(type, lit) verdict((type), "" lit, sizeof(lit) - 1)

/* One length-delimited field. */
static void
put(struct buf *out, uint32_t tag, struct slice s)
{
	buf_put_varint(out, (uint64_t)tag << 3 | 2);
	buf_put_str(out, s);
}

static void
empty_bodies_are_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < TYPES; i++)
		assert_int_equal(verdict(types[i], "", 0), 0);
	for (int32_t type = 8; type < 3000; type++) {
		if (type < MESSAGE_CHUNKS_REQUEST || type > MESSAGE_FORWARD)
			assert_int_equal(verdict(type, "\xff", 1), 0);
	}
	assert_int_equal(verdict(-1, "\xff", 1), 0);
	assert_int_equal(verdict(INT32_MIN, "\xff", 1), 0);
}

static void
broken_protobuf_is_refused_everywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < TYPES; i++) {
		const int32_t t = types[i];

		assert_int_equal(VERDICT(t, "\xff"), ERR_PROTOCOL);
		assert_int_equal(VERDICT(t, "\x00\x01"), ERR_PROTOCOL);
		assert_int_equal(VERDICT(t, "\x0a\x05xx"), ERR_PROTOCOL);
		assert_int_equal(VERDICT(t, "\x0a\xff\xff\xff\xff\x0f"),
		    ERR_PROTOCOL);
		assert_int_equal(
		    VERDICT(t, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		    ERR_PROTOCOL);
		/* A varint of eleven bytes; groups; wire types 6 and 7. */
		assert_int_equal(
		    VERDICT(t,
			"\xf8\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		    ERR_PROTOCOL);
		assert_int_equal(VERDICT(t, "\xfb\x07\xfc\x07"), ERR_PROTOCOL);
		assert_int_equal(VERDICT(t, "\xfe\x07"), ERR_PROTOCOL);
		assert_int_equal(VERDICT(t, "\xff\x07"), ERR_PROTOCOL);
		/* Unknown fields of all kinds are skipped. */
		assert_int_equal(VERDICT(t, "\xf8\x7d\x01\xf9\x7d\1\2\3\4\5\6"
					    "\7\x08\xfa\x7d\2xx\xfd\x7d\1\2"
					    "\3\4"),
		    0);
	}
	assert_int_equal(VERDICT(MESSAGE_REQUEST, "\x0a\x01x"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_REQUEST, "\x10\x01"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_RESPONSE, "\x10\x01"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_CLOSE, "\x08\x01"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x10\x01"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_CLUSTER_CONFIG, "\x08\x01"),
	    ERR_PROTOCOL);
}

static void
text_must_be_utf8(void **state)
{
	(void)state;
	assert_int_equal(VERDICT(MESSAGE_CLOSE, "\x0a\x02\xc3\xa4"), 0);
	assert_int_equal(VERDICT(MESSAGE_CLOSE, "\x0a\x02\xc3\x28"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x0a\x01\xff"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x12\x03\x0a\x01\xff"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_REQUEST, "\x12\x01\xff"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_REQUEST, "\x1a\x01\xff"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_CLUSTER_CONFIG, "\x0a\x03\x0a\x01"
							 "\xff"),
	    ERR_PROTOCOL);
	/* A link's target is bytes, and so is an attribute's value. */
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x12\x04\x8a\x01\x01\xff"), 0);
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x12\x09\x72\x07\x1a\x05\x0a"
						"\x03\x12\x01\xff"),
	    0);
	/* Its name is text; so are the names of owners. */
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x12\x09\x72\x07\x1a\x05\x0a"
						"\x03\x0a\x01\xff"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x12\x07\x72\x05\x0a\x03\x12"
						"\x01\xff"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_INDEX, "\x12\x07\x72\x05\x12\x03\x0a"
						"\x01\xff"),
	    ERR_PROTOCOL);
}

static void
device_ids_have_32_bytes(void **state)
{
	static const uint8_t id[64] = { 1 };

	(void)state;
	for (size_t len = 0; len <= 64; len++) {
		struct buf device = { 0 }, folder = { 0 }, body = { 0 };

		put(&device, 1, slice_of(id, len));
		put(&folder, 16, buf_slice(&device));
		put(&body, 1, buf_slice(&folder));
		assert_int_equal(verdict(MESSAGE_CLUSTER_CONFIG,
				     (const char *)body.ptr, body.len),
		    len == 32 ? 0 : ERR_PROTOCOL);
		buf_fini(&device);
		buf_fini(&folder);
		buf_fini(&body);
	}
	/* No ID at all, and one of zeroes only. */
	assert_int_equal(VERDICT(MESSAGE_CLUSTER_CONFIG, "\x0a\x03\x82\x01"
							 "\x00"),
	    ERR_PROTOCOL);
}

/* `n` times one field with these bytes. */
static struct buf
many(uint32_t tag, struct slice s, size_t n)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < n; i++)
		put(&out, tag, s);
	return out;
}

/* The verdict on `n` fields, alone or inside fields `outer` and `outermost`. */
static int
bomb(int32_t type, uint32_t outermost, uint32_t outer, uint32_t tag, size_t n,
    struct slice s)
{
	struct arena arena = { 0 };
	struct buf in = many(tag, s, n), out = { 0 };
	struct message m;
	int rc;

	if (outer != 0) {
		put(&out, outer, buf_slice(&in));
		buf_fini(&in);
		in = out;
		out = (struct buf){ 0 };
	}
	if (outermost != 0) {
		put(&out, outermost, buf_slice(&in));
		buf_fini(&in);
		in = out;
		out = (struct buf){ 0 };
	}
	rc = decode(&m, type, buf_slice(&in), &arena);
	/* Nothing held that the bytes themselves do not account for. */
	assert_true(arena_held(&arena) <= 24 * MIB);
	arena_fini(&arena);
	buf_fini(&in);
	return rc;
}

static void
a_million_nested_objects_are_refused_by_count(void **state)
{
	const size_t million = 1000000;
	struct buf cc = { 0 }, device = { 0 };

	(void)state;
	assert_int_equal(bomb(MESSAGE_INDEX, 0, 0, 2, million, SLICE_EMPTY),
	    ERR_LIMIT);
	assert_int_equal(
	    bomb(MESSAGE_INDEX, 0, 0, 2, LIMIT_INDEX_FILES, SLICE_EMPTY), 0);
	assert_int_equal(
	    bomb(MESSAGE_INDEX, 0, 0, 2, LIMIT_INDEX_FILES + 1, SLICE_EMPTY),
	    ERR_LIMIT);
	assert_int_equal(
	    bomb(MESSAGE_CLUSTER_CONFIG, 0, 0, 1, million, SLICE_EMPTY),
	    ERR_LIMIT);
	assert_int_equal(
	    bomb(MESSAGE_CLUSTER_CONFIG, 0, 1, 16, million, SLICE_EMPTY),
	    ERR_LIMIT);
	put(&device, 1, SLICE_LIT("12345678901234567890123456789012"));
	for (size_t i = 0; i < 65; i++)
		put(&device, 3, SLICE_LIT("dynamic"));
	assert_int_equal(
	    bomb(MESSAGE_CLUSTER_CONFIG, 0, 1, 16, 1, buf_slice(&device)),
	    ERR_LIMIT);
	buf_fini(&device);
	assert_int_equal(bomb(MESSAGE_PROGRESS, 0, 0, 2, million, SLICE_EMPTY),
	    ERR_LIMIT);
	/* Many folders, each with as many devices as one may have. */
	put(&device, 1, SLICE_LIT("12345678901234567890123456789012"));
	cc = many(16, buf_slice(&device), LIMIT_CC_DEVICES);
	assert_int_equal(
	    bomb(MESSAGE_CLUSTER_CONFIG, 0, 0, 1, 64, buf_slice(&cc)), 0);
	assert_int_equal(
	    bomb(MESSAGE_CLUSTER_CONFIG, 0, 0, 1, 65, buf_slice(&cc)),
	    ERR_LIMIT);
	buf_fini(&cc);
	buf_fini(&device);
}

static void
too_much_in_one_entry_refuses_that_entry(void **state)
{
	struct arena arena = { 0 };
	struct buf counters = many(1, SLICE_LIT("\x08\x01\x10\x01"), 1000000);
	struct buf blocks = many(16, SLICE_EMPTY, LIMIT_BLOCKS + 1);
	struct buf body = { 0 }, entry = { 0 };
	struct message m;

	(void)state;
	put(&entry, 1, SLICE_LIT("a"));
	put(&entry, 9, buf_slice(&counters));
	put(&body, 2, buf_slice(&entry));
	buf_clear(&entry);
	put(&entry, 1, SLICE_LIT("b"));
	buf_put(&entry, buf_slice(&blocks));
	put(&body, 2, buf_slice(&entry));
	put(&body, 2, SLICE_LIT("\x0a\x01\x63\x10\x01"));
	assert_int_equal(decode(&m, MESSAGE_INDEX, buf_slice(&body), &arena),
	    0);
	assert_int_equal(m.u.index.entry_count, 3);
	assert_int_equal(m.u.index.entry[0].version.count, 1000000);
	assert_null(m.u.index.entry[0].version.counter);
	assert_int_equal(m.u.index.entry[1].block_count, LIMIT_BLOCKS + 1);
	assert_null(m.u.index.entry[1].block);
	assert_int_equal(entry_check(&m.u.index.entry[1], NULL), ERR_INVALID);
	assert_int_equal(entry_check(&m.u.index.entry[2], NULL), 0);
	assert_true(arena_held(&arena) <= MIB);
	buf_fini(&counters);
	buf_fini(&blocks);
	buf_fini(&body);
	buf_fini(&entry);
	arena_fini(&arena);
}

static void
numbers_are_limited_packed_or_not(void **state)
{
	struct arena arena = { 0 };
	struct buf packed = { 0 }, update = { 0 }, body = { 0 };
	struct message m;

	(void)state;
	memset(buf_extend(&packed, LIMIT_BLOCKS), 1, LIMIT_BLOCKS);
	put(&update, 4, buf_slice(&packed));
	put(&body, 2, buf_slice(&update));
	assert_int_equal(decode(&m, MESSAGE_PROGRESS, buf_slice(&body), &arena),
	    0);
	assert_int_equal(m.u.progress.update[0].block_count, LIMIT_BLOCKS);
	/* One more, in an update of its own, is too many. */
	put(&body, 2, SLICE_LIT("\x20\x01"));
	assert_int_equal(decode(&m, MESSAGE_PROGRESS, buf_slice(&body), &arena),
	    ERR_LIMIT);
	/* A packed number that is cut. */
	assert_int_equal(VERDICT(MESSAGE_PROGRESS, "\x12\x03\x22\x01\x80"),
	    ERR_PROTOCOL);
	/* Lengths without hashes, of nothing, of too much, cut hashes. */
	assert_int_equal(VERDICT(MESSAGE_CHUNKS, "\x1a\x01\x05"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_CHUNKS, "\x18\x05\x21"
						 "12345678"),
	    0);
	assert_int_equal(VERDICT(MESSAGE_CHUNKS, "\x18\x00\x21"
						 "12345678"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_CHUNKS, "\x18\x81\x80\x80\x08\x21"
						 "12345678"),
	    ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_CHUNKS, "\x18\x05\x22\x07"
						 "1234567"),
	    ERR_PROTOCOL);
	buf_fini(&packed);
	buf_fini(&update);
	buf_fini(&body);
	arena_fini(&arena);
}

static void
ranges_are_in_order_and_apart(void **state)
{
	struct arena arena = { 0 };
	struct buf offset = { 0 }, len = { 0 }, body = { 0 };
	struct message m;

	(void)state;
	/* Offsets without lengths; of nothing; over one another; backwards. */
	assert_int_equal(VERDICT(MESSAGE_CHUNKS_REQUEST, "\x2a\x01\x05"),
	    ERR_PROTOCOL);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST, "\x2a\x02\x05\x06\x32\x01\x01"),
	    ERR_PROTOCOL);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST, "\x2a\x01\x05\x32\x01\x00"),
	    ERR_PROTOCOL);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST, "\x2a\x02\x05\x06\x32\x02\x01\x01"),
	    0);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST, "\x2a\x02\x05\x06\x32\x02\x02\x01"),
	    ERR_PROTOCOL);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST, "\x2a\x02\x06\x05\x32\x02\x01\x01"),
	    ERR_PROTOCOL);
	/* Up to 2^63 - 1, not one byte further; negative offset or length. */
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST,
		"\x28\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x30\x01"),
	    0);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST,
		"\x28\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x30\x01"),
	    ERR_PROTOCOL);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST,
		"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x30\x01"),
	    ERR_PROTOCOL);
	assert_int_equal(
	    VERDICT(MESSAGE_CHUNKS_REQUEST,
		"\x28\x01\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
	    ERR_PROTOCOL);
	/* As many as are allowed, and one more. */
	for (uint32_t i = 0; i < LIMIT_CHUNK_RANGES; i++) {
		buf_put_varint(&offset, 2 * i);
		buf_put_varint(&len, 1);
	}
	put(&body, 5, buf_slice(&offset));
	put(&body, 6, buf_slice(&len));
	assert_int_equal(
	    decode(&m, MESSAGE_CHUNKS_REQUEST, buf_slice(&body), &arena), 0);
	assert_int_equal(m.u.chunks_request.range_count, LIMIT_CHUNK_RANGES);
	assert_int_equal(m.u.chunks_request.range[9].offset, 18);
	put(&body, 5, SLICE_LIT("\xff\xff\x7f"));
	put(&body, 6, SLICE_LIT("\x01"));
	assert_int_equal(
	    decode(&m, MESSAGE_CHUNKS_REQUEST, buf_slice(&body), &arena),
	    ERR_LIMIT);
	buf_fini(&offset);
	buf_fini(&len);
	buf_fini(&body);
	arena_fini(&arena);
}

static void
long_strings_are_refused(void **state)
{
	static uint8_t text[LIMIT_STRING_LEN + 1];
	struct arena arena = { 0 };
	struct buf body = { 0 };
	struct message m;

	(void)state;
	memset(text, 'a', sizeof(text));
	put(&body, 1, slice_of(text, LIMIT_STRING_LEN));
	assert_int_equal(decode(&m, MESSAGE_CLOSE, buf_slice(&body), &arena),
	    0);
	buf_clear(&body);
	put(&body, 1, slice_of(text, LIMIT_STRING_LEN + 1));
	assert_int_equal(decode(&m, MESSAGE_CLOSE, buf_slice(&body), &arena),
	    ERR_LIMIT);
	buf_fini(&body);
	arena_fini(&arena);
}

static void
response_data_is_never_copied(void **state)
{
	struct arena arena = { 0 };
	struct buf body = { 0 };
	struct response r = { .id = 5 };
	struct message m;
	size_t prefix;

	(void)state;
	r.data = slice_of(&types, sizeof(types));
	message_response_prefix(&r, &body);
	prefix = body.len;
	buf_put(&body, r.data);
	assert_int_equal(decode(&m, MESSAGE_RESPONSE, buf_slice(&body), &arena),
	    0);
	assert_ptr_equal(m.u.response.data.ptr, body.ptr + prefix);
	assert_int_equal(m.u.response.data.len, sizeof(types));
	assert_int_equal(arena_held(&arena), 0);
	/* A code nobody knows is still a refusal. */
	assert_int_equal(
	    decode(&m, MESSAGE_RESPONSE, SLICE_LIT("\x18\x63"), &arena), 0);
	assert_int_equal(m.u.response.code, RESPONSE_GENERIC);
	buf_fini(&body);
	arena_fini(&arena);
}

static void
hashes_of_requests_are_whole_or_absent(void **state)
{
	(void)state;
	assert_int_equal(VERDICT(MESSAGE_REQUEST, "\x32\x00"), 0);
	assert_int_equal(VERDICT(MESSAGE_REQUEST, "\x32\x01x"), ERR_PROTOCOL);
	assert_int_equal(VERDICT(MESSAGE_REQUEST,
			     "\x32\x20"
			     "12345678901234567890123456789012"),
	    0);
	assert_int_equal(VERDICT(MESSAGE_REQUEST,
			     "\x32\x21"
			     "123456789012345678901234567890123"),
	    ERR_PROTOCOL);
}

/* A valid message of each kind, to be damaged. */
static void
put_sample(struct buf *out, int32_t type)
{
	static const struct counter c[] = { { 1, 2 }, { 3, UINT64_MAX } };
	static const int32_t block[] = { 0, 300 };
	static const struct chunk chunk[] = { { 65536, 7 }, { 1, 8 } };
	static const struct chunk_range range[] = { { 0, 300 }, { 300, 1 } };
	static const struct slice address[] = { { (const uint8_t *)"dynamic",
	    7 } };
	static struct digest hash[2];
	const struct version v = { c, 2 };
	const struct entry entry[] = { { .name = SLICE_LIT("a"),
					   .size = 131073,
					   .perms = 0644,
					   .mtime_s = -5,
					   .version = v,
					   .block_size = 131072,
					   .block_count = 2,
					   .block = hash,
					   .platform =
					       SLICE_LIT("\x0a\x03\x0a\x01u") },
		{ .name = SLICE_LIT("l"),
		    .type = ENTRY_LINK,
		    .link_target = SLICE_LIT("t") } };
	const struct progress_update update = { .name = SLICE_LIT("a"),
		.version = v,
		.block = block,
		.block_count = 2 };
	const struct cc_device device = { .id = { { 1 } },
		.address = address,
		.address_count = 1,
		.index_id = 9 };
	const struct cc_folder folder = { .id = SLICE_LIT("f"),
		.device = &device,
		.device_count = 1 };
	struct message m = { .type = (enum message_type)type };

	memset(hash, 5, sizeof(hash));
	if (type == MESSAGE_CLUSTER_CONFIG)
		m.u.cluster_config =
		    (struct cluster_config){ &folder, 1, false };
	else if (type == MESSAGE_INDEX || type == MESSAGE_INDEX_UPDATE)
		m.u.index =
		    (struct index_message){ SLICE_LIT("f"), entry, 2, 7, 6 };
	else if (type == MESSAGE_REQUEST)
		m.u.request = (struct request){ .id = 1,
			.folder = SLICE_LIT("f"),
			.hash = slice_of(hash, DIGEST_LEN) };
	else if (type == MESSAGE_PROGRESS)
		m.u.progress = (struct progress){ SLICE_LIT("f"), &update, 1 };
	else if (type == MESSAGE_CLOSE)
		m.u.close.reason = SLICE_LIT("because");
	else if (type == MESSAGE_CHUNKS_REQUEST)
		m.u.chunks_request = (struct chunks_request){ 1, SLICE_LIT("f"),
			SLICE_LIT("a"), v, range, 2 };
	else if (type == MESSAGE_CHUNKS)
		m.u.chunks = (struct chunks){ 1, RESPONSE_OK, chunk, 2 };
	else if (type == MESSAGE_ECHO)
		m.u.echo = (struct echo){ .id = UINT64_MAX,
			.reply = true,
			.name = SLICE_LIT("b") };
	else if (type == MESSAGE_SIGNAL)
		m.u.signal.body = SLICE_LIT("over here");
	else if (type == MESSAGE_MEMBERS)
		m.u.members.body = SLICE_LIT("who is one");
	else if (type == MESSAGE_FORWARD)
		m.u.forward =
		    (struct forward_message){ .word = FORWARD_WORD_DATA,
			    .channel = 7,
			    .own = true,
			    .data = SLICE_LIT("hello") };
	message_encode(&m, out);
}

static void
every_cut_and_every_flipped_bit_is_survived(void **state)
{
	struct arena arena = { 0 };
	struct buf body = { 0 };
	struct message m;

	(void)state;
	for (size_t i = 0; i < TYPES; i++) {
		buf_clear(&body);
		put_sample(&body, types[i]);
		assert_int_equal(decode(&m, types[i], buf_slice(&body), &arena),
		    0);
		for (size_t cut = 0; cut < body.len; cut++) {
			arena_clear(&arena);
			(void)decode(&m, types[i], slice_of(body.ptr, cut),
			    &arena);
		}
		for (size_t bit = 0; bit < body.len * 8; bit++) {
			arena_clear(&arena);
			body.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
			(void)decode(&m, types[i], buf_slice(&body), &arena);
			body.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
	buf_fini(&body);
	arena_fini(&arena);
}

static void
random_bytes_are_survived(void **state)
{
	struct arena arena = { 0 };
	struct rng rng;
	uint8_t raw[64];
	struct message m;
	struct hello h;
	int32_t type, compression;

	(void)state;
	rng_init(&rng, 0x5eed);
	for (unsigned n = 0; n < 200000; n++) {
		const size_t len = (size_t)rng_below(&rng, sizeof(raw));

		for (size_t i = 0; i < len; i++) {
			/* Mostly small numbers: they get further. */
			raw[i] = (uint8_t)rng_u64(&rng);
			if (rng_below(&rng, 4) > 0)
				raw[i] &= 0x1f;
		}
		arena_clear(&arena);
		(void)decode(&m, types[n % TYPES], slice_of(raw, len), &arena);
		(void)message_hello_decode(&h, slice_of(raw, len), &arena,
		    NULL);
		(void)message_header_decode(&type, &compression,
		    slice_of(raw, len), NULL);
	}
	arena_fini(&arena);
}

static void
types_have_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < TYPES; i++)
		assert_string_not_equal(
		    message_name((enum message_type)types[i]), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_bodies_are_messages),
		cmocka_unit_test(broken_protobuf_is_refused_everywhere),
		cmocka_unit_test(text_must_be_utf8),
		cmocka_unit_test(device_ids_have_32_bytes),
		cmocka_unit_test(a_million_nested_objects_are_refused_by_count),
		cmocka_unit_test(too_much_in_one_entry_refuses_that_entry),
		cmocka_unit_test(numbers_are_limited_packed_or_not),
		cmocka_unit_test(ranges_are_in_order_and_apart),
		cmocka_unit_test(long_strings_are_refused),
		cmocka_unit_test(response_data_is_never_copied),
		cmocka_unit_test(hashes_of_requests_are_whole_or_absent),
		cmocka_unit_test(every_cut_and_every_flipped_bit_is_survived),
		cmocka_unit_test(random_bytes_are_survived),
		cmocka_unit_test(types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
