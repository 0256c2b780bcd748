/*
 * Is a store sound?  Asked in a child process, because LMDB may crash on one
 * that is not.  And what is done with one that is not, or with one too many.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/arena.h"
#include "engine/base/limits.h"
#include "engine/schema.h"
#include "engine/store_lmdb_impl.h"

#define CHECK_STUCK_S 20u /* a damaged page may lead in a circle */
#define ASIDE_MAX 1000u

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
		if (rc == 0 && !check_record(t, store_slice_of_val(&key),
				   store_slice_of_val(&value), &arena))
			rc = MDB_CORRUPTED;
		if (++count % 256 == 0 && store_env_now_ms() > until_ms)
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

	rc = store_env_open(dir, MDB_RDONLY | MDB_NOLOCK, &env);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (rc == 0) {
		rc = store_env_tables(txn, 0, dbi);
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
	rc = check_walk(dir, store_env_now_ms() + limit_ms);
	_exit(rc == 0 ? 0 : store_env_code(rc) == ERR_CORRUPT ? 1 : 2);
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
	lock_fd = store_env_lock(dir_fd, dir, err);
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
	lock_fd = store_env_lock(dir_fd, dir, err);
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
