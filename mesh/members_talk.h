/*
 * The membership log between two members that are connected: who has less asks
 * for it, so that a domain goes on when its coordinator does not.
 *
 *	HEAD     "my log ends here, and this is the sum of all I keep"
 *	ASK      "I lack what comes from here on", a page at a time
 *	ENTRIES  a page; where the next one begins
 *	BALLOT   an entry that has not enough signatures yet (ballot.h)
 *
 * Both say HEAD when a connection is up, and again when their log has changed.
 * Who hears one whose sum is not its own looks whether it lacks something.
 *
 *	plainly behind           -> ASK from its own end
 *	an unknown head, or
 *	a page did not follow    -> ASK from the start
 *	all of theirs is here    -> nothing: they will ask
 *
 * Entries prove themselves (members.h), so from whom they come does not matter;
 * to whom they are told does, and is the caller's to decide.
 *
 * What a peer can make us do: two pages for each HEAD we said, and the ones
 * after these in order; take entries we asked for, until one is invalid.
 *
 * Pure.  Thread: any.  docs/protocol.md, "The log between members".
 */
#ifndef HOLDFAST_MESH_MEMBERS_TALK_H
#define HOLDFAST_MESH_MEMBERS_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/coord.h"
#include "mesh/members.h"

#define MEMBERS_TALK_ENTRIES_MAX 1024u /* in one page */

/* On the wire, by these numbers. */
enum members_talk_kind {
	MEMBERS_TALK_HEAD = 1,
	MEMBERS_TALK_ASK = 2,
	MEMBERS_TALK_ENTRIES = 3,
	MEMBERS_TALK_BALLOT = 4,
};

/* A value; slices borrow from what was decoded. */
struct members_word {
	enum members_talk_kind kind;
	struct coord_id domain; /* all */
	uint64_t seq;           /* HEAD: of its log's end; ASK: from this on */
	uint64_t kept;          /* HEAD: entries, those beside the log too */
	uint8_t head[32];       /* HEAD */
	uint8_t sum[32];        /* HEAD: members_sum() */
	uint64_t page; /* ASK: which; ENTRIES: the next one.  0: the first, or
			  none */
	const struct slice *entry; /* ENTRIES; BALLOT: one */
	size_t count;
};

/* Append the bytes; at most LIMIT_MEMBERS_LEN if members_talk_page() chose. */
void members_talk_encode(const struct members_word *w, struct buf *out);
/* ERR_PROTOCOL; ERR_UNSUPPORTED: of a kind we do not know.  The list lives in
 * `ar`. */
int members_talk_decode(struct members_word *out, struct slice in,
    struct arena *ar, struct err *err);

/* With one peer; {0} when a connection begins. */
struct members_talk {
	bool told;            /* our HEAD, of `told_sum` */
	uint8_t told_sum[32]; /* ... */
	bool heard;           /* its HEAD, which is `last` */
	struct members_word last;
	bool again;         /* it came while we waited: look at it later */
	unsigned asks;      /* how often it may ask from a first page still */
	uint64_t next_page; /* that it may ask for; 0: none */
	bool wants;         /* we asked, and wait for a page */
	bool from_start;    /* ... of all there is */
	uint64_t from;      /* what we asked for */
	bool deaf;          /* it told what cannot be: nothing is asked of it */
};

/* Is there a HEAD to say that it has not heard?  *out is it. */
bool members_talk_head(struct members_talk *t, const struct members *ms,
    struct members_word *out);
/* It said HEAD.  True: *out is to be said. */
bool members_talk_on_head(struct members_talk *t, const struct members *ms,
    const struct members_word *w, struct members_word *out);
/* By its last HEAD: does it keep what we keep, no more and no less? */
bool members_talk_agrees(const struct members_talk *t,
    const struct members *ms);
/*
 * It said ASK.  True: *out is the page, whose list lives in `ar` and borrows
 * the entries until `ms` changes.
 */
bool members_talk_on_ask(struct members_talk *t, const struct members *ms,
    const struct members_word *w, struct arena *ar, struct members_word *out);
/* It said ENTRIES: did we ask?  Else they are to be left alone. */
bool members_talk_wants(const struct members_talk *t);
/*
 * Its page was taken up to an entry of this verdict: MEMBERS_GAP and
 * MEMBERS_INVALID ended it.  True: *out is to be said, for more.
 */
bool members_talk_took(struct members_talk *t, const struct members *ms,
    const struct members_word *w, enum members_verdict v,
    struct members_word *out);

#endif
