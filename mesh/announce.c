/*
 * Discovery datagrams; see announce.h.  Three protobuf fields, written and
 * read here by hand: a datagram of strangers meets nothing but this decoder.
 */
#include "mesh/announce.h"

#include <string.h>

#include "engine/base/limits.h"

#define ANNOUNCE_MAGIC UINT32_C(0x2EA7D90B)

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define FIELD(number, wire) ((uint64_t)(number) << 3 | (wire))

void
announce_encode(const struct announce *a, struct buf *out)
{
	char text[ADDR_TEXT_MAX];

	buf_put_u32be(out, ANNOUNCE_MAGIC);
	buf_put_varint(out, FIELD(1, WIRE_BYTES));
	buf_put_str(out, slice_of(a->id.b, DEVID_LEN));
	for (size_t i = 0; i < a->address_count; i++) {
		addr_text(&a->address[i], text);
		buf_put_varint(out, FIELD(2, WIRE_BYTES));
		buf_put_str(out, slice_str(text));
	}
	if (a->instance != 0) {
		buf_put_varint(out, FIELD(3, WIRE_VARINT));
		buf_put_varint(out, (uint64_t)a->instance);
	}
}

bool
announce_judge(struct addr *a, struct slice text, const struct addr *source)
{
	if (addr_parse(a, text, NULL) < 0 || a->port == 0 ||
	    a->scheme == ADDR_DYNAMIC)
		return false;
	if (a->scheme == ADDR_RELAY && addr_is_unspecified(a))
		return false; /* the device is not its own relay */
	a->token[0] = '\0';   /* lets nobody in but who joins */
	if (addr_is_unspecified(a)) {
		if ((a->family == ADDR_V4 && source->host != ADDR_IP4) ||
		    (a->family == ADDR_V6 && source->host != ADDR_IP6))
			return false;
		addr_set_host(a, source);
	} else if (addr_is_loopback(a) && !addr_is_loopback(source)) {
		return false;
	}
	/* A link-local address means nothing without our interface. */
	if (addr_is_link_local(a) && a->host == ADDR_IP6) {
		if (!addr_is_link_local(source))
			return false;
		memcpy(a->zone, source->zone, sizeof(a->zone));
	}
	return addr_is_dialable(a);
}

static bool
announce_has(const struct announce *a, const struct addr *addr)
{
	for (size_t i = 0; i < a->address_count; i++)
		if (addr_equal(&a->address[i], addr))
			return true;
	return false;
}

static void
announce_add(struct announce *out, struct slice text, const struct addr *source)
{
	struct addr a;

	if (out->address_count == ANNOUNCE_ADDRESSES ||
	    !announce_judge(&a, text, source) || announce_has(out, &a))
		return;
	out->address[out->address_count++] = a;
}

static void
announce_skip(struct reader *r, uint64_t key)
{
	switch (key & 7) {
	case WIRE_VARINT:
		reader_varint(r);
		break;
	case WIRE_FIXED64:
		reader_bytes(r, 8);
		break;
	case WIRE_BYTES:
		reader_str(r, LIMIT_ANNOUNCE_LEN);
		break;
	case WIRE_FIXED32:
		reader_bytes(r, 4);
		break;
	default:
		r->failed = true;
		break;
	}
}

int
announce_decode(struct announce *out, struct slice datagram,
    const struct addr *source, struct err *err)
{
	struct slice id = SLICE_EMPTY;
	struct reader r;
	int rc;

	*out = (struct announce){ 0 };
	if (datagram.len > LIMIT_ANNOUNCE_LEN)
		return err_set(err, ERR_PROTOCOL, "announcement: too long");
	reader_init(&r, datagram);
	if (reader_u32be(&r) != ANNOUNCE_MAGIC)
		return err_set(err, ERR_PROTOCOL, "announcement: no magic");
	while (reader_ok(&r) && r.len > 0) {
		const uint64_t key = reader_varint(&r);

		if (!reader_ok(&r))
			break;
		if (key == FIELD(1, WIRE_BYTES))
			id = reader_str(&r, LIMIT_ANNOUNCE_LEN);
		else if (key == FIELD(2, WIRE_BYTES))
			announce_add(out, reader_str(&r, LIMIT_ANNOUNCE_LEN),
			    source);
		else if (key == FIELD(3, WIRE_VARINT))
			out->instance = (int64_t)reader_varint(&r);
		else
			announce_skip(&r, key);
	}
	if (!reader_ok(&r))
		return err_set(err, ERR_PROTOCOL, "announcement: damaged");
	rc = devid_from_bytes(&out->id, id, err);
	if (rc < 0)
		err_wrap(err, "announcement");
	return rc;
}
