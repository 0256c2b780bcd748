/*
 * The parts of a configuration file: its items, each checked by itself and
 * gathered by section, for config.c to build values of.
 *
 * Private to config.c and config_part.c.  It knows the table of options and
 * not what they mean: whether a device that is named exists, or two folders
 * lie apart, is config.c's.  Mistakes of both are noted here, in order.  Pure.
 */
#ifndef HOLDFAST_CLI_CONFIG_PART_H
#define HOLDFAST_CLI_CONFIG_PART_H

#include "cli/config.h"
#include "engine/base/vec.h"

/* A [device "x"] or [folder "x"], or one without a name. */
struct config_part {
	enum config_section section;
	struct slice name;   /* NUL-terminated, in the arena */
	uint32_t line;       /* of its first item */
	bool member, denied; /* of our domain; see config_member */
	bool gone;           /* it is about a member that was: skipped */
	/* By config_id: the first line that set it (0: none), and its text. */
	bool set[CONFIG_ID_COUNT];
	uint32_t at[CONFIG_ID_COUNT];
	struct slice value[CONFIG_ID_COUNT]; /* of those that do not repeat */
	VEC(struct slice) list;              /* of all that repeat */
	VEC(enum config_id) list_id;         /* which one, each */
	VEC(uint32_t) list_line;
};

/* What is gathered on the way from items to a configuration. */
struct config_load {
	const struct config_world *world; /* borrowed */
	struct arena *ar;                 /* borrowed: all texts */
	/* First those without a name, by their config_section. */
	VEC(struct config_part) part;
	uint32_t devices, folders;
	VEC(struct config_mistake) mistake;
	struct err first;
};

/* `ld` has world and arena. */
void config_part_begin(struct config_load *ld);
/* Frees all but what is in the arena. */
void config_part_end(struct config_load *ld);
/* Put an item where it belongs, or note why not. */
void config_part_take(struct config_load *ld, const struct config_item *item);

/* NULL: there is none.  Parts move when one is added. */
struct config_part *config_part_find(struct config_load *ld,
    enum config_section section, struct slice name);
struct config_part *config_part_add(struct config_load *ld,
    enum config_section section, struct slice name, uint32_t line);

/* The text of an option that does not repeat: set, or its default. */
struct slice config_part_text(const struct config_part *part,
    enum config_id id);
/* The same as a value; it has passed config_check_value(). */
bool config_part_bool(const struct config_part *part, enum config_id id);
int64_t config_part_int(const struct config_part *part, enum config_id id);
uint64_t config_part_duration(const struct config_part *part,
    enum config_id id);
int64_t config_part_size(const struct config_part *part, enum config_id id);
/* The number, from 0, among the option's choices. */
int config_part_choice(const struct config_part *part, enum config_id id);
/* None when it is not set, or badly. */
struct devid config_part_devid(const struct config_part *part,
    enum config_id id);
/* The values of a repeating option, or its default; in the arena. */
const struct slice *config_part_list(struct config_load *ld,
    const struct config_part *part, enum config_id id, size_t *count);

/* Note a mistake; `line` 0: of the file as a whole; `key` may be "". */
void config_mistake(struct config_load *ld, uint32_t line, const char *key,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The same about an option of a part; `line` 0: of the part. */
void config_mistake_of(struct config_load *ld, const struct config_part *part,
    enum config_id id, uint32_t line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* In the arena, NUL-terminated too. */
struct slice config_copy(struct arena *ar, struct slice s);

#endif
