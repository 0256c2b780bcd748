/* The audit log: whatever is changed in it, shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/coord_audit.h"

static struct buf
log_of(int lines)
{
	const struct coord_audit_note note = { .wall_ns = 1000000000,
		.what = "add",
		.actor = { { 1 } },
		.from = "192.0.2.1:5",
		.domain = { { 2 } },
		.text = "a \"device\"\n\\" };
	struct coord_audit at = { 0 };
	struct buf out = { 0 };

	for (int i = 0; i < lines; i++)
		coord_audit_put(&at, &note, &out);
	return out;
}

/* How many lines are good, from the front. */
static int
good(struct slice log)
{
	struct coord_audit at = { 0 };
	int n = 0;

	while (log.len > 0) {
		const size_t end = slice_find(log, '\n');
		struct err err = { 0 };

		assert_int_not_equal(end, SIZE_MAX);
		if (coord_audit_check(&at, slice_to(log, end), &err) < 0) {
			assert_int_equal(err.code, ERR_CORRUPT);
			return n;
		}
		log = slice_from(log, end + 1);
		n++;
	}
	return n;
}

static void
audit_lines_follow_one_another(void **state)
{
	struct buf log = log_of(5);

	(void)state;
	assert_int_equal(good(buf_slice(&log)), 5);
	/* What would break a line, or a string, is not in it. */
	assert_non_null(
	    memmem(log.ptr, log.len, "\"text\":\"a \\\"device\\\"?\\\\\"", 22));
	assert_int_equal(coord_audit_whole(buf_slice(&log)), log.len);
	log.len -= 3;
	assert_in_range(coord_audit_whole(buf_slice(&log)), 1, log.len - 1);
	buf_fini(&log);
}

static void
audit_shows_every_byte_that_was_changed(void **state)
{
	struct buf log = log_of(3);

	(void)state;
	for (size_t i = 0; i < log.len; i++) {
		const uint8_t was = log.ptr[i];

		if (was == '\n')
			continue;
		log.ptr[i] = was == 'x' ? 'y' : 'x';
		assert_in_range(good(buf_slice(&log)), 0, 2);
		log.ptr[i] = was;
	}
	assert_int_equal(good(buf_slice(&log)), 3);
	buf_fini(&log);
}

static void
audit_shows_lines_that_are_missing(void **state)
{
	struct buf log = log_of(4);
	const size_t first = slice_find(buf_slice(&log), '\n') + 1;
	const size_t second =
	    first + slice_find(slice_from(buf_slice(&log), first), '\n') + 1;
	struct buf cut = { 0 };

	(void)state;
	buf_put(&cut, slice_to(buf_slice(&log), first));
	buf_put(&cut, slice_from(buf_slice(&log), second));
	assert_int_equal(good(buf_slice(&cut)), 1);
	/* The beginning may have been put away. */
	assert_int_equal(good(slice_from(buf_slice(&log), first)), 3);
	buf_fini(&cut);
	buf_fini(&log);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(audit_lines_follow_one_another),
		cmocka_unit_test(audit_shows_every_byte_that_was_changed),
		cmocka_unit_test(audit_shows_lines_that_are_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
