/*
 * The watcher's core; see watch.h.
 */
#include "watcher/watch.h"

#include "engine/base/assert.h"
#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "watcher/debounce.h"
#include "watcher/dirtree.h"

/* The second half of a rename follows at once, or it never comes. */
#define WATCH_PAIR_WAIT (10 * CLOCK_MS)
/* Watches with events before we were told what they watch. */
#define WATCH_STRAYS 256u
/* Unwatched directories remembered one by one. */
#define WATCH_UNWATCHED 4096u

struct watched_folder {
	uint32_t root; /* in the tree */
	struct debounce *debounce;
	struct map unwatched; /* path -> itself: what could not be watched */
	bool unwatched_many;  /* more than that: partial for good */
	bool failed;
	enum change_cover said;
};

/* The first half of a rename, waiting for the second. */
struct watch_move {
	bool waits;
	uint32_t folder, cookie;
	int wd; /* of the directory it leaves */
	bool is_dir;
	uint64_t due;
	struct buf path;
};

struct watch {
	uint64_t hash_seed;
	struct dirtree *tree;
	VEC(struct watched_folder *) folder; /* by number; NULL: off */
	struct watch_move move;
	int stray[WATCH_STRAYS];
	uint32_t strays; /* written in all; the ring holds the last */
	struct buf path; /* scratch */
	uint32_t turn;   /* folders take turns */
};

struct watch *
watch_new(uint64_t hash_seed)
{
	struct watch *w = mem_zalloc(sizeof(*w));

	w->hash_seed = hash_seed;
	w->tree = dirtree_new(hash_seed);
	for (uint32_t i = 0; i < WATCH_STRAYS; i++)
		w->stray[i] = -1;
	return w;
}

static struct watched_folder *
watch_find(const struct watch *w, uint32_t folder)
{
	return folder < w->folder.len ? w->folder.item[folder] : NULL;
}

static void
watch_forget(struct watch *w, uint32_t folder)
{
	struct watched_folder *f = watch_find(w, folder);

	if (f == NULL)
		return;
	if (w->move.waits && w->move.folder == folder)
		w->move.waits = false;
	dirtree_remove(w->tree, f->root);
	debounce_free(f->debounce);
	map_fini(&f->unwatched);
	mem_free(f);
	w->folder.item[folder] = NULL;
}

void
watch_folder(struct watch *w, uint32_t folder, bool on)
{
	struct watched_folder *f;

	if (!on) {
		watch_forget(w, folder);
		return;
	}
	if (watch_find(w, folder) != NULL)
		return;
	while (w->folder.len <= folder)
		*VEC_ADD(&w->folder) = NULL;
	f = mem_zalloc(sizeof(*f));
	f->root = dirtree_add_root(w->tree, folder);
	f->debounce = debounce_new(folder, w->hash_seed);
	map_init_seed(&f->unwatched, w->hash_seed);
	f->said = COVER_FULL;
	w->folder.item[folder] = f;
}

void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	for (uint32_t i = 0; i < w->folder.len; i++)
		watch_forget(w, i);
	VEC_FINI(&w->folder);
	dirtree_free(w->tree);
	buf_fini(&w->move.path);
	buf_fini(&w->path);
	mem_free(w);
}

static enum change_cover
watch_cover_of(const struct watched_folder *f)
{
	if (f->failed)
		return COVER_FAILED;
	if (f->unwatched_many || map_count(&f->unwatched) > 0)
		return COVER_PARTIAL;
	return COVER_FULL;
}

enum change_cover
watch_cover(const struct watch *w, uint32_t folder)
{
	const struct watched_folder *f = watch_find(w, folder);

	return f == NULL ? COVER_OFF : watch_cover_of(f);
}

uint32_t
watch_count(const struct watch *w)
{
	return dirtree_count(w->tree);
}

int
watch_dead(struct watch *w)
{
	return dirtree_dead(w->tree);
}

/* ---- watches ---- */

static bool
watch_was_stray(struct watch *w, int wd)
{
	bool was = false;

	for (uint32_t i = 0; i < WATCH_STRAYS; i++) {
		if (w->stray[i] != wd)
			continue;
		w->stray[i] = -1;
		was = true;
	}
	return was;
}

static void
watch_add_stray(struct watch *w, int wd)
{
	for (uint32_t i = 0; i < WATCH_STRAYS; i++)
		if (w->stray[i] == wd)
			return;
	w->stray[w->strays++ % WATCH_STRAYS] = wd;
}

static void
watch_fail(struct watched_folder *f, struct slice path, int failure)
{
	if (failure == WATCH_FAILURE_GONE)
		return;
	if (failure == WATCH_FAILURE_NEVER)
		f->failed = true;
	else if (map_count(&f->unwatched) < WATCH_UNWATCHED)
		map_put(&f->unwatched, path, f);
	else
		f->unwatched_many = true;
}

void
watch_added(struct watch *w, uint32_t folder, struct slice path, int wd,
    uint64_t now)
{
	struct watched_folder *f = watch_find(w, folder);

	if (f == NULL) { /* off since; wd may be one of another folder, then
			  * its listing comes again */
		if (wd >= 0 && dirtree_find(w->tree, wd) == DIRTREE_NONE) {
			const uint32_t root = dirtree_add_root(w->tree, folder);

			dirtree_put(w->tree, root, SLICE_EMPTY, wd);
			dirtree_remove(w->tree, root);
		}
		return;
	}
	if (wd < 0) {
		watch_fail(f, path, wd);
	} else {
		if (map_count(&f->unwatched) > 0)
			(void)map_remove(&f->unwatched, path);
		dirtree_put(w->tree, f->root, path, wd);
		/* Something happened there before we knew where "there" is:
		 * look at all that is in it, its listing may be older. */
		if (watch_was_stray(w, wd))
			debounce_add(f->debounce, path, DEBOUNCE_SETTLED, true,
			    now);
	}
	if (watch_cover_of(f) != f->said)
		debounce_announce(f->debounce, now);
}

/* ---- events ---- */

/* w->path becomes the path of `name` in the directory `node`. */
static struct slice
watch_path(struct watch *w, uint32_t node, struct slice name)
{
	buf_clear(&w->path);
	dirtree_path(w->tree, node, &w->path);
	if (name.len > 0 && w->path.len > 0)
		buf_put_u8(&w->path, '/');
	buf_put(&w->path, name);
	return buf_slice(&w->path);
}

static void
watch_hint(struct watch *w, uint32_t folder, struct slice path,
    enum debounce_kind kind, bool subtree, uint64_t now)
{
	struct watched_folder *f = watch_find(w, folder);

	if (f != NULL)
		debounce_add(f->debounce, path, kind, subtree, now);
}

/* The directory that moves, where it was; NONE: no longer, or a file. */
static uint32_t
watch_move_node(const struct watch *w)
{
	const struct slice path = buf_slice(&w->move.path);
	const size_t slash = slice_rfind(path, '/');
	const uint32_t dir = dirtree_find(w->tree, w->move.wd);

	if (dir == DIRTREE_NONE || !w->move.is_dir)
		return DIRTREE_NONE;
	return dirtree_child(w->tree, dir,
	    slash == SIZE_MAX ? path : slice_from(path, slash + 1));
}

/* The second half did not come: it went out of the folders. */
static void
watch_move_ends(struct watch *w)
{
	uint32_t node;

	if (!w->move.waits)
		return;
	w->move.waits = false;
	node = watch_move_node(w);
	if (node != DIRTREE_NONE)
		dirtree_remove(w->tree, node);
}

static void
watch_moved_from(struct watch *w, uint32_t dir, const struct watch_event *ev,
    struct slice path, uint64_t now)
{
	struct watch_move *m = &w->move;

	m->waits = true;
	m->folder = dirtree_folder(w->tree, dir);
	m->cookie = ev->cookie;
	m->is_dir = ev->is_dir;
	m->wd = ev->wd;
	m->due = now + WATCH_PAIR_WAIT;
	buf_clear(&m->path);
	buf_put(&m->path, path);
	watch_hint(w, m->folder, path, DEBOUNCE_GONE, ev->is_dir, now);
}

static void
watch_moved_to(struct watch *w, uint32_t dir, const struct watch_event *ev,
    struct slice path, uint64_t now)
{
	struct watch_move *m = &w->move;
	const uint32_t folder = dirtree_folder(w->tree, dir);
	struct watched_folder *f = watch_find(w, folder);
	const bool pair =
	    m->waits && m->cookie == ev->cookie && m->folder == folder;

	if (f == NULL)
		return;

	if (pair) {
		const uint32_t node = watch_move_node(w);

		m->waits = false;
		if (node != DIRTREE_NONE)
			dirtree_move(w->tree, node, dir, ev->name);
		debounce_move(f->debounce, buf_slice(&m->path), path,
		    ev->is_dir, now);
		return;
	}
	watch_move_ends(w);
	if (ev->is_dir) { /* what we watched under that name is no more */
		const uint32_t old = dirtree_child(w->tree, dir, ev->name);

		if (old != DIRTREE_NONE)
			dirtree_remove(w->tree, old);
	}
	debounce_add(f->debounce, path, DEBOUNCE_SETTLED, ev->is_dir, now);
}

/* The marker or the trash can; only the marker's end matters. */
static void
watch_internal(struct watch *w, uint32_t folder, const struct watch_event *ev,
    struct slice path, uint64_t now)
{
	if (slice_equal(path, SLICE_LIT(".stfolder")) &&
	    (ev->what == WATCH_REMOVED || ev->what == WATCH_MOVED_FROM ||
		ev->what == WATCH_MOVED_TO || ev->what == WATCH_CREATED))
		watch_hint(w, folder, SLICE_EMPTY, DEBOUNCE_SETTLED, false,
		    now);
}

static void
watch_self(struct watch *w, uint32_t dir, const struct watch_event *ev,
    uint64_t now)
{
	const uint32_t folder = dirtree_folder(w->tree, dir);
	const struct slice path = watch_path(w, dir, SLICE_EMPTY);

	/* A directory below the root: its parent tells of its end. */
	if (ev->what == WATCH_SELF_GONE && path.len == 0)
		watch_hint(w, folder, path, DEBOUNCE_SETTLED, false, now);
	if (ev->what == WATCH_ENDED) {
		/* Unmounted, or its end is not told yet: look there. */
		watch_hint(w, folder, path, DEBOUNCE_SETTLED, true, now);
		dirtree_unwatch(w->tree, ev->wd);
	}
}

void
watch_event(struct watch *w, const struct watch_event *ev, uint64_t now)
{
	const uint32_t dir = dirtree_find(w->tree, ev->wd);
	struct slice path;
	uint32_t folder;

	if (dir == DIRTREE_NONE) {
		if (ev->what != WATCH_ENDED)
			watch_add_stray(w, ev->wd);
		return;
	}
	if (ev->name.len == 0) {
		watch_self(w, dir, ev, now);
		return;
	}
	folder = dirtree_folder(w->tree, dir);
	path = watch_path(w, dir, ev->name);
	if (w->move.waits && ev->what != WATCH_MOVED_TO)
		watch_move_ends(w);
	if (change_is_internal(path)) {
		if (w->move.waits && w->move.cookie == ev->cookie)
			watch_move_ends(w);
		watch_internal(w, folder, ev, path, now);
		return;
	}
	switch (ev->what) {
	case WATCH_CREATED:
		watch_hint(w, folder, path,
		    ev->is_dir ? DEBOUNCE_SETTLED : DEBOUNCE_CREATED,
		    ev->is_dir, now);
		break;
	case WATCH_MODIFIED:
		watch_hint(w, folder, path, DEBOUNCE_GROWING, false, now);
		break;
	case WATCH_CLOSED:
		watch_hint(w, folder, path, DEBOUNCE_SETTLED, false, now);
		break;
	case WATCH_TOUCHED:
		watch_hint(w, folder, path, DEBOUNCE_TOUCHED, false, now);
		break;
	case WATCH_REMOVED:
		if (ev->is_dir) {
			const uint32_t gone =
			    dirtree_child(w->tree, dir, ev->name);

			if (gone != DIRTREE_NONE)
				dirtree_remove(w->tree, gone);
		}
		watch_hint(w, folder, path, DEBOUNCE_GONE, ev->is_dir, now);
		break;
	case WATCH_MOVED_FROM:
		watch_moved_from(w, dir, ev, path, now);
		break;
	case WATCH_MOVED_TO:
		watch_moved_to(w, dir, ev, path, now);
		break;
	case WATCH_SELF_GONE:
	case WATCH_ENDED:
		break; /* have no name */
	}
}

void
watch_overflow(struct watch *w, uint64_t now)
{
	watch_move_ends(w);
	for (size_t i = 0; i < w->folder.len; i++)
		if (w->folder.item[i] != NULL)
			debounce_overflow(w->folder.item[i]->debounce, now);
}

/* ---- batches ---- */

uint64_t
watch_due(const struct watch *w)
{
	uint64_t due = w->move.waits ? w->move.due : UINT64_MAX;

	for (size_t i = 0; i < w->folder.len; i++) {
		const struct watched_folder *f = w->folder.item[i];
		const uint64_t d =
		    f == NULL ? UINT64_MAX : debounce_due(f->debounce);

		if (d < due)
			due = d;
	}
	return due;
}

bool
watch_take(struct watch *w, uint64_t now, struct change_batch *out,
    struct arena *arena)
{
	const uint32_t count = (uint32_t)w->folder.len;

	if (w->move.waits && w->move.due <= now)
		watch_move_ends(w);
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t at = (w->turn + i) % count;
		struct watched_folder *f = w->folder.item[at];

		if (f == NULL || !debounce_take(f->debounce, now, out, arena))
			continue;
		out->cover = watch_cover_of(f);
		f->said = out->cover;
		w->turn = at + 1;
		return true;
	}
	return false;
}
