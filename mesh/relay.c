/*
 * The relay protocol's bytes; see relay.h.
 */
#include "mesh/relay.h"

#include <stdio.h>
#include <string.h>

#define RELAY_MAGIC UINT32_C(0x9E79BC40)

/* --- out -------------------------------------------------------------- */

/* XDR: length, bytes, zeros up to a multiple of four. */
static void
relay_put(struct buf *out, const void *ptr, size_t len)
{
	static const uint8_t zero[4];

	buf_put_u32be(out, (uint32_t)len);
	buf_put(out, slice_of(ptr, len));
	buf_put(out, slice_of(zero, (4 - len % 4) % 4));
}

static void
relay_put_payload(const struct relay_message *m, struct buf *out)
{
	switch (m->type) {
	case RELAY_PING:
	case RELAY_PONG:
	case RELAY_FULL:
		return;
	case RELAY_JOIN:
		/* Nothing at all is what those before 1.22 send. */
		if (m->u.token[0] != '\0')
			relay_put(out, m->u.token, strlen(m->u.token));
		return;
	case RELAY_SESSION:
		relay_put(out, m->u.key.b, m->u.key.len);
		return;
	case RELAY_RESPONSE:
		buf_put_u32be(out, (uint32_t)m->u.response.code);
		relay_put(out, m->u.response.text, strlen(m->u.response.text));
		return;
	case RELAY_CONNECT:
		relay_put(out, m->u.device.b, DEVID_LEN);
		return;
	case RELAY_INVITATION:
		relay_put(out, m->u.invitation.from.b, DEVID_LEN);
		relay_put(out, m->u.invitation.key.b, m->u.invitation.key.len);
		relay_put(out, m->u.invitation.ip, m->u.invitation.ip_len);
		buf_put_u32be(out, m->u.invitation.port);
		buf_put_u32be(out, m->u.invitation.server ? 1 : 0);
		return;
	}
}

void
relay_encode(const struct relay_message *m, struct buf *out)
{
	struct buf payload = { 0 };

	relay_put_payload(m, &payload);
	buf_put_u32be(out, RELAY_MAGIC);
	buf_put_u32be(out, (uint32_t)m->type);
	buf_put_u32be(out, (uint32_t)payload.len);
	buf_put(out, buf_slice(&payload));
	buf_fini(&payload);
}

/* --- in --------------------------------------------------------------- */

/* XDR bytes, at most `max`; longer ones fail. */
static struct slice
relay_take(struct reader *r, size_t max)
{
	const uint32_t len = reader_u32be(r);
	struct slice s;

	if (len > max) {
		r->failed = true;
		return SLICE_EMPTY;
	}
	s = reader_bytes(r, len);
	reader_bytes(r, (4 - len % 4) % 4);
	return r->failed ? SLICE_EMPTY : s;
}

static void
relay_take_devid(struct reader *r, struct devid *out)
{
	const struct slice s = relay_take(r, DEVID_LEN);

	if (r->failed || devid_from_bytes(out, s, NULL) < 0)
		r->failed = true;
}

static void
relay_take_key(struct reader *r, struct relay_key *out)
{
	const struct slice s = relay_take(r, RELAY_KEY_MAX);

	if (r->failed || s.len == 0) {
		r->failed = true;
		return;
	}
	memcpy(out->b, s.ptr, s.len);
	out->len = (uint32_t)s.len;
}

/* Text for people and logs: what does not print becomes '?'. */
static void
relay_take_text(struct reader *r, char *out, size_t max)
{
	const struct slice s = relay_take(r, RELAY_PAYLOAD_MAX);
	size_t n = 0;

	for (; n < s.len && n < max; n++)
		out[n] =
		    s.ptr[n] < ' ' || s.ptr[n] > '~' ? '?' : (char)s.ptr[n];
	out[n] = '\0';
}

static void
relay_take_token(struct reader *r, char out[RELAY_TOKEN_MAX + 1])
{
	struct slice s;

	out[0] = '\0';
	if (r->len == 0)
		return;
	s = relay_take(r, RELAY_TOKEN_MAX);
	if (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL)
		r->failed = true;
	if (r->failed || s.len == 0)
		return;
	memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
}

static void
relay_take_invitation(struct reader *r, struct relay_message *out)
{
	struct slice ip;

	relay_take_devid(r, &out->u.invitation.from);
	relay_take_key(r, &out->u.invitation.key);
	ip = relay_take(r, sizeof(out->u.invitation.ip));
	if (ip.len != 0 && ip.len != 4 && ip.len != 16)
		r->failed = true;
	if (!r->failed && ip.len > 0)
		memcpy(out->u.invitation.ip, ip.ptr, ip.len);
	out->u.invitation.ip_len = (uint32_t)ip.len;
	out->u.invitation.port = (uint16_t)reader_u32be(r);
	out->u.invitation.server = reader_u32be(r) != 0;
}

static void
relay_take_payload(struct reader *r, struct relay_message *out)
{
	switch (out->type) {
	case RELAY_PING:
	case RELAY_PONG:
	case RELAY_FULL:
		return;
	case RELAY_JOIN:
		relay_take_token(r, out->u.token);
		return;
	case RELAY_SESSION:
		relay_take_key(r, &out->u.key);
		return;
	case RELAY_RESPONSE:
		out->u.response.code = (int32_t)reader_u32be(r);
		relay_take_text(r, out->u.response.text, RELAY_TEXT_MAX);
		return;
	case RELAY_CONNECT:
		relay_take_devid(r, &out->u.device);
		return;
	case RELAY_INVITATION:
		relay_take_invitation(r, out);
		return;
	}
}

/* 1 and the payload's length; 0: not there yet; -1: not a header. */
static int
relay_header(struct slice in, uint32_t *type, uint32_t *len)
{
	struct reader r;
	uint32_t magic;

	if (in.len < RELAY_HEADER_LEN)
		return 0;
	reader_init(&r, in);
	magic = reader_u32be(&r);
	*type = reader_u32be(&r);
	*len = reader_u32be(&r);
	return magic == RELAY_MAGIC && *type <= RELAY_FULL &&
		       *len <= RELAY_PAYLOAD_MAX
		   ? 1
		   : -1;
}

int
relay_decode(struct relay_message *out, struct slice in, size_t *used,
    struct err *err)
{
	uint32_t type = 0, len = 0;
	struct reader r;
	int rc = relay_header(in, &type, &len);

	*used = 0;
	memset(out, 0, sizeof(*out));
	if (rc < 0)
		return err_set(err, ERR_PROTOCOL,
		    "that is not the relay protocol");
	if (rc == 0 || in.len - RELAY_HEADER_LEN < len)
		return 0;
	out->type = (enum relay_type)type;
	reader_init(&r, slice_of(in.ptr + RELAY_HEADER_LEN, len));
	relay_take_payload(&r, out);
	/* Later versions may append: what is left is not ours to judge. */
	if (!reader_ok(&r))
		return err_set(err, ERR_PROTOCOL,
		    "relay protocol: message %u is damaged", type);
	*used = RELAY_HEADER_LEN + len;
	return 1;
}

size_t
relay_wants(struct slice in)
{
	uint32_t type = 0, len = 0;
	const int rc = relay_header(in, &type, &len);

	if (rc == 0)
		return RELAY_HEADER_LEN - in.len;
	if (rc < 0 || in.len >= RELAY_HEADER_LEN + len)
		return 0;
	return RELAY_HEADER_LEN + len - in.len;
}

const char *
relay_code_text(int32_t code)
{
	switch (code) {
	case RELAY_OK:
		return "success";
	case RELAY_NOT_FOUND:
		return "the device is not at this relay";
	case RELAY_ALREADY:
		return "this device is at this relay already";
	case RELAY_WRONG_TOKEN:
		return "the relay wants another token";
	case RELAY_INTERNAL:
		return "the relay failed";
	case RELAY_UNEXPECTED:
		return "the relay did not expect that";
	default:
		return "the relay refused";
	}
}
