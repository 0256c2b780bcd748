/*
 * Jobs on libuv's threads; see pool_uv.h.
 *
 * libuv has one queue and knows no classes.  So each class has as many threads
 * as its width, libuv is given no more jobs than that, and the rest waits here:
 * what libuv queues it can run at once.
 */
#include "engine/pool_uv.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"

#define POOL_CORES_MAX 64u
#define POOL_SYNC_WIDTH 2u

struct pool {
	uv_loop_t *loop;
	struct list queue[JOB_CLASSES];
	unsigned running[JOB_CLASSES];
	unsigned width[JOB_CLASSES];
};

static unsigned
pool_cores(void)
{
	cpu_set_t set;
	int n = 0;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	return n < 1 ? 1 : (unsigned)n;
}

struct pool *
pool_uv_new(uv_loop_t *loop, unsigned cores)
{
	struct pool *pool = mem_zalloc(sizeof(*pool));
	unsigned threads = 0;
	char text[16];

	if (cores == 0)
		cores = pool_cores();
	if (cores > POOL_CORES_MAX)
		cores = POOL_CORES_MAX;
	pool->loop = loop;
	/* One more than cores: no core idles while a job goes home. */
	pool->width[JOB_QUICK] = cores + 1;
	pool->width[JOB_BULK] = cores + 1;
	pool->width[JOB_SYNC] = POOL_SYNC_WIDTH;
	for (int i = 0; i < JOB_CLASSES; i++) {
		list_init(&pool->queue[i]);
		threads += pool->width[i];
	}
	snprintf(text, sizeof(text), "%u", threads);
	setenv("UV_THREADPOOL_SIZE", text, 1);
	return pool;
}

bool
pool_uv_idle(const struct pool *pool)
{
	for (int i = 0; i < JOB_CLASSES; i++)
		if (pool->running[i] > 0 || pool->queue[i].count > 0)
			return false;
	return true;
}

void
pool_uv_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	ASSERT(pool_uv_idle(pool));
	mem_free(pool);
}

unsigned
pool_uv_width(const struct pool *pool, enum job_class class_)
{
	return pool->width[class_];
}

static void
pool_run(uv_work_t *work)
{
	struct job *job = work->data;

	job->run(job);
}

static void pool_dispatch(struct pool *pool);

static void
pool_after(uv_work_t *work, int status)
{
	struct job *job = work->data;
	struct pool *pool = job->pool;

	ASSERT(status == 0); /* nobody cancels */
	pool->running[job->class_]--;
	/* The next ones first: workers should not wait for what we do now. */
	pool_dispatch(pool);
	job->on_done(job);
}

static void
pool_dispatch(struct pool *pool)
{
	for (int i = 0; i < JOB_CLASSES; i++) {
		while (pool->running[i] < pool->width[i]) {
			struct list_node *n = list_first(&pool->queue[i]);
			struct job *job;
			int rc;

			if (n == NULL)
				break;
			list_remove(&pool->queue[i], n);
			job = LIST_ITEM(n, struct job, node);
			job->work.data = job;
			pool->running[i]++;
			rc = uv_queue_work(pool->loop, &job->work, pool_run,
			    pool_after);
			ASSERT(rc == 0);
		}
	}
}

void
pool_uv_add(struct pool *pool, struct job *job, enum job_class class_)
{
	job->pool = pool;
	job->class_ = class_;
	list_add(&pool->queue[class_], &job->node);
	pool_dispatch(pool);
}
