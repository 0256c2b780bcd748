/* The folders, and who else works on them.  See cmd_doctor.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cli/cmd_doctor.h"
#include "cli/print.h"
#include "cli/syncthing.h"
#include "engine/base/buf.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/store_lmdb.h"

#define DOCTOR_INDEX_MS 1000u /* of reading one index */
#define DOCTOR_FREE_MIN (UINT64_C(256) << 20)
#define DOCTOR_FREE_PART 100u /* or this part of the file system */

/* --- What a file system can do --- */

static const struct {
	unsigned magic;
	const char *name;
	bool remote; /* changes made elsewhere are not told by inotify */
} doctor_fs[] = {
	{ 0xef53, "ext4", false },
	{ 0x58465342, "xfs", false },
	{ 0x9123683e, "btrfs", false },
	{ 0x01021994, "tmpfs", false },
	{ 0x2fc12fc1, "zfs", false },
	{ 0xf2f52010, "f2fs", false },
	{ 0xca451a4e, "bcachefs", false },
	{ 0x794c7630, "overlayfs", false },
	{ 0x4d44, "vfat", false },
	{ 0x2011bab0, "exfat", false },
	{ 0x7366746e, "ntfs3", false },
	{ 0x6969, "nfs", true },
	{ 0xfe534d42, "smb", true },
	{ 0xff534d42, "cifs", true },
	{ 0x65735546, "fuse", true },
	{ 0x01021997, "9p", true },
};

struct doctor_fs_facts {
	const char *name;
	bool remote, exchange, tmpfile, tried;
};

static bool
doctor_can_exchange(int dir)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	const int a = openat(dir, "doctor-a", flags, 0600);
	const int b = openat(dir, "doctor-b", flags, 0600);
	const bool can =
	    a >= 0 && b >= 0 &&
	    renameat2(dir, "doctor-a", dir, "doctor-b", RENAME_EXCHANGE) == 0;

	if (a >= 0) {
		close(a);
		unlinkat(dir, "doctor-a", 0);
	}
	if (b >= 0) {
		close(b);
		unlinkat(dir, "doctor-b", 0);
	}
	return can;
}

static void
doctor_look_at_fs(int root, struct doctor_fs_facts *out)
{
	const int stage = openat(root, ".stfolder/holdfast",
	    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;
	int fd;

	*out =
	    (struct doctor_fs_facts){ .name = "file system of another kind" };
	if (fstatfs(root, &fs) == 0)
		for (size_t i = 0; i < sizeof(doctor_fs) / sizeof(doctor_fs[0]);
		     i++)
			if ((unsigned)fs.f_type == doctor_fs[i].magic) {
				out->name = doctor_fs[i].name;
				out->remote = doctor_fs[i].remote;
			}
	if (stage < 0)
		return;
	out->tried = true;
	out->exchange = doctor_can_exchange(stage);
	fd = openat(stage, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	out->tmpfile = fd >= 0;
	if (fd >= 0)
		close(fd);
	close(stage);
}

static void
cmd_doctor_fs(struct cmd_doctor *d, const char *id, int root)
{
	struct doctor_fs_facts fs;

	doctor_look_at_fs(root, &fs);
	if (fs.remote)
		cmd_doctor_add(d, DOCTOR_WARN, "filesystem", id,
		    "set folder.ID.rescan to what you can wait for",
		    "%s: what others change there is seen by scans only",
		    fs.name);
	else if (fs.tried && !fs.exchange)
		cmd_doctor_add(d, DOCTOR_WARN, "filesystem", id,
		    "keep folders on ext4, xfs or btrfs",
		    "%s cannot exchange two names: a file saved in the very "
		    "moment it is replaced could be lost",
		    fs.name);
	else if (fs.tried)
		cmd_doctor_add(d, DOCTOR_OK, "filesystem", id, NULL,
		    "%s, exchanges names%s", fs.name,
		    fs.tmpfile ? ", unnamed files" : "");
	else
		cmd_doctor_add(d, DOCTOR_OK, "filesystem", id, NULL, "%s",
		    fs.name);
}

static void
cmd_doctor_space(struct cmd_doctor *d, const char *id, int root)
{
	struct arena *ar = &d->call->ar;
	struct statvfs vfs;
	uint64_t left, all;

	if (fstatvfs(root, &vfs) < 0)
		return;
	left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	all = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	if (left < DOCTOR_FREE_MIN || left < all / DOCTOR_FREE_PART)
		cmd_doctor_add(d, DOCTOR_WARN, "space", id, "make room",
		    "%s free of %s", print_size(ar, (int64_t)left),
		    print_size(ar, (int64_t)all));
	else if (vfs.f_files > 0 && vfs.f_favail < 1000)
		cmd_doctor_add(d, DOCTOR_WARN, "space", id, "make room",
		    "only %llu more files can be made",
		    (unsigned long long)vfs.f_favail);
	else
		cmd_doctor_add(d, DOCTOR_OK, "space", id, NULL, "%s free",
		    print_size(ar, (int64_t)left));
}

/* --- One folder --- */

/* Index directories are named as syncd_disk.c does. */
static const char *
cmd_doctor_index_dir(const struct cmd_doctor *d, const char *id)
{
	const struct hash128 h = hash_u128(slice_str(id));

	return arena_printf(&d->call->ar, "%s/%016llx%016llx",
	    d->call->home.index_dir, (unsigned long long)h.hi,
	    (unsigned long long)h.lo);
}

static void
cmd_doctor_index(struct cmd_doctor *d, const char *id)
{
	const char *dir = cmd_doctor_index_dir(d, id);
	const json_t *live =
	    cmd_find(json_object_get(d->status, "folders"), id);
	struct err err = { 0 };
	int rc;

	if (d->self != NULL) {
		/* It was looked at when the folder opened, and is open. */
		if (strcmp(cmd_text(live, "reason"), "index-damaged") == 0)
			cmd_doctor_add(d, DOCTOR_FAIL, "index", id,
			    "restart syncd: it is made anew", "damaged");
		else
			cmd_doctor_add(d, DOCTOR_OK, "index", id, NULL,
			    "in use");
		return;
	}
	if (access(dir, F_OK) < 0) {
		cmd_doctor_add(d, DOCTOR_OK, "index", id, NULL,
		    "none yet: it is made when the folder opens");
		return;
	}
	rc = store_lmdb_check(dir, DOCTOR_INDEX_MS, &err);
	if (rc == ERR_CORRUPT)
		cmd_doctor_add(d, DOCTOR_FAIL, "index", id,
		    "start syncd: it is set aside and made anew", "%s",
		    err.text);
	else if (rc < 0)
		cmd_doctor_add(d, DOCTOR_WARN, "index", id, NULL,
		    "could not be looked at: %s", err.text);
	else
		cmd_doctor_add(d, DOCTOR_OK, "index", id, NULL,
		    "whole, as far as a second of reading tells");
}

static void
cmd_doctor_root(struct cmd_doctor *d, const struct setup_folder *f,
    const char *id, int root)
{
	const char *path = (const char *)f->path.ptr;
	struct arena *ar = &d->call->ar;
	struct stat st;

	/* Before the first start there is none, and syncd makes it. */
	if (fstatat(root, ".stfolder", &st, AT_SYMLINK_NOFOLLOW) < 0 &&
	    access(cmd_doctor_index_dir(d, id), F_OK) == 0) {
		cmd_doctor_add(d, DOCTOR_FAIL, "folder", id,
		    arena_printf(ar,
			"is this the right disk? then: mkdir %s/"
			".stfolder",
			path),
		    "%s has no marker .stfolder", path);
		return;
	}
	if (f->mode != FOLDER_SEND_ONLY &&
	    faccessat(root, ".", W_OK | X_OK, AT_EACCESS) < 0) {
		cmd_doctor_add(d, DOCTOR_FAIL, "folder", id,
		    arena_printf(ar, "chown or chmod %s, or mount it writable",
			path),
		    "%s cannot be written: %s", path, strerror(errno));
		return;
	}
	cmd_doctor_add(d, DOCTOR_OK, "folder", id, NULL, "%s", path);
}

static void
cmd_doctor_folder(struct cmd_doctor *d, const struct setup_folder *f)
{
	const char *id = (const char *)f->id.ptr;
	const char *path = (const char *)f->path.ptr;
	int root;

	if (f->paused) {
		cmd_doctor_add(d, DOCTOR_OK, "folder", id, NULL, "paused");
		return;
	}
	root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	if (root < 0) {
		cmd_doctor_add(d, DOCTOR_FAIL, "folder", id,
		    "mount its disk, or make it readable", "%s: %s", path,
		    strerror(errno));
		return;
	}
	cmd_doctor_root(d, f, id, root);
	cmd_doctor_fs(d, id, root);
	cmd_doctor_space(d, id, root);
	cmd_doctor_index(d, id);
	close(root);
}

void
cmd_doctor_folders(struct cmd_doctor *d)
{
	if (!d->has_cfg)
		return;
	for (uint32_t i = 0; i < d->cfg.setup.folder_count; i++)
		cmd_doctor_folder(d, &d->cfg.setup.folder[i]);
}

/* --- Syncthing --- */

/* A small file of /proc, with NUL at the end; false: not ours to read. */
static bool
doctor_read(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	size_t n;

	buf_clear(out);
	if (f == NULL)
		return false;
	do {
		uint8_t *at = buf_extend(out, 64 * 1024);

		n = fread(at, 1, 64 * 1024, f);
		out->len -= 64 * 1024 - n;
	} while (n > 0 && out->len < SYNCTHING_CONFIG_MAX);
	fclose(f);
	*(uint8_t *)buf_extend(out, 1) = '\0';
	return true;
}

/* The value of NAME=... in a list of NUL-ended words; NULL. */
static const char *
doctor_word(struct arena *ar, const struct buf *list, const char *name)
{
	const size_t len = strlen(name);
	size_t i = 0;

	while (i + 1 < list->len) {
		const char *word = (const char *)list->ptr + i;

		if (strncmp(word, name, len) == 0 && word[len] == '=')
			return arena_str(ar, slice_str(word + len + 1));
		/* "--home DIR" too. */
		i += strlen(word) + 1;
		if (strcmp(word, name) == 0 && i + 1 < list->len)
			return arena_str(ar,
			    slice_str((const char *)list->ptr + i));
	}
	return NULL;
}

/* Where the Syncthing of this process keeps its configuration. */
static const char *
doctor_syncthing_config(struct arena *ar, const char *pid)
{
	static const char *const options[] = { "--home", "-home", "--config" };
	const char *const proc = arena_printf(ar, "/proc/%s", pid);
	const char *dir = NULL, *home;
	struct buf buf = { 0 };

	if (doctor_read(arena_printf(ar, "%s/cmdline", proc), &buf))
		for (size_t i = 0; i < 3 && dir == NULL; i++)
			dir = doctor_word(ar, &buf, options[i]);
	if (dir == NULL &&
	    doctor_read(arena_printf(ar, "%s/environ", proc), &buf)) {
		dir = doctor_word(ar, &buf, "STHOMEDIR");
		home = doctor_word(ar, &buf, "HOME");
		for (int i = 0; i < 2 && dir == NULL && home != NULL; i++) {
			const char *at = arena_printf(ar, "%s/%s/syncthing",
			    home, i == 0 ? ".local/state" : ".config");

			if (access(arena_printf(ar, "%s/config.xml", at),
				F_OK) == 0)
				dir = at;
		}
	}
	buf_fini(&buf);
	return dir == NULL ? NULL : arena_printf(ar, "%s/config.xml", dir);
}

/* Is one of two directories within the other? */
static bool
doctor_overlap(const char *a, const char *b)
{
	char real_a[PATH_MAX], real_b[PATH_MAX];

	if (realpath(a, real_a) == NULL || realpath(b, real_b) == NULL)
		return false;
	return config_path_is_within(slice_str(real_a), slice_str(real_b)) ||
	       config_path_is_within(slice_str(real_b), slice_str(real_a));
}

static void
cmd_doctor_compare(struct cmd_doctor *d, const char *pid,
    const struct syncthing *st)
{
	for (uint32_t i = 0; i < d->cfg.setup.folder_count; i++) {
		const struct setup_folder *f = &d->cfg.setup.folder[i];

		for (size_t k = 0; k < st->folder_count; k++)
			if (!st->folder[k].paused && !f->paused &&
			    doctor_overlap((const char *)f->path.ptr,
				st->folder[k].path))
				cmd_doctor_add(d, DOCTOR_FAIL, "syncthing",
				    (const char *)f->id.ptr,
				    "stop one of the two, or pause the folder "
				    "in one",
				    "a running Syncthing (pid %s) syncs %s too",
				    pid, st->folder[k].path);
	}
}

static void
cmd_doctor_one_syncthing(struct cmd_doctor *d, const char *pid)
{
	struct arena *ar = &d->call->ar;
	const char *file = doctor_syncthing_config(ar, pid);
	struct syncthing st = { 0 };
	struct err err = { 0 };
	struct buf buf = { 0 };

	if (file != NULL && doctor_read(file, &buf) && buf.len > 1 &&
	    syncthing_parse(&st, slice_of(buf.ptr, buf.len - 1), ar, &err) == 0)
		cmd_doctor_compare(d, pid, &st);
	else
		cmd_doctor_add(d, DOCTOR_WARN, "syncthing", "",
		    "see to it that it has none of these folders",
		    "a Syncthing runs (pid %s), its folders cannot be seen",
		    pid);
	buf_fini(&buf);
}

void
cmd_doctor_syncthing(struct cmd_doctor *d)
{
	struct arena *ar = &d->call->ar;
	const size_t before = d->line.len;
	DIR *proc = opendir("/proc");
	struct buf buf = { 0 };

	if (proc == NULL || !d->has_cfg || d->cfg.setup.folder_count == 0) {
		if (proc != NULL)
			closedir(proc);
		return;
	}
	for (const struct dirent *de; (de = readdir(proc)) != NULL;)
		if (de->d_name[0] >= '1' && de->d_name[0] <= '9' &&
		    doctor_read(arena_printf(ar, "/proc/%s/comm", de->d_name),
			&buf) &&
		    strcmp((const char *)buf.ptr, "syncthing\n") == 0)
			cmd_doctor_one_syncthing(d,
			    arena_str(ar, slice_str(de->d_name)));
	closedir(proc);
	buf_fini(&buf);
	if (d->line.len == before)
		cmd_doctor_add(d, DOCTOR_OK, "syncthing", "", NULL,
		    "none works on these folders");
}
