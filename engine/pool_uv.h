/*
 * Jobs on libuv's threads, quick ones first.
 *
 * A job owns all it touches until on_done(); it sees no engine and no index.
 * The pool hands libuv only as many jobs as may run, and chooses the next one
 * by class, so that a stat never waits behind a long hash.  No locks of ours:
 * queues belong to the loop thread, libuv carries jobs over and back.
 *
 * Thread: loop, but for job->run.
 */
#ifndef HOLDFAST_ENGINE_POOL_UV_H
#define HOLDFAST_ENGINE_POOL_UV_H

#include <stdbool.h>
#include <uv.h>

#include "engine/base/err.h"
#include "engine/base/list.h"

enum job_class {
	JOB_QUICK, /* somebody waits: stat, small reads, renames, commits */
	JOB_BULK,  /* hashing, copying, verifying: as many as cores */
	JOB_SYNC,  /* sleeps in a flush: few, and they cost no core */
	JOB_CLASSES
};

/* Put it first in your own struct; zero it, set run and on_done. */
struct job {
	void (*run)(struct job *job);     /* worker thread; no locks, no log */
	void (*on_done)(struct job *job); /* loop thread, exactly once */
	struct err err;

	/* The pool's. */
	struct pool *pool;
	enum job_class class_;
	struct list_node node;
	uv_work_t work;
};

struct pool; /* opaque */

/*
 * `cores` 0: as many as this process may use.  Sets UV_THREADPOOL_SIZE, so make
 * it before anything in the process uses libuv's pool.
 */
struct pool *pool_uv_new(uv_loop_t *loop, unsigned cores);
/* No job may be queued or running. */
void pool_uv_free(struct pool *pool); /* accepts NULL */

/* Borrows `job` until its on_done() is called, which may free or re-add it. */
void pool_uv_add(struct pool *pool, struct job *job, enum job_class class_);

/* How many jobs of the class may run at once. */
unsigned pool_uv_width(const struct pool *pool, enum job_class class_);
bool pool_uv_idle(const struct pool *pool);

#endif
