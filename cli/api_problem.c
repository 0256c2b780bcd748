/*
 * What is wrong, as the local API tells it: one object a problem.
 *
 * Made here and nowhere else, from the report; each has a code, since when,
 * what it means for a person's files, and what to do.  FEATURES.md E2, E4.
 */
#include "cli/api_private.h"

#include <stdio.h>

#include "cli/print.h"
#include "engine/base/mem.h"

#define API_SPACE_PART 20u /* of a small disk this part is little */

/* Worst wins: 6 over 5 over 4 over 0. */
void
api_view_worsen(struct api_view *v, enum cmd_exit code)
{
	if (code > v->exit)
		v->exit = code;
}

void
api_set_count(json_t *o, const char *key, int64_t n)
{
	json_object_set_new(o, key, json_integer(n));
}

struct api_problem {
	const char *code; /* "folder.disk-full" */
	bool stopped;
	struct slice subject;
	int64_t since_wall_ns;
	const char *what, *effect, *todo; /* todo may be NULL */
	int64_t items, bytes;             /* touched; 0: unknown or none */
};

static void
api_problem(struct api_view *v, const char *kind, const struct api_problem *p)
{
	json_t *o = json_object();
	json_t *effect = json_object();
	json_t *next = json_array();
	char id[16];

	snprintf(id, sizeof(id), "p-%zu", json_array_size(v->problems) + 1);
	json_object_set_new(o, "id", json_string(id));
	json_object_set_new(o, "code", json_string(p->code));
	json_object_set_new(o, "severity",
	    json_string(p->stopped ? "stopped" : "warning"));
	json_object_set_new(o, "kind", json_string(kind));
	json_object_set_new(o, "subject", api_text(p->subject));
	json_object_set_new(o, "since",
	    api_time(p->since_wall_ns > 0 ? p->since_wall_ns
					  : v->facts.started_wall_ns));
	json_object_set_new(o, "what", api_text(slice_str(p->what)));
	json_object_set_new(effect, "text", api_text(slice_str(p->effect)));
	api_set_count(effect, "files", p->items);
	api_set_count(effect, "bytes", p->bytes);
	json_object_set_new(o, "effect", effect);
	if (p->todo != NULL)
		json_array_append_new(next, api_text(slice_str(p->todo)));
	json_object_set_new(o, "next", next);
	json_array_append_new(v->problems, o);
	api_view_worsen(v, p->stopped ? CMD_STOPPED : CMD_ATTENTION);
}

/* "folder.disk-full": whose it is, and a name of the one table. */
static const char *
api_code(struct arena *ar, const char *whose, enum reason r)
{
	return arena_printf(ar, "%s.%s", whose, reason_name(r));
}

/* A reason's sentence, and the detail when there is one. */
static const char *
api_what(struct arena *ar, enum reason r, struct slice detail)
{
	if (detail.len == 0)
		return reason_what(r);
	return arena_printf(ar, "%s  (%.*s)", reason_what(r),
	    SLICE_FMT(detail));
}

/* The folder itself: halted, or a warning such as too few watches. */
static void
api_problem_folder(struct api_view *v, const struct status_folder *f)
{
	struct arena *ar = &v->call->ar;
	struct api_problem p = { 0 };
	enum reason r = f->reason;

	if (r == REASON_NONE && f->watch == WATCH_PARTIAL)
		r = REASON_WATCH_LIMIT;
	if (r == REASON_NONE && f->watch == WATCH_FAILED)
		r = REASON_WATCH_FAILED;
	if (f->state == STATUS_PAUSED ||
	    (f->state != STATUS_HALTED && reason_severity(r) == REASON_INFO))
		return;
	p.code = api_code(ar, "folder", r);
	p.stopped =
	    f->state == STATUS_HALTED || reason_severity(r) == REASON_STOPPED;
	p.subject = f->id;
	p.since_wall_ns = f->since_wall_ns;
	p.what = api_what(ar, r, f->text);
	p.effect = reason_effect(r);
	p.todo = api_todo(ar, r, f->id);
	p.items = f->need.items;
	p.bytes = f->need.bytes;
	api_problem(v, "folder", &p);
}

/* Items that failed: one problem a reason, the first path as its example. */
static void
api_problem_items(struct api_view *v, const struct status_folder *f)
{
	struct arena *ar = &v->call->ar;
	bool told[REASON_COUNT] = { false };

	for (uint32_t i = 0; i < f->problem_listed; i++) {
		const struct status_problem *first = &f->problem[i];
		const enum reason r = first->reason;
		struct api_problem p = { 0 };

		if (told[r] || reason_severity(r) == REASON_INFO)
			continue;
		told[r] = true;
		p.since_wall_ns = first->since_wall_ns;
		for (uint32_t j = i; j < f->problem_listed; j++) {
			const struct status_problem *other = &f->problem[j];

			if (other->reason != r)
				continue;
			p.items++;
			if (other->since_wall_ns < p.since_wall_ns)
				p.since_wall_ns = other->since_wall_ns;
		}
		p.code = api_code(ar, "item", r);
		p.subject = f->id;
		p.what =
		    p.items == 1
			? arena_printf(ar, "%.*s: %s", SLICE_FMT(first->path),
			      api_what(ar, r, first->text))
			: arena_printf(ar, "%lld items, first %.*s: %s",
			      (long long)p.items, SLICE_FMT(first->path),
			      api_what(ar, r, first->text));
		p.effect = reason_effect(r);
		p.todo = api_todo(ar, r, f->id);
		api_problem(v, "folder", &p);
	}
}

static void
api_problem_conflicts(struct api_view *v, const struct status_folder *f)
{
	struct arena *ar = &v->call->ar;
	const int64_t count = f->conflicts;
	struct api_problem p = { 0 };

	if (count <= 0)
		return;
	p.code = api_code(ar, "folder", REASON_CONFLICT);
	p.subject = f->id;
	p.since_wall_ns = f->last_change.wall_ns;
	p.what = arena_printf(ar, "%lld conflict %s.", (long long)count,
	    count == 1 ? "copy" : "copies");
	p.effect = reason_effect(REASON_CONFLICT);
	p.todo = api_todo(ar, REASON_CONFLICT, f->id);
	p.items = count;
	api_problem(v, "folder", &p);
}

static void
api_problem_trash(struct api_view *v, const struct status_folder *f)
{
	struct arena *ar = &v->call->ar;
	struct api_problem p = { 0 };

	if (f->trash_failure.len == 0)
		return;
	p.code = api_code(ar, "folder", REASON_TRASH_FAILED);
	p.subject = f->id;
	p.since_wall_ns = f->last_change.wall_ns;
	p.what = api_what(ar, REASON_TRASH_FAILED, f->trash_failure);
	p.effect = reason_effect(REASON_TRASH_FAILED);
	p.todo = api_todo(ar, REASON_TRASH_FAILED, f->id);
	api_problem(v, "folder", &p);
}

static const struct config_folder *
api_folder_config(const struct api_view *v, struct slice id)
{
	const struct config *cfg = v->facts.config;
	const int i = config_find_folder(cfg, id);

	return i < 0 ? NULL : &cfg->folder[i];
}

static void
api_problem_space(struct api_view *v, const struct status_folder *f)
{
	const struct config_folder *cfg = api_folder_config(v, f->id);
	struct arena *ar = &v->call->ar;
	struct api_problem p = { 0 };

	if (cfg == NULL || f->space.total == 0 ||
	    f->space.free >= cfg->low_space ||
	    (cfg->low_space_default &&
		f->space.free >= f->space.total / API_SPACE_PART))
		return;
	p.code = api_code(ar, "folder", REASON_LOW_SPACE);
	p.subject = f->id;
	p.since_wall_ns = v->now.wall_ns;
	p.what = arena_printf(ar, "%s free of %s.",
	    print_size(ar, (int64_t)f->space.free),
	    print_size(ar, (int64_t)f->space.total));
	p.effect = reason_effect(REASON_LOW_SPACE);
	p.todo = api_todo(ar, REASON_LOW_SPACE, f->id);
	api_problem(v, "folder", &p);
}

/*
 * We have all of it, no other device has, and none of them is getting it.  Of a
 * folder that is shared with nobody that is what its person wants.
 */
static void
api_problem_single(struct api_view *v, const struct status_folder *f)
{
	const struct config_folder *cfg = api_folder_config(v, f->id);
	const struct need_totals *least = NULL;
	struct arena *ar = &v->call->ar;
	struct api_problem p = { 0 };

	if (cfg == NULL || cfg->single_copy_ns == 0 || f->share_count == 0 ||
	    f->copies_have != 1 || f->need.items + f->need.deletes > 0)
		return;
	for (uint32_t i = 0; i < f->share_count; i++) {
		const struct status_share *s = &f->share[i];
		const int64_t seen = api_last_seen(v, &s->device);

		if (s->connected && s->reason == REASON_NONE)
			return;
		if (!s->connected && seen > p.since_wall_ns)
			p.since_wall_ns = seen;
		if (least == NULL || s->need.bytes < least->bytes)
			least = &s->need;
	}
	if (p.since_wall_ns == 0)
		p.since_wall_ns = v->facts.started_wall_ns;
	p.items = least->items;
	p.bytes = least->bytes;
	if (p.items == 0 ||
	    v->now.wall_ns - p.since_wall_ns <= (int64_t)cfg->single_copy_ns)
		return;
	p.code = api_code(ar, "folder", REASON_SINGLE_COPY);
	p.subject = f->id;
	p.what = arena_printf(ar,
	    "No other device has all of it; %s items (%s) are missing where "
	    "the least are.",
	    print_count(ar, p.items), print_size(ar, p.bytes));
	p.effect = reason_effect(REASON_SINGLE_COPY);
	p.todo = api_todo(ar, REASON_SINGLE_COPY, f->id);
	api_problem(v, "folder", &p);
}

void
api_problem_all(struct api_view *v, const struct status_folder *f)
{
	api_problem_folder(v, f);
	api_problem_items(v, f);
	api_problem_conflicts(v, f);
	api_problem_trash(v, f);
	if (f->state == STATUS_PAUSED || f->state == STATUS_HALTED)
		return;
	api_problem_space(v, f);
	api_problem_single(v, f);
}

static const struct config_device *
api_device_config_of(const struct api_view *v, const struct devid *id)
{
	const struct config *cfg = v->facts.config;

	for (uint32_t i = 0; i < cfg->setup.device_count; i++)
		if (devid_equal(&cfg->setup.device[i].id, id))
			return &cfg->device[i];
	return NULL;
}

static void
api_problem_stale(struct api_view *v, const struct status_device *d,
    const struct config_device *cfg)
{
	const int64_t seen = api_last_seen(v, &d->id);
	const int64_t silent = v->now.wall_ns - seen;
	const uint64_t limit = cfg->max_silence_ns;
	struct arena *ar = &v->call->ar;
	struct api_problem p = { 0 };

	if (d->connected || seen == 0 || limit == 0 || silent <= 0 ||
	    (uint64_t)silent <= limit)
		return;
	p.code = api_code(ar, "device", REASON_STALE);
	p.subject = d->name;
	p.since_wall_ns = seen;
	p.what = arena_printf(ar, "Not seen for %llu days (limit %llu).",
	    (unsigned long long)silent / (24 * CLOCK_HOUR),
	    (unsigned long long)(limit / (24 * CLOCK_HOUR)));
	p.effect = arena_printf(ar, "%lld changed items have not reached it.",
	    (long long)(d->behind.items + d->behind.deletes));
	p.todo = api_todo(ar, REASON_STALE, d->name);
	p.items = d->behind.items + d->behind.deletes;
	p.bytes = d->behind.bytes;
	api_problem(v, "device", &p);
}

/* Through a relay for a while, and not because the rest is still tried. */
static void
api_problem_relayed(struct api_view *v, const struct status_device *d,
    const struct config_device *cfg)
{
	const struct net_peer_status *peer = api_path_peer(&v->net, &d->id);
	struct arena *ar = &v->call->ar;
	struct api_problem p = { 0 };
	enum reason why;

	if (cfg->max_relayed_ns == 0 || peer == NULL || !peer->connected ||
	    !peer->relayed ||
	    v->now.wall_ns - peer->since_wall_ns <=
		(int64_t)cfg->max_relayed_ns)
		return;
	why = api_path_detour(peer);
	if (why == REASON_NONE || why == REASON_DIRECT_UNTRIED)
		return;
	p.code = api_code(ar, "device", REASON_SLOW_PATH);
	p.subject = d->name;
	p.since_wall_ns = peer->since_wall_ns;
	p.what = arena_printf(ar, "Relayed by %s  (%s)", peer->address,
	    reason_what(why));
	p.effect = reason_effect(REASON_SLOW_PATH);
	p.todo = api_todo(ar, REASON_SLOW_PATH, d->name);
	api_problem(v, "device", &p);
}

void
api_problem_device(struct api_view *v, const struct status_device *d)
{
	const struct config_device *cfg = api_device_config_of(v, &d->id);

	if (cfg == NULL || d->paused)
		return;
	api_problem_stale(v, d, cfg);
	api_problem_relayed(v, d, cfg);
}

/* A refused reload: the daemon goes on with the old configuration. */
void
api_problem_config(struct api_view *v)
{
	struct arena *ar = &v->call->ar;
	const struct api_problem p = {
		.code = api_code(ar, "config", REASON_REFUSED),
		.subject = slice_str(v->facts.config_file),
		.since_wall_ns = v->facts.config_error_wall_ns,
		.what = arena_str(ar, v->facts.config_error),
		.effect = reason_effect(REASON_REFUSED),
		.todo = api_todo(ar, REASON_REFUSED, SLICE_EMPTY),
	};

	if (v->facts.config_error.len > 0)
		api_problem(v, "config", &p);
}

void
api_problem_clone(struct api_view *v)
{
	struct arena *ar = &v->call->ar;
	struct api_problem p = {
		.code = api_code(ar, "device", REASON_CLONE),
		.subject = v->rp.name,
		.since_wall_ns = v->now.wall_ns,
		.effect = reason_effect(REASON_CLONE),
		.todo = api_todo(ar, REASON_CLONE, SLICE_EMPTY),
	};

	if (v->net.clone == NULL || v->net.clone[0] == '\0')
		return;
	p.what = api_what(ar, REASON_CLONE, slice_str(v->net.clone));
	api_problem(v, "device", &p);
}
