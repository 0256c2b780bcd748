/* The local API's caller, with libcurl; see client.h. */
#include "cli/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <curl/curl.h>

#include "engine/base/buf.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define CLIENT_ANSWER_MAX (256 * MIB)
#define CLIENT_TIMEOUT_S 30

struct client {
	const struct home *home;
	CURL *curl;
};

struct client *
client_new(const struct home *home)
{
	struct client *cl = mem_zalloc(sizeof(*cl));

	cl->home = home;
	curl_global_init(CURL_GLOBAL_NOTHING);
	cl->curl = curl_easy_init();
	return cl;
}

void
client_free(struct client *cl)
{
	if (cl == NULL)
		return;
	curl_easy_cleanup(cl->curl);
	curl_global_cleanup();
	mem_free(cl);
}

int
client_dial(struct client *cl, int *fd, struct err *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* home_init() has checked the length. */
	memcpy(un.sun_path, cl->home->socket, strlen(cl->home->socket) + 1);
	if (*fd >= 0 && connect(*fd, (struct sockaddr *)&un, sizeof(un)) == 0)
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return err_set(err, ERR_CLOSED,
	    "syncd is not running (nobody answers at %s)", cl->home->socket);
}

bool
client_is_up(struct client *cl)
{
	int fd;

	if (client_dial(cl, &fd, NULL) < 0)
		return false;
	close(fd);
	return true;
}

static size_t
client_on_data(char *data, size_t size, size_t count, void *arg)
{
	struct buf *b = arg;

	if (b->len + size * count > CLIENT_ANSWER_MAX)
		return 0;
	buf_put(b, slice_of(data, size * count));
	return size * count;
}

static int
client_failed(struct client *cl, CURLcode code, struct err *err)
{
	long os = 0;

	curl_easy_getinfo(cl->curl, CURLINFO_OS_ERRNO, &os);
	if (code == CURLE_COULDNT_CONNECT && (os == EACCES || os == EPERM))
		return err_set(err, ERR_DENIED,
		    "no permission to speak to syncd at %s", cl->home->socket);
	if (code == CURLE_COULDNT_CONNECT)
		return err_set(err, ERR_CLOSED,
		    "syncd is not running (nobody answers at %s)",
		    cl->home->socket);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return err_set(err, ERR_CLOSED, "syncd does not answer");
	return err_set(err, ERR_CLOSED, "the connection to syncd broke: %s",
	    curl_easy_strerror(code));
}

int
client_call(struct client *cl, const char *method, const char *path,
    unsigned timeout_s, int *status, json_t **out, struct err *err)
{
	struct buf answer = { 0 };
	struct arena ar = { 0 };
	json_error_t why;
	CURLcode code;
	long http = 0;
	int rc = 0;

	*out = NULL;
	curl_easy_reset(cl->curl);
	curl_easy_setopt(cl->curl, CURLOPT_UNIX_SOCKET_PATH, cl->home->socket);
	curl_easy_setopt(cl->curl, CURLOPT_URL,
	    arena_printf(&ar, "http://syncd%s", path));
	curl_easy_setopt(cl->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(cl->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(cl->curl, CURLOPT_TIMEOUT,
	    (long)(timeout_s == 0 ? CLIENT_TIMEOUT_S : timeout_s));
	if (strcmp(method, "POST") == 0) {
		curl_easy_setopt(cl->curl, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(cl->curl, CURLOPT_POSTFIELDSIZE, 0L);
	}
	curl_easy_setopt(cl->curl, CURLOPT_WRITEFUNCTION, client_on_data);
	curl_easy_setopt(cl->curl, CURLOPT_WRITEDATA, &answer);
	code = curl_easy_perform(cl->curl);
	if (code != CURLE_OK) {
		rc = client_failed(cl, code, err);
		goto out;
	}
	curl_easy_getinfo(cl->curl, CURLINFO_RESPONSE_CODE, &http);
	*status = (int)http;
	*out = json_loadb((const char *)answer.ptr, answer.len, 0, &why);
	if (*out == NULL || !json_is_object(*out)) {
		json_decref(*out);
		*out = NULL;
		rc = err_set(err, ERR_PROTOCOL,
		    "syncd answered something else than JSON");
	}
out:
	buf_fini(&answer);
	arena_fini(&ar);
	return rc;
}

char *
client_escape(struct client *cl, const char *text, struct arena *ar)
{
	char *coded = curl_easy_escape(cl->curl, text, 0);
	char *out = arena_str(ar, slice_str(coded == NULL ? "" : coded));

	curl_free(coded);
	return out;
}
