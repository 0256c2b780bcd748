/*
 * Intents: what is written before a name is changed is read after a crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/intent.h"

static const struct counter two[] = { { 1, 7 }, { 9, 1700000000 } };

static struct intent
sample(void)
{
	return (struct intent){
		.kind = INTENT_FILE,
		.replace = true,
		.path = SLICE_LIT("a/b"),
		.from = SLICE_LIT("c"),
		.temp = SLICE_LIT("0123"),
		.keep = SLICE_LIT("a/b.sync-conflict-x"),
		.base = { .type = IDENTITY_FILE,
		    .mode = 0644,
		    .size = 5,
		    .mtime_s = -1,
		    .mtime_ns = 999999999,
		    .ctime_ns = 1,
		    .ctime_s = INT64_MIN,
		    .ino = UINT64_MAX,
		    .dev = 3 },
		.staged = { .type = IDENTITY_LINK, .size = INT64_MAX },
		.had = true,
		.before = { two, 1 },
		.target = { two, 2 },
	};
}

static void
an_intent_comes_back_as_it_was(void **state)
{
	const struct intent in = sample();
	struct arena ar = { 0 };
	struct buf b = { 0 };
	struct intent out;

	(void)state;
	intent_encode(&in, &b);
	assert_true(intent_decode(buf_slice(&b), &out, &ar));
	assert_int_equal(out.kind, in.kind);
	assert_true(out.replace);
	assert_true(out.had);
	assert_true(slice_equal(out.path, in.path));
	assert_true(slice_equal(out.from, in.from));
	assert_true(slice_equal(out.temp, in.temp));
	assert_true(slice_equal(out.keep, in.keep));
	assert_memory_equal(&out.base, &in.base, sizeof(in.base));
	assert_memory_equal(&out.staged, &in.staged, sizeof(in.staged));
	assert_true(version_equal(out.before, in.before));
	assert_true(version_equal(out.target, in.target));
	assert_int_equal(out.gone.count, 0);
	buf_fini(&b);
	arena_fini(&ar);
}

static void
a_cut_or_foreign_record_is_refused(void **state)
{
	const struct intent in = sample();
	struct arena ar = { 0 };
	struct buf b = { 0 };
	struct intent out;

	(void)state;
	intent_encode(&in, &b);
	for (size_t len = 0; len < b.len; len++)
		assert_false(intent_decode(slice_of(b.ptr, len), &out, &ar));
	b.ptr[0]++;
	assert_false(intent_decode(buf_slice(&b), &out, &ar));
	buf_fini(&b);
	arena_fini(&ar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_intent_comes_back_as_it_was),
		cmocka_unit_test(a_cut_or_foreign_record_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
