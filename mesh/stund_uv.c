/*
 * The STUN server; see stund_uv.h.
 */
#include "mesh/stund_uv.h"

#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/addr_uv.h"
#include "mesh/doorman.h"
#include "mesh/quic_udp_posix.h"
#include "mesh/stun.h"

#define STUND_BURSTS 16 /* read in one turn */

struct stund_door {
	struct quic_udp udp;
	uv_poll_t poll;
	struct stund *stund;
};

struct stund {
	struct stund_door door[STUND_PORTS];
	struct stund_state state;
	struct doorman doorman;
	const struct log *log;
	uint8_t *in; /* owned, QUIC_UDP_BURST bytes */
	uint64_t second_ns;
	unsigned in_second, open;
	bool told, lan_only;
	void (*on_closed)(void *);
	void *closed_arg;
};

/* --- answering -------------------------------------------------------- */

/* One line when it begins to refuse, not one for each. */
static bool
stund_refuse(struct stund *s, const struct addr *from)
{
	char text[ADDR_TEXT_MAX];

	s->state.refused++;
	if (!s->told) {
		addr_text_host(from, text);
		log_warn(s->log, "stund refuse from=%s reason=\"too many\"",
		    text);
	}
	s->told = true;
	return false;
}

static bool
stund_lets_in(struct stund *s, const struct addr *from, uint64_t now_ns)
{
	if (now_ns - s->second_ns >= CLOCK_S) {
		s->second_ns = now_ns;
		if (s->in_second < LIMIT_STUND_RATE / 2)
			s->told = false;
		s->in_second = 0;
	}
	if (s->in_second >= LIMIT_STUND_RATE ||
	    !doorman_lets_in(&s->doorman, from, 0, now_ns))
		return stund_refuse(s, from);
	s->in_second++;
	doorman_charge(&s->doorman, from, now_ns);
	return true;
}

static void
stund_take(struct stund_door *d, const struct quic_udp_burst *b,
    struct slice datagram)
{
	struct quic_udp_burst to = *b;
	struct buf out = { 0 };
	struct addr from;
	uint16_t port;

	addr_uv_from_sockaddr(&from, (const struct sockaddr *)&b->peer);
	if (!stun_is(datagram) || (d->stund->lan_only && !addr_is_lan(&from)) ||
	    !stund_lets_in(d->stund, &from, uv_hrtime()) ||
	    !stun_answer(datagram, &from, &out, &port))
		goto out;
	if (port != 0) {
		from.port = port;
		if (addr_uv_to_sockaddr(&from, &to.peer, NULL) < 0 ||
		    !quic_udp_fit(&d->udp, &to.peer, &to.peer_len))
			goto out;
	}
	to.len = to.segment = out.len;
	/* A full socket loses it: they ask again. */
	(void)quic_udp_send(&d->udp, out.ptr, &to);
	d->stund->state.answered++;
out:
	buf_fini(&out);
}

static void
stund_on_poll(uv_poll_t *poll, int status, int events)
{
	struct stund_door *d = poll->data;
	struct quic_udp_burst b;

	(void)status;
	(void)events;
	for (int i = 0; i < STUND_BURSTS; i++) {
		if (!quic_udp_receive(&d->udp, d->stund->in, &b))
			return;
		for (size_t at = 0; at < b.len; at += b.segment) {
			const size_t left = b.len - at;

			stund_take(d, &b,
			    slice_of(d->stund->in + at,
				left < b.segment ? left : b.segment));
		}
	}
}

/* --- opening and closing ---------------------------------------------- */

static void
stund_free(struct stund *s)
{
	if (s->on_closed != NULL)
		s->on_closed(s->closed_arg);
	mem_free(s->in);
	mem_free(s);
}

static void
stund_poll_freed(uv_handle_t *handle)
{
	struct stund_door *d = handle->data;

	if (--d->stund->open == 0)
		stund_free(d->stund);
}

static int
stund_bind(struct stund *s, const struct addr *at, struct err *err)
{
	struct addr next = *at;
	int rc = quic_udp_open(&s->door[0].udp, &next, &s->state.bound[0], err);

	if (rc < 0)
		return rc;
	if (at->port != 0)
		next.port = (uint16_t)(at->port + 1);
	rc = quic_udp_open(&s->door[1].udp, &next, &s->state.bound[1], err);
	if (rc < 0)
		quic_udp_close(&s->door[0].udp);
	return rc;
}

int
stund_open(struct stund **out, uv_loop_t *loop, const struct addr *at,
    const struct log *log, struct err *err)
{
	struct stund *s;
	char text[ADDR_TEXT_MAX];
	int rc;

	*out = NULL;
	if (at->port == UINT16_MAX)
		return err_set(err, ERR_INVALID,
		    "STUN needs the port after this one, too");
	s = mem_zalloc(sizeof(*s));
	rc = stund_bind(s, at, err);
	if (rc < 0) {
		err_wrap(err, "STUN");
		mem_free(s);
		return rc;
	}
	s->log = log;
	s->in = mem_alloc(QUIC_UDP_BURST);
	for (unsigned i = 0; i < STUND_PORTS; i++) {
		struct stund_door *d = &s->door[i];

		d->stund = s;
		d->poll.data = d;
		(void)uv_poll_init(loop, &d->poll, d->udp.fd);
		(void)uv_poll_start(&d->poll, UV_READABLE, stund_on_poll);
		s->open++;
	}
	addr_text_host(&s->state.bound[0], text);
	log_info(log, "stund serve address=%s second=%u", text,
	    s->state.bound[1].port);
	*out = s;
	return 0;
}

void
stund_set_lan_only(struct stund *s, bool lan_only)
{
	s->lan_only = lan_only;
}

void
stund_close(struct stund *s, void (*on_closed)(void *), void *arg)
{
	s->on_closed = on_closed;
	s->closed_arg = arg;
	for (unsigned i = 0; i < STUND_PORTS; i++) {
		uv_close((uv_handle_t *)&s->door[i].poll, stund_poll_freed);
		quic_udp_close(&s->door[i].udp);
	}
}

void
stund_state(const struct stund *s, struct stund_state *out)
{
	*out = s->state;
}
