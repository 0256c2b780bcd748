/* Options and arguments; see options.h. */
#include "cli/options.h"

#include <string.h>

enum options_kind {
	OPTIONS_UNKNOWN,
	OPTIONS_FLAG,
	OPTIONS_VALUE,
	OPTIONS_VALUES,
};

/* How the specification has `name` (of `len` bytes). */
static enum options_kind
options_kind_of(const char *spec, const char *name, size_t len)
{
	while (*spec != '\0') {
		const size_t n = strcspn(spec, ",=*");
		const char *mark = spec + n;

		if (n == len && memcmp(spec, name, n) == 0) {
			if (*mark != '=')
				return OPTIONS_FLAG;
			return mark[1] == '*' ? OPTIONS_VALUES : OPTIONS_VALUE;
		}
		spec += strcspn(spec, ",");
		spec += *spec == ',';
	}
	return OPTIONS_UNKNOWN;
}

bool
options_has(const struct options *o, const char *name)
{
	for (size_t i = 0; i < o->item_count; i++)
		if (strcmp(o->item[i].name, name) == 0)
			return true;
	return false;
}

const char *
options_value(const struct options *o, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < o->item_count; i++)
		if (strcmp(o->item[i].name, name) == 0)
			value = o->item[i].value;
	return value;
}

const char **
options_values(const struct options *o, const char *name, size_t *count,
    struct arena *ar)
{
	const char **list = arena_array(ar, o->item_count + 1, sizeof(*list));

	*count = 0;
	for (size_t i = 0; i < o->item_count; i++)
		if (strcmp(o->item[i].name, name) == 0)
			list[(*count)++] = o->item[i].value;
	return list;
}

int
options_parse(struct options *out, const char *spec, int argc,
    const char *const *argv, struct arena *ar, struct err *err)
{
	struct options_item *item =
	    arena_array(ar, (size_t)argc + 1, sizeof(*item));
	const char **arg = arena_array(ar, (size_t)argc + 1, sizeof(*arg));

	memset(out, 0, sizeof(*out));
	out->item = item;
	out->arg = arg;
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i];
		const bool is_long = strncmp(word, "--", 2) == 0;
		const char *name = word + (is_long ? 2 : 1);
		const size_t len = strcspn(name, "=");
		struct options_item *it = &item[out->item_count];
		enum options_kind kind;

		if (strcmp(word, "--") == 0) {
			while (++i < argc)
				arg[out->arg_count++] = argv[i];
			break;
		}
		if (word[0] != '-' || word[1] == '\0') {
			arg[out->arg_count++] = word;
			continue;
		}
		kind = is_long == (len > 1) ? options_kind_of(spec, name, len)
					    : OPTIONS_UNKNOWN;
		if (kind == OPTIONS_UNKNOWN)
			return err_set(err, ERR_INVALID, "no option %s", word);
		it->name = arena_str(ar, slice_of(name, len));
		if (kind == OPTIONS_FLAG && name[len] == '=')
			return err_set(err, ERR_INVALID,
			    "option --%s takes no value", it->name);
		if (kind == OPTIONS_VALUE && options_has(out, it->name))
			return err_set(err, ERR_INVALID,
			    "option --%s is given twice", it->name);
		if (kind != OPTIONS_FLAG && name[len] == '=')
			it->value = name + len + 1;
		else if (kind != OPTIONS_FLAG && i + 1 < argc)
			it->value = argv[++i];
		else if (kind != OPTIONS_FLAG)
			return err_set(err, ERR_INVALID,
			    "option --%s wants a value", it->name);
		out->item_count++;
	}
	return 0;
}
