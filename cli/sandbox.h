/*
 * The sandbox: what syncd gives up for good when it starts.
 *
 * Two fences of the kernel, both without privileges, each as far as this
 * kernel has it:
 *
 *	seccomp   (sandbox_seccomp.c)  which system calls there are: those that
 *	          syncd uses; no new program, no other process, no new kind of
 *	          socket, no code that was data
 *	Landlock  (sandbox_landlock.c) which files there are: the loop's thread
 *	          has the home and, to read, the system's configuration, and
 *	          may make directories in the user's home (auto-accept); the
 *	          workers have the index and the roots of folders, not the keys
 *
 * A refused system call fails with EPERM, is told once on standard error and
 * counted for `syncctl doctor`; those that only an intruder makes (execve,
 * ptrace, mount, ...) end the process.  A refused path fails with EACCES.
 *
 * Neither can be taken back.  New folders are let in all the same, by new
 * threads: see sandbox_landlock.c and docs/design/0009-sandbox.md.
 *
 * Thread: loop, before there is any other, unless said.
 */
#ifndef HOLDFAST_CLI_SANDBOX_H
#define HOLDFAST_CLI_SANDBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/home.h"
#include "engine/base/err.h"

#define SANDBOX_WHY_MAX 160u
#define SANDBOX_CALLS 512u /* system calls that are told apart */

enum sandbox_mode {
	SANDBOX_AUTO,    /* what there is; go on without the rest */
	SANDBOX_OFF,     /* for who hunts a fault */
	SANDBOX_REQUIRE, /* do not start without both */
};

/* One fence, as doctor tells it. */
struct sandbox_fence {
	bool on;
	int level;                 /* Landlock: the kernel's ABI; 0: none */
	char why[SANDBOX_WHY_MAX]; /* when it is not on */
};

/*
 * Filter the system calls of this process, for good: this thread and all that
 * it starts.  Sets no_new_privs.  ERR_UNSUPPORTED when the kernel or this
 * build has none; then nothing was changed.
 */
int sandbox_seccomp(struct sandbox_fence *out, struct err *err);
/* How many system calls were refused so far; any thread. */
unsigned sandbox_seccomp_denied(void);
/* The name of the `n`-th different one, "" when there is none.  `out`: 64. */
void sandbox_seccomp_name(unsigned n, char *out);

/* --- Files --- */

/* Landlock's ABI in this kernel; 0: none. */
int sandbox_landlock_abi(void);
/* Does this kernel take filters of system calls? */
bool sandbox_seccomp_is_there(void);

struct sandbox; /* opaque: what Landlock was told */

/*
 * Shut the calling thread, and all that it starts, into the home: it may read
 * and write there, and read what libc wants of the system.  Nobody else is shut
 * in: one thread, the gate, is started before.  ERR_UNSUPPORTED when this
 * kernel cannot: without Landlock, or with one that lets no file go from one
 * directory to another (before 5.19).
 */
int sandbox_landlock(struct sandbox **out, const struct home *home,
    struct sandbox_fence *fence, struct err *err);
/* Threads made by it must have ended. */
void sandbox_landlock_free(struct sandbox *sb); /* accepts NULL */

/*
 * A pool_uv_spawn: a thread that may touch the index and those roots of folders
 * that were there at the last sandbox_landlock_renew(), and nothing else.
 */
int sandbox_landlock_spawn(void *sb, pthread_t *out, void *(*run)(void *),
    void *arg);

/*
 * The root of folder number `folder` is the directory at `fd` (O_PATH; taken).
 * Threads made after the next renewal may enter it.
 */
void sandbox_landlock_put(struct sandbox *sb, uint32_t folder, int fd);
/* The folder was closed: hold its root no more, so that it can be unmounted.
 * With the next renewal it is out of bounds. */
void sandbox_landlock_remove(struct sandbox *sb, uint32_t folder);
/*
 * Threads made from now on may enter all roots put and not removed.  When it
 * fails, for want of descriptors or memory, they may enter what they could.
 */
int sandbox_landlock_renew(struct sandbox *sb, struct err *err);

#endif
