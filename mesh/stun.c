/*
 * STUN's bytes; see stun.h.
 */
#include "mesh/stun.h"

#include <string.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"

#define STUN_COOKIE UINT32_C(0x2112a442)
#define STUN_FINGERPRINT_XOR UINT32_C(0x5354554e)
#define STUN_RTO_NS (500 * CLOCK_MS)
#define STUN_LAST_NS (2 * CLOCK_S) /* waited after the last question */

enum stun_attribute {
	STUN_MAPPED = 0x0001,
	STUN_USERNAME = 0x0006,
	STUN_INTEGRITY = 0x0008,
	STUN_ERROR_CODE = 0x0009,
	STUN_UNKNOWN = 0x000a,
	STUN_REALM = 0x0014,
	STUN_NONCE = 0x0015,
	STUN_INTEGRITY_SHA256 = 0x001c,
	STUN_PASSWORD_ALGORITHM = 0x001d,
	STUN_USERHASH = 0x001e,
	STUN_XOR_MAPPED = 0x0020,
	STUN_RESPONSE_PORT = 0x0027,
	STUN_SOFTWARE = 0x8022,
	STUN_FINGERPRINT = 0x8028,
	STUN_RESPONSE_ORIGIN = 0x802b,
	STUN_OTHER_ADDRESS = 0x802c,
};

#define STUN_OPTIONAL 0x8000u /* and above: need not be understood */

/* ITU V.42, as in gzip; a message has a hundred bytes. */
static uint32_t
stun_crc(struct slice s)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < s.len; i++) {
		crc ^= s.ptr[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^
			      ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
	}
	return ~crc;
}

int
stun_parse_server(struct addr *out, struct slice text, struct err *err)
{
	struct buf url = { 0 };
	struct slice host;
	int rc;

	if (slice_has_prefix(text, SLICE_LIT("stun://")))
		host = slice_from(text, 7);
	else if (slice_has_prefix(text, SLICE_LIT("stun:")))
		host = slice_from(text, 5);
	else
		return err_set(err, ERR_INVALID,
		    "a STUN server is written stun://HOST:PORT");
	buf_printf(&url, "quic://");
	buf_put(&url, host);
	/* The last colon is a port's, but for one within brackets. */
	if (slice_find(host, ':') == SIZE_MAX ||
	    (host.len > 0 && host.ptr[host.len - 1] == ']'))
		buf_printf(&url, ":%u", STUN_PORT);
	rc = addr_parse(out, buf_slice(&url), err);
	if (rc == 0 && (out->host == ADDR_NONE || out->port == 0))
		rc = err_set(err, ERR_INVALID,
		    "a STUN server is written stun://HOST:PORT");
	buf_fini(&url);
	return rc;
}

bool
stun_is(struct slice datagram)
{
	static const uint8_t cookie[] = { 0x21, 0x12, 0xa4, 0x42 };

	return datagram.len >= STUN_HEADER_LEN &&
	       (datagram.ptr[0] & 0xc0) == 0 &&
	       memcmp(datagram.ptr + 4, cookie, sizeof(cookie)) == 0;
}

/* --- encoding --------------------------------------------------------- */

/* What an address is hidden behind, so that routers do not rewrite it. */
static void
stun_mask(const struct stun_id *id, uint8_t out[16])
{
	out[0] = 0x21;
	out[1] = 0x12;
	out[2] = 0xa4;
	out[3] = 0x42;
	memcpy(out + 4, id->b, STUN_ID_LEN);
}

static void
stun_put_address(struct buf *out, uint16_t type, const struct addr *a,
    const struct stun_id *id)
{
	const size_t len = a->host == ADDR_IP6 ? 16 : 4;
	uint8_t mask[16] = { 0 };

	if (type == STUN_XOR_MAPPED)
		stun_mask(id, mask);
	buf_put_u16be(out, type);
	buf_put_u16be(out, (uint16_t)(4 + len));
	buf_put_u8(out, 0);
	buf_put_u8(out, a->host == ADDR_IP6 ? 2 : 1);
	buf_put_u16be(out, a->port ^ (uint16_t)(mask[0] << 8 | mask[1]));
	for (size_t i = 0; i < len; i++)
		buf_put_u8(out, a->ip[i] ^ mask[i]);
}

static void
stun_pad(struct buf *out)
{
	while (out->len % 4 != 0)
		buf_put_u8(out, 0);
}

static void
stun_put_text(struct buf *out, uint16_t type, const char *text)
{
	const struct slice s = slice_str(text);

	buf_put_u16be(out, type);
	buf_put_u16be(out, (uint16_t)s.len);
	buf_put(out, s);
	stun_pad(out);
}

static void
stun_put_error(struct buf *out, const struct stun_message *m)
{
	const struct slice text = slice_str(m->text);

	buf_put_u16be(out, STUN_ERROR_CODE);
	buf_put_u16be(out, (uint16_t)(4 + text.len));
	buf_put_u16be(out, 0);
	buf_put_u8(out, (uint8_t)(m->code / 100));
	buf_put_u8(out, (uint8_t)(m->code % 100));
	buf_put(out, text);
	stun_pad(out);
	if (m->unknown_count == 0)
		return;
	buf_put_u16be(out, STUN_UNKNOWN);
	buf_put_u16be(out, (uint16_t)(2 * m->unknown_count));
	for (size_t i = 0; i < m->unknown_count; i++)
		buf_put_u16be(out, m->unknown[i]);
	stun_pad(out);
}

/* RFC 8489, 5: the class lies between the bits of the method. */
static uint16_t
stun_type(const struct stun_message *m)
{
	const unsigned method = m->method, class = m->class;

	return (uint16_t)((method & 0x0f80) << 2 | (method & 0x0070) << 1 |
			  (method & 0x000f) | (class & 2) << 7 |
			  (class & 1) << 4);
}

static void
stun_put_attributes(struct buf *out, const struct stun_message *m)
{
	if (m->software[0] != '\0')
		stun_put_text(out, STUN_SOFTWARE, m->software);
	if (m->class == STUN_ERROR)
		stun_put_error(out, m);
	if (m->has_mapped)
		stun_put_address(out, STUN_XOR_MAPPED, &m->mapped, &m->id);
	if (m->has_origin)
		stun_put_address(out, STUN_RESPONSE_ORIGIN, &m->origin, NULL);
	if (m->has_other)
		stun_put_address(out, STUN_OTHER_ADDRESS, &m->other, NULL);
	if (m->response_port != 0) {
		buf_put_u16be(out, STUN_RESPONSE_PORT);
		buf_put_u16be(out, 4);
		buf_put_u16be(out, m->response_port);
		buf_put_u16be(out, 0);
	}
}

void
stun_encode(const struct stun_message *m, struct buf *out)
{
	struct buf body = { 0 };
	size_t start = out->len;

	stun_put_attributes(&body, m);
	buf_put_u16be(out, stun_type(m));
	buf_put_u16be(out, (uint16_t)(body.len + 8));
	buf_put_u32be(out, STUN_COOKIE);
	buf_put(out, slice_of(m->id.b, STUN_ID_LEN));
	buf_put(out, buf_slice(&body));
	buf_fini(&body);
	ASSERT(out->len - start <= STUN_MESSAGE_MAX - 8);
	buf_put_u16be(out, STUN_FINGERPRINT);
	buf_put_u16be(out, 4);
	buf_put_u32be(out,
	    stun_crc(slice_of(out->ptr + start, out->len - start - 4)) ^
		STUN_FINGERPRINT_XOR);
}

/* --- decoding --------------------------------------------------------- */

static int
stun_take_address(struct slice value, bool xored, const struct stun_id *id,
    struct addr *out, struct err *err)
{
	uint8_t mask[16] = { 0 };
	struct reader r;
	struct slice ip;

	reader_init(&r, value);
	(void)reader_u8(&r);
	*out = (struct addr){ .scheme = ADDR_QUIC };
	switch (reader_u8(&r)) {
	case 1:
		out->host = ADDR_IP4;
		break;
	case 2:
		out->host = ADDR_IP6;
		break;
	default:
		return err_set(err, ERR_PROTOCOL, "stun: address of no kind");
	}
	if (xored)
		stun_mask(id, mask);
	out->port = reader_u16be(&r) ^ (uint16_t)(mask[0] << 8 | mask[1]);
	ip = reader_bytes(&r, out->host == ADDR_IP6 ? 16 : 4);
	if (!reader_done(&r))
		return err_set(err, ERR_PROTOCOL, "stun: length of an address");
	for (size_t i = 0; i < ip.len; i++)
		out->ip[i] = ip.ptr[i] ^ mask[i];
	return 0;
}

/* Printable, and whole characters or none. */
static void
stun_take_text(struct slice value, char out[STUN_TEXT_MAX + 1])
{
	size_t len = 0;

	/* Said twice, nothing of the first may shine through. */
	memset(out, 0, STUN_TEXT_MAX + 1);
	if (!slice_is_utf8(value))
		value = SLICE_LIT("?");
	for (size_t i = 0; i < value.len && len < STUN_TEXT_MAX; i++)
		out[len++] = value.ptr[i] < ' ' || value.ptr[i] == 0x7f
				 ? '?'
				 : (char)value.ptr[i];
	if (len < value.len)
		while (len > 0 && (value.ptr[len] & 0xc0) == 0x80)
			len--;
	out[len] = '\0';
}

static int
stun_take_error(struct stun_message *m, struct slice value, struct err *err)
{
	struct reader r;
	unsigned class, number;

	reader_init(&r, value);
	(void)reader_u16be(&r);
	class = reader_u8(&r) & 7u;
	number = reader_u8(&r);
	if (!reader_ok(&r) || class < 3 || class > 6 || number > 99)
		return err_set(err, ERR_PROTOCOL, "stun: error without a code");
	m->code = (uint16_t)(class * 100 + number);
	stun_take_text(slice_from(value, 4), m->text);
	return 0;
}

static void
stun_add_unknown(struct stun_message *m, uint16_t type)
{
	if (m->unknown_count < STUN_UNKNOWN_MAX)
		m->unknown[m->unknown_count++] = type;
}

static void
stun_take_unknown(struct stun_message *m, struct slice value)
{
	struct reader r;

	reader_init(&r, value);
	m->unknown_count = 0;
	while (r.len >= 2)
		stun_add_unknown(m, reader_u16be(&r));
}

/* What the attributes before it left open. */
struct stun_reading {
	bool mapped, integrity, error, listed;
};

static int
stun_take(struct stun_message *m, struct stun_reading *seen, uint16_t type,
    struct slice value, struct err *err)
{
	int rc = 0;

	switch (type) {
	case STUN_XOR_MAPPED:
		rc = stun_take_address(value, true, &m->id, &m->mapped, err);
		m->has_mapped = seen->mapped = true;
		return rc;
	case STUN_MAPPED:
		if (!seen->mapped)
			rc = stun_take_address(value, false, NULL, &m->mapped,
			    err);
		m->has_mapped = true;
		return rc;
	case STUN_OTHER_ADDRESS:
		m->has_other = true;
		return stun_take_address(value, false, NULL, &m->other, err);
	case STUN_RESPONSE_ORIGIN:
		m->has_origin = true;
		return stun_take_address(value, false, NULL, &m->origin, err);
	case STUN_SOFTWARE:
		stun_take_text(value, m->software);
		return 0;
	case STUN_ERROR_CODE:
		seen->error = true;
		return stun_take_error(m, value, err);
	case STUN_UNKNOWN:
		seen->listed = true;
		stun_take_unknown(m, value);
		return 0;
	case STUN_RESPONSE_PORT:
		if (value.len != 4)
			return err_set(err, ERR_PROTOCOL,
			    "stun: length of a port");
		m->response_port = (uint16_t)(value.ptr[0] << 8 | value.ptr[1]);
		return 0;
	case STUN_INTEGRITY:
	case STUN_INTEGRITY_SHA256:
		seen->integrity = true;
		return 0;
	case STUN_USERNAME:
	case STUN_REALM:
	case STUN_NONCE:
	case STUN_PASSWORD_ALGORITHM:
	case STUN_USERHASH:
		return 0; /* nobody's: we ask for no credentials */
	default:
		if (type < STUN_OPTIONAL && !seen->listed)
			stun_add_unknown(m, type);
		return 0;
	}
}

static int
stun_check_fingerprint(struct slice before, struct slice value, size_t left,
    struct err *err)
{
	struct reader r;

	reader_init(&r, value);
	if ((reader_u32be(&r) ^ STUN_FINGERPRINT_XOR) != stun_crc(before) ||
	    !reader_done(&r))
		return err_set(err, ERR_PROTOCOL, "stun: wrong fingerprint");
	if (left != 0)
		return err_set(err, ERR_PROTOCOL,
		    "stun: more after the fingerprint");
	return 0;
}

static int
stun_take_all(struct stun_message *m, struct slice datagram,
    struct stun_reading *seen, struct err *err)
{
	struct reader r;
	int rc = 0;

	reader_init(&r, slice_from(datagram, STUN_HEADER_LEN));
	while (rc == 0 && r.len > 0) {
		const size_t at = datagram.len - r.len;
		const uint16_t type = reader_u16be(&r);
		const uint16_t len = reader_u16be(&r);
		const struct slice value = reader_bytes(&r, len);

		(void)reader_bytes(&r, (4u - len % 4u) % 4u);
		if (!reader_ok(&r))
			return err_set(err, ERR_PROTOCOL,
			    "stun: attribute past the end");
		if (type == STUN_FINGERPRINT) {
			rc = stun_check_fingerprint(slice_to(datagram, at),
			    value, r.len, err);
			m->has_fingerprint = true;
		} else if (!seen->integrity) {
			/* What follows the proof is not covered by it. */
			rc = stun_take(m, seen, type, value, err);
		}
	}
	return rc;
}

int
stun_decode(struct stun_message *out, struct slice datagram, struct err *err)
{
	struct stun_reading seen = { 0 };
	struct reader r;
	unsigned type;
	int rc;

	memset(out, 0, sizeof(*out));
	if (!stun_is(datagram) || datagram.len > STUN_MESSAGE_MAX)
		return err_set(err, ERR_PROTOCOL, "stun: it is none");
	reader_init(&r, datagram);
	type = reader_u16be(&r);
	out->method = (uint16_t)((type & 0x3e00) >> 2 | (type & 0x00e0) >> 1 |
				 (type & 0x000f));
	out->class =
	    (enum stun_class)((type & 0x0100) >> 7 | (type & 0x0010) >> 4);
	if (reader_u16be(&r) != datagram.len - STUN_HEADER_LEN ||
	    datagram.len % 4 != 0)
		return err_set(err, ERR_PROTOCOL, "stun: wrong length");
	(void)reader_u32be(&r);
	memcpy(out->id.b, reader_bytes(&r, STUN_ID_LEN).ptr, STUN_ID_LEN);
	rc = stun_take_all(out, datagram, &seen, err);
	if (rc == 0 && out->class == STUN_ERROR && !seen.error)
		rc = err_set(err, ERR_PROTOCOL, "stun: error without a code");
	return rc;
}

/* --- serving ---------------------------------------------------------- */

bool
stun_answer(struct slice datagram, const struct addr *from, struct buf *out,
    uint16_t *port)
{
	struct stun_message in, answer = { .class = STUN_SUCCESS };

	*port = 0;
	if (stun_decode(&in, datagram, NULL) < 0 || in.class != STUN_REQUEST ||
	    in.method != STUN_BINDING)
		return false;
	answer.method = STUN_BINDING;
	answer.id = in.id;
	if (in.unknown_count > 0) {
		answer.class = STUN_ERROR;
		answer.code = 420;
		memcpy(answer.text, "Unknown Attribute", 18);
		memcpy(answer.unknown, in.unknown, sizeof(in.unknown));
		answer.unknown_count = in.unknown_count;
	} else {
		answer.has_mapped = true;
		answer.mapped = *from;
		*port = in.response_port;
	}
	stun_encode(&answer, out);
	return true;
}

uint64_t
stun_retry_ns(unsigned n)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < n && i < STUN_TRIES - 1; i++)
		at += STUN_RTO_NS << i;
	return n < STUN_TRIES ? at : at + STUN_LAST_NS;
}
