/*
 * Block sizes and counts.  BEP-FACTS.md 6.4.
 */
#ifndef HOLDFAST_BLOCKPROTO_BLOCKS_H
#define HOLDFAST_BLOCKPROTO_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/digest.h"

/* The block size for a new file of `size` bytes: 128 KiB ... 16 MiB. */
uint32_t blocks_size_for(int64_t size);
/*
 * The same for a file that had `old` as its block size: keep it while it is
 * within a factor of two of the right one, so that blocks stay comparable.
 */
uint32_t blocks_size_keep(int64_t size, uint32_t old);
bool blocks_size_is_valid(uint32_t block_size); /* one of the eight */
/* Blocks of a file; an empty file has one empty block. */
uint32_t blocks_count(int64_t size, uint32_t block_size);
/* Length of block `i`; i < blocks_count(). */
uint32_t blocks_len(int64_t size, uint32_t block_size, uint32_t i);
/* SHA-256 over the concatenated hashes: the blocks_hash of Syncthing 2. */
void blocks_digest(const struct digest *hash, uint32_t count,
    struct digest *out);
/* Is `hash` that of `len` zero bytes, `len` one of the eight sizes? */
bool blocks_is_zero(const struct digest *hash, uint32_t len);
/* The hash of no bytes. */
extern const struct digest blocks_empty_hash;

#endif
