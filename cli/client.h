/*
 * A caller of the local API: HTTP over the daemon's Unix socket.
 */
#ifndef HOLDFAST_CLI_CLIENT_H
#define HOLDFAST_CLI_CLIENT_H

#include <stdbool.h>

#include <jansson.h>

#include "cli/home.h"
#include "engine/base/arena.h"
#include "engine/base/err.h"

struct client; /* opaque */

/* Connects nothing yet.  `home` is borrowed. */
struct client *client_new(const struct home *home);
void client_free(struct client *cl); /* accepts NULL */

/*
 * Call `path` (begins with "/v1/", encoded).  `timeout_s` 0: 30 s.  0 with
 * HTTP's status and a JSON object, owned by the caller; ERR_CLOSED when no
 * daemon answers at the socket; ERR_PROTOCOL when the answer is not ours.
 */
int client_call(struct client *cl, const char *method, const char *path,
    unsigned timeout_s, int *status, json_t **out, struct err *err);
/* Does a daemon listen? */
bool client_is_up(struct client *cl);
/* A connection to it, of which nothing was said yet; ERR_CLOSED. */
int client_dial(struct client *cl, int *fd, struct err *err);
/* A part of a path or a query's value, encoded; in `ar`. */
char *client_escape(struct client *cl, const char *text, struct arena *ar);

#endif
