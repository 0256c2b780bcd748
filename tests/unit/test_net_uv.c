/*
 * Two nets on loopback in one loop: they find each other, exchange messages up
 * to 16 MiB, lose each other and come back.  All of it over TCP, then over
 * QUIC.
 *
 * "bench MIB [quic]" as arguments measures instead: MIB megabytes of RESPONSE
 * data in 128 KiB pieces one way.  Both ends share the thread, so a device of
 * its own has about twice that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/net_uv.h"

/* For hangs only: this runs under emulators and on loaded machines too. */
#define LONG_MS 600000u

struct node {
	struct net *net;
	struct identity *id;
	const struct identity *peer_id;
	char dir[64];
	char listen[64];
	const char *listen_list[1];
	const char *peer_address[1];
	struct net_peer_config peer[1];
	struct net_config cfg;
	struct net_callbacks cb;
	struct log log;
	unsigned ups, downs, messages, sent, pendings, echoes;
	bool is_up, closed;
	char reason[256], pending_name[64];
	struct net_peer_info info;
	uint64_t bytes, last_tag;
	uint8_t last_byte;
	int32_t last_id;
	enum message_type last_type;
	/* Bench: responses still to queue. */
	uint64_t to_send;
	size_t piece;
};

/*
 * One a case.  A case that fails jumps out of the middle of it and leaves its
 * nodes open, on a stack that is gone: that loop is never run again.
 */
static uv_loop_t *loop;
static unsigned nodes; /* that are not fini */
static const char *scheme = "tcp";

static void
node_log(void *arg, enum log_level level, const char *line)
{
	if (getenv("TEST_LOG") != NULL)
		fprintf(stderr, "%s %s %s\n", (const char *)arg,
		    log_level_name(level), line);
}

static void
node_push(struct node *n)
{
	struct message m = { .type = MESSAGE_RESPONSE };

	while (n->to_send > 0 &&
	       net_queued(n->net, identity_devid(n->peer_id)) < 8 * MIB) {
		struct payload *p = payload_new(n->piece);

		memset(p->data, (int)(n->to_send & 0xff), 64);
		m.u.response.id = 1;
		assert_int_equal(
		    net_send(n->net, identity_devid(n->peer_id), &m, p, 1), 0);
		n->to_send -= n->piece;
	}
}

static void
node_config(struct node *n)
{
	static const struct message m = { .type = MESSAGE_CLUSTER_CONFIG };

	assert_int_equal(
	    net_send(n->net, identity_devid(n->peer_id), &m, NULL, 0), 0);
}

static void
on_up(void *arg, const struct devid *id, const struct hello *hello,
    const struct net_peer_info *info)
{
	struct node *n = arg;

	assert_false(n->is_up);
	assert_true(devid_equal(id, identity_devid(n->peer_id)));
	assert_true(slice_equal(hello->client_name, SLICE_LIT("holdfast")));
	n->is_up = true;
	n->ups++;
	n->info = *info;
	node_config(n);
}

static void
on_down(void *arg, const struct devid *id, const char *reason)
{
	struct node *n = arg;

	(void)id;
	assert_true(n->is_up);
	n->is_up = false;
	n->downs++;
	snprintf(n->reason, sizeof(n->reason), "%s", reason);
}

static void
on_message(void *arg, const struct devid *id, const struct message *m,
    struct payload *data)
{
	struct node *n = arg;

	(void)id;
	assert_true(n->is_up);
	n->messages++;
	n->last_type = m->type;
	if (m->type == MESSAGE_RESPONSE) {
		n->last_id = m->u.response.id;
		n->bytes += m->u.response.data.len;
		if (data != NULL) {
			assert_ptr_equal(data->data, m->u.response.data.ptr);
			n->last_byte = data->data[data->len - 1];
		}
	}
	payload_free(data);
}

static void
on_sent(void *arg, const struct devid *id, uint64_t tag)
{
	struct node *n = arg;

	(void)id;
	n->sent++;
	n->last_tag = tag;
	node_push(n);
}

static void
on_pending(void *arg, const struct devid *id, const char *name,
    const char *address)
{
	struct node *n = arg;

	(void)id;
	(void)address;
	n->pendings++;
	snprintf(n->pending_name, sizeof(n->pending_name), "%s", name);
}

static void
on_echo(void *arg, const struct devid *id)
{
	struct node *n = arg;

	assert_true(devid_equal(id, identity_devid(n->peer_id)));
	n->echoes++;
}

static void
on_closed(void *arg)
{
	((struct node *)arg)->closed = true;
}

static void
node_init(struct node *n, const char *name)
{
	struct err err = { 0 };

	nodes++;
	memset(n, 0, sizeof(*n));
	snprintf(n->dir, sizeof(n->dir), "/tmp/test_net_uv.XXXXXX");
	assert_non_null(mkdtemp(n->dir));
	if (identity_open_or_make(&n->id, n->dir, &err) < 0)
		fail_msg("%s", err.text);
	n->cb = (struct net_callbacks){ on_up, on_down, on_message, on_sent,
		on_pending, on_echo };
	n->log = (struct log){ LOG_DEBUG, node_log, (void *)(uintptr_t)name };
	n->cfg.identity = n->id;
	n->cfg.device_name = name;
	n->cfg.client_version = "0.0.1";
	n->cfg.features = FEATURE_ZSTD | FEATURE_ECHO;
	n->listen_list[0] = n->listen;
	snprintf(n->listen, sizeof(n->listen), "%s://127.0.0.1:0", scheme);
	n->cfg.listen = n->listen_list;
	n->cfg.listen_count = 1;
	n->cfg.peer = n->peer;
	n->cfg.peer_count = 0;
}

static void
node_open(struct node *n)
{
	struct net_status st;
	struct arena ar = { 0 };
	struct err err = { 0 };

	n->closed = false;
	if (net_open(&n->net, loop, &n->cfg, &n->cb, n, &n->log, &err) < 0)
		fail_msg("%s", err.text);
	net_status(n->net, &st, &ar);
	if (st.listen_count > 0)
		snprintf(n->listen, sizeof(n->listen), "%s", st.listen[0]);
	arena_fini(&ar);
}

/* `a` knows `b`; it also knows where, when `address` says so. */
static void
node_pair(struct node *a, const struct node *b, const char *address)
{
	static const char *const nowhere = "tcp://127.0.0.1:1";

	a->peer_id = b->id;
	a->peer_address[0] = address != NULL ? address : nowhere;
	a->peer[0] = (struct net_peer_config){ .id = *identity_devid(b->id),
		.name = "other",
		.address = a->peer_address,
		.address_count = address != NULL ? 1 : 0 };
	a->cfg.peer_count = 1;
}

static void
wake(uv_timer_t *timer)
{
	(void)timer;
}

/* Run the loop until `flag` or `ms` are over; true when the flag was set. */
static bool
run_until(const bool *flag, const unsigned *count, unsigned at_least,
    unsigned ms)
{
	const uint64_t end = uv_hrtime() + ms * CLOCK_MS;
	uv_timer_t timer;
	bool ok;

	uv_timer_init(loop, &timer);
	uv_timer_start(&timer, wake, 5, 5);
	do {
		uv_run(loop, UV_RUN_ONCE);
		ok = (flag == NULL || *flag) &&
		     (count == NULL || *count >= at_least);
	} while (!ok && uv_hrtime() < end);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	return ok;
}

static void
node_close(struct node *n)
{
	net_close(n->net, on_closed, n);
	assert_true(run_until(&n->closed, NULL, 0, LONG_MS));
	assert_int_equal(n->ups, n->downs);
}

static void
node_fini(struct node *n)
{
	char path[96];

	identity_close(n->id);
	snprintf(path, sizeof(path), "%s/cert.pem", n->dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/key.pem", n->dir);
	unlink(path);
	rmdir(n->dir);
	nodes--;
}

static void
pair_open(struct node *a, struct node *b)
{
	node_init(a, "A");
	node_init(b, "B");
	node_pair(b, a, NULL);
	node_open(b);
	node_pair(a, b, b->listen);
	node_open(a);
	assert_true(run_until(&a->is_up, NULL, 0, LONG_MS));
	assert_true(run_until(&b->is_up, NULL, 0, LONG_MS));
}

static void
pair_close(struct node *a, struct node *b)
{
	node_close(a);
	node_close(b);
	node_fini(a);
	node_fini(b);
}

static int
set_up(void **state)
{
	(void)state;
	nodes = 0;
	loop = mem_zalloc(sizeof(*loop));
	return uv_loop_init(loop);
}

static int
tear_down(void **state)
{
	int rc = 0;

	(void)state;
	if (nodes == 0) {
		uv_run(loop, UV_RUN_DEFAULT);
		rc = uv_loop_close(loop);
		mem_free(loop);
	}
	return rc;
}

static void
net_connects_and_tells_both(void **state)
{
	struct node a, b;

	(void)state;
	pair_open(&a, &b);
	assert_true(a.info.dialled);
	assert_false(b.info.dialled);
	assert_true(a.info.lan);
	assert_int_equal(a.info.features, FEATURE_ZSTD | FEATURE_ECHO);
	assert_int_equal(strncmp(b.listen, scheme, strlen(scheme)), 0);
	assert_non_null(strstr(b.listen, "://127.0.0.1:"));
	assert_true(run_until(NULL, &b.messages, 1, LONG_MS));
	assert_int_equal(b.last_type, MESSAGE_CLUSTER_CONFIG);
	pair_close(&a, &b);
	assert_non_null(strstr(b.reason, "shutting down"));
}

static void
net_carries_a_16_mib_response_unharmed(void **state)
{
	struct node a, b;
	struct message m = { .type = MESSAGE_RESPONSE };
	struct payload *p;

	(void)state;
	pair_open(&a, &b);
	for (int i = 0; i < 3; i++) {
		p = payload_new(16 * MIB);
		memset(p->data, 0x5a + i, 16 * MIB);
		m.u.response.id = 70 + i;
		assert_int_equal(net_send(a.net, identity_devid(b.id), &m, p,
				     900 + (uint64_t)i),
		    0);
	}
	assert_true(run_until(NULL, &b.messages, 4, LONG_MS));
	assert_int_equal(b.bytes, 48 * MIB);
	assert_int_equal(b.last_byte, 0x5c);
	assert_int_equal(b.last_id, 72);
	assert_int_equal(a.sent, 3);
	assert_int_equal(a.last_tag, 902);
	assert_int_equal(net_queued(a.net, identity_devid(b.id)), 0);
	pair_close(&a, &b);
}

static void
net_ping_is_answered_by_the_other_program(void **state)
{
	struct node a, b;
	struct net_status st;
	struct arena ar = { 0 };
	uint64_t first;

	(void)state;
	node_init(&a, "A");
	node_pair(&a, &a, NULL);
	node_open(&a);
	assert_int_equal(net_ping(a.net, identity_devid(a.id)), 0);
	node_close(&a);
	node_fini(&a);
	pair_open(&a, &b);
	first = net_ping(a.net, identity_devid(b.id));
	assert_true(first > 0);
	assert_true(run_until(NULL, &a.echoes, 1, LONG_MS));
	net_status(a.net, &st, &ar);
	assert_int_equal(st.peer[0].echo.answered, first);
	assert_true(st.peer[0].echo.rtt_ns > 0);
	assert_int_equal(st.counts.direct, 1);
	assert_true(st.peer[0].way[0].in_use);
	assert_true(net_ping(a.net, identity_devid(b.id)) > first);
	assert_true(run_until(NULL, &a.echoes, 2, LONG_MS));
	/* Nobody above heard of it. */
	assert_true(b.messages <= 1);
	assert_int_equal(b.echoes, 0);
	arena_fini(&ar);
	pair_close(&a, &b);
}

static void
net_refuses_what_does_not_fit_the_queue(void **state)
{
	struct node a, b;
	struct message m = { .type = MESSAGE_RESPONSE };
	int rc = 0;

	(void)state;
	pair_open(&a, &b);
	net_pause_reading(b.net, identity_devid(a.id), true);
	for (int i = 0; rc == 0 && i < 100; i++)
		rc = net_send(a.net, identity_devid(b.id), &m,
		    payload_new(16 * MIB), 0);
	assert_int_equal(rc, ERR_LIMIT);
	assert_true(net_queued(a.net, identity_devid(b.id)) <= LIMIT_SENDQ_LEN);
	pair_close(&a, &b);
}

static void
net_holds_messages_back_while_paused(void **state)
{
	struct node a, b;
	static const struct message m = { .type = MESSAGE_CLUSTER_CONFIG };
	unsigned before;

	(void)state;
	pair_open(&a, &b);
	assert_true(run_until(NULL, &b.messages, 1, LONG_MS));
	net_pause_reading(b.net, identity_devid(a.id), true);
	run_until(NULL, &b.messages, 100, 50);
	before = b.messages;
	for (int i = 0; i < 10; i++)
		net_send(a.net, identity_devid(b.id), &m, NULL, 0);
	assert_false(run_until(NULL, &b.messages, before + 1, 200));
	net_pause_reading(b.net, identity_devid(a.id), false);
	assert_true(run_until(NULL, &b.messages, before + 10, LONG_MS));
	pair_close(&a, &b);
}

static void
net_holds_megabytes_back_while_paused(void **state)
{
	struct node a, b;

	(void)state;
	pair_open(&a, &b);
	assert_true(run_until(NULL, &b.messages, 1, LONG_MS));
	net_pause_reading(b.net, identity_devid(a.id), true);
	a.piece = MIB;
	a.to_send = 64 * MIB;
	node_push(&a);
	run_until(NULL, &b.messages, 1000, 300);
	assert_true(b.bytes <= 2 * MIB);
	assert_true(a.to_send > 0);
	net_pause_reading(b.net, identity_devid(a.id), false);
	assert_true(run_until(NULL, &b.messages, 65, LONG_MS));
	assert_int_equal(b.bytes, 64 * MIB);
	pair_close(&a, &b);
}

static void
net_comes_back_after_a_drop(void **state)
{
	struct node a, b;

	(void)state;
	pair_open(&a, &b);
	net_drop(b.net, identity_devid(a.id), "try \x01 again");
	assert_true(run_until(NULL, &a.downs, 1, LONG_MS));
	assert_string_equal(a.reason, "the peer said: try ? again");
	assert_true(run_until(NULL, &a.ups, 2, LONG_MS));
	assert_true(run_until(NULL, &b.ups, 2, LONG_MS));
	pair_close(&a, &b);
}

static void
net_redials_a_peer_that_restarted(void **state)
{
	struct node a, b;

	(void)state;
	pair_open(&a, &b);
	node_close(&b);
	assert_true(run_until(NULL, &a.downs, 1, LONG_MS));
	node_open(&b);
	assert_true(run_until(NULL, &a.ups, 2, LONG_MS));
	pair_close(&a, &b);
}

static void
net_keeps_one_when_both_dial_at_once(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		struct node a, b;
		struct err err = { 0 };

		node_init(&a, "A");
		node_init(&b, "B");
		node_open(&a);
		node_open(&b);
		node_pair(&a, &b, b.listen);
		node_pair(&b, &a, a.listen);
		assert_int_equal(net_configure(a.net, &a.cfg, &err), 0);
		assert_int_equal(net_configure(b.net, &b.cfg, &err), 0);
		assert_true(run_until(&a.is_up, NULL, 0, LONG_MS));
		assert_true(run_until(&b.is_up, NULL, 0, LONG_MS));
		/* And it stays so. */
		run_until(NULL, &a.downs, a.downs + 1, 300);
		assert_true(a.is_up && b.is_up);
		assert_int_equal(a.ups, 1);
		assert_int_equal(b.ups, 1);
		pair_close(&a, &b);
	}
}

static void
net_remembers_a_stranger_and_tells_it_nothing(void **state)
{
	struct node a, b;
	struct net_status st;
	struct arena ar = { 0 };

	(void)state;
	node_init(&a, "A");
	node_init(&b, "B");
	node_open(&b); /* knows nobody */
	node_pair(&a, &b, b.listen);
	node_open(&a);
	assert_true(run_until(NULL, &b.pendings, 1, LONG_MS));
	assert_string_equal(b.pending_name, "A");
	run_until(NULL, &a.ups, 1, 100);
	assert_int_equal(a.ups, 0);
	net_status(b.net, &st, &ar);
	assert_int_equal(st.pending_count, 1);
	net_status(a.net, &st, &ar);
	assert_non_null(strstr(st.peer[0].last_error, "does it know this"));
	/* Told who that is, it lets it in at the next try. */
	node_pair(&b, &a, NULL);
	assert_int_equal(net_configure(b.net, &b.cfg, NULL), 0);
	net_refresh(a.net);
	assert_true(run_until(&b.is_up, NULL, 0, LONG_MS));
	arena_fini(&ar);
	pair_close(&a, &b);
}

static void
net_ends_peers_that_are_paused_or_removed(void **state)
{
	struct node a, b;

	(void)state;
	pair_open(&a, &b);
	a.peer[0].paused = true;
	assert_int_equal(net_configure(a.net, &a.cfg, NULL), 0);
	assert_true(a.is_up); /* never from inside a call */
	assert_true(run_until(NULL, &a.downs, 1, LONG_MS));
	assert_true(run_until(NULL, &b.downs, 1, LONG_MS));
	assert_non_null(strstr(b.reason, "device paused"));
	a.peer[0].paused = false;
	assert_int_equal(net_configure(a.net, &a.cfg, NULL), 0);
	assert_true(run_until(NULL, &a.ups, 2, LONG_MS));
	a.cfg.peer_count = 0;
	assert_int_equal(net_configure(a.net, &a.cfg, NULL), 0);
	assert_true(run_until(NULL, &a.downs, 2, LONG_MS));
	pair_close(&a, &b);
}

static void
net_says_which_address_is_wrong(void **state)
{
	struct node a;
	struct err err = { 0 };
	const char *bad[] = { "tcp://127.0.0.1:http" };

	(void)state;
	node_init(&a, "A");
	a.cfg.listen = bad;
	assert_int_equal(
	    net_open(&a.net, loop, &a.cfg, &a.cb, &a, &a.log, &err),
	    ERR_INVALID);
	assert_non_null(strstr(err.text, "tcp://127.0.0.1:http"));
	a.cfg.listen = a.listen_list;
	node_open(&a);
	a.cfg.listen = bad;
	assert_int_equal(net_configure(a.net, &a.cfg, &err), ERR_INVALID);
	node_close(&a);
	node_fini(&a);
}

static int
raw_connect(const char *url)
{
	struct sockaddr_in to;
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	uv_ip4_addr("127.0.0.1", atoi(strrchr(url, ':') + 1), &to);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void
net_lets_a_peer_in_past_silent_strangers(void **state)
{
	struct node a, b;
	int fd[40];

	(void)state;
	node_init(&a, "A");
	node_init(&b, "B");
	node_pair(&b, &a, NULL);
	node_open(&b);
	/* More than one source may hold: the rest is closed at once. */
	for (size_t i = 0; i < 40; i++)
		fd[i] = raw_connect(b.listen);
	for (int i = 0; i < 20; i++)
		uv_run(loop, UV_RUN_NOWAIT);
	for (size_t i = 0; i < 40; i++) {
		char c;
		const ssize_t n = recv(fd[i], &c, 1, MSG_DONTWAIT);

		assert_true(i < LIMIT_HALF_OPEN_SOURCE ? n < 0 : n == 0);
	}
	/* Garbage ends a connection at once and makes room. */
	for (size_t i = 0; i < 4; i++)
		assert_true(send(fd[i], "GET / HTTP/1.1\r\n\r\n", 18, 0) > 0);
	node_pair(&a, &b, b.listen);
	node_open(&a);
	assert_true(run_until(&b.is_up, NULL, 0, LONG_MS));
	for (size_t i = 0; i < 40; i++)
		close(fd[i]);
	pair_close(&a, &b);
}

static void
raw_send(int fd, const char *url, const void *data, size_t len)
{
	struct sockaddr_in to;

	uv_ip4_addr("127.0.0.1", atoi(strrchr(url, ':') + 1), &to);
	assert_int_equal(
	    sendto(fd, data, len, 0, (struct sockaddr *)&to, sizeof(to)), len);
}

/* A long header of `version` and noise behind it: RFC 9000, 17.2. */
static size_t
raw_initial(uint8_t *out, size_t len, uint32_t version, unsigned salt)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)((i * 131 + salt * 7919) >> 3);
	out[0] = 0xc3; /* an Initial */
	out[1] = (uint8_t)(version >> 24);
	out[2] = (uint8_t)(version >> 16);
	out[3] = (uint8_t)(version >> 8);
	out[4] = (uint8_t)version;
	out[5] = 8; /* bytes of the ID it chose for us */
	out[14] = 8;
	out[23] = 0;                                   /* no token */
	out[24] = (uint8_t)(0x40 | ((len - 26) >> 8)); /* bytes that follow */
	out[25] = (uint8_t)(len - 26);
	return len;
}

/*
 * Datagrams that look like first packets and are noise: they cost their
 * sender more than us, and a peer still comes in.
 */
static void
net_lets_a_peer_in_past_a_flood_of_datagrams(void **state)
{
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint8_t data[1500], answer[2048];
	unsigned proofs = 0, versions = 0;
	struct node a, b;
	ssize_t n;

	(void)state;
	node_init(&a, "A");
	node_init(&b, "B");
	node_pair(&b, &a, NULL);
	node_open(&b);
	for (unsigned i = 0; i < 200; i++) {
		raw_send(fd, b.listen, data, raw_initial(data, 1200, 1, i));
		raw_send(fd, b.listen, data, raw_initial(data, 900, 1, i));
		raw_send(fd, b.listen, data,
		    raw_initial(data, 1200, 0x0badcafe, 1000 + i));
		raw_send(fd, b.listen, data + 1, i % 64);
		uv_run(loop, UV_RUN_NOWAIT);
	}
	while ((n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
		/* Never more than what was asked with. */
		assert_true(n <= 1200);
		assert_true((answer[0] & 0x80) != 0);
		if (answer[1] == 0 && answer[4] == 0)
			versions++;
		else if ((answer[0] & 0x30) == 0x30)
			proofs++;
	}
	assert_true(versions > 0);
	/* Soon each has to show first where it is. */
	assert_true(proofs > 0);
	node_pair(&a, &b, b.listen);
	node_open(&a);
	assert_true(run_until(&b.is_up, NULL, 0, LONG_MS));
	close(fd);
	pair_close(&a, &b);
}

/*
 * Somebody between two devices who forwards datagrams, but none that would not
 * fit an Ethernet, or only so many of these.
 */
struct narrow {
	uv_udp_t front, back; /* the dialler's side, and the other */
	struct sockaddr_in dialler, target;
	unsigned lost, spared;
	char url[64];
};

static void
narrow_alloc(uv_handle_t *handle, size_t len, uv_buf_t *out)
{
	static char room[65536];

	(void)handle;
	(void)len;
	*out = uv_buf_init(room, sizeof(room));
}

static void
narrow_on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
    const struct sockaddr *from, unsigned flags)
{
	struct narrow *w = udp->data;
	uv_buf_t out = uv_buf_init(buf->base, n > 0 ? (unsigned)n : 0);

	(void)flags;
	if (n <= 0 || from == NULL)
		return;
	if (udp == &w->front)
		memcpy(&w->dialler, from, sizeof(w->dialler));
	if (n > 1472 && w->spared == 0) {
		w->lost++;
		return;
	}
	if (n > 1472)
		w->spared--;
	if (udp == &w->front)
		uv_udp_try_send(&w->back, &out, 1,
		    (struct sockaddr *)&w->target);
	else
		uv_udp_try_send(&w->front, &out, 1,
		    (struct sockaddr *)&w->dialler);
}

static void
narrow_open(struct narrow *w, const char *url)
{
	struct sockaddr_in any;
	int len = sizeof(any);

	memset(w, 0, sizeof(*w));
	uv_ip4_addr("127.0.0.1", atoi(strrchr(url, ':') + 1), &w->target);
	uv_ip4_addr("127.0.0.1", 0, &any);
	uv_udp_init(loop, &w->front);
	uv_udp_init(loop, &w->back);
	w->front.data = w->back.data = w;
	assert_int_equal(uv_udp_bind(&w->front, (struct sockaddr *)&any, 0), 0);
	assert_int_equal(uv_udp_bind(&w->back, (struct sockaddr *)&any, 0), 0);
	uv_udp_getsockname(&w->front, (struct sockaddr *)&any, &len);
	snprintf(w->url, sizeof(w->url), "quic://127.0.0.1:%u",
	    ntohs(any.sin_port));
	uv_udp_recv_start(&w->front, narrow_alloc, narrow_on_datagram);
	uv_udp_recv_start(&w->back, narrow_alloc, narrow_on_datagram);
}

static void
carry_past_narrow(unsigned spared)
{
	struct message m = { .type = MESSAGE_RESPONSE };
	struct payload *p = payload_new(2 * MIB);
	struct narrow w;
	struct node a, b;

	node_init(&a, "A");
	node_init(&b, "B");
	node_pair(&b, &a, NULL);
	node_open(&b);
	narrow_open(&w, b.listen);
	w.spared = spared;
	node_pair(&a, &b, w.url);
	node_open(&a);
	assert_true(run_until(&a.is_up, NULL, 0, LONG_MS));
	memset(p->data, 0x5a, 2 * MIB);
	assert_int_equal(net_send(a.net, identity_devid(b.id), &m, p, 1), 0);
	assert_true(run_until(NULL, &b.messages, 2, LONG_MS));
	/* It was the same connection, and it had tried; where some came a slow
	 * machine may have given long ones up before they were lost. */
	assert_int_equal(b.ups, 1);
	assert_int_equal(b.bytes, 2 * MIB);
	assert_int_equal(b.last_byte, 0x5a);
	assert_true(w.lost > 0 || w.spared < spared);
	pair_close(&a, &b);
	uv_close((uv_handle_t *)&w.front, NULL);
	uv_close((uv_handle_t *)&w.back, NULL);
	uv_run(loop, UV_RUN_DEFAULT); /* they lie on the stack */
}

static void
net_goes_on_where_long_datagrams_are_lost(void **state)
{
	(void)state;
	carry_past_narrow(0);
}

static void
net_goes_on_where_long_datagrams_come_no_more(void **state)
{
	(void)state;
	carry_past_narrow(20);
}

static double
cpu_seconds(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)ru.ru_utime.tv_sec + (double)ru.ru_stime.tv_sec +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

/* With `piece` bytes a message; `both`: the two ends in two processes. */
static void
bench(uint64_t mib, size_t piece)
{
	struct node a, b;
	uint64_t start;
	double cpu, s;
	const uint64_t total = mib * MIB / piece * piece;

	set_up(NULL);
	pair_open(&a, &b);
	a.piece = piece;
	a.to_send = total;
	start = uv_hrtime();
	cpu = cpu_seconds();
	node_push(&a);
	while (b.bytes < total)
		uv_run(loop, UV_RUN_ONCE);
	s = (double)(uv_hrtime() - start) / 1e9;
	cpu = cpu_seconds() - cpu;
	printf("net: %llu MiB in pieces of %zu: %.0f MB/s, %.2f s CPU a GB for "
	       "both ends, %s\n",
	    (unsigned long long)mib, piece, (double)total / 1e6 / s,
	    cpu / ((double)total / 1e9), a.info.tls);
	pair_close(&a, &b);
	tear_down(NULL);
}

static int
run_group(const char *name, const struct CMUnitTest *tests, size_t count)
{
	return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(net_connects_and_tells_both),
		cmocka_unit_test(net_carries_a_16_mib_response_unharmed),
		cmocka_unit_test(net_ping_is_answered_by_the_other_program),
		cmocka_unit_test(net_refuses_what_does_not_fit_the_queue),
		cmocka_unit_test(net_holds_messages_back_while_paused),
		cmocka_unit_test(net_holds_megabytes_back_while_paused),
		cmocka_unit_test(net_comes_back_after_a_drop),
		cmocka_unit_test(net_redials_a_peer_that_restarted),
		cmocka_unit_test(net_keeps_one_when_both_dial_at_once),
		cmocka_unit_test(net_remembers_a_stranger_and_tells_it_nothing),
		cmocka_unit_test(net_ends_peers_that_are_paused_or_removed),
		cmocka_unit_test(net_says_which_address_is_wrong),
	};
	const size_t both = sizeof(tests) / sizeof(tests[0]);
	const struct CMUnitTest tcp_only =
	    cmocka_unit_test(net_lets_a_peer_in_past_silent_strangers);
	const struct CMUnitTest quic_only[] = {
		cmocka_unit_test(net_lets_a_peer_in_past_a_flood_of_datagrams),
		cmocka_unit_test(net_goes_on_where_long_datagrams_are_lost),
		cmocka_unit_test(net_goes_on_where_long_datagrams_come_no_more),
	};
	const size_t more = sizeof(quic_only) / sizeof(quic_only[0]);
	struct CMUnitTest wrapped[sizeof(tests) / sizeof(tests[0]) +
				  sizeof(quic_only) / sizeof(quic_only[0])];
	int failed;

	if (argc >= 3 && strcmp(argv[1], "bench") == 0) {
		if (argc == 4)
			scheme = argv[3];
		bench(strtoull(argv[2], NULL, 10), 128 * KIB);
		bench(strtoull(argv[2], NULL, 10), 8 * KIB);
		bench(strtoull(argv[2], NULL, 10), 4 * MIB);
		return 0;
	}
	for (size_t i = 0; i < both + more; i++) {
		wrapped[i] = i < both ? tests[i] : tcp_only;
		wrapped[i].setup_func = set_up;
		wrapped[i].teardown_func = tear_down;
	}
	failed = run_group("net, TCP", wrapped, both + 1);
	for (size_t i = 0; i < more; i++) {
		wrapped[both + i].name = quic_only[i].name;
		wrapped[both + i].test_func = quic_only[i].test_func;
	}
	scheme = "quic";
	failed += run_group("net, QUIC", wrapped, both + more);
	return failed;
}
