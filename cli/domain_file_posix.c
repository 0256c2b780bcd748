/* The files of HOME/domain; see domain_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/domain_file.h"
#include "cli/domain_record.h"
#include "engine/base/limits.h"

/* The directory, made when `make`; a descriptor or an error. */
static int
domain_file_dir(const struct home *home, bool make, struct err *err)
{
	struct buf path = { 0 };
	int fd, state;

	buf_printf(&path, "%s/domain", home->state_dir);
	buf_put_u8(&path, '\0');
	if (make && mkdir((const char *)path.ptr, 0700) == 0) {
		/* Its name is to be there after a power cut, too. */
		state =
		    open(home->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (state >= 0) {
			(void)fsync(state);
			close(state);
		}
	}
	fd = open((const char *)path.ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fd = errno == ENOENT
			 ? err_set(err, ERR_NOT_FOUND, "no %s", path.ptr)
			 : err_sys(err, errno, "%s", path.ptr);
	buf_fini(&path);
	return fd;
}

static int
domain_file_load(int fd, struct buf *out, struct err *err)
{
	ssize_t n;

	do {
		uint8_t *at = buf_extend(out, 64 * KIB);

		n = read(fd, at, 64 * KIB);
		out->len -= (size_t)(64 * KIB) - (n > 0 ? (size_t)n : 0);
		if (out->len > DOMAIN_RECORD_MAX)
			return err_set(err, ERR_LIMIT, "larger than it can be");
	} while (n > 0);
	return n < 0 ? err_sys(err, errno, "read") : 0;
}

static bool
domain_file_is_secret(const char *name)
{
	return strcmp(name, DOMAIN_FILE_OWNER) == 0 ||
	       strcmp(name, DOMAIN_FILE_OWNER_NEXT) == 0;
}

int
domain_file_read(const struct home *home, const char *name, struct buf *out,
    struct err *err)
{
	const int dir = domain_file_dir(home, false, err);
	struct stat st;
	int fd, rc;

	if (dir < 0)
		return dir;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		rc = errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "no file")
				     : err_sys(err, errno, "open");
	else if (fstat(fd, &st) < 0)
		rc = err_sys(err, errno, "look at");
	else if (domain_file_is_secret(name) && (st.st_mode & 077) != 0)
		rc = err_set(err, ERR_DENIED,
		    "others may read it; make it yours: chmod 600");
	else
		rc = domain_file_load(fd, out, err);
	if (rc < 0)
		err_wrap(err, "domain/%s", name);
	if (fd >= 0)
		close(fd);
	close(dir);
	return rc;
}

static int
domain_file_write(int fd, struct slice bytes, struct err *err)
{
	while (bytes.len > 0) {
		const ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(err, errno, "write");
		bytes = slice_from(bytes, (size_t)n);
	}
	return fsync(fd) < 0 ? err_sys(err, errno, "flush") : 0;
}

int
domain_file_put(const struct home *home, const char *name, struct slice bytes,
    struct err *err)
{
	const int dir = domain_file_dir(home, true, err);
	char temp[64];
	int fd, rc;

	if (dir < 0)
		return dir;
	snprintf(temp, sizeof(temp), "%s.new", name);
	fd = openat(dir, temp,
	    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = fd < 0 ? err_sys(err, errno, "open")
		    : domain_file_write(fd, bytes, err);
	if (fd >= 0)
		close(fd);
	if (rc == 0 && (renameat(dir, temp, dir, name) < 0 || fsync(dir) < 0))
		rc = err_sys(err, errno, "rename");
	if (rc < 0) {
		err_wrap(err, "domain/%s", name);
		(void)unlinkat(dir, temp, 0);
	}
	close(dir);
	return rc;
}

int
domain_file_rename(const struct home *home, const char *from, const char *to,
    struct err *err)
{
	const int dir = domain_file_dir(home, false, err);
	int rc = 0;

	if (dir < 0)
		return dir;
	if (renameat(dir, from, dir, to) < 0 || fsync(dir) < 0)
		rc = err_sys(err, errno, "domain/%s", from);
	close(dir);
	return rc;
}

int
domain_file_append(const struct home *home, const char *name,
    struct slice bytes, struct err *err)
{
	const int dir = domain_file_dir(home, true, err);
	struct stat st;
	int fd, rc;

	if (dir < 0)
		return dir;
	fd = openat(dir, name,
	    O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		rc = err_sys(err, errno, "open");
	else {
		rc = domain_file_write(fd, bytes, err);
		if (rc == 0 && st.st_size == 0 && fsync(dir) < 0)
			rc = err_sys(err, errno, "flush");
		if (rc < 0 && ftruncate(fd, st.st_size) < 0)
			err_wrap(err, "and it cannot be undone");
	}
	if (rc < 0)
		err_wrap(err, "domain/%s", name);
	if (fd >= 0)
		close(fd);
	close(dir);
	return rc;
}

int
domain_file_cut(const struct home *home, const char *name, size_t len,
    struct err *err)
{
	const int dir = domain_file_dir(home, false, err);
	int fd, rc = 0;

	if (dir < 0)
		return dir;
	fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0 || fsync(fd) < 0)
		rc = err_sys(err, errno, "domain/%s", name);
	if (fd >= 0)
		close(fd);
	close(dir);
	return rc;
}

int
domain_file_put_aside(const struct home *home, int64_t wall_s, struct err *err)
{
	struct buf from = { 0 }, to = { 0 };
	int rc = 0;

	buf_printf(&from, "%s/domain", home->state_dir);
	buf_put_u8(&from, '\0');
	buf_printf(&to, "%s/domain.old-%lld", home->state_dir,
	    (long long)wall_s);
	buf_put_u8(&to, '\0');
	if (rename((const char *)from.ptr, (const char *)to.ptr) < 0 &&
	    errno != ENOENT)
		rc = err_sys(err, errno, "put %s aside", from.ptr);
	buf_fini(&from);
	buf_fini(&to);
	return rc;
}
