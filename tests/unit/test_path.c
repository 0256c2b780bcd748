/*
 * Paths: the table of names another device may not speak of, and printing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "engine/base/path.h"

/* BEP-FACTS.md 6.1 and RELIABILITY.md 4.C. */
static const struct {
	struct slice name;
	int rc;
} check_table[] = {
	{ SLICE_INIT("a"), 0 }, { SLICE_INIT("a/b/c.txt"), 0 },
	{ SLICE_INIT("..."), 0 }, { SLICE_INIT("a/..."), 0 },
	{ SLICE_INIT("..a"), 0 }, { SLICE_INIT("a.."), 0 },
	{ SLICE_INIT(".hidden"), 0 }, { SLICE_INIT(" "), 0 },
	{ SLICE_INIT("a "), 0 }, { SLICE_INIT("~"), 0 },
	{ SLICE_INIT("a\\b"), 0 },      /* one name on Unix */
	{ SLICE_INIT("..\\..\\x"), 0 }, /* also */
	{ SLICE_INIT("C:"), 0 },        /* exact on Linux */
	{ SLICE_INIT("CON"), 0 },       /* also */
	{ SLICE_INIT("line\nbreak"), 0 }, { SLICE_INIT("\x1b[31m"), 0 },
	{ SLICE_INIT("\x7f"), 0 },
	{ SLICE_INIT("\xe2\x80\xaetxt.exe"), 0 }, /* right-to-left override */
	{ SLICE_INIT("a\xcc\x88"), 0 },           /* not NFC */
	{ SLICE_INIT("\xf0\x9f\x98\x80"), 0 }, { SLICE_INIT(""), ERR_PROTOCOL },
	{ SLICE_INIT("."), ERR_PROTOCOL }, { SLICE_INIT(".."), ERR_PROTOCOL },
	{ SLICE_INIT("/"), ERR_PROTOCOL }, { SLICE_INIT("//"), ERR_PROTOCOL },
	{ SLICE_INIT("/etc/x"), ERR_PROTOCOL },
	{ SLICE_INIT("//x"), ERR_PROTOCOL }, { SLICE_INIT("a/"), ERR_PROTOCOL },
	{ SLICE_INIT("a//b"), ERR_PROTOCOL },
	{ SLICE_INIT("a/b//"), ERR_PROTOCOL },
	{ SLICE_INIT("./a"), ERR_PROTOCOL },
	{ SLICE_INIT("a/."), ERR_PROTOCOL },
	{ SLICE_INIT("a/./b"), ERR_PROTOCOL },
	{ SLICE_INIT("../x"), ERR_PROTOCOL },
	{ SLICE_INIT("a/.."), ERR_PROTOCOL },
	{ SLICE_INIT("a/../b"), ERR_PROTOCOL },
	{ SLICE_INIT("a/../../x"), ERR_PROTOCOL },
	{ SLICE_INIT("\0"), ERR_PROTOCOL },
	{ SLICE_INIT("a\0b"), ERR_PROTOCOL },
	{ SLICE_INIT("a\0"), ERR_PROTOCOL },
	{ SLICE_INIT("\xff"), ERR_PROTOCOL },
	{ SLICE_INIT("a/\xc3"), ERR_PROTOCOL },
	{ SLICE_INIT("\xed\xa0\x80"), ERR_PROTOCOL },
	{ SLICE_INIT("\xc0\xae\xc0\xae/x"), ERR_PROTOCOL }, /* overlong ".." */
};

static void
check_follows_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(check_table) / sizeof(check_table[0]);
	     i++) {
		struct err err = { 0 };
		const int rc = path_check(check_table[i].name, &err);

		if (rc != check_table[i].rc || err.code != rc)
			fail_msg("row %zu: %d %s", i, rc, err.text);
		/* Bytes of the name do not get into the text unescaped. */
		for (const char *c = err.text; *c != '\0'; c++)
			assert_true(*c >= 0x20);
		assert_int_equal(path_check(check_table[i].name, NULL), rc);
	}
}

static void
check_knows_linuxs_limits(void **state)
{
	static char text[LIMIT_PATH_LEN + 2];

	(void)state;
	memset(text, 'n', sizeof(text));
	assert_int_equal(path_check(slice_of(text, 255), NULL), 0);
	assert_int_equal(path_check(slice_of(text, 256), NULL), ERR_LIMIT);
	for (size_t i = 200; i < sizeof(text); i += 200)
		text[i] = '/';
	assert_int_equal(path_check(slice_of(text, LIMIT_PATH_LEN), NULL), 0);
	assert_int_equal(path_check(slice_of(text, LIMIT_PATH_LEN + 1), NULL),
	    ERR_LIMIT);
	text[100] = '/';
	assert_int_equal(path_check(slice_of(text, 300), NULL), 0);
	/* a/a/a/...: one component is one byte. */
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 == 0 ? 'a' : '/';
	assert_int_equal(
	    path_check(slice_of(text, 2 * LIMIT_PATH_DEPTH - 1), NULL), 0);
	assert_int_equal(
	    path_check(slice_of(text, 2 * LIMIT_PATH_DEPTH + 1), NULL),
	    ERR_LIMIT);
}

static void
parent_and_base_make_the_path(void **state)
{
	struct arena ar = { 0 };
	static const struct {
		const char *path, *parent, *base;
		size_t depth;
	} table[] = {
		{ "", "", "", 0 },
		{ "a", "", "a", 1 },
		{ "a/b", "a", "b", 2 },
		{ "a/b/c", "a/b", "c", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct slice p = slice_str(table[i].path);

		assert_true(
		    slice_equal(path_parent(p), slice_str(table[i].parent)));
		assert_true(
		    slice_equal(path_base(p), slice_str(table[i].base)));
		assert_true(slice_equal(
		    path_join(&ar, path_parent(p), path_base(p)), p));
		assert_int_equal(path_depth(p), table[i].depth);
	}
	assert_true(slice_equal(path_join(&ar, SLICE_LIT("a"), SLICE_EMPTY),
	    SLICE_LIT("a")));
	arena_fini(&ar);
}

static void
below_means_inside_and_not_just_a_prefix(void **state)
{
	(void)state;
	assert_true(path_is_below(SLICE_LIT("a/b"), SLICE_LIT("a")));
	assert_true(path_is_below(SLICE_LIT("a/b/c"), SLICE_LIT("a")));
	assert_true(path_is_below(SLICE_LIT("a"), SLICE_EMPTY));
	assert_false(path_is_below(SLICE_LIT("a"), SLICE_LIT("a")));
	assert_false(path_is_below(SLICE_LIT("ab"), SLICE_LIT("a")));
	assert_false(path_is_below(SLICE_LIT("ab/c"), SLICE_LIT("a")));
	assert_false(path_is_below(SLICE_LIT("a"), SLICE_LIT("a/b")));
	assert_false(path_is_below(SLICE_LIT("b/a"), SLICE_LIT("a")));
	assert_false(path_is_below(SLICE_EMPTY, SLICE_EMPTY));
}

static void
rebase_moves_a_subtree(void **state)
{
	static const struct {
		const char *path, *from, *to, *want;
	} table[] = {
		{ "a/b/c", "a", "x", "x/b/c" },
		{ "a/b/c", "a/b", "x/y/z", "x/y/z/c" },
		{ "a", "a", "x", "x" },
		{ "a/b", "a", "", "b" },
		{ "a/b", "", "x", "x/a/b" },
		{ "a", "", "", "a" },
	};
	struct arena ar = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_true(slice_equal(
		    path_rebase(&ar, slice_str(table[i].path),
			slice_str(table[i].from), slice_str(table[i].to)),
		    slice_str(table[i].want)));
	arena_fini(&ar);
}

static void
printing_cannot_move_the_cursor(void **state)
{
	static const struct {
		struct slice path;
		const char *want;
	} table[] = {
		{ SLICE_INIT(""), "" },
		{ SLICE_INIT("a/b.txt"), "a/b.txt" },
		{ SLICE_INIT("\xc3\xa4\xf0\x9f\x98\x80"),
		    "\xc3\xa4\xf0\x9f\x98\x80" },
		{ SLICE_INIT("a\nb"), "a\\x0ab" },
		{ SLICE_INIT("\x1b[2J\a\x7f"), "\\x1b[2J\\x07\\x7f" },
		{ SLICE_INIT("a\0b"), "a\\x00b" },
		{ SLICE_INIT("\xff\xc3"), "\\xff\\xc3" },
		{ SLICE_INIT("\xe2\x82"), "\\xe2\\x82" },
		{ SLICE_INIT("\xc2\x9b"), "\\u009b" }, /* C1: CSI */
		{ SLICE_INIT("\xe2\x80\xae"
			     "cod.exe"),
		    "\\u202ecod.exe" },
		{ SLICE_INIT("\xe2\x81\xa6\xe2\x81\xa9"), "\\u2066\\u2069" },
		{ SLICE_INIT("\xd8\x9c"), "\\u061c" },
		{ SLICE_INIT("\xe2\x80\xa8"), "\\u2028" },
	};
	struct arena ar = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_string_equal(path_print(&ar, table[i].path),
		    table[i].want);
	arena_fini(&ar);
}

static void
printing_any_byte_gives_utf8(void **state)
{
	struct arena ar = { 0 };
	uint8_t all[512];

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)(i * 167 + i / 256);
	for (size_t len = 0; len <= sizeof(all); len++) {
		const struct slice s = slice_of(all, len);

		assert_true(slice_is_utf8(slice_str(path_print(&ar, s))));
		arena_clear(&ar);
	}
	arena_fini(&ar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_follows_the_table),
		cmocka_unit_test(check_knows_linuxs_limits),
		cmocka_unit_test(parent_and_base_make_the_path),
		cmocka_unit_test(below_means_inside_and_not_just_a_prefix),
		cmocka_unit_test(rebase_moves_a_subtree),
		cmocka_unit_test(printing_cannot_move_the_cursor),
		cmocka_unit_test(printing_any_byte_gives_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
