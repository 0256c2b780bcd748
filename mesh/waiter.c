/*
 * The waiter; see waiter.h.
 */
#include "mesh/waiter.h"

#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"

#define WAITER_PAUSE_S 5
#define WAITER_PAUSE_MAX_S 600
#define WAITER_REFUSED_S 60 /* at least, when it is not a matter of luck */
#define WAITER_SILENT_NS (120 * CLOCK_S)
#define WAITER_MEASURE 10u /* Pings of the relay's from one to the next */

void
waiter_init(struct waiter *w, uint64_t seed, uint64_t now_ns)
{
	*w = (struct waiter){ .next_ns = now_ns };
	rng_init(&w->rng, seed);
}

bool
waiter_is_due(const struct waiter *w, uint64_t now_ns)
{
	return w->state == WAITER_AWAY && w->next_ns <= now_ns;
}

void
waiter_knocked(struct waiter *w, uint64_t now_ns)
{
	ASSERT(w->state == WAITER_AWAY);
	w->state = WAITER_KNOCKING;
	w->told = false;
	w->asked_ns = 0;
	w->next_ns = now_ns + LIMIT_RELAY_NS;
}

void
waiter_asked(struct waiter *w, uint64_t now_ns)
{
	w->asked_ns = now_ns;
	w->pings = 0;
}

/* It answered what was asked: one measure more. */
static void
waiter_measure(struct waiter *w, uint64_t now_ns)
{
	uint64_t rtt_ns;

	if (w->asked_ns == 0 || now_ns <= w->asked_ns)
		return;
	rtt_ns = now_ns - w->asked_ns;
	w->rtt_ns = w->rtt_ns == 0 ? rtt_ns : (3 * w->rtt_ns + rtt_ns) / 4;
	w->asked_ns = 0;
}

static enum waiter_answer
waiter_hear_ping(struct waiter *w, uint64_t now_ns)
{
	if (w->state != WAITER_JOINED || ++w->pings < WAITER_MEASURE)
		return WAITER_PONG;
	waiter_asked(w, now_ns);
	return WAITER_PONG_AND_PING;
}

/* It does not want us (now): no sense in hurrying back. */
static enum waiter_answer
waiter_refused(struct waiter *w, const char *why)
{
	snprintf(w->why, sizeof(w->why), "%s", why);
	w->told = true;
	while (w->failures < 31 &&
	       (WAITER_PAUSE_S << w->failures) < WAITER_REFUSED_S)
		w->failures++;
	return WAITER_LEAVE;
}

static enum waiter_answer
waiter_hear_response(struct waiter *w, const struct relay_message *m)
{
	if (m->u.response.code != RELAY_OK)
		return waiter_refused(w, relay_code_text(m->u.response.code));
	w->state = WAITER_JOINED;
	w->failures = 0;
	w->why[0] = '\0';
	return WAITER_NOTHING;
}

enum waiter_answer
waiter_hear(struct waiter *w, const struct relay_message *m, uint64_t now_ns)
{
	ASSERT(w->state != WAITER_AWAY);
	if (w->state == WAITER_JOINED)
		w->next_ns = now_ns + WAITER_SILENT_NS;
	switch (m->type) {
	case RELAY_PING:
		return waiter_hear_ping(w, now_ns);
	case RELAY_PONG:
		waiter_measure(w, now_ns);
		return WAITER_NOTHING;
	case RELAY_RESPONSE:
		if (w->state == WAITER_KNOCKING) {
			w->next_ns = now_ns + WAITER_SILENT_NS;
			waiter_measure(w, now_ns);
			return waiter_hear_response(w, m);
		}
		break;
	case RELAY_INVITATION:
		if (w->state == WAITER_JOINED)
			return WAITER_GO;
		break;
	case RELAY_FULL:
		return waiter_refused(w, "the relay is full");
	case RELAY_JOIN:
	case RELAY_SESSION:
	case RELAY_CONNECT:
		break;
	}
	return waiter_refused(w, "the relay said what it should not");
}

void
waiter_lost(struct waiter *w, const char *why, uint64_t now_ns)
{
	uint64_t pause_s = WAITER_PAUSE_S;

	if (!w->told)
		snprintf(w->why, sizeof(w->why), "%s", why);
	for (unsigned n = w->failures; n > 0 && pause_s < WAITER_PAUSE_MAX_S;
	     n--)
		pause_s *= 2;
	if (pause_s > WAITER_PAUSE_MAX_S)
		pause_s = WAITER_PAUSE_MAX_S;
	else
		w->failures++;
	w->state = WAITER_AWAY;
	w->next_ns = now_ns + pause_s * CLOCK_S - pause_s * CLOCK_S / 4 +
		     rng_below(&w->rng, pause_s * CLOCK_S / 2 + 1);
}

bool
waiter_is_over(const struct waiter *w, uint64_t now_ns)
{
	return w->state != WAITER_AWAY && w->next_ns <= now_ns;
}

uint64_t
waiter_wake_at(const struct waiter *w)
{
	return w->next_ns;
}

void
waiter_refresh(struct waiter *w, uint64_t now_ns)
{
	if (w->state != WAITER_AWAY)
		return;
	w->next_ns = now_ns;
	w->failures = 0;
}
