/*
 * Ports at the router, kept open: portmap.h's questions, put on a thread.
 *
 * A question (router.h) may block for as long as the router likes, so it has a
 * thread of its own, which nobody waits for at the end: what a closed mapper's
 * thread still learns is thrown away with it.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 */
#ifndef HOLDFAST_MESH_PORTMAP_UV_H
#define HOLDFAST_MESH_PORTMAP_UV_H

#include <uv.h>

#include "engine/base/err.h"
#include "engine/base/log.h"
#include "mesh/portmap.h"

/* Opaque. */
struct portmap_uv;

/* portmap_uv_own() is another. */
typedef void portmap_uv_change_fn(void *arg);

int portmap_uv_open(struct portmap_uv **out, uv_loop_t *loop,
    portmap_uv_change_fn *on_change, void *arg, const struct log *log,
    struct err *err);
/*
 * Gives all ports back, for at most two seconds; on_closed() comes once.
 */
void portmap_uv_close(struct portmap_uv *m, void (*on_closed)(void *),
    void *arg);
/* As portmap_set(), portmap_refresh() ... */
void portmap_uv_set(struct portmap_uv *m, const struct portmap_port *port,
    size_t count);
void portmap_uv_refresh(struct portmap_uv *m);
size_t portmap_uv_own(const struct portmap_uv *m, struct addr *out, size_t cap);
bool portmap_uv_state_at(const struct portmap_uv *m, size_t i,
    struct portmap_state *out);

#endif
