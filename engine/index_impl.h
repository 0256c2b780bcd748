/*
 * The inside of the index, for index.c and index_*.c only.
 */
#ifndef HOLDFAST_ENGINE_INDEX_IMPL_H
#define HOLDFAST_ENGINE_INDEX_IMPL_H

#include "engine/base/buf.h"
#include "engine/base/vec.h"
#include "engine/index.h"
#include "engine/schema.h"

/*
 * What a device has of the global view.  Its need is the difference, so a row
 * changes the sums of those who have it only, and a new device needs all.
 */
struct index_share {
	int64_t items, bytes; /* of global versions that are not deletions */
	int64_t deletes;      /* global deletions it has yet to make */
};

struct index_slot {
	struct devid dev;
	struct peer_state peer;
	struct index_share share;
	bool dirty; /* differs from the store */
};

/* after < seq <= upto: never given out (index_gaps.c). */
struct index_gap {
	uint64_t after, upto;
};

struct index {
	struct store *st; /* borrowed */
	uint64_t id;
	uint64_t seq;
	uint64_t intent; /* the last number given out */
	uint64_t spent;  /* our highest counter that a row has lost */
	bool used;       /* has held a row */
	bool dirty;      /* some fact here differs from the store */
	struct totals local, global;
	int64_t changed, conflicts;
	bool has_root;
	struct root_identity root;
	VEC(struct index_slot) slot;
	VEC(struct index_gap) gap; /* oldest first */
	bool gap_dirty;            /* ... differs from the store */
	struct buf rec, rec2;      /* scratch, for one record */
	struct arena scratch;      /* empty between calls */
	struct err err;            /* code 0: sound */
};

/* The first damage is kept; from then on nothing is read or written. */
void index_impl_fail(struct index *ix, const struct err *err);
bool index_impl_is_sound(struct index *ix);
/* The row's record under `key`, unfinished; NULL when none or damaged. */
struct row *index_impl_load(struct index *ix, struct slice key, uint64_t *owner,
    struct arena *arena);
struct row *index_impl_decode(struct index *ix, struct slice key,
    struct slice value, uint64_t *owner, struct arena *arena);

/* index_gaps.c: with the first commit of a run, and when it is opened. */
void index_impl_flush_gaps(struct index *ix);
void index_impl_load_gaps(struct index *ix);

enum index_kind { KIND_NONE, KIND_FILE, KIND_DIR, KIND_LINK, KIND_DELETED };

/* index_sums.c: what one row adds to the sums. */
struct index_sums {
	enum index_kind local, global;
	int64_t local_bytes, global_bytes;
	bool changed;         /* ROW_LOCAL_CHANGED */
	bool conflict;        /* the local file is a conflict copy */
	bool need;            /* this device needs the global version */
	struct devset have;   /* those who have a global that is no deletion */
	struct devset delete; /* those who have yet to make a deletion */
};
/* Of a settled row: row->local and row->global are right. */
void index_impl_sum(const struct row *row, struct index_sums *out);
/* Count them, sign 1, or not any more, -1. */
void index_impl_add_sums(struct index *ix, const struct index_sums *s,
    int64_t sign);

/* A row has lost this counter of ours. */
void index_impl_spend(struct index *ix, uint64_t counter);

/* index_list.c: block lists with counted users, and places of blocks. */
void index_impl_use_list(struct index *ix, const struct entry *e);
void index_impl_drop_list(struct index *ix, const struct digest *list);
const struct digest *index_impl_blocks(struct index *ix, const struct entry *e,
    struct arena *arena, struct err *err);
/* Blocks that are on this disk, in order. */
struct index_blocks {
	const struct digest *hash;
	uint32_t count;
	uint32_t block_size;
};
/* The places under `owner` were those of `old`, are those of `now`. */
void index_impl_places(struct index *ix, uint64_t owner,
    const struct index_blocks *old, const struct index_blocks *now);

#endif
