/*
 * What is found at a name, held against its row: the rules of the scanner.
 *
 * A pass (scan_pass.c) asks the disk and says when; here is decided what the
 * answer means: nothing new, a file to be hashed, one that was renamed, a
 * version of ours, something ignored, something that must wait for its parent,
 * or for what was in it before.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_SCAN_LOOK_H
#define HOLDFAST_ENGINE_SCAN_LOOK_H

#include "engine/scan_state.h"

/* `seen` is at `path` now; `row` is its row, or NULL; `flags`: scan_hint_flag.
 */
void scan_look(struct scan_pass *ps, const struct row *row, struct slice path,
    const struct identity *seen, struct slice target, uint32_t flags);
/* Nothing is at `path`. */
void scan_look_missed(struct scan_pass *ps, const struct row *row,
    struct slice path);
/* It could not be looked at. */
void scan_look_failed(struct scan *sc, struct slice path, int code,
    struct slice text);
/* All that is in `dir`, listed: what of ours is not in it is missing. */
void scan_look_listed(struct scan_pass *ps, struct slice dir,
    const struct event *ev);
/*
 * A file that is not in the index.  If a missing one has its inode, size and
 * mtime it is that one, moved: its hashes are known.
 */
bool scan_look_moved(struct scan_pass *ps, struct slice path,
    const struct identity *seen);
/* New files of an earlier pass, not hashed yet, may be what is missing now. */
bool scan_look_pending(struct scan_pass *ps);
/* By which a missing file is known again under another name. */
uint64_t scan_look_key(const struct identity *id);

#endif
