/*
 * Lines of git's configuration format; see config_text.h.
 */
#include "cli/config_text.h"

#include "engine/base/vec.h"

static bool
config_text_is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' ||
	       c == '\v';
}

static struct slice
config_text_trim(struct slice s)
{
	while (s.len > 0 && config_text_is_space(s.ptr[0]))
		s = slice_from(s, 1);
	while (s.len > 0 && config_text_is_space(s.ptr[s.len - 1]))
		s = slice_to(s, s.len - 1);
	return s;
}

static bool
config_text_is_word(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-';
}

static bool
config_text_same(struct slice a, struct slice b)
{
	for (size_t i = 0; i < a.len && i < b.len; i++) {
		uint8_t x = a.ptr[i], y = b.ptr[i];

		x = x >= 'A' && x <= 'Z' ? (uint8_t)(x + 32) : x;
		y = y >= 'A' && y <= 'Z' ? (uint8_t)(y + 32) : y;
		if (x != y)
			return false;
	}
	return a.len == b.len;
}

/*
 * "[section]", "[section.name]" or "[section "name"]" at the front of `s`;
 * returns what follows, or false.
 */
static bool
config_text_header(struct slice s, struct config_text_line *line,
    struct arena *ar, struct slice *rest)
{
	size_t i = 1;
	uint8_t *name;
	size_t len = 0;

	while (i < s.len && (config_text_is_word(s.ptr[i]) || s.ptr[i] == '.'))
		i++;
	line->section = slice_of(s.ptr + 1, i - 1);
	line->name = SLICE_EMPTY;
	while (i < s.len && (s.ptr[i] == ' ' || s.ptr[i] == '\t'))
		i++;
	if (i < s.len && s.ptr[i] == '"') {
		name = arena_alloc(ar, s.len);
		for (i++; i < s.len && s.ptr[i] != '"'; i++) {
			if (s.ptr[i] == '\\' && i + 1 < s.len)
				i++;
			name[len++] = s.ptr[i];
		}
		line->name = slice_of(name, len);
		i++;
		while (i < s.len && (s.ptr[i] == ' ' || s.ptr[i] == '\t'))
			i++;
	}
	if (i >= s.len || s.ptr[i] != ']')
		return false;
	*rest = slice_from(s, i + 1);
	return true;
}

/* Does the value on this line go on in the next? */
static bool
config_text_goes_on(struct slice s, bool *quoted)
{
	for (size_t i = 0; i < s.len; i++) {
		const uint8_t c = s.ptr[i];

		if (c == '\\') {
			if (i + 1 == s.len)
				return true;
			i++;
		} else if (c == '"') {
			*quoted = !*quoted;
		} else if (!*quoted && (c == '#' || c == ';')) {
			return false;
		}
	}
	return false;
}

/* "name = value", "name"; false when it does not begin as one. */
static bool
config_text_value(struct slice s, struct config_text_line *line, bool *goes_on,
    bool *quoted)
{
	size_t n = 0;

	while (n < s.len && config_text_is_word(s.ptr[n]))
		n++;
	if (n == 0)
		return false;
	line->variable = slice_to(s, n);
	*quoted = false;
	*goes_on = config_text_goes_on(slice_from(s, n), quoted);
	return true;
}

/* A line without its newline, as written but for the end. */
static struct slice
config_text_chomp(struct slice s)
{
	if (s.len > 0 && s.ptr[s.len - 1] == '\n')
		s = slice_to(s, s.len - 1);
	if (s.len > 0 && s.ptr[s.len - 1] == '\r')
		s = slice_to(s, s.len - 1);
	return s;
}

static void
config_text_classify(struct config_text_line *line, bool *goes_on, bool *quoted,
    struct arena *ar)
{
	struct slice s = config_text_trim(line->text);
	struct slice rest = SLICE_EMPTY;

	if (line->number == 1 && slice_has_prefix(s, SLICE_LIT("\xef\xbb\xbf")))
		s = config_text_trim(slice_from(s, 3));
	if (*goes_on) {
		line->kind = CONFIG_TEXT_MORE;
		*goes_on =
		    config_text_goes_on(config_text_chomp(line->text), quoted);
		return;
	}
	line->kind = CONFIG_TEXT_BLANK;
	if (s.len == 0 || s.ptr[0] == '#' || s.ptr[0] == ';')
		return;
	line->kind = CONFIG_TEXT_WRONG;
	if (s.ptr[0] == '[') {
		if (!config_text_header(s, line, ar, &rest))
			return;
		line->kind = CONFIG_TEXT_HEADER;
		rest = config_text_trim(rest);
		line->header_has_value =
		    rest.len > 0 &&
		    config_text_value(rest, line, goes_on, quoted);
		return;
	}
	/* The end of the line matters: a trailing backslash must be last. */
	s = slice_of(s.ptr,
	    (size_t)(config_text_chomp(line->text).ptr +
		     config_text_chomp(line->text).len - s.ptr));
	if (config_text_value(s, line, goes_on, quoted))
		line->kind = CONFIG_TEXT_VALUE;
}

struct config_text_line *
config_text_split(struct slice text, struct arena *ar, size_t *count)
{
	struct config_text_line *list;
	struct slice section = SLICE_EMPTY, name = SLICE_EMPTY;
	bool goes_on = false, quoted = false;
	size_t lines = 0;

	for (size_t i = 0; i < text.len; i++)
		lines += text.ptr[i] == '\n' || i + 1 == text.len;
	list = arena_array(ar, lines, sizeof(*list));
	for (size_t i = 0; i < lines; i++) {
		const size_t end = slice_find(text, '\n');
		const size_t len = end == SIZE_MAX ? text.len : end + 1;

		list[i].number = (uint32_t)(i + 1);
		list[i].text = slice_to(text, len);
		list[i].section = section;
		list[i].name = name;
		config_text_classify(&list[i], &goes_on, &quoted, ar);
		section = list[i].section;
		name = list[i].name;
		text = slice_from(text, len);
	}
	*count = lines;
	return list;
}

static bool
config_text_is_in(const struct config_text_line *line, struct slice section,
    struct slice name)
{
	return config_text_same(line->section, section) &&
	       slice_equal(line->name, name);
}

static void
config_text_put_header(struct buf *out, struct slice section, struct slice name)
{
	buf_printf(out, "[%.*s \"", SLICE_FMT(section));
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '"' || name.ptr[i] == '\\')
			buf_put_u8(out, '\\');
		buf_put_u8(out, name.ptr[i]);
	}
	buf_put(out, SLICE_LIT("\"]"));
}

void
config_text_rename(struct slice text, struct slice section, struct slice from,
    struct slice to, struct buf *out, struct arena *scratch)
{
	size_t count;
	const struct config_text_line *line =
	    config_text_split(text, scratch, &count);

	for (size_t i = 0; i < count; i++) {
		struct config_text_line head = { 0 };
		struct slice rest = SLICE_EMPTY;
		struct slice s = line[i].text;

		if (line[i].kind != CONFIG_TEXT_HEADER ||
		    !config_text_is_in(&line[i], section, from)) {
			buf_put(out, line[i].text);
			continue;
		}
		/* What follows the bracket (a comment, a value) stays. */
		s = slice_from(s, slice_find(s, '['));
		(void)!config_text_header(s, &head, scratch, &rest);
		config_text_put_header(out, section, to);
		buf_put(out, rest);
	}
}

void
config_text_remove(struct slice text, struct slice section, struct slice name,
    struct buf *out, struct arena *scratch)
{
	size_t count;
	const struct config_text_line *line =
	    config_text_split(text, scratch, &count);
	size_t i = 0;

	while (i < count) {
		size_t last = i;

		if (line[i].kind != CONFIG_TEXT_HEADER ||
		    !config_text_is_in(&line[i], section, name)) {
			buf_put(out, line[i++].text);
			continue;
		}
		for (size_t j = i + 1;
		     j < count && line[j].kind != CONFIG_TEXT_HEADER; j++)
			if (line[j].kind != CONFIG_TEXT_BLANK)
				last = j;
		i = last + 1;
		/* Do not leave two blank lines where there was a section. */
		if (i < count && out->len > 1 &&
		    out->ptr[out->len - 1] == '\n' &&
		    out->ptr[out->len - 2] == '\n' &&
		    config_text_trim(line[i].text).len == 0)
			i++;
	}
}

/* A value as it must be written: in quotes unless it is quite plain. */
static void
config_text_put_value(struct buf *out, struct slice value)
{
	bool is_plain = value.len > 0;

	for (size_t i = 0; i < value.len; i++)
		is_plain =
		    is_plain && (config_text_is_word(value.ptr[i]) ||
				    memchr(":/._", value.ptr[i], 4) != NULL);
	if (is_plain) {
		buf_put(out, value);
		return;
	}
	buf_put_u8(out, '"');
	for (size_t i = 0; i < value.len; i++) {
		const uint8_t c = value.ptr[i];

		if (c == '"' || c == '\\')
			buf_put_u8(out, '\\');
		if (c == '\n')
			buf_put(out, SLICE_LIT("\\n"));
		else if (c == '\t')
			buf_put(out, SLICE_LIT("\\t"));
		else
			buf_put_u8(out, c);
	}
	buf_put_u8(out, '"');
}

bool
config_text_add(struct slice text, struct slice section, struct slice name,
    struct slice variable, const struct slice *value, size_t count,
    struct buf *out, struct arena *scratch)
{
	size_t lines;
	size_t last = SIZE_MAX;
	const struct config_text_line *line =
	    config_text_split(text, scratch, &lines);

	for (size_t i = 0; i < lines; i++) {
		if (config_text_is_in(&line[i], section, name) &&
		    config_text_same(line[i].variable, variable))
			last = i;
		else if (line[i].kind == CONFIG_TEXT_MORE && last == i - 1)
			last = i; /* its value goes on here */
	}
	for (size_t i = 0; i < lines; i++) {
		buf_put(out, line[i].text);
		if (i != last)
			continue;
		if (out->ptr[out->len - 1] != '\n')
			buf_put_u8(out, '\n');
		for (size_t v = 0; v < count; v++) {
			buf_printf(out, "\t%.*s = ", SLICE_FMT(variable));
			config_text_put_value(out, value[v]);
			buf_put_u8(out, '\n');
		}
	}
	return last != SIZE_MAX;
}
