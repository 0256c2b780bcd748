/*
 * Status: gathers what the parts of the engine know of themselves.
 *
 * Keeps nothing and changes nothing.  All sums come ready from the index, so
 * a report costs the same for ten files and for ten million.  `rate` is left
 * at 0: a rate needs two samples, and whoever asks repeatedly (the daemon) has
 * them; it makes the rate from `received`.  `space` is the disk's to know.
 */
#include "engine/status.h"

#include "engine/conflict.h"
#include "engine/core_state.h"
#include "engine/exchange_state.h"
#include "engine/folder.h"
#include "engine/pull.h"
#include "engine/scan.h"
#include "engine/trash.h"

static const char *const status_names[] = {
	[STATUS_HALTED] = "halted",
	[STATUS_PAUSED] = "paused",
	[STATUS_STARTING] = "starting",
	[STATUS_SCANNING] = "scanning",
	[STATUS_RECEIVING] = "receiving",
	[STATUS_WAITING] = "waiting",
	[STATUS_IN_SYNC] = "in_sync",
};

const char *
status_state_name(enum status_state s)
{
	return status_names[s];
}

static struct folder *
status_find(const struct engine *en, struct slice id)
{
	for (size_t i = 0; i < en->folder.len; i++) {
		struct folder *f = en->folder.item[i];

		if (f != NULL && !f->removed && slice_equal(f->cfg.id, id))
			return f;
	}
	return NULL;
}

static const struct peer *
status_peer(const struct engine *en, const struct devid *dev)
{
	for (size_t i = 0; i < en->peer.len; i++)
		if (devid_equal(&en->peer.item[i]->device, dev))
			return en->peer.item[i];
	return NULL;
}

static bool
status_needs_nothing(const struct need_totals *need)
{
	return need->items == 0 && need->deletes == 0;
}

/* --- Devices that share a folder --- */

static enum reason
status_share_reason(const struct engine *en, const struct share *sh)
{
	const struct setup_device *sd = setup_device(&en->setup, &sh->device);

	if (sh->peer == NULL)
		return sd != NULL && sd->paused ? REASON_PAUSED
						: REASON_OFFLINE;
	if (!sh->peer->cc_came)
		return REASON_NONE; /* it is about to say */
	if (!sh->remote_lists)
		return REASON_PEER_NOT_SHARING;
	return sh->remote_runs ? REASON_NONE : REASON_PEER_PAUSED;
}

static struct need_totals
status_everything(const struct index *ix)
{
	const struct totals t = index_global_totals(ix);

	return (struct need_totals){ .items = t.files + t.dirs + t.links,
		.bytes = t.bytes };
}

static struct status_share
status_share_of(const struct folder *f, const struct share *sh)
{
	struct status_share out = {
		.device = sh->device,
		.connected = sh->peer != NULL,
		.reason = status_share_reason(f->en, sh),
	};

	if (f->ix == NULL)
		return out;
	out.known = index_peer(f->ix, sh->slot).index_id != 0;
	out.need = out.known ? index_need_totals(f->ix, sh->slot)
			     : status_everything(f->ix);
	return out;
}

static void
status_shares(const struct folder *f, struct arena *arena,
    struct status_folder *out)
{
	struct status_share *share =
	    arena_array(arena, f->share_count, sizeof(*share));

	out->copies_want = f->share_count + 1;
	out->copies_have =
	    f->ix != NULL && status_needs_nothing(&out->need) ? 1 : 0;
	for (uint32_t i = 0; i < f->share_count; i++) {
		share[i] = status_share_of(f, &f->share[i]);
		if (share[i].known && status_needs_nothing(&share[i].need))
			out->copies_have++;
	}
	out->share = share;
	out->share_count = f->share_count;
}

/* --- Folders --- */

/* Where this disk lacks something and nothing is being done about it. */
static void
status_waiting(const struct folder *f, struct arena *arena,
    struct status_folder *out)
{
	struct pull_problem *failed = NULL;

	out->state = STATUS_WAITING;
	if (f->cfg.mode == FOLDER_SEND_ONLY) {
		out->reason = REASON_SEND_ONLY;
	} else if (pull_problems(f, &failed, 1, arena) > 0) {
		out->reason = failed->reason;
		out->text = failed->text;
	} else if (out->changed > 0) {
		out->reason = REASON_LOCALLY_CHANGED;
	} else {
		out->reason = REASON_NO_SOURCE;
	}
}

/* "laptop: 18204 to delete, 0 to rewrite, of 41205 files" */
static struct slice
status_held(const struct folder *f, const struct brake_held *h,
    struct arena *arena)
{
	struct slice name = SLICE_EMPTY;

	for (uint32_t i = 0; i < f->share_count; i++)
		if (devid_equal(&f->share[i].device, &h->device))
			name = f->share[i].name;
	return slice_str(arena_printf(arena,
	    "%.*s: %lld to delete, %lld to rewrite, of %lld files",
	    SLICE_FMT(name), (long long)h->deletes, (long long)h->rewrites,
	    (long long)h->files));
}

static void
status_running(const struct folder *f, struct arena *arena,
    struct status_folder *out)
{
	if (!f->settled)
		out->state = STATUS_SCANNING;
	else if (status_needs_nothing(&out->need))
		out->state = STATUS_IN_SYNC;
	else if (out->items > 0 || !pull_is_idle(f))
		out->state = STATUS_RECEIVING;
	else
		status_waiting(f, arena, out);
	if (out->held_count > 0) {
		out->reason = REASON_MASS_CHANGE;
		out->text = status_held(f, &out->held[0], arena);
		out->since_wall_ns = out->held[0].since_wall_ns;
	}
	if (out->reason != REASON_NONE)
		return;
	if (f->watch == WATCH_PARTIAL)
		out->reason = REASON_WATCH_LIMIT;
	else if (f->watch == WATCH_FAILED)
		out->reason = REASON_WATCH_FAILED;
}

static void
status_halted(const struct folder *f, struct arena *arena,
    struct status_folder *out)
{
	out->state = STATUS_HALTED;
	out->reason = f->reason;
	out->text = arena_dup(arena, slice_str(f->reason_text));
}

static void
status_judge(const struct folder *f, struct arena *arena,
    struct status_folder *out)
{
	if (f->cfg.paused) {
		out->state = STATUS_PAUSED;
		out->reason = REASON_PAUSED;
		return;
	}
	switch (f->state) {
	case FOLDER_HALTED:
		status_halted(f, arena, out);
		break;
	case FOLDER_RUNNING:
		status_running(f, arena, out);
		break;
	case FOLDER_CLOSING:
		if (f->halting) {
			status_halted(f, arena, out);
			break;
		}
		out->state = STATUS_STARTING; /* closed to be opened again */
		out->reason = REASON_STARTING;
		break;
	case FOLDER_CLOSED:
	case FOLDER_OPENING:
		if (f->halted_for != REASON_NONE) { /* just another try */
			status_halted(f, arena, out);
			out->reason = f->halted_for;
			break;
		}
		out->state = STATUS_STARTING;
		out->reason = REASON_STARTING;
		break;
	}
}

static bool
status_is_idle(const struct folder *f)
{
	if (f->ix == NULL)
		return f->ops == 0 &&
		       (f->state == FOLDER_CLOSED || f->state == FOLDER_HALTED);
	return folder_talks(f) && scan_is_idle(f) && pull_is_idle(f) &&
	       f->walk == NULL && !f->ignore_busy && !f->commit_busy &&
	       f->commit_wait.len == 0 && index_pending(f->ix) == 0;
}

static struct status_problem
status_problem_of_scan(const struct scan_problem *in)
{
	return (struct status_problem){
		.path = in->path,
		.reason = in->reason,
		.text = in->text,
		.since_wall_ns = in->since_wall_ns,
	};
}

static struct status_problem
status_problem_of_pull(const struct pull_problem *in)
{
	return (struct status_problem){
		.path = in->path,
		.reason = in->reason,
		.text = in->text,
		.since_wall_ns = in->since_wall_ns,
		.tries = in->tries,
	};
}

/*
 * What the pull could not bring here and what the scanner could not take, in
 * one order.  Of a path that is in both the pull's is told: it blocks more.
 */
static void
status_problems(const struct folder *f, uint32_t failed, uint32_t skipped,
    struct arena *arena, struct status_folder *out)
{
	struct pull_problem *pull = NULL;
	struct scan_problem *scan = NULL;
	uint32_t pulls = pull_problems(f, &pull, STATUS_PROBLEMS_MAX, arena);
	uint32_t scans = scan_problems(f, &scan, STATUS_PROBLEMS_MAX, arena);
	const uint32_t known = (failed > pulls ? failed : pulls) + skipped;
	struct status_problem *problem =
	    arena_array(arena, STATUS_PROBLEMS_MAX, sizeof(*problem));
	uint32_t n = 0;

	while (n < STATUS_PROBLEMS_MAX && pulls + scans > 0) {
		const int cmp = scans == 0 ? -1
				: pulls == 0
				    ? 1
				    : slice_cmp(pull->path, scan->path);

		problem[n++] = cmp <= 0 ? status_problem_of_pull(pull)
					: status_problem_of_scan(scan);
		if (cmp <= 0) {
			pull++;
			pulls--;
		}
		if (cmp >= 0) {
			scan++;
			scans--;
		}
	}
	out->problem = problem;
	out->problem_listed = n;
	out->problem_count = known > n ? known : n;
}

/* Whoever has more to do: this device, or of the others the busiest. */
static struct devid
status_limit(const struct folder *f, const struct pull_progress *pp)
{
	struct devid out = { { 0 } };
	uint64_t most = 0;

	if (pp->writing > pp->asked)
		return f->en->setup.self;
	for (uint32_t i = 0; i < f->share_count && pp->asked > 0; i++) {
		const uint64_t asked = exchange_asked_bytes(&f->share[i]);

		if (asked > most) {
			most = asked;
			out = f->share[i].device;
		}
	}
	return out;
}

/* What is known only while the index is open. */
static void
status_open(const struct folder *f, struct arena *arena,
    struct status_folder *out)
{
	const struct scan_progress sp = scan_progress(f);
	struct pull_progress pp = { 0 };
	struct brake_held *held;

	out->local = index_local_totals(f->ix);
	out->global = index_global_totals(f->ix);
	out->need = index_need_totals(f->ix, ROW_SELF);
	out->conflicts = index_conflict_totals(f->ix);
	out->changed = index_changed_totals(f->ix);
	if (f->pull != NULL) {
		pp = pull_progress(f);
		status_problems(f, pp.failed, sp.failed, arena, out);
	}
	out->items = pp.items;
	out->bytes_done = pp.bytes_done;
	out->received = pp.received;
	out->limit = status_limit(f, &pp);
	out->scan = (struct status_scan){
		.running = sp.running,
		.passes = sp.passes,
		.dirs = sp.dirs,
		.files = sp.files,
		.hashed_bytes = sp.hashed_bytes,
		.last_end_wall_ns = sp.last_end_wall_ns,
		.changing = sp.changing,
		.failed = sp.failed,
	};
	if (f->ignore != NULL)
		out->ignore_rules = ignore_count(f->ignore);
	out->held_count = brake_list(f, &held, arena);
	out->held = held;
	out->has_trash = trash_totals(f, &out->trash);
	if (trash_broken(f) != NULL)
		out->trash_failure =
		    arena_dup(arena, slice_str(trash_broken(f)));
}

static void
status_folder_of(const struct folder *f, struct arena *arena,
    struct status_folder *out)
{
	out->since_wall_ns = f->since_wall_ns;
	out->watch = f->watch;
	if (f->ix != NULL)
		status_open(f, arena, out);
	status_judge(f, arena, out);
	status_shares(f, arena, out);
	out->idle = status_is_idle(f);
	if (f->changed_wall_ns != 0)
		out->last_change = (struct status_change){
			.wall_ns = f->changed_wall_ns,
			.device = f->changed_by,
			.path = arena_dup(arena, slice_str(f->changed_path)),
		};
}

static struct status_folder *
status_folders(const struct engine *en, struct arena *arena)
{
	const struct setup *su = &en->setup;
	struct status_folder *out =
	    arena_array(arena, su->folder_count, sizeof(*out));

	for (uint32_t i = 0; i < su->folder_count; i++) {
		const struct setup_folder *sf = &su->folder[i];
		const struct folder *f = status_find(en, sf->id);

		out[i] = (struct status_folder){
			.id = arena_dup(arena, sf->id),
			.label = arena_dup(arena, sf->label),
			.path = arena_dup(arena, sf->path),
			.mode = sf->mode,
			.state = STATUS_STARTING,
			.reason = REASON_STARTING,
		};
		if (f == NULL)
			continue;
		out[i].reason = REASON_NONE;
		status_folder_of(f, arena, &out[i]);
	}
	return out;
}

/* --- Devices --- */

static struct status_device
status_device_of(const struct engine *en, const struct setup_device *sd,
    const struct status_folder *folder, struct arena *arena)
{
	const struct peer *p = status_peer(en, &sd->id);
	struct status_device out = {
		.id = sd->id,
		.name = arena_dup(arena, sd->name),
		.paused = sd->paused,
		.connected = p != NULL,
	};

	if (p != NULL) {
		out.client = arena_dup(arena, p->client);
		out.address = arena_dup(arena, p->address);
		out.features = p->features;
	}
	for (uint32_t i = 0; i < en->setup.folder_count; i++) {
		for (uint32_t k = 0; k < folder[i].share_count; k++) {
			const struct status_share *sh = &folder[i].share[k];

			if (!devid_equal(&sh->device, &sd->id))
				continue;
			out.behind.items += sh->need.items;
			out.behind.deletes += sh->need.deletes;
			out.behind.bytes += sh->need.bytes;
		}
	}
	return out;
}

void
status_report(const struct engine *en, struct now now, struct arena *arena,
    struct status_report *out)
{
	const struct setup *su = &en->setup;
	struct status_folder *folder = status_folders(en, arena);
	struct status_device *device =
	    arena_array(arena, su->device_count, sizeof(*device));

	(void)now; /* nothing here grows old between two steps */
	for (uint32_t i = 0; i < su->device_count; i++)
		device[i] = status_device_of(en, &su->device[i], folder, arena);
	*out = (struct status_report){
		.self = su->self,
		.name = arena_dup(arena, su->name),
		.folder = folder,
		.folder_count = su->folder_count,
		.device = device,
		.device_count = su->device_count,
	};
}

/* --- Conflict copies --- */

bool
status_conflicts(const struct engine *en, struct slice folder_id,
    struct arena *arena, const struct status_conflict **out, uint32_t *count)
{
	const struct folder *f = status_find(en, folder_id);
	struct arena rows[2] = { { 0 } }; /* the row at hand and the next */
	struct status_conflict *list;
	struct row *row;
	int at = 0;

	*out = NULL;
	*count = 0;
	if (f == NULL || f->ix == NULL || f->state == FOLDER_CLOSING)
		return false;
	list = arena_array(arena, STATUS_CONFLICTS_MAX, sizeof(*list));
	arena_init(&rows[0]);
	arena_init(&rows[1]);
	row = index_next(f->ix, SLICE_EMPTY, &rows[at]);
	while (row != NULL && *count < STATUS_CONFLICTS_MAX) {
		if (conflict_is_copy(row)) {
			const struct entry *e = &row_local(row)->entry;

			list[(*count)++] = (struct status_conflict){
				.path = arena_dup(arena, row->path),
				.original = conflict_original(row->path, arena),
				.size = e->size,
				.mtime_s = e->mtime_s,
				.modified_by = e->modified_by,
			};
		}
		at = 1 - at;
		arena_clear(&rows[at]);
		row = index_next(f->ix, row->path, &rows[at]);
	}
	arena_fini(&rows[0]);
	arena_fini(&rows[1]);
	*out = list;
	return true;
}
