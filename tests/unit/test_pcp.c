/*
 * PCP's bytes, against those that RFC 6887's figures 2, 3, 9 and 10 draw.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/pcp.h"

/* clang-format off */
static const uint8_t client[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff,
	192, 168, 1, 10 };

static const uint8_t request[60] = {
	2, 1, 0, 0,             /* version, MAP */
	0, 0, 0x0e, 0x10,       /* 3600 s */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 1, 10,
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, /* nonce */
	17, 0, 0, 0,            /* UDP */
	0x55, 0xf0, 0x55, 0xf1, /* 22000, 22001 */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0,
};

static const uint8_t granted[60] = {
	2, 0x81, 0, 0,
	0, 0, 0x07, 0x08,       /* 1800 s */
	0, 0, 0x12, 0x34,       /* epoch */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
	17, 0, 0, 0,
	0x55, 0xf0, 0x9c, 0x40, /* 22000, 40000 */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7,
};
/* clang-format on */

static struct pcp_map
a_request(void)
{
	return (
	    struct pcp_map){ .nonce = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 },
		.protocol = PCP_UDP,
		.inner_port = 22000,
		.outer_port = 22001,
		.outer_ip = { [10] = 0xff, [11] = 0xff },
		.lease_s = 3600 };
}

static void
a_request_is_written_as_the_rfc_draws_it(void **state)
{
	const struct pcp_map map = a_request();
	struct buf out = { 0 };

	(void)state;
	pcp_encode_map(&map, client, &out);
	assert_int_equal(out.len, sizeof(request));
	assert_memory_equal(out.ptr, request, sizeof(request));
	buf_fini(&out);
}

static void
an_answer_is_read(void **state)
{
	struct pcp_map map = a_request();
	struct pcp_answer a;

	(void)state;
	assert_int_equal(
	    pcp_decode_map(&a, slice_of(granted, sizeof(granted)), NULL), 0);
	assert_int_equal(a.result, PCP_SUCCESS);
	assert_int_equal(a.epoch_s, 0x1234);
	assert_int_equal(a.map.lease_s, 1800);
	assert_int_equal(a.map.outer_port, 40000);
	assert_memory_equal(a.map.outer_ip + 12, "\xcb\x00\x71\x07", 4);
	assert_true(pcp_is_answer(&a, &map));
	map.inner_port++;
	assert_false(pcp_is_answer(&a, &map));
	map = a_request();
	map.nonce[11]++;
	assert_false(pcp_is_answer(&a, &map));
	map = a_request();
	map.protocol = PCP_TCP;
	assert_false(pcp_is_answer(&a, &map));
}

static void
a_cut_answer_is_none_at_every_length(void **state)
{
	struct pcp_answer a;

	(void)state;
	for (size_t len = 0; len < sizeof(granted); len++)
		assert_int_equal(
		    pcp_decode_map(&a, slice_of(granted, len), NULL),
		    ERR_PROTOCOL);
}

static void
options_behind_an_answer_are_skipped(void **state)
{
	uint8_t longer[sizeof(granted) + 8] = { 0 };
	struct pcp_answer a;

	(void)state;
	memcpy(longer, granted, sizeof(granted));
	assert_int_equal(
	    pcp_decode_map(&a, slice_of(longer, sizeof(longer)), NULL), 0);
	assert_int_equal(a.map.outer_port, 40000);
	assert_int_equal(
	    pcp_decode_map(&a, slice_of(longer, sizeof(longer) - 1), NULL),
	    ERR_PROTOCOL);
}

static void
a_question_is_no_answer(void **state)
{
	struct pcp_answer a;

	(void)state;
	assert_int_equal(
	    pcp_decode_map(&a, slice_of(request, sizeof(request)), NULL),
	    ERR_PROTOCOL);
}

static void
a_router_of_another_version_is_told_apart(void **state)
{
	/* RFC 6886, 3.5: unsupported version, of NAT-PMP; RFC 6887, 9. */
	static const uint8_t natpmp[8] = { 0, 0x81, 0, 1, 0, 0, 0, 9 };
	uint8_t pcp[24] = { 2, 0x81, 0, PCP_UNSUPP_VERSION };
	struct pcp_answer a;

	(void)state;
	assert_int_equal(
	    pcp_decode_map(&a, slice_of(natpmp, sizeof(natpmp)), NULL),
	    ERR_UNSUPPORTED);
	assert_int_equal(pcp_decode_map(&a, slice_of(pcp, sizeof(pcp)), NULL),
	    ERR_UNSUPPORTED);
}

static void
announcements_of_both_kinds_tell_the_epoch(void **state)
{
	/* RFC 6886, 3.2: public address; 3.2.1: sent unasked. */
	static const uint8_t natpmp[12] = { 0, 128, 0, 0, 0, 0, 0, 7, 203, 0,
		113, 7 };
	static const uint8_t pcp[24] = { 2, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9 };
	uint32_t epoch_s = 0;

	(void)state;
	assert_true(
	    pcp_decode_announce(&epoch_s, slice_of(natpmp, sizeof(natpmp))));
	assert_int_equal(epoch_s, 7);
	assert_true(pcp_decode_announce(&epoch_s, slice_of(pcp, sizeof(pcp))));
	assert_int_equal(epoch_s, 9);
	assert_false(
	    pcp_decode_announce(&epoch_s, slice_of(granted, sizeof(granted))));
	for (size_t len = 0; len < sizeof(natpmp); len++)
		assert_false(
		    pcp_decode_announce(&epoch_s, slice_of(natpmp, len)));
	for (size_t len = 0; len < sizeof(pcp); len++)
		assert_false(pcp_decode_announce(&epoch_s, slice_of(pcp, len)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_written_as_the_rfc_draws_it),
		cmocka_unit_test(an_answer_is_read),
		cmocka_unit_test(a_cut_answer_is_none_at_every_length),
		cmocka_unit_test(options_behind_an_answer_are_skipped),
		cmocka_unit_test(a_question_is_no_answer),
		cmocka_unit_test(a_router_of_another_version_is_told_apart),
		cmocka_unit_test(announcements_of_both_kinds_tell_the_epoch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
