/*
 * The life of a mapping; see natlife.h.
 */
#include "mesh/natlife.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "mesh/stun.h"

/*
 * Routers remember for longer what looks like a conversation: Linux does from
 * two seconds on.  So would a connection in use.
 */
#define NATLIFE_MARKS 3u
#define NATLIFE_MARK_NS (1200 * CLOCK_MS)
#define NATLIFE_ASKS 3u
#define NATLIFE_ASK_NS CLOCK_S
#define NATLIFE_SPARE_NS (5 * CLOCK_S)
#define NATLIFE_SAY_MIN_NS (5 * CLOCK_S)
/* QUIC ends what is silent for 30 s; and a second may be lost on the way. */
#define NATLIFE_SAY_MAX_NS (23 * CLOCK_S)

enum natlife_state {
	NATLIFE_OVER,
	NATLIFE_MARKING,
	NATLIFE_WAITING,
	NATLIFE_ASKING,
};

struct natlife {
	struct draw draw; /* of IDs */
	enum natlife_state state;
	struct addr server;
	struct stun_id id; /* of the question that is out */
	unsigned tries;    /* put so far */
	uint64_t first_ns; /* of this question, or when it is to be put */
	unsigned marks;    /* answered */
	uint64_t marked_ns;
	uint16_t port;    /* of the quiet one's mapping */
	uint64_t wait_ns; /* the while that is tried now */
	bool proven;      /* it works without a while */
	struct natlife_result found, result;
};

struct natlife *
natlife_new(const uint8_t key[DRAW_KEY_LEN])
{
	struct natlife *n = mem_zalloc(sizeof(*n));

	draw_init(&n->draw, key);
	return n;
}

void
natlife_free(struct natlife *n)
{
	mem_free(n);
}

/* --- the search ------------------------------------------------------- */

static void
natlife_ask(struct natlife *n, enum natlife_state state, uint64_t at_ns)
{
	draw_next(&n->draw, n->id.b, STUN_ID_LEN);
	n->state = state;
	n->tries = 0;
	n->first_ns = at_ns;
}

static void
natlife_mark(struct natlife *n, uint64_t now_ns)
{
	n->marks = 0;
	natlife_ask(n, NATLIFE_MARKING, now_ns);
}

void
natlife_begin(struct natlife *n, const struct addr *server, uint64_t now_ns)
{
	n->server = *server;
	n->wait_ns = 0;
	n->proven = false;
	n->found = n->result = (struct natlife_result){ 0 };
	natlife_mark(n, now_ns);
}

void
natlife_stop(struct natlife *n)
{
	n->state = NATLIFE_OVER;
	n->result = (struct natlife_result){ 0 };
}

bool
natlife_runs(const struct natlife *n)
{
	return n->state != NATLIFE_OVER;
}

/* Longer while nothing was forgotten, then halfway; 0: it is found. */
static uint64_t
natlife_next_wait(const struct natlife_result *r)
{
	uint64_t next;

	if (r->forgotten_ns == 0) {
		next = r->kept_ns == 0 ? NATLIFE_FIRST_NS : 2 * r->kept_ns;
		if (next > NATLIFE_MAX_NS)
			next = NATLIFE_MAX_NS;
		return r->kept_ns < NATLIFE_MAX_NS ? next : 0;
	}
	if (r->forgotten_ns - r->kept_ns <= NATLIFE_GRAIN_NS)
		return 0;
	return r->kept_ns + (r->forgotten_ns - r->kept_ns) / 2;
}

/* The while is over, and so long: was it remembered? */
static void
natlife_judge(struct natlife *n, bool came, uint64_t now_ns)
{
	n->state = NATLIFE_OVER;
	if (!n->proven) {
		if (!came)
			return;
		n->proven = true;
	} else if (came) {
		n->found.kept_ns = n->wait_ns;
	} else {
		n->found.forgotten_ns = n->wait_ns;
	}
	n->wait_ns = natlife_next_wait(&n->found);
	if (n->wait_ns == 0) {
		n->found.known = true;
		n->result = n->found;
		return;
	}
	natlife_mark(n, now_ns);
}

/* --- datagrams -------------------------------------------------------- */

uint64_t
natlife_wake_at(const struct natlife *n)
{
	switch (n->state) {
	case NATLIFE_OVER:
		return CLOCK_NEVER;
	case NATLIFE_MARKING:
		return n->first_ns + stun_retry_ns(n->tries);
	case NATLIFE_WAITING:
		return n->marked_ns + n->wait_ns;
	case NATLIFE_ASKING:
		return n->first_ns + n->tries * NATLIFE_ASK_NS;
	}
	return CLOCK_NEVER;
}

static void
natlife_write(const struct natlife *n, struct natlife_send *out)
{
	const bool quiet = n->state == NATLIFE_MARKING;
	const struct stun_message m = { .class = STUN_REQUEST,
		.method = STUN_BINDING,
		.id = n->id,
		.response_port = quiet ? 0 : n->port };

	*out = (struct natlife_send){ .quiet = quiet, .to = n->server };
	out->to.scheme = ADDR_QUIC;
	stun_encode(&m, &out->datagram);
}

bool
natlife_next(struct natlife *n, uint64_t now_ns, struct natlife_send *out)
{
	while (natlife_wake_at(n) <= now_ns) {
		if (n->state == NATLIFE_WAITING) {
			natlife_ask(n, NATLIFE_ASKING, now_ns);
		} else if (n->state == NATLIFE_MARKING &&
			   n->tries == STUN_TRIES) {
			n->state = NATLIFE_OVER; /* nobody is there now */
		} else if (n->state == NATLIFE_ASKING &&
			   n->tries == NATLIFE_ASKS) {
			natlife_judge(n, false, now_ns);
		} else {
			n->tries++;
			natlife_write(n, out);
			return true;
		}
	}
	return false;
}

static void
natlife_marked(struct natlife *n, const struct stun_message *m, uint64_t now_ns)
{
	/* Another mapping: the conversation begins again. */
	if (n->marks > 0 && m->mapped.port != n->port)
		n->marks = 0;
	n->port = m->mapped.port;
	n->marks++;
	n->marked_ns = now_ns;
	if (n->marks < NATLIFE_MARKS)
		natlife_ask(n, NATLIFE_MARKING, now_ns + NATLIFE_MARK_NS);
	else
		n->state = NATLIFE_WAITING;
}

bool
natlife_take(struct natlife *n, bool quiet, struct slice datagram,
    const struct addr *from, uint64_t now_ns)
{
	struct stun_message m;

	if ((n->state != NATLIFE_MARKING && n->state != NATLIFE_ASKING) ||
	    n->tries == 0 || stun_decode(&m, datagram, NULL) < 0 ||
	    m.method != STUN_BINDING ||
	    (m.class != STUN_SUCCESS && m.class != STUN_ERROR) ||
	    memcmp(&m.id, &n->id, sizeof(m.id)) != 0 ||
	    from->host != n->server.host || from->port != n->server.port ||
	    memcmp(from->ip, n->server.ip, sizeof(from->ip)) != 0)
		return false;
	if (m.class == STUN_ERROR || !m.has_mapped || m.unknown_count > 0 ||
	    m.mapped.port == 0) {
		n->state = NATLIFE_OVER; /* it does not do that */
		return true;
	}
	if (n->state == NATLIFE_MARKING)
		natlife_marked(n, &m, now_ns);
	else
		/* To the one that asked: the port was not looked at. */
		natlife_judge(n, quiet, now_ns);
	return true;
}

/* --- telling ---------------------------------------------------------- */

const struct natlife_result *
natlife_result(const struct natlife *n)
{
	return &n->result;
}

uint64_t
natlife_say_ns(const struct natlife_result *r, uint64_t unknown_ns)
{
	if (!r->known)
		return unknown_ns;
	if (r->kept_ns < NATLIFE_SAY_MIN_NS + NATLIFE_SPARE_NS)
		return NATLIFE_SAY_MIN_NS;
	if (r->kept_ns > NATLIFE_SAY_MAX_NS + NATLIFE_SPARE_NS)
		return NATLIFE_SAY_MAX_NS;
	return r->kept_ns - NATLIFE_SPARE_NS;
}
