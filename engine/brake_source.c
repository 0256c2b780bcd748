/*
 * One device as the brake sees it: its state, and what survives a restart.
 */
#include "engine/brake_state.h"

#include "engine/base/mutant.h"
#include "engine/base/path.h"
#include "engine/pull.h"

#define BRAKE_FACT "brake"
#define BRAKE_FORMAT 1u

struct brake_source *
brake_source_of(const struct brake *br, const struct devid *dev)
{
	for (uint32_t i = 0; i < br->count; i++)
		if (devid_equal(&br->source[i].held.device, dev))
			return &br->source[i];
	return NULL;
}

bool
brake_source_waits(const struct brake_source *src)
{
	return !MUTANT(MUTANT_BRAKE_IGNORED) &&
	       (src->state == BRAKE_LOOKS || src->state == BRAKE_HOLDS);
}

int64_t
brake_source_limit(const struct brake *br, const struct brake_source *src)
{
	const struct setup_folder *cfg = &br->f->cfg;
	const int64_t limit =
	    brake_limit(src->held.files, cfg->brake_percent, cfg->brake_files);

	return limit < (int64_t)BRAKE_PATHS_MAX ? limit
						: (int64_t)BRAKE_PATHS_MAX;
}

void
brake_source_save(struct brake *br)
{
	struct buf out = { 0 };

	buf_put_u8(&out, BRAKE_FORMAT);
	for (uint32_t i = 0; i < br->count; i++) {
		const struct brake_source *src = &br->source[i];

		if (src->state == BRAKE_FREE)
			continue;
		buf_put(&out,
		    slice_of(src->held.device.b, sizeof(src->held.device.b)));
		buf_put_u8(&out, (uint8_t)src->state);
		buf_put_svarint(&out, src->held.deletes);
		buf_put_svarint(&out, src->held.rewrites);
		buf_put_svarint(&out, src->held.done);
		buf_put_svarint(&out, src->held.files);
		buf_put_svarint(&out, src->held.since_wall_ns);
	}
	index_put_fact(br->f->ix, BRAKE_FACT, buf_slice(&out));
	buf_fini(&out);
}

static void
source_load(struct brake *br, struct reader *r)
{
	struct brake_source one = { 0 }, *src;
	struct slice id = reader_bytes(r, sizeof(one.held.device.b));
	const uint8_t state = reader_u8(r);

	one.held.deletes = reader_svarint(r);
	one.held.rewrites = reader_svarint(r);
	one.held.done = reader_svarint(r);
	one.held.files = reader_svarint(r);
	one.held.since_wall_ns = reader_svarint(r);
	if (r->failed || state > BRAKE_CONFIRMED)
		return;
	memcpy(one.held.device.b, id.ptr, sizeof(one.held.device.b));
	one.held.device = *setup_now(core_setup(br->f->en), &one.held.device);
	src = brake_source_of(br, &one.held.device);
	if (src == NULL)
		return; /* it is not shared with any more */
	src->held = one.held;
	src->state = (enum brake_state)state;
}

void
brake_source_load(struct brake *br)
{
	struct slice fact = SLICE_EMPTY;
	struct reader r;

	if (!index_fact(br->f->ix, BRAKE_FACT, &fact, core_scratch(br->f->en)))
		return;
	reader_init(&r, fact);
	if (reader_u8(&r) != BRAKE_FORMAT)
		return;
	while (!r.failed && !reader_done(&r))
		source_load(br, &r);
}

void
brake_source_forget(struct brake_source *src)
{
	umap_fini(&src->done);
	umap_init(&src->done);
	src->heard = 0;
	src->allowed = 0;
}

void
brake_source_release(struct brake *br, struct brake_source *src)
{
	const struct devid device = src->held.device;

	brake_source_forget(src);
	src->state = BRAKE_FREE;
	memset(&src->held, 0, sizeof(src->held));
	src->held.device = device;
	brake_source_save(br);
	pull_wake(br->f);
}

void
brake_source_suspect(struct brake *br, struct brake_source *src)
{
	src->state = BRAKE_LOOKS;
	src->since_ns = core_now(br->f->en).mono_ns;
	brake_source_save(br);
	brake_look_soon(br);
}

/* Something of this device begins, or goes on. */
void
brake_source_stir(struct brake *br, struct brake_source *src)
{
	const uint64_t now = core_now(br->f->en).mono_ns;
	const int64_t files = index_local_totals(br->f->ix).files;

	if (src->state == BRAKE_FREE && now - src->last_ns >= BRAKE_QUIET_NS) {
		brake_source_forget(src);
		src->held.files = 0;
	}
	/* What it has grown to meanwhile is there to be lost, too. */
	if (src->held.files < files)
		src->held.files = files;
	src->last_ns = now;
}

struct slice
brake_source_name(const struct brake *br, const struct brake_source *src)
{
	const struct share *sh = folder_share(br->f, &src->held.device);

	return sh == NULL ? SLICE_EMPTY : sh->name;
}

void
brake_source_hold(struct brake *br, struct brake_source *src)
{
	struct folder *f = br->f;
	struct effect_note *note;

	src->state = BRAKE_HOLDS;
	src->held.since_wall_ns = core_now(f->en).wall_ns;
	brake_source_save(br);
	note = core_note(f, NOTE_HELD);
	note->device = src->held.device;
	note->reason = REASON_MASS_CHANGE;
	note->count = src->held.deletes + src->held.rewrites;
	log_error(core_log(f->en),
	    "brake hold folder=%s device=%.*s deletes=%lld rewrites=%lld "
	    "files=%lld",
	    path_print(core_scratch(f->en), f->cfg.id),
	    SLICE_FMT(brake_source_name(br, src)), (long long)src->held.deletes,
	    (long long)src->held.rewrites, (long long)src->held.files);
}
