/*
 * The store on LMDB: see store_lmdb.h.
 *
 * The directory holds data.mdb and lock.mdb (LMDB's), `lock` (ours: flock, so
 * that a second process is refused), `damaged` (left by store_lmdb_fault())
 * and, for a while, compact/ (a smaller data.mdb in the making).
 *
 * Threads: `overlay` and the read transaction are the loop's.  `flying` is
 * not changed by anyone from commit_begin() to commit_finish(), so the worker
 * and the loop may both read it.  LMDB's write transaction begins and ends in
 * commit_run().  The read transaction is tied to no thread (MDB_NOTLS).
 */
#include "engine/store_lmdb_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/omap.h"

#define PROBE_LEN (256 * (off_t)KIB)
#define REST_FROM (4 * MIB) /* bytes in one commit */

/*
 * The open stores, for store_lmdb_fault(): a signal handler has no argument.
 * Changed by the loop thread only.
 */
static struct store_lmdb *volatile first_open;

static const struct store_lmdb *
lmdb_of_const(const struct store *st)
{
	return (const struct store_lmdb *)(const void *)st;
}

static void
lmdb_fail(struct store_lmdb *sl, int rc, const char *what)
{
	if (sl->err.code == 0)
		store_env_err(&sl->err, rc, what);
}

/* Reading */

static MDB_val
val_of(struct slice s)
{
	return (MDB_val){ .mv_size = s.len, .mv_data = (void *)s.ptr };
}

/* One of the three sources of a merged walk. */
struct merge {
	const struct omap_item *over, *fly;
	bool has_db;
	MDB_val key, value;
};

static bool
db_get(struct store_lmdb *sl, enum store_table t, struct merge *m,
    MDB_cursor_op op)
{
	const int rc = mdb_cursor_get(sl->cursor[t], &m->key, &m->value, op);

	m->has_db = rc == 0;
	if (rc != 0 && rc != MDB_NOTFOUND)
		lmdb_fail(sl, rc, "read");
	return m->has_db;
}

static void
db_seek(struct store_lmdb *sl, enum store_table t, struct slice key, bool after,
    struct merge *m)
{
	m->key = val_of(key);
	if (!db_get(sl, t, m, key.len > 0 ? MDB_SET_RANGE : MDB_FIRST))
		return;
	if (after && slice_equal(store_slice_of_val(&m->key), key))
		db_get(sl, t, m, MDB_NEXT);
}

static void
db_seek_before(struct store_lmdb *sl, enum store_table t, struct slice key,
    struct merge *m)
{
	m->key = val_of(key);
	if (key.len == 0)
		m->has_db = false;
	else if (db_get(sl, t, m, MDB_SET_RANGE))
		db_get(sl, t, m, MDB_PREV);
	else
		db_get(sl, t, m, MDB_LAST);
}

static void
give(struct slice key, struct slice value, struct slice *out_key,
    struct slice *out_value, struct arena *arena)
{
	if (out_key != NULL)
		*out_key = arena_dup(arena, key);
	if (out_value != NULL)
		*out_value = arena_dup(arena, value);
}

static bool
store_lmdb_find(struct store *st, enum store_table t, struct slice key,
    struct slice *value, struct arena *arena)
{
	struct store_lmdb *sl = store_lmdb_of(st);
	const struct omap_item *it;
	struct merge m;

	if (sl->err.code != 0 || key.len == 0)
		return false;
	it = omap_find(sl->overlay[t], key);
	if (it == NULL && sl->committing)
		it = omap_find(sl->flying[t], key);
	if (it != NULL) {
		if (!it->gone)
			give(key, it->value, NULL, value, arena);
		return !it->gone;
	}
	m.key = val_of(key);
	if (!db_get(sl, t, &m, MDB_SET))
		return false;
	give(key, store_slice_of_val(&m.value), NULL, value, arena);
	return true;
}

/*
 * The item of the source that stands first in the direction of the walk, the
 * newest source where several have the same key.
 */
static const struct omap_item *
merge_pick(const struct merge *m, int direction, struct omap_item *db)
{
	const struct omap_item *best = m->over;

	if (best == NULL ||
	    (m->fly != NULL &&
		slice_cmp(m->fly->key, best->key) * direction < 0))
		best = m->fly;
	if (!m->has_db)
		return best;
	*db = (struct omap_item){ .key = store_slice_of_val(&m->key),
		.value = store_slice_of_val(&m->value) };
	if (best == NULL || slice_cmp(db->key, best->key) * direction < 0)
		return db;
	return best;
}

static bool
store_lmdb_next(struct store *st, enum store_table t, struct slice key,
    bool after, struct slice *out_key, struct slice *out_value,
    struct arena *arena)
{
	struct store_lmdb *sl = store_lmdb_of(st);
	struct merge m;

	if (sl->err.code != 0)
		return false;
	m.over = omap_seek(sl->overlay[t], key, after);
	m.fly = sl->committing ? omap_seek(sl->flying[t], key, after) : NULL;
	db_seek(sl, t, key, after, &m);
	for (;;) {
		struct omap_item db;
		const struct omap_item *it = merge_pick(&m, 1, &db);
		struct slice at;

		if (it == NULL || sl->err.code != 0)
			return false;
		if (!it->gone) {
			give(it->key, it->value, out_key, out_value, arena);
			return true;
		}
		at = it->key;
		if (m.has_db && slice_equal(store_slice_of_val(&m.key), at))
			db_get(sl, t, &m, MDB_NEXT);
		if (m.fly != NULL && slice_equal(m.fly->key, at))
			m.fly = omap_next(m.fly);
		if (m.over != NULL && slice_equal(m.over->key, at))
			m.over = omap_next(m.over);
	}
}

static bool
store_lmdb_prev(struct store *st, enum store_table t, struct slice key,
    struct slice *out_key, struct slice *out_value, struct arena *arena)
{
	struct store_lmdb *sl = store_lmdb_of(st);
	struct merge m;

	if (sl->err.code != 0)
		return false;
	m.over = omap_seek_before(sl->overlay[t], key);
	m.fly = sl->committing ? omap_seek_before(sl->flying[t], key) : NULL;
	db_seek_before(sl, t, key, &m);
	for (;;) {
		struct omap_item db;
		const struct omap_item *it = merge_pick(&m, -1, &db);
		struct slice at;

		if (it == NULL || sl->err.code != 0)
			return false;
		if (!it->gone) {
			give(it->key, it->value, out_key, out_value, arena);
			return true;
		}
		at = it->key;
		if (m.has_db && slice_equal(store_slice_of_val(&m.key), at))
			db_get(sl, t, &m, MDB_PREV);
		if (m.fly != NULL && slice_equal(m.fly->key, at))
			m.fly = omap_seek_before(sl->flying[t], at);
		if (m.over != NULL && slice_equal(m.over->key, at))
			m.over = omap_seek_before(sl->overlay[t], at);
	}
}

/* Writing */

static void
store_lmdb_put(struct store *st, enum store_table t, struct slice key,
    struct slice value)
{
	ASSERT(key.len > 0 && key.len <= LIMIT_KEY_LEN);
	omap_put(store_lmdb_of(st)->overlay[t], key, value);
}

static void
store_lmdb_remove(struct store *st, enum store_table t, struct slice key)
{
	ASSERT(key.len > 0 && key.len <= LIMIT_KEY_LEN);
	omap_put_gone(store_lmdb_of(st)->overlay[t], key);
}

static size_t
store_lmdb_pending(const struct store *st)
{
	const struct store_lmdb *sl = lmdb_of_const(st);
	size_t sum = 0;

	for (unsigned t = 0; t < STORE_TABLES; t++)
		sum += omap_count(sl->overlay[t]);
	return sum;
}

static const struct err *
store_lmdb_error(const struct store *st)
{
	const struct store_lmdb *sl = lmdb_of_const(st);

	return sl->err.code != 0 ? &sl->err : NULL;
}

static const struct store_ops store_lmdb_ops = {
	.find = store_lmdb_find,
	.next = store_lmdb_next,
	.prev = store_lmdb_prev,
	.put = store_lmdb_put,
	.remove = store_lmdb_remove,
	.pending = store_lmdb_pending,
	.error = store_lmdb_error,
};

/* Committing */

/* In key order: neighbours in the tree are written together. */
static int
commit_table(MDB_txn *txn, MDB_dbi dbi, const struct omap *map)
{
	const struct omap_item *it = omap_seek(map, SLICE_EMPTY, false);
	MDB_cursor *cursor = NULL;
	int rc;

	if (it == NULL)
		return 0;
	rc = mdb_cursor_open(txn, dbi, &cursor);
	for (; rc == 0 && it != NULL; it = omap_next(it)) {
		MDB_val key = val_of(it->key), value = val_of(it->value);

		if (!it->gone) {
			rc = mdb_cursor_put(cursor, &key, &value, 0);
			continue;
		}
		rc = mdb_cursor_get(cursor, &key, &value, MDB_SET);
		if (rc == 0)
			rc = mdb_cursor_del(cursor, 0);
		else if (rc == MDB_NOTFOUND)
			rc = 0;
	}
	if (cursor != NULL)
		mdb_cursor_close(cursor);
	return rc;
}

struct store_lmdb_commit *
store_lmdb_commit_begin(struct store *st)
{
	struct store_lmdb *sl = store_lmdb_of(st);
	size_t put = 0;

	if (sl->committing || store_lmdb_pending(st) == 0)
		return NULL;
	sl->committing = true;
	sl->commit = (struct store_lmdb_commit){ .st = sl,
		.refused = sl->err.code != 0 };
	if (sl->commit.refused)
		return &sl->commit;
	for (unsigned t = 0; t < STORE_TABLES; t++) {
		struct omap *empty = sl->flying[t];

		sl->flying[t] = sl->overlay[t];
		sl->overlay[t] = empty;
		put += omap_bytes(sl->flying[t]);
	}
	if (put > sl->commit_max)
		sl->commit_max = put;
	if (sl->compact != NULL)
		sl->compact->stop = true;
	return &sl->commit;
}

/*
 * LMDB says EIO of a write that was cut short, as it is on a full disk.  Ask
 * the file system for the room: its answer tells the two apart.
 */
static int
commit_probe(MDB_env *env)
{
	struct stat st;
	int fd = -1;

	if (mdb_env_get_fd(env, &fd) != 0 || fstat(fd, &st) < 0)
		return EIO;
	if (fallocate(fd, 0, st.st_size, PROBE_LEN) < 0)
		return errno == EOPNOTSUPP ? EIO : errno;
	return ftruncate(fd, st.st_size) < 0 ? errno : EIO;
}

void
store_lmdb_commit_run(struct store_lmdb_commit *c)
{
	struct store_lmdb *sl = c->st;
	MDB_txn *txn = NULL;

	if (c->refused)
		return;
	c->what = "begin commit";
	c->rc = mdb_txn_begin(sl->env, NULL, 0, &txn);
	for (unsigned t = 0; c->rc == 0 && t < STORE_TABLES; t++) {
		c->what = "write";
		c->rc = commit_table(txn, sl->dbi[t], sl->flying[t]);
	}
	if (c->rc == 0) {
		c->what = "commit";
		c->rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (txn != NULL)
		mdb_txn_abort(txn);
	if (c->rc == EIO)
		c->rc = commit_probe(sl->env);
}

/* Look at the newest committed state; the old one's pages may be reused. */
static void
renew_read(struct store_lmdb *sl)
{
	int rc;

	mdb_txn_reset(sl->read);
	rc = mdb_txn_renew(sl->read);
	for (unsigned t = 0; rc == 0 && t < STORE_TABLES; t++)
		rc = mdb_cursor_renew(sl->read, sl->cursor[t]);
	if (rc != 0)
		lmdb_fail(sl, rc, "renew reading");
}

/* What could not be written lies under what was put since. */
static void
put_back(struct store_lmdb *sl, enum store_table t)
{
	const struct omap_item *it;
	struct omap *old = sl->flying[t];

	for (it = omap_seek(sl->overlay[t], SLICE_EMPTY, false); it != NULL;
	     it = omap_next(it)) {
		if (it->gone)
			omap_put_gone(old, it->key);
		else
			omap_put(old, it->key, it->value);
	}
	sl->flying[t] = sl->overlay[t];
	sl->overlay[t] = old;
}

int
store_lmdb_commit_finish(struct store_lmdb_commit *c, struct err *err)
{
	struct store_lmdb *sl = c->st;
	struct err mine = { 0 };

	ASSERT(sl->committing);
	sl->committing = false;
	if (c->refused) {
		if (err != NULL)
			*err = sl->err;
		return sl->err.code;
	}
	if (c->rc != 0) {
		store_env_err(&mine, c->rc, c->what);
		for (enum store_table t = 0; t < STORE_TABLES; t++)
			put_back(sl, t);
	}
	for (unsigned t = 0; t < STORE_TABLES; t++)
		omap_clear(sl->flying[t]);
	if (c->rc == 0) {
		renew_read(sl);
		mine = sl->err;
	} else if (mine.code != ERR_FULL && mine.code != ERR_BUSY &&
		   sl->err.code == 0) {
		sl->err = mine;
	}
	if (err != NULL && mine.code != 0)
		*err = mine;
	return mine.code;
}

int
store_lmdb_commit(struct store *st, struct err *err)
{
	struct store_lmdb_commit *c = store_lmdb_commit_begin(st);

	if (c == NULL)
		return 0;
	store_lmdb_commit_run(c);
	return store_lmdb_commit_finish(c, err);
}

/* Opening */

static int
open_dir(struct store_lmdb *sl, struct err *err)
{
	if (mkdir(sl->dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make %s", sl->dir);
	sl->dir_fd = open(sl->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sl->dir_fd < 0)
		return err_sys(err, errno, "open %s", sl->dir);
	sl->lock_fd = store_env_lock(sl->dir_fd, sl->dir, err);
	if (sl->lock_fd < 0)
		return sl->lock_fd;
	if (faccessat(sl->dir_fd, "damaged", F_OK, 0) == 0)
		return err_set(err, ERR_CORRUPT, "damage was seen before");
	return 0;
}

int
store_lmdb_open(struct store **out, const char *dir, struct err *err)
{
	struct store_lmdb *sl = mem_zalloc(sizeof(*sl));
	int rc;

	*out = NULL;
	sl->base.ops = &store_lmdb_ops;
	sl->dir = mem_strdup(dir);
	sl->dir_fd = sl->lock_fd = -1;
	for (unsigned t = 0; t < STORE_TABLES; t++) {
		sl->overlay[t] = omap_new();
		sl->flying[t] = omap_new();
	}
	rc = open_dir(sl, err);
	if (rc == 0)
		rc = store_env_up(sl, err);
	if (rc < 0) {
		err_wrap(err, "store %s", dir);
		store_lmdb_close(&sl->base);
		return rc;
	}
	sl->dense_pages = store_env_pages(sl);
	sl->next_open = first_open;
	first_open = sl;
	*out = &sl->base;
	return 0;
}

static void
unlist(struct store_lmdb *sl)
{
	struct store_lmdb *at = first_open;

	if (at == sl) {
		first_open = sl->next_open;
		return;
	}
	for (; at != NULL; at = at->next_open) {
		if (at->next_open == sl)
			at->next_open = sl->next_open;
	}
}

void
store_lmdb_close(struct store *st)
{
	struct store_lmdb *sl;

	if (st == NULL)
		return;
	sl = store_lmdb_of(st);
	ASSERT(!sl->committing);
	if (sl->compact != NULL) {
		sl->compact->stop = true;
		sl->closing = true;
		return;
	}
	unlist(sl);
	store_env_down(sl);
	for (unsigned t = 0; t < STORE_TABLES; t++) {
		omap_free(sl->overlay[t]);
		omap_free(sl->flying[t]);
	}
	if (sl->lock_fd >= 0)
		close(sl->lock_fd);
	if (sl->dir_fd >= 0)
		close(sl->dir_fd);
	mem_free(sl->dir);
	mem_free(sl);
}

/* Memory */

void
store_lmdb_trim(struct store *st)
{
	const struct store_lmdb *sl = store_lmdb_of(st);
	size_t used = (size_t)store_lmdb_bytes(st);

	if (sl->map == NULL)
		return;
	if (used > sl->map_len)
		used = sl->map_len;
	madvise((void *)(uintptr_t)sl->map, used, MADV_DONTNEED);
}

void
store_lmdb_rest(struct store *st)
{
	struct store_lmdb *sl = store_lmdb_of(st);

	store_lmdb_trim(st);
	if (sl->commit_max < REST_FROM || sl->committing ||
	    sl->compact != NULL || sl->closing || sl->err.code != 0)
		return;
	store_env_down(sl);
	(void)store_env_up(sl, &sl->err);
}

uint64_t
store_lmdb_bytes(struct store *st)
{
	const struct store_lmdb *sl = store_lmdb_of(st);
	const size_t pages = store_env_pages(sl);
	MDB_stat stat;

	if (pages == 0 || mdb_env_stat(sl->env, &stat) != 0)
		return 0;
	return (uint64_t)pages * stat.ms_psize;
}

size_t
store_lmdb_held(const struct store *st)
{
	const struct store_lmdb *sl = lmdb_of_const(st);
	size_t sum = 0;

	for (unsigned t = 0; t < STORE_TABLES; t++)
		sum += omap_bytes(sl->overlay[t]) + omap_bytes(sl->flying[t]);
	return sum;
}

bool
store_lmdb_fault(const void *addr)
{
	const uint8_t *at = addr;

	for (struct store_lmdb *sl = first_open; sl != NULL;
	     sl = sl->next_open) {
		int fd;

		if (sl->map == NULL || at < sl->map ||
		    at >= sl->map + sl->map_len)
			continue;
		fd = openat(sl->dir_fd, "damaged",
		    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
		return true;
	}
	return false;
}
