/*
 * The letters of a join, byte for byte; for join.c and its tests.
 *
 * Protobuf: one message for all kinds, with the fields each needs.  What is
 * sealed is another message of the same sort.  docs/protocol.md, "Joining".
 */
#ifndef HOLDFAST_MESH_JOIN_LETTER_H
#define HOLDFAST_MESH_JOIN_LETTER_H

#include "mesh/join.h"

enum join_letter_kind {
	JOIN_LETTER_START = 1,
	JOIN_LETTER_ANSWER = 2,
	JOIN_LETTER_PROVE = 3,
	JOIN_LETTER_RESULT = 4,
	JOIN_LETTER_REFUSED = 5,
};

/* Slices borrow; empty where a kind has no such field. */
struct join_letter {
	enum join_letter_kind kind;
	struct slice sid, share, tag, sealed;
	enum join_refusal why;
};

void join_letter_encode(const struct join_letter *l, struct buf *out);
/* ERR_PROTOCOL unless it has what its kind needs, in the right lengths. */
int join_letter_decode(struct join_letter *out, struct slice in,
    struct err *err);

/* What is sealed. */
void join_letter_put_asker(const struct join_asker *who, struct buf *out);
int join_letter_asker(struct join_asker *out, struct slice in, struct err *err);
void join_letter_put_answer(const struct join_answer *a, struct buf *out);
int join_letter_answer(struct join_answer *out, struct slice in,
    struct err *err);

#endif
