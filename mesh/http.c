/*
 * HTTP; see http.h.
 */
#include "mesh/http.h"

#include <string.h>

#include "engine/base/ascii.h"

#define HTTP_METHOD_MAX 16u
#define HTTP_LENGTH_DIGITS 9u /* of Content-Length */

struct http_head {
	bool has_length, has_coding;
	size_t length;
};

/* RFC 9110, 5.6.2. */
static bool
http_is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		const uint8_t c = s.ptr[i];

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		    (c >= 'a' && c <= 'z'))
			continue;
		if (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)
			return false;
	}
	return s.len > 0;
}

static bool
http_same(struct slice s, const char *lower)
{
	if (s.len != strlen(lower))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (ascii_lower(s.ptr[i]) != (uint8_t)lower[i])
			return false;
	return true;
}

static struct slice
http_trim(struct slice s)
{
	while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = slice_from(s, 1);
	while (
	    s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Up to a CRLF, which goes as well; false when there is none. */
static bool
http_line(struct slice *in, struct slice *line)
{
	const size_t n = slice_find(*in, '\n');

	if (n == SIZE_MAX || n == 0 || in->ptr[n - 1] != '\r')
		return false;
	*line = slice_to(*in, n - 1);
	*in = slice_from(*in, n + 1);
	for (size_t i = 0; i < line->len; i++)
		if (line->ptr[i] == 0x7f ||
		    (line->ptr[i] < ' ' && line->ptr[i] != '\t'))
			return false;
	return true;
}

/* METHOD SP TARGET SP VERSION; 0, or the status that it is answered with. */
static int
http_first_line(struct http_request *out, struct slice line)
{
	const size_t a = slice_find(line, ' ');
	const size_t b = slice_rfind(line, ' ');
	struct slice method, target, version;
	size_t mark;

	if (a == SIZE_MAX || b <= a)
		return 400;
	method = slice_to(line, a);
	target = slice_from(slice_to(line, b), a + 1);
	version = slice_from(line, b + 1);
	if (!http_is_token(method) || method.len > HTTP_METHOD_MAX ||
	    target.len == 0 || target.ptr[0] != '/')
		return 400;
	for (size_t i = 0; i < target.len; i++)
		if (target.ptr[i] <= ' ' || target.ptr[i] >= 0x7f)
			return 400;
	if (!slice_equal(version, SLICE_LIT("HTTP/1.1")) &&
	    !slice_equal(version, SLICE_LIT("HTTP/1.0")))
		return slice_has_prefix(version, SLICE_LIT("HTTP/")) ? 505
								     : 400;
	out->method = HTTP_OTHER;
	if (slice_equal(method, SLICE_LIT("GET")))
		out->method = HTTP_GET;
	else if (slice_equal(method, SLICE_LIT("POST")))
		out->method = HTTP_POST;
	mark = slice_find(target, '?');
	out->path = mark == SIZE_MAX ? target : slice_to(target, mark);
	if (mark != SIZE_MAX)
		out->query = slice_from(target, mark + 1);
	return 0;
}

/* Two lengths are a trick, even when they are the same. */
static int
http_length(struct http_head *head, struct slice value)
{
	if (head->has_length || value.len == 0)
		return 400;
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return 400;
		if (i >= HTTP_LENGTH_DIGITS)
			return 413;
		head->length = head->length * 10 + (value.ptr[i] - '0');
	}
	head->has_length = true;
	return 0;
}

static int
http_header(struct http_request *out, struct http_head *head, struct slice line)
{
	const size_t colon = slice_find(line, ':');
	struct slice name, value;

	if (colon == SIZE_MAX)
		return 400;
	name = slice_to(line, colon);
	value = http_trim(slice_from(line, colon + 1));
	if (!http_is_token(name)) /* a folded line has none, either */
		return 400;
	if (http_same(name, "content-length"))
		return http_length(head, value);
	if (http_same(name, "transfer-encoding"))
		head->has_coding = true;
	else if (http_same(name, "expect") && http_same(value, "100-continue"))
		out->expects = true;
	return 0;
}

/* Where the head ends; 0: not yet. */
static size_t
http_head_len(struct slice in)
{
	for (size_t i = 3; i < in.len && i < HTTP_HEAD_MAX; i++)
		if (memcmp(in.ptr + i - 3, "\r\n\r\n", 4) == 0)
			return i + 1;
	return 0;
}

static int
http_parse_head(struct http_request *out, struct http_head *head,
    struct slice in)
{
	struct slice line;
	unsigned lines = 0;
	int status;

	if (!http_line(&in, &line))
		return 400;
	status = http_first_line(out, line);
	while (status == 0 && http_line(&in, &line) && line.len > 0)
		status = ++lines > HTTP_LINES_MAX
			     ? 431
			     : http_header(out, head, line);
	if (status == 0 && in.len > 0)
		return 400; /* a line that is none */
	if (status == 0 && (head->has_coding ||
			       (out->method == HTTP_POST && !head->has_length)))
		return 411;
	return status;
}

enum http_verdict
http_parse(struct http_request *out, struct slice in, size_t body_max,
    int *status)
{
	struct http_head head = { 0 };
	const size_t len = http_head_len(in);

	*out = (struct http_request){ 0 };
	*status = 0;
	if (len == 0 && in.len < HTTP_HEAD_MAX)
		return HTTP_MORE;
	*status =
	    len == 0 ? 431 : http_parse_head(out, &head, slice_to(in, len));
	if (*status == 0 && head.length > body_max)
		*status = 413;
	if (*status != 0)
		return HTTP_BAD;
	if (in.len - len < head.length)
		return HTTP_MORE;
	out->body = slice_to(slice_from(in, len), head.length);
	return HTTP_WHOLE;
}

/* --- queries ---------------------------------------------------------- */

static int
http_digit(uint8_t c)
{
	return ascii_hex(ascii_lower(c));
}

static bool
http_unescape(struct slice in, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t c = in.ptr[i] == '+' ? ' ' : in.ptr[i];

		if (c == '%') {
			const int hi =
			    i + 2 < in.len ? http_digit(in.ptr[i + 1]) : -1;
			const int lo =
			    i + 2 < in.len ? http_digit(in.ptr[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return false;
			c = (uint8_t)(hi << 4 | lo);
			i += 2;
		}
		if (c == 0 || n + 1 >= cap)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return true;
}

bool
http_query(struct slice query, struct slice name, char *out, size_t cap)
{
	while (query.len > 0) {
		const size_t end = slice_find(query, '&');
		const struct slice part =
		    end == SIZE_MAX ? query : slice_to(query, end);
		const size_t eq = slice_find(part, '=');

		if (eq != SIZE_MAX && slice_equal(slice_to(part, eq), name))
			return http_unescape(slice_from(part, eq + 1), out,
			    cap);
		query =
		    end == SIZE_MAX ? SLICE_EMPTY : slice_from(query, end + 1);
	}
	return false;
}

/* --- answers ---------------------------------------------------------- */

const char *
http_reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} known[] = {
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].status == status)
			return known[i].text;
	return "";
}

void
http_put_answer(struct buf *out, int status, const char *more, const char *type,
    struct slice body)
{
	buf_printf(out, "HTTP/1.1 %d %s\r\nConnection: close\r\n%s", status,
	    http_reason(status), more);
	/* RFC 9110, 8.6: a 204 says no length. */
	if (status != 204)
		buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n",
		    type != NULL ? type : "text/plain; charset=utf-8",
		    body.len);
	buf_put(out, SLICE_LIT("\r\n"));
	if (status != 204)
		buf_put(out, body);
}
