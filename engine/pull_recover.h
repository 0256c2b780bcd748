/*
 * The inside of recovery: shared by pull_recover*.c, for nobody else.
 *
 * pull_recover.c looks at everything the intents name, asks for a judgement of
 * each, commits what was said of the rows, and then carries the fates out one
 * after the other.  pull_recover_judge.c holds one intent against what is on
 * the disk and in the index: it puts rows and chooses a fate, and changes
 * nothing on the disk.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_PULL_RECOVER_H
#define HOLDFAST_ENGINE_PULL_RECOVER_H

#include "engine/intent.h"
#include "engine/pull_state.h"

enum recover_fate {
	FATE_NONE,
	FATE_DROP, /* the temp is superseded */
	FATE_KEEP, /* superseded bytes: to the trash can */
	FATE_NAME, /* the temp gets a name: it is a person's */
	FATE_UNDO, /* ours has the name of FATE_NAME: back to the temp */
	FATE_DIR,  /* a directory gets the permissions it was to have */
};

/* One intent. */
struct recovery {
	struct recover *rec;
	uint64_t id;
	struct intent in; /* in rec->arena */
	enum recover_fate fate;
	struct slice name; /* of FATE_NAME, FATE_UNDO */
	int64_t size;      /* of FATE_KEEP */
	uint32_t tries;
	bool move_dir;          /* its rows are to be rewritten */
	uint32_t perms;         /* of FATE_DIR */
	struct identity now;    /* at in.path; ABSENT if it cannot be seen */
	bool gone;              /* nothing is at in.path, for sure */
	struct identity beside; /* at in.keep */
};

struct recover {
	struct pull *pl;
	struct arena arena;
	struct map temps; /* name -> struct identity, in the arena */
	VEC(struct recovery *) all;
	uint32_t left;
	size_t next; /* of `all`, in the last step */
	void (*done)(struct folder *f);
};

/* pull_recover.c */
/* An answer of those counted in rec->left; with the last one it goes on. */
void pull_recover_judged(struct recover *rec);
/* The disk is as the index says: forget the intent, look at its names. */
void pull_recover_forget(struct recovery *rc);

/* pull_recover_judge.c */
/*
 * What became of rc->in, whose names were looked at?  Sets the fate; `target`:
 * of the link that is at in.path.  Tells pull_recover_judged() once, and once
 * more of a hash that it had to ask for.
 */
void pull_recover_judge(struct recovery *rc, struct slice target);

#endif
