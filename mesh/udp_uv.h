/*
 * LAN discovery, the sockets: IPv4 broadcast and IPv6 multicast on every
 * running interface.
 *
 * Hands on the datagrams it hears and sends the one it is given; what they
 * mean is announce.h.  Interfaces are listed anew for each sending, so a
 * network that appears later is served too.  BEP-FACTS.md 10.1.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_UDP_UV_H
#define HOLDFAST_MESH_UDP_UV_H

#include <stdint.h>

#include <uv.h>

#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/addr.h"

/* Opaque. */
struct udp;

typedef void udp_receive_fn(void *arg, struct slice datagram,
    const struct addr *from);

/*
 * Bind port `port` on both families; one that works is enough.  Others on this
 * machine may listen too.
 */
int udp_open(struct udp **out, uv_loop_t *loop, uint16_t port,
    udp_receive_fn *on_receive, void *arg, struct err *err);
/* Only through interfaces that have an addr_is_lan() address. */
void udp_set_lan_only(struct udp *u, bool lan_only);
/*
 * Send to everybody near, best effort; copies.  ERR_IO when no way worked.  An
 * empty datagram is not sent, but the interfaces there are now are listened on.
 */
int udp_send_near(struct udp *u, struct slice datagram, struct err *err);
void udp_close(struct udp *u, void (*on_closed)(void *), void *arg);

#endif
