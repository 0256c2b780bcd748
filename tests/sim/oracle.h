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
 *	resurrected    a spent token is visible, and nobody renamed, touched or
 *	               restored it: an old state won, or a deletion was undone
 *	spurious       a conflict copy holds what its original holds
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
	VEC(struct token *) suspects; /* lost a name since the last check */
	bool person;                  /* what changes now is a person's doing */
	bool machine;                 /* ... is the power's */
	char why[400]; /* the first thing found; "": nothing yet */
};

void oracle_init(struct oracle * or, struct arena *arena);
void oracle_fini(struct oracle * or);
void oracle_fault(struct oracle * or, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A person is about to write these bytes. */
struct token *oracle_written(struct oracle * or, struct slice data);
/* It could not write them. */
void oracle_unwritten(struct oracle * or, struct slice data);
/* What is at `node`, and below it, is written over or deleted there. */
void oracle_spent(struct oracle * or, const struct vnode *node);
/* ... is renamed or changed in its attributes. */
void oracle_touched(struct oracle * or, const struct vnode *node);

/* The disk: `node` got, or is about to lose, a name or bytes. */
void oracle_named(struct oracle * or, struct vnode *node);
void oracle_unnamed(struct oracle * or, struct vnode *node);

/* The power goes: `node`, still named, is a person's and not durable. */
void oracle_at_risk(struct oracle * or, const struct vnode *node);
/* After an event: is what was taken off a name anywhere? */
void oracle_check(struct oracle * or);
/* After a power loss: as oracle_check(), but for what was never flushed. */
void oracle_check_power(struct oracle * or);
/* At the end, over all disks.  `strict`: spent is spent. */
void oracle_check_end(struct oracle * or, struct vdisk *const *disk,
    uint32_t count, bool strict);

#endif
