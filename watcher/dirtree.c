/*
 * The watched directories; see dirtree.h.
 *
 * Nodes lie in one array and name each other by index; two chained hash tables
 * find them by wd and by (parent, name).  Names lie in one pool that is written
 * anew when more than half of it is no longer used.
 */
#include "watcher/dirtree.h"

#include "engine/base/assert.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define NONE DIRTREE_NONE
#define DIRTREE_MIN 64u /* buckets */

struct node {
	int wd;                      /* -1: none */
	uint32_t parent;             /* NONE: a root, or free */
	uint32_t first;              /* child */
	uint32_t next, prev;         /* siblings; next: free list */
	uint32_t wd_next, name_next; /* hash chains */
	uint32_t name;               /* in the pool; a root: the folder */
	uint16_t name_len;
	bool root, live;
};

struct dirtree {
	VEC(struct node) node;
	uint32_t free;
	uint32_t live, watched;
	uint32_t *by_wd, *by_name;
	uint32_t buckets; /* a power of two */
	uint64_t seed;
	struct buf names;
	size_t names_dead;
	VEC(int) dead;
};

struct dirtree *
dirtree_new(uint64_t hash_seed)
{
	struct dirtree *t = mem_zalloc(sizeof(*t));

	t->seed = hash_seed;
	t->free = NONE;
	t->buckets = DIRTREE_MIN;
	t->by_wd = mem_alloc(t->buckets * sizeof(*t->by_wd));
	t->by_name = mem_alloc(t->buckets * sizeof(*t->by_name));
	memset(t->by_wd, 0xff, t->buckets * sizeof(*t->by_wd));
	memset(t->by_name, 0xff, t->buckets * sizeof(*t->by_name));
	return t;
}

void
dirtree_free(struct dirtree *t)
{
	if (t == NULL)
		return;
	VEC_FINI(&t->node);
	VEC_FINI(&t->dead);
	buf_fini(&t->names);
	mem_free(t->by_wd);
	mem_free(t->by_name);
	mem_free(t);
}

static struct node *
tree_node(const struct dirtree *t, uint32_t i)
{
	ASSERT(i < t->node.len);
	return &t->node.item[i];
}

static struct slice
tree_name(const struct dirtree *t, const struct node *n)
{
	return n->root ? SLICE_EMPTY
		       : slice_of(t->names.ptr + n->name, n->name_len);
}

static uint32_t
tree_wd_bucket(const struct dirtree *t, int wd)
{
	return ((uint32_t)wd * UINT32_C(2654435761)) >> 7 & (t->buckets - 1);
}

static uint32_t
tree_name_bucket(const struct dirtree *t, uint32_t parent, struct slice name)
{
	return (uint32_t)hash_u64_seed(name, t->seed ^ parent) &
	       (t->buckets - 1);
}

/* ---- the two tables ---- */

static void
tree_link_wd(struct dirtree *t, uint32_t i)
{
	uint32_t *head = &t->by_wd[tree_wd_bucket(t, tree_node(t, i)->wd)];

	tree_node(t, i)->wd_next = *head;
	*head = i;
}

static void
tree_link_name(struct dirtree *t, uint32_t i)
{
	struct node *n = tree_node(t, i);
	uint32_t *head =
	    &t->by_name[tree_name_bucket(t, n->parent, tree_name(t, n))];

	n->name_next = *head;
	*head = i;
}

static void
tree_unlink_wd(struct dirtree *t, uint32_t i)
{
	uint32_t *at = &t->by_wd[tree_wd_bucket(t, tree_node(t, i)->wd)];

	while (*at != i)
		at = &tree_node(t, *at)->wd_next;
	*at = tree_node(t, i)->wd_next;
}

static void
tree_unlink_name(struct dirtree *t, uint32_t i)
{
	const struct node *n = tree_node(t, i);
	uint32_t *at =
	    &t->by_name[tree_name_bucket(t, n->parent, tree_name(t, n))];

	while (*at != i)
		at = &tree_node(t, *at)->name_next;
	*at = n->name_next;
}

static void
tree_grow(struct dirtree *t)
{
	const uint32_t buckets = t->buckets * 2;

	t->by_wd = mem_resize(t->by_wd, buckets * sizeof(*t->by_wd));
	t->by_name = mem_resize(t->by_name, buckets * sizeof(*t->by_name));
	memset(t->by_wd, 0xff, buckets * sizeof(*t->by_wd));
	memset(t->by_name, 0xff, buckets * sizeof(*t->by_name));
	t->buckets = buckets;
	for (uint32_t i = 0; i < t->node.len; i++) {
		const struct node *n = &t->node.item[i];

		if (n->live && n->wd >= 0)
			tree_link_wd(t, i);
		if (n->live && !n->root)
			tree_link_name(t, i);
	}
}

/* ---- names ---- */

static void
tree_pack_names(struct dirtree *t)
{
	struct buf fresh = { 0 };

	buf_reserve(&fresh, t->names.len - t->names_dead);
	for (uint32_t i = 0; i < t->node.len; i++) {
		struct node *n = &t->node.item[i];
		const uint32_t at = (uint32_t)fresh.len;

		if (!n->live || n->root)
			continue;
		buf_put(&fresh, tree_name(t, n));
		n->name = at;
	}
	buf_fini(&t->names);
	t->names = fresh;
	t->names_dead = 0;
}

static void
tree_set_name(struct dirtree *t, uint32_t i, struct slice name)
{
	struct node *n = tree_node(t, i);

	n->name = (uint32_t)t->names.len;
	n->name_len = (uint16_t)name.len;
	buf_put(&t->names, name);
}

static void
tree_drop_name(struct dirtree *t, uint32_t i)
{
	t->names_dead += tree_node(t, i)->name_len;
	tree_node(t, i)->name_len = 0;
}

/* ---- the tree ---- */

static uint32_t
tree_take_node(struct dirtree *t)
{
	uint32_t i = t->free;

	/* Before: a node without a name yet must not be linked by it. */
	if (++t->live > t->buckets)
		tree_grow(t);
	if (i != NONE) {
		t->free = tree_node(t, i)->next;
	} else {
		i = (uint32_t)t->node.len;
		(void)VEC_ADD(&t->node);
	}
	memset(tree_node(t, i), 0, sizeof(struct node));
	tree_node(t, i)->wd = -1;
	tree_node(t, i)->parent = NONE;
	tree_node(t, i)->first = NONE;
	tree_node(t, i)->next = NONE;
	tree_node(t, i)->prev = NONE;
	tree_node(t, i)->live = true;
	return i;
}

static void
tree_join(struct dirtree *t, uint32_t i, uint32_t parent)
{
	struct node *n = tree_node(t, i), *p = tree_node(t, parent);

	n->parent = parent;
	n->prev = NONE;
	n->next = p->first;
	if (p->first != NONE)
		tree_node(t, p->first)->prev = i;
	p->first = i;
	tree_link_name(t, i);
}

static void
tree_leave(struct dirtree *t, uint32_t i)
{
	struct node *n = tree_node(t, i);

	tree_unlink_name(t, i);
	if (n->prev != NONE)
		tree_node(t, n->prev)->next = n->next;
	else
		tree_node(t, n->parent)->first = n->next;
	if (n->next != NONE)
		tree_node(t, n->next)->prev = n->prev;
}

static void
tree_clear_wd(struct dirtree *t, uint32_t i)
{
	if (tree_node(t, i)->wd < 0)
		return;
	tree_unlink_wd(t, i);
	tree_node(t, i)->wd = -1;
	t->watched--;
}

/* A node without children leaves for good. */
static void
tree_release(struct dirtree *t, uint32_t i)
{
	struct node *n = tree_node(t, i);

	ASSERT(n->first == NONE);
	tree_clear_wd(t, i);
	if (!n->root) {
		tree_leave(t, i);
		tree_drop_name(t, i);
	}
	n->live = false;
	n->next = t->free;
	t->free = i;
	t->live--;
}

/* Nodes that are there for nobody leave, upwards. */
static void
tree_prune(struct dirtree *t, uint32_t i)
{
	while (i != NONE) {
		const struct node *n = tree_node(t, i);
		const uint32_t parent = n->parent;

		if (n->root || n->wd >= 0 || n->first != NONE)
			return;
		tree_release(t, i);
		i = parent;
	}
}

uint32_t
dirtree_add_root(struct dirtree *t, uint32_t folder)
{
	const uint32_t i = tree_take_node(t);

	tree_node(t, i)->root = true;
	tree_node(t, i)->name = folder;
	return i;
}

uint32_t
dirtree_find(const struct dirtree *t, int wd)
{
	uint32_t i;

	if (wd < 0)
		return NONE;
	i = t->by_wd[tree_wd_bucket(t, wd)];
	while (i != NONE && tree_node(t, i)->wd != wd)
		i = tree_node(t, i)->wd_next;
	return i;
}

uint32_t
dirtree_child(const struct dirtree *t, uint32_t parent, struct slice name)
{
	uint32_t i = t->by_name[tree_name_bucket(t, parent, name)];

	while (
	    i != NONE && (tree_node(t, i)->parent != parent ||
			     !slice_equal(tree_name(t, tree_node(t, i)), name)))
		i = tree_node(t, i)->name_next;
	return i;
}

uint32_t
dirtree_folder(const struct dirtree *t, uint32_t node)
{
	while (!tree_node(t, node)->root)
		node = tree_node(t, node)->parent;
	return tree_node(t, node)->name;
}

bool
dirtree_is_root(const struct dirtree *t, uint32_t node)
{
	return tree_node(t, node)->root;
}

void
dirtree_path(const struct dirtree *t, uint32_t node, struct buf *out)
{
	size_t len = 0, at;

	for (uint32_t i = node; !tree_node(t, i)->root;
	     i = tree_node(t, i)->parent)
		len += tree_node(t, i)->name_len + 1u;
	if (len == 0)
		return;
	len--; /* no '/' in front */
	at = out->len + len;
	(void)buf_extend(out, len);
	for (uint32_t i = node; !tree_node(t, i)->root;
	     i = tree_node(t, i)->parent) {
		const struct slice name = tree_name(t, tree_node(t, i));

		at -= name.len;
		memcpy(out->ptr + at, name.ptr, name.len);
		if (!tree_node(t, tree_node(t, i)->parent)->root)
			out->ptr[--at] = '/';
	}
}

static uint32_t
tree_make_child(struct dirtree *t, uint32_t parent, struct slice name)
{
	uint32_t i = dirtree_child(t, parent, name);

	if (i != NONE)
		return i;
	i = tree_take_node(t);
	tree_set_name(t, i, name);
	tree_join(t, i, parent);
	return i;
}

uint32_t
dirtree_put(struct dirtree *t, uint32_t root, struct slice path, int wd)
{
	uint32_t i = root, old;

	ASSERT(wd >= 0);
	while (path.len > 0) {
		const size_t slash = slice_find(path, '/');
		const size_t len = slash == SIZE_MAX ? path.len : slash;

		i = tree_make_child(t, i, slice_to(path, len));
		path = slice_from(path, slash == SIZE_MAX ? len : len + 1);
	}
	old = dirtree_find(t, wd);
	if (old == i)
		return i;
	/* The same directory under another path: it moved unseen. */
	if (old != NONE)
		tree_clear_wd(t, old);
	if (tree_node(t, i)->wd >= 0) {
		*VEC_ADD(&t->dead) = tree_node(t, i)->wd;
		tree_clear_wd(t, i);
	}
	tree_node(t, i)->wd = wd;
	t->watched++;
	tree_link_wd(t, i);
	if (old != NONE)
		tree_prune(t, old);
	return i;
}

/* `node` and all below it, children first; the parent stays. */
static void
tree_remove(struct dirtree *t, uint32_t node)
{
	uint32_t i = node;

	for (;;) { /* down to a leaf, remove it, up again: no recursion */
		const uint32_t first = tree_node(t, i)->first;
		uint32_t up;

		if (first != NONE) {
			i = first;
			continue;
		}
		up = tree_node(t, i)->parent;
		if (tree_node(t, i)->wd >= 0)
			*VEC_ADD(&t->dead) = tree_node(t, i)->wd;
		tree_release(t, i);
		if (i == node)
			break;
		i = up;
	}
	if (t->names_dead > t->names.len / 2 && t->names.len > 4096)
		tree_pack_names(t);
}

void
dirtree_remove(struct dirtree *t, uint32_t node)
{
	const uint32_t parent = tree_node(t, node)->parent;

	tree_remove(t, node);
	tree_prune(t, parent);
}

/* Is `node` `above` or below it? */
static bool
tree_is_below(const struct dirtree *t, uint32_t node, uint32_t above)
{
	while (node != NONE && node != above)
		node = tree_node(t, node)->parent;
	return node == above;
}

void
dirtree_move(struct dirtree *t, uint32_t node, uint32_t parent,
    struct slice name)
{
	const uint32_t there = dirtree_child(t, parent, name);
	const uint32_t from = tree_node(t, node)->parent;

	if (there == node || tree_is_below(t, parent, node))
		return; /* our picture is wrong; the next listing mends it */
	if (there != NONE)
		tree_remove(t, there);
	tree_leave(t, node);
	tree_drop_name(t, node);
	tree_set_name(t, node, name);
	tree_join(t, node, parent);
	tree_prune(t, from);
	if (t->names_dead > t->names.len / 2 && t->names.len > 4096)
		tree_pack_names(t);
}

void
dirtree_unwatch(struct dirtree *t, int wd)
{
	const uint32_t i = dirtree_find(t, wd);

	if (i == NONE)
		return;
	tree_clear_wd(t, i);
	tree_prune(t, i);
}

int
dirtree_dead(struct dirtree *t)
{
	if (t->dead.len == 0)
		return -1;
	return t->dead.item[--t->dead.len];
}

uint32_t
dirtree_count(const struct dirtree *t)
{
	return t->watched;
}

size_t
dirtree_held(const struct dirtree *t)
{
	return sizeof(*t) + t->node.cap * sizeof(struct node) + t->names.cap +
	       t->dead.cap * sizeof(int) +
	       2 * (size_t)t->buckets * sizeof(uint32_t);
}
