/*
 * The net's part in letting links rest (rest.h), and in waking who sleeps.
 *
 * A peer sleeps when its link was let go.  For who is above nothing has
 * changed: it is told of the down when a new connection is up, or when none
 * comes, so what it knows of the peer stays; and whatever it sends wakes.
 *
 *	up --agreed--> asleep --send, or a signal of its--> woken --> up
 *	                  ^                                   |
 *	                  |         not within NET_SLEEP_WAKE_NS: down
 *
 * Who may: a direct QUIC link over routers, because only such a one costs
 * packets, with a device that can be sent a signal through a coordinator.  A
 * device that is there no more, or a coordinator that we lost, is a reason to
 * look: whoever sleeps is woken then.
 *
 * Invariant: a peer that is asleep is not up; its link, if any, is a new one.
 */
#include "engine/base/limits.h"
#include "mesh/link_uv.h"

#define NET_SLEEP_WAKE_NS (20 * CLOCK_S)

/* Is it a link of the kind that may rest?  Asked before each wait: cheap. */
static bool
net_sleep_is_for(const struct link *l)
{
	const struct net_peer *p = l->peer;

	return l->net->sleep_ns != 0 && !l->net->closing && !l->ended &&
	       p != NULL && p->link == l && p->up && !p->busy && !p->paused &&
	       !p->removed && conn_address(l->conn)->scheme == ADDR_QUIC &&
	       !addr_is_lan(conn_address(l->conn)) &&
	       (conn_features(l->conn) & FEATURE_SIGNAL) != 0;
}

/* 0: this link is not to rest, as things are. */
static uint64_t
net_sleep_after(const struct link *l)
{
	return net_sleep_is_for(l) && conn_queued(l->conn) == 0 &&
		       net_nat_can_wake(l->net, &l->peer->id)
		   ? l->net->sleep_ns
		   : 0;
}

static void
net_sleep_say(struct link *l, enum rest_word word)
{
	uint8_t body[REST_WORD_LEN];
	const struct message m = { .type = MESSAGE_SIGNAL,
		.u.signal.body = slice_of(body, sizeof(body)) };

	rest_encode(word, body);
	(void)conn_send(l->conn, &m, NULL, 0, NULL);
}

bool
net_sleep_take_word(struct link *l, struct slice body)
{
	enum rest_word word;

	if (!rest_decode(&word, body))
		return false;
	switch (rest_hear(&l->rest, word, net_sleep_after(l), uv_hrtime())) {
	case REST_NOTHING:
		break;
	case REST_SAY_AGREE:
		net_sleep_say(l, REST_AGREE);
		break;
	case REST_CLOSE:
		conn_close(l->conn, "asleep");
		break;
	}
	return true;
}

bool
net_sleep_begin(struct link *l)
{
	struct net *net = l->net;
	struct net_peer *p = l->peer;

	if (!rest_is_agreed(&l->rest) || net->closing || p == NULL ||
	    p->link != l || !p->up || p->paused || p->removed ||
	    !net_nat_can_wake(net, &p->id))
		return false;
	mesh_sleep(net->mesh, &p->id, uv_hrtime());
	p->bytes_in += conn_bytes_in(l->conn);
	p->bytes_out += conn_bytes_out(l->conn);
	p->seen_wall_ns = net_wall_ns();
	p->link = NULL;
	p->up = false;
	p->asleep = true;
	p->wake_by_ns = 0;
	log_info(net->log, "mesh sleep device=%s", p->name);
	net_wake(net);
	return true;
}

void
net_sleep_rouse(struct net *net, struct net_peer *p, bool hurry)
{
	if (!p->asleep || p->wake_by_ns != 0)
		return;
	p->wake_by_ns = uv_hrtime() + NET_SLEEP_WAKE_NS;
	p->hurry = hurry;
	mesh_wake(net->mesh, &p->id, uv_hrtime());
	net_wake(net);
}

void
net_sleep_rouse_all(struct net *net)
{
	for (size_t i = 0; i < net->peer.len; i++)
		net_sleep_rouse(net, net->peer.item[i], true);
}

void
net_sleep_check(struct net *net)
{
	for (size_t i = 0; i < net->peer.len; i++)
		if (net->peer.item[i]->asleep &&
		    !net_nat_can_wake(net, &net->peer.item[i]->id))
			net_sleep_rouse(net, net->peer.item[i], false);
}

void
net_sleep_end(struct net *net, struct net_peer *p, const char *why)
{
	const struct devid id = p->id;

	if (!p->asleep)
		return;
	p->asleep = false;
	p->wake_by_ns = 0;
	/* Paused in its sleep it would sleep on when it is resumed. */
	mesh_wake(net->mesh, &id, uv_hrtime());
	log_info(net->log, "mesh woken device=%s reason=\"%s\"", p->name, why);
	net->cb.on_peer_down(net->arg, &id, why);
}

void
net_sleep_tick(struct net *net, uint64_t now_ns)
{
	struct list_node *node;

	for (node = list_first(&net->links); node != NULL;
	     node = list_next(&net->links, node)) {
		struct link *l = LIST_ITEM(node, struct link, node);

		if (!net_sleep_is_for(l) ||
		    rest_due_at(&l->rest, net->sleep_ns) > now_ns)
			continue;
		if (net_sleep_after(l) == 0) {
			rest_use(&l->rest, now_ns); /* look again later */
			continue;
		}
		rest_asked(&l->rest, now_ns);
		net_sleep_say(l, REST_ASK);
	}
	for (size_t i = 0; i < net->peer.len; i++) {
		struct net_peer *p = net->peer.item[i];

		if (p->asleep && (p->removed || p->paused))
			net_sleep_end(net, p, "not wanted any more");
		else if (p->asleep && p->wake_by_ns != 0 &&
			 p->wake_by_ns <= now_ns)
			net_sleep_end(net, p, "it could not be woken");
	}
	link_forget_removed(net);
}

uint64_t
net_sleep_wake_at(const struct net *net, uint64_t now_ns)
{
	uint64_t at = CLOCK_NEVER, due;

	for (struct list_node *node = list_first(&net->links); node != NULL;
	     node = list_next(&net->links, node)) {
		const struct link *l = LIST_ITEM(node, struct link, node);

		due = rest_due_at(&l->rest, net->sleep_ns);
		if (due < at && net_sleep_is_for(l))
			at = due;
	}
	for (size_t i = 0; i < net->peer.len; i++) {
		const struct net_peer *p = net->peer.item[i];

		if (p->asleep && (p->removed || p->paused))
			return now_ns;
		if (p->asleep && p->wake_by_ns != 0 && p->wake_by_ns < at)
			at = p->wake_by_ns;
	}
	return at;
}
