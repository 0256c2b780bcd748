/* Where peers were, in memory and in a file that may be damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/coord_cache.h"

static const struct devid one = { { 1 } }, two = { { 2 } };

static void
put(struct coord_cache *c, const struct devid *id, const char *text, bool news)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
	assert_int_equal(coord_cache_put(c, id, &a, 1), news);
}

static void
expect(const struct coord_cache *c, const struct devid *id, const char *text)
{
	struct arena ar = { 0 };
	char got[ADDR_TEXT_MAX];
	struct addr *a;
	const size_t n = coord_cache_find(c, id, &a, &ar);

	assert_int_equal(n, text == NULL ? 0 : 1);
	if (text != NULL) {
		addr_text(a, got);
		assert_string_equal(got, text);
	}
	arena_fini(&ar);
}

static void
cache_keeps_what_was_last_heard(void **state)
{
	struct coord_cache *c = coord_cache_new();

	(void)state;
	put(c, &one, "tcp://192.0.2.1:1", true);
	put(c, &one, "tcp://192.0.2.1:1", false);
	put(c, &two, "quic://[2001:db8::2]:2", true);
	put(c, &one, "tcp://192.0.2.1:3", true);
	assert_false(coord_cache_put(c, &one, NULL, 0));
	expect(c, &one, "tcp://192.0.2.1:3");
	expect(c, &two, "quic://[2001:db8::2]:2");
	coord_cache_keep(c, &two, 1);
	expect(c, &one, NULL);
	expect(c, &two, "quic://[2001:db8::2]:2");
	coord_cache_keep(c, NULL, 0);
	expect(c, &two, NULL);
	coord_cache_free(c);
}

static void
cache_comes_back_from_its_file(void **state)
{
	struct coord_cache *c = coord_cache_new(), *d = coord_cache_new();
	struct buf file = { 0 };

	(void)state;
	coord_cache_encode(c, &file);
	assert_int_equal(coord_cache_decode(d, buf_slice(&file), NULL), 0);
	buf_clear(&file);
	put(c, &one, "tcp://192.0.2.1:1", true);
	put(c, &two, "relay://192.0.2.2:3/?token=secret", true);
	coord_cache_encode(c, &file);
	assert_null(memmem(file.ptr, file.len, "secret", 6));
	assert_int_equal(coord_cache_decode(d, buf_slice(&file), NULL), 0);
	expect(d, &one, "tcp://192.0.2.1:1");
	expect(d, &two, "relay://192.0.2.2:3");
	buf_fini(&file);
	coord_cache_free(c);
	coord_cache_free(d);
}

static void
cache_takes_nothing_of_a_damaged_file(void **state)
{
	struct coord_cache *c = coord_cache_new(), *d = coord_cache_new();
	struct buf file = { 0 };

	(void)state;
	put(c, &one, "tcp://192.0.2.1:1", true);
	put(c, &two, "tcp://192.0.2.2:2", true);
	coord_cache_encode(c, &file);
	for (size_t n = 0; n < file.len; n++) {
		assert_int_equal(
		    coord_cache_decode(d, slice_of(file.ptr, n), NULL),
		    ERR_CORRUPT);
		file.ptr[n] ^= 0x10;
		assert_int_equal(coord_cache_decode(d, buf_slice(&file), NULL),
		    ERR_CORRUPT);
		file.ptr[n] ^= 0x10;
	}
	expect(d, &one, NULL);
	expect(d, &two, NULL);
	buf_fini(&file);
	coord_cache_free(c);
	coord_cache_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cache_keeps_what_was_last_heard),
		cmocka_unit_test(cache_comes_back_from_its_file),
		cmocka_unit_test(cache_takes_nothing_of_a_damaged_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
