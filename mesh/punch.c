/*
 * One attempt; see punch.h.
 *
 *	WAITING -> PLAIN -> (OPENING or GUESSING) -> OVER
 *
 * All that is due at a tick is put into a queue that punch_next() empties.
 */
#include "mesh/punch.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"

#define PUNCH_WAIT_NS (5 * CLOCK_S) /* for the answer to a call */
#define PUNCH_TICK_NS (100 * CLOCK_MS)
#define PUNCH_PLAIN_NS (4 * CLOCK_S)    /* nobody is hard */
#define PUNCH_PLAIN_HARD_NS CLOCK_S     /* somebody is */
#define PUNCH_HARD_NS (12 * CLOCK_S)    /* opening and guessing */
#define PUNCH_LINGER_NS (5 * CLOCK_S)   /* for the caller to dial */
#define PUNCH_SHORT_NS (150 * CLOCK_MS) /* first probes get not far */
#define PUNCH_GUESSES_TICK 20u          /* ports, in one tick */
#define PUNCH_SOCKETS_TICK 32u          /* sockets that speak in one tick */
#define PUNCH_AGAIN_NS (5 * CLOCK_S)    /* every socket, once more */
#define PUNCH_PORT_MIN 1024u
#define PUNCH_PORTS (65536u - PUNCH_PORT_MIN)
#define PUNCH_PROMOTIONS 4u /* sockets that become QUIC's, at most */
#define PUNCH_FOUND_MAX 8u  /* addresses that showed themselves */

enum punch_state {
	PUNCH_WAITING,
	PUNCH_PLAIN,
	PUNCH_OPENING, /* many sockets, each with a port out there */
	PUNCH_GUESSING,
	PUNCH_OVER,
};

/* Where a probe came from that nobody had told of. */
struct punch_found {
	unsigned socket;
	struct addr addr;
};

struct punch {
	enum punch_role role;
	struct punch_cookie cookie;
	struct punch_side own, peer;
	enum punch_state state;
	uint64_t since_ns; /* of the state */
	uint64_t began_ns; /* of probing */
	uint64_t tick_ns;
	struct rng rng;
	VEC(struct punch_act) queue;
	size_t queue_at;
	struct punch_found found[PUNCH_FOUND_MAX];
	size_t found_count;
	bool promoted[PUNCH_SOCKETS + 1];
	unsigned promotions;
	bool reached; /* the peer's probes reach us */
	bool dialled;
	uint16_t number;
	unsigned guesses, spoken; /* ports guessed; sockets that spoke */
	uint8_t guessed[65536 / 8];
};

struct punch *
punch_new(enum punch_role role, const struct punch_cookie *cookie,
    const struct punch_side *own, uint64_t seed, uint64_t now_ns)
{
	struct punch *p = mem_zalloc(sizeof(*p));

	p->role = role;
	p->cookie = *cookie;
	p->own = *own;
	p->since_ns = now_ns;
	rng_init(&p->rng, seed);
	return p;
}

void
punch_free(struct punch *p)
{
	if (p == NULL)
		return;
	VEC_FINI(&p->queue);
	mem_free(p);
}

const struct punch_cookie *
punch_cookie(const struct punch *p)
{
	return &p->cookie;
}

enum punch_role
punch_role(const struct punch *p)
{
	return p->role;
}

bool
punch_has_begun(const struct punch *p)
{
	return p->state != PUNCH_WAITING;
}

static bool
punch_own_is_hard(const struct punch *p)
{
	return natcheck_is_hard(p->own.mapping);
}

static bool
punch_peer_is_hard(const struct punch *p)
{
	return natcheck_is_hard(p->peer.mapping);
}

bool
punch_opens_sockets(const struct punch *p)
{
	return punch_own_is_hard(p) && !punch_peer_is_hard(p);
}

/* --- what is to be done ----------------------------------------------- */

static struct punch_act *
punch_add(struct punch *p, enum punch_act_kind kind)
{
	struct punch_act *act = VEC_ADD(&p->queue);

	memset(act, 0, sizeof(*act));
	act->kind = kind;
	return act;
}

static void
punch_send(struct punch *p, unsigned socket, const struct addr *to, int hops,
    bool reply)
{
	const struct punch_probe probe = { .reply = reply,
		.role = p->role,
		.number = p->number++ };
	struct punch_act *act = punch_add(p, PUNCH_DO_SEND);

	act->socket = socket;
	act->to = *to;
	act->hops = hops;
	punch_probe_encode(&probe, &p->cookie, act->datagram);
}

static void
punch_over(struct punch *p, enum punch_end end)
{
	if (p->state == PUNCH_OVER)
		return;
	p->state = PUNCH_OVER;
	punch_add(p, PUNCH_DO_END)->end = end;
}

static void
punch_promote(struct punch *p, unsigned socket)
{
	if (socket == 0 || p->promoted[socket] ||
	    p->promotions == PUNCH_PROMOTIONS)
		return;
	p->promoted[socket] = true;
	p->promotions++;
	punch_add(p, PUNCH_DO_PROMOTE)->socket = socket;
}

/* --- beginning -------------------------------------------------------- */

/* What makes it hopeless, as far as is known; PUNCH_RUNS: nothing. */
static enum punch_end
punch_foresee(const struct punch *p)
{
	/* A silent server is not quite a proof: it is tried, but shortly. */
	if (p->own.no_udp)
		return PUNCH_UDP_BLOCKED;
	if (p->peer.no_udp)
		return PUNCH_UDP_BLOCKED_THERE;
	if (punch_own_is_hard(p) && punch_peer_is_hard(p))
		return PUNCH_HARD_BOTH;
	return PUNCH_RUNS;
}

void
punch_begin(struct punch *p, const struct punch_side *peer, uint64_t now_ns)
{
	if (p->state != PUNCH_WAITING)
		return;
	p->peer = *peer;
	p->state = PUNCH_PLAIN;
	p->since_ns = p->began_ns = p->tick_ns = now_ns;
}

void
punch_refused(struct punch *p)
{
	if (p->state == PUNCH_WAITING)
		punch_over(p, PUNCH_REFUSED);
}

/* --- ticks ------------------------------------------------------------ */

static void
punch_tick_plain(struct punch *p, uint64_t now_ns)
{
	/* What opens our own router is not to reach the other's. */
	const int hops =
	    p->role == PUNCH_CALLED && now_ns - p->began_ns < PUNCH_SHORT_NS
		? PUNCH_HOPS
		: 0;

	for (size_t i = 0; i < p->peer.count; i++) {
		const struct addr *to = &p->peer.candidate[i].addr;

		punch_send(p, 0, to, addr_is_lan(to) ? 0 : hops, false);
	}
	for (size_t i = 0; i < p->found_count; i++)
		punch_send(p, p->found[i].socket, &p->found[i].addr, 0, false);
}

/* The addresses at which a peer's router can be met. */
static bool
punch_is_outside(const struct punch_candidate *c)
{
	return c->addr.host == ADDR_IP4 && c->kind != PUNCH_HOST;
}

static void
punch_tick_opening(struct punch *p, uint64_t now_ns)
{
	const uint64_t passed_ns = now_ns - p->since_ns;
	/* Twice at the beginning, and each few seconds. */
	const uint64_t want = PUNCH_SOCKETS * (2 + passed_ns / PUNCH_AGAIN_NS);

	for (unsigned n = 0; n < PUNCH_SOCKETS_TICK && p->spoken < want; n++) {
		const unsigned socket = 1 + p->spoken++ % PUNCH_SOCKETS;

		for (size_t i = 0; i < p->peer.count; i++)
			if (punch_is_outside(&p->peer.candidate[i]))
				punch_send(p, socket,
				    &p->peer.candidate[i].addr, 0, false);
	}
}

/* A port that was not guessed before. */
static uint16_t
punch_guess(struct punch *p)
{
	uint32_t port;

	ASSERT(p->guesses < PUNCH_PORTS);
	do
		port =
		    PUNCH_PORT_MIN + (uint32_t)rng_below(&p->rng, PUNCH_PORTS);
	while ((p->guessed[port / 8] & 1u << port % 8) != 0);
	p->guessed[port / 8] |= (uint8_t)(1u << port % 8);
	p->guesses++;
	return (uint16_t)port;
}

static void
punch_tick_guessing(struct punch *p)
{
	const struct punch_candidate *at = NULL;
	struct addr to;

	/* One of its outer addresses: they differ by the port, if at all. */
	for (size_t i = 0; i < p->peer.count && at == NULL; i++)
		if (punch_is_outside(&p->peer.candidate[i]))
			at = &p->peer.candidate[i];
	for (unsigned n = 0;
	     at != NULL && n < PUNCH_GUESSES_TICK && p->guesses < PUNCH_GUESSES;
	     n++) {
		to = at->addr;
		to.port = punch_guess(p);
		punch_send(p, 0, &to, 0, false);
	}
}

/* The plain way led nowhere: what else is there? */
static void
punch_after_plain(struct punch *p, uint64_t now_ns)
{
	const enum punch_end end = punch_foresee(p);

	p->since_ns = now_ns;
	if (p->reached || p->dialled) {
		/* It worked, and yet nothing came of it. */
		punch_over(p, PUNCH_NO_ANSWER);
	} else if (end != PUNCH_RUNS) {
		punch_over(p, end);
	} else if (punch_own_is_hard(p)) {
		p->state = PUNCH_OPENING;
		punch_add(p, PUNCH_DO_OPEN)->count = PUNCH_SOCKETS;
	} else if (punch_peer_is_hard(p)) {
		p->state = PUNCH_GUESSING;
	} else {
		punch_over(p, PUNCH_NO_ANSWER);
	}
}

static uint64_t
punch_plain_ns(const struct punch *p)
{
	const bool doubtful = punch_foresee(p) != PUNCH_RUNS ||
			      punch_own_is_hard(p) || punch_peer_is_hard(p);

	return doubtful ? PUNCH_PLAIN_HARD_NS : PUNCH_PLAIN_NS;
}

/* The called, once reached, waits for the caller; the caller for QUIC. */
static uint64_t
punch_ends_at(const struct punch *p)
{
	const uint64_t more = p->reached ? PUNCH_LINGER_NS : 0;

	switch (p->state) {
	case PUNCH_WAITING:
		return p->since_ns + PUNCH_WAIT_NS;
	case PUNCH_PLAIN:
		return p->since_ns + more + punch_plain_ns(p);
	case PUNCH_OPENING:
	case PUNCH_GUESSING:
		return p->since_ns + more + PUNCH_HARD_NS;
	case PUNCH_OVER:
		break;
	}
	return CLOCK_NEVER;
}

static void
punch_end_state(struct punch *p, uint64_t now_ns)
{
	switch (p->state) {
	case PUNCH_WAITING:
		punch_over(p, PUNCH_SILENT);
		break;
	case PUNCH_PLAIN:
		punch_after_plain(p, now_ns);
		break;
	case PUNCH_OPENING:
	case PUNCH_GUESSING:
		punch_over(p, PUNCH_HARD_ONE);
		break;
	case PUNCH_OVER:
		break;
	}
}

static void
punch_tick(struct punch *p, uint64_t now_ns)
{
	if (punch_ends_at(p) <= now_ns)
		punch_end_state(p, now_ns);
	if (p->state == PUNCH_WAITING || p->state == PUNCH_OVER ||
	    p->tick_ns > now_ns)
		return;
	p->tick_ns = now_ns + PUNCH_TICK_NS;
	/* Found: nothing more is sought, but what is open stays so. */
	if (!p->dialled)
		punch_tick_plain(p, now_ns);
	if (p->reached || p->dialled)
		return;
	if (p->state == PUNCH_OPENING)
		punch_tick_opening(p, now_ns);
	else if (p->state == PUNCH_GUESSING)
		punch_tick_guessing(p);
}

uint64_t
punch_wake_at(const struct punch *p)
{
	uint64_t at = punch_ends_at(p);

	if (p->queue_at < p->queue.len)
		return 0;
	if (p->state != PUNCH_WAITING && p->state != PUNCH_OVER &&
	    p->tick_ns < at)
		at = p->tick_ns;
	return at;
}

bool
punch_next(struct punch *p, uint64_t now_ns, struct punch_act *out)
{
	if (p->queue_at == p->queue.len) {
		VEC_CLEAR(&p->queue);
		p->queue_at = 0;
		punch_tick(p, now_ns);
	}
	if (p->queue_at == p->queue.len)
		return false;
	*out = p->queue.item[p->queue_at++];
	return true;
}

/* --- what comes ------------------------------------------------------- */

static bool
punch_knows(const struct punch *p, unsigned socket, const struct addr *from)
{
	for (size_t i = 0; socket == 0 && i < p->peer.count; i++)
		if (addr_equal(&p->peer.candidate[i].addr, from))
			return true;
	for (size_t i = 0; i < p->found_count; i++)
		if (p->found[i].socket == socket &&
		    addr_equal(&p->found[i].addr, from))
			return true;
	return false;
}

static void
punch_take_probe(struct punch *p, unsigned socket, const struct addr *from)
{
	if (!punch_knows(p, socket, from) && p->found_count < PUNCH_FOUND_MAX)
		p->found[p->found_count++] =
		    (struct punch_found){ .socket = socket, .addr = *from };
	/* The caller may dial as soon as it has our reply. */
	punch_promote(p, socket);
	punch_send(p, socket, from, 0, true);
	if (!p->reached)
		/* At once, not with the next tick: it is open now. */
		punch_send(p, socket, from, 0, false);
	p->reached = true;
}

/* It works both ways; who called dials. */
static void
punch_take_reply(struct punch *p, unsigned socket, const struct addr *from)
{
	struct punch_act *act;

	p->reached = true;
	if (p->role != PUNCH_CALLER || p->dialled)
		return;
	p->dialled = true;
	punch_promote(p, socket);
	if (socket != 0 && !p->promoted[socket])
		return; /* nobody's fault: four others came first */
	act = punch_add(p, PUNCH_DO_DIAL);
	act->socket = socket;
	act->to = *from;
}

bool
punch_take(struct punch *p, unsigned socket, struct slice datagram,
    const struct addr *from, uint64_t now_ns)
{
	struct punch_probe probe;

	(void)now_ns;
	ASSERT(socket <= PUNCH_SOCKETS);
	if (!punch_probe_decode(&probe, datagram, &p->cookie) ||
	    probe.role == p->role)
		return false;
	/* Before the answer nothing is known of the peer; it will probe again.
	 */
	if (p->state == PUNCH_WAITING || p->state == PUNCH_OVER)
		return true;
	if (probe.reply)
		punch_take_reply(p, socket, from);
	else
		punch_take_probe(p, socket, from);
	return true;
}

const char *
punch_end_text(enum punch_end end)
{
	switch (end) {
	case PUNCH_RUNS:
		return "running";
	case PUNCH_SILENT:
		return "no-signal";
	case PUNCH_REFUSED:
		return "refused";
	case PUNCH_UDP_BLOCKED:
		return "udp-blocked";
	case PUNCH_UDP_BLOCKED_THERE:
		return "udp-blocked-there";
	case PUNCH_HARD_BOTH:
		return "hard-nat-both";
	case PUNCH_HARD_ONE:
		return "hard-nat";
	case PUNCH_NO_ANSWER:
		break;
	}
	return "no-answer";
}
