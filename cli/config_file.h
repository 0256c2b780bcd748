/*
 * The configuration file: git's format, read and written through libgit2.
 *
 * Reading gives items in file order with their lines.  Writing goes through a
 * draft: a copy beside the file is edited, checked, made durable and moved into
 * place at once, so the file is never half written, an edit that would break
 * it is refused, and comments stay.  Two writers wait for each other.
 */
#ifndef HOLDFAST_CLI_CONFIG_FILE_H
#define HOLDFAST_CLI_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/config.h"
#include "cli/home.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"

/*
 * All assignments of a file, in order; in `ar`.  A missing file has none.
 * ERR_INVALID with file and line when it is not in git's format or holds an
 * include.
 */
int config_file_read(const char *file, struct arena *ar,
    const struct config_item **out, size_t *count, struct err *err);

/*
 * Read and make the node's configuration: config_file_read(), config_load(),
 * and what only the disk can tell (folders that are one directory by links).
 */
int config_file_load(const struct home *home, struct arena *ar,
    struct config *out, const struct config_mistake **mistakes,
    size_t *mistake_count, struct err *err);
/* The same for any file. */
int config_file_load_from(const struct home *home, const char *file,
    struct arena *ar, struct config *out,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err);

/* A draft: opaque. */
struct config_file;

/* Begin to edit; waits up to 5 s for another writer, then ERR_BUSY.  Makes the
 * home when it is missing. */
int config_file_edit(struct config_file **out, const struct home *home,
    struct err *err);
/*
 * A draft that is only looked at: nothing is made, locked or changed in the
 * home.  It is not saved.
 */
int config_file_try(struct config_file **out, const struct home *home,
    struct err *err);
/* Replace all values of a key by these; none: remove it.  Canonical keys. */
int config_file_set(struct config_file *cf, const char *key,
    const struct slice *value, size_t count, struct err *err);
/* One more value of a repeating key; nothing when it has that value. */
int config_file_add(struct config_file *cf, const char *key, struct slice value,
    struct err *err);
/* One value fewer; ERR_NOT_FOUND when it has not that value. */
int config_file_take(struct config_file *cf, const char *key,
    struct slice value, struct err *err);
/* The values in the draft now, in `ar`. */
int config_file_items(struct config_file *cf, struct arena *ar,
    const struct config_item **out, size_t *count, struct err *err);
/* Rename or remove a whole section: [device "laptop"]. */
int config_file_rename(struct config_file *cf, const char *section,
    struct slice name, struct slice to, struct err *err);
int config_file_remove(struct config_file *cf, const char *section,
    struct slice name, struct err *err);
/* Replace the whole text (config edit). */
int config_file_replace(struct config_file *cf, struct slice text,
    struct err *err);
/*
 * May the draft be put in place?  ERR_INVALID: it has mistakes (as in
 * config_load()), more than the file has now.
 */
int config_file_check(struct config_file *cf, struct arena *ar,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err);
/*
 * Check the draft and put it in place, durably; frees `cf` whatever happens.
 * ERR_INVALID: it has mistakes (`mistakes` as in config_load()), the file is
 * as it was.
 */
int config_file_save(struct config_file *cf, struct arena *ar,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err);
/* Forget the draft.  Accepts NULL. */
void config_file_drop(struct config_file *cf);

#endif
