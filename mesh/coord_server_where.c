/*
 * The coordinator's addresses: who is where, and who wants to know; see
 * coord_server.h.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/coord_server_impl.h"

/* What is to be told of a device: a WHERE, in the effects' arena. */
static struct slice
server_where(struct coord_server *s, const struct server_node *n)
{
	struct coord_message m = { .type = COORD_WHERE }, kept;
	struct arena ar = { 0 };
	struct slice out;
	size_t used;

	if (n->where.len > 0 &&
	    coord_decode(&kept, buf_slice(&n->where), &used, &ar, NULL) == 1)
		m.u.where = kept.u.where;
	m.u.where.id = n->id;
	m.u.where.here = n->told;
	out = coord_server_encode(s, &m);
	arena_fini(&ar);
	return out;
}

/* To all who want it: encoded once. */
static void
server_tell(struct coord_server *s, const struct server_node *n)
{
	struct slice bytes;

	if (n->watch.len == 0)
		return;
	bytes = server_where(s, n);
	for (size_t i = 0; i < n->watch.len; i++) {
		s->visits++;
		if (n->watch.item[i]->guest != NULL)
			coord_server_send_bytes(s, n->watch.item[i]->guest,
			    bytes);
	}
}

/* `n` wants nobody any more; those it wanted may be forgotten. */
static void
server_want_nobody(struct coord_server *s, struct server_node *n)
{
	for (size_t i = 0; i < n->want.len; i++) {
		struct server_node *to = n->want.item[i];

		for (size_t k = 0; k < to->watch.len; k++) {
			s->visits++;
			if (to->watch.item[k] == n) {
				VEC_DROP(&to->watch, k);
				break;
			}
		}
	}
}

void
coord_server_want(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m)
{
	struct server_node *n = g->node;
	VEC(struct server_node *) old = { 0 };

	server_want_nobody(s, n);
	for (size_t i = 0; i < n->want.len; i++)
		*VEC_ADD(&old) = n->want.item[i];
	VEC_CLEAR(&n->want);
	for (size_t i = 0; i < m->u.want.count; i++) {
		struct server_node *to =
		    coord_server_add_node(n->domain, &m->u.want.id[i]);

		/* The same twice: we were the last who came. */
		if (to == n || (to->watch.len > 0 &&
				   to->watch.item[to->watch.len - 1] == n))
			continue;
		s->visits++;
		*VEC_ADD(&to->watch) = n;
		*VEC_ADD(&n->want) = to;
		coord_server_send_bytes(s, g, server_where(s, to));
	}
	for (size_t i = 0; i < old.len; i++)
		coord_server_try_free_node(s, old.item[i]);
	VEC_FINI(&old);
}

/* --- who is here ------------------------------------------------------ */

/* Was it another one's turn since this one was here?  Then both still run. */
static bool
server_is_clone(const struct server_node *n, uint64_t run)
{
	for (size_t i = 1; i < COORD_SERVER_RUNS; i++)
		if (run != 0 && run != n->run[0] && run == n->run[i])
			return true;
	return false;
}

static void
server_put_run(struct server_node *n, uint64_t run)
{
	size_t i = 0;

	while (i < COORD_SERVER_RUNS - 1 && n->run[i] != run)
		i++;
	memmove(n->run + 1, n->run, i * sizeof(*n->run));
	n->run[0] = run;
}

void
coord_server_member_came(struct coord_server *s, struct coord_server_guest *g,
    struct server_domain *d, struct now now)
{
	struct server_node *n = coord_server_add_node(d, &g->id);
	struct coord_server_guest *old = n->guest;
	bool cloned = false;

	if (old != NULL) { /* it has dialled again: nobody need know */
		old->node = NULL;
		n->guest = NULL;
		d->here--;
		cloned = server_is_clone(n, g->run);
		coord_server_drop(s, old, cloned ? COORD_CLONE : COORD_TOO_MUCH,
		    false, now);
	}
	server_put_run(n, g->run);
	if (cloned) {
		coord_server_note_refusal(s, g, "clone",
		    "two machines have the key of this device", now);
		coord_server_drop(s, g, COORD_CLONE, false, now);
		return;
	}
	if (list_has(&n->gone))
		list_remove(&s->gone, &n->gone);
	n->guest = g;
	g->node = n;
	d->here++;
}

void
coord_server_member_left(struct coord_server *s, struct coord_server_guest *g,
    struct now now)
{
	struct server_node *n = g->node;

	g->node = NULL;
	if (n == NULL)
		return; /* another connection has its place */
	ASSERT(n->guest == g);
	n->guest = NULL;
	n->domain->here--;
	server_want_nobody(s, n);
	for (size_t i = 0; i < n->want.len; i++)
		coord_server_try_free_node(s, n->want.item[i]);
	VEC_CLEAR(&n->want);
	if (n->told) {
		n->told = false;
		server_tell(s, n);
	}
	if (n->where.len > 0) {
		n->gone_ns = now.mono_ns;
		list_add(&s->gone, &n->gone);
	}
	coord_server_try_free_node(s, n);
}

uint64_t
coord_server_gone_due(const struct coord_server *s)
{
	const struct list_node *at = list_first(&s->gone);

	return at == NULL
		   ? CLOCK_NEVER
		   : LIST_ITEM(at, const struct server_node, gone)->gone_ns +
			 LIMIT_COORD_GONE_NS;
}

void
coord_server_expire_gone(struct coord_server *s, struct now now)
{
	while (coord_server_gone_due(s) <= now.mono_ns) {
		struct server_node *n =
		    LIST_ITEM(list_first(&s->gone), struct server_node, gone);

		list_remove(&s->gone, &n->gone);
		buf_fini(&n->where);
		coord_server_try_free_node(s, n);
	}
}

/* --- where it is ------------------------------------------------------ */

/* An address without a host is at the host that we see. */
static bool
server_complete(struct addr *a, const struct addr *from)
{
	if (!addr_is_unspecified(a))
		return true;
	if (a->scheme == ADDR_RELAY ||
	    (from->host == ADDR_IP4 && a->family == ADDR_V6) ||
	    (from->host == ADDR_IP6 &&
		(a->family == ADDR_V4 || a->host == ADDR_IP4)))
		return false;
	addr_set_host(a, from);
	a->family = ADDR_ANY;
	return true;
}

static bool
server_has_addr(const struct coord_message *m, const struct addr *a)
{
	for (size_t i = 0; i < m->u.where.count; i++)
		if (addr_equal(&m->u.where.addr[i], a))
			return true;
	return false;
}

void
coord_server_publish(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m)
{
	struct coord_message next = { .type = COORD_PUBLISH };
	struct server_node *n = g->node;
	struct buf frame = { 0 };

	next.u.where.addr =
	    mem_array(m->u.where.count + 1, sizeof(*next.u.where.addr));
	for (size_t i = 0; i < m->u.where.count; i++) {
		struct addr a = m->u.where.addr[i];

		if (server_complete(&a, &g->from) &&
		    !server_has_addr(&next, &a))
			next.u.where.addr[next.u.where.count++] = a;
	}
	coord_encode(&next, &frame);
	mem_free(next.u.where.addr);
	if (n->told && slice_equal(buf_slice(&frame), buf_slice(&n->where))) {
		buf_fini(&frame);
		return;
	}
	buf_fini(&n->where);
	n->where = frame;
	n->told = true;
	server_tell(s, n);
}

/* --- signals ---------------------------------------------------------- */

void
coord_server_signal(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m)
{
	const struct server_node *to =
	    coord_server_find_node(g->node->domain, &m->u.signal.peer);
	struct coord_message out = *m;

	s->visits++;
	if (to == NULL || to->guest == NULL) {
		coord_server_refuse(s, g, COORD_SIGNAL, COORD_NOT_HERE, NULL);
		return;
	}
	out.u.signal.peer = g->id;
	coord_server_send(s, to->guest, &out);
}
