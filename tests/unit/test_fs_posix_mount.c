/*
 * Small, read-only and foreign file systems, in a mount namespace of the test's
 * own.  Needs the right to make one; is skipped without.
 */
#include "testfolder.h"

#include <sched.h>
#include <sys/mount.h>

static struct folder f;
static bool may_mount;

static int
setup(void **state)
{
	(void)state;
	folder_init(&f, ".", true);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fs_posix_close(f.root);
	f.root = NULL;
	umount2(folder_path(&f, "m"), MNT_DETACH);
	umount2(f.path, MNT_DETACH);
	folder_fini(&f);
	return 0;
}

static int
do_path(enum effect_kind kind, const char *path)
{
	struct effect e = { .kind = kind, .path = slice_str(path) };

	return folder_do(&f, &e);
}

static void
a_mount_inside_the_folder_is_not_crossed(void **state)
{
	struct effect move = { .kind = EFFECT_MOVE, .path = SLICE_LIT("a") };

	(void)state;
	if (!may_mount)
		skip();
	assert_int_equal(mkdir(folder_path(&f, "m"), 0755), 0);
	assert_int_equal(
	    mount("none", folder_path(&f, "m"), "tmpfs", 0, "size=64k"), 0);
	folder_write(&f, "m/x", "theirs");
	folder_write(&f, "a", "ours");
	for (int walk = 0; walk < 2; walk++) {
		fs_posix_set_walk(f.root, walk == 1);
		assert_int_equal(do_path(EFFECT_STAT, "m/x"), ERR_DENIED);
		assert_int_equal(do_path(EFFECT_LIST_DIR, "m"), ERR_DENIED);
		assert_int_equal(do_path(EFFECT_READ_FILE, "m/x"), ERR_DENIED);
		assert_int_equal(folder_stage(&f, "t", "evil"), 0);
		assert_int_equal(
		    folder_finish(&f, "t", "m/y", (struct identity){ 0 }),
		    ERR_DENIED);
		move.want = folder_see(&f, "a");
		move.u.move.to = SLICE_LIT("m/a");
		assert_int_equal(folder_do(&f, &move), ERR_DENIED);
	}
	assert_true(folder_holds(&f, "a", "ours"));
	assert_false(folder_has(&f, "m/y"));
	/* The directory itself is listed; what is at its name is told. */
	assert_int_equal(do_path(EFFECT_LIST_DIR, ""), 0);
}

/* The folder becomes a tmpfs with these options. */
static void
mount_over(const char *options)
{
	assert_int_equal(mount("none", f.path, "tmpfs", 0, options), 0);
	assert_int_equal(fs_posix_make_marker(f.path, &f.err), 0);
	folder_reopen(&f);
}

static void
a_full_disk_is_said_to_be_full(void **state)
{
	static char text[100000];
	struct effect e = { .kind = EFFECT_COPY_TEMP,
		.temp = SLICE_LIT("copy"),
		.path = SLICE_LIT("a") };
	char name[16];
	int rc = 0;

	(void)state;
	if (!may_mount)
		skip();
	mount_over("size=256k,nr_inodes=40");
	memset(text, 'x', sizeof(text) - 1);
	folder_write(&f, "a", text);
	for (int i = 0; i < 10 && rc == 0; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		rc = folder_stage(&f, name, text);
	}
	assert_int_equal(rc, ERR_FULL);
	e.want = folder_see(&f, "a");
	e.u.copy.len = e.u.copy.file_size = 99999;
	assert_int_equal(folder_do(&f, &e), ERR_FULL);
	{
		struct effect drop = { .kind = EFFECT_DROP_TEMP,
			.temp = SLICE_LIT("t0") };

		assert_int_equal(folder_do(&f, &drop), 0);
		drop.temp = SLICE_LIT("copy");
		assert_int_equal(folder_do(&f, &drop), 0);
	}
	rc = 0;
	for (int i = 0; i < 60 && rc == 0; i++) { /* inodes run out, too */
		snprintf(name, sizeof(name), "d%d", i);
		rc = do_path(EFFECT_MAKE_DIR, name);
	}
	assert_int_equal(rc, ERR_FULL);
	folder_reopen(&f); /* what it can do is assumed, not refused */
	assert_true(f.facts.can_exchange);
}

static void
a_disk_that_became_read_only_is_refused_and_read(void **state)
{
	struct root_facts facts;
	struct identity seen;
	bool same;

	(void)state;
	if (!may_mount)
		skip();
	mount_over("size=1m");
	folder_write(&f, "a", "old");
	seen = folder_see(&f, "a");
	assert_int_equal(folder_stage(&f, "t", "new"), 0);
	assert_int_equal(
	    mount("none", f.path, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=1m"),
	    0);
	assert_int_equal(folder_finish(&f, "t", "a", seen), ERR_READ_ONLY);
	assert_int_equal(folder_stage(&f, "u", "new"), ERR_READ_ONLY);
	assert_int_equal(do_path(EFFECT_MAKE_DIR, "d"), ERR_READ_ONLY);
	assert_true(folder_holds(&f, "a", "old"));
	assert_int_equal(do_path(EFFECT_READ_FILE, "a"), 0);
	payload_free(f.done.u.done.payload);
	folder_reopen(&f); /* can still be read */
	assert_true(f.facts.exists && f.facts.marker);
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    0);
	assert_true(same);
}

static void
a_disk_that_is_unmounted_is_noticed(void **state)
{
	struct root_facts facts;
	bool same;

	(void)state;
	if (!may_mount)
		skip();
	mount_over("size=1m");
	folder_write(&f, "a", "x");
	assert_int_equal(umount2(f.path, MNT_DETACH), 0);
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    0);
	assert_false(same);
	mount_over("size=1m"); /* another disk, with a marker of its own */
	assert_int_equal(umount2(f.path, MNT_DETACH), 0);
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    0);
	assert_false(same);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_mount_inside_the_folder_is_not_crossed),
		T(a_full_disk_is_said_to_be_full),
		T(a_disk_that_became_read_only_is_refused_and_read),
		T(a_disk_that_is_unmounted_is_noticed),
	};

	may_mount = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
