/*
 * The caller; see coord_caller.h.
 */
#include "mesh/coord_caller.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"

#define CALLER_PAUSE_MAX_S 60u
#define CALLER_IDLE_S 120u /* when the coordinator does not say */
#define CALLER_IDLE_MIN_S 10u
#define CALLER_IDLE_MAX_S 3600u
#define CALLER_TELLS 8u /* at once */
#define CALLER_TELL_NS CLOCK_S

enum caller_state { CALLER_AWAY, CALLER_KNOCKING, CALLER_UP };

/* Something that is told whole, and told again after a break. */
struct caller_told {
	struct buf frame; /* as it stands now */
	bool has;         /* it was ever set */
	bool due;         /* the coordinator does not know this one */
};

struct coord_caller {
	enum caller_state state;
	struct rng rng;
	uint64_t next_ns; /* AWAY: when to dial; KNOCKING: when it is over */
	unsigned failures;
	bool leave, told;
	char why[256];
	bool has_domain;
	struct coord_id domain;
	uint64_t seq;
	uint8_t head[32];
	struct caller_told where, want;
	uint64_t tell_ns; /* when the last tell's token is back */
	VEC(uint32_t) box;
	VEC(uint32_t) asked; /* BOX messages not answered; 0: a new one */
	struct buf out;
	uint64_t idle_ns, up_ns, said_ns, pinged_ns; /* pinged 0: answered */
	uint64_t rtt_ns;
	uint64_t run;
	bool cloned;
};

struct coord_caller *
coord_caller_new(uint64_t seed, uint64_t now_ns)
{
	struct coord_caller *c = mem_zalloc(sizeof(*c));

	rng_init(&c->rng, seed);
	c->next_ns = now_ns;
	snprintf(c->why, sizeof(c->why), "not reached yet");
	return c;
}

void
coord_caller_free(struct coord_caller *c)
{
	if (c == NULL)
		return;
	buf_fini(&c->where.frame);
	buf_fini(&c->want.frame);
	buf_fini(&c->out);
	VEC_FINI(&c->box);
	VEC_FINI(&c->asked);
	mem_free(c);
}

/* --- saying ----------------------------------------------------------- */

static bool
caller_has_room(const struct coord_caller *c)
{
	return c->state == CALLER_UP && !c->leave &&
	       c->out.len < LIMIT_COORD_OUT;
}

static void
caller_say(struct coord_caller *c, const struct coord_message *m)
{
	coord_encode(m, &c->out);
}

static void
caller_ping(struct coord_caller *c, uint64_t now_ns)
{
	const struct coord_message m = { .type = COORD_PING };

	c->pinged_ns = now_ns;
	caller_say(c, &m);
}

static void
caller_ask_box(struct coord_caller *c, uint32_t box)
{
	struct coord_message m = { .type = COORD_BOX };

	m.u.mail.box = box;
	caller_say(c, &m);
	*VEC_ADD(&c->asked) = box;
}

/* Tell what is not known there, if it may be told now. */
static void
caller_tell(struct coord_caller *c, uint64_t now_ns)
{
	struct caller_told *told[] = { &c->where, &c->want };

	if (c->state != CALLER_UP || !c->has_domain)
		return;
	for (size_t i = 0; i < 2; i++) {
		if (!told[i]->due ||
		    c->tell_ns > now_ns + (CALLER_TELLS - 1) * CALLER_TELL_NS)
			continue;
		told[i]->due = false;
		buf_put(&c->out, buf_slice(&told[i]->frame));
		c->tell_ns = (c->tell_ns > now_ns ? c->tell_ns : now_ns) +
			     CALLER_TELL_NS;
	}
}

static void
caller_set_told(struct coord_caller *c, struct caller_told *told,
    const struct coord_message *m, uint64_t now_ns)
{
	struct buf frame = { 0 };

	coord_encode(m, &frame);
	if (told->has &&
	    slice_equal(buf_slice(&frame), buf_slice(&told->frame))) {
		buf_fini(&frame);
		return;
	}
	buf_fini(&told->frame);
	told->frame = frame;
	told->has = told->due = true;
	caller_tell(c, now_ns);
}

/* --- the line --------------------------------------------------------- */

bool
coord_caller_is_due(const struct coord_caller *c, uint64_t now_ns)
{
	return c->state == CALLER_AWAY && c->next_ns <= now_ns;
}

void
coord_caller_dialled(struct coord_caller *c, uint64_t now_ns)
{
	ASSERT(c->state == CALLER_AWAY);
	c->state = CALLER_KNOCKING;
	c->leave = c->told = false;
	c->next_ns = now_ns + LIMIT_COORD_NS;
}

void
coord_caller_opened(struct coord_caller *c, uint64_t now_ns)
{
	struct coord_message m = { .type = COORD_HELLO };

	ASSERT(c->state == CALLER_KNOCKING);
	m.u.hello.version = COORD_VERSION;
	m.u.hello.has_domain = c->has_domain;
	m.u.hello.domain = c->domain;
	m.u.hello.seq = c->seq;
	m.u.hello.run = c->has_domain ? c->run : 0;
	memcpy(m.u.hello.head, c->head, sizeof(c->head));
	caller_say(c, &m);
	c->next_ns = now_ns + LIMIT_COORD_NS;
}

static enum coord_caller_answer
caller_leave(struct coord_caller *c, const char *why)
{
	snprintf(c->why, sizeof(c->why), "%s", why);
	c->told = c->leave = true;
	return COORD_CALLER_LEAVE;
}

static enum coord_caller_answer
caller_welcomed(struct coord_caller *c, const struct coord_message *m,
    uint64_t now_ns)
{
	uint32_t idle_s = m->u.welcome.idle_s;

	if (m->u.welcome.version == 0)
		return caller_leave(c, "it says no version");
	if (idle_s == 0)
		idle_s = CALLER_IDLE_S;
	if (idle_s < CALLER_IDLE_MIN_S)
		idle_s = CALLER_IDLE_MIN_S;
	if (idle_s > CALLER_IDLE_MAX_S)
		idle_s = CALLER_IDLE_MAX_S;
	c->state = CALLER_UP;
	c->why[0] = '\0';
	c->idle_ns = idle_s * CLOCK_S;
	c->up_ns = c->said_ns = now_ns;
	c->tell_ns = 0;
	c->where.due = c->where.has;
	c->want.due = c->want.has;
	caller_ping(c, now_ns); /* how far it is */
	caller_tell(c, now_ns);
	for (size_t i = 0; i < c->box.len; i++)
		caller_ask_box(c, c->box.item[i]);
	return COORD_CALLER_UP;
}

/* The BOX that this answers: 0 a new one; UINT32_MAX: none was asked for. */
static uint32_t
caller_box_answered(struct coord_caller *c)
{
	uint32_t box;

	if (c->asked.len == 0)
		return UINT32_MAX;
	box = c->asked.item[0];
	c->asked.len--;
	memmove(c->asked.item, c->asked.item + 1,
	    c->asked.len * sizeof(*c->asked.item));
	return box;
}

static void
caller_forget_box(struct coord_caller *c, uint32_t box)
{
	for (size_t i = 0; i < c->box.len; i++)
		if (c->box.item[i] == box) {
			VEC_DROP(&c->box, i);
			return;
		}
}

static enum coord_caller_answer
caller_hear_box(struct coord_caller *c, const struct coord_message *m)
{
	const uint32_t asked = caller_box_answered(c);

	if (asked == UINT32_MAX || m->u.mail.box == 0)
		return caller_leave(c, "it speaks of a box we have not");
	if (asked != 0)
		return COORD_CALLER_NOTHING; /* we have it again */
	*VEC_ADD(&c->box) = m->u.mail.box;
	return COORD_CALLER_TELL;
}

static enum coord_caller_answer
caller_hear_refused(struct coord_caller *c, const struct coord_message *m)
{
	const char *code = coord_code_text(m->u.refused.code);
	uint32_t box;

	if (c->state == CALLER_KNOCKING || m->u.refused.of == COORD_HELLO) {
		if (m->u.refused.code == COORD_CLONE)
			c->cloned = true;
		(void)caller_leave(c, code);
		return COORD_CALLER_TELL; /* and then over() */
	}
	if (m->u.refused.of != COORD_BOX)
		return COORD_CALLER_TELL;
	box = caller_box_answered(c);
	if (box == 0)
		return COORD_CALLER_NO_BOX;
	caller_forget_box(c, box);
	return COORD_CALLER_TELL;
}

enum coord_caller_answer
coord_caller_hear(struct coord_caller *c, const struct coord_message *m,
    uint64_t now_ns)
{
	const struct coord_message pong = { .type = COORD_PONG };

	ASSERT(c->state != CALLER_AWAY);
	if (c->leave)
		return COORD_CALLER_LEAVE;
	if (c->state == CALLER_KNOCKING && m->type != COORD_WELCOME &&
	    m->type != COORD_REFUSED)
		return caller_leave(c, "it speaks before it welcomes");
	switch (m->type) {
	case COORD_WELCOME:
		if (c->state == CALLER_KNOCKING)
			return caller_welcomed(c, m, now_ns);
		break;
	case COORD_REFUSED:
		return caller_hear_refused(c, m);
	case COORD_PING:
		/* One that asks and does not read is asked nothing more. */
		if (c->out.len < LIMIT_COORD_OUT)
			caller_say(c, &pong);
		return COORD_CALLER_NOTHING;
	case COORD_PONG:
		if (c->pinged_ns != 0)
			c->rtt_ns = now_ns - c->pinged_ns;
		c->pinged_ns = 0;
		return COORD_CALLER_NOTHING;
	case COORD_BOX:
		return caller_hear_box(c, m);
	case COORD_ENTRIES:
	case COORD_WHERE:
	case COORD_SIGNAL:
		if (c->has_domain)
			return COORD_CALLER_TELL;
		break;
	case COORD_MAIL:
		return COORD_CALLER_TELL;
	case COORD_HELLO:
	case COORD_PUBLISH:
	case COORD_WANT:
		break;
	}
	return caller_leave(c, "it said what it should not");
}

void
coord_caller_lost(struct coord_caller *c, const char *why, uint64_t now_ns)
{
	uint64_t pause_s = 1;

	ASSERT(c->state != CALLER_AWAY);
	if (!c->told)
		snprintf(c->why, sizeof(c->why), "%s", why);
	if (c->state == CALLER_UP && now_ns - c->up_ns >= LIMIT_COORD_HELD_NS)
		c->failures = 0;
	for (unsigned n = c->failures; n > 0 && pause_s < CALLER_PAUSE_MAX_S;
	     n--)
		pause_s *= 2;
	if (pause_s > CALLER_PAUSE_MAX_S)
		pause_s = CALLER_PAUSE_MAX_S;
	else
		c->failures++;
	c->state = CALLER_AWAY;
	c->leave = false;
	c->pinged_ns = 0;
	c->rtt_ns = 0;
	VEC_CLEAR(&c->asked);
	buf_fini(&c->out);
	c->next_ns = now_ns + pause_s * CLOCK_S - pause_s * CLOCK_S / 4 +
		     rng_below(&c->rng, pause_s * CLOCK_S / 2 + 1);
}

const char *
coord_caller_over(const struct coord_caller *c, uint64_t now_ns)
{
	if (c->state == CALLER_AWAY)
		return NULL;
	if (c->leave)
		return c->why;
	if (c->state == CALLER_KNOCKING)
		return c->next_ns <= now_ns ? "no answer" : NULL;
	if (c->pinged_ns != 0 && c->pinged_ns + LIMIT_COORD_NS <= now_ns)
		return "silent for too long";
	return NULL;
}

void
coord_caller_tick(struct coord_caller *c, uint64_t now_ns)
{
	if (c->state != CALLER_UP)
		return;
	caller_tell(c, now_ns);
	if (c->out.len > 0)
		c->said_ns = now_ns;
	if (c->pinged_ns == 0 && c->said_ns + c->idle_ns <= now_ns) {
		caller_ping(c, now_ns);
		c->said_ns = now_ns;
	}
}

uint64_t
coord_caller_wake_at(const struct coord_caller *c)
{
	uint64_t at;

	if (c->leave)
		return 0;
	if (c->state != CALLER_UP)
		return c->next_ns;
	at = c->pinged_ns != 0 ? c->pinged_ns + LIMIT_COORD_NS
			       : c->said_ns + c->idle_ns;
	if (c->has_domain && (c->where.due || c->want.due)) {
		const uint64_t ahead = (CALLER_TELLS - 1) * CALLER_TELL_NS;
		const uint64_t tell =
		    c->tell_ns > ahead ? c->tell_ns - ahead : 0;

		at = tell < at ? tell : at;
	}
	return at;
}

void
coord_caller_refresh(struct coord_caller *c, uint64_t now_ns)
{
	if (c->state != CALLER_AWAY)
		return;
	c->next_ns = now_ns;
	c->failures = 0;
}

/* --- what our owner says ---------------------------------------------- */

void
coord_caller_set_domain(struct coord_caller *c, const struct coord_id *domain,
    uint64_t seq, const uint8_t head[32])
{
	const bool same = c->has_domain == (domain != NULL) &&
			  (domain == NULL || memcmp(domain->b, c->domain.b,
						 sizeof(c->domain.b)) == 0);

	c->has_domain = domain != NULL;
	c->domain = domain != NULL ? *domain : (struct coord_id){ { 0 } };
	c->seq = domain != NULL ? seq : 0;
	memset(c->head, 0, sizeof(c->head));
	if (domain != NULL)
		memcpy(c->head, head, sizeof(c->head));
	if (same)
		return;
	if (c->state == CALLER_AWAY)
		c->next_ns = 0;
	else
		(void)caller_leave(c, "the domain is another one now");
	c->failures = 0;
}

void
coord_caller_set_run(struct coord_caller *c, uint64_t run)
{
	c->run = run;
}

void
coord_caller_publish(struct coord_caller *c, const struct addr *addr,
    size_t count, uint64_t now_ns)
{
	struct coord_message m = { .type = COORD_PUBLISH };

	m.u.where.addr =
	    mem_array(count > 0 ? count : 1, sizeof(*m.u.where.addr));
	for (size_t i = 0; i < count; i++)
		if (m.u.where.count < COORD_ADDRESSES_MAX)
			m.u.where.addr[m.u.where.count++] = addr[i];
	caller_set_told(c, &c->where, &m, now_ns);
	mem_free(m.u.where.addr);
}

void
coord_caller_want(struct coord_caller *c, const struct devid *id, size_t count,
    uint64_t now_ns)
{
	struct coord_message m = { .type = COORD_WANT };

	m.u.want.count = count < COORD_WANT_MAX ? count : COORD_WANT_MAX;
	m.u.want.id = mem_array(m.u.want.count > 0 ? m.u.want.count : 1,
	    sizeof(*m.u.want.id));
	for (size_t i = 0; i < m.u.want.count; i++)
		m.u.want.id[i] = id[i];
	caller_set_told(c, &c->want, &m, now_ns);
	mem_free(m.u.want.id);
}

bool
coord_caller_append(struct coord_caller *c, uint64_t seq,
    const struct slice *entry, size_t count)
{
	struct coord_message m = { .type = COORD_ENTRIES };
	struct slice *copy;
	size_t n;

	if (!caller_has_room(c) || !c->has_domain)
		return false;
	copy = mem_array(COORD_ENTRIES_MAX, sizeof(*copy));
	m.u.entries.entry = copy;
	for (size_t at = 0; at < count; at += n) {
		n = coord_entries_fit(entry + at, count - at);
		for (size_t i = 0; i < n; i++)
			copy[i] = entry[at + i];
		m.u.entries.seq = seq + at;
		m.u.entries.count = n;
		caller_say(c, &m);
	}
	mem_free(copy);
	return true;
}

bool
coord_caller_signal(struct coord_caller *c, const struct devid *to,
    struct slice body)
{
	struct coord_message m = { .type = COORD_SIGNAL };

	if (!caller_has_room(c) || !c->has_domain ||
	    body.len > COORD_SIGNAL_MAX)
		return false;
	m.u.signal.peer = *to;
	m.u.signal.body = body;
	caller_say(c, &m);
	return true;
}

bool
coord_caller_open_box(struct coord_caller *c)
{
	if (!caller_has_room(c) || !c->has_domain ||
	    c->asked.len >= LIMIT_COORD_BOXES)
		return false;
	caller_ask_box(c, 0);
	return true;
}

bool
coord_caller_claim_box(struct coord_caller *c, uint32_t box)
{
	if (!caller_has_room(c) || !c->has_domain ||
	    c->asked.len >= LIMIT_COORD_BOXES)
		return false;
	caller_forget_box(c, box);
	*VEC_ADD(&c->box) = box;
	caller_ask_box(c, box);
	return true;
}

void
coord_caller_close_box(struct coord_caller *c, uint32_t box)
{
	struct coord_message m = { .type = COORD_BOX };

	caller_forget_box(c, box);
	if (!caller_has_room(c))
		return; /* it is not claimed again, and so it ends */
	m.u.mail.box = box;
	m.u.mail.close = true;
	caller_say(c, &m);
}

bool
coord_caller_mail(struct coord_caller *c, uint32_t box, uint64_t stranger,
    struct slice body)
{
	struct coord_message m = { .type = COORD_MAIL };

	if (!caller_has_room(c) || body.len > COORD_SIGNAL_MAX)
		return false;
	m.u.mail.box = box;
	m.u.mail.stranger = stranger;
	m.u.mail.body = body;
	caller_say(c, &m);
	return true;
}

/* --- what it is ------------------------------------------------------- */

struct buf *
coord_caller_out(struct coord_caller *c)
{
	return &c->out;
}

bool
coord_caller_is_up(const struct coord_caller *c)
{
	return c->state == CALLER_UP;
}

const char *
coord_caller_why(const struct coord_caller *c)
{
	return c->why;
}

uint64_t
coord_caller_rtt_ns(const struct coord_caller *c)
{
	return c->rtt_ns;
}

bool
coord_caller_is_cloned(const struct coord_caller *c, uint64_t now_ns)
{
	return c->cloned && (c->state != CALLER_UP ||
				now_ns - c->up_ns < LIMIT_COORD_HELD_NS);
}
