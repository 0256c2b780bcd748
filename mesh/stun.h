/*
 * STUN: how to ask a server from which address our datagrams reach it.
 *
 * RFC 8489, the method Binding alone, without credentials: those of others are
 * passed over.  Of RFC 5780 the server's other address is read, and the port
 * that an answer shall go to.  IPv4 addresses come and go as such, with the
 * scheme of QUIC, because that is what they are used for.
 *
 * A message is a datagram of its own.  Its first two bits are 0 and bytes 4 to
 * 7 are the magic cookie, so it shares a port with QUIC (RFC 9443).
 *
 * Pure.  Thread: any.
 */
#ifndef HOLDFAST_MESH_STUN_H
#define HOLDFAST_MESH_STUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"

#define STUN_HEADER_LEN 20u
#define STUN_MESSAGE_MAX 1200u /* bytes; nothing of ours is near it */
#define STUN_BINDING 1u        /* the method */
#define STUN_PORT 3478u
#define STUN_ID_LEN 12u
#define STUN_TEXT_MAX 127u   /* bytes of a SOFTWARE or a reason, kept */
#define STUN_UNKNOWN_MAX 16u /* attributes named in a refusal */

enum stun_class {
	STUN_REQUEST = 0,
	STUN_INDICATION = 1,
	STUN_SUCCESS = 2,
	STUN_ERROR = 3,
};

struct stun_id { /* of a question and its answer; not to be guessed */
	uint8_t b[STUN_ID_LEN];
};

/* A value; owns nothing.  What is not there is zero. */
struct stun_message {
	enum stun_class class;
	uint16_t method;
	struct stun_id id;
	bool has_mapped, has_other, has_origin;
	struct addr mapped;           /* XOR-MAPPED-ADDRESS, else the old one */
	struct addr other;            /* OTHER-ADDRESS */
	struct addr origin;           /* RESPONSE-ORIGIN */
	uint16_t response_port;       /* RESPONSE-PORT; 0: none */
	uint16_t code;                /* of an error: 300 to 699 */
	char text[STUN_TEXT_MAX + 1]; /* why */
	char software[STUN_TEXT_MAX + 1];
	/* Those one must understand, and we do not; or, in a refusal, the
	 * other did not. */
	uint16_t unknown[STUN_UNKNOWN_MAX];
	size_t unknown_count;
	bool has_fingerprint; /* and it is right */
};

/*
 * A server as a person writes it: "stun://HOST:PORT" (or "stun:HOST", RFC
 * 7064); without a port, STUN_PORT.  ERR_INVALID says what is wrong.
 */
int stun_parse_server(struct addr *out, struct slice text, struct err *err);

/* Could it be one?  Tells STUN from what else comes to the port. */
bool stun_is(struct slice datagram);
/* Append it, with a FINGERPRINT. */
void stun_encode(const struct stun_message *m, struct buf *out);
/*
 * The whole datagram is one message.  ERR_PROTOCOL says what is wrong with it.
 * Unknown attributes are no error: see `unknown`.
 */
int stun_decode(struct stun_message *out, struct slice datagram,
    struct err *err);

/*
 * A server's answer to what came from `from`; false: none.  It is sent where
 * the question came from, or to *port there when that is not 0.
 */
bool stun_answer(struct slice datagram, const struct addr *from,
    struct buf *out, uint16_t *port);

/*
 * When to ask for the n-th time (from 0), counted from the first; after the
 * last (STUN_TRIES), when to give up.  RFC 8489, 6.2.1, with RTO 500 ms, and
 * Rc and Rm made smaller, as it allows: a person waits.
 */
#define STUN_TRIES 5u
uint64_t stun_retry_ns(unsigned n);

#endif
