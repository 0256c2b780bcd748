/*
 * Items: their memory.  See item.h.
 */
#include "engine/item.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"

static void *
item_take(struct item *it, void *p)
{
	*VEC_ADD(&it->mem) = p;
	return p;
}

void *
item_own_zeroed(struct item *it, size_t len)
{
	return item_take(it, mem_zalloc(len));
}

struct slice
item_own(struct item *it, struct slice s)
{
	if (s.len == 0)
		return SLICE_EMPTY;
	return slice_of(item_take(it, mem_dup(s.ptr, s.len)), s.len);
}

struct version
item_own_version(struct item *it, struct version v)
{
	const size_t len = v.count * sizeof(*v.counter);

	if (v.count == 0)
		return (struct version){ 0 };
	return (struct version){
		.counter = item_take(it, mem_dup(v.counter, len)),
		.count = v.count,
	};
}

struct entry
item_own_entry(struct item *it, const struct entry *e,
    const struct digest *block)
{
	struct entry out = *e;

	out.name =
	    slice_equal(e->name, it->path) ? it->path : item_own(it, e->name);
	out.link_target = item_own(it, e->link_target);
	out.platform = item_own(it, e->platform);
	out.version = item_own_version(it, e->version);
	out.block = NULL;
	if (e->block_count > 0 && block != NULL)
		out.block = item_take(it,
		    mem_dup(block, e->block_count * sizeof(*block)));
	return out;
}

struct item *
item_new(struct pull *pl, enum item_kind kind, struct slice path)
{
	struct item *it = mem_zalloc(sizeof(*it));

	it->pl = pl;
	it->kind = kind;
	it->path = item_own(it, path);
	list_init(&it->held);
	list_init(&it->asks);
	return it;
}

void
item_free(struct item *it)
{
	ASSERT(it->ops == 0);
	ASSERT(it->asks.count == 0);
	ASSERT(it->held.count == 0);
	ASSERT(!list_has(&it->node));
	for (size_t i = 0; i < it->mem.len; i++)
		mem_free(it->mem.item[i]);
	VEC_FINI(&it->mem);
	mem_free(it->block);
	mem_free(it);
}

const char *
item_action(const struct item *it)
{
	switch (it->kind) {
	case ITEM_FILE:
	case ITEM_LINK:
	case ITEM_DIR:
		return "update";
	case ITEM_META:
		return "meta";
	case ITEM_REMOVE:
	case ITEM_RMDIR:
		return "delete";
	case ITEM_MOVE:
	case ITEM_MOVE_DIR:
		return "move";
	}
	return "";
}
