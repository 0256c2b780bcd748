/*
 * A long way between two programs on one machine, for tests/bench/mesh.py:
 *
 *   longway [-d MS] [-l PERCENT] [-r MBIT] [-q MS] [-s SEED] udp|tcp FROM TO
 *
 * Whatever comes to FROM (HOST:PORT, IPv4) goes on to TO, and back, each way
 * after `d` milliseconds.  Of datagrams `l` percent are lost, each way, by a
 * generator that begins with `s`.  With `r` no more than that passes in a
 * second, each way; who sends faster has `q` milliseconds' worth in the queue,
 * and loses the rest.
 *
 * Bytes of TCP are late and never lost: each side has its connection with us,
 * and its window is what we hold.  So TCP looks better here than it is on a
 * long way, and is no measure for QUIC.
 *
 * It must not be what is measured: datagrams come and go in bursts (GRO, GSO),
 * are copied once, and nothing is done a datagram but that.  "ready" is said
 * when it listens.  At SIGTERM it tells, for each way, what passed, what was
 * lost by chance, for want of room in the queue, and because we were too slow:
 * the last of these has to be 0.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define RING_LEN ((size_t)64 << 20) /* bytes under way, each way */
#define BURST_LEN 65536
#define SEND_LEN 64000 /* of one call: UDP's own limit */
#define PIECES 60      /* of one call */
#define READS 16       /* in one turn */
#define LINKS 16
#define SOCKET_LEN (16 << 20)
#define SECOND UINT64_C(1000000000)

/* --- pieces under way ------------------------------------------------- */

struct piece {
	uint64_t due_ns;
	size_t len;
};

/* The same memory twice behind one another: no piece has a seam. */
struct ring {
	uint8_t *ptr;
	size_t head, tail; /* they only grow */
};

struct way {
	struct ring ring;
	int in, out;
	uint64_t free_ns; /* when the narrow place has passed all it has */
	size_t written;   /* TCP: bytes of the first piece that are gone */
	bool blocked;     /* `out` is full */
	bool ended, shut; /* TCP: `in` said its last; `out` was told */
	uint64_t bytes, passed, lost, full, slow;
};

static struct {
	uint64_t delay_ns, queue_ns;
	uint64_t rate;  /* bytes a second; 0: any */
	uint64_t loss;  /* of 2^32 */
	uint64_t state; /* of the generator */
	bool tcp;
	struct sockaddr_in from, to;
} conf = { .queue_ns = 100 * SECOND / 1000, .state = 1 };

static volatile sig_atomic_t over;

static void
die(const char *what)
{
	fprintf(stderr, "longway: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static void
ring_init(struct ring *r)
{
	const int fd = memfd_create("longway", MFD_CLOEXEC);
	uint8_t *ptr = mmap(NULL, 2 * RING_LEN, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (fd < 0 || ptr == MAP_FAILED || ftruncate(fd, (off_t)RING_LEN) < 0)
		die("memory");
	for (int i = 0; i < 2; i++)
		if (mmap(ptr + (size_t)i * RING_LEN, RING_LEN,
			PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			0) == MAP_FAILED)
			die("memory");
	close(fd);
	*r = (struct ring){ .ptr = ptr };
}

static size_t
ring_size(size_t len)
{
	return sizeof(struct piece) + ((len + 15) & ~(size_t)15);
}

static bool
ring_put(struct ring *r, uint64_t due_ns, const uint8_t *data, size_t len)
{
	const struct piece p = { .due_ns = due_ns, .len = len };
	uint8_t *at = r->ptr + r->tail % RING_LEN;

	if (r->tail - r->head + ring_size(len) > RING_LEN)
		return false;
	memcpy(at, &p, sizeof(p));
	memcpy(at + sizeof(p), data, len);
	r->tail += ring_size(len);
	return true;
}

/* The piece at `at`, from r->head on; NULL behind the last. */
static uint8_t *
ring_at(const struct ring *r, size_t at, struct piece *out)
{
	uint8_t *ptr = r->ptr + at % RING_LEN;

	if (at == r->tail)
		return NULL;
	memcpy(out, ptr, sizeof(*out));
	return ptr + sizeof(*out);
}

/* When the first one is due. */
static uint64_t
way_due(const struct way *w)
{
	struct piece p;

	if (w->blocked || ring_at(&w->ring, w->ring.head, &p) == NULL)
		return UINT64_MAX;
	return p.due_ns;
}

/* It came; when is it out of the narrow place? */
static uint64_t
way_pass(struct way *w, size_t len, uint64_t now_ns)
{
	if (conf.rate == 0)
		return now_ns;
	if (w->free_ns < now_ns)
		w->free_ns = now_ns;
	w->free_ns += (uint64_t)len * SECOND / conf.rate;
	return w->free_ns;
}

static bool
way_is_full(const struct way *w, uint64_t now_ns)
{
	return conf.rate != 0 && w->free_ns > now_ns + conf.queue_ns;
}

/* --- datagrams -------------------------------------------------------- */

static struct sockaddr_in peer; /* who calls; 0: nobody yet */

/* Marsaglia's xorshift64. */
static bool
is_lost(void)
{
	conf.state ^= conf.state << 13;
	conf.state ^= conf.state >> 7;
	conf.state ^= conf.state << 17;
	return (conf.state >> 32) < conf.loss;
}

static void
udp_put(struct way *w, const uint8_t *data, size_t len, uint64_t now_ns)
{
	if (is_lost())
		w->lost++;
	else if (way_is_full(w, now_ns) ||
		 !ring_put(&w->ring, way_pass(w, len, now_ns) + conf.delay_ns,
		     data, len))
		w->full++;
	else
		w->passed++;
}

/* How long each datagram of a burst is, and what the kernel had to drop. */
static size_t
udp_control(struct way *w, struct msghdr *m, size_t len)
{
	size_t segment = len;
	uint32_t dropped;
	int value;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
	     c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&value, CMSG_DATA(c), sizeof(value));
			if (value > 0)
				segment = (size_t)value;
		} else if (c->cmsg_level == SOL_SOCKET &&
			   c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&dropped, CMSG_DATA(c), sizeof(dropped));
			w->slow = dropped;
		}
	}
	return segment;
}

static void
udp_read(struct way *w, bool from_caller)
{
	static uint8_t data[BURST_LEN];

	for (int i = 0; i < READS; i++) {
		union {
			struct cmsghdr align;
			char room[128];
		} control;
		struct sockaddr_in from;
		struct iovec iov = { data, sizeof(data) };
		struct msghdr m = { .msg_name = &from,
			.msg_namelen = sizeof(from),
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control) };
		const ssize_t n = recvmsg(w->in, &m, MSG_DONTWAIT);
		const uint64_t now_ns = now();
		size_t segment;

		if (n <= 0)
			return;
		if (from_caller)
			peer = from;
		segment = udp_control(w, &m, (size_t)n);
		w->bytes += (uint64_t)n;
		for (size_t at = 0; at < (size_t)n; at += segment)
			udp_put(w, data + at,
			    segment < (size_t)n - at ? segment : (size_t)n - at,
			    now_ns);
	}
}

/* Pieces that are due and may go with one call: one length, then a shorter. */
static size_t
udp_gather(const struct way *w, uint64_t now_ns, struct iovec *iov, size_t *end)
{
	size_t count = 0, total = 0;
	struct piece p;
	uint8_t *ptr;

	*end = w->ring.head;
	while (count < PIECES && (ptr = ring_at(&w->ring, *end, &p)) != NULL &&
	       p.due_ns <= now_ns && total + p.len <= SEND_LEN) {
		if (count > 0 && p.len > iov[0].iov_len)
			break;
		iov[count++] = (struct iovec){ ptr, p.len };
		total += p.len;
		*end += ring_size(p.len);
		if (p.len < iov[0].iov_len)
			break;
	}
	return count;
}

static ssize_t
udp_send_call(const struct way *w, struct iovec *iov, size_t count,
    bool to_caller)
{
	const uint16_t segment = (uint16_t)iov[0].iov_len;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(segment))];
	} control = { .room = { 0 } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = count };

	if (to_caller) {
		m.msg_name = &peer;
		m.msg_namelen = sizeof(peer);
	}
	if (count > 1) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		control.align.cmsg_level = IPPROTO_UDP;
		control.align.cmsg_type = UDP_SEGMENT;
		control.align.cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(&control.align), &segment, sizeof(segment));
	}
	return sendmsg(w->out, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
udp_send(struct way *w, uint64_t now_ns, bool to_caller)
{
	struct iovec iov[PIECES];
	size_t count, end;

	w->blocked = false;
	while ((count = udp_gather(w, now_ns, iov, &end)) > 0) {
		if (udp_send_call(w, iov, count, to_caller) < 0 &&
		    (errno == EAGAIN || errno == EWOULDBLOCK)) {
			w->blocked = true;
			return;
		}
		w->ring.head = end; /* who is not there gets nothing */
	}
}

static int
udp_socket(void)
{
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int one = 1, len = SOCKET_LEN;

	if (fd < 0 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one)) < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &len, sizeof(len)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof(len));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &len, sizeof(len)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &len, sizeof(len));
	return fd;
}

static void
wait_for(struct pollfd *fd, nfds_t count, uint64_t due_ns)
{
	const uint64_t now_ns = now();
	struct timespec ts = { 0 };
	sigset_t none;

	sigemptyset(&none);
	if (due_ns > now_ns) {
		const uint64_t left = due_ns - now_ns;

		ts.tv_sec = (time_t)(left / SECOND);
		ts.tv_nsec = (long)(left % SECOND);
	}
	if (ppoll(fd, count, due_ns == UINT64_MAX ? NULL : &ts, &none) < 0)
		for (nfds_t i = 0; i < count; i++)
			fd[i].revents = 0;
}

static void
udp_run(struct way *up, struct way *down)
{
	const struct sockaddr *to = (const struct sockaddr *)&conf.to;

	up->in = down->out = udp_socket();
	up->out = down->in = udp_socket();
	if (bind(up->in, (const struct sockaddr *)&conf.from,
		sizeof(conf.from)) < 0)
		die("bind");
	if (connect(up->out, to, sizeof(conf.to)) < 0)
		die("connect");
	puts("ready");
	fflush(stdout);
	while (!over) {
		struct pollfd fd[2] = { { .fd = up->in, .events = POLLIN },
			{ .fd = down->in, .events = POLLIN } };
		uint64_t due_ns;

		udp_send(up, now(), false);
		udp_send(down, now(), true);
		fd[0].events = (short)(POLLIN | (down->blocked ? POLLOUT : 0));
		fd[1].events = (short)(POLLIN | (up->blocked ? POLLOUT : 0));
		due_ns = way_due(up);
		if (way_due(down) < due_ns)
			due_ns = way_due(down);
		wait_for(fd, 2, due_ns);
		if ((fd[0].revents & (POLLIN | POLLERR)) != 0)
			udp_read(up, true);
		if ((fd[1].revents & (POLLIN | POLLERR)) != 0)
			udp_read(down, false);
	}
}

/* --- connections ------------------------------------------------------ */

struct link {
	bool used;
	struct way way[2]; /* up, down */
};

static bool
tcp_has_room(const struct way *w, uint64_t now_ns)
{
	return !w->ended && !way_is_full(w, now_ns) &&
	       w->ring.tail - w->ring.head + ring_size(BURST_LEN) <= RING_LEN;
}

static void
tcp_read(struct way *w)
{
	static uint8_t data[BURST_LEN];

	for (int i = 0; i < READS && tcp_has_room(w, now()); i++) {
		const ssize_t n = recv(w->in, data, sizeof(data), MSG_DONTWAIT);
		const uint64_t now_ns = now();

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			w->ended = true;
			return;
		}
		w->bytes += (uint64_t)n;
		w->passed++;
		ring_put(&w->ring,
		    way_pass(w, (size_t)n, now_ns) + conf.delay_ns, data,
		    (size_t)n);
	}
}

static void
tcp_send(struct way *w, uint64_t now_ns)
{
	struct piece p;
	uint8_t *ptr;

	w->blocked = false;
	while ((ptr = ring_at(&w->ring, w->ring.head, &p)) != NULL &&
	       p.due_ns <= now_ns) {
		const ssize_t n = send(w->out, ptr + w->written,
		    p.len - w->written, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			w->blocked = true;
			return;
		}
		if (n < 0) {
			w->ended = true;
			w->ring.head = w->ring.tail;
			break;
		}
		w->written += (size_t)n;
		if (w->written < p.len)
			continue;
		w->written = 0;
		w->ring.head += ring_size(p.len);
	}
	if (w->ended && !w->shut && w->ring.head == w->ring.tail) {
		shutdown(w->out, SHUT_WR);
		w->shut = true;
	}
}

static void
tcp_accept(int listener, struct link *links)
{
	const int one = 1, near = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct link *l = links;

	while (l < links + LINKS && l->used)
		l++;
	if (near < 0 || far < 0 || l == links + LINKS ||
	    connect(far, (const struct sockaddr *)&conf.to, sizeof(conf.to)) <
		0) {
		close(near);
		close(far);
		return;
	}
	setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < 2; i++) {
		const struct ring ring = l->way[i].ring;

		l->way[i] = (struct way){ .ring = ring };
		if (ring.ptr == NULL)
			ring_init(&l->way[i].ring);
		l->way[i].ring.head = l->way[i].ring.tail = 0;
	}
	l->way[0].in = l->way[1].out = near;
	l->way[0].out = l->way[1].in = far;
	l->used = true;
}

static void
tcp_turn(struct link *l, const struct pollfd *fd, struct way *sum)
{
	for (int i = 0; i < 2; i++)
		if ((fd[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
			const uint64_t before = l->way[i].bytes;

			tcp_read(&l->way[i]);
			sum[i].bytes += l->way[i].bytes - before;
		}
	for (int i = 0; i < 2; i++)
		tcp_send(&l->way[i], now());
	if (!l->way[0].shut || !l->way[1].shut)
		return;
	close(l->way[0].in);
	close(l->way[0].out);
	l->used = false;
}

/* What to wait for at one end: `in` of a way, and `out` of the other. */
static void
tcp_watch(const struct way *w, const struct way *back, struct pollfd *fd,
    uint64_t *due_ns)
{
	const uint64_t now_ns = now();

	fd->fd = w->in;
	fd->events = (short)((tcp_has_room(w, now_ns) ? POLLIN : 0) |
			     (back->blocked ? POLLOUT : 0));
	if (fd->events == 0)
		fd->fd = -1; /* else its hanging up would wake us for ever */
	if (way_due(w) < *due_ns)
		*due_ns = way_due(w);
	if (!w->ended && way_is_full(w, now_ns) &&
	    w->free_ns - conf.queue_ns < *due_ns)
		*due_ns = w->free_ns - conf.queue_ns;
}

static void
tcp_run(struct way *sum)
{
	static struct link links[LINKS];
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int one = 1;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (const struct sockaddr *)&conf.from, sizeof(conf.from)) <
		0 ||
	    listen(fd, LINKS) < 0)
		die("listen");
	puts("ready");
	fflush(stdout);
	while (!over) {
		struct pollfd fds[1 + 2 * LINKS];
		uint64_t due_ns = UINT64_MAX;

		fds[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
		for (size_t i = 0; i < LINKS; i++) {
			struct pollfd *at = &fds[1 + 2 * i];

			at[0] = at[1] = (struct pollfd){ .fd = -1 };
			if (!links[i].used)
				continue;
			tcp_watch(&links[i].way[0], &links[i].way[1], &at[0],
			    &due_ns);
			tcp_watch(&links[i].way[1], &links[i].way[0], &at[1],
			    &due_ns);
		}
		wait_for(fds, 1 + 2 * LINKS, due_ns);
		for (size_t i = 0; i < LINKS; i++)
			if (links[i].used)
				tcp_turn(&links[i], &fds[1 + 2 * i], sum);
		if ((fds[0].revents & POLLIN) != 0)
			tcp_accept(fd, links);
	}
}

/* --- the program ------------------------------------------------------ */

static void
on_signal(int number)
{
	(void)number;
	over = 1;
}

static void
catch_signals(void)
{
	const struct sigaction sa = { .sa_handler = on_signal };
	sigset_t set;

	/* Let in by ppoll() alone. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
}

static bool
parse_place(const char *text, struct sockaddr_in *out)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	unsigned long port;
	char *end;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	port = strtoul(colon + 1, &end, 10);
	*out = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port) };
	return colon[1] != '\0' && *end == '\0' && port <= UINT16_MAX &&
	       inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

static bool
parse_number(const char *text, double max, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return end != text && *end == '\0' && *out >= 0 && *out <= max;
}

static bool
parse_option(int option, const char *text)
{
	double value;

	switch (option) {
	case 'd':
		if (!parse_number(text, 10000, &value))
			return false;
		conf.delay_ns = (uint64_t)(value * 1e6);
		return true;
	case 'l':
		if (!parse_number(text, 100, &value))
			return false;
		conf.loss = (uint64_t)(value / 100 * 4294967296.0);
		return true;
	case 'r':
		if (!parse_number(text, 1e6, &value))
			return false;
		conf.rate = (uint64_t)(value * 1e6 / 8);
		return true;
	case 'q':
		if (!parse_number(text, 10000, &value))
			return false;
		conf.queue_ns = (uint64_t)(value * 1e6);
		return true;
	case 's':
		if (!parse_number(text, 1e15, &value))
			return false;
		conf.state = (uint64_t)value * 2 + 1; /* 0 would stay 0 */
		return true;
	default:
		return false;
	}
}

static bool
parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "d:l:r:q:s:")) != -1)
		if (!parse_option(option, optarg))
			return false;
	argv += optind;
	if (argc - optind != 3)
		return false;
	conf.tcp = strcmp(argv[0], "tcp") == 0;
	return (conf.tcp || strcmp(argv[0], "udp") == 0) &&
	       parse_place(argv[1], &conf.from) &&
	       parse_place(argv[2], &conf.to);
}

static void
tell(const char *name, const struct way *w)
{
	printf("%s bytes=%" PRIu64 " passed=%" PRIu64 " lost=%" PRIu64
	       " full=%" PRIu64 " slow=%" PRIu64 "\n",
	    name, w->bytes, w->passed, w->lost, w->full, w->slow);
}

int
main(int argc, char **argv)
{
	static struct way way[2]; /* up, down */

	if (!parse(argc, argv)) {
		fputs("longway [-d MS] [-l PERCENT] [-r MBIT] [-q MS] "
		      "[-s SEED] udp|tcp FROM TO\n",
		    stderr);
		return 2;
	}
	catch_signals();
	(void)prctl(PR_SET_TIMERSLACK, 1000UL); /* ns */
	if (conf.tcp) {
		tcp_run(way);
	} else {
		ring_init(&way[0].ring);
		ring_init(&way[1].ring);
		udp_run(&way[0], &way[1]);
	}
	tell("up", &way[0]);
	tell("down", &way[1]);
	return 0;
}
