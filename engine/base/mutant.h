/*
 * Deliberate faults, to test the tests.
 *
 * A simulator that finds nothing proves nothing until it has been seen to find
 * something.  MUTANT(n) stands at the line where fault n would be made; it is
 * the constant false, and nothing of it is in the program, unless the build has
 * -DHOLDFAST_MUTANTS (preset `mutants`).  There mutant_set() switches one fault
 * on, and the simulator has to fail: tests/sim/mutants.py, docs/testing.md.
 *
 * The text above each is what the fault does; mutants.py prints it.
 */
#ifndef HOLDFAST_BASE_MUTANT_H
#define HOLDFAST_BASE_MUTANT_H

#include <stdbool.h>

enum mutant {
	MUTANT_NONE,
};

#ifdef HOLDFAST_MUTANTS
extern unsigned mutant_on;
/* Before anything else runs; 0: none. */
void mutant_set(unsigned n);
#define MUTANT(n) (mutant_on == (unsigned)(n))
#else
#define MUTANT(n) false
#endif

#endif
