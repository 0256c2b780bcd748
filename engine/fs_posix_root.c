/*
 * A folder's root: opening it, its marker, and what its file system can do.
 *
 * What a file system can do is tried out in the staging directory, where no
 * person sees it; nothing is ever written into a root without a marker.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/fs_posix.h"
#include "engine/fs_posix_walk.h"

#define ROOT_MARKER ".stfolder"
#define ROOT_VERSIONS ".stversions"
#define ROOT_IGNORES ".stignore"
#define ROOT_STAGE "holdfast"
#define ROOT_STAGE_HIDDEN ".holdfast" /* below .stversions */
#define ROOT_NONCE "holdfast.id"      /* in the marker: 16 hex digits */
#define ROOT_NONCE_NEW "holdfast.id.new"
#define ROOT_NONCE_LEN 16

#ifndef F2FS_SUPER_MAGIC
#define F2FS_SUPER_MAGIC 0xF2F52010
#endif
/* FS_IOC_GETFSUUID, Linux 6.9; not in the headers we build with. */
struct root_uuid {
	uint8_t len;
	uint8_t uuid[16];
};
#define ROOT_GETFSUUID _IOR(0x15, 0, struct root_uuid)

/*
 * What names the file system across reboots, as far as anything does.  The fsid
 * is made from the UUID on these; on others it is a device number, which says
 * "foreign disk" whenever disks are found in another order.
 */
static void
root_identity(int fd, const struct stat *st, struct root_identity *out)
{
	struct root_uuid uuid = { 0 };
	struct statfs fs;

	memset(out, 0, sizeof(*out));
	out->dev = st->st_dev;
	out->ino = st->st_ino;
	if (fstatfs(fd, &fs) < 0)
		return;
	if (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC ||
	    fs.f_type == F2FS_SUPER_MAGIC) {
		uint32_t id[2];

		memcpy(id, &fs.f_fsid, sizeof(id));
		out->fs_hi = (uint64_t)fs.f_type;
		out->fs_lo = (uint64_t)id[0] | (uint64_t)id[1] << 32;
	} else if (fs.f_type != TMPFS_MAGIC && /* new at every mount */
		   ioctl(fd, ROOT_GETFSUUID, &uuid) == 0 && uuid.len == 16) {
		memcpy(&out->fs_hi, uuid.uuid, 8);
		memcpy(&out->fs_lo, uuid.uuid + 8, 8);
	}
}

/*
 * Many file systems cannot say which one they are (XFS before Linux 6.9, NFS,
 * tmpfs).  For these there is a random number beside the marker; 0: none, or
 * none that we wrote.
 */
static uint64_t
root_nonce_read(int marker)
{
	char text[ROOT_NONCE_LEN + 2] = "";
	const int fd = openat(marker, ROOT_NONCE,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = pread(fd, text, sizeof(text), 0);
	close(fd);
	if (n != ROOT_NONCE_LEN + 1 || text[ROOT_NONCE_LEN] != '\n' ||
	    strspn(text, "0123456789abcdef") != ROOT_NONCE_LEN)
		return 0;
	return strtoull(text, NULL, 16);
}

/* A disk that cannot be written to has none. */
static void
root_nonce_write(int marker)
{
	char text[ROOT_NONCE_LEN + 2];
	uint64_t nonce = 0;
	bool whole;
	int fd;

	if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
		return;
	snprintf(text, sizeof(text), "%016llx\n",
	    (unsigned long long)(nonce | 1));
	unlinkat(marker, ROOT_NONCE_NEW, 0);
	fd = openat(marker, ROOT_NONCE_NEW,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	whole = write(fd, text, ROOT_NONCE_LEN + 1) == ROOT_NONCE_LEN + 1 &&
		fsync(fd) == 0;
	close(fd);
	if (!whole || renameat(marker, ROOT_NONCE_NEW, marker, ROOT_NONCE) < 0)
		unlinkat(marker, ROOT_NONCE_NEW, 0);
	else
		(void)fsync(marker);
}

/* The marker of an open root, if it is a directory; fd or -1. */
static int
root_marker(int root)
{
	return openat(root, ROOT_MARKER,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Nothing but our own and Syncthing's internal names?  0, 1 or -errno. */
static int
root_is_empty(int fd)
{
	const int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;
	int rc = 1;

	if (dir == NULL) {
		rc = -errno;
		if (copy >= 0)
			close(copy);
		return rc;
	}
	while (rc == 1 && (errno = 0, de = readdir(dir)) != NULL)
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0 &&
		    strcmp(de->d_name, ROOT_MARKER) != 0 &&
		    strcmp(de->d_name, ROOT_VERSIONS) != 0 &&
		    strcmp(de->d_name, ROOT_IGNORES) != 0)
			rc = 0;
	if (rc == 1 && errno != 0)
		rc = -errno;
	closedir(dir);
	return rc;
}

/* Open the root and fill what can be seen without writing. */
static int
root_look(const char *path, int *fd, struct root_facts *facts, struct err *err)
{
	struct stat st;
	int marker;
	int rc;

	memset(facts, 0, sizeof(*facts));
	/* The person named this path: symlinks in it are theirs. */
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 && (errno == EACCES || errno == EPERM))
		return err_sys(err, errno, "open folder %s", path);
	if (*fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return err_sys(err, errno, "open folder %s", path);
	if (*fd < 0)
		return err_set(err, ERR_MISSING_ROOT, "open folder %s: %s",
		    path, strerror(errno));
	if (fstat(*fd, &st) < 0) {
		rc = err_sys(err, errno, "stat folder %s", path);
		goto out;
	}
	root_identity(*fd, &st, &facts->identity);
	rc = root_is_empty(*fd);
	if (rc < 0) {
		rc = err_sys(err, -rc, "list folder %s", path);
		goto out;
	}
	facts->empty = rc == 1;
	facts->exists = true;
	facts->marker =
	    fstatat(*fd, ROOT_MARKER, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode));
	marker = root_marker(*fd);
	if (marker >= 0) {
		facts->identity.nonce = root_nonce_read(marker);
		close(marker);
	}
	rc = 0;
out:
	if (rc < 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

/*
 * Open the directory `name` in `dir`, made when missing; fd or -errno.  Its
 * name is flushed, one that was there too (whoever made it may have been
 * killed): that a temp is gone says something, and must not be because all of
 * staging is.
 */
static int
root_subdir(int dir, const char *name, bool make)
{
	if (make && mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (make && fsync(dir) < 0 && errno != EINVAL && errno != EROFS)
		return -errno;
	dir =
	    openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir < 0 ? -errno : dir;
}

/* The staging directory of an open root; fd or -errno. */
static int
root_stage(int root, bool make)
{
	const char *above = ROOT_MARKER, *name = ROOT_STAGE;
	struct stat st;
	int dir, fd;

	if (fstatat(root, ROOT_MARKER, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode)) { /* the marker of an old Syncthing */
		above = ROOT_VERSIONS;
		name = ROOT_STAGE_HIDDEN;
	}
	dir = root_subdir(root, above, make && !S_ISDIR(st.st_mode));
	if (dir < 0)
		return dir;
	fd = root_subdir(dir, name, make);
	close(dir);
	return fd;
}

static int
root_probe_file(int dir, const char *name)
{
	unlinkat(dir, name, 0);
	return openat(dir, name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/*
 * Try out what the file system can do.  Where trying fails, on a full disk for
 * one, the best is assumed: every act finds out by itself anyway.
 */
static void
root_probe(struct fs_root *root)
{
	struct root_facts *f = &root->facts;
	const int dir = root->stage_fd;
	struct stat st;
	int a, b;

	f->can_exchange = f->has_perms = f->has_links = true;
	a = root_probe_file(dir, "probe-a");
	b = root_probe_file(dir, "probe-b");
	if (a >= 0 && b >= 0) {
		f->can_exchange = renameat2(dir, "probe-a", dir, "probe-b",
				      RENAME_EXCHANGE) == 0;
		root->noreplace = renameat2(dir, "probe-a", dir, "probe-b",
				      RENAME_NOREPLACE) < 0 &&
				  errno == EEXIST;
		f->folds_case =
		    fstatat(dir, "PROBE-A", &st, AT_SYMLINK_NOFOLLOW) == 0;
		f->has_perms = fchmod(a, 0640) == 0 && fstat(a, &st) == 0 &&
			       (st.st_mode & 0777) == 0640 &&
			       fchmod(a, 0600) == 0 && fstat(a, &st) == 0 &&
			       (st.st_mode & 0777) == 0600;
		unlinkat(dir, "probe-l", 0);
		f->has_links =
		    symlinkat("probe-a", dir, "probe-l") == 0 ||
		    (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS);
		unlinkat(dir, "probe-l", 0);
	}
	root->exchange = f->can_exchange;
	if (a >= 0) {
		close(a);
		unlinkat(dir, "probe-a", 0);
	}
	if (b >= 0) {
		close(b);
		unlinkat(dir, "probe-b", 0);
	}
}

/* syncfs() tells of write errors since 5.8. */
static bool
root_kernel_syncfs(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2)
		return false;
	return major > 5 || (major == 5 && minor >= 8);
}

/* umask(2) can only be read by setting it, which other threads would see. */
static mode_t
root_umask(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	unsigned mask = 022;

	if (f == NULL)
		return (mode_t)mask;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Umask: %o", &mask) == 1)
			break;
	fclose(f);
	return (mode_t)(mask & 0777);
}

/*
 * A folder can be served without a staging directory, and then is for good.
 * What is different in a moment is no reason for that: it is opened again.
 */
static bool
root_stage_may_come(int code)
{
	return code == ERR_BUSY || code == ERR_IO || code == ERR_FULL;
}

int
fs_posix_open(struct fs_root **out, const char *path, struct root_facts *facts,
    struct err *err)
{
	struct fs_root *root = mem_zalloc(sizeof(*root));
	struct stat st;
	int rc;

	*out = NULL;
	root->stage_fd = -1;
	rc = root_look(path, &root->fd, facts, err);
	if (rc < 0) {
		mem_free(root);
		return rc;
	}
	root->facts = *facts;
	root->by_component = !fs_posix_walk_has_openat2(root->fd);
	root->exchange = root->noreplace = true;
	root->syncfs = root_kernel_syncfs();
	root->umask = root_umask();
	if (!facts->marker) {
		err_set(&root->stage_err, ERR_MISSING_ROOT,
		    "no folder marker " ROOT_MARKER);
		*out = root;
		return 0;
	}
	root->stage_fd = root_stage(root->fd, true);
	if (root->stage_fd < 0 || fstat(root->stage_fd, &st) < 0) {
		fs_posix_walk_err(&root->stage_err,
		    root->stage_fd < 0 ? -root->stage_fd : errno,
		    "staging directory");
	} else if (st.st_uid != geteuid() && geteuid() != 0) {
		err_set(&root->stage_err, ERR_DENIED,
		    "staging directory belongs to another user");
	} else {
		/* Somebody may have made it with other modes. */
		if ((st.st_mode & 077) != 0)
			(void)fchmod(root->stage_fd, 0700);
		root->stage_dev = st.st_dev;
		root->stage_ino = st.st_ino;
		root_probe(root);
	}
	if (root_stage_may_come(root->stage_err.code)) {
		rc = root->stage_err.code;
		if (err != NULL)
			*err = root->stage_err;
		fs_posix_close(root);
		return rc;
	}
	if (root->stage_err.code != 0 && root->stage_fd >= 0) {
		close(root->stage_fd);
		root->stage_fd = -1;
	}
	*facts = root->facts;
	*out = root;
	return 0;
}

void
fs_posix_close(struct fs_root *root)
{
	if (root == NULL)
		return;
	if (root->stage_fd >= 0)
		close(root->stage_fd);
	close(root->fd);
	mem_free(root);
}

int
fs_posix_check(const struct fs_root *held, const char *path,
    struct root_facts *facts, bool *same, struct err *err)
{
	struct stat st;
	int fd, stage, rc;

	*same = false;
	rc = root_look(path, &fd, facts, err);
	if (rc < 0)
		return rc;
	facts->can_exchange = held->facts.can_exchange;
	facts->folds_case = held->facts.folds_case;
	facts->has_perms = held->facts.has_perms;
	facts->has_links = held->facts.has_links;
	if (fstat(held->fd, &st) == 0 && st.st_nlink > 0 &&
	    st.st_dev == facts->identity.dev &&
	    st.st_ino == facts->identity.ino) {
		stage = root_stage(fd, false);
		if (stage >= 0) {
			*same = fstat(stage, &st) == 0 && held->stage_fd >= 0 &&
				st.st_dev == held->stage_dev &&
				st.st_ino == held->stage_ino;
			close(stage);
		} else { /* cannot be had: as before? */
			*same = held->stage_fd < 0 &&
				held->facts.marker == facts->marker;
		}
	}
	close(fd);
	return 0;
}

int
fs_posix_make_marker(const char *path, struct err *err)
{
	struct stat st;
	int marker, rc = 0;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_set(err, ERR_MISSING_ROOT, "open folder %s: %s",
		    path, strerror(errno));
	if (mkdirat(fd, ROOT_MARKER, 0755) < 0 && errno != EEXIST)
		rc = err_sys(err, errno, "make " ROOT_MARKER);
	else if (fstatat(fd, ROOT_MARKER, &st, AT_SYMLINK_NOFOLLOW) < 0)
		rc = err_sys(err, errno, "stat " ROOT_MARKER);
	else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		rc = err_set(err, ERR_DENIED, ROOT_MARKER " is no directory");
	else if (fsync(fd) < 0 && errno != EINVAL)
		rc = err_sys(err, errno, "flush folder %s", path);
	marker = rc < 0 ? -1 : root_marker(fd);
	if (marker >= 0) {
		if (root_nonce_read(marker) == 0)
			root_nonce_write(marker);
		close(marker);
	}
	close(fd);
	return rc;
}

struct disk_space
fs_posix_space(const struct fs_root *root)
{
	struct disk_space out = { 0 };
	struct statfs fs;

	if (fstatfs(root->fd, &fs) == 0) {
		const uint64_t unit =
		    (uint64_t)(fs.f_frsize > 0 ? fs.f_frsize : fs.f_bsize);

		out.free = (uint64_t)fs.f_bavail * unit;
		out.total = (uint64_t)fs.f_blocks * unit;
	}
	return out;
}

int
fs_posix_dup(const struct fs_root *root)
{
	return fcntl(root->fd, F_DUPFD_CLOEXEC, 0);
}

int
fs_posix_flush(int root_fd, struct err *err)
{
	/* A write error is told once to each open description: one of our own.
	 */
	const int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return err_sys(err, errno, "open the folder");
	if (syncfs(fd) < 0)
		rc = err_sys(err, errno, "flush the folder's file system");
	close(fd);
	return rc;
}

bool
fs_posix_can_syncfs(const struct fs_root *root)
{
	return root->syncfs;
}

void
fs_posix_set_walk(struct fs_root *root, bool by_component)
{
	root->by_component =
	    by_component || !fs_posix_walk_has_openat2(root->fd);
}

void
fs_posix_set_exchange(struct fs_root *root, bool exchange, bool noreplace)
{
	root->exchange = exchange;
	root->noreplace = noreplace;
}
