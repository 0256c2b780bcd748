/*
 * TCP under libuv: listeners, dials, streams with large reads.
 *
 * A stream reads into the space its owner offers and writes one buffer at a
 * time; what is in the bytes is the owner's affair.  Options: NODELAY, and
 * keepalive with a user time-out so that a dead peer is noticed within 60 s
 * even when nothing is sent.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 */
#ifndef HOLDFAST_MESH_TCP_UV_H
#define HOLDFAST_MESH_TCP_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "engine/base/err.h"
#include "mesh/addr.h"

/* Opaque. */
struct tcp_listener;
struct tcp;

struct tcp_callbacks {
	/* A dial ended: `err` NULL when connected. */
	void (*on_open)(void *arg, const struct err *err);
	/* Where to read to; *len 0 stops reading until tcp_read(). */
	uint8_t *(*on_space)(void *arg, size_t *len);
	void (*on_read)(void *arg, size_t n);
	/* End of stream (ERR_CLOSED) or failure; reading has stopped. */
	void (*on_end)(void *arg, const struct err *err);
	/* The buffer of tcp_write() is free again. */
	void (*on_written)(void *arg, const struct err *err);
};

/* `stream` is the callee's: tcp_set_owner() and tcp_read(), or tcp_close(). */
typedef void tcp_accept_fn(void *arg, struct tcp *stream,
    const struct addr *from);

/* Bind and listen; *bound is the address with its real port. */
int tcp_listen(struct tcp_listener **out, uv_loop_t *loop,
    const struct addr *at, tcp_accept_fn *on_accept, void *arg,
    struct addr *bound, struct err *err);
/* Frees it when the loop has let go; `on_closed` may be NULL. */
void tcp_listener_close(struct tcp_listener *l, void (*on_closed)(void *),
    void *arg);

/*
 * Connect, names resolved first, every address of a name tried in turn, at
 * most LIMIT_DIAL_NS in all.  on_open() tells how it went.
 */
struct tcp *tcp_dial(uv_loop_t *loop, const struct addr *to,
    const struct tcp_callbacks *cb, void *arg);
void tcp_set_owner(struct tcp *t, const struct tcp_callbacks *cb, void *arg);
void tcp_read(struct tcp *t, bool on);
/*
 * Write.  Returns how much the system took at once; when less than `len`, the
 * rest is borrowed until on_written().  One write at a time.  A failure is
 * told by on_written().
 */
size_t tcp_write(struct tcp *t, const uint8_t *ptr, size_t len);
bool tcp_is_writing(const struct tcp *t);
/* No more callbacks; frees it when the loop has let go. */
void tcp_close(struct tcp *t, void (*on_closed)(void *), void *arg);
/* The other end; valid once open. */
const struct addr *tcp_peer(const struct tcp *t);
/* Smoothed round-trip time; 0 when unknown. */
uint64_t tcp_rtt_ns(const struct tcp *t);
/* Something we sent is not acknowledged and nothing was for half a second. */
bool tcp_is_stuck(const struct tcp *t);

#endif
