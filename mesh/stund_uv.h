/*
 * Our own STUN server: tells who asks from where its datagram came.
 *
 * Two ports, so that who asks at both learns whether its router maps it anew
 * for each.  Nothing is kept but how often a source asked: LIMIT_KNOCKS at
 * once, then 16 a second (doorman.h); LIMIT_STUND_RATE a second in all.  An
 * answer is at most twice as long as a question of ours.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_STUND_UV_H
#define HOLDFAST_MESH_STUND_UV_H

#include <uv.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "mesh/addr.h"

#define STUND_PORTS 2u

/* Opaque. */
struct stund;

/*
 * Serve at `at` (its scheme is not looked at) and at the port after it; with
 * port 0 at any two.  ERR_* and nothing left when a port is taken.
 */
int stund_open(struct stund **out, uv_loop_t *loop, const struct addr *at,
    const struct log *log, struct err *err);
/* Answer nobody who is not at an addr_is_lan() address. */
void stund_set_lan_only(struct stund *s, bool lan_only);
void stund_close(struct stund *s, void (*on_closed)(void *), void *arg);

struct stund_state {
	struct addr bound[STUND_PORTS];
	uint64_t answered, refused; /* datagrams, since it serves */
};
void stund_state(const struct stund *s, struct stund_state *out);

#endif
