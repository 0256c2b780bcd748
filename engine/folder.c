/*
 * One folder's life: open, prove the root, read the rules, recover, run; halt
 * when something is not as it must be, and come back by itself.  See folder.h.
 */
#include "engine/folder_state.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/brake.h"
#include "engine/exchange.h"
#include "engine/exchange_index.h"
#include "engine/exchange_progress.h"
#include "engine/pull.h"
#include "engine/scan.h"
#include "engine/trash.h"

#define FOLDER_RETRY_NS (5 * CLOCK_S) /* of a halted folder */

static void folder_open(struct folder *f);

const char *
folder_name(const struct folder *f)
{
	return path_print(core_scratch(f->en), f->cfg.id);
}

/* What the events call a state. */
static const char *
folder_state_name(const struct folder *f)
{
	switch (f->state) {
	case FOLDER_CLOSED:
		return f->cfg.paused ? "paused" : "closed";
	case FOLDER_OPENING:
		return "opening";
	case FOLDER_RUNNING:
		return "running";
	case FOLDER_HALTED:
		return "halted";
	case FOLDER_CLOSING:
		return "closing";
	}
	return "closed";
}

static void
folder_note_state(struct folder *f)
{
	struct effect_note *note = core_note(f, NOTE_FOLDER_STATE);

	note->reason = f->reason;
	note->path = arena_dup(core_scratch(f->en), f->cfg.id);
	note->text = slice_str(folder_state_name(f));
}

static void
folder_set_state(struct folder *f, enum folder_state state, enum reason r)
{
	if (f->state == state && f->reason == r)
		return;
	f->state = state;
	f->reason = r;
	/* A halted folder that looks whether it may go on is halted still. */
	if (f->halted_for != REASON_NONE &&
	    (state == FOLDER_OPENING || state == FOLDER_CLOSING ||
		(state == FOLDER_HALTED && r == f->halted_for)))
		return;
	f->halted_for = state == FOLDER_HALTED ? r : REASON_NONE;
	f->since_wall_ns = core_now(f->en).wall_ns;
	folder_note_state(f);
}

bool
folder_is_running(const struct folder *f)
{
	return f->state == FOLDER_RUNNING;
}

bool
folder_talks(const struct folder *f)
{
	return f->state == FOLDER_RUNNING ||
	       (f->state == FOLDER_HALTED && f->soft);
}

void
folder_changed(struct folder *f, uint64_t by_short, struct slice path)
{
	const struct setup *su = core_setup(f->en);
	const size_t n = path.len < sizeof(f->changed_path) - 1
			     ? path.len
			     : sizeof(f->changed_path) - 1;

	memset(&f->changed_by, 0, sizeof(f->changed_by));
	if (by_short == devid_short(&su->self))
		f->changed_by = su->self;
	for (uint32_t i = 0; i < su->device_count; i++)
		if (devid_short(&su->device[i].id) == by_short)
			f->changed_by = su->device[i].id;
	f->changed_wall_ns = core_now(f->en).wall_ns;
	memcpy(f->changed_path, path.ptr, n);
	f->changed_path[n] = '\0';
}

/* --- Closing and halting --- */

/* Everything that works on the index stops; what is asked is waited for. */
static void
folder_begin_close(struct folder *f, bool halting, bool reopen)
{
	const bool talked = folder_talks(f);

	f->halting = halting;
	f->reopen = reopen;
	f->soft = false;
	core_timer_clear(f->en, &f->retry);
	core_timer_clear(f->en, &f->rescan);
	trash_stop(f);
	if (f->state == FOLDER_CLOSED ||
	    (f->state == FOLDER_HALTED && f->ix == NULL && !f->opened)) {
		folder_set_state(f, FOLDER_CLOSED, f->reason);
		return;
	}
	folder_set_state(f, FOLDER_CLOSING, f->reason);
	folder_walk_free(f);
	if (f->scan != NULL)
		scan_stop(f);
	if (f->pull != NULL)
		pull_stop(f);
	exchange_folder_closing(f);
	if (talked)
		exchange_folder_changed(f);
}

void
folder_close(struct folder *f)
{
	if (f->state == FOLDER_CLOSING) {
		f->halting = f->reopen = false;
		return;
	}
	f->reason_text[0] = '\0';
	folder_begin_close(f, false, false);
	if (f->state == FOLDER_CLOSED)
		folder_set_state(f, FOLDER_CLOSED, REASON_NONE);
}

void
folder_reopen(struct folder *f)
{
	if (f->cfg.paused || f->removed)
		return;
	if (f->state == FOLDER_CLOSING) {
		f->halting = false;
		f->reopen = true;
		return;
	}
	folder_begin_close(f, false, true);
	if (f->state == FOLDER_CLOSED)
		folder_open(f);
}

/* It is tried again every few seconds: say it once. */
static void
folder_log_halt(struct folder *f, enum reason r)
{
	if (f->told != r)
		log_error(core_log(f->en),
		    "folder halt folder=%s reason=%s text=\"%s\"",
		    folder_name(f), reason_name(r), f->reason_text);
	f->told = r;
}

static void
folder_retry_later(struct folder *f)
{
	core_timer_set(f->en, &f->retry,
	    core_now(f->en).mono_ns + FOLDER_RETRY_NS);
}

void
folder_halt(struct folder *f, enum reason r, const char *fmt, ...)
{
	va_list ap;

	if (f->state == FOLDER_CLOSING || f->state == FOLDER_CLOSED)
		return;
	va_start(ap, fmt);
	vsnprintf(f->reason_text, sizeof(f->reason_text), fmt, ap);
	va_end(ap);
	folder_log_halt(f, r);
	f->rebuild = r == REASON_INDEX_DAMAGED;
	folder_begin_close(f, true, false);
	f->reason = r;
}

void
folder_halt_softly(struct folder *f, enum reason r, struct slice text)
{
	if (f->state != FOLDER_RUNNING)
		return;
	snprintf(f->reason_text, sizeof(f->reason_text), "%.*s",
	    SLICE_FMT(text));
	folder_log_halt(f, r);
	f->soft = true;
	folder_set_state(f, FOLDER_HALTED, r);
	pull_stop(f);
	folder_retry_later(f);
}

bool
folder_met_error(struct folder *f, int code, struct slice text)
{
	if (f->state != FOLDER_RUNNING && f->state != FOLDER_OPENING)
		return true;
	switch (code) {
	case ERR_FULL:
	case ERR_READ_ONLY:
		if (f->state == FOLDER_OPENING)
			break;
		folder_halt_softly(f,
		    code == ERR_FULL ? REASON_DISK_FULL : REASON_READ_ONLY_DISK,
		    text);
		if (code == ERR_FULL)
			trash_make_room(f);
		return true;
	case ERR_MISSING_ROOT:
		folder_halt(f, REASON_ROOT_MISSING, "%.*s", SLICE_FMT(text));
		return true;
	case ERR_CORRUPT:
		folder_halt(f, REASON_INDEX_DAMAGED, "%.*s", SLICE_FMT(text));
		return true;
	default:
		break;
	}
	return false;
}

static void
folder_drop_parts(struct folder *f)
{
	folder_walk_free(f); /* one that waited for a commit that never came */
	brake_close(f);
	scan_free(f->scan);
	pull_free(f->pull);
	index_close(f->ix);
	f->scan = NULL;
	f->pull = NULL;
	f->ix = NULL;
	folder_rules_drop(f);
	mem_free(f->list);
	f->list = NULL;
	f->list_count = 0;
}

/* Nothing is outstanding and the door has let go. */
static void
folder_closed(struct folder *f)
{
	f->opened = false;
	if (f->halting) {
		f->halting = false;
		folder_set_state(f, FOLDER_HALTED, f->reason);
		folder_retry_later(f);
		return;
	}
	folder_set_state(f, FOLDER_CLOSED, REASON_NONE);
	if (f->reopen && !f->removed && !f->cfg.paused)
		folder_open(f);
}

static void
folder_on_closed(struct folder *f, void *arg, const struct event *ev)
{
	(void)arg;
	(void)ev;
	folder_closed(f);
}

/* A disk that fails is no damage: the index is as it was when it is well. */
static enum reason
folder_index_reason(int code)
{
	return code == ERR_IO || code == ERR_BUSY || code == ERR_FULL
		   ? REASON_IO_ERROR
		   : REASON_INDEX_DAMAGED;
}

static void
folder_continue_close(struct folder *f)
{
	if (f->ops > 0)
		return;
	if (f->ix != NULL && index_error(f->ix) == NULL && !f->rebuild &&
	    f->reason != REASON_IO_ERROR && folder_commit_is_wanted(f)) {
		folder_commit_consider(f);
		return;
	}
	folder_commit_drop(f);
	folder_drop_parts(f);
	if (f->opened) {
		f->opened = false;
		core_ask(f, EFFECT_CLOSE_FOLDER, folder_on_closed, NULL);
	} else {
		folder_closed(f);
	}
}

void
folder_step_end(struct folder *f)
{
	if (f->state == FOLDER_CLOSING) {
		folder_continue_close(f);
		return;
	}
	if (f->ix == NULL)
		return;
	if (index_error(f->ix) != NULL) {
		folder_halt(f, folder_index_reason(index_error(f->ix)->code),
		    "%s", index_error(f->ix)->text);
		return;
	}
	folder_commit_consider(f);
}

/* --- Opening --- */

static void
folder_rescan_later(struct folder *f)
{
	if (f->cfg.rescan_ns > 0)
		core_timer_set(f->en, &f->rescan,
		    core_now(f->en).mono_ns + f->cfg.rescan_ns);
}

static void
folder_on_recovered(struct folder *f)
{
	if (f->state != FOLDER_OPENING)
		return;
	f->reason_text[0] = '\0';
	f->told = REASON_NONE;
	folder_set_state(f, FOLDER_RUNNING, REASON_NONE);
	log_info(core_log(f->en), "folder run folder=%s files=%lld",
	    folder_name(f), (long long)index_local_totals(f->ix).files);
	core_tell(f, EFFECT_WATCH)->u.watch.on = true;
	exchange_folder_changed(f);
	folder_settle(f);
	scan_all(f);
	pull_wake(f);
	trash_start(f);
	folder_rescan_later(f);
}

void
folder_recover(struct folder *f)
{
	pull_recover(f, folder_on_recovered);
}

static enum reason
folder_marker_reason(int code)
{
	switch (code) {
	case ERR_FULL:
		return REASON_DISK_FULL;
	case ERR_READ_ONLY:
		return REASON_READ_ONLY_DISK;
	default:
		return REASON_UNWRITABLE;
	}
}

static void
folder_on_marker(struct folder *f, void *arg, const struct event *ev)
{
	(void)arg;
	if (f->state == FOLDER_CLOSING)
		return;
	if (ev->u.done.code != 0) {
		folder_halt(f, folder_marker_reason(ev->u.done.code),
		    "marker: %.*s", SLICE_FMT(ev->u.done.text));
		return;
	}
	/* Only now could it be tried what this file system can do. */
	f->root = ev->u.done.root;
	folder_know_root(f, &f->root.identity);
	folder_rules_begin(f);
}

/* Sequences given out so far are lower, unless it were thousands a second all
 * the time, or the clock is wrong. */
static uint64_t
folder_seq_of(struct now now)
{
	return now.wall_ns <= 0 ? 0 : (uint64_t)now.wall_ns >> 20;
}

static enum reason
folder_open_reason(int code)
{
	switch (code) {
	case ERR_MISSING_ROOT:
		return REASON_ROOT_MISSING;
	case ERR_FULL:
		return REASON_DISK_FULL;
	case ERR_CORRUPT:
		return REASON_INDEX_DAMAGED;
	case ERR_READ_ONLY:
		return REASON_READ_ONLY_DISK;
	case ERR_DENIED:
		return REASON_UNREADABLE;
	default:
		return REASON_IO_ERROR;
	}
}

static void
folder_on_open(struct folder *f, void *arg, const struct event *ev)
{
	struct err err = { 0 };
	enum reason r;

	(void)arg;
	f->opened = ev->u.done.code == 0;
	if (f->state == FOLDER_CLOSING)
		return;
	if (ev->u.done.code != 0) {
		folder_halt(f, folder_open_reason(ev->u.done.code), "%.*s",
		    SLICE_FMT(ev->u.done.text));
		return;
	}
	f->rebuild = false;
	f->root = ev->u.done.root;
	if (index_open_former(&f->ix, ev->u.done.store,
		&core_setup(f->en)->self, core_setup(f->en)->former,
		core_setup(f->en)->former_count, rng_u64(core_rng(f->en)) | 1,
		&err) < 0) {
		folder_halt(f, folder_index_reason(err.code), "%s", err.text);
		return;
	}
	if (ev->u.done.store_rebuilt)
		log_warn(core_log(f->en),
		    "folder rebuild folder=%s: the "
		    "old index was set aside",
		    folder_name(f));
	r = folder_judge_root(f, &f->root);
	if (r != REASON_NONE) {
		folder_halt(f, r, "%.*s", SLICE_FMT(f->cfg.path));
		return;
	}
	/* Of an old index that came back peers have heard later sequences. */
	index_advance_seq(f->ix, folder_seq_of(core_now(f->en)));
	f->committed_seq = f->opened_seq = f->told_seq = index_seq(f->ix);
	f->settled = false;
	f->scan = scan_new(f);
	f->pull = pull_new(f);
	folder_share_bind(f);
	brake_open(f);
	/* The staging directory is needed in any case; the marker is made only
	 * for an index that never saw one (judged above). */
	core_ask(f, EFFECT_MAKE_MARKER, folder_on_marker, NULL);
}

static void
folder_open(struct folder *f)
{
	struct effect *ef;

	ASSERT(f->ix == NULL && !f->opened);
	core_timer_clear(f->en, &f->retry);
	f->reopen = false;
	folder_set_state(f, FOLDER_OPENING, REASON_STARTING);
	ef = core_ask(f, EFFECT_OPEN_FOLDER, folder_on_open, NULL);
	ef->u.open.folder_id = f->cfg.id;
	ef->u.open.path = f->cfg.path;
	ef->u.open.rebuild = f->rebuild;
}

static void
folder_on_retry(struct engine *en, void *arg)
{
	struct folder *f = arg;

	(void)en;
	if (f->state != FOLDER_HALTED)
		return;
	if (!f->soft) {
		folder_open(f);
		return;
	}
	f->soft = false;
	f->reason_text[0] = '\0';
	folder_set_state(f, FOLDER_RUNNING, REASON_NONE);
	pull_retry(f);
	exchange_index_grew(f);
}

static void
folder_on_rescan(struct engine *en, void *arg)
{
	struct folder *f = arg;

	(void)en;
	folder_read_ignores(f); /* nobody may have told of them either */
	scan_all(f);
	folder_rescan_later(f);
}

/* --- Hints and configuration --- */

void
folder_hints(struct folder *f, const struct event *ev)
{
	f->watch = ev->u.changes.state;
	if (f->scan == NULL || f->state == FOLDER_CLOSING)
		return;
	if (ev->u.changes.overflow) {
		folder_read_ignores(f);
		scan_all(f);
	}
	/* Rules first: what came with them is judged by them. */
	for (uint32_t i = 0; i < ev->u.changes.count; i++)
		if (folder_rules_are_in(f, ev->u.changes.hint[i].path)) {
			folder_read_ignores(f);
			break;
		}
	scan_hints(f, ev->u.changes.hint, ev->u.changes.count);
}

void
folder_rename(struct folder *f, const struct devid *was,
    const struct devid *now)
{
	struct share *sh = folder_share(f, was);

	if (f->ix != NULL)
		index_rename(f->ix, was, now);
	if (sh == NULL || folder_share(f, now) != NULL)
		return;
	sh->device = *now;
	brake_rename(f, was, now);
}

void
folder_setup(struct folder *f, const struct setup_folder *cfg)
{
	struct arena old = f->cfg_arena;
	const bool moved = !slice_equal(f->cfg.path, cfg->path);
	const bool was_paused = f->cfg.paused;
	const bool mode = f->cfg.mode != cfg->mode;
	const bool trash = f->cfg.trash != cfg->trash ||
			   f->cfg.trash_age_ns != cfg->trash_age_ns ||
			   f->cfg.trash_bytes_max != cfg->trash_bytes_max;

	arena_init(&f->cfg_arena);
	setup_copy_folder(&f->cfg, cfg, &f->cfg_arena);
	folder_share_set(f);
	brake_setup(f);
	arena_fini(&old);
	if (f->cfg.paused) {
		if (!was_paused)
			folder_close(f);
		return;
	}
	if (was_paused || moved) {
		folder_reopen(f);
		return;
	}
	if (f->ix == NULL)
		return;
	if (mode) {
		folder_settle(f);
		scan_all(f);
	}
	if (trash)
		trash_start(f);
	pull_wake(f);
	core_timer_clear(f->en, &f->rescan);
	folder_rescan_later(f);
}

struct folder *
folder_new(struct engine *en, uint32_t number, const struct setup_folder *cfg)
{
	struct folder *f = mem_zalloc(sizeof(*f));

	f->en = en;
	f->number = number;
	arena_init(&f->cfg_arena);
	setup_copy_folder(&f->cfg, cfg, &f->cfg_arena);
	core_timer_init(&f->retry, folder_on_retry, f);
	core_timer_init(&f->rescan, folder_on_rescan, f);
	folder_commit_init(f);
	f->trash = trash_new(f);
	f->brake = brake_new(f);
	f->since_wall_ns = core_now(en).wall_ns;
	folder_share_set(f);
	if (!f->cfg.paused)
		folder_open(f);
	return f;
}

void
folder_free(struct folder *f)
{
	core_timer_clear(f->en, &f->retry);
	core_timer_clear(f->en, &f->rescan);
	folder_walk_free(f);
	exchange_progress_free(f);
	trash_free(f->trash);
	folder_drop_parts(f);
	brake_free(f->brake);
	folder_commit_fini(f);
	mem_free(f->share);
	arena_fini(&f->cfg_arena);
	mem_free(f);
}
