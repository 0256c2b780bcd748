/*
 * Another key, and so another ID, for a device that is a member: this one or
 * another; see syncd_domain.h and docs/design/0013.
 *
 * Of this device, each step flushed before the next one:
 *
 *	the successor is beside the key       (mesh/identity.h)
 *	a ROTATE that names it is in the log  signed here, or where an owner is
 *	somebody else has that entry          or nobody would know us after
 *	the successor takes the key's place   the old key is gone
 *	the net is opened anew, with it
 *
 * A cut before the entry leaves the old key; one after it leaves both, and the
 * next start tells of the entry and goes on.  Who has not heard of it by then
 * hears of it from whoever has.
 *
 * Of other devices: what is known of the old ID is the new one's at once
 * (setup.former).  The old certificate is good for one thing still, until the
 * time that the entry names or until the new one was met: to talk of the log.
 * It might be that the device itself has not heard.
 */
#include "cli/syncd_domain.h"

#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/net_coord_uv.h"

#define SYNCD_ROTATE_LINGER_NS (3 * CLOCK_S) /* others may hear of it, too */
#define SYNCD_ROTATE_AGAIN_NS CLOCK_S        /* what failed */
#define SYNCD_ROTATE_LOOK_NS CLOCK_HOUR      /* a clock may be put right */

static void syncd_rotate_on_timer(uv_timer_t *timer);

static void
syncd_rotate_arm(struct syncd *sd, uint64_t at_ns)
{
	struct syncd_domain *d = sd->domain;

	if (d->rotate_timer.data != NULL && !sd->stopping)
		timer_uv_arm(&d->rotate_timer, syncd_rotate_on_timer, at_ns);
}

/* --- This device --- */

/* Does the log say that we are our successor? */
static bool
syncd_rotate_is_signed(const struct syncd *sd)
{
	const struct syncd_domain *d = sd->domain;
	struct devid now;

	return d->successor != NULL &&
	       members_now(d->ms, identity_devid(sd->identity), &now) &&
	       devid_equal(&now, identity_devid(d->successor));
}

void
syncd_rotate_heard(struct syncd *sd, struct slice entry)
{
	struct syncd_domain *d = sd->domain;
	struct members_entry e;

	if (d->successor == NULL || d->rotate_heard_ns != 0 ||
	    members_entry_decode(&e, entry, NULL) < 0 ||
	    e.kind != MEMBERS_ROTATE ||
	    !devid_equal(&e.other, identity_devid(d->successor)))
		return;
	d->rotate_heard_ns = uv_hrtime();
	syncd_rotate_arm(sd, d->rotate_heard_ns);
}

/* Members that are connected and have not our log. */
static size_t
syncd_rotate_deaf(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	size_t deaf = 0;

	for (size_t i = 0; i < d->talker.len; i++) {
		const struct syncd_talker *t = &d->talker.item[i];

		if (!syncd_talk_may_hear(sd, &t->id))
			continue;
		if (!members_talk_agrees(&t->talk, d->ms))
			deaf++;
		else if (d->rotate_heard_ns == 0)
			d->rotate_heard_ns = uv_hrtime();
	}
	return deaf;
}

/* When may the successor be taken?  Now, by a later time, or not yet. */
static uint64_t
syncd_rotate_due_ns(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	const size_t deaf = syncd_rotate_deaf(sd);
	const uint64_t now_ns = uv_hrtime();
	const struct member *m = members_find(d->ms,
	    identity_devid(d->successor), syncd_domain_now_s());

	/* Nobody is to be told; or the old one is worth nothing any more. */
	if (members_count(d->ms) <= 1 || m == NULL ||
	    m->before_until_wall_s <= syncd_domain_now_s())
		return now_ns;
	if (d->rotate_heard_ns == 0)
		return CLOCK_NEVER;
	return deaf == 0 ? now_ns : d->rotate_heard_ns + SYNCD_ROTATE_LINGER_NS;
}

static void
syncd_rotate_open_net(struct syncd *sd)
{
	struct err err = { 0 };

	if (syncd_net_open(sd, &err) < 0) {
		sd->net = NULL;
		log_error(&sd->log, "domain rotate: %s; tried again", err.text);
		syncd_rotate_arm(sd, uv_hrtime() + SYNCD_ROTATE_AGAIN_NS);
		return;
	}
	sd->domain->between_keys = false;
	syncd_domain_listen(sd);
}

/* Nothing borrows the old identity any more. */
static void
syncd_rotate_on_closed(void *arg)
{
	struct syncd *sd = arg;
	struct syncd_domain *d = sd->domain;
	struct event ev = { .kind = EVENT_SETUP };
	char id[DEVID_TEXT_LEN + 1];
	struct err err = { 0 };

	identity_close(sd->identity);
	sd->identity = d->successor;
	d->successor = NULL;
	d->rotate_heard_ns = 0;
	devid_text(identity_devid(sd->identity), id);
	log_info(&sd->log, "domain rotate: this device is id=%s", id);
	if (sd->stopping) {
		sd->net_closed = true;
		return;
	}
	if (syncd_reload(sd, &err) < 0) {
		/* A mistake in the file: all else stays as it was. */
		log_error(&sd->log, "syncd reload: %s", err.text);
		sd->cfg.setup.self = *identity_devid(sd->identity);
		ev.u.setup = sd->cfg.setup;
		syncd_step(sd, &ev);
	}
	syncd_rotate_open_net(sd);
}

static void
syncd_rotate_take(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct net *net = sd->net;
	struct err err = { 0 };

	if (identity_take_next(sd->home.state_dir, &err) < 0) {
		log_error(&sd->log, "domain rotate: %s; tried again", err.text);
		syncd_rotate_arm(sd, uv_hrtime() + SYNCD_ROTATE_AGAIN_NS);
		return;
	}
	/* For everybody but its own callbacks there is no net. */
	d->between_keys = true;
	syncd_domain_lines_gone(sd);
	sd->net = NULL;
	net_close(net, syncd_rotate_on_closed, sd);
}

/* --- Others --- */

/* An entry of ours that lost to another branch, with a key that is ours yet:
 * who has taken its new ID on by it would be a stranger to everybody. */
static void
syncd_rotate_sign_again(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct sign_public public;
	struct members_entry e;
	struct slice bytes;
	struct err err = { 0 };
	struct devid now;
	uint64_t seq;

	if (!syncd_keys_owns(sd))
		return;
	sign_public_of(&d->owner, &public);
	for (size_t i = 0; (bytes = members_kept(d->ms, i, &seq)).len > 0;
	     i++) {
		if (!members_kept_is_beside(d->ms, i) ||
		    members_entry_decode(&e, bytes, NULL) < 0 ||
		    e.kind != MEMBERS_ROTATE ||
		    !members_entry_signed_by(&e, &public) ||
		    !members_now(d->ms, &e.device, &now) ||
		    !devid_equal(&now, &e.device) ||
		    members_now(d->ms, &e.other, &now))
			continue;
		e = (struct members_entry){ .kind = MEMBERS_ROTATE,
			.device = e.device,
			.other = e.other,
			.until_wall_s = e.until_wall_s };
		if (syncd_domain_make(sd, &e, &err) < 0)
			log_error(&sd->log, "domain rotate: %s", err.text);
		return; /* what comes of it is looked at in a turn */
	}
}

/* Until when its old certificate is heard; 0: it is not. */
static int64_t
syncd_rotate_heard_until_s(const struct syncd *sd, const struct member *m)
{
	const struct syncd_domain *d = sd->domain;

	if (m->before_until_wall_s <= syncd_domain_now_s() ||
	    devid_is_none(&m->before) ||
	    devid_equal(&m->before, identity_devid(sd->identity)) ||
	    devid_equal(&m->id, identity_devid(sd->identity)))
		return 0;
	for (size_t i = 0; i < d->met.len; i++)
		if (devid_equal(&d->met.item[i], &m->id))
			return 0;
	return m->before_until_wall_s;
}

bool
syncd_rotate_old_of(const struct syncd *sd, const struct devid *id,
    struct devid *old)
{
	const struct member *m =
	    members_find(sd->domain->ms, id, syncd_domain_now_s());

	if (m == NULL || !devid_equal(&m->id, id) ||
	    syncd_rotate_heard_until_s(sd, m) == 0)
		return false;
	*old = m->before;
	return true;
}

bool
syncd_rotate_is_old(const struct syncd *sd, const struct devid *id)
{
	const struct setup *su = &sd->cfg.setup;

	return setup_now(su, id) != id && setup_device(su, id) == NULL;
}

void
syncd_rotate_met(struct syncd *sd, const struct devid *id)
{
	struct devid old;

	if (!syncd_rotate_old_of(sd, id, &old))
		return;
	*VEC_ADD(&sd->domain->met) = *id;
	syncd_rotate_arm(sd, uv_hrtime());
}

/* --- Time --- */

/* Old certificates that are heard; *until: the first of them no more. */
static size_t
syncd_rotate_olds(const struct syncd *sd, int64_t *until)
{
	const struct member *m;
	size_t count = 0;

	for (size_t i = 0; (m = members_at(sd->domain->ms, i)) != NULL; i++) {
		const int64_t s = syncd_rotate_heard_until_s(sd, m);

		if (s == 0)
			continue;
		if (count == 0 || s < *until)
			*until = s;
		count++;
	}
	return count;
}

void
syncd_rotate_changed(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	const struct devid *self = identity_devid(sd->identity);
	struct devid now = *self;

	d->rotate_fresh = true;
	/* Another branch may have won since somebody heard. */
	if (!syncd_rotate_is_signed(sd))
		d->rotate_heard_ns = 0;
	if (members_now(d->ms, self, &now) && !devid_equal(&now, self) &&
	    !syncd_rotate_is_signed(sd))
		log_error(&sd->log, "domain rotate: the log has another ID for "
				    "this device, whose key is not here; it "
				    "has to join anew");
	syncd_rotate_arm(sd, uv_hrtime());
}

void
syncd_rotate_look(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	uint64_t at_ns = CLOCK_NEVER, now_ns = uv_hrtime();
	int64_t until = 0;
	const size_t olds = syncd_rotate_olds(sd, &until);

	if (olds > 0)
		at_ns = now_ns + CLOCK_S;
	if (olds > 0 && until > syncd_domain_now_s())
		at_ns =
		    now_ns + (uint64_t)(until - syncd_domain_now_s()) * CLOCK_S;
	if (olds != d->olds)
		at_ns = now_ns;
	if (d->between_keys)
		return;
	if (syncd_rotate_is_signed(sd) && !d->unkept) {
		const uint64_t due_ns = syncd_rotate_due_ns(sd);

		if (due_ns < at_ns)
			at_ns = due_ns;
		if (at_ns == CLOCK_NEVER)
			at_ns = now_ns + SYNCD_ROTATE_LOOK_NS;
	}
	if (at_ns != CLOCK_NEVER && at_ns > now_ns + SYNCD_ROTATE_LOOK_NS)
		at_ns = now_ns + SYNCD_ROTATE_LOOK_NS;
	syncd_rotate_arm(sd, at_ns);
}

static void
syncd_rotate_on_timer(uv_timer_t *timer)
{
	struct syncd *sd = timer->data;
	struct syncd_domain *d = sd->domain;
	struct err err = { 0 };
	int64_t until;
	size_t olds;

	if (sd->stopping)
		return;
	if (sd->net == NULL) {
		if (d->between_keys && d->successor == NULL)
			syncd_rotate_open_net(sd);
		return;
	}
	olds = syncd_rotate_olds(sd, &until);
	if (olds != d->olds && syncd_net_configure(sd, &err) < 0)
		log_error(&sd->log, "domain rotate: %s", err.text);
	d->olds = olds;
	if (d->rotate_fresh) {
		d->rotate_fresh = false;
		syncd_rotate_sign_again(sd);
	}
	if (syncd_rotate_is_signed(sd) && !d->unkept &&
	    syncd_rotate_due_ns(sd) <= uv_hrtime())
		syncd_rotate_take(sd);
	else
		syncd_rotate_look(sd);
}

/* --- People --- */

static bool
syncd_rotate_waits(const struct syncd *sd, const struct devid *now)
{
	const struct ballot_item *it;

	for (size_t i = 0; (it = ballot_at(sd->domain->ballot, i)) != NULL; i++)
		if (it->e.kind == MEMBERS_ROTATE &&
		    devid_equal(&it->e.other, now))
			return true;
	return false;
}

static int
syncd_rotate_sign(struct syncd *sd, const struct devid *was,
    const struct devid *now, int64_t grace_s, struct err *err)
{
	struct members_entry e = { .kind = MEMBERS_ROTATE,
		.device = *was,
		.other = *now,
		.until_wall_s = syncd_domain_now_s() + grace_s };

	if (syncd_rotate_waits(sd, now))
		return err_set(err, ERR_BUSY,
		    "the new key waits for other owners' signatures already");
	return syncd_domain_make(sd, &e, err);
}

int
syncd_rotate_self(struct syncd *sd, int64_t grace_s, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	int rc = 0;

	if (!syncd_domain_is_in(sd))
		return err_set(err, ERR_NOT_FOUND,
		    "this device is no member of a domain, so nobody could "
		    "follow it to another ID");
	if (d->between_keys)
		return err_set(err, ERR_BUSY, "a new key is being taken");
	if (d->successor == NULL)
		rc = identity_open_or_make_next(&d->successor,
		    sd->home.state_dir, err);
	if (rc < 0 || syncd_rotate_is_signed(sd) || !syncd_keys_owns(sd))
		return rc;
	return syncd_rotate_sign(sd, identity_devid(sd->identity),
	    identity_devid(d->successor), grace_s, err);
}

int
syncd_rotate_member(struct syncd *sd, const struct member *m,
    const struct devid *now, int64_t grace_s, struct err *err)
{
	struct devid other;

	if (devid_equal(&m->id, identity_devid(sd->identity)))
		return err_set(err, ERR_INVALID,
		    "that is this device; its ID is made here: syncctl device "
		    "rotate");
	if (members_now(sd->domain->ms, now, &other))
		return err_set(err, ERR_EXISTS,
		    "that ID is, or was, a member's");
	return syncd_rotate_sign(sd, &m->id, now, grace_s, err);
}

bool
syncd_rotate_next(const struct syncd *sd, struct devid *out, bool *is_signed)
{
	if (sd->domain->successor == NULL)
		return false;
	*out = *identity_devid(sd->domain->successor);
	*is_signed = syncd_rotate_is_signed(sd);
	return true;
}

int
syncd_rotate_open(struct syncd *sd, struct err *err)
{
	const int rc =
	    identity_open_next(&sd->domain->successor, sd->home.state_dir, err);

	return rc == ERR_NOT_FOUND ? 0 : rc;
}

void
syncd_rotate_hook(struct syncd *sd)
{
	uv_timer_init(sd->loop, &sd->domain->rotate_timer);
	sd->domain->rotate_timer.data = sd;
	syncd_rotate_changed(sd);
}

void
syncd_rotate_close(struct syncd *sd)
{
	identity_close(sd->domain->successor);
	VEC_FINI(&sd->domain->met);
}
