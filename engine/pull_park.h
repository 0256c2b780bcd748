/*
 * Parking: what cannot proceed now, why, and when it is tried again.
 *
 * A path is parked with the sign of its row: as long as neither the row nor who
 * could serve it changes, the planner passes it over until its time has come,
 * longer with each try.  What is not met by a pass any more is forgotten.
 *
 * Thread: loop.  The map is pull_state.h's; only pull_park.c changes it.
 */
#ifndef HOLDFAST_ENGINE_PULL_PARK_H
#define HOLDFAST_ENGINE_PULL_PARK_H

#include "engine/pull_state.h"

/* `path` cannot go on because of `reason`; again after a while. */
void pull_park(struct pull *pl, struct slice path, enum reason reason,
    const char *text);
void pull_unpark(struct pull *pl, struct slice path); /* it went well */
/* A row changed: directories above it that could not go are tried again, and,
 * where it went, what could not come because of its name. */
void pull_stir(struct pull *pl, struct slice path);
/* What a row is now, in one number: another when there is something to try. */
uint64_t pull_sign(const struct row *row);
enum reason pull_reason_of(const struct item *it, int code);

/* For the planner. */
/* Its row is still needed, though an item is at work on it now. */
void pull_park_met(struct pull *pl, struct slice path);
/* Must this row still wait? */
bool pull_park_holds(struct pull *pl, const struct row *row);
/* ... because of a directory above it? */
bool pull_park_holds_above(const struct pull *pl, struct slice path);
/* Which two names are one is the disk's affair: all that clash try again. */
void pull_park_retry_clashes(struct pull *pl);
/* The pass ended: rows that are not needed any more need no remembering. */
void pull_park_sweep(struct pull *pl);
void pull_park_free(struct parked *pk);

#endif
