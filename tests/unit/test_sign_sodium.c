/* Ed25519 as we use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/sign.h"

/* RFC 8032, 7.1, TEST 1. */
static const struct sign_secret secret = { { 0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd,
    0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
    0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
    0x7f, 0x60 } };
static const uint8_t public_1[] = { 0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a,
	0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
	0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51,
	0x1a };

static void
the_public_key_is_the_one_of_the_rfc(void **state)
{
	struct sign_public p;

	(void)state;
	sign_public_of(&secret, &p);
	assert_memory_equal(p.b, public_1, sizeof(public_1));
}

static void
a_signature_is_good_for_one_key_context_and_message(void **state)
{
	const struct slice m = SLICE_LIT("message");
	struct sign_secret other = secret;
	struct sign_public p, q;
	uint8_t sig[SIGN_LEN];

	(void)state;
	other.b[0] ^= 1;
	sign_public_of(&secret, &p);
	sign_public_of(&other, &q);
	sign_make(&secret, "a", m, sig);
	assert_true(sign_is_good(&p, "a", m, sig));
	assert_false(sign_is_good(&q, "a", m, sig));
	assert_false(sign_is_good(&p, "b", m, sig));
	assert_false(sign_is_good(&p, "a", SLICE_LIT("massage"), sig));
	/* The line between the two cannot be moved. */
	sign_make(&secret, "ab", SLICE_LIT("c"), sig);
	assert_false(sign_is_good(&p, "a", SLICE_LIT("bc"), sig));
	for (size_t i = 0; i < SIGN_LEN; i++) {
		sign_make(&secret, "a", m, sig);
		sig[i] ^= 0x80;
		assert_false(sign_is_good(&p, "a", m, sig));
	}
}

static void
a_key_that_signs_anything_is_refused(void **state)
{
	/* The neutral point, and a signature of zeros that fits it. */
	const struct sign_public weak = { { 1 } };
	const uint8_t sig[SIGN_LEN] = { 1 };

	(void)state;
	assert_false(sign_is_good(&weak, "a", SLICE_LIT("m"), sig));
}

/* RFC 4231, test cases 1 and 2. */
static void
sign_mac_is_hmac_sha_256(void **state)
{
	static const uint8_t one[32] = { 0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb,
		0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b,
		0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7, 0x26, 0xe9,
		0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7 };
	static const uint8_t two[32] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60,
		0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
		0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec,
		0x58, 0xb9, 0x64, 0xec, 0x38, 0x43 };
	uint8_t key[20], mac[32];

	(void)state;
	memset(key, 0x0b, sizeof(key));
	sign_mac(slice_of(key, sizeof(key)), SLICE_LIT("Hi There"), mac);
	assert_memory_equal(mac, one, sizeof(mac));
	sign_mac(SLICE_LIT("Jefe"), SLICE_LIT("what do ya want for nothing?"),
	    mac);
	assert_memory_equal(mac, two, sizeof(mac));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sign_mac_is_hmac_sha_256),
		cmocka_unit_test(the_public_key_is_the_one_of_the_rfc),
		cmocka_unit_test(
		    a_signature_is_good_for_one_key_context_and_message),
		cmocka_unit_test(a_key_that_signs_anything_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
