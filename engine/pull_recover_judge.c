/*
 * Judging one intent after a crash: what had been done, what is a person's.
 *
 * For a file that was to be put at a name:
 *
 *	the temp holds what was staged    nothing happened; it may be resumed
 *	the temp holds something else     it was exchanged: that is the old file
 *	the temp is gone                  it was put where nothing was
 *
 * In the last two the row becomes the target, as the disk was then; so it does
 * for a directory that was to be made and is there.  What the old file was to
 * be called, a conflict copy, it gets in the act itself: there the new file is
 * while it is half done, and then goes back to staging.  (An older program
 * left the old file in the temp, and its intent is understood, too.)  What a
 * person did to the name since is found by the scan that follows, as an edit
 * of it.  What a temp holds and the intent does not speak of is a person's.
 */
#include "engine/pull_recover.h"

#include "blockproto/blocks.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/conflict.h"
#include "engine/scan_state.h"
#include "engine/trash.h"

static void
recover_drop(struct recovery *rc)
{
	rc->fate = FATE_DROP;
}

static void
recover_name(struct recovery *rc, struct slice name)
{
	struct folder *f = rc->rec->pl->f;

	rc->fate = FATE_NAME;
	rc->name = name;
	if (name.len == 0)
		rc->name = conflict_name(rc->in.path, core_now(f->en).wall_ns,
		    core_setup(f->en)->zone_s, core_self_short(f->en), 0,
		    &rc->rec->arena);
}

/* Does the index still say what it said when the intent was written? */
static bool
recover_is_due(const struct recovery *rc, const struct row *row)
{
	const struct row_version *v = row == NULL ? NULL : row_local(row);

	if ((v != NULL) != rc->in.had)
		return false;
	return v == NULL || version_equal(v->entry.version, rc->in.before);
}

/*
 * The others have gone on and no row knows `target` any more: what we have at
 * in.path is `e` by that version.  Left to the scan it would be a person's new
 * file: what was deleted meanwhile would come back, what was changed be a
 * conflict.
 */
static void
recover_put_entry(struct recovery *rc, struct entry *e)
{
	struct folder *f = rc->rec->pl->f;

	e->name = rc->in.path;
	e->version = rc->in.target;
	e->modified_by = core_self_short(f->en);
	index_put_local(f->ix, e, &rc->now, 0);
}

/* Make `target` what this device has at `path`; false: nobody has it now. */
static bool
recover_put(struct recovery *rc, struct slice path, struct version target,
    const struct identity *seen)
{
	struct pull *pl = rc->rec->pl;
	const struct row *row = index_row(pl->f->ix, path, &pl->row);
	struct err err = { 0 };

	if (MUTANT(MUTANT_RECOVERY_PUTS_NOTHING))
		return true;
	if (slice_equal(path, rc->in.path) && !recover_is_due(rc, row))
		return true; /* put before the crash, or changed since */

	for (uint32_t i = 0; row != NULL && i < row->version_count; i++) {
		struct entry e = row->version[i].entry;
		const struct digest *block = e.block;

		if (!version_equal(e.version, target))
			continue;
		if ((int32_t)i == row->local)
			return true;
		/* Who had it ignores it now, and says no more than its name. */
		if (e.type == ENTRY_FILE && !e.deleted && e.size > 0 &&
		    e.block_count == 0)
			return false;
		if (e.type == ENTRY_FILE && !e.deleted && block == NULL &&
		    e.block_count > 0 &&
		    index_blocks(pl->f->ix, &e, &block, &pl->row, &err) < 0)
			return false;
		e.block = block;
		index_put_local(pl->f->ix, &e, seen, 0);
		return true;
	}
	return false;
}

/* The old file is in the temp: what becomes of it? */
static void
recover_kept(struct recovery *rc, const struct identity *temp)
{
	if (rc->in.keep.len > 0) {
		recover_name(rc, rc->in.keep);
	} else if (!identity_same_object(temp, &rc->in.base)) {
		recover_name(rc, SLICE_EMPTY);
	} else if (trash_takes(rc->rec->pl->f, temp)) {
		rc->fate = FATE_KEEP;
		rc->size = temp->size;
	} else {
		recover_drop(rc);
	}
}

static bool
is_inode(const struct identity *a, const struct identity *b)
{
	return a->type == b->type && a->ino == b->ino;
}

static void
recover_hashed(struct folder *f, void *arg, const struct event *ev)
{
	struct recovery *rc = arg;
	const struct identity *seen = &ev->u.done.seen;
	struct entry e;

	if (ev->u.done.code == 0 &&
	    identity_same_object(seen, &rc->in.staged)) {
		e = scan_entry(f->scan, rc->in.path, seen);
		e.block_size = ev->u.done.block_size;
		e.block = ev->u.done.hash;
		e.block_count = ev->u.done.hash_count;
		blocks_digest(e.block, e.block_count, &e.blocks_hash);
		rc->now = *seen;
		recover_put_entry(rc, &e);
	}
	pull_recover_judged(rc->rec);
}

/* It is what was staged, so its hash makes the entry whole again. */
static void
recover_hash(struct recovery *rc)
{
	struct effect *ef =
	    core_ask(rc->rec->pl->f, EFFECT_HASH_FILE, recover_hashed, rc);

	ef->path = rc->in.path;
	ef->u.hash.size = rc->now.size;
	ef->u.hash.block_size = blocks_size_for(rc->now.size);
	rc->rec->left++;
}

/* Ours has the name of the copy, and not that of the file yet? */
static bool
recover_is_half(const struct recovery *rc)
{
	return is_inode(&rc->beside, &rc->in.staged) &&
	       !is_inode(&rc->now, &rc->in.staged);
}

static void
recover_file(struct recovery *rc, const struct identity *temp)
{
	struct pull *pl = rc->rec->pl;
	const struct identity *seen = &rc->in.staged;

	if (rc->in.keep.len > 0 && recover_is_half(rc)) {
		rc->fate = FATE_UNDO;
		rc->name = rc->in.keep;
		scan_hint(pl->f, rc->in.path, false);
		return;
	}
	if ((temp == NULL && MUTANT(MUTANT_RECOVERY_FORGETS)) ||
	    (temp == NULL && rc->in.keep.len > 0 &&
		is_inode(&rc->now, &rc->in.base)) ||
	    (temp != NULL && is_inode(temp, &rc->in.staged))) {
		pull_recover_forget(rc);
		pull_keep_temp(pl, rc->in.temp, rc->in.path);
		return;
	}
	/* As we left it, if it is still so: a later edit must be found. */
	if (identity_same_object(&rc->now, &rc->in.staged) &&
	    rc->now.mode == rc->in.staged.mode)
		seen = &rc->now;
	if (!recover_put(rc, rc->in.path, rc->in.target, seen)) {
		log_info(core_log(pl->f->en),
		    "pull recover path=%s: its version is not known any more",
		    path_print(core_scratch(pl->f->en), rc->in.path));
		if (identity_same_object(&rc->now, &rc->in.staged))
			recover_hash(rc);
	}
	scan_hint(pl->f, rc->in.path, false);
	if (temp != NULL)
		recover_kept(rc, temp);
	else
		index_remove_intent(pl->f->ix, rc->id);
}

static void
recover_link(struct recovery *rc, const struct identity *temp,
    struct slice target)
{
	struct pull *pl = rc->rec->pl;
	const struct row *row = index_row(pl->f->ix, rc->in.path, &pl->row);
	struct entry e;
	bool there = false;

	for (uint32_t i = 0; row != NULL && i < row->version_count; i++)
		if (version_equal(row->version[i].entry.version,
			rc->in.target) &&
		    rc->now.type == IDENTITY_LINK &&
		    slice_equal(row->version[i].entry.link_target, target))
			there = true;
	if (there) {
		recover_put(rc, rc->in.path, rc->in.target, &rc->now);
	} else if (rc->now.type == IDENTITY_LINK && recover_is_due(rc, row) &&
		   identity_same_object(&rc->now, &rc->in.staged)) {
		e = scan_entry(pl->f->scan, rc->in.path, &rc->now);
		e.link_target = target;
		recover_put_entry(rc, &e);
	}
	scan_hint(pl->f, rc->in.path, false);
	if (temp == NULL)
		index_remove_intent(pl->f->ix, rc->id);
	else if (identity_same_object(temp, &rc->in.base))
		recover_kept(rc, temp); /* whoever took the link away since */
	else if (temp->type == IDENTITY_LINK)
		recover_drop(rc); /* ours: made, and never put */
	else
		recover_name(rc, SLICE_EMPTY);
}

/*
 * What was at `path` is gone, by the deletion `gone`; if nobody knows of that
 * any more, ours says so.  Left alone the row would take what others have there
 * by now for what is here, if it is the same, and the scan then miss it.
 */
static void
recover_put_gone(struct recovery *rc, struct slice path, struct version gone)
{
	struct pull *pl = rc->rec->pl;
	static const struct identity absent;
	const struct row *row;
	const struct row_version *v;
	struct entry e;

	if (recover_put(rc, path, gone, &absent))
		return;
	row = index_row(pl->f->ix, path, &pl->row);
	v = row == NULL ? NULL : row_local(row);
	if (v == NULL || v->entry.deleted ||
	    version_compare(gone, v->entry.version) != VERSION_NEWER)
		return;
	e = (struct entry){ .name = path,
		.type = v->entry.type,
		.deleted = true,
		.no_perms = v->entry.no_perms,
		.perms = v->entry.perms,
		.mtime_s = core_now(pl->f->en).wall_ns / (int64_t)CLOCK_S,
		.version = gone,
		.modified_by = core_self_short(pl->f->en) };
	index_put_local(pl->f->ix, &e, &absent, 0);
}

static void
recover_remove(struct recovery *rc, const struct identity *temp)
{
	struct pull *pl = rc->rec->pl;

	if (temp == NULL &&
	    (rc->in.keep.len == 0 ||
		!identity_same_object(&rc->beside, &rc->in.base))) {
		pull_recover_forget(rc);
		return;
	}
	if (rc->in.replace &&
	    recover_is_due(rc, index_row(pl->f->ix, rc->in.path, &pl->row)))
		index_vacate_local(pl->f->ix, rc->in.path);
	else if (!rc->in.replace)
		recover_put_gone(rc, rc->in.path, rc->in.target);
	if (temp != NULL) {
		scan_hint(pl->f, rc->in.path, false);
		recover_kept(rc, temp);
	} else {
		pull_recover_forget(rc); /* it has its name */
	}
}

/* A directory leaves nothing in staging: that it is gone says it all. */
static void
recover_rmdir(struct recovery *rc)
{
	struct pull *pl = rc->rec->pl;

	if (!rc->gone) {
		pull_recover_forget(rc);
		return;
	}
	if (!rc->in.replace)
		recover_put_gone(rc, rc->in.path, rc->in.target);
	else if (recover_is_due(rc,
		     index_row(pl->f->ix, rc->in.path, &pl->row)))
		index_vacate_local(pl->f->ix, rc->in.path);
	pull_recover_forget(rc);
}

static void
recover_revert(struct recovery *rc, const struct identity *temp)
{
	struct index *ix = rc->rec->pl->f->ix;

	if (temp == NULL) {
		pull_recover_forget(rc);
		return;
	}
	if (recover_is_due(rc, index_row(ix, rc->in.path, &rc->rec->pl->row)))
		index_forget_local(ix, rc->in.path);
	scan_hint(rc->rec->pl->f, rc->in.path, false);
	recover_kept(rc, temp);
}

/*
 * What is at in.path has the content that the row of `was` still says, and the
 * attributes that it has now; `before`: not all of the target's yet, so it is
 * what that was made from.
 */
static void
recover_put_content(struct recovery *rc, struct slice was, bool before)
{
	struct pull *pl = rc->rec->pl;
	const struct row *row = index_row(pl->f->ix, was, &pl->row);
	const struct row_version *v = row == NULL ? NULL : row_local(row);
	const struct entry disk =
	    scan_entry(pl->f->scan, rc->in.path, &rc->now);
	struct err err = { 0 };
	struct entry e;

	if (v == NULL || v->entry.deleted)
		return;
	e = v->entry;
	if (e.type == ENTRY_FILE && e.block == NULL && e.block_count > 0 &&
	    index_blocks(pl->f->ix, &e, &e.block, &pl->row, &err) < 0)
		return;
	e.perms = disk.perms;
	e.no_perms = disk.no_perms;
	e.mtime_s = disk.mtime_s;
	e.mtime_ns = disk.mtime_ns;
	if (before)
		rc->in.target = version_before(rc->in.target, &rc->rec->arena);
	recover_put_entry(rc, &e);
}

/* It was moved, and the power went before it got its new attributes. */
static bool
recover_lacks_meta(struct recovery *rc)
{
	struct pull *pl = rc->rec->pl;
	const struct row *row = index_row(pl->f->ix, rc->in.path, &pl->row);
	struct entry e = scan_entry(pl->f->scan, rc->in.path, &rc->now);

	if (!recover_is_due(rc, row))
		return false;
	for (uint32_t i = 0; row != NULL && i < row->version_count; i++)
		if (version_equal(row->version[i].entry.version, rc->in.target))
			return !decide_same_meta(&e, &row->version[i].entry,
			    pl->f->cfg.ignore_perms);
	return false;
}

static void
recover_move(struct recovery *rc)
{
	if (!identity_same_object(&rc->now, &rc->in.base)) {
		pull_recover_forget(rc);
		return;
	}
	if (rc->in.kind == INTENT_MOVE_DIR) {
		rc->move_dir = true;
		return;
	}
	if (recover_lacks_meta(rc))
		recover_put_content(rc, rc->in.from, true);
	else if (!recover_put(rc, rc->in.path, rc->in.target, &rc->now))
		recover_put_content(rc, rc->in.from, false);
	recover_put_gone(rc, rc->in.from, rc->in.gone);
	pull_recover_forget(rc);
}

static bool
is_meta(const struct identity *a, const struct identity *b)
{
	return (a->mode & 0777u) == (b->mode & 0777u) &&
	       (a->type == IDENTITY_DIR ||
		   (a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns));
}

/*
 * Attributes that were set, or begun to be: each is as it was or as it should
 * become.  Anything else is a person's.
 */
static void
recover_meta(struct recovery *rc)
{
	const struct identity *now = &rc->now;
	const struct identity *base = &rc->in.base, *want = &rc->in.staged;
	struct index *ix = rc->rec->pl->f->ix;
	struct identity half = *base;

	half.mode = want->mode;
	if (is_inode(now, base) &&
	    (base->type == IDENTITY_DIR || now->size == base->size) &&
	    !is_meta(now, base) &&
	    recover_is_due(rc, index_row(ix, rc->in.path, &rc->rec->pl->row))) {
		if (is_meta(now, want)) {
			if (!recover_put(rc, rc->in.path, rc->in.target, now))
				recover_put_content(rc, rc->in.path, false);
		} else if (is_meta(now, &half)) {
			recover_put_content(rc, rc->in.path, true);
		}
	}
	pull_recover_forget(rc);
}

/* What was to be made by then others may have deleted: nobody has it now. */
static void
recover_put_dir(struct recovery *rc)
{
	struct folder *f = rc->rec->pl->f;
	struct entry e = {
		.name = rc->in.path,
		.type = ENTRY_DIR,
		.perms = rc->now.mode & 0777u,
		.no_perms = f->cfg.ignore_perms || !f->root.has_perms,
		.mtime_s = rc->now.mtime_s,
		.mtime_ns = rc->now.mtime_ns,
		.version = rc->in.target,
		.modified_by = core_self_short(f->en),
	};

	if (!recover_put(rc, rc->in.path, rc->in.target, &rc->now))
		index_put_local(f->ix, &e, &rc->now, 0);
}

/*
 * It was made with more permissions when it had to be filled first: nobody
 * else gave it just these.
 */
static void
recover_dir(struct recovery *rc)
{
	struct pull *pl = rc->rec->pl;
	const struct row_version *v;
	const struct row *row;

	if (rc->now.type != IDENTITY_DIR) {
		pull_recover_forget(rc);
		return;
	}
	recover_put_dir(rc);
	row = index_row(pl->f->ix, rc->in.path, &pl->row);
	v = row == NULL ? NULL : row_local(row);
	if (v != NULL && version_covers(v->entry.version, rc->in.target) &&
	    !v->entry.no_perms && v->entry.perms != (rc->now.mode & 0777u) &&
	    (v->entry.perms | 0700u) == (rc->now.mode & 0777u)) {
		rc->fate = FATE_DIR;
		rc->perms = v->entry.perms;
		return;
	}
	pull_recover_forget(rc);
}

void
pull_recover_judge(struct recovery *rc, struct slice target)
{
	struct recover *rec = rc->rec;
	const struct identity *temp = map_find(&rec->temps, rc->in.temp);

	arena_clear(&rec->pl->row);
	/*
	 * One file at both names: only one of the directories was flushed
	 * (btrfs), or it was to be moved by a link and unlink.  What people
	 * see counts; the temp goes.
	 */
	if (temp != NULL && is_inode(temp, &rc->now)) {
		recover_drop(rc);
		temp = NULL;
	}
	switch (rc->in.kind) {
	case INTENT_FILE:
		recover_file(rc, temp);
		break;
	case INTENT_LINK:
		recover_link(rc, temp, target);
		break;
	case INTENT_REMOVE:
		recover_remove(rc, temp);
		break;
	case INTENT_REVERT:
		recover_revert(rc, temp);
		break;
	case INTENT_MOVE:
	case INTENT_MOVE_DIR:
		recover_move(rc);
		break;
	case INTENT_MAKE_DIR:
		recover_dir(rc);
		break;
	case INTENT_META:
		recover_meta(rc);
		break;
	case INTENT_RMDIR:
		recover_rmdir(rc);
		break;
	}
	pull_recover_judged(rec);
}
