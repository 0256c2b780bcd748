/*
 * Jobs on threads; see pool_uv.h.
 *
 * The loop hands over a job only when one of its class may start, so what lies
 * in `ready` can run at once; the rest waits in the queues of the classes.  A
 * thread takes jobs as long as its generation is the pool's.
 *
 * The only locks of this tree: `lock` guards what is listed below it in struct
 * pool, and is never held while a job runs.
 */
#include "engine/pool_uv.h"

#include <sched.h>

#include "engine/base/assert.h"
#include "engine/base/mem.h"

#define POOL_CORES_MAX 64u
#define POOL_SYNC_WIDTH 2u

struct pool_thread {
	struct list_node node;  /* in pool->threads */
	struct list_node ended; /* in pool->ended */
	struct pool *pool;
	unsigned generation;
	pthread_t id;
};

struct pool {
	uv_loop_t *loop;
	uv_async_t async; /* some jobs are done, or threads ended */
	struct list queue[JOB_CLASSES];
	unsigned running[JOB_CLASSES];
	unsigned width[JOB_CLASSES];
	unsigned started; /* threads of this generation */
	struct list threads;
	pool_uv_spawn *spawn;
	void *spawn_arg;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list ready, done; /* of jobs */
	struct list ended;       /* of threads, to be joined */
	unsigned idle;           /* of this generation, waiting */
	unsigned generation;
	bool quit;
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

/* --- A thread --- */

/* The next job, or NULL: end.  With the lock. */
static struct job *
pool_take(struct pool *pool, unsigned generation)
{
	struct list_node *n;

	while (!pool->quit && generation == pool->generation) {
		n = list_first(&pool->ready);
		if (n != NULL) {
			list_remove(&pool->ready, n);
			return LIST_ITEM(n, struct job, node);
		}
		pool->idle++;
		pthread_cond_wait(&pool->wake, &pool->lock);
		if (generation == pool->generation)
			pool->idle--;
	}
	return NULL;
}

static void *
pool_thread_run(void *arg)
{
	struct pool_thread *t = arg;
	struct pool *pool = t->pool;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	while ((job = pool_take(pool, t->generation)) != NULL) {
		pthread_mutex_unlock(&pool->lock);
		job->run(job);
		pthread_mutex_lock(&pool->lock);
		list_add(&pool->done, &job->node);
		uv_async_send(&pool->async);
	}
	list_add(&pool->ended, &t->ended);
	uv_async_send(&pool->async);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static int
pool_spawn(void *arg, pthread_t *out, void *(*run)(void *), void *run_arg)
{
	(void)arg;
	return pthread_create(out, NULL, run, run_arg);
}

static void
pool_start_thread(struct pool *pool)
{
	struct pool_thread *t = mem_zalloc(sizeof(*t));
	int rc;

	t->pool = pool;
	t->generation = pool->generation; /* only the loop changes it */
	rc = pool->spawn(pool->spawn_arg, &t->id, pool_thread_run, t);
	if (rc != 0) {
		mem_free(t);
		/* Slower with fewer; without any nothing would move again. */
		ASSERT(pool->started > 0);
		return;
	}
	list_add(&pool->threads, &t->node);
	pool->started++;
}

/* --- The loop --- */

static unsigned
pool_threads_max(const struct pool *pool)
{
	unsigned n = 0;

	for (int i = 0; i < JOB_CLASSES; i++)
		n += pool->width[i];
	return n;
}

static void
pool_hand_over(struct pool *pool, struct job *job)
{
	bool more;

	pthread_mutex_lock(&pool->lock);
	list_add(&pool->ready, &job->node);
	more = pool->ready.count > pool->idle;
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	if (more && pool->started < pool_threads_max(pool))
		pool_start_thread(pool);
}

static void
pool_dispatch(struct pool *pool)
{
	for (int i = 0; i < JOB_CLASSES; i++) {
		while (pool->running[i] < pool->width[i]) {
			struct list_node *n = list_first(&pool->queue[i]);

			if (n == NULL)
				break;
			list_remove(&pool->queue[i], n);
			pool->running[i]++;
			uv_ref((uv_handle_t *)&pool->async);
			pool_hand_over(pool, LIST_ITEM(n, struct job, node));
		}
	}
}

static void
pool_after(struct pool *pool, struct job *job)
{
	pool->running[job->class_]--;
	/* The next ones first: workers should not wait for what we do now. */
	pool_dispatch(pool);
	if (pool_uv_idle(pool))
		uv_unref((uv_handle_t *)&pool->async);
	job->on_done(job);
}

/* Of a thread that was joined. */
static void
pool_forget(struct pool_thread *t)
{
	list_remove(&t->pool->threads, &t->node);
	mem_free(t);
}

static void
pool_join(struct pool_thread *t)
{
	pthread_join(t->id, NULL);
	pool_forget(t);
}

/* The first of a shared list, taken off it; NULL when it is empty. */
static struct list_node *
pool_pop(struct pool *pool, struct list *list)
{
	struct list_node *n;

	pthread_mutex_lock(&pool->lock);
	n = list_first(list);
	if (n != NULL)
		list_remove(list, n);
	pthread_mutex_unlock(&pool->lock);
	return n;
}

static void
pool_on_async(uv_async_t *async)
{
	struct pool *pool = async->data;
	struct list_node *n;
	size_t most;

	pthread_mutex_lock(&pool->lock);
	most = pool->done.count; /* what comes meanwhile: the next turn's */
	pthread_mutex_unlock(&pool->lock);
	while ((n = pool_pop(pool, &pool->ended)) != NULL)
		pool_join(LIST_ITEM(n, struct pool_thread, ended));
	for (; most > 0; most--) {
		n = pool_pop(pool, &pool->done);
		ASSERT(n != NULL);
		pool_after(pool, LIST_ITEM(n, struct job, node));
	}
}

struct pool *
pool_uv_new(uv_loop_t *loop, unsigned cores)
{
	struct pool *pool = mem_zalloc(sizeof(*pool));
	int rc;

	if (cores == 0)
		cores = pool_cores();
	if (cores > POOL_CORES_MAX)
		cores = POOL_CORES_MAX;
	pool->loop = loop;
	pool->spawn = pool_spawn;
	/* One more than cores: no core idles while a job goes home. */
	pool->width[JOB_QUICK] = cores + 1;
	/* And one that each kind of bulk work leaves to the others. */
	pool->width[JOB_BULK] = cores + 2;
	pool->width[JOB_SYNC] = POOL_SYNC_WIDTH;
	for (int i = 0; i < JOB_CLASSES; i++)
		list_init(&pool->queue[i]);
	list_init(&pool->threads);
	list_init(&pool->ready);
	list_init(&pool->done);
	list_init(&pool->ended);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	rc = uv_async_init(loop, &pool->async, pool_on_async);
	ASSERT(rc == 0);
	pool->async.data = pool;
	uv_unref((uv_handle_t *)&pool->async);
	return pool;
}

void
pool_uv_set_spawn(struct pool *pool, pool_uv_spawn *spawn, void *arg)
{
	ASSERT(pool->started == 0);
	pool->spawn = spawn;
	pool->spawn_arg = arg;
}

void
pool_uv_renew(struct pool *pool)
{
	size_t waiting;

	pthread_mutex_lock(&pool->lock);
	pool->generation++;
	pool->idle = 0;
	waiting = pool->ready.count;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	pool->started = 0;
	for (; waiting > 0; waiting--)
		pool_start_thread(pool);
}

bool
pool_uv_idle(const struct pool *pool)
{
	for (int i = 0; i < JOB_CLASSES; i++)
		if (pool->running[i] > 0 || pool->queue[i].count > 0)
			return false;
	return true;
}

static void
pool_on_closed(uv_handle_t *handle)
{
	(void)handle;
}

void
pool_uv_free(struct pool *pool)
{
	struct list_node *n;

	if (pool == NULL)
		return;
	ASSERT(pool_uv_idle(pool));
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	/* One that ends puts itself beside those that have: all go first. */
	for (n = list_first(&pool->threads); n != NULL;
	     n = list_next(&pool->threads, n))
		pthread_join(LIST_ITEM(n, struct pool_thread, node)->id, NULL);
	while ((n = list_first(&pool->threads)) != NULL)
		pool_forget(LIST_ITEM(n, struct pool_thread, node));
	if (!uv_is_closing((uv_handle_t *)&pool->async)) {
		uv_close((uv_handle_t *)&pool->async, pool_on_closed);
		uv_run(pool->loop, UV_RUN_NOWAIT);
	}
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	mem_free(pool);
}

unsigned
pool_uv_width(const struct pool *pool, enum job_class class_)
{
	return pool->width[class_];
}

void
pool_uv_add(struct pool *pool, struct job *job, enum job_class class_)
{
	job->pool = pool;
	job->class_ = class_;
	list_add(&pool->queue[class_], &job->node);
	pool_dispatch(pool);
}
