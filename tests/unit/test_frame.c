/* frame: cut at every byte, lengths at and beyond their limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blockproto/frame.h"
#include "blockproto/message.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

/* Feed `raw` in steps of `step`; frames found go to `out`, their count back. */
static int
feed(struct frame_reader *fr, struct slice raw, size_t step, struct frame *out,
    int max, struct err *err)
{
	int n = 0;

	while (raw.len > 0) {
		size_t room;
		uint8_t *space = frame_reader_space(fr, &room);
		int rc;

		if (space == NULL)
			return ERR_PROTOCOL;
		assert_true(room > 0);
		room = room < step ? room : step;
		room = room < raw.len ? room : raw.len;
		memcpy(space, raw.ptr, room);
		raw = slice_from(raw, room);
		assert_true(n < max);
		rc = frame_reader_add(fr, room, &out[n], err);
		if (rc < 0)
			return rc;
		n += rc;
	}
	return n;
}

/* A Hello, a Ping, and a message with a long body. */
static void
put_stream(struct buf *out)
{
	frame_put_hello(out, SLICE_LIT("hello body"));
	frame_put_header(out, MESSAGE_PING, 0, 0);
	frame_put_header(out, MESSAGE_CLUSTER_CONFIG, 0, 0);
	frame_put_header(out, MESSAGE_RESPONSE, 1, 300);
	memset(buf_extend(out, 300), 'x', 300);
}

static void
check_stream(struct frame *f)
{
	assert_int_equal(f[0].kind, FRAME_HELLO);
	assert_int_equal(f[0].len, 10);
	assert_memory_equal(f[0].body, "hello body", 10);
	assert_int_equal(f[1].kind, FRAME_MESSAGE);
	assert_int_equal(f[1].type, MESSAGE_PING);
	assert_int_equal(f[1].len, 0);
	assert_null(f[1].body);
	assert_int_equal(f[2].type, MESSAGE_CLUSTER_CONFIG);
	assert_int_equal(f[3].type, MESSAGE_RESPONSE);
	assert_int_equal(f[3].compression, 1);
	assert_int_equal(f[3].len, 300);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(f[3].body[i], 'x');
	for (unsigned i = 0; i < 4; i++)
		mem_free(f[i].block);
}

static void
any_step_gives_the_same_frames(void **state)
{
	struct buf raw = { 0 };

	(void)state;
	put_stream(&raw);
	for (size_t step = 1; step <= raw.len; step++) {
		struct frame_reader fr;
		struct frame f[8];

		frame_reader_init(&fr, true);
		assert_int_equal(feed(&fr, buf_slice(&raw), step, f, 8, NULL),
		    4);
		assert_true(fr.bytes == raw.len);
		check_stream(f);
		frame_reader_fini(&fr);
	}
	buf_fini(&raw);
}

static void
a_cut_at_any_byte_gives_whole_frames_only(void **state)
{
	struct buf raw = { 0 };

	(void)state;
	put_stream(&raw);
	for (size_t cut = 0; cut < raw.len; cut++) {
		struct frame_reader fr;
		struct frame f[8];
		int n;

		frame_reader_init(&fr, true);
		n = feed(&fr, slice_of(raw.ptr, cut), cut + 1, f, 8, NULL);
		assert_int_equal(n, (cut >= 16) + (cut >= 24) + (cut >= 30));
		for (int i = 0; i < n; i++)
			mem_free(f[i].block);
		frame_reader_fini(&fr);
	}
	buf_fini(&raw);
}

static void
the_ping_is_the_known_one(void **state)
{
	struct buf out = { 0 };

	(void)state;
	frame_put_header(&out, MESSAGE_PING, 0, 0);
	assert_int_equal(out.len, 8);
	assert_memory_equal(out.ptr, "\0\2\x08\6\0\0\0\0", 8);
	buf_clear(&out);
	frame_put_header(&out, MESSAGE_INDEX, 1, 0x01020304);
	assert_int_equal(out.len, 10);
	assert_memory_equal(out.ptr, "\0\4\x08\1\x10\1\1\2\3\4", 10);
	buf_clear(&out);
	frame_put_hello(&out, SLICE_EMPTY);
	assert_memory_equal(out.ptr, "\x2e\xa7\xd9\x0b\0\0", 6);
	buf_fini(&out);
}

/* What becomes of these first bytes. */
static int
first(const char *bytes, size_t len, bool hello)
{
	struct frame_reader fr;
	struct frame f[2];
	struct err err = { 0 };
	int rc;

	frame_reader_init(&fr, hello);
	rc = feed(&fr, slice_of(bytes, len), len, f, 2, &err);
	if (rc < 0) {
		size_t room = 1;

		assert_int_equal(err.code, rc);
		assert_true(err.text[0] != '\0');
		assert_int_equal(fr.state, FRAME_FAILED);
		assert_null(frame_reader_space(&fr, &room));
		assert_int_equal(room, 0);
		/* It stays failed, and says so. */
		assert_int_equal(frame_reader_add(&fr, 0, f, NULL),
		    ERR_PROTOCOL);
	}
	for (int i = 0; i < rc; i++)
		mem_free(f[i].block);
	frame_reader_fini(&fr);
	return rc;
}

static void
lengths_meet_their_limits_first(void **state)
{
	(void)state;
	/* Of a message: 0, max, max + 1, 2^31 - 1, -2^31, -1. */
	assert_int_equal(first("\0\0\0\0\0\0", 6, false), 1);
	assert_int_equal(first("\0\0\4\0\0\0", 6, false), 0);
	assert_int_equal(first("\0\0\4\0\0\1", 6, false), ERR_LIMIT);
	assert_int_equal(first("\0\0\x7f\xff\xff\xff", 6, false), ERR_LIMIT);
	assert_int_equal(first("\0\0\x80\0\0\0", 6, false), ERR_PROTOCOL);
	assert_int_equal(first("\0\0\xff\xff\xff\xff", 6, false), ERR_PROTOCOL);
	/* Of a header. */
	assert_int_equal(first("\x10\0", 2, false), 0);
	assert_int_equal(first("\x10\1", 2, false), ERR_LIMIT);
	assert_int_equal(first("\x7f\xff", 2, false), ERR_LIMIT);
	assert_int_equal(first("\x80\0", 2, false), ERR_PROTOCOL);
	assert_int_equal(first("\xff\xff", 2, false), ERR_PROTOCOL);
	/* Of a Hello. */
	assert_int_equal(first("\x2e\xa7\xd9\x0b\0\0", 6, true), 1);
	assert_int_equal(first("\x2e\xa7\xd9\x0b\x7f\xff", 6, true), 0);
	assert_int_equal(first("\x2e\xa7\xd9\x0b\x80\0", 6, true),
	    ERR_PROTOCOL);
	assert_int_equal(first("\x2e\xa7\xd9\x0b\xff\xff", 6, true),
	    ERR_PROTOCOL);
}

static void
other_protocols_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(first("GET / HTTP/1.1\r\n", 16, true), ERR_PROTOCOL);
	assert_int_equal(first("\x16\3\1\2\0\1\0\1", 8, true), ERR_PROTOCOL);
	assert_int_equal(first("\x9f\x79\xbc\x40\0\0", 6, true), ERR_PROTOCOL);
	assert_int_equal(first("\0\1\0\0\0\0", 6, true), ERR_PROTOCOL);
	assert_int_equal(first("\0\1\0\1\0\0", 6, true), ERR_PROTOCOL);
	assert_int_equal(first("\x2e\xa7\xd9\x0c\0\0", 6, true), ERR_PROTOCOL);
}

static void
headers_may_be_empty_or_hold_unknown_fields(void **state)
{
	struct frame_reader fr;
	struct frame f[2];

	(void)state;
	frame_reader_init(&fr, false);
	assert_int_equal(feed(&fr,
			     slice_of("\0\7\x18\5\x08\x2a\x22\1x\0\0\0\0", 13),
			     13, f, 2, NULL),
	    1);
	assert_int_equal(f[0].type, 42);
	assert_int_equal(f[0].compression, 0);
	frame_reader_fini(&fr);
	/* No protobuf; a known field of the wrong type; a negative type. */
	assert_int_equal(first("\0\1\x08\0\0\0\0", 7, false), ERR_PROTOCOL);
	assert_int_equal(first("\0\2\x0a\0\0\0\0\0", 8, false), ERR_PROTOCOL);
	assert_int_equal(first("\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff"
			       "\1\0\0\0\0",
			     17, false),
	    1);
}

static void
a_reader_can_be_dropped_at_any_time(void **state)
{
	struct frame_reader fr;
	struct frame f;
	size_t room;

	(void)state;
	frame_reader_init(&fr, false);
	memcpy(frame_reader_space(&fr, &room), "\0\0", 2);
	assert_int_equal(room, 2);
	assert_int_equal(frame_reader_add(&fr, 2, &f, NULL), 0);
	memcpy(frame_reader_space(&fr, &room), "\0\0\1\0", 4);
	assert_int_equal(frame_reader_add(&fr, 4, &f, NULL), 0);
	/* The space for a body is the body itself, all of what is left. */
	assert_ptr_equal(frame_reader_space(&fr, &room), fr.frame.body);
	assert_int_equal(room, 256);
	assert_int_equal(frame_reader_add(&fr, 100, &f, NULL), 0);
	assert_ptr_equal(frame_reader_space(&fr, &room), fr.frame.body + 100);
	assert_int_equal(room, 156);
	frame_reader_fini(&fr);
	frame_reader_fini(&fr);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_step_gives_the_same_frames),
		cmocka_unit_test(a_cut_at_any_byte_gives_whole_frames_only),
		cmocka_unit_test(the_ping_is_the_known_one),
		cmocka_unit_test(lengths_meet_their_limits_first),
		cmocka_unit_test(other_protocols_are_told_apart),
		cmocka_unit_test(headers_may_be_empty_or_hold_unknown_fields),
		cmocka_unit_test(a_reader_can_be_dropped_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
