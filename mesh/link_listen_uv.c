/*
 * Where we are called, and where we call from; see link_uv.h.
 */
#include "mesh/link_uv.h"

#include "engine/base/mem.h"
#include "mesh/stream_relay_uv.h"
#include "mesh/stream_tls_uv.h"

/* --- listening -------------------------------------------------------- */

static int
link_listen_try(struct net *net, const struct addr *at,
    struct net_listener *out, struct err *err)
{
	if (at->scheme == ADDR_QUIC)
		return quic_open(&out->quic, net->loop, net->identity, at,
		    &link_quic_callbacks, net, &out->bound, err);
	return tcp_listen(&out->tcp, net->loop, at, link_on_accept, net,
	    &out->bound, err);
}

static int
link_listen_one(struct net *net, const struct addr *at, struct err *err)
{
	struct net_listener next = { .at = *at, .keep = true };
	struct addr v4 = *at;
	int rc = link_listen_try(net, at, &next, err);

	if (rc < 0 && at->host == ADDR_NONE && at->family == ADDR_ANY) {
		/* A kernel without IPv6. */
		v4.family = ADDR_V4;
		rc = link_listen_try(net, &v4, &next, err);
	}
	if (rc < 0)
		return rc;
	net->handles++;
	*VEC_ADD(&net->listener) = next;
	return 0;
}

/* `cut`: its port is wanted, so the connections on a QUIC socket end too. */
static void
link_listener_close(struct net *net, struct net_listener *l, bool cut)
{
	if (l->tcp != NULL)
		tcp_listener_close(l->tcp, net_handle_closed, net);
	else if (cut)
		quic_cut(l->quic, "listening elsewhere", net_handle_closed,
		    net);
	else
		quic_close(l->quic, net_handle_closed, net);
}

static void
link_drop_listeners(struct net *net, bool keep)
{
	for (size_t i = 0; i < net->listener.len;) {
		if (net->listener.item[i].keep != keep) {
			i++;
			continue;
		}
		link_listener_close(net, &net->listener.item[i], true);
		VEC_DROP(&net->listener, i);
	}
}

static bool
link_listens_at(const struct net *net, const struct addr *at)
{
	for (size_t i = 0; i < net->listener.len; i++)
		if (addr_equal(&net->listener.item[i].at, at))
			return true;
	return false;
}

int
link_listen(struct net *net, const struct addr *at, size_t count,
    struct err *err)
{
	VEC(struct addr) gone = { 0 };
	int rc = 0;

	for (size_t i = 0; i < net->listener.len; i++) {
		struct net_listener *l = &net->listener.item[i];

		l->keep = false;
		for (size_t k = 0; k < count; k++)
			if (addr_equal(&l->at, &at[k]))
				l->keep = true;
		if (!l->keep)
			*VEC_ADD(&gone) = l->at;
	}
	link_drop_listeners(net, false);
	for (size_t i = 0; i < net->listener.len; i++)
		net->listener.item[i].keep = false; /* false: was there */
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (!link_listens_at(net, &at[i]))
			rc = link_listen_one(net, &at[i], err);
	if (rc < 0) {
		link_drop_listeners(net, true);
		for (size_t i = 0; i < gone.len; i++)
			(void)link_listen_one(net, &gone.item[i], NULL);
	}
	VEC_FINI(&gone);
	return rc;
}

void
link_stop_listening(struct net *net)
{
	for (size_t i = 0; i < net->listener.len; i++)
		link_listener_close(net, &net->listener.item[i], false);
	VEC_CLEAR(&net->listener);
	if (net->quic != NULL)
		quic_close(net->quic, net_handle_closed, net);
	net->quic = NULL;
}

/* --- dialling --------------------------------------------------------- */

/* A socket of our own choosing, for want of a listener's. */
static struct quic *
link_open_quic(struct net *net, struct err *err)
{
	struct addr any = { .scheme = ADDR_QUIC };
	struct addr bound;

	if (quic_open(&net->quic, net->loop, net->identity, &any, NULL, NULL,
		&bound, NULL) < 0) {
		any.family = ADDR_V4;
		(void)quic_open(&net->quic, net->loop, net->identity, &any,
		    NULL, NULL, &bound, err);
	}
	if (net->quic != NULL) {
		quic_set_lan_only(net->quic, net->lan_only);
		net->handles++;
	}
	return net->quic;
}

/*
 * From the port where we listen, so that a router has one hole for both, and
 * so that who was called knows where to call back.
 */
static struct stream *
link_dial_quic(struct net *net, const struct addr *to, struct err *err)
{
	struct quic *q = net->quic;

	for (size_t i = 0; i < net->listener.len; i++)
		if (net->listener.item[i].quic != NULL &&
		    quic_can_dial(net->listener.item[i].quic, to))
			return quic_dial(net->listener.item[i].quic, to);
	if (q == NULL)
		q = link_open_quic(net, err);
	if (q == NULL)
		return NULL;
	if (!quic_can_dial(q, to)) {
		err_set(err, ERR_NOT_FOUND,
		    "no socket reaches such an address");
		return NULL;
	}
	return quic_dial(q, to);
}

struct stream *
link_dial(struct net *net, const struct mesh_dial *dial, struct err *err)
{
	const struct addr *to = &dial->addr;

	switch (to->scheme) {
	case ADDR_TCP:
		return stream_tls_dial(net->loop, net->identity, to);
	case ADDR_QUIC:
		return link_dial_quic(net, to, err);
	case ADDR_RELAY:
		return stream_relay_dial(net->loop, net->identity, to,
		    &dial->id);
	case ADDR_DYNAMIC:
		break;
	}
	err_set(err, ERR_INVALID, "such an address is not dialled");
	return NULL;
}
