/*
 * The door to the disk, on real file systems: what it sees, what it refuses.
 */
#include "testfolder.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "blockproto/blocks.h"
#include "engine/fs_posix_walk.h"

static struct folder f;

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
	folder_fini(&f);
	return 0;
}

static int
do_path(enum effect_kind kind, const char *path)
{
	struct effect e = { .kind = kind, .path = slice_str(path) };

	return folder_do(&f, &e);
}

static int
do_hash(const char *path, struct identity want)
{
	struct effect e = { .kind = EFFECT_HASH_FILE,
		.path = slice_str(path),
		.want = want };

	e.u.hash.block_size = 128 * 1024;
	return folder_do(&f, &e);
}

static void
a_missing_root_is_said_to_be_missing(void **state)
{
	struct fs_root *root;
	struct root_facts facts;
	struct err err;

	(void)state;
	assert_int_equal(
	    fs_posix_open(&root, folder_path(&f, "none"), &facts, &err),
	    ERR_MISSING_ROOT);
	assert_null(root);
	assert_false(facts.exists);
	folder_write(&f, "file", "x");
	assert_int_equal(
	    fs_posix_open(&root, folder_path(&f, "file"), &facts, &err),
	    ERR_MISSING_ROOT);
}

static void
a_root_without_marker_is_left_untouched(void **state)
{
	struct folder g;

	(void)state;
	folder_init(&g, ".", false);
	assert_true(g.facts.exists);
	assert_true(g.facts.empty);
	assert_false(g.facts.marker);
	assert_int_equal(folder_stage(&g, "t", "x"), ERR_MISSING_ROOT);
	assert_int_equal(rmdir(g.path), 0); /* nothing in it */
	assert_int_equal(mkdir(g.path, 0755), 0);
	folder_fini(&g);
}

static void
facts_tell_what_the_file_system_can(void **state)
{
	(void)state;
	assert_true(f.facts.exists);
	assert_true(f.facts.marker);
	assert_true(f.facts.empty);
	assert_true(f.facts.has_perms);
	assert_true(f.facts.has_links);
	assert_false(f.facts.folds_case);
	assert_true(f.facts.identity.ino != 0);
	folder_write(&f, ".stignore", "x");
	folder_reopen(&f);
	assert_true(f.facts.empty);
	folder_write(&f, "a", "x");
	folder_reopen(&f);
	assert_false(f.facts.empty);
	assert_true(folder_has(&f, ".stfolder/holdfast"));
}

static void
a_marker_holds_a_number_that_stays(void **state)
{
	const uint64_t nonce = f.facts.identity.nonce;
	struct root_facts facts;
	bool same;

	(void)state;
	assert_true(nonce != 0);
	assert_int_equal(fs_posix_make_marker(f.path, &f.err), 0);
	folder_reopen(&f);
	assert_true(f.facts.identity.nonce == nonce);
	/* One that is damaged is none, and another is made. */
	folder_write(&f, ".stfolder/holdfast.id", "0123456789abcdeX\n");
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    0);
	assert_true(same);
	assert_true(facts.identity.nonce == 0);
	assert_int_equal(fs_posix_make_marker(f.path, &f.err), 0);
	folder_reopen(&f);
	assert_true(f.facts.identity.nonce != 0);
	assert_true(f.facts.identity.nonce != nonce);
	/* A link is none, wherever it points to. */
	assert_int_equal(unlink(folder_path(&f, ".stfolder/holdfast.id")), 0);
	folder_write(&f, "mine", "0123456789abcdef\n");
	assert_int_equal(
	    symlink("../mine", folder_path(&f, ".stfolder/holdfast.id")), 0);
	folder_reopen(&f);
	assert_true(f.facts.identity.nonce == 0);
}

static void
a_marker_that_is_a_file_stages_elsewhere(void **state)
{
	struct folder g;

	(void)state;
	folder_init(&g, ".", false);
	folder_write(&g, ".stfolder", "");
	folder_reopen(&g);
	assert_true(g.facts.marker);
	assert_int_equal(folder_stage(&g, "t", "x"), 0);
	assert_true(folder_has(&g, ".stversions/.holdfast/t"));
	folder_fini(&g);
}

static void
a_staging_directory_that_is_a_symlink_is_refused(void **state)
{
	char outside[256];

	(void)state;
	assert_int_equal(rmdir(folder_path(&f, ".stfolder/holdfast")), 0);
	snprintf(outside, sizeof(outside), "%s/outside", f.top);
	assert_int_equal(
	    symlink(outside, folder_path(&f, ".stfolder/holdfast")), 0);
	folder_reopen(&f);
	assert_true(f.facts.exists);
	assert_true(folder_stage(&f, "t", "x") < 0);
	assert_int_equal(rmdir(outside), 0); /* nothing was put there */
}

static void
a_check_notices_another_root_and_a_lost_marker(void **state)
{
	struct root_facts facts;
	char aside[256];
	bool same;

	(void)state;
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    0);
	assert_true(same);
	assert_true(facts.marker);
	assert_int_equal(rmdir(folder_path(&f, ".stfolder/holdfast")), 0);
	assert_int_equal(unlink(folder_path(&f, ".stfolder/holdfast.id")), 0);
	assert_int_equal(rmdir(folder_path(&f, ".stfolder")), 0);
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    0);
	assert_false(facts.marker);
	assert_false(same);
	snprintf(aside, sizeof(aside), "%s/aside", f.top);
	assert_int_equal(rename(f.path, aside), 0);
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    ERR_MISSING_ROOT);
	assert_int_equal(mkdir(f.path, 0755), 0);
	assert_int_equal(fs_posix_check(f.root, f.path, &facts, &same, &f.err),
	    0);
	assert_false(same);
	assert_true(facts.empty);
}

static void
a_listing_is_sorted_and_tells_kinds(void **state)
{
	const struct dir_entry *e;

	(void)state;
	assert_int_equal(mkdir(folder_path(&f, "d"), 0755), 0);
	folder_write(&f, "d/b", "1");
	folder_write(&f, "d/a", "22");
	folder_write(&f, "d/\xff\xfe", "3");
	assert_int_equal(mkdir(folder_path(&f, "d/c"), 0755), 0);
	assert_int_equal(symlink("to/there", folder_path(&f, "d/l")), 0);
	assert_int_equal(mkfifo(folder_path(&f, "d/p"), 0644), 0);
	assert_int_equal(do_path(EFFECT_LIST_DIR, "d"), 0);
	assert_int_equal(f.done.u.done.entry_count, 6);
	e = f.done.u.done.entry;
	assert_true(slice_equal(e[0].name, SLICE_LIT("a")));
	assert_int_equal(e[0].seen.type, IDENTITY_FILE);
	assert_int_equal(e[0].seen.size, 2);
	assert_int_equal(e[2].seen.type, IDENTITY_DIR);
	assert_true(slice_equal(e[3].link_target, SLICE_LIT("to/there")));
	assert_int_equal(e[4].seen.type, IDENTITY_OTHER);
	assert_true(slice_equal(e[5].name, SLICE_LIT("\xff\xfe")));
	assert_int_equal(do_path(EFFECT_LIST_DIR, "none"), ERR_NOT_FOUND);
	assert_int_equal(do_path(EFFECT_LIST_DIR, "d/a"), ERR_CHANGED);
}

static void
a_listing_of_many_names_is_whole(void **state)
{
	char name[32];

	(void)state;
	assert_int_equal(mkdir(folder_path(&f, "many"), 0755), 0);
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "many/%05d-long-name", i);
		folder_write(&f, name, "");
	}
	assert_int_equal(do_path(EFFECT_LIST_DIR, "many"), 0);
	assert_int_equal(f.done.u.done.entry_count, 20000);
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "%05d-long-name", i);
		assert_true(
		    slice_equal(f.done.u.done.entry[i].name, slice_str(name)));
	}
}

static void
stat_tells_links_and_absence(void **state)
{
	(void)state;
	assert_int_equal(symlink("nowhere", folder_path(&f, "l")), 0);
	assert_int_equal(do_path(EFFECT_STAT, "l"), 0);
	assert_int_equal(f.done.u.done.seen.type, IDENTITY_LINK);
	assert_true(
	    slice_equal(f.done.u.done.link_target, SLICE_LIT("nowhere")));
	assert_int_equal(do_path(EFFECT_STAT, "x"), ERR_NOT_FOUND);
	assert_int_equal(do_path(EFFECT_STAT, "l/x"), ERR_CHANGED);
	assert_int_equal(do_path(EFFECT_STAT, ""), 0);
	assert_int_equal(f.done.u.done.seen.type, IDENTITY_DIR);
}

/* Every way to name something outside, by both kinds of walk. */
static void
no_symlink_leads_outside(void **state)
{
	struct identity any = { 0 };
	char outside[256];

	(void)state;
	snprintf(outside, sizeof(outside), "%s/outside", f.top);
	assert_int_equal(symlink(outside, folder_path(&f, "d")), 0);
	snprintf(outside, sizeof(outside), "%s/outside/canary", f.top);
	close(open(outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	for (int walk = 0; walk < 2; walk++) {
		struct effect e = { .kind = EFFECT_READ_BLOCK,
			.path = SLICE_LIT("d/canary") };

		fs_posix_set_walk(f.root, walk == 1);
		assert_int_equal(do_path(EFFECT_STAT, "d/canary"), ERR_CHANGED);
		assert_int_equal(do_path(EFFECT_LIST_DIR, "d"), ERR_CHANGED);
		assert_int_equal(do_path(EFFECT_READ_FILE, "d/canary"),
		    ERR_CHANGED);
		assert_int_equal(do_path(EFFECT_READ_FILE, "d"), ERR_CHANGED);
		assert_int_equal(do_hash("d/canary", any), ERR_CHANGED);
		assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
		assert_int_equal(do_path(EFFECT_MAKE_DIR, "d/x"), ERR_CHANGED);
		assert_int_equal(do_path(EFFECT_REMOVE, "d/canary"),
		    ERR_CHANGED);
		assert_int_equal(folder_stage(&f, "t", "evil"), 0);
		assert_int_equal(folder_finish(&f, "t", "d/new", any),
		    ERR_CHANGED);
		e.kind = EFFECT_SET_META;
		e.u.meta.set_perms = true;
		e.u.meta.perms = 0777;
		assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
		e.kind = EFFECT_MOVE;
		e.u.move.to = SLICE_LIT("stolen");
		assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
		e.kind = EFFECT_KEEP_VERSION;
		e.temp = SLICE_LIT("t");
		e.path = SLICE_LIT("d/y"); /* the trash can has its own d */
		assert_int_equal(folder_do(&f, &e), 0);
		assert_true(folder_holds(&f, ".stversions/d/y", "evil"));
	}
	assert_int_equal(unlink(outside), 0);
	snprintf(outside, sizeof(outside), "%s/outside", f.top);
	assert_int_equal(rmdir(outside), 0); /* still nothing else in it */
	assert_int_equal(mkdir(outside, 0755), 0);
}

static void
deep_paths_are_walked_both_ways(void **state)
{
	(void)state;
	assert_int_equal(mkdir(folder_path(&f, "a"), 0755), 0);
	assert_int_equal(mkdir(folder_path(&f, "a/b"), 0755), 0);
	folder_write(&f, "a/b/c", "deep");
	for (int walk = 0; walk < 2; walk++) {
		fs_posix_set_walk(f.root, walk == 1);
		assert_int_equal(folder_see(&f, "a/b/c").size, 4);
		assert_int_equal(do_path(EFFECT_STAT, "a/x/c"), ERR_NOT_FOUND);
		assert_int_equal(do_path(EFFECT_STAT, "a/b/c/d"), ERR_CHANGED);
	}
}

/* Another thread swaps a directory for a symlink to outside and back. */
struct swapper {
	atomic_bool stop;
	char dir[256], aside[256], link[256];
};

static void *
swap_for_ever(void *arg)
{
	struct swapper *s = arg;

	while (!atomic_load(&s->stop)) {
		if (renameat2(AT_FDCWD, s->dir, AT_FDCWD, s->link,
			RENAME_EXCHANGE) < 0)
			break;
	}
	return NULL;
}

static void
a_swapped_directory_never_leads_outside(void **state)
{
	struct swapper s;
	struct identity none = { 0 };
	pthread_t thread;
	char outside[256];

	(void)state;
	snprintf(outside, sizeof(outside), "%s/outside", f.top);
	snprintf(s.dir, sizeof(s.dir), "%s/d", f.path);
	snprintf(s.link, sizeof(s.link), "%s/l", f.top);
	assert_int_equal(mkdir(s.dir, 0755), 0);
	folder_write(&f, "d/canary", "inside");
	folder_write(&f, "../outside/canary", "secret");
	assert_int_equal(symlink(outside, s.link), 0);
	atomic_init(&s.stop, false);
	assert_int_equal(pthread_create(&thread, NULL, swap_for_ever, &s), 0);
	for (int i = 0; i < 3000; i++) {
		fs_posix_set_walk(f.root, i % 2 == 1);
		assert_int_equal(folder_stage(&f, "t", "evil"), 0);
		if (folder_finish(&f, "t", "d/x", none) == 0) {
			struct effect e = { .kind = EFFECT_REMOVE,
				.path = SLICE_LIT("d/x"),
				.temp = SLICE_LIT("gone"),
				.want = f.done.u.done.seen };

			if (folder_do(&f, &e) == 0)
				do_path(EFFECT_DROP_TEMP, "");
			e.kind = EFFECT_DROP_TEMP;
			e.want = none;
			folder_do(&f, &e);
		}

		do_path(EFFECT_MAKE_DIR, "d/sub");
		if (do_path(EFFECT_READ_FILE, "d/canary") == 0) {
			const struct slice got =
			    payload_slice(f.done.u.done.payload);

			assert_true(slice_equal(got, SLICE_LIT("inside")));
			payload_free(f.done.u.done.payload);
		}
		arena_clear(&f.work.arena);
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);

	strcat(outside, "/canary");
	assert_int_equal(unlink(outside), 0);
	*strrchr(outside, '/') = '\0';
	assert_int_equal(rmdir(outside), 0); /* empty: nothing got out */
	assert_int_equal(mkdir(outside, 0755), 0);
}

static void
a_fifo_does_not_hold_us(void **state)
{
	struct identity any = { 0 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd;

	(void)state;
	assert_int_equal(mkfifo(folder_path(&f, "p"), 0644), 0);
	assert_int_equal(do_path(EFFECT_READ_FILE, "p"), ERR_DENIED);
	assert_int_equal(do_hash("p", any), ERR_DENIED);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (strlen(folder_path(&f, "s")) < sizeof(un.sun_path)) {
		strcpy(un.sun_path, f.text);
		assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)),
		    0);
		assert_int_equal(do_hash("s", any), ERR_DENIED);
	}
	close(fd);
}

static void
hashes_are_those_of_the_blocks(void **state)
{
	static uint8_t bytes[300000];
	struct digest want;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 1000);
	fd = open(folder_path(&f, "a"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	assert_int_equal(do_hash("a", folder_see(&f, "a")), 0);
	assert_int_equal(f.done.u.done.hash_count, 3);
	assert_int_equal(f.done.u.done.block_size, 128 * 1024);
	assert_int_equal(f.done.u.done.seen.size, 300000);
	for (size_t i = 0; i < 3; i++) {
		const size_t at = i * 131072;

		digest_of(
		    slice_of(bytes + at, i == 2 ? sizeof(bytes) - at : 131072),
		    &want);
		assert_true(digest_equal(&want, &f.done.u.done.hash[i]));
	}
	folder_write(&f, "empty", "");
	assert_int_equal(do_hash("empty", folder_see(&f, "empty")), 0);
	assert_int_equal(f.done.u.done.hash_count, 1);
	assert_true(digest_equal(&f.done.u.done.hash[0], &blocks_empty_hash));
}

static void
a_file_that_changed_is_not_hashed(void **state)
{
	struct identity seen;
	struct effect e = { .kind = EFFECT_READ_BLOCK, .path = SLICE_LIT("a") };

	(void)state;
	folder_write(&f, "a", "one");
	seen = folder_see(&f, "a");
	folder_write(&f, "a", "two!");
	assert_int_equal(do_hash("a", seen), ERR_CHANGED);
	e.want = seen;
	e.u.read.len = 3;
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
	e.want = folder_see(&f, "a");
	assert_int_equal(folder_do(&f, &e), 0);
	assert_memory_equal(f.done.u.done.payload->data, "two", 3);
	payload_free(f.done.u.done.payload);
	e.u.read.verify = true;
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
	e.u.read.offset = 2;
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED); /* behind the end */
	e.u.read.offset = INT64_MAX;
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
	e.u.read.offset = -1;
	assert_int_equal(folder_do(&f, &e), ERR_LIMIT);
}

/* The same size, within one tick of the clock that stamps files. */
static void
a_write_right_after_the_hash_shows_in_the_identity(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		struct identity hashed, now;

		folder_write(&f, "a", i % 2 == 0 ? "one" : "two");
		hashed = folder_see(&f, "a");
		assert_int_equal(do_hash("a", hashed), 0);
		hashed = f.done.u.done.seen;
		folder_write(&f, "a", i % 2 == 0 ? "two" : "one");
		now = folder_see(&f, "a");
		assert_false(identity_same(&hashed, &now));
	}
}

static void
chunks_cover_the_file_and_find_shifted_data(void **state)
{
	enum { LEN = 2000000 };
	uint8_t *bytes = malloc(LEN + 1);
	struct chunk old[200];
	uint32_t old_count, same = 0;
	uint64_t total = 0, x = 88172645463325252u;
	int fd;

	(void)state;
	for (size_t i = 0; i <= LEN; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (uint8_t)x;
	}
	fd = open(folder_path(&f, "old"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, bytes + 1, LEN), LEN);
	close(fd);
	fd = open(folder_path(&f, "new"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, bytes, LEN + 1), LEN + 1);
	close(fd);
	assert_int_equal(do_path(EFFECT_CHUNK_FILE, "old"), 0);
	old_count = f.done.u.done.chunk_count;
	assert_in_range(old_count, 8, 100);
	memcpy(old, f.done.u.done.chunk, old_count * sizeof(*old));
	for (uint32_t i = 0; i < old_count; i++)
		total += old[i].len;
	assert_int_equal(total, LEN);
	assert_int_equal(do_path(EFFECT_CHUNK_FILE, "new"), 0);
	for (uint32_t i = 0; i < f.done.u.done.chunk_count; i++)
		for (uint32_t j = 0; j < old_count; j++)
			same += f.done.u.done.chunk[i].hash == old[j].hash;
	assert_in_range(same, old_count - 3, old_count);
	free(bytes);
}

/* Each range is cut as if it were a file, and nothing else is looked at. */
static void
chunks_of_ranges_are_those_of_such_files(void **state)
{
	enum { LEN = 3000000 };
	const struct chunk_range range[] = { { 100001, 700000 }, { 800001, 5 },
		{ LEN - 500000, 500000 } };
	struct effect e = { .kind = EFFECT_CHUNK_FILE,
		.path = SLICE_LIT("whole") };
	uint8_t *bytes = malloc(LEN);
	struct chunk got[60];
	uint32_t count, n = 0;
	uint64_t x = 2463534242u;
	int fd;

	(void)state;
	for (size_t i = 0; i < LEN; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (uint8_t)x;
	}
	fd = open(folder_path(&f, "whole"), O_CREAT | O_WRONLY | O_CLOEXEC,
	    0644);
	assert_int_equal(write(fd, bytes, LEN), LEN);
	close(fd);
	e.want = folder_see(&f, "whole");
	e.u.chunk.range = range;
	e.u.chunk.count = 3;
	assert_int_equal(folder_do(&f, &e), 0);
	count = f.done.u.done.chunk_count;
	assert_in_range(count, 1 + 3 + 2, 60);
	memcpy(got, f.done.u.done.chunk, count * sizeof(*got));
	for (int i = 0; i < 3; i++) {
		fd = open(folder_path(&f, "part"),
		    O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
		assert_int_equal(
		    write(fd, bytes + range[i].offset, (size_t)range[i].len),
		    range[i].len);
		close(fd);
		assert_int_equal(do_path(EFFECT_CHUNK_FILE, "part"), 0);
		for (uint32_t k = 0; k < f.done.u.done.chunk_count; k++, n++) {
			assert_in_range(n, 0, count - 1);
			assert_int_equal(got[n].len,
			    f.done.u.done.chunk[k].len);
			assert_true(got[n].hash == f.done.u.done.chunk[k].hash);
		}
	}
	assert_int_equal(n, count);
	for (int i = 0; i < 4; i++) {
		const struct chunk_range bad[] = { { LEN - 5, 6 },
			{ INT64_MAX, 1 }, { -1, 2 }, { 0, INT64_MAX } };

		e.u.chunk.range = &bad[i];
		e.u.chunk.count = 1;
		assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
	}
	free(bytes);
}

static void
small_files_are_read_whole_and_large_ones_refused(void **state)
{
	(void)state;
	folder_write(&f, ".stignore", "*.o\n");
	assert_int_equal(do_path(EFFECT_READ_FILE, ".stignore"), 0);
	assert_true(slice_equal(payload_slice(f.done.u.done.payload),
	    SLICE_LIT("*.o\n")));
	payload_free(f.done.u.done.payload);
	assert_int_equal(truncate(folder_path(&f, ".stignore"), 5 << 20), 0);
	assert_int_equal(do_path(EFFECT_READ_FILE, ".stignore"), ERR_LIMIT);
	assert_int_equal(do_path(EFFECT_READ_FILE, "none"), ERR_NOT_FOUND);
}

static void
directories_are_made_and_given_their_metadata(void **state)
{
	struct effect e = { .kind = EFFECT_MAKE_DIR, .path = SLICE_LIT("d") };

	(void)state;
	e.u.meta = (struct effect_meta){ true, 04750, true, 1234567, 89 };
	assert_int_equal(folder_do(&f, &e), 0);
	assert_int_equal(f.done.u.done.seen.mode, 0750); /* never setuid */
	assert_int_equal(f.done.u.done.seen.mtime_s, 1234567);
	assert_int_equal(f.done.u.done.seen.mtime_ns, 89);
	e.u.meta.perms = 0700;
	assert_int_equal(folder_do(&f, &e), 0); /* there: metadata only */
	assert_int_equal(folder_see(&f, "d").mode, 0700);
	folder_write(&f, "file", "x");
	e.path = SLICE_LIT("file");
	assert_int_equal(folder_do(&f, &e), ERR_EXISTS);
	e.path = SLICE_LIT("no/parent");
	assert_int_equal(folder_do(&f, &e), ERR_NOT_FOUND);
}

static void
metadata_is_set_on_what_was_seen_only(void **state)
{
	struct effect e = { .kind = EFFECT_SET_META, .path = SLICE_LIT("a") };

	(void)state;
	folder_write(&f, "a", "x");
	e.want = folder_see(&f, "a");
	e.u.meta = (struct effect_meta){ true, 0600, true, -5, 7 };
	assert_int_equal(folder_do(&f, &e), 0);
	assert_int_equal(f.done.u.done.seen.mode, 0600);
	assert_int_equal(f.done.u.done.seen.mtime_s, -5);
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED); /* not that now */
	assert_int_equal(symlink("a", folder_path(&f, "l")), 0);
	e.path = SLICE_LIT("l");
	e.want = folder_see(&f, "l");
	e.u.meta.mtime_s = 77;
	assert_int_equal(folder_do(&f, &e), 0);
	assert_int_equal(folder_see(&f, "l").mtime_s, 77);
	assert_int_equal(folder_see(&f, "a").mtime_s, -5);
	e.u.meta.mtime_ns = 1000000000;
	e.want = folder_see(&f, "l");
	assert_int_equal(folder_do(&f, &e), ERR_INVALID);
}

static void
versions_go_to_the_trash_can_with_the_day_they_came(void **state)
{
	struct effect e = { .kind = EFFECT_KEEP_VERSION,
		.path = SLICE_LIT("d/e/a.txt"),
		.temp = SLICE_LIT("t") };

	(void)state;
	assert_int_equal(folder_stage(&f, "t", "one"), 0);
	assert_int_equal(folder_do(&f, &e), 0);
	assert_true(folder_holds(&f, ".stversions/d/e/a.txt", "one"));
	assert_true(
	    folder_see(&f, ".stversions/d/e/a.txt").mtime_s > 1500000000);
	assert_int_equal(folder_stage(&f, "t", "two"), 0);
	assert_int_equal(folder_do(&f, &e), 0);
	assert_true(folder_holds(&f, ".stversions/d/e/a.txt", "two"));
	/* A file where a directory is needed, and the other way round. */
	e.path = SLICE_LIT("d/e/a.txt/b");
	assert_int_equal(folder_stage(&f, "t", "three"), 0);
	assert_int_equal(folder_do(&f, &e), 0);
	assert_true(folder_holds(&f, ".stversions/d/e/a.txt/b", "three"));
	assert_true(folder_holds(&f, ".stversions/d/e/a.txt~1", "two"));
	e.path = SLICE_LIT("d/e");
	assert_int_equal(folder_stage(&f, "t", "four"), 0);
	assert_int_equal(folder_do(&f, &e), 0);
	assert_true(folder_holds(&f, ".stversions/d/e~1", "four"));
	assert_int_equal(folder_do(&f, &e), ERR_NOT_FOUND);
}

static void
flushing_names_survives_what_is_gone(void **state)
{
	struct slice names[12];
	struct effect e = { .kind = EFFECT_SYNC_DIRS };

	(void)state;
	for (size_t i = 0; i < 12; i++)
		names[i] = i % 2 == 0 ? SLICE_EMPTY : SLICE_LIT("gone");
	e.u.sync.name = names;
	e.u.sync.count = 2;
	assert_int_equal(folder_do(&f, &e), 0);
	e.u.sync.count = 12;
	assert_int_equal(folder_do(&f, &e), 0);
}

/* As if this disk folded case; that it does is tested end to end. */
static void
spelling_is_looked_at_where_case_is_folded(void **state)
{
	(void)state;
	assert_int_equal(mkdir(folder_path(&f, "d"), 0755), 0);
	assert_int_equal(mkdir(folder_path(&f, "d/Sub"), 0755), 0);
	folder_write(&f, "d/Sub/File", "x");
	assert_int_equal(fs_posix_walk_is_spelled(f.root->fd, "d"), 1);
	assert_int_equal(fs_posix_walk_is_spelled(f.root->fd, "D"), 0);
	assert_int_equal(fs_posix_walk_is_spelled(-1, "d"), -EBADF);
	f.root->facts.folds_case = true;
	assert_int_equal(do_path(EFFECT_STAT, "d/Sub/File"), 0);
	assert_int_equal(f.done.u.done.seen.type, IDENTITY_FILE);
	assert_int_equal(do_path(EFFECT_STAT, "d/Sub/file"), ERR_NOT_FOUND);
	assert_int_equal(do_path(EFFECT_LIST_DIR, "d/Sub"), 0);
	assert_int_equal(do_path(EFFECT_LIST_DIR, ""), 0);
	assert_int_equal(do_path(EFFECT_MAKE_DIR, "d/Sub"), 0);
}

static void
long_names_are_refused_not_cut(void **state)
{
	char name[LIMIT_NAME_LEN + 2];
	char path[LIMIT_PATH_LEN + 3];
	struct identity none = { 0 };

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(do_path(EFFECT_MAKE_DIR, name), ERR_LIMIT);
	assert_int_equal(do_path(EFFECT_STAT, name), ERR_LIMIT);
	assert_int_equal(folder_stage(&f, "t", "x"), 0);
	assert_int_equal(folder_finish(&f, "t", name, none), ERR_LIMIT);
	memset(path, 'a', sizeof(path) - 1);
	for (size_t i = 1; i < sizeof(path) - 1; i += 2)
		path[i] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(do_path(EFFECT_STAT, path), ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_missing_root_is_said_to_be_missing),
		T(a_root_without_marker_is_left_untouched),
		T(facts_tell_what_the_file_system_can),
		T(a_marker_holds_a_number_that_stays),
		T(a_marker_that_is_a_file_stages_elsewhere),
		T(a_staging_directory_that_is_a_symlink_is_refused),
		T(a_check_notices_another_root_and_a_lost_marker),
		T(a_listing_is_sorted_and_tells_kinds),
		T(a_listing_of_many_names_is_whole),
		T(stat_tells_links_and_absence),
		T(no_symlink_leads_outside),
		T(deep_paths_are_walked_both_ways),
		T(a_swapped_directory_never_leads_outside),
		T(a_fifo_does_not_hold_us),
		T(hashes_are_those_of_the_blocks),
		T(a_file_that_changed_is_not_hashed),

		T(a_write_right_after_the_hash_shows_in_the_identity),
		T(chunks_cover_the_file_and_find_shifted_data),
		T(chunks_of_ranges_are_those_of_such_files),
		T(small_files_are_read_whole_and_large_ones_refused),
		T(directories_are_made_and_given_their_metadata),
		T(metadata_is_set_on_what_was_seen_only),
		T(versions_go_to_the_trash_can_with_the_day_they_came),
		T(flushing_names_survives_what_is_gone),
		T(spelling_is_looked_at_where_case_is_folded),
		T(long_names_are_refused_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
