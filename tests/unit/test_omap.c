/*
 * The ordered map against a sorted array, with random operations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/omap.h"
#include "engine/base/rng.h"

#define KEYS 400
#define VALUE_MAX 5000

struct row {
	bool there, gone;
	size_t len;
	uint8_t fill;
};

/* Keys in bytewise order by number; front words agree and differ. */
static struct slice
key_of(size_t key, char text[40])
{
	int n = snprintf(text, 40, "%s%04zu%s",
	    key < 100   ? "a"
	    : key < 200 ? "longer/common/prefix/"
			: "z",
	    key, key % 3 == 0 ? "" : "tail");

	return key == 0 ? SLICE_EMPTY : slice_of(text, (size_t)n);
}

static void
check_item(const struct omap_item *it, size_t key, const struct row *row)
{
	char text[40];

	assert_non_null(it);
	assert_true(slice_equal(it->key, key_of(key, text)));
	assert_int_equal(it->gone, row->gone);
	assert_int_equal(it->value.len, row->len);
	for (size_t i = 0; i < row->len; i += 1 + row->len / 16)
		assert_int_equal(it->value.ptr[i], row->fill);
	if (row->len > 0)
		assert_int_equal(it->value.ptr[row->len - 1], row->fill);
}

static void
check_seeks(const struct omap *m, const struct row *rows, size_t key)
{
	char text[40];
	const struct slice k = key_of(key, text);
	size_t up = key, over = key + 1, down = key;

	while (up < KEYS && !rows[up].there)
		up++;
	while (over < KEYS && !rows[over].there)
		over++;
	while (down > 0 && !rows[down - 1].there)
		down--;
	if (up < KEYS)
		check_item(omap_seek(m, k, false), up, &rows[up]);
	else
		assert_null(omap_seek(m, k, false));
	if (over < KEYS)
		check_item(omap_seek(m, k, true), over, &rows[over]);
	else
		assert_null(omap_seek(m, k, true));
	if (down > 0)
		check_item(omap_seek_before(m, k), down - 1, &rows[down - 1]);
	else
		assert_null(omap_seek_before(m, k));
	if (rows[key].there)
		check_item(omap_find(m, k), key, &rows[key]);
	else
		assert_null(omap_find(m, k));
}

static void
check_all(const struct omap *m, const struct row *rows)
{
	const struct omap_item *it = omap_seek(m, SLICE_EMPTY, false);
	size_t count = 0;

	for (size_t i = 0; i < KEYS; i++) {
		if (!rows[i].there)
			continue;
		check_item(it, i, &rows[i]);
		/* Both ways to go on agree. */
		assert_ptr_equal(omap_next(it), omap_seek(m, it->key, true));
		it = omap_next(it);
		count++;
	}
	assert_null(it);
	assert_int_equal(omap_count(m), count);
}

static void
agrees_with_a_model(void **state)
{
	static uint8_t value[VALUE_MAX];
	struct row rows[KEYS] = { 0 };
	struct omap *m = omap_new();
	struct rng rng;

	(void)state;
	rng_init(&rng, 21);
	for (int step = 0; step < 60000; step++) {
		const uint64_t bias = step / 4000 % 2 ? 3 : 7;
		const size_t key = (size_t)rng_below(&rng, KEYS);
		struct row *row = &rows[key];
		char text[40];
		const struct slice k = key_of(key, text);

		if (rng_below(&rng, 10) >= bias) {
			assert_int_equal(omap_remove(m, k), row->there);
			*row = (struct row){ 0 };
		} else if (rng_below(&rng, 5) == 0) {
			omap_put_gone(m, k);
			*row = (struct row){ .there = true, .gone = true };
		} else {
			row->there = true;
			row->gone = false;
			row->len = (size_t)rng_below(&rng,
			    step % 20 == 0 ? VALUE_MAX : 100);
			row->fill = (uint8_t)step;
			memset(value, row->fill, row->len);
			omap_put(m, k, slice_of(value, row->len));
		}
		check_seeks(m, rows, (size_t)rng_below(&rng, KEYS));
		if (step % 500 == 0)
			check_all(m, rows);
		if (step % 17000 == 16999) {
			omap_clear(m);
			memset(rows, 0, sizeof(rows));
			assert_int_equal(omap_bytes(m), 0);
			check_all(m, rows);
		}
	}
	check_all(m, rows);
	for (size_t i = 0; i < KEYS; i++) {
		char text[40];

		assert_int_equal(omap_remove(m, key_of(i, text)),
		    rows[i].there);
	}
	assert_int_equal(omap_count(m), 0);
	assert_int_equal(omap_bytes(m), 0);
	omap_free(m);
	omap_free(NULL);
}

static void
bytes_decide_the_order_not_text(void **state)
{
	static const struct slice sorted[] = {
		SLICE_INIT(""),
		SLICE_INIT("\0"),
		SLICE_INIT("\0\0"),
		SLICE_INIT("\0\0\0\0\0\0\0\0"),
		SLICE_INIT("\0\0\0\0\0\0\0\0\0"),
		SLICE_INIT("\0\0\0\0\0\0\0\1"),
		SLICE_INIT("\1"),
		SLICE_INIT("a"),
		SLICE_INIT("a\0"),
		SLICE_INIT("aaaaaaa"),
		SLICE_INIT("aaaaaaa\0"),
		SLICE_INIT("aaaaaaa\0\0"),
		SLICE_INIT("aaaaaaaa"),
		SLICE_INIT("aaaaaaaab"),
		SLICE_INIT("\x7f"),
		SLICE_INIT("\x80"),
		SLICE_INIT("\xff\xff\xff\xff\xff\xff\xff\xff"),
		SLICE_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
	};
	const size_t n = sizeof(sorted) / sizeof(sorted[0]);
	struct omap *m = omap_new();
	const struct omap_item *it;

	(void)state;
	for (size_t i = 0; i < n; i++) /* 7 and 18 share no factor */
		omap_put(m, sorted[i * 7 % n], sorted[i * 7 % n]);
	assert_int_equal(omap_count(m), n);
	it = omap_seek(m, SLICE_EMPTY, false);
	for (size_t i = 0; i < n; i++, it = omap_next(it))
		assert_true(slice_equal(it->key, sorted[i]));
	assert_null(it);
	omap_free(m);
}

static void
a_value_may_be_made_from_itself(void **state)
{
	struct omap *m = omap_new();
	const struct slice key = SLICE_LIT("k");
	char text[3001];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[3000] = 'y';
	omap_put(m, key, slice_of(text, sizeof(text)));
	for (size_t cut = 1000; cut <= 3000; cut += 1000) {
		const struct slice v = omap_find(m, key)->value;

		omap_put(m, key, slice_from(v, v.len - (3001 - cut)));
		assert_int_equal(omap_find(m, key)->value.ptr[3000 - cut], 'y');
	}
	assert_true(slice_equal(omap_find(m, key)->value, SLICE_LIT("y")));
	omap_free(m);
}

static void
rewriting_the_same_keys_does_not_grow(void **state)
{
	struct omap *m = omap_new();
	char text[40];
	uint8_t value[300] = { 0 };
	size_t most = 0;

	(void)state;
	for (size_t round = 0; round < 2000; round++) {
		for (size_t i = 0; i < 20; i++)
			omap_put(m, key_of(i, text),
			    slice_of(value, (round * 37 + i * 11) % 300));
		if (round % 3 == 0) {
			for (size_t i = 0; i < 20; i++)
				omap_remove(m, key_of(i, text));
		}
		if (omap_bytes(m) > most)
			most = omap_bytes(m);
	}
	assert_true(most < (size_t)20 * 1024);
	omap_free(m);
}

static void
the_same_puts_make_the_same_map(void **state)
{
	struct omap *a = omap_new();
	struct omap *b = omap_new();
	char text[40];

	(void)state;
	omap_put(b, SLICE_LIT("before"), SLICE_LIT("clear"));
	omap_clear(b);
	for (size_t i = 0; i < KEYS; i++) {
		omap_put(a, key_of(i * 7 % KEYS, text), SLICE_LIT("v"));
		omap_put(b, key_of(i * 7 % KEYS, text), SLICE_LIT("v"));
		assert_int_equal(omap_bytes(a), omap_bytes(b));
	}
	omap_free(a);
	omap_free(b);
}

static void
large_and_many(void **state)
{
	struct omap *m = omap_new();
	uint8_t *big = mem_zalloc(1 << 20);
	uint8_t key[4];

	(void)state;
	for (uint32_t i = 0; i < 50000; i++) {
		/* A permutation: the numbers from 0 on, bits turned round. */
		for (unsigned k = 0; k < 4; k++)
			key[3 - k] = (uint8_t)((i * 2654435761u) >> (8 * k));
		omap_put(m, slice_of(key, 4),
		    slice_of(big, i % 9000 == 0 ? 1 << 20 : i % 40));
	}
	assert_int_equal(omap_count(m), 50000);
	for (const struct omap_item *it = omap_seek(m, SLICE_EMPTY, false),
				    *next;
	     it != NULL && (next = omap_next(it)) != NULL; it = next)
		assert_true(slice_cmp(it->key, next->key) < 0);
	omap_clear(m);
	assert_null(omap_seek(m, SLICE_EMPTY, false));
	mem_free(big);
	omap_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_model),
		cmocka_unit_test(bytes_decide_the_order_not_text),
		cmocka_unit_test(a_value_may_be_made_from_itself),
		cmocka_unit_test(rewriting_the_same_keys_does_not_grow),
		cmocka_unit_test(the_same_puts_make_the_same_map),
		cmocka_unit_test(large_and_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
