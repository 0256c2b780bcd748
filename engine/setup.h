/*
 * The setup: what a person configured, as the engine sees it.
 *
 * Made by cli/config.c, handed over with EVENT_START and EVENT_SETUP; the
 * engine keeps its own copy.  Folder and device order is that of the
 * configuration file.
 */
#ifndef HOLDFAST_ENGINE_SETUP_H
#define HOLDFAST_ENGINE_SETUP_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/arena.h"
#include "engine/base/slice.h"

enum folder_mode {
	FOLDER_SEND_RECEIVE,
	FOLDER_SEND_ONLY,
	FOLDER_RECEIVE_ONLY,
};

struct setup_device {
	struct devid id;
	struct slice name;
	const struct slice *address; /* as configured: told to introducees */
	uint32_t address_count;
	bool paused;
	bool introducer;  /* we add whom it introduces */
	bool auto_accept; /* folders it offers are added by themselves */
	struct devid introduced_by; /* none: added by hand */
};

struct setup_folder {
	struct slice id; /* wire ID */
	struct slice label;
	struct slice path; /* on disk, absolute; the engine only shows it */
	enum folder_mode mode;
	bool paused;
	bool ignore_perms;
	const struct devid *device; /* shared with; not ourselves */
	uint32_t device_count;
	uint64_t rescan_ns;      /* period of full rescans; 0: none */
	bool trash;              /* what peers take away is kept: trash.h ... */
	uint64_t trash_age_ns;   /* ... for so long; 0: for ever */
	int64_t trash_bytes_max; /* ... up to so much; 0: no limit */
	/* A device that takes away more than so many percent of the files,
	 * and more than so many, is held: brake.h.  0 percent: never. */
	uint32_t brake_percent;
	uint32_t brake_files;
};

/* A device that has replaced its key, and with that its ID. */
struct setup_former {
	struct devid was; /* is nobody's any more */
	struct devid now; /* of a peer, or our own */
};

struct setup {
	struct devid self;
	struct slice name; /* this device's */
	uint64_t seed;     /* for the engine's own generator; from the OS */
	/* For tables with keys of others, from the OS; tells nothing outside,
	 * and decides nothing but how fast a look-up is. */
	uint64_t hash_seed;
	int32_t zone_s; /* local time minus UTC, seconds: conflict names */
	const struct setup_device *device;
	uint32_t device_count;
	const struct setup_folder *folder;
	uint32_t folder_count;
	/* All that is known of a `was` is its `now`'s; no `was` is a `now`. */
	const struct setup_former *former;
	uint32_t former_count;
};

/* A deep copy; all it points to lives in `arena`. */
void setup_copy(struct setup *out, const struct setup *in, struct arena *arena);
void setup_copy_folder(struct setup_folder *out, const struct setup_folder *in,
    struct arena *arena);
/* The configured device; NULL when it is none. */
const struct setup_device *setup_device(const struct setup *su,
    const struct devid *id);
/* The ID that this device has now: as a rule the one it had. */
const struct devid *setup_now(const struct setup *su, const struct devid *id);
/* Is the folder shared with this device? */
bool setup_is_shared(const struct setup_folder *sf, const struct devid *id);

#endif
