/*
 * Ports that a router at home opens for us: which, how, and until when.
 *
 * Says what to ask the router next and what was granted; asking is router.h,
 * done by portmap_uv.c.  What a router says is believed as far as "others may
 * try there": who answers there proves itself as everywhere.
 *
 * Rules
 *   - PCP, then NAT-PMP, then UPnP IGD; the one that granted a port is asked
 *     first for the others, too.
 *   - a lease of an hour is asked for.  It is renewed at half of what was
 *     granted, at most ten minutes later: so a router that lost it without a
 *     word is found out.
 *   - a router whose clock went back, or that says it has started, is asked for
 *     everything anew at once (RFC 6887, 8.5), but not twice in 30 s.
 *   - a port that none grants: again after 5, 10, 20 ... 60 min, +-25 %.
 *   - a port that can not be renewed three times, or whose router is not ours
 *     any more, counts as closed.
 *   - a granted address that is not public is of no use to others (there is
 *     another router behind the first): it is kept, and not told.
 *   - one question at a time.
 *
 * Thread: loop.  Pure: time comes in, randomness is a seeded generator.
 */
#ifndef HOLDFAST_MESH_PORTMAP_H
#define HOLDFAST_MESH_PORTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/addr.h"
#include "mesh/pcp.h"

#define PORTMAP_PORTS 8u /* at once; more are not asked for */
#define PORTMAP_WHY_MAX 160u

enum portmap_method { PORTMAP_PCP, PORTMAP_NATPMP, PORTMAP_UPNP };
#define PORTMAP_METHODS 3u

/* A port where we listen; ADDR_QUIC is UDP. */
struct portmap_port {
	enum addr_scheme scheme; /* ADDR_TCP, ADDR_QUIC */
	uint16_t inner;
};

/* A question for the router; a value. */
struct portmap_ask {
	enum portmap_method method;
	bool remove; /* else: open it, or keep it open */
	struct portmap_port port;
	uint16_t outer;   /* wished, or what is to be removed */
	uint32_t lease_s; /* wished; 0: for ever */
	uint8_t nonce[PCP_NONCE_LEN];
};

enum portmap_code {
	PORTMAP_GRANTED,
	PORTMAP_NO_ANSWER, /* nobody there speaks that */
	PORTMAP_REFUSED,
	PORTMAP_TAKEN,      /* somebody else has that outer port */
	PORTMAP_FOR_EVER,   /* it knows no leases: ask with 0 */
	PORTMAP_NOT_NEEDED, /* no router, or our own address is public */
};

struct portmap_answer {
	enum portmap_code code;
	struct addr outer; /* GRANTED: IP and port as others see them */
	uint32_t lease_s;  /* granted; 0: for ever */
	bool has_epoch;
	uint32_t epoch_s;
	struct addr router; /* who was asked; ADDR_NONE: nobody */
	char why[PORTMAP_WHY_MAX];
};

/* Opaque. */
struct portmap;

/* `nonce` is a secret between us and the router. */
struct portmap *portmap_new(uint64_t seed, const uint8_t nonce[PCP_NONCE_LEN]);
void portmap_free(struct portmap *pm); /* accepts NULL */

/* The ports wanted now, all of them; others are given back. */
void portmap_set(struct portmap *pm, const struct portmap_port *port,
    size_t count, uint64_t now_ns);
/* The network changed or someone is impatient: ask anew. */
void portmap_refresh(struct portmap *pm, uint64_t now_ns);

/* The next question that is due; false when none is, or one is running. */
bool portmap_next(struct portmap *pm, uint64_t now_ns, struct portmap_ask *out);
uint64_t portmap_wake_at(const struct portmap *pm);
void portmap_answered(struct portmap *pm, const struct portmap_ask *ask,
    const struct portmap_answer *answer, uint64_t now_ns);
/* A datagram came to PCP_ANNOUNCE_PORT; noise is ignored. */
void portmap_heard(struct portmap *pm, struct slice datagram,
    const struct addr *from, uint64_t now_ns);

/* What others may be told: at most `cap` of them; the count. */
size_t portmap_own(const struct portmap *pm, struct addr *out, size_t cap);
/* Grows whenever portmap_own() may have changed. */
uint64_t portmap_changes(const struct portmap *pm);

struct portmap_state {
	struct portmap_port port;
	bool open;                  /* and of use to others */
	enum portmap_method method; /* by which */
	struct addr outer;
	const char *why; /* it is not open; "" when it is, or is not known */
};
/* How it stands with the wanted port `i`; false past the end. */
bool portmap_state_at(const struct portmap *pm, size_t i,
    struct portmap_state *out);
/* Can somebody far away come to it, by its address?  IPv4 with a port alone. */
bool portmap_is_public(const struct addr *a);
/* "pcp", "nat-pmp" or "upnp". */
const char *portmap_method_text(enum portmap_method method);

#endif
