/*
 * Verdicts: what a row asks of this disk.  See decide.h.
 *
 * The order of the questions matters: first whether the path is ours to touch
 * at all, then whether there is anything to do, then what.
 */
#include "engine/decide.h"

#include "engine/base/assert.h"
#include "engine/base/mutant.h"

static struct verdict
decide_nothing(const struct row *row, enum reason reason)
{
	return (struct verdict){
		.kind = VERDICT_NOTHING,
		.reason = reason,
		.take = row_global(row),
		.ours = row_local(row),
	};
}

static struct verdict
decide_do(const struct row *row, enum verdict_kind kind)
{
	return (struct verdict){
		.kind = kind,
		.take = row_global(row),
		.ours = row_local(row),
	};
}

static bool
digest_is_zero(const struct digest *d)
{
	static const struct digest zero;

	return digest_equal(d, &zero);
}

bool
decide_same_content(const struct entry *a, const struct entry *b)
{
	if (a->deleted || b->deleted)
		return a->deleted && b->deleted;
	if (a->type != ENTRY_FILE || b->type != ENTRY_FILE)
		return entry_same_content(a, b);
	/* A row keeps no long lists, but their digest: never a peer's word. */
	return a->size == b->size && a->block_count == b->block_count &&
	       !digest_is_zero(&a->blocks_hash) &&
	       digest_equal(&a->blocks_hash, &b->blocks_hash);
}

bool
decide_same_meta(const struct entry *a, const struct entry *b,
    bool ignore_perms)
{
	if (a->type == ENTRY_LINK)
		return true;
	if (!ignore_perms && !entry_same_perms(a, b))
		return false;
	return a->type != ENTRY_FILE || entry_same_mtime(a, b);
}

/*
 * Do our bytes need keeping before they are replaced?  Only a regular file's,
 * and only when the new version was not made from them.  BEP-FACTS.md 6.6.
 */
static bool
decide_is_conflict(const struct entry *ours, const struct entry *take)
{
	if (ours->deleted || ours->type != ENTRY_FILE ||
	    MUTANT(MUTANT_CONFLICT_NOT_KEPT))
		return false;
	if (version_covers(take->version, ours->version))
		return false;
	if (!digest_is_zero(&take->previous_blocks_hash) &&
	    digest_equal(&take->previous_blocks_hash, &ours->blocks_hash))
		return false;
	return true;
}

/* Is there a deletion, believed by some device, that our edit has not seen? */
static bool
decide_meets_deletion(const struct row *row, const struct entry *ours)
{
	for (uint32_t i = 0; i < row->version_count; i++) {
		const struct row_version *v = &row->version[i];

		if (!v->entry.deleted || devset_is_empty(&v->holders))
			continue;
		if (version_compare(v->entry.version, ours->version) ==
		    VERSION_CONCURRENT)
			return true;
	}
	return false;
}

/* What may be done to a path whose global version is not what we have. */
static struct verdict
decide_change(const struct row *row, bool ignore_perms)
{
	const struct entry *take = &row_global(row)->entry;
	const struct row_version *local = row_local(row);
	const bool have = local != NULL && !local->entry.deleted;

	/* Of what we never had nobody needs to hear that it is deleted, but
	 * those who still have it, and may know nobody else. */
	if (take->deleted && !have)
		return local == NULL && row->seq == 0 && !row_is_alive(row)
			   ? decide_nothing(row, REASON_NONE)
			   : decide_do(row, VERDICT_ADOPT);
	if (take->deleted) {
		if (!version_covers(take->version, local->entry.version) &&
		    !MUTANT(MUTANT_EDIT_DELETED))
			return decide_do(row, VERDICT_REVIVE);
		return decide_do(row, VERDICT_DELETE);
	}
	if (!have)
		return decide_do(row, VERDICT_TAKE);
	if (decide_same_content(&local->entry, take)) {
		if (decide_same_meta(&local->entry, take, ignore_perms))
			return decide_do(row, VERDICT_ADOPT);
		return decide_do(row, VERDICT_META);
	}
	if (decide_is_conflict(&local->entry, take))
		return decide_do(row, VERDICT_CONFLICT);
	return decide_do(row, VERDICT_TAKE);
}

/* Some folders only take what costs no change on disk. */
static struct verdict
decide_adopt_only(const struct row *row, bool ignore_perms, enum reason reason)
{
	const struct verdict v = decide_change(row, ignore_perms);

	if (v.kind == VERDICT_NOTHING || v.kind == VERDICT_ADOPT)
		return v;
	return decide_nothing(row, reason);
}

/*
 * A person's change in a receive-only folder stays until it is reverted, or
 * until the others change the same path again: then theirs is taken and ours
 * kept beside it.  An empty vector says that we cannot tell: it stays.
 */
static struct verdict
decide_local_changed(const struct row *row, bool ignore_perms)
{
	const struct row_version *local = row_local(row);
	struct verdict v = decide_change(row, ignore_perms);

	if (v.kind == VERDICT_NOTHING || v.kind == VERDICT_ADOPT)
		return v;
	if (local == NULL || local->entry.version.count == 0 ||
	    version_covers(local->entry.version, v.take->entry.version) ||
	    v.take->entry.deleted)
		return decide_nothing(row, REASON_LOCALLY_CHANGED);
	if (v.kind == VERDICT_TAKE && !local->entry.deleted &&
	    local->entry.type == ENTRY_FILE)
		v.kind = VERDICT_CONFLICT;
	return v;
}

struct verdict
decide(const struct row *row, enum folder_mode mode, bool ignore_perms)
{
	const struct row_version *global = row_global(row);
	const struct row_version *local = row_local(row);
	struct verdict v;

	if (global == NULL)
		return decide_nothing(row, REASON_NONE);
	if ((row->flags & ROW_IGNORED) != 0)
		return decide_nothing(row, REASON_IGNORED);
	if (local == global && (row->flags & ROW_LOCAL_CHANGED) == 0) {
		if (mode == FOLDER_SEND_RECEIVE && !local->entry.deleted &&
		    decide_meets_deletion(row, &local->entry))
			return decide_do(row, VERDICT_REVIVE);
		return decide_nothing(row, REASON_NONE);
	}
	/* Told by nobody as valid: there is nothing to follow. */
	if (devset_is_empty(&global->holders))
		return decide_nothing(row, REASON_NO_SOURCE);
	if ((row->flags & ROW_LOCAL_CHANGED) != 0)
		return decide_local_changed(row, ignore_perms);
	if (mode == FOLDER_SEND_ONLY)
		return decide_adopt_only(row, ignore_perms, REASON_SEND_ONLY);
	v = decide_change(row, ignore_perms);
	/* A receive-only folder makes no versions. */
	if (v.kind == VERDICT_REVIVE && mode == FOLDER_RECEIVE_ONLY)
		return decide_nothing(row, REASON_LOCALLY_CHANGED);
	return v;
}
