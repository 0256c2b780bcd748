/*
 * Intrusive doubly linked lists.  Put a struct list_node inside your struct;
 * LIST_ITEM() finds the struct from the node.
 */
#ifndef HOLDFAST_BASE_LIST_H
#define HOLDFAST_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
	struct list_node *prev, *next; /* both NULL while in no list */
};

struct list {
	struct list_node head; /* a ring; list_init() before use */
	size_t count;
};

#define LIST_ITEM(node, type, member)                                          \
	((type *)(void *)((char *)(node)-offsetof(type, member)))

void list_init(struct list *l);
void list_add(struct list *l, struct list_node *n); /* at the end */
void list_add_first(struct list *l, struct list_node *n);
void list_remove(struct list *l, struct list_node *n);
bool list_has(const struct list_node *n);           /* is it in a list? */
struct list_node *list_first(const struct list *l); /* NULL when empty */
struct list_node *list_next(const struct list *l, const struct list_node *n);

#endif
