/*
 * The inside of the brake: shared by brake*.c, for nobody else.
 *
 * brake.c counts what each device takes away and says who must wait, and does
 * what people decide.  brake_source.c is one device: its state, and what of it
 * survives a restart.  brake_look.c looks at the rows when a device is
 * suspected, and judges it by what would really be gone.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_BRAKE_STATE_H
#define HOLDFAST_ENGINE_BRAKE_STATE_H

#include "engine/base/buf.h"
#include "engine/base/map.h"
#include "engine/brake.h"

/* A device that took nothing away for so long begins to count anew. */
#define BRAKE_QUIET_NS CLOCK_MIN
/* Paths counted of one device, and contents that are on their way; beyond it
 * it is too much in any case. */
#define BRAKE_PATHS_MAX 1000000u

/* See brake.h. */
enum brake_state { BRAKE_FREE, BRAKE_LOOKS, BRAKE_HOLDS, BRAKE_CONFIRMED };

/* One device. */
struct brake_source {
	struct brake_held held; /* its device is always set */
	enum brake_state state;
	struct umap done; /* hashes of the paths it took away */
	uint64_t heard;   /* losses told since looked at last */
	uint64_t last_ns; /* mono: of the last loss */
	uint64_t since_ns;
	bool met; /* in this pass */
	/* Losses that the last look let pass, whatever they are counted as
	 * now: what it took for a rename may look like less by the hour. */
	int64_t allowed;
	/* Of the look under way. */
	int64_t seen, deletes, rewrites, again;
};

enum brake_look {
	LOOK_NOT,
	LOOK_NEW,    /* gathers what content is coming */
	LOOK_LOSSES, /* counts what would be gone */
};

struct brake {
	struct folder *f;
	struct brake_source *source; /* by share */
	uint32_t count;
	uint64_t seed; /* of hashes: paths are the peers' to choose */
	/* brake_look.c */
	enum brake_look look;
	struct buf cursor;
	struct umap coming; /* contents */
	struct arena row;   /* of the row in work */
	struct core_timer timer;
};

/* brake.c */
/* Nobody asked for a brake, or there is no index to count in. */
bool brake_is_off(const struct brake *br);
uint64_t brake_hash(const struct brake *br, struct slice s);
/*
 * Who stands for a row's global version: the device that made it when it told
 * us itself, else the first that did and does not wait, else the first.
 * *waits: all who told us do, or the one who made it; a version that somebody
 * else brought as well goes on.
 */
struct brake_source *brake_row_source(const struct brake *br,
    const struct row *row, bool *waits);

/* brake_source.c */
/* Of this device; NULL when the folder is not shared with it. */
struct brake_source *brake_source_of(const struct brake *br,
    const struct devid *dev);
/* Must what it deletes or rewrites wait? */
bool brake_source_waits(const struct brake_source *src);
/* More than this of its folder is too much. */
int64_t brake_source_limit(const struct brake *br,
    const struct brake_source *src);
/* Its name, for logs. */
struct slice brake_source_name(const struct brake *br,
    const struct brake_source *src);
/* It takes something away: it begins, or goes on. */
void brake_source_stir(struct brake *br, struct brake_source *src);
/* What it took away so far counts no more. */
void brake_source_forget(struct brake_source *src);
/* -> LOOKS: as much as would be too much; a look is to come. */
void brake_source_suspect(struct brake *br, struct brake_source *src);
/* -> HOLDS: it is too much; people are told. */
void brake_source_hold(struct brake *br, struct brake_source *src);
/* -> FREE, with nothing counted: what waited goes on. */
void brake_source_release(struct brake *br, struct brake_source *src);
/* All states into the index, with the next commit; and back. */
void brake_source_save(struct brake *br);
void brake_source_load(struct brake *br);

/* brake_look.c */
void brake_look_init(struct brake *br);
void brake_look_fini(struct brake *br);
/* Look at the rows when the peers' indexes are quiet. */
void brake_look_soon(struct brake *br);
/* Do not, and forget what was seen. */
void brake_look_stop(struct brake *br);
/* Does another file of this disk have the same bytes, and keep them? */
bool brake_look_elsewhere(struct brake *br, struct slice path,
    const struct entry *e);

#endif
