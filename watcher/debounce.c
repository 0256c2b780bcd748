/*
 * Debouncing; see debounce.h.
 *
 * A path that is put off leaves its place in the heap alone: events come by the
 * thousand, timers are few.  When its old time comes it is found unripe and put
 * where it belongs.
 */
#include "watcher/debounce.h"

#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/base/heap.h"
#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#define DELAY_SETTLED (5 * CLOCK_MS)
#define DELAY_TOUCHED (20 * CLOCK_MS)
#define DELAY_GONE (30 * CLOCK_MS)
#define DELAY_CREATED (50 * CLOCK_MS)
#define DELAY_GROWING (1 * CLOCK_S)
#define DELAY_OVERFLOW (100 * CLOCK_MS)
/* Whatever happens, a path that is not growing is told within this time. */
#define DELAY_PATIENCE (500 * CLOCK_MS)
#define DELAY_MAX (60 * CLOCK_S)
/* What is ripe so soon comes along: fewer batches. */
#define DELAY_SLACK (2 * CLOCK_MS)
/* Tellings this close are one series; the first few of one come at once. */
#define RECENT_SERIES (2 * CLOCK_S)
#define RECENT_FREE 20u
#define RECENT_LEVEL_MAX (RECENT_FREE + 6u)

struct waiting {
	struct heap_node timer; /* first: heap_first() is it */
	struct slice path;      /* the map's key */
	enum debounce_kind kind;
	bool subtree;
	uint64_t due;   /* at or behind timer.at_ns */
	uint64_t first; /* when it began to wait */
};

/* A path that was told, and how often of late. */
struct recent {
	struct list_node node; /* oldest first */
	struct slice path;
	uint64_t last;
	unsigned level; /* tellings in this series - 1 */
	unsigned grown; /* the same, of tellings while it grew */
};

struct debounce {
	uint32_t folder;
	struct map waiting;
	struct heap heap;
	struct map recent;
	struct list recent_order;
	uint64_t overflow_due; /* UINT64_MAX: none */
	uint64_t announce_due;
};

struct debounce *
debounce_new(uint32_t folder, uint64_t hash_seed)
{
	struct debounce *d = mem_zalloc(sizeof(*d));

	d->folder = folder;
	map_init_seed(&d->waiting, hash_seed);
	map_init_seed(&d->recent, hash_seed);
	list_init(&d->recent_order);
	d->overflow_due = UINT64_MAX;
	d->announce_due = UINT64_MAX;
	return d;
}

static void
debounce_drop(struct debounce *d, struct waiting *w)
{
	heap_remove(&d->heap, &w->timer);
	map_remove(&d->waiting, w->path);
	mem_free(w);
}

static void
debounce_drop_all(struct debounce *d)
{
	struct heap_node *n;

	while ((n = heap_first(&d->heap)) != NULL)
		debounce_drop(d, (struct waiting *)n);
}

static void
recent_drop(struct debounce *d, struct recent *r)
{
	list_remove(&d->recent_order, &r->node);
	map_remove(&d->recent, r->path);
	mem_free(r);
}

void
debounce_free(struct debounce *d)
{
	struct list_node *n;

	if (d == NULL)
		return;
	debounce_drop_all(d);
	while ((n = list_first(&d->recent_order)) != NULL)
		recent_drop(d, LIST_ITEM(n, struct recent, node));
	map_fini(&d->waiting);
	map_fini(&d->recent);
	heap_fini(&d->heap);
	mem_free(d);
}

/* `unit` doubled `level` times, at most DELAY_MAX. */
static uint64_t
delay_level(uint64_t unit, unsigned level)
{
	const uint64_t d = unit << (level > 6 ? 6 : level);

	return d > DELAY_MAX ? DELAY_MAX : d;
}

/* How long after its last telling a path is not told again. */
static uint64_t
recent_delay(const struct recent *r)
{
	if (r->level < RECENT_FREE)
		return 0;
	return delay_level(1 * CLOCK_S, r->level - RECENT_FREE);
}

/* The longest that a growing file waits. */
static uint64_t
recent_patience(const struct recent *r)
{
	return delay_level(4 * CLOCK_S, r == NULL ? 0 : r->grown);
}

static void
recent_count(struct recent *r, bool growing, uint64_t now)
{
	const uint64_t quiet = now - r->last;

	if (quiet > RECENT_SERIES + 4 * recent_delay(r))
		r->level = 0;
	else if (r->level < RECENT_LEVEL_MAX)
		r->level++;
	if (!growing || quiet > RECENT_SERIES + 2 * recent_patience(r))
		r->grown = 0;
	else if (r->grown < 6)
		r->grown++;
}

static void
recent_put(struct debounce *d, struct slice path, bool growing, uint64_t now)
{
	struct recent *r = map_find(&d->recent, path);

	if (r != NULL) {
		recent_count(r, growing, now);
		list_remove(&d->recent_order, &r->node);
	} else {
		if (d->recent_order.count >= DEBOUNCE_RECENT)
			recent_drop(d, LIST_ITEM(list_first(&d->recent_order),
					   struct recent, node));
		/* The path lives behind the struct: the key is the map's. */
		r = mem_zalloc(sizeof(*r) + path.len);
		if (path.len > 0)
			memcpy(r + 1, path.ptr, path.len);
		r->path = slice_of(r + 1, path.len);
		map_put(&d->recent, r->path, r);
	}
	r->last = now;
	list_add(&d->recent_order, &r->node);
}

/* When a path of this kind is ripe, seen from now. */
static uint64_t
debounce_ripe(const struct debounce *d, const struct waiting *w, uint64_t now)
{
	const struct recent *r = map_find(&d->recent, w->path);
	uint64_t due = now, latest = w->first + DELAY_PATIENCE;

	switch (w->kind) {
	case DEBOUNCE_SETTLED:
		due += DELAY_SETTLED;
		break;
	case DEBOUNCE_GONE:
		due += DELAY_GONE;
		break;
	case DEBOUNCE_TOUCHED:
		due += DELAY_TOUCHED;
		break;
	case DEBOUNCE_CREATED:
		due += DELAY_CREATED;
		break;
	case DEBOUNCE_GROWING:
		due += DELAY_GROWING;

		latest = w->first + recent_patience(r);
		break;
	}
	if (due > latest)
		due = latest;
	if (r != NULL && due < r->last + recent_delay(r))
		due = r->last + recent_delay(r);
	return due;
}

static void
debounce_set_due(struct debounce *d, struct waiting *w, uint64_t due)
{
	w->due = due;
	if (w->timer.pos != HEAP_OUT && w->timer.at_ns <= due)
		return; /* found unripe then */
	heap_remove(&d->heap, &w->timer);
	heap_add(&d->heap, &w->timer, due);
}

static struct waiting *
debounce_wait(struct debounce *d, struct slice path, enum debounce_kind kind,
    uint64_t now)
{
	struct waiting *w = mem_zalloc(sizeof(*w) + path.len);

	if (path.len > 0)
		memcpy(w + 1, path.ptr, path.len);
	w->path = slice_of(w + 1, path.len);
	w->kind = kind;
	w->first = now;
	w->timer.pos = HEAP_OUT;
	map_put(&d->waiting, w->path, w);
	return w;
}

/* What a path that waits as `old` is after `now_` happened to it too. */
static enum debounce_kind
debounce_merge(enum debounce_kind old, enum debounce_kind now_)
{
	if (now_ == DEBOUNCE_TOUCHED) /* says nothing about its end */
		return old;
	return now_;
}

static struct waiting *
debounce_put(struct debounce *d, struct slice path, enum debounce_kind kind,
    bool subtree, uint64_t now)
{
	struct waiting *w;

	if (d->overflow_due != UINT64_MAX)
		return NULL; /* everything is looked at anyway */
	w = map_find(&d->waiting, path);
	if (w == NULL && map_count(&d->waiting) >= DEBOUNCE_PATHS &&
	    path.len > 0) {
		const size_t slash = slice_rfind(path, '/');

		path = slice_to(path, slash == SIZE_MAX ? 0 : slash);
		kind = DEBOUNCE_TOUCHED;
		w = map_find(&d->waiting, path);
	}
	if (w == NULL && map_count(&d->waiting) >= DEBOUNCE_PATHS_MAX) {
		debounce_overflow(d, now);
		return NULL;
	}
	if (w == NULL) {
		w = debounce_wait(d, path, kind, now);
	} else {
		const enum debounce_kind next = debounce_merge(w->kind, kind);

		/* Being written, or not yet begun to be: patience anew. */
		if (next == DEBOUNCE_GROWING && w->kind != next)
			w->first = now;
		if (kind == DEBOUNCE_TOUCHED) {
			w->subtree |= subtree;
			return w;
		}
		w->kind = next;
	}
	w->subtree |= subtree;
	debounce_set_due(d, w, debounce_ripe(d, w, now));
	return w;
}

void
debounce_add(struct debounce *d, struct slice path, enum debounce_kind kind,
    bool subtree, uint64_t now)
{
	debounce_put(d, path, kind, subtree, now);
}

void
debounce_move(struct debounce *d, struct slice from, struct slice to,
    bool subtree, uint64_t now)
{
	struct waiting *a =
	    debounce_put(d, from, DEBOUNCE_SETTLED, subtree, now);
	struct waiting *b = debounce_put(d, to, DEBOUNCE_SETTLED, subtree, now);
	uint64_t due;

	if (a == NULL || b == NULL || d->overflow_due != UINT64_MAX)
		return;
	due = a->due > b->due ? a->due : b->due;
	debounce_set_due(d, a, due);
	debounce_set_due(d, b, due);
}

void
debounce_overflow(struct debounce *d, uint64_t now)
{
	debounce_drop_all(d);
	if (d->overflow_due == UINT64_MAX)
		d->overflow_due = now + DELAY_OVERFLOW;
}

void
debounce_announce(struct debounce *d, uint64_t now)
{
	if (d->announce_due == UINT64_MAX)
		d->announce_due = now;
}

uint64_t
debounce_due(const struct debounce *d)
{
	const struct heap_node *n = heap_first(&d->heap);
	uint64_t due = n == NULL ? UINT64_MAX : n->at_ns;

	if (d->overflow_due < due)
		due = d->overflow_due;
	if (d->announce_due < due)
		due = d->announce_due;
	return due;
}

static int
debounce_compare(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	return slice_cmp(x->path, y->path);
}

bool
debounce_take(struct debounce *d, uint64_t now, struct change_batch *out,
    struct arena *arena)
{
	struct change *c = NULL;
	uint32_t count = 0;
	struct heap_node *n;

	out->folder = d->folder;
	out->overflow = d->overflow_due <= now;
	if (!out->overflow && debounce_due(d) > now)
		return false;
	while ((n = heap_first(&d->heap)) != NULL &&
	       n->at_ns <= now + DELAY_SLACK) {
		struct waiting *w = (struct waiting *)n;

		if (w->due > now + DELAY_SLACK) { /* put off since */
			heap_remove(&d->heap, n);
			heap_add(&d->heap, n, w->due);
			continue;
		}
		if (c == NULL)
			c = arena_array(arena, map_count(&d->waiting),
			    sizeof(*c));
		c[count].path = arena_dup(arena, w->path);
		c[count++].subtree = w->subtree;
		recent_put(d, w->path, w->kind == DEBOUNCE_GROWING, now);
		debounce_drop(d, w);
	}
	if (count > 1)
		qsort(c, count, sizeof(*c), debounce_compare);
	out->change = c;
	out->count = count;
	if (out->overflow)
		d->overflow_due = UINT64_MAX;
	if (!out->overflow && count == 0 && d->announce_due > now)
		return false; /* nothing was ripe after all */
	d->announce_due = UINT64_MAX;
	return true;
}
