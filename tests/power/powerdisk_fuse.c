/*
 * powerdisk DIRECTORY: disks that lose their power, for loop devices.
 *
 * Mounts at DIRECTORY a file system of its own with one file a disk, and speaks
 * FUSE with the kernel itself, so it needs no library.  A loop device over such
 * a file sends its writes here as WRITE and its flushes as FSYNC, in the order
 * the file system above gave them: real ext4, XFS or btrfs, real journal, real
 * page cache, and a disk that forgets (cutdisk.h).
 *
 * When a disk is cut its requests are answered no more, so that nothing that
 * waits for it goes on, until it is buried; by then the programs that used
 * it must be dead (SIGKILL sent).  From then on it takes everything and
 * forgets it at the restore.
 *
 * Commands, a line each on standard input; each is answered with a line:
 *	add DISK MIB              a disk of zeroes
 *	ops DISK                  -> ops N: writes and flushes so far
 *	arm OPS DISK [DISK]       cut all named when they have done that many
 *	                          more; then there comes a line "cut"
 *	arm-flush N DISK [DISK]   ... when they have flushed that often; the
 *	                          cache is fullest just before the next flush
 *	cut DISK [DISK]           cut them now
 *	bury DISK
 *	restore DISK MODEL SEED   -> restored WRITES WHOLE TORN
 *	wipe DISK                 all zeroes, a new disk
 *	save DISK PATH            write what it holds to a sparse file
 * An answer "error ..." is a mistake of who asks.  End of input ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fuse.h>

#include "cutdisk.h"

#define DISKS_MAX 8u
#define SECTOR 4096u
#define WRITE_MAX (1u << 20)
#define BUF_LEN (WRITE_MAX + 4096u)
#define ARGS_MAX 8u
#define LINE_LEN 4096u
#define FIRST_NODE (FUSE_ROOT_ID + 1u)
#define FOREVER_S (UINT64_C(1) << 30)

/* A request whose answer waits for the burial. */
struct held {
	uint64_t unique;
	uint32_t opcode, size;
	uint64_t at;
	int error;
};

struct disk {
	char name[32];
	struct cutdisk *cd;
	bool buried;
	struct held *held;
	size_t held_len, held_cap;
};

static struct {
	int fuse;
	struct disk disk[DISKS_MAX];
	uint32_t disks;
	uint32_t armed;    /* bits of disks; 0: nothing is armed */
	uint64_t ops_left; /* of them, together */
	bool flushes_only; /* only these count */
	uint8_t *in, *out;
} pd;

_Noreturn static void
die(const char *what)
{
	fprintf(stderr, "powerdisk: %s: %s\n", what, strerror(errno));
	exit(1);
}

__attribute__((format(printf, 1, 2))) static void
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

/* Answers to the kernel */

static void
answer(uint64_t unique, int error, const void *data, size_t len)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + len),
		.error = -error,
		.unique = unique,
	};
	struct iovec iov[2] = {
		{ .iov_base = &head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)(uintptr_t)data, .iov_len = len },
	};

	/* ENOENT: whoever asked was interrupted meanwhile. */
	if (writev(pd.fuse, iov, 2) < 0 && errno != ENOENT)
		die("answer");
}

static void
answer_io(struct disk *d, const struct held *h)
{
	struct fuse_write_out wrote = { .size = h->size };

	if (h->error != 0) {
		answer(h->unique, h->error, NULL, 0);
	} else if (h->opcode == FUSE_READ) {
		if (cutdisk_read(d->cd, h->at, pd.out, h->size))
			answer(h->unique, 0, pd.out, h->size);
		else
			answer(h->unique, EIO, NULL, 0);
	} else if (h->opcode == FUSE_WRITE) {
		answer(h->unique, 0, &wrote, sizeof(wrote));
	} else {
		answer(h->unique, 0, NULL, 0);
	}
}

/* Takes the request in, at once or until the burial. */
static void
finish_io(struct disk *d, const struct held *h)
{
	if (!cutdisk_is_cut(d->cd) || d->buried) {
		answer_io(d, h);
		return;
	}
	if (d->held_len == d->held_cap) {
		d->held_cap = d->held_cap > 0 ? 2 * d->held_cap : 64;
		d->held = realloc(d->held, d->held_cap * sizeof(*d->held));
		if (d->held == NULL)
			die("memory");
	}
	d->held[d->held_len++] = *h;
}

static void
cut_now(uint32_t disks)
{
	for (uint32_t i = 0; i < pd.disks; i++) {
		if ((disks & 1u << i) != 0)
			cutdisk_cut(pd.disk[i].cd);
	}
	pd.armed = 0;
}

/* To be called before a write or flush of `d`. */
static void
count_op(const struct disk *d, bool is_flush)
{
	const uint32_t bit = 1u << (d - pd.disk);

	if ((pd.armed & bit) == 0 || (pd.flushes_only && !is_flush))
		return;
	if (pd.ops_left > 0) {
		pd.ops_left--;
		return;
	}
	cut_now(pd.armed);
	say("cut");
}

/* Requests of the kernel */

static void
fill_attr(uint64_t node, struct fuse_attr *a)
{
	*a = (struct fuse_attr){ .ino = node, .nlink = 1, .blksize = SECTOR };
	if (node == FUSE_ROOT_ID) {
		a->mode = S_IFDIR | 0700;
		return;
	}
	a->mode = S_IFREG | 0600;
	a->size = cutdisk_len(pd.disk[node - FIRST_NODE].cd);
	a->blocks = a->size / 512;
}

static void
do_init(const struct fuse_in_header *h, const void *arg)
{
	const struct fuse_init_in *in = arg;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = in->max_readahead,
		.flags = in->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES),
		.max_background = 64,
		.congestion_threshold = 48,
		.max_write = WRITE_MAX,
		.time_gran = 1,
		.max_pages = WRITE_MAX / 4096,
	};

	answer(h->unique, 0, &out, sizeof(out));
}

static void
do_lookup(const struct fuse_in_header *h, const char *name)
{
	struct fuse_entry_out out = { .entry_valid = FOREVER_S,
		.attr_valid = FOREVER_S };

	for (uint32_t i = 0; i < pd.disks; i++) {
		if (strcmp(pd.disk[i].name, name) != 0)
			continue;
		out.nodeid = FIRST_NODE + i;
		fill_attr(out.nodeid, &out.attr);
		answer(h->unique, 0, &out, sizeof(out));
		return;
	}
	answer(h->unique, ENOENT, NULL, 0);
}

static void
do_getattr(const struct fuse_in_header *h)
{
	struct fuse_attr_out out = { .attr_valid = FOREVER_S };

	fill_attr(h->nodeid, &out.attr);
	answer(h->unique, 0, &out, sizeof(out));
}

static void
do_open(const struct fuse_in_header *h)
{
	/* Direct: nothing may stay in a cache between the loop and us. */
	struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO };

	if (h->opcode == FUSE_OPENDIR)
		out.open_flags = 0;
	answer(h->unique, 0, &out, sizeof(out));
}

static void
do_read(const struct fuse_in_header *h, struct disk *d, const void *arg)
{
	const struct fuse_read_in *in = arg;
	const uint64_t len = cutdisk_len(d->cd);
	struct held io = { .unique = h->unique,
		.opcode = h->opcode,
		.at = in->offset,
		.size = in->size };

	if (io.at > len)
		io.at = len;
	if (io.size > len - io.at)
		io.size = (uint32_t)(len - io.at);
	if (io.size > BUF_LEN)
		io.error = EINVAL;
	finish_io(d, &io);
}

static void
do_write(const struct fuse_in_header *h, struct disk *d, const void *arg)
{
	const struct fuse_write_in *in = arg;
	struct held io = { .unique = h->unique,
		.opcode = h->opcode,
		.at = in->offset,
		.size = in->size };

	count_op(d, false);
	if (!cutdisk_write(d->cd, in->offset, in + 1, in->size))
		io.error = ENOSPC;
	finish_io(d, &io);
}

static void
do_fsync(const struct fuse_in_header *h, struct disk *d)
{
	const struct held io = { .unique = h->unique, .opcode = h->opcode };

	count_op(d, true);
	cutdisk_flush(d->cd);
	finish_io(d, &io);
}

static void
do_statfs(const struct fuse_in_header *h)
{
	struct fuse_statfs_out out = { .st = { .bsize = SECTOR,
					   .namelen = 31 } };

	answer(h->unique, 0, &out, sizeof(out));
}

static void
do_request(const struct fuse_in_header *h, const void *arg)
{
	struct disk *d = NULL;

	if (h->nodeid >= FIRST_NODE && h->nodeid < FIRST_NODE + pd.disks)
		d = &pd.disk[h->nodeid - FIRST_NODE];
	switch (h->opcode) {
	case FUSE_INIT:
		do_init(h, arg);
		break;
	case FUSE_LOOKUP:
		do_lookup(h, arg);
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR: /* of no interest to a disk */
		do_getattr(h);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		do_open(h);
		break;
	case FUSE_STATFS:
		do_statfs(h);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break; /* these want no answer */
	case FUSE_READDIR:
	case FUSE_FLUSH: /* close(), which flushes no disk */
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_ACCESS:
	case FUSE_DESTROY:
		answer(h->unique, 0, NULL, 0);
		break;
	default:
		if (d != NULL && h->opcode == FUSE_READ)
			do_read(h, d, arg);
		else if (d != NULL && h->opcode == FUSE_WRITE)
			do_write(h, d, arg);
		else if (d != NULL && h->opcode == FUSE_FSYNC)
			do_fsync(h, d);
		else
			answer(h->unique, ENOSYS, NULL, 0);
	}
}

/* False: unmounted. */
static bool
serve_one(void)
{
	const ssize_t n = read(pd.fuse, pd.in, BUF_LEN);

	if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
		return true;
	if (n < 0 && errno == ENODEV)
		return false;
	if (n < (ssize_t)sizeof(struct fuse_in_header))
		die("read request");
	do_request((const struct fuse_in_header *)(const void *)pd.in,
	    pd.in + sizeof(struct fuse_in_header));
	return true;
}

static void
mount_at(const char *dir)
{
	char opts[128];

	pd.fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (pd.fuse < 0)
		die("/dev/fuse");
	snprintf(opts, sizeof(opts),
	    "fd=%d,rootmode=40000,user_id=0,group_id=0", pd.fuse);
	if (mount("powerdisk", dir, "fuse.powerdisk", MS_NOSUID | MS_NODEV,
		opts) < 0)
		die("mount");
}

/* Commands */

static struct disk *
disk_of(const char *name)
{
	for (uint32_t i = 0; i < pd.disks; i++) {
		if (strcmp(pd.disk[i].name, name) == 0)
			return &pd.disk[i];
	}
	return NULL;
}

static void
cmd_add(const char *name, const char *mib)
{
	struct disk *d = &pd.disk[pd.disks];
	const uint64_t len = strtoull(mib, NULL, 10) << 20;

	if (pd.disks == DISKS_MAX || strlen(name) >= sizeof(d->name) ||
	    disk_of(name) != NULL || len == 0) {
		say("error add");
		return;
	}
	d->cd = cutdisk_new(len, SECTOR);
	if (d->cd == NULL)
		die("memory");
	strcpy(d->name, name);
	pd.disks++;
	say("ok");
}

static void
cmd_bury(struct disk *d)
{
	d->buried = true;
	for (size_t i = 0; i < d->held_len; i++)
		answer_io(d, &d->held[i]);
	d->held_len = 0;
	say("ok");
}

static void
cmd_restore(struct disk *d, const char *model, const char *seed)
{
	static const char *const names[CUTDISK_MODELS] = { "nothing", "prefix",
		"subset", "all" };
	struct cutdisk_sum sum;

	for (unsigned m = 0; m < CUTDISK_MODELS; m++) {
		if (strcmp(names[m], model) != 0 || !d->buried)
			continue;
		cutdisk_restore(d->cd, (enum cutdisk_model)m,
		    strtoull(seed, NULL, 10), &sum);
		d->buried = false;
		say("restored %" PRIu64 " %" PRIu64 " %" PRIu64, sum.writes,
		    sum.whole, sum.torn);
		return;
	}
	say("error restore");
}

static bool
is_zero(const uint8_t *buf, size_t len)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

static int
save_to(const struct disk *d, int fd)
{
	const uint64_t len = cutdisk_len(d->cd);

	if (ftruncate(fd, (off_t)len) < 0)
		return -1;
	for (uint64_t at = 0; at < len; at += SECTOR) {
		if (!cutdisk_read(d->cd, at, pd.out, SECTOR))
			return -1;
		if (!is_zero(pd.out, SECTOR) &&
		    pwrite(fd, pd.out, SECTOR, (off_t)at) != SECTOR)
			return -1;
	}
	return 0;
}

static void
cmd_save(const struct disk *d, const char *path)
{
	const int fd =
	    open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || save_to(d, fd) < 0)
		say("error save: %s", strerror(errno));
	else
		say("ok");
	if (fd >= 0)
		close(fd);
}

/* The bits of the disks named in arg[from..]; 0: one is unknown. */
static uint32_t
disk_bits(char **arg, unsigned from, unsigned count)
{
	uint32_t bits = 0;

	for (unsigned i = from; i < count; i++) {
		const struct disk *d = disk_of(arg[i]);

		if (d == NULL)
			return 0;
		bits |= 1u << (d - pd.disk);
	}
	return bits;
}

static void
cmd_group(char **arg, unsigned count)
{
	const bool arm = strcmp(arg[0], "cut") != 0;
	const uint32_t bits = disk_bits(arg, arm ? 2 : 1, count);

	if (bits == 0) {
		say("error %s", arg[0]);
		return;
	}
	if (arm) {
		pd.armed = bits;
		pd.flushes_only = strcmp(arg[0], "arm-flush") == 0;
		pd.ops_left = strtoull(arg[1], NULL, 10);
	} else {
		cut_now(bits);
	}
	say("ok");
}

static void
cmd_disk(char **arg, unsigned count)
{
	struct disk *d = count > 1 ? disk_of(arg[1]) : NULL;

	if (d == NULL) {
		say("error no such disk");
	} else if (strcmp(arg[0], "ops") == 0) {
		say("ops %" PRIu64, cutdisk_ops(d->cd));
	} else if (strcmp(arg[0], "bury") == 0 && cutdisk_is_cut(d->cd)) {
		cmd_bury(d);
	} else if (strcmp(arg[0], "restore") == 0 && count == 4) {
		cmd_restore(d, arg[2], arg[3]);
	} else if (strcmp(arg[0], "wipe") == 0) {
		cutdisk_wipe(d->cd);
		d->buried = false;
		say("ok");
	} else if (strcmp(arg[0], "save") == 0 && count == 3) {
		cmd_save(d, arg[2]);
	} else {
		say("error no such command");
	}
}

static void
do_command(char *line)
{
	char *arg[ARGS_MAX];
	char *rest = NULL;
	unsigned count = 0;

	for (char *w = strtok_r(line, " ", &rest);
	     w != NULL && count < ARGS_MAX; w = strtok_r(NULL, " ", &rest))
		arg[count++] = w;
	if (count == 0)
		return;
	if (strcmp(arg[0], "add") == 0 && count == 3)
		cmd_add(arg[1], arg[2]);
	else if (strncmp(arg[0], "arm", 3) == 0 || strcmp(arg[0], "cut") == 0)
		cmd_group(arg, count);
	else
		cmd_disk(arg, count);
}

/* False: end of input. */
static bool
take_commands(void)
{
	static char line[LINE_LEN];
	static size_t len;
	const ssize_t n =
	    read(STDIN_FILENO, line + len, sizeof(line) - 1 - len);
	char *end;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	len += (size_t)n;
	while ((end = memchr(line, '\n', len)) != NULL) {
		const size_t used = (size_t)(end - line) + 1;

		*end = '\0';
		do_command(line);
		memmove(line, line + used, len - used);
		len -= used;
	}
	return true;
}

int
main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: powerdisk DIRECTORY\n");
		return 2;
	}
	pd.in = aligned_alloc(4096, BUF_LEN);
	pd.out = aligned_alloc(4096, BUF_LEN);
	if (pd.in == NULL || pd.out == NULL)
		die("memory");
	mount_at(argv[1]);
	say("ready");
	for (;;) {
		struct pollfd fd[2] = {
			{ .fd = pd.fuse, .events = POLLIN },
			{ .fd = STDIN_FILENO, .events = POLLIN },
		};

		if (poll(fd, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (fd[0].revents != 0 && !serve_one())
			break;
		if (fd[1].revents != 0 && !take_commands())
			break;
	}
	umount2(argv[1], MNT_DETACH);
	return 0;
}
