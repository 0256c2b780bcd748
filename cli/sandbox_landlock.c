/*
 * Landlock: which files there are, a thread at a time; see sandbox.h.
 *
 * What a thread gave up it never gets back, and neither does what it starts,
 * by fork or by exec.  A folder that is added while syncd runs must be let in
 * all the same.  So before the loop's thread shuts itself in, it starts one
 * that does not:
 *
 *	main ----------- the home, the system's configuration to read
 *	  \\
 *	   gate -------- everything; does nothing but start threads
 *	     \\---------- worker, generation 1: index, folders a b
 *	     \\---------- worker, generation 2: index, folders a b c
 *
 * The gate sleeps in a read of a pipe, starts a thread when it is told to, and
 * the new thread shuts itself in before it does anything else.  It takes no
 * data from outside.
 *
 * Directories are known to the kernel by what they are, not by their names, and
 * only as long as their disk stays mounted: a folder that opens again is a new
 * root, even where numbers of device and inode are those of before.
 */
#include "cli/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

/* Younger than Debian 12's headers. */
#define SANDBOX_FS_TRUNCATE (UINT64_C(1) << 14)  /* ABI 3 */
#define SANDBOX_FS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */

#define SANDBOX_READ                                                           \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* All but to run programs, to make devices and to speak with them. */
#define SANDBOX_WRITE                                                          \
	(SANDBOX_READ | LANDLOCK_ACCESS_FS_WRITE_FILE |                        \
	    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |   \
	    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |        \
	    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |      \
	    LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER |           \
	    SANDBOX_FS_TRUNCATE)
/* What can be said of a file that is no directory. */
#define SANDBOX_OF_FILE                                                        \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |        \
	    SANDBOX_FS_TRUNCATE)
#define SANDBOX_EVERYTHING                                                     \
	(SANDBOX_WRITE | LANDLOCK_ACCESS_FS_EXECUTE |                          \
	    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |     \
	    SANDBOX_FS_IOCTL_DEV)

/* libc: names and addresses of hosts, time zones, its own libraries.  Whole
 * directories, because these files are replaced while we run. */
static const char *const sandbox_system[] = { "/etc", "/usr", "/lib", "/lib64",
	"/proc", "/var/lib/sss", "/sys/devices/system/cpu", "/dev/null",
	"/dev/urandom" };

struct sandbox_root {
	uint32_t folder;
	int fd; /* O_PATH */
};

struct sandbox {
	uint64_t handled; /* rights that this kernel knows */
	char *index_dir;  /* owned */
	int rules;        /* for the next threads */
	VEC(struct sandbox_root) root;
	pthread_t gate;
	int ask[2];    /* pipe of struct sandbox_start *: to the gate */
	int answer[2]; /* pipe of int: from it, or from the new thread */
};

/* A thread to be made. */
struct sandbox_start {
	struct sandbox *sb;
	pthread_t *out;
	void *(*run)(void *);
	void *arg;
};

/* --- The kernel's three calls --- */

static int
sandbox_ruleset(const void *attr, size_t size, unsigned flags)
{
	return (int)syscall(SYS_landlock_create_ruleset, attr, size, flags);
}

int
sandbox_landlock_abi(void)
{
	const int abi =
	    sandbox_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? 0 : abi;
}

static int
sandbox_rule(const struct sandbox *sb, int rules, int fd, uint64_t rights)
{
	struct landlock_path_beneath_attr attr = { .parent_fd = fd };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	if (!S_ISDIR(st.st_mode))
		rights &= SANDBOX_OF_FILE;
	attr.allowed_access = rights & sb->handled;
	return (int)syscall(SYS_landlock_add_rule, rules,
	    LANDLOCK_RULE_PATH_BENEATH, &attr, 0);
}

static int
sandbox_restrict(int rules)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_landlock_restrict_self, rules, 0);
}

/* --- Rules --- */

static uint64_t
sandbox_handled(int abi)
{
	uint64_t rights = SANDBOX_EVERYTHING;

	if (abi < 3)
		rights &= ~SANDBOX_FS_TRUNCATE;
	if (abi < 5)
		rights &= ~SANDBOX_FS_IOCTL_DEV;
	return rights;
}

static int
sandbox_rules_new(const struct sandbox *sb, struct err *err)
{
	const struct landlock_ruleset_attr attr = { .handled_access_fs =
							sb->handled };
	/* The kernel closes it on exec by itself. */
	const int rules = sandbox_ruleset(&attr, sizeof(attr), 0);

	if (rules < 0)
		err_sys(err, errno, "landlock_create_ruleset");
	return rules;
}

/*
 * What is not there needs no rule.  That we lack what it takes to look says
 * nothing of what is there: threads without the rule would be shut out.
 */
static int
sandbox_rule_path(const struct sandbox *sb, int rules, const char *path,
    uint64_t rights, struct err *err)
{
	int rc = 0;
	int fd;

	do
		fd = open(path, O_PATH | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return err_sys(err, errno, "open %s", path);
	if (fd < 0)
		return 0;
	if (sandbox_rule(sb, rules, fd, rights) < 0)
		rc = err_sys(err, errno, "landlock_add_rule %s", path);
	close(fd);
	return rc;
}

/* The configuration may be a link into another place. */
static int
sandbox_rule_config(const struct sandbox *sb, int rules, const char *config,
    struct err *err)
{
	char *real = realpath(config, NULL);
	char *slash = real == NULL ? NULL : strrchr(real, '/');
	int rc = 0;

	if (slash != NULL && slash != real) {
		*slash = '\0';
		rc = sandbox_rule_path(sb, rules, real, SANDBOX_WRITE, err);
	}
	free(real);
	return rc;
}

/*
 * The names of servers are mostly kept below /run, behind a link, and may not
 * be there yet when we start: then what will hold them is enough.
 */
static int
sandbox_rule_resolver(const struct sandbox *sb, int rules, struct err *err)
{
	char path[PATH_MAX + 8] = "/etc/";
	char *end = path + strlen(path);
	const ssize_t len =
	    readlink("/etc/resolv.conf", end, (size_t)(path + PATH_MAX - end));
	const char *at = path;
	char *slash;

	if (len <= 0)
		return 0; /* a file in /etc */
	end[len] = '\0';
	if (*end == '/')
		at = end;
	while ((slash = strrchr(at, '/')) != NULL && slash != at) {
		*slash = '\0';
		if (access(at, F_OK) == 0)
			return sandbox_rule_path(sb, rules, at, SANDBOX_READ,
			    err);
	}
	return 0;
}

static int
sandbox_rules_of_loop(const struct sandbox *sb, const struct home *home,
    struct err *err)
{
	const char *const own[] = { home->config_dir, home->state_dir,
		home->run_dir };
	const int rules = sandbox_rules_new(sb, err);
	int rc = rules < 0 ? rules : 0;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]) && rc == 0; i++)
		rc = sandbox_rule_path(sb, rules, own[i], SANDBOX_WRITE, err);
	/* ~/Sync/NAME, for a folder that is accepted by itself; see 0009. */
	if (rc == 0 && home->user_home != NULL)
		rc = sandbox_rule_path(sb, rules, home->user_home,
		    LANDLOCK_ACCESS_FS_MAKE_DIR, err);
	if (rc == 0)
		rc = sandbox_rule_config(sb, rules, home->config, err);
	if (rc == 0)
		rc = sandbox_rule_resolver(sb, rules, err);
	for (size_t i = 0;
	     i < sizeof(sandbox_system) / sizeof(sandbox_system[0]) && rc == 0;
	     i++)
		rc = sandbox_rule_path(sb, rules, sandbox_system[i],
		    SANDBOX_READ, err);
	if (rc == 0)
		return rules;
	if (rules >= 0)
		close(rules);
	return rc;
}

int
sandbox_landlock_renew(struct sandbox *sb, struct err *err)
{
	const int rules = sandbox_rules_new(sb, err);
	int rc = rules < 0 ? rules : 0;

	if (rc == 0)
		rc = sandbox_rule_path(sb, rules, sb->index_dir, SANDBOX_WRITE,
		    err);
	/* Our own status is there. */
	if (rc == 0)
		rc = sandbox_rule_path(sb, rules, "/proc", SANDBOX_READ, err);
	for (size_t i = 0; i < sb->root.len && rc == 0; i++)
		if (sandbox_rule(sb, rules, sb->root.item[i].fd,
			SANDBOX_WRITE) < 0)
			rc = err_sys(err, errno, "landlock_add_rule");
	if (rc < 0) {
		if (rules >= 0)
			close(rules);
		return rc;
	}
	if (sb->rules >= 0)
		close(sb->rules);
	sb->rules = rules;
	return 0;
}

void
sandbox_landlock_put(struct sandbox *sb, uint32_t folder, int fd)
{
	sandbox_landlock_remove(sb, folder);
	*VEC_ADD(&sb->root) = (struct sandbox_root){ folder, fd };
}

void
sandbox_landlock_remove(struct sandbox *sb, uint32_t folder)
{
	for (size_t i = 0; i < sb->root.len; i++) {
		if (sb->root.item[i].folder != folder)
			continue;
		close(sb->root.item[i].fd);
		VEC_DROP(&sb->root, i);
		return;
	}
}

/* --- The gate --- */

static void
sandbox_answer(const struct sandbox *sb, int code)
{
	ssize_t n;

	do
		n = write(sb->answer[1], &code, sizeof(code));
	while (n < 0 && errno == EINTR);
	ASSERT(n == sizeof(code));
}

static void *
sandbox_thread_run(void *arg)
{
	/* It is the asker's, who waits for our word and no longer. */
	const struct sandbox_start start = *(struct sandbox_start *)arg;
	const int rc = sandbox_restrict(start.sb->rules) < 0 ? errno : 0;

	sandbox_answer(start.sb, rc);
	return rc == 0 ? start.run(start.arg) : NULL;
}

static void *
sandbox_gate_run(void *arg)
{
	struct sandbox *sb = arg;
	struct sandbox_start *start;
	ssize_t n;
	int rc;

	for (;;) {
		n = read(sb->ask[0], &start, sizeof(start));
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(start))
			return NULL; /* closed: the end */
		rc =
		    pthread_create(start->out, NULL, sandbox_thread_run, start);
		if (rc != 0)
			sandbox_answer(sb, rc);
	}
}

int
sandbox_landlock_spawn(void *arg, pthread_t *out, void *(*run)(void *),
    void *run_arg)
{
	struct sandbox *sb = arg;
	struct sandbox_start start = { sb, out, run, run_arg };
	struct sandbox_start *at = &start;
	int code = EIO;
	ssize_t n;

	do
		n = write(sb->ask[1], &at, sizeof(at));
	while (n < 0 && errno == EINTR);
	ASSERT(n == sizeof(at));
	do
		n = read(sb->answer[0], &code, sizeof(code));
	while (n < 0 && errno == EINTR);
	ASSERT(n == sizeof(code));
	return code;
}

/* --- Beginning and end --- */

static void
sandbox_close_pair(int *pair)
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

static int
sandbox_begin(struct sandbox *sb, const struct home *home, struct err *err)
{
	int rules = -1;
	int rc;

	if (pipe2(sb->ask, O_CLOEXEC) < 0 || pipe2(sb->answer, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	rc = sandbox_landlock_renew(sb, err);
	if (rc < 0)
		return rc;
	rules = sandbox_rules_of_loop(sb, home, err);
	if (rules < 0)
		return rules;
	rc = pthread_create(&sb->gate, NULL, sandbox_gate_run, sb);
	if (rc != 0) {
		rc = err_sys(err, rc, "thread");
	} else if (sandbox_restrict(rules) < 0) {
		rc = err_sys(err, errno, "landlock_restrict_self");
		sandbox_close_pair(sb->ask);
		pthread_join(sb->gate, NULL);
	}
	close(rules);
	return rc;
}

static void
sandbox_fini(struct sandbox *sb)
{
	for (size_t i = 0; i < sb->root.len; i++)
		close(sb->root.item[i].fd);
	VEC_FINI(&sb->root);
	sandbox_close_pair(sb->ask);
	sandbox_close_pair(sb->answer);
	if (sb->rules >= 0)
		close(sb->rules);
	mem_free(sb->index_dir);
	mem_free(sb);
}

int
sandbox_landlock(struct sandbox **out, const struct home *home,
    struct sandbox_fence *fence, struct err *err)
{
	const int abi = sandbox_landlock_abi();
	struct sandbox *sb = NULL;
	int rc;

	*out = NULL;
	*fence = (struct sandbox_fence){ .level = abi };
	if (abi == 0)
		rc = err_set(err, ERR_UNSUPPORTED,
		    errno == EOPNOTSUPP ? "it is off in this kernel"
		    : errno == ENOSYS   ? "this kernel has none"
					: "the system lets no process use it");
	else if (abi < 2)
		rc = err_set(err, ERR_UNSUPPORTED,
		    "this kernel's lets no file be moved between directories");
	else {
		sb = mem_zalloc(sizeof(*sb));
		sb->handled = sandbox_handled(abi);
		sb->index_dir = mem_strdup(home->index_dir);
		sb->rules = -1;
		sb->ask[0] = sb->ask[1] = sb->answer[0] = sb->answer[1] = -1;
		rc = sandbox_begin(sb, home, err);
	}
	fence->on = rc == 0;
	if (rc == 0) {
		*out = sb;
		return 0;
	}
	if (sb != NULL)
		sandbox_fini(sb);
	snprintf(fence->why, sizeof(fence->why), "%s", err->text);
	return rc;
}

void
sandbox_landlock_free(struct sandbox *sb)
{
	if (sb == NULL)
		return;
	close(sb->ask[1]);
	sb->ask[1] = -1;
	pthread_join(sb->gate, NULL);
	sandbox_fini(sb);
}
