/*
 * The daemon's carried connections: who may have which port of ours, and the
 * way between net, API and forward_uv.h.  See syncd.h.
 *
 * Nothing is allowed that this device's own configuration does not name, port
 * by port and device by device; of a member the owner's policy has to allow it
 * as well.
 */
#include "cli/syncd_domain.h"

static int
syncd_forward_send(void *arg, const struct devid *id, const struct message *m,
    uint64_t tag)
{
	struct syncd *sd = arg;

	return sd->net != NULL ? net_send(sd->net, id, m, NULL, tag)
			       : ERR_CLOSED;
}

static void
syncd_forward_drop(void *arg, const struct devid *id, const char *reason)
{
	struct syncd *sd = arg;

	if (sd->net != NULL)
		net_drop(sd->net, id, reason);
}

static void
syncd_forward_busy(void *arg, const struct devid *id, bool is)
{
	struct syncd *sd = arg;

	if (sd->net != NULL)
		net_set_busy(sd->net, id, is);
}

static bool
syncd_forward_is_named(const struct syncd *sd, const struct devid *id,
    uint16_t port)
{
	for (uint32_t i = 0; i < sd->cfg.setup.device_count; i++) {
		const struct config_device *d = &sd->cfg.device[i];

		if (!devid_equal(&sd->cfg.setup.device[i].id, id))
			continue;
		for (size_t n = 0; n < d->forward_count; n++)
			if (d->forward[n] == port)
				return true;
	}
	return false;
}

static bool
syncd_forward_may(void *arg, const struct devid *id, uint16_t port)
{
	const struct syncd *sd = arg;
	const struct members *ms = sd->domain->ms;

	if (!syncd_forward_is_named(sd, id, port))
		return false;
	return !syncd_domain_is_in(sd) ||
	       members_find(ms, id, syncd_domain_now_s()) == NULL ||
	       members_may(ms, id, identity_devid(sd->identity),
		   MEMBERS_FORWARD);
}

/* Who waits for an answer looks again. */
static void
syncd_forward_on_change(void *arg)
{
	struct syncd *sd = arg;

	events_wake(sd->events);
}

void
syncd_forward_open(struct syncd *sd)
{
	static const struct forward_uv_callbacks callbacks = {
		.send = syncd_forward_send,
		.drop = syncd_forward_drop,
		.busy = syncd_forward_busy,
		.may = syncd_forward_may,
		.on_change = syncd_forward_on_change,
	};

	sd->forwards = forward_uv_open(sd->loop, &callbacks, sd, &sd->log);
}

void
syncd_forward_close(struct syncd *sd)
{
	if (sd->forwards != NULL)
		forward_uv_close(sd->forwards);
	sd->forwards = NULL;
}

void
syncd_forward_judge(struct syncd *sd)
{
	if (sd->forwards != NULL)
		forward_uv_judge(sd->forwards);
}

int
syncd_forward_ask(void *arg, const struct devid *id, uint16_t port,
    uint64_t *number, struct err *err)
{
	struct syncd *sd = arg;

	if (sd->stopping)
		return err_set(err, ERR_CLOSED, "syncd is stopping");
	return forward_uv_ask(sd->forwards, id, port, number, err);
}

bool
syncd_forward_look(void *arg, uint64_t number, struct forward_uv_fate *out)
{
	const struct syncd *sd = arg;

	return forward_uv_look(sd->forwards, number, out);
}

void
syncd_forward_attach(void *arg, uint64_t number, int fd, struct slice early)
{
	struct syncd *sd = arg;

	forward_uv_attach(sd->forwards, number, fd, early);
}
