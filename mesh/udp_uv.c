/*
 * Discovery sockets; see udp_uv.h.
 */
#include "mesh/udp_uv.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/addr_uv.h"

#define UDP_GROUP "ff12::8384"

struct udp {
	uv_udp_t v4, v6;
	bool has_v4, has_v6; /* bound */
	bool lan_only;
	int open; /* handles libuv holds */
	uint16_t port;
	udp_receive_fn *on_receive;
	void *arg;
	void (*on_closed)(void *);
	void *closed_arg;
	char datagram[LIMIT_ANNOUNCE_LEN + 1]; /* one at a time */
};

static void
udp_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct udp *u = handle->data;

	(void)suggested;
	*out = uv_buf_init(u->datagram, sizeof(u->datagram));
}

static void
udp_on_receive(uv_udp_t *handle, ssize_t n, const uv_buf_t *buf,
    const struct sockaddr *sa, unsigned flags)
{
	struct udp *u = handle->data;
	struct addr from;

	if (n <= 0 || sa == NULL || (flags & UV_UDP_PARTIAL) != 0)
		return;
	addr_uv_from_sockaddr(&from, sa);
	u->on_receive(u->arg, slice_of(buf->base, (size_t)n), &from);
}

/*
 * Several programs of this machine listen on the same port (a Syncthing, a
 * second node), and broadcasts reach them all: SO_REUSEADDR on every one.
 */
static int
udp_bind(struct udp *u, uv_udp_t *handle, int family)
{
	struct addr any = { .family = family == AF_INET ? ADDR_V4 : ADDR_V6,
		.port = u->port };
	struct sockaddr_storage sa;
	unsigned flags = UV_UDP_REUSEADDR;
	int rc;

	if (family == AF_INET6)
		flags |= UV_UDP_IPV6ONLY;
	addr_uv_to_sockaddr(&any, &sa, NULL);
	rc = uv_udp_bind(handle, (struct sockaddr *)&sa, flags);
	if (rc == 0)
		rc = uv_udp_recv_start(handle, udp_on_alloc, udp_on_receive);
	return rc;
}

int
udp_open(struct udp **out, uv_loop_t *loop, uint16_t port,
    udp_receive_fn *on_receive, void *arg, struct err *err)
{
	struct udp *u = mem_zalloc(sizeof(*u));
	int rc4, rc6;

	*out = NULL;
	u->port = port;
	u->on_receive = on_receive;
	u->arg = arg;
	uv_udp_init(loop, &u->v4);
	uv_udp_init(loop, &u->v6);
	u->v4.data = u->v6.data = u;
	u->open = 2;
	rc4 = udp_bind(u, &u->v4, AF_INET);
	rc6 = udp_bind(u, &u->v6, AF_INET6);
	u->has_v4 = rc4 == 0 && uv_udp_set_broadcast(&u->v4, 1) == 0;
	u->has_v6 = rc6 == 0;
	if (!u->has_v4 && !u->has_v6) {
		rc4 = err_sys(err, -(rc4 != 0 ? rc4 : rc6),
		    "LAN discovery: port %u", port);
		udp_close(u, NULL, NULL);
		return rc4;
	}
	*out = u;
	return 0;
}

void
udp_set_lan_only(struct udp *u, bool lan_only)
{
	u->lan_only = lan_only;
}

static bool
udp_send_one(uv_udp_t *handle, struct slice datagram, const void *sa)
{
	const uv_buf_t buf = uv_buf_init((char *)(uintptr_t)datagram.ptr,
	    (unsigned)datagram.len);

	return uv_udp_try_send(handle, &buf, 1, sa) >= 0;
}

/* To the interface's own broadcast address. */
static bool
udp_send_v4(struct udp *u, struct slice datagram,
    const uv_interface_address_t *ia)
{
	struct sockaddr_in to = ia->address.address4;
	struct addr own;

	to.sin_addr.s_addr |= ~ia->netmask.netmask4.sin_addr.s_addr;
	/* A /32 (a tunnel) has nobody near. */
	if (to.sin_addr.s_addr == ia->address.address4.sin_addr.s_addr)
		return false;
	addr_uv_from_sockaddr(&own,
	    (const struct sockaddr *)&ia->address.address4);
	if (u->lan_only && !addr_is_lan(&own))
		return false;
	to.sin_port = htons(u->port);
	return udp_send_one(&u->v4, datagram, &to);
}

static bool
udp_send_v6(struct udp *u, struct slice datagram,
    const uv_interface_address_t *ia)
{
	struct sockaddr_in6 to;

	if (uv_ip6_addr(UDP_GROUP, u->port, &to) != 0)
		return false;
	to.sin6_scope_id = ia->address.address6.sin6_scope_id;
	if (to.sin6_scope_id == 0)
		to.sin6_scope_id = if_nametoindex(ia->name);
	return udp_send_one(&u->v6, datagram, &to);
}

/* Interfaces come and go: asked for before each sending; again is no harm. */
static void
udp_join(struct udp *u, const uv_interface_address_t *ia)
{
	char zoned[64];

	snprintf(zoned, sizeof(zoned), "::%%%s", ia->name);
	(void)uv_udp_set_membership(&u->v6, UDP_GROUP, zoned, UV_JOIN_GROUP);
}

int
udp_send_near(struct udp *u, struct slice datagram, struct err *err)
{
	uv_interface_address_t *list = NULL;
	bool sent = datagram.len == 0;
	int count = 0;
	int rc;

	rc = uv_interface_addresses(&list, &count);
	if (rc < 0)
		return err_sys(err, -rc, "LAN discovery: interfaces");
	for (int i = 0; i < count; i++) {
		const uv_interface_address_t *ia = &list[i];

		if (ia->is_internal)
			continue;
		if (ia->address.address4.sin_family == AF_INET) {
			if (u->has_v4 && datagram.len > 0 &&
			    udp_send_v4(u, datagram, ia))
				sent = true;
		} else if (u->has_v6 && IN6_IS_ADDR_LINKLOCAL(
					    &ia->address.address6.sin6_addr)) {
			udp_join(u, ia);
			if (datagram.len > 0 && udp_send_v6(u, datagram, ia))
				sent = true;
		}
	}
	uv_free_interface_addresses(list, count);
	if (!sent)
		return err_set(err, ERR_IO,
		    "LAN discovery: no network to announce on");
	return 0;
}

static void
udp_freed(uv_handle_t *handle)
{
	struct udp *u = handle->data;

	if (--u->open > 0)
		return;
	if (u->on_closed != NULL)
		u->on_closed(u->closed_arg);
	mem_free(u);
}

void
udp_close(struct udp *u, void (*on_closed)(void *), void *arg)
{
	u->on_closed = on_closed;
	u->closed_arg = arg;
	uv_close((uv_handle_t *)&u->v4, udp_freed);
	uv_close((uv_handle_t *)&u->v6, udp_freed);
}
