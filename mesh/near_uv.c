/*
 * Neighbours; see near_uv.h.
 */
#include "mesh/near_uv.h"

#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/udp_uv.h"

#define NEAR_INTERVAL_NS (30 * CLOCK_S)
#define NEAR_SOON_NS (200 * CLOCK_MS) /* several reasons, one datagram */
#define NEAR_AGAIN_NS (5 * CLOCK_S)   /* at least between two of those */
#define NEAR_CLONE_NS (120 * CLOCK_S) /* that one was heard is told so long */

struct near {
	uv_loop_t *loop;
	struct announce own;
	uint16_t port;
	near_found_fn *on_found;
	void *arg;
	const struct log *log;
	struct udp *udp; /* NULL while the port is taken */
	bool lan_only;
	uint64_t next_ns, last_ns;
	struct err error;
	void (*on_closed)(void *);
	void *closed_arg;
	char clone[ADDR_TEXT_MAX]; /* "": never heard of one */
	uint64_t clone_ns;
};

static void
near_soon(struct near *n)
{
	const uint64_t now_ns = uv_hrtime();
	uint64_t at = now_ns + NEAR_SOON_NS;

	if (n->last_ns != 0 && at < n->last_ns + NEAR_AGAIN_NS)
		at = n->last_ns + NEAR_AGAIN_NS;
	if (at < n->next_ns)
		n->next_ns = at;
}

/* Our own words come back with our own instance. */
static void
near_note_clone(struct near *n, const struct addr *from)
{
	const bool known = near_clone(n, uv_hrtime())[0] != '\0';

	addr_text_host(from, n->clone);
	n->clone_ns = uv_hrtime();
	if (known)
		return;
	log_warn(n->log, "near clone address=%s", n->clone);
	near_soon(n); /* that one shall know, too */
}

static void
near_on_receive(void *arg, struct slice datagram, const struct addr *from)
{
	struct near *n = arg;
	struct announce a;
	struct err err = { 0 };

	if (n->lan_only && !addr_is_lan(from))
		return;
	/* Noise on a shared port is nobody's fault and not worth a line. */
	if (announce_decode(&a, datagram, from, &err) < 0) {
		log_debug(n->log, "near skip reason=\"%s\"", err.text);
		return;
	}
	if (devid_equal(&a.id, &n->own.id)) {
		if (a.instance != 0 && a.instance != n->own.instance)
			near_note_clone(n, from);
		return;
	}
	if (n->on_found(n->arg, &a))
		near_soon(n);
}

/* One line when it breaks, one when it works again. */
static void
near_note(struct near *n, const struct err *err)
{
	if (err->code != 0 && strcmp(err->text, n->error.text) != 0)
		log_warn(n->log, "near fail reason=\"%s\"", err->text);
	else if (err->code == 0 && n->error.code != 0)
		log_info(n->log, "near works port=%u", n->port);
	n->error = *err;
}

static void
near_send(struct near *n)
{
	struct buf datagram = { 0 };
	struct err err = { 0 };
	int rc = 0;

	if (n->udp == NULL)
		rc = udp_open(&n->udp, n->loop, n->port, near_on_receive, n,
		    &err);
	if (rc == 0) {
		if (n->own.address_count > 0)
			announce_encode(&n->own, &datagram);
		udp_set_lan_only(n->udp, n->lan_only);
		(void)udp_send_near(n->udp, buf_slice(&datagram), &err);
		buf_fini(&datagram);
	}
	near_note(n, &err);
}

struct near *
near_open(uv_loop_t *loop, const struct devid *own, uint16_t port,
    near_found_fn *on_found, void *arg, const struct log *log)
{
	struct near *n = mem_zalloc(sizeof(*n));
	uint64_t instance = 0;

	n->loop = loop;
	n->own.id = *own;
	n->port = port;
	n->on_found = on_found;
	n->arg = arg;
	n->log = log;
	/* Only has to differ from that of the last start. */
	if (uv_random(NULL, NULL, &instance, sizeof(instance), 0, NULL) != 0)
		instance = uv_hrtime();
	n->own.instance = (int64_t)(instance >> 1);
	n->next_ns = uv_hrtime();
	return n;
}

static void
near_freed(void *arg)
{
	struct near *n = arg;

	if (n->on_closed != NULL)
		n->on_closed(n->closed_arg);
	mem_free(n);
}

void
near_close(struct near *n, void (*on_closed)(void *), void *arg)
{
	n->on_closed = on_closed;
	n->closed_arg = arg;
	if (n->udp != NULL)
		udp_close(n->udp, near_freed, n);
	else
		near_freed(n);
}

void
near_set_lan_only(struct near *n, bool lan_only)
{
	n->lan_only = lan_only;
}

void
near_set_addresses(struct near *n, const struct addr *addr, size_t count)
{
	static const uint8_t zero[16];

	n->own.address_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct addr a = addr[i];

		if (addr_is_loopback(&a) || a.port == 0 ||
		    n->own.address_count == ANNOUNCE_ADDRESSES)
			continue;
		/* "Wherever this came from", in the form all peers know. */
		if (addr_is_unspecified(&a)) {
			a.host = a.family == ADDR_V6 ? ADDR_IP6 : ADDR_IP4;
			memcpy(a.ip, zero, sizeof(zero));
		}
		n->own.address[n->own.address_count++] = a;
	}
	near_soon(n);
}

void
near_refresh(struct near *n)
{
	near_soon(n);
}

void
near_tick(struct near *n, uint64_t now_ns)
{
	if (now_ns < n->next_ns)
		return;
	n->last_ns = now_ns;
	n->next_ns = now_ns + NEAR_INTERVAL_NS;
	near_send(n);
}

uint64_t
near_wake_at(const struct near *n)
{
	return n->next_ns;
}

const char *
near_clone(const struct near *n, uint64_t now_ns)
{
	return now_ns - n->clone_ns < NEAR_CLONE_NS ? n->clone : "";
}

const char *
near_error(const struct near *n)
{
	return n->error.text;
}
