/*
 * Any bytes as an ignore file, its includes and a path to be tested.
 *
 * Parts are separated by a NUL: the root file, then files for the includes in
 * the order they are asked for, then the path.  Rules are refused or they
 * answer, the same answer twice, and nothing that is wanted is ever below a
 * directory that may be skipped.
 */
#include <stdint.h>
#include <stdlib.h>

#include "blockproto/entry.h"
#include "engine/base/path.h"
#include "engine/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond)                                                       \
	do {                                                                   \
		if (!(cond))                                                   \
			abort();                                               \
	} while (0)

static struct slice
fuzz_part(struct slice *rest)
{
	const size_t nul = slice_find(*rest, 0);
	const struct slice part =
	    nul == SIZE_MAX ? *rest : slice_to(*rest, nul);

	*rest = nul == SIZE_MAX ? SLICE_EMPTY : slice_from(*rest, nul + 1);
	return part;
}

static int
fuzz_parse(struct ignore *ig, struct slice *rest, struct err *err)
{
	int rc = ignore_parse(ig, fuzz_part(rest), err);
	struct slice want;

	while (rc == 0 && ignore_wanted(ig, &want)) {
		FUZZ_CHECK(path_check(want, NULL) == 0);
		rc = ignore_add(ig, want, fuzz_part(rest), err);
	}
	return rc;
}

static bool
fuzz_is_inner(struct slice rule)
{
	return slice_has_suffix(rule, SLICE_LIT("/")) ||
	       slice_has_suffix(rule, SLICE_LIT("/**"));
}

static void
fuzz_ask(const struct ignore *ig, struct slice path)
{
	const struct ignore_match a = ignore_test(ig, path);
	const struct ignore_match b = ignore_test(ig, path);
	struct slice dir = path_parent(path);

	FUZZ_CHECK(a.ignored == b.ignored && a.line == b.line);
	FUZZ_CHECK((a.line == 0) == (a.file.len == 0));
	FUZZ_CHECK(!a.deletable || a.ignored);
	/*
	 * What may be skipped holds nothing that somebody wants; but for
	 * "!/x/" and "!/x/ **", which keep what is in x and not x itself: there
	 * Syncthing skips, and so do we.
	 */
	for (; dir.len > 0; dir = path_parent(dir))
		if (!entry_is_internal(dir) && ignore_test(ig, dir).ignored &&
		    ignore_can_skip(ig, dir))
			FUZZ_CHECK(
			    a.ignored || (a.line > 0 && fuzz_is_inner(a.rule)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size);
	struct ignore *ig = ignore_new();
	struct err err = { 0 };
	const int rc = fuzz_parse(ig, &rest, &err);

	FUZZ_CHECK(rc == 0 || rc == ERR_INVALID);
	if (rc == 0 && path_check(rest, NULL) == 0)
		fuzz_ask(ig, rest);
	if (rc < 0)
		FUZZ_CHECK(err.text[0] != '\0');
	ignore_free(ig);
	return 0;
}
