/*
 * The filter of system calls, each time in a child of its own: it is for good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/sandbox.h"

/* Run `body` in a filtered child; its exit code, or 128 + its signal.  99: this
 * build or kernel has no filter. */
static int
filtered(int (*body)(void))
{
	const pid_t child = fork();
	int status;

	if (child == 0) {
		struct sandbox_fence fence;
		struct err err = { 0 };
		const int null = open("/dev/null", O_WRONLY);

		dup2(null, STDERR_FILENO); /* it tells what it refuses */
		if (sandbox_seccomp(&fence, &err) < 0)
			_exit(fence.on || fence.why[0] == '\0' ? 98 : 99);
		_exit(body());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

static bool
has_filter(void)
{
	struct sandbox_fence fence;
	struct err err = { 0 };
	const pid_t child = fork();
	int status;

	if (child == 0)
		_exit(sandbox_seccomp(&fence, &err) < 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status == 0;
}

static void *
thread_body(void *arg)
{
	*(int *)arg = 7;
	return arg;
}

/* What syncd lives on. */
static int
daily_work(void)
{
	char path[] = "/tmp/holdfast-seccomp-XXXXXX";
	const int fd = mkstemp(path);
	pthread_t thread;
	int pair[2], status = 1, seen = 0;
	void *map;
	pid_t child;

	if (fd < 0 || unlink(path) < 0 || write(fd, "x", 1) != 1 ||
	    fsync(fd) < 0)
		return 1;
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || munmap(map, 4096) < 0)
		return 2;
	if (pthread_create(&thread, NULL, thread_body, &seen) != 0 ||
	    pthread_join(thread, NULL) != 0 || seen != 7)
		return 3;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 4;
	for (int family = 0; family < 3; family++) {
		static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };
		const int s = socket(families[family], SOCK_STREAM, 0);

		if (s < 0 && errno == EPERM)
			return 5;
	}
	if (socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) < 0 && errno == EPERM)
		return 6;
	/* The child that looks at an index. */
	child = fork();
	if (child == 0)
		_exit(0);
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		return 7;
	return sandbox_seccomp_denied() == 0 ? 0 : 8;
}

static void
daily_work_goes_on(void **state)
{
	const int code = filtered(daily_work);

	(void)state;
	if (code == 99)
		skip();
	assert_int_equal(code, 0);
}

/* Refused, told, counted; and the process lives. */
static int
odd_wishes(void)
{
	char name[64];
	void *map;

	if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != EPERM)
		return 1;
	if (socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT) >= 0 ||
	    errno != EPERM)
		return 2;
	if (socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){ 0 }) >= 0)
		return 3;
	/* Nothing that was written is run. */
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return 4;
	if (mprotect(map, 4096, PROT_READ | PROT_EXEC) == 0 || errno != EPERM)
		return 5;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 6;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		-1, 0) != MAP_FAILED)
		return 7;
	if (kill(getppid(), 0) == 0 || errno != EPERM)
		return 8;
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0)
		return 9;
	if (sandbox_seccomp_denied() < 8)
		return 10;
	sandbox_seccomp_name(0, name);
	if (name[0] == '\0')
		return 11;
	sandbox_seccomp_name(100, name);
	return name[0] == '\0' ? 0 : 12;
}

static void
odd_wishes_fail_and_are_counted(void **state)
{
	(void)state;
	if (!has_filter())
		skip();
	assert_int_equal(filtered(odd_wishes), 0);
}

static int
run_a_program(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return 1;
}

static int
trace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static int
become_root(void)
{
	return setuid(0) == 0;
}

static int
run_in_child(void)
{
	const pid_t child = fork();
	int status = 0;

	if (child == 0)
		_exit(run_a_program());
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 1;
}

static void
what_only_an_intruder_does_is_the_end(void **state)
{
	(void)state;
	if (!has_filter())
		skip();
	assert_int_equal(filtered(run_a_program), 128 + SIGSYS);
	assert_int_equal(filtered(trace), 128 + SIGSYS);
	assert_int_equal(filtered(become_root), 128 + SIGSYS);
	assert_int_equal(filtered(run_in_child), SIGSYS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(daily_work_goes_on),
		cmocka_unit_test(odd_wishes_fail_and_are_counted),
		cmocka_unit_test(what_only_an_intruder_does_is_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
