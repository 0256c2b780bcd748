/*
 * Assertions that stay in release builds.
 *
 * For our own mistakes only: a broken ASSERT is a bug in Holdfast.  Bytes from
 * the wire, the disk or a person get an error, never an assertion.  One
 * condition each, no side effects.
 */
#ifndef HOLDFAST_BASE_ASSERT_H
#define HOLDFAST_BASE_ASSERT_H

/* Print where and what, then abort(3).  Every write is crash-safe anyway. */
_Noreturn void assert_failed(const char *expr, const char *file, int line);

#define ASSERT(cond)                                                           \
	((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))

#endif
