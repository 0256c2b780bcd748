/*
 * Rest: when both ends of a link agree that nobody needs it just now.
 *
 * A link that nothing passes is kept open by small packets, for the sake of the
 * routers between.  Where either end can be called by a signal, both can let go
 * of it instead and make a new one when there is something to say.
 *
 *	(nothing of use for `after`)     ASK ->
 *	                                 <- AGREE    (nothing there either)
 *	close                            the end is no loss: both rest
 *
 * Words go over the link itself, in order with everything else, so that nothing
 * is lost between them.  Whatever of use goes or comes after a word makes it
 * void, at that end; should the other have let go by then, what follows is a
 * link that was lost, and made anew.
 *
 * It says nothing of who may rest: net_sleep_uv.c does.  The words are bodies
 * of Signal messages, which others pass over (protocol.md, 10.3).
 *
 * Thread: loop.  Pure: time comes in.  A value; owns nothing.
 */
#ifndef HOLDFAST_MESH_REST_H
#define HOLDFAST_MESH_REST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/slice.h"

enum rest_word { REST_ASK = 1, REST_AGREE = 2 };

#define REST_WORD_LEN 3u

enum rest_answer {
	REST_NOTHING,
	REST_SAY_AGREE,
	REST_CLOSE, /* both agree: let go */
};

struct rest {
	uint64_t used_ns;  /* when anything of use went or came last */
	uint64_t asked_ns; /* 0: not, since then */
	bool agreed;       /* one of us has said so, since then */
};

void rest_init(struct rest *r, uint64_t now_ns);
/* Anything of use: all but keepalives and these words. */
void rest_use(struct rest *r, uint64_t now_ns);
/* When to say ASK, if it may; it counts as said after rest_asked(). */
uint64_t rest_due_at(const struct rest *r, uint64_t after_ns);
void rest_asked(struct rest *r, uint64_t now_ns);
/* A word came.  `after_ns` is 0 where nothing is to rest. */
enum rest_answer rest_hear(struct rest *r, enum rest_word word,
    uint64_t after_ns, uint64_t now_ns);
/* The link has ended: was it let go? */
bool rest_is_agreed(const struct rest *r);

void rest_encode(enum rest_word word, uint8_t out[REST_WORD_LEN]);
/* False: another kind of signal. */
bool rest_decode(enum rest_word *out, struct slice body);

#endif
