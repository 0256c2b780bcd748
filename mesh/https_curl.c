/*
 * HTTPS with libcurl; see https_curl.h.
 *
 * libcurl says which sockets it waits for and for how long; libuv waits.  It is
 * linked with GnuTLS (docs/hacking.md), so the peer's certificate can be seen
 * between the handshake and the question.
 */
#include "mesh/https_curl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <gnutls/gnutls.h>

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/digest.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"

#define HTTPS_CONNECT_S 10L
#define HTTPS_ALL_S 30L

struct https {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	struct list calls;
	char *cert, *key; /* owned; NULL: none */
	size_t answer_max;
	unsigned handles; /* libuv still holds */
	bool closing;
	void (*on_closed)(void *);
	void *closed_arg;
};

struct https_call {
	struct list_node node; /* in https->calls */
	struct https *h;
	CURL *easy;
	struct curl_slist *headers; /* owned */
	struct buf body, answer;
	struct devid id;
	bool pinned;
	char why[256]; /* what we found wrong ourselves */
	https_done_fn *on_done;
	void *arg;
};

struct https_socket {
	uv_poll_t poll;
	struct https *h;
	curl_socket_t fd;
};

/* --- what libcurl asks of us ------------------------------------------ */

static size_t
https_on_data(char *data, size_t size, size_t count, void *arg)
{
	struct https_call *call = arg;
	const size_t len = size * count;

	if (len > call->h->answer_max - call->answer.len) {
		snprintf(call->why, sizeof(call->why),
		    "its answer is longer than %zu bytes", call->h->answer_max);
		return 0;
	}
	buf_put(&call->answer, slice_of(data, len));
	return len;
}

/* Connected, TLS is done, nothing was asked yet: is it the one we mean? */
static int
https_on_connected(void *arg, char *ip, char *local, int port, int local_port)
{
	struct https_call *call = arg;
	const struct curl_tlssessioninfo *tls = NULL;
	const gnutls_datum_t *certs = NULL;
	struct digest digest;
	unsigned count = 0;

	(void)ip;
	(void)local;
	(void)port;
	(void)local_port;
	if (!call->pinned)
		return CURL_PREREQFUNC_OK;
	if (curl_easy_getinfo(call->easy, CURLINFO_TLS_SSL_PTR, &tls) ==
		CURLE_OK &&
	    tls != NULL && tls->backend == CURLSSLBACKEND_GNUTLS &&
	    tls->internals != NULL)
		certs = gnutls_certificate_get_peers(tls->internals, &count);
	if (certs != NULL && count > 0) {
		digest_of(slice_of(certs[0].data, certs[0].size), &digest);
		if (memcmp(digest.b, call->id.b, DEVID_LEN) == 0)
			return CURL_PREREQFUNC_OK;
	}
	snprintf(call->why, sizeof(call->why), "%s",
	    certs != NULL ? "it is not the server that ?id= names"
			  : "its certificate cannot be seen");
	return CURL_PREREQFUNC_ABORT;
}

static void
https_call_free(struct https_call *call)
{
	list_remove(&call->h->calls, &call->node);
	curl_multi_remove_handle(call->h->multi, call->easy);
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	buf_fini(&call->body);
	buf_fini(&call->answer);
	mem_free(call);
}

/* Seconds of a header; dates are no such thing here: 0. */
static uint64_t
https_seconds(CURL *easy, const char *name)
{
	struct curl_header *header;
	unsigned long long value;
	char *end;

	if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) !=
		CURLHE_OK ||
	    header->value[0] < '0' || header->value[0] > '9')
		return 0;
	value = strtoull(header->value, &end, 10);
	return *end == '\0' ? value : 0;
}

static void
https_call_done(struct https_call *call, CURLcode code)
{
	struct https_answer answer = { .error = "" };
	long status = 0;

	if (code == CURLE_OK) {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		answer.status = (int)status;
		answer.body = buf_slice(&call->answer);
		answer.retry_s = https_seconds(call->easy, "Retry-After");
		answer.reannounce_s =
		    https_seconds(call->easy, "Reannounce-After");
	}
	if (answer.status == 0)
		answer.error =
		    call->why[0] != '\0' ? call->why : curl_easy_strerror(code);
	call->on_done(call->arg, &answer);
	https_call_free(call);
}

static void
https_reap(struct https *h)
{
	const CURLMsg *msg;
	int left;

	while (!h->closing &&
	       (msg = curl_multi_info_read(h->multi, &left)) != NULL) {
		char *call = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
		https_call_done((struct https_call *)(void *)call,
		    msg->data.result);
	}
}

/* --- libuv ------------------------------------------------------------ */

static void
https_try_free(struct https *h)
{
	if (!h->closing || h->handles > 0)
		return;
	if (h->on_closed != NULL)
		h->on_closed(h->closed_arg);
	mem_free(h->cert);
	mem_free(h->key);
	mem_free(h);
}

static void
https_on_timer(uv_timer_t *timer)
{
	struct https *h = timer->data;
	int running;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	https_reap(h);
}

static int
https_set_timer(CURLM *multi, long ms, void *arg)
{
	struct https *h = arg;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&h->timer);
	else if (!h->closing)
		uv_timer_start(&h->timer, https_on_timer, (uint64_t)ms, 0);
	return 0;
}

static void
https_on_poll(uv_poll_t *poll, int status, int events)
{
	const struct https_socket *s = poll->data;
	struct https *h = s->h;
	int running, flags = 0;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(h->multi, s->fd, flags, &running);
	https_reap(h);
}

static void
https_socket_freed(uv_handle_t *handle)
{
	struct https_socket *s = handle->data;
	struct https *h = s->h;

	mem_free(s);
	h->handles--;
	https_try_free(h);
}

static void
https_timer_freed(uv_handle_t *handle)
{
	struct https *h = handle->data;

	h->handles--;
	https_try_free(h);
}

static int
https_set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *mine)
{
	struct https *h = arg;
	struct https_socket *s = mine;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		curl_multi_assign(h->multi, fd, NULL);
		if (s != NULL) {
			/* libcurl closes it next: let go of it now. */
			uv_poll_stop(&s->poll);
			uv_close((uv_handle_t *)&s->poll, https_socket_freed);
		}
		return 0;
	}
	if (s == NULL) {
		s = mem_zalloc(sizeof(*s));
		s->h = h;
		s->fd = fd;
		s->poll.data = s;
		if (uv_poll_init_socket(h->loop, &s->poll, fd) != 0) {
			mem_free(s);
			return -1;
		}
		h->handles++;
		curl_multi_assign(h->multi, fd, s);
	}
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= UV_READABLE;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= UV_WRITABLE;
	uv_poll_start(&s->poll, events, https_on_poll);
	return 0;
}

/* --- what owners ask for ---------------------------------------------- */

static char *
https_path(const char *dir, const char *name)
{
	const size_t len = strlen(dir) + strlen(name) + 2;
	char *path = mem_alloc(len);

	snprintf(path, len, "%s/%s", dir, name);
	return path;
}

int
https_open(struct https **out, uv_loop_t *loop, const char *dir,
    size_t answer_max, struct err *err)
{
	struct https *h;
	CURLM *multi;

	*out = NULL;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	if (multi == NULL)
		return err_set(err, ERR_UNSUPPORTED, "libcurl does not start");
	h = mem_zalloc(sizeof(*h));
	h->loop = loop;
	h->multi = multi;
	h->answer_max = answer_max;
	if (dir != NULL) {
		h->cert = https_path(dir, "cert.pem");
		h->key = https_path(dir, "key.pem");
	}
	list_init(&h->calls);
	uv_timer_init(loop, &h->timer);
	h->timer.data = h;
	h->handles = 1;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, https_set_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, https_set_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, h);
	*out = h;
	return 0;
}

static void
https_set_tls(const struct https *h, CURL *easy, const struct https_question *q)
{
	curl_easy_setopt(easy, CURLOPT_SSLVERSION,
	    (long)CURL_SSLVERSION_TLSv1_2);
	if (q->id != NULL) {
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (q->show_us && h->cert != NULL) {
		curl_easy_setopt(easy, CURLOPT_SSLCERT, h->cert);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, h->key);
	}
}

void
https_ask(struct https *h, const struct https_question *q,
    https_done_fn *on_done, void *arg)
{
	struct https_call *call = mem_zalloc(sizeof(*call));
	CURL *easy = curl_easy_init();

	ASSERT(!h->closing && easy != NULL);
	call->h = h;
	call->easy = easy;
	call->on_done = on_done;
	call->arg = arg;
	call->pinned = q->id != NULL;
	if (call->pinned)
		call->id = *q->id;
	list_add(&h->calls, &call->node);
	curl_easy_setopt(easy, CURLOPT_URL, q->url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, HTTPS_CONNECT_S);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, HTTPS_ALL_S);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, https_on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, https_on_connected);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	https_set_tls(h, easy, q);
	if (q->body.len > 0) {
		buf_put(&call->body, q->body);
		call->headers =
		    curl_slist_append(NULL, "Content-Type: application/json");
		/* Its answer is short; no "Expect" before it. */
		call->headers = curl_slist_append(call->headers, "Expect:");
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.ptr);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE,
		    (long)call->body.len);
	}
	curl_multi_add_handle(h->multi, easy);
}

void
https_close(struct https *h, void (*on_closed)(void *), void *arg)
{
	struct list_node *node;

	ASSERT(!h->closing);
	h->closing = true;
	h->on_closed = on_closed;
	h->closed_arg = arg;
	while ((node = list_first(&h->calls)) != NULL)
		https_call_free(LIST_ITEM(node, struct https_call, node));
	curl_multi_cleanup(h->multi);
	uv_close((uv_handle_t *)&h->timer, https_timer_freed);
}
