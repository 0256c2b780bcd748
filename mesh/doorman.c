/*
 * Tokens by source; see doorman.h.
 */
#include "mesh/doorman.h"

#include <string.h>

#include "engine/base/limits.h"

#define DOORMAN_WAYS 4u /* places one source may be in */

uint64_t
doorman_source(const struct addr *from)
{
	uint64_t source = 0;

	memcpy(&source, from->ip, from->host == ADDR_IP4 ? 4 : 8);
	return source * 2 + (from->host == ADDR_IP4 ? 1 : 2);
}

/* The first of the places of a source. */
static uint32_t
doorman_first(uint64_t source)
{
	/* Fibonacci's: spreads neighbours.  Who makes sources meet on purpose
	 * makes them forget each other, and has as many sources anyway. */
	const uint64_t mixed = source * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(mixed >> 32) % (DOORMAN_PLACES / DOORMAN_WAYS) *
	       DOORMAN_WAYS;
}

static uint32_t
doorman_tokens(const struct doorman_place *p, uint64_t now_ns)
{
	const uint64_t more = (now_ns - p->then_ns) / LIMIT_KNOCK_NS;

	return more >= LIMIT_KNOCKS - p->tokens ? LIMIT_KNOCKS
						: p->tokens + (uint32_t)more;
}

bool
doorman_lets_in(const struct doorman *d, const struct addr *from,
    uint32_t trying, uint64_t now_ns)
{
	const uint64_t source = doorman_source(from);
	const struct doorman_place *p = &d->place[doorman_first(source)];

	for (uint32_t i = 0; i < DOORMAN_WAYS; i++)
		if (p[i].source == source)
			return doorman_tokens(&p[i], now_ns) > trying;
	return true;
}

void
doorman_charge(struct doorman *d, const struct addr *from, uint64_t now_ns)
{
	const uint64_t source = doorman_source(from);
	struct doorman_place *p = &d->place[doorman_first(source)];
	struct doorman_place *at = NULL;
	uint32_t most = 0, tokens;

	for (uint32_t i = 0; i < DOORMAN_WAYS && at == NULL; i++)
		if (p[i].source == source)
			at = &p[i];
	for (uint32_t i = 0; i < DOORMAN_WAYS && at == NULL; i++)
		if (p[i].source == 0)
			at = &p[i];
	if (at == NULL) {
		for (uint32_t i = 0; i < DOORMAN_WAYS; i++) {
			tokens = doorman_tokens(&p[i], now_ns);
			if (at != NULL && tokens <= most)
				continue;
			at = &p[i];
			most = tokens;
		}
	}
	if (at->source != source)
		*at = (struct doorman_place){ .source = source,
			.then_ns = now_ns,
			.tokens = LIMIT_KNOCKS };
	tokens = doorman_tokens(at, now_ns);
	/* What is left of a token in the making is kept. */
	if (tokens == LIMIT_KNOCKS)
		at->then_ns = now_ns;
	else
		at->then_ns +=
		    (now_ns - at->then_ns) / LIMIT_KNOCK_NS * LIMIT_KNOCK_NS;
	at->tokens = tokens > 0 ? tokens - 1 : 0;
}
