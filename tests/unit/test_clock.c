/*
 * Calendar: known days, every day of 400 years, and times before 1970.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/clock.h"

static void
known_moments_print_as_known(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} table[] = {
		{ 0, "1970-01-01T00:00:00Z" },
		{ -1, "1969-12-31T23:59:59Z" },
		{ INT64_C(999999999), "1970-01-01T00:00:00Z" },
		{ INT64_C(951782400000000000), "2000-02-29T00:00:00Z" },
		{ INT64_C(1793959200000000000), "2026-11-06T10:00:00Z" },
		{ INT64_C(4102444799000000000), "2099-12-31T23:59:59Z" },
		{ INT64_C(-2208988800000000000), "1900-01-01T00:00:00Z" },
		{ INT64_MAX, "2262-04-11T23:47:16Z" },
		{ INT64_MIN, "1677-09-21T00:12:43Z" },
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		clock_rfc3339(table[i].ns, out);
		assert_string_equal(out, table[i].text);
	}
}

static int
month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

static void
each_day_follows_the_one_before(void **state)
{
	int year = 1970, month = 1, day = 1;

	(void)state;
	for (int64_t i = 0; i < 146097 * 2; i++) {
		const struct clock_date d = clock_date(i * 86400 + 86399);

		assert_int_equal(d.year, year);
		assert_int_equal(d.month, month);
		assert_int_equal(d.day, day);
		assert_int_equal(d.hour, 23);
		assert_int_equal(d.minute, 59);
		assert_int_equal(d.second, 59);
		if (++day > month_days(year, month)) {
			day = 1;
			month = month % 12 + 1;
			year += month == 1;
		}
	}
}

static void
each_day_precedes_the_one_after(void **state)
{
	int year = 1970, month = 1, day = 1;

	(void)state;
	for (int64_t i = 0; i > -146097 * 2; i--) {
		const struct clock_date d = clock_date(i * 86400);

		assert_int_equal(d.year, year);
		assert_int_equal(d.month, month);
		assert_int_equal(d.day, day);
		assert_int_equal(d.hour + d.minute + d.second, 0);
		if (--day == 0) {
			month = month == 1 ? 12 : month - 1;
			year -= month == 12;
			day = month_days(year, month);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_moments_print_as_known),
		cmocka_unit_test(each_day_follows_the_one_before),
		cmocka_unit_test(each_day_precedes_the_one_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
