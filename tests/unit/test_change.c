/*
 * Which names are internal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "watcher/change.h"

static void
internal_names_are_known_and_others_are_not(void **state)
{
	static const struct {
		const char *path;
		bool internal;
	} rows[] = {
		{ ".stfolder", true },
		{ ".stfolder/holdfast/x", true },
		{ ".stversions", true },
		{ ".stversions/a/b", true },
		{ ".stfolders", false },
		{ "a/.stfolder", false },
		{ ".stignore", false },
		{ "a/.syncthing.x.tmp", true },
		{ ".syncthing.x.tmp", true },
		{ "~syncthing~x.tmp", true },
		{ "a/~syncthing~x", false },
		{ ".syncthing.x.tmp/y", false },
		{ "x.tmp", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(change_is_internal(slice_str(rows[i].path)),
		    rows[i].internal);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(internal_names_are_known_and_others_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
