/*
 * An answer of a discovery server, and a server's address as a person wrote
 * it.  What is believed of the first can be dialled and told again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"
#include "mesh/finder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct addr a[FINDER_ADDRESSES], again;
	struct finder_server s, t;
	char text[ADDR_TEXT_MAX];
	size_t count;

	if (finder_decode(slice_of(data, len), false, a, &count, NULL) < 0)
		ASSERT(count == 0);
	ASSERT(count <= FINDER_ADDRESSES);
	for (size_t i = 0; i < count; i++) {
		ASSERT(finder_believes(&a[i], false));
		addr_text(&a[i], text);
		ASSERT(addr_parse(&again, slice_str(text), NULL) == 0);
		ASSERT(addr_equal(&a[i], &again));
	}
	if (finder_parse_server(&s, slice_of(data, len), NULL) == 0) {
		ASSERT(strlen(s.url) < sizeof(s.url));
		ASSERT(finder_parse_server(&t, slice_str(s.url), NULL) == 0);
		ASSERT(strcmp(s.url, t.url) == 0);
	}
	return 0;
}
