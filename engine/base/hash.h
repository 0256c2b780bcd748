/*
 * Fast, non-cryptographic hashes (XXH3): tables, record checksums, names of
 * temporaries.  Never for bytes a hostile peer may choose to collide where a
 * collision would lose data.  Any thread; the same on every machine.
 */
#ifndef HOLDFAST_BASE_HASH_H
#define HOLDFAST_BASE_HASH_H

#include <stdint.h>

#include "engine/base/slice.h"

struct hash128 {
	uint64_t lo, hi;
};

uint64_t hash_u64(struct slice s);
uint64_t hash_u64_seed(struct slice s, uint64_t seed);
struct hash128 hash_u128(struct slice s);

#endif
