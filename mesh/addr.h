/*
 * Addresses as people and peers write them: scheme://host:port.
 *
 * Pure values: parsing, printing and judging text; resolving a name is
 * tcp_uv.c.  Accepted: tcp, tcp4, tcp6, quic, quic4, quic6 and the word
 * "dynamic", which means "use discovery".  BEP-FACTS.md 2.2.
 */
#ifndef HOLDFAST_MESH_ADDR_H
#define HOLDFAST_MESH_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "blockproto/devid.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"

#define ADDR_PORT_DEFAULT 22000
#define ADDR_PORT_RELAY 22067
#define ADDR_TOKEN_MAX 64                   /* bytes of a relay's token */
#define ADDR_HOST_MAX 255                   /* bytes of a host name */
#define ADDR_TEXT_MAX (ADDR_HOST_MAX + 128) /* of addr_text(), with NUL */

enum addr_scheme { ADDR_TCP, ADDR_QUIC, ADDR_RELAY, ADDR_DYNAMIC };

enum addr_family { ADDR_ANY, ADDR_V4, ADDR_V6 };

enum addr_host { ADDR_NONE, ADDR_NAME, ADDR_IP4, ADDR_IP6 };

/* A value; owns nothing.  ADDR_NONE as host means "unspecified". */
struct addr {
	enum addr_scheme scheme;
	enum addr_family family; /* what the scheme allows: tcp4, tcp6 */
	enum addr_host host;
	uint8_t ip[16]; /* network order; first 4 for ADDR_IP4 */
	uint16_t port;  /* host order; 0 = any, for listening */
	char zone[32];  /* of a link-local IPv6 address; "" without */
	char name[ADDR_HOST_MAX + 1]; /* ADDR_NAME, lower case; else "" */
	/* ADDR_RELAY: who it must be (none: anyone), and what lets us in. */
	struct devid relay;
	char token[ADDR_TOKEN_MAX + 1];
};

/*
 * From "tcp://host:port".  Without a port, 22000.  ERR_INVALID says what is
 * wrong and what is allowed.  Of "relay://host:port/?id=...&token=..." those
 * two options are kept; without a port, 22067.
 */
int addr_parse(struct addr *out, struct slice text, struct err *err);
/* The canonical text; IPv6 as RFC 5952 says; NUL-terminated.  No token. */
void addr_text(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* "host:port" alone, as logs show it. */
void addr_text_host(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* "tcp", "quic", "relay" or "dynamic". */
const char *addr_scheme_text(enum addr_scheme scheme);
bool addr_equal(const struct addr *a, const struct addr *b);
/*
 * One source, where many are to have a share each: the same IPv4 address, or
 * the same /64 of IPv6, of which anybody has all addresses.  IP hosts only.
 */
bool addr_same_source(const struct addr *a, const struct addr *b);
/* No host, or 0.0.0.0 or [::]. */
bool addr_is_unspecified(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
bool addr_is_multicast(const struct addr *a);
bool addr_is_link_local(const struct addr *a);
/*
 * Loopback, link-local or a private network (RFC 1918, RFC 4193): a guess that
 * needs no list of interfaces.  Names are not.
 */
bool addr_is_lan(const struct addr *a);
/* Is it a way around?  Bytes go through somebody else. */
bool addr_is_relayed(const struct addr *a);
/*
 * Which way is tried first: the smaller.  TCP before QUIC, which costs more to
 * encrypt; the LAN before the rest; relays last.  As Syncthing 1.23.5.
 */
unsigned addr_rank(const struct addr *a);
/* Can this build dial it? */
bool addr_is_dialable(const struct addr *a);
/* The same address with the host of `ip` (its port and scheme unchanged). */
void addr_set_host(struct addr *a, const struct addr *ip);

#endif
