/*
 * UDP for QUIC; see quic_udp_posix.h.
 */
#include "mesh/quic_udp_posix.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "mesh/addr_uv.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define QUIC_UDP_COMMON 1500 /* bytes of a datagram that any way takes */
#define QUIC_UDP_BUFFER (4 * 1024 * 1024) /* bytes asked of the kernel */

union quic_udp_control {
	struct cmsghdr align;
	char room[256];
};

static bool
quic_udp_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

/* Past net.core.[rw]mem_max only for those who may; best effort. */
static void
quic_udp_set_buffers(int fd)
{
	if (!quic_udp_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, QUIC_UDP_BUFFER))
		(void)quic_udp_set(fd, SOL_SOCKET, SO_RCVBUF, QUIC_UDP_BUFFER);
	if (!quic_udp_set(fd, SOL_SOCKET, SO_SNDBUFFORCE, QUIC_UDP_BUFFER))
		(void)quic_udp_set(fd, SOL_SOCKET, SO_SNDBUF, QUIC_UDP_BUFFER);
}

static bool
quic_udp_is_wild(const struct sockaddr_storage *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (sa->ss_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		return in.sin_addr.s_addr == INADDR_ANY;
	}
	memcpy(&in6, sa, sizeof(in6));
	return IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr);
}

static void
quic_udp_set_options(struct quic_udp *u)
{
	/* QUIC finds the size of packets itself: none may be cut on the way. */
	(void)quic_udp_set(u->fd, IPPROTO_IP, IP_MTU_DISCOVER,
	    IP_PMTUDISC_PROBE);
	if (u->at.ss_family == AF_INET6)
		(void)quic_udp_set(u->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		    IPV6_PMTUDISC_PROBE);
	u->wild = quic_udp_is_wild(&u->at);
	if (u->wild && u->at.ss_family == AF_INET)
		(void)quic_udp_set(u->fd, IPPROTO_IP, IP_PKTINFO, 1);
	else if (u->wild)
		(void)quic_udp_set(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	(void)quic_udp_set(u->fd, IPPROTO_UDP, UDP_GRO, 1);
	u->segments = quic_udp_set(u->fd, IPPROTO_UDP, UDP_SEGMENT, 0);
	quic_udp_set_buffers(u->fd);
}

int
quic_udp_open(struct quic_udp *u, const struct addr *at, struct addr *bound,
    struct err *err)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len;
	char text[ADDR_TEXT_MAX];
	int rc = addr_uv_to_sockaddr(at, &sa, err);

	*u = (struct quic_udp){ .fd = -1 };
	if (rc < 0)
		goto out;
	len = sa.ss_family == AF_INET ? sizeof(struct sockaddr_in)
				      : sizeof(struct sockaddr_in6);
	u->fd =
	    socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0 ||
	    (sa.ss_family == AF_INET6 &&
		!quic_udp_set(u->fd, IPPROTO_IPV6, IPV6_V6ONLY,
		    at->family == ADDR_V6)) ||
	    bind(u->fd, (const struct sockaddr *)&sa, len) < 0) {
		rc = err_sys(err, errno, "listen");
		goto out;
	}
	u->at_len = sizeof(u->at);
	if (getsockname(u->fd, (struct sockaddr *)&u->at, &u->at_len) < 0) {
		rc = err_sys(err, errno, "listen");
		goto out;
	}
	quic_udp_set_options(u);
	addr_uv_from_sockaddr(bound, (const struct sockaddr *)&u->at);
	bound->scheme = ADDR_QUIC;
	bound->family = at->family;
	return 0;
out:
	quic_udp_close(u);
	addr_text(at, text);
	err_wrap(err, "%s", text);
	return rc;
}

void
quic_udp_close(struct quic_udp *u)
{
	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
}

/* The address it was sent to, and how long its datagrams are. */
static void
quic_udp_read_control(struct msghdr *m, struct quic_udp_burst *out)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info4;
	int segment;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
	     c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&segment, CMSG_DATA(c), sizeof(segment));
			if (segment > 0)
				out->segment = (size_t)segment;
		} else if (c->cmsg_level == IPPROTO_IPV6 &&
			   c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&info6, CMSG_DATA(c), sizeof(info6));
			memcpy((char *)&out->own +
				   offsetof(struct sockaddr_in6, sin6_addr),
			    &info6.ipi6_addr, sizeof(info6.ipi6_addr));
		} else if (c->cmsg_level == IPPROTO_IP &&
			   c->cmsg_type == IP_PKTINFO &&
			   out->own.ss_family == AF_INET) {
			memcpy(&info4, CMSG_DATA(c), sizeof(info4));
			memcpy((char *)&out->own +
				   offsetof(struct sockaddr_in, sin_addr),
			    &info4.ipi_addr, sizeof(info4.ipi_addr));
		}
	}
}

bool
quic_udp_receive(struct quic_udp *u, uint8_t *data, struct quic_udp_burst *out)
{
	union quic_udp_control control;
	struct iovec iov = { data, QUIC_UDP_BURST };
	struct msghdr m = { .msg_name = &out->peer,
		.msg_namelen = sizeof(out->peer),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t n;

	do
		n = recvmsg(u->fd, &m, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return false;
	out->peer_len = m.msg_namelen;
	out->own = u->at;
	out->own_len = u->at_len;
	out->len = out->segment = (size_t)n;
	out->hops = 0;
	quic_udp_read_control(&m, out);
	return true;
}

static void
quic_udp_add_control(struct msghdr *m, int level, int type, const void *value,
    size_t len)
{
	struct cmsghdr *c =
	    (void *)((char *)m->msg_control + m->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	m->msg_controllen += CMSG_SPACE(len);
}

/* Answer from where we were called. */
static void
quic_udp_add_source(const struct quic_udp *u, struct msghdr *m,
    const struct sockaddr_storage *from)
{
	struct in6_pktinfo info6 = { 0 };
	struct in_pktinfo info4 = { 0 };
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (!u->wild || quic_udp_is_wild(from))
		return;
	if (from->ss_family == AF_INET) {
		memcpy(&in, from, sizeof(in));
		info4.ipi_spec_dst = in.sin_addr;
		quic_udp_add_control(m, IPPROTO_IP, IP_PKTINFO, &info4,
		    sizeof(info4));
	} else {
		memcpy(&in6, from, sizeof(in6));
		info6.ipi6_addr = in6.sin6_addr;
		quic_udp_add_control(m, IPPROTO_IPV6, IPV6_PKTINFO, &info6,
		    sizeof(info6));
	}
}

/* A datagram that shall open our own router and get no further. */
static void
quic_udp_add_hops(struct msghdr *m, const struct quic_udp_burst *b)
{
	struct sockaddr_in6 in6;
	bool v4 = b->peer.ss_family == AF_INET;

	if (b->hops == 0)
		return;
	if (!v4) {
		memcpy(&in6, &b->peer, sizeof(in6));
		v4 = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr);
	}
	if (v4)
		quic_udp_add_control(m, IPPROTO_IP, IP_TTL, &b->hops,
		    sizeof(b->hops));
	else
		quic_udp_add_control(m, IPPROTO_IPV6, IPV6_HOPLIMIT, &b->hops,
		    sizeof(b->hops));
}

/* One call; false when the socket is full. */
static bool
quic_udp_send_one(struct quic_udp *u, const uint8_t *data, size_t len,
    uint16_t segment, const struct quic_udp_burst *b)
{
	union quic_udp_control control = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr m = { .msg_name = (void *)(uintptr_t)&b->peer,
		.msg_namelen = b->peer_len,
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control };
	ssize_t n;

	quic_udp_add_source(u, &m, &b->own);
	quic_udp_add_hops(&m, b);
	if (segment > 0)
		quic_udp_add_control(&m, IPPROTO_UDP, UDP_SEGMENT, &segment,
		    sizeof(segment));
	if (m.msg_controllen == 0)
		m.msg_control = NULL;
	do
		n = sendmsg(u->fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EMSGSIZE ||
			 (errno == EINVAL && segment > QUIC_UDP_COMMON)))
		u->too_long = true;
	/* A card that cannot: from now on datagram by datagram. */
	else if (n < 0 && segment > 0 && (errno == EIO || errno == EINVAL))
		u->segments = false;
	return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

size_t
quic_udp_send(struct quic_udp *u, const uint8_t *data,
    const struct quic_udp_burst *b)
{
	size_t done = 0;

	ASSERT(b->segment > 0 && b->segment <= UINT16_MAX);
	if (u->fd < 0)
		return b->len; /* closed: lost */
	if (u->segments && b->len > b->segment) {
		if (!quic_udp_send_one(u, data, b->len, (uint16_t)b->segment,
			b))
			return 0;
		if (u->segments)
			return b->len;
	}
	while (done < b->len) {
		size_t n = b->segment;

		if (n > b->len - done)
			n = b->len - done;
		if (!quic_udp_send_one(u, data + done, n, 0, b))
			break;
		done += n;
	}
	return done;
}

bool
quic_udp_fit(const struct quic_udp *u, struct sockaddr_storage *sa,
    socklen_t *len)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in;
	int only = 0;
	socklen_t size = sizeof(only);

	if (sa->ss_family == AF_INET && u->at.ss_family == AF_INET6) {
		if (getsockopt(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) <
			0 ||
		    only)
			return false;
		memcpy(&in, sa, sizeof(in));
		in6.sin6_port = in.sin_port;
		in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(in6.sin6_addr.s6_addr + 12, &in.sin_addr, 4);
		memset(sa, 0, sizeof(*sa));
		memcpy(sa, &in6, sizeof(in6));
	}
	*len = sa->ss_family == AF_INET ? sizeof(struct sockaddr_in)
					: sizeof(struct sockaddr_in6);
	return sa->ss_family == u->at.ss_family;
}
