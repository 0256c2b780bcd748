/*
 * The parts of a configuration file: every item by itself, gathered by section.
 */
#include "cli/config_part.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"

#define CONFIG_MISTAKES_MAX 200u

struct slice
config_copy(struct arena *ar, struct slice s)
{
	return slice_str(arena_str(ar, s));
}

void
config_mistake(struct config_load *ld, uint32_t line, const char *key,
    const char *fmt, ...)
{
	struct config_mistake m = { .line = line };
	char *where;
	char what[400];
	va_list ap;

	if (ld->mistake.len == CONFIG_MISTAKES_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	where = line > 0
		    ? arena_printf(ld->ar, "%.*s:%u",
			  SLICE_FMT(ld->world->file), line)
		    : arena_printf(ld->ar, "%.*s", SLICE_FMT(ld->world->file));
	m.key = config_copy(ld->ar, slice_str(key));
	m.text = slice_str(arena_printf(ld->ar, "%s: %s%s%s", where, key,
	    key[0] == '\0' ? "" : ": ", what));
	if (ld->mistake.len == 0)
		err_set(&ld->first, ERR_INVALID, "%s",
		    (const char *)m.text.ptr);
	*VEC_ADD(&ld->mistake) = m;
}

void
config_mistake_of(struct config_load *ld, const struct config_part *part,
    enum config_id id, uint32_t line, const char *fmt, ...)
{
	size_t count;
	const struct config_option *opt = &config_options(&count)[id];
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	config_mistake(ld, line > 0 ? line : part->line,
	    config_key(ld->ar, opt, part->name), "%s", what);
}

struct config_part *
config_part_find(struct config_load *ld, enum config_section section,
    struct slice name)
{
	for (size_t i = 0; i < ld->part.len; i++) {
		struct config_part *part = &ld->part.item[i];

		if (part->section == section && slice_equal(part->name, name))
			return part;
	}
	return NULL;
}

struct config_part *
config_part_add(struct config_load *ld, enum config_section section,
    struct slice name, uint32_t line)
{
	struct config_part *part = VEC_ADD(&ld->part);

	memset(part, 0, sizeof(*part));
	part->section = section;
	part->name = config_copy(ld->ar, name);
	part->line = line;
	return part;
}

/* The part an item belongs to, made when it is new; NULL: a mistake. */
static struct config_part *
config_part_for(struct config_load *ld, const struct config_item *item,
    const struct config_option *opt, struct slice name)
{
	struct config_part *part = config_part_find(ld, opt->section, name);
	const bool is_device = opt->section == CONFIG_IN_DEVICE;
	struct err err = { 0 };

	if (part != NULL)
		return part;
	if (config_check_text(name, 1,
		is_device ? CONFIG_NAME_MAX : CONFIG_ID_MAX, &err) < 0) {
		config_mistake(ld, item->line, "", "the %s %s",
		    is_device ? "name of a device" : "ID of a folder",
		    err.text);
		return NULL;
	}
	if (is_device && ld->devices == CONFIG_DEVICES_MAX) {
		config_mistake(ld, item->line, "", "more than %u devices",
		    CONFIG_DEVICES_MAX);
		return NULL;
	}
	if (!is_device && ld->folders == CONFIG_FOLDERS_MAX) {
		config_mistake(ld, item->line, "", "more than %u folders",
		    CONFIG_FOLDERS_MAX);
		return NULL;
	}
	*(is_device ? &ld->devices : &ld->folders) += 1;
	return config_part_add(ld, opt->section, name, item->line);
}

void
config_part_take(struct config_load *ld, const struct config_item *item)
{
	struct err err = { 0 };
	struct slice name;
	const struct config_option *opt = config_option(item->key, &name, &err);
	struct config_part *part;
	const char *key;

	if (opt == NULL) {
		config_mistake(ld, item->line, path_print(ld->ar, item->key),
		    "%s", err.text);
		return;
	}
	part = config_part_for(ld, item, opt, name);
	if (part == NULL)
		return;
	key = config_key(ld->ar, opt, name);
	if (config_check_value(opt, item->value, &err) < 0) {
		config_mistake(ld, item->line, key, "\"%s\": %s",
		    path_print(ld->ar, item->value), err.text);
		/* It is set, if badly: do not complain that it is missing. */
		part->set[opt->id] = true;
		return;
	}
	if (opt->repeats) {
		*VEC_ADD(&part->list) = config_copy(ld->ar, item->value);
		*VEC_ADD(&part->list_id) = opt->id;
		*VEC_ADD(&part->list_line) = item->line;
	} else if (part->set[opt->id] && part->value[opt->id].ptr != NULL) {
		config_mistake(ld, item->line, key,
		    "set twice, first on line %u; it takes one value",
		    part->at[opt->id]);
		return;
	}
	part->set[opt->id] = true;
	part->at[opt->id] = item->line;
	part->value[opt->id] = config_copy(ld->ar, item->value);
}

struct slice
config_part_text(const struct config_part *part, enum config_id id)
{
	size_t count;
	const struct config_option *opt = &config_options(&count)[id];

	if (part->value[id].ptr != NULL)
		return part->value[id];
	return opt->fallback == NULL ? SLICE_EMPTY : slice_str(opt->fallback);
}

bool
config_part_bool(const struct config_part *part, enum config_id id)
{
	bool on = false;
	const int rc = config_parse_bool(config_part_text(part, id), &on, NULL);

	ASSERT(rc == 0);
	return on;
}

int64_t
config_part_int(const struct config_part *part, enum config_id id)
{
	int64_t n = 0;
	const int rc = config_parse_int(config_part_text(part, id), INT64_MIN,
	    INT64_MAX, &n, NULL);

	ASSERT(rc == 0);
	return n;
}

uint64_t
config_part_duration(const struct config_part *part, enum config_id id)
{
	uint64_t ns = 0;
	const int rc =
	    config_parse_duration(config_part_text(part, id), &ns, NULL);

	ASSERT(rc == 0);
	return ns;
}

int64_t
config_part_size(const struct config_part *part, enum config_id id)
{
	int64_t n = 0;

	const int rc = config_parse_size(config_part_text(part, id), &n, NULL);

	ASSERT(rc == 0);
	return n;
}

int
config_part_choice(const struct config_part *part, enum config_id id)
{
	size_t count;
	const struct config_option *opt = &config_options(&count)[id];
	int n = 0;
	const int rc = config_parse_choice(opt->choices,
	    config_part_text(part, id), &n, NULL);

	ASSERT(rc == 0);
	return n;
}

struct devid
config_part_devid(const struct config_part *part, enum config_id id)
{
	struct devid out = { 0 };

	if (part->value[id].ptr != NULL)
		(void)!devid_parse(&out, part->value[id], NULL);
	return out;
}

const struct slice *
config_part_list(struct config_load *ld, const struct config_part *part,
    enum config_id id, size_t *count)
{
	size_t options;
	const struct config_option *opt = &config_options(&options)[id];
	struct slice *list, rest;

	*count = 0;
	list = arena_array(ld->ar, part->list.len + CONFIG_FALLBACKS,
	    sizeof(*list));
	for (size_t i = 0; i < part->list.len; i++)
		if (part->list_id.item[i] == id)
			list[(*count)++] = part->list.item[i];
	if (*count > 0 || opt->fallback == NULL)
		return list;
	rest = slice_str(opt->fallback);
	while (rest.len > 0 && *count < CONFIG_FALLBACKS)
		list[(*count)++] = config_copy(ld->ar, config_next_word(&rest));
	return list;
}

void
config_part_begin(struct config_load *ld)
{
	for (int s = CONFIG_NODE; s <= CONFIG_COORD; s++)
		config_part_add(ld, (enum config_section)s, SLICE_EMPTY, 0);
}

void
config_part_end(struct config_load *ld)
{
	for (size_t i = 0; i < ld->part.len; i++) {
		VEC_FINI(&ld->part.item[i].list);
		VEC_FINI(&ld->part.item[i].list_id);
		VEC_FINI(&ld->part.item[i].list_line);
	}
	VEC_FINI(&ld->part);
	VEC_FINI(&ld->mistake);
}
