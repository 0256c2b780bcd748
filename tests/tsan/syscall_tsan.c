/*
 * For the preset tsan alone, linked into the programs: closes and doubles of
 * descriptors that the thread sanitizer sees.
 *
 * It remembers who made each descriptor, and knows of closes by intercepting
 * close().  libuv closes with syscall(), and files are opened with openat()
 * and openat2, which it does not intercept either: it took a worker's new
 * file for the socket that had had its number, made by the loop.
 *
 * That bytes went through a pipe it knows from read() and write(), by their
 * descriptors; one that fcntl() made it takes for none, and what a thread gave
 * the loop through it for a race (portmap_uv.c).  It does know dup().
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef long syscall_fn(long number, ...);

long
syscall(long number, ...)
{
	static syscall_fn *real; /* every thread finds the same */
	syscall_fn *next = __atomic_load_n(&real, __ATOMIC_RELAXED);
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_close)
		return close((int)a[0]);
	if (next == NULL) {
		*(void **)(void *)&next = dlsym(RTLD_NEXT, "syscall");
		__atomic_store_n(&real, next, __ATOMIC_RELAXED);
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int
fcntl(int fd, int command, ...)
{
	static int (*real)(int, int, ...); /* as above */
	int (*next)(int, int, ...) = __atomic_load_n(&real, __ATOMIC_RELAXED);
	va_list ap;
	long arg;
	int twin;

	va_start(ap, command);
	arg = va_arg(ap, long);
	va_end(ap);
	if (next == NULL) {
		*(void **)(void *)&next = dlsym(RTLD_NEXT, "fcntl");
		__atomic_store_n(&real, next, __ATOMIC_RELAXED);
	}
	if (command != F_DUPFD_CLOEXEC || arg != 0)
		return next(fd, command, arg);
	twin = dup(fd);
	if (twin >= 0)
		(void)next(twin, F_SETFD, FD_CLOEXEC);
	return twin;
}
