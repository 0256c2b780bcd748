/*
 * What one chain of entries says: owners, members and rules at its end.
 *
 * Entries are applied in order, each only when it makes sense there; who signed
 * them, forks, and which chain is the one that counts are members.h's.
 *
 * Pure.  Thread: any; one at a time.
 */
#ifndef HOLDFAST_MESH_MEMBERS_STATE_H
#define HOLDFAST_MESH_MEMBERS_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "mesh/members.h"
#include "mesh/members_entry.h"

struct members_seat {
	struct member m;
	bool cut; /* by a branch that lost; the chain knows nothing of it */
};

/* {0} is an empty one. */
struct members_state {
	char name[MEMBERS_NAME_MAX];
	struct sign_public recovery;
	struct sign_public owner[MEMBERS_OWNERS_MAX];
	size_t owner_count;
	uint32_t need;
	struct map by_id;   /* devid -> seat, owned */
	struct map by_name; /* name -> the same seat */
	struct map gone;    /* devid -> the devid it became, owned; or none */
	VEC(struct members_rule) rule;
};

void members_state_fini(struct members_state *st);
/* ERR_INVALID: it makes no sense here, and nothing has changed. */
int members_state_apply(struct members_state *st, const struct members_entry *e,
    struct err *err);
/* Whose ID this is or was before rotations; NULL: nobody's. */
struct members_seat *members_state_seat(const struct members_state *st,
    const struct devid *id);

#endif
