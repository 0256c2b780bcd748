/*
 * The discovery server; see disco.h.
 */
#include "mesh/disco.h"

#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "mesh/doorman.h"

struct disco_source {
	uint64_t source; /* doorman_source() */
	unsigned count;  /* of its devices */
};

struct disco_entry {
	struct list_node line;
	struct devid id;
	uint64_t heard_ns;
	int64_t heard_wall_ns;
	struct disco_source *source; /* where it came from first */
	struct buf addresses;        /* texts, each with its NUL */
};

struct disco {
	struct rng rng;
	struct map entry;    /* devid -> struct disco_entry */
	struct list line;    /* the one not heard of for longest first */
	struct umap sources; /* struct disco_source */
	struct doorman doorman;
	struct disco_state state;
};

/* --- devices ---------------------------------------------------------- */

static void
disco_forget(struct disco *ds, struct disco_entry *e)
{
	list_remove(&ds->line, &e->line);
	map_remove(&ds->entry, slice_of(e->id.b, DEVID_LEN));
	if (--e->source->count == 0) {
		umap_remove(&ds->sources, e->source->source);
		mem_free(e->source);
	}
	buf_fini(&e->addresses);
	mem_free(e);
}

static void
disco_expire(struct disco *ds, struct now now)
{
	struct list_node *at;

	while ((at = list_first(&ds->line)) != NULL) {
		struct disco_entry *e = LIST_ITEM(at, struct disco_entry, line);

		if (e->heard_ns + DISCO_LIFE_S * CLOCK_S > now.mono_ns)
			return;
		disco_forget(ds, e);
	}
}

/* NULL: there is no room for a new one. */
static struct disco_entry *
disco_room(struct disco *ds, const struct devid *id, const struct addr *from)
{
	struct disco_entry *e =
	    map_find(&ds->entry, slice_of(id->b, DEVID_LEN));
	const uint64_t key = doorman_source(from);
	struct disco_source *src;

	if (e != NULL)
		return e;
	src = umap_find(&ds->sources, key);
	if (map_count(&ds->entry) >= LIMIT_DISCO_DEVICES ||
	    (src != NULL && src->count >= LIMIT_DISCO_SOURCE))
		return NULL;
	if (src == NULL) {
		src = mem_zalloc(sizeof(*src));
		src->source = key;
		umap_put(&ds->sources, key, src);
	}
	src->count++;
	e = mem_zalloc(sizeof(*e));
	e->id = *id;
	e->source = src;
	map_put(&ds->entry, slice_of(e->id.b, DEVID_LEN), e);
	list_add(&ds->line, &e->line);
	return e;
}

/* --- answers ---------------------------------------------------------- */

static int
disco_say(struct buf *out, int status, unsigned retry_s, const char *text)
{
	char more[64] = "";

	if (retry_s > 0)
		snprintf(more, sizeof(more), "Retry-After: %u\r\n", retry_s);
	http_put_answer(out, status, more, NULL, slice_str(text));
	return status;
}

static int
disco_take(struct disco *ds, const struct http_request *q,
    const struct disco_asker *who, struct now now, struct buf *out)
{
	struct buf addresses = { 0 };
	struct disco_entry *e;
	struct err err = { 0 };
	char more[64];

	if (who->id == NULL)
		return disco_say(out, 403, DISCO_DENIED_S,
		    "show a certificate: it is who you are\n");
	if (!who->may)
		return disco_say(out, 403, DISCO_DENIED_S,
		    "this server is for devices that it knows\n");
	if (disco_decode(q->body, who->from, &addresses, &err) < 0)
		return disco_say(out, 400, 0, "no announcement\n");
	if (addresses.len == 0)
		return disco_say(out, 400, 0, "no address of use to others\n");
	e = disco_room(ds, who->id, who->from);
	if (e == NULL) {
		buf_fini(&addresses);
		return disco_say(out, 429, DISCO_AGAIN_S,
		    "there are too many devices\n");
	}
	buf_fini(&e->addresses);
	e->addresses = addresses;
	e->heard_ns = now.mono_ns;
	e->heard_wall_ns = now.wall_ns;
	list_remove(&ds->line, &e->line);
	list_add(&ds->line, &e->line);
	snprintf(more, sizeof(more), "Reannounce-After: %u\r\n",
	    DISCO_AGAIN_S + (unsigned)rng_below(&ds->rng, DISCO_JITTER_S));
	http_put_answer(out, 204, more, NULL, SLICE_EMPTY);
	return 204;
}

static int
disco_tell(const struct disco *ds, const struct http_request *q,
    const struct disco_asker *who, struct buf *out)
{
	char text[2 * DEVID_TEXT_LEN];
	const struct disco_entry *e;
	struct buf body = { 0 };
	struct devid id;

	if (!http_query(q->query, SLICE_LIT("device"), text, sizeof(text)) ||
	    devid_parse(&id, slice_str(text), NULL) < 0)
		return disco_say(out, 400, 0, "ask for ?device=DEVICE-ID\n");
	e = map_find(&ds->entry, slice_of(id.b, DEVID_LEN));
	if (e == NULL ||
	    !disco_encode(buf_slice(&e->addresses), e->heard_wall_ns,
		addr_is_loopback(who->from), &body))
		return disco_say(out, 404, DISCO_MISS_S, "not known\n");
	http_put_answer(out, 200, "", "application/json", buf_slice(&body));
	buf_fini(&body);
	return 200;
}

static int
disco_do(struct disco *ds, const struct http_request *q,
    const struct disco_asker *who, struct now now, struct buf *out)
{
	if (!doorman_lets_in(&ds->doorman, who->from, 0, now.mono_ns))
		return disco_say(out, 429, DISCO_MISS_S, "too much at once\n");
	doorman_charge(&ds->doorman, who->from, now.mono_ns);
	switch (q->method) {
	case HTTP_POST:
		return disco_take(ds, q, who, now, out);
	case HTTP_GET:
		return disco_tell(ds, q, who, out);
	case HTTP_OTHER:
		break;
	}
	http_put_answer(out, 405, "Allow: GET, POST\r\n", NULL,
	    SLICE_LIT("GET or POST\n"));
	return 405;
}

int
disco_answer(struct disco *ds, const struct http_request *q,
    const struct disco_asker *who, struct now now, struct buf *out)
{
	int status;

	disco_expire(ds, now);
	status = disco_do(ds, q, who, now, out);
	if (status == 204)
		ds->state.announced++;
	else if (status == 200)
		ds->state.found++;
	else if (status == 404)
		ds->state.missed++;
	else
		ds->state.refused++;
	return status;
}

void
disco_refuse(int status, struct buf *out)
{
	http_put_answer(out, status, "", NULL, slice_str(http_reason(status)));
}

/* --- the whole -------------------------------------------------------- */

struct disco *
disco_new(uint64_t seed)
{
	struct disco *ds = mem_zalloc(sizeof(*ds));

	rng_init(&ds->rng, seed);
	map_init_seed(&ds->entry, rng_u64(&ds->rng));
	list_init(&ds->line);
	umap_init(&ds->sources);
	return ds;
}

void
disco_free(struct disco *ds)
{
	struct list_node *at;

	if (ds == NULL)
		return;
	while ((at = list_first(&ds->line)) != NULL)
		disco_forget(ds, LIST_ITEM(at, struct disco_entry, line));
	map_fini(&ds->entry);
	umap_fini(&ds->sources);
	mem_free(ds);
}

void
disco_state(const struct disco *ds, struct disco_state *out)
{
	*out = ds->state;
	out->devices = map_count(&ds->entry);
}
