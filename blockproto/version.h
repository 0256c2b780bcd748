/*
 * Version vectors.
 *
 * A vector counts the changes each device made to one path.  Canonical form:
 * sorted ascending by short device ID, unique, no zero counters (BEP-FACTS.md
 * 6.2); newer peers compare vectors as text, so every function keeps it.
 * A struct version borrows its counters from an arena or a decoded message.
 */
#ifndef HOLDFAST_BLOCKPROTO_VERSION_H
#define HOLDFAST_BLOCKPROTO_VERSION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"

struct counter {
	uint64_t id; /* devid_short() of the changing device */
	uint64_t value;
};

struct version {
	const struct counter *counter; /* borrows */
	uint32_t count;
};

enum version_order {
	VERSION_EQUAL,
	VERSION_OLDER,      /* a is dominated by b */
	VERSION_NEWER,      /* a dominates b */
	VERSION_CONCURRENT, /* neither; see version_beats() */
};

enum version_order version_compare(struct version a, struct version b);
bool version_equal(struct version a, struct version b);
/* Does `a` contain everything `b` does: equal or newer? */
bool version_covers(struct version a, struct version b);
/*
 * The strict order among concurrent vectors: the larger counter at the lowest
 * differing ID beats.  Total and transitive (lexicographic).
 */
bool version_beats(struct version a, struct version b);
/*
 * A local change by `id`: counter[id] = max(counter[id] + 1, wall_s), as
 * Syncthing does.  A wall clock before 2001 or after 2100 counts as 0.
 */
struct version version_bump(struct version v, uint64_t id, int64_t wall_s,
    struct arena *arena);
/* Elementwise maximum. */
struct version version_merge(struct version a, struct version b,
    struct arena *arena);
/* Only the counter of `id`; empty when there is none. */
struct version version_only(struct version v, uint64_t id, struct arena *arena);
/* One change less by everybody: `v` dominates it, unless it has none. */
struct version version_before(struct version v, struct arena *arena);
uint64_t version_counter(struct version v, uint64_t id); /* 0: none */
struct version version_dup(struct version v, struct arena *arena);
/*
 * Canonical form of counters as a peer sent them, in any order: sorted,
 * zeroes dropped, the higher of two for one ID.
 */
struct version version_canonical(const struct counter *counter, uint32_t count,
    struct arena *arena);
bool version_is_canonical(struct version v);
/* For the store and for hashing: varint count, then id u64be + varint. */
void version_encode(struct version v, struct buf *out);
struct version version_decode(struct reader *r, struct arena *arena);
/* "AAAQEAY:3,BBBBBBB:1700000000", for logs and explain. */
char *version_text(struct version v, struct arena *arena);

#endif
