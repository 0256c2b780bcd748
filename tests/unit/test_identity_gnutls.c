/* Identities on disk: made once, read in all their ages, never replaced. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "engine/base/digest.h"
#include "mesh/identity.h"

static char dir[64], cert[96], key[96];

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_identity.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	return 0;
}

static int
tear_down(void **state)
{
	char path[128];

	(void)state;
	unlink(cert);
	unlink(key);
	snprintf(path, sizeof(path), "%s.new", key);
	unlink(path);
	snprintf(path, sizeof(path), "%s.next", key);
	unlink(path);
	snprintf(path, sizeof(path), "%s.next", cert);
	unlink(path);
	return rmdir(dir);
}

static void
put_file(const char *path, const void *data, size_t len, unsigned mode)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	fchmod(fd, mode);
	close(fd);
}

static size_t
read_file(const char *path, char *out, size_t cap)
{
	FILE *f = fopen(path, "r");
	size_t len;

	assert_non_null(f);
	len = fread(out, 1, cap, f);
	fclose(f);
	return len;
}

static void
make(struct devid *out)
{
	struct identity *id;
	struct err err = { 0 };

	if (identity_open_or_make(&id, dir, &err) < 0)
		fail_msg("%s", err.text);
	*out = *identity_devid(id);
	identity_close(id);
}

/* Refused with this code, these words, and both files as they were. */
static void
check_refused(int code, const char *words)
{
	static char before[2][8192], after[2][8192];
	const char *path[2] = { cert, key };
	size_t len[2] = { 0 };
	struct identity *id;
	struct err err = { 0 };

	for (int i = 0; i < 2; i++)
		if (access(path[i], F_OK) == 0)
			len[i] = read_file(path[i], before[i], 8192);
	assert_int_equal(identity_open_or_make(&id, dir, &err), code);
	assert_null(id);
	if (strstr(err.text, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
	for (int i = 0; i < 2; i++) {
		if (access(path[i], F_OK) != 0) {
			assert_int_equal(len[i], 0);
			continue;
		}
		assert_int_equal(read_file(path[i], after[i], 8192), len[i]);
		assert_memory_equal(before[i], after[i], len[i]);
	}
}

static void
identity_is_made_once_and_stays(void **state)
{
	struct devid first, second;
	struct identity *id;
	struct stat st;

	(void)state;
	assert_int_equal(identity_open(&id, dir, NULL), ERR_NOT_FOUND);
	make(&first);
	make(&second);
	assert_true(devid_equal(&first, &second));
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(cert, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(identity_open(&id, dir, NULL), 0);
	assert_string_equal(identity_key_text(id), "Ed25519");
	identity_close(id);
}

static void
identity_certificate_looks_like_syncthings(void **state)
{
	char pem[8192], text[256];
	gnutls_datum_t data = { (unsigned char *)pem, 0 }, der;
	gnutls_x509_crt_t crt;
	struct digest digest;
	struct devid id;
	size_t len = sizeof(text);
	unsigned usage, critical = 0;
	unsigned ca;

	(void)state;
	make(&id);
	data.size = (unsigned)read_file(cert, pem, sizeof(pem));
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(
	    gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_crt_get_dn(crt, text, &len), 0);
	assert_string_equal(text,
	    "O=Syncthing,OU=Automatically Generated,CN=syncthing");
	len = sizeof(text);
	assert_int_equal(gnutls_x509_crt_get_issuer_dn(crt, text, &len), 0);
	assert_string_equal(text,
	    "O=Syncthing,OU=Automatically Generated,CN=syncthing");
	assert_int_equal(gnutls_x509_crt_check_hostname(crt, "syncthing"), 1);
	assert_int_equal(gnutls_x509_crt_get_key_usage(crt, &usage, &critical),
	    0);
	assert_int_equal(critical, 1);
	assert_int_equal(
	    gnutls_x509_crt_get_basic_constraints(crt, &critical, &ca, NULL),
	    0);
	assert_int_equal(ca, 0);
	assert_int_equal(gnutls_x509_crt_get_expiration_time(crt) -
			     gnutls_x509_crt_get_activation_time(crt),
	    (time_t)7300 * 24 * 3600);
	assert_int_equal(gnutls_x509_crt_get_activation_time(crt) % 86400, 0);
	assert_int_equal(
	    gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der), 0);
	digest_of(slice_of(der.data, der.size), &digest);
	assert_memory_equal(digest.b, id.b, DEVID_LEN);
	gnutls_free(der.data);
	gnutls_x509_crt_deinit(crt);
}

static void
identity_reads_keys_of_all_ages(void **state)
{
	static const struct {
		gnutls_pk_algorithm_t pk;
		unsigned bits;
		bool pkcs8;
		const char *label, *text;
	} kinds[] = {
		{ GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), false,
		    "EC PRIVATE KEY", "ECDSA P-384" },
		{ GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), true,
		    "BEGIN PRIVATE KEY", "ECDSA P-256" },
		{ GNUTLS_PK_ECDSA,
		    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP521R1), false,
		    "EC PRIVATE KEY", "ECDSA P-521" },
		{ GNUTLS_PK_RSA, 2048, false, "RSA PRIVATE KEY", "RSA-2048" },
		{ GNUTLS_PK_EDDSA_ED25519, 256, true, "BEGIN PRIVATE KEY",
		    "Ed25519" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		gnutls_datum_t kp, cp;
		gnutls_x509_privkey_t k;
		gnutls_x509_crt_t c;
		struct identity *id;
		struct err err = { 0 };

		gnutls_x509_privkey_init(&k);
		gnutls_x509_crt_init(&c);
		assert_int_equal(gnutls_x509_privkey_generate(k, kinds[i].pk,
				     kinds[i].bits, 0),
		    0);
		gnutls_x509_crt_set_version(c, 3);
		gnutls_x509_crt_set_serial(c, "\1", 1);
		gnutls_x509_crt_set_activation_time(c, 0);
		gnutls_x509_crt_set_expiration_time(c, 1); /* nobody asks */
		gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0,
		    "syncthing", 9);
		gnutls_x509_crt_set_key(c, k);
		assert_int_equal(gnutls_x509_crt_sign2(c, c, k,
				     kinds[i].pk == GNUTLS_PK_EDDSA_ED25519
					 ? GNUTLS_DIG_SHA512
					 : GNUTLS_DIG_SHA256,
				     0),
		    0);
		gnutls_x509_crt_export2(c, GNUTLS_X509_FMT_PEM, &cp);
		if (kinds[i].pkcs8)
			gnutls_x509_privkey_export2_pkcs8(k,
			    GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &kp);
		else
			gnutls_x509_privkey_export2(k, GNUTLS_X509_FMT_PEM,
			    &kp);
		assert_non_null(strstr((char *)kp.data, kinds[i].label));
		if (identity_from_pem(&id, slice_of(cp.data, cp.size),
			slice_of(kp.data, kp.size), &err) < 0)
			fail_msg("%s: %s", kinds[i].text, err.text);
		assert_string_equal(identity_key_text(id), kinds[i].text);
		identity_close(id);
		gnutls_free(kp.data);
		gnutls_free(cp.data);
		gnutls_x509_privkey_deinit(k);
		gnutls_x509_crt_deinit(c);
	}
}

static void
identity_refuses_an_empty_or_damaged_key(void **state)
{
	char pem[8192];
	struct devid id;
	size_t len;

	(void)state;
	make(&id);
	len = read_file(key, pem, sizeof(pem));
	put_file(key, "", 0, 0600);
	check_refused(ERR_CORRUPT, "is empty; restore it");
	put_file(key, pem, len / 2, 0600);
	check_refused(ERR_CORRUPT, "key.pem cannot be read");
	put_file(key, "garbage\n", 8, 0600);
	check_refused(ERR_CORRUPT, "key.pem cannot be read");
	put_file(key, pem, len, 0600);
	put_file(cert, "garbage\n", 8, 0600);
	check_refused(ERR_CORRUPT, "no readable certificate");
}

static void
identity_refuses_half_an_identity(void **state)
{
	struct devid id;

	(void)state;
	make(&id);
	unlink(cert);
	check_refused(ERR_CORRUPT, "cert.pem is missing but key.pem is there");
	unlink(key);
	make(&id);
	unlink(key);
	check_refused(ERR_CORRUPT, "key.pem is missing but cert.pem is there");
}

static void
identity_refuses_a_key_that_others_can_read(void **state)
{
	struct devid id;

	(void)state;
	make(&id);
	chmod(key, 0644);
	check_refused(ERR_DENIED, "chmod 600");
	chmod(key, 0640);
	check_refused(ERR_DENIED, "chmod 600");
	chmod(key, 0600);
	chmod(cert, 0644); /* a certificate is no secret */
	make(&id);
}

static void
identity_refuses_a_key_of_another_certificate(void **state)
{
	char pem[8192];
	struct devid id;
	size_t len;

	(void)state;
	make(&id);
	len = read_file(key, pem, sizeof(pem));
	unlink(key);
	unlink(cert);
	make(&id);
	put_file(key, pem, len, 0600);
	check_refused(ERR_CORRUPT, "do not belong together");
}

/* The ID of the successor that waits; 0, or an error. */
static int
next_of(struct devid *out)
{
	struct identity *id;
	struct err err = { 0 };
	const int rc = identity_open_next(&id, dir, &err);

	if (rc == 0)
		*out = *identity_devid(id);
	identity_close(id);
	return rc;
}

static void
a_successor_waits_until_it_is_taken(void **state)
{
	struct devid old, next, again, now;
	struct identity *id;
	struct err err = { 0 };
	struct stat st;

	(void)state;
	make(&old);
	assert_int_equal(next_of(&next), ERR_NOT_FOUND);
	assert_int_equal(identity_take_next(dir, &err), ERR_NOT_FOUND);
	assert_int_equal(identity_open_or_make_next(&id, dir, &err), 0);
	next = *identity_devid(id);
	identity_close(id);
	assert_false(devid_equal(&next, &old));
	/* Asked again, it is the same one. */
	assert_int_equal(identity_open_or_make_next(&id, dir, &err), 0);
	again = *identity_devid(id);
	identity_close(id);
	assert_true(devid_equal(&again, &next));
	make(&now);
	assert_true(devid_equal(&now, &old));
	assert_int_equal(identity_take_next(dir, &err), 0);
	make(&now);
	assert_true(devid_equal(&now, &next));
	assert_int_equal(next_of(&again), ERR_NOT_FOUND);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
cut_and_go_on(bool in_process)
{
	struct devid old, next, now;
	struct identity *id;
	struct err err = { 0 };
	char from[128];

	make(&old);
	/* In the making: a certificate alone is no successor. */
	snprintf(from, sizeof(from), "%s.next", cert);
	put_file(from, "half", 4, 0600);
	make(&now);
	assert_true(devid_equal(&now, &old));
	assert_int_equal(next_of(&next), ERR_NOT_FOUND);
	assert_int_equal(identity_open_or_make_next(&id, dir, &err), 0);
	next = *identity_devid(id);
	identity_close(id);
	/* In the taking: the certificate has its place, the key not yet. */
	assert_int_equal(rename(from, cert), 0);
	if (in_process) /* ... and who was at it goes on */
		assert_int_equal(identity_take_next(dir, &err), 0);
	make(&now);
	assert_true(devid_equal(&now, &next));
	assert_int_equal(next_of(&now), ERR_NOT_FOUND);
}

static void
a_power_cut_leaves_the_old_key_or_the_new_one(void **state)
{
	(void)state;
	cut_and_go_on(false);
}

static void
what_failed_between_the_two_files_is_finished(void **state)
{
	(void)state;
	cut_and_go_on(true);
}

static void
identity_finishes_a_making_that_a_power_cut_ended(void **state)
{
	char path[128];
	struct devid before, after;

	(void)state;
	make(&before);
	snprintf(path, sizeof(path), "%s.new", key);
	assert_int_equal(rename(key, path), 0);
	make(&after);
	assert_true(devid_equal(&before, &after));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(identity_is_made_once_and_stays),
		TEST(identity_certificate_looks_like_syncthings),
		TEST(identity_reads_keys_of_all_ages),
		TEST(identity_refuses_an_empty_or_damaged_key),
		TEST(identity_refuses_half_an_identity),
		TEST(identity_refuses_a_key_that_others_can_read),
		TEST(identity_refuses_a_key_of_another_certificate),
		TEST(identity_finishes_a_making_that_a_power_cut_ended),
		TEST(a_successor_waits_until_it_is_taken),
		TEST(a_power_cut_leaves_the_old_key_or_the_new_one),
		TEST(what_failed_between_the_two_files_is_finished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
