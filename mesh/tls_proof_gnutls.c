/*
 * Peers' proofs; see tls_proof_gnutls.h.
 */
#include "mesh/tls_proof_gnutls.h"

#include <stdio.h>
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "engine/base/digest.h"
#include "engine/base/slice.h"

/* Bytes of a certificate message. */
#define TLS_PROOF_HANDSHAKE_MAX (64 * 1024)
#define TLS_PROOF_BASE                                                         \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519:"              \
	"+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1:-CIPHER-ALL"
/* AES where the processor has it: GnuTLS's ChaCha20 is seven times slower. */
#define TLS_PROOF_AES                                                          \
	TLS_PROOF_BASE ":+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305"
#define TLS_PROOF_CHACHA                                                       \
	TLS_PROOF_BASE ":+CHACHA20-POLY1305:+AES-128-GCM:+AES-256-GCM"
/* RFC 9001, 8.4: no disguise as TLS 1.2. */
#define TLS_PROOF_PLAIN ":%DISABLE_TLS13_COMPAT_MODE"

static bool
tls_proof_has_fast_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes") &&
	       __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
	return (getauxval(AT_HWCAP) & (1 << 3)) != 0; /* HWCAP_AES */
#else
	return false;
#endif
}

static int
tls_proof_fail(struct err *err, int rc, const char *what)
{
	return err_set(err, ERR_PROTOCOL, "%s: %s", what, gnutls_strerror(rc));
}

static const char *
tls_proof_priority(enum tls_proof_way way)
{
	const bool aes = tls_proof_has_fast_aes();

	if (way == TLS_PROOF_QUIC)
		return aes ? TLS_PROOF_AES TLS_PROOF_PLAIN
			   : TLS_PROOF_CHACHA TLS_PROOF_PLAIN;
	return aes ? TLS_PROOF_AES : TLS_PROOF_CHACHA;
}

static unsigned char tls_proof_bep[] = "bep/1.0",
		     tls_proof_relay[] = "bep-relay",
		     tls_proof_coord[] = "holdfast-coord/1",
		     tls_proof_http[] = "http/1.1";

#define TLS_PROOF_NAME(name)                                                   \
	{                                                                      \
		(name), sizeof(name) - 1                                       \
	}

/* What each way speaks; the first of two is preferred. */
static const struct {
	gnutls_datum_t name[2];
	unsigned count;
} tls_proof_alpn[] = {
	[TLS_PROOF_TCP] = { { TLS_PROOF_NAME(tls_proof_bep) }, 1 },
	[TLS_PROOF_QUIC] = { { TLS_PROOF_NAME(tls_proof_bep) }, 1 },
	[TLS_PROOF_RELAY] = { { TLS_PROOF_NAME(tls_proof_relay) }, 1 },
	[TLS_PROOF_COORD] = { { TLS_PROOF_NAME(tls_proof_coord) }, 1 },
	[TLS_PROOF_COORD_WEB] = { { TLS_PROOF_NAME(tls_proof_coord),
				      TLS_PROOF_NAME(tls_proof_http) },
	    2 },
};

int
tls_proof_session(gnutls_session_t *out, const struct identity *id,
    enum tls_role role, enum tls_proof_way way, struct err *err)
{
	const bool must = role == TLS_SERVER || way == TLS_PROOF_QUIC ||
			  way == TLS_PROOF_COORD;
	gnutls_session_t session = NULL;
	unsigned flags =
	    GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET;
	int rc;

	*out = NULL;
	flags |= role == TLS_SERVER ? GNUTLS_SERVER
				    : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT;
	rc = gnutls_init(&session, flags);
	if (rc < 0)
		return tls_proof_fail(err, rc, "TLS");
	rc = gnutls_priority_set_direct(session, tls_proof_priority(way), NULL);
	if (rc >= 0)
		rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE,
		    identity_credentials(id));
	/*
	 * A server refuses a client whose list lacks ours, as Syncthing does;
	 * on TCP no list at all passes.
	 */
	if (rc >= 0)
		rc = gnutls_alpn_set_protocols(session,
		    tls_proof_alpn[way].name, tls_proof_alpn[way].count,
		    must ? GNUTLS_ALPN_MANDATORY : 0);
	if (rc < 0) {
		gnutls_deinit(session);
		return tls_proof_fail(err, rc, "TLS");
	}
	if (role == TLS_SERVER)
		gnutls_certificate_server_set_request(session,
		    way == TLS_PROOF_COORD_WEB ? GNUTLS_CERT_REQUEST
					       : GNUTLS_CERT_REQUIRE);
	gnutls_handshake_set_max_packet_length(session,
	    TLS_PROOF_HANDSHAKE_MAX);
	gnutls_handshake_set_timeout(session, 0); /* ours is outside */
	*out = session;
	return 0;
}

static void
tls_proof_describe(struct tls_proof *p, gnutls_session_t s)
{
	const char *group = gnutls_group_get_name(gnutls_group_get(s));

	snprintf(p->text, sizeof(p->text), "%s %s %s",
	    gnutls_protocol_get_name(gnutls_protocol_get_version(s)),
	    gnutls_cipher_get_name(gnutls_cipher_get(s)),
	    group != NULL ? group : "");
}

bool
tls_proof_speaks(gnutls_session_t session, enum tls_proof_way way)
{
	const gnutls_datum_t *name = &tls_proof_alpn[way].name[0];
	gnutls_datum_t agreed;

	return gnutls_alpn_get_selected_protocol(session, &agreed) >= 0 &&
	       slice_equal(slice_of(agreed.data, agreed.size),
		   slice_of(name->data, name->size));
}

bool
tls_proof_is_shown(gnutls_session_t session)
{
	unsigned count = 0;

	return gnutls_certificate_get_peers(session, &count) != NULL &&
	       count > 0;
}

/* Exactly one certificate: it is the device. */
int
tls_proof_take(struct tls_proof *p, gnutls_session_t session, struct err *err)
{
	const gnutls_datum_t *certs;
	struct digest digest;
	unsigned count = 0;
	int rc;

	certs = gnutls_certificate_get_peers(session, &count);
	if (certs == NULL || count != 1)
		return err_set(err, ERR_PROTOCOL,
		    "TLS: the peer showed %u certificates, not one",
		    certs == NULL ? 0 : count);
	digest_of(slice_of(certs[0].data, certs[0].size), &digest);
	rc = gnutls_x509_crt_init(&p->cert);
	if (rc >= 0)
		rc = gnutls_x509_crt_import(p->cert, &certs[0],
		    GNUTLS_X509_FMT_DER);
	if (rc < 0)
		return tls_proof_fail(err, rc, "TLS: the peer's certificate");
	rc = devid_from_bytes(&p->peer, slice_of(digest.b, DIGEST_LEN), err);
	if (rc < 0)
		return rc;
	tls_proof_describe(p, session);
	return 0;
}

int
tls_proof_check_name(const struct tls_proof *p, const char *name,
    struct err *err)
{
	char text[256];
	size_t len = sizeof(text);

	if (gnutls_x509_crt_get_dn_by_oid(p->cert, GNUTLS_OID_X520_COMMON_NAME,
		0, 0, text, &len) >= 0 &&
	    len == strlen(name) && memcmp(text, name, len) == 0)
		return 0;
	for (unsigned i = 0; i < 64; i++) {
		int kind;

		len = sizeof(text);
		kind = gnutls_x509_crt_get_subject_alt_name(p->cert, i, text,
		    &len, NULL);
		if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (kind == GNUTLS_SAN_DNSNAME && len == strlen(name) &&
		    memcmp(text, name, len) == 0)
			return 0;
	}
	return err_set(err, ERR_DENIED,
	    "the peer's certificate is not made out to \"%s\"", name);
}

void
tls_proof_fini(struct tls_proof *p)
{
	if (p->cert != NULL)
		gnutls_x509_crt_deinit(p->cert);
	*p = (struct tls_proof){ 0 };
}
