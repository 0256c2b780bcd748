/*
 * The inside of a folder: shared by folder*.c, for nobody else.
 *
 * folder.c is its life: the states, and what makes one of the other.  It is
 * told of what goes wrong by folder_halt() and folder_halt_softly(), whoever
 * finds it.  folder_commit.c brings the index to the disk, folder_rules.c reads
 * the ignore rules, folder_share.c knows with whom it is shared, folder_root.c
 * whether the directory is the one it was, folder_modes.c does what people
 * command of all of it.
 *
 * Thread: loop.  The fields are struct folder's; each of these files has its
 * own, and only that one sets them.
 */
#ifndef HOLDFAST_ENGINE_FOLDER_STATE_H
#define HOLDFAST_ENGINE_FOLDER_STATE_H

#include "engine/folder.h"

/* folder.c */
/* For logs; lives to the end of the step. */
const char *folder_name(const struct folder *f);
/*
 * The disk takes no more, or not now: pulling stops, the index stays open, and
 * the folder goes on when the disk is well.  Only what RUNS is halted so.
 */
void folder_halt_softly(struct folder *f, enum reason r, struct slice text);
/* The rules are known, for the first time since it was opened: see what a
 * crash left, then run. */
void folder_recover(struct folder *f);

/* folder_commit.c */
void folder_commit_init(struct folder *f);
void folder_commit_fini(struct folder *f);
/* Begin a commit if one is due, or see that it will be.  One is due at once
 * when somebody waits by core_commit(), and when the folder is CLOSING; but a
 * second after the disk had no room for one. */
void folder_commit_consider(struct folder *f);
/* Is there anything that a commit would make durable, or one who waits? */
bool folder_commit_is_wanted(const struct folder *f);
/* The index closes: whoever still waits for a commit is not told. */
void folder_commit_drop(struct folder *f);

/* folder_rules.c */
/* Read them from the start; the index is open. */
void folder_rules_begin(struct folder *f);
/* May what happened at `path` have changed them? */
bool folder_rules_are_in(const struct folder *f, struct slice path);
void folder_rules_drop(struct folder *f);

/* folder_share.c */
/* Take the devices from f->cfg; what is known of one that stays is kept. */
void folder_share_set(struct folder *f);
/* Give each device its slot in the index, if that is open, and its peer. */
void folder_share_bind(struct folder *f);

#endif
