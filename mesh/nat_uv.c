/*
 * The NAT driver; see nat_uv.h.
 */
#include "mesh/nat_impl.h"

#include <stdio.h>
#include <string.h>

#include <gnutls/crypto.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "mesh/addr_uv.h"
#include "mesh/stun.h"

#define NAT_LOOK_NS (30 * CLOCK_S) /* at this machine's addresses */
#define NAT_FOUND 4u               /* addresses of one name that are asked */

static void nat_pump(struct nat *n);

/* --- sending ---------------------------------------------------------- */

static struct quic *
nat_quic_for(const struct nat *n, const struct addr *to)
{
	for (size_t i = 0; i < n->quic_count; i++)
		if (quic_can_dial(n->quic[i], to))
			return n->quic[i];
	return NULL;
}

static void
nat_send(struct nat *n, struct slice datagram, const struct addr *to, int hops)
{
	struct quic *q = nat_quic_for(n, to);

	if (q != NULL)
		quic_send_other(q, datagram, to, hops);
}

/* --- where we are ----------------------------------------------------- */

static bool
nat_is_new(const struct punch_side *side, const struct addr *a)
{
	for (size_t i = 0; i < side->count; i++)
		if (addr_equal(&side->candidate[i].addr, a))
			return false;
	return true;
}

static void
nat_add_candidate(struct punch_side *side, enum punch_kind kind,
    const struct addr *a)
{
	struct addr plain = *a;

	plain.scheme = ADDR_QUIC;
	plain.family = ADDR_ANY;
	if (side->count < PUNCH_CANDIDATES && nat_is_new(side, &plain))
		side->candidate[side->count++] =
		    (struct punch_candidate){ kind, plain };
}

/* The likeliest first: there may be more than are told. */
static void
nat_fill_side(const struct nat *n, struct punch_side *out)
{
	unsigned asked = 0, answered = 0;

	memset(out, 0, sizeof(*out));
	for (int v6 = 0; v6 < 2; v6++) {
		const struct natcheck_result *r =
		    natcheck_result(n->check, v6 != 0);

		asked += r->asked;
		answered += r->answered;
		if (r->udp)
			nat_add_candidate(out, PUNCH_MAPPED, &r->mapped);
	}
	out->mapping = natcheck_result(n->check, false)->mapping;
	out->no_udp = asked > 0 && answered == 0;
	for (size_t i = 0; i < n->portmapped_count; i++)
		nat_add_candidate(out, PUNCH_PORTMAP, &n->portmapped[i]);
	for (int lan = 0; lan < 2; lan++)
		for (size_t i = 0; i < n->local_count; i++)
			if (addr_is_lan(&n->local[i]) == (lan != 0))
				nat_add_candidate(out, PUNCH_HOST,
				    &n->local[i]);
}

static void
nat_tell_side(struct nat *n, uint64_t now_ns)
{
	struct punch_side side;

	n->side_due = false;
	nat_fill_side(n, &side);
	puncher_set_side(n->puncher, &side, now_ns);
}

/* Has the check something new to say, or is it waited for? */
static void
nat_follow_check(struct nat *n, uint64_t now_ns)
{
	const bool changed = natcheck_changes(n->check) != n->changes;

	if (!natcheck_is_known(n->check, now_ns) || (!changed && !n->side_due))
		return;
	nat_tell_side(n, now_ns);
	if (!changed)
		return;
	n->changes = natcheck_changes(n->check);
	for (int v6 = 0; v6 < 2; v6++) {
		const struct natcheck_result *r =
		    natcheck_result(n->check, v6 != 0);
		char text[ADDR_TEXT_MAX] = "none";

		if (r->udp)
			addr_text_host(&r->mapped, text);
		if (r->asked > 0)
			log_info(n->log,
			    "nat check family=%s mapped=%s mapping=%s",
			    v6 ? "ipv6" : "ipv4", text,
			    natcheck_mapping_text(r->mapping));
	}
	n->cb.on_change(n->arg);
}

static uint16_t
nat_port_for(const struct nat *n, const struct addr *a)
{
	for (size_t i = 0; i < n->quic_count; i++)
		if (quic_can_dial(n->quic[i], a))
			return n->bound[i].port;
	return 0;
}

static size_t
nat_list_locals(const struct nat *n, struct addr out[NATCHECK_LOCALS])
{
	uv_interface_address_t *list;
	size_t count = 0;
	int len;

	if (n->quic_count == 0 || uv_interface_addresses(&list, &len) != 0)
		return 0;
	for (int i = 0; i < len && count < NATCHECK_LOCALS; i++) {
		struct addr a;

		if (list[i].is_internal)
			continue;
		addr_uv_from_sockaddr(&a,
		    (const struct sockaddr *)&list[i].address);
		a.scheme = ADDR_QUIC;
		if (addr_is_link_local(&a) || addr_is_loopback(&a))
			continue;
		a.port = nat_port_for(n, &a);
		if (a.port != 0)
			out[count++] = a;
	}
	uv_free_interface_addresses(list, len);
	return count;
}

/* True when this machine has other addresses than it had. */
static bool
nat_look(struct nat *n, uint64_t now_ns)
{
	struct addr now[NATCHECK_LOCALS];
	const size_t count = nat_list_locals(n, now);
	bool same = count == n->local_count;

	n->look_ns = now_ns + NAT_LOOK_NS;
	for (size_t i = 0; same && i < count; i++)
		same = addr_equal(&now[i], &n->local[i]);
	if (same)
		return false;
	memcpy(n->local, now, count * sizeof(now[0]));
	n->local_count = count;
	natcheck_set_locals(n->check, now, count);
	return true;
}

/* --- servers ---------------------------------------------------------- */

static void
nat_begin_check(struct nat *n)
{
	VEC(struct natcheck_server) list = { 0 };

	for (size_t i = 0; i < n->server.len; i++)
		for (size_t k = 0; k < n->server.item[i]->found.len; k++)
			*VEC_ADD(&list) = (struct natcheck_server){
				n->server.item[i]->found.item[k]
			};
	natcheck_set_servers(n->check, list.item, list.len);
	VEC_FINI(&list);
	if (n->quic_count > 0)
		natcheck_begin(n->check, uv_hrtime());
}

static void
nat_server_free(struct nat_server *s)
{
	VEC_FINI(&s->found);
	mem_free(s);
}

static void
nat_take_names(struct nat_server *s, const struct addrinfo *list)
{
	VEC_CLEAR(&s->found);
	for (; list != NULL && s->found.len < NAT_FOUND; list = list->ai_next) {
		struct addr a;

		if (list->ai_family != AF_INET && list->ai_family != AF_INET6)
			continue;
		addr_uv_from_sockaddr(&a, list->ai_addr);
		a.scheme = ADDR_QUIC;
		a.port = s->addr.port;
		*VEC_ADD(&s->found) = a;
	}
}

static void
nat_on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct nat_server *s = req->data;
	struct nat *n = s->nat;

	s->resolving = false;
	s->error[0] = '\0';
	if (status == 0)
		nat_take_names(s, list);
	else
		snprintf(s->error, sizeof(s->error), "%s", uv_strerror(status));
	uv_freeaddrinfo(list);
	if (s->dropped)
		nat_server_free(s);
	else
		nat_begin_check(n);
	nat_pump(n);
	nat_handle_closed(n);
}

/* Names may have moved since. */
static void
nat_resolve(struct nat *n, struct nat_server *s)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_DGRAM };
	int rc;

	if (s->addr.host != ADDR_NAME) {
		VEC_CLEAR(&s->found);
		*VEC_ADD(&s->found) = s->addr;
		return;
	}
	if (s->resolving)
		return;
	s->resolve.data = s;
	rc = uv_getaddrinfo(n->loop, &s->resolve, nat_on_resolved, s->addr.name,
	    NULL, &hints);
	s->resolving = rc == 0;
	if (rc == 0)
		n->handles++;
	else
		snprintf(s->error, sizeof(s->error), "%s", uv_strerror(rc));
}

static void
nat_resolve_all(struct nat *n)
{
	for (size_t i = 0; i < n->server.len; i++)
		nat_resolve(n, n->server.item[i]);
	nat_begin_check(n);
}

static void
nat_drop_servers(struct nat *n)
{
	for (size_t i = 0; i < n->server.len; i++) {
		n->server.item[i]->dropped = true;
		if (!n->server.item[i]->resolving)
			nat_server_free(n->server.item[i]);
	}
	VEC_CLEAR(&n->server);
}

static bool
nat_servers_are(const struct nat *n, const struct addr *server, size_t count)
{
	bool same = n->server.len == count;

	for (size_t i = 0; same && i < count; i++)
		same = addr_equal(&n->server.item[i]->addr, &server[i]);
	return same;
}

void
nat_set_servers(struct nat *n, const struct addr *server, size_t count)
{
	if (nat_servers_are(n, server, count))
		return;
	nat_drop_servers(n);
	for (size_t i = 0; i < count; i++) {
		struct nat_server *s = mem_zalloc(sizeof(*s));

		s->addr = server[i];
		s->nat = n;
		*VEC_ADD(&n->server) = s;
	}
	nat_resolve_all(n);
}

/* --- doing ------------------------------------------------------------ */

static void
nat_do_end(struct nat *n, const struct puncher_act *act)
{
	if (n->socket[act->slot] != NULL)
		nat_socket_close_all(n, act->slot);
	log_debug(n->log, "nat punch end=%s", punch_end_text(act->punch.end));
}

static void
nat_do_dial(struct nat *n, const struct puncher_act *act)
{
	struct quic *q =
	    act->punch.socket == 0
		? nat_quic_for(n, &act->punch.to)
		: nat_socket_promote(n, act->slot, act->punch.socket);
	char text[ADDR_TEXT_MAX];

	if (q == NULL)
		return;
	addr_text_host(&act->punch.to, text);
	log_info(n->log, "nat open address=%s", text);
	n->cb.dial(n->arg, &act->id, q, &act->punch.to);
}

static void
nat_do_punch(struct nat *n, const struct puncher_act *act)
{
	const struct punch_act *punch = &act->punch;
	const struct slice datagram =
	    slice_of(punch->datagram, PUNCH_PROBE_LEN);

	switch (punch->kind) {
	case PUNCH_DO_SEND:
		if (punch->socket == 0)
			nat_send(n, datagram, &punch->to, punch->hops);
		else
			nat_socket_send(n, act->slot, punch->socket, datagram,
			    &punch->to, punch->hops);
		break;
	case PUNCH_DO_OPEN:
		nat_socket_open_all(n, act->slot, punch->count);
		break;
	case PUNCH_DO_PROMOTE:
		(void)nat_socket_promote(n, act->slot, punch->socket);
		break;
	case PUNCH_DO_DIAL:
		nat_do_dial(n, act);
		break;
	case PUNCH_DO_END:
		nat_do_end(n, act);
		break;
	}
}

static void
nat_do_signal(struct nat *n, const struct puncher_act *act)
{
	struct buf body = { 0 };

	punch_signal_encode(&act->signal, &body);
	n->cb.signal(n->arg, &act->id, buf_slice(&body));
	buf_fini(&body);
}

static void
nat_do(struct nat *n, const struct puncher_act *act, uint64_t now_ns)
{
	switch (act->kind) {
	case PUNCHER_DO_SIGNAL:
		nat_do_signal(n, act);
		break;
	case PUNCHER_DO_REFRESH:
		n->side_due = true;
		(void)nat_look(n, now_ns);
		if (n->server.len > 0 && n->quic_count > 0)
			natcheck_refresh(n->check, now_ns);
		break;
	case PUNCHER_DO_PUNCH:
		nat_do_punch(n, act);
		break;
	}
}

/* All that is due.  What comes of it is done here too, not inside. */
static void
nat_pump(struct nat *n)
{
	struct natcheck_send send;
	struct puncher_act act;
	uint64_t now_ns = uv_hrtime();

	if (n->pumping || n->closing)
		return;
	n->pumping = true;
	while (natcheck_next(n->check, now_ns, &send)) {
		nat_send(n, buf_slice(&send.datagram), &send.to, 0);
		buf_fini(&send.datagram);
	}
	nat_follow_check(n, now_ns);
	nat_life_pump(n, now_ns);
	while (!n->closing && puncher_next(n->puncher, now_ns, &act)) {
		nat_do(n, &act, now_ns);
		nat_follow_check(n, now_ns);
	}
	n->pumping = false;
}

void
nat_take(struct nat *n, unsigned slot, unsigned socket, struct slice datagram,
    const struct addr *from)
{
	const uint64_t now_ns = uv_hrtime();

	if (n->closing)
		return;
	if (socket == 0 && stun_is(datagram))
		(void)natcheck_take(n->check, datagram, from, now_ns);
	else if (punch_is_probe(datagram))
		(void)puncher_take(n->puncher, slot, socket, datagram, from,
		    now_ns);
	else
		return;
	nat_pump(n);
}

static void
nat_on_other(void *arg, struct quic *q, struct slice datagram,
    const struct addr *from)
{
	(void)q;
	nat_take(arg, 0, 0, datagram, from);
}

void
nat_tick(struct nat *n, uint64_t now_ns)
{
	if (n->quic_count > 0 && n->look_ns <= now_ns && nat_look(n, now_ns))
		nat_resolve_all(n);
	nat_pump(n);
}

uint64_t
nat_wake_at(const struct nat *n)
{
	uint64_t at = natcheck_wake_at(n->check);

	if (puncher_wake_at(n->puncher) < at)
		at = puncher_wake_at(n->puncher);
	if (natlife_wake_at(n->life) < at)
		at = natlife_wake_at(n->life);
	if (n->quic_count > 0 && n->look_ns < at)
		at = n->look_ns;
	return at;
}

/* --- what the net tells ----------------------------------------------- */

void
nat_set_sockets(struct nat *n, struct quic *const *quic,
    const struct addr *bound, size_t count)
{
	bool same = true;
	size_t used = 0;

	for (size_t i = 0; i < count && used < NAT_SOCKETS; i++) {
		if (!addr_is_unspecified(&bound[i]))
			continue;
		same = same && used < n->quic_count &&
		       n->quic[used] == quic[i] &&
		       addr_equal(&n->bound[used], &bound[i]);
		n->quic[used] = quic[i];
		n->bound[used++] = bound[i];
		quic_set_other(quic[i], nat_on_other, n);
		quic_set_keep_alive(quic[i], n->say_ns);
	}
	if (same && used == n->quic_count)
		return;
	n->quic_count = used;
	(void)nat_look(n, uv_hrtime());
	nat_resolve_all(n);
}

static bool
nat_portmapped_are(const struct nat *n, const struct addr *addr, size_t count)
{
	bool same = n->portmapped_count == count;

	for (size_t i = 0; same && i < count; i++)
		same = addr_equal(&n->portmapped[i], &addr[i]);
	return same;
}

void
nat_set_portmapped(struct nat *n, const struct addr *addr, size_t count)
{
	struct addr udp[NAT_PORTMAPPED];
	size_t used = 0;

	for (size_t i = 0; i < count && used < NAT_PORTMAPPED; i++)
		if (addr[i].scheme == ADDR_QUIC &&
		    (addr[i].host == ADDR_IP4 || addr[i].host == ADDR_IP6))
			udp[used++] = addr[i];
	if (nat_portmapped_are(n, udp, used))
		return;
	memcpy(n->portmapped, udp, used * sizeof(udp[0]));
	n->portmapped_count = used;
	nat_tell_side(n, uv_hrtime());
}

/* The sockets that QUIC listens on see to it by themselves. */
void
nat_set_lan_only(struct nat *n, bool lan_only)
{
	n->lan_only = lan_only;
	if (lan_only)
		nat_life_stop(n);
}

void
nat_want(struct nat *n, const struct devid *id, size_t count)
{
	puncher_want(n->puncher, id, count, uv_hrtime());
}

void
nat_set_here(struct nat *n, const struct devid *id, bool here)
{
	puncher_set_here(n->puncher, id, here, uv_hrtime());
}

void
nat_take_signal(struct nat *n, const struct devid *from, struct slice body)
{
	struct punch_signal signal;
	struct err err = { 0 };

	if (n->quic_count == 0)
		return;
	if (punch_signal_decode(&signal, body, &err) < 0)
		log_debug(n->log, "nat signal reason=\"%s\"", err.text);
	else
		puncher_take_signal(n->puncher, from, &signal, uv_hrtime());
}

void
nat_check(struct nat *n)
{
	(void)nat_look(n, uv_hrtime());
	nat_resolve_all(n);
}

void
nat_hurry(struct nat *n, const struct devid *id)
{
	puncher_hurry(n->puncher, id, uv_hrtime());
}

void
nat_refresh(struct nat *n)
{
	nat_check(n);
	puncher_refresh(n->puncher, uv_hrtime());
}

/* --- opening and closing ---------------------------------------------- */

int
nat_open(struct nat **out, uv_loop_t *loop, const struct identity *id,
    const struct nat_callbacks *cb, void *arg, const struct log *log,
    struct err *err)
{
	uint8_t key[3][DRAW_KEY_LEN];
	struct nat *n;

	*out = NULL;
	if (gnutls_rnd(GNUTLS_RND_RANDOM, key, sizeof(key)) < 0)
		return err_set(err, ERR_IO, "no random numbers");
	n = mem_zalloc(sizeof(*n));
	n->loop = loop;
	n->identity = id;
	n->cb = *cb;
	n->arg = arg;
	n->log = log;
	n->check = natcheck_new(key[0]);
	n->puncher = puncher_new(identity_devid(id), key[1]);
	n->life = natlife_new(key[2]);
	n->say_ns = QUIC_KEEP_ALIVE_NS;
	n->in = mem_alloc(QUIC_UDP_BURST);
	n->handles = 1; /* itself */
	*out = n;
	return 0;
}

void
nat_handle_closed(struct nat *n)
{
	ASSERT(n->handles > 0);
	if (--n->handles > 0)
		return;
	if (n->on_closed != NULL)
		n->on_closed(n->closed_arg);
	natcheck_free(n->check);
	puncher_free(n->puncher);
	natlife_free(n->life);
	VEC_FINI(&n->server);
	mem_free(n->in);
	mem_free(n);
}

static void
nat_on_later(uv_handle_t *handle)
{
	nat_handle_closed(handle->data);
}

void
nat_close(struct nat *n, void (*on_closed)(void *), void *arg)
{
	ASSERT(!n->closing);
	n->closing = true;
	n->on_closed = on_closed;
	n->closed_arg = arg;
	nat_drop_servers(n);
	nat_life_stop(n);
	for (unsigned i = 0; i < PUNCHER_ATTEMPTS; i++)
		if (n->socket[i] != NULL)
			nat_socket_close_all(n, i);
	n->quic_count = 0;
	uv_timer_init(n->loop, &n->later);
	n->later.data = n;
	uv_close((uv_handle_t *)&n->later, nat_on_later);
}

/* --- telling ---------------------------------------------------------- */

size_t
nat_addresses(const struct nat *n, struct addr *out, size_t cap)
{
	size_t count = 0;

	for (int v6 = 0; v6 < 2 && count < cap; v6++) {
		const struct natcheck_result *r =
		    natcheck_result(n->check, v6 != 0);

		if (r->udp && !natcheck_is_hard(r->mapping))
			out[count++] = r->mapped;
	}
	return count;
}

const struct natcheck *
nat_natcheck(const struct nat *n)
{
	return n->check;
}

const struct puncher *
nat_puncher(const struct nat *n)
{
	return n->puncher;
}

const struct natlife_result *
nat_life(const struct nat *n)
{
	return natlife_result(n->life);
}

bool
nat_has_socket(const struct nat *n)
{
	return n->quic_count > 0;
}

bool
nat_is_asking(const struct nat *n)
{
	for (size_t i = 0; i < n->server.len; i++)
		if (n->server.item[i]->resolving)
			return true;
	return natcheck_runs(n->check);
}

bool
nat_server_at(const struct nat *n, size_t i, struct nat_server_state *out)
{
	if (i >= n->server.len)
		return false;
	*out = (struct nat_server_state){ &n->server.item[i]->addr,
		n->server.item[i]->error };
	return true;
}
