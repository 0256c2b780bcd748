/*
 * A removal: one thing of ours is taken off its name because a person undid
 * their own change (revert).  A file goes to the trash can.
 *
 * As the writer does it, for one path: an intent is committed, the name is
 * freed, the row forgets it, and only then the bytes leave staging; a crash
 * between two of these is mended by pull_recover.c.
 *
 * Private to engine/.  Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_REMOVAL_H
#define HOLDFAST_ENGINE_REMOVAL_H

#include <stdbool.h>

#include "engine/base/list.h"
#include "engine/folder.h"
#include "engine/row.h"

/* It ended and is gone; `removed`: the name is free. */
typedef void removal_done_fn(void *arg, bool removed);

/*
 * Remove what the row says this device has: a file, a link, an empty
 * directory.  It stays in the list `in` until it has ended.
 */
void removal_start(struct folder *f, const struct row *row, struct list *in,
    removal_done_fn *done, void *arg);
/* Forget them all, without a word; no answer may be due. */
void removal_free_all(struct list *in);

#endif
