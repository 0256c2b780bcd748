/*
 * The caller: our end of the line to one coordinator, without the line.
 *
 *   AWAY -> KNOCKING -> UP -> AWAY
 *
 * When to dial, what to say, what has to be said again after a break, when to
 * give up: decided here, done by coord_client_uv.c.  What it has to say gathers
 * in coord_caller_out(), to be taken off its front.
 *
 * Rules
 *   - dial at once, then after 1, 2, 4 ... 60 s, +-25 %.  A line that held for
 *     LIMIT_COORD_HELD_NS starts from 1 s again.
 *   - who was dialled welcomes us within LIMIT_COORD_NS.  Then: a PING when
 *     nothing was said for as long as the coordinator allows (10 s to 1 h),
 *     and the end when it is not answered within LIMIT_COORD_NS.
 *   - after a welcome: where we are, whom we want, and the boxes we have, each
 *     as it was last told.  Words that were not sent are lost.
 *   - where we are is told once a second, 8 times at once; the last one counts.
 *   - another domain is another line: it is dialled anew.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_COORD_CALLER_H
#define HOLDFAST_MESH_COORD_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "mesh/coord.h"

/* Opaque. */
struct coord_caller;

/* What a message of the coordinator asks for. */
enum coord_caller_answer {
	COORD_CALLER_NOTHING,
	COORD_CALLER_UP,     /* it is a WELCOME */
	COORD_CALLER_TELL,   /* one for our owner, by its type */
	COORD_CALLER_NO_BOX, /* a REFUSED: the box asked for is not opened */
	COORD_CALLER_LEAVE,  /* hang up; then coord_caller_lost() */
};

struct coord_caller *coord_caller_new(uint64_t seed, uint64_t now_ns);
void coord_caller_free(struct coord_caller *c); /* accepts NULL */

/* AWAY, and it is time. */
bool coord_caller_is_due(const struct coord_caller *c, uint64_t now_ns);
void coord_caller_dialled(struct coord_caller *c, uint64_t now_ns);
/* TLS is there: says HELLO. */
void coord_caller_opened(struct coord_caller *c, uint64_t now_ns);
enum coord_caller_answer coord_caller_hear(struct coord_caller *c,
    const struct coord_message *m, uint64_t now_ns);
/* It is gone, or must go: `why` for people; kept if it said why itself. */
void coord_caller_lost(struct coord_caller *c, const char *why,
    uint64_t now_ns);
/* Not AWAY and must go; the reason, else NULL. */
const char *coord_caller_over(const struct coord_caller *c, uint64_t now_ns);
/* Say what is due. */
void coord_caller_tick(struct coord_caller *c, uint64_t now_ns);
uint64_t coord_caller_wake_at(const struct coord_caller *c);
/* Dial now. */
void coord_caller_refresh(struct coord_caller *c, uint64_t now_ns);

/* As coord_client_uv.h has them. */
void coord_caller_set_domain(struct coord_caller *c,
    const struct coord_id *domain, uint64_t seq, const uint8_t head[32]);
void coord_caller_set_run(struct coord_caller *c, uint64_t run);
void coord_caller_publish(struct coord_caller *c, const struct addr *addr,
    size_t count, uint64_t now_ns);
void coord_caller_want(struct coord_caller *c, const struct devid *id,
    size_t count, uint64_t now_ns);
bool coord_caller_append(struct coord_caller *c, uint64_t seq,
    const struct slice *entry, size_t count);
bool coord_caller_signal(struct coord_caller *c, const struct devid *to,
    struct slice body);
bool coord_caller_open_box(struct coord_caller *c);
/* False: not now. */
bool coord_caller_claim_box(struct coord_caller *c, uint32_t box);
void coord_caller_close_box(struct coord_caller *c, uint32_t box);
bool coord_caller_mail(struct coord_caller *c, uint32_t box, uint64_t stranger,
    struct slice body);

/* Frames to be sent; whoever sends takes them off the front. */
struct buf *coord_caller_out(struct coord_caller *c);
bool coord_caller_is_up(const struct coord_caller *c);
/* Why it is not up; "" when it is. */
const char *coord_caller_why(const struct coord_caller *c);
uint64_t coord_caller_rtt_ns(const struct coord_caller *c); /* 0: unknown */
/* It refused us for a machine with our key, and has not held us since. */
bool coord_caller_is_cloned(const struct coord_caller *c, uint64_t now_ns);

#endif
