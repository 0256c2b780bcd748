/*
 * Two lanes of SHA-256; see digest_pair.h.
 *
 * The rounds are written once, for `lanes` known when compiled; the compiler
 * unrolls both loops, so the two chains of dependent instructions lie side by
 * side.
 */
#include "engine/base/digest_pair.h"

#include <string.h>

#include "engine/base/assert.h"

#define STEP DIGEST_PAIR_STEP

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define SHA_CODE __attribute__((target("sha,sse4.1,ssse3")))

static const uint32_t sha_k[64] = {
	0x428a2f98,
	0x71374491,
	0xb5c0fbcf,
	0xe9b5dba5,
	0x3956c25b,
	0x59f111f1,
	0x923f82a4,
	0xab1c5ed5,
	0xd807aa98,
	0x12835b01,
	0x243185be,
	0x550c7dc3,
	0x72be5d74,
	0x80deb1fe,
	0x9bdc06a7,
	0xc19bf174,
	0xe49b69c1,
	0xefbe4786,
	0x0fc19dc6,
	0x240ca1cc,
	0x2de92c6f,
	0x4a7484aa,
	0x5cb0a9dc,
	0x76f988da,
	0x983e5152,
	0xa831c66d,
	0xb00327c8,
	0xbf597fc7,
	0xc6e00bf3,
	0xd5a79147,
	0x06ca6351,
	0x14292967,
	0x27b70a85,
	0x2e1b2138,
	0x4d2c6dfc,
	0x53380d13,
	0x650a7354,
	0x766a0abb,
	0x81c2c92e,
	0x92722c85,
	0xa2bfe8a1,
	0xa81a664b,
	0xc24b8b70,
	0xc76c51a3,
	0xd192e819,
	0xd6990624,
	0xf40e3585,
	0x106aa070,
	0x19a4c116,
	0x1e376c08,
	0x2748774c,
	0x34b0bcb5,
	0x391c0cb3,
	0x4ed8aa4a,
	0x5b9cca4f,
	0x682e6ff3,
	0x748f82ee,
	0x78a5636f,
	0x84c87814,
	0x8cc70208,
	0x90befffa,
	0xa4506ceb,
	0xbef9a3f7,
	0xc67178f2,
};

static const uint32_t sha_begin[8] = {
	0x6a09e667,
	0xbb67ae85,
	0x3c6ef372,
	0xa54ff53a,
	0x510e527f,
	0x9b05688c,
	0x1f83d9ab,
	0x5be0cd19,
};

static inline __m128i
sha_load(const void *p)
{
	return _mm_loadu_si128(p);
}

/*
 * `blocks` blocks of 64 bytes into each lane's state.  The unit wants the
 * state as words (a b e f) and (c d g h).
 */
SHA_CODE static inline __attribute__((always_inline)) void
sha_rounds(uint32_t h[][8], const uint8_t *const data[], size_t blocks,
    const int lanes)
{
	const __m128i order =
	    _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
	__m128i abef[2], cdgh[2], abef_was[2], cdgh_was[2], w[2][4];

	for (int l = 0; l < lanes; l++) {
		const __m128i dcba =
		    _mm_shuffle_epi32(sha_load(&h[l][0]), 0xb1);
		const __m128i hgfe =
		    _mm_shuffle_epi32(sha_load(&h[l][4]), 0x1b);

		abef[l] = _mm_alignr_epi8(dcba, hgfe, 8);
		cdgh[l] = _mm_blend_epi16(hgfe, dcba, 0xf0);
	}
	for (size_t at = 0; at < blocks; at++) {
		for (int l = 0; l < lanes; l++) {
			abef_was[l] = abef[l];
			cdgh_was[l] = cdgh[l];
			for (int i = 0; i < 4; i++)
				w[l][i] = _mm_shuffle_epi8(
				    sha_load(data[l] + STEP * at + 16 * i),
				    order);
		}
#pragma GCC unroll 16
		for (int r = 0; r < 16; r++) {
			const __m128i k = sha_load(&sha_k[4 * r]);

#pragma GCC unroll 2
			for (int l = 0; l < lanes; l++) {
				__m128i *now = &w[l][r & 3];
				const __m128i w1 = w[l][(r + 1) & 3];
				const __m128i w2 = w[l][(r + 2) & 3];
				const __m128i w3 = w[l][(r + 3) & 3];
				__m128i t = _mm_add_epi32(*now, k);

				cdgh[l] =
				    _mm_sha256rnds2_epu32(cdgh[l], abef[l], t);
				t = _mm_shuffle_epi32(t, 0x0e);
				abef[l] =
				    _mm_sha256rnds2_epu32(abef[l], cdgh[l], t);
				if (r >= 12)
					continue;
				t = _mm_sha256msg1_epu32(*now, w1);
				t = _mm_add_epi32(t,
				    _mm_alignr_epi8(w3, w2, 4));
				*now = _mm_sha256msg2_epu32(t, w3);
			}
		}
		for (int l = 0; l < lanes; l++) {
			abef[l] = _mm_add_epi32(abef[l], abef_was[l]);
			cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_was[l]);
		}
	}
	for (int l = 0; l < lanes; l++) {
		const __m128i feba = _mm_shuffle_epi32(abef[l], 0x1b);
		const __m128i dchg = _mm_shuffle_epi32(cdgh[l], 0xb1);

		_mm_storeu_si128((void *)&h[l][0],
		    _mm_blend_epi16(feba, dchg, 0xf0));
		_mm_storeu_si128((void *)&h[l][4],
		    _mm_alignr_epi8(dchg, feba, 8));
	}
}

SHA_CODE static void
sha_two(uint32_t h[2][8], const uint8_t *const data[2], size_t blocks)
{
	sha_rounds(h, data, blocks, 2);
}

SHA_CODE static void
sha_one(uint32_t h[8], const uint8_t *data, size_t blocks)
{
	sha_rounds((uint32_t(*)[8])h, &data, blocks, 1);
}

/* Asked once, before main(): a virtual machine makes CPUID slow. */
static bool sha_is_there;

static __attribute__((constructor)) void
sha_look(void)
{
	unsigned a, b, c, d;

	if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSE4_1) == 0 ||
	    (c & bit_SSSE3) == 0 ||
	    __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
		return;
	sha_is_there = (b & bit_SHA) != 0;
}

bool
digest_pair_is_fast(void)
{
	return sha_is_there;
}

#else

static const uint32_t sha_begin[8];

static void
sha_two(uint32_t h[2][8], const uint8_t *const data[2], size_t blocks)
{
	(void)h;
	(void)data;
	(void)blocks;
	ASSERT(false);
}

static void
sha_one(uint32_t h[8], const uint8_t *data, size_t blocks)
{
	(void)h;
	(void)data;
	(void)blocks;
	ASSERT(false);
}

bool
digest_pair_is_fast(void)
{
	return false;
}

#endif

/* The last bytes, fewer than a block, and the length; FIPS 180-4, 5.1.1. */
static void
sha_end(uint32_t h[8], struct slice tail, uint64_t len, struct digest *out)
{
	uint8_t end[2 * STEP] = { 0 };
	const size_t blocks = tail.len + 9 > STEP ? 2 : 1;

	ASSERT(tail.len < STEP);
	if (tail.len > 0)
		memcpy(end, tail.ptr, tail.len);
	end[tail.len] = 0x80;
	for (size_t i = 0; i < 8; i++)
		end[blocks * STEP - 1 - i] = (uint8_t)(len * 8 >> (8 * i));
	sha_one(h, end, blocks);
	for (size_t i = 0; i < DIGEST_LEN; i++)
		out->b[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void
digest_pair_of(const struct slice data[2], struct digest out[2])
{
	const size_t least =
	    data[0].len < data[1].len ? data[0].len : data[1].len;
	const size_t blocks = least / STEP;
	uint32_t h[2][8];

	if (!digest_pair_is_fast() || blocks == 0) {
		digest_of(data[0], &out[0]);
		digest_of(data[1], &out[1]);
		return;
	}
	for (int l = 0; l < 2; l++)
		memcpy(h[l], sha_begin, sizeof(h[l]));
	sha_two(h, (const uint8_t *[2]){ data[0].ptr, data[1].ptr }, blocks);
	for (int l = 0; l < 2; l++) {
		struct slice rest = slice_from(data[l], blocks * STEP);
		const size_t more = rest.len / STEP;

		sha_one(h[l], rest.ptr, more);
		sha_end(h[l], slice_from(rest, more * STEP), data[l].len,
		    &out[l]);
	}
}

void
digest_pair_init(struct digest_pair *dp)
{
	memset(dp, 0, sizeof(*dp));
	dp->fast = digest_pair_is_fast();
	for (int l = 0; l < 2; l++) {
		if (dp->fast)
			memcpy(dp->h[l], sha_begin, sizeof(dp->h[l]));
		else
			digest_init(&dp->slow[l]);
	}
}

void
digest_pair_add(struct digest_pair *dp, const uint8_t *a, const uint8_t *b,
    size_t len)
{
	const uint8_t *const data[2] = { a, b };
	const size_t whole = len - len % STEP;

	ASSERT(dp->tail_len == 0); /* the last was the last */
	if (!dp->fast) {
		digest_add(&dp->slow[0], slice_of(a, len));
		digest_add(&dp->slow[1], slice_of(b, len));
		return;
	}
	sha_two(dp->h, data, whole / STEP);
	dp->tail_len = len - whole;
	for (int l = 0; l < 2 && dp->tail_len > 0; l++)
		memcpy(dp->tail[l], data[l] + whole, dp->tail_len);
	dp->len += len;
}

void
digest_pair_fini(struct digest_pair *dp, struct digest out[2])
{
	for (int l = 0; l < 2; l++) {
		if (dp->fast)
			sha_end(dp->h[l], slice_of(dp->tail[l], dp->tail_len),
			    dp->len, &out[l]);
		else
			digest_fini(&dp->slow[l], &out[l]);
	}
}
