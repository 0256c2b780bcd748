/*
 * Payloads: one owner, the data inside the block.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/payload.h"

static void
a_new_payload_has_its_length(void **state)
{
	struct payload *p = payload_new(100000);

	(void)state;
	assert_int_equal(p->len, 100000);
	memset(p->data, 7, p->len);
	assert_int_equal(payload_slice(p).len, 100000);
	assert_ptr_equal(payload_slice(p).ptr, p->data);
	payload_free(p);
	p = payload_new(0);
	assert_int_equal(payload_slice(p).len, 0);
	payload_free(p);
	payload_free(NULL);
}

static void
a_frame_becomes_a_payload_without_a_copy(void **state)
{
	uint8_t *frame = mem_dup("head:data", 9);
	struct payload *p = payload_take(frame, slice_of(frame + 5, 4));

	(void)state;
	assert_ptr_equal(p->data, frame + 5);
	assert_true(slice_equal(payload_slice(p), SLICE_LIT("data")));
	payload_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_payload_has_its_length),
		cmocka_unit_test(a_frame_becomes_a_payload_without_a_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
