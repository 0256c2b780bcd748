/*
 * A stream of frames as a session reads it: cut anywhere, taken apart,
 * decompressed, decoded.  Byte 0: whether a Hello comes first, and how many
 * bytes arrive at once.  However it arrives, the frames are the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "blockproto/compress.h"
#include "blockproto/frame.h"
#include "blockproto/message.h"
#include "engine/base/hash.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define OUT_MAX (1u << 20) /* bytes; keeps bombs from eating the time */

struct seen {
	unsigned frames;
	uint64_t hash;
	int rc;
};

static void
take(struct frame *f, struct seen *seen)
{
	struct slice body = slice_of(f->body, f->len);
	struct buf plain = { 0 };
	struct arena arena = { 0 };
	struct hello hello;
	struct message m;

	seen->frames++;
	seen->hash = hash_u64_seed(body, seen->hash + (uint64_t)f->type);
	if (f->kind == FRAME_HELLO)
		(void)message_hello_decode(&hello, body, &arena, NULL);
	else if (compress_undo((enum compress_kind)f->compression, body,
		     OUT_MAX, &plain, NULL) == 0)
		(void)message_decode(&m, f->type, buf_slice(&plain), &arena,
		    NULL);
	buf_fini(&plain);
	arena_fini(&arena);
	mem_free(f->body);
}

static struct seen
walk(struct slice raw, bool hello, size_t step)
{
	struct seen seen = { 0 };
	struct frame_reader fr;
	struct frame f;
	size_t room;

	frame_reader_init(&fr, hello);
	while (raw.len > 0 && seen.rc >= 0) {
		uint8_t *space = frame_reader_space(&fr, &room);

		if (space == NULL)
			abort();
		/* A body that will never come need not be made. */
		if (fr.want > OUT_MAX)
			break;
		room = room < step ? room : step;
		room = room < raw.len ? room : raw.len;
		memcpy(space, raw.ptr, room);
		raw = slice_from(raw, room);
		seen.rc = frame_reader_add(&fr, room, &f, NULL);
		if (seen.rc > 0)
			take(&f, &seen);
	}
	frame_reader_fini(&fr);
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen a, b;
	struct slice raw;

	if (size < 1)
		return 0;
	raw = slice_of(data + 1, size - 1);
	a = walk(raw, (data[0] & 1) != 0, 1u + (data[0] >> 1));
	b = walk(raw, (data[0] & 1) != 0, SIZE_MAX);
	if (a.frames != b.frames || a.hash != b.hash ||
	    (a.rc < 0 || b.rc < 0 ? a.rc != b.rc : false))
		abort();
	return 0;
}
