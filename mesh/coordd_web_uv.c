/*
 * Our coordinator's guests that speak HTTP: one question, one answer, and they
 * hang up, or we do.  What is answered is disco.h's.
 */
#include "engine/base/limits.h"
#include "mesh/coordd_impl.h"
#include "mesh/disco.h"

static void
coordd_web_say(struct coordd_guest *g, const struct buf *answer, int status)
{
	coordd_send(g, buf_slice(answer));
	coordd_drop(g, status >= 400 && status != 404);
}

static int
coordd_web_answer(const struct coordd_guest *g, const struct http_request *q,
    struct buf *out)
{
	struct coordd *d = g->d;
	const struct devid *id = stream_peer(g->stream);
	const struct now now = coordd_now();
	struct disco_asker who = { .from = &g->from };

	if (!devid_is_none(id)) {
		who.id = id;
		who.may = d->may(d->arg, id) ||
			  coord_server_knows(d->server, id, now);
	}
	return disco_answer(d->disco, q, &who, now, out);
}

void
coordd_web_hear(struct coordd_guest *g)
{
	struct coordd *d = g->d;
	struct http_request q;
	struct buf out = { 0 };
	int status;

	if (d->disco == NULL) { /* not any more */
		coordd_end(g, false);
		coordd_work(d);
		return;
	}
	switch (http_parse(&q, buf_slice(&g->in), LIMIT_DISCO_BODY, &status)) {
	case HTTP_MORE:
		if (!q.expects || g->continued)
			return;
		g->continued = true;
		coordd_send(g, SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
		break;
	case HTTP_WHOLE:
		status = coordd_web_answer(g, &q, &out);
		coordd_web_say(g, &out, status);
		break;
	case HTTP_BAD:
		disco_refuse(status, &out);
		coordd_web_say(g, &out, status);
		break;
	}
	buf_fini(&out);
	if (g->dropped)
		buf_clear(&g->in);
	coordd_work(d);
}
