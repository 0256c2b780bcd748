/*
 * The index of one folder: what we believe every device holds, path by path.
 *
 * It answers "what is known of this path", "what did we say since sequence N",
 * "which rows want work here" and "where on this disk is this block".  It
 * decides nothing: choosing the winner is global.h, what to do is decide.h.
 *
 * Invariants
 *   - one row a path (row.h); a deleted file stays as a tombstone.
 *   - local sequence numbers only grow and are never used twice, not even
 *     after a crash: what was not committed was never announced.
 *   - STORE_NEED holds exactly the rows whose global version this device does
 *     not have, when somebody holds it; excepted are ignored rows, deletions
 *     of what nobody has, we included, and local changes (ROW_LOCAL_CHANGED)
 * whose vector covers the global one.
 *   - totals are kept with every change and committed with it: index_flush().
 *   - every record carries a checksum; one that fails is ERR_CORRUPT, and the
 *     folder is halted and rebuilt (store.h).
 *
 * Thread: loop.  Disk layout: docs/formats.md.
 */
#ifndef HOLDFAST_ENGINE_INDEX_H
#define HOLDFAST_ENGINE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"
#include "engine/row.h"
#include "engine/setup.h"
#include "engine/store.h"

struct index;

/*
 * Counts of one view of the folder.  Local: what this device has, with its
 * local changes, without what is ignored or unsupported.  Global: the global
 * versions that somebody holds.
 */
struct totals {
	int64_t files, dirs, links, deleted;
	int64_t bytes;
};

/* What a device still needs to be equal to the global state. */
struct need_totals {
	int64_t items; /* files, directories, links to be made or changed */
	int64_t deletes;
	int64_t bytes; /* of files */
};

/* The folder's root as first seen: RELIABILITY.md I6, I7. */
struct root_identity {
	uint64_t dev; /* st_dev; may change over a reboot */
	uint64_t ino; /* of the root directory */
	uint64_t fs_hi,
	    fs_lo;      /* file system identity (UUID or fsid); 0 unknown */
	uint64_t nonce; /* kept with the marker; 0: there is none */
};

struct peer_state {        /* what we have of a device's index, kept on disk */
	uint64_t index_id; /* 0: nothing */
	int64_t max_sequence;
};

/*
 * Open over `store` (borrowed until index_close()); `index_id_if_new` becomes
 * this index's ID when it has never held a row: random, not 0.  ERR_CORRUPT
 * when the store belongs to another device or its format is unknown.
 */
int index_open(struct index **out, struct store *store,
    const struct devid *self, uint64_t index_id_if_new, struct err *err);
/*
 * The same where devices, this one among them, may have other IDs now than when
 * the store was written: as index_open(), then index_rename() for each.
 */
int index_open_former(struct index **out, struct store *store,
    const struct devid *self, const struct setup_former *former, uint32_t count,
    uint64_t index_id_if_new, struct err *err);
void index_close(struct index *ix); /* accepts NULL; flushes nothing */
/*
 * Put the facts that change with every row (last sequence, totals, peers'
 * states) beside the rows.  Call it right before a commit begins, always: the
 * rows of a commit without it would not match their totals.
 */
void index_flush(struct index *ix);

/* Facts. */
uint64_t index_id(const struct index *ix);
bool index_is_new(const struct index *ix);  /* never held a row */
uint64_t index_seq(const struct index *ix); /* the last sequence given out */
bool index_root(const struct index *ix, struct root_identity *out);
void index_put_root(struct index *ix, const struct root_identity *root);
/* Free-form facts of other modules, small; false when absent. */
bool index_fact(struct index *ix, const char *name, struct slice *value,
    struct arena *arena);
void index_put_fact(struct index *ix, const char *name, struct slice value);
/*
 * The next sequence is `seq` + 1 or later.  Called when the folder opens, with
 * a number that grows with time: an index that comes back from a backup then
 * gives out none a second time.
 */
void index_advance_seq(struct index *ix, uint64_t seq);
/*
 * Can this index have given out `seq`?  False: whoever heard of it heard it of
 * what this index was before an older copy of it came back.  (True may be
 * wrong only where a clock went back, too.)
 */
bool index_gave(const struct index *ix, uint64_t seq);
/*
 * The time for version_bump(): `wall_s`, or, when that is later, just after
 * the last counter of ours that a row has lost.  A row loses one when a version
 * that has not seen it wins; given out again for the same path it would make
 * two edits that know nothing of one another look like one after the other.
 */
int64_t index_stamp(const struct index *ix, int64_t wall_s);

/*
 * The slot of a device in this folder's sets; given at first use and never
 * reused.  ERR_LIMIT when all are taken.  index_device() is the way back.
 */
int index_slot(struct index *ix, const struct devid *dev, uint32_t *out,
    struct err *err);
const struct devid *index_device(const struct index *ix, uint32_t slot);
uint32_t index_slots(const struct index *ix);
/*
 * A device has another ID now: its slot is that one's, with all it told us, so
 * that it is neither asked nor told anything again.  Nothing happens when
 * `was` has no slot, or `now` has one of its own: then there are two devices,
 * and the one that is nobody's any more is forgotten as any that leaves.  But
 * this device is always slot ROW_SELF: there the two change places.
 */
void index_rename(struct index *ix, const struct devid *was,
    const struct devid *now);
struct peer_state index_peer(const struct index *ix, uint32_t slot);
void index_put_peer(struct index *ix, uint32_t slot, struct peer_state state);

/* The row at `path`, which may be anything a person or a peer asked for; NULL
 * when nothing is known.  Lives in `arena`. */
struct row *index_row(struct index *ix, struct slice path, struct arena *arena);
/* The first row with path > `after` (bytewise), or NULL.  For walks. */
struct row *index_next(struct index *ix, struct slice after,
    struct arena *arena);
/* As index_next(), but the first row with path >= `from`. */
struct row *index_from(struct index *ix, struct slice from,
    struct arena *arena);
/*
 * The row of the next direct child of `dir` (empty: the root) after the child
 * called `after` (empty: the first); NULL at the end.  Children are given in
 * byte order of their base names; skips whole subtrees by seeking.
 */
struct row *index_next_child(struct index *ix, struct slice dir,
    struct slice after, struct arena *arena);
/*
 * The next row strictly below `dir` after path `after` (empty: the first);
 * NULL at the end.  Unlike index_next() with path_is_below() it misses none,
 * however long the paths are.
 */
struct row *index_next_below(struct index *ix, struct slice dir,
    struct slice after, struct arena *arena);

/*
 * What this device has at a path is now `e` (its name is the path), found on
 * disk as `seen`.  Gives it the next local sequence, moves this device to that
 * version's holders (or makes the version), recomputes global, need, totals.
 * Where what we had was a deletion, or loses to `e` without having been seen by
 * it, the version becomes one that covers it, too.
 * `e->block` must hold the whole list.  With ROW_LOCAL_CHANGED, ROW_IGNORED or
 * ROW_UNSUPPORTED in `flags` this device goes to the shadows.
 *
 * Where others speak of different content under the same vector: what we have
 * valid is believed and they become shadows; a local change is kept under the
 * empty vector; what is ignored or unsupported takes their content.
 */
void index_put_local(struct index *ix, const struct entry *e,
    const struct identity *seen, uint32_t flags);
/* Only the identity on disk changed (ctime, inode); no new sequence. */
void index_put_seen(struct index *ix, struct slice path,
    const struct identity *seen);
/*
 * We know nothing of the path locally any more (it was never ours, or its
 * local change was reverted): leave every version, keep the row for others.
 */
void index_forget_local(struct index *ix, struct slice path);
/*
 * What we had is gone from disk to make way for the global version.  Our word
 * on it stands among the others until the next one, so a deletion that comes
 * instead is needed: nobody would hear otherwise that we have nothing.
 */
void index_vacate_local(struct index *ix, struct slice path);
/*
 * What `slot` says it has; replaces its older word.  `e` has been checked and
 * normalised; with `e->invalid` the device goes to the shadows, and so it does
 * when its content differs from what holders of an equal vector have
 * (ROW_EQUIVOCAL).  Does not touch index_peer().
 */
int index_put_remote(struct index *ix, uint32_t slot, const struct entry *e,
    struct err *err);
/* The same; *differs: what we have there is not what the row now wants, or not
 * what `slot` has by the same version. */
int index_put_heard(struct index *ix, uint32_t slot, const struct entry *e,
    bool *differs, struct err *err);
/*
 * Take `slot` out of up to `limit` rows from path `*cursor` (starts empty) on;
 * true while there is more: call again later.  Cursor lives in `arena`.
 * Sets *equivocal when it was in a row of two contents: of what those in the
 * shadows have the index then knows nothing.
 */
bool index_forget_step(struct index *ix, uint32_t slot, struct slice *cursor,
    uint32_t limit, struct arena *arena, bool *equivocal);
/* The next row with local sequence > seq, in sequence order; NULL at the end.
 */
struct row *index_next_seq(struct index *ix, uint64_t seq, struct arena *arena);
/* The next row that needs work here after path `after`; NULL at the end. */
struct row *index_next_need(struct index *ix, struct slice after,
    struct arena *arena);
/* The last such row before `before` (empty: the very last): for deletions. */
struct row *index_prev_need(struct index *ix, struct slice before,
    struct arena *arena);
bool index_has_need(struct index *ix);

/* All hashes of `e` (an entry of one of our rows); ERR_CORRUPT when lost. */
int index_blocks(struct index *ix, const struct entry *e,
    const struct digest **out, struct arena *arena, struct err *err);

/* A place on this disk where a block may be: verify before use. */
struct block_place {
	struct slice path;
	uint32_t block; /* its number there */
};
/* Up to `max` places of the block; returns how many. */
uint32_t index_block_places(struct index *ix, const struct digest *hash,
    struct block_place *out, uint32_t max, struct arena *arena);

/* Sums; O(1). */
struct totals index_local_totals(const struct index *ix);
struct totals index_global_totals(const struct index *ix);
/* Of a peer whose index we do not have (index_peer().index_id 0): all zero. */
struct need_totals index_need_totals(const struct index *ix, uint32_t slot);
int64_t index_changed_totals(const struct index *ix);  /* ROW_LOCAL_CHANGED */
int64_t index_conflict_totals(const struct index *ix); /* local; conflict.h */

/* Intents: small records of changes being made on disk (writer.h). */
uint64_t index_put_intent(struct index *ix, struct slice record);
void index_remove_intent(struct index *ix, uint64_t id);
bool index_next_intent(struct index *ix, uint64_t after, uint64_t *id,
    struct slice *record, struct arena *arena);

/* Puts not yet handed to a commit, what index_flush() will add included. */
size_t index_pending(const struct index *ix);
/* The store's damage, or ours; NULL when sound. */
const struct err *index_error(const struct index *ix);

#endif
