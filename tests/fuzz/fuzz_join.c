/*
 * Letters of a join from somebody who has the post.
 *
 * The input says what to do with the letters of an honest join: pass them on,
 * bend them, leave them out, repeat them, or put others in their place.
 * Whatever comes: who is asked for was named by who knows the code, and what
 * the joiner believes is what the inviter said.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "mesh/join.h"
#include "mesh/join_letter.h"

#define ROUNDS 12u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct join_code code = { 1, { 1, 2, 3, 4, 5 } };
static const struct join_asker self = { { { 1 } }, "a" };
static const struct join_answer truth = { .verdict = JOIN_WELCOME,
	.domain = { { 2 } },
	.seq = 3,
	.head = { 4 },
	.inviter = { { 5 } } };

/* What arrives of `letter`. */
static void
meddle(struct reader *r, struct buf *letter)
{
	const uint8_t what = reader_u8(r);

	if (what % 4 == 1 && letter->len > 0) {
		const size_t at = reader_u16le(r) % letter->len;

		letter->ptr[at] ^= reader_u8(r);
	} else if (what % 4 == 2) {
		buf_clear(letter);
		buf_put(letter, reader_str(r, COORD_SIGNAL_MAX));
	} else if (what % 4 == 3 && letter->len > 0) {
		letter->len = reader_u16le(r) % letter->len;
	}
}

static bool
is_truth(const struct join_answer *a)
{
	return a->verdict == truth.verdict && a->seq == truth.seq &&
	       a->domain.b[0] == 2 && a->head[0] == 4 && a->inviter.b[0] == 5;
}

static void
round_trip(struct reader *r, struct join_inviter *in, struct join_joiner *j,
    struct buf *letter)
{
	struct buf reply = { 0 };
	struct join_answer answer;
	struct join_asker who;
	enum join_refusal why;
	uint8_t random[PAKE_SCALAR_LEN] = { 7 };
	enum join_event event;

	random[1] = (uint8_t)r->len;
	meddle(r, letter);
	event = join_inviter_take(in, reader_u8(r) % 3, buf_slice(letter), 5,
	    random, &reply, &who);
	if (event == JOIN_ASKED) {
		ASSERT(devid_equal(&who.id, &self.id));
		for (uint64_t i = 0; i < 3; i++)
			join_inviter_answer(in, i, &truth, &reply);
	}
	meddle(r, &reply);
	buf_clear(letter);
	if (join_joiner_take(j, buf_slice(&reply), letter, &answer, &why) ==
	    JOIN_STEP_DONE)
		ASSERT(is_truth(&answer));
	buf_fini(&reply);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t random[PAKE_SID_LEN + PAKE_SCALAR_LEN] = {
		1, [20] = 1
	};
	struct join_inviter *in = join_inviter_new(&code, 10);
	struct buf letter = { 0 };
	struct join_joiner *j = join_joiner_new(&code, &self, random, &letter);
	struct join_place place;
	struct join_code typed;
	struct reader r;

	(void)join_code_parse(&typed, &place, slice_of(data, len), NULL);
	reader_init(&r, slice_of(data, len));
	for (unsigned i = 0; i < ROUNDS && reader_ok(&r) && r.len > 0; i++)
		round_trip(&r, in, j, &letter);
	join_joiner_free(j);
	join_inviter_free(in);
	buf_fini(&letter);
	return 0;
}
