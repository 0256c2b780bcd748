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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_job_is_done_once_and_may_be_added_again),
		cmocka_unit_test(
		    a_quick_job_does_not_wait_for_bulk_and_flushes),
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
