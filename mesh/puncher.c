/*
 * Whom to call, and when; see puncher.h.
 *
 * A peer is IDLE, or its attempt is ASKED_FOR (our address is being made sure
 * of) or RUNNING.
 */
#include "mesh/puncher.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"

#define PUNCHER_SOON_NS CLOCK_S
#define PUNCHER_YIELD_NS (2 * CLOCK_S)
#define PUNCHER_SURE_NS (3 * CLOCK_S) /* spent on our own address */
#define PUNCHER_PAUSE_S 10u
#define PUNCHER_PAUSE_VAIN_S 60u
#define PUNCHER_PAUSE_MAX_S 600u
#define PUNCHER_STALE_NS (3 * CLOCK_S) /* an attempt gives way to a call */
#define PUNCHER_PEERS 1024u

enum puncher_state { PUNCHER_IDLE, PUNCHER_ASKED_FOR, PUNCHER_RUNNING };

struct puncher_peer {
	struct devid id;
	bool wanted, here;
	enum puncher_state state;
	uint64_t due_ns;    /* IDLE: of the next call */
	uint64_t sure_ns;   /* ASKED_FOR: then without being sure */
	uint64_t called_ns; /* by it, last */
	uint64_t began_ns;
	bool is_called; /* ASKED_FOR: `call` is to be answered */
	struct punch_signal call;
	struct punch *punch; /* RUNNING */
	unsigned slot;       /* RUNNING */
	enum punch_end end;  /* of the last */
	unsigned failures;
};

struct puncher {
	struct devid own;
	struct draw draw; /* of cookies */
	struct rng rng;
	struct punch_side side;
	bool has_side, asked; /* for a fresh one */
	uint64_t side_ns;
	VEC(struct puncher_peer) peer;
	bool slot[PUNCHER_ATTEMPTS]; /* in use */
	VEC(struct puncher_act) queue;
	size_t queue_at;
	uint64_t count[PUNCH_NO_ANSWER + 1];
};

struct puncher *
puncher_new(const struct devid *own, const uint8_t key[DRAW_KEY_LEN])
{
	struct puncher *p = mem_zalloc(sizeof(*p));
	uint64_t seed;

	p->own = *own;
	draw_init(&p->draw, key);
	memcpy(&seed, key, sizeof(seed));
	rng_init(&p->rng, seed);
	return p;
}

void
puncher_free(struct puncher *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->peer.len; i++)
		punch_free(p->peer.item[i].punch);
	VEC_FINI(&p->peer);
	VEC_FINI(&p->queue);
	mem_free(p);
}

static struct puncher_peer *
puncher_find(const struct puncher *p, const struct devid *id)
{
	for (size_t i = 0; i < p->peer.len; i++)
		if (devid_equal(&p->peer.item[i].id, id))
			return &p->peer.item[i];
	return NULL;
}

static struct puncher_peer *
puncher_make(struct puncher *p, const struct devid *id)
{
	struct puncher_peer *peer = puncher_find(p, id);

	if (peer != NULL || p->peer.len >= PUNCHER_PEERS)
		return peer;
	peer = VEC_ADD(&p->peer);
	*peer = (struct puncher_peer){ .id = *id, .due_ns = CLOCK_NEVER };
	return peer;
}

static void
puncher_make_cookie(struct puncher *p, struct punch_cookie *out)
{
	draw_next(&p->draw, out->b, PUNCH_COOKIE_LEN);
}

static struct puncher_act *
puncher_add(struct puncher *p, enum puncher_act_kind kind,
    const struct devid *id)
{
	struct puncher_act *act = VEC_ADD(&p->queue);

	memset(act, 0, sizeof(*act));
	act->kind = kind;
	act->id = *id;
	return act;
}

/* --- when ------------------------------------------------------------- */

static uint64_t
puncher_jitter(struct puncher *p, uint64_t base_ns)
{
	return base_ns - base_ns / 4 + rng_below(&p->rng, base_ns / 2 + 1);
}

/* A call is due soon, if there is to be one at all. */
static void
puncher_soon(struct puncher *p, struct puncher_peer *peer, uint64_t now_ns)
{
	peer->failures = 0;
	peer->due_ns = CLOCK_NEVER;
	if (!peer->wanted || !peer->here)
		return;
	peer->due_ns = now_ns + PUNCHER_SOON_NS;
	if (devid_cmp(&p->own, &peer->id) > 0)
		peer->due_ns += PUNCHER_YIELD_NS;
}

/* As things are, can another try bring anything? */
static bool
puncher_is_vain(enum punch_end end)
{
	return end == PUNCH_UDP_BLOCKED || end == PUNCH_UDP_BLOCKED_THERE ||
	       end == PUNCH_HARD_BOTH;
}

static void
puncher_back_off(struct puncher *p, struct puncher_peer *peer, uint64_t now_ns)
{
	uint64_t pause_s =
	    puncher_is_vain(peer->end) ? PUNCHER_PAUSE_VAIN_S : PUNCHER_PAUSE_S;

	for (unsigned i = 0; i < peer->failures; i++)
		if (pause_s < PUNCHER_PAUSE_MAX_S)
			pause_s *= 2;
	if (pause_s > PUNCHER_PAUSE_MAX_S)
		pause_s = PUNCHER_PAUSE_MAX_S;
	else
		peer->failures++;
	peer->due_ns = peer->wanted && peer->here
			   ? now_ns + puncher_jitter(p, pause_s * CLOCK_S)
			   : CLOCK_NEVER;
}

static void
puncher_end_attempt(struct puncher *p, struct puncher_peer *peer,
    enum punch_end end)
{
	if (peer->state == PUNCHER_RUNNING) {
		p->slot[peer->slot] = false;
		punch_free(peer->punch);
		peer->punch = NULL;
	}
	peer->state = PUNCHER_IDLE;
	peer->end = end;
}

/* It is not wanted any more, or something better came. */
static void
puncher_drop(struct puncher *p, struct puncher_peer *peer, enum punch_end end)
{
	struct puncher_act *act;

	if (peer->state == PUNCHER_RUNNING) {
		act = puncher_add(p, PUNCHER_DO_PUNCH, &peer->id);
		act->slot = peer->slot;
		act->punch.kind = PUNCH_DO_END;
		act->punch.end = end;
	}
	if (peer->state != PUNCHER_IDLE)
		puncher_end_attempt(p, peer, end);
}

/* --- what is known ---------------------------------------------------- */

static bool
puncher_side_differs(const struct punch_side *a, const struct punch_side *b)
{
	if (a->mapping != b->mapping || a->no_udp != b->no_udp ||
	    a->count != b->count)
		return true;
	for (size_t i = 0; i < a->count; i++)
		if (!addr_equal(&a->candidate[i].addr, &b->candidate[i].addr))
			return true;
	return false;
}

void
puncher_set_side(struct puncher *p, const struct punch_side *side,
    uint64_t now_ns)
{
	const bool differs =
	    !p->has_side || puncher_side_differs(&p->side, side);

	p->side = *side;
	p->side_ns = now_ns;
	p->has_side = true;
	p->asked = false;
	for (size_t i = 0; i < p->peer.len; i++) {
		struct puncher_peer *peer = &p->peer.item[i];

		if (peer->state == PUNCHER_ASKED_FOR)
			peer->sure_ns = now_ns;
		else if (differs && peer->state == PUNCHER_IDLE)
			puncher_soon(p, peer, now_ns);
	}
}

void
puncher_want(struct puncher *p, const struct devid *id, size_t count,
    uint64_t now_ns)
{
	VEC(bool) was = { 0 };

	for (size_t i = 0; i < count; i++)
		(void)puncher_make(p, &id[i]);
	for (size_t i = 0; i < p->peer.len; i++) {
		*VEC_ADD(&was) = p->peer.item[i].wanted;
		p->peer.item[i].wanted = false;
	}
	for (size_t i = 0; i < count; i++)
		if (puncher_find(p, &id[i]) != NULL)
			puncher_find(p, &id[i])->wanted = true;
	for (size_t i = 0; i < p->peer.len; i++) {
		struct puncher_peer *peer = &p->peer.item[i];

		if (peer->wanted && !was.item[i] && peer->state == PUNCHER_IDLE)
			puncher_soon(p, peer, now_ns);
		if (peer->wanted || !was.item[i])
			continue;
		/* Connected, most likely: what we opened, or another way. */
		p->count[PUNCH_RUNS] += peer->state == PUNCHER_RUNNING;
		puncher_drop(p, peer, PUNCH_RUNS);
		peer->due_ns = CLOCK_NEVER;
		peer->end = PUNCH_RUNS;
		peer->failures = 0;
	}
	VEC_FINI(&was);
}

void
puncher_set_here(struct puncher *p, const struct devid *id, bool here,
    uint64_t now_ns)
{
	struct puncher_peer *peer = puncher_make(p, id);

	if (peer == NULL || peer->here == here)
		return;
	peer->here = here;
	if (peer->state == PUNCHER_IDLE)
		puncher_soon(p, peer, now_ns);
}

static void
puncher_now(struct puncher *p, struct puncher_peer *peer, uint64_t now_ns)
{
	puncher_soon(p, peer, now_ns);
	if (peer->due_ns != CLOCK_NEVER)
		peer->due_ns = now_ns;
}

void
puncher_hurry(struct puncher *p, const struct devid *id, uint64_t now_ns)
{
	struct puncher_peer *peer = puncher_find(p, id);

	if (peer != NULL && peer->state == PUNCHER_IDLE)
		puncher_now(p, peer, now_ns);
}

void
puncher_refresh(struct puncher *p, uint64_t now_ns)
{
	for (size_t i = 0; i < p->peer.len; i++) {
		struct puncher_peer *peer = &p->peer.item[i];

		if (peer->state == PUNCHER_IDLE)
			puncher_now(p, peer, now_ns);
	}
}

/* --- calling and being called ----------------------------------------- */

static void
puncher_signal(struct puncher *p, const struct devid *to, enum punch_word word,
    const struct punch_cookie *cookie)
{
	struct puncher_act *act = puncher_add(p, PUNCHER_DO_SIGNAL, to);

	act->signal.word = word;
	act->signal.cookie = *cookie;
	if (word != PUNCH_REFUSE)
		act->signal.side = p->side;
}

/* An attempt is to begin, when we know where we are. */
static void
puncher_ask_for(struct puncher *p, struct puncher_peer *peer,
    const struct punch_signal *call, uint64_t now_ns)
{
	const bool fresh =
	    p->has_side && now_ns - p->side_ns < PUNCHER_FRESH_NS;

	peer->state = PUNCHER_ASKED_FOR;
	peer->is_called = call != NULL;
	if (call != NULL)
		peer->call = *call;
	peer->sure_ns = fresh ? now_ns : now_ns + PUNCHER_SURE_NS;
	if (fresh || p->asked)
		return;
	p->asked = true;
	puncher_add(p, PUNCHER_DO_REFRESH, &peer->id);
}

static bool
puncher_take_slot(struct puncher *p, unsigned *out)
{
	for (unsigned i = 0; i < PUNCHER_ATTEMPTS; i++) {
		if (p->slot[i])
			continue;
		p->slot[i] = true;
		*out = i;
		return true;
	}
	return false;
}

static void
puncher_start(struct puncher *p, struct puncher_peer *peer, uint64_t now_ns)
{
	struct punch_cookie cookie = peer->call.cookie;

	p->asked = false;
	if (!puncher_take_slot(p, &peer->slot)) {
		if (peer->is_called)
			puncher_signal(p, &peer->id, PUNCH_REFUSE, &cookie);
		peer->state = PUNCHER_IDLE;
		peer->due_ns = now_ns + PUNCHER_SOON_NS;
		return;
	}
	if (!peer->is_called)
		puncher_make_cookie(p, &cookie);
	peer->state = PUNCHER_RUNNING;
	peer->began_ns = now_ns;
	peer->punch = punch_new(peer->is_called ? PUNCH_CALLED : PUNCH_CALLER,
	    &cookie, &p->side, rng_u64(&p->rng), now_ns);
	puncher_signal(p, &peer->id,
	    peer->is_called ? PUNCH_ANSWER : PUNCH_CALL, &cookie);
	if (peer->is_called)
		punch_begin(peer->punch, &peer->call.side, now_ns);
}

/* Both called: whose call counts? */
static bool
puncher_yields(const struct puncher *p, const struct puncher_peer *peer,
    uint64_t now_ns)
{
	if (peer->state == PUNCHER_IDLE)
		return true;
	if (peer->state == PUNCHER_ASKED_FOR)
		return !peer->is_called;
	if (punch_role(peer->punch) == PUNCH_CALLER &&
	    !punch_has_begun(peer->punch))
		return devid_cmp(&p->own, &peer->id) > 0;
	return now_ns - peer->began_ns >= PUNCHER_STALE_NS;
}

static void
puncher_take_call(struct puncher *p, struct puncher_peer *peer,
    const struct punch_signal *signal, uint64_t now_ns)
{
	if (!peer->wanted) {
		puncher_signal(p, &peer->id, PUNCH_REFUSE, &signal->cookie);
		return;
	}
	if (!puncher_yields(p, peer, now_ns))
		return;
	if (peer->called_ns != 0 &&
	    now_ns - peer->called_ns < PUNCHER_CALL_NS) {
		puncher_signal(p, &peer->id, PUNCH_REFUSE, &signal->cookie);
		return;
	}
	peer->called_ns = now_ns;
	puncher_drop(p, peer, PUNCH_REFUSED);
	puncher_ask_for(p, peer, signal, now_ns);
}

void
puncher_take_signal(struct puncher *p, const struct devid *from,
    const struct punch_signal *signal, uint64_t now_ns)
{
	struct puncher_peer *peer = puncher_find(p, from);

	/* Nobody we ever heard of: not a word. */
	if (peer == NULL)
		return;
	if (signal->word == PUNCH_CALL) {
		puncher_take_call(p, peer, signal, now_ns);
		return;
	}
	if (peer->state != PUNCHER_RUNNING ||
	    punch_role(peer->punch) != PUNCH_CALLER ||
	    memcmp(punch_cookie(peer->punch), &signal->cookie,
		sizeof(signal->cookie)) != 0)
		return;
	if (signal->word == PUNCH_ANSWER)
		punch_begin(peer->punch, &signal->side, now_ns);
	else
		punch_refused(peer->punch);
}

bool
puncher_take(struct puncher *p, unsigned slot, unsigned socket,
    struct slice datagram, const struct addr *from, uint64_t now_ns)
{
	for (size_t i = 0; i < p->peer.len; i++) {
		struct puncher_peer *peer = &p->peer.item[i];

		if (peer->state != PUNCHER_RUNNING ||
		    (socket != 0 && peer->slot != slot))
			continue;
		if (punch_take(peer->punch, socket, datagram, from, now_ns))
			return true;
	}
	return false;
}

/* --- turns ------------------------------------------------------------ */

static void
puncher_tick(struct puncher *p, struct puncher_peer *peer, uint64_t now_ns)
{
	struct puncher_act *act;
	struct punch_act punch;

	if (peer->state == PUNCHER_IDLE && peer->due_ns <= now_ns) {
		peer->due_ns = CLOCK_NEVER;
		puncher_ask_for(p, peer, NULL, now_ns);
	}
	if (peer->state == PUNCHER_ASKED_FOR && peer->sure_ns <= now_ns)
		puncher_start(p, peer, now_ns);
	while (peer->state == PUNCHER_RUNNING &&
	       punch_next(peer->punch, now_ns, &punch)) {
		act = puncher_add(p, PUNCHER_DO_PUNCH, &peer->id);
		act->slot = peer->slot;
		act->punch = punch;
		if (punch.kind != PUNCH_DO_END)
			continue;
		puncher_end_attempt(p, peer, punch.end);
		p->count[punch.end]++;
		puncher_back_off(p, peer, now_ns);
	}
}

static uint64_t
puncher_peer_at(const struct puncher_peer *peer)
{
	switch (peer->state) {
	case PUNCHER_IDLE:
		return peer->due_ns;
	case PUNCHER_ASKED_FOR:
		return peer->sure_ns;
	case PUNCHER_RUNNING:
		break;
	}
	return punch_wake_at(peer->punch);
}

bool
puncher_next(struct puncher *p, uint64_t now_ns, struct puncher_act *out)
{
	if (p->queue_at == p->queue.len) {
		VEC_CLEAR(&p->queue);
		p->queue_at = 0;
		for (size_t i = 0; i < p->peer.len; i++)
			if (puncher_peer_at(&p->peer.item[i]) <= now_ns)
				puncher_tick(p, &p->peer.item[i], now_ns);
	}
	if (p->queue_at == p->queue.len)
		return false;
	*out = p->queue.item[p->queue_at++];
	return true;
}

uint64_t
puncher_wake_at(const struct puncher *p)
{
	uint64_t at = CLOCK_NEVER;

	if (p->queue_at < p->queue.len)
		return 0;
	for (size_t i = 0; i < p->peer.len; i++)
		if (puncher_peer_at(&p->peer.item[i]) < at)
			at = puncher_peer_at(&p->peer.item[i]);
	return at;
}

enum punch_end
puncher_end(const struct puncher *p, const struct devid *id, uint64_t *next_ns)
{
	const struct puncher_peer *peer = puncher_find(p, id);

	if (next_ns != NULL)
		*next_ns = peer != NULL && peer->state == PUNCHER_IDLE
			       ? peer->due_ns
			       : CLOCK_NEVER;
	return peer != NULL ? peer->end : PUNCH_RUNS;
}

uint64_t
puncher_count(const struct puncher *p, enum punch_end end)
{
	return p->count[end];
}
