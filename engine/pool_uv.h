/*
 * Jobs on threads, quick ones first.
 *
 * A job owns all it touches until on_done(); it sees no engine and no index.
 * Each class has as many threads as its width and no more of its jobs run at
 * once, so a stat never waits behind a long hash.
 *
 * Threads can be exchanged for new ones while the pool works: what a thread may
 * touch (cli/sandbox.h) can never be widened, but a new thread may have more.
 * That is why they are not libuv's, which are made once and for all.
 *
 * Thread: loop, but for job->run.
 */
#ifndef HOLDFAST_ENGINE_POOL_UV_H
#define HOLDFAST_ENGINE_POOL_UV_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#include "engine/base/err.h"
#include "engine/base/list.h"

enum job_class {
	JOB_QUICK, /* somebody waits: stat, small reads, renames, commits */
	JOB_BULK,  /* hashing, copying, verifying: a few more than cores */
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
};

struct pool; /* opaque */

/* Start a joinable thread as pthread_create() does; 0 or an errno. */
typedef int pool_uv_spawn(void *arg, pthread_t *out, void *(*run)(void *),
    void *run_arg);

/* `cores` 0: as many as this process may use.  No thread is made yet. */
struct pool *pool_uv_new(uv_loop_t *loop, unsigned cores);
/*
 * No job may be queued or running.  Ends the threads, turns the loop once when
 * its handle was not closed by uv_walk() before.
 */
void pool_uv_free(struct pool *pool); /* accepts NULL */

/* From now on threads come from `spawn`; before the first job. */
void pool_uv_set_spawn(struct pool *pool, pool_uv_spawn *spawn, void *arg);
/*
 * What is added from now on is run by threads made from now on; so is what
 * still waits.  The old ones end when they are done with what they do.
 */
void pool_uv_renew(struct pool *pool);

/* Borrows `job` until its on_done() is called, which may free or re-add it. */
void pool_uv_add(struct pool *pool, struct job *job, enum job_class class_);

/* How many jobs of the class may run at once. */
unsigned pool_uv_width(const struct pool *pool, enum job_class class_);
bool pool_uv_idle(const struct pool *pool);

#endif
