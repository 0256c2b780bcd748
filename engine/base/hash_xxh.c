/*
 * XXH3, compiled in: most of what we hash is short, and a call through the
 * shared library would cost more than the hash.
 */
#include "engine/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static const void *
hash_ptr(struct slice s)
{
	return s.len > 0 ? (const void *)s.ptr : "";
}

uint64_t
hash_u64(struct slice s)
{
	return XXH3_64bits(hash_ptr(s), s.len);
}

uint64_t
hash_u64_seed(struct slice s, uint64_t seed)
{
	return XXH3_64bits_withSeed(hash_ptr(s), s.len, seed);
}

struct hash128
hash_u128(struct slice s)
{
	const XXH128_hash_t h = XXH3_128bits(hash_ptr(s), s.len);

	return (struct hash128){ .lo = h.low64, .hi = h.high64 };
}
