/*
 * Sequences this index never gave out.
 *
 * A folder that opens goes on with a number that grows with time, so between
 * two runs there is a gap.  A peer that has heard of a number in one of them
 * heard it of an index that was, and came back as it had been before: by a
 * backup, a snapshot, a copied home.  What that one said since is nowhere here,
 * so the peer must forget all of it and be told everything.
 *
 * Gaps are kept as a fact, from the first commit of a run on.  When there are
 * too many the two oldest become one: a peer that was away for so many runs may
 * then be told everything for nothing.
 */
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/mutant.h"
#include "engine/index_impl.h"

#define FACT_GAPS "gaps" /* for each: after u64le, up to u64le */

bool
index_gave(const struct index *ix, uint64_t seq)
{
	if (MUTANT(MUTANT_OLD_INDEX_TRUSTED))
		return true;
	if (seq > ix->seq)
		return false;
	for (size_t i = 0; i < ix->gap.len; i++)
		if (seq > ix->gap.item[i].after && seq <= ix->gap.item[i].upto)
			return false;
	return true;
}

void
index_advance_seq(struct index *ix, uint64_t seq)
{
	struct index_gap *last;

	if (seq <= ix->seq)
		return;
	last = ix->gap.len == 0 ? NULL : &ix->gap.item[ix->gap.len - 1];
	if (last == NULL || last->upto != ix->seq) {
		last = VEC_ADD(&ix->gap);
		last->after = ix->seq;
	}
	last->upto = seq;
	ix->seq = seq;
	ix->gap_dirty = true;
	if (ix->gap.len <= LIMIT_INDEX_GAPS)
		return;
	ix->gap.item[1].after = ix->gap.item[0].after;
	memmove(&ix->gap.item[0], &ix->gap.item[1],
	    (ix->gap.len - 1) * sizeof(*ix->gap.item));
	ix->gap.len--;
}

void
index_impl_flush_gaps(struct index *ix)
{
	struct buf rec = { 0 };

	if (!ix->gap_dirty)
		return;
	for (size_t i = 0; i < ix->gap.len; i++) {
		buf_put_u64le(&rec, ix->gap.item[i].after);
		buf_put_u64le(&rec, ix->gap.item[i].upto);
	}
	index_put_fact(ix, FACT_GAPS, buf_slice(&rec));
	buf_fini(&rec);
	ix->gap_dirty = false;
}

void
index_impl_load_gaps(struct index *ix)
{
	struct slice value;
	struct reader r;

	if (!index_fact(ix, FACT_GAPS, &value, &ix->scratch))
		return;
	reader_init(&r, value);
	for (size_t n = value.len / 16; n > 0 && ix->gap.len < LIMIT_INDEX_GAPS;
	     n--) {
		const uint64_t after = reader_u64le(&r);
		const uint64_t upto = reader_u64le(&r);

		if (upto <= after || upto > ix->seq)
			return;
		*VEC_ADD(&ix->gap) =
		    (struct index_gap){ .after = after, .upto = upto };
	}
}
