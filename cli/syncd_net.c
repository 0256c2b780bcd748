/*
 * The daemon's network: peers to the engine, messages both ways.  See syncd.h.
 */
#include <stdio.h>
#include <string.h>

#include "cli/syncd_domain.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/store_lmdb.h"

/* By a certificate that was replaced: nothing is shared, the log is told. */
static void
syncd_on_old_up(struct syncd *sd, const struct devid *id,
    const struct net_peer_info *info)
{
	const struct message m = { .type = MESSAGE_CLUSTER_CONFIG };

	log_info(&sd->log, "syncd old key device=%.*s address=%s",
	    SLICE_FMT(syncd_device_name(sd, setup_now(&sd->cfg.setup, id))),
	    info->address);
	if (sd->net != NULL)
		(void)net_send(sd->net, id, &m, NULL, 0);
	syncd_talk_up(sd, id, info->features);
}

static void
syncd_on_peer_up(void *arg, const struct devid *id, const struct hello *hello,
    const struct net_peer_info *info)
{
	struct syncd *sd = arg;
	struct event ev = { .kind = EVENT_PEER_UP };
	struct events_item item = { .type = EVENTS_DEVICE_UP,
		.wall_ns = syncd_now().wall_ns,
		.device = *id,
		.device_name = syncd_device_name(sd, id),
		.text = slice_str(info->address),
		.action = slice_str(info->transport) };
	char client[160];

	if (syncd_rotate_is_old(sd, id)) {
		syncd_on_old_up(sd, id, info);
		return;
	}
	snprintf(client, sizeof(client), "%.*s %.*s",
	    SLICE_FMT(hello->client_name), SLICE_FMT(hello->client_version));
	ev.u.peer.device = *id;
	ev.u.peer.features = info->features;
	ev.u.peer.client = slice_str(client);
	ev.u.peer.address = slice_str(info->address);
	events_put(sd->events, &item);
	syncd_step(sd, &ev);
	/* Behind the ClusterConfig, which is first. */
	syncd_talk_up(sd, id, info->features);
	syncd_rotate_met(sd, id);
	forward_uv_up(sd->forwards, id,
	    (info->features & FEATURE_FORWARD) != 0);
}

/* What was being sent to it will not arrive. */
static void
syncd_fail_sent(struct syncd *sd, const struct devid *id)
{
	for (struct umap_item *it = NULL;
	     (it = umap_next(&sd->sent, it)) != NULL;) {
		struct syncd_sent *sent = it->value;

		if (!devid_equal(&sent->device, id))
			continue;
		*VEC_ADD(&sd->answer) =
		    (struct syncd_answer){ .id = sent->id, .code = ERR_CLOSED };
		umap_remove(&sd->sent, it->key);
		mem_free(sent);
	}
}

static void
syncd_on_peer_down(void *arg, const struct devid *id, const char *reason)
{
	struct syncd *sd = arg;
	struct event ev = { .kind = EVENT_PEER_DOWN };
	struct events_item item = { .type = EVENTS_DEVICE_DOWN,
		.wall_ns = syncd_now().wall_ns,
		.device = *id,
		.device_name =
		    syncd_device_name(sd, setup_now(&sd->cfg.setup, id)),
		.text = slice_str(reason) };

	events_put(sd->events, &item);
	log_info(&sd->log, "syncd down device=%.*s reason=\"%s\"",
	    SLICE_FMT(item.device_name), reason);
	syncd_fail_sent(sd, id);
	syncd_talk_down(sd, id);
	forward_uv_down(sd->forwards, id);
	ev.u.peer.device = *id;
	syncd_step(sd, &ev);
}

void
syncd_balance(struct syncd *sd)
{
	size_t held = 0;
	bool hold_up;

	for (size_t i = 0; i < sd->folder.len; i++)
		if (sd->folder.item[i].store != NULL)
			held += store_lmdb_held(sd->folder.item[i].store);
	/* Half of it, so that one does not stop and go all the time. */
	hold_up = held > LIMIT_COMMIT_HELD / (sd->held_up ? 2 : 1);
	if (sd->net == NULL || (!hold_up && !sd->held_up))
		return;
	if (hold_up != sd->held_up)
		log_debug(&sd->log, "syncd %s held=%zu",
		    hold_up ? "hold-up" : "go-on", held);
	sd->held_up = hold_up;
	/* All of them, each time: some came up just now. */
	for (uint32_t i = 0; i < sd->cfg.setup.device_count; i++)
		net_pause_reading(sd->net, &sd->cfg.setup.device[i].id,
		    hold_up);
}

static void
syncd_on_message(void *arg, const struct devid *id, const struct message *m,
    struct payload *data)
{
	struct event ev = { .kind = EVENT_MESSAGE };
	struct syncd *sd = arg;

	if (m->type == MESSAGE_MEMBERS) {
		syncd_talk_said(arg, id, m->u.members.body);
		return;
	}
	if (syncd_rotate_is_old(arg, id)) {
		payload_free(data);
		return;
	}
	if (m->type == MESSAGE_FORWARD) {
		forward_uv_said(sd->forwards, id, &m->u.forward);
		return;
	}
	ev.u.message.device = *id;
	ev.u.message.message = m;
	ev.u.message.payload = data;
	syncd_step(arg, &ev);
	if (m->type == MESSAGE_INDEX || m->type == MESSAGE_INDEX_UPDATE)
		syncd_balance(arg);
}

static void
syncd_on_sent(void *arg, const struct devid *id, uint64_t tag)
{
	struct syncd *sd = arg;
	struct event ev = { .kind = EVENT_DONE };
	struct syncd_sent *sent;

	if (forward_uv_has_tag(tag)) {
		forward_uv_sent(sd->forwards, id, tag);
		return;
	}
	sent = umap_remove(&sd->sent, tag);
	if (sent == NULL)
		return;
	mem_free(sent);
	ev.u.done.id = tag;
	syncd_step(sd, &ev);
}

static void
syncd_on_pending_device(void *arg, const struct devid *id, const char *name,
    const char *address)
{
	struct syncd *sd = arg;
	struct events_item item = { .type = EVENTS_PENDING_DEVICE,
		.wall_ns = syncd_now().wall_ns,
		.device = *id,
		.text = slice_str(name) };
	char text[DEVID_TEXT_LEN + 1];

	devid_text(id, text);
	log_info(&sd->log, "syncd stranger id=%s address=%s", text, address);
	events_put(sd->events, &item);
}

static void
syncd_on_echo(void *arg, const struct devid *id)
{
	struct syncd *sd = arg;

	(void)id;
	events_wake(sd->events);
}

void
syncd_send(struct syncd *sd, const struct effect *ef)
{
	struct syncd_sent *sent = NULL;
	int rc = ERR_CLOSED;

	if (sd->net != NULL && !sd->stopping)
		rc = net_send(sd->net, &ef->u.send.device, &ef->u.send.message,
		    ef->u.send.payload, ef->id);
	else
		payload_free(ef->u.send.payload);
	if (rc == ERR_LIMIT)
		net_drop(sd->net, &ef->u.send.device,
		    "it does not read what it asked for");
	if (ef->id == 0)
		return;
	if (rc < 0) {
		*VEC_ADD(&sd->answer) =
		    (struct syncd_answer){ .id = ef->id, .code = rc };
		return;
	}
	sent = mem_alloc(sizeof(*sent));
	*sent =
	    (struct syncd_sent){ .id = ef->id, .device = ef->u.send.device };
	umap_put(&sd->sent, ef->id, sent);
}

void
syncd_drop(struct syncd *sd, const struct effect *ef)
{
	char reason[512];

	snprintf(reason, sizeof(reason), "%.*s", SLICE_FMT(ef->u.drop.reason));
	if (sd->net != NULL)
		net_drop(sd->net, &ef->u.drop.device, reason);
}

/*
 * An address as configured: where it says whose it is, by "id=", that is by the
 * ID which this device has now.
 */
static const char *
syncd_net_text(const struct syncd *sd, struct arena *ar, struct slice text)
{
	static const char mark[] = "id=";
	const char *all = arena_str(ar, text);
	const char *at = strstr(all, mark);
	char now[DEVID_TEXT_LEN + 1];
	const struct devid *next;
	struct slice rest;
	struct devid id;
	size_t len;

	if (at == NULL || sd->cfg.setup.former_count == 0)
		return all;
	rest = slice_str(at + strlen(mark));
	len = slice_find(rest, '&');
	if (len != SIZE_MAX)
		rest = slice_to(rest, len);
	if (devid_parse(&id, rest, NULL) < 0)
		return all;
	next = setup_now(&sd->cfg.setup, &id);
	if (next == &id)
		return all;
	devid_text(next, now);
	return arena_printf(ar, "%.*s%s%s", (int)(at - all + strlen(mark)), all,
	    now, (const char *)rest.ptr + rest.len);
}

/* The peer by the certificate it had, if that is heard still; how many. */
static size_t
syncd_net_old(const struct syncd *sd, const struct net_peer_config *peer,
    struct net_peer_config *out, struct arena *ar)
{
	struct devid old;

	if (!syncd_rotate_old_of(sd, &peer->id, &old) ||
	    setup_device(&sd->cfg.setup, &old) != NULL)
		return 0;
	*out = *peer;
	out->id = old;
	out->name = arena_printf(ar, "%s (its old key)", peer->name);
	out->diag = NET_ANSWER_SILENT;
	return 1;
}

/* The configuration, as the network wants it; borrows sd->cfg. */
static void
syncd_net_config(struct syncd *sd, struct net_config *out, struct arena *ar)
{
	const struct setup *su = &sd->cfg.setup;
	struct net_peer_config *peer =
	    arena_array(ar, 2 * (size_t)su->device_count, sizeof(*peer));
	size_t peers = su->device_count;
	const char **listen =
	    arena_array(ar, sd->cfg.mesh.listen_count, sizeof(*listen));
	const char **discovery =
	    arena_array(ar, sd->cfg.mesh.discovery_count, sizeof(*discovery));
	const char **coordinator = arena_array(ar,
	    sd->cfg.mesh.coordinator_count, sizeof(*coordinator));
	const char **stun =
	    arena_array(ar, sd->cfg.mesh.stun_count, sizeof(*stun));

	for (uint32_t i = 0; i < su->device_count; i++) {
		const struct setup_device *dev = &su->device[i];
		const char **address =
		    arena_array(ar, dev->address_count, sizeof(*address));

		for (uint32_t k = 0; k < dev->address_count; k++)
			address[k] = syncd_net_text(sd, ar, dev->address[k]);
		peer[i] = (struct net_peer_config){ .id = dev->id,
			.name = arena_str(ar, dev->name),
			.address = address,
			.address_count = dev->address_count,
			.compression = sd->cfg.device[i].compression,
			.diag = syncd_domain_diag(sd, i),
			.paused = dev->paused };
		peers += syncd_net_old(sd, &peer[i], &peer[peers], ar);
	}
	for (size_t i = 0; i < sd->cfg.mesh.stun_count; i++)
		stun[i] = arena_str(ar, sd->cfg.mesh.stun[i]);
	for (size_t i = 0; i < sd->cfg.mesh.discovery_count; i++)
		discovery[i] =
		    syncd_net_text(sd, ar, sd->cfg.mesh.discovery[i]);
	for (size_t i = 0; i < sd->cfg.mesh.coordinator_count; i++)
		coordinator[i] =
		    syncd_net_text(sd, ar, sd->cfg.mesh.coordinator[i]);
	for (size_t i = 0; i < sd->cfg.mesh.listen_count; i++)
		listen[i] = syncd_net_text(sd, ar, sd->cfg.mesh.listen[i]);
	*out = (struct net_config){ .identity = sd->identity,
		.device_name = arena_str(ar, su->name),
		.client_version = HOLDFAST_VERSION,
		.features = FEATURE_ZSTD | FEATURE_CHUNKS | FEATURE_ECHO |
			    FEATURE_SIGNAL | FEATURE_MEMBERS | FEATURE_FORWARD,
		.listen = listen,
		.listen_count = sd->cfg.mesh.listen_count,
		.lan_only = sd->cfg.mesh.lan_only,
		.announce = sd->cfg.mesh.announce,
		.announce_port = sd->cfg.mesh.announce_port,
		.discovery = discovery,
		.discovery_count = sd->cfg.mesh.discovery_count,
		.coord_listen = sd->cfg.mesh.coord_serve || sd->coord_only
				    ? arena_str(ar, sd->cfg.mesh.coord_listen)
				    : NULL,
		.coord_dir = sd->home.coord_dir,
		.coord_open = sd->cfg.mesh.coord_open,
		.coord_discovery = sd->cfg.mesh.coord_discovery,
		.coordinator = coordinator,
		.coordinator_count = sd->cfg.mesh.coordinator_count,
		.stun = stun,
		.stun_count = sd->cfg.mesh.stun_count,
		.identity_dir = sd->home.state_dir,
		.portmap = sd->cfg.mesh.portmap,
		.sleep_ns = sd->cfg.mesh.sleep_ns,
		.relay_listen = sd->cfg.mesh.relay_serve
				    ? arena_str(ar, sd->cfg.mesh.relay_listen)
				    : NULL,
		.relay_open = sd->cfg.mesh.relay_open,
		.relay_rate = (uint64_t)sd->cfg.mesh.relay_rate,
		.peer = peer,
		.peer_count = peers };
	if (!sd->coord_only)
		return;
	/* Whom it knows may bring domains; it speaks with nobody of itself. */
	out->listen_count = out->discovery_count = out->coordinator_count = 0;
	out->announce = false;
	out->relay_listen = NULL;
	for (size_t i = 0; i < peers; i++)
		peer[i].paused = true;
}

int
syncd_net_open(struct syncd *sd, struct err *err)
{
	static const struct net_callbacks callbacks = {
		.on_peer_up = syncd_on_peer_up,
		.on_peer_down = syncd_on_peer_down,
		.on_message = syncd_on_message,
		.on_sent = syncd_on_sent,
		.on_pending_device = syncd_on_pending_device,
		.on_echo = syncd_on_echo,
	};
	struct net_config cfg;
	struct arena ar = { 0 };
	int rc;

	arena_init(&ar);
	syncd_net_config(sd, &cfg, &ar);
	rc = net_open(&sd->net, sd->loop, &cfg, &callbacks, sd, &sd->log, err);
	arena_fini(&ar);
	return rc;
}

int
syncd_net_configure(struct syncd *sd, struct err *err)
{
	struct net_config cfg;
	struct arena ar = { 0 };
	int rc;

	if (sd->net == NULL)
		return 0; /* it is opened with what there is then */
	arena_init(&ar);
	syncd_net_config(sd, &cfg, &ar);
	rc = net_configure(sd->net, &cfg, err);
	arena_fini(&ar);
	return rc;
}
