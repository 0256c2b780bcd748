/*
 * The network, as the daemon sees it: peers come up, messages go both ways.
 *
 * Puts together sockets (tcp_uv), TLS (tls), sessions (session), the plan of
 * whom to dial (mesh) and LAN discovery (announce, udp_uv).  It decides who may
 * connect, by the peers it was configured with; it knows nothing of files and
 * never looks into a message.
 *
 * Callbacks come from the loop only, never from inside a net_*() call, so any
 * net_*() function may be called in them.  For each on_peer_up() there is
 * exactly one on_peer_down(), before the next up of that device.  Messages of a
 * device come only between the two.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_NET_UV_H
#define HOLDFAST_MESH_NET_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "blockproto/devid.h"
#include "blockproto/message.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/payload.h"
#include "mesh/coord.h"
#include "mesh/identity.h"
#include "mesh/mesh.h"
#include "mesh/natcheck.h"
#include "mesh/natlife.h"
#include "mesh/punch.h"

/* Opaque. */
struct net;

/* To what a peer asks of this node: NET_ANSWER_SILENT as to a stranger. */
enum net_answer { NET_ANSWER, NET_ANSWER_REFUSE, NET_ANSWER_SILENT };

struct net_peer_config {
	struct devid id;
	const char *name;           /* ours for it; "" is fine */
	const char *const *address; /* "tcp://...", "dynamic"; none = dynamic */
	size_t address_count;
	const char *cert_name; /* NULL: "syncthing" */
	enum message_compression compression;
	enum net_answer diag; /* may it ask how we are? */
	bool paused;
};

/* Borrowed for the call, but `identity`: that must outlive the net. */
struct net_config {
	const struct identity *identity;
	const char *device_name;    /* told to peers that we know */
	const char *client_version; /* "0.1.0" */
	uint32_t features;          /* enum feature bits we speak */
	const char *const *listen;  /* "tcp://0.0.0.0:22000"; port 0: any */
	size_t listen_count;        /* 0: do not listen */
	/*
	 * Nothing goes to, or is taken from, an address that is not
	 * addr_is_lan(); what is configured there is left out, and says so.
	 */
	bool lan_only;
	bool announce;                /* LAN discovery, both ways */
	uint16_t announce_port;       /* 0: 21027 */
	const char *const *discovery; /* servers to ask, as finder.h; none */
	size_t discovery_count;
	const char *const *coordinator; /* as coord_parse_url(); none */
	size_t coordinator_count;
	bool portmap; /* ask the router for ports, when there is a server */
	/*
	 * A link over routers that nobody used for so long is let go, where
	 * both ends want that and can be woken (net_sleep_uv.c); 0: never.
	 */
	uint64_t sleep_ns;
	const char *const *stun; /* servers that see our address; none */
	size_t stun_count;
	const char *relay_listen; /* be a relay there; NULL: be none */
	bool relay_open;          /* for devices that are no peers, too */
	uint64_t relay_rate;      /* as relayd_set_rate() */
	const char *coord_listen; /* be a coordinator there; NULL: be none */
	const char *coord_dir;    /* what it keeps */
	bool coord_open;          /* others than peers may bring domains */
	bool coord_discovery;     /* answer HTTP there, too */
	/* Has cert.pem, key.pem for discovery servers; `where` is kept there.
	 */
	const char *identity_dir;
	const struct net_peer_config *peer;
	size_t peer_count;
};

/* How a peer is connected; borrowed for the call. */
struct net_peer_info {
	const char *address; /* "192.168.1.23:22000" */
	bool dialled;        /* we called it */
	bool lan;
	bool relayed;          /* `address` is the relay's */
	const char *transport; /* "tcp", "quic", "relay" */
	const char *tls;       /* "TLS1.3 AES-128-GCM ..." */
	uint32_t features;     /* enum feature bits both ends announced */
	uint64_t generation;   /* grows with each connection of this net */
};

struct net_callbacks {
	/* Send the ClusterConfig now.  `hello` is borrowed. */
	void (*on_peer_up)(void *arg, const struct devid *id,
	    const struct hello *hello, const struct net_peer_info *info);
	/* `reason` for people, and as the peer's Close said it. */
	void (*on_peer_down)(void *arg, const struct devid *id,
	    const char *reason);
	/*
	 * `m` is borrowed for the call.  For a RESPONSE with data, `data` owns
	 * its bytes (m->u.response.data lies inside) and the callee takes it;
	 * else NULL.  Ping and Close never come here.
	 */
	void (*on_message)(void *arg, const struct devid *id,
	    const struct message *m, struct payload *data);
	/* The bytes of the message sent with `tag` went to the system. */
	void (*on_sent)(void *arg, const struct devid *id, uint64_t tag);
	/*
	 * A stranger knocked; not for the same one within an hour, and not when
	 * very many do: net_status() has the list.
	 */
	void (*on_pending_device)(void *arg, const struct devid *id,
	    const char *name, const char *address);
	/* A peer answered a net_ping(): net_status() has the figure. */
	void (*on_echo)(void *arg, const struct devid *id);
};

/*
 * Start: binds the listeners and begins to dial.  ERR_* with nothing left
 * behind when a listen address is wrong or taken.  Borrows `log` (may be NULL)
 * and copies `callbacks`.  SIGPIPE is ignored from here on.
 */
int net_open(struct net **out, uv_loop_t *loop, const struct net_config *cfg,
    const struct net_callbacks *callbacks, void *arg, const struct log *log,
    struct err *err);
/*
 * A new configuration, at once: connections of peers that are gone or paused
 * end, new peers are dialled, listeners are moved.  On an error (an address in
 * it is wrong or taken) everything stays as it was.
 */
int net_configure(struct net *net, const struct net_config *cfg,
    struct err *err);
/*
 * Stop: says Close to every peer (waiting at most a second), closes every
 * handle, then calls `on_closed` once, after which `net` is gone.  on_peer_down
 * comes for each peer before that.
 */
void net_close(struct net *net, void (*on_closed)(void *arg), void *arg);

/*
 * Queue a message for a connected peer.  Takes `data` whatever happens: the
 * bytes of a RESPONSE (m->u.response.data is ignored then), else NULL.
 * `tag` != 0 asks for on_sent().  To a peer that is asleep it is lost, and
 * wakes it: a down comes, and an up.  ERR_CLOSED: not connected; ERR_LIMIT:
 * LIMIT_SENDQ_LEN bytes wait already, nothing was queued.
 */
int net_send(struct net *net, const struct devid *id, const struct message *m,
    struct payload *data, uint64_t tag);
/* Bytes waiting to go to this peer; 0 when it is not connected. */
size_t net_queued(const struct net *net, const struct devid *id);
/* Send Close with `reason` and end the connection; the down comes later. */
void net_drop(struct net *net, const struct devid *id, const char *reason);
/* Stop or go on taking messages from this peer: back-pressure to its TCP. */
void net_pause_reading(struct net *net, const struct devid *id, bool pause);

/* Questions that a peer's program answers, and how long the last one took. */
struct net_echo {
	uint64_t asked, answered;       /* numbers of the last ones; 0: none */
	uint64_t rtt_ns;                /* of `answered`, as all that follows */
	bool refused;                   /* by policy there */
	char name[LIMIT_ECHO_TEXT + 1]; /* what we are called there; or "" */
	char seen[LIMIT_ECHO_TEXT + 1]; /* where we come from, there; or "" */
	uint64_t uptime_s;
};

/*
 * Ask a peer for a sign of life.  With FEATURE_ECHO its program answers, and
 * net_echo counts; else it is a Ping, which makes the transport measure its
 * own round trip anew.  The question's number; 0: not connected, or asleep and
 * now being woken.
 */
uint64_t net_ping(struct net *net, const struct devid *id);
/* Policy changed: what its questions get from now on. */
void net_set_diag(struct net *net, const struct devid *id,
    enum net_answer answer);
/* Something is open with it that would not outlive its link: no sleep. */
void net_set_busy(struct net *net, const struct devid *id, bool busy);
/* The network changed or someone is impatient: dial and announce now. */
void net_refresh(struct net *net);

enum net_source { NET_CONFIGURED, NET_ANNOUNCED, NET_LOOKED_UP };

struct net_address_status {
	const char *address;
	bool found; /* by discovery */
	enum net_source source;
	bool dialling;
	bool in_use; /* the connection goes there */
	enum failure failure;
	const char *error; /* of the last dial; "" when it did not fail */
	int64_t tried_wall_ns;
	uint64_t retry_in_ns;
};

struct net_peer_status {
	struct devid id;
	const char *name;
	bool connected;
	bool asleep; /* connected, but for the link; then no address */
	bool paused;
	bool dialled, lan, relayed;
	enum mesh_detour detour; /* why relayed */
	const char *address;     /* "" when not connected */
	const char *transport;   /* as net_peer_info; "" */
	const char *tls;
	const char *client; /* "syncthing v1.19.2"; "" before the first Hello */
	uint32_t features;
	int64_t since_wall_ns;        /* of this connection */
	int64_t last_seen_wall_ns;    /* 0: never in this run */
	uint64_t bytes_in, bytes_out; /* since start; plaintext of BEP */
	/* 0: unknown.  By a relay: of the whole way, when it was opened. */
	uint64_t rtt_ns;
	struct net_echo echo;
	const char *last_error; /* why the last connection or dial ended */
	const struct net_address_status *way;
	size_t way_count;
};

struct net_pending_status {
	struct devid id;
	const char *name;
	const char *address;
	int64_t wall_ns;
};

struct net_relayd_status { /* our own relay */
	bool serving;
	const char *listen; /* really bound */
	size_t members, sessions;
	uint64_t bytes; /* forwarded since it serves */
};

struct net_relay_status { /* where we wait to be asked for */
	const char *address;
	bool joined;
	const char *error; /* why not, or why not lately; "" when all is well */
};

struct net_discovery_status {
	const char *server;
	bool announced;    /* it knows where we are */
	const char *error; /* why it is of no use just now; "" when it is */
};

struct net_coordinator_status { /* our line to one; net_coord_uv.h */
	const char *address;
	bool up;
	struct devid id;   /* who it is; once up */
	uint64_t rtt_ns;   /* 0: unknown */
	const char *error; /* why it is not up; "" when it is */
	uint64_t bytes_in, bytes_out;
};

/* Connections that came up, dials and calls that did not, since the start. */
struct net_counts {
	uint64_t direct, relayed;
	uint64_t refused; /* others called, and nothing came of it */
	uint64_t failed[FAILURE_COUNT];
};

struct net_coordd_domain_status {
	struct coord_id id;
	const char *name;
	uint64_t entries;
	size_t members, here;
};

struct net_coordd_status { /* our own coordinator */
	bool serving;
	const char *listen;    /* really bound */
	uint16_t stun_port[2]; /* 0: it does not answer STUN */
	size_t domains, members, strangers, boxes;
	uint64_t bytes; /* told, since it serves */
	bool discovery; /* it is a discovery server, too: */
	size_t found_devices;
	uint64_t announced, found, missed, refused; /* since it serves */
	const struct net_coordd_domain_status *domain;
};

struct net_portmap_status {  /* a port that the router was asked for */
	const char *port;    /* "quic://:22000": of this device */
	bool open;           /* others can come that way */
	const char *address; /* what they dial; "" when it is not open */
	const char *method;  /* "pcp", "nat-pmp", "upnp" */
	const char *error;   /* why it is not; "" when it is, or not known */
};

struct net_status {
	struct net_counts counts;
	const char *const *listen; /* really bound, with ports */
	size_t listen_count;
	const struct net_peer_status *peer; /* in order of configuration */
	size_t peer_count;
	const struct net_pending_status *pending;
	size_t pending_count;
	bool announcing;
	const char *announce_error; /* "" when discovery works or is off */
	const char *clone; /* where a machine with our key is; "": nowhere */
	struct net_relayd_status relayd;
	const struct net_relay_status *relay;
	size_t relay_count;
	const struct net_discovery_status *discovery; /* servers */
	size_t discovery_count;
	const struct net_coordinator_status *coordinator;
	size_t coordinator_count;
	struct net_coordd_status coordd;
	const struct net_portmap_status *portmap;
	size_t portmap_count;
};

/* --- what is before us ------------------------------------------------- */

struct net_netcheck_family {
	unsigned asked, answered; /* servers' addresses */
	const char *mapped;       /* "203.0.113.5:22000"; "": none answered */
	enum natcheck_mapping mapping;
	enum natcheck_hairpin hairpin;
	uint64_t rtt_ns, age_ns; /* of the last answer */
	struct natlife_result life;
};

struct net_netcheck_server {
	const char *address;
	bool answered;
	uint64_t rtt_ns;
	const char *mapped; /* as this one sees us; "" */
	const char *error;  /* of its name; "" */
};

struct net_netcheck_relay {
	const char *address;
	bool waits, joined; /* we mean to be there, and are */
	uint64_t rtt_ns;    /* to the relay; 0: unknown */
	const char *error;
	const char *const *used_by; /* names of devices connected by it */
	size_t used_by_count;
};

struct net_netcheck {
	bool socket;     /* QUIC listens, bound to no address */
	bool running;    /* servers are being asked */
	uint64_t rounds; /* checks that are over */
	struct net_netcheck_family v4, v6;
	const struct net_netcheck_server *server;
	size_t server_count;
	const struct net_netcheck_relay *relay; /* the nearest first */
	size_t relay_count;
	uint64_t opened;                      /* ways, through routers */
	uint64_t failed[PUNCH_NO_ANSWER + 1]; /* attempts, by their end */
};

/* Ask the STUN servers anew; net_netcheck() tells when that is over. */
void net_check(struct net *net);
/* What is known; all of it lives in `ar`. */
void net_netcheck(const struct net *net, struct net_netcheck *out,
    struct arena *ar);

/* Everything at this moment; all of it lives in `ar`. */
void net_status(const struct net *net, struct net_status *out,
    struct arena *ar);

#endif
