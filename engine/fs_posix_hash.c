/*
 * Hashing: blocks of a fixed size, and content-defined chunks.
 *
 * The file is looked at before the first and after the last byte; a difference
 * in size, mtime, ctime or inode is ERR_CHANGED, and no hash leaves here.  A
 * large file's parts may be hashed by several workers (struct fs_hash).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blockproto/blocks.h"
#include "engine/base/assert.h"
#include "engine/base/digest_pair.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "engine/chunkmap.h"
#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

/* From this size on, reading ahead is worth a system call. */
#define HASH_ADVISE_FROM (1 * MIB)
/* No kernel's clock ticks more slowly, milliseconds. */
#define HASH_TICK_MAX_MS 20

static int
hash_read(int fd, uint8_t *buf, size_t len, int64_t offset, struct err *err)
{
	const ssize_t n = fs_posix_walk_pread(fd, buf, len, offset);

	if (n < 0)
		return fs_posix_walk_err(err, (int)-n, "read");
	if ((size_t)n < len)
		return err_set(err, ERR_CHANGED, "became shorter");
	return 0;
}

/* The digest of `len` bytes at `offset`. */
static int
hash_range(int fd, int64_t offset, size_t len, uint8_t *buf, struct digest *out,
    struct err *err)
{
	struct digest_state st;
	int rc = 0;

	if (len <= FS_POSIX_BUF_LEN) {
		rc = hash_read(fd, buf, len, offset, err);
		if (rc == 0)
			digest_of(slice_of(buf, len), out);
		return rc;
	}
	digest_init(&st);
	while (len > 0 && rc == 0) {
		const size_t n =
		    len < FS_POSIX_BUF_LEN ? len : FS_POSIX_BUF_LEN;

		rc = hash_read(fd, buf, n, offset, err);
		if (rc == 0)
			digest_add(&st, slice_of(buf, n));
		offset += (int64_t)n;
		len -= n;
	}
	digest_fini(&st, out);
	return rc;
}

static int
hash_check_seen(int fd, const struct identity *seen, struct err *err)
{
	struct identity now;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fs_posix_walk_err(err, errno, "stat");
	fs_posix_walk_identity(&st, &now);
	if (!identity_same(seen, &now))
		return err_set(err, ERR_CHANGED, "changed while it was read");
	return 0;
}

/*
 * Wait until the clock that files are stamped with has left the file's ctime.
 * A write within the same tick, after we read, would leave every number of the
 * identity as it is, and would never be noticed.  At most a tick, and only for
 * a file written this very moment.
 */
static void
hash_wait_tick(const struct identity *seen)
{
	const struct timespec ms = { .tv_sec = 0, .tv_nsec = 1000000 };
	struct timespec now;

	for (int i = 0; i < HASH_TICK_MAX_MS; i++) {
		int64_t ahead;

		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		if (seen->ctime_s < now.tv_sec - 1 ||
		    seen->ctime_s > now.tv_sec + 1)
			return; /* long ago, or the clock was set */
		ahead = (seen->ctime_s - now.tv_sec) * 1000000000 +
			(seen->ctime_ns - now.tv_nsec);
		if (ahead < 0 || ahead > HASH_TICK_MAX_MS * 1000000)
			return;
		nanosleep(&ms, NULL);
	}
}

/* What is to be cut into chunks: the ranges of the effect, or all. */
static int
hash_ranges(const struct effect *effect, struct fs_posix_work *work,
    struct fs_hash *h, struct err *err)
{
	struct chunk_range *whole;

	if (effect->kind == EFFECT_CHUNK_FILE && effect->u.chunk.count > 0) {
		h->range = effect->u.chunk.range;
		h->range_count = effect->u.chunk.count;
		for (uint32_t i = 0; i < h->range_count; i++)
			if (h->range[i].offset < 0 || h->range[i].len <= 0 ||
			    h->range[i].offset > h->seen.size ||
			    h->range[i].len > h->seen.size - h->range[i].offset)
				return err_set(err, ERR_CHANGED,
				    "a range is not in the file");
		return 0;
	}
	whole = arena_array(&work->arena, 1, sizeof(*whole));
	whole->len = h->seen.size;
	h->range = whole;
	h->range_count = 1;
	return 0;
}

int
fs_posix_hash_begin(struct fs_root *root, const struct effect *effect,
    struct fs_posix_work *work, struct fs_hash *h, struct err *err)
{
	struct stat st;
	int rc;

	memset(h, 0, sizeof(*h));
	rc = fs_posix_walk_file(root, effect->path, &h->fd, &st, err);
	if (rc < 0)
		return rc;
	fs_posix_walk_identity(&st, &h->seen);
	if (effect->want.type != IDENTITY_ABSENT &&
	    !identity_same(&effect->want, &h->seen)) {
		rc = err_set(err, ERR_CHANGED, "not what was seen before");
		goto out;
	}

	hash_wait_tick(&h->seen);
	h->chunks = effect->kind == EFFECT_CHUNK_FILE || effect->u.hash.chunks;
	rc = h->chunks ? hash_ranges(effect, work, h, err) : 0;
	if (rc < 0)
		goto out;
	/* Of some ranges no more is read than they are. */
	if (h->seen.size >= (int64_t)HASH_ADVISE_FROM && h->range_count < 2)
		(void)posix_fadvise(h->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	if (effect->kind == EFFECT_CHUNK_FILE)
		return 0;
	h->block_size = effect->u.hash.block_size;
	ASSERT(blocks_size_is_valid(h->block_size));
	if (h->seen.size / h->block_size >= (int64_t)LIMIT_BLOCKS) {
		rc = err_set(err, ERR_LIMIT, "file too large");
		goto out;
	}
	h->block_count = blocks_count(h->seen.size, h->block_size);
	h->block =
	    arena_alloc(&work->arena, h->block_count * sizeof(*h->block));
out:
	if (rc < 0) {
		close(h->fd);
		h->fd = -1;
	}
	return rc;
}

/*
 * The digests of two ranges of `len` bytes, one behind the other.  Those that
 * do not fit into the buffer together are read in turns; a disk is first told
 * of both, in order, so that its head does not jump between them.
 */
static int
hash_two_ranges(int fd, int64_t offset, size_t len, uint8_t *buf,
    struct digest out[2], struct err *err)
{
	const size_t half = FS_POSIX_BUF_LEN / 2;
	struct digest_pair dp;
	int rc = 0;

	if (len <= half) {
		rc = hash_read(fd, buf, 2 * len, offset, err);
		if (rc == 0)
			digest_pair_of(
			    (const struct slice[2]){ slice_of(buf, len),
				slice_of(buf + len, len) },
			    out);
		return rc;
	}
	(void)posix_fadvise(fd, offset, 2 * (off_t)len, POSIX_FADV_WILLNEED);
	digest_pair_init(&dp);
	for (size_t at = 0; at < len && rc == 0; at += half) {
		const size_t n = len - at < half ? len - at : half;

		rc = hash_read(fd, buf, n, offset + (int64_t)at, err);
		if (rc == 0)
			rc = hash_read(fd, buf + half, n,
			    offset + (int64_t)(len + at), err);
		if (rc == 0)
			digest_pair_add(&dp, buf, buf + half, n);
	}
	digest_pair_fini(&dp, out);
	return rc;
}

int
fs_posix_hash_blocks(const struct fs_hash *h, uint32_t first, uint32_t count,
    struct fs_posix_work *work, struct err *err)
{
	uint8_t *buf = fs_posix_walk_buf(work);
	const uint32_t end = first + count;
	uint32_t i = first;
	int rc = 0;

	while (i < end && rc == 0) {
		const int64_t at = (int64_t)i * h->block_size;
		const size_t len = blocks_len(h->seen.size, h->block_size, i);

		if (i + 1 < end &&
		    blocks_len(h->seen.size, h->block_size, i + 1) == len) {
			rc = hash_two_ranges(h->fd, at, len, buf, &h->block[i],
			    err);
			i += 2;
		} else {
			rc = hash_range(h->fd, at, len, buf, &h->block[i], err);
			i++;
		}
	}
	return rc;
}

struct hash_cut {
	int64_t at;
	uint32_t len;
};

struct hash_cuts {
	VEC(struct hash_cut) cut;
};

/* The cuts of one range, as if it were a file. */
static int
hash_cut_range(int fd, const struct chunk_range *range, struct hash_cuts *out,
    uint8_t *buf, struct err *err)
{
	const int64_t end = range->offset + range->len;
	int64_t offset = range->offset, begin = offset; /* of the chunk */
	struct chunkmap_cutter c;

	chunkmap_cutter_init(&c);
	while (offset < end) {
		const size_t n = end - offset < (int64_t)FS_POSIX_BUF_LEN
				     ? (size_t)(end - offset)
				     : FS_POSIX_BUF_LEN;
		struct slice data = slice_of(buf, n);
		const int rc = hash_read(fd, buf, n, offset, err);

		if (rc < 0)
			return rc;
		while (data.len > 0) {
			bool cut;
			const size_t used = chunkmap_cut(&c, data, &cut);

			data = slice_from(data, used);
			offset += (int64_t)used;
			if (!cut && offset < end)
				continue;
			*VEC_ADD(&out->cut) = (struct hash_cut){ .at = begin,
				.len = (uint32_t)(offset - begin) };
			begin = offset;
		}
	}
	return 0;
}

int
fs_posix_hash_cut(struct fs_hash *h, struct fs_posix_work *work,
    struct err *err)
{
	uint8_t *buf = fs_posix_walk_buf(work);
	struct hash_cuts all = { 0 };
	int rc = 0;

	for (uint32_t i = 0; i < h->range_count && rc == 0; i++)
		rc = hash_cut_range(h->fd, &h->range[i], &all, buf, err);
	if (rc == 0) {
		const size_t count = all.cut.len;

		h->chunk_count = (uint32_t)count;
		h->chunk =
		    arena_array(&work->arena, count + 1, sizeof(*h->chunk));
		h->chunk_at =
		    arena_array(&work->arena, count + 1, sizeof(*h->chunk_at));
		for (size_t i = 0; i < count; i++) {
			h->chunk[i].len = all.cut.item[i].len;
			h->chunk_at[i] = all.cut.item[i].at;
		}
	}
	VEC_FINI(&all.cut);
	return rc;
}

int
fs_posix_hash_chunks(const struct fs_hash *h, uint32_t first, uint32_t count,
    struct fs_posix_work *work, struct err *err)
{
	uint8_t *buf = fs_posix_walk_buf(work);

	for (uint32_t i = first; i < first + count; i++) {
		struct digest d;
		uint64_t hash = 0;
		const int rc = hash_range(h->fd, h->chunk_at[i],
		    h->chunk[i].len, buf, &d, err);

		if (rc < 0)
			return rc;
		for (int b = 0; b < 8; b++)
			hash = hash << 8 | d.b[b];
		h->chunk[i].hash = hash;
	}
	return 0;
}

int
fs_posix_hash_end(struct fs_hash *h, bool failed, struct event *done,
    struct err *err)
{
	int rc = failed ? 0 : hash_check_seen(h->fd, &h->seen, err);

	close(h->fd);
	h->fd = -1;
	if (failed || rc < 0)
		return rc;
	done->u.done.seen = h->seen;
	done->u.done.hash = h->block;
	done->u.done.hash_count = h->block_count;
	done->u.done.block_size = h->block_size;
	done->u.done.chunk = h->chunk;
	done->u.done.chunk_count = h->chunk_count;
	return 0;
}

static int
hash_whole(struct fs_root *root, const struct effect *effect,
    struct fs_posix_work *work, struct event *done, struct err *err)
{
	struct fs_hash h;
	int rc = fs_posix_hash_begin(root, effect, work, &h, err);

	if (rc < 0)
		return rc;
	if (h.block_count > 0)
		rc = fs_posix_hash_blocks(&h, 0, h.block_count, work, err);
	if (rc == 0 && h.chunks)
		rc = fs_posix_hash_cut(&h, work, err);
	if (rc == 0 && h.chunks)
		rc = fs_posix_hash_chunks(&h, 0, h.chunk_count, work, err);
	if (rc < 0) {
		fs_posix_hash_end(&h, true, done, NULL);
		return rc;
	}
	return fs_posix_hash_end(&h, false, done, err);
}

FS_POSIX_EFFECT(hash_file)
{
	return hash_whole(root, effect, work, done, err);
}

FS_POSIX_EFFECT(chunk_file)
{
	return hash_whole(root, effect, work, done, err);
}
