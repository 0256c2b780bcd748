/*
 * Where a broken assertion ends: one line, then abort(3), so that a core or a
 * sanitizer shows the stack.
 */
#include "engine/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void
assert_failed(const char *expr, const char *file, int line)
{
	fprintf(stderr, "holdfast: bug: %s does not hold at %s:%d\n", expr,
	    file, line);
	abort();
}
