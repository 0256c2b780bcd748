/*
 * Ignore rules: lines, prefixes, includes, and which rule decides.
 * See ignore.h; patterns are in ignore_glob.h.
 */
#include "engine/ignore.h"

#include "blockproto/entry.h"
#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/hash.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/base/vec.h"
#include "engine/ignore_glob.h"

#define IGNORE_RULES_MAX 65536u
#define IGNORE_FILES_MAX 64u
#define IGNORE_LINE_MAX 4096u

struct ignore_rule {
	struct ignore_glob glob;
	struct slice text; /* as written; in the set's arena */
	struct slice file;
	uint32_t line;
	bool include;   /* `!`: what it hits is not ignored */
	bool deletable; /* (?d) */
	bool deep;      /* `!` that may match below an ignored directory */
};

struct ignore_file { /* being read; the innermost is last */
	struct slice path;
	struct slice rest;
	uint32_t line;
	uint32_t escape;
	bool begun; /* a pattern was seen: #escape= is late */
};

struct ignore {
	struct arena arena; /* texts and names */
	VEC(struct ignore_rule) rule;
	VEC(struct ignore_file) file;
	struct map seen;     /* lines, so that a repeated one is skipped */
	struct map opened;   /* files, so that none is included twice */
	struct slice wanted; /* ptr NULL: none */
	uint64_t digest;
};

struct ignore *
ignore_new(void)
{
	struct ignore *ig = mem_zalloc(sizeof(*ig));

	arena_init(&ig->arena);
	map_init(&ig->seen);
	map_init(&ig->opened);
	return ig;
}

void
ignore_free(struct ignore *ig)
{
	if (ig == NULL)
		return;
	for (size_t i = 0; i < ig->rule.len; i++)
		ignore_glob_fini(&ig->rule.item[i].glob);
	VEC_FINI(&ig->rule);
	VEC_FINI(&ig->file);
	map_fini(&ig->seen);
	map_fini(&ig->opened);
	arena_fini(&ig->arena);
	mem_free(ig);
}

static struct slice
ignore_trim(struct slice s)
{
	while (
	    s.len > 0 && (s.ptr[0] == ' ' || (s.ptr[0] >= 9 && s.ptr[0] <= 13)))
		s = slice_from(s, 1);
	while (
	    s.len > 0 && (s.ptr[s.len - 1] == ' ' ||
			     (s.ptr[s.len - 1] >= 9 && s.ptr[s.len - 1] <= 13)))
		s.len--;
	return s;
}

/* Take `prefix` off the front, if it is there and was not taken before. */
static bool
ignore_take_prefix(struct slice *s, const char *prefix, bool *taken)
{
	if (*taken || !slice_has_prefix(*s, slice_str(prefix)))
		return false;
	*s = slice_from(*s, strlen(prefix));
	*taken = true;
	return true;
}

/*
 * "!/x", "!/x/ **", "!/x**": one component, rooted.  They cannot match below
 * another directory, so that one may still be skipped.
 */
static bool
ignore_is_deep(struct slice pattern)
{
	struct slice p = pattern;

	if (p.len == 0 || p.ptr[0] != '/')
		return true;
	p = slice_from(p, 1);
	if (slice_has_suffix(p, SLICE_LIT("**")))
		p.len -= 2;
	if (p.len > 0 && p.ptr[p.len - 1] == '/')
		p.len--;
	for (size_t i = 0; i < p.len; i++)
		if (p.ptr[i] == '/' || p.ptr[i] == '*')
			return true;
	return false;
}

static int
ignore_bad(const struct ignore_file *file, struct err *err)
{
	err_wrap(err, "%.*s:%u", SLICE_FMT(file->path), file->line);
	return err == NULL ? ERR_INVALID : err->code;
}

static int
ignore_add_rule(struct ignore *ig, struct ignore_file *file, struct slice line,
    struct err *err)
{
	struct ignore_rule rule = { .text = line,
		.file = file->path,
		.line = file->line };
	struct ignore_glob_style style = { .anywhere = true,
		.below = true,
		.escape = file->escape };
	struct slice p = line;
	bool fold = false;

	while (ignore_take_prefix(&p, "!", &rule.include) ||
	       ignore_take_prefix(&p, "(?i)", &fold) ||
	       ignore_take_prefix(&p, "(?d)", &rule.deletable))
		continue;
	p = ignore_trim(p);
	if (p.len == 0) {
		err_set(err, ERR_INVALID, "no pattern after the prefix");
		return ignore_bad(file, err);
	}
	if (ig->rule.len >= IGNORE_RULES_MAX) {
		err_set(err, ERR_INVALID, "more than %u rules",
		    IGNORE_RULES_MAX);
		return ignore_bad(file, err);
	}
	style.fold = fold;
	rule.deletable = rule.deletable && !rule.include;
	rule.deep = rule.include && ignore_is_deep(p);
	if (slice_has_suffix(p, SLICE_LIT("/**"))) {
		style.below = false;
	} else if (p.ptr[p.len - 1] == '/') {
		style.below = false;
		p = slice_str(arena_printf(&ig->arena, "%.*s**", SLICE_FMT(p)));
	}
	if (p.ptr[0] == '/') {
		style.anywhere = false;
		p = slice_from(p, 1);
	} else if (slice_has_prefix(p, SLICE_LIT("**/"))) {
		p = slice_from(p, 3); /* "anywhere" says the same */
	}
	if (ignore_glob_compile(&rule.glob, p, style, err) < 0)
		return ignore_bad(file, err);
	*VEC_ADD(&ig->rule) = rule;
	return 0;
}

static int
ignore_include(struct ignore *ig, struct ignore_file *file, struct slice name,
    struct err *err)
{
	struct slice path;

	name = ignore_trim(name);
	while (slice_has_prefix(name, SLICE_LIT("./")))
		name = slice_from(name, 2);
	if (name.len == 0) {
		err_set(err, ERR_INVALID, "#include without a file name");
		return ignore_bad(file, err);
	}
	path = path_join(&ig->arena, path_parent(file->path), name);
	if (path_check(path, NULL) < 0) {
		err_set(err, ERR_INVALID,
		    "#include %.*s: only files inside the folder can be "
		    "included",
		    SLICE_FMT(name));
		return ignore_bad(file, err);
	}
	if (map_find(&ig->opened, path) != NULL) {
		err_set(err, ERR_INVALID, "#include %.*s: included twice",
		    SLICE_FMT(name));
		return ignore_bad(file, err);
	}
	if (map_count(&ig->opened) >= IGNORE_FILES_MAX) {
		err_set(err, ERR_INVALID, "more than %u included files",
		    IGNORE_FILES_MAX);
		return ignore_bad(file, err);
	}
	ig->wanted = path;
	return 0;
}

/* The same line under another escape character is another rule. */
static bool
ignore_is_repeated(struct ignore *ig, const struct ignore_file *file,
    struct slice line)
{
	const char *key = arena_printf(&ig->arena, "%c%.*s", (char)file->escape,
	    SLICE_FMT(line));

	return map_put(&ig->seen, slice_str(key), ig) != NULL;
}

static int
ignore_line(struct ignore *ig, struct ignore_file *file, struct slice line,
    struct err *err)
{
	const struct slice include = SLICE_LIT("#include");
	const struct slice escape = SLICE_LIT("#escape");
	int rc;

	line = ignore_trim(line);
	if (line.len == 0 || slice_has_prefix(line, SLICE_LIT("//")))
		return 0;
	if (line.len > IGNORE_LINE_MAX || !slice_is_utf8(line)) {
		err_set(err, ERR_INVALID,
		    line.len > IGNORE_LINE_MAX ? "line too long" : "not UTF-8");
		return ignore_bad(file, err);
	}
	if (slice_has_prefix(line, escape) && !file->begun) {
		struct slice v = ignore_trim(slice_from(line, escape.len));

		if (v.len > 0 && v.ptr[0] == '=') {
			v = ignore_trim(slice_from(v, 1));
			if (v.len != 1 || v.ptr[0] >= 0x80 || v.ptr[0] == '/') {
				err_set(err, ERR_INVALID,
				    "#escape= takes one ASCII character");
				return ignore_bad(file, err);
			}
			file->escape = v.ptr[0];
			return 0;
		}
	}
	if (slice_has_prefix(line, include) &&
	    (line.len == include.len || line.ptr[include.len] == ' ' ||
		line.ptr[include.len] == '\t'))
		return ignore_include(ig, file, slice_from(line, include.len),
		    err);
	if (ignore_is_repeated(ig, file, line))
		return 0;
	file->begun = true;
	rc = ignore_add_rule(ig, file, arena_dup(&ig->arena, line), err);
	ig->digest = hash_u64_seed(line, ig->digest + file->escape);
	return rc;
}

/* Read on, innermost file first, until one is wanted or all is read. */
static int
ignore_run(struct ignore *ig, struct err *err)
{
	while (ig->file.len > 0 && ig->wanted.ptr == NULL) {
		struct ignore_file *file = &ig->file.item[ig->file.len - 1];
		size_t nl = slice_find(file->rest, '\n');
		struct slice line = file->rest;
		int rc;

		if (file->rest.len == 0) {
			ig->file.len--;
			continue;
		}
		if (nl == SIZE_MAX) {
			file->rest = SLICE_EMPTY;
		} else {
			line = slice_to(file->rest, nl);
			file->rest = slice_from(file->rest, nl + 1);
		}
		file->line++;
		rc = ignore_line(ig, file, line, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
ignore_push(struct ignore *ig, struct slice path, struct slice text,
    struct err *err)
{
	const struct slice bom = SLICE_LIT("\xef\xbb\xbf");

	text = arena_dup(&ig->arena, text);
	if (slice_has_prefix(text, bom))
		text = slice_from(text, bom.len);
	map_put(&ig->opened, path, ig);
	*VEC_ADD(&ig->file) = (struct ignore_file){
		.path = arena_dup(&ig->arena, path),
		.rest = text,
		.escape = '\\',
	};
	return ignore_run(ig, err);
}

int
ignore_parse(struct ignore *ig, struct slice text, struct err *err)
{
	return ignore_push(ig, SLICE_LIT(".stignore"), text, err);
}

bool
ignore_wanted(const struct ignore *ig, struct slice *path)
{
	if (ig->wanted.ptr == NULL)
		return false;
	*path = ig->wanted;
	return true;
}

int
ignore_add(struct ignore *ig, struct slice path, struct slice text,
    struct err *err)
{
	ig->wanted = SLICE_EMPTY;
	return ignore_push(ig, path, text, err);
}

/* The first rule that hits; SIZE_MAX when none does. */
static size_t
ignore_hit(const struct ignore *ig, struct slice path)
{
	for (size_t i = 0; i < ig->rule.len; i++)
		if (ignore_glob_match(&ig->rule.item[i].glob, path))
			return i;
	return SIZE_MAX;
}

struct ignore_match
ignore_rule(const struct ignore *ig, uint32_t i)
{
	const struct ignore_rule *rule;

	ASSERT(i < ig->rule.len);
	rule = &ig->rule.item[i];
	return (struct ignore_match){
		.ignored = !rule->include,
		.deletable = rule->deletable,
		.file = rule->file,
		.line = rule->line,
		.rule = rule->text,
	};
}

struct ignore_match
ignore_test(const struct ignore *ig, struct slice path)
{
	struct ignore_match m = { 0 };
	size_t i;

	if (path.len == 0)
		return m;
	if (entry_is_internal(path)) {
		m.ignored = true;
		m.deletable = entry_is_temp_name(path_base(path));
		return m;
	}
	i = ignore_hit(ig, path);
	return i == SIZE_MAX ? m : ignore_rule(ig, (uint32_t)i);
}

bool
ignore_can_skip(const struct ignore *ig, struct slice dir)
{
	const size_t hit = entry_is_internal(dir) ? 0 : ignore_hit(ig, dir);

	for (size_t i = 0; i < hit && i < ig->rule.len; i++)
		if (ig->rule.item[i].deep)
			return false;
	return true;
}

bool
ignore_is_source(const struct ignore *ig, struct slice path)
{
	if (slice_equal(path, SLICE_LIT(".stignore")))
		return true; /* also while there is none */
	for (struct map_item *it = NULL;
	     (it = map_next(&ig->opened, it)) != NULL;)
		if (slice_equal(it->key, path) || path_is_below(it->key, path))
			return true;
	return ig->wanted.ptr != NULL && (slice_equal(ig->wanted, path) ||
					     path_is_below(ig->wanted, path));
}

uint64_t
ignore_digest(const struct ignore *ig)
{
	return ig->digest;
}

uint32_t
ignore_count(const struct ignore *ig)
{
	return (uint32_t)ig->rule.len;
}
