/*
 * Download progress; see exchange_progress.h.
 *
 * The timer runs only while something is fetched or was told and not yet
 * taken back, so that an idle folder wakes nobody.
 */
#include "engine/exchange_progress.h"

#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/pull.h"

#define PROGRESS_EVERY_NS (5 * CLOCK_S)
/* Smaller files are here before anyone could make use of it. */
#define PROGRESS_BLOCKS_MIN 11u
/* Block numbers in one message; the rest goes with the next. */
#define PROGRESS_NUMBERS_MAX 65536u

/* Blocks of one version of a file. */
struct progress_file {
	struct version version; /* owned */
	uint32_t block_size;
	uint8_t *bit; /* block i: bit i % 8 of byte i / 8; owned */
	size_t len;   /* bytes */
};

struct progress_peer {
	struct devid device;
	struct map told;   /* name -> struct progress_file: of ours */
	struct map theirs; /* name -> struct progress_file: of its */
	size_t theirs_len; /* bytes of all their bits */
};

struct exchange_progress {
	struct core_timer timer;
	bool runs;
	VEC(struct progress_peer *) peer;
};

static struct progress_file *
progress_file_new(struct version version, uint32_t block_size)
{
	struct progress_file *pf = mem_zalloc(sizeof(*pf));

	pf->block_size = block_size;
	pf->version.count = version.count;
	if (version.count > 0)
		pf->version.counter = mem_dup(version.counter,
		    version.count * sizeof(*version.counter));
	return pf;
}

static void
progress_file_free(struct progress_file *pf)
{
	if (pf == NULL)
		return;
	mem_free((void *)(uintptr_t)pf->version.counter);
	mem_free(pf->bit);
	mem_free(pf);
}

static bool
progress_file_has(const struct progress_file *pf, uint32_t no)
{
	return no / 8 < pf->len && (pf->bit[no / 8] >> (no % 8) & 1) != 0;
}

/* Room for `len` bytes of bits. */
static void
progress_file_grow(struct progress_file *pf, size_t len)
{
	if (len <= pf->len)
		return;
	pf->bit = mem_resize(pf->bit, len);
	memset(pf->bit + pf->len, 0, len - pf->len);
	pf->len = len;
}

static void
progress_file_add(struct progress_file *pf, uint32_t no)
{
	progress_file_grow(pf, no / 8 + 1);
	pf->bit[no / 8] |= (uint8_t)(1u << (no % 8));
}

static void
progress_clear(struct map *m)
{
	for (struct map_item *it = NULL; (it = map_next(m, it)) != NULL;)
		progress_file_free(it->value);
	map_fini(m);
}

static void
progress_peer_free(struct progress_peer *pp)
{
	progress_clear(&pp->told);
	progress_clear(&pp->theirs);
	map_fini(&pp->told);
	map_fini(&pp->theirs);
	mem_free(pp);
}

static struct progress_peer *
progress_find(const struct folder *f, const struct devid *dev)
{
	const struct exchange_progress *xp = f->progress;

	for (size_t i = 0; xp != NULL && i < xp->peer.len; i++)
		if (devid_equal(&xp->peer.item[i]->device, dev))
			return xp->peer.item[i];
	return NULL;
}

static void progress_on_timer(struct engine *en, void *arg);

static struct exchange_progress *
progress_of(struct folder *f)
{
	if (f->progress == NULL) {
		f->progress = mem_zalloc(sizeof(*f->progress));
		core_timer_init(&f->progress->timer, progress_on_timer, f);
	}
	return f->progress;
}

static struct progress_peer *
progress_peer_of(struct folder *f, const struct devid *dev)
{
	struct exchange_progress *xp = progress_of(f);
	struct progress_peer *pp = progress_find(f, dev);

	if (pp != NULL)
		return pp;
	pp = mem_zalloc(sizeof(*pp));
	pp->device = *dev;
	core_map_init(f->en, &pp->told);
	core_map_init(f->en, &pp->theirs);
	*VEC_ADD(&xp->peer) = pp;
	return pp;
}

/* --- Ours --- */

static const struct pull_file *
progress_pulled(const struct pull_file *file, uint32_t count, struct slice path)
{
	for (uint32_t i = 0; i < count; i++)
		if (slice_equal(file[i].path, path))
			return &file[i];
	return NULL;
}

/* What was told and is over: done, given up, or another version now. */
static void
progress_take_back(struct progress_peer *pp, const struct pull_file *file,
    uint32_t count, struct progress *out, struct progress_update *update,
    struct arena *scratch)
{
	for (struct map_item *it = NULL;
	     (it = map_next(&pp->told, it)) != NULL;) {
		struct progress_file *pf = it->value;
		const struct pull_file *now =
		    progress_pulled(file, count, it->key);

		if (now != NULL && version_equal(now->version, pf->version))
			continue;
		if (out->update_count >= LIMIT_PROGRESS_UPDATES)
			return; /* next time */
		update[out->update_count++] = (struct progress_update){
			.forget = true,
			.name = arena_dup(scratch, it->key),
			.version = version_dup(pf->version, scratch),
			.block_size = (int32_t)pf->block_size,
		};
		map_remove(&pp->told, update[out->update_count - 1].name);
		progress_file_free(pf);
	}
}

/* The blocks of one file that are new since the last message. */
static void
progress_tell(struct progress_peer *pp, const struct pull_file *file,
    uint32_t *room, struct progress *out, struct progress_update *update,
    struct arena *scratch)
{
	struct progress_file *pf = map_find(&pp->told, file->path);
	int32_t *block = NULL;
	uint32_t n = 0;

	/* Its old version's FORGET found no place: that comes first. */
	if (pf != NULL && !version_equal(pf->version, file->version))
		return;
	for (uint32_t no = 0; no < file->block_count && n < *room; no++) {
		if (!pull_file_has(file, no) ||
		    (pf != NULL && progress_file_has(pf, no)))
			continue;
		if (block == NULL) {
			uint32_t max = file->block_count - no;

			block = arena_array(scratch, max < *room ? max : *room,
			    sizeof(*block));
		}
		if (pf == NULL) {
			pf = progress_file_new(file->version, file->block_size);
			map_put(&pp->told, file->path, pf);
		}
		progress_file_add(pf, no);
		block[n++] = (int32_t)no;
	}
	if (n == 0)
		return;
	*room -= n;
	update[out->update_count++] = (struct progress_update){
		.name = file->path,
		.version = version_dup(pf->version, scratch),
		.block = block,
		.block_count = n,
		.block_size = (int32_t)file->block_size,
	};
}

static void
progress_send(struct folder *f, struct share *sh, const struct pull_file *file,
    uint32_t count)
{
	struct arena *scratch = core_scratch(f->en);
	struct progress_peer *pp = progress_peer_of(f, &sh->device);
	struct message m = { .type = MESSAGE_PROGRESS };
	struct progress *pg = &m.u.progress;
	struct progress_update *update;
	size_t max = count + map_count(&pp->told);
	uint32_t room = PROGRESS_NUMBERS_MAX;

	if (max > LIMIT_PROGRESS_UPDATES)
		max = LIMIT_PROGRESS_UPDATES;
	if (max == 0)
		return;
	update = arena_array(scratch, max, sizeof(*update));
	progress_take_back(pp, file, count, pg, update, scratch);
	for (uint32_t i = 0; i < count && room > 0 && pg->update_count < max;
	     i++)
		progress_tell(pp, &file[i], &room, pg, update, scratch);
	if (pg->update_count == 0)
		return;
	pg->folder = f->cfg.id;
	pg->update = update;
	exchange_send(sh->peer, &m, NULL, NULL, NULL);
}

static void
progress_on_timer(struct engine *en, void *arg)
{
	struct folder *f = arg;
	struct exchange_progress *xp = f->progress;
	struct pull_file *file = NULL;
	bool more = false;
	const uint32_t count = pull_files(f, PROGRESS_BLOCKS_MIN,
	    LIMIT_PROGRESS_UPDATES / 2, &file, core_scratch(en));

	xp->runs = false;
	for (uint32_t i = 0; i < f->share_count; i++) {
		struct share *sh = &f->share[i];
		const struct peer *p = sh->peer;

		if (p != NULL && p->up && p->cc_came && sh->remote_runs)
			progress_send(f, sh, file, count);
	}
	for (size_t i = 0; i < xp->peer.len; i++)
		more |= map_count(&xp->peer.item[i]->told) > 0;
	if (count > 0 || more)
		exchange_progress_wake(f);
}

void
exchange_progress_wake(struct folder *f)
{
	struct exchange_progress *xp = progress_of(f);

	if (xp->runs)
		return;
	xp->runs = true;
	core_timer_set(f->en, &xp->timer,
	    core_now(f->en).mono_ns + PROGRESS_EVERY_NS);
}

/* --- Theirs --- */

static void
progress_drop(struct progress_peer *pp, struct slice name)
{
	struct progress_file *pf = map_remove(&pp->theirs, name);

	if (pf == NULL)
		return;
	pp->theirs_len -= pf->len;
	progress_file_free(pf);
}

/* Block numbers beyond what may be remembered are left out. */
static void
progress_append(struct progress_peer *pp, struct progress_file *pf,
    const struct progress_update *u)
{
	const size_t was = pf->len;
	const size_t most = was + (LIMIT_PROGRESS_LEN - pp->theirs_len);

	for (uint32_t i = 0; i < u->block_count; i++) {
		const int32_t no = u->block[i];

		if (no >= 0 && (uint32_t)no < LIMIT_BLOCKS &&
		    (size_t)no / 8 < most)
			progress_file_add(pf, (uint32_t)no);
	}
	pp->theirs_len += pf->len - was;
}

static void
progress_update_came(struct progress_peer *pp, const struct progress_update *u,
    struct arena *scratch)
{
	struct progress_file *pf = map_find(&pp->theirs, u->name);
	const uint32_t block_size = u->block_size > 0
					? (uint32_t)u->block_size
					: (uint32_t)LIMIT_BLOCK_LEN_MIN;
	const struct version version =
	    version_canonical(u->version.counter, u->version.count, scratch);
	struct err err = { 0 };

	if (path_check(u->name, &err) < 0)
		return;
	if (u->forget) {
		if (pf != NULL && version_equal(pf->version, version))
			progress_drop(pp, u->name);
		return;
	}
	if (pf != NULL && (!version_equal(pf->version, version) ||
			      pf->block_size != block_size)) {
		progress_drop(pp, u->name);
		pf = NULL;
	}
	if (pf == NULL) {
		if (map_count(&pp->theirs) >= LIMIT_PROGRESS_FILES ||
		    version.count > LIMIT_COUNTERS)
			return;
		pf = progress_file_new(version, block_size);
		map_put(&pp->theirs, u->name, pf);
	}
	progress_append(pp, pf, u);
}

void
exchange_progress_came(struct peer *p, const struct progress *pg)
{
	struct folder *f = exchange_folder(p, pg->folder);
	struct progress_peer *pp;

	if (f == NULL || !folder_talks(f))
		return;
	pp = progress_peer_of(f, &p->device);
	for (uint32_t i = 0; i < pg->update_count; i++)
		progress_update_came(pp, &pg->update[i], core_scratch(p->en));
}

void
exchange_progress_forget(struct folder *f, const struct devid *dev,
    struct slice name)
{
	struct progress_peer *pp = progress_find(f, dev);

	if (pp != NULL && map_count(&pp->theirs) > 0)
		progress_drop(pp, name);
}

void
exchange_temp_failed(struct folder *f, const struct share *sh,
    struct slice name)
{
	exchange_progress_forget(f, &sh->device, name);
}

struct share *
exchange_temp_source(struct folder *f, const struct exchange_temp *want)
{
	struct share *best = NULL;

	if (f->progress == NULL)
		return NULL;
	for (uint32_t i = 0; i < f->share_count; i++) {
		struct share *sh = &f->share[i];
		const struct progress_peer *pp;
		const struct progress_file *pf;

		if (!exchange_has_room(sh, want->len))
			continue;
		pp = progress_find(f, &sh->device);
		pf = pp == NULL ? NULL : map_find(&pp->theirs, want->name);
		if (pf == NULL || pf->block_size != want->block_size ||
		    !progress_file_has(pf, want->block) ||
		    !version_equal(pf->version, want->version))
			continue;
		if (best == NULL ||
		    exchange_asked_bytes(sh) < exchange_asked_bytes(best))
			best = sh;
	}
	return best;
}

/* --- Ends --- */

void
exchange_progress_peer_down(struct folder *f, const struct devid *dev)
{
	struct exchange_progress *xp = f->progress;

	for (size_t i = 0; xp != NULL && i < xp->peer.len; i++) {
		if (!devid_equal(&xp->peer.item[i]->device, dev))
			continue;
		progress_peer_free(xp->peer.item[i]);
		VEC_DROP(&xp->peer, i);
		return;
	}
}

void
exchange_progress_free(struct folder *f)
{
	struct exchange_progress *xp = f->progress;

	if (xp == NULL)
		return;
	core_timer_clear(f->en, &xp->timer);
	for (size_t i = 0; i < xp->peer.len; i++)
		progress_peer_free(xp->peer.item[i]);
	VEC_FINI(&xp->peer);
	mem_free(xp);
	f->progress = NULL;
}
