/* The table of reason codes: whole, and fit to be shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/reason.h"

static void
reason_every_code_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < REASON_COUNT; i++) {
		const char *name = reason_name((enum reason)i);

		assert_non_null(name);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz-"),
		    strlen(name));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(name,
			    reason_name((enum reason)j));
	}
}

static void
reason_every_code_says_what_and_with_what_effect(void **state)
{
	(void)state;
	for (int i = 0; i < REASON_COUNT; i++) {
		const char *what = reason_what((enum reason)i);
		const char *effect = reason_effect((enum reason)i);

		assert_int_equal(what[strlen(what) - 1], '.');
		assert_int_equal(effect[strlen(effect) - 1], '.');
	}
}

static void
reason_advice_has_one_place_for_a_subject_at_most(void **state)
{
	(void)state;
	for (int i = 0; i < REASON_COUNT; i++) {
		const char *todo = reason_do((enum reason)i);
		const char *at = todo == NULL ? NULL : strchr(todo, '%');

		if (at == NULL)
			continue;
		assert_int_equal(at[1], 's');
		assert_null(strchr(at + 1, '%'));
	}
}

static void
reason_that_stops_a_folder_says_what_to_do(void **state)
{
	(void)state;
	for (int i = 0; i < REASON_COUNT; i++)
		if (reason_severity((enum reason)i) == REASON_STOPPED &&
		    i != REASON_INDEX_DAMAGED)
			assert_non_null(reason_do((enum reason)i));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reason_every_code_has_a_name_of_its_own),
		cmocka_unit_test(
		    reason_every_code_says_what_and_with_what_effect),
		cmocka_unit_test(
		    reason_advice_has_one_place_for_a_subject_at_most),
		cmocka_unit_test(reason_that_stops_a_folder_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
