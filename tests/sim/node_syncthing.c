/*
 * A model of a real Syncthing: what BEP-FACTS.md says it does, and nothing of
 * our engine.
 *
 * Its winner rule (6.6, of 1.x and of 2.x: there a deletion that is newer beats
 * an edit it did not see), its test for conflicts, its conflict copies, its
 * re-announcement of what it pulled under the very version it pulled, its
 * index handling (5.1), its order of work (6.8).  Deliberately simple where
 * that does not matter to others: it looks at everything when something
 * changed, fetches one file at a time, does each thing at once, and its disk
 * and database forget nothing.  It looks at inode and ctime, which a real one
 * does not (docs/testing.md, End to end).  What it replaces goes to its trash
 * can.
 */
#include <string.h>

#include "blockproto/blocks.h"
#include "engine/base/hash.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/path.h"
#include "engine/conflict.h"
#include "sim.h"

#define SCAN_NS (200 * CLOCK_MS)
#define RETRY_NS (60 * CLOCK_S)
#define TEMP_NAME SLICE_LIT("st.tmp")

/* One path. */
struct item {
	struct slice path;
	bool have; /* `e` is what we say of it */
	struct entry e;
	bool present; /* on disk, and then as `seen` */
	struct identity seen;
	uint64_t mark;
	uint64_t retry_ns;
	struct entry *said[SIM_NODES]; /* NULL: nothing */
};

struct fetch {
	struct item *it; /* NULL: none */
	struct entry want;
	uint32_t from, block;
	uint8_t *data;
	bool tried[SIM_NODES];
};

struct syncthing {
	struct map by_path;
	VEC(struct item *) all; /* in byte order of paths */
	int64_t seq;
	uint64_t index_id, mark;
	uint64_t scan_ns, pull_ns; /* when; CLOCK_NEVER */
	struct fetch fetch;
	int32_t next_id;
	/* By device. */
	bool runs[SIM_NODES]; /* its ClusterConfig lists the folder */
	bool full[SIM_NODES];
	int64_t sent[SIM_NODES];
	uint64_t their_id[SIM_NODES];
	int64_t their_max[SIM_NODES];
};

static struct arena *
arena_of(const struct node *nd)
{
	return &nd->sim->arena;
}

static int64_t
wall_s(const struct node *nd)
{
	return sim_now(nd).wall_ns / (int64_t)CLOCK_S;
}

/* The disk: one effect, done at once and for good */

static int
act(struct node *nd, struct effect *ef, struct event *done)
{
	vdisk_set_time(nd->disk, sim_now(nd).wall_ns);
	vdisk_do(nd->disk, ef, done, arena_of(nd));
	vdisk_flush(nd->disk);
	return done->u.done.code;
}

static int
act_temp(struct node *nd, enum effect_kind kind, struct slice path)
{
	struct effect ef = { .kind = kind, .path = path, .temp = TEMP_NAME };
	struct event done;

	return act(nd, &ef, &done);
}

/* Items */

static struct item *
item_of(struct node *nd, struct slice path)
{
	struct syncthing *st = nd->impl;
	struct item *it = map_find(&st->by_path, path);
	size_t i;

	if (it != NULL)
		return it;
	it = arena_zalloc(arena_of(nd), sizeof(*it));
	it->path = arena_dup(arena_of(nd), path);
	map_put(&st->by_path, it->path, it);
	*VEC_ADD(&st->all) = it;
	for (i = st->all.len - 1;
	     i > 0 && slice_cmp(path, st->all.item[i - 1]->path) < 0; i--)
		st->all.item[i] = st->all.item[i - 1];
	st->all.item[i] = it;
	return it;
}

/* What we say of it from now on. */
static void
say(struct node *nd, struct item *it, const struct entry *e)
{
	struct syncthing *st = nd->impl;

	it->e = *e;
	it->e.name = it->path;
	it->e.sequence = ++st->seq;
	it->have = true;
}

static bool
is_ignored(struct slice path)
{
	const struct slice name = path_base(path);

	return entry_is_internal(path) ||
	       (name.len >= 4 &&
		   memcmp(name.ptr + name.len - 4, ".ign", 4) == 0);
}

/* The winner: Syncthing's rule, not transitive as it is */

static bool
beats(const struct sim *s, const struct entry *a, const struct entry *b)
{
	const enum version_order order =
	    version_compare(a->version, b->version);

	if (order == VERSION_NEWER || order == VERSION_OLDER)
		return order == VERSION_NEWER;
	if (a->invalid != b->invalid)
		return b->invalid;
	if (order == VERSION_EQUAL)
		return false;
	if (s->syncthing_v1 && a->deleted != b->deleted)
		return b->deleted;
	if (a->mtime_s != b->mtime_s)
		return a->mtime_s > b->mtime_s;
	if (a->mtime_ns != b->mtime_ns)
		return a->mtime_ns > b->mtime_ns;
	return version_beats(a->version, b->version);
}

/* Sorted one by one, ours first; the first that is valid. */
static const struct entry *
global_of(const struct node *nd, const struct item *it)
{
	const struct entry *list[SIM_NODES + 1];
	uint32_t n = 0;

	if (it->have)
		list[n++] = &it->e;
	for (uint32_t i = 0; i < nd->sim->nodes; i++) {
		uint32_t k = n;

		if (it->said[i] == NULL)
			continue;
		for (; k > 0 && beats(nd->sim, it->said[i], list[k - 1]); k--)
			list[k] = list[k - 1];
		list[k] = it->said[i];
		n++;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!list[i]->invalid)
			return list[i];
	return NULL; /* nobody can serve any */
}

static bool
needs(const struct item *it, const struct entry *g)
{
	if (g == NULL || (it->have && version_equal(it->e.version, g->version)))
		return false;
	if (it->have &&
	    version_compare(it->e.version, g->version) == VERSION_NEWER)
		return false;
	return !g->deleted || (it->have && !it->e.deleted);
}

static bool
is_zero(const struct digest *d)
{
	static const struct digest none;

	return digest_equal(d, &none);
}

static bool
is_conflict(const struct node *nd, const struct item *it, const struct entry *g)
{
	const uint64_t self = devid_short(&nd->id);

	if (!it->present || it->e.type != ENTRY_FILE)
		return false;
	if (nd->sim->syncthing_v1)
		return version_compare(it->e.version, g->version) ==
			   VERSION_CONCURRENT ||
		       version_counter(g->version, self) >
			   version_counter(it->e.version, self);
	if (version_covers(g->version, it->e.version))
		return false;
	return is_zero(&g->previous_blocks_hash) ||
	       !digest_equal(&g->previous_blocks_hash, &it->e.blocks_hash);
}

/* Scanning */

static void
changed_here(struct node *nd, struct item *it, struct entry *e)
{
	const struct version old =
	    it->have ? it->e.version : (struct version){ NULL, 0 };

	e->modified_by = devid_short(&nd->id);
	e->version =
	    version_bump(old, e->modified_by, wall_s(nd), arena_of(nd));
	say(nd, it, e);
}

static bool
is_as_said(const struct item *it, const struct dir_entry *de)
{
	if (!it->present || it->seen.type != de->seen.type)
		return false;
	if (de->seen.type == IDENTITY_DIR)
		return (it->e.perms & 0777) == (de->seen.mode & 0777);
	return identity_same(&it->seen, &de->seen);
}

static void
look_at_file(struct node *nd, struct item *it, const struct identity *seen)
{
	struct effect ef = { .kind = EFFECT_HASH_FILE, .path = it->path };
	struct entry e = { .type = ENTRY_FILE, .perms = seen->mode & 0777 };
	struct event done;
	struct digest *hash;

	e.block_size = ef.u.hash.block_size = blocks_size_for(seen->size);
	if (act(nd, &ef, &done) != 0)
		return;
	hash = arena_array(arena_of(nd), done.u.done.hash_count + 1,
	    sizeof(*hash));
	memcpy(hash, done.u.done.hash, done.u.done.hash_count * sizeof(*hash));
	e.block = hash;
	e.block_count = done.u.done.hash_count;
	e.size = seen->size;
	e.mtime_s = seen->mtime_s;
	e.mtime_ns = seen->mtime_ns;
	blocks_digest(hash, e.block_count, &e.blocks_hash);
	if (!nd->sim->syncthing_v1 && it->present && it->e.type == ENTRY_FILE)
		e.previous_blocks_hash = it->e.blocks_hash;
	it->seen = done.u.done.seen;
	it->present = true;
	changed_here(nd, it, &e);
}

static void
look_at(struct node *nd, struct item *it, const struct dir_entry *de)
{
	struct entry e = { .perms = de->seen.mode & 0777 };

	if (is_as_said(it, de)) {
		it->seen = de->seen; /* a directory may be another one */
		return;
	}
	if (de->seen.type == IDENTITY_FILE) {
		look_at_file(nd, it, &de->seen);
		return;
	}
	e.type = de->seen.type == IDENTITY_DIR ? ENTRY_DIR : ENTRY_LINK;
	if (e.type == ENTRY_LINK) {
		e.no_perms = true;
		e.perms = 0;
		e.link_target = arena_dup(arena_of(nd), de->link_target);
	}
	it->seen = de->seen;
	it->present = true;
	changed_here(nd, it, &e);
}

static void
scan_dir(struct node *nd, struct slice dir)
{
	struct syncthing *st = nd->impl;
	struct effect ef = { .kind = EFFECT_LIST_DIR, .path = dir };
	struct event done;

	if (act(nd, &ef, &done) != 0)
		return;
	for (uint32_t i = 0; i < done.u.done.entry_count; i++) {
		const struct dir_entry *de = &done.u.done.entry[i];
		const struct slice path =
		    dir.len == 0 ? de->name
				 : path_join(arena_of(nd), dir, de->name);
		struct item *it;

		if (is_ignored(path) || de->seen.type == IDENTITY_OTHER)
			continue;
		it = item_of(nd, path);
		it->mark = st->mark;
		look_at(nd, it, de);
		if (de->seen.type == IDENTITY_DIR)
			scan_dir(nd, it->path);
	}
}

static void
scan_all(struct node *nd)
{
	struct syncthing *st = nd->impl;

	st->scan_ns = CLOCK_NEVER;
	st->mark++;
	scan_dir(nd, SLICE_EMPTY);
	for (size_t i = 0; i < st->all.len; i++) {
		struct item *it = st->all.item[i];
		struct entry e = it->e;

		if (!it->present || it->mark == st->mark)
			continue;
		e.deleted = true;
		e.size = 0;
		e.block = NULL;
		e.block_count = 0;
		e.mtime_s = wall_s(nd);
		it->present = false;
		changed_here(nd, it, &e);
	}
}

/* Indexes */

static int
by_sequence(const struct item *a, const struct item *b)
{
	return a->e.sequence < b->e.sequence ? -1 : 1;
}

static void
send_index(struct node *nd, uint32_t to)
{
	struct syncthing *st = nd->impl;
	struct message m = { .type = MESSAGE_INDEX_UPDATE };
	struct entry *e =
	    arena_array(arena_of(nd), st->all.len + 1, sizeof(*e));
	VEC(struct item *) news = { 0 };
	uint32_t n = 0;

	if (!nd->told[to] || !st->runs[to] || st->sent[to] >= st->seq)
		return;
	for (size_t i = 0; i < st->all.len; i++) {
		struct item *it = st->all.item[i];
		size_t k;

		if (!it->have || it->e.sequence <= st->sent[to])
			continue;
		*VEC_ADD(&news) = it;
		for (k = news.len - 1;
		     k > 0 && by_sequence(it, news.item[k - 1]) < 0; k--)
			news.item[k] = news.item[k - 1];
		news.item[k] = it;
	}
	for (size_t i = 0; i < news.len; i++)
		e[n++] = news.item[i]->e;
	VEC_FINI(&news);
	if (st->full[to])
		m.type = MESSAGE_INDEX;
	m.u.index = (struct index_message){ .folder = SLICE_LIT("f"),
		.entry = e,
		.entry_count = n,
		.last_sequence = n > 0 ? e[n - 1].sequence : 0,
		.prev_sequence = st->full[to] ? 0 : st->sent[to] };
	st->full[to] = false;
	st->sent[to] = st->seq;
	if (n > 0)
		sim_send(nd, to, &m, NULL);
}

static void
send_indexes(struct node *nd)
{
	for (uint32_t i = 0; i < nd->sim->nodes; i++)
		send_index(nd, i);
}

static void
forget_theirs(struct node *nd, uint32_t from)
{
	struct syncthing *st = nd->impl;

	for (size_t i = 0; i < st->all.len; i++)
		st->all.item[i]->said[from] = NULL;
	st->their_max[from] = 0;
}

static void
config_came(struct node *nd, uint32_t from, const struct cluster_config *cc)
{
	struct syncthing *st = nd->impl;
	const struct cc_folder *f = NULL;

	for (uint32_t i = 0; i < cc->folder_count; i++)
		if (slice_equal(cc->folder[i].id, SLICE_LIT("f")))
			f = &cc->folder[i];
	st->runs[from] = f != NULL && !f->paused;
	/* Of a folder that does not run nothing else is read. */
	for (uint32_t i = 0; st->runs[from] && i < f->device_count; i++) {
		const struct cc_device *d = &f->device[i];

		if (devid_equal(&d->id, &nd->id)) {
			const bool delta = d->index_id == st->index_id &&
					   d->max_sequence > 0 &&
					   d->max_sequence <= st->seq;

			st->full[from] = !delta;
			st->sent[from] = delta ? d->max_sequence : 0;
		} else if (devid_equal(&d->id, &nd->sim->node[from].id) &&
			   (d->index_id == 0 ||
			       d->index_id != st->their_id[from])) {
			forget_theirs(nd, from);
			st->their_id[from] = d->index_id;
		}
	}
	st->pull_ns = nd->sim->now.mono_ns + CLOCK_MS;
	send_index(nd, from);
}

static void
index_came(struct node *nd, uint32_t from, const struct message *m)
{
	struct syncthing *st = nd->impl;

	if (m->type == MESSAGE_INDEX)
		forget_theirs(nd, from);
	for (uint32_t i = 0; i < m->u.index.entry_count; i++) {
		const struct entry *e = &m->u.index.entry[i];
		struct item *it = item_of(nd, e->name);
		const struct entry *was = it->said[from];

		if (e->sequence > st->their_max[from])
			st->their_max[from] = e->sequence;
		/* 1.x looks at nothing it has heard the version of. */
		if (nd->sim->syncthing_v1 && was != NULL &&
		    version_equal(was->version, e->version) &&
		    was->invalid == e->invalid)
			continue;
		it->said[from] = arena_alloc(arena_of(nd), sizeof(*e));
		*it->said[from] = entry_dup(e, arena_of(nd));
		/* It is never trusted: computed from what is listed. */
		if (e->block_count > 0 && e->block != NULL)
			blocks_digest(e->block, e->block_count,
			    &it->said[from]->blocks_hash);
		it->retry_ns = 0;
		if (nd->sim->debug)
			sim_say(nd, "  hears of %s: %.*s%s %s",
			    nd->sim->node[from].name, SLICE_FMT(it->path),
			    e->deleted ? " gone" : "",
			    version_text(e->version, arena_of(nd)));
	}
	st->pull_ns = nd->sim->now.mono_ns + CLOCK_MS;
}

/* Pulling */

/* What lies in the temp was at the path. */
static void
file_away(struct node *nd, struct item *it, const struct entry *g,
    bool conflict)
{
	struct syncthing *st = nd->impl;
	struct effect ef = { .kind = EFFECT_PUT_BACK, .temp = TEMP_NAME };
	struct event done;

	if (it->e.type != ENTRY_FILE) {
		act_temp(nd, EFFECT_DROP_TEMP, SLICE_EMPTY);
		return;
	}
	/* A conflict of a conflict is no copy more. */
	if (!conflict || conflict_is_name(it->path)) {
		act_temp(nd, EFFECT_KEEP_VERSION, it->path);
		return;
	}
	sim_count(nd->sim, COUNT_THEIR_CONFLICT);
	for (uint32_t i = 0; i < 9; i++) {
		ef.path = conflict_name(it->path, sim_now(nd).wall_ns, 0,
		    g->modified_by, i, arena_of(nd));
		if (act(nd, &ef, &done) == 0)
			break;
	}
	act_temp(nd, EFFECT_KEEP_VERSION, it->path); /* no name was free */
	st->scan_ns = nd->sim->now.mono_ns + SCAN_NS;
}

/* False: something else is there; look, and try again. */
static bool
take_away(struct node *nd, struct item *it, const struct entry *g)
{
	struct effect ef = { .kind = EFFECT_REMOVE,
		.path = it->path,
		.temp = TEMP_NAME,
		.want = it->seen };
	const bool conflict = is_conflict(nd, it, g);
	struct event done;

	if (!it->present)
		return true;
	/* Of something that could not be put. */
	act_temp(nd, EFFECT_DROP_TEMP, SLICE_EMPTY);
	if (act(nd, &ef, &done) != 0)
		return false;
	if (it->seen.type != IDENTITY_DIR)
		file_away(nd, it, g, conflict);
	it->present = false;
	return true;
}

static struct effect_meta
meta_of(const struct entry *g)
{
	return (struct effect_meta){ .set_perms = !g->no_perms,
		.perms = g->perms & 0777,
		.set_mtime = g->type == ENTRY_FILE,
		.mtime_s = g->mtime_s,
		.mtime_ns = g->mtime_ns };
}

/* Is what is on disk a directory still? */
static bool
is_dir_there(struct node *nd, const struct item *it)
{
	struct effect ef = { .kind = EFFECT_STAT, .path = it->path };
	struct event done;

	return act(nd, &ef, &done) == 0 &&
	       done.u.done.seen.type == IDENTITY_DIR;
}

/* Something that needs no bytes of others. */
static bool
put_simple(struct node *nd, struct item *it, const struct entry *g)
{
	struct effect ef = { .path = it->path, .temp = TEMP_NAME };
	struct event done;

	if (it->present && it->e.type == g->type &&
	    (g->type == ENTRY_DIR || entry_same_content(&it->e, g))) {
		if (g->type == ENTRY_DIR && !is_dir_there(nd, it))
			return false;
		ef.kind = EFFECT_SET_META;
		ef.want =
		    g->type == ENTRY_DIR ? (struct identity){ 0 } : it->seen;
	} else if (!take_away(nd, it, g)) {
		return false;
	} else {
		ef.kind =
		    g->type == ENTRY_DIR ? EFFECT_MAKE_DIR : EFFECT_MAKE_LINK;
	}
	if (ef.kind == EFFECT_MAKE_LINK)
		ef.u.link.target = g->link_target;
	else
		ef.u.meta = meta_of(g);
	if (act(nd, &ef, &done) != 0)
		return false;
	it->seen = done.u.done.seen;
	it->present = true;
	return true;
}

/* All bytes are here. */
static bool
put_file(struct node *nd, struct item *it, const struct entry *g,
    const uint8_t *data)
{
	struct effect ef = { .kind = EFFECT_WRITE_TEMP, .temp = TEMP_NAME };
	const bool conflict = is_conflict(nd, it, g);
	const bool had = it->present && it->seen.type != IDENTITY_DIR;
	struct event done;
	int rc;

	if (it->present && !had && !take_away(nd, it, g))
		return false;
	act_temp(nd, EFFECT_DROP_TEMP, SLICE_EMPTY);
	ef.u.write.payload = payload_new((size_t)g->size);
	if (g->size > 0)
		memcpy(ef.u.write.payload->data, data, (size_t)g->size);
	ef.u.write.file_size = g->size;
	ef.u.write.seal = true;
	ef.u.write.meta = meta_of(g);
	rc = act(nd, &ef, &done);
	payload_free(ef.u.write.payload);
	if (rc != 0)
		return false;
	ef = (struct effect){ .kind = EFFECT_FINISH_FILE,
		.temp = TEMP_NAME,
		.path = it->path };
	if (had)
		ef.want = it->seen;
	if (act(nd, &ef, &done) != 0)
		return false;
	if (had)
		file_away(nd, it, g, conflict);
	it->seen = done.u.done.seen;
	it->present = true;
	return true;
}

static void
say_pulled(struct node *nd, struct item *it, const struct entry *g)
{
	struct entry e = *g;

	sim_say(nd, "has %.*s%s", SLICE_FMT(it->path),
	    g->deleted ? " gone" : "");
	say(nd, it, &e);
}

static void
pull_failed(struct node *nd, struct item *it)
{
	struct syncthing *st = nd->impl;

	it->retry_ns = nd->sim->now.mono_ns + RETRY_NS;
	if (st->scan_ns == CLOCK_NEVER)
		st->scan_ns = nd->sim->now.mono_ns + SCAN_NS;
}

static void
fetch_next(struct node *nd)
{
	struct syncthing *st = nd->impl;
	struct fetch *fe = &st->fetch;
	struct message m = { .type = MESSAGE_REQUEST };
	const int64_t offset = (int64_t)fe->block * fe->want.block_size;

	m.u.request = (struct request){ .id = ++st->next_id,
		.folder = SLICE_LIT("f"),
		.name = fe->want.name,
		.offset = offset,
		.size = (int32_t)blocks_len(fe->want.size, fe->want.block_size,
		    fe->block),
		.hash = slice_of(fe->want.block[fe->block].b,
		    sizeof(fe->want.block[0].b)),
		.block_no = (int32_t)fe->block };
	sim_send(nd, fe->from, &m, NULL);
}

/* From a device that has this version and is not tried yet. */
static bool
fetch_from(struct node *nd)
{
	struct syncthing *st = nd->impl;
	struct fetch *fe = &st->fetch;

	for (uint32_t i = 0; i < nd->sim->nodes; i++) {
		const struct entry *e = fe->it->said[i];

		if (e == NULL || fe->tried[i] || !nd->told[i] || !st->runs[i] ||
		    e->invalid || e->deleted ||
		    !version_equal(e->version, fe->want.version))
			continue;
		fe->tried[i] = true;
		fe->from = i;
		fe->block = 0;
		fetch_next(nd);
		return true;
	}
	pull_failed(nd, fe->it);
	fe->it = NULL;
	return false;
}

/* True: it is being fetched, and everything else waits. */
static bool
pull_file(struct node *nd, struct item *it, const struct entry *g)
{
	struct syncthing *st = nd->impl;

	if (it->present && it->e.type == ENTRY_FILE &&
	    entry_same_content(&it->e, g)) {
		if (put_simple(nd, it, g))
			say_pulled(nd, it, g);
		else
			pull_failed(nd, it);
		return false;
	}
	if (g->size == 0) {
		if (put_file(nd, it, g, NULL))
			say_pulled(nd, it, g);
		else
			pull_failed(nd, it);
		return false;
	}
	if (g->block_count != blocks_count(g->size, g->block_size) ||
	    g->block == NULL)
		return false;
	memset(&st->fetch, 0, sizeof(st->fetch));
	st->fetch.it = it;
	st->fetch.want = entry_dup(g, arena_of(nd));
	st->fetch.data = arena_alloc(arena_of(nd), (size_t)g->size + 1);
	return fetch_from(nd);
}

static bool
is_waiting(const struct node *nd, const struct item *it)
{
	return it->retry_ns > nd->sim->now.mono_ns;
}

/* Known, and not wanted. */
static void
say_ignored(struct node *nd, struct item *it, const struct entry *g)
{
	struct entry e = *g;

	e.invalid = true;
	e.block = NULL;
	e.block_count = 0;
	say(nd, it, &e);
}

static void
pull_deletions(struct node *nd)
{
	struct syncthing *st = nd->impl;

	for (size_t i = st->all.len; i-- > 0;) {
		struct item *it = st->all.item[i];
		const struct entry *g = global_of(nd, it);

		if (!needs(it, g) || !g->deleted || is_waiting(nd, it))
			continue;
		/* It removes no directory for what is called a file. */
		if (it->e.type == ENTRY_DIR && g->type != ENTRY_DIR)
			pull_failed(nd, it);
		else if (take_away(nd, it, g))
			say_pulled(nd, it, g);
		else
			pull_failed(nd, it);
	}
}

static void
pull_all(struct node *nd)
{
	struct syncthing *st = nd->impl;

	st->pull_ns = CLOCK_NEVER;
	if (st->fetch.it != NULL)
		return;
	for (size_t i = 0; i < st->all.len; i++) {
		struct item *it = st->all.item[i];
		const struct entry *g = global_of(nd, it);

		if (!needs(it, g) || is_waiting(nd, it))
			continue;
		if (is_ignored(it->path)) {
			if (!entry_is_internal(it->path))
				say_ignored(nd, it, g);
			continue;
		}
		if (g->deleted)
			continue;
		if (g->type == ENTRY_FILE) {
			if (pull_file(nd, it, g))
				return;
		} else if (put_simple(nd, it, g)) {
			say_pulled(nd, it, g);
		} else {
			pull_failed(nd, it);
		}
	}
	pull_deletions(nd);
	send_indexes(nd);
}

static void
response_came(struct node *nd, uint32_t from, const struct response *rs)
{
	struct syncthing *st = nd->impl;
	struct fetch *fe = &st->fetch;
	const struct entry *g = &fe->want;
	struct digest d;

	if (fe->it == NULL || from != fe->from || rs->id != st->next_id)
		return;
	digest_of(rs->data, &d);
	if (rs->code != RESPONSE_OK ||
	    rs->data.len != blocks_len(g->size, g->block_size, fe->block) ||
	    !digest_equal(&d, &g->block[fe->block])) {
		if (!fetch_from(nd))
			pull_all(nd);
		return;
	}
	memcpy(fe->data + (size_t)fe->block * g->block_size, rs->data.ptr,
	    rs->data.len);
	if (++fe->block < g->block_count) {
		fetch_next(nd);
		return;
	}
	/* Is it wanted still? */
	if (needs(fe->it, g) && global_of(nd, fe->it) != NULL &&
	    version_equal(global_of(nd, fe->it)->version, g->version)) {
		if (put_file(nd, fe->it, g, fe->data))
			say_pulled(nd, fe->it, g);
		else
			pull_failed(nd, fe->it);
	}
	fe->it = NULL;
	pull_all(nd);
}

static void
request_came(struct node *nd, uint32_t to, const struct request *rq)
{
	struct syncthing *st = nd->impl;
	struct item *it = map_find(&st->by_path, rq->name);
	struct effect ef = { .kind = EFFECT_READ_BLOCK, .path = rq->name };
	struct message m = { .type = MESSAGE_RESPONSE };
	struct event done = { 0 };

	m.u.response.id = rq->id;
	m.u.response.code = RESPONSE_NO_SUCH_FILE;
	ef.u.read.offset = rq->offset;
	ef.u.read.len = (uint32_t)rq->size;
	if (it != NULL && it->present && !rq->from_temporary &&
	    rq->hash.len == sizeof(ef.u.read.hash.b) && rq->offset >= 0 &&
	    rq->size > 0) {
		ef.u.read.verify = true;
		memcpy(ef.u.read.hash.b, rq->hash.ptr, rq->hash.len);
		if (act(nd, &ef, &done) == 0) {
			m.u.response.code = RESPONSE_OK;
			m.u.response.data = payload_slice(done.u.done.payload);
		}
	}
	sim_send(nd, to, &m,
	    m.u.response.code == RESPONSE_OK ? done.u.done.payload : NULL);
}

/* What happens to it */

static void
wake(struct node *nd)
{
	const struct syncthing *st = nd->impl;

	nd->wake_at_ns = st->scan_ns < st->pull_ns ? st->scan_ns : st->pull_ns;
	for (size_t i = 0; i < st->all.len; i++)
		if (is_waiting(nd, st->all.item[i]) &&
		    st->all.item[i]->retry_ns < nd->wake_at_ns)
			nd->wake_at_ns = st->all.item[i]->retry_ns;
}

static void
tick(struct node *nd)
{
	struct syncthing *st = nd->impl;

	if (st->scan_ns <= nd->sim->now.mono_ns) {
		scan_all(nd);
		send_indexes(nd);
	}
	pull_all(nd);
	wake(nd);
}

static void
scan(struct node *nd)
{
	struct syncthing *st = nd->impl;

	st->scan_ns = nd->sim->now.mono_ns;
	nd->wake_at_ns = st->scan_ns;
}

static void
start(struct node *nd)
{
	struct effect ef = { .kind = EFFECT_OPEN_FOLDER };
	struct event done;
	struct syncthing *st = nd->impl;

	if (st == NULL) {
		nd->impl = st = mem_zalloc(sizeof(*st));
		st->index_id = 7777 + nd->number;
	}
	act(nd, &ef, &done);
	ef.kind = EFFECT_MAKE_MARKER;
	act(nd, &ef, &done);
	memset(&st->fetch, 0, sizeof(st->fetch));
	memset(st->runs, 0, sizeof(st->runs));
	st->pull_ns = CLOCK_NEVER;
	scan(nd);
}

static void
stop(struct node *nd, bool power)
{
	(void)nd;
	(void)power;
}

static void
say_config(struct node *nd, uint32_t to)
{
	const struct syncthing *st = nd->impl;
	const struct sim *s = nd->sim;
	struct cc_device device[SIM_NODES] = { 0 };
	struct cc_folder folder = { .id = SLICE_LIT("f"), .device = device };
	struct message m = { .type = MESSAGE_CLUSTER_CONFIG };

	for (uint32_t i = 0; i < s->nodes; i++) {
		struct cc_device *d = &device[folder.device_count];

		if (i != nd->number && !nd->knows[i])
			continue;
		d->id = s->node[i].id;
		d->index_id = i == nd->number ? st->index_id : st->their_id[i];
		d->max_sequence = i == nd->number ? st->seq : st->their_max[i];
		folder.device_count++;
	}
	m.u.cluster_config.folder = &folder;
	m.u.cluster_config.folder_count = 1;
	sim_send(nd, to, &m, NULL);
}

static void
peer(struct node *nd, uint32_t other, bool up)
{
	struct syncthing *st = nd->impl;

	st->runs[other] = false;
	if (up) {
		say_config(nd, other);
	} else if (st->fetch.it != NULL && st->fetch.from == other) {
		if (!fetch_from(nd))
			st->pull_ns = nd->sim->now.mono_ns + CLOCK_MS;
	}
	for (size_t i = 0; i < st->all.len; i++)
		st->all.item[i]->retry_ns = 0;
	wake(nd);
}

static void
message(struct node *nd, uint32_t from, const struct message *m,
    struct payload *p)
{
	switch (m->type) {
	case MESSAGE_CLUSTER_CONFIG:
		config_came(nd, from, &m->u.cluster_config);
		break;
	case MESSAGE_INDEX:
	case MESSAGE_INDEX_UPDATE:
		index_came(nd, from, m);
		break;
	case MESSAGE_REQUEST:
		request_came(nd, from, &m->u.request);
		break;
	case MESSAGE_RESPONSE:
		response_came(nd, from, &m->u.response);
		break;
	case MESSAGE_PROGRESS:
	case MESSAGE_PING:
	case MESSAGE_CLOSE:
	case MESSAGE_CHUNKS_REQUEST:
	case MESSAGE_CHUNKS:
	case MESSAGE_ECHO:
	case MESSAGE_SIGNAL:
	case MESSAGE_MEMBERS:
	case MESSAGE_FORWARD:
	case MESSAGE_UNKNOWN:
		break;
	}
	payload_free(p);
	wake(nd);
}

static uint32_t
features(const struct node *nd)
{
	(void)nd;
	return 0;
}

static void
effect(struct node *nd, struct job *job)
{
	(void)nd;
	(void)job;
}

static void
abandon(struct node *nd, struct job *job, bool done)
{
	(void)done;
	effect(nd, job);
}

static void
hints(struct node *nd, const struct job *job)
{
	struct syncthing *st = nd->impl;

	(void)job;
	if (st->scan_ns == CLOCK_NEVER)
		st->scan_ns = nd->sim->now.mono_ns + SCAN_NS;
	wake(nd);
}

static void
setup(struct node *nd)
{
	struct syncthing *st = nd->impl;

	for (uint32_t i = 0; i < nd->sim->nodes; i++)
		if (!nd->knows[i]) {
			forget_theirs(nd, i);
			st->their_id[i] = 0;
		}
	for (uint32_t i = 0; i < nd->sim->nodes; i++)
		if (nd->told[i])
			say_config(nd, i);
	st->pull_ns = nd->sim->now.mono_ns + CLOCK_MS;
	wake(nd);
}

static void
resolve(struct node *nd, bool theirs)
{
	(void)nd;
	(void)theirs;
}

static bool
confirm(struct node *nd)
{
	(void)nd;
	return false;
}

static bool
is_well(struct node *nd)
{
	const struct syncthing *st = nd->impl;

	for (size_t i = 0; i < st->all.len; i++) {
		const struct item *it = st->all.item[i];

		if (!is_ignored(it->path) && needs(it, global_of(nd, it)))
			oracle_fault(&nd->sim->oracle,
			    "no quiet: %s, a Syncthing, needs %.*s", nd->name,
			    SLICE_FMT(it->path));
	}
	return nd->sim->oracle.why[0] == '\0';
}

static void
free_node(struct node *nd)
{
	struct syncthing *st = nd->impl;

	if (st != NULL) {
		map_fini(&st->by_path);
		VEC_FINI(&st->all);
	}
	mem_free(st);
	nd->impl = NULL;
}

const struct node_ops node_syncthing_ops = {
	.name = "syncthing",
	.start = start,
	.stop = stop,
	.peer = peer,
	.message = message,
	.features = features,
	.effect = effect,
	.abandon = abandon,
	.hints = hints,
	.tick = tick,
	.setup = setup,
	.scan = scan,
	.resolve = resolve,
	.confirm = confirm,
	.is_well = is_well,
	.free = free_node,
};
