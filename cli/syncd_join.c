/*
 * Inviting and joining, over coordinators' boxes; see syncd_domain.h.
 *
 * Codes that are good are on disk as well, with the guesses that were made, and
 * outlive the daemon: in HOME/domain, beside the owner's key, which can do more
 * than any code, and for as long as they are good.  What becomes of a code is
 * there before anybody is told.  When one is over its box stays for a while, so
 * that who comes late is told why.
 */
#include <stdio.h>
#include <sys/random.h>

#include "cli/domain_file.h"
#include "cli/syncd_domain.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/net_coord_uv.h"

/* As many boxes as a coordinator gives to a device. */
#define SYNCD_INVITES_MAX LIMIT_COORD_BOXES
#define SYNCD_WAITING_MAX 64u
#define SYNCD_INVITE_LINGER_S 3600 /* a box stays, to say why not */
#define SYNCD_JOIN_NS (30 * CLOCK_S)
#define SYNCD_LOOK_NS (2 * CLOCK_S) /* while something is waited for */
#define SYNCD_NAMES_MAX 100

static void syncd_join_on_timer(uv_timer_t *timer);

static bool
syncd_join_fresh(void *out, size_t len)
{
	return getrandom(out, len, 0) == (ssize_t)len;
}

/* Nothing waits: the loop is not woken. */
static void
syncd_join_arm(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	const enum syncd_join_state s = d->join.state;
	const bool wanted = d->invite.len > 0 || s == SYNCD_JOIN_DIALLING ||
			    s == SYNCD_JOIN_ASKING || s == SYNCD_JOIN_WELCOME ||
			    s == SYNCD_JOIN_PENDING;

	if (d->timer.data == NULL)
		return; /* there is no loop yet */
	timer_uv_arm(&d->timer, syncd_join_on_timer,
	    wanted && !sd->stopping ? uv_hrtime() + SYNCD_LOOK_NS
				    : CLOCK_NEVER);
}

static bool
syncd_line_is_up(struct coord_client *line)
{
	struct coord_client_state state;

	coord_client_state(line, &state);
	return state.up;
}

/* A line goes when the configuration names its coordinator no longer. */
bool
syncd_line_is_there(const struct syncd *sd, const struct coord_client *line)
{
	const struct coord_client *at;

	for (size_t i = 0;
	     sd->net != NULL && (at = net_coord_at(sd->net, i)) != NULL; i++)
		if (at == line)
			return true;
	return false;
}

/* --- Invitations --- */

static void
syncd_invite_end(struct syncd_invite *in, const char *why)
{
	in->state = SYNCD_INVITE_OVER;
	in->why = why;
}

/* The codes that are good to disk, unless they are there. */
static void
syncd_invites_save(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct domain_invite list[SYNCD_INVITES_MAX];
	struct buf text = { 0 };
	struct err err = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < d->invite.len; i++) {
		const struct syncd_invite *in = &d->invite.item[i];

		if (in->state == SYNCD_INVITE_OPEN)
			list[n++] = (struct domain_invite){ .code = in->code,
				.coordinator = in->coordinator,
				.expires_wall_s = in->expires_wall_s,
				.wrong = join_inviter_wrong(in->inviter),
				.approve = in->approve };
	}
	domain_record_put_invites(list, n, &text);
	sign_wipe(list, sizeof(list));
	if (!slice_equal(buf_slice(&text), buf_slice(&d->invites))) {
		if (domain_file_put(&sd->home, DOMAIN_FILE_INVITES,
			buf_slice(&text), &err) < 0)
			log_error(&sd->log, "domain: %s", err.text);
		const struct buf old = d->invites;

		d->invites = text;
		text = old;
	}
	if (text.len > 0)
		sign_wipe(text.ptr, text.len);
	buf_fini(&text);
}

void
syncd_invites_read(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct domain_invite *list;
	struct arena ar = { 0 };
	size_t count;

	(void)domain_file_read(&sd->home, DOMAIN_FILE_INVITES, &d->invites,
	    NULL);
	count = domain_record_invites(buf_slice(&d->invites), &ar, &list);
	for (size_t i = 0; i < count && i < SYNCD_INVITES_MAX; i++) {
		struct syncd_invite *in = VEC_ADD(&d->invite);

		*in = (struct syncd_invite){ .number = ++d->numbers,
			.state = SYNCD_INVITE_OPEN,
			.coordinator = list[i].coordinator,
			.box = list[i].code.box,
			.code = list[i].code,
			.inviter = join_inviter_new(&list[i].code,
			    list[i].expires_wall_s),
			.expires_wall_s = list[i].expires_wall_s,
			.approve = list[i].approve,
			.why = "" };
		join_inviter_blame(in->inviter, list[i].wrong);
	}
	sign_wipe(list, count * sizeof(*list));
	arena_fini(&ar);
}

/* A code of an earlier run: its box is at the coordinator that gave it. */
static bool
syncd_invite_claim(struct syncd_invite *in, struct coord_client *line)
{
	struct coord_client_state state;

	coord_client_state(line, &state);
	return devid_equal(&state.id, &in->coordinator) &&
	       coord_client_claim_box(line, in->box);
}

/* Ask one line that knows our domain for its box, when there is one. */
static void
syncd_invite_ask(struct syncd *sd, struct syncd_invite *in)
{
	const struct syncd_domain *d = sd->domain;

	if (in->state == SYNCD_INVITE_OVER)
		return;
	for (size_t i = 0; i < d->ready.len && !in->asked; i++) {
		struct coord_client *line = d->ready.item[i];

		in->asked = in->state == SYNCD_INVITE_OPEN
				? syncd_invite_claim(in, line)
				: coord_client_open_box(line);
		if (in->asked)
			in->line = line;
	}
}

/* Forget those that are long over, the oldest first when there is no room. */
static void
syncd_invite_sweep(struct syncd *sd, bool make_room)
{
	struct syncd_domain *d = sd->domain;
	const int64_t now = syncd_domain_now_s();

	for (size_t i = 0; i < d->invite.len;) {
		struct syncd_invite *in = &d->invite.item[i];
		const bool full =
		    make_room && d->invite.len >= SYNCD_INVITES_MAX;

		if (in->state != SYNCD_INVITE_OVER ||
		    (now < in->expires_wall_s + SYNCD_INVITE_LINGER_S &&
			!full)) {
			i++;
			continue;
		}
		if (in->inviter != NULL && syncd_line_is_there(sd, in->line))
			coord_client_close_box(in->line, in->box);
		join_inviter_free(in->inviter);
		sign_wipe(&in->code, sizeof(in->code));
		for (size_t k = i + 1; k < d->invite.len; k++)
			d->invite.item[k - 1] = d->invite.item[k];
		d->invite.len--;
	}
}

int
syncd_invite(struct syncd *sd, int64_t expires_s, bool approve,
    uint32_t *number, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct syncd_invite in = { .approve = approve,
		.expires_wall_s = syncd_domain_now_s() + expires_s,
		.why = "" };

	if (!d->has_owner)
		return err_set(err, ERR_DENIED,
		    "this device has no owner's key; do it where the domain "
		    "was founded");
	if (net_coord_at(sd->net, 0) == NULL)
		return err_set(err, ERR_INVALID,
		    "no coordinator is configured, so nobody could come: set "
		    "mesh.coordinator");
	syncd_invite_sweep(sd, true);
	if (d->invite.len >= SYNCD_INVITES_MAX)
		return err_set(err, ERR_BUSY, "there are %u invitations",
		    SYNCD_INVITES_MAX);
	in.number = ++d->numbers;
	*number = in.number;
	*VEC_ADD(&d->invite) = in;
	syncd_invite_ask(sd, &d->invite.item[d->invite.len - 1]);
	syncd_join_arm(sd);
	return 0;
}

/* A name that no member has: "laptop", "laptop-2", ... */
static bool
syncd_free_name(const struct members *ms, const struct join_asker *who,
    char out[MEMBERS_NAME_MAX])
{
	const struct member *m;

	for (int n = 1; n < SYNCD_NAMES_MAX; n++) {
		bool taken = false;

		if (n == 1)
			snprintf(out, MEMBERS_NAME_MAX, "%s", who->name);
		else if (snprintf(out, MEMBERS_NAME_MAX, "%.48s-%d", who->name,
			     n) < 0 ||
			 !members_entry_name_is_good(slice_str(out)))
			snprintf(out, MEMBERS_NAME_MAX, "device-%d", n);
		for (size_t i = 0; (m = members_at(ms, i)) != NULL; i++)
			taken = taken || (strcmp(m->name, out) == 0 &&
					     !devid_equal(&m->id, &who->id));
		if (!taken)
			return true;
	}
	return false;
}

static int
syncd_join_admit(struct syncd *sd, const struct join_asker *who,
    struct err *err)
{
	struct members_entry e = { .kind = MEMBERS_ADD, .device = who->id };

	if (members_find(sd->domain->ms, &who->id, syncd_domain_now_s()) !=
	    NULL)
		return 0;
	if (!syncd_free_name(sd->domain->ms, who, e.name))
		return err_set(err, ERR_INVALID, "no name is free for it");
	return syncd_domain_make(sd, &e, err);
}

static void
syncd_waiting_save(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;
	struct buf b = { 0 };
	struct err err = { 0 };

	domain_record_put_waiting(d->waiting.item, d->waiting.len, &b);
	if (domain_file_put(&sd->home, DOMAIN_FILE_PENDING, buf_slice(&b),
		&err) < 0)
		log_error(&sd->log, "domain: %s", err.text);
	buf_fini(&b);
}

static bool
syncd_waiting_add(struct syncd *sd, const struct join_asker *who)
{
	struct syncd_domain *d = sd->domain;
	const struct events_item item = { .type = EVENTS_PENDING_DEVICE,
		.wall_ns = syncd_now().wall_ns,
		.device = who->id,
		.text = slice_str(who->name) };

	for (size_t i = 0; i < d->waiting.len; i++)
		if (devid_equal(&d->waiting.item[i].who.id, &who->id))
			return true;
	if (d->waiting.len >= SYNCD_WAITING_MAX)
		return false;
	*VEC_ADD(&d->waiting) = (struct domain_waiting){ .who = *who,
		.wall_s = syncd_domain_now_s() };
	syncd_waiting_save(sd);
	events_put(sd->events, &item);
	return true;
}

/* Somebody has shown that he knows the code. */
static void
syncd_invite_asked(struct syncd *sd, struct syncd_invite *in,
    const struct join_asker *who, struct join_answer *a)
{
	const struct members *ms = sd->domain->ms;
	const struct member *self;
	struct err err = { 0 };
	int rc;

	*a = (struct join_answer){ .verdict = JOIN_WELCOME };
	in->who = *who;
	syncd_invite_end(in, "used");
	syncd_invites_save(sd); /* nobody comes with it again */
	if (in->approve &&
	    members_find(ms, &who->id, syncd_domain_now_s()) == NULL) {
		a->verdict = JOIN_PENDING;
		if (!syncd_waiting_add(sd, who)) {
			a->verdict = JOIN_DENIED;
			snprintf(a->text, sizeof(a->text),
			    "too many devices wait for an approval");
		}
	} else {
		/* 1: other owners have to sign, too. */
		rc = syncd_join_admit(sd, who, &err);
		a->verdict = rc == 0  ? JOIN_WELCOME
			     : rc > 0 ? JOIN_PENDING
				      : JOIN_DENIED;
		if (rc < 0)
			snprintf(a->text, sizeof(a->text), "%.*s",
			    (int)COORD_TEXT_MAX, err.text);
	}
	members_domain(ms, &a->domain);
	a->seq = members_seq(ms);
	members_head(ms, a->head);
	a->inviter = *identity_devid(sd->identity);
	snprintf(a->domain_name, sizeof(a->domain_name), "%s",
	    members_name(ms));
	self = members_find(ms, &a->inviter, syncd_domain_now_s());
	if (self != NULL)
		memcpy(a->inviter_name, self->name, sizeof(self->name));
}

static const char *
syncd_invite_why(enum join_state state)
{
	switch (state) {
	case JOIN_IS_OPEN:
		return "";
	case JOIN_IS_USED:
		return "used";
	case JOIN_IS_EXPIRED:
		return "expired";
	case JOIN_IS_BURNT:
		return "burnt";
	}
	return "";
}

/* Time and wrong guesses end it, too. */
static void
syncd_invite_look(const struct syncd *sd, struct syncd_invite *in)
{
	const int64_t now = syncd_domain_now_s();

	if (in->asked && in->state != SYNCD_INVITE_OVER &&
	    !syncd_line_is_there(sd, in->line)) {
		syncd_invite_end(in, "no-box");
	} else if (in->state == SYNCD_INVITE_OPEN) {
		const enum join_state state =
		    join_inviter_state(in->inviter, now);

		if (state != JOIN_IS_OPEN)
			syncd_invite_end(in, syncd_invite_why(state));
	} else if (in->state == SYNCD_INVITE_OPENING &&
		   now >= in->expires_wall_s) {
		syncd_invite_end(in, "expired");
	}
}

static void
syncd_invite_mail(struct syncd *sd, uint32_t number, uint64_t stranger,
    struct slice letter)
{
	struct syncd_domain *d = sd->domain;
	struct syncd_invite *in = &d->invite.item[number];
	struct coord_client *line = in->line;
	const uint32_t box = in->box;
	uint8_t fresh[PAKE_SCALAR_LEN];
	struct join_asker who;
	struct join_answer answer;
	struct buf reply = { 0 };
	enum join_event event;

	if (!syncd_join_fresh(fresh, sizeof(fresh)))
		return;
	event = join_inviter_take(in->inviter, stranger, letter,
	    syncd_domain_now_s(), fresh, &reply, &who);
	sign_wipe(fresh, sizeof(fresh));
	if (event == JOIN_ASKED) {
		syncd_invite_asked(sd, in, &who, &answer);
		(void)join_inviter_answer(in->inviter, stranger, &answer,
		    &reply);
		log_info(&sd->log, "domain joined name=%s verdict=%d", who.name,
		    (int)answer.verdict);
	} else {
		syncd_invite_look(sd, in);
		syncd_invites_save(sd);
		if (in->state == SYNCD_INVITE_OVER &&
		    strcmp(in->why, "burnt") == 0)
			log_warn(&sd->log,
			    "domain invite burnt: somebody guessed at it");
	}
	if (reply.len > 0)
		(void)coord_client_mail(line, box, stranger, buf_slice(&reply));
	buf_fini(&reply);
}

int
syncd_approve(struct syncd *sd, struct slice device, bool yes, struct err *err)
{
	struct syncd_domain *d = sd->domain;
	struct devid id = { 0 };
	size_t found = d->waiting.len;
	int rc = 0;

	(void)devid_parse(&id, device, NULL);
	for (size_t i = 0; i < d->waiting.len; i++)
		if (slice_equal(slice_str(d->waiting.item[i].who.name),
			device) ||
		    devid_equal(&d->waiting.item[i].who.id, &id))
			found = i;
	if (found == d->waiting.len && syncd_ballot_about(sd, device) != NULL)
		return syncd_ballot_answer(sd, device, yes, err);
	if (found == d->waiting.len)
		return err_set(err, ERR_NOT_FOUND,
		    "no device \"%.*s\" waits for an approval",
		    SLICE_FMT(device));
	if (yes) {
		const struct join_asker who = d->waiting.item[found].who;

		rc = syncd_join_admit(sd, &who, err);
		if (rc < 0)
			return rc;
	}
	for (size_t k = found + 1; k < d->waiting.len; k++)
		d->waiting.item[k - 1] = d->waiting.item[k];
	d->waiting.len--;
	syncd_waiting_save(sd);
	return rc;
}

/* --- Joining --- */

static void
syncd_join_refuse(struct syncd *sd, const char *why, const char *text)
{
	struct syncd_join *j = &sd->domain->join;

	j->state = SYNCD_JOIN_REFUSED;
	j->why = why;
	snprintf(j->text, sizeof(j->text), "%s", text);
	join_joiner_free(j->joiner);
	j->joiner = NULL;
	sign_wipe(&j->code, sizeof(j->code));
	log_info(&sd->log, "domain join refused why=%s", why);
	if (!sd->domain->told)
		syncd_domain_tell(sd, false);
}

/* A line is there: the first letter. */
static void
syncd_join_begin(struct syncd *sd, struct coord_client *line)
{
	struct syncd_join *j = &sd->domain->join;
	uint8_t fresh[PAKE_SID_LEN + PAKE_SCALAR_LEN];
	struct coord_client_state state;
	struct buf letter = { 0 };

	coord_client_state(line, &state);
	if (j->state != SYNCD_JOIN_DIALLING || !state.up ||
	    (j->has_at && !addr_equal(state.at, &j->at)) ||
	    !syncd_join_fresh(fresh, sizeof(fresh)))
		return;
	j->line = line;
	j->state = SYNCD_JOIN_ASKING;
	j->joiner = join_joiner_new(&j->code, &j->self, fresh, &letter);
	sign_wipe(fresh, sizeof(fresh));
	if (!coord_client_mail(line, j->code.box, 0, buf_slice(&letter)))
		syncd_join_refuse(sd, "no-answer",
		    "the coordinator takes no letter");
	buf_fini(&letter);
}

int
syncd_join(struct syncd *sd, const struct join_code *code,
    const struct addr *at, const char *name, uint32_t *number, struct err *err)
{
	struct syncd_join *j = &sd->domain->join;
	struct coord_client *line;

	if (syncd_domain_is_in(sd))
		return err_set(err, ERR_EXISTS,
		    "this device is a member of \"%s\" already",
		    members_name(sd->domain->ms));
	if (j->state == SYNCD_JOIN_DIALLING || j->state == SYNCD_JOIN_ASKING)
		return err_set(err, ERR_BUSY, "a join is under way");
	if (!members_entry_name_is_good(slice_str(name)))
		return err_set(err, ERR_INVALID,
		    "a name has 1 to 63 bytes, and no control characters");
	if (net_coord_at(sd->net, 0) == NULL)
		return err_set(err, ERR_INVALID,
		    "no coordinator is configured; use --coordinator");
	join_joiner_free(j->joiner);
	*j = (struct syncd_join){ .number = ++sd->domain->numbers,
		.state = SYNCD_JOIN_DIALLING,
		.code = *code,
		.until_ns = uv_hrtime() + SYNCD_JOIN_NS,
		.why = "" };
	j->self.id = *identity_devid(sd->identity);
	snprintf(j->self.name, sizeof(j->self.name), "%s", name);
	if (at != NULL) {
		j->has_at = true;
		j->at = *at;
	}
	*number = j->number;
	/* Who was put out is a stranger like any other. */
	syncd_domain_hide(sd);
	for (size_t i = 0; (line = net_coord_at(sd->net, i)) != NULL; i++) {
		if (!syncd_line_is_up(line))
			coord_client_refresh(line);
		syncd_join_begin(sd, line);
	}
	syncd_join_arm(sd);
	return 0;
}

static void
syncd_join_answered(struct syncd *sd)
{
	struct syncd_join *j = &sd->domain->join;
	const struct join_answer *a = &j->answer;
	struct err err = { 0 };

	join_joiner_free(j->joiner);
	j->joiner = NULL;
	sign_wipe(&j->code, sizeof(j->code));
	if (a->verdict == JOIN_DENIED) {
		syncd_join_refuse(sd, "denied", a->text);
		return;
	}
	if (syncd_domain_enter(sd, &a->domain, a->seq, a->head, &err) < 0) {
		syncd_join_refuse(sd, "failed", err.text);
		return;
	}
	j->state = a->verdict == JOIN_PENDING ? SYNCD_JOIN_PENDING
					      : SYNCD_JOIN_WELCOME;
	syncd_join_look(sd);
}

static void
syncd_join_letter(struct syncd *sd, struct slice letter)
{
	static const char *const why_name[] = {
		[JOIN_WRONG] = "code-wrong",
		[JOIN_USED] = "code-used",
		[JOIN_EXPIRED] = "code-expired",
		[JOIN_BURNT] = "code-burnt",
	};
	struct syncd_join *j = &sd->domain->join;
	enum join_refusal why = JOIN_WRONG;
	struct buf reply = { 0 };

	switch (join_joiner_take(j->joiner, letter, &reply, &j->answer, &why)) {
	case JOIN_STEP_NONE:
		break;
	case JOIN_STEP_REPLY:
		(void)coord_client_mail(j->line, j->code.box, 0,
		    buf_slice(&reply));
		break;
	case JOIN_STEP_DONE:
		syncd_join_answered(sd);
		break;
	case JOIN_STEP_REFUSED:
		syncd_join_refuse(sd, why_name[why], join_refusal_text(why));
		break;
	}
	buf_fini(&reply);
}

void
syncd_join_look(struct syncd *sd)
{
	struct syncd_join *j = &sd->domain->join;

	if ((j->state == SYNCD_JOIN_WELCOME ||
		j->state == SYNCD_JOIN_PENDING) &&
	    members_seq(sd->domain->ms) > 0 && syncd_domain_is_in(sd)) {
		j->state = SYNCD_JOIN_DONE;
		log_info(&sd->log, "domain member of=%s",
		    members_name(sd->domain->ms));
	}
	/* It was pinned in an earlier run and nobody has let us in since. */
	if (j->state == SYNCD_JOIN_NONE && sd->domain->has_pin &&
	    members_seq(sd->domain->ms) == 0) {
		j->state = SYNCD_JOIN_PENDING;
		j->why = "";
	}
	syncd_join_arm(sd);
}

static void
syncd_join_on_timer(uv_timer_t *timer)
{
	struct syncd *sd = timer->data;
	struct syncd_domain *d = sd->domain;
	struct syncd_join *j = &d->join;
	struct coord_client *line;

	if (sd->net == NULL || sd->stopping)
		return;
	for (size_t i = 0; i < d->invite.len; i++) {
		struct syncd_invite *in = &d->invite.item[i];

		syncd_invite_look(sd, in);
		syncd_invite_ask(sd, in);
	}
	syncd_invites_save(sd);
	syncd_invite_sweep(sd, false);
	if ((j->state == SYNCD_JOIN_DIALLING ||
		j->state == SYNCD_JOIN_ASKING) &&
	    uv_hrtime() >= j->until_ns)
		syncd_join_refuse(sd, "no-answer",
		    j->state == SYNCD_JOIN_DIALLING
			? "no coordinator answers"
			: "the device that invites does not answer");
	/* Who waits to be let in asks again sooner than who is not known. */
	if (j->state == SYNCD_JOIN_WELCOME || j->state == SYNCD_JOIN_PENDING)
		for (size_t i = 0; (line = net_coord_at(sd->net, i)) != NULL;
		     i++)
			if (!syncd_line_is_up(line))
				coord_client_refresh(line);
	syncd_join_arm(sd);
}

/* --- What lines bring --- */

void
syncd_join_up(struct syncd *sd, struct coord_client *line)
{
	struct syncd_domain *d = sd->domain;

	for (size_t i = 0; i < d->invite.len; i++)
		syncd_invite_ask(sd, &d->invite.item[i]);
	syncd_join_begin(sd, line);
}

void
syncd_join_down(struct syncd *sd, struct coord_client *line)
{
	struct syncd_domain *d = sd->domain;
	struct syncd_join *j = &d->join;

	/* A box that was asked for, and not told, is lost; one we have is
	 * asked for again by the line. */
	for (size_t i = 0; i < d->invite.len; i++)
		if (d->invite.item[i].line == line &&
		    d->invite.item[i].state == SYNCD_INVITE_OPENING)
			d->invite.item[i].asked = false;
	/* Another line, or this one again, and from the beginning. */
	if (j->state == SYNCD_JOIN_ASKING && j->line == line) {
		join_joiner_free(j->joiner);
		j->joiner = NULL;
		j->state = SYNCD_JOIN_DIALLING;
	}
}

void
syncd_join_lines_gone(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	if (d->join.line != NULL)
		syncd_join_down(sd, d->join.line);
	d->join.line = NULL;
	for (size_t i = 0; i < d->invite.len; i++) {
		d->invite.item[i].asked = false;
		d->invite.item[i].line = NULL;
	}
}

void
syncd_join_box(struct syncd *sd, struct coord_client *line, uint32_t box)
{
	struct syncd_domain *d = sd->domain;
	struct coord_client_state state;

	for (size_t i = 0; i < d->invite.len; i++) {
		struct syncd_invite *in = &d->invite.item[i];

		if (in->state != SYNCD_INVITE_OPENING || !in->asked ||
		    in->line != line)
			continue;
		in->code.box = in->box = box;
		if (box == 0 || !syncd_join_fresh(in->code.secret,
				    sizeof(in->code.secret))) {
			syncd_invite_end(in, "no-box");
			return;
		}
		in->inviter = join_inviter_new(&in->code, in->expires_wall_s);
		in->state = SYNCD_INVITE_OPEN;
		coord_client_state(line, &state);
		in->coordinator = state.id;
		syncd_invites_save(sd);
		return;
	}
	if (box != 0)
		coord_client_close_box(line, box);
}

void
syncd_join_mail(struct syncd *sd, struct coord_client *line, uint32_t box,
    uint64_t stranger, struct slice letter)
{
	struct syncd_domain *d = sd->domain;
	struct syncd_join *j = &d->join;

	for (uint32_t i = 0; i < d->invite.len; i++) {
		const struct syncd_invite *in = &d->invite.item[i];

		if (in->line == line && in->inviter != NULL && in->box == box) {
			syncd_invite_mail(sd, i, stranger, letter);
			return;
		}
	}
	if (j->state == SYNCD_JOIN_ASKING && j->line == line &&
	    j->code.box == box && stranger == 0)
		syncd_join_letter(sd, letter);
}

void
syncd_join_refused(struct syncd *sd, struct coord_client *line,
    enum coord_type what, enum coord_code code, const char *text)
{
	struct syncd_join *j = &sd->domain->join;

	if (what != COORD_MAIL || j->state != SYNCD_JOIN_ASKING ||
	    j->line != line)
		return;
	if (code == COORD_NO_BOX)
		syncd_join_refuse(sd, "code-unknown",
		    "there is no such code, or it is over");
	else if (code == COORD_NOT_HERE)
		syncd_join_refuse(sd, "no-answer",
		    "the device that invites is not there now");
	else
		syncd_join_refuse(sd, "no-answer", text);
}

void
syncd_join_close(struct syncd *sd)
{
	struct syncd_domain *d = sd->domain;

	for (size_t i = 0; i < d->invite.len; i++)
		join_inviter_free(d->invite.item[i].inviter);
	if (d->invite.len > 0)
		sign_wipe(d->invite.item,
		    d->invite.len * sizeof(*d->invite.item));
	VEC_FINI(&d->invite);
	if (d->invites.len > 0)
		sign_wipe(d->invites.ptr, d->invites.len);
	buf_fini(&d->invites);
	join_joiner_free(d->join.joiner);
}
