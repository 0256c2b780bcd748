/* Whom the finder asks, when, and what it believes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "mesh/finder.h"

#define ID "MFZWI3D-BONSGYC-YLTMRWG-C43ENR5-QXGZDMM-FZWI3DP-BONSGYY-LTMRWAD"
#define T0 (1000 * CLOCK_S)

static struct finder_server
server(const char *text)
{
	struct finder_server s;
	struct err err = { 0 };

	assert_int_equal(finder_parse_server(&s, slice_str(text), &err), 0);
	return s;
}

static struct addr
parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static struct devid
devid(uint8_t n)
{
	struct devid id;

	memset(id.b, n, sizeof(id.b));
	return id;
}

/* A finder with one server. */
static struct finder *
with(const char *text)
{
	const struct finder_server s = server(text);
	struct finder *f = finder_new(7);

	finder_set_servers(f, &s, 1, T0);
	return f;
}

static void
answer(struct finder *f, const struct finder_ask *ask, int status,
    uint64_t retry_s, uint64_t reannounce_s, uint64_t now_ns)
{
	const struct finder_answer a = { .status = status,
		.why = "no",
		.retry_s = retry_s,
		.reannounce_s = reannounce_s };

	finder_answered(f, ask, &a, now_ns);
}

static void
finder_takes_options_out_of_a_url(void **state)
{
	struct finder_server s =
	    server("https://a.example:8443/v2/?id=" ID "&noannounce");
	char text[DEVID_TEXT_LEN + 1];

	(void)state;
	assert_string_equal(s.url, "https://a.example:8443/v2/");
	devid_text(&s.id, text);
	assert_string_equal(text, ID);
	assert_false(s.announce);
	assert_true(s.lookup);
	assert_false(s.near);
	s = server("https://[::1]:1");
	assert_string_equal(s.url, "https://[::1]:1/");
	assert_true(s.near && s.announce && devid_is_none(&s.id));
}

static void
finder_refuses_what_is_no_server(void **state)
{
	static const char *const bad[] = { "", "http://a/", "https://",
		"https:///x", "https://a b/", "https://u@h/", "https://h/#x",
		"https://h/?id=x", "https://h/?insecure",
		"https://h/?noannounce&nolookup", "https://0.0.0.0/",
		"https://h:99999/", "tcp://h:1", "https://h\n/" };
	struct finder_server s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
		    finder_parse_server(&s, slice_str(bad[i]), NULL),
		    ERR_INVALID);
}

static void
finder_announces_when_the_server_says(void **state)
{
	struct finder *f = with("https://h/");
	const struct addr own = parse("tcp://0.0.0.0:22000");
	struct finder_ask ask;
	struct finder_state st;

	(void)state;
	assert_false(finder_next(f, T0 + CLOCK_HOUR, &ask));
	assert_true(finder_wake_at(f) == CLOCK_NEVER);
	finder_set_own(f, &own, 1, T0);
	assert_true(finder_wake_at(f) == T0 + CLOCK_S);
	assert_true(finder_next(f, T0 + CLOCK_S, &ask));
	assert_int_equal(ask.kind, FINDER_ANNOUNCE);
	assert_false(finder_next(f, T0 + CLOCK_S, &ask));
	answer(f, &ask, 204, 0, 3347, T0);
	assert_true(finder_wake_at(f) == T0 + 3347 * CLOCK_S);
	assert_true(finder_state_at(f, 0, &st) && st.announced);
	/* Neither every second nor never. */
	assert_true(finder_next(f, T0 + CLOCK_HOUR, &ask));
	answer(f, &ask, 204, 0, 1, T0);
	assert_true(finder_wake_at(f) == T0 + 60 * CLOCK_S);
	assert_true(finder_next(f, T0 + CLOCK_HOUR, &ask));
	answer(f, &ask, 204, 0, UINT64_MAX, T0);
	assert_true(finder_wake_at(f) == T0 + 2 * CLOCK_HOUR);
	finder_free(f);
}

static void
finder_tells_at_once_what_changed_while_it_was_told(void **state)
{
	struct finder *f = with("https://h/");
	struct addr own = parse("tcp://0.0.0.0:22000");
	struct finder_ask ask;

	(void)state;
	finder_set_own(f, &own, 1, T0);
	assert_true(finder_next(f, T0 + CLOCK_S, &ask));
	own.port = 22001;
	finder_set_own(f, &own, 1, T0 + CLOCK_S);
	answer(f, &ask, 204, 0, 3600, T0 + 2 * CLOCK_S);
	assert_true(finder_wake_at(f) == T0 + 3 * CLOCK_S);
	finder_free(f);
}

static void
finder_tells_loopback_addresses_to_nobody_else(void **state)
{
	const struct addr own[] = { parse("tcp://127.0.0.1:1"),
		parse("tcp://10.0.0.1:2") };
	struct finder *f = with("https://h/");
	const struct finder_server near = server("https://127.0.0.1/");
	const struct finder_server far = server("https://h/");
	struct buf out = { 0 };
	struct finder_ask ask;

	(void)state;
	finder_set_own(f, own, 1, T0);
	assert_false(finder_next(f, T0 + CLOCK_HOUR, &ask));
	finder_set_own(f, own, 2, T0);
	assert_true(finder_next(f, T0 + CLOCK_HOUR, &ask));
	finder_encode(f, &far, &out);
	assert_true(slice_equal(buf_slice(&out),
	    SLICE_LIT("{\"addresses\":[\"tcp://10.0.0.1:2\"]}")));
	buf_clear(&out);
	finder_encode(f, &near, &out);
	assert_true(slice_equal(buf_slice(&out),
	    SLICE_LIT("{\"addresses\":[\"tcp://127.0.0.1:1\","
		      "\"tcp://10.0.0.1:2\"]}")));
	buf_fini(&out);
	finder_free(f);
}

static void
finder_remembers_who_is_not_there(void **state)
{
	struct finder *f = with("https://h/?noannounce");
	const struct devid id = devid(1);
	struct finder_ask ask;
	char url[FINDER_URL_MAX + 80];

	(void)state;
	finder_want(f, &id, 1, T0);
	assert_true(finder_next(f, T0, &ask));
	assert_int_equal(ask.kind, FINDER_LOOKUP);
	assert_true(finder_url(f, &ask, url));
	assert_memory_equal(url, "https://h/?device=AEAQCAI-", 26);
	answer(f, &ask, 404, 120, 0, T0);
	assert_true(finder_wake_at(f) == T0 + 120 * CLOCK_S);
	/* Not even when it came and went meanwhile. */
	finder_want(f, NULL, 0, T0);
	finder_want(f, &id, 1, T0);
	assert_false(finder_next(f, T0 + 119 * CLOCK_S, &ask));
	assert_true(finder_next(f, T0 + 120 * CLOCK_S, &ask));
	answer(f, &ask, 404, 0, 0, T0);
	/* Somebody is impatient. */
	finder_refresh(f, T0 + CLOCK_S);
	assert_true(finder_next(f, T0 + CLOCK_S, &ask));
	answer(f, &ask, 200, 0, 0, T0);
	assert_true(finder_wake_at(f) >= T0 + 3 * CLOCK_MIN);
	finder_free(f);
}

static void
finder_leaves_a_server_alone_that_fails(void **state)
{
	struct finder *f = with("https://h/?noannounce");
	const struct devid id[] = { devid(1), devid(2) };
	uint64_t now = T0, last = 0;
	struct finder_ask ask;

	(void)state;
	finder_want(f, id, 1, now);
	for (int i = 0; i < 12; i++) {
		const uint64_t pause = finder_wake_at(f) - now;

		now += pause;
		assert_true(finder_next(f, now, &ask));
		answer(f, &ask, 0, 0, 0, now);
		/* It failed: nobody else is asked for either. */
		finder_want(f, id, 2, now);
		assert_false(finder_next(f, now + 7 * CLOCK_S, &ask));
		finder_want(f, id, 1, now);
		last = pause;
	}
	assert_in_range(last, 225 * CLOCK_S, 375 * CLOCK_S);
	finder_free(f);
}

static void
finder_obeys_too_many_requests_even_when_refreshed(void **state)
{
	struct finder *f = with("https://h/?noannounce");
	const struct devid id = devid(1);
	struct finder_ask ask;

	(void)state;
	finder_want(f, &id, 1, T0);
	assert_true(finder_next(f, T0, &ask));
	answer(f, &ask, 429, 600, 0, T0);
	finder_refresh(f, T0 + CLOCK_S);
	assert_false(finder_next(f, T0 + 599 * CLOCK_S, &ask));
	assert_true(finder_next(f, T0 + 600 * CLOCK_S, &ask));
	answer(f, &ask, 503, UINT64_MAX, 0, T0);
	assert_true(finder_wake_at(f) == T0 + CLOCK_HOUR);
	finder_free(f);
}

static void
finder_survives_a_server_configured_away(void **state)
{
	struct finder *f = with("https://h/");
	const struct addr own = parse("tcp://:1");
	const struct devid id = devid(1);
	struct finder_ask ask[2];

	(void)state;
	finder_set_own(f, &own, 1, T0);
	finder_want(f, &id, 1, T0);
	assert_true(finder_next(f, T0 + CLOCK_S, &ask[0]));
	assert_true(finder_next(f, T0 + CLOCK_S, &ask[1]));
	finder_set_servers(f, NULL, 0, T0);
	assert_null(finder_server_of(f, ask[0].server));
	answer(f, &ask[0], 204, 0, 0, T0);
	answer(f, &ask[1], 200, 0, 0, T0);
	assert_true(finder_wake_at(f) == CLOCK_NEVER);
	finder_free(f);
}

static void
finder_believes_what_can_be_dialled(void **state)
{
	static const char body[] =
	    "{\"addresses\":[7,null,\"\",\"tcp://10.0.0.1:1\",\"x://y\","
	    "\"tcp://127.0.0.1:2\",\"tcp://0.0.0.0:3\",\"tcp://10.0.0.1:1\","
	    "\"tcp://[fe80::1]:4\",\"tcp://h.example\"],\"seen\":1}";
	struct addr out[FINDER_ADDRESSES];
	size_t count;

	(void)state;
	assert_int_equal(
	    finder_decode(slice_str(body), false, out, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_int_equal(
	    finder_decode(slice_str(body), true, out, &count, NULL), 0);
	assert_int_equal(count, 4);
}

static void
finder_refuses_what_is_no_answer(void **state)
{
	static const char *const bad[] = { "", "[]", "{}", "7", "{\"addresses",
		"{\"addresses\":{}}", "null", "\xff" };
	struct addr out[FINDER_ADDRESSES];
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
		    finder_decode(slice_str(bad[i]), true, out, &count, NULL),
		    ERR_PROTOCOL);
		assert_int_equal(count, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finder_takes_options_out_of_a_url),
		cmocka_unit_test(finder_refuses_what_is_no_server),
		cmocka_unit_test(finder_announces_when_the_server_says),
		cmocka_unit_test(
		    finder_tells_at_once_what_changed_while_it_was_told),
		cmocka_unit_test(
		    finder_tells_loopback_addresses_to_nobody_else),
		cmocka_unit_test(finder_remembers_who_is_not_there),
		cmocka_unit_test(finder_leaves_a_server_alone_that_fails),
		cmocka_unit_test(
		    finder_obeys_too_many_requests_even_when_refreshed),
		cmocka_unit_test(finder_survives_a_server_configured_away),
		cmocka_unit_test(finder_believes_what_can_be_dialled),
		cmocka_unit_test(finder_refuses_what_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
