/*
 * The one function behind the VEC() macros.
 */
#include "engine/base/vec.h"

#include <stdint.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"

#define VEC_FIRST 8u /* items of the first allocation */

void *
vec_grow(void *item, size_t len, size_t *cap, size_t size)
{
	size_t want;

	if (len < *cap)
		return item;
	want = *cap > 0 ? *cap * 2 : VEC_FIRST;
	ASSERT(want > *cap && want <= SIZE_MAX / size);
	*cap = want;
	return mem_resize(item, want * size);
}
