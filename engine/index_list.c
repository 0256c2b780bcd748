/*
 * Blocks in the index: lists of them, and where they are on this disk.
 *
 * The list of a file of several blocks is kept once, under its digest, however
 * many versions of however many paths have it; a count says how many do.  The
 * one hash of a small file is in its row.
 *
 * A place says "a block with this hash is the n-th of owner o".  The owner's
 * number is the sequence under which the row first had places here; STORE_SEQ
 * keeps leading from it to the path, also after the row has moved on to later
 * sequences (schema.h).  So a new time or permission touches no place.
 */
#include "engine/index.h"

#include "blockproto/blocks.h"
#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/index_impl.h"

/* Keys of STORE_LIST: the digest is the count's, one byte more the hashes'. */
static void
list_key(const struct digest *list, bool hashes, struct schema_key *out)
{
	memcpy(out->b, list->b, DIGEST_LEN);
	out->len = DIGEST_LEN;
	if (hashes)
		out->b[out->len++] = 'h';
}

/* How many use the list; 0 when it is not there. */
static uint64_t
list_users(struct index *ix, const struct schema_key *key)
{
	const struct arena_mark mark = arena_mark(&ix->scratch);
	struct slice value, body = SLICE_EMPTY;
	struct reader r;
	uint64_t users = 0;
	struct err err = { 0 };
	int rc = 0;

	if (store_find(ix->st, STORE_LIST, schema_slice(key), &value,
		&ix->scratch)) {
		rc = schema_unseal(schema_slice(key), value, &body, &err);
		reader_init(&r, body);
		users = reader_varint(&r);
		if (rc == 0 && (!reader_done(&r) || users == 0))
			rc = err_set(&err, ERR_CORRUPT,
			    "block list without users");
	}
	if (rc < 0)
		index_impl_fail(ix, &err);
	arena_reset(&ix->scratch, mark);
	return users;
}

static void
list_put_users(struct index *ix, const struct schema_key *key, uint64_t users)
{
	buf_clear(&ix->rec);
	buf_put_varint(&ix->rec, users);
	buf_clear(&ix->rec2);
	schema_seal(schema_slice(key), buf_slice(&ix->rec), &ix->rec2);
	store_put(ix->st, STORE_LIST, schema_slice(key), buf_slice(&ix->rec2));
}

void
index_impl_use_list(struct index *ix, const struct entry *e)
{
	struct schema_key key;
	uint64_t users;

	if (e->block_count <= 1)
		return;
	list_key(&e->blocks_hash, false, &key);
	users = list_users(ix, &key);
	list_put_users(ix, &key, users + 1);
	if (users > 0)
		return;
	ASSERT(e->block != NULL);
	list_key(&e->blocks_hash, true, &key);
	buf_clear(&ix->rec2);
	schema_seal(schema_slice(&key),
	    slice_of(e->block, (size_t)e->block_count * DIGEST_LEN), &ix->rec2);
	store_put(ix->st, STORE_LIST, schema_slice(&key), buf_slice(&ix->rec2));
}

void
index_impl_drop_list(struct index *ix, const struct digest *list)
{
	struct schema_key key;
	uint64_t users;

	list_key(list, false, &key);
	users = list_users(ix, &key);
	if (users > 1) {
		list_put_users(ix, &key, users - 1);
		return;
	}
	store_remove(ix->st, STORE_LIST, schema_slice(&key));
	list_key(list, true, &key);
	store_remove(ix->st, STORE_LIST, schema_slice(&key));
}

const struct digest *
index_impl_blocks(struct index *ix, const struct entry *e, struct arena *arena,
    struct err *err)
{
	struct schema_key key;
	struct slice value, body = SLICE_EMPTY;
	struct digest *out;

	if (e->block_count <= 1)
		return e->block;
	list_key(&e->blocks_hash, true, &key);
	if (!store_find(ix->st, STORE_LIST, schema_slice(&key), &value,
		arena)) {
		err_set(err, ERR_CORRUPT, "block list is lost");
		return NULL;
	}
	if (schema_unseal(schema_slice(&key), value, &body, err) < 0)
		return NULL;
	if (body.len != (size_t)e->block_count * DIGEST_LEN) {
		err_set(err, ERR_CORRUPT, "block list of a wrong length");
		return NULL;
	}
	/* Digests are bytes: they may stand at any address. */
	out = (struct digest *)(void *)(uintptr_t)body.ptr;
	return out;
}

int
index_blocks(struct index *ix, const struct entry *e, const struct digest **out,
    struct arena *arena, struct err *err)
{
	struct err mine = { 0 };

	*out = NULL;
	if (!index_impl_is_sound(ix)) {
		if (err != NULL)
			*err = ix->err;
		return ix->err.code;
	}
	if (e->block_count == 0)
		return 0;
	*out = index_impl_blocks(ix, e, arena, &mine);
	if (*out != NULL)
		return 0;
	err_wrap(&mine, "%.*s", SLICE_FMT(e->name));
	index_impl_fail(ix, &mine);
	if (err != NULL)
		*err = mine;
	return ERR_CORRUPT;
}

/* Places */

/*
 * Blocks of zeroes are made, not looked for; only lists can hold many.  The
 * first block stands for the file when a rename is looked for.
 */
static bool
is_placed(const struct index_blocks *b, uint32_t i)
{
	return i == 0 || !blocks_is_zero(&b->hash[i], b->block_size);
}

void
index_impl_places(struct index *ix, uint64_t owner,
    const struct index_blocks *old, const struct index_blocks *now)
{
	const uint32_t count =
	    old->count > now->count ? old->count : now->count;
	struct schema_key key;

	for (uint32_t i = 0; i < count; i++) {
		if (i < old->count && i < now->count &&
		    digest_equal(&old->hash[i], &now->hash[i]))
			continue;
		if (i < old->count && is_placed(old, i)) {
			schema_block_key(&old->hash[i], owner, i, &key);
			store_remove(ix->st, STORE_BLOCK, schema_slice(&key));
		}
		if (i < now->count && is_placed(now, i)) {
			schema_block_key(&now->hash[i], owner, i, &key);
			store_put(ix->st, STORE_BLOCK, schema_slice(&key),
			    SLICE_EMPTY);
		}
	}
}

/* The path of the row whose number is `owner`; false when it is lost. */
static bool
place_path(struct index *ix, uint64_t owner, struct slice *out,
    struct arena *arena)
{
	struct schema_key key;
	struct slice path;
	struct row *row;
	uint64_t number;

	schema_u64_key(owner, &key);
	if (!store_find(ix->st, STORE_SEQ, schema_slice(&key), &path, arena))
		return false;
	*out = path;
	if (!schema_is_long_key(path))
		return true;
	row = index_impl_load(ix, path, &number, arena);
	if (row == NULL)
		return false;
	*out = row->path;
	return true;
}

uint32_t
index_block_places(struct index *ix, const struct digest *hash,
    struct block_place *out, uint32_t max, struct arena *arena)
{
	const struct slice prefix = slice_of(hash->b, SCHEMA_BLOCK_PREFIX);
	struct slice key = prefix;
	bool after = false;
	uint32_t n = 0;

	while (n < max && index_impl_is_sound(ix)) {
		uint64_t owner;
		uint32_t block;

		if (!store_next(ix->st, STORE_BLOCK, key, after, &key, NULL,
			arena))
			break;
		after = true;
		if (!slice_has_prefix(key, prefix))
			break;
		if (!schema_block_of_key(key, &owner, &block) ||
		    !place_path(ix, owner, &out[n].path, arena)) {
			struct err err = { 0 };

			err_set(&err, ERR_CORRUPT, "place of a block is lost");
			index_impl_fail(ix, &err);
			break;
		}
		out[n++].block = block;
	}
	return n;
}
