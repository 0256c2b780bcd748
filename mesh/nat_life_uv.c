/*
 * The life of a mapping, with two sockets of its own; see nat_impl.h.
 *
 * Measured once where we are seen from an address that is not ours, when a
 * server has answered.  Connections share the answer: how often they say
 * something.
 */
#include "mesh/nat_impl.h"

#include <string.h>

#include "engine/base/mem.h"
#include "mesh/addr_uv.h"

static void
nat_life_ear_freed(uv_handle_t *handle)
{
	struct nat_ear *e = handle->data;
	struct nat *n = e->nat;

	mem_free(e);
	nat_handle_closed(n);
}

static void
nat_life_close(struct nat *n)
{
	for (int quiet = 0; quiet < 2; quiet++) {
		struct nat_ear *e = n->ear[quiet];

		if (e == NULL)
			continue;
		n->ear[quiet] = NULL;
		uv_close((uv_handle_t *)&e->poll, nat_life_ear_freed);
		quic_udp_close(&e->udp);
	}
}

static void
nat_life_on_poll(uv_poll_t *poll, int status, int events)
{
	struct nat_ear *e = poll->data;
	struct nat *n = e->nat;
	struct quic_udp_burst b;
	struct addr from;

	(void)status;
	(void)events;
	/* It may close the ear. */
	while (n->ear[e->quiet] == e && quic_udp_receive(&e->udp, n->in, &b)) {
		addr_uv_from_sockaddr(&from, (const struct sockaddr *)&b.peer);
		/* Answers are short: none was joined with others that matter.
		 */
		(void)natlife_take(n->life, e->quiet,
		    slice_of(n->in, b.segment < b.len ? b.segment : b.len),
		    &from, uv_hrtime());
		nat_life_pump(n, uv_hrtime());
	}
}

static bool
nat_life_open(struct nat *n, bool quiet)
{
	const struct addr any = { .scheme = ADDR_QUIC, .family = ADDR_V4 };
	struct nat_ear *e = mem_zalloc(sizeof(*e));
	struct addr bound;

	e->nat = n;
	e->quiet = quiet;
	if (quic_udp_open(&e->udp, &any, &bound, NULL) < 0) {
		mem_free(e);
		return false;
	}
	e->poll.data = e;
	if (uv_poll_init(n->loop, &e->poll, e->udp.fd) < 0) {
		quic_udp_close(&e->udp);
		mem_free(e);
		return false;
	}
	(void)uv_poll_start(&e->poll, UV_READABLE, nat_life_on_poll);
	n->ear[quiet] = e;
	n->handles++;
	return true;
}

/* One that answered, over IPv4; false: none. */
static bool
nat_life_server(const struct nat *n, struct addr *out)
{
	struct natcheck_server_state state;

	for (size_t i = 0; natcheck_server_at(n->check, i, &state); i++)
		if (state.answered && state.addr.host == ADDR_IP4 &&
		    (!n->lan_only || addr_is_lan(&state.addr))) {
			*out = state.addr;
			return true;
		}
	return false;
}

static void
nat_life_tell(struct nat *n)
{
	n->say_ns = natlife_say_ns(natlife_result(n->life), QUIC_KEEP_ALIVE_NS);
	for (size_t i = 0; i < n->quic_count; i++)
		quic_set_keep_alive(n->quic[i], n->say_ns);
}

/* A check is over. */
static void
nat_life_follow(struct nat *n, uint64_t now_ns)
{
	const struct natcheck_result *r = natcheck_result(n->check, false);
	struct addr server;

	if (!r->udp || r->mapping == NATCHECK_NONE) {
		nat_life_stop(n);
		nat_life_tell(n);
		return;
	}
	if (memcmp(n->life_of.ip, r->mapped.ip, sizeof(r->mapped.ip)) == 0 ||
	    !nat_life_server(n, &server))
		return;
	nat_life_stop(n);
	nat_life_tell(n);
	if (!nat_life_open(n, false) || !nat_life_open(n, true)) {
		nat_life_close(n);
		return;
	}
	n->life_of = r->mapped;
	natlife_begin(n->life, &server, now_ns);
}

static void
nat_life_send(struct nat *n, const struct natlife_send *s)
{
	struct nat_ear *e = n->ear[s->quiet];
	struct quic_udp_burst b = { .len = s->datagram.len,
		.segment = s->datagram.len };

	if (e == NULL)
		return;
	b.own = e->udp.at;
	b.own_len = e->udp.at_len;
	if (addr_uv_to_sockaddr(&s->to, &b.peer, NULL) == 0 &&
	    quic_udp_fit(&e->udp, &b.peer, &b.peer_len))
		(void)quic_udp_send(&e->udp, s->datagram.ptr, &b);
}

void
nat_life_pump(struct nat *n, uint64_t now_ns)
{
	const struct natlife_result *r = natlife_result(n->life);
	struct natlife_send send;

	if (natcheck_rounds(n->check) != n->life_rounds) {
		n->life_rounds = natcheck_rounds(n->check);
		nat_life_follow(n, now_ns);
	}
	while (natlife_next(n->life, now_ns, &send)) {
		nat_life_send(n, &send);
		buf_fini(&send.datagram);
	}
	if (natlife_runs(n->life) || n->ear[0] == NULL)
		return;
	nat_life_close(n);
	if (r->known) {
		log_info(n->log, "nat life kept=%us forgotten=%us",
		    (unsigned)(r->kept_ns / CLOCK_S),
		    (unsigned)(r->forgotten_ns / CLOCK_S));
	} else {
		/* It is tried again after the next check. */
		log_info(n->log, "nat life reason=\"no server can tell\"");
		memset(&n->life_of, 0, sizeof(n->life_of));
	}
	nat_life_tell(n);
}

void
nat_life_stop(struct nat *n)
{
	natlife_stop(n->life);
	memset(&n->life_of, 0, sizeof(n->life_of));
	nat_life_close(n);
}
