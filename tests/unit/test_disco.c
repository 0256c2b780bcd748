/* Who may tell our discovery server what, and who is told it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "mesh/disco.h"

static struct now now;
static struct buf said;

static struct addr
at(const char *host)
{
	char text[96];
	struct addr a;

	snprintf(text, sizeof(text), "tcp://%s:4242", host);
	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static struct devid
devid(uint32_t n)
{
	struct devid id = { { 1 } };

	memcpy(id.b + 1, &n, sizeof(n));
	return id;
}

/* What it answers: the status; `said` is all of it, with a NUL. */
static int
put(struct disco *ds, struct devid id, bool may, const char *from,
    const char *body)
{
	const struct http_request q = { .method = HTTP_POST,
		.path = SLICE_LIT("/"),
		.body = slice_str(body) };
	const struct addr source = at(from);
	const struct disco_asker who = { .id = devid_is_none(&id) ? NULL : &id,
		.may = may,
		.from = &source };
	int status;

	buf_clear(&said);
	status = disco_answer(ds, &q, &who, now, &said);
	buf_put_u8(&said, 0);
	return status;
}

static int
tell(struct disco *ds, uint32_t id, const char *from, const char *body)
{
	return put(ds, devid(id), true, from, body);
}

static int
ask(struct disco *ds, uint32_t id, const char *from)
{
	const struct devid want = devid(id);
	const struct addr source = at(from);
	const struct disco_asker who = { .from = &source };
	struct http_request q = { .method = HTTP_GET };
	char query[128] = "device=";
	int status;

	devid_text(&want, query + strlen(query));
	q.query = slice_str(query);
	buf_clear(&said);
	status = disco_answer(ds, &q, &who, now, &said);
	buf_put_u8(&said, 0);
	return status;
}

/* The body of the last answer. */
static void
expect(const char *want)
{
	const char *body = strstr((const char *)said.ptr, "\r\n\r\n");

	assert_non_null(body);
	assert_string_equal(body + 4, want);
}

static void
expect_header(const char *want)
{
	if (strstr((const char *)said.ptr, want) == NULL)
		fail_msg("no %s in %s", want, (const char *)said.ptr);
}

#define SEEN "\"seen\":\"1970-01-01T00:16:40Z\"}"

static int
setup(void **state)
{
	now = (struct now){ .mono_ns = 1000 * CLOCK_S,
		.wall_ns = 1000 * (int64_t)CLOCK_S };
	*state = disco_new(1);
	return 0;
}

static int
teardown(void **state)
{
	disco_free(*state);
	return 0;
}

static void
pass(uint64_t s)
{
	now.mono_ns += s * CLOCK_S;
	now.wall_ns += (int64_t)(s * CLOCK_S);
}

static void
disco_tells_what_it_was_told(void **state)
{
	struct disco *ds = *state;
	const char *again;
	unsigned s;

	assert_int_equal(ask(ds, 1, "192.0.2.9"), 404);
	expect_header("\r\nRetry-After: 60\r\n");
	assert_int_equal(tell(ds, 1, "198.51.100.1",
			     "{\"addresses\":[\"tcp://192.0.2.7:22000\","
			     "\"quic://[2001:db8::1]:22001\","
			     "\"tcp://example.org:5\"],\"more\":1}"),
	    204);
	again = strstr((const char *)said.ptr, "\r\nReannounce-After: ");
	assert_non_null(again);
	s = (unsigned)strtoul(again + strlen("\r\nReannounce-After: "), NULL,
	    10);
	assert_in_range(s, DISCO_AGAIN_S, DISCO_AGAIN_S + DISCO_JITTER_S - 1);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	expect_header("\r\nContent-Type: application/json\r\n");
	expect("{\"addresses\":[\"tcp://192.0.2.7:22000\","
	       "\"quic://[2001:db8::1]:22001\",\"tcp://example.org:5\"]," SEEN);
	assert_int_equal(ask(ds, 2, "192.0.2.9"), 404);
	/* The new word replaces the old one. */
	assert_int_equal(tell(ds, 1, "198.51.100.1",
			     "{\"addresses\":[\"tcp://192.0.2.8:1\"]}"),
	    204);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	expect("{\"addresses\":[\"tcp://192.0.2.8:1\"]," SEEN);
}

static void
disco_puts_the_source_where_a_host_is_missing(void **state)
{
	struct disco *ds = *state;

	assert_int_equal(tell(ds, 1, "198.51.100.1",
			     "{\"addresses\":[\"tcp://:22000\","
			     "\"quic://0.0.0.0:22001\",\"tcp6://:3\"]}"),
	    204);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	expect("{\"addresses\":[\"tcp://198.51.100.1:22000\","
	       "\"quic://198.51.100.1:22001\"]," SEEN);
	assert_int_equal(tell(ds, 2, "[2001:db8::5]",
			     "{\"addresses\":[\"tcp://[::]:1\","
			     "\"tcp4://:2\"]}"),
	    204);
	assert_int_equal(ask(ds, 2, "192.0.2.9"), 200);
	expect("{\"addresses\":[\"tcp://[2001:db8::5]:1\"]," SEEN);
}

static void
disco_leaves_out_what_nobody_can_use(void **state)
{
	struct disco *ds = *state;

	assert_int_equal(tell(ds, 1, "198.51.100.1",
			     "{\"addresses\":[7,\"\",\"tcp://127.0.0.1:1\","
			     "\"tcp://[::1]:1\",\"tcp://169.254.1.1:1\","
			     "\"tcp://[fe80::1]:1\",\"tcp://224.0.0.1:1\","
			     "\"tcp://192.0.2.7:0\",\"gopher://a\",\"dynamic\","
			     "\"relay://:22067\",\"tcp://192.0.2.7:5\","
			     "\"tcp://192.0.2.7:5\",null,{},[]]}"),
	    204);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	expect("{\"addresses\":[\"tcp://192.0.2.7:5\"]," SEEN);
	/* With nothing left it is no announcement; the old one stays. */
	assert_int_equal(tell(ds, 1, "198.51.100.1",
			     "{\"addresses\":[\"tcp://127.0.0.1:1\"]}"),
	    400);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	/* A relay's address is told without what lets others in. */
	assert_int_equal(tell(ds, 2, "198.51.100.1",
			     "{\"addresses\":[\"relay://192.0.2.7:443/"
			     "?token=secret\"]}"),
	    204);
	assert_int_equal(ask(ds, 2, "192.0.2.9"), 200);
	assert_null(strstr((const char *)said.ptr, "secret"));
}

static void
disco_keeps_this_machine_to_itself(void **state)
{
	struct disco *ds = *state;

	assert_int_equal(
	    tell(ds, 1, "127.0.0.1", "{\"addresses\":[\"tcp://127.0.0.1:1\"]}"),
	    204);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 404);
	assert_int_equal(ask(ds, 1, "127.0.0.1"), 200);
	assert_int_equal(tell(ds, 1, "127.0.0.1",
			     "{\"addresses\":[\"tcp://127.0.0.1:1\","
			     "\"tcp://192.0.2.7:5\"]}"),
	    204);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	expect("{\"addresses\":[\"tcp://192.0.2.7:5\"]," SEEN);
}

static void
disco_hears_only_who_may_and_shows_who_it_is(void **state)
{
	static const char good[] = "{\"addresses\":[\"tcp://192.0.2.7:5\"]}";
	struct disco *ds = *state;
	struct disco_state st;

	assert_int_equal(
	    put(ds, (struct devid){ 0 }, true, "198.51.100.1", good), 403);
	assert_int_equal(put(ds, devid(1), false, "198.51.100.1", good), 403);
	expect_header("\r\nRetry-After: 300\r\n");
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 404);
	disco_state(ds, &st);
	assert_int_equal(st.devices, 0);
	assert_int_equal(st.refused, 2);
	assert_int_equal(st.missed, 1);
}

static void
disco_refuses_what_is_no_announcement_and_no_question(void **state)
{
	static const char *const bad[] = { "", "{", "[]", "7", "null", "{}",
		"{\"addresses\":null}", "{\"addresses\":\"tcp://a:1\"}",
		"{\"addresses\":[]}", "{\"addresses\":[]} x",
		"{\"addresses\":[\"\xff\"]}" };
	const struct addr from = at("192.0.2.9");
	const struct disco_asker who = { .from = &from };
	struct disco *ds = *state;
	struct http_request q = { .method = HTTP_GET };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(tell(ds, 1, "198.51.100.1", bad[i]), 400);
	assert_int_equal(disco_answer(ds, &q, &who, now, &said), 400);
	q.query = SLICE_LIT("device=AAAA");
	assert_int_equal(disco_answer(ds, &q, &who, now, &said), 400);
	q.method = HTTP_OTHER;
	buf_clear(&said);
	assert_int_equal(disco_answer(ds, &q, &who, now, &said), 405);
	buf_put_u8(&said, 0);
	expect_header("\r\nAllow: GET, POST\r\n");
}

static void
disco_bounds_what_it_keeps_of_a_device(void **state)
{
	struct disco *ds = *state;
	struct buf body = { 0 };
	const char *p;
	unsigned n = 0;

	buf_printf(&body, "{\"addresses\":[\"tcp://192.0.2.7:1\"");
	for (unsigned i = 2; i < 100; i++)
		buf_printf(&body, ",\"tcp://192.0.2.7:%u\"", i);
	buf_printf(&body, "]}");
	buf_put_u8(&body, 0);
	assert_int_equal(tell(ds, 1, "198.51.100.1", (char *)body.ptr), 204);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	for (p = (char *)said.ptr; (p = strstr(p, "tcp://")) != NULL; p++)
		n++;
	assert_int_equal(n, DISCO_ADDRESSES);
	/* Long names: fewer of them. */
	buf_clear(&body);
	buf_printf(&body, "{\"addresses\":[\"tcp://192.0.2.7:1\"");
	for (unsigned i = 0; i < 10; i++)
		buf_printf(&body, ",\"tcp://%u%0200u.example:1\"", i, 0u);
	buf_printf(&body, "]}");
	buf_put_u8(&body, 0);
	assert_int_equal(tell(ds, 1, "198.51.100.1", (char *)body.ptr), 204);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	assert_true(said.len < LIMIT_DISCO_LEN + 512);
	buf_fini(&body);
}

static void
disco_forgets_a_device_that_is_silent(void **state)
{
	static const char good[] = "{\"addresses\":[\"tcp://192.0.2.7:5\"]}";
	struct disco *ds = *state;
	struct disco_state st;

	assert_int_equal(tell(ds, 1, "198.51.100.1", good), 204);
	pass(DISCO_LIFE_S / 2);
	assert_int_equal(tell(ds, 2, "198.51.100.1", good), 204);
	pass(DISCO_LIFE_S / 2 - 1);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 200);
	pass(1);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 404);
	assert_int_equal(ask(ds, 2, "192.0.2.9"), 200);
	pass(DISCO_LIFE_S);
	assert_int_equal(ask(ds, 2, "192.0.2.9"), 404);
	disco_state(ds, &st);
	assert_int_equal(st.devices, 0);
}

/* So that one host cannot fill it, nor all of them more than it holds. */
static void
disco_bounds_the_devices_of_a_source_and_in_all(void **state)
{
	static const char good[] = "{\"addresses\":[\"tcp://192.0.2.7:5\"]}";
	struct disco *ds = *state;
	struct disco_state st;
	char from[32];
	uint32_t n = 0;

	for (n = 0; n < LIMIT_DISCO_SOURCE; n++) {
		pass(1); /* its tokens */
		assert_int_equal(tell(ds, n, "198.51.100.1", good), 204);
	}
	assert_int_equal(tell(ds, n, "198.51.100.1", good), 429);
	expect_header("\r\nRetry-After: ");
	assert_int_equal(tell(ds, 0, "198.51.100.1", good), 204);
	assert_int_equal(tell(ds, n, "198.51.100.2", good), 204);
	pass(2 * DISCO_LIFE_S);
	assert_int_equal(tell(ds, 0, "198.51.100.1", good), 204);
	for (n = 1; n < LIMIT_DISCO_DEVICES; n++) {
		snprintf(from, sizeof(from), "10.%u.%u.1", n >> 14,
		    (n >> 6) & 255);
		if (tell(ds, n, from, good) != 204)
			fail_msg("%u", n);
	}
	assert_int_equal(tell(ds, n, "198.51.100.2", good), 429);
	assert_int_equal(tell(ds, 0, "198.51.100.1", good), 204);
	disco_state(ds, &st);
	assert_int_equal(st.devices, LIMIT_DISCO_DEVICES);
}

static void
disco_lets_a_source_ask_so_often_and_no_more(void **state)
{
	struct disco *ds = *state;

	for (unsigned i = 0; i < LIMIT_KNOCKS; i++)
		assert_int_equal(ask(ds, i, "192.0.2.9"), 404);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 429);
	expect_header("\r\nRetry-After: ");
	assert_int_equal(ask(ds, 1, "192.0.2.10"), 404);
	pass(1);
	assert_int_equal(ask(ds, 1, "192.0.2.9"), 404);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(disco_tells_what_it_was_told),
		TEST(disco_puts_the_source_where_a_host_is_missing),
		TEST(disco_leaves_out_what_nobody_can_use),
		TEST(disco_keeps_this_machine_to_itself),
		TEST(disco_hears_only_who_may_and_shows_who_it_is),
		TEST(disco_refuses_what_is_no_announcement_and_no_question),
		TEST(disco_bounds_what_it_keeps_of_a_device),
		TEST(disco_forgets_a_device_that_is_silent),
		TEST(disco_bounds_the_devices_of_a_source_and_in_all),
		TEST(disco_lets_a_source_ask_so_often_and_no_more),
	};
	const int rc = cmocka_run_group_tests(tests, NULL, NULL);

	buf_fini(&said);
	return rc;
}
