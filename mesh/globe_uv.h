/*
 * The globe: asks discovery servers what finder.h says, under libuv.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 */
#ifndef HOLDFAST_MESH_GLOBE_UV_H
#define HOLDFAST_MESH_GLOBE_UV_H

#include <uv.h>

#include "engine/base/log.h"
#include "mesh/finder.h"

/* Opaque. */
struct globe;

/* A server told where `id` may be; nothing of it is proven. */
typedef void globe_found_fn(void *arg, const struct devid *id,
    const struct addr *addr, size_t count);

/* `dir` holds cert.pem and key.pem; NULL: nothing can be announced. */
int globe_open(struct globe **out, uv_loop_t *loop, const char *dir,
    globe_found_fn *on_found, void *arg, const struct log *log,
    struct err *err);
void globe_close(struct globe *g, void (*on_closed)(void *), void *arg);
void globe_set_servers(struct globe *g, const struct finder_server *server,
    size_t count);
/* Where we listen, as finder_set_own(). */
void globe_set_addresses(struct globe *g, const struct addr *addr,
    size_t count);
/* Who is sought now, all of them. */
void globe_want(struct globe *g, const struct devid *id, size_t count);
void globe_refresh(struct globe *g);
void globe_tick(struct globe *g, uint64_t now_ns);
uint64_t globe_wake_at(const struct globe *g);
/* As finder_state_at(). */
bool globe_state_at(const struct globe *g, size_t i, struct finder_state *out);

#endif
