/*
 * The text of a configuration file, line by line.
 *
 * libgit2 reads and writes values but tells no lines and moves no sections;
 * this finds which line is what, so that mistakes have places and sections can
 * be renamed or removed with all else as it was.  It judges nothing: a text
 * that libgit2 refuses still has lines.  Pure.
 */
#ifndef HOLDFAST_CLI_CONFIG_TEXT_H
#define HOLDFAST_CLI_CONFIG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/slice.h"

enum config_text_kind {
	CONFIG_TEXT_BLANK, /* or a comment */
	CONFIG_TEXT_HEADER,
	CONFIG_TEXT_VALUE,
	CONFIG_TEXT_MORE,  /* goes on a value (backslash at the line's end) */
	CONFIG_TEXT_WRONG, /* none of these */
};

struct config_text_line {
	enum config_text_kind kind;
	uint32_t number;       /* from 1 */
	struct slice text;     /* with its newline */
	struct slice section;  /* of the header above or here; as written */
	struct slice name;     /* the same, unescaped; in the arena */
	struct slice variable; /* VALUE: as written */
	bool header_has_value; /* "[a] b = c" on one line */
};

/* Split; all in `ar`, text borrowed. */
struct config_text_line *config_text_split(struct slice text, struct arena *ar,
    size_t *count);

/* Append `text` to `out` with the headers [SECTION "from"] made "to". */
void config_text_rename(struct slice text, struct slice section,
    struct slice from, struct slice to, struct buf *out, struct arena *scratch);
/*
 * Append `text` to `out` without the sections [SECTION "name"]: from the
 * header to its last value.  Comments that follow stay: they belong to what
 * comes next.
 */
void config_text_remove(struct slice text, struct slice section,
    struct slice name, struct buf *out, struct arena *scratch);
/*
 * Append `text` to `out` with more values of a variable, each on a line of its
 * own behind the last one it has now.  False, and `text` as it is, when it has
 * none: give it its first value by libgit2.
 */
bool config_text_add(struct slice text, struct slice section, struct slice name,
    struct slice variable, const struct slice *value, size_t count,
    struct buf *out, struct arena *scratch);

#endif
