/*
 * The puncher: with whom a way shall be opened, when, and who begins.
 *
 * Holds the attempts (punch.h), one a peer and PUNCHER_ATTEMPTS in all, and the
 * pauses between them.  It says what to do; nat_uv.c does it.
 *
 * Rules
 *   - a device is called when a direct way to it is wanted and a signal can
 *     reach it: a second later, so that plain dials come first; the one with
 *     the larger device ID waits two more, so that not both call.
 *   - both called at once: the call of the smaller ID counts.
 *   - our own address is made sure of before a call or an answer, when it was
 *     not within PUNCHER_FRESH_NS; 3 s at most are spent on that.
 *   - after an attempt in vain: 10, 20, 40 ... 600 s, +-25 %; from 60 s on
 * where it cannot work as things are.  At once again when our address changed
 * or the peer came back.
 *   - a call of a device that is none of ours, or that is connected directly,
 *     opens nothing; PUNCHER_CALL_NS lies between two of one device.
 *
 * Thread: loop.  Pure: time comes in; `key` makes what cannot be guessed.
 */
#ifndef HOLDFAST_MESH_PUNCHER_H
#define HOLDFAST_MESH_PUNCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/clock.h"
#include "engine/base/slice.h"
#include "mesh/draw.h"
#include "mesh/punch.h"

#define PUNCHER_ATTEMPTS 4u
#define PUNCHER_FRESH_NS (20 * CLOCK_S)
#define PUNCHER_CALL_NS (2 * CLOCK_S)

enum puncher_act_kind {
	PUNCHER_DO_SIGNAL,  /* `signal` to `id` */
	PUNCHER_DO_REFRESH, /* make sure of our own address; puncher_set_side()
			       comes soon */
	PUNCHER_DO_PUNCH, /* `punch`, of attempt `slot` with `id`; an END frees
			     the slot */
};

struct puncher_act {
	enum puncher_act_kind kind;
	struct devid id;
	unsigned slot;
	struct punch_signal signal;
	struct punch_act punch;
};

/* Opaque. */
struct puncher;

struct puncher *puncher_new(const struct devid *own,
    const uint8_t key[DRAW_KEY_LEN]);
void puncher_free(struct puncher *p); /* accepts NULL */

/* Where we can be reached, made sure of at `now_ns`. */
void puncher_set_side(struct puncher *p, const struct punch_side *side,
    uint64_t now_ns);
/* To whom a direct way is wanted now, all of them; attempts with others end. */
void puncher_want(struct puncher *p, const struct devid *id, size_t count,
    uint64_t now_ns);
/* Can a signal reach it now? */
void puncher_set_here(struct puncher *p, const struct devid *id, bool here,
    uint64_t now_ns);
/* A signal came; somebody may have forged it. */
void puncher_take_signal(struct puncher *p, const struct devid *from,
    const struct punch_signal *signal, uint64_t now_ns);
/*
 * A datagram that punch_is_probe() came to the socket of QUIC (slot and socket
 * 0) or to one of an attempt's own.  True when it was one of ours.
 */
bool puncher_take(struct puncher *p, unsigned slot, unsigned socket,
    struct slice datagram, const struct addr *from, uint64_t now_ns);
/* It was woken, and somebody waits: if it is to be called, then now. */
void puncher_hurry(struct puncher *p, const struct devid *id, uint64_t now_ns);
/* Try everything now. */
void puncher_refresh(struct puncher *p, uint64_t now_ns);

bool puncher_next(struct puncher *p, uint64_t now_ns, struct puncher_act *out);
uint64_t puncher_wake_at(const struct puncher *p);

/*
 * How the last attempt with it ended; PUNCH_RUNS when none has.  *next_ns: of
 * the next call, CLOCK_NEVER when none is meant to be; may be NULL.
 */
enum punch_end puncher_end(const struct puncher *p, const struct devid *id,
    uint64_t *next_ns);
/* Attempts so far that ended so; PUNCH_RUNS: that opened a way. */
uint64_t puncher_count(const struct puncher *p, enum punch_end end);

#endif
