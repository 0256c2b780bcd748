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
#include "engine/store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/omap.h"
#include "engine/schema.h"

#if SIZE_MAX > UINT32_MAX
#define MAP_LEN ((size_t)(64 * GIB))
#else
#define MAP_LEN ((size_t)GIB)
#endif

#define CHECK_CLEAN_MS 250u /* the last process closed the store */
#define CHECK_UNCLEAN_MS 1000u
#define CHECK_STUCK_S 20u      /* a damaged page may lead in a circle */
#define COMPACT_PAGES 512u     /* free ones, at least */
#define COMPACT_PAUSE_MS 5000u /* after one in vain */
#define COMPACT_BATCH 16384u   /* records in a transaction */
#define ASIDE_MAX 1000u
#define PROBE_LEN (256 * (off_t)KIB)
#define REST_FROM (4 * MIB) /* bytes in one commit */

static const char *const table_names[STORE_TABLES] = { "meta", "row", "seq",
	"need", "block", "list", "intent" };

struct store_lmdb_commit {
	struct store_lmdb *st;
	bool refused; /* the store is broken: nothing is written */
	int rc;       /* LMDB's or errno */
	const char *what;
};

struct store_lmdb_compact {
	struct store_lmdb *st;
	char *dir;        /* of the new file; owned */
	size_t txn_id;    /* of the state that was copied */
	atomic_bool stop; /* set by the loop: it is in vain */
	int rc;
};

struct store_lmdb {
	struct store base; /* first */
	char *dir;
	int dir_fd, lock_fd;
	MDB_env *env;
	MDB_dbi dbi[STORE_TABLES];
	MDB_txn *read;
	MDB_cursor *cursor[STORE_TABLES];
	struct omap *overlay[STORE_TABLES];
	struct omap *flying[STORE_TABLES];
	struct store_lmdb_commit commit;
	bool committing;
	size_t commit_max; /* bytes put by the largest since the env is open */
	struct store_lmdb_compact *compact; /* under way, or NULL */
	uint64_t compact_after_ms; /* not before: the last one was in vain */
	bool closing;              /* closed, but for `compact` */
	struct err err;            /* code 0: sound */
	const uint8_t *map;
	size_t map_len;
	struct store_lmdb *next_open;
};

/*
 * The open stores, for store_lmdb_fault(): a signal handler has no argument.
 * Changed by the loop thread only.
 */
static struct store_lmdb *volatile first_open;

static struct store_lmdb *
lmdb_of(struct store *st)
{
	return (struct store_lmdb *)(void *)st;
}

static const struct store_lmdb *
lmdb_of_const(const struct store *st)
{
	return (const struct store_lmdb *)(const void *)st;
}

static uint64_t
monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Errors */

static enum err_code
code_of(int rc)
{
	switch (rc) {
	case MDB_MAP_FULL:
	case EFBIG: /* a limit on file sizes, ours or the file system's */
		return ERR_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_NOTFOUND:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_DBI:
	case MDB_CURSOR_FULL:
	case MDB_PAGE_FULL:
		return ERR_CORRUPT;
	default:
		return rc > 0 ? err_from_errno(rc) : ERR_IO;
	}
}

static int
lmdb_err(struct err *err, int rc, const char *what)
{
	const enum err_code code = code_of(rc);

	err_set(err, code, "%s: %s", what, mdb_strerror(rc));
	if (err != NULL && rc > 0)
		err->sys = rc;
	return code;
}

static void
lmdb_fail(struct store_lmdb *sl, int rc, const char *what)
{
	if (sl->err.code == 0)
		lmdb_err(&sl->err, rc, what);
}

/* Reading */

static MDB_val
val_of(struct slice s)
{
	return (MDB_val){ .mv_size = s.len, .mv_data = (void *)s.ptr };
}

static struct slice
slice_of_val(const MDB_val *v)
{
	return slice_of(v->mv_data, v->mv_size);
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
	if (after && slice_equal(slice_of_val(&m->key), key))
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
	struct store_lmdb *sl = lmdb_of(st);
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
	give(key, slice_of_val(&m.value), NULL, value, arena);
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
	*db = (struct omap_item){ .key = slice_of_val(&m->key),
		.value = slice_of_val(&m->value) };
	if (best == NULL || slice_cmp(db->key, best->key) * direction < 0)
		return db;
	return best;
}

static bool
store_lmdb_next(struct store *st, enum store_table t, struct slice key,
    bool after, struct slice *out_key, struct slice *out_value,
    struct arena *arena)
{
	struct store_lmdb *sl = lmdb_of(st);
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
		if (m.has_db && slice_equal(slice_of_val(&m.key), at))
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
	struct store_lmdb *sl = lmdb_of(st);
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
		if (m.has_db && slice_equal(slice_of_val(&m.key), at))
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
	omap_put(lmdb_of(st)->overlay[t], key, value);
}

static void
store_lmdb_remove(struct store *st, enum store_table t, struct slice key)
{
	ASSERT(key.len > 0 && key.len <= LIMIT_KEY_LEN);
	omap_put_gone(lmdb_of(st)->overlay[t], key);
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
	struct store_lmdb *sl = lmdb_of(st);
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
		lmdb_err(&mine, c->rc, c->what);
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

/* LMDB found its own structure broken and is about to abort. */
static void
on_lmdb_assert(MDB_env *env, const char *msg)
{
	struct store_lmdb *sl = mdb_env_get_userctx(env);

	(void)msg;
	if (sl != NULL && sl->map != NULL)
		store_lmdb_fault(sl->map);
	abort();
}

static int
env_open_len(const char *dir, unsigned flags, size_t map_len, MDB_env **out)
{
	MDB_env *env = NULL;
	int rc;

	rc = mdb_env_create(&env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, STORE_TABLES);
	if (rc == 0)
		rc = mdb_env_set_mapsize(env, map_len);
	if (rc == 0)
		rc = mdb_env_open(env, dir, flags | MDB_NOTLS, 0600);
	if (rc != 0 && env != NULL) {
		mdb_env_close(env);
		env = NULL;
	}
	*out = env;
	return rc;
}

/* A smaller map where addresses are scarce: a limit, an emulator. */
static int
env_open(const char *dir, unsigned flags, MDB_env **out)
{
	size_t map_len = MAP_LEN;
	int rc;

	do {
		rc = env_open_len(dir, flags, map_len, out);
		map_len /= 2;
	} while (rc == ENOMEM && map_len >= GIB);
	return rc;
}

static int
open_tables(MDB_txn *txn, unsigned flags, MDB_dbi *dbi)
{
	int rc = 0;

	for (unsigned t = 0; rc == 0 && t < STORE_TABLES; t++)
		rc = mdb_dbi_open(txn, table_names[t], flags, &dbi[t]);
	return rc;
}

static int
open_env(struct store_lmdb *sl, struct err *err)
{
	MDB_txn *txn = NULL;
	int rc;

	rc = env_open(sl->dir, 0, &sl->env);
	if (rc == 0) {
		mdb_env_set_userctx(sl->env, sl);
		mdb_env_set_assert(sl->env, on_lmdb_assert);
		rc = mdb_txn_begin(sl->env, NULL, 0, &txn);
	}
	if (rc == 0)
		rc = open_tables(txn, MDB_CREATE, sl->dbi);
	if (rc == 0) {
		rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (txn != NULL)
		mdb_txn_abort(txn);
	if (rc == 0)
		rc = mdb_txn_begin(sl->env, NULL, MDB_RDONLY, &sl->read);
	for (unsigned t = 0; rc == 0 && t < STORE_TABLES; t++)
		rc = mdb_cursor_open(sl->read, sl->dbi[t], &sl->cursor[t]);
	return rc == 0 ? 0 : lmdb_err(err, rc, "open LMDB");
}

/* Where the file is mapped: LMDB does not tell. */
static void
find_map(struct store_lmdb *sl)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	struct stat st;
	char line[512];

	if (maps == NULL)
		return;
	if (fstatat(sl->dir_fd, "data.mdb", &st, 0) == 0) {
		while (fgets(line, sizeof(line), maps) != NULL) {
			uintptr_t from, to;
			unsigned major, minor;
			uint64_t ino;

			if (sscanf(line,
				"%" SCNxPTR "-%" SCNxPTR
				" %*s %*s %x:%x %" SCNu64,
				&from, &to, &major, &minor, &ino) != 5 ||
			    ino != st.st_ino ||
			    makedev(major, minor) != st.st_dev)
				continue;
			sl->map = (const uint8_t *)from;
			sl->map_len = to - from;
			break;
		}
	}
	fclose(maps);
}

/* Take the lock of `dir`; its descriptor, or an error. */
static int
lock_dir(int dir_fd, const char *dir, struct err *err)
{
	const int fd =
	    openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc;

	if (fd < 0)
		return err_sys(err, errno, "open lock");
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	if (errno == EWOULDBLOCK)
		rc = err_set(err, ERR_BUSY, "%s is in use", dir);
	else
		rc = err_sys(err, errno, "lock %s", dir);
	close(fd);
	return rc;
}

static int
open_dir(struct store_lmdb *sl, struct err *err)
{
	if (mkdir(sl->dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make %s", sl->dir);
	sl->dir_fd = open(sl->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sl->dir_fd < 0)
		return err_sys(err, errno, "open %s", sl->dir);
	sl->lock_fd = lock_dir(sl->dir_fd, sl->dir, err);
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
		rc = open_env(sl, err);
	if (rc < 0) {
		err_wrap(err, "store %s", dir);
		store_lmdb_close(&sl->base);
		return rc;
	}
	find_map(sl);
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

static void
close_env(struct store_lmdb *sl)
{
	sl->commit_max = 0;
	for (unsigned t = 0; t < STORE_TABLES; t++) {
		if (sl->cursor[t] != NULL)
			mdb_cursor_close(sl->cursor[t]);
		sl->cursor[t] = NULL;
	}
	if (sl->read != NULL)
		mdb_txn_abort(sl->read);
	sl->read = NULL;
	if (sl->env != NULL)
		mdb_env_close(sl->env);
	sl->env = NULL;
	sl->map = NULL;
}

void
store_lmdb_close(struct store *st)
{
	struct store_lmdb *sl;

	if (st == NULL)
		return;
	sl = lmdb_of(st);
	ASSERT(!sl->committing);
	if (sl->compact != NULL) {
		sl->compact->stop = true;
		sl->closing = true;
		return;
	}
	unlist(sl);
	close_env(sl);
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

/* Compacting */

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

struct store_lmdb_compact *
store_lmdb_compact_begin(struct store *st)
{
	struct store_lmdb *sl = lmdb_of(st);
	struct store_lmdb_compact *c;
	MDB_envinfo info;
	size_t unused;

	if (sl->compact != NULL || sl->committing || sl->err.code != 0 ||
	    monotonic_ms() < sl->compact_after_ms ||
	    store_lmdb_pending(st) > 0 || mdb_env_info(sl->env, &info) != 0)
		return NULL;
	unused = free_pages(sl->read);
	if (unused < COMPACT_PAGES || unused < info.me_last_pgno / 5)
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
		rc = mdb_dbi_open(txn, table_names[t], MDB_CREATE, &dbi);
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
		c->rc = env_open(c->dir, MDB_NOSYNC | MDB_NOLOCK, &env);
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
	close_env(sl);
	swapped = renameat(sl->dir_fd, "compact/data.mdb", sl->dir_fd,
		      "data.mdb") == 0;
	if (swapped)
		fsync(sl->dir_fd);
	if (open_env(sl, &sl->err) == 0)
		find_map(sl);
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
		sl->compact_after_ms = monotonic_ms() + COMPACT_PAUSE_MS;
	if (sl->closing)
		store_lmdb_close(&sl->base);
	free(c->dir);
	mem_free(c);
	return swapped;
}

/* Checking, in a child process */

static bool
check_record(enum store_table t, struct slice key, struct slice value,
    struct arena *arena)
{
	struct slice body;
	uint64_t n;
	uint32_t block;

	switch (t) {
	case STORE_META:
	case STORE_LIST:
	case STORE_INTENT:
		return schema_unseal(key, value, &body, NULL) == 0;
	case STORE_ROW:
		return schema_row_is_sound(key, value, arena);
	case STORE_SEQ:
		return schema_u64_of_key(key, &n) && value.len > 0 &&
		       value.len <= LIMIT_KEY_LEN;
	case STORE_NEED:
		return value.len == 1;
	case STORE_BLOCK:
		return schema_block_of_key(key, &n, &block) && value.len == 0;
	case STORE_TABLES:
		break;
	}
	return false;
}

/* 0, MDB_CORRUPTED, or what LMDB says. */
static int
check_table(MDB_txn *txn, MDB_dbi dbi, enum store_table t, uint64_t until_ms)
{
	struct arena arena = { 0 };
	MDB_cursor *cursor;
	MDB_val key, value;
	unsigned count = 0;
	int rc;

	rc = mdb_cursor_open(txn, dbi, &cursor);
	while (rc == 0) {
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc == 0 && !check_record(t, slice_of_val(&key),
				   slice_of_val(&value), &arena))
			rc = MDB_CORRUPTED;
		if (++count % 256 == 0 && monotonic_ms() > until_ms)
			return 0;
	}
	return rc;
}

static int
check_walk(const char *dir, uint64_t until_ms)
{
	/* What a start reads first comes first. */
	static const enum store_table order[STORE_TABLES] = { STORE_META,
		STORE_INTENT, STORE_NEED, STORE_LIST, STORE_ROW, STORE_SEQ,
		STORE_BLOCK };
	MDB_dbi dbi[STORE_TABLES];
	MDB_env *env;
	MDB_txn *txn = NULL;
	int rc;

	rc = env_open(dir, MDB_RDONLY | MDB_NOLOCK, &env);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (rc == 0) {
		rc = open_tables(txn, 0, dbi);
		/* A store that was made and never came to its tables. */
		if (rc == MDB_NOTFOUND)
			return 0;
	}
	for (unsigned i = 0; rc == 0 && i < STORE_TABLES; i++)
		rc = check_table(txn, dbi[order[i]], order[i], until_ms);
	return rc;
}

_Noreturn static void
check_child(const char *dir, unsigned limit_ms)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGALRM };
	const struct rlimit no_core = { 0, 0 };
	int rc;

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
	/* Locks and sockets of the parent are not ours to keep open. */
	close_range(STDERR_FILENO + 1, ~0u, 0);
	alarm(CHECK_STUCK_S);
	rc = check_walk(dir, monotonic_ms() + limit_ms);
	_exit(rc == 0 ? 0 : code_of(rc) == ERR_CORRUPT ? 1 : 2);
}

static int
check_in_child(const char *dir, unsigned limit_ms, struct err *err)
{
	int status = 0;
	const pid_t child = fork();

	if (child < 0)
		return err_sys(err, errno, "fork");
	if (child == 0)
		check_child(dir, limit_ms);
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return err_sys(err, errno, "wait for check");
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		return err_set(err, ERR_IO, "store cannot be read");
	if (WIFSIGNALED(status))
		return err_set(err, ERR_CORRUPT,
		    "reading the store ends in signal %d", WTERMSIG(status));
	return err_set(err, ERR_CORRUPT, "store is damaged");
}

int
store_lmdb_check(const char *dir, unsigned limit_ms, struct err *err)
{
	const int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int lock_fd = -1;
	int rc = 0;

	if (dir_fd < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, errno, "open %s", dir);
	lock_fd = lock_dir(dir_fd, dir, err);
	if (lock_fd < 0)
		rc = lock_fd;
	else if (faccessat(dir_fd, "damaged", F_OK, 0) == 0)
		rc = err_set(err, ERR_CORRUPT, "damage was seen before");
	else if (fstatat(dir_fd, "data.mdb", &st, 0) < 0)
		rc = errno == ENOENT ? 0 : err_sys(err, errno, "data.mdb");
	else if (st.st_size > 0)
		rc = check_in_child(dir, limit_ms, err);
	if (lock_fd >= 0)
		close(lock_fd);
	close(dir_fd);
	if (rc < 0)
		err_wrap(err, "store %s", dir);
	return rc;
}

int
store_lmdb_set_aside(const char *dir, struct err *err)
{
	for (unsigned n = 1; n <= ASIDE_MAX; n++) {
		char *to = NULL;
		struct stat st;
		int rc = 0;

		if (asprintf(&to, "%s.damaged-%u", dir, n) < 0)
			return err_sys(err, ENOMEM, "set aside");
		if (lstat(to, &st) == 0) {
			free(to);
			continue;
		}
		if (rename(dir, to) < 0)
			rc = err_sys(err, errno, "rename %s to %s", dir, to);
		free(to);
		return rc;
	}
	return err_set(err, ERR_LIMIT, "%u damaged stores already", ASIDE_MAX);
}

static void
remove_files(int dir_fd)
{
	const int compact = openat(dir_fd, "compact",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (compact >= 0) {
		unlinkat(compact, "data.mdb", 0);
		close(compact);
		unlinkat(dir_fd, "compact", AT_REMOVEDIR);
	}
	unlinkat(dir_fd, "data.mdb", 0);
	unlinkat(dir_fd, "damaged", 0);
	unlinkat(dir_fd, "lock.mdb", 0);
	unlinkat(dir_fd, "lock", 0); /* nobody else has it */
}

int
store_lmdb_destroy(const char *dir, struct err *err)
{
	const int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int lock_fd, rc = 0;

	if (dir_fd < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, errno, "open %s", dir);
	lock_fd = lock_dir(dir_fd, dir, err);
	if (lock_fd < 0) {
		close(dir_fd);
		return lock_fd;
	}
	remove_files(dir_fd);
	if (rmdir(dir) < 0)
		rc = err_sys(err, errno, "remove %s", dir);
	close(lock_fd);
	close(dir_fd);
	return rc;
}

/* Memory */

void
store_lmdb_trim(struct store *st)
{
	const struct store_lmdb *sl = lmdb_of(st);
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
	struct store_lmdb *sl = lmdb_of(st);

	store_lmdb_trim(st);
	if (sl->commit_max < REST_FROM || sl->committing ||
	    sl->compact != NULL || sl->closing || sl->err.code != 0)
		return;
	close_env(sl);
	if (open_env(sl, &sl->err) == 0)
		find_map(sl);
}

uint64_t
store_lmdb_bytes(struct store *st)
{
	MDB_envinfo info;
	MDB_stat stat;

	if (mdb_env_info(lmdb_of(st)->env, &info) != 0 ||
	    mdb_env_stat(lmdb_of(st)->env, &stat) != 0)
		return 0;
	return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
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
