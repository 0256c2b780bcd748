/*
 * Ports at the router, for those who have somebody to tell them to.
 */
#include "mesh/link_uv.h"

/* Is it open to IPv4 from other machines? */
static bool
net_portmap_wants(const struct net_listener *l)
{
	if (l->bound.port == 0 || l->at.family == ADDR_V6 ||
	    addr_is_loopback(&l->bound))
		return false;
	return addr_is_unspecified(&l->bound) || l->bound.host == ADDR_IP4;
}

void
net_portmap_set(struct net *net, bool wanted)
{
	struct portmap_port port[PORTMAP_PORTS];
	struct err err = { 0 };
	size_t count = 0;

	for (size_t i = 0; wanted && i < net->listener.len; i++) {
		const struct net_listener *l = &net->listener.item[i];

		if (count < PORTMAP_PORTS && net_portmap_wants(l))
			port[count++] =
			    (struct portmap_port){ .scheme = l->at.scheme,
				    .inner = l->bound.port };
	}
	if (count == 0) {
		if (net->portmap != NULL)
			portmap_uv_close(net->portmap, net_handle_closed, net);
		net->portmap = NULL;
		return;
	}
	if (net->portmap == NULL) {
		if (portmap_uv_open(&net->portmap, net->loop, net_on_addresses,
			net, net->log, &err) < 0) {
			log_error(net->log, "portmap fail reason=\"%s\"",
			    err.text);
			return;
		}
		net->handles++;
	}
	portmap_uv_set(net->portmap, port, count);
}

size_t
net_portmap_own(const struct net *net, struct addr out[PORTMAP_PORTS])
{
	if (net->portmap == NULL)
		return 0;
	return portmap_uv_own(net->portmap, out, PORTMAP_PORTS);
}

void
net_portmap_status(const struct net *net, struct net_status *out,
    struct arena *ar)
{
	struct net_portmap_status *at =
	    arena_array(ar, PORTMAP_PORTS, sizeof(*at));
	struct portmap_state state;
	struct addr inner = { 0 };
	char text[ADDR_TEXT_MAX];

	out->portmap = at;
	if (net->portmap == NULL)
		return;
	while (out->portmap_count < PORTMAP_PORTS &&
	       portmap_uv_state_at(net->portmap, out->portmap_count, &state)) {
		struct net_portmap_status *s = &at[out->portmap_count++];

		inner.scheme = state.port.scheme;
		inner.port = state.port.inner;
		addr_text(&inner, text);
		s->port = arena_str(ar, slice_str(text));
		s->open = state.open;
		s->method = portmap_method_text(state.method);
		s->error = arena_str(ar, slice_str(state.why));
		addr_text(&state.outer, text);
		s->address = state.open ? arena_str(ar, slice_str(text)) : "";
	}
}
