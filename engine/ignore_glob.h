/*
 * One glob pattern of an ignore rule, compiled.  Private to ignore*.c.
 *
 * A pattern becomes a small program for a machine that follows all its ways at
 * once (after Thompson), so matching takes time in proportion to pattern
 * length times path length, whatever the pattern.
 *
 *	*  any run without '/'    **  any run        ?  one character, not '/'
 *	[a-z] [!a-z]  one of, none of               {a,b}  either; may nest
 */
#ifndef HOLDFAST_ENGINE_IGNORE_GLOB_H
#define HOLDFAST_ENGINE_IGNORE_GLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "engine/base/vec.h"

enum ignore_op {
	GLOB_CHAR,  /* rune lo */
	GLOB_RANGE, /* lo..hi, then `x` more ranges of one class follow */
	GLOB_CLASS, /* one of `x` ranges that follow; hi: negated */
	GLOB_NAME,  /* any rune but '/' */
	GLOB_ANY,   /* any rune */
	GLOB_SPLIT, /* go on at the next and at x */
	GLOB_JUMP,  /* go on at x */
	GLOB_MATCH,
};

struct ignore_inst {
	enum ignore_op op;
	uint32_t lo, hi;
	uint32_t x;
};

struct ignore_glob {
	VEC(struct ignore_inst) inst; /* owned */
	bool fold;                    /* both sides are lower-cased */
	/* The longest literal in it: no path without it can match, and most
	 * paths are told apart by that.  Empty when there is none, or folding.
	 */
	struct buf literal;
};

struct ignore_glob_style {
	bool anywhere; /* may begin below any directory, too */
	bool below;    /* what is below a match matches too */
	bool fold;
	uint32_t escape; /* the escape character, usually '\' */
};

int ignore_glob_compile(struct ignore_glob *out, struct slice pattern,
    struct ignore_glob_style style, struct err *err);
void ignore_glob_fini(struct ignore_glob *g);
bool ignore_glob_match(const struct ignore_glob *g, struct slice path);

#endif
