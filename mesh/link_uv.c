/*
 * Links; see link_uv.h.  How connections come up, who may, and how they end.
 */
#include "mesh/link_uv.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/stream_relay_uv.h"
#include "mesh/stream_tls_uv.h"

static const char *
link_address_text(const struct link *l, char out[ADDR_TEXT_MAX])
{
	addr_text_host(conn_address(l->conn), out);
	return out;
}

/* --- ending ----------------------------------------------------------- */

/* A peer that is configured no more goes when its connection did. */
void
link_forget_removed(struct net *net)
{
	for (size_t i = 0; i < net->peer.len;) {
		struct net_peer *p = net->peer.item[i];

		if (!p->removed || p->link != NULL || p->asleep) {
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
void
link_unlink_peer(struct link *l, const char *why)
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
		net_nat_follow_peer(net, &id);
	}
	link_forget_removed(net);
}

/* The connection that was to take a relayed one's place is no more. */
static void
link_drop_better(struct link *l)
{
	struct net_peer *p = net_find(l->net, &l->id);

	if (!l->better)
		return;
	l->better = false;
	mesh_better_down(l->net->mesh, &l->id);
	if (p != NULL && p->better == l)
		p->better = NULL;
}

/* The relayed one ended first: what was to take its place has it now. */
static void
link_promote_better(struct net *net, const struct devid *id)
{
	struct net_peer *p = net_find(net, id);
	struct link *l = p != NULL ? p->better : NULL;

	if (l == NULL || p->link != NULL)
		return;
	p->better = NULL;
	p->link = l;
	l->better = false;
	l->peer = p;
}

static void
link_ended(struct link *l)
{
	l->ended = true;
	link_drop_better(l);
	if (list_has(&l->work))
		list_remove(&l->net->work, &l->work);
}

/* End a link whose connection did nothing wrong. */
void
link_abort(struct link *l)
{
	if (l->ended)
		return;
	link_ended(l);
	if (l->dialling)
		mesh_dial_ended(l->net->mesh, &l->dial);
	l->dialling = false;
	conn_abort(l->conn);
}

static void
link_on_end(void *arg, const struct err *err)
{
	struct link *l = arg;
	struct net *net = l->net;
	char address[ADDR_TEXT_MAX];
	struct net_peer *p = l->peer;
	const bool counted = p != NULL && p->link == l;
	const bool up = counted && p->up;
	struct err told = *err;

	if (l->ended)
		return;
	link_ended(l);
	/* A Syncthing says Hello even to those it does not know. */
	if (up && !l->heard && err->code == ERR_CLOSED)
		err_wrap(&told, "right after its Hello (does it know this "
				"device?)");
	err = &told;
	if (up && net_sleep_begin(l))
		return;
	if (counted)
		mesh_down(net->mesh, &p->id, uv_hrtime());
	if (l->dialling) {
		mesh_dial_failed(net->mesh, &l->dial, err, net_now());
		net->counts.failed[failure_of(&l->dial.addr, err)]++;
		l->dialling = false;
	}
	if (!l->dialled && !up)
		net->counts.refused++;
	/* A device of ours that is connected already did nothing wrong. */
	if (!l->dialled && !up && err->code != ERR_EXISTS &&
	    conn_is_proven(l->conn))
		doorman_charge(&net->doorman, conn_address(l->conn),
		    uv_hrtime());
	link_address_text(l, address);
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
		link_unlink_peer(l, err->text);
	if (counted)
		link_promote_better(net, &l->id);
}

static void
link_on_freed(void *arg)
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
link_fill_session(const struct net *net, const struct link *l,
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
link_replace_stuck(struct net_peer *p)
{
	struct link *old = p->link;

	if (old == NULL || !p->up)
		return false;
	if (!conn_is_stuck(old->conn))
		return false;
	link_abort(old);
	mesh_down(old->net->mesh, &p->id, uv_hrtime());
	link_unlink_peer(old, "it stopped answering and called anew");
	link_promote_better(old->net, &old->id);
	return true;
}

static enum mesh_verdict
link_judge(struct link *l)
{
	struct net *net = l->net;
	const enum mesh_direction direction =
	    l->dialled ? MESH_DIALLED : MESH_ACCEPTED;
	const bool relayed = addr_is_relayed(conn_address(l->conn));
	const uint64_t rtt_ns = relayed ? conn_rtt_ns(l->conn) : 0;
	struct net_peer *p = net_find(net, &l->id);
	enum mesh_verdict verdict;

	if (relayed && l->dialling)
		mesh_measured(net->mesh, &l->dial, rtt_ns, uv_hrtime());
	verdict = mesh_judge(net->mesh, &l->id, direction, relayed, rtt_ns,
	    uv_hrtime());
	if (verdict == MESH_SURPLUS && !l->dialled && p != NULL &&
	    link_replace_stuck(p))
		verdict = mesh_judge(net->mesh, &l->id, direction, relayed,
		    rtt_ns, uv_hrtime());
	return verdict;
}

/* Better than the relayed one that is up: it goes on beside it. */
static void
link_take_better(struct net_peer *p, struct link *l)
{
	struct link *old = p->better;

	if (old != NULL) {
		/* Its place is taken already: nothing to give back. */
		p->better = NULL;
		old->better = false;
		link_abort(old);
	}
	p->better = l;
	l->better = true;
}

/* It has said a good Hello: the relayed one goes, and it is the peer's. */
static void
link_be_better(struct net_peer *p, struct link *l)
{
	struct link *old = p->link;

	ASSERT(p->better == l && old != NULL);
	p->better = NULL;
	l->better = false;
	mesh_better_up(l->net->mesh, &p->id, l->dialling ? &l->dial : NULL);
	l->dialling = false;
	link_abort(old);
	link_unlink_peer(old, addr_is_relayed(conn_address(l->conn))
				  ? "a nearer relay replaces it"
				  : "a direct way replaces the relay");
	l->peer = p;
	p->link = l;
}

static int
link_on_peer(void *arg, const struct devid *id, struct session_config *cfg,
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
	if (p != NULL)
		net_sleep_rouse(net, p, false);
	switch (link_judge(l)) {
	case MESH_ACCEPT:
	case MESH_REPLACE:
		break;
	case MESH_BETTER:
		ASSERT(p != NULL);
		link_take_better(p, l);
		link_fill_session(net, l, cfg);
		return 0;
	case MESH_OWN:
		return err_set(err, ERR_DENIED, "that is this device itself");
	case MESH_UNKNOWN:
		/* Heard, remembered, dropped; it learns nothing from us. */
		l->stranger = true;
		link_fill_session(net, l, cfg);
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

		link_abort(old);
		link_unlink_peer(old, "replaced by a newer connection");
	}
	l->peer = p;
	p->link = l;
	link_fill_session(net, l, cfg);
	return 0;
}

static void
link_note_client(struct net_peer *p, const struct hello *hello)
{
	char name[64], version[60];

	mesh_clean_text(name, sizeof(name), hello->client_name);
	mesh_clean_text(version, sizeof(version), hello->client_version);
	snprintf(p->client, sizeof(p->client), "%s%s%s", name,
	    version[0] != '\0' ? " " : "", version);
}

static int
link_on_stranger(struct link *l, const struct hello *hello, struct err *err)
{
	struct net *net = l->net;
	char address[ADDR_TEXT_MAX], name[64], text[DEVID_TEXT_LEN + 1];

	link_address_text(l, address);
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
link_stop_dials(struct net *net, const struct link *up)
{
	const bool relayed = addr_is_relayed(conn_address(up->conn));
	struct list_node *node = list_first(&net->links);

	while (node != NULL) {
		struct link *l = LIST_ITEM(node, struct link, node);

		node = list_next(&net->links, node);
		/* But for those that lead past the relay. */
		if (l != up && l->dialled && !l->ended &&
		    devid_equal(&l->dial.id, &up->id) &&
		    (!relayed || addr_is_relayed(&l->dial.addr)))
			link_abort(l);
	}
}

static int
link_on_hello(void *arg, const struct hello *hello, struct err *err)
{
	struct link *l = arg;
	struct net *net = l->net;
	struct net_peer *p = l->better ? net_find(net, &l->id) : l->peer;
	char address[ADDR_TEXT_MAX];
	struct net_peer_info info;
	struct devid id;
	int rc;

	if (l->stranger)
		return link_on_stranger(l, hello, err);
	ASSERT(p != NULL);
	rc = conn_check_name(l->conn, p->cert_name, err);
	if (rc < 0)
		return rc;
	if (l->better) {
		link_be_better(p, l);
	} else {
		ASSERT(p->link == l && !p->up);
		mesh_up(net->mesh, &p->id, l->dialling ? &l->dial : NULL,
		    uv_hrtime());
	}
	l->dialling = false;
	net_sleep_end(net, p, "it is back");
	rest_init(&l->rest, uv_hrtime());
	mesh_may_move(net->mesh, &p->id,
	    (conn_features(l->conn) & FEATURE_SIGNAL) != 0);
	link_stop_dials(net, l);
	link_note_client(p, hello);
	l->generation = ++net->generation;
	p->up = true;
	p->echo = (struct net_echo){ 0 };
	p->error[0] = '\0';
	p->since_wall_ns = net_wall_ns();
	link_address_text(l, address);
	info = (struct net_peer_info){ .address = address,
		.dialled = l->dialled,
		.lan = !addr_is_relayed(conn_address(l->conn)) &&
		       addr_is_lan(conn_address(l->conn)),
		.relayed = addr_is_relayed(conn_address(l->conn)),
		.transport = addr_scheme_text(conn_address(l->conn)->scheme),
		.tls = conn_tls_text(l->conn),
		.features = conn_features(l->conn),
		.generation = l->generation };
	if (info.relayed)
		net->counts.relayed++;
	else
		net->counts.direct++;
	log_info(net->log,
	    "mesh up device=%s path=%s way=%s address=%s by=%s client=\"%s\" "
	    "tls=\"%s\"",
	    p->name, info.relayed ? "relay" : "direct", info.transport, address,
	    l->dialled ? "us" : "peer", p->client, info.tls);
	id = p->id;
	net->cb.on_peer_up(net->arg, &id, hello, &info);
	net_nat_follow_peer(net, &id);
	return 0;
}

/* The peer asks: by what policy says of it. */
static void
link_on_question(struct link *l, const struct echo *echo)
{
	const struct net_peer *p = l->peer;
	struct echo reply = { .id = echo->id, .reply = true };
	char seen[ADDR_TEXT_MAX];

	if (p == NULL || p->diag == NET_ANSWER_SILENT)
		return;
	reply.refused = p->diag == NET_ANSWER_REFUSE;
	if (echo->more && !reply.refused) {
		reply.name = slice_str(p->name);
		reply.name.len = reply.name.len < LIMIT_ECHO_TEXT
				     ? reply.name.len
				     : LIMIT_ECHO_TEXT;
		reply.seen = slice_str(link_address_text(l, seen));
		reply.uptime_s = (uv_hrtime() - l->net->opened_ns) / CLOCK_S;
	}
	conn_answer(l->conn, &reply);
}

static void
link_on_echo(struct link *l, const struct echo *echo)
{
	struct net_peer *p = l->peer;
	const struct devid id = l->id;

	if (!echo->reply) {
		link_on_question(l, echo);
		return;
	}
	if (p == NULL || p->link != l || echo->id != p->echo.asked ||
	    echo->id == p->echo.answered)
		return;
	p->echo.answered = echo->id;
	p->echo.rtt_ns = uv_hrtime() - p->asked_ns;
	p->echo.refused = echo->refused;
	p->echo.uptime_s = echo->uptime_s;
	mesh_clean_text(p->echo.name, sizeof(p->echo.name), echo->name);
	mesh_clean_text(p->echo.seen, sizeof(p->echo.seen), echo->seen);
	if (l->net->cb.on_echo != NULL)
		l->net->cb.on_echo(l->net->arg, &id);
}

static void
link_on_message(void *arg, const struct message *m, struct payload *data)
{
	struct link *l = arg;
	const struct devid id = l->id;

	if (!l->heard) {
		l->heard = true;
		mesh_settled(l->net->mesh, &id);
	}
	if (m->type == MESSAGE_SIGNAL &&
	    net_sleep_take_word(l, m->u.signal.body))
		return;
	if (m->type != MESSAGE_SIGNAL)
		rest_use(&l->rest, uv_hrtime());
	if (m->type == MESSAGE_ECHO)
		link_on_echo(l, &m->u.echo);
	else if (m->type == MESSAGE_SIGNAL)
		net_nat_take_signal(l->net, &id, m->u.signal.body);
	else
		l->net->cb.on_message(l->net->arg, &id, m, data);
}

static void
link_on_sent(void *arg, uint64_t tag)
{
	struct link *l = arg;
	const struct devid id = l->id;

	l->net->cb.on_sent(l->net->arg, &id, tag);
}

static void
link_on_work(void *arg)
{
	struct link *l = arg;

	if (!l->ended && !list_has(&l->work))
		list_add(&l->net->work, &l->work);
}

static const struct conn_callbacks link_conn_callbacks = {
	.on_peer = link_on_peer,
	.on_hello = link_on_hello,
	.on_message = link_on_message,
	.on_sent = link_on_sent,
	.on_work = link_on_work,
	.on_end = link_on_end,
	.on_freed = link_on_freed,
};

static struct link *
link_new(struct net *net)
{
	struct link *l = mem_zalloc(sizeof(*l));

	l->net = net;
	list_add(&net->links, &l->node);
	net->handles++;
	return l;
}

/* --- accepting -------------------------------------------------------- */

/*
 * Strangers may hold so many half-open connections and no more: from one
 * source the new one is refused, in all the oldest goes, because a peer of
 * ours needs milliseconds to become known.
 */
static bool
link_make_room(struct net *net, const struct addr *from)
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
		if (addr_same_source(conn_address(l->conn), from))
			same++;
	}
	if (net->lan_only && !addr_is_lan(from)) {
		if (net_may_log(net)) {
			addr_text_host(from, text);
			log_info(net->log,
			    "mesh refuse address=%s reason=\"mesh.scope is "
			    "lan\"",
			    text);
		}
		return false;
	}
	if (!doorman_lets_in(&net->doorman, from, same, uv_hrtime())) {
		if (net_may_log(net)) {
			addr_text_host(from, text);
			log_warn(net->log,
			    "mesh refuse address=%s reason=\"it came in vain "
			    "too often\"",
			    text);
		}
		return false;
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

		link_abort(oldest);
		if (p != NULL && p->link == oldest) {
			mesh_down(net->mesh, &p->id, uv_hrtime());
			link_unlink_peer(oldest, "too many half-open");
		}
	}
	return true;
}

/* A stream that came in, not started: a link of its own, if there is room. */
static void
link_take(struct net *net, struct stream *stream)
{
	struct link *l = link_new(net);

	l->conn = conn_open(stream, false, &link_conn_callbacks, l);
}

void
link_on_accept(void *arg, struct tcp *tcp, const struct addr *from)
{
	struct net *net = arg;

	if (net->closing || !link_make_room(net, from))
		tcp_close(tcp, NULL, NULL);
	else
		link_take(net, stream_tls_over(net->identity, tcp, TLS_SERVER));
}

void
link_on_relayed(void *arg, struct stream *stream, const struct addr *from)
{
	struct net *net = arg;

	if (net->closing || !link_make_room(net, from))
		stream_close(stream, NULL, net_handle_closed, net);
	else
		link_take(net, stream);
}

static unsigned
link_count_half_open(const struct net *net)
{
	unsigned count = 0;

	for (struct list_node *node = list_first(&net->links); node != NULL;
	     node = list_next(&net->links, node)) {
		const struct link *l = LIST_ITEM(node, struct link, node);

		if (!l->dialled && !l->ended && conn_is_half_open(l->conn))
			count++;
	}
	return count;
}

/* Did as many unproven ones come within this second already? */
static bool
link_is_busy(struct net *net, uint64_t now_ns)
{
	if (now_ns - net->unproven_ns >= CLOCK_S) {
		net->unproven_ns = now_ns;
		net->unproven = 0;
	}
	return net->unproven++ >= LIMIT_QUIC_UNPROVEN;
}

/*
 * Datagrams cost nothing and their senders can be invented: when many come, or
 * several wait, each has to show first that it is where it says.  Who has not
 * shown it is charged for nothing: it may be somebody else's address.
 */
static enum quic_welcome
link_on_knock(void *arg, const struct addr *from, bool proven)
{
	struct net *net = arg;

	if (net->closing || (net->lan_only && !addr_is_lan(from)))
		return QUIC_IGNORE;
	if (!proven && (link_is_busy(net, uv_hrtime()) ||
			   link_count_half_open(net) >= LIMIT_QUIC_UNPROVEN))
		return QUIC_PROVE;
	return link_make_room(net, from) ? QUIC_ENTER : QUIC_IGNORE;
}

static void
link_on_accept_quic(void *arg, struct stream *stream)
{
	link_take(arg, stream);
}

const struct quic_callbacks link_quic_callbacks = {
	.on_knock = link_on_knock,
	.on_accept = link_on_accept_quic,
};

/* --- dialling --------------------------------------------------------- */

void
link_dial_due(struct net *net, uint64_t now_ns)
{
	struct mesh_dial dial;

	while (!net->closing && mesh_next(net->mesh, now_ns, &dial)) {
		struct err err = { 0 };
		struct stream *stream = link_dial(net, &dial, &err);
		struct link *l;

		if (stream == NULL) {
			mesh_dial_failed(net->mesh, &dial, &err, net_now());
			net->counts.failed[failure_of(&dial.addr, &err)]++;
			continue;
		}
		l = link_new(net);
		l->dialled = l->dialling = true;
		l->dial = dial;
		l->conn = conn_open(stream, true, &link_conn_callbacks, l);
	}
}

void
link_dial_opened(struct net *net, const struct devid *id, struct quic *from,
    const struct addr *to)
{
	struct link *l;

	if (net->closing || !mesh_has(net->mesh, id))
		return;
	l = link_new(net);
	l->dialled = true;
	l->dial = (struct mesh_dial){ .id = *id, .addr = *to };
	l->conn = conn_open(quic_dial(from, to), true, &link_conn_callbacks, l);
}
