/*
 * The configuration file through libgit2; see config_file.h.
 *
 * libgit2 holds the format: quoting, continuation, comments.  Lines come from
 * config_text.h.  A draft is a file beside the real one, edited by libgit2 and
 * moved over it when it passes; an flock on a third file, which is never
 * removed, keeps writers apart and dies with its holder.
 */
#include "cli/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <git2.h>

#include "cli/config_text.h"
#include "cli/domain_file.h"
#include "cli/domain_record.h"
#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define CONFIG_FILE_MAX (4 * MIB)
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
config_file_git_error(const char *what, const char *file, struct err *err)
{
	const git_error *e = git_error_last();

	return err_set(err, ERR_INVALID, "%s: %s: %s", file, what,
	    e != NULL && e->message != NULL ? e->message : "unknown error");
}

/* The whole text; a missing file is empty. */
static int
config_file_text(const char *file, struct buf *out, struct err *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int rc = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "%s", file);
	do {
		uint8_t *at = buf_extend(out, 64 * 1024);

		n = read(fd, at, 64 * 1024);
		out->len -= (size_t)(64 * 1024 - (n > 0 ? n : 0));
		if (n < 0)
			rc = err_sys(err, errno, "read %s", file);
		else if (out->len > CONFIG_FILE_MAX)
			rc = err_set(err, ERR_INVALID,
			    "%s: larger than %llu bytes", file,
			    (unsigned long long)CONFIG_FILE_MAX);
	} while (n > 0 && rc == 0);
	close(fd);
	if (rc == 0 && memchr(out->ptr == NULL ? (uint8_t *)"" : out->ptr, '\0',
			   out->len) != NULL)
		rc = err_set(err, ERR_INVALID, "%s: holds a NUL byte", file);
	return rc;
}

/* "device.laptop.id" of a line; section and variable in lower case. */
static struct slice
config_file_line_key(const struct config_text_line *line, struct arena *ar)
{
	struct slice variable = line->variable;
	char *key;
	size_t len;

	if (line->name.len > 0)
		key =
		    arena_printf(ar, "%.*s.%.*s.%.*s", SLICE_FMT(line->section),
			SLICE_FMT(line->name), SLICE_FMT(variable));
	else
		key = arena_printf(ar, "%.*s.%.*s", SLICE_FMT(line->section),
		    SLICE_FMT(variable));
	len = strlen(key);
	for (size_t i = 0; i < len; i++) {
		const bool in_name = line->name.len > 0 &&
				     i > line->section.len &&
				     i < len - variable.len;

		if (!in_name && key[i] >= 'A' && key[i] <= 'Z')
			key[i] = (char)(key[i] + 32);
	}
	return slice_of(key, len);
}

/*
 * What libgit2 must not see: includes would bring in other files, and a line
 * it cannot read is told better by us.
 */
static int
config_file_check_lines(const char *file, const struct config_text_line *line,
    size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		char first[16] = "";

		snprintf(first, sizeof(first), "%.*s",
		    SLICE_FMT(line[i].section));
		if (strcasecmp(first, "include") == 0 ||
		    strcasecmp(first, "includeif") == 0)
			return err_set(err, ERR_INVALID,
			    "%s:%u: includes are not supported", file,
			    line[i].number);
		if (line[i].kind == CONFIG_TEXT_WRONG)
			return err_set(err, ERR_INVALID,
			    "%s:%u: neither [SECTION \"NAME\"] nor OPTION = "
			    "VALUE",
			    file, line[i].number);
	}
	return 0;
}

/* Give items their lines: the n-th of a key is on the n-th line of that key. */
static void
config_file_place(struct config_item *item, size_t items,
    const struct config_text_line *line, size_t lines, struct arena *ar)
{
	bool *used = arena_array(ar, lines, sizeof(*used));
	struct slice *key = arena_array(ar, lines, sizeof(*key));
	size_t at = 0;

	for (size_t i = 0; i < lines; i++) {
		used[i] = line[i].variable.len == 0;
		if (!used[i])
			key[i] = config_file_line_key(&line[i], ar);
	}
	for (size_t i = 0; i < items; i++) {
		for (size_t n = 0; n < lines; n++) {
			const size_t l = (at + n) % lines;

			if (used[l] || !slice_equal(key[l], item[i].key))
				continue;
			used[l] = true;
			item[i].line = line[l].number;
			at = l + 1;
			break;
		}
	}
}

static int
config_file_by_line(const void *a, const void *b)
{
	const struct config_item *x = a, *y = b;

	return x->line < y->line ? -1 : x->line > y->line;
}

static int
config_file_entries(const char *file, const char *shown, struct arena *ar,
    struct config_item **out, size_t *count, struct err *err)
{
	VEC(struct config_item) items = { 0 };
	git_config *cfg = NULL;
	git_config_iterator *it = NULL;
	git_config_entry *entry;
	int rc = 0;

	if (git_config_open_ondisk(&cfg, file) < 0 ||
	    git_config_iterator_new(&it, cfg) < 0)
		rc = config_file_git_error("not in git's format", shown, err);
	while (rc == 0 && git_config_next(&entry, it) == 0) {
		struct config_item item = { .line = 0 };

		/* Without "=", libgit2 has no value: it means true. */
		item.key = slice_str(arena_str(ar, slice_str(entry->name)));
		item.value = slice_str(arena_str(ar,
		    entry->value == NULL ? SLICE_LIT("true")
					 : slice_str(entry->value)));
		if (items.len > CONFIG_ITEMS_MAX)
			break;
		*VEC_ADD(&items) = item;
	}
	*out = arena_array(ar, items.len, sizeof(**out));
	*count = items.len;
	if (items.len > 0)
		memcpy(*out, items.item, items.len * sizeof(**out));
	VEC_FINI(&items);
	git_config_iterator_free(it);
	git_config_free(cfg);
	return rc;
}

/* `shown` is the file's name in errors. */
static int
config_file_read_as(const char *file, const char *shown, struct arena *ar,
    const struct config_item **out, size_t *count, struct err *err)
{
	struct buf text = { 0 };
	struct config_text_line *line;
	struct config_item *items = NULL;
	size_t lines;
	int rc;

	*out = NULL;
	*count = 0;
	rc = config_file_text(file, &text, err);
	if (rc < 0 || text.len == 0)
		goto out;
	line = config_text_split(buf_slice(&text), ar, &lines);
	rc = config_file_check_lines(shown, line, lines, err);
	if (rc < 0)
		goto out;
	git_libgit2_init();
	rc = config_file_entries(file, shown, ar, &items, count, err);
	git_libgit2_shutdown();
	if (rc == 0 && *count > 0) {
		config_file_place(items, *count, line, lines, ar);
		qsort(items, *count, sizeof(*items), config_file_by_line);
	}
	*out = items;
out:
	buf_fini(&text);
	return rc;
}

int
config_file_read(const char *file, struct arena *ar,
    const struct config_item **out, size_t *count, struct err *err)
{
	return config_file_read_as(file, file, ar, out, count, err);
}

static void
config_file_add_mistake(struct arena *ar, const struct config_mistake **list,
    size_t *count, struct config_mistake m)
{
	struct config_mistake *all = arena_array(ar, *count + 1, sizeof(*all));

	if (*count > 0)
		memcpy(all, *list, *count * sizeof(*all));
	all[(*count)++] = m;
	*list = all;
}

/* The directory behind all links; NULL when it is not there (yet). */
static char *
config_file_real(const char *path)
{
	char *real = realpath(path, NULL);
	char *out = real == NULL ? NULL : mem_strdup(real);

	free(real);
	return out;
}

static uint32_t
config_file_line_of(const struct config_item *item, size_t count,
    struct slice folder, struct arena *ar)
{
	const struct slice key =
	    slice_str(arena_printf(ar, "folder.%.*s.path", SLICE_FMT(folder)));

	for (size_t i = 0; i < count; i++)
		if (slice_equal(item[i].key, key))
			return item[i].line;
	return 0;
}

/* What the text does not show: two names for one directory. */
static void
config_file_check_disk(const struct home *home, const char *file,
    const struct config_item *item, size_t items, const struct config *cfg,
    struct arena *ar, const struct config_mistake **list, size_t *count)
{
	const uint32_t n = cfg->setup.folder_count;
	char **real = mem_array(n + 1, sizeof(*real));
	char *state = config_file_real(home->state_dir);

	for (uint32_t i = 0; i < n; i++) {
		const struct setup_folder *f = &cfg->setup.folder[i];
		const char *with = NULL;
		struct config_mistake m;

		real[i] = config_file_real((const char *)f->path.ptr);
		if (real[i] == NULL)
			continue;
		if (strcmp(real[i], "/") == 0 ||
		    (state != NULL && config_path_is_within(slice_str(state),
					  slice_str(real[i]))))
			with = "the keys and the index of this node";
		for (uint32_t j = 0; j < i && with == NULL; j++)
			if (real[j] != NULL &&
			    (config_path_is_within(slice_str(real[i]),
				 slice_str(real[j])) ||
				config_path_is_within(slice_str(real[j]),
				    slice_str(real[i]))))
				with = arena_printf(ar, "folder \"%.*s\" (%s)",
				    SLICE_FMT(cfg->setup.folder[j].id),
				    real[j]);
		if (with == NULL)
			continue;
		m.line = config_file_line_of(item, items, f->id, ar);
		m.key = slice_str(
		    arena_printf(ar, "folder.%.*s.path", SLICE_FMT(f->id)));
		m.text = slice_str(arena_printf(ar,
		    "%s:%u: %.*s: leads to %s, which is within or holds %s; "
		    "folders must lie apart",
		    file, m.line, SLICE_FMT(m.key), real[i], with));
		config_file_add_mistake(ar, list, count, m);
	}
	for (uint32_t i = 0; i < n; i++)
		mem_free(real[i]);
	mem_free(real);
	mem_free(state);
}

static int
config_file_load_as(const struct home *home, const char *file,
    const char *shown, struct arena *ar, struct config *out,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err)
{
	struct config_world world = {
		.file = slice_str(shown),
		.user_home = slice_str(home->user_home),
		.host = slice_str(home->host),
		.state_dir = slice_str(home->state_dir),
		.config_dir = slice_str(home->config_dir),
	};
	const struct config_mistake *list = NULL;
	const struct config_item *item;
	size_t items, count = 0;
	struct err local = { 0 };
	struct buf members = { 0 };
	int rc;

	memset(out, 0, sizeof(*out));
	if (domain_file_read(home, DOMAIN_FILE_MEMBERS, &members, NULL) == 0)
		world.member_count = domain_record_members(
		    arena_dup(ar, buf_slice(&members)), ar, &world.member);
	buf_fini(&members);
	rc = config_file_read_as(file, shown, ar, &item, &items, &local);
	if (rc == 0)
		rc = config_load(item, items, &world, ar, out, &list, &count,
		    &local);
	else
		config_file_add_mistake(ar, &list, &count,
		    (struct config_mistake){
			.text = slice_str(arena_str(ar, slice_str(local.text))),
		    });
	if (rc == 0) {
		config_file_check_disk(home, shown, item, items, out, ar, &list,
		    &count);
		if (count > 0)
			rc = err_set(&local, ERR_INVALID, "%.*s",
			    SLICE_FMT(list[0].text));
	}
	if (mistakes != NULL) {
		*mistakes = list;
		*mistake_count = count;
	}
	if (rc < 0 && err != NULL)
		*err = local;
	return rc;
}

int
config_file_load_from(const struct home *home, const char *file,
    struct arena *ar, struct config *out,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err)
{
	return config_file_load_as(home, file, file, ar, out, mistakes,
	    mistake_count, err);
}

int
config_file_load(const struct home *home, struct arena *ar, struct config *out,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err)
{
	return config_file_load_as(home, home->config, home->config, ar, out,
	    mistakes, mistake_count, err);
}

/* --- Drafts --- */

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

/* The others, on the lines behind the first. */
static int
config_file_put_more(struct config_file *cf, const char *key,
    const struct slice *value, size_t count, struct err *err)
{
	const struct slice k = slice_str(key);
	const size_t first = slice_find(k, '.');
	const size_t last = slice_rfind(k, '.');
	struct slice name = SLICE_EMPTY;
	struct buf text = { 0 }, out = { 0 };
	struct arena ar = { 0 };
	int rc;

	if (last > first)
		name = slice_of(k.ptr + first + 1, last - first - 1);
	rc = config_file_text(cf->draft, &text, err);
	if (rc == 0 &&
	    !config_text_add(buf_slice(&text), slice_to(k, first), name,
		slice_from(k, last + 1), value, count, &out, &ar))
		rc = err_set(err, ERR_INVALID, "%s: %s was not written",
		    cf->target, key);
	if (rc == 0)
		rc = config_file_replace(cf, buf_slice(&out), err);
	buf_fini(&text);
	buf_fini(&out);
	arena_fini(&ar);
	return rc;
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

int
config_file_replace(struct config_file *cf, struct slice text, struct err *err)
{
	return config_file_write_all(cf->draft, text, cf->mode, err);
}

int
config_file_rename(struct config_file *cf, const char *section,
    struct slice name, struct slice to, struct err *err)
{
	struct buf text = { 0 }, out = { 0 };
	struct arena ar = { 0 };
	int rc;

	rc = config_file_text(cf->draft, &text, err);
	if (rc == 0) {
		config_text_rename(buf_slice(&text), slice_str(section), name,
		    to, &out, &ar);
		rc = config_file_replace(cf, buf_slice(&out), err);
	}
	buf_fini(&text);
	buf_fini(&out);
	arena_fini(&ar);
	return rc;
}

int
config_file_remove(struct config_file *cf, const char *section,
    struct slice name, struct err *err)
{
	struct buf text = { 0 }, out = { 0 };
	struct arena ar = { 0 };
	int rc;

	rc = config_file_text(cf->draft, &text, err);
	if (rc == 0) {
		config_text_remove(buf_slice(&text), slice_str(section), name,
		    &out, &ar);
		rc = config_file_replace(cf, buf_slice(&out), err);
	}
	buf_fini(&text);
	buf_fini(&out);
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
