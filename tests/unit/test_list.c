/*
 * Lists and vectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

struct thing {
	int number;
	struct list_node node;
};

static int
nth(const struct list *l, size_t n)
{
	const struct list_node *at = list_first(l);

	while (n-- > 0)
		at = list_next(l, at);
	return LIST_ITEM(at, const struct thing, node)->number;
}

static void
a_list_keeps_its_order(void **state)
{
	struct thing t[4] = { 0 };
	struct list l;

	(void)state;
	list_init(&l);
	assert_null(list_first(&l));
	for (int i = 0; i < 4; i++)
		t[i].number = i;
	list_add(&l, &t[1].node);
	list_add(&l, &t[2].node);
	list_add_first(&l, &t[0].node);
	assert_int_equal(l.count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(nth(&l, i), (int)i);
	assert_true(list_has(&t[1].node));
	assert_false(list_has(&t[3].node));
	list_remove(&l, &t[1].node);
	assert_false(list_has(&t[1].node));
	assert_int_equal(nth(&l, 1), 2);
	assert_null(list_next(&l, &t[2].node));
	list_remove(&l, &t[0].node);
	list_remove(&l, &t[2].node);
	assert_null(list_first(&l));
	assert_int_equal(l.count, 0);
	list_add(&l, &t[1].node);
	assert_int_equal(nth(&l, 0), 1);
}

static void
a_vector_grows_and_drops(void **state)
{
	VEC(uint32_t) v = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		*VEC_ADD(&v) = i;
	assert_int_equal(v.len, 1000);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(v.item[i], i);
	VEC_DROP(&v, 0);
	assert_int_equal(v.item[0], 999);
	assert_int_equal(v.len, 999);
	VEC_DROP(&v, 998);
	assert_int_equal(v.len, 998);
	VEC_CLEAR(&v);
	assert_int_equal(v.len, 0);
	*VEC_ADD(&v) = 7;
	assert_int_equal(v.item[0], 7);
	VEC_FINI(&v);
	assert_null(v.item);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_keeps_its_order),
		cmocka_unit_test(a_vector_grows_and_drops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
