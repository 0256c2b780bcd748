/*
 * SHA-256 of two things at once, for those who have many.
 *
 * A processor's SHA unit spends half its time waiting for its own last result.
 * Two digests side by side fill these gaps: a third more bytes a second from
 * one core (docs/performance.md).  Where there is no such unit, or none this
 * file knows of, the two are made one after the other by digest.h: same
 * answers, no gain.  Any thread.  FIPS 180-4.
 */
#ifndef HOLDFAST_BASE_DIGEST_PAIR_H
#define HOLDFAST_BASE_DIGEST_PAIR_H

#include "engine/base/digest.h"

/* Of any two lengths; best when they are about the same. */
void digest_pair_of(const struct slice data[2], struct digest out[2]);

/*
 * In pieces: init, add ..., fini.  Each call adds `len` bytes to both; all but
 * the last are multiples of DIGEST_PAIR_STEP.  fini gives the digests and
 * frees the state.
 */
#define DIGEST_PAIR_STEP 64u

struct digest_pair {
	bool fast;
	uint32_t h[2][8];
	uint64_t len;                /* added so far, to each */
	struct digest_state slow[2]; /* when not fast */
	uint8_t tail[2][DIGEST_PAIR_STEP];
	size_t tail_len;
};
void digest_pair_init(struct digest_pair *dp);
void digest_pair_add(struct digest_pair *dp, const uint8_t *a, const uint8_t *b,
    size_t len);
void digest_pair_fini(struct digest_pair *dp, struct digest out[2]);

/* Is there a gain here? */
bool digest_pair_is_fast(void);

#endif
