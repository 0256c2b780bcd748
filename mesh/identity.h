/*
 * Who we are: a certificate and its key, cert.pem and key.pem in a directory.
 *
 * Made once, as Syncthing makes them (Ed25519; BEP-FACTS.md 1.1), and replaced
 * by a person's wish alone: the SHA-256 of the certificate is the device ID
 * that every other device trusts.  A successor waits beside it, as
 * cert.pem.next and key.pem.next, until it is taken.  Damaged, empty,
 * half-missing or carelessly readable files are refused with words on what to
 * do; nothing here ever overwrites them. Reads keys as PKCS#8, SEC1 (ECDSA) and
 * PKCS#1 (RSA), so a Syncthing's identity can be brought along.
 *
 * Thread: any one at a time; read-only after identity_open().
 */
#ifndef HOLDFAST_MESH_IDENTITY_H
#define HOLDFAST_MESH_IDENTITY_H

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

/* Opaque. */
struct identity;

/*
 * Load the identity in `dir`.  ERR_NOT_FOUND when neither file is there;
 * ERR_CORRUPT, ERR_DENIED (mode, owner) or ERR_INVALID otherwise.
 */
int identity_open(struct identity **out, const char *dir, struct err *err);
/* Load it, or make one when neither file is there (mode 0600, durable). */
int identity_open_or_make(struct identity **out, const char *dir,
    struct err *err);
/*
 * The successor that waits in `dir`, and one that is made when none does.  The
 * first is ERR_NOT_FOUND then; half a one is none.
 */
int identity_open_next(struct identity **out, const char *dir, struct err *err);
int identity_open_or_make_next(struct identity **out, const char *dir,
    struct err *err);
/*
 * The successor is the identity from now on, and the one before is gone; also
 * when this is cut in the middle and `dir` is opened again.
 */
int identity_take_next(const char *dir, struct err *err);
/* From PEM texts: for tests and for checking before an import. */
int identity_from_pem(struct identity **out, struct slice cert,
    struct slice key, struct err *err);
void identity_close(struct identity *id); /* accepts NULL */

const struct devid *identity_devid(const struct identity *id);
/* "Ed25519", "ECDSA P-384", "RSA-3072": for people. */
const char *identity_key_text(const struct identity *id);
/* The gnutls_certificate_credentials_t; only tls_gnutls.c asks. */
void *identity_credentials(const struct identity *id);

#endif
