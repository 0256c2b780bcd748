/*
 * Memory: never NULL, and an overflow ends the process instead of lying.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/assert.h"
#include "engine/base/mem.h"

static void
die_by_array(void)
{
	(void)mem_array(SIZE_MAX / 4, 8);
}

static void
die_by_arena_array(void)
{
	struct arena ar = { 0 };

	(void)arena_array(&ar, SIZE_MAX / 4, 8);
}

static void
die_by_assert(void)
{
	ASSERT(1 + 1 == 3);
}

/* Run `die` in a child and see it end by abort(3). */
static void
expect_abort(void (*die)(void))
{
	const struct rlimit none = { 0, 0 };
	int status = 0;
	const pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		fclose(stderr);
		die();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void
overflow_ends_the_process(void **state)
{
	(void)state;
	expect_abort(die_by_array);
	expect_abort(die_by_arena_array);
}

static void
a_broken_assertion_ends_the_process(void **state)
{
	(void)state;
	expect_abort(die_by_assert);
}

static void
nothing_is_never_null(void **state)
{
	void *p[6];

	(void)state;
	p[0] = mem_alloc(0);
	p[1] = mem_zalloc(0);
	p[2] = mem_array(0, 8);
	p[3] = mem_array(8, 0);
	p[4] = mem_resize(NULL, 0);
	p[5] = mem_dup(NULL, 0);
	for (size_t i = 0; i < 6; i++) {
		assert_non_null(p[i]);
		mem_free(p[i]);
	}
	mem_free(NULL);
}

static void
contents_are_as_promised(void **state)
{
	uint8_t *p = mem_array(10, 10);
	char *s = mem_strdup("text");

	(void)state;
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	memset(p, 7, 100);
	p = mem_resize(p, 100000);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(p[i], 7);
	mem_free(p);
	assert_string_equal(s, "text");
	mem_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overflow_ends_the_process),
		cmocka_unit_test(a_broken_assertion_ends_the_process),
		cmocka_unit_test(nothing_is_never_null),
		cmocka_unit_test(contents_are_as_promised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
