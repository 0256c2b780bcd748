/*
 * An item: one path on its way to its global version on this disk.
 *
 * Private to the pull (pull*.c, fetch.c, reuse.c, writer*.c).  An item is made
 * by the planner, loads what it needs into a temp (fetch.h), waits for its
 * parent directory, and goes through the writer in a batch (writer.h):
 *
 *	LOADING -> (HELD) -> READY -> BATCHED -> gone
 *	   \___________________\______-> ENDING -> gone    (failed, cancelled)
 *
 * It owns all it points to, but for what says "borrows".
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_ITEM_H
#define HOLDFAST_ENGINE_ITEM_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/entry.h"
#include "engine/base/list.h"
#include "engine/base/vec.h"
#include "engine/devset.h"
#include "engine/identity.h"
#include "engine/row.h"

struct pull;
struct batch;

enum item_kind {
	ITEM_FILE,     /* a file staged in `temp` */
	ITEM_LINK,     /* a symlink */
	ITEM_DIR,      /* a directory to be made */
	ITEM_META,     /* permissions and mtime of what is there */
	ITEM_REMOVE,   /* a file or link away from its name */
	ITEM_RMDIR,    /* a directory */
	ITEM_MOVE,     /* `from` is renamed to `path` */
	ITEM_MOVE_DIR, /* ... with everything in it */
};

enum item_state {
	ITEM_LOADING,
	ITEM_HELD, /* waits for its parent, or for what is in it, to be done */
	ITEM_READY,
	ITEM_BATCHED,
	ITEM_ENDING, /* waits for answers due to it, then goes */
};

enum block_state { /* of the file in `temp` */
	BLOCK_WANT,
	BLOCK_STAGED, /* in `temp`, made of ranges, unverified (reuse.h) */
	BLOCK_FAR,    /* as WANT, but not found on this disk */
	BLOCK_PIECES, /* ranges of it are on their way (reuse.h) */
	BLOCK_ASKED,  /* on its way: asked, copied or written */
	BLOCK_HAVE,
};

/* A request to a peer not yet answered. */
struct item_ask {
	struct list_node node; /* in item->asks */
	struct item *item;
	uint32_t slot; /* of the device */
	uint64_t number;
	int64_t offset;
	uint32_t len;
	uint32_t block; /* of plain blocks; UINT32_MAX: a free range */
	bool from_temp; /* of one who has no more of the file than parts */
};

struct item {
	struct list_node node; /* by state: hungry, held, ready, batch */
	struct pull *pl;
	enum item_kind kind;
	enum item_state state;
	struct slice path;
	struct slice from;  /* MOVE */
	struct slice temp;  /* staging name */
	struct slice keep;  /* conflict name for what is there now, or empty */
	struct entry entry; /* the version this disk shall have */
	struct entry gone;  /* MOVE: the deletion of `from` */
	bool had;           /* `base` is what the index says is here */
	struct version base;
	struct identity want; /* ... and how it looked on disk */
	struct identity want_from;
	bool replace;     /* REMOVE, RMDIR: only to make way */
	bool implicit;    /* DIR: nobody asked for it but its children */
	bool made;        /* DIR: is on disk */
	bool late;        /* DIR: permissions are set when it is filled */
	bool set_meta;    /* MOVE: attributes differ from the old name's */
	bool met;         /* a pass passed over it: another, afterwards */
	bool stale;       /* the index changed under it: plan again */
	uint32_t ops;     /* DONEs due */
	struct list held; /* items that wait for this directory */
	struct batch *batch;

	/* Loading: fetch.c, reuse.c. */
	struct devset holders; /* who can serve it */
	struct devset failed;  /* ... and who could not */
	struct devset lacking; /* ... for it has nothing there */
	bool bad_data;         /* one of them sent something else */
	bool hungry;           /* is in the list of those who want more */
	bool checking;         /* CHECK_TEMP under way */
	bool touched;          /* `temp` exists */
	uint8_t *block;        /* enum block_state of each */
	uint32_t missing;      /* blocks not BLOCK_HAVE */
	uint32_t next;         /* where to look for the next wanted one */
	uint32_t copies;       /* COPY_TEMPs under way */
	uint64_t in_flight;    /* bytes asked and being written */
	int64_t bytes_have;
	struct list asks;    /* struct item_ask */
	struct rmdir *rmdir; /* RMDIR, not empty: what is in it; or NULL */
	struct reuse *reuse; /* what is known of the old file; or NULL */

	/* In the writer. */
	uint64_t intent;        /* 0: none */
	bool intended;          /* ... or there was, and may be again */
	bool intent_stays;      /* what came off the name is still in `temp` */
	bool to_trash;          /* ... goes to the trash can */
	bool filed;             /* ... is in the trash can, unflushed */
	struct identity staged; /* the sealed temp */
	struct identity seen;   /* what the act left at the name */
	struct identity kept;   /* ... and took off it, now in `temp` */
	struct slice keep_now;  /* name `kept` shall get; empty: drop it */
	uint32_t keep_tries;
	int code; /* of the act */
	bool acted;

	VEC(void *) mem; /* what it owns */
};

/* Memory and copies that the item owns. */
void *item_own_zeroed(struct item *it, size_t len);
struct slice item_own(struct item *it, struct slice s);
struct version item_own_version(struct item *it, struct version v);
/* `block` is the whole list, or NULL for what has none. */
struct entry item_own_entry(struct item *it, const struct entry *e,
    const struct digest *block);

struct item *item_new(struct pull *pl, enum item_kind kind, struct slice path);
void item_free(struct item *it);
/* "update", "delete", ...: for notes. */
const char *item_action(const struct item *it);

#endif
