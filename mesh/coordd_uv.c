/*
 * Our coordinator; see coordd_uv.h.
 *
 * Whatever happens, coordd_work() follows: it does what the server wants, lets
 * go what was said, and ends whom it must, until nothing is left.
 */
#include "mesh/coordd_uv.h"

#include <string.h>
#include <time.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/timer_uv.h"
#include "mesh/coord_store_posix.h"
#include "mesh/coordd_impl.h"
#include "mesh/disco.h"
#include "mesh/doorman.h"
#include "mesh/stream_tls_uv.h"
#include "mesh/stund_uv.h"
#include "mesh/tcp_uv.h"

#define COORDD_READ_LEN (16u * 1024u)
#define COORDD_LAST_NS (2 * CLOCK_S) /* to take the last words */

struct now
coordd_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct now){ .mono_ns = uv_hrtime(),
		.wall_ns = (int64_t)ts.tv_sec * (int64_t)CLOCK_S + ts.tv_nsec };
}

/* --- ending ----------------------------------------------------------- */

void
coordd_freed(void *arg)
{
	struct coordd *d = arg;

	if (--d->handles > 0 || !d->closing)
		return;
	disco_free(d->disco);
	coord_server_free(d->server);
	coord_store_close(d->store);
	arena_fini(&d->arena);
	if (d->on_closed != NULL)
		d->on_closed(d->closed_arg);
	mem_free(d);
}

static void
coordd_guest_freed(void *arg)
{
	struct coordd_guest *g = arg;
	struct coordd *d = g->d;

	buf_fini(&g->in);
	buf_fini(&g->out);
	mem_free(g);
	coordd_freed(d);
}

void
coordd_note_work(struct coordd_guest *g)
{
	if (!g->over && !list_has(&g->work))
		list_add(&g->d->work, &g->work);
}

/* Later, from coordd_work(). */
void
coordd_end(struct coordd_guest *g, bool vain)
{
	g->ending = true;
	g->vain = g->vain || vain;
	coordd_note_work(g);
}

static void
coordd_end_now(struct coordd_guest *g)
{
	struct coordd *d = g->d;

	g->over = true;
	if (list_has(&g->work))
		list_remove(&d->work, &g->work);
	if (list_has(&g->held))
		list_remove(&d->held, &g->held);
	list_remove(g->grown ? &d->grown : &d->young, &g->node);
	if (g->vain)
		doorman_charge(&d->doorman, &g->from, uv_hrtime());
	if (g->g != NULL)
		coord_server_leave(d->server, g->g, coordd_now());
	g->g = NULL;
	stream_close(g->stream, NULL, coordd_guest_freed, g);
}

/* --- what the server wants -------------------------------------------- */

static void
coordd_note(struct coordd *d, const struct coord_server_effect *ef)
{
	const struct coord_audit_note note = { .wall_ns = coordd_now().wall_ns,
		.what = ef->what,
		.actor = ef->actor,
		.from = ef->from,
		.domain = ef->domain,
		.text = ef->text };
	struct err err = { 0 };

	if (coord_store_note(d->store, &note, &err) < 0)
		log_error(d->log, "coord audit: %s", err.text);
	log_info(d->log, "coord %s from=%s text=\"%s\"", ef->what, ef->from,
	    ef->text);
}

void
coordd_send(struct coordd_guest *g, struct slice bytes)
{
	if (g->ending)
		return;
	/* It asks and does not read. */
	if (g->out.len + bytes.len > LIMIT_COORD_GUEST_OUT) {
		coordd_end(g, true);
		return;
	}
	buf_put(&g->out, bytes);
	coordd_flush_mark(g);
	coordd_note_work(g);
}

void
coordd_drop(struct coordd_guest *g, bool vain)
{
	g->dropped = true;
	g->vain = g->vain || vain;
	g->until_ns = uv_hrtime() + COORDD_LAST_NS;
	if (g->grown) {
		list_remove(&g->d->grown, &g->node);
		list_add(&g->d->young, &g->node);
		g->grown = false;
	}
	stream_discard(g->stream);
}

static void
coordd_do(struct coordd *d, const struct coord_server_effect *ef)
{
	struct coordd_guest *g = ef->owner;
	struct err err = { 0 };

	switch (ef->kind) {
	case COORD_SERVER_SEND:
		coordd_send(g, ef->bytes);
		return;
	case COORD_SERVER_DROP:
		coordd_drop(g, ef->vain);
		return;
	case COORD_SERVER_KEEP:
		if (coord_store_keep(d->store, &ef->domain, ef->seq, ef->bytes,
			&err) < 0)
			log_error(d->log, "coord keep: %s", err.text);
		return;
	case COORD_SERVER_NOTE:
		coordd_note(d, ef);
		return;
	}
}

static void
coordd_push(struct coordd_guest *g)
{
	size_t n = 0;
	int rc = 0;

	while (rc == 0 && g->sure > 0) {
		rc = stream_write(g->stream,
		    slice_to(buf_slice(&g->out), g->sure), &n, NULL);
		if (rc < 0 || n == 0)
			break;
		buf_consume(&g->out, n);
		g->sure -= n;
		g->soon -= n;
	}
	if (rc == 0)
		rc = stream_flush(g->stream, NULL);
	if (g->out.len == 0) {
		buf_fini(&g->out);
		if (rc == 0)
			stream_idle(g->stream); /* small words, far between */
	}
	if (rc < 0)
		coordd_end(g, false);
}

static void coordd_arm(struct coordd *d);

void
coordd_work(struct coordd *d)
{
	struct coord_server_effect ef;
	struct list_node *at;

	ASSERT(!d->working);
	d->working = true;
	for (;;) {
		while (coord_server_next(d->server, &ef))
			coordd_do(d, &ef);
		at = list_first(&d->work);
		if (at == NULL)
			break;
		list_remove(&d->work, at);
		if (!LIST_ITEM(at, struct coordd_guest, work)->ending)
			coordd_push(LIST_ITEM(at, struct coordd_guest, work));
		else
			coordd_end_now(
			    LIST_ITEM(at, struct coordd_guest, work));
	}
	d->working = false;
	coordd_flush_begin(d);
	coordd_arm(d);
}

/* --- guests ----------------------------------------------------------- */

static void
coordd_grow(struct coordd_guest *g)
{
	if (g->grown || g->dropped || !coord_server_is_in(g->g))
		return;
	list_remove(&g->d->young, &g->node);
	list_add(&g->d->grown, &g->node);
	g->grown = true;
}

/* It ends, and nothing came of it. */
static bool
coordd_is_vain(const struct coordd_guest *g)
{
	return g->g == NULL && !g->dropped;
}

static void
coordd_on_reached(void *arg)
{
	(void)arg;
}

static void
coordd_on_open(void *arg)
{
	struct coordd_guest *g = arg;
	struct coordd *d = g->d;
	const struct devid *id = stream_peer(g->stream);

	g->web = stream_tls_is_web(g->stream);
	if (g->web) {
		g->until_ns = uv_hrtime() + LIMIT_DISCO_NS;
		return;
	}
	g->until_ns = CLOCK_NEVER;
	g->g = coord_server_enter(d->server, g, id, &g->from,
	    d->may(d->arg, id), coordd_now());
	coordd_work(d);
}

/* Hear the messages that are whole. */
static void
coordd_hear(struct coordd_guest *g)
{
	struct coordd *d = g->d;
	struct coord_message m;
	size_t used, at = 0;
	int rc = 1;

	while (!g->over && !g->dropped && !g->ending &&
	       (rc == 1 || rc == ERR_UNSUPPORTED)) {
		arena_clear(&d->arena);
		rc = coord_decode(&m, slice_of(g->in.ptr + at, g->in.len - at),
		    &used, &d->arena, NULL);
		at += used;
		if (rc == 1) {
			coord_server_hear(d->server, g->g, &m, coordd_now());
			coordd_work(d);
		} else if (rc < 0 && rc != ERR_UNSUPPORTED) {
			coord_server_garbled(d->server, g->g, coordd_now());
			coordd_work(d);
		}
	}
	arena_clear(&d->arena);
	if (g->over)
		return;
	buf_consume(&g->in, at);
	coordd_grow(g);
}

static void
coordd_on_readable(void *arg)
{
	struct coordd_guest *g = arg;
	size_t n;
	int rc = 1;

	while (!g->over && rc == 1) {
		buf_reserve(&g->in, COORDD_READ_LEN);
		rc = stream_read(g->stream, g->in.ptr + g->in.len,
		    COORDD_READ_LEN, &n, NULL);
		g->in.len += n;
		if (rc == 1 && (g->dropped || g->ending))
			buf_clear(&g->in);
		else if (rc == 1 && g->web)
			coordd_web_hear(g);
		else if (rc == 1)
			coordd_hear(g);
	}
	if (g->over)
		return;
	if (g->in.len == 0)
		buf_fini(&g->in);
	if (rc < 0)
		coordd_end(g, coordd_is_vain(g));
	else
		stream_idle(g->stream);
	if (rc < 0)
		coordd_work(g->d);
}

static void
coordd_on_writable(void *arg)
{
	struct coordd_guest *g = arg;

	coordd_note_work(g);
	coordd_work(g->d);
}

static void
coordd_on_end(void *arg, const struct err *err)
{
	struct coordd_guest *g = arg;

	(void)err;
	coordd_end(g, coordd_is_vain(g));
	coordd_work(g->d);
}

/* As with devices: a source has its share, and in all the oldest goes. */
static bool
coordd_make_room(struct coordd *d, const struct addr *from)
{
	const struct list_node *node = list_first(&d->young);
	unsigned same = 0;

	for (; node != NULL; node = list_next(&d->young, node))
		if (addr_same_source(
			&LIST_ITEM(node, const struct coordd_guest, node)->from,
			from))
			same++;
	if (!doorman_lets_in(&d->doorman, from, same, uv_hrtime()) ||
	    same >= LIMIT_HALF_OPEN_SOURCE ||
	    d->grown.count >= LIMIT_COORD_GUESTS)
		return false;
	if (d->young.count >= LIMIT_COORD_STRANGERS + LIMIT_HALF_OPEN) {
		coordd_end(
		    LIST_ITEM(list_first(&d->young), struct coordd_guest, node),
		    false);
		coordd_work(d);
	}
	return true;
}

static void
coordd_on_accept(void *arg, struct tcp *tcp, const struct addr *from)
{
	static const struct stream_callbacks callbacks = {
		.on_reached = coordd_on_reached,
		.on_open = coordd_on_open,
		.on_readable = coordd_on_readable,
		.on_writable = coordd_on_writable,
		.on_end = coordd_on_end,
	};
	struct coordd *d = arg;
	struct coordd_guest *g;

	if (d->closing || (d->lan_only && !addr_is_lan(from)) ||
	    !coordd_make_room(d, from)) {
		tcp_close(tcp, NULL, NULL);
		return;
	}
	g = mem_zalloc(sizeof(*g));
	g->d = d;
	g->from = *from;
	g->until_ns = uv_hrtime() + LIMIT_TLS_NS;
	list_add(&d->young, &g->node);
	d->handles++;
	g->stream = stream_tls_over(d->identity, tcp, TLS_SERVER);
	stream_tls_speak(g->stream,
	    d->disco != NULL ? TLS_COORD_WEB : TLS_COORD);
	stream_own(g->stream, &callbacks, g);
	stream_start(g->stream);
	coordd_arm(d);
}

/* --- time ------------------------------------------------------------- */

static void
coordd_on_timer(uv_timer_t *timer)
{
	struct coordd *d = timer->data;
	const struct now now = coordd_now();

	for (struct list_node *at = list_first(&d->young); at != NULL;
	     at = list_next(&d->young, at)) {
		struct coordd_guest *g =
		    LIST_ITEM(at, struct coordd_guest, node);

		if (g->until_ns <= now.mono_ns)
			coordd_end(g, coordd_is_vain(g));
	}
	coord_server_tick(d->server, now);
	coordd_work(d);
}

static void
coordd_arm(struct coordd *d)
{
	const uint64_t soon = uv_hrtime() + CLOCK_S;
	uint64_t at = coord_server_wake_at(d->server);

	if (d->closing)
		return;
	if (list_first(&d->young) != NULL && soon < at)
		at = soon;
	if (!uv_is_active((uv_handle_t *)&d->timer) || at < d->armed_ns) {
		d->armed_ns = at;
		timer_uv_arm(&d->timer, coordd_on_timer, at);
	}
}

/* --- opening and closing ---------------------------------------------- */

static int
coordd_on_kept(void *arg, const struct coord_id *domain, uint64_t seq,
    struct slice entry, struct err *err)
{
	struct coordd *d = arg;

	return coord_server_restore(d->server, domain, seq, entry, err);
}

static void
coordd_timer_freed(uv_handle_t *handle)
{
	coordd_freed(handle->data);
}

/* Without it nobody learns how its router maps it; the rest goes on. */
static void
coordd_open_stund(struct coordd *d, uv_loop_t *loop)
{
	struct addr at = d->bound;
	struct stund_state state;
	struct err err = { 0 };

	if (stund_open(&d->stund, loop, &at, d->log, &err) < 0) {
		log_warn(d->log, "coord stun: %s", err.text);
		return;
	}
	d->handles++;
	stund_state(d->stund, &state);
	for (size_t i = 0; i < 2; i++)
		d->stun[i] = state.bound[i].port;
	coord_server_set_stun(d->server, d->stun[0], d->stun[1]);
}

static int
coordd_open_doors(struct coordd *d, uv_loop_t *loop, const struct addr *at,
    const char *dir, struct err *err)
{
	int rc =
	    coord_store_open(&d->store, dir, coordd_on_kept, d, d->log, err);

	if (rc == 0)
		rc = tcp_listen(&d->listener, loop, at, coordd_on_accept, d,
		    &d->bound, err);
	return rc;
}

int
coordd_open(struct coordd **out, uv_loop_t *loop, const struct identity *id,
    const struct addr *at, const char *dir, coordd_may_fn *may, void *arg,
    const struct log *log, struct err *err)
{
	struct coordd *d = mem_zalloc(sizeof(*d));
	char text[ADDR_TEXT_MAX];
	uint64_t seed = 0;
	int rc;

	*out = NULL;
	if (uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) != 0)
		seed = uv_hrtime();
	d->loop = loop;
	d->identity = id;
	d->may = may;
	d->arg = arg;
	d->log = log;
	d->server = coord_server_new(seed);
	list_init(&d->young);
	list_init(&d->grown);
	list_init(&d->work);
	list_init(&d->held);
	rc = coordd_open_doors(d, loop, at, dir, err);
	if (rc < 0) {
		coord_server_free(d->server);
		coord_store_close(d->store);
		mem_free(d);
		return rc;
	}
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	d->handles = 2; /* timer, listener */
	coordd_open_stund(d, loop);
	addr_text_host(&d->bound, text);
	log_info(log, "coord serve address=%s", text);
	*out = d;
	return 0;
}

void
coordd_close(struct coordd *d, void (*on_closed)(void *), void *arg)
{
	struct list *all[] = { &d->young, &d->grown };

	ASSERT(!d->closing);
	d->closing = true;
	d->on_closed = on_closed;
	d->closed_arg = arg;
	for (size_t i = 0; i < 2; i++)
		for (struct list_node *at = list_first(all[i]); at != NULL;
		     at = list_next(all[i], at))
			coordd_end(LIST_ITEM(at, struct coordd_guest, node),
			    false);
	coordd_work(d);
	tcp_listener_close(d->listener, coordd_freed, d);
	if (d->stund != NULL)
		stund_close(d->stund, coordd_freed, d);
	uv_close((uv_handle_t *)&d->timer, coordd_timer_freed);
}

void
coordd_set_lan_only(struct coordd *d, bool lan_only)
{
	struct list *all[] = { &d->young, &d->grown };

	d->lan_only = lan_only;
	if (d->stund != NULL)
		stund_set_lan_only(d->stund, lan_only);
	for (size_t i = 0; lan_only && i < 2; i++)
		for (struct list_node *at = list_first(all[i]); at != NULL;
		     at = list_next(all[i], at)) {
			struct coordd_guest *g =
			    LIST_ITEM(at, struct coordd_guest, node);

			if (!addr_is_lan(&g->from))
				coordd_end(g, false);
		}
	coordd_work(d);
}

void
coordd_set_discovery(struct coordd *d, bool on)
{
	uint64_t seed = 0;

	if (on == (d->disco != NULL))
		return;
	disco_free(d->disco);
	d->disco = NULL;
	if (!on)
		return;
	if (uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) != 0)
		seed = uv_hrtime();
	d->disco = disco_new(seed);
}

const struct disco *
coordd_disco(const struct coordd *d)
{
	return d->disco;
}

const struct addr *
coordd_bound(const struct coordd *d)
{
	return &d->bound;
}

const struct coord_server *
coordd_server(const struct coordd *d)
{
	return d->server;
}

const uint16_t *
coordd_stun(const struct coordd *d)
{
	return d->stun;
}
