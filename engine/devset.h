/*
 * A set of the devices of one folder, by slot number (index.h).  A value.
 */
#ifndef HOLDFAST_ENGINE_DEVSET_H
#define HOLDFAST_ENGINE_DEVSET_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/limits.h"

#define DEVSET_WORDS (LIMIT_FOLDER_DEVICES / 64)

struct devset {
	uint64_t word[DEVSET_WORDS];
};

static inline bool
devset_has(const struct devset *s, uint32_t slot)
{
	return (s->word[slot / 64] >> (slot % 64) & 1) != 0;
}

static inline void
devset_add(struct devset *s, uint32_t slot)
{
	s->word[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static inline void
devset_remove(struct devset *s, uint32_t slot)
{
	s->word[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

static inline bool
devset_is_empty(const struct devset *s)
{
	for (uint32_t i = 0; i < DEVSET_WORDS; i++)
		if (s->word[i] != 0)
			return false;
	return true;
}

/* All that are in `other`, too. */
static inline void
devset_join(struct devset *s, const struct devset *other)
{
	for (uint32_t i = 0; i < DEVSET_WORDS; i++)
		s->word[i] |= other->word[i];
}

/* The lowest slot of the set, taken out; -1 when it is empty. */
static inline int32_t
devset_take(struct devset *s)
{
	for (uint32_t i = 0; i < DEVSET_WORDS; i++) {
		if (s->word[i] != 0) {
			const int bit = __builtin_ctzll(s->word[i]);

			s->word[i] &= s->word[i] - 1;
			return (int32_t)(i * 64) + bit;
		}
	}
	return -1;
}

#endif
