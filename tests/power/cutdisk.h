/*
 * A disk with a volatile cache, in memory, from which the power can be taken.
 *
 * What a flush has covered is on the platters; what was written since is in the
 * cache, in the order it came.  A cut decides by a seed what of the cache had
 * reached the platters by itself.  Sectors are atomic, nothing else is: a
 * write of several may be torn, and a sector written twice may have kept its
 * earlier content.
 *
 * It knows nothing of who asks (powerdisk_fuse.c) and does no I/O.  One thread.
 */
#ifndef HOLDFAST_TESTS_POWER_CUTDISK_H
#define HOLDFAST_TESTS_POWER_CUTDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What of the cache a cut keeps. */
enum cutdisk_model {
	CUTDISK_NOTHING, /* the hardest cache: all of it is gone */
	CUTDISK_PREFIX,  /* in order, up to a write that may be torn */
	CUTDISK_SUBSET,  /* any sectors of any writes */
	CUTDISK_ALL,     /* no cache: only what the kernel held is gone */
	CUTDISK_MODELS
};

struct cutdisk_sum {     /* of one cut */
	uint64_t writes; /* in the cache */
	uint64_t whole;  /* of these, kept */
	uint64_t torn;   /* kept in part */
};

struct cutdisk; /* opaque */

/* `len` is a multiple of `sector`, bytes.  NULL: no memory. */
struct cutdisk *cutdisk_new(uint64_t len, uint32_t sector);
void cutdisk_free(struct cutdisk *d);

uint64_t cutdisk_len(const struct cutdisk *d);
/* Writes and flushes so far. */
uint64_t cutdisk_ops(const struct cutdisk *d);

/* False: outside the disk, or no memory. */
bool cutdisk_read(const struct cutdisk *d, uint64_t at, void *buf, size_t len);
bool cutdisk_write(struct cutdisk *d, uint64_t at, const void *buf, size_t len);
void cutdisk_flush(struct cutdisk *d);

/*
 * The power goes.  Until cutdisk_restore() writes are seen by reads, so that
 * the file system that lost its disk can be unmounted, and then forgotten.
 */
void cutdisk_cut(struct cutdisk *d);
bool cutdisk_is_cut(const struct cutdisk *d);
/* The power is back: what the disk holds now is durable. */
void cutdisk_restore(struct cutdisk *d, enum cutdisk_model model, uint64_t seed,
    struct cutdisk_sum *sum);

/* All zeroes again, and not cut. */
void cutdisk_wipe(struct cutdisk *d);

#endif
