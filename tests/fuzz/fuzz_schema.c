/*
 * Records of the store from bytes nobody wrote.
 *
 * The checksum is put right first, or nothing but the checksum were tested.
 * What decodes must encode again, and that must decode to the same bytes.
 *
 * Input: length of the key, key, body of the record.
 */
#include <stddef.h>
#include <stdint.h>

#include "engine/base/assert.h"
#include "engine/base/path.h"
#include "engine/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
fuzz_row(struct slice key, struct slice body, struct arena *arena)
{
	struct buf first = { 0 }, second = { 0 }, third = { 0 };
	struct row row;
	uint64_t owner;

	schema_seal(key, body, &first);
	if (schema_row_decode(key, buf_slice(&first), &row, &owner, arena,
		NULL) == 0) {
		schema_row_encode(&row, owner, key, &second);
		ASSERT(schema_row_decode(key, buf_slice(&second), &row, &owner,
			   arena, NULL) == 0);
		schema_row_encode(&row, owner, key, &third);
		ASSERT(slice_equal(buf_slice(&second), buf_slice(&third)));
		schema_row_finish(&row);
	}
	buf_fini(&first);
	buf_fini(&second);
	buf_fini(&third);
}

static void
fuzz_keys(struct slice bytes)
{
	struct schema_key key;
	uint64_t n;
	uint32_t block;

	schema_u64_of_key(bytes, &n);
	schema_block_of_key(bytes, &n, &block);
	schema_is_long_key(bytes);
	if (path_check(bytes, NULL) == 0) {
		schema_path_key(bytes, &key);
		ASSERT(key.len > 0 && key.len <= LIMIT_KEY_LEN);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct arena arena = { 0 };
	struct slice in = slice_of(data, len), key, body;
	size_t key_len;

	if (len == 0)
		return 0;
	in = slice_from(in, 1);
	fuzz_keys(in);
	key_len = data[0] < in.len ? data[0] : in.len;
	key = slice_to(in, key_len);
	body = slice_from(in, key_len);
	if (key.len > 0)
		fuzz_row(key, body, &arena);
	/* And as it is, checksum and all. */
	schema_row_is_sound(key, body, &arena);
	arena_fini(&arena);
	return 0;
}
