/*
 * The store on LMDB: layers, commits, damage, space.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/omap.h"
#include "engine/base/rng.h"
#include "engine/index.h"
#include "engine/schema.h"
#include "engine/store_lmdb.h"

static char root[256];
static char dir[300];

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
make_root(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(root, sizeof(root), "%s/store_lmdb.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(root) == NULL)
		return -1;
	snprintf(dir, sizeof(dir), "%s/index", root);
	return 0;
}

static void
set_file_limit(rlim_t len)
{
	struct rlimit lim;

	getrlimit(RLIMIT_FSIZE, &lim);
	lim.rlim_cur = len;
	setrlimit(RLIMIT_FSIZE, &lim);
}

static int
remove_root(void **state)
{
	(void)state;
	set_file_limit(RLIM_INFINITY);
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct store *
open_store(void)
{
	struct store *st = NULL;
	struct err err = { 0 };

	if (store_lmdb_check(dir, 1000, &err) < 0 ||
	    store_lmdb_open(&st, dir, &err) < 0)
		fail_msg("%s", err.text);
	return st;
}

/* Sealed, so that the check of a store that is opened believes them. */
static void
put(struct store *st, const char *key, const char *value)
{
	struct buf rec = { 0 };

	schema_seal(slice_str(key), slice_str(value), &rec);
	store_put(st, STORE_META, slice_str(key), buf_slice(&rec));
	buf_fini(&rec);
}

static void
expect(struct store *st, const char *key, const char *value)
{
	struct arena arena = { 0 };
	struct slice got, body;

	if (!store_find(st, STORE_META, slice_str(key), &got, &arena)) {
		assert_null(value);
	} else {
		assert_int_equal(
		    schema_unseal(slice_str(key), got, &body, NULL), 0);
		assert_non_null(value);
		assert_true(slice_equal(body, slice_str(value)));
	}
	arena_fini(&arena);
}

static void
store_keeps_what_was_committed_and_nothing_else(void **state)
{
	struct store *st = open_store();

	(void)state;
	put(st, "a", "1");
	put(st, "b", "2");
	assert_int_equal(store_lmdb_commit(st, NULL), 0);
	put(st, "a", "9");
	put(st, "c", "3");
	store_remove(st, STORE_META, slice_str("b"));
	expect(st, "a", "9");
	expect(st, "b", NULL);
	assert_int_equal(store_pending(st), 3);
	store_lmdb_close(st);
	st = open_store();
	expect(st, "a", "1");
	expect(st, "b", "2");
	expect(st, "c", NULL);
	store_lmdb_close(st);
}

static void
store_is_refused_to_a_second_user(void **state)
{
	struct store *st = open_store();
	struct store *other = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(store_lmdb_open(&other, dir, &err), ERR_BUSY);
	assert_null(other);
	assert_int_equal(store_lmdb_check(dir, 1000, &err), ERR_BUSY);
	store_lmdb_close(st);
	store_lmdb_close(open_store());
}

/* A map with the same operations, and a walk of both in both directions. */
static void
compare(struct store *st, const struct omap *model, struct rng *rng)
{
	struct arena arena = { 0 };
	struct slice key = SLICE_EMPTY, value;
	const struct omap_item *it = omap_seek(model, SLICE_EMPTY, false);
	uint8_t start[2];

	for (; it != NULL; it = omap_next(it)) {
		assert_true(store_next(st, STORE_NEED, key, true, &key, &value,
		    &arena));
		assert_true(slice_equal(key, it->key));
		assert_true(slice_equal(value, it->value));
		assert_true(store_find(st, STORE_NEED, key, &value, &arena));
	}
	assert_false(
	    store_next(st, STORE_NEED, key, true, &key, &value, &arena));
	key = SLICE_LIT("\xff\xff");
	while ((it = omap_seek_before(model, key)) != NULL) {
		assert_true(
		    store_prev(st, STORE_NEED, key, &key, &value, &arena));
		assert_true(slice_equal(key, it->key));
	}
	assert_false(store_prev(st, STORE_NEED, key, &key, &value, &arena));
	for (int i = 0; i < 20; i++) {
		start[0] = (uint8_t)rng_below(rng, 16);
		start[1] = (uint8_t)rng_below(rng, 16);
		it = omap_seek(model, slice_of(start, 2), i % 2 == 0);
		assert_int_equal(store_next(st, STORE_NEED, slice_of(start, 2),
				     i % 2 == 0, &key, NULL, &arena),
		    it != NULL);
		if (it != NULL)
			assert_true(slice_equal(key, it->key));
		it = omap_seek_before(model, slice_of(start, 2));
		assert_int_equal(store_prev(st, STORE_NEED, slice_of(start, 2),
				     &key, NULL, &arena),
		    it != NULL);
		if (it != NULL)
			assert_true(slice_equal(key, it->key));
	}
	arena_fini(&arena);
}

static void *
run_commit(void *arg)
{
	store_lmdb_commit_run(arg);
	return NULL;
}

/* The commit on a thread of its own, as in the daemon, while we read. */
static void
compare_while_running(struct store *st, struct store_lmdb_commit *c,
    const struct omap *model, struct rng *rng)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run_commit, c), 0);
	compare(st, model, rng);
	compare(st, model, rng);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void
store_reads_through_overlay_and_commit_under_way(void **state)
{
	struct store *st = open_store();
	struct omap *model = omap_new();
	struct store_lmdb_commit *c = NULL;
	struct rng rng;

	(void)state;
	rng_init(&rng, 5);
	for (int i = 0; i < 3000; i++) {
		const uint64_t what = rng_below(&rng, 20);
		uint8_t key[2], value[8];

		key[0] = (uint8_t)rng_below(&rng, 16);
		key[1] = (uint8_t)rng_below(&rng, 16);
		memset(value, i & 0xff, sizeof(value));
		if (what < 10) {
			store_put(st, STORE_NEED, slice_of(key, 2),
			    slice_of(value, 1));
			omap_put(model, slice_of(key, 2), slice_of(value, 1));
		} else if (what < 18) {
			store_remove(st, STORE_NEED, slice_of(key, 2));
			omap_remove(model, slice_of(key, 2));
		} else if (c == NULL) {
			c = store_lmdb_commit_begin(st);
			if (c != NULL)
				compare_while_running(st, c, model, &rng);
		} else {
			assert_null(store_lmdb_commit_begin(st));
			assert_int_equal(store_lmdb_commit_finish(c, NULL), 0);
			c = NULL;
		}
		if (i % 10 == 0)
			compare(st, model, &rng);
	}
	if (c != NULL)
		assert_int_equal(store_lmdb_commit_finish(c, NULL), 0);
	assert_int_equal(store_lmdb_commit(st, NULL), 0);
	store_lmdb_close(st);
	st = open_store();
	compare(st, model, &rng);
	store_lmdb_close(st);
	omap_free(model);
}

static void
full_disk_keeps_the_last_commit_and_what_waits(void **state)
{
	struct store *st = open_store();
	struct err err = { 0 };
	char big[3000], key[16];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	put(st, "a", "1");
	assert_int_equal(store_lmdb_commit(st, NULL), 0);
	signal(SIGXFSZ, SIG_IGN);
	set_file_limit(200 * 1024);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%03d", i);
		put(st, key, big);
	}
	put(st, "a", "2");
	assert_int_equal(store_lmdb_commit(st, &err), ERR_FULL);
	assert_null(store_error(st));
	expect(st, "a", "2");
	put(st, "k000", "newer");
	assert_int_equal(store_lmdb_commit(st, &err), ERR_FULL);
	set_file_limit(RLIM_INFINITY);
	expect(st, "k000", "newer");
	expect(st, "k199", big);
	assert_int_equal(store_lmdb_commit(st, &err), 0);
	store_lmdb_close(st);
	st = open_store();
	expect(st, "a", "2");
	expect(st, "k000", "newer");
	expect(st, "k199", big);
	store_lmdb_close(st);
}

/* Damage */

static const struct devid self = { { 1 } }, peer = { { 2 } };

struct load {
	struct store *st;
	struct index *ix;
	struct rng rng;
	uint32_t slot[8];
	unsigned devices;
	bool scattered;
};

static void
load_open(struct load *l, unsigned devices)
{
	struct devid id = peer;

	*l = (struct load){ .st = open_store(), .devices = devices };
	rng_init(&l->rng, 7);
	assert_int_equal(index_open(&l->ix, l->st, &self, 5, NULL), 0);
	for (unsigned d = 1; d < devices; d++) {
		id.b[1] = (uint8_t)d;
		assert_int_equal(index_slot(l->ix, &id, &l->slot[d], NULL), 0);
	}
}

static void
load_commit(struct load *l)
{
	struct err err = { 0 };

	index_flush(l->ix);
	if (store_lmdb_commit(l->st, &err) < 0)
		fail_msg("%s", err.text);
}

static void
load_close(struct load *l)
{
	index_close(l->ix);
	store_lmdb_close(l->st);
}

struct file {
	char name[64];
	struct digest hash;
	struct counter counter;
	struct entry e;
	struct identity seen;
};

/* The i-th file: an 8 KiB one, with a path of 30 bytes. */
static void
make_file(struct file *f, unsigned i)
{
	struct rng rng;

	rng_init(&rng, i);
	snprintf(f->name, sizeof(f->name), "dir-%03u/sub/file-%06u-name.txt",
	    i / 100, i);
	for (unsigned k = 0; k < DIGEST_LEN; k++)
		f->hash.b[k] = (uint8_t)rng_u64(&rng);
	f->counter = (struct counter){ .id = UINT64_C(0x7123456789abcdef),
		.value = 1790000000 };
	f->e = (struct entry){ .name = slice_str(f->name),
		.perms = 0644,
		.size = 8192 + i % 100,
		.mtime_s = 1790000000 + i,
		.mtime_ns = (int32_t)rng_below(&rng, 1000000000),
		.modified_by = f->counter.id,
		.version = { &f->counter, 1 },
		.block_size = 128 * 1024,
		.block_count = 1,
		.block = &f->hash };
	f->seen = (struct identity){ .type = IDENTITY_FILE,
		.mode = 0644,
		.size = f->e.size,
		.mtime_s = f->e.mtime_s,
		.mtime_ns = f->e.mtime_ns,
		.ctime_s = 1795000000 + i / 100,
		.ctime_ns = (int32_t)rng_below(&rng, 1000000000),
		.ino = 17000000 + i,
		.dev = 0xfe01 };
}

static void
random_bytes_in_the_file_are_noticed(void **state)
{
	char path[320], aside[320];
	struct stat st;
	struct rng rng;

	(void)state;
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	snprintf(aside, sizeof(aside), "%s.damaged-1", dir);
	rng_init(&rng, 3);
	for (int round = 0; round < 12; round++) {
		struct load l;
		struct file f;
		struct err err = { 0 };
		int fd;

		load_open(&l, 2);
		for (unsigned i = 0; i < 2000; i++) {
			make_file(&f, i);
			index_put_local(l.ix, &f.e, &f.seen, 0);
		}
		load_commit(&l);
		load_close(&l);
		fd = open(path, O_RDWR);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		if (round == 0) {
			assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
		} else {
			/* Whole pages, the meta pages too. */
			for (off_t at = round < 4 ? 0 : 8192; at < st.st_size;
			     at += 4096) {
				uint8_t junk[512];

				if (rng_below(&rng, 2) == 0)
					continue;
				for (size_t k = 0; k < sizeof(junk); k++)
					junk[k] = (uint8_t)rng_u64(&rng);
				assert_int_equal(
				    pwrite(fd, junk, sizeof(junk),
					at + (off_t)rng_below(&rng, 3584)),
				    sizeof(junk));
			}
		}
		close(fd);
		assert_int_equal(store_lmdb_check(dir, 1000, &err),
		    ERR_CORRUPT);
		assert_int_equal(store_lmdb_set_aside(dir, &err), 0);
		assert_int_equal(stat(aside, &st), 0);
		load_open(&l, 2);
		assert_true(index_is_new(l.ix));
		load_close(&l);
		nftw(aside, remove_one, 8, FTW_DEPTH | FTW_PHYS);
		nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	}
}

static void
a_store_is_removed_when_it_is_closed(void **state)
{
	struct store *st = open_store();
	struct err err = { 0 };
	struct stat sb;

	(void)state;
	assert_int_equal(store_lmdb_destroy(dir, &err), ERR_BUSY);
	store_lmdb_close(st);
	assert_int_equal(stat(dir, &sb), 0);
	assert_int_equal(store_lmdb_destroy(dir, &err), 0);
	assert_int_equal(stat(dir, &sb), -1);
	assert_int_equal(store_lmdb_destroy(dir, &err), 0);
}

static void
fault_in_the_map_leaves_a_mark(void **state)
{
	struct store *st = open_store(), *again = NULL;
	int here = 0;
	char line[512];
	uintptr_t from = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	(void)state;
	assert_false(store_lmdb_fault(&here));
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (strstr(line, "/index/data.mdb") != NULL)
			from = (uintptr_t)strtoull(line, NULL, 16);
	}
	fclose(maps);
	assert_true(from != 0);
	store_lmdb_trim(st);
	assert_true(store_lmdb_fault((void *)(from + 5000)));
	store_lmdb_close(st);
	assert_int_equal(store_lmdb_check(dir, 1000, NULL), ERR_CORRUPT);
	assert_int_equal(store_lmdb_open(&again, dir, NULL), ERR_CORRUPT);
}

static int
commit_all(struct store *st)
{
	struct store_lmdb_commit *c = store_lmdb_commit_begin(st);

	store_lmdb_commit_run(c);
	return store_lmdb_commit_finish(c, NULL);
}

static void
memory_of_a_large_commit_is_given_back(void **state)
{
	enum { COUNT = 60000 };
	struct store *st = open_store();
	char key[32], value[101];
	size_t before, large;

	(void)state;
	memset(value, 'v', sizeof(value));
	value[100] = '\0';
	before = mallinfo2().uordblks;
	if (before == 0) { /* a sanitizer's malloc() does not count */
		store_lmdb_close(st);
		skip();
	}
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(key, sizeof(key), "%08x", i * 2654435761u);
		put(st, key, value);
	}
	store_lmdb_rest(st); /* harmless while something waits */
	assert_int_equal(commit_all(st), 0);
	large = mallinfo2().uordblks - before;
	assert_in_range(large, 4 * MIB, SIZE_MAX / 2);
	store_lmdb_rest(st);
	assert_true(mallinfo2().uordblks < before + large / 4);
	expect(st, key, value);
	put(st, "more", "of it");
	assert_int_equal(commit_all(st), 0);
	expect(st, "more", "of it");
	store_lmdb_close(st);
}

/* Space and time */

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double
bytes_per_file(unsigned files)
{
	struct stat st;
	char path[320];
	double sum = 0;

	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	assert_int_equal(stat(path, &st), 0);
	sum += (double)st.st_blocks * 512;
	snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	assert_int_equal(stat(path, &st), 0);
	sum += (double)st.st_blocks * 512;
	return sum / files;
}

static void
load_batch(struct load *l)
{
	if (index_pending(l->ix) >= LIMIT_COMMIT_OPS)
		load_commit(l);
}

/* In the order of their names, or all over the place. */
static unsigned
pick(const struct load *l, unsigned i, unsigned files)
{
	return l->scattered ? (unsigned)((uint64_t)i * 61681 % files) : i;
}

static void
load_local(struct load *l, unsigned files)
{
	struct file f;

	for (unsigned i = 0; i < files; i++) {
		make_file(&f, pick(l, i, files));
		index_put_local(l->ix, &f.e, &f.seen, 0);
		load_batch(l);
	}
}

static void
load_remote(struct load *l, unsigned files, unsigned device)
{
	struct file f;

	for (unsigned i = 0; i < files; i++) {
		make_file(&f, pick(l, i, files));
		assert_int_equal(
		    index_put_remote(l->ix, l->slot[device], &f.e, NULL), 0);
		load_batch(l);
	}
}

/* The budget is for 100,000 files; sanitizers may take fewer. */
static unsigned
file_count(void)
{
	const char *env = getenv("STORE_FILES");

	return env != NULL ? (unsigned)strtoul(env, NULL, 10) : 100000;
}

static void *
run_compact(void *arg)
{
	store_lmdb_compact_run(arg);
	return NULL;
}

static bool
compact(struct load *l, bool at_rest)
{
	struct store_lmdb_compact *c = store_lmdb_compact_begin(l->st, at_rest);
	pthread_t thread;

	if (c == NULL)
		return false;
	assert_int_equal(pthread_create(&thread, NULL, run_compact, c), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return store_lmdb_compact_finish(c);
}

static void
measure(unsigned devices, bool local_first, bool scattered)
{
	/* Scattered commits are slow, and as telling with fewer files. */
	const unsigned files = scattered ? file_count() / 3 : file_count();
	double start = seconds();
	struct load l;
	double t, raw, per_file;

	load_open(&l, devices);
	l.scattered = scattered;
	if (local_first)
		load_local(&l, files);
	for (unsigned d = 1; d < devices; d++)
		load_remote(&l, files, d);
	if (!local_first)
		load_local(&l, files);
	load_commit(&l);
	t = seconds() - start;
	raw = bytes_per_file(files);
	start = seconds();
	compact(&l, true);
	per_file = bytes_per_file(files);
	print_message("%u files, %u devices, %s, %s first: %.2f s, "
		      "%.0f bytes/file, %.0f after %.2f s more\n",
	    files, devices, scattered ? "scattered" : "in order",
	    local_first ? "local" : "remote", t, raw, per_file,
	    seconds() - start);
	assert_int_equal(index_need_totals(l.ix, ROW_SELF).items, 0);
	assert_int_equal(index_global_totals(l.ix).files, files);
	load_close(&l);
	assert_true(per_file <= 300);
}

static void
state_is_at_most_300_bytes_a_file(void **state)
{
	(void)state;
	measure(1, true, false);
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	measure(5, false, false);
}

static void
state_is_that_small_after_scattered_changes(void **state)
{
	(void)state;
	measure(5, true, true);
}

static void
state_is_that_small_after_scattered_arrivals(void **state)
{
	(void)state;
	measure(5, false, true);
}

static void
expect_files(struct load *l, unsigned files)
{
	struct arena arena = { 0 };
	struct slice at = SLICE_EMPTY;
	struct row *row;
	unsigned count = 0;

	while ((row = index_next(l->ix, at, &arena)) != NULL) {
		at = row->path;
		count++;
	}
	assert_int_equal(count, files);
	assert_null(index_error(l->ix));
	arena_fini(&arena);
}

/* Enough free pages that compacting is worth it. */
static void
load_waste(struct load *l)
{
	load_open(l, 2);
	l->scattered = true;
	load_local(l, 20000);
	load_remote(l, 20000, 1);
	load_local(l, 20000);
	load_commit(l);
}

static void
compact_file_holds_the_same_and_goes_on(void **state)
{
	struct load l;
	struct file f;
	uint64_t before;

	(void)state;
	load_waste(&l);
	before = store_lmdb_bytes(l.st);
	assert_true(compact(&l, false));
	assert_true(store_lmdb_bytes(l.st) < before / 2);
	assert_null(store_lmdb_compact_begin(l.st, false));
	expect_files(&l, 20000);
	make_file(&f, 30000);
	index_put_local(l.ix, &f.e, &f.seen, 0);
	load_commit(&l);
	load_close(&l);
	load_open(&l, 2);
	expect_files(&l, 20001);
	load_close(&l);
}

/* Split pages are half full: that shows after a burst, and only once. */
static void
what_grew_is_compacted_at_rest(void **state)
{
	struct load l;
	uint64_t before;

	(void)state;
	load_open(&l, 1);
	load_local(&l, 20000);
	load_commit(&l);
	before = store_lmdb_bytes(l.st);
	assert_false(compact(&l, false));
	assert_true(compact(&l, true));
	assert_true(store_lmdb_bytes(l.st) < before * 9 / 10);
	assert_false(compact(&l, true));
	expect_files(&l, 20000);
	load_close(&l);
	load_open(&l, 1);
	assert_false(compact(&l, true));
	load_close(&l);
}

static void
commit_or_close_while_compacting_makes_it_vain(void **state)
{
	struct store_lmdb_compact *c;
	struct load l;
	struct file f;

	(void)state;
	load_waste(&l);
	c = store_lmdb_compact_begin(l.st, false);
	assert_non_null(c);
	assert_null(store_lmdb_compact_begin(l.st, false));
	store_lmdb_compact_run(c);
	make_file(&f, 30000);
	index_put_local(l.ix, &f.e, &f.seen, 0);
	load_commit(&l);
	assert_false(store_lmdb_compact_finish(c));
	expect_files(&l, 20001);
	assert_null(store_lmdb_compact_begin(l.st, false));
	load_close(&l);
	load_open(&l, 2);
	c = store_lmdb_compact_begin(l.st, false);
	assert_non_null(c);
	load_close(&l);
	store_lmdb_compact_run(c);
	assert_false(store_lmdb_compact_finish(c));
	load_open(&l, 2);
	expect_files(&l, 20001);
	load_close(&l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(store_keeps_what_was_committed_and_nothing_else),
		TEST(store_is_refused_to_a_second_user),
		TEST(store_reads_through_overlay_and_commit_under_way),
		TEST(full_disk_keeps_the_last_commit_and_what_waits),
		TEST(random_bytes_in_the_file_are_noticed),
		TEST(a_store_is_removed_when_it_is_closed),
		TEST(fault_in_the_map_leaves_a_mark),
		TEST(memory_of_a_large_commit_is_given_back),
		TEST(compact_file_holds_the_same_and_goes_on),
		TEST(what_grew_is_compacted_at_rest),
		TEST(commit_or_close_while_compacting_makes_it_vain),
		TEST(state_is_at_most_300_bytes_a_file),
		TEST(state_is_that_small_after_scattered_changes),
		TEST(state_is_that_small_after_scattered_arrivals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
