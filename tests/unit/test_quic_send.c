/* What a QUIC stream holds until it is acknowledged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "mesh/quic_send.h"

/* The byte at an offset of the stream. */
static uint8_t
byte_at(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

static void
put(struct quic_send *q, size_t len)
{
	uint8_t *data = mem_alloc(len + 1);

	for (size_t i = 0; i < len; i++)
		data[i] = byte_at(q->end + i);
	quic_send_put(q, slice_of(data, len));
	mem_free(data);
}

static void
check_next(const struct quic_send *q)
{
	struct slice piece[2];
	const size_t count = quic_send_next(q, piece);
	uint64_t at = q->next;

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < piece[i].len; k++)
			assert_int_equal(piece[i].ptr[k], byte_at(at++));
	assert_true(count > 0 || quic_send_unsent(q) == 0);
	assert_true(at == q->end || at - q->next > QUIC_SEND_CHUNK);
}

static void
quic_send_gives_back_what_was_put_in_order(void **state)
{
	struct quic_send q = { 0 };
	struct slice piece[2];

	(void)state;
	assert_int_equal(quic_send_next(&q, piece), 0);
	put(&q, 100);
	put(&q, QUIC_SEND_CHUNK);
	assert_int_equal(quic_send_next(&q, piece), 2);
	assert_int_equal(piece[0].len, QUIC_SEND_CHUNK);
	assert_int_equal(piece[1].len, 100);
	check_next(&q);
	quic_send_sent(&q, 1452);
	check_next(&q);
	quic_send_fini(&q);
}

static void
quic_send_keeps_bytes_in_place_until_they_are_acknowledged(void **state)
{
	struct quic_send q = { 0 };
	struct slice early[2], piece[2];

	(void)state;
	put(&q, 1000);
	assert_int_equal(quic_send_next(&q, early), 1);
	quic_send_sent(&q, 1000);
	put(&q, 3 * QUIC_SEND_CHUNK);
	quic_send_acked(&q, 999);
	assert_int_equal(early[0].ptr[999], byte_at(999));
	assert_int_equal(quic_send_held(&q), 1 + 3 * QUIC_SEND_CHUNK);
	assert_int_equal(quic_send_next(&q, piece), 2);
	assert_ptr_equal(piece[0].ptr, early[0].ptr + 1000);
	quic_send_fini(&q);
}

static void
quic_send_takes_no_more_than_its_limits(void **state)
{
	struct quic_send q = { 0 };

	(void)state;
	put(&q, quic_send_room(&q));
	assert_int_equal(quic_send_unsent(&q), LIMIT_QUIC_UNSENT);
	assert_int_equal(quic_send_room(&q), 0);
	while (quic_send_held(&q) < LIMIT_QUIC_UNACKED) {
		quic_send_sent(&q, quic_send_unsent(&q));
		put(&q, quic_send_room(&q));
	}
	quic_send_sent(&q, quic_send_unsent(&q));
	assert_int_equal(quic_send_room(&q), 0);
	quic_send_acked(&q, 5);
	assert_int_equal(quic_send_room(&q), 5);
	quic_send_acked(&q, 3); /* older news */
	assert_int_equal(quic_send_room(&q), 5);
	quic_send_fini(&q);
}

static void
quic_send_survives_any_order_of_calls(void **state)
{
	struct quic_send q = { 0 };
	struct rng rng;

	(void)state;
	rng_init(&rng, 7);
	for (int i = 0; i < 3000; i++) {
		size_t n = rng_below(&rng, 200000);
		struct slice piece[2];

		if (n > quic_send_room(&q))
			n = quic_send_room(&q);
		put(&q, n);
		assert_true(quic_send_next(&q, piece) <= 2);
		if (i % 16 == 0)
			check_next(&q);
		quic_send_sent(&q, rng_below(&rng, quic_send_unsent(&q) + 1));
		quic_send_acked(&q,
		    q.base + rng_below(&rng, q.next - q.base + 1));
		assert_true(q.chunk.len * QUIC_SEND_CHUNK <
			    quic_send_held(&q) + 2 * QUIC_SEND_CHUNK);
	}
	quic_send_fini(&q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quic_send_gives_back_what_was_put_in_order),
		cmocka_unit_test(
		    quic_send_keeps_bytes_in_place_until_they_are_acknowledged),
		cmocka_unit_test(quic_send_takes_no_more_than_its_limits),
		cmocka_unit_test(quic_send_survives_any_order_of_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
