/*
 * PCP: the bytes of asking a router for a port (RFC 6887), and what routers
 * say unasked when they have started anew (there and in RFC 6886).
 *
 * MAP requests alone; no options are sent, those of answers are skipped.  What
 * an answer means for us is portmap.h's.
 *
 * Pure.  Thread: any.
 */
#ifndef HOLDFAST_MESH_PCP_H
#define HOLDFAST_MESH_PCP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

#define PCP_PORT 5351          /* of routers */
#define PCP_ANNOUNCE_PORT 5350 /* where they tell of themselves */
#define PCP_NONCE_LEN 12
#define PCP_DATAGRAM_MAX 1100 /* bytes; section 7 */

enum pcp_protocol { PCP_TCP = 6, PCP_UDP = 17 };

enum pcp_result { /* section 7.4, what we tell apart */
	PCP_SUCCESS = 0,
	PCP_UNSUPP_VERSION = 1,
	PCP_NO_RESOURCES = 8,
	PCP_CANNOT_PROVIDE_EXTERNAL = 11,
};

/* A value; IPv4 addresses in their mapped form, ::ffff:a.b.c.d. */
struct pcp_map {
	uint8_t nonce[PCP_NONCE_LEN];
	enum pcp_protocol protocol;
	uint16_t inner_port;
	uint16_t outer_port; /* of a request: wished, or 0 */
	uint8_t outer_ip[16];
	uint32_t lease_s; /* 0 of a request: take it away */
};

struct pcp_answer {
	uint8_t result;   /* enum pcp_result, or another number */
	uint32_t epoch_s; /* the router's clock since it lost its mappings */
	/* Of a failure: how long not to ask again.  Whose, when it is MAP. */
	struct pcp_map map;
};

/* Append a MAP request of the host `client_ip`. */
void pcp_encode_map(const struct pcp_map *map, const uint8_t client_ip[16],
    struct buf *out);
/*
 * The answer to a MAP request.  ERR_UNSUPPORTED: of a router that speaks
 * another version, such as NAT-PMP's; ERR_PROTOCOL: it is none.
 */
int pcp_decode_map(struct pcp_answer *out, struct slice in, struct err *err);
/* Is it to this request?  Nonce, protocol and port are the same. */
bool pcp_is_answer(const struct pcp_answer *answer,
    const struct pcp_map *request);
/*
 * An announcement on PCP_ANNOUNCE_PORT, of PCP (section 14.1) or NAT-PMP (RFC
 * 6886, 3.2.1); false when it is neither.
 */
bool pcp_decode_announce(uint32_t *epoch_s, struct slice in);

#endif
