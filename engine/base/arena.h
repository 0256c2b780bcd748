/*
 * An arena: memory of things that die together.
 *
 * Blocks are taken from the heap and handed out by bumping a pointer; nothing
 * is freed alone.  arena_mark() and arena_reset() give back all that was taken
 * since; blocks are kept for reuse up to LIMIT_ARENA_KEEP bytes.
 * Allocations are 16-byte aligned, never NULL.
 */
#ifndef HOLDFAST_BASE_ARENA_H
#define HOLDFAST_BASE_ARENA_H

#include <stddef.h>

#include "engine/base/slice.h"

struct arena_block;

/* In place; {0} is a valid empty arena. */
struct arena {
	struct arena_block *first; /* owned */
	struct arena_block *cur;
	size_t used; /* bytes used of `cur` */
};

struct arena_mark {
	struct arena_block *block;
	size_t used;
};

void arena_init(struct arena *ar);
void arena_fini(struct arena *ar);
void *arena_alloc(struct arena *ar, size_t len);  /* uninitialised */
void *arena_zalloc(struct arena *ar, size_t len); /* zeroed */
/* `count` zeroed items of `len` bytes; overflow ends the process. */
void *arena_array(struct arena *ar, size_t count, size_t len);
struct slice arena_dup(struct arena *ar, struct slice s);
/* As NUL-terminated text. */
char *arena_str(struct arena *ar, struct slice s);
char *arena_printf(struct arena *ar, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct arena_mark arena_mark(const struct arena *ar);
void arena_reset(struct arena *ar, struct arena_mark mark);
/* Everything: as right after arena_init(), blocks kept up to the limit. */
void arena_clear(struct arena *ar);
/* Bytes of heap held. */
size_t arena_held(const struct arena *ar);

#endif
