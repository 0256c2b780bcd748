/*
 * Both ends of a join; see join.h.
 *
 * Keys live as long as the exchange and are wiped with it.  A key seals one
 * letter each way, number 0.
 */
#include "mesh/join.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"
#include "mesh/join_letter.h"
#include "mesh/sign.h"

#define JOIN_TO_INVITER "holdfast join, to who invites"
#define JOIN_TO_JOINER "holdfast join, to who joins"

struct join_session {
	bool live;
	bool asked; /* the tag was right: answered once */
	uint64_t stranger;
	uint64_t age; /* a smaller one is older */
	struct pake pake;
};

struct join_inviter {
	struct join_code code;
	int64_t expires_wall_s;
	bool used;
	unsigned wrong;
	uint64_t ages;
	struct join_session session[JOIN_SESSIONS];
};

struct join_joiner {
	struct join_code code;
	struct join_asker self;
	struct pake pake;
	bool answered; /* one ANSWER is looked at, never another */
	bool over;
};

const char *
join_refusal_text(enum join_refusal why)
{
	switch (why) {
	case JOIN_WRONG:
		return "wrong code";
	case JOIN_USED:
		return "this code was used already";
	case JOIN_EXPIRED:
		return "this code has expired";
	case JOIN_BURNT:
		return "this code was tried wrongly too often";
	}
	return "refused";
}

/* What both are doing: a code is for one box. */
static void
join_start(struct pake *p, const struct join_code *code,
    const uint8_t sid[PAKE_SID_LEN], const uint8_t random[PAKE_SCALAR_LEN])
{
	struct buf channel = { 0 };

	buf_printf(&channel, "holdfast join, box %u", (unsigned)code->box);
	pake_start(p, slice_of(code->secret, JOIN_SECRET_LEN),
	    buf_slice(&channel), sid, random);
	buf_fini(&channel);
}

/* A sealed letter: our tag, and `plain` under a key of this direction. */
static void
join_seal(const struct pake *p, enum join_letter_kind kind, const char *label,
    struct slice plain, struct buf *out)
{
	uint8_t key[PAKE_KEY_LEN];
	struct buf sealed = { 0 };
	struct join_letter l = { .kind = kind,
		.tag = slice_of(p->tag, PAKE_TAG_LEN) };

	pake_key(p, label, key);
	pake_seal(key, 0, plain, &sealed);
	l.sealed = buf_slice(&sealed);
	join_letter_encode(&l, out);
	sign_wipe(key, sizeof(key));
	buf_fini(&sealed);
}

static int
join_unseal(const struct pake *p, const char *label, struct slice sealed,
    struct buf *out)
{
	uint8_t key[PAKE_KEY_LEN];
	int rc;

	pake_key(p, label, key);
	rc = pake_unseal(key, 0, sealed, out, NULL);
	sign_wipe(key, sizeof(key));
	return rc;
}

/* --- who invites --------------------------------------------------------- */

struct join_inviter *
join_inviter_new(const struct join_code *code, int64_t expires_wall_s)
{
	struct join_inviter *in = mem_zalloc(sizeof(*in));

	in->code = *code;
	in->expires_wall_s = expires_wall_s;
	return in;
}

void
join_inviter_free(struct join_inviter *in)
{
	if (in == NULL)
		return;
	sign_wipe(in, sizeof(*in));
	mem_free(in);
}

void
join_inviter_blame(struct join_inviter *in, unsigned wrong)
{
	in->wrong = wrong;
}

enum join_state
join_inviter_state(const struct join_inviter *in, int64_t wall_s)
{
	if (in->used)
		return JOIN_IS_USED;
	if (in->wrong >= JOIN_ATTEMPTS)
		return JOIN_IS_BURNT;
	return wall_s >= in->expires_wall_s ? JOIN_IS_EXPIRED : JOIN_IS_OPEN;
}

unsigned
join_inviter_wrong(const struct join_inviter *in)
{
	return in->wrong;
}

static struct join_session *
join_session_of(struct join_inviter *in, uint64_t stranger)
{
	for (size_t i = 0; i < JOIN_SESSIONS; i++)
		if (in->session[i].live && in->session[i].stranger == stranger)
			return &in->session[i];
	return NULL;
}

static void
join_session_end(struct join_session *s)
{
	pake_wipe(&s->pake);
	s->live = false;
}

/* One for `stranger`; the oldest one has to go when there is no room. */
static struct join_session *
join_session_new(struct join_inviter *in, uint64_t stranger)
{
	struct join_session *s = join_session_of(in, stranger);

	for (size_t i = 0; i < JOIN_SESSIONS && s == NULL; i++)
		if (!in->session[i].live)
			s = &in->session[i];
	if (s == NULL)
		s = &in->session[0];
	for (size_t i = 0;
	     i < JOIN_SESSIONS && s->live && s->stranger != stranger; i++)
		if (in->session[i].age < s->age)
			s = &in->session[i];
	join_session_end(s);
	*s = (struct join_session){ .live = true,
		.stranger = stranger,
		.age = ++in->ages };
	return s;
}

static enum join_event
join_refuse(enum join_refusal why, struct buf *reply)
{
	const struct join_letter l = { .kind = JOIN_LETTER_REFUSED,
		.why = why };

	join_letter_encode(&l, reply);
	return JOIN_REPLY;
}

static enum join_event
join_inviter_start(struct join_inviter *in, uint64_t stranger,
    const struct join_letter *l, const uint8_t random[PAKE_SCALAR_LEN],
    struct buf *reply)
{
	struct join_session *s = join_session_new(in, stranger);
	struct join_letter answer = { .kind = JOIN_LETTER_ANSWER };

	join_start(&s->pake, &in->code, l->sid.ptr, random);
	if (pake_finish(&s->pake, false, SLICE_EMPTY, l->share.ptr, SLICE_EMPTY,
		NULL) < 0) {
		join_session_end(s);
		return JOIN_QUIET;
	}
	answer.share = slice_of(s->pake.share, PAKE_SHARE_LEN);
	join_letter_encode(&answer, reply);
	return JOIN_REPLY;
}

static enum join_event
join_inviter_prove(struct join_inviter *in, uint64_t stranger,
    const struct join_letter *l, struct buf *reply, struct join_asker *who)
{
	struct join_session *s = join_session_of(in, stranger);
	struct buf plain = { 0 };
	bool good;

	if (s == NULL || s->asked)
		return JOIN_QUIET;
	good = pake_agrees(&s->pake, l->tag) &&
	       join_unseal(&s->pake, JOIN_TO_INVITER, l->sealed, &plain) == 0 &&
	       join_letter_asker(who, buf_slice(&plain), NULL) == 0;
	buf_fini(&plain);
	if (good) {
		s->asked = true;
		in->used = true;
		return JOIN_ASKED;
	}
	join_session_end(s);
	in->wrong++;
	return join_refuse(in->wrong >= JOIN_ATTEMPTS ? JOIN_BURNT : JOIN_WRONG,
	    reply);
}

enum join_event
join_inviter_take(struct join_inviter *in, uint64_t stranger,
    struct slice letter, int64_t wall_s, const uint8_t random[PAKE_SCALAR_LEN],
    struct buf *reply, struct join_asker *who)
{
	struct join_letter l;

	if (join_letter_decode(&l, letter, NULL) < 0 ||
	    (l.kind != JOIN_LETTER_START && l.kind != JOIN_LETTER_PROVE))
		return JOIN_QUIET;
	switch (join_inviter_state(in, wall_s)) {
	case JOIN_IS_OPEN:
		break;
	case JOIN_IS_USED:
		return join_refuse(JOIN_USED, reply);
	case JOIN_IS_EXPIRED:
		return join_refuse(JOIN_EXPIRED, reply);
	case JOIN_IS_BURNT:
		return join_refuse(JOIN_BURNT, reply);
	}
	if (l.kind == JOIN_LETTER_START)
		return join_inviter_start(in, stranger, &l, random, reply);
	return join_inviter_prove(in, stranger, &l, reply, who);
}

bool
join_inviter_answer(struct join_inviter *in, uint64_t stranger,
    const struct join_answer *answer, struct buf *reply)
{
	struct join_session *s = join_session_of(in, stranger);
	struct buf plain = { 0 };

	if (s == NULL || !s->asked)
		return false;
	join_letter_put_answer(answer, &plain);
	join_seal(&s->pake, JOIN_LETTER_RESULT, JOIN_TO_JOINER,
	    buf_slice(&plain), reply);
	ASSERT(reply->len <= COORD_SIGNAL_MAX);
	join_session_end(s);
	buf_fini(&plain);
	return true;
}

/* --- who joins ----------------------------------------------------------- */

struct join_joiner *
join_joiner_new(const struct join_code *code, const struct join_asker *self,
    const uint8_t random[PAKE_SID_LEN + PAKE_SCALAR_LEN], struct buf *letter)
{
	struct join_joiner *j = mem_zalloc(sizeof(*j));
	struct join_letter l = { .kind = JOIN_LETTER_START };

	j->code = *code;
	j->self = *self;
	join_start(&j->pake, code, random, random + PAKE_SID_LEN);
	l.sid = slice_of(j->pake.sid, PAKE_SID_LEN);
	l.share = slice_of(j->pake.share, PAKE_SHARE_LEN);
	join_letter_encode(&l, letter);
	return j;
}

void
join_joiner_free(struct join_joiner *j)
{
	if (j == NULL)
		return;
	sign_wipe(j, sizeof(*j));
	mem_free(j);
}

static enum join_step
join_joiner_answer(struct join_joiner *j, const struct join_letter *l,
    struct buf *reply)
{
	struct buf plain = { 0 };

	if (j->answered || pake_finish(&j->pake, true, SLICE_EMPTY,
			       l->share.ptr, SLICE_EMPTY, NULL) < 0)
		return JOIN_STEP_NONE;
	j->answered = true;
	join_letter_put_asker(&j->self, &plain);
	join_seal(&j->pake, JOIN_LETTER_PROVE, JOIN_TO_INVITER,
	    buf_slice(&plain), reply);
	buf_fini(&plain);
	return JOIN_STEP_REPLY;
}

static enum join_step
join_joiner_result(struct join_joiner *j, const struct join_letter *l,
    struct join_answer *answer, enum join_refusal *why)
{
	struct buf plain = { 0 };
	bool good;

	if (!j->answered)
		return JOIN_STEP_NONE;
	good = pake_agrees(&j->pake, l->tag) &&
	       join_unseal(&j->pake, JOIN_TO_JOINER, l->sealed, &plain) == 0 &&
	       join_letter_answer(answer, buf_slice(&plain), NULL) == 0;
	buf_fini(&plain);
	j->over = true;
	*why = JOIN_WRONG;
	return good ? JOIN_STEP_DONE : JOIN_STEP_REFUSED;
}

enum join_step
join_joiner_take(struct join_joiner *j, struct slice letter, struct buf *reply,
    struct join_answer *answer, enum join_refusal *why)
{
	struct join_letter l;

	if (j->over || join_letter_decode(&l, letter, NULL) < 0)
		return JOIN_STEP_NONE;
	switch (l.kind) {
	case JOIN_LETTER_ANSWER:
		return join_joiner_answer(j, &l, reply);
	case JOIN_LETTER_RESULT:
		return join_joiner_result(j, &l, answer, why);
	case JOIN_LETTER_REFUSED:
		j->over = true;
		*why = l.why;
		return JOIN_STEP_REFUSED;
	case JOIN_LETTER_START:
	case JOIN_LETTER_PROVE:
		break;
	}
	return JOIN_STEP_NONE;
}
