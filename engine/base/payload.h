/*
 * A payload: one owned block of file data on its way between the network and
 * the disk.  It is made once, handed from owner to owner by pointer and never
 * copied; payload_free() ends it.  Any thread, one owner at a time.
 */
#ifndef HOLDFAST_BASE_PAYLOAD_H
#define HOLDFAST_BASE_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/slice.h"

struct payload {
	uint8_t *block; /* owned: the allocation, maybe a whole frame */
	uint8_t *data;  /* inside `block` */
	size_t len;     /* bytes at `data` */
};

/* A payload of `len` uninitialised bytes. */
struct payload *payload_new(size_t len);
/* Takes `block` (mem_free); `data` lies inside it. */
struct payload *payload_take(uint8_t *block, struct slice data);
void payload_free(struct payload *p); /* accepts NULL */
struct slice payload_slice(const struct payload *p);

#endif
