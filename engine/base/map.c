/*
 * Hash maps that iterate in insertion order.
 *
 *	slot[]  open addressing, linear probing; item number + 1, 0 is empty
 *	item[]  in insertion order; a removed item stays as a hole
 *
 * Invariants: slot_cap is 0 or 2 * item_cap, a power of two, so at most half
 * of the slots are taken and every probe ends; each live item has exactly one
 * slot, holes have none; used == 0 when live == 0.
 *
 * Holes go away when item[] is full: it is then rebuilt, larger or smaller.
 * That happens in put only, so removing the item at hand keeps an iteration
 * valid.  Slots are freed by shifting back what probed over them, so there are
 * no tombstones to collect.
 */
#include "engine/base/map.h"

#include "engine/base/assert.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define MAP_FIRST 8u   /* items of the first allocation */
#define MAP_SHRINK 64u /* an emptied map above this gives memory back */

/* How many items a map that is full should have room for. */
static size_t
map_want(size_t live)
{
	size_t want = MAP_FIRST;

	ASSERT(live < UINT32_MAX / 4);
	while (want < live + live / 2 + 1)
		want *= 2;
	return want;
}

/* The slot of `key`, or the empty slot where it would go. */
static size_t
map_probe(const struct map *m, struct slice key, uint64_t hash)
{
	const size_t mask = m->slot_cap - 1;
	size_t i = (size_t)hash & mask;

	for (; m->slot[i] != 0; i = (i + 1) & mask) {
		const struct map_item *it = &m->item[m->slot[i] - 1];

		if (it->hash == hash && slice_equal(it->key, key))
			break;
	}
	return i;
}

/* Copy the live items into arrays of the right size. */
static void
map_rebuild(struct map *m)
{
	const size_t cap = map_want(m->live);
	struct map_item *item = mem_array(cap, sizeof(*item));
	uint32_t *slot = mem_array(cap * 2, sizeof(*slot));
	const size_t mask = cap * 2 - 1;
	size_t n = 0;

	for (size_t i = 0; i < m->used; i++) {
		size_t s = (size_t)m->item[i].hash & mask;

		if (!m->item[i].live)
			continue;
		while (slot[s] != 0)
			s = (s + 1) & mask;
		item[n] = m->item[i];
		slot[s] = (uint32_t)++n;
	}
	ASSERT(n == m->live);
	mem_free(m->item);
	mem_free(m->slot);
	m->item = item;
	m->item_cap = cap;
	m->slot = slot;
	m->slot_cap = cap * 2;
	m->used = n;
}

/* Empty slot i, moving later ones back so that no probe meets the gap. */
static void
map_free_slot(struct map *m, size_t i)
{
	const size_t mask = m->slot_cap - 1;
	size_t j = i;

	for (;;) {
		size_t home;

		j = (j + 1) & mask;
		if (m->slot[j] == 0)
			break;
		home = (size_t)m->item[m->slot[j] - 1].hash & mask;
		/* May j's item live at i?  Only if its home is not after i. */
		if (((j - home) & mask) < ((j - i) & mask))
			continue;
		m->slot[i] = m->slot[j];
		i = j;
	}
	m->slot[i] = 0;
}

void
map_init_seed(struct map *m, uint64_t seed)
{
	*m = (struct map){ .seed = seed };
}

void
map_init(struct map *m)
{
	map_init_seed(m, 0);
}

void
map_fini(struct map *m)
{
	for (size_t i = 0; i < m->used; i++) {
		if (m->item[i].live)
			mem_free((void *)m->item[i].key.ptr);
	}
	mem_free(m->item);
	mem_free(m->slot);
	map_init_seed(m, m->seed);
}

void *
map_find(const struct map *m, struct slice key)
{
	size_t i;

	if (m->live == 0)
		return NULL;
	i = map_probe(m, key, hash_u64_seed(key, m->seed));
	return m->slot[i] != 0 ? m->item[m->slot[i] - 1].value : NULL;
}

void *
map_put(struct map *m, struct slice key, void *value)
{
	const uint64_t hash = hash_u64_seed(key, m->seed);
	struct map_item *it;
	size_t i;

	ASSERT(value != NULL);
	if (m->live > 0) {
		i = map_probe(m, key, hash);
		if (m->slot[i] != 0) {
			it = &m->item[m->slot[i] - 1];
			void *old = it->value;

			it->value = value;
			return old;
		}
	}
	if (m->used == m->item_cap ||
	    (m->used == 0 && m->item_cap > MAP_SHRINK))
		map_rebuild(m);
	i = map_probe(m, key, hash);
	it = &m->item[m->used++];
	it->key = slice_of(mem_dup(key.ptr, key.len), key.len);
	it->value = value;
	it->hash = hash;
	it->live = true;
	m->slot[i] = (uint32_t)m->used;
	m->live++;
	return NULL;
}

void *
map_remove(struct map *m, struct slice key)
{
	struct map_item *it;
	void *value;
	size_t i;

	if (m->live == 0)
		return NULL;
	i = map_probe(m, key, hash_u64_seed(key, m->seed));
	if (m->slot[i] == 0)
		return NULL;
	it = &m->item[m->slot[i] - 1];
	map_free_slot(m, i);
	value = it->value;
	mem_free((void *)it->key.ptr); /* `key` may be this one */
	*it = (struct map_item){ 0 };
	m->live--;
	while (m->used > 0 && !m->item[m->used - 1].live)
		m->used--;
	return value;
}

size_t
map_count(const struct map *m)
{
	return m->live;
}

struct map_item *
map_next(const struct map *m, const struct map_item *it)
{
	size_t i = it != NULL ? (size_t)(it - m->item) + 1 : 0;

	for (; i < m->used; i++) {
		if (m->item[i].live)
			return &m->item[i];
	}
	return NULL;
}

/*
 * The same with numbers as keys.  Numbers are often counted up, so they are
 * mixed first: neighbours must not fill neighbouring slots only.
 */
static size_t
umap_home(uint64_t key, size_t mask)
{
	key = (key ^ key >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	key = (key ^ key >> 27) * UINT64_C(0x94d049bb133111eb);
	return (size_t)(key ^ key >> 31) & mask;
}

static size_t
umap_probe(const struct umap *m, uint64_t key)
{
	const size_t mask = m->slot_cap - 1;
	size_t i = umap_home(key, mask);

	while (m->slot[i] != 0 && m->item[m->slot[i] - 1].key != key)
		i = (i + 1) & mask;
	return i;
}

static void
umap_rebuild(struct umap *m)
{
	const size_t cap = map_want(m->live);
	struct umap_item *item = mem_array(cap, sizeof(*item));
	uint32_t *slot = mem_array(cap * 2, sizeof(*slot));
	const size_t mask = cap * 2 - 1;
	size_t n = 0;

	for (size_t i = 0; i < m->used; i++) {
		size_t s;

		if (!m->item[i].live)
			continue;
		s = umap_home(m->item[i].key, mask);
		while (slot[s] != 0)
			s = (s + 1) & mask;
		item[n] = m->item[i];
		slot[s] = (uint32_t)++n;
	}
	ASSERT(n == m->live);
	mem_free(m->item);
	mem_free(m->slot);
	m->item = item;
	m->item_cap = cap;
	m->slot = slot;
	m->slot_cap = cap * 2;
	m->used = n;
}

static void
umap_free_slot(struct umap *m, size_t i)
{
	const size_t mask = m->slot_cap - 1;
	size_t j = i;

	for (;;) {
		size_t home;

		j = (j + 1) & mask;
		if (m->slot[j] == 0)
			break;
		home = umap_home(m->item[m->slot[j] - 1].key, mask);
		if (((j - home) & mask) < ((j - i) & mask))
			continue;
		m->slot[i] = m->slot[j];
		i = j;
	}
	m->slot[i] = 0;
}

void
umap_init(struct umap *m)
{
	*m = (struct umap){ 0 };
}

void
umap_fini(struct umap *m)
{
	mem_free(m->item);
	mem_free(m->slot);
	umap_init(m);
}

void *
umap_find(const struct umap *m, uint64_t key)
{
	size_t i;

	if (m->live == 0)
		return NULL;
	i = umap_probe(m, key);
	return m->slot[i] != 0 ? m->item[m->slot[i] - 1].value : NULL;
}

void *
umap_put(struct umap *m, uint64_t key, void *value)
{
	size_t i;

	ASSERT(value != NULL);
	if (m->live > 0) {
		i = umap_probe(m, key);
		if (m->slot[i] != 0) {
			struct umap_item *it = &m->item[m->slot[i] - 1];
			void *old = it->value;

			it->value = value;
			return old;
		}
	}
	if (m->used == m->item_cap ||
	    (m->used == 0 && m->item_cap > MAP_SHRINK))
		umap_rebuild(m);
	i = umap_probe(m, key);
	m->item[m->used++] = (struct umap_item){ key, value, true };
	m->slot[i] = (uint32_t)m->used;
	m->live++;
	return NULL;
}

void *
umap_remove(struct umap *m, uint64_t key)
{
	struct umap_item *it;
	void *value;
	size_t i;

	if (m->live == 0)
		return NULL;
	i = umap_probe(m, key);
	if (m->slot[i] == 0)
		return NULL;
	it = &m->item[m->slot[i] - 1];
	umap_free_slot(m, i);
	value = it->value;
	*it = (struct umap_item){ 0 };
	m->live--;
	while (m->used > 0 && !m->item[m->used - 1].live)
		m->used--;
	return value;
}

size_t
umap_count(const struct umap *m)
{
	return m->live;
}

struct umap_item *
umap_next(const struct umap *m, const struct umap_item *it)
{
	size_t i = it != NULL ? (size_t)(it - m->item) + 1 : 0;

	for (; i < m->used; i++) {
		if (m->item[i].live)
			return &m->item[i];
	}
	return NULL;
}
