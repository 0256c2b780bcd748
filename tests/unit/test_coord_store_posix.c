/* What a coordinator keeps survives, but for what was half written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "mesh/coord_store_posix.h"

static char dir[] = "coord-store-XXXXXX";
static const struct coord_id one = { { 1 } }, two = { { 0xff, 2 } };
static struct buf seen;
static uint64_t stop_at;

static int
on_entry(void *arg, const struct coord_id *domain, uint64_t seq,
    struct slice entry, struct err *err)
{
	(void)arg;
	if (seq == stop_at)
		return err_set(err, ERR_CORRUPT, "not this one");
	buf_printf(&seen, "%d:%d=%.*s ", domain->b[0], (int)seq,
	    SLICE_FMT(entry));
	return 0;
}

static void
open_and_expect(struct coord_store **st, const char *want)
{
	char where[64];

	buf_clear(&seen);
	snprintf(where, sizeof(where), "%s/coord", dir);
	assert_int_equal(
	    coord_store_open(st, where, on_entry, NULL, NULL, NULL), 0);
	buf_put_u8(&seen, 0);
	assert_string_equal((char *)seen.ptr, want);
}

static char *
log_path(void)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/coord/%s%062d.log", dir, "01", 0);
	return path;
}

static void
keep(struct coord_store *st, const struct coord_id *id, uint64_t seq,
    const char *text)
{
	assert_int_equal(coord_store_keep(st, id, seq, slice_str(text), NULL),
	    0);
}

static void
store_gives_back_what_it_kept(void **state)
{
	struct coord_store *st;
	struct stat sb;

	(void)state;
	open_and_expect(&st, "");
	keep(st, &one, 1, "first");
	keep(st, &one, 2, "");
	assert_int_equal(coord_store_flush(st, NULL), 0);
	coord_store_close(st);
	open_and_expect(&st, "1:1=first 1:2= ");
	keep(st, &one, 3, "third");
	coord_store_close(st);
	open_and_expect(&st, "1:1=first 1:2= 1:3=third ");
	coord_store_close(st);
	assert_int_equal(stat(log_path(), &sb), 0);
	assert_int_equal(sb.st_mode & 0777, 0600);
}

static void
store_drops_a_torn_tail(void **state)
{
	struct coord_store *st;
	struct stat sb;

	(void)state;
	assert_int_equal(stat(log_path(), &sb), 0);
	for (off_t cut = 1; cut < 25; cut++) { /* of the last record */
		assert_int_equal(truncate(log_path(), sb.st_size - cut), 0);
		open_and_expect(&st, "1:1=first 1:2= ");
		keep(st, &one, 3, "third");
		coord_store_close(st);
		open_and_expect(&st, "1:1=first 1:2= 1:3=third ");
		coord_store_close(st);
	}
}

static void
store_ends_a_log_where_it_is_damaged(void **state)
{
	struct coord_store *st;
	FILE *f;

	(void)state;
	/* In the second record. */
	f = fopen(log_path(), "r+");
	assert_non_null(f);
	fseek(f, 8 + 12 + 5 + 8 + 6, SEEK_SET);
	fputc(0x55, f);
	fclose(f);
	open_and_expect(&st, "1:1=first ");
	keep(st, &one, 2, "again");
	coord_store_close(st);
	open_and_expect(&st, "1:1=first 1:2=again ");
	coord_store_close(st);
	/* And where its owner cannot make sense of it. */
	stop_at = 2;
	open_and_expect(&st, "1:1=first ");
	coord_store_close(st);
	stop_at = 0;
	open_and_expect(&st, "1:1=first ");
	keep(st, &two, 1, "other");
	coord_store_close(st);
}

static void
store_goes_on_with_its_audit_log(void **state)
{
	const struct coord_audit_note note = { .what = "found",
		.from = "",
		.text = "x" };
	struct coord_audit at = { 0 };
	struct coord_store *st;
	char path[64], line[1024];
	struct stat sb;
	FILE *f;
	int n = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/coord/audit.log", dir);
	for (int i = 0; i < 3; i++) {
		char where[64];

		snprintf(where, sizeof(where), "%s/coord", dir);
		assert_int_equal(
		    coord_store_open(&st, where, on_entry, NULL, NULL, NULL),
		    0);
		assert_int_equal(coord_store_note(st, &note, NULL), 0);
		coord_store_close(st);
		/* The power went in the middle of a line. */
		assert_int_equal(stat(path, &sb), 0);
		f = fopen(path, "a");
		assert_non_null(f);
		fputs("{\"n\":99,\"ti", f);
		fclose(f);
	}
	f = fopen(path, "r");
	assert_non_null(f);
	while (n < 3 && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		assert_int_equal(coord_audit_check(&at, slice_str(line), NULL),
		    0);
		n++;
	}
	fclose(f);
	assert_int_equal(n, 3);
	assert_int_equal(at.n, 3);
}

/* What a worker brings to the disk; the loop goes on meanwhile. */
static void
store_gives_what_is_to_be_flushed(void **state)
{
	struct coord_store_late late, next;
	struct coord_store *st;
	struct coord_id id = one;
	char where[64];

	(void)state;
	snprintf(where, sizeof(where), "%s/late", dir);
	assert_int_equal(
	    coord_store_open(&st, where, on_entry, NULL, NULL, NULL), 0);
	assert_false(coord_store_is_late(st));
	coord_store_take_late(st, &late);
	assert_int_equal(late.count, 0);
	keep(st, &two, 1, "other");
	assert_true(coord_store_is_late(st));
	coord_store_take_late(st, &late);
	assert_false(coord_store_is_late(st));
	assert_int_equal(late.count, 2); /* it is new: the directory, too */
	assert_true(late.has_dir);
	keep(st, &two, 2, "more");
	coord_store_take_late(st, &next);
	assert_int_equal(next.count, 1);
	assert_false(next.has_dir);
	keep(st, &two, 3, "again");
	keep(st, &one, 1, "new");
	keep(st, &two, 4, "and again");
	assert_int_equal(coord_store_sync(&next, NULL), 0);
	coord_store_take_late(st, &next);
	assert_int_equal(next.count, 4); /* opened once more each time */
	assert_int_equal(coord_store_sync(&late, NULL), 0);
	assert_int_equal(coord_store_sync(&next, NULL), 0);
	assert_int_equal(next.count, 0);
	/* One that cannot be flushed is told, and let go. */
	keep(st, &two, 5, "last");
	coord_store_take_late(st, &late);
	close(late.fd[0]);
	assert_int_not_equal(coord_store_sync(&late, NULL), 0);
	/* More logs than it holds: it flushes by itself. */
	for (unsigned i = 0; i < 2 * LIMIT_COORD_UNFLUSHED; i++) {
		id.b[1] = (uint8_t)(1 + i);
		keep(st, &id, 1, "x");
	}
	coord_store_take_late(st, &late);
	assert_in_range(late.count, 1, LIMIT_COORD_UNFLUSHED);
	assert_int_equal(coord_store_sync(&late, NULL), 0);
	coord_store_close(st);
}

static int
begin(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
end(void **state)
{
	char command[128];

	(void)state;
	buf_fini(&seen);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_gives_back_what_it_kept),
		cmocka_unit_test(store_drops_a_torn_tail),
		cmocka_unit_test(store_ends_a_log_where_it_is_damaged),
		cmocka_unit_test(store_goes_on_with_its_audit_log),
		cmocka_unit_test(store_gives_what_is_to_be_flushed),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
