/*
 * Keys and records: there and back, and damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "blockproto/blocks.h"
#include "engine/base/rng.h"
#include "engine/schema.h"

struct fixture {
	struct rng rng;
	struct arena arena;
	struct buf buf;
};

static void
fill(struct fixture *f, void *to, size_t len)
{
	uint8_t *b = to;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)rng_u64(&f->rng);
}

static bool
coin(struct fixture *f)
{
	return rng_below(&f->rng, 2) == 0;
}

/* Small often, anything sometimes. */
static uint64_t
number(struct fixture *f)
{
	return rng_u64(&f->rng) >> rng_below(&f->rng, 64);
}

static struct slice
bytes(struct fixture *f, size_t max)
{
	const size_t len = (size_t)rng_below(&f->rng, max + 1);
	uint8_t *b = arena_alloc(&f->arena, len);

	fill(f, b, len);
	return slice_of(b, len);
}

static void
some_blocks(struct fixture *f, struct entry *e)
{
	struct digest *d;

	e->block_count = 1 + (uint32_t)rng_below(&f->rng, 3);
	e->block_size =
	    coin(f) ? 131072u << rng_below(&f->rng, 8) : (uint32_t)number(f);
	d = arena_array(&f->arena, e->block_count, sizeof(*d));
	fill(f, d, e->block_count * sizeof(*d));
	e->block = d;
	blocks_digest(d, e->block_count, &e->blocks_hash);
}

static struct entry
some_entry(struct fixture *f, struct slice path)
{
	static const enum entry_type types[] = { ENTRY_FILE, ENTRY_FILE,
		ENTRY_DIR, ENTRY_LINK };
	struct entry e = { .name = path };
	const uint32_t count = (uint32_t)rng_below(&f->rng, 4);
	struct counter *c = arena_array(&f->arena, 4, sizeof(*c));

	e.type = types[rng_below(&f->rng, 4)];
	e.deleted = coin(f);
	e.no_perms = coin(f);
	e.perms = (uint32_t)rng_below(&f->rng, 01000);
	e.size = (int64_t)(number(f) >> 1);
	e.mtime_s = (int64_t)number(f);
	e.mtime_ns = coin(f) ? 0 : (int32_t)rng_below(&f->rng, 1000000000);
	for (uint32_t i = 0; i < count; i++)
		c[i] = (struct counter){ 10 * i + 1, number(f) };
	e.version = (struct version){ c, count };
	e.modified_by = coin(f) && count > 0 ? c[count - 1].id : number(f);
	if (e.type == ENTRY_FILE && coin(f))
		some_blocks(f, &e);
	else
		e.block_size = coin(f) ? 0 : 131072;
	if (coin(f))
		e.link_target = bytes(f, 40);
	if (rng_below(&f->rng, 4) == 0)
		e.platform = bytes(f, 100);
	if (rng_below(&f->rng, 4) == 0)
		fill(f, &e.previous_blocks_hash, DIGEST_LEN);
	return e;
}

/* Devices that are in no set yet. */
static void
some_set(struct fixture *f, struct devset *used, struct devset *s)
{
	const uint64_t limit = coin(f) ? 7 : LIMIT_FOLDER_DEVICES;

	for (uint64_t n = rng_below(&f->rng, 5); n > 0; n--) {
		const uint32_t slot =
		    1 + (uint32_t)rng_below(&f->rng, limit - 1);

		if (devset_has(used, slot))
			continue;
		devset_add(used, slot);
		devset_add(s, slot);
	}
}

static void
some_seen(struct fixture *f, const struct entry *e, struct identity *s)
{
	s->type = 1 + (unsigned)rng_below(&f->rng, 4);
	s->mode = coin(f) ? e->perms : (uint32_t)rng_below(&f->rng, 010000);
	s->size = coin(f) ? e->size : (int64_t)number(f);
	s->mtime_s = coin(f) ? e->mtime_s : (int64_t)number(f);
	s->mtime_ns = coin(f) ? e->mtime_ns : 999999999;
	s->ctime_s = coin(f) ? s->mtime_s : (int64_t)number(f);
	s->ctime_ns = coin(f) ? s->mtime_ns : 5;
	s->ino = number(f);
	s->dev = number(f);
}

static struct row
some_row(struct fixture *f, struct slice path)
{
	struct row r = { .path = path, .local = -1, .global = 0 };
	struct devset used = { 0 };

	r.version_count = 1 + (uint32_t)rng_below(&f->rng, 3);
	r.version = arena_array(&f->arena, r.version_count, sizeof(*r.version));
	for (uint32_t i = 0; i < r.version_count; i++) {
		r.version[i].entry = some_entry(f, path);
		some_set(f, &used, &r.version[i].holders);
		if (coin(f))
			some_set(f, &used, &r.version[i].shadows);
	}
	r.flags = (uint32_t)rng_below(&f->rng, 16);
	if (coin(f)) {
		const uint32_t i =
		    (uint32_t)rng_below(&f->rng, r.version_count);

		devset_add(coin(f) ? &r.version[i].holders
				   : &r.version[i].shadows,
		    ROW_SELF);
		r.local = (int32_t)i;
		r.seq = 1 + (number(f) >> 1);
		some_seen(f, &r.version[i].entry, &r.seen);
	}
	return r;
}

static void
expect_entry(const struct entry *a, const struct entry *b)
{
	assert_true(slice_equal(a->name, b->name));
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->deleted, b->deleted);
	assert_int_equal(a->no_perms, b->no_perms);
	assert_int_equal(a->perms, b->perms);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->mtime_s, b->mtime_s);
	assert_int_equal(a->mtime_ns, b->mtime_ns);
	assert_int_equal(a->modified_by, b->modified_by);
	assert_true(version_equal(a->version, b->version));
	assert_int_equal(a->block_size, b->block_size);
	assert_int_equal(a->block_count, b->block_count);
	assert_true(digest_equal(&a->blocks_hash, &b->blocks_hash));
	if (a->block_count == 1)
		assert_true(digest_equal(a->block, b->block));
	assert_true(slice_equal(a->link_target, b->link_target));
	assert_true(slice_equal(a->platform, b->platform));
	assert_true(
	    digest_equal(&a->previous_blocks_hash, &b->previous_blocks_hash));
}

static void
expect_row(const struct row *a, const struct row *b)
{
	assert_true(slice_equal(a->path, b->path));
	assert_int_equal(a->version_count, b->version_count);
	assert_int_equal(a->local, b->local);
	assert_int_equal(a->global, b->global);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->seq, b->seq);
	assert_int_equal(a->seen.type, b->seen.type);
	assert_int_equal(a->seen.mode, b->seen.mode);
	assert_int_equal(a->seen.size, b->seen.size);
	assert_int_equal(a->seen.mtime_s, b->seen.mtime_s);
	assert_int_equal(a->seen.mtime_ns, b->seen.mtime_ns);
	assert_int_equal(a->seen.ctime_s, b->seen.ctime_s);
	assert_int_equal(a->seen.ctime_ns, b->seen.ctime_ns);
	assert_int_equal(a->seen.ino, b->seen.ino);
	assert_int_equal(a->seen.dev, b->seen.dev);
	for (uint32_t i = 0; i < a->version_count; i++) {
		const struct row_version *v = &a->version[i];
		const struct row_version *w = &b->version[i];

		expect_entry(&v->entry, &w->entry);
		assert_memory_equal(&v->holders, &w->holders,
		    sizeof(v->holders));
		assert_memory_equal(&v->shadows, &w->shadows,
		    sizeof(v->shadows));
	}
}

/* A path of `len` bytes in components of 200. */
static struct slice
long_path(struct fixture *f, size_t len)
{
	uint8_t *b = arena_alloc(&f->arena, len);

	memset(b, 'p', len);
	for (size_t i = 200; i + 1 < len; i += 201)
		b[i] = '/';
	return slice_of(b, len);
}

static void
rows_come_back_as_they_were(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	rng_init(&f.rng, 1);
	for (int i = 0; i < 20000; i++) {
		const struct slice path = i % 10 == 0
					      ? long_path(&f, 600)
					      : SLICE_LIT("docs/notes.txt");
		const struct row row = some_row(&f, path);
		const uint64_t owner = row.seq == 0 ? 0
				       : coin(&f)   ? row.seq
						    : number(&f) >> 2;
		struct schema_key key;
		struct row back;
		uint64_t back_owner;
		struct err err = { 0 };

		schema_path_key(path, &key);
		buf_clear(&f.buf);
		schema_row_encode(&row, owner, schema_slice(&key), &f.buf);
		if (schema_row_decode(schema_slice(&key), buf_slice(&f.buf),
			&back, &back_owner, &f.arena, &err) < 0)
			fail_msg("%s", err.text);
		schema_row_finish(&back);
		expect_row(&row, &back);
		assert_int_equal(owner, back_owner);
		arena_clear(&f.arena);
	}
	buf_fini(&f.buf);
	arena_fini(&f.arena);
}

static void
record_under_another_key_or_with_a_flipped_bit_is_damage(void **state)
{
	struct fixture f = { 0 };
	const struct slice path = SLICE_LIT("a"), other = SLICE_LIT("b");
	struct row row;

	(void)state;
	rng_init(&f.rng, 2);
	row = some_row(&f, path);
	schema_row_encode(&row, 0, path, &f.buf);
	assert_true(schema_row_is_sound(path, buf_slice(&f.buf), &f.arena));
	assert_false(schema_row_is_sound(other, buf_slice(&f.buf), &f.arena));
	for (size_t i = 0; i < f.buf.len * 8; i++) {
		f.buf.ptr[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_false(
		    schema_row_is_sound(path, buf_slice(&f.buf), &f.arena));
		f.buf.ptr[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t len = 0; len < f.buf.len; len++)
		assert_false(schema_row_is_sound(path, slice_of(f.buf.ptr, len),
		    &f.arena));
	buf_fini(&f.buf);
	arena_fini(&f.arena);
}

/* The checksum does not help against one who can compute it. */
static void
garbage_with_a_right_checksum_is_refused_or_harmless(void **state)
{
	struct fixture f = { 0 };
	const struct slice path = SLICE_LIT("a");

	(void)state;
	rng_init(&f.rng, 3);
	for (int i = 0; i < 20000; i++) {
		struct row row = some_row(&f, path);
		struct buf bad = { 0 };
		uint64_t owner;

		buf_clear(&f.buf);
		schema_row_encode(&row, 0, path, &f.buf);
		for (uint64_t n = 1 + rng_below(&f.rng, 3); n > 0; n--)
			f.buf.ptr[4 + rng_below(&f.rng, f.buf.len - 4)] =
			    (uint8_t)rng_u64(&f.rng);
		schema_seal(path,
		    slice_of(f.buf.ptr + 4,
			f.buf.len - 4 - rng_below(&f.rng, 4)),
		    &bad);
		if (schema_row_decode(path, buf_slice(&bad), &row, &owner,
			&f.arena, NULL) == 0)
			schema_row_finish(&row);
		buf_fini(&bad);
		arena_clear(&f.arena);
	}
	buf_fini(&f.buf);
	arena_fini(&f.arena);
}

static void
path_keys_keep_the_order_and_long_siblings_stay_together(void **state)
{
	struct fixture f = { 0 };
	const struct slice dir = long_path(&f, 490);
	struct schema_key a, b, c, prefix;
	uint8_t path[700];

	(void)state;
	schema_path_key(SLICE_LIT("a/b"), &a);
	assert_true(slice_equal(schema_slice(&a), SLICE_LIT("a/b")));
	assert_false(schema_is_long_key(schema_slice(&a)));
	memcpy(path, dir.ptr, dir.len);
	path[dir.len] = '/';
	memset(path + dir.len + 1, 'x', 60);
	schema_path_key(slice_of(path, dir.len + 30), &a);
	path[dir.len + 1] = 'y';
	schema_path_key(slice_of(path, dir.len + 20), &b);
	path[0] = 'q';
	schema_path_key(slice_of(path, dir.len + 20), &c);
	assert_true(schema_is_long_key(schema_slice(&a)));
	assert_true(slice_cmp(schema_slice(&a), schema_slice(&b)) < 0);
	assert_true(slice_cmp(schema_slice(&b), schema_slice(&c)) < 0);
	schema_child_key(dir, SLICE_EMPTY, &prefix);
	assert_true(slice_has_prefix(schema_slice(&a), schema_slice(&prefix)));
	assert_true(slice_has_prefix(schema_slice(&b), schema_slice(&prefix)));
	assert_false(slice_has_prefix(schema_slice(&c), schema_slice(&prefix)));
	schema_path_key(long_path(&f, LIMIT_PATH_LEN), &a);
	assert_in_range(a.len, 1, LIMIT_KEY_LEN);
	arena_fini(&f.arena);
}

static void
block_keys_come_back(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	rng_init(&f.rng, 4);
	for (int i = 0; i < 10000; i++) {
		struct digest d;
		struct schema_key key;
		const uint64_t owner = number(&f);
		const uint32_t block =
		    coin(&f) ? 0 : (uint32_t)rng_below(&f.rng, LIMIT_BLOCKS);
		uint64_t o;
		uint32_t n;

		fill(&f, &d, sizeof(d));
		schema_block_key(&d, owner, block, &key);
		assert_memory_equal(key.b, d.b, SCHEMA_BLOCK_PREFIX);
		assert_true(schema_block_of_key(schema_slice(&key), &o, &n));
		assert_int_equal(o, owner);
		assert_int_equal(n, block);
	}
}

static void
small_file_takes_at_most_90_bytes(void **state)
{
	const struct slice path = SLICE_LIT("dir-000/sub/file-000000-n.txt");
	const struct digest hash = { { 1 } };
	const struct counter c = { UINT64_C(0x7fffffffffffffff), 1790000000 };
	struct row_version v = { .entry = { .name = path,
				     .perms = 0644,
				     .size = 8192,
				     .mtime_s = 1790000000,
				     .mtime_ns = 999999999,
				     .modified_by = c.id,
				     .version = { &c, 1 },
				     .block_size = 131072,
				     .block_count = 1,
				     .block = &hash } };
	struct row row = { .path = path,
		.version = &v,
		.version_count = 1,
		.seq = 1000000,
		.seen = { .type = IDENTITY_FILE,
		    .mode = 0644,
		    .size = 8192,
		    .mtime_s = 1790000000,
		    .mtime_ns = 999999999,
		    .ctime_s = 1795000000,
		    .ctime_ns = 1,
		    .ino = 50000000,
		    .dev = 0xfe01 } };
	struct buf buf = { 0 };

	(void)state;
	for (uint32_t d = 0; d < 5; d++)
		devset_add(&v.holders, d);
	schema_row_encode(&row, row.seq, path, &buf);
	print_message("row of a small file: %zu bytes\n", buf.len);
	assert_in_range(buf.len, 1, 90);
	buf_fini(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_come_back_as_they_were),
		cmocka_unit_test(
		    record_under_another_key_or_with_a_flipped_bit_is_damage),
		cmocka_unit_test(
		    garbage_with_a_right_checksum_is_refused_or_harmless),
		cmocka_unit_test(
		    path_keys_keep_the_order_and_long_siblings_stay_together),
		cmocka_unit_test(block_keys_come_back),
		cmocka_unit_test(small_file_takes_at_most_90_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
