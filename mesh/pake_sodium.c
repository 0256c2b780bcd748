/* CPace by libsodium; see pake.h.  Names in comments are the draft's. */
#include "mesh/pake.h"

#include <sodium.h>

#include "engine/base/assert.h"

/* Of the group object G_Ristretto255 and of SHA-512 (8.3). */
#define PAKE_DSI "CPaceRistretto255"
#define PAKE_DSI_ISK "CPaceRistretto255_ISK"
#define PAKE_BLOCK_LEN 128 /* H.s_in_bytes */
#define PAKE_PAD_MAX PAKE_BLOCK_LEN
#define PAKE_TOP_BITS 0x0f /* a scalar has 252 bits */

_Static_assert(PAKE_SHARE_LEN == crypto_core_ristretto255_BYTES, "share");
_Static_assert(PAKE_SCALAR_LEN == crypto_core_ristretto255_SCALARBYTES, "");
_Static_assert(PAKE_ISK_LEN == crypto_hash_sha512_BYTES, "SHA-512");
_Static_assert(PAKE_TAG_LEN == crypto_auth_hmacsha512_BYTES, "HMAC-SHA-512");
_Static_assert(PAKE_KEY_LEN == crypto_aead_chacha20poly1305_IETF_KEYBYTES, "");
_Static_assert(PAKE_SEAL_LEN == crypto_aead_chacha20poly1305_IETF_ABYTES, "");

static size_t
pake_prefix_len(size_t len)
{
	struct buf b = { 0 };
	size_t n;

	buf_put_varint(&b, len);
	n = b.len;
	buf_fini(&b);
	return n + len;
}

/* For buffers that held the code. */
static void
pake_forget(struct buf *b)
{
	if (b->cap > 0)
		sodium_memzero(b->ptr, b->cap);
	buf_fini(b);
}

/* generator_string and calculate_generator: a point that depends on all. */
static void
pake_generator(struct slice code, struct slice channel,
    const uint8_t sid[PAKE_SID_LEN], uint8_t out[PAKE_SHARE_LEN])
{
	static const uint8_t zeros[PAKE_PAD_MAX];
	const size_t used = 1 + pake_prefix_len(code.len) +
			    pake_prefix_len(sizeof(PAKE_DSI) - 1);
	uint8_t hash[crypto_hash_sha512_BYTES];
	struct buf b = { 0 };

	/* One allocation: none of it stays behind in an outgrown one. */
	buf_reserve(&b, 4 * PAKE_BLOCK_LEN + code.len + channel.len);
	buf_put_str(&b, SLICE_LIT(PAKE_DSI));
	buf_put_str(&b, code);
	buf_put_str(&b,
	    slice_of(zeros, used < PAKE_BLOCK_LEN ? PAKE_BLOCK_LEN - used : 0));
	buf_put_str(&b, channel);
	buf_put_str(&b, slice_of(sid, PAKE_SID_LEN));
	crypto_hash_sha512(hash, b.ptr, b.len);
	crypto_core_ristretto255_from_hash(out, hash);
	sodium_memzero(hash, sizeof(hash));
	pake_forget(&b);
}

void
pake_start(struct pake *p, struct slice code, struct slice channel,
    const uint8_t sid[PAKE_SID_LEN], const uint8_t random[PAKE_SCALAR_LEN])
{
	uint8_t g[PAKE_SHARE_LEN];
	const int ready = sodium_init();
	int rc;

	ASSERT(ready >= 0);
	*p = (struct pake){ 0 };
	memcpy(p->sid, sid, PAKE_SID_LEN);
	memcpy(p->scalar, random, PAKE_SCALAR_LEN);
	p->scalar[PAKE_SCALAR_LEN - 1] &= PAKE_TOP_BITS;
	pake_generator(code, channel, sid, g);
	/* It fails when the scalar is 0: nobody's random bytes are. */
	rc = crypto_scalarmult_ristretto255(p->share, p->scalar, g);
	ASSERT(rc == 0);
	sodium_memzero(g, sizeof(g));
}

/* lv_cat(Y, AD) */
static void
pake_put_share(struct buf *b, const uint8_t share[PAKE_SHARE_LEN],
    struct slice ad)
{
	buf_put_str(b, slice_of(share, PAKE_SHARE_LEN));
	buf_put_str(b, ad);
}

/* 10.4: MAC(mac_key, lv_cat(Y, AD)). */
static void
pake_make_tag(const uint8_t key[crypto_hash_sha512_BYTES],
    const uint8_t share[PAKE_SHARE_LEN], struct slice ad,
    uint8_t out[PAKE_TAG_LEN])
{
	crypto_auth_hmacsha512_state st;
	struct buf b = { 0 };

	pake_put_share(&b, share, ad);
	crypto_auth_hmacsha512_init(&st, key, crypto_hash_sha512_BYTES);
	crypto_auth_hmacsha512_update(&st, b.ptr, b.len);
	crypto_auth_hmacsha512_final(&st, out);
	sodium_memzero(&st, sizeof(st));
	buf_fini(&b);
}

static void
pake_make_tags(struct pake *p, struct slice ad,
    const uint8_t share[PAKE_SHARE_LEN], struct slice peer_ad)
{
	static const char label[] = "CPaceMac";
	uint8_t key[crypto_hash_sha512_BYTES];
	crypto_hash_sha512_state st;

	crypto_hash_sha512_init(&st);
	crypto_hash_sha512_update(&st, (const uint8_t *)label,
	    sizeof(label) - 1);
	crypto_hash_sha512_update(&st, p->sid, PAKE_SID_LEN);
	crypto_hash_sha512_update(&st, p->isk, PAKE_ISK_LEN);
	crypto_hash_sha512_final(&st, key);
	pake_make_tag(key, p->share, ad, p->tag);
	pake_make_tag(key, share, peer_ad, p->peer_tag);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(&st, sizeof(st));
}

int
pake_finish(struct pake *p, bool first, struct slice ad,
    const uint8_t share[PAKE_SHARE_LEN], struct slice peer_ad, struct err *err)
{
	uint8_t k[PAKE_SHARE_LEN];
	struct buf b = { 0 };

	/* scalar_mult_vfy: no point, or the neutral one, ends it. */
	if (crypto_scalarmult_ristretto255(k, p->scalar, share) != 0)
		return err_set(err, ERR_PROTOCOL, "code: no such point");
	buf_reserve(&b, 4 * PAKE_BLOCK_LEN + ad.len + peer_ad.len);
	buf_put_str(&b, SLICE_LIT(PAKE_DSI_ISK));
	buf_put_str(&b, slice_of(p->sid, PAKE_SID_LEN));
	buf_put_str(&b, slice_of(k, sizeof(k)));
	/* transcript_ir */
	if (first)
		pake_put_share(&b, p->share, ad);
	pake_put_share(&b, share, peer_ad);
	if (!first)
		pake_put_share(&b, p->share, ad);
	crypto_hash_sha512(p->isk, b.ptr, b.len);
	pake_make_tags(p, ad, share, peer_ad);
	sodium_memzero(k, sizeof(k));
	sodium_memzero(p->scalar, sizeof(p->scalar));
	pake_forget(&b);
	return 0;
}

bool
pake_agrees(const struct pake *p, struct slice tag)
{
	/* Its own tag sent back to who made it is no proof. */
	return tag.len == PAKE_TAG_LEN &&
	       sodium_memcmp(tag.ptr, p->peer_tag, PAKE_TAG_LEN) == 0 &&
	       sodium_memcmp(p->tag, p->peer_tag, PAKE_TAG_LEN) != 0;
}

void
pake_key(const struct pake *p, const char *label, uint8_t out[PAKE_KEY_LEN])
{
	uint8_t hash[crypto_auth_hmacsha512_BYTES];
	crypto_auth_hmacsha512_state st;

	crypto_auth_hmacsha512_init(&st, p->isk, PAKE_ISK_LEN);
	crypto_auth_hmacsha512_update(&st, (const uint8_t *)label,
	    strlen(label));
	crypto_auth_hmacsha512_final(&st, hash);
	memcpy(out, hash, PAKE_KEY_LEN);
	sodium_memzero(hash, sizeof(hash));
	sodium_memzero(&st, sizeof(st));
}

void
pake_wipe(struct pake *p)
{
	sodium_memzero(p, sizeof(*p));
}

static void
pake_nonce(uint64_t number,
    uint8_t out[crypto_aead_chacha20poly1305_IETF_NPUBBYTES])
{
	memset(out, 0, crypto_aead_chacha20poly1305_IETF_NPUBBYTES);
	for (int i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(number >> 8 * i);
}

void
pake_seal(const uint8_t key[PAKE_KEY_LEN], uint64_t number, struct slice plain,
    struct buf *out)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
	uint8_t *at = buf_extend(out, plain.len + PAKE_SEAL_LEN);

	pake_nonce(number, nonce);
	crypto_aead_chacha20poly1305_ietf_encrypt(at, NULL, plain.ptr,
	    plain.len, NULL, 0, NULL, nonce, key);
}

int
pake_unseal(const uint8_t key[PAKE_KEY_LEN], uint64_t number,
    struct slice sealed, struct buf *out, struct err *err)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
	const size_t was = out->len;
	uint8_t *at;

	if (sealed.len < PAKE_SEAL_LEN)
		return err_set(err, ERR_PROTOCOL, "seal: too short");
	at = buf_extend(out, sealed.len - PAKE_SEAL_LEN);
	pake_nonce(number, nonce);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(at, NULL, NULL,
		sealed.ptr, sealed.len, NULL, 0, nonce, key) != 0) {
		out->len = was;
		return err_set(err, ERR_PROTOCOL, "seal: broken");
	}
	return 0;
}
