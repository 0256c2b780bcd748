/*
 * The waiter: our place at one relay, where others can ask for us.
 *
 *   AWAY -> KNOCKING -> JOINED -> AWAY
 *
 * When to knock, what to answer, when to give up: decided here, done by
 * waiting_uv.c.
 *
 * Rules
 *   - knock at once, then after 5, 10, 20 ... 600 s, +-25 %.  A relay that is
 *     full or has us already (a connection that it has not yet given up) is
 *     asked a minute later at the earliest.
 *   - who lets us in says so within 20 s; who is silent for two minutes is gone
 *     (a relay sends a Ping each minute).
 *   - how far the relay is: from JOIN to its answer, and then behind every
 *     tenth of its Pings with one of ours, so that no packet goes alone.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_WAITER_H
#define HOLDFAST_MESH_WAITER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/rng.h"
#include "mesh/relay.h"

enum waiter_state { WAITER_AWAY, WAITER_KNOCKING, WAITER_JOINED };

struct waiter {
	enum waiter_state state;
	struct rng rng;
	uint64_t next_ns;  /* AWAY: when to knock; else when it is over */
	unsigned failures; /* doublings of the next pause */
	uint64_t asked_ns; /* what it has not yet answered; 0: nothing */
	uint64_t rtt_ns;   /* smoothed; 0: unknown */
	unsigned pings;    /* of the relay's, since it was measured */
	bool told;         /* the relay itself said why */
	char why[256];     /* of the last failure; "" when it is well */
};

/* What a message of the relay asks for. */
enum waiter_answer {
	WAITER_NOTHING,
	WAITER_PONG,
	WAITER_PONG_AND_PING, /* how far is it? */
	WAITER_GO,            /* an invitation: follow it */
	WAITER_LEAVE,         /* hang up; then waiter_lost() */
};

void waiter_init(struct waiter *w, uint64_t seed, uint64_t now_ns);
/* AWAY, and it is time. */
bool waiter_is_due(const struct waiter *w, uint64_t now_ns);
void waiter_knocked(struct waiter *w, uint64_t now_ns);
/* JOIN went out: it can be heard. */
void waiter_asked(struct waiter *w, uint64_t now_ns);
enum waiter_answer waiter_hear(struct waiter *w, const struct relay_message *m,
    uint64_t now_ns);
/* The connection is gone, or must go: `why` for people; kept if we know one. */
void waiter_lost(struct waiter *w, const char *why, uint64_t now_ns);
/* Not AWAY, and nothing was heard for too long: hang up, waiter_lost(). */
bool waiter_is_over(const struct waiter *w, uint64_t now_ns);
uint64_t waiter_wake_at(const struct waiter *w);
/* Knock now. */
void waiter_refresh(struct waiter *w, uint64_t now_ns);

#endif
