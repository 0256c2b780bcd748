/* Addresses: what is read, what is refused, how they are printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/addr.h"

static void
check_round(const char *in, const char *out)
{
	char text[ADDR_TEXT_MAX];
	struct err err = { 0 };
	struct addr a, b;

	if (addr_parse(&a, slice_str(in), &err) < 0)
		fail_msg("%s: %s", in, err.text);
	addr_text(&a, text);
	assert_string_equal(text, out);
	assert_int_equal(addr_parse(&b, slice_str(text), &err), 0);
	assert_true(addr_equal(&a, &b));
}

static void
addr_prints_what_it_read(void **state)
{
	(void)state;
	check_round("tcp://192.168.1.2:22001", "tcp://192.168.1.2:22001");
	check_round("tcp://192.168.1.2", "tcp://192.168.1.2:22000");
	check_round("tcp4://10.0.0.1:1", "tcp4://10.0.0.1:1");
	check_round("tcp://Hub.Local:99", "tcp://hub.local:99");
	check_round("tcp://:0", "tcp://:0");
	check_round("tcp://", "tcp://:22000");
	check_round("quic6://[::1]", "quic6://[::1]:22000");
	check_round("tcp://[fe80::1%25eth0]:5", "tcp://[fe80::1%eth0]:5");
	check_round("tcp://[fe80::1%2525x]:5", "tcp://[fe80::1%2525x]:5");
	check_round("tcp://1.2.3.4:5/?option=1", "tcp://1.2.3.4:5");
	check_round("dynamic", "dynamic");
}

static void
addr_prints_ipv6_as_rfc_5952_says(void **state)
{
	(void)state;
	check_round("tcp://[2001:DB8:0:0:0:0:0:1]",
	    "tcp://[2001:db8::1]:22000");
	check_round("tcp://[2001:db8:0:1:1:1:1:1]",
	    "tcp://[2001:db8:0:1:1:1:1:1]:22000");
	check_round("tcp://[2001:0:0:1:0:0:0:1]",
	    "tcp://[2001:0:0:1::1]:22000");
	check_round("tcp://[2001:db8:0:0:1:0:0:1]",
	    "tcp://[2001:db8::1:0:0:1]:22000");
	check_round("tcp://[::]", "tcp://[::]:22000");
	check_round("tcp://[1::]", "tcp://[1::]:22000");
	check_round("tcp://[::ffff:1.2.3.4]", "tcp://[::ffff:102:304]:22000");
}

static void
addr_refuses_with_words(void **state)
{
	static const char *const bad[] = { "", "192.168.1.2", "tcp:/1.2.3.4",
		"http://1.2.3.4", "tcp://1.2.3.4:65536",
		"tcp://1.2.3.4:", "tcp://1.2.3.4:x", "tcp://::1:22000",
		"tcp://[::1", "tcp://[]", "tcp://[::1]x",
		"tcp://[1:2:3:4:5:6:7]", "tcp://[1::2::3]",
		"tcp://[1:2:3:4:5:6:7:8:9]", "tcp://[12345::]", "tcp://[:1]",
		"tcp://[1:]", "tcp://[::1.2.3]", "tcp4://[::1]",
		"tcp6://1.2.3.4", "tcp://a b", "tcp://.x", "tcp://a..b",
		"tcp://[fe80::1%]", "tcp://user@host", "Dynamic" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = { 0 };
		struct addr a;

		if (addr_parse(&a, slice_str(bad[i]), &err) != ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
		assert_true(strlen(err.text) > 10);
	}
	/* Three digits that look like four parts are a name, as in URLs. */
	check_round("tcp://1.2.3", "tcp://1.2.3:22000");
}

static struct addr
parse(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	return a;
}

static void
addr_knows_near_from_far(void **state)
{
	static const char *const near[] = { "tcp://127.0.0.1", "tcp://10.1.2.3",
		"tcp://172.31.0.1", "tcp://192.168.0.1", "tcp://169.254.1.1",
		"tcp://[::1]", "tcp://[fe80::1]", "tcp://[fd00::1]",
		"tcp://[::ffff:10.0.0.1]", "tcp://localhost" };
	static const char *const far[] = { "tcp://172.32.0.1", "tcp://8.8.8.8",
		"tcp://[2001:db8::1]", "tcp://hub", "tcp://[::ffff:8.8.8.8]" };

	(void)state;
	for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
		const struct addr a = parse(near[i]);

		assert_true(addr_is_lan(&a));
	}
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
		const struct addr a = parse(far[i]);

		assert_false(addr_is_lan(&a));
	}
}

static void
addr_ranks_tcp_before_quic_and_the_lan_before_the_rest(void **state)
{
	static const char *const best_first[] = { "tcp://192.168.1.2:1",
		"quic://192.168.1.2:1", "tcp://198.51.100.1:1",
		"quic://198.51.100.1:1", "relay://198.51.100.1:1" };
	struct addr a, b;

	(void)state;
	for (size_t i = 0; i + 1 < 5; i++) {
		a = parse(best_first[i]);
		b = parse(best_first[i + 1]);
		assert_true(addr_rank(&a) < addr_rank(&b));
	}
}

static void
addr_dials_only_what_can_be_dialled(void **state)
{
	static const char *const no[] = { "dynamic", "quic://:22000",
		"tcp://0.0.0.0", "tcp://", "tcp://[::]", "tcp://1.2.3.4:0",
		"tcp://224.0.0.1", "tcp://255.255.255.255", "tcp://[ff02::1]",
		"relay://", "relay://0.0.0.0:22067", "relay://x:0" };
	struct addr a = parse("tcp://hub:1");

	(void)state;
	assert_true(addr_is_dialable(&a));
	a = parse("quic6://[2001:db8::1]:22000");
	assert_true(addr_is_dialable(&a));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		a = parse(no[i]);
		assert_false(addr_is_dialable(&a));
	}
}

static void
addr_keeps_what_a_relay_is_asked_with(void **state)
{
	static const char text[] =
	    "relay://r.example:443/?id=MFZWI3D-BONSGYC-YLTMRWG-C43ENR5-QXGZDMM"
	    "-FZWI3DP-BONSGYY-LTMRWAD";
	char full[200], out[ADDR_TEXT_MAX];
	struct addr a, b = parse(text);

	(void)state;
	snprintf(full, sizeof(full), "%s&token=s3cret&pingInterval=1m0s", text);
	a = parse(full);
	assert_true(addr_is_dialable(&a) && addr_is_relayed(&a));
	assert_string_equal(a.token, "s3cret");
	assert_false(addr_equal(&a, &b));
	/* It is told to nobody. */
	addr_text(&a, out);
	assert_string_equal(out, text);
	a = parse("relay://1.2.3.4");
	assert_int_equal(a.port, 22067);
	assert_true(devid_is_none(&a.relay));
	assert_int_equal(addr_parse(&a, SLICE_LIT("relay://x/?id=wrong"), NULL),
	    ERR_INVALID);
	assert_int_equal(
	    addr_parse(&a, SLICE_LIT("relay://x/?token=with space"), NULL),
	    ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addr_prints_what_it_read),
		cmocka_unit_test(addr_prints_ipv6_as_rfc_5952_says),
		cmocka_unit_test(addr_refuses_with_words),
		cmocka_unit_test(addr_knows_near_from_far),
		cmocka_unit_test(
		    addr_ranks_tcp_before_quic_and_the_lan_before_the_rest),
		cmocka_unit_test(addr_dials_only_what_can_be_dialled),
		cmocka_unit_test(addr_keeps_what_a_relay_is_asked_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
