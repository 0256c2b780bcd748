/*
 * Drawn bytes; see draw.h.
 */
#include "mesh/draw.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/digest.h"

void
draw_init(struct draw *d, const uint8_t key[DRAW_KEY_LEN])
{
	memcpy(d->key, key, DRAW_KEY_LEN);
	d->counter = 0;
}

void
draw_next(struct draw *d, uint8_t *out, size_t len)
{
	uint8_t seed[DRAW_KEY_LEN + sizeof(d->counter)];
	struct digest digest;

	ASSERT(len <= DRAW_MAX);
	d->counter++;
	memcpy(seed, d->key, DRAW_KEY_LEN);
	memcpy(seed + DRAW_KEY_LEN, &d->counter, sizeof(d->counter));
	digest_of(slice_of(seed, sizeof(seed)), &digest);
	memcpy(out, digest.b, len);
}
