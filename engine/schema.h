/*
 * The schema: keys and records of the store, byte for byte.
 *
 * It turns rows into bytes and back, and makes the keys they stand under; it
 * keeps nothing and decides nothing.  Every record ends up behind a checksum
 * over its key and its bytes, so that a record in the wrong place is damage
 * too.  Bytes from the disk are not believed, whatever their checksum: a
 * decoder answers ERR_CORRUPT to what is out of bounds.
 *
 * Thread: any (the check of a store runs apart).  Layout: docs/formats.md.
 */
#ifndef HOLDFAST_ENGINE_SCHEMA_H
#define HOLDFAST_ENGINE_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/limits.h"
#include "engine/row.h"

#define SCHEMA_FORMAT 1u /* of the whole store; another one is refused */
/* A long path's key keeps this much of the path, for order and locality. */
#define SCHEMA_KEY_HEAD 228u
#define SCHEMA_KEY_HASH 16u /* then 0xff, this much of the parent's digest */

struct schema_key { /* a value; used through schema_slice() */
	uint8_t b[LIMIT_KEY_LEN];
	size_t len;
};

static inline struct slice
schema_slice(const struct schema_key *key)
{
	return slice_of(key->b, key->len);
}

/*
 * The key of a path: the path itself up to LIMIT_KEY_LEN bytes.  A longer one
 * is its first SCHEMA_KEY_HEAD bytes, 0xff (which no path holds), the digest
 * of its parent, its base name: siblings stay together and in order.  What is
 * no path (path.h) gets a key too; a row found there has another path.
 */
void schema_path_key(struct slice path, struct schema_key *out);
/* What all long keys of direct children of `dir` begin with. */
void schema_child_key(struct slice dir, struct slice base,
    struct schema_key *out);
/* May a child of `dir` have a long key? */
bool schema_has_long_children(struct slice dir);
bool schema_is_long_key(struct slice key);
void schema_u64_key(uint64_t n, struct schema_key *out); /* big-endian */
bool schema_u64_of_key(struct slice key, uint64_t *out);

/*
 * A place of a block: the first 8 bytes of its hash, the owner's number, the
 * block's number when it is not 0.  All is in the key; the value is empty.
 */
void schema_block_key(const struct digest *hash, uint64_t owner, uint32_t block,
    struct schema_key *out);
bool schema_block_of_key(struct slice key, uint64_t *owner, uint32_t *block);
#define SCHEMA_BLOCK_PREFIX 8u

/*
 * A row.  `owner` is the number its blocks' places stand under, 0 when there
 * are none.  The global version must be the first one; version[].entry.name,
 * `local` and `global` are not written.  Appends to `out`.
 */
void schema_row_encode(const struct row *row, uint64_t owner, struct slice key,
    struct buf *out);
/*
 * The way back.  `out` borrows from `value` and `arena`; its array of versions
 * has room for one more.  blocks_hash of single blocks is left zero, because
 * it costs a digest: schema_row_finish() fills it in.
 */
int schema_row_decode(struct slice key, struct slice value, struct row *out,
    uint64_t *owner, struct arena *arena, struct err *err);
void schema_row_finish(struct row *row);
/* Is the record whole?  Checksum and syntax. */
bool schema_row_is_sound(struct slice key, struct slice value,
    struct arena *arena);

/* Small records: a checksum in front of `body`.  Appends. */
void schema_seal(struct slice key, struct slice body, struct buf *out);
int schema_unseal(struct slice key, struct slice value, struct slice *body,
    struct err *err);

#endif
