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

int
tls_proof_session(gnutls_session_t *out, const struct identity *id,
    enum tls_role role, enum tls_proof_way way, struct err *err)
{
	static unsigned char bep[] = "bep/1.0", relay[] = "bep-relay",
			     coord[] = "holdfast-coord/1";
	static const gnutls_datum_t alpn[] = {
		[TLS_PROOF_TCP] = { bep, sizeof(bep) - 1 },
		[TLS_PROOF_QUIC] = { bep, sizeof(bep) - 1 },
		[TLS_PROOF_RELAY] = { relay, sizeof(relay) - 1 },
		[TLS_PROOF_COORD] = { coord, sizeof(coord) - 1 },
	};
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
		rc = gnutls_alpn_set_protocols(session, &alpn[way], 1,
		    must ? GNUTLS_ALPN_MANDATORY : 0);
	if (rc < 0) {
		gnutls_deinit(session);
		return tls_proof_fail(err, rc, "TLS");
	}
	if (role == TLS_SERVER)
		gnutls_certificate_server_set_request(session,
		    GNUTLS_CERT_REQUIRE);
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
