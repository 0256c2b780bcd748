/*
 * How long datagrams may be: mesh/quic_size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "mesh/quic_size.h"

#define PTO_NS (30 * CLOCK_MS)

static void
size_is_short_unless_asked(void **state)
{
	struct quic_size s = { 0 };

	(void)state;
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
	quic_size_sent(&s, QUIC_SIZE_SHORT, 9000, CLOCK_S);
	quic_size_acked(&s, 9000, CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
}

/* A stream whose first bytes arrived: from here on they may be long. */
static struct quic_size
begun(void)
{
	struct quic_size s;

	quic_size_try(&s);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
	quic_size_sent(&s, 90, 50, CLOCK_S);
	quic_size_acked(&s, 50, CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
	return s;
}

static void
size_stays_long_when_a_long_one_arrives(void **state)
{
	struct quic_size s = begun();

	(void)state;
	quic_size_sent(&s, QUIC_SIZE_LONG, 15000, CLOCK_S);
	quic_size_sent(&s, QUIC_SIZE_LONG, 30000, CLOCK_S);
	quic_size_acked(&s, 15000, CLOCK_S);
	quic_size_acked(&s, 30000, CLOCK_S);
	/* Nothing is on its way. */
	quic_size_wait(&s, PTO_NS, 100 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
	/* What is lost later, one or a few, is lost for other reasons. */
	quic_size_sent(&s, QUIC_SIZE_LONG, 45000, 200 * CLOCK_S);
	quic_size_wait(&s, PTO_NS, 204 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
	quic_size_sent(&s, QUIC_SIZE_LONG, 60000, 204 * CLOCK_S);
	quic_size_acked(&s, 45000, 204 * CLOCK_S);
	quic_size_wait(&s, PTO_NS, 208 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
}

static void
size_goes_back_when_none_arrives(void **state)
{
	struct quic_size s = begun();

	(void)state;
	quic_size_sent(&s, QUIC_SIZE_LONG, 15000, 5 * CLOCK_S);
	quic_size_acked(&s, 14999, 5 * CLOCK_S + CLOCK_S / 2);
	quic_size_wait(&s, PTO_NS, 6 * CLOCK_S - 1);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
	quic_size_wait(&s, PTO_NS, 6 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
	/* A slow way has its time, too. */
	s = begun();
	quic_size_sent(&s, QUIC_SIZE_LONG, 15000, 5 * CLOCK_S);
	quic_size_wait(&s, CLOCK_S, 6 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
	quic_size_wait(&s, CLOCK_S, 8 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
}

/*
 * Bytes of a lost long one may come in short ones that were sent again: that
 * is taken for an answer, and must not hold the connection up for ever.
 */
static void
size_goes_back_when_none_arrives_any_more(void **state)
{
	struct quic_size s = begun();

	(void)state;
	quic_size_sent(&s, QUIC_SIZE_LONG, 15000, 5 * CLOCK_S);
	quic_size_acked(&s, 15000, 5 * CLOCK_S);
	quic_size_sent(&s, QUIC_SIZE_LONG, 30000, 6 * CLOCK_S);
	quic_size_sent(&s, QUIC_SIZE_LONG, 45000, 9 * CLOCK_S);
	quic_size_wait(&s, PTO_NS, 11 * CLOCK_S - 1);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
	quic_size_wait(&s, PTO_NS, 11 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
}

static void
size_is_not_judged_by_short_ones(void **state)
{
	struct quic_size s = begun();

	(void)state;
	quic_size_sent(&s, QUIC_SIZE_SHORT, 400, CLOCK_S);
	quic_size_wait(&s, PTO_NS, 100 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_LONG);
	quic_size_acked(&s, 400, 100 * CLOCK_S);
	quic_size_sent(&s, QUIC_SIZE_LONG, 15000, 100 * CLOCK_S);
	quic_size_wait(&s, PTO_NS, 101 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
}

/* ngtcp2 fills the handshake's up to what it may; no byte of ours is in it. */
static void
size_is_not_proven_by_the_handshake(void **state)
{
	struct quic_size s;

	(void)state;
	quic_size_try(&s);
	quic_size_sent(&s, QUIC_SIZE_LONG, 0, CLOCK_S);
	quic_size_sent(&s, 90, 50, CLOCK_S);
	quic_size_acked(&s, 50, CLOCK_S);
	quic_size_sent(&s, QUIC_SIZE_LONG, 15000, 2 * CLOCK_S);
	quic_size_wait(&s, PTO_NS, 3 * CLOCK_S);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
}

static void
size_goes_back_when_the_system_refuses(void **state)
{
	struct quic_size s = begun();

	(void)state;
	quic_size_sent(&s, QUIC_SIZE_LONG, 15000, CLOCK_S);
	quic_size_acked(&s, 15000, CLOCK_S);
	quic_size_refused(&s);
	assert_int_equal(quic_size_max(&s), QUIC_SIZE_SHORT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_is_short_unless_asked),
		cmocka_unit_test(size_stays_long_when_a_long_one_arrives),
		cmocka_unit_test(size_goes_back_when_none_arrives),
		cmocka_unit_test(size_goes_back_when_none_arrives_any_more),
		cmocka_unit_test(size_is_not_judged_by_short_ones),
		cmocka_unit_test(size_is_not_proven_by_the_handshake),
		cmocka_unit_test(size_goes_back_when_the_system_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
