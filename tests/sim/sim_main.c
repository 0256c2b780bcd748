/*
 * sim: many histories, or one of them told.
 *
 *	sim [--from N] [--count M | --minutes M] [--jobs J] [--kept FILE]
 *	    [--open FILE]
 *	    [--counters] [--demand] [--trace-hash]
 *	sim --seed N | --choices FILE  [--story] [--debug] [--shrink]
 *	    [--write FILE]
 *	--tail N  with any of them: seeds as they were when their tail had N
 *	    bytes; --old: none
 *	--mutant N  with any of them, where mutants are built in
 *
 * Histories run in worker processes, so that an assertion of the engine ends
 * one history and not all; each worker says in shared memory what it is at.
 * The last line is "N histories, R a minute, F failing".
 */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "history.h"
#include "shrink.h"
#ifdef HOLDFAST_MUTANTS
#include "engine/base/mutant.h"
#endif

#define PATIENCE_S 60u /* with one history */
#define JOBS_MAX 64u
#define TWICE 100u /* every so many run twice, to be the same */

/* A history to be run: a seed, or bytes. */
struct task {
	uint64_t seed;
	uint32_t tail;   /* ... with so many bytes of its tail */
	struct buf byte; /* empty: the seed's */
};

/* Shared between the worker and us. */
struct worker {
	uint64_t at; /* the task in work */
	bool over;
	uint64_t done, failing;
	uint64_t hash;
	uint64_t count[COUNTERS];
	pid_t pid;
};

struct options {
	uint64_t from, count, seed, minutes;
	unsigned jobs;
	uint32_t tail; /* bytes of a seed's tail */
	bool one, story, debug, shrink, counters, demand, trace_hash;
	const char *choices, *write;
	VEC(struct task) kept;
	VEC(struct task) open; /* known to fail: told, not counted */
};

static void
usage(int code)
{
	fprintf(code == 0 ? stdout : stderr,
	    "sim [--from N] [--count M | --minutes M] [--jobs J]"
	    " [--kept FILE]\n"
	    "    [--counters] [--demand] [--trace-hash]\n"
	    "sim --seed N | --choices FILE  [--story] [--debug] [--shrink]"
	    " [--write FILE]\n"
	    "    [--old | --tail N] [--mutant N]\n");
	exit(code);
}

static uint64_t
number(const char *text)
{
	char *end;
	const uint64_t v = strtoull(text, &end, 0);

	if (*text == '\0' || *end != '\0')
		usage(2);
	return v;
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Bytes, as hexadecimal digits */

static bool
unhex(const char *text, struct buf *out)
{
	unsigned v;

	for (; text[0] != '\0' && text[0] != ' ' && text[0] != '\n';
	     text += 2) {
		if (sscanf(text, "%2x", &v) != 1 || text[1] == '\0')
			return false;
		buf_put_u8(out, (uint8_t)v);
	}
	return out->len <= CHOICE_LEN_MAX;
}

/*
 * "12345  what it was"; "12345:12 ..." for a seed with so many bytes of its
 * tail, "-12345 ..." with none; "x00ff... ..."; '#' begins a comment.
 */
static void
read_kept(struct options *op, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[2 * CHOICE_LEN_MAX + 400];

	if (f == NULL) {
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		struct task t = { .tail = line[0] == '-' ? 0 : CHOICE_TAIL };
		char *end;

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (line[0] != 'x') {
			t.seed = strtoull(line + (line[0] == '-'), &end, 0);
			if (*end == ':')
				t.tail = (uint32_t)strtoul(end + 1, NULL, 0);
		} else if (!unhex(line + 1, &t.byte)) {
			fprintf(stderr, "%s: not hexadecimal: %.40s\n", path,
			    line);
			exit(2);
		}
		*VEC_ADD(&op->kept) = t;
	}
	fclose(f);
}

/* Seeds of bugs that are known and not mended yet. */
static void
read_open(struct options *op, const char *path)
{
	struct options other = { 0 };

	read_kept(&other, path);
	for (size_t i = 0; i < other.kept.len; i++)
		*VEC_ADD(&op->open) = other.kept.item[i];
	VEC_FINI(&other.kept);
}

static void
options_fini(struct options *op)
{
	for (size_t i = 0; i < op->kept.len; i++)
		buf_fini(&op->kept.item[i].byte);
	for (size_t i = 0; i < op->open.len; i++)
		buf_fini(&op->open.item[i].byte);
	VEC_FINI(&op->kept);
	VEC_FINI(&op->open);
}

static bool
is_open(const struct options *op, uint64_t i, uint64_t seed)
{
	for (size_t k = 0; i >= op->kept.len && k < op->open.len; k++)
		if (op->open.item[k].seed == seed)
			return true;
	return false;
}

static size_t
read_choices(const char *path, uint8_t out[CHOICE_LEN_MAX])
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	size_t n;

	if (f == NULL) {
		perror(path);
		exit(2);
	}
	n = fread(out, 1, CHOICE_LEN_MAX, f);
	fclose(f);
	return n;
}

static size_t
seed_bytes(uint64_t seed, uint32_t tail, uint8_t out[CHOICE_LEN_MAX])
{
	const size_t len = choice_of_seed(seed, out);
	const size_t some = choice_without_tail(len) + tail;

	return some < len ? some : len;
}

static size_t
task_bytes(const struct options *op, uint64_t i, uint8_t out[CHOICE_LEN_MAX],
    uint64_t *seed)
{
	uint32_t tail = op->tail;

	if (i < op->kept.len) {
		const struct task *t = &op->kept.item[i];

		*seed = t->seed;
		if (t->byte.len > 0) {
			memcpy(out, t->byte.ptr, t->byte.len);
			return t->byte.len;
		}
		tail = t->tail < tail ? t->tail : tail;
	} else {
		*seed = op->from + i - op->kept.len;
	}
	return seed_bytes(*seed, tail, out);
}

/* Workers */

static void
tell(const struct options *op, uint64_t i, const char *why)
{
	const bool bytes = i < op->kept.len && op->kept.item[i].byte.len > 0;
	uint8_t byte[CHOICE_LEN_MAX];
	uint64_t seed;

	task_bytes(op, i, byte, &seed);
	if (bytes)
		printf("kept %llu: %s\n", (unsigned long long)i + 1, why);
	else
		printf("seed %llu: %s\n", (unsigned long long)seed, why);
	fflush(stdout);
}

static void
work_one(const struct options *op, struct worker *w, uint64_t i)
{
	uint8_t byte[CHOICE_LEN_MAX];
	struct history_result r, again;
	uint64_t seed;
	const size_t len = task_bytes(op, i, byte, &seed);

	alarm(PATIENCE_S);
	history_run(byte, len, false, false, &r);
	if (r.ok && i % TWICE == 0) {
		history_run(byte, len, false, false, &again);
		if (again.hash != r.hash) {
			r.ok = false;
			snprintf(r.why, sizeof(r.why),
			    "not deterministic: %016llx, then %016llx",
			    (unsigned long long)r.hash,
			    (unsigned long long)again.hash);
		}
	}
	if (!r.ok) {
		tell(op, i, r.why);
		w->failing += !is_open(op, i, seed);
	}
	w->hash += r.hash * (2 * i + 1);
	for (int c = 0; c < COUNTERS; c++)
		w->count[c] += r.count[c];
	w->done++;
}

static void
work(const struct options *op, struct worker *w, double until)
{
	const uint64_t total = op->kept.len + op->count;

	while (w->at < total) {
		if (w->at >= op->kept.len && seconds() > until)
			break;
		work_one(op, w, w->at);
		w->at += op->jobs;
	}
	w->over = true;
	fflush(stdout);
	_exit(0);
}

static void
worker_start(const struct options *op, struct worker *w, double until)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0)
		work(op, w, until);
	w->pid = pid; /* the child sees the same memory: not there */
}

/* One died of what it was at: that failed, and the next goes on behind it. */
static void
worker_died(const struct options *op, struct worker *w, int status)
{
	char why[80];

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(why, sizeof(why), "died: no end after %u s",
		    PATIENCE_S);
	else
		snprintf(why, sizeof(why), "died: status %x", (unsigned)status);
	tell(op, w->at, why);
	w->failing++;
	w->done++;
	w->at += op->jobs;
}

static void
run_workers(const struct options *op, struct worker *worker, double until)
{
	unsigned left = op->jobs;

	for (unsigned k = 0; k < op->jobs; k++) {
		worker[k].at = k;
		worker_start(op, &worker[k], until);
	}
	while (left > 0) {
		int status;
		const pid_t pid = wait(&status);

		for (unsigned k = 0; k < op->jobs; k++) {
			if (worker[k].pid != pid)
				continue;
			if (worker[k].over) {
				left--;
				break;
			}
			worker_died(op, &worker[k], status);
			worker_start(op, &worker[k], until);
		}
	}
}

static bool
tell_counters(const struct options *op, const struct worker *worker)
{
	bool all = true;

	for (int c = 0; c < COUNTERS; c++) {
		uint64_t n = 0;

		for (unsigned k = 0; k < op->jobs; k++)
			n += worker[k].count[c];
		if (op->counters)
			printf("%10llu %s\n", (unsigned long long)n,
			    sim_counter_name[c]);
		if (n == 0 && op->demand)
			printf("never reached: %s\n", sim_counter_name[c]);
		all = all && n > 0;
	}
	return all;
}

static int
run_many(struct options *op)
{
	const size_t size = op->jobs * sizeof(struct worker);
	struct worker *worker = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const double start = seconds();
	double until = 1e18;
	uint64_t done = 0, failing = 0, hash = 0;
	bool all;

	if (worker == MAP_FAILED) {
		perror("mmap");
		return 2;
	}
	if (op->minutes > 0) {
		until = start + 60 * (double)op->minutes;
		op->count = UINT64_MAX / 2;
	}
	run_workers(op, worker, until);
	all = tell_counters(op, worker);
	for (unsigned k = 0; k < op->jobs; k++) {
		done += worker[k].done;
		failing += worker[k].failing;
		hash += worker[k].hash;
	}
	if (op->trace_hash)
		printf("trace hash %016llx\n", (unsigned long long)hash);
	if (op->demand && !all)
		failing++;
	munmap(worker, size);
	printf("%llu histories, %.0f a minute, %llu failing\n",
	    (unsigned long long)done,
	    60 * (double)done / (seconds() - start + 1e-9),
	    (unsigned long long)failing);
	return failing == 0 ? 0 : 1;
}

/* One */

static void
write_bytes(const char *path, const uint8_t *byte, size_t len)
{
	FILE *f = fopen(path, "wb");

	if (f == NULL || fwrite(byte, 1, len, f) != len || fclose(f) != 0) {
		perror(path);
		exit(2);
	}
}

static int
run_one(const struct options *op)
{
	uint8_t byte[CHOICE_LEN_MAX];
	struct history_result r;
	size_t len;
	const double start = seconds();
	char why[400] = "";

	if (op->choices != NULL)
		len = read_choices(op->choices, byte);
	else
		len = seed_bytes(op->seed, op->tail, byte);
	if (op->shrink) {
		len = shrink(byte, len, why);
		printf("%zu acts: %s\n",
		    len < CHOICE_HEAD ? 0 : (len - CHOICE_HEAD) / CHOICE_ACT,
		    why[0] == '\0' ? "does not fail" : why);
		printf("x");
		for (size_t i = 0; i < len; i++)
			printf("%02x", byte[i]);
		printf("\n");
	}
	if (op->write != NULL)
		write_bytes(op->write, byte, len);
	fflush(stdout);
	setvbuf(stdout, NULL, _IOLBF, 0);
	history_run(byte, len, op->story, op->debug, &r);
	if (!r.ok)
		printf("%s\n", r.why);
	if (op->trace_hash)
		printf("trace hash %016llx\n", (unsigned long long)r.hash);
	printf("1 histories, %.0f a minute, %d failing\n",
	    60 / (seconds() - start + 1e-9), r.ok ? 0 : 1);
	return r.ok ? 0 : 1;
}

static void
set_mutant(const char *text)
{
#ifdef HOLDFAST_MUTANTS
	mutant_set((unsigned)number(text));
#else
	(void)text;
	fprintf(stderr, "sim: built without mutants\n");
	exit(2);
#endif
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "from", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' },
		{ "minutes", required_argument, NULL, 'm' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "kept", required_argument, NULL, 'k' },
		{ "open", required_argument, NULL, 'o' },
		{ "seed", required_argument, NULL, 's' },
		{ "choices", required_argument, NULL, 'c' },
		{ "write", required_argument, NULL, 'w' },
		{ "mutant", required_argument, NULL, 'M' },
		{ "old", no_argument, NULL, 'O' },
		{ "tail", required_argument, NULL, 't' },
		{ "story", no_argument, NULL, 'S' },
		{ "debug", no_argument, NULL, 'D' },
		{ "shrink", no_argument, NULL, 'X' },
		{ "counters", no_argument, NULL, 'C' },
		{ "demand", no_argument, NULL, 'R' },
		{ "trace-hash", no_argument, NULL, 'T' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options op = { .from = 1,
		.count = 20000,
		.jobs = 2,
		.tail = CHOICE_TAIL };
	int c, rc;

	/* What one history gives back the next one takes: not the kernel. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'f':
			op.from = number(optarg);
			break;
		case 'n':
			op.count = number(optarg);
			break;
		case 'm':
			op.minutes = number(optarg);
			break;
		case 'j':
			op.jobs = (unsigned)number(optarg);
			break;
		case 'k':
			read_kept(&op, optarg);
			break;
		case 'o':
			read_open(&op, optarg);
			break;
		case 's':
			op.seed = number(optarg);
			op.one = true;
			break;
		case 'c':
			op.choices = optarg;
			op.one = true;
			break;
		case 'w':
			op.write = optarg;
			break;
		case 'O':
			op.tail = 0;
			break;
		case 't':
			op.tail = (uint32_t)number(optarg);
			break;
		case 'M':
			set_mutant(optarg);
			break;
		case 'S':
			op.story = true;
			break;
		case 'D':
			op.story = op.debug = true;
			break;
		case 'X':
			op.shrink = true;
			break;
		case 'C':
			op.counters = true;
			break;
		case 'R':
			op.demand = true;
			break;
		case 'T':
			op.trace_hash = true;
			break;
		case 'h':
			usage(0);
			break;
		default:
			usage(2);
		}
	if (optind < argc || op.jobs == 0 || op.jobs > JOBS_MAX)
		usage(2);
	rc = op.one ? run_one(&op) : run_many(&op);
	options_fini(&op);
	return rc;
}
