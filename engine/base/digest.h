/*
 * SHA-256, through GnuTLS (SHA instructions where the processor has them).
 * Any thread.
 */
#ifndef HOLDFAST_BASE_DIGEST_H
#define HOLDFAST_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/slice.h"

#define DIGEST_LEN 32

struct digest {
	uint8_t b[DIGEST_LEN];
};

void digest_of(struct slice data, struct digest *out);
bool digest_equal(const struct digest *a, const struct digest *b);

/* In pieces: init, add ..., fini gives the digest and frees the state. */
struct digest_state {
	void *impl; /* owned */
};
void digest_init(struct digest_state *st);
void digest_add(struct digest_state *st, struct slice data);
void digest_fini(struct digest_state *st, struct digest *out);

#endif
