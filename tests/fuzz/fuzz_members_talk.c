/*
 * Words about a membership log from a hostile peer.
 *
 * The input is a list of words.  One that can be read says the same when it is
 * written and read again; to a node with a log of its own it is as from a peer,
 * and that log never becomes another by what nobody signed.  Nor does an entry
 * that waits for signatures get one.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/limits.h"
#include "mesh/ballot.h"
#include "mesh/members_entry.h"
#include "mesh/members_talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A FOUND that the fuzzer has no key of. */
static struct members *
own_log(void)
{
	struct members_entry e = { .kind = MEMBERS_FOUND,
		.seq = 1,
		.owner_count = 1,
		.need = 1 };
	const struct sign_secret key = { { 1, 2, 3 } };
	struct members *ms = members_new();
	struct buf body = { 0 }, out = { 0 };

	sign_public_of(&key, &e.owner[0]);
	sign_public_of(&key, &e.recovery);
	members_entry_body(&e, &body);
	members_entry_sign(buf_slice(&body), &key, 1, &out);
	ASSERT(members_take(ms, 1, buf_slice(&out), NULL) == MEMBERS_ADDED);
	buf_fini(&body);
	buf_fini(&out);
	return ms;
}

static void
again(const struct members_word *w, struct arena *ar)
{
	struct buf one = { 0 }, two = { 0 };
	struct members_word v;

	members_talk_encode(w, &one);
	ASSERT(members_talk_decode(&v, buf_slice(&one), ar, NULL) == 0);
	members_talk_encode(&v, &two);
	ASSERT(slice_equal(buf_slice(&one), buf_slice(&two)));
	buf_fini(&one);
	buf_fini(&two);
}

static void
hear(struct members_talk *t, struct members *ms, struct ballot *b,
    const struct members_word *w, struct arena *ar)
{
	enum members_verdict v = MEMBERS_KNOWN;
	struct members_word out;

	switch (w->kind) {
	case MEMBERS_TALK_HEAD:
		(void)members_talk_on_head(t, ms, w, &out);
		return;
	case MEMBERS_TALK_ASK:
		if (members_talk_on_ask(t, ms, w, ar, &out))
			again(&out, ar);
		return;
	case MEMBERS_TALK_ENTRIES:
		if (!members_talk_wants(t))
			return;
		for (size_t i = 0;
		     i < w->count && v != MEMBERS_GAP && v != MEMBERS_INVALID;
		     i++)
			v = members_take(ms, members_seq(ms) + 1, w->entry[i],
			    NULL);
		(void)members_talk_took(t, ms, w, v, &out);
		return;
	case MEMBERS_TALK_BALLOT:
		/* As from the disk, too: nobody here can sign. */
		(void)ballot_take(b, ms, w->entry[0], w->seq % 2 == 1, 0, NULL);
		return;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct members *ms = own_log();
	struct members_talk talk = { 0 };
	struct ballot *b = ballot_new();
	struct members_word w;
	struct arena ar = { 0 };
	struct reader r;

	arena_init(&ar);
	(void)members_talk_head(&talk, ms, &w);
	reader_init(&r, slice_of(data, len));
	while (reader_ok(&r) && r.len > 0) {
		const struct slice in = reader_str(&r, LIMIT_MEMBERS_LEN);

		if (members_talk_decode(&w, in, &ar, NULL) == 0) {
			again(&w, &ar);
			hear(&talk, ms, b, &w, &ar);
		}
	}
	ASSERT(members_seq(ms) == 1 && members_kept_count(ms) == 1);
	(void)ballot_follow(b, ms, NULL, 0);
	ASSERT(ballot_at(b, 0) == NULL);
	ballot_free(b);
	members_free(ms);
	arena_fini(&ar);
	return 0;
}
