/*
 * Identities with GnuTLS; see identity.h.
 *
 * Making one, in the order that survives a power cut at any point: both files
 * under temporary names, flushed; the certificate renamed into place; then the
 * key.  A certificate whose key still has its temporary name is such a cut,
 * and the next start finishes the rename.
 */
#include "mesh/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/base/mem.h"

#define IDENTITY_CERT "cert.pem"
#define IDENTITY_KEY "key.pem"
#define IDENTITY_KEY_NEW "key.pem.new"
#define IDENTITY_CERT_NEW "cert.pem.new"
#define IDENTITY_CERT_NEXT "cert.pem.next"
#define IDENTITY_KEY_NEXT "key.pem.next"
#define IDENTITY_FILE_MAX (64 * 1024) /* bytes; real ones have about 1 KiB */
#define IDENTITY_DAYS 7300            /* as Syncthing; nobody checks it */

struct identity {
	struct devid id;
	char key_text[32];
	gnutls_certificate_credentials_t cred;
};

static int
identity_tls(struct err *err, int rc, const char *what)
{
	return err_set(err, ERR_CORRUPT, "%s: %s", what, gnutls_strerror(rc));
}

/* "ECDSA P-384" and the like. */
static void
identity_name_key(struct identity *id, gnutls_x509_privkey_t key)
{
	gnutls_ecc_curve_t curve;
	unsigned bits = 0;
	const int pk = gnutls_x509_privkey_get_pk_algorithm2(key, &bits);
	const char *kind = gnutls_pk_get_name((gnutls_pk_algorithm_t)pk);

	if (pk == GNUTLS_PK_EDDSA_ED25519) {
		kind = "Ed25519";
	} else if (pk == GNUTLS_PK_RSA) {
		snprintf(id->key_text, sizeof(id->key_text), "RSA-%u", bits);
		return;
	} else if (pk == GNUTLS_PK_ECDSA &&
		   gnutls_x509_privkey_export_ecc_raw(key, &curve, NULL, NULL,
		       NULL) >= 0) {
		kind = curve == GNUTLS_ECC_CURVE_SECP256R1   ? "ECDSA P-256"
		       : curve == GNUTLS_ECC_CURVE_SECP384R1 ? "ECDSA P-384"
		       : curve == GNUTLS_ECC_CURVE_SECP521R1 ? "ECDSA P-521"
							     : "ECDSA";
	}
	snprintf(id->key_text, sizeof(id->key_text), "%s", kind);
}

static int
identity_check_kind(const struct identity *id, struct err *err)
{
	static const char *const good[] = { "Ed25519", "ECDSA P-256",
		"ECDSA P-384", "ECDSA P-521" };

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (strcmp(id->key_text, good[i]) == 0)
			return 0;
	if (strncmp(id->key_text, "RSA-", 4) == 0)
		return 0;
	return err_set(err, ERR_INVALID,
	    "a key of kind %s is not usable; allowed: Ed25519, ECDSA P-256, "
	    "P-384, P-521, RSA",
	    id->key_text);
}

/* GnuTLS itself lets a wrong Ed25519 key pass. */
static bool
identity_fits(gnutls_x509_privkey_t key, const gnutls_pcert_st *cert)
{
	uint8_t of_key[32], of_cert[32];
	size_t key_len = sizeof(of_key), cert_len = sizeof(of_cert);

	return gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256,
		   of_key, &key_len) >= 0 &&
	       gnutls_pubkey_get_key_id(cert->pubkey, GNUTLS_KEYID_USE_SHA256,
		   of_cert, &cert_len) >= 0 &&
	       key_len == cert_len && memcmp(of_key, of_cert, key_len) == 0;
}

/*
 * The DER bytes exactly as the file has them: they are what is hashed and what
 * is sent, so nothing may encode them anew.
 */
static int
identity_use(struct identity *id, const gnutls_datum_t *der,
    const gnutls_datum_t *key_pem, struct err *err)
{
	gnutls_x509_privkey_t x509_key = NULL;
	gnutls_privkey_t key = NULL;
	gnutls_pcert_st pcert;
	bool has_pcert = false;
	int rc;

	rc = gnutls_x509_privkey_init(&x509_key);
	if (rc < 0) {
		rc = identity_tls(err, rc, IDENTITY_KEY);
		goto out;
	}
	rc = gnutls_x509_privkey_import2(x509_key, key_pem, GNUTLS_X509_FMT_PEM,
	    NULL, GNUTLS_PKCS_PLAIN);
	if (rc < 0) {
		rc = identity_tls(err, rc, IDENTITY_KEY " cannot be read");
		goto out;
	}
	identity_name_key(id, x509_key);
	rc = identity_check_kind(id, err);
	if (rc < 0)
		goto out;
	rc = gnutls_privkey_init(&key);
	if (rc >= 0)
		rc = gnutls_privkey_import_x509(key, x509_key,
		    GNUTLS_PRIVKEY_IMPORT_COPY);
	if (rc < 0) {
		rc = identity_tls(err, rc, IDENTITY_KEY);
		goto out;
	}
	rc = gnutls_pcert_import_x509_raw(&pcert, der, GNUTLS_X509_FMT_DER, 0);
	if (rc < 0) {
		rc = identity_tls(err, rc, IDENTITY_CERT " cannot be read");
		goto out;
	}
	has_pcert = true;
	if (!identity_fits(x509_key, &pcert)) {
		rc = err_set(err, ERR_CORRUPT,
		    IDENTITY_CERT " and " IDENTITY_KEY " do not belong "
				  "together; restore both from one backup");
		goto out;
	}
	rc = gnutls_certificate_allocate_credentials(&id->cred);
	if (rc >= 0)
		rc = gnutls_certificate_set_key(id->cred, NULL, 0, &pcert, 1,
		    key);
	if (rc < 0) {
		rc = identity_tls(err, rc, IDENTITY_CERT);
		goto out;
	}
	/* What both hold is the credentials' now. */
	has_pcert = false;
	key = NULL;
	rc = 0;
out:
	if (has_pcert)
		gnutls_pcert_deinit(&pcert);
	gnutls_privkey_deinit(key);
	gnutls_x509_privkey_deinit(x509_key);
	return rc;
}

int
identity_from_pem(struct identity **out, struct slice cert, struct slice key,
    struct err *err)
{
	struct identity *id = mem_zalloc(sizeof(*id));
	const gnutls_datum_t cert_pem = { (unsigned char *)(uintptr_t)cert.ptr,
		(unsigned)cert.len };
	const gnutls_datum_t key_pem = { (unsigned char *)(uintptr_t)key.ptr,
		(unsigned)key.len };
	gnutls_datum_t der = { NULL, 0 };
	struct digest digest;
	int rc;

	*out = NULL;
	rc = gnutls_pem_base64_decode2("CERTIFICATE", &cert_pem, &der);
	if (rc < 0) {
		rc = err_set(err, ERR_CORRUPT,
		    IDENTITY_CERT " holds no readable certificate");
		goto out;
	}
	rc = identity_use(id, &der, &key_pem, err);
	if (rc < 0)
		goto out;
	digest_of(slice_of(der.data, der.size), &digest);
	memcpy(id->id.b, digest.b, DEVID_LEN);
	*out = id;
	id = NULL;
out:
	gnutls_free(der.data);
	identity_close(id);
	return rc;
}

void
identity_close(struct identity *id)
{
	if (id == NULL)
		return;
	if (id->cred != NULL)
		gnutls_certificate_free_credentials(id->cred);
	mem_free(id);
}

const struct devid *
identity_devid(const struct identity *id)
{
	return &id->id;
}

const char *
identity_key_text(const struct identity *id)
{
	return id->key_text;
}

void *
identity_credentials(const struct identity *id)
{
	return id->cred;
}

/* --- files ------------------------------------------------------------ */

/* The key of a device is its owner's alone. */
static int
identity_check_owner(const struct stat *st, const char *dir, const char *name,
    struct err *err)
{
	if (!S_ISREG(st->st_mode))
		return err_set(err, ERR_INVALID, "%s/%s is no regular file",
		    dir, name);
	if (strcmp(name, IDENTITY_KEY) != 0 &&
	    strcmp(name, IDENTITY_KEY_NEXT) != 0)
		return 0;
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return err_set(err, ERR_DENIED,
		    "%s/%s belongs to another user; make it yours: "
		    "chown %u '%s/%s'",
		    dir, name, (unsigned)geteuid(), dir, name);
	if ((st->st_mode & 077) != 0)
		return err_set(err, ERR_DENIED,
		    "%s/%s can be read by others (mode %04o) and is refused; "
		    "chmod 600 '%s/%s', and if strangers may have seen it, "
		    "make a new identity",
		    dir, name, (unsigned)st->st_mode & 07777, dir, name);
	return 0;
}

static int
identity_read(int dirfd, const char *dir, const char *name, struct buf *out,
    struct err *err)
{
	struct stat st;
	ssize_t n;
	int fd, rc;

	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "%s/%s is missing", dir,
		    name);
	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = err_sys(err, errno, "%s/%s", dir, name);
		goto out;
	}
	rc = identity_check_owner(&st, dir, name, err);
	if (rc < 0)
		goto out;
	if (st.st_size == 0 || st.st_size > IDENTITY_FILE_MAX) {
		rc = err_set(err, ERR_CORRUPT,
		    "%s/%s %s; restore it from a backup. Nothing was changed",
		    dir, name, st.st_size == 0 ? "is empty" : "is too large");
		goto out;
	}
	for (;;) {
		n = read(fd, buf_extend(out, 4096), 4096);
		out->len -= 4096 - (size_t)(n > 0 ? n : 0);
		if (n == 0 || out->len > IDENTITY_FILE_MAX)
			break;
		if (n < 0 && errno != EINTR) {
			rc = err_sys(err, errno, "read %s/%s", dir, name);
			goto out;
		}
	}
	rc = 0;
out:
	if (fd >= 0)
		close(fd);
	return rc;
}

/* A power cut between the two renames of identity_make(). */
static void
identity_finish_making(int dirfd)
{
	if (faccessat(dirfd, IDENTITY_KEY, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
	    faccessat(dirfd, IDENTITY_CERT, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (renameat(dirfd, IDENTITY_KEY_NEW, dirfd, IDENTITY_KEY) == 0)
		fsync(dirfd);
}

/*
 * A power cut between the two renames of identity_take_next().  A successor is
 * made certificate first, so a key alone is never half a making.
 */
static void
identity_finish_taking(int dirfd)
{
	if (faccessat(dirfd, IDENTITY_CERT_NEXT, F_OK, AT_SYMLINK_NOFOLLOW) ==
		0 ||
	    faccessat(dirfd, IDENTITY_KEY_NEXT, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (renameat(dirfd, IDENTITY_KEY_NEXT, dirfd, IDENTITY_KEY) == 0)
		fsync(dirfd);
}

static int
identity_load(struct identity **out, int dirfd, const char *dir,
    struct err *err)
{
	struct buf cert = { 0 }, key = { 0 };
	struct err key_err = { 0 };
	int rc, key_rc;

	identity_finish_making(dirfd);
	identity_finish_taking(dirfd);
	rc = identity_read(dirfd, dir, IDENTITY_CERT, &cert, err);
	key_rc = identity_read(dirfd, dir, IDENTITY_KEY, &key, &key_err);
	if (rc == ERR_NOT_FOUND && key_rc == ERR_NOT_FOUND)
		goto out;
	if (rc == ERR_NOT_FOUND || (rc == 0 && key_rc == ERR_NOT_FOUND)) {
		const bool no_cert = rc == ERR_NOT_FOUND;

		rc = err_set(err, ERR_CORRUPT,
		    "%s/%s is missing but %s is there; restore it from a "
		    "backup, or remove both for a new identity (every other "
		    "device must then be told the new ID)",
		    dir, no_cert ? IDENTITY_CERT : IDENTITY_KEY,
		    no_cert ? IDENTITY_KEY : IDENTITY_CERT);
		goto out;
	}
	if (rc == 0 && key_rc < 0) {
		if (err != NULL)
			*err = key_err;
		rc = key_rc;
	}
	if (rc < 0)
		goto out;
	rc = identity_from_pem(out, buf_slice(&cert), buf_slice(&key), err);
	if (rc < 0)
		err_wrap(err, "%s", dir);
out:
	if (key.ptr != NULL)
		gnutls_memset(key.ptr, 0, key.cap);
	buf_fini(&key);
	buf_fini(&cert);
	return rc;
}

static int
identity_write(int dirfd, const char *name, const gnutls_datum_t *data,
    struct err *err)
{
	size_t done = 0;
	ssize_t n;
	int fd, rc = 0;

	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove %s", name);
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "create %s", name);
	while (done < data->size) {
		n = write(fd, data->data + done, data->size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = err_sys(err, errno, "write %s", name);
			break;
		}
		done += (size_t)n;
	}
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, errno, "flush %s", name);
	close(fd);
	return rc;
}

/* Subject, names, dates and uses as BEP-FACTS.md 1.1 lists them. */
static int
identity_fill_cert(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
	static const struct {
		const char *oid, *text;
	} parts[] = {
		{ GNUTLS_OID_X520_ORGANIZATION_NAME, "Syncthing" },
		{ GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME,
		    "Automatically Generated" },
		{ GNUTLS_OID_X520_COMMON_NAME, "syncthing" },
	};
	const time_t day = 24 * 3600;
	const time_t today = time(NULL) / day * day;
	uint8_t serial[8];
	int rc;

	rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	if (rc < 0)
		return rc;
	serial[0] = (serial[0] & 0x7f) | 0x01; /* positive, not zero */
	rc = gnutls_x509_crt_set_version(crt, 3);
	for (size_t i = 0; rc >= 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
		rc = gnutls_x509_crt_set_dn_by_oid(crt, parts[i].oid, 0,
		    parts[i].text, (unsigned)strlen(parts[i].text));
	if (rc >= 0)
		rc = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (rc >= 0)
		rc = gnutls_x509_crt_set_activation_time(crt, today);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_expiration_time(crt,
		    today + IDENTITY_DAYS * day);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key(crt, key);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_usage(crt,
		    GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_purpose_oid(crt,
		    GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_purpose_oid(crt,
		    GNUTLS_KP_TLS_WWW_CLIENT, 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_subject_alt_name(crt,
		    GNUTLS_SAN_DNSNAME, "syncthing", 9, GNUTLS_FSAN_SET);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_issuer_dn_by_oid(crt, parts[0].oid, 0,
		    parts[0].text, (unsigned)strlen(parts[0].text));
	for (size_t i = 1; rc >= 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
		rc = gnutls_x509_crt_set_issuer_dn_by_oid(crt, parts[i].oid, 0,
		    parts[i].text, (unsigned)strlen(parts[i].text));
	return rc;
}

/* A new key and its self-signed certificate, both as PEM. */
static int
identity_generate(gnutls_datum_t *cert_pem, gnutls_datum_t *key_pem,
    struct err *err)
{
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t crt = NULL;
	int rc;

	rc = gnutls_x509_privkey_init(&key);
	if (rc >= 0)
		rc = gnutls_x509_crt_init(&crt);
	if (rc >= 0)
		rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519,
		    256, 0);
	if (rc >= 0)
		rc = identity_fill_cert(crt, key);
	if (rc >= 0)
		rc = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0);
	if (rc >= 0)
		rc =
		    gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, cert_pem);
	if (rc >= 0)
		rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM,
		    NULL, GNUTLS_PKCS_PLAIN, key_pem);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
	if (rc < 0)
		return err_set(err, ERR_IO, "make an identity: %s",
		    gnutls_strerror(rc));
	return 0;
}

/* What identity_generate() gave; no key stays in memory that is not in use. */
static void
identity_forget(gnutls_datum_t *key, gnutls_datum_t *cert)
{
	if (key->data != NULL)
		gnutls_memset(key->data, 0, key->size);
	gnutls_free(key->data);
	gnutls_free(cert->data);
}

static int
identity_make(int dirfd, struct err *err)
{
	gnutls_datum_t cert = { NULL, 0 }, key = { NULL, 0 };
	int rc;

	rc = identity_generate(&cert, &key, err);
	if (rc == 0)
		rc = identity_write(dirfd, IDENTITY_KEY_NEW, &key, err);
	if (rc == 0)
		rc = identity_write(dirfd, IDENTITY_CERT_NEW, &cert, err);
	if (rc == 0 && fsync(dirfd) < 0)
		rc = err_sys(err, errno, "flush directory");
	/* linkat, not rename: a file that appeared meanwhile is never lost. */
	if (rc == 0 &&
	    (linkat(dirfd, IDENTITY_CERT_NEW, dirfd, IDENTITY_CERT, 0) < 0 ||
		unlinkat(dirfd, IDENTITY_CERT_NEW, 0) < 0 ||
		linkat(dirfd, IDENTITY_KEY_NEW, dirfd, IDENTITY_KEY, 0) < 0 ||
		unlinkat(dirfd, IDENTITY_KEY_NEW, 0) < 0 || fsync(dirfd) < 0))
		rc = err_sys(err, errno, "put a new identity in place");
	identity_forget(&key, &cert);
	return rc;
}

/* In the directory `dir`; `make` is NULL where none is to be made. */
static int
identity_open_in(struct identity **out, const char *dir,
    int (*load)(struct identity **, int, const char *, struct err *),
    int (*make)(int, struct err *), struct err *err)
{
	int dirfd, rc;

	*out = NULL;
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(err, errno, "open %s", dir);
	rc = load(out, dirfd, dir, err);
	if (rc == ERR_NOT_FOUND && make != NULL) {
		rc = make(dirfd, err);
		if (rc < 0)
			err_wrap(err, "%s", dir);
		else
			rc = load(out, dirfd, dir, err);
	}
	close(dirfd);
	return rc;
}

int
identity_open(struct identity **out, const char *dir, struct err *err)
{
	return identity_open_in(out, dir, identity_load, NULL, err);
}

int
identity_open_or_make(struct identity **out, const char *dir, struct err *err)
{
	return identity_open_in(out, dir, identity_load, identity_make, err);
}

/* --- the successor ----------------------------------------------------- */

static int
identity_load_next(struct identity **out, int dirfd, const char *dir,
    struct err *err)
{
	struct buf cert = { 0 }, key = { 0 };
	int rc;

	identity_finish_taking(dirfd);
	rc = identity_read(dirfd, dir, IDENTITY_KEY_NEXT, &key, err);
	if (rc == 0)
		rc = identity_read(dirfd, dir, IDENTITY_CERT_NEXT, &cert, err);
	if (rc == 0)
		rc = identity_from_pem(out, buf_slice(&cert), buf_slice(&key),
		    err);
	if (key.ptr != NULL)
		gnutls_memset(key.ptr, 0, key.cap);
	buf_fini(&key);
	buf_fini(&cert);
	return rc;
}

/* A certificate without a key may be there: it was never told to anybody. */
static int
identity_make_next(int dirfd, struct err *err)
{
	gnutls_datum_t cert = { NULL, 0 }, key = { NULL, 0 };
	int rc = identity_generate(&cert, &key, err);

	if (rc == 0)
		rc = identity_write(dirfd, IDENTITY_CERT_NEXT, &cert, err);
	if (rc == 0 && fsync(dirfd) < 0)
		rc = err_sys(err, errno, "flush directory");
	/* Under its name it is whole. */
	if (rc == 0)
		rc = identity_write(dirfd, IDENTITY_KEY_NEW, &key, err);
	if (rc == 0 &&
	    (renameat(dirfd, IDENTITY_KEY_NEW, dirfd, IDENTITY_KEY_NEXT) < 0 ||
		fsync(dirfd) < 0))
		rc = err_sys(err, errno, "put a successor in place");
	identity_forget(&key, &cert);
	return rc;
}

int
identity_open_next(struct identity **out, const char *dir, struct err *err)
{
	return identity_open_in(out, dir, identity_load_next, NULL, err);
}

int
identity_open_or_make_next(struct identity **out, const char *dir,
    struct err *err)
{
	return identity_open_in(out, dir, identity_load_next,
	    identity_make_next, err);
}

int
identity_take_next(const char *dir, struct err *err)
{
	int dirfd, rc = 0;

	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_sys(err, errno, "open %s", dir);
	/* Somebody who opens the directory between the two finishes it; and it
	 * may be that this is the second half of one that failed. */
	if ((renameat(dirfd, IDENTITY_CERT_NEXT, dirfd, IDENTITY_CERT) < 0 &&
		(errno != ENOENT || faccessat(dirfd, IDENTITY_KEY_NEXT, F_OK,
					AT_SYMLINK_NOFOLLOW) < 0)) ||
	    fsync(dirfd) < 0 ||
	    (renameat(dirfd, IDENTITY_KEY_NEXT, dirfd, IDENTITY_KEY) < 0 &&
		errno != ENOENT) ||
	    fsync(dirfd) < 0)
		rc = err_sys(err, errno, "take the new key in %s", dir);
	close(dirfd);
	return rc;
}
