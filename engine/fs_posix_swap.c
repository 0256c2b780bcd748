/*
 * Acts on names a person can see: put, replace, move, remove.
 *
 * Each looks at the name, acts in one system call that cannot replace what it
 * did not see, and looks at what came off the name.  What is not the expected
 * object is a person's newer save: it goes back, or, when even that name is
 * taken by now, to a free name beside it.  docs/design/0005-replace.md.
 *
 * The identity answered is that of the object we put there, read through a
 * descriptor held since before the act.  Reading the name again could give a
 * person's next save, which would then be taken for ours and never be noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

/* Names tried for bytes that have lost theirs. */
#define SWAP_BESIDE_TRIES 1000

/* An object held by O_PATH, and what it was then. */
struct swap_held {
	int fd;
	struct identity was;
};

static int
swap_hold(const struct fs_at *at, struct swap_held *h, struct err *err)
{
	struct stat st;

	h->fd = openat(at->dir, at->base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (h->fd < 0)
		return fs_posix_walk_err(err, errno, "open");
	if (fstat(h->fd, &st) < 0) {
		const int rc = fs_posix_walk_err(err, errno, "stat");

		close(h->fd);
		return rc;
	}
	fs_posix_walk_identity(&st, &h->was);
	return 0;
}

/*
 * Let go, and say what the object is now.  When somebody wrote to it since, the
 * old word is given, so that a scan finds the difference.
 */
static void
swap_release(struct swap_held *h, struct identity *now)
{
	struct stat st;

	*now = h->was;
	if (fstat(h->fd, &st) == 0) {
		struct identity id;

		fs_posix_walk_identity(&st, &id);
		if (identity_same_object(&id, &h->was) &&
		    id.mode == h->was.mode)
			*now = id;
	}
	close(h->fd);
}

static bool
swap_is(const struct identity *a, const struct identity *b)
{
	return a->type == b->type && a->ino == b->ino && a->dev == b->dev;
}

/* "notes.sync-conflict-20261121-143000-HOLD000.txt" */
static void
swap_beside_name(const struct fs_at *at, int i, struct fs_at *out)
{
	const char *dot = strrchr(at->base, '.');
	const size_t len = strlen(at->base);
	char mark[64];
	struct tm tm;
	time_t now = time(NULL);
	size_t stem, ext, mark_len;

	if (dot == NULL || dot == at->base || strlen(dot) > 32)
		dot = at->base + len;
	gmtime_r(&now, &tm);
	strftime(mark, sizeof(mark), ".sync-conflict-%Y%m%d-%H%M%S-HOLD", &tm);
	mark_len = strlen(mark);
	mark_len += (size_t)snprintf(mark + mark_len, sizeof(mark) - mark_len,
	    "%03d", i);
	stem = (size_t)(dot - at->base);
	ext = len - stem;
	if (stem + mark_len + ext > LIMIT_NAME_LEN)
		stem = LIMIT_NAME_LEN - mark_len - ext;
	/* Do not cut a UTF-8 sequence in two. */
	while (stem > 0 && ((uint8_t)at->base[stem] & 0xc0) == 0x80)
		stem--;
	out->dir = at->dir;
	out->owned = false;
	memcpy(out->base, at->base, stem);
	memcpy(out->base + stem, mark, mark_len);
	memcpy(out->base + stem + mark_len, dot, ext);
	out->base[stem + mark_len + ext] = '\0';
}

/* Move user bytes in staging to a free name beside `at`; ERR_CHANGED. */
static int
swap_keep_beside(const struct fs_root *root, const struct fs_at *stage,
    const struct fs_at *at, struct err *err)
{
	struct fs_at to;
	int rc = -EEXIST;

	for (int i = 0; i < SWAP_BESIDE_TRIES && rc == -EEXIST; i++) {
		swap_beside_name(at, i, &to);
		rc = fs_posix_walk_rename_new(root, stage, &to);
	}
	if (rc < 0)
		return err_set(err, ERR_CHANGED,
		    "changed meanwhile; the newer bytes stay as %s: "
		    "%s",
		    stage->base, strerror(-rc));
	return err_set(err, ERR_CHANGED,
	    "changed twice meanwhile; bytes kept as %s", to.base);
}

/* What is in staging came off the name and is a person's: undo. */
static int
swap_back(const struct fs_root *root, const struct fs_at *stage,
    const struct fs_at *at, const struct identity *ours, struct err *err)
{
	struct identity out;
	int rc;

	if (renameat2(stage->dir, stage->base, at->dir, at->base,
		RENAME_EXCHANGE) < 0) {
		if (errno != ENOENT)
			return swap_keep_beside(root, stage, at, err);
		/* The name is empty: ours was removed.  The bytes go back. */
		rc = fs_posix_walk_rename_new(root, stage, at);
		if (rc < 0)
			return swap_keep_beside(root, stage, at, err);
		return err_set(err, ERR_CHANGED, "changed meanwhile");
	}
	rc = fs_posix_walk_look(stage, &out, err);
	if (rc < 0 || !swap_is(&out, ours))
		return swap_keep_beside(root, stage, at, err);
	return err_set(err, ERR_CHANGED, "changed meanwhile");
}

/* A second hold on what is at `at`, in staging: by link, else by copy. */
static int
swap_save(const struct fs_at *at, const struct fs_at *to,
    const struct identity *want, bool *linked, struct fs_posix_work *work,
    struct err *err)
{
	uint8_t *buf = fs_posix_walk_buf(work);
	int64_t offset = 0;
	ssize_t n;
	int in, out, rc = 0;

	unlinkat(to->dir, to->base, 0); /* of an earlier try */
	*linked = linkat(at->dir, at->base, to->dir, to->base, 0) == 0;
	if (*linked)
		return 0;
	if (errno == ENOENT)
		return err_set(err, ERR_CHANGED, "gone meanwhile");
	if (want->type == IDENTITY_LINK) {
		n = readlinkat(at->dir, at->base, (char *)buf, LIMIT_LINK_LEN);
		if (n < 0)
			return fs_posix_walk_err(err, errno, "read link");
		buf[n] = '\0';
		if (symlinkat((char *)buf, to->dir, to->base) < 0)
			return fs_posix_walk_err(err, errno, "save link");
		return 0;
	}
	if (want->type != IDENTITY_FILE)
		return err_set(err, ERR_UNSUPPORTED, "no way to save it");
	in = openat(at->dir, at->base,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (in < 0)
		return fs_posix_walk_err(err, errno, "open");
	out = openat(to->dir, to->base,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0) {
		rc = fs_posix_walk_err(err, errno, "save old version");
		goto out;
	}
	while (
	    (n = fs_posix_walk_pread(in, buf, FS_POSIX_BUF_LEN, offset)) > 0) {
		rc = fs_posix_walk_pwrite(out, buf, (size_t)n, offset);
		if (rc < 0)
			break;
		offset += n;
	}
	if (rc == 0 && n < 0)
		rc = (int)n;
	if (rc == 0 && fsync(out) < 0)
		rc = -errno;
	if (rc < 0)
		rc = fs_posix_walk_err(err, -rc, "save old version");
	close(out);
out:
	close(in);
	if (rc < 0)
		unlinkat(to->dir, to->base, 0);
	return rc;
}

/*
 * Undo without exchange: what is at `stage` is a person's and goes back to its
 * name; what is there now leaves it first, to `spare`.
 */
static int
swap_back_slow(const struct fs_root *root, const struct fs_at *stage,
    const struct fs_at *spare, const struct fs_at *at,
    const struct identity *ours, struct err *err)
{
	struct identity out = { 0 };
	int rc = 0;

	if (fs_posix_walk_rename_new(root, at, spare) == 0)
		rc = fs_posix_walk_look(spare, &out, err);
	if (fs_posix_walk_rename_new(root, stage, at) < 0)
		return swap_keep_beside(root, stage, at, err);
	if (rc < 0 || (out.type != IDENTITY_ABSENT && !swap_is(&out, ours)))
		return swap_keep_beside(root, spare, at, err);
	if (out.type != IDENTITY_ABSENT)
		(void)fs_posix_walk_rename_new(root, spare, stage);
	return err_set(err, ERR_CHANGED, "changed meanwhile");
}

/*
 * Replace where two names cannot be exchanged: save the old one in staging,
 * look once more, rename over it.  What a person puts at the name between the
 * look and the rename, a few microseconds, by a rename of their own, is lost;
 * what they write into the old file is not, where it was saved by a link.
 */
static int
swap_replace(const struct fs_root *root, const struct fs_at *stage,
    const struct fs_at *at, const struct identity *want,
    const struct identity *ours, struct identity *kept,
    struct fs_posix_work *work, struct err *err)
{
	struct fs_at old = *stage;
	const size_t len = strlen(stage->base);
	bool linked;
	int rc;

	if (len + 4 > LIMIT_NAME_LEN)
		return err_set(err, ERR_LIMIT, "staging name too long");
	memcpy(old.base + len, ".old", 5);
	if (stage->dir !=
	    root->stage_fd) { /* there nothing is a rest of ours */
		rc = fs_posix_walk_look(&old, kept, err);
		if (rc == 0 && kept->type != IDENTITY_ABSENT)
			rc = err_set(err, ERR_EXISTS, "%s is taken", old.base);
		memset(kept, 0, sizeof(*kept));
		if (rc < 0)
			return rc;
	}
	rc = swap_save(at, &old, want, &linked, work, err);
	if (rc < 0)
		return rc;
	rc = fs_posix_walk_look(at, kept, err);
	if (rc == 0 && !identity_same_object(kept, want))
		rc = err_set(err, ERR_CHANGED, "changed meanwhile");
	if (rc == 0 && renameat(stage->dir, stage->base, at->dir, at->base) < 0)
		rc = fs_posix_walk_err(err, errno, "rename into place");
	if (rc < 0) {
		memset(kept, 0, sizeof(*kept));
		unlinkat(old.dir, old.base, 0); /* a copy or second name */
		return rc;
	}
	/* A crash here: the temp's name is gone, so the swap has happened. */
	if (renameat(old.dir, old.base, stage->dir, stage->base) < 0)
		return fs_posix_walk_err(err, errno, "file the old version");
	rc = fs_posix_walk_look(stage, kept, err);
	if (rc < 0 || (linked && !identity_same_object(kept, want))) {
		memset(kept, 0, sizeof(*kept));
		rc = swap_back_slow(root, stage, &old, at, ours, err);
	}
	return rc;
}

/* Put what is staged at the name, where `want` was seen. */
static int
swap_in(struct fs_root *root, const struct fs_at *stage, const struct fs_at *at,
    const struct identity *want, struct fs_posix_work *work, struct event *done,
    struct err *err)
{
	struct identity now, *kept = &done->u.done.kept;
	struct swap_held ours;
	int rc;

	if (want->type == IDENTITY_DIR)
		return err_set(err, ERR_EXISTS, "a directory is in the way");
	rc = swap_hold(stage, &ours, err);
	if (rc < 0)
		return rc;
	/* To an empty name: the rename itself looks. */
	if (want->type == IDENTITY_ABSENT) {
		rc = fs_posix_walk_rename_new(root, stage, at);
		if (rc == 0)
			goto out;
		if (rc != -EEXIST) {
			rc = fs_posix_walk_err(err, -rc, "rename into place");
			goto out;
		}
	}
	rc = fs_posix_walk_look(at, &now, err);
	if (rc < 0)
		goto out;
	if (want->type == IDENTITY_ABSENT || !identity_same(want, &now)) {
		done->u.done.seen = now;
		rc = err_set(err, ERR_CHANGED, "not what was seen before");
		goto out;
	}
	if (root->exchange && renameat2(stage->dir, stage->base, at->dir,
				  at->base, RENAME_EXCHANGE) == 0) {
		rc = fs_posix_walk_look(stage, kept, err);
		if (rc < 0 || !identity_same_object(kept, want)) {
			memset(kept, 0, sizeof(*kept));
			rc = swap_back(root, stage, at, &ours.was, err);
		}
	} else if (root->exchange && errno == ENOENT) {
		rc = err_set(err, ERR_CHANGED, "gone meanwhile");
	} else if (root->exchange && errno != EINVAL && errno != ENOSYS) {
		rc = fs_posix_walk_err(err, errno, "exchange");
	} else {
		rc = swap_replace(root, stage, at, want, &ours.was, kept, work,
		    err);
	}
out:
	if (rc == 0) {
		swap_release(&ours, &done->u.done.seen);
	} else {
		close(ours.fd);
	}
	return rc;
}

/* Both names of an effect that goes between staging and the tree. */
static int
swap_names(struct fs_root *root, const struct effect *effect,
    struct fs_at *stage, struct fs_at *at, struct err *err)
{
	int rc = fs_posix_walk_stage(root, effect->temp, stage, err);

	if (rc < 0)
		return rc;
	return fs_posix_walk_parent(root, effect->path, at, err);
}

/*
 * What is at the name goes to another that people see, never by staging: what
 * is staged is put there first, and the two are exchanged.  Whoever dies in
 * between leaves one whole file too many and hides none.
 */
static int
swap_beside(struct fs_root *root, const struct fs_at *stage,
    const struct fs_at *keep, const struct fs_at *at,
    const struct effect *effect, struct fs_posix_work *work, struct event *done,
    struct err *err)
{
	struct identity now, ours;
	int rc = fs_posix_walk_look(at, &now, err);

	if (rc < 0)
		return rc;
	if (!identity_same(&effect->want, &now)) {
		done->u.done.seen = now;
		return err_set(err, ERR_CHANGED, "not what was seen before");
	}
	rc = fs_posix_walk_look(stage, &ours, err);
	if (rc < 0)
		return rc;
	rc = fs_posix_walk_rename_new(root, stage, keep);
	if (rc == -EEXIST)
		return err_set(err, ERR_EXISTS, "the new name is taken");
	if (rc < 0)
		return fs_posix_walk_err(err, -rc, "rename from staging");
	rc = swap_in(root, keep, at, &effect->want, work, done, err);
	/* Not put: ours goes back.  What else is there is a person's. */
	if (rc < 0 && fs_posix_walk_look(keep, &now, NULL) == 0 &&
	    swap_is(&now, &ours))
		(void)fs_posix_walk_rename_new(root, keep, stage);
	return rc;
}

FS_POSIX_EFFECT(finish_file)
{
	const struct slice name = effect->u.finish.keep;
	struct fs_at stage, at, keep;
	int rc = swap_names(root, effect, &stage, &at, err);

	if (rc < 0)
		return rc;
	if (name.len == 0) {
		rc = swap_in(root, &stage, &at, &effect->want, work, done, err);
	} else if ((rc = fs_posix_walk_parent(root, name, &keep, err)) == 0) {
		rc = swap_beside(root, &stage, &keep, &at, effect, work, done,
		    err);
		fs_posix_walk_leave(&keep);
	}
	fs_posix_walk_leave(&at);
	return rc;
}

FS_POSIX_EFFECT(make_link)
{
	const struct slice target = effect->u.link.target;
	struct identity made, left;
	struct fs_at stage, at;
	const char *text;
	int rc;

	if (target.len == 0 || target.len > LIMIT_LINK_LEN)
		return err_set(err, ERR_LIMIT, "link target of %zu bytes",
		    target.len);
	if (slice_find(target, 0) != SIZE_MAX)
		return err_set(err, ERR_INVALID, "link target with a NUL");
	rc = swap_names(root, effect, &stage, &at, err);
	if (rc < 0)
		return rc;
	text = arena_str(&work->arena, target);
	rc = symlinkat(text, stage.dir, stage.base);
	if (rc < 0 && errno == EEXIST && /* of an earlier try */
	    unlinkat(stage.dir, stage.base, 0) == 0)
		rc = symlinkat(text, stage.dir, stage.base);
	if (rc < 0 && (errno == EPERM || errno == EOPNOTSUPP))
		rc = err_set(err, ERR_UNSUPPORTED, "no symlinks here");
	else if (rc < 0)
		rc = fs_posix_walk_err(err, errno, "make link");
	if (rc == 0)
		rc = fs_posix_walk_look(&stage, &made, err);
	if (rc == 0) {
		rc = swap_in(root, &stage, &at, &effect->want, work, done, err);
		/* Not put: nothing of it stays. */
		if (rc < 0 && fs_posix_walk_look(&stage, &left, NULL) == 0 &&
		    swap_is(&left, &made))
			unlinkat(stage.dir, stage.base, 0);
	}
	fs_posix_walk_leave(&at);
	return rc;
}

/* A person's object in staging that was not expected: to its name, or beside.
 */
static int
swap_return(const struct fs_root *root, const struct fs_at *stage,
    const struct fs_at *at, struct err *err)
{
	const int rc = fs_posix_walk_rename_new(root, stage, at);

	if (rc < 0)
		return swap_keep_beside(root, stage, at, err);
	return err_set(err, ERR_CHANGED, "changed meanwhile");
}

static int
remove_dir(const struct fs_at *at, struct err *err)
{
	if (unlinkat(at->dir, at->base, AT_REMOVEDIR) == 0)
		return 0;
	switch (errno) {
	case ENOTEMPTY:
	case EEXIST:
		return err_set(err, ERR_BUSY, "directory is not empty");
	case ENOENT:
	case ENOTDIR:
		return err_set(err, ERR_CHANGED, "changed meanwhile");
	default:
		return fs_posix_walk_err(err, errno, "remove directory");
	}
}

FS_POSIX_EFFECT(remove)
{
	struct identity now, *kept = &done->u.done.kept;
	struct fs_at stage, at;
	int rc;

	(void)work;
	rc = fs_posix_walk_parent(root, effect->path, &at, err);
	if (rc < 0)
		return rc;
	rc = fs_posix_walk_look(&at, &now, err);
	if (rc == 0 && now.type == IDENTITY_ABSENT)
		rc = err_set(err, ERR_NOT_FOUND, "not there");
	if (rc == 0 && !identity_same(&effect->want, &now)) {
		done->u.done.seen = now;
		rc = err_set(err, ERR_CHANGED, "not what was seen before");
	}
	if (rc == 0 && now.type == IDENTITY_DIR) {
		rc = remove_dir(&at, err);
		goto out;
	}
	if (rc == 0)
		rc = fs_posix_walk_stage(root, effect->temp, &stage, err);
	if (rc < 0)
		goto out;
	rc = fs_posix_walk_rename_new(root, &at, &stage);
	if (rc == -ENOENT)
		rc = err_set(err, ERR_CHANGED, "gone meanwhile");
	else if (rc < 0)
		rc = fs_posix_walk_err(err, -rc, "move to staging");
	if (rc < 0)
		goto out;
	rc = fs_posix_walk_look(&stage, kept, err);
	if (rc < 0 || !identity_same_object(kept, &effect->want)) {
		memset(kept, 0, sizeof(*kept));
		rc = swap_return(root, &stage, &at, err);
	}
out:
	fs_posix_walk_leave(&at);
	return rc;
}

/* Is `to` the name `from` under another spelling, where case is folded? */
static bool
move_is_respelling(const struct fs_root *root, const struct identity *from,
    const struct fs_at *to, struct identity *now)
{
	struct stat st;

	if (fstatat(to->dir, to->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	fs_posix_walk_identity(&st, now);
	/* A hard link is another name: renaming onto it does nothing. */
	return swap_is(from, now) &&
	       (root->facts.folds_case || from->type == IDENTITY_DIR ||
		   st.st_nlink == 1);
}

/*
 * To the kernel both names may be one, and then it does nothing.  The way is
 * by a name a person can see: whoever dies between the two leaves no bytes
 * where nobody looks.
 */
static int
move_respell(const struct fs_root *root, const struct fs_at *from,
    const struct fs_at *to)
{
	struct fs_at by;
	int rc = -EEXIST;

	if (renameat(from->dir, from->base, to->dir, to->base) < 0)
		return -errno;
	if (!root->facts.folds_case ||
	    fs_posix_walk_is_spelled(to->dir, to->base) != 0)
		return 0;
	for (int i = 0; i < SWAP_BESIDE_TRIES && rc == -EEXIST; i++) {
		swap_beside_name(from, i, &by);
		rc = fs_posix_walk_rename_new(root, from, &by);
	}
	if (rc < 0)
		return rc;
	rc = fs_posix_walk_rename_new(root, &by, to);
	if (rc < 0)
		(void)fs_posix_walk_rename_new(root, &by, from);
	return rc;
}

static int
move_names(struct fs_root *root, const struct fs_at *from,
    const struct fs_at *to, const struct swap_held *held, struct event *done,
    struct err *err)
{
	struct identity now;
	int rc = fs_posix_walk_rename_new(root, from, to);

	if (rc == -EEXIST && move_is_respelling(root, &held->was, to, &now))
		rc = move_respell(root, from, to);
	if (rc == -EEXIST) {
		fs_posix_walk_look(to, &done->u.done.seen, NULL);
		return err_set(err, ERR_EXISTS, "the new name is taken");
	}
	if (rc == -ENOENT)
		return err_set(err, ERR_CHANGED, "gone meanwhile");
	if (rc < 0)
		return fs_posix_walk_err(err, -rc, "rename");
	rc = fs_posix_walk_look(to, &now, err);
	if (rc == 0 && swap_is(&now, &held->was))
		return 0;
	/* Another object came along: what a person saved at the old name. */
	if (now.type != IDENTITY_ABSENT)
		(void)fs_posix_walk_rename_new(root, to, from);
	return err_set(err, ERR_CHANGED, "changed meanwhile");
}

FS_POSIX_EFFECT(move)
{
	struct swap_held held;
	struct fs_at from, to;
	int rc = fs_posix_walk_parent(root, effect->path, &from, err);

	(void)work;
	if (rc < 0)
		return rc;
	rc = fs_posix_walk_parent(root, effect->u.move.to, &to, err);
	if (rc < 0)
		goto leave_from;
	rc = swap_hold(&from, &held, err);
	if (rc < 0)
		goto out;
	if (!identity_same(&effect->want, &held.was)) {
		done->u.done.seen = held.was;
		rc = err_set(err, ERR_CHANGED, "not what was seen before");
	} else {
		rc = move_names(root, &from, &to, &held, done, err);
	}
	if (rc == 0)
		swap_release(&held, &done->u.done.seen);
	else
		close(held.fd);
out:
	fs_posix_walk_leave(&to);
leave_from:
	fs_posix_walk_leave(&from);
	return rc;
}

FS_POSIX_EFFECT(put_back)
{
	struct swap_held held;
	struct fs_at stage, at;
	int rc = swap_names(root, effect, &stage, &at, err);

	(void)work;
	if (rc < 0)
		return rc;
	rc = swap_hold(&stage, &held, err);
	if (rc < 0)
		goto out;
	rc = fs_posix_walk_rename_new(root, &stage, &at);
	if (rc < 0) {
		close(held.fd);
		rc = rc == -EEXIST
			 ? err_set(err, ERR_EXISTS, "the name is taken")
			 : fs_posix_walk_err(err, -rc, "rename");
		goto out;
	}
	swap_release(&held, &done->u.done.seen);
out:
	fs_posix_walk_leave(&at);
	return rc;
}
