/*
 * The trash can of a folder: what peers took away, kept for a while.
 *
 * A regular file that a peer's version replaces or deletes, and one that a
 * revert takes back, goes from staging to ".stversions" (EFFECT_KEEP_VERSION)
 * instead of being dropped.  What a person deletes here does not: it never
 * comes by us.  Conflict copies are files of the folder and no matter of this.
 *
 * It is cleaned by age and size, the oldest first: when the folder opens, once
 * a day, when it has grown, and at once when the disk is full.  What is in it
 * is measured then; in between the sums are an estimate.
 *
 * The order is the writer's (writer_clean.c): the row is durable, then the file
 * goes to the trash can, its directory there is flushed, and only then the
 * intent that speaks of it goes.  docs/design/0007-trash.md.
 *
 * Private to engine/, but for trash_is_stamped().  Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_TRASH_H
#define HOLDFAST_ENGINE_TRASH_H

#include <stdbool.h>

#include "engine/core.h"
#include "engine/event.h"
#include "engine/identity.h"

struct trash; /* opaque; one a folder */

struct trash *trash_new(struct folder *f);
void trash_free(struct trash *tr); /* accepts NULL; no answer may be due */
/* The folder runs, or its configuration is another: measure and clean. */
void trash_start(struct folder *f);
void trash_stop(struct folder *f);

/* Does what came off a name go to the trash can? */
bool trash_takes(const struct folder *f, const struct identity *kept);
/*
 * File the bytes in the staging name `temp` as what was at `path`.  `kept`: as
 * they must still be (ABSENT: whatever they are), else the answer is
 * ERR_CHANGED.  Tell trash_answered() of the answer.
 */
void trash_keep(struct folder *f, struct slice path, struct slice temp,
    const struct identity *kept, core_done_fn *done, void *arg);
/* True when they are in it, unflushed; false: they are where they were. */
bool trash_answered(struct folder *f, const struct event *ev, int64_t size);
/* The directory in which `path` is kept: to be flushed. */
struct slice trash_dir(struct slice path, struct arena *arena);

/*
 * "a~20060102-150405.txt": does another kind of Syncthing's versioning keep
 * it?  Then cleaning does not touch it.
 */
bool trash_is_stamped(struct slice name);

/* The disk is full: the oldest goes. */
void trash_make_room(struct folder *f);
/* A person wants nothing of it any more. */
void trash_empty(struct folder *f);
/* False: not measured yet, or there is none. */
bool trash_totals(const struct folder *f, struct trash_totals *out);
/*
 * Why nothing can be put into it; NULL when it can, for all we know.  Until
 * then nothing is taken away: it is looked at again, ever less often.
 */
const char *trash_broken(const struct folder *f);

#endif
