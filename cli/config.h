/*
 * The configuration: a table of options, and what a person made of them.
 *
 * Takes a list of (key, value, line) as a door read them from a file
 * (config_file.h) and gives checked values: a struct setup for the engine, the
 * settings of the network, the level of the log.  Every mistake is told with
 * line, key and what is allowed; all of them, not only the first.
 *
 * Keys are SECTION.OPTION or SECTION.NAME.OPTION, as in git: "mesh.listen",
 * "device.laptop.id", "folder.docs.path".  NAME may hold dots.  Case, '-' and
 * '_' in OPTION do not matter; it is written as the table has it.
 *
 * Pure.  docs/man/holdfast-config.5 says the same for people.
 */
#ifndef HOLDFAST_CLI_CONFIG_H
#define HOLDFAST_CLI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/message.h"
#include "cli/sandbox.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/base/log.h"
#include "engine/base/slice.h"
#include "engine/setup.h"

#define CONFIG_NAME_MAX 64u /* bytes in a device's name */
#define CONFIG_ID_MAX 200u  /* bytes in a folder's ID */
#define CONFIG_DEVICES_MAX 1024u
#define CONFIG_FOLDERS_MAX 4096u
#define CONFIG_ITEMS_MAX 65536u /* lines with a value in one file */

/* One assignment, as the file has it.  Borrows. */
struct config_item {
	struct slice key;   /* "device.laptop.id"; section, option lower case */
	struct slice value; /* "true" for an option without "=" */
	uint32_t line;      /* from 1; 0: unknown */
};

enum config_type {
	CONFIG_TEXT,
	CONFIG_BOOL,
	CONFIG_INT,      /* min .. max of the option */
	CONFIG_DURATION, /* 60s, 90m, 1h, 2d; 0 */
	CONFIG_SIZE,     /* 500M, 20G; 0 */
	CONFIG_CHOICE,   /* one of `choices` */
	CONFIG_DEVID,
	CONFIG_ADDRESS,     /* tcp://host:port, or "dynamic" */
	CONFIG_LISTEN,      /* tcp://host:port; the host may be missing */
	CONFIG_SERVER,      /* https://host/?id=..., a discovery server */
	CONFIG_COORDINATOR, /* tcp://host:port?id=... */
	CONFIG_STUN,        /* stun://host:port */
	CONFIG_PATH,        /* absolute, or ~/... */
	CONFIG_DEVICE,      /* the name of a configured device */
};

enum config_section {
	CONFIG_NODE,
	CONFIG_LOG,
	CONFIG_MESH,
	CONFIG_RELAY,
	CONFIG_COORD,
	CONFIG_IN_DEVICE, /* device.NAME.* */
	CONFIG_IN_FOLDER, /* folder.ID.* */
};

/* What an option sets; the order of the table. */
enum config_id {
	CONFIG_NODE_NAME,
	CONFIG_NODE_SANDBOX,
	CONFIG_LOG_LEVEL,
	CONFIG_MESH_LISTEN,
	CONFIG_MESH_SCOPE,
	CONFIG_MESH_ANNOUNCE,
	CONFIG_MESH_ANNOUNCE_PORT,
	CONFIG_MESH_DISCOVERY,
	CONFIG_MESH_COORDINATOR,
	CONFIG_MESH_PORTMAP,
	CONFIG_MESH_SLEEP,
	CONFIG_MESH_STUN,
	CONFIG_RELAY_SERVE,
	CONFIG_RELAY_LISTEN,
	CONFIG_RELAY_OPEN,
	CONFIG_RELAY_RATE,
	CONFIG_COORD_SERVE,
	CONFIG_COORD_LISTEN,
	CONFIG_COORD_OPEN,
	CONFIG_COORD_DISCOVERY,
	CONFIG_DEVICE_ID,
	CONFIG_DEVICE_ADDRESS,
	CONFIG_DEVICE_PAUSED,
	CONFIG_DEVICE_INTRODUCER,
	CONFIG_DEVICE_INTRODUCED_BY,
	CONFIG_DEVICE_AUTO_ACCEPT,
	CONFIG_DEVICE_COMPRESSION,
	CONFIG_DEVICE_MAX_SILENCE,
	CONFIG_DEVICE_MAX_RELAYED,
	CONFIG_DEVICE_DIAG,
	CONFIG_DEVICE_FORWARD,
	CONFIG_FOLDER_PATH,
	CONFIG_FOLDER_LABEL,
	CONFIG_FOLDER_MODE,
	CONFIG_FOLDER_SHARE,
	CONFIG_FOLDER_PAUSED,
	CONFIG_FOLDER_RESCAN,
	CONFIG_FOLDER_WATCH,
	CONFIG_FOLDER_IGNORE_PERMS,
	CONFIG_FOLDER_TRASH,
	CONFIG_FOLDER_TRASH_AGE,
	CONFIG_FOLDER_TRASH_SIZE,
	CONFIG_FOLDER_BRAKE,
	CONFIG_FOLDER_BRAKE_FILES,
	CONFIG_FOLDER_LOW_SPACE,
	CONFIG_FOLDER_SINGLE_COPY,
	CONFIG_ID_COUNT
};

struct config_option {
	enum config_id id;
	enum config_section section;
	const char *name;
	enum config_type type;
	bool repeats;
	bool required;
	/* The default as text; NULL: none.  When it repeats: words. */
	const char *fallback;
	const char *choices; /* CHOICE: "a|b|c" */
	int64_t min, max;    /* INT, and DURATION in seconds */
	const char *help;    /* one line */
};

#define CONFIG_FALLBACKS 4u /* words of a default, at most */

/* Take the next word off a default with several. */
struct slice config_next_word(struct slice *text);
/* The whole table, in the order in which people should read it. */
const struct config_option *config_options(size_t *count);

/*
 * Take a key apart.  `name` is the NAME part, empty without one.  NULL and
 * ERR_INVALID when there is no such option; the text says what is near.
 */
const struct config_option *config_option(struct slice key, struct slice *name,
    struct err *err);
/* The key as it is written: "folder.docs.ignore-perms". */
char *config_key(struct arena *ar, const struct config_option *opt,
    struct slice name);
/* "folder", "device", ... */
const char *config_section_name(enum config_section s);
/* What a value of this option may be, for people: "true or false". */
const char *config_allowed(struct arena *ar, const struct config_option *opt);
/*
 * Is `value` one for this option, by itself (not: does the device it names
 * exist)?  0, or ERR_INVALID with what is allowed.
 */
int config_check_value(const struct config_option *opt, struct slice value,
    struct err *err);

/* "60s", "1h", "250ms", "2d", "90" (seconds) to ns; ERR_INVALID. */
int config_parse_duration(struct slice text, uint64_t *out_ns, struct err *err);
/* "500M", "20G", "1T", "4096" (bytes); units of 1024; ERR_INVALID. */
int config_parse_size(struct slice text, int64_t *out, struct err *err);
int config_parse_bool(struct slice text, bool *out, struct err *err);
int config_parse_int(struct slice text, int64_t min, int64_t max, int64_t *out,
    struct err *err);
/* The number, from 0, of `text` among "a|b|c". */
int config_parse_choice(const char *choices, struct slice text, int *out,
    struct err *err);
/* min to max bytes of UTF-8 without control characters. */
int config_check_text(struct slice text, size_t min, size_t max,
    struct err *err);

/* What else of a device than the engine needs; same index as setup.device. */
struct config_device {
	enum message_compression compression;
	uint64_t max_silence_ns; /* unseen for longer is a warning; 0: never */
	uint64_t max_relayed_ns; /* relayed for longer is one; 0: never */
	bool member; /* of our domain; it may have no line in the file */
	bool denied; /* the domain's policy: we do not talk to it */
	bool diag;   /* it may ask how this device is */
	const uint16_t *forward; /* ports of ours that it may have carried */
	size_t forward_count;
};

/* What else of a folder; same index as setup.folder. */
struct config_folder {
	bool watch;
	uint64_t low_space;      /* less room is a warning, bytes; 0: never */
	bool low_space_default;  /* ... on a small disk a part of it */
	uint64_t single_copy_ns; /* alone for longer is one; 0: never */
};

struct config_mesh {
	const struct slice *listen; /* each NUL-terminated too */
	size_t listen_count;
	bool lan_only; /* scope */
	bool announce;
	uint16_t announce_port;
	const struct slice *discovery; /* servers; each NUL-terminated too */
	size_t discovery_count;
	const struct slice *coordinator; /* each NUL-terminated too */
	size_t coordinator_count;
	bool portmap;
	uint64_t sleep_ns;        /* 0: never */
	const struct slice *stun; /* likewise */
	size_t stun_count;
	bool relay_serve, relay_open;
	struct slice relay_listen; /* NUL-terminated too */
	int64_t relay_rate;        /* bytes a second; 0: no limit */
	bool coord_serve, coord_open, coord_discovery;
	struct slice coord_listen; /* NUL-terminated too */
};

struct config {
	/* self, seed and zone_s are left zero: the daemon's to fill.  Its
	 * slices are NUL-terminated too. */
	struct setup setup;
	const struct config_device *device; /* setup.device_count */
	const struct config_folder *folder; /* setup.folder_count */
	struct config_mesh mesh;
	enum log_level log_level;
	enum sandbox_mode sandbox; /* read once, when syncd starts */
};

/* What the domain's log says of other devices, as the daemon keeps it. */
enum config_member_kind {
	CONFIG_MEMBER,  /* a peer without a line in the file */
	CONFIG_DENIED,  /* the same, but policy forbids us to talk */
	CONFIG_FORMER,  /* `name` is what the member `id` was called before */
	CONFIG_GONE,    /* `name` was a member: lines about it mean nobody */
	CONFIG_ROTATED, /* `name` is the ID, as text, that `id` had before; it
			   may be this device's own */
};

struct config_member {
	enum config_member_kind kind;
	struct devid id; /* not of GONE */
	struct slice name;
};

/* What the file does not say. */
struct config_world {
	struct slice file;      /* its name, for errors */
	struct slice user_home; /* what ~ stands for; absolute */
	struct slice host;      /* the default of node.name */
	/* Directories of ours that no folder may hold: keys, index. */
	struct slice state_dir, config_dir;
	/* In an order of preference: the first one of a name has it. */
	const struct config_member *member;
	size_t member_count;
};

/* One mistake. */
struct config_mistake {
	uint32_t line;     /* 0: of the file as a whole */
	struct slice key;  /* may be empty */
	struct slice text; /* "file:line: key: what, and what is allowed" */
};

/*
 * Make a configuration of the items.  All lives in `ar`, nothing is borrowed
 * from `item`.  ERR_INVALID when there is any mistake: the first is in `err`,
 * all are in `mistakes` (may be NULL).
 */
int config_load(const struct config_item *item, size_t count,
    const struct config_world *world, struct arena *ar, struct config *out,
    const struct config_mistake **mistakes, size_t *mistake_count,
    struct err *err);

/* Index in setup.device / setup.folder; -1 when there is none. */
int32_t config_find_device(const struct config *cfg, struct slice name);
int32_t config_find_folder(const struct config *cfg, struct slice id);

/* "sendreceive", "sendonly", "receiveonly". */
const char *config_mode_name(enum folder_mode mode);
/*
 * Why setup.device[i] is a peer: "member" (of the domain), "introducer" (one
 * brought it) or "config" (a person added it).
 */
const char *config_source_name(const struct config *cfg, uint32_t i);
/* Lexical: is `path` equal to `dir` or below it?  Both absolute, clean. */
bool config_path_is_within(struct slice path, struct slice dir);
/* Absolute and without "//", "/./", trailing "/"; ERR_INVALID for ".." */
int config_clean_path(struct slice path, struct slice user_home,
    struct arena *ar, struct slice *out, struct err *err);

#endif
