/*
 * Signatures: Ed25519 (RFC 8032), and HMAC-SHA-256 (RFC 2104), by libsodium.
 *
 * A secret key here is its 32-byte seed; the door gets its randomness from the
 * caller, so whoever makes a key owns the bytes it was made of and wipes them
 * with sign_wipe().  What is signed is always "context, then message", and
 * contexts are constants of ours that end in NUL, so that a signature for one
 * purpose is none for another.
 *
 * Thread: any.
 */
#ifndef HOLDFAST_MESH_SIGN_H
#define HOLDFAST_MESH_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/slice.h"

#define SIGN_PUBLIC_LEN 32
#define SIGN_SECRET_LEN 32
#define SIGN_LEN 64
#define SIGN_MAC_LEN 32

struct sign_public {
	uint8_t b[SIGN_PUBLIC_LEN];
};

/* Secret; wipe it. */
struct sign_secret {
	uint8_t b[SIGN_SECRET_LEN];
};

void sign_public_of(const struct sign_secret *key, struct sign_public *out);
void sign_make(const struct sign_secret *key, const char *context,
    struct slice message, uint8_t out[SIGN_LEN]);
/* False for keys of small order, too, which sign anything. */
bool sign_is_good(const struct sign_public *key, const char *context,
    struct slice message, const uint8_t sig[SIGN_LEN]);
bool sign_public_equal(const struct sign_public *a,
    const struct sign_public *b);
/* HMAC-SHA-256, with a key of any length. */
void sign_mac(struct slice key, struct slice data, uint8_t out[SIGN_MAC_LEN]);
/* So that no compiler leaves it out. */
void sign_wipe(void *p, size_t len);

#endif
