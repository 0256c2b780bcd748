/*
 * Timers: a binary heap in an array, each node knowing its place.
 *
 * Invariant: node[i] is due no later than its children 2i+1 and 2i+2, where
 * equal times go by the order of adding; node[i]->pos == i.
 */
#include "engine/base/heap.h"

#include <stdbool.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

static bool
heap_before(const struct heap_node *a, const struct heap_node *b)
{
	if (a->at_ns != b->at_ns)
		return a->at_ns < b->at_ns;
	return a->order < b->order;
}

static void
heap_place(struct heap *h, struct heap_node *n, size_t pos)
{
	h->node[pos] = n;
	n->pos = pos;
}

static void
heap_up(struct heap *h, struct heap_node *n, size_t pos)
{
	while (pos > 0) {
		const size_t parent = (pos - 1) / 2;

		if (!heap_before(n, h->node[parent]))
			break;
		heap_place(h, h->node[parent], pos);
		pos = parent;
	}
	heap_place(h, n, pos);
}

static void
heap_down(struct heap *h, struct heap_node *n, size_t pos)
{
	for (;;) {
		size_t child = 2 * pos + 1;

		if (child >= h->len)
			break;
		if (child + 1 < h->len &&
		    heap_before(h->node[child + 1], h->node[child]))
			child++;
		if (!heap_before(h->node[child], n))
			break;
		heap_place(h, h->node[child], pos);
		pos = child;
	}
	heap_place(h, n, pos);
}

void
heap_fini(struct heap *h)
{
	for (size_t i = 0; i < h->len; i++)
		h->node[i]->pos = HEAP_OUT;
	mem_free(h->node);
	*h = (struct heap){ 0 };
}

void
heap_add(struct heap *h, struct heap_node *n, uint64_t at_ns)
{
	ASSERT(n->pos == HEAP_OUT);
	h->node = vec_grow(h->node, h->len, &h->cap, sizeof(*h->node));
	n->at_ns = at_ns;
	n->order = h->next_order++;
	h->len++;
	heap_up(h, n, h->len - 1);
}

void
heap_remove(struct heap *h, struct heap_node *n)
{
	const size_t pos = n->pos;
	struct heap_node *last;

	if (pos == HEAP_OUT)
		return;
	ASSERT(pos < h->len && h->node[pos] == n);
	n->pos = HEAP_OUT;
	last = h->node[--h->len];
	if (last == n)
		return;
	/* The last one fills the gap; it may belong above or below. */
	if (pos > 0 && heap_before(last, h->node[(pos - 1) / 2]))
		heap_up(h, last, pos);
	else
		heap_down(h, last, pos);
}

struct heap_node *
heap_first(const struct heap *h)
{
	return h->len > 0 ? h->node[0] : NULL;
}
