/*
 * TCP; see tcp_uv.h.
 *
 * A dialled stream begins with its timer: at once to start (so that no
 * callback comes from inside tcp_dial()), then as the limit of the dial.
 */
#include "mesh/tcp_uv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/assert.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "mesh/addr_uv.h"

#define TCP_BACKLOG 128
#define TCP_ACCEPTS 16    /* in one turn of the loop */
#define TCP_PAUSE_MS 100u /* when descriptors ran out */
/* A dead peer is noticed after this much silence to our probes. */
#define TCP_DEAD_MS 45000
#define TCP_PROBE_AFTER_S 20
#define TCP_PROBE_EVERY_S 8
#define TCP_PROBES 3
#define TCP_STUCK_MS 500
#define TCP_SMALL_READ 4096

struct tcp_listener {
	uv_poll_t poll;
	uv_timer_t pause; /* runs while there is no room for connections */
	int fd;           /* owned */
	unsigned handles; /* libuv still holds */
	tcp_accept_fn *on_accept;
	void *arg;
	void (*on_closed)(void *);
	void *closed_arg;
};

struct tcp {
	uv_tcp_t handle;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	uv_getaddrinfo_t resolve;
	struct addr to; /* as asked; then the real other end */
	struct addrinfo *list, *next;
	struct err error; /* of the dial, the last one */
	struct tcp_callbacks cb;
	void *arg;
	bool open, dialling, writing, closing;
	bool has_handle, has_timer, has_resolve; /* libuv still holds them */
	void (*on_closed)(void *);
	void *closed_arg;
};

static int
tcp_err(struct err *err, int rc, const char *what)
{
	return err_sys(err, -rc, "%s", what);
}

/* --- listening -------------------------------------------------------- */

static void
tcp_set_options(uv_tcp_t *handle)
{
	const unsigned dead_ms = TCP_DEAD_MS;
	const int every = TCP_PROBE_EVERY_S, count = TCP_PROBES;
	uv_os_fd_t fd;

	uv_tcp_nodelay(handle, 1);
	uv_tcp_keepalive(handle, 1, TCP_PROBE_AFTER_S);
	if (uv_fileno((const uv_handle_t *)handle, &fd) != 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms,
	    sizeof(dead_ms));
}

static void
tcp_note_peer(struct tcp *t)
{
	struct sockaddr_storage sa = { 0 };
	int len = sizeof(sa);

	if (uv_tcp_getpeername(&t->handle, (struct sockaddr *)&sa, &len) == 0)
		addr_uv_from_sockaddr(&t->to, (struct sockaddr *)&sa);
}

static struct tcp *
tcp_new(uv_loop_t *loop)
{
	struct tcp *t = mem_zalloc(sizeof(*t));

	uv_tcp_init(loop, &t->handle);
	uv_timer_init(loop, &t->timer);
	t->has_handle = t->has_timer = true;
	t->handle.data = t->timer.data = t;
	t->connect.data = t->write.data = t->resolve.data = t;
	return t;
}

static void
tcp_take(struct tcp_listener *l, int fd)
{
	struct tcp *t = tcp_new(l->poll.loop);

	if (uv_tcp_open(&t->handle, fd) < 0) {
		close(fd);
		tcp_close(t, NULL, NULL);
		return;
	}
	tcp_set_options(&t->handle);
	t->open = true;
	tcp_note_peer(t);
	l->on_accept(l->arg, t, &t->to);
}

static void tcp_listener_watch(struct tcp_listener *l);

static void
tcp_on_pause_over(uv_timer_t *timer)
{
	tcp_listener_watch(timer->data);
}

/*
 * libuv's own listening would try again without end, and nothing else would
 * ever be done, when descriptors ran out.  They are given back by the loop: so
 * let it turn.  Who knocks meanwhile waits in the kernel's queue.
 */
static void
tcp_on_readable(uv_poll_t *poll, int status, int events)
{
	struct tcp_listener *l = poll->data;

	(void)events;
	if (status < 0)
		return;
	for (int i = 0; i < TCP_ACCEPTS && uv_is_active((uv_handle_t *)poll);
	     i++) {
		const int fd =
		    accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			tcp_take(l, fd);
		} else if (errno == EMFILE || errno == ENFILE ||
			   errno == ENOMEM || errno == ENOBUFS) {
			uv_poll_stop(poll);
			uv_timer_start(&l->pause, tcp_on_pause_over,
			    TCP_PAUSE_MS, 0);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		} /* else that one is gone again */
	}
}

static void
tcp_listener_watch(struct tcp_listener *l)
{
	(void)uv_poll_start(&l->poll, UV_READABLE, tcp_on_readable);
}

static void
tcp_listener_freed(uv_handle_t *handle)
{
	struct tcp_listener *l = handle->data;

	if (--l->handles > 0)
		return;
	if (l->on_closed != NULL)
		l->on_closed(l->closed_arg);
	mem_free(l);
}

void
tcp_listener_close(struct tcp_listener *l, void (*on_closed)(void *), void *arg)
{
	l->on_closed = on_closed;
	l->closed_arg = arg;
	uv_close((uv_handle_t *)&l->poll, tcp_listener_freed);
	uv_close((uv_handle_t *)&l->pause, tcp_listener_freed);
	close(l->fd);
	l->fd = -1;
}

/* A listening socket, or -1 and errno. */
static int
tcp_bind(const struct sockaddr_storage *sa, bool only_ip6)
{
	const socklen_t len = sa->ss_family == AF_INET
				  ? sizeof(struct sockaddr_in)
				  : sizeof(struct sockaddr_in6);
	const int fd = socket(sa->ss_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int one = 1, only = only_ip6;
	int error;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    (sa->ss_family != AF_INET6 ||
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only,
		    sizeof(only)) == 0) &&
	    bind(fd, (const struct sockaddr *)sa, len) == 0 &&
	    listen(fd, TCP_BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int
tcp_listen(struct tcp_listener **out, uv_loop_t *loop, const struct addr *at,
    tcp_accept_fn *on_accept, void *arg, struct addr *bound, struct err *err)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	struct tcp_listener *l;
	char text[ADDR_TEXT_MAX];
	int fd = -1;
	int rc = addr_uv_to_sockaddr(at, &sa, err);

	*out = NULL;
	if (rc == 0)
		fd = tcp_bind(&sa, at->family == ADDR_V6);
	if (rc == 0 && fd < 0)
		rc = err_sys(err, errno, "listen");
	if (rc < 0) {
		addr_text(at, text);
		err_wrap(err, "%s", text);
		return rc;
	}
	l = mem_zalloc(sizeof(*l));
	l->fd = fd;
	l->on_accept = on_accept;
	l->arg = arg;
	l->handles = 2;
	l->poll.data = l->pause.data = l;
	rc = uv_poll_init(loop, &l->poll, fd);
	ASSERT(rc == 0);
	uv_timer_init(loop, &l->pause);
	tcp_listener_watch(l);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		addr_uv_from_sockaddr(bound, (struct sockaddr *)&sa);
	bound->family = at->family;
	*out = l;
	return 0;
}

/* --- closing ---------------------------------------------------------- */

static void
tcp_try_free(struct tcp *t)
{
	if (t->has_handle || t->has_timer || t->has_resolve)
		return;
	if (t->list != NULL)
		uv_freeaddrinfo(t->list);
	if (t->on_closed != NULL)
		t->on_closed(t->closed_arg);
	mem_free(t);
}

static void
tcp_handle_freed(uv_handle_t *handle)
{
	struct tcp *t = handle->data;

	t->has_handle = false;
	tcp_try_free(t);
}

static void
tcp_timer_freed(uv_handle_t *handle)
{
	struct tcp *t = handle->data;

	t->has_timer = false;
	tcp_try_free(t);
}

void
tcp_close(struct tcp *t, void (*on_closed)(void *), void *arg)
{
	ASSERT(!t->closing);
	t->closing = true;
	t->on_closed = on_closed;
	t->closed_arg = arg;
	if (t->has_resolve)
		uv_cancel((uv_req_t *)&t->resolve);
	if (t->has_handle && !uv_is_closing((uv_handle_t *)&t->handle))
		uv_close((uv_handle_t *)&t->handle, tcp_handle_freed);
	uv_close((uv_handle_t *)&t->timer, tcp_timer_freed);
}

/* --- dialling --------------------------------------------------------- */

static void tcp_connect_next(struct tcp *t);

static void
tcp_dial_over(struct tcp *t, const struct err *err)
{
	t->dialling = false;
	uv_timer_stop(&t->timer);
	t->cb.on_open(t->arg, err);
}

/* The handle of a failed attempt is gone: a new one for the next address. */
static void
tcp_handle_renewed(uv_handle_t *handle)
{
	struct tcp *t = handle->data;

	t->has_handle = false;
	if (t->closing) {
		tcp_try_free(t);
		return;
	}
	uv_tcp_init(t->timer.loop, &t->handle);
	t->handle.data = t;
	t->has_handle = true;
	if (t->dialling)
		tcp_connect_next(t);
}

static void
tcp_connect_failed(struct tcp *t, int rc)
{
	tcp_err(&t->error, rc, "connect");
	uv_close((uv_handle_t *)&t->handle, tcp_handle_renewed);
}

static void
tcp_on_connect(uv_connect_t *req, int status)
{
	struct tcp *t = req->data;

	if (t->closing || !t->dialling)
		return;
	if (status < 0) {
		tcp_connect_failed(t, status);
		return;
	}
	tcp_set_options(&t->handle);
	tcp_note_peer(t);
	t->open = true;
	tcp_dial_over(t, NULL);
}

static bool
tcp_family_fits(const struct tcp *t, int family)
{
	return (family == AF_INET && t->to.family != ADDR_V6) ||
	       (family == AF_INET6 && t->to.family != ADDR_V4);
}

static void
tcp_connect_next(struct tcp *t)
{
	struct addrinfo *at = t->next;
	int rc;

	while (at != NULL && !tcp_family_fits(t, at->ai_family))
		at = at->ai_next;
	if (at == NULL) {
		if (t->error.code == 0)
			err_set(&t->error, ERR_NOT_FOUND,
			    "the name has no usable address");
		tcp_dial_over(t, &t->error);
		return;
	}
	t->next = at->ai_next;
	rc = uv_tcp_connect(&t->connect, &t->handle, at->ai_addr,
	    tcp_on_connect);
	if (rc < 0)
		tcp_connect_failed(t, rc);
}

static void
tcp_on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct tcp *t = req->data;

	t->has_resolve = false;
	t->list = list;
	if (t->closing) {
		tcp_try_free(t);
		return;
	}
	if (!t->dialling)
		return;
	if (status < 0) {
		err_set(&t->error, ERR_NOT_FOUND, "resolve %s: %s", t->to.name,
		    uv_strerror(status));
		tcp_dial_over(t, &t->error);
		return;
	}
	t->next = list;
	tcp_connect_next(t);
}

static void
tcp_resolve(struct tcp *t)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM };
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%u", t->to.port);
	rc = uv_getaddrinfo(t->timer.loop, &t->resolve, tcp_on_resolved,
	    t->to.name, port, &hints);
	if (rc < 0) {
		err_set(&t->error, ERR_NOT_FOUND, "resolve %s: %s", t->to.name,
		    uv_strerror(rc));
		tcp_dial_over(t, &t->error);
		return;
	}
	t->has_resolve = true;
}

static void
tcp_on_dial_timeout(uv_timer_t *timer)
{
	struct tcp *t = timer->data;

	err_set(&t->error, ERR_CLOSED, "no answer within %u s",
	    (unsigned)(LIMIT_DIAL_NS / CLOCK_S));
	t->error.sys = ETIMEDOUT;
	tcp_dial_over(t, &t->error);
}

static void
tcp_on_dial_start(uv_timer_t *timer)
{
	struct tcp *t = timer->data;
	struct sockaddr_storage sa;
	int rc;

	uv_timer_start(timer, tcp_on_dial_timeout, LIMIT_DIAL_NS / CLOCK_MS, 0);
	if (t->to.host == ADDR_NAME) {
		tcp_resolve(t);
		return;
	}
	rc = addr_uv_to_sockaddr(&t->to, &sa, &t->error);
	if (rc < 0) {
		tcp_dial_over(t, &t->error);
		return;
	}
	rc = uv_tcp_connect(&t->connect, &t->handle, (struct sockaddr *)&sa,
	    tcp_on_connect);
	if (rc < 0)
		tcp_connect_failed(t, rc);
}

struct tcp *
tcp_dial(uv_loop_t *loop, const struct addr *to, const struct tcp_callbacks *cb,
    void *arg)
{
	struct tcp *t = tcp_new(loop);

	t->to = *to;
	t->cb = *cb;
	t->arg = arg;
	t->dialling = true;
	uv_timer_start(&t->timer, tcp_on_dial_start, 0, 0);
	return t;
}

/* --- the stream ------------------------------------------------------- */

void
tcp_set_owner(struct tcp *t, const struct tcp_callbacks *cb, void *arg)
{
	t->cb = *cb;
	t->arg = arg;
}

static void
tcp_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct tcp *t = handle->data;
	size_t len = 0;
	uint8_t *space;

	(void)suggested;
	space = t->cb.on_space(t->arg, &len);
	*out = uv_buf_init((char *)(len > 0 ? space : NULL), (unsigned)len);
}

/*
 * A peer that leaves Nagle's algorithm on waits for our acknowledgement before
 * it sends its next small piece: do not delay that one.
 */
static void
tcp_quick_ack(struct tcp *t)
{
	const int one = 1;
	uv_os_fd_t fd;

	if (uv_fileno((const uv_handle_t *)&t->handle, &fd) == 0)
		setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

static void
tcp_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tcp *t = stream->data;
	struct err err = { 0 };

	(void)buf;
	if (n == 0)
		return;
	if (n == UV_ENOBUFS) {
		uv_read_stop(stream);
		return;
	}
	if (n > 0) {
		if (n < TCP_SMALL_READ)
			tcp_quick_ack(t);
		t->cb.on_read(t->arg, (size_t)n);
		return;
	}
	uv_read_stop(stream);
	if (n == UV_EOF)
		err_set(&err, ERR_CLOSED, "the peer closed");
	else if (n == UV_ECONNRESET)
		err_set(&err, ERR_CLOSED, "the peer reset the connection");
	else
		tcp_err(&err, (int)n, "read");
	t->cb.on_end(t->arg, &err);
}

void
tcp_read(struct tcp *t, bool on)
{
	ASSERT(t->open && !t->closing);
	if (on)
		(void)uv_read_start((uv_stream_t *)&t->handle, tcp_on_alloc,
		    tcp_on_read);
	else
		uv_read_stop((uv_stream_t *)&t->handle);
}

static void
tcp_on_written(uv_write_t *req, int status)
{
	struct tcp *t = req->data;
	struct err err = { 0 };

	t->writing = false;
	if (t->closing)
		return;
	if (status < 0)
		tcp_err(&err, status, "write");
	t->cb.on_written(t->arg, status < 0 ? &err : NULL);
}

size_t
tcp_write(struct tcp *t, const uint8_t *ptr, size_t len)
{
	uv_buf_t buf;
	size_t done = 0;
	int n;

	ASSERT(t->open && !t->closing && !t->writing);
	while (done < len) {
		buf = uv_buf_init((char *)(uintptr_t)(ptr + done),
		    (unsigned)(len - done));
		n = uv_try_write((uv_stream_t *)&t->handle, &buf, 1);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == len)
		return done;
	buf = uv_buf_init((char *)(uintptr_t)(ptr + done),
	    (unsigned)(len - done));
	t->writing = true;
	/* Cannot fail at once but for a closed stream, which is ours to avoid.
	 */
	if (uv_write(&t->write, (uv_stream_t *)&t->handle, &buf, 1,
		tcp_on_written) < 0)
		t->writing = false;
	return done;
}

bool
tcp_is_writing(const struct tcp *t)
{
	return t->writing;
}

const struct addr *
tcp_peer(const struct tcp *t)
{
	return &t->to;
}

static bool
tcp_info(const struct tcp *t, struct tcp_info *out)
{
	socklen_t len = sizeof(*out);
	uv_os_fd_t fd;

	memset(out, 0, sizeof(*out));
	return uv_fileno((const uv_handle_t *)&t->handle, &fd) == 0 &&
	       getsockopt(fd, IPPROTO_TCP, TCP_INFO, out, &len) == 0;
}

uint64_t
tcp_rtt_ns(const struct tcp *t)
{
	struct tcp_info info;

	return tcp_info(t, &info) ? info.tcpi_rtt * CLOCK_US : 0;
}

bool
tcp_is_stuck(const struct tcp *t)
{
	struct tcp_info info;

	return tcp_info(t, &info) && info.tcpi_unacked > 0 &&
	       info.tcpi_last_ack_recv > TCP_STUCK_MS;
}
