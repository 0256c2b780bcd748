/* Discovery datagrams, byte for byte and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "mesh/announce.h"

static struct addr
parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static struct announce
sample(const char *const *address, size_t count)
{
	struct announce a = { .instance = 300 };

	for (size_t i = 0; i < DEVID_LEN; i++)
		a.id.b[i] = (uint8_t)i;
	for (size_t i = 0; i < count; i++)
		a.address[i] = parse(address[i]);
	a.address_count = count;
	return a;
}

static void
announce_writes_the_bytes_of_local_discovery_v4(void **state)
{
	static const char *const at[] = { "tcp://0.0.0.0:22000" };
	static const uint8_t head[] = { 0x2e, 0xa7, 0xd9, 0x0b, 0x0a, 32 };
	static const char tail[] = "\x12\x13tcp://0.0.0.0:22000\x18\xac\x02";
	const struct announce a = sample(at, 1);
	struct buf out = { 0 };

	(void)state;
	announce_encode(&a, &out);
	assert_int_equal(out.len, 6 + 32 + sizeof(tail) - 1);
	assert_memory_equal(out.ptr, head, 6);
	assert_memory_equal(out.ptr + 6, a.id.b, 32);
	assert_memory_equal(out.ptr + 38, tail, sizeof(tail) - 1);
	buf_fini(&out);
}

static void
announce_fills_in_where_it_came_from(void **state)
{
	static const char *const at[] = { "tcp://0.0.0.0:22000", "tcp://:22001",
		"tcp://127.0.0.1:1", "tcp://0.0.0.0:0", "quic://0.0.0.0:22000",
		"tcp6://[::]:5", "tcp://10.0.0.9:7", "tcp://0.0.0.0:22000" };
	const struct addr from = parse("tcp://192.168.1.9:21027");
	const struct announce a = sample(at, 8);
	struct buf out = { 0 };
	struct announce got;
	char text[ADDR_TEXT_MAX];

	(void)state;
	announce_encode(&a, &out);
	assert_int_equal(announce_decode(&got, buf_slice(&out), &from, NULL),
	    0);
	assert_true(devid_equal(&got.id, &a.id));
	assert_int_equal(got.instance, 300);
	assert_int_equal(got.address_count, 4);
	addr_text(&got.address[0], text);
	assert_string_equal(text, "tcp://192.168.1.9:22000");
	addr_text(&got.address[1], text);
	assert_string_equal(text, "tcp://192.168.1.9:22001");
	addr_text(&got.address[2], text);
	assert_string_equal(text, "quic://192.168.1.9:22000");
	addr_text(&got.address[3], text);
	assert_string_equal(text, "tcp://10.0.0.9:7");
	buf_fini(&out);
}

static void
announce_gives_link_local_addresses_our_interface(void **state)
{
	static const char *const at[] = { "tcp://[::]:22000",
		"tcp://[fe80::7%25eth9]:5" };
	const struct addr from = parse("tcp://[fe80::9%25lan0]:21027");
	const struct announce a = sample(at, 2);
	struct buf out = { 0 };
	struct announce got;
	char text[ADDR_TEXT_MAX];

	(void)state;
	announce_encode(&a, &out);
	assert_int_equal(announce_decode(&got, buf_slice(&out), &from, NULL),
	    0);
	assert_int_equal(got.address_count, 2);
	addr_text(&got.address[0], text);
	assert_string_equal(text, "tcp://[fe80::9%lan0]:22000");
	addr_text(&got.address[1], text);
	assert_string_equal(text, "tcp://[fe80::7%lan0]:5");
	buf_fini(&out);
}

static void
announce_refuses_every_cut_but_between_fields(void **state)
{
	static const char *const at[] = { "tcp://1.2.3.4:5" };
	const struct addr from = parse("tcp://1.2.3.4:21027");
	const struct announce a = sample(at, 1);
	struct buf out = { 0 };
	struct announce got;
	size_t good = 0;

	(void)state;
	announce_encode(&a, &out);
	for (size_t len = 0; len <= out.len; len++)
		if (announce_decode(&got, slice_of(out.ptr, len), &from,
			NULL) == 0)
			good++;
	/* After the ID, after the address, and whole. */
	assert_int_equal(good, 3);
	buf_fini(&out);
}

static void
announce_refuses_noise(void **state)
{
	const struct addr from = parse("tcp://1.2.3.4:21027");
	static uint8_t big[LIMIT_ANNOUNCE_LEN + 1] = { 0x2e, 0xa7, 0xd9, 0x0b };
	static const uint8_t short_id[] = { 0x2e, 0xa7, 0xd9, 0x0b, 0x0a, 2, 1,
		2 };
	static const uint8_t old[] = { 0x7d, 0x79, 0xbc, 0x40, 0, 0 };
	struct announce got;

	(void)state;
	assert_int_equal(
	    announce_decode(&got, slice_of(big, sizeof(big)), &from, NULL),
	    ERR_PROTOCOL);
	assert_int_equal(announce_decode(&got,
			     slice_of(short_id, sizeof(short_id)), &from, NULL),
	    ERR_PROTOCOL);
	assert_int_equal(
	    announce_decode(&got, slice_of(old, sizeof(old)), &from, NULL),
	    ERR_PROTOCOL);
}

static void
announce_takes_only_so_many_addresses_and_skips_unknown_fields(void **state)
{
	const struct addr from = parse("tcp://1.2.3.4:21027");
	struct announce a = sample(NULL, 0), got;
	struct buf out = { 0 };
	char text[64];

	(void)state;
	announce_encode(&a, &out);
	buf_put_varint(&out, 99 << 3 | 2);
	buf_put_str(&out, SLICE_LIT("whatever"));
	buf_put_varint(&out, 98 << 3 | 5);
	buf_put_u32le(&out, 1);
	for (int i = 1; i <= 40; i++) {
		snprintf(text, sizeof(text), "tcp://10.0.0.%d:22000", i);
		buf_put_varint(&out, 2 << 3 | 2);
		buf_put_str(&out, slice_str(text));
	}
	assert_int_equal(announce_decode(&got, buf_slice(&out), &from, NULL),
	    0);
	assert_int_equal(got.address_count, ANNOUNCE_ADDRESSES);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    announce_writes_the_bytes_of_local_discovery_v4),
		cmocka_unit_test(announce_fills_in_where_it_came_from),
		cmocka_unit_test(
		    announce_gives_link_local_addresses_our_interface),
		cmocka_unit_test(announce_refuses_every_cut_but_between_fields),
		cmocka_unit_test(announce_refuses_noise),
		cmocka_unit_test(
		    announce_takes_only_so_many_addresses_and_skips_unknown_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
