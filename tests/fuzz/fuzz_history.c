/*
 * Any bytes as a history of the simulator (tests/sim/): the engine survives it,
 * and the oracle finds nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/history.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct history_result r;

	if (size > CHOICE_LEN_MAX)
		size = CHOICE_LEN_MAX;
	history_run(data, size, false, false, &r);
	if (r.ok)
		return 0;
	fprintf(stderr, "%s\n", r.why);
	abort();
}
