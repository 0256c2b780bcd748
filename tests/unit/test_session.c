/* A session against a session, and against bytes that no peer should send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blockproto/frame.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/session.h"

#define T0 (500 * CLOCK_S)

static const struct message config = { .type = MESSAGE_CLUSTER_CONFIG };

static struct session *
session_make(uint32_t features)
{
	const struct session_config cfg = {
		.hello = { .device_name = SLICE_LIT("hub"),
		    .client_name = SLICE_LIT("holdfast"),
		    .client_version = SLICE_LIT("1"),
		    .num_connections = 1,
		    .timestamp = 5,
		    .features = features },
	};

	return session_new(&cfg, T0);
}

/* Everything `s` wants to say, appended to `out`. */
static void
drain_at(struct session *s, struct buf *out, uint64_t now)
{
	struct slice part;

	while (session_output(s, &part)) {
		buf_put(out, part);
		session_output_done(s, part.len, now);
	}
}

static void
drain(struct session *s, struct buf *out)
{
	drain_at(s, out, T0);
}

struct heard {
	unsigned hellos, messages, sents;
	enum message_type last;
	uint64_t tag;
	size_t data;
	char text[64];
};

/* Give `s` the bytes in pieces of at most `step`. */
static int
feed(struct session *s, struct slice in, size_t step, struct heard *h,
    struct err *err)
{
	struct session_event ev;
	int rc = 0;

	while (in.len > 0 && rc == 0) {
		size_t len;
		uint8_t *space = session_space(s, &len);

		if (len > step)
			len = step;
		if (len > in.len)
			len = in.len;
		memcpy(space, in.ptr, len);
		in = slice_from(in, len);
		rc = session_add(s, len, T0, err);
		while (rc == 0 && (rc = session_next(s, &ev, err)) == 1) {
			rc = 0;
			if (ev.kind == SESSION_HELLO)
				h->hellos++;
			if (ev.kind == SESSION_SENT) {
				h->sents++;
				h->tag = ev.tag;
			}
			if (ev.kind != SESSION_MESSAGE)
				continue;
			h->messages++;
			h->last = ev.message->type;
			if (ev.message->type == MESSAGE_CLOSE)
				snprintf(h->text, sizeof(h->text), "%.*s",
				    SLICE_FMT(ev.message->u.close.reason));
			if (ev.payload != NULL)
				h->data += ev.payload->len;
			payload_free(ev.payload);
		}
	}
	return rc;
}

/* Two sessions that said Hello and ClusterConfig to each other. */
static void
pair(struct session **a, struct session **b, uint32_t features)
{
	struct buf out = { 0 };
	struct heard h = { 0 };

	*a = session_make(features);
	*b = session_make(features);
	assert_int_equal(session_send(*a, &config, NULL, 0, NULL), 0);
	assert_int_equal(session_send(*b, &config, NULL, 0, NULL), 0);
	drain(*a, &out);
	assert_int_equal(feed(*b, buf_slice(&out), 7, &h, NULL), 0);
	buf_clear(&out);
	drain(*b, &out);
	assert_int_equal(feed(*a, buf_slice(&out), 1, &h, NULL), 0);
	assert_int_equal(h.hellos, 2);
	assert_int_equal(h.messages, 2);
	buf_fini(&out);
}

static void
session_says_hello_at_once(void **state)
{
	struct session *s = session_make(0);
	struct slice part;

	(void)state;
	assert_true(session_output(s, &part));
	assert_memory_equal(part.ptr, "\x2e\xa7\xd9\x0b", 4);
	session_free(s);
}

static void
session_tells_a_stranger_nothing(void **state)
{
	const struct session_config cfg = { .silent = true };
	struct session *s = session_new(&cfg, T0);
	struct slice part;

	(void)state;
	assert_false(session_output(s, &part));
	session_free(s);
}

static void
session_talks_to_itself_byte_by_byte(void **state)
{
	struct session *a, *b;

	(void)state;
	pair(&a, &b, FEATURE_ZSTD | FEATURE_CHUNKS);
	assert_int_equal(session_features(a), FEATURE_ZSTD | FEATURE_CHUNKS);
	assert_true(
	    slice_equal(session_hello(a)->device_name, SLICE_LIT("hub")));
	session_free(a);
	session_free(b);
}

static void
session_sends_data_from_where_it_lies(void **state)
{
	struct message m = { .type = MESSAGE_RESPONSE };
	struct payload *p = payload_new(100000);
	const uint8_t *data = p->data;
	struct session *a, *b;
	struct buf out = { 0 };
	struct heard h = { 0 };
	struct session_event ev;
	struct slice part;
	bool seen = false;

	(void)state;
	memset(p->data, 7, p->len);
	pair(&a, &b, 0);
	m.u.response.id = 3;
	assert_int_equal(session_send(a, &m, p, 42, NULL), 0);
	assert_true(session_queued(a) > 100000);
	assert_int_equal(session_next(a, &ev, NULL), 0);
	while (session_output(a, &part)) {
		seen = seen || part.ptr == data;
		buf_put(&out, part);
		session_output_done(a, part.len, T0);
	}
	assert_true(seen);
	assert_int_equal(session_queued(a), 0);
	assert_int_equal(session_next(a, &ev, NULL), 1);
	assert_int_equal(ev.kind, SESSION_SENT);
	assert_int_equal(ev.tag, 42);
	assert_int_equal(session_next(a, &ev, NULL), 0);
	assert_int_equal(feed(b, buf_slice(&out), 9999, &h, NULL), 0);
	assert_int_equal(h.data, 100000);
	buf_fini(&out);
	session_free(a);
	session_free(b);
}

static void
session_echoes_where_both_agreed(void **state)
{
	struct message m = { .type = MESSAGE_ECHO, .u.echo.id = 77 };
	struct session *a, *b;
	struct buf out = { 0 };
	struct heard h = { 0 };

	(void)state;
	pair(&a, &b, FEATURE_ECHO);
	assert_int_equal(session_send(a, &m, NULL, 0, NULL), 0);
	drain(a, &out);
	assert_int_equal(feed(b, buf_slice(&out), 3, &h, NULL), 0);
	assert_int_equal(h.last, MESSAGE_ECHO);
	/* However many are asked for, few answers wait. */
	for (int i = 0; i < 1000; i++)
		session_answer(b, &m.u.echo);
	assert_true(session_queued(b) < 1000);
	buf_clear(&out);
	drain(b, &out);
	h = (struct heard){ 0 };
	assert_int_equal(feed(a, buf_slice(&out), 9999, &h, NULL), 0);
	assert_int_equal(h.last, MESSAGE_ECHO);
	assert_int_equal(h.messages, 8);
	/* Those are gone: there is room again. */
	session_answer(b, &m.u.echo);
	assert_true(session_queued(b) > 0);
	session_free(a);
	session_free(b);
	/* Not agreed: skipped unread. */
	pair(&a, &b, 0);
	buf_clear(&out);
	assert_int_equal(session_send(a, &m, NULL, 0, NULL), 0);
	drain(a, &out);
	h = (struct heard){ 0 };
	assert_int_equal(feed(b, buf_slice(&out), 3, &h, NULL), 0);
	assert_int_equal(h.messages, 0);
	buf_fini(&out);
	session_free(a);
	session_free(b);
}

static void
session_lets_small_messages_pass_between_large_ones(void **state)
{
	struct message r = { .type = MESSAGE_RESPONSE };
	struct message p = { .type = MESSAGE_PROGRESS };
	struct session *a, *b;
	struct session_event ev;
	struct slice part;
	uint64_t order[4];
	size_t n = 0;

	(void)state;
	pair(&a, &b, 0);
	for (uint64_t i = 1; i <= 3; i++)
		session_send(a, &r, payload_new(50000), i, NULL);
	p.u.progress.folder = SLICE_LIT("f");
	session_send(a, &p, NULL, 9, NULL);
	while (session_output(a, &part))
		session_output_done(a, part.len, T0);
	while (session_next(a, &ev, NULL) == 1)
		order[n++] = ev.tag;
	assert_int_equal(n, 4);
	assert_true(order[0] == 9 || order[1] == 9);
	session_free(a);
	session_free(b);
}

static void
session_compresses_lists_but_not_data(void **state)
{
	static const uint32_t features[] = { 0, FEATURE_ZSTD };
	struct message m = { .type = MESSAGE_INDEX };
	struct session *a, *b;
	struct buf out = { 0 };
	struct entry entry[200];

	(void)state;
	for (int i = 0; i < 200; i++)
		entry[i] = (struct entry){ .name = SLICE_LIT("a/long/name"),
			.type = ENTRY_DIR,
			.sequence = i + 1 };
	m.u.index = (struct index_message){ .folder = SLICE_LIT("f"),
		.entry = entry,
		.entry_count = 200 };
	for (size_t i = 0; i < 2; i++) {
		struct heard h = { 0 };

		pair(&a, &b, features[i]);
		buf_clear(&out);
		session_send(a, &m, NULL, 0, NULL);
		drain(a, &out);
		assert_true(out.len < 2000);
		/* The header says which: LZ4 is 1, zstd is 2. */
		assert_memory_equal(out.ptr,
		    features[i] == 0 ? "\0\x04\x08\x01\x10\x01"
				     : "\0\x04\x08\x01\x10\x02",
		    6);
		assert_int_equal(feed(b, buf_slice(&out), 100, &h, NULL), 0);
		assert_int_equal(h.last, MESSAGE_INDEX);
		session_free(a);
		session_free(b);
	}
	buf_fini(&out);
}

/* Hello and the given frame, to a new session. */
static int
first_frame(int32_t type, int32_t compression, struct slice body,
    struct heard *h, struct err *err)
{
	struct session *s = session_make(0), *other = session_make(0);
	struct buf in = { 0 };
	int rc;

	drain(other, &in);
	frame_put_header(&in, type, compression, body.len);
	buf_put(&in, body);
	rc = feed(s, buf_slice(&in), 3, h, err);
	buf_fini(&in);
	session_free(s);
	session_free(other);
	return rc;
}

static void
session_wants_the_cluster_config_first(void **state)
{
	struct heard h = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(first_frame(6, 0, SLICE_EMPTY, &h, &err),
	    ERR_PROTOCOL);
	assert_non_null(strstr(err.text, "ClusterConfig"));
	assert_int_equal(first_frame(3, 0, SLICE_EMPTY, &h, &err),
	    ERR_PROTOCOL);
	assert_int_equal(first_frame(0, 0, SLICE_EMPTY, &h, &err), 0);
	assert_int_equal(h.messages, 1);
}

static void
session_skips_what_it_does_not_know(void **state)
{
	struct heard h = { 0 };

	(void)state;
	assert_int_equal(first_frame(42, 0, SLICE_LIT("\xff\xff"), &h, NULL),
	    0);
	assert_int_equal(first_frame(42, 77, SLICE_LIT("\xff"), &h, NULL), 0);
	/* Ours, but nobody consented. */
	assert_int_equal(
	    first_frame(MESSAGE_CHUNKS, 0, SLICE_LIT("\xff"), &h, NULL), 0);
	assert_int_equal(h.messages, 0);
}

static void
session_refuses_broken_frames(void **state)
{
	struct heard h = { 0 };

	(void)state;
	assert_int_equal(first_frame(0, 2, SLICE_LIT("\0\0\0\1x"), &h, NULL),
	    ERR_PROTOCOL);
	assert_int_equal(first_frame(0, 9, SLICE_LIT("x"), &h, NULL),
	    ERR_PROTOCOL);
	assert_true(
	    first_frame(0, 1, SLICE_LIT("\x7f\xff\xff\xff\0"), &h, NULL) < 0);
	assert_true(first_frame(0, 0, SLICE_LIT("\x0a\x7f"), &h, NULL) < 0);
	assert_int_equal(h.messages, 0);
}

static void
session_survives_every_cut_and_every_flipped_bit(void **state)
{
	struct session *other = session_make(0);
	struct buf in = { 0 };
	struct message m = { .type = MESSAGE_REQUEST };

	(void)state;
	session_send(other, &config, NULL, 0, NULL);
	m.u.request = (struct request){ .id = 1,
		.folder = SLICE_LIT("f"),
		.name = SLICE_LIT("n"),
		.size = 5 };
	session_send(other, &m, NULL, 0, NULL);
	drain(other, &in);
	for (size_t len = 0; len < in.len; len++) {
		struct session *s = session_make(0);
		struct heard h = { 0 };

		assert_int_equal(feed(s, slice_of(in.ptr, len), 100, &h, NULL),
		    0);
		assert_true(h.messages < 2);
		session_free(s);
	}
	for (size_t bit = 0; bit < in.len * 8; bit++) {
		struct session *s = session_make(0);
		struct heard h = { 0 };
		struct err err = { 0 };
		int rc;

		in.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
		rc = feed(s, buf_slice(&in), 100, &h, &err);
		assert_true(rc == 0 || err.text[0] != '\0');
		in.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
		session_free(s);
	}
	buf_fini(&in);
	session_free(other);
}

static void
session_ends_with_a_close_and_nothing_after(void **state)
{
	struct message c = { .type = MESSAGE_CLOSE };
	struct message r = { .type = MESSAGE_RESPONSE };
	struct session *a, *b;
	struct buf out = { 0 };
	struct heard h = { 0 };
	struct slice part;

	(void)state;
	pair(&a, &b, 0);
	session_send(a, &r, payload_new(1000), 1, NULL);
	session_send(a, &r, payload_new(1000), 2, NULL);
	assert_true(session_output(a, &part)); /* the first is on its way */
	buf_put(&out, slice_to(part, 3));
	session_output_done(a, 3, T0);
	c.u.close.reason = SLICE_LIT("enough");
	assert_int_equal(session_send(a, &c, NULL, 0, NULL), 0);
	assert_int_equal(session_send(a, &r, payload_new(10), 0, NULL),
	    ERR_CLOSED);
	drain(a, &out);
	assert_int_equal(feed(b, buf_slice(&out), 1 << 20, &h, NULL), 0);
	assert_int_equal(h.messages, 2);
	assert_string_equal(h.text, "enough");
	assert_int_equal(h.data, 1000);
	assert_int_equal(session_queued(a), 0);
	buf_fini(&out);
	session_free(a);
	session_free(b);
}

static void
session_keeps_the_ping_clock(void **state)
{
	struct session *a, *b;
	struct buf out = { 0 };
	struct err err = { 0 };
	uint64_t wake;

	(void)state;
	pair(&a, &b, 0);
	wake = session_wake_at(a);
	assert_in_range(wake - T0, 45 * CLOCK_S, 90 * CLOCK_S);
	assert_int_equal(session_tick(a, wake - 1, NULL), 0);
	assert_int_equal(session_queued(a), 0);
	assert_int_equal(session_tick(a, wake, NULL), 0);
	drain(a, &out);
	assert_int_equal(out.len, 8);
	assert_memory_equal(out.ptr, "\0\x02\x08\x06\0\0\0\0", 8);
	assert_int_equal(session_tick(a, T0 + 300 * CLOCK_S, &err), ERR_CLOSED);
	assert_string_equal(err.text, "silent for 300 s");
	buf_fini(&out);
	session_free(a);
	session_free(b);
}

/* A frame of a megabyte, a byte now and then. */
static void
session_ends_a_message_that_trickles(void **state)
{
	static const uint8_t begin[] = { 0, 0, 0, 0x10, 0, 0 };
	struct session *a, *b;
	struct err err = { 0 };
	uint64_t now = T0;
	size_t len;
	int rc = 0;

	(void)state;
	pair(&a, &b, 0);
	for (size_t i = 0; i < sizeof(begin); i++) {
		*session_space(a, &len) = begin[i];
		assert_int_equal(session_add(a, 1, now, &err), 0);
	}
	while (rc == 0 && now < T0 + 400 * CLOCK_S) {
		now += 10 * CLOCK_S;
		*session_space(a, &len) = 0;
		assert_int_equal(session_add(a, 1, now, &err), 0);
		if (now >= session_wake_at(a))
			rc = session_tick(a, now, &err);
	}
	assert_int_equal(rc, ERR_CLOSED);
	assert_in_range((now - T0) / CLOCK_S, 300, 330);
	session_free(a);
	session_free(b);
}

/* The same with a slow line: 2 KiB a second are borne for as long. */
static void
session_bears_a_slow_line(void **state)
{
	static const uint8_t begin[] = { 0, 0, 0, 0x20, 0, 0 };
	struct session *a, *b;
	struct buf out = { 0 };
	struct err err = { 0 };
	uint64_t now = T0, soon;
	size_t len, at = 0;

	(void)state;
	pair(&a, &b, 0);
	for (size_t i = 0; i < sizeof(begin); i++) {
		*session_space(a, &len) = begin[i];
		assert_int_equal(session_add(a, 1, now, &err), 0);
	}
	while (at < 0x200000 - 14336) {
		uint8_t *space = session_space(a, &len);
		const size_t n = len < 14336 ? len : 14336;

		memset(space, 0, n);
		at += n;
		now += n * CLOCK_S / 2048;
		assert_int_equal(session_add(a, n, now, &err), 0);
		assert_int_equal(session_tick(a, now, &err), 0);
		drain_at(a, &out, now); /* its pings */
		/* Nor is it woken again and again before more comes. */
		soon = now + 6 * CLOCK_S;
		assert_int_equal(session_tick(a, soon, &err), 0);
		drain_at(a, &out, soon);
		assert_true(session_wake_at(a) > soon);
	}
	assert_true(now - T0 > 600 * CLOCK_S);
	buf_fini(&out);
	session_free(a);
	session_free(b);
}

static void
session_waits_20_s_for_a_hello(void **state)
{
	struct session *s = session_make(0);
	struct err err = { 0 };

	(void)state;
	assert_int_equal(session_wake_at(s), T0 + 20 * CLOCK_S);
	assert_int_equal(session_tick(s, T0 + 19 * CLOCK_S, &err), 0);
	assert_int_equal(session_tick(s, T0 + 20 * CLOCK_S, &err), ERR_CLOSED);
	session_free(s);
}

static void
session_bounds_its_queue(void **state)
{
	struct message m = { .type = MESSAGE_RESPONSE };
	struct session *a, *b;
	int rc = 0, count = 0;

	(void)state;
	pair(&a, &b, 0);
	while (rc == 0 && count++ < 1000)
		rc = session_send(a, &m, payload_new(MIB), 0, NULL);
	assert_int_equal(rc, ERR_LIMIT);
	assert_true(session_queued(a) <= LIMIT_SENDQ_LEN);
	session_free(a);
	session_free(b);
}

/* The types of what `s` sends, in order; control, data, carried: "cdf". */
static void
order(struct session *a, struct session *b, char *text, size_t cap)
{
	struct buf out = { 0 };
	struct slice part;
	size_t n = 0;

	while (session_output(a, &part)) {
		struct heard h = { 0 };

		buf_clear(&out);
		buf_put(&out, part);
		session_output_done(a, part.len, T0);
		assert_int_equal(feed(b, buf_slice(&out), SIZE_MAX, &h, NULL),
		    0);
		if (h.messages == 0)
			continue;
		assert_true(n + 1 < cap);
		text[n++] = h.last == MESSAGE_RESPONSE  ? 'd'
			    : h.last == MESSAGE_FORWARD ? 'f'
							: 'c';
	}
	text[n] = '\0';
	buf_fini(&out);
}

static void
session_lets_what_is_carried_take_its_turn_and_no_more(void **state)
{
	const struct message carried = { .type = MESSAGE_FORWARD,
		.u.forward = { .word = FORWARD_WORD_DATA } };
	const struct message reply = { .type = MESSAGE_RESPONSE,
		.u.response = { .id = 1 } };
	const struct message list = { .type = MESSAGE_INDEX };
	struct session *a, *b;
	char text[32];

	(void)state;
	pair(&a, &b, FEATURE_FORWARD);
	for (int i = 0; i < 4; i++)
		assert_int_equal(session_send(a, &carried, NULL, 0, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    session_send(a, &reply, payload_new(9), 0, NULL), 0);
	assert_int_equal(session_send(a, &list, NULL, 0, NULL), 0);
	order(a, b, text, sizeof(text));
	assert_string_equal(text, "dfcdfff");
	session_free(a);
	session_free(b);
}

static void
session_carries_nothing_before_its_config(void **state)
{
	const struct message carried = { .type = MESSAGE_FORWARD,
		.u.forward = { .word = FORWARD_WORD_DATA } };
	struct session *a = session_make(FEATURE_FORWARD);
	struct session *b = session_make(FEATURE_FORWARD);
	struct buf out = { 0 };
	struct heard h = { 0 };
	char text[32];

	(void)state;
	drain(b, &out);
	assert_int_equal(feed(a, buf_slice(&out), 9, &h, NULL), 0);
	assert_int_equal(session_send(a, &carried, NULL, 0, NULL), 0);
	assert_int_equal(session_send(a, &config, NULL, 0, NULL), 0);
	order(a, b, text, sizeof(text));
	assert_string_equal(text, "cf");
	buf_fini(&out);
	session_free(a);
	session_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(session_says_hello_at_once),
		cmocka_unit_test(session_tells_a_stranger_nothing),
		cmocka_unit_test(session_talks_to_itself_byte_by_byte),
		cmocka_unit_test(session_sends_data_from_where_it_lies),
		cmocka_unit_test(session_echoes_where_both_agreed),
		cmocka_unit_test(
		    session_lets_small_messages_pass_between_large_ones),
		cmocka_unit_test(session_compresses_lists_but_not_data),
		cmocka_unit_test(session_wants_the_cluster_config_first),
		cmocka_unit_test(session_skips_what_it_does_not_know),
		cmocka_unit_test(session_refuses_broken_frames),
		cmocka_unit_test(
		    session_survives_every_cut_and_every_flipped_bit),
		cmocka_unit_test(session_ends_with_a_close_and_nothing_after),
		cmocka_unit_test(session_keeps_the_ping_clock),
		cmocka_unit_test(session_ends_a_message_that_trickles),
		cmocka_unit_test(session_bears_a_slow_line),
		cmocka_unit_test(session_waits_20_s_for_a_hello),
		cmocka_unit_test(session_bounds_its_queue),
		cmocka_unit_test(
		    session_lets_what_is_carried_take_its_turn_and_no_more),
		cmocka_unit_test(session_carries_nothing_before_its_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
