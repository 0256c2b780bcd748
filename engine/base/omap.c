/*
 * The ordered map: a skip list.
 *
 * Nodes never move, so items stay valid while others come and go.  A node and
 * its key are one piece of memory, a value another; both come from an arena
 * through free lists by size, so that rewriting the same keys for days does
 * not grow the map, and omap_clear() is the cost of a few blocks.  Pieces too
 * large for the free lists come from the heap and hang in a list of their own.
 *
 * Invariants: at each level the keys go up; a node of height h is linked at
 * the levels 0 .. h-1; tail[l] is the last node of level l, or the head.
 */
#include "engine/base/omap.h"

#include "engine/base/arena.h"
#include "engine/base/assert.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define OMAP_HEIGHT 14u  /* one in four goes up: good for 4^14 keys */
#define OMAP_STEP 32u    /* bytes; sizes of pieces are multiples */
#define OMAP_CLASSES 64u /* free lists, so pieces up to 2 KiB */
#define OMAP_SEED UINT64_C(0x686f6c64)

struct omap_node {
	struct omap_item item; /* first, so that an item finds its node */
	uint64_t front;        /* the key's first 8 bytes, big-endian */
	size_t size;           /* bytes of this piece */
	size_t value_size;     /* bytes of the value's piece; 0 is none */
	unsigned height;
	struct omap_node *next[]; /* `height` of them, then the key */
};

struct omap_piece { /* a free piece */
	struct omap_piece *next;
};

struct omap_large { /* before the bytes of a piece from the heap */
	struct list_node node;
	_Alignas(16) uint8_t data[];
};

struct omap {
	struct omap_node *head[OMAP_HEIGHT]; /* first node of each level */
	struct omap_node *tail[OMAP_HEIGHT]; /* last one, or NULL */
	unsigned height;                     /* levels in use, at least 1 */
	size_t count;
	size_t bytes; /* of all pieces in use */
	struct arena arena;
	struct omap_piece *free[OMAP_CLASSES];
	struct list large; /* struct omap_large */
	struct rng rng;
};

/* Where a search came by: the link at each level that leads past `key`. */
struct omap_way {
	struct omap_node **link[OMAP_HEIGHT];
	struct omap_node *prev[OMAP_HEIGHT]; /* owner of link; NULL is head */
};

static size_t
omap_round(size_t len)
{
	ASSERT(len < SIZE_MAX / 2);
	return (len + OMAP_STEP - 1) / OMAP_STEP * OMAP_STEP;
}

/* `size` is a multiple of OMAP_STEP, not 0. */
static void *
omap_take(struct omap *m, size_t size)
{
	const size_t class = size / OMAP_STEP - 1;

	m->bytes += size;
	if (class >= OMAP_CLASSES) {
		struct omap_large *large = mem_alloc(sizeof(*large) + size);

		large->node = (struct list_node){ 0 };
		list_add(&m->large, &large->node);
		return large->data;
	}
	if (m->free[class] != NULL) {
		struct omap_piece *piece = m->free[class];

		m->free[class] = piece->next;
		return piece;
	}
	return arena_alloc(&m->arena, size);
}

static void
omap_give(struct omap *m, void *p, size_t size)
{
	const size_t class = size / OMAP_STEP - 1;

	ASSERT(m->bytes >= size);
	m->bytes -= size;
	if (class >= OMAP_CLASSES) {
		struct omap_large *large =
		    (void *)((uint8_t *)p - offsetof(struct omap_large, data));

		list_remove(&m->large, &large->node);
		mem_free(large);
		return;
	}
	struct omap_piece *piece = p;

	piece->next = m->free[class];
	m->free[class] = piece;
}

/* The first 8 bytes as a number: in the same order as the bytes. */
static uint64_t
omap_front(struct slice key)
{
	uint64_t front = 0;

	if (key.len >= 8) {
		for (unsigned i = 0; i < 8; i++)
			front = front << 8 | key.ptr[i];
		return front;
	}
	for (size_t i = 0; i < key.len; i++)
		front |= (uint64_t)key.ptr[i] << (56 - 8 * i);
	return front;
}

/* Is the node's key before `key`, or (when `or_equal`) the same? */
static bool
omap_goes_before(const struct omap_node *n, struct slice key, uint64_t front,
    bool or_equal)
{
	int c;

	if (n->front != front)
		return n->front < front;
	c = slice_cmp(n->item.key, key);
	return c < 0 || (or_equal && c == 0);
}

/* The last node before `key` (or at it, when `or_equal`); NULL when none. */
static const struct omap_node *
omap_last_before(const struct omap *m, struct slice key, bool or_equal)
{
	const uint64_t front = omap_front(key);
	const struct omap_node *at = NULL;
	const struct omap_node *over = NULL; /* known not to go before */

	for (unsigned level = m->height; level-- > 0;) {
		const struct omap_node *n =
		    at != NULL ? at->next[level] : m->head[level];

		while (n != over && n != NULL &&
		       omap_goes_before(n, key, front, or_equal)) {
			at = n;
			n = n->next[level];
		}
		over = n;
	}
	return at;
}

/* The same, with the links on the way, for changing them. */
static void
omap_walk(struct omap *m, struct slice key, uint64_t front,
    struct omap_way *way)
{
	struct omap_node *at = NULL;
	const struct omap_node *over = NULL;

	for (unsigned level = m->height; level-- > 0;) {
		struct omap_node **link =
		    at != NULL ? &at->next[level] : &m->head[level];

		while (*link != over && *link != NULL &&
		       omap_goes_before(*link, key, front, false)) {
			at = *link;
			link = &at->next[level];
		}
		over = *link;
		way->link[level] = link;
		way->prev[level] = at;
	}
}

/* As omap_walk() for a key behind all others: straight to the ends. */
static void
omap_walk_end(struct omap *m, struct omap_way *way)
{
	for (unsigned level = 0; level < m->height; level++) {
		struct omap_node *last = m->tail[level];

		way->link[level] =
		    last != NULL ? &last->next[level] : &m->head[level];
		way->prev[level] = last;
	}
}

static struct omap_node *
omap_new_node(struct omap *m, struct slice key, uint64_t front)
{
	uint64_t bits = rng_u64(&m->rng);
	struct omap_node *n;
	unsigned height = 1;
	size_t links, size;
	uint8_t *at;

	for (; height < OMAP_HEIGHT && (bits & 3) == 0; bits >>= 2)
		height++;
	links = height * sizeof(n->next[0]);
	size = omap_round(sizeof(*n) + links + key.len);
	n = omap_take(m, size);
	at = (uint8_t *)n + sizeof(*n) + links;
	if (key.len > 0)
		memcpy(at, key.ptr, key.len);
	n->item = (struct omap_item){ .key = slice_of(at, key.len) };
	n->front = front;
	n->size = size;
	n->value_size = 0;
	n->height = height;
	return n;
}

static void
omap_link(struct omap *m, struct omap_node *n, struct omap_way *way)
{
	for (; m->height < n->height; m->height++) {
		way->link[m->height] = &m->head[m->height];
		way->prev[m->height] = NULL;
	}
	for (unsigned level = 0; level < n->height; level++) {
		n->next[level] = *way->link[level];
		*way->link[level] = n;
		if (n->next[level] == NULL)
			m->tail[level] = n;
	}
	m->count++;
}

/* The node of `key`; made when there is none. */
static struct omap_node *
omap_make(struct omap *m, struct slice key)
{
	const uint64_t front = omap_front(key);
	struct omap_node *last = m->tail[0];
	struct omap_way way;
	struct omap_node *n;

	if (last == NULL || omap_goes_before(last, key, front, false)) {
		omap_walk_end(m, &way);
	} else {
		omap_walk(m, key, front, &way);
		n = *way.link[0];
		if (n != NULL && slice_equal(n->item.key, key))
			return n;
	}
	n = omap_new_node(m, key, front);
	omap_link(m, n, &way);
	return n;
}

static void
omap_set_value(struct omap *m, struct omap_node *n, struct slice value)
{
	const size_t size = value.len > 0 ? omap_round(value.len) : 0;
	void *old = (void *)n->item.value.ptr;
	const size_t old_size = n->value_size;
	uint8_t *at = old;

	/* Reuse the piece unless it is too small or wastes a lot. */
	if (size > old_size || size < old_size / 4) {
		at = size > 0 ? omap_take(m, size) : NULL;
		n->value_size = size;
	}
	/* `value` may be the old one, or a part of it. */
	if (value.len > 0)
		memmove(at, value.ptr, value.len);
	if (at != old && old_size > 0)
		omap_give(m, old, old_size);
	n->item.value = slice_of(at, value.len);
}

static void
omap_free_large(struct omap *m)
{
	struct list_node *node;

	while ((node = list_first(&m->large)) != NULL) {
		list_remove(&m->large, node);
		mem_free(LIST_ITEM(node, struct omap_large, node));
	}
}

struct omap *
omap_new(void)
{
	struct omap *m = mem_zalloc(sizeof(*m));

	m->height = 1;
	list_init(&m->large);
	rng_init(&m->rng, OMAP_SEED);
	return m;
}

void
omap_free(struct omap *m)
{
	if (m == NULL)
		return;
	omap_free_large(m);
	arena_fini(&m->arena);
	mem_free(m);
}

void
omap_put(struct omap *m, struct slice key, struct slice value)
{
	struct omap_node *n = omap_make(m, key);

	n->item.gone = false;
	omap_set_value(m, n, value);
}

void
omap_put_gone(struct omap *m, struct slice key)
{
	struct omap_node *n = omap_make(m, key);

	n->item.gone = true;
	omap_set_value(m, n, SLICE_EMPTY);
}

bool
omap_remove(struct omap *m, struct slice key)
{
	struct omap_way way;
	struct omap_node *n;

	omap_walk(m, key, omap_front(key), &way);
	n = *way.link[0];
	if (n == NULL || !slice_equal(n->item.key, key))
		return false;
	for (unsigned level = 0; level < n->height; level++) {
		ASSERT(*way.link[level] == n);
		*way.link[level] = n->next[level];
		if (n->next[level] == NULL)
			m->tail[level] = way.prev[level];
	}
	if (n->value_size > 0)
		omap_give(m, (void *)n->item.value.ptr, n->value_size);
	omap_give(m, n, n->size);
	m->count--;
	return true;
}

const struct omap_item *
omap_find(const struct omap *m, struct slice key)
{
	const struct omap_item *it = omap_seek(m, key, false);

	return it != NULL && slice_equal(it->key, key) ? it : NULL;
}

const struct omap_item *
omap_seek(const struct omap *m, struct slice key, bool after)
{
	const struct omap_node *at = omap_last_before(m, key, after);
	const struct omap_node *n = at != NULL ? at->next[0] : m->head[0];

	return n != NULL ? &n->item : NULL;
}

const struct omap_item *
omap_seek_before(const struct omap *m, struct slice key)
{
	const struct omap_node *at = omap_last_before(m, key, false);

	return at != NULL ? &at->item : NULL;
}

const struct omap_item *
omap_next(const struct omap_item *it)
{
	const struct omap_node *n =
	    ((const struct omap_node *)(const void *)it)->next[0];

	return n != NULL ? &n->item : NULL;
}

size_t
omap_count(const struct omap *m)
{
	return m->count;
}

size_t
omap_bytes(const struct omap *m)
{
	return m->bytes;
}

void
omap_clear(struct omap *m)
{
	omap_free_large(m);
	arena_clear(&m->arena);
	memset(m->free, 0, sizeof(m->free));
	memset(m->head, 0, sizeof(m->head));
	memset(m->tail, 0, sizeof(m->tail));
	m->height = 1;
	m->count = 0;
	m->bytes = 0;
	/* The same puts after a clear make the same levels. */
	rng_init(&m->rng, OMAP_SEED);
}
