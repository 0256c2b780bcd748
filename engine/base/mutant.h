/*
 * Deliberate faults, to test the tests.
 *
 * A simulator that finds nothing proves nothing until it has been seen to find
 * something.  MUTANT(n) stands at the line where fault n would be made; it is
 * the constant false, and nothing of it is in the program, unless the build has
 * -DHOLDFAST_MUTANTS (preset `mutants`).  There mutant_set() switches one fault
 * on, and the simulator has to fail: tests/sim/mutants.py, docs/testing.md.
 *
 * The text above each is what the fault does; mutants.py prints it.
 */
#ifndef HOLDFAST_BASE_MUTANT_H
#define HOLDFAST_BASE_MUTANT_H

#include <stdbool.h>

enum mutant {
	MUTANT_NONE,
	/* A file is replaced without a look at what is there now. */
	MUTANT_REPLACE_UNCHECKED,
	/* A new file is put where something new is already. */
	MUTANT_NEW_NAME_UNCHECKED,
	/* A file is removed without a look at what it is now. */
	MUTANT_REMOVE_UNCHECKED,
	/* The old file loses its name before the new one has it. */
	MUTANT_OLD_UNLINKED_FIRST,
	/* The new file is renamed over the old one: nothing is kept. */
	MUTANT_RENAMED_OVER,
	/* A deletion is forgotten while a peer is away. */
	MUTANT_TOMBSTONE_COLLECTED,
	/* The staged file is not flushed before it gets its name. */
	MUTANT_NO_STAGE_FLUSH,
	/* A lost index comes back under the number of the old one. */
	MUTANT_INDEX_ID_REUSED,
	/* A counter counts from what the index says, not by the clock. */
	MUTANT_COUNTER_REUSED,
	/* Names are changed and no intent is written down before. */
	MUTANT_NO_INTENT,
	/* Names are changed before the intent is committed. */
	MUTANT_INTENT_NOT_AWAITED,
	/* A root without its marker, or of another disk, is believed. */
	MUTANT_NO_MARKER_CHECK,
	/* Rows are committed before the names are flushed. */
	MUTANT_NO_DIR_FLUSH,
	/* A plan is carried out on what its row has come to be. */
	MUTANT_PLAN_NOT_REVALIDATED,
	/* The name in the staging directory is not flushed. */
	MUTANT_STAGE_DIR_UNFLUSHED,
	/* After a crash whatever an intent left in staging is dropped. */
	MUTANT_RECOVERY_DROPS,
	/* The later time wins, whatever was made from what. */
	MUTANT_WINNER_BY_CLOCK,
	/* After a crash a staged name that is gone means nothing. */
	MUTANT_RECOVERY_FORGETS,
	/* A row that changes keeps its sequence number. */
	MUTANT_SEQUENCE_REUSED,
	/* Rows are announced before they are committed. */
	MUTANT_TOLD_TOO_EARLY,
	/* What a peer deleted is deleted here, and no row says so. */
	MUTANT_TOMBSTONE_FORGOTTEN,
	/* An act that failed is taken for done. */
	MUTANT_ACT_ERROR_IGNORED,
	/* A block that could not be written is taken for there. */
	MUTANT_WRITE_ERROR_IGNORED,
	/* A flush that failed is taken for done. */
	MUTANT_FLUSH_ERROR_IGNORED,
	/* A commit that failed is taken for done. */
	MUTANT_COMMIT_ERROR_IGNORED,
	/* Merging two vectors keeps our counters, not the higher. */
	MUTANT_MERGE_KEEPS_OURS,
	/* Blocks that came are written without a look at their hash. */
	MUTANT_HASH_UNCHECKED,
	/* Blocks of this disk are copied without a look at their hash. */
	MUTANT_COPY_UNCHECKED,
	/* What is ignored from now on is announced as deleted. */
	MUTANT_IGNORED_DELETED,
	/* A conflict copy is put over another of the same name. */
	MUTANT_COPY_OVERWRITTEN,
	/* Of two edits at once the one that lost is not kept. */
	MUTANT_CONFLICT_NOT_KEPT,
	/* A deletion wins over an edit that it did not see. */
	MUTANT_EDIT_DELETED,
	/* A directory goes with things in it that nobody knows. */
	MUTANT_DIR_REMOVED_FULL,
	/* An index goes on one sequence number too late. */
	MUTANT_DELTA_SKIPS_ONE,
	/* What a device said before it lost its index is believed. */
	MUTANT_STALE_INDEX_KEPT,
	/* What a peer took away is thrown away at once. */
	MUTANT_TRASH_NOT_KEPT,
	/* What a program still writes to is filed as superseded. */
	MUTANT_KEPT_UNCHECKED,
	/* An intent goes while it still says whose bytes are kept. */
	MUTANT_INTENT_GONE_EARLY,
	/* A file is renamed without a look at what it is now. */
	MUTANT_MOVE_UNCHECKED,
	/* Attributes are set without a look at what a file is now. */
	MUTANT_META_UNCHECKED,
	/* After a crash what was done before it is put in no row. */
	MUTANT_RECOVERY_PUTS_NOTHING,
	/* What equals an older version becomes that version again. */
	MUTANT_OLDER_ADOPTED,
	/* A row is committed before the file it speaks of is flushed. */
	MUTANT_PEOPLE_UNFLUSHED,
	/* A device that has a new version is kept as holder of the old. */
	MUTANT_HOLDER_NOT_LEFT,
	/* The scanner does not know which names are in work. */
	MUTANT_OWN_WORK_SCANNED,
	/* A name hinted at while it is looked at is not looked at again. */
	MUTANT_HINT_FORGOTTEN,
	/* A device that takes much away is not held. */
	MUTANT_BRAKE_IGNORED,
	/* A staged file goes before the intent that names it. */
	MUTANT_TEMP_GONE_FIRST,
	/* What an index said that is no more is taken for heard. */
	MUTANT_OLD_INDEX_TRUSTED,
	/* What is new is told of before the directory it is in. */
	MUTANT_CHILD_TOLD_FIRST,
	/* What the disk was is held against a row that is newer. */
	MUTANT_LATE_BELIEVED,
	/* What comes where we deleted makes us forget that we did. */
	MUTANT_DELETION_DROPPED,
	/* What is ignored here counts as what an edit was made from. */
	MUTANT_IGNORED_PREVIOUS,
	/* What is not ignored any more, and gone, is told to nobody. */
	MUTANT_UNIGNORED_UNTOLD,
	/* Others know better than we what we wrote since our index was lost. */
	MUTANT_AMNESIA_BELIEVED,
	/* A flush before a commit that failed is taken for done. */
	MUTANT_COMMIT_FLUSH_IGNORED,
	/* Two contents of one version stay where they are. */
	MUTANT_TWO_OF_ONE_KEPT,
	/* What is put is not what would be put now. */
	MUTANT_TARGET_UNCHECKED,
	/* What nobody has any more is waited for. */
	MUTANT_NOWHERE_AWAITED,
	/* An edit that lost to another is forgotten, and what it replaced. */
	MUTANT_LOSER_FORGOTTEN,
};

#ifdef HOLDFAST_MUTANTS
extern unsigned mutant_on;
/* Before anything else runs; 0: none. */
void mutant_set(unsigned n);
#define MUTANT(n) (mutant_on == (unsigned)(n))
#else
#define MUTANT(n) false
#endif

#endif
