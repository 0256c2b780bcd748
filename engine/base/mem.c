/*
 * The one place that asks the system for memory.
 */
#include "engine/base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void
mem_exhausted(size_t len)
{
	fprintf(stderr, "holdfast: out of memory, asked for %zu bytes\n", len);
	abort();
}

void *
mem_alloc(size_t len)
{
	void *p = malloc(len > 0 ? len : 1);

	if (p == NULL)
		mem_exhausted(len);
	return p;
}

void *
mem_zalloc(size_t len)
{
	void *p = calloc(1, len > 0 ? len : 1);

	if (p == NULL)
		mem_exhausted(len);
	return p;
}

void *
mem_array(size_t count, size_t len)
{
	if (len > 0 && count > SIZE_MAX / len)
		mem_exhausted(SIZE_MAX);
	return mem_zalloc(count * len);
}

void *
mem_aligned(size_t align, size_t len)
{
	void *p = aligned_alloc(align, len);

	if (p == NULL)
		mem_exhausted(len);
	return p;
}

void *
mem_resize(void *p, size_t len)
{
	void *q = realloc(p, len > 0 ? len : 1);

	if (q == NULL)
		mem_exhausted(len);
	return q;
}

void *
mem_dup(const void *p, size_t len)
{
	void *q = mem_alloc(len);

	if (len > 0)
		memcpy(q, p, len);
	return q;
}

char *
mem_strdup(const char *s)
{
	return mem_dup(s, strlen(s) + 1);
}

void
mem_free(void *p)
{
	free(p);
}
