/*
 * A binary min-heap of timers: (at_ns, pointer).  Ties leave in the order they
 * were added.  Intrusive position, so that removal is O(log n).
 */
#ifndef HOLDFAST_BASE_HEAP_H
#define HOLDFAST_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

#define HEAP_OUT SIZE_MAX

struct heap_node {
	uint64_t at_ns;
	uint64_t order; /* set by heap_add() */
	size_t pos;     /* HEAP_OUT while in no heap; set before first use */
};

struct heap { /* {0} is a valid empty heap */
	struct heap_node **node;
	size_t len, cap;
	uint64_t next_order;
};

void heap_fini(struct heap *h);
void heap_add(struct heap *h, struct heap_node *n, uint64_t at_ns);
void heap_remove(struct heap *h, struct heap_node *n); /* no-op when out */
struct heap_node *heap_first(const struct heap *h);    /* NULL when empty */

#endif
