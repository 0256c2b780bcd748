/*
 * The net's coordinators: one line to each that is configured.
 *
 * Here the net tells them where we are and asks for the peers that are to be
 * found by themselves ("dynamic"); what they answer becomes ways to those peers
 * and is kept in a file, so that a restart finds them without a coordinator.
 * Everything else that comes over a line goes to whoever hooked himself in:
 * signals to what opens NATs, entries and letters to the membership.
 *
 * Hooks are called from the loop only, never from inside a call, and may call
 * anything here and in coord_client_uv.h with the line they are given.  A line
 * may be gone after on_down() when the configuration changed: it is good until
 * then, and while net_coord_at() gives it.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_NET_COORD_UV_H
#define HOLDFAST_MESH_NET_COORD_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/coord.h"
#include "mesh/coord_client_uv.h"

struct net;

/* As coord_client_callbacks; those that are NULL are not called. */
struct net_coord_hooks {
	void (*on_up)(void *arg, struct coord_client *line,
	    const struct coord_message *welcome);
	void (*on_down)(void *arg, struct coord_client *line);
	void (*on_entries)(void *arg, struct coord_client *line, uint64_t seq,
	    const struct slice *entry, size_t count);
	void (*on_where)(void *arg, struct coord_client *line,
	    const struct devid *id, const struct addr *addr, size_t count,
	    bool here);
	void (*on_signal)(void *arg, struct coord_client *line,
	    const struct devid *from, struct slice body);
	void (*on_box)(void *arg, struct coord_client *line, uint32_t box);
	void (*on_mail)(void *arg, struct coord_client *line, uint32_t box,
	    uint64_t stranger, struct slice body);
	void (*on_refused)(void *arg, struct coord_client *line,
	    enum coord_type what, enum coord_code code, const char *text);
};

/*
 * Hear what the lines bring, until the net is closed; several may, each is
 * called in the order in which they came.  Copies `hooks`.
 */
void net_coord_hook(struct net *net, const struct net_coord_hooks *hooks,
    void *arg);
/* The lines there are now; NULL past the end. */
struct coord_client *net_coord_at(const struct net *net, size_t i);
/*
 * Our domain on all lines, of now and later, as coord_client_set_domain();
 * NULL: we are a stranger everywhere.
 */
void net_coord_set_domain(struct net *net, const struct coord_id *domain,
    uint64_t seq, const uint8_t head[32]);
/*
 * More places where we can be reached than those we listen at: mapped by a NAT,
 * opened by a router.  Replaces those of the last call of the same `source`,
 * of which there are NET_COORD_SOURCES.
 */
enum net_coord_source {
	NET_COORD_STUN,   /* what servers see of our socket */
	NET_COORD_ROUTER, /* a port that a router maps to us */
	NET_COORD_SOURCES
};
void net_coord_publish(struct net *net, enum net_coord_source source,
    const struct addr *addr, size_t count);

#endif
