/*
 * Download progress: which blocks of unfinished files are in temporaries, ours
 * told to the peers, theirs remembered.  BEP-FACTS.md 7.3.
 *
 * Private to engine/.  A hint for both sides and never more: a peer may have
 * thrown its temporary away, and what comes is checked against its hash.  What
 * a peer makes us remember is bounded; what is beyond it is left out.
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_EXCHANGE_PROGRESS_H
#define HOLDFAST_ENGINE_EXCHANGE_PROGRESS_H

#include "engine/exchange_state.h"

/* Something is being fetched: tell the peers from time to time how it goes. */
void exchange_progress_wake(struct folder *f);
/* A DownloadProgress came. */
void exchange_progress_came(struct peer *p, const struct progress *pg);
/* The peer's index spoke of `name`: what it said of a temporary is over. */
void exchange_progress_forget(struct folder *f, const struct devid *dev,
    struct slice name);
/* The connection is gone, and all that was told over it. */
void exchange_progress_peer_down(struct folder *f, const struct devid *dev);
void exchange_progress_free(struct folder *f);

#endif
