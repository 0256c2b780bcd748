/*
 * Ed25519 by libsodium; see sign.h.
 *
 * The multi-part calls of libsodium are Ed25519ph, another scheme; so context
 * and message are laid side by side first.  Messages are entries and letters:
 * small.
 */
#include <sodium.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "mesh/sign.h"

_Static_assert(SIGN_PUBLIC_LEN == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(SIGN_SECRET_LEN == crypto_sign_SEEDBYTES, "Ed25519");
_Static_assert(SIGN_LEN == crypto_sign_BYTES, "Ed25519");
_Static_assert(SIGN_MAC_LEN == crypto_auth_hmacsha256_BYTES, "HMAC-SHA-256");

static void
sign_ready(void)
{
	/* Cheap after the first; it chooses code for this processor. */
	const int rc = sodium_init();

	ASSERT(rc >= 0);
}

static void
sign_lay(struct buf *b, const char *context, struct slice message)
{
	buf_put(b, slice_of(context, strlen(context) + 1));
	buf_put(b, message);
}

void
sign_public_of(const struct sign_secret *key, struct sign_public *out)
{
	uint8_t both[crypto_sign_SECRETKEYBYTES];

	sign_ready();
	crypto_sign_seed_keypair(out->b, both, key->b);
	sodium_memzero(both, sizeof(both));
}

void
sign_make(const struct sign_secret *key, const char *context,
    struct slice message, uint8_t out[SIGN_LEN])
{
	uint8_t both[crypto_sign_SECRETKEYBYTES];
	struct sign_public public;
	struct buf b = { 0 };

	sign_ready();
	sign_lay(&b, context, message);
	crypto_sign_seed_keypair(public.b, both, key->b);
	crypto_sign_detached(out, NULL, b.ptr, b.len, both);
	sodium_memzero(both, sizeof(both));
	buf_fini(&b);
}

bool
sign_is_good(const struct sign_public *key, const char *context,
    struct slice message, const uint8_t sig[SIGN_LEN])
{
	struct buf b = { 0 };
	bool good;

	sign_ready();
	sign_lay(&b, context, message);
	/* It refuses keys of small order and signatures in a second form. */
	good = crypto_sign_verify_detached(sig, b.ptr, b.len, key->b) == 0;
	buf_fini(&b);
	return good;
}

bool
sign_public_equal(const struct sign_public *a, const struct sign_public *b)
{
	return slice_equal(slice_of(a->b, sizeof(a->b)),
	    slice_of(b->b, sizeof(b->b)));
}

void
sign_mac(struct slice key, struct slice data, uint8_t out[SIGN_MAC_LEN])
{
	crypto_auth_hmacsha256_state st;

	sign_ready();
	crypto_auth_hmacsha256_init(&st, key.ptr, key.len);
	crypto_auth_hmacsha256_update(&st, data.ptr, data.len);
	crypto_auth_hmacsha256_final(&st, out);
}

void
sign_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}
