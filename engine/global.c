/*
 * The winner among the versions of one path.
 *
 * Two steps, because "newer" and the tie-breaks do not mix into one order: a
 * may dominate b, b win over c by its time and c win over a.  So the versions
 * another one dominates are put aside first; among those left no two dominate
 * each other, and the chain of tie-breaks is a total order of them.
 */
#include "engine/global.h"

#include "engine/base/mutant.h"

/* Does somebody hold it, so that it can be fetched? */
static bool
global_is_valid(const struct row_version *v)
{
	return !devset_is_empty(&v->holders);
}

bool
global_wins_tie(const struct entry *a, const struct entry *b)
{
	if (a->deleted != b->deleted)
		return MUTANT(MUTANT_EDIT_DELETED) ? a->deleted : b->deleted;
	if (a->mtime_s != b->mtime_s)
		return a->mtime_s > b->mtime_s;
	if (a->mtime_ns != b->mtime_ns)
		return a->mtime_ns > b->mtime_ns;
	return version_beats(a->version, b->version);
}

static bool
global_is_dominated(const struct row_version *version, uint32_t count,
    uint32_t i, bool valid_only)
{
	for (uint32_t j = 0; j < count; j++) {
		if (j == i || (valid_only && !global_is_valid(&version[j])))
			continue;
		if (version_compare(version[i].entry.version,
			version[j].entry.version) == VERSION_OLDER)
			return true;
	}
	return false;
}

bool
global_beats(const struct row_version *a, const struct row_version *b)
{
	const bool a_valid = global_is_valid(a);
	enum version_order order;

	if (a_valid != global_is_valid(b))
		return a_valid;
	order = version_compare(a->entry.version, b->entry.version);
	if (!MUTANT(MUTANT_WINNER_BY_CLOCK) &&
	    (order == VERSION_NEWER || order == VERSION_OLDER))
		return order == VERSION_NEWER;
	return global_wins_tie(&a->entry, &b->entry);
}

int32_t
global_pick(const struct row_version *version, uint32_t count)
{
	bool valid = false;
	int32_t best = -1;

	if (count == 1)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		valid = valid || global_is_valid(&version[i]);
	for (uint32_t i = 0; i < count; i++) {
		if (valid && !global_is_valid(&version[i]))
			continue;
		if (!MUTANT(MUTANT_WINNER_BY_CLOCK) &&
		    global_is_dominated(version, count, i, valid))
			continue;
		if (best < 0 || global_beats(&version[i], &version[best]))
			best = (int32_t)i;
	}
	return best;
}
