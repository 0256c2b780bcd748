/*
 * The switchboard: who waits at our relay, and which sessions there are.
 *
 * A member is a device that has joined; it is asked for by its ID.  A session
 * has two sides, each with a key of its own; who brings a key has that side,
 * once.  Sockets are relayd_uv.c's.
 *
 * Rules
 *   - one member a device: the second is told so.
 *   - LIMIT_RELAY_MEMBERS, LIMIT_RELAY_SESSIONS, and of these
 *     LIMIT_RELAY_DEVICE in which one device takes part.
 *   - a session that has not both sides within a minute is none.
 *
 * Thread: loop.  Pure: time and keys come in.
 */
#ifndef HOLDFAST_MESH_SWITCHBOARD_H
#define HOLDFAST_MESH_SWITCHBOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/relay.h"

/* Opaque. */
struct switchboard;

struct switchboard *switchboard_new(void);
void switchboard_free(struct switchboard *sb); /* accepts NULL */

/* RELAY_OK, RELAY_ALREADY; RELAY_INTERNAL: full.  `arg` is the owner's. */
enum relay_code switchboard_join(struct switchboard *sb, const struct devid *id,
    void *arg);
void switchboard_leave(struct switchboard *sb, const struct devid *id);
size_t switchboard_members(const struct switchboard *sb);

/*
 * `from` asks for `to`.  RELAY_OK: a session, whose side 0 is the asker's and
 * side 1 the member's (*member); RELAY_NOT_FOUND; RELAY_INTERNAL: full.
 * `key` are two different ones that nobody can guess.
 */
enum relay_code switchboard_connect(struct switchboard *sb,
    const struct devid *from, const struct devid *to,
    const struct relay_key key[2], uint64_t now_ns, void **member);
/*
 * Somebody brings a key: the number of the session, and the side that is taken
 * now.  0: no such key, or it was brought before.
 */
uint64_t switchboard_enter(struct switchboard *sb, const struct relay_key *key,
    int *side, uint64_t now_ns);
/* Has a session both its sides? */
bool switchboard_is_whole(const struct switchboard *sb, uint64_t session);
void switchboard_end(struct switchboard *sb, uint64_t session);
/* A session whose time to become whole is over; it is ended.  0: none. */
uint64_t switchboard_expire(struct switchboard *sb, uint64_t now_ns);
size_t switchboard_sessions(const struct switchboard *sb);

#endif
