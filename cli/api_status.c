/*
 * Status as JSON: folders, devices, what is pending, what is wrong.
 *
 * The exit code is made here and in api_problem.c and nowhere else, so that
 * syncctl, curl and a monitor are told the same.  FEATURES.md E2, E4, E5.
 */
#include "cli/api_private.h"

static const char *
api_health(enum cmd_exit code)
{
	switch ((int)code) {
	case CMD_OK:
		return "healthy";
	case CMD_WORKING:
		return "working";
	case CMD_ATTENTION:
		return "attention";
	default:
		return "stopped";
	}
}

int64_t
api_last_seen(const struct api_view *v, const struct devid *id)
{
	const struct net_peer_status *peer = api_path_peer(&v->net, id);
	int64_t seen = 0;

	if (peer != NULL && peer->connected)
		return v->now.wall_ns;
	if (peer != NULL)
		seen = peer->last_seen_wall_ns;
	for (size_t i = 0; i < v->facts.seen_count; i++)
		if (devid_equal(&v->facts.seen[i].device, id) &&
		    v->facts.seen[i].wall_ns > seen)
			seen = v->facts.seen[i].wall_ns;
	return seen;
}

/* --- Folders --- */

static json_t *
api_totals(const struct totals *t)
{
	json_t *o = json_object();

	api_set_count(o, "files", t->files);
	api_set_count(o, "dirs", t->dirs);
	api_set_count(o, "links", t->links);
	api_set_count(o, "deleted", t->deleted);
	api_set_count(o, "bytes", t->bytes);
	return o;
}

static json_t *
api_need(const struct need_totals *n)
{
	json_t *o = json_object();

	api_set_count(o, "items", n->items);
	api_set_count(o, "deletes", n->deletes);
	api_set_count(o, "bytes", n->bytes);
	return o;
}

static bool
api_needs_nothing(const struct need_totals *n)
{
	return n->items == 0 && n->deletes == 0;
}

static json_t *
api_folder_scan(const struct status_scan *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "running", json_boolean(s->running));
	api_set_count(o, "passes", (int64_t)s->passes);
	api_set_count(o, "dirs", (int64_t)s->dirs);
	api_set_count(o, "files", (int64_t)s->files);
	api_set_count(o, "hashed_bytes", (int64_t)s->hashed_bytes);
	json_object_set_new(o, "last_end", api_time(s->last_end_wall_ns));
	api_set_count(o, "changing", s->changing);
	api_set_count(o, "failed", s->failed);
	return o;
}

static const char *
api_watch_name(enum watch_state w)
{
	switch (w) {
	case WATCH_OFF:
		return "off";
	case WATCH_FULL:
		return "full";
	case WATCH_PARTIAL:
		return "partial";
	case WATCH_FAILED:
		return "failed";
	}
	return "off";
}

static json_t *
api_folder_shares(const struct api_view *v, const struct status_folder *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->share_count; i++) {
		const struct status_share *s = &f->share[i];
		json_t *o = json_object();

		json_object_set_new(o, "name",
		    api_device_name(&v->rp, &s->device));
		json_object_set_new(o, "id", api_devid(&s->device));
		json_object_set_new(o, "connected", json_boolean(s->connected));
		json_object_set_new(o, "known", json_boolean(s->known));
		json_object_set_new(o, "reason",
		    s->reason == REASON_NONE
			? json_null()
			: json_string(reason_name(s->reason)));
		json_object_set_new(o, "need", api_need(&s->need));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
api_folder_errors(const struct status_folder *f)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < f->problem_listed; i++) {
		const struct status_problem *p = &f->problem[i];
		json_t *o = json_object();

		json_object_set_new(o, "path", api_text(p->path));
		json_object_set_new(o, "reason",
		    json_string(reason_name(p->reason)));
		json_object_set_new(o, "text", api_text(p->text));
		json_object_set_new(o, "since", api_time(p->since_wall_ns));
		api_set_count(o, "tries", p->tries);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
api_folder_trash(const struct status_folder *f)
{
	json_t *o;

	if (!f->has_trash)
		return json_null();
	o = json_object();
	api_set_count(o, "files", f->trash.files);
	api_set_count(o, "bytes", f->trash.bytes);
	return o;
}

static json_t *
api_folder_copies(const struct status_folder *f)
{
	json_t *o = json_object();

	api_set_count(o, "have", f->copies_have);
	api_set_count(o, "want", f->copies_want);
	return o;
}

static json_t *
api_folder_space(const struct status_folder *f)
{
	json_t *o;

	if (f->space.total == 0)
		return json_null();
	o = json_object();
	api_set_count(o, "free", (int64_t)f->space.free);
	api_set_count(o, "total", (int64_t)f->space.total);
	return o;
}

/* What all wait for while something is received. */
static json_t *
api_folder_limit(const struct api_view *v, const struct status_folder *f)
{
	json_t *o;

	if (f->state != STATUS_RECEIVING || devid_is_none(&f->limit))
		return json_null();
	o = json_object();
	json_object_set_new(o, "here",
	    json_boolean(devid_equal(&f->limit, &v->rp.self)));
	json_object_set_new(o, "device", api_device_name(&v->rp, &f->limit));
	return o;
}

static json_t *
api_folder_change(const struct api_view *v, const struct status_change *c)
{
	json_t *o;

	if (c->wall_ns == 0)
		return json_null();
	o = json_object();
	json_object_set_new(o, "time", api_time(c->wall_ns));
	json_object_set_new(o, "device",
	    devid_is_none(&c->device) ? json_null()
				      : api_device_name(&v->rp, &c->device));
	json_object_set_new(o, "path", api_text(c->path));
	return o;
}

static json_t *
api_folder(const struct api_view *v, const struct status_folder *f)
{
	json_t *o = json_object();
	const uint64_t left = f->need.bytes > f->bytes_done
				  ? (uint64_t)(f->need.bytes - f->bytes_done)
				  : 0;

	json_object_set_new(o, "id", api_text(f->id));
	json_object_set_new(o, "name", api_text(f->id));
	json_object_set_new(o, "label", api_text(f->label));
	json_object_set_new(o, "path", api_text(f->path));
	json_object_set_new(o, "mode", json_string(config_mode_name(f->mode)));
	json_object_set_new(o, "state",
	    json_string(status_state_name(f->state)));
	json_object_set_new(o, "reason",
	    f->reason == REASON_NONE ? json_null()
				     : json_string(reason_name(f->reason)));
	json_object_set_new(o, "text", api_text(f->text));
	json_object_set_new(o, "since", api_time(f->since_wall_ns));
	json_object_set_new(o, "idle", json_boolean(f->idle));
	json_object_set_new(o, "local", api_totals(&f->local));
	json_object_set_new(o, "global", api_totals(&f->global));
	json_object_set_new(o, "need", api_need(&f->need));
	api_set_count(o, "need_bytes", f->need.bytes);
	api_set_count(o, "need_items", f->need.items + f->need.deletes);
	api_set_count(o, "changed_here", f->changed);
	api_set_count(o, "items_in_work", f->items);
	api_set_count(o, "bytes_done", f->bytes_done);
	api_set_count(o, "bytes_left", (int64_t)left);
	api_set_count(o, "received_bytes", (int64_t)f->received);
	api_set_count(o, "rate", (int64_t)f->rate);
	json_object_set_new(o, "seconds_left",
	    f->rate == 0 || left == 0
		? json_null()
		: json_integer((json_int_t)(left / f->rate + 1)));
	json_object_set_new(o, "limit", api_folder_limit(v, f));
	json_object_set_new(o, "space", api_folder_space(f));
	json_object_set_new(o, "copies", api_folder_copies(f));
	json_object_set_new(o, "last_change",
	    api_folder_change(v, &f->last_change));
	json_object_set_new(o, "scan", api_folder_scan(&f->scan));
	json_object_set_new(o, "watch", json_string(api_watch_name(f->watch)));
	api_set_count(o, "ignore_rules", f->ignore_rules);
	json_object_set_new(o, "trash", api_folder_trash(f));
	json_object_set_new(o, "held", api_held(&v->rp, f));
	api_set_count(o, "conflicts", f->conflicts);
	api_set_count(o, "error_count", f->problem_count);
	json_object_set_new(o, "errors", api_folder_errors(f));
	json_object_set_new(o, "devices", api_folder_shares(v, f));
	return o;
}

static bool
api_is_shared(const struct status_folder *f, const struct devid *id)
{
	for (uint32_t i = 0; i < f->share_count; i++)
		if (devid_equal(&f->share[i].device, id))
			return true;
	return false;
}

/* The folder's part in the exit code. */
static void
api_judge_folder(struct api_view *v, const struct status_folder *f)
{
	api_problem_all(v, f);
	if (f->state == STATUS_PAUSED || f->state == STATUS_HALTED)
		return;
	if (f->state != STATUS_IN_SYNC)
		api_view_worsen(v, CMD_WORKING);
	for (uint32_t i = 0; i < f->share_count; i++) {
		const struct status_share *s = &f->share[i];

		if (v->only_device >= 0 &&
		    !devid_equal(&s->device, &v->rp.device[v->only_device].id))
			continue;
		if (s->reason != REASON_PAUSED && !api_needs_nothing(&s->need))
			api_view_worsen(v, CMD_WORKING);
	}
}

static json_t *
api_folders(struct api_view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->rp.folder_count; i++) {
		const struct status_folder *f = &v->rp.folder[i];

		if (v->only_folder >= 0 && v->only_folder != (int32_t)i)
			continue;
		if (v->only_device >= 0 &&
		    !api_is_shared(f, &v->rp.device[v->only_device].id))
			continue;
		json_array_append_new(list, api_folder(v, f));
		api_judge_folder(v, f);
	}
	return list;
}

/* --- Devices --- */

static const struct net_peer_status *
api_peer(const struct api_view *v, const struct devid *id)
{
	return api_path_peer(&v->net, id);
}

static const char *
api_device_state(const struct status_device *d, const struct net_peer_status *p)
{
	if (d->paused)
		return "paused";
	if (!d->connected && (p == NULL || !p->connected))
		return "offline";
	return api_needs_nothing(&d->behind) ? "in_sync" : "behind";
}

/* What the configuration in force says of it. */
static void
api_device_config(const struct api_view *v, const struct status_device *d,
    json_t *o)
{
	const struct config *cfg = v->facts.config;

	for (uint32_t i = 0; i < cfg->setup.device_count; i++) {
		const struct setup_device *s = &cfg->setup.device[i];

		if (!devid_equal(&s->id, &d->id))
			continue;
		json_object_set_new(o, "source",
		    json_string(config_source_name(cfg, i)));
		json_object_set_new(o, "introduced_by",
		    devid_is_none(&s->introduced_by)
			? json_null()
			: api_device_name(&v->rp, &s->introduced_by));
		json_object_set_new(o, "denied",
		    json_boolean(cfg->device[i].denied));
		json_object_set_new(o, "introducer",
		    json_boolean(s->introducer));
		json_object_set_new(o, "auto_accept",
		    json_boolean(s->auto_accept));
	}
}

static json_t *
api_device(const struct api_view *v, const struct status_device *d)
{
	const struct net_peer_status *p = api_peer(v, &d->id);
	const bool up = p != NULL && p->connected;
	json_t *o = json_object();

	json_object_set_new(o, "name", api_text(d->name));
	json_object_set_new(o, "id", api_devid(&d->id));
	json_object_set_new(o, "private",
	    api_private_address(v->facts.fixed, &d->id));
	json_object_set_new(o, "state", json_string(api_device_state(d, p)));
	json_object_set_new(o, "connected", json_boolean(d->connected));
	json_object_set_new(o, "paused", json_boolean(d->paused));
	json_object_set_new(o, "client",
	    p != NULL && p->client[0] != '\0' ? api_text(slice_str(p->client))
					      : api_text(d->client));
	json_object_set_new(o, "path", api_path(p));
	json_object_set_new(o, "rtt_us",
	    up && p->rtt_ns > 0
		? json_integer((json_int_t)(p->rtt_ns / CLOCK_US))
		: json_null());
	api_set_count(o, "bytes_in", p == NULL ? 0 : (int64_t)p->bytes_in);
	api_set_count(o, "bytes_out", p == NULL ? 0 : (int64_t)p->bytes_out);
	api_set_count(o, "behind_items", d->behind.items + d->behind.deletes);
	api_set_count(o, "behind_bytes", d->behind.bytes);
	json_object_set_new(o, "last_seen", api_time(api_last_seen(v, &d->id)));
	json_object_set_new(o, "last_error",
	    p == NULL ? json_string("") : api_text(slice_str(p->last_error)));
	json_object_set_new(o, "addresses", api_path_ways(p));
	api_device_config(v, d, o);
	return o;
}

static json_t *
api_devices(struct api_view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->rp.device_count; i++) {
		const struct status_device *d = &v->rp.device[i];

		if (v->only_device >= 0 && v->only_device != (int32_t)i)
			continue;
		if (v->only_folder >= 0 &&
		    !api_is_shared(&v->rp.folder[v->only_folder], &d->id))
			continue;
		json_array_append_new(list, api_device(v, d));
		api_problem_device(v, d);
	}
	return list;
}

/* --- Pending --- */

/* Was it taken meanwhile, or the device removed?  `known`: we have the folder,
 * with others. */
static bool
api_is_offered(const struct config *cfg, const struct api_pending_folder *p,
    bool *known)
{
	const int i = config_find_folder(cfg, p->id);

	*known = i >= 0;
	return setup_device(&cfg->setup, &p->device) != NULL &&
	       (i < 0 || !setup_is_shared(&cfg->setup.folder[i], &p->device));
}

static json_t *
api_pending(const struct api_view *v)
{
	json_t *o = json_object();
	json_t *devices = json_array();
	json_t *folders = json_array();

	for (size_t i = 0; i < v->net.pending_count; i++) {
		const struct net_pending_status *p = &v->net.pending[i];
		json_t *d = json_object();

		json_object_set_new(d, "id", api_devid(&p->id));
		json_object_set_new(d, "name", api_text(slice_str(p->name)));
		json_object_set_new(d, "address",
		    api_text(slice_str(p->address)));
		json_object_set_new(d, "time", api_time(p->wall_ns));
		json_array_append_new(devices, d);
	}
	for (size_t i = 0; i < v->facts.pending_folder_count; i++) {
		const struct api_pending_folder *p =
		    &v->facts.pending_folder[i];
		bool known;
		json_t *f;

		if (!api_is_offered(v->facts.config, p, &known))
			continue;
		f = json_object();
		json_object_set_new(f, "id", api_text(p->id));
		json_object_set_new(f, "label", api_text(p->label));
		json_object_set_new(f, "known", json_boolean(known));
		json_object_set_new(f, "device",
		    api_device_name(&v->rp, &p->device));
		json_object_set_new(f, "time", api_time(p->wall_ns));
		json_array_append_new(folders, f);
	}
	json_object_set_new(o, "devices", devices);
	json_object_set_new(o, "folders", folders);
	return o;
}

/* --- The whole --- */

static void
api_view_open(struct api_view *v, struct api_call *call)
{
	const struct api_backend *be = &call->api->be;

	memset(v, 0, sizeof(*v));
	v->call = call;
	v->now = be->now(be->arg);
	be->status(be->arg, &call->ar, &v->rp);
	be->net(be->arg, &call->ar, &v->net);
	be->facts(be->arg, &call->ar, &v->facts);
	v->only_folder = -1;
	v->only_device = -1;
	v->problems = json_array();
}

/* "folder", "device", or "subject": either.  False: answered already. */
static bool
api_view_choose(struct api_view *v)
{
	struct api_call *call = v->call;
	const struct slice folder = api_query(call, "folder");
	const struct slice device = api_query(call, "device");
	const struct slice subject = api_query(call, "subject");
	struct err err = { 0 };
	uint32_t i;
	int rc = 0;

	if (folder.len > 0 || subject.len > 0) {
		rc = api_find_folder(&v->rp, folder.len > 0 ? folder : subject,
		    &i, &call->ar, &err);
		if (rc == 0)
			v->only_folder = (int32_t)i;
	}
	if (device.len > 0 || (rc == ERR_NOT_FOUND && subject.len > 0)) {
		rc = api_find_device(call, &v->rp,
		    device.len > 0 ? device : subject, &i, &err);
		if (rc == 0)
			v->only_device = (int32_t)i;
	}
	if (rc == 0)
		return true;
	if (rc == ERR_NOT_FOUND && subject.len > 0)
		err_set(&err, ERR_NOT_FOUND, "no folder or device \"%.*s\"",
		    SLICE_FMT(subject));
	json_decref(v->problems);
	api_fail(call, &err, "syncctl status");
	return false;
}

static json_t *
api_discovery(const struct api_view *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->net.discovery_count; i++) {
		const struct net_discovery_status *s = &v->net.discovery[i];
		json_t *o = json_object();

		json_object_set_new(o, "server",
		    api_text(slice_str(s->server)));
		json_object_set_new(o, "announced", json_boolean(s->announced));
		json_object_set_new(o, "error", api_text(slice_str(s->error)));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
api_coordinators(const struct api_view *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->net.coordinator_count; i++) {
		const struct net_coordinator_status *c = &v->net.coordinator[i];
		json_t *o = json_object();

		json_object_set_new(o, "address",
		    api_text(slice_str(c->address)));
		json_object_set_new(o, "up", json_boolean(c->up));
		json_object_set_new(o, "id",
		    c->up ? api_devid(&c->id) : json_string(""));
		json_object_set_new(o, "rtt_ms",
		    c->rtt_ns == 0
			? json_null()
			: json_real((double)(c->rtt_ns / 1000) / 1000));
		api_set_count(o, "bytes_in", (int64_t)c->bytes_in);
		api_set_count(o, "bytes_out", (int64_t)c->bytes_out);
		json_object_set_new(o, "error", api_text(slice_str(c->error)));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
api_relays(const struct api_view *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->net.relay_count; i++) {
		const struct net_relay_status *r = &v->net.relay[i];
		json_t *o = json_object();

		json_object_set_new(o, "address",
		    api_text(slice_str(r->address)));
		json_object_set_new(o, "joined", json_boolean(r->joined));
		json_object_set_new(o, "error", api_text(slice_str(r->error)));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
api_portmap(const struct api_view *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->net.portmap_count; i++) {
		const struct net_portmap_status *p = &v->net.portmap[i];
		json_t *o = json_object();

		json_object_set_new(o, "port", api_text(slice_str(p->port)));
		json_object_set_new(o, "open", json_boolean(p->open));
		json_object_set_new(o, "address",
		    api_text(slice_str(p->address)));
		json_object_set_new(o, "method",
		    api_text(slice_str(p->method)));
		json_object_set_new(o, "error", api_text(slice_str(p->error)));
		json_array_append_new(list, o);
	}
	return list;
}

/* Our own relay; null when we are none. */
static json_t *
api_relayd(const struct net_relayd_status *r)
{
	json_t *o;

	if (!r->serving)
		return json_null();
	o = json_object();
	json_object_set_new(o, "listen", api_text(slice_str(r->listen)));
	api_set_count(o, "members", (int64_t)r->members);
	api_set_count(o, "sessions", (int64_t)r->sessions);
	api_set_count(o, "bytes", (int64_t)r->bytes);
	return o;
}

/* What it does for those who speak Syncthing's discovery; null: nothing. */
static json_t *
api_coordd_discovery(const struct net_coordd_status *c)
{
	json_t *o;

	if (!c->discovery)
		return json_null();
	o = json_object();
	api_set_count(o, "devices", (int64_t)c->found_devices);
	api_set_count(o, "announced", (int64_t)c->announced);
	api_set_count(o, "found", (int64_t)c->found);
	api_set_count(o, "missed", (int64_t)c->missed);
	api_set_count(o, "refused", (int64_t)c->refused);
	return o;
}

/* Our own coordinator; null when we are none. */
static json_t *
api_coordd(const struct net_coordd_status *c)
{
	json_t *o, *domains, *stun;

	if (!c->serving)
		return json_null();
	o = json_object();
	stun = json_array();
	domains = json_array();
	json_object_set_new(o, "listen", api_text(slice_str(c->listen)));
	for (size_t i = 0; i < 2; i++)
		if (c->stun_port[i] != 0)
			json_array_append_new(stun,
			    json_integer(c->stun_port[i]));
	json_object_set_new(o, "stun_ports", stun);
	api_set_count(o, "domain_count", (int64_t)c->domains);
	api_set_count(o, "members", (int64_t)c->members);
	api_set_count(o, "strangers", (int64_t)c->strangers);
	api_set_count(o, "boxes", (int64_t)c->boxes);
	api_set_count(o, "bytes", (int64_t)c->bytes);
	for (size_t i = 0; i < c->domains; i++) {
		const struct net_coordd_domain_status *d = &c->domain[i];
		char hex[2 * sizeof(d->id.b) + 1];
		json_t *at = json_object();

		for (size_t k = 0; k < sizeof(d->id.b); k++)
			snprintf(hex + 2 * k, 3, "%02x", d->id.b[k]);
		json_object_set_new(at, "id", json_string(hex));
		json_object_set_new(at, "name", api_text(slice_str(d->name)));
		api_set_count(at, "entries", (int64_t)d->entries);
		api_set_count(at, "members", (int64_t)d->members);
		api_set_count(at, "here", (int64_t)d->here);
		json_array_append_new(domains, at);
	}
	json_object_set_new(o, "domains", domains);
	json_object_set_new(o, "discovery", api_coordd_discovery(c));
	return o;
}

static void
api_add_network(const struct api_view *v, json_t *o)
{
	json_t *listen = json_array();

	json_object_set_new(o, "discovery", api_discovery(v));
	json_object_set_new(o, "coordinators", api_coordinators(v));
	json_object_set_new(o, "coordinator", api_coordd(&v->net.coordd));
	json_object_set_new(o, "relays", api_relays(v));
	json_object_set_new(o, "portmap", api_portmap(v));
	json_object_set_new(o, "relay", api_relayd(&v->net.relayd));
	for (size_t i = 0; i < v->net.listen_count; i++)
		json_array_append_new(listen,
		    api_text(slice_str(v->net.listen[i])));
	json_object_set_new(o, "listen", listen);
	json_object_set_new(o, "connections", api_path_counts(&v->net.counts));
	json_object_set_new(o, "announcing", json_boolean(v->net.announcing));
	json_object_set_new(o, "announce_error",
	    api_text(slice_str(
		v->net.announce_error == NULL ? "" : v->net.announce_error)));
}

void
api_status_all(struct api_call *call)
{
	struct api_view v;
	json_t *o, *folders, *devices;
	int64_t up_ns;

	api_view_open(&v, call);
	if (!api_view_choose(&v))
		return;
	folders = api_folders(&v);
	devices = api_devices(&v);
	if (v.only_folder < 0 && v.only_device < 0) {
		api_problem_config(&v);
		api_problem_clone(&v);
	}
	up_ns = v.now.wall_ns - v.facts.started_wall_ns;
	o = api_object();
	json_object_set_new(o, "exit", json_integer(v.exit));
	json_object_set_new(o, "health", json_string(api_health(v.exit)));
	json_object_set_new(o, "node", api_text(v.rp.name));
	json_object_set_new(o, "id", api_devid(&v.rp.self));
	json_object_set_new(o, "private",
	    api_private_address(v.facts.fixed, &v.rp.self));
	json_object_set_new(o, "version", json_string(HOLDFAST_VERSION));
	json_object_set_new(o, "time", api_time(v.now.wall_ns));
	api_set_count(o, "time_ms", v.now.wall_ns / (int64_t)CLOCK_MS);
	api_set_count(o, "uptime_s", up_ns > 0 ? up_ns / (int64_t)CLOCK_S : 0);
	api_add_network(&v, o);
	json_object_set_new(o, "folders", folders);
	json_object_set_new(o, "devices", devices);
	json_object_set_new(o, "pending", api_pending(&v));
	json_object_set_new(o, "problems", v.problems);
	api_reply(call, o);
}

void
api_status_folders(struct api_call *call)
{
	struct api_view v;
	json_t *o = api_object();

	api_view_open(&v, call);
	json_object_set_new(o, "folders", api_folders(&v));
	json_decref(v.problems);
	api_reply(call, o);
}

void
api_status_devices(struct api_call *call)
{
	struct api_view v;
	json_t *o = api_object();

	api_view_open(&v, call);
	json_object_set_new(o, "devices", api_devices(&v));
	json_decref(v.problems);
	api_reply(call, o);
}

void
api_status_pending(struct api_call *call)
{
	struct api_view v;
	json_t *o = api_object();

	api_view_open(&v, call);
	json_object_set_new(o, "pending", api_pending(&v));
	json_decref(v.problems);
	api_reply(call, o);
}
