/*
 * Lists are rings through the head, so nothing here has a special case.
 */
#include "engine/base/list.h"

#include "engine/base/assert.h"

static void
list_link(struct list_node *prev, struct list_node *n)
{
	n->prev = prev;
	n->next = prev->next;
	prev->next->prev = n;
	prev->next = n;
}

void
list_init(struct list *l)
{
	l->head.prev = &l->head;
	l->head.next = &l->head;
	l->count = 0;
}

void
list_add(struct list *l, struct list_node *n)
{
	ASSERT(!list_has(n));
	list_link(l->head.prev, n);
	l->count++;
}

void
list_add_first(struct list *l, struct list_node *n)
{
	ASSERT(!list_has(n));
	list_link(&l->head, n);
	l->count++;
}

void
list_remove(struct list *l, struct list_node *n)
{
	ASSERT(list_has(n));
	ASSERT(l->count > 0);
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->prev = NULL;
	n->next = NULL;
	l->count--;
}

bool
list_has(const struct list_node *n)
{
	return n->next != NULL;
}

struct list_node *
list_first(const struct list *l)
{
	return l->head.next != &l->head ? l->head.next : NULL;
}

struct list_node *
list_next(const struct list *l, const struct list_node *n)
{
	return n->next != &l->head ? n->next : NULL;
}
