/*
 * Reading the configuration file through libgit2; see config_file.h.
 *
 * libgit2 holds the format: quoting, continuation, comments.  Lines come from
 * config_text.h.  Drafts are config_file_draft_git2.c's.
 */
#include "cli/config_file_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include <git2.h>

#include "cli/config_text.h"
#include "cli/domain_file.h"
#include "cli/domain_record.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define CONFIG_FILE_MAX (4 * MIB)

int
config_file_git_error(const char *what, const char *file, struct err *err)
{
	const git_error *e = git_error_last();

	return err_set(err, ERR_INVALID, "%s: %s: %s", file, what,
	    e != NULL && e->message != NULL ? e->message : "unknown error");
}

int
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

int
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

char *
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

int
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
