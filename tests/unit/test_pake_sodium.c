/*
 * CPace against the vectors of draft-irtf-cfrg-cpace-21, appendix B.3, and
 * against who does not know the code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/pake.h"

static void
hex(const char *text, uint8_t *out)
{
	for (size_t n = 0; text[2 * n] != '\0'; n++) {
		unsigned b;

		assert_int_equal(sscanf(&text[2 * n], "%2x", &b), 1);
		out[n] = (uint8_t)b;
	}
}

static void
assert_hex(const uint8_t *got, const char *want)
{
	uint8_t b[128];

	hex(want, b);
	assert_memory_equal(got, b, strlen(want) / 2);
}

static void
the_vectors_of_the_draft_are_met(void **state)
{
	static const char ci[] = "\x0b"
				 "A_initiator"
				 "\x0b"
				 "B_responder";
	const struct slice code = SLICE_LIT("Password");
	const struct slice ada = SLICE_LIT("ADa"), adb = SLICE_LIT("ADb");
	uint8_t sid[16], ya[32], yb[32];
	struct pake a, b;

	(void)state;
	hex("7e4b4791d6a8ef019b936c79fb7f2c57", sid);
	hex("da3d23700a9e5699258aef94dc060dfd"
	    "a5ebb61f02a5ea77fad53f4ff0976d08",
	    ya);
	hex("d2316b454718c35362d83d69df6320f3"
	    "8578ed5984651435e2949762d900b80d",
	    yb);
	pake_start(&a, code, slice_str(ci), sid, ya);
	pake_start(&b, code, slice_str(ci), sid, yb);
	assert_hex(a.share, "d6bac480f2c386c394efc7c47adb9925"
			    "dcd2630b64f240c50f8d0eec482b9157");
	assert_hex(b.share, "3ea7e0b19560d7c0b0f5734f63b95528"
			    "6dfa8232b5ebe63324e2d9e7433f7258");
	assert_int_equal(pake_finish(&a, true, ada, b.share, adb, NULL), 0);
	assert_int_equal(pake_finish(&b, false, adb, a.share, ada, NULL), 0);
	assert_hex(a.isk, "b69effbf61b51d56401c0f65601abe42"
			  "8de8206feaaf0e32198896dcae7b35cd"
			  "2b38950a39dfd5d4a79164614c2984f7"
			  "daa460b588c1e80c3fa2068af7900447");
	assert_memory_equal(a.isk, b.isk, sizeof(a.isk));
	assert_true(pake_agrees(&a, slice_of(b.tag, PAKE_TAG_LEN)));
	assert_true(pake_agrees(&b, slice_of(a.tag, PAKE_TAG_LEN)));
	pake_wipe(&a);
	pake_wipe(&b);
}

static const uint8_t sid_1[PAKE_SID_LEN] = { 1 };
static const uint8_t random_a[32] = { 2, 3, 4 }, random_b[32] = { 5, 6, 7 };

static int
finish(struct pake *p, bool first, const uint8_t share[PAKE_SHARE_LEN])
{
	return pake_finish(p, first, SLICE_EMPTY, share, SLICE_EMPTY, NULL);
}

/* Do two with these codes and channels come to the same key? */
static bool
agree(const char *x, const char *y, const char *channel_x,
    const char *channel_y, const uint8_t sid_y[PAKE_SID_LEN])
{
	struct pake a, b;
	bool same;

	pake_start(&a, slice_str(x), slice_str(channel_x), sid_1, random_a);
	pake_start(&b, slice_str(y), slice_str(channel_y), sid_y, random_b);
	assert_int_equal(finish(&a, true, b.share), 0);
	assert_int_equal(finish(&b, false, a.share), 0);
	same = pake_agrees(&a, slice_of(b.tag, PAKE_TAG_LEN));
	assert_int_equal(same, pake_agrees(&b, slice_of(a.tag, PAKE_TAG_LEN)));
	assert_int_equal(same, memcmp(a.isk, b.isk, sizeof(a.isk)) == 0);
	/* What I sent comes back: nobody has shown anything. */
	assert_false(pake_agrees(&a, slice_of(a.tag, PAKE_TAG_LEN)));
	return same;
}

static void
only_the_same_code_channel_and_session_agree(void **state)
{
	static const uint8_t sid_2[PAKE_SID_LEN] = { 9 };

	(void)state;
	assert_true(agree("code", "code", "c", "c", sid_1));
	assert_false(agree("code", "cope", "c", "c", sid_1));
	assert_false(agree("code", "code", "c", "d", sid_1));
	assert_false(agree("code", "code", "c", "c", sid_2));
	assert_false(agree("codec", "code", "", "c", sid_1));
}

static void
a_share_that_is_no_point_is_refused(void **state)
{
	const uint8_t neutral[32] = { 0 };
	uint8_t bad[32];
	struct pake p;

	(void)state;
	pake_start(&p, SLICE_LIT("x"), SLICE_LIT("y"), sid_1, random_a);
	assert_int_equal(finish(&p, true, neutral), ERR_PROTOCOL);
	/* The draft's B.3.11: Y_i1. */
	hex("2b3c6b8c4f3800e7aef6864025b4ed79"
	    "bd599117e427c41bd47d93d654b4a51c",
	    bad);
	assert_int_equal(finish(&p, true, bad), ERR_PROTOCOL);
	pake_wipe(&p);
}

static void
a_share_sent_back_proves_nothing(void **state)
{
	struct pake p;

	(void)state;
	pake_start(&p, SLICE_LIT("x"), SLICE_LIT("y"), sid_1, random_a);
	assert_int_equal(finish(&p, true, p.share), 0);
	assert_false(pake_agrees(&p, slice_of(p.tag, PAKE_TAG_LEN)));
	pake_wipe(&p);
}

static void
a_seal_holds(void **state)
{
	const uint8_t key[PAKE_KEY_LEN] = { 1 }, other[PAKE_KEY_LEN] = { 2 };
	const struct slice plain = SLICE_LIT("a name");
	struct buf sealed = { 0 }, out = { 0 };

	(void)state;
	pake_seal(key, 7, plain, &sealed);
	assert_int_equal(sealed.len, plain.len + PAKE_SEAL_LEN);
	assert_int_equal(pake_unseal(key, 7, buf_slice(&sealed), &out, NULL),
	    0);
	assert_true(slice_equal(buf_slice(&out), plain));
	assert_true(pake_unseal(key, 8, buf_slice(&sealed), &out, NULL) < 0);
	assert_true(pake_unseal(other, 7, buf_slice(&sealed), &out, NULL) < 0);
	for (size_t i = 0; i < sealed.len; i++) {
		assert_true(pake_unseal(key, 7, slice_of(sealed.ptr, i), &out,
				NULL) < 0);
		sealed.ptr[i] ^= 1;
		assert_true(
		    pake_unseal(key, 7, buf_slice(&sealed), &out, NULL) < 0);
		sealed.ptr[i] ^= 1;
	}
	assert_true(slice_equal(buf_slice(&out), plain));
	buf_fini(&sealed);
	buf_fini(&out);
}

static void
nothing_secret_is_left_after_a_wipe(void **state)
{
	static const uint8_t zeros[sizeof(struct pake)];
	struct pake p;

	(void)state;
	pake_start(&p, SLICE_LIT("x"), SLICE_LIT("y"), sid_1, random_a);
	pake_wipe(&p);
	assert_memory_equal(&p, zeros, sizeof(p));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_vectors_of_the_draft_are_met),
		cmocka_unit_test(only_the_same_code_channel_and_session_agree),
		cmocka_unit_test(a_share_that_is_no_point_is_refused),
		cmocka_unit_test(a_share_sent_back_proves_nothing),
		cmocka_unit_test(a_seal_holds),
		cmocka_unit_test(nothing_secret_is_left_after_a_wipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
