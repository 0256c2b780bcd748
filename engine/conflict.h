/*
 * Names of conflict copies.  BEP-FACTS.md 6.6.
 *
 * BASE.sync-conflict-YYYYMMDD-HHMMSS-SSSSSSS.EXT, in local time; SSSSSSS is
 * the short ID of who made the winning version.  A name that would be too long
 * is shortened, never refused.
 */
#ifndef HOLDFAST_ENGINE_CONFLICT_H
#define HOLDFAST_ENGINE_CONFLICT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/slice.h"
#include "engine/row.h"

/* `attempt` > 0 makes another name, for when the first is taken. */
struct slice conflict_name(struct slice path, int64_t wall_ns, int32_t zone_s,
    uint64_t winner_short, uint32_t attempt, struct arena *arena);
bool conflict_is_name(struct slice path);
/* Is what this device has at the row's path a conflict copy? */
bool conflict_is_copy(const struct row *row);
/* The path a conflict copy belongs to; empty when it is none. */
struct slice conflict_original(struct slice path, struct arena *arena);

#endif
