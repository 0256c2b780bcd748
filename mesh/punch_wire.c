/*
 * The bytes of signals and probes; see punch.h, docs/protocol.md.
 */
#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/digest.h"
#include "mesh/punch.h"
#include "mesh/sign.h"

#define PUNCH_VERSION 1u
#define PUNCH_SIGNAL_MARK 'P'
#define PUNCH_MAC_LEN 16u
#define PUNCH_NO_UDP 0x01u /* flag of a side */

/* --- probes ----------------------------------------------------------- */

/* "HFp1"; the first bit is none of QUIC's long headers, nor of STUN's. */
static const uint8_t punch_magic[4] = { 'H', 'F', 'p', '1' };

bool
punch_is_probe(struct slice datagram)
{
	return datagram.len == PUNCH_PROBE_LEN &&
	       memcmp(datagram.ptr, punch_magic, sizeof(punch_magic)) == 0;
}

/* Tells attempts apart without computing a MAC for each. */
static void
punch_put_label(const struct punch_cookie *cookie, uint8_t out[4])
{
	struct digest d;

	digest_of(slice_of(cookie->b, sizeof(cookie->b)), &d);
	memcpy(out, d.b, 4);
}

void
punch_probe_encode(const struct punch_probe *probe,
    const struct punch_cookie *cookie, uint8_t out[PUNCH_PROBE_LEN])
{
	uint8_t mac[32];

	memcpy(out, punch_magic, sizeof(punch_magic));
	punch_put_label(cookie, out + 4);
	out[8] = probe->reply ? 2 : 1;
	out[9] = (uint8_t)probe->role;
	out[10] = (uint8_t)(probe->number >> 8);
	out[11] = (uint8_t)probe->number;
	sign_mac(slice_of(cookie->b, sizeof(cookie->b)), slice_of(out, 12),
	    mac);
	memcpy(out + 12, mac, PUNCH_MAC_LEN);
}

bool
punch_probe_decode(struct punch_probe *out, struct slice datagram,
    const struct punch_cookie *cookie)
{
	uint8_t label[4], mac[32], differ = 0;

	if (!punch_is_probe(datagram))
		return false;
	punch_put_label(cookie, label);
	if (memcmp(datagram.ptr + 4, label, sizeof(label)) != 0)
		return false;
	sign_mac(slice_of(cookie->b, sizeof(cookie->b)), slice_to(datagram, 12),
	    mac);
	/* How far it is right is not to be learnt from how long it takes. */
	for (size_t i = 0; i < PUNCH_MAC_LEN; i++)
		differ |= mac[i] ^ datagram.ptr[12 + i];
	if (differ != 0 || datagram.ptr[8] < 1 || datagram.ptr[8] > 2 ||
	    datagram.ptr[9] < PUNCH_CALLER || datagram.ptr[9] > PUNCH_CALLED)
		return false;
	out->reply = datagram.ptr[8] == 2;
	out->role = (enum punch_role)datagram.ptr[9];
	out->number = (uint16_t)(datagram.ptr[10] << 8 | datagram.ptr[11]);
	return true;
}

/* --- signals ---------------------------------------------------------- */

static void
punch_put_candidate(struct buf *out, const struct punch_candidate *c)
{
	const bool v6 = c->addr.host == ADDR_IP6;

	ASSERT(v6 || c->addr.host == ADDR_IP4);
	buf_put_u8(out, (uint8_t)((unsigned)c->kind << 4 | (v6 ? 6u : 4u)));
	buf_put_u16be(out, c->addr.port);
	buf_put(out, slice_of(c->addr.ip, v6 ? 16 : 4));
}

void
punch_signal_encode(const struct punch_signal *s, struct buf *out)
{
	buf_put_u8(out, PUNCH_SIGNAL_MARK);
	buf_put_u8(out, PUNCH_VERSION);
	buf_put_u8(out, (uint8_t)s->word);
	buf_put(out, slice_of(s->cookie.b, sizeof(s->cookie.b)));
	if (s->word == PUNCH_REFUSE)
		return;
	ASSERT(s->side.count <= PUNCH_CANDIDATES);
	buf_put_u8(out, (uint8_t)s->side.mapping);
	buf_put_u8(out, s->side.no_udp ? PUNCH_NO_UDP : 0);
	buf_put_u8(out, (uint8_t)s->side.count);
	for (size_t i = 0; i < s->side.count; i++)
		punch_put_candidate(out, &s->side.candidate[i]);
}

/* Nobody is sent to a place that cannot be another device. */
static bool
punch_is_place(const struct addr *a)
{
	return addr_is_dialable(a) && !addr_is_loopback(a) &&
	       !addr_is_link_local(a);
}

static int
punch_take_candidate(struct reader *r, struct punch_side *side, struct err *err)
{
	const unsigned head = reader_u8(r);
	struct punch_candidate c = { .kind = (enum punch_kind)(head >> 4),
		.addr = { .scheme = ADDR_QUIC } };
	struct slice ip;

	if ((head & 15) != 4 && (head & 15) != 6)
		return err_set(err, ERR_PROTOCOL, "signal: kind of address");
	c.addr.host = (head & 15) == 6 ? ADDR_IP6 : ADDR_IP4;
	c.addr.port = reader_u16be(r);
	ip = reader_bytes(r, c.addr.host == ADDR_IP6 ? 16 : 4);
	if (!reader_ok(r))
		return err_set(err, ERR_PROTOCOL, "signal: cut off");
	memcpy(c.addr.ip, ip.ptr, ip.len);
	if (punch_is_place(&c.addr) && c.kind >= PUNCH_HOST &&
	    c.kind <= PUNCH_PORTMAP)
		side->candidate[side->count++] = c;
	return 0;
}

static int
punch_take_side(struct reader *r, struct punch_side *side, struct err *err)
{
	const unsigned mapping = reader_u8(r);
	const unsigned flags = reader_u8(r);
	const unsigned count = reader_u8(r);
	int rc = 0;

	if (!reader_ok(r) || count > PUNCH_CANDIDATES)
		return err_set(err, ERR_PROTOCOL, "signal: candidates");
	/* A kind that came later than we: nothing is known of it. */
	side->mapping = mapping <= NATCHECK_BY_PORT
			    ? (enum natcheck_mapping)mapping
			    : NATCHECK_UNKNOWN;
	side->no_udp = (flags & PUNCH_NO_UDP) != 0;
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = punch_take_candidate(r, side, err);
	return rc;
}

int
punch_signal_decode(struct punch_signal *out, struct slice body,
    struct err *err)
{
	struct slice cookie;
	struct reader r;
	unsigned word;

	memset(out, 0, sizeof(*out));
	reader_init(&r, body);
	if (body.len > PUNCH_SIGNAL_MAX || reader_u8(&r) != PUNCH_SIGNAL_MARK ||
	    reader_u8(&r) != PUNCH_VERSION)
		return err_set(err, ERR_PROTOCOL, "signal: it is none");
	word = reader_u8(&r);
	cookie = reader_bytes(&r, PUNCH_COOKIE_LEN);
	if (!reader_ok(&r) || word < PUNCH_CALL || word > PUNCH_REFUSE)
		return err_set(err, ERR_PROTOCOL, "signal: no such word");
	out->word = (enum punch_word)word;
	memcpy(out->cookie.b, cookie.ptr, PUNCH_COOKIE_LEN);
	if (out->word == PUNCH_REFUSE)
		return 0;
	/* What follows the candidates is for those who know it. */
	return punch_take_side(&r, &out->side, err);
}
