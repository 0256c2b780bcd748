/*
 * Reading rows: by path, in order, by sequence, by need.
 */
#include "engine/index.h"

#include "engine/base/assert.h"
#include "engine/base/path.h"
#include "engine/index_impl.h"

struct row *
index_impl_decode(struct index *ix, struct slice key, struct slice value,
    uint64_t *owner, struct arena *arena)
{
	struct row *row = arena_alloc(arena, sizeof(*row));
	struct err err = { 0 };

	if (schema_row_decode(key, value, row, owner, arena, &err) < 0) {
		err_wrap(&err, "row %.*s", SLICE_FMT(key));
		index_impl_fail(ix, &err);
		return NULL;
	}
	return row;
}

struct row *
index_impl_load(struct index *ix, struct slice key, uint64_t *owner,
    struct arena *arena)
{
	struct slice value;

	if (!store_find(ix->st, STORE_ROW, key, &value, arena))
		return NULL;
	return index_impl_decode(ix, key, value, owner, arena);
}

/* For those outside: with all that a row promises. */
static struct row *
read_row(struct index *ix, struct slice key, struct slice value,
    struct arena *arena)
{
	uint64_t owner;
	struct row *row = index_impl_decode(ix, key, value, &owner, arena);

	if (row != NULL)
		schema_row_finish(row);
	return row;
}

struct row *
index_row(struct index *ix, struct slice path, struct arena *arena)
{
	struct schema_key key;
	struct slice value;
	struct row *row;

	if (path.len == 0 || !index_impl_is_sound(ix))
		return NULL;
	schema_path_key(path, &key);
	if (!store_find(ix->st, STORE_ROW, schema_slice(&key), &value, arena))
		return NULL;
	row = read_row(ix, arena_dup(arena, schema_slice(&key)), value, arena);
	/* Anybody may ask for anything; only paths have rows. */
	return row != NULL && slice_equal(row->path, path) ? row : NULL;
}

static struct row *
read_next(struct index *ix, struct slice path, bool after, struct arena *arena)
{
	struct schema_key key;
	struct slice found, value;

	if (!index_impl_is_sound(ix))
		return NULL;
	schema_path_key(path, &key);
	if (!store_next(ix->st, STORE_ROW, schema_slice(&key), after, &found,
		&value, arena))
		return NULL;
	return read_row(ix, found, value, arena);
}

struct row *
index_next(struct index *ix, struct slice after, struct arena *arena)
{
	return read_next(ix, after, true, arena);
}

struct row *
index_from(struct index *ix, struct slice from, struct arena *arena)
{
	return read_next(ix, from, false, arena);
}

/*
 * Children
 *
 * Below `dir` the keys of direct children stand in the order of their names,
 * with the subtrees of some between them: "a", "a!", "a/b", "a0".  A key that
 * leads deeper is passed by seeking to behind its subtree.  Children whose
 * paths are long have keys of their own (schema.h), together and in order too,
 * so there are two ordered runs, and the smaller head of the two is next.
 */

/* `dir` and '/'; empty for the root. */
static struct slice
child_prefix(struct slice dir, struct arena *arena)
{
	uint8_t *b;

	if (dir.len == 0)
		return SLICE_EMPTY;
	b = arena_alloc(arena, dir.len + 1);
	memcpy(b, dir.ptr, dir.len);
	b[dir.len] = '/';
	return slice_of(b, dir.len + 1);
}

/* Make `key` lie behind everything below its first `len` bytes and '/'. */
static struct slice
behind_subtree(struct slice key, size_t len, struct arena *arena)
{
	uint8_t *b = arena_alloc(arena, len + 1);

	memcpy(b, key.ptr, len);
	b[len] = '/' + 1;
	return slice_of(b, len + 1);
}

/*
 * The first bytes of `key` and 0xff, `fill` times: with 1 it lies before all
 * long keys with this head, with LONG_END behind them.
 */
#define LONG_END (1 + SCHEMA_KEY_HASH + 1)

static struct slice
at_long(struct slice key, size_t fill, struct arena *arena)
{
	uint8_t *b = arena_alloc(arena, SCHEMA_KEY_HEAD + fill);

	memcpy(b, key.ptr, SCHEMA_KEY_HEAD);
	memset(b + SCHEMA_KEY_HEAD, 0xff, fill);
	return slice_of(b, SCHEMA_KEY_HEAD + fill);
}

static bool
next_short_child(struct index *ix, struct slice dir, struct slice after,
    struct slice *key, struct slice *value, struct arena *arena)
{
	const struct slice prefix = child_prefix(dir, arena);
	struct slice at = prefix;
	bool past = after.len > 0;

	if (past)
		at = path_join(arena, dir, after);
	/* Such a name would have a long key: nothing short is behind it. */
	if (at.len > LIMIT_KEY_LEN)
		at = slice_to(at, LIMIT_KEY_LEN);
	while (store_next(ix->st, STORE_ROW, at, past, key, value, arena)) {
		size_t slash;

		if (!slice_has_prefix(*key, prefix))
			return false;
		past = false;
		if (schema_is_long_key(*key) && prefix.len <= SCHEMA_KEY_HEAD) {
			at = at_long(*key, LONG_END, arena);
			continue;
		}
		slash = slice_find(slice_from(*key, prefix.len), '/');
		if (slash == SIZE_MAX)
			return true;
		at = behind_subtree(*key, prefix.len + slash, arena);
	}
	return false;
}

static bool
next_long_child(struct index *ix, struct slice dir, struct slice after,
    struct slice *key, struct slice *value, struct arena *arena)
{
	struct schema_key prefix, at;

	if (!schema_has_long_children(dir))
		return false;
	schema_child_key(dir, SLICE_EMPTY, &prefix);
	schema_child_key(dir, after, &at);
	return store_next(ix->st, STORE_ROW, schema_slice(&at), after.len > 0,
		   key, value, arena) &&
	       slice_has_prefix(*key, schema_slice(&prefix));
}

struct row *
index_next_child(struct index *ix, struct slice dir, struct slice after,
    struct arena *arena)
{
	struct slice key, value, key2, value2;
	struct row *row = NULL, *row2 = NULL;

	if (!index_impl_is_sound(ix))
		return NULL;
	if (dir.len < LIMIT_KEY_LEN &&
	    next_short_child(ix, dir, after, &key, &value, arena))
		row = read_row(ix, key, value, arena);
	if (next_long_child(ix, dir, after, &key2, &value2, arena))
		row2 = read_row(ix, key2, value2, arena);
	if (row == NULL || row2 == NULL)
		return row != NULL ? row : row2;
	return slice_cmp(row->path, row2->path) < 0 ? row : row2;
}

/*
 * Below a directory of a short name everything stands together.  Below one of
 * a long name the long keys are apart, behind the short ones; there the rows
 * with the same head must be looked at.
 */
struct row *
index_next_below(struct index *ix, struct slice dir, struct slice after,
    struct arena *arena)
{
	struct slice key, value, at;
	struct schema_key from;
	struct row *row;

	if (!index_impl_is_sound(ix))
		return NULL;
	at = child_prefix(dir, arena);
	if (after.len > 0) {
		schema_path_key(after, &from);
		at = schema_slice(&from);
	} else if (at.len > LIMIT_KEY_LEN) {
		at = slice_to(at, SCHEMA_KEY_HEAD);
	}
	while (store_next(ix->st, STORE_ROW, at, after.len > 0, &key, &value,
	    arena)) {
		row = read_row(ix, key, value, arena);
		if (row == NULL || path_is_below(row->path, dir))
			return row;
		if (dir.len < SCHEMA_KEY_HEAD ||
		    !slice_has_prefix(key, slice_to(dir, SCHEMA_KEY_HEAD)))
			return NULL;
		at = schema_is_long_key(key) ? key : at_long(dir, 1, arena);
		after = at;
	}
	return NULL;
}

/* By sequence, by need */

struct row *
index_next_seq(struct index *ix, uint64_t seq, struct arena *arena)
{
	struct err err = { 0 };

	while (index_impl_is_sound(ix)) {
		const struct arena_mark mark = arena_mark(arena);
		struct schema_key at;
		struct slice key, path;
		struct row *row;
		uint64_t owner;

		schema_u64_key(seq, &at);
		if (!store_next(ix->st, STORE_SEQ, schema_slice(&at), true,
			&key, &path, arena))
			return NULL;
		row = index_impl_load(ix, path, &owner, arena);
		if (!schema_u64_of_key(key, &seq) || row == NULL) {
			err_set(&err, ERR_CORRUPT, "sequence without a row");
			index_impl_fail(ix, &err);
			return NULL;
		}
		if (row->seq == seq) {
			schema_row_finish(row);
			return row;
		}
		/* It leads to the owner of blocks: index_list.c. */
		arena_reset(arena, mark);
	}
	return NULL;
}

static struct row *
read_needed(struct index *ix, struct slice key, struct arena *arena)
{
	struct err err = { 0 };
	uint64_t owner;
	struct row *row = index_impl_load(ix, key, &owner, arena);

	if (row != NULL) {
		schema_row_finish(row);
		return row;
	}
	err_set(&err, ERR_CORRUPT, "need without a row");
	index_impl_fail(ix, &err);
	return NULL;
}

struct row *
index_next_need(struct index *ix, struct slice after, struct arena *arena)
{
	struct schema_key at;
	struct slice key;

	if (!index_impl_is_sound(ix))
		return NULL;
	schema_path_key(after, &at);
	if (!store_next(ix->st, STORE_NEED, schema_slice(&at), after.len > 0,
		&key, NULL, arena))
		return NULL;
	return read_needed(ix, key, arena);
}

struct row *
index_prev_need(struct index *ix, struct slice before, struct arena *arena)
{
	struct schema_key at;
	struct slice key;

	if (!index_impl_is_sound(ix))
		return NULL;
	schema_path_key(before, &at);
	/* No key begins with 0xff. */
	if (!store_prev(ix->st, STORE_NEED,
		before.len > 0 ? schema_slice(&at) : SLICE_LIT("\xff"), &key,
		NULL, arena))
		return NULL;
	return read_needed(ix, key, arena);
}

bool
index_has_need(struct index *ix)
{
	const struct arena_mark mark = arena_mark(&ix->scratch);
	struct slice key;
	bool has;

	if (!index_impl_is_sound(ix))
		return false;
	has = store_next(ix->st, STORE_NEED, SLICE_EMPTY, false, &key, NULL,
	    &ix->scratch);
	arena_reset(&ix->scratch, mark);
	return has;
}
