/*
 * The watcher on the real kernel: latency, renames, removals, quiet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "watcher/watch_uv.h"

static char top[64], root[96]; /* a directory, and the folder in it */
static char path_text[256];
static uv_loop_t *loop;
static struct watch_uv *w;
static VEC(char *) hints; /* "+path" with subtree, else " path" */
static unsigned batches;
static bool overflow, closed;
static uint64_t at_ns; /* of the last batch */

static const char *
at(const char *name)
{
	snprintf(path_text, sizeof(path_text), "%s/%s", root, name);
	return path_text;
}

static void
save(const char *name, const char *bytes)
{
	const int fd =
	    open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	close(fd);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void
on_changes(void *arg, const struct change_batch *batch)
{
	(void)arg;
	assert_int_equal(batch->folder, 1);
	batches++;
	overflow |= batch->overflow;
	at_ns = uv_hrtime();
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct slice p = batch->change[i].path;
		char *s = mem_alloc(p.len + 2);

		s[0] = batch->change[i].subtree ? '+' : ' ';
		if (p.len > 0)
			memcpy(s + 1, p.ptr, p.len);
		s[p.len + 1] = '\0';
		*VEC_ADD(&hints) = s;
	}
}

static void
forget(void)
{
	for (size_t i = 0; i < hints.len; i++)
		mem_free(hints.item[i]);
	VEC_CLEAR(&hints);
	batches = 0;
	overflow = false;
}

static bool
hinted(const char *hint)
{
	for (size_t i = 0; i < hints.len; i++)
		if (strcmp(hints.item[i], hint) == 0)
			return true;
	return false;
}

static void
on_timeout(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

/* Run the loop until `hint` comes, or for `ms`. */
static bool
run_until(const char *hint, uint64_t ms)
{
	uv_timer_t t;
	bool over = false;

	uv_timer_init(loop, &t);
	t.data = &over;
	uv_timer_start(&t, on_timeout, ms, 0);
	while (!over && (hint == NULL || !hinted(hint)))
		uv_run(loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&t, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	return hint != NULL && hinted(hint);
}

/* As the wiring does it when it lists a directory. */
static void
list(const char *dir)
{
	const int fd = open(at(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	watch_uv_added(w, 1, slice_str(dir), watch_uv_add(w, fd));
	close(fd);
}

static void
on_closed(void *arg)
{
	(void)arg;
	closed = true;
}

static int
setup(void **state)
{
	(void)state;
	strcpy(top, "testwatch-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(root, sizeof(root), "%s/folder", top);
	assert_int_equal(mkdir(root, 0755), 0);
	assert_int_equal(mkdir(at(".stfolder"), 0755), 0);
	assert_int_equal(mkdir(at(".stfolder/holdfast"), 0755), 0);
	loop = uv_default_loop();
	w = watch_uv_new(loop, on_changes, NULL);
	watch_uv_folder(w, 1, true);
	list("");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	closed = false;
	watch_uv_close(w, on_closed, NULL);
	while (!closed)
		uv_run(loop, UV_RUN_ONCE);
	forget();
	VEC_FINI(&hints);
	nftw(top, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static void
a_saved_file_is_told_within_milliseconds(void **state)
{
	uint64_t begin;

	(void)state;
	save("a", "x");
	begin = uv_hrtime();
	assert_true(run_until(" a", 2000));
	assert_true(at_ns - begin < 60 * CLOCK_MS);
	assert_int_equal(hints.len, 1);
	assert_int_equal(watch_uv_cover(w, 1), COVER_FULL);
}

static void
renames_and_removals_are_told(void **state)
{
	(void)state;
	save("a", "x");
	assert_true(run_until(" a", 2000));
	forget();
	{
		char to[256];

		snprintf(to, sizeof(to), "%s/b", root);
		assert_int_equal(rename(at("a"), to), 0);
	}
	assert_true(run_until(" b", 2000));
	assert_true(hinted(" a"));
	assert_int_equal(batches, 1);
	forget();
	assert_int_equal(unlink(at("b")), 0);
	assert_true(run_until(" b", 2000));
	forget();
	assert_int_equal(symlink("x", at("l")), 0);
	assert_true(run_until(" l", 2000));
	forget();
	assert_int_equal(chmod(at("."), 0700), 0);
	assert_false(run_until(" l", 100));
}

static void
a_moved_directory_is_still_watched_under_its_new_name(void **state)
{
	char to[256];

	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	assert_true(run_until("+d", 2000));
	assert_int_equal(mkdir(at("d/e"), 0755), 0);
	list("d");
	list("d/e");
	assert_int_equal(watch_uv_count(w), 3);
	snprintf(to, sizeof(to), "%s/new", root);
	assert_int_equal(rename(at("d"), to), 0);
	assert_true(run_until("+new", 2000));
	assert_true(hinted("+d"));
	forget();
	save("new/e/x", "1");
	assert_true(run_until(" new/e/x", 2000));
	snprintf(to, sizeof(to), "%s/outside", top);
	assert_int_equal(rename(at("new"), to), 0);
	assert_true(run_until("+new", 2000));
	assert_int_equal(watch_uv_count(w), 1);
	forget();
	strcat(to, "/e/x");
	assert_int_equal(unlink(to), 0);
	assert_false(run_until(" new/e/x", 200));
	assert_int_equal(batches, 0);
}

static void
a_removed_tree_leaves_no_watch(void **state)
{
	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	assert_int_equal(mkdir(at("d/e"), 0755), 0);
	list("d");
	list("d/e");
	assert_int_equal(rmdir(at("d/e")), 0);
	assert_int_equal(rmdir(at("d")), 0);
	assert_true(run_until("+d", 2000));
	run_until(NULL, 100);
	assert_int_equal(watch_uv_count(w), 1);
}

static void
our_own_staging_is_silent_and_idle_is_idle(void **state)
{
	char to[256];

	(void)state;
	save(".stfolder/holdfast/t", "x");
	assert_false(run_until(NULL, 200));
	assert_int_equal(batches, 0);
	snprintf(to, sizeof(to), "%s/a", root);
	assert_int_equal(rename(at(".stfolder/holdfast/t"), to), 0);
	assert_true(run_until(" a", 2000));
	assert_int_equal(batches, 1);
}

static void
a_queue_that_overflows_says_so(void **state)
{
	long limit = 16384;
	FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	char name[32];

	(void)state;
	if (file != NULL) {
		assert_int_equal(fscanf(file, "%ld", &limit), 1);
		fclose(file);
	}
	if (limit > 50000)
		skip();
	for (long i = 0; i < limit / 2 + 100; i++) {
		snprintf(name, sizeof(name), "f%ld", i);
		save(name, "x");
	}
	for (int i = 0; i < 50 && !overflow; i++)
		run_until(NULL, 100);
	assert_true(overflow);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_saved_file_is_told_within_milliseconds),
		T(renames_and_removals_are_told),
		T(a_moved_directory_is_still_watched_under_its_new_name),
		T(a_removed_tree_leaves_no_watch),
		T(our_own_staging_is_silent_and_idle_is_idle),
		T(a_queue_that_overflows_says_so),
	};
	const int rc = cmocka_run_group_tests(tests, NULL, NULL);

	uv_loop_close(uv_default_loop());
	uv_library_shutdown();
	return rc;
}
