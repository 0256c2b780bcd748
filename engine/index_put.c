/*
 * Changing rows.
 *
 * Every change goes the same way: load the row and take its sums, change the
 * list of versions in memory, settle it (drop what nobody has, bound it, put
 * the winner first), then write what differs: the row, its sequence, its need,
 * the places of its blocks, the users of block lists, the sums.
 */
#include "engine/index.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mutant.h"
#include "engine/global.h"
#include "engine/index_impl.h"

/* What the caller of a put may say of it. */
#define PUT_FLAGS                                                              \
	((uint32_t)(ROW_LOCAL_CHANGED | ROW_IGNORED | ROW_UNSUPPORTED))
#define PUT_DROPS 4u /* versions one put can replace or drop, at most */

struct put {
	struct index *ix;
	struct schema_key key;
	struct arena_mark mark;
	struct row row;
	bool existed;
	uint64_t owner;
	/* As it was. */
	struct index_sums sums;
	uint64_t old_seq, old_owner;
	uint64_t old_counter; /* of this device, in what it had */
	bool old_placed;
	struct row_version old_local; /* when old_placed */
	/* Lists that lost a user; dropped last, for their hashes are read. */
	struct digest dropped[PUT_DROPS];
	uint32_t dropped_count;
};

/* Slots named by a damaged row would lead out of the array. */
static bool
row_slots_exist(const struct index *ix, const struct row *row)
{
	for (uint32_t i = 0; i < row->version_count; i++) {
		const struct row_version *v = &row->version[i];

		for (uint32_t w = 0; w < DEVSET_WORDS; w++) {
			const uint64_t all =
			    v->holders.word[w] | v->shadows.word[w];

			if (all != 0 &&
			    w * 64u + 63u - (uint32_t)__builtin_clzll(all) >=
				ix->slot.len)
				return false;
		}
	}
	return true;
}

/* Opening */

/* Is the content of the local version on this disk, to be read from? */
static bool
row_is_placed(const struct row *row)
{
	const struct row_version *local = row_local(row);

	return local != NULL && local->entry.block_count > 0 &&
	       local->entry.type == ENTRY_FILE && !local->entry.deleted &&
	       (row->flags & (ROW_IGNORED | ROW_UNSUPPORTED)) == 0;
}

/* This device's counter in the version it has. */
static uint64_t
put_counter(const struct put *p)
{
	const struct row_version *local = row_local(&p->row);

	return local == NULL
		   ? 0
		   : version_counter(local->entry.version,
			 devid_short(&p->ix->slot.item[ROW_SELF].dev));
}

static bool
put_open(struct put *p, struct index *ix, struct slice path)
{
	struct row *row;
	struct err err = { 0 };

	ASSERT(path.len > 0 && path.len <= LIMIT_PATH_LEN);
	p->ix = ix;
	p->dropped_count = 0;
	p->owner = 0;
	p->mark = arena_mark(&ix->scratch);
	if (!index_impl_is_sound(ix))
		return false;
	schema_path_key(path, &p->key);
	row =
	    index_impl_load(ix, schema_slice(&p->key), &p->owner, &ix->scratch);
	if (row != NULL &&
	    (!row_slots_exist(ix, row) || !slice_equal(row->path, path))) {
		err_set(&err, ERR_CORRUPT, "row of another path or device");
		index_impl_fail(ix, &err);
	}
	if (!index_impl_is_sound(ix)) {
		arena_reset(&ix->scratch, p->mark);
		return false;
	}
	p->existed = row != NULL;
	if (row != NULL)
		p->row = *row;
	else
		p->row = (struct row){ .path = path,
			.version = arena_alloc(&ix->scratch,
			    2 * sizeof(*p->row.version)),
			.local = -1,
			.global = -1 };
	p->old_counter = put_counter(p);
	p->old_seq = p->row.seq;
	p->old_owner = p->owner;
	p->old_placed = row_is_placed(&p->row);
	if (p->old_placed)
		p->old_local = *row_local(&p->row);
	index_impl_sum(&p->row, &p->sums);
	return true;
}

/* Changing the list of versions */

static bool
has_same_content(const struct entry *a, const struct entry *b)
{
	if (a->deleted || b->deleted)
		return a->deleted && b->deleted;
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case ENTRY_FILE:
		if (a->size != b->size || a->block_count != b->block_count)
			return false;
		if (a->block_count == 0)
			return true;
		if (a->block_size != b->block_size)
			return false;
		return a->block_count == 1
			   ? digest_equal(a->block, b->block)
			   : digest_equal(&a->blocks_hash, &b->blocks_hash);
	case ENTRY_DIR:
		return true;
	case ENTRY_LINK:
		return slice_equal(a->link_target, b->link_target);
	}
	return false;
}

/* The version's content goes; its list loses a user. */
static void
put_drop_list(struct put *p, const struct row_version *v)
{
	if (v->entry.block_count <= 1)
		return;
	ASSERT(p->dropped_count < PUT_DROPS);
	p->dropped[p->dropped_count++] = v->entry.blocks_hash;
}

static void
put_drop(struct put *p, uint32_t i)
{
	struct row *row = &p->row;

	put_drop_list(p, &row->version[i]);
	row->version[i] = row->version[--row->version_count];
}

/* Take the device out of the version it is in, and that out if it was all. */
static void
put_leave(struct put *p, uint32_t slot)
{
	struct row *row = &p->row;

	for (uint32_t i = 0; i < row->version_count; i++) {
		struct row_version *v = &row->version[i];

		if (!devset_has(&v->holders, slot) &&
		    !devset_has(&v->shadows, slot))
			continue;
		devset_remove(&v->holders, slot);
		devset_remove(&v->shadows, slot);
		if (devset_is_empty(&v->holders) &&
		    devset_is_empty(&v->shadows))
			put_drop(p, i);
		return;
	}
}

static struct row_version *
put_find(struct put *p, struct version version)
{
	for (uint32_t i = 0; i < p->row.version_count; i++) {
		if (version_equal(p->row.version[i].entry.version, version))
			return &p->row.version[i];
	}
	return NULL;
}

/* The entry as it stands in a row. */
static void
put_set_entry(struct put *p, struct row_version *v, const struct entry *e)
{
	index_impl_use_list(p->ix, e);
	v->entry = *e;
	v->entry.name = p->row.path;
	v->entry.sequence = 0;
	v->entry.invalid = false;
}

static struct row_version *
put_add(struct put *p, const struct entry *e)
{
	struct row_version *v = &p->row.version[p->row.version_count++];

	*v = (struct row_version){ 0 };
	put_set_entry(p, v, e);
	return v;
}

static void
put_replace(struct put *p, struct row_version *v, const struct entry *e)
{
	put_drop_list(p, v);
	put_set_entry(p, v, e);
}

/* Too many: drop what is dominated, then the least; never what we have. */
static void
put_bound(struct put *p)
{
	struct row *row = &p->row;
	const int32_t best = global_pick(row->version, row->version_count);
	int32_t victim = -1;
	bool victim_old = false;

	for (uint32_t i = 0; i < row->version_count; i++) {
		const struct row_version *v = &row->version[i];
		bool old = false;

		if ((int32_t)i == best || devset_has(&v->holders, ROW_SELF) ||
		    devset_has(&v->shadows, ROW_SELF))
			continue;
		for (uint32_t j = 0; j < row->version_count && !old; j++)
			old =
			    version_compare(v->entry.version,
				row->version[j].entry.version) == VERSION_OLDER;
		if (victim < 0 || (old && !victim_old) ||
		    (old == victim_old &&
			global_beats(&row->version[victim], v))) {
			victim = (int32_t)i;
			victim_old = old;
		}
	}
	ASSERT(victim >= 0);
	put_drop(p, (uint32_t)victim);
}

/* Closing */

/* The winner first, and where this device is. */
static void
put_settle(struct put *p)
{
	struct row *row = &p->row;
	int32_t best;

	while (row->version_count > LIMIT_ROW_VERSIONS)
		put_bound(p);
	best = global_pick(row->version, row->version_count);
	if (best > 0) {
		const struct row_version first = row->version[0];

		row->version[0] = row->version[best];
		row->version[best] = first;
	}
	row->global = best < 0 ? -1 : 0;
	row->local = -1;
	for (uint32_t i = 0; i < row->version_count; i++) {
		if (devset_has(&row->version[i].holders, ROW_SELF) ||
		    devset_has(&row->version[i].shadows, ROW_SELF))
			row->local = (int32_t)i;
	}
}

static bool
put_read_blocks(struct put *p, const struct entry *e, struct index_blocks *out)
{
	struct err err = { 0 };

	out->count = e->block_count;
	out->block_size = e->block_size;
	/* What came with this put is at hand; the rest is in the store. */
	out->hash = e->block;
	if (out->hash == NULL)
		out->hash = index_impl_blocks(p->ix, e, &p->ix->scratch, &err);
	if (out->hash != NULL)
		return true;
	index_impl_fail(p->ix, &err);
	return false;
}

static void
put_places(struct put *p)
{
	const bool placed = row_is_placed(&p->row);
	struct index_blocks old = { 0 }, now = { 0 };

	if (placed && p->old_placed &&
	    has_same_content(&row_local(&p->row)->entry, &p->old_local.entry))
		return;
	if (p->old_placed && !put_read_blocks(p, &p->old_local.entry, &old))
		return;
	if (placed) {
		if (!put_read_blocks(p, &row_local(&p->row)->entry, &now))
			return;
		if (p->owner == 0)
			p->owner = p->row.seq;
	}
	if (!placed && !p->old_placed)
		return;
	index_impl_places(p->ix, p->owner, &old, &now);
	if (!placed)
		p->owner = 0;
}

/* STORE_SEQ leads here from the sequence and from the owner's number. */
static void
put_seqs(struct put *p)
{
	const uint64_t old[2] = { p->old_seq, p->old_owner };
	const uint64_t now[2] = { p->row.seq, p->owner };
	struct schema_key key;

	for (unsigned i = 0; i < 2; i++) {
		if (old[i] == 0 || old[i] == now[0] || old[i] == now[1])
			continue;
		if (i == 1 && old[1] == old[0])
			continue;
		schema_u64_key(old[i], &key);
		store_remove(p->ix->st, STORE_SEQ, schema_slice(&key));
	}
	for (unsigned i = 0; i < 2; i++) {
		if (now[i] == 0 || now[i] == old[0] || now[i] == old[1])
			continue;
		if (i == 1 && now[1] == now[0])
			continue;
		schema_u64_key(now[i], &key);
		store_put(p->ix->st, STORE_SEQ, schema_slice(&key),
		    schema_slice(&p->key));
	}
}

static void
put_need(struct put *p, const struct index_sums *now)
{
	const bool was_deletion = p->sums.global == KIND_DELETED;
	const bool is_deletion = now->global == KIND_DELETED;
	const uint8_t flags = is_deletion ? 1 : 0;

	if (p->sums.need == now->need &&
	    (!now->need || was_deletion == is_deletion))
		return;
	if (now->need)
		store_put(p->ix->st, STORE_NEED, schema_slice(&p->key),
		    slice_of(&flags, 1));
	else
		store_remove(p->ix->st, STORE_NEED, schema_slice(&p->key));
}

static void
put_row(struct put *p)
{
	struct index *ix = p->ix;

	if (p->row.version_count == 0) {
		if (p->existed)
			store_remove(ix->st, STORE_ROW, schema_slice(&p->key));
		return;
	}
	buf_clear(&ix->rec);
	schema_row_encode(&p->row, p->owner, schema_slice(&p->key), &ix->rec);
	store_put(ix->st, STORE_ROW, schema_slice(&p->key),
	    buf_slice(&ix->rec));
	ix->used = true;
}

/* Leave everything as it was. */
static void
put_cancel(struct put *p)
{
	arena_reset(&p->ix->scratch, p->mark);
}

static void
put_close(struct put *p)
{
	struct index *ix = p->ix;
	struct index_sums now;

	put_settle(p);
	if (p->row.version_count == 0)
		p->row.seq = 0; /* the row goes */
	put_places(p);
	if (ix->err.code != 0) {
		put_cancel(p);
		return;
	}
	index_impl_sum(&p->row, &now);
	index_impl_add_sums(ix, &p->sums, -1);
	index_impl_add_sums(ix, &now, 1);
	put_seqs(p);
	put_need(p, &now);
	put_row(p);
	for (uint32_t i = 0; i < p->dropped_count; i++)
		index_impl_drop_list(ix, &p->dropped[i]);
	ix->dirty = true;
	if (put_counter(p) < p->old_counter)
		index_impl_spend(ix, p->old_counter);
	arena_reset(&ix->scratch, p->mark);
}

/* This device's word */

/* Ours is valid, others say something else of the same version. */
static void
put_overrule(struct put *p, struct row_version *v, const struct entry *e)
{
	if (!devset_is_empty(&v->holders))
		p->row.flags |= ROW_EQUIVOCAL;
	devset_join(&v->shadows, &v->holders);
	v->holders = (struct devset){ 0 };
	put_replace(p, v, e);
}

static void
put_own(struct put *p, const struct entry *e, uint32_t flags)
{
	struct row_version *v = put_find(p, e->version);
	const bool same = v == NULL || has_same_content(&v->entry, e);
	struct entry own = *e;

	if (!same && (flags & ROW_LOCAL_CHANGED) != 0) {
		own.version = (struct version){ 0 };
		v = put_find(p, own.version);
		if (v != NULL)
			put_overrule(p, v, &own);
	} else if (!same && (flags & PUT_FLAGS) == 0) {
		put_overrule(p, v, &own);
	}
	if (v == NULL)
		v = put_add(p, &own);
	devset_add((flags & PUT_FLAGS) != 0 ? &v->shadows : &v->holders,
	    ROW_SELF);
}

/* Is `e`, which has not seen ours, what all come to who put the two together?
 */
static bool
put_yields(const struct entry *ours, const struct entry *e)
{
	if (ours->deleted)
		return !MUTANT(MUTANT_DELETION_DROPPED);
	return !e->deleted &&
	       version_compare(ours->version, e->version) ==
		   VERSION_CONCURRENT &&
	       global_wins_tie(e, ours) && !MUTANT(MUTANT_LOSER_FORGOTTEN);
}

/*
 * What we deleted we go on knowing, whatever comes there instead that had not
 * seen it: we may be the only one who can tell those that still have it.  And
 * so we do of what we had, when it loses to an edit: who still has what ours
 * was made from must not take that for the later one.
 */
static struct version
put_above_ours(const struct put *p, const struct entry *e, uint32_t flags)
{
	const struct row_version *ours = row_local(&p->row);

	if (ours == NULL || ((flags | p->row.flags) & PUT_FLAGS) != 0 ||
	    !put_yields(&ours->entry, e))
		return e->version;
	return version_merge(e->version, ours->entry.version, &p->ix->scratch);
}

void
index_put_local(struct index *ix, const struct entry *e,
    const struct identity *seen, uint32_t flags)
{
	struct entry own = *e;
	struct put p;

	ASSERT((flags & ~PUT_FLAGS) == 0);
	ASSERT(e->block_count == 0 || e->block != NULL);
	if (!put_open(&p, ix, e->name))
		return;
	own.version = put_above_ours(&p, e, flags);
	put_leave(&p, ROW_SELF);
	p.row.flags = flags;
	if (p.row.seq == 0 || !MUTANT(MUTANT_SEQUENCE_REUSED))
		p.row.seq = ++ix->seq;
	p.row.seen = *seen;
	put_own(&p, &own, flags);
	put_close(&p);
}

void
index_put_seen(struct index *ix, struct slice path, const struct identity *seen)
{
	struct put p;

	if (!put_open(&p, ix, path))
		return;
	if (!p.existed || p.row.local < 0) {
		put_cancel(&p);
		return;
	}
	p.row.seen = *seen;
	put_row(&p);
	put_cancel(&p);
}

static void
forget_local(struct index *ix, struct slice path, bool vacate)
{
	struct put p;

	if (!put_open(&p, ix, path))
		return;
	if (!p.existed || (p.row.local < 0 && p.row.seq == 0)) {
		put_cancel(&p);
		return;
	}
	put_leave(&p, ROW_SELF);
	p.row.flags &= ~PUT_FLAGS;
	if (!vacate)
		p.row.seq = 0;
	p.row.seen = (struct identity){ 0 };
	put_close(&p);
}

void
index_forget_local(struct index *ix, struct slice path)
{
	forget_local(ix, path, false);
}

void
index_vacate_local(struct index *ix, struct slice path)
{
	forget_local(ix, path, true);
}

/* Another device's word */

/* Is `slot` already where `e` puts it? */
static bool
put_is_known(const struct row_version *v, uint32_t slot, const struct entry *e)
{
	if (e->invalid)
		return devset_has(&v->shadows, slot);
	return devset_has(&v->holders, slot) && has_same_content(&v->entry, e);
}

static void
put_other(struct put *p, uint32_t slot, const struct entry *e)
{
	struct row_version *v = put_find(p, e->version);
	const bool ours = v != NULL && devset_has(&v->shadows, ROW_SELF) &&
			  (p->row.flags & ROW_LOCAL_CHANGED) != 0;

	if (v == NULL)
		v = put_add(p, e);
	if (e->invalid) {
		devset_add(&v->shadows, slot);
		return;
	}
	if (has_same_content(&v->entry, e)) {
		devset_add(&v->holders, slot);
		return;
	}
	if (devset_is_empty(&v->holders) && !ours) {
		/* Until now nobody had it; what they said was a bare name. */
		put_replace(p, v, e);
		devset_add(&v->holders, slot);
		return;
	}
	devset_add(&v->shadows, slot);
	p->row.flags |= ROW_EQUIVOCAL;
}

int
index_put_remote(struct index *ix, uint32_t slot, const struct entry *e,
    struct err *err)
{
	bool differs;

	return index_put_heard(ix, slot, e, &differs, err);
}

int
index_put_heard(struct index *ix, uint32_t slot, const struct entry *e,
    bool *differs, struct err *err)
{
	const struct row_version *known;
	struct put p;

	ASSERT(slot != ROW_SELF && slot < ix->slot.len);
	ASSERT(e->block_count == 0 || e->block != NULL);
	*differs = false;
	if (put_open(&p, ix, e->name)) {
		known = put_find(&p, e->version);
		if (known != NULL && put_is_known(known, slot, e)) {
			put_cancel(&p);
			return 0;
		}
		if (!MUTANT(MUTANT_HOLDER_NOT_LEFT))
			put_leave(&p, slot);
		put_other(&p, slot, e);
		put_settle(&p);
		*differs = p.row.local >= 0 &&
			   (p.row.local != p.row.global ||
			       devset_has(&row_local(&p.row)->shadows, slot));
		put_close(&p);
	}
	if (ix->err.code == 0)
		return 0;
	if (err != NULL)
		*err = ix->err;
	return ix->err.code;
}

/* Forgetting a device */

static bool
row_names(const struct row *row, uint32_t slot)
{
	for (uint32_t i = 0; i < row->version_count; i++) {
		if (devset_has(&row->version[i].holders, slot) ||
		    devset_has(&row->version[i].shadows, slot))
			return true;
	}
	return false;
}

static void
forget_in(struct index *ix, uint32_t slot, struct slice path)
{
	struct put p;

	if (!put_open(&p, ix, path))
		return;
	put_leave(&p, slot);
	p.row.flags &= ~(uint32_t)ROW_EQUIVOCAL;
	put_close(&p);
}

bool
index_forget_step(struct index *ix, uint32_t slot, struct slice *cursor,
    uint32_t limit, struct arena *arena, bool *equivocal)
{
	ASSERT(slot != ROW_SELF && slot < ix->slot.len);
	while (limit-- > 0) {
		const struct arena_mark mark = arena_mark(&ix->scratch);
		struct schema_key at;
		struct slice key, value;
		uint64_t owner;
		struct row *row;

		if (!index_impl_is_sound(ix))
			return false;
		schema_path_key(*cursor, &at);
		if (!store_next(ix->st, STORE_ROW, schema_slice(&at),
			cursor->len > 0, &key, &value, &ix->scratch))
			return false;
		row = index_impl_decode(ix, key, value, &owner, &ix->scratch);
		if (row == NULL)
			return false;
		*cursor = arena_dup(arena, row->path);
		if (row_names(row, slot)) {
			*equivocal |= (row->flags & ROW_EQUIVOCAL) != 0;
			forget_in(ix, slot, *cursor);
		}
		arena_reset(&ix->scratch, mark);
	}
	return true;
}
