/*
 * LAN discovery, the words: one datagram says "I am this device, there".
 *
 * Syncthing's local discovery v4: magic, then protobuf {id, addresses,
 * instance_id}.  BEP-FACTS.md 10.1.  Sending and receiving is udp_uv.h, what
 * to do with an address mesh.h.
 */
#ifndef HOLDFAST_MESH_ANNOUNCE_H
#define HOLDFAST_MESH_ANNOUNCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "mesh/addr.h"

#define ANNOUNCE_PORT 21027
#define ANNOUNCE_ADDRESSES                                                     \
	16 /* taken from one datagram; the rest is skipped                     \
	    */

struct announce {
	struct devid id;
	int64_t instance; /* random for each start of the sender */
	struct addr address[ANNOUNCE_ADDRESSES];
	size_t address_count;
};

/* The datagram, appended to `out`. */
void announce_encode(const struct announce *a, struct buf *out);
/*
 * One address as announced; false when it is of no use to others.  What a
 * relay's token says stays out.
 */
bool announce_judge(struct addr *a, struct slice text,
    const struct addr *source);
/*
 * From a datagram.  ERR_PROTOCOL for what is none.  Addresses that cannot be
 * read or that we cannot dial are left out; unspecified hosts become `source`
 * (unless its family contradicts), port 0 and loopback hosts are left out
 * (loopback stays when `source` is loopback itself).
 */
int announce_decode(struct announce *out, struct slice datagram,
    const struct addr *source, struct err *err);

#endif
