/*
 * A Syncthing's configuration, as far as we can go on with it.
 *
 * Read from config.xml (BEP-FACTS.md 12.3) of any version since 1.0.  A text
 * with a document type is refused before anything in it is expanded.  What the
 * file says is taken as it stands; judging it is the configuration's
 * (config.h).
 */
#ifndef HOLDFAST_CLI_SYNCTHING_H
#define HOLDFAST_CLI_SYNCTHING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

#define SYNCTHING_CONFIG_MAX (16u * 1024 * 1024) /* bytes of config.xml */

/* Texts are NUL-terminated, "" when absent. */
struct syncthing_device {
	struct devid id;
	const char *name, *compression;
	struct devid introduced_by; /* none */
	bool introducer, paused, auto_accept, untrusted;
	const char **address;
	size_t address_count;
};

struct syncthing_share {
	struct devid device;
	bool encrypted; /* the device gets ciphertext: not ours to do yet */
};

struct syncthing_folder {
	const char *id, *label, *path, *mode, *marker, *versioning;
	int64_t rescan_s;        /* -1: not said */
	int64_t cleanout_days;   /* of old versions; 0: never */
	bool versions_elsewhere; /* not in .stversions */
	bool paused, ignore_perms, unwatched;
	struct syncthing_share *share;
	size_t share_count;
};

struct syncthing {
	int64_t version;
	struct syncthing_device *device;
	size_t device_count;
	struct syncthing_folder *folder;
	size_t folder_count;
	const char **listen;
	size_t listen_count;
	bool no_announce;      /* local discovery is off */
	int64_t announce_port; /* 0: not said */
};

/* All in `ar`.  ERR_INVALID says where the text is wrong. */
int syncthing_parse(struct syncthing *out, struct slice text, struct arena *ar,
    struct err *err);

#endif
