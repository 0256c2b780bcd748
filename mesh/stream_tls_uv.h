/*
 * Streams that are TLS on TCP: dialled, accepted, or over a TCP stream that
 * somebody else has opened (a relay's session).
 *
 * The contract is stream.h.  Thread: loop.
 */
#ifndef HOLDFAST_MESH_STREAM_TLS_UV_H
#define HOLDFAST_MESH_STREAM_TLS_UV_H

#include <uv.h>

#include "mesh/identity.h"
#include "mesh/stream.h"
#include "mesh/tcp_uv.h"
#include "mesh/tls.h"

/* Both borrow `id` for the stream's life. */
struct stream *stream_tls_dial(uv_loop_t *loop, const struct identity *id,
    const struct addr *to);
/*
 * Over `tcp`, which is open and not being read; takes it.  Nothing is read or
 * said before stream_start().
 */
struct stream *stream_tls_over(const struct identity *id, struct tcp *tcp,
    enum tls_role role);

/* Speak something else than BEP; right after one of the above. */
void stream_tls_speak(struct stream *st, enum tls_protocol protocol);

/*
 * How long the other end took to answer our last word of the handshake: a
 * round trip, or more when it came late to it.  Once open.
 */
uint64_t stream_tls_shake_ns(const struct stream *st);

/* TLS_COORD_WEB: is it HTTP, with or without a stream_peer()?  Once open. */
bool stream_tls_is_web(const struct stream *st);

/* The first byte of a stream that was accepted was read already: this one. */
void stream_tls_put_back(struct stream *st, uint8_t byte);

#endif
