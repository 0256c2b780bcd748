/*
 * A channel: our TLS connection with a relay, message by message.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call; each
 * may call anything here, channel_close() too, after which none comes.
 */
#ifndef HOLDFAST_MESH_CHANNEL_UV_H
#define HOLDFAST_MESH_CHANNEL_UV_H

#include <uv.h>

#include "mesh/addr.h"
#include "mesh/identity.h"
#include "mesh/relay.h"

/* Opaque. */
struct channel;

struct channel_callbacks {
	/* It is the relay that was meant: say what is wanted. */
	void (*on_open)(void *arg);
	void (*on_message)(void *arg, const struct relay_message *m);
	/* It failed or was ended; it still wants channel_close(). */
	void (*on_end)(void *arg, const struct err *err);
};

/* `to` is ADDR_RELAY.  Borrows `id` for its life. */
struct channel *channel_dial(uv_loop_t *loop, const struct identity *id,
    const struct addr *to, const struct channel_callbacks *cb, void *arg);
/* After on_open().  Messages are small and few: they always fit. */
void channel_send(struct channel *c, const struct relay_message *m);
/* Where it really is, as ADDR_TCP; after on_open(). */
const struct addr *channel_address(const struct channel *c);
void channel_close(struct channel *c, void (*on_closed)(void *), void *arg);

#endif
