/*
 * Staging: temporaries nobody sees until they are whole and durable.
 *
 * A temp is a regular file of mode 0600 with one name, in a directory of mode
 * 0700, made with O_EXCL.  Sealing gives it the size, mode and time the target
 * will have, before it is flushed and long before it gets its name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockproto/blocks.h"
#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

#define TEMP_OPEN (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int
temp_check_open(int fd, struct stat *st, struct err *err)
{
	if (fstat(fd, st) < 0)
		return fs_posix_walk_err(err, errno, "stat temporary");
	/* A second name would be written through as well. */
	if (!S_ISREG(st->st_mode) || st->st_nlink != 1)
		return err_set(err, ERR_DENIED, "temporary is not ours alone");
	return 0;
}

/* Open a temp that is there. */
static int
temp_open(const struct fs_root *root, struct slice temp, int flags, int *fd,
    struct stat *st, struct err *err)
{
	struct fs_at at;
	int rc = fs_posix_walk_stage(root, temp, &at, err);

	if (rc < 0)
		return rc;
	*fd = openat(at.dir, at.base, flags | TEMP_OPEN);
	if (*fd < 0)
		return fs_posix_walk_err(err, errno, "open temporary");
	rc = temp_check_open(*fd, st, err);
	if (rc < 0)
		close(*fd);
	return rc;
}

/*
 * Open a temp for writing, made when missing, then already `size` long: holes
 * until written.  `likely_new`: try to make it first.
 */
static int
temp_create(const struct fs_root *root, struct slice temp, int64_t size,
    bool likely_new, int *fd, struct err *err)
{
	struct fs_at at;
	struct stat st;
	bool made = likely_new;
	int rc = fs_posix_walk_stage(root, temp, &at, err);

	if (rc < 0)
		return rc;
	*fd = -1;
	/* Another worker may make it, or a clean-up remove it, in between. */
	for (int i = 0; i < 4 && *fd < 0; i++, made = !made) {
		*fd = openat(at.dir, at.base,
		    O_RDWR | TEMP_OPEN | (made ? O_CREAT | O_EXCL : 0), 0600);
		if (*fd >= 0)
			break;
		if (errno != (made ? EEXIST : ENOENT) && errno != EINTR)
			break;
	}
	if (*fd < 0)
		return fs_posix_walk_err(err, errno, "make temporary");
	if (!made)
		rc = temp_check_open(*fd, &st, err);
	else if (!likely_new && ftruncate(*fd, size) < 0)
		rc = fs_posix_walk_err(err, errno, "size temporary");
	if (rc < 0)
		close(*fd);
	return rc;
}

/* `st` is what fstat() says of `fd`. */
static int
set_meta(const struct fs_root *root, int fd, const struct stat *st,
    const struct effect_meta *meta, struct err *err)
{
	char self[40];
	const struct timespec when[2] = {
		{ .tv_sec = 0, .tv_nsec = UTIME_OMIT },
		{ .tv_sec = meta->mtime_s, .tv_nsec = meta->mtime_ns },
	};

	if (meta->set_mtime &&
	    (meta->mtime_ns < 0 || meta->mtime_ns > 999999999))
		return err_set(err, ERR_INVALID, "mtime of %d nanoseconds",
		    meta->mtime_ns);
	/* The descriptor may be O_PATH, which fchmod() and futimens() refuse.
	 */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (meta->set_perms && !S_ISLNK(st->st_mode) &&
	    (st->st_mode & 07777) != (meta->perms & 0777) &&
	    root->facts.has_perms && fchmod(fd, meta->perms & 0777) < 0 &&
	    (errno != EBADF || chmod(self, meta->perms & 0777) < 0))
		return fs_posix_walk_err(err, errno, "set permissions");
	if (meta->set_mtime &&
	    (st->st_mtim.tv_sec != meta->mtime_s ||
		st->st_mtim.tv_nsec != meta->mtime_ns) &&
	    utimensat(fd, "", when, AT_EMPTY_PATH) < 0 &&
	    ((errno != EINVAL && errno != EBADF && errno != ENOENT) ||
		S_ISLNK(st->st_mode) || utimensat(AT_FDCWD, self, when, 0) < 0))
		return fs_posix_walk_err(err, errno, "set mtime");
	return 0;
}

int
fs_posix_set_meta_fd(const struct fs_root *root, int fd,
    const struct effect_meta *meta, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fs_posix_walk_err(err, errno, "stat");
	return set_meta(root, fd, &st, meta, err);
}

/* Size, mode, time; says what the temp is now. */
static int
temp_seal(const struct fs_root *root, int fd, int64_t size,
    const struct effect_meta *meta, struct event *done, struct err *err)
{
	struct effect_meta all = *meta;
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return fs_posix_walk_err(err, errno, "stat temporary");
	if (st.st_size != size &&
	    (ftruncate(fd, size) < 0 || fstat(fd, &st) < 0))
		return fs_posix_walk_err(err, errno, "size temporary");
	if (!all.set_perms) { /* nobody said: as any new file */
		all.set_perms = true;
		all.perms = 0666 & ~root->umask;
	}
	rc = set_meta(root, fd, &st, &all, err);
	if (rc < 0)
		return rc;
	if (fstat(fd, &st) < 0)
		return fs_posix_walk_err(err, errno, "stat temporary");
	fs_posix_walk_identity(&st, &done->u.done.seen);
	return 0;
}

/* Closing tells of errors that writing did not, on network file systems. */
static int
temp_close(int fd, int rc, struct err *err)
{
	if (close(fd) < 0 && rc == 0 && errno != EINTR)
		return fs_posix_walk_err(err, errno, "close temporary");
	return rc;
}

static int
temp_check_range(int64_t offset, int64_t len, int64_t size, struct err *err)
{
	if (offset < 0 || len < 0 || size < 0 || offset > size ||
	    len > size - offset)
		return err_set(err, ERR_LIMIT, "range outside of the file");
	return 0;
}

/*
 * Past the page cache: for a block this large the kernel's copy into fresh
 * pages costs more than all else that is done with it, and pages of a file of a
 * gigabyte push out what is of more use.  Whatever is not aligned, or not
 * possible here (-EINVAL), is left: *done_len bytes were written.
 */
static int
write_direct(int fd, struct slice data, int64_t offset,
    struct fs_posix_work *work, size_t *done_len)
{
	const size_t whole = data.len - data.len % LIMIT_DIRECT_ALIGN;
	const int flags = fcntl(fd, F_GETFL);
	int rc = 0;

	*done_len = 0;
	if (offset % LIMIT_DIRECT_ALIGN != 0 || flags < 0 ||
	    fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return 0;
	while (*done_len < whole) {
		const uint8_t *from = data.ptr + *done_len;
		size_t n = whole - *done_len;

		if ((uintptr_t)from % LIMIT_DIRECT_ALIGN != 0) {
			uint8_t *buf = fs_posix_walk_direct_buf(work);

			if (n > FS_POSIX_DIRECT_LEN)
				n = FS_POSIX_DIRECT_LEN;
			memcpy(buf, from, n);
			from = buf;
		}
		rc = fs_posix_walk_pwrite(fd, from, n,
		    offset + (int64_t)*done_len);
		if (rc < 0)
			break;
		*done_len += n;
	}
	if (fcntl(fd, F_SETFL, flags) < 0)
		return -errno;
	return rc == -EINVAL ? 0 : rc;
}

static int
write_data(int fd, struct slice data, int64_t offset,
    struct fs_posix_work *work)
{
	size_t done_len = 0;
	int rc = 0;

	if (data.len >= LIMIT_DIRECT_FROM)
		rc = write_direct(fd, data, offset, work, &done_len);
	if (rc == 0)
		rc = fs_posix_walk_pwrite(fd, data.ptr + done_len,
		    data.len - done_len, offset + (int64_t)done_len);
	return rc;
}

FS_POSIX_EFFECT(write_temp)
{
	const struct slice data = payload_slice(effect->u.write.payload);
	const int64_t size = effect->u.write.file_size;
	const bool whole =
	    effect->u.write.offset == 0 && (int64_t)data.len == size;
	struct digest digest;
	int fd;
	int rc = temp_check_range(effect->u.write.offset, (int64_t)data.len,
	    size, err);

	if (rc < 0)
		return rc;
	if (effect->u.write.verify) {
		digest_of(data, &digest);
		if (!digest_equal(&digest, &effect->u.write.hash))
			return err_set(err, ERR_CORRUPT,
			    "block is not its hash");
	}
	rc = temp_create(root, effect->temp, size, whole, &fd, err);
	if (rc < 0)
		return rc;
	rc = write_data(fd, data, effect->u.write.offset, work);
	if (rc < 0)
		rc = fs_posix_walk_err(err, -rc, "write temporary");
	if (rc == 0 && effect->u.write.seal)
		rc =
		    temp_seal(root, fd, size, &effect->u.write.meta, done, err);
	return temp_close(fd, rc, err);
}

/* From a place in the temp to the same place: it is only verified. */
static bool
copy_is_in_place(const struct effect *effect)
{
	return effect->path.len == 0 &&
	       slice_equal(effect->u.copy.from_temp, effect->temp) &&
	       effect->u.copy.from_offset == effect->u.copy.offset;
}

/* Through our buffer, hashing on the way. */
static int
copy_verified(int from, int to, const struct effect *effect,
    struct fs_posix_work *work, struct err *err)
{
	uint8_t *buf = fs_posix_walk_buf(work);
	int64_t in = effect->u.copy.from_offset, out = effect->u.copy.offset;
	int64_t left = effect->u.copy.len;
	const bool in_place = copy_is_in_place(effect);
	struct digest_state st;
	struct digest digest;
	int rc = 0;

	if (effect->u.copy.verify)
		digest_init(&st);
	while (left > 0 && rc == 0) {
		const size_t want = left < (int64_t)FS_POSIX_BUF_LEN
					? (size_t)left
					: FS_POSIX_BUF_LEN;
		const ssize_t n = fs_posix_walk_pread(from, buf, want, in);

		if (n < 0) {
			rc = fs_posix_walk_err(err, (int)-n, "read");
		} else if ((size_t)n < want) {
			rc = err_set(err, ERR_CHANGED, "became shorter");
		} else {
			if (effect->u.copy.verify)
				digest_add(&st, slice_of(buf, want));
			if (!in_place)
				rc = fs_posix_walk_pwrite(to, buf, want, out);
			if (rc < 0)
				rc = fs_posix_walk_err(err, -rc, "write");
		}
		in += (int64_t)want;
		out += (int64_t)want;
		left -= (int64_t)want;
	}
	if (!effect->u.copy.verify)
		return rc;
	digest_fini(&st, &digest);
	if (rc == 0 && !digest_equal(&digest, &effect->u.copy.hash))
		rc = err_set(err, ERR_CHANGED, "block is not its hash");
	return rc;
}

/* Without a hash to check the kernel copies, or only shares the blocks. */
static int
copy_unseen(int from, int to, const struct effect *effect,
    struct fs_posix_work *work, struct err *err)
{
	off_t in = effect->u.copy.from_offset, out = effect->u.copy.offset;
	int64_t left = effect->u.copy.len;

	while (left > 0) {
		const ssize_t n =
		    copy_file_range(from, &in, to, &out, (size_t)left, 0);

		if (n > 0) {
			left -= n;
			continue;
		}
		if (n == 0)
			return err_set(err, ERR_CHANGED, "became shorter");
		if (errno == EINTR)
			continue;
		if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
			return fs_posix_walk_err(err, errno, "copy");
		break; /* cannot here: from one file system to another, ... */
	}
	if (left > 0) {
		struct effect rest = *effect;

		rest.u.copy.from_offset = in;
		rest.u.copy.offset = out;
		rest.u.copy.len = left;
		return copy_verified(from, to, &rest, work, err);
	}
	return 0;
}

static int
copy_source_same(int fd, const struct identity *want, struct err *err)
{
	struct identity seen;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fs_posix_walk_err(err, errno, "stat");
	fs_posix_walk_identity(&st, &seen);
	if (!identity_same(want, &seen))
		return err_set(err, ERR_CHANGED, "not what was seen before");
	return 0;
}

FS_POSIX_EFFECT(copy_temp)
{
	const bool named = effect->path.len > 0;
	const bool check = named && effect->want.type != IDENTITY_ABSENT;
	const int64_t size = effect->u.copy.file_size;
	struct stat st;
	int from, to = -1;
	int rc = temp_check_range(effect->u.copy.offset, effect->u.copy.len,
	    size, err);

	if (rc == 0 && effect->u.copy.from_offset < 0)
		rc = err_set(err, ERR_LIMIT, "range outside of the file");
	if (rc == 0 && named)
		rc = fs_posix_walk_file(root, effect->path, &from, &st, err);
	else if (rc == 0)
		rc = temp_open(root, effect->u.copy.from_temp, O_RDONLY, &from,
		    &st, err);
	if (rc < 0)
		return rc;
	if (check)
		rc = copy_source_same(from, &effect->want, err);
	if (rc == 0)
		rc = temp_create(root, effect->temp, size, false, &to, err);
	if (rc < 0)
		goto out;
	if (effect->u.copy.verify)
		rc = copy_verified(from, to, effect, work, err);
	else
		rc = copy_unseen(from, to, effect, work, err);
	/* Nobody compares what was copied unseen: it must not have moved. */
	if (rc == 0 && check && !effect->u.copy.verify)
		rc = copy_source_same(from, &effect->want, err);
	if (rc == 0 && effect->u.copy.seal)
		rc = temp_seal(root, to, size, &effect->u.copy.meta, done, err);
	rc = temp_close(to, rc, err);
out:
	close(from);
	return rc;
}

/*
 * Make reads tell what the disk holds.  A flush that failed leaves pages that
 * look well, are never written again, and which no later flush complains of;
 * whoever was told may have been killed since.  Without its pages the file is
 * read from the disk.
 */
static int
forget_pages(int fd)
{
	if (fdatasync(fd) < 0)
		return -errno;
	return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

FS_POSIX_EFFECT(check_temp)
{
	const struct effect_blocks *want = &effect->u.check;
	uint8_t *buf = fs_posix_walk_buf(work);
	uint8_t *have;
	struct stat st;
	int fd;
	int rc = temp_open(root, effect->temp, O_RDONLY, &fd, &st, err);

	if (rc < 0)
		return rc;
	have = arena_zalloc(&work->arena, want->count / 8 + 1);
	done->u.done.have = have;
	if (st.st_size != want->size) /* a temp of another version: nothing */
		goto out;
	if (forget_pages(fd) < 0) /* nothing of it can be relied on */
		goto out;
	for (uint32_t i = 0; i < want->count; i++) {
		const int64_t at = (int64_t)i * want->block_size;
		int64_t left = blocks_len(want->size, want->block_size, i);
		struct digest_state ds;
		struct digest digest;
		int64_t off = at;

		digest_init(&ds);
		while (left > 0) {
			const size_t ask = left < (int64_t)FS_POSIX_BUF_LEN
					       ? (size_t)left
					       : FS_POSIX_BUF_LEN;
			const ssize_t n =
			    fs_posix_walk_pread(fd, buf, ask, off);

			/* Unreadable is not there; it is asked for again. */
			if (n <= 0)
				break;
			digest_add(&ds, slice_of(buf, (size_t)n));
			off += n;
			left -= n;
		}
		digest_fini(&ds, &digest);
		if (left == 0 && digest_equal(&digest, &want->hash[i]))
			have[i / 8] |= (uint8_t)(1u << (i % 8));
	}
out:
	close(fd);
	return 0;
}

FS_POSIX_EFFECT(seal_temp)
{
	struct stat st;
	int fd;
	int rc = temp_open(root, effect->temp, O_RDWR, &fd, &st, err);

	(void)work;
	if (rc == ERR_NOT_FOUND && effect->u.seal.file_size == 0)
		rc = temp_create(root, effect->temp, 0, true, &fd, err);
	if (rc < 0)
		return rc;
	rc = temp_seal(root, fd, effect->u.seal.file_size, &effect->u.seal.meta,
	    done, err);
	return temp_close(fd, rc, err);
}

FS_POSIX_EFFECT(drop_temp)
{
	struct identity seen;
	struct fs_at at;
	int rc = fs_posix_walk_stage(root, effect->temp, &at, err);

	(void)work;
	(void)done;
	if (rc < 0)
		return rc;
	if (effect->want.type != IDENTITY_ABSENT) {
		rc = fs_posix_walk_look(&at, &seen, err);
		if (rc < 0 || seen.type == IDENTITY_ABSENT)
			return rc;
		/* Somebody still has it open and wrote to it (case 99). */
		if (!identity_same(&effect->want, &seen))
			return err_set(err, ERR_CHANGED,
			    "temporary was written");
	}
	if (unlinkat(at.dir, at.base, 0) < 0 && errno != ENOENT &&
	    /* One that was to be a directory, left by a crash. */
	    (errno != EISDIR || unlinkat(at.dir, at.base, AT_REMOVEDIR) < 0))
		return fs_posix_walk_err(err, errno, "remove temporary");
	return 0;
}

static int
sync_one(const struct fs_root *root, struct slice temp, struct err *err)
{
	struct stat st;
	int fd;
	int rc = temp_open(root, temp, O_RDONLY, &fd, &st, err);

	if (rc == ERR_DENIED || rc == ERR_CHANGED) {
		struct fs_at at;
		struct identity seen;

		/* A link has no data of its own: its directory is flushed. */
		rc = fs_posix_walk_stage(root, temp, &at, err);
		if (rc == 0)
			rc = fs_posix_walk_look(&at, &seen, err);
		if (rc == 0 && seen.type != IDENTITY_LINK)
			rc = err_set(err, ERR_DENIED, "temporary is not ours");
		return rc;
	}
	if (rc < 0)
		return rc;
	if (fsync(fd) < 0)
		rc = fs_posix_walk_err(err, errno, "flush temporary");
	close(fd);
	return rc;
}

int
fs_posix_sync_temps(struct fs_root *root, const struct slice *temp,
    uint32_t count, bool each, struct err *err)
{
	int rc = 0;

	if (root->stage_fd < 0) {
		*err = root->stage_err;
		return err->code;
	}
	if (count >= FS_POSIX_SYNCFS_FROM && !each && root->syncfs) {
		/*
		 * On the descriptor held since before anything was written:
		 * a new one would not hear of earlier write errors.
		 */
		if (syncfs(root->stage_fd) < 0)
			return fs_posix_walk_err(err, errno,
			    "flush file system");
	} else {
		for (uint32_t i = 0; i < count && rc == 0; i++)
			rc = sync_one(root, temp[i], err);
	}
	if (rc == 0 && fsync(root->stage_fd) < 0 && errno != EINVAL)
		rc = fs_posix_walk_err(err, errno, "flush staging directory");
	return rc;
}
