/*
 * Reading: small whole files, and blocks for peers.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

static int
read_check(const struct stat *st, const struct identity *want, struct err *err)
{
	struct identity seen;

	if (want->type == IDENTITY_ABSENT)
		return 0;
	fs_posix_walk_identity(st, &seen);
	if (!identity_same(want, &seen))
		return err_set(err, ERR_CHANGED, "not what was seen before");
	return 0;
}

/* As read_check() on an open file, after reading it. */
static int
read_recheck(int fd, const struct stat *before, struct err *err)
{
	struct identity was;
	struct stat st;

	fs_posix_walk_identity(before, &was);
	if (fstat(fd, &st) < 0)
		return fs_posix_walk_err(err, errno, "stat");
	return read_check(&st, &was, err);
}

FS_POSIX_EFFECT(read_file)
{
	struct payload *p = NULL;
	struct stat st;
	ssize_t n;
	int fd;
	int rc = fs_posix_walk_file(root, effect->path, &fd, &st, err);

	(void)work;
	if (rc < 0)
		return rc;
	if (st.st_size > (off_t)FS_POSIX_READ_FILE_MAX) {
		rc = err_set(err, ERR_LIMIT, "larger than %u MiB",
		    (unsigned)(FS_POSIX_READ_FILE_MAX / MIB));
		goto out;
	}
	p = payload_new((size_t)st.st_size);
	n = fs_posix_walk_pread(fd, p->data, p->len, 0);
	if (n < 0)
		rc = fs_posix_walk_err(err, (int)-n, "read");
	else if ((size_t)n < p->len)
		rc = err_set(err, ERR_CHANGED, "became shorter");
	else
		rc = read_recheck(fd, &st, err);
	if (rc < 0)
		goto out;
	fs_posix_walk_identity(&st, &done->u.done.seen);
	done->u.done.payload = p;
	p = NULL;
out:
	payload_free(p);
	close(fd);
	return rc;
}

/* The file of a READ_BLOCK, open: a person's, or one in staging. */
static int
read_open(struct fs_root *root, const struct effect *effect, int *fd,
    struct stat *st, struct err *err)
{
	struct fs_at at;
	int rc;

	if (effect->temp.len == 0) {
		rc = fs_posix_walk_file(root, effect->path, fd, st, err);
		if (rc == 0)
			rc = read_check(st, &effect->want, err);
		if (rc < 0 && *fd >= 0)
			close(*fd);
		return rc;
	}
	rc = fs_posix_walk_stage(root, effect->temp, &at, err);
	if (rc < 0)
		return rc;
	*fd = openat(at.dir, at.base,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (*fd < 0)
		return fs_posix_walk_err(err, errno, "open temporary");
	if (fstat(*fd, st) < 0)
		rc = fs_posix_walk_err(err, errno, "stat temporary");
	else if (!S_ISREG(st->st_mode))
		rc = err_set(err, ERR_DENIED, "not a regular file");
	if (rc < 0)
		close(*fd);
	return rc;
}

FS_POSIX_EFFECT(read_block)
{
	const int64_t offset = effect->u.read.offset;
	const uint32_t len = effect->u.read.len;
	struct payload *p = NULL;
	struct digest digest;
	struct stat st;
	ssize_t n;
	int fd = -1;
	int rc;

	(void)work;
	if (len > LIMIT_REQUEST_LEN || offset < 0)
		return err_set(err, ERR_LIMIT, "block of %u bytes", len);
	rc = read_open(root, effect, &fd, &st, err);
	if (rc < 0)
		return rc;
	if (offset > st.st_size || (int64_t)len > st.st_size - offset) {
		rc = err_set(err, ERR_CHANGED, "block behind the end");
		goto out;
	}
	p = payload_new(len);
	n = fs_posix_walk_pread(fd, p->data, len, offset);
	if (n < 0) {
		rc = fs_posix_walk_err(err, (int)-n, "read");
	} else if ((size_t)n < len) {
		rc = err_set(err, ERR_CHANGED, "became shorter");
	} else if (effect->u.read.verify) {
		digest_of(payload_slice(p), &digest);
		if (!digest_equal(&digest, &effect->u.read.hash))
			rc = err_set(err, ERR_CHANGED, "block is not its hash");
	} else if (effect->temp.len == 0) {
		rc = read_recheck(fd, &st, err);
	}
	if (rc < 0)
		goto out;
	done->u.done.payload = p;
	p = NULL;
out:
	payload_free(p);
	close(fd);
	return rc;
}
