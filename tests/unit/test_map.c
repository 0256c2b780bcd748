/*
 * Hash maps against a plain array, with random operations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/hash.h"
#include "engine/base/map.h"
#include "engine/base/rng.h"

#define KEYS 300

static int things[KEYS * 2]; /* values: addresses only */

/* The model: keys in insertion order. */
struct model {
	size_t key[KEYS];
	void *value[KEYS];
	size_t len;
};

static size_t
model_find(const struct model *m, size_t key)
{
	size_t i = 0;

	while (i < m->len && m->key[i] != key)
		i++;
	return i;
}

static void *
model_put(struct model *m, size_t key, void *value)
{
	const size_t i = model_find(m, key);
	void *old = i < m->len ? m->value[i] : NULL;

	m->key[i] = key;
	m->value[i] = value;
	m->len += i == m->len;
	return old;
}

static void *
model_remove(struct model *m, size_t key)
{
	const size_t i = model_find(m, key);
	void *old;

	if (i == m->len)
		return NULL;
	old = m->value[i];
	m->len--;
	memmove(&m->key[i], &m->key[i + 1], (m->len - i) * sizeof(m->key[0]));
	memmove(&m->value[i], &m->value[i + 1],
	    (m->len - i) * sizeof(m->value[0]));
	return old;
}

static struct slice
key_of(size_t key, char text[32])
{
	/* Key 0 is the empty one; lengths differ. */
	int n = key == 0 ? 0
			 : snprintf(text, 32, "%.*s%zu", (int)(key % 9),
			       "kkkkkkkkk", key);

	return slice_of(text, (size_t)n);
}

static void
map_agrees_with_a_model(void **state)
{
	struct model model = { 0 };
	struct map m = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 11);
	for (int step = 0; step < 60000; step++) {
		/* Phases of growing and of shrinking. */
		const uint64_t bias = step / 3000 % 2 ? 3 : 7;
		const size_t key = (size_t)rng_below(&rng, KEYS);
		void *v = &things[rng_below(&rng, KEYS * 2)];
		struct map_item *it = NULL;
		char text[32];
		const struct slice k = key_of(key, text);
		size_t i = 0;

		if (rng_below(&rng, 10) < bias)
			assert_ptr_equal(map_put(&m, k, v),
			    model_put(&model, key, v));
		else
			assert_ptr_equal(map_remove(&m, k),
			    model_remove(&model, key));
		assert_int_equal(map_count(&m), model.len);
		i = model_find(&model, key);
		assert_ptr_equal(map_find(&m, k),
		    i < model.len ? model.value[i] : NULL);
		if (step % 50 != 0)
			continue;
		for (i = 0; (it = map_next(&m, it)) != NULL; i++) {
			assert_true(i < model.len);
			assert_true(
			    slice_equal(it->key, key_of(model.key[i], text)));
			assert_ptr_equal(it->value, model.value[i]);
		}
		assert_int_equal(i, model.len);
	}
	map_fini(&m);
}

static void
umap_agrees_with_a_model(void **state)
{
	struct model model = { 0 };
	struct umap m = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 12);
	for (int step = 0; step < 60000; step++) {
		const uint64_t bias = step / 3000 % 2 ? 3 : 7;
		const size_t key = (size_t)rng_below(&rng, KEYS);
		/* Low bits all the same: a poor hash would make one chain. */
		const uint64_t k = (uint64_t)key << 40;
		void *v = &things[rng_below(&rng, KEYS * 2)];
		struct umap_item *it = NULL;
		size_t i = 0;

		if (rng_below(&rng, 10) < bias)
			assert_ptr_equal(umap_put(&m, k, v),
			    model_put(&model, key, v));
		else
			assert_ptr_equal(umap_remove(&m, k),
			    model_remove(&model, key));
		assert_int_equal(umap_count(&m), model.len);
		i = model_find(&model, key);
		assert_ptr_equal(umap_find(&m, k),
		    i < model.len ? model.value[i] : NULL);
		if (step % 50 != 0)
			continue;
		for (i = 0; (it = umap_next(&m, it)) != NULL; i++) {
			assert_true(i < model.len);
			assert_true(it->key == (uint64_t)model.key[i] << 40);
			assert_ptr_equal(it->value, model.value[i]);
		}
		assert_int_equal(i, model.len);
	}
	umap_fini(&m);
}

static void
items_may_be_removed_while_iterating(void **state)
{
	(void)state;
	/* Which ones: all, every second, all but the last, ... */
	for (size_t mod = 1; mod < 6; mod++) {
		struct map m = { 0 };
		struct umap u = { 0 };
		struct map_item *it = NULL;
		struct umap_item *ut = NULL;
		size_t seen = 0, left = 0;
		char text[32];

		for (size_t i = 0; i < KEYS; i++) {
			map_put(&m, key_of(i, text), &things[i]);
			umap_put(&u, i, &things[i]);
		}
		while ((it = map_next(&m, it)) != NULL) {
			assert_ptr_equal(it->value, &things[seen]);
			if (seen % mod == 0)
				assert_ptr_equal(map_remove(&m, it->key),
				    &things[seen]);
			else
				left++;
			seen++;
		}
		assert_int_equal(seen, KEYS);
		assert_int_equal(map_count(&m), left);
		seen = 0;
		while ((ut = umap_next(&u, ut)) != NULL) {
			assert_ptr_equal(ut->value, &things[seen]);
			if (seen % mod == 0)
				umap_remove(&u, ut->key);
			seen++;
		}
		assert_int_equal(seen, KEYS);
		assert_int_equal(umap_count(&u), left);
		map_fini(&m);
		umap_fini(&u);
	}
}

static void
empty_maps_answer(void **state)
{
	struct map m;
	struct umap u;

	(void)state;
	map_init(&m);
	umap_init(&u);
	assert_null(map_find(&m, SLICE_LIT("x")));
	assert_null(map_remove(&m, SLICE_LIT("x")));
	assert_null(map_next(&m, NULL));
	assert_null(umap_find(&u, 0));
	assert_null(umap_remove(&u, 0));
	assert_null(umap_next(&u, NULL));
	map_fini(&m);
	umap_fini(&u);
}

static void
a_queue_does_not_grow_for_ever(void **state)
{
	struct umap u = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 100000; i++) {
		umap_put(&u, i, &things[0]);
		if (i >= 100)
			assert_non_null(umap_remove(&u, i - 100));
	}
	assert_int_equal(umap_count(&u), 100);
	assert_true(u.item_cap <= 512);
	umap_fini(&u);
}

static void
an_emptied_map_gives_memory_back(void **state)
{
	struct umap u = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 100000; i++)
		umap_put(&u, i, &things[0]);
	for (uint64_t i = 0; i < 100000; i++)
		umap_remove(&u, i);
	umap_put(&u, 1, &things[0]);
	assert_true(u.item_cap < 100);
	umap_fini(&u);
}

/* How many of the map's items want the place that is wanted most. */
static size_t
crowd(const struct map *m)
{
	static size_t at[1024];
	size_t most = 0;

	memset(at, 0, sizeof(at));
	for (struct map_item *it = NULL; (it = map_next(m, it)) != NULL;) {
		const size_t n = ++at[it->hash % 1024];

		most = n > most ? n : most;
	}
	return most;
}

static void
names_made_to_crowd_do_not_when_the_seed_is_unknown(void **state)
{
	struct map known, seeded;
	struct map_item *a = NULL, *b = NULL;

	(void)state;
	map_init(&known);
	map_init_seed(&seeded, UINT64_C(0x5eed5eed5eed5eed));
	for (unsigned i = 0; map_count(&known) < 500; i++) {
		char name[32];

		snprintf(name, sizeof(name), "name-%u", i);
		if (hash_u64(slice_str(name)) % 1024 != 0)
			continue;
		map_put(&known, slice_str(name), &things[0]);
		map_put(&seeded, slice_str(name), &things[0]);
	}
	assert_int_equal(crowd(&known), 500);
	assert_true(crowd(&seeded) < 10);
	/* Whatever the seed, they come in the order they were put. */
	while ((a = map_next(&known, a)) != NULL) {
		b = map_next(&seeded, b);
		assert_non_null(b);
		assert_true(slice_equal(a->key, b->key));
	}
	map_fini(&known);
	/* The seed stays. */
	map_fini(&seeded);
	map_put(&seeded, SLICE_LIT("x"), &things[0]);
	assert_int_not_equal(map_next(&seeded, NULL)->hash,
	    hash_u64(SLICE_LIT("x")));
	map_fini(&seeded);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_agrees_with_a_model),
		cmocka_unit_test(umap_agrees_with_a_model),
		cmocka_unit_test(items_may_be_removed_while_iterating),
		cmocka_unit_test(empty_maps_answer),
		cmocka_unit_test(a_queue_does_not_grow_for_ever),
		cmocka_unit_test(an_emptied_map_gives_memory_back),
		cmocka_unit_test(
		    names_made_to_crowd_do_not_when_the_seed_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
