/*
 * The inside of the net: shared by net_uv.c and link_uv.c, nobody else's.
 *
 * A link is a connection as the net sees it: which dial it came from, which
 * peer it turned out to be.  A peer has at most one link that counts; links of
 * strangers, of running dials and of those being ended have none.
 *
 * Invariant: a link that has not ended and has a peer is that peer's link.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_LINK_UV_H
#define HOLDFAST_MESH_LINK_UV_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "engine/base/clock.h"
#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "mesh/conn_uv.h"
#include "mesh/coordd_uv.h"
#include "mesh/doorman.h"
#include "mesh/globe_uv.h"
#include "mesh/mesh.h"
#include "mesh/near_uv.h"
#include "mesh/net_uv.h"
#include "mesh/portmap_uv.h"
#include "mesh/quic_ngtcp2.h"
#include "mesh/relayd_uv.h"
#include "mesh/rest.h"
#include "mesh/tcp_uv.h"
#include "mesh/waiting_uv.h"

struct link;

struct net_peer {
	struct devid id;
	char *name, *cert_name; /* owned */
	enum message_compression compression;
	enum net_answer diag; /* its questions */
	bool paused, removed, keep;
	struct link *link;   /* the one that counts; NULL when there is none */
	struct link *better; /* has had TLS, waits for its Hello */
	bool up;             /* on_peer_up() was called for it */
	bool busy;           /* net_set_busy(): its link is not to sleep */
	bool asleep;         /* ... and no down yet, though its link is gone */
	bool hurry;          /* woken: to be called at once */
	uint64_t wake_by_ns; /* asleep, and being woken; 0: not */
	uint64_t bytes_in, bytes_out; /* of connections that are over */
	int64_t since_wall_ns, seen_wall_ns;
	char client[128];
	char error[ERR_TEXT_MAX];
	struct net_echo echo;
	uint64_t asked_ns; /* when the one that is not answered was asked */
};

struct link {
	struct list_node node; /* in net->links */
	struct list_node work; /* in net->work, while it has something to do */
	struct net *net;
	struct conn *conn;
	struct net_peer *peer;  /* NULL until TLS is done, and for strangers */
	bool dialled, dialling; /* we called; the mesh counts the dial */
	bool ended;
	bool better; /* it is its peer's `better`; `peer` is NULL as yet */
	struct mesh_dial dial;
	struct devid id; /* after TLS */
	bool stranger;
	bool heard; /* a message came after the Hello */
	struct rest rest;
	uint64_t generation;
};

struct net_relay {
	struct waiting *waiting;
	bool keep;
};

struct net_listener { /* one of both */
	struct tcp_listener *tcp;
	struct quic *quic;
	struct addr at, bound;
	bool keep;
};

struct net {
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	const struct log *log;
	struct net_callbacks cb;
	void *arg;
	char *device_name, *client_version; /* owned */
	uint32_t features;
	struct mesh *mesh;
	VEC(struct net_peer *) peer; /* in order of configuration */
	struct map by_id;            /* devid -> struct net_peer */
	VEC(struct net_listener) listener;
	struct relayd *relayd; /* NULL: we are no relay */
	struct addr relayd_at; /* as configured */
	bool relayd_is_open;
	VEC(struct net_relay) relay; /* where we wait to be asked for */
	struct quic *quic; /* to dial from, where no listener can; or NULL */
	struct list links, work;
	struct doorman doorman;
	unsigned unproven; /* QUIC's first packets since `unproven_ns` */
	uint64_t unproven_ns;
	struct near *near; /* NULL: discovery is off */
	uint16_t near_port;
	struct globe *globe;   /* NULL: no server is configured */
	uint64_t sought;       /* mesh_changes() that it knows of */
	struct coordd *coordd; /* NULL: we are no coordinator */
	struct addr coordd_at; /* as configured */
	bool coordd_is_open;
	struct net_coord *coord;    /* our lines to coordinators */
	struct portmap_uv *portmap; /* NULL: no router is asked */
	struct net_nat *nat;        /* what is before us, ways through */
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_idle_t idle; /* runs while there is work: do not wait then */
	uint64_t armed_ns;
	uint64_t generation;
	unsigned handles; /* open things that call back when freed */
	bool closing;
	uint64_t close_by_ns;
	void (*on_closed)(void *);
	void *closed_arg;
	struct net_counts counts;
	bool lan_only, leave; /* `leave`: some connections lie outside now */
	uint64_t pings;       /* the number of the last one */
	uint64_t sleep_ns;    /* as net_config */
	uint64_t opened_ns;
	unsigned log_tokens, log_lost;
	uint64_t log_refill_ns;
};

/* In net_uv.c. */
int64_t net_wall_ns(void);
struct now net_now(void);
struct slice net_key(const struct devid *id);
struct net_peer *net_find(const struct net *net, const struct devid *id);
/* May a line be written that strangers can cause at will? */
bool net_may_log(struct net *net);
/* Something that was counted in net->handles is gone. */
void net_handle_closed(void *arg);
void net_close_handles(struct net *net);
/* Something may be due earlier than it was. */
void net_wake(struct net *net);

/* In net_coord_uv.c: the part of it that is the net's alone. */
struct coord_url;
/* `dir` is where the cache is kept; NULL: nowhere. */
struct net_coord *net_coord_new(struct net *net, const char *dir);
void net_coord_configure(struct net_coord *nc, const struct coord_url *url,
    size_t count);
void net_coord_set_own(struct net_coord *nc, const struct addr *addr,
    size_t count);
void net_coord_refresh(struct net_coord *nc);
void net_coord_status(const struct net_coord *nc, struct net_status *out,
    struct arena *ar);
void net_coord_close(struct net_coord *nc);
void net_coord_free(struct net_coord *nc);
/* Our own coordinator, before anything else changes: nothing did on errors. */
int net_coord_serve(struct net *net, const struct net_config *cfg,
    struct err *err);
void net_coord_unserve(struct net *net);

/* In net_nat_uv.c; after net->coord is there. */
int net_nat_open(struct net *net, struct err *err);
void net_nat_close(struct net *net);
void net_nat_free(struct net_nat *nn); /* accepts NULL */
/* The listeners may be others. */
void net_nat_follow_sockets(struct net *net);
/* Of the configuration; coordinators' are asked besides. */
void net_nat_set_servers(struct net *net, const struct addr *stun,
    size_t count);
/* What our router promised, all of it. */
void net_nat_set_portmapped(struct net *net, const struct addr *addr,
    size_t count);
void net_nat_refresh(struct net *net);
void net_nat_tick(struct net *net, uint64_t now_ns);
uint64_t net_nat_wake_at(const struct net *net, uint64_t now_ns);
void net_nat_set_lan_only(struct net *net, bool lan_only);
/* A signal came over the connection itself. */
void net_nat_take_signal(struct net *net, const struct devid *from,
    struct slice body);
/* A device was connected or lost: signals go over a relayed connection, too. */
void net_nat_follow_peer(struct net *net, const struct devid *id);
/* As nat_addresses(). */
size_t net_nat_addresses(const struct net *net, struct addr *out, size_t cap);
/* mesh_detour(), and how the last attempt to open a way to it ended. */
enum mesh_detour net_nat_detour(const struct net *net, const struct devid *id);

/* Can it be sent a signal through a coordinator, now? */
bool net_nat_can_wake(const struct net *net, const struct devid *id);

/* In net_sleep_uv.c. */
/* A signal came over the link: is it a word about rest? */
bool net_sleep_take_word(struct link *l, struct slice body);
/* Its peer's link, up, has ended: true when that was agreed, and it sleeps. */
bool net_sleep_begin(struct link *l);
/* Have it connected again; `hurry`: we are the ones who have something to say.
 */
void net_sleep_rouse(struct net *net, struct net_peer *p, bool hurry);
void net_sleep_rouse_all(struct net *net);
/* Who can be reached by signals may have changed. */
void net_sleep_check(struct net *net);
/* It does not sleep any more: tells of the down.  From the loop. */
void net_sleep_end(struct net *net, struct net_peer *p, const char *why);
void net_sleep_tick(struct net *net, uint64_t now_ns);
uint64_t net_sleep_wake_at(const struct net *net, uint64_t now_ns);

/* Where others may find us is another; `arg` is the net. */
void net_on_addresses(void *arg);

/* In net_portmap_uv.c: the router's ports, for the listeners there are. */
void net_portmap_set(struct net *net, bool wanted);
size_t net_portmap_own(const struct net *net, struct addr out[PORTMAP_PORTS]);
void net_portmap_status(const struct net *net, struct net_status *out,
    struct arena *ar);

/* A tcp_accept_fn; `arg` is the net. */
void link_on_accept(void *arg, struct tcp *tcp, const struct addr *from);
/* A stream that somebody dialled through a relay at `from`; takes it. */
void link_on_relayed(void *arg, struct stream *stream, const struct addr *from);
/* What a QUIC socket wants to know; `arg` is the net. */
extern const struct quic_callbacks link_quic_callbacks;
/* Start every dial that is due. */
void link_dial_due(struct net *net, uint64_t now_ns);
/* Call a device where a way was just opened; not one of the mesh's dials. */
void link_dial_opened(struct net *net, const struct devid *id,
    struct quic *from, const struct addr *to);
/* End a link whose connection did nothing wrong; tells nobody. */
void link_abort(struct link *l);
/* Take it off its peer; tells of the down when there was an up. */
void link_unlink_peer(struct link *l, const char *why);
/* Peers that are configured no more go when their connection did. */
void link_forget_removed(struct net *net);

/* In link_listen_uv.c. */

/*
 * Move the listeners to those addresses.  Those that go are closed first,
 * because the new ones may want their ports; when a new one fails, the old
 * ones come back.
 */
int link_listen(struct net *net, const struct addr *at, size_t count,
    struct err *err);
/* Nobody new comes in; connections stay. */
void link_stop_listening(struct net *net);
/* A stream that dials; NULL when there is no socket for it. */
struct stream *link_dial(struct net *net, const struct mesh_dial *dial,
    struct err *err);

#endif
