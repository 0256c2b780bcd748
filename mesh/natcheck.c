/*
 * The NAT check; see natcheck.h.
 *
 * One question a target: the same ID each time it is put, so that a late
 * answer counts.  A check is over when every target has answered or was asked
 * often enough.
 */
#include "mesh/natcheck.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "mesh/stun.h"

#define NATCHECK_HAIRPIN_TRIES 3u
#define NATCHECK_ENOUGH_NS (1500 * CLOCK_MS)

struct natcheck_target {
	struct addr addr;
	struct stun_id id;
	bool asking;       /* a question is out */
	unsigned tries;    /* put so far */
	uint64_t first_ns; /* of this question */
	uint64_t last_ns;
	bool answered;
	uint64_t rtt_ns;
	struct addr mapped;
};

/* Our own datagram on its way around the router. */
struct natcheck_loop {
	bool asking;
	struct stun_id id;
	unsigned tries;
	uint64_t first_ns;
};

struct natcheck {
	struct draw draw; /* of IDs */
	struct natcheck_server server[NATCHECK_TARGETS];
	size_t server_count;
	struct addr local[NATCHECK_LOCALS];
	size_t local_count;
	struct natcheck_target target[NATCHECK_TARGETS];
	size_t target_count;
	bool checking, refreshing;
	uint64_t began_ns; /* the check, or the refresh */
	struct natcheck_loop loop[2];
	struct natcheck_result result[2]; /* IPv4, IPv6 */
	uint64_t changes, rounds;
};

struct natcheck *
natcheck_new(const uint8_t key[DRAW_KEY_LEN])
{
	struct natcheck *n = mem_zalloc(sizeof(*n));

	draw_init(&n->draw, key);
	return n;
}

void
natcheck_free(struct natcheck *n)
{
	mem_free(n);
}

static void
natcheck_make_id(struct natcheck *n, struct stun_id *out)
{
	draw_next(&n->draw, out->b, STUN_ID_LEN);
}

static bool
natcheck_same_host(const struct addr *a, const struct addr *b)
{
	return a->host == b->host &&
	       memcmp(a->ip, b->ip, a->host == ADDR_IP6 ? 16 : 4) == 0;
}

static bool
natcheck_same(const struct addr *a, const struct addr *b)
{
	return natcheck_same_host(a, b) && a->port == b->port;
}

static bool
natcheck_is_literal(const struct addr *a)
{
	return (a->host == ADDR_IP4 || a->host == ADDR_IP6) && a->port != 0 &&
	       !addr_is_unspecified(a) && !addr_is_multicast(a);
}

void
natcheck_set_servers(struct natcheck *n, const struct natcheck_server *server,
    size_t count)
{
	n->server_count = 0;
	for (size_t i = 0; i < count && n->server_count < NATCHECK_TARGETS; i++)
		if (natcheck_is_literal(&server[i].addr))
			n->server[n->server_count++] = server[i];
}

void
natcheck_set_locals(struct natcheck *n, const struct addr *local, size_t count)
{
	n->local_count = count < NATCHECK_LOCALS ? count : NATCHECK_LOCALS;
	for (size_t i = 0; i < n->local_count; i++)
		n->local[i] = local[i];
}

/* --- asking ----------------------------------------------------------- */

static void
natcheck_ask(struct natcheck *n, struct natcheck_target *t, uint64_t now_ns)
{
	natcheck_make_id(n, &t->id);
	t->asking = true;
	t->tries = 0;
	t->first_ns = now_ns;
}

static void
natcheck_add(struct natcheck *n, const struct addr *addr, uint64_t now_ns)
{
	struct natcheck_target *t;

	for (size_t i = 0; i < n->target_count; i++)
		if (natcheck_same(&n->target[i].addr, addr))
			return;
	if (n->target_count == NATCHECK_TARGETS)
		return;
	t = &n->target[n->target_count++];
	*t = (struct natcheck_target){ .addr = *addr };
	natcheck_ask(n, t, now_ns);
}

void
natcheck_begin(struct natcheck *n, uint64_t now_ns)
{
	n->target_count = 0;
	n->checking = true;
	n->refreshing = false;
	n->began_ns = now_ns;
	memset(n->loop, 0, sizeof(n->loop));
	for (size_t i = 0; i < n->server_count; i++)
		natcheck_add(n, &n->server[i].addr, now_ns);
}

void
natcheck_refresh(struct natcheck *n, uint64_t now_ns)
{
	bool asked[2] = { false, false };

	if (n->checking || n->refreshing)
		return;
	for (size_t i = 0; i < n->target_count; i++) {
		struct natcheck_target *t = &n->target[i];
		const bool v6 = t->addr.host == ADDR_IP6;

		if (!t->answered || asked[v6])
			continue;
		asked[v6] = n->refreshing = true;
		n->began_ns = now_ns;
		natcheck_ask(n, t, now_ns);
	}
	if (!n->refreshing)
		natcheck_begin(n, now_ns);
}

bool
natcheck_runs(const struct natcheck *n)
{
	return n->checking || n->refreshing;
}

bool
natcheck_is_known(const struct natcheck *n, uint64_t now_ns)
{
	bool answered = false, asking = false;

	for (size_t i = 0; i < n->target_count; i++) {
		answered |= n->target[i].answered;
		asking |= n->target[i].asking;
	}
	return !asking ||
	       (answered && now_ns - n->began_ns >= NATCHECK_ENOUGH_NS);
}

uint64_t
natcheck_rounds(const struct natcheck *n)
{
	return n->rounds;
}

/* --- judging ---------------------------------------------------------- */

/* Seen from this machine itself there is no router. */
static bool
natcheck_is_local(const struct natcheck *n, const struct addr *a)
{
	if (addr_is_loopback(a))
		return true;
	for (size_t i = 0; i < n->local_count; i++)
		if (natcheck_same(&n->local[i], a))
			return true;
	return false;
}

/* What the answers of a family, two by two, say. */
static enum natcheck_mapping
natcheck_judge(const struct natcheck *n, bool v6)
{
	bool hosts = false, ports = false; /* asked at several? */
	bool by_host = false, by_port = false;

	for (size_t i = 0; i < n->target_count; i++) {
		const struct natcheck_target *a = &n->target[i];

		if (!a->answered || (a->addr.host == ADDR_IP6) != v6)
			continue;
		if (natcheck_is_local(n, &a->mapped))
			return NATCHECK_NONE;
		for (size_t k = 0; k < i; k++) {
			const struct natcheck_target *b = &n->target[k];
			const bool differ =
			    !natcheck_same(&a->mapped, &b->mapped);

			if (!b->answered || a->addr.host != b->addr.host)
				continue;
			if (natcheck_same_host(&a->addr, &b->addr)) {
				ports = true;
				by_port |= differ;
			} else {
				hosts = true;
				by_host |= differ;
			}
		}
	}
	if (by_port)
		return NATCHECK_BY_PORT;
	if (by_host)
		/* Never asked at two ports of one host: expect the worst. */
		return ports ? NATCHECK_BY_HOST : NATCHECK_BY_PORT;
	return hosts || ports ? NATCHECK_SAME : NATCHECK_UNKNOWN;
}

static void
natcheck_sum_up(const struct natcheck *n, bool v6, struct natcheck_result *out)
{
	*out = (struct natcheck_result){ .hairpin = NATCHECK_HAIRPIN_UNKNOWN };
	for (size_t i = 0; i < n->target_count; i++) {
		const struct natcheck_target *t = &n->target[i];

		if ((t->addr.host == ADDR_IP6) != v6)
			continue;
		out->asked++;
		if (!t->answered)
			continue;
		out->answered++;
		if (!out->udp)
			out->mapped = t->mapped;
		if (!out->udp || t->rtt_ns < out->rtt_ns)
			out->rtt_ns = t->rtt_ns;
		out->udp = true;
		if (t->last_ns > out->at_ns)
			out->at_ns = t->last_ns;
	}
	out->mapping = natcheck_judge(n, v6);
}

static bool
natcheck_asks(const struct natcheck *n, bool v6)
{
	for (size_t i = 0; i < n->target_count; i++)
		if (n->target[i].asking &&
		    (n->target[i].addr.host == ADDR_IP6) == v6)
			return true;
	return false;
}

/* Every server has answered or will not: does the router turn us around? */
static void
natcheck_try_loop(struct natcheck *n, bool v6, uint64_t now_ns)
{
	struct natcheck_loop *l = &n->loop[v6];
	struct natcheck_result now;

	if (l->asking || l->tries > 0)
		return;
	natcheck_sum_up(n, v6, &now);
	if (!now.udp || now.mapping == NATCHECK_NONE)
		return;
	natcheck_make_id(n, &l->id);
	l->asking = true;
	l->first_ns = now_ns;
}

static void
natcheck_settle_family(struct natcheck *n, bool v6)
{
	const struct natcheck_loop *l = &n->loop[v6];
	struct natcheck_result *old = &n->result[v6];
	struct natcheck_result next;

	natcheck_sum_up(n, v6, &next);
	if (!l->asking && l->tries > 0)
		next.hairpin = l->tries > NATCHECK_HAIRPIN_TRIES
				   ? NATCHECK_HAIRPIN_YES
				   : NATCHECK_HAIRPIN_NO;
	if (next.udp != old->udp || next.mapping != old->mapping ||
	    next.hairpin != old->hairpin ||
	    (next.udp && !natcheck_same(&next.mapped, &old->mapped)))
		n->changes++;
	*old = next;
}

/* A question was answered or given up: what follows? */
static void
natcheck_settle(struct natcheck *n, uint64_t now_ns)
{
	if (n->refreshing && !natcheck_asks(n, false) &&
	    !natcheck_asks(n, true)) {
		n->refreshing = false;
		for (int v6 = 0; v6 < 2; v6++)
			if (n->result[v6].udp)
				n->result[v6].at_ns = now_ns;
		return;
	}
	if (!n->checking)
		return;
	for (int v6 = 0; v6 < 2; v6++)
		if (!natcheck_asks(n, v6 != 0))
			natcheck_try_loop(n, v6 != 0, now_ns);
	/* What is known so far is better than what was. */
	if (natcheck_is_known(n, now_ns)) {
		natcheck_settle_family(n, false);
		natcheck_settle_family(n, true);
	}
	if (natcheck_asks(n, false) || natcheck_asks(n, true) ||
	    n->loop[0].asking || n->loop[1].asking)
		return;
	n->checking = false;
	n->rounds++;
}

/* --- datagrams -------------------------------------------------------- */

static void
natcheck_write(const struct stun_id *id, const struct addr *to,
    struct natcheck_send *out)
{
	const struct stun_message m = { .class = STUN_REQUEST,
		.method = STUN_BINDING,
		.id = *id };

	*out = (struct natcheck_send){ .to = *to };
	out->to.scheme = ADDR_QUIC;
	stun_encode(&m, &out->datagram);
}

static uint64_t
natcheck_target_at(const struct natcheck_target *t)
{
	return t->asking ? t->first_ns + stun_retry_ns(t->tries) : CLOCK_NEVER;
}

static uint64_t
natcheck_loop_at(const struct natcheck_loop *l)
{
	return l->asking ? l->first_ns + stun_retry_ns(l->tries) : CLOCK_NEVER;
}

/* One whose time is over without an answer. */
static void
natcheck_give_up(struct natcheck *n, struct natcheck_target *t, uint64_t now_ns)
{
	t->asking = false;
	if (n->refreshing) {
		/* The one that answered last time does not: look around. */
		natcheck_begin(n, now_ns);
		return;
	}
	t->answered = false;
}

static bool
natcheck_next_loop(struct natcheck *n, bool v6, uint64_t now_ns,
    struct natcheck_send *out)
{
	struct natcheck_loop *l = &n->loop[v6];
	struct natcheck_result now;

	if (natcheck_loop_at(l) > now_ns)
		return false;
	if (l->tries == NATCHECK_HAIRPIN_TRIES) {
		l->asking = false;
		natcheck_settle(n, now_ns);
		return false;
	}
	natcheck_sum_up(n, v6, &now);
	l->tries++;
	natcheck_write(&l->id, &now.mapped, out);
	return true;
}

bool
natcheck_next(struct natcheck *n, uint64_t now_ns, struct natcheck_send *out)
{
	for (size_t i = 0; i < n->target_count; i++) {
		struct natcheck_target *t = &n->target[i];

		if (natcheck_target_at(t) > now_ns)
			continue;
		if (t->tries == STUN_TRIES) {
			natcheck_give_up(n, t, now_ns);
			natcheck_settle(n, now_ns);
			continue;
		}
		/* It may be the last that is waited for. */
		if (t->tries > 1)
			natcheck_settle(n, now_ns);
		t->tries++;
		t->last_ns = now_ns;
		natcheck_write(&t->id, &t->addr, out);
		return true;
	}
	/* With nobody to ask, it is over at once. */
	if (n->checking && n->target_count == 0)
		natcheck_settle(n, now_ns);
	return natcheck_next_loop(n, false, now_ns, out) ||
	       natcheck_next_loop(n, true, now_ns, out);
}

uint64_t
natcheck_wake_at(const struct natcheck *n)
{
	uint64_t at = CLOCK_NEVER;

	if (n->checking && n->target_count == 0)
		return 0;
	for (size_t i = 0; i < n->target_count; i++)
		if (natcheck_target_at(&n->target[i]) < at)
			at = natcheck_target_at(&n->target[i]);
	for (int v6 = 0; v6 < 2; v6++)
		if (natcheck_loop_at(&n->loop[v6]) < at)
			at = natcheck_loop_at(&n->loop[v6]);
	return at;
}

/* RFC 5780: the same server, elsewhere.  Believed as far as one question. */
static void
natcheck_take_other(struct natcheck *n, const struct natcheck_target *t,
    const struct stun_message *m, uint64_t now_ns)
{
	struct addr next = m->other;

	if (!m->has_other || !n->checking || !natcheck_is_literal(&m->other) ||
	    m->other.host != t->addr.host ||
	    addr_is_lan(&m->other) != addr_is_lan(&t->addr) ||
	    addr_is_loopback(&m->other) != addr_is_loopback(&t->addr))
		return;
	next.port = t->addr.port;
	natcheck_add(n, &next, now_ns);
	next.port = m->other.port;
	natcheck_add(n, &next, now_ns);
}

static void
natcheck_answered(struct natcheck *n, struct natcheck_target *t,
    const struct stun_message *m, uint64_t now_ns)
{
	const struct addr was = t->mapped;
	/* `t` moves when a target is added. */
	const struct natcheck_target copy = *t;

	t->asking = false;
	t->answered = true;
	t->mapped = m->mapped;
	/* From the last time it was put: the shorter one, when in doubt. */
	t->rtt_ns = now_ns - t->last_ns;
	t->last_ns = now_ns;
	if (n->refreshing && !natcheck_same(&was, &m->mapped)) {
		natcheck_begin(n, now_ns);
		return;
	}
	natcheck_take_other(n, &copy, m, now_ns);
	natcheck_settle(n, now_ns);
}

/* Our own question, back from the router. */
static bool
natcheck_take_loop(struct natcheck *n, const struct stun_message *m,
    uint64_t now_ns)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct natcheck_loop *l = &n->loop[v6];

		if (!l->asking || memcmp(&l->id, &m->id, sizeof(l->id)) != 0)
			continue;
		l->asking = false;
		l->tries = NATCHECK_HAIRPIN_TRIES + 1;
		natcheck_settle(n, now_ns);
		return true;
	}
	return false;
}

bool
natcheck_take(struct natcheck *n, struct slice datagram,
    const struct addr *from, uint64_t now_ns)
{
	struct stun_message m;

	if (!natcheck_runs(n) || stun_decode(&m, datagram, NULL) < 0 ||
	    m.method != STUN_BINDING)
		return false;
	if (m.class == STUN_REQUEST)
		return natcheck_take_loop(n, &m, now_ns);
	for (size_t i = 0; i < n->target_count; i++) {
		struct natcheck_target *t = &n->target[i];

		if (!t->asking || memcmp(&t->id, &m.id, sizeof(m.id)) != 0 ||
		    !natcheck_same(&t->addr, from))
			continue;
		/* An error, or what we would have to understand: no answer. */
		if (m.class != STUN_SUCCESS || !m.has_mapped ||
		    m.unknown_count > 0 || !natcheck_is_literal(&m.mapped) ||
		    m.mapped.host != t->addr.host) {
			natcheck_give_up(n, t, now_ns);
			natcheck_settle(n, now_ns);
			return true;
		}
		natcheck_answered(n, t, &m, now_ns);
		return true;
	}
	return false;
}

/* --- telling ---------------------------------------------------------- */

const struct natcheck_result *
natcheck_result(const struct natcheck *n, bool v6)
{
	return &n->result[v6];
}

uint64_t
natcheck_changes(const struct natcheck *n)
{
	return n->changes;
}

bool
natcheck_server_at(const struct natcheck *n, size_t i,
    struct natcheck_server_state *out)
{
	const struct natcheck_target *t;

	if (i >= n->target_count)
		return false;
	t = &n->target[i];
	*out = (struct natcheck_server_state){ .addr = t->addr,
		.answered = t->answered,
		.rtt_ns = t->rtt_ns,
		.mapped = t->mapped };
	return true;
}

const char *
natcheck_mapping_text(enum natcheck_mapping mapping)
{
	switch (mapping) {
	case NATCHECK_UNKNOWN:
		break;
	case NATCHECK_NONE:
		return "none";
	case NATCHECK_SAME:
		return "endpoint-independent";
	case NATCHECK_BY_HOST:
		return "address-dependent";
	case NATCHECK_BY_PORT:
		return "address-and-port-dependent";
	}
	return "unknown";
}

const char *
natcheck_hairpin_text(enum natcheck_hairpin hairpin)
{
	switch (hairpin) {
	case NATCHECK_HAIRPIN_UNKNOWN:
		break;
	case NATCHECK_HAIRPIN_YES:
		return "yes";
	case NATCHECK_HAIRPIN_NO:
		return "no";
	}
	return "unknown";
}

bool
natcheck_is_hard(enum natcheck_mapping mapping)
{
	return mapping == NATCHECK_BY_HOST || mapping == NATCHECK_BY_PORT;
}
