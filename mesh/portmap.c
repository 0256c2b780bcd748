/*
 * The router's ports; see portmap.h.
 *
 * A hole is one port that we want, or wanted: one that is not wanted any more
 * stays until the router was told so.
 */
#include "mesh/portmap.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"

#define PORTMAP_LEASE_S 3600u
#define PORTMAP_RENEW_S 600u /* at the latest */
#define PORTMAP_RENEW_MIN_S 20u
#define PORTMAP_LOST_NS (30 * CLOCK_S) /* between tries to renew */
#define PORTMAP_LOST_TRIES 3u
#define PORTMAP_BACKOFF_NS (300 * CLOCK_S)
#define PORTMAP_BACKOFF_MAX 3600u /* seconds */
#define PORTMAP_OTHER_PORTS 4u    /* tried when ours is taken */

struct portmap_hole {
	struct portmap_port port;
	uint8_t nonce[PCP_NONCE_LEN];
	bool wanted;
	bool granted; /* the router has it, as far as we know */
	bool public;  /* ... and others can come that way */
	bool for_ever;
	enum portmap_method method; /* granted by; else the next to be asked */
	unsigned asked;             /* in vain since it was granted */
	unsigned taken;             /* outer ports that somebody else had */
	unsigned failures;          /* doublings of the pause */
	uint16_t wish;              /* outer port */
	struct addr outer;
	uint64_t next_ns;
	char why[PORTMAP_WHY_MAX];
};

struct portmap {
	VEC(struct portmap_hole) hole;
	struct rng rng;
	uint8_t nonce[PCP_NONCE_LEN];
	uint8_t nonces; /* given */
	bool running;   /* a question is */
	bool has_first; /* a method that granted something */
	enum portmap_method first;
	struct addr router;
	bool has_epoch;
	uint32_t epoch_s;
	uint64_t epoch_ns; /* when it was that */
	uint64_t lost_ns;  /* all is asked for anew then; the next, or last */
	uint64_t changes;
};

/* --- small things ----------------------------------------------------- */

static uint64_t
portmap_jitter(struct portmap *pm, uint64_t ns)
{
	return ns - ns / 4 + rng_below(&pm->rng, ns / 2 + 1);
}

static struct portmap_hole *
portmap_find(struct portmap *pm, const struct portmap_port *port)
{
	for (size_t i = 0; i < pm->hole.len; i++)
		if (pm->hole.item[i].port.scheme == port->scheme &&
		    pm->hole.item[i].port.inner == port->inner)
			return &pm->hole.item[i];
	return NULL;
}

/* From the beginning, at once. */
static void
portmap_ask_anew(const struct portmap *pm, struct portmap_hole *h,
    uint64_t now_ns)
{
	h->asked = 0;
	h->taken = 0;
	if (!h->granted)
		h->method = pm->has_first ? pm->first : PORTMAP_PCP;
	h->next_ns = now_ns;
}

static void
portmap_close(struct portmap *pm, struct portmap_hole *h)
{
	if (h->public)
		pm->changes++;
	h->granted = h->public = false;
}

struct portmap *
portmap_new(uint64_t seed, const uint8_t nonce[PCP_NONCE_LEN])
{
	struct portmap *pm = mem_zalloc(sizeof(*pm));

	rng_init(&pm->rng, seed);
	memcpy(pm->nonce, nonce, PCP_NONCE_LEN);
	return pm;
}

void
portmap_free(struct portmap *pm)
{
	if (pm == NULL)
		return;
	VEC_FINI(&pm->hole);
	mem_free(pm);
}

/* --- what is wanted --------------------------------------------------- */

static void
portmap_add(struct portmap *pm, const struct portmap_port *port,
    uint64_t now_ns)
{
	struct portmap_hole *h = VEC_ADD(&pm->hole);

	*h = (struct portmap_hole){ .port = *port,
		.wanted = true,
		.wish = port->inner };
	memcpy(h->nonce, pm->nonce, PCP_NONCE_LEN);
	h->nonce[PCP_NONCE_LEN - 1] ^= pm->nonces++;
	portmap_ask_anew(pm, h, now_ns);
}

void
portmap_set(struct portmap *pm, const struct portmap_port *port, size_t count,
    uint64_t now_ns)
{
	for (size_t i = 0; i < pm->hole.len; i++)
		pm->hole.item[i].wanted = false;
	for (size_t i = 0; i < count && i < PORTMAP_PORTS; i++) {
		struct portmap_hole *h = portmap_find(pm, &port[i]);

		if (h == NULL)
			portmap_add(pm, &port[i], now_ns);
		else
			h->wanted = true;
	}
	for (size_t i = 0; i < pm->hole.len;) {
		struct portmap_hole *h = &pm->hole.item[i];

		if (!h->wanted && !h->granted && !pm->running) {
			VEC_DROP(&pm->hole, i);
			continue;
		}
		if (!h->wanted) {
			h->next_ns = now_ns;
			pm->changes++;
		}
		i++;
	}
}

void
portmap_refresh(struct portmap *pm, uint64_t now_ns)
{
	for (size_t i = 0; i < pm->hole.len; i++)
		portmap_ask_anew(pm, &pm->hole.item[i], now_ns);
}

/* --- questions -------------------------------------------------------- */

bool
portmap_next(struct portmap *pm, uint64_t now_ns, struct portmap_ask *out)
{
	if (pm->running)
		return false;
	for (size_t i = 0; i < pm->hole.len; i++) {
		struct portmap_hole *h = &pm->hole.item[i];

		if (h->next_ns > now_ns || (!h->wanted && !h->granted))
			continue;
		*out = (struct portmap_ask){ .method = h->method,
			.remove = !h->wanted,
			.port = h->port,
			.outer = h->wish,
			.lease_s =
			    h->for_ever || !h->wanted ? 0 : PORTMAP_LEASE_S };
		memcpy(out->nonce, h->nonce, PCP_NONCE_LEN);
		pm->running = true;
		return true;
	}
	return false;
}

uint64_t
portmap_wake_at(const struct portmap *pm)
{
	uint64_t at = CLOCK_NEVER;

	if (pm->running)
		return at;
	for (size_t i = 0; i < pm->hole.len; i++) {
		const struct portmap_hole *h = &pm->hole.item[i];

		if ((h->wanted || h->granted) && h->next_ns < at)
			at = h->next_ns;
	}
	return at;
}

/* --- answers ---------------------------------------------------------- */

/* RFC 6890 has those that are special. */
bool
portmap_is_public(const struct addr *a)
{
	const uint8_t *ip = a->ip;

	if (a->host != ADDR_IP4 || a->port == 0 || addr_is_lan(a) ||
	    addr_is_multicast(a) || ip[0] == 0 || ip[0] >= 224)
		return false;
	/* Shared by a carrier's customers; benchmarks. */
	return !(ip[0] == 100 && (ip[1] & 0xc0) == 64) &&
	       !(ip[0] == 198 && (ip[1] & 0xfe) == 18);
}

/* A router without a way out, or one that talks nonsense. */
static bool
portmap_is_somewhere(const struct addr *a)
{
	return a->host == ADDR_IP4 && a->port != 0 && !addr_is_unspecified(a) &&
	       !addr_is_loopback(a) && a->ip[0] < 224;
}

/*
 * RFC 6887, 8.5: both clocks must have gone on alike, but for an eighth, with
 * two seconds for rounding.  True when the router lost what it knew.
 */
static bool
portmap_epoch(struct portmap *pm, uint32_t epoch_s, uint64_t now_ns)
{
	bool lost = false;

	if (pm->has_epoch && epoch_s + UINT64_C(1) < pm->epoch_s) {
		lost = true;
	} else if (pm->has_epoch) {
		const uint64_t ours = (now_ns - pm->epoch_ns) / CLOCK_S;
		const uint64_t its =
		    epoch_s > pm->epoch_s ? epoch_s - pm->epoch_s : 0;

		lost = ours + 2 < its - its / 16 || its + 2 < ours - ours / 16;
	}
	pm->has_epoch = true;
	pm->epoch_s = epoch_s;
	pm->epoch_ns = now_ns;
	return lost;
}

/* The router knows of nothing any more; it may say so as often as it likes. */
static void
portmap_lost(struct portmap *pm, uint64_t now_ns)
{
	if (pm->lost_ns <= now_ns)
		pm->lost_ns =
		    pm->lost_ns == 0 || now_ns - pm->lost_ns >= PORTMAP_LOST_NS
			? now_ns
			: pm->lost_ns + PORTMAP_LOST_NS;
	for (size_t i = 0; i < pm->hole.len; i++)
		if (pm->hole.item[i].next_ns > pm->lost_ns)
			pm->hole.item[i].next_ns = pm->lost_ns;
}

static void
portmap_granted(struct portmap *pm, struct portmap_hole *h,
    const struct portmap_answer *answer, uint64_t now_ns)
{
	uint64_t lease_s = answer->lease_s, renew_s;
	const bool usable = portmap_is_public(&answer->outer);
	struct addr outer = answer->outer;

	outer.scheme = h->port.scheme;
	/* What has no end is looked after all the same. */
	if (lease_s == 0 || lease_s > 24 * 3600)
		lease_s = 24 * 3600;
	renew_s = lease_s / 2 < PORTMAP_RENEW_S ? lease_s / 2 : PORTMAP_RENEW_S;
	if (renew_s < PORTMAP_RENEW_MIN_S)
		renew_s = PORTMAP_RENEW_MIN_S;
	if (usable != h->public || !addr_equal(&outer, &h->outer))
		pm->changes++;
	h->granted = true;
	h->public = usable;
	h->outer = outer;
	h->wish = answer->outer.port;
	h->asked = h->taken = h->failures = 0;
	h->next_ns = h->wanted ? now_ns + renew_s * CLOCK_S : now_ns;
	h->why[0] = '\0';
	pm->has_first = true;
	pm->first = h->method;
	if (!usable) {
		char text[ADDR_TEXT_MAX];

		addr_text_host(&answer->outer, text);
		snprintf(h->why, sizeof(h->why),
		    "the router is itself behind another: it says %.64s", text);
	}
}

/* Another way, or later. */
static void
portmap_failed(struct portmap *pm, struct portmap_hole *h, uint64_t now_ns)
{
	uint64_t pause_ns;

	if (h->granted && ++h->asked < PORTMAP_LOST_TRIES) {
		/* It may still be there; the router may be starting. */
		h->next_ns = now_ns + portmap_jitter(pm, PORTMAP_LOST_NS);
		return;
	}
	if (h->granted) {
		portmap_close(pm, h);
		portmap_ask_anew(pm, h, now_ns);
		return;
	}
	h->taken = 0;
	h->for_ever = false;
	if (++h->asked < PORTMAP_METHODS) {
		h->method = (enum portmap_method)(
		    ((unsigned)h->method + 1) % PORTMAP_METHODS);
		h->next_ns = now_ns;
		return;
	}
	pause_ns = PORTMAP_BACKOFF_NS << (h->failures < 4 ? h->failures : 4);
	if (pause_ns > PORTMAP_BACKOFF_MAX * CLOCK_S)
		pause_ns = PORTMAP_BACKOFF_MAX * CLOCK_S;
	h->failures++;
	portmap_ask_anew(pm, h, now_ns + portmap_jitter(pm, pause_ns));
}

static void
portmap_judge(struct portmap *pm, struct portmap_hole *h,
    const struct portmap_answer *answer, uint64_t now_ns)
{
	if (answer->code != PORTMAP_GRANTED)
		snprintf(h->why, sizeof(h->why), "%s", answer->why);
	switch (answer->code) {
	case PORTMAP_GRANTED:
		if (portmap_is_somewhere(&answer->outer)) {
			portmap_granted(pm, h, answer, now_ns);
			break;
		}
		snprintf(h->why, sizeof(h->why),
		    "the router has no address outside");
		portmap_failed(pm, h, now_ns);
		break;
	case PORTMAP_NO_ANSWER:
	case PORTMAP_REFUSED:
		portmap_failed(pm, h, now_ns);
		break;
	case PORTMAP_TAKEN:
		portmap_close(pm, h);
		if (++h->taken > PORTMAP_OTHER_PORTS) {
			portmap_failed(pm, h, now_ns);
			break;
		}
		/* Not a port that needs a privilege somewhere. */
		h->wish = (uint16_t)(1024 + rng_below(&pm->rng, 64000));
		h->next_ns = now_ns;
		break;
	case PORTMAP_FOR_EVER:
		if (h->for_ever) {
			portmap_failed(pm, h, now_ns);
			break;
		}
		h->for_ever = true;
		h->next_ns = now_ns;
		break;
	case PORTMAP_NOT_NEEDED:
		portmap_close(pm, h);
		portmap_ask_anew(pm, h,
		    now_ns + portmap_jitter(pm, PORTMAP_BACKOFF_NS));
		break;
	}
}

/* Another network: what the old router granted is of no use in it. */
static void
portmap_set_router(struct portmap *pm, const struct addr *router,
    uint64_t now_ns)
{
	if (addr_equal(router, &pm->router))
		return;
	pm->router = *router;
	pm->has_epoch = false;
	for (size_t i = 0; i < pm->hole.len; i++) {
		portmap_close(pm, &pm->hole.item[i]);
		portmap_ask_anew(pm, &pm->hole.item[i], now_ns);
	}
}

void
portmap_answered(struct portmap *pm, const struct portmap_ask *ask,
    const struct portmap_answer *answer, uint64_t now_ns)
{
	struct portmap_hole *h = portmap_find(pm, &ask->port);

	ASSERT(pm->running && h != NULL);
	pm->running = false;
	if (answer->router.host != ADDR_NONE)
		portmap_set_router(pm, &answer->router, now_ns);
	if (answer->has_epoch && portmap_epoch(pm, answer->epoch_s, now_ns))
		portmap_lost(pm, now_ns);
	if (ask->remove) {
		portmap_close(pm, h);
		if (h->wanted)
			portmap_ask_anew(pm, h, now_ns);
	} else {
		portmap_judge(pm, h, answer, now_ns);
	}
	for (size_t i = 0; i < pm->hole.len;) {
		struct portmap_hole *at = &pm->hole.item[i];

		if (at->wanted || at->granted) {
			i++;
			continue;
		}
		VEC_DROP(&pm->hole, i);
	}
}

void
portmap_heard(struct portmap *pm, struct slice datagram,
    const struct addr *from, uint64_t now_ns)
{
	uint32_t epoch_s;

	if (pm->router.host != ADDR_IP4 || from->host != ADDR_IP4 ||
	    memcmp(from->ip, pm->router.ip, 4) != 0 ||
	    !pcp_decode_announce(&epoch_s, datagram))
		return;
	if (portmap_epoch(pm, epoch_s, now_ns))
		portmap_lost(pm, now_ns);
}

/* --- what is known ---------------------------------------------------- */

size_t
portmap_own(const struct portmap *pm, struct addr *out, size_t cap)
{
	size_t count = 0;

	for (size_t i = 0; i < pm->hole.len && count < cap; i++)
		if (pm->hole.item[i].public && pm->hole.item[i].wanted)
			out[count++] = pm->hole.item[i].outer;
	return count;
}

uint64_t
portmap_changes(const struct portmap *pm)
{
	return pm->changes;
}

bool
portmap_state_at(const struct portmap *pm, size_t i, struct portmap_state *out)
{
	for (size_t k = 0; k < pm->hole.len; k++) {
		const struct portmap_hole *h = &pm->hole.item[k];

		if (!h->wanted || i-- > 0)
			continue;
		*out = (struct portmap_state){ .port = h->port,
			.open = h->public,
			.method = h->method,
			.outer = h->outer,
			.why = h->why };
		return true;
	}
	return false;
}

const char *
portmap_method_text(enum portmap_method method)
{
	static const char *const text[] = { [PORTMAP_PCP] = "pcp",
		[PORTMAP_NATPMP] = "nat-pmp",
		[PORTMAP_UPNP] = "upnp" };

	ASSERT((size_t)method < PORTMAP_METHODS);
	return text[method];
}
