/*
 * Ways to devices as JSON: the one in use, those that were tried, a sign of
 * life, and who is at the other end of one.
 */
#include "cli/api_private.h"

#include <string.h>

#define API_PING_WAIT_S 10 /* at most, for an answer */

enum reason
api_path_detour(const struct net_peer_status *p)
{
	switch (p->detour) {
	case MESH_DIRECT:
		return REASON_NONE;
	case MESH_NO_DIRECT_WAY:
		return REASON_NO_DIRECT_WAY;
	case MESH_DIRECT_FAILED:
		return REASON_DIRECT_FAILED;
	case MESH_DIRECT_UNTRIED:
		return REASON_DIRECT_UNTRIED;
	case MESH_UDP_BLOCKED:
		return REASON_UDP_BLOCKED;
	case MESH_UDP_BLOCKED_THERE:
		return REASON_UDP_BLOCKED_THERE;
	case MESH_HARD_NAT_BOTH:
		return REASON_HARD_NAT_BOTH;
	case MESH_HARD_NAT:
		return REASON_HARD_NAT;
	case MESH_NO_ANSWER:
		return REASON_NO_ANSWER;
	}
	return REASON_NONE;
}

static enum reason
api_failure(enum failure failure)
{
	switch (failure) {
	case FAILURE_NONE:
	case FAILURE_COUNT:
		return REASON_NONE;
	case FAILURE_REFUSED:
		return REASON_DIAL_REFUSED;
	case FAILURE_TIMEOUT:
		return REASON_DIAL_TIMEOUT;
	case FAILURE_UNREACHABLE:
		return REASON_DIAL_UNREACHABLE;
	case FAILURE_NO_NAME:
		return REASON_DIAL_NO_NAME;
	case FAILURE_OTHER:
		return REASON_DIAL_OTHER_DEVICE;
	case FAILURE_UNWANTED:
		return REASON_DIAL_UNWANTED;
	case FAILURE_RELAY:
		return REASON_DIAL_RELAY;
	case FAILURE_SCOPE:
		return REASON_OUTSIDE_SCOPE;
	case FAILURE_UNKNOWN:
		return REASON_DIAL_FAILED;
	}
	return REASON_NONE;
}

static json_t *
api_reason_or_null(enum reason r)
{
	return r == REASON_NONE ? json_null() : json_string(reason_name(r));
}

const struct net_peer_status *
api_path_peer(const struct net_status *net, const struct devid *id)
{
	for (size_t i = 0; i < net->peer_count; i++)
		if (devid_equal(&net->peer[i].id, id))
			return &net->peer[i];
	return NULL;
}

json_t *
api_path(const struct net_peer_status *p)
{
	json_t *o = json_object();

	if (p == NULL || !p->connected) {
		json_object_set_new(o, "kind", json_string("none"));
		return o;
	}
	if (p->asleep) {
		json_object_set_new(o, "kind", json_string("asleep"));
		json_object_set_new(o, "why",
		    api_reason_or_null(REASON_ASLEEP));
		json_object_set_new(o, "reason",
		    api_reason_or_null(REASON_ASLEEP));
		return o;
	}
	json_object_set_new(o, "kind",
	    json_string(p->relayed ? "relay" : "direct"));
	json_object_set_new(o, "why", api_reason_or_null(api_path_detour(p)));
	json_object_set_new(o, "reason",
	    api_reason_or_null(api_path_detour(p)));
	if (p->relayed)
		json_object_set_new(o, "via", api_text(slice_str(p->address)));
	json_object_set_new(o, "network", json_string(p->lan ? "lan" : "wan"));
	json_object_set_new(o, "transport", json_string(p->transport));
	json_object_set_new(o, "address", api_text(slice_str(p->address)));
	json_object_set_new(o, "dialled", json_boolean(p->dialled));
	json_object_set_new(o, "tls", api_text(slice_str(p->tls)));
	json_object_set_new(o, "since", api_time(p->since_wall_ns));
	return o;
}

static const char *
api_source(enum net_source source)
{
	switch (source) {
	case NET_CONFIGURED:
		return "configured";
	case NET_ANNOUNCED:
		return "announced";
	case NET_LOOKED_UP:
		return "looked-up";
	}
	return "";
}

json_t *
api_path_ways(const struct net_peer_status *p)
{
	json_t *list = json_array();

	for (size_t i = 0; p != NULL && i < p->way_count; i++) {
		const struct net_address_status *w = &p->way[i];
		json_t *o = json_object();

		json_object_set_new(o, "address",
		    api_text(slice_str(w->address)));
		json_object_set_new(o, "found", json_boolean(w->found));
		json_object_set_new(o, "source",
		    json_string(api_source(w->source)));
		json_object_set_new(o, "in_use", json_boolean(w->in_use));
		json_object_set_new(o, "dialling", json_boolean(w->dialling));
		json_object_set_new(o, "reason",
		    api_reason_or_null(api_failure(w->failure)));
		json_object_set_new(o, "error", api_text(slice_str(w->error)));
		json_object_set_new(o, "tried", api_time(w->tried_wall_ns));
		api_set_count(o, "retry_in_s",
		    (int64_t)(w->retry_in_ns / CLOCK_S));
		json_array_append_new(list, o);
	}
	return list;
}

json_t *
api_path_counts(const struct net_counts *counts)
{
	json_t *o = json_object(), *failed = json_object();

	for (int f = FAILURE_NONE + 1; f < FAILURE_COUNT; f++)
		if (counts->failed[f] > 0)
			api_set_count(failed,
			    reason_name(api_failure((enum failure)f)),
			    (int64_t)counts->failed[f]);
	api_set_count(o, "direct", (int64_t)counts->direct);
	api_set_count(o, "relayed", (int64_t)counts->relayed);
	json_object_set_new(o, "failed", failed);
	api_set_count(o, "refused", (int64_t)counts->refused);
	return o;
}

/* --- A sign of life --- */

bool
api_path_find(struct api_call *call, struct slice text,
    const struct status_device **out)
{
	struct status_report *rp = arena_alloc(&call->ar, sizeof(*rp));
	struct err err = { 0 };
	uint32_t i;

	call->api->be.status(call->api->be.arg, &call->ar, rp);
	if (api_find_device(call, rp, text, &i, &err) < 0) {
		api_fail(call, &err, "syncctl device list");
		return false;
	}
	*out = &rp->device[i];
	return true;
}

void
api_path_offline(struct api_call *call, const struct status_device *d,
    const struct net_peer_status *p)
{
	api_fail_as(call, 409, "offline", CMD_OFFLINE,
	    slice_str(arena_printf(&call->ar,
		p != NULL && p->asleep
		    ? "%.*s is asleep, and being woken: ask again"
		    : "%.*s is not connected",
		SLICE_FMT(d->name))),
	    arena_printf(&call->ar, "syncctl device diag %.*s",
		SLICE_FMT(d->name)));
}

/* Its program answers, or only what carries the connection measures. */
static bool
api_path_echoes(const struct net_peer_status *p)
{
	return (p->features & FEATURE_ECHO) != 0;
}

/* What it told of us with its answer; null: it did not. */
static json_t *
api_path_there(const struct net_echo *echo)
{
	json_t *o;

	if (echo->seen[0] == '\0')
		return json_null();
	o = json_object();
	json_object_set_new(o, "name", api_text(slice_str(echo->name)));
	json_object_set_new(o, "seen", api_text(slice_str(echo->seen)));
	api_set_count(o, "uptime_s",
	    echo->uptime_s > INT64_MAX ? INT64_MAX : (int64_t)echo->uptime_s);
	return o;
}

static json_t *
api_path_ping(const struct status_device *d, const struct net_peer_status *p,
    uint64_t number)
{
	const bool echo = api_path_echoes(p);
	const uint64_t rtt_ns = !echo                        ? p->rtt_ns
				: p->echo.answered >= number ? p->echo.rtt_ns
							     : 0;
	json_t *o = api_object();

	json_object_set_new(o, "device", api_text(d->name));
	json_object_set_new(o, "id", api_devid(&d->id));
	api_set_count(o, "number", (int64_t)number);
	json_object_set_new(o, "by",
	    json_string(echo         ? "echo"
			: p->relayed ? "opening"
				     : "transport"));
	json_object_set_new(o, "rtt_us",
	    rtt_ns == 0 ? json_null()
			: json_integer((json_int_t)(rtt_ns / CLOCK_US)));
	json_object_set_new(o, "refused",
	    json_boolean(echo && rtt_ns != 0 && p->echo.refused));
	json_object_set_new(o, "there",
	    echo && rtt_ns != 0 ? api_path_there(&p->echo) : json_null());
	json_object_set_new(o, "path", api_path(p));
	return o;
}

void
api_path_ask(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	const struct net_peer_status *p;
	const struct status_device *d;
	struct net_status net;
	uint64_t number;

	if (!api_path_find(call, call->word, &d))
		return;
	number = be->ping(be->arg, &d->id);
	be->net(be->arg, &call->ar, &net);
	p = api_path_peer(&net, &d->id);
	if (number == 0 || p == NULL || !p->connected)
		api_path_offline(call, d, p);
	else
		api_reply(call, api_path_ping(d, p, number));
}

/* Waits for the answer, when there is to be one. */
void
api_path_answer(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	const uint64_t number = api_number(call, "number", 0);
	uint64_t timeout = api_number(call, "timeout", 0);
	const struct net_peer_status *p;
	const struct status_device *d;
	struct net_status net;

	if (!api_path_find(call, api_query(call, "device"), &d))
		return;
	be->net(be->arg, &call->ar, &net);
	p = api_path_peer(&net, &d->id);
	if (p == NULL || !p->connected) {
		api_path_offline(call, d, p);
		return;
	}
	/* Numbers do not go back: another connection does not answer it. */
	if (api_path_echoes(p) && p->echo.asked >= number &&
	    p->echo.answered < number && timeout > 0 && !call->final) {
		if (timeout > API_PING_WAIT_S)
			timeout = API_PING_WAIT_S;
		call->out->wait = true;
		call->out->wait_s = (uint32_t)timeout;
		return;
	}
	api_reply(call, api_path_ping(d, p, number));
}

/* --- Who is it? --- */

/* "1.2.3.4", "1.2.3.4:5", "fe80::1", "[fe80::1]:5". */
static bool
api_path_parse(struct arena *ar, struct slice text, struct addr *out,
    bool *has_port)
{
	const char *plain = arena_str(ar, text);
	const char *colon = strchr(plain, ':');
	const bool bare6 =
	    plain[0] != '[' && colon != NULL && strchr(colon + 1, ':') != NULL;

	*has_port = plain[0] == '[' ? strstr(plain, "]:") != NULL
				    : colon != NULL && !bare6;
	plain = arena_printf(ar, bare6 ? "tcp://[%s]" : "tcp://%s", plain);
	return addr_parse(out, slice_str(plain), NULL) == 0 &&
	       (out->host == ADDR_IP4 || out->host == ADDR_IP6);
}

static bool
api_path_is_at(struct arena *ar, const struct net_peer_status *p,
    const struct addr *at, bool has_port)
{
	struct addr there;
	bool unused;

	return p->connected &&
	       api_path_parse(ar, slice_str(p->address), &there, &unused) &&
	       there.host == at->host &&
	       memcmp(there.ip, at->ip, at->host == ADDR_IP4 ? 4 : 16) == 0 &&
	       (!has_port || there.port == at->port);
}

static void
api_path_match(json_t *list, const struct status_device *d,
    const struct net_status *net)
{
	json_t *o = json_object();

	json_object_set_new(o, "device", api_text(d->name));
	json_object_set_new(o, "id", api_devid(&d->id));
	json_object_set_new(o, "path", api_path(api_path_peer(net, &d->id)));
	json_array_append_new(list, o);
}

void
api_path_whois(struct api_call *call)
{
	const struct api_backend *be = &call->api->be;
	const struct slice who = api_query(call, "who");
	json_t *o, *list = json_array();
	struct status_report rp;
	struct net_status net;
	struct addr at;
	bool has_port;
	uint32_t found;

	be->status(be->arg, &call->ar, &rp);
	be->net(be->arg, &call->ar, &net);
	if (api_path_parse(&call->ar, who, &at, &has_port)) {
		for (uint32_t i = 0; i < rp.device_count; i++) {
			const struct net_peer_status *p =
			    api_path_peer(&net, &rp.device[i].id);

			if (p != NULL &&
			    api_path_is_at(&call->ar, p, &at, has_port))
				api_path_match(list, &rp.device[i], &net);
		}
	}
	/* A way that is in use comes before an address that is only a name. */
	if (json_array_size(list) == 0 &&
	    api_find_device(call, &rp, who, &found, NULL) == 0)
		api_path_match(list, &rp.device[found], &net);
	if (json_array_size(list) == 0) {
		json_decref(list);
		api_fail_as(call, 404, "unknown", CMD_NOT_FOUND,
		    slice_str(arena_printf(&call->ar,
			"unknown: no device of this one is %.*s",
			SLICE_FMT(who))),
		    "syncctl status");
		return;
	}
	o = api_object();
	json_object_set_new(o, "who", api_text(who));
	json_object_set_new(o, "devices", list);
	api_reply(call, o);
}
