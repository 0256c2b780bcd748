/*
 * The sockets of attempts against hard NATs; see nat_impl.h.
 */
#include "mesh/nat_impl.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "mesh/addr_uv.h"

static void
nat_socket_freed(struct nat_socket *s)
{
	struct nat *n = s->nat;

	if (!s->dropped || s->has_poll || s->quic != NULL)
		return;
	mem_free(s);
	nat_handle_closed(n);
}

static void
nat_socket_poll_freed(uv_handle_t *handle)
{
	struct nat_socket *s = handle->data;

	s->has_poll = false;
	nat_socket_freed(s);
}

static void
nat_socket_quic_freed(void *arg)
{
	struct nat_socket *s = arg;

	s->quic = NULL;
	nat_socket_freed(s);
}

static void
nat_socket_on_poll(uv_poll_t *poll, int status, int events)
{
	struct nat_socket *s = poll->data;
	struct nat *n = s->nat;
	struct quic_udp_burst b;
	struct addr from;

	(void)status;
	(void)events;
	while (s->udp.fd >= 0 && quic_udp_receive(&s->udp, n->in, &b)) {
		addr_uv_from_sockaddr(&from, (const struct sockaddr *)&b.peer);
		from.scheme = ADDR_QUIC;
		/* Probes are short: none was joined with others that matter. */
		nat_take(n, s->slot, s->number,
		    slice_of(n->in, b.segment < b.len ? b.segment : b.len),
		    &from);
	}
}

/* As the first of QUIC's own, at any port; hard NATs are IPv4's. */
static struct nat_socket *
nat_socket_open(struct nat *n, unsigned slot, unsigned number)
{
	const struct addr any = { .scheme = ADDR_QUIC, .family = ADDR_V4 };
	struct nat_socket *s = mem_zalloc(sizeof(*s));

	s->nat = n;
	s->slot = slot;
	s->number = number;
	if (quic_udp_open(&s->udp, &any, &s->bound, NULL) < 0) {
		mem_free(s);
		return NULL;
	}
	s->poll.data = s;
	if (uv_poll_init(n->loop, &s->poll, s->udp.fd) < 0) {
		quic_udp_close(&s->udp);
		mem_free(s);
		return NULL;
	}
	s->has_poll = true;
	(void)uv_poll_start(&s->poll, UV_READABLE, nat_socket_on_poll);
	n->handles++;
	return s;
}

void
nat_socket_open_all(struct nat *n, unsigned slot, unsigned count)
{
	ASSERT(n->socket[slot] == NULL && count <= PUNCH_SOCKETS);
	n->socket[slot] = mem_array(count, sizeof(*n->socket[slot]));
	n->socket_count[slot] = 0;
	/* With fewer it may do as well. */
	while (n->socket_count[slot] < count) {
		struct nat_socket *s =
		    nat_socket_open(n, slot, n->socket_count[slot] + 1);

		if (s == NULL)
			break;
		n->socket[slot][n->socket_count[slot]++] = s;
	}
	log_debug(n->log, "nat open sockets=%u", n->socket_count[slot]);
}

static struct nat_socket *
nat_socket_at(const struct nat *n, unsigned slot, unsigned socket)
{
	return socket >= 1 && socket <= n->socket_count[slot]
		   ? n->socket[slot][socket - 1]
		   : NULL;
}

static void
nat_socket_drop(struct nat_socket *s)
{
	s->dropped = true;
	if (s->has_poll && !uv_is_closing((uv_handle_t *)&s->poll))
		uv_close((uv_handle_t *)&s->poll, nat_socket_poll_freed);
	quic_udp_close(&s->udp);
	/* That one lives as long as the connections on it. */
	if (s->quic != NULL)
		quic_close(s->quic, nat_socket_quic_freed, s);
	nat_socket_freed(s);
}

void
nat_socket_close_all(struct nat *n, unsigned slot)
{
	for (unsigned i = 0; i < n->socket_count[slot]; i++)
		nat_socket_drop(n->socket[slot][i]);
	mem_free(n->socket[slot]);
	n->socket[slot] = NULL;
	n->socket_count[slot] = 0;
}

void
nat_socket_send(struct nat *n, unsigned slot, unsigned socket,
    struct slice datagram, const struct addr *to, int hops)
{
	struct nat_socket *s = nat_socket_at(n, slot, socket);
	struct quic_udp_burst b = { .hops = hops };

	if (s == NULL || (n->lan_only && !addr_is_lan(to)))
		return;
	if (s->quic != NULL) {
		quic_send_other(s->quic, datagram, to, hops);
		return;
	}
	b.own = s->udp.at;
	b.own_len = s->udp.at_len;
	b.len = b.segment = datagram.len;
	if (addr_uv_to_sockaddr(to, &b.peer, NULL) == 0 &&
	    quic_udp_fit(&s->udp, &b.peer, &b.peer_len))
		(void)quic_udp_send(&s->udp, datagram.ptr, &b);
}

static void
nat_socket_on_other(void *arg, struct quic *q, struct slice datagram,
    const struct addr *from)
{
	struct nat_socket *s = arg;

	(void)q;
	nat_take(s->nat, s->slot, s->number, datagram, from);
}

struct quic *
nat_socket_promote(struct nat *n, unsigned slot, unsigned socket)
{
	struct nat_socket *s = nat_socket_at(n, slot, socket);
	struct addr bound;
	struct err err = { 0 };

	if (s == NULL || s->quic != NULL)
		return s != NULL ? s->quic : NULL;
	/* The router keeps the hole, whoever sends from that port. */
	uv_close((uv_handle_t *)&s->poll, nat_socket_poll_freed);
	quic_udp_close(&s->udp);
	if (quic_open(&s->quic, n->loop, n->identity, &s->bound, n->cb.accept,
		n->arg, &bound, &err) < 0) {
		log_debug(n->log, "nat promote reason=\"%s\"", err.text);
		return NULL;
	}
	quic_set_other(s->quic, nat_socket_on_other, s);
	quic_set_lan_only(s->quic, n->lan_only);
	quic_set_keep_alive(s->quic, n->say_ns);
	return s->quic;
}
