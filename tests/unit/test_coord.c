/* The coordinator's wire, byte for byte and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/coord.h"

static struct arena arena;

static struct addr
addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static struct devid
devid_of(uint8_t b)
{
	struct devid id;

	memset(id.b, b, sizeof(id.b));
	return id;
}

/* Written, read at every length, and written again: the same bytes. */
static struct coord_message
again(const struct coord_message *m)
{
	struct coord_message out;
	struct buf b = { 0 }, c = { 0 };
	size_t used;
	uint8_t *kept;

	coord_encode(m, &b);
	kept = arena_alloc(&arena, b.len);
	memcpy(kept, b.ptr, b.len);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(
		    coord_decode(&out, slice_of(b.ptr, n), &used, &arena, NULL),
		    0);
		assert_int_equal(used, 0);
	}
	assert_int_equal(
	    coord_decode(&out, slice_of(kept, b.len), &used, &arena, NULL), 1);
	assert_int_equal(used, b.len);
	assert_int_equal(out.type, m->type);
	coord_encode(&out, &c);
	assert_int_equal(b.len, c.len);
	assert_memory_equal(b.ptr, c.ptr, b.len);
	buf_fini(&b);
	buf_fini(&c);
	return out;
}

/* A frame around `len` bytes. */
static int
decode(const char *bytes, size_t len, struct coord_message *out, size_t *used)
{
	struct buf b = { 0 };
	int rc;

	buf_put_u32be(&b, (uint32_t)len);
	buf_put(&b, slice_of(bytes, len));
	rc = coord_decode(out, buf_slice(&b), used, &arena, NULL);
	buf_fini(&b);
	return rc;
}

static void
coord_writes_the_bytes_of_version_1(void **state)
{
	static const uint8_t ping[] = { 0, 0, 0, 2, 8, 4 };
	static const uint8_t box[] = { 0, 0, 0, 8, 8, 11, 0x88, 1, 7, 0x90, 1,
		1 };
	static const uint8_t refused[] = { 0, 0, 0, 10, 8, 3, 0x48, 4, 0x50, 10,
		0x5a, 2, 'n', 'o' };
	struct coord_message m = { .type = COORD_PING };
	struct buf b = { 0 };

	(void)state;
	coord_encode(&m, &b);
	assert_int_equal(b.len, sizeof(ping));
	assert_memory_equal(b.ptr, ping, sizeof(ping));
	buf_clear(&b);
	m = (struct coord_message){ .type = COORD_BOX,
		.u.mail = { .box = 7, .close = true } };
	coord_encode(&m, &b);
	assert_int_equal(b.len, sizeof(box));
	assert_memory_equal(b.ptr, box, sizeof(box));
	buf_clear(&b);
	m = (struct coord_message){ .type = COORD_REFUSED,
		.u.refused = { COORD_NOT_HERE, COORD_SIGNAL, "no" } };
	coord_encode(&m, &b);
	assert_int_equal(b.len, sizeof(refused));
	assert_memory_equal(b.ptr, refused, sizeof(refused));
	buf_fini(&b);
}

static void
coord_reads_greetings_as_written(void **state)
{
	struct coord_message m = { .type = COORD_HELLO }, n;

	(void)state;
	m.u.hello.version = 1;
	n = again(&m);
	assert_false(n.u.hello.has_domain);
	assert_int_equal(n.u.hello.version, 1);
	m.u.hello.has_domain = true;
	memset(m.u.hello.domain.b, 3, 32);
	memset(m.u.hello.head, 4, 32);
	m.u.hello.seq = UINT64_MAX;
	m.u.hello.run = UINT64_MAX;
	n = again(&m);
	assert_memory_equal(&n, &m, sizeof(m));
	m = (struct coord_message){ .type = COORD_WELCOME };
	m.u.welcome.version = 1;
	m.u.welcome.seen = addr_of("tcp://[2001:db8::1]:4711");
	m.u.welcome.stun_port[0] = 3478;
	m.u.welcome.stun_port[1] = 3479;
	m.u.welcome.idle_s = 240;
	m.u.welcome.seq = 12;
	n = again(&m);
	assert_memory_equal(&n, &m, sizeof(m));
}

static void
coord_reads_lists_as_written(void **state)
{
	struct slice entry[3] = { SLICE_LIT("one"), SLICE_LIT(""),
		SLICE_LIT("three") };
	struct addr addr[2] = { addr_of("quic://192.0.2.1:22000"),
		addr_of("tcp://host.example:443") };
	struct devid id[2] = { devid_of(1), devid_of(2) };
	struct coord_message m = { .type = COORD_ENTRIES }, n;

	(void)state;
	m.u.entries.seq = 9;
	m.u.entries.entry = entry;
	m.u.entries.count = 3;
	n = again(&m);
	assert_int_equal(n.u.entries.seq, 9);
	assert_int_equal(n.u.entries.count, 3);
	assert_true(slice_equal(n.u.entries.entry[2], entry[2]));
	m = (struct coord_message){ .type = COORD_WHERE };
	m.u.where.id = id[1];
	m.u.where.addr = addr;
	m.u.where.count = 2;
	m.u.where.here = true;
	n = again(&m);
	assert_true(devid_equal(&n.u.where.id, &id[1]));
	assert_int_equal(n.u.where.count, 2);
	assert_true(addr_equal(&n.u.where.addr[1], &addr[1]));
	assert_true(n.u.where.here);
	m.type = COORD_PUBLISH;
	n = again(&m);
	assert_int_equal(n.u.where.count, 2);
	assert_false(n.u.where.here);
	m.u.where.count = 0;
	again(&m);
	m = (struct coord_message){ .type = COORD_WANT };
	m.u.want.id = id;
	m.u.want.count = 2;
	n = again(&m);
	assert_int_equal(n.u.want.count, 2);
	assert_true(devid_equal(&n.u.want.id[0], &id[0]));
}

static void
coord_reads_words_as_written(void **state)
{
	struct coord_message m = { .type = COORD_SIGNAL }, n;
	uint8_t long_body[COORD_SIGNAL_MAX];

	(void)state;
	memset(long_body, 0xa5, sizeof(long_body));
	m.u.signal.peer = devid_of(9);
	m.u.signal.body = slice_of(long_body, sizeof(long_body));
	n = again(&m);
	assert_true(devid_equal(&n.u.signal.peer, &m.u.signal.peer));
	assert_true(slice_equal(n.u.signal.body, m.u.signal.body));
	m = (struct coord_message){ .type = COORD_MAIL };
	m.u.mail.box = 4271;
	m.u.mail.stranger = 5;
	m.u.mail.body = SLICE_LIT("letter");
	n = again(&m);
	assert_int_equal(n.u.mail.box, 4271);
	assert_int_equal(n.u.mail.stranger, 5);
	assert_true(slice_equal(n.u.mail.body, m.u.mail.body));
	m = (struct coord_message){ .type = COORD_BOX };
	n = again(&m);
	assert_int_equal(n.u.mail.box, 0);
	m = (struct coord_message){ .type = COORD_PONG };
	again(&m);
}

static void
coord_never_writes_a_relays_token(void **state)
{
	struct addr addr = addr_of("relay://192.0.2.1:22067/?token=topsecret");
	struct coord_message m = { .type = COORD_PUBLISH };
	struct buf b = { 0 };

	(void)state;
	m.u.where.addr = &addr;
	m.u.where.count = 1;
	coord_encode(&m, &b);
	assert_null(memmem(b.ptr, b.len, "topsecret", 9));
	buf_fini(&b);
}

static void
coord_refuses_what_is_damaged(void **state)
{
	static const struct {
		size_t len;
		const char *bytes;
	} bad[] = {
		{ 0, "" },                         /* no type */
		{ 2, "\x08\x00" },                 /* type 0 */
		{ 1, "\x08" },                     /* cut */
		{ 3, "\x0a\x01\x01" },             /* a type of bytes */
		{ 4, "\x08\x01\x1a\x00" },         /* a domain of no bytes */
		{ 4, "\x08\x09\x6a\x00" },         /* WHERE whom? */
		{ 2, "\x08\x09" },                 /* WHERE whom? */
		{ 2, "\x08\x0a" },                 /* SIGNAL to whom? */
		{ 2, "\x08\x06" },                 /* ENTRIES from where? */
		{ 5, "\x08\x02\x38\x80\x80" },     /* a cut port */
		{ 6, "\x08\x02\x38\x80\x80\x04" }, /* a port of 65536 */
		{ 8, "\x08\x0b\x88\x01\x80\x80\x80\x80" }, /* a cut box */
		{ 4, "\x08\x04\x0b\x0c" },                 /* a group */
	};
	struct coord_message m;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(decode(bad[i].bytes, bad[i].len, &m, &used),
		    ERR_PROTOCOL);
		assert_int_equal(used, 0);
	}
	/* Too long is refused before it is there. */
	assert_int_equal(coord_decode(&m, SLICE_LIT("\x00\x04\x00\x01"), &used,
			     &arena, NULL),
	    ERR_PROTOCOL);
	/* The first bytes of TLS are no length. */
	assert_int_equal(coord_decode(&m, SLICE_LIT("\x16\x03\x01\x02"), &used,
			     &arena, NULL),
	    ERR_PROTOCOL);
}

static void
coord_bounds_every_list(void **state)
{
	struct buf b = { 0 };
	struct coord_message m;
	size_t used;

	(void)state;
	/* Each is within the frame and one more than there may be. */
	buf_put(&b, SLICE_LIT("\x08\x06\x20\x01"));
	for (size_t i = 0; i <= COORD_ENTRIES_MAX; i++)
		buf_put(&b, SLICE_LIT("\x62\x00"));
	assert_int_equal(decode((char *)b.ptr, b.len, &m, &used), ERR_PROTOCOL);
	assert_int_equal(decode((char *)b.ptr, b.len - 2, &m, &used), 1);
	assert_int_equal(m.u.entries.count, COORD_ENTRIES_MAX);
	buf_clear(&b);
	buf_put(&b, SLICE_LIT("\x08\x07"));
	for (size_t i = 0; i <= COORD_ADDRESSES_MAX; i++)
		buf_put(&b, SLICE_LIT("\x72\x10tcp://1.2.3.4:56"));
	assert_int_equal(decode((char *)b.ptr, b.len, &m, &used), ERR_PROTOCOL);
	buf_clear(&b);
	buf_put(&b, SLICE_LIT("\x08\x08"));
	for (size_t i = 0; i <= COORD_WANT_MAX; i++) {
		buf_put(&b, SLICE_LIT("\x6a\x20"));
		memset(buf_extend(&b, 32), 1, 32);
	}
	assert_int_equal(decode((char *)b.ptr, b.len, &m, &used), ERR_PROTOCOL);
	/* A body may be this long and no longer. */
	buf_clear(&b);
	buf_put(&b, SLICE_LIT("\x08\x0c\x82\x01"));
	buf_put_varint(&b, COORD_SIGNAL_MAX + 1);
	memset(buf_extend(&b, COORD_SIGNAL_MAX + 1), 'x', COORD_SIGNAL_MAX + 1);
	assert_int_equal(decode((char *)b.ptr, b.len, &m, &used), ERR_PROTOCOL);
	buf_clear(&b);
	buf_put(&b, SLICE_LIT("\x08\x06\x20\x01\x62"));
	buf_put_varint(&b, COORD_ENTRY_MAX + 1);
	memset(buf_extend(&b, COORD_ENTRY_MAX + 1), 'x', COORD_ENTRY_MAX + 1);
	assert_int_equal(decode((char *)b.ptr, b.len, &m, &used), ERR_PROTOCOL);
	buf_fini(&b);
}

static void
coord_skips_what_later_versions_say(void **state)
{
	struct coord_message m;
	size_t used;

	(void)state;
	/* A type we do not know: skipped whole. */
	assert_int_equal(decode("\x08\x63\x62\x02hi", 6, &m, &used),
	    ERR_UNSUPPORTED);
	assert_int_equal(used, 10);
	/* Fields we do not know, and a type that is not first. */
	assert_int_equal(decode("\xa2\x06\x01x\x08\x04", 6, &m, &used), 1);
	assert_int_equal(m.type, COORD_PING);
	/* An address of a kind that we do not know, and "dynamic". */
	assert_int_equal(decode("\x08\x07\x72\x07warp://\x72\x07"
				"dynamic\x72\x10tcp://1.2.3.4:56",
			     38, &m, &used),
	    1);
	assert_int_equal(m.u.where.count, 1);
	assert_int_equal(m.u.where.addr[0].port, 56);
	/* A refusal for a reason that we do not know is one. */
	assert_int_equal(decode("\x08\x03\x48\x63\x50\x63", 6, &m, &used), 1);
	assert_int_equal(m.u.refused.code, COORD_TOO_MUCH);
	assert_int_equal(m.u.refused.of, 0);
}

static void
coord_makes_texts_printable(void **state)
{
	struct coord_message m;
	size_t used;

	(void)state;
	assert_int_equal(decode("\x08\x03\x5a\x03"
				"a\n\x1b",
			     7, &m, &used),
	    1);
	assert_string_equal(m.u.refused.text, "a??");
	for (int code = COORD_OK; code <= COORD_BAD_MESSAGE; code++)
		assert_true(coord_code_text((enum coord_code)code)[0] != '\0');
}

static void
coord_fits_entries_into_messages(void **state)
{
	static uint8_t bytes[COORD_ENTRY_MAX];
	struct slice entry[COORD_ENTRIES_MAX + 1];
	struct coord_message m = { .type = COORD_ENTRIES };
	struct buf b = { 0 };
	size_t n;

	(void)state;
	for (size_t i = 0; i <= COORD_ENTRIES_MAX; i++)
		entry[i] = slice_of(bytes, 1);
	assert_int_equal(coord_entries_fit(entry, COORD_ENTRIES_MAX + 1),
	    COORD_ENTRIES_MAX);
	for (size_t i = 0; i <= COORD_ENTRIES_MAX; i++)
		entry[i] = slice_of(bytes, sizeof(bytes));
	n = coord_entries_fit(entry, COORD_ENTRIES_MAX);
	assert_in_range(n, 60, 64);
	m.u.entries.seq = UINT64_MAX;
	m.u.entries.entry = entry;
	m.u.entries.count = n;
	coord_encode(&m, &b);
	assert_in_range(b.len, 1, COORD_FRAME_MAX + 4);
	buf_fini(&b);
}

static void
coord_parses_what_a_person_wrote(void **state)
{
	static const char id[] =
	    "MFZWI3D-BONSGYC-YLTMRWG-C43ENR5-QXGZDMM-FZWI3DP-BONSGYY-LTMRWAD";
	static const char *const bad[] = { "", "dynamic", "quic://h:1",
		"tcp://:22075", "tcp://0.0.0.0:1", "tcp://h:0", "tcp://h:99999",
		"tcp://h?id=nonsense", "tcp://h?token=x", "tcp://h?",
		"https://h/", "relay://h:1" };
	struct coord_url url;
	char text[200];

	(void)state;
	snprintf(text, sizeof(text), "tcp://Hub.example:4711/?id=%s", id);
	assert_int_equal(coord_parse_url(&url, slice_str(text), NULL), 0);
	assert_string_equal(url.at.name, "hub.example");
	assert_int_equal(url.at.port, 4711);
	assert_false(devid_is_none(&url.id));
	assert_false(url.near);
	snprintf(text, sizeof(text), "tcp://127.0.0.1?id=%s", id);
	assert_int_equal(coord_parse_url(&url, slice_str(text), NULL), 0);
	assert_int_equal(url.at.port, COORD_PORT_DEFAULT);
	assert_true(url.near);
	assert_int_equal(
	    coord_parse_url(&url, SLICE_LIT("tcp://[2001:db8::1]"), NULL), 0);
	assert_int_equal(url.at.port, COORD_PORT_DEFAULT);
	assert_true(devid_is_none(&url.id));
	assert_int_equal(
	    coord_parse_url(&url, SLICE_LIT("tcp://[2001:db8::1]:7"), NULL), 0);
	assert_int_equal(url.at.port, 7);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(coord_parse_url(&url, slice_str(bad[i]), NULL),
		    ERR_INVALID);
}

static int
clear(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(coord_writes_the_bytes_of_version_1),
		cmocka_unit_test(coord_reads_greetings_as_written),
		cmocka_unit_test(coord_reads_lists_as_written),
		cmocka_unit_test(coord_reads_words_as_written),
		cmocka_unit_test(coord_never_writes_a_relays_token),
		cmocka_unit_test(coord_refuses_what_is_damaged),
		cmocka_unit_test(coord_bounds_every_list),
		cmocka_unit_test(coord_skips_what_later_versions_say),
		cmocka_unit_test(coord_makes_texts_printable),
		cmocka_unit_test(coord_fits_entries_into_messages),
		cmocka_unit_test(coord_parses_what_a_person_wrote),
	};

	return cmocka_run_group_tests(tests, NULL, clear);
}
