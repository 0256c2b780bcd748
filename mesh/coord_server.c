/*
 * The coordinator; see coord_server.h.
 *
 * A node is a device in a domain: where it is, whom it wants, who wants it.  It
 * is there while it is connected, wanted, or its addresses are remembered.
 */
#include "mesh/coord_server.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/coord_server_impl.h"
#include "mesh/members_entry.h"

#define SERVER_IDLE_S 120u
#define SERVER_SILENT_NS ((2 * SERVER_IDLE_S + 30) * CLOCK_S)
#define SERVER_YOUNG_NS (30 * CLOCK_S) /* to become a member */
#define SERVER_TOKENS 512u
#define SERVER_TOKEN_NS (CLOCK_S / 32)

/* --- ending ----------------------------------------------------------- */

static void server_detach(struct coord_server *s, struct coord_server_guest *g,
    struct now now);

/* The end of it, as far as the server is concerned. */
void
coord_server_drop(struct coord_server *s, struct coord_server_guest *g,
    enum coord_code code, bool vain, struct now now)
{
	if (g->dropped)
		return;
	coord_server_refuse(s, g, COORD_HELLO, code, NULL);
	coord_server_effect(s, COORD_SERVER_DROP, g)->vain = vain;
	server_detach(s, g, now);
	g->dropped = true;
}

/* --- domains and nodes ------------------------------------------------ */

struct server_domain *
coord_server_find(const struct coord_server *s, const struct coord_id *id)
{
	return map_find(&s->domain, slice_of(id->b, sizeof(id->b)));
}

static struct server_domain *
server_add_domain(struct coord_server *s, const struct coord_id *id,
    struct members *ms)
{
	struct server_domain *d = mem_zalloc(sizeof(*d));

	d->id = *id;
	d->members = ms;
	map_init_seed(&d->node, rng_u64(&s->rng));
	list_init(&d->applicants);
	map_put(&s->domain, slice_of(d->id.b, sizeof(d->id.b)), d);
	*VEC_ADD(&s->order) = d;
	return d;
}

struct server_node *
coord_server_find_node(const struct server_domain *d, const struct devid *id)
{
	return map_find(&d->node, slice_of(id->b, DEVID_LEN));
}

struct server_node *
coord_server_add_node(struct server_domain *d, const struct devid *id)
{
	struct server_node *n = coord_server_find_node(d, id);

	if (n != NULL)
		return n;
	n = mem_zalloc(sizeof(*n));
	n->id = *id;
	n->domain = d;
	map_put(&d->node, slice_of(n->id.b, DEVID_LEN), n);
	return n;
}

/* Forget it when nothing is known of it and nobody asks. */
void
coord_server_try_free_node(struct coord_server *s, struct server_node *n)
{
	if (n->guest != NULL || n->where.len > 0 || n->watch.len > 0 ||
	    n->want.len > 0)
		return;
	if (list_has(&n->gone))
		list_remove(&s->gone, &n->gone);
	map_remove(&n->domain->node, slice_of(n->id.b, DEVID_LEN));
	VEC_FINI(&n->watch);
	VEC_FINI(&n->want);
	buf_fini(&n->where);
	mem_free(n);
}

bool
coord_server_is_member(const struct server_domain *d, const struct devid *id,
    struct now now)
{
	return members_find(d->members, id, now.wall_ns / (int64_t)CLOCK_S) !=
	       NULL;
}

bool
coord_server_knows(const struct coord_server *s, const struct devid *id,
    struct now now)
{
	for (size_t i = 0; i < s->order.len; i++)
		if (coord_server_is_member(s->order.item[i], id, now))
			return true;
	return false;
}

/* --- guests ----------------------------------------------------------- */

static void
server_list(struct coord_server_guest *g, struct list *to)
{
	if (g->in != NULL)
		list_remove(g->in, &g->line);
	g->in = to;
	if (to != NULL)
		list_add(to, &g->line);
}

struct coord_server_guest *
coord_server_enter(struct coord_server *s, void *owner, const struct devid *id,
    const struct addr *from, bool may_found, struct now now)
{
	struct coord_server_guest *g = mem_zalloc(sizeof(*g));

	g->owner = owner;
	g->id = *id;
	g->from = *from;
	g->may_found = may_found;
	g->serial = ++s->serial;
	g->tokens = SERVER_TOKENS;
	g->token_ns = g->heard_ns = now.mono_ns;
	umap_put(&s->by_serial, g->serial, g);
	server_list(g, &s->young);
	return g;
}

/* Off its node, off the lists: it is nobody any more. */
static void
server_detach(struct coord_server *s, struct coord_server_guest *g,
    struct now now)
{
	if (g->dropped)
		return;
	server_list(g, NULL);
	if (g->state == SERVER_STRANGER)
		s->strangers--;
	if (g->applied != NULL)
		list_remove(&g->applied->applicants, &g->application);
	g->applied = NULL;
	if (g->state == SERVER_MEMBER)
		coord_server_member_left(s, g, now);
	umap_remove(&s->by_serial, g->serial);
}

void
coord_server_leave(struct coord_server *s, struct coord_server_guest *g,
    struct now now)
{
	server_detach(s, g, now);
	members_free(g->bringing);
	buf_fini(&g->held);
	mem_free(g);
}

bool
coord_server_is_in(const struct coord_server_guest *g)
{
	return g->state == SERVER_MEMBER && !g->dropped;
}

static bool
server_pay(struct coord_server *s, struct coord_server_guest *g, unsigned cost,
    struct now now)
{
	const uint64_t add = (now.mono_ns - g->token_ns) / SERVER_TOKEN_NS;

	if (add > 0) {
		g->token_ns += add * SERVER_TOKEN_NS;
		g->tokens = add + g->tokens > SERVER_TOKENS
				? SERVER_TOKENS
				: g->tokens + (unsigned)add;
	}
	if (g->tokens >= cost) {
		g->tokens -= cost;
		return true;
	}
	coord_server_note_refusal(s, g, "flood", "it says too much at once",
	    now);
	coord_server_drop(s, g, COORD_TOO_MUCH, true, now);
	return false;
}

/* It asks for what it may not: a few times, and it goes. */
static void
server_no(struct coord_server *s, struct coord_server_guest *g,
    enum coord_type of, enum coord_code code, const char *text, struct now now)
{
	if (++g->vain >= LIMIT_COORD_VAIN)
		coord_server_drop(s, g, code, true, now);
	else
		coord_server_refuse(s, g, of, code, text);
}

static struct coord_server_guest *
server_oldest(const struct list *l)
{
	struct list_node *at = list_first(l);

	return at == NULL ? NULL
			  : LIST_ITEM(at, struct coord_server_guest, line);
}

/* --- HELLO ------------------------------------------------------------ */

static void
server_welcome(struct coord_server *s, struct coord_server_guest *g,
    uint64_t seq)
{
	struct coord_message m = { .type = COORD_WELCOME };

	m.u.welcome.version = COORD_VERSION;
	m.u.welcome.seen = g->from;
	m.u.welcome.stun_port[0] = s->stun[0];
	m.u.welcome.stun_port[1] = s->stun[1];
	m.u.welcome.idle_s = SERVER_IDLE_S;
	m.u.welcome.seq = seq;
	coord_server_send(s, g, &m);
}

/* What it told before it was one, and what it has not got of the log. */
static void
server_admit(struct coord_server *s, struct coord_server_guest *g,
    struct server_domain *d, struct now now)
{
	struct slice held;
	struct coord_message m;
	struct arena ar = { 0 };
	size_t used;

	if (g->applied != NULL)
		list_remove(&g->applied->applicants, &g->application);
	g->applied = NULL;
	coord_server_send_lacking(s, g, d, g->seq, g->head);
	g->state = SERVER_MEMBER;
	server_list(g, &s->here);
	g->heard_ns = now.mono_ns;
	coord_server_member_came(s, g, d, now);
	held = buf_slice(&g->held);
	while (!g->dropped && coord_decode(&m, held, &used, &ar, NULL) == 1) {
		held = slice_from(held, used);
		coord_server_hear(s, g, &m, now);
	}
	buf_fini(&g->held);
	arena_fini(&ar);
}

static void
server_hello(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now)
{
	struct server_domain *d;

	if (m->u.hello.version == 0) {
		coord_server_drop(s, g, COORD_BAD_MESSAGE, true, now);
		return;
	}
	g->seq = m->u.hello.seq;
	memcpy(g->head, m->u.hello.head, sizeof(g->head));
	g->run = m->u.hello.run;
	if (!m->u.hello.has_domain) {
		if (s->strangers >= LIMIT_COORD_STRANGERS)
			coord_server_drop(s, server_oldest(&s->stranger),
			    COORD_TOO_MUCH, false, now);
		g->state = SERVER_STRANGER;
		s->strangers++;
		g->heard_ns = now.mono_ns;
		server_list(g, &s->stranger);
		server_welcome(s, g, 0);
		return;
	}
	d = coord_server_find(s, &m->u.hello.domain);
	if (d != NULL && coord_server_is_member(d, &g->id, now)) {
		server_welcome(s, g, members_seq(d->members));
		server_admit(s, g, d, now);
		return;
	}
	if (d == NULL &&
	    (!g->may_found || map_count(&s->domain) >= LIMIT_COORD_DOMAINS)) {
		coord_server_note_refusal(s, g, "refuse-domain",
		    "a domain that is not served here", now);
		coord_server_drop(s, g, COORD_NO_DOMAIN, true, now);
		return;
	}
	if (d != NULL && m->u.hello.seq <= members_seq(d->members)) {
		coord_server_note_refusal(s, g, "refuse-member",
		    "not a member of the domain", now);
		coord_server_drop(s, g, COORD_NOT_MEMBER, true, now);
		return;
	}
	/* It may know more than we do: let it show. */
	g->state = SERVER_APPLICANT;
	g->domain = m->u.hello.domain;
	g->applied = d;
	if (d != NULL)
		list_add(&d->applicants, &g->application);
	server_welcome(s, g, d != NULL ? members_seq(d->members) : 0);
}

/* --- entries ---------------------------------------------------------- */

/* A domain of its own, until it turns out to be a member of it. */
static void
server_bring(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now)
{
	struct coord_id id;
	struct err err = { 0 };
	struct server_domain *d;

	if (g->bringing == NULL)
		g->bringing = members_new();
	for (size_t i = 0; i < m->u.entries.count; i++) {
		const enum members_verdict v = members_take(g->bringing,
		    m->u.entries.seq + i, m->u.entries.entry[i], &err);

		g->brought += m->u.entries.entry[i].len;
		if (v == MEMBERS_INVALID || v == MEMBERS_GAP ||
		    members_seq(g->bringing) > LIMIT_COORD_LOG ||
		    g->brought > LIMIT_COORD_LOG_LEN) {
			coord_server_note_refusal(s, g, "refuse-entry",
			    v == MEMBERS_INVALID ? err.text
						 : "too many, or "
						   "out of order",
			    now);
			coord_server_drop(s, g, COORD_BAD_ENTRY, true, now);
			return;
		}
	}
	members_domain(g->bringing, &id);
	if (memcmp(id.b, g->domain.b, sizeof(id.b)) != 0) {
		coord_server_drop(s, g, COORD_BAD_ENTRY, true, now);
		return;
	}
	if (members_find(g->bringing, &g->id, now.wall_ns / (int64_t)CLOCK_S) ==
	    NULL)
		return; /* more may come */
	d = coord_server_find(s, &id);
	if (d == NULL) {
		d = server_add_domain(s, &id, members_new());
		coord_server_note(s, g, &id, "found",
		    members_name(g->bringing));
	}
	coord_server_take_all(s, g, d, g->bringing, now);
	members_free(g->bringing);
	g->bringing = NULL;
	if (!g->dropped && g->state == SERVER_APPLICANT &&
	    coord_server_is_member(d, &g->id, now))
		server_admit(s, g, d, now);
}

/* It is no member any more: neither it nor its addresses stay. */
static void
server_cut(struct coord_server *s, struct server_node *n, struct now now)
{
	buf_fini(&n->where);
	if (n->guest != NULL) {
		coord_server_note(s, n->guest, &n->domain->id, "cut",
		    "not a member any more");
		coord_server_drop(s, n->guest, COORD_NOT_MEMBER, false, now);
		return;
	}
	coord_server_try_free_node(s, n);
}

/* Whose turn it is, now that there are new entries. */
void
coord_server_recheck(struct coord_server *s, struct server_domain *d,
    struct now now)
{
	struct list_node *at = list_first(&d->applicants);
	VEC(struct server_node *) cut = { 0 };

	while (at != NULL) {
		struct coord_server_guest *g =
		    LIST_ITEM(at, struct coord_server_guest, application);

		at = list_next(&d->applicants, at);
		s->visits++;
		if (coord_server_is_member(d, &g->id, now))
			server_admit(s, g, d, now);
	}
	/* To let one go may take others off the map: after the walk.  These
	 * stay till then, being here or having an address. */
	for (struct map_item *it = NULL;
	     (it = map_next(&d->node, it)) != NULL;) {
		struct server_node *n = it->value;

		s->visits++;
		if ((n->guest != NULL || n->where.len > 0) &&
		    !coord_server_is_member(d, &n->id, now))
			*VEC_ADD(&cut) = n;
	}
	for (size_t i = 0; i < cut.len; i++)
		server_cut(s, cut.item[i], now);
	VEC_FINI(&cut);
}

/* --- what is said ----------------------------------------------------- */

static unsigned
server_cost(const struct coord_message *m)
{
	switch (m->type) {
	case COORD_PUBLISH:
	case COORD_WANT:
	case COORD_BOX:
		return 8;
	case COORD_ENTRIES:
		return 16;
	case COORD_MAIL:
		return 4;
	case COORD_HELLO:
	case COORD_WELCOME:
	case COORD_REFUSED:
	case COORD_PING:
	case COORD_PONG:
	case COORD_WHERE:
	case COORD_SIGNAL:
		return 1;
	}
	return 1;
}

static void
server_hear_member(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now)
{
	switch (m->type) {
	case COORD_ENTRIES:
		coord_server_take(s, g, g->node->domain, m->u.entries.seq,
		    m->u.entries.entry, m->u.entries.count, now);
		return;
	case COORD_PUBLISH:
		coord_server_publish(s, g, m);
		return;
	case COORD_WANT:
		coord_server_want(s, g, m);
		return;
	case COORD_SIGNAL:
		coord_server_signal(s, g, m);
		return;
	case COORD_BOX:
		coord_server_box(s, g, m, now);
		return;
	case COORD_MAIL:
		coord_server_mail(s, g, m, now);
		return;
	case COORD_HELLO:
	case COORD_WELCOME:
	case COORD_REFUSED:
	case COORD_PING:
	case COORD_PONG:
	case COORD_WHERE:
		break;
	}
	coord_server_drop(s, g, COORD_BAD_MESSAGE, true, now);
}

/* Entries at once, the rest when it is a member. */
static void
server_hear_applicant(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now)
{
	if (m->type == COORD_ENTRIES && g->applied == NULL)
		server_bring(s, g, m, now);
	else if (m->type == COORD_ENTRIES)
		coord_server_take(s, g, g->applied, m->u.entries.seq,
		    m->u.entries.entry, m->u.entries.count, now);
	else if ((m->type == COORD_PUBLISH || m->type == COORD_WANT) &&
		 g->held.len < COORD_FRAME_MAX)
		coord_encode(m, &g->held);
	else if (m->type == COORD_MAIL)
		coord_server_mail(s, g, m, now);
	else
		server_no(s, g, m->type, COORD_NOT_MEMBER, NULL, now);
}

void
coord_server_hear(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now)
{
	const struct coord_message pong = { .type = COORD_PONG };

	if (g->dropped || !server_pay(s, g, server_cost(m), now))
		return;
	/* The one heard last is last; who is to become a member has no more
	 * time for talking. */
	if (g->state == SERVER_MEMBER || g->state == SERVER_STRANGER) {
		g->heard_ns = now.mono_ns;
		server_list(g, g->in);
	}
	if (m->type == COORD_PING && g->state != SERVER_NEW) {
		coord_server_send(s, g, &pong);
		return;
	}
	if (m->type == COORD_PONG && g->state != SERVER_NEW)
		return;
	switch (g->state) {
	case SERVER_NEW:
		if (m->type == COORD_HELLO)
			server_hello(s, g, m, now);
		else
			coord_server_drop(s, g, COORD_BAD_MESSAGE, true, now);
		return;
	case SERVER_STRANGER:
		if (m->type == COORD_MAIL)
			coord_server_mail(s, g, m, now);
		else
			server_no(s, g, m->type, COORD_NOT_MEMBER, NULL, now);
		return;
	case SERVER_APPLICANT:
		server_hear_applicant(s, g, m, now);
		return;
	case SERVER_MEMBER:
		server_hear_member(s, g, m, now);
		return;
	}
}

void
coord_server_garbled(struct coord_server *s, struct coord_server_guest *g,
    struct now now)
{
	coord_server_drop(s, g, COORD_BAD_MESSAGE, true, now);
}

/* --- time ------------------------------------------------------------- */

static uint64_t
server_due(const struct list *l, uint64_t life_ns)
{
	const struct coord_server_guest *g = server_oldest(l);

	return g == NULL ? CLOCK_NEVER : g->heard_ns + life_ns;
}

static void
server_expire(struct coord_server *s, struct list *l, uint64_t life_ns,
    enum coord_code code, struct now now)
{
	while (server_due(l, life_ns) <= now.mono_ns)
		coord_server_drop(s, server_oldest(l), code, l == &s->young,
		    now);
}

void
coord_server_tick(struct coord_server *s, struct now now)
{
	server_expire(s, &s->young, SERVER_YOUNG_NS, COORD_NOT_MEMBER, now);
	server_expire(s, &s->stranger, SERVER_SILENT_NS, COORD_NOT_HERE, now);
	server_expire(s, &s->here, SERVER_SILENT_NS, COORD_NOT_HERE, now);
	coord_server_expire_gone(s, now);
	coord_server_expire_boxes(s, now);
}

uint64_t
coord_server_wake_at(const struct coord_server *s)
{
	const uint64_t due[] = { server_due(&s->young, SERVER_YOUNG_NS),
		server_due(&s->stranger, SERVER_SILENT_NS),
		server_due(&s->here, SERVER_SILENT_NS),
		coord_server_gone_due(s), coord_server_boxes_due(s) };
	uint64_t at = CLOCK_NEVER;

	for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++)
		at = due[i] < at ? due[i] : at;
	return at;
}

/* --- the whole -------------------------------------------------------- */

struct coord_server *
coord_server_new(uint64_t seed)
{
	struct coord_server *s = mem_zalloc(sizeof(*s));

	rng_init(&s->rng, seed);
	map_init_seed(&s->domain, rng_u64(&s->rng));
	list_init(&s->young);
	list_init(&s->stranger);
	list_init(&s->here);
	list_init(&s->gone);
	list_init(&s->boxes);
	s->notes = COORD_SERVER_NOTES;
	return s;
}

static void
server_free_domain(struct server_domain *d)
{
	for (struct map_item *it = NULL;
	     (it = map_next(&d->node, it)) != NULL;) {
		struct server_node *n = it->value;

		VEC_FINI(&n->watch);
		VEC_FINI(&n->want);
		buf_fini(&n->where);
		mem_free(n);
	}
	map_fini(&d->node);
	members_free(d->members);
	mem_free(d);
}

void
coord_server_free(struct coord_server *s)
{
	if (s == NULL)
		return;
	ASSERT(umap_count(&s->by_serial) == 0);
	for (size_t i = 0; i < s->order.len; i++)
		server_free_domain(s->order.item[i]);
	coord_server_free_boxes(s);
	map_fini(&s->domain);
	umap_fini(&s->by_serial);
	VEC_FINI(&s->order);
	VEC_FINI(&s->effect);
	arena_fini(&s->arena);
	buf_fini(&s->scratch);
	mem_free(s);
}

void
coord_server_set_stun(struct coord_server *s, uint16_t a, uint16_t b)
{
	s->stun[0] = a;
	s->stun[1] = b;
}

int
coord_server_restore(struct coord_server *s, const struct coord_id *domain,
    uint64_t seq, struct slice entry, struct err *err)
{
	struct server_domain *d = coord_server_find(s, domain);
	struct members *ms = d == NULL ? members_new() : d->members;
	struct coord_id id;
	enum members_verdict v = members_take(ms, seq, entry, err);

	if (v == MEMBERS_INVALID || v == MEMBERS_GAP) {
		if (d == NULL)
			members_free(ms);
		return v == MEMBERS_GAP
			   ? err_set(err, ERR_CORRUPT, "entries are missing")
			   : ERR_CORRUPT;
	}
	members_domain(ms, &id);
	if (memcmp(id.b, domain->b, sizeof(id.b)) != 0) {
		members_free(ms); /* d is NULL: the first decides */
		return err_set(err, ERR_CORRUPT, "it is of another domain");
	}
	if (d == NULL)
		d = server_add_domain(s, domain, ms);
	d->bytes += entry.len;
	return 0;
}

bool
coord_server_next(struct coord_server *s, struct coord_server_effect *out)
{
	if (s->effect_at < s->effect.len) {
		*out = s->effect.item[s->effect_at++];
		return true;
	}
	VEC_CLEAR(&s->effect);
	s->effect_at = 0;
	arena_clear(&s->arena);
	return false;
}

void
coord_server_state(const struct coord_server *s, struct coord_server_state *out)
{
	*out = (struct coord_server_state){
		.domains = s->order.len,
		.members = s->here.count,
		.strangers = s->strangers,
		.boxes = umap_count(&s->by_number),
		.visits = s->visits,
		.sends = s->sends,
		.bytes = s->bytes,
	};
}

bool
coord_server_domain_at(const struct coord_server *s, size_t i,
    struct coord_server_domain *out)
{
	const struct server_domain *d;

	if (i >= s->order.len)
		return false;
	d = s->order.item[i];
	*out = (struct coord_server_domain){ .id = d->id,
		.name = members_name(d->members),
		.entries = members_seq(d->members),
		.members = members_count(d->members),
		.here = d->here };
	return true;
}
