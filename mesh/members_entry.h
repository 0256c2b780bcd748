/*
 * One entry of a membership log: its bytes and who signed them.
 *
 *	entry     { 1: body, 2: signature ... }
 *	signature { 1: public key (32), 2: Ed25519 over context and body (64) }
 *	body      the fields of struct members_entry, numbered in the .c
 *
 * Protobuf.  An entry is named by the SHA-256 of its body, so the same body
 * with other signatures of other owners is the same entry.  A body is signed
 * and kept as it came and never encoded again; fields that are not known are
 * skipped, and kinds that are not known change nothing.
 *
 * Whether an entry counts is members.h's to say: here only what it says.
 *
 * Pure.  Thread: any.  docs/protocol.md, "Membership".
 */
#ifndef HOLDFAST_MESH_MEMBERS_ENTRY_H
#define HOLDFAST_MESH_MEMBERS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/members.h"
#include "mesh/sign.h"

#define MEMBERS_VERSION 1u

struct members_signature {
	struct sign_public by;
	uint8_t b[SIGN_LEN];
};

/* A value; its body borrows from the entry it was read from. */
struct members_entry {
	enum members_kind kind;
	uint64_t seq; /* FOUND is 1 */
	struct digest prev;
	int64_t wall_s;      /* by the clock of who signed it */
	struct devid by;     /* where it was signed; none: not said */
	struct devid device; /* whom it is about; ALLOW: who asks, none: all */
	struct devid other;  /* ROTATE: its ID from now on; ALLOW: of whom */
	char name[MEMBERS_NAME_MAX]; /* FOUND: of the domain; ADD, RENAME */
	int64_t until_wall_s;        /* ROTATE: the ID before is good until */
	enum members_service service;
	bool allowed;
	/* FOUND and OWNERS. */
	struct sign_public owner[MEMBERS_OWNERS_MAX];
	size_t owner_count;
	uint32_t need;               /* of the owners must sign */
	struct sign_public recovery; /* FOUND */

	/* Of one that was read. */
	struct slice body;
	struct digest digest; /* of the body */
	struct members_signature sig[MEMBERS_OWNERS_MAX];
	size_t sig_count;
};

/*
 * What an entry says, with each field its kind needs; signatures are not
 * checked.  Borrows `bytes`.  ERR_PROTOCOL, or ERR_LIMIT.
 */
int members_entry_decode(struct members_entry *out, struct slice bytes,
    struct err *err);
/* Does `by` sign it, and well? */
bool members_entry_signed_by(const struct members_entry *e,
    const struct sign_public *by);

/* Append the body of `e`, which is to be signed. */
void members_entry_body(const struct members_entry *e, struct buf *out);
/* Append an entry: a body, signed with each of `key`. */
void members_entry_sign(struct slice body, const struct sign_secret *key,
    size_t count, struct buf *out);
/* The same entry with one more signature.  Errors as decode. */
int members_entry_cosign(struct slice bytes, const struct sign_secret *key,
    struct buf *out, struct err *err);

/*
 * Append the entry of a's body with each good signature of those keys that one
 * of both has, in the order of the keys.  `b` (may be NULL) has the same body.
 * How many those are.
 */
uint32_t members_entry_join(const struct members_entry *a,
    const struct members_entry *b, const struct sign_public *by, size_t count,
    struct buf *out);

/* 1 to 63 bytes of UTF-8 without control characters or spaces at the ends. */
bool members_entry_name_is_good(struct slice name);
/* "add": stable, for people and JSON; "other" for a kind of the future. */
const char *members_entry_kind_text(enum members_kind kind);

#endif
