/*
 * What wants the signatures of more owners than one: kept, passed on to members
 * that are connected, and put on the log by whoever adds the last signature.
 * See syncd_domain.h, mesh/ballot.h.
 */
#include <string.h>

#include "cli/domain_file.h"
#include "cli/syncd_domain.h"
#include "engine/base/mem.h"

#define SYNCD_BALLOT_VAIN                                                      \
	16u /* then a device is not listened to about them                     \
	     */

/* It changed: on disk, and to be told. */
static void
syncd_ballot_save(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	const struct ballot_item *it;
	const struct digest *wish;
	struct buf b = { 0 };
	struct err err = { 0 };

	for (size_t i = 0; (wish = ballot_denied(d->ballot, i)) != NULL; i++)
		domain_record_put(0, slice_of(wish->b, DIGEST_LEN), &b);
	for (size_t i = 0; (it = ballot_at(d->ballot, i)) != NULL; i++)
		domain_record_put(it->e.seq, it->bytes, &b);
	if (domain_file_put(&sd->home, DOMAIN_FILE_BALLOT, buf_slice(&b),
		&err) < 0)
		log_error(&sd->log, "domain: %s", err.text);
	buf_fini(&b);
	d->ballots++;
}

/* What it had; without a word about what does not fit any more. */
void
syncd_ballot_open(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct buf file = { 0 };
	struct slice rest, entry;
	uint64_t seq;

	if (domain_file_read(&sd->home, DOMAIN_FILE_BALLOT, &file, NULL) < 0) {
		buf_fini(&file);
		return;
	}
	rest = buf_slice(&file);
	while (domain_record_next(&rest, &seq, &entry, NULL) > 0) {
		struct digest wish;

		if (seq > 0) {
			(void)ballot_take(d->ballot, d->ms, entry, true,
			    syncd_domain_now_s(), NULL);
		} else if (entry.len == DIGEST_LEN) {
			memcpy(wish.b, entry.ptr, DIGEST_LEN);
			ballot_deny(d->ballot, &wish);
		}
	}
	buf_fini(&file);
	d->ballots++;
}

/* --- telling ------------------------------------------------------------- */

/* To who has the log that we have: it could not place them else. */
void
syncd_ballot_tell(struct syncd *sd, struct syncd_talker *t)
{
	struct syncd_domain *d = sd->domain;
	const struct ballot_item *it;

	if (t->ballots == d->ballots || !members_talk_agrees(&t->talk, d->ms) ||
	    !syncd_talk_may_hear(sd, &t->id))
		return;
	t->ballots = d->ballots;
	for (size_t i = 0; (it = ballot_at(d->ballot, i)) != NULL; i++) {
		struct members_word w = { .kind = MEMBERS_TALK_BALLOT,
			.entry = &it->bytes,
			.count = 1 };

		members_domain(d->ms, &w.domain);
		syncd_talk_say(sd, &t->id, &w);
	}
}

static void
syncd_ballot_tell_all(struct syncd *sd)
{
	for (size_t i = 0; i < sd->domain->talker.len; i++)
		syncd_ballot_tell(sd, &sd->domain->talker.item[i]);
}

/* On the log with it.  To put it there is to take it off here. */
static int
syncd_ballot_enact(struct syncd *sd, const struct ballot_item *it,
    struct err *err)
{
	const uint64_t seq = it->e.seq;
	uint8_t *copy = mem_dup(it->bytes.ptr, it->bytes.len);
	const int rc =
	    syncd_domain_enact(sd, seq, slice_of(copy, it->bytes.len), err);

	mem_free(copy);
	return rc;
}

static const struct ballot_item *
syncd_ballot_full(const struct syncd *sd, const struct digest *wish)
{
	const struct syncd_domain *d = sd->domain;
	const struct ballot_item *it;

	for (size_t i = 0; (it = ballot_at(d->ballot, i)) != NULL; i++)
		if (ballot_is_full(it, d->ms) &&
		    (wish == NULL || digest_equal(&it->wish, wish)))
			return it;
	return NULL;
}

void
syncd_ballot_finish(struct syncd *sd)
{
	const struct ballot_item *it = syncd_ballot_full(sd, NULL);
	struct err err = { 0 };

	/* One at a time: what is left has to follow it, and is told again. */
	if (it != NULL && syncd_ballot_enact(sd, it, &err) < 0)
		log_warn(&sd->log, "domain ballot: %s", err.text);
}

/* It was signed here: was that the last signature it needs? */
static int
syncd_ballot_look(struct syncd *sd, const struct digest *wish, struct err *err)
{
	const struct ballot_item *it = syncd_ballot_full(sd, wish);

	sd->domain->waits = *wish;
	if (it != NULL)
		return syncd_ballot_enact(sd, it, err);
	syncd_ballot_save(sd);
	syncd_ballot_tell_all(sd);
	return 1;
}

int
syncd_ballot_start(struct syncd *sd, struct slice entry, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	const struct ballot_item *last = NULL, *it;
	struct digest wish;

	if (!syncd_keys_owns(sd))
		return err_set(err, ERR_DENIED,
		    "the key here is no owner's any more");
	switch (ballot_take(d->ballot, d->ms, entry, false,
	    syncd_domain_now_s(), err)) {
	case BALLOT_NEW:
	case BALLOT_MORE:
	case BALLOT_KNOWN:
		break;
	case BALLOT_STALE:
	case BALLOT_INVALID:
		return err != NULL && err->code != 0 ? err->code : ERR_INVALID;
	}
	for (size_t i = 0; (it = ballot_at(d->ballot, i)) != NULL; i++)
		last = it;
	if (last == NULL)
		return err_set(err, ERR_INVALID, "it was denied here before");
	wish = last->wish;
	return syncd_ballot_look(sd, &wish, err);
}

/* --- what comes ---------------------------------------------------------- */

void
syncd_ballot_came(struct syncd *sd, struct syncd_talker *t, struct slice entry)
{
	struct syncd_domain *d = sd->domain;
	struct members_entry e;
	struct err err = { 0 };

	if (t->vain >= SYNCD_BALLOT_VAIN || !syncd_talk_may_hear(sd, &t->id))
		return;
	if (members_entry_decode(&e, entry, NULL) < 0) {
		t->vain++;
		return;
	}
	switch (ballot_take(d->ballot, d->ms, entry, false,
	    syncd_domain_now_s(), &err)) {
	case BALLOT_NEW:
	case BALLOT_MORE:
		log_info(&sd->log, "domain ballot kind=%s name=%s",
		    members_entry_kind_text(e.kind), e.name);
		syncd_ballot_save(sd);
		syncd_ballot_tell_all(sd);
		if (syncd_ballot_full(sd, NULL) != NULL)
			syncd_talk_apply_soon(sd);
		break;
	case BALLOT_KNOWN:
	case BALLOT_STALE:
		break;
	case BALLOT_INVALID:
		t->vain++;
		log_debug(&sd->log, "domain ballot refused: %s", err.text);
		break;
	}
}

void
syncd_ballot_settle(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	if (ballot_follow(d->ballot, d->ms,
		syncd_keys_owns(sd) ? &d->owner : NULL, syncd_domain_now_s()))
		syncd_ballot_save(sd);
	/* Where fewer have to sign now, what waited may have enough. */
	if (sd->net != NULL && syncd_ballot_full(sd, NULL) != NULL)
		syncd_talk_apply_soon(sd);
}

/* --- people -------------------------------------------------------------- */

const struct ballot_item *
syncd_ballot_about(const struct syncd *sd, struct slice device)
{
	const struct syncd_domain *d = sd->domain;
	const struct ballot_item *it;
	struct devid id = { 0 };

	(void)devid_parse(&id, device, NULL);
	for (size_t i = 0; (it = ballot_at(d->ballot, i)) != NULL; i++) {
		if (it->e.kind == MEMBERS_ADD &&
		    (devid_equal(&it->e.device, &id) ||
			slice_equal(slice_str(it->e.name), device)))
			return it;
	}
	return NULL;
}

int
syncd_ballot_answer(struct syncd *sd, struct slice wish, bool yes,
    struct err *err)
{
	struct syncd_domain *d = sd->domain;
	const struct ballot_item *it = ballot_find(d->ballot, wish);
	struct digest what;

	if (it == NULL)
		it = syncd_ballot_about(sd, wish);
	if (it == NULL)
		return err_set(err, ERR_NOT_FOUND,
		    "nothing that waits for signatures is \"%.*s\"",
		    SLICE_FMT(wish));
	what = it->wish;
	if (!yes) {
		ballot_deny(d->ballot, &what);
		syncd_ballot_save(sd);
		return 0;
	}
	if (!syncd_keys_owns(sd))
		return err_set(err, ERR_DENIED,
		    "this device has no owner's key that counts");
	if (!ballot_sign(d->ballot, d->ms, &what, &d->owner))
		return err_set(err, ERR_INVALID, "it takes no more signatures");
	return syncd_ballot_look(sd, &what, err);
}
