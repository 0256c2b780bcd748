/*
 * The watched directories: watch descriptor <-> path, small and movable.
 *
 * A tree of names; a directory that moves takes all below it along in one step.
 * Nodes are numbers, valid until the directory is removed.  A node without a
 * watch (wd -1) is there only for what is below it.  About 50 bytes a directory
 * beside its name.  Pure.  Thread: loop.
 */
#ifndef HOLDFAST_WATCHER_DIRTREE_H
#define HOLDFAST_WATCHER_DIRTREE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/slice.h"
#include "engine/base/vec.h"

#define DIRTREE_NONE UINT32_MAX

struct dirtree; /* opaque */

/* `hash_seed`: see map.h. */
struct dirtree *dirtree_new(uint64_t hash_seed);
void dirtree_free(struct dirtree *t); /* accepts NULL */

/* A root, for `folder`. */
uint32_t dirtree_add_root(struct dirtree *t, uint32_t folder);
/*
 * The directory `path` below `root` is watched as `wd`.  What had that wd
 * before, or that path, has it no more.
 */
uint32_t dirtree_put(struct dirtree *t, uint32_t root, struct slice path,
    int wd);

/* By watch, or by parent and name; DIRTREE_NONE when there is none. */
uint32_t dirtree_find(const struct dirtree *t, int wd);
uint32_t dirtree_child(const struct dirtree *t, uint32_t parent,
    struct slice name);
uint32_t dirtree_folder(const struct dirtree *t, uint32_t node);
bool dirtree_is_root(const struct dirtree *t, uint32_t node);
/* Append the path; nothing for a root. */
void dirtree_path(const struct dirtree *t, uint32_t node, struct buf *out);

/* Give `node` another parent and name.  What was there is removed first. */
void dirtree_move(struct dirtree *t, uint32_t node, uint32_t parent,
    struct slice name);
/* The watch is gone; the node too when nothing is below it. */
void dirtree_unwatch(struct dirtree *t, int wd);
/* Remove it and all below; their watches, to be ended, with dirtree_dead(). */
void dirtree_remove(struct dirtree *t, uint32_t node);
/* The next watch to end; -1 when there is none. */
int dirtree_dead(struct dirtree *t);

/* Directories with a watch. */
uint32_t dirtree_count(const struct dirtree *t);
/* Bytes of heap. */
size_t dirtree_held(const struct dirtree *t);

#endif
