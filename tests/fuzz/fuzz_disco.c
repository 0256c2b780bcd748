/*
 * What a client of our discovery server says: a request, read in pieces as
 * well, and answered.  What is told again can be dialled and announced again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "mesh/disco.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Does a shorter piece already say what the whole says? */
static void
check_pieces(struct slice in, enum http_verdict whole, int status)
{
	struct http_request q;
	int other;

	for (size_t n = 0; n < in.len; n += 1 + in.len / 16) {
		const enum http_verdict v =
		    http_parse(&q, slice_to(in, n), LIMIT_DISCO_BODY, &other);

		if (v == HTTP_BAD)
			ASSERT(whole == HTTP_BAD && other == status);
		if (v == HTTP_WHOLE)
			ASSERT(whole == HTTP_WHOLE);
	}
}

static void
check_body(struct slice body, const struct addr *from)
{
	struct buf texts = { 0 }, json = { 0 }, again = { 0 };

	if (disco_decode(body, from, &texts, NULL) == 0 && texts.len > 0) {
		ASSERT(texts.len <= LIMIT_DISCO_LEN);
		ASSERT(texts.ptr[texts.len - 1] == 0);
		ASSERT(disco_encode(buf_slice(&texts), 0, false, &json));
		ASSERT(disco_decode(buf_slice(&json), from, &again, NULL) == 0);
		ASSERT(slice_equal(buf_slice(&texts), buf_slice(&again)));
	}
	buf_fini(&texts);
	buf_fini(&json);
	buf_fini(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct now now = { .mono_ns = CLOCK_S };
	const struct devid id = { { 1 } };
	const struct slice in = slice_of(data, len);
	struct addr from;
	const struct disco_asker who = { &id, true, &from };
	struct disco *ds = disco_new(1);
	struct http_request q;
	struct buf out = { 0 };
	enum http_verdict v;
	int status;

	ASSERT(addr_parse(&from, SLICE_LIT("tcp://192.0.2.1:1"), NULL) == 0);
	v = http_parse(&q, in, LIMIT_DISCO_BODY, &status);
	check_pieces(in, v, status);
	if (v == HTTP_WHOLE) {
		ASSERT(q.body.len <= LIMIT_DISCO_BODY);
		status = disco_answer(ds, &q, &who, now, &out);
		check_body(q.body, &from);
	} else if (v == HTTP_BAD) {
		disco_refuse(status, &out);
	}
	if (v != HTTP_MORE) {
		ASSERT(http_reason(status)[0] != '\0');
		ASSERT(
		    slice_has_prefix(buf_slice(&out), SLICE_LIT("HTTP/1.1 ")));
	}
	check_body(in, &from);
	buf_fini(&out);
	disco_free(ds);
	return 0;
}
