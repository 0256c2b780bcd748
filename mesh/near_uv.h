/*
 * Neighbours: says on the LAN who and where we are, hears who else is there.
 *
 * Announces every 30 s, and soon after a device was heard that is new to us.
 * When the port is taken it tries again each time.  BEP-FACTS.md 10.1.
 *
 * Thread: loop.  Callbacks come from the loop, never from inside a call.
 */
#ifndef HOLDFAST_MESH_NEAR_UV_H
#define HOLDFAST_MESH_NEAR_UV_H

#include <stdint.h>

#include <uv.h>

#include "engine/base/log.h"
#include "mesh/announce.h"

/* Opaque. */
struct near;

/*
 * Another device announced itself; true when that was news, so that it should
 * hear of us soon too.
 */
typedef bool near_found_fn(void *arg, const struct announce *a);

struct near *near_open(uv_loop_t *loop, const struct devid *own, uint16_t port,
    near_found_fn *on_found, void *arg, const struct log *log);
void near_close(struct near *n, void (*on_closed)(void *), void *arg);
/* What to announce; loopback addresses are left out.  Announces soon. */
void near_set_addresses(struct near *n, const struct addr *addr, size_t count);
/* Speak with private networks alone: mesh.scope. */
void near_set_lan_only(struct near *n, bool lan_only);
void near_refresh(struct near *n); /* announce soon */
void near_tick(struct near *n, uint64_t now_ns);
uint64_t near_wake_at(const struct near *n);
/*
 * Where else on this LAN our own ID was announced in the last two minutes, by
 * a start that is not this one; "": nowhere.  Anybody there can say so.
 */
const char *near_clone(const struct near *n, uint64_t now_ns);
/* Why it does not work just now; "" when it does. */
const char *near_error(const struct near *n);

#endif
