/*
 * The disk's executor: every effect answered, in batches, whatever happens to
 * its folder.
 */
#include "testfolder.h"

#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/disk_uv.h"

#define STAGED(name) ".stfolder/holdfast/" name

/* What a DONE said, by id. */
struct answer {
	unsigned count;
	int code;
	struct identity seen;
	uint32_t entry_count, hash_count, chunk_count;
	struct digest first, last;
	uint64_t chunk_bytes;
	struct payload *payload;
	struct root_facts root;
	char text[200];
};

static struct folder f;
static uv_loop_t *loop;
static struct pool *pool;
static struct disk *disk;
static struct answer *answer;
static uint64_t ids, ids_cap;
static unsigned answered, watched;
static int watched_wd;

static void
on_done(void *arg, struct event *event)
{
	struct answer *a = &answer[event->u.done.id];

	(void)arg;
	assert_int_equal(event->kind, EVENT_DONE);
	assert_in_range(event->u.done.id, 1, ids);
	a->count++;
	a->code = event->u.done.code;
	a->seen = event->u.done.seen;
	a->entry_count = event->u.done.entry_count;
	a->hash_count = event->u.done.hash_count;
	if (a->hash_count > 0) {
		a->first = event->u.done.hash[0];
		a->last = event->u.done.hash[a->hash_count - 1];
	}
	a->chunk_count = event->u.done.chunk_count;
	for (uint32_t i = 0; i < a->chunk_count; i++)
		a->chunk_bytes += event->u.done.chunk[i].len;
	a->payload = event->u.done.payload;
	a->root = event->u.done.root;
	snprintf(a->text, sizeof(a->text), "%.*s",
	    SLICE_FMT(event->u.done.text));
	answered++;
}

static int
on_watch_dir(void *arg, uint32_t folder, int dir_fd)
{
	(void)arg;
	assert_int_equal(folder, 3);
	assert_true(fcntl(dir_fd, F_GETFD) >= 0);
	return 42;
}

static void
on_watched(void *arg, uint32_t folder, struct slice path, int wd)
{
	(void)arg;
	assert_int_equal(folder, 3);
	assert_true(slice_equal(path, SLICE_LIT("d")));
	watched++;
	watched_wd = wd;
}

static uint64_t
give(struct effect e)
{
	if (ids + 1 >= ids_cap) {
		ids_cap = ids_cap == 0 ? 1024 : ids_cap * 2;
		answer = mem_resize(answer, ids_cap * sizeof(*answer));
	}
	e.id = ++ids;
	e.folder = 3;
	memset(&answer[e.id], 0, sizeof(*answer));
	disk_uv_do(disk, &e);
	return e.id;
}

static struct answer *
wait_for(uint64_t id)
{
	while (answer[id].count == 0)
		uv_run(loop, UV_RUN_ONCE);
	assert_int_equal(answer[id].count, 1);
	return &answer[id];
}

static void
wait_all(void)
{
	uv_run(loop, UV_RUN_DEFAULT);
	for (uint64_t i = 1; i <= ids; i++)
		assert_int_equal(answer[i].count, 1);
	assert_true(disk_uv_idle(disk));
}

static int
give_path(enum effect_kind kind, const char *path)
{
	struct effect e = { .kind = kind, .path = slice_str(path) };

	return wait_for(give(e))->code;
}

static uint64_t
give_open(void)
{
	struct effect e = { .kind = EFFECT_OPEN_FOLDER };

	e.u.open.path = slice_str(f.path);
	return give(e);
}

static int
setup(void **state)
{
	const struct disk_uv_hooks hooks = { .done = on_done,
		.watch_dir = on_watch_dir,
		.watched = on_watched };

	(void)state;
	folder_init(&f, ".", true);
	loop = uv_default_loop();
	pool = pool_uv_new(loop, 2);
	disk = disk_uv_new(pool, &hooks);
	ids = answered = watched = 0;
	assert_int_equal(wait_for(give_open())->code, 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	uv_run(loop, UV_RUN_DEFAULT);
	disk_uv_free(disk);
	pool_uv_free(pool);
	folder_fini(&f);
	return 0;
}

static struct effect
write_effect(const char *temp, const char *bytes)
{
	struct effect e = { .kind = EFFECT_WRITE_TEMP,
		.temp = slice_str(temp) };

	e.u.write.payload = payload_new(strlen(bytes));
	memcpy(e.u.write.payload->data, bytes, strlen(bytes));
	e.u.write.file_size = (int64_t)strlen(bytes);
	e.u.write.seal = true;
	return e;
}

static void
a_file_goes_the_whole_way(void **state)
{
	struct effect e = write_effect("t", "hello");
	struct slice names[1] = { SLICE_LIT("t") };
	struct disk_space space;
	struct answer *a;

	(void)state;
	assert_int_equal(wait_for(give(e))->code, 0);
	e = (struct effect){ .kind = EFFECT_SYNC_TEMPS };
	e.u.sync.name = names;
	e.u.sync.count = 1;
	assert_int_equal(wait_for(give(e))->code, 0);
	e = (struct effect){ .kind = EFFECT_FINISH_FILE,
		.temp = SLICE_LIT("t"),
		.path = SLICE_LIT("a") };
	assert_int_equal(wait_for(give(e))->code, 0);
	names[0] = SLICE_EMPTY;
	e = (struct effect){ .kind = EFFECT_SYNC_DIRS };
	e.u.sync.name = names;
	e.u.sync.count = 1;
	assert_int_equal(wait_for(give(e))->code, 0);
	assert_true(folder_holds(&f, "a", "hello"));
	space = disk_uv_space(disk, 3);
	assert_true(space.total > 0 && space.free <= space.total);
	assert_true(disk_uv_space(disk, 4).total == 0);
	e = (struct effect){ .kind = EFFECT_READ_BLOCK,
		.path = SLICE_LIT("a") };
	e.u.read.len = 5;
	a = wait_for(give(e));
	assert_true(slice_equal(payload_slice(a->payload), SLICE_LIT("hello")));
	payload_free(a->payload);
	e = (struct effect){ .kind = EFFECT_HASH_FILE,
		.path = SLICE_LIT("a"),
		.want = folder_see(&f, "a") };
	e.u.hash.block_size = 128 * 1024;
	a = wait_for(give(e));
	assert_int_equal(a->hash_count, 1);
	assert_int_equal(give_path(EFFECT_STAT, "b"), ERR_NOT_FOUND);
	assert_non_null(strstr(answer[ids].text, "b: "));
}

static void
thousands_of_effects_are_each_answered(void **state)
{
	enum { COUNT = 5000 };
	struct slice names[COUNT];
	static char text[COUNT][16];
	struct effect e;

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		snprintf(text[i], sizeof(text[i]), "f%d", i);
		names[i] = slice_str(text[i]);
		give(write_effect(text[i], text[i]));
	}
	wait_all();
	for (int i = 0; i < COUNT; i += 100) {
		e = (struct effect){ .kind = EFFECT_SYNC_TEMPS };
		e.u.sync.name = &names[i];
		e.u.sync.count = 100;
		give(e);
	}
	wait_all();
	for (int i = 0; i < COUNT; i++) {
		e = (struct effect){ .kind = EFFECT_FINISH_FILE,
			.temp = names[i],
			.path = names[i] };
		give(e);
	}
	wait_all();
	for (uint64_t i = 1; i <= ids; i++)
		assert_int_equal(answer[i].code, 0);
	for (int i = 0; i < COUNT; i += 97)
		assert_true(folder_holds(&f, text[i], text[i]));
	e = (struct effect){ .kind = EFFECT_LIST_DIR };
	assert_int_equal(wait_for(give(e))->entry_count, COUNT + 1);
}

/* They are verified two at a time: one that is wrong is the only one. */
static void
one_wrong_payload_among_many_is_found(void **state)
{
	enum { COUNT = 301 };
	static char text[COUNT][16];
	uint64_t id[COUNT];

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		struct effect e;

		snprintf(text[i], sizeof(text[i]), "file%d", i);
		e = write_effect(text[i], text[i]);
		e.u.write.verify = true;
		digest_of(slice_str(i % 7 == 3 ? "other" : text[i]),
		    &e.u.write.hash);
		id[i] = give(e);
	}
	wait_all();
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(answer[id[i]].code,
		    i % 7 == 3 ? ERR_CORRUPT : 0);
}

static void
a_large_file_is_hashed_in_parts_as_in_one(void **state)
{
	enum { MB = 1 << 20, SIZE = 150 * MB + 777 };
	uint8_t *block = malloc(MB);
	struct effect e = { .kind = EFFECT_HASH_FILE,
		.path = SLICE_LIT("big") };
	struct answer *a;
	struct digest want;
	int fd;

	(void)state;
	fd = open(folder_path(&f, "big"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	for (int64_t at = 0; at < SIZE; at += MB) {
		const size_t n = SIZE - at < MB ? (size_t)(SIZE - at) : MB;

		for (size_t i = 0; i < n; i += 8)
			block[i] = (uint8_t)(at / MB + (int64_t)i / 4096);
		assert_int_equal(write(fd, block, n), n);
		if (at == 0)
			digest_of(slice_of(block, 256 * 1024), &want);
	}
	close(fd);
	e.want = folder_see(&f, "big");
	e.u.hash.block_size = 256 * 1024;
	e.u.hash.chunks = true;
	a = wait_for(give(e));
	assert_int_equal(a->code, 0);
	assert_int_equal(a->hash_count, 601);
	assert_int_equal(a->chunk_bytes, SIZE);
	assert_true(digest_equal(&a->first, &want));
	digest_of(slice_of(block, 777), &want);
	assert_true(digest_equal(&a->last, &want));
	{
		struct digest first, last;

		/* The same by one worker. */
		assert_int_equal(folder_do(&f, &e), 0);
		first = f.done.u.done.hash[0];
		last = f.done.u.done.hash[600];
		assert_true(digest_equal(&first, &a->first));
		assert_true(digest_equal(&last, &a->last));
		assert_int_equal(f.done.u.done.chunk_count, a->chunk_count);
	}
	e.kind = EFFECT_CHUNK_FILE;
	memset(&e.u, 0, sizeof(e.u));
	a = wait_for(give(e));
	assert_int_equal(a->chunk_bytes, SIZE);
	{
		/* Of ranges, small ones and one that has several parts; they
		 * are copied. */
		struct chunk_range range[] = { { 5, 1000 },
			{ 2 * MB + 1, 300000 }, { 50 * MB, 70 * MB } };
		uint64_t id;

		e.u.chunk.range = range;
		e.u.chunk.count = 2;
		id = give(e);
		memset(range, 255, 2 * sizeof(*range));
		assert_int_equal(wait_for(id)->chunk_bytes, 301000);
		range[0] = (struct chunk_range){ 5, 1000 };
		range[1] = (struct chunk_range){ 2 * MB + 1, 300000 };
		e.u.chunk.count = 3;
		id = give(e);
		memset(range, 255, sizeof(range));
		a = wait_for(id);
		assert_int_equal(a->code, 0);
		assert_int_equal(a->chunk_bytes, 70 * MB + 301000);
		range[0] = (struct chunk_range){ SIZE - 5, 6 };
		e.u.chunk.count = 1;
		assert_int_equal(wait_for(give(e))->code, ERR_CHANGED);
		memset(&e.u, 0, sizeof(e.u));
		e.u.hash.block_size = 256 * 1024;
		e.u.hash.chunks = true;
	}
	e.kind = EFFECT_HASH_FILE;
	e.want.mtime_s++;
	assert_int_equal(wait_for(give(e))->code, ERR_CHANGED);
	e.path = SLICE_LIT("gone");
	assert_int_equal(wait_for(give(e))->code, ERR_NOT_FOUND);
	wait_all();
	free(block);
}

static void
a_closing_folder_answers_everything(void **state)
{
	struct effect big = { .kind = EFFECT_HASH_FILE,
		.path = SLICE_LIT("big") };
	struct slice names[2] = { SLICE_LIT("x"), SLICE_LIT("y") };
	struct effect e;
	uint64_t close_id;

	(void)state;
	folder_write(&f, "big", "");
	assert_int_equal(truncate(folder_path(&f, "big"), 500 << 20), 0);
	big.want = folder_see(&f, "big");
	big.u.hash.block_size = 1 << 20;
	give(big);
	give(big);
	for (int i = 0; i < 300; i++) {
		e = (struct effect){ .kind = EFFECT_STAT,
			.path = SLICE_LIT("big") };
		give(e);
		give(write_effect("t", "x"));
		e = (struct effect){ .kind = EFFECT_SYNC_TEMPS };
		e.u.sync.name = names;
		e.u.sync.count = 2;
		give(e);
	}
	e = (struct effect){ .kind = EFFECT_CLOSE_FOLDER };
	close_id = give(e);
	e = (struct effect){ .kind = EFFECT_STAT, .path = SLICE_LIT("big") };
	give(e); /* too late, but answered */
	wait_all();
	assert_int_equal(answer[close_id].code, 0);
	assert_int_equal(answer[ids].code, ERR_CLOSED);
	assert_int_equal(give_path(EFFECT_STAT, "big"), ERR_CLOSED);
	e = (struct effect){ .kind = EFFECT_CLOSE_FOLDER };
	assert_int_equal(wait_for(give(e))->code, ERR_CLOSED);
	assert_int_equal(wait_for(give_open())->code, 0); /* the number again */
	assert_int_equal(give_path(EFFECT_STAT, "big"), 0);
}

static void
a_root_that_goes_and_comes_back_is_followed(void **state)
{
	struct effect check = { .kind = EFFECT_CHECK_ROOT };
	struct effect mark = { .kind = EFFECT_MAKE_MARKER };
	char aside[256];
	struct answer *a;

	(void)state;
	a = wait_for(give(check));
	assert_int_equal(a->code, 0);
	assert_true(a->root.marker);
	assert_true(a->root.has_perms);
	folder_write(&f, "a", "x");
	snprintf(aside, sizeof(aside), "%s/aside", f.top);
	assert_int_equal(rename(f.path, aside), 0);
	a = wait_for(give(check));
	assert_int_equal(a->code, ERR_MISSING_ROOT);
	assert_false(a->root.exists);
	assert_int_equal(give_path(EFFECT_STAT, "a"), ERR_MISSING_ROOT);
	/* An empty directory in its place: followed, and told to be so. */
	assert_int_equal(mkdir(f.path, 0755), 0);
	a = wait_for(give(check));
	assert_int_equal(a->code, 0);
	assert_true(a->root.empty);
	assert_false(a->root.marker);
	assert_int_equal(give_path(EFFECT_STAT, "a"), ERR_NOT_FOUND);
	assert_int_equal(wait_for(give(write_effect("t", "x")))->code,
	    ERR_MISSING_ROOT);
	a = wait_for(give(mark));
	assert_int_equal(a->code, 0);
	assert_true(a->root.marker);
	assert_int_equal(wait_for(give(write_effect("t", "x")))->code, 0);
	assert_int_equal(unlink(folder_path(&f, STAGED("t"))), 0);
	assert_int_equal(unlink(folder_path(&f, ".stfolder/holdfast.id")), 0);
	assert_int_equal(rmdir(folder_path(&f, ".stfolder/holdfast")), 0);
	assert_int_equal(rmdir(folder_path(&f, ".stfolder")), 0);
	assert_int_equal(rmdir(f.path), 0);
	assert_int_equal(rename(aside, f.path), 0);
	a = wait_for(give(check));
	assert_int_equal(a->code, 0);
	assert_true(a->root.marker);
	assert_int_equal(give_path(EFFECT_STAT, "a"), 0);
}

static void
directories_are_watched_before_they_are_read(void **state)
{
	(void)state;
	assert_int_equal(mkdir(folder_path(&f, "d"), 0755), 0);
	assert_int_equal(give_path(EFFECT_LIST_DIR, "d"), 0);
	assert_int_equal(watched, 0);
	disk_uv_watch(disk, 3, true);
	assert_int_equal(give_path(EFFECT_LIST_DIR, "d"), 0);
	assert_int_equal(watched, 1);
	assert_int_equal(watched_wd, 42);
	assert_int_equal(give_path(EFFECT_LIST_DIR, "none"), ERR_NOT_FOUND);
	assert_int_equal(watched, 1);
}

static void
unanswered_effects_are_done_too(void **state)
{
	struct effect e = write_effect("t", "x");

	(void)state;
	e.folder = 3;
	disk_uv_do(disk, &e);
	e = write_effect("u", "x");
	e.folder = 77; /* no such folder: only the payload goes */
	disk_uv_do(disk, &e);
	wait_all();
	assert_true(folder_has(&f, STAGED("t")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_file_goes_the_whole_way),
		T(thousands_of_effects_are_each_answered),
		T(one_wrong_payload_among_many_is_found),
		T(a_large_file_is_hashed_in_parts_as_in_one),
		T(a_closing_folder_answers_everything),
		T(a_root_that_goes_and_comes_back_is_followed),
		T(directories_are_watched_before_they_are_read),
		T(unanswered_effects_are_done_too),
	};
	const int rc = cmocka_run_group_tests(tests, NULL, NULL);

	uv_loop_close(uv_default_loop());
	uv_library_shutdown();
	mem_free(answer);
	return rc;
}
