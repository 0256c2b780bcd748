/*
 * Seeded storms over several devices; and those seeds that once went wrong.
 *
 *	STORM_SEEDS=N	that many seeds of each kind instead of a few
 *	STORM_FROM=S	beginning with this one
 *	STORM_STORY=S	this one only, with all that happened
 *	STORM_SHORT=S	the same, with the acts that do not matter left out
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "testlib_storm.h"

#define SEEDS 300u
#define PATIENCE_S 600u /* with one that never rests; emulators are slow */

/* Each was a bug of the engine. */
static const uint64_t found[] = {
	17,         /* a temp nobody resumed lay in staging for ever */
	1313,       /* planning that never ended */
	1627,       /* a temp forgotten while it was looked at */
	2334,       /* a deletion nobody behind us in a chain heard of */
	2829,       /* a file that became a symlink was hashed for ever */
	2868,       /* the same, over a chain */
	11726,      /* a refused request was made again at once */
	12902,      /* ... and each made the file rest that it was for */
	25455,      /* a full scan that never ended */
	28521,      /* a counter given out twice: bytes lost */
	119684,     /* a problem that outlived its directory */
	120286,     /* a read-only directory nobody finished */
	1000000474, /* intents lost with the disk: a false conflict */
	1000002476, /* an item freed while it was in a list */
	1000003911, /* a directory deleted elsewhere while it was made */
	1000004380, /* intents lost with the disk: a deletion undone */
	1000004658, /* a directory that became a file, in trouble for ever */
	1000014457, /* as 1000003911 */
	1000025049, /* a deletion and an edit in it, each waiting for the other
		     */
};

static uint64_t
number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text == NULL ? otherwise : strtoull(text, NULL, 0);
}

/* In a process of its own: an assertion is a failure like any other. */
static bool
survives(uint64_t seed, const struct testlib_storm_cut *cut, char why[2000])
{
	int status = 0, fd[2];
	ssize_t n;
	pid_t pid;

	fflush(stdout);
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		char text[2000] = "";
		bool ok;

		alarm(PATIENCE_S);
		ok = testlib_storm_run(seed, cut, text, sizeof(text));

		fflush(stdout);
		if (write(fd[1], text, strlen(text)) < 0)
			_exit(3);
		_exit(ok ? 0 : 1);
	}
	close(fd[1]);
	n = read(fd[0], why, 1999);
	why[n > 0 ? n : 0] = '\0';
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1)
		snprintf(why, 2000, "died, status %x", (unsigned)status);
	return status == 0;
}

static void
shorten(uint64_t seed)
{
	struct testlib_storm_cut cut = { 0 };
	char why[2000];
	int kept = 0;

	if (survives(seed, &cut, why))
		return;
	for (int size = TESTLIB_STORM_ACTS / 2; size > 0; size /= 2)
		for (int at = 0; at < TESTLIB_STORM_ACTS; at += size) {
			struct testlib_storm_cut try = cut;

			memset(&try.skip[at], 1, (size_t)size);
			if (memcmp(&try, &cut, sizeof(cut)) != 0 &&
			    !survives(seed, &try, why))
				cut = try;
		}
	for (int i = 0; i < TESTLIB_STORM_ACTS; i++)
		kept += !cut.skip[i];
	cut.story = true;
	survives(seed, &cut, why);
	printf("seed %llu, %d acts: %s\n", (unsigned long long)seed, kept, why);
}

static void
storms_end_in_peace(void **state)
{
	const uint64_t first = number("STORM_FROM", 1);
	const uint64_t count = number("STORM_SEEDS", SEEDS);
	uint64_t bad = 0;
	char why[2000];

	(void)state;
	if (getenv("STORM_SHORT") != NULL) {
		shorten(number("STORM_SHORT", 0));
		return;
	}
	if (getenv("STORM_STORY") != NULL) {
		struct testlib_storm_cut cut = { .story = true };

		if (!survives(number("STORM_STORY", 0), &cut, why))
			fail_msg("%s", why);
		return;
	}
	for (uint64_t i = 0; i < 2 * count; i++) {
		const uint64_t seed =
		    first + i / 2 + (i % 2 == 0 ? 0 : TESTLIB_STORM_WILD);

		if (!survives(seed, NULL, why)) {
			bad++;
			printf("seed %llu: %s\n", (unsigned long long)seed,
			    why);
		}
	}
	if (bad > 0)
		fail_msg("%llu storms of %llu went wrong",
		    (unsigned long long)bad, (unsigned long long)(2 * count));
}

static void
storms_that_are_braked_end_in_peace(void **state)
{
	const uint64_t first = number("STORM_FROM", 1);
	const uint64_t count = number("STORM_SEEDS", SEEDS);
	char why[2000];

	(void)state;
	for (uint64_t i = first; i < first + count; i++)
		if (!survives(TESTLIB_STORM_BRAKED + i, NULL, why))
			fail_msg("seed %llu: %s",
			    (unsigned long long)(TESTLIB_STORM_BRAKED + i),
			    why);
}

static void
storms_that_once_did_harm_do_not(void **state)
{
	char why[2000];

	(void)state;
	for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++)
		if (!survives(found[i], NULL, why))
			fail_msg("seed %llu: %s", (unsigned long long)found[i],
			    why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(storms_end_in_peace),
		cmocka_unit_test(storms_that_are_braked_end_in_peace),
		cmocka_unit_test(storms_that_once_did_harm_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
