/*
 * One BEP session over one stream of bytes: messages in, messages out.
 *
 * Sends its Hello at once, takes the peer's, splits and decodes frames, checks
 * that the first message is a ClusterConfig, keeps the ping clock, compresses
 * by policy, queues what goes out.  It knows nothing of sockets, TLS or who
 * the peer is, and judges no content: entries are checked by the engine.
 * BEP-FACTS.md 3, 4 and 7.4.
 *
 * Use, reading:  p = session_space(&n); read up to n bytes there;
 *                session_add(n); while (session_next(&ev) == 1) handle(ev);
 *      writing:  while (session_output(&s)) { write s; session_output_done(); }
 *
 * Three lanes go out: answers with file data, what is carried for others
 * (MESSAGE_FORWARD), and everything else.  Each keeps its order; they take
 * turns message by message, so that a small change is not announced behind 32
 * MiB of data, and nothing here waits for more than one small message of what
 * is carried.  No message is ever cut in two by another.
 *
 * Thread: loop.  Pure: time comes in with the calls.
 */
#ifndef HOLDFAST_MESH_SESSION_H
#define HOLDFAST_MESH_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/message.h"
#include "engine/base/err.h"
#include "engine/base/payload.h"
#include "engine/base/slice.h"

/* Opaque. */
struct session;

enum session_event_kind {
	SESSION_HELLO,   /* the peer's Hello: first, and once */
	SESSION_MESSAGE, /* any known message but Ping */
	SESSION_SENT,    /* the bytes of a message with a tag left the queue */
};

/* Borrowed until the next session_next(), but for `payload`. */
struct session_event {
	enum session_event_kind kind;
	const struct hello *hello;
	const struct message *message;
	/*
	 * RESPONSE with data: owned by whoever takes the event;
	 * message->u.response.data lies inside it.  Else NULL.
	 */
	struct payload *payload;
	uint64_t tag; /* SESSION_SENT */
};

struct session_config {
	struct hello hello; /* ours; copied */
	enum message_compression compression;
	bool silent; /* send no Hello: a stranger learns nothing */
};

struct session *session_new(const struct session_config *cfg, uint64_t now_ns);
void session_free(struct session *s); /* accepts NULL; frees what is queued */

/* Where the next bytes go and how many at most; never NULL, never 0. */
uint8_t *session_space(struct session *s, size_t *len);
/*
 * `n` bytes were put there; call session_next() until it gives 0 before the
 * next session_space().  ERR_PROTOCOL or ERR_LIMIT: drop the peer.
 */
int session_add(struct session *s, size_t n, uint64_t now_ns, struct err *err);
/*
 * 1: an event; 0: none now; ERR_PROTOCOL or ERR_LIMIT: drop the peer, the text
 * says why.  SENT events come here too.
 */
int session_next(struct session *s, struct session_event *out, struct err *err);

/*
 * Queue a message.  Takes `payload` (may be NULL): the data of a RESPONSE,
 * sent from where it lies.  `tag` != 0 asks for a SENT event.  ERR_LIMIT, with
 * nothing queued, when LIMIT_SENDQ_LEN would be exceeded.  Nothing can follow
 * a CLOSE: it empties the queue of whole messages, then goes out.
 */
int session_send(struct session *s, const struct message *m,
    struct payload *payload, uint64_t tag, struct err *err);
/*
 * A reply to the peer's Echo.  When several answers wait to be sent, this one
 * is left out: who floods us fills no memory.
 */
void session_answer(struct session *s, const struct echo *echo);
/* The next bytes to write; false when there are none. */
bool session_output(struct session *s, struct slice *out);
/* The first `n` bytes of session_output() were written. */
void session_output_done(struct session *s, size_t n, uint64_t now_ns);
size_t session_queued(const struct session *s); /* bytes waiting */

/* The peer's Hello; NULL before it came.  Lives as long as the session. */
const struct hello *session_hello(const struct session *s);
/* Features both ends announced. */
uint32_t session_features(const struct session *s);

/*
 * Time passed: queues a Ping when we were silent, ERR_CLOSED when the peer is
 * (no Hello for 20 s, nothing at all for 300 s).
 */
int session_tick(struct session *s, uint64_t now_ns, struct err *err);
/* When session_tick() wants to be called. */
uint64_t session_wake_at(const struct session *s);

#endif
