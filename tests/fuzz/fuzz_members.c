/*
 * A membership log and hostile bytes.
 *
 * The input is a list of words, each an entry: its bytes as they are, or a
 * recipe that is signed here, so that the fuzzer comes past the signatures and
 * makes forks.  Whatever came: the log is a chain from its FOUND, its entries
 * are taken again by an empty one in the order they are kept, and the same
 * comes of it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "mesh/members.h"
#include "mesh/members_entry.h"

#define ENTRIES_MAX 40u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct digest made[ENTRIES_MAX];
static uint64_t made_seq[ENTRIES_MAX];

/* Entry 0 is the FOUND, by key 1; key 9 recovers. */
static void
recipe(struct reader *r, size_t n, struct buf *out)
{
	struct members_entry e = { .kind = MEMBERS_FOUND, .seq = 1 };
	struct sign_secret key = { { 1 } };
	const struct sign_secret recovery = { { 9 } };
	struct buf body = { 0 };
	const uint8_t by = reader_u8(r);

	sign_public_of(&key, &e.owner[0]);
	sign_public_of(&recovery, &e.recovery);
	e.owner_count = 1;
	e.need = 1;
	if (n > 0) {
		const size_t at = reader_u8(r) % n;

		e.kind = (enum members_kind)(2 + reader_u8(r) % 7);
		e.seq = made_seq[at] + 1;
		e.prev = made[at];
		e.device.b[0] = (uint8_t)(1 + reader_u8(r) % 5);
		e.other.b[0] = (uint8_t)(1 + reader_u8(r) % 5);
		e.until_wall_s = reader_u8(r);
		e.service = (enum members_service)(reader_u8(r) % 4);
		e.allowed = (e.until_wall_s & 1) != 0;
		snprintf(e.name, sizeof(e.name), "n%u", reader_u8(r) % 5u);
		key.b[0] = (uint8_t)(1 + reader_u8(r) % 3);
		sign_public_of(&key, &e.owner[0]);
		key.b[0] = by % 4 == 3 ? 9 : (uint8_t)(1 + by % 3);
	}
	members_entry_body(&e, &body);
	members_entry_sign(buf_slice(&body), &key, 1, out);
	digest_of(buf_slice(&body), &made[n]);
	made_seq[n] = e.seq;
	buf_fini(&body);
}

static void
check_chain(const struct members *ms)
{
	struct digest last = { { 0 } };
	struct members_entry e;

	for (uint64_t seq = 1; seq <= members_seq(ms); seq++) {
		ASSERT(members_entry_decode(&e, members_entry(ms, seq), NULL) ==
		       0);
		ASSERT(e.seq == seq);
		ASSERT(digest_equal(&e.prev, &last));
		last = e.digest;
	}
	ASSERT(members_entry(ms, members_seq(ms) + 1).len == 0);
	for (size_t i = 0; i < members_count(ms); i++) {
		const struct member *m = members_at(ms, i);

		ASSERT(members_find(ms, &m->id, 0) == m);
		ASSERT(!members_was(ms, &m->id));
	}
}

static void
check_again(const struct members *ms)
{
	struct members *again = members_new();
	uint8_t a[32], b[32];
	struct slice s;
	uint64_t seq;

	for (size_t i = 0; (s = members_kept(ms, i, &seq)).len > 0; i++) {
		const enum members_verdict v =
		    members_take(again, seq, s, NULL);

		ASSERT(v == MEMBERS_ADDED || v == MEMBERS_FORK ||
		       v == MEMBERS_LOST);
	}
	members_head(ms, a);
	members_head(again, b);
	ASSERT(memcmp(a, b, sizeof(a)) == 0);
	ASSERT(members_count(ms) == members_count(again));
	members_free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct members *ms = members_new();
	struct reader r;
	size_t n = 0;

	reader_init(&r, slice_of(data, len));
	while (reader_ok(&r) && r.len > 0 && n < ENTRIES_MAX) {
		if (reader_u8(&r) % 4 == 0) {
			const struct slice raw =
			    reader_str(&r, COORD_ENTRY_MAX);

			(void)members_take(ms, members_seq(ms) + 1, raw, NULL);
		} else {
			struct buf out = { 0 };

			recipe(&r, n, &out);
			(void)members_take(ms, made_seq[n], buf_slice(&out),
			    NULL);
			buf_fini(&out);
			n++;
		}
		check_chain(ms);
	}
	check_again(ms);
	members_free(ms);
	return 0;
}
