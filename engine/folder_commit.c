/*
 * A folder's commits: when what was put into the index goes to the disk.
 *
 * One is on its way, one gathers.  What is put waits a moment for more, unless
 * somebody waits for it (core_commit()); when much changes, longer.  A commit
 * that finds the disk full loses nothing and is tried again.
 */
#include "engine/folder_state.h"

#include "engine/base/assert.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/exchange_index.h"

/* A commit waits this long for more puts, unless somebody waits for it. */
#define FOLDER_COMMIT_GAP_NS (25 * CLOCK_MS)
/* While much changes, longer: each commit rewrites the pages it touches. */
#define FOLDER_COMMIT_BULK 512u
#define FOLDER_COMMIT_BULK_NS (250 * CLOCK_MS)
#define FOLDER_COMMIT_RETRY_NS CLOCK_S

enum reason
folder_flush_reason(int code)
{
	return code == ERR_FULL           ? REASON_DISK_FULL
	       : code == ERR_READ_ONLY    ? REASON_READ_ONLY_DISK
	       : code == ERR_MISSING_ROOT ? REASON_ROOT_MISSING
					  : REASON_IO_ERROR;
}

/*
 * The flush before a commit failed: pages written since the last one may be
 * lost, and no later flush will say so.  What the rows say of people's files is
 * still right, and the sooner others hear it, the sooner there is a copy on a
 * disk that works.  But nothing that is staged may be put by its name any more:
 * the folder is opened anew, and temps are then read from the disk.
 */
static void
commit_flush_failed(struct folder *f, const struct event *ev)
{
	if (ev->u.done.flush_code == ERR_BUSY) {
		f->unflushed = true; /* it was not tried */
		return;
	}
	if (!MUTANT(MUTANT_COMMIT_FLUSH_IGNORED))
		folder_halt(f, folder_flush_reason(ev->u.done.flush_code),
		    "flush: what was written last may not be on the disk");
}

static void
commit_done(struct folder *f, void *arg, const struct event *ev)
{
	const int code =
	    MUTANT(MUTANT_COMMIT_ERROR_IGNORED) ? 0 : ev->u.done.code;

	(void)arg;
	f->commit_busy = false;
	/* First: an intent in this commit may be of what is lost. */
	if (ev->u.done.flush_code != 0)
		commit_flush_failed(f, ev);
	if (code == ERR_FULL || code == ERR_BUSY) {
		/* Nothing is lost: the puts are still in memory. */
		for (size_t i = 0; i < f->commit_now.len; i++)
			*VEC_ADD(&f->commit_wait) = f->commit_now.item[i];
		VEC_CLEAR(&f->commit_now);
		f->unflushed |= f->commit_flush;
		f->commit_refused = true;
		core_timer_set(f->en, &f->commit_timer,
		    core_now(f->en).mono_ns + FOLDER_COMMIT_RETRY_NS);
		f->commit_start_ns = core_now(f->en).mono_ns;
		/* The index may be on another disk: the trash can stays. */
		folder_halt_softly(f,
		    code == ERR_FULL ? REASON_DISK_FULL : REASON_BUSY,
		    ev->u.done.text);
		return;
	}
	if (code == 0)
		f->committed_seq = f->commit_seq;
	for (size_t i = 0; i < f->commit_now.len; i++) {
		const struct folder_waiter w = f->commit_now.item[i];

		w.done(f, w.arg, ev);
	}
	VEC_CLEAR(&f->commit_now);
	if (code == 0)
		exchange_index_grew(f);
	else
		folder_halt(f, REASON_IO_ERROR, "%.*s",
		    SLICE_FMT(ev->u.done.text));
}

static void
commit_begin(struct folder *f)
{
	struct effect *ef;

	ASSERT(f->commit_now.len == 0);
	f->commit_puts = index_pending(f->ix);
	index_flush(f->ix);
	f->commit_busy = true;
	f->commit_refused = false;
	f->commit_start_ns = core_now(f->en).mono_ns;
	f->commit_seq = index_seq(f->ix);
	for (size_t i = 0; i < f->commit_wait.len; i++)
		*VEC_ADD(&f->commit_now) = f->commit_wait.item[i];
	VEC_CLEAR(&f->commit_wait);
	core_timer_clear(f->en, &f->commit_timer);
	f->commit_flush = f->unflushed;
	f->unflushed = false;
	if (MUTANT(MUTANT_TOLD_TOO_EARLY)) {
		f->committed_seq = f->commit_seq;
		exchange_index_grew(f);
	}
	ef = core_ask(f, EFFECT_COMMIT, commit_done, NULL);
	ef->u.commit.flush =
	    f->commit_flush && !MUTANT(MUTANT_PEOPLE_UNFLUSHED);
}

bool
folder_commit_is_wanted(const struct folder *f)
{
	return index_pending(f->ix) > 0 || f->commit_wait.len > 0;
}

void
folder_commit_consider(struct folder *f)
{
	const uint64_t now = core_now(f->en).mono_ns;
	const uint64_t due =
	    f->commit_start_ns + (f->commit_puts < FOLDER_COMMIT_BULK
					 ? FOLDER_COMMIT_GAP_NS
					 : FOLDER_COMMIT_BULK_NS);
	const bool waiting = f->commit_timer.node.pos != HEAP_OUT;
	const size_t pending = index_pending(f->ix);

	if (f->commit_busy || !folder_commit_is_wanted(f))
		return;
	if (f->commit_refused && waiting)
		return;
	if (f->commit_wait.len > 0 || pending >= LIMIT_COMMIT_OPS ||
	    now >= due || f->state == FOLDER_CLOSING) {
		commit_begin(f);
		return;
	}
	if (!waiting)
		core_timer_set(f->en, &f->commit_timer, due);
}

void
folder_commit_drop(struct folder *f)
{
	VEC_CLEAR(&f->commit_wait);
	f->commit_refused = false;
	core_timer_clear(f->en, &f->commit_timer);
}

static void
commit_due(struct engine *en, void *arg)
{
	(void)en; /* folder_step_end() does the work */
	(void)arg;
}

void
folder_commit_init(struct folder *f)
{
	core_timer_init(&f->commit_timer, commit_due, f);
}

void
folder_commit_fini(struct folder *f)
{
	core_timer_clear(f->en, &f->commit_timer);
	VEC_FINI(&f->commit_now);
	VEC_FINI(&f->commit_wait);
}
