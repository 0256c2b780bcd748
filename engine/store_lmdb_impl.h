/*
 * The inside of the store on LMDB: shared by store_lmdb.c (reading, writing),
 * store_env_lmdb.c (LMDB's environment), store_check_lmdb.c and
 * store_compact_lmdb.c, nobody else's.  Threads as in store_lmdb.c.
 */
#ifndef HOLDFAST_ENGINE_STORE_LMDB_IMPL_H
#define HOLDFAST_ENGINE_STORE_LMDB_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lmdb.h>

#include "engine/base/err.h"
#include "engine/base/omap.h"
#include "engine/store_lmdb.h"

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
	size_t dense_pages;        /* of the file when opened or compacted */
	bool closing;              /* closed, but for `compact` */
	struct err err;            /* code 0: sound */
	const uint8_t *map;
	size_t map_len;
	struct store_lmdb *next_open;
};

static inline struct store_lmdb *
store_lmdb_of(struct store *st)
{
	return (struct store_lmdb *)(void *)st;
}

static inline struct slice
store_slice_of_val(const MDB_val *v)
{
	return slice_of(v->mv_data, v->mv_size);
}

/* --- store_env_lmdb.c --- */

extern const char *const store_env_tables_name[STORE_TABLES];

uint64_t store_env_now_ms(void);
/* What a result of LMDB, or errno, is to us. */
enum err_code store_env_code(int rc);
int store_env_err(struct err *err, int rc, const char *what);
/* An environment with nobody's tables; 0, LMDB's or errno. */
int store_env_open(const char *dir, unsigned flags, MDB_env **out);
int store_env_tables(MDB_txn *txn, unsigned flags, MDB_dbi *dbi);
/* Take the lock of `dir`; its descriptor, or an error. */
int store_env_lock(int dir_fd, const char *dir, struct err *err);
/* The environment of a store, with its tables and its read transaction. */
int store_env_up(struct store_lmdb *sl, struct err *err);
void store_env_down(struct store_lmdb *sl);
/* Pages of the file up to the last that was ever used; 0: no environment. */
size_t store_env_pages(const struct store_lmdb *sl);

#endif
