/*
 * Planning one row: from its verdict to an item, to a put that costs no work on
 * disk, or to nothing for now.
 *
 * pull.c walks the rows and says when; what is made or changed, and what is
 * deleted, are two passes.  No row is looked at but the one at hand, its
 * parents, and what is in a directory that is to go.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_PULL_PLAN_H
#define HOLDFAST_ENGINE_PULL_PLAN_H

#include "engine/pull_state.h"

enum pull_planned {
	PLAN_NEXT,  /* on to the next row */
	PLAN_STAND, /* stand still at this row: look again soon */
};

/* The pass forward: `row` is of pl->row. */
enum pull_planned pull_plan_row(struct pull *pl, const struct row *row);
/* The pass of deletions. */
void pull_plan_delete(struct pull *pl, const struct row *row);
/* The edit of ours that a deletion did not see, announced above both. */
void pull_revive(struct pull *pl, const struct row *row);

#endif
