/*
 * Jobs: each done once, quick ones not behind bulk ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "engine/pool_uv.h"

struct counted {
	struct job job;
	unsigned runs, dones, again;
	unsigned sleep_us;
	uint64_t done_at;
};

static struct pool *pool;
static uv_loop_t *loop;

static void
counted_run(struct job *job)
{
	struct counted *c = (struct counted *)job;

	c->runs++;
	if (c->sleep_us > 0)
		usleep(c->sleep_us);
}

static void
counted_done(struct job *job)
{
	struct counted *c = (struct counted *)job;

	c->dones++;
	c->done_at = uv_hrtime();
	if (c->again > 0) {
		c->again--;
		pool_uv_add(pool, job, JOB_QUICK);
	}
}

static void
counted_init(struct counted *c, unsigned sleep_us)
{
	*c = (struct counted){ .sleep_us = sleep_us };
	c->job.run = counted_run;
	c->job.on_done = counted_done;
}

static void
every_job_is_done_once_and_may_be_added_again(void **state)
{
	static struct counted c[500];

	(void)state;
	for (int i = 0; i < 500; i++) {
		counted_init(&c[i], 0);
		c[i].again = i % 3 == 0 ? 2 : 0;
		pool_uv_add(pool, &c[i].job, (enum job_class)(i % JOB_CLASSES));
	}
	assert_false(pool_uv_idle(pool));
	uv_run(loop, UV_RUN_DEFAULT);
	assert_true(pool_uv_idle(pool));
	for (int i = 0; i < 500; i++) {
		assert_int_equal(c[i].dones, i % 3 == 0 ? 3 : 1);
		assert_int_equal(c[i].runs, c[i].dones);
	}
}

static void
a_quick_job_does_not_wait_for_bulk_and_flushes(void **state)
{
	static struct counted slow[40];
	struct counted quick;
	uint64_t last = 0;

	(void)state;
	for (int i = 0; i < 40; i++) {
		counted_init(&slow[i], 20000);
		pool_uv_add(pool, &slow[i].job, i % 2 ? JOB_BULK : JOB_SYNC);
	}
	counted_init(&quick, 0);
	pool_uv_add(pool, &quick.job, JOB_QUICK);
	uv_run(loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 40; i++)
		last = slow[i].done_at > last ? slow[i].done_at : last;
	for (int i = 4; i < 40; i++)
		assert_true(quick.done_at < slow[i].done_at);
	assert_true(last - quick.done_at > 50000000);
}

static unsigned spawned;

static int
count_spawn(void *arg, pthread_t *out, void *(*run)(void *), void *run_arg)
{
	(*(unsigned *)arg)++;
	return pthread_create(out, NULL, run, run_arg);
}

struct placed {
	struct job job;
	bool done;
};

static void
placed_run(struct job *job)
{
	(void)job;
	usleep(200);
}

static void
placed_done(struct job *job)
{
	((struct placed *)job)->done = true;
}

static void
a_renewal_brings_new_threads_and_loses_no_job(void **state)
{
	static struct placed old[60], fresh[60];
	struct pool *own = pool_uv_new(loop, 2);
	unsigned most = 0; /* threads of one generation */

	(void)state;
	spawned = 0;
	for (int i = 0; i < JOB_CLASSES; i++)
		most += pool_uv_width(own, (enum job_class)i);
	pool_uv_set_spawn(own, count_spawn, &spawned);
	for (int round = 0; round < 20; round++) {
		const unsigned before = spawned;

		for (int i = 0; i < 60; i++) {
			old[i] = (struct placed){ .job.run = placed_run,
				.job.on_done = placed_done };
			fresh[i] = old[i];
			pool_uv_add(own, &old[i].job, JOB_BULK);
		}
		if (round % 2 == 0) /* all are done, threads sleep */
			uv_run(loop, UV_RUN_DEFAULT);
		assert_true(spawned > 0 && spawned - before <= most);
		pool_uv_renew(own);
		for (int i = 0; i < 60; i++)
			pool_uv_add(own, &fresh[i].job, JOB_QUICK);
		uv_run(loop, UV_RUN_DEFAULT);
		for (int i = 0; i < 60; i++)
			assert_true(old[i].done && fresh[i].done);
		assert_true(spawned > before);
	}
	assert_true(pool_uv_idle(own));
	pool_uv_free(own);
}

static pthread_key_t generation_key;

struct tag {
	void *(*run)(void *);
	void *arg;
	uintptr_t generation;
};

static void *
tagged_run(void *arg)
{
	struct tag *t = arg;

	pthread_setspecific(generation_key, (void *)t->generation);
	return t->run(t->arg);
}

static uintptr_t generation_now;
static struct tag tags[400];
static size_t tag_count;

static int
tag_spawn(void *arg, pthread_t *out, void *(*run)(void *), void *run_arg)
{
	struct tag *t = &tags[tag_count++];

	(void)arg;
	*t = (struct tag){ run, run_arg, generation_now };
	return pthread_create(out, NULL, tagged_run, t);
}

struct tagged {
	struct job job;
	uintptr_t wanted, seen;
};

static void
tagged_job_run(struct job *job)
{
	struct tagged *t = (struct tagged *)job;

	t->seen = (uintptr_t)pthread_getspecific(generation_key);
	usleep(300);
}

static void
tagged_job_done(struct job *job)
{
	struct tagged *t = (struct tagged *)job;

	assert_true(t->seen >= t->wanted);
}

static void
a_job_never_runs_on_a_thread_older_than_itself(void **state)
{
	static struct tagged jobs[20][40];
	struct pool *own = pool_uv_new(loop, 2);

	(void)state;
	pthread_key_create(&generation_key, NULL);
	pool_uv_set_spawn(own, tag_spawn, NULL);
	for (int round = 0; round < 20; round++) {
		generation_now++;
		pool_uv_renew(own);
		for (int i = 0; i < 40; i++) {
			jobs[round][i] =
			    (struct tagged){ .job.run = tagged_job_run,
				    .job.on_done = tagged_job_done,
				    .wanted = generation_now };
			pool_uv_add(own, &jobs[round][i].job,
			    (enum job_class)(i % JOB_CLASSES));
		}
		uv_run(loop, UV_RUN_NOWAIT);
	}
	uv_run(loop, UV_RUN_DEFAULT);
	for (int round = 0; round < 20; round++)
		for (int i = 0; i < 40; i++)
			assert_true(jobs[round][i].seen > 0);
	pool_uv_free(own);
	pthread_key_delete(generation_key);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_job_is_done_once_and_may_be_added_again),
		cmocka_unit_test(
		    a_quick_job_does_not_wait_for_bulk_and_flushes),
		cmocka_unit_test(a_renewal_brings_new_threads_and_loses_no_job),
		cmocka_unit_test(
		    a_job_never_runs_on_a_thread_older_than_itself),
	};
	int rc;

	loop = uv_default_loop();
	pool = pool_uv_new(loop, 2);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	pool_uv_free(pool);
	uv_loop_close(loop);
	uv_library_shutdown();
	return rc;
}
