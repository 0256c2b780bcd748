/* The local API on its socket: a child asks, this process answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/api_server.h"
#include "cli/client.h"
#include "engine/base/mem.h"

/* What the child does; its value is the child's exit code, 0 for good. */
typedef int child_fn(struct client *cl, const struct home *home);

static struct events *events;

static struct now
fake_now(void *arg)
{
	(void)arg;
	return (struct now){ 0 };
}

static void
fake_status(void *arg, struct arena *ar, struct status_report *out)
{
	(void)arg;
	(void)ar;
	memset(out, 0, sizeof(*out));
}

static void
fake_facts(void *arg, struct arena *ar, struct api_facts *out)
{
	static const struct config none;

	(void)arg;
	(void)ar;
	*out = (struct api_facts){ .config = &none };
}

static int
fake_reload(void *arg, struct err *err)
{
	const struct events_item e = { .type = EVENTS_CONFIG_LOADED };

	(void)arg;
	(void)err;
	events_put(events, &e);
	return 0;
}

struct world {
	uv_loop_t loop;
	uv_timer_t poll;
	struct api_server *srv;
	pid_t child;
	int status;
	bool closed;
};

static void
on_closed(void *arg)
{
	((struct world *)arg)->closed = true;
}

/* Wait for the child; when it is gone, close the server: the loop ends. */
static void
on_poll(uv_timer_t *timer)
{
	struct world *w = timer->data;

	if (waitpid(w->child, &w->status, WNOHANG) != w->child)
		return;
	api_server_close(w->srv, on_closed, w);
	uv_close((uv_handle_t *)timer, NULL);
}

static void
with_server(child_fn *child)
{
	const struct api_backend backend = {
		.now = fake_now,
		.facts = fake_facts,
		.status = fake_status,
		.reload = fake_reload,
	};
	char dir[] = "./api-test-XXXXXX";
	char path[64];
	struct world w = { 0 };
	struct home home;
	struct stat st;
	struct err err = { 0 };
	struct api *api;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(home_init(&home, dir, &err), 0);
	events = events_new();
	api = api_new(&backend, events);
	uv_loop_init(&w.loop);
	if (api_server_open(&w.srv, &w.loop, home.socket, api, events, NULL,
		&err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(stat(home.socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	w.child = fork();
	if (w.child == 0) {
		struct client *cl = client_new(&home);
		const int code = child(cl, &home);

		client_free(cl);
		_exit(code);
	}
	uv_timer_init(&w.loop, &w.poll);
	w.poll.data = &w;
	uv_timer_start(&w.poll, on_poll, 10, 10);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	assert_true(w.closed);
	assert_true(WIFEXITED(w.status));
	assert_int_equal(WEXITSTATUS(w.status), 0);
	assert_int_equal(uv_loop_close(&w.loop), 0);
	assert_int_equal(access(home.socket, F_OK), -1);
	api_free(api);
	events_free(events);
	home_fini(&home);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	(void)!system(path);
}

static int
ask(struct client *cl, const char *method, const char *path, json_t **o)
{
	struct err err = { 0 };
	int status = 0;

	if (client_call(cl, method, path, 10, &status, o, &err) < 0) {
		fprintf(stderr, "%s: %s\n", path, err.text);
		return -1;
	}
	return status;
}

static int
child_asks(struct client *cl, const struct home *home)
{
	json_t *o;

	(void)home;
	if (!client_is_up(cl) || ask(cl, "GET", "/v1/version", &o) != 200)
		return 1;
	json_decref(o);
	if (ask(cl, "POST", "/v1/version", &o) != 405)
		return 2;
	json_decref(o);
	if (ask(cl, "GET", "/v1/explain?path=%2fa%20b%2fc", &o) != 404)
		return 3;
	json_decref(o);
	if (ask(cl, "POST", "/v1/folders/a%2Fb%20c/scan", &o) != 404 ||
	    strstr(json_string_value(json_object_get(o, "reason")), "a/b c") ==
		NULL)
		return 4;
	json_decref(o);
	return 0;
}

static void
api_server_answers(void **state)
{
	(void)state;
	with_server(child_asks);
}

/* A long poll in a grandchild; an event made meanwhile ends it. */
static int
child_waits(struct client *cl, const struct home *home)
{
	const pid_t other = fork();
	int status;
	json_t *o;

	if (other == 0) {
		struct client *mine = client_new(home);

		if (ask(mine, "GET", "/v1/events?since=0&timeout=30", &o) !=
		    200)
			_exit(1);
		_exit(
		    json_array_size(json_object_get(o, "events")) == 1 ? 0 : 2);
	}
	usleep(200000);
	if (ask(cl, "POST", "/v1/reload", &o) != 200)
		return 3;
	json_decref(o);
	if (waitpid(other, &status, 0) != other || !WIFEXITED(status))
		return 4;
	if (WEXITSTATUS(status) != 0)
		return 10 + WEXITSTATUS(status);
	/* One that nothing ends but its time. */
	if (ask(cl, "GET", "/v1/events?since=1&timeout=1", &o) != 200 ||
	    json_array_size(json_object_get(o, "events")) != 0)
		return 5;
	json_decref(o);
	return 0;
}

static void
api_server_long_polls_end_with_an_event_or_their_time(void **state)
{
	(void)state;
	with_server(child_waits);
}

/* A long poll that is cut off by the end of the server. */
static int
child_leaves(struct client *cl, const struct home *home)
{
	(void)cl;
	if (fork() == 0) {
		struct client *mine = client_new(home);
		json_t *o;

		ask(mine, "GET", "/v1/events?since=0&timeout=30", &o);
		_exit(0);
	}
	usleep(200000);
	return 0;
}

static void
api_server_ends_with_long_polls_open(void **state)
{
	(void)state;
	with_server(child_leaves);
}

static int
raw(const struct home *home, const char *bytes, size_t len, size_t times)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char answer[256];

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", home->socket);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -1;
	for (size_t i = 0; i < times; i++)
		if (send(fd, bytes, len, MSG_NOSIGNAL) < 0)
			break;
	(void)!recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
	close(fd);
	return 0;
}

static int
child_is_hostile(struct client *cl, const struct home *home)
{
	static const char long_line[65536];
	json_t *o;

	raw(home, "GET / HTTP/9.9\r\n\r\n", 18, 1);
	raw(home, "\x16\x03\x01\x00\xff", 5, 1);
	raw(home, "GET /v1/status?%00%zz&&&=%=", 27, 1);
	raw(home, long_line, sizeof(long_line), 20);
	raw(home,
	    "POST /v1/reload HTTP/1.1\r\nHost: x\r\n"
	    "Content-Length: 99999999\r\n\r\n",
	    63, 1);
	raw(home, "GET /v1/version HTTP/1.1\r\nX: y\r\n", 32, 3000);
	if (ask(cl, "GET", "/v1/version", &o) != 200)
		return 1;
	json_decref(o);
	return 0;
}

static void
api_server_bears_hostile_bytes(void **state)
{
	(void)state;
	with_server(child_is_hostile);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(api_server_answers),
		cmocka_unit_test(
		    api_server_long_polls_end_with_an_event_or_their_time),
		cmocka_unit_test(api_server_ends_with_long_polls_open),
		cmocka_unit_test(api_server_bears_hostile_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
