/*
 * Paths inside a folder: relative, '/'-separated, canonical, valid UTF-8.
 *
 * A path value has passed path_check(); the only other way to make one is to
 * join or cut checked paths.  It is a struct slice in canonical wire form
 * ("a/b.txt"); the empty slice is the folder's root.  BEP-FACTS.md 6.1.
 */
#ifndef HOLDFAST_BASE_PATH_H
#define HOLDFAST_BASE_PATH_H

#include <stdbool.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

/*
 * Is `name` a path another device may speak of?  Non-empty, no leading or
 * trailing '/', no empty, "." or ".." component, no NUL, valid UTF-8, at most
 * LIMIT_PATH_LEN bytes, components of at most LIMIT_NAME_LEN bytes, depth at
 * most LIMIT_PATH_DEPTH.  0, or ERR_PROTOCOL / ERR_LIMIT.
 */
int path_check(struct slice name, struct err *err);
/* "a/b" of "a/b/c"; empty for a top-level name. */
struct slice path_parent(struct slice path);
/* "c" of "a/b/c". */
struct slice path_base(struct slice path);
struct slice path_join(struct arena *ar, struct slice dir, struct slice name);
/* Is `path` strictly below `dir`?  Everything is below the root. */
bool path_is_below(struct slice path, struct slice dir);
size_t path_depth(struct slice path); /* components; 0 for the root */
/* `path` with its leading `from` replaced by `to`; path is or is below it. */
struct slice path_rebase(struct arena *ar, struct slice path, struct slice from,
    struct slice to);
/*
 * For terminals and logs: control characters, invalid UTF-8 and bidirectional
 * overrides as \xNN / \uNNNN; NUL-terminated, in `ar`.
 */
char *path_print(struct arena *ar, struct slice path);

#endif
