/*
 * What the coordinator has to say, as effects: messages to guests, and notes
 * for the audit log; see coord_server.h.
 */
#include <stdio.h>

#include "mesh/coord_server_impl.h"

#define SERVER_NOTE_NS (10 * CLOCK_S) /* then another note of a refusal */

struct coord_server_effect *
coord_server_effect(struct coord_server *s, enum coord_server_kind kind,
    struct coord_server_guest *g)
{
	struct coord_server_effect *ef = VEC_ADD(&s->effect);

	*ef = (struct coord_server_effect){ .kind = kind, .guest = g };
	if (g != NULL)
		ef->owner = g->owner;
	return ef;
}

/* `bytes` live in s->arena, or until the effects are taken. */
void
coord_server_send_bytes(struct coord_server *s, struct coord_server_guest *g,
    struct slice bytes)
{
	if (g->dropped || bytes.len == 0)
		return;
	coord_server_effect(s, COORD_SERVER_SEND, g)->bytes = bytes;
	s->sends++;
	s->bytes += bytes.len;
}

struct slice
coord_server_encode(struct coord_server *s, const struct coord_message *m)
{
	buf_clear(&s->scratch);
	coord_encode(m, &s->scratch);
	return arena_dup(&s->arena, buf_slice(&s->scratch));
}

void
coord_server_send(struct coord_server *s, struct coord_server_guest *g,
    const struct coord_message *m)
{
	coord_server_send_bytes(s, g, coord_server_encode(s, m));
}

static const char *
server_from(struct coord_server *s, const struct coord_server_guest *g)
{
	char text[ADDR_TEXT_MAX];

	if (g == NULL)
		return "";
	addr_text_host(&g->from, text);
	return arena_str(&s->arena, slice_str(text));
}

void
coord_server_note(struct coord_server *s, const struct coord_server_guest *g,
    const struct coord_id *domain, const char *what, const char *text)
{
	struct coord_server_effect *ef =
	    coord_server_effect(s, COORD_SERVER_NOTE, NULL);

	ef->what = what;
	ef->text = arena_str(&s->arena, slice_str(text));
	ef->from = server_from(s, g);
	if (g != NULL)
		ef->actor = g->id;
	if (domain != NULL)
		ef->domain = *domain;
}

/* A note that a stranger can cause at will. */
void
coord_server_note_refusal(struct coord_server *s,
    const struct coord_server_guest *g, const char *what, const char *text,
    struct now now)
{
	const uint64_t add = (now.mono_ns - s->noted_ns) / SERVER_NOTE_NS;
	char more[COORD_TEXT_MAX + 64];

	if (add > 0) {
		s->noted_ns = now.mono_ns;
		s->notes = add + s->notes > COORD_SERVER_NOTES
			       ? COORD_SERVER_NOTES
			       : s->notes + (unsigned)add;
	}
	if (s->notes == 0) {
		s->unnoted++;
		return;
	}
	s->notes--;
	if (s->unnoted > 0)
		snprintf(more, sizeof(more), "%.*s (and %llu more)",
		    (int)COORD_TEXT_MAX, text, (unsigned long long)s->unnoted);
	else
		snprintf(more, sizeof(more), "%.*s", (int)COORD_TEXT_MAX, text);
	s->unnoted = 0;
	coord_server_note(s, g, g->node != NULL ? &g->node->domain->id : NULL,
	    what, more);
}

void
coord_server_refuse(struct coord_server *s, struct coord_server_guest *g,
    enum coord_type of, enum coord_code code, const char *text)
{
	struct coord_message m = { .type = COORD_REFUSED };

	m.u.refused.code = code;
	m.u.refused.of = of;
	snprintf(m.u.refused.text, sizeof(m.u.refused.text), "%s",
	    text != NULL ? text : coord_code_text(code));
	coord_server_send(s, g, &m);
}
