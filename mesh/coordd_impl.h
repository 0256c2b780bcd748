/*
 * The inside of our coordinator: shared by coordd_uv.c (guests),
 * coordd_flush_uv.c (what waits for the disk) and coordd_web_uv.c (the
 * discovery server's).
 *
 * Thread: loop.
 */
#ifndef HOLDFAST_MESH_COORDD_IMPL_H
#define HOLDFAST_MESH_COORDD_IMPL_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "mesh/coord_store_posix.h"
#include "mesh/coordd_uv.h"
#include "mesh/doorman.h"
#include "mesh/stream.h"

struct coordd_guest {
	struct list_node node; /* in coordd->young, or ->grown */
	struct list_node
	    work; /* in coordd->work, when something is to be done */
	struct list_node held; /* in coordd->held, while sure < out.len */
	struct coordd *d;
	struct stream *stream;
	struct addr from;
	struct coord_server_guest *g; /* from TLS on; NULL: `web` */
	struct buf in, out;
	size_t sure;       /* bytes of `out` that may go, */
	size_t soon;       /* ... and when the flush under way is done */
	uint64_t until_ns; /* CLOCK_NEVER: the server sees to it */
	bool grown, dropped, ending, vain, over;
	bool web;       /* it speaks HTTP */
	bool continued; /* ... and was told to go on */
};

/* A flush on a worker, one at a time; owns `late` while it runs. */
struct coordd_flush {
	uv_work_t req;
	struct coord_store_late late;
	struct err err;
	bool running;
};

struct coordd {
	uv_loop_t *loop;
	const struct identity *identity; /* borrowed */
	coordd_may_fn *may;
	void *arg;
	const struct log *log;
	struct tcp_listener *listener;
	struct stund *stund; /* NULL: its ports are taken */
	struct addr bound;
	uint16_t stun[2];
	struct coord_store *store;
	struct coordd_flush flush;
	struct coord_server *server;
	struct disco *disco; /* NULL: it is no discovery server */
	struct doorman doorman;
	struct list young, grown; /* members, and not dropped: grown */
	struct list work, held;
	struct arena arena; /* of the message at hand */
	uv_timer_t timer;
	uint64_t armed_ns;
	bool lan_only, working, closing;
	unsigned handles;
	void (*on_closed)(void *);
	void *closed_arg;
};

/* --- coordd_uv.c --- */
struct now coordd_now(void);
void coordd_send(struct coordd_guest *g, struct slice bytes);
/* It hears why, and hangs up; or we do, soon. */
void coordd_drop(struct coordd_guest *g, bool vain);
void coordd_end(struct coordd_guest *g, bool vain); /* from coordd_work() */
void coordd_note_work(struct coordd_guest *g);
void coordd_work(struct coordd *d);
void coordd_freed(void *arg);

/* --- coordd_flush_uv.c --- */
/* The last bytes of g->out were just put there: when may they go? */
void coordd_flush_mark(struct coordd_guest *g);
/* Bring what was kept to the disk, unless that is being done. */
void coordd_flush_begin(struct coordd *d);

/* --- coordd_web_uv.c --- */
/* It said something. */
void coordd_web_hear(struct coordd_guest *g);

#endif
