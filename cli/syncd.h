/*
 * The daemon: carries events and effects between the engine and the world.
 *
 * The only place that knows watcher/, engine/ and mesh/ at once.  It decides
 * nothing about files: an event comes in, the engine steps, each effect goes
 * to the door that can do it.
 *
 *	disk_uv   --DONE-->    \                 /--> disk_uv      (files)
 *	watch_uv  --CHANGES-->  \               /---> store_lmdb   (COMMIT)
 *	net_uv    --MESSAGE-->   engine_step() -----> net_uv       (SEND, DROP)
 *	timer     --TICK-->     /               \---> watch_uv     (WATCH)
 *	api       --COMMAND--> /                 \--> events       (NOTE)
 *
 * Private to syncd*.c.  Thread: loop.
 */
#ifndef HOLDFAST_CLI_SYNCD_H
#define HOLDFAST_CLI_SYNCD_H

#include <uv.h>

#include "cli/api.h"
#include "cli/api_server.h"
#include "cli/config.h"
#include "cli/events.h"
#include "cli/home.h"
#include "cli/sandbox.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/vec.h"
#include "engine/disk_uv.h"
#include "engine/engine.h"
#include "engine/pool_uv.h"
#include "mesh/forward_uv.h"
#include "mesh/identity.h"
#include "mesh/net_uv.h"
#include "watcher/watch_uv.h"

struct syncd_answer { /* a DONE without more than a code, due after a step */
	uint64_t id;
	int code;
};

struct syncd_folder { /* by the engine's folder number */
	bool open;    /* from OPEN_FOLDER to the DONE of CLOSE_FOLDER */
	char *id;     /* wire ID; owned */
	struct store *store;
	uint64_t open_id;  /* OPEN_FOLDER that waits for the disk; 0: none */
	uint64_t close_id; /* CLOSE_FOLDER likewise */
	bool rebuild;
	bool forget; /* it is configured no longer: its index goes */
	bool watch;  /* the configuration wants it watched */
	/* Rate of reception: two samples of status_folder.received. */
	uint64_t rate_at_ns, rate_received, rate;
};

struct syncd_admit;  /* syncd_sandbox.c */
struct syncd_domain; /* syncd_domain.h */

struct syncd_sent { /* a SEND whose bytes are on their way */
	uint64_t id;
	struct devid device;
};

struct syncd {
	uv_loop_t *loop;
	struct home home; /* owned */
	struct log log;
	enum log_level log_forced; /* by --log */
	bool log_is_forced;
	bool coord_only; /* --coordinator: no folder, no peer */
	int lock_fd;
	struct identity *identity;
	enum sandbox_mode sandbox_mode; /* as it was at the start */
	struct sandbox_fence seccomp, landlock;
	struct sandbox *sandbox;         /* NULL: no Landlock */
	VEC(struct syncd_admit *) admit; /* roots on their way in; owned */
	uv_timer_t admit_timer;
	int64_t started_wall_ns;

	struct arena cfg_arena[2]; /* the configuration lives in one */
	int cfg_at;
	struct config cfg;
	char cfg_error[ERR_TEXT_MAX]; /* of the last refused reload */
	int64_t cfg_error_wall_ns;

	struct engine *en;
	struct pool *pool;
	struct disk *disk;
	struct watch_uv *watch;
	struct net *net;
	struct forwards *forwards;
	struct syncd_domain *domain; /* owned */
	struct events *events;
	struct api *api;
	struct api_server *server;

	VEC(struct syncd_folder) folder;
	struct umap sent; /* id -> struct syncd_sent, owned */
	VEC(struct syncd_answer) answer;
	bool held_up; /* peers are not read until commits are through */
	VEC(struct api_pending_folder) pending;
	struct arena pending_arena;
	unsigned accepted; /* folders, without asking, since `accept_ns` */
	int64_t accept_ns; /* wall */
	VEC(struct api_seen) seen;
	bool stepping;
	bool reload_due;

	uv_timer_t trim_timer;      /* one shot: is it quiet again? */
	uint64_t steps, steps_then; /* now, and when trim_timer was set */
	uv_timer_t timer;
	uint64_t timer_at_ns;
	uv_timer_t stop_timer;
	uint64_t stop_at_ns; /* when stopping began */
	uv_signal_t signal[3];
	bool stopping;
	bool net_closed;
	int exit_code;
};

/* syncd.c */
struct now syncd_now(void);
/* Give the engine an event and do what it asks for. */
void syncd_step(struct syncd *sd, struct event *ev);
int syncd_open(struct syncd *sd, const char *home, struct err *err);
int syncd_run(struct syncd *sd);
void syncd_close(struct syncd *sd);
/* Read the configuration and put it in force. */
int syncd_reload(struct syncd *sd, struct err *err);
void syncd_stop(struct syncd *sd);

/* syncd_sandbox.c */
/*
 * Give up what is not needed, as node.sandbox says.  Before any thread is made.
 * ERR_INVALID when it says `require` and this system cannot.
 */
int syncd_sandbox_open(struct syncd *sd, struct err *err);
/*
 * An OPEN_FOLDER or CLOSE_FOLDER on its way to the disk: workers that may enter
 * that root are made first.  As disk_uv_do().
 */
void syncd_sandbox_do(struct syncd *sd, const struct effect *ef);
/* The folder is closed: hold its root no longer. */
void syncd_sandbox_closed(struct syncd *sd, uint32_t folder);
void syncd_sandbox_close(struct syncd *sd);
/* For `syncctl doctor`. */
void syncd_sandbox_self(struct syncd *sd, struct arena *ar,
    struct api_self *out);

/* syncd_disk.c: stores, commits, disk, watcher */
int syncd_disk_open(struct syncd *sd);
/* Delete the indexes of folders that are configured no longer. */
void syncd_sweep(struct syncd *sd);
void syncd_disk_effect(struct syncd *sd, const struct effect *ef);
void syncd_commit(struct syncd *sd, const struct effect *ef);
void syncd_watch(struct syncd *sd, const struct effect *ef);
/* The configuration changed: begin or stop watching what it says. */
void syncd_rewatch(struct syncd *sd);
/* Give back memory after a long walk. */
void syncd_trim(struct syncd *sd, uint32_t folder);
/* Give back all that can be had again, of all folders; not within a step. */
void syncd_rest(struct syncd *sd);
bool syncd_disk_is_idle(const struct syncd *sd);

/* syncd_net.c */
int syncd_net_open(struct syncd *sd, struct err *err);
int syncd_net_configure(struct syncd *sd, struct err *err);
void syncd_send(struct syncd *sd, const struct effect *ef);
void syncd_drop(struct syncd *sd, const struct effect *ef);
/*
 * Peers may tell faster than the disk takes it down: read none of them while
 * LIMIT_COMMIT_HELD bytes wait.  After messages and commits.
 */
void syncd_balance(struct syncd *sd);

/* syncd_forward.c: TCP connections carried for others; forward_uv.h */
void syncd_forward_open(struct syncd *sd);
void syncd_forward_close(struct syncd *sd);
/* The configuration or the policy changed: end what may not be any more. */
void syncd_forward_judge(struct syncd *sd);
/* For the API, which gives itself as `arg`. */
int syncd_forward_ask(void *arg, const struct devid *id, uint16_t port,
    uint64_t *number, struct err *err);
bool syncd_forward_look(void *arg, uint64_t number,
    struct forward_uv_fate *out);
void syncd_forward_attach(void *arg, uint64_t number, int fd,
    struct slice early);

/* syncd_note.c: what the engine has to tell */
void syncd_note(struct syncd *sd, const struct effect *ef);
/* A device's name as configured, or empty. */
struct slice syncd_device_name(const struct syncd *sd, const struct devid *id);

/* syncd_api.c */
int syncd_api_open(struct syncd *sd, struct err *err);

#endif
