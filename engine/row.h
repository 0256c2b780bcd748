/*
 * A row: everything known of one path, whatever the number of devices.
 *
 * It lists the distinct versions that exist of the path, nearly always one,
 * and for each the set of devices that hold it.  Which of them is the global
 * one is global.h's to say; what to do about it, decide.h's.
 *
 * Invariants: versions are pairwise unequal in their vectors; each device is
 * in at most one set (holders or shadows) of one version; slot 0 is this
 * device; a version nobody holds any more is dropped with its last device.
 */
#ifndef HOLDFAST_ENGINE_ROW_H
#define HOLDFAST_ENGINE_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/entry.h"
#include "engine/devset.h"
#include "engine/identity.h"

#define ROW_SELF 0u /* this device's slot in every folder */

enum row_flag {
	/* Local changes of a receive-only folder: told to nobody as a version;
	 * announced invalid with an empty vector. */
	ROW_LOCAL_CHANGED = 1u << 0,
	ROW_IGNORED = 1u << 1,     /* an ignore rule hides it here */
	ROW_UNSUPPORTED = 1u << 2, /* this disk cannot hold it; see reason */
	/* Set by the index: devices told of different content under the same
	 * vector; those that differ are in the shadows.  Not `flags` of a put.
	 */
	ROW_EQUIVOCAL = 1u << 3,
};

struct row_version {
	/* name is the row's path, sequence 0, invalid false.  `block` is set
	 * when block_count is 1, else NULL: index_blocks() reads the list. */
	struct entry entry;
	struct devset holders; /* announced it as valid: can serve it */
	struct devset shadows; /* announced it as invalid: know, but cannot */
};

struct row {
	struct slice path;
	struct row_version *version;
	uint32_t version_count;
	int32_t local;  /* index of the version this device has; -1: none */
	int32_t global; /* index of the global version; -1: no versions */
	uint32_t flags; /* enum row_flag */
	uint64_t seq;   /* local sequence of our word on it; 0: never spoke */
	struct identity seen; /* on disk when `local` was recorded */
};

/* The version this device has, or NULL. */
static inline const struct row_version *
row_local(const struct row *r)
{
	return r->local < 0 ? NULL : &r->version[r->local];
}

static inline const struct row_version *
row_global(const struct row *r)
{
	return r->global < 0 ? NULL : &r->version[r->global];
}

/*
 * Does some device have something here, whatever the global version is?  Of a
 * version of two contents those who have the other are among the shadows.
 */
static inline bool
row_is_alive(const struct row *r)
{
	const bool two = (r->flags & ROW_EQUIVOCAL) != 0;

	for (uint32_t i = 0; i < r->version_count; i++) {
		const struct row_version *v = &r->version[i];

		if (!v->entry.deleted &&
		    (!devset_is_empty(&v->holders) ||
			(two && !devset_is_empty(&v->shadows))))
			return true;
	}
	return false;
}

#endif
