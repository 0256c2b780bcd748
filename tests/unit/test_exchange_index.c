/*
 * What a peer's index says, when it says it twice or leaves something out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/core_state.h"
#include "engine/exchange_index.h"
#include "engine/folder.h"
#include "engine/index.h"
#include "testlib_world.h"

static struct arena arena;

static struct folder *
folder_of(struct testlib_world *w)
{
	return testlib_world_engine(w, 0)->folder.item[0];
}

/* What the second device holds of `path`, as the first one knows. */
static struct entry
held(struct testlib_world *w, const char *path)
{
	struct folder *f = folder_of(w);
	const struct row *row = index_row(f->ix, slice_str(path), &arena);

	for (uint32_t i = 0; row != NULL && i < row->version_count; i++)
		if (devset_has(&row->version[i].holders, f->share[0].slot))
			return row->version[i].entry;
	return (struct entry){ 0 };
}

static int64_t
known(struct testlib_world *w)
{
	struct folder *f = folder_of(w);

	return index_peer(f->ix, f->share[0].slot).max_sequence;
}

/* The first device hears this of the second. */
static void
say(struct testlib_world *w, const struct entry *e, int64_t prev)
{
	struct message m = { .type = MESSAGE_INDEX_UPDATE };
	struct event ev = { .kind = EVENT_MESSAGE,
		.now = testlib_world_now(w) };
	struct effects out;

	m.u.index = (struct index_message){ .folder = SLICE_LIT("f"),
		.entry = e,
		.entry_count = 1,
		.last_sequence = e->sequence,
		.prev_sequence = prev };
	ev.u.message.device = testlib_world_engine(w, 1)->setup.self;
	ev.u.message.message = &m;
	engine_step(testlib_world_engine(w, 0), &ev, &out);
}

static struct testlib_world *
pair(void)
{
	struct testlib_world *w = testlib_world_new(1, 2);

	testlib_world_start_all(w);
	testlib_world_write(w, 1, "a", "first");
	assert_true(testlib_world_settle(w));
	return w;
}

static void
an_old_entry_that_comes_again_changes_nothing(void **state)
{
	struct testlib_world *w = pair();
	struct entry old = held(w, "a"), now;

	(void)state;
	old.name = SLICE_LIT("a");
	old.sequence = known(w);
	testlib_world_run(w, 2 * CLOCK_S);
	testlib_world_write(w, 1, "a", "second");
	assert_true(testlib_world_settle(w));
	now = held(w, "a");
	assert_int_equal(version_compare(old.version, now.version),
	    VERSION_OLDER);
	say(w, &old, 0);
	assert_true(version_equal(held(w, "a").version, now.version));
	/* Said with a new number it is its word. */
	old.sequence = known(w) + 1;
	say(w, &old, 0);
	assert_true(version_equal(held(w, "a").version, old.version));
	testlib_world_free(w);
	arena_fini(&arena);
}

static void
what_is_missing_before_an_update_is_asked_for_again(void **state)
{
	struct testlib_world *w = pair();
	const int64_t max = known(w);
	struct entry e = held(w, "a");

	(void)state;
	e.name = SLICE_LIT("b");
	e.sequence = max + 6;
	say(w, &e, max + 5);
	assert_int_equal(held(w, "b").size, e.size);
	assert_int_equal(known(w), max);
	e.name = SLICE_LIT("c");
	e.sequence = max + 7;
	say(w, &e, max);
	assert_int_equal(known(w), max + 7);
	testlib_world_free(w);
	arena_fini(&arena);
}

/* The first device shares with the second, or with nobody. */
static void
share(struct testlib_world *w, bool on)
{
	struct engine *en = testlib_world_engine(w, 0);
	struct event ev = { .kind = EVENT_SETUP, .now = testlib_world_now(w) };
	struct arena mine = { 0 };
	struct setup_folder sf;
	struct effects out;

	setup_copy(&ev.u.setup, &en->setup, &mine);
	sf = ev.u.setup.folder[0];
	sf.device = &ev.u.setup.device[0].id;
	sf.device_count = on;
	ev.u.setup.folder = &sf;
	engine_step(en, &ev, &out);
	arena_fini(&mine);
}

static void
what_only_a_removed_device_has_is_not_waited_for(void **state)
{
	struct testlib_world *w = pair();
	struct entry e = held(w, "a");
	struct folder *f = folder_of(w);

	(void)state;
	testlib_world_disconnect(w, 0, 1);
	testlib_world_run(w, CLOCK_S);
	e.name = SLICE_LIT("b");
	e.sequence = known(w) + 1;
	assert_int_equal(index_put_remote(f->ix, f->share[0].slot, &e, NULL),
	    0);
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).items, 1);
	share(w, false);
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).items, 0);
	assert_null(index_row(f->ix, SLICE_LIT("b"), &arena));
	/* Shared with again it is asked for all it has. */
	share(w, true);
	assert_int_equal(known(w), 0);
	testlib_world_connect(w, 0, 1);
	assert_true(testlib_world_settle(w));
	assert_int_equal(held(w, "a").size, 5);
	testlib_world_free(w);
	arena_fini(&arena);
}

/* It heard that of an index that was, and came back as it had been before. */
static void
who_heard_what_was_never_said_here_is_told_everything(void **state)
{
	struct testlib_world *w = pair();
	struct folder *f = testlib_world_engine(w, 1)->folder.item[0];
	struct share *sh = &f->share[0];
	const uint64_t said = index_seq(f->ix);
	struct peer_state heard = { index_id(f->ix), (int64_t)said };

	(void)state;
	exchange_index_ours(f, sh, &heard);
	assert_false(sh->send_full);
	assert_int_equal(sh->sent_seq, said);
	index_advance_seq(f->ix, said + 100);
	f->committed_seq = said + 100;
	heard.max_sequence = (int64_t)said + 50;
	exchange_index_ours(f, sh, &heard);
	assert_true(sh->send_full);
	assert_true(sh->send_empty);
	assert_int_equal(sh->sent_seq, 0);
	testlib_world_free(w);
	arena_fini(&arena);
}

static void
what_one_without_numbers_said_goes_with_it(void **state)
{
	struct testlib_world *w = pair();
	struct folder *f = folder_of(w);
	struct entry e = held(w, "a");

	(void)state;
	index_put_peer(f->ix, f->share[0].slot, (struct peer_state){ 0 });
	e.name = SLICE_LIT("b");
	e.sequence = 0;
	say(w, &e, 0);
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).items, 1);
	testlib_world_disconnect(w, 0, 1);
	share(w, false);
	assert_int_equal(index_need_totals(f->ix, ROW_SELF).items, 0);
	testlib_world_free(w);
	arena_fini(&arena);
}

/* What `path` is here, by a vector of one counter of ours. */
static struct version
ours_at(struct testlib_world *w, const char *path, struct entry *out)
{
	const struct row *row =
	    index_row(folder_of(w)->ix, slice_str(path), &arena);

	assert_non_null(row);
	assert_non_null(row_local(row));
	*out = row_local(row)->entry;
	assert_int_equal(out->version.count, 1);
	return out->version;
}

/* After a lost index and a clock set back: the second device says what we said
 * of "a" before, and that somebody went on from there. */
static void
a_later_word_of_ours_does_not_make_what_we_wrote_older(void **state)
{
	struct testlib_world *w = pair();
	struct counter counter[2];
	struct entry e, now;

	(void)state;
	testlib_world_write(w, 0, "b", "written since");
	assert_true(testlib_world_settle(w));
	counter[0] = ours_at(w, "b", &now).counter[0];
	counter[0].value += 1000;
	e = held(w, "a");
	e.name = SLICE_LIT("b");
	e.sequence = known(w) + 1;
	e.version = (struct version){ counter, 1 };
	say(w, &e, known(w));
	ours_at(w, "b", &now);
	assert_int_equal(now.size, 13);
	assert_int_equal(version_compare(now.version, e.version),
	    VERSION_NEWER);
	/* What another made of it is neither older nor newer. */
	counter[0].value += 1000;
	counter[1] = (struct counter){ UINT64_MAX, 7 };
	e.version.count = 2;
	e.sequence++;
	say(w, &e, known(w));
	ours_at(w, "b", &now);
	assert_int_equal(now.size, 13);
	assert_int_equal(version_compare(now.version, e.version),
	    VERSION_CONCURRENT);
	assert_int_equal(now.version.counter[0].value, counter[0].value + 1);
	testlib_world_free(w);
	arena_fini(&arena);
}

/* The clock went back to the second of an older word: the numbers are the
 * same, and yet nobody can have gone on from what nobody has heard of. */
static void
what_nobody_heard_of_was_not_gone_on_from(void **state)
{
	(void)state;
	for (int told = 0; told < 2; told++) {
		struct testlib_world *w = pair();
		struct folder *f = folder_of(w);
		struct counter counter[2] = { { 0 }, { UINT64_MAX, 7 } };
		struct entry e, now;

		testlib_world_write(w, 0, "b", "written since");
		assert_true(testlib_world_settle(w));
		counter[0] = ours_at(w, "b", &now).counter[0];
		assert_int_equal(f->told_seq, index_seq(f->ix));
		if (!told)
			f->told_seq--;
		e = held(w, "a");
		e.name = SLICE_LIT("b");
		e.sequence = known(w) + 1;
		e.version = (struct version){ counter, 2 };
		say(w, &e, known(w));
		ours_at(w, "b", &now);
		assert_int_equal(version_compare(now.version, e.version),
		    told ? VERSION_OLDER : VERSION_CONCURRENT);
		testlib_world_free(w);
		arena_fini(&arena);
	}
}

/* It, or somebody else, lied: there is no telling which is the true one. */
static void
another_content_by_the_same_version_has_ours_announced_anew(void **state)
{
	struct testlib_world *w = pair();
	struct digest other = { { 7 } };
	struct entry e, now;
	const struct version was = ours_at(w, "a", &e);

	(void)state;
	e.name = SLICE_LIT("a");
	e.sequence = known(w) + 1;
	e.size = 9;
	e.block = &other;
	say(w, &e, known(w));
	now = row_local(index_row(folder_of(w)->ix, e.name, &arena))->entry;
	assert_int_equal(now.size, 5);
	assert_int_equal(version_compare(now.version, was), VERSION_NEWER);
	testlib_world_free(w);
	arena_fini(&arena);
}

/* The device in the way of "a" is gone, and both made way for it. */
static void
what_everybody_gave_away_is_not_waited_for(void **state)
{
	struct testlib_world *w = pair();
	const struct row *row;

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct folder *f = testlib_world_engine(w, i)->folder.item[0];

		assert_true(testlib_disk_remove(testlib_world_disk(w, i), "a"));
		index_vacate_local(f->ix, SLICE_LIT("a"));
	}
	testlib_world_command(w, 0, COMMAND_RETRY);
	testlib_world_command(w, 1, COMMAND_RETRY);
	testlib_world_run(w, CLOCK_HOUR);
	assert_true(testlib_world_settle(w));
	row = index_row(folder_of(w)->ix, SLICE_LIT("a"), &arena);
	assert_true(row_global(row)->entry.deleted);
	assert_int_equal(index_need_totals(folder_of(w)->ix, ROW_SELF).items,
	    0);
	testlib_world_free(w);
	arena_fini(&arena);
}

static void
rules(struct testlib_world *w, uint32_t dev, const char *text)
{
	testlib_world_write(w, dev, ".stignore", text);
	assert_true(testlib_world_settle(w));
}

/* The first device could not get it, and the second has it no more. */
static void
what_went_while_it_was_ignored_is_told_when_it_is_not(void **state)
{
	struct testlib_world *w = pair();
	struct testlib_disk *ours = testlib_world_disk(w, 0);
	struct index *ix = folder_of(w)->ix;

	(void)state;
	testlib_disk_fail(ours, EFFECT_WRITE_TEMP, ERR_DENIED);
	testlib_world_write(w, 1, "x.o", "object");
	testlib_world_run(w, CLOCK_S);
	assert_int_equal(index_need_totals(ix, ROW_SELF).items, 1);
	testlib_world_disconnect(w, 0, 1);
	rules(w, 1, "*.o");
	testlib_world_remove(w, 1, "x.o");
	rules(w, 1, "");
	testlib_disk_fail(ours, EFFECT_WRITE_TEMP, 0);
	testlib_world_connect(w, 0, 1);
	assert_true(testlib_world_settle(w));
	assert_int_equal(index_need_totals(ix, ROW_SELF).items, 0);
	testlib_world_free(w);
	arena_fini(&arena);
}

/* Newer Syncthings would have the deletion win: the edit must cover it. */
static void
an_edit_found_after_its_deletion_was_heard_covers_it(void **state)
{
	const struct counter counter = { 0x2020202020202020, 1699999999 };
	const struct version gone = { &counter, 1 };
	struct testlib_world *w = pair();
	struct entry e = { .name = SLICE_LIT("b"),
		.deleted = true,
		.sequence = known(w) + 1,
		.version = gone };
	const struct row *row;

	(void)state;
	say(w, &e, known(w));
	testlib_world_write(w, 0, "b", "found");
	assert_true(testlib_world_settle(w));
	row = index_row(folder_of(w)->ix, SLICE_LIT("b"), &arena);
	assert_non_null(row);
	assert_false(row_local(row)->entry.deleted);
	assert_true(version_covers(row_local(row)->entry.version, gone));
	testlib_world_free(w);
	arena_fini(&arena);
}

/*
 * A device gets another ID while all run, while one is off, and while one is
 * killed before it wrote that down: of what they know of one another nothing is
 * said again, and edits go both ways.
 */
static void
a_device_with_another_id_is_told_nothing_again(void **state)
{
	char name[16];

	(void)state;
	for (uint32_t how = 0; how < 4; how++) {
		struct testlib_world *w = testlib_world_new(90 + how, 3);
		uint64_t entries, bytes;

		for (int i = 0; i < 40; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			testlib_world_write(w, (uint32_t)i % 3, name, name);
		}
		testlib_world_start_all(w);
		assert_true(testlib_world_settle(w));
		testlib_world_check_same(w);
		entries = testlib_world_entries(w);
		bytes = testlib_world_payload_bytes(w);
		if (how == 1)
			testlib_world_kill(w, 1); /* a peer is off */
		if (how == 2)
			testlib_world_kill(w, 0); /* it itself is */
		testlib_world_rotate(w, 0);
		if (how == 3) {
			testlib_world_kill(w, 0);
			testlib_world_kill(w, 1);
		}
		testlib_world_start_all(w);
		assert_true(testlib_world_settle(w));
		assert_int_equal(testlib_world_entries(w), entries);
		testlib_world_write(w, 0, "f1", "of 0, after");
		testlib_world_write(w, 1, "f0", "of 1, after");
		testlib_world_remove(w, 2, "f3");
		assert_true(testlib_world_settle(w));
		testlib_world_check_same(w);
		/* Three changes, each told by each to each. */
		assert_in_range(testlib_world_entries(w) - entries, 6, 18);
		assert_true(testlib_world_payload_bytes(w) - bytes <= 44);
		/* And once more, by the ID it has now. */
		entries = testlib_world_entries(w);
		testlib_world_rotate(w, 0);
		testlib_world_rotate(w, 2);
		testlib_world_start_all(w);
		assert_true(testlib_world_settle(w));
		assert_int_equal(testlib_world_entries(w), entries);
		testlib_world_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_device_with_another_id_is_told_nothing_again),
		cmocka_unit_test(an_old_entry_that_comes_again_changes_nothing),
		cmocka_unit_test(
		    what_is_missing_before_an_update_is_asked_for_again),
		cmocka_unit_test(
		    what_only_a_removed_device_has_is_not_waited_for),
		cmocka_unit_test(
		    who_heard_what_was_never_said_here_is_told_everything),
		cmocka_unit_test(what_one_without_numbers_said_goes_with_it),
		cmocka_unit_test(
		    a_later_word_of_ours_does_not_make_what_we_wrote_older),
		cmocka_unit_test(what_nobody_heard_of_was_not_gone_on_from),
		cmocka_unit_test(
		    another_content_by_the_same_version_has_ours_announced_anew),
		cmocka_unit_test(what_everybody_gave_away_is_not_waited_for),
		cmocka_unit_test(
		    what_went_while_it_was_ignored_is_told_when_it_is_not),
		cmocka_unit_test(
		    an_edit_found_after_its_deletion_was_heard_covers_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
