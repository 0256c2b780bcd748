/* Letters of a join as bytes; see join_letter.h. */
#include "mesh/join_letter.h"

#include <string.h>

#include "blockproto/message_pb.h"
#include "mesh/members_entry.h"

enum join_letter_field {
	LETTER_KIND = 1,
	LETTER_SID = 2,
	LETTER_SHARE = 3,
	LETTER_TAG = 4,
	LETTER_SEALED = 5,
	LETTER_WHY = 6,
	ASKER_ID = 1,
	ASKER_NAME = 2,
	ANSWER_VERDICT = 1,
	ANSWER_DOMAIN = 2,
	ANSWER_SEQ = 3,
	ANSWER_HEAD = 4,
	ANSWER_DOMAIN_NAME = 5,
	ANSWER_INVITER = 6,
	ANSWER_INVITER_NAME = 7,
	ANSWER_TEXT = 8,
};

static void
join_letter_put_bytes(struct buf *out, uint32_t tag, struct slice s)
{
	if (s.len > 0)
		message_pb_put_bytes(out, tag, s);
}

void
join_letter_encode(const struct join_letter *l, struct buf *out)
{
	message_pb_put_number(out, LETTER_KIND, (uint64_t)l->kind);
	join_letter_put_bytes(out, LETTER_SID, l->sid);
	join_letter_put_bytes(out, LETTER_SHARE, l->share);
	join_letter_put_bytes(out, LETTER_TAG, l->tag);
	join_letter_put_bytes(out, LETTER_SEALED, l->sealed);
	if (l->why != 0)
		message_pb_put_number(out, LETTER_WHY, (uint64_t)l->why);
}

static int
join_letter_bad(struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "letter: not what its kind needs");
}

static int
join_letter_judge(const struct join_letter *l, struct err *err)
{
	bool good = false;

	switch (l->kind) {
	case JOIN_LETTER_START:
		good = l->sid.len == PAKE_SID_LEN &&
		       l->share.len == PAKE_SHARE_LEN;
		break;
	case JOIN_LETTER_ANSWER:
		good = l->share.len == PAKE_SHARE_LEN;
		break;
	case JOIN_LETTER_PROVE:
	case JOIN_LETTER_RESULT:
		good = l->tag.len == PAKE_TAG_LEN &&
		       l->sealed.len >= PAKE_SEAL_LEN;
		break;
	case JOIN_LETTER_REFUSED:
		good = l->why >= JOIN_WRONG && l->why <= JOIN_BURNT;
		break;
	}
	return good ? 0 : join_letter_bad(err);
}

int
join_letter_decode(struct join_letter *out, struct slice in, struct err *err)
{
	struct message_pb_field f;
	int rc;

	*out = (struct join_letter){ .kind = JOIN_LETTER_START };
	out->kind = (enum join_letter_kind)0;
	while ((rc = message_pb_next(&in, &f, err)) > 0) {
		if (f.tag == LETTER_KIND && f.value <= JOIN_LETTER_REFUSED)
			out->kind = (enum join_letter_kind)f.value;
		else if (f.tag == LETTER_SID)
			out->sid = f.bytes;
		else if (f.tag == LETTER_SHARE)
			out->share = f.bytes;
		else if (f.tag == LETTER_TAG)
			out->tag = f.bytes;
		else if (f.tag == LETTER_SEALED)
			out->sealed = f.bytes;
		else if (f.tag == LETTER_WHY && f.value <= JOIN_BURNT)
			out->why = (enum join_refusal)f.value;
	}
	return rc < 0 ? rc : join_letter_judge(out, err);
}

void
join_letter_put_asker(const struct join_asker *who, struct buf *out)
{
	join_letter_put_bytes(out, ASKER_ID,
	    slice_of(who->id.b, sizeof(who->id.b)));
	join_letter_put_bytes(out, ASKER_NAME, slice_str(who->name));
}

/* A name for people, or none. */
static bool
join_letter_name(struct slice s, char out[MEMBERS_NAME_MAX])
{
	if (!members_entry_name_is_good(s))
		return false;
	memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
	return true;
}

int
join_letter_asker(struct join_asker *out, struct slice in, struct err *err)
{
	struct message_pb_field f;
	int rc;

	*out = (struct join_asker){ 0 };
	while ((rc = message_pb_next(&in, &f, err)) > 0) {
		if (f.tag == ASKER_ID &&
		    devid_from_bytes(&out->id, f.bytes, err) < 0)
			return ERR_PROTOCOL;
		if (f.tag == ASKER_NAME &&
		    !join_letter_name(f.bytes, out->name))
			return join_letter_bad(err);
	}
	if (rc == 0 && (devid_is_none(&out->id) || out->name[0] == '\0'))
		return join_letter_bad(err);
	return rc;
}

void
join_letter_put_answer(const struct join_answer *a, struct buf *out)
{
	message_pb_put_number(out, ANSWER_VERDICT, (uint64_t)a->verdict);
	join_letter_put_bytes(out, ANSWER_DOMAIN,
	    slice_of(a->domain.b, sizeof(a->domain.b)));
	message_pb_put_number(out, ANSWER_SEQ, a->seq);
	join_letter_put_bytes(out, ANSWER_HEAD,
	    slice_of(a->head, sizeof(a->head)));
	join_letter_put_bytes(out, ANSWER_DOMAIN_NAME,
	    slice_str(a->domain_name));
	join_letter_put_bytes(out, ANSWER_INVITER,
	    slice_of(a->inviter.b, sizeof(a->inviter.b)));
	join_letter_put_bytes(out, ANSWER_INVITER_NAME,
	    slice_str(a->inviter_name));
	join_letter_put_bytes(out, ANSWER_TEXT, slice_str(a->text));
}

/* One field; false when it cannot be so. */
static bool
join_letter_take_answer(struct join_answer *out,
    const struct message_pb_field *f)
{
	const struct slice s = f->bytes;

	switch (f->tag) {
	case ANSWER_VERDICT:
		out->verdict = (enum join_verdict)(f->value & 3);
		return f->value >= JOIN_WELCOME && f->value <= JOIN_DENIED;
	case ANSWER_DOMAIN:
		if (s.len == sizeof(out->domain.b))
			memcpy(out->domain.b, s.ptr, s.len);
		return s.len == sizeof(out->domain.b);
	case ANSWER_SEQ:
		out->seq = f->value;
		return f->kind == MESSAGE_PB_VARINT;
	case ANSWER_HEAD:
		if (s.len == sizeof(out->head))
			memcpy(out->head, s.ptr, s.len);
		return s.len == sizeof(out->head);
	case ANSWER_DOMAIN_NAME:
		return join_letter_name(s, out->domain_name);
	case ANSWER_INVITER:
		return devid_from_bytes(&out->inviter, s, NULL) == 0;
	case ANSWER_INVITER_NAME:
		return join_letter_name(s, out->inviter_name);
	case ANSWER_TEXT:
		if (s.len > COORD_TEXT_MAX || !slice_is_utf8(s))
			return false;
		memcpy(out->text, s.ptr, s.len);
		out->text[s.len] = '\0';
		return true;
	default:
		return true;
	}
}

int
join_letter_answer(struct join_answer *out, struct slice in, struct err *err)
{
	struct message_pb_field f;
	int rc;

	*out = (struct join_answer){ .verdict = JOIN_WELCOME };
	out->verdict = (enum join_verdict)0;
	while ((rc = message_pb_next(&in, &f, err)) > 0)
		if (!join_letter_take_answer(out, &f))
			return join_letter_bad(err);
	if (rc == 0 && out->verdict == 0)
		return join_letter_bad(err);
	return rc;
}
