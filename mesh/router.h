/*
 * The router at home, asked one question of portmap.h.
 *
 * Blocks: some two seconds for PCP and NAT-PMP, and for UPnP as long as the
 * router likes to drip.  Nobody but the default gateway of IPv4 is ever spoken
 * to: a device of the LAN that says it is a router is not believed, and neither
 * is a router that wants us to ask elsewhere.
 *
 * Thread: any, but one question of a `memory` at a time.
 */
#ifndef HOLDFAST_MESH_ROUTER_H
#define HOLDFAST_MESH_ROUTER_H

#include "mesh/portmap.h"

/* What one question learns for the next; zeroed at first. */
struct router_memory {
	uint8_t ip[4];      /* the router's */
	char upnp_url[256]; /* of its description; "": not known */
};

/* Fills all of `out`. */
void router_ask(const struct portmap_ask *ask, struct router_memory *memory,
    struct portmap_answer *out);

/* --- for the doors below it --- */

struct router_where {
	uint8_t router[4];
	uint8_t own[4]; /* of this device, towards it */
};

void router_natpmp_ask(const struct portmap_ask *ask,
    const struct router_where *where, struct portmap_answer *out);
void router_upnp_ask(const struct portmap_ask *ask,
    const struct router_where *where, struct router_memory *memory,
    struct portmap_answer *out);
/* Fill in a failure. */
void router_say(struct portmap_answer *out, enum portmap_code code,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
