/*
 * The local API: routes, and the JSON they answer with.
 *
 * A table of method and path leads to handlers; they ask a backend, that the
 * daemon fills (syncd.c), and answer with a JSON value.  No HTTP library, no
 * socket: that is api_server.h.  GET never changes anything; a known path with
 * the wrong method is 405.  Every answer that is no success is
 *
 *	{"schema":"syncctl/1","code":"not-found","reason":"no folder docs",
 *	 "next":["syncctl folder list"]}
 *
 * Routes: docs/man/syncctl.1, section LOCAL API.  Thread: loop.
 */
#ifndef HOLDFAST_CLI_API_H
#define HOLDFAST_CLI_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "cli/config.h"
#include "cli/events.h"
#include "engine/base/arena.h"
#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/base/slice.h"
#include "engine/event.h"
#include "engine/explain.h"
#include "engine/plan.h"
#include "engine/status.h"
#include "mesh/fixedaddr.h"
#include "mesh/forward_uv.h"
#include "mesh/net_uv.h"

#define API_SCHEMA "syncctl/1"
#define API_STREAM "holdfast-stream" /* in Upgrade: of a carried connection */
#define API_EVENTS_MAX 500u          /* events in one answer */
#define API_WAIT_MAX_S 60u           /* a long poll waits no longer */
#define API_BODY_MAX 65536u          /* bytes of a request's body */

/* A folder that a device offers and that we do not have. */
struct api_pending_folder {
	struct slice id, label;
	struct devid device;
	int64_t wall_ns; /* last time offered */
};

/* What the daemon remembers of devices over restarts. */
struct api_seen {
	struct devid device;
	int64_t wall_ns; /* when it was last connected; 0: never */
};

/* What the daemon tells of itself; borrowed for the call, or in `ar`. */
struct api_facts {
	const struct config *config; /* the one in force */
	int64_t started_wall_ns;
	const char *config_file;
	struct slice config_error;    /* of the last refused reload; or empty */
	int64_t config_error_wall_ns; /* when that was */
	const struct api_pending_folder *pending_folder;
	size_t pending_folder_count;
	const struct api_seen *seen;
	size_t seen_count;
	const struct fixedaddr_book *fixed; /* NULL: there is no domain */
};

/* What the daemon knows of its own process: GET /v1/doctor. */
struct api_self {
	int64_t pid;
	enum sandbox_mode sandbox; /* as it was when it started */
	struct sandbox_fence seccomp, landlock;
	unsigned denied;            /* system calls refused so far */
	struct slice denied_names;  /* "ioctl, socket" */
	uint64_t fd_used, fd_limit; /* descriptors; the soft limit */
	uint32_t watches;           /* inotify's, in use */
};

enum api_domain_verb {
	API_DOMAIN_INVITE,
	API_DOMAIN_JOIN,
	API_DOMAIN_APPROVE,
	API_DOMAIN_DENY,
	API_DOMAIN_REVOKE,
	API_DOMAIN_RENAME,
	API_DOMAIN_RULE,
	API_DOMAIN_RECOVER,
	API_DOMAIN_ROTATE,
	API_DOMAIN_ROTATE_DEVICE,
	API_DOMAIN_NEW_KEY,
	API_DOMAIN_OWNER,
	API_DOMAIN_QUORUM,
	API_DOMAIN_SIGN,
	API_DOMAIN_REJECT,
};

/* A change of the domain; empty and 0 where it does not need them. */
struct api_domain_ask {
	enum api_domain_verb verb;
	struct slice device, name;      /* name or ID; the new name */
	struct slice code, coordinator; /* as typed; "tcp://HOST:PORT?id=" */
	struct slice to, service;       /* RULE: `device` may, or not */
	struct slice key;               /* RECOVER, OWNER */
	struct slice id;                /* ROTATE_DEVICE: of another one */
	struct slice wish;              /* SIGN, REJECT */
	uint64_t expires_s, need;       /* need: QUORUM */
	uint64_t grace_s;               /* ROTATE_DEVICE */
	bool approve, allow, add;       /* add: OWNER */
};

/*
 * What the API needs from the daemon.  All are called from the loop, between
 * two steps of the engine.  None may be NULL.
 */
struct api_backend {
	void *arg;
	struct now (*now)(void *arg);
	void (*facts)(void *arg, struct arena *ar, struct api_facts *out);
	void (*status)(void *arg, struct arena *ar, struct status_report *out);
	void (*net)(void *arg, struct arena *ar, struct net_status *out);
	int (*explain)(void *arg, struct slice folder_id, struct slice path,
	    struct arena *ar, struct explain *out, struct err *err);
	/* The texts of `out` live until the next step of the engine. */
	int (*ignore_test)(void *arg, struct slice folder_id, struct slice path,
	    struct ignore_match *out, struct err *err);
	int (*ignore_rules)(void *arg, struct slice folder_id, struct arena *ar,
	    const struct ignore_match **out, uint32_t *count, struct err *err);
	bool (*plan)(void *arg, struct slice folder_id, struct slice after,
	    bool held, uint32_t limit, struct arena *ar, struct plan_page *out);
	bool (*conflicts)(void *arg, struct slice folder_id, struct arena *ar,
	    const struct status_conflict **out, uint32_t *count);
	/* Read the configuration again and put it in force before returning;
	 * ERR_INVALID: it has mistakes, the old one stays. */
	int (*reload)(void *arg, struct err *err);
	/* Hand EVENT_COMMAND to the engine.  `path` is relative; empty: all. */
	int (*command)(void *arg, enum command_kind kind,
	    struct slice folder_id, struct slice path, struct err *err);
	/*
	 * Set folder.ID.paused (is_folder) or device.NAME.paused in the file
	 * and reload.
	 */
	int (*pause)(void *arg, bool is_folder, struct slice name, bool on,
	    struct err *err);
	/* net_ping(); events_wake() when the answer came. */
	uint64_t (*ping)(void *arg, const struct devid *id);
	/* Try all addresses now: net_refresh(). */
	void (*refresh)(void *arg);
	/* net_check(), net_netcheck(). */
	void (*check_net)(void *arg);
	void (*netcheck)(void *arg, struct arena *ar, struct net_netcheck *out);
	void (*self)(void *arg, struct arena *ar, struct api_self *out);
	/* The domain and its log, as JSON objects without a schema. */
	json_t *(*domain)(void *arg);
	json_t *(*domain_log)(void *arg);
	/* Change it; what came of it is put into `out`. */
	int (*domain_do)(void *arg, const struct api_domain_ask *ask,
	    json_t *out, struct err *err);
	/* As forward_uv.h; events_wake() when a state is another one. */
	int (*forward_ask)(void *arg, const struct devid *id, uint16_t port,
	    uint64_t *number, struct err *err);
	bool (*forward_look)(void *arg, uint64_t number,
	    struct forward_uv_fate *out);
	void (*forward_attach)(void *arg, uint64_t number, int fd,
	    struct slice early);
};

struct api; /* opaque */

/* Borrows `events` and copies `backend`. */
struct api *api_new(const struct api_backend *backend, struct events *events);
void api_free(struct api *api); /* accepts NULL */

/* A request as any HTTP library hands it over; borrowed. */
struct api_request {
	const char *method; /* "GET" */
	const char *path;   /* "/v1/status", decoded, without the query */
	/* The value of a query argument, decoded; NULL when absent. */
	const char *(*query)(void *arg, const char *name);
	void *arg;
	struct slice body;
};

struct api_answer {
	int status;   /* HTTP's */
	json_t *body; /* owned by the caller */
	bool wait;    /* long poll: nothing yet, ask again with the same
		       * request after events_set_wake() calls, or at the
		       * end of wait_s; then `final` */
	uint32_t wait_s;
	const char *allow; /* with 405: the method that is allowed */
	/* 101, without a body: HTTP ends here, and the connection is what
	 * api_take_stream() wants for this number. */
	uint64_t stream;
};

/* `final`: answer now, even when there is nothing to say. */
void api_handle(struct api *api, const struct api_request *rq, bool final,
    struct api_answer *out);
/* Takes `fd`; `early` are bytes of it that were read already. */
void api_take_stream(struct api *api, uint64_t number, int fd,
    struct slice early);

#endif
