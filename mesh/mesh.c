/*
 * The mesh; see mesh.h.
 *
 * A peer's connection goes NONE -> JUDGED (TLS done) -> UP (Hello done) and
 * back to NONE.  Dials run only while it is NONE; those to direct ways, and now
 * and then to other relays, also while it is UP by a relay.
 */
#include "mesh/mesh.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"

#define MESH_BACKOFF_MAX_S 60
#define MESH_FOUND_LIFE_NS (90 * CLOCK_S)
#define MESH_LOOKED_UP_LIFE_NS CLOCK_HOUR
#define MESH_DIALS_PEER 4                   /* running at once to one peer */
#define MESH_HEAD_START_NS (250 * CLOCK_MS) /* of a better way */
#define MESH_REDIALS 3                      /* at once after a loss, within */
#define MESH_REDIAL_SPAN_NS (120 * CLOCK_S)
#define MESH_REDIAL_LATER_NS (10 * CLOCK_S)
#define MESH_EAGER_NS (60 * CLOCK_S) /* somebody may be waiting */
#define MESH_EAGER_PAUSE_S 2
#define MESH_REDIAL_YIELD_NS (300 * CLOCK_MS)
#define MESH_STALE_NS (2 * CLOCK_S)   /* a twin without Hello may go then */
#define MESH_DETOUR_NS CLOCK_S        /* relays come after the rest */
#define MESH_NEARER_NS (30 * CLOCK_S) /* then other relays are measured, */
#define MESH_NEARER_AGAIN_NS                                                   \
	CLOCK_HOUR              /* so often those that are not nearer          \
				 */
#define MESH_NEARER_PAUSE_S 600 /* and those that did not answer */
#define MESH_NEARER_GAIN_NS (5 * CLOCK_MS) /* less is not worth a change */
#define MESH_STRANGER_NS ((int64_t)(3600 * CLOCK_S)) /* told again after */

enum mesh_state { MESH_NONE, MESH_JUDGED, MESH_UP };

struct mesh_peer {
	struct devid id;
	char *name; /* owned */
	bool paused, dynamic, keep;
	bool settled; /* the connection that is up brought a message */
	bool asleep;  /* NONE, and none is wanted */
	uint64_t eager_until_ns;
	enum mesh_state state;
	bool relayed;    /* the connection */
	uint64_t rtt_ns; /* of the whole way by its relay; 0: unknown */
	enum mesh_direction direction;
	uint64_t judged_ns;
	bool may_move;      /* by another relay, see mesh_may_move() */
	uint64_t nearer_ns; /* when to look for a nearer relay */
	bool has_better;    /* another has had TLS, while UP by a relay */
	bool better_relayed;
	uint64_t better_rtt_ns;
	enum mesh_direction better_direction;
	uint64_t better_ns;
	uint64_t free_ns;                 /* since when it is NONE */
	uint64_t redial_ns[MESH_REDIALS]; /* ring of the last ones */
	unsigned redial_at;
	VEC(struct mesh_address) way;
};

struct mesh {
	struct devid own;
	struct rng rng;
	VEC(struct mesh_peer *) peer; /* in order of configuration */
	VEC(struct mesh_stranger) stranger;
	size_t dials; /* running */
	bool lan_only;
	uint64_t changes;
};

struct mesh *
mesh_new(const struct devid *own, uint64_t seed)
{
	struct mesh *m = mem_zalloc(sizeof(*m));

	m->own = *own;
	rng_init(&m->rng, seed);
	return m;
}

static void
mesh_peer_free(struct mesh_peer *p)
{
	VEC_FINI(&p->way);
	mem_free(p->name);
	mem_free(p);
}

void
mesh_free(struct mesh *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->peer.len; i++)
		mesh_peer_free(m->peer.item[i]);
	VEC_FINI(&m->peer);
	VEC_FINI(&m->stranger);
	mem_free(m);
}

void
mesh_set_lan_only(struct mesh *m, bool lan_only)
{
	m->lan_only = lan_only;
}

bool
mesh_leaves_out(const struct mesh *m, const struct addr *addr)
{
	return m->lan_only && !addr_is_lan(addr);
}

static struct mesh_peer *
mesh_find(const struct mesh *m, const struct devid *id)
{
	for (size_t i = 0; i < m->peer.len; i++)
		if (devid_equal(&m->peer.item[i]->id, id))
			return m->peer.item[i];
	return NULL;
}

static struct mesh_address *
mesh_find_way(struct mesh_peer *p, const struct addr *addr)
{
	for (size_t i = 0; i < p->way.len; i++)
		if (addr_equal(&p->way.item[i].addr, addr))
			return &p->way.item[i];
	return NULL;
}

static struct mesh_address *
mesh_add_way(struct mesh_peer *p, const struct addr *addr)
{
	struct mesh_address *way = VEC_ADD(&p->way);

	*way =
	    (struct mesh_address){ .addr = *addr, .expires_ns = CLOCK_NEVER };
	return way;
}

/* --- configuration ---------------------------------------------------- */

static void
mesh_configure_ways(struct mesh_peer *p, const struct mesh_peer_config *cfg,
    uint64_t now_ns)
{
	p->dynamic = cfg->address_count == 0;
	for (size_t i = 0; i < p->way.len; i++)
		p->way.item[i].expires_ns =
		    p->way.item[i].found ? p->way.item[i].expires_ns : 0;
	for (size_t i = 0; i < cfg->address_count; i++) {
		const struct addr *addr = &cfg->address[i];
		struct mesh_address *way;

		if (addr->scheme == ADDR_DYNAMIC)
			p->dynamic = true;
		if (!addr_is_dialable(addr) ||
		    p->way.len >= LIMIT_PEER_ADDRESSES)
			continue;
		way = mesh_find_way(p, addr);
		if (way == NULL) {
			way = mesh_add_way(p, addr);
			way->next_ns = now_ns;
			p->eager_until_ns = now_ns + MESH_EAGER_NS;
		}
		way->found = false;
		way->expires_ns = CLOCK_NEVER;
	}
	/* Ways that are configured no more go, unless being dialled. */
	for (size_t i = 0; i < p->way.len;) {
		if (p->way.item[i].expires_ns == 0 && !p->way.item[i].dialling)
			VEC_DROP(&p->way, i);
		else
			i++;
	}
}

void
mesh_configure(struct mesh *m, const struct mesh_peer_config *peer,
    size_t count, uint64_t now_ns)
{
	struct mesh_peer **next = mem_array(count + 1, sizeof(*next));
	size_t len = 0;

	m->changes++;
	for (size_t i = 0; i < m->peer.len; i++)
		m->peer.item[i]->keep = false;
	for (size_t i = 0; i < count; i++) {
		struct mesh_peer *p = mesh_find(m, &peer[i].id);

		if (devid_equal(&peer[i].id, &m->own))
			continue;
		if (p != NULL && p->keep)
			continue; /* listed twice: the first counts */
		if (p == NULL) {
			p = mem_zalloc(sizeof(*p));
			p->id = peer[i].id;
			p->free_ns = now_ns;
		}
		p->keep = true;
		mem_free(p->name);
		p->name = mem_strdup(peer[i].name != NULL ? peer[i].name : "");
		if (p->paused && !peer[i].paused) {
			p->eager_until_ns = now_ns + MESH_EAGER_NS;
			p->free_ns = now_ns;
			for (size_t w = 0; w < p->way.len; w++)
				p->way.item[w].next_ns = now_ns;
		}
		p->paused = peer[i].paused;
		mesh_configure_ways(p, &peer[i], now_ns);
		next[len++] = p;
	}
	for (size_t i = 0; i < m->peer.len; i++) {
		struct mesh_peer *p = m->peer.item[i];

		if (p->keep)
			continue;
		for (size_t w = 0; w < p->way.len; w++)
			if (p->way.item[w].dialling)
				m->dials--;
		mesh_peer_free(p);
	}
	VEC_CLEAR(&m->peer);
	for (size_t i = 0; i < len; i++)
		*VEC_ADD(&m->peer) = next[i];
	mem_free(next);
	for (size_t i = 0; i < m->stranger.len;) {
		if (mesh_find(m, &m->stranger.item[i].id) != NULL)
			VEC_DROP(&m->stranger, i);
		else
			i++;
	}
}

bool
mesh_has(const struct mesh *m, const struct devid *id)
{
	return mesh_find(m, id) != NULL;
}

bool
mesh_is_paused(const struct mesh *m, const struct devid *id)
{
	const struct mesh_peer *p = mesh_find(m, id);

	return p != NULL && p->paused;
}

const char *
mesh_name(const struct mesh *m, const struct devid *id)
{
	const struct mesh_peer *p = mesh_find(m, id);

	return p != NULL ? p->name : "";
}

/* --- discovery -------------------------------------------------------- */

bool
mesh_found(struct mesh *m, const struct devid *id, const struct addr *addr,
    int64_t instance, uint64_t now_ns)
{
	struct mesh_peer *p = mesh_find(m, id);
	struct mesh_address *way;
	bool fresh;

	if (p == NULL || !p->dynamic || !addr_is_dialable(addr))
		return false;
	way = mesh_find_way(p, addr);
	if (way == NULL && p->way.len >= LIMIT_PEER_ADDRESSES)
		return false;
	fresh = way == NULL || way->instance != instance;
	if (way == NULL) {
		way = mesh_add_way(p, addr);
		way->found = true;
		way->expires_ns = 0;
	}
	way->instance = instance;
	if (way->found && way->expires_ns < now_ns + MESH_FOUND_LIFE_NS)
		way->expires_ns = now_ns + MESH_FOUND_LIFE_NS;
	if (fresh) {
		way->next_ns = now_ns;
		way->failures = 0;
	}
	return fresh;
}

/* A way is wanted to it: any, or one better than a relay's. */
static bool
mesh_wants(const struct mesh_peer *p)
{
	return !p->paused && !p->asleep &&
	       (p->state == MESH_NONE ||
		   (p->state == MESH_UP && p->relayed && !p->has_better));
}

/* Room for one more that a server told: the one it told longest ago goes. */
static bool
mesh_make_room(struct mesh_peer *p)
{
	size_t count = 0, oldest = SIZE_MAX;

	for (size_t i = 0; i < p->way.len; i++) {
		const struct mesh_address *way = &p->way.item[i];

		if (!way->looked_up)
			continue;
		count++;
		if (!way->dialling &&
		    (oldest == SIZE_MAX ||
			way->expires_ns < p->way.item[oldest].expires_ns))
			oldest = i;
	}
	if (count < MESH_LOOKED_UP)
		return p->way.len < LIMIT_PEER_ADDRESSES;
	if (oldest == SIZE_MAX)
		return false;
	VEC_DROP(&p->way, oldest);
	return true;
}

bool
mesh_looked_up(struct mesh *m, const struct devid *id, const struct addr *addr,
    uint64_t now_ns)
{
	struct mesh_peer *p = mesh_find(m, id);
	struct mesh_address *way;
	bool fresh;

	if (p == NULL || !p->dynamic || !addr_is_dialable(addr))
		return false;
	way = mesh_find_way(p, addr);
	fresh = way == NULL;
	if (fresh && !mesh_make_room(p))
		return false;
	if (fresh) {
		way = mesh_add_way(p, addr);
		way->found = way->looked_up = true;
		way->next_ns = now_ns;
	}
	if (way->found)
		way->expires_ns = now_ns + MESH_LOOKED_UP_LIFE_NS;
	return fresh;
}

size_t
mesh_sought(const struct mesh *m, struct devid *out, size_t cap)
{
	size_t count = 0;

	for (size_t i = 0; i < m->peer.len && count < cap; i++) {
		const struct mesh_peer *p = m->peer.item[i];

		if (p->dynamic && mesh_wants(p))
			out[count++] = p->id;
	}
	return count;
}

size_t
mesh_dynamic(const struct mesh *m, struct devid *out, size_t cap)
{
	size_t count = 0;

	for (size_t i = 0; i < m->peer.len && count < cap; i++)
		if (m->peer.item[i]->dynamic && !m->peer.item[i]->paused)
			out[count++] = m->peer.item[i]->id;
	return count;
}

uint64_t
mesh_changes(const struct mesh *m)
{
	return m->changes;
}

/* --- dialling --------------------------------------------------------- */

/* `base` give or take a quarter, so that nodes do not march in step. */
static uint64_t
mesh_jitter(struct mesh *m, uint64_t base_ns)
{
	return base_ns - base_ns / 4 + rng_below(&m->rng, base_ns / 2 + 1);
}

/* When to try `way`, which failed just now, again. */
static void
mesh_back_off(struct mesh *m, const struct mesh_peer *p,
    struct mesh_address *way, uint64_t now_ns)
{
	const uint64_t max_s = now_ns < p->eager_until_ns ? MESH_EAGER_PAUSE_S
							  : MESH_BACKOFF_MAX_S;
	uint64_t seconds = 1;

	/* Nobody waits for a nearer relay. */
	if (p->state == MESH_UP && addr_is_relayed(&way->addr)) {
		way->next_ns =
		    now_ns + mesh_jitter(m, MESH_NEARER_PAUSE_S * CLOCK_S);
		return;
	}
	for (unsigned n = way->failures; n > 0 && seconds < max_s; n--)
		seconds *= 2;
	if (seconds < max_s)
		way->failures++;
	else
		seconds = max_s;
	way->next_ns = now_ns + mesh_jitter(m, seconds * CLOCK_S);
}

static void
mesh_expire(struct mesh_peer *p, uint64_t now_ns)
{
	for (size_t i = 0; i < p->way.len;) {
		if (p->way.item[i].expires_ns <= now_ns &&
		    !p->way.item[i].dialling)
			VEC_DROP(&p->way, i);
		else
			i++;
	}
}

static bool
mesh_has_direct_way(const struct mesh *m, const struct mesh_peer *p)
{
	for (size_t i = 0; i < p->way.len; i++)
		if (!addr_is_relayed(&p->way.item[i].addr) &&
		    !mesh_leaves_out(m, &p->way.item[i].addr))
			return true;
	return false;
}

/* Hysteresis: of two that are about as far the first stays. */
static bool
mesh_is_nearer(uint64_t rtt_ns, uint64_t than_ns)
{
	return rtt_ns != 0 && rtt_ns + than_ns / 4 <= than_ns &&
	       rtt_ns + MESH_NEARER_GAIN_NS <= than_ns;
}

/* When to try another relay than the one that carries the connection. */
static uint64_t
mesh_nearer_at(const struct mesh_peer *p, const struct mesh_address *way)
{
	uint64_t at = way->next_ns > p->nearer_ns ? way->next_ns : p->nearer_ns;

	if (!p->may_move || p->rtt_ns == 0 || way->in_use)
		return CLOCK_NEVER;
	if (way->rtt_at_ns != 0 && !mesh_is_nearer(way->rtt_ns, p->rtt_ns) &&
	    at < way->rtt_at_ns + MESH_NEARER_AGAIN_NS)
		at = way->rtt_at_ns + MESH_NEARER_AGAIN_NS;
	return at;
}

/*
 * When a way may be dialled; CLOCK_NEVER: not as things are.  Better ones that
 * run have their head start.
 */
static uint64_t
mesh_way_at(const struct mesh *m, const struct mesh_peer *p,
    const struct mesh_address *way)
{
	const uint64_t after_ns = p->free_ns + MESH_DETOUR_NS;
	uint64_t at = way->next_ns;

	if (mesh_leaves_out(m, &way->addr))
		return CLOCK_NEVER;
	if (addr_is_relayed(&way->addr) && p->state == MESH_UP)
		return mesh_nearer_at(p, way);
	if (addr_is_relayed(&way->addr) && at < after_ns &&
	    mesh_has_direct_way(m, p))
		at = after_ns;
	for (size_t i = 0; i < p->way.len; i++) {
		const struct mesh_address *other = &p->way.item[i];

		if (other->dialling &&
		    addr_rank(&other->addr) < addr_rank(&way->addr) &&
		    other->started_ns + MESH_HEAD_START_NS > at)
			at = other->started_ns + MESH_HEAD_START_NS;
	}
	return at;
}

/* Of those that are due the best one; of equals the longest due. */
static struct mesh_address *
mesh_due(const struct mesh *m, struct mesh_peer *p, uint64_t now_ns)
{
	struct mesh_address *due = NULL;
	unsigned running = 0, best = 0;

	for (size_t i = 0; i < p->way.len; i++) {
		struct mesh_address *way = &p->way.item[i];
		const unsigned rank = addr_rank(&way->addr);

		if (way->dialling) {
			running++;
			continue;
		}
		if (mesh_way_at(m, p, way) > now_ns ||
		    (due != NULL && rank > best))
			continue;
		if (due == NULL || rank < best || way->next_ns < due->next_ns)
			due = way;
		best = addr_rank(&due->addr);
	}
	return running < MESH_DIALS_PEER ? due : NULL;
}

bool
mesh_next(struct mesh *m, uint64_t now_ns, struct mesh_dial *out)
{
	if (m->dials >= LIMIT_DIALS)
		return false;
	for (size_t i = 0; i < m->peer.len; i++) {
		struct mesh_peer *p = m->peer.item[i];
		struct mesh_address *way;

		if (!mesh_wants(p))
			continue;
		mesh_expire(p, now_ns);
		way = mesh_due(m, p, now_ns);
		if (way == NULL)
			continue;
		way->dialling = true;
		way->started_ns = now_ns;
		/* Should it be given up without a word, do not spin. */
		way->next_ns = now_ns + mesh_jitter(m, 2 * CLOCK_S);
		m->dials++;
		*out = (struct mesh_dial){ .id = p->id, .addr = way->addr };
		return true;
	}
	return false;
}

uint64_t
mesh_wake_at(const struct mesh *m, uint64_t now_ns)
{
	uint64_t at = CLOCK_NEVER;

	/* With all dials in use, the end of one is the next event. */
	if (m->dials >= LIMIT_DIALS)
		return CLOCK_NEVER;
	for (size_t i = 0; i < m->peer.len; i++) {
		const struct mesh_peer *p = m->peer.item[i];
		unsigned running = 0;
		uint64_t first = CLOCK_NEVER;

		if (!mesh_wants(p))
			continue;
		for (size_t w = 0; w < p->way.len; w++) {
			const struct mesh_address *way = &p->way.item[w];

			if (way->dialling)
				running++;
			else if (way->expires_ns > now_ns &&
				 mesh_way_at(m, p, way) < first)
				first = mesh_way_at(m, p, way);
		}
		if (running < MESH_DIALS_PEER && first < at)
			at = first;
	}
	return at;
}

static struct mesh_address *
mesh_dial_over(struct mesh *m, const struct mesh_dial *dial)
{
	struct mesh_peer *p = mesh_find(m, &dial->id);
	struct mesh_address *way =
	    p != NULL ? mesh_find_way(p, &dial->addr) : NULL;

	if (way == NULL || !way->dialling)
		return NULL; /* configured away meanwhile */
	way->dialling = false;
	m->dials--;
	return way;
}

void
mesh_dial_failed(struct mesh *m, const struct mesh_dial *dial,
    const struct err *why, struct now now)
{
	struct mesh_peer *p = mesh_find(m, &dial->id);
	struct mesh_address *way;

	mesh_dial_over(m, dial);
	way = p != NULL ? mesh_find_way(p, &dial->addr) : NULL;
	if (way == NULL)
		return;
	mesh_back_off(m, p, way, now.mono_ns);
	way->tried_wall_ns = now.wall_ns;
	way->failure = failure_of(&way->addr, why);
	snprintf(way->error, sizeof(way->error), "%.*s",
	    (int)sizeof(way->error) - 1, why->text);
}

void
mesh_dial_ended(struct mesh *m, const struct mesh_dial *dial)
{
	mesh_dial_over(m, dial);
}

/* --- connections ------------------------------------------------------ */

/*
 * Both sides see the same two connections and the same two IDs, so both keep
 * the one that the smaller ID dialled.
 */
static bool
mesh_prefers(const struct mesh *m, const struct mesh_peer *p,
    enum mesh_direction direction)
{
	const bool own_smaller = devid_cmp(&m->own, &p->id) < 0;

	return (direction == MESH_DIALLED) == own_smaller;
}

/*
 * A second one by a relay: who called it has measured, and meant it.
 */
static bool
mesh_may_take_place(const struct mesh_peer *p, enum mesh_direction direction,
    uint64_t rtt_ns)
{
	return p->may_move && (direction == MESH_ACCEPTED ||
				  mesh_is_nearer(rtt_ns, p->rtt_ns));
}

/*
 * A better one, while a relayed one is up: with others of its kind as ever, and
 * direct before relayed.
 */
static enum mesh_verdict
mesh_judge_better(struct mesh *m, struct mesh_peer *p,
    enum mesh_direction direction, bool relayed, uint64_t rtt_ns,
    uint64_t now_ns)
{
	const bool over = p->has_better && p->better_relayed && !relayed;
	const bool again = direction == MESH_ACCEPTED &&
			   direction == p->better_direction &&
			   now_ns - p->better_ns >= MESH_STALE_NS;

	if (relayed && ((p->has_better && !p->better_relayed) ||
			   !mesh_may_take_place(p, direction, rtt_ns)))
		return MESH_SURPLUS;
	if (p->has_better && !again && !over &&
	    (direction == p->better_direction ||
		!mesh_prefers(m, p, direction)))
		return MESH_SURPLUS;
	p->has_better = true;
	p->better_relayed = relayed;
	p->better_rtt_ns = rtt_ns;
	p->better_direction = direction;
	p->better_ns = now_ns;
	return MESH_BETTER;
}

static enum mesh_verdict
mesh_judge_second(const struct mesh *m, const struct mesh_peer *p,
    enum mesh_direction direction, bool relayed, uint64_t now_ns)
{
	if (p->state == MESH_UP)
		return MESH_SURPLUS;
	if (p->relayed != relayed)
		return relayed ? MESH_SURPLUS : MESH_REPLACE;
	if (p->direction != direction)
		return mesh_prefers(m, p, direction) ? MESH_REPLACE
						     : MESH_SURPLUS;
	/* It called again: the first one is dead, or it would not. */
	if (direction == MESH_ACCEPTED &&
	    now_ns - p->judged_ns >= MESH_STALE_NS)
		return MESH_REPLACE;
	return MESH_SURPLUS;
}

enum mesh_verdict
mesh_judge(struct mesh *m, const struct devid *id,
    enum mesh_direction direction, bool relayed, uint64_t rtt_ns,
    uint64_t now_ns)
{
	struct mesh_peer *p;
	enum mesh_verdict verdict = MESH_ACCEPT;

	if (devid_equal(id, &m->own))
		return MESH_OWN;
	p = mesh_find(m, id);
	if (p == NULL)
		return MESH_UNKNOWN;
	if (p->paused)
		return MESH_PAUSED;
	if (p->state == MESH_UP && p->relayed)
		return mesh_judge_better(m, p, direction, relayed, rtt_ns,
		    now_ns);
	if (p->state != MESH_NONE)
		verdict = mesh_judge_second(m, p, direction, relayed, now_ns);
	if (verdict == MESH_ACCEPT || verdict == MESH_REPLACE) {
		m->changes++;
		p->asleep = false;
		p->state = MESH_JUDGED;
		p->relayed = relayed;
		p->rtt_ns = rtt_ns;
		p->direction = direction;
		p->judged_ns = now_ns;
	}
	return verdict;
}

void
mesh_measured(struct mesh *m, const struct mesh_dial *dial, uint64_t rtt_ns,
    uint64_t now_ns)
{
	struct mesh_peer *p = mesh_find(m, &dial->id);
	struct mesh_address *way =
	    p != NULL ? mesh_find_way(p, &dial->addr) : NULL;

	if (way == NULL)
		return;
	way->rtt_ns = rtt_ns;
	way->rtt_at_ns = now_ns;
}

void
mesh_may_move(struct mesh *m, const struct devid *id, bool may)
{
	struct mesh_peer *p = mesh_find(m, id);

	if (p != NULL)
		p->may_move = may;
}

/* The connection is up, by `dial` if we called: which way it goes. */
static void
mesh_take_way(struct mesh *m, struct mesh_peer *p, const struct mesh_dial *dial)
{
	struct mesh_address *way = NULL;

	for (size_t i = 0; i < p->way.len; i++)
		p->way.item[i].in_use = false;
	if (dial != NULL)
		way = mesh_dial_over(m, dial);
	if (way == NULL)
		return;
	way->in_use = p->relayed;
	way->failure = FAILURE_NONE;
	way->error[0] = '\0';
}

void
mesh_up(struct mesh *m, const struct devid *id, const struct mesh_dial *dial,
    uint64_t now_ns)
{
	struct mesh_peer *p = mesh_find(m, id);

	ASSERT(p != NULL);
	ASSERT(p->state == MESH_JUDGED);
	p->state = MESH_UP;
	p->settled = false;
	p->may_move = false;
	p->nearer_ns = now_ns + MESH_NEARER_NS;
	m->changes++; /* by a relay: something better is wanted */
	mesh_take_way(m, p, dial);
}

void
mesh_better_up(struct mesh *m, const struct devid *id,
    const struct mesh_dial *dial)
{
	struct mesh_peer *p = mesh_find(m, id);

	ASSERT(p != NULL);
	ASSERT(p->state == MESH_UP && p->has_better);
	p->has_better = false;
	p->relayed = p->better_relayed;
	p->rtt_ns = p->better_rtt_ns;
	p->direction = p->better_direction;
	p->settled = false;
	p->may_move = false;
	p->nearer_ns = p->better_ns + MESH_NEARER_NS;
	m->changes++;
	mesh_take_way(m, p, dial);
}

void
mesh_better_down(struct mesh *m, const struct devid *id)
{
	struct mesh_peer *p = mesh_find(m, id);

	if (p != NULL)
		p->has_better = false;
}

enum mesh_detour
mesh_detour(const struct mesh *m, const struct devid *id)
{
	const struct mesh_peer *p = mesh_find(m, id);
	enum mesh_detour detour = MESH_NO_DIRECT_WAY;

	if (p == NULL || p->state != MESH_UP || !p->relayed)
		return MESH_DIRECT;
	for (size_t i = 0; i < p->way.len; i++) {
		const struct mesh_address *way = &p->way.item[i];

		if (addr_is_relayed(&way->addr) ||
		    mesh_leaves_out(m, &way->addr))
			continue;
		if (way->error[0] == '\0')
			return MESH_DIRECT_UNTRIED;
		detour = MESH_DIRECT_FAILED;
	}
	return detour;
}

void
mesh_settled(struct mesh *m, const struct devid *id)
{
	struct mesh_peer *p = mesh_find(m, id);

	if (p == NULL || p->state != MESH_UP || p->settled)
		return;
	p->settled = true;
	for (size_t i = 0; i < p->way.len; i++)
		p->way.item[i].failures = 0;
}

/* May we redial at once?  Counts it when so. */
static bool
mesh_may_redial(struct mesh_peer *p, uint64_t now_ns)
{
	uint64_t *oldest = &p->redial_ns[p->redial_at % MESH_REDIALS];

	if (*oldest != 0 && now_ns - *oldest < MESH_REDIAL_SPAN_NS)
		return false;
	*oldest = now_ns;
	p->redial_at++;
	return true;
}

static void
mesh_lost(struct mesh *m, struct mesh_peer *p, uint64_t now_ns)
{
	uint64_t next_ns = now_ns;

	p->eager_until_ns = now_ns + MESH_EAGER_NS;
	if (!mesh_may_redial(p, now_ns))
		next_ns += mesh_jitter(m, MESH_REDIAL_LATER_NS);
	else if (devid_cmp(&m->own, &p->id) > 0)
		/* Both lost it: one calls, the other waits a bit. */
		next_ns += MESH_REDIAL_YIELD_NS;
	for (size_t i = 0; i < p->way.len; i++)
		p->way.item[i].next_ns = next_ns;
}

void
mesh_down(struct mesh *m, const struct devid *id, uint64_t now_ns)
{
	struct mesh_peer *p = mesh_find(m, id);
	const bool was_up = p != NULL && p->state == MESH_UP;

	if (p == NULL || p->state == MESH_NONE)
		return;
	p->state = MESH_NONE; /* now any way is wanted, and none is "nearer" */
	if (was_up && p->settled)
		mesh_lost(m, p, now_ns);
	else if (was_up)
		for (size_t i = 0; i < p->way.len; i++)
			mesh_back_off(m, p, &p->way.item[i], now_ns);
	p->free_ns = now_ns;
	m->changes++;
	for (size_t i = 0; i < p->way.len; i++)
		p->way.item[i].in_use = false;
	if (p->has_better) {
		p->has_better = false;
		p->state = MESH_JUDGED;
		p->relayed = p->better_relayed;
		p->rtt_ns = p->better_rtt_ns;
		p->direction = p->better_direction;
		p->judged_ns = p->better_ns;
	}
}

void
mesh_sleep(struct mesh *m, const struct devid *id, uint64_t now_ns)
{
	struct mesh_peer *p = mesh_find(m, id);

	if (p == NULL)
		return;
	ASSERT(p->state == MESH_UP && !p->has_better);
	p->state = MESH_NONE;
	p->asleep = true;
	p->free_ns = now_ns;
	m->changes++;
}

void
mesh_wake(struct mesh *m, const struct devid *id, uint64_t now_ns)
{
	struct mesh_peer *p = mesh_find(m, id);

	if (p == NULL || !p->asleep)
		return;
	p->asleep = false;
	p->free_ns = now_ns;
	p->eager_until_ns = now_ns + MESH_EAGER_NS;
	for (size_t i = 0; i < p->way.len; i++)
		p->way.item[i].next_ns = now_ns;
	m->changes++;
}

void
mesh_refresh(struct mesh *m, uint64_t now_ns)
{
	for (size_t i = 0; i < m->peer.len; i++) {
		struct mesh_peer *p = m->peer.item[i];

		p->free_ns = p->nearer_ns = now_ns;
		for (size_t w = 0; w < p->way.len; w++) {
			p->way.item[w].next_ns = now_ns;
			p->way.item[w].failures = 0;
			p->way.item[w].rtt_at_ns = 0;
		}
		memset(p->redial_ns, 0, sizeof(p->redial_ns));
	}
}

const struct mesh_address *
mesh_address_at(const struct mesh *m, const struct devid *id, size_t i)
{
	const struct mesh_peer *p = mesh_find(m, id);

	return p != NULL && i < p->way.len ? &p->way.item[i] : NULL;
}

/* --- strangers -------------------------------------------------------- */

/* The place for a stranger: its own, a new one, or the longest unseen's. */
static struct mesh_stranger *
mesh_stranger_slot(struct mesh *m, const struct devid *id)
{
	struct mesh_stranger *oldest = NULL;

	for (size_t i = 0; i < m->stranger.len; i++) {
		struct mesh_stranger *s = &m->stranger.item[i];

		if (devid_equal(&s->id, id))
			return s;
		if (oldest == NULL || s->wall_ns < oldest->wall_ns)
			oldest = s;
	}
	if (m->stranger.len < LIMIT_STRANGERS)
		oldest = VEC_ADD(&m->stranger);
	*oldest = (struct mesh_stranger){ .id = *id };
	return oldest;
}

void
mesh_clean_text(char *out, size_t cap, struct slice text)
{
	size_t len = 0;

	if (!slice_is_utf8(text))
		text = SLICE_LIT("(not UTF-8)");
	for (size_t i = 0; i < text.len && len + 1 < cap; i++)
		out[len++] = text.ptr[i] < ' ' || text.ptr[i] == 0x7f
				 ? '?'
				 : (char)text.ptr[i];
	/* Not in the middle of a character. */
	if (len < text.len)
		while (len > 0 && (text.ptr[len] & 0xc0) == 0x80)
			len--;
	out[len] = '\0';
}

bool
mesh_stranger_add(struct mesh *m, const struct devid *id, struct slice name,
    const char *address, int64_t wall_ns)
{
	struct mesh_stranger *s = mesh_stranger_slot(m, id);
	const bool told = s->wall_ns != 0 && wall_ns >= s->wall_ns &&
			  wall_ns - s->wall_ns < MESH_STRANGER_NS;

	mesh_clean_text(s->name, sizeof(s->name), name);
	snprintf(s->address, sizeof(s->address), "%s", address);
	if (!told)
		s->wall_ns = wall_ns;
	return !told;
}

const struct mesh_stranger *
mesh_stranger_at(const struct mesh *m, size_t i)
{
	return i < m->stranger.len ? &m->stranger.item[i] : NULL;
}
