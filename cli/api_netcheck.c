/*
 * GET /v1/netcheck, POST /v1/netcheck/run: what is between this node and the
 * others.
 *
 * POST asks the STUN servers anew and answers at once; GET tells what is known,
 * and whether it is still being asked.
 */
#include "cli/api_private.h"

#include "engine/base/clock.h"

static json_t *
api_netcheck_ms(uint64_t ns)
{
	return ns == 0 ? json_null()
		       : json_real((double)(ns / CLOCK_US) / 1000.0);
}

static json_t *
api_netcheck_word(const char *text)
{
	return text[0] == '\0' ? json_null() : api_text(slice_str(text));
}

/* How long a mapping that nothing passes is remembered, and how long not. */
static json_t *
api_netcheck_life(const struct natlife_result *r)
{
	json_t *o;

	if (!r->known)
		return json_null();
	o = json_object();
	api_set_count(o, "kept_s", (int64_t)(r->kept_ns / CLOCK_S));
	json_object_set_new(o, "forgotten_s",
	    r->forgotten_ns == 0
		? json_null()
		: json_integer((json_int_t)(r->forgotten_ns / CLOCK_S)));
	return o;
}

static json_t *
api_netcheck_family(const struct net_netcheck_family *f)
{
	json_t *o = json_object();

	api_set_count(o, "asked", f->asked);
	api_set_count(o, "answered", f->answered);
	json_object_set_new(o, "mapped", api_netcheck_word(f->mapped));
	json_object_set_new(o, "mapping",
	    f->answered == 0 ? json_null()
			     : json_string(natcheck_mapping_text(f->mapping)));
	json_object_set_new(o, "varies",
	    f->answered == 0 || f->mapping == NATCHECK_UNKNOWN
		? json_null()
		: json_boolean(natcheck_is_hard(f->mapping)));
	json_object_set_new(o, "hairpin",
	    f->hairpin == NATCHECK_HAIRPIN_UNKNOWN
		? json_null()
		: json_boolean(f->hairpin == NATCHECK_HAIRPIN_YES));
	json_object_set_new(o, "life", api_netcheck_life(&f->life));
	json_object_set_new(o, "rtt_ms", api_netcheck_ms(f->rtt_ns));
	json_object_set_new(o, "age_s",
	    f->answered == 0 ? json_null()
			     : json_integer((json_int_t)(f->age_ns / CLOCK_S)));
	return o;
}

static json_t *
api_netcheck_servers(const struct net_netcheck *n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n->server_count; i++) {
		const struct net_netcheck_server *s = &n->server[i];
		json_t *o = json_object();

		json_object_set_new(o, "address",
		    api_text(slice_str(s->address)));
		json_object_set_new(o, "answered", json_boolean(s->answered));
		json_object_set_new(o, "rtt_ms", api_netcheck_ms(s->rtt_ns));
		json_object_set_new(o, "mapped", api_netcheck_word(s->mapped));
		json_object_set_new(o, "error", api_netcheck_word(s->error));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
api_netcheck_relays(const struct net_netcheck *n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n->relay_count; i++) {
		const struct net_netcheck_relay *r = &n->relay[i];
		json_t *o = json_object(), *users = json_array();

		json_object_set_new(o, "address",
		    api_text(slice_str(r->address)));
		json_object_set_new(o, "waits", json_boolean(r->waits));
		json_object_set_new(o, "joined", json_boolean(r->joined));
		json_object_set_new(o, "rtt_ms", api_netcheck_ms(r->rtt_ns));
		json_object_set_new(o, "error", api_netcheck_word(r->error));
		for (size_t k = 0; k < r->used_by_count; k++)
			json_array_append_new(users,
			    api_text(slice_str(r->used_by[k])));
		json_object_set_new(o, "used_by", users);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
api_netcheck_coordinators(const struct net_status *st)
{
	json_t *list = json_array();

	for (size_t i = 0; i < st->coordinator_count; i++) {
		const struct net_coordinator_status *c = &st->coordinator[i];
		json_t *o = json_object();

		json_object_set_new(o, "address",
		    api_text(slice_str(c->address)));
		json_object_set_new(o, "up", json_boolean(c->up));
		json_object_set_new(o, "rtt_ms", api_netcheck_ms(c->rtt_ns));
		json_object_set_new(o, "error", api_netcheck_word(c->error));
		json_array_append_new(list, o);
	}
	return list;
}

/* What the router was asked for. */
static json_t *
api_netcheck_portmap(const struct net_status *st)
{
	json_t *list = json_array();

	for (size_t i = 0; i < st->portmap_count; i++) {
		const struct net_portmap_status *p = &st->portmap[i];
		json_t *o = json_object();

		json_object_set_new(o, "port", api_text(slice_str(p->port)));
		json_object_set_new(o, "open", json_boolean(p->open));
		json_object_set_new(o, "address",
		    api_netcheck_word(p->address));
		json_object_set_new(o, "method", api_netcheck_word(p->method));
		json_object_set_new(o, "error", api_netcheck_word(p->error));
		json_array_append_new(list, o);
	}
	return list;
}

/* How attempts to open a way ended, since the start. */
static json_t *
api_netcheck_attempts(const struct net_netcheck *n)
{
	json_t *o = json_object();

	api_set_count(o, "opened", (int64_t)n->opened);
	for (int end = PUNCH_RUNS + 1; end <= (int)PUNCH_NO_ANSWER; end++)
		if (n->failed[end] > 0)
			api_set_count(o, punch_end_text((enum punch_end)end),
			    (int64_t)n->failed[end]);
	return o;
}

/* UDP: null when nobody was asked, or not to the end. */
static json_t *
api_netcheck_udp(const struct net_netcheck *n)
{
	if (n->v4.answered + n->v6.answered > 0)
		return json_true();
	return n->v4.asked + n->v6.asked == 0 || n->running ? json_null()
							    : json_false();
}

static void
api_netcheck_reply(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	struct net_netcheck n;
	struct net_status st;
	json_t *o = api_object();

	be->netcheck(be->arg, &call->ar, &n);
	be->net(be->arg, &call->ar, &st);
	json_object_set_new(o, "running", json_boolean(n.running));
	api_set_count(o, "rounds", (int64_t)n.rounds);
	json_object_set_new(o, "listens", json_boolean(n.socket));
	json_object_set_new(o, "udp", api_netcheck_udp(&n));
	json_object_set_new(o, "ipv4", api_netcheck_family(&n.v4));
	json_object_set_new(o, "ipv6", api_netcheck_family(&n.v6));
	json_object_set_new(o, "servers", api_netcheck_servers(&n));
	json_object_set_new(o, "relays", api_netcheck_relays(&n));
	json_object_set_new(o, "coordinators", api_netcheck_coordinators(&st));
	json_object_set_new(o, "portmap", api_netcheck_portmap(&st));
	json_object_set_new(o, "attempts", api_netcheck_attempts(&n));
	api_reply(call, o);
}

void
api_netcheck(struct api_call *call)
{
	api_netcheck_reply(call);
}

void
api_netcheck_begin(struct api_call *call)
{
	call->api->be.check_net(call->api->be.arg);
	api_netcheck_reply(call);
}
