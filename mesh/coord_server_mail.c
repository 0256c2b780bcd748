/*
 * The coordinator's boxes: letters between a member and strangers who were
 * given a box's number; see coord_server.h.  What is in a letter is sealed.
 */
#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/coord_server_impl.h"

/* Short enough to be read out, until there are many. */
#define SERVER_BOX_FIRST 1000u
#define SERVER_BOX_LAST 9999u
#define SERVER_BOX_MANY 999999u

static void
server_note_box(struct coord_server *s, const struct coord_server_guest *g,
    const struct server_box *b, const char *what)
{
	char text[64];

	snprintf(text, sizeof(text), "box %u", b->number);
	coord_server_note(s, g, &b->domain->id, what, text);
}

static void
server_drop_box(struct coord_server *s, struct server_box *b)
{
	umap_remove(&s->by_number, b->number);
	list_remove(&s->boxes, &b->node);
	mem_free(b);
}

void
coord_server_free_boxes(struct coord_server *s)
{
	struct list_node *at;

	while ((at = list_first(&s->boxes)) != NULL)
		server_drop_box(s, LIST_ITEM(at, struct server_box, node));
	umap_fini(&s->by_number);
}

uint64_t
coord_server_boxes_due(const struct coord_server *s)
{
	const struct list_node *at = list_first(&s->boxes);

	return at == NULL
		   ? CLOCK_NEVER
		   : LIST_ITEM(at, const struct server_box, node)->until_ns;
}

void
coord_server_expire_boxes(struct coord_server *s, struct now now)
{
	while (coord_server_boxes_due(s) <= now.mono_ns) {
		struct server_box *b =
		    LIST_ITEM(list_first(&s->boxes), struct server_box, node);

		server_note_box(s, NULL, b, "invite-end");
		server_drop_box(s, b);
	}
}

/* --- opening and closing ---------------------------------------------- */

static size_t
server_boxes_of(const struct coord_server *s, const struct devid *id)
{
	size_t count = 0;

	for (const struct list_node *at = list_first(&s->boxes); at != NULL;
	     at = list_next(&s->boxes, at))
		if (devid_equal(
			&LIST_ITEM(at, const struct server_box, node)->owner,
			id))
			count++;
	return count;
}

/* A free number that nobody can guess from the last one; 0: none. */
static uint32_t
server_box_number(struct coord_server *s)
{
	const uint32_t last = umap_count(&s->by_number) < SERVER_BOX_FIRST
				  ? SERVER_BOX_LAST
				  : SERVER_BOX_MANY;

	for (int i = 0; i < 64; i++) {
		const uint32_t number =
		    SERVER_BOX_FIRST +
		    (uint32_t)rng_below(&s->rng, last - SERVER_BOX_FIRST + 1);

		if (umap_find(&s->by_number, number) == NULL)
			return number;
	}
	return 0;
}

static void
server_open_box(struct coord_server *s, struct coord_server_guest *g,
    uint32_t number, struct now now)
{
	struct coord_message m = { .type = COORD_BOX };
	struct server_box *b = umap_find(&s->by_number, number);

	if (b != NULL &&
	    (b->domain != g->node->domain || !devid_equal(&b->owner, &g->id))) {
		coord_server_refuse(s, g, COORD_BOX, COORD_NO_BOX, NULL);
		return;
	}
	if (b == NULL && number == 0)
		number = server_box_number(s);
	if (b == NULL &&
	    (number < SERVER_BOX_FIRST || number > SERVER_BOX_MANY ||
		umap_count(&s->by_number) >= LIMIT_COORD_BOXES_ALL ||
		server_boxes_of(s, &g->id) >= LIMIT_COORD_BOXES)) {
		coord_server_refuse(s, g, COORD_BOX, COORD_TOO_MUCH, NULL);
		return;
	}
	if (b == NULL) {
		b = mem_zalloc(sizeof(*b));
		b->number = number;
		b->owner = g->id;
		b->domain = g->node->domain;
		b->until_ns = now.mono_ns + LIMIT_COORD_BOX_NS;
		umap_put(&s->by_number, number, b);
		list_add(&s->boxes, &b->node);
		server_note_box(s, g, b, "invite");
	}
	m.u.mail.box = b->number;
	coord_server_send(s, g, &m);
}

void
coord_server_box(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now)
{
	struct server_box *b;

	if (!m->u.mail.close) {
		server_open_box(s, g, m->u.mail.box, now);
		return;
	}
	b = umap_find(&s->by_number, m->u.mail.box);
	if (b == NULL || b->domain != g->node->domain ||
	    !devid_equal(&b->owner, &g->id))
		return; /* it is gone already */
	server_note_box(s, g, b, "invite-end");
	server_drop_box(s, b);
}

/* --- letters ---------------------------------------------------------- */

/* The owner answers one stranger. */
static void
server_mail_back(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m)
{
	struct coord_server_guest *to =
	    umap_find(&s->by_serial, m->u.mail.stranger);
	struct coord_message out = *m;

	if (to == NULL || to->box != m->u.mail.box) {
		coord_server_refuse(s, g, COORD_MAIL, COORD_NOT_HERE, NULL);
		return;
	}
	out.u.mail.stranger = 0;
	coord_server_send(s, to, &out);
}

/* Guessing numbers is vain, and so is one letter after the other. */
static void
server_mail_refuse(struct coord_server *s, struct coord_server_guest *g,
    enum coord_code code, struct now now)
{
	if (++g->vain >= LIMIT_COORD_VAIN) {
		coord_server_note_refusal(s, g, "refuse-mail",
		    coord_code_text(code), now);
		coord_server_drop(s, g, code, true, now);
		return;
	}
	coord_server_refuse(s, g, COORD_MAIL, code, NULL);
}

void
coord_server_mail(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m, struct now now)
{
	struct server_box *b = umap_find(&s->by_number, m->u.mail.box);
	struct coord_message out = *m;
	const struct server_node *to;

	if (b == NULL) {
		server_mail_refuse(s, g, COORD_NO_BOX, now);
		return;
	}
	if (g->node != NULL && g->node->domain == b->domain &&
	    devid_equal(&b->owner, &g->id)) {
		server_mail_back(s, g, m);
		return;
	}
	to = coord_server_find_node(b->domain, &b->owner);
	if (to == NULL || to->guest == NULL) {
		coord_server_refuse(s, g, COORD_MAIL, COORD_NOT_HERE, NULL);
		return;
	}
	if (g->box != b->number) {
		if (b->strangers >= LIMIT_COORD_BOX_STRANGERS) {
			server_mail_refuse(s, g, COORD_NO_BOX, now);
			return;
		}
		b->strangers++;
		g->box = b->number;
		server_note_box(s, g, b, "invite-used");
	}
	if (g->letters >= LIMIT_COORD_LETTERS) {
		server_mail_refuse(s, g, COORD_TOO_MUCH, now);
		return;
	}
	g->letters++;
	out.u.mail.stranger = g->serial;
	coord_server_send(s, to->guest, &out);
}
