/*
 * Addresses to and from the system's own form.
 *
 * Thread: any.
 */
#ifndef HOLDFAST_MESH_ADDR_UV_H
#define HOLDFAST_MESH_ADDR_UV_H

#include <sys/socket.h>

#include "engine/base/err.h"
#include "mesh/addr.h"

/*
 * A literal address (or none: the wildcard) as a sockaddr.  ERR_INVALID for a
 * host name and for a zone that is no interface here.
 */
int addr_uv_to_sockaddr(const struct addr *a, struct sockaddr_storage *out,
    struct err *err);
/* IPv4 in IPv6 becomes IPv4; the scheme is plain tcp. */
void addr_uv_from_sockaddr(struct addr *out, const struct sockaddr *sa);

#endif
