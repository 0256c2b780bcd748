/*
 * A seeded generator for non-secret choices (jitter, order, skip levels).
 * Same seed, same numbers, on every machine.  Secrets come from GnuTLS.
 */
#ifndef HOLDFAST_BASE_RNG_H
#define HOLDFAST_BASE_RNG_H

#include <stdint.h>

struct rng {
	uint64_t s[4]; /* xoshiro256** */
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* 0 .. n-1; n > 0; no bias */

#endif
