/*
 * How long the router before us remembers a mapping that nothing passes.
 *
 * As RFC 5780, 4.6, has it.  There are two sockets.  The *quiet* one speaks
 * with a STUN server for a moment, as a connection in use does, which makes a
 * mapping; then it holds its tongue for a while.  After that the *asking* one
 * asks the same server to answer to the quiet one's mapped port.  When that
 * comes, the router has remembered for so long.
 *
 *	MARKING --answers--> WAITING --a while--> ASKING --came, or not--+
 *	   ^                                                            |
 *	   +---- the while is twice as long, or between two others -----+
 *
 * The first while is none at all: what does not come then will never come,
 * because the server does not answer to other ports or the router lets nothing
 * in, and nothing can be known.  It is over when the longest that it remembered
 * and the shortest that it did not are NATLIFE_GRAIN_NS apart, or when it
 * remembered for NATLIFE_MAX_NS.  A few minutes, and some twenty datagrams.
 *
 * Who drives it opens the sockets, in one place of the network, and lets
 * nothing else pass the quiet one.  A server can lie, and so have us speak more
 * or less often than we would have to; nothing else.
 *
 * Thread: loop.  Pure: time comes in; `key` makes what cannot be guessed.
 */
#ifndef HOLDFAST_MESH_NATLIFE_H
#define HOLDFAST_MESH_NATLIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"
#include "mesh/draw.h"

#define NATLIFE_FIRST_NS (20 * CLOCK_S) /* after none at all */
#define NATLIFE_MAX_NS (160 * CLOCK_S)  /* more is of no use to anybody */
#define NATLIFE_GRAIN_NS (5 * CLOCK_S)

/* A value. */
struct natlife_result {
	bool known;
	uint64_t kept_ns;      /* remembered for so long, */
	uint64_t forgotten_ns; /* not for so long; 0: it always was */
};

struct natlife_send {
	bool quiet; /* from which of the two */
	struct addr to;
	struct buf datagram; /* the caller's to free */
};

/* Opaque. */
struct natlife;

struct natlife *natlife_new(const uint8_t key[DRAW_KEY_LEN]);
void natlife_free(struct natlife *n); /* accepts NULL */

/* Begin anew, with fresh sockets: what was known is not known any more. */
void natlife_begin(struct natlife *n, const struct addr *server,
    uint64_t now_ns);
/* Give up, and forget what is known: the network may be another one. */
void natlife_stop(struct natlife *n);
bool natlife_runs(const struct natlife *n);

/* The next datagram that is due; false when none is. */
bool natlife_next(struct natlife *n, uint64_t now_ns, struct natlife_send *out);
/* CLOCK_NEVER when it does not run. */
uint64_t natlife_wake_at(const struct natlife *n);
/* Something came to a socket; true when it was an answer to us. */
bool natlife_take(struct natlife *n, bool quiet, struct slice datagram,
    const struct addr *from, uint64_t now_ns);

const struct natlife_result *natlife_result(const struct natlife *n);

/*
 * How often a connection in use has to say something for its mapping to stay:
 * a little more often than is known to do, within [5 s, 23 s]; `unknown_ns`
 * when nothing is known.
 */
uint64_t natlife_say_ns(const struct natlife_result *r, uint64_t unknown_ns);

#endif
