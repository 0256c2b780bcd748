/*
 * Log lines: levels, one line each, cut where a line is too long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/slice.h"

static char seen[LIMIT_LOG_LINE];
static unsigned lines;

static void
remember(void *arg, enum log_level level, const char *line)
{
	*(enum log_level *)arg = level;
	strncpy(seen, line, sizeof(seen) - 1);
	lines++;
}

static void
only_levels_that_are_on_are_written(void **state)
{
	enum log_level level = LOG_DEBUG;
	const struct log log = { LOG_WARN, remember, &level };
	int calls = 0;

	(void)state;
	lines = 0;
	log_info(&log, "plan take n=%d", ++calls);
	log_debug(&log, "plan take n=%d", ++calls);
	assert_int_equal(lines, 0);
	assert_int_equal(calls, 0); /* not even the arguments are computed */
	log_warn(&log, "plan take path=%s", "a");
	assert_int_equal(level, LOG_WARN);
	assert_string_equal(seen, "plan take path=a");
	log_error(&log, "x");
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(lines, 2);
	log_line(&log, LOG_INFO, "x");
	assert_int_equal(lines, 2);
}

static void
no_sink_is_fine(void **state)
{
	const struct log *none = NULL;
	const struct log mute = { LOG_DEBUG, NULL, NULL };

	(void)state;
	log_error(none, "x");
	log_line(NULL, LOG_ERROR, "x");
	log_error(&mute, "x");
}

static void
a_line_is_one_line(void **state)
{
	enum log_level level;
	const struct log log = { LOG_DEBUG, remember, &level };

	(void)state;
	log_info(&log, "a\nb\rc\x1b[0m\x7f");
	assert_string_equal(seen, "a?b?c?[0m?");
}

static void
a_long_line_is_cut_between_characters(void **state)
{
	static char text[LIMIT_LOG_LINE * 2];
	enum log_level level;
	const struct log log = { LOG_DEBUG, remember, &level };

	(void)state;
	for (size_t pad = 0; pad < 3; pad++) {
		size_t len = pad;

		memset(text, 'x', pad);
		for (; len + 4 < sizeof(text); len += 3)
			memcpy(text + len, "\xe2\x82\xac", 3);
		text[len] = '\0';
		log_info(&log, "%s", text);
		assert_true(strlen(seen) >= LIMIT_LOG_LINE - 4);
		assert_true(slice_is_utf8(slice_str(seen)));
	}
}

static void
levels_have_names(void **state)
{
	enum log_level level;

	(void)state;
	for (enum log_level l = LOG_ERROR; l <= LOG_DEBUG; l++) {
		assert_true(log_level_parse(log_level_name(l), &level));
		assert_int_equal(level, l);
	}
	level = LOG_INFO;
	assert_false(log_level_parse("loud", &level));
	assert_false(log_level_parse("", &level));
	assert_int_equal(level, LOG_INFO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_levels_that_are_on_are_written),
		cmocka_unit_test(no_sink_is_fine),
		cmocka_unit_test(a_line_is_one_line),
		cmocka_unit_test(a_long_line_is_cut_between_characters),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
