/*
 * Hash maps with insertion order.
 *
 * A map owns copies of its keys (bytes) and one pointer value each.  Iteration
 * goes in insertion order, whatever the hash seed, so that pure code stays
 * deterministic.  Removing during iteration is allowed for the item at hand.
 * struct umap is the same with a u64 as key.
 *
 * Keys that somebody else may choose need a seed that nobody else knows: else
 * names can be made up that all want the same place.
 */
#ifndef HOLDFAST_BASE_MAP_H
#define HOLDFAST_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/slice.h"

struct map_item {
	struct slice key; /* owned by the map */
	void *value;      /* the caller's */
	uint64_t hash;
	bool live;
};

struct map { /* {0} is a valid empty map */
	struct map_item *item;
	size_t used, live, item_cap;
	uint32_t *slot;
	size_t slot_cap;
	uint64_t seed;
};

void map_init(struct map *m); /* its seed is 0 */
void map_init_seed(struct map *m, uint64_t seed);
/* Values are not freed.  It may be used again, with the same seed. */
void map_fini(struct map *m);
/* The value at `key`; NULL when there is none. */
void *map_find(const struct map *m, struct slice key);
/* Set; returns the value that was there before, or NULL.  `value` != NULL. */
void *map_put(struct map *m, struct slice key, void *value);
/* Take out; returns the value, or NULL. */
void *map_remove(struct map *m, struct slice key);
size_t map_count(const struct map *m);
/* for (struct map_item *it = NULL; (it = map_next(m, it)) != NULL;) */
struct map_item *map_next(const struct map *m, const struct map_item *it);

struct umap_item {
	uint64_t key;
	void *value;
	bool live;
};

struct umap {
	struct umap_item *item;
	size_t used, live, item_cap;
	uint32_t *slot;
	size_t slot_cap;
};

void umap_init(struct umap *m);
void umap_fini(struct umap *m);
void *umap_find(const struct umap *m, uint64_t key);
void *umap_put(struct umap *m, uint64_t key, void *value);
void *umap_remove(struct umap *m, uint64_t key);
size_t umap_count(const struct umap *m);
struct umap_item *umap_next(const struct umap *m, const struct umap_item *it);

#endif
