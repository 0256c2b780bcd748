/*
 * Compacting: the records are copied in order into a new file, which takes the
 * name if nobody wrote meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/store_lmdb_impl.h"

#define COMPACT_PAGES 512u     /* free or new ones, at least */
#define COMPACT_PAUSE_MS 5000u /* after one in vain */
#define COMPACT_BATCH 16384u   /* records in a transaction */

/* Pages that are free in the state `txn` sees. */
static size_t
free_pages(MDB_txn *txn)
{
	MDB_cursor *cursor = NULL;
	MDB_val key, value;
	size_t sum = 0;

	/* Table 0 is LMDB's own: lists of free pages, their count first. */
	if (mdb_cursor_open(txn, 0, &cursor) != 0)
		return 0;
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		size_t count = 0;

		if (value.mv_size >= sizeof(count))
			memcpy(&count, value.mv_data, sizeof(count));
		sum += count;
	}
	mdb_cursor_close(cursor);
	return sum;
}

/* Is what was put since then in pages that are half full? */
static bool
compact_has_grown(const struct store_lmdb *sl, size_t pages)
{
	return pages > sl->dense_pages + sl->dense_pages / 2 + COMPACT_PAGES;
}

struct store_lmdb_compact *
store_lmdb_compact_begin(struct store *st, bool at_rest)
{
	struct store_lmdb *sl = store_lmdb_of(st);
	const size_t pages = store_env_pages(sl);
	struct store_lmdb_compact *c;
	size_t unused;

	if (sl->compact != NULL || sl->committing || sl->err.code != 0 ||
	    store_env_now_ms() < sl->compact_after_ms ||
	    store_pending(st) > 0 || pages == 0)
		return NULL;
	unused = free_pages(sl->read);
	if ((unused < COMPACT_PAGES || unused < pages / 5) &&
	    !(at_rest && compact_has_grown(sl, pages)))
		return NULL;
	c = mem_zalloc(sizeof(*c));
	c->st = sl;
	if (asprintf(&c->dir, "%s/compact", sl->dir) < 0) {
		mem_free(c);
		return NULL;
	}
	sl->compact = c;
	return c;
}

static void
compact_clean(const struct store_lmdb_compact *c)
{
	const int fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	unlinkat(fd, "data.mdb", 0);
	close(fd);
	rmdir(c->dir);
}

/* All records of one table, in order, so that the pages are full. */
static int
compact_table(struct store_lmdb_compact *c, MDB_txn *from, MDB_env *env,
    enum store_table t)
{
	MDB_cursor *cursor = NULL;
	MDB_txn *txn = NULL;
	MDB_val key, value;
	MDB_dbi dbi;
	unsigned count = 0;
	int rc;

	rc = mdb_cursor_open(from, c->st->dbi[t], &cursor);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, 0, &txn);
	if (rc == 0)
		rc = mdb_dbi_open(txn, store_env_tables_name[t], MDB_CREATE,
		    &dbi);
	while (rc == 0) {
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		if (rc == 0)
			rc = mdb_put(txn, dbi, &key, &value, MDB_APPEND);
		if (rc != 0 || ++count % COMPACT_BATCH != 0)
			continue;
		rc = mdb_txn_commit(txn);
		txn = NULL;
		if (rc == 0)
			rc = c->stop ? ECANCELED
				     : mdb_txn_begin(env, NULL, 0, &txn);
	}
	if (rc == MDB_NOTFOUND) {
		rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (txn != NULL)
		mdb_txn_abort(txn);
	if (cursor != NULL)
		mdb_cursor_close(cursor);
	return rc;
}

void
store_lmdb_compact_run(struct store_lmdb_compact *c)
{
	MDB_txn *from = NULL;
	MDB_env *env = NULL;

	compact_clean(c);
	c->rc = mkdir(c->dir, 0700) < 0 ? errno : 0;
	if (c->rc == 0)
		/* Nobody reads it before the one flush at the end. */
		c->rc = store_env_open(c->dir, MDB_NOSYNC | MDB_NOLOCK, &env);
	if (c->rc == 0)
		c->rc = mdb_txn_begin(c->st->env, NULL, MDB_RDONLY, &from);
	if (c->rc == 0)
		c->txn_id = mdb_txn_id(from);
	for (enum store_table t = 0; c->rc == 0 && t < STORE_TABLES; t++)
		c->rc = compact_table(c, from, env, t);
	if (c->rc == 0)
		c->rc = mdb_env_sync(env, 1);
	if (from != NULL)
		mdb_txn_abort(from);
	if (env != NULL)
		mdb_env_close(env);
}

/* Both files hold the same; whichever has the name after a crash is right. */
static bool
compact_swap(struct store_lmdb *sl, const struct store_lmdb_compact *c)
{
	MDB_envinfo info;
	bool swapped;

	if (c->rc != 0 || c->stop || sl->committing || sl->err.code != 0 ||
	    mdb_env_info(sl->env, &info) != 0 ||
	    info.me_last_txnid != c->txn_id)
		return false;
	store_env_down(sl);
	swapped = renameat(sl->dir_fd, "compact/data.mdb", sl->dir_fd,
		      "data.mdb") == 0;
	if (swapped)
		fsync(sl->dir_fd);
	(void)store_env_up(sl, &sl->err);
	sl->dense_pages = store_env_pages(sl);
	return swapped && sl->err.code == 0;
}

bool
store_lmdb_compact_finish(struct store_lmdb_compact *c)
{
	struct store_lmdb *sl = c->st;
	const bool swapped = !sl->closing && compact_swap(sl, c);

	compact_clean(c);
	sl->compact = NULL;
	if (!swapped)
		sl->compact_after_ms = store_env_now_ms() + COMPACT_PAUSE_MS;
	if (sl->closing)
		store_lmdb_close(&sl->base);
	free(c->dir);
	mem_free(c);
	return swapped;
}
