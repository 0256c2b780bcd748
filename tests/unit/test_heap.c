/*
 * Timers: due order, ties in the order of adding, removal anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/heap.h"
#include "engine/base/rng.h"

#define NODES 200

static void
ties_leave_in_the_order_they_came(void **state)
{
	struct heap_node n[NODES];
	struct heap h = { 0 };

	(void)state;
	assert_null(heap_first(&h));
	for (size_t i = 0; i < NODES; i++) {
		n[i].pos = HEAP_OUT;
		heap_add(&h, &n[i], 5);
	}
	for (size_t i = 0; i < NODES; i++) {
		assert_ptr_equal(heap_first(&h), &n[i]);
		heap_remove(&h, &n[i]);
	}
	assert_null(heap_first(&h));
	heap_fini(&h);
}

static void
agrees_with_a_search_for_the_least(void **state)
{
	struct heap_node n[NODES];
	struct heap h = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 5);
	for (size_t i = 0; i < NODES; i++)
		n[i].pos = HEAP_OUT;
	for (int step = 0; step < 20000; step++) {
		struct heap_node *x = &n[rng_below(&rng, NODES)];
		const struct heap_node *least = NULL;

		if (x->pos == HEAP_OUT)
			heap_add(&h, x, rng_below(&rng, 50));
		else
			heap_remove(&h, x);
		for (size_t i = 0; i < NODES; i++) {
			if (n[i].pos == HEAP_OUT)
				continue;
			assert_ptr_equal(h.node[n[i].pos], &n[i]);
			if (least == NULL || n[i].at_ns < least->at_ns ||
			    (n[i].at_ns == least->at_ns &&
				n[i].order < least->order))
				least = &n[i];
		}
		assert_ptr_equal(heap_first(&h), least);
	}
	heap_fini(&h);
	for (size_t i = 0; i < NODES; i++)
		assert_true(n[i].pos == HEAP_OUT);
}

static void
removing_what_is_out_does_nothing(void **state)
{
	struct heap_node n = { .pos = HEAP_OUT };
	struct heap h = { 0 };

	(void)state;
	heap_remove(&h, &n);
	heap_add(&h, &n, UINT64_MAX);
	heap_remove(&h, &n);
	heap_remove(&h, &n);
	assert_null(heap_first(&h));
	heap_fini(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ties_leave_in_the_order_they_came),
		cmocka_unit_test(agrees_with_a_search_for_the_least),
		cmocka_unit_test(removing_what_is_out_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
