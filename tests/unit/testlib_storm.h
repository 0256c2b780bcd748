/*
 * Storms: random people, networks and crashes in a world of real engines.
 *
 * A seed says everything: how many devices, who is connected to whom, what is
 * done when.  At the end people and faults rest, all links that the storm's
 * shape has are up, and what must hold then is checked (RELIABILITY.md, I1,
 * I8, I14, I16).  The oracle knows nothing of versions: each write makes new
 * bytes, and only a write or deletion over bytes that were there on that disk
 * makes them dispensable.
 */
#ifndef HOLDFAST_TESTS_TESTLIB_STORM_H
#define HOLDFAST_TESTS_TESTLIB_STORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TESTLIB_STORM_ACTS 128
/* Seeds from here on: more devices, ignored files, full and pulled disks. */
#define TESTLIB_STORM_WILD 1000000000u

/* And from here on: brakes that one or two files set off, and people who then
 * confirm. */
#define TESTLIB_STORM_BRAKED 2000000000u

/* What to leave out, to make a story short. */
struct testlib_storm_cut {
	bool skip[TESTLIB_STORM_ACTS]; /* this act does not happen */
	bool story;                    /* print what happened, also when well */
};

/* True: all is well.  Otherwise `why` says what is not. */
bool testlib_storm_run(uint64_t seed, const struct testlib_storm_cut *cut,
    char *why, size_t why_len);

#endif
