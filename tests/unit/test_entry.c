/* entry: sameness, copies, names nobody syncs, fitness for the index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blockproto/blocks.h"
#include "blockproto/entry.h"

static struct digest hash[3];

static int
hash_setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		memset(hash[i].b, (int)i + 1, DIGEST_LEN);
	return 0;
}

static struct entry
a_file(void)
{
	return (struct entry){ .name = SLICE_LIT("f"),
		.type = ENTRY_FILE,
		.perms = 0644,
		.size = 131073,
		.mtime_s = 5,
		.mtime_ns = 6,
		.block_size = 131072,
		.block_count = 2,
		.block = hash };
}

static struct entry
a_link(void)
{
	return (struct entry){ .name = SLICE_LIT("l"),
		.type = ENTRY_LINK,
		.no_perms = true,
		.link_target = SLICE_LIT("target") };
}

static void
content_is_type_size_and_blocks(void **state)
{
	const struct entry a = a_file();
	struct entry b = a_file();

	(void)state;
	b.name = SLICE_LIT("other");
	b.perms = 0600;
	b.mtime_s = 9;
	b.invalid = true;
	assert_true(entry_same_content(&a, &b));
	b.size++;
	assert_false(entry_same_content(&a, &b));
	b = a_file();
	b.block = hash + 1;
	assert_false(entry_same_content(&a, &b));
	b = a_file();
	b.block_count = 1;
	assert_false(entry_same_content(&a, &b));
	b = a_file();
	b.block_size *= 2;
	assert_false(entry_same_content(&a, &b));
	b = a_file();
	b.type = ENTRY_DIR;
	assert_false(entry_same_content(&a, &b));
	/* Lists that were not kept are like nothing, not even themselves. */
	b = a_file();
	b.block = NULL;
	assert_false(entry_same_content(&a, &b));
	assert_false(entry_same_content(&b, &b));
}

static void
deleted_is_like_deleted_only(void **state)
{
	struct entry a = a_file(), b = a_link();

	(void)state;
	a.deleted = true;
	assert_false(entry_same_content(&a, &b));
	b.deleted = true;
	assert_true(entry_same_content(&a, &b));
	assert_true(entry_same(&a, &b));
}

static void
links_are_their_targets(void **state)
{
	const struct entry a = a_link();
	struct entry b = a_link();

	(void)state;
	b.mtime_s = 77;
	b.perms = 0123;
	assert_true(entry_same(&a, &b));
	b.link_target = SLICE_LIT("targes");
	assert_false(entry_same_content(&a, &b));
	assert_false(entry_same(&a, &b));
}

static void
permissions_count_where_both_have_them(void **state)
{
	struct entry a = a_file(), b = a_file();

	(void)state;
	b.perms = 0600;
	assert_false(entry_same_perms(&a, &b));
	assert_false(entry_same(&a, &b));
	b.no_perms = true;
	assert_true(entry_same_perms(&a, &b));
	assert_true(entry_same(&a, &b));
	b.no_perms = false;
	b.perms = 04644;
	assert_true(entry_same_perms(&a, &b));
}

static void
mtime_counts_for_files_only(void **state)
{
	struct entry a = a_file(), b = a_file();

	(void)state;
	b.mtime_ns++;
	assert_false(entry_same_mtime(&a, &b));
	assert_false(entry_same(&a, &b));
	a.type = b.type = ENTRY_DIR;
	assert_true(entry_same(&a, &b));
	b.perms = 0700;
	assert_false(entry_same(&a, &b));
}

static void
dup_borrows_nothing(void **state)
{
	struct counter c[] = { { 1, 2 } };
	char name[] = "f", target[] = "t", platform[] = "p";
	struct digest own[2];
	struct arena arena = { 0 };
	struct entry e = a_file(), copy;

	(void)state;
	memcpy(own, hash, sizeof(own));
	e.name = slice_str(name);
	e.link_target = slice_str(target);
	e.platform = slice_str(platform);
	e.version = (struct version){ c, 1 };
	e.block = own;
	copy = entry_dup(&e, &arena);
	name[0] = target[0] = platform[0] = 'X';
	c[0].value = 99;
	memset(own, 0xff, sizeof(own));
	assert_true(slice_equal(copy.name, SLICE_LIT("f")));
	assert_true(slice_equal(copy.link_target, SLICE_LIT("t")));
	assert_true(slice_equal(copy.platform, SLICE_LIT("p")));
	assert_int_equal(copy.version.counter[0].value, 2);
	assert_memory_equal(copy.block, hash, sizeof(own));
	memset(&e, 0, sizeof(e));
	copy = entry_dup(&e, &arena);
	assert_null(copy.block);
	arena_fini(&arena);
}

static void
internal_names_are_known_at_the_root_and_below(void **state)
{
	static const char *const internal[] = { ".stfolder", ".stfolder/x",
		".stignore", ".stversions", ".stversions/a/b",
		".syncthing.x.tmp", "a/b/.syncthing.x.tmp", "~syncthing~x.tmp",
		"a/~syncthing~", ".syncthing." };
	static const char *const ordinary[] = { ".stfolders", "a/.stfolder",
		".stignore2", "x/.stversions/y", ".syncthing", "a.syncthing.b",
		".syncthing.d/file", "stfolder", ".git", "a" };

	(void)state;
	for (size_t i = 0; i < sizeof(internal) / sizeof(internal[0]); i++)
		assert_true(entry_is_internal(slice_str(internal[i])));
	for (size_t i = 0; i < sizeof(ordinary) / sizeof(ordinary[0]); i++)
		assert_false(entry_is_internal(slice_str(ordinary[i])));
	assert_true(entry_is_temp_name(SLICE_LIT("a/.syncthing.b")));
	assert_false(entry_is_temp_name(SLICE_LIT(".stfolder")));
}

static void
normal_files_get_their_digest(void **state)
{
	struct arena arena = { 0 };
	struct entry e = a_file();
	struct digest want;

	(void)state;
	e.perms = 0104755;
	e.mtime_ns = 1000000000;
	e.block_size = 0;
	e.link_target = SLICE_LIT("stray");
	memset(&e.blocks_hash, 9, sizeof(e.blocks_hash));
	blocks_digest(hash, 2, &want);
	entry_normalise(&e, &arena);
	assert_int_equal(e.perms, 0755);
	assert_int_equal(e.mtime_ns, 999999999);
	assert_int_equal(e.block_size, 131072);
	assert_int_equal(e.link_target.len, 0);
	assert_true(digest_equal(&e.blocks_hash, &want));
	e.mtime_ns = INT32_MIN;
	entry_normalise(&e, &arena);
	assert_int_equal(e.mtime_ns, 0);
	arena_fini(&arena);
}

static void
what_a_type_must_not_have_is_dropped(void **state)
{
	const struct counter odd[] = { { 2, 1 }, { 1, 1 }, { 3, 0 } };
	static const struct digest none;
	struct arena arena = { 0 };
	struct entry e = a_file();

	(void)state;
	/* A directory of 2.0 with a size. */
	e.type = ENTRY_DIR;
	e.size = 128;
	e.block = NULL;
	e.block_count = 0;
	e.previous_blocks_hash = hash[0];
	entry_normalise(&e, &arena);
	assert_int_equal(e.size, 0);
	assert_int_equal(e.block_size, 0);
	assert_true(digest_equal(&e.previous_blocks_hash, &none));
	/* A tombstone with what the file was. */
	e = a_file();
	e.deleted = true;
	e.blocks_hash = hash[0];
	entry_normalise(&e, &arena);
	assert_int_equal(e.size, 0);
	assert_int_equal(e.block_count, 0);
	assert_null(e.block);
	assert_true(digest_equal(&e.blocks_hash, &none));
	/* An entry that cannot be served, whose list was not kept. */
	e = a_file();
	e.invalid = true;
	e.block = NULL;
	entry_normalise(&e, &arena);
	assert_int_equal(e.block_count, 0);
	assert_true(digest_equal(&e.blocks_hash, &none));
	/* A link with permissions, and a version out of order. */
	e = a_link();
	e.no_perms = false;
	e.perms = 0777;
	e.version = (struct version){ odd, 3 };
	entry_normalise(&e, &arena);
	assert_true(e.no_perms);
	assert_int_equal(e.perms, 0);
	assert_int_equal(e.version.count, 2);
	assert_true(version_is_canonical(e.version));
	assert_true(slice_equal(e.link_target, SLICE_LIT("target")));
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_is_type_size_and_blocks),
		cmocka_unit_test(deleted_is_like_deleted_only),
		cmocka_unit_test(links_are_their_targets),
		cmocka_unit_test(permissions_count_where_both_have_them),
		cmocka_unit_test(mtime_counts_for_files_only),
		cmocka_unit_test(dup_borrows_nothing),
		cmocka_unit_test(
		    internal_names_are_known_at_the_root_and_below),
		cmocka_unit_test(normal_files_get_their_digest),
		cmocka_unit_test(what_a_type_must_not_have_is_dropped),
	};

	return cmocka_run_group_tests(tests, hash_setup, NULL);
}
