/*
 * The finder; see finder.h.
 */
#include "mesh/finder.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"

#define FINDER_SOON_NS CLOCK_S /* several changes, one announcement */
#define FINDER_ANNOUNCE_S (30 * 60)
#define FINDER_ANNOUNCE_MIN_S 60
#define FINDER_ANNOUNCE_MAX_S (2 * 3600)
#define FINDER_FOUND_S (5 * 60)
#define FINDER_MISS_S 60
#define FINDER_MISS_MAX_S (10 * 60)
#define FINDER_FAIL_S 10
#define FINDER_FAIL_MAX_S (5 * 60)
#define FINDER_SAID_MIN_S 5
#define FINDER_SAID_MAX_S 3600

/* What one server knows of one device that is sought. */
struct finder_seek {
	struct devid id;
	uint64_t server;
	uint64_t next_ns;
	unsigned misses;
	bool asked, wanted;
};

struct finder_entry {
	struct finder_server server;
	uint64_t number;
	uint64_t announce_ns; /* next; CLOCK_NEVER: nothing to say */
	uint64_t pause_ns;    /* not before, for anything */
	bool forbids;         /* the pause was its own wish */
	bool announcing, announced, stale, keep;
	unsigned failures[2];        /* by enum finder_kind */
	char why[2][FINDER_WHY_MAX]; /* likewise */
};

struct finder {
	struct rng rng;
	VEC(struct finder_entry) server;
	VEC(struct finder_seek) seek;
	VEC(struct addr) own;
	uint64_t number; /* of the next server */
	size_t running;
};

/* --- servers' addresses ----------------------------------------------- */

static int
finder_parse_option(struct finder_server *out, struct slice opt,
    struct err *err)
{
	if (slice_equal(opt, SLICE_LIT("noannounce")))
		out->announce = false;
	else if (slice_equal(opt, SLICE_LIT("nolookup")))
		out->lookup = false;
	else if (slice_has_prefix(opt, SLICE_LIT("id=")))
		return devid_parse(&out->id, slice_from(opt, 3), err) < 0
			   ? ERR_INVALID
			   : 0;
	else
		return err_set(err, ERR_INVALID,
		    "options are id=DEVICE-ID, noannounce and nolookup");
	return 0;
}

static bool
finder_is_plain(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f ||
		    text.ptr[i] == '#' || text.ptr[i] == '@' ||
		    text.ptr[i] == '\\' || text.ptr[i] == '"')
			return false;
	return true;
}

/* Is HOST[:PORT] this machine?  Wrong ones are refused. */
static int
finder_check_host(struct finder_server *out, struct slice host, struct err *err)
{
	static const char head[] = "tcp://";
	char text[FINDER_URL_MAX + sizeof(head)];
	struct addr addr;
	int rc;

	snprintf(text, sizeof(text), "%s%.*s", head, SLICE_FMT(host));
	rc = addr_parse(&addr, slice_str(text), err);
	if (rc == 0 && addr_is_unspecified(&addr))
		rc = err_set(err, ERR_INVALID, "there is no host in it");
	out->near = rc == 0 && addr_is_loopback(&addr);
	return rc;
}

int
finder_parse_server(struct finder_server *out, struct slice text,
    struct err *err)
{
	struct slice base = text, query = SLICE_EMPTY, host;
	size_t at = slice_find(text, '?');
	int rc = 0;

	*out = (struct finder_server){ .announce = true, .lookup = true };
	if (at != SIZE_MAX) {
		base = slice_to(text, at);
		query = slice_from(text, at + 1);
	}
	if (!slice_has_prefix(base, SLICE_LIT("https://")))
		return err_set(err, ERR_INVALID,
		    "must be https://HOST:PORT/PATH, with ?id=DEVICE-ID for a "
		    "server of one's own");
	if (base.len >= FINDER_URL_MAX - 1 || !finder_is_plain(base))
		return err_set(err, ERR_INVALID, "is no plain URL");
	host = slice_from(base, sizeof("https://") - 1);
	at = slice_find(host, '/');
	rc = finder_check_host(out, at == SIZE_MAX ? host : slice_to(host, at),
	    err);
	while (rc == 0 && query.len > 0) {
		const size_t n = slice_find(query, '&');
		const struct slice opt =
		    slice_to(query, n == SIZE_MAX ? query.len : n);

		query = slice_from(query, n == SIZE_MAX ? query.len : n + 1);
		if (opt.len > 0)
			rc = finder_parse_option(out, opt, err);
	}
	if (rc == 0 && !out->announce && !out->lookup)
		rc = err_set(err, ERR_INVALID,
		    "noannounce and nolookup leave nothing to do");
	if (rc < 0)
		return rc;
	snprintf(out->url, sizeof(out->url), "%.*s%s", SLICE_FMT(base),
	    at == SIZE_MAX ? "/" : "");
	return 0;
}

/* --- life ------------------------------------------------------------- */

struct finder *
finder_new(uint64_t seed)
{
	struct finder *f = mem_zalloc(sizeof(*f));

	rng_init(&f->rng, seed);
	return f;
}

void
finder_free(struct finder *f)
{
	if (f == NULL)
		return;
	VEC_FINI(&f->server);
	VEC_FINI(&f->seek);
	VEC_FINI(&f->own);
	mem_free(f);
}

static struct finder_entry *
finder_find(const struct finder *f, uint64_t number)
{
	for (size_t i = 0; i < f->server.len; i++)
		if (f->server.item[i].number == number)
			return &f->server.item[i];
	return NULL;
}

static struct finder_seek *
finder_find_seek(struct finder *f, const struct devid *id, uint64_t server)
{
	for (size_t i = 0; i < f->seek.len; i++)
		if (f->seek.item[i].server == server &&
		    devid_equal(&f->seek.item[i].id, id))
			return &f->seek.item[i];
	return NULL;
}

static bool
finder_same_server(const struct finder_server *a, const struct finder_server *b)
{
	return strcmp(a->url, b->url) == 0 && devid_equal(&a->id, &b->id) &&
	       a->announce == b->announce && a->lookup == b->lookup;
}

/*
 * An answer is kept while it holds, also of a device that is connected now: it
 * may be sought again in a second.
 */
static void
finder_forget_seeks(struct finder *f, uint64_t now_ns)
{
	for (size_t i = 0; i < f->seek.len;) {
		const struct finder_seek *s = &f->seek.item[i];
		const bool of_use = s->wanted || s->next_ns > now_ns;

		if (!s->asked && (!of_use || finder_find(f, s->server) == NULL))
			VEC_DROP(&f->seek, i);
		else
			i++;
	}
}

void
finder_set_servers(struct finder *f, const struct finder_server *server,
    size_t count, uint64_t now_ns)
{
	for (size_t i = 0; i < f->server.len; i++)
		f->server.item[i].keep = false;
	for (size_t i = 0; i < count; i++) {
		struct finder_entry *e = NULL;

		for (size_t k = 0; k < f->server.len; k++)
			if (finder_same_server(&f->server.item[k].server,
				&server[i]))
				e = &f->server.item[k];
		if (e == NULL) {
			e = VEC_ADD(&f->server);
			*e = (struct finder_entry){ .server = server[i],
				.number = ++f->number,
				.announce_ns = now_ns + FINDER_SOON_NS };
		}
		e->keep = true;
	}
	for (size_t i = 0; i < f->server.len;) {
		if (!f->server.item[i].keep)
			VEC_DROP(&f->server, i);
		else
			i++;
	}
	finder_forget_seeks(f, now_ns);
}

void
finder_set_own(struct finder *f, const struct addr *addr, size_t count,
    uint64_t now_ns)
{
	bool same = count == f->own.len;

	for (size_t i = 0; same && i < count; i++)
		same = addr_equal(&addr[i], &f->own.item[i]);
	if (same)
		return;
	VEC_CLEAR(&f->own);
	for (size_t i = 0; i < count; i++)
		*VEC_ADD(&f->own) = addr[i];
	for (size_t i = 0; i < f->server.len; i++) {
		f->server.item[i].announce_ns = now_ns + FINDER_SOON_NS;
		f->server.item[i].stale = true;
	}
}

void
finder_want(struct finder *f, const struct devid *id, size_t count,
    uint64_t now_ns)
{
	for (size_t i = 0; i < f->seek.len; i++)
		f->seek.item[i].wanted = false;
	for (size_t i = 0; i < f->server.len; i++) {
		const struct finder_entry *e = &f->server.item[i];

		for (size_t k = 0; e->server.lookup && k < count; k++) {
			struct finder_seek *s =
			    finder_find_seek(f, &id[k], e->number);

			if (s == NULL) {
				s = VEC_ADD(&f->seek);
				*s = (struct finder_seek){ .id = id[k],
					.server = e->number,
					.next_ns = now_ns };
			}
			s->wanted = true;
		}
	}
	finder_forget_seeks(f, now_ns);
}

void
finder_refresh(struct finder *f, uint64_t now_ns)
{
	for (size_t i = 0; i < f->server.len; i++) {
		struct finder_entry *e = &f->server.item[i];

		if (e->forbids && e->pause_ns > now_ns)
			continue;
		e->pause_ns = 0;
		e->failures[0] = e->failures[1] = 0;
		if (!e->announced)
			e->announce_ns = now_ns;
	}
	for (size_t i = 0; i < f->seek.len; i++) {
		f->seek.item[i].next_ns = now_ns;
		f->seek.item[i].misses = 0;
	}
}

/* --- asking ----------------------------------------------------------- */

static uint64_t
finder_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

const struct addr *
finder_own_at(const struct finder *f, const struct finder_server *server,
    size_t i)
{
	for (size_t k = 0; k < f->own.len; k++) {
		const struct addr *a = &f->own.item[k];

		if (addr_is_loopback(a) && !server->near)
			continue;
		if (i-- == 0)
			return a;
	}
	return NULL;
}

/* When it is to hear from us again; CLOCK_NEVER while it is. */
static uint64_t
finder_announce_at(const struct finder *f, const struct finder_entry *e)
{
	if (!e->server.announce || e->announcing ||
	    finder_own_at(f, &e->server, 0) == NULL)
		return CLOCK_NEVER;
	return finder_max(e->announce_ns, e->pause_ns);
}

static uint64_t
finder_seek_at(const struct finder *f, const struct finder_seek *s)
{
	const struct finder_entry *e = finder_find(f, s->server);

	if (e == NULL || s->asked || !s->wanted)
		return CLOCK_NEVER;
	return finder_max(s->next_ns, e->pause_ns);
}

bool
finder_next(struct finder *f, uint64_t now_ns, struct finder_ask *out)
{
	if (f->running >= LIMIT_FINDER_ASKS)
		return false;
	for (size_t i = 0; i < f->server.len; i++) {
		struct finder_entry *e = &f->server.item[i];

		if (finder_announce_at(f, e) > now_ns)
			continue;
		e->announcing = true;
		e->stale = false;
		f->running++;
		*out = (struct finder_ask){ .kind = FINDER_ANNOUNCE,
			.server = e->number };
		return true;
	}
	for (size_t i = 0; i < f->seek.len; i++) {
		struct finder_seek *s = &f->seek.item[i];

		if (finder_seek_at(f, s) > now_ns)
			continue;
		s->asked = true;
		f->running++;
		*out = (struct finder_ask){ .kind = FINDER_LOOKUP,
			.server = s->server,
			.id = s->id };
		return true;
	}
	return false;
}

uint64_t
finder_wake_at(const struct finder *f)
{
	uint64_t at = CLOCK_NEVER;

	/* With all in use, the end of one is the next event. */
	if (f->running >= LIMIT_FINDER_ASKS)
		return CLOCK_NEVER;
	for (size_t i = 0; i < f->server.len; i++) {
		const uint64_t mine = finder_announce_at(f, &f->server.item[i]);

		at = mine < at ? mine : at;
	}
	for (size_t i = 0; i < f->seek.len; i++) {
		const uint64_t mine = finder_seek_at(f, &f->seek.item[i]);

		at = mine < at ? mine : at;
	}
	return at;
}

/* --- answers ---------------------------------------------------------- */

static uint64_t
finder_clamp(uint64_t value, uint64_t min, uint64_t max)
{
	return value < min ? min : value > max ? max : value;
}

/* 1, 2, 4 ... times `first_s`, at most `max_s`, give or take a quarter. */
static uint64_t
finder_pause_ns(struct finder *f, uint64_t first_s, unsigned times,
    uint64_t max_s)
{
	uint64_t base_ns = first_s * CLOCK_S;

	while (times-- > 0 && base_ns < max_s * CLOCK_S)
		base_ns *= 2;
	base_ns = finder_clamp(base_ns, 1, max_s * CLOCK_S);
	return base_ns - base_ns / 4 + rng_below(&f->rng, base_ns / 2 + 1);
}

/*
 * It did not do what was asked.  Returns when to ask that again; a server that
 * is not well, or says so, is left alone altogether.
 */
static uint64_t
finder_failed(struct finder *f, struct finder_entry *e, enum finder_kind kind,
    const struct finder_answer *a, uint64_t now_ns)
{
	const bool ill = a->status == 0 || a->status == 429 || a->status >= 500;
	uint64_t again_ns;

	if (a->status == 0)
		snprintf(e->why[kind], FINDER_WHY_MAX, "%s", a->why);
	else
		snprintf(e->why[kind], FINDER_WHY_MAX, "it answered %d",
		    a->status);
	if (a->status != 0 && a->retry_s != 0)
		again_ns = now_ns + finder_clamp(a->retry_s, FINDER_SAID_MIN_S,
					FINDER_SAID_MAX_S) *
					CLOCK_S;
	else
		again_ns = now_ns + finder_pause_ns(f, FINDER_FAIL_S,
					e->failures[kind], FINDER_FAIL_MAX_S);
	e->failures[kind]++;
	if (ill) {
		e->forbids = a->status != 0 && a->retry_s != 0;
		e->pause_ns = again_ns;
	}
	return again_ns;
}

static void
finder_worked(struct finder_entry *e, enum finder_kind kind)
{
	e->failures[kind] = 0;
	e->pause_ns = 0;
	e->forbids = false;
	e->why[kind][0] = '\0';
}

static void
finder_announced(struct finder *f, struct finder_entry *e,
    const struct finder_answer *a, uint64_t now_ns)
{
	uint64_t again_s = FINDER_ANNOUNCE_S;

	e->announcing = false;
	e->announced = a->status == 200 || a->status == 204;
	if (!e->announced) {
		e->announce_ns =
		    finder_failed(f, e, FINDER_ANNOUNCE, a, now_ns);
		return;
	}
	finder_worked(e, FINDER_ANNOUNCE);
	if (a->reannounce_s != 0)
		again_s = finder_clamp(a->reannounce_s, FINDER_ANNOUNCE_MIN_S,
		    FINDER_ANNOUNCE_MAX_S);
	/* What it was told may have become old while it listened. */
	if (e->stale)
		e->announce_ns = now_ns + FINDER_SOON_NS;
	else
		e->announce_ns = now_ns + again_s * CLOCK_S;
}

static void
finder_looked_up(struct finder *f, struct finder_entry *e,
    struct finder_seek *s, const struct finder_answer *a, uint64_t now_ns)
{
	if (a->status == 200) {
		finder_worked(e, FINDER_LOOKUP);
		s->misses = 0;
		s->next_ns = now_ns + finder_pause_ns(f, FINDER_FOUND_S, 0,
					  FINDER_FOUND_S);
		return;
	}
	if (a->status != 404) {
		s->next_ns = finder_failed(f, e, FINDER_LOOKUP, a, now_ns);
		return;
	}
	finder_worked(e, FINDER_LOOKUP);
	if (a->retry_s != 0)
		s->next_ns =
		    now_ns + finder_clamp(a->retry_s, FINDER_SAID_MIN_S,
				 FINDER_SAID_MAX_S) *
				 CLOCK_S;
	else
		s->next_ns = now_ns + finder_pause_ns(f, FINDER_MISS_S,
					  s->misses, FINDER_MISS_MAX_S);
	s->misses++;
}

void
finder_answered(struct finder *f, const struct finder_ask *ask,
    const struct finder_answer *answer, uint64_t now_ns)
{
	struct finder_entry *e = finder_find(f, ask->server);
	struct finder_seek *s = NULL;

	ASSERT(f->running > 0);
	f->running--;
	if (ask->kind == FINDER_LOOKUP) {
		s = finder_find_seek(f, &ask->id, ask->server);
		ASSERT(s != NULL && s->asked);
		s->asked = false;
	}
	if (e == NULL)
		finder_forget_seeks(f, now_ns); /* configured away */
	else if (s != NULL)
		finder_looked_up(f, e, s, answer, now_ns);
	else
		finder_announced(f, e, answer, now_ns);
}

/* --- what it is ------------------------------------------------------- */

const struct finder_server *
finder_server_of(const struct finder *f, uint64_t number)
{
	const struct finder_entry *e = finder_find(f, number);

	return e != NULL ? &e->server : NULL;
}

bool
finder_url(const struct finder *f, const struct finder_ask *ask,
    char out[FINDER_URL_MAX + 80])
{
	const struct finder_server *server = finder_server_of(f, ask->server);
	char id[DEVID_TEXT_LEN + 1];

	if (server == NULL)
		return false;
	if (ask->kind == FINDER_ANNOUNCE) {
		snprintf(out, FINDER_URL_MAX + 80, "%s", server->url);
		return true;
	}
	devid_text(&ask->id, id);
	snprintf(out, FINDER_URL_MAX + 80, "%s?device=%s", server->url, id);
	return true;
}

bool
finder_state_at(const struct finder *f, size_t i, struct finder_state *out)
{
	if (i >= f->server.len)
		return false;
	*out = (struct finder_state){ .server = &f->server.item[i].server,
		.announced = f->server.item[i].announced,
		.why = f->server.item[i].why[FINDER_ANNOUNCE] };
	if (out->why[0] == '\0')
		out->why = f->server.item[i].why[FINDER_LOOKUP];
	return true;
}

bool
finder_believes(const struct addr *addr, bool near)
{
	if (!addr_is_dialable(addr))
		return false;
	/* Whose loopback, whose cable?  Not ours, unless it is at home here. */
	return near || (!addr_is_loopback(addr) && !addr_is_link_local(addr));
}
