/*
 * The index against a model that keeps every word of every device and
 * computes the answers from scratch each time.  The oracle shares no code with
 * the index: it has its own vectors, its own winner, its own sums.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blockproto/blocks.h"
#include "engine/base/path.h"
#include "engine/base/rng.h"
#include "engine/index.h"
#include "engine/store_mem.h"

#define DEVICES 4
#define IDS 3 /* counters in a vector */

/* In byte order. */
static const char *const paths[] = { "a", "a!b", "a.b", "a/b", "a/b/c", "a/b0",
	"a/bc", "a0", "b", "b/x", "b/x y",
	"c.sync-conflict-20260102-030405-ABCDEFG" };
#define PATHS (sizeof(paths) / sizeof(paths[0]))

struct vec {
	unsigned n[IDS];
};

struct word {
	bool has, shadow;
	struct vec v;
};

struct model {
	struct word word[PATHS][DEVICES];
	uint32_t flags[PATHS];
	uint64_t seq[PATHS];
	int64_t ino[PATHS];
	uint64_t last_seq;
	bool indexed[DEVICES];
};

struct world {
	struct rng rng;
	struct store *st;
	struct index *ix;
	struct model now, committed, flying;
	struct arena arena;
};

static const struct devid ids[DEVICES] = { { { 1 } }, { { 2 } }, { { 3 } },
	{ { 4 } } };

/* What a version of a path is follows from the two. */
static struct entry
entry_of(struct arena *ar, size_t path, struct vec v)
{
	const unsigned sum = v.n[0] * 7 + v.n[1] * 5 + v.n[2] * 3;
	struct counter *c = arena_array(ar, IDS, sizeof(*c));
	struct entry e = { .name = slice_str(paths[path]), .perms = 0644 };
	struct digest *d;

	for (uint32_t i = 0; i < IDS; i++) {
		if (v.n[i] > 0)
			c[e.version.count++] =
			    (struct counter){ .id = 100 + i, .value = v.n[i] };
	}
	e.version.counter = c;
	e.modified_by = 100 + sum % IDS;
	e.mtime_s = sum % 4; /* ties are wanted */
	switch (sum % 8) {
	case 0:
		e.deleted = true;
		return e;
	case 1:
		e.type = ENTRY_DIR;
		return e;
	case 2:
		e.type = ENTRY_LINK;
		e.no_perms = true;
		e.link_target = slice_str("elsewhere");
		return e;
	default:
		break;
	}
	/* Few contents, so that lists and places are shared. */
	e.block_count = 1 + sum % 3;
	e.block_size = 128 * 1024;
	e.size = (int64_t)e.block_count * e.block_size - 5;
	d = arena_array(ar, e.block_count, sizeof(*d));
	for (uint32_t i = 0; i < e.block_count; i++)
		d[i].b[0] = d[i].b[31] = (uint8_t)(1 + (sum + i) % 5);
	e.block = d;
	blocks_digest(d, e.block_count, &e.blocks_hash);
	return e;
}

static int
vec_cmp(struct vec a, struct vec b) /* 1 newer, -1 older, 0 equal, 2 else */
{
	bool more = false, less = false;

	for (int i = 0; i < IDS; i++) {
		more |= a.n[i] > b.n[i];
		less |= a.n[i] < b.n[i];
	}
	if (more && less)
		return 2;
	return more ? 1 : less ? -1 : 0;
}

static bool
vec_is_empty(struct vec v)
{
	return v.n[0] + v.n[1] + v.n[2] == 0;
}

static bool
model_is_valid(const struct model *m, size_t path, struct vec v)
{
	for (int d = 0; d < DEVICES; d++) {
		const struct word *w = &m->word[path][d];

		if (w->has && !w->shadow && vec_cmp(w->v, v) == 0)
			return true;
	}
	return false;
}

/* Does a win over b, when neither dominates? */
static bool
model_wins(struct arena *ar, size_t path, struct vec a, struct vec b)
{
	const struct entry ea = entry_of(ar, path, a);
	const struct entry eb = entry_of(ar, path, b);

	if (ea.deleted != eb.deleted)
		return eb.deleted;
	if (ea.mtime_s != eb.mtime_s)
		return ea.mtime_s > eb.mtime_s;
	for (int i = 0; i < IDS; i++) {
		if (a.n[i] != b.n[i])
			return a.n[i] > b.n[i];
	}
	return false;
}

static bool
model_global(const struct model *m, struct arena *ar, size_t path,
    struct vec *out, bool *valid)
{
	bool found = false;

	*valid = false;
	for (int d = 0; d < DEVICES; d++)
		*valid |= m->word[path][d].has && !m->word[path][d].shadow;
	for (int d = 0; d < DEVICES; d++) {
		const struct word *w = &m->word[path][d];
		bool beaten = false;

		if (!w->has || (*valid && !model_is_valid(m, path, w->v)))
			continue;
		for (int o = 0; o < DEVICES; o++) {
			const struct word *x = &m->word[path][o];

			if (!x->has ||
			    (*valid && !model_is_valid(m, path, x->v)))
				continue;
			beaten |= vec_cmp(w->v, x->v) == -1;
		}
		if (beaten || (found && !model_wins(ar, path, w->v, *out)))
			continue;
		*out = w->v;
		found = true;
	}
	return found;
}

static bool
model_is_alive(const struct model *m, struct arena *ar, size_t path)
{
	for (int d = 0; d < DEVICES; d++) {
		const struct word *w = &m->word[path][d];

		if (w->has && !w->shadow && !entry_of(ar, path, w->v).deleted)
			return true;
	}
	return false;
}

static bool
model_needs(const struct model *m, struct arena *ar, size_t path, int dev)
{
	const struct word *w = &m->word[path][dev];
	const uint32_t flags = dev == 0 ? m->flags[path] : 0;
	struct vec g = { 0 };
	bool valid, gone;

	if (!model_global(m, ar, path, &g, &valid) || !valid)
		return false;
	if ((flags & ROW_IGNORED) != 0)
		return false;
	if (w->has && vec_cmp(w->v, g) == 0)
		return false;
	gone = entry_of(ar, path, g).deleted;
	if (dev != 0)
		return !gone || (w->has && !w->shadow &&
				    !entry_of(ar, path, w->v).deleted);
	/* To be passed on to those who still have it. */
	if (gone && !w->has)
		return model_is_alive(m, ar, path);
	if (w->has && (flags & ROW_LOCAL_CHANGED) != 0 && vec_cmp(w->v, g) == 1)
		return false;
	return true;
}

static void
count(struct totals *t, const struct entry *e)
{
	if (e->deleted)
		t->deleted++;
	else if (e->type == ENTRY_FILE)
		t->files++;
	else if (e->type == ENTRY_DIR)
		t->dirs++;
	else
		t->links++;
	t->bytes += e->size;
}

static void
check_totals(struct world *w)
{
	struct totals local = { 0 }, global = { 0 }, t;
	int64_t changed = 0, conflicts = 0;

	for (size_t p = 0; p < PATHS; p++) {
		const struct word *own = &w->now.word[p][0];
		struct vec g = { 0 };
		struct entry e;
		bool valid;

		if (own->has &&
		    (w->now.flags[p] & (ROW_IGNORED | ROW_UNSUPPORTED)) == 0) {
			e = entry_of(&w->arena, p, own->v);
			count(&local, &e);
			conflicts += p == PATHS - 1 && !e.deleted &&
				     e.type == ENTRY_FILE;
		}
		changed += (w->now.flags[p] & ROW_LOCAL_CHANGED) != 0;
		if (model_global(&w->now, &w->arena, p, &g, &valid) && valid) {
			e = entry_of(&w->arena, p, g);
			count(&global, &e);
		}
	}
	t = index_local_totals(w->ix);
	assert_memory_equal(&t, &local, sizeof(t));
	t = index_global_totals(w->ix);
	assert_memory_equal(&t, &global, sizeof(t));
	assert_int_equal(index_changed_totals(w->ix), changed);
	assert_int_equal(index_conflict_totals(w->ix), conflicts);
}

static void
check_need(struct world *w)
{
	struct slice after = SLICE_EMPTY, before = SLICE_EMPTY;

	for (int d = 0; d < DEVICES; d++) {
		struct need_totals want = { 0 }, got;

		for (size_t p = 0; p < PATHS; p++) {
			struct vec g = { 0 };
			bool valid;
			struct entry e;

			if ((d != 0 && !w->now.indexed[d]) ||
			    !model_needs(&w->now, &w->arena, p, d))
				continue;
			model_global(&w->now, &w->arena, p, &g, &valid);
			e = entry_of(&w->arena, p, g);
			want.items += !e.deleted;
			want.deletes += e.deleted;
			want.bytes += e.size;
		}
		got = index_need_totals(w->ix, (uint32_t)d);
		assert_int_equal(got.items, want.items);
		assert_int_equal(got.deletes, want.deletes);
		assert_int_equal(got.bytes, want.bytes);
	}
	/* `paths` is in byte order. */
	for (size_t p = 0; p < PATHS; p++) {
		struct row *row;

		if (!model_needs(&w->now, &w->arena, p, 0))
			continue;
		row = index_next_need(w->ix, after, &w->arena);
		assert_non_null(row);
		assert_true(slice_equal(row->path, slice_str(paths[p])));
		after = row->path;
	}
	assert_null(index_next_need(w->ix, after, &w->arena));
	for (size_t p = PATHS; p-- > 0;) {
		struct row *row;

		if (!model_needs(&w->now, &w->arena, p, 0))
			continue;
		assert_true(index_has_need(w->ix));
		row = index_prev_need(w->ix, before, &w->arena);
		assert_non_null(row);
		assert_true(slice_equal(row->path, slice_str(paths[p])));
		before = row->path;
	}
	if (before.len > 0)
		assert_null(index_prev_need(w->ix, before, &w->arena));
	else
		assert_false(index_has_need(w->ix));
}

static void
check_version(struct world *w, size_t path, const struct row_version *v,
    struct vec vec)
{
	const struct entry want = entry_of(&w->arena, path, vec);
	const struct digest *block = NULL;
	struct err err = { 0 };

	assert_true(slice_equal(v->entry.name, want.name));
	assert_int_equal(v->entry.type, want.type);
	assert_int_equal(v->entry.deleted, want.deleted);
	assert_int_equal(v->entry.size, want.size);
	assert_int_equal(v->entry.mtime_s, want.mtime_s);
	assert_int_equal(v->entry.modified_by, want.modified_by);
	assert_int_equal(v->entry.block_count, want.block_count);
	assert_memory_equal(&v->entry.blocks_hash, &want.blocks_hash,
	    sizeof(want.blocks_hash));
	assert_true(slice_equal(v->entry.link_target, want.link_target));
	assert_int_equal(
	    index_blocks(w->ix, &v->entry, &block, &w->arena, &err), 0);
	if (want.block_count > 0)
		assert_memory_equal(block, want.block,
		    want.block_count * sizeof(*block));
}

/* The model's vector of a version. */
static struct vec
vec_of(const struct row_version *v)
{
	struct vec out = { 0 };

	for (uint32_t i = 0; i < v->entry.version.count; i++)
		out.n[v->entry.version.counter[i].id - 100] =
		    (unsigned)v->entry.version.counter[i].value;
	return out;
}

static void
check_row(struct world *w, size_t path, const struct row *row)
{
	const struct word *own = &w->now.word[path][0];
	struct vec g = { 0 };
	bool valid;
	int words = 0;

	assert_true(model_global(&w->now, &w->arena, path, &g, &valid));
	assert_int_equal(row->global, 0);
	assert_int_equal(vec_cmp(vec_of(row_global(row)), g), 0);
	assert_int_equal(row->flags, w->now.flags[path]);
	assert_int_equal(row->seq, w->now.seq[path]);
	assert_int_equal(row->seen.ino, w->now.ino[path]);
	assert_int_equal(row->local >= 0, own->has);
	if (own->has)
		assert_int_equal(vec_cmp(vec_of(row_local(row)), own->v), 0);
	for (uint32_t i = 0; i < row->version_count; i++) {
		const struct row_version *v = &row->version[i];

		check_version(w, path, v, vec_of(v));
		for (uint32_t d = 0; d < DEVICES; d++) {
			const bool held = devset_has(&v->holders, d);
			const struct word *word = &w->now.word[path][d];

			if (!held && !devset_has(&v->shadows, d))
				continue;
			words++;
			assert_true(word->has);
			assert_int_equal(word->shadow, !held);
			assert_int_equal(vec_cmp(word->v, vec_of(v)), 0);
		}
	}
	for (int d = 0; d < DEVICES; d++)
		words -= w->now.word[path][d].has;
	assert_int_equal(words, 0);
}

static bool
model_has(const struct world *w, size_t path)
{
	bool has = false;

	for (int d = 0; d < DEVICES; d++)
		has |= w->now.word[path][d].has;
	return has;
}

static void
check_rows(struct world *w)
{
	struct slice after = SLICE_EMPTY;
	struct row *row;

	for (size_t p = 0; p < PATHS; p++) {
		row = index_row(w->ix, slice_str(paths[p]), &w->arena);
		assert_int_equal(row != NULL, model_has(w, p));
		if (row == NULL)
			continue;
		check_row(w, p, row);
		row = index_next(w->ix, after, &w->arena);
		assert_non_null(row);
		assert_true(slice_equal(row->path, slice_str(paths[p])));
		after = row->path;
	}
	assert_null(index_next(w->ix, after, &w->arena));
}

static void
check_seqs(struct world *w)
{
	uint64_t seq = 0;

	assert_int_equal(index_seq(w->ix), w->now.last_seq);
	for (;;) {
		struct row *row = index_next_seq(w->ix, seq, &w->arena);
		uint64_t want = UINT64_MAX;

		for (size_t p = 0; p < PATHS; p++) {
			if (w->now.seq[p] > seq && w->now.seq[p] < want)
				want = w->now.seq[p];
		}
		assert_int_equal(row != NULL, want != UINT64_MAX);
		if (row == NULL)
			break;
		assert_int_equal(row->seq, want);
		seq = want;
	}
}

/* Every block of what is on this disk is found there, and nothing else. */
static void
check_places(struct world *w)
{
	size_t lists = 0;

	for (uint8_t c = 1; c <= 5; c++) {
		struct digest d = { { 0 } };
		struct block_place place[PATHS * 4];
		uint32_t want = 0, got;

		d.b[0] = d.b[31] = c;
		got =
		    index_block_places(w->ix, &d, place, PATHS * 4, &w->arena);
		for (size_t p = 0; p < PATHS; p++) {
			const struct word *own = &w->now.word[p][0];
			struct entry e;

			if (!own->has ||
			    (w->now.flags[p] &
				(ROW_IGNORED | ROW_UNSUPPORTED)) != 0)
				continue;
			e = entry_of(&w->arena, p, own->v);
			for (uint32_t i = 0; i < e.block_count; i++)
				want += e.block[i].b[0] == c;
		}
		assert_int_equal(got, want);
		for (uint32_t i = 0; i < got; i++) {
			const struct row *row =
			    index_row(w->ix, place[i].path, &w->arena);
			const struct digest *b = NULL;

			assert_non_null(row);
			assert_int_equal(index_blocks(w->ix,
					     &row_local(row)->entry, &b,
					     &w->arena, NULL),
			    0);
			assert_int_equal(b[place[i].block].b[0], c);
		}
	}
	/* Lists nobody uses are gone: each distinct one has two records. */
	for (uint8_t first = 0; first < 5; first++) {
		for (uint32_t n = 2; n <= 3; n++) {
			bool used = false;

			for (size_t p = 0; p < PATHS; p++) {
				for (int d = 0; d < DEVICES; d++) {
					struct word *x = &w->now.word[p][d];
					struct entry e =
					    entry_of(&w->arena, p, x->v);

					used |= x->has && e.block_count == n &&
						e.block[0].b[0] == 1 + first;
				}
			}
			lists += used;
		}
	}
	assert_int_equal(store_mem_count(w->st, STORE_LIST), 2 * lists);
}

static void
check_children(struct world *w)
{
	static const char *const dirs[] = { "", "a", "a/b", "b" };

	for (size_t i = 0; i < 4; i++) {
		const struct slice dir = slice_str(dirs[i]);
		struct slice after = SLICE_EMPTY;
		struct slice below = SLICE_EMPTY;
		struct row *row;

		for (size_t p = 0; p < PATHS; p++) {
			const struct slice path = slice_str(paths[p]);

			if (!model_has(w, p) || !path_is_below(path, dir))
				continue;
			row = index_next_below(w->ix, dir, below, &w->arena);
			assert_non_null(row);
			assert_true(slice_equal(row->path, path));
			below = row->path;
			if (!slice_equal(path_parent(path), dir))
				continue;
			row = index_next_child(w->ix, dir, after, &w->arena);
			assert_non_null(row);
			assert_true(slice_equal(row->path, path));
			after = path_base(row->path);
		}
		assert_null(index_next_child(w->ix, dir, after, &w->arena));
		assert_null(index_next_below(w->ix, dir, below, &w->arena));
	}
}

static void
check_all(struct world *w)
{
	check_rows(w);
	check_totals(w);
	check_need(w);
	check_seqs(w);
	check_places(w);
	check_children(w);
	assert_null(index_error(w->ix));
	arena_clear(&w->arena);
}

/* What happens */

static struct vec
some_vec(struct world *w)
{
	struct vec v;

	for (int i = 0; i < IDS; i++)
		v.n[i] = (unsigned)rng_below(&w->rng, 3);
	return v;
}

/* What was deleted, or lost, stays known under what is put over it. */
static struct vec
vec_over_own(struct world *w, size_t p, struct vec v, uint32_t flags)
{
	const struct word *own = &w->now.word[p][0];

	if (flags != 0 || !own->has || w->now.flags[p] != 0)
		return v;
	if (!entry_of(&w->arena, p, own->v).deleted &&
	    (vec_cmp(own->v, v) != 2 || entry_of(&w->arena, p, v).deleted ||
		!model_wins(&w->arena, p, v, own->v)))
		return v;
	for (int i = 0; i < IDS; i++)
		if (own->v.n[i] > v.n[i])
			v.n[i] = own->v.n[i];
	return v;
}

static void
do_put_local(struct world *w, size_t p)
{
	static const uint32_t flags[] = { 0, 0, 0, 0, ROW_IGNORED,
		ROW_LOCAL_CHANGED, ROW_UNSUPPORTED };
	const uint32_t f = flags[rng_below(&w->rng, 7)];
	const struct vec v = vec_over_own(w, p, some_vec(w), f);
	const struct entry e = entry_of(&w->arena, p, v);
	const struct identity seen = { .type = IDENTITY_FILE,
		.ino = rng_u64(&w->rng) >> 40 };

	index_put_local(w->ix, &e, &seen, f);
	w->now.word[p][0] =
	    (struct word){ .has = true, .shadow = f != 0, .v = v };
	w->now.flags[p] = f;
	w->now.seq[p] = ++w->now.last_seq;
	w->now.ino[p] = (int64_t)seen.ino;
}

static void
do_put_remote(struct world *w, size_t p)
{
	const uint32_t dev = 1 + (uint32_t)rng_below(&w->rng, DEVICES - 1);
	struct vec v = some_vec(w);
	struct entry e = entry_of(&w->arena, p, v);

	e.invalid = rng_below(&w->rng, 4) == 0 || vec_is_empty(v);
	assert_int_equal(index_put_remote(w->ix, dev, &e, NULL), 0);
	w->now.word[p][dev] =
	    (struct word){ .has = true, .shadow = e.invalid, .v = v };
}

static void
do_forget_local(struct world *w, size_t p)
{
	index_forget_local(w->ix, slice_str(paths[p]));
	if (!model_has(w, p))
		return;
	w->now.word[p][0] = (struct word){ 0 };
	w->now.flags[p] = 0;
	w->now.seq[p] = 0;
	w->now.ino[p] = 0;
}

static void
do_put_seen(struct world *w, size_t p)
{
	const struct identity seen = { .type = IDENTITY_FILE,
		.ino = rng_u64(&w->rng) >> 40 };

	index_put_seen(w->ix, slice_str(paths[p]), &seen);
	if (w->now.word[p][0].has)
		w->now.ino[p] = (int64_t)seen.ino;
}

static void
do_forget_device(struct world *w)
{
	const uint32_t dev = 1 + (uint32_t)rng_below(&w->rng, DEVICES - 1);
	struct slice cursor = SLICE_EMPTY;
	bool two = false;

	while (index_forget_step(w->ix, dev, &cursor, 3, &w->arena, &two))
		;
	for (size_t p = 0; p < PATHS; p++)
		w->now.word[p][dev] = (struct word){ 0 };
	index_put_peer(w->ix, dev, (struct peer_state){ 0 });
	w->now.indexed[dev] = false;
}

static void
do_commit(struct world *w)
{
	if (store_mem_is_committing(w->st)) {
		if (rng_below(&w->rng, 4) == 0) {
			store_mem_commit_fail(w->st);
			return;
		}
		store_mem_commit_end(w->st);
		w->committed = w->flying;
		return;
	}
	index_flush(w->ix);
	w->flying = w->now;
	store_mem_commit_begin(w->st);
}

static void
do_open(struct world *w)
{
	struct err err = { 0 };

	assert_int_equal(index_open(&w->ix, w->st, &ids[0], 77, &err), 0);
	for (uint32_t d = 0; d < DEVICES; d++) {
		uint32_t slot = 99;

		assert_int_equal(index_slot(w->ix, &ids[d], &slot, &err), 0);
		assert_int_equal(slot, d);
	}
}

static void
do_crash(struct world *w)
{
	index_close(w->ix);
	store_mem_crash(w->st);
	w->now = w->committed;
	do_open(w);
	for (uint32_t d = 1; d < DEVICES; d++)
		assert_int_equal(index_peer(w->ix, d).index_id != 0,
		    w->now.indexed[d]);
}

static void
do_something(struct world *w)
{
	const size_t p = (size_t)rng_below(&w->rng, PATHS);
	const uint64_t what = rng_below(&w->rng, 100);
	uint32_t dev;

	if (what < 35) {
		do_put_local(w, p);
	} else if (what < 75) {
		do_put_remote(w, p);
	} else if (what < 83) {
		do_forget_local(w, p);
	} else if (what < 86) {
		do_put_seen(w, p);
	} else if (what < 88) {
		do_forget_device(w);
	} else if (what < 90) {
		dev = 1 + (uint32_t)rng_below(&w->rng, DEVICES - 1);
		index_put_peer(w->ix, dev,
		    (struct peer_state){ .index_id = 5, .max_sequence = 9 });
		w->now.indexed[dev] = true;
	} else if (what < 98) {
		do_commit(w);
	} else {
		do_crash(w);
	}
}

static void
index_agrees_with_a_model_over_random_histories(void **state)
{
	const char *env = getenv("INDEX_MODEL_SEEDS");
	const uint64_t seeds = env != NULL ? strtoull(env, NULL, 10) : 30;

	(void)state;
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct world w = { .st = store_mem_new() };

		rng_init(&w.rng, seed);
		do_open(&w);
		for (int i = 0; i < 400; i++) {
			do_something(&w);
			check_all(&w);
		}
		index_close(w.ix);
		store_mem_free(w.st);
		arena_fini(&w.arena);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    index_agrees_with_a_model_over_random_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
