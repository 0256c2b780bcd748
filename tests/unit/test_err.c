/*
 * Errors: codes, texts, wrapping, and what is cut stays valid UTF-8.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/err.h"
#include "engine/base/slice.h"

static void
set_fills_and_gives_back_the_code(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(err_set(&err, ERR_LIMIT, "length %d", 7), ERR_LIMIT);
	assert_int_equal(err.code, ERR_LIMIT);
	assert_int_equal(err.sys, 0);
	assert_string_equal(err.text, "length 7");
}

static void
a_caller_may_want_the_code_only(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ERR_BUSY, "x"), ERR_BUSY);
	assert_int_equal(err_sys(NULL, ENOSPC, "x"), ERR_FULL);
	err_wrap(NULL, "x");
}

static void
sys_translates_and_appends_the_systems_words(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(err_sys(&err, ENOENT, "open %s", "f"), ERR_NOT_FOUND);
	assert_int_equal(err.sys, ENOENT);
	assert_string_equal(err.text, "open f: No such file or directory");
}

static void
wrap_puts_the_place_in_front(void **state)
{
	struct err err = { 0 };

	(void)state;
	err_set(&err, ERR_CORRUPT, "bad checksum");
	err_wrap(&err, "row %d", 3);
	err_wrap(&err, "folder %s", "photos");
	assert_string_equal(err.text, "folder photos: row 3: bad checksum");
	assert_int_equal(err.code, ERR_CORRUPT);
}

static void
reactions_are_right_for_what_can_lose_data(void **state)
{
	static const struct {
		int sys;
		enum err_code code;
	} table[] = {
		{ ENOENT, ERR_NOT_FOUND },
		{ ENOTDIR, ERR_NOT_FOUND },
		/* "Too many open files" must never look like "no file". */
		{ EMFILE, ERR_BUSY },
		{ ENFILE, ERR_BUSY },
		{ ENOMEM, ERR_BUSY },
		{ EINTR, ERR_BUSY },
		{ EIO, ERR_IO },
		{ ENOSPC, ERR_FULL },
		{ EDQUOT, ERR_FULL },
		{ EACCES, ERR_DENIED },
		{ EROFS, ERR_READ_ONLY },
		{ EEXIST, ERR_EXISTS },
		{ ENOTEMPTY, ERR_EXISTS },
		{ ELOOP, ERR_CHANGED },
		{ ENAMETOOLONG, ERR_LIMIT },
		{ EXDEV, ERR_UNSUPPORTED },
		{ ENOSYS, ERR_UNSUPPORTED },
		{ ECONNRESET, ERR_CLOSED },
		{ 0, ERR_IO },
		{ -1, ERR_IO },
		{ 99999, ERR_IO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(err_from_errno(table[i].sys), table[i].code);
}

static void
no_errno_is_success(void **state)
{
	(void)state;
	for (int i = -2; i < 200; i++)
		assert_true(err_from_errno(i) < 0);
}

static void
every_code_has_a_name(void **state)
{
	(void)state;
	for (int code = ERR_READ_ONLY; code <= ERR_NOT_FOUND; code++) {
		assert_non_null(err_name(code));
		assert_string_not_equal(err_name(code), "unknown");
	}
	assert_string_equal(err_name(0), "ok");
	assert_string_equal(err_name(ERR_READ_ONLY - 1), "unknown");
	assert_string_equal(err_name(1), "unknown");
	assert_string_equal(err_name(INT32_MIN), "unknown");
}

static void
a_text_that_is_cut_stays_utf8(void **state)
{
	static const char *const rune[] = { "a", "\xc3\xa4", "\xe2\x82\xac",
		"\xf0\x9f\x98\x80" };
	char text[2 * ERR_TEXT_MAX];

	(void)state;
	for (size_t r = 0; r < 4; r++) {
		for (size_t pad = 0; pad < 8; pad++) {
			struct err err = { 0 };
			size_t len = pad;

			memset(text, 'x', pad);
			while (len + 5 < sizeof(text)) {
				memcpy(text + len, rune[r], strlen(rune[r]));
				len += strlen(rune[r]);
			}
			text[len] = '\0';
			err_set(&err, ERR_INVALID, "%s", text);
			assert_true(slice_is_utf8(slice_str(err.text)));
			assert_true(strlen(err.text) >= ERR_TEXT_MAX - 4);
			err_wrap(&err, "%.*s", (int)pad, "yyyyyyyy");
			assert_true(slice_is_utf8(slice_str(err.text)));
			err_sys(&err, EIO, "%s", text);
			assert_true(slice_is_utf8(slice_str(err.text)));
			assert_true(strlen(err.text) < ERR_TEXT_MAX);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_fills_and_gives_back_the_code),
		cmocka_unit_test(a_caller_may_want_the_code_only),
		cmocka_unit_test(sys_translates_and_appends_the_systems_words),
		cmocka_unit_test(wrap_puts_the_place_in_front),
		cmocka_unit_test(reactions_are_right_for_what_can_lose_data),
		cmocka_unit_test(no_errno_is_success),
		cmocka_unit_test(every_code_has_a_name),
		cmocka_unit_test(a_text_that_is_cut_stays_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
