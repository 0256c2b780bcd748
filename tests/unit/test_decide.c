/*
 * Verdicts: every meeting of what we have with what the others have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/decide.h"
#include "engine/global.h"

/*
 * A version from a word: counters ("A1B2"), then ':' and what it is: 'f' and
 * one letter of content, 'd' directory, 'l' link, 'x' deleted; then optional
 * 'p' (other permissions), 'm' (other mtime), '<' and the content it was made
 * from.
 */
struct made {
	struct row_version v;
	struct counter counter[8];
};

static void
make(struct made *m, const char *word)
{
	struct entry *e = &m->v.entry;

	memset(m, 0, sizeof(*m));
	e->version.counter = m->counter;
	for (; *word != ':'; word += 2) {
		m->counter[e->version.count++] = (struct counter){
			.id = (uint64_t)(word[0] - 'A' + 1),
			.value = (uint64_t)(word[1] - '0'),
		};
	}
	word++;
	e->perms = 0644;
	e->mtime_s = 1000;
	switch (*word++) {
	case 'f':
		e->type = ENTRY_FILE;
		e->size = 5;
		e->block_count = 1;
		e->blocks_hash.b[0] = (uint8_t)*word++;
		break;
	case 'd':
		e->type = ENTRY_DIR;
		break;
	case 'l':
		e->type = ENTRY_LINK;
		break;
	default:
		e->deleted = true;
		break;
	}
	for (; *word != '\0'; word++) {
		if (*word == 'p')
			e->perms = 0600;
		else if (*word == 'm')
			e->mtime_s = 2000;
		else if (*word == '<')
			e->previous_blocks_hash.b[0] = (uint8_t) * ++word;
	}
}

/* We (slot 0) have `local`, or nothing; a peer (slot 1) has `remote`. */
static struct verdict
decide_from(const char *local, const char *remote, enum folder_mode mode,
    uint32_t flags)
{
	static struct made have, other;
	static struct row_version v[2];
	struct row row = { .version = v, .local = -1, .flags = flags };

	if (local != NULL) {
		make(&have, local);
		if ((flags & (ROW_LOCAL_CHANGED | ROW_IGNORED)) != 0)
			devset_add(&have.v.shadows, 0);
		else
			devset_add(&have.v.holders, 0);
		row.local = (int32_t)row.version_count;
		v[row.version_count++] = have.v;
	}
	if (remote != NULL) {
		make(&other, remote);
		devset_add(&other.v.holders, 1);
		v[row.version_count++] = other.v;
	}
	row.global = global_pick(v, row.version_count);
	return decide(&row, mode, false);
}

static enum verdict_kind
kind(const char *local, const char *remote)
{
	return decide_from(local, remote, FOLDER_SEND_RECEIVE, 0).kind;
}

static void
decide_takes_what_is_new_or_newer(void **state)
{
	(void)state;
	assert_int_equal(kind(NULL, "A1:fa"), VERDICT_TAKE);
	assert_int_equal(kind("A1:fa", "A2:fb"), VERDICT_TAKE);
	assert_int_equal(kind("A1:x", "A2:fb"), VERDICT_TAKE);
	assert_int_equal(kind("A1:d", "A2:fb"), VERDICT_TAKE);
	assert_int_equal(kind("A1:l", "A1B2:d"), VERDICT_TAKE);
}

static void
decide_leaves_what_is_ours_or_older(void **state)
{
	(void)state;
	assert_int_equal(kind("A2:fa", "A1:fb"), VERDICT_NOTHING);
	assert_int_equal(kind("A2:fa", NULL), VERDICT_NOTHING);
	assert_int_equal(kind("A2:x", "A1:fb"), VERDICT_NOTHING);
	assert_int_equal(kind(NULL, "A1:x"), VERDICT_NOTHING);
	assert_int_equal(kind(NULL, NULL), VERDICT_NOTHING);
}

static void
decide_keeps_both_of_two_edits(void **state)
{
	struct verdict v;

	(void)state;
	/* The peer's is newer and wins; ours must not be lost. */
	v = decide_from("A2:fa", "B1:fbm", FOLDER_SEND_RECEIVE, 0);
	assert_int_equal(v.kind, VERDICT_CONFLICT);
	assert_int_equal(v.ours->entry.blocks_hash.b[0], 'a');
	assert_int_equal(v.take->entry.blocks_hash.b[0], 'b');
	/* Ours is newer and wins: the peer makes the copy. */
	assert_int_equal(kind("A2:fam", "B1:fb"), VERDICT_NOTHING);
	/* A directory cannot be copied, nor a link: nothing written in it. */
	assert_int_equal(kind("A1:l", "B1:fbm"), VERDICT_TAKE);
	/* A file that loses to a directory is kept all the same. */
	assert_int_equal(kind("A1:fa", "B1:dm"), VERDICT_CONFLICT);
}

static void
decide_sees_no_conflict_where_the_bytes_are_equal(void **state)
{
	(void)state;
	assert_int_equal(kind("B1:fa", "A1:fa"), VERDICT_ADOPT);
	assert_int_equal(kind("B1:fa", "A1:fam"), VERDICT_META);
	assert_int_equal(kind("A1:fa", "A2:fap"), VERDICT_META);
	assert_int_equal(kind("A1:d", "A2:dp"), VERDICT_META);
	assert_int_equal(kind("A1:d", "A2:dm"), VERDICT_ADOPT);
	assert_int_equal(kind("B1:x", "A1:x"), VERDICT_ADOPT);
}

static void
decide_sees_no_conflict_with_what_was_made_from_ours(void **state)
{
	(void)state;
	assert_int_equal(kind("A2:fa", "B1:fbm<a"), VERDICT_TAKE);
	assert_int_equal(kind("A2:fa", "B1:fbm<c"), VERDICT_CONFLICT);
}

static void
decide_deletes_only_what_the_deleter_saw(void **state)
{
	(void)state;
	assert_int_equal(kind("A1:fa", "A1B1:x"), VERDICT_DELETE);
	assert_int_equal(kind("A1:d", "A1B1:x"), VERDICT_DELETE);
	assert_int_equal(kind("A2:fa", "A1B1:x"), VERDICT_REVIVE);
	assert_int_equal(kind("A2:fa", "A1B1:xm"), VERDICT_REVIVE);
}

static void
decide_leaves_local_changes_of_a_receive_only_folder(void **state)
{
	struct verdict v;

	(void)state;
	v = decide_from(":fa", "A1:fb", FOLDER_RECEIVE_ONLY, ROW_LOCAL_CHANGED);
	assert_int_equal(v.kind, VERDICT_NOTHING);
	assert_int_equal(v.reason, REASON_LOCALLY_CHANGED);
	v = decide_from(":fa", "A1:x", FOLDER_RECEIVE_ONLY, ROW_LOCAL_CHANGED);
	assert_int_equal(v.kind, VERDICT_NOTHING);
	v = decide_from("A1B2:fa", "A1:fb", FOLDER_RECEIVE_ONLY,
	    ROW_LOCAL_CHANGED);
	assert_int_equal(v.kind, VERDICT_NOTHING);
	/* The others changed it again: both are kept. */
	v = decide_from("A1B2:fa", "A2:fb", FOLDER_RECEIVE_ONLY,
	    ROW_LOCAL_CHANGED);
	assert_int_equal(v.kind, VERDICT_CONFLICT);
	/* Equal again: the mark goes. */
	v = decide_from(":fa", "A1:fa", FOLDER_RECEIVE_ONLY, ROW_LOCAL_CHANGED);
	assert_int_equal(v.kind, VERDICT_ADOPT);
	/* What nobody touched follows the others. */
	v = decide_from("A1:fa", "A2:fb", FOLDER_RECEIVE_ONLY, 0);
	assert_int_equal(v.kind, VERDICT_TAKE);
}

static void
decide_takes_nothing_in_a_send_only_folder(void **state)
{
	struct verdict v;

	(void)state;
	v = decide_from("A1:fa", "A2:fb", FOLDER_SEND_ONLY, 0);
	assert_int_equal(v.kind, VERDICT_NOTHING);
	assert_int_equal(v.reason, REASON_SEND_ONLY);
	v = decide_from(NULL, "A2:fb", FOLDER_SEND_ONLY, 0);
	assert_int_equal(v.kind, VERDICT_NOTHING);
	v = decide_from("A1:fa", "A1B1:x", FOLDER_SEND_ONLY, 0);
	assert_int_equal(v.kind, VERDICT_NOTHING);
	v = decide_from("A1:fa", "A2:fa", FOLDER_SEND_ONLY, 0);
	assert_int_equal(v.kind, VERDICT_ADOPT);
}

static void
decide_leaves_ignored_paths_alone(void **state)
{
	struct verdict v;

	(void)state;
	v = decide_from("A1:fa", "A2:fb", FOLDER_SEND_RECEIVE, ROW_IGNORED);
	assert_int_equal(v.kind, VERDICT_NOTHING);
	assert_int_equal(v.reason, REASON_IGNORED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decide_takes_what_is_new_or_newer),
		cmocka_unit_test(decide_leaves_what_is_ours_or_older),
		cmocka_unit_test(decide_keeps_both_of_two_edits),
		cmocka_unit_test(
		    decide_sees_no_conflict_where_the_bytes_are_equal),
		cmocka_unit_test(
		    decide_sees_no_conflict_with_what_was_made_from_ours),
		cmocka_unit_test(decide_deletes_only_what_the_deleter_saw),
		cmocka_unit_test(
		    decide_leaves_local_changes_of_a_receive_only_folder),
		cmocka_unit_test(decide_takes_nothing_in_a_send_only_folder),
		cmocka_unit_test(decide_leaves_ignored_paths_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
