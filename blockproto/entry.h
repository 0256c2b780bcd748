/*
 * An entry: one path as devices speak of it (BEP's FileInfo, without what is
 * never sent).  BEP-FACTS.md 6 and 8.
 *
 * A value that borrows: name, counters, hashes, link target and platform bytes
 * live in an arena or a message.  Block sizes are implied by size and
 * block_size; entry_check() refuses lists that are not regular: a decoder that
 * meets one, or one over its limit, leaves the pointer NULL and keeps the count
 * (block and block_count, version.counter and version.count).
 */
#ifndef HOLDFAST_BLOCKPROTO_ENTRY_H
#define HOLDFAST_BLOCKPROTO_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/version.h"
#include "engine/base/arena.h"
#include "engine/base/digest.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

enum entry_type {
	ENTRY_FILE = 0,
	ENTRY_DIR = 1,
	ENTRY_LINK = 4, /* old 2 and 3 are read as links too */
};

struct entry {
	struct slice name;
	enum entry_type type;
	bool deleted;
	bool invalid; /* known, but not served by the one who says so */
	bool no_perms;
	uint32_t perms; /* mode & 0777 */
	int64_t size;   /* bytes; 0 unless a file */
	int64_t mtime_s;
	int32_t mtime_ns;     /* 0 .. 999999999 */
	uint64_t modified_by; /* short device ID */
	struct version version;
	int64_t sequence; /* the sender's; 0 inside our rows */
	uint32_t block_size;
	uint32_t block_count;
	const struct digest *block; /* block_count hashes; NULL without */
	struct slice link_target;
	struct digest
	    blocks_hash; /* blocks_digest() of `block`; zero without */
	struct digest previous_blocks_hash; /* Syncthing 2.0.10; zero without */
	struct slice platform; /* raw PlatformData, passed on as it came */
};

/*
 * Everything a hostile peer could get wrong in one entry: name, type, sizes,
 * block list, version, times.  `code` ERR_PROTOCOL drops the connection (what
 * Syncthing drops for); ERR_INVALID refuses this entry only.  Recomputes
 * nothing and changes nothing.
 */
int entry_check(const struct entry *e, struct err *err);
/*
 * Make a received entry fit for the index: clamp nanoseconds, drop fields that
 * its type must not have (a directory's size 128), canonical version,
 * blocks_hash recomputed.  Call after entry_check().
 */
void entry_normalise(struct entry *e, struct arena *arena);

/*
 * Same bytes: type, deletion, size and block list or link target.  Where a
 * list is not at hand (a row of the index) blocks_hash stands for it.
 */
bool entry_same_content(const struct entry *a, const struct entry *b);
/* Same permissions, as far as both have any. */
bool entry_same_perms(const struct entry *a, const struct entry *b);
bool entry_same_mtime(const struct entry *a, const struct entry *b);
/* Same in all that is synced: content, permissions, mtime of files. */
bool entry_same(const struct entry *a, const struct entry *b);
/* A copy that borrows from `arena` only. */
struct entry entry_dup(const struct entry *e, struct arena *arena);
/* Is this name one of ours or Syncthing's own, never synced?  BEP-FACTS 6.1:
 * .stfolder .stignore .stversions at the root (and below), temp names. */
bool entry_is_internal(struct slice path);
bool entry_is_temp_name(struct slice path); /* ".syncthing." "~syncthing~" */

#endif
