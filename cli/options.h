/*
 * The words of a command line: options and arguments, by a small specification.
 *
 * The specification is a list of names: "json,name=,addr=*,x".  "=" takes a
 * value, "*" may be repeated, one letter is written with one dash.  Values are
 * "--name VALUE" or "--name=VALUE"; "--" ends the options.
 */
#ifndef HOLDFAST_CLI_OPTIONS_H
#define HOLDFAST_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/arena.h"
#include "engine/base/err.h"

struct options_item {
	const char *name;
	const char *value; /* NULL when it takes none */
};

struct options {
	const struct options_item *item;
	size_t item_count;
	const char *const *arg; /* the words that are no options */
	size_t arg_count;
};

/* ERR_INVALID says which word is wrong.  Lives in `ar`; borrows `argv`. */
int options_parse(struct options *out, const char *spec, int argc,
    const char *const *argv, struct arena *ar, struct err *err);
bool options_has(const struct options *o, const char *name);
/* The value of the last `name`; NULL without. */
const char *options_value(const struct options *o, const char *name);
/* All values of a repeating option. */
const char **options_values(const struct options *o, const char *name,
    size_t *count, struct arena *ar);

#endif
