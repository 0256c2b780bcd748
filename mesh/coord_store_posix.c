/*
 * The coordinator's disk; see coord_store_posix.h.
 *
 * A domain's log is HEX.log: a magic, then records of length (32 bits),
 * number (64), the entry, and XXH3 of these three; all big-endian.
 */
#include "mesh/coord_store_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/ascii.h"
#include "engine/base/buf.h"
#include "engine/base/hash.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define STORE_MAGIC SLICE_LIT("HoldLog1")
#define STORE_NAME_LEN (64 + 4) /* HEX.log */
#define STORE_HEAD_LEN 12u
#define STORE_SUM_LEN 8u
#define STORE_FILE_MAX (LIMIT_COORD_LOG_LEN * 2)
#define STORE_AUDIT "audit.log"
#define STORE_AUDIT_OLD "audit.log.1"
#define STORE_AUDIT_MAX (16 * MIB) /* then it is put away, and the old goes */

struct coord_store {
	int dir;
	int fd; /* the log written to last, and not flushed; or -1 */
	struct coord_id domain;       /* whose it is */
	struct coord_store_late late; /* those written to before it */
	bool is_new;                  /* there is a log that the directory's
					 own flush has to follow */
	int audit;                    /* the log, at its end */
	size_t audit_len;
	struct coord_audit at;
	const struct log *log;
};

/* --- files ------------------------------------------------------------ */

static int
store_read(int fd, size_t max, struct buf *out, struct err *err)
{
	ssize_t n = 1;

	while (n > 0) {
		if (out->len > max)
			return err_set(err, ERR_LIMIT, "it is too long");
		buf_reserve(out, 64 * KIB);
		n = read(fd, out->ptr + out->len, 64 * KIB);
		if (n < 0 && errno == EINTR)
			n = 1;
		else
			out->len += n > 0 ? (size_t)n : 0;
	}
	return n < 0 ? err_sys(err, errno, "read") : 0;
}

static int
store_write(int fd, struct slice s, struct err *err)
{
	while (s.len > 0) {
		const ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(err, errno, "write");
		s = slice_from(s, (size_t)n);
	}
	return 0;
}

static void
store_name(const struct coord_id *id, char out[STORE_NAME_LEN + 1])
{
	for (size_t i = 0; i < sizeof(id->b); i++)
		snprintf(out + 2 * i, 3, "%02x", id->b[i]);
	memcpy(out + 64, ".log", 5);
}

static bool
store_parse_name(const char *name, struct coord_id *out)
{
	if (strlen(name) != STORE_NAME_LEN || strcmp(name + 64, ".log") != 0)
		return false;
	for (size_t i = 0; i < sizeof(out->b); i++) {
		const int hi = ascii_hex((uint8_t)name[2 * i]);
		const int lo = ascii_hex((uint8_t)name[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out->b[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

/* --- entries ---------------------------------------------------------- */

static void
store_encode(uint64_t seq, struct slice entry, struct buf *out)
{
	const size_t at = out->len;

	buf_put_u32be(out, (uint32_t)entry.len);
	buf_put_u64be(out, seq);
	buf_put(out, entry);
	buf_put_u64be(out, hash_u64(slice_of(out->ptr + at, out->len - at)));
}

/* One record from the front; its length, or 0 when it is not whole. */
static size_t
store_decode(struct slice in, uint64_t *seq, struct slice *entry)
{
	struct reader r;
	uint32_t len;

	reader_init(&r, in);
	len = reader_u32be(&r);
	*seq = reader_u64be(&r);
	if (!reader_ok(&r) || len > COORD_ENTRY_MAX)
		return 0;
	*entry = reader_bytes(&r, len);
	if (reader_u64be(&r) !=
		hash_u64(slice_to(in, in.len < STORE_HEAD_LEN + len
					  ? 0
					  : STORE_HEAD_LEN + len)) ||
	    !reader_ok(&r))
		return 0;
	return STORE_HEAD_LEN + len + STORE_SUM_LEN;
}

/* Everything that is good of one log; what follows is cut off. */
static int
store_load(struct coord_store *st, const char *name, const struct coord_id *id,
    coord_store_entry_fn *on_entry, void *arg, struct err *err)
{
	const struct slice magic = STORE_MAGIC;
	const int fd =
	    openat(st->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	struct err why = { 0 };
	struct buf in = { 0 };
	struct slice entry;
	uint64_t seq = 0;
	size_t at = magic.len, n = 1;
	int rc;

	if (fd < 0)
		return err_sys(err, errno, "open %s", name);
	rc = store_read(fd, STORE_FILE_MAX, &in, err);
	if (rc == 0 && !slice_has_prefix(buf_slice(&in), magic))
		at = 0;
	while (rc == 0 && at > 0 && at < in.len && n > 0) {
		n = store_decode(slice_from(buf_slice(&in), at), &seq, &entry);
		if (n > 0 && on_entry(arg, id, seq, entry, &why) < 0)
			n = 0;
		at += n;
	}
	if (rc == 0 && at < in.len) {
		log_warn(st->log,
		    "coord cut file=%s from=%zu bytes=%zu reason=\"%s\"", name,
		    at, in.len - at, why.text);
		if (ftruncate(fd, (off_t)at) < 0)
			rc = err_sys(err, errno, "cut %s", name);
	}
	buf_fini(&in);
	close(fd);
	return rc;
}

static int
store_load_all(struct coord_store *st, coord_store_entry_fn *on_entry,
    void *arg, struct err *err)
{
	const int fd = openat(st->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	struct coord_id id;
	int rc = 0;

	if (dir == NULL) {
		rc = err_sys(err, errno, "list");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == 0 && (de = readdir(dir)) != NULL)
		if (store_parse_name(de->d_name, &id))
			rc =
			    store_load(st, de->d_name, &id, on_entry, arg, err);
	closedir(dir);
	return rc;
}

bool
coord_store_is_late(const struct coord_store *st)
{
	return st->fd >= 0 || st->late.count > 0;
}

void
coord_store_take_late(struct coord_store *st, struct coord_store_late *out)
{
	int dir;

	*out = st->late;
	st->late = (struct coord_store_late){ 0 };
	if (st->fd >= 0)
		out->fd[out->count++] = st->fd;
	st->fd = -1;
	if (!st->is_new)
		return;
	dir = fcntl(st->dir, F_DUPFD_CLOEXEC, 0);
	if (dir < 0)
		return; /* next time */
	out->fd[out->count++] = dir;
	out->has_dir = true;
	st->is_new = false;
}

int
coord_store_sync(struct coord_store_late *late, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < late->count; i++) {
		const bool is_dir = late->has_dir && i == late->count - 1;

		if ((is_dir ? fsync(late->fd[i]) : fdatasync(late->fd[i])) < 0)
			rc = err_sys(err, errno, "flush a log");
		close(late->fd[i]);
	}
	*late = (struct coord_store_late){ 0 };
	return rc;
}

int
coord_store_flush(struct coord_store *st, struct err *err)
{
	struct coord_store_late late;

	coord_store_take_late(st, &late);
	return coord_store_sync(&late, err);
}

/* The one that is open gives way; two places stay, for it and the directory. */
static int
store_put_late(struct coord_store *st, struct err *err)
{
	if (st->fd < 0)
		return 0;
	if (st->late.count + 2 >= LIMIT_COORD_UNFLUSHED)
		return coord_store_flush(st, err);
	st->late.fd[st->late.count++] = st->fd;
	st->fd = -1;
	return 0;
}

/* The log of a domain, at its end. */
static int
store_open_log(struct coord_store *st, const struct coord_id *domain,
    struct err *err)
{
	char name[STORE_NAME_LEN + 1];
	int rc;

	if (st->fd >= 0 && memcmp(&st->domain, domain, sizeof(*domain)) == 0)
		return 0;
	rc = store_put_late(st, err);
	if (rc < 0)
		return rc;
	store_name(domain, name);
	st->domain = *domain;
	st->fd = openat(st->dir, name,
	    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
	    0600);
	return st->fd < 0 ? err_sys(err, errno, "open %s", name) : 0;
}

int
coord_store_keep(struct coord_store *st, const struct coord_id *domain,
    uint64_t seq, struct slice entry, struct err *err)
{
	struct buf out = { 0 };
	struct stat sb;
	int rc = store_open_log(st, domain, err);

	if (rc < 0)
		return rc;
	if (fstat(st->fd, &sb) < 0)
		return err_sys(err, errno, "look at a log");
	if (sb.st_size == 0) {
		buf_put(&out, STORE_MAGIC);
		st->is_new = true;
	}
	store_encode(seq, entry, &out);
	rc = store_write(st->fd, buf_slice(&out), err);
	/* Half a record in the middle would hide all that comes after. */
	if (rc < 0 && ftruncate(st->fd, sb.st_size) < 0)
		log_error(st->log, "coord: a log cannot be mended");
	buf_fini(&out);
	return rc;
}

/* --- the audit log ---------------------------------------------------- */

static int
store_open_audit(struct coord_store *st, struct err *err)
{
	struct buf in = { 0 };
	struct slice rest;
	int rc;

	st->audit = openat(st->dir, STORE_AUDIT,
	    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
	    0600);
	if (st->audit < 0)
		return err_sys(err, errno, "open " STORE_AUDIT);
	rc = store_read(st->audit, STORE_AUDIT_MAX + MIB, &in, err);
	st->audit_len = coord_audit_whole(buf_slice(&in));
	if (rc == 0 && st->audit_len < in.len &&
	    ftruncate(st->audit, (off_t)st->audit_len) < 0)
		rc = err_sys(err, errno, "mend " STORE_AUDIT);
	rest = slice_to(buf_slice(&in), st->audit_len);
	while (rc == 0 && rest.len > 0) {
		const size_t n = slice_find(rest, '\n');
		struct err why = { 0 };

		/* It is not mended: who looks shall see that it was broken. */
		if (coord_audit_check(&st->at, slice_to(rest, n), &why) < 0) {
			log_error(st->log, "coord audit broken: %s", why.text);
			st->at = (struct coord_audit){ .n = st->at.n };
		}
		rest = slice_from(rest, n + 1);
	}
	buf_fini(&in);
	return rc;
}

static int
store_turn_audit(struct coord_store *st, struct err *err)
{
	if (st->audit_len < STORE_AUDIT_MAX)
		return 0;
	if (renameat(st->dir, STORE_AUDIT, st->dir, STORE_AUDIT_OLD) < 0)
		return err_sys(err, errno, "put away " STORE_AUDIT);
	close(st->audit);
	st->audit_len = 0;
	st->audit = openat(st->dir, STORE_AUDIT,
	    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
	    0600);
	return st->audit < 0 ? err_sys(err, errno, "open " STORE_AUDIT) : 0;
}

int
coord_store_note(struct coord_store *st, const struct coord_audit_note *note,
    struct err *err)
{
	const struct coord_audit before = st->at;
	struct buf out = { 0 };
	int rc = store_turn_audit(st, err);

	coord_audit_put(&st->at, note, &out);
	if (rc == 0)
		rc = store_write(st->audit, buf_slice(&out), err);
	if (rc == 0) {
		st->audit_len += out.len;
	} else {
		st->at = before;
		if (st->audit >= 0 &&
		    ftruncate(st->audit, (off_t)st->audit_len) < 0)
			log_error(st->log, "coord: cannot mend " STORE_AUDIT);
	}
	buf_fini(&out);
	return rc;
}

/* --- opening and closing ---------------------------------------------- */

int
coord_store_open(struct coord_store **out, const char *dir,
    coord_store_entry_fn *on_entry, void *arg, const struct log *log,
    struct err *err)
{
	struct coord_store *st = mem_zalloc(sizeof(*st));
	int rc = 0;

	*out = NULL;
	st->audit = st->fd = -1;
	st->log = log;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		rc = err_sys(err, errno, "make %s", dir);
	st->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (rc == 0 && st->dir < 0)
		rc = err_sys(err, errno, "open %s", dir);
	if (rc == 0)
		rc = store_open_audit(st, err);
	if (rc == 0)
		rc = store_load_all(st, on_entry, arg, err);
	if (rc < 0) {
		coord_store_close(st);
		return rc;
	}
	*out = st;
	return 0;
}

void
coord_store_close(struct coord_store *st)
{
	if (st == NULL)
		return;
	(void)coord_store_flush(st, NULL);
	if (st->audit >= 0) {
		(void)fdatasync(st->audit);
		close(st->audit);
	}
	if (st->dir >= 0)
		close(st->dir);
	mem_free(st);
}
