/*
 * The network; see net_uv.h.
 *
 * A link is a connection as the net sees it: which dial it came from, which
 * peer it turned out to be.  A peer has at most one link that counts; links of
 * strangers, of running dials and of those being ended have none.
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
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "mesh/conn_uv.h"
#include "mesh/mesh.h"
#include "mesh/near_uv.h"

#define NET_CERT_NAME "syncthing"
#define NET_LOG_BURST 20 /* lines strangers can cause at once */
#define NET_LOG_REFILL_NS (6 * CLOCK_S)
#define NET_CLOSE_NS (1500 * CLOCK_MS) /* for all the goodbyes */

struct link;

struct net_peer {
	struct devid id;
	char *name, *cert_name; /* owned */
	enum message_compression compression;
	bool paused, removed, keep;
	struct link *link; /* the one that counts; NULL when there is none */
	bool up;           /* on_peer_up() was called for it */
	uint64_t bytes_in, bytes_out; /* of connections that are over */
	int64_t since_wall_ns, seen_wall_ns;
	char client[128];
	char error[ERR_TEXT_MAX];
};

struct link {
	struct list_node node; /* in net->links */
	struct list_node work; /* in net->work, while it has something to do */
	struct net *net;
	struct conn *conn;
	struct net_peer *peer;  /* NULL until TLS is done, and for strangers */
	bool dialled, dialling; /* we called; the mesh counts the dial */
	bool ended;
	struct mesh_dial dial;
	struct devid id; /* after TLS */
	bool stranger;
	uint64_t generation;
};

struct net_listener {
	struct tcp_listener *tcp;
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
	struct list links, work;
	struct near *near; /* NULL: discovery is off */
	uint16_t near_port;
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
	unsigned log_tokens, log_lost;
	uint64_t log_refill_ns;
};

/* --- small things ----------------------------------------------------- */

static int64_t
net_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * (int64_t)CLOCK_S + ts.tv_nsec;
}

static struct now
net_now(void)
{
	return (struct now){ .mono_ns = uv_hrtime(), .wall_ns = net_wall_ns() };
}

static struct slice
net_key(const struct devid *id)
{
	return slice_of(id->b, DEVID_LEN);
}

static struct net_peer *
net_find(const struct net *net, const struct devid *id)
{
	return map_find(&net->by_id, net_key(id));
}

static const char *
net_address_text(const struct link *l, char out[ADDR_TEXT_MAX])
{
	addr_text_host(conn_address(l->conn), out);
	return out;
}

/* May a line be written that strangers can cause at will? */
static bool
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
	for (size_t i = 0; i < net->peer.len; i++) {
		mem_free(net->peer.item[i]->name);
		mem_free(net->peer.item[i]->cert_name);
		mem_free(net->peer.item[i]);
	}
	VEC_FINI(&net->peer);
	VEC_FINI(&net->listener);
	map_fini(&net->by_id);
	mesh_free(net->mesh);
	mem_free(net->device_name);
	mem_free(net->client_version);
	if (net->on_closed != NULL)
		net->on_closed(net->closed_arg);
	mem_free(net);
}

static void
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

/* A peer that is configured no more goes when its connection did. */
static void
net_forget_removed(struct net *net)
{
	for (size_t i = 0; i < net->peer.len;) {
		struct net_peer *p = net->peer.item[i];

		if (!p->removed || p->link != NULL) {
			i++;
			continue;
		}
		map_remove(&net->by_id, net_key(&p->id));
		mem_free(p->name);
		mem_free(p->cert_name);
		mem_free(p);
		memmove(&net->peer.item[i], &net->peer.item[i + 1],
		    (net->peer.len - i - 1) * sizeof(net->peer.item[0]));
		net->peer.len--;
	}
}

/* Take the link off its peer; tells of the down when there was an up. */
static void
net_unlink_peer(struct link *l, const char *why)
{
	struct net *net = l->net;
	struct net_peer *p = l->peer;
	const bool was_up = p->up;

	p->bytes_in += conn_bytes_in(l->conn);
	p->bytes_out += conn_bytes_out(l->conn);
	if (p->link != l)
		return;
	p->link = NULL;
	p->up = false;
	p->seen_wall_ns =
	    net_wall_ns() - (int64_t)(uv_hrtime() - conn_heard_ns(l->conn));
	snprintf(p->error, sizeof(p->error), "%s", why);
	if (was_up) {
		const struct devid id = p->id;

		log_info(net->log, "mesh down device=%s reason=\"%s\"", p->name,
		    why);
		net->cb.on_peer_down(net->arg, &id, why);
	}
	net_forget_removed(net);
}

static void
net_link_ended(struct link *l)
{
	l->ended = true;
	if (list_has(&l->work))
		list_remove(&l->net->work, &l->work);
}

/* End a link whose connection did nothing wrong. */
static void
net_abort(struct link *l)
{
	if (l->ended)
		return;
	net_link_ended(l);
	if (l->dialling)
		mesh_dial_ended(l->net->mesh, &l->dial);
	l->dialling = false;
	conn_abort(l->conn);
}

static void
net_on_end(void *arg, const struct err *err)
{
	struct link *l = arg;
	struct net *net = l->net;
	char address[ADDR_TEXT_MAX];
	struct net_peer *p = l->peer;
	const bool counted = p != NULL && p->link == l;
	const bool up = counted && p->up;

	if (l->ended)
		return;
	net_link_ended(l);
	if (counted)
		mesh_down(net->mesh, &p->id, uv_hrtime());
	if (l->dialling) {
		mesh_dial_failed(net->mesh, &l->dial, err->text, net_now());
		l->dialling = false;
	}
	net_address_text(l, address);
	if (l->dialled && !up && err->code == ERR_DENIED && net_may_log(net))
		log_warn(net->log,
		    "mesh dial device=%s address=%s reason=\"%s\"",
		    mesh_name(net->mesh, &l->dial.id), address, err->text);
	else if (l->dialled && !up)
		log_debug(net->log,
		    "mesh dial device=%s address=%s reason="
		    "\"%s\"",
		    mesh_name(net->mesh, &l->dial.id), address, err->text);
	else if (!up && !l->stranger && net_may_log(net))
		log_info(net->log, "mesh refuse address=%s reason=\"%s\"",
		    address, err->text);
	if (p != NULL)
		net_unlink_peer(l, err->text);
}

/* With the last connection gone, the loop's handles go too. */
static void
net_close_handles(struct net *net)
{
	if (!net->closing || list_first(&net->links) != NULL ||
	    uv_is_closing((uv_handle_t *)&net->timer))
		return;
	uv_close((uv_handle_t *)&net->timer, net_uv_closed);
	uv_close((uv_handle_t *)&net->prepare, net_uv_closed);
	uv_close((uv_handle_t *)&net->idle, net_uv_closed);
}

static void
net_on_freed(void *arg)
{
	struct link *l = arg;
	struct net *net = l->net;

	list_remove(&net->links, &l->node);
	mem_free(l);
	net_close_handles(net);
	net_handle_closed(net);
}

/* --- coming up -------------------------------------------------------- */

static void
net_fill_session(const struct net *net, const struct link *l,
    struct session_config *cfg)
{
	*cfg = (struct session_config){
		.hello = {
			.device_name = slice_str(net->device_name),
			.client_name = SLICE_LIT("holdfast"),
			.client_version = slice_str(net->client_version),
			.num_connections = 1,
			.timestamp = net_wall_ns(),
			.features = net->features,
		},
		.compression = l->peer != NULL ? l->peer->compression
					       : COMPRESSION_METADATA,
		.silent = l->stranger,
	};
}

/*
 * A second connection of a peer that we believe connected.  Should the first
 * be dead without anyone having noticed, the new one takes its place;
 * otherwise the first is asked, and the peer, refused, calls again.
 */
static bool
net_replace_stuck(struct net_peer *p)
{
	struct link *old = p->link;

	if (old == NULL || !p->up)
		return false;
	if (!conn_is_stuck(old->conn)) {
		conn_probe(old->conn);
		return false;
	}
	net_abort(old);
	mesh_down(old->net->mesh, &p->id, uv_hrtime());
	net_unlink_peer(old, "it stopped answering and called anew");
	return true;
}

static enum mesh_verdict
net_judge(struct link *l)
{
	struct net *net = l->net;
	const enum mesh_direction direction =
	    l->dialled ? MESH_DIALLED : MESH_ACCEPTED;
	struct net_peer *p = net_find(net, &l->id);
	enum mesh_verdict verdict;

	verdict = mesh_judge(net->mesh, &l->id, direction, uv_hrtime());
	if (verdict == MESH_SURPLUS && !l->dialled && p != NULL &&
	    net_replace_stuck(p))
		verdict = mesh_judge(net->mesh, &l->id, direction, uv_hrtime());
	return verdict;
}

static int
net_on_peer(void *arg, const struct devid *id, struct session_config *cfg,
    struct err *err)
{
	struct link *l = arg;
	struct net *net = l->net;
	struct net_peer *p = net_find(net, id);
	char text[DEVID_TEXT_LEN + 1];

	l->id = *id;
	devid_text(id, text);
	if (l->dialled && !devid_equal(id, &l->dial.id) &&
	    !devid_equal(id, identity_devid(net->identity)))
		return err_set(err, ERR_DENIED, "another device answers: %s",
		    text);
	switch (net_judge(l)) {
	case MESH_ACCEPT:
	case MESH_REPLACE:
		break;
	case MESH_OWN:
		return err_set(err, ERR_DENIED, "that is this device itself");
	case MESH_UNKNOWN:
		/* Heard, remembered, dropped; it learns nothing from us. */
		l->stranger = true;
		net_fill_session(net, l, cfg);
		return 0;
	case MESH_PAUSED:
		return err_set(err, ERR_DENIED, "device %s is paused",
		    mesh_name(net->mesh, id));
	case MESH_SURPLUS:
		if (l->dialling)
			mesh_dial_ended(net->mesh, &l->dial);
		l->dialling = false;
		return err_set(err, ERR_EXISTS,
		    "device %s is connected already", mesh_name(net->mesh, id));
	}
	ASSERT(p != NULL);
	/* The one that loses, or one that was being closed anyway. */
	if (p->link != NULL) {
		struct link *old = p->link;

		net_abort(old);
		net_unlink_peer(old, "replaced by a newer connection");
	}
	l->peer = p;
	p->link = l;
	net_fill_session(net, l, cfg);
	return 0;
}

static void
net_note_client(struct net_peer *p, const struct hello *hello)
{
	char name[64], version[60];

	mesh_clean_text(name, sizeof(name), hello->client_name);
	mesh_clean_text(version, sizeof(version), hello->client_version);
	snprintf(p->client, sizeof(p->client), "%s%s%s", name,
	    version[0] != '\0' ? " " : "", version);
}

static int
net_on_stranger(struct link *l, const struct hello *hello, struct err *err)
{
	struct net *net = l->net;
	char address[ADDR_TEXT_MAX], name[64], text[DEVID_TEXT_LEN + 1];

	net_address_text(l, address);
	mesh_clean_text(name, sizeof(name), hello->device_name);
	devid_text(&l->id, text);
	if (mesh_stranger_add(net->mesh, &l->id, hello->device_name, address,
		net_wall_ns()) &&
	    net_may_log(net)) {
		log_info(net->log, "mesh pending id=%s name=\"%s\" address=%s",
		    text, name, address);
		net->cb.on_pending_device(net->arg, &l->id, name, address);
	}
	return err_set(err, ERR_DENIED, "unknown device %s", text);
}

/* Other dials to a peer that is connected now lead nowhere. */
static void
net_stop_dials(struct net *net, const struct link *up)
{
	struct list_node *node = list_first(&net->links);

	while (node != NULL) {
		struct link *l = LIST_ITEM(node, struct link, node);

		node = list_next(&net->links, node);
		if (l != up && l->dialled && !l->ended &&
		    devid_equal(&l->dial.id, &up->id))
			net_abort(l);
	}
}

static int
net_on_hello(void *arg, const struct hello *hello, struct err *err)
{
	struct link *l = arg;
	struct net *net = l->net;
	struct net_peer *p = l->peer;
	char address[ADDR_TEXT_MAX];
	struct net_peer_info info;
	struct devid id;
	int rc;

	if (l->stranger)
		return net_on_stranger(l, hello, err);
	ASSERT(p != NULL && p->link == l && !p->up);
	rc = conn_check_name(l->conn, p->cert_name, err);
	if (rc < 0)
		return rc;
	mesh_up(net->mesh, &p->id, l->dialling ? &l->dial : NULL, uv_hrtime());
	l->dialling = false;
	net_stop_dials(net, l);
	net_note_client(p, hello);
	l->generation = ++net->generation;
	p->up = true;
	p->error[0] = '\0';
	p->since_wall_ns = net_wall_ns();
	net_address_text(l, address);
	info = (struct net_peer_info){ .address = address,
		.dialled = l->dialled,
		.lan = addr_is_lan(conn_address(l->conn)),
		.tls = conn_tls_text(l->conn),
		.features = conn_features(l->conn),
		.generation = l->generation };
	log_info(net->log,
	    "mesh up device=%s address=%s by=%s client=\"%s\" tls=\"%s\"",
	    p->name, address, l->dialled ? "us" : "peer", p->client, info.tls);
	id = p->id;
	net->cb.on_peer_up(net->arg, &id, hello, &info);
	return 0;
}

static void
net_on_message(void *arg, const struct message *m, struct payload *data)
{
	struct link *l = arg;
	const struct devid id = l->id;

	l->net->cb.on_message(l->net->arg, &id, m, data);
}

static void
net_on_sent(void *arg, uint64_t tag)
{
	struct link *l = arg;
	const struct devid id = l->id;

	l->net->cb.on_sent(l->net->arg, &id, tag);
}

static void
net_on_work(void *arg)
{
	struct link *l = arg;

	if (!l->ended && !list_has(&l->work))
		list_add(&l->net->work, &l->work);
}

static const struct conn_callbacks net_conn_callbacks = {
	.on_peer = net_on_peer,
	.on_hello = net_on_hello,
	.on_message = net_on_message,
	.on_sent = net_on_sent,
	.on_work = net_on_work,
	.on_end = net_on_end,
	.on_freed = net_on_freed,
};

static struct link *
net_link_new(struct net *net)
{
	struct link *l = mem_zalloc(sizeof(*l));

	l->net = net;
	list_add(&net->links, &l->node);
	net->handles++;
	return l;
}

/* --- accepting -------------------------------------------------------- */

static bool
net_same_host(const struct addr *a, const struct addr *b)
{
	const size_t len = a->host == ADDR_IP4 ? 4 : 8; /* v6: one /64 */

	return a->host == b->host && memcmp(a->ip, b->ip, len) == 0;
}

/*
 * Strangers may hold so many half-open connections and no more: from one
 * source the new one is refused, in all the oldest goes, because a peer of
 * ours needs milliseconds to become known.
 */
static bool
net_make_room(struct net *net, const struct addr *from)
{
	struct link *oldest = NULL;
	unsigned all = 0, same = 0;
	struct list_node *node;
	char text[ADDR_TEXT_MAX];

	for (node = list_first(&net->links); node != NULL;
	     node = list_next(&net->links, node)) {
		struct link *l = LIST_ITEM(node, struct link, node);

		if (l->dialled || l->ended || !conn_is_half_open(l->conn))
			continue;
		if (oldest == NULL)
			oldest = l;
		all++;
		if (net_same_host(conn_address(l->conn), from))
			same++;
	}
	if (same >= LIMIT_HALF_OPEN_SOURCE) {
		if (net_may_log(net)) {
			addr_text_host(from, text);
			log_warn(net->log,
			    "mesh refuse address=%s reason=\"%u half-open "
			    "connections from there\"",
			    text, same);
		}
		return false;
	}
	if (all >= LIMIT_HALF_OPEN) {
		struct net_peer *p = oldest->peer;

		net_abort(oldest);
		if (p != NULL && p->link == oldest) {
			mesh_down(net->mesh, &p->id, uv_hrtime());
			net_unlink_peer(oldest, "too many half-open");
		}
	}
	return true;
}

static void
net_on_accept(void *arg, struct tcp *stream, const struct addr *from)
{
	struct net *net = arg;
	struct link *l;

	if (net->closing || !net_make_room(net, from)) {
		tcp_close(stream, NULL, NULL);
		return;
	}
	l = net_link_new(net);
	l->conn = conn_accept(net->loop, net->identity, stream,
	    &net_conn_callbacks, l);
}

/* --- dialling --------------------------------------------------------- */

static void
net_dial_due(struct net *net, uint64_t now_ns)
{
	struct mesh_dial dial;

	while (!net->closing && mesh_next(net->mesh, now_ns, &dial)) {
		struct link *l = net_link_new(net);

		l->dialled = l->dialling = true;
		l->dial = dial;
		l->conn = conn_dial(net->loop, net->identity, &dial.addr,
		    &net_conn_callbacks, l);
	}
}

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
			net_abort(l);
			if (l->peer != NULL)
				net_unlink_peer(l, "shutting down");
			continue;
		}
		if (conn_wake_at(l->conn) <= now_ns)
			conn_tick(l->conn, now_ns);
	}
	if (net->near != NULL)
		near_tick(net->near, now_ns);
	net_dial_due(net, now_ns);
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
	if (mesh_wake_at(net->mesh, now_ns) < at)
		at = mesh_wake_at(net->mesh, now_ns);
	return at;
}

static void net_on_timer(uv_timer_t *timer);

/* Arm for the next deadline; one that moved away is found when it fires. */
static void
net_arm(struct net *net)
{
	const uint64_t now_ns = uv_hrtime();
	const uint64_t at = net_wake_at(net, now_ns);

	if (at >= net->armed_ns && net->armed_ns > now_ns)
		return;
	net->armed_ns = at;
	if (at == CLOCK_NEVER) {
		uv_timer_stop(&net->timer);
		return;
	}
	/* The loop's clock may lag behind: milliseconds from now. */
	uv_update_time(net->loop);
	uv_timer_start(&net->timer, net_on_timer,
	    at <= now_ns ? 0 : (at - now_ns + CLOCK_MS - 1) / CLOCK_MS, 0);
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

struct net_parsed {
	VEC(struct addr) listen;
	VEC(struct mesh_peer_config) peer;
	struct arena arena;
};

static void
net_parsed_fini(struct net_parsed *in)
{
	VEC_FINI(&in->listen);
	VEC_FINI(&in->peer);
	arena_fini(&in->arena);
}

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
		if (at->scheme != ADDR_TCP)
			in->listen.len--; /* known, not spoken yet */
	}
	for (size_t i = 0; i < cfg->peer_count; i++) {
		rc = net_parse_peer(in, &cfg->peer[i], err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
net_listen(struct net *net, const struct addr *at, struct err *err)
{
	struct net_listener next = { .at = *at, .keep = true };
	struct addr v4 = *at;
	int rc;

	rc = tcp_listen(&next.tcp, net->loop, at, net_on_accept, net,
	    &next.bound, err);
	if (rc < 0 && at->host == ADDR_NONE && at->family == ADDR_ANY) {
		/* A kernel without IPv6. */
		v4.family = ADDR_V4;
		rc = tcp_listen(&next.tcp, net->loop, &v4, net_on_accept, net,
		    &next.bound, err);
	}
	if (rc < 0)
		return rc;
	net->handles++;
	*VEC_ADD(&net->listener) = next;
	return 0;
}

static void
net_drop_listeners(struct net *net, bool keep)
{
	for (size_t i = 0; i < net->listener.len;) {
		if (net->listener.item[i].keep != keep) {
			i++;
			continue;
		}
		tcp_listener_close(net->listener.item[i].tcp, net_handle_closed,
		    net);
		VEC_DROP(&net->listener, i);
	}
}

/*
 * Move the listeners.  Those that go are closed first, because the new ones
 * may want their ports; when a new one fails, the old ones come back.
 */
static int
net_listen_all(struct net *net, const struct net_parsed *in, struct err *err)
{
	VEC(struct addr) gone = { 0 };
	int rc = 0;

	for (size_t i = 0; i < net->listener.len; i++) {
		struct net_listener *l = &net->listener.item[i];

		l->keep = false;
		for (size_t k = 0; k < in->listen.len; k++)
			if (addr_equal(&l->at, &in->listen.item[k]))
				l->keep = true;
		if (!l->keep)
			*VEC_ADD(&gone) = l->at;
	}
	net_drop_listeners(net, false);
	for (size_t i = 0; i < net->listener.len; i++)
		net->listener.item[i].keep = false; /* false: was there */
	for (size_t i = 0; rc == 0 && i < in->listen.len; i++) {
		bool there = false;

		for (size_t k = 0; k < net->listener.len; k++)
			if (addr_equal(&net->listener.item[k].at,
				&in->listen.item[i]))
				there = true;
		if (!there)
			rc = net_listen(net, &in->listen.item[i], err);
	}
	if (rc < 0) {
		net_drop_listeners(net, true);
		for (size_t i = 0; i < gone.len; i++)
			(void)net_listen(net, &gone.item[i], NULL);
	}
	VEC_FINI(&gone);
	return rc;
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
		if (p->link != NULL && (p->removed || p->paused))
			conn_close(p->link->conn,
			    p->removed ? "device removed" : "device paused");
	}
	VEC_FINI(&net->peer);
	net->peer.item = next.item;
	net->peer.len = next.len;
	net->peer.cap = next.cap;
	net_forget_removed(net);
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
			net_abort(l);
	}
}

static void
net_set_near(struct net *net, const struct net_config *cfg)
{
	const uint16_t port =
	    cfg->announce_port != 0 ? cfg->announce_port : ANNOUNCE_PORT;
	VEC(struct addr) at = { 0 };

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
	if (net->near == NULL)
		return;
	for (size_t i = 0; i < net->listener.len; i++)
		*VEC_ADD(&at) = net->listener.item[i].bound;
	near_set_addresses(net->near, at.item, at.len);
	VEC_FINI(&at);
}

int
net_configure(struct net *net, const struct net_config *cfg, struct err *err)
{
	struct net_parsed in = { 0 };
	int rc;

	ASSERT(!net->closing);
	rc = net_parse(&in, cfg, err);
	if (rc == 0)
		rc = net_listen_all(net, &in, err);
	if (rc == 0) {
		net_set_text(&net->device_name, cfg->device_name);
		net_set_text(&net->client_version, cfg->client_version);
		net->features = cfg->features;
		mesh_configure(net->mesh, in.peer.item, in.peer.len,
		    uv_hrtime());
		net_set_peers(net, cfg);
		net_stop_stray_dials(net);
		net_set_near(net, cfg);
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
	net->log_refill_ns = uv_hrtime();
	list_init(&net->links);
	list_init(&net->work);
	net->mesh = mesh_new(identity_devid(cfg->identity), seed);
	net_init_handles(net);
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
	net_drop_listeners(net, true);
	net_drop_listeners(net, false);
	if (net->near != NULL) {
		near_close(net->near, net_handle_closed, net);
		net->near = NULL;
	}
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

int
net_send(struct net *net, const struct devid *id, const struct message *m,
    struct payload *data, uint64_t tag)
{
	struct link *l = net_link_up(net, id);

	if (l == NULL) {
		payload_free(data);
		return ERR_CLOSED;
	}
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
}

void
net_pause_reading(struct net *net, const struct devid *id, bool pause)
{
	struct link *l = net_link_up(net, id);

	if (l != NULL)
		conn_pause(l->conn, pause);
}

void
net_refresh(struct net *net)
{
	mesh_refresh(net->mesh, uv_hrtime());
	if (net->near != NULL)
		near_refresh(net->near);
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
			.error = net_dup_text(ar, a->error),
			.tried_wall_ns = a->tried_wall_ns,
			.retry_in_ns =
			    a->next_ns > now_ns ? a->next_ns - now_ns : 0,
		};
		if (a->error[0] != '\0' && p->error[0] == '\0' && !p->up)
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
		.connected = l != NULL,
		.paused = p->paused,
		.address = "",
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
	out->lan = addr_is_lan(conn_address(l->conn));
	out->address = net_dup_text(ar, net_address_text(l, text));
	out->tls = net_dup_text(ar, conn_tls_text(l->conn));
	out->features = conn_features(l->conn);
	out->since_wall_ns = p->since_wall_ns;
	out->last_seen_wall_ns =
	    net_wall_ns() - (int64_t)(uv_hrtime() - conn_heard_ns(l->conn));
	out->bytes_in += conn_bytes_in(l->conn);
	out->bytes_out += conn_bytes_out(l->conn);
	out->rtt_ns = conn_rtt_ns(l->conn);
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

void
net_status(const struct net *net, struct net_status *out, struct arena *ar)
{
	struct net_peer_status *peer =
	    arena_array(ar, net->peer.len + 1, sizeof(*peer));
	const char **listen =
	    arena_array(ar, net->listener.len + 1, sizeof(*listen));
	char text[ADDR_TEXT_MAX];

	*out = (struct net_status){ .listen = listen,
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
	if (net->near != NULL)
		out->announce_error = net_dup_text(ar, near_error(net->near));
}
