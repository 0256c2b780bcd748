/*
 * SHA-256 by GnuTLS, which picks the processor's SHA instructions itself.
 *
 * A failure here would mean a GnuTLS without SHA-256; there is no way to go on.
 */
#include "engine/base/digest.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "engine/base/assert.h"

void
digest_of(struct slice data, struct digest *out)
{
	const void *ptr = data.len > 0 ? (const void *)data.ptr : "";
	const int rc =
	    gnutls_hash_fast(GNUTLS_DIG_SHA256, ptr, data.len, out->b);

	ASSERT(rc == 0);
}

bool
digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}

void
digest_init(struct digest_state *st)
{
	gnutls_hash_hd_t hash = NULL;
	const int rc = gnutls_hash_init(&hash, GNUTLS_DIG_SHA256);

	ASSERT(rc == 0);
	st->impl = hash;
}

void
digest_add(struct digest_state *st, struct slice data)
{
	int rc;

	ASSERT(st->impl != NULL);
	if (data.len == 0)
		return;
	rc = gnutls_hash(st->impl, data.ptr, data.len);
	ASSERT(rc == 0);
}

void
digest_fini(struct digest_state *st, struct digest *out)
{
	ASSERT(st->impl != NULL);
	gnutls_hash_deinit(st->impl, out->b);
	st->impl = NULL;
}
