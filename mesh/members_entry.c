/*
 * Entries of a membership log; see members_entry.h.
 *
 * Reading is in two steps: the fields as they come, each within its limits, and
 * then whether those that this kind needs are there.
 */
#include "mesh/members_entry.h"

#include <string.h>

#include "blockproto/message_pb.h"
#include "engine/base/assert.h"

/* In front of what is signed; the NUL belongs to it (sign.h). */
#define MEMBERS_ENTRY_CONTEXT "holdfast membership entry"

enum members_entry_field {
	ENTRY_BODY = 1,
	ENTRY_SIGNATURE = 2,
	SIGNATURE_KEY = 1,
	SIGNATURE_BYTES = 2,
	BODY_VERSION = 1,
	BODY_KIND = 2,
	BODY_SEQ = 3,
	BODY_PREV = 4,
	BODY_WALL = 5,
	BODY_BY = 6,
	BODY_DEVICE = 7,
	BODY_OTHER = 8,
	BODY_NAME = 9,
	BODY_UNTIL = 10,
	BODY_OWNER = 11,
	BODY_NEED = 12,
	BODY_RECOVERY = 13,
	BODY_SERVICE = 14,
	BODY_ALLOWED = 15,
};

/* --- writing ------------------------------------------------------------- */

static void
members_entry_put_devid(struct buf *out, uint32_t tag, const struct devid *id)
{
	if (!devid_is_none(id))
		message_pb_put_bytes(out, tag, slice_of(id->b, sizeof(id->b)));
}

static void
members_entry_put_owners(const struct members_entry *e, struct buf *out)
{
	for (size_t i = 0; i < e->owner_count; i++)
		message_pb_put_bytes(out, BODY_OWNER,
		    slice_of(e->owner[i].b, SIGN_PUBLIC_LEN));
	message_pb_put_number(out, BODY_NEED, e->need);
}

void
members_entry_body(const struct members_entry *e, struct buf *out)
{
	message_pb_put_number(out, BODY_VERSION, MEMBERS_VERSION);
	message_pb_put_number(out, BODY_KIND, (uint64_t)e->kind);
	message_pb_put_number(out, BODY_SEQ, e->seq);
	if (e->seq > 1)
		message_pb_put_bytes(out, BODY_PREV,
		    slice_of(e->prev.b, DIGEST_LEN));
	message_pb_put_number(out, BODY_WALL,
	    e->wall_s > 0 ? (uint64_t)e->wall_s : 0);
	members_entry_put_devid(out, BODY_BY, &e->by);
	members_entry_put_devid(out, BODY_DEVICE, &e->device);
	members_entry_put_devid(out, BODY_OTHER, &e->other);
	if (e->name[0] != '\0')
		message_pb_put_bytes(out, BODY_NAME, slice_str(e->name));
	if (e->until_wall_s > 0)
		message_pb_put_number(out, BODY_UNTIL,
		    (uint64_t)e->until_wall_s);
	if (e->owner_count > 0)
		members_entry_put_owners(e, out);
	if (e->kind == MEMBERS_FOUND)
		message_pb_put_bytes(out, BODY_RECOVERY,
		    slice_of(e->recovery.b, SIGN_PUBLIC_LEN));
	if (e->kind == MEMBERS_ALLOW) {
		message_pb_put_number(out, BODY_SERVICE, (uint64_t)e->service);
		message_pb_put_number(out, BODY_ALLOWED, e->allowed ? 1 : 0);
	}
}

static void
members_entry_put_signature(const struct members_signature *sig,
    struct buf *out)
{
	struct buf b = { 0 };

	message_pb_put_bytes(&b, SIGNATURE_KEY,
	    slice_of(sig->by.b, sizeof(sig->by.b)));
	message_pb_put_bytes(&b, SIGNATURE_BYTES,
	    slice_of(sig->b, sizeof(sig->b)));
	message_pb_put_bytes(out, ENTRY_SIGNATURE, buf_slice(&b));
	buf_fini(&b);
}

static void
members_entry_sign_body(struct slice body, const struct sign_secret *key,
    struct buf *out)
{
	struct members_signature sig;

	sign_public_of(key, &sig.by);
	sign_make(key, MEMBERS_ENTRY_CONTEXT, body, sig.b);
	members_entry_put_signature(&sig, out);
}

void
members_entry_sign(struct slice body, const struct sign_secret *key,
    size_t count, struct buf *out)
{
	message_pb_put_bytes(out, ENTRY_BODY, body);
	for (size_t i = 0; i < count; i++)
		members_entry_sign_body(body, &key[i], out);
}

int
members_entry_cosign(struct slice bytes, const struct sign_secret *key,
    struct buf *out, struct err *err)
{
	struct members_entry e;
	const int rc = members_entry_decode(&e, bytes, err);

	if (rc < 0)
		return rc;
	buf_put(out, bytes);
	members_entry_sign_body(e.body, key, out);
	return 0;
}

/* --- reading ------------------------------------------------------------- */

bool
members_entry_name_is_good(struct slice name)
{
	if (name.len == 0 || name.len >= MEMBERS_NAME_MAX ||
	    !slice_is_utf8(name) || name.ptr[0] == ' ' ||
	    name.ptr[name.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] < 0x20 || name.ptr[i] == 0x7f)
			return false;
	return true;
}

static bool
members_entry_is_zero(const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (b[i] != 0)
			return false;
	return true;
}

/* Exactly `len` bytes. */
static int
members_entry_take_bytes(const struct message_pb_field *f, uint8_t *out,
    size_t len, struct err *err)
{
	if (f->kind != MESSAGE_PB_BYTES || f->bytes.len != len)
		return err_set(err, ERR_PROTOCOL, "entry: field %u: %zu bytes",
		    (unsigned)f->tag, f->bytes.len);
	memcpy(out, f->bytes.ptr, len);
	return 0;
}

static int
members_entry_take_number(const struct message_pb_field *f, uint64_t max,
    uint64_t *out, struct err *err)
{
	if (f->kind != MESSAGE_PB_VARINT || f->value > max)
		return err_set(err, ERR_PROTOCOL,
		    "entry: field %u is no such number", (unsigned)f->tag);
	*out = f->value;
	return 0;
}

static int
members_entry_take_name(const struct message_pb_field *f,
    struct members_entry *out, struct err *err)
{
	if (f->kind != MESSAGE_PB_BYTES ||
	    !members_entry_name_is_good(f->bytes))
		return err_set(err, ERR_PROTOCOL, "entry: no name for people");
	memcpy(out->name, f->bytes.ptr, f->bytes.len);
	out->name[f->bytes.len] = '\0';
	return 0;
}

static int
members_entry_take_owner(const struct message_pb_field *f,
    struct members_entry *out, struct err *err)
{
	struct sign_public key;
	const int rc = members_entry_take_bytes(f, key.b, sizeof(key.b), err);

	if (rc < 0)
		return rc;
	if (out->owner_count == MEMBERS_OWNERS_MAX)
		return err_set(err, ERR_LIMIT, "entry: over %u owners",
		    MEMBERS_OWNERS_MAX);
	for (size_t i = 0; i < out->owner_count; i++)
		if (sign_public_equal(&out->owner[i], &key))
			return err_set(err, ERR_PROTOCOL,
			    "entry: an owner twice");
	out->owner[out->owner_count++] = key;
	return 0;
}

static enum members_kind
members_entry_kind(uint64_t value)
{
	return value >= MEMBERS_FOUND && value <= MEMBERS_ALLOW
		   ? (enum members_kind)value
		   : MEMBERS_OTHER;
}

/* The numbers among the fields. */
static int
members_entry_take_field(const struct message_pb_field *f,
    struct members_entry *out, struct err *err)
{
	uint64_t n = 0;
	int rc;

	switch (f->tag) {
	case BODY_VERSION:
		rc = members_entry_take_number(f, UINT32_MAX, &n, err);
		if (rc == 0 && n != MEMBERS_VERSION)
			return err_set(err, ERR_PROTOCOL,
			    "entry: version %u is not known", (unsigned)n);
		return rc;
	case BODY_KIND:
		rc = members_entry_take_number(f, UINT32_MAX, &n, err);
		out->kind = members_entry_kind(n);
		return rc;
	case BODY_SEQ:
		return members_entry_take_number(f, INT64_MAX, &out->seq, err);
	case BODY_WALL:
		rc = members_entry_take_number(f, INT64_MAX / 4, &n, err);
		out->wall_s = (int64_t)n;
		return rc;
	case BODY_UNTIL:
		rc = members_entry_take_number(f, INT64_MAX / 4, &n, err);
		out->until_wall_s = (int64_t)n;
		return rc;
	case BODY_NEED:
		rc = members_entry_take_number(f, MEMBERS_OWNERS_MAX, &n, err);
		out->need = (uint32_t)n;
		return rc;
	case BODY_SERVICE:
		rc = members_entry_take_number(f, 255, &n, err);
		out->service = (enum members_service)n;
		return rc;
	case BODY_ALLOWED:
		rc = members_entry_take_number(f, 1, &n, err);
		out->allowed = n != 0;
		return rc;
	case BODY_PREV:
		return members_entry_take_bytes(f, out->prev.b, DIGEST_LEN,
		    err);
	case BODY_BY:
		return members_entry_take_bytes(f, out->by.b, DEVID_LEN, err);
	case BODY_DEVICE:
		return members_entry_take_bytes(f, out->device.b, DEVID_LEN,
		    err);
	case BODY_OTHER:
		return members_entry_take_bytes(f, out->other.b, DEVID_LEN,
		    err);
	case BODY_RECOVERY:
		return members_entry_take_bytes(f, out->recovery.b,
		    SIGN_PUBLIC_LEN, err);
	case BODY_NAME:
		return members_entry_take_name(f, out, err);
	case BODY_OWNER:
		return members_entry_take_owner(f, out, err);
	default:
		return 0;
	}
}

static int
members_entry_lacks(const char *what, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "entry: no %s", what);
}

/* Is all there that this kind needs? */
static int
members_entry_judge(const struct members_entry *e, bool has_version,
    struct err *err)
{
	if (!has_version)
		return members_entry_lacks("version", err);
	if (e->seq == 0 || (e->kind == MEMBERS_FOUND) != (e->seq == 1))
		return members_entry_lacks("fitting number", err);
	if (e->seq > 1 && members_entry_is_zero(e->prev.b, DIGEST_LEN))
		return members_entry_lacks("entry before", err);
	switch (e->kind) {
	case MEMBERS_FOUND:
		if (members_entry_is_zero(e->recovery.b, SIGN_PUBLIC_LEN))
			return members_entry_lacks("recovery key", err);
		break;
	case MEMBERS_ADD:
	case MEMBERS_RENAME:
		if (e->name[0] == '\0')
			return members_entry_lacks("name", err);
		break;
	case MEMBERS_ROTATE:
		if (devid_is_none(&e->other) ||
		    devid_equal(&e->device, &e->other))
			return members_entry_lacks("new device ID", err);
		break;
	case MEMBERS_REMOVE:
	case MEMBERS_OWNERS:
	case MEMBERS_ALLOW:
	case MEMBERS_OTHER:
		break;
	}
	if ((e->kind == MEMBERS_ADD || e->kind == MEMBERS_RENAME ||
		e->kind == MEMBERS_ROTATE || e->kind == MEMBERS_REMOVE) &&
	    devid_is_none(&e->device))
		return members_entry_lacks("device ID", err);
	if ((e->kind == MEMBERS_FOUND || e->kind == MEMBERS_OWNERS) &&
	    (e->owner_count == 0 || e->need == 0 || e->need > e->owner_count))
		return members_entry_lacks("fitting owners", err);
	return 0;
}

static int
members_entry_decode_body(struct members_entry *out, struct err *err)
{
	struct slice rest = out->body;
	struct message_pb_field f;
	bool has_version = false;
	int rc;

	while ((rc = message_pb_next(&rest, &f, err)) > 0) {
		has_version = has_version || f.tag == BODY_VERSION;
		rc = members_entry_take_field(&f, out, err);
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? rc : members_entry_judge(out, has_version, err);
}

static int
members_entry_decode_signature(struct members_entry *out, struct slice rest,
    struct err *err)
{
	struct members_signature sig = { 0 };
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&rest, &f, err)) > 0) {
		if (f.tag == SIGNATURE_KEY)
			rc = members_entry_take_bytes(&f, sig.by.b,
			    SIGN_PUBLIC_LEN, err);
		else if (f.tag == SIGNATURE_BYTES)
			rc = members_entry_take_bytes(&f, sig.b, SIGN_LEN, err);
		if (rc < 0)
			return rc;
	}
	if (rc == 0 && out->sig_count == MEMBERS_OWNERS_MAX)
		return err_set(err, ERR_LIMIT, "entry: too many signatures");
	if (rc == 0)
		out->sig[out->sig_count++] = sig;
	return rc;
}

int
members_entry_decode(struct members_entry *out, struct slice bytes,
    struct err *err)
{
	struct slice rest = bytes;
	struct message_pb_field f;
	int rc;

	*out = (struct members_entry){ .kind = MEMBERS_OTHER };
	if (bytes.len > COORD_ENTRY_MAX)
		return err_set(err, ERR_LIMIT, "entry: over %u bytes",
		    COORD_ENTRY_MAX);
	while ((rc = message_pb_next(&rest, &f, err)) > 0) {
		if (f.tag != ENTRY_BODY && f.tag != ENTRY_SIGNATURE)
			continue;
		if (f.kind != MESSAGE_PB_BYTES)
			return err_set(err, ERR_PROTOCOL, "entry: not bytes");
		if (f.tag == ENTRY_SIGNATURE)
			rc = members_entry_decode_signature(out, f.bytes, err);
		else if (out->body.len > 0)
			rc = err_set(err, ERR_PROTOCOL, "entry: two bodies");
		else
			out->body = f.bytes;
		if (rc < 0)
			return rc;
	}
	if (rc < 0)
		return rc;
	digest_of(out->body, &out->digest);
	return members_entry_decode_body(out, err);
}

/* Its good signature by that key; NULL: none. */
static const struct members_signature *
members_entry_signature(const struct members_entry *e,
    const struct sign_public *by)
{
	for (size_t i = 0; i < e->sig_count; i++)
		if (sign_public_equal(&e->sig[i].by, by) &&
		    sign_is_good(by, MEMBERS_ENTRY_CONTEXT, e->body,
			e->sig[i].b))
			return &e->sig[i];
	return NULL;
}

bool
members_entry_signed_by(const struct members_entry *e,
    const struct sign_public *by)
{
	return members_entry_signature(e, by) != NULL;
}

uint32_t
members_entry_join(const struct members_entry *a, const struct members_entry *b,
    const struct sign_public *by, size_t count, struct buf *out)
{
	uint32_t good = 0;

	message_pb_put_bytes(out, ENTRY_BODY, a->body);
	for (size_t i = 0; i < count; i++) {
		const struct members_signature *sig =
		    members_entry_signature(a, &by[i]);

		if (sig == NULL && b != NULL)
			sig = members_entry_signature(b, &by[i]);
		if (sig == NULL)
			continue;
		members_entry_put_signature(sig, out);
		good++;
	}
	return good;
}

const char *
members_entry_kind_text(enum members_kind kind)
{
	switch (kind) {
	case MEMBERS_FOUND:
		return "found";
	case MEMBERS_ADD:
		return "add";
	case MEMBERS_REMOVE:
		return "remove";
	case MEMBERS_RENAME:
		return "rename";
	case MEMBERS_ROTATE:
		return "rotate";
	case MEMBERS_OWNERS:
		return "owners";
	case MEMBERS_ALLOW:
		return "allow";
	case MEMBERS_OTHER:
		break;
	}
	return "other";
}
