/*
 * Our coordinator's flushes: on a worker of libuv, one at a time; see
 * coordd_impl.h.
 *
 * Nobody hears of an entry before it is on the disk: what is said after one was
 * kept waits for the flush that brings it there, and what is said after that,
 * too, so that the order stays.  The bytes of a guest's `out`:
 *
 *	| sure: may go | soon: when the flush that runs is done | the next one |
 */
#include "engine/base/assert.h"
#include "mesh/coordd_impl.h"

void
coordd_flush_mark(struct coordd_guest *g)
{
	struct coordd *d = g->d;
	const bool late = coord_store_is_late(d->store);

	if (!late)
		g->soon = g->out.len;
	if (!late && !d->flush.running)
		g->sure = g->out.len;
	else if (!list_has(&g->held))
		list_add(&d->held, &g->held);
}

static void
coordd_flush_run(uv_work_t *req)
{
	struct coordd_flush *f = req->data;

	f->err = (struct err){ 0 };
	(void)coord_store_sync(&f->late, &f->err);
}

static void
coordd_flush_done(uv_work_t *req, int status)
{
	struct coordd_flush *f = req->data;
	struct coordd *d = LIST_ITEM(f, struct coordd, flush);
	struct list_node *at = list_first(&d->held);

	ASSERT(status == 0); /* nobody cancels it */
	f->running = false;
	/* What we could not write down its members still have. */
	if (f->err.code != 0)
		log_error(d->log, "coord keep: %s", f->err.text);
	while (at != NULL) {
		struct coordd_guest *g =
		    LIST_ITEM(at, struct coordd_guest, held);

		at = list_next(&d->held, at);
		g->sure = g->soon;
		if (g->sure == g->out.len)
			list_remove(&d->held, &g->held);
		coordd_note_work(g);
	}
	if (!d->closing)
		coordd_work(d);
	coordd_freed(d);
}

void
coordd_flush_begin(struct coordd *d)
{
	struct coordd_flush *f = &d->flush;

	if (f->running || d->closing || !coord_store_is_late(d->store))
		return;
	coord_store_take_late(d->store, &f->late);
	for (struct list_node *at = list_first(&d->held); at != NULL;
	     at = list_next(&d->held, at)) {
		struct coordd_guest *g =
		    LIST_ITEM(at, struct coordd_guest, held);

		g->soon = g->out.len;
	}
	f->running = true;
	f->req.data = f;
	d->handles++;
	if (uv_queue_work(d->loop, &f->req, coordd_flush_run,
		coordd_flush_done) != 0)
		ASSERT(false);
}
