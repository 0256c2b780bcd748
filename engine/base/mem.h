/*
 * Memory that is never NULL: out of memory ends the process with one line on
 * standard error.  Every write to disk is crash-safe, so that is safe.
 */
#ifndef HOLDFAST_BASE_MEM_H
#define HOLDFAST_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t len);               /* uninitialised; len 0 is 1 byte */
void *mem_zalloc(size_t len);              /* zeroed */
void *mem_array(size_t count, size_t len); /* zeroed; overflow ends us */
/* `len` is a multiple of `align`, a power of two; uninitialised. */
void *mem_aligned(size_t align, size_t len);
void *mem_resize(void *p, size_t len); /* as realloc; takes `p` */
void *mem_dup(const void *p, size_t len);
char *mem_strdup(const char *s);
void mem_free(void *p); /* accepts NULL */

#endif
