/*
 * What to do about a path on this disk: a verdict, with a reason.
 *
 * Pure: a row in, a verdict out.  The index is not touched; nothing is looked
 * up.  BEP-FACTS.md 6.6, 9.5.
 */
#ifndef HOLDFAST_ENGINE_DECIDE_H
#define HOLDFAST_ENGINE_DECIDE_H

#include <stdbool.h>

#include "engine/reason.h"
#include "engine/row.h"
#include "engine/setup.h"

enum verdict_kind {
	VERDICT_NOTHING,  /* we have it, or shall not have it */
	VERDICT_ADOPT,    /* same bytes and attributes here: only the version */
	VERDICT_META,     /* same bytes: permissions or mtime change */
	VERDICT_TAKE,     /* make or replace it */
	VERDICT_DELETE,   /* remove what we have */
	VERDICT_CONFLICT, /* take it, and keep ours under a conflict name */
	VERDICT_REVIVE,   /* ours is an edit that meets a concurrent deletion:
			   * announce it anew, above both (when the global
			   * version is the edit itself, too: peers of other
			   * kinds may believe the deletion) */
};

struct verdict {
	enum verdict_kind kind;
	enum reason reason;             /* of NOTHING */
	const struct row_version *take; /* the global version */
	const struct row_version *ours; /* what we have, or NULL */
};

struct verdict decide(const struct row *row, enum folder_mode mode,
    bool ignore_perms);
/*
 * Same bytes?  For entries of rows, which keep no long block lists: compares
 * digests of lists, which were computed here (entry_normalise()).
 */
bool decide_same_content(const struct entry *a, const struct entry *b);
/* Given the same content: same permissions and, of files, mtime? */
bool decide_same_meta(const struct entry *a, const struct entry *b,
    bool ignore_perms);

#endif
