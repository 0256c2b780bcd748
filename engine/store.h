/*
 * The store: ordered keys and values of one folder's index, on disk.
 *
 * The one synchronous port of the engine.  Writes go to memory and are seen by
 * this store's reads at once; they become durable, all together and in one
 * atomic step, with the next commit.  The engine asks for a commit by
 * EFFECT_COMMIT and hears of its end by EVENT_DONE; meanwhile it may go on
 * reading and writing: later writes belong to the next commit.
 *
 * Implementations: store_lmdb.c (the real one: an ordered overlay in memory
 * over an LMDB environment, the commit runs on a worker thread with LMDB's
 * default durability) and store_mem.c (simulator and unit tests: durable and
 * volatile halves).  Thread: loop, but for the commit job.
 *
 * Keys are at most LIMIT_KEY_LEN bytes, compared bytewise.  Slices returned
 * live in the arena given.  A damaged store is reported by store_error() once
 * seen; reads then say "not there", and the engine halts the folder.
 */
#ifndef HOLDFAST_ENGINE_STORE_H
#define HOLDFAST_ENGINE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

enum store_table {
	STORE_META,   /* name -> value: one row each for the folder's facts */
	STORE_ROW,    /* path key -> row (schema.h) */
	STORE_SEQ,    /* local sequence u64be -> path key */
	STORE_NEED,   /* path key -> flags: rows that want local work */
	STORE_BLOCK,  /* block hash prefix + owner -> where the block is */
	STORE_LIST,   /* digest of a block list -> count of users, hashes */
	STORE_INTENT, /* id -> what is being changed on disk right now */
	STORE_TABLES
};

struct store;

struct store_ops {
	bool (*find)(struct store *st, enum store_table t, struct slice key,
	    struct slice *value, struct arena *arena);
	/* First key >= `key`, or > `key` when `after`; false at the end. */
	bool (*next)(struct store *st, enum store_table t, struct slice key,
	    bool after, struct slice *out_key, struct slice *out_value,
	    struct arena *arena);
	/* Last key < `key`; false when there is none. */
	bool (*prev)(struct store *st, enum store_table t, struct slice key,
	    struct slice *out_key, struct slice *out_value,
	    struct arena *arena);
	void (*put)(struct store *st, enum store_table t, struct slice key,
	    struct slice value);
	void (*remove)(struct store *st, enum store_table t, struct slice key);
	/* Puts and removes since the last commit began. */
	size_t (*pending)(const struct store *st);
	const struct err *(*error)(const struct store *st); /* NULL: sound */
};

/* Implementations begin with this. */
struct store {
	const struct store_ops *ops;
};

static inline bool
store_find(struct store *st, enum store_table t, struct slice key,
    struct slice *value, struct arena *arena)
{
	return st->ops->find(st, t, key, value, arena);
}

static inline bool
store_next(struct store *st, enum store_table t, struct slice key, bool after,
    struct slice *out_key, struct slice *out_value, struct arena *arena)
{
	return st->ops->next(st, t, key, after, out_key, out_value, arena);
}

static inline bool
store_prev(struct store *st, enum store_table t, struct slice key,
    struct slice *out_key, struct slice *out_value, struct arena *arena)
{
	return st->ops->prev(st, t, key, out_key, out_value, arena);
}

static inline void
store_put(struct store *st, enum store_table t, struct slice key,
    struct slice value)
{
	st->ops->put(st, t, key, value);
}

static inline void
store_remove(struct store *st, enum store_table t, struct slice key)
{
	st->ops->remove(st, t, key);
}

static inline size_t
store_pending(const struct store *st)
{
	return st->ops->pending(st);
}

static inline const struct err *
store_error(const struct store *st)
{
	return st->ops->error(st);
}

#endif
