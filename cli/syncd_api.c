/*
 * The daemon behind its local API.  See syncd.h, api.h.
 */
#include <stdio.h>

#include "cli/config_file.h"
#include "cli/syncd_domain.h"

#define SYNCD_RATE_NS (2 * CLOCK_S) /* a rate is over at least this long */

static struct now
syncd_api_now(void *arg)
{
	(void)arg;
	return syncd_now();
}

static void
syncd_api_facts(void *arg, struct arena *ar, struct api_facts *out)
{
	struct syncd *sd = arg;

	(void)ar;
	*out = (struct api_facts){ .config = &sd->cfg,
		.started_wall_ns = sd->started_wall_ns,
		.config_file = sd->home.config,
		.config_error = slice_str(sd->cfg_error),
		.config_error_wall_ns = sd->cfg_error_wall_ns,
		.pending_folder = sd->pending.item,
		.pending_folder_count = sd->pending.len,
		.seen = sd->seen.item,
		.seen_count = sd->seen.len,
		.fixed = sd->domain != NULL ? sd->domain->fixed : NULL };
}

/* Rates come from two samples of a count that only grows. */
static uint64_t
syncd_rate(struct syncd *sd, const struct status_folder *st, uint64_t now_ns)
{
	for (size_t i = 0; i < sd->folder.len; i++) {
		struct syncd_folder *sf = &sd->folder.item[i];
		const uint64_t past = now_ns - sf->rate_at_ns;

		if (sf->id == NULL || !slice_equal(slice_str(sf->id), st->id))
			continue;
		if (past >= SYNCD_RATE_NS) {
			if (sf->rate_at_ns != 0 && past < CLOCK_MIN &&
			    st->received >= sf->rate_received)
				sf->rate = (st->received - sf->rate_received) *
					   1000 / (past / CLOCK_MS);
			else
				sf->rate = 0;
			sf->rate_at_ns = now_ns;
			sf->rate_received = st->received;
		}
		return sf->rate;
	}
	return 0;
}

static struct disk_space
syncd_space(const struct syncd *sd, struct slice id)
{
	for (size_t i = 0; i < sd->folder.len; i++)
		if (sd->folder.item[i].id != NULL &&
		    slice_equal(slice_str(sd->folder.item[i].id), id))
			return disk_uv_space(sd->disk, (uint32_t)i);
	return (struct disk_space){ 0 };
}

static void
syncd_api_status(void *arg, struct arena *ar, struct status_report *out)
{
	struct syncd *sd = arg;
	const struct now now = syncd_now();
	struct status_folder *folder;

	status_report(sd->en, now, ar, out);
	folder = arena_array(ar, out->folder_count, sizeof(*folder));
	for (uint32_t i = 0; i < out->folder_count; i++) {
		folder[i] = out->folder[i];
		folder[i].rate = syncd_rate(sd, &folder[i], now.mono_ns);
		folder[i].space = syncd_space(sd, folder[i].id);
	}
	out->folder = folder;
}

static void
syncd_api_net(void *arg, struct arena *ar, struct net_status *out)
{
	struct syncd *sd = arg;

	if (sd->net == NULL)
		*out = (struct net_status){ .announce_error = "" };
	else
		net_status(sd->net, out, ar);
}

static int
syncd_api_explain(void *arg, struct slice folder_id, struct slice path,
    struct arena *ar, struct explain *out, struct err *err)
{
	struct syncd *sd = arg;

	return explain_path(sd->en, folder_id, path, syncd_now(), ar, out, err);
}

static int
syncd_api_ignore_test(void *arg, struct slice folder_id, struct slice path,
    struct ignore_match *out, struct err *err)
{
	struct syncd *sd = arg;

	return explain_ignore(sd->en, folder_id, path, out, err);
}

static int
syncd_api_ignore_rules(void *arg, struct slice folder_id, struct arena *ar,
    const struct ignore_match **out, uint32_t *count, struct err *err)
{
	struct syncd *sd = arg;

	return explain_rules(sd->en, folder_id, ar, out, count, err);
}

static bool
syncd_api_plan(void *arg, struct slice folder_id, struct slice after, bool held,
    uint32_t limit, struct arena *ar, struct plan_page *out)
{
	struct syncd *sd = arg;

	return plan_page(sd->en, folder_id, after, held, limit, ar, out);
}

static bool
syncd_api_conflicts(void *arg, struct slice folder_id, struct arena *ar,
    const struct status_conflict **out, uint32_t *count)
{
	struct syncd *sd = arg;

	return status_conflicts(sd->en, folder_id, ar, out, count);
}

static int
syncd_api_reload(void *arg, struct err *err)
{
	return syncd_reload(arg, err);
}

static int
syncd_api_command(void *arg, enum command_kind kind, struct slice folder_id,
    struct slice path, struct err *err)
{
	struct syncd *sd = arg;
	struct event ev = { .kind = EVENT_COMMAND };

	if (config_find_folder(&sd->cfg, folder_id) < 0)
		return err_set(err, ERR_NOT_FOUND, "no folder %.*s",
		    SLICE_FMT(folder_id));
	ev.u.command.kind = kind;
	ev.u.command.folder_id = folder_id;
	ev.u.command.path = path;
	syncd_step(sd, &ev);
	return 0;
}

static int
syncd_api_pause(void *arg, bool is_folder, struct slice name, bool on,
    struct err *err)
{
	struct syncd *sd = arg;
	struct arena ar = { 0 };
	struct config_file *cf = NULL;
	const struct slice value = on ? SLICE_LIT("true") : SLICE_LIT("false");
	int rc;

	arena_init(&ar);
	rc = config_file_edit(&cf, &sd->home, err);
	if (rc == 0)
		rc = config_file_set(cf,
		    arena_printf(&ar, "%s.%.*s.paused",
			is_folder ? "folder" : "device", SLICE_FMT(name)),
		    &value, 1, err);
	if (rc == 0)
		rc = config_file_save(cf, &ar, NULL, NULL, err);
	else
		config_file_drop(cf);
	arena_fini(&ar);
	return rc < 0 ? rc : syncd_reload(sd, err);
}

static uint64_t
syncd_api_ping(void *arg, const struct devid *id)
{
	struct syncd *sd = arg;

	return sd->net != NULL ? net_ping(sd->net, id) : 0;
}

static void
syncd_api_refresh(void *arg)
{
	struct syncd *sd = arg;

	if (sd->net != NULL)
		net_refresh(sd->net);
}

static void
syncd_api_check_net(void *arg)
{
	struct syncd *sd = arg;

	if (sd->net != NULL)
		net_check(sd->net);
}

static void
syncd_api_netcheck(void *arg, struct arena *ar, struct net_netcheck *out)
{
	struct syncd *sd = arg;

	*out = (struct net_netcheck){ .v4.mapped = "", .v6.mapped = "" };
	if (sd->net != NULL)
		net_netcheck(sd->net, out, ar);
}

static void
syncd_api_self(void *arg, struct arena *ar, struct api_self *out)
{
	syncd_sandbox_self(arg, ar, out);
}

int
syncd_api_open(struct syncd *sd, struct err *err)
{
	const struct api_backend backend = { .arg = sd,
		.now = syncd_api_now,
		.facts = syncd_api_facts,
		.status = syncd_api_status,
		.net = syncd_api_net,
		.explain = syncd_api_explain,
		.ignore_test = syncd_api_ignore_test,
		.ignore_rules = syncd_api_ignore_rules,
		.plan = syncd_api_plan,
		.conflicts = syncd_api_conflicts,
		.reload = syncd_api_reload,
		.command = syncd_api_command,
		.pause = syncd_api_pause,
		.ping = syncd_api_ping,
		.refresh = syncd_api_refresh,
		.self = syncd_api_self,
		.domain = syncd_domain_show,
		.domain_log = syncd_domain_log,
		.domain_do = syncd_domain_do,
		.forward_ask = syncd_forward_ask,
		.forward_look = syncd_forward_look,
		.forward_attach = syncd_forward_attach,
		.check_net = syncd_api_check_net,
		.netcheck = syncd_api_netcheck };

	sd->api = api_new(&backend, sd->events);
	return api_server_open(&sd->server, sd->loop, sd->home.socket, sd->api,
	    sd->events, &sd->log, err);
}
