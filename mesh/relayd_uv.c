/*
 * Our relay; see relayd_uv.h.
 *
 * A guest is a connection from its first byte to its last:
 *
 *   NEW ---- 0x16 --> SHAKING -> HERE -> MEMBER     waits; pinged
 *    |                              \--> ASKED      has its invitation
 *    \-- SESSION --> its TCP goes to relayd_pipe_uv.c, the guest ends
 */
#include "mesh/relayd_uv.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/relayd_impl.h"
#include "mesh/stream_tls_uv.h"

#define RELAYD_PING_NS CLOCK_MIN
#define RELAYD_SILENT_NS (150 * CLOCK_S)
#define RELAYD_ASKED_NS (5 * CLOCK_S) /* to hang up after its invitation */
#define RELAYD_OUT_MAX (16 * KIB)     /* waiting for who does not read */
#define RELAYD_TICK_MS 1000u
#define RELAYD_FEED_MS 100u

enum relayd_where {
	RELAYD_NEW,
	RELAYD_SHAKING,
	RELAYD_HERE,
	RELAYD_MEMBER,
	RELAYD_ASKED,
};

struct relayd_guest {
	struct list_node node; /* in relayd->guests */
	struct relayd *r;
	enum relayd_where where;
	struct tcp *tcp;       /* NEW; else NULL */
	struct stream *stream; /* afterwards; else NULL */
	struct addr from;
	struct devid id; /* from HERE on */
	uint8_t in[RELAY_MESSAGE_MAX];
	size_t in_len;
	struct buf out;
	uint64_t until_ns, ping_ns;
	bool over;
};

/* --- ending ----------------------------------------------------------- */

void
relayd_freed(void *arg)
{
	struct relayd *r = arg;

	if (--r->handles > 0 || !r->closing)
		return;
	if (r->on_closed != NULL)
		r->on_closed(r->closed_arg);
	switchboard_free(r->board);
	mem_free(r);
}

static void
relayd_guest_freed(void *arg)
{
	struct relayd_guest *g = arg;
	struct relayd *r = g->r;

	buf_fini(&g->out);
	mem_free(g);
	relayd_freed(r);
}

/* `vain`: it was nothing, and costs its source a token. */
static void
relayd_end(struct relayd_guest *g, bool vain)
{
	if (g->over)
		return;
	g->over = true;
	list_remove(&g->r->guests, &g->node);
	if (g->where == RELAYD_MEMBER)
		switchboard_leave(g->r->board, &g->id);
	if (vain)
		doorman_charge(&g->r->doorman, &g->from, uv_hrtime());
	if (g->stream != NULL)
		stream_close(g->stream, NULL, relayd_guest_freed, g);
	else
		tcp_close(g->tcp, relayd_guest_freed, g);
}

/* --- words ------------------------------------------------------------ */

static void
relayd_push(struct relayd_guest *g)
{
	size_t n = 0;
	int rc = 0;

	while (rc == 0 && g->out.len > 0) {
		rc = stream_write(g->stream, buf_slice(&g->out), &n, NULL);
		if (rc < 0 || n == 0)
			break;
		buf_consume(&g->out, n);
	}
	if (rc == 0)
		rc = stream_flush(g->stream, NULL);
	if (rc < 0)
		relayd_end(g, false);
}

static void
relayd_say(struct relayd_guest *g, const struct relay_message *m)
{
	if (g->over)
		return;
	relay_encode(m, &g->out);
	if (g->out.len > RELAYD_OUT_MAX)
		relayd_end(g, true);
	else
		relayd_push(g);
}

static void
relayd_answer(struct relayd_guest *g, enum relay_code code)
{
	struct relay_message m = { .type = RELAY_RESPONSE };

	m.u.response.code = code;
	snprintf(m.u.response.text, sizeof(m.u.response.text), "%s",
	    relay_code_text(code));
	relayd_say(g, &m);
}

/* Who may not use it has come in vain. */
static bool
relayd_may(struct relayd_guest *g)
{
	if (g->r->may(g->r->arg, &g->id))
		return true;
	doorman_charge(&g->r->doorman, &g->from, uv_hrtime());
	return false;
}

static void
relayd_on_join(struct relayd_guest *g)
{
	enum relay_code code;

	if (!relayd_may(g))
		code = RELAY_WRONG_TOKEN;
	else
		code = switchboard_join(g->r->board, &g->id, g);
	if (code == RELAY_OK) {
		g->where = RELAYD_MEMBER;
		g->until_ns = uv_hrtime() + RELAYD_SILENT_NS;
		g->ping_ns = uv_hrtime() + RELAYD_PING_NS;
	} else {
		/* It hears why, and then has no business here. */
		g->where = RELAYD_ASKED;
		g->until_ns = uv_hrtime() + RELAYD_ASKED_NS;
	}
	relayd_answer(g, code);
}

static void
relayd_invite(struct relayd_guest *g, const struct devid *from,
    const struct relay_key *key, bool server)
{
	struct relay_message m = { .type = RELAY_INVITATION };

	/* No address: they know where we are, each from its own side. */
	m.u.invitation.from = *from;
	m.u.invitation.key = *key;
	m.u.invitation.port = g->r->bound.port;
	m.u.invitation.server = server;
	relayd_say(g, &m);
}

static void
relayd_on_connect(struct relayd_guest *g, const struct devid *to)
{
	struct relay_key key[2] = { { .len = RELAY_KEY_MAX },
		{ .len = RELAY_KEY_MAX } };
	enum relay_code code = RELAY_NOT_FOUND;
	void *member = NULL;

	if (uv_random(NULL, NULL, key[0].b, RELAY_KEY_MAX, 0, NULL) != 0 ||
	    uv_random(NULL, NULL, key[1].b, RELAY_KEY_MAX, 0, NULL) != 0)
		code = RELAY_INTERNAL;
	else if (relayd_may(g))
		code = switchboard_connect(g->r->board, &g->id, to, key,
		    uv_hrtime(), &member);
	g->where = RELAYD_ASKED;
	g->until_ns = uv_hrtime() + RELAYD_ASKED_NS;
	if (code != RELAY_OK) {
		relayd_answer(g, code);
		return;
	}
	relayd_invite(member, &g->id, &key[1], true);
	relayd_invite(g, to, &key[0], false);
}

static void
relayd_hear(struct relayd_guest *g, const struct relay_message *m)
{
	const struct relay_message pong = { .type = RELAY_PONG };

	if (g->where == RELAYD_MEMBER)
		g->until_ns = uv_hrtime() + RELAYD_SILENT_NS;
	if (m->type == RELAY_PING)
		relayd_say(g, &pong);
	else if (m->type == RELAY_JOIN && g->where == RELAYD_HERE)
		relayd_on_join(g);
	else if (m->type == RELAY_CONNECT && g->where == RELAYD_HERE)
		relayd_on_connect(g, &m->u.device);
	else if (m->type != RELAY_PONG)
		relayd_end(g, true);
}

/* --- TLS -------------------------------------------------------------- */

static void
relayd_on_reached(void *arg)
{
	(void)arg;
}

static void
relayd_on_open(void *arg)
{
	struct relayd_guest *g = arg;

	g->id = *stream_peer(g->stream);
	g->where = RELAYD_HERE;
}

static void
relayd_on_readable(void *arg)
{
	struct relayd_guest *g = arg;
	struct relay_message m;
	size_t n, used;
	int rc = 1;

	while (!g->over && rc == 1) {
		rc = stream_read(g->stream, g->in + g->in_len,
		    sizeof(g->in) - g->in_len, &n, NULL);
		g->in_len += n;
		while (!g->over && rc == 1 &&
		       (rc = relay_decode(&m, slice_of(g->in, g->in_len), &used,
			    NULL)) == 1) {
			memmove(g->in, g->in + used, g->in_len - used);
			g->in_len -= used;
			relayd_hear(g, &m);
		}
		if (rc == 0 && n > 0)
			rc = 1; /* part of a message: is there more? */
	}
	if (g->over)
		return;
	if (rc < 0)
		relayd_end(g, g->where < RELAYD_MEMBER);
	else
		stream_idle(g->stream); /* small words, far between */
}

static void
relayd_on_writable(void *arg)
{
	relayd_push(arg);
}

static void
relayd_on_end(void *arg, const struct err *err)
{
	struct relayd_guest *g = arg;

	(void)err;
	relayd_end(g, g->where < RELAYD_MEMBER);
}

static void
relayd_shake(struct relayd_guest *g)
{
	static const struct stream_callbacks callbacks = {
		.on_reached = relayd_on_reached,
		.on_open = relayd_on_open,
		.on_readable = relayd_on_readable,
		.on_writable = relayd_on_writable,
		.on_end = relayd_on_end,
	};
	struct tcp *tcp = g->tcp;

	tcp_read(tcp, false);
	g->tcp = NULL;
	g->where = RELAYD_SHAKING;
	g->stream = stream_tls_over(g->r->identity, tcp, TLS_SERVER);
	stream_tls_speak(g->stream, TLS_RELAY);
	stream_tls_put_back(g->stream, g->in[0]);
	g->in_len = 0;
	stream_own(g->stream, &callbacks, g);
	stream_start(g->stream);
}

/* --- the first bytes -------------------------------------------------- */

/* It brings a key: its TCP goes on as one side of a session. */
static void
relayd_enter(struct relayd_guest *g, const struct relay_key *key)
{
	struct relay_message m = { .type = RELAY_RESPONSE };
	struct relayd *r = g->r;
	struct buf out = { 0 };
	uint64_t session;
	int side;

	session = switchboard_enter(r->board, key, &side, uv_hrtime());
	if (session == 0) {
		relayd_end(g, true);
		return;
	}
	relay_encode(&m, &out);
	tcp_read(g->tcp, false);
	relayd_pipe_put(r, session, side, g->tcp, buf_slice(&out));
	buf_fini(&out);
	g->over = true;
	list_remove(&r->guests, &g->node);
	relayd_guest_freed(g);
}

static uint8_t *
relayd_on_tcp_space(void *arg, size_t *len)
{
	struct relayd_guest *g = arg;

	/* One byte says which; then not one more than the message. */
	*len = g->in_len == 0 ? 1 : relay_wants(slice_of(g->in, g->in_len));
	return g->in + g->in_len;
}

static void
relayd_on_tcp_read(void *arg, size_t n)
{
	struct relayd_guest *g = arg;
	struct relay_message m;
	size_t used;
	int rc;

	if (g->over)
		return;
	g->in_len += n;
	if (g->in[0] == 0x16) {
		relayd_shake(g);
		return;
	}
	rc = relay_decode(&m, slice_of(g->in, g->in_len), &used, NULL);
	if (rc == 1 && m.type == RELAY_SESSION)
		relayd_enter(g, &m.u.key);
	else if (rc != 0)
		relayd_end(g, true);
}

static void
relayd_on_tcp_end(void *arg, const struct err *err)
{
	(void)err;
	relayd_end(arg, true);
}

static void
relayd_on_tcp_written(void *arg, const struct err *err)
{
	(void)arg;
	(void)err;
}

/* As with devices: a source has its share, and in all the oldest goes. */
static bool
relayd_make_room(struct relayd *r, const struct addr *from)
{
	struct relayd_guest *oldest = NULL;
	unsigned unknown = 0, same = 0, all = 0;

	for (struct list_node *node = list_first(&r->guests); node != NULL;
	     node = list_next(&r->guests, node)) {
		struct relayd_guest *g =
		    LIST_ITEM(node, struct relayd_guest, node);

		all++;
		if (g->where >= RELAYD_MEMBER)
			continue;
		if (oldest == NULL)
			oldest = g;
		unknown++;
		if (addr_same_source(&g->from, from))
			same++;
	}
	if (!doorman_lets_in(&r->doorman, from, same, uv_hrtime()) ||
	    same >= LIMIT_HALF_OPEN_SOURCE ||
	    all >= LIMIT_RELAY_MEMBERS + LIMIT_HALF_OPEN)
		return false;
	if (unknown >= LIMIT_HALF_OPEN)
		relayd_end(oldest, false);
	return true;
}

static void
relayd_on_accept(void *arg, struct tcp *tcp, const struct addr *from)
{
	static const struct tcp_callbacks callbacks = {
		.on_space = relayd_on_tcp_space,
		.on_read = relayd_on_tcp_read,
		.on_end = relayd_on_tcp_end,
		.on_written = relayd_on_tcp_written,
	};
	struct relayd *r = arg;
	struct relayd_guest *g;

	if (r->closing || (r->lan_only && !addr_is_lan(from)) ||
	    !relayd_make_room(r, from)) {
		tcp_close(tcp, NULL, NULL);
		return;
	}
	g = mem_zalloc(sizeof(*g));
	g->r = r;
	g->tcp = tcp;
	g->from = *from;
	g->until_ns = uv_hrtime() + LIMIT_TLS_NS;
	list_add(&r->guests, &g->node);
	r->handles++;
	tcp_set_owner(tcp, &callbacks, g);
	tcp_read(tcp, true);
}

/* --- time ------------------------------------------------------------- */

static void
relayd_on_timer(uv_timer_t *timer)
{
	const struct relay_message ping = { .type = RELAY_PING };
	struct relayd *r = timer->data;
	const uint64_t now_ns = uv_hrtime();
	struct list_node *node = list_first(&r->guests);
	uint64_t session;

	while (node != NULL) {
		struct relayd_guest *g =
		    LIST_ITEM(node, struct relayd_guest, node);

		node = list_next(&r->guests, node);
		if (g->until_ns <= now_ns) {
			relayd_end(g, g->where < RELAYD_MEMBER);
		} else if (g->where == RELAYD_MEMBER && g->ping_ns <= now_ns) {
			g->ping_ns = now_ns + RELAYD_PING_NS;
			relayd_say(g, &ping);
		}
	}
	while ((session = switchboard_expire(r->board, now_ns)) != 0)
		relayd_pipe_end(r, session);
	relayd_pipe_tick(r, now_ns);
}

void
relayd_set_lan_only(struct relayd *r, bool lan_only)
{
	r->lan_only = lan_only;
}

void
relayd_set_rate(struct relayd *r, uint64_t rate)
{
	const uint64_t ms = rate != 0 ? RELAYD_FEED_MS : RELAYD_TICK_MS;

	r->rate = rate;
	uv_timer_start(&r->timer, relayd_on_timer, ms, ms);
}

/* --- opening and closing ---------------------------------------------- */

static void
relayd_timer_freed(uv_handle_t *handle)
{
	relayd_freed(handle->data);
}

int
relayd_open(struct relayd **out, uv_loop_t *loop, const struct identity *id,
    const struct addr *at, relayd_may_fn *may, void *arg, const struct log *log,
    struct err *err)
{
	struct relayd *r = mem_zalloc(sizeof(*r));
	char text[ADDR_TEXT_MAX];
	int rc;

	*out = NULL;
	rc = tcp_listen(&r->listener, loop, at, relayd_on_accept, r, &r->bound,
	    err);
	if (rc < 0) {
		mem_free(r);
		return rc;
	}
	r->loop = loop;
	r->identity = id;
	r->may = may;
	r->arg = arg;
	r->log = log;
	r->board = switchboard_new();
	list_init(&r->guests);
	list_init(&r->pipes);
	uv_timer_init(loop, &r->timer);
	r->timer.data = r;
	r->handles = 2; /* timer, listener */
	relayd_set_rate(r, 0);
	addr_text_host(&r->bound, text);
	log_info(log, "relay serve address=%s", text);
	*out = r;
	return 0;
}

void
relayd_close(struct relayd *r, void (*on_closed)(void *), void *arg)
{
	struct list_node *node;

	ASSERT(!r->closing);
	r->closing = true;
	r->on_closed = on_closed;
	r->closed_arg = arg;
	relayd_pipe_end_all(r);
	while ((node = list_first(&r->guests)) != NULL)
		relayd_end(LIST_ITEM(node, struct relayd_guest, node), false);
	tcp_listener_close(r->listener, relayd_freed, r);
	uv_close((uv_handle_t *)&r->timer, relayd_timer_freed);
}

void
relayd_state(const struct relayd *r, struct relayd_state *out)
{
	*out = (struct relayd_state){ .bound = r->bound,
		.members = switchboard_members(r->board),
		.sessions = switchboard_sessions(r->board),
		.bytes = r->bytes };
}
