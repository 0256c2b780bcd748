/*
 * Any bytes as a path: what the check lets through is safe to cut, join and
 * show; what it refuses can still be shown.
 */
#include <stdint.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond)                                                       \
	do {                                                                   \
		if (!(cond))                                                   \
			abort();                                               \
	} while (0)

static void
fuzz_checked(struct arena *ar, struct slice path)
{
	const struct slice parent = path_parent(path);
	const struct slice base = path_base(path);

	FUZZ_CHECK(path.len > 0 && path.len <= LIMIT_PATH_LEN);
	FUZZ_CHECK(slice_is_utf8(path));
	FUZZ_CHECK(slice_equal(path_join(ar, parent, base), path));
	FUZZ_CHECK(path_is_below(path, parent));
	FUZZ_CHECK(path_check(base, NULL) == 0);
	FUZZ_CHECK(slice_find(base, '/') == SIZE_MAX);
	FUZZ_CHECK(path_depth(path) == path_depth(parent) + 1);
	if (parent.len > 0)
		FUZZ_CHECK(path_check(parent, NULL) == 0);
	FUZZ_CHECK(slice_equal(path_rebase(ar, path, parent, SLICE_LIT("x")),
	    path_join(ar, SLICE_LIT("x"), base)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct slice path = slice_of(data, size);
	struct arena ar = { 0 };
	struct err err = { 0 };
	const int rc = path_check(path, &err);
	const char *text = path_print(&ar, path);

	FUZZ_CHECK(rc == 0 || rc == ERR_PROTOCOL || rc == ERR_LIMIT);
	FUZZ_CHECK(slice_is_utf8(slice_str(err.text)));
	FUZZ_CHECK(slice_is_utf8(slice_str(text)));
	for (const char *c = text; *c != '\0'; c++)
		FUZZ_CHECK((uint8_t)*c >= 0x20 && *c != 0x7f);
	if (rc == 0)
		fuzz_checked(&ar, path);
	arena_fini(&ar);
	return 0;
}
