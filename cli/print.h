/*
 * Output for people: tables that align, sizes, ages, colours.
 *
 * Colours only on a terminal, and not when NO_COLOR is set or TERM is dumb.
 */
#ifndef HOLDFAST_CLI_PRINT_H
#define HOLDFAST_CLI_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/base/arena.h"

enum print_style { PRINT_PLAIN, PRINT_GOOD, PRINT_WARN, PRINT_BAD, PRINT_DIM };

/* May `f` have colours? */
bool print_has_colour(FILE *f);

/* A table; cells are borrowed until it is printed. */
struct print_table {
	struct arena *ar;
	size_t columns;
	const char **cell; /* row by row, the first is the heading */
	enum print_style *style;
	size_t cells, cap;
	uint32_t right;     /* bit i: column i is aligned to the right */
	const size_t *pick; /* the columns shown, in this order; NULL: all */
	size_t picks;
};

void print_table_init(struct print_table *t, struct arena *ar, size_t columns,
    uint32_t right);
void print_cell(struct print_table *t, const char *text);
void print_cell_styled(struct print_table *t, const char *text,
    enum print_style style);
/*
 * Show these columns only, by the names in their headings, which must be put
 * already: "state,shared-with".  False when there is no such column.
 */
bool print_table_pick(struct print_table *t, const char *names);
/* The last column is not padded. */
void print_table(const struct print_table *t, FILE *f);

/* Text without what could command a terminal. */
char *print_safe(struct arena *ar, const char *text);
/* Its last `width` columns, with "…" for what went before: of a path the end
 * says most.  `text` itself when it is no wider. */
const char *print_tail(struct arena *ar, const char *text, size_t width);
/* "0 B", "312 MiB", "1.2 TiB". */
char *print_size(struct arena *ar, int64_t bytes);
/* "41 205" */
char *print_count(struct arena *ar, int64_t n);
/* "now", "2 min ago", "yesterday", "3 weeks ago"; "never" for 0. */
char *print_age(struct arena *ar, int64_t then_s, int64_t now_s);
/* "48 s", "12 min", "5 h", "12 d" */
char *print_span(struct arena *ar, int64_t seconds);
/* "0.4 ms", "31 ms" */
char *print_rtt(struct arena *ar, int64_t us);
/* Columns that text takes on a screen, near enough. */
size_t print_width(const char *text);
/* `text` in a style, when `f` may have one. */
void print_styled(FILE *f, enum print_style style, const char *text);

/* A text as a QR code in half blocks; false when it is too long. */
bool print_qr(FILE *f, const char *text);

#endif
