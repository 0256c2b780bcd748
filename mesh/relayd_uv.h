/*
 * Our relay: forwards what two devices encrypt for each other, without a key.
 *
 * Syncthing's relay protocol v1, as server (relay.h); who may meet whom and how
 * many is switchboard.h's.  One port: TLS for those who wait and ask, plain for
 * sessions.
 *
 * What a stranger can make it hold: a connection has LIMIT_TLS_NS to say what
 * it wants; of such there are LIMIT_HALF_OPEN, and from one source
 * LIMIT_HALF_OPEN_SOURCE and as many as the doorman lets in.  A session holds
 * LIMIT_RELAY_LEN bytes each way and reads no more before they are gone.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_RELAYD_UV_H
#define HOLDFAST_MESH_RELAYD_UV_H

#include <uv.h>

#include "engine/base/log.h"
#include "mesh/addr.h"
#include "mesh/identity.h"

/* Opaque. */
struct relayd;

struct relayd_state {
	struct addr bound;
	size_t members, sessions;
	uint64_t bytes; /* forwarded since it was opened */
};

/* May this device use it?  Called from the loop. */
typedef bool relayd_may_fn(void *arg, const struct devid *id);

/* Borrows `id` for its life. */
int relayd_open(struct relayd **out, uv_loop_t *loop, const struct identity *id,
    const struct addr *at, relayd_may_fn *may, void *arg, const struct log *log,
    struct err *err);
/* Bytes a second of each session and direction; 0: as fast as it goes. */
/* Take nobody who is not at an addr_is_lan() address. */
void relayd_set_lan_only(struct relayd *r, bool lan_only);
void relayd_set_rate(struct relayd *r, uint64_t rate);
void relayd_close(struct relayd *r, void (*on_closed)(void *), void *arg);
void relayd_state(const struct relayd *r, struct relayd_state *out);

#endif
