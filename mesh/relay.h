/*
 * The relay protocol, version 1: what is said with a relay, and its bytes.
 *
 * A relay forwards bytes between two devices that both reach it.  Two kinds of
 * connection with it: one in TLS (ALPN "bep-relay"), on which devices join and
 * are asked for; and a plain one for each session, which begins with a key and
 * then carries the two devices' own TLS.  BEP-FACTS.md 10.3.
 *
 *	waiting:  TLS, JOIN -> RESPONSE 0; PING <-> PONG; <- INVITATION
 *	calling:  TLS, CONNECT -> INVITATION, or RESPONSE; the relay hangs up
 *	both:     TCP, SESSION(key) -> RESPONSE 0, then bytes of the other
 *
 * Header: magic, type, length, each 32 bits, big-endian.  Payload: XDR, at most
 * RELAY_PAYLOAD_MAX bytes.
 *
 * Pure.  Thread: any.
 */
#ifndef HOLDFAST_MESH_RELAY_H
#define HOLDFAST_MESH_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

#define RELAY_HEADER_LEN 12u
#define RELAY_PAYLOAD_MAX 1024u
#define RELAY_MESSAGE_MAX (RELAY_HEADER_LEN + RELAY_PAYLOAD_MAX)
#define RELAY_KEY_MAX 32u
#define RELAY_TOKEN_MAX 64u
#define RELAY_TEXT_MAX 200u /* of a response that are kept */

enum relay_type {
	RELAY_PING = 0,
	RELAY_PONG = 1,
	RELAY_JOIN = 2,
	RELAY_SESSION = 3,
	RELAY_RESPONSE = 4,
	RELAY_CONNECT = 5,
	RELAY_INVITATION = 6,
	RELAY_FULL = 7,
};

enum relay_code {
	RELAY_OK = 0,
	RELAY_NOT_FOUND = 1,
	RELAY_ALREADY = 2,
	RELAY_WRONG_TOKEN = 3,
	RELAY_INTERNAL = 99,
	RELAY_UNEXPECTED = 100,
};

struct relay_key {
	uint8_t b[RELAY_KEY_MAX];
	uint32_t len; /* 1 to RELAY_KEY_MAX */
};

/* A value; owns nothing. */
struct relay_message {
	enum relay_type type;
	union {
		char token[RELAY_TOKEN_MAX + 1]; /* JOIN; "": none */
		struct relay_key key;            /* SESSION */
		struct {
			int32_t code;
			char text[RELAY_TEXT_MAX + 1];
		} response;
		struct devid device; /* CONNECT */
		struct {
			struct devid from; /* the other device */
			struct relay_key key;
			uint8_t ip[16];
			uint32_t ip_len; /* 0, 4 or 16 */
			uint16_t port;
			bool server; /* be the server of TLS */
		} invitation;
	} u;
};

void relay_encode(const struct relay_message *m, struct buf *out);
/*
 * One message from the front of `in`.  1: *used bytes of it; 0: not whole yet;
 * ERR_PROTOCOL.  A type that is not known is one, too.
 */
int relay_decode(struct relay_message *out, struct slice in, size_t *used,
    struct err *err);
/*
 * How many bytes to read next, and no more: what follows the answer to a
 * SESSION is the other device's.  0: a whole message is there, or garbage.
 */
size_t relay_wants(struct slice in);
/* "not found": for people, never NULL. */
const char *relay_code_text(int32_t code);

#endif
