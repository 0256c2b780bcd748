/*
 * What was last heard of where peers are, and the bytes of it in a file.
 *
 *	"HoldWhr1", WHERE messages as on the wire (coord.h), XXH3 of all before
 *
 * A file that is damaged is as none: it is a cache.  docs/formats.md.
 *
 * Pure.  Thread: loop.
 */
#ifndef HOLDFAST_MESH_COORD_CACHE_H
#define HOLDFAST_MESH_COORD_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/buf.h"
#include "mesh/coord.h"

#define COORD_CACHE_MAX (2u * 1024u * 1024u) /* bytes of such a file */

/* Opaque. */
struct coord_cache;

struct coord_cache *coord_cache_new(void);
void coord_cache_free(struct coord_cache *c); /* accepts NULL */
/*
 * `id` is at these addresses; none: nothing is changed.  True when that is
 * news.  Tokens are not kept.
 */
bool coord_cache_put(struct coord_cache *c, const struct devid *id,
    const struct addr *addr, size_t count);
/* Keep these devices, in any order, and forget the others. */
void coord_cache_keep(struct coord_cache *c, const struct devid *id,
    size_t count);
/* Where it was; the array lives in `ar`.  0: not known. */
size_t coord_cache_find(const struct coord_cache *c, const struct devid *id,
    struct addr **out, struct arena *ar);
void coord_cache_encode(const struct coord_cache *c, struct buf *out);
/* Adds what a file holds; ERR_CORRUPT, and nothing is added, when damaged. */
int coord_cache_decode(struct coord_cache *c, struct slice in, struct err *err);

#endif
