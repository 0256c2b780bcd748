/*
 * The doorman: how often may a source knock in vain?
 *
 * A connection that comes to nothing (no TLS, no Hello, a stranger) costs its
 * source a token; tokens come back with time.  Who has none left is turned away
 * before anything is computed for it.  A device of ours costs nothing, however
 * often it comes.
 *
 * The memory is fixed.  When there are more sources than places, those who have
 * knocked least are forgotten first.
 *
 * Pure.  Thread: loop.
 */
#ifndef HOLDFAST_MESH_DOORMAN_H
#define HOLDFAST_MESH_DOORMAN_H

#include <stdbool.h>
#include <stdint.h>

#include "mesh/addr.h"

#define DOORMAN_PLACES 512u

struct doorman_place {
	uint64_t source;  /* an IPv4 address or an IPv6 /64; 0: free */
	uint64_t then_ns; /* when `tokens` was right */
	uint32_t tokens;
};

/* Zeroed is empty. */
struct doorman {
	struct doorman_place place[DOORMAN_PLACES];
};

/* The same for all of a source, as addr_same_source() has it; never 0. */
uint64_t doorman_source(const struct addr *from);
/* May this source try, with `trying` more of its connections not yet judged? */
bool doorman_lets_in(const struct doorman *d, const struct addr *from,
    uint32_t trying, uint64_t now_ns);
/* It tried, and it was nothing. */
void doorman_charge(struct doorman *d, const struct addr *from,
    uint64_t now_ns);

#endif
