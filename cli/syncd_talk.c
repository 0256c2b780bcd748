/*
 * The membership log between connected members; see syncd_domain.h and
 * mesh/members_talk.h.
 *
 * What comes is taken at once and applied a turn of the loop later: to apply is
 * to read the configuration again, which may end the very connection that the
 * word came by.
 */
#include "cli/syncd_domain.h"

#include <string.h>

#include "engine/base/mem.h"

static struct syncd_talker *
syncd_talker_of(const struct syncd *sd, const struct devid *id)
{
	const struct syncd_domain *d = sd->domain;

	for (size_t i = 0; i < d->talker.len; i++)
		if (devid_equal(&d->talker.item[i].id, id))
			return &d->talker.item[i];
	return NULL;
}

bool
syncd_talk_may_hear(const struct syncd *sd, const struct devid *id)
{
	return syncd_domain_is_in(sd) &&
	       members_find(sd->domain->ms, id, syncd_domain_now_s()) != NULL;
}

void
syncd_talk_say(struct syncd *sd, const struct devid *id,
    const struct members_word *w)
{
	struct message m = { .type = MESSAGE_MEMBERS };
	struct buf body = { 0 };

	members_talk_encode(w, &body);
	m.u.members.body = buf_slice(&body);
	if (sd->net != NULL && !sd->stopping)
		(void)net_send(sd->net, id, &m, NULL, 0);
	buf_fini(&body);
}

static void
syncd_talk_head(struct syncd *sd, struct syncd_talker *t)
{
	struct members_word w;

	if (syncd_talk_may_hear(sd, &t->id) &&
	    members_talk_head(&t->talk, sd->domain->ms, &w))
		syncd_talk_say(sd, &t->id, &w);
}

void
syncd_talk_tell(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	for (size_t i = 0; i < d->talker.len; i++) {
		syncd_talk_head(sd, &d->talker.item[i]);
		syncd_ballot_tell(sd, &d->talker.item[i]);
	}
}

void
syncd_talk_forget(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	for (size_t i = 0; i < d->talker.len; i++)
		d->talker.item[i] =
		    (struct syncd_talker){ .id = d->talker.item[i].id };
}

void
syncd_talk_up(struct syncd *sd, const struct devid *id, uint32_t features)
{
	struct syncd_domain *d = sd->domain;

	syncd_talk_down(sd, id);
	if ((features & FEATURE_MEMBERS) == 0)
		return;
	*VEC_ADD(&d->talker) = (struct syncd_talker){ .id = *id };
	syncd_talk_head(sd, &d->talker.item[d->talker.len - 1]);
}

void
syncd_talk_down(struct syncd *sd, const struct devid *id)
{
	struct syncd_domain *d = sd->domain;

	for (size_t i = 0; i < d->talker.len; i++)
		if (devid_equal(&d->talker.item[i].id, id)) {
			VEC_DROP(&d->talker, i);
			return;
		}
}

/* Those beside the log, too, go to coordinators; the log's are pushed. */
static void
syncd_talk_note(struct syncd *sd, enum members_verdict v, uint64_t seq,
    struct slice entry)
{
	struct syncd_domain *d = sd->domain;

	if (v != MEMBERS_ADDED && v != MEMBERS_FORK && v != MEMBERS_LOST)
		return;
	if (v == MEMBERS_LOST)
		for (size_t i = 0; i < d->ready.len; i++)
			(void)coord_client_append(d->ready.item[i], seq, &entry,
			    1);
	if (d->push_from == 0 || seq < d->push_from)
		d->push_from = seq;
}

static void
syncd_talk_on_apply(uv_timer_t *timer)
{
	struct syncd *sd = timer->data;
	struct syncd_domain *d = sd->domain;
	const uint64_t from = d->push_from;

	d->push_from = 0;
	if (sd->stopping)
		return;
	for (size_t i = 0; from > 0 && i < d->ready.len; i++)
		syncd_domain_push(sd, d->ready.item[i], from);
	if (from > 0)
		syncd_domain_apply(sd);
	syncd_ballot_finish(sd);
}

void
syncd_talk_apply_soon(struct syncd *sd)
{
	uv_timer_start(&sd->domain->apply_timer, syncd_talk_on_apply, 0, 0);
}

static void
syncd_talk_on_entries(struct syncd *sd, struct syncd_talker *t,
    const struct members_word *w)
{
	struct syncd_domain *d = sd->domain;
	enum members_verdict v = MEMBERS_KNOWN;
	struct members_word out;

	if (!members_talk_wants(&t->talk))
		return;
	for (size_t i = 0;
	     i < w->count && v != MEMBERS_GAP && v != MEMBERS_INVALID; i++) {
		struct members_entry e;

		v = MEMBERS_INVALID;
		if (members_entry_decode(&e, w->entry[i], NULL) < 0)
			break;
		v = syncd_domain_take(sd, e.seq, w->entry[i]);
		syncd_talk_note(sd, v, e.seq, w->entry[i]);
		if (v != MEMBERS_GAP && v != MEMBERS_INVALID)
			syncd_rotate_heard(sd, w->entry[i]);
	}
	if (members_talk_took(&t->talk, d->ms, w, v, &out))
		syncd_talk_say(sd, &t->id, &out);
	if (d->push_from > 0)
		syncd_talk_apply_soon(sd);
}

void
syncd_talk_said(struct syncd *sd, const struct devid *id, struct slice body)
{
	struct syncd_talker *t = syncd_talker_of(sd, id);
	struct syncd_domain *d = sd->domain;
	struct members_word w, out;
	struct arena ar = { 0 };

	if (t == NULL || !d->has_pin || sd->stopping)
		return;
	arena_init(&ar);
	if (members_talk_decode(&w, body, &ar, NULL) < 0 ||
	    memcmp(w.domain.b, d->pin.domain.b, sizeof(w.domain.b)) != 0) {
		arena_fini(&ar);
		return;
	}
	switch (w.kind) {
	case MEMBERS_TALK_HEAD:
		if (members_talk_on_head(&t->talk, d->ms, &w, &out))
			syncd_talk_say(sd, id, &out);
		syncd_ballot_tell(sd, t);
		syncd_rotate_look(sd);
		break;
	case MEMBERS_TALK_ASK:
		if (syncd_talk_may_hear(sd, id) &&
		    members_talk_on_ask(&t->talk, d->ms, &w, &ar, &out))
			syncd_talk_say(sd, id, &out);
		break;
	case MEMBERS_TALK_ENTRIES:
		syncd_talk_on_entries(sd, t, &w);
		break;
	case MEMBERS_TALK_BALLOT:
		syncd_ballot_came(sd, t, w.entry[0]);
		break;
	}
	arena_fini(&ar);
}

void
syncd_talk_open(struct syncd *sd)
{
	uv_timer_init(sd->loop, &sd->domain->apply_timer);
	sd->domain->apply_timer.data = sd;
}

void
syncd_talk_close(struct syncd *sd)
{
	VEC_FINI(&sd->domain->talker);
}
