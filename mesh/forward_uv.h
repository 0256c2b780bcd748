/*
 * TCP connections carried to and from peers: sockets and their channels.
 *
 * Each carried connection has a channel (forward.h) and a stream on this
 * machine.  Of one that a peer opened it is a TCP connection to a port of
 * loopback, dialled here when may() lets it; of one that we opened it is what
 * the asker attaches, a socket of its own.  Bytes go between the two, with
 * back-pressure both ways.
 *
 *	forward_uv_ask() -> ASKED -> READY -> forward_uv_attach() -> JOINED
 *	                      |        |                               |
 *	                      '--------'--> ENDED, or BROKEN with why <-'
 *
 * A session that ends takes its connections with it: TCP has no way to go on
 * elsewhere.
 *
 * Nothing is dialled but 127.0.0.1 and ::1, and no port that may() does not
 * allow for that device at that moment.
 *
 * Thread: loop.  Callbacks may come from inside these calls; but may(), they
 * only make notes, or send.
 */
#ifndef HOLDFAST_MESH_FORWARD_UV_H
#define HOLDFAST_MESH_FORWARD_UV_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "blockproto/devid.h"
#include "blockproto/message.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/slice.h"

struct forwards; /* opaque */

struct forward_uv_callbacks {
	/* As net_send(); `tag` comes back by forward_uv_sent(). */
	int (*send)(void *arg, const struct devid *id, const struct message *m,
	    uint64_t tag);
	/* As net_drop(). */
	void (*drop)(void *arg, const struct devid *id, const char *reason);
	/* Something is carried with this peer, or nothing any more. */
	void (*busy)(void *arg, const struct devid *id, bool is);
	/* May this peer have a connection to that port of ours? */
	bool (*may)(void *arg, const struct devid *id, uint16_t port);
	/* What forward_uv_look() tells is another one. */
	void (*on_change)(void *arg);
};

/* Copies `callbacks`, borrows `log`. */
struct forwards *forward_uv_open(uv_loop_t *loop,
    const struct forward_uv_callbacks *callbacks, void *arg,
    const struct log *log);
/* Ends all of them.  `fw` is gone after a few turns of the loop. */
void forward_uv_close(struct forwards *fw);

/* The peer is connected; it speaks of this or does not. */
void forward_uv_up(struct forwards *fw, const struct devid *id, bool speaks);
void forward_uv_down(struct forwards *fw, const struct devid *id);
/* A MESSAGE_FORWARD of it. */
void forward_uv_said(struct forwards *fw, const struct devid *id,
    const struct forward_message *m);
/* Is it one of ours?  Then it is for forward_uv_sent(). */
bool forward_uv_has_tag(uint64_t tag);
void forward_uv_sent(struct forwards *fw, const struct devid *id, uint64_t tag);
/* What may() says may have changed: end what is not allowed any more. */
void forward_uv_judge(struct forwards *fw);

/* --- those we open ------------------------------------------------------- */

enum forward_uv_state {
	FORWARD_UV_ASKED,  /* the peer has not answered */
	FORWARD_UV_READY,  /* it may be attached, for LIMIT_FORWARD_ASK_NS */
	FORWARD_UV_JOINED, /* bytes go */
	FORWARD_UV_ENDED,  /* both halves came to their end */
	FORWARD_UV_BROKEN, /* `code` or `lost` says why */
};

struct forward_uv_fate {
	enum forward_uv_state state;
	struct devid id;
	uint16_t port;
	uint32_t code; /* BROKEN: as enum forward_code */
	bool lost;     /* BROKEN: because the session ended; no code */
};

/*
 * Ask a peer for a connection to its port.  0 and its number, by which it is
 * known here.  ERR_CLOSED: not connected; ERR_UNSUPPORTED: it does not speak of
 * this; ERR_LIMIT: LIMIT_FORWARD_CHANNELS to it are open.
 */
int forward_uv_ask(struct forwards *fw, const struct devid *id, uint16_t port,
    uint64_t *number, struct err *err);
/* False: there was none, or it ended long ago. */
bool forward_uv_look(const struct forwards *fw, uint64_t number,
    struct forward_uv_fate *out);
/*
 * The asker's end of one that is READY: a connected socket, Unix or TCP, which
 * is taken whatever happens; `early` are bytes of it that were read already.
 */
void forward_uv_attach(struct forwards *fw, uint64_t number, int fd,
    struct slice early);

#endif
