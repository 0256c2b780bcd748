/*
 * The bytes between a node and its coordinator; see coord.h.
 *
 * One flat protobuf message for all types: a field's number means the same in
 * each that has it.  A field of another type is skipped like one not known.
 * Repeated fields are counted first, meet their limit, and then get an array.
 */
#include "mesh/coord.h"

#include <string.h>

#include "blockproto/message_pb.h"
#include "engine/base/assert.h"
#include "mesh/mesh.h"

#define COORD_HEADER_LEN 4u

enum coord_field {
	FIELD_TYPE = 1,
	FIELD_VERSION = 2,
	FIELD_DOMAIN = 3,
	FIELD_SEQ = 4,
	FIELD_HEAD = 5,
	FIELD_SEEN = 6,
	FIELD_STUN = 7,
	FIELD_IDLE = 8,
	FIELD_CODE = 9,
	FIELD_OF = 10,
	FIELD_TEXT = 11,
	FIELD_ENTRY = 12,
	FIELD_DEVICE = 13,
	FIELD_ADDRESS = 14,
	FIELD_HERE = 15,
	FIELD_BODY = 16,
	FIELD_BOX = 17,
	FIELD_CLOSE = 18,
	FIELD_STRANGER = 19,
	FIELD_RUN = 20,
};

/* --- a coordinator's address ------------------------------------------ */

/* Is there a port behind the host of "tcp://HOST"? */
static bool
coord_has_port(struct slice text)
{
	const size_t colon = slice_rfind(text, ':');
	const size_t bracket = slice_rfind(text, ']');

	return colon != SIZE_MAX && colon > 5 && text.ptr[colon - 1] != '/' &&
	       (bracket == SIZE_MAX || colon > bracket);
}

int
coord_parse_url(struct coord_url *out, struct slice text, struct err *err)
{
	const size_t mark = slice_find(text, '?');
	struct slice head = mark == SIZE_MAX ? text : slice_to(text, mark);
	struct slice opt = SLICE_EMPTY;
	int rc;

	*out = (struct coord_url){ 0 };
	if (mark != SIZE_MAX)
		opt = slice_from(text, mark + 1);
	if (head.len > 6 && slice_has_suffix(head, SLICE_LIT("/")))
		head.len--;
	rc = addr_parse(&out->at, head, err);
	if (rc < 0)
		return rc;
	if (out->at.scheme != ADDR_TCP || addr_is_unspecified(&out->at))
		return err_set(err, ERR_INVALID,
		    "a coordinator is at tcp://HOST:PORT?id=DEVICE-ID");
	if (!coord_has_port(head))
		out->at.port = COORD_PORT_DEFAULT;
	if (out->at.port == 0)
		return err_set(err, ERR_INVALID, "port 0 is nothing to call");
	out->near = addr_is_loopback(&out->at);
	if (mark == SIZE_MAX)
		return 0;
	if (!slice_has_prefix(opt, SLICE_LIT("id=")))
		return err_set(err, ERR_INVALID,
		    "the only option is id=DEVICE-ID");
	return devid_parse(&out->id, slice_from(opt, 3), err) < 0 ? ERR_INVALID
								  : 0;
}

/* --- out -------------------------------------------------------------- */

static void
coord_put_u64(struct buf *out, enum coord_field field, uint64_t v)
{
	if (v != 0)
		message_pb_put_number(out, field, v);
}

static void
coord_put_addr(struct buf *out, enum coord_field field, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	addr_text(a, text); /* has no token in it */
	message_pb_put_bytes(out, field, slice_str(text));
}

static void
coord_put_hello(const struct coord_message *m, struct buf *out)
{
	coord_put_u64(out, FIELD_VERSION, m->u.hello.version);
	if (!m->u.hello.has_domain)
		return;
	message_pb_put_bytes(out, FIELD_DOMAIN,
	    slice_of(m->u.hello.domain.b, sizeof(m->u.hello.domain.b)));
	coord_put_u64(out, FIELD_SEQ, m->u.hello.seq);
	message_pb_put_bytes(out, FIELD_HEAD,
	    slice_of(m->u.hello.head, sizeof(m->u.hello.head)));
	coord_put_u64(out, FIELD_RUN, m->u.hello.run);
}

static void
coord_put_welcome(const struct coord_message *m, struct buf *out)
{
	coord_put_u64(out, FIELD_VERSION, m->u.welcome.version);
	coord_put_u64(out, FIELD_SEQ, m->u.welcome.seq);
	if (m->u.welcome.seen.host != ADDR_NONE)
		coord_put_addr(out, FIELD_SEEN, &m->u.welcome.seen);
	for (size_t i = 0; i < 2; i++)
		coord_put_u64(out, FIELD_STUN, m->u.welcome.stun_port[i]);
	coord_put_u64(out, FIELD_IDLE, m->u.welcome.idle_s);
}

static void
coord_put_entries(const struct coord_message *m, struct buf *out)
{
	ASSERT(m->u.entries.count <= COORD_ENTRIES_MAX);
	coord_put_u64(out, FIELD_SEQ, m->u.entries.seq);
	for (size_t i = 0; i < m->u.entries.count; i++) {
		ASSERT(m->u.entries.entry[i].len <= COORD_ENTRY_MAX);
		message_pb_put_bytes(out, FIELD_ENTRY, m->u.entries.entry[i]);
	}
}

/* PUBLISH and WHERE. */
static void
coord_put_where(const struct coord_message *m, struct buf *out)
{
	ASSERT(m->u.where.count <= COORD_ADDRESSES_MAX);
	if (m->type == COORD_WHERE)
		message_pb_put_bytes(out, FIELD_DEVICE,
		    slice_of(m->u.where.id.b, DEVID_LEN));
	for (size_t i = 0; i < m->u.where.count; i++)
		coord_put_addr(out, FIELD_ADDRESS, &m->u.where.addr[i]);
	if (m->type == COORD_WHERE)
		coord_put_u64(out, FIELD_HERE, m->u.where.here ? 1 : 0);
}

static void
coord_put_mail(const struct coord_message *m, struct buf *out)
{
	coord_put_u64(out, FIELD_BOX, m->u.mail.box);
	if (m->type == COORD_BOX) {
		coord_put_u64(out, FIELD_CLOSE, m->u.mail.close ? 1 : 0);
		return;
	}
	ASSERT(m->u.mail.body.len <= COORD_SIGNAL_MAX);
	coord_put_u64(out, FIELD_STRANGER, m->u.mail.stranger);
	message_pb_put_bytes(out, FIELD_BODY, m->u.mail.body);
}

static void
coord_put_fields(const struct coord_message *m, struct buf *out)
{
	switch (m->type) {
	case COORD_HELLO:
		coord_put_hello(m, out);
		return;
	case COORD_WELCOME:
		coord_put_welcome(m, out);
		return;
	case COORD_REFUSED:
		coord_put_u64(out, FIELD_CODE, m->u.refused.code);
		coord_put_u64(out, FIELD_OF, m->u.refused.of);
		message_pb_put_bytes(out, FIELD_TEXT,
		    slice_str(m->u.refused.text));
		return;
	case COORD_PING:
	case COORD_PONG:
		return;
	case COORD_ENTRIES:
		coord_put_entries(m, out);
		return;
	case COORD_PUBLISH:
	case COORD_WHERE:
		coord_put_where(m, out);
		return;
	case COORD_WANT:
		ASSERT(m->u.want.count <= COORD_WANT_MAX);
		for (size_t i = 0; i < m->u.want.count; i++)
			message_pb_put_bytes(out, FIELD_DEVICE,
			    slice_of(m->u.want.id[i].b, DEVID_LEN));
		return;
	case COORD_SIGNAL:
		ASSERT(m->u.signal.body.len <= COORD_SIGNAL_MAX);
		message_pb_put_bytes(out, FIELD_DEVICE,
		    slice_of(m->u.signal.peer.b, DEVID_LEN));
		message_pb_put_bytes(out, FIELD_BODY, m->u.signal.body);
		return;
	case COORD_BOX:
	case COORD_MAIL:
		coord_put_mail(m, out);
		return;
	}
}

void
coord_encode(const struct coord_message *m, struct buf *out)
{
	const size_t at = out->len;
	size_t len;

	buf_put_u32be(out, 0);
	coord_put_u64(out, FIELD_TYPE, m->type);
	coord_put_fields(m, out);
	len = out->len - at - COORD_HEADER_LEN;
	ASSERT(len <= COORD_FRAME_MAX);
	for (size_t i = 0; i < COORD_HEADER_LEN; i++)
		out->ptr[at + i] = (uint8_t)(len >> (24 - 8 * i));
}

size_t
coord_entries_fit(const struct slice *entry, size_t count)
{
	size_t n = 0, len = 32; /* type, seq */

	while (n < count && n < COORD_ENTRIES_MAX &&
	       len + entry[n].len + 8 <= COORD_FRAME_MAX)
		len += entry[n++].len + 8;
	return n;
}

/* --- in --------------------------------------------------------------- */

/* What is wrong with one field. */
static int
coord_bad(const struct message_pb_field *f, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "coordinator: field %u is damaged",
	    f->tag);
}

static int
coord_take_u64(const struct message_pb_field *f, uint64_t max, uint64_t *out,
    struct err *err)
{
	if (f->kind != MESSAGE_PB_VARINT || f->value > max)
		return coord_bad(f, err);
	*out = f->value;
	return 0;
}

static int
coord_take_u32(const struct message_pb_field *f, uint32_t *out, struct err *err)
{
	uint64_t v = 0;
	const int rc = coord_take_u64(f, UINT32_MAX, &v, err);

	*out = (uint32_t)v;
	return rc;
}

static int
coord_take_bool(const struct message_pb_field *f, bool *out, struct err *err)
{
	uint64_t v = 0;
	const int rc = coord_take_u64(f, UINT64_MAX, &v, err);

	*out = v != 0;
	return rc;
}

static int
coord_take_bytes(const struct message_pb_field *f, size_t max,
    struct slice *out, struct err *err)
{
	if (f->kind != MESSAGE_PB_BYTES || f->bytes.len > max)
		return coord_bad(f, err);
	*out = f->bytes;
	return 0;
}

static int
coord_take_32(const struct message_pb_field *f, uint8_t out[32],
    struct err *err)
{
	if (f->kind != MESSAGE_PB_BYTES || f->bytes.len != 32)
		return coord_bad(f, err);
	memcpy(out, f->bytes.ptr, 32);
	return 0;
}

static int
coord_take_devid(const struct message_pb_field *f, struct devid *out,
    struct err *err)
{
	if (f->kind != MESSAGE_PB_BYTES)
		return coord_bad(f, err);
	return devid_from_bytes(out, f->bytes, err);
}

/* One that we cannot read is left out: later versions may have other kinds. */
static bool
coord_take_addr(const struct message_pb_field *f, struct addr *out)
{
	return f->kind == MESSAGE_PB_BYTES && f->bytes.len < ADDR_TEXT_MAX &&
	       addr_parse(out, f->bytes, NULL) == 0 &&
	       out->scheme != ADDR_DYNAMIC;
}

/* How often `tag` is there, which must not be more than `max`. */
static int
coord_count(struct slice body, uint32_t tag, size_t max, size_t *out,
    struct err *err)
{
	struct message_pb_field f;
	int rc;

	*out = 0;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag != tag)
			continue;
		if (*out == max)
			return err_set(err, ERR_PROTOCOL,
			    "coordinator: field %u comes more than %zu times",
			    tag, max);
		++*out;
	}
	return rc;
}

static int
coord_take_hello(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	switch (f->tag) {
	case FIELD_VERSION:
		return coord_take_u32(f, &out->u.hello.version, err);
	case FIELD_DOMAIN:
		out->u.hello.has_domain = true;
		return coord_take_32(f, out->u.hello.domain.b, err);
	case FIELD_SEQ:
		return coord_take_u64(f, UINT64_MAX, &out->u.hello.seq, err);
	case FIELD_HEAD:
		return coord_take_32(f, out->u.hello.head, err);
	case FIELD_RUN:
		return coord_take_u64(f, UINT64_MAX, &out->u.hello.run, err);
	default:
		return 0;
	}
}

static int
coord_take_stun(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	uint64_t v = 0;
	const int rc = coord_take_u64(f, UINT16_MAX, &v, err);

	for (size_t i = 0; rc == 0 && v != 0 && i < 2; i++)
		if (out->u.welcome.stun_port[i] == 0) {
			out->u.welcome.stun_port[i] = (uint16_t)v;
			break;
		}
	return rc;
}

static int
coord_take_welcome(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	switch (f->tag) {
	case FIELD_VERSION:
		return coord_take_u32(f, &out->u.welcome.version, err);
	case FIELD_SEQ:
		return coord_take_u64(f, UINT64_MAX, &out->u.welcome.seq, err);
	case FIELD_SEEN:
		if (!coord_take_addr(f, &out->u.welcome.seen))
			out->u.welcome.seen = (struct addr){ 0 };
		return 0;
	case FIELD_STUN:
		return coord_take_stun(f, out, err);
	case FIELD_IDLE:
		return coord_take_u32(f, &out->u.welcome.idle_s, err);
	default:
		return 0;
	}
}

static enum coord_type
coord_type_of(uint64_t v)
{
	return v <= COORD_MAIL ? (enum coord_type)v : (enum coord_type)0;
}

static int
coord_take_refused(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	struct slice text = SLICE_EMPTY;
	uint64_t v = 0;
	int rc;

	switch (f->tag) {
	case FIELD_CODE:
		rc = coord_take_u64(f, UINT64_MAX, &v, err);
		/* One that we do not know is still a refusal. */
		out->u.refused.code = v > COORD_OK && v <= COORD_CLONE
					  ? (enum coord_code)v
					  : COORD_TOO_MUCH;
		return rc;
	case FIELD_OF:
		rc = coord_take_u64(f, UINT64_MAX, &v, err);
		out->u.refused.of = coord_type_of(v);
		return rc;
	case FIELD_TEXT:
		rc = coord_take_bytes(f, COORD_FRAME_MAX, &text, err);
		mesh_clean_text(out->u.refused.text,
		    sizeof(out->u.refused.text), text);
		return rc;
	default:
		return 0;
	}
}

static int
coord_take_signal(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	switch (f->tag) {
	case FIELD_DEVICE:
		return coord_take_devid(f, &out->u.signal.peer, err);
	case FIELD_BODY:
		return coord_take_bytes(f, COORD_SIGNAL_MAX,
		    &out->u.signal.body, err);
	default:
		return 0;
	}
}

/* BOX and MAIL. */
static int
coord_take_mail(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	switch (f->tag) {
	case FIELD_BOX:
		return coord_take_u32(f, &out->u.mail.box, err);
	case FIELD_CLOSE:
		return coord_take_bool(f, &out->u.mail.close, err);
	case FIELD_STRANGER:
		return coord_take_u64(f, UINT64_MAX, &out->u.mail.stranger,
		    err);
	case FIELD_BODY:
		return coord_take_bytes(f, COORD_SIGNAL_MAX, &out->u.mail.body,
		    err);
	default:
		return 0;
	}
}

/* ENTRIES; there is room for all of them. */
static int
coord_take_entries(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	switch (f->tag) {
	case FIELD_SEQ:
		return coord_take_u64(f, UINT64_MAX, &out->u.entries.seq, err);
	case FIELD_ENTRY:
		return coord_take_bytes(f, COORD_ENTRY_MAX,
		    &out->u.entries.entry[out->u.entries.count++], err);
	default:
		return 0;
	}
}

/* PUBLISH and WHERE; there is room for all of them. */
static int
coord_take_where(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	switch (f->tag) {
	case FIELD_DEVICE:
		return coord_take_devid(f, &out->u.where.id, err);
	case FIELD_ADDRESS:
		if (coord_take_addr(f, &out->u.where.addr[out->u.where.count]))
			out->u.where.count++;
		return 0;
	case FIELD_HERE:
		return coord_take_bool(f, &out->u.where.here, err);
	default:
		return 0;
	}
}

static int
coord_take(const struct message_pb_field *f, struct coord_message *out,
    struct err *err)
{
	switch (out->type) {
	case COORD_HELLO:
		return coord_take_hello(f, out, err);
	case COORD_WELCOME:
		return coord_take_welcome(f, out, err);
	case COORD_REFUSED:
		return coord_take_refused(f, out, err);
	case COORD_PING:
	case COORD_PONG:
		return 0;
	case COORD_ENTRIES:
		return coord_take_entries(f, out, err);
	case COORD_PUBLISH:
	case COORD_WHERE:
		return coord_take_where(f, out, err);
	case COORD_WANT:
		if (f->tag != FIELD_DEVICE)
			return 0;
		return coord_take_devid(f, &out->u.want.id[out->u.want.count++],
		    err);
	case COORD_SIGNAL:
		return coord_take_signal(f, out, err);
	case COORD_BOX:
	case COORD_MAIL:
		return coord_take_mail(f, out, err);
	}
	return 0;
}

/* Arrays for what is repeated; also, that it is protobuf at all. */
static int
coord_take_room(struct coord_message *out, struct slice body, struct arena *ar,
    struct err *err)
{
	size_t n = 0;
	int rc = 0;

	if (out->type == COORD_ENTRIES) {
		rc = coord_count(body, FIELD_ENTRY, COORD_ENTRIES_MAX, &n, err);
		out->u.entries.entry =
		    arena_array(ar, n, sizeof(*out->u.entries.entry));
	} else if (out->type == COORD_PUBLISH || out->type == COORD_WHERE) {
		rc = coord_count(body, FIELD_ADDRESS, COORD_ADDRESSES_MAX, &n,
		    err);
		out->u.where.addr =
		    arena_array(ar, n, sizeof(*out->u.where.addr));
	} else if (out->type == COORD_WANT) {
		rc = coord_count(body, FIELD_DEVICE, COORD_WANT_MAX, &n, err);
		out->u.want.id = arena_array(ar, n, sizeof(*out->u.want.id));
	}
	return rc;
}

/* What must be there for the message to mean anything. */
static int
coord_check(const struct coord_message *m, struct err *err)
{
	if ((m->type == COORD_WHERE && devid_is_none(&m->u.where.id)) ||
	    (m->type == COORD_SIGNAL && devid_is_none(&m->u.signal.peer)))
		return err_set(err, ERR_PROTOCOL,
		    "coordinator: it names no device");
	if (m->type == COORD_ENTRIES && m->u.entries.seq == 0)
		return err_set(err, ERR_PROTOCOL,
		    "coordinator: entries without a number");
	return 0;
}

/* The type is wanted before anything else, wherever it stands. */
static int
coord_take_type(struct slice body, uint64_t *out, struct err *err)
{
	struct message_pb_field f;
	int rc;

	*out = 0;
	while ((rc = message_pb_next(&body, &f, err)) > 0)
		if (f.tag == FIELD_TYPE) {
			rc = coord_take_u64(&f, UINT64_MAX, out, err);
			break;
		}
	if (rc == 0 && *out == 0)
		rc = err_set(err, ERR_PROTOCOL,
		    "coordinator: a message without a type");
	return rc;
}

static int
coord_take_message(struct coord_message *out, struct slice body,
    struct arena *ar, struct err *err)
{
	struct message_pb_field f;
	int rc;

	rc = coord_take_room(out, body, ar, err);
	while (rc == 0 && (rc = message_pb_next(&body, &f, err)) > 0)
		rc = coord_take(&f, out, err);
	return rc < 0 ? rc : coord_check(out, err);
}

int
coord_decode(struct coord_message *out, struct slice in, size_t *used,
    struct arena *ar, struct err *err)
{
	struct reader r;
	uint64_t type;
	uint32_t len;
	int rc;

	*used = 0;
	memset(out, 0, sizeof(*out));
	if (in.len < COORD_HEADER_LEN)
		return 0;
	reader_init(&r, in);
	len = reader_u32be(&r);
	if (len > COORD_FRAME_MAX)
		return err_set(err, ERR_PROTOCOL,
		    "coordinator: a message of %u bytes", len);
	if (r.len < len)
		return 0;
	rc = coord_take_type(slice_of(r.ptr, len), &type, err);
	if (rc < 0)
		return rc;
	out->type = coord_type_of(type);
	if (out->type != 0)
		rc = coord_take_message(out, slice_of(r.ptr, len), ar, err);
	if (rc < 0)
		return rc;
	*used = COORD_HEADER_LEN + len;
	if (out->type == 0)
		return err_set(err, ERR_UNSUPPORTED,
		    "coordinator: a message of an unknown type");
	return 1;
}

const char *
coord_code_text(enum coord_code code)
{
	switch (code) {
	case COORD_OK:
		return "success";
	case COORD_NOT_MEMBER:
		return "not a member of the domain";
	case COORD_NO_DOMAIN:
		return "the coordinator does not serve this domain";
	case COORD_BAD_ENTRY:
		return "an entry does not follow or is not signed";
	case COORD_NOT_HERE:
		return "the device is not here now";
	case COORD_NO_BOX:
		return "there is no such box";
	case COORD_TOO_MUCH:
		return "too much at once";
	case COORD_BEHIND:
		return "others were first with an entry";
	case COORD_BAD_MESSAGE:
		return "a message is not understood";
	case COORD_CLONE:
		return "another machine has this device's key";
	}
	return "the coordinator refused";
}
