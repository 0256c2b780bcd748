/* Output for people; see print.h. */
#include "cli/print.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/path.h"

bool
print_has_colour(FILE *f)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (no != NULL && no[0] != '\0')
		return false;
	if (term == NULL || strcmp(term, "dumb") == 0)
		return false;
	return isatty(fileno(f)) == 1;
}

static const char *
print_code(enum print_style style)
{
	switch (style) {
	case PRINT_PLAIN:
		return "";
	case PRINT_GOOD:
		return "\033[32m";
	case PRINT_WARN:
		return "\033[33m";
	case PRINT_BAD:
		return "\033[1;31m";
	case PRINT_DIM:
		return "\033[2m";
	}
	return "";
}

void
print_styled(FILE *f, enum print_style style, const char *text)
{
	if (style == PRINT_PLAIN || !print_has_colour(f))
		fputs(text, f);
	else
		fprintf(f, "%s%s\033[0m", print_code(style), text);
}

char *
print_safe(struct arena *ar, const char *text)
{
	return path_print(ar, slice_str(text));
}

size_t
print_width(const char *text)
{
	size_t n = 0;

	/* Bytes that do not go on a character. */
	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void
print_table_init(struct print_table *t, struct arena *ar, size_t columns,
    uint32_t right)
{
	memset(t, 0, sizeof(*t));
	t->ar = ar;
	t->columns = columns;
	t->right = right;
}

void
print_cell_styled(struct print_table *t, const char *text,
    enum print_style style)
{
	if (t->cells == t->cap) {
		const size_t cap = t->cap == 0 ? 64 : t->cap * 2;
		const char **cell = arena_array(t->ar, cap, sizeof(*cell));
		enum print_style *styles =
		    arena_array(t->ar, cap, sizeof(*styles));

		if (t->cells > 0) {
			memcpy(cell, t->cell, t->cells * sizeof(*cell));
			memcpy(styles, t->style, t->cells * sizeof(*styles));
		}
		t->cell = cell;
		t->style = styles;
		t->cap = cap;
	}
	t->cell[t->cells] = text;
	t->style[t->cells++] = style;
}

void
print_cell(struct print_table *t, const char *text)
{
	print_cell_styled(t, text, PRINT_PLAIN);
}

/* "shared-with" is what "SHARED WITH" is called. */
static bool
print_is_heading(const char *heading, const char *name, size_t len)
{
	if (strlen(heading) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		const char c = name[i] == '-' ? ' ' : name[i];

		if (heading[i] != (c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c))
			return false;
	}
	return true;
}

bool
print_table_pick(struct print_table *t, const char *names)
{
	size_t *pick = arena_array(t->ar, strlen(names) + 1, sizeof(*pick));

	t->pick = pick;
	t->picks = 0;
	do {
		const size_t len = strcspn(names, ",");
		size_t i = 0;

		while (
		    i < t->columns && !print_is_heading(t->cell[i], names, len))
			i++;
		if (i == t->columns)
			return false;
		pick[t->picks++] = i;
		names += len;
	} while (*names++ == ',');
	return true;
}

static void
print_table_row(const struct print_table *t, size_t first, const size_t *width,
    FILE *f)
{
	const size_t count = t->pick == NULL ? t->columns : t->picks;

	for (size_t n = 0; n < count; n++) {
		const size_t column = t->pick == NULL ? n : t->pick[n];
		const char *text = t->cell[first + column];
		const bool right = (t->right >> column & 1) != 0;
		const int pad = (int)(width[column] - print_width(text));

		if (right)
			fprintf(f, "%*s", pad, "");
		print_styled(f,
		    first == 0 ? PRINT_DIM : t->style[first + column], text);
		if (n + 1 < count)
			fprintf(f, "%*s", right ? 2 : pad + 2, "");
	}
	fputc('\n', f);
}

void
print_table(const struct print_table *t, FILE *f)
{
	size_t *width = arena_array(t->ar, t->columns, sizeof(*width));

	for (size_t i = 0; i < t->cells; i++) {
		const size_t w = print_width(t->cell[i]);

		if (w > width[i % t->columns])
			width[i % t->columns] = w;
	}
	for (size_t i = 0; i < t->cells; i += t->columns)
		print_table_row(t, i, width, f);
}

const char *
print_tail(struct arena *ar, const char *text, size_t width)
{
	const size_t len = strlen(text);
	/* No character has more than 4 bytes. */
	const char *at = text + (len > 4 * width ? len - 4 * width : 0);

	if (print_width(text) <= width)
		return text;
	while (print_width(at) >= width || ((unsigned char)*at & 0xc0) == 0x80)
		at++;
	return arena_printf(ar, "…%s", at);
}

char *
print_size(struct arena *ar, int64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB",
		"EiB" };
	double v = (double)bytes;
	size_t u = 0;

	if (bytes < 1024)
		return arena_printf(ar, "%lld B", (long long)bytes);
	for (v /= 1024; v >= 1023.5 && u + 1 < sizeof(units) / sizeof(*units);
	     u++)
		v /= 1024;
	return arena_printf(ar, v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

char *
print_count(struct arena *ar, int64_t n)
{
	char digits[32], out[48];
	size_t len, o = 0;

	snprintf(digits, sizeof(digits), "%lld", (long long)n);
	len = strlen(digits);
	for (size_t i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-')
			out[o++] = ' ';
		out[o++] = digits[i];
	}
	return arena_str(ar, slice_of(out, o));
}

char *
print_span(struct arena *ar, int64_t s)
{
	if (s < 120)
		return arena_printf(ar, "%lld s", (long long)s);
	if (s < 120 * 60)
		return arena_printf(ar, "%lld min", (long long)s / 60);
	if (s < 48 * 3600)
		return arena_printf(ar, "%lld h", (long long)s / 3600);
	return arena_printf(ar, "%lld d", (long long)s / 86400);
}

char *
print_age(struct arena *ar, int64_t then_s, int64_t now_s)
{
	const int64_t s = now_s - then_s;

	if (then_s == 0)
		return arena_printf(ar, "never");
	if (s < 5)
		return arena_printf(ar, "now");
	if (s < 24 * 3600)
		return arena_printf(ar, "%s ago", print_span(ar, s));
	if (s < 48 * 3600)
		return arena_printf(ar, "yesterday");
	if (s < 14 * 86400)
		return arena_printf(ar, "%lld days ago", (long long)s / 86400);
	if (s < 60 * 86400)
		return arena_printf(ar, "%lld weeks ago",
		    (long long)s / 604800);
	if (s < INT64_C(730) * 86400)
		return arena_printf(ar, "%lld months ago",
		    (long long)s / 2629800);
	return arena_printf(ar, "%lld years ago", (long long)s / 31557600);
}

char *
print_rtt(struct arena *ar, int64_t us)
{
	if (us < 10000)
		return arena_printf(ar, "%.1f ms", (double)us / 1000);
	return arena_printf(ar, "%lld ms", (long long)us / 1000);
}
