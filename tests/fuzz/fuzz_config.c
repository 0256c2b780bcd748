/*
 * Configuration: any text, split into lines and sections, and any list of keys
 * and values, loaded.  What loads must keep the promises of config.h.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "cli/config.h"
#include "cli/config_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int cond)
{
	if (!cond)
		abort();
}

static void
check_config(const struct config *cfg)
{
	const struct setup *s = &cfg->setup;

	check(cfg->mesh.listen_count > 0 && s->name.len > 0);
	for (uint32_t i = 0; i < s->device_count; i++) {
		check(!devid_is_none(&s->device[i].id));
		check(config_find_device(cfg, s->device[i].name) == (int32_t)i);
		check(s->device[i].address_count > 0);
	}
	for (uint32_t i = 0; i < s->folder_count; i++) {
		const struct setup_folder *f = &s->folder[i];

		check(f->path.len > 1 && f->path.ptr[0] == '/');
		check(f->label.len > 0 && f->device_count <= s->device_count);
		for (uint32_t j = 0; j < i; j++) {
			const struct slice other = s->folder[j].path;

			check(!config_path_is_within(f->path, other));
			check(!config_path_is_within(other, f->path));
		}
	}
}

/* Items from the lines of a text, as the door makes them. */
static size_t
make_items(const struct config_text_line *line, size_t lines, struct arena *ar,
    struct config_item *item)
{
	size_t n = 0;

	for (size_t i = 0; i < lines; i++) {
		struct slice text = line[i].text;
		const size_t eq = slice_find(text, '=');

		if (line[i].variable.len == 0)
			continue;
		text = eq == SIZE_MAX ? SLICE_LIT("true")
				      : slice_from(text, eq + 1);
		while (text.len > 0 && text.ptr[0] == ' ')
			text = slice_from(text, 1);
		while (text.len > 0 && text.ptr[text.len - 1] == '\n')
			text = slice_to(text, text.len - 1);
		item[n].key = slice_str(arena_printf(ar, "%.*s%s%.*s.%.*s",
		    SLICE_FMT(line[i].section), line[i].name.len > 0 ? "." : "",
		    SLICE_FMT(line[i].name), SLICE_FMT(line[i].variable)));
		item[n].value = text;
		item[n++].line = line[i].number;
	}
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct config_world world = {
		.file = { (const uint8_t *)"config", 6 },
		.user_home = { (const uint8_t *)"/home/ann", 9 },
		.host = { (const uint8_t *)"hub", 3 },
		.state_dir = { (const uint8_t *)"/home/ann/.state", 16 },
		.config_dir = { (const uint8_t *)"/home/ann/.config", 17 },
	};
	const struct slice text = slice_of(data, size);
	struct arena ar = { 0 };
	struct buf out = { 0 };
	struct config cfg;
	size_t lines, all = 0;
	const struct config_text_line *line =
	    config_text_split(text, &ar, &lines);
	struct config_item *item = arena_array(&ar, lines + 1, sizeof(*item));

	for (size_t i = 0; i < lines; i++)
		all += line[i].text.len;
	check(all == size);
	if (config_load(item, make_items(line, lines, &ar, item), &world, &ar,
		&cfg, NULL, NULL, NULL) == 0)
		check_config(&cfg);
	config_text_remove(text, SLICE_LIT("device"), SLICE_LIT("a"), &out,
	    &ar);
	check(out.len <= size);
	buf_clear(&out);
	config_text_rename(text, SLICE_LIT("device"), SLICE_LIT("a"),
	    SLICE_LIT("b"), &out, &ar);
	buf_fini(&out);
	arena_fini(&ar);
	return 0;
}
