/*
 * Growing arrays of plain values, typed by macro.
 *
 *	VEC(struct step) steps = { 0 };
 *	*VEC_ADD(&steps) = step;
 *	for (size_t i = 0; i < steps.len; i++) use(&steps.item[i]);
 *	VEC_FINI(&steps);
 */
#ifndef HOLDFAST_BASE_VEC_H
#define HOLDFAST_BASE_VEC_H

#include <stddef.h>

#define VEC(type)                                                              \
	struct {                                                               \
		type *item;                                                    \
		size_t len;                                                    \
		size_t cap;                                                    \
	}

/* Returns `item` with room for one more; updates *cap. */
void *vec_grow(void *item, size_t len, size_t *cap, size_t size);

/* A pointer to a new, uninitialised last item. */
#define VEC_ADD(v)                                                             \
	((v)->item =                                                           \
		vec_grow((v)->item, (v)->len, &(v)->cap, sizeof(*(v)->item)),  \
	    &(v)->item[(v)->len++])
#define VEC_CLEAR(v) ((void)((v)->len = 0))
#define VEC_FINI(v)                                                            \
	(mem_free((v)->item), (v)->item = NULL, (v)->len = (v)->cap = 0)
/* Remove item i, order not kept. */
#define VEC_DROP(v, i) ((void)((v)->item[i] = (v)->item[--(v)->len]))

#endif
