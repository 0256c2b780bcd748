/*
 * Our coordinator: the listener, its guests, what is kept.
 *
 * What is said and who hears it is coord_server.h's, the disk is
 * coord_store_posix.h's, flushed on a worker; a STUN server answers beside it
 * (stund_uv.h), and HTTP at the same port when it is a discovery server.
 *
 * What a stranger can make it hold: as at our relay, LIMIT_HALF_OPEN
 * connections that are no members, LIMIT_HALF_OPEN_SOURCE of them from one
 * source and as many as the doorman lets in, each with LIMIT_TLS_NS for TLS and
 * then what coord_server.h allows; 16 KiB more than a message, once it began
 * one.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_COORDD_UV_H
#define HOLDFAST_MESH_COORDD_UV_H

#include <uv.h>

#include "engine/base/log.h"
#include "mesh/coord_server.h"
#include "mesh/identity.h"

struct disco;

/* Opaque. */
struct coordd;

/* May this device bring a domain that we do not have?  From the loop. */
typedef bool coordd_may_fn(void *arg, const struct devid *id);

/* Keeps its state below `dir`.  Borrows `id` for its life. */
int coordd_open(struct coordd **out, uv_loop_t *loop, const struct identity *id,
    const struct addr *at, const char *dir, coordd_may_fn *may, void *arg,
    const struct log *log, struct err *err);
void coordd_close(struct coordd *d, void (*on_closed)(void *), void *arg);
/*
 * Take nobody who is not at an addr_is_lan() address, and let those go who are
 * here.  Not from inside `may`.
 */
void coordd_set_lan_only(struct coordd *d, bool lan_only);
/*
 * Be a discovery server (disco.h) as well, at the same port: for those who may,
 * and for members of its domains.
 */
void coordd_set_discovery(struct coordd *d, bool on);
const struct disco *coordd_disco(const struct coordd *d); /* NULL: it is none */
/* Where it really listens. */
const struct addr *coordd_bound(const struct coordd *d);
const struct coord_server *coordd_server(const struct coordd *d);
/* UDP ports of STUN; 0: it has none. */
const uint16_t *coordd_stun(const struct coordd *d);

#endif
