/*
 * Who a TLS peer is, the same for TLS on TCP and for QUIC: both ends show one
 * certificate, no authority is asked, and the peer is the SHA-256 of what it
 * showed.  Judging that ID is the caller's.
 *
 * Thread: the one that owns the session.
 */
#ifndef HOLDFAST_MESH_TLS_PROOF_GNUTLS_H
#define HOLDFAST_MESH_TLS_PROOF_GNUTLS_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "mesh/identity.h"
#include "mesh/tls.h"

enum tls_proof_way {
	TLS_PROOF_TCP,
	TLS_PROOF_QUIC,
	TLS_PROOF_RELAY,
	TLS_PROOF_COORD,
	TLS_PROOF_COORD_WEB,
};

/* Zeroed: nothing is known. */
struct tls_proof {
	struct devid peer;
	gnutls_x509_crt_t cert; /* owned */
	char text[96];          /* "TLS1.3 AES-128-GCM X25519" */
};

/*
 * A session with our certificate, TLS 1.3 alone and ALPN "bep/1.0" (with a
 * relay "bep-relay", with a coordinator "holdfast-coord/1"), which QUIC and a
 * coordinator require and BEP on TCP does not.  A server of COORD_WEB takes
 * "http/1.1" as well, and asks for a certificate without requiring it.  Borrows
 * `id` for its life.
 */
int tls_proof_session(gnutls_session_t *out, const struct identity *id,
    enum tls_role role, enum tls_proof_way way, struct err *err);
/* Was that way's protocol agreed on? */
bool tls_proof_speaks(gnutls_session_t session, enum tls_proof_way way);
/* Did the other end show a certificate, or several? */
bool tls_proof_is_shown(gnutls_session_t session);
/* After the handshake.  ERR_PROTOCOL unless it showed exactly one. */
int tls_proof_take(struct tls_proof *p, gnutls_session_t session,
    struct err *err);
/* Is it made out to `name`, as subject CN or DNS name?  0 or ERR_DENIED. */
int tls_proof_check_name(const struct tls_proof *p, const char *name,
    struct err *err);
void tls_proof_fini(struct tls_proof *p);

#endif
