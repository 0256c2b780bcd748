/*
 * Indexes over the wire: what to send to whom from where on, and what came.
 * Private to exchange*.c.  BEP-FACTS.md 5.1.  Thread: loop.
 */
#ifndef HOLDFAST_ENGINE_EXCHANGE_INDEX_H
#define HOLDFAST_ENGINE_EXCHANGE_INDEX_H

#include "engine/exchange_state.h"

/* Its own entry in its ClusterConfig: do we still have its index? */
void exchange_index_theirs(struct folder *f, struct share *sh,
    const struct peer_state *theirs);
/* Our entry in it: what has it of ours? */
void exchange_index_ours(struct folder *f, struct share *sh,
    const struct peer_state *ours);
/*
 * Devices the folder is not shared with any more: what they alone have can not
 * be had, and what they said is not waited for.  Once shared again they are
 * asked for all of it.
 */
void exchange_index_leave(struct folder *f);
/*
 * A deletion of `path` came, or an edit was found: if neither has seen the
 * other, the edit is announced anew, above both.
 */
void exchange_index_revive(struct folder *f, struct slice path);
/* An Index or IndexUpdate. */
void exchange_index_came(struct peer *p, const struct message *m);

#endif
