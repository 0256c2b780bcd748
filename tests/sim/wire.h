/*
 * The wire: messages between two devices as the bytes of real sessions.
 *
 * In some histories nothing but bytes goes from one device to another: Hello,
 * frames, compression, pings and time-outs are those of mesh/session.h.  What
 * a session writes is cut into pieces anywhere, several may arrive as one, and
 * a connection may end within a frame.  A peer is up when its Hello has come.
 */
#ifndef HOLDFAST_TESTS_SIM_WIRE_H
#define HOLDFAST_TESTS_SIM_WIRE_H

#include "blockproto/message.h"
#include "engine/base/payload.h"
#include "sim.h"

/* The type of a letter that is a piece of the stream, not a message. */
#define WIRE_PIECE (-2)

/* The connection is there: says Hello. */
void wire_open(struct node *nd, uint32_t other);
/* It is not there any more. */
void wire_close(struct node *nd, uint32_t other);
/* Takes `p`. */
void wire_send(struct node *nd, uint32_t to, const struct message *m,
    struct payload *p);
/* A frame with any body. */
void wire_send_raw(struct node *nd, uint32_t to, int32_t type,
    struct slice body);
/* A piece came; tells the device of what became whole with it. */
void wire_came(struct node *nd, uint32_t from, struct slice piece, bool whole);
/* Time passed: pings, and peers that are silent for too long. */
void wire_tick(struct sim *s);

#endif
