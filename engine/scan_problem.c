/*
 * What the scanner met and cannot sync, path by path.
 *
 * A problem is put when it is met, and goes when the path is seen to be well,
 * is gone, or was not met again in a whole pass.  Kept for people who ask; the
 * scanner itself reads it for two things: a directory that could not be read is
 * listed again when anything is heard of it, and what the disk or the system
 * refused is looked at again after a while.  The hint that led there is gone,
 * and without that a person's save would wait for the next full scan.
 */
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/scan_state.h"

/* Doubled with each time that all of it was in vain. */
#define SCAN_RETRY_NS (2 * CLOCK_S)
#define SCAN_RETRY_SHIFT_MAX 8

/* The value in scan.problem; the text follows it. */
struct scan_kept {
	enum reason reason;
	int64_t since_wall_ns;
	uint64_t pass; /* last met in */
};

static struct scan_kept
scan_kept_of(const struct omap_item *it, struct slice *text)
{
	struct scan_kept kept;

	memcpy(&kept, it->value.ptr, sizeof(kept));
	*text = slice_from(it->value, sizeof(kept));
	return kept;
}

static void
scan_kept_put(struct scan *sc, struct slice path, const struct scan_kept *kept,
    struct slice text)
{
	struct arena *scratch = core_scratch(sc->f->en);
	const size_t len = sizeof(*kept) + text.len;
	uint8_t *value = arena_alloc(scratch, len);

	memcpy(value, kept, sizeof(*kept));
	if (text.len > 0)
		memcpy(value + sizeof(*kept), text.ptr, text.len);
	omap_put(sc->problem, path, slice_of(value, len));
}

enum reason
scan_problem_reason(int code)
{
	return code == ERR_DENIED ? REASON_UNREADABLE
	       : code == ERR_BUSY ? REASON_BUSY
				  : REASON_IO_ERROR;
}

static bool
scan_may_pass(enum reason reason)
{
	return reason == REASON_IO_ERROR || reason == REASON_BUSY ||
	       reason == REASON_UNREADABLE;
}

/* Unless that is to be anyway. */
static void
scan_retry_later(struct scan *sc, bool is_new)
{
	if (sc->stopped || sc->retry.node.pos != HEAP_OUT)
		return;
	if (is_new)
		sc->retries = 0;
	core_timer_set(sc->f->en, &sc->retry,
	    core_now(sc->f->en).mono_ns + (SCAN_RETRY_NS << sc->retries));
}

void
scan_problem_retry(struct engine *en, void *scan)
{
	struct scan *sc = scan;
	struct arena *scratch = core_scratch(en);
	const struct omap_item *it = omap_seek(sc->problem, SLICE_EMPTY, false);
	struct slice text;

	if (sc->retries < SCAN_RETRY_SHIFT_MAX)
		sc->retries++;
	for (; it != NULL; it = omap_next(it))
		if (scan_may_pass(scan_kept_of(it, &text).reason))
			scan_hint(sc->f, arena_dup(scratch, it->key), false);
}

void
scan_problem_put(struct scan *sc, struct slice path, enum reason reason,
    struct slice text)
{
	const struct omap_item *it = omap_find(sc->problem, path);
	struct scan_kept kept = { .reason = reason,
		.since_wall_ns = core_now(sc->f->en).wall_ns };
	struct slice old = SLICE_EMPTY;
	bool is_new = true;

	sc->failed_now++;
	if (it != NULL) {
		const struct scan_kept was = scan_kept_of(it, &old);

		if (was.reason == reason) {
			kept.since_wall_ns = was.since_wall_ns;
			is_new = false;
		}
	} else if (omap_count(sc->problem) >= LIMIT_SCAN_PROBLEMS) {
		return; /* counted, and that is all */
	}
	if (is_new)
		log_info(core_log(sc->f->en),
		    "scan skip path=%s reason=%s text=\"%.*s\"",
		    path_print(core_scratch(sc->f->en), path),
		    reason_name(reason), SLICE_FMT(text));
	kept.pass = sc->pass_no;
	scan_kept_put(sc, path, &kept, text);
	if (scan_may_pass(reason))
		scan_retry_later(sc, is_new);
}

bool
scan_problem_has(const struct scan *sc, struct slice path)
{
	return omap_count(sc->problem) > 0 &&
	       omap_find(sc->problem, path) != NULL;
}

void
scan_problem_clear(struct scan *sc, struct slice path)
{
	if (omap_count(sc->problem) > 0)
		omap_remove(sc->problem, path);
}

void
scan_problem_gone(struct scan *sc, struct slice path)
{
	struct arena *scratch = core_scratch(sc->f->en);
	const struct omap_item *it;
	struct slice below;

	if (omap_count(sc->problem) == 0)
		return;
	omap_remove(sc->problem, path);
	below = slice_str(arena_printf(scratch, "%.*s/", SLICE_FMT(path)));
	while ((it = omap_seek(sc->problem, below, false)) != NULL &&
	       slice_has_prefix(it->key, below))
		omap_remove(sc->problem, arena_dup(scratch, it->key));
}

void
scan_problem_sweep(struct scan *sc)
{
	struct arena *scratch = core_scratch(sc->f->en);
	const struct omap_item *it = omap_seek(sc->problem, SLICE_EMPTY, false);
	struct slice text;

	while (it != NULL) {
		const struct omap_item *next = omap_next(it);

		if (scan_kept_of(it, &text).pass != sc->pass_no)
			omap_remove(sc->problem, arena_dup(scratch, it->key));
		it = next;
	}
}

static struct scan_problem
scan_problem_of(const struct omap_item *it, struct arena *arena)
{
	struct slice text;
	const struct scan_kept kept = scan_kept_of(it, &text);

	return (struct scan_problem){ .path = arena_dup(arena, it->key),
		.reason = kept.reason,
		.text = arena_dup(arena, text),
		.since_wall_ns = kept.since_wall_ns };
}

uint32_t
scan_problem_count(const struct folder *f)
{
	return f->scan == NULL ? 0 : (uint32_t)omap_count(f->scan->problem);
}

uint32_t
scan_problems(const struct folder *f, struct scan_problem **out, uint32_t max,
    struct arena *arena)
{
	const struct omap_item *it = NULL;
	uint32_t count = scan_problem_count(f);
	uint32_t n = 0;

	if (count > max)
		count = max;
	*out = arena_array(arena, count, sizeof(**out));
	if (count > 0)
		it = omap_seek(f->scan->problem, SLICE_EMPTY, false);
	for (; n < count && it != NULL; it = omap_next(it))
		(*out)[n++] = scan_problem_of(it, arena);
	return n;
}

enum reason
scan_reason(const struct folder *f, struct slice path, struct arena *arena,
    struct scan_problem *out)
{
	const struct omap_item *it =
	    f->scan == NULL ? NULL : omap_find(f->scan->problem, path);

	*out = (struct scan_problem){ .path = path, .reason = REASON_NONE };
	if (it != NULL)
		*out = scan_problem_of(it, arena);
	return out->reason;
}
