/*
 * The global version of a path: which of the versions that exist wins.
 *
 * If any version is valid somewhere (has holders), only those count.  Among
 * them, of those no other dominates: an edit before a deletion, the newer
 * modification time, then the vector that beats (version.h).  A total order
 * over any such set, the same on every device, whatever the order things
 * arrived in.  BEP-FACTS.md 6.3 and 6.6; why an edit beats a deletion:
 * docs/design/0003-winner.md.
 */
#ifndef HOLDFAST_ENGINE_GLOBAL_H
#define HOLDFAST_ENGINE_GLOBAL_H

#include "engine/row.h"

/* Index of the winner among `count` versions; -1 when there are none. */
int32_t global_pick(const struct row_version *version, uint32_t count);
/* Would `a` be preferred to `b`, were there no others?  Strict; a chain of
 * it may close where some dominate each other, so sort nothing by it. */
bool global_beats(const struct row_version *a, const struct row_version *b);
/* ... of two neither of which dominates, and that somebody has: the
 * tie-breaks, which are a total order of such. */
bool global_wins_tie(const struct entry *a, const struct entry *b);

#endif
