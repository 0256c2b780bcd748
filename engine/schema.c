/*
 * Keys and records: see schema.h.
 *
 * A row of a small file is about 90 bytes: numbers are varints, what repeats
 * is a flag (a permission that is as on disk, a time that is the same, the
 * modifying device that is in the vector), sets of devices are one byte while
 * the slots are low.  A row for a file that is not here yet is written longer
 * than it has to be: when the file arrives the same page still holds it.
 */
#include "engine/schema.h"

#include "blockproto/blocks.h"
#include "engine/base/assert.h"
#include "engine/base/hash.h"
#include "engine/base/limits.h"

#define SCHEMA_SUM 4u      /* bytes of a checksum */
#define SCHEMA_RESERVE 22u /* what `seen`, `seq` and `owner` will take */

/* The first number of a row. */
#define SCHEMA_FLAG_BITS 4u
#define SCHEMA_FLAGS ((1u << SCHEMA_FLAG_BITS) - 1)
#define SCHEMA_LONG (1u << SCHEMA_FLAG_BITS) /* the path follows */
#define SCHEMA_COUNT_SHIFT (SCHEMA_FLAG_BITS + 1)

/* The first byte of a version. */
enum {
	VERSION_TYPE = 3, /* 0 file, 1 directory, 2 link */
	VERSION_DELETED = 1 << 2,
	VERSION_NO_PERMS = 1 << 3,
	VERSION_NS = 1 << 4,
	VERSION_BLOCKS = 1 << 5,
	VERSION_SHADOWS = 1 << 6,
	VERSION_EXTRA = 1 << 7, /* a byte of the flags below follows */
};

enum {
	EXTRA_BLOCK_SIZE = 1, /* without blocks */
	EXTRA_PREVIOUS = 2,
	EXTRA_TARGET = 4,
	EXTRA_PLATFORM = 8,
	EXTRA_ALL = 15,
};

/* The first byte of what was seen on disk. */
enum {
	SEEN_TYPE = 7,
	SEEN_MODE = 1 << 3,  /* permissions as in the local version */
	SEEN_SIZE = 1 << 4,  /* size as in the local version */
	SEEN_MTIME = 1 << 5, /* time as in the local version */
	SEEN_CTIME = 1 << 6, /* the same as mtime */
};

/* Keys */

static void
key_add(struct schema_key *key, const void *bytes, size_t len)
{
	ASSERT(len <= sizeof(key->b) - key->len);
	if (len > 0)
		memcpy(key->b + key->len, bytes, len);
	key->len += len;
}

static void
key_add_varint(struct schema_key *key, uint64_t v)
{
	while (v >= 0x80) {
		key->b[key->len++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	key->b[key->len++] = (uint8_t)v;
}

static struct slice
parent_of(struct slice path)
{
	const size_t at = slice_rfind(path, '/');

	return at == SIZE_MAX ? SLICE_EMPTY : slice_to(path, at);
}

void
schema_child_key(struct slice dir, struct slice base, struct schema_key *out)
{
	struct digest parent;

	ASSERT(dir.len >= SCHEMA_KEY_HEAD);
	digest_of(dir, &parent);
	out->len = 0;
	key_add(out, dir.ptr, SCHEMA_KEY_HEAD);
	key_add(out, "\xff", 1);
	key_add(out, parent.b, SCHEMA_KEY_HASH);
	key_add(out, base.ptr, base.len);
}

void
schema_path_key(struct slice path, struct schema_key *out)
{
	const struct slice dir = parent_of(path);
	const size_t len = path.len < LIMIT_KEY_LEN ? path.len : LIMIT_KEY_LEN;

	/* What has a name that is too long is no path: it finds nothing. */
	if (path.len > LIMIT_KEY_LEN &&
	    path.len - dir.len <= LIMIT_NAME_LEN + 1) {
		schema_child_key(dir, slice_from(path, dir.len + 1), out);
		return;
	}
	out->len = 0;
	key_add(out, path.ptr, len);
}

bool
schema_has_long_children(struct slice dir)
{
	return dir.len + 1 + LIMIT_NAME_LEN > LIMIT_KEY_LEN;
}

bool
schema_is_long_key(struct slice key)
{
	return key.len > SCHEMA_KEY_HEAD && key.ptr[SCHEMA_KEY_HEAD] == 0xff;
}

void
schema_u64_key(uint64_t n, struct schema_key *out)
{
	out->len = 8;
	for (unsigned i = 0; i < 8; i++)
		out->b[i] = (uint8_t)(n >> (56 - 8 * i));
}

bool
schema_u64_of_key(struct slice key, uint64_t *out)
{
	struct reader r;

	reader_init(&r, key);
	*out = reader_u64be(&r);
	return reader_done(&r);
}

void
schema_block_key(const struct digest *hash, uint64_t owner, uint32_t block,
    struct schema_key *out)
{
	out->len = 0;
	key_add(out, hash->b, SCHEMA_BLOCK_PREFIX);
	key_add_varint(out, owner);
	if (block != 0)
		key_add_varint(out, block);
}

bool
schema_block_of_key(struct slice key, uint64_t *owner, uint32_t *block)
{
	struct reader r;
	uint64_t n = 0;

	reader_init(&r, key);
	reader_bytes(&r, SCHEMA_BLOCK_PREFIX);
	*owner = reader_varint(&r);
	if (reader_ok(&r) && r.len > 0)
		n = reader_varint(&r);
	*block = (uint32_t)n;
	return reader_done(&r) && n < LIMIT_BLOCKS;
}

/* Checksums */

static uint32_t
schema_sum(struct slice key, struct slice body)
{
	return (uint32_t)hash_u64_seed(body, hash_u64(key));
}

static void
sum_fill(struct buf *out, size_t at, struct slice key)
{
	const struct slice body =
	    slice_of(out->ptr + at + SCHEMA_SUM, out->len - at - SCHEMA_SUM);
	const uint32_t sum = schema_sum(key, body);

	for (unsigned i = 0; i < SCHEMA_SUM; i++)
		out->ptr[at + i] = (uint8_t)(sum >> (8 * i));
}

void
schema_seal(struct slice key, struct slice body, struct buf *out)
{
	const size_t at = out->len;

	buf_put_u32le(out, 0);
	buf_put(out, body);
	sum_fill(out, at, key);
}

int
schema_unseal(struct slice key, struct slice value, struct slice *body,
    struct err *err)
{
	struct reader r;
	uint32_t sum;

	reader_init(&r, value);
	sum = reader_u32le(&r);
	if (!reader_ok(&r))
		return err_set(err, ERR_CORRUPT, "record too short");
	*body = slice_from(value, SCHEMA_SUM);
	if (sum != schema_sum(key, *body))
		return err_set(err, ERR_CORRUPT, "record checksum is wrong");
	return 0;
}

/* Sets of devices: 0x80 and seven slots, or a length and that many bytes. */

static void
devset_encode(const struct devset *s, struct buf *out)
{
	unsigned len = DEVSET_WORDS * 8;

	if (s->word[0] < 0x80 && s->word[1] == 0 && s->word[2] == 0 &&
	    s->word[3] == 0) {
		buf_put_u8(out, (uint8_t)(0x80 | s->word[0]));
		return;
	}
	while (((s->word[(len - 1) / 8] >> ((len - 1) % 8 * 8)) & 0xff) == 0)
		len--;
	buf_put_u8(out, (uint8_t)len);
	for (unsigned i = 0; i < len; i++)
		buf_put_u8(out, (uint8_t)(s->word[i / 8] >> (i % 8 * 8)));
}

static void
devset_decode(struct reader *r, struct devset *out)
{
	const uint8_t first = reader_u8(r);

	*out = (struct devset){ 0 };
	if ((first & 0x80) != 0) {
		out->word[0] = first & 0x7f;
		return;
	}
	if (first > DEVSET_WORDS * 8) {
		r->failed = true;
		return;
	}
	for (unsigned i = 0; i < first; i++)
		out->word[i / 8] |= (uint64_t)reader_u8(r) << (i % 8 * 8);
}

/* Blocks: count and size in one number, then the hash, or that of the list. */

/* 1 .. 8 for the sizes of the protocol, 0 for others (encrypted folders). */
static unsigned
block_size_code(uint32_t block_size)
{
	for (unsigned i = 0; i < 8; i++) {
		if (block_size == (uint32_t)LIMIT_BLOCK_LEN_MIN << i)
			return i + 1;
	}
	return 0;
}

static void
blocks_encode(const struct entry *e, struct buf *out)
{
	const unsigned code = block_size_code(e->block_size);

	buf_put_varint(out, (uint64_t)e->block_count << 4 | code);
	if (code == 0)
		buf_put_varint(out, e->block_size);
	if (e->block_count == 1) {
		ASSERT(e->block != NULL);
		buf_put(out, slice_of(e->block, DIGEST_LEN));
	} else {
		buf_put(out, slice_of(e->blocks_hash.b, DIGEST_LEN));
	}
}

static void
digest_decode(struct reader *r, struct digest *out)
{
	const struct slice s = reader_bytes(r, DIGEST_LEN);

	if (s.len == DIGEST_LEN)
		memcpy(out->b, s.ptr, DIGEST_LEN);
}

static void
blocks_decode(struct reader *r, struct entry *e, struct arena *arena)
{
	const uint64_t head = reader_varint(r);
	const unsigned code = (unsigned)(head & 15);
	uint64_t size = 0;
	struct digest *one;

	if (code == 0)
		size = reader_varint(r);
	else if (code <= 8)
		size = LIMIT_BLOCK_LEN_MIN << (code - 1);
	if (code > 8 || size > UINT32_MAX || head >> 4 == 0 ||
	    head >> 4 > LIMIT_BLOCKS) {
		r->failed = true;
		return;
	}
	e->block_size = (uint32_t)size;
	e->block_count = (uint32_t)(head >> 4);
	if (e->block_count > 1) {
		digest_decode(r, &e->blocks_hash);
		return;
	}
	one = arena_zalloc(arena, sizeof(*one));
	digest_decode(r, one);
	e->block = one;
}

/* Versions */

static unsigned
type_code(enum entry_type type)
{
	switch (type) {
	case ENTRY_FILE:
		return 0;
	case ENTRY_DIR:
		return 1;
	case ENTRY_LINK:
		return 2;
	}
	ASSERT(false);
	return 0;
}

static unsigned
extra_of(const struct entry *e)
{
	static const struct digest none;
	unsigned extra = 0;

	if (e->block_count == 0 && e->block_size != 0)
		extra |= EXTRA_BLOCK_SIZE;
	if (!digest_equal(&e->previous_blocks_hash, &none))
		extra |= EXTRA_PREVIOUS;
	if (e->link_target.len > 0)
		extra |= EXTRA_TARGET;
	if (e->platform.len > 0)
		extra |= EXTRA_PLATFORM;
	return extra;
}

static void
extra_encode(const struct entry *e, unsigned extra, struct buf *out)
{
	buf_put_u8(out, (uint8_t)extra);
	if ((extra & EXTRA_BLOCK_SIZE) != 0)
		buf_put_varint(out, e->block_size);
	if ((extra & EXTRA_PREVIOUS) != 0)
		buf_put(out, slice_of(e->previous_blocks_hash.b, DIGEST_LEN));
	if ((extra & EXTRA_TARGET) != 0)
		buf_put_str(out, e->link_target);
	if ((extra & EXTRA_PLATFORM) != 0)
		buf_put_str(out, e->platform);
}

static void
extra_decode(struct reader *r, struct entry *e)
{
	const unsigned extra = reader_u8(r);
	uint64_t size;

	if ((extra & ~(unsigned)EXTRA_ALL) != 0)
		r->failed = true;
	if ((extra & EXTRA_BLOCK_SIZE) != 0) {
		size = reader_varint(r);
		if (size > UINT32_MAX || e->block_count != 0)
			r->failed = true;
		e->block_size = (uint32_t)size;
	}
	if ((extra & EXTRA_PREVIOUS) != 0)
		digest_decode(r, &e->previous_blocks_hash);
	if ((extra & EXTRA_TARGET) != 0)
		e->link_target = reader_str(r, LIMIT_STRING_LEN);
	if ((extra & EXTRA_PLATFORM) != 0)
		e->platform = reader_str(r, LIMIT_PLATFORM_LEN);
}

/* The counters, and which of them is that of `modified_by` (0: none). */
static void
counters_encode(const struct entry *e, struct buf *out)
{
	uint32_t by = 0;

	buf_put_varint(out, e->version.count);
	for (uint32_t i = 0; i < e->version.count; i++) {
		const struct counter *c = &e->version.counter[i];

		buf_put_u64le(out, c->id);
		buf_put_varint(out, c->value);
		if (c->id == e->modified_by)
			by = i + 1;
	}
	buf_put_varint(out, by);
	if (by == 0)
		buf_put_u64le(out, e->modified_by);
}

static void
counters_decode(struct reader *r, struct entry *e, struct arena *arena)
{
	const uint64_t count = reader_varint(r);
	struct counter *c = NULL;
	uint64_t by;

	if (count > LIMIT_COUNTERS)
		r->failed = true;
	if (r->failed)
		return;
	if (count > 0)
		c = arena_alloc(arena, count * sizeof(*c));
	for (uint64_t i = 0; i < count; i++) {
		c[i].id = reader_u64le(r);
		c[i].value = reader_varint(r);
	}
	by = reader_varint(r);
	if (by > count)
		r->failed = true;
	else if (by == 0)
		e->modified_by = reader_u64le(r);
	else
		e->modified_by = c[by - 1].id;
	e->version = (struct version){ .counter = c, .count = (uint32_t)count };
}

static void
version_put(const struct row_version *v, struct buf *out)
{
	const struct entry *e = &v->entry;
	const unsigned extra = extra_of(e);
	unsigned head = type_code(e->type);

	head |= e->deleted ? VERSION_DELETED : 0;
	head |= e->no_perms ? VERSION_NO_PERMS : 0;
	head |= e->mtime_ns != 0 ? VERSION_NS : 0;
	head |= e->block_count != 0 ? VERSION_BLOCKS : 0;
	head |= !devset_is_empty(&v->shadows) ? VERSION_SHADOWS : 0;
	head |= extra != 0 ? VERSION_EXTRA : 0;
	buf_put_u8(out, (uint8_t)head);
	buf_put_varint(out, e->perms);
	buf_put_varint(out, (uint64_t)e->size);
	buf_put_svarint(out, e->mtime_s);
	if (e->mtime_ns != 0)
		buf_put_u32le(out, (uint32_t)e->mtime_ns);
	counters_encode(e, out);
	if (e->block_count != 0)
		blocks_encode(e, out);
	if (extra != 0)
		extra_encode(e, extra, out);
	devset_encode(&v->holders, out);
	if ((head & VERSION_SHADOWS) != 0)
		devset_encode(&v->shadows, out);
}

static void
version_take(struct reader *r, struct slice path, struct row_version *v,
    struct arena *arena)
{
	static const enum entry_type types[4] = { ENTRY_FILE, ENTRY_DIR,
		ENTRY_LINK, ENTRY_FILE };
	const unsigned head = reader_u8(r);
	struct entry *e = &v->entry;
	uint64_t perms, size, ns = 0;

	*v = (struct row_version){ 0 };
	e->name = path;
	e->type = types[head & VERSION_TYPE];
	e->deleted = (head & VERSION_DELETED) != 0;
	e->no_perms = (head & VERSION_NO_PERMS) != 0;
	perms = reader_varint(r);
	size = reader_varint(r);
	e->mtime_s = reader_svarint(r);
	if ((head & VERSION_NS) != 0)
		ns = reader_u32le(r);
	if ((head & VERSION_TYPE) == VERSION_TYPE || perms > UINT32_MAX ||
	    size > INT64_MAX || ns > 999999999)
		r->failed = true;
	e->perms = (uint32_t)perms;
	e->size = (int64_t)size;
	e->mtime_ns = (int32_t)ns;
	counters_decode(r, e, arena);
	if (!r->failed && (head & VERSION_BLOCKS) != 0)
		blocks_decode(r, e, arena);
	if ((head & VERSION_EXTRA) != 0)
		extra_decode(r, e);
	devset_decode(r, &v->holders);
	if ((head & VERSION_SHADOWS) != 0)
		devset_decode(r, &v->shadows);
}

/* What was seen on disk, as a difference to the local version. */

static void
seen_put(const struct identity *s, const struct entry *e, struct buf *out)
{
	unsigned head = (unsigned)s->type;

	head |= s->mode == e->perms ? SEEN_MODE : 0;
	head |= s->size == e->size ? SEEN_SIZE : 0;
	head |= s->mtime_s == e->mtime_s && s->mtime_ns == e->mtime_ns
		    ? SEEN_MTIME
		    : 0;
	head |= s->ctime_s == s->mtime_s && s->ctime_ns == s->mtime_ns
		    ? SEEN_CTIME
		    : 0;
	buf_put_u8(out, (uint8_t)head);
	if (s->type == IDENTITY_ABSENT)
		return;
	if ((head & SEEN_MODE) == 0)
		buf_put_varint(out, s->mode);
	if ((head & SEEN_SIZE) == 0)
		buf_put_svarint(out, s->size);
	if ((head & SEEN_MTIME) == 0) {
		buf_put_svarint(out, s->mtime_s);
		buf_put_u32le(out, (uint32_t)s->mtime_ns);
	}
	if ((head & SEEN_CTIME) == 0) {
		/* Differences wrap, so that no two times are too far apart. */
		buf_put_svarint(out,
		    (int64_t)((uint64_t)s->ctime_s - (uint64_t)s->mtime_s));
		buf_put_u32le(out, (uint32_t)s->ctime_ns);
	}
	buf_put_varint(out, s->ino);
	buf_put_varint(out, s->dev);
}

static int32_t
seen_take_ns(struct reader *r)
{
	const uint32_t ns = reader_u32le(r);

	if (ns > INT32_MAX)
		r->failed = true;
	return (int32_t)(ns & INT32_MAX);
}

static void
seen_take(struct reader *r, const struct entry *e, struct identity *out)
{
	const unsigned head = reader_u8(r);
	uint64_t mode;

	*out = (struct identity){ 0 };
	if ((head & SEEN_TYPE) > IDENTITY_OTHER || (head & 0x80) != 0)
		r->failed = true;
	if ((head & SEEN_TYPE) == IDENTITY_ABSENT || r->failed)
		return;
	out->type = (enum identity_type)(head & SEEN_TYPE);
	mode = (head & SEEN_MODE) != 0 ? e->perms : reader_varint(r);
	if (mode > UINT32_MAX)
		r->failed = true;
	out->mode = (uint32_t)mode;
	out->size = (head & SEEN_SIZE) != 0 ? e->size : reader_svarint(r);
	out->mtime_s = e->mtime_s;
	out->mtime_ns = e->mtime_ns;
	if ((head & SEEN_MTIME) == 0) {
		out->mtime_s = reader_svarint(r);
		out->mtime_ns = seen_take_ns(r);
	}
	out->ctime_s = out->mtime_s;
	out->ctime_ns = out->mtime_ns;
	if ((head & SEEN_CTIME) == 0) {
		out->ctime_s = (int64_t)((uint64_t)out->mtime_s +
					 (uint64_t)reader_svarint(r));
		out->ctime_ns = seen_take_ns(r);
	}
	out->ino = reader_varint(r);
	out->dev = reader_varint(r);
}

/* Rows */

/* `owner` is the row's sequence most of the time. */
static void
owner_put(uint64_t owner, uint64_t seq, struct buf *out)
{
	if (owner == 0)
		buf_put_varint(out, 0);
	else if (owner == seq)
		buf_put_varint(out, 1);
	else
		buf_put_varint(out, owner + 1);
}

static uint64_t
owner_take(struct reader *r, uint64_t seq)
{
	const uint64_t n = reader_varint(r);

	if (n == 1 && seq == 0)
		r->failed = true;
	if (n <= 1)
		return n == 0 ? 0 : seq;
	return n - 1;
}

/* Will something be added to this row soon: is it waiting for its file? */
static bool
row_is_waiting(const struct row *row)
{
	return row->seq == 0 && row->version_count > 0 &&
	       !row->version[0].entry.deleted &&
	       !devset_is_empty(&row->version[0].holders);
}

static int32_t
row_find_local(const struct row *row)
{
	for (uint32_t i = 0; i < row->version_count; i++) {
		if (devset_has(&row->version[i].holders, ROW_SELF) ||
		    devset_has(&row->version[i].shadows, ROW_SELF))
			return (int32_t)i;
	}
	return -1;
}

/* No device may be in two sets. */
static bool
row_sets_are_disjoint(const struct row *row)
{
	for (uint32_t w = 0; w < DEVSET_WORDS; w++) {
		uint64_t all = 0;

		for (uint32_t i = 0; i < row->version_count; i++) {
			const struct row_version *v = &row->version[i];
			const uint64_t a = v->holders.word[w];
			const uint64_t b = v->shadows.word[w];

			if ((a & b) != 0 || ((a | b) & all) != 0)
				return false;
			all |= a | b;
		}
	}
	return true;
}

static const struct entry *
row_seen_base(const struct row *row)
{
	static const struct entry none;

	return row->local < 0 ? &none : &row->version[row->local].entry;
}

void
schema_row_encode(const struct row *row, uint64_t owner, struct slice key,
    struct buf *out)
{
	const bool is_long = schema_is_long_key(key);
	const size_t at = out->len;

	ASSERT(row->version_count <= LIMIT_ROW_VERSIONS);
	ASSERT(row->flags <= SCHEMA_FLAGS);
	/* Room for all fixed parts of one version at once. */
	buf_reserve(out, 256);
	buf_put_u32le(out, 0);
	buf_put_varint(out, (uint64_t)row->version_count << SCHEMA_COUNT_SHIFT |
				(is_long ? SCHEMA_LONG : 0) | row->flags);
	if (is_long)
		buf_put_str(out, row->path);
	for (uint32_t i = 0; i < row->version_count; i++)
		version_put(&row->version[i], out);
	buf_put_varint(out, row->seq);
	owner_put(owner, row->seq, out);
	seen_put(&row->seen, row_seen_base(row), out);
	if (row_is_waiting(row))
		memset(buf_extend(out, SCHEMA_RESERVE), 0, SCHEMA_RESERVE);
	sum_fill(out, at, key);
}

/* After the last field only zeroes may stand. */
static bool
row_ends(const struct reader *r)
{
	if (r->failed || r->len > SCHEMA_RESERVE)
		return false;
	for (size_t i = 0; i < r->len; i++) {
		if (r->ptr[i] != 0)
			return false;
	}
	return true;
}

/* The path: the key itself, or in the row; it must belong to the key. */
static struct slice
row_take_path(struct reader *r, struct slice key, bool is_long)
{
	struct schema_key again;
	struct slice path = key;

	if (is_long != schema_is_long_key(key))
		r->failed = true;
	if (!is_long || r->failed)
		return path;
	path = reader_str(r, LIMIT_PATH_LEN);
	if (path.len <= LIMIT_KEY_LEN ||
	    path.len - parent_of(path).len - 1 > LIMIT_NAME_LEN) {
		r->failed = true;
		return key;
	}
	schema_path_key(path, &again);
	if (!slice_equal(schema_slice(&again), key))
		r->failed = true;
	return path;
}

int
schema_row_decode(struct slice key, struct slice value, struct row *out,
    uint64_t *owner, struct arena *arena, struct err *err)
{
	struct reader r;
	struct slice body = SLICE_EMPTY;
	uint64_t head;
	int rc;

	*out = (struct row){ .local = -1, .global = -1 };
	*owner = 0;
	rc = schema_unseal(key, value, &body, err);
	if (rc < 0)
		return rc;
	reader_init(&r, body);
	head = reader_varint(&r);
	if (head >> SCHEMA_COUNT_SHIFT > LIMIT_ROW_VERSIONS)
		return err_set(err, ERR_CORRUPT, "row with too many versions");
	out->flags = (uint32_t)(head & SCHEMA_FLAGS);
	out->version_count = (uint32_t)(head >> SCHEMA_COUNT_SHIFT);
	out->path = row_take_path(&r, key, (head & SCHEMA_LONG) != 0);
	out->version = arena_alloc(arena,
	    (out->version_count + 1) * sizeof(*out->version));
	for (uint32_t i = 0; i < out->version_count && !r.failed; i++)
		version_take(&r, out->path, &out->version[i], arena);
	out->seq = reader_varint(&r);
	*owner = owner_take(&r, out->seq);
	if (r.failed)
		return err_set(err, ERR_CORRUPT, "row is cut short");
	out->global = out->version_count > 0 ? 0 : -1;
	out->local = row_find_local(out);
	seen_take(&r, row_seen_base(out), &out->seen);
	if (!row_ends(&r))
		return err_set(err, ERR_CORRUPT, "row does not end");
	if (!row_sets_are_disjoint(out))
		return err_set(err, ERR_CORRUPT, "device twice in a row");
	return 0;
}

void
schema_row_finish(struct row *row)
{
	for (uint32_t i = 0; i < row->version_count; i++) {
		struct entry *e = &row->version[i].entry;

		if (e->block_count == 1)
			blocks_digest(e->block, 1, &e->blocks_hash);
	}
}

bool
schema_row_is_sound(struct slice key, struct slice value, struct arena *arena)
{
	const struct arena_mark mark = arena_mark(arena);
	struct row row;
	uint64_t owner;
	int rc;

	rc = schema_row_decode(key, value, &row, &owner, arena, NULL);
	arena_reset(arena, mark);
	return rc == 0;
}
