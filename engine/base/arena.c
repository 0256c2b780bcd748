/*
 * Arenas: a chain of blocks, filled one after the other.
 *
 *	first -> [full] -> [cur: used | free] -> [spare] -> NULL
 *
 * Invariants: blocks before `cur` are in use, blocks after it are spare; all
 * spare blocks together are at most LIMIT_ARENA_KEEP bytes after a reset.
 * Under the address sanitizer what is not handed out is poisoned, so a use
 * after arena_reset() is caught like a use after free.
 */
#include "engine/base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#endif
#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
#define ARENA_HIDE(ptr, len) ASAN_POISON_MEMORY_REGION((ptr), (len))
#define ARENA_SHOW(ptr, len) ASAN_UNPOISON_MEMORY_REGION((ptr), (len))
#else
#define ARENA_HIDE(ptr, len) ((void)(ptr), (void)(len))
#define ARENA_SHOW(ptr, len) ((void)(ptr), (void)(len))
#endif

#define ARENA_ALIGN 16u
#define ARENA_BLOCK_FIRST (4 * KIB) /* bytes; most arenas stay small */

struct arena_block {
	struct arena_block *next;
	size_t cap; /* bytes at `data` */
	_Alignas(ARENA_ALIGN) uint8_t data[];
};

/* Free the blocks of the chain at `link` that go over what may be kept. */
static void
arena_trim(struct arena_block **link)
{
	size_t kept = 0;

	while (*link != NULL) {
		struct arena_block *b = *link;

		if (b->cap <= LIMIT_ARENA_KEEP - kept) {
			kept += b->cap;
			ARENA_HIDE(b->data, b->cap);
			link = &b->next;
			continue;
		}
		*link = b->next;
		ARENA_SHOW(b->data, b->cap);
		mem_free(b);
	}
}

/* Make `cur` a block with room for `len` bytes. */
static void
arena_grow(struct arena *ar, size_t len)
{
	struct arena_block **link =
	    ar->cur != NULL ? &ar->cur->next : &ar->first;
	struct arena_block *b = *link;
	size_t cap;

	if (b == NULL || b->cap < len) {
		cap = ar->cur == NULL ? ARENA_BLOCK_FIRST : ar->cur->cap * 2;
		if (cap > LIMIT_ARENA_BLOCK)
			cap = LIMIT_ARENA_BLOCK;
		if (cap < len)
			cap = len;
		ASSERT(cap <= SIZE_MAX - sizeof(*b));
		b = mem_alloc(sizeof(*b) + cap);
		b->cap = cap;
		b->next = *link;
		*link = b;
		ARENA_HIDE(b->data, b->cap);
	}
	ar->cur = b;
	ar->used = 0;
}

void
arena_init(struct arena *ar)
{
	*ar = (struct arena){ 0 };
}

void
arena_fini(struct arena *ar)
{
	while (ar->first != NULL) {
		struct arena_block *b = ar->first;

		ar->first = b->next;
		ARENA_SHOW(b->data, b->cap);
		mem_free(b);
	}
	arena_init(ar);
}

void *
arena_alloc(struct arena *ar, size_t len)
{
	uint8_t *p;
	size_t need;

	ASSERT(len <= SIZE_MAX - ARENA_ALIGN);
	need = (len + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (need == 0)
		need = ARENA_ALIGN; /* two things never share an address */
	if (ar->cur == NULL || ar->cur->cap - ar->used < need)
		arena_grow(ar, need);
	p = ar->cur->data + ar->used;
	ar->used += need;
	ARENA_SHOW(p, len);
	return p;
}

void *
arena_zalloc(struct arena *ar, size_t len)
{
	void *p = arena_alloc(ar, len);

	memset(p, 0, len);
	return p;
}

void *
arena_array(struct arena *ar, size_t count, size_t len)
{
	ASSERT(len == 0 || count <= SIZE_MAX / len);
	return arena_zalloc(ar, count * len);
}

struct slice
arena_dup(struct arena *ar, struct slice s)
{
	uint8_t *p;

	if (s.len == 0)
		return SLICE_EMPTY;
	p = arena_alloc(ar, s.len);
	memcpy(p, s.ptr, s.len);
	return slice_of(p, s.len);
}

char *
arena_str(struct arena *ar, struct slice s)
{
	char *p;

	ASSERT(s.len < SIZE_MAX);
	p = arena_alloc(ar, s.len + 1);
	if (s.len > 0)
		memcpy(p, s.ptr, s.len);
	p[s.len] = '\0';
	return p;
}

char *
arena_printf(struct arena *ar, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	ASSERT(n >= 0);
	p = arena_alloc(ar, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

struct arena_mark
arena_mark(const struct arena *ar)
{
	return (struct arena_mark){ ar->cur, ar->used };
}

void
arena_reset(struct arena *ar, struct arena_mark mark)
{
	if (mark.block == NULL) {
		arena_clear(ar);
		return;
	}
	ar->cur = mark.block;
	ar->used = mark.used;
	ARENA_HIDE(ar->cur->data + ar->used, ar->cur->cap - ar->used);
	arena_trim(&ar->cur->next);
}

void
arena_clear(struct arena *ar)
{
	arena_trim(&ar->first);
	ar->cur = NULL;
	ar->used = 0;
}

size_t
arena_held(const struct arena *ar)
{
	size_t held = 0;

	for (const struct arena_block *b = ar->first; b != NULL; b = b->next)
		held += sizeof(*b) + b->cap;
	return held;
}
