/*
 * Effects: everything the engine can ask of the world.
 *
 * An effect lives until the next engine_step(); the shell copies what it keeps
 * longer.  One with id != 0 is answered by exactly one EVENT_DONE with that id
 * (event.h), whatever happens, also when its folder is closed meanwhile.
 * Effects are independent of one another: where order matters the engine waits
 * for the DONE (docs/design/0004-effects.md).  Only these keep their order:
 * SENDs to one device, and a COMMIT comes after all puts made before it.
 *
 * Paths are checked (path.h) and relative to the folder's root; the shell
 * walks them by held directory descriptors and follows no symlink.  A `temp`
 * is a plain file name in the folder's private staging directory, on the same
 * file system as the folder.
 *
 * Folders are named by number: position of the folder in the engine, stable
 * from OPEN_FOLDER to the DONE of CLOSE_FOLDER.
 */
#ifndef HOLDFAST_ENGINE_EFFECT_H
#define HOLDFAST_ENGINE_EFFECT_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "blockproto/message.h"
#include "engine/base/digest.h"
#include "engine/base/payload.h"
#include "engine/base/slice.h"
#include "engine/identity.h"
#include "engine/reason.h"

enum effect_kind {
	/* A folder's life.  open: DONE gives store, root facts. */
	EFFECT_OPEN_FOLDER,
	EFFECT_CLOSE_FOLDER, /* stop watching; release root and store */
	EFFECT_CHECK_ROOT,   /* is the root still the one opened? DONE: root */
	EFFECT_MAKE_MARKER,  /* make .stfolder and the staging directory */
	EFFECT_COMMIT,       /* the folder's store, durably */

	/* Peers. */
	EFFECT_SEND,
	EFFECT_DROP_PEER,

	/* Looking. */
	EFFECT_LIST_DIR,   /* DONE: names with identities, sorted bytewise; the
			    * shell puts a watch on it before it reads it */
	EFFECT_STAT,       /* DONE: identity, link target */
	EFFECT_HASH_FILE,  /* DONE: hashes; CHANGED when it moved meanwhile */
	EFFECT_READ_FILE,  /* whole small file (ignore rules); DONE: payload */
	EFFECT_READ_BLOCK, /* DONE: payload */
	EFFECT_CHUNK_FILE, /* DONE: content-defined chunks (chunkmap.h) of the
			    * file, or of some ranges of it, one after the
			    * other; CHANGED when one is not in it */

	/* Staging: nothing a person can see. */
	EFFECT_WRITE_TEMP, /* verify a payload's hash, write it */
	EFFECT_COPY_TEMP,  /* the same from a local file */
	EFFECT_CHECK_TEMP, /* which blocks are there already? (resume) */
	EFFECT_SEAL_TEMP,  /* final size, mode, mtime; after the last write */
	EFFECT_SYNC_TEMPS, /* these, and the staging directory, durably */
	EFFECT_DROP_TEMP,  /* unlink */
	EFFECT_LIST_TEMPS, /* DONE: listing of the staging directory */

	/* Acts on names a person can see; each re-checks what it finds. */
	EFFECT_FINISH_FILE, /* put a sealed temp at its name */
	EFFECT_MAKE_LINK,   /* put a symlink at its name, via `temp` */
	EFFECT_MAKE_DIR,
	EFFECT_MOVE,         /* rename without replacing */
	EFFECT_REMOVE,       /* file, link: move to `temp`; directory: rmdir */
	EFFECT_SET_META,     /* permissions, mtime */
	EFFECT_PUT_BACK,     /* move a temp to a free name (user data kept) */
	EFFECT_KEEP_VERSION, /* file the bytes in `temp` in the trash can, as
			      * what was at `path`; ERR_CHANGED: written to */
	EFFECT_CLEAN_TRASH,  /* DONE: what is in it now, what went */
	EFFECT_SYNC_DIRS,    /* these directories' names, durably */

	EFFECT_WATCH, /* begin or stop watching a folder */
	EFFECT_NOTE,  /* something worth telling people; never answered */
};

/* Set by SEAL_TEMP, WRITE_TEMP with `seal`, MAKE_DIR and SET_META. */
struct effect_meta {
	bool set_perms;
	uint32_t perms; /* & 0777; setuid and the like never */
	bool set_mtime;
	int64_t mtime_s;
	int32_t mtime_ns;
};

struct effect_blocks { /* an expected list, borrowed until DONE */
	int64_t size;
	uint32_t block_size;
	uint32_t count;
	const struct digest *hash; /* shell copies it */
};

enum note_kind {
	NOTE_FOLDER_STATE,   /* path: folder ID; text: the state; reason */
	NOTE_SCAN,           /* a scan ended: numbers in count, bytes */
	NOTE_LOCAL_CHANGE,   /* found on this disk and announced */
	NOTE_REMOTE_CHANGE,  /* done on this disk for a peer */
	NOTE_CONFLICT,       /* path: the copy that keeps the losing bytes */
	NOTE_ITEM_FAILED,    /* reason says why; retried */
	NOTE_PEER_STATE,     /* a device's need changed */
	NOTE_PENDING_FOLDER, /* a device offers a folder we do not have */
	NOTE_HELD,           /* a device's mass change waits: count */
	NOTE_INTRODUCED,     /* an introducer named a device: add it */
};

struct effect_note {
	enum note_kind kind;
	enum reason reason;
	struct slice path;    /* of FOLDER_STATE, PENDING_FOLDER: its ID */
	struct slice text;    /* label, name, ...: see the kind */
	struct slice action;  /* "update", "delete", "move", "meta" */
	struct devid device;  /* who made the change; none when unknown */
	struct devid device2; /* INTRODUCED: the introducer */
	const struct slice *address; /* INTRODUCED */
	uint32_t address_count;
	int64_t count, bytes;
};

struct effect {
	enum effect_kind kind;
	uint64_t id;     /* 0: no DONE wanted */
	uint32_t folder; /* number; not for peers' effects */
	struct slice path;
	struct slice temp;    /* staging name */
	struct identity want; /* what must be at `path`; ABSENT: nothing */
	union {
		struct {
			struct slice folder_id, path; /* the root */
			bool rebuild; /* set a damaged store aside */
		} open;
		struct {
			struct devid device;
			struct message
			    message; /* encoded before the next step */
			struct payload *payload; /* takes; RESPONSE's data */
		} send;
		struct {
			struct devid device;
			struct slice reason;
		} drop;
		struct {
			int64_t size; /* about: when it was last looked at */
			uint32_t block_size;
			bool chunks; /* make the chunk map as well */
		} hash;
		struct { /* READ_BLOCK; from `temp` when that is not empty */
			int64_t offset;
			uint32_t len;
			bool verify; /* against `hash`, ERR_CHANGED */
			struct digest hash;
		} read;
		struct { /* CHUNK_FILE; none: the whole file */
			const struct chunk_range *range; /* shell copies them */
			uint32_t count;
		} chunk;
		struct { /* WRITE_TEMP: creates the temp when missing */
			int64_t offset;
			struct payload *payload; /* takes */
			bool verify; /* against `hash`, else ERR_CORRUPT */
			struct digest hash;
			int64_t file_size; /* final; sparse until written */
			bool seal; /* it was the last: do SEAL_TEMP too */
			struct effect_meta meta;
		} write;
		struct { /* COPY_TEMP: from `path` (must be `want`), or, when
			  * `path` is empty, from the temp `from_temp`; from a
			  * place in `temp` to the same: only verified */
			struct slice from_temp;
			int64_t from_offset, offset;
			int64_t len;
			bool verify;
			struct digest hash;
			int64_t file_size;
			bool seal;
			struct effect_meta meta;
		} copy;
		struct effect_blocks check;
		struct {
			int64_t file_size;
			struct effect_meta meta;
		} seal;
		struct {
			/* First all that was written below the root so far:
			 * files a person saved and did not flush. */
			bool flush;
		} commit;
		struct { /* SYNC_TEMPS, SYNC_DIRS */
			const struct slice *name;
			uint32_t count;
		} sync;
		struct { /* FINISH_FILE: what was at `path` gets this free
			  * name, never `temp`, when it is not empty */
			struct slice keep;
		} finish;
		struct {
			struct slice target;
		} link;
		struct effect_meta meta; /* MAKE_DIR, SET_META */
		struct {
			struct slice to;
			struct identity want_to; /* ABSENT, or itself (case) */
		} move;
		struct { /* CLEAN_TRASH; the oldest goes first */
			int64_t until_ns;  /* wall: what came before goes */
			int64_t bytes_max; /* no more than this stays */
			int64_t free_min;  /* ... while less is free on the
					    * disk, or 2 % of a small one */
			int64_t give;      /* so much goes in any case */
		} clean;
		struct {
			bool on;
		} watch;
		struct effect_note note;
	} u;
};

#endif
