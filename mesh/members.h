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
 *   - an entry counts when it follows another that counts and enough owners,
 *     as of there, signed it.  OWNERS needs as many of the old, or the recovery
 *     key alone, which nothing can replace.
 *   - of two entries after the same one (a fork) both are kept.  The branch
 * with more entries of the recovery key is the log; else one with an OWNERS
 *     comes before one without, one that begins with a REMOVE before one that
 *     does not, then the one whose first digest is smaller.  Everybody who has
 *     the same entries has the same log, in whatever order they came, but:
 *   - what stands before an OWNERS that we hold is settled: no fork there wins,
 *     but by the recovery key.  So a key that was taken from an owner cannot
 *     go back to when it was one.
 *   - what a losing branch REMOVEs stays removed, unless it is settled.
 *   - a device that was removed comes back by an ADD after it, never by a
 *     shorter log: entries are never given up.
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
#include "mesh/sign.h"

#define MEMBERS_NAME_MAX 64u    /* bytes of a device's name, with NUL */
#define MEMBERS_OWNERS_MAX 8u   /* keys that may sign */
#define MEMBERS_RULES_MAX 1024u /* of ALLOW, each about others */
#define MEMBERS_SIDE_MAX 1024u  /* entries of branches that lost */

/* On the wire, by these numbers. */
enum members_kind {
	MEMBERS_FOUND = 1,
	MEMBERS_ADD = 2,
	MEMBERS_REMOVE = 3,
	MEMBERS_RENAME = 4,
	MEMBERS_ROTATE = 5,
	MEMBERS_OWNERS = 6,
	MEMBERS_ALLOW = 7,
	MEMBERS_OTHER = 99, /* not on the wire: one we do not know */
};

/* What one device may want of another; on the wire, by these numbers. */
enum members_service {
	MEMBERS_ALL = 0, /* in rules only */
	MEMBERS_SYNC = 1,
	MEMBERS_DROP = 2,
	MEMBERS_DIAG = 3,
	MEMBERS_FORWARD = 4,
};

/* Opaque. */
struct members;

struct member {
	struct devid id;
	char name[MEMBERS_NAME_MAX];
	uint64_t since_seq; /* of its ADD, or of its last ROTATE */
	uint64_t added_seq; /* of its ADD */
	int64_t since_wall_s;
	struct devid before;         /* ROTATE: its ID until then; */
	int64_t before_until_wall_s; /* good until then; 0: no such */
};

enum members_verdict {
	MEMBERS_ADDED,   /* it follows the head, which is now this */
	MEMBERS_KNOWN,   /* we have it */
	MEMBERS_GAP,     /* what it follows is missing */
	MEMBERS_FORK,    /* it was beside ours and won: the head moved */
	MEMBERS_LOST,    /* it was beside ours and lost; kept all the same */
	MEMBERS_INVALID, /* err says why; nothing changed */
};

struct members *members_new(void);
void members_free(struct members *ms); /* accepts NULL */

/* Take one entry as number `seq`.  Into an empty one only a FOUND goes. */
enum members_verdict members_take(struct members *ms, uint64_t seq,
    struct slice entry, struct err *err);

/*
 * Would this entry count if enough owners signed it?  It has to follow the
 * head.  ERR_CHANGED: it follows another; ERR_INVALID: it makes no sense there.
 */
struct members_entry;
int members_would_take(const struct members *ms, const struct members_entry *e,
    struct err *err);

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
/*
 * The ID that the member has now whose ID this is or ever was; false: it is
 * nobody's, or was removed.  However long ago: it says who is meant, and not
 * that the old ID is good for anything.
 */
bool members_now(const struct members *ms, const struct devid *id,
    struct devid *out);
/* It was one once, and was removed or rotated away, and has not come back. */
bool members_was(const struct members *ms, const struct devid *id);
size_t members_count(const struct members *ms);

/*
 * May `from` use `service` of `to`?  The newest rule that is about these three
 * says; where there is none it may, both being one person's.  A rule follows
 * its devices through rotations; `from` and `to` may be IDs of before.
 */
bool members_may(const struct members *ms, const struct devid *from,
    const struct devid *to, enum members_service service);

struct members_rule {
	struct devid from, to; /* none: everybody */
	enum members_service service;
	bool allowed;
	uint64_t seq;
};
/* Oldest first; NULL past the end. */
const struct members_rule *members_rule(const struct members *ms, size_t i);

/* Who may sign, and how many must; 0 when it is empty. */
size_t members_owners(const struct members *ms, const struct sign_public **out,
    uint32_t *need);
const struct sign_public *members_recovery(const struct members *ms);
/* The domain's name, as it was founded; "" when it is empty. */
const char *members_name(const struct members *ms);

/* Every entry that was taken, lost ones too, in an order in which they can be
 * taken again; empty past the end.  For who keeps them. */
struct slice members_kept(const struct members *ms, size_t i, uint64_t *seq);
size_t members_kept_count(const struct members *ms);
/* Is kept entry `i` one of a branch that lost? */
bool members_kept_is_beside(const struct members *ms, size_t i);
/* Do we keep the entry of that digest, on the log or beside it? */
bool members_keeps(const struct members *ms, const uint8_t digest[32]);
/*
 * One value for all that is kept, in whatever order it came: who has the same
 * entries has the same.  Zero when it is empty.
 */
void members_sum(const struct members *ms, uint8_t out[32]);

#endif
