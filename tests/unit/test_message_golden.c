/*
 * message and frame: whole frames as they stand on the wire.
 *
 * golden/make.py made the bytes; here are the same values in C.  Every frame
 * we write is compared byte for byte, every frame at all is read back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blockproto/blocks.h"
#include "blockproto/compress.h"
#include "blockproto/frame.h"
#include "blockproto/message.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define SHORT_A UINT64_C(0x0001020304050607)
#define SHORT_B UINT64_C(0xe3b0c44298fc1c14)

/* What golden/make.py calls by the same names. */
static struct devid id_a, id_b;
static struct digest hello_world, zero_128k, zero_1;
static struct digest of_hello, of_empty, of_two;
static const struct counter a1[] = { { SHORT_A, 1 } };
static const struct counter a2[] = { { SHORT_A, 2 } };
static const struct counter a7[] = { { SHORT_A, 7 } };
static const struct counter a9[] = { { SHORT_A, 9 } };
static const struct counter a3b[] = { { SHORT_A, 3 }, { SHORT_B, 1700000000 } };

static int
golden_setup(void **state)
{
	uint8_t *zero = mem_zalloc(131072);
	struct digest two[2];

	(void)state;
	for (unsigned i = 0; i < DEVID_LEN; i++)
		id_a.b[i] = (uint8_t)i;
	memcpy(id_b.b, blocks_empty_hash.b, DEVID_LEN);
	digest_of(SLICE_LIT("hello world\n"), &hello_world);
	digest_of(slice_of(zero, 131072), &zero_128k);
	digest_of(slice_of(zero, 1), &zero_1);
	mem_free(zero);
	two[0] = zero_128k;
	two[1] = zero_1;
	blocks_digest(&hello_world, 1, &of_hello);
	blocks_digest(&blocks_empty_hash, 1, &of_empty);
	blocks_digest(two, 2, &of_two);
	return 0;
}

/* The bytes of golden/NAME.hex. */
static struct slice
golden(const char *name, struct arena *arena)
{
	char *path =
	    arena_printf(arena, SOURCE_TESTS "/unit/golden/%s.hex", name);
	FILE *file = fopen(path, "r");
	struct buf out = { 0 };
	struct slice all;
	unsigned byte;

	assert_non_null(file);
	while (fscanf(file, "%2x", &byte) == 1)
		buf_put_u8(&out, (uint8_t)byte);
	fclose(file);
	all = arena_dup(arena, buf_slice(&out));
	buf_fini(&out);
	return all;
}

/* The frame of a message as a session sends it. */
static void
put_frame(struct buf *out, const struct message *m)
{
	const bool data = m->type == MESSAGE_RESPONSE;
	struct buf body = { 0 };

	message_encode(m, &body);
	if (data)
		buf_put(&body, m->u.response.data);
	frame_put_header(out, (int32_t)m->type, COMPRESS_NONE, body.len);
	buf_put(out, buf_slice(&body));
	buf_fini(&body);
}

static void
same_bytes(struct slice a, struct slice b)
{
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.ptr, b.ptr, a.len);
}

/* One frame of a stream; its body lives in `arena`. */
static struct frame
read_frame(struct slice raw, bool hello, struct arena *arena)
{
	struct frame_reader fr;
	struct frame frame = { 0 };
	struct err err = { 0 };
	int rc = 0;

	frame_reader_init(&fr, hello);
	while (rc == 0) {
		size_t room;
		uint8_t *space = frame_reader_space(&fr, &room);

		assert_non_null(space);
		assert_true(raw.len > 0);
		room = room < raw.len ? room : raw.len;
		memcpy(space, raw.ptr, room);
		raw = slice_from(raw, room);
		rc = frame_reader_add(&fr, room, &frame, &err);
	}
	assert_int_equal(rc, 1);
	assert_int_equal(raw.len, 0);
	frame_reader_fini(&fr);
	if (frame.len > 0) {
		void *owned = frame.body;

		frame.body = (uint8_t *)arena_alloc(arena, frame.len);
		memcpy(frame.body, owned, frame.len);
		mem_free(owned);
	}
	return frame;
}

static struct message
read_message(const char *name, struct arena *arena)
{
	const struct frame frame =
	    read_frame(golden(name, arena), false, arena);
	struct message m;
	struct err err = { 0 };
	struct buf plain = { 0 };
	struct slice body;

	assert_int_equal(compress_undo((enum compress_kind)frame.compression,
			     slice_of(frame.body, frame.len), LIMIT_FRAME_LEN,
			     &plain, &err),
	    0);
	body = arena_dup(arena, buf_slice(&plain));
	buf_fini(&plain);
	assert_int_equal(message_decode(&m, frame.type, body, arena, &err), 0);
	return m;
}

/* `m` gives the golden bytes, and they give a message that does so again. */
static void
expect(const char *name, const struct message *m)
{
	struct arena arena = { 0 };
	struct buf out = { 0 };
	struct slice want = golden(name, &arena);
	struct message back;

	put_frame(&out, m);
	same_bytes(buf_slice(&out), want);
	back = read_message(name, &arena);
	assert_int_equal(back.type, m->type);
	buf_clear(&out);
	put_frame(&out, &back);
	same_bytes(buf_slice(&out), want);
	buf_fini(&out);
	arena_fini(&arena);
}

static void
expect_hello(const char *name, const struct hello *h)
{
	struct arena arena = { 0 };
	struct buf out = { 0 }, body = { 0 };
	struct slice want = golden(name, &arena);
	struct frame frame;
	struct hello back;

	message_hello_encode(h, &body);
	frame_put_hello(&out, buf_slice(&body));
	same_bytes(buf_slice(&out), want);
	frame = read_frame(want, true, &arena);
	assert_int_equal(frame.kind, FRAME_HELLO);
	assert_int_equal(message_hello_decode(&back,
			     slice_of(frame.body, frame.len), &arena, NULL),
	    0);
	same_bytes(back.device_name, h->device_name);
	same_bytes(back.client_name, h->client_name);
	same_bytes(back.client_version, h->client_version);
	assert_int_equal(back.num_connections, h->num_connections);
	assert_true(back.timestamp == h->timestamp);
	assert_int_equal(back.features, h->features);
	buf_fini(&out);
	buf_fini(&body);
	arena_fini(&arena);
}

static void
hello_of_both_kinds(void **state)
{
	struct hello h = { 0 };

	(void)state;
	expect_hello("hello_empty", &h);
	h.device_name = SLICE_LIT("laptop");
	h.client_name = SLICE_LIT("syncthing");
	h.client_version = SLICE_LIT("v1.19.2");
	h.num_connections = 1;
	h.timestamp = INT64_C(1700000000123456789);
	expect_hello("hello", &h);
	h.device_name = SLICE_LIT("hub");
	h.client_name = SLICE_LIT("holdfast");
	h.client_version = SLICE_LIT("v0.1.0");
	h.features = FEATURE_ZSTD | FEATURE_CHUNKS;
	expect_hello("hello_holdfast", &h);
}

static void
hello_with_another_extension_is_no_holdfast(void **state)
{
	struct arena arena = { 0 };
	const struct frame frame = read_frame(
	    golden("odd_hello_other_extension", &arena), true, &arena);
	struct hello h;

	(void)state;
	assert_int_equal(message_hello_decode(&h,
			     slice_of(frame.body, frame.len), &arena, NULL),
	    0);
	assert_int_equal(h.features, 0);
	same_bytes(h.client_version, SLICE_LIT("v1.19.2"));
	arena_fini(&arena);
}

static void
cluster_config_with_all_its_fields(void **state)
{
	const struct slice address[] = { SLICE_LIT("tcp://192.0.2.1:22000"),
		SLICE_LIT("dynamic") };
	struct cc_device device[2] = { 0 }, alone = { 0 };
	struct cc_folder folder[2] = { 0 };
	struct message m = { .type = MESSAGE_CLUSTER_CONFIG };

	(void)state;
	expect("cluster_config_empty", &m);
	m.u.cluster_config.secondary = true;
	expect("cluster_config_secondary", &m);
	device[0].id = alone.id = id_a;
	device[0].name = SLICE_LIT("laptop");
	device[0].address = address;
	device[0].address_count = 2;
	device[0].cert_name = SLICE_LIT("syncthing");
	device[0].max_sequence = 1234567;
	device[0].index_id = UINT64_C(0x8000000000000001);
	device[1].id = id_b;
	device[1].name = SLICE_LIT("phone");
	device[1].compression = COMPRESSION_ALWAYS;
	device[1].introducer = true;
	device[1].skip_introduction_removals = true;
	device[1].encryption_password_token = slice_of("\1\377\0token", 8);
	folder[0].id = SLICE_LIT("default");
	folder[0].label = SLICE_LIT("Default Folder");
	folder[0].device = device;
	folder[0].device_count = 2;
	folder[1].id = SLICE_LIT("paused");
	folder[1].type = 2;
	folder[1].paused = true;
	folder[1].device = &alone;
	folder[1].device_count = 1;
	m.u.cluster_config =
	    (struct cluster_config){ .folder = folder, .folder_count = 2 };
	expect("cluster_config", &m);
}

/* The six kinds of item in golden/make.py's INDEX. */
static void
fill_index(struct entry e[6])
{
	memset(e, 0, 6 * sizeof(*e));
	for (unsigned i = 0; i < 6; i++) {
		e[i].modified_by = SHORT_A;
		e[i].sequence = i + 1;
		e[i].mtime_s = 1600000000 + (i == 4) * 2 + (i == 5) * 3;
		e[i].version =
		    (struct version){ i == 3 || i == 4 ? a2 : a1, 1 };
	}
	e[0].name = SLICE_LIT("docs");
	e[0].type = ENTRY_DIR;
	e[0].perms = 0755;
	e[0].mtime_ns = 5;
	e[1].name = SLICE_LIT("docs/hello.txt");
	e[1].size = 12;
	e[1].perms = 0100644; /* only the low nine bits are sent */
	e[1].mtime_s++;
	e[1].mtime_ns = 999999999;
	e[1].version = (struct version){ a3b, 2 };
	e[1].modified_by = SHORT_B;
	e[1].block_size = 131072;
	e[1].block_count = 1;
	e[1].block = &hello_world;
	e[1].blocks_hash = of_hello;
	e[2].name = SLICE_LIT("empty");
	e[2].perms = 0600;
	e[2].mtime_s = -1;
	e[2].block_size = 131072;
	e[2].block_count = 1;
	e[2].block = &blocks_empty_hash;
	e[2].blocks_hash = of_empty;
	e[3].name = SLICE_LIT("link");
	e[3].type = ENTRY_LINK;
	e[3].mtime_s = 0;
	e[3].perms = 0777; /* a symlink sends none */
	e[3].size = 99;    /* nor a size */
	e[3].link_target = SLICE_LIT("../t\377rget");
	e[4].name = SLICE_LIT("gone");
	e[4].deleted = true;
	e[4].perms = 0644;
	e[4].size = 7; /* a tombstone sends none */
	e[5].name = SLICE_LIT("unserved");
	e[5].invalid = true;
	e[5].no_perms = true;
	e[5].version = (struct version){ a7, 1 };
	e[5].sequence = 900;
}

static void
index_of_every_kind_of_item(void **state)
{
	struct entry e[6];
	struct message m = { .type = MESSAGE_INDEX };

	(void)state;
	fill_index(e);
	m.u.index.folder = SLICE_LIT("default");
	expect("index_empty", &m);
	m.u.index.entry = e;
	m.u.index.entry_count = 6;
	m.u.index.last_sequence = 900;
	/* Only updates have it. */
	m.u.index.prev_sequence = 899;
	expect("index", &m);
}

static void
index_update_with_offsets_and_platform(void **state)
{
	struct digest two[2];
	struct entry e = { 0 };
	struct message m = { .type = MESSAGE_INDEX_UPDATE };

	(void)state;
	two[0] = zero_128k;
	two[1] = zero_1;
	e.name = SLICE_LIT("two");
	e.size = 131073;
	e.perms = 0644;
	e.mtime_s = 1600000004;
	e.version = (struct version){ a9, 1 };
	e.sequence = 901;
	e.modified_by = SHORT_A;
	e.block_size = 131072;
	e.block_count = 2;
	e.block = two;
	e.blocks_hash = of_two;
	e.previous_blocks_hash = of_hello;
	e.platform = SLICE_LIT("\x0a\x0c\x0a\x04user\x18\xe8\x07\x20\xe8\x07");
	m.u.index.folder = SLICE_LIT("default");
	m.u.index.entry = &e;
	m.u.index.entry_count = 1;
	m.u.index.last_sequence = 901;
	m.u.index.prev_sequence = 900;
	expect("index_update", &m);
}

static void
requests_and_responses(void **state)
{
	struct message m = { .type = MESSAGE_REQUEST };

	(void)state;
	m.u.request.folder = SLICE_LIT("default");
	m.u.request.name = SLICE_LIT("docs/hello.txt");
	m.u.request.size = 12;
	m.u.request.hash = slice_of(hello_world.b, DIGEST_LEN);
	expect("request_first", &m);
	m.u.request.id = 7;
	m.u.request.name = SLICE_LIT("two");
	m.u.request.offset = 131072;
	m.u.request.size = 1;
	m.u.request.hash = slice_of(zero_1.b, DIGEST_LEN);
	m.u.request.from_temporary = true;
	m.u.request.block_no = 1;
	expect("request", &m);
	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_RESPONSE;
	m.u.response.id = 7;
	m.u.response.data = slice_of("", 1);
	expect("response", &m);
	m.u.response.id = -1;
	m.u.response.data = SLICE_EMPTY;
	m.u.response.code = RESPONSE_NO_SUCH_FILE;
	expect("response_refused", &m);
}

static void
progress_ping_close(void **state)
{
	static const int32_t block[] = { 0, 300 };
	struct progress_update update[2] = { 0 };
	struct message m = { .type = MESSAGE_PING };

	(void)state;
	expect("ping", &m);
	m.type = MESSAGE_CLOSE;
	m.u.close.reason = SLICE_LIT("bye");
	expect("close", &m);
	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_PROGRESS;
	update[0].name = SLICE_LIT("two");
	update[0].version = (struct version){ a9, 1 };
	update[0].block = block;
	update[0].block_count = 2;
	update[0].block_size = 131072;
	update[1].forget = true;
	update[1].name = SLICE_LIT("gone");
	m.u.progress.folder = SLICE_LIT("default");
	m.u.progress.update = update;
	m.u.progress.update_count = 2;
	expect("progress", &m);
}

static void
chunk_maps(void **state)
{
	static const struct chunk chunk[] = {
		{ 65536, UINT64_C(0x0102030405060708) }, { 16384, 0 },
		{ 1, UINT64_MAX }
	};
	static const struct chunk_range range[] = { { 0, 131072 },
		{ INT64_C(1) << 33, 1 } };
	struct message m = { .type = MESSAGE_CHUNKS_REQUEST };

	(void)state;
	m.u.chunks_request.id = 3;
	m.u.chunks_request.folder = SLICE_LIT("default");
	m.u.chunks_request.name = SLICE_LIT("two");
	m.u.chunks_request.version = (struct version){ a9, 1 };
	expect("chunks_request", &m);
	m.u.chunks_request.id = 4;
	m.u.chunks_request.range = range;
	m.u.chunks_request.range_count = 2;
	expect("chunks_request_ranges", &m);
	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_CHUNKS;
	m.u.chunks.id = 3;
	m.u.chunks.code = RESPONSE_GENERIC;
	expect("chunks_refused", &m);
	m.u.chunks.code = RESPONSE_OK;
	m.u.chunks.chunk = chunk;
	m.u.chunks.count = 3;
	expect("chunks", &m);
	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_SIGNAL;
	m.u.signal.body = SLICE_LIT("over here");
	expect("signal", &m);
	memset(&m, 0, sizeof(m));
	m.type = MESSAGE_MEMBERS;
	m.u.members.body = SLICE_LIT("who is one");
	expect("members", &m);
}

static void
carried_connections(void **state)
{
	struct message m = { .type = MESSAGE_FORWARD };

	(void)state;
	m.u.forward = (struct forward_message){ .word = FORWARD_WORD_OPEN,
		.channel = 1,
		.own = true,
		.port = 22,
		.credit = 262144 };
	expect("forward_open", &m);
	m.u.forward = (struct forward_message){ .word = FORWARD_WORD_ACCEPT,
		.channel = 1,
		.credit = 262144 };
	expect("forward_accept", &m);
	m.u.forward = (struct forward_message){ .word = FORWARD_WORD_DATA,
		.channel = UINT64_C(0xfedcba9876543210),
		.own = true,
		.data = SLICE_LIT("SSH-2.0\r\n") };
	expect("forward_data", &m);
	m.u.forward = (struct forward_message){ .word = FORWARD_WORD_CREDIT,
		.channel = 1,
		.credit = UINT32_MAX };
	expect("forward_credit", &m);
	m.u.forward = (struct forward_message){ .word = FORWARD_WORD_END,
		.channel = 1,
		.own = true };
	expect("forward_end", &m);
	m.u.forward = (struct forward_message){ .word = FORWARD_WORD_RESET,
		.channel = 1,
		.code = 2 };
	expect("forward_reset", &m);
}

static void
echoes(void **state)
{
	struct message m = { .type = MESSAGE_ECHO };

	(void)state;
	m.u.echo.id = UINT64_C(0xfedcba9876543210);
	expect("echo", &m);
	m.u.echo.reply = true;
	expect("echo_reply", &m);
	m.u.echo = (struct echo){ .id = 5, .more = true };
	expect("echo_more", &m);
	m.u.echo = (struct echo){ .id = 5,
		.reply = true,
		.name = SLICE_LIT("laptop"),
		.seen = SLICE_LIT("192.0.2.7:22000"),
		.uptime_s = 3600 };
	expect("echo_facts", &m);
	m.u.echo = (struct echo){ .id = 5, .reply = true, .refused = true };
	expect("echo_refused", &m);
}

static void
old_peers_are_understood(void **state)
{
	struct arena arena = { 0 };
	struct message m = read_message("old_index", &arena);
	const struct entry *e = m.u.index.entry;

	(void)state;
	assert_int_equal(m.u.index.entry_count, 3);
	same_bytes(e[0].name, SLICE_LIT("old.txt"));
	assert_int_equal(e[0].block_count, 1);
	assert_true(digest_equal(e[0].block, &hello_world));
	for (uint32_t i = 0; i < 3; i++) {
		struct entry copy = e[i];

		assert_int_equal(entry_check(&copy, NULL), 0);
		entry_normalise(&copy, &arena);
		assert_int_equal(copy.size, i == 0 ? 12 : 0);
		/* The pre-2.0 value is replaced by that of today. */
		if (i == 0)
			assert_true(digest_equal(&copy.blocks_hash, &of_hello));
		if (i == 1)
			assert_true(copy.no_perms);
	}
	assert_int_equal(e[1].type, ENTRY_LINK);
	same_bytes(e[1].link_target, SLICE_LIT("target"));
	assert_int_equal(e[2].size, 128);
	arena_fini(&arena);
}

static void
odd_items_are_refused_one_by_one(void **state)
{
	struct arena arena = { 0 };
	struct message m = read_message("odd_index", &arena);
	struct entry odd = m.u.index.entry[0];

	(void)state;
	assert_int_equal(m.u.index.entry_count, 4);
	/* Its size came twice, the second time 1; its blocks are 5 and 1. */
	assert_int_equal(odd.size, 1);
	assert_int_equal(odd.block_count, 2);
	assert_null(odd.block);
	assert_int_equal(entry_check(&odd, NULL), ERR_INVALID);
	entry_normalise(&odd, &arena);
	assert_int_equal(odd.version.count, 2);
	assert_true(odd.version.counter[0].id == SHORT_A);
	assert_int_equal(odd.mtime_ns, 0);
	assert_int_equal(odd.perms, 0644);
	for (uint32_t i = 1; i < 4; i++)
		assert_int_equal(entry_check(&m.u.index.entry[i], NULL),
		    ERR_INVALID);
	arena_fini(&arena);
}

static void
lz4_index_is_the_plain_one(void **state)
{
	struct arena arena = { 0 };
	const struct message m = read_message("odd_index_lz4", &arena);
	struct buf out = { 0 };

	(void)state;
	put_frame(&out, &m);
	same_bytes(buf_slice(&out), golden("index", &arena));
	buf_fini(&out);
	arena_fini(&arena);
}

static void
packed_numbers_and_repeated_fields(void **state)
{
	struct arena arena = { 0 };
	struct message m = read_message("odd_progress_packed", &arena);

	(void)state;
	assert_int_equal(m.u.progress.update_count, 1);
	assert_int_equal(m.u.progress.update[0].block_count, 3);
	assert_int_equal(m.u.progress.update[0].block[1], 300);
	assert_int_equal(m.u.progress.update[0].block[2], -1);
	assert_int_equal(m.u.progress.update[0].version.count, 1);
	m = read_message("odd_response_order", &arena);
	assert_int_equal(m.u.response.id, 7);
	assert_int_equal(m.u.response.data.len, 1);
	m = read_message("odd_unknown_type", &arena);
	assert_int_equal(m.type, MESSAGE_UNKNOWN);
	assert_string_equal(message_name(m.type), "unknown");
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello_of_both_kinds),
		cmocka_unit_test(hello_with_another_extension_is_no_holdfast),
		cmocka_unit_test(cluster_config_with_all_its_fields),
		cmocka_unit_test(index_of_every_kind_of_item),
		cmocka_unit_test(index_update_with_offsets_and_platform),
		cmocka_unit_test(requests_and_responses),
		cmocka_unit_test(progress_ping_close),
		cmocka_unit_test(chunk_maps),
		cmocka_unit_test(carried_connections),
		cmocka_unit_test(echoes),
		cmocka_unit_test(old_peers_are_understood),
		cmocka_unit_test(odd_items_are_refused_one_by_one),
		cmocka_unit_test(lz4_index_is_the_plain_one),
		cmocka_unit_test(packed_numbers_and_repeated_fields),
	};

	return cmocka_run_group_tests(tests, golden_setup, NULL);
}
