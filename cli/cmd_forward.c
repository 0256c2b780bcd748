/*
 * syncctl forward: a TCP port of this machine, or standard input and output,
 * that leads to a port of another device's loopback.
 *
 * This program listens and copies; the daemon carries.  For each connection it
 * asks the daemon for one to the device, and goes on over the daemon's socket
 * with what came of it.
 */
#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/carry_posix.h"
#include "cli/print.h"

struct cmd_forward {
	struct cmd_call *call;
	const char *id, *name; /* of the device */
	const char *self;      /* what this one calls itself */
	unsigned port;
	bool json, stdio;
	int code; /* --stdio: what it ends with */
};

/* --- words ---------------------------------------------------------------- */

/* A port's number; 0 when it is none. */
static unsigned
cmd_forward_port(const char *text, bool zero, bool *ok)
{
	char *end;
	const unsigned long n = strtoul(text, &end, 10);

	*ok = text[0] >= '0' && text[0] <= '9' && *end == '\0' && n <= 65535 &&
	      (n > 0 || zero);
	return *ok ? (unsigned)n : 0;
}

/* "[x]" to "x". */
static char *
cmd_forward_bare(struct arena *ar, const char *text)
{
	const size_t len = strlen(text);

	if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
		return arena_str(ar, slice_of(text + 1, len - 2));
	return arena_str(ar, slice_str(text));
}

/* "DEVICE:PORT", "DEVICE:localhost:PORT", "[IPv6]:PORT". */
static int
cmd_forward_to(struct cmd_forward *f, const char *text, const char **device)
{
	static const char *const own[] = { ":localhost", ":127.0.0.1",
		":[::1]" };
	char *copy = arena_str(&f->call->ar, slice_str(text));
	char *colon = strrchr(copy, ':');
	bool ok = false;

	if (colon != NULL) {
		*colon = '\0';
		f->port = cmd_forward_port(colon + 1, false, &ok);
	}
	if (!ok)
		return cmd_usage(f->call,
		    "\"%s\" is not DEVICE:PORT, with a port from 1 to 65535",
		    text);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		const size_t len = strlen(own[i]), all = strlen(copy);

		if (all > len && strcmp(copy + all - len, own[i]) == 0) {
			copy[all - len] = '\0';
			break;
		}
	}
	*device = cmd_forward_bare(&f->call->ar, copy);
	return CMD_OK;
}

/* Whom it means, and who we are. */
static int
cmd_forward_find(struct cmd_forward *f, const char *device)
{
	char *path = cmd_query(f->call, "/v1/status", "device", device);
	const json_t *d;
	json_t *o;
	const int code = cmd_ask(f->call, "GET", path, &o);

	if (code != CMD_OK)
		return code;
	d = json_array_get(json_object_get(o, "devices"), 0);
	f->id = arena_str(&f->call->ar, slice_str(cmd_text(d, "id")));
	f->name = arena_str(&f->call->ar, slice_str(cmd_text(d, "name")));
	f->self = arena_str(&f->call->ar, slice_str(cmd_text(o, "node")));
	json_decref(o);
	return CMD_OK;
}

/* --- what is told --------------------------------------------------------- */

static void
cmd_forward_event(const char *event, json_t *o)
{
	json_object_set_new(o, "event", json_string(event));
	cmd_print_line(o);
	fflush(stdout);
	json_decref(o);
}

/* A connection that was not made, or did not end as it should. */
static void
cmd_forward_tell(struct cmd_forward *f, const char *event, uint64_t number,
    int code, const char *reason, const char *what, const char *next)
{
	struct arena *ar = &f->call->ar;
	json_t *o;

	f->code = code;
	if (strcmp(reason, "forward-denied") == 0)
		next = arena_printf(ar,
		    "on %s:  syncctl config set --add device.%s.forward %u  "
		    "(%s: what this device is called there)",
		    f->name, f->self, f->port, f->self);
	if (f->json) {
		o = json_object();
		json_object_set_new(o, "number",
		    number == 0 ? json_null()
				: json_integer((json_int_t)number));
		json_object_set_new(o, "code", json_string(reason));
		json_object_set_new(o, "reason", json_string(what));
		json_object_set_new(o, "next",
		    next == NULL || next[0] == '\0' ? json_null()
						    : json_string(next));
		json_object_set_new(o, "exit", json_integer(code));
		cmd_forward_event(event, o);
		return;
	}
	cmd_say("%s, port %u: %s", print_safe(ar, f->name), f->port,
	    print_safe(ar, what));
	if (next != NULL && next[0] != '\0')
		fprintf(stderr, "  Next: %s\n", print_safe(ar, next));
}

/* Of an answer of the daemon that is no success. */
static void
cmd_forward_tell_answer(struct cmd_forward *f, uint64_t number, int code,
    const json_t *o, const char *fallback)
{
	const char *what = cmd_text(o, "reason");

	cmd_forward_tell(f, "refused", number, code,
	    cmd_text(o, "code")[0] != '\0' ? cmd_text(o, "code") : "failed",
	    what[0] != '\0' ? what : fallback,
	    json_string_value(json_array_get(json_object_get(o, "next"), 0)));
}

/* --- lines ---------------------------------------------------------------- */

/* Ask for one; the daemon's socket, to which the rest was said. */
static int
cmd_forward_ask(struct cmd_forward *f, uint64_t *number)
{
	struct cmd_call *call = f->call;
	struct err err = { 0 };
	char request[256];
	json_t *o;
	int code, fd;

	code = cmd_try(call, "POST",
	    arena_printf(&call->ar, "/v1/devices/%s/forward?port=%u", f->id,
		f->port),
	    0, &o, &err);
	if (code != CMD_OK) {
		cmd_forward_tell_answer(f, 0, code, call->refusal, err.text);
		return -1;
	}
	*number = (uint64_t)cmd_int(o, "number");
	json_decref(o);
	if (client_dial(call->client, &fd, &err) < 0) {
		cmd_forward_tell(f, "refused", *number, CMD_NO_DAEMON,
		    "no-daemon", err.text, NULL);
		return -1;
	}
	snprintf(request, sizeof(request),
	    "GET /v1/forward/stream?number=%llu HTTP/1.1\r\n"
	    "Host: syncd\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
	    (unsigned long long)*number, API_STREAM);
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) !=
		(ssize_t)strlen(request) ||
	    fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		cmd_forward_tell(f, "refused", *number, CMD_NO_DAEMON,
		    "no-daemon", "syncd does not listen", NULL);
		close(fd);
		return -1;
	}
	return fd;
}

static int
cmd_forward_on_guest(void *arg, uint64_t *number)
{
	struct cmd_forward *f = arg;
	const struct arena_mark mark = arena_mark(&f->call->ar);
	const int fd = cmd_forward_ask(f, number);

	arena_reset(&f->call->ar, mark);
	return fd;
}

static void
cmd_forward_on_open(void *arg, const struct carry_line *line)
{
	const struct cmd_forward *f = arg;
	json_t *o;

	if (!f->json)
		return;
	o = json_object();
	json_object_set_new(o, "number",
	    json_integer((json_int_t)line->number));
	cmd_forward_event("open", o);
}

static void
cmd_forward_on_refused(void *arg, const struct carry_line *line,
    struct slice body)
{
	struct cmd_forward *f = arg;
	const struct arena_mark mark = arena_mark(&f->call->ar);
	json_t *o = json_loadb((const char *)body.ptr, body.len, 0, NULL);
	const int code = (int)cmd_int(o, "exit");

	cmd_forward_tell_answer(f, line->number, code != 0 ? code : CMD_FAILED,
	    o, "syncd broke the connection off");
	json_decref(o);
	arena_reset(&f->call->ar, mark);
}

/* The daemon sends no more: did the other end say so, or did it break? */
static bool
cmd_forward_on_far_end(void *arg, const struct carry_line *line)
{
	struct cmd_forward *f = arg;
	struct cmd_call *call = f->call;
	const struct arena_mark mark = arena_mark(&call->ar);
	const json_t *why;
	struct err err = { 0 };
	json_t *o = NULL;
	bool well = false;
	const int code = cmd_try(call, "GET",
	    arena_printf(&call->ar, "/v1/forward?number=%llu",
		(unsigned long long)line->number),
	    5, &o, &err);

	if (code != CMD_OK) {
		cmd_forward_tell(f, "broken", line->number, code, "no-daemon",
		    err.text, NULL);
	} else if (strcmp(cmd_text(o, "state"), "broken") == 0) {
		why = json_object_get(o, "reason");
		cmd_forward_tell(f, "broken", line->number,
		    (int)cmd_int(o, "exit"), cmd_text(why, "code"),
		    cmd_text(why, "what"), cmd_text(why, "do"));
	} else {
		well = true;
	}
	json_decref(o);
	arena_reset(&call->ar, mark);
	return well;
}

static void
cmd_forward_on_over(void *arg, const struct carry_line *line, bool well)
{
	const struct cmd_forward *f = arg;
	json_t *o;

	if (!f->json || !line->open)
		return;
	o = json_object();
	json_object_set_new(o, "number",
	    json_integer((json_int_t)line->number));
	json_object_set_new(o, "sent",
	    json_integer((json_int_t)line->up.bytes));
	json_object_set_new(o, "received",
	    json_integer((json_int_t)line->down.bytes));
	json_object_set_new(o, "well", json_boolean(well));
	cmd_forward_event("closed", o);
}

static bool
cmd_forward_goes_on(void *arg)
{
	(void)arg;
	return !cmd_is_interrupted();
}

/* --- listening ------------------------------------------------------------ */

/* The first address of `host` that can be listened at. */
static int
cmd_forward_bind(struct cmd_forward *f, const char *host, const char *port)
{
	const struct addrinfo want = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	const int rc = getaddrinfo(host, port, &want, &list);
	const int on = 1;
	int fd = -1, error = 0;

	for (const struct addrinfo *at = list; rc == 0 && at != NULL && fd < 0;
	     at = at->ai_next) {
		fd = socket(at->ai_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
		    listen(fd, 64) == 0)
			continue;
		error = errno;
		close(fd);
		fd = -1;
	}
	if (list != NULL)
		freeaddrinfo(list);
	if (fd < 0)
		cmd_fail_as(f->call, CMD_FAILED, NULL,
		    "cannot listen at %s, port %s: %s", host, port,
		    rc != 0 ? gai_strerror(rc) : strerror(error));
	return fd;
}

/* What it is really bound to. */
static void
cmd_forward_tell_listening(struct cmd_forward *f, int fd)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);
	char host[64] = "", port[16] = "";
	json_t *o;

	(void)getsockname(fd, (struct sockaddr *)&at, &len);
	(void)getnameinfo((struct sockaddr *)&at, len, host, sizeof(host), port,
	    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	if (f->json) {
		o = json_object();
		json_object_set_new(o, "address", json_string(host));
		json_object_set_new(o, "port", json_integer(atoi(port)));
		json_object_set_new(o, "device", json_string(f->name));
		json_object_set_new(o, "id", json_string(f->id));
		json_object_set_new(o, "to", json_integer((json_int_t)f->port));
		cmd_forward_event("listening", o);
		return;
	}
	printf("Listening at %s, port %s: leads to %s, port %u.  Ctrl-C ends "
	       "it.\n",
	    host, port, print_safe(&f->call->ar, f->name), f->port);
	fflush(stdout);
}

static int
cmd_forward_listen(struct cmd_forward *f, const char *at, int *fd)
{
	char *copy = arena_str(&f->call->ar, slice_str(at));
	char *colon = strrchr(copy, ':');
	const char *host = "127.0.0.1", *port = copy;
	bool ok;

	if (colon != NULL) {
		*colon = '\0';
		port = colon + 1;
		host = cmd_forward_bare(&f->call->ar, copy);
		if (strcmp(host, "*") == 0)
			host = "0.0.0.0";
	}
	(void)cmd_forward_port(port, true, &ok);
	if (!ok || host[0] == '\0')
		return cmd_usage(f->call, "\"%s\" is not PORT or ADDRESS:PORT",
		    at);
	*fd = cmd_forward_bind(f, host, port);
	return *fd < 0 ? CMD_FAILED : CMD_OK;
}

static int
cmd_forward_run(struct cmd_forward *f, int listener)
{
	static const struct carry_callbacks callbacks = {
		.on_guest = cmd_forward_on_guest,
		.on_open = cmd_forward_on_open,
		.on_refused = cmd_forward_on_refused,
		.on_far_end = cmd_forward_on_far_end,
		.on_over = cmd_forward_on_over,
		.goes_on = cmd_forward_goes_on,
	};
	struct carry *c = carry_posix_new(&callbacks, f);
	uint64_t number = 0;
	int far;

	cmd_catch_interrupt();
	/* A reader that went away is an error of write(). */
	signal(SIGPIPE, SIG_IGN);
	if (f->stdio) {
		far = cmd_forward_ask(f, &number);
		if (far >= 0)
			carry_posix_stdio(c, far, number);
	} else {
		cmd_forward_tell_listening(f, listener);
		carry_posix_listen(c, listener);
	}
	carry_posix_run(c);
	carry_posix_free(c);
	if (cmd_is_interrupted())
		return CMD_INTERRUPTED;
	return f->stdio ? f->code : CMD_OK;
}

int
cmd_forward(struct cmd_call *call)
{
	struct cmd_forward f = { .call = call,
		.stdio = options_has(&call->opt, "stdio"),
		.json = options_has(&call->opt, "json") };
	const size_t count = call->opt.arg_count;
	const char *device = NULL;
	int listener = -1;
	int code;

	if (f.stdio && f.json)
		return cmd_usage(call, "--stdio has no room for --json");
	if (count != (f.stdio ? 1 : 2))
		return cmd_usage(call, f.stdio
					   ? "--stdio takes DEVICE:PORT alone"
					   : "PORT and DEVICE:PORT are wanted");
	code = cmd_forward_to(&f, call->opt.arg[count - 1], &device);
	if (code == CMD_OK)
		code = cmd_forward_find(&f, device);
	if (code == CMD_OK && !f.stdio)
		code = cmd_forward_listen(&f, call->opt.arg[0], &listener);
	return code == CMD_OK ? cmd_forward_run(&f, listener) : code;
}
