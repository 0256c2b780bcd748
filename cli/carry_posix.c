/* Bytes between pairs of descriptors; see carry_posix.h. */
#include "cli/carry_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/vec.h"

#define CARRY_TURN_MS 500 /* goes_on() is asked at least so often */

struct carry {
	struct carry_callbacks cb;
	void *arg;
	VEC(int) listener;
	struct list lines;
};

/* --- one line ------------------------------------------------------------ */

static struct carry_line *
carry_add(struct carry *c, int in, int out, int far, uint64_t number)
{
	struct carry_line *l = mem_zalloc(sizeof(*l));

	l->number = number;
	l->up.from = in;
	l->up.to = far;
	l->down.from = far;
	l->down.to = out;
	list_add(&c->lines, &l->node);
	return l;
}

/* The near end of a connection that broke is reset, as TCP would. */
static void
carry_close(struct carry_line *l, bool well)
{
	const struct linger reset = { .l_onoff = 1 };

	if (!well)
		(void)setsockopt(l->down.to, SOL_SOCKET, SO_LINGER, &reset,
		    sizeof(reset));
	close(l->up.to);
	/* Standard input and output are one end of two descriptors. */
	close(l->down.to);
	if (l->up.from != l->down.to)
		close(l->up.from);
	buf_fini(&l->answer);
	mem_free(l);
}

static void
carry_over(struct carry *c, struct carry_line *l, bool well)
{
	if (l->over)
		return;
	l->over = true;
	c->cb.on_over(c->arg, l, well);
	list_remove(&c->lines, &l->node);
	carry_close(l, well);
}

/* As read(): a count, 0 at the end, -1 when there is none now, -2: broken. */
static ssize_t
carry_read(int fd, uint8_t *data, size_t len)
{
	const ssize_t n = read(fd, data, len);

	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

static ssize_t
carry_write(int fd, const uint8_t *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	/* A pipe or a file; a pipe that is ready takes so much at once. */
	if (n < 0 && errno == ENOTSOCK)
		n = write(fd, data, len < PIPE_BUF ? len : PIPE_BUF);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

/* No more bytes: what is no socket says it by being closed, and its number is
 * kept for nothing else. */
static void
carry_shut(int fd)
{
	int null;

	if (shutdown(fd, SHUT_WR) == 0 || errno != ENOTSOCK)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	(void)!dup2(null, fd);
	close(null);
}

/* Some of this half.  False: the line is broken. */
static bool
carry_half(struct carry_half *h, bool readable, bool writable)
{
	ssize_t n;

	if (readable && !h->eof && h->len == 0) {
		n = carry_read(h->from, h->data, sizeof(h->data));
		if (n == -2)
			return false;
		h->eof = n == 0;
		h->at = 0;
		h->len = n > 0 ? (size_t)n : 0;
		writable = writable || n > 0;
	}
	if (writable && h->len > 0) {
		n = carry_write(h->to, h->data + h->at, h->len);
		if (n == -2)
			return false;
		if (n > 0) {
			h->at += (size_t)n;
			h->len -= (size_t)n;
			h->bytes += (uint64_t)n;
		}
	}
	if (h->eof && h->len == 0 && !h->shut) {
		h->shut = true;
		carry_shut(h->to);
	}
	return true;
}

/* --- the head ------------------------------------------------------------ */

static size_t
carry_head_len(struct slice s)
{
	for (size_t i = 3; i < s.len; i++)
		if (memcmp(s.ptr + i - 3, "\r\n\r\n", 4) == 0)
			return i + 1;
	return 0;
}

/* Is the whole body there?  Without its length at the end alone. */
static bool
carry_is_whole(struct slice all, size_t head)
{
	static const char key[] = "\r\nContent-Length: ";
	const size_t len = sizeof(key) - 1;

	for (size_t i = 0; i + len < head; i++)
		if (memcmp(all.ptr + i, key, len) == 0)
			return all.len - head >=
			       strtoul((const char *)all.ptr + i + len, NULL,
				   10);
	return false;
}

/* The daemon answers: 101, or why not. */
static void
carry_answer(struct carry *c, struct carry_line *l)
{
	static const char yes[] = "HTTP/1.1 101";
	uint8_t part[4096];
	const ssize_t n = carry_read(l->down.from, part, sizeof(part));
	struct slice all;
	size_t head;

	if (n == -1)
		return;
	if (n > 0)
		buf_put(&l->answer, slice_of(part, (size_t)n));
	all = buf_slice(&l->answer);
	head = carry_head_len(all);
	if (head > 0 && slice_has_prefix(all, slice_str(yes))) {
		/* It began to speak already: less than a part. */
		l->down.len = all.len - head;
		memcpy(l->down.data, all.ptr + head, l->down.len);
		buf_fini(&l->answer);
		l->open = true;
		c->cb.on_open(c->arg, l);
		return;
	}
	if (n > 0 && all.len < CARRY_ANSWER_MAX &&
	    (head == 0 || !carry_is_whole(all, head)))
		return;
	c->cb.on_refused(c->arg, l,
	    head > 0 ? slice_from(all, head) : SLICE_EMPTY);
	carry_over(c, l, false);
}

/* --- turns --------------------------------------------------------------- */

static short
carry_wants(const struct carry_half *in, const struct carry_half *out)
{
	return (short)((!in->eof && in->len == 0 ? POLLIN : 0) |
		       (out->len > 0 ? POLLOUT : 0));
}

/* Which of its three descriptors for what; -1: for nothing just now, so that
 * poll() does not wake for an end that was seen. */
static void
carry_ask(const struct carry_line *l, struct pollfd at[3])
{
	const short far = l->open ? carry_wants(&l->down, &l->up) : POLLIN;
	const short in =
	    l->open ? carry_wants(&l->up, &(struct carry_half){ 0 }) : 0;
	const short out = l->down.len > 0 && l->open ? POLLOUT : 0;

	at[0] = (struct pollfd){ far != 0 ? l->down.from : -1, far, 0 };
	at[1] = (struct pollfd){ in != 0 ? l->up.from : -1, in, 0 };
	at[2] = (struct pollfd){ out != 0 ? l->down.to : -1, out, 0 };
}

static bool
carry_is(const struct pollfd *at, short what)
{
	/* An error shows with the call that it fails. */
	return (at->revents & (what | POLLERR | POLLHUP | POLLNVAL)) != 0 &&
	       (at->events & what) != 0;
}

static void
carry_turn(struct carry *c, struct carry_line *l, const struct pollfd at[3])
{
	if (!l->open) {
		if (carry_is(&at[0], POLLIN))
			carry_answer(c, l);
		return;
	}
	if (!carry_half(&l->up, carry_is(&at[1], POLLIN),
		carry_is(&at[0], POLLOUT)) ||
	    !carry_half(&l->down, carry_is(&at[0], POLLIN),
		carry_is(&at[2], POLLOUT))) {
		carry_over(c, l, false);
		return;
	}
	if (l->down.eof && !l->far_gone) {
		l->far_gone = true;
		if (!c->cb.on_far_end(c->arg, l)) {
			carry_over(c, l, false);
			return;
		}
	}
	if (l->up.shut && l->down.shut)
		carry_over(c, l, true);
}

static void
carry_accept(struct carry *c, int listener)
{
	const int near =
	    accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uint64_t number = 0;
	int far = -1;

	if (near < 0)
		return;
	if (c->lines.count < CARRY_LINES_MAX)
		far = c->cb.on_guest(c->arg, &number);
	if (far >= 0)
		carry_add(c, near, near, far, number);
	else
		close(near);
}

/* Everything that is waited for, in one list: listeners, then three a line. */
static void
carry_once(struct carry *c)
{
	const size_t lines = c->lines.count;
	const size_t count = c->listener.len + 3 * lines;
	struct pollfd *at = mem_zalloc((count + 1) * sizeof(*at));
	struct carry_line **line = mem_zalloc((lines + 1) * sizeof(*line));
	size_t n = 0;

	for (struct list_node *node = list_first(&c->lines); node != NULL;
	     node = list_next(&c->lines, node)) {
		line[n] = LIST_ITEM(node, struct carry_line, node);
		carry_ask(line[n], &at[c->listener.len + 3 * n]);
		n++;
	}
	for (size_t i = 0; i < c->listener.len; i++)
		at[i] = (struct pollfd){ c->listener.item[i], POLLIN, 0 };
	if (poll(at, count, CARRY_TURN_MS) > 0) {
		for (size_t i = 0; i < lines; i++)
			carry_turn(c, line[i], &at[c->listener.len + 3 * i]);
		for (size_t i = 0; i < c->listener.len; i++)
			if (at[i].revents != 0)
				carry_accept(c, c->listener.item[i]);
	}
	mem_free(at);
	mem_free(line);
}

struct carry *
carry_posix_new(const struct carry_callbacks *callbacks, void *arg)
{
	struct carry *c = mem_zalloc(sizeof(*c));

	c->cb = *callbacks;
	c->arg = arg;
	list_init(&c->lines);
	return c;
}

void
carry_posix_free(struct carry *c)
{
	struct list_node *node;

	while ((node = list_first(&c->lines)) != NULL) {
		list_remove(&c->lines, node);
		carry_close(LIST_ITEM(node, struct carry_line, node), false);
	}
	for (size_t i = 0; i < c->listener.len; i++)
		close(c->listener.item[i]);
	VEC_FINI(&c->listener);
	mem_free(c);
}

void
carry_posix_listen(struct carry *c, int fd)
{
	*VEC_ADD(&c->listener) = fd;
}

void
carry_posix_stdio(struct carry *c, int far, uint64_t number)
{
	carry_add(c, STDIN_FILENO, STDOUT_FILENO, far, number);
}

void
carry_posix_run(struct carry *c)
{
	while (c->cb.goes_on(c->arg) && c->listener.len + c->lines.count > 0)
		carry_once(c);
}
