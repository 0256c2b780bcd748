/*
 * Kinds of failed dials: mesh/failure.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/failure.h"

static enum failure
of(const char *to, enum err_code code, int sys)
{
	struct err err = { .code = code, .sys = sys };
	struct addr addr;

	assert_int_equal(addr_parse(&addr, slice_str(to), NULL), 0);
	return failure_of(&addr, &err);
}

static void
failure_is_told_by_the_system_first(void **state)
{
	const char *to = "tcp://192.0.2.1:22000";

	(void)state;
	assert_int_equal(of(to, ERR_CLOSED, ECONNREFUSED), FAILURE_REFUSED);
	assert_int_equal(of(to, ERR_CLOSED, ETIMEDOUT), FAILURE_TIMEOUT);
	assert_int_equal(of(to, ERR_IO, EHOSTUNREACH), FAILURE_UNREACHABLE);
	assert_int_equal(of(to, ERR_DENIED, EACCES), FAILURE_UNREACHABLE);
	assert_int_equal(of(to, ERR_IO, EIO), FAILURE_UNKNOWN);
}

static void
failure_is_told_by_its_code_else(void **state)
{
	const char *to = "quic://nas.example:22000";

	(void)state;
	assert_int_equal(of(to, ERR_NOT_FOUND, 0), FAILURE_NO_NAME);
	assert_int_equal(of("relay://192.0.2.1:22067", ERR_NOT_FOUND, 0),
	    FAILURE_RELAY);
	assert_int_equal(of("relay://192.0.2.1:22067", ERR_BUSY, 0),
	    FAILURE_RELAY);
	assert_int_equal(of(to, ERR_DENIED, 0), FAILURE_OTHER);
	assert_int_equal(of(to, ERR_CLOSED, 0), FAILURE_UNWANTED);
	assert_int_equal(of(to, ERR_PROTOCOL, 0), FAILURE_UNWANTED);
	assert_int_equal(of(to, ERR_LIMIT, 0), FAILURE_UNKNOWN);
	assert_int_equal(of(to, 0, 0), FAILURE_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failure_is_told_by_the_system_first),
		cmocka_unit_test(failure_is_told_by_its_code_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
