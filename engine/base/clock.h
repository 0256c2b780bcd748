/*
 * Time as values.  Nothing here reads a clock: time comes in with events.
 * Monotonic and wall time are nanoseconds; wall time counts from 1970.
 */
#ifndef HOLDFAST_BASE_CLOCK_H
#define HOLDFAST_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_US UINT64_C(1000)
#define CLOCK_MS UINT64_C(1000000)
#define CLOCK_S UINT64_C(1000000000)
#define CLOCK_MIN (60 * CLOCK_S)
#define CLOCK_HOUR (3600 * CLOCK_S)
#define CLOCK_NEVER UINT64_MAX

struct now {
	uint64_t mono_ns;
	int64_t wall_ns;
};

/* Calendar fields of a wall time that already has the zone's offset added. */
struct clock_date {
	int year, month, day, hour, minute, second; /* month and day from 1 */
};
struct clock_date clock_date(int64_t wall_s);
/* "2026-11-06T10:00:00Z"; `out` has at least 21 bytes. */
void clock_rfc3339(int64_t wall_ns, char out[32]);

#endif
