/*
 * Ignore rules: every row of the table of Syncthing's own matcher, prefixes,
 * escapes, includes, and patterns made to be slow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/ignore.h"

static struct ignore *
rules(const char *text)
{
	struct ignore *ig = ignore_new();
	struct err err = { 0 };
	struct slice want;

	if (ignore_parse(ig, slice_str(text), &err) < 0)
		fail_msg("rules \"%s\": %s", text, err.text);
	assert_false(ignore_wanted(ig, &want));
	return ig;
}

static bool
is_ignored(const char *text, const char *path)
{
	struct ignore *ig = rules(text);
	const bool hit = ignore_test(ig, slice_str(path)).ignored;

	ignore_free(ig);
	return hit;
}

/* `hit` and `miss`: paths separated by blanks. */
static void
check(const char *text, const char *hit, const char *miss)
{
	const char *list[2] = { hit, miss };

	for (int i = 0; i < 2; i++) {
		char *copy = mem_strdup(list[i]);
		char *rest = NULL;

		for (char *p = strtok_r(copy, " ", &rest); p != NULL;
		     p = strtok_r(NULL, " ", &rest))
			if (is_ignored(text, p) != (i == 0))
				fail_msg("\"%s\" should %signore %s", text,
				    i == 0 ? "" : "not ", p);
		mem_free(copy);
	}
}

/* What is wrong with the rules; NULL text: nothing should be. */
static void
check_error(const char *text, const char *where, const char *what)
{
	struct ignore *ig = ignore_new();
	struct err err = { 0 };

	assert_int_equal(ignore_parse(ig, slice_str(text), &err), ERR_INVALID);
	if (strstr(err.text, where) == NULL || strstr(err.text, what) == NULL)
		fail_msg("\"%s\": \"%s\" lacks \"%s\" or \"%s\"", text,
		    err.text, where, what);
	ignore_free(ig);
}

static void
names_match_anywhere_and_all_below_them(void **state)
{
	(void)state;
	check("foo", "foo a/foo foo/bar a/foo/bar", "foobar Foo");
	check("foo/bar", "foo/bar x/foo/bar foo/bar/z", "foo/x/bar");
	check("*.tmp", "a.tmp x/a.tmp a.tmp/x .tmp", "atmp a.tmpx");
	check("**/foo", "foo a/foo a/b/foo", "xfoo foox");
}

static void
a_leading_slash_roots_the_pattern(void **state)
{
	(void)state;
	check("/foo", "foo foo/b", "a/foo");
	check("/foo/*.c", "foo/a.c foo/a.c/x", "x/foo/a.c foo/x/a.c");
}

static void
a_trailing_slash_means_what_is_in_it(void **state)
{
	(void)state;
	check("foo/", "foo/b a/foo/b", "foo a/foo");
	check("foo/**", "foo/a foo/a/b x/foo/a", "foo");
}

static void
stars_stop_at_slashes_and_double_stars_do_not(void **state)
{
	(void)state;
	check("te**ne", "telephone tele/sub/dir/phone x/te/ne", "tel xtene");
	check("foo/*/bar", "foo/x/bar", "foo/x/y/bar foo/bar");
	check("foo/**/bar", "foo/x/bar foo/x/y/bar", "foo/bar");
	check("a?c",
	    "abc x/abc a\xc3\xa9"
	    "c",
	    "ac a/c abbc");
}

static void
one_star_means_everything(void **state)
{
	const char *all[] = { "*", "**", "/*", "/" };

	(void)state;
	for (size_t i = 0; i < 4; i++)
		check(all[i], "a a/b .x x/.y/z", "");
}

static void
the_first_match_decides(void **state)
{
	(void)state;
	check("!keep\n*", "x", "keep a/keep keep/z");
	check("!/keep\n/*", "x x/y", "keep keep/z");
	check("!/a/keep\n/*", "a a/b b", "a/keep");
	check("foo\n!foo", "foo", "");
	check("!foo\nfoo", "", "foo");
}

static void
case_is_folded_on_request_only(void **state)
{
	(void)state;
	check("(?i)FOO", "foo Foo x/fOo", "fo");
	check("FOO", "FOO", "foo Foo");
	check("(?i)[A-C]x", "ax BX", "dx");
}

static void
case_folds_beyond_ascii(void **state)
{
	(void)state;
	/* Ä/ä, Ё/ё and Я/я, Σ/σ, Ž/ž, Ÿ/ÿ, Ή/ή */
	check("(?i)\xc3\x84pfel", "\xc3\xa4pfel \xc3\x84PFEL", "apfel");
	check("(?i)\xd1\x91\xd0\xaf", "\xd0\x81\xd1\x8f \xd1\x91\xd0\xaf",
	    "\xd0\xb5\xd1\x8f");
	check("(?i)\xce\xa3", "\xcf\x83", "\xcf\x84");
	check("(?i)\xc5\xbd", "\xc5\xbe", "\xc5\xbc");
	check("(?i)\xc3\xbf", "\xc5\xb8", "y");
	check("(?i)\xce\x89", "\xce\xae", "\xce\xb7");
}

static void
small_letters_stay_what_they_are(void **state)
{
	(void)state;
	/* ĸ (no capital), ı, ŉ, ÷ and × fold to nothing else. */
	check("(?i)\xc4\xb8", "\xc4\xb8", "\xc4\xb9 \xc4\xb7");
	check("(?i)\xc4\xb1", "\xc4\xb1", "i \xc4\xb0");
	check("(?i)\xc3\x97", "\xc3\x97", "\xc3\xb7");
}

static void
classes_negate_with_an_exclamation_mark(void **state)
{
	(void)state;
	check("[!a-c]x", "dx", "ax");
	check("[^a-c]x", "ax ^x", "dx");
	check("[a-cz]", "a b z", "d y");
	check("a[!b]c", "axc", "abc a/c");
	check("[]a]", "] a", "b");
	check("[a-]", "a -", "b");
	check("[\\]]", "]", "\\");
}

static void
braces_nest(void **state)
{
	(void)state;
	check("a{b,{c,d}}", "ab ac ad x/ab ab/x", "a abc ae");
	check("{a,b{c,{d,e*}}}.txt", "a.txt bc.txt bd.txt bexx.txt",
	    "b.txt ac.txt");
	check("x{,y}z", "xz xyz", "xyyz");
	check("a,b", "a,b", "a b");
	check("a}", "a}", "a");
}

static void
odd_paths_match_nothing(void **state)
{
	(void)state;
	check("a//b", "", "a/b a b");
	check("./foo", "", "foo x/foo");
	check("../foo", "", "foo x/foo");
}

static void
escapes_make_literals(void **state)
{
	(void)state;
	check("\\!x", "!x", "x");
	check("\\#x", "#x", "x");
	check("a\\*b", "a*b", "axb");
	check("a\\?", "a?", "ab");
	check("\\{a,b\\}", "{a,b}", "a b");
	check("\\[a]", "[a]", "a");
	check("a\\\\b", "a\\b", "ab");
}

static void
the_escape_can_be_chosen_before_any_pattern(void **state)
{
	(void)state;
	check("#escape=|\na|*b\nc\\d", "a*b c\\d", "axb cd");
	check("// first\n\n#escape = ^\na^*b", "a*b", "axb");
	/* Later it is a pattern like any other. */
	check("x\n#escape=|\na|*b", "a|xb #escape=|", "a*b");
	check_error("#escape=\n", ".stignore:1", "#escape=");
	check_error("\n#escape=ab\n", ".stignore:2", "#escape=");
}

static void
blanks_comments_and_line_ends_do_not_count(void **state)
{
	struct ignore *ig =
	    rules("\xef\xbb\xbf\n  foo \t\r\n// bar\n\n\tbaz\r\n");

	(void)state;
	assert_int_equal(ignore_count(ig), 2);
	assert_true(ignore_test(ig, SLICE_LIT("foo")).ignored);
	assert_true(ignore_test(ig, SLICE_LIT("baz")).ignored);
	assert_false(ignore_test(ig, SLICE_LIT("bar")).ignored);
	ignore_free(ig);
	check("#foo", "#foo", "foo");
	check("#includes", "#includes", "");
}

static void
prefixes_come_in_any_order_and_once(void **state)
{
	struct ignore *ig;
	struct ignore_match m;

	(void)state;
	check("(?d)(?i)FOO", "foo", "");
	check("(?i)!FOO\nfoo", "", "foo");
	check("!(?i)FOO\n*", "x", "foo FOO");
	check("!!x\n*", "x", "!x");
	check("(?i)(?i)x", "", "x");
	ig = rules("(?d)foo\n!(?d)bar\nbaz");
	m = ignore_test(ig, SLICE_LIT("a/foo"));
	assert_true(m.ignored && m.deletable);
	m = ignore_test(ig, SLICE_LIT("bar"));
	assert_true(!m.ignored && !m.deletable);
	m = ignore_test(ig, SLICE_LIT("baz"));
	assert_true(m.ignored && !m.deletable);
	ignore_free(ig);
	check_error("a\n!\n", ".stignore:2", "no pattern");
	check_error("(?i)(?d)", ".stignore:1", "no pattern");
}

static void
a_hit_names_its_rule(void **state)
{
	struct ignore *ig = rules("// all\n!keep\n\n  *.o  \n");
	struct ignore_match m = ignore_test(ig, SLICE_LIT("a/b.o"));

	(void)state;
	assert_true(m.ignored);
	assert_int_equal(m.line, 4);
	assert_true(slice_equal(m.file, SLICE_LIT(".stignore")));
	assert_true(slice_equal(m.rule, SLICE_LIT("*.o")));
	m = ignore_test(ig, SLICE_LIT("keep"));
	assert_false(m.ignored);
	assert_int_equal(m.line, 2);
	m = ignore_test(ig, SLICE_LIT("other"));
	assert_false(m.ignored);
	assert_int_equal(m.line, 0);
	assert_int_equal(m.file.len, 0);
	ignore_free(ig);
}

static void
our_own_names_are_ignored_whatever_the_rules(void **state)
{
	(void)state;
	check("!*", ".stfolder .stfolder/x .stignore .stversions/a/b",
	    "a .stfolderx a/.stignore");
	check("!*", ".syncthing.a.tmp d/.syncthing.a.tmp ~syncthing~a.tmp",
	    "syncthing.a.tmp");
	check("*", "", "");
	assert_false(is_ignored("*", ""));
}

static void
broken_patterns_name_file_and_line(void **state)
{
	(void)state;
	check_error("ok\n\n[a\n", ".stignore:3", "'['");
	check_error("a\\", ".stignore:1", "escape");
	check_error("foo\\ \n", ".stignore:1", "escape");
	check_error("x{a,b", ".stignore:1", "'{'");
	check_error("[c-a]", ".stignore:1", "backwards");
	check_error("[!]", ".stignore:1", "'['");
	check_error("a\n\xff\xfe\n", ".stignore:2", "UTF-8");
}

static void
includes_are_asked_for_and_stand_where_they_are(void **state)
{
	struct ignore *ig = ignore_new();
	struct err err = { 0 };
	struct slice want;
	struct ignore_match m;

	(void)state;
	assert_int_equal(
	    ignore_parse(ig, SLICE_LIT("!a\n#include sub/one\nb\n"), &err), 0);
	assert_true(ignore_wanted(ig, &want));
	assert_true(slice_equal(want, SLICE_LIT("sub/one")));
	assert_int_equal(
	    ignore_add(ig, want, SLICE_LIT("a*\n#include two\n!b\n"), &err), 0);
	/* Relative to the including file ... */
	assert_true(ignore_wanted(ig, &want));
	assert_true(slice_equal(want, SLICE_LIT("sub/two")));
	assert_int_equal(ignore_add(ig, want, SLICE_LIT("/c"), &err), 0);
	assert_false(ignore_wanted(ig, &want));
	assert_int_equal(ignore_count(ig), 5);
	assert_false(ignore_test(ig, SLICE_LIT("a")).ignored);
	m = ignore_test(ig, SLICE_LIT("ab"));
	assert_true(m.ignored);
	assert_true(slice_equal(m.file, SLICE_LIT("sub/one")));
	assert_int_equal(m.line, 1);
	/* ... but the patterns are not. */
	assert_true(ignore_test(ig, SLICE_LIT("c")).ignored);
	assert_false(ignore_test(ig, SLICE_LIT("sub/c")).ignored);
	m = ignore_rule(ig, 2);
	assert_true(slice_equal(m.file, SLICE_LIT("sub/two")));
	assert_true(slice_equal(m.rule, SLICE_LIT("/c")));
	assert_true(m.ignored);
	assert_false(ignore_rule(ig, 3).ignored);
	assert_int_equal(ignore_rule(ig, 4).line, 3);
	/* "!b" of the included file comes before "b". */
	m = ignore_test(ig, SLICE_LIT("b"));
	assert_false(m.ignored);
	assert_int_equal(m.line, 3);
	ignore_free(ig);
}

static void
an_error_in_an_included_file_names_that_file(void **state)
{
	struct ignore *ig = ignore_new();
	struct err err = { 0 };
	struct slice want;

	(void)state;
	assert_int_equal(ignore_parse(ig, SLICE_LIT("#include one\n"), &err),
	    0);
	assert_true(ignore_wanted(ig, &want));
	assert_int_equal(ignore_add(ig, want, SLICE_LIT("x\n[\n"), &err),
	    ERR_INVALID);
	assert_non_null(strstr(err.text, "one:2"));
	ignore_free(ig);
}

static void
includes_twice_around_or_outside_are_errors(void **state)
{
	struct ignore *ig = ignore_new();
	struct err err = { 0 };
	struct slice want;

	(void)state;
	check_error("x\n#include ../x\n", ".stignore:2", "inside the folder");
	check_error("#include /etc/x\n", ".stignore:1", "inside the folder");
	check_error("#include .stignore\n", ".stignore:1", "twice");
	check_error("#include \t \n", ".stignore:1", "file name");
	assert_int_equal(
	    ignore_parse(ig, SLICE_LIT("#include ./one\n#include one\n"), &err),
	    0);
	assert_true(ignore_wanted(ig, &want));
	assert_true(slice_equal(want, SLICE_LIT("one")));
	assert_int_equal(ignore_add(ig, want, SLICE_EMPTY, &err), ERR_INVALID);
	assert_non_null(strstr(err.text, ".stignore:2"));
	assert_non_null(strstr(err.text, "twice"));
	ignore_free(ig);
}

static void
repeated_lines_count_once(void **state)
{
	struct ignore *ig = rules("a\nb\na\n  a\n!a\n");

	(void)state;
	assert_int_equal(ignore_count(ig), 3);
	ignore_free(ig);
}

static void
every_file_the_rules_are_read_from_is_known(void **state)
{
	struct ignore *ig = ignore_new();
	struct err err = { 0 };
	struct slice want;

	(void)state;
	assert_true(ignore_is_source(ig, SLICE_LIT(".stignore")));
	assert_false(ignore_is_source(ig, SLICE_LIT("d/more")));
	assert_int_equal(
	    ignore_parse(ig, SLICE_LIT("a\n#include d/more\n"), &err), 0);
	assert_true(ignore_wanted(ig, &want));
	assert_true(ignore_is_source(ig, SLICE_LIT("d/more")));
	assert_int_equal(ignore_add(ig, want, SLICE_LIT("b\n"), &err), 0);
	assert_true(ignore_is_source(ig, SLICE_LIT(".stignore")));
	assert_true(ignore_is_source(ig, SLICE_LIT("d/more")));
	assert_true(ignore_is_source(ig, SLICE_LIT("d")));
	assert_false(ignore_is_source(ig, SLICE_LIT("d/mor")));
	assert_false(ignore_is_source(ig, SLICE_LIT("more")));
	assert_false(ignore_is_source(ig, SLICE_LIT("a")));
	ignore_free(ig);
}

static void
the_digest_changes_with_the_rules_only(void **state)
{
	struct ignore *a = rules("a\nb\n");
	struct ignore *b = rules("// comment\n\na\nb");
	struct ignore *c = rules("b\na\n");
	struct ignore *d = rules("");

	(void)state;
	assert_true(ignore_digest(a) == ignore_digest(b));
	assert_true(ignore_digest(a) != ignore_digest(c));
	assert_true(ignore_digest(a) != ignore_digest(d));
	assert_int_equal(ignore_count(d), 0);
	ignore_free(a);
	ignore_free(b);
	ignore_free(c);
	ignore_free(d);
}

static bool
can_skip(const char *text, const char *dir)
{
	struct ignore *ig = rules(text);
	bool skip;

	assert_true(ignore_test(ig, slice_str(dir)).ignored);
	skip = ignore_can_skip(ig, slice_str(dir));
	ignore_free(ig);
	return skip;
}

static void
ignored_directories_are_skipped_unless_something_may_be_kept(void **state)
{
	(void)state;
	assert_true(can_skip("*", "d"));
	assert_true(can_skip("!/x\n*", "d"));
	assert_true(can_skip("!/x/**\n*", "d"));
	assert_true(can_skip("!/x**\n*", "d"));
	assert_false(can_skip("!/a/keep\n/*", "a"));
	assert_false(can_skip("!keep\n*", "d"));
	assert_false(can_skip("!*.txt\n*", "d"));
	/* A rule after the one that hits comes too late. */
	assert_true(can_skip("d\n!keep\n*", "d"));
	assert_true(can_skip("!keep\n*", ".stversions"));
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
hostile_patterns_take_linear_time(void **state)
{
	char pattern[4096], path[4096];
	const double start = seconds();
	size_t n = 0;

	(void)state;
	/* A name is at most 255 bytes on disk, but rules do not know that. */
	memset(path, 'a', 4000);
	path[0] = 'b'; /* every literal is there: no short cut helps */
	path[4000] = '\0';
	assert_false(is_ignored("*a*a*a*a*b", path));
	assert_false(is_ignored("**a**a**a**a**a**a**b", path));
	for (n = 0; n + 2 < 1000; n += 2)
		memcpy(pattern + n, "*a", 2);
	memcpy(pattern + n, "*b", 3);
	assert_false(is_ignored(pattern, path));
	pattern[n + 1] = 'a';
	assert_true(is_ignored(pattern, path));
	/* Braces do not multiply either. */
	for (n = 0; n + 8 < 2000; n += 7)
		memcpy(pattern + n, "{a,aa}*", 7);
	memcpy(pattern + n, "b", 2);
	assert_false(is_ignored(pattern, path));
	assert_true(seconds() - start < 10.0);
}

static void
patterns_too_large_are_refused(void **state)
{
	char pattern[8192];

	(void)state;
	memset(pattern, '{', 100);
	pattern[100] = '\0';
	check_error(pattern, ".stignore:1", "deep");
	memset(pattern, 'a', 5000);
	pattern[5000] = '\0';
	check_error(pattern, ".stignore:1", "long");
}

static void
a_literal_may_stand_anywhere_in_the_path(void **state)
{
	(void)state;
	check("?ab?", "xaby aaby", "ab xab aby aab");
	check("*aab*", "aaab aab xaabx", "aba ab");
	check("x[1]long*y", "x1longy", "x1lony x2longy");
	check("{long,l}*ab", "longab lab", "ab");
	check("\\*abc", "*abc", "abc xabc");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_match_anywhere_and_all_below_them),
		cmocka_unit_test(a_leading_slash_roots_the_pattern),
		cmocka_unit_test(a_trailing_slash_means_what_is_in_it),
		cmocka_unit_test(stars_stop_at_slashes_and_double_stars_do_not),
		cmocka_unit_test(one_star_means_everything),
		cmocka_unit_test(the_first_match_decides),
		cmocka_unit_test(case_is_folded_on_request_only),
		cmocka_unit_test(case_folds_beyond_ascii),
		cmocka_unit_test(small_letters_stay_what_they_are),
		cmocka_unit_test(classes_negate_with_an_exclamation_mark),
		cmocka_unit_test(braces_nest),
		cmocka_unit_test(odd_paths_match_nothing),
		cmocka_unit_test(escapes_make_literals),
		cmocka_unit_test(the_escape_can_be_chosen_before_any_pattern),
		cmocka_unit_test(blanks_comments_and_line_ends_do_not_count),
		cmocka_unit_test(prefixes_come_in_any_order_and_once),
		cmocka_unit_test(a_hit_names_its_rule),
		cmocka_unit_test(our_own_names_are_ignored_whatever_the_rules),
		cmocka_unit_test(broken_patterns_name_file_and_line),
		cmocka_unit_test(
		    includes_are_asked_for_and_stand_where_they_are),
		cmocka_unit_test(an_error_in_an_included_file_names_that_file),
		cmocka_unit_test(includes_twice_around_or_outside_are_errors),
		cmocka_unit_test(repeated_lines_count_once),
		cmocka_unit_test(every_file_the_rules_are_read_from_is_known),
		cmocka_unit_test(the_digest_changes_with_the_rules_only),
		cmocka_unit_test(
		    ignored_directories_are_skipped_unless_something_may_be_kept),
		cmocka_unit_test(hostile_patterns_take_linear_time),
		cmocka_unit_test(patterns_too_large_are_refused),
		cmocka_unit_test(a_literal_may_stand_anywhere_in_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
