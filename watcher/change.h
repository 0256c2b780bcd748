/*
 * Hints that something changed: what the watcher has to say.
 *
 * A hint is never believed; it only says where to look.  Values only.
 */
#ifndef HOLDFAST_WATCHER_CHANGE_H
#define HOLDFAST_WATCHER_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/slice.h"

struct change {
	struct slice path; /* relative to the root; empty: the root itself.
			    * Raw bytes: may be no valid path */
	bool subtree;      /* look below it too, however unchanged it seems */
};

/* In the order of the engine's enum watch_state. */
enum change_cover {
	COVER_OFF,
	COVER_FULL,    /* every directory that was listed is watched */
	COVER_PARTIAL, /* a limit was reached: some directories are not */
	COVER_FAILED,  /* no watching at all */
};

struct change_batch {
	uint32_t folder;
	const struct change *change; /* sorted bytewise; each path once */
	uint32_t count;
	bool overflow; /* hints were lost: look at everything */
	enum change_cover cover;
};

/* ".stfolder", ".stversions" and what is below; temporaries of Syncthing. */
bool change_is_internal(struct slice path);

#endif
