/* The membership log between two members; see members_talk.h. */
#include "mesh/members_talk.h"

#include <string.h>

#include "blockproto/message_pb.h"
#include "engine/base/assert.h"
#include "engine/base/limits.h"

#define MEMBERS_TALK_ASKS 2u /* from where it ends; and from the start */

enum members_talk_field {
	TALK_KIND = 1,
	TALK_DOMAIN = 2,
	TALK_SEQ = 3,
	TALK_KEPT = 4,
	TALK_HEAD = 5,
	TALK_SUM = 6,
	TALK_PAGE = 7,
	TALK_ENTRY = 8,
};

/* --- bytes --------------------------------------------------------------- */

void
members_talk_encode(const struct members_word *w, struct buf *out)
{
	message_pb_put_number(out, TALK_KIND, (uint64_t)w->kind);
	message_pb_put_bytes(out, TALK_DOMAIN,
	    slice_of(w->domain.b, sizeof(w->domain.b)));
	if (w->seq > 0)
		message_pb_put_number(out, TALK_SEQ, w->seq);
	if (w->kind == MEMBERS_TALK_HEAD) {
		message_pb_put_number(out, TALK_KEPT, w->kept);
		message_pb_put_bytes(out, TALK_HEAD,
		    slice_of(w->head, sizeof(w->head)));
		message_pb_put_bytes(out, TALK_SUM,
		    slice_of(w->sum, sizeof(w->sum)));
	}
	if (w->page > 0)
		message_pb_put_number(out, TALK_PAGE, w->page);
	for (size_t i = 0; i < w->count; i++)
		message_pb_put_bytes(out, TALK_ENTRY, w->entry[i]);
}

static int
members_talk_bad(const struct message_pb_field *f, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "members: field %u is damaged",
	    (unsigned)f->tag);
}

static int
members_talk_take_32(const struct message_pb_field *f, uint8_t out[32],
    struct err *err)
{
	if (f->kind != MESSAGE_PB_BYTES || f->bytes.len != 32)
		return members_talk_bad(f, err);
	memcpy(out, f->bytes.ptr, 32);
	return 0;
}

static int
members_talk_take_number(const struct message_pb_field *f, uint64_t *out,
    struct err *err)
{
	if (f->kind != MESSAGE_PB_VARINT || f->value > INT64_MAX)
		return members_talk_bad(f, err);
	*out = f->value;
	return 0;
}

/* All but the kind, which is known, and the list, which has room. */
static int
members_talk_take(const struct message_pb_field *f, struct members_word *out,
    struct slice *entry, struct err *err)
{
	switch (f->tag) {
	case TALK_DOMAIN:
		return members_talk_take_32(f, out->domain.b, err);
	case TALK_SEQ:
		return members_talk_take_number(f, &out->seq, err);
	case TALK_KEPT:
		return members_talk_take_number(f, &out->kept, err);
	case TALK_HEAD:
		return members_talk_take_32(f, out->head, err);
	case TALK_SUM:
		return members_talk_take_32(f, out->sum, err);
	case TALK_PAGE:
		return members_talk_take_number(f, &out->page, err);
	case TALK_ENTRY:
		if (f->kind != MESSAGE_PB_BYTES ||
		    f->bytes.len > COORD_ENTRY_MAX)
			return members_talk_bad(f, err);
		entry[out->count++] = f->bytes;
		return 0;
	default:
		return 0;
	}
}

/* The kind, and how long the list is; also, that it is protobuf at all. */
static int
members_talk_look(struct slice in, uint64_t *kind, size_t *count,
    struct err *err)
{
	struct message_pb_field f;
	int rc;

	*kind = 0;
	*count = 0;
	while ((rc = message_pb_next(&in, &f, err)) > 0) {
		if (f.tag == TALK_KIND) {
			rc = members_talk_take_number(&f, kind, err);
			if (rc < 0)
				return rc;
		}
		if (f.tag == TALK_ENTRY && ++*count > MEMBERS_TALK_ENTRIES_MAX)
			return err_set(err, ERR_PROTOCOL,
			    "members: over %u entries",
			    MEMBERS_TALK_ENTRIES_MAX);
	}
	return rc;
}

int
members_talk_decode(struct members_word *out, struct slice in, struct arena *ar,
    struct err *err)
{
	struct message_pb_field f;
	struct slice *entry;
	uint64_t kind;
	size_t count;
	int rc = members_talk_look(in, &kind, &count, err);

	*out = (struct members_word){ .kind = MEMBERS_TALK_HEAD };
	if (rc < 0)
		return rc;
	if (kind < MEMBERS_TALK_HEAD || kind > MEMBERS_TALK_BALLOT)
		return err_set(err, ERR_UNSUPPORTED,
		    "members: a word of an unknown kind");
	out->kind = (enum members_talk_kind)kind;
	entry = arena_array(ar, count, sizeof(*entry));
	out->entry = entry;
	while ((rc = message_pb_next(&in, &f, err)) > 0) {
		rc = members_talk_take(&f, out, entry, err);
		if (rc < 0)
			return rc;
	}
	if (rc == 0 && out->kind == MEMBERS_TALK_BALLOT && out->count != 1)
		return err_set(err, ERR_PROTOCOL,
		    "members: a ballot is one entry");
	return rc;
}

/* --- heads --------------------------------------------------------------- */

bool
members_talk_head(struct members_talk *t, const struct members *ms,
    struct members_word *out)
{
	*out = (struct members_word){ .kind = MEMBERS_TALK_HEAD,
		.seq = members_seq(ms),
		.kept = members_kept_count(ms) };
	members_domain(ms, &out->domain);
	members_head(ms, out->head);
	members_sum(ms, out->sum);
	if (out->seq == 0 ||
	    (t->told && memcmp(t->told_sum, out->sum, sizeof(out->sum)) == 0))
		return false;
	t->told = true;
	memcpy(t->told_sum, out->sum, sizeof(out->sum));
	t->asks = MEMBERS_TALK_ASKS;
	return true;
}

static void
members_talk_ask(struct members_talk *t, const struct members *ms,
    uint64_t from, uint64_t page, struct members_word *out)
{
	*out = (struct members_word){ .kind = MEMBERS_TALK_ASK,
		.seq = from,
		.page = page };
	members_domain(ms, &out->domain);
	t->wants = true;
	t->from = from;
	t->from_start = from <= 1;
}

bool
members_talk_agrees(const struct members_talk *t, const struct members *ms)
{
	uint8_t sum[32];

	members_sum(ms, sum);
	return t->heard && memcmp(t->last.sum, sum, sizeof(sum)) == 0;
}

/* By its last HEAD: what do we lack? */
static bool
members_talk_look_at_head(struct members_talk *t, const struct members *ms,
    struct members_word *out)
{
	const struct members_word *w = &t->last;
	const uint64_t seq = members_seq(ms);
	const bool known = members_keeps(ms, w->head);

	t->again = false;
	if (t->deaf || seq == 0 || members_talk_agrees(t, ms))
		return false;
	/* A log without branches, whose end we have: all of it is here. */
	if (known && w->kept <= w->seq)
		return false;
	/* Branches beside the log are told whatever we ask from; a head that
	 * we have not and that is no longer than ours is another branch. */
	if (known)
		members_talk_ask(t, ms, w->seq + 1, 0, out);
	else
		members_talk_ask(t, ms, w->seq > seq ? seq + 1 : 1, 0, out);
	return true;
}

bool
members_talk_on_head(struct members_talk *t, const struct members *ms,
    const struct members_word *w, struct members_word *out)
{
	t->heard = true;
	t->last = *w;
	t->last.entry = NULL;
	t->last.count = 0;
	if (t->wants) {
		t->again = true;
		return false;
	}
	return members_talk_look_at_head(t, ms, out);
}

/* --- entries ------------------------------------------------------------- */

bool
members_talk_on_ask(struct members_talk *t, const struct members *ms,
    const struct members_word *w, struct arena *ar, struct members_word *out)
{
	const size_t kept = members_kept_count(ms);
	struct slice *entry;
	size_t i, len = 256; /* all other fields */

	if (w->page == 0 && t->asks == 0)
		return false;
	if (w->page != 0 && (w->page != t->next_page || w->page >= kept))
		return false;
	if (w->page == 0)
		t->asks--;
	entry = arena_array(ar, MEMBERS_TALK_ENTRIES_MAX, sizeof(*entry));
	*out = (struct members_word){ .kind = MEMBERS_TALK_ENTRIES,
		.entry = entry };
	members_domain(ms, &out->domain);
	for (i = w->page; i < kept; i++) {
		uint64_t seq;
		const struct slice bytes = members_kept(ms, i, &seq);

		if (seq < w->seq && !members_kept_is_beside(ms, i))
			continue;
		if (out->count == MEMBERS_TALK_ENTRIES_MAX ||
		    len + bytes.len + 8 > LIMIT_MEMBERS_LEN)
			break;
		entry[out->count++] = bytes;
		len += bytes.len + 8;
	}
	out->page = t->next_page = i < kept ? i : 0;
	return true;
}

bool
members_talk_wants(const struct members_talk *t)
{
	return t->wants && !t->deaf;
}

bool
members_talk_took(struct members_talk *t, const struct members *ms,
    const struct members_word *w, enum members_verdict v,
    struct members_word *out)
{
	ASSERT(t->wants);
	t->wants = false;
	if (v == MEMBERS_INVALID || (v == MEMBERS_GAP && t->from_start)) {
		t->deaf = true;
		return false;
	}
	if (v == MEMBERS_GAP)
		members_talk_ask(t, ms, 1, 0, out);
	else if (w->page > 0)
		members_talk_ask(t, ms, t->from, w->page, out);
	else if (t->again)
		return members_talk_look_at_head(t, ms, out);
	return t->wants;
}
