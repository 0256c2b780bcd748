/* The relay protocol, byte for byte and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/relay.h"

static struct relay_message
again(const struct relay_message *m)
{
	struct relay_message out;
	struct buf b = { 0 };
	size_t used;

	relay_encode(m, &b);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(
		    relay_decode(&out, slice_of(b.ptr, n), &used, NULL), 0);
		assert_in_range(relay_wants(slice_of(b.ptr, n)), 1, b.len - n);
	}
	assert_int_equal(relay_wants(buf_slice(&b)), 0);
	assert_int_equal(relay_decode(&out, buf_slice(&b), &used, NULL), 1);
	assert_int_equal(used, b.len);
	assert_int_equal(out.type, m->type);
	buf_fini(&b);
	return out;
}

static void
relay_writes_the_bytes_of_version_1(void **state)
{
	static const uint8_t ping[] = { 0x9e, 0x79, 0xbc, 0x40, 0, 0, 0, 0, 0,
		0, 0, 0 };
	static const uint8_t join[] = { 0x9e, 0x79, 0xbc, 0x40, 0, 0, 0, 2, 0,
		0, 0, 12, 0, 0, 0, 5, 't', 'o', 'k', 'e', 'n', 0, 0, 0 };
	static const uint8_t response[] = { 0x9e, 0x79, 0xbc, 0x40, 0, 0, 0, 4,
		0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, 'n', 'o', 0, 0 };
	struct relay_message m = { .type = RELAY_PING };
	struct buf b = { 0 };

	(void)state;
	relay_encode(&m, &b);
	assert_int_equal(b.len, sizeof(ping));
	assert_memory_equal(b.ptr, ping, sizeof(ping));
	buf_clear(&b);
	m.type = RELAY_JOIN;
	memcpy(m.u.token, "token", 6);
	relay_encode(&m, &b);
	assert_int_equal(b.len, sizeof(join));
	assert_memory_equal(b.ptr, join, sizeof(join));
	buf_clear(&b);
	m = (struct relay_message){ .type = RELAY_RESPONSE,
		.u.response = { 1, "no" } };
	relay_encode(&m, &b);
	assert_int_equal(b.len, sizeof(response));
	assert_memory_equal(b.ptr, response, sizeof(response));
	buf_fini(&b);
}

static void
relay_reads_what_it_writes(void **state)
{
	struct relay_message m = { .type = RELAY_INVITATION }, n;

	(void)state;
	memset(m.u.invitation.from.b, 7, DEVID_LEN);
	m.u.invitation.key = (struct relay_key){ "secret", 6 };
	memcpy(m.u.invitation.ip, "\x7f\0\0\1", 4);
	m.u.invitation.ip_len = 4;
	m.u.invitation.port = 22067;
	m.u.invitation.server = true;
	n = again(&m);
	assert_memory_equal(&n, &m, sizeof(m));
	m = (struct relay_message){ .type = RELAY_SESSION,
		.u.key = { "k", 1 } };
	n = again(&m);
	assert_memory_equal(&n, &m, sizeof(m));
	m = (struct relay_message){ .type = RELAY_CONNECT };
	m.u.device.b[0] = 1;
	n = again(&m);
	assert_true(devid_equal(&n.u.device, &m.u.device));
	m = (struct relay_message){ .type = RELAY_JOIN };
	again(&m);
	m = (struct relay_message){ .type = RELAY_FULL };
	again(&m);
}

static void
relay_refuses_what_is_damaged(void **state)
{
	static const struct {
		uint8_t type, len;
		const char *payload;
	} bad[] = {
		{ 8, 0, "" },                         /* no such type */
		{ 3, 4, "\0\0\0\0" },                 /* empty key */
		{ 3, 8, "\0\0\0\x21zzzz" },           /* long key */
		{ 5, 8, "\0\0\0\4abcd" },             /* short device */
		{ 4, 4, "\0\0\0\1" },                 /* no text */
		{ 4, 8, "\0\0\0\1\xff\xff\xff\xff" }, /* huge text */
		{ 2, 8, "\0\0\0\2a\0\0\0" },          /* NUL in it */
		{ 6, 8, "\0\0\0\4abcd" },
	};
	uint8_t bytes[32] = { 0x9e, 0x79, 0xbc, 0x40 };
	struct relay_message m;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bytes[7] = bad[i].type;
		bytes[11] = bad[i].len;
		memcpy(bytes + 12, bad[i].payload, bad[i].len);
		assert_int_equal(relay_decode(&m,
				     slice_of(bytes, 12u + bad[i].len), &used,
				     NULL),
		    ERR_PROTOCOL);
		assert_int_equal(used, 0);
	}
	/* Too long is refused before it is there. */
	memset(bytes + 4, 0, 8);
	bytes[10] = 4;
	bytes[11] = 1;
	assert_int_equal(relay_decode(&m, slice_of(bytes, 12), &used, NULL),
	    ERR_PROTOCOL);
	bytes[0] = 0x16;
	assert_int_equal(relay_decode(&m, slice_of(bytes, 12), &used, NULL),
	    ERR_PROTOCOL);
	assert_int_equal(relay_wants(slice_of(bytes, 12)), 0);
}

static void
relay_makes_texts_printable(void **state)
{
	static const uint8_t bytes[] = { 0x9e, 0x79, 0xbc, 0x40, 0, 0, 0, 4, 0,
		0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 3, 'a', '\n', 0x1b, 0 };
	struct relay_message m;
	size_t used;

	(void)state;
	assert_int_equal(
	    relay_decode(&m, slice_of(bytes, sizeof(bytes)), &used, NULL), 1);
	assert_string_equal(m.u.response.text, "a??");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relay_writes_the_bytes_of_version_1),
		cmocka_unit_test(relay_reads_what_it_writes),
		cmocka_unit_test(relay_refuses_what_is_damaged),
		cmocka_unit_test(relay_makes_texts_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
