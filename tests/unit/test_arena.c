/*
 * Arenas: alignment, marks that nest, and how much is kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/limits.h"
#include "engine/base/rng.h"

static void
all_is_aligned_and_apart(void **state)
{
	struct arena ar = { 0 };
	uint8_t *last = NULL;

	(void)state;
	for (size_t len = 0; len < 300; len++) {
		uint8_t *p = arena_alloc(&ar, len);

		assert_int_equal((uintptr_t)p % 16, 0);
		assert_true(p != last);
		memset(p, (int)len, len);
		last = p;
	}
	arena_fini(&ar);
	assert_int_equal(arena_held(&ar), 0);
}

static void
nothing_is_overwritten_by_what_comes_later(void **state)
{
	struct {
		uint8_t *p;
		size_t len;
	} got[500];
	struct arena ar = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 1);
	for (size_t i = 0; i < 500; i++) {
		got[i].len =
		    (size_t)rng_below(&rng, i % 50 == 0 ? 200000 : 999);
		got[i].p = arena_alloc(&ar, got[i].len);
		memset(got[i].p, (int)(i & 0xff), got[i].len);
	}
	for (size_t i = 0; i < 500; i++) {
		for (size_t k = 0; k < got[i].len; k++)
			assert_int_equal(got[i].p[k], i & 0xff);
	}
	arena_fini(&ar);
}

static void
reset_gives_back_what_came_after_the_mark(void **state)
{
	struct arena ar;
	char *kept;

	(void)state;
	arena_init(&ar);
	kept = arena_printf(&ar, "kept %d", 1);
	for (int round = 0; round < 100; round++) {
		const struct arena_mark outer = arena_mark(&ar);

		arena_alloc(&ar, 5000);
		for (int k = 0; k < 10; k++) {
			const struct arena_mark inner = arena_mark(&ar);
			uint8_t *p = arena_alloc(&ar, 100000);

			memset(p, 0xff, 100000);
			arena_reset(&ar, inner);
			assert_ptr_equal(arena_alloc(&ar, 100000), p);
			arena_reset(&ar, inner);
		}
		arena_reset(&ar, outer);
	}
	assert_string_equal(kept, "kept 1");
	assert_true(arena_held(&ar) < 2 * LIMIT_ARENA_KEEP);
	arena_fini(&ar);
}

static void
a_mark_of_the_empty_arena_empties_it(void **state)
{
	struct arena ar = { 0 };
	const struct arena_mark empty = arena_mark(&ar);
	void *first = arena_alloc(&ar, 10);

	(void)state;
	arena_alloc(&ar, 500000);
	arena_reset(&ar, empty);
	assert_ptr_equal(arena_alloc(&ar, 10), first);
	arena_fini(&ar);
}

static void
what_is_kept_has_a_limit(void **state)
{
	struct arena ar = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++)
		arena_alloc(&ar, 64 * KIB);
	arena_alloc(&ar, 10 * MIB);
	assert_true(arena_held(&ar) > 16 * MIB);
	arena_clear(&ar);
	assert_true(arena_held(&ar) <= LIMIT_ARENA_KEEP + 16 * KIB);
	/* One huge first block is not kept either. */
	arena_fini(&ar);
	arena_alloc(&ar, 10 * MIB);
	arena_clear(&ar);
	assert_int_equal(arena_held(&ar), 0);
	assert_non_null(arena_alloc(&ar, 1));
	arena_fini(&ar);
}

static void
copies_are_copies(void **state)
{
	struct arena ar = { 0 };
	char text[] = "abc";
	struct slice s = arena_dup(&ar, slice_str(text));
	char *z = arena_str(&ar, slice_str(text));
	uint64_t *n = arena_array(&ar, 100, sizeof(*n));

	(void)state;
	text[0] = 'x';
	assert_true(slice_equal(s, SLICE_LIT("abc")));
	assert_string_equal(z, "abc");
	assert_int_equal(arena_dup(&ar, SLICE_EMPTY).len, 0);
	assert_string_equal(arena_str(&ar, SLICE_EMPTY), "");
	assert_string_equal(arena_printf(&ar, "%s-%d", "a", 5), "a-5");
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(n[i], 0);
	arena_fini(&ar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_aligned_and_apart),
		cmocka_unit_test(nothing_is_overwritten_by_what_comes_later),
		cmocka_unit_test(reset_gives_back_what_came_after_the_mark),
		cmocka_unit_test(a_mark_of_the_empty_arena_empties_it),
		cmocka_unit_test(what_is_kept_has_a_limit),
		cmocka_unit_test(copies_are_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
