/*
 * Choices.  See choice.h.
 */
#include "choice.h"

#include <string.h>

#define CHOICE_WEATHER 2u /* the last bytes of an act */

size_t
choice_of_seed(uint64_t seed, uint8_t out[CHOICE_LEN_MAX])
{
	struct rng r;
	size_t acts, len;

	rng_init(&r, seed);
	/* Most bugs need few acts; some need many. */
	switch (rng_below(&r, 4)) {
	case 0:
		acts = 1 + rng_below(&r, CHOICE_ACTS_MAX);
		break;
	case 1:
		acts = 1 + rng_below(&r, 60);
		break;
	default:
		acts = 1 + rng_below(&r, 25);
		break;
	}
	len = CHOICE_HEAD + acts * CHOICE_ACT;
	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		uint64_t v = rng_u64(&r);

		for (size_t k = 0; k < sizeof(v); k++, v >>= 8)
			out[i + k] = (uint8_t)v;
	}
	for (size_t i = 0; i < CHOICE_TAIL; i++)
		out[len + i] = (uint8_t)rng_u64(&r);
	return len + CHOICE_TAIL;
}

size_t
choice_without_tail(size_t len)
{
	if (len < CHOICE_HEAD)
		return len;
	return len - (len - CHOICE_HEAD) % CHOICE_ACT;
}

bool
choice_has_tail(const struct choice *c, uint32_t i)
{
	return choice_without_tail(c->len) + i < c->len;
}

uint8_t
choice_tail(const struct choice *c, uint32_t i)
{
	return choice_has_tail(c, i) ? c->byte[choice_without_tail(c->len) + i]
				     : 0;
}

void
choice_init(struct choice *c, const uint8_t *byte, size_t len)
{
	memset(c, 0, sizeof(*c));
	c->byte = byte;
	c->len = len;
	c->end = c->next = len < CHOICE_HEAD ? len : CHOICE_HEAD;
	c->calm = true;
}

bool
choice_act(struct choice *c)
{
	uint32_t weather;

	if (c->len - c->next < CHOICE_ACT)
		return false;
	c->at = c->next;
	c->next += CHOICE_ACT;
	c->end = c->next - CHOICE_WEATHER;
	weather = c->byte[c->end] | (uint32_t)c->byte[c->end + 1] << 8;
	c->calm = weather == 0;
	if (!c->calm)
		rng_init(&c->weather, weather);
	return true;
}

uint32_t
choice_below(struct choice *c, uint32_t n)
{
	uint32_t v = 0;

	if (n <= 1)
		return 0;
	if (c->at < c->end)
		v = c->byte[c->at++];
	if (n <= 256)
		return v * n >> 8;
	if (c->at < c->end)
		v |= (uint32_t)c->byte[c->at++] << 8;
	return (uint32_t)((uint64_t)v * n >> 16);
}

bool
choice_one_in(struct choice *c, uint32_t n)
{
	return choice_below(c, n) == n - 1;
}

uint64_t
choice_weather(struct choice *c, uint64_t n)
{
	return c->calm || n <= 1 ? 0 : rng_u64(&c->weather) % n;
}

bool
choice_strikes(struct choice *c, uint32_t n)
{
	return n > 0 && !c->calm && rng_u64(&c->weather) % n == 0;
}
