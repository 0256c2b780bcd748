/*
 * The exchange: who is connected, what they share, what was asked of them.
 * Indexes are in exchange_index.c, requests of theirs in exchange_serve.c.
 */
#include "engine/exchange.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/exchange_index.h"
#include "engine/exchange_progress.h"
#include "engine/exchange_state.h"
#include "engine/pull.h"

static struct slice
exchange_own(struct slice s)
{
	return slice_of(mem_dup(s.ptr, s.len), s.len);
}

static struct peer *
exchange_find(const struct engine *en, const struct devid *dev)
{
	for (size_t i = 0; i < en->peer.len; i++)
		if (devid_equal(&en->peer.item[i]->device, dev))
			return en->peer.item[i];
	return NULL;
}

struct share *
exchange_share(struct folder *f, const struct peer *p)
{
	return folder_share(f, &p->device);
}

struct folder *
exchange_folder(struct peer *p, struct slice id)
{
	struct engine *en = p->en;

	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];

		if (f != NULL && !f->removed && slice_equal(f->cfg.id, id))
			return exchange_share(f, p) == NULL ? NULL : f;
	}
	return NULL;
}

void
exchange_send(struct peer *p, const struct message *m, struct payload *payload,
    core_done_fn *done, void *arg)
{
	struct effect *ef = core_ask_peer(p->en, EFFECT_SEND, done, arg);

	ef->u.send.device = p->device;
	ef->u.send.message = *m;
	ef->u.send.payload = payload;
}

void
exchange_drop(struct peer *p, const char *fmt, ...)
{
	struct effect *ef;
	char *text = arena_alloc(core_scratch(p->en), LIMIT_LOG_LINE);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, LIMIT_LOG_LINE, fmt, ap);
	va_end(ap);
	log_warn(p->en->log, "exchange drop device=%s reason=\"%s\"",
	    exchange_peer_name(p), text);
	ef = core_ask_peer(p->en, EFFECT_DROP_PEER, NULL, NULL);
	ef->u.drop.device = p->device;
	ef->u.drop.reason = slice_str(text);
}

const char *
exchange_peer_name(const struct peer *p)
{
	const struct setup_device *sd = setup_device(&p->en->setup, &p->device);
	char text[DEVID_SHORT_TEXT_LEN + 1];

	if (sd != NULL && sd->name.len > 0)
		return path_print(core_scratch(p->en), sd->name);
	devid_short_text(devid_short(&p->device), text);
	return arena_str(core_scratch(p->en), slice_str(text));
}

/*
 * ClusterConfig: all folders shared with the peer, each with every device that
 * shares it, ourselves and the receiver among them.  BEP-FACTS.md 5.
 */
static struct cc_device
exchange_cc_device(struct folder *f, const struct devid *id, uint32_t slot)
{
	const struct setup *su = core_setup(f->en);
	const struct setup_device *sd = setup_device(su, id);
	const bool self = devid_equal(id, &su->self);
	struct cc_device out = { .id = *id };
	struct peer_state st = { 0 };

	if (self) {
		out.name = su->name;
		if (f->ix != NULL) {
			out.index_id = index_id(f->ix);
			out.max_sequence = (int64_t)f->committed_seq;
		}
		return out;
	}
	if (sd != NULL) {
		out.name = sd->name;
		out.address = sd->address;
		out.address_count = sd->address_count;
		out.introducer = sd->introducer;
	}
	if (f->ix != NULL) {
		st = index_peer(f->ix, slot);
		out.index_id = st.index_id;
		out.max_sequence = st.max_sequence;
	}
	return out;
}

static void
exchange_cc_folder(struct folder *f, struct cc_folder *out,
    struct arena *scratch)
{
	struct cc_device *device =
	    arena_array(scratch, f->share_count + 1, sizeof(*device));

	device[0] = exchange_cc_device(f, &core_setup(f->en)->self, ROW_SELF);
	for (uint32_t i = 0; i < f->share_count; i++)
		device[i + 1] = exchange_cc_device(f, &f->share[i].device,
		    f->share[i].slot);
	*out = (struct cc_folder){
		.id = f->cfg.id,
		.label = f->cfg.label,
		.type = f->cfg.mode == FOLDER_SEND_ONLY ? 1 : 0,
		.paused = !folder_talks(f),
		.device = device,
		.device_count = f->share_count + 1,
	};
}

void
exchange_send_config(struct peer *p)
{
	struct engine *en = p->en;
	struct arena *scratch = core_scratch(en);
	struct message m = { .type = MESSAGE_CLUSTER_CONFIG };
	struct cc_folder *folder =
	    arena_array(scratch, en->folder.len, sizeof(*folder));
	uint32_t count = 0;

	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];

		if (f == NULL || f->removed || exchange_share(f, p) == NULL)
			continue;
		exchange_cc_folder(f, &folder[count++], scratch);
	}
	m.u.cluster_config.folder = folder;
	m.u.cluster_config.folder_count = count;
	exchange_send(p, &m, NULL, NULL, NULL);
}

void
exchange_setup_changed(struct engine *en)
{
	for (size_t i = 0; i < en->peer.len; i++)
		if (en->peer.item[i]->up)
			exchange_send_config(en->peer.item[i]);
}

/* Put in force what the peer said of a folder that is open here. */
static void
exchange_apply_offer(struct folder *f, struct share *sh,
    const struct exchange_offer *offer)
{
	sh->remote_lists = true;
	sh->remote_runs = !offer->paused;
	/* A paused or starting folder names no index: that is no new one. */
	if (!folder_talks(f) || offer->paused)
		return;
	exchange_index_theirs(f, sh, &offer->theirs);
	exchange_index_ours(f, sh, &offer->ours);
}

/* What an introducer says about a folder that we share with it. */
static void
exchange_introduce(struct peer *p, const struct folder *f,
    const struct cc_device *device, uint32_t count)
{
	const struct setup *su = &p->en->setup;

	for (uint32_t i = 0; i < count; i++) {
		const struct cc_device *cd = &device[i];
		struct effect *ef;

		if (devid_equal(&cd->id, &su->self) ||
		    cd->encryption_password_token.len > 0 ||
		    setup_is_shared(&f->cfg, &cd->id))
			continue;
		ef = core_ask_peer(p->en, EFFECT_NOTE, NULL, NULL);
		ef->u.note.kind = NOTE_INTRODUCED;
		ef->u.note.path = f->cfg.id;
		ef->u.note.text = cd->name;
		ef->u.note.device = cd->id;
		ef->u.note.device2 = p->device;
		ef->u.note.address = cd->address;
		ef->u.note.address_count = cd->address_count;
	}
}

void
exchange_bind_shares(struct folder *f)
{
	for (uint32_t i = 0; i < f->share_count; i++) {
		struct share *sh = &f->share[i];
		struct peer *p = exchange_find(f->en, &sh->device);

		sh->peer = p != NULL && p->up ? p : NULL;
		if (sh->peer == NULL)
			continue;
		/* A share that is new to a connected peer: it may have spoken
		 * of the folder before. */
		for (size_t k = 0; k < p->offer.len; k++) {
			const struct exchange_offer *offer = &p->offer.item[k];

			if (!offer->complete || sh->remote_lists ||
			    !slice_equal(offer->id, f->cfg.id))
				continue;
			exchange_apply_offer(f, sh, offer);
			exchange_introduce(p, f, offer->device,
			    offer->device_count);
		}
	}
}

static void exchange_on_deadline(struct engine *en, void *arg);

void
exchange_peer_up(struct engine *en, const struct event *ev)
{
	struct peer *p;

	exchange_peer_down(en, &ev->u.peer.device);
	p = mem_zalloc(sizeof(*p));
	p->en = en;
	p->device = ev->u.peer.device;
	p->features = ev->u.peer.features;
	p->client = exchange_own(ev->u.peer.client);
	p->address = exchange_own(ev->u.peer.address);
	p->up = true;
	umap_init(&p->ask);
	core_timer_init(&p->deadline, exchange_on_deadline, p);
	list_init(&p->serve_wait);
	*VEC_ADD(&en->peer) = p;
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];
		struct share *sh = f == NULL ? NULL : exchange_share(f, p);

		if (sh == NULL)
			continue;
		sh->peer = p;
		sh->remote_runs = sh->remote_lists = false;
		sh->send_busy = false;
	}
	log_info(en->log, "exchange up device=%s client=\"%s\" address=%s",
	    exchange_peer_name(p), path_print(&en->scratch, p->client),
	    path_print(&en->scratch, p->address));
	exchange_send_config(p);
}

static void
exchange_ask_ends(struct peer *p, const struct exchange_ask *ask)
{
	umap_remove(&p->ask, ask->id);
	p->asked_bytes -= ask->len;
	if (umap_count(&p->ask) == 0)
		core_timer_clear(p->en, &p->deadline);
}

/*
 * All that was asked of it (for one folder, or for any) is answered with
 * `code`.  Taken out first: an answer may lead to new questions.
 */
static void
exchange_fail_asks(struct peer *p, const struct folder *only, int code)
{
	struct exchange_ask **ask = arena_array(core_scratch(p->en),
	    umap_count(&p->ask), sizeof(struct exchange_ask *));
	size_t count = 0;

	for (struct umap_item *it = NULL;
	     (it = umap_next(&p->ask, it)) != NULL;) {
		struct exchange_ask *a = it->value;

		if (only == NULL || a->f == only)
			ask[count++] = a;
	}
	for (size_t i = 0; i < count; i++) {
		exchange_ask_ends(p, ask[i]);
	}
	for (size_t i = 0; i < count; i++) {
		struct exchange_ask *a = ask[i];

		if (a->chunks_done != NULL)
			a->chunks_done(a->f, a->arg, code, NULL, 0);
		else
			a->done(a->f, a->arg, code, NULL);
		mem_free(a);
	}
}

/*
 * It lives but answers nothing: what it was asked is asked of others.  A slow
 * link is no silence, every answer counts.
 */
static void
exchange_on_deadline(struct engine *en, void *arg)
{
	struct peer *p = arg;

	if (umap_count(&p->ask) == 0)
		return;
	if (en->now.mono_ns < p->answered_ns + LIMIT_ANSWER_NS) {
		core_timer_set(en, &p->deadline,
		    p->answered_ns + LIMIT_ANSWER_NS);
		return;
	}
	log_warn(en->log, "exchange silent device=%s asks=%zu",
	    exchange_peer_name(p), umap_count(&p->ask));
	p->answered_ns = en->now.mono_ns;
	exchange_fail_asks(p, NULL, ERR_IO);
}

static void
exchange_forget_offers(struct peer *p)
{
	for (size_t i = 0; i < p->offer.len; i++) {
		mem_free((void *)(uintptr_t)p->offer.item[i].id.ptr);
		mem_free((void *)(uintptr_t)p->offer.item[i].label.ptr);
		arena_fini(&p->offer.item[i].arena);
	}
	VEC_CLEAR(&p->offer);
}

void
exchange_peer_free(struct peer *p)
{
	core_timer_clear(p->en, &p->deadline);
	for (struct umap_item *it = NULL;
	     (it = umap_next(&p->ask, it)) != NULL;)
		mem_free(it->value);
	umap_fini(&p->ask);
	exchange_serve_stop(p);
	exchange_forget_offers(p);
	VEC_FINI(&p->offer);
	mem_free((void *)(uintptr_t)p->client.ptr);
	mem_free((void *)(uintptr_t)p->address.ptr);
	mem_free(p);
}

void
exchange_peer_release(struct peer *p)
{
	if (!p->up && p->serve_ops == 0)
		exchange_peer_free(p);
}

void
exchange_peer_down(struct engine *en, const struct devid *dev)
{
	struct peer *p = exchange_find(en, dev);

	if (p == NULL)
		return;
	log_info(en->log, "exchange down device=%s", exchange_peer_name(p));
	for (size_t i = 0; i < en->peer.len; i++) {
		if (en->peer.item[i] == p) {
			VEC_DROP(&en->peer, i);
			break;
		}
	}
	p->up = false;
	core_timer_clear(en, &p->deadline);
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];
		struct share *sh = f == NULL ? NULL : exchange_share(f, p);

		if (sh == NULL)
			continue;
		sh->peer = NULL;
		exchange_progress_peer_down(f, &p->device);
		sh->remote_runs = sh->remote_lists = false;
		sh->send_busy = sh->more_coming = false;
	}
	exchange_fail_asks(p, NULL, ERR_CLOSED);
	exchange_serve_stop(p);
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];
		struct share *sh = f == NULL ? NULL : exchange_share(f, p);

		if (sh != NULL && f->pull != NULL)
			pull_peer_down(f, sh);
	}
	exchange_peer_release(p);
}

void
exchange_share_gone(struct folder *f, struct share *sh)
{
	struct peer *p = sh->peer;

	if (p == NULL)
		return;
	sh->peer = NULL;
	exchange_progress_peer_down(f, &p->device);
	exchange_fail_asks(p, f, ERR_CLOSED);
	exchange_serve_folder_closed(p, f);
}

void
exchange_folder_closing(struct folder *f)
{
	exchange_progress_free(f);
	for (uint32_t i = 0; i < f->share_count; i++) {
		struct peer *p = f->share[i].peer;

		if (p == NULL)
			continue;
		exchange_fail_asks(p, f, ERR_CLOSED);
		exchange_serve_folder_closed(p, f);
	}
}

static uint64_t
exchange_add_ask(struct peer *p, struct folder *f, uint32_t len,
    exchange_answer_fn *done, exchange_chunks_fn *chunks_done, void *arg)
{
	struct exchange_ask *ask = mem_zalloc(sizeof(*ask));

	if (umap_count(&p->ask) == 0) {
		p->answered_ns = core_now(p->en).mono_ns;
		core_timer_set(p->en, &p->deadline,
		    p->answered_ns + LIMIT_ANSWER_NS);
	}
	/* Positive, so that any peer's int32 holds it. */
	do {
		p->next_id = (p->next_id + 1) & INT32_MAX;
	} while (p->next_id == 0 || umap_find(&p->ask, p->next_id) != NULL);
	*ask = (struct exchange_ask){ .id = p->next_id,
		.len = len,
		.f = f,
		.done = done,
		.chunks_done = chunks_done,
		.arg = arg };
	umap_put(&p->ask, ask->id, ask);
	p->asked_bytes += len;
	return ask->id;
}

uint64_t
exchange_request(struct folder *f, struct share *sh, struct request *rq,
    exchange_answer_fn *done, void *arg)
{
	struct peer *p = sh->peer;
	struct message m = { .type = MESSAGE_REQUEST };

	ASSERT(p != NULL && p->up);
	ASSERT(rq->size > 0);
	rq->id = (int32_t)exchange_add_ask(p, f, (uint32_t)rq->size, done, NULL,
	    arg);
	rq->folder = f->cfg.id;
	m.u.request = *rq;
	exchange_send(p, &m, NULL, NULL, NULL);
	exchange_progress_wake(f);
	return (uint64_t)rq->id;
}

uint64_t
exchange_request_chunks(struct folder *f, struct share *sh,
    struct chunks_request *rq, exchange_chunks_fn *done, void *arg)
{
	struct peer *p = sh->peer;
	struct message m = { .type = MESSAGE_CHUNKS_REQUEST };
	const uint64_t id = exchange_add_ask(p, f, 0, NULL, done, arg);

	ASSERT(p->up && (p->features & FEATURE_CHUNKS) != 0);
	rq->id = (int32_t)id;
	rq->folder = f->cfg.id;
	m.u.chunks_request = *rq;
	exchange_send(p, &m, NULL, NULL, NULL);
	return id;
}

void
exchange_cancel(struct folder *f, struct share *sh, uint64_t number)
{
	struct exchange_ask *ask =
	    sh->peer == NULL ? NULL : umap_find(&sh->peer->ask, number);

	if (ask == NULL || ask->f != f)
		return;
	/* The answer still comes and still counts against the window; it is
	 * thrown away when it does. */
	exchange_ask_ends(sh->peer, ask);
	mem_free(ask);
}

bool
exchange_has_room(const struct share *sh, uint32_t len)
{
	const struct peer *p = sh->peer;

	if (p == NULL || !p->up || !sh->remote_runs)
		return false;
	if (umap_count(&p->ask) >= LIMIT_FETCH_REQUESTS)
		return false;
	return p->asked_bytes == 0 ||
	       p->asked_bytes + len <= LIMIT_FETCH_WINDOW;
}

uint64_t
exchange_asked_bytes(const struct share *sh)
{
	return sh->peer == NULL ? 0 : sh->peer->asked_bytes;
}

uint32_t
exchange_features(const struct share *sh)
{
	return sh->peer == NULL ? 0 : sh->peer->features;
}

static int
exchange_code(enum response_code code)
{
	switch (code) {
	case RESPONSE_OK:
		return 0;
	case RESPONSE_NO_SUCH_FILE:
		return ERR_NOT_FOUND;
	case RESPONSE_INVALID_FILE:
		return ERR_CHANGED;
	case RESPONSE_GENERIC:
		break;
	}
	return ERR_IO;
}

static void
exchange_on_response(struct peer *p, const struct response *rs,
    struct payload *payload)
{
	struct exchange_ask *ask =
	    rs->id < 0 ? NULL : umap_find(&p->ask, (uint64_t)rs->id);
	int code = exchange_code(rs->code);

	p->answered_ns = core_now(p->en).mono_ns;
	/* An answer nobody waits for is ignored: it may be a cancelled one. */
	if (ask == NULL || ask->chunks_done != NULL) {
		payload_free(payload);
		return;
	}
	exchange_ask_ends(p, ask);
	if (code == 0 && (payload == NULL || payload->len != ask->len))
		code = ERR_CORRUPT; /* another length than asked for */
	if (code != 0) {
		payload_free(payload);
		payload = NULL;
	}
	ask->done(ask->f, ask->arg, code, payload);
	mem_free(ask);
}

static void
exchange_on_chunks(struct peer *p, const struct chunks *ch)
{
	struct exchange_ask *ask =
	    ch->id < 0 ? NULL : umap_find(&p->ask, (uint64_t)ch->id);

	p->answered_ns = core_now(p->en).mono_ns;
	if (ask == NULL || ask->chunks_done == NULL)
		return;
	exchange_ask_ends(p, ask);
	ask->chunks_done(ask->f, ask->arg, exchange_code(ch->code), ch->chunk,
	    ch->count);
	mem_free(ask);
}

/* A folder this peer offers and we do not have, or do not share with it. */
static void
exchange_note_pending(struct peer *p, const struct cc_folder *cf)
{
	struct effect *ef = core_ask_peer(p->en, EFFECT_NOTE, NULL, NULL);

	ef->u.note.kind = NOTE_PENDING_FOLDER;
	ef->u.note.path = cf->id;
	ef->u.note.text = cf->label;
	ef->u.note.device = p->device;
}

static struct exchange_offer *
exchange_keep_offer(struct peer *p, const struct cc_folder *cf)
{
	struct exchange_offer *offer = VEC_ADD(&p->offer);
	bool theirs = false, ours = false;

	*offer = (struct exchange_offer){ .id = exchange_own(cf->id),
		.label = exchange_own(cf->label),
		.paused = cf->paused };
	arena_init(&offer->arena);
	for (uint32_t i = 0; i < cf->device_count; i++) {
		const struct cc_device *cd = &cf->device[i];
		const struct peer_state st = { .index_id = cd->index_id,
			.max_sequence = cd->max_sequence };

		if (devid_equal(&cd->id, &p->device)) {
			offer->theirs = st;
			theirs = true;
		} else if (devid_equal(&cd->id, &p->en->setup.self)) {
			offer->ours = st;
			ours = true;
		}
	}
	offer->complete = theirs && ours;
	return offer;
}

static void
exchange_keep_devices(struct exchange_offer *offer, const struct cc_folder *cf)
{
	struct cc_device *device =
	    arena_array(&offer->arena, cf->device_count, sizeof(*device));

	for (uint32_t i = 0; i < cf->device_count; i++) {
		const struct cc_device *cd = &cf->device[i];
		struct slice *address = arena_array(&offer->arena,
		    cd->address_count, sizeof(*address));

		for (uint32_t k = 0; k < cd->address_count; k++)
			address[k] = arena_dup(&offer->arena, cd->address[k]);
		device[i] = (struct cc_device){ .id = cd->id,
			.name = arena_dup(&offer->arena, cd->name),
			.address = address,
			.address_count = cd->address_count,
			.encryption_password_token = arena_dup(&offer->arena,
			    cd->encryption_password_token) };
	}
	offer->device = device;
	offer->device_count = cf->device_count;
}

static bool
exchange_on_cc_folder(struct peer *p, const struct cc_folder *cf)
{
	const struct setup_device *sd = setup_device(&p->en->setup, &p->device);
	struct folder *f = exchange_folder(p, cf->id);
	struct exchange_offer *offer = exchange_keep_offer(p, cf);

	if (f == NULL) {
		if (sd != NULL && sd->introducer)
			exchange_keep_devices(offer, cf);
		exchange_note_pending(p, cf);
		return true;
	}
	if (!offer->complete) {
		exchange_drop(p,
		    "folder %s: its list lacks one of our two devices",
		    path_print(core_scratch(p->en), cf->id));
		return false;
	}
	if (sd != NULL && sd->introducer)
		exchange_introduce(p, f, cf->device, cf->device_count);
	exchange_apply_offer(f, exchange_share(f, p), offer);
	return true;
}

static void
exchange_on_config(struct peer *p, const struct cluster_config *cc)
{
	struct engine *en = p->en;

	if (cc->secondary)
		return; /* of a second connection; it has no folders */
	p->cc_came = true;
	exchange_forget_offers(p);
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];
		struct share *sh = f == NULL ? NULL : exchange_share(f, p);

		if (sh != NULL)
			sh->remote_lists = sh->remote_runs = false;
	}
	for (uint32_t i = 0; i < cc->folder_count; i++)
		if (!exchange_on_cc_folder(p, &cc->folder[i]))
			return;
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];

		if (f == NULL || exchange_share(f, p) == NULL)
			continue;
		exchange_index_grew(f);
		if (f->pull != NULL)
			pull_wake(f);
	}
}

void
exchange_folder_changed(struct folder *f)
{
	for (uint32_t i = 0; i < f->share_count; i++) {
		struct share *sh = &f->share[i];
		struct peer *p = sh->peer;

		for (size_t k = 0; p != NULL && k < p->offer.len; k++)
			if (p->offer.item[k].complete &&
			    slice_equal(p->offer.item[k].id, f->cfg.id))
				exchange_apply_offer(f, sh, &p->offer.item[k]);
		if (p != NULL)
			exchange_send_config(p);
	}
	exchange_index_grew(f);
}

static void
exchange_dispatch(struct peer *p, const struct message *m,
    struct payload *payload)
{
	switch (m->type) {
	case MESSAGE_CLUSTER_CONFIG:
		exchange_on_config(p, &m->u.cluster_config);
		break;
	case MESSAGE_INDEX:
	case MESSAGE_INDEX_UPDATE:
		exchange_index_came(p, m);
		break;
	case MESSAGE_REQUEST:
		exchange_serve_request(p, &m->u.request);
		break;
	case MESSAGE_RESPONSE:
		exchange_on_response(p, &m->u.response, payload);
		return;
	case MESSAGE_CHUNKS_REQUEST:
		if ((p->features & FEATURE_CHUNKS) != 0)
			exchange_serve_chunks(p, &m->u.chunks_request);
		break;
	case MESSAGE_CHUNKS:
		exchange_on_chunks(p, &m->u.chunks);
		break;
	case MESSAGE_PROGRESS:
		exchange_progress_came(p, &m->u.progress);
		break;
	case MESSAGE_PING:
	case MESSAGE_CLOSE: /* the session has seen to it */
	case MESSAGE_ECHO:  /* and the mesh to these */
	case MESSAGE_SIGNAL:
	case MESSAGE_MEMBERS: /* the daemon */
	case MESSAGE_FORWARD: /* likewise */
	case MESSAGE_UNKNOWN:
		break;
	}
	payload_free(payload);
}

void
exchange_message(struct engine *en, const struct event *ev)
{
	struct peer *p = exchange_find(en, &ev->u.message.device);
	const struct message *m = ev->u.message.message;

	if (p == NULL) {
		payload_free(ev->u.message.payload);
		return;
	}
	if (!p->cc_came && m->type != MESSAGE_CLUSTER_CONFIG &&
	    m->type != MESSAGE_UNKNOWN && m->type != MESSAGE_CLOSE) {
		payload_free(ev->u.message.payload);
		exchange_drop(p, "%s before the cluster config",
		    message_name(m->type));
		return;
	}
	exchange_dispatch(p, m, ev->u.message.payload);
}
