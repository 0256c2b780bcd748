/*
 * Bytes of a coordinator, or of a stranger to ours.  What is accepted keeps the
 * limits, and says the same when it is written and read again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "mesh/coord.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check(const struct coord_message *m, struct arena *ar)
{
	struct buf once = { 0 }, twice = { 0 };
	struct coord_message n;
	size_t used;

	if (m->type == COORD_ENTRIES)
		ASSERT(coord_entries_fit(m->u.entries.entry,
			   m->u.entries.count) <= m->u.entries.count);
	coord_encode(m, &once);
	ASSERT(coord_decode(&n, buf_slice(&once), &used, ar, NULL) == 1);
	ASSERT(used == once.len && n.type == m->type);
	coord_encode(&n, &twice);
	ASSERT(once.len == twice.len &&
	       memcmp(once.ptr, twice.ptr, once.len) == 0);
	buf_fini(&once);
	buf_fini(&twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct slice in = slice_of(data, len);
	struct coord_message m;
	struct coord_url url;
	struct arena ar = { 0 };
	size_t used;
	int rc;

	while ((rc = coord_decode(&m, in, &used, &ar, NULL)) != 0) {
		ASSERT((rc == 1 || rc == ERR_UNSUPPORTED) == (used > 0));
		if (used == 0)
			break;
		ASSERT(used <= COORD_FRAME_MAX + 4 && used <= in.len);
		if (rc == 1)
			check(&m, &ar);
		in = slice_from(in, used);
	}
	if (coord_parse_url(&url, slice_of(data, len), NULL) == 0)
		ASSERT(url.at.scheme == ADDR_TCP && url.at.port != 0);
	arena_fini(&ar);
	return 0;
}
