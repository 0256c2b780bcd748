/*
 * The NAT check: what stands between us and the net, as STUN servers see it.
 *
 * Servers go in, and time, and datagrams; datagrams come out, and in the end,
 * for IPv4 and IPv6 each: whether UDP passes at all, the address that others
 * see of our socket, and how much that address depends on who is asked.  That
 * decides whether a hole can be punched, and how (punch.h).
 *
 *	NATCHECK_NONE      we have that address ourselves
 *	NATCHECK_SAME      the same for all (RFC 4787: endpoint-independent)
 *	NATCHECK_BY_HOST   another for each host (address-dependent)
 *	NATCHECK_BY_PORT   another for each port (address-and-port-dependent)
 *	NATCHECK_UNKNOWN   one server at one port is too few to tell
 *
 * A check asks every server at once, as RFC 8489 says; a server that has
 * another address (RFC 5780) is asked there, too.  Then one more datagram to
 * our own address shows whether the router turns it around (hairpin).
 *
 * A refresh asks one server alone: is it still so?  When it is not, a check
 * follows.  Nobody is asked unless told to: not to keep a mapping, which QUIC
 * does for connections in use, and for which nobody waits otherwise.
 *
 * A server can lie about our address, and so send our peers in vain; nothing
 * else.  Who does not see our datagrams cannot answer in its place.
 *
 * Thread: loop.  Pure: time comes in; `key` makes what cannot be guessed.
 */
#ifndef HOLDFAST_MESH_NATCHECK_H
#define HOLDFAST_MESH_NATCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"
#include "mesh/draw.h"

#define NATCHECK_TARGETS 32u /* addresses asked in one check */
#define NATCHECK_LOCALS 32u  /* addresses of our own that count */

enum natcheck_mapping {
	NATCHECK_UNKNOWN,
	NATCHECK_NONE,
	NATCHECK_SAME,
	NATCHECK_BY_HOST,
	NATCHECK_BY_PORT,
};

enum natcheck_hairpin {
	NATCHECK_HAIRPIN_UNKNOWN,
	NATCHECK_HAIRPIN_YES,
	NATCHECK_HAIRPIN_NO,
};

/* A value.  Of one family; what the last check found. */
struct natcheck_result {
	unsigned asked, answered; /* servers' addresses */
	bool udp;                 /* an answer came */
	struct addr mapped;       /* quic://...; when `udp` */
	enum natcheck_mapping mapping;
	enum natcheck_hairpin hairpin;
	uint64_t at_ns;  /* of the last answer */
	uint64_t rtt_ns; /* the shortest */
};

/* A server's address, after its name was looked up. */
struct natcheck_server {
	struct addr addr; /* literal */
};

/* How one address fared. */
struct natcheck_server_state {
	struct addr addr;
	bool answered;
	uint64_t rtt_ns;
	struct addr mapped; /* as this one sees us; when it answered */
};

struct natcheck_send {
	struct addr to;
	struct buf datagram; /* the caller's to free */
};

/* Opaque. */
struct natcheck;

struct natcheck *natcheck_new(const uint8_t key[DRAW_KEY_LEN]);
void natcheck_free(struct natcheck *n); /* accepts NULL */

/* Whom to ask from now on; does not ask. */
void natcheck_set_servers(struct natcheck *n,
    const struct natcheck_server *server, size_t count);
/* The addresses of our socket, with its port: mapped to one is no NAT. */
void natcheck_set_locals(struct natcheck *n, const struct addr *local,
    size_t count);

/* Begin a check; one that runs is begun anew. */
void natcheck_begin(struct natcheck *n, uint64_t now_ns);
/* Ask whether it is still so, unless somebody is being asked. */
void natcheck_refresh(struct natcheck *n, uint64_t now_ns);
bool natcheck_runs(const struct natcheck *n);
/*
 * Do the results hold?  Not while servers are asked that may still answer;
 * those that did not within 1.5 s are not waited for when others did.
 */
bool natcheck_is_known(const struct natcheck *n, uint64_t now_ns);
/* How many checks came to an end. */
uint64_t natcheck_rounds(const struct natcheck *n);

/* The next datagram that is due; false when none is. */
bool natcheck_next(struct natcheck *n, uint64_t now_ns,
    struct natcheck_send *out);
/* CLOCK_NEVER when nothing is asked. */
uint64_t natcheck_wake_at(const struct natcheck *n);
/* Something came that stun_is(); true when it was an answer to us. */
bool natcheck_take(struct natcheck *n, struct slice datagram,
    const struct addr *from, uint64_t now_ns);

/* `v6`: which family. */
const struct natcheck_result *natcheck_result(const struct natcheck *n,
    bool v6);
/* Grows when a result changed in what peers or people may care for. */
uint64_t natcheck_changes(const struct natcheck *n);
/* Of the check; false past the end. */
bool natcheck_server_at(const struct natcheck *n, size_t i,
    struct natcheck_server_state *out);
/* "endpoint-independent", "none", ...: stable. */
const char *natcheck_mapping_text(enum natcheck_mapping mapping);
const char *natcheck_hairpin_text(enum natcheck_hairpin hairpin);
/* Does the address depend on who is asked? */
bool natcheck_is_hard(enum natcheck_mapping mapping);

#endif
