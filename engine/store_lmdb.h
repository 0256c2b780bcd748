/*
 * The store on LMDB: one environment, in one directory, for one folder.
 *
 * Puts go to an ordered overlay in memory.  A commit takes the overlay aside
 * and writes it in one transaction on a worker thread, with LMDB's default
 * durability (data and meta page flushed); meanwhile reads look into the
 * overlay, then into what is under way, then into the last committed state.
 *
 *	put -> overlay --commit_begin--> flying --run, finish--> LMDB
 *	find, next, prev: overlay over flying over LMDB
 *
 * LMDB keeps no checksums and reads through a map: pages damaged on the disk
 * may end in a signal.  So store_lmdb_check() walks a store in a child process
 * before it is opened, and a handler of SIGBUS and SIGSEGV asks
 * store_lmdb_fault() whether the address is ours: then a mark is left, and the
 * next check and the next open answer ERR_CORRUPT.  What to do then (set
 * aside, rebuild) is the caller's.
 *
 * LMDB's file never shrinks: a storm of changes leaves it with as many free
 * pages as used ones, or more; and pages that were split are half full.
 * store_lmdb_compact_begin() gives back both.
 *
 * Thread: loop, but for the two _run() functions and store_lmdb_fault();
 * check and set_aside: any, while the store is closed.
 * Not for network file systems.  Layout: docs/formats.md.
 */
#ifndef HOLDFAST_ENGINE_STORE_LMDB_H
#define HOLDFAST_ENGINE_STORE_LMDB_H

#include "engine/store.h"

/*
 * Open the store in `dir`, made with mode 0700 when missing (not its parents);
 * store_lmdb_check() it before.  ERR_BUSY: another process, or this one, has
 * it open.  ERR_CORRUPT: damaged, see store_lmdb_set_aside().  ERR_FULL,
 * ERR_DENIED, ERR_IO.
 */
int store_lmdb_open(struct store **out, const char *dir, struct err *err);
/*
 * What was not committed is lost.  No commit may be under way.  While the file
 * is being compacted, closing ends with store_lmdb_compact_finish().
 * Accepts NULL.
 */
void store_lmdb_close(struct store *st);

/* A commit under way; one at a time. */
struct store_lmdb_commit;

/*
 * NULL when there is nothing to commit or a commit is under way already.  Of a
 * broken store _finish() gives the error.
 */
struct store_lmdb_commit *store_lmdb_commit_begin(struct store *st);
/* On any thread; returns when all is on the disk, or has failed. */
void store_lmdb_commit_run(struct store_lmdb_commit *commit);
/*
 * On the loop thread, after _run(); ends `commit`.  When it failed the state
 * on disk is that of the last commit, and what was to be written waits for
 * the next one.  ERR_FULL, ERR_BUSY: no space, or not now; try again.
 * ERR_CORRUPT, ERR_IO: store_error() is set, the folder stops.
 */
int store_lmdb_commit_finish(struct store_lmdb_commit *commit, struct err *err);
/* All three in a row; 0 when there is nothing to do. */
int store_lmdb_commit(struct store *st, struct err *err);

/* A new file without free pages, being written. */
struct store_lmdb_compact;

/*
 * NULL unless that is worth it: over a fifth of the file is free, and at least
 * 2 MiB; `at_rest`, after a burst of work: or it is half as large again as it
 * was when it was opened or last compacted.  To be called when no more commits
 * are expected: one that begins while the file is rewritten makes the work
 * vain, not wrong, and the next seconds give NULL.
 */
struct store_lmdb_compact *store_lmdb_compact_begin(struct store *st,
    bool at_rest);
/* On any thread. */
void store_lmdb_compact_run(struct store_lmdb_compact *compact);
/*
 * On the loop thread, after _run(); ends `compact`.  True when the store now
 * has the smaller file; false when it was left as it was.
 */
bool store_lmdb_compact_finish(struct store_lmdb_compact *compact);

/*
 * Is the store in `dir` whole, as far as `limit_ms` of reading tell?  Runs in
 * a child process.  0 (also when there is none yet), ERR_CORRUPT, ERR_BUSY
 * (open somewhere), ERR_IO.
 */
int store_lmdb_check(const char *dir, unsigned limit_ms, struct err *err);
/* Rename the closed store in `dir` to DIR.damaged-N, the first N free. */
int store_lmdb_set_aside(const char *dir, struct err *err);

/*
 * Delete the closed store in `dir`, or one that was set aside.  0, also when
 * there is none; ERR_BUSY: open somewhere; ERR_IO, ERR_DENIED.
 */
int store_lmdb_destroy(const char *dir, struct err *err);

/* Give back the resident pages of the map, after a long walk. */
void store_lmdb_trim(struct store *st);
/*
 * The same, and the pages LMDB keeps for the next commit as large as the
 * largest so far, by opening it anew; only after large ones.  Nothing that was
 * read may still be borrowed.
 */
void store_lmdb_rest(struct store *st);
/* Bytes of the file in use. */
uint64_t store_lmdb_bytes(struct store *st);
/* Memory of overlay and commit under way. */
size_t store_lmdb_held(const struct store *st);

/*
 * For a signal handler: is `addr` in the map of an open store?  Then leave a
 * mark in its directory and say true: end the process.  Async-signal-safe.
 */
bool store_lmdb_fault(const void *addr);

#endif
