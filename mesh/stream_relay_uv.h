/*
 * Streams through a relay: TLS with the device itself, in a session that the
 * relay forwards without a key to it.
 *
 * The contract is stream.h.  stream_address() is the relay's, as ADDR_RELAY.
 * From its start such a stream is open, or fails, within LIMIT_RELAY_NS and the
 * time for TLS.
 *
 * stream_rtt_ns() is that of the whole way, from device to device, as it was
 * when the stream was opened: by the handshake of TLS, or by the first bytes
 * that answered it where that is less (who is called may come late to the
 * handshake).
 *
 * A session is joined at the address of the relay itself: what an invitation
 * says of addresses is not believed, or a relay could have us knock anywhere.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_STREAM_RELAY_UV_H
#define HOLDFAST_MESH_STREAM_RELAY_UV_H

#include <uv.h>

#include "mesh/identity.h"
#include "mesh/relay.h"
#include "mesh/stream.h"

/* Ask `relay` for `peer`.  Borrows `id` for the stream's life. */
struct stream *stream_relay_dial(uv_loop_t *loop, const struct identity *id,
    const struct addr *relay, const struct devid *peer);
/*
 * Follow an invitation that came from `relay`, which is at `at` (ADDR_TCP);
 * nothing is done before stream_start().
 */
struct stream *stream_relay_follow(uv_loop_t *loop, const struct identity *id,
    const struct addr *relay, const struct addr *at,
    const struct relay_message *invitation);

#endif
