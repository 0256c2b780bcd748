/*
 * Addresses for sockets; see addr_uv.h.
 */
#include "mesh/addr_uv.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static void
addr_uv_v4(struct sockaddr_storage *out, const uint8_t ip[4], uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	in.sin_port = htons(port);
	memcpy(&in.sin_addr, ip, 4);
	memcpy(out, &in, sizeof(in));
}

static void
addr_uv_v6(struct sockaddr_storage *out, const uint8_t ip[16], uint16_t port,
    unsigned scope)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	in6.sin6_port = htons(port);
	in6.sin6_scope_id = scope;
	memcpy(&in6.sin6_addr, ip, 16);
	memcpy(out, &in6, sizeof(in6));
}

int
addr_uv_to_sockaddr(const struct addr *a, struct sockaddr_storage *out,
    struct err *err)
{
	static const uint8_t zero[16];
	unsigned scope = 0;

	memset(out, 0, sizeof(*out));
	switch (a->host) {
	case ADDR_NAME:
		if (strcmp(a->name, "localhost") != 0)
			return err_set(err, ERR_INVALID,
			    "%s is a name, not an IP address", a->name);
		addr_uv_v4(out, (const uint8_t[]){ 127, 0, 0, 1 }, a->port);
		return 0;
	case ADDR_NONE:
		if (a->family == ADDR_V4)
			addr_uv_v4(out, zero, a->port);
		else
			addr_uv_v6(out, zero, a->port, 0);
		return 0;
	case ADDR_IP4:
		addr_uv_v4(out, a->ip, a->port);
		return 0;
	case ADDR_IP6:
		if (a->zone[0] != '\0') {
			scope = if_nametoindex(a->zone);
			if (scope == 0)
				scope = (unsigned)strtoul(a->zone, NULL, 10);
			if (scope == 0)
				return err_set(err, ERR_INVALID,
				    "there is no interface %s here", a->zone);
		}
		addr_uv_v6(out, a->ip, a->port, scope);
		return 0;
	}
	return err_set(err, ERR_INVALID, "no address");
}

void
addr_uv_from_sockaddr(struct addr *out, const struct sockaddr *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	char zone[IF_NAMESIZE];

	*out = (struct addr){ .scheme = ADDR_TCP };
	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		out->host = ADDR_IP4;
		memcpy(out->ip, &in.sin_addr, 4);
		out->port = ntohs(in.sin_port);
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		out->port = ntohs(in6.sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			out->host = ADDR_IP4;
			memcpy(out->ip, in6.sin6_addr.s6_addr + 12, 4);
			return;
		}
		out->host = ADDR_IP6;
		memcpy(out->ip, &in6.sin6_addr, 16);
		if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) &&
		    if_indextoname(in6.sin6_scope_id, zone) != NULL)
			strncpy(out->zone, zone, sizeof(out->zone) - 1);
	}
}
