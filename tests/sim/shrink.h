/*
 * Shrinking: from the bytes of a history that fails to fewer and lower ones
 * that fail in the same way, so that the story is short enough to be read.
 */
#ifndef HOLDFAST_TESTS_SIM_SHRINK_H
#define HOLDFAST_TESTS_SIM_SHRINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Run the bytes in a process of its own: an assertion is a failure like any
 * other.  True: all is well; else `why` says what is not.
 */
bool shrink_try(const uint8_t *byte, size_t len, char why[400]);
/* In place; returns the new length.  What fails otherwise stays as it is. */
size_t shrink(uint8_t *byte, size_t len, char why[400]);

#endif
