/*
 * Rest; see rest.h.
 */
#include "mesh/rest.h"

#include "engine/base/assert.h"
#include "engine/base/clock.h"

#define REST_MAGIC 'Z'
#define REST_VERSION 1

void
rest_init(struct rest *r, uint64_t now_ns)
{
	*r = (struct rest){ .used_ns = now_ns };
}

void
rest_use(struct rest *r, uint64_t now_ns)
{
	rest_init(r, now_ns);
}

uint64_t
rest_due_at(const struct rest *r, uint64_t after_ns)
{
	/* Who did not answer is asked again, as rarely. */
	const uint64_t since =
	    r->asked_ns > r->used_ns ? r->asked_ns : r->used_ns;

	return after_ns == 0 || r->agreed ? CLOCK_NEVER : since + after_ns;
}

void
rest_asked(struct rest *r, uint64_t now_ns)
{
	ASSERT(!r->agreed);
	r->asked_ns = now_ns;
}

enum rest_answer
rest_hear(struct rest *r, enum rest_word word, uint64_t after_ns,
    uint64_t now_ns)
{
	switch (word) {
	case REST_ASK:
		/* Clocks and what is under way differ: half of it will do. */
		if (after_ns == 0 || now_ns - r->used_ns < after_ns / 2)
			return REST_NOTHING;
		r->agreed = true;
		return REST_SAY_AGREE;
	case REST_AGREE:
		if (r->asked_ns == 0)
			return REST_NOTHING; /* used since, or never asked */
		r->agreed = true;
		return REST_CLOSE;
	}
	return REST_NOTHING;
}

bool
rest_is_agreed(const struct rest *r)
{
	return r->agreed;
}

void
rest_encode(enum rest_word word, uint8_t out[REST_WORD_LEN])
{
	out[0] = REST_MAGIC;
	out[1] = REST_VERSION;
	out[2] = (uint8_t)word;
}

bool
rest_decode(enum rest_word *out, struct slice body)
{
	if (body.len < REST_WORD_LEN || body.ptr[0] != REST_MAGIC ||
	    body.ptr[1] != REST_VERSION)
		return false;
	if (body.ptr[2] != REST_ASK && body.ptr[2] != REST_AGREE)
		return false;
	*out = (enum rest_word)body.ptr[2];
	return true;
}
