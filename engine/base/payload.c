/*
 * Payloads; see payload.h.
 */
#include "engine/base/payload.h"

#include "engine/base/assert.h"
#include "engine/base/mem.h"

struct payload *
payload_new(size_t len)
{
	struct payload *p = mem_alloc(sizeof(*p));

	p->block = mem_alloc(len);
	p->data = p->block;
	p->len = len;
	return p;
}

struct payload *
payload_take(uint8_t *block, struct slice data)
{
	struct payload *p = mem_alloc(sizeof(*p));

	ASSERT(data.len == 0 || data.ptr >= block);
	p->block = block;
	p->data = block + (data.len == 0 ? 0 : data.ptr - block);
	p->len = data.len;
	return p;
}

void
payload_free(struct payload *p)
{
	if (p == NULL)
		return;
	mem_free(p->block);
	mem_free(p);
}

struct slice
payload_slice(const struct payload *p)
{
	return slice_of(p->data, p->len);
}
