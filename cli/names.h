/*
 * Names as people type them: in full, or any unique beginning.
 */
#ifndef HOLDFAST_CLI_NAMES_H
#define HOLDFAST_CLI_NAMES_H

#include <stddef.h>

#include "engine/base/err.h"
#include "engine/base/slice.h"

struct names_item {
	struct slice name;  /* a folder's ID, a device's name */
	struct slice other; /* its label, its device ID; may be empty */
};

/*
 * Which of them does `text` mean?  The whole name, else the whole other name,
 * else what alone begins with it.  ERR_NOT_FOUND; ERR_INVALID when several
 * begin with it; the text speaks of "`what` `text`".
 */
int names_find(const struct names_item *item, size_t count, const char *what,
    struct slice text, size_t *out, struct err *err);

#endif
