/*
 * HTTP for the local API with libmicrohttpd; see api_server.h.
 *
 * libmicrohttpd has one epoll descriptor, which the loop polls; a timer serves
 * its time-outs.  A long poll is a suspended connection; events resume all of
 * them, a little later than they come, so that a burst is one answer.
 */
#include "cli/api_server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <microhttpd.h>

#include "engine/base/list.h"
#include "engine/base/mem.h"

#define API_SERVER_CONNECTIONS 64u
#define API_SERVER_IDLE_S 30u   /* of a connection that says nothing */
#define API_SERVER_GATHER_MS 20 /* events are told together */
#define API_SERVER_HANDLES 3

struct api_server {
	uv_loop_t *loop;
	struct api *api;
	struct events *events;
	const struct log *log;
	char *path;
	struct MHD_Daemon *mhd;
	uv_poll_t poll;
	uv_timer_t timeout;  /* libmicrohttpd's */
	uv_timer_t waiters;  /* wakes long polls */
	struct list waiting; /* of struct api_visit */
	bool let_go; /* a connection is ours: one more run to forget it */
	int open_handles;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* One request. */
struct api_visit {
	struct list_node node; /* in `waiting` while suspended */
	struct MHD_Connection *conn;
	struct buf body;
	bool is_checked;
	bool is_foreign; /* another user */
	bool is_too_large;
	uint64_t until_ms; /* of a long poll; 0: none yet */
	uint64_t stream;   /* what it becomes; 0: it stays HTTP */
};

static void api_server_run(struct api_server *srv);

/* --- Requests --- */

/* Only our own user and root may speak to us. */
static bool
api_server_is_friend(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (info == NULL || getsockopt(info->connect_fd, SOL_SOCKET,
				SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static const char *
api_server_query(void *arg, const char *name)
{
	return MHD_lookup_connection_value(arg, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result
api_server_answer(struct MHD_Connection *conn, struct api_answer *answer)
{
	char *text = json_dumps(answer->body, JSON_COMPACT);
	struct MHD_Response *rsp;
	enum MHD_Result rc;
	size_t len;

	json_decref(answer->body);
	if (text == NULL)
		return MHD_NO;
	len = strlen(text);
	text[len] = '\n'; /* instead of the NUL: nobody needs it */
	rsp = MHD_create_response_from_buffer(len + 1, text,
	    MHD_RESPMEM_MUST_FREE);
	if (rsp == NULL) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(rsp, "Content-Type", "application/json");
	MHD_add_response_header(rsp, "Cache-Control", "no-store");
	if (answer->allow != NULL)
		MHD_add_response_header(rsp, "Allow", answer->allow);
	rc = MHD_queue_response(conn, (unsigned)answer->status, rsp);
	MHD_destroy_response(rsp);
	return rc;
}

static enum MHD_Result
api_server_refuse(struct MHD_Connection *conn, int status, const char *code,
    const char *reason)
{
	struct api_answer answer = {
		.status = status,
		.body = json_pack("{s:s,s:s,s:s,s:[]}", "schema", API_SCHEMA,
		    "code", code, "reason", reason, "next"),
	};

	return api_server_answer(conn, &answer);
}

/*
 * The 101 is written: no more HTTP.  We go on with a descriptor of our own, so
 * that libmicrohttpd is done with the connection and keeps no place for it.
 */
static void
api_server_on_upgrade(void *arg, struct MHD_Connection *conn, void *visit,
    const char *early, size_t early_len, MHD_socket fd,
    struct MHD_UpgradeResponseHandle *handle)
{
	struct api_server *srv = arg;
	const struct api_visit *v = visit;
	const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	(void)conn;
	if (own < 0)
		log_warn(srv->log, "api upgrade: %s", strerror(errno));
	else
		api_take_stream(srv->api, v->stream, own,
		    slice_of(early, early_len));
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
	srv->let_go = true;
}

static enum MHD_Result
api_server_upgrade(struct api_server *srv, struct api_visit *v)
{
	struct MHD_Response *rsp =
	    MHD_create_response_for_upgrade(api_server_on_upgrade, srv);
	enum MHD_Result rc;

	if (rsp == NULL)
		return MHD_NO;
	MHD_add_response_header(rsp, "Upgrade", API_STREAM);
	rc = MHD_queue_response(v->conn, MHD_HTTP_SWITCHING_PROTOCOLS, rsp);
	MHD_destroy_response(rsp);
	return rc;
}

/* When the next long poll's time is up, wake them. */
static void api_server_on_waiters(uv_timer_t *timer);

static void
api_server_plan_waiters(struct api_server *srv)
{
	uint64_t first = UINT64_MAX;
	const uint64_t now = uv_now(srv->loop);

	for (struct list_node *n = list_first(&srv->waiting); n != NULL;
	     n = list_next(&srv->waiting, n)) {
		const struct api_visit *v =
		    LIST_ITEM(n, struct api_visit, node);

		if (v->until_ms < first)
			first = v->until_ms;
	}
	if (first == UINT64_MAX)
		uv_timer_stop(&srv->waiters);
	else
		uv_timer_start(&srv->waiters, api_server_on_waiters,
		    first > now ? first - now : 0, 0);
}

static enum MHD_Result
api_server_handle(struct api_server *srv, struct api_visit *v, const char *url,
    const char *method)
{
	const struct api_request rq = {
		.method = method,
		.path = url,
		.query = api_server_query,
		.arg = v->conn,
		.body = buf_slice(&v->body),
	};
	const uint64_t now = uv_now(srv->loop);
	struct api_answer answer;

	api_handle(srv->api, &rq, v->until_ms != 0 && now >= v->until_ms,
	    &answer);
	if (answer.stream != 0) {
		v->stream = answer.stream;
		return api_server_upgrade(srv, v);
	}
	if (!answer.wait)
		return api_server_answer(v->conn, &answer);
	if (v->until_ms == 0)
		v->until_ms = now + (uint64_t)answer.wait_s * 1000;
	list_add(&srv->waiting, &v->node);
	MHD_suspend_connection(v->conn);
	api_server_plan_waiters(srv);
	return MHD_YES;
}

/* Called once for the header, then for each part of a body, then at its end;
 * and once more each time a suspended connection is resumed. */
static enum MHD_Result
api_server_on_request(void *arg, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *upload,
    size_t *upload_len, void **visit)
{
	struct api_server *srv = arg;
	struct api_visit *v = *visit;

	(void)version;
	if (v == NULL) {
		v = mem_zalloc(sizeof(*v));
		v->conn = conn;
		*visit = v;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		if (v->body.len + *upload_len > API_BODY_MAX)
			v->is_too_large = true;
		else
			buf_put(&v->body, slice_of(upload, *upload_len));
		*upload_len = 0;
		return MHD_YES;
	}
	if (!v->is_checked) {
		v->is_checked = true;
		v->is_foreign = !api_server_is_friend(conn);
	}
	if (v->is_foreign) {
		log_warn(srv->log, "api refuse reason=foreign-user");
		return api_server_refuse(conn, 403, "denied",
		    "this socket is for the user of syncd and for root");
	}
	if (v->is_too_large)
		return api_server_refuse(conn, 413, "limit",
		    "the request's body is too large");
	return api_server_handle(srv, v, url, method);
}

static void
api_server_on_completed(void *arg, struct MHD_Connection *conn, void **visit,
    enum MHD_RequestTerminationCode why)
{
	struct api_server *srv = arg;
	struct api_visit *v = *visit;

	(void)conn;
	(void)why;
	if (v == NULL)
		return;
	if (list_has(&v->node))
		list_remove(&srv->waiting, &v->node);
	buf_fini(&v->body);
	mem_free(v);
	*visit = NULL;
}

/* --- The loop --- */

static void
api_server_resume_all(struct api_server *srv)
{
	struct list_node *n;

	while ((n = list_first(&srv->waiting)) != NULL) {
		struct api_visit *v = LIST_ITEM(n, struct api_visit, node);

		list_remove(&srv->waiting, n);
		MHD_resume_connection(v->conn);
	}
}

static void
api_server_on_waiters(uv_timer_t *timer)
{
	struct api_server *srv = timer->data;

	api_server_resume_all(srv);
	api_server_run(srv);
}

static void
api_server_on_timeout(uv_timer_t *timer)
{
	api_server_run(timer->data);
}

static void
api_server_on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	api_server_run(poll->data);
}

static void
api_server_run(struct api_server *srv)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (srv->mhd == NULL)
		return;
	do {
		srv->let_go = false;
		MHD_run(srv->mhd);
	} while (srv->let_go);
	if (MHD_get_timeout(srv->mhd, &ms) == MHD_YES)
		uv_timer_start(&srv->timeout, api_server_on_timeout, ms, 0);
	else
		uv_timer_stop(&srv->timeout);
}

/* Something happened: tell those who wait, together with what follows. */
static void
api_server_wake(void *arg)
{
	struct api_server *srv = arg;

	if (srv->waiting.count == 0)
		return;
	if (uv_is_active((uv_handle_t *)&srv->waiters) &&
	    uv_timer_get_due_in(&srv->waiters) <= API_SERVER_GATHER_MS)
		return;
	uv_timer_start(&srv->waiters, api_server_on_waiters,
	    API_SERVER_GATHER_MS, 0);
}

static void
api_server_on_log(void *arg, const char *fmt, va_list ap)
{
	const struct api_server *srv = arg;
	char text[200];

	/* The format is libmicrohttpd's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
	text[strcspn(text, "\n")] = '\0';
	log_debug(srv->log, "api http text=%s", text);
}

/* --- Open and close --- */

/*
 * Bound under another name and renamed: whoever finds the socket finds it with
 * its right mode, and a stale one is replaced at once.
 */
static int
api_server_bind(const char *path, int *out, struct err *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *slash = strrchr(path, '/');
	const int dir_len = slash == NULL ? 0 : (int)(slash - path) + 1;
	int fd = -1;
	int rc = 0;

	if (strlen(path) >= sizeof(un.sun_path))
		return err_set(err, ERR_INVALID, "path too long: %s", path);
	snprintf(un.sun_path, sizeof(un.sun_path), "%.*ssyncd.new", dir_len,
	    path);
	unlink(un.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    chmod(un.sun_path, 0600) < 0 || listen(fd, 64) < 0 ||
	    rename(un.sun_path, path) < 0) {
		rc = err_sys(err, errno, "socket %s", path);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	*out = fd;
	return rc;
}

static int
api_server_start(struct api_server *srv, int fd, struct err *err)
{
	const union MHD_DaemonInfo *info;

	srv->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
					MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, api_server_on_request, srv,
	    MHD_OPTION_EXTERNAL_LOGGER, api_server_on_log, srv,
	    MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
	    API_SERVER_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
	    API_SERVER_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)(32 * 1024), MHD_OPTION_NOTIFY_COMPLETED,
	    api_server_on_completed, srv, MHD_OPTION_END);
	if (srv->mhd == NULL) {
		close(fd);
		return err_set(err, ERR_IO, "cannot serve the local API");
	}
	info = MHD_get_daemon_info(srv->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || info->epoll_fd < 0 ||
	    uv_poll_init(srv->loop, &srv->poll, info->epoll_fd) < 0) {
		MHD_stop_daemon(srv->mhd);
		return err_set(err, ERR_IO, "cannot poll the local API");
	}
	return 0;
}

int
api_server_open(struct api_server **out, uv_loop_t *loop,
    const char *socket_path, struct api *api, struct events *events,
    const struct log *log, struct err *err)
{
	struct api_server *srv = mem_zalloc(sizeof(*srv));
	int fd = -1;
	int rc;

	*out = NULL;
	srv->loop = loop;
	srv->api = api;
	srv->events = events;
	srv->log = log;
	list_init(&srv->waiting);
	rc = api_server_bind(socket_path, &fd, err);
	if (rc == 0)
		rc = api_server_start(srv, fd, err);
	if (rc < 0) {
		mem_free(srv);
		return rc;
	}
	srv->path = mem_strdup(socket_path);
	uv_timer_init(loop, &srv->timeout);
	uv_timer_init(loop, &srv->waiters);
	srv->poll.data = srv->timeout.data = srv->waiters.data = srv;
	srv->open_handles = API_SERVER_HANDLES;
	uv_poll_start(&srv->poll, UV_READABLE, api_server_on_readable);
	events_set_wake(events, api_server_wake, srv);
	*out = srv;
	return 0;
}

static void
api_server_on_handle_closed(uv_handle_t *handle)
{
	struct api_server *srv = handle->data;

	if (--srv->open_handles > 0)
		return;
	if (srv->on_closed != NULL)
		srv->on_closed(srv->closed_arg);
	mem_free(srv->path);
	mem_free(srv);
}

void
api_server_close(struct api_server *srv, void (*on_closed)(void *arg),
    void *arg)
{
	struct MHD_Daemon *mhd = srv->mhd;

	srv->on_closed = on_closed;
	srv->closed_arg = arg;
	events_set_wake(srv->events, NULL, NULL);
	unlink(srv->path);
	/* The loop lets go of the descriptor before it is closed. */
	uv_poll_stop(&srv->poll);
	api_server_resume_all(srv);
	srv->mhd = NULL;
	MHD_stop_daemon(mhd);
	uv_close((uv_handle_t *)&srv->poll, api_server_on_handle_closed);
	uv_close((uv_handle_t *)&srv->timeout, api_server_on_handle_closed);
	uv_close((uv_handle_t *)&srv->waiters, api_server_on_handle_closed);
}
