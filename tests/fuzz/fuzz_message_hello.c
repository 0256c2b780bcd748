/* A Hello's body and, the same bytes again, a frame's header. */
#include <stdint.h>
#include <stdlib.h>

#include "blockproto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct slice body = slice_of(data, size);
	struct arena arena = { 0 };
	struct buf one = { 0 }, two = { 0 };
	int32_t type, compression, type2, compression2;
	struct hello h;

	if (message_hello_decode(&h, body, &arena, NULL) == 0) {
		message_hello_encode(&h, &one);
		if (message_hello_decode(&h, buf_slice(&one), &arena, NULL) < 0)
			abort();
		message_hello_encode(&h, &two);
		if (!slice_equal(buf_slice(&one), buf_slice(&two)))
			abort();
	}
	if (message_header_decode(&type, &compression, body, NULL) == 0) {
		buf_clear(&one);
		message_header_encode(type, compression, &one);
		if (message_header_decode(&type2, &compression2,
			buf_slice(&one), NULL) < 0 ||
		    type2 != type || compression2 != compression)
			abort();
	}
	buf_fini(&one);
	buf_fini(&two);
	arena_fini(&arena);
	return 0;
}
