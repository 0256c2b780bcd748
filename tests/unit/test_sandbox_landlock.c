/*
 * Landlock: what each thread can reach, in a child, because it is for good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/sandbox.h"

static char base[64];

static const char *
at(const char *name)
{
	static char path[8][160];
	static int n;
	char *out = path[n++ % 8];

	snprintf(out, 160, "%s/%s", base, name);
	return out;
}

static void
put_file(const char *name)
{
	const int fd = open(at(name), O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static int
setup(void **state)
{
	static const char *const dirs[] = { "", "home", "home/index", "a",
		"a/sub", "b", "other" };

	(void)state;
	snprintf(base, sizeof(base), "/tmp/holdfast-landlock-XXXXXX");
	assert_non_null(mkdtemp(base));
	for (size_t i = 1; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		assert_int_equal(mkdir(at(dirs[i]), 0700), 0);
	put_file("home/key.pem");
	put_file("home/config");
	put_file("home/index/data");
	put_file("a/sub/file");
	put_file("b/file");
	put_file("other/file");
	return 0;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", base);
	return system(cmd);
}

static bool
reads(const char *name)
{
	const int fd = open(at(name), O_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool
writes(const char *dir)
{
	const char *path = at(dir);
	char name[200];
	int fd;

	snprintf(name, sizeof(name), "%s/new", path);
	fd = open(name, O_WRONLY | O_CREAT, 0600);
	if (fd < 0)
		return false;
	close(fd);
	return truncate(name, 0) == 0 && unlink(name) == 0;
}

/* What a thread was asked to try; bits of its findings. */
enum {
	SEES_KEY = 1,
	SEES_A = 2,
	SEES_B = 4,
	SEES_OTHER = 8,
	SEES_INDEX = 16,
	WRITES_A = 32,
	WRITES_B = 64,
	MOVES_IN_A = 128,
	WRITES_HOME = 256,
	SEES_ETC = 512,
};

static unsigned
look(void)
{
	unsigned out = 0;

	out |= reads("home/key.pem") ? SEES_KEY : 0;
	out |= reads("a/sub/file") ? SEES_A : 0;
	out |= reads("b/file") ? SEES_B : 0;
	out |= reads("other/file") ? SEES_OTHER : 0;
	out |= reads("home/index/data") ? SEES_INDEX : 0;
	out |= writes("a/sub") ? WRITES_A : 0;
	out |= writes("b") ? WRITES_B : 0;
	out |= writes("home") ? WRITES_HOME : 0;
	out |= open("/etc/passwd", O_RDONLY) >= 0 ? SEES_ETC : 0;
	if (rename(at("a/sub/file"), at("a/moved")) == 0) {
		out |= MOVES_IN_A;
		if (rename(at("a/moved"), at("a/sub/file")) < 0)
			out = UINT32_MAX;
	}
	/* Out of a folder nothing goes. */
	if (rename(at("a/sub/file"), at("other/gone")) == 0)
		out = UINT32_MAX;
	return out;
}

static void *
look_thread(void *arg)
{
	*(unsigned *)arg = look();
	return arg;
}

static unsigned
look_from(struct sandbox *sb)
{
	unsigned seen = UINT32_MAX;
	pthread_t thread;

	if (sandbox_landlock_spawn(sb, &thread, look_thread, &seen) != 0)
		return UINT32_MAX;
	pthread_join(thread, NULL);
	return seen;
}

static void
put(struct sandbox *sb, uint32_t folder, const char *name)
{
	sandbox_landlock_put(sb, folder,
	    open(at(name), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* A thread that lives through a renewal. */
struct old_thread {
	int go[2];
	unsigned seen;
};

static void *
old_thread_run(void *arg)
{
	struct old_thread *old = arg;
	char c;

	if (read(old->go[0], &c, 1) == 1)
		old->seen = look();
	return NULL;
}

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "%d: %s\n", __LINE__, #cond);          \
			return 1;                                              \
		}                                                              \
	} while (0)

/* Renew with one descriptor, which the new rules take themselves. */
static int
renew_with_one_descriptor(struct sandbox *sb, struct err *err)
{
	struct rlimit limit, tight;
	const int free_fd = dup(0);
	int rc;

	close(free_fd);
	getrlimit(RLIMIT_NOFILE, &limit);
	tight = limit;
	tight.rlim_cur = (rlim_t)free_fd + 1;
	setrlimit(RLIMIT_NOFILE, &tight);
	rc = sandbox_landlock_renew(sb, err);
	setrlimit(RLIMIT_NOFILE, &limit);
	return rc;
}

static const unsigned in_a = SEES_A | WRITES_A | MOVES_IN_A;

static int
body(void)
{
	struct home home;
	struct sandbox *sb;
	struct sandbox_fence fence;
	struct err err = { 0 };
	struct old_thread old = { .seen = 0 };
	pthread_t thread;

	CHECK(home_init(&home, at("home"), &err) == 0);
	if (sandbox_landlock(&sb, &home, &fence, &err) < 0)
		return fence.why[0] != '\0' && !fence.on ? 77 : 1;
	CHECK(fence.on && fence.level >= 2);
	/* This thread: the home and, to read, the system; no folder. */
	CHECK(look() == (SEES_KEY | SEES_INDEX | WRITES_HOME | SEES_ETC));

	CHECK(look_from(sb) == SEES_INDEX);
	put(sb, 0, "a");
	CHECK(look_from(sb) == SEES_INDEX); /* not before the renewal */
	CHECK(sandbox_landlock_renew(sb, &err) == 0);
	CHECK(look_from(sb) == (SEES_INDEX | in_a));

	/* A folder that comes later, while an older thread works. */
	CHECK(pipe(old.go) == 0);
	CHECK(sandbox_landlock_spawn(sb, &thread, old_thread_run, &old) == 0);
	put(sb, 1, "b");
	CHECK(sandbox_landlock_renew(sb, &err) == 0);
	CHECK(look_from(sb) == (SEES_INDEX | in_a | SEES_B | WRITES_B));
	CHECK(write(old.go[1], "x", 1) == 1);
	pthread_join(thread, NULL);
	CHECK(old.seen == (SEES_INDEX | in_a));

	/* Closed: not held, and out of bounds with the next renewal. */
	sandbox_landlock_remove(sb, 1);
	CHECK(sandbox_landlock_renew(sb, &err) == 0);
	CHECK(look_from(sb) == (SEES_INDEX | in_a));

	/* Another directory in the place of the first. */
	put(sb, 0, "b");
	CHECK(sandbox_landlock_renew(sb, &err) == 0);
	CHECK(look_from(sb) == (SEES_INDEX | SEES_B | WRITES_B));

	/* Without descriptors the rules stay what they were. */
	CHECK(renew_with_one_descriptor(sb, &err) == ERR_BUSY);
	CHECK(look_from(sb) == (SEES_INDEX | SEES_B | WRITES_B));
	sandbox_landlock_free(sb);
	home_fini(&home);
	return 0;
}

static void
each_thread_reaches_its_own_and_no_more(void **state)
{
	const pid_t child = fork();
	int status;

	(void)state;
	if (child == 0)
		_exit(body());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    each_thread_reaches_its_own_and_no_more, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
