/*
 * The index: its facts, its devices, its sums.  See index.h.
 *
 * Rows are read in index_read.c and changed in index_put.c; block lists are
 * index_list.c.  All facts that change with a row are kept here in memory and
 * written once a commit, by index_flush().
 */
#include "engine/index.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/conflict.h"
#include "engine/index_impl.h"

/* Keys of STORE_META. */
#define KEY_FORMAT SLICE_LIT("format")
#define KEY_STATE SLICE_LIT("state")
#define KEY_ROOT SLICE_LIT("root")
#define KEY_SLOT "slot/"
#define KEY_FACT "fact/"
#define FACT_SPENT "spent" /* u64le */

void
index_impl_fail(struct index *ix, const struct err *err)
{
	if (ix->err.code == 0)
		ix->err = *err;
}

bool
index_impl_is_sound(struct index *ix)
{
	const struct err *err = store_error(ix->st);

	if (err != NULL)
		index_impl_fail(ix, err);
	return ix->err.code == 0;
}

/* Records of STORE_META: sealed (schema.h). */

static void
index_put_meta(struct index *ix, struct slice key, struct slice body)
{
	buf_clear(&ix->rec2);
	schema_seal(key, body, &ix->rec2);
	store_put(ix->st, STORE_META, key, buf_slice(&ix->rec2));
}

/* 0, ERR_NOT_FOUND, ERR_CORRUPT. */
static int
index_find_meta(struct index *ix, struct slice key, struct slice *body,
    struct arena *arena, struct err *err)
{
	struct slice value;

	if (!store_find(ix->st, STORE_META, key, &value, arena))
		return err_set(err, ERR_NOT_FOUND, "no record");
	if (schema_unseal(key, value, body, err) < 0) {
		err_wrap(err, "fact %.*s", SLICE_FMT(key));
		return ERR_CORRUPT;
	}
	return 0;
}

/* Sums */

static void
totals_encode(const struct totals *t, struct buf *out)
{
	buf_put_svarint(out, t->files);
	buf_put_svarint(out, t->dirs);
	buf_put_svarint(out, t->links);
	buf_put_svarint(out, t->deleted);
	buf_put_svarint(out, t->bytes);
}

static void
totals_decode(struct reader *r, struct totals *t)
{
	t->files = reader_svarint(r);
	t->dirs = reader_svarint(r);
	t->links = reader_svarint(r);
	t->deleted = reader_svarint(r);
	t->bytes = reader_svarint(r);
}

/* Slots */

static void
slot_key(uint32_t slot, struct schema_key *out)
{
	memcpy(out->b, KEY_SLOT, sizeof(KEY_SLOT) - 1);
	out->len = sizeof(KEY_SLOT) - 1;
	out->b[out->len++] = (uint8_t)(slot >> 8);
	out->b[out->len++] = (uint8_t)slot;
}

static void
slot_flush(struct index *ix, uint32_t slot)
{
	struct index_slot *s = &ix->slot.item[slot];
	struct schema_key key;

	slot_key(slot, &key);
	buf_clear(&ix->rec);
	buf_put(&ix->rec, slice_of(s->dev.b, DEVID_LEN));
	buf_put_u64le(&ix->rec, s->peer.index_id);
	buf_put_svarint(&ix->rec, s->peer.max_sequence);
	buf_put_svarint(&ix->rec, s->share.items);
	buf_put_svarint(&ix->rec, s->share.bytes);
	buf_put_svarint(&ix->rec, s->share.deletes);
	index_put_meta(ix, schema_slice(&key), buf_slice(&ix->rec));
	s->dirty = false;
}

static int
slot_decode(struct slice body, struct index_slot *out, struct err *err)
{
	struct reader r;
	struct slice dev;

	*out = (struct index_slot){ 0 };
	reader_init(&r, body);
	dev = reader_bytes(&r, DEVID_LEN);
	out->peer.index_id = reader_u64le(&r);
	out->peer.max_sequence = reader_svarint(&r);
	out->share.items = reader_svarint(&r);
	out->share.bytes = reader_svarint(&r);
	out->share.deletes = reader_svarint(&r);
	if (!reader_done(&r))
		return err_set(err, ERR_CORRUPT, "device slot is malformed");
	if (devid_from_bytes(&out->dev, dev, err) < 0)
		return ERR_CORRUPT;
	return 0;
}

static int
index_load_slots(struct index *ix, struct err *err)
{
	for (uint32_t i = 0; i < LIMIT_FOLDER_DEVICES; i++) {
		struct schema_key key;
		struct index_slot s;
		struct slice body = SLICE_EMPTY;
		int rc;

		slot_key(i, &key);
		rc = index_find_meta(ix, schema_slice(&key), &body,
		    &ix->scratch, err);
		if (rc == ERR_NOT_FOUND)
			break;
		if (rc == 0)
			rc = slot_decode(body, &s, err);
		if (rc < 0)
			return rc;
		*VEC_ADD(&ix->slot) = s;
	}
	return 0;
}

/* Opening */

static int
index_load_state(struct index *ix, struct err *err)
{
	struct slice body = SLICE_EMPTY, last;
	struct reader r;
	int rc;

	rc = index_find_meta(ix, KEY_STATE, &body, &ix->scratch, err);
	if (rc < 0)
		return err_set(err, ERR_CORRUPT, "index has no state");
	reader_init(&r, body);
	ix->seq = reader_varint(&r);
	ix->intent = reader_varint(&r);
	ix->used = reader_u8(&r) != 0;
	totals_decode(&r, &ix->local);
	totals_decode(&r, &ix->global);
	ix->changed = reader_svarint(&r);
	/* Added later: where it is missing they are counted. */
	ix->conflicts = r.len > 0 ? reader_svarint(&r) : -1;
	if (!reader_done(&r))
		return err_set(err, ERR_CORRUPT, "index state is malformed");
	/* A sequence beyond the state's: rows without their index_flush(). */
	if (store_prev(ix->st, STORE_SEQ, SLICE_LIT("\xff"), &last, NULL,
		&ix->scratch)) {
		uint64_t seq = 0;

		if (!schema_u64_of_key(last, &seq) || seq > ix->seq)
			return err_set(err, ERR_CORRUPT,
			    "sequence beyond the state's");
	}
	return 0;
}

static int
index_load_root(struct index *ix, struct err *err)
{
	struct slice body = SLICE_EMPTY;
	struct reader r;
	int rc;

	rc = index_find_meta(ix, KEY_ROOT, &body, &ix->scratch, err);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	reader_init(&r, body);
	ix->root.dev = reader_u64le(&r);
	ix->root.ino = reader_u64le(&r);
	ix->root.fs_hi = reader_u64le(&r);
	ix->root.fs_lo = reader_u64le(&r);
	if (!reader_done(&r)) /* older records have none */
		ix->root.nonce = reader_u64le(&r);
	ix->has_root = true;
	if (!reader_done(&r))
		return err_set(err, ERR_CORRUPT, "root is malformed");
	return 0;
}

/* Of whom the store may speak, and who they are now. */
struct index_who {
	const struct devid *self;
	const struct setup_former *former;
	uint32_t count;
};

static int
index_load(struct index *ix, struct slice format, const struct index_who *who,
    struct err *err)
{
	struct reader r;
	uint64_t version;
	int rc;

	reader_init(&r, format);
	version = reader_varint(&r);
	ix->id = reader_u64le(&r);
	if (reader_ok(&r) && version != SCHEMA_FORMAT)
		return err_set(err, ERR_CORRUPT, "index of format %llu",
		    (unsigned long long)version);
	if (!reader_done(&r) || ix->id == 0)
		return err_set(err, ERR_CORRUPT, "format is malformed");
	rc = index_load_slots(ix, err);
	if (rc == 0)
		rc = index_load_state(ix, err);
	if (rc == 0)
		rc = index_load_root(ix, err);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < who->count; i++)
		index_rename(ix, &who->former[i].was, &who->former[i].now);
	if (ix->slot.len == 0 ||
	    !devid_equal(&ix->slot.item[ROW_SELF].dev, who->self))
		return err_set(err, ERR_CORRUPT,
		    "index belongs to another device");
	return 0;
}

static void
index_put_id(struct index *ix, uint64_t id)
{
	if (MUTANT(MUTANT_INDEX_ID_REUSED))
		id = devid_short(&ix->slot.item[ROW_SELF].dev);
	ix->id = id;
	buf_clear(&ix->rec);
	buf_put_varint(&ix->rec, SCHEMA_FORMAT);
	buf_put_u64le(&ix->rec, id);
	index_put_meta(ix, KEY_FORMAT, buf_slice(&ix->rec));
}

static void
index_create(struct index *ix, const struct devid *self, uint64_t id)
{
	struct index_slot *s = VEC_ADD(&ix->slot);

	*s = (struct index_slot){ .dev = *self, .dirty = true };
	ix->dirty = true;
	index_put_id(ix, id);
	index_flush(ix);
}

static void index_load_spent(struct index *ix);

static int
index_open_store(struct index *ix, const struct index_who *who, uint64_t id,
    struct err *err)
{
	struct slice format = SLICE_EMPTY, key;
	int rc;

	rc = index_find_meta(ix, KEY_FORMAT, &format, &ix->scratch, err);
	if (store_error(ix->st) != NULL) {
		*err = *store_error(ix->st);
		return err->code;
	}
	if (rc == 0) {
		rc = index_load(ix, format, who, err);
		/* One that never held a row may be an old copy of one that
		 * did: what peers know of that is not about this one. */
		if (rc == 0 && !ix->used)
			index_put_id(ix, id);
		return rc;
	}
	if (rc != ERR_NOT_FOUND)
		return rc;
	for (enum store_table t = 0; t < STORE_TABLES; t++) {
		if (store_next(ix->st, t, SLICE_EMPTY, false, &key, NULL,
			&ix->scratch))
			return err_set(err, ERR_CORRUPT,
			    "index has rows but no format");
	}
	index_create(ix, who->self, id);
	return 0;
}

/* Of an index from before they were kept. */
static void
index_count_conflicts(struct index *ix)
{
	struct arena rows[2] = { { 0 } }; /* the row at hand and the next */
	struct row *row;
	int at = 0;

	arena_init(&rows[0]);
	arena_init(&rows[1]);
	ix->conflicts = 0;
	row = index_next(ix, SLICE_EMPTY, &rows[at]);
	while (row != NULL) {
		ix->conflicts += conflict_is_copy(row);
		at = 1 - at;
		arena_clear(&rows[at]);
		row = index_next(ix, row->path, &rows[at]);
	}
	arena_fini(&rows[0]);
	arena_fini(&rows[1]);
	ix->dirty = true;
}

int
index_open(struct index **out, struct store *store, const struct devid *self,
    uint64_t index_id_if_new, struct err *err)
{
	return index_open_former(out, store, self, NULL, 0, index_id_if_new,
	    err);
}

int
index_open_former(struct index **out, struct store *store,
    const struct devid *self, const struct setup_former *former, uint32_t count,
    uint64_t index_id_if_new, struct err *err)
{
	const struct index_who who = { self, former, count };
	struct index *ix = mem_zalloc(sizeof(*ix));
	struct err mine = { 0 };
	int rc;

	ASSERT(index_id_if_new != 0);
	ix->st = store;
	rc = index_open_store(ix, &who, index_id_if_new, &mine);
	if (rc == 0) {
		index_load_spent(ix);
		index_impl_load_gaps(ix);
	}
	if (rc == 0 && ix->conflicts < 0)
		index_count_conflicts(ix);
	arena_clear(&ix->scratch);
	if (rc < 0) {
		if (err != NULL)
			*err = mine;
		err_wrap(err, "open index");
		index_close(ix);
		ix = NULL;
	}
	*out = ix;
	return rc;
}

void
index_close(struct index *ix)
{
	if (ix == NULL)
		return;
	VEC_FINI(&ix->slot);
	VEC_FINI(&ix->gap);
	buf_fini(&ix->rec);
	buf_fini(&ix->rec2);
	arena_fini(&ix->scratch);
	mem_free(ix);
}

void
index_flush(struct index *ix)
{
	if (!ix->dirty || !index_impl_is_sound(ix))
		return;
	index_impl_flush_gaps(ix);
	for (uint32_t i = 0; i < ix->slot.len; i++) {
		if (ix->slot.item[i].dirty)
			slot_flush(ix, i);
	}
	buf_clear(&ix->rec);
	buf_put_varint(&ix->rec, ix->seq);
	buf_put_varint(&ix->rec, ix->intent);
	buf_put_u8(&ix->rec, ix->used);
	totals_encode(&ix->local, &ix->rec);
	totals_encode(&ix->global, &ix->rec);
	buf_put_svarint(&ix->rec, ix->changed);
	buf_put_svarint(&ix->rec, ix->conflicts);
	index_put_meta(ix, KEY_STATE, buf_slice(&ix->rec));
	ix->dirty = false;
}

/* Facts */

uint64_t
index_id(const struct index *ix)
{
	return ix->id;
}

bool
index_is_new(const struct index *ix)
{
	return !ix->used;
}

uint64_t
index_seq(const struct index *ix)
{
	return ix->seq;
}

bool
index_root(const struct index *ix, struct root_identity *out)
{
	*out = ix->root;
	return ix->has_root;
}

void
index_put_root(struct index *ix, const struct root_identity *root)
{
	ix->root = *root;
	ix->has_root = true;
	if (!index_impl_is_sound(ix))
		return;
	buf_clear(&ix->rec);
	buf_put_u64le(&ix->rec, root->dev);
	buf_put_u64le(&ix->rec, root->ino);
	buf_put_u64le(&ix->rec, root->fs_hi);
	buf_put_u64le(&ix->rec, root->fs_lo);
	buf_put_u64le(&ix->rec, root->nonce);
	index_put_meta(ix, KEY_ROOT, buf_slice(&ix->rec));
}

static void
fact_key(const char *name, struct schema_key *out)
{
	const size_t prefix = sizeof(KEY_FACT) - 1;
	const size_t len = strlen(name);

	ASSERT(len > 0 && len <= sizeof(out->b) - prefix);
	memcpy(out->b, KEY_FACT, prefix);
	memcpy(out->b + prefix, name, len);
	out->len = prefix + len;
}

bool
index_fact(struct index *ix, const char *name, struct slice *value,
    struct arena *arena)
{
	struct schema_key key;
	struct err err = { 0 };
	int rc;

	if (!index_impl_is_sound(ix))
		return false;
	fact_key(name, &key);
	rc = index_find_meta(ix, schema_slice(&key), value, arena, &err);
	if (rc == ERR_CORRUPT)
		index_impl_fail(ix, &err);
	return rc == 0;
}

void
index_put_fact(struct index *ix, const char *name, struct slice value)
{
	struct schema_key key;

	if (!index_impl_is_sound(ix))
		return;
	fact_key(name, &key);
	index_put_meta(ix, schema_slice(&key), value);
}

/* Counters */

void
index_impl_spend(struct index *ix, uint64_t counter)
{
	struct buf rec = { 0 };

	if (counter <= ix->spent)
		return;
	ix->spent = counter;
	buf_put_u64le(&rec, counter);
	index_put_fact(ix, FACT_SPENT, buf_slice(&rec));
	buf_fini(&rec);
}

int64_t
index_stamp(const struct index *ix, int64_t wall_s)
{
	if (ix->spent >= INT64_MAX || (int64_t)ix->spent < wall_s)
		return wall_s;
	return (int64_t)ix->spent + 1;
}

static void
index_load_spent(struct index *ix)
{
	struct slice value;
	struct reader r;

	if (!index_fact(ix, FACT_SPENT, &value, &ix->scratch))
		return;
	reader_init(&r, value);
	ix->spent = reader_u64le(&r);
	if (!reader_ok(&r))
		ix->spent = 0;
}

/* Devices */

int
index_slot(struct index *ix, const struct devid *dev, uint32_t *out,
    struct err *err)
{
	for (uint32_t i = 0; i < ix->slot.len; i++) {
		if (devid_equal(&ix->slot.item[i].dev, dev)) {
			*out = i;
			return 0;
		}
	}
	ASSERT(!devid_is_none(dev));
	if (ix->slot.len >= LIMIT_FOLDER_DEVICES)
		return err_set(err, ERR_LIMIT,
		    "more than %u devices in one folder", LIMIT_FOLDER_DEVICES);
	*out = (uint32_t)ix->slot.len;
	*VEC_ADD(&ix->slot) = (struct index_slot){ .dev = *dev, .dirty = true };
	ix->dirty = true;
	return 0;
}

void
index_rename(struct index *ix, const struct devid *was, const struct devid *now)
{
	struct index_slot *from = NULL, *to = NULL;

	for (uint32_t i = 0; i < ix->slot.len; i++) {
		if (devid_equal(&ix->slot.item[i].dev, was))
			from = &ix->slot.item[i];
		if (devid_equal(&ix->slot.item[i].dev, now))
			to = &ix->slot.item[i];
	}
	if (from == NULL || from == to ||
	    (to != NULL && from != &ix->slot.item[ROW_SELF]))
		return;
	if (to != NULL) {
		to->dev = *was;
		to->dirty = true;
	}
	from->dev = *now;
	from->dirty = true;
	ix->dirty = true;
}

const struct devid *
index_device(const struct index *ix, uint32_t slot)
{
	ASSERT(slot < ix->slot.len);
	return &ix->slot.item[slot].dev;
}

uint32_t
index_slots(const struct index *ix)
{
	return (uint32_t)ix->slot.len;
}

struct peer_state
index_peer(const struct index *ix, uint32_t slot)
{
	ASSERT(slot < ix->slot.len);
	return ix->slot.item[slot].peer;
}

void
index_put_peer(struct index *ix, uint32_t slot, struct peer_state state)
{
	ASSERT(slot < ix->slot.len);
	ix->slot.item[slot].peer = state;
	ix->slot.item[slot].dirty = true;
	ix->dirty = true;
}

/* Sums */

struct totals
index_local_totals(const struct index *ix)
{
	return ix->local;
}

struct totals
index_global_totals(const struct index *ix)
{
	return ix->global;
}

int64_t
index_changed_totals(const struct index *ix)
{
	return ix->changed;
}

int64_t
index_conflict_totals(const struct index *ix)
{
	return ix->conflicts;
}

struct need_totals
index_need_totals(const struct index *ix, uint32_t slot)
{
	const struct totals *g = &ix->global;
	const struct index_slot *s;

	ASSERT(slot < ix->slot.len);
	s = &ix->slot.item[slot];
	if (slot != ROW_SELF && s->peer.index_id == 0)
		return (struct need_totals){ 0 };
	return (struct need_totals){
		.items = g->files + g->dirs + g->links - s->share.items,
		.deletes = s->share.deletes,
		.bytes = g->bytes - s->share.bytes,
	};
}

/* Intents */

uint64_t
index_put_intent(struct index *ix, struct slice record)
{
	struct schema_key key;

	ix->intent++;
	ix->dirty = true;
	if (!index_impl_is_sound(ix))
		return ix->intent;
	schema_u64_key(ix->intent, &key);
	buf_clear(&ix->rec);
	schema_seal(schema_slice(&key), record, &ix->rec);
	store_put(ix->st, STORE_INTENT, schema_slice(&key),
	    buf_slice(&ix->rec));
	return ix->intent;
}

void
index_remove_intent(struct index *ix, uint64_t id)
{
	struct schema_key key;

	if (!index_impl_is_sound(ix))
		return;
	schema_u64_key(id, &key);
	store_remove(ix->st, STORE_INTENT, schema_slice(&key));
}

bool
index_next_intent(struct index *ix, uint64_t after, uint64_t *id,
    struct slice *record, struct arena *arena)
{
	struct schema_key key;
	struct slice found, value;
	struct err err = { 0 };

	if (!index_impl_is_sound(ix))
		return false;
	schema_u64_key(after, &key);
	if (!store_next(ix->st, STORE_INTENT, schema_slice(&key), true, &found,
		&value, arena))
		return false;
	if (!schema_u64_of_key(found, id)) {
		err_set(&err, ERR_CORRUPT, "intent without a number");
		index_impl_fail(ix, &err);
		return false;
	}
	if (schema_unseal(found, value, record, &err) < 0) {
		index_impl_fail(ix, &err);
		return false;
	}
	return true;
}

size_t
index_pending(const struct index *ix)
{
	return store_pending(ix->st) + (ix->dirty ? 1 : 0);
}

const struct err *
index_error(const struct index *ix)
{
	const struct err *err = store_error(ix->st);

	if (ix->err.code != 0)
		return &ix->err;
	return err;
}
