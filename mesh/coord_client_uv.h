/*
 * Our line to one coordinator: held open, dialled again when it breaks.
 *
 * When to dial, what was told and what has to be told again after a break is
 * coord_caller.h's, which is pure; sockets and TLS are here.
 *
 * Callbacks come from the loop only, never from inside a call; each may call
 * anything here.  Nothing told here is proven but what proves itself.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_COORD_CLIENT_UV_H
#define HOLDFAST_MESH_COORD_CLIENT_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "engine/base/log.h"
#include "mesh/coord.h"
#include "mesh/identity.h"

/* Opaque. */
struct coord_client;

struct coord_client_callbacks {
	/* It is up (welcomed) or down (`why` for people) from now on. */
	void (*on_up)(void *arg, const struct coord_message *welcome);
	void (*on_down)(void *arg, const char *why);
	/* Entries of our domain's log, from number `seq` on; not checked. */
	void (*on_entries)(void *arg, uint64_t seq, const struct slice *entry,
	    size_t count);
	/* Where a wanted device is; count 0: nobody knows. */
	void (*on_where)(void *arg, const struct devid *id,
	    const struct addr *addr, size_t count, bool here);
	/* A word of another member, which the coordinator may have forged. */
	void (
	    *on_signal)(void *arg, const struct devid *from, struct slice body);
	/* A box was opened for us; 0: it was refused. */
	void (*on_box)(void *arg, uint32_t box);
	/* A letter; `stranger` tells apart who writes to our own box. */
	void (*on_mail)(void *arg, uint32_t box, uint64_t stranger,
	    struct slice body);
	/* The coordinator would not. */
	void (*on_refused)(void *arg, enum coord_type what,
	    enum coord_code code, const char *text);
};

/*
 * `at` is "tcp://HOST:PORT"; `must_be` the coordinator's device ID, or NULL:
 * the first one seen there is believed for as long as this lives.  Borrows
 * `id`; copies `cb`.  Begins to dial at once.
 */
int coord_client_open(struct coord_client **out, uv_loop_t *loop,
    const struct identity *id, const struct addr *at,
    const struct devid *must_be, const struct coord_client_callbacks *cb,
    void *arg, const struct log *log, struct err *err);
void coord_client_close(struct coord_client *c, void (*on_closed)(void *),
    void *arg);

/* Our domain and how much of its log we have; NULL: we are a stranger. */
void coord_client_set_domain(struct coord_client *c,
    const struct coord_id *domain, uint64_t seq, const uint8_t head[32]);
/*
 * A random number that is the same on all lines of this process, also to one
 * coordinator at two addresses, and never of another one; 0, as at first: none
 * is told.
 */
void coord_client_set_run(struct coord_client *c, uint64_t run);
/* Where we can be reached, all of it; told anew after a break. */
void coord_client_publish(struct coord_client *c, const struct addr *addr,
    size_t count);
/* Of whom to be told, all of them; told anew after a break. */
void coord_client_want(struct coord_client *c, const struct devid *id,
    size_t count);
/* These are lost when it is down; false then, or when a limit is reached. */
bool coord_client_append(struct coord_client *c, uint64_t seq,
    const struct slice *entry, size_t count);
bool coord_client_signal(struct coord_client *c, const struct devid *to,
    struct slice body);
bool coord_client_open_box(struct coord_client *c);
/* It was ours in an earlier run; claimed anew after a break, as all are. */
bool coord_client_claim_box(struct coord_client *c, uint32_t box);
void coord_client_close_box(struct coord_client *c, uint32_t box);
/* To a box; `stranger` 0 unless the box is ours. */
bool coord_client_mail(struct coord_client *c, uint32_t box, uint64_t stranger,
    struct slice body);
/* Dial now. */
void coord_client_refresh(struct coord_client *c);

struct coord_client_state {
	const struct addr *at;
	bool up;
	struct devid id; /* who it is; once up */
	uint64_t rtt_ns;
	uint64_t bytes_in, bytes_out; /* since open */
	const char *why;              /* it is not up; "" when it is */
	bool cloned; /* another machine with our key is at it, too */
};
void coord_client_state(const struct coord_client *c,
    struct coord_client_state *out);

#endif
