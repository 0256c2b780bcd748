/*
 * The net's part in looking at NATs and opening ways through them; see
 * link_uv.h and nat_uv.h.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/link_uv.h"
#include "mesh/nat_uv.h"
#include "mesh/net_coord_uv.h"

/* A device that can be sent signals over a line. */
struct net_nat_here {
	const struct coord_client *line;
	struct devid id;
};

/* A line whose coordinator answers STUN. */
struct net_nat_line {
	const struct coord_client *line;
	struct addr stun[2];
	size_t count;
};

struct net_nat {
	struct nat *nat;
	uint64_t sought;       /* mesh_changes() that it knows of */
	VEC(struct addr) stun; /* configured */
	VEC(struct net_nat_here) here;
	VEC(struct net_nat_line) line;
};

/* --- whom to ask ------------------------------------------------------ */

static void
net_nat_tell_servers(struct net_nat *nn)
{
	VEC(struct addr) all = { 0 };

	for (size_t i = 0; i < nn->stun.len; i++)
		*VEC_ADD(&all) = nn->stun.item[i];
	for (size_t i = 0; i < nn->line.len; i++)
		for (size_t k = 0; k < nn->line.item[i].count; k++)
			*VEC_ADD(&all) = nn->line.item[i].stun[k];
	nat_set_servers(nn->nat, all.item, all.len);
	VEC_FINI(&all);
}

static void
net_nat_drop_line(struct net_nat *nn, const struct coord_client *line)
{
	for (size_t i = 0; i < nn->line.len;)
		if (nn->line.item[i].line == line)
			VEC_DROP(&nn->line, i);
		else
			i++;
}

static void
net_nat_on_up(void *arg, struct coord_client *line,
    const struct coord_message *welcome)
{
	struct net *net = arg;
	struct net_nat_line *at;
	struct coord_client_state state;

	coord_client_state(line, &state);
	net_nat_drop_line(net->nat, line);
	at = VEC_ADD(&net->nat->line);
	*at = (struct net_nat_line){ .line = line };
	for (int i = 0; i < 2; i++) {
		if (welcome->u.welcome.stun_port[i] == 0)
			continue;
		at->stun[at->count] = *state.at;
		at->stun[at->count].scheme = ADDR_QUIC;
		at->stun[at->count].port = welcome->u.welcome.stun_port[i];
		at->count++;
	}
	net_nat_tell_servers(net->nat);
}

/* --- signals ---------------------------------------------------------- */

/* The connection by which signals can go; NULL when there is none. */
static struct conn *
net_nat_conn(const struct net *net, const struct devid *id)
{
	const struct net_peer *p = net_find(net, id);

	return p != NULL && p->up &&
		       (conn_features(p->link->conn) & FEATURE_SIGNAL) != 0
		   ? p->link->conn
		   : NULL;
}

bool
net_nat_can_wake(const struct net *net, const struct devid *id)
{
	const struct net_nat *nn = net->nat;

	for (size_t i = 0; i < nn->here.len; i++)
		if (devid_equal(&nn->here.item[i].id, id))
			return true;
	return false;
}

static bool
net_nat_is_here(const struct net *net, const struct devid *id)
{
	return net_nat_conn(net, id) != NULL || net_nat_can_wake(net, id);
}

static void
net_nat_on_where(void *arg, struct coord_client *line, const struct devid *id,
    const struct addr *addr, size_t count, bool here)
{
	struct net *net = arg;
	struct net_nat *nn = net->nat;

	(void)addr;
	(void)count;
	for (size_t i = 0; i < nn->here.len;)
		if (nn->here.item[i].line == line &&
		    devid_equal(&nn->here.item[i].id, id))
			VEC_DROP(&nn->here, i);
		else
			i++;
	if (here && mesh_has(net->mesh, id))
		*VEC_ADD(&nn->here) = (struct net_nat_here){ line, *id };
	nat_set_here(nn->nat, id, net_nat_is_here(net, id));
	net_sleep_check(net);
	net_wake(net);
}

static void
net_nat_on_down(void *arg, struct coord_client *line)
{
	struct net *net = arg;
	struct net_nat *nn = net->nat;

	net_nat_drop_line(nn, line);
	for (size_t i = 0; i < nn->here.len;) {
		const struct devid id = nn->here.item[i].id;

		if (nn->here.item[i].line != line) {
			i++;
			continue;
		}
		VEC_DROP(&nn->here, i);
		nat_set_here(nn->nat, &id, net_nat_is_here(net, &id));
	}
	net_sleep_check(net);
	/* Its STUN server is asked until another line is up. */
	if (nn->line.len > 0)
		net_nat_tell_servers(nn);
}

/* With whom a way is to be opened; who was woken is called at once. */
static void
net_nat_want(struct net *net)
{
	const size_t cap = net->peer.len + 1;
	struct devid *sought;

	if (net->nat->sought == mesh_changes(net->mesh))
		return;
	net->nat->sought = mesh_changes(net->mesh);
	sought = mem_array(cap, sizeof(*sought));
	nat_want(net->nat->nat, sought, mesh_sought(net->mesh, sought, cap));
	mem_free(sought);
	for (size_t i = 0; i < net->peer.len; i++) {
		if (net->peer.item[i]->hurry)
			nat_hurry(net->nat->nat, &net->peer.item[i]->id);
		net->peer.item[i]->hurry = false;
	}
}

static void
net_nat_on_signal(void *arg, struct coord_client *line,
    const struct devid *from, struct slice body)
{
	struct net *net = arg;

	struct net_peer *p = net_find(net, from);

	(void)line;
	if (p != NULL && p->asleep) {
		net_sleep_rouse(net, p, false);
		net_nat_want(net); /* else its call would be refused */
	}
	if (mesh_has(net->mesh, from) && !mesh_is_paused(net->mesh, from))
		nat_take_signal(net->nat->nat, from, body);
	net_wake(net);
}

void
net_nat_take_signal(struct net *net, const struct devid *from,
    struct slice body)
{
	if (!net->closing)
		nat_take_signal(net->nat->nat, from, body);
}

void
net_nat_follow_peer(struct net *net, const struct devid *id)
{
	if (!net->closing)
		nat_set_here(net->nat->nat, id, net_nat_is_here(net, id));
}

/*
 * Over the connection that is to be made a better one, or over the first line
 * that the device is told to be at.
 */
static void
net_nat_signal(void *arg, const struct devid *to, struct slice body)
{
	const struct message m = { .type = MESSAGE_SIGNAL,
		.u.signal.body = body };
	struct net *net = arg;
	struct conn *conn = net_nat_conn(net, to);
	struct coord_client *line;

	if (conn != NULL) {
		(void)conn_send(conn, &m, NULL, 0, NULL);
		return;
	}

	for (size_t i = 0; (line = net_coord_at(net, i)) != NULL; i++)
		for (size_t k = 0; k < net->nat->here.len; k++)
			if (net->nat->here.item[k].line == line &&
			    devid_equal(&net->nat->here.item[k].id, to) &&
			    coord_client_signal(line, to, body))
				return;
	/* A call from somebody not told of yet: any line may do. */
	for (size_t i = 0; (line = net_coord_at(net, i)) != NULL; i++)
		if (coord_client_signal(line, to, body))
			return;
}

static void
net_nat_dial(void *arg, const struct devid *id, struct quic *from,
    const struct addr *to)
{
	link_dial_opened(arg, id, from, to);
}

/* --- what the net tells ----------------------------------------------- */

int
net_nat_open(struct net *net, struct err *err)
{
	static const struct nat_callbacks callbacks = {
		.signal = net_nat_signal,
		.dial = net_nat_dial,
		.on_change = net_on_addresses,
		.accept = &link_quic_callbacks,
	};
	static const struct net_coord_hooks hooks = {
		.on_up = net_nat_on_up,
		.on_down = net_nat_on_down,
		.on_where = net_nat_on_where,
		.on_signal = net_nat_on_signal,
	};
	struct net_nat *nn = mem_zalloc(sizeof(*nn));
	const int rc = nat_open(&nn->nat, net->loop, net->identity, &callbacks,
	    net, net->log, err);

	if (rc < 0) {
		mem_free(nn);
		return rc;
	}
	net->nat = nn;
	net->handles++;
	net_coord_hook(net, &hooks, net);
	return 0;
}

void
net_nat_close(struct net *net)
{
	if (net->nat != NULL)
		nat_close(net->nat->nat, net_handle_closed, net);
}

void
net_nat_free(struct net_nat *nn)
{
	if (nn == NULL)
		return;
	VEC_FINI(&nn->stun);
	VEC_FINI(&nn->here);
	VEC_FINI(&nn->line);
	mem_free(nn);
}

void
net_nat_follow_sockets(struct net *net)
{
	VEC(struct quic *) quic = { 0 };
	VEC(struct addr) bound = { 0 };

	for (size_t i = 0; i < net->listener.len; i++) {
		if (net->listener.item[i].quic == NULL)
			continue;
		*VEC_ADD(&quic) = net->listener.item[i].quic;
		*VEC_ADD(&bound) = net->listener.item[i].bound;
	}
	nat_set_sockets(net->nat->nat, quic.item, bound.item, quic.len);
	VEC_FINI(&quic);
	VEC_FINI(&bound);
}

void
net_nat_set_servers(struct net *net, const struct addr *stun, size_t count)
{
	VEC_CLEAR(&net->nat->stun);
	for (size_t i = 0; i < count; i++)
		*VEC_ADD(&net->nat->stun) = stun[i];
	net_nat_tell_servers(net->nat);
}

void
net_nat_set_portmapped(struct net *net, const struct addr *addr, size_t count)
{
	if (!net->closing)
		nat_set_portmapped(net->nat->nat, addr, count);
}

void
net_nat_refresh(struct net *net)
{
	if (!net->closing)
		nat_refresh(net->nat->nat);
}

void
net_nat_set_lan_only(struct net *net, bool lan_only)
{
	nat_set_lan_only(net->nat->nat, lan_only);
}

size_t
net_nat_addresses(const struct net *net, struct addr *out, size_t cap)
{
	return nat_addresses(net->nat->nat, out, cap);
}

enum mesh_detour
net_nat_detour(const struct net *net, const struct devid *id)
{
	const enum mesh_detour detour = mesh_detour(net->mesh, id);

	/* What is untried may yet succeed. */
	if (net->closing ||
	    (detour != MESH_DIRECT_FAILED && detour != MESH_NO_DIRECT_WAY))
		return detour;
	switch (puncher_end(nat_puncher(net->nat->nat), id, NULL)) {
	case PUNCH_UDP_BLOCKED:
		return MESH_UDP_BLOCKED;
	case PUNCH_UDP_BLOCKED_THERE:
		return MESH_UDP_BLOCKED_THERE;
	case PUNCH_HARD_BOTH:
		return MESH_HARD_NAT_BOTH;
	case PUNCH_HARD_ONE:
		return MESH_HARD_NAT;
	case PUNCH_NO_ANSWER:
		return MESH_NO_ANSWER;
	case PUNCH_RUNS:
	case PUNCH_SILENT:
	case PUNCH_REFUSED:
		break;
	}
	return detour;
}

void
net_nat_tick(struct net *net, uint64_t now_ns)
{
	if (net->closing)
		return;
	net_nat_want(net);
	nat_tick(net->nat->nat, now_ns);
}

uint64_t
net_nat_wake_at(const struct net *net, uint64_t now_ns)
{
	if (net->closing)
		return CLOCK_NEVER;
	return net->nat->sought != mesh_changes(net->mesh)
		   ? now_ns
		   : nat_wake_at(net->nat->nat);
}

/* --- telling ---------------------------------------------------------- */

void
net_check(struct net *net)
{
	if (!net->closing)
		nat_check(net->nat->nat);
}

static const char *
net_nat_host(const struct addr *a, struct arena *ar)
{
	char text[ADDR_TEXT_MAX];

	addr_text_host(a, text);
	return arena_str(ar, slice_str(text));
}

static void
net_nat_family(const struct net *net, bool v6, struct net_netcheck_family *out,
    struct arena *ar)
{
	const struct natcheck_result *r =
	    natcheck_result(nat_natcheck(net->nat->nat), v6);

	*out = (struct net_netcheck_family){ .asked = r->asked,
		.answered = r->answered,
		.mapped = r->udp ? net_nat_host(&r->mapped, ar) : "",
		.mapping = r->mapping,
		.hairpin = r->hairpin,
		.rtt_ns = r->rtt_ns,
		.age_ns = r->udp ? uv_hrtime() - r->at_ns : 0 };
	if (!v6)
		out->life = *nat_life(net->nat->nat);
}

static void
net_nat_servers(const struct net *net, struct net_netcheck *out,
    struct arena *ar)
{
	struct net_netcheck_server *list = arena_array(ar,
	    NATCHECK_TARGETS + LIMIT_STUN_SERVERS, sizeof(*list));
	struct natcheck_server_state state;
	struct nat_server_state named;

	out->server = list;
	for (size_t i = 0;
	     natcheck_server_at(nat_natcheck(net->nat->nat), i, &state); i++)
		list[out->server_count++] = (struct net_netcheck_server){
			.address = net_nat_host(&state.addr, ar),
			.answered = state.answered,
			.rtt_ns = state.answered ? state.rtt_ns : 0,
			.mapped = state.answered
				      ? net_nat_host(&state.mapped, ar)
				      : "",
			.error = "",
		};
	for (size_t i = 0;
	     i < LIMIT_STUN_SERVERS && nat_server_at(net->nat->nat, i, &named);
	     i++)
		if (named.error[0] != '\0')
			list[out->server_count++] =
			    (struct net_netcheck_server){
				    .address = net_nat_host(named.addr, ar),
				    .mapped = "",
				    .error =
					arena_str(ar, slice_str(named.error)),
			    };
}

/* The nearest first; those that are not known last. */
static int
net_nat_cmp_relay(const void *a, const void *b)
{
	const struct net_netcheck_relay *x = a, *y = b;
	const uint64_t p = x->rtt_ns == 0 ? UINT64_MAX : x->rtt_ns;
	const uint64_t q = y->rtt_ns == 0 ? UINT64_MAX : y->rtt_ns;

	return p < q ? -1 : p > q;
}

/* Is `p` connected through the relay that is shown as `address`? */
static bool
net_nat_is_by(const struct net_peer *p, const char *address)
{
	char text[ADDR_TEXT_MAX];

	if (!p->up || !addr_is_relayed(conn_address(p->link->conn)))
		return false;
	addr_text_host(conn_address(p->link->conn), text);
	return strcmp(text, address) == 0;
}

/* A relay at which we do not wait, but which carries a connection. */
static void
net_nat_relay_use(struct net_netcheck_relay *list, size_t *count,
    const struct net_peer *p, struct arena *ar)
{
	const struct addr *at = conn_address(p->link->conn);

	if (!addr_is_relayed(at))
		return;
	for (size_t i = 0; i < *count; i++)
		if (net_nat_is_by(p, list[i].address))
			return;
	list[(*count)++] =
	    (struct net_netcheck_relay){ .address = net_nat_host(at, ar),
		    .error = "" };
}

static void
net_nat_relay_users(const struct net *net, struct net_netcheck_relay *r,
    struct arena *ar)
{
	const char **name = arena_array(ar, net->peer.len + 1, sizeof(*name));

	r->used_by = name;
	for (size_t i = 0; i < net->peer.len; i++)
		if (net_nat_is_by(net->peer.item[i], r->address))
			name[r->used_by_count++] =
			    arena_str(ar, slice_str(net->peer.item[i]->name));
}

static void
net_nat_relays(const struct net *net, struct net_netcheck *out,
    struct arena *ar)
{
	struct net_netcheck_relay *list =
	    arena_array(ar, net->relay.len + net->peer.len + 1, sizeof(*list));

	for (size_t i = 0; i < net->relay.len; i++) {
		const struct waiting *w = net->relay.item[i].waiting;

		list[i] = (struct net_netcheck_relay){
			.address = net_nat_host(waiting_address(w), ar),
			.waits = true,
			.joined = waiting_has_place(w),
			.rtt_ns = waiting_rtt_ns(w),
			.error = arena_str(ar, slice_str(waiting_error(w))),
		};
	}
	out->relay = list;
	out->relay_count = net->relay.len;
	for (size_t i = 0; i < net->peer.len; i++)
		if (net->peer.item[i]->up)
			net_nat_relay_use(list, &out->relay_count,
			    net->peer.item[i], ar);
	for (size_t i = 0; i < out->relay_count; i++)
		net_nat_relay_users(net, &list[i], ar);
	qsort(list, out->relay_count, sizeof(*list), net_nat_cmp_relay);
}

void
net_netcheck(const struct net *net, struct net_netcheck *out, struct arena *ar)
{
	const struct puncher *p;

	*out = (struct net_netcheck){ .v4.mapped = "", .v6.mapped = "" };
	if (net->closing)
		return;
	p = nat_puncher(net->nat->nat);
	*out = (struct net_netcheck){ .socket = nat_has_socket(net->nat->nat),
		.running = nat_is_asking(net->nat->nat),
		.rounds = natcheck_rounds(nat_natcheck(net->nat->nat)) };
	net_nat_family(net, false, &out->v4, ar);
	net_nat_family(net, true, &out->v6, ar);
	net_nat_servers(net, out, ar);
	net_nat_relays(net, out, ar);
	out->opened = puncher_count(p, PUNCH_RUNS);
	for (int end = PUNCH_RUNS + 1; end <= (int)PUNCH_NO_ANSWER; end++)
		out->failed[end] = puncher_count(p, (enum punch_end)end);
}
