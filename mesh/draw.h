/*
 * Bytes that nobody can guess who does not know the key: drawn one after the
 * other, the same ones again from the same key, so that what needs them (IDs
 * of questions, cookies) stays pure.
 *
 * Pure.  Thread: one at a time.
 */
#ifndef HOLDFAST_MESH_DRAW_H
#define HOLDFAST_MESH_DRAW_H

#include <stddef.h>
#include <stdint.h>

#define DRAW_KEY_LEN 32u
#define DRAW_MAX 32u /* bytes of one */

struct draw {
	uint8_t key[DRAW_KEY_LEN]; /* from the kernel's random numbers */
	uint64_t counter;
};

void draw_init(struct draw *d, const uint8_t key[DRAW_KEY_LEN]);
/* The next `len` bytes, at most DRAW_MAX. */
void draw_next(struct draw *d, uint8_t *out, size_t len);

#endif
