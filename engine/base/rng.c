/*
 * xoshiro256** by Blackman and Vigna, seeded through splitmix64 so that any
 * seed, zero too, gives a good state.
 */
#include "engine/base/rng.h"

#include "engine/base/assert.h"

static uint64_t
rng_rotl(uint64_t x, unsigned k)
{
	return x << k | x >> (64 - k);
}

void
rng_init(struct rng *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		r->s[i] = z ^ z >> 31;
	}
}

uint64_t
rng_u64(struct rng *r)
{
	uint64_t *s = r->s;
	const uint64_t out = rng_rotl(s[1] * 5, 7) * 9;
	const uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rng_rotl(s[3], 45);
	return out;
}

uint64_t
rng_below(struct rng *r, uint64_t n)
{
	uint64_t skip, v;

	ASSERT(n > 0);
	/* 2^64 mod n: that many low values would make small results likelier.
	 */
	skip = (UINT64_MAX - n + 1) % n;
	do {
		v = rng_u64(r);
	} while (v < skip);
	return v % n;
}
