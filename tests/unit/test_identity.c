/*
 * Identities: what counts as a change of what is at a name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/identity.h"

static const struct identity file = { .type = IDENTITY_FILE,
	.mode = 0644,
	.size = 5,
	.mtime_s = 10,
	.mtime_ns = 11,
	.ctime_s = 12,
	.ctime_ns = 13,
	.ino = 14,
	.dev = 15 };

static void
every_field_of_a_file_but_the_device_counts(void **state)
{
	struct identity b = file;

	(void)state;
	assert_true(identity_same(&file, &b));
	b.dev++;
	assert_true(identity_same(&file, &b));
	b = file;
	b.size++;
	assert_false(identity_same(&file, &b));
	b = file;
	b.mtime_ns++;
	assert_false(identity_same(&file, &b));
	b = file;
	b.mtime_s++;
	assert_false(identity_same(&file, &b));
	b = file;
	b.ino++;
	assert_false(identity_same(&file, &b));
	b = file;
	b.type = IDENTITY_LINK;
	assert_false(identity_same(&file, &b));
}

static void
rename_changes_ctime_and_not_the_object(void **state)
{
	struct identity b = file;

	(void)state;
	b.ctime_s++;
	assert_false(identity_same(&file, &b));
	assert_true(identity_same_object(&file, &b));
	b = file;
	b.ctime_ns++;
	assert_false(identity_same(&file, &b));
	assert_true(identity_same_object(&file, &b));
	b.mtime_ns++;
	assert_false(identity_same_object(&file, &b));
}

static void
directory_stays_the_same_while_names_come_and_go(void **state)
{
	struct identity a = file, b;

	(void)state;
	a.type = IDENTITY_DIR;
	b = a;
	b.mtime_s++;
	b.ctime_s++;
	b.size++;
	assert_true(identity_same(&a, &b));
	b.ino++;
	assert_false(identity_same(&a, &b));
}

static void
absent_is_the_same_as_absent_only(void **state)
{
	const struct identity absent = { 0 };

	(void)state;
	assert_true(identity_same(&absent, &absent));
	assert_false(identity_same(&absent, &file));
	assert_false(identity_same_object(&file, &absent));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_a_file_but_the_device_counts),
		cmocka_unit_test(rename_changes_ctime_and_not_the_object),
		cmocka_unit_test(
		    directory_stays_the_same_while_names_come_and_go),
		cmocka_unit_test(absent_is_the_same_as_absent_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
