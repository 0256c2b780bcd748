/*
 * Records; see record.h.
 */
#include "mesh/record.h"

#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "engine/base/assert.h"

#define RECORD_TYPE_DATA 23u
#define RECORD_VERSION 0x0303u /* as all records of TLS 1.3 say */

void
record_fini(struct record *r)
{
	if (r->cipher != NULL)
		gnutls_aead_cipher_deinit(r->cipher);
	gnutls_memset(r->iv, 0, sizeof(r->iv));
	r->cipher = NULL;
}

void
record_set_key(struct record *r, int algorithm, struct slice key,
    struct slice iv, uint64_t seq)
{
	const gnutls_cipher_algorithm_t a =
	    (gnutls_cipher_algorithm_t)algorithm;
	const gnutls_datum_t datum = { (unsigned char *)(uintptr_t)key.ptr,
		(unsigned)key.len };
	gnutls_aead_cipher_hd_t cipher = NULL;

	record_fini(r);
	r->seq = seq;
	if (iv.len != RECORD_IV_LEN ||
	    gnutls_cipher_get_tag_size(a) != RECORD_TAG_LEN ||
	    gnutls_aead_cipher_init(&cipher, a, &datum) < 0)
		return;
	memcpy(r->iv, iv.ptr, RECORD_IV_LEN);
	r->cipher = cipher;
}

/* RFC 8446, 5.3. */
static void
record_nonce(const struct record *r, uint8_t out[RECORD_IV_LEN])
{
	memcpy(out, r->iv, RECORD_IV_LEN);
	for (unsigned i = 0; i < 8; i++)
		out[RECORD_IV_LEN - 1 - i] ^= (uint8_t)(r->seq >> (8 * i));
}

int
record_seal(struct record *r, struct slice data, uint8_t *out, struct err *err)
{
	const size_t sealed = data.len + 1 + RECORD_TAG_LEN;
	const uint8_t type = RECORD_TYPE_DATA;
	const giovec_t head = { out, RECORD_HEADER_LEN };
	const giovec_t inner[] = {
		{ (void *)(uintptr_t)data.ptr, data.len },
		{ (void *)(uintptr_t)&type, 1 },
	};
	uint8_t nonce[RECORD_IV_LEN];
	size_t n = sealed;
	int rc;

	ASSERT(data.len <= RECORD_DATA_LEN);
	out[0] = RECORD_TYPE_DATA;
	out[1] = RECORD_VERSION >> 8;
	out[2] = RECORD_VERSION & 0xff;
	out[3] = (uint8_t)(sealed >> 8);
	out[4] = (uint8_t)(sealed & 0xff);
	record_nonce(r, nonce);
	rc = gnutls_aead_cipher_encryptv(r->cipher, nonce, sizeof(nonce), &head,
	    1, RECORD_TAG_LEN, inner, 2, out + RECORD_HEADER_LEN, &n);
	if (rc < 0)
		return err_set(err, ERR_PROTOCOL, "TLS write: %s",
		    gnutls_strerror(rc));
	ASSERT(n == sealed);
	r->seq++;
	return 0;
}

size_t
record_len(struct slice in)
{
	const size_t len = (size_t)in.ptr[3] << 8 | in.ptr[4];

	if (in.ptr[0] != RECORD_TYPE_DATA || in.ptr[1] != RECORD_VERSION >> 8 ||
	    in.ptr[2] != (RECORD_VERSION & 0xff) || len <= RECORD_TAG_LEN ||
	    len > RECORD_LEN_MAX - RECORD_HEADER_LEN)
		return 0;
	return RECORD_HEADER_LEN + len;
}

bool
record_open(struct record *r, struct slice in, uint8_t *out, size_t *len)
{
	const struct slice sealed = slice_from(in, RECORD_HEADER_LEN);
	uint8_t nonce[RECORD_IV_LEN];
	size_t n = sealed.len - RECORD_TAG_LEN;

	ASSERT(r->cipher != NULL && in.len == record_len(in));
	record_nonce(r, nonce);
	if (gnutls_aead_cipher_decrypt(r->cipher, nonce, sizeof(nonce), in.ptr,
		RECORD_HEADER_LEN, RECORD_TAG_LEN, sealed.ptr, sealed.len, out,
		&n) < 0)
		return false;
	/* Padding is zeros; the last byte that is none is the type. */
	while (n > 0 && out[n - 1] == 0)
		n--;
	if (n == 0 || out[n - 1] != RECORD_TYPE_DATA || n - 1 > RECORD_DATA_LEN)
		return false;
	*len = n - 1;
	r->seq++;
	return true;
}
