/*
 * An ordered map: byte-string keys in bytewise order, byte-string values.
 *
 * Owns copies of both.  It is the memory half of the store (store_lmdb.c) and
 * the whole of the simulated one; a value may be marked a removal (tombstone)
 * so that it can lie over another map.  Deterministic: levels come from a
 * fixed-seed generator.
 */
#ifndef HOLDFAST_BASE_OMAP_H
#define HOLDFAST_BASE_OMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/slice.h"

struct omap; /* opaque */

struct omap_item {
	struct slice key;
	struct slice value; /* empty when gone */
	bool gone;          /* a removal, put by omap_put_gone() */
};

struct omap *omap_new(void);
void omap_free(struct omap *m); /* accepts NULL */
void omap_put(struct omap *m, struct slice key, struct slice value);
void omap_put_gone(struct omap *m, struct slice key);
/* Really take out; 0 when it was not there. */
bool omap_remove(struct omap *m, struct slice key);
/* The item with exactly `key`; NULL when none.  Valid until it is changed. */
const struct omap_item *omap_find(const struct omap *m, struct slice key);
/* The first item with key >= `key` (or > when `after`); NULL at the end. */
const struct omap_item *omap_seek(const struct omap *m, struct slice key,
    bool after);
/* The last item with key < `key`; NULL when none. */
const struct omap_item *omap_seek_before(const struct omap *m,
    struct slice key);
/* The item after `it`; NULL at the end.  Cheaper than omap_seek(). */
const struct omap_item *omap_next(const struct omap_item *it);
size_t omap_count(const struct omap *m);
size_t omap_bytes(const struct omap *m); /* keys + values + overhead */
void omap_clear(struct omap *m);

#endif
