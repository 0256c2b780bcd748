/*
 * The router; see router.h.  Who it is, and PCP.
 */
#include "mesh/router.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/route.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUTER_TRIES 3
#define ROUTER_FIRST_MS 250 /* RFC 6886, 3.1; doubled each time */

void
router_say(struct portmap_answer *out, enum portmap_code code, const char *fmt,
    ...)
{
	va_list ap;

	out->code = code;
	va_start(ap, fmt);
	vsnprintf(out->why, sizeof(out->why), fmt, ap);
	va_end(ap);
}

/* --- who it is -------------------------------------------------------- */

/* The default route of the smallest metric; all zero when there is none. */
static void
router_find(uint8_t ip[4])
{
	FILE *file = fopen("/proc/net/route", "re");
	unsigned long best = ULONG_MAX;
	char line[256];

	memset(ip, 0, 4);
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL) {
		unsigned long dest, gateway, flags, metric, mask;

		/* Iface Destination Gateway Flags RefCnt Use Metric Mask */
		if (sscanf(line, "%*s %lx %lx %lx %*s %*s %lu %lx", &dest,
			&gateway, &flags, &metric, &mask) != 5)
			continue; /* the heading */
		if (dest == 0 && mask == 0 && gateway != 0 &&
		    (flags & (RTF_UP | RTF_GATEWAY)) ==
			(RTF_UP | RTF_GATEWAY) &&
		    metric < best) {
			/* The kernel prints the number as it lies in memory. */
			const uint32_t raw = (uint32_t)gateway;

			memcpy(ip, &raw, 4);
			best = metric;
		}
	}
	fclose(file);
}

static int
router_socket(const uint8_t ip[4], uint16_t port, uint8_t own[4])
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(port) };
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	memcpy(&to.sin_addr, ip, 4);
	/* Connected: nobody else's datagrams come. */
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&from, &len) < 0) {
		close(fd);
		return -1;
	}
	memcpy(own, &from.sin_addr, 4);
	return fd;
}

/* --- PCP -------------------------------------------------------------- */

static uint64_t
router_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
router_v4_mapped(uint8_t out[16], const uint8_t ip[4])
{
	memset(out, 0, 16);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, ip, 4);
}

/* 1: `answer` is to it; 0: not in that time; -1: nobody will. */
static int
router_pcp_wait(int fd, const struct pcp_map *map, struct pcp_answer *answer,
    uint64_t wait_ms)
{
	const uint64_t end = router_now_ms() + wait_ms;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint8_t buf[PCP_DATAGRAM_MAX + 1];
		const uint64_t now = router_now_ms();
		ssize_t len;
		int rc;

		if (now >= end || poll(&p, 1, (int)(end - now)) == 0)
			return 0;
		len = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (len < 0)
			return -1; /* the port is closed there */
		rc = pcp_decode_map(answer, slice_of(buf, (size_t)len), NULL);
		if (rc == ERR_UNSUPPORTED)
			return -1;
		if (rc == 0 && pcp_is_answer(answer, map))
			return 1;
	}
}

static void
router_pcp_judge(const struct pcp_answer *answer, struct portmap_answer *out)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };

	out->has_epoch = true;
	out->epoch_s = answer->epoch_s;
	if (answer->result == PCP_CANNOT_PROVIDE_EXTERNAL) {
		router_say(out, PORTMAP_TAKEN, "PCP: that port is taken");
		return;
	}
	if (answer->result != PCP_SUCCESS ||
	    memcmp(answer->map.outer_ip, v4, 12) != 0) {
		router_say(out, PORTMAP_REFUSED,
		    "PCP: the router refused, with code %u", answer->result);
		return;
	}
	out->code = PORTMAP_GRANTED;
	/* No end is not for PCP to grant; nothing is. */
	if (answer->map.lease_s == 0)
		router_say(out, PORTMAP_REFUSED, "PCP: granted for no time");
	out->lease_s = answer->map.lease_s;
	out->outer.host = ADDR_IP4;
	memcpy(out->outer.ip, answer->map.outer_ip + 12, 4);
	out->outer.port = answer->map.outer_port;
}

static void
router_pcp_ask(const struct portmap_ask *ask, const struct router_where *where,
    struct portmap_answer *out)
{
	struct pcp_map map = {
		.protocol = ask->port.scheme == ADDR_TCP ? PCP_TCP : PCP_UDP,
		.inner_port = ask->port.inner,
		.outer_port = ask->outer,
		.lease_s = ask->remove ? 0 : ask->lease_s,
	};
	const uint8_t nowhere[4] = { 0 };
	struct pcp_answer answer;
	struct buf request = { 0 };
	uint8_t own[16], ignored[4];
	const int fd = router_socket(where->router, PCP_PORT, ignored);
	int rc = fd < 0 ? -1 : 0;

	memcpy(map.nonce, ask->nonce, PCP_NONCE_LEN);
	router_v4_mapped(own, where->own);
	router_v4_mapped(map.outer_ip, nowhere);
	pcp_encode_map(&map, own, &request);
	for (unsigned i = 0; rc == 0 && i < ROUTER_TRIES; i++) {
		if (send(fd, request.ptr, request.len, 0) < 0)
			break;
		rc = router_pcp_wait(fd, &map, &answer, ROUTER_FIRST_MS << i);
	}
	if (rc == 1 && ask->remove && answer.result == PCP_SUCCESS)
		out->code = PORTMAP_GRANTED;
	else if (rc == 1)
		router_pcp_judge(&answer, out);
	else
		router_say(out, PORTMAP_NO_ANSWER, "the router speaks no PCP");
	buf_fini(&request);
	if (fd >= 0)
		close(fd);
}

/* --- all of them ------------------------------------------------------ */

void
router_ask(const struct portmap_ask *ask, struct router_memory *memory,
    struct portmap_answer *out)
{
	struct router_where where;
	struct addr own = { .host = ADDR_IP4, .port = 1 };
	int fd;

	*out = (struct portmap_answer){ .why = "" };
	router_find(where.router);
	out->router.port = PCP_PORT;
	memcpy(out->router.ip, where.router, 4);
	if (memcmp(where.router, memory->ip, 4) != 0) {
		memset(memory, 0, sizeof(*memory));
		memcpy(memory->ip, where.router, 4);
	}
	fd = router_socket(where.router, PCP_PORT, where.own);
	if (memcmp(where.router, "\0\0\0\0", 4) == 0 || fd < 0) {
		router_say(out, PORTMAP_NOT_NEEDED,
		    "this network has no router for IPv4");
	} else {
		out->router.host = ADDR_IP4;
		memcpy(own.ip, where.own, 4);
		if (portmap_is_public(&own))
			router_say(out, PORTMAP_NOT_NEEDED,
			    "this device has a public address of its own");
		else if (ask->method == PORTMAP_PCP)
			router_pcp_ask(ask, &where, out);
		else if (ask->method == PORTMAP_NATPMP)
			router_natpmp_ask(ask, &where, out);
		else
			router_upnp_ask(ask, &where, memory, out);
	}
	if (fd >= 0)
		close(fd);
}
