/*
 * One connection: a stream (stream.h) and a BEP session in it.
 *
 *   DIALLING -> TLS -> HELLO -> UP -> CLOSING -> DEAD
 *
 * It moves bytes and keeps the deadlines; who may connect is its owner's word:
 * on_peer() when it is open, on_hello() after the Hello.  Each connection ends
 * with exactly one on_end(), unless its owner aborted it, and with one
 * on_freed().
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call (but
 * for on_work(), which only makes a note); they may call anything here.
 */
#ifndef HOLDFAST_MESH_CONN_UV_H
#define HOLDFAST_MESH_CONN_UV_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/message.h"
#include "engine/base/err.h"
#include "engine/base/payload.h"
#include "mesh/session.h"
#include "mesh/stream.h"

/* Opaque. */
struct conn;

struct conn_callbacks {
	/*
	 * The stream is open: the peer is `id`.  0 and *cfg filled: go on with
	 * a session; a failure ends the connection with that error.
	 */
	int (*on_peer)(void *arg, const struct devid *id,
	    struct session_config *cfg, struct err *err);
	/* 0: up; a failure ends it.  No message comes before. */
	int (*on_hello)(void *arg, const struct hello *hello, struct err *err);
	void (*on_message)(void *arg, const struct message *m,
	    struct payload *data); /* takes `data` */
	void (*on_sent)(void *arg, uint64_t tag);
	/* There is something to do: call conn_work() soon, from the loop. */
	void (*on_work)(void *arg);
	void (*on_end)(void *arg, const struct err *err);
	void (*on_freed)(void *arg); /* the last word */
};

/* Takes `stream`, which dials, or was accepted and has not been started. */
struct conn *conn_open(struct stream *stream, bool dialled,
    const struct conn_callbacks *cb, void *arg);

/* As session_send(); only between on_hello() and the end. */
int conn_send(struct conn *c, const struct message *m, struct payload *data,
    uint64_t tag, struct err *err);
/*
 * Did the other end stop answering?  The first call asks it (with a Ping) and
 * says no; the next, half a second later or more, knows.
 */
bool conn_is_stuck(struct conn *c);
/* As session_answer(). */
void conn_answer(struct conn *c, const struct echo *reply);
void conn_pause(struct conn *c, bool pause);
/* Do what is waiting; true when there is more. */
bool conn_work(struct conn *c);
/* Say Close, then end with `reason` (ERR_CLOSED); within a second. */
void conn_close(struct conn *c, const char *reason);
/* End at once; no on_end(). */
void conn_abort(struct conn *c);
/* Deadlines, pings, giving memory back. */
void conn_tick(struct conn *c, uint64_t now_ns);
uint64_t conn_wake_at(const struct conn *c);

/* Before TLS is done, or before the Hello: nobody yet. */
bool conn_is_half_open(const struct conn *c);
const struct addr *conn_address(const struct conn *c);
const char *conn_tls_text(const struct conn *c); /* "" before TLS is done */
/* 0, or ERR_DENIED: the certificate is not made out to `name`. */
int conn_check_name(const struct conn *c, const char *name, struct err *err);
bool conn_is_proven(const struct conn *c); /* as stream_is_proven() */
uint32_t conn_features(const struct conn *c);
size_t conn_queued(const struct conn *c);
uint64_t conn_rtt_ns(const struct conn *c);
uint64_t conn_bytes_in(const struct conn *c); /* plaintext */
uint64_t conn_bytes_out(const struct conn *c);
uint64_t conn_heard_ns(const struct conn *c); /* last byte in */

#endif
