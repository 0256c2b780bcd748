/* Requests that are taken, and those that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/http.h"

#define BODY_MAX 100u

static struct http_request q;
static int status;

static enum http_verdict
parse(const char *text)
{
	return http_parse(&q, slice_str(text), BODY_MAX, &status);
}

static void
refuses(const char *text, int want)
{
	if (parse(text) != HTTP_BAD || status != want)
		fail_msg("%d instead of %d: %s", status, want, text);
}

static void
http_takes_a_question_apart(void **state)
{
	(void)state;
	assert_int_equal(parse("GET /v2/?device=AB&x HTTP/1.1\r\n"
			       "Host: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"),
	    HTTP_WHOLE);
	assert_int_equal(q.method, HTTP_GET);
	assert_true(slice_equal(q.path, SLICE_LIT("/v2/")));
	assert_true(slice_equal(q.query, SLICE_LIT("device=AB&x")));
	assert_int_equal(q.body.len, 0);
	assert_int_equal(parse("POST / HTTP/1.0\r\ncontent-LENGTH:\t3 \r\n"
			       "\r\nabc and the next"),
	    HTTP_WHOLE);
	assert_int_equal(q.method, HTTP_POST);
	assert_int_equal(q.query.len, 0);
	assert_true(slice_equal(q.body, SLICE_LIT("abc")));
	assert_int_equal(parse("BREW /pot HTTP/1.1\r\n\r\n"), HTTP_WHOLE);
	assert_int_equal(q.method, HTTP_OTHER);
}

static void
http_waits_for_all_of_it(void **state)
{
	const struct slice whole =
	    SLICE_LIT("POST /?a=b HTTP/1.1\r\nExpect: 100-Continue\r\n"
		      "Content-Length: 5\r\n\r\nhello");

	(void)state;
	for (size_t n = 0; n < whole.len; n++) {
		assert_int_equal(
		    http_parse(&q, slice_to(whole, n), BODY_MAX, &status),
		    HTTP_MORE);
		assert_int_equal(q.expects, n + 5 >= whole.len);
	}
	assert_int_equal(http_parse(&q, whole, BODY_MAX, &status), HTTP_WHOLE);
}

static void
http_refuses_what_is_no_request(void **state)
{
	(void)state;
	refuses("\r\n\r\n", 400);
	refuses("GET\r\n\r\n", 400);
	refuses("GET /\r\n\r\n", 400);
	refuses(" / HTTP/1.1\r\n\r\n", 400);
	refuses("GET  HTTP/1.1\r\n\r\n", 400);
	refuses("GET a HTTP/1.1\r\n\r\n", 400);
	refuses("GET https://a/ HTTP/1.1\r\n\r\n", 400);
	refuses("GET /a b HTTP/1.1\r\n\r\n", 400);
	refuses("GET /\x01 HTTP/1.1\r\n\r\n", 400);
	refuses("GET /\xc3\xa4 HTTP/1.1\r\n\r\n", 400);
	refuses("G@T / HTTP/1.1\r\n\r\n", 400);
	refuses("GET / HTTP/2.0\r\n\r\n", 505);
	refuses("GET / GOPHER\r\n\r\n", 400);
	refuses("GET / HTTP/1.1\r\nnothing\r\n\r\n", 400);
	refuses("GET / HTTP/1.1\r\na b: c\r\n\r\n", 400);
	refuses("GET / HTTP/1.1\r\na: b\r\n folded\r\n\r\n", 400);
	refuses("GET / HTTP/1.1\na: b\r\n\r\n", 400);
	refuses("GET / HTTP/1.1\r\na: \x01\r\n\r\n", 400);
}

static void
http_refuses_lengths_that_are_tricks(void **state)
{
	char text[128];

	(void)state;
	refuses("POST / HTTP/1.1\r\n\r\n", 411);
	refuses("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411);
	refuses("POST / HTTP/1.1\r\nContent-Length: 1\r\n"
		"Transfer-Encoding: chunked\r\n\r\n",
	    411);
	refuses("POST / HTTP/1.1\r\nContent-Length: 1\r\n"
		"Content-Length: 1\r\n\r\n",
	    400);
	refuses("POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400);
	refuses("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400);
	refuses("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400);
	refuses("POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n", 400);
	refuses("POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", 400);
	refuses("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n"
		"\r\n",
	    413);
	snprintf(text, sizeof(text),
	    "POST / HTTP/1.1\r\nContent-Length: %u\r\n\r\n", BODY_MAX + 1);
	refuses(text, 413);
	snprintf(text, sizeof(text),
	    "POST / HTTP/1.1\r\nContent-Length: %u\r\n\r\n", BODY_MAX);
	assert_int_equal(parse(text), HTTP_MORE);
}

static void
http_bounds_the_head(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_put(&b, SLICE_LIT("GET / HTTP/1.1\r\n"));
	for (unsigned i = 0; i < HTTP_LINES_MAX; i++)
		buf_put(&b, SLICE_LIT("a: b\r\n"));
	buf_put(&b, SLICE_LIT("\r\n"));
	assert_int_equal(http_parse(&q, buf_slice(&b), BODY_MAX, &status),
	    HTTP_WHOLE);
	b.len -= 2;
	buf_put(&b, SLICE_LIT("c: d\r\n\r\n"));
	assert_int_equal(http_parse(&q, buf_slice(&b), BODY_MAX, &status),
	    HTTP_BAD);
	assert_int_equal(status, 431);
	buf_clear(&b);
	buf_put(&b, SLICE_LIT("GET / HTTP/1.1\r\nlong: "));
	while (b.len < HTTP_HEAD_MAX - 1)
		buf_put_u8(&b, 'x');
	assert_int_equal(http_parse(&q, buf_slice(&b), BODY_MAX, &status),
	    HTTP_MORE);
	buf_put_u8(&b, 'x');
	assert_int_equal(http_parse(&q, buf_slice(&b), BODY_MAX, &status),
	    HTTP_BAD);
	assert_int_equal(status, 431);
	buf_fini(&b);
}

static void
http_finds_a_value_in_a_query(void **state)
{
	const struct slice query =
	    SLICE_LIT("devices=no&device=A%2db+c&device=second&bad=%zz&cut=%2"
		      "&nul=%00&empty=");
	char out[8];

	(void)state;
	assert_true(http_query(query, SLICE_LIT("device"), out, sizeof(out)));
	assert_string_equal(out, "A-b c");
	assert_true(http_query(query, SLICE_LIT("empty"), out, sizeof(out)));
	assert_string_equal(out, "");
	assert_false(http_query(query, SLICE_LIT("none"), out, sizeof(out)));
	assert_false(http_query(query, SLICE_LIT("bad"), out, sizeof(out)));
	assert_false(http_query(query, SLICE_LIT("cut"), out, sizeof(out)));
	assert_false(http_query(query, SLICE_LIT("nul"), out, sizeof(out)));
	assert_true(http_query(query, SLICE_LIT("device"), out, 6));
	assert_false(http_query(query, SLICE_LIT("device"), out, 5));
	assert_false(http_query(SLICE_EMPTY, SLICE_LIT("a"), out, 5));
}

static void
http_says_no_length_where_there_is_no_body(void **state)
{
	struct buf b = { 0 };

	(void)state;
	http_put_answer(&b, 204, "A: b\r\n", NULL, SLICE_LIT("lost"));
	buf_put_u8(&b, 0);
	assert_string_equal((char *)b.ptr, "HTTP/1.1 204 No Content\r\n"
					   "Connection: close\r\nA: b\r\n\r\n");
	buf_clear(&b);
	http_put_answer(&b, 404, "", "x/y", SLICE_LIT("no"));
	buf_put_u8(&b, 0);
	assert_string_equal((char *)b.ptr,
	    "HTTP/1.1 404 Not Found\r\nConnection: close\r\n"
	    "Content-Type: x/y\r\nContent-Length: 2\r\n\r\nno");
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_takes_a_question_apart),
		cmocka_unit_test(http_waits_for_all_of_it),
		cmocka_unit_test(http_refuses_what_is_no_request),
		cmocka_unit_test(http_refuses_lengths_that_are_tricks),
		cmocka_unit_test(http_bounds_the_head),
		cmocka_unit_test(http_finds_a_value_in_a_query),
		cmocka_unit_test(http_says_no_length_where_there_is_no_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
