/*
 * Drafts of the configuration file; see config_file.h.
 *
 * A draft is a file beside the real one, edited by libgit2 and moved over it
 * when it passes; an flock on a third file, which is never removed, keeps
 * writers apart and dies with its holder.
 */
#include "cli/config_file_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <git2.h>

#include "cli/config_text.h"
#include "engine/base/assert.h"
#include "engine/base/mem.h"

#define CONFIG_FILE_WAIT_MS 5000

struct config_file {
	const struct home *home;
	char *target; /* the file, links resolved */
	char *draft;
	char *dir;
	char *scratch; /* where the draft is when it is not to be saved */
	mode_t mode;
	int lock;
	size_t mistakes_before;
};

static int
config_file_lock(struct config_file *cf, struct err *err)
{
	const struct timespec nap = { .tv_nsec = 20 * 1000 * 1000 };
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/config.lock", cf->home->config_dir);
	cf->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (cf->lock < 0)
		return err_sys(err, errno, "%s", path);
	for (int ms = 0; flock(cf->lock, LOCK_EX | LOCK_NB) < 0; ms += 20) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(err, errno, "lock %s", path);
		if (ms >= CONFIG_FILE_WAIT_MS)
			return err_set(err, ERR_BUSY,
			    "somebody else is writing %s", cf->home->config);
		nanosleep(&nap, NULL);
	}
	return 0;
}

static int
config_file_write_all(const char *file, struct slice text, mode_t mode,
    struct err *err)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, errno, "%s", file);
	while (text.len > 0) {
		const ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			const int rc = err_sys(err, errno, "write %s", file);

			close(fd);
			return rc;
		}
		text = slice_from(text, (size_t)n);
	}
	(void)!fchmod(fd, mode);
	close(fd);
	return 0;
}

/*
 * libgit2 has a lock file of its own beside the draft.  One that is there now
 * is of an editor that was killed: the flock we hold keeps all others out.
 */
static void
config_file_unlock_draft(const struct config_file *cf)
{
	const size_t cap = strlen(cf->draft) + 6;
	char *path = mem_alloc(cap);

	snprintf(path, cap, "%s.lock", cf->draft);
	unlink(path);
	mem_free(path);
}

/* A directory of its own for a draft that is not to be saved. */
static int
config_file_make_scratch(struct config_file *cf, struct err *err)
{
	const char *base = getenv("TMPDIR");
	char path[PATH_MAX];

	if (base == NULL || base[0] != '/')
		base = "/tmp";
	snprintf(path, sizeof(path), "%s/syncctl-XXXXXX", base);
	if (mkdtemp(path) == NULL)
		return err_sys(err, errno, "make a directory in %s", base);
	cf->scratch = mem_strdup(path);
	return 0;
}

/* `keep`: it shall be saved, so others have to wait. */
static int
config_file_begin(struct config_file **out, const struct home *home, bool keep,
    struct err *err)
{
	struct config_file *cf = mem_zalloc(sizeof(*cf));
	const struct config_mistake *list;
	struct buf text = { 0 };
	struct arena ar = { 0 };
	struct config before;
	const char *beside;
	struct stat st;
	char *slash;
	int rc;

	*out = NULL;
	cf->home = home;
	cf->lock = -1;
	cf->mode = 0600;
	rc = keep ? home_make(home, err) : config_file_make_scratch(cf, err);
	if (rc == 0 && keep)
		rc = config_file_lock(cf, err);
	if (rc < 0)
		goto out;
	cf->target = config_file_real(home->config);
	if (cf->target == NULL)
		cf->target = mem_strdup(home->config);
	cf->dir = mem_strdup(cf->target);
	slash = strrchr(cf->dir, '/');
	slash[slash == cf->dir ? 1 : 0] = '\0';
	beside =
	    keep ? cf->target : arena_printf(&ar, "%s/config", cf->scratch);
	cf->draft = mem_alloc(strlen(beside) + 7);
	snprintf(cf->draft, strlen(beside) + 7, "%s.draft", beside);
	config_file_unlock_draft(cf);
	if (stat(cf->target, &st) == 0)
		cf->mode = st.st_mode & 07777;
	(void)!config_file_load(home, &ar, &before, &list, &cf->mistakes_before,
	    NULL);
	rc = config_file_text(cf->target, &text, err);
	if (rc == 0)
		rc = config_file_write_all(cf->draft, buf_slice(&text),
		    cf->mode, err);
out:
	buf_fini(&text);
	arena_fini(&ar);
	if (rc < 0)
		config_file_drop(cf);
	else
		*out = cf;
	return rc;
}

int
config_file_edit(struct config_file **out, const struct home *home,
    struct err *err)
{
	return config_file_begin(out, home, true, err);
}

int
config_file_try(struct config_file **out, const struct home *home,
    struct err *err)
{
	return config_file_begin(out, home, false, err);
}

/* The number of values `key` has in the draft. */
static size_t
config_file_count(git_config *cfg, const char *key)
{
	git_config_iterator *it = NULL;
	git_config_entry *entry;
	size_t count = 0;

	if (git_config_multivar_iterator_new(&it, cfg, key, NULL) < 0)
		return 0;
	while (git_config_next(&entry, it) == 0)
		count++;
	git_config_iterator_free(it);
	return count;
}

/*
 * The first value through libgit2: it makes the section and quotes.  (It could
 * add the others by a pattern that matches nothing, but leaks 20 KiB each time
 * a pattern does not match: 1.5.1.)
 */
static int
config_file_put(git_config *cfg, const char *key, const struct slice *value,
    size_t count, struct arena *ar)
{
	const size_t old = config_file_count(cfg, key);
	int rc = 0;

	/* One for one is changed where it stands. */
	if (old > 1 || (old == 1 && count == 0))
		rc = git_config_delete_multivar(cfg, key, ".*");
	if (count > 0 && rc == 0)
		rc = git_config_set_string(cfg, key, arena_str(ar, value[0]));
	return rc;
}

int
config_file_replace(struct config_file *cf, struct slice text, struct err *err)
{
	return config_file_write_all(cf->draft, text, cf->mode, err);
}

/* Its text on the way to another; config_text.h. */
struct draft_edit {
	struct buf text, out;
	struct arena ar;
};

static int
draft_edit_begin(const struct config_file *cf, struct draft_edit *ed,
    struct err *err)
{
	*ed = (struct draft_edit){ 0 };
	return config_file_text(cf->draft, &ed->text, err);
}

/* rc 0: ed->out is the draft from here on; else it is as it was. */
static int
draft_edit_end(struct config_file *cf, struct draft_edit *ed, int rc,
    struct err *err)
{
	if (rc == 0)
		rc = config_file_replace(cf, buf_slice(&ed->out), err);
	buf_fini(&ed->text);
	buf_fini(&ed->out);
	arena_fini(&ed->ar);
	return rc;
}

int
config_file_rename(struct config_file *cf, const char *section,
    struct slice name, struct slice to, struct err *err)
{
	struct draft_edit ed;
	const int rc = draft_edit_begin(cf, &ed, err);

	if (rc == 0)
		config_text_rename(buf_slice(&ed.text), slice_str(section),
		    name, to, &ed.out, &ed.ar);
	return draft_edit_end(cf, &ed, rc, err);
}

int
config_file_remove(struct config_file *cf, const char *section,
    struct slice name, struct err *err)
{
	struct draft_edit ed;
	const int rc = draft_edit_begin(cf, &ed, err);

	if (rc == 0)
		config_text_remove(buf_slice(&ed.text), slice_str(section),
		    name, &ed.out, &ed.ar);
	return draft_edit_end(cf, &ed, rc, err);
}

/* The others, on the lines behind the first. */
static int
config_file_put_more(struct config_file *cf, const char *key,
    const struct slice *value, size_t count, struct err *err)
{
	const struct slice k = slice_str(key);
	const size_t first = slice_find(k, '.');
	const size_t last = slice_rfind(k, '.');
	struct slice name = SLICE_EMPTY;
	struct draft_edit ed;
	int rc;

	if (last > first)
		name = slice_of(k.ptr + first + 1, last - first - 1);
	rc = draft_edit_begin(cf, &ed, err);
	if (rc == 0 &&
	    !config_text_add(buf_slice(&ed.text), slice_to(k, first), name,
		slice_from(k, last + 1), value, count, &ed.out, &ed.ar))
		rc = err_set(err, ERR_INVALID, "%s: %s was not written",
		    cf->target, key);
	return draft_edit_end(cf, &ed, rc, err);
}

int
config_file_set(struct config_file *cf, const char *key,
    const struct slice *value, size_t count, struct err *err)
{
	git_config *cfg = NULL;
	struct arena ar = { 0 };
	int rc = 0;

	git_libgit2_init();
	if (git_config_open_ondisk(&cfg, cf->draft) < 0 ||
	    config_file_put(cfg, key, value, count, &ar) < 0) {
		rc =
		    config_file_git_error("cannot be written", cf->target, err);
	}
	git_config_free(cfg);
	git_libgit2_shutdown();
	if (rc == 0 && count > 1)
		rc = config_file_put_more(cf, key, value + 1, count - 1, err);
	arena_fini(&ar);
	return rc;
}

int
config_file_items(struct config_file *cf, struct arena *ar,
    const struct config_item **out, size_t *count, struct err *err)
{
	return config_file_read_as(cf->draft, cf->target, ar, out, count, err);
}

/* The values of `key` in the draft now, room for one more. */
static int
config_file_values(struct config_file *cf, const char *key, struct arena *ar,
    struct slice **out, size_t *count, struct err *err)
{
	const struct config_item *item;
	size_t items;
	int rc;

	rc = config_file_items(cf, ar, &item, &items, err);
	if (rc < 0)
		return rc;
	*out = arena_array(ar, items + 1, sizeof(**out));
	*count = 0;
	for (size_t i = 0; i < items; i++)
		if (slice_equal(item[i].key, slice_str(key)))
			(*out)[(*count)++] = item[i].value;
	return 0;
}

int
config_file_add(struct config_file *cf, const char *key, struct slice value,
    struct err *err)
{
	struct arena ar = { 0 };
	struct slice *list = NULL;
	size_t count = 0;
	int rc;

	rc = config_file_values(cf, key, &ar, &list, &count, err);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (slice_equal(list[i], value))
			goto out;
	if (rc == 0) {
		list[count++] = value;
		rc = config_file_set(cf, key, list, count, err);
	}
out:
	arena_fini(&ar);
	return rc;
}

int
config_file_take(struct config_file *cf, const char *key, struct slice value,
    struct err *err)
{
	struct arena ar = { 0 };
	struct slice *list = NULL;
	size_t count = 0, kept = 0;
	int rc;

	rc = config_file_values(cf, key, &ar, &list, &count, err);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (!slice_equal(list[i], value))
			list[kept++] = list[i];
	if (rc == 0 && kept == count)
		rc = err_set(err, ERR_NOT_FOUND, "%s has no value \"%.*s\"",
		    key, SLICE_FMT(value));
	if (rc == 0)
		rc = config_file_set(cf, key, list, kept, err);
	arena_fini(&ar);
	return rc;
}

/* fsync a file or directory by name. */
static int
config_file_flush(const char *path, struct err *err)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = err_sys(err, errno, "flush %s", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

int
config_file_check(struct config_file *cf, struct arena *ar,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err)
{
	const struct config_mistake *list = NULL;
	struct config cfg;
	size_t count = 0;
	int rc;

	rc = config_file_load_as(cf->home, cf->draft, cf->home->config, ar,
	    &cfg, &list, &count, err);
	if (mistakes != NULL) {
		*mistakes = list;
		*mistake_count = count;
	}
	/* A file that was bad may be made better one mistake at a time. */
	if (rc < 0 && cf->mistakes_before > 0 && count <= cf->mistakes_before)
		rc = 0;
	return rc;
}

int
config_file_save(struct config_file *cf, struct arena *ar,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err)
{
	int rc;

	ASSERT(cf->scratch == NULL);
	rc = config_file_check(cf, ar, mistakes, mistake_count, err);
	if (rc < 0)
		goto out;
	(void)!chmod(cf->draft, cf->mode);
	rc = config_file_flush(cf->draft, err);
	if (rc == 0 && rename(cf->draft, cf->target) < 0)
		rc = err_sys(err, errno, "put %s in place", cf->target);
	if (rc == 0)
		rc = config_file_flush(cf->dir, err);
out:
	config_file_drop(cf);
	return rc;
}

void
config_file_drop(struct config_file *cf)
{
	if (cf == NULL)
		return;
	if (cf->draft != NULL)
		unlink(cf->draft); /* gone already when it was saved */
	if (cf->lock >= 0)
		close(cf->lock);
	if (cf->scratch != NULL)
		rmdir(cf->scratch);
	mem_free(cf->scratch);
	mem_free(cf->target);
	mem_free(cf->draft);
	mem_free(cf->dir);
	mem_free(cf);
}
