/*
 * The store in memory: for the simulator and for unit tests.
 *
 * One map a table holds what is read; a journal remembers what each put and
 * remove replaced, so that a crash takes back what no commit has made durable.
 * It behaves as store_lmdb.h does: puts are seen at once, one commit is under
 * way at a time, and later puts belong to the next one.  Pure.
 */
#ifndef HOLDFAST_ENGINE_STORE_MEM_H
#define HOLDFAST_ENGINE_STORE_MEM_H

#include "engine/store.h"

struct store *store_mem_new(void);
void store_mem_free(struct store *st); /* accepts NULL */

/* Everything put so far is on its way to the disk. */
void store_mem_commit_begin(struct store *st);
/* It has arrived. */
void store_mem_commit_end(struct store *st);
/* It did not (full disk): it waits for the next commit with the rest. */
void store_mem_commit_fail(struct store *st);
bool store_mem_is_committing(const struct store *st);
/* Begin and end in one. */
void store_mem_commit(struct store *st);
/*
 * The power goes: what no finished commit holds is gone, that of a commit
 * under way too (call store_mem_commit_end() first when it is to survive).
 */
void store_mem_crash(struct store *st);
/* From now on store_error() says so, and reads find nothing. */
void store_mem_set_error(struct store *st, const struct err *err);

/* Keys of a table, and the bytes of its keys and values. */
size_t store_mem_count(const struct store *st, enum store_table t);
size_t store_mem_bytes(struct store *st, enum store_table t);

#endif
