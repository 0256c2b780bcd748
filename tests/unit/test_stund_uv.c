/* Our STUN server, by a socket on loopback. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mesh/stun.h"
#include "mesh/stund_uv.h"

struct fixture {
	uv_loop_t loop;
	struct stund *stund;
	struct stund_state state;
	int fd;
	struct sockaddr_in own;
};

static struct fixture fx;

static int
open_all(void **state)
{
	struct addr at;
	socklen_t len = sizeof(fx.own);
	struct timeval wait = { .tv_sec = 20 };

	(void)state;
	memset(&fx, 0, sizeof(fx));
	uv_loop_init(&fx.loop);
	assert_int_equal(addr_parse(&at, SLICE_LIT("quic://127.0.0.1:0"), NULL),
	    0);
	assert_int_equal(stund_open(&fx.stund, &fx.loop, &at, NULL, NULL), 0);
	stund_state(fx.stund, &fx.state);
	fx.fd = socket(AF_INET, SOCK_DGRAM, 0);
	fx.own.sin_family = AF_INET;
	fx.own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(
	    bind(fx.fd, (struct sockaddr *)&fx.own, sizeof(fx.own)), 0);
	getsockname(fx.fd, (struct sockaddr *)&fx.own, &len);
	setsockopt(fx.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	return 0;
}

static int
close_all(void **state)
{
	(void)state;
	close(fx.fd);
	stund_close(fx.stund, NULL, NULL);
	uv_run(&fx.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&fx.loop), 0);
	return 0;
}

static void
ask(unsigned door, struct slice bytes)
{
	struct sockaddr_in to = { .sin_family = AF_INET };

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons(fx.state.bound[door].port);
	assert_int_equal(sendto(fx.fd, bytes.ptr, bytes.len, 0,
			     (struct sockaddr *)&to, sizeof(to)),
	    bytes.len);
	uv_run(&fx.loop, UV_RUN_NOWAIT);
	uv_run(&fx.loop, UV_RUN_NOWAIT);
}

static void
stund_answers_at_both_ports(void **state)
{
	struct stun_message m = { .method = STUN_BINDING };
	struct buf b = { 0 };
	uint8_t got[1500];

	(void)state;
	assert_int_not_equal(fx.state.bound[0].port, fx.state.bound[1].port);
	for (unsigned door = 0; door < STUND_PORTS; door++) {
		ssize_t n;

		buf_clear(&b);
		m.id.b[0] = (uint8_t)door;
		stun_encode(&m, &b);
		ask(door, buf_slice(&b));
		n = recv(fx.fd, got, sizeof(got), 0);
		assert_true(n > 0);
		struct stun_message in;
		assert_int_equal(
		    stun_decode(&in, slice_of(got, (size_t)n), NULL), 0);
		assert_int_equal(in.id.b[0], door);
		assert_int_equal(in.mapped.port, ntohs(fx.own.sin_port));
		assert_true(addr_is_loopback(&in.mapped));
	}
	buf_fini(&b);
}

static void
stund_is_silent_to_noise_and_to_who_asks_too_often(void **state)
{
	struct stun_message m = { .method = STUN_BINDING };
	struct buf b = { 0 };
	uint8_t got[1500];
	size_t answers = 0;

	(void)state;
	ask(0, SLICE_LIT("GET / HTTP/1.0\r\n\r\n"));
	stun_encode(&m, &b);
	for (int i = 0; i < 1000; i++) {
		ask(0, buf_slice(&b));
		while (recv(fx.fd, got, sizeof(got), MSG_DONTWAIT) > 0)
			answers++;
	}
	stund_state(fx.stund, &fx.state);
	assert_in_range(answers, 200, 999);
	assert_true(fx.state.refused > 0);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stund_answers_at_both_ports,
		    open_all, close_all),
		cmocka_unit_test_setup_teardown(
		    stund_is_silent_to_noise_and_to_who_asks_too_often,
		    open_all, close_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
