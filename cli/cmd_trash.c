/*
 * syncctl trash: what other devices deleted or replaced in a folder.
 *
 * Lists and copies what is in .stversions, as anyone with a file manager could;
 * only emptying is the daemon's, which may be putting something in.
 */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/print.h"
#include "engine/base/path.h"
#include "engine/trash.h"

#define CMD_TRASH_DIR ".stversions"
#define CMD_TRASH_STAGE ".holdfast" /* syncd's own, in some folders */
#define CMD_TRASH_BUF (256u * 1024)

/* A folder's directory, and where in its trash can to look. */
struct cmd_trash {
	const char *id;
	const char *root; /* of the folder */
	const char *dir;  /* of the trash can */
	const char *path; /* below it; "" for all */
};

static int
cmd_trash_open(struct cmd_call *call, struct cmd_trash *out)
{
	struct config cfg;
	struct err err = { 0 };
	uint32_t i;
	int code = cmd_config(call, &cfg);

	if (code == CMD_OK)
		code = cmd_find_folder(call, &cfg, call->opt.arg[0], &i);
	if (code != CMD_OK)
		return code;
	out->id = (const char *)cfg.setup.folder[i].id.ptr;
	out->root = (const char *)cfg.setup.folder[i].path.ptr;
	out->dir = arena_printf(&call->ar, "%s/" CMD_TRASH_DIR, out->root);
	out->path = call->opt.arg_count > 1 ? call->opt.arg[1] : "";
	if (out->path[0] != '\0' && path_check(slice_str(out->path), &err) < 0)
		return cmd_fail_as(call, CMD_USAGE, NULL,
		    "%s: %s; say it as in the folder, without a / before",
		    out->path, err.text);
	return CMD_OK;
}

static int
cmd_trash_by_path(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static FTS *
cmd_trash_walk(struct cmd_call *call, const struct cmd_trash *t)
{
	char *const at[] = { arena_printf(&call->ar, "%s%s%s", t->dir,
				 t->path[0] == '\0' ? "" : "/", t->path),
		NULL };

	return fts_open(at, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR,
	    cmd_trash_by_path);
}

/* The next file in it, and its path in the folder; NULL at the end. */
static const FTSENT *
cmd_trash_next(FTS *fts, const struct cmd_trash *t, const char **path)
{
	FTSENT *e;

	while ((e = fts_read(fts)) != NULL) {
		if (e->fts_info == FTS_D &&
		    strcmp(e->fts_name, CMD_TRASH_STAGE) == 0 &&
		    e->fts_pathlen ==
			strlen(t->dir) + 1 + strlen(CMD_TRASH_STAGE))
			fts_set(fts, e, FTS_SKIP);
		if (e->fts_info != FTS_F)
			continue;
		*path = e->fts_path + strlen(t->dir) + 1;
		return e;
	}
	return NULL;
}

static json_t *
cmd_trash_json(struct cmd_call *call, const struct cmd_trash *t)
{
	FTS *fts = cmd_trash_walk(call, t);
	json_t *o = cmd_object();
	json_t *list = json_array();
	const FTSENT *e;
	const char *path;

	while (fts != NULL && (e = cmd_trash_next(fts, t, &path)) != NULL) {
		json_t *item = json_object();
		char when[32];

		clock_rfc3339((int64_t)e->fts_statp->st_ctim.tv_sec *
				  (int64_t)CLOCK_S,
		    when);
		json_object_set_new(item, "path",
		    json_string(print_safe(&call->ar, path)));
		json_object_set_new(item, "size",
		    json_integer(e->fts_statp->st_size));
		json_object_set_new(item, "since", json_string(when));
		json_array_append_new(list, item);
	}
	if (fts != NULL)
		fts_close(fts);
	json_object_set_new(o, "folder", json_string(t->id));
	json_object_set_new(o, "dir", json_string(t->dir));
	json_object_set_new(o, "files", list);
	return o;
}

int
cmd_trash_list(struct cmd_call *call)
{
	struct arena *ar = &call->ar;
	const int64_t now = cmd_now_s();
	struct cmd_trash t;
	struct print_table pt;
	const json_t *list, *f;
	int64_t bytes = 0;
	json_t *o;
	size_t i;
	int code = cmd_trash_open(call, &t);

	if (code != CMD_OK)
		return code;
	o = cmd_trash_json(call, &t);
	if (options_has(&call->opt, "json"))
		return cmd_print_json(o, CMD_OK);
	if (options_has(&call->opt, "jsonl"))
		return cmd_print_jsonl(o, "files", CMD_OK);
	list = json_object_get(o, "files");
	print_table_init(&pt, ar, 3, 0);
	print_cell(&pt, "SIZE");
	print_cell(&pt, "CAME");
	print_cell(&pt, "PATH");
	json_array_foreach(list, i, f) {
		bytes += cmd_int(f, "size");
		print_cell(&pt, print_size(ar, cmd_int(f, "size")));
		print_cell(&pt,
		    print_age(ar, cmd_time(cmd_text(f, "since")), now));
		print_cell(&pt, cmd_text(f, "path"));
	}
	if (json_array_size(list) == 0) {
		puts("Nothing is in the trash can.");
	} else {
		code = cmd_print_table(call, &pt);
		if (!options_has(&call->opt, "columns"))
			printf("%s %s, %s, in %s\n",
			    print_count(ar, (int64_t)json_array_size(list)),
			    json_array_size(list) == 1 ? "file" : "files",
			    print_size(ar, bytes), print_safe(ar, t.dir));
	}
	json_decref(o);
	return code;
}

/* --- Restoring --- */

static bool
cmd_trash_copy_bytes(struct cmd_call *call, int in, int out)
{
	char *buf = arena_alloc(&call->ar, CMD_TRASH_BUF);
	ssize_t n;

	while ((n = read(in, buf, CMD_TRASH_BUF)) != 0) {
		ssize_t done = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		while (done < n) {
			const ssize_t w =
			    write(out, buf + done, (size_t)(n - done));

			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0)
				return false;
			done += w;
		}
	}
	return true;
}

/* Every directory above `file`. */
static bool
cmd_trash_make_dirs(struct cmd_call *call, const char *file)
{
	char *copy = arena_str(&call->ar, slice_str(file));

	for (char *at = strchr(copy + 1, '/'); at != NULL;
	     at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(copy, 0777) < 0 && errno != EEXIST)
			return false;
		*at = '/';
	}
	return true;
}

/*
 * A copy of `from` at `to`, whole or not at all; what is there already stays.
 * False: errno says why.
 */
static bool
cmd_trash_copy(struct cmd_call *call, const char *from, const char *to)
{
	const char *base = strrchr(to, '/') + 1;
	/* A name that is never synced. */
	char *temp = arena_printf(&call->ar, "%.*s.syncthing.%.100s.%ld.tmp",
	    (int)(base - to), to, base, (long)getpid());
	struct stat st;
	bool ok = false;
	int in, out = -1;

	in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0 || !cmd_trash_make_dirs(call, to))
		goto done;
	out = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (out < 0)
		goto done;
	ok = cmd_trash_copy_bytes(call, in, out) &&
	     fchmod(out, st.st_mode & 0777) == 0 && fsync(out) == 0;
	if (ok && renameat2(AT_FDCWD, temp, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
		/* Where the file system has no such rename: a second name. */
		ok =
		    errno == EINVAL && link(temp, to) == 0 && unlink(temp) == 0;
	if (!ok) {
		const int kept = errno;

		unlink(temp);
		errno = kept;
	}
done:
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return ok;
}

/* Restored, left alone because something is there, and failed. */
struct cmd_trash_sums {
	int64_t done, there, failed;
};

static void
cmd_trash_restore_one(struct cmd_call *call, const char *from, const char *to,
    struct cmd_trash_sums *sums)
{
	if (cmd_trash_copy(call, from, to)) {
		sums->done++;
		printf("%s\n", print_safe(&call->ar, to));
		return;
	}
	if (errno == EEXIST)
		sums->there++;
	else
		sums->failed++;
	cmd_say("%s: %s", print_safe(&call->ar, to),
	    errno == EEXIST ? "something is there; it stays as it is"
			    : strerror(errno));
}

int
cmd_trash_restore(struct cmd_call *call)
{
	const char *to = options_value(&call->opt, "to");
	struct cmd_trash_sums sums = { 0 };
	struct cmd_trash t;
	const FTSENT *e;
	const char *path;
	FTS *fts;
	const int code = cmd_trash_open(call, &t);

	if (code != CMD_OK)
		return code;
	fts = cmd_trash_walk(call, &t);
	while (fts != NULL && (e = cmd_trash_next(fts, &t, &path)) != NULL) {
		const bool whole = strcmp(path, t.path) == 0;

		if (!whole && to != NULL) {
			cmd_say("%s is a directory; --to is for one file",
			    print_safe(&call->ar, t.path));
			fts_close(fts);
			return CMD_USAGE;
		}
		/* Of a directory: as it was, not every version ever kept. */
		if (!whole && trash_is_stamped(slice_str(e->fts_name)))
			continue;
		cmd_trash_restore_one(call, e->fts_path,
		    to != NULL ? cmd_absolute(call, to)
			       : arena_printf(&call->ar, "%s/%s", t.root, path),
		    &sums);
	}
	if (fts != NULL)
		fts_close(fts);
	if (sums.done + sums.there + sums.failed == 0)
		return cmd_fail_as(call, CMD_NOT_FOUND,
		    arena_printf(&call->ar, "syncctl trash list '%s'", t.id),
		    "no %s in the trash can of %s", t.path, t.id);
	if (sums.there + sums.failed == 0)
		return CMD_OK;
	return sums.done > 0 ? CMD_PARTLY : CMD_FAILED;
}

int
cmd_trash_empty(struct cmd_call *call)
{
	struct cmd_trash t;
	const json_t *trash;
	json_t *o;
	int64_t files;
	int code = cmd_trash_open(call, &t);

	if (code == CMD_OK)
		code = cmd_ask(call, "GET",
		    cmd_query(call, "/v1/status", "subject", t.id), &o);
	if (code != CMD_OK)
		return code;
	trash = json_object_get(
	    json_array_get(json_object_get(o, "folders"), 0), "trash");
	files = cmd_int(trash, "files");
	printf("%s: %s %s, %s, are deleted for good.\n",
	    print_safe(&call->ar, t.id), print_count(&call->ar, files),
	    files == 1 ? "file" : "files",
	    print_size(&call->ar, cmd_int(trash, "bytes")));
	json_decref(o);
	if (files == 0)
		return CMD_OK;
	if (!cmd_agreed(call, &code))
		return code;
	code = cmd_ask(call, "POST",
	    arena_printf(&call->ar, "/v1/folders/%s/empty-trash",
		client_escape(call->client, t.id, &call->ar)),
	    &o);
	json_decref(o);
	return code;
}
