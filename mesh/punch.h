/*
 * Punching: two devices behind two routers open a way at the same moment.
 *
 * One attempt with one peer.  Both know of it by signals, which somebody else
 * carries (a coordinator): the caller sends CALL with a fresh cookie and where
 * it may be reached, the called ANSWERs with its own.  Then both send probes to
 * every address of the other's, from the very socket that QUIC uses, so that
 * the other's find their router open:
 *
 *	CALL ->              (caller waits for the ANSWER, at most 5 s)
 *	<- ANSWER            (called begins, caller begins when it has it)
 *	PROBE, each 100 ms   to each candidate, both ways
 *	<-> REPLY            to where a PROBE came from, known or not
 *	the caller dials where a REPLY came from
 *
 * The called is first, and its first probes die a few hops away: they open its
 * own router and do not reach the other's, which some routers never forgive
 * (Linux gives our own flow another port then).
 *
 * Hard NATs, whose address depends on who is asked: the candidate of such a
 * side is of no use to the other.  One hard side against one that is not opens
 * PUNCH_SOCKETS sockets, each with a port of its own out there, while the other
 * guesses PUNCH_GUESSES of 64512 ports: one in 252 is right, so 2000 fail once
 * in 2700 times, and ten seconds of 200 small datagrams a second do not look
 * like a flood.  Two hard sides would have to guess pairs: hard-nat-both.
 *
 * A probe carries a MAC of the cookie (HMAC-SHA-256, 16 bytes), who sent it and
 * a number; without, nothing answers.  The coordinator knows the cookie: with
 * it, it can make us send what is bounded here, and no more.  Who is there is
 * proven by QUIC.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_PUNCH_H
#define HOLDFAST_MESH_PUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"
#include "mesh/natcheck.h"

#define PUNCH_COOKIE_LEN 16u
#define PUNCH_PROBE_LEN 28u
#define PUNCH_SIGNAL_MAX 512u /* bytes */
#define PUNCH_CANDIDATES 16u  /* of one side */
#define PUNCH_SOCKETS 256u    /* opened by a hard side */
#define PUNCH_GUESSES 2000u   /* ports guessed by the other */
#define PUNCH_HOPS 4          /* of the first probes of the called */

struct punch_cookie { /* of one attempt; not to be guessed */
	uint8_t b[PUNCH_COOKIE_LEN];
};

enum punch_kind {         /* of a candidate */
	PUNCH_HOST = 1,   /* an address of the device's own */
	PUNCH_MAPPED = 2, /* what STUN servers see */
	PUNCH_PORTMAP = 3 /* what its router promised */
};

struct punch_candidate {
	enum punch_kind kind;
	struct addr addr; /* literal; quic:// */
};

/* What one side tells the other of itself. */
struct punch_side {
	enum natcheck_mapping mapping; /* of its IPv4 */
	bool no_udp;                   /* servers were asked, none answered */
	struct punch_candidate candidate[PUNCH_CANDIDATES];
	size_t count;
};

/* --- signals ---------------------------------------------------------- */

enum punch_word {
	PUNCH_CALL = 1,
	PUNCH_ANSWER = 2,
	PUNCH_REFUSE = 3, /* not now: connected already, or too many */
};

struct punch_signal {
	enum punch_word word;
	struct punch_cookie cookie;
	struct punch_side side; /* not in a REFUSE */
};

void punch_signal_encode(const struct punch_signal *s, struct buf *out);
/* ERR_PROTOCOL; addresses that nobody dials are left out. */
int punch_signal_decode(struct punch_signal *out, struct slice body,
    struct err *err);

/* --- probes ----------------------------------------------------------- */

enum punch_role { PUNCH_CALLER = 1, PUNCH_CALLED = 2 };

struct punch_probe {
	bool reply;
	enum punch_role role; /* of who sent it */
	uint16_t number;
};

/* Could it be one?  Tells probes from what else comes to the port. */
bool punch_is_probe(struct slice datagram);
void punch_probe_encode(const struct punch_probe *probe,
    const struct punch_cookie *cookie, uint8_t out[PUNCH_PROBE_LEN]);
/* False: it is none, or of another attempt, or forged. */
bool punch_probe_decode(struct punch_probe *out, struct slice datagram,
    const struct punch_cookie *cookie);

/* --- an attempt ------------------------------------------------------- */

enum punch_end {
	PUNCH_RUNS,
	PUNCH_SILENT,      /* the peer did not answer the call */
	PUNCH_REFUSED,     /* it would not */
	PUNCH_UDP_BLOCKED, /* ours does not get out */
	PUNCH_UDP_BLOCKED_THERE,
	PUNCH_HARD_BOTH, /* two hard NATs */
	PUNCH_HARD_ONE,  /* one, and no guess was right */
	PUNCH_NO_ANSWER, /* no probe came through */
};

enum punch_act_kind {
	PUNCH_DO_SEND,    /* `datagram` from `socket` to `to`, `hops` far */
	PUNCH_DO_OPEN,    /* open `count` sockets; they are 1 to `count` */
	PUNCH_DO_PROMOTE, /* `socket` shall speak QUIC: it is expected there */
	PUNCH_DO_DIAL,    /* QUIC, from `socket` to `to`: it works both ways */
	PUNCH_DO_END,     /* `end` says why; nothing follows */
};

/* Socket 0 is the one of QUIC. */
struct punch_act {
	enum punch_act_kind kind;
	unsigned socket, count;
	struct addr to;
	int hops;
	uint8_t datagram[PUNCH_PROBE_LEN];
	enum punch_end end;
};

/* Opaque. */
struct punch;

struct punch *punch_new(enum punch_role role, const struct punch_cookie *cookie,
    const struct punch_side *own, uint64_t seed, uint64_t now_ns);
void punch_free(struct punch *p); /* accepts NULL */
/* What the other side told of itself: the called at once, the caller later. */
void punch_begin(struct punch *p, const struct punch_side *peer,
    uint64_t now_ns);
/* The peer would not. */
void punch_refused(struct punch *p);
/* The next thing to be done; false when nothing is due. */
bool punch_next(struct punch *p, uint64_t now_ns, struct punch_act *out);
uint64_t punch_wake_at(const struct punch *p);
/* A datagram came; true when it was of this attempt. */
bool punch_take(struct punch *p, unsigned socket, struct slice datagram,
    const struct addr *from, uint64_t now_ns);
const struct punch_cookie *punch_cookie(const struct punch *p);
enum punch_role punch_role(const struct punch *p);
/* Has it what it needs, but for time? */
bool punch_has_begun(const struct punch *p);
/* Will it want sockets of its own?  Known once it has begun. */
bool punch_opens_sockets(const struct punch *p);
/* "hard-nat-both": stable. */
const char *punch_end_text(enum punch_end end);

#endif
