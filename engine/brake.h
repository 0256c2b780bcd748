/*
 * The brake: a device that deletes or rewrites much of a folder is held until
 * a person has decided.  RELIABILITY.md I11; docs/design/0008-brake.md.
 *
 * What counts are files of ours that would be gone or be other bytes because
 * of what a device told us, each path once, since that device was last quiet.
 * Not counted: what is new here, attributes, conflicts (ours is kept beside),
 * files whose content stays or comes under another name (renames, copies), and
 * anything a person does on this disk.  More than the limit, and what the
 * device deletes or rewrites waits; everything else goes on, its new files and
 * what other devices do included.
 *
 *	FREE -> LOOKS -> HOLDS -> CONFIRMED -> FREE
 *	  ^______/ ^______/________/   (it looks again when more comes)
 *
 * LOOKS: as many have been heard of as would be too much; once the indexes are
 * quiet the rows are looked at and really counted.  HOLDS: a person is asked.
 * CONFIRMED: what was asked about is done.  All but FREE survive a restart.
 *
 * Private to engine/.  Pure.  Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_BRAKE_H
#define HOLDFAST_ENGINE_BRAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/arena.h"
#include "engine/decide.h"
#include "engine/folder.h"

struct brake; /* opaque; one a folder */

/* A device that is held. */
struct brake_held {
	struct devid device;
	int64_t deletes, rewrites; /* files of ours, as last looked at */
	int64_t done;              /* were gone before it was too much */
	int64_t files;             /* that the folder had when it began */
	int64_t since_wall_ns;
};

/* More than so many of `files` is too much; `percent` is not 0. */
int64_t brake_limit(int64_t files, uint32_t percent, uint32_t files_min);
/* Does it take bytes of a person's away?  Files and links only. */
bool brake_is_loss(const struct verdict *v);

struct brake *brake_new(struct folder *f);
void brake_free(struct brake *br); /* accepts NULL */
/* The index is open; what was held before is. */
void brake_open(struct folder *f);
void brake_close(struct folder *f);
/* A device has another ID now; what is held of it stays held. */
void brake_rename(struct folder *f, const struct devid *was,
    const struct devid *now);
/* Devices or thresholds are others. */
void brake_setup(struct folder *f);

/* `sh` told us something about `path`; the row has it already. */
void brake_heard(struct folder *f, const struct share *sh, struct slice path);
/*
 * The planner is about to act on the verdict: must it wait?  Counts it when
 * not.
 */
bool brake_stops(struct folder *f, const struct row *row,
    const struct verdict *v);
/* Does it wait?  Only asks. */
bool brake_has(const struct folder *f, const struct row *row,
    const struct verdict *v);
/* Is anything held at all? */
bool brake_is_on(const struct folder *f);
/* A pass over all that is needed begins; ended, with nothing left in work. */
void brake_pass_began(struct folder *f);
void brake_pass_ended(struct folder *f);

/* A person decides: do it; or: what is held was answered with our versions. */
void brake_confirm(struct folder *f);
void brake_rejected(struct folder *f);
/* The devices that are held, in order of configuration; lives in `arena`. */
uint32_t brake_list(const struct folder *f, struct brake_held **out,
    struct arena *arena);

#endif
