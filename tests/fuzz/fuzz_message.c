/*
 * One message: byte 0 and 1 are its type, little-endian, the rest its body.
 * What was decoded is encoded and decoded again, and must say the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "blockproto/message.h"

/* Only entries that pass the check may be encoded; the others are left out. */
static void
keep_good(struct index_message *m, struct arena *arena)
{
	struct entry *good = arena_array(arena, m->entry_count, sizeof(*good));
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->entry_count; i++) {
		good[n] = m->entry[i];
		if (entry_check(&good[n], NULL) < 0)
			continue;
		entry_normalise(&good[n], arena);
		n++;
	}
	m->entry = good;
	m->entry_count = n;
}

static void
encode(const struct message *m, struct buf *out)
{
	message_encode(m, out);
	if (m->type == MESSAGE_RESPONSE)
		buf_put(out, m->u.response.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { 0 };
	struct buf one = { 0 }, two = { 0 };
	struct message m;
	int32_t type;

	if (size < 2)
		return 0;
	type = data[0] | data[1] << 8;
	if (message_decode(&m, type, slice_of(data + 2, size - 2), &arena,
		NULL) < 0 ||
	    m.type == MESSAGE_UNKNOWN)
		goto out;
	if (m.type == MESSAGE_INDEX || m.type == MESSAGE_INDEX_UPDATE)
		keep_good(&m.u.index, &arena);
	encode(&m, &one);
	if (message_decode(&m, type, buf_slice(&one), &arena, NULL) < 0)
		abort();
	if (m.type == MESSAGE_INDEX || m.type == MESSAGE_INDEX_UPDATE) {
		const uint32_t count = m.u.index.entry_count;

		keep_good(&m.u.index, &arena);
		if (m.u.index.entry_count != count)
			abort();
	}
	encode(&m, &two);
	if (!slice_equal(buf_slice(&one), buf_slice(&two)))
		abort();
out:
	buf_fini(&one);
	buf_fini(&two);
	arena_fini(&arena);
	return 0;
}
