/*
 * Membership: which devices are one person's, signed by that person.
 *
 * A log of entries, each naming the digest of the one before and signed with an
 * owner's key.  Everybody who holds it can check it; nobody without the key,
 * the coordinator least of all, can add to it.  docs/design/0013.
 *
 *	FOUND -> ADD, REMOVE, RENAME, ROTATE, ALLOW, OWNERS ...
 *
 * An entry travels and is kept as the very bytes that were signed; nothing is
 * ever encoded again.
 *
 * Rules
 *   - entry 1 founds the domain: its digest is the domain's ID.  It has the
 *     owners' keys, how many of them must sign, and the recovery key.
 *   - an entry counts when it follows the head and enough owners signed it.
 *     OWNERS needs as many of the old, or the recovery key alone.
 *   - two entries after the same one (a fork) are both valid: OWNERS comes
 *     before REMOVE, REMOVE before the rest, then the smaller digest; the other
 *     one and all after it are dropped, but what they REMOVE stays removed.
 *   - a device that was removed comes back by a new ADD that names it, never by
 *     a shorter log: the head is pinned, and no log without it is taken.
 *
 * Pure.  Thread: any; one at a time.
 */
#ifndef HOLDFAST_MESH_MEMBERS_H
#define HOLDFAST_MESH_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "mesh/coord.h"

#define MEMBERS_NAME_MAX 64u  /* bytes of a device's name, with NUL */
#define MEMBERS_OWNERS_MAX 8u /* keys that may sign */

/* Opaque. */
struct members;

struct member {
	struct devid id;
	char name[MEMBERS_NAME_MAX];
	uint64_t since_seq; /* of its ADD, or of its last ROTATE */
	int64_t since_wall_s;
	struct devid before;         /* ROTATE: its ID until then; */
	int64_t before_until_wall_s; /* good until then; 0: no such */
};

enum members_verdict {
	MEMBERS_ADDED,   /* it follows the head, which is now this */
	MEMBERS_KNOWN,   /* we have it */
	MEMBERS_GAP,     /* those between are missing */
	MEMBERS_FORK,    /* it was beside ours and won: the head moved */
	MEMBERS_LOST,    /* it was beside ours and lost */
	MEMBERS_INVALID, /* err says why; nothing changed */
};

struct members *members_new(void);
void members_free(struct members *ms); /* accepts NULL */

/* Take one entry as number `seq`.  Into an empty one only a FOUND goes. */
enum members_verdict members_take(struct members *ms, uint64_t seq,
    struct slice entry, struct err *err);

uint64_t members_seq(const struct members *ms); /* 0: empty */
/* Both are zero when it is empty. */
void members_domain(const struct members *ms, struct coord_id *out);
void members_head(const struct members *ms, uint8_t out[32]);
/* The bytes of entry `seq`; empty past the end.  Borrowed until a change. */
struct slice members_entry(const struct members *ms, uint64_t seq);

/* In order of their names; NULL past the end.  Borrowed until a change. */
const struct member *members_at(const struct members *ms, size_t i);
/* By its ID now, or by the one before while that is good; else NULL. */
const struct member *members_find(const struct members *ms,
    const struct devid *id, int64_t wall_s);
/* It was one once, and was removed or rotated away. */
bool members_was(const struct members *ms, const struct devid *id);

#endif
