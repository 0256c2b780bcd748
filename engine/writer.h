/*
 * The writer: safe replacement, in batches.
 *
 * Private to the pull.  RELIABILITY.md 5.1, step by step, for many items at
 * once: flush the temps, put intents into the index and commit them, act on the
 * names, flush the directories, put the rows and commit them, and only then
 * drop what was taken off the names.  While one batch is in its later steps the
 * next begins; the flushes of directories keep the order of the batches, so
 * that nothing in a directory is ever known longer than the directory.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_WRITER_H
#define HOLDFAST_ENGINE_WRITER_H

#include "engine/pull_state.h"

struct writer; /* opaque; one a pull */

struct writer *writer_new(struct pull *pl);
/* Ends what is in it; no answer may be due.  The intents tell the next start
 * what was half done. */
void writer_free(struct writer *wr);
/*
 * `it` is loaded and its parent is there: ITEM_READY from here on.  It leaves
 * by pull_item_end() when it is done; when not, by pull_item_error(),
 * pull_item_cancel() or pull_rmdir_refused().
 */
void writer_add(struct writer *wr, struct item *it);
/* Take back one that is ITEM_READY: it is in no batch yet. */
void writer_remove(struct writer *wr, struct item *it);
/*
 * Write down that a directory is about to be made; it is to be committed
 * before that.  The intent goes with the commit of the directory's row.
 */
void writer_intend_dir(struct writer *wr, struct item *it);
/* Begin a batch if there is reason to. */
void writer_pump(struct writer *wr);
/* Nothing ready and no batch under way? */
bool writer_is_idle(const struct writer *wr);

#endif
