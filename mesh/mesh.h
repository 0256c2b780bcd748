/*
 * The mesh: which devices we want to be connected with, and what to do next.
 *
 * Holds the configured peers, the addresses known for each (configured, found
 * by announcements, which live 90 s, or told by discovery servers), when to
 * dial which (back-off with
 * jitter), the one connection each peer may have, and strangers that asked.
 * It says what to do; net_uv.c does it.  BEP-FACTS.md 2.3.
 *
 * Rules
 *   - one connection a device; an established one is never replaced by another
 *     of the same kind, the surplus one ends before its Hello.
 *   - better ways (addr_rank) are dialled first; those behind wait until the
 *     better one failed or had its head start.
 *   - direct before relayed: relays are dialled a second after the rest, and
 *     while a relayed connection is up the direct ways are dialled on.  A
 *     direct one takes its place with its Hello, not before.
 *   - relays are dialled side by side, and the first by which TLS with the
 *     device is done has it: what that takes grows with the whole way.  With a
 *     device that knows what a second relayed connection means, its other
 *     relays are tried later, rarely: one by which the way is a quarter
 *     shorter, and 5 ms at least, takes the place.
 *   - two that were dialled at the same moment, one by each side: both ends
 *     keep the one that the smaller device ID dialled.
 *   - back-off 1, 2, 4 ... 60 s, each +-25 %; after a lost connection at once,
 *     at most 3 times in 2 minutes.
 *   - a peer that hears us out and hangs up before its ClusterConfig does not
 *     want us (yet): that is a failed dial, not a lost connection.
 *   - for a minute after a peer was configured, or was lost, somebody may be
 *     waiting for it: no pause is longer than 2 s.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_MESH_H
#define HOLDFAST_MESH_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "blockproto/message.h"
#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"
#include "mesh/failure.h"

/* Opaque. */
struct mesh;

struct mesh_peer_config { /* borrowed for the call */
	struct devid id;
	const char *name;
	const struct addr *address; /* ADDR_DYNAMIC: use discovery too */
	size_t address_count;
	bool paused;
};

/* One way to a peer, as mesh_peer_address() shows it. */
struct mesh_address {
	struct addr addr;
	bool found;     /* by announcement, not configured */
	bool looked_up; /* ... or by a discovery server */
	bool dialling;
	uint64_t started_ns; /* of the dial that is running */
	uint64_t next_ns;    /* next dial; monotonic */
	uint64_t expires_ns; /* CLOCK_NEVER when configured */
	unsigned failures;   /* doublings of the next pause */
	uint64_t rtt_ns;     /* of the way by this relay; 0: unknown */
	uint64_t rtt_at_ns;  /* when it was measured; 0: never */
	bool in_use;         /* the connection came of it, by a relay */
	int64_t instance;    /* of who announced it; changes when it restarts */
	int64_t tried_wall_ns;
	enum failure failure; /* of the last dial */
	char error[160];      /* of the last dial; "" when none failed */
};

enum mesh_verdict {
	MESH_ACCEPT,
	MESH_REPLACE, /* accept, and end the other one first */
	MESH_OWN,     /* it is ourselves */
	MESH_UNKNOWN, /* not configured: hear its Hello, remember, drop */
	MESH_PAUSED,
	MESH_BETTER,  /* as well, for now: beside one that is relayed */
	MESH_SURPLUS, /* there is one already */
};

enum mesh_direction { MESH_DIALLED, MESH_ACCEPTED };

struct mesh_dial {
	struct devid id;
	struct addr addr;
};

/* A stranger that showed a valid certificate and said Hello. */
struct mesh_stranger {
	struct devid id;
	char name[64];
	char address[ADDR_TEXT_MAX];
	int64_t wall_ns; /* when it was last told */
};

struct mesh *mesh_new(const struct devid *own, uint64_t seed);
void mesh_free(struct mesh *m);

/* Take a new set of peers; what is known of those that stay is kept. */
void mesh_configure(struct mesh *m, const struct mesh_peer_config *peer,
    size_t count, uint64_t now_ns);
/* Dial what addr_is_lan() alone: mesh.scope. */
void mesh_set_lan_only(struct mesh *m, bool lan_only);
bool mesh_has(const struct mesh *m, const struct devid *id);
bool mesh_is_paused(const struct mesh *m, const struct devid *id);
const char *mesh_name(const struct mesh *m, const struct devid *id); /* or "" */

/*
 * A device was announced at `addr`; true when the way is new to us or the
 * device started anew (it is due at once).  Ignored unless the peer is
 * configured with ADDR_DYNAMIC.
 */
bool mesh_found(struct mesh *m, const struct devid *id, const struct addr *addr,
    int64_t instance, uint64_t now_ns);

/*
 * A discovery server told where the device may be; as mesh_found().  Such ways
 * live for an hour, and the latest MESH_LOOKED_UP of them are kept.
 */
#define MESH_LOOKED_UP 16u
bool mesh_looked_up(struct mesh *m, const struct devid *id,
    const struct addr *addr, uint64_t now_ns);
/* Devices to look for: configured with ADDR_DYNAMIC, not paused, not here. */
size_t mesh_sought(const struct mesh *m, struct devid *out, size_t cap);
/* The same, here or not. */
size_t mesh_dynamic(const struct mesh *m, struct devid *out, size_t cap);
/* Grows whenever mesh_sought() may have changed. */
uint64_t mesh_changes(const struct mesh *m);

/* The next dial that is due; false when none is.  It counts as running. */
bool mesh_next(struct mesh *m, uint64_t now_ns, struct mesh_dial *out);
/* When mesh_next() may have something; CLOCK_NEVER when never by itself. */
uint64_t mesh_wake_at(const struct mesh *m, uint64_t now_ns);
/* A dial ended without a connection. */
void mesh_dial_failed(struct mesh *m, const struct mesh_dial *dial,
    const struct err *why, struct now now);
/* A dial was given up through no fault of the way. */
void mesh_dial_ended(struct mesh *m, const struct mesh_dial *dial);

/*
 * A connection of `id` finished TLS: may it go on?  After MESH_ACCEPT or
 * MESH_REPLACE it counts as the peer's connection until mesh_down(); a
 * replaced one is ended without a mesh_down() of its own.
 *
 * After MESH_BETTER it is the peer's other connection (the one that was this
 * before is ended) until mesh_better_up() or mesh_better_down(); a mesh_down()
 * of the first makes it the first.
 *
 * `rtt_ns` is that of the whole way by a relay, 0 when it is unknown.
 */
enum mesh_verdict mesh_judge(struct mesh *m, const struct devid *id,
    enum mesh_direction direction, bool relayed, uint64_t rtt_ns,
    uint64_t now_ns);
/* Such a way by a relay has been measured, when a dial got so far. */
void mesh_measured(struct mesh *m, const struct mesh_dial *dial,
    uint64_t rtt_ns, uint64_t now_ns);
/*
 * The peer whose connection is up knows that a second one by a relay is meant
 * to take the place of the first.
 */
void mesh_may_move(struct mesh *m, const struct devid *id, bool may);
/* It said a good Hello, and is the peer's only one now: as mesh_up(). */
void mesh_better_up(struct mesh *m, const struct devid *id,
    const struct mesh_dial *dial);
void mesh_better_down(struct mesh *m, const struct devid *id);
/* It said a good Hello: established.  `dial` NULL when it was accepted. */
void mesh_up(struct mesh *m, const struct devid *id,
    const struct mesh_dial *dial, uint64_t now_ns);
/* Its first message came: it wants us. */
void mesh_settled(struct mesh *m, const struct devid *id);
/*
 * The peer's connection is gone, established or not.  When it was dialled and
 * never established, mesh_dial_failed() comes right after.
 */
void mesh_down(struct mesh *m, const struct devid *id, uint64_t now_ns);
/*
 * The peer's connection, which was up, was let go by both: nobody is dialled,
 * or sought, until mesh_wake() or until it comes by itself.
 */
void mesh_sleep(struct mesh *m, const struct devid *id, uint64_t now_ns);
/* It is wanted again, and somebody waits; nothing if it does not sleep. */
void mesh_wake(struct mesh *m, const struct devid *id, uint64_t now_ns);
/* Why a device is connected through a relay, if it is. */
enum mesh_detour {
	MESH_DIRECT,
	MESH_NO_DIRECT_WAY,  /* none is known */
	MESH_DIRECT_FAILED,  /* each was tried in vain */
	MESH_DIRECT_UNTRIED, /* one is being tried, or will be soon */
	/* These are not the mesh's to know: how punching ended, net_uv.h. */
	MESH_UDP_BLOCKED,
	MESH_UDP_BLOCKED_THERE,
	MESH_HARD_NAT_BOTH,
	MESH_HARD_NAT,
	MESH_NO_ANSWER,
};
enum mesh_detour mesh_detour(const struct mesh *m, const struct devid *id);
/* Try every address now. */
void mesh_refresh(struct mesh *m, uint64_t now_ns);

/* Is it left out by mesh_set_lan_only()? */
bool mesh_leaves_out(const struct mesh *m, const struct addr *addr);
/* Addresses known of a peer; NULL past the end. */
const struct mesh_address *mesh_address_at(const struct mesh *m,
    const struct devid *id, size_t i);

/*
 * Text from a peer, fit for a log, a terminal and JSON: valid UTF-8 without
 * control characters, cut to `cap` bytes with its NUL.
 */
void mesh_clean_text(char *out, size_t cap, struct slice text);
/* Remember a stranger; true when it was not known or not for an hour. */
bool mesh_stranger_add(struct mesh *m, const struct devid *id,
    struct slice name, const char *address, int64_t wall_ns);
const struct mesh_stranger *mesh_stranger_at(const struct mesh *m, size_t i);

#endif
