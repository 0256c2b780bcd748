/*
 * Events: everything that can happen to the engine.
 *
 * Borrowed for the call of engine_step(); a payload changes owner: the engine
 * takes it, and an effect of the same step gives it on or it is freed.
 */
#ifndef HOLDFAST_ENGINE_EVENT_H
#define HOLDFAST_ENGINE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "blockproto/message.h"
#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/base/payload.h"
#include "engine/chunkmap.h"
#include "engine/identity.h"
#include "engine/index.h"
#include "engine/setup.h"

enum event_kind {
	EVENT_START,   /* first of all; u.setup */
	EVENT_SETUP,   /* the configuration changed; u.setup */
	EVENT_TICK,    /* wake_at_ns has come */
	EVENT_CHANGES, /* hints from the watcher */
	EVENT_PEER_UP, /* a session is open, Hello exchanged */
	EVENT_PEER_DOWN,
	EVENT_MESSAGE,
	EVENT_DONE,    /* of an effect, with its id */
	EVENT_COMMAND, /* a person asks for something */
};

/* A hint where to look; never believed. */
struct change_hint {
	struct slice path; /* empty: the root */
	bool subtree;      /* look below it too, however unchanged it seems */
};

enum watch_state {
	WATCH_OFF,
	WATCH_FULL,    /* every directory is watched */
	WATCH_PARTIAL, /* the system's limit was reached: periodic rescans */
	WATCH_FAILED,
};

struct dir_entry {
	struct slice name; /* base name; not checked: may be any bytes */
	struct identity seen;
	struct slice link_target;
	int error; /* 0, or err_code: could not be looked at */
};

struct root_facts {
	bool exists;       /* the directory is there and can be listed */
	bool marker;       /* .stfolder is there */
	bool empty;        /* nothing but internal names in it */
	bool can_exchange; /* renameat2(RENAME_EXCHANGE) works here */
	bool folds_case;   /* "A" and "a" are one name here */
	bool has_perms;    /* keeps permission bits */
	bool has_links;    /* keeps symlinks */
	struct root_identity identity;
};

struct disk_space {     /* of a folder's file system, bytes */
	uint64_t free;  /* for us: what is kept for root is not */
	uint64_t total; /* 0: not known */
};

struct trash_totals { /* of the trash can, or a part of it */
	int64_t files, bytes;
};

enum command_kind {
	COMMAND_SCAN,     /* folder, path (empty: all) */
	COMMAND_OVERRIDE, /* send-only: our state wins */
	COMMAND_REVERT,   /* receive-only: undo local changes */
	COMMAND_IGNORES,  /* the ignore file was edited: read it again */
	COMMAND_RETRY,    /* try failed items now */
	COMMAND_EMPTY_TRASH,
	COMMAND_CONFIRM, /* what the brake holds is done */
	COMMAND_REJECT,  /* ... is answered with our versions */
	COMMAND_ADOPT,   /* the directory as it is now becomes the folder */
};

struct event {
	enum event_kind kind;
	struct now now;
	union {
		struct setup setup; /* START, SETUP */
		struct {
			uint32_t folder;
			const struct change_hint *hint;
			uint32_t count;
			bool overflow; /* hints were lost: scan everything */
			enum watch_state state;
		} changes;
		struct {
			struct devid device;
			uint32_t features;   /* enum feature, agreed by both */
			struct slice client; /* "syncthing v1.19.2" */
			struct slice address;
		} peer; /* PEER_UP; PEER_DOWN uses device only */
		struct {
			struct devid device;
			const struct message *message;
			struct payload *payload; /* RESPONSE's data; taken */
		} message;
		struct {
			uint64_t id;
			int code;             /* 0 or an err_code */
			int flush_code;       /* COMMIT: of the flush before
					       * it; ERR_BUSY: not tried */
			struct slice text;    /* of the error */
			struct identity seen; /* STAT, HASH_FILE, FINISH_FILE,
					       * MAKE_*, MOVE, SET_META: what is
					       * at the name now; SEAL_TEMP,
					       * sealing writes: of the temp */
			struct identity
			    kept;                 /* FINISH_FILE, MAKE_LINK,
						   * REMOVE: what was taken off the name and is
						   * now at `temp`; ABSENT: nothing */
			struct slice link_target; /* STAT */
			struct payload *payload;  /* READ_*; taken */
			const struct dir_entry *entry; /* LIST_* */
			uint32_t entry_count;
			const struct digest *hash; /* HASH_FILE */
			uint32_t hash_count;
			uint32_t block_size;
			const struct chunk *chunk; /* CHUNK_FILE, HASH_FILE */
			uint32_t chunk_count;
			const uint8_t *have; /* CHECK_TEMP: bit i of byte i/8 */
			struct store
			    *store;         /* OPEN_FOLDER; borrowed until
					     * the folder is closed; NULL on failure */
			bool store_rebuilt; /* a damaged one was set aside */
			struct root_facts root; /* OPEN_FOLDER, CHECK_ROOT */
			struct trash_totals trash, trash_gone; /* CLEAN_TRASH */
		} done;
		struct {
			enum command_kind kind;
			struct slice folder_id;
			struct slice path;
		} command;
	} u;
};

#endif
