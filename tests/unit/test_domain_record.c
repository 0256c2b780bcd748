/* HOME/domain: torn, damaged and edited files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/domain_record.h"

static void
a_log_is_read_up_to_where_it_is_torn_or_damaged(void **state)
{
	struct buf b = { 0 };
	struct slice rest, entry;
	uint64_t seq;
	size_t first;

	(void)state;
	domain_record_put(1, SLICE_LIT("one"), &b);
	first = b.len;
	domain_record_put(2, SLICE_LIT("two!"), &b);
	rest = buf_slice(&b);
	assert_int_equal(domain_record_next(&rest, &seq, &entry, NULL), 1);
	assert_true(seq == 1 && slice_equal(entry, SLICE_LIT("one")));
	assert_int_equal(domain_record_next(&rest, &seq, &entry, NULL), 1);
	assert_true(seq == 2 && slice_equal(entry, SLICE_LIT("two!")));
	assert_int_equal(domain_record_next(&rest, &seq, &entry, NULL), 0);
	for (size_t n = first + 1; n < b.len; n++) {
		rest = slice_of(b.ptr + first, n - first);
		assert_int_equal(domain_record_next(&rest, &seq, &entry, NULL),
		    ERR_CORRUPT);
		assert_int_equal(rest.len, n - first);
	}
	for (size_t i = first; i < b.len; i++) {
		b.ptr[i] ^= 1;
		rest = slice_of(b.ptr + first, b.len - first);
		assert_int_equal(domain_record_next(&rest, &seq, &entry, NULL),
		    ERR_CORRUPT);
		b.ptr[i] ^= 1;
	}
	buf_fini(&b);
}

static void
a_pin_is_read_as_it_was_put(void **state)
{
	struct domain_pin pin = { { { 1, 0xab } }, 77, { 2, 0xcd } }, out;
	struct buf b = { 0 };

	(void)state;
	domain_record_put_pin(&pin, &b);
	assert_int_equal(domain_record_pin(&out, buf_slice(&b), NULL), 0);
	assert_memory_equal(&out, &pin, sizeof(pin));
	for (size_t n = 0; n + 1 < b.len; n++)
		assert_int_equal(
		    domain_record_pin(&out, slice_of(b.ptr, n), NULL),
		    ERR_CORRUPT);
	buf_fini(&b);
}

static void
members_are_read_as_they_were_put(void **state)
{
	const struct config_member all[] = {
		{ CONFIG_MEMBER, { { 1 } }, SLICE_INIT("a b c") },
		{ CONFIG_DENIED, { { 2 } }, SLICE_INIT("x") },
		{ CONFIG_FORMER, { { 1 } }, SLICE_INIT("y") },
		{ CONFIG_GONE, { { 0 } }, SLICE_INIT("z") },
		{ CONFIG_ROTATED, { { 1 } }, SLICE_EMPTY },
	};
	struct config_member put[5];
	char old[DEVID_TEXT_LEN + 1];
	const struct config_member *out;
	struct arena ar = { 0 };
	struct buf b = { 0 };

	(void)state;
	memcpy(put, all, sizeof(put));
	devid_text(&(struct devid){ { 9 } }, old);
	put[4].name = slice_str(old);
	domain_record_put_members(put, 5, &b);
	buf_put(&b, SLICE_LIT("member nonsense n\nwhat - n\ngone -\n\n"));
	assert_int_equal(domain_record_members(buf_slice(&b), &ar, &out), 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(out[i].kind, put[i].kind);
		assert_true(devid_equal(&out[i].id, &put[i].id));
		assert_true(slice_equal(out[i].name, put[i].name));
	}
	arena_fini(&ar);
	buf_fini(&b);
}

static void
who_waits_is_read_as_it_was_put(void **state)
{
	const struct domain_waiting put[] = {
		{ { { { 1 } }, "my phone" }, 5 },
		{ { { { 2 } }, "x" }, 6 },
	};
	struct domain_waiting *out;
	struct arena ar = { 0 };
	struct buf b = { 0 };

	(void)state;
	domain_record_put_waiting(put, 2, &b);
	buf_put(&b, SLICE_LIT("7 nobody\n"));
	assert_int_equal(domain_record_waiting(buf_slice(&b), &ar, &out), 2);
	assert_memory_equal(out, put, sizeof(put));
	arena_fini(&ar);
	buf_fini(&b);
}

static void
codes_are_read_as_they_were_put(void **state)
{
	const struct domain_invite put[] = {
		{ { 4271, { 1, 2, 3, 4, 5 } }, { { 1 } }, 99, 2, false },
		{ { 999999, { 255, 0, 0, 0, 1 } }, { { 2 } }, 100, 0, true },
	};
	struct domain_invite *out;
	struct arena ar = { 0 };
	struct buf b = { 0 };
	size_t one;

	(void)state;
	domain_record_put_invites(put, 1, &b);
	one = b.len;
	domain_record_put_invites(put + 1, 1, &b);
	assert_int_equal(domain_record_invites(buf_slice(&b), &ar, &out), 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(out[i].code.box, put[i].code.box);
		assert_memory_equal(out[i].code.secret, put[i].code.secret,
		    sizeof(put[i].code.secret));
		assert_true(
		    devid_equal(&out[i].coordinator, &put[i].coordinator));
		assert_int_equal(out[i].expires_wall_s, put[i].expires_wall_s);
		assert_int_equal(out[i].wrong, put[i].wrong);
		assert_int_equal(out[i].approve, put[i].approve);
	}
	/* Half a line is none; one that was burnt is good for nothing. */
	for (size_t n = 0; n + 9 < one; n++)
		assert_int_equal(
		    domain_record_invites(slice_of(b.ptr, n), &ar, &out), 0);
	b.ptr[3] = '3';
	assert_int_equal(domain_record_invites(buf_slice(&b), &ar, &out), 1);
	arena_fini(&ar);
	buf_fini(&b);
}

static void
a_key_is_told_from_a_device_id(void **state)
{
	const struct sign_secret key = { { 9, 8, 7 } };
	struct sign_secret out;
	char text[DOMAIN_KEY_TEXT_MAX];

	(void)state;
	domain_record_key_text(&key, text);
	assert_int_equal(domain_record_key(&out, slice_str(text), NULL), 0);
	assert_memory_equal(out.b, key.b, sizeof(key.b));
	assert_int_equal(domain_record_key(&out, slice_str(text + 4), NULL),
	    ERR_INVALID);
	text[6] = text[6] == 'A' ? 'B' : 'A';
	assert_int_equal(domain_record_key(&out, slice_str(text), NULL),
	    ERR_INVALID);
}

static void
a_public_key_is_told_from_a_secret_one(void **state)
{
	const struct sign_secret key = { { 9, 8, 7 } };
	struct sign_public public, out;
	char text[DOMAIN_KEY_TEXT_MAX];
	struct sign_secret secret;

	(void)state;
	sign_public_of(&key, &public);
	domain_record_public_text(&public, text);
	assert_int_equal(domain_record_public(&out, slice_str(text), NULL), 0);
	assert_true(sign_public_equal(&out, &public));
	assert_int_equal(domain_record_key(&secret, slice_str(text), NULL),
	    ERR_INVALID);
	domain_record_key_text(&key, text);
	assert_int_equal(domain_record_public(&out, slice_str(text), NULL),
	    ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_log_is_read_up_to_where_it_is_torn_or_damaged),
		cmocka_unit_test(a_pin_is_read_as_it_was_put),
		cmocka_unit_test(members_are_read_as_they_were_put),
		cmocka_unit_test(who_waits_is_read_as_it_was_put),
		cmocka_unit_test(codes_are_read_as_they_were_put),
		cmocka_unit_test(a_key_is_told_from_a_device_id),
		cmocka_unit_test(a_public_key_is_told_from_a_secret_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
