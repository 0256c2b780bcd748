/*
 * The network; see net_uv.h.
 *
 * Work is done in two places: where libuv reports something (reads, ends), and
 * in the prepare handle, once before each wait: queued messages are encrypted
 * and written there, so that many small ones share a record and a system call.
 */
#include "mesh/net_uv.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/coord.h"
#include "mesh/link_uv.h"
#include "mesh/stun.h"

#define NET_CERT_NAME "syncthing"
#define NET_LOG_BURST 20 /* lines strangers can cause at once */
#define NET_LOG_REFILL_NS (6 * CLOCK_S)
#define NET_OUTSIDE 8u                 /* addresses of our routers' */
#define NET_CLOSE_NS (1500 * CLOCK_MS) /* for all the goodbyes */

/* --- small things ----------------------------------------------------- */

int64_t
net_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * (int64_t)CLOCK_S + ts.tv_nsec;
}

struct now
net_now(void)
{
	return (struct now){ .mono_ns = uv_hrtime(), .wall_ns = net_wall_ns() };
}

struct slice
net_key(const struct devid *id)
{
	return slice_of(id->b, DEVID_LEN);
}

struct net_peer *
net_find(const struct net *net, const struct devid *id)
{
	return map_find(&net->by_id, net_key(id));
}

/* May a line be written that strangers can cause at will? */
bool
net_may_log(struct net *net)
{
	const uint64_t now_ns = uv_hrtime();
	const uint64_t add = (now_ns - net->log_refill_ns) / NET_LOG_REFILL_NS;

	if (add > 0) {
		net->log_refill_ns = now_ns;
		net->log_tokens = add + net->log_tokens > NET_LOG_BURST
				      ? NET_LOG_BURST
				      : net->log_tokens + (unsigned)add;
	}
	if (net->log_tokens == 0) {
		net->log_lost++;
		return false;
	}
	net->log_tokens--;
	if (net->log_lost > 0) {
		log_warn(net->log, "mesh refuse suppressed=%u", net->log_lost);
		net->log_lost = 0;
	}
	return true;
}

/* --- ending ----------------------------------------------------------- */

static void
net_try_free(struct net *net)
{
	if (!net->closing || net->handles > 0)
		return;
	for (size_t i = 0; i < net->peer.len; i++)
		net_sleep_end(net, net->peer.item[i], "shutting down");
	for (size_t i = 0; i < net->peer.len; i++) {
		mem_free(net->peer.item[i]->name);
		mem_free(net->peer.item[i]->cert_name);
		mem_free(net->peer.item[i]);
	}
	VEC_FINI(&net->peer);
	VEC_FINI(&net->listener);
	VEC_FINI(&net->relay);
	map_fini(&net->by_id);
	mesh_free(net->mesh);
	net_coord_free(net->coord);
	net_nat_free(net->nat);
	mem_free(net->device_name);
	mem_free(net->client_version);
	if (net->on_closed != NULL)
		net->on_closed(net->closed_arg);
	mem_free(net);
}

void
net_handle_closed(void *arg)
{
	struct net *net = arg;

	net->handles--;
	net_try_free(net);
}

static void
net_uv_closed(uv_handle_t *handle)
{
	net_handle_closed(handle->data);
}

/* With the last connection gone, the loop's handles go too. */
void
net_close_handles(struct net *net)
{
	if (!net->closing || list_first(&net->links) != NULL ||
	    uv_is_closing((uv_handle_t *)&net->timer))
		return;
	uv_close((uv_handle_t *)&net->timer, net_uv_closed);
	uv_close((uv_handle_t *)&net->prepare, net_uv_closed);
	uv_close((uv_handle_t *)&net->idle, net_uv_closed);
}

static void net_arm(struct net *net);

static bool
net_on_near(void *arg, const struct announce *a)
{
	struct net *net = arg;
	bool fresh = false;

	for (size_t i = 0; i < a->address_count; i++)
		if (mesh_found(net->mesh, &a->id, &a->address[i], a->instance,
			uv_hrtime()))
			fresh = true;
	return fresh;
}

static void
net_on_globe(void *arg, const struct devid *id, const struct addr *addr,
    size_t count)
{
	struct net *net = arg;

	for (size_t i = 0; i < count; i++)
		(void)mesh_looked_up(net->mesh, id, &addr[i], uv_hrtime());
	net->armed_ns = CLOCK_NEVER;
	net_arm(net);
}

static void
net_seek(struct net *net)
{
	const size_t cap = net->peer.len + 1;
	struct devid *sought;

	if (net->globe == NULL || net->closing)
		return;
	net->sought = mesh_changes(net->mesh);
	sought = mem_array(cap, sizeof(*sought));
	globe_want(net->globe, sought, mesh_sought(net->mesh, sought, cap));
	mem_free(sought);
}

struct net_parsed {
	VEC(struct addr) listen;
	VEC(struct addr) relay;
	VEC(struct mesh_peer_config) peer;
	VEC(struct finder_server) discovery;
	VEC(struct coord_url) coordinator;
	VEC(struct addr) stun;
	struct arena arena;
};

static void
net_parsed_fini(struct net_parsed *in)
{
	VEC_FINI(&in->listen);
	VEC_FINI(&in->relay);
	VEC_FINI(&in->peer);
	VEC_FINI(&in->discovery);
	VEC_FINI(&in->coordinator);
	VEC_FINI(&in->stun);
	arena_fini(&in->arena);
}

/* --- scope ------------------------------------------------------------ */

/* What is configured outside is not used; said once for each. */
static bool
net_leaves_out(const struct net *net, const struct net_config *cfg,
    const struct addr *at, const char *what, const char *text)
{
	if (!cfg->lan_only || addr_is_lan(at))
		return false;
	log_warn(net->log,
	    "mesh leave-out what=%s address=%s reason=\"mesh.scope is lan\"",
	    what, text);
	return true;
}

/* The host of "https://HOST[:PORT]/..." as an address. */
static void
net_url_host(const char *url, struct addr *out)
{
	const char *host = strstr(url, "://");
	const size_t len = host != NULL ? strcspn(host + 3, "/?") : 0;
	char text[ADDR_HOST_MAX + 32];

	*out = (struct addr){ .host = ADDR_NAME };
	if (len == 0 || len >= sizeof(text) - 6)
		return;
	snprintf(text, sizeof(text), "tcp://%.*s", (int)len, host + 3);
	(void)addr_parse(out, slice_str(text), NULL);
}

static void
net_parsed_narrow(const struct net *net, struct net_parsed *in,
    const struct net_config *cfg)
{
	char text[ADDR_TEXT_MAX];
	struct addr at;

	for (size_t i = in->discovery.len; i-- > 0;) {
		net_url_host(in->discovery.item[i].url, &at);
		if (net_leaves_out(net, cfg, &at, "discovery",
			in->discovery.item[i].url))
			VEC_DROP(&in->discovery, i);
	}
	for (size_t i = in->coordinator.len; i-- > 0;) {
		addr_text(&in->coordinator.item[i].at, text);
		if (net_leaves_out(net, cfg, &in->coordinator.item[i].at,
			"coordinator", text))
			VEC_DROP(&in->coordinator, i);
	}
	for (size_t i = in->relay.len; i-- > 0;) {
		addr_text(&in->relay.item[i], text);
		if (net_leaves_out(net, cfg, &in->relay.item[i], "relay", text))
			VEC_DROP(&in->relay, i);
	}
	for (size_t i = in->stun.len; i-- > 0;) {
		addr_text_host(&in->stun.item[i], text);
		if (net_leaves_out(net, cfg, &in->stun.item[i], "stun", text))
			VEC_DROP(&in->stun, i);
	}
}

static void
net_set_scope(struct net *net, bool lan_only)
{
	if (lan_only != net->lan_only)
		net->leave = lan_only;
	net->lan_only = lan_only;
	mesh_set_lan_only(net->mesh, lan_only);
	for (size_t i = 0; i < net->listener.len; i++)
		if (net->listener.item[i].quic != NULL)
			quic_set_lan_only(net->listener.item[i].quic, lan_only);
	if (net->quic != NULL)
		quic_set_lan_only(net->quic, lan_only);
	if (net->near != NULL)
		near_set_lan_only(net->near, lan_only);
	if (net->relayd != NULL)
		relayd_set_lan_only(net->relayd, lan_only);
	if (net->coordd != NULL)
		coordd_set_lan_only(net->coordd, lan_only);
	net_nat_set_lan_only(net, lan_only);
}

/* From the loop: its owner hears of each. */
static void
net_leave(struct net *net)
{
	struct list_node *node = list_first(&net->links);

	net->leave = false;
	while (node != NULL) {
		struct link *l = LIST_ITEM(node, struct link, node);
		struct net_peer *p = l->peer;

		/* Freed later, from the loop: the next one stays valid. */
		node = list_next(&net->links, node);
		if (l->ended || addr_is_lan(conn_address(l->conn)))
			continue;
		link_abort(l);
		if (p == NULL)
			continue;
		if (p->link == l)
			mesh_down(net->mesh, &p->id, uv_hrtime());
		link_unlink_peer(l, "mesh.scope is lan");
	}
}

/* --- the loop --------------------------------------------------------- */

static void
net_tick(struct net *net, uint64_t now_ns)
{
	struct list_node *node = list_first(&net->links);

	while (node != NULL) {
		struct link *l = LIST_ITEM(node, struct link, node);

		/* Freed later, from the loop: the next one stays valid. */
		node = list_next(&net->links, node);
		if (l->ended)
			continue;
		if (net->closing && now_ns >= net->close_by_ns) {
			link_abort(l);
			if (l->peer != NULL)
				link_unlink_peer(l, "shutting down");
			continue;
		}
		if (conn_wake_at(l->conn) <= now_ns)
			conn_tick(l->conn, now_ns);
	}
	if (net->near != NULL)
		near_tick(net->near, now_ns);
	if (net->globe != NULL) {
		if (net->sought != mesh_changes(net->mesh))
			net_seek(net);
		globe_tick(net->globe, now_ns);
	}
	for (size_t i = 0; i < net->relay.len; i++)
		waiting_tick(net->relay.item[i].waiting, now_ns);
	if (!net->closing)
		net_sleep_tick(net, now_ns);
	net_nat_tick(net, now_ns);
	link_dial_due(net, now_ns);
}

static uint64_t
net_wake_at(const struct net *net, uint64_t now_ns)
{
	uint64_t at = CLOCK_NEVER;

	for (struct list_node *node = list_first(&net->links); node != NULL;
	     node = list_next(&net->links, node)) {
		const struct link *l = LIST_ITEM(node, struct link, node);

		if (!l->ended && conn_wake_at(l->conn) < at)
			at = conn_wake_at(l->conn);
	}
	if (net->closing)
		return net->close_by_ns < at ? net->close_by_ns : at;
	if (net->near != NULL && near_wake_at(net->near) < at)
		at = near_wake_at(net->near);
	if (net->globe != NULL && net->sought != mesh_changes(net->mesh))
		return now_ns;
	if (net->globe != NULL && globe_wake_at(net->globe) < at)
		at = globe_wake_at(net->globe);
	for (size_t i = 0; i < net->relay.len; i++)
		if (waiting_wake_at(net->relay.item[i].waiting) < at)
			at = waiting_wake_at(net->relay.item[i].waiting);
	if (net_nat_wake_at(net, now_ns) < at)
		at = net_nat_wake_at(net, now_ns);
	if (net_sleep_wake_at(net, now_ns) < at)
		at = net_sleep_wake_at(net, now_ns);
	if (mesh_wake_at(net->mesh, now_ns) < at)
		at = mesh_wake_at(net->mesh, now_ns);
	return at;
}

static void net_on_timer(uv_timer_t *timer);

void
net_wake(struct net *net)
{
	net->armed_ns = CLOCK_NEVER;
	net_arm(net);
}

/* Arm for the next deadline; one that moved away is found when it fires. */
static void
net_arm(struct net *net)
{
	const uint64_t now_ns = uv_hrtime();
	const uint64_t at = net_wake_at(net, now_ns);

	if (at >= net->armed_ns && net->armed_ns > now_ns)
		return;
	net->armed_ns = at;
	timer_uv_arm(&net->timer, net_on_timer, at);
}

static void
net_on_timer(uv_timer_t *timer)
{
	struct net *net = timer->data;

	net->armed_ns = CLOCK_NEVER;
	net_tick(net, uv_hrtime());
}

static void
net_on_idle(uv_idle_t *idle)
{
	(void)idle; /* it exists so that the loop does not wait */
}

static void
net_on_prepare(uv_prepare_t *prepare)
{
	struct net *net = prepare->data;
	size_t turns = net->work.count;
	struct list_node *node;

	if (net->leave)
		net_leave(net);
	/* Each link once; those with more to do get their turn next round. */
	while (turns-- > 0 && (node = list_first(&net->work)) != NULL) {
		struct link *l = LIST_ITEM(node, struct link, work);

		list_remove(&net->work, node);
		if (!l->ended && conn_work(l->conn) && !l->ended &&
		    !list_has(&l->work))
			list_add(&net->work, &l->work);
	}
	if (list_first(&net->work) != NULL)
		uv_idle_start(&net->idle, net_on_idle);
	else
		uv_idle_stop(&net->idle);
	net_arm(net);
}

/* --- configuration ---------------------------------------------------- */

static int
net_parse_peer(struct net_parsed *in, const struct net_peer_config *cfg,
    struct err *err)
{
	struct mesh_peer_config *peer = VEC_ADD(&in->peer);
	struct addr *addr =
	    arena_array(&in->arena, cfg->address_count + 1, sizeof(*addr));

	*peer = (struct mesh_peer_config){ .id = cfg->id,
		.name = cfg->name,
		.address = addr,
		.address_count = cfg->address_count,
		.paused = cfg->paused };
	if (cfg->address_count > LIMIT_PEER_ADDRESSES)
		return err_set(err, ERR_LIMIT,
		    "device %s: at most %u addresses", cfg->name,
		    LIMIT_PEER_ADDRESSES);
	for (size_t i = 0; i < cfg->address_count; i++) {
		const int rc =
		    addr_parse(&addr[i], slice_str(cfg->address[i]), err);

		if (rc < 0) {
			err_wrap(err, "device %s: address \"%s\"",
			    cfg->name != NULL ? cfg->name : "",
			    cfg->address[i]);
			return rc;
		}
	}
	return 0;
}

static int
net_parse_coordinators(struct net_parsed *in, const struct net_config *cfg,
    struct err *err)
{
	if (cfg->coordinator_count > LIMIT_COORDINATORS)
		return err_set(err, ERR_LIMIT, "at most %u coordinators",
		    LIMIT_COORDINATORS);
	for (size_t i = 0; i < cfg->coordinator_count; i++) {
		const int rc = coord_parse_url(VEC_ADD(&in->coordinator),
		    slice_str(cfg->coordinator[i]), err);

		if (rc < 0) {
			err_wrap(err, "coordinator \"%s\"",
			    cfg->coordinator[i]);
			return rc;
		}
	}
	return 0;
}

/* Everything that can be wrong, before anything changes. */
static int
net_parse(struct net_parsed *in, const struct net_config *cfg, struct err *err)
{
	int rc;

	if (cfg->peer_count > LIMIT_PEERS)
		return err_set(err, ERR_LIMIT, "at most %u devices",
		    LIMIT_PEERS);
	for (size_t i = 0; i < cfg->listen_count; i++) {
		struct addr *at = VEC_ADD(&in->listen);

		rc = addr_parse(at, slice_str(cfg->listen[i]), err);
		if (rc == 0 && at->scheme == ADDR_DYNAMIC)
			rc = err_set(err, ERR_INVALID,
			    "\"dynamic\" is nothing to listen on");
		if (rc < 0) {
			err_wrap(err, "listen \"%s\"", cfg->listen[i]);
			return rc;
		}
		if (at->scheme == ADDR_RELAY)
			*VEC_ADD(&in->relay) = *at;
		if (at->scheme != ADDR_TCP && at->scheme != ADDR_QUIC)
			in->listen.len--; /* nothing to bind */
	}
	if (cfg->discovery_count > LIMIT_FINDER_SERVERS)
		return err_set(err, ERR_LIMIT, "at most %u discovery servers",
		    LIMIT_FINDER_SERVERS);
	for (size_t i = 0; i < cfg->discovery_count; i++) {
		rc = finder_parse_server(VEC_ADD(&in->discovery),
		    slice_str(cfg->discovery[i]), err);
		if (rc < 0) {
			err_wrap(err, "discovery \"%s\"", cfg->discovery[i]);
			return rc;
		}
	}
	if (cfg->stun_count > LIMIT_STUN_SERVERS)
		return err_set(err, ERR_LIMIT, "at most %u STUN servers",
		    LIMIT_STUN_SERVERS);
	for (size_t i = 0; i < cfg->stun_count; i++) {
		rc = stun_parse_server(VEC_ADD(&in->stun),
		    slice_str(cfg->stun[i]), err);
		if (rc < 0) {
			err_wrap(err, "stun \"%s\"", cfg->stun[i]);
			return rc;
		}
	}
	for (size_t i = 0; i < cfg->peer_count; i++) {
		rc = net_parse_peer(in, &cfg->peer[i], err);
		if (rc < 0)
			return rc;
	}
	return net_parse_coordinators(in, cfg, err);
}

static void
net_set_text(char **at, const char *text)
{
	mem_free(*at);
	*at = mem_strdup(text != NULL ? text : "");
}

static void
net_set_peer(struct net *net, const struct net_peer_config *cfg)
{
	struct net_peer *p = net_find(net, &cfg->id);

	if (p == NULL) {
		p = mem_zalloc(sizeof(*p));
		p->id = cfg->id;
		map_put(&net->by_id, net_key(&p->id), p);
	}
	p->keep = true;
	p->removed = false;
	net_set_text(&p->name, cfg->name);
	net_set_text(&p->cert_name,
	    cfg->cert_name != NULL && cfg->cert_name[0] != '\0'
		? cfg->cert_name
		: NET_CERT_NAME);
	p->compression = cfg->compression;
	p->diag = cfg->diag;
	p->paused = cfg->paused;
}

static void
net_set_peers(struct net *net, const struct net_config *cfg)
{
	VEC(struct net_peer *) next = { 0 };

	for (size_t i = 0; i < net->peer.len; i++)
		net->peer.item[i]->keep = false;
	for (size_t i = 0; i < cfg->peer_count; i++) {
		struct net_peer *p = net_find(net, &cfg->peer[i].id);

		if (devid_equal(&cfg->peer[i].id,
			identity_devid(net->identity)) ||
		    (p != NULL && p->keep))
			continue;
		net_set_peer(net, &cfg->peer[i]);
		*VEC_ADD(&next) = net_find(net, &cfg->peer[i].id);
	}
	for (size_t i = 0; i < net->peer.len; i++) {
		struct net_peer *p = net->peer.item[i];

		if (!p->keep) {
			p->removed = true;
			*VEC_ADD(&next) = p;
		}
		if (p->better != NULL && (p->removed || p->paused))
			link_abort(p->better);
		if (p->link != NULL && (p->removed || p->paused))
			conn_close(p->link->conn,
			    p->removed ? "device removed" : "device paused");
	}
	VEC_FINI(&net->peer);
	net->peer.item = next.item;
	net->peer.len = next.len;
	net->peer.cap = next.cap;
	link_forget_removed(net);
}

/* Dials to peers that are gone or paused. */
static void
net_stop_stray_dials(struct net *net)
{
	struct list_node *node = list_first(&net->links);

	while (node != NULL) {
		struct link *l = LIST_ITEM(node, struct link, node);

		node = list_next(&net->links, node);
		if (l->dialled && !l->ended && l->peer == NULL &&
		    (!mesh_has(net->mesh, &l->dial.id) ||
			mesh_is_paused(net->mesh, &l->dial.id)))
			link_abort(l);
	}
}

/* --- being found ------------------------------------------------------ */

/*
 * Where others may find us: our listeners, and relays where we have a place;
 * who is not near, at the ports of our router, too, and servers far away are
 * told how we are seen from there.
 */
static void
net_tell_addresses(struct net *net)
{
	struct addr mapped[PORTMAP_PORTS], outside[NET_OUTSIDE];
	const size_t mapped_count = net_portmap_own(net, mapped);
	VEC(struct addr) at = { 0 };
	size_t count;

	for (size_t i = 0; i < net->listener.len; i++)
		*VEC_ADD(&at) = net->listener.item[i].bound;
	for (size_t i = 0; i < net->relay.len; i++)
		if (waiting_has_place(net->relay.item[i].waiting))
			*VEC_ADD(&at) =
			    *waiting_address(net->relay.item[i].waiting);
	if (net->near != NULL)
		near_set_addresses(net->near, at.item, at.len);
	for (size_t i = 0; i < mapped_count; i++)
		*VEC_ADD(&at) = mapped[i];
	/*
	 * Not what STUN servers see: members are called by signals, and who
	 * knocks there before that can spoil it (punch.h).
	 */
	net_nat_set_portmapped(net, mapped, mapped_count);
	net_coord_set_own(net->coord, at.item, at.len);
	count = net_nat_addresses(net, outside, NET_OUTSIDE);
	for (size_t i = 0; i < count; i++)
		*VEC_ADD(&at) = outside[i];
	if (net->globe != NULL)
		globe_set_addresses(net->globe, at.item, at.len);
	VEC_FINI(&at);
}

void
net_on_addresses(void *arg)
{
	struct net *net = arg;

	if (net->closing)
		return;
	net_tell_addresses(net);
	net->armed_ns = CLOCK_NEVER;
	net_arm(net);
}

static void
net_drop_relays(struct net *net)
{
	for (size_t i = 0; i < net->relay.len;) {
		if (net->relay.item[i].keep) {
			i++;
			continue;
		}
		waiting_close(net->relay.item[i].waiting, net_handle_closed,
		    net);
		VEC_DROP(&net->relay, i);
	}
}

static void
net_set_relays(struct net *net, const struct net_parsed *in)
{
	static const struct waiting_callbacks callbacks = {
		.on_stream = link_on_relayed,
		.on_change = net_on_addresses,
	};

	for (size_t i = 0; i < net->relay.len; i++)
		net->relay.item[i].keep = false;
	for (size_t k = 0; k < in->relay.len; k++) {
		struct net_relay *r = NULL;

		for (size_t i = 0; i < net->relay.len; i++)
			if (addr_equal(
				waiting_address(net->relay.item[i].waiting),
				&in->relay.item[k]))
				r = &net->relay.item[i];
		if (r == NULL) {
			r = VEC_ADD(&net->relay);
			net->handles++;
			r->waiting = waiting_open(net->loop, net->identity,
			    &in->relay.item[k], &callbacks, net, net->log);
		}
		r->keep = true;
	}
	net_drop_relays(net);
}

static void
net_set_near(struct net *net, const struct net_config *cfg)
{
	const uint16_t port =
	    cfg->announce_port != 0 ? cfg->announce_port : ANNOUNCE_PORT;

	if (net->near != NULL && (!cfg->announce || port != net->near_port)) {
		near_close(net->near, net_handle_closed, net);
		net->near = NULL;
	}
	if (net->near == NULL && cfg->announce) {
		net->near_port = port;
		net->near = near_open(net->loop, identity_devid(net->identity),
		    port, net_on_near, net, net->log);
		net->handles++;
	}
}

static void
net_set_globe(struct net *net, const struct net_parsed *in,
    const struct net_config *cfg)
{
	struct err err = { 0 };

	if (in->discovery.len == 0 && net->globe != NULL) {
		globe_close(net->globe, net_handle_closed, net);
		net->globe = NULL;
	}
	if (in->discovery.len > 0 && net->globe == NULL) {
		if (globe_open(&net->globe, net->loop, cfg->identity_dir,
			net_on_globe, net, net->log, &err) < 0) {
			log_error(net->log, "mesh discovery: %s", err.text);
			return;
		}
		net->handles++;
	}
	if (net->globe == NULL)
		return;
	globe_set_servers(net->globe, in->discovery.item, in->discovery.len);
	net_seek(net);
}

/* --- our own relay ---------------------------------------------------- */

static bool
net_may_relay(void *arg, const struct devid *id)
{
	const struct net *net = arg;

	return net->relayd_is_open || mesh_has(net->mesh, id) ||
	       devid_equal(id, identity_devid(net->identity));
}

static void
net_drop_relayd(struct net *net)
{
	if (net->relayd != NULL)
		relayd_close(net->relayd, net_handle_closed, net);
	net->relayd = NULL;
}

/* Before anything else changes: nothing did when it fails. */
static int
net_set_relayd(struct net *net, const struct net_config *cfg, struct err *err)
{
	struct relayd *next;
	struct addr at;
	int rc = 0;

	if (cfg->relay_listen == NULL) {
		net_drop_relayd(net);
		return 0;
	}
	rc = addr_parse(&at, slice_str(cfg->relay_listen), err);
	if (rc == 0 && at.scheme != ADDR_TCP)
		rc = err_set(err, ERR_INVALID, "must be tcp://HOST:PORT");
	if (rc == 0 &&
	    (net->relayd == NULL || !addr_equal(&at, &net->relayd_at))) {
		rc = relayd_open(&next, net->loop, net->identity, &at,
		    net_may_relay, net, net->log, err);
		if (rc == 0) {
			net_drop_relayd(net);
			net->relayd = next;
			net->relayd_at = at;
			net->handles++;
		}
	}
	if (rc < 0) {
		err_wrap(err, "relay");
		return rc;
	}
	net->relayd_is_open = cfg->relay_open;
	relayd_set_rate(net->relayd, cfg->relay_rate);
	return 0;
}

int
net_configure(struct net *net, const struct net_config *cfg, struct err *err)
{
	struct net_parsed in = { 0 };
	int rc;

	ASSERT(!net->closing);
	rc = net_parse(&in, cfg, err);
	if (rc == 0)
		rc = net_set_relayd(net, cfg, err);
	if (rc == 0)
		rc = net_coord_serve(net, cfg, err);
	if (rc == 0) {
		rc = link_listen(net, in.listen.item, in.listen.len, err);
		net_nat_follow_sockets(net);
	}
	if (rc == 0) {
		net_set_text(&net->device_name, cfg->device_name);
		net_set_text(&net->client_version, cfg->client_version);
		net->features = cfg->features;
		net->sleep_ns = cfg->sleep_ns;
		mesh_configure(net->mesh, in.peer.item, in.peer.len,
		    uv_hrtime());
		net_set_peers(net, cfg);
		net_stop_stray_dials(net);
		net_parsed_narrow(net, &in, cfg);
		net_set_near(net, cfg);
		net_set_globe(net, &in, cfg);
		net_coord_configure(net->coord, in.coordinator.item,
		    in.coordinator.len);
		net_set_relays(net, &in);
		/* Nobody else could be told of such a port, or may use it. */
		net_portmap_set(net,
		    cfg->portmap && !cfg->lan_only &&
			in.discovery.len + in.coordinator.len > 0);
		net_set_scope(net, cfg->lan_only);
		net_nat_set_servers(net, in.stun.item, in.stun.len);
		net_tell_addresses(net);
		/* Dialling begins from the loop. */
		net->armed_ns = CLOCK_NEVER;
		net_arm(net);
	}
	net_parsed_fini(&in);
	return rc;
}

/* --- opening and closing ---------------------------------------------- */

static void
net_init_handles(struct net *net)
{
	uv_timer_init(net->loop, &net->timer);
	uv_prepare_init(net->loop, &net->prepare);
	uv_idle_init(net->loop, &net->idle);
	net->timer.data = net->prepare.data = net->idle.data = net;
	net->handles += 3;
	uv_prepare_start(&net->prepare, net_on_prepare);
	net->armed_ns = CLOCK_NEVER;
}

int
net_open(struct net **out, uv_loop_t *loop, const struct net_config *cfg,
    const struct net_callbacks *callbacks, void *arg, const struct log *log,
    struct err *err)
{
	struct net *net;
	uint64_t seed = 0;
	int rc;

	*out = NULL;
	/* A peer that goes away is an error of write(2), not the end of us. */
	signal(SIGPIPE, SIG_IGN);
	rc = uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL);
	if (rc != 0)
		return err_sys(err, -rc, "random numbers");
	net = mem_zalloc(sizeof(*net));
	net->loop = loop;
	net->identity = cfg->identity;
	net->log = log;
	net->cb = *callbacks;
	net->arg = arg;
	net->log_tokens = NET_LOG_BURST;
	net->log_refill_ns = net->opened_ns = uv_hrtime();
	list_init(&net->links);
	list_init(&net->work);
	net->mesh = mesh_new(identity_devid(cfg->identity), seed);
	net_init_handles(net);
	net->coord = net_coord_new(net, cfg->identity_dir);
	rc = net_nat_open(net, err);
	if (rc == 0)
		rc = net_configure(net, cfg, err);
	if (rc < 0) {
		net_close(net, NULL, NULL);
		return rc;
	}
	*out = net;
	return 0;
}

void
net_close(struct net *net, void (*on_closed)(void *arg), void *arg)
{
	struct list_node *node;

	ASSERT(!net->closing);
	net->closing = true;
	net->on_closed = on_closed;
	net->closed_arg = arg;
	net->close_by_ns = uv_hrtime() + NET_CLOSE_NS;
	link_stop_listening(net);
	if (net->near != NULL) {
		near_close(net->near, net_handle_closed, net);
		net->near = NULL;
	}
	if (net->globe != NULL) {
		globe_close(net->globe, net_handle_closed, net);
		net->globe = NULL;
	}
	net_coord_close(net->coord);
	net_portmap_set(net, false);
	net_nat_close(net);
	for (size_t i = 0; i < net->relay.len; i++)
		net->relay.item[i].keep = false;
	net_drop_relays(net);
	net_drop_relayd(net);
	net_coord_unserve(net);
	for (node = list_first(&net->links); node != NULL;
	     node = list_next(&net->links, node)) {
		struct link *l = LIST_ITEM(node, struct link, node);

		if (!l->ended)
			conn_close(l->conn, "shutting down");
	}
	net_arm(net);
	net_close_handles(net);
}

/* --- what the engine asks for ----------------------------------------- */

static struct link *
net_link_up(const struct net *net, const struct devid *id)
{
	const struct net_peer *p = net_find(net, id);

	return p != NULL && p->up ? p->link : NULL;
}

/* Somebody has something to say to it: true when it sleeps. */
static bool
net_rouse(struct net *net, const struct devid *id)
{
	struct net_peer *p = net_find(net, id);

	if (p == NULL || !p->asleep)
		return false;
	net_sleep_rouse(net, p, true);
	return true;
}

int
net_send(struct net *net, const struct devid *id, const struct message *m,
    struct payload *data, uint64_t tag)
{
	struct link *l = net_link_up(net, id);

	if (l == NULL) {
		payload_free(data);
		return net_rouse(net, id) ? 0 : ERR_CLOSED;
	}
	rest_use(&l->rest, uv_hrtime());
	return conn_send(l->conn, m, data, tag, NULL);
}

size_t
net_queued(const struct net *net, const struct devid *id)
{
	const struct link *l = net_link_up(net, id);

	return l != NULL ? conn_queued(l->conn) : 0;
}

void
net_drop(struct net *net, const struct devid *id, const char *reason)
{
	struct link *l = net_link_up(net, id);

	if (l != NULL)
		conn_close(l->conn, reason);
	else
		(void)net_rouse(net, id);
}

void
net_pause_reading(struct net *net, const struct devid *id, bool pause)
{
	struct link *l = net_link_up(net, id);

	if (l != NULL)
		conn_pause(l->conn, pause);
}

uint64_t
net_ping(struct net *net, const struct devid *id)
{
	struct message m = { .type = MESSAGE_PING };
	struct link *l = net_link_up(net, id);
	struct net_peer *p = net_find(net, id);

	if (l == NULL) {
		(void)net_rouse(net, id);
		return 0;
	}
	rest_use(&l->rest, uv_hrtime());
	p->echo.asked = ++net->pings;
	p->asked_ns = uv_hrtime();
	if ((conn_features(l->conn) & FEATURE_ECHO) != 0)
		m = (struct message){ .type = MESSAGE_ECHO,
			.u.echo = { .id = p->echo.asked, .more = true } };
	(void)conn_send(l->conn, &m, NULL, 0, NULL);
	return p->echo.asked;
}

void
net_set_diag(struct net *net, const struct devid *id, enum net_answer answer)
{
	struct net_peer *p = net_find(net, id);

	if (p != NULL)
		p->diag = answer;
}

void
net_set_busy(struct net *net, const struct devid *id, bool busy)
{
	struct net_peer *p = net_find(net, id);

	if (p != NULL)
		p->busy = busy;
}

void
net_refresh(struct net *net)
{
	net_sleep_rouse_all(net);
	mesh_refresh(net->mesh, uv_hrtime());
	if (net->near != NULL)
		near_refresh(net->near);
	if (net->globe != NULL)
		globe_refresh(net->globe);
	net_coord_refresh(net->coord);
	if (net->portmap != NULL)
		portmap_uv_refresh(net->portmap);
	net_nat_refresh(net);
	for (size_t i = 0; i < net->relay.len; i++)
		waiting_refresh(net->relay.item[i].waiting);
	net->armed_ns = CLOCK_NEVER;
	net_arm(net);
}

/* --- status ----------------------------------------------------------- */

static const char *
net_dup_text(struct arena *ar, const char *text)
{
	return arena_str(ar, slice_str(text != NULL ? text : ""));
}

static void
net_status_ways(const struct net *net, const struct net_peer *p,
    struct net_peer_status *out, struct arena *ar)
{
	const struct link *l = p->up ? p->link : NULL;
	const uint64_t now_ns = uv_hrtime();
	const struct mesh_address *a;
	struct net_address_status *way;
	char text[ADDR_TEXT_MAX];
	size_t count = 0;

	while (mesh_address_at(net->mesh, &p->id, count) != NULL)
		count++;
	way = arena_array(ar, count + 1, sizeof(*way));
	for (size_t i = 0; i < count; i++) {
		a = mesh_address_at(net->mesh, &p->id, i);
		addr_text(&a->addr, text);
		way[i] = (struct net_address_status){
			.address = net_dup_text(ar, text),
			.found = a->found,
			.source = a->looked_up ? NET_LOOKED_UP
				  : a->found   ? NET_ANNOUNCED
					       : NET_CONFIGURED,
			.dialling = a->dialling,
			.in_use = l != NULL && l->dialled &&
				  addr_equal(&l->dial.addr, &a->addr),
			.failure = a->failure,
			.error = net_dup_text(ar, a->error),
			.tried_wall_ns = a->tried_wall_ns,
			.retry_in_ns =
			    a->next_ns > now_ns ? a->next_ns - now_ns : 0,
		};
		if (mesh_leaves_out(net->mesh, &a->addr)) {
			way[i].failure = FAILURE_SCOPE;
			way[i].error = "mesh.scope is lan: not tried";
			way[i].retry_in_ns = 0;
		}
		if (way[i].error[0] != '\0' && p->error[0] == '\0' && !p->up)
			out->last_error = way[i].error;
	}
	out->way = way;
	out->way_count = count;
}

static void
net_status_peer(const struct net *net, const struct net_peer *p,
    struct net_peer_status *out, struct arena *ar)
{
	const struct link *l = p->up ? p->link : NULL;
	char text[ADDR_TEXT_MAX];

	*out = (struct net_peer_status){ .id = p->id,
		.name = net_dup_text(ar, p->name),
		.connected = l != NULL || p->asleep,
		.asleep = p->asleep,
		.paused = p->paused,
		.address = "",
		.transport = "",
		.tls = "",
		.client = net_dup_text(ar, p->client),
		.last_seen_wall_ns = p->seen_wall_ns,
		.bytes_in = p->bytes_in,
		.bytes_out = p->bytes_out,
		.last_error = net_dup_text(ar, p->error) };
	net_status_ways(net, p, out, ar);
	if (l == NULL)
		return;
	out->dialled = l->dialled;
	out->relayed = addr_is_relayed(conn_address(l->conn));
	out->detour = net_nat_detour(net, &p->id);
	out->lan = !out->relayed && addr_is_lan(conn_address(l->conn));
	addr_text_host(conn_address(l->conn), text);
	out->address = net_dup_text(ar, text);
	out->transport = addr_scheme_text(conn_address(l->conn)->scheme);
	out->tls = net_dup_text(ar, conn_tls_text(l->conn));
	out->features = conn_features(l->conn);
	out->since_wall_ns = p->since_wall_ns;
	out->last_seen_wall_ns =
	    net_wall_ns() - (int64_t)(uv_hrtime() - conn_heard_ns(l->conn));
	out->bytes_in += conn_bytes_in(l->conn);
	out->bytes_out += conn_bytes_out(l->conn);
	out->rtt_ns = conn_rtt_ns(l->conn);
	out->echo = p->echo;
}

static void
net_status_pending(const struct net *net, struct net_status *out,
    struct arena *ar)
{
	struct net_pending_status *pending;
	const struct mesh_stranger *s;
	size_t count = 0;

	while (mesh_stranger_at(net->mesh, count) != NULL)
		count++;
	pending = arena_array(ar, count + 1, sizeof(*pending));
	for (size_t i = 0; i < count; i++) {
		s = mesh_stranger_at(net->mesh, i);
		pending[i] = (struct net_pending_status){ .id = s->id,
			.name = net_dup_text(ar, s->name),
			.address = net_dup_text(ar, s->address),
			.wall_ns = s->wall_ns };
	}
	out->pending = pending;
	out->pending_count = count;
}

static void
net_status_discovery(const struct net *net, struct net_status *out,
    struct arena *ar)
{
	struct net_discovery_status *at =
	    arena_array(ar, LIMIT_FINDER_SERVERS, sizeof(*at));
	struct finder_state state;

	out->discovery = at;
	if (net->globe == NULL)
		return;
	while (out->discovery_count < LIMIT_FINDER_SERVERS &&
	       globe_state_at(net->globe, out->discovery_count, &state))
		at[out->discovery_count++] =
		    (struct net_discovery_status){ .server = net_dup_text(ar,
						       state.server->url),
			    .announced = state.announced,
			    .error = net_dup_text(ar, state.why) };
}

static void
net_status_relays(const struct net *net, struct net_status *out,
    struct arena *ar)
{
	struct net_relay_status *at =
	    arena_array(ar, net->relay.len + 1, sizeof(*at));
	char text[ADDR_TEXT_MAX];
	struct relayd_state state;

	if (net->relayd != NULL) {
		relayd_state(net->relayd, &state);
		addr_text(&state.bound, text);
		out->relayd = (struct net_relayd_status){ .serving = true,
			.listen = net_dup_text(ar, text),
			.members = state.members,
			.sessions = state.sessions,
			.bytes = state.bytes };
	}
	out->relay = at;
	out->relay_count = net->relay.len;
	for (size_t i = 0; i < net->relay.len; i++) {
		const struct waiting *w = net->relay.item[i].waiting;

		addr_text(waiting_address(w), text);
		at[i] = (struct net_relay_status){
			.address = net_dup_text(ar, text),
			.joined = waiting_has_place(w),
			.error = net_dup_text(ar, waiting_error(w)),
		};
	}
}

void
net_status(const struct net *net, struct net_status *out, struct arena *ar)
{
	struct net_peer_status *peer =
	    arena_array(ar, net->peer.len + 1, sizeof(*peer));
	const char **listen =
	    arena_array(ar, net->listener.len + 1, sizeof(*listen));
	char text[ADDR_TEXT_MAX];

	*out = (struct net_status){ .counts = net->counts,
		.listen = listen,
		.listen_count = net->listener.len,
		.peer = peer,
		.announcing = net->near != NULL,
		.announce_error = "" };
	for (size_t i = 0; i < net->listener.len; i++) {
		addr_text(&net->listener.item[i].bound, text);
		listen[i] = net_dup_text(ar, text);
	}
	for (size_t i = 0; i < net->peer.len; i++)
		if (!net->peer.item[i]->removed)
			net_status_peer(net, net->peer.item[i],
			    &peer[out->peer_count++], ar);
	net_status_pending(net, out, ar);
	net_status_discovery(net, out, ar);
	net_status_relays(net, out, ar);
	out->clone = net->near == NULL
			 ? ""
			 : net_dup_text(ar, near_clone(net->near, uv_hrtime()));
	net_coord_status(net->coord, out, ar);
	net_portmap_status(net, out, ar);
	if (net->near != NULL)
		out->announce_error = net_dup_text(ar, near_error(net->near));
}
