/*
 * The store in memory: see store_mem.h.
 *
 *	puts -> map (what is read)
 *	     -> waiting (journal) -> flying (journal) -> forgotten = durable
 *
 * A journal holds what was there before each change, in order.  Undoing
 * `waiting`, then `flying`, each from its end, gives the last durable state.
 */
#include "engine/store_mem.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/omap.h"
#include "engine/base/vec.h"

struct store_mem_undo {
	enum store_table table;
	bool existed;
	struct slice key, value; /* in the journal's arena */
};

struct store_mem_journal {
	VEC(struct store_mem_undo) undo;
	struct arena arena;
};

struct store_mem {
	struct store base; /* first */
	struct omap *map[STORE_TABLES];
	struct store_mem_journal waiting, flying;
	bool committing;
	struct err err; /* code 0: sound */
};

static struct store_mem *
store_mem_of(struct store *st)
{
	return (struct store_mem *)(void *)st;
}

static const struct store_mem *
store_mem_of_const(const struct store *st)
{
	return (const struct store_mem *)(const void *)st;
}

static void
store_mem_remember(struct store_mem *sm, enum store_table t, struct slice key,
    const struct omap_item *old)
{
	struct store_mem_journal *j = &sm->waiting;
	struct store_mem_undo *u = VEC_ADD(&j->undo);

	u->table = t;
	u->existed = old != NULL;
	u->key = arena_dup(&j->arena, key);
	u->value = old != NULL ? arena_dup(&j->arena, old->value) : SLICE_EMPTY;
}

static void
store_mem_forget(struct store_mem_journal *j)
{
	VEC_CLEAR(&j->undo);
	arena_clear(&j->arena);
}

static void
store_mem_undo(struct store_mem *sm, struct store_mem_journal *j)
{
	for (size_t i = j->undo.len; i-- > 0;) {
		const struct store_mem_undo *u = &j->undo.item[i];

		if (u->existed)
			omap_put(sm->map[u->table], u->key, u->value);
		else
			omap_remove(sm->map[u->table], u->key);
	}
	store_mem_forget(j);
}

static bool
store_mem_give(const struct omap_item *it, struct slice *out_key,
    struct slice *out_value, struct arena *arena)
{
	if (it == NULL)
		return false;
	if (out_key != NULL)
		*out_key = arena_dup(arena, it->key);
	if (out_value != NULL)
		*out_value = arena_dup(arena, it->value);
	return true;
}

static bool
store_mem_find(struct store *st, enum store_table t, struct slice key,
    struct slice *value, struct arena *arena)
{
	struct store_mem *sm = store_mem_of(st);

	if (sm->err.code != 0)
		return false;
	return store_mem_give(omap_find(sm->map[t], key), NULL, value, arena);
}

static bool
store_mem_next(struct store *st, enum store_table t, struct slice key,
    bool after, struct slice *out_key, struct slice *out_value,
    struct arena *arena)
{
	struct store_mem *sm = store_mem_of(st);

	if (sm->err.code != 0)
		return false;
	return store_mem_give(omap_seek(sm->map[t], key, after), out_key,
	    out_value, arena);
}

static bool
store_mem_prev(struct store *st, enum store_table t, struct slice key,
    struct slice *out_key, struct slice *out_value, struct arena *arena)
{
	struct store_mem *sm = store_mem_of(st);

	if (sm->err.code != 0)
		return false;
	return store_mem_give(omap_seek_before(sm->map[t], key), out_key,
	    out_value, arena);
}

static void
store_mem_put(struct store *st, enum store_table t, struct slice key,
    struct slice value)
{
	struct store_mem *sm = store_mem_of(st);

	ASSERT(key.len > 0 && key.len <= LIMIT_KEY_LEN);
	store_mem_remember(sm, t, key, omap_find(sm->map[t], key));
	omap_put(sm->map[t], key, value);
}

static void
store_mem_remove(struct store *st, enum store_table t, struct slice key)
{
	struct store_mem *sm = store_mem_of(st);
	const struct omap_item *old = omap_find(sm->map[t], key);

	ASSERT(key.len > 0 && key.len <= LIMIT_KEY_LEN);
	if (old == NULL)
		return;
	store_mem_remember(sm, t, key, old);
	omap_remove(sm->map[t], key);
}

static size_t
store_mem_pending(const struct store *st)
{
	return store_mem_of_const(st)->waiting.undo.len;
}

static const struct err *
store_mem_error(const struct store *st)
{
	const struct store_mem *sm = store_mem_of_const(st);

	return sm->err.code != 0 ? &sm->err : NULL;
}

static const struct store_ops store_mem_ops = {
	.find = store_mem_find,
	.next = store_mem_next,
	.prev = store_mem_prev,
	.put = store_mem_put,
	.remove = store_mem_remove,
	.pending = store_mem_pending,
	.error = store_mem_error,
};

struct store *
store_mem_new(void)
{
	struct store_mem *sm = mem_zalloc(sizeof(*sm));

	sm->base.ops = &store_mem_ops;
	for (size_t t = 0; t < STORE_TABLES; t++)
		sm->map[t] = omap_new();
	return &sm->base;
}

void
store_mem_free(struct store *st)
{
	struct store_mem *sm;

	if (st == NULL)
		return;
	sm = store_mem_of(st);
	for (size_t t = 0; t < STORE_TABLES; t++)
		omap_free(sm->map[t]);
	VEC_FINI(&sm->waiting.undo);
	VEC_FINI(&sm->flying.undo);
	arena_fini(&sm->waiting.arena);
	arena_fini(&sm->flying.arena);
	mem_free(sm);
}

void
store_mem_commit_begin(struct store *st)
{
	struct store_mem *sm = store_mem_of(st);
	struct store_mem_journal empty = sm->flying;

	ASSERT(!sm->committing);
	sm->flying = sm->waiting;
	sm->waiting = empty;
	sm->committing = true;
}

void
store_mem_commit_end(struct store *st)
{
	struct store_mem *sm = store_mem_of(st);

	ASSERT(sm->committing);
	sm->committing = false;
	store_mem_forget(&sm->flying);
}

void
store_mem_commit_fail(struct store *st)
{
	struct store_mem *sm = store_mem_of(st);
	struct store_mem_journal old = sm->flying;

	ASSERT(sm->committing);
	sm->committing = false;
	/* The older changes go in front of the newer ones. */
	for (size_t i = 0; i < sm->waiting.undo.len; i++) {
		struct store_mem_undo u = sm->waiting.undo.item[i];

		u.key = arena_dup(&old.arena, u.key);
		u.value = arena_dup(&old.arena, u.value);
		*VEC_ADD(&old.undo) = u;
	}
	store_mem_forget(&sm->waiting);
	sm->flying = sm->waiting;
	sm->waiting = old;
}

bool
store_mem_is_committing(const struct store *st)
{
	return store_mem_of_const(st)->committing;
}

void
store_mem_commit(struct store *st)
{
	store_mem_commit_begin(st);
	store_mem_commit_end(st);
}

void
store_mem_crash(struct store *st)
{
	struct store_mem *sm = store_mem_of(st);

	store_mem_undo(sm, &sm->waiting);
	store_mem_undo(sm, &sm->flying);
	sm->committing = false;
}

void
store_mem_set_error(struct store *st, const struct err *err)
{
	store_mem_of(st)->err = *err;
}

size_t
store_mem_count(const struct store *st, enum store_table t)
{
	return omap_count(store_mem_of_const(st)->map[t]);
}

size_t
store_mem_bytes(struct store *st, enum store_table t)
{
	const struct omap_item *it =
	    omap_seek(store_mem_of(st)->map[t], SLICE_EMPTY, false);
	size_t sum = 0;

	for (; it != NULL; it = omap_next(it))
		sum += it->key.len + it->value.len;
	return sum;
}
