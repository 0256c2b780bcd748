/*
 * entry_check: what drops a peer, what refuses one item, and what is fine.
 * BEP-FACTS.md 8; RELIABILITY.md 4.B and 4.C.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blockproto/blocks.h"
#include "blockproto/entry.h"
#include "engine/base/limits.h"

static struct digest hash[2];
static const struct counter one[] = { { 5, 1 } };

static struct entry
a_file(void)
{
	return (struct entry){ .name = SLICE_LIT("dir/file"),
		.type = ENTRY_FILE,
		.perms = 0644,
		.size = 131073,
		.mtime_s = 1700000000,
		.version = { one, 1 },
		.sequence = 1,
		.block_size = 131072,
		.block_count = 2,
		.block = hash };
}

static struct entry
a_dir(void)
{
	return (struct entry){ .name = SLICE_LIT("dir"), .type = ENTRY_DIR };
}

static struct entry
a_link(void)
{
	return (struct entry){ .name = SLICE_LIT("link"),
		.type = ENTRY_LINK,
		.link_target = SLICE_LIT("../x") };
}

/* The verdict; and that the text is there when there is one. */
static int
check(const struct entry *e)
{
	struct err err = { 0 };
	const struct entry before = *e;
	const int rc = entry_check(e, &err);

	assert_int_equal(entry_check(e, NULL), rc);
	assert_int_equal(err.code, rc);
	assert_int_equal(err.text[0] != '\0', rc != 0);
	assert_memory_equal(&before, e, sizeof(before));
	return rc;
}

static void
good_items_pass(void **state)
{
	struct entry e = a_file();

	(void)state;
	assert_int_equal(check(&e), 0);
	e.block_size = 0; /* the smallest is meant */
	assert_int_equal(check(&e), 0);
	e.mtime_s = -1;
	e.mtime_ns = 999999999;
	e.version = (struct version){ 0 };
	e.sequence = 0;
	assert_int_equal(check(&e), 0);
	e = a_dir();
	assert_int_equal(check(&e), 0);
	e.size = 128; /* 2.0.0 to 2.1.1 */
	assert_int_equal(check(&e), 0);
	e = a_link();
	assert_int_equal(check(&e), 0);
	e = a_file();
	e.deleted = true;
	e.block_count = 0;
	e.block = NULL;
	assert_int_equal(check(&e), 0);
	e.deleted = false;
	e.invalid = true;
	assert_int_equal(check(&e), 0);
	e.block_count = 7; /* nobody asks for it, so nobody minds */
	assert_int_equal(check(&e), 0);
	e = a_file();
	e.size = 0;
	e.block_count = 1;
	e.block = &blocks_empty_hash;
	assert_int_equal(check(&e), 0);
}

static void
what_syncthing_drops_for_drops(void **state)
{
	static const char *const names[] = { "", ".", "..", "../x", "a/../b",
		"a/..", "/etc/x", "//x", "a//b", "a/", "a/./b", "/" };
	struct entry e = a_file();

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		e.name = slice_str(names[i]);
		assert_int_equal(check(&e), ERR_PROTOCOL);
	}
	e.name = SLICE_LIT("a\xff");
	assert_int_equal(check(&e), ERR_PROTOCOL);
	e = a_file();
	e.deleted = true;
	assert_int_equal(check(&e), ERR_PROTOCOL);
	e = a_file();
	e.block_count = 0;
	e.block = NULL;
	assert_int_equal(check(&e), ERR_PROTOCOL);
	e.size = 0; /* an empty file has one block too */
	assert_int_equal(check(&e), ERR_PROTOCOL);
	e = a_dir();
	e.block_count = 1;
	assert_int_equal(check(&e), ERR_PROTOCOL);
	e = a_link();
	e.block_count = 1;
	assert_int_equal(check(&e), ERR_PROTOCOL);
	e = a_dir();
	e.size = 4096;
	assert_int_equal(check(&e), ERR_PROTOCOL);
	e = a_link();
	e.size = 4;
	assert_int_equal(check(&e), ERR_PROTOCOL);
}

static void
a_bad_name_never_hides_a_worse_fault(void **state)
{
	static char name[300];
	struct entry e = a_file();

	(void)state;
	memset(name, 'n', sizeof(name));
	e.name = slice_of(name, sizeof(name));
	assert_int_equal(check(&e), ERR_INVALID);
	e.deleted = true;
	assert_int_equal(check(&e), ERR_PROTOCOL);
}

static void
names_that_cannot_be_here_refuse_one_item(void **state)
{
	static char deep[2 * (LIMIT_PATH_DEPTH + 1)];
	static char name[LIMIT_PATH_LEN + 2];
	struct entry e = a_file();

	(void)state;
	memset(name, 'n', sizeof(name));
	e.name = slice_of(name, LIMIT_NAME_LEN);
	assert_int_equal(check(&e), 0);
	e.name = slice_of(name, LIMIT_NAME_LEN + 1);
	assert_int_equal(check(&e), ERR_INVALID);
	for (size_t i = 200; i < sizeof(name); i += 200)
		name[i] = '/';
	e.name = slice_of(name, LIMIT_PATH_LEN);
	assert_int_equal(check(&e), 0);
	e.name = slice_of(name, LIMIT_PATH_LEN + 1);
	assert_int_equal(check(&e), ERR_INVALID);
	for (size_t i = 0; i + 1 < sizeof(deep); i += 2)
		memcpy(deep + i, "d/", 2);
	e.name = slice_of(deep, 2 * LIMIT_PATH_DEPTH - 1);
	assert_int_equal(check(&e), 0);
	e.name = slice_of(deep, 2 * LIMIT_PATH_DEPTH + 1);
	assert_int_equal(check(&e), ERR_INVALID);
	e.name = SLICE_LIT("a\0b");
	assert_int_equal(check(&e), ERR_INVALID);
	e.name = SLICE_LIT(".stfolder");
	assert_int_equal(check(&e), ERR_INVALID);
	e.name = SLICE_LIT(".stversions/x");
	assert_int_equal(check(&e), ERR_INVALID);
	e.name = SLICE_LIT("a/.syncthing.x.tmp");
	assert_int_equal(check(&e), ERR_INVALID);
	/* Ugly, but files. */
	e.name = SLICE_LIT("a\nb\x1b[31m\a\x7f\xe2\x80\xae");
	assert_int_equal(check(&e), 0);
	e.name = SLICE_LIT("CON");
	assert_int_equal(check(&e), 0);
	e.name = SLICE_LIT("a\\b");
	assert_int_equal(check(&e), 0);
}

static void
block_lists_that_do_not_fit_refuse_one_item(void **state)
{
	static const uint32_t sizes[] = { 1, 131071, 131112, 65536, 33554432,
		UINT32_MAX };
	struct entry e = a_file();

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		e.block_size = sizes[i];
		assert_int_equal(check(&e), ERR_INVALID);
	}
	e = a_file();
	e.size = 131072; /* one block would do */
	assert_int_equal(check(&e), ERR_INVALID);
	e.size = 262145; /* three are needed */
	assert_int_equal(check(&e), ERR_INVALID);
	e.size = INT64_MAX;
	assert_int_equal(check(&e), ERR_INVALID);
	e.size = INT64_C(1) << 50;
	assert_int_equal(check(&e), ERR_INVALID);
	e.size = -1;
	assert_int_equal(check(&e), ERR_INVALID);
	e.size = INT64_MIN;
	assert_int_equal(check(&e), ERR_INVALID);
	e = a_file();
	e.block = NULL; /* the decoder saw that it is not regular */
	assert_int_equal(check(&e), ERR_INVALID);
	e = a_file();
	e.size = (int64_t)131072 * LIMIT_BLOCKS + 1;
	e.block_count = LIMIT_BLOCKS + 1;
	assert_int_equal(check(&e), ERR_INVALID);
	e = a_file();
	e.size = 0;
	e.block_count = 1; /* with a hash that is not that of nothing */
	assert_int_equal(check(&e), ERR_INVALID);
}

static void
types_targets_times_and_counters_have_bounds(void **state)
{
	static struct counter many[LIMIT_COUNTERS + 1];
	static char target[LIMIT_LINK_LEN + 1];
	struct entry e = a_file();

	(void)state;
	for (int type = -2; type < 20; type++) {
		if (type == ENTRY_FILE || type == ENTRY_DIR ||
		    type == ENTRY_LINK)
			continue;
		e.type = (enum entry_type)type;
		assert_int_equal(check(&e), ERR_INVALID);
	}
	memset(target, 't', sizeof(target));
	e = a_link();
	e.link_target = slice_of(target, LIMIT_LINK_LEN);
	assert_int_equal(check(&e), 0);
	e.link_target = slice_of(target, LIMIT_LINK_LEN + 1);
	assert_int_equal(check(&e), ERR_INVALID);
	e.link_target = SLICE_EMPTY;
	assert_int_equal(check(&e), ERR_INVALID);
	e.link_target = SLICE_LIT("a\0b");
	assert_int_equal(check(&e), ERR_INVALID);
	e.link_target = SLICE_LIT("/etc/\xff");
	assert_int_equal(check(&e), 0);
	e = a_dir();
	e.mtime_s = INT64_C(9223372035);
	assert_int_equal(check(&e), 0);
	e.mtime_s++;
	assert_int_equal(check(&e), ERR_INVALID);
	e.mtime_s = INT64_MAX;
	assert_int_equal(check(&e), ERR_INVALID);
	e.mtime_s = INT64_MIN;
	assert_int_equal(check(&e), ERR_INVALID);
	e = a_dir();
	e.sequence = -1;
	assert_int_equal(check(&e), ERR_INVALID);
	e = a_dir();
	for (uint32_t i = 0; i <= LIMIT_COUNTERS; i++)
		many[i] = (struct counter){ i, 1 };
	e.version = (struct version){ many, LIMIT_COUNTERS };
	assert_int_equal(check(&e), 0);
	e.version.count++;
	assert_int_equal(check(&e), ERR_INVALID);
	e.version.counter = NULL;
	assert_int_equal(check(&e), ERR_INVALID);
	many[0].value = UINT64_MAX;
	e.version = (struct version){ many, 1 };
	assert_int_equal(check(&e), ERR_INVALID);
	e = a_dir();
	e.platform = slice_of(target, LIMIT_PLATFORM_LEN + 1);
	assert_int_equal(check(&e), ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_items_pass),
		cmocka_unit_test(what_syncthing_drops_for_drops),
		cmocka_unit_test(a_bad_name_never_hides_a_worse_fault),
		cmocka_unit_test(names_that_cannot_be_here_refuse_one_item),
		cmocka_unit_test(block_lists_that_do_not_fit_refuse_one_item),
		cmocka_unit_test(types_targets_times_and_counters_have_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
