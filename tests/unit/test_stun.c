/* STUN against the test vectors of RFC 5769, and against liars. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "mesh/stun.h"

/* RFC 5769, 2.1: a request of ICE. */
static const uint8_t stun_request[] = { 0x00, 0x01, 0x00, 0x58, 0x21, 0x12,
	0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87,
	0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74,
	0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24,
	0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f,
	0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76,
	0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08,
	0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e,
	0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28,
	0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf };

/* 2.2: an answer with an IPv4 address. */
static const uint8_t stun_v4[] = { 0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4,
	0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
	0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65,
	0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1,
	0x47, 0xe1, 0x12, 0xa6, 0x43, 0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5,
	0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9, 0x2a, 0xf9, 0xba,
	0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c,
	0x96 };

/* 2.3: and one with an IPv6 address. */
static const uint8_t stun_v6[] = { 0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4,
	0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
	0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65,
	0x63, 0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1,
	0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4,
	0xb5, 0xbe, 0xd2, 0xb9, 0xd9, 0x00, 0x08, 0x00, 0x14, 0xa3, 0x82, 0x95,
	0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c, 0x82, 0x92, 0xc2,
	0x75, 0xbf, 0xe3, 0xed, 0x41, 0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b,
	0x4c };

static const struct stun_id stun_vector_id = { { 0xb7, 0xe7, 0xa7, 0x01, 0xbc,
    0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae } };

static struct stun_message
decode(const void *bytes, size_t len)
{
	struct stun_message m;
	struct err err = { 0 };

	assert_int_equal(stun_decode(&m, slice_of(bytes, len), &err), 0);
	return m;
}

static void
assert_addr(const struct addr *a, const char *text)
{
	char got[ADDR_TEXT_MAX];

	addr_text(a, got);
	assert_string_equal(got, text);
}

static struct addr
parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static void
stun_reads_the_request_of_rfc_5769(void **state)
{
	const struct stun_message m =
	    decode(stun_request, sizeof(stun_request));

	(void)state;
	assert_int_equal(m.class, STUN_REQUEST);
	assert_int_equal(m.method, STUN_BINDING);
	assert_memory_equal(&m.id, &stun_vector_id, sizeof(m.id));
	assert_string_equal(m.software, "STUN test client");
	assert_true(m.has_fingerprint);
	/* PRIORITY belongs to ICE, which we are not. */
	assert_int_equal(m.unknown_count, 1);
	assert_int_equal(m.unknown[0], 0x0024);
}

static void
stun_reads_the_answers_of_rfc_5769(void **state)
{
	struct stun_message m = decode(stun_v4, sizeof(stun_v4));

	(void)state;
	assert_int_equal(m.class, STUN_SUCCESS);
	assert_string_equal(m.software, "test vector");
	assert_true(m.has_mapped && m.has_fingerprint);
	assert_addr(&m.mapped, "quic://192.0.2.1:32853");
	m = decode(stun_v6, sizeof(stun_v6));
	assert_memory_equal(&m.id, &stun_vector_id, sizeof(m.id));
	assert_addr(&m.mapped,
	    "quic://[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

/* The attribute of our own answer has the very bytes of the vector's. */
static void
stun_writes_the_address_as_rfc_5769(void **state)
{
	struct stun_message m = { .class = STUN_SUCCESS,
		.method = STUN_BINDING,
		.id = stun_vector_id,
		.has_mapped = true };
	struct buf b = { 0 };

	(void)state;
	m.mapped = parse("quic://192.0.2.1:32853");
	stun_encode(&m, &b);
	assert_int_equal(b.len, 20 + 12 + 8);
	assert_memory_equal(b.ptr + 20, stun_v4 + 36, 12);
	buf_clear(&b);
	m.mapped = parse("quic://[2001:db8:1234:5678:11:2233:4455:6677]:32853");
	stun_encode(&m, &b);
	assert_memory_equal(b.ptr + 20, stun_v6 + 36, 24);
	buf_fini(&b);
}

static void
stun_refuses_every_flipped_bit_of_a_vector(void **state)
{
	uint8_t bytes[sizeof(stun_v4)];
	struct stun_message m;

	(void)state;
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		memcpy(bytes, stun_v4, sizeof(bytes));
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		/* But for those that hide the fingerprint itself. */
		if (stun_decode(&m, slice_of(bytes, sizeof(bytes)), NULL) == 0)
			assert_false(m.has_fingerprint);
	}
	for (size_t n = 0; n < sizeof(stun_v4); n++)
		assert_int_equal(stun_decode(&m, slice_of(stun_v4, n), NULL),
		    ERR_PROTOCOL);
}

static void
stun_reads_the_old_address_when_there_is_no_other(void **state)
{
	uint8_t bytes[] = { 0x01, 0x01, 0, 12, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3,
		4, 5, 6, 7, 8, 9, 10, 11, 12, 0x00, 0x01, 0, 8, 0, 1, 0x10,
		0x00, 198, 51, 100, 7 };
	struct stun_message m = decode(bytes, sizeof(bytes));

	(void)state;
	assert_addr(&m.mapped, "quic://198.51.100.7:4096");
	assert_false(m.has_fingerprint);
	bytes[25] = 3; /* of no family there is */
	assert_int_equal(stun_decode(&m, slice_of(bytes, sizeof(bytes)), NULL),
	    ERR_PROTOCOL);
}

static void
stun_answers_with_the_address_it_was_asked_from(void **state)
{
	const struct addr from = parse("quic://203.0.113.9:40000");
	struct stun_message m = { .method = STUN_BINDING,
		.id = stun_vector_id,
		.response_port = 5000 };
	struct buf ask = { 0 }, out = { 0 };
	uint16_t port;

	(void)state;
	stun_encode(&m, &ask);
	assert_true(stun_answer(buf_slice(&ask), &from, &out, &port));
	assert_int_equal(port, 5000);
	m = decode(out.ptr, out.len);
	assert_int_equal(m.class, STUN_SUCCESS);
	assert_memory_equal(&m.id, &stun_vector_id, sizeof(m.id));
	assert_addr(&m.mapped, "quic://203.0.113.9:40000");
	/* An answer is no question: two servers do not talk for ever. */
	buf_clear(&ask);
	assert_false(stun_answer(buf_slice(&out), &from, &ask, &port));
	buf_fini(&ask);
	buf_fini(&out);
}

static void
stun_names_what_it_does_not_understand(void **state)
{
	const struct addr from = parse("quic://203.0.113.9:40000");
	struct buf out = { 0 };
	struct stun_message m;
	uint16_t port;

	(void)state;
	assert_true(stun_answer(slice_of(stun_request, sizeof(stun_request)),
	    &from, &out, &port));
	m = decode(out.ptr, out.len);
	assert_int_equal(m.class, STUN_ERROR);
	assert_int_equal(m.code, 420);
	assert_int_equal(m.unknown_count, 1);
	assert_int_equal(m.unknown[0], 0x0024);
	assert_false(m.has_mapped);
	buf_fini(&out);
}

static void
stun_servers_are_written_as_urls(void **state)
{
	static const char *const good[][2] = {
		{ "stun://example.org", "quic://example.org:3478" },
		{ "stun:example.org:99", "quic://example.org:99" },
		{ "stun://192.0.2.1:3479", "quic://192.0.2.1:3479" },
		{ "stun://[2001:db8::1]", "quic://[2001:db8::1]:3478" },
		{ "stun://[2001:db8::1]:5", "quic://[2001:db8::1]:5" },
	};
	static const char *const bad[] = { "", "stun://", "stuns://a",
		"example.org", "stun://a:0", "stun://a b", "stun://a:b" };
	struct addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(
		    stun_parse_server(&a, slice_str(good[i][0]), NULL), 0);
		assert_addr(&a, good[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(stun_parse_server(&a, slice_str(bad[i]), NULL),
		    ERR_INVALID);
}

static void
stun_asks_again_as_the_rfc_says(void **state)
{
	(void)state;
	assert_int_equal(stun_retry_ns(0), 0);
	assert_int_equal(stun_retry_ns(1), 500 * CLOCK_MS);
	assert_int_equal(stun_retry_ns(2), 1500 * CLOCK_MS);
	assert_int_equal(stun_retry_ns(3), 3500 * CLOCK_MS);
	assert_int_equal(stun_retry_ns(4), 7500 * CLOCK_MS);
	assert_int_equal(stun_retry_ns(STUN_TRIES), 9500 * CLOCK_MS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stun_reads_the_request_of_rfc_5769),
		cmocka_unit_test(stun_reads_the_answers_of_rfc_5769),
		cmocka_unit_test(stun_writes_the_address_as_rfc_5769),
		cmocka_unit_test(stun_refuses_every_flipped_bit_of_a_vector),
		cmocka_unit_test(
		    stun_reads_the_old_address_when_there_is_no_other),
		cmocka_unit_test(
		    stun_answers_with_the_address_it_was_asked_from),
		cmocka_unit_test(stun_names_what_it_does_not_understand),
		cmocka_unit_test(stun_servers_are_written_as_urls),
		cmocka_unit_test(stun_asks_again_as_the_rfc_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
