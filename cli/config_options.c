/*
 * The table of options, and keys taken apart by it.
 */
#include "cli/config.h"

#include "engine/base/assert.h"

/* A hundred years: longer than any wait a person means. */
#define CONFIG_DURATION_MAX (INT64_C(36500) * 24 * 3600)

static const struct config_option config_table[CONFIG_ID_COUNT] = {
	{ CONFIG_NODE_NAME, CONFIG_NODE, "name", CONFIG_TEXT, false, false,
	    NULL, NULL, 1, CONFIG_NAME_MAX,
	    "what other devices call this one; default: the host's name" },
	{ CONFIG_NODE_SANDBOX, CONFIG_NODE, "sandbox", CONFIG_CHOICE, false,
	    false, "auto", "auto|off|require", 0, 0,
	    "what syncd gives up when it starts; require: or it does not" },
	{ CONFIG_LOG_LEVEL, CONFIG_LOG, "level", CONFIG_CHOICE, false, false,
	    "info", "error|warn|info|debug", 0, 0, "how much syncd tells" },

	{ CONFIG_MESH_LISTEN, CONFIG_MESH, "listen", CONFIG_LISTEN, true, false,
	    "tcp://:22000 quic://:22000", NULL, 0, 0,
	    "where other devices may connect" },
	{ CONFIG_MESH_SCOPE, CONFIG_MESH, "scope", CONFIG_CHOICE, false, false,
	    "any", "any|lan", 0, 0,
	    "lan: send nothing to addresses that are not private, and take "
	    "nothing from them" },
	{ CONFIG_MESH_ANNOUNCE, CONFIG_MESH, "announce", CONFIG_BOOL, false,
	    false, "true", NULL, 0, 0,
	    "find devices on the local network, and be found" },
	{ CONFIG_MESH_ANNOUNCE_PORT, CONFIG_MESH, "announce-port", CONFIG_INT,
	    false, false, "21027", NULL, 1, 65535,
	    "UDP port of local discovery" },
	{ CONFIG_MESH_DISCOVERY, CONFIG_MESH, "discovery", CONFIG_SERVER, true,
	    false, NULL, NULL, 0, 0,
	    "a server that is told where this device is, and asked where "
	    "others are; default: none" },
	{ CONFIG_MESH_COORDINATOR, CONFIG_MESH, "coordinator",
	    CONFIG_COORDINATOR, true, false, NULL, NULL, 0, 0,
	    "a coordinator of this device's domain, held a line to; default: "
	    "none" },
	{ CONFIG_MESH_PORTMAP, CONFIG_MESH, "portmap", CONFIG_BOOL, false,
	    false, "true", NULL, 0, 0,
	    "have the router open ports (PCP, NAT-PMP, UPnP), when there is a "
	    "server to tell them to" },
	{ CONFIG_MESH_SLEEP, CONFIG_MESH, "sleep", CONFIG_DURATION, false,
	    false, "5m", NULL, 0, CONFIG_DURATION_MAX,
	    "let go of a link through routers that nobody used for so long, "
	    "where a coordinator can wake it; 0: never" },

	{ CONFIG_MESH_STUN, CONFIG_MESH, "stun", CONFIG_STUN, true, false, NULL,
	    NULL, 0, 0,
	    "a STUN server that is asked how this device is seen from outside; "
	    "default: none" },

	{ CONFIG_RELAY_SERVE, CONFIG_RELAY, "serve", CONFIG_BOOL, false, false,
	    "false", NULL, 0, 0,
	    "be a relay for devices that cannot reach each other" },
	{ CONFIG_RELAY_LISTEN, CONFIG_RELAY, "listen", CONFIG_LISTEN, false,
	    false, "tcp://:22067", NULL, 0, 0, "where they come to it" },
	{ CONFIG_RELAY_OPEN, CONFIG_RELAY, "open", CONFIG_BOOL, false, false,
	    "false", NULL, 0, 0, "also for devices that are not in this file" },
	{ CONFIG_RELAY_RATE, CONFIG_RELAY, "rate", CONFIG_SIZE, false, false,
	    "0", NULL, 0, 0,
	    "bytes a second of each session and direction; 0: no limit" },

	{ CONFIG_COORD_SERVE, CONFIG_COORD, "serve", CONFIG_BOOL, false, false,
	    "false", NULL, 0, 0,
	    "be a coordinator: keep a domain's log and tell where devices "
	    "are" },
	{ CONFIG_COORD_LISTEN, CONFIG_COORD, "listen", CONFIG_LISTEN, false,
	    false, "tcp://0.0.0.0:22075", NULL, 0, 0, "where they come to it" },
	{ CONFIG_COORD_OPEN, CONFIG_COORD, "open", CONFIG_BOOL, false, false,
	    "false", NULL, 0, 0,
	    "also for domains that no device of this file brings" },
	{ CONFIG_COORD_DISCOVERY, CONFIG_COORD, "discovery", CONFIG_BOOL, false,
	    false, "false", NULL, 0, 0,
	    "be a discovery server as well, as Syncthing knows them" },

	{ CONFIG_DEVICE_ID, CONFIG_IN_DEVICE, "id", CONFIG_DEVID, false, true,
	    NULL, NULL, 0, 0, "its device ID, as `syncctl id` shows it there" },
	{ CONFIG_DEVICE_ADDRESS, CONFIG_IN_DEVICE, "address", CONFIG_ADDRESS,
	    true, false, "dynamic", NULL, 0, 0,
	    "where to reach it; dynamic: it is to be found" },
	{ CONFIG_DEVICE_PAUSED, CONFIG_IN_DEVICE, "paused", CONFIG_BOOL, false,
	    false, "false", NULL, 0, 0, "do not connect with it" },
	{ CONFIG_DEVICE_INTRODUCER, CONFIG_IN_DEVICE, "introducer", CONFIG_BOOL,
	    false, false, "false", NULL, 0, 0,
	    "add the devices it shares our folders with" },
	{ CONFIG_DEVICE_INTRODUCED_BY, CONFIG_IN_DEVICE, "introduced-by",
	    CONFIG_DEVICE, false, false, NULL, NULL, 0, 0,
	    "the introducer that brought it; set by syncd" },
	{ CONFIG_DEVICE_AUTO_ACCEPT, CONFIG_IN_DEVICE, "auto-accept",
	    CONFIG_BOOL, false, false, "false", NULL, 0, 0,
	    "take every folder it offers, below ~/Sync" },
	{ CONFIG_DEVICE_COMPRESSION, CONFIG_IN_DEVICE, "compression",
	    CONFIG_CHOICE, false, false, "metadata", "metadata|never|always", 0,
	    0, "what to compress on the way to it" },
	{ CONFIG_DEVICE_MAX_SILENCE, CONFIG_IN_DEVICE, "max-silence",
	    CONFIG_DURATION, false, false, "7d", NULL, 0, CONFIG_DURATION_MAX,
	    "warn when it was not seen for so long; 0: never" },
	{ CONFIG_DEVICE_MAX_RELAYED, CONFIG_IN_DEVICE, "max-relayed",
	    CONFIG_DURATION, false, false, "10m", NULL, 0, CONFIG_DURATION_MAX,
	    "warn when it was reached by a relay alone for so long; 0: never" },
	{ CONFIG_DEVICE_DIAG, CONFIG_IN_DEVICE, "diag", CONFIG_BOOL, false,
	    false, "true", NULL, 0, 0,
	    "let it ask how this device is (ping, device diag)" },
	{ CONFIG_DEVICE_FORWARD, CONFIG_IN_DEVICE, "forward", CONFIG_INT, true,
	    false, NULL, NULL, 1, 65535,
	    "a TCP port of this device's own loopback that it may use "
	    "(forward); "
	    "default: none" },

	{ CONFIG_FOLDER_PATH, CONFIG_IN_FOLDER, "path", CONFIG_PATH, false,
	    true, NULL, NULL, 0, 0, "the directory on this device" },
	{ CONFIG_FOLDER_LABEL, CONFIG_IN_FOLDER, "label", CONFIG_TEXT, false,
	    false, NULL, NULL, 0, 200, "what people call it; default: its ID" },
	{ CONFIG_FOLDER_MODE, CONFIG_IN_FOLDER, "mode", CONFIG_CHOICE, false,
	    false, "sendreceive", "sendreceive|sendonly|receiveonly", 0, 0,
	    "which way changes go" },
	{ CONFIG_FOLDER_SHARE, CONFIG_IN_FOLDER, "share", CONFIG_DEVICE, true,
	    false, NULL, NULL, 0, 0, "the name of a device that has it too" },
	{ CONFIG_FOLDER_PAUSED, CONFIG_IN_FOLDER, "paused", CONFIG_BOOL, false,
	    false, "false", NULL, 0, 0, "send nothing and receive nothing" },
	{ CONFIG_FOLDER_RESCAN, CONFIG_IN_FOLDER, "rescan", CONFIG_DURATION,
	    false, false, "1h", NULL, 0, CONFIG_DURATION_MAX,
	    "time between two full scans; 0: none" },
	{ CONFIG_FOLDER_WATCH, CONFIG_IN_FOLDER, "watch", CONFIG_BOOL, false,
	    false, "true", NULL, 0, 0, "see changes at once, by inotify" },
	{ CONFIG_FOLDER_IGNORE_PERMS, CONFIG_IN_FOLDER, "ignore-perms",
	    CONFIG_BOOL, false, false, "false", NULL, 0, 0,
	    "neither send nor take permissions" },
	{ CONFIG_FOLDER_TRASH, CONFIG_IN_FOLDER, "trash", CONFIG_BOOL, false,
	    false, "true", NULL, 0, 0,
	    "keep what other devices delete or replace, in .stversions" },
	{ CONFIG_FOLDER_TRASH_AGE, CONFIG_IN_FOLDER, "trash-age",
	    CONFIG_DURATION, false, false, "30d", NULL, 0, CONFIG_DURATION_MAX,
	    "how long it is kept; 0: for ever" },
	{ CONFIG_FOLDER_TRASH_SIZE, CONFIG_IN_FOLDER, "trash-size", CONFIG_SIZE,
	    false, false, "0", NULL, 0, 0,
	    "how much is kept, the oldest goes first; 0: no limit" },
	{ CONFIG_FOLDER_BRAKE, CONFIG_IN_FOLDER, "brake", CONFIG_INT, false,
	    false, "25", NULL, 0, 100,
	    "ask when a device deletes or rewrites more than so many percent "
	    "of the files; 0: never" },
	{ CONFIG_FOLDER_BRAKE_FILES, CONFIG_IN_FOLDER, "brake-files",
	    CONFIG_INT, false, false, "100", NULL, 1, 1000000000,
	    "... and more than so many files" },
	{ CONFIG_FOLDER_LOW_SPACE, CONFIG_IN_FOLDER, "low-space", CONFIG_SIZE,
	    false, false, "1G", NULL, 0, 0,
	    "warn when less is free on its disk; a small disk: when less than "
	    "a twentieth is, unless it is set; 0: never" },
	{ CONFIG_FOLDER_SINGLE_COPY, CONFIG_IN_FOLDER, "single-copy",
	    CONFIG_DURATION, false, false, "1d", NULL, 0, CONFIG_DURATION_MAX,
	    "warn when no other device had all of it for so long; 0: never" },
};

static const char *const config_sections[] = {
	[CONFIG_NODE] = "node",
	[CONFIG_LOG] = "log",
	[CONFIG_MESH] = "mesh",
	[CONFIG_RELAY] = "relay",
	[CONFIG_COORD] = "coord",
	[CONFIG_IN_DEVICE] = "device",
	[CONFIG_IN_FOLDER] = "folder",
};

#define CONFIG_SECTIONS (sizeof(config_sections) / sizeof(config_sections[0]))

static uint8_t
config_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Equal but for case, '-' and '_'. */
static bool
config_same_word(struct slice typed, const char *word)
{
	size_t i = 0;

	for (;;) {
		while (*word == '-')
			word++;
		while (i < typed.len &&
		       (typed.ptr[i] == '-' || typed.ptr[i] == '_'))
			i++;
		if (i == typed.len || *word == '\0')
			return i == typed.len && *word == '\0';
		if (config_lower(typed.ptr[i]) != (uint8_t)*word)
			return false;
		i++;
		word++;
	}
}

static bool
config_has_name(enum config_section section)
{
	return section == CONFIG_IN_DEVICE || section == CONFIG_IN_FOLDER;
}

/* All options of a section, for an error: "id, address, paused". */
static void
config_list_options(enum config_section section, char *out, size_t cap)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < CONFIG_ID_COUNT; i++) {
		const char *name = config_table[i].name;
		const size_t len = strlen(name);

		if (config_table[i].section != section || used + len + 3 > cap)
			continue;
		if (used > 0) {
			memcpy(out + used, ", ", 2);
			used += 2;
		}
		memcpy(out + used, name, len + 1);
		used += len;
	}
}

const struct config_option *
config_options(size_t *count)
{
	*count = CONFIG_ID_COUNT;
	return config_table;
}

const char *
config_section_name(enum config_section s)
{
	ASSERT((size_t)s < CONFIG_SECTIONS);
	return config_sections[s];
}

/* The section a key begins with; false when there is none of that name. */
static bool
config_find_section(struct slice word, enum config_section *out)
{
	for (size_t i = 0; i < CONFIG_SECTIONS; i++) {
		if (config_same_word(word, config_sections[i])) {
			*out = (enum config_section)i;
			return true;
		}
	}
	return false;
}

const struct config_option *
config_option(struct slice key, struct slice *name, struct err *err)
{
	const size_t first = slice_find(key, '.');
	const size_t last = slice_rfind(key, '.');
	enum config_section section = CONFIG_NODE;
	struct slice word;
	char list[256];

	*name = SLICE_EMPTY;
	if (first == SIZE_MAX ||
	    !config_find_section(slice_to(key, first), &section)) {
		err_set(err, ERR_INVALID,
		    "no such key; keys begin with node., log., mesh., "
		    "relay., coord., device.NAME. or folder.ID.");
		return NULL;
	}
	word = slice_from(key, last + 1);
	if (last > first)
		*name = slice_of(key.ptr + first + 1, last - first - 1);
	config_list_options(section, list, sizeof(list));
	if (config_has_name(section) != (last > first)) {
		err_set(err, ERR_INVALID, "%s",
		    config_has_name(section)
			? "no such key; write it as SECTION.NAME.OPTION"
			: "no such key; write it as SECTION.OPTION");
		return NULL;
	}
	for (size_t i = 0; i < CONFIG_ID_COUNT; i++)
		if (config_table[i].section == section &&
		    config_same_word(word, config_table[i].name))
			return &config_table[i];
	err_set(err, ERR_INVALID, "no such key; %s has: %s",
	    config_sections[section], list);
	return NULL;
}

char *
config_key(struct arena *ar, const struct config_option *opt, struct slice name)
{
	const char *section = config_sections[opt->section];

	if (!config_has_name(opt->section))
		return arena_printf(ar, "%s.%s", section, opt->name);
	return arena_printf(ar, "%s.%.*s.%s", section, SLICE_FMT(name),
	    opt->name);
}

/* "a, b or c" of "a|b|c". */
static char *
config_choices(struct arena *ar, const char *choices)
{
	char *out = arena_str(ar, SLICE_EMPTY);

	while (*choices != '\0') {
		const size_t len = strcspn(choices, "|");
		const bool is_last = choices[len] == '\0';
		const char *glue = "";

		if (out[0] != '\0')
			glue = is_last ? " or " : ", ";
		out =
		    arena_printf(ar, "%s%s%.*s", out, glue, (int)len, choices);
		choices += is_last ? len : len + 1;
	}
	return out;
}

const char *
config_allowed(struct arena *ar, const struct config_option *opt)
{
	switch (opt->type) {
	case CONFIG_TEXT:
		return arena_printf(ar, "a text of %lld to %lld bytes",
		    (long long)opt->min, (long long)opt->max);
	case CONFIG_BOOL:
		return "true or false";
	case CONFIG_INT:
		return arena_printf(ar, "a number from %lld to %lld",
		    (long long)opt->min, (long long)opt->max);
	case CONFIG_DURATION:
		return "a time such as 90s, 10m, 1h or 7d; 0 for none";
	case CONFIG_SIZE:
		return "a size such as 500M or 20G; 0 for none";
	case CONFIG_CHOICE:
		return config_choices(ar, opt->choices);
	case CONFIG_DEVID:
		return "a device ID, as `syncctl id` prints it";
	case CONFIG_ADDRESS:
		return "tcp://HOST:PORT, quic://HOST:PORT, "
		       "relay://HOST:PORT/?id=DEVICE-ID or dynamic";
	case CONFIG_LISTEN:
		return "tcp://HOST:PORT or quic://HOST:PORT (HOST may be left "
		       "out), or relay://HOST:PORT/?id=DEVICE-ID";
	case CONFIG_SERVER:
		return "https://HOST:PORT/?id=DEVICE-ID";
	case CONFIG_COORDINATOR:
		return "tcp://HOST:PORT?id=DEVICE-ID";
	case CONFIG_STUN:
		return "stun://HOST:PORT";
	case CONFIG_PATH:
		return "an absolute path, or one that begins with ~/";
	case CONFIG_DEVICE:
		return "the name of a device in this file";
	}
	return "";
}
