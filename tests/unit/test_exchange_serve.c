/*
 * What a peer asks for, and what it may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "engine/core_state.h"
#include "engine/index.h"
#include "testlib_world.h"

enum { FILE_LEN = 300000 };

static struct arena arena;

/* Two devices that have `big`; the second one is who asks. */
static struct testlib_world *
pair(void)
{
	static uint8_t data[FILE_LEN];
	struct testlib_world *w = testlib_world_new(1, 2);

	testlib_world_set_features(w, FEATURE_CHUNKS);
	assert_true(testlib_disk_write(testlib_world_disk(w, 0), "big",
	    slice_of(data, sizeof(data))));
	testlib_world_start_all(w);
	assert_true(testlib_world_settle(w));
	testlib_world_check_same(w);
	return w;
}

/*
 * Ask the first device's engine for a map, and what it does: SEND an answer,
 * CHUNK_FILE when it goes to look, DROP_PEER, or something else: it waits.
 */
static struct effect
ask(struct testlib_world *w, const struct chunk_range *range, uint32_t count)
{
	struct engine *en = testlib_world_engine(w, 0);
	const struct row *row =
	    index_row(en->folder.item[0]->ix, SLICE_LIT("big"), &arena);
	struct message m = { .type = MESSAGE_CHUNKS_REQUEST };
	struct event ev = { .kind = EVENT_MESSAGE,
		.now = testlib_world_now(w) };
	struct effects out;

	m.u.chunks_request = (struct chunks_request){ .id = 5,
		.folder = SLICE_LIT("f"),
		.name = SLICE_LIT("big"),
		.version = row_local(row)->entry.version,
		.range = range,
		.range_count = count };
	ev.u.message.device = testlib_world_engine(w, 1)->setup.self;
	ev.u.message.message = &m;
	engine_step(en, &ev, &out);
	for (size_t i = 0; i < out.count; i++)
		if (out.item[i].kind == EFFECT_CHUNK_FILE ||
		    out.item[i].kind == EFFECT_DROP_PEER ||
		    out.item[i].kind == EFFECT_SEND)
			return out.item[i];
	return (struct effect){ .kind = EFFECT_NOTE }; /* it waits */
}

/* The disk gives none. */
static void
answer(struct testlib_world *w, uint64_t id)
{
	struct event ev = { .kind = EVENT_DONE, .now = testlib_world_now(w) };
	struct effects out;

	ev.u.done.id = id;
	ev.u.done.code = ERR_IO;
	engine_step(testlib_world_engine(w, 0), &ev, &out);
}

static void
expect_refused(struct testlib_world *w, const struct chunk_range *range,
    uint32_t count, enum response_code code)
{
	const struct effect ef = ask(w, range, count);

	assert_int_equal(ef.kind, EFFECT_SEND);
	assert_int_equal(ef.u.send.message.type, MESSAGE_CHUNKS);
	assert_int_equal(ef.u.send.message.u.chunks.id, 5);
	assert_int_equal(ef.u.send.message.u.chunks.code, code);
	assert_int_equal(ef.u.send.message.u.chunks.count, 0);
}

static void
maps_are_made_of_ranges_in_the_file(void **state)
{
	const struct chunk_range good[] = { { 0, 1 }, { 1, FILE_LEN - 1 } };
	const struct chunk_range bad[] = { { 0, FILE_LEN + 1 }, { FILE_LEN, 1 },
		{ INT64_MAX - 1, 1 }, { 0, INT64_MAX } };
	const struct chunk_range second[] = { { 0, 5 }, { FILE_LEN - 5, 6 } };
	struct testlib_world *w = pair();
	struct effect ef;

	(void)state;
	for (int i = 0; i < 4; i++)
		expect_refused(w, &bad[i], 1, RESPONSE_INVALID_FILE);
	expect_refused(w, second, 2, RESPONSE_INVALID_FILE);
	ef = ask(w, good, 2);
	assert_int_equal(ef.kind, EFFECT_CHUNK_FILE);
	assert_int_equal(ef.u.chunk.count, 2);
	assert_int_equal(ef.u.chunk.range[1].offset, 1);
	assert_int_equal(ef.u.chunk.range[1].len, FILE_LEN - 1);
	answer(w, ef.id);
	ef = ask(w, NULL, 0);
	assert_int_equal(ef.kind, EFFECT_CHUNK_FILE);
	assert_int_equal(ef.u.chunk.count, 0);
	answer(w, ef.id);
	testlib_world_free(w);
	arena_fini(&arena);
}

/* Each holds a queue's place on the disk, and ranges. */
static void
only_so_many_maps_are_made_for_one_peer(void **state)
{
	const struct chunk_range all = { 0, FILE_LEN };
	struct testlib_world *w = pair();
	uint64_t made[LIMIT_SERVE_QUEUE] = { 0 };
	unsigned made_count = 0;
	bool dropped = false;

	(void)state;
	for (unsigned i = 0; i < 2 * LIMIT_SERVE_QUEUE && !dropped; i++) {
		const struct effect ef = ask(w, &all, 1);

		if (ef.kind == EFFECT_CHUNK_FILE) {
			assert_in_range(made_count, 0, LIMIT_SERVE_QUEUE - 1);
			made[made_count++] = ef.id;
		}
		dropped = ef.kind == EFFECT_DROP_PEER;
	}
	assert_true(dropped);
	assert_in_range(made_count, 8, 256);
	testlib_world_disconnect(w, 0, 1);
	while (testlib_world_step(w))
		continue;
	for (unsigned i = 0; i < made_count; i++)
		answer(w, made[i]);
	testlib_world_free(w);
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_are_made_of_ranges_in_the_file),
		cmocka_unit_test(only_so_many_maps_are_made_for_one_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
