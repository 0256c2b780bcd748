/*
 * The sums of the index: what each row adds to what status tells.
 *
 * A row that changes is taken out as it was and put in as it is, so that sums
 * never cost a walk.  They are kept of this device, of the global versions, and
 * of what each device has of those.
 */
#include "engine/index_impl.h"

#include "engine/base/assert.h"
#include "engine/conflict.h"

static enum index_kind
kind_of(const struct entry *e)
{
	if (e->deleted)
		return KIND_DELETED;
	switch (e->type) {
	case ENTRY_FILE:
		return KIND_FILE;
	case ENTRY_DIR:
		return KIND_DIR;
	case ENTRY_LINK:
		return KIND_LINK;
	}
	ASSERT(false);
	return KIND_NONE;
}

static int64_t
bytes_of(const struct entry *e)
{
	return !e->deleted && e->type == ENTRY_FILE ? e->size : 0;
}

/* Does this device have to do something to get the valid version `g`? */
static bool
row_needs(const struct row *row, const struct row_version *g)
{
	const struct row_version *local = row_local(row);

	if (local == g || (row->flags & ROW_IGNORED) != 0)
		return false;
	/* A deletion of what we never had is of use to those who still have it
	 * and hear of it by us alone: we take it over to pass it on. */
	if (local == NULL)
		return !g->entry.deleted || row->seq != 0 || row_is_alive(row);
	/*
	 * Two devices deleted it, each in its own way: there is nothing to do
	 * on disk, but a Syncthing counts us as behind until we say the same.
	 */
	return (row->flags & ROW_LOCAL_CHANGED) == 0 ||
	       !version_covers(local->entry.version, g->entry.version);
}

/* Who still has something where the global version is a deletion. */
static void
sum_deletes(const struct row *row, struct index_sums *out)
{
	for (uint32_t i = 1; i < row->version_count; i++) {
		if (!row->version[i].entry.deleted)
			devset_join(&out->delete, &row->version[i].holders);
	}
	devset_remove(&out->delete, ROW_SELF);
	if (out->need)
		devset_add(&out->delete, ROW_SELF);
}

void
index_impl_sum(const struct row *row, struct index_sums *out)
{
	const struct row_version *local = row_local(row);
	const struct row_version *g = row_global(row);

	*out = (struct index_sums){ 0 };
	out->changed = (row->flags & ROW_LOCAL_CHANGED) != 0;
	if (local != NULL &&
	    (row->flags & (ROW_IGNORED | ROW_UNSUPPORTED)) == 0) {
		out->local = kind_of(&local->entry);
		out->local_bytes = bytes_of(&local->entry);
		out->conflict = conflict_is_copy(row);
	}
	if (g == NULL || devset_is_empty(&g->holders))
		return;
	out->global = kind_of(&g->entry);
	out->global_bytes = bytes_of(&g->entry);
	out->need = row_needs(row, g);
	if (out->global == KIND_DELETED) {
		sum_deletes(row, out);
		return;
	}
	out->have = g->holders;
	devset_join(&out->have, &g->shadows);
	if (!out->need)
		devset_add(&out->have, ROW_SELF);
}

static void
totals_add(struct totals *t, enum index_kind kind, int64_t bytes, int64_t sign)
{
	switch (kind) {
	case KIND_NONE:
		break;
	case KIND_FILE:
		t->files += sign;
		break;
	case KIND_DIR:
		t->dirs += sign;
		break;
	case KIND_LINK:
		t->links += sign;
		break;
	case KIND_DELETED:
		t->deleted += sign;
		break;
	}
	t->bytes += sign * bytes;
}

void
index_impl_add_sums(struct index *ix, const struct index_sums *s, int64_t sign)
{
	struct devset have = s->have, delete = s->delete;
	int32_t slot;

	totals_add(&ix->local, s->local, s->local_bytes, sign);
	totals_add(&ix->global, s->global, s->global_bytes, sign);
	ix->changed += s->changed ? sign : 0;
	ix->conflicts += s->conflict ? sign : 0;
	while ((slot = devset_take(&have)) >= 0) {
		ix->slot.item[slot].share.items += sign;
		ix->slot.item[slot].share.bytes += sign * s->global_bytes;
		ix->slot.item[slot].dirty = true;
	}
	while ((slot = devset_take(&delete)) >= 0) {
		ix->slot.item[slot].share.deletes += sign;
		ix->slot.item[slot].dirty = true;
	}
}
