/*
 * ClusterConfig out of protobuf bytes: see message.h and BEP-FACTS.md 5.
 *
 * A device ID that is not 32 bytes crashes other implementations; here it ends
 * the connection.
 */
#include "blockproto/message_decode.h"

#include "blockproto/message_fields.h"
#include "engine/base/limits.h"

static int
decode_addresses(struct slice body, struct cc_device *out, struct arena *arena,
    struct err *err)
{
	struct message_pb_field f;
	struct slice *address;
	uint32_t n = 0;
	int rc;

	rc = message_decode_count(body, DEVICE_ADDRESS, LIMIT_CC_ADDRESSES,
	    &out->address_count, err);
	if (rc < 0 || out->address_count == 0)
		return rc;
	address = arena_array(arena, out->address_count, sizeof(*address));
	out->address = address;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag != DEVICE_ADDRESS)
			continue;
		rc = message_decode_text(&f, &address[n++], err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int
decode_compression(const struct message_pb_field *f, struct cc_device *out,
    struct err *err)
{
	int32_t v = 0;
	const int rc = message_decode_i32(f, &v, err);

	/* It only informs: one that we do not know is the default. */
	out->compression = COMPRESSION_METADATA;
	if (v == COMPRESSION_NEVER || v == COMPRESSION_ALWAYS)
		out->compression = (enum message_compression)v;
	return rc;
}

static int
decode_device_field(const struct message_pb_field *f, struct cc_device *out,
    struct slice *id, struct err *err)
{
	switch (f->tag) {
	case DEVICE_ID:
		return message_decode_nested(f, id, err);
	case DEVICE_NAME:
		return message_decode_text(f, &out->name, err);
	case DEVICE_COMPRESSION:
		return decode_compression(f, out, err);
	case DEVICE_CERT_NAME:
		return message_decode_text(f, &out->cert_name, err);
	case DEVICE_MAX_SEQUENCE:
		return message_decode_i64(f, &out->max_sequence, err);
	case DEVICE_INTRODUCER:
		return message_decode_bool(f, &out->introducer, err);
	case DEVICE_INDEX_ID:
		return message_decode_u64(f, &out->index_id, err);
	case DEVICE_SKIP_REMOVALS:
		return message_decode_bool(f, &out->skip_introduction_removals,
		    err);
	case DEVICE_TOKEN:
		return message_decode_bytes(f, LIMIT_STRING_LEN,
		    &out->encryption_password_token, err);
	default:
		return 0;
	}
}

static int
decode_device(struct slice body, struct cc_device *out, struct arena *arena,
    struct err *err)
{
	struct slice rest = body;
	struct slice id = SLICE_EMPTY;
	struct message_pb_field f;
	int rc;

	while ((rc = message_pb_next(&rest, &f, err)) > 0) {
		rc = decode_device_field(&f, out, &id, err);
		if (rc < 0)
			return rc;
	}
	if (rc == 0)
		rc = devid_from_bytes(&out->id, id, err);
	if (rc == 0)
		rc = decode_addresses(body, out, arena, err);
	return rc;
}

static int
decode_folder_field(const struct message_pb_field *f, struct cc_folder *out,
    struct err *err)
{
	switch (f->tag) {
	case FOLDER_ID:
		return message_decode_text(f, &out->id, err);
	case FOLDER_LABEL:
		return message_decode_text(f, &out->label, err);
	case FOLDER_TYPE:
		return message_decode_i32(f, &out->type, err);
	case FOLDER_STOP_REASON:
		return message_decode_bool(f, &out->paused, err);
	default:
		return 0;
	}
}

/* `left` is how many devices the whole message may still name. */
static int
decode_folder(struct slice body, struct cc_folder *out, uint32_t *left,
    struct arena *arena, struct err *err)
{
	const uint32_t max =
	    *left < LIMIT_CC_DEVICES ? *left : LIMIT_CC_DEVICES;
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	struct cc_device *device;
	uint32_t n = 0;
	int rc;

	rc = message_decode_count(body, FOLDER_DEVICE, max, &out->device_count,
	    err);
	if (rc < 0)
		return rc;
	*left -= out->device_count;
	device = arena_array(arena, out->device_count, sizeof(*device));
	out->device = device;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		rc = decode_folder_field(&f, out, err);
		if (rc == 0 && f.tag == FOLDER_DEVICE) {
			rc = message_decode_nested(&f, &nested, err);
			if (rc == 0)
				rc = decode_device(nested, &device[n++], arena,
				    err);
			if (rc < 0)
				err_wrap(err, "device %u", n);
		}
		if (rc < 0)
			return rc;
	}
	return rc;
}

int
message_decode_config(struct cluster_config *out, struct slice body,
    struct arena *arena, struct err *err)
{
	uint32_t left = LIMIT_CC_DEVICES_ALL;
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	struct cc_folder *folder;
	uint32_t n = 0;
	int rc;

	rc = message_decode_count(body, CLUSTER_CONFIG_FOLDER, LIMIT_CC_FOLDERS,
	    &out->folder_count, err);
	if (rc < 0)
		return rc;
	folder = arena_array(arena, out->folder_count, sizeof(*folder));
	out->folder = folder;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == CLUSTER_CONFIG_SECONDARY)
			rc = message_decode_bool(&f, &out->secondary, err);
		if (rc >= 0 && f.tag == CLUSTER_CONFIG_FOLDER) {
			rc = message_decode_nested(&f, &nested, err);
			if (rc == 0)
				rc = decode_folder(nested, &folder[n++], &left,
				    arena, err);
			if (rc < 0)
				err_wrap(err, "folder %u", n);
		}
		if (rc < 0)
			return rc;
	}
	return rc;
}
