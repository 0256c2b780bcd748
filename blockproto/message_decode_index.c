/*
 * Index messages out of protobuf bytes: see message.h and BEP-FACTS.md 6.
 *
 * The blocks of an entry are walked twice: they are counted with all else that
 * it has, and then their hashes go into an array of just that size.  Nothing is
 * judged here but what struct entry cannot hold: a list of blocks that does not
 * follow from size and block_size is left out, so that entry_check() sees a
 * count without a list.
 */
#include "blockproto/message_decode.h"

#include "blockproto/blocks.h"
#include "blockproto/message_fields.h"
#include "engine/base/limits.h"

/* The least bytes of a block with its hash: tag, length, hash's two, hash. */
#define BLOCK_LEN_MIN (2u + 1u + 2u + DIGEST_LEN)
/* Types 2 and 3 were symlinks to files and to directories, long ago. */
#define TYPE_OLD_LINK_FILE 2
#define TYPE_OLD_LINK_DIR 3

/* Parts of an entry that wait until all its fields are known. */
struct parts {
	struct slice version;
	struct slice blocks; /* from the first to the last one */
};

static int
decode_type(const struct message_pb_field *f, struct entry *out,
    struct err *err)
{
	int32_t type = 0;
	const int rc = message_decode_i32(f, &type, err);

	if (type == TYPE_OLD_LINK_FILE || type == TYPE_OLD_LINK_DIR)
		type = (int32_t)ENTRY_LINK;
	out->type = (enum entry_type)type; /* entry_check() knows the good */
	return rc;
}

static int
decode_u32(const struct message_pb_field *f, uint32_t *out, struct err *err)
{
	int32_t v = 0;
	const int rc = message_decode_i32(f, &v, err);

	*out = (uint32_t)v;
	return rc;
}

/* A digest that is no help when it has another length: then it is none. */
static int
decode_digest(const struct message_pb_field *f, struct digest *out,
    struct err *err)
{
	struct slice raw = SLICE_EMPTY;
	const int rc = message_decode_nested(f, &raw, err);

	memset(out, 0, sizeof(*out));
	if (rc == 0 && raw.len == DIGEST_LEN)
		memcpy(out->b, raw.ptr, DIGEST_LEN);
	return rc;
}

/* Strings at `one` and `two` of a message are UTF-8; 0 is no field. */
static int
check_strings(struct slice body, uint32_t one, uint32_t two, struct err *err)
{
	struct message_pb_field f;
	struct slice text;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag != one && f.tag != two)
			continue;
		rc = message_decode_text(&f, &text, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int
check_xattrs(struct slice body, struct err *err)
{
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag != XATTR_ITEM)
			continue;
		rc = message_decode_nested(&f, &nested, err);
		if (rc == 0)
			rc = check_strings(nested, XATTR_NAME, 0, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/*
 * Platform data is passed on as it came, so it must be such that no third
 * device drops us for it: readable, and UTF-8 where it has to be.
 */
static int
check_platform(struct slice body, struct err *err)
{
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag > PLATFORM_NETBSD)
			continue;
		rc = message_decode_nested(&f, &nested, err);
		if (rc < 0)
			return rc;
		if (f.tag == PLATFORM_UNIX)
			rc =
			    check_strings(nested, OWNER_NAME, OWNER_GROUP, err);
		else if (f.tag == PLATFORM_WINDOWS)
			rc = check_strings(nested, OWNER_NAME, 0, err);
		else
			rc = check_xattrs(nested, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int
decode_platform(const struct message_pb_field *f, struct entry *out,
    struct err *err)
{
	int rc = message_decode_nested(f, &out->platform, err);

	/* More than the limit is refused by entry_check(), not passed on. */
	if (rc == 0 && out->platform.len <= LIMIT_PLATFORM_LEN)
		rc = check_platform(out->platform, err);
	return rc;
}

static int
decode_entry_field(const struct message_pb_field *f, struct entry *out,
    struct parts *parts, struct err *err)
{
	switch (f->tag) {
	case FILE_NAME:
		return message_decode_text(f, &out->name, err);
	case FILE_TYPE:
		return decode_type(f, out, err);
	case FILE_SIZE:
		return message_decode_i64(f, &out->size, err);
	case FILE_PERMISSIONS:
		return decode_u32(f, &out->perms, err);
	case FILE_MODIFIED_S:
		return message_decode_i64(f, &out->mtime_s, err);
	case FILE_DELETED:
		return message_decode_bool(f, &out->deleted, err);
	case FILE_INVALID:
		return message_decode_bool(f, &out->invalid, err);
	case FILE_NO_PERMISSIONS:
		return message_decode_bool(f, &out->no_perms, err);
	case FILE_VERSION:
		return message_decode_nested(f, &parts->version, err);
	case FILE_SEQUENCE:
		return message_decode_i64(f, &out->sequence, err);
	case FILE_MODIFIED_NS:
		return message_decode_i32(f, &out->mtime_ns, err);
	case FILE_MODIFIED_BY:
		return message_decode_u64(f, &out->modified_by, err);
	case FILE_BLOCK_SIZE:
		return decode_u32(f, &out->block_size, err);
	case FILE_PLATFORM:
		return decode_platform(f, out, err);
	case FILE_BLOCK:
		out->block_count++;
		return 0;
	case FILE_LINK_TARGET:
		return message_decode_nested(f, &out->link_target, err);
	case FILE_BLOCKS_HASH:
		return decode_digest(f, &out->blocks_hash, err);
	case FILE_PREVIOUS_BLOCKS_HASH:
		return decode_digest(f, &out->previous_blocks_hash, err);
	default:
		return 0;
	}
}

/* One block; *regular turns false when it is not `len` bytes with a hash. */
static int
decode_block(struct slice body, uint32_t len, struct digest *out, bool *regular,
    struct err *err)
{
	struct message_pb_field f;
	struct slice hash = SLICE_EMPTY;
	int32_t got = 0;
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		/* The offset follows from the place in the list. */
		if (f.tag == BLOCK_LEN)
			rc = message_decode_i32(&f, &got, err);
		else if (f.tag == BLOCK_HASH)
			rc = message_decode_nested(&f, &hash, err);
		if (rc < 0)
			return rc;
	}
	if (rc < 0)
		return rc;
	if (hash.len != DIGEST_LEN || got < 0 || (uint32_t)got != len) {
		*regular = false;
		return 0;
	}
	memcpy(out->b, hash.ptr, DIGEST_LEN);
	return 0;
}

/* The second walk: all hashes, or none when the list is not regular. */
static int
decode_blocks(struct slice body, struct entry *e, struct arena *arena,
    struct err *err)
{
	const struct arena_mark mark = arena_mark(arena);
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	struct digest *hash;
	bool regular = true;
	uint32_t n = 0;
	int rc;

	/* Too many, or too few bytes for so many: no reason to allocate. */
	if (e->block_count > LIMIT_BLOCKS ||
	    (size_t)e->block_count * BLOCK_LEN_MIN > body.len)
		return 0;
	hash = arena_alloc(arena, (size_t)e->block_count * sizeof(*hash));
	while ((rc = message_pb_next(&body, &f, err)) > 0 && regular) {
		if (f.tag != FILE_BLOCK)
			continue;
		rc = message_decode_nested(&f, &nested, err);
		if (rc == 0)
			rc = decode_block(nested,
			    blocks_len(e->size, e->block_size, n), &hash[n],
			    &regular, err);
		if (rc < 0)
			return rc;
		n++;
	}
	if (regular)
		e->block = hash;
	else
		arena_reset(arena, mark);
	return rc < 0 ? rc : 0;
}

static int
decode_entry(struct slice body, struct entry *out, struct arena *arena,
    struct err *err)
{
	struct slice here = body;
	struct message_pb_field f;
	struct parts parts = { 0 };
	int rc;

	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		rc = decode_entry_field(&f, out, &parts, err);
		if (rc < 0)
			return rc;
		if (f.tag == FILE_BLOCK) {
			if (out->block_count == 1)
				parts.blocks = here;
			parts.blocks.len =
			    (size_t)(body.ptr - parts.blocks.ptr);
		}
		here = body;
	}
	if (rc == 0)
		rc = message_decode_version(parts.version, &out->version, arena,
		    err);
	if (rc == 0 && out->block_count > 0)
		rc = decode_blocks(parts.blocks, out, arena, err);
	return rc;
}

int
message_decode_index(struct index_message *out, struct slice body,
    struct arena *arena, struct err *err)
{
	struct message_pb_field f;
	struct slice nested = SLICE_EMPTY;
	struct entry *entry = NULL;
	uint32_t n = 0;
	int rc;

	rc = message_decode_count(body, INDEX_FILE, LIMIT_INDEX_FILES,
	    &out->entry_count, err);
	if (rc < 0)
		return rc;
	if (out->entry_count > 0)
		entry = arena_array(arena, out->entry_count, sizeof(*entry));
	out->entry = entry;
	while ((rc = message_pb_next(&body, &f, err)) > 0) {
		if (f.tag == INDEX_FOLDER)
			rc = message_decode_text(&f, &out->folder, err);
		else if (f.tag == INDEX_LAST_SEQUENCE)
			rc = message_decode_i64(&f, &out->last_sequence, err);
		else if (f.tag == INDEX_PREV_SEQUENCE)
			rc = message_decode_i64(&f, &out->prev_sequence, err);
		if (rc >= 0 && f.tag == INDEX_FILE) {
			rc = message_decode_nested(&f, &nested, err);
			if (rc == 0)
				rc =
				    decode_entry(nested, &entry[n], arena, err);
			if (rc < 0)
				err_wrap(err, "item %u", n + 1);
			n++;
		}
		if (rc < 0)
			return rc;
	}
	return rc;
}
