/*
 * One entry: the bytes of a FileInfo, decoded, judged, made fit for the index.
 * An entry that passed must keep passing, equal its copy, and be orderly.
 */
#include <stdint.h>
#include <stdlib.h>

#include "blockproto/blocks.h"
#include "blockproto/message.h"
#include "engine/base/limits.h"

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void
try_entry(struct entry *e, struct arena *arena)
{
	struct entry once, twice;

	if (entry_check(e, NULL) < 0)
		return;
	entry_normalise(e, arena);
	must(entry_check(e, NULL) == 0);
	must(version_is_canonical(e->version));
	must(e->size >= 0 && e->mtime_ns >= 0 && e->mtime_ns <= 999999999);
	must(e->block_count == 0 || e->block != NULL);
	if (e->type == ENTRY_FILE && !e->deleted && !e->invalid) {
		must(e->block_count == blocks_count(e->size, e->block_size));
		must(blocks_size_is_valid(e->block_size));
	}
	once = entry_dup(e, arena);
	must(entry_same(&once, e));
	must(version_equal(once.version, e->version));
	twice = once;
	entry_normalise(&twice, arena);
	must(digest_equal(&once.blocks_hash, &twice.blocks_hash));
	must(entry_same(&once, &twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { 0 };
	struct buf body = { 0 };
	struct message m;

	/* Field 2 of an Index. */
	buf_put_u8(&body, 0x12);
	buf_put_str(&body, slice_of(data, size));
	if (message_decode(&m, MESSAGE_INDEX, buf_slice(&body), &arena, NULL) ==
	    0) {
		struct entry e = m.u.index.entry[0];

		must(m.u.index.entry_count == 1);
		try_entry(&e, &arena);
	}
	buf_fini(&body);
	arena_fini(&arena);
	return 0;
}
