/*
 * syncd: options, signals of damage, and the loop.  See syncd.h.
 */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/syncd.h"
#include "engine/base/limits.h"
#include "engine/store_lmdb.h"

static const char usage[] =
    "usage: syncd [--home DIR] [--log error|warn|info|debug] [--coordinator]\n"
    "\n"
    "Keeps folders in sync, in the foreground.  SIGTERM stops it cleanly,\n"
    "SIGHUP reads the configuration again.  syncctl(1) looks after it.\n"
    "--coordinator: be a coordinator and nothing else.\n";

/* Whom a fault goes to that is none of an index: the system, a sanitizer. */
static struct sigaction fault_bus_old, fault_segv_old;

/*
 * A damaged index is read through a map, so damage may end in a signal: a
 * mark is left, and the next start rebuilds that index.
 */
static void
syncd_on_fault(int signum, siginfo_t *info, void *context)
{
	static const char text[] =
	    "syncd: an index is damaged; it is rebuilt at the next start\n";

	(void)context;
	if (store_lmdb_fault(info->si_addr)) {
		ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

		_exit(n < 0 ? 1 : 1);
	}
	sigaction(signum, signum == SIGBUS ? &fault_bus_old : &fault_segv_old,
	    NULL);
	/* The same instruction faults again, and they see where. */
	if (info->si_code <= 0)
		raise(signum); /* but nobody's kill() does */
}

static void
syncd_catch_faults(void)
{
	struct sigaction sa = { 0 };

	sa.sa_sigaction = syncd_on_fault;
	sa.sa_flags = SA_SIGINFO | SA_RESETHAND;
	sigaction(SIGBUS, &sa, &fault_bus_old);
	sigaction(SIGSEGV, &sa, &fault_segv_old);
	signal(SIGPIPE, SIG_IGN);
}

/* A folder is some descriptors, a device one: take what the system allows. */
static void
syncd_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur < LIMIT_DESCRIPTORS)
		limit.rlim_cur = limit.rlim_max < LIMIT_DESCRIPTORS
				     ? limit.rlim_max
				     : LIMIT_DESCRIPTORS;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "home", required_argument, NULL, 'H' },
		{ "log", required_argument, NULL, 'l' },
		{ "coordinator", no_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	static struct syncd sd;
	const char *home = NULL;
	struct err err = { 0 };
	int c, rc;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'H':
			home = optarg;
			break;
		case 'l':
			sd.log_is_forced = true;
			if (log_level_parse(optarg, &sd.log_forced))
				break;
			fprintf(stderr,
			    "syncd: --log %s: use error, warn, "
			    "info or debug\n",
			    optarg);
			return 2;
		case 'c':
			sd.coord_only = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			printf("syncd %s\n", HOLDFAST_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	syncd_catch_faults();
	syncd_raise_limits();
	/* Blocks of files come and go all the time: keep their pages, instead
	 * of asking the kernel for zeroed ones each time.  syncd_trim() gives
	 * them back when it is quiet. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 128 << 20);
	mallopt(M_ARENA_MAX, 2);
	rc = syncd_open(&sd, home, &err);
	if (rc < 0) {
		fprintf(stderr, "syncd: %s\n", err.text);
		return err.code == ERR_INVALID ? 2 : 1;
	}
	rc = syncd_run(&sd);
	syncd_close(&sd);
	return rc;
}
