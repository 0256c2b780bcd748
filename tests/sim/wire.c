/*
 * The wire.  See wire.h.
 */
#include "wire.h"

#include <string.h>

#include "blockproto/frame.h"
#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "mesh/session.h"

#define PIECES_MAX 4u /* of what was written at once */
#define SMALL 12u     /* bytes: a piece that cuts headers */

static bool
is_up(const struct node *nd, uint32_t other)
{
	return nd->link[other] != 0 && nd->session[other] == nd->link[other];
}

/* One run of bytes, cut anywhere; `whole`: a frame ends with it. */
static void
post_run(struct node *nd, uint32_t to, struct slice run, bool whole)
{
	struct choice *c = &nd->sim->choice;

	run = arena_dup(&nd->sim->arena, run);
	for (uint32_t i = 1; i < PIECES_MAX && run.len > 1; i++) {
		const uint64_t how = choice_weather(c, 4);
		size_t len = run.len;

		if (how == 1)
			len = 1 + choice_weather(c, run.len - 1);
		else if (how == 2)
			len = 1 + choice_weather(c, SMALL);
		if (how == 0 || len >= run.len)
			break;
		sim_post(nd, to, WIRE_PIECE, slice_to(run, len), false);
		sim_count(nd->sim, COUNT_CUT_FRAME);
		run = slice_from(run, len);
	}
	sim_post(nd, to, WIRE_PIECE, run, whole);
}

/* Whatever the session wants to write. */
static void
pump(struct node *nd, uint32_t to)
{
	struct session *ss = nd->wire[to];
	struct slice run;

	while (session_output(ss, &run)) {
		post_run(nd, to, run, session_queued(ss) == run.len);
		session_output_done(ss, run.len, nd->sim->now.mono_ns);
	}
}

static void
wake_at(struct sim *s, const struct session *ss)
{
	const uint64_t at = session_wake_at(ss);

	if (at < s->wire_at_ns)
		s->wire_at_ns = at;
}

void
wire_open(struct node *nd, uint32_t other)
{
	struct sim *s = nd->sim;
	const struct session_config cfg = {
		.hello = { .device_name = slice_str(nd->name),
		    .client_name = SLICE_LIT("holdfast"),
		    .client_version = SLICE_LIT("sim"),
		    .num_connections = 1,
		    .timestamp = s->now.wall_ns,
		    .features = nd->ops->features(nd) },
		.compression = s->compression,
	};

	nd->wire[other] = session_new(&cfg, s->now.mono_ns);
	nd->partly[other] = false;
	wake_at(s, nd->wire[other]);
	pump(nd, other);
}

void
wire_close(struct node *nd, uint32_t other)
{
	if (nd->wire[other] == NULL)
		return;
	if (nd->partly[other])
		sim_count(nd->sim, COUNT_CUT_IN_FRAME);
	session_free(nd->wire[other]);
	nd->wire[other] = NULL;
}

void
wire_send(struct node *nd, uint32_t to, const struct message *m,
    struct payload *p)
{
	struct err err = { 0 };

	if (nd->wire[to] == NULL || !is_up(nd, to)) {
		payload_free(p);
		return;
	}
	if (session_send(nd->wire[to], m, p, 0, &err) < 0)
		oracle_fault(&nd->sim->oracle, "unbounded: %s to %s: %s",
		    nd->name, nd->sim->node[to].name, err.text);
	else
		pump(nd, to);
}

void
wire_send_raw(struct node *nd, uint32_t to, int32_t type, struct slice body)
{
	struct buf out = { 0 };

	if (nd->wire[to] == NULL || !is_up(nd, to))
		return;
	frame_put_header(&out, type, 0, body.len);
	buf_put(&out, body);
	post_run(nd, to, buf_slice(&out), true);
	buf_fini(&out);
}

/* As a connection does with a peer that it cannot go on with. */
static void
give_up(struct node *nd, uint32_t other, const struct err *err)
{
	struct sim *s = nd->sim;

	if (err->code != ERR_CLOSED && !sim_is_liar(nd) &&
	    !sim_is_liar(&s->node[other]))
		oracle_fault(&s->oracle, "%s cannot read %s: %s", nd->name,
		    s->node[other].name, err->text);
	sim_say(nd, "gives %s up: %s", s->node[other].name, err->text);
	sim_disconnect(s, nd->number, other);
}

static void
handle(struct node *nd, uint32_t from, const struct session_event *ev)
{
	switch (ev->kind) {
	case SESSION_HELLO:
		sim_tell_peer(nd, from, true);
		break;
	case SESSION_MESSAGE:
		sim_tell_message(nd, from, ev->message, ev->payload);
		break;
	case SESSION_SENT:
		break;
	}
}

void
wire_came(struct node *nd, uint32_t from, struct slice piece, bool whole)
{
	struct session *ss = nd->wire[from];
	struct session_event ev;
	struct err err = { 0 };
	int rc = 0;

	nd->partly[from] = !whole;
	while (rc == 0 && piece.len > 0 && is_up(nd, from)) {
		size_t n;
		uint8_t *space = session_space(ss, &n);

		if (n > piece.len)
			n = piece.len;
		memcpy(space, piece.ptr, n);
		piece = slice_from(piece, n);
		rc = session_add(ss, n, nd->sim->now.mono_ns, &err);
		while (rc == 0 && is_up(nd, from) &&
		       (rc = session_next(ss, &ev, &err)) == 1) {
			handle(nd, from, &ev);
			rc = 0;
			if (nd->wire[from] != ss)
				return;
		}
	}
	if (rc < 0 && is_up(nd, from))
		give_up(nd, from, &err);
}

void
wire_tick(struct sim *s)
{
	struct err err;

	s->wire_at_ns = UINT64_MAX;
	for (uint32_t i = 0; i < s->nodes; i++)
		for (uint32_t k = 0; k < s->nodes; k++) {
			struct node *nd = &s->node[i];

			if (nd->wire[k] == NULL || !is_up(nd, k))
				continue;
			err = (struct err){ 0 };
			if (session_wake_at(nd->wire[k]) <= s->now.mono_ns) {
				if (session_tick(nd->wire[k], s->now.mono_ns,
					&err) < 0) {
					sim_count(s, COUNT_SILENT);
					give_up(nd, k, &err);
					continue;
				}
				pump(nd, k);
			}
			wake_at(s, nd->wire[k]);
		}
}
