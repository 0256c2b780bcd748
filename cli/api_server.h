/*
 * The local API on a Unix socket: libmicrohttpd under libuv.
 *
 * The socket has mode 0600 in a directory of mode 0700, and every connection
 * is asked for its peer's user ID: ours, or root's.  Bodies, connections and
 * idle times are bounded.  Wakes up only when somebody asks.  Thread: loop.
 */
#ifndef HOLDFAST_CLI_API_SERVER_H
#define HOLDFAST_CLI_API_SERVER_H

#include <uv.h>

#include "cli/api.h"
#include "cli/events.h"
#include "engine/base/err.h"
#include "engine/base/log.h"

struct api_server; /* opaque */

/*
 * Listen at `socket_path`; a stale socket there is replaced (the caller holds
 * the node's lock, so nobody listens on it).  Takes the wake-up of `events`.
 * Borrows `api`, `events`, `log` until closed.
 */
int api_server_open(struct api_server **out, uv_loop_t *loop,
    const char *socket_path, struct api *api, struct events *events,
    const struct log *log, struct err *err);
/*
 * Stop; removes the socket.  Answers nobody any more.  `on_closed` (may be
 * NULL) comes from the loop once every handle is gone.
 */
void api_server_close(struct api_server *srv, void (*on_closed)(void *arg),
    void *arg);

#endif
