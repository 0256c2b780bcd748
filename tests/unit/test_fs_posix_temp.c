/*
 * Staging on real file systems.
 */
#include "testfolder.h"

#include <signal.h>
#include <sys/resource.h>

#include "engine/base/mem.h"

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

#define STAGED(name) ".stfolder/holdfast/" name

static int
write_at(const char *temp, int64_t offset, const char *bytes, int64_t size,
    bool seal)
{
	struct effect e = { .kind = EFFECT_WRITE_TEMP,
		.temp = slice_str(temp) };
	int rc;

	e.u.write.payload = payload_new(strlen(bytes));
	memcpy(e.u.write.payload->data, bytes, strlen(bytes));
	e.u.write.offset = offset;
	e.u.write.file_size = size;
	e.u.write.seal = seal;
	rc = folder_do(&f, &e);
	payload_free(e.u.write.payload);
	return rc;
}

static void
a_sealed_temp_is_what_the_target_will_be(void **state)
{
	struct identity id;
	struct stat st;

	(void)state;
	assert_int_equal(folder_stage(&f, "t", "hello"), 0);
	id = f.done.u.done.seen;
	assert_int_equal(id.size, 5);
	assert_int_equal(id.mode, 0640);
	assert_int_equal(id.mtime_s, 1000000000);
	assert_int_equal(id.mtime_ns, 123456789);
	assert_int_equal(lstat(folder_path(&f, STAGED("t")), &st), 0);
	assert_int_equal(st.st_ino, id.ino);
	assert_int_equal(lstat(folder_path(&f, ".stfolder/holdfast"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void
a_temp_grows_in_any_order_and_is_private_meanwhile(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(write_at("t", 6, "world", 11, false), 0);
	assert_int_equal(lstat(folder_path(&f, STAGED("t")), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 11);
	assert_int_equal(write_at("t", 0, "hello ", 11, true), 0);
	assert_true(folder_holds(&f, STAGED("t"), "hello world"));
	assert_int_equal(write_at("t", 6, "worlds", 11, false), ERR_LIMIT);
	assert_int_equal(write_at("t", -1, "w", 11, false), ERR_LIMIT);
	assert_int_equal(write_at("t", INT64_MAX, "w", 11, false), ERR_LIMIT);
}

static void
a_wrong_payload_is_never_written(void **state)
{
	struct effect e = { .kind = EFFECT_WRITE_TEMP, .temp = SLICE_LIT("t") };

	(void)state;
	e.u.write.payload = payload_new(3);
	memcpy(e.u.write.payload->data, "bad", 3);
	e.u.write.file_size = 3;
	e.u.write.verify = true;
	digest_of(SLICE_LIT("good"), &e.u.write.hash);
	assert_int_equal(folder_do(&f, &e), ERR_CORRUPT);
	assert_false(folder_has(&f, STAGED("t")));
	payload_free(e.u.write.payload);
}

static void
a_temp_with_a_second_name_or_a_link_is_refused(void **state)
{
	char outside[256];

	(void)state;
	snprintf(outside, sizeof(outside), "%s/outside/canary", f.top);
	close(open(outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(symlink(outside, folder_path(&f, STAGED("t"))), 0);
	assert_int_equal(write_at("t", 0, "evil", 4, true), ERR_CHANGED);
	assert_int_equal(unlink(folder_path(&f, STAGED("t"))), 0);
	assert_int_equal(link(outside, folder_path(&f, STAGED("t"))), 0);
	assert_int_equal(write_at("t", 0, "evil", 4, true), ERR_DENIED);
	assert_int_equal(truncate(outside, 0), 0);
	assert_int_equal(unlink(outside), 0);
}

/* `len` bytes that depend on where in the file they are; `skew`: in memory. */
static int
write_large(int64_t offset, size_t len, int64_t size, size_t skew, bool seal)
{
	struct effect e = { .kind = EFFECT_WRITE_TEMP, .temp = SLICE_LIT("t") };
	uint8_t *block = mem_aligned(4096, len / 4096 * 4096 + 8192);
	int rc;

	for (size_t i = 0; i < len; i++)
		block[skew + i] = (uint8_t)((offset + (int64_t)i) * 31 / 7);
	e.u.write.payload = payload_take(block, slice_of(block + skew, len));
	e.u.write.offset = offset;
	e.u.write.file_size = size;
	e.u.write.seal = seal;
	rc = folder_do(&f, &e);
	payload_free(e.u.write.payload);
	return rc;
}

static void
large_blocks_are_written_whatever_way_they_lie(void **state)
{
	const size_t mb = 1 << 20;
	const int64_t size = (int64_t)(6 * mb + 777);
	uint8_t *got = mem_alloc((size_t)size);
	int fd;

	(void)state;
	/* Aligned; askew in memory; askew in the file; with an odd end. */
	assert_int_equal(write_large(0, mb, size, 0, false), 0);
	assert_int_equal(write_large((int64_t)mb, 2 * mb, size, 9, false), 0);
	assert_int_equal(write_large((int64_t)(3 * mb), mb + 5, size, 0, false),
	    0);
	assert_int_equal(
	    write_large((int64_t)(4 * mb + 5), mb - 5, size, 0, false), 0);
	assert_int_equal(
	    write_large((int64_t)(5 * mb), mb + 777, size, 3, true), 0);
	assert_int_equal(f.done.u.done.seen.size, size);
	fd = open(folder_path(&f, STAGED("t")), O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, got, (size_t)size), size);
	close(fd);
	for (int64_t i = 0; i < size; i++)
		if (got[i] != (uint8_t)(i * 31 / 7))
			fail_msg("byte %lld differs", (long long)i);
	mem_free(got);
}

static void
holes_stay_holes_beyond_2_gib(void **state)
{
	const int64_t size = INT64_C(5) << 30;
	struct stat st;

	(void)state;
	assert_int_equal(write_at("t", size - 3, "end", size, true), 0);
	assert_int_equal(f.done.u.done.seen.size, size);
	assert_int_equal(lstat(folder_path(&f, STAGED("t")), &st), 0);
	assert_true(st.st_blocks < 100);
	{
		struct effect e = { .kind = EFFECT_READ_BLOCK,
			.temp = SLICE_LIT("t") };

		e.u.read.offset = size - 3;
		e.u.read.len = 3;
		assert_int_equal(folder_do(&f, &e), 0);
		assert_memory_equal(f.done.u.done.payload->data, "end", 3);
		payload_free(f.done.u.done.payload);
	}
}

static void
copies_come_from_what_was_seen(void **state)
{
	struct effect e = { .kind = EFFECT_COPY_TEMP,
		.temp = SLICE_LIT("t"),
		.path = SLICE_LIT("a") };

	(void)state;
	folder_write(&f, "a", "0123456789");
	e.want = folder_see(&f, "a");
	e.u.copy.from_offset = 2;
	e.u.copy.offset = 1;
	e.u.copy.len = 4;
	e.u.copy.file_size = 6;
	assert_int_equal(folder_do(&f, &e), 0);
	e.u.copy.from_offset = 8;
	e.u.copy.offset = 5;
	e.u.copy.len = 1;
	e.u.copy.verify = true;
	digest_of(SLICE_LIT("8"), &e.u.copy.hash);
	assert_int_equal(folder_do(&f, &e), 0);
	e.u.copy.from_offset = 9;
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED); /* not its hash */
	e.u.copy.from_offset = 8;
	assert_int_equal(folder_do(&f, &e), 0);
	e.u.copy.from_offset = 5;
	e.u.copy.offset = 0;
	e.u.copy.verify = false;
	e.u.copy.seal = true;
	e.u.copy.meta.set_mtime = true;
	assert_int_equal(folder_do(&f, &e), 0);
	assert_true(folder_holds(&f, STAGED("t"), "523458"));
	e.path = SLICE_EMPTY;
	e.temp = SLICE_LIT("u");
	e.u.copy.from_temp = SLICE_LIT("t");
	e.u.copy.from_offset = 0;
	e.u.copy.len = 6;
	assert_int_equal(folder_do(&f, &e), 0);
	assert_true(folder_holds(&f, STAGED("u"), "523458"));
	e.u.copy.len = 7;
	assert_int_equal(folder_do(&f, &e), ERR_LIMIT);
	e.u.copy.len = 6;
	e.u.copy.from_offset = 1;
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED); /* too short */
	/* Onto itself: only verified. */
	e.temp = e.u.copy.from_temp = SLICE_LIT("t");
	e.u.copy.verify = true;
	digest_of(SLICE_LIT("234"), &e.u.copy.hash);
	e.u.copy.from_offset = e.u.copy.offset = 1;
	e.u.copy.len = 3;
	e.u.copy.seal = false;
	{
		const struct identity was = folder_see(&f, STAGED("t"));
		struct identity is;

		assert_int_equal(folder_do(&f, &e), 0);
		e.u.copy.hash.b[0] ^= 1;
		assert_int_equal(folder_do(&f, &e), ERR_CHANGED);
		is = folder_see(&f, STAGED("t"));
		assert_true(identity_same(&was, &is));
	}
	assert_true(folder_holds(&f, STAGED("t"), "523458"));
	e.u.copy.verify = false;
	e.u.copy.offset = 0;
	e.u.copy.len = 6;
	folder_write(&f, "a", "abcdefghijk");
	e.path = SLICE_LIT("a");
	e.u.copy.from_offset = 0;
	assert_int_equal(folder_do(&f, &e), ERR_CHANGED); /* not seen */
}

static void
a_resumed_temp_tells_which_blocks_it_has(void **state)
{
	enum { BLOCK = 128 * 1024, SIZE = 5 * BLOCK + 100 };
	static uint8_t bytes[SIZE];
	struct digest hash[6];
	struct effect w = { .kind = EFFECT_WRITE_TEMP, .temp = SLICE_LIT("t") };
	struct effect c = { .kind = EFFECT_CHECK_TEMP, .temp = SLICE_LIT("t") };

	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)(i / 97 + 1);
	for (size_t i = 0; i < 6; i++)
		digest_of(slice_of(bytes + i * BLOCK, i == 5 ? 100 : BLOCK),
		    &hash[i]);
	c.u.check = (struct effect_blocks){ SIZE, BLOCK, 6, hash };
	assert_int_equal(folder_do(&f, &c), ERR_NOT_FOUND);
	for (size_t i = 1; i < 6; i += 2) {
		const size_t len = i == 5 ? 100 : BLOCK;

		w.u.write.payload = payload_new(len);
		memcpy(w.u.write.payload->data, bytes + i * BLOCK, len);
		w.u.write.offset = (int64_t)i * BLOCK;
		w.u.write.file_size = SIZE;
		assert_int_equal(folder_do(&f, &w), 0);
		payload_free(w.u.write.payload);
	}
	assert_int_equal(folder_do(&f, &c), 0);
	assert_int_equal(f.done.u.done.have[0], 0x2a);
	c.u.check.size = SIZE + 1;
	assert_int_equal(folder_do(&f, &c), 0);
	assert_int_equal(f.done.u.done.have[0], 0);
}

static void
flushes_work_one_by_one_and_together(void **state)
{
	struct slice names[20];
	char text[20][16];
	struct effect e = { .kind = EFFECT_SYNC_TEMPS };

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(text[i], sizeof(text[i]), "t%d", i);
		names[i] = slice_str(text[i]);
		assert_int_equal(folder_stage(&f, text[i], "x"), 0);
	}
	e.u.sync.name = names;
	e.u.sync.count = 3;
	assert_int_equal(folder_do(&f, &e), 0);
	e.u.sync.count = 20;
	assert_int_equal(folder_do(&f, &e), 0);
	assert_int_equal(fs_posix_sync_temps(f.root, names, 20, true, &f.err),
	    0);
	names[1] = SLICE_LIT("gone");
	e.u.sync.count = 3;
	assert_int_equal(folder_do(&f, &e), ERR_NOT_FOUND);
}

static void
temps_are_listed_and_dropped_but_not_when_written_to(void **state)
{
	struct effect list = { .kind = EFFECT_LIST_TEMPS };
	struct effect drop = { .kind = EFFECT_DROP_TEMP,
		.temp = SLICE_LIT("a") };

	(void)state;
	assert_int_equal(folder_stage(&f, "b", "1"), 0);
	assert_int_equal(folder_stage(&f, "a", "22"), 0);
	drop.want = f.done.u.done.seen;
	assert_int_equal(folder_do(&f, &list), 0);
	assert_int_equal(f.done.u.done.entry_count, 2);
	assert_int_equal(f.done.u.done.entry[0].seen.size, 2);
	folder_write(&f, STAGED("a"), "a person still writes");
	assert_int_equal(folder_do(&f, &drop), ERR_CHANGED);
	assert_true(folder_has(&f, STAGED("a")));
	drop.want = (struct identity){ 0 };
	assert_int_equal(folder_do(&f, &drop), 0);
	assert_int_equal(folder_do(&f, &drop), 0); /* gone is as good */
	/* What a crash left of a directory being made. */
	assert_int_equal(mkdir(folder_path(&f, STAGED("a")), 0700), 0);
	assert_int_equal(folder_do(&f, &drop), 0);
	assert_false(folder_has(&f, STAGED("a")));
	assert_int_equal(folder_do(&f, &list), 0);
	assert_int_equal(f.done.u.done.entry_count, 1);
}

static void
a_full_disk_is_full_and_a_missing_temp_not_found(void **state)
{
	struct effect seal = { .kind = EFFECT_SEAL_TEMP,
		.temp = SLICE_LIT("none") };
	const struct rlimit small = { 4096, RLIM_INFINITY };
	struct rlimit was;

	(void)state;
	seal.u.seal.file_size = 10;
	assert_int_equal(folder_do(&f, &seal), ERR_NOT_FOUND);
	seal.u.seal.file_size = 0;
	assert_int_equal(folder_do(&f, &seal), 0); /* an empty file */
	/* A limit of the process stands in for the device's end. */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(write_at("big", 0, "x", 10000, false), ERR_LIMIT);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	if (access("/dev/full", F_OK) == 0) {
		const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, "x", 1), -1);
		assert_int_equal(err_from_errno(errno), ERR_FULL);
		close(fd);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_sealed_temp_is_what_the_target_will_be),
		T(a_temp_grows_in_any_order_and_is_private_meanwhile),
		T(a_wrong_payload_is_never_written),
		T(a_temp_with_a_second_name_or_a_link_is_refused),
		T(large_blocks_are_written_whatever_way_they_lie),
		T(holes_stay_holes_beyond_2_gib),
		T(copies_come_from_what_was_seen),
		T(a_resumed_temp_tells_which_blocks_it_has),
		T(flushes_work_one_by_one_and_together),
		T(temps_are_listed_and_dropped_but_not_when_written_to),
		T(a_full_disk_is_full_and_a_missing_temp_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
