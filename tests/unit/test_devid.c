/* devid: text, check characters, what a person may type.  BEP-FACTS.md 1.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "blockproto/devid.h"

/* Bytes 0 ... 31, and SHA-256 of nothing. */
#define TEXT_COUNT                                                             \
	"AAAQEAY-EAUDAOB-CAJBIFQ-YDIOB4B-IBCEQTC-QKRMFYX-YDENBWH-A5DYPQG"
#define TEXT_EMPTY                                                             \
	"4OYMIQU-Y7QOBJR-GX36TEJ-S35ZEQD-T24QPEM-SNZGTFB-ESWMRW6-CSXBKQD"
#define BARE_COUNT "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5DYPQ"

static struct devid
id_count(void)
{
	struct devid id;

	for (unsigned i = 0; i < DEVID_LEN; i++)
		id.b[i] = (uint8_t)i;
	return id;
}

static int
parse(struct devid *out, const char *text, struct err *err)
{
	memset(err, 0, sizeof(*err));
	return devid_parse(out, slice_str(text), err);
}

static void
text_is_what_syncthing_prints(void **state)
{
	static const uint8_t empty[DEVID_LEN] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98,
		0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
		0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4,
		0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };
	char text[DEVID_TEXT_LEN + 1];
	char brief[DEVID_SHORT_TEXT_LEN + 1];
	struct devid id = id_count();

	(void)state;
	devid_text(&id, text);
	assert_string_equal(text, TEXT_COUNT);
	assert_true(devid_short(&id) == UINT64_C(0x0001020304050607));
	devid_short_text(devid_short(&id), brief);
	assert_string_equal(brief, "AAAQEAY");
	assert_int_equal(
	    devid_from_bytes(&id, slice_of(empty, DEVID_LEN), NULL), 0);
	devid_text(&id, text);
	assert_string_equal(text, TEXT_EMPTY);
	devid_short_text(devid_short(&id), brief);
	assert_string_equal(brief, "4OYMIQU");
}

static void
none_has_no_text_and_is_never_accepted(void **state)
{
	const struct devid none = { { 0 } };
	char text[DEVID_TEXT_LEN + 1];
	struct devid id;
	struct err err;

	(void)state;
	assert_true(devid_is_none(&none));
	devid_text(&none, text);
	assert_string_equal(text, "");
	assert_int_equal(
	    devid_from_bytes(&id, slice_of(none.b, DEVID_LEN), NULL),
	    ERR_PROTOCOL);
	assert_int_equal(
	    parse(&id, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		&err),
	    ERR_INVALID);
	assert_int_equal(parse(&id, "", &err), ERR_INVALID);
}

static void
bytes_of_any_other_length_are_refused(void **state)
{
	uint8_t raw[64];
	struct devid id;

	(void)state;
	memset(raw, 7, sizeof(raw));
	for (size_t n = 0; n <= sizeof(raw); n++)
		assert_int_equal(devid_from_bytes(&id, slice_of(raw, n), NULL),
		    n == DEVID_LEN ? 0 : ERR_PROTOCOL);
}

static void
typed_forms_are_read_leniently(void **state)
{
	static const char *const good[] = { TEXT_COUNT, BARE_COUNT,
		BARE_COUNT "====",
		"aaaqeay-eaudaob-cajbifq-ydiob4b-ibceqtc-qkrmfyx-ydenbwh-"
		"a5dypqg",
		"AAAQEAYEAUDAOBCAJBIFQYDIOB4BIBCEQTCQKRMFYXYDENBWHA5DYPQG",
		" AAAQEAY EAUDA0B-CAJB1FQ-YD1OB4B-IBCEQTC-QKRMFYX-YDEN8WH "
		"A5DYPQG " };
	const struct devid want = id_count();
	struct devid id;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse(&id, good[i], &err), 0);
		assert_true(devid_equal(&id, &want));
	}
}

static void
a_slip_is_found_and_its_part_named(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	char text[sizeof(TEXT_COUNT)];
	char part[32];
	struct devid id;
	struct err err;
	unsigned found = 0, tried = 0, nth = 0;

	(void)state;
	for (size_t i = 0; i < DEVID_TEXT_LEN; i++) {
		memcpy(text, TEXT_COUNT, sizeof(text));
		if (text[i] == '-')
			continue;
		for (size_t d = 0; d < 32; d++) {
			text[i] = digits[d];
			if (text[i] == TEXT_COUNT[i])
				continue;
			tried++;
			if (parse(&id, text, &err) == 0)
				continue;
			found++;
			if (strstr(err.text, "cannot end in") != NULL)
				continue;
			(void)snprintf(part, sizeof(part), "part %u of 4",
			    nth / 14 + 1);
			assert_non_null(strstr(err.text, part));
		}
		nth++;
	}
	/* Weaker than real Luhn: doubled digits that fold onto another. */
	assert_int_equal(tried, 56 * 31);
	assert_true(found >= tried * 95 / 100);
}

static void
what_is_no_id_is_refused(void **state)
{
	static const char *const bad[] = { "-", "A", "not a device id!",
		"AAAQEAY-EAUDAOB-CAJBIFQ-YDIOB4B-IBCEQTC-QKRMFYX-YDENBWH-"
		"A5DYPQ",
		TEXT_COUNT "A", TEXT_COUNT TEXT_COUNT,
		"AAAQEAY-EAUDAOB-CAJBIFQ-YDIOB4B-IBCEQTC-QKRMFYX-YDENBWH-"
		"A5DYPQ9",
		/* 52 characters whose last one has bits beyond 32 bytes */
		"AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQTCQKRMFYYDENBWHA5DYPR",
		"\xc3\xa4" };
	static char long_one[5000];
	struct devid id;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(&id, bad[i], &err), ERR_INVALID);
		assert_int_equal(err.code, ERR_INVALID);
	}
	memset(long_one, '-', sizeof(long_one) - 1);
	assert_int_equal(parse(&id, long_one, &err), ERR_INVALID);
}

static void
any_id_survives_its_text(void **state)
{
	char text[DEVID_TEXT_LEN + 1];
	struct devid id = id_count(), back;
	uint32_t x = 1;

	(void)state;
	for (unsigned n = 0; n < 2000; n++) {
		for (unsigned i = 0; i < DEVID_LEN; i++) {
			x = x * 1664525u + 1013904223u;
			id.b[i] = (uint8_t)(x >> 24);
		}
		devid_text(&id, text);
		assert_int_equal(strlen(text), DEVID_TEXT_LEN);
		assert_int_equal(devid_parse(&back, slice_str(text), NULL), 0);
		assert_int_equal(devid_cmp(&id, &back), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_what_syncthing_prints),
		cmocka_unit_test(none_has_no_text_and_is_never_accepted),
		cmocka_unit_test(bytes_of_any_other_length_are_refused),
		cmocka_unit_test(typed_forms_are_read_leniently),
		cmocka_unit_test(a_slip_is_found_and_its_part_named),
		cmocka_unit_test(what_is_no_id_is_refused),
		cmocka_unit_test(any_id_survives_its_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
