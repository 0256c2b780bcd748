/*
 * The one fault that is on; see mutant.h.
 */
#include "engine/base/mutant.h"

#ifdef HOLDFAST_MUTANTS

unsigned mutant_on;

void
mutant_set(unsigned n)
{
	mutant_on = n;
}

#else

struct mutant_none; /* a file may not be empty */

#endif
