/*
 * TLS 1.3 between memory buffers: no socket inside.
 *
 * Both ends show exactly one certificate; no authority is asked: the peer is
 * the SHA-256 of what it showed, and judging that ID is the caller's (net_uv).
 * A client that speaks HTTP with us may show none.
 * One protocol (ALPN) is offered; its absence is tolerated on TCP.  No tickets,
 * no resumption, no early data.  BEP-FACTS.md 2.1.
 *
 * Ciphertext comes in through tls_input_space()/tls_input_add() and goes out
 * through tls_output_take(); plaintext is read straight into the caller's
 * buffer, and written from wherever it lies.  Records are filled: small writes
 * are gathered until tls_flush().
 *
 * Thread: the one that owns it.
 */
#ifndef HOLDFAST_MESH_TLS_H
#define HOLDFAST_MESH_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/identity.h"

#define TLS_INPUT_LEN (256 * 1024)  /* bytes of ciphertext held, at most */
#define TLS_OUTPUT_LEN (256 * 1024) /* bytes to encrypt in one go: advice */

enum tls_protocol {
	TLS_BEP,   /* "bep/1.0" */
	TLS_RELAY, /* "bep-relay" */
	TLS_COORD, /* "holdfast-coord/1" */
	/* A server's: TLS_COORD, or HTTP with whoever does not say that. */
	TLS_COORD_WEB,
};

enum tls_role { TLS_CLIENT, TLS_SERVER };

/* Opaque. */
struct tls;

/* Borrows `id` for its whole life. */
int tls_open(struct tls **out, const struct identity *id, enum tls_role role,
    enum tls_protocol protocol, struct err *err);
void tls_close(struct tls *tls); /* accepts NULL; sends nothing */

/*
 * Where ciphertext from the socket goes, and how much fits (0: read first).
 * Valid until the next call on `tls`.
 */
uint8_t *tls_input_space(struct tls *tls, size_t *len);
void tls_input_add(struct tls *tls, size_t n);
/* The socket reached its end: reads say ERR_CLOSED once all is consumed. */
void tls_input_end(struct tls *tls);

/*
 * Go on with the handshake.  1: done, the peer is known; 0: more input is
 * needed (send the output first); ERR_PROTOCOL: drop it, output may hold an
 * alert that is worth sending.  As server it says nothing, not even that,
 * before it was asked in TLS 1.3 for what it speaks.
 */
int tls_handshake(struct tls *tls, struct err *err);
/* The peer's device ID; after the handshake.  None: tls_is_web(), without. */
const struct devid *tls_peer(const struct tls *tls);
/*
 * Does the certificate carry `name`, as subject CN or DNS name?  0 or
 * ERR_DENIED.  BEP-FACTS.md 1.1.
 */
int tls_check_name(const struct tls *tls, const char *name, struct err *err);
/* "TLS1.3 AES-128-GCM X25519": for people. */
const char *tls_text(const struct tls *tls);
/* TLS_COORD_WEB: is it HTTP?  After the handshake. */
bool tls_is_web(const struct tls *tls);
bool tls_has_alpn(const struct tls *tls); /* did it agree to one? */

/*
 * Plaintext, at most `len` bytes; what is behind them in `out` may be
 * overwritten.  1 and *n > 0; 0: more input is needed;
 * ERR_CLOSED: the peer ended it; ERR_PROTOCOL: damaged, drop it.
 */
int tls_read(struct tls *tls, uint8_t *out, size_t len, size_t *n,
    struct err *err);
/* Encrypt `plain` into the output.  Whole records only, until tls_flush(). */
int tls_write(struct tls *tls, struct slice plain, struct err *err);
/* Encrypt what is left of the last writes. */
int tls_flush(struct tls *tls, struct err *err);
/* Say goodbye (close_notify) into the output. */
void tls_end(struct tls *tls);

size_t tls_output_len(const struct tls *tls); /* ciphertext waiting */
/*
 * Gives the waiting ciphertext in `out`, whose old memory (length 0) is taken
 * for the next output: two buffers go round without a copy.
 */
void tls_output_take(struct tls *tls, struct buf *out);
/* Give back the big buffers while nothing moves; they come back by need. */
void tls_idle(struct tls *tls);

#endif
