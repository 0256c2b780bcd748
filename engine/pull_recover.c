/*
 * Recovery: what a crash left half done, told from intents and the disk.
 *
 * RELIABILITY.md 5.1.  What the intents name is looked at, and each is judged
 * (pull_recover_judge.c); the rows are committed; then temps are dropped, named
 * or kept, and renames of directories finished.  Nothing that a temp holds goes
 * to the trash can before that is committed.
 */
#include "engine/pull_recover.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/conflict.h"
#include "engine/scan.h"
#include "engine/trash.h"

/* Temps nobody resumed for this long are of no use. */
#define RECOVER_TEMP_MAX_S (7 * 24 * 3600)
#define RECOVER_KEEP_TRIES 1000u

void
pull_recover_free(struct pull *pl)
{
	struct recover *rec = pl->recover;

	if (rec == NULL)
		return;
	map_fini(&rec->temps);
	VEC_FINI(&rec->all);
	arena_fini(&rec->arena);
	mem_free(rec);
	pl->recover = NULL;
}

/* Temps no intent names: to be resumed, or too old. */
static void
recover_temps(struct recover *rec)
{
	struct pull *pl = rec->pl;
	struct folder *f = pl->f;
	const int64_t now_s = core_now(f->en).wall_ns / (int64_t)CLOCK_S;

	for (struct map_item *it = NULL;
	     (it = map_next(&rec->temps, it)) != NULL;) {
		const struct identity *seen = it->value;
		struct effect *ef;

		if (seen->type == IDENTITY_FILE &&
		    now_s - seen->ctime_s < RECOVER_TEMP_MAX_S) {
			pull_keep_temp(pl, it->key, SLICE_EMPTY);
			continue;
		}
		ef = core_tell(f, EFFECT_DROP_TEMP);
		ef->temp = arena_dup(core_scratch(f->en), it->key);
	}
}

static void
recover_end(struct recover *rec)
{
	struct folder *f = rec->pl->f;
	void (*done)(struct folder *) = rec->done;

	recover_temps(rec);
	pull_recover_free(rec->pl);
	done(f);
}

/* Last: temps are named or dropped, renames of directories finished. */

static void recover_next(struct recover *rec);

static void
recover_move_done(struct pull *pl)
{
	recover_next(pl->recover);
}

void
pull_recover_forget(struct recovery *rc)
{
	index_remove_intent(rc->rec->pl->f->ix, rc->id);
	scan_hint(rc->rec->pl->f, rc->in.path, false);
	if (rc->in.from.len > 0)
		scan_hint(rc->rec->pl->f, rc->in.from, false);
	if (rc->in.keep.len > 0)
		scan_hint(rc->rec->pl->f, rc->in.keep, false);
}

static void
recover_named(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;

	/* Not flushed: the intent stays for the next start. */
	if (ev->u.done.code == 0)
		index_remove_intent(f->ix, rc->id);
	else
		pull_avoid_temp(f->pull, rc->in.temp);
	if (rc->fate == FATE_NAME || rc->fate == FATE_UNDO)
		scan_hint(f, rc->name, false);
	recover_next(rc->rec);
}

/* The name changed; the intent may go when that is sure to stay. */
static void
recover_flush(struct recovery *rc)
{
	struct folder *f = rc->rec->pl->f;
	struct slice *dir = arena_alloc(core_scratch(f->en), sizeof(*dir));
	struct effect *ef = core_ask(f, EFFECT_SYNC_DIRS, recover_named, rc);

	*dir = rc->fate == FATE_KEEP
		   ? trash_dir(rc->in.path, core_scratch(f->en))
		   : path_parent(rc->name);
	ef->u.sync.name = dir;
	ef->u.sync.count = 1;
}

/* One file at both names: now only at that which people see. */
static void
recover_single(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;

	(void)f;
	(void)ev;
	rc->rec->next--;
	recover_next(rc->rec);
}

static void
recover_undone(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;

	if (ev->u.done.code == 0) {
		pull_keep_temp(f->pull, rc->in.temp, rc->in.path);
		recover_flush(rc);
	} else if (ev->u.done.code == ERR_EXISTS && rc->tries++ == 0) {
		core_ask(f, EFFECT_DROP_TEMP, recover_single, rc)->temp =
		    rc->in.temp;
	} else {
		/* A person was faster: then it is theirs, and in sight. */
		pull_recover_forget(rc);
		scan_hint(f, rc->name, false);
		recover_next(rc->rec);
	}
}

static void
recover_undo(struct recovery *rc)
{
	struct effect *ef =
	    core_ask(rc->rec->pl->f, EFFECT_REMOVE, recover_undone, rc);

	ef->path = rc->name;
	ef->temp = rc->in.temp;
	ef->want = rc->beside;
}

static void
recover_temp_done(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;
	const int code = ev->u.done.code;

	if (rc->fate == FATE_NAME && code == ERR_EXISTS &&
	    ++rc->tries < RECOVER_KEEP_TRIES) {
		rc->name = conflict_name(rc->in.path, core_now(f->en).wall_ns,
		    core_setup(f->en)->zone_s, core_self_short(f->en),
		    rc->tries, &rc->rec->arena);
		rc->rec->next--;
	} else if (rc->fate == FATE_NAME && path_parent(rc->name).len > 0 &&
		   (code == ERR_NOT_FOUND || code == ERR_CHANGED)) {
		/* Its directory was deleted since: in the one above. */
		rc->name = path_join(&rc->rec->arena,
		    path_parent(path_parent(rc->name)), path_base(rc->name));
		rc->rec->next--;
	} else if (rc->fate == FATE_DROP) {
		index_remove_intent(f->ix, rc->id);
	} else if (rc->fate == FATE_KEEP ? trash_answered(f, ev, rc->size)
					 : code == 0) {
		recover_flush(rc);
		return;
	} else {
		/* It stays where it is, and its intent with it. */
		pull_avoid_temp(rc->rec->pl, rc->in.temp);
		log_error(core_log(f->en),
		    "pull recover path=%s temp=%.*s text=\"%.*s\"",
		    path_print(core_scratch(f->en), rc->in.path),
		    SLICE_FMT(rc->in.temp), SLICE_FMT(ev->u.done.text));
	}
	recover_next(rc->rec);
}

static void
recover_dir_done(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;

	if (ev->u.done.code == 0)
		index_put_seen(f->ix, rc->in.path, &ev->u.done.seen);
	pull_recover_forget(rc);
	recover_next(rc->rec);
}

static void
recover_dir_perms(struct recovery *rc)
{
	struct folder *f = rc->rec->pl->f;
	struct effect *ef = core_ask(f, EFFECT_SET_META, recover_dir_done, rc);

	ef->path = rc->in.path;
	ef->want = rc->now;
	ef->u.meta.set_perms = true;
	ef->u.meta.perms = rc->perms;
}

static void
recover_temp(struct recovery *rc, enum effect_kind kind)
{
	struct effect *ef =
	    core_ask(rc->rec->pl->f, kind, recover_temp_done, rc);

	ef->temp = rc->in.temp;
	ef->path = rc->name;
}

/* Begin what was judged of one; false: nothing is to be done. */
static bool
recover_do(struct recovery *rc)
{
	struct pull *pl = rc->rec->pl;

	if (rc->move_dir) {
		pull_move_dir_resume(pl, rc->in.from, rc->in.path, &rc->now,
		    rc->id, recover_move_done);
		return true;
	}
	if (MUTANT(MUTANT_RECOVERY_DROPS) && rc->fate != FATE_NONE &&
	    rc->fate != FATE_DIR)
		rc->fate = FATE_DROP;
	switch (rc->fate) {
	case FATE_NONE:
		return false;
	case FATE_DROP:
		recover_temp(rc, EFFECT_DROP_TEMP);
		break;
	case FATE_KEEP:
		trash_keep(pl->f, rc->in.path, rc->in.temp,
		    &(struct identity){ 0 }, recover_temp_done, rc);
		break;
	case FATE_NAME:
		recover_temp(rc, EFFECT_PUT_BACK);
		break;
	case FATE_UNDO:
		recover_undo(rc);
		break;
	case FATE_DIR:
		recover_dir_perms(rc);
		break;
	}
	return true;
}

static void
recover_next(struct recover *rec)
{
	while (rec->next < rec->all.len) {
		struct recovery *rc = rec->all.item[rec->next++];

		map_remove(&rec->temps, rc->in.temp);
		if (recover_do(rc))
			return;
	}
	recover_end(rec);
}

static void
recover_committed(struct folder *f, void *arg, const struct event *ev)
{
	(void)f;
	if (ev->u.done.code == 0)
		recover_next(arg);
	/* Else the folder is halting; the next start tries again. */
}

void
pull_recover_judged(struct recover *rec)
{
	if (--rec->left > 0)
		return;
	/* What is said of them now must not outlive the names, either. */
	rec->pl->f->unflushed = true;
	core_commit(rec->pl->f, recover_committed, rec);
}

/* Nothing is told from a disk that does not answer: later, all of it. */
static bool
recover_cannot_look(struct folder *f, const struct event *ev)
{
	const int code = ev->u.done.code;

	if (code != ERR_IO && code != ERR_BUSY && code != ERR_MISSING_ROOT)
		return false;
	folder_halt(f,
	    code == ERR_MISSING_ROOT ? REASON_ROOT_MISSING
	    : code == ERR_BUSY       ? REASON_BUSY
				     : REASON_IO_ERROR,
	    "recovery: %.*s", SLICE_FMT(ev->u.done.text));
	return true;
}

static void
recover_looked_beside(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;

	if (recover_cannot_look(f, ev))
		return;
	if (ev->u.done.code == 0)
		rc->beside = ev->u.done.seen;
	pull_recover_judge(rc, SLICE_EMPTY);
}

static void
recover_looked(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;

	if (recover_cannot_look(f, ev))
		return;
	if (ev->u.done.code == 0)
		rc->now = ev->u.done.seen;
	rc->gone = ev->u.done.code == ERR_NOT_FOUND;
	if (rc->in.keep.len == 0)
		pull_recover_judge(rc, ev->u.done.link_target);
	else
		core_ask(f, EFFECT_STAT, recover_looked_beside, rc)->path =
		    rc->in.keep;
}

static void
recover_look(struct recover *rec)
{
	struct folder *f = rec->pl->f;
	struct slice record;
	uint64_t id = 0;

	while (index_next_intent(f->ix, id, &id, &record, &rec->arena)) {
		struct recovery *rc = arena_zalloc(&rec->arena, sizeof(*rc));
		struct effect *ef;

		rc->rec = rec;
		rc->id = id;
		if (!intent_decode(record, &rc->in, &rec->arena)) {
			log_error(core_log(f->en),
			    "pull recover: an intent cannot be read");
			index_remove_intent(f->ix, id);
			continue;
		}
		*VEC_ADD(&rec->all) = rc;
		ef = core_ask(f, EFFECT_STAT, recover_looked, rc);
		ef->path = rc->in.path;
		rec->left++;
	}
	if (rec->left == 0)
		recover_end(rec);
	else
		log_info(core_log(f->en), "pull recover intents=%u",
		    (unsigned)rec->left);
}

static void
recover_listed(struct folder *f, void *arg, const struct event *ev)
{
	struct recover *rec = arg;
	const int code = ev->u.done.code;

	if (code != 0 && code != ERR_NOT_FOUND) {
		folder_halt(f,
		    code == ERR_MISSING_ROOT ? REASON_ROOT_MISSING
		    : code == ERR_FULL       ? REASON_DISK_FULL
					     : REASON_UNWRITABLE,
		    "staging: %.*s", SLICE_FMT(ev->u.done.text));
		return;
	}
	for (uint32_t i = 0; i < ev->u.done.entry_count; i++) {
		const struct dir_entry *de = &ev->u.done.entry[i];
		struct identity *seen = arena_alloc(&rec->arena, sizeof(*seen));

		*seen = de->seen;
		map_put(&rec->temps, de->name, seen);
	}
	recover_look(rec);
}

void
pull_recover(struct folder *f, void (*done)(struct folder *f))
{
	struct recover *rec = mem_zalloc(sizeof(*rec));

	ASSERT(f->pull->recover == NULL);
	f->pull->recover = rec;
	rec->pl = f->pull;
	rec->done = done;
	core_ask(f, EFFECT_LIST_TEMPS, recover_listed, rec);
}
