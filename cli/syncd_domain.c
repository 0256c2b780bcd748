/*
 * The daemon's domain: the log, on disk and at coordinators; see
 * syncd_domain.h.
 */
#include "cli/syncd_domain.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "cli/domain_file.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/net_coord_uv.h"

#define SYNCD_FORMER_MAX 4096u /* names of those that were; the newest stay */

int64_t
syncd_domain_now_s(void)
{
	return syncd_now().wall_ns / (int64_t)CLOCK_S;
}

bool
syncd_domain_is_in(const struct syncd *sd)
{
	return members_find(sd->domain->ms, identity_devid(sd->identity),
		   syncd_domain_now_s()) != NULL;
}

/* --- What others have to know --- */

/* May both use the other's folders? */
static bool
syncd_domain_allows(const struct syncd *sd, const struct devid *other)
{
	const struct devid *self = identity_devid(sd->identity);
	const struct members *ms = sd->domain->ms;

	return members_may(ms, self, other, MEMBERS_SYNC) &&
	       members_may(ms, other, self, MEMBERS_SYNC);
}

enum net_answer
syncd_domain_diag(const struct syncd *sd, uint32_t device)
{
	const struct devid *id = &sd->cfg.setup.device[device].id;
	const struct members *ms = sd->domain->ms;
	const bool on = sd->cfg.device[device].diag;

	if (!syncd_domain_is_in(sd) ||
	    members_find(ms, id, syncd_domain_now_s()) == NULL)
		return on ? NET_ANSWER : NET_ANSWER_SILENT;
	return on && members_may(ms, id, identity_devid(sd->identity),
			 MEMBERS_DIAG)
		   ? NET_ANSWER
		   : NET_ANSWER_REFUSE;
}

/* A rule that is new holds from now on, whatever else changed. */
static void
syncd_domain_rule(struct syncd *sd)
{
	for (uint32_t i = 0; sd->net != NULL && i < sd->cfg.setup.device_count;
	     i++)
		net_set_diag(sd->net, &sd->cfg.setup.device[i].id,
		    syncd_domain_diag(sd, i));
	syncd_forward_judge(sd);
}

typedef VEC(struct config_member) syncd_member_list;

static bool
syncd_member_is_named(const syncd_member_list *list, struct slice name)
{
	for (size_t i = 0; i < list->len; i++)
		if (slice_equal(list->item[i].name, name))
			return true;
	return false;
}

/* A name that a device had, newest first: no newer one has taken it. */
static void
syncd_member_put_former(const struct syncd *sd, const struct members_entry *e,
    struct arena *ar, syncd_member_list *list)
{
	const struct member *m =
	    members_find(sd->domain->ms, &e->device, syncd_domain_now_s());
	struct config_member c = { .kind = CONFIG_GONE };

	if ((e->kind != MEMBERS_ADD && e->kind != MEMBERS_RENAME) ||
	    list->len >= SYNCD_FORMER_MAX ||
	    syncd_member_is_named(list, slice_str(e->name)))
		return;
	if (devid_equal(&e->device, identity_devid(sd->identity)))
		return;
	if (m != NULL && syncd_domain_is_in(sd)) {
		c.kind = CONFIG_FORMER;
		c.id = m->id;
	}
	c.name = slice_str(arena_str(ar, slice_str(e->name)));
	*VEC_ADD(list) = c;
}

/* An ID that a device had, this one too: what is known by it is its. */
static void
syncd_member_put_rotated(const struct syncd *sd, const struct members_entry *e,
    struct arena *ar, syncd_member_list *list)
{
	struct config_member c = { .kind = CONFIG_ROTATED };
	char was[DEVID_TEXT_LEN + 1];

	if (e->kind != MEMBERS_ROTATE || list->len >= SYNCD_FORMER_MAX ||
	    !members_now(sd->domain->ms, &e->device, &c.id) ||
	    devid_equal(&c.id, &e->device))
		return;
	devid_text(&e->device, was);
	c.name = slice_str(arena_str(ar, slice_str(was)));
	if (!syncd_member_is_named(list, c.name))
		*VEC_ADD(list) = c;
}

/* Everybody but us; nobody when we are no member ourselves. */
static void
syncd_domain_list(const struct syncd *sd, struct arena *ar,
    syncd_member_list *list)
{
	const struct members *ms = sd->domain->ms;
	struct devid self = *identity_devid(sd->identity);
	const struct member *m;

	(void)members_now(ms, &self, &self);
	for (size_t i = 0;
	     syncd_domain_is_in(sd) && (m = members_at(ms, i)) != NULL; i++) {
		if (devid_equal(&m->id, &self))
			continue;
		*VEC_ADD(list) = (struct config_member){
			.kind = syncd_domain_allows(sd, &m->id) ? CONFIG_MEMBER
								: CONFIG_DENIED,
			.id = m->id,
			.name = slice_str(arena_str(ar, slice_str(m->name))),
		};
	}
	for (uint64_t seq = members_seq(ms); seq > 0; seq--) {
		struct members_entry e;

		if (members_entry_decode(&e, members_entry(ms, seq), NULL) < 0)
			continue;
		syncd_member_put_former(sd, &e, ar, list);
		syncd_member_put_rotated(sd, &e, ar, list);
	}
}

/* Write it when it is another than before; did it change? */
static bool
syncd_domain_put_members(struct syncd *sd)
{
	syncd_member_list list = { 0 };
	struct buf text = { 0 }, was = { 0 };
	struct arena ar = { 0 };
	struct err err = { 0 };
	bool changed;

	syncd_domain_list(sd, &ar, &list);
	domain_record_put_members(list.item, list.len, &text);
	changed =
	    domain_file_read(&sd->home, DOMAIN_FILE_MEMBERS, &was, NULL) < 0 ||
	    !slice_equal(buf_slice(&was), buf_slice(&text));
	if (changed && domain_file_put(&sd->home, DOMAIN_FILE_MEMBERS,
			   buf_slice(&text), &err) < 0)
		log_error(&sd->log, "domain: %s", err.text);
	VEC_FINI(&list);
	buf_fini(&text);
	buf_fini(&was);
	arena_fini(&ar);
	return changed;
}

/*
 * The configuration has a mistake just now, so it cannot be read again: but
 * who was removed is not waited for.
 */
static void
syncd_domain_cut(struct syncd *sd)
{
	struct setup *su = &sd->cfg.setup;
	struct setup_device *dev = arena_array(&sd->cfg_arena[sd->cfg_at],
	    su->device_count, sizeof(*dev));
	struct event ev = { .kind = EVENT_SETUP };

	for (uint32_t i = 0; i < su->device_count; i++) {
		dev[i] = su->device[i];
		if (sd->cfg.device[i].member &&
		    (!syncd_domain_is_in(sd) ||
			members_find(sd->domain->ms, &dev[i].id,
			    syncd_domain_now_s()) == NULL ||
			!syncd_domain_allows(sd, &dev[i].id)))
			dev[i].paused = true;
	}
	su->device = dev;
	(void)syncd_net_configure(sd, NULL);
	ev.u.setup = *su;
	syncd_step(sd, &ev);
}

/* --- The pin --- */

/* Have we the entry that was pinned, on the log or beside it? */
static bool
syncd_domain_meets_pin(const struct syncd_domain *d)
{
	struct members_entry e;
	struct slice bytes;
	uint64_t seq;

	if (!d->has_pin || d->pin.seq == 0)
		return true;
	for (size_t i = 0; (bytes = members_kept(d->ms, i, &seq)).len > 0; i++)
		if (seq == d->pin.seq &&
		    members_entry_decode(&e, bytes, NULL) == 0 &&
		    memcmp(e.digest.b, d->pin.head, DIGEST_LEN) == 0)
			return true;
	return false;
}

static void
syncd_domain_put_pin(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct domain_pin pin = { .seq = members_seq(d->ms) };
	struct buf text = { 0 };
	struct err err = { 0 };

	members_domain(d->ms, &pin.domain);
	members_head(d->ms, pin.head);
	if (d->has_pin && d->pin.seq == pin.seq &&
	    memcmp(d->pin.head, pin.head, sizeof(pin.head)) == 0)
		return;
	d->pin = pin;
	d->has_pin = true;
	domain_record_put_pin(&pin, &text);
	if (domain_file_put(&sd->home, DOMAIN_FILE_PIN, buf_slice(&text),
		&err) < 0)
		log_error(&sd->log, "domain: %s", err.text);
	buf_fini(&text);
}

void
syncd_domain_hide(struct syncd *sd)
{
	static const uint8_t head[32];

	if (sd->net == NULL || !sd->domain->told)
		return;
	sd->domain->told = false;
	VEC_CLEAR(&sd->domain->ready);
	net_coord_set_domain(sd->net, NULL, 0, head);
}

void
syncd_domain_tell(struct syncd *sd, bool from_start)
{
	struct syncd_domain *d = sd->domain;
	uint8_t head[32] = { 0 };
	struct coord_id id;
	uint64_t seq = 0;

	if (sd->net == NULL || !d->has_pin)
		return;
	id = d->pin.domain;
	if (!from_start) {
		seq = members_seq(d->ms);
		members_head(d->ms, head);
	}
	d->told = true;
	net_coord_set_domain(sd->net, &id, seq, head);
}

/* Who has which private address. */
static void
syncd_domain_number(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	fixedaddr_book_free(d->fixed);
	d->fixed = syncd_domain_is_in(sd) ? fixedaddr_book_new(d->ms) : NULL;
}

void
syncd_domain_apply(struct syncd *sd)
{
	struct err err = { 0 };

	if (!syncd_domain_meets_pin(sd->domain)) {
		log_warn(&sd->log, "domain short: the log does not reach what "
				   "was pinned yet");
		return;
	}
	syncd_domain_put_pin(sd);
	syncd_domain_number(sd);
	syncd_keys_settle(sd);
	syncd_ballot_settle(sd);
	syncd_domain_tell(sd, false);
	/* Before connections end by it: who is told so now may wait for it. */
	syncd_talk_tell(sd);
	if (syncd_domain_put_members(sd) && sd->net != NULL && !sd->stopping &&
	    syncd_reload(sd, &err) < 0) {
		log_error(&sd->log, "domain reload: %s", err.text);
		syncd_domain_cut(sd);
	}
	syncd_domain_rule(sd);
	syncd_talk_tell(sd);
	syncd_rotate_changed(sd);
	syncd_join_look(sd);
}

/* --- Entries --- */

/* On disk before anybody acts on it. */
static bool
syncd_domain_keep(struct syncd *sd, uint64_t seq, struct slice entry)
{
	struct buf b = { 0 };
	struct err err = { 0 };
	int rc;

	domain_record_put(seq, entry, &b);
	rc =
	    domain_file_append(&sd->home, DOMAIN_FILE_LOG, buf_slice(&b), &err);
	if (rc < 0) {
		log_error(&sd->log, "domain: %s", err.text);
		sd->domain->unkept = true;
	}
	buf_fini(&b);
	return rc == 0;
}

/* Into an empty log goes the FOUND of the domain that was pinned, alone. */
static bool
syncd_domain_is_ours(const struct syncd_domain *d, struct slice entry)
{
	struct members_entry e;

	if (members_seq(d->ms) > 0)
		return true;
	return d->has_pin && members_entry_decode(&e, entry, NULL) == 0 &&
	       memcmp(e.digest.b, d->pin.domain.b, DIGEST_LEN) == 0;
}

static const char *const syncd_verdict[] = {
	[MEMBERS_ADDED] = "added",
	[MEMBERS_KNOWN] = "known",
	[MEMBERS_GAP] = "gap",
	[MEMBERS_FORK] = "fork",
	[MEMBERS_LOST] = "lost",
	[MEMBERS_INVALID] = "invalid",
};

/* Once for each time a line comes up: it might go on for ever. */
static void
syncd_domain_complain(struct syncd *sd, uint64_t seq, enum members_verdict v,
    const struct err *err)
{
	struct syncd_domain *d = sd->domain;

	if (!d->complained)
		log_warn(&sd->log,
		    "domain entry seq=%llu verdict=%s reason=\"%s\"",
		    (unsigned long long)seq, syncd_verdict[v], err->text);
	d->complained = true;
}

enum members_verdict
syncd_domain_take(struct syncd *sd, uint64_t seq, struct slice entry)
{
	struct syncd_domain *d = sd->domain;
	enum members_verdict v = MEMBERS_INVALID;
	struct err err = { 0 };

	if (!syncd_domain_is_ours(d, entry))
		return v;
	v = members_take(d->ms, seq, entry, &err);
	switch (v) {
	case MEMBERS_KNOWN:
		break;
	case MEMBERS_GAP:
	case MEMBERS_INVALID:
		syncd_domain_complain(sd, seq, v, &err);
		break;
	case MEMBERS_ADDED:
	case MEMBERS_FORK:
	case MEMBERS_LOST:
		log_info(&sd->log, "domain entry seq=%llu verdict=%s",
		    (unsigned long long)seq, syncd_verdict[v]);
		/* What the disk does not take counts all the same. */
		(void)syncd_domain_keep(sd, seq, entry);
		break;
	}
	return v;
}

static void
syncd_domain_on_entries(void *arg, struct coord_client *line, uint64_t seq,
    const struct slice *entry, size_t count)
{
	struct syncd *sd = arg;
	struct syncd_domain *d = sd->domain;
	struct coord_client_state state;
	bool changed = false, gap = false;

	coord_client_state(line, &state);
	for (size_t i = 0; i < count && !gap; i++) {
		const bool empty = members_seq(d->ms) == 0;
		const enum members_verdict v =
		    syncd_domain_take(sd, seq + i, entry[i]);

		gap = v == MEMBERS_GAP;
		/* What this very device keeps as a coordinator tells nobody. */
		if (v != MEMBERS_GAP && v != MEMBERS_INVALID &&
		    !devid_equal(&state.id, identity_devid(sd->identity)))
			syncd_rotate_heard(sd, entry[i]);
		changed = changed || v == MEMBERS_ADDED || v == MEMBERS_FORK ||
			  v == MEMBERS_LOST;
		/* Of a log whose FOUND we lack nothing else is looked at. */
		if (empty && members_seq(d->ms) == 0)
			break;
	}
	if (gap && !d->again) {
		d->again = true;
		syncd_domain_tell(sd, true);
	}
	if (changed)
		syncd_domain_apply(sd);
}

void
syncd_domain_push(struct syncd *sd, struct coord_client *line, uint64_t seq)
{
	const struct members *ms = sd->domain->ms;
	VEC(struct slice) list = { 0 };
	size_t n;

	for (uint64_t i = seq; i <= members_seq(ms); i++)
		*VEC_ADD(&list) = members_entry(ms, i);
	for (size_t at = 0; at < list.len; at += n) {
		n = coord_entries_fit(list.item + at, list.len - at);
		if (!coord_client_append(line, seq + at, list.item + at, n))
			break;
	}
	VEC_FINI(&list);
}

static void
syncd_domain_on_up(void *arg, struct coord_client *line,
    const struct coord_message *welcome)
{
	struct syncd *sd = arg;
	struct syncd_domain *d = sd->domain;

	d->again = false;
	d->complained = false;
	if (d->told) {
		if (welcome->u.welcome.seq < members_seq(d->ms))
			syncd_domain_push(sd, line, welcome->u.welcome.seq + 1);
		*VEC_ADD(&d->ready) = line;
	}
	syncd_join_up(sd, line);
}

static void
syncd_domain_on_down(void *arg, struct coord_client *line)
{
	struct syncd *sd = arg;
	struct syncd_domain *d = sd->domain;

	for (size_t i = 0; i < d->ready.len; i++)
		if (d->ready.item[i] == line) {
			VEC_DROP(&d->ready, i);
			break;
		}
	syncd_join_down(sd, line);
}

static void
syncd_domain_on_box(void *arg, struct coord_client *line, uint32_t box)
{
	syncd_join_box(arg, line, box);
}

static void
syncd_domain_on_mail(void *arg, struct coord_client *line, uint32_t box,
    uint64_t stranger, struct slice body)
{
	syncd_join_mail(arg, line, box, stranger, body);
}

static void
syncd_domain_on_refused(void *arg, struct coord_client *line,
    enum coord_type what, enum coord_code code, const char *text)
{
	struct syncd *sd = arg;

	if (what == COORD_ENTRIES)
		log_warn(&sd->log, "domain refused by=coordinator text=\"%s\"",
		    text);
	syncd_join_refused(sd, line, what, code, text);
}

/* --- Signing --- */

int
syncd_domain_enact(struct syncd *sd, uint64_t seq, struct slice entry,
    struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct members_entry e;

	if (members_take(d->ms, seq, entry, err) != MEMBERS_ADDED)
		return err != NULL && err->code == ERR_DENIED
			   ? err_set(err, ERR_DENIED,
				 "the key here is no owner's any more")
			   : ERR_INVALID;
	/* What cannot be kept is told all the same: it counts. */
	(void)syncd_domain_keep(sd, seq, entry);
	for (size_t i = 0; i < d->ready.len; i++)
		syncd_domain_push(sd, d->ready.item[i], seq);
	if (members_entry_decode(&e, entry, NULL) == 0)
		log_info(&sd->log, "domain sign seq=%llu kind=%s name=%s",
		    (unsigned long long)seq, members_entry_kind_text(e.kind),
		    e.name);
	syncd_domain_apply(sd);
	return 0;
}

/* By `key`, which may be another than the one that is kept here. */
static int
syncd_domain_sign(struct syncd *sd, struct members_entry *e,
    const struct sign_secret *key, bool alone, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct buf body = { 0 }, entry = { 0 };
	const struct sign_public *owner;
	uint32_t need;
	int rc;

	members_owners(d->ms, &owner, &need);
	e->seq = members_seq(d->ms) + 1;
	members_head(d->ms, e->prev.b);
	e->wall_s = syncd_domain_now_s();
	e->by = *identity_devid(sd->identity);
	members_entry_body(e, &body);
	members_entry_sign(buf_slice(&body), key, 1, &entry);
	rc = need > 1 && !alone
		 ? syncd_ballot_start(sd, buf_slice(&entry), err)
		 : syncd_domain_enact(sd, e->seq, buf_slice(&entry), err);
	buf_fini(&body);
	buf_fini(&entry);
	return rc;
}

int
syncd_domain_make(struct syncd *sd, struct members_entry *e, struct err *err)
{
	if (!sd->domain->has_owner)
		return err_set(err, ERR_DENIED,
		    "this device has no owner's key; do it where the domain "
		    "was founded");
	return syncd_domain_sign(sd, e, &sd->domain->owner, false, err);
}

/* The first entry, signed with `owner`. */
static int
syncd_domain_first(struct syncd *sd, const struct sign_secret *owner,
    const struct sign_secret *recovery, struct err *err)
{
	struct members_entry e = { .kind = MEMBERS_FOUND,
		.seq = 1,
		.wall_s = syncd_domain_now_s(),
		.by = *identity_devid(sd->identity),
		.owner_count = 1,
		.need = 1 };
	struct buf body = { 0 }, entry = { 0 };
	enum members_verdict v;

	sign_public_of(owner, &e.owner[0]);
	sign_public_of(recovery, &e.recovery);
	if (members_entry_name_is_good(sd->cfg.setup.name))
		memcpy(e.name, sd->cfg.setup.name.ptr, sd->cfg.setup.name.len);
	members_entry_body(&e, &body);
	members_entry_sign(buf_slice(&body), owner, 1, &entry);
	v = members_take(sd->domain->ms, 1, buf_slice(&entry), err);
	if (v == MEMBERS_ADDED)
		(void)syncd_domain_keep(sd, 1, buf_slice(&entry));
	buf_fini(&body);
	buf_fini(&entry);
	return v == MEMBERS_ADDED ? 0 : ERR_INVALID;
}

int
syncd_domain_found(struct syncd *sd, struct sign_secret *recovery,
    struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct members_entry e = { .kind = MEMBERS_ADD,
		.device = *identity_devid(sd->identity) };
	struct sign_secret owner = { { 0 } };
	int rc;

	if (d->has_pin || members_seq(d->ms) > 0)
		return err_set(err, ERR_EXISTS, "this device has a domain");
	if (getrandom(recovery->b, sizeof(recovery->b), 0) !=
	    (ssize_t)sizeof(recovery->b))
		return err_sys(err, errno, "random numbers");
	rc = syncd_keys_make(sd, DOMAIN_FILE_OWNER, &owner, err);
	if (rc == 0)
		rc = syncd_domain_first(sd, &owner, recovery, err);
	if (rc == 0) {
		d->owner = owner;
		d->has_owner = true;
		snprintf(e.name, sizeof(e.name), "%s",
		    members_entry_name_is_good(sd->cfg.setup.name)
			? (const char *)sd->cfg.setup.name.ptr
			: "device");
		VEC_CLEAR(&d->ready); /* they knew a stranger */
		rc = syncd_domain_make(sd, &e, err);
	}
	sign_wipe(&owner, sizeof(owner));
	return rc;
}

int
syncd_domain_recover(struct syncd *sd, const struct sign_secret *recovery,
    struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct members_entry e = { .kind = MEMBERS_OWNERS,
		.owner_count = 1,
		.need = 1 };
	struct sign_public public;
	int rc;

	sign_public_of(recovery, &public);
	if (members_seq(d->ms) == 0)
		return err_set(err, ERR_NOT_FOUND, "this device has no domain");
	if (!sign_public_equal(&public, members_recovery(d->ms)))
		return err_set(err, ERR_DENIED,
		    "this is not the recovery key of this domain");
	rc = syncd_keys_make(sd, DOMAIN_FILE_OWNER_NEXT, &d->next, err);
	if (rc < 0)
		return rc;
	d->has_next = true;
	sign_public_of(&d->next, &e.owner[0]);
	return syncd_domain_sign(sd, &e, recovery, true, err);
}

int
syncd_domain_enter(struct syncd *sd, const struct coord_id *domain,
    uint64_t seq, const uint8_t head[32], struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct buf text = { 0 };
	int rc = 0;

	if (d->has_pin &&
	    memcmp(d->pin.domain.b, domain->b, sizeof(domain->b)) != 0) {
		rc =
		    domain_file_put_aside(&sd->home, syncd_domain_now_s(), err);
		if (rc < 0)
			return rc;
		members_free(d->ms);
		d->ms = members_new();
		syncd_domain_number(sd);
		ballot_free(d->ballot);
		d->ballot = ballot_new();
		syncd_talk_forget(sd);
		syncd_keys_forget(sd);
	}
	/* Of the same domain we may know more already. */
	if (seq < members_seq(d->ms)) {
		syncd_domain_tell(sd, false);
		return 0;
	}
	d->pin = (struct domain_pin){ .domain = *domain, .seq = seq };
	memcpy(d->pin.head, head, sizeof(d->pin.head));
	d->has_pin = true;
	domain_record_put_pin(&d->pin, &text);
	rc = domain_file_put(&sd->home, DOMAIN_FILE_PIN, buf_slice(&text), err);
	buf_fini(&text);
	VEC_CLEAR(&d->ready);
	syncd_domain_tell(sd, members_seq(d->ms) == 0);
	return rc;
}

/* --- Opening and closing --- */

/* The log from disk; what is torn or makes no sense there is cut off. */
static int
syncd_domain_read_log(struct syncd *sd, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct buf file = { 0 };
	struct slice rest, entry;
	struct err why = { 0 };
	uint64_t seq;
	int rc = domain_file_read(&sd->home, DOMAIN_FILE_LOG, &file, err);

	if (rc == ERR_NOT_FOUND)
		rc = 0;
	rest = buf_slice(&file);
	while (rc == 0 && rest.len > 0) {
		struct slice next = rest;
		const int got = domain_record_next(&next, &seq, &entry, &why);

		if (got < 0 ||
		    members_take(d->ms, seq, entry, &why) >= MEMBERS_INVALID) {
			log_warn(&sd->log, "domain log: %s; %zu bytes are cut",
			    why.text, rest.len);
			rc = domain_file_cut(&sd->home, DOMAIN_FILE_LOG,
			    file.len - rest.len, err);
			break;
		}
		rest = next;
	}
	buf_fini(&file);
	return rc;
}

static int
syncd_domain_read_pin(struct syncd *sd, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct buf file = { 0 };
	int rc = domain_file_read(&sd->home, DOMAIN_FILE_PIN, &file, err);

	if (rc == 0)
		rc = domain_record_pin(&d->pin, buf_slice(&file), err);
	d->has_pin = rc == 0;
	buf_fini(&file);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void
syncd_domain_read_waiting(struct syncd *sd)
{
	struct domain_waiting *list;
	struct buf file = { 0 };
	struct arena ar = { 0 };
	size_t count = 0;

	if (domain_file_read(&sd->home, DOMAIN_FILE_PENDING, &file, NULL) == 0)
		count = domain_record_waiting(buf_slice(&file), &ar, &list);
	for (size_t i = 0; i < count; i++)
		*VEC_ADD(&sd->domain->waiting) = list[i];
	arena_fini(&ar);
	buf_fini(&file);
}

int
syncd_domain_open(struct syncd *sd, struct err *err)
{
	int rc;

	sd->domain = mem_zalloc(sizeof(*sd->domain));
	sd->domain->ms = members_new();
	sd->domain->ballot = ballot_new();
	rc = syncd_domain_read_log(sd, err);
	if (rc == 0)
		rc = syncd_domain_read_pin(sd, err);
	if (rc == 0)
		rc = syncd_keys_open(sd, err);
	if (rc == 0)
		rc = syncd_rotate_open(sd, err);
	if (rc < 0)
		return rc;
	syncd_domain_read_waiting(sd);
	syncd_invites_read(sd);
	syncd_ballot_open(sd);
	/* A list that a crash left behind the log, or that somebody touched. */
	if (members_seq(sd->domain->ms) > 0)
		syncd_domain_apply(sd);
	return 0;
}

void
syncd_domain_lines_gone(struct syncd *sd)
{
	VEC_CLEAR(&sd->domain->ready);
	syncd_join_lines_gone(sd);
}

void
syncd_domain_listen(struct syncd *sd)
{
	static const struct net_coord_hooks hooks = {
		.on_up = syncd_domain_on_up,
		.on_down = syncd_domain_on_down,
		.on_entries = syncd_domain_on_entries,
		.on_box = syncd_domain_on_box,
		.on_mail = syncd_domain_on_mail,
		.on_refused = syncd_domain_on_refused,
	};

	net_coord_hook(sd->net, &hooks, sd);
	syncd_domain_tell(sd, false);
	syncd_join_look(sd);
	syncd_talk_apply_soon(sd);
}

void
syncd_domain_hook(struct syncd *sd)
{
	uv_timer_init(sd->loop, &sd->domain->timer);
	sd->domain->timer.data = sd;
	syncd_talk_open(sd);
	syncd_rotate_hook(sd);
	syncd_domain_listen(sd);
}

void
syncd_domain_close(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	if (d == NULL)
		return;
	syncd_join_close(sd);
	syncd_talk_close(sd);
	syncd_rotate_close(sd);
	members_free(d->ms);
	fixedaddr_book_free(d->fixed);
	ballot_free(d->ballot);
	VEC_FINI(&d->waiting);
	VEC_FINI(&d->ready);
	sign_wipe(d, sizeof(*d));
	mem_free(d);
	sd->domain = NULL;
}
