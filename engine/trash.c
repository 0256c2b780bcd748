/*
 * The trash can.  See trash.h.
 */
#include "engine/trash.h"

#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/folder.h"
#include "engine/pull.h"

#define TRASH_DIR ".stversions"
/* Cleaned at least so often ... */
#define TRASH_CLEAN_NS (24 * CLOCK_HOUR)
/* ... and when so much has come since, bytes. */
#define TRASH_CLEAN_BYTES ((int64_t)(256 * MIB))
/* What is kept free on the disk at its expense, bytes. */
#define TRASH_FREE_MIN ((int64_t)(1024 * MIB))
/* What goes when the disk is full: an eighth of it, at least so much. */
#define TRASH_GIVE_MIN ((int64_t)(64 * MIB))
/* Looked at again so long after nothing could be put into it; then twice as
 * long, and so on. */
#define TRASH_RETRY_NS CLOCK_MIN
#define TRASH_RETRY_MAX_NS CLOCK_HOUR

struct trash {
	struct folder *f;
	struct core_timer timer;
	struct trash_totals now;
	bool known;
	bool busy;         /* CLEAN_TRASH under way */
	bool again;        /* and another is wanted */
	int64_t added;     /* since it was measured last */
	int64_t give;      /* to be made free by the next */
	bool stuck;        /* something stayed in staging, with its intent */
	uint32_t tries;    /* since something could be put into it */
	uint64_t retry_ns; /* mono: not before */
	char broken[200];
};

static void trash_clean(struct trash *tr);

/* An effect on it failed: because of the folder as a whole, or of itself? */
static void
trash_failed(struct trash *tr, int code, struct slice text)
{
	struct folder *f = tr->f;

	if (code == ERR_CLOSED || folder_met_error(f, code, text))
		return;
	if (tr->broken[0] == '\0')
		log_error(core_log(f->en),
		    "trash failed folder=%s text=\"%.*s\"",
		    path_print(core_scratch(f->en), f->cfg.id),
		    SLICE_FMT(text));
	snprintf(tr->broken, sizeof(tr->broken), "%.*s", SLICE_FMT(text));
	if (tr->broken[0] == '\0')
		snprintf(tr->broken, sizeof(tr->broken), "no reason given");
}

/* It can be used, for all that can be told without using it. */
static void
trash_well(struct trash *tr)
{
	struct folder *f = tr->f;
	const bool was_broken = tr->broken[0] != '\0';

	/* Not at once after a failure: this look cannot tell all. */
	if (tr->stuck && core_now(f->en).mono_ns < tr->retry_ns)
		return;
	tr->broken[0] = '\0';
	if (f->state != FOLDER_RUNNING)
		return;
	if (tr->stuck)
		folder_reopen(f); /* recovery files what is in staging */
	else if (was_broken)
		pull_retry(f); /* what waited for it */
}

static void
trash_set_retry(struct trash *tr)
{
	tr->retry_ns =
	    core_now(tr->f->en).mono_ns +
	    (tr->tries < 6 ? TRASH_RETRY_NS << tr->tries : TRASH_RETRY_MAX_NS);
	tr->tries++;
}

static void
trash_later(struct trash *tr)
{
	const uint64_t now = core_now(tr->f->en).mono_ns;
	const bool well = tr->broken[0] == '\0' && !tr->stuck;

	core_timer_set(tr->f->en, &tr->timer,
	    well                 ? now + TRASH_CLEAN_NS
	    : tr->retry_ns > now ? tr->retry_ns
				 : now + TRASH_RETRY_NS);
}

static int64_t
trash_until_ns(const struct folder *f)
{
	const int64_t wall_ns = core_now(f->en).wall_ns;

	if (f->cfg.trash_age_ns == 0 || wall_ns <= 0 ||
	    (uint64_t)wall_ns <= f->cfg.trash_age_ns)
		return INT64_MIN;
	return wall_ns - (int64_t)f->cfg.trash_age_ns;
}

/* No more than this stays: a tenth less when it is over, not to be soon. */
static int64_t
trash_bytes_max(const struct trash *tr)
{
	const int64_t max = tr->f->cfg.trash_bytes_max;

	if (max == 0)
		return INT64_MAX;
	return tr->known && tr->now.bytes > max ? max - max / 10 : max;
}

static void
trash_on_cleaned(struct folder *f, void *arg, const struct event *ev)
{
	struct trash *tr = arg;
	const struct trash_totals gone = ev->u.done.trash_gone;

	tr->busy = false;
	if (ev->u.done.code == ERR_CLOSED)
		return;
	if (ev->u.done.code != 0) {
		trash_set_retry(tr);
		trash_failed(tr, ev->u.done.code, ev->u.done.text);
	} else {
		tr->now = ev->u.done.trash;
		tr->known = true;
		tr->added = 0;
		trash_well(tr);
	}
	if (gone.files > 0)
		log_info(core_log(f->en),
		    "trash clean folder=%s removed=%lld bytes=%lld left=%lld",
		    path_print(core_scratch(f->en), f->cfg.id),
		    (long long)gone.files, (long long)gone.bytes,
		    (long long)tr->now.bytes);
	/* There is room: no need to wait with what there was none for. */
	if (gone.files > 0 && f->state == FOLDER_HALTED && f->soft &&
	    f->reason == REASON_DISK_FULL)
		core_timer_set(f->en, &f->retry, core_now(f->en).mono_ns);
	if (tr->again)
		trash_clean(tr);
	else
		trash_later(tr);
}

static void
trash_clean(struct trash *tr)
{
	struct folder *f = tr->f;
	struct effect *ef;

	tr->again = tr->busy;
	if (tr->busy || !f->opened || f->state == FOLDER_CLOSING)
		return;
	tr->busy = true;
	core_timer_clear(f->en, &tr->timer);
	ef = core_ask(f, EFFECT_CLEAN_TRASH, trash_on_cleaned, tr);
	ef->u.clean.until_ns = trash_until_ns(f);
	ef->u.clean.bytes_max = trash_bytes_max(tr);
	ef->u.clean.free_min = TRASH_FREE_MIN;
	ef->u.clean.give = tr->give;
	tr->give = 0;
}

static void
trash_on_timer(struct engine *en, void *arg)
{
	(void)en;
	trash_clean(arg);
}

struct trash *
trash_new(struct folder *f)
{
	struct trash *tr = mem_zalloc(sizeof(*tr));

	tr->f = f;
	core_timer_init(&tr->timer, trash_on_timer, tr);
	return tr;
}

void
trash_free(struct trash *tr)
{
	if (tr == NULL)
		return;
	core_timer_clear(tr->f->en, &tr->timer);
	mem_free(tr);
}

void
trash_start(struct folder *f)
{
	if (f->cfg.trash)
		trash_clean(f->trash);
	else
		trash_stop(f);
}

void
trash_stop(struct folder *f)
{
	struct trash *tr = f->trash;

	core_timer_clear(f->en, &tr->timer);
	tr->again = tr->known = tr->stuck = false;
	tr->broken[0] = '\0';
}

bool
trash_takes(const struct folder *f, const struct identity *kept)
{
	return f->cfg.trash && kept->type == IDENTITY_FILE &&
	       !MUTANT(MUTANT_TRASH_NOT_KEPT);
}

struct slice
trash_dir(struct slice path, struct arena *arena)
{
	const struct slice parent = path_parent(path);

	if (parent.len == 0)
		return slice_str(TRASH_DIR);
	return path_join(arena, slice_str(TRASH_DIR), parent);
}

void
trash_keep(struct folder *f, struct slice path, struct slice temp,
    const struct identity *kept, core_done_fn *done, void *arg)
{
	struct arena *scratch = core_scratch(f->en);
	struct effect *ef = core_ask(f, EFFECT_KEEP_VERSION, done, arg);

	ef->path = arena_dup(scratch, path);
	ef->temp = arena_dup(scratch, temp);
	ef->want =
	    MUTANT(MUTANT_KEPT_UNCHECKED) ? (struct identity){ 0 } : *kept;
}

bool
trash_answered(struct folder *f, const struct event *ev, int64_t size)
{
	struct trash *tr = f->trash;
	const int64_t max = f->cfg.trash_bytes_max;
	const int code = ev->u.done.code;

	if (code == ERR_CHANGED || code == ERR_CLOSED)
		return false;
	if (code != 0) {
		tr->stuck = true;
		trash_set_retry(tr);
		trash_failed(tr, code, ev->u.done.text);
		trash_later(tr);
		return false;
	}
	tr->tries = 0;
	tr->now.files++;
	tr->now.bytes += size;
	tr->added += size;
	if ((max > 0 && tr->now.bytes > max) || tr->added >= TRASH_CLEAN_BYTES)
		trash_clean(tr);
	return true;
}

bool
trash_is_stamped(struct slice name)
{
	static const char like[] = "~00000000-000000";
	const size_t at = slice_rfind(name, '~');
	const size_t len = sizeof(like) - 1;

	if (at == SIZE_MAX || name.len - at < len)
		return false;
	name = slice_from(name, at);
	for (size_t i = 0; i < len; i++) {
		const bool digit = name.ptr[i] >= '0' && name.ptr[i] <= '9';

		if (like[i] == '0' ? !digit : name.ptr[i] != (uint8_t)like[i])
			return false;
	}
	return name.len == len || name.ptr[len] == '.';
}

void
trash_make_room(struct folder *f)
{
	struct trash *tr = f->trash;

	/* What is there is measured when the folder opens: nothing, then. */
	if (!f->cfg.trash || (tr->known && tr->now.bytes == 0))
		return;
	tr->give = tr->now.bytes / 8 > TRASH_GIVE_MIN ? tr->now.bytes / 8
						      : TRASH_GIVE_MIN;
	trash_clean(tr);
}

void
trash_empty(struct folder *f)
{
	f->trash->give = INT64_MAX;
	trash_clean(f->trash);
}

bool
trash_totals(const struct folder *f, struct trash_totals *out)
{
	*out = f->trash->now;
	return f->cfg.trash && f->trash->known;
}

const char *
trash_broken(const struct folder *f)
{
	return !f->cfg.trash || f->trash->broken[0] == '\0' ? NULL
							    : f->trash->broken;
}
