/*
 * The globe; see globe_uv.h.
 */
#include "mesh/globe_uv.h"

#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "mesh/https_curl.h"

struct globe {
	struct finder *finder;
	struct https *https;
	globe_found_fn *on_found;
	void *arg;
	const struct log *log;
	struct list calls;
	void (*on_closed)(void *);
	void *closed_arg;
};

struct globe_call {
	struct list_node node; /* in globe->calls */
	struct globe *g;
	struct finder_ask ask;
};

/* One line when it breaks, one when it works again. */
static void
globe_note(struct globe *g, const char *url, const char *before,
    const struct finder_answer *a)
{
	if (a->status == 0 && strcmp(before, a->why) != 0)
		log_warn(g->log, "globe fail server=%s reason=\"%s\"", url,
		    a->why);
	else if (a->status >= 400 && a->status != 404 && before[0] == '\0')
		log_warn(g->log, "globe fail server=%s status=%d", url,
		    a->status);
	else
		log_debug(g->log, "globe answer server=%s status=%d", url,
		    a->status);
}

static const char *
globe_why(const struct globe *g, const struct finder_server *server)
{
	struct finder_state state;

	for (size_t i = 0; finder_state_at(g->finder, i, &state); i++)
		if (state.server == server)
			return state.why;
	return "";
}

static void
globe_on_answer(void *arg, const struct https_answer *answer)
{
	struct globe_call *call = arg;
	struct globe *g = call->g;
	const struct finder_server *server =
	    finder_server_of(g->finder, call->ask.server);
	struct finder_answer a = { .status = answer->status,
		.why = answer->error,
		.retry_s = answer->retry_s,
		.reannounce_s = answer->reannounce_s };
	struct addr addr[FINDER_ADDRESSES];
	struct err err = { 0 };
	size_t count = 0;

	if (server != NULL && call->ask.kind == FINDER_LOOKUP &&
	    a.status == 200 &&
	    finder_decode(answer->body, server->near, addr, &count, &err) < 0)
		a = (struct finder_answer){ .why = err.text };
	if (server != NULL)
		globe_note(g, server->url, globe_why(g, server), &a);
	finder_answered(g->finder, &call->ask, &a, uv_hrtime());
	if (count > 0)
		g->on_found(g->arg, &call->ask.id, addr, count);
	list_remove(&g->calls, &call->node);
	mem_free(call);
}

static void
globe_ask(struct globe *g, const struct finder_ask *ask)
{
	const struct finder_server *server =
	    finder_server_of(g->finder, ask->server);
	struct globe_call *call = mem_alloc(sizeof(*call));
	struct https_question q = { .show_us = ask->kind == FINDER_ANNOUNCE };
	char url[FINDER_URL_MAX + 80];
	struct buf body = { 0 };

	*call = (struct globe_call){ .g = g, .ask = *ask };
	list_add(&g->calls, &call->node);
	(void)finder_url(g->finder, ask, url);
	q.url = url;
	q.id = devid_is_none(&server->id) ? NULL : &server->id;
	if (ask->kind == FINDER_ANNOUNCE) {
		finder_encode(g->finder, server, &body);
		q.body = buf_slice(&body);
	}
	https_ask(g->https, &q, globe_on_answer, call);
	buf_fini(&body);
}

int
globe_open(struct globe **out, uv_loop_t *loop, const char *dir,
    globe_found_fn *on_found, void *arg, const struct log *log, struct err *err)
{
	struct globe *g = mem_zalloc(sizeof(*g));
	uint64_t seed = 0;
	int rc;

	*out = NULL;
	rc = https_open(&g->https, loop, dir, LIMIT_FINDER_LEN, err);
	if (rc < 0) {
		mem_free(g);
		return rc;
	}
	if (uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) != 0)
		seed = uv_hrtime();
	list_init(&g->calls);
	g->finder = finder_new(seed);
	g->on_found = on_found;
	g->arg = arg;
	g->log = log;
	*out = g;
	return 0;
}

static void
globe_freed(void *arg)
{
	struct globe *g = arg;
	struct list_node *node;

	while ((node = list_first(&g->calls)) != NULL) {
		list_remove(&g->calls, node);
		mem_free(LIST_ITEM(node, struct globe_call, node));
	}
	if (g->on_closed != NULL)
		g->on_closed(g->closed_arg);
	finder_free(g->finder);
	mem_free(g);
}

void
globe_close(struct globe *g, void (*on_closed)(void *), void *arg)
{
	g->on_closed = on_closed;
	g->closed_arg = arg;
	https_close(g->https, globe_freed, g);
}

void
globe_set_servers(struct globe *g, const struct finder_server *server,
    size_t count)
{
	finder_set_servers(g->finder, server, count, uv_hrtime());
}

void
globe_set_addresses(struct globe *g, const struct addr *addr, size_t count)
{
	finder_set_own(g->finder, addr, count, uv_hrtime());
}

void
globe_want(struct globe *g, const struct devid *id, size_t count)
{
	finder_want(g->finder, id, count, uv_hrtime());
}

void
globe_refresh(struct globe *g)
{
	finder_refresh(g->finder, uv_hrtime());
}

void
globe_tick(struct globe *g, uint64_t now_ns)
{
	struct finder_ask ask;

	while (finder_next(g->finder, now_ns, &ask))
		globe_ask(g, &ask);
}

uint64_t
globe_wake_at(const struct globe *g)
{
	return finder_wake_at(g->finder);
}

bool
globe_state_at(const struct globe *g, size_t i, struct finder_state *out)
{
	return finder_state_at(g->finder, i, out);
}
