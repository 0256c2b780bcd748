/*
 * Calendar arithmetic on the proleptic Gregorian calendar, without libc: no
 * zone, no locale, the same on every machine.
 */
#include "engine/base/clock.h"

#include <stdio.h>

#define DAY_S INT64_C(86400)
#define ERA_DAYS INT64_C(146097)  /* days in 400 years, the full cycle */
#define ERA_SHIFT INT64_C(719468) /* days from 0000-03-01 to 1970-01-01 */

/* Quotient towards minus infinity, so that times before 1970 work. */
static int64_t
clock_floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/*
 * Years are counted from 1 March here, so that a leap day is the last day of
 * its year and the lengths of months follow one formula.
 */
struct clock_date
clock_date(int64_t wall_s)
{
	const int64_t days = clock_floor_div(wall_s, DAY_S);
	const int64_t rest = wall_s - days * DAY_S;
	const int64_t shifted = days + ERA_SHIFT;
	const int64_t era = clock_floor_div(shifted, ERA_DAYS);
	const int64_t doe = shifted - era * ERA_DAYS; /* day of the era */
	const int64_t yoe =
	    (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	const int64_t march = (5 * doy + 2) / 153; /* months since March */
	const int64_t month = march < 10 ? march + 3 : march - 9;

	return (struct clock_date){
		.year = (int)(era * 400 + yoe + (month <= 2)),
		.month = (int)month,
		.day = (int)(doy - (153 * march + 2) / 5 + 1),
		.hour = (int)(rest / 3600),
		.minute = (int)(rest / 60 % 60),
		.second = (int)(rest % 60),
	};
}

void
clock_rfc3339(int64_t wall_ns, char out[32])
{
	/* 64 bits of nanoseconds span the years 1677 to 2262: four digits. */
	const struct clock_date d =
	    clock_date(clock_floor_div(wall_ns, (int64_t)CLOCK_S));

	snprintf(out, 32, "%04u-%02u-%02uT%02u:%02u:%02uZ",
	    (unsigned)d.year % 10000, (unsigned)d.month % 100,
	    (unsigned)d.day % 100, (unsigned)d.hour % 100,
	    (unsigned)d.minute % 100, (unsigned)d.second % 100);
}
