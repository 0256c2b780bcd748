/*
 * A stream: bytes both ways with a device that has shown who it is, over
 * whatever carries it.  TLS on TCP is stream_tls_uv.h, QUIC is quic_ngtcp2.h;
 * the one reader is conn_uv.c, and it does not know which it has.
 *
 *   (start) -> reached -> open -> closed
 *
 * Open means that the peer's certificate was seen and its key proven; who it is
 * stands in stream_peer().  Whether it may come in is judged by others.
 *
 * Back-pressure, in: what is not read stays in the stream, and when its buffer
 * is full the peer must wait.  Out: stream_write() takes what it has room for;
 * more after on_writable().
 *
 * Callbacks come from the loop only, never from inside a stream_*() call; each
 * may call anything here, stream_close() too.  After stream_close() none comes
 * but `on_closed`.
 *
 * A kind embeds struct stream as its first member, sets `ops`, and calls the
 * callbacks.  Thread: loop.
 */
#ifndef HOLDFAST_MESH_STREAM_H
#define HOLDFAST_MESH_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"

struct stream;

struct stream_callbacks {
	/* Something answers; the handshake begins. */
	void (*on_reached)(void *arg);
	/* Open. */
	void (*on_open)(void *arg);
	/* There may be bytes: stream_read() until it gives 0, or not now. */
	void (*on_readable)(void *arg);
	/* There is room again, or something of the stream's own to flush. */
	void (*on_writable)(void *arg);
	/*
	 * It failed, or (ERR_CLOSED) the peer ended it; it still wants
	 * stream_close().  What was not read is lost.
	 */
	void (*on_end)(void *arg, const struct err *err);
};

struct stream_ops {
	void (*start)(struct stream *st);
	int (*read)(struct stream *st, uint8_t *out, size_t len, size_t *n,
	    struct err *err);
	int (*write)(struct stream *st, struct slice plain, size_t *n,
	    struct err *err);
	int (*flush)(struct stream *st, struct err *err);
	void (*pause)(struct stream *st, bool pause);
	void (*discard)(struct stream *st);
	void (*trust)(struct stream *st);
	void (*close)(struct stream *st, const struct err *why,
	    void (*on_closed)(void *), void *arg);
	bool (*is_lean)(const struct stream *st);
	void (*idle)(struct stream *st);
	bool (*is_stuck)(const struct stream *st);
	bool (*is_proven)(const struct stream *st);
	uint64_t (*rtt_ns)(const struct stream *st);
	const struct devid *(*peer)(const struct stream *st);
	const struct addr *(*address)(const struct stream *st);
	const char *(*text)(const struct stream *st);
	int (*check_name)(const struct stream *st, const char *name,
	    struct err *err);
};

struct stream {
	const struct stream_ops *ops;
	struct stream_callbacks cb; /* set by stream_own() */
	void *arg;
};

/* Who hears of it from now on; before anything else. */
static inline void
stream_own(struct stream *st, const struct stream_callbacks *cb, void *arg)
{
	st->cb = *cb;
	st->arg = arg;
}

/* Begin; for a stream that was accepted, once.  One that dials has begun. */
static inline void
stream_start(struct stream *st)
{
	st->ops->start(st);
}

/*
 * 1 and *n > 0: at most `len` bytes; 0: none now; ERR_CLOSED: the peer ended
 * it; ERR_PROTOCOL: damaged, drop it.
 */
static inline int
stream_read(struct stream *st, uint8_t *out, size_t len, size_t *n,
    struct err *err)
{
	return st->ops->read(st, out, len, n, err);
}

/* Take the first *n bytes of `plain`; 0 of them when there is no room. */
static inline int
stream_write(struct stream *st, struct slice plain, size_t *n, struct err *err)
{
	return st->ops->write(st, plain, n, err);
}

/* Let go what was written: small writes before it share a packet. */
static inline int
stream_flush(struct stream *st, struct err *err)
{
	return st->ops->flush(st, err);
}

/* Stop, or go on, taking bytes from the outside. */
static inline void
stream_pause(struct stream *st, bool pause)
{
	st->ops->pause(st, pause);
}

/* What comes from now on is forgotten unread; on_end() tells of the end. */
static inline void
stream_discard(struct stream *st)
{
	st->ops->discard(st);
}

/*
 * The peer is one of ours: it may use the memory that speed needs.  Once, when
 * it is open.
 */
static inline void
stream_trust(struct stream *st)
{
	st->ops->trust(st);
}

/*
 * Close.  With `why` the peer is told what the way can tell it, as far as that
 * goes out at once.  Frees it when the loop has let go.
 */
static inline void
stream_close(struct stream *st, const struct err *why,
    void (*on_closed)(void *), void *arg)
{
	st->ops->close(st, why, on_closed, arg);
}

/* Are no big buffers held? */
static inline bool
stream_is_lean(const struct stream *st)
{
	return st->ops->is_lean(st);
}

/* Give back what nothing needs now; it comes back by need. */
static inline void
stream_idle(struct stream *st)
{
	st->ops->idle(st);
}

/* Something we sent is not acknowledged and nothing was for half a second. */
static inline bool
stream_is_stuck(const struct stream *st)
{
	return st->ops->is_stuck(st);
}

/* Is the other end really at its address?  It may be forged before. */
static inline bool
stream_is_proven(const struct stream *st)
{
	return st->ops->is_proven(st);
}

/* Smoothed round-trip time; 0 when unknown. */
static inline uint64_t
stream_rtt_ns(const struct stream *st)
{
	return st->ops->rtt_ns(st);
}

/* The device at the other end; once open. */
static inline const struct devid *
stream_peer(const struct stream *st)
{
	return st->ops->peer(st);
}

/* The other end, with the scheme of its kind; when dialling, what was asked. */
static inline const struct addr *
stream_address(const struct stream *st)
{
	return st->ops->address(st);
}

/* "TLS1.3 AES-128-GCM X25519", for people; "" before it is open. */
static inline const char *
stream_text(const struct stream *st)
{
	return st->ops->text(st);
}

/* Is the peer's certificate made out to `name`?  0 or ERR_DENIED. */
static inline int
stream_check_name(const struct stream *st, const char *name, struct err *err)
{
	return st->ops->check_name(st, name, err);
}

#endif
