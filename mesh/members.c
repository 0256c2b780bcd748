/*
 * The membership log; see members.h.
 *
 * All entries that were ever taken make a tree, whose root is the FOUND.  One
 * path from the root is the log; `state` is what is true at its end.  An entry
 * that follows the end, as nearly all do, is applied to that.  For one that
 * follows another the state there is made anew from the root; as it is looked
 * at only when owners signed it, nobody else can make us do that work.
 */
#include "mesh/members.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "mesh/members_entry.h"
#include "mesh/members_state.h"

#define MEMBERS_ENTRIES_MAX (1u << 20)
#define MEMBERS_NOBODY UINT32_MAX

struct members_node {
	struct slice bytes; /* owned */
	struct digest digest;
	uint64_t seq;
	enum members_kind kind;
	struct devid device;
	uint32_t parent;
	uint32_t rule;       /* the FOUND or OWNERS that holds after it */
	uint32_t recoveries; /* entries of the recovery key up to here */
	bool main;           /* on the path that is the log */
};

struct members {
	VEC(struct members_node) node; /* in the order they came */
	struct map by_digest;          /* -> number of the node, and one */
	VEC(uint32_t) log;             /* nodes of the log, by seq - 1 */
	size_t side;                   /* nodes that are not of the log */
	struct digest sum;             /* of all digests, by exclusive or */
	VEC(uint32_t) cutter;          /* REMOVEs among these */
	struct members_state state;
	/* Members in order of names; made when somebody asks. */
	struct members_view {
		VEC(const struct members_seat *) seat;
		bool fresh;
	} * view;
};

struct members *
members_new(void)
{
	struct members *ms = mem_zalloc(sizeof(*ms));

	ms->view = mem_zalloc(sizeof(*ms->view));
	return ms;
}

void
members_free(struct members *ms)
{
	if (ms == NULL)
		return;
	for (size_t i = 0; i < ms->node.len; i++)
		mem_free((void *)(uintptr_t)ms->node.item[i].bytes.ptr);
	VEC_FINI(&ms->node);
	VEC_FINI(&ms->log);
	VEC_FINI(&ms->cutter);
	map_fini(&ms->by_digest);
	members_state_fini(&ms->state);
	VEC_FINI(&ms->view->seat);
	mem_free(ms->view);
	mem_free(ms);
}

/* --- the tree ------------------------------------------------------------ */

static uint32_t
members_node_of(const struct members *ms, const struct digest *d)
{
	const uintptr_t n =
	    (uintptr_t)map_find(&ms->by_digest, slice_of(d->b, sizeof(d->b)));

	return n == 0 ? MEMBERS_NOBODY : (uint32_t)(n - 1);
}

static uint32_t
members_head_node(const struct members *ms)
{
	return ms->log.len == 0 ? MEMBERS_NOBODY
				: ms->log.item[ms->log.len - 1];
}

/* What node `n` says.  It was read before, so it can be read. */
static struct members_entry
members_read(const struct members *ms, uint32_t n)
{
	struct members_entry e;

	ASSERT(members_entry_decode(&e, ms->node.item[n].bytes, NULL) == 0);
	return e;
}

static uint32_t
members_put(struct members *ms, const struct members_entry *e, uint32_t parent,
    bool recovers, struct slice bytes)
{
	const uint32_t n = (uint32_t)ms->node.len;
	const bool rules =
	    e->kind == MEMBERS_FOUND || e->kind == MEMBERS_OWNERS;
	struct members_node node = {
		.bytes = slice_of(mem_dup(bytes.ptr, bytes.len), bytes.len),
		.digest = e->digest,
		.seq = e->seq,
		.kind = e->kind,
		.device = e->device,
		.parent = parent,
		.rule = n,
		.recoveries = recovers ? 1 : 0
	};

	if (parent != MEMBERS_NOBODY) {
		node.recoveries += ms->node.item[parent].recoveries;
		if (!rules)
			node.rule = ms->node.item[parent].rule;
	}
	*VEC_ADD(&ms->node) = node;
	for (size_t i = 0; i < DIGEST_LEN; i++)
		ms->sum.b[i] ^= e->digest.b[i];
	map_put(&ms->by_digest, slice_of(e->digest.b, DIGEST_LEN),
	    (void *)(uintptr_t)(n + 1));
	return n;
}

/* What is true after node `n`. */
static void
members_replay(const struct members *ms, uint32_t n, struct members_state *st)
{
	VEC(uint32_t) path = { 0 };

	for (uint32_t at = n; at != MEMBERS_NOBODY;
	     at = ms->node.item[at].parent)
		*VEC_ADD(&path) = at;
	*st = (struct members_state){ 0 };
	for (size_t i = path.len; i-- > 0;) {
		const struct members_entry e = members_read(ms, path.item[i]);

		ASSERT(members_state_apply(st, &e, NULL) == 0);
	}
	VEC_FINI(&path);
}

/* --- who signed ---------------------------------------------------------- */

static uint32_t
members_signatures(const struct members_entry *e, const struct sign_public *by,
    size_t count)
{
	uint32_t good = 0;

	for (size_t i = 0; i < count; i++)
		if (members_entry_signed_by(e, &by[i]))
			good++;
	return good;
}

/* May `e` follow node `parent`, by who signed it? */
static int
members_judge(const struct members *ms, const struct members_entry *e,
    uint32_t parent, bool *recovers, struct err *err)
{
	struct members_entry rule = *e; /* a FOUND is signed by its own */
	uint32_t good;

	*recovers = false;
	if (parent != MEMBERS_NOBODY)
		rule = members_read(ms, ms->node.item[parent].rule);
	good = members_signatures(e, rule.owner, rule.owner_count);
	if (good >= rule.need)
		return 0;
	if (parent != MEMBERS_NOBODY && e->kind == MEMBERS_OWNERS) {
		const struct members_entry first = members_read(ms, 0);

		*recovers = members_entry_signed_by(e, &first.recovery);
		if (*recovers)
			return 0;
	}
	return err_set(err, ERR_DENIED,
	    "entry %llu: %u of %u owners' signatures are good",
	    (unsigned long long)e->seq, (unsigned)good, (unsigned)rule.need);
}

/* --- forks --------------------------------------------------------------- */

/* Has the branch that ends in `n` an OWNERS at or behind `seq`? */
static bool
members_has_owners(const struct members *ms, uint32_t n, uint64_t seq)
{
	const struct members_node *rule = &ms->node.item[ms->node.item[n].rule];

	return rule->kind == MEMBERS_OWNERS && rule->seq >= seq;
}

/* The first node of n's branch that is not of the log. */
static uint32_t
members_leaves_log(const struct members *ms, uint32_t n)
{
	ASSERT(!ms->node.item[n].main);
	while (!ms->node.item[ms->node.item[n].parent].main)
		n = ms->node.item[n].parent;
	return n;
}

/* Is the branch that ends in `n`, which is beside the log, the log now? */
static bool
members_wins(const struct members *ms, uint32_t n)
{
	const uint32_t head = members_head_node(ms);
	const struct members_node *a =
	    &ms->node.item[members_leaves_log(ms, n)];
	const struct members_node *b = &ms->node.item[ms->log.item[a->seq - 1]];
	const uint32_t more = ms->node.item[n].recoveries;
	const uint32_t have = ms->node.item[head].recoveries;

	if (more != have)
		return more > have;
	/* A branch each that the recovery key agreed to: nothing to guard. */
	if (have == ms->node.item[a->parent].recoveries) {
		if (members_has_owners(ms, head, a->seq))
			return false; /* settled */
		if (members_has_owners(ms, n, a->seq))
			return true;
	}
	if ((a->kind == MEMBERS_REMOVE) != (b->kind == MEMBERS_REMOVE))
		return a->kind == MEMBERS_REMOVE;
	return memcmp(a->digest.b, b->digest.b, DIGEST_LEN) < 0;
}

/* The log ends in `n` from now on. */
static void
members_move(struct members *ms, uint32_t n)
{
	const uint64_t seq = ms->node.item[n].seq;

	for (size_t i = 0; i < ms->node.len; i++)
		ms->node.item[i].main = false;
	VEC_CLEAR(&ms->log);
	for (uint64_t i = 0; i < seq; i++)
		*VEC_ADD(&ms->log) = n;
	for (uint64_t i = seq; i-- > 0; n = ms->node.item[n].parent) {
		ms->log.item[i] = n;
		ms->node.item[n].main = true;
	}
	ms->side = ms->node.len - ms->log.len;
	VEC_CLEAR(&ms->cutter);
	for (uint32_t i = 0; i < ms->node.len; i++)
		if (!ms->node.item[i].main &&
		    ms->node.item[i].kind == MEMBERS_REMOVE)
			*VEC_ADD(&ms->cutter) = i;
}

/* Whom the REMOVE `n` of a losing branch is about, if it is a member. */
static struct members_seat *
members_cut_by(const struct members *ms, uint32_t n)
{
	return members_state_seat(&ms->state, &ms->node.item[n].device);
}

/* Members whom a losing branch removed are none. */
static void
members_cut(struct members *ms)
{
	const uint32_t head = members_head_node(ms);

	ms->view->fresh = false;
	for (size_t i = 0; i < ms->cutter.len; i++) {
		struct members_seat *seat =
		    members_cut_by(ms, ms->cutter.item[i]);

		if (seat != NULL)
			seat->cut = false;
	}
	for (size_t i = 0; i < ms->cutter.len; i++) {
		const uint32_t n = ms->cutter.item[i];
		const uint64_t left =
		    ms->node.item[members_leaves_log(ms, n)].seq;
		struct members_seat *seat = members_cut_by(ms, n);

		if (seat != NULL && seat->m.added_seq <= ms->node.item[n].seq &&
		    !members_has_owners(ms, head, left))
			seat->cut = true;
	}
}

/* --- taking -------------------------------------------------------------- */

static enum members_verdict
members_follow(struct members *ms, const struct members_entry *e,
    uint32_t parent, bool recovers, struct slice bytes, struct err *err)
{
	uint32_t n;

	if (members_state_apply(&ms->state, e, err) < 0)
		return MEMBERS_INVALID;
	n = members_put(ms, e, parent, recovers, bytes);
	ms->node.item[n].main = true;
	*VEC_ADD(&ms->log) = n;
	members_cut(ms);
	return MEMBERS_ADDED;
}

static enum members_verdict
members_beside(struct members *ms, const struct members_entry *e,
    uint32_t parent, bool recovers, struct slice bytes, struct err *err)
{
	struct members_state there;
	uint32_t n;

	members_replay(ms, parent, &there);
	if (members_state_apply(&there, e, err) < 0) {
		members_state_fini(&there);
		return MEMBERS_INVALID;
	}
	n = members_put(ms, e, parent, recovers, bytes);
	ms->side++;
	if (e->kind == MEMBERS_REMOVE)
		*VEC_ADD(&ms->cutter) = n;
	if (!members_wins(ms, n)) {
		members_state_fini(&there);
		members_cut(ms);
		return MEMBERS_LOST;
	}
	members_state_fini(&ms->state);
	ms->state = there;
	members_move(ms, n);
	members_cut(ms);
	return MEMBERS_FORK;
}

static enum members_verdict
members_take_checked(struct members *ms, const struct members_entry *e,
    struct slice bytes, struct err *err)
{
	uint32_t parent = MEMBERS_NOBODY;
	bool recovers;

	if (ms->node.len > 0) {
		if (e->kind == MEMBERS_FOUND) {
			err_set(err, ERR_INVALID,
			    "this entry founds another domain");
			return MEMBERS_INVALID;
		}
		parent = members_node_of(ms, &e->prev);
	}
	if (parent == MEMBERS_NOBODY && e->kind != MEMBERS_FOUND)
		return MEMBERS_GAP;
	if (parent != MEMBERS_NOBODY &&
	    ms->node.item[parent].seq != e->seq - 1) {
		err_set(err, ERR_PROTOCOL,
		    "entry %llu: it follows one of another number",
		    (unsigned long long)e->seq);
		return MEMBERS_INVALID;
	}
	if (members_judge(ms, e, parent, &recovers, err) < 0)
		return MEMBERS_INVALID;
	if (parent == members_head_node(ms))
		return members_follow(ms, e, parent, recovers, bytes, err);
	if (ms->side >= MEMBERS_SIDE_MAX) {
		err_set(err, ERR_LIMIT, "over %u entries beside the log",
		    MEMBERS_SIDE_MAX);
		return MEMBERS_INVALID;
	}
	return members_beside(ms, e, parent, recovers, bytes, err);
}

enum members_verdict
members_take(struct members *ms, uint64_t seq, struct slice entry,
    struct err *err)
{
	struct members_entry e;

	if (members_entry_decode(&e, entry, err) < 0)
		return MEMBERS_INVALID;
	if (e.seq != seq) {
		err_set(err, ERR_PROTOCOL, "entry %llu came as number %llu",
		    (unsigned long long)e.seq, (unsigned long long)seq);
		return MEMBERS_INVALID;
	}
	if (members_node_of(ms, &e.digest) != MEMBERS_NOBODY)
		return MEMBERS_KNOWN;
	if (ms->node.len >= MEMBERS_ENTRIES_MAX) {
		err_set(err, ERR_LIMIT, "over %u entries", MEMBERS_ENTRIES_MAX);
		return MEMBERS_INVALID;
	}
	return members_take_checked(ms, &e, entry, err);
}

int
members_would_take(const struct members *ms, const struct members_entry *e,
    struct err *err)
{
	struct members_state there;
	uint8_t head[DIGEST_LEN];
	int rc;

	members_head(ms, head);
	if (ms->log.len == 0 || e->kind == MEMBERS_FOUND ||
	    e->seq != members_seq(ms) + 1 ||
	    memcmp(head, e->prev.b, sizeof(head)) != 0)
		return err_set(err, ERR_CHANGED,
		    "it does not follow the log as it is");
	members_replay(ms, members_head_node(ms), &there);
	rc = members_state_apply(&there, e, err);
	members_state_fini(&there);
	return rc;
}

/* --- what is asked ------------------------------------------------------- */

uint64_t
members_seq(const struct members *ms)
{
	return ms->log.len;
}

void
members_domain(const struct members *ms, struct coord_id *out)
{
	*out = (struct coord_id){ { 0 } };
	if (ms->node.len > 0)
		memcpy(out->b, ms->node.item[0].digest.b, sizeof(out->b));
}

void
members_head(const struct members *ms, uint8_t out[32])
{
	memset(out, 0, DIGEST_LEN);
	if (ms->log.len > 0)
		memcpy(out, ms->node.item[members_head_node(ms)].digest.b,
		    DIGEST_LEN);
}

struct slice
members_entry(const struct members *ms, uint64_t seq)
{
	if (seq == 0 || seq > ms->log.len)
		return SLICE_EMPTY;
	return ms->node.item[ms->log.item[seq - 1]].bytes;
}

struct slice
members_kept(const struct members *ms, size_t i, uint64_t *seq)
{
	if (i >= ms->node.len)
		return SLICE_EMPTY;
	*seq = ms->node.item[i].seq;
	return ms->node.item[i].bytes;
}

size_t
members_kept_count(const struct members *ms)
{
	return ms->node.len;
}

bool
members_kept_is_beside(const struct members *ms, size_t i)
{
	return i < ms->node.len && !ms->node.item[i].main;
}

bool
members_keeps(const struct members *ms, const uint8_t digest[32])
{
	struct digest d;

	memcpy(d.b, digest, sizeof(d.b));
	return members_node_of(ms, &d) != MEMBERS_NOBODY;
}

void
members_sum(const struct members *ms, uint8_t out[32])
{
	memcpy(out, ms->sum.b, sizeof(ms->sum.b));
}

static int
members_by_name(const void *a, const void *b)
{
	const struct members_seat *const *x = a;
	const struct members_seat *const *y = b;

	return strcmp((*x)->m.name, (*y)->m.name);
}

static const struct members_view *
members_view(const struct members *ms)
{
	struct members_view *v = ms->view;

	if (v->fresh)
		return v;
	VEC_CLEAR(&v->seat);
	for (struct map_item *it = NULL;
	     (it = map_next(&ms->state.by_id, it)) != NULL;) {
		const struct members_seat *seat = it->value;

		if (!seat->cut)
			*VEC_ADD(&v->seat) = seat;
	}
	if (v->seat.len > 1)
		qsort(v->seat.item, v->seat.len, sizeof(v->seat.item[0]),
		    members_by_name);
	v->fresh = true;
	return v;
}

size_t
members_count(const struct members *ms)
{
	return members_view(ms)->seat.len;
}

const struct member *
members_at(const struct members *ms, size_t i)
{
	const struct members_view *v = members_view(ms);

	return i < v->seat.len ? &v->seat.item[i]->m : NULL;
}

const struct member *
members_find(const struct members *ms, const struct devid *id, int64_t wall_s)
{
	const struct members_seat *seat = members_state_seat(&ms->state, id);

	if (seat == NULL || seat->cut)
		return NULL;
	if (devid_equal(&seat->m.id, id) ||
	    (devid_equal(&seat->m.before, id) &&
		wall_s < seat->m.before_until_wall_s))
		return &seat->m;
	return NULL;
}

bool
members_now(const struct members *ms, const struct devid *id, struct devid *out)
{
	const struct members_seat *seat = members_state_seat(&ms->state, id);

	if (seat == NULL || seat->cut)
		return false;
	*out = seat->m.id;
	return true;
}

bool
members_was(const struct members *ms, const struct devid *id)
{
	const struct members_seat *seat = members_state_seat(&ms->state, id);

	if (seat != NULL && devid_equal(&seat->m.id, id))
		return seat->cut;
	return map_find(&ms->state.gone, slice_of(id->b, sizeof(id->b))) !=
	       NULL;
}

bool
members_may(const struct members *ms, const struct devid *from,
    const struct devid *to, enum members_service service)
{
	struct devid now_from = *from, now_to = *to;

	(void)members_now(ms, from, &now_from);
	(void)members_now(ms, to, &now_to);
	for (size_t i = ms->state.rule.len; i-- > 0;) {
		const struct members_rule *r = &ms->state.rule.item[i];

		if ((r->service == MEMBERS_ALL || r->service == service) &&
		    (devid_is_none(&r->from) ||
			devid_equal(&r->from, &now_from)) &&
		    (devid_is_none(&r->to) || devid_equal(&r->to, &now_to)))
			return r->allowed;
	}
	return true;
}

const struct members_rule *
members_rule(const struct members *ms, size_t i)
{
	return i < ms->state.rule.len ? &ms->state.rule.item[i] : NULL;
}

size_t
members_owners(const struct members *ms, const struct sign_public **out,
    uint32_t *need)
{
	*out = ms->state.owner;
	*need = ms->state.need;
	return ms->state.owner_count;
}

const struct sign_public *
members_recovery(const struct members *ms)
{
	return &ms->state.recovery;
}

const char *
members_name(const struct members *ms)
{
	return ms->state.name;
}
