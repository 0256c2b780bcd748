/*
 * TCP connections carried in a session: the channels with one peer.
 *
 *	opener                                   opened
 *	  |  OPEN(channel, port, credit)            |  may it?  who listens?
 *	  |---------------------------------------->|
 *	  |                         ACCEPT(credit)  |  or RESET(code)
 *	  |<----------------------------------------|
 *	  |  DATA, DATA ...            as much as   |
 *	  |<--------------------------------------->|  was credited
 *	  |  CREDIT(bytes)     what was taken here  |
 *	  |<--------------------------------------->|
 *	  |  END            no more of my half; both ends: it is over
 *	  |<--------------------------------------->|
 *	  |  RESET(code)    over at once, both ways |
 *
 * Either end opens channels, with numbers of its own that only grow.  Of what a
 * peer sends no more is held here than it was credited, LIMIT_FORWARD_WINDOW a
 * channel: who does not take it stops the sender and nobody else.
 *
 * Here is the bookkeeping: what may be said, and what an event is.  Sockets,
 * bytes that wait, and who may open what are the owner's (forward_uv.h).  Each
 * function that makes a word puts it into *out, to be sent at once and in
 * order.
 *
 * Rules a peer breaks by mistake or malice, which end the session: data without
 * credit, after its END or without a byte, a number that does not grow, a word
 * about a channel that never was, a second ACCEPT, credit beyond 31 bits. Words
 * about channels that are over are passed over: they crossed ours.
 *
 * Pure.  Thread: any.  docs/protocol.md, section 12.
 */
#ifndef HOLDFAST_MESH_FORWARD_H
#define HOLDFAST_MESH_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/message.h"
#include "engine/base/err.h"
#include "engine/base/list.h"

/* Why a channel ended or never came to be; on the wire, by these numbers. */
enum forward_code {
	FORWARD_CLOSED = 1, /* the socket there broke */
	FORWARD_DENIED = 2, /* its configuration or the policy does not allow */
	FORWARD_NOBODY = 3, /* nobody listens at that port */
	FORWARD_FAILED = 4, /* it could not, for another reason */
	FORWARD_BUSY = 5,   /* too many are open */
};

struct forward_channel {
	struct list_node node;
	uint64_t number;
	bool own;  /* we opened it */
	bool open; /* it was accepted */
	bool ended, end_came;
	uint32_t room;    /* bytes that we may send */
	uint32_t granted; /* bytes that it may send */
	uint32_t taken;   /* bytes of it that went on, not granted anew yet */
	void *user;       /* the owner's; NULL at first */
};

/* With one peer.  Opaque but for its size; by forward_init(). */
struct forward {
	struct list channel;
	size_t count[2];  /* opened by it; by us */
	uint64_t last[2]; /* the newest number of each */
};

enum forward_event {
	FORWARD_NOTHING,
	FORWARD_ASKED,    /* a new channel, to port m->port: accept or reset */
	FORWARD_FULL,     /* they wanted one more; *out is the answer */
	FORWARD_ACCEPTED, /* ours is open */
	FORWARD_CAME,     /* m->data, on *ch */
	FORWARD_ROOM,     /* more may be sent */
	FORWARD_ENDED,    /* its half is over */
	FORWARD_BROKEN,   /* it is over, m->code says why: drop it */
	FORWARD_WRONG,    /* drop the peer; err says why */
};

void forward_init(struct forward *f);
/* The owner has dropped each channel before, or never cares again. */
void forward_fini(struct forward *f);
/* In order of opening; NULL at the end. */
struct forward_channel *forward_first(const struct forward *f);
struct forward_channel *forward_next(const struct forward *f,
    const struct forward_channel *ch);
struct forward_channel *forward_find(const struct forward *f, bool own,
    uint64_t number);

/* A word of the peer.  *ch: which channel it is about, where there is one. */
enum forward_event forward_take(struct forward *f,
    const struct forward_message *m, struct forward_channel **ch,
    struct forward_message *out, struct err *err);

/* NULL: LIMIT_FORWARD_CHANNELS of ours are there. */
struct forward_channel *forward_open(struct forward *f, uint16_t port,
    struct forward_message *out);
/* The answer to FORWARD_ASKED. */
void forward_accept(struct forward_channel *ch, struct forward_message *out);
/* How many bytes may be sent in one word now; 0: none. */
uint32_t forward_room(const struct forward_channel *ch);
/* At most forward_room() of them, at least one.  Borrows `data`. */
void forward_data(struct forward_channel *ch, struct slice data,
    struct forward_message *out);
/* We have no more; once. */
void forward_end(struct forward_channel *ch, struct forward_message *out);
/* `n` bytes that came went on.  True: *out says so. */
bool forward_taken(struct forward_channel *ch, uint32_t n,
    struct forward_message *out);
/* Both halves are over: drop it, when all that came went on. */
bool forward_is_over(const struct forward_channel *ch);
/* At once, both ways.  The owner drops it. */
void forward_reset(const struct forward_channel *ch, enum forward_code code,
    struct forward_message *out);
/* Forget it; frees. */
void forward_drop(struct forward *f, struct forward_channel *ch);

/* "denied": stable, for JSON.  Of a code that we do not know: "failed". */
const char *forward_code_text(uint32_t code);

#endif
