/*
 * How a device comes into a domain: a code, and letters between who made the
 * code and who typed it.
 *
 *	joiner                                    inviter
 *	  START   session, share           ->
 *	                                   <-     ANSWER  share
 *	  PROVE   tag, sealed: ID, name    ->     a wrong tag is an attempt
 *	                                   <-     RESULT  tag, sealed: the
 *domain
 *	                                   <-     REFUSED why, at any time
 *
 * Letters go through the coordinator's boxes, which may read, hold, forge and
 * repeat them: all it gets is what is told here.  The inviter shows nothing
 * that depends on the code before the other has; so who guesses has to say so,
 * and JOIN_ATTEMPTS wrong guesses burn the code.  Who stands in the inviter's
 * place can test one guess for each time a person types the code.  REFUSED is
 * not sealed: it is a hint for people.
 *
 * What the joiner gets sealed is the domain's ID and where its log's head is:
 * the log itself comes from anybody, and has to have both.
 *
 * Whether a device may join, and the entry that makes it a member, are the
 * caller's.  Randomness and time come from the caller.
 *
 * Pure.  Thread: any; one at a time.  docs/protocol.md, "Joining".
 */
#ifndef HOLDFAST_MESH_JOIN_H
#define HOLDFAST_MESH_JOIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/coord.h"
#include "mesh/members.h"
#include "mesh/pake.h"

#define JOIN_SECRET_LEN 5 /* 40 bits */
#define JOIN_ATTEMPTS 3u
#define JOIN_SESSIONS 16u  /* letters with so many at once; the oldest goes */
#define JOIN_EXPIRES_S 900 /* unless said otherwise */
#define JOIN_CODE_TEXT_MAX 24 /* "4294967295-K7QF-93TM", with NUL */
#define JOIN_LINK_SCHEME "holdfast:"

struct join_code {
	uint32_t box;
	uint8_t secret[JOIN_SECRET_LEN];
};

/* What the long form says beside the code; empty where it was not there. */
struct join_place {
	struct slice at;      /* the coordinator's address; borrows */
	bool has_coordinator; /* its device ID is known */
	struct devid coordinator;
};

/* "4271-K7QF-93TM" */
void join_code_text(const struct join_code *code, char out[JOIN_CODE_TEXT_MAX]);
/* "holdfast:4271-K7QF-93TM?at=tcp://HOST:PORT&id=DEVICE-ID" */
void join_code_link(const struct join_code *code, struct slice at,
    const struct devid *coordinator, struct buf *out);
/*
 * Either form as a person typed it: case, dashes and spaces do not matter, O is
 * read as 0, I and L as 1.  ERR_INVALID.
 */
int join_code_parse(struct join_code *out, struct join_place *place,
    struct slice text, struct err *err);

enum join_refusal {
	JOIN_WRONG = 1,   /* not this code */
	JOIN_USED = 2,    /* somebody has joined with it */
	JOIN_EXPIRED = 3, /* too late */
	JOIN_BURNT = 4,   /* too many wrong guesses */
};
/* For people; never NULL. */
const char *join_refusal_text(enum join_refusal why);

enum join_verdict {
	JOIN_WELCOME = 1, /* it is a member, or will be in a moment */
	JOIN_PENDING = 2, /* a person has to approve it */
	JOIN_DENIED = 3,  /* no: `text` says why */
};

struct join_answer {
	enum join_verdict verdict;
	struct coord_id domain;
	uint64_t seq; /* the log the joiner will get has this head */
	uint8_t head[32];
	char domain_name[MEMBERS_NAME_MAX]; /* may be empty */
	struct devid inviter;
	char inviter_name[MEMBERS_NAME_MAX]; /* may be empty */
	char text[COORD_TEXT_MAX + 1];
};

struct join_asker {
	struct devid id;
	char name[MEMBERS_NAME_MAX];
};

/* --- who invites --------------------------------------------------------- */

struct join_inviter; /* opaque */

enum join_event {
	JOIN_QUIET, /* nothing to do */
	JOIN_REPLY, /* send the reply */
	JOIN_ASKED, /* *who knows the code: join_inviter_answer() */
};

enum join_state {
	JOIN_IS_OPEN,
	JOIN_IS_USED,
	JOIN_IS_EXPIRED,
	JOIN_IS_BURNT,
};

struct join_inviter *join_inviter_new(const struct join_code *code,
    int64_t expires_wall_s);
void join_inviter_free(struct join_inviter *in); /* accepts NULL; wipes */
/* So many wrong guesses were made in an earlier run. */
void join_inviter_blame(struct join_inviter *in, unsigned wrong);
/* A letter of `stranger`; `random` are 32 fresh bytes. */
enum join_event join_inviter_take(struct join_inviter *in, uint64_t stranger,
    struct slice letter, int64_t wall_s, const uint8_t random[PAKE_SCALAR_LEN],
    struct buf *reply, struct join_asker *who);
/* To who just asked.  False: it is gone meanwhile. */
bool join_inviter_answer(struct join_inviter *in, uint64_t stranger,
    const struct join_answer *answer, struct buf *reply);
enum join_state join_inviter_state(const struct join_inviter *in,
    int64_t wall_s);
unsigned join_inviter_wrong(const struct join_inviter *in);

/* --- who joins ----------------------------------------------------------- */

struct join_joiner; /* opaque */

enum join_step {
	JOIN_STEP_NONE,    /* not for us, or nonsense */
	JOIN_STEP_REPLY,   /* send the reply */
	JOIN_STEP_DONE,    /* *answer is proven */
	JOIN_STEP_REFUSED, /* *why is said, not proven */
};

/* `random`: fresh.  `letter` is the first one. */
struct join_joiner *join_joiner_new(const struct join_code *code,
    const struct join_asker *self,
    const uint8_t random[PAKE_SID_LEN + PAKE_SCALAR_LEN], struct buf *letter);
void join_joiner_free(struct join_joiner *j); /* accepts NULL; wipes */
enum join_step join_joiner_take(struct join_joiner *j, struct slice letter,
    struct buf *reply, struct join_answer *answer, enum join_refusal *why);

#endif
