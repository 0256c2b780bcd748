/*
 * The oracle: what must hold, told without a look at the engine.
 *
 * It knows nothing of versions, vectors or rows.  Every write of a person makes
 * bytes nobody wrote before: a token.  A token is spent when somebody who has
 * it under a name on that disk writes over it or deletes it there.  From this
 * follow, at every event and at a cost of what changed:
 *
 *	lost           a token that is not spent is under no name of any disk:
 *	               no file, no conflict copy, no trash can, no staging
 *	half-written   a visible file that the engine put holds bytes that are
 *	               no token
 *
 * and when all is healed and quiet:
 *
 *	lost           ... is under no name a person can see, nor in a trash can
 *	resurrected    a spent token is visible, and nobody renamed, touched,
 *	               restored or contested it: an old state won, or a
 *	               deletion was undone
 *	spurious       a conflict copy holds what its original holds, and only
 *	               one wrote at a time
 *
 * With one writer at a time (history.h) the tree must be the writer's to the
 * byte, which says more than the last two.
 *
 * What a person saved and did not flush, and the machine forgot when its power
 * went, is spent: to the engine that is a person who deletes it, or writes
 * something shorter.
 */
#ifndef HOLDFAST_TESTS_SIM_ORACLE_H
#define HOLDFAST_TESTS_SIM_ORACLE_H

#include "engine/base/arena.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "vdisk.h"

struct token {
	struct slice data;
	uint32_t number;
	uint32_t places; /* names it is under, on all disks together */
	bool spent;
	bool touched;    /* renamed, chmodded, restored: may come back */
	bool contested;  /* somebody wrote or deleted there who had not seen
			  * it, or whose word its writer had not seen */
	bool safe;       /* was durable once, somewhere */
	bool garbage;    /* what a machine made of a file when its power went */
	bool suspect;    /* in oracle->suspects */
	bool at_risk;    /* the power went before it was flushed there */
	uint32_t before; /* places when the power went */
};

struct oracle {
	struct arena *arena;
	struct map by_data; /* bytes -> struct token */
	VEC(struct token *) all;
	struct map heads;             /* path -> what was said last there */
	VEC(struct token *) suspects; /* lost a name since the last check */
	bool person;                  /* what changes now is a person's doing */
	bool machine;                 /* ... is the power's */
	bool liar; /* a device takes away what it likes: to the trash cans */
	char why[400]; /* the first thing found; "": nothing yet */
};

void oracle_init(struct oracle *oc, struct arena *arena);
void oracle_fini(struct oracle *oc);
void oracle_fault(struct oracle *oc, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A person is about to write these bytes. */
struct token *oracle_written(struct oracle *oc, struct slice data);
/* It could not write them. */
void oracle_unwritten(struct oracle *oc, struct slice data);
/* What is at `node`, and below it, is written over or deleted there. */
void oracle_spent(struct oracle *oc, const struct vnode *node);
/*
 * At `path` a person who saw `old` (NULL: nothing) wrote `now` (NULL: deleted
 * it).  Whoever wrote there and was not seen, contests it.
 */
void oracle_told(struct oracle *oc, const char *path, struct token *old,
    struct token *now);
/* ... is renamed or changed in its attributes. */
void oracle_touched(struct oracle *oc, const struct vnode *node);

/* The disk: `node` got, or is about to lose, a name or bytes. */
void oracle_named(struct oracle *oc, struct vnode *node);
void oracle_unnamed(struct oracle *oc, struct vnode *node);

/* The power goes: `node`, still named, is a person's and not durable. */
void oracle_at_risk(struct oracle *oc, const struct vnode *node);
/* After an event: is what was taken off a name anywhere? */
void oracle_check(struct oracle *oc);
/* After a power loss: as oracle_check(), but for what was never flushed. */
void oracle_check_power(struct oracle *oc);
/* At the end, over all disks.  `strict`: spent is spent; `exact`: and nobody
 * wrote while another did. */
void oracle_check_end(struct oracle *oc, struct vdisk *const *disk,
    uint32_t count, bool strict, bool exact);

#endif
