/*
 * Is a folder's directory the one that it was?  RELIABILITY.md I6, I7.
 */
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/folder.h"
#include "engine/index.h"

/*
 * Is this another disk than the one we know?  The file system says so, where
 * both times it could: a copy of the folder on another disk has the same nonce.
 * A disk that can say nothing is not the one we know.
 */
static bool
folder_is_other_disk(const struct root_identity *known,
    const struct root_identity *now)
{
	const bool knew = known->fs_hi != 0 || known->fs_lo != 0;

	if (knew && (now->fs_hi != 0 || now->fs_lo != 0))
		return known->fs_hi != now->fs_hi || known->fs_lo != now->fs_lo;
	if (known->nonce != 0)
		return known->nonce != now->nonce;
	return knew;
}

void
folder_know_root(struct folder *f, const struct root_identity *now)
{
	struct root_identity known;
	const bool had = index_root(f->ix, &known);
	struct root_identity new = *now;

	if (had && new.fs_hi == 0 && new.fs_lo == 0) {
		new.fs_hi = known.fs_hi;
		new.fs_lo = known.fs_lo;
	}
	if (had && new.nonce == 0)
		new.nonce = known.nonce;
	if (!had || new.fs_hi != known.fs_hi || new.fs_lo != known.fs_lo ||
	    new.nonce != known.nonce)
		index_put_root(f->ix, &new);
}

enum reason
folder_judge_root(struct folder *f, const struct root_facts *root)
{
	struct root_identity known;

	if (!root->exists)
		return REASON_ROOT_MISSING;
	if (!index_root(f->ix, &known) || MUTANT(MUTANT_NO_MARKER_CHECK))
		return REASON_NONE; /* the first time: to be recorded */
	if (!root->marker)
		return root->empty && index_local_totals(f->ix).files > 0
			   ? REASON_ROOT_EMPTY
			   : REASON_MARKER_MISSING;
	return folder_is_other_disk(&known, &root->identity)
		   ? REASON_DISK_CHANGED
		   : REASON_NONE;
}

void
folder_adopt(struct folder *f)
{
	/* It may be trying again just now: what counts is what it said. */
	if (f->cfg.paused || !reason_is_of_root(f->told))
		return;
	log_info(core_log(f->en), "folder adopt folder=%s path=%s",
	    path_print(core_scratch(f->en), f->cfg.id),
	    path_print(core_scratch(f->en), f->cfg.path));
	f->rebuild = true;
	folder_reopen(f);
}
