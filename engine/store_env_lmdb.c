/*
 * LMDB's environment: opened, locked, found in memory, closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/store_lmdb_impl.h"

#if SIZE_MAX > UINT32_MAX
#define MAP_LEN ((size_t)(64 * GIB))
#else
#define MAP_LEN ((size_t)GIB)
#endif

const char *const store_env_tables_name[STORE_TABLES] = { "meta", "row", "seq",
	"need", "block", "list", "intent" };

uint64_t
store_env_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

enum err_code
store_env_code(int rc)
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

int
store_env_err(struct err *err, int rc, const char *what)
{
	const enum err_code code = store_env_code(rc);

	err_set(err, code, "%s: %s", what, mdb_strerror(rc));
	if (err != NULL && rc > 0)
		err->sys = rc;
	return code;
}

int
store_env_lock(int dir_fd, const char *dir, struct err *err)
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
int
store_env_open(const char *dir, unsigned flags, MDB_env **out)
{
	size_t map_len = MAP_LEN;
	int rc;

	do {
		rc = env_open_len(dir, flags, map_len, out);
		map_len /= 2;
	} while (rc == ENOMEM && map_len >= GIB);
	return rc;
}

int
store_env_tables(MDB_txn *txn, unsigned flags, MDB_dbi *dbi)
{
	int rc = 0;

	for (unsigned t = 0; rc == 0 && t < STORE_TABLES; t++)
		rc =
		    mdb_dbi_open(txn, store_env_tables_name[t], flags, &dbi[t]);
	return rc;
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

int
store_env_up(struct store_lmdb *sl, struct err *err)
{
	MDB_txn *txn = NULL;
	int rc;

	rc = store_env_open(sl->dir, 0, &sl->env);
	if (rc == 0) {
		mdb_env_set_userctx(sl->env, sl);
		mdb_env_set_assert(sl->env, on_lmdb_assert);
		rc = mdb_txn_begin(sl->env, NULL, 0, &txn);
	}
	if (rc == 0)
		rc = store_env_tables(txn, MDB_CREATE, sl->dbi);
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
	if (rc != 0)
		return store_env_err(err, rc, "open LMDB");
	find_map(sl);
	return 0;
}

size_t
store_env_pages(const struct store_lmdb *sl)
{
	MDB_envinfo info;

	if (sl->env == NULL || mdb_env_info(sl->env, &info) != 0)
		return 0;
	return info.me_last_pgno + 1;
}

void
store_env_down(struct store_lmdb *sl)
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
