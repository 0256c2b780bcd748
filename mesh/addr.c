/*
 * Addresses; see addr.h.  Text in, value out, and back: no resolving, so the
 * IP parsers and printers are our own (the C library's live behind headers
 * that pure files do not include).
 */
#include "mesh/addr.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/ascii.h"
#include "engine/base/assert.h"

static const struct {
	const char *text;
	enum addr_scheme scheme;
	enum addr_family family;
} addr_schemes[] = {
	{ "tcp", ADDR_TCP, ADDR_ANY },
	{ "tcp4", ADDR_TCP, ADDR_V4 },
	{ "tcp6", ADDR_TCP, ADDR_V6 },
	{ "quic", ADDR_QUIC, ADDR_ANY },
	{ "quic4", ADDR_QUIC, ADDR_V4 },
	{ "quic6", ADDR_QUIC, ADDR_V6 },
	{ "relay", ADDR_RELAY, ADDR_ANY },
};

#define ADDR_SCHEMES (sizeof(addr_schemes) / sizeof(addr_schemes[0]))

/* Four decimal numbers without leading zeros. */
static bool
addr_parse_ip4(uint8_t out[4], struct slice s)
{
	size_t at = 0;

	for (int part = 0; part < 4; part++) {
		unsigned value = 0;
		size_t digits = 0;

		if (part > 0 && (at >= s.len || s.ptr[at++] != '.'))
			return false;
		while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9') {
			if (digits == 3 || (digits > 0 && value == 0))
				return false;
			value = value * 10 + (unsigned)(s.ptr[at++] - '0');
			digits++;
		}
		if (digits == 0 || value > 255)
			return false;
		out[part] = (uint8_t)value;
	}
	return at == s.len;
}

/* RFC 4291, 2.2: groups, one "::", maybe a dotted tail; no zone here. */
static bool
addr_parse_ip6(uint8_t out[16], struct slice s)
{
	uint8_t ip[16] = { 0 };
	size_t at = 0, filled = 0, gap = SIZE_MAX;

	if (s.len < 2)
		return false;
	if (s.ptr[0] == ':') {
		if (s.ptr[1] != ':')
			return false;
		gap = 0;
		at = 2;
	}
	while (at < s.len) {
		const size_t start = at;
		unsigned value = 0;
		int digit;

		if (filled == 16)
			return false;
		while (at < s.len &&
		       (digit = ascii_hex(ascii_lower(s.ptr[at]))) >= 0) {
			if (at - start == 4)
				return false;
			value = value * 16 + (unsigned)digit;
			at++;
		}
		if (at < s.len && s.ptr[at] == '.') {
			if (filled > 12 ||
			    !addr_parse_ip4(ip + filled, slice_from(s, start)))
				return false;
			filled += 4;
			break;
		}
		if (at == start)
			return false;
		ip[filled++] = (uint8_t)(value >> 8);
		ip[filled++] = (uint8_t)value;
		if (at == s.len)
			break;
		if (s.ptr[at++] != ':' || at == s.len)
			return false;
		if (s.ptr[at] == ':') {
			if (gap != SIZE_MAX)
				return false;
			gap = filled;
			at++;
		}
	}
	if (gap == SIZE_MAX ? filled != 16 : filled > 14)
		return false;
	memset(out, 0, 16);
	if (gap == SIZE_MAX)
		gap = filled;
	memcpy(out, ip, gap);
	memcpy(out + 16 - (filled - gap), ip + gap, filled - gap);
	return true;
}

/* RFC 1123 names, and '_', which some routers hand out. */
static bool
addr_parse_name(char out[ADDR_HOST_MAX + 1], struct slice s)
{
	size_t label = 0;

	if (s.len == 0 || s.len > ADDR_HOST_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		const uint8_t c = ascii_lower(s.ptr[i]);

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			   c == '-' || c == '_') {
			if (++label > 63)
				return false;
		} else {
			return false;
		}
		out[i] = (char)c;
	}
	out[s.len] = '\0';
	return true;
}

static int
addr_parse_zone(struct addr *out, struct slice zone, struct err *err)
{
	/* In a URL the '%' is itself escaped: "%25eth0". */
	if (slice_has_prefix(zone, SLICE_LIT("25")) && zone.len > 2)
		zone = slice_from(zone, 2);
	if (zone.len == 0 || zone.len >= sizeof(out->zone))
		return err_set(err, ERR_INVALID, "zone of an address is wrong");
	for (size_t i = 0; i < zone.len; i++)
		if (zone.ptr[i] <= ' ' || zone.ptr[i] > '~' ||
		    zone.ptr[i] == '/' || zone.ptr[i] == ']')
			return err_set(err, ERR_INVALID,
			    "zone of an address is wrong");
	memcpy(out->zone, zone.ptr, zone.len);
	out->zone[zone.len] = '\0';
	return 0;
}

static int
addr_parse_host(struct addr *out, struct slice host, bool bracketed,
    struct err *err)
{
	if (host.len == 0 && !bracketed) {
		out->host = ADDR_NONE;
		return 0;
	}
	if (bracketed) {
		const size_t percent = slice_find(host, '%');

		if (percent != SIZE_MAX) {
			const int rc = addr_parse_zone(out,
			    slice_from(host, percent + 1), err);

			if (rc < 0)
				return rc;
			host = slice_to(host, percent);
		}
		if (!addr_parse_ip6(out->ip, host))
			return err_set(err, ERR_INVALID,
			    "\"[%.*s]\" is no IPv6 address", SLICE_FMT(host));
		out->host = ADDR_IP6;
	} else if (addr_parse_ip4(out->ip, host)) {
		out->host = ADDR_IP4;
	} else if (addr_parse_name(out->name, host)) {
		out->host = ADDR_NAME;
	} else {
		return err_set(err, ERR_INVALID,
		    "\"%.*s\" is neither a host name nor an IP address "
		    "(IPv6 is written in brackets)",
		    (int)(host.len > 64 ? 64 : host.len),
		    (const char *)host.ptr);
	}
	if ((out->host == ADDR_IP4 && out->family == ADDR_V6) ||
	    (out->host == ADDR_IP6 && out->family == ADDR_V4))
		return err_set(err, ERR_INVALID,
		    "the scheme contradicts the kind of IP address");
	return 0;
}

static int
addr_parse_port(uint16_t *out, struct slice port, struct err *err)
{
	unsigned value = 0;

	if (port.len == 0 || port.len > 5)
		return err_set(err, ERR_INVALID, "a port is 0 to 65535");
	for (size_t i = 0; i < port.len; i++) {
		if (port.ptr[i] < '0' || port.ptr[i] > '9')
			return err_set(err, ERR_INVALID,
			    "a port is 0 to 65535, not \"%.*s\"",
			    SLICE_FMT(port));
		value = value * 10 + (unsigned)(port.ptr[i] - '0');
	}
	if (value > 65535)
		return err_set(err, ERR_INVALID, "a port is 0 to 65535");
	*out = (uint16_t)value;
	return 0;
}

static int
addr_parse_scheme(struct addr *out, struct slice scheme, struct err *err)
{
	for (size_t i = 0; i < ADDR_SCHEMES; i++) {
		if (!slice_equal(scheme, slice_str(addr_schemes[i].text)))
			continue;
		out->scheme = addr_schemes[i].scheme;
		out->family = addr_schemes[i].family;
		return 0;
	}
	return err_set(err, ERR_INVALID,
	    "unknown scheme \"%.*s\"; allowed: tcp, tcp4, tcp6, quic, quic4, "
	    "quic6, relay",
	    (int)(scheme.len > 32 ? 32 : scheme.len), (const char *)scheme.ptr);
}

/* Split "host:port", "[v6]:port", "host", ":port". */
static int
addr_parse_authority(struct addr *out, struct slice rest, struct err *err)
{
	struct slice host = rest;
	bool bracketed = false;
	int rc;

	if (rest.len > 0 && rest.ptr[0] == '[') {
		const size_t end = slice_find(rest, ']');

		if (end == SIZE_MAX)
			return err_set(err, ERR_INVALID, "\"[\" without \"]\"");
		bracketed = true;
		host = slice_from(slice_to(rest, end), 1);
		rest = slice_from(rest, end + 1);
		if (rest.len > 0 && rest.ptr[0] != ':')
			return err_set(err, ERR_INVALID,
			    "only \":port\" may follow \"]\"");
	} else {
		const size_t colon = slice_find(rest, ':');

		if (colon == SIZE_MAX) {
			rest = SLICE_EMPTY;
		} else {
			host = slice_to(rest, colon);
			rest = slice_from(rest, colon);
			if (slice_rfind(rest, ':') != 0)
				return err_set(err, ERR_INVALID,
				    "IPv6 is written in brackets: "
				    "tcp://[::1]:22000");
		}
	}
	if (rest.len > 0) {
		rc = addr_parse_port(&out->port, slice_from(rest, 1), err);
		if (rc < 0)
			return rc;
	}
	return addr_parse_host(out, host, bracketed, err);
}

static int
addr_parse_token(struct addr *out, struct slice token, struct err *err)
{
	if (token.len > ADDR_TOKEN_MAX)
		return err_set(err, ERR_INVALID,
		    "a relay's token has at most %d bytes", ADDR_TOKEN_MAX);
	for (size_t i = 0; i < token.len; i++)
		if (token.ptr[i] <= ' ' || token.ptr[i] > '~')
			return err_set(err, ERR_INVALID,
			    "a relay's token is printable");
	if (token.len > 0)
		memcpy(out->token, token.ptr, token.len);
	return 0;
}

/* The "?id=...&token=..." of a relay; others are others'. */
static int
addr_parse_options(struct addr *out, struct slice text, struct err *err)
{
	size_t at = slice_find(text, '?');
	int rc = 0;

	text = at == SIZE_MAX ? SLICE_EMPTY : slice_from(text, at + 1);
	while (rc == 0 && text.len > 0) {
		struct slice opt;

		at = slice_find(text, '&');
		opt = slice_to(text, at == SIZE_MAX ? text.len : at);
		text = slice_from(text, at == SIZE_MAX ? text.len : at + 1);
		if (slice_has_prefix(opt, SLICE_LIT("id=")))
			rc = devid_parse(&out->relay, slice_from(opt, 3), err) <
				     0
				 ? ERR_INVALID
				 : 0;
		else if (slice_has_prefix(opt, SLICE_LIT("token=")))
			rc = addr_parse_token(out, slice_from(opt, 6), err);
	}
	return rc;
}

int
addr_parse(struct addr *out, struct slice text, struct err *err)
{
	static const char mark[] = "://";
	size_t at = 0;
	int rc;

	*out = (struct addr){ .port = ADDR_PORT_DEFAULT };
	if (slice_equal(text, SLICE_LIT("dynamic"))) {
		*out = (struct addr){ .scheme = ADDR_DYNAMIC };
		return 0;
	}
	while (at + 3 <= text.len && memcmp(text.ptr + at, mark, 3) != 0)
		at++;
	if (at + 3 > text.len)
		return err_set(err, ERR_INVALID,
		    "an address is written tcp://HOST:PORT, or \"dynamic\"");
	rc = addr_parse_scheme(out, slice_to(text, at), err);
	if (rc < 0)
		return rc;
	text = slice_from(text, at + 3);
	if (out->scheme == ADDR_RELAY) {
		out->port = ADDR_PORT_RELAY;
		rc = addr_parse_options(out, text, err);
		if (rc < 0)
			return rc;
	}
	/* Others append "/?options"; no other concerns us. */
	at = slice_find(text, '/');
	if (at != SIZE_MAX)
		text = slice_to(text, at);
	at = slice_find(text, '?');
	if (at != SIZE_MAX)
		text = slice_to(text, at);
	return addr_parse_authority(out, text, err);
}

static size_t
addr_put(char *out, size_t at, const char *text)
{
	const size_t len = strlen(text);

	ASSERT(at + len < ADDR_TEXT_MAX);
	memcpy(out + at, text, len + 1);
	return at + len;
}

/* RFC 5952: lower case, longest run of zero groups (two or more) as "::". */
static size_t
addr_put_ip6(char *out, size_t at, const uint8_t ip[16])
{
	unsigned group[8];
	int run = -1, run_len = 1;
	char part[8];

	for (int i = 0; i < 8; i++)
		group[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
	for (int i = 0; i < 8; i++) {
		int len = 0;

		while (i + len < 8 && group[i + len] == 0)
			len++;
		if (len > run_len) {
			run = i;
			run_len = len;
		}
		if (len > 0)
			i += len - 1;
	}
	for (int i = 0; i < 8; i++) {
		if (i == run) {
			at = addr_put(out, at, "::");
			i += run_len - 1;
			continue;
		}
		if (i > 0 && out[at - 1] != ':')
			at = addr_put(out, at, ":");
		snprintf(part, sizeof(part), "%x", group[i]);
		at = addr_put(out, at, part);
	}
	return at;
}

static size_t
addr_put_host(char *out, size_t at, const struct addr *a)
{
	char part[32];

	switch (a->host) {
	case ADDR_NONE:
		break;
	case ADDR_NAME:
		at = addr_put(out, at, a->name);
		break;
	case ADDR_IP4:
		snprintf(part, sizeof(part), "%u.%u.%u.%u", a->ip[0], a->ip[1],
		    a->ip[2], a->ip[3]);
		at = addr_put(out, at, part);
		break;
	case ADDR_IP6:
		/* Never let the brackets meet the group separator test. */
		at = addr_put(out, at, "[");
		at = addr_put_ip6(out, at, a->ip);
		if (a->zone[0] != '\0') {
			/* As URLs want it only where it matters: "%2525x". */
			at = addr_put(out, at,
			    strncmp(a->zone, "25", 2) == 0 ? "%25" : "%");
			at = addr_put(out, at, a->zone);
		}
		at = addr_put(out, at, "]");
		break;
	}
	snprintf(part, sizeof(part), ":%u", a->port);
	return addr_put(out, at, part);
}

void
addr_text_host(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	out[0] = '\0';
	addr_put_host(out, 0, a);
}

void
addr_text(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	char id[DEVID_TEXT_LEN + 1];
	size_t at = 0;

	out[0] = '\0';
	if (a->scheme == ADDR_DYNAMIC) {
		addr_put(out, 0, "dynamic");
		return;
	}
	for (size_t i = 0; i < ADDR_SCHEMES; i++)
		if (addr_schemes[i].scheme == a->scheme &&
		    addr_schemes[i].family == a->family) {
			at = addr_put(out, at, addr_schemes[i].text);
			break;
		}
	at = addr_put(out, at, "://");
	at = addr_put_host(out, at, a);
	if (a->scheme == ADDR_RELAY && !devid_is_none(&a->relay)) {
		at = addr_put(out, at, "/?id=");
		devid_text(&a->relay, id);
		addr_put(out, at, id);
	}
}

const char *
addr_scheme_text(enum addr_scheme scheme)
{
	switch (scheme) {
	case ADDR_TCP:
		return "tcp";
	case ADDR_QUIC:
		return "quic";
	case ADDR_RELAY:
		return "relay";
	case ADDR_DYNAMIC:
		break;
	}
	return "dynamic";
}

bool
addr_equal(const struct addr *a, const struct addr *b)
{
	const size_t ip_len = a->host == ADDR_IP4 ? 4 : 16;

	if (a->scheme != b->scheme || a->family != b->family ||
	    a->host != b->host || a->port != b->port ||
	    !devid_equal(&a->relay, &b->relay) ||
	    strcmp(a->token, b->token) != 0)
		return false;
	switch (a->host) {
	case ADDR_NONE:
		return true;
	case ADDR_NAME:
		return strcmp(a->name, b->name) == 0;
	case ADDR_IP4:
	case ADDR_IP6:
		return memcmp(a->ip, b->ip, ip_len) == 0 &&
		       strcmp(a->zone, b->zone) == 0;
	}
	return false;
}

/* An IPv4 address, also when it is written as ::ffff:a.b.c.d. */
static const uint8_t *
addr_ip4(const struct addr *a)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff,
		0xff };

	if (a->host == ADDR_IP4)
		return a->ip;
	if (a->host == ADDR_IP6 && memcmp(a->ip, mapped, 12) == 0)
		return a->ip + 12;
	return NULL;
}

bool
addr_is_unspecified(const struct addr *a)
{
	static const uint8_t zero[16];
	const uint8_t *ip4 = addr_ip4(a);

	if (a->host == ADDR_NONE)
		return true;
	if (ip4 != NULL)
		return memcmp(ip4, zero, 4) == 0;
	return a->host == ADDR_IP6 && memcmp(a->ip, zero, 16) == 0;
}

bool
addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };
	const uint8_t *ip4 = addr_ip4(a);

	if (a->host == ADDR_NAME)
		return strcmp(a->name, "localhost") == 0;
	if (ip4 != NULL)
		return ip4[0] == 127;
	return a->host == ADDR_IP6 && memcmp(a->ip, one, 16) == 0;
}

bool
addr_is_multicast(const struct addr *a)
{
	const uint8_t *ip4 = addr_ip4(a);

	if (ip4 != NULL)
		return ip4[0] >= 224;
	return a->host == ADDR_IP6 && a->ip[0] == 0xff;
}

bool
addr_is_link_local(const struct addr *a)
{
	const uint8_t *ip4 = addr_ip4(a);

	if (ip4 != NULL)
		return ip4[0] == 169 && ip4[1] == 254;
	return a->host == ADDR_IP6 && a->ip[0] == 0xfe &&
	       (a->ip[1] & 0xc0) == 0x80;
}

bool
addr_is_lan(const struct addr *a)
{
	const uint8_t *ip4 = addr_ip4(a);

	if (addr_is_loopback(a) || addr_is_link_local(a))
		return true;
	if (ip4 != NULL)
		return ip4[0] == 10 || (ip4[0] == 192 && ip4[1] == 168) ||
		       (ip4[0] == 172 && (ip4[1] & 0xf0) == 16);
	return a->host == ADDR_IP6 && (a->ip[0] & 0xfe) == 0xfc;
}

bool
addr_same_source(const struct addr *a, const struct addr *b)
{
	const size_t len = a->host == ADDR_IP4 ? 4 : 8;

	return a->host == b->host && memcmp(a->ip, b->ip, len) == 0;
}

unsigned
addr_rank(const struct addr *a)
{
	if (a->scheme == ADDR_RELAY || a->scheme == ADDR_DYNAMIC)
		return 50;
	return (a->scheme == ADDR_TCP ? 10u : 20u) +
	       (addr_is_lan(a) ? 0u : 20u);
}

bool
addr_is_relayed(const struct addr *a)
{
	return a->scheme == ADDR_RELAY;
}

bool
addr_is_dialable(const struct addr *a)
{
	return a->scheme != ADDR_DYNAMIC && !addr_is_unspecified(a) &&
	       !addr_is_multicast(a) && a->port != 0;
}

void
addr_set_host(struct addr *a, const struct addr *ip)
{
	a->host = ip->host;
	memcpy(a->ip, ip->ip, sizeof(a->ip));
	memcpy(a->zone, ip->zone, sizeof(a->zone));
	memcpy(a->name, ip->name, sizeof(a->name));
}
