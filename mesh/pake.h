/*
 * A shared key out of a short shared code: CPace over ristretto255 with
 * SHA-512 (draft-irtf-cfrg-cpace-21), with its key confirmation, and a seal
 * for what is said under that key.
 *
 * Whoever listens learns nothing about the code; whoever takes part can test
 * one guess for each exchange, and shows with it that he did.
 *
 *	A: pake_start() -> share       B: pake_start() -> share
 *	A: pake_finish(B's share)      B: pake_finish(A's share)
 *	tags are compared: only then was it the same code
 *
 * Randomness comes from the caller.  Secrets are wiped by pake_wipe(), which
 * everybody calls who called pake_start().  Thread: any.
 */
#ifndef HOLDFAST_MESH_PAKE_H
#define HOLDFAST_MESH_PAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

#define PAKE_SHARE_LEN 32
#define PAKE_SCALAR_LEN 32
#define PAKE_SID_LEN 16
#define PAKE_ISK_LEN 64
#define PAKE_TAG_LEN 64
#define PAKE_KEY_LEN 32
#define PAKE_SEAL_LEN 16 /* bytes more than what is sealed */

struct pake {
	uint8_t sid[PAKE_SID_LEN];
	uint8_t share[PAKE_SHARE_LEN]; /* ours; to be sent */
	/* Secret. */
	uint8_t scalar[PAKE_SCALAR_LEN];
	uint8_t isk[PAKE_ISK_LEN];
	/* The tag to send, and the one that must come. */
	uint8_t tag[PAKE_TAG_LEN];
	uint8_t peer_tag[PAKE_TAG_LEN];
};

/*
 * `code` is what both know, `channel` what both are doing, `sid` fresh and the
 * same at both, `random` 32 bytes that nobody can guess.
 */
void pake_start(struct pake *p, struct slice code, struct slice channel,
    const uint8_t sid[PAKE_SID_LEN], const uint8_t random[PAKE_SCALAR_LEN]);
/*
 * With the other's share: our tag and its.  `first`: ours was sent first.
 * `ad` and `peer_ad` went beside the shares (ADa, ADb), or are empty.
 * ERR_PROTOCOL: that is no share.
 */
int pake_finish(struct pake *p, bool first, struct slice ad,
    const uint8_t share[PAKE_SHARE_LEN], struct slice peer_ad, struct err *err);
/* Does the other know the code?  In constant time. */
bool pake_agrees(const struct pake *p, struct slice tag);
/* A key for one purpose. */
void pake_key(const struct pake *p, const char *label,
    uint8_t out[PAKE_KEY_LEN]);
void pake_wipe(struct pake *p);

/* ChaCha20-Poly1305; a key seals each `number` once. */
void pake_seal(const uint8_t key[PAKE_KEY_LEN], uint64_t number,
    struct slice plain, struct buf *out);
/* ERR_PROTOCOL: it was not sealed so. */
int pake_unseal(const uint8_t key[PAKE_KEY_LEN], uint64_t number,
    struct slice sealed, struct buf *out, struct err *err);

#endif
