/*
 * The filter of system calls; see sandbox.h.
 *
 * An allow-list: what syncd and the libraries below it use, found by strace
 * over the end-to-end tests (docs/design/0009-sandbox.md).  What is not in it
 * raises SIGSYS; the handler writes the call down and lets it fail.  So a
 * library that wants something new goes on, and somebody can see why it
 * limps.
 */
#include "cli/sandbox.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <linux/sched.h>

/* Younger than some libseccomp that knows the rest; one number everywhere. */
#define SANDBOX_FCHMODAT2 452

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Sanitizers have helpers of their own that no list of ours knows. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||     \
    __has_feature(memory_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif

/* Without conditions.  Some exist on one machine only and are skipped on the
 * others; libc chooses between old and new names of one thing. */
static const int sandbox_allowed[] = {
	/* A tracer that skips a call makes it number -1. */
	-1,
	/* What is open */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(fcntl),
	SCMP_SYS(flock),
	SCMP_SYS(pipe2),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(syncfs),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(fallocate),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fadvise64),
	SCMP_SYS(copy_file_range),
	SCMP_SYS(sendfile),
	/* Names */
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(openat2),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(getdents64),
	SCMP_SYS(getcwd),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SANDBOX_FCHMODAT2,
	SCMP_SYS(utimensat),
	SCMP_SYS(umask),
	SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_rm_watch),
	/* Memory, but for mmap and mprotect */
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(msync),
	SCMP_SYS(membarrier),
	/* Threads, and a child that is waited for; but for clone */
	SCMP_SYS(futex),
	SCMP_SYS(futex_waitv),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(sched_yield),
	SCMP_SYS(wait4),
	SCMP_SYS(alarm),
	SCMP_SYS(setitimer),
	SCMP_SYS(close_range),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sigaltstack),
	/* Waiting and time; some are for what libc loads to find hosts */
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	/* Sockets, but for socket itself */
	SCMP_SYS(bind),
	SCMP_SYS(connect),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg),
	/* Who and where we are */
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getresuid),
	SCMP_SYS(getresgid),
	SCMP_SYS(getgroups),
	SCMP_SYS(capget),
	SCMP_SYS(getppid),
	SCMP_SYS(getrlimit),
	SCMP_SYS(getrusage),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(getrandom),
	/* The other fence; it can only take away. */
	SCMP_SYS(landlock_create_ruleset),
	SCMP_SYS(landlock_add_rule),
	SCMP_SYS(landlock_restrict_self),
};

/* Libraries try these and know what to do without them. */
static const int sandbox_absent[] = {
	SCMP_SYS(clone3), /* its flags lie in memory: no filter sees them */
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
};

/* Nobody but an intruder: no second try. */
static const int sandbox_deadly[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),

	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsmount),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(bpf),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(setuid),
	SCMP_SYS(setreuid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setgid),
	SCMP_SYS(setregid),
	SCMP_SYS(setresgid),
	SCMP_SYS(setgroups),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(personality),
	SCMP_SYS(acct),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
};

static const unsigned long sandbox_ioctls[] = {
	FIONREAD, FIONBIO, SIOCGIFINDEX, SIOCGIFNAME, FIOCLEX, TCGETS,
	TIOCGWINSZ, FICLONE, FICLONERANGE, FS_IOC_GETFLAGS,
	_IOR(
	    0x15, 0,
	    struct {
		    uint8_t len;
		    uint8_t uuid[16];
	    }), /* FSUUID */
};

static const int sandbox_prctls[] = {
	PR_SET_NAME,
	PR_GET_NAME,
	PR_GET_DUMPABLE,
	PR_SET_NO_NEW_PRIVS,
	PR_GET_NO_NEW_PRIVS,
	PR_SET_VMA,
	PR_CAPBSET_READ,
};

/* --- What was refused --- */

static atomic_uint sandbox_refused;
static atomic_bool sandbox_seen[SANDBOX_CALLS];

/* Signal handler: writes a line the first time, by hand. */
static void
sandbox_tell(int call)
{
	static const char what[] = "syncd sandbox denied syscall=";
	char line[sizeof(what) + 12];
	char digits[12];
	size_t len = sizeof(what) - 1;
	size_t n = 0;
	ssize_t put;

	memcpy(line, what, len);
	do {
		digits[n++] = (char)('0' + call % 10);
		call /= 10;
	} while (call > 0);
	while (n > 0)
		line[len++] = digits[--n];
	line[len++] = '\n';
	put = write(STDERR_FILENO, line, len);
	(void)put;
}

static void
sandbox_on_sigsys(int signum, siginfo_t *info, void *context)
{
	const int saved = errno;
	const int call = info->si_syscall;
	ucontext_t *uc = context;

	(void)signum;
	atomic_fetch_add(&sandbox_refused, 1);
	if (call >= 0 && (unsigned)call < SANDBOX_CALLS &&
	    !atomic_exchange(&sandbox_seen[call], true))
		sandbox_tell(call);
		/* The call returns this. */
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
	uc->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
#else
	(void)uc;
	_exit(1); /* where is a result put on this machine? */
#endif
	errno = saved;
}

unsigned
sandbox_seccomp_denied(void)
{
	return atomic_load(&sandbox_refused);
}

void
sandbox_seccomp_name(unsigned n, char *out)
{
	char *name;
	unsigned call = 0;

	out[0] = '\0';
	for (; call < SANDBOX_CALLS; call++)
		if (atomic_load(&sandbox_seen[call]) && n-- == 0)
			break;
	if (call == SANDBOX_CALLS)
		return;
	name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)call);
	if (name != NULL)
		snprintf(out, 64, "%s", name);
	else
		snprintf(out, 64, "%u", call);
	free(name);
}

/* --- The rules --- */

static int
sandbox_rules(scmp_filter_ctx ctx, uint32_t action, const int *list,
    size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++)
		rc = seccomp_rule_add(ctx, action, list[i], 0);
	return rc;
}

/* Allow `call` when argument `at` is one of the list. */
static int
sandbox_rules_one_of(scmp_filter_ctx ctx, int call, unsigned at,
    const unsigned long *list, size_t count)
{
	int rc = 0;

	/* The kernel looks at the lower half of these. */
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1,
		    SCMP_CMP64(at, SCMP_CMP_MASKED_EQ, UINT32_MAX,
			(uint32_t)list[i]));
	return rc;
}

/* Which kinds of socket. */
static int
sandbox_rules_socket(scmp_filter_ctx ctx)
{
	static const unsigned long families[] = { AF_UNIX, AF_INET, AF_INET6 };
	int rc;

	rc = sandbox_rules_one_of(ctx, SCMP_SYS(socket), 0, families,
	    COUNT(families));
	/* libc's look at the interfaces. */
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
		    SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0),
		    SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE, 0));
	if (rc == 0)
		rc = sandbox_rules_one_of(ctx, SCMP_SYS(socketpair), 0,
		    families, 1);
	return rc;
}

/* Memory is written or run, never both, and does not change from one to the
 * other.  Libraries that libc loads late (name services) are mapped. */
static int
sandbox_rules_memory(scmp_filter_ctx ctx)
{
	int rc;

	rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
		    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE,
			PROT_EXEC),
		    SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0));
	return rc;
}

/* Threads of this process, signals to it, limits and names of its own. */
static int
sandbox_rules_self(scmp_filter_ctx ctx)
{
	const int pid = (int)getpid();
	int rc;

	/* Threads, and the process that looks at an index before we do: what
	 * kills it does not kill us.  No namespaces. */
	rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ,
		CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
		    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE,
		0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)pid, 0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)pid, 0));
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64),
		    1, SCMP_A0(SCMP_CMP_EQ, 0, 0));
	for (size_t i = 0; i < COUNT(sandbox_prctls) && rc == 0; i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)sandbox_prctls[i], 0));
	return rc;
}

static int
sandbox_load(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int rc = -ENOMEM;

	if (ctx == NULL)
		return rc;
	/* A filter of another tool is no reason to fail; 32-bit calls end the
	 * process; -1 is what a tracer makes of a call it answers itself. */
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
	    SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_API_TSKIP, 1);
	/* A tree of numbers, not a list: a third of the cost of a call. */
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = sandbox_rules(ctx, SCMP_ACT_ALLOW, sandbox_allowed,
		    COUNT(sandbox_allowed));
	if (rc == 0)
		rc = sandbox_rules(ctx, SCMP_ACT_ERRNO(ENOSYS), sandbox_absent,
		    COUNT(sandbox_absent));
	if (rc == 0)
		rc = sandbox_rules(ctx, SCMP_ACT_KILL_PROCESS, sandbox_deadly,
		    COUNT(sandbox_deadly));
	if (rc == 0)
		rc = sandbox_rules_one_of(ctx, SCMP_SYS(ioctl), 1,
		    sandbox_ioctls, COUNT(sandbox_ioctls));
	if (rc == 0)
		rc = sandbox_rules_socket(ctx);
	if (rc == 0)
		rc = sandbox_rules_memory(ctx);
	if (rc == 0)
		rc = sandbox_rules_self(ctx);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc;
}

bool
sandbox_seccomp_is_there(void)
{
	const uint32_t action = SECCOMP_RET_TRAP;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int
sandbox_seccomp(struct sandbox_fence *out, struct err *err)
{
	struct sigaction sa = { .sa_sigaction = sandbox_on_sigsys,
		.sa_flags = SA_SIGINFO | SA_RESTART };
	int rc;

	*out = (struct sandbox_fence){ 0 };
#ifdef SANDBOX_SANITIZED
	(void)sa;
	(void)sandbox_load;
	rc = err_set(err, ERR_UNSUPPORTED,
	    "this build is for the hunt of faults");
#else
	sigaction(SIGSYS, &sa, NULL);
	rc = sandbox_load();
	if (rc < 0)
		rc = err_set(err, ERR_UNSUPPORTED,
		    "the kernel takes no filter: %s", strerror(-rc));
#endif
	out->on = rc == 0;
	if (rc < 0)
		snprintf(out->why, sizeof(out->why), "%s", err->text);
	return rc;
}
