/*
 * A device that lies: it has the folder's key and says whatever it likes.
 *
 * All of it is well framed: entries with hostile names, sizes, vectors and
 * numbers, deletions of what others wrote, requests out of range, answers that
 * nobody asked for or with other bytes than were announced, indexes for folders
 * that are not shared, real messages changed at a place, and random bodies.
 *
 * What may come of it: what a device with the folder's write access may do.
 * Nobody crashes, writes outside or shows bytes that were not announced; what
 * it takes away is in trash cans; and without it the others agree.
 */
#include <string.h>

#include "blockproto/blocks.h"
#include "engine/base/buf.h"
#include "engine/base/hash.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "history.h"

#define HEARD_MAX 16u
#define COUNTERS_MANY (LIMIT_COUNTERS + 1)

struct said {
	struct digest hash;
	struct slice data;
};

struct liar {
	int64_t seq;
	int64_t changes; /* no version is made twice: see docs/testing.md */
	uint64_t index_id;
	VEC(struct said) said;
	/* What it heard, for later: messages, and entries of others. */
	struct slice body[HEARD_MAX];
	int32_t type[HEARD_MAX];
	uint64_t bodies;
	struct entry entry[HEARD_MAX];
	uint64_t entries;
};

static uint32_t
pick(struct history *h, uint32_t n)
{
	return choice_below(&h->sim.choice, n);
}

/* What it says */

static void
say_config(struct node *nd, uint32_t to)
{
	struct liar *l = nd->impl;
	struct sim *s = nd->sim;
	struct cc_device device[SIM_NODES] = { 0 };
	const struct cc_folder folder = { .id = SLICE_LIT("f"),
		.device = device,
		.device_count = s->nodes };
	struct message m = { .type = MESSAGE_CLUSTER_CONFIG };

	for (uint32_t i = 0; i < s->nodes; i++)
		device[i].id = s->node[i].id;
	device[nd->number].index_id = l->index_id;
	device[nd->number].max_sequence = l->seq;
	m.u.cluster_config.folder = &folder;
	m.u.cluster_config.folder_count = 1;
	sim_send(nd, to, &m, NULL);
}

/* To some `e`, to the others `other`, which may be the same. */
static void
say_entry(struct node *nd, const struct entry *e, const struct entry *other,
    enum message_type type, const char *folder)
{
	struct message m = { .type = type };

	m.u.index.folder = slice_str(folder);
	m.u.index.entry_count = 1;
	m.u.index.last_sequence = e->sequence;
	for (uint32_t i = 0; i < nd->sim->nodes; i++) {
		m.u.index.entry = i % 2 == 0 ? e : other;
		if (nd->told[i])
			sim_send(nd, i, &m, NULL);
	}
}

/* Bytes of its own: nobody will miss them. */
static void
put_content(struct history *h, struct node *nd, struct entry *e)
{
	struct liar *l = nd->impl;
	struct arena *ar = &h->sim.arena;
	struct said *sd = VEC_ADD(&l->said);
	struct digest *hash = arena_zalloc(ar, sizeof(*hash));
	struct token *t;

	sd->data =
	    slice_str(arena_printf(ar, "%s%u.", nd->name, h->next_token++));
	t = oracle_written(&h->sim.oracle, sd->data);
	t->spent = t->touched = t->contested = true;
	digest_of(sd->data, &sd->hash);
	*hash = sd->hash;
	e->type = ENTRY_FILE;
	e->size = (int64_t)sd->data.len;
	e->block_size = 131072;
	e->block = hash;
	e->block_count = 1;
}

/* An entry of somebody else, or a new one. */
static struct entry
some_entry(struct history *h, struct node *nd)
{
	const struct liar *l = nd->impl;
	const uint64_t n = l->entries < HEARD_MAX ? l->entries : HEARD_MAX;
	char path[HISTORY_PATH_LEN];
	struct entry e = { 0 };

	if (n > 0 && pick(h, 4) != 0)
		return l->entry[pick(h, (uint32_t)n)];
	people_path(h, path);
	e.name = arena_dup(&h->sim.arena, slice_str(path));
	put_content(h, nd, &e);
	return e;
}

/* A version above what was heard, or one that nobody would make. */
static struct version
some_version(struct history *h, struct node *nd, struct version v)
{
	struct arena *ar = &h->sim.arena;
	const uint64_t self = devid_short(&nd->id);
	const uint64_t other =
	    devid_short(&h->sim.node[pick(h, h->sim.nodes)].id);
	struct liar *l = nd->impl;
	const int64_t wall =
	    h->sim.now.wall_ns / (int64_t)CLOCK_S + ++l->changes;
	struct counter *c;

	switch (pick(h, 10)) {
	case 0: /* another's counter: of a change it never made */
		return version_bump(v, other, wall + 1000, ar);
	case 1: /* far ahead */
		return version_bump(v, self, INT64_C(4000000000) + l->changes,
		    ar);
	case 2: /* ... of everybody */
		c = arena_zalloc(ar, sizeof(*c));
		*c = (struct counter){ other, UINT64_MAX };
		return (struct version){ c, 1 };
	case 3: /* unsorted, with a zero, one twice */
		c = arena_zalloc(ar, 3 * sizeof(*c));
		c[0] = (struct counter){ self, (uint64_t)wall };
		c[1] = (struct counter){ other, 0 };
		c[2] = (struct counter){ self, (uint64_t)wall + 1 };
		return (struct version){ c, 3 };
	case 4: /* none */
		return (struct version){ NULL, 0 };
	case 5: /* many */
		c = arena_array(ar, COUNTERS_MANY, sizeof(*c));
		for (uint32_t i = 0; i < COUNTERS_MANY; i++)
			c[i] = (struct counter){ i + 1, (uint64_t)wall };
		return (struct version){ c, COUNTERS_MANY };
	default:
		return version_bump(v, self, wall, ar);
	}
}

static struct slice
some_name(struct history *h)
{
	static const char *const odd[] = { "../x", "/etc/x", "a/../../x", "",
		".", "..", "a/..", "a//b", "a/", "./a", ".stfolder",
		".stfolder/holdfast/x", ".stignore", ".stversions/a",
		".syncthing.a.tmp", "d/.stignore", "a/b/c/d/e/f/g/h",
		"\xff\xfe", "e\xcc\x81", "a\nb\x1b[2J", "d\\a", "CON" };
	const uint32_t which = pick(h, 24);
	char *text;
	const size_t len = which == 22 ? 300 : 5000;

	if (which < 22)
		return slice_str(odd[which]);
	text = arena_alloc(&h->sim.arena, len);
	memset(text, 'x', len);
	for (size_t i = 1; which == 23 && i < len; i += 2)
		text[i] = '/';
	return slice_of(text, len - 1);
}

/* One field is what it should not be. */
static void
spoil(struct history *h, struct entry *e)
{
	switch (pick(h, 12)) {
	case 0:
		e->size = -1;
		break;
	case 1:
		e->size = INT64_MAX;
		break;
	case 2:
		e->size += 1;
		break;
	case 3:
		e->block_size = pick(h, 2) == 0 ? 1 : 131073;
		break;
	case 4:
		e->type = ENTRY_DIR;
		break;
	case 5:
		e->type = (enum entry_type)(2 + pick(h, 8));
		break;
	case 6:
		e->deleted = true;
		break;
	case 7:
		e->invalid = true;
		break;
	case 8:
		e->mtime_s = pick(h, 2) == 0 ? INT64_MAX : INT64_MIN;
		break;
	case 9:
		e->mtime_ns = -5;
		break;
	case 10:
		e->block = NULL;
		e->block_count = 0;
		break;
	default:
		e->perms = 07777;
		break;
	}
}

static int64_t
some_sequence(struct history *h, struct liar *l)
{
	static const int64_t odd[] = { 0, -1, 1, INT64_MAX, 2 };
	const uint32_t which = pick(h, 12);

	return which < 5 ? odd[which] : ++l->seq;
}

static void
announce(struct history *h, struct node *nd)
{
	struct liar *l = nd->impl;
	struct entry e = some_entry(h, nd), other;
	const uint32_t what = pick(h, 16);
	const struct version old = e.version;

	e.modified_by = devid_short(&nd->id);
	e.mtime_s = h->sim.now.wall_ns / (int64_t)CLOCK_S;
	if (what < 4 && e.type == ENTRY_FILE)
		put_content(h, nd, &e);
	if (what >= 4 && what < 8) {
		e.deleted = true;
		e.size = 0;
		e.block = NULL;
		e.block_count = 0;
	}
	if (what == 8)
		e.name = some_name(h);
	if (what == 9 || what == 10)
		spoil(h, &e);
	if (what == 11) { /* a way out, and something behind it */
		e = (struct entry){ .name = SLICE_LIT("d"),
			.type = ENTRY_LINK,
			.no_perms = true,
			.link_target = SLICE_LIT("/etc") };
	}
	if (what == 12)
		e.name = arena_dup(&h->sim.arena, SLICE_LIT("d/a"));
	/* What nobody has permissions of has each device's own, as beside a
	 * Windows: the trees would differ for good. */
	if (e.type != ENTRY_LINK)
		e.no_perms = false;
	e.version = some_version(h, nd, old);
	e.sequence = some_sequence(h, l);
	other = e;
	if (h->set.two && e.type == ENTRY_FILE && !e.deleted) {
		/* Of its own version, or of one that others have. */
		if (pick(h, 2) == 0)
			e.version = old;
		other.version = e.version;
		put_content(h, nd, &other);
		sim_count(&h->sim, COUNT_TWO_OF_ONE);
	}
	sim_say(nd, "announces %.*s%s: %s", SLICE_FMT(e.name),
	    e.deleted ? " gone" : "",
	    e.version.count > 9 ? "many"
				: version_text(e.version, &h->sim.arena));
	say_entry(nd, &e, &other,
	    pick(h, 8) == 7 ? MESSAGE_INDEX : MESSAGE_INDEX_UPDATE,
	    what == 15 ? "other" : "f");
}

static void
ask(struct history *h, struct node *nd, uint32_t to)
{
	static const int64_t offset[] = { 0, -1, INT64_MAX, 131072, 5 };
	static const int32_t size[] = { 131072, 0, -1, INT32_MAX, 3 };
	const struct entry e = some_entry(h, nd);
	struct message m = { .type = MESSAGE_REQUEST };

	m.u.request = (struct request){ .id = (int32_t)pick(h, 3) - 1,
		.folder = pick(h, 8) == 7 ? SLICE_LIT("g") : SLICE_LIT("f"),
		.name = pick(h, 4) == 3 ? some_name(h) : e.name,
		.offset = offset[pick(h, 5)],
		.size = size[pick(h, 5)],
		.from_temporary = pick(h, 4) == 3,
		.block_no = (int32_t)pick(h, 5) - 1 };
	if (e.block_count == 1 && e.block != NULL && pick(h, 2) == 0)
		m.u.request.hash = slice_of(e.block->b, sizeof(e.block->b));
	sim_send(nd, to, &m, NULL);
}

static void
answer_nobody(struct history *h, struct node *nd, uint32_t to)
{
	struct message m = { .type = MESSAGE_RESPONSE };
	struct payload *p = payload_new(1 + pick(h, 40));

	memset(p->data, 'z', p->len);
	m.u.response.id = (int32_t)pick(h, 4) - 1;
	m.u.response.code = (enum response_code)pick(h, 4);
	m.u.response.data = payload_slice(p);
	sim_send(nd, to, &m, p);
}

/* A message of another time, of another type, or with bytes changed. */
static void
say_again(struct history *h, struct node *nd, uint32_t to)
{
	struct liar *l = nd->impl;
	const uint64_t n = l->bodies < HEARD_MAX ? l->bodies : HEARD_MAX;
	const uint32_t which = n == 0 ? 0 : pick(h, (uint32_t)n);
	const uint32_t how = pick(h, 4);
	struct buf b = { 0 };
	int32_t type;

	if (n == 0)
		return;
	buf_put(&b, l->body[which]);
	type = l->type[which];
	if (how >= 1 && b.len > 0)
		b.ptr[pick(h, (uint32_t)b.len)] ^= (uint8_t)(1u << pick(h, 8));
	if (how == 2 && b.len > 0)
		b.len = pick(h, (uint32_t)b.len);
	if (how == 3)
		type = (int32_t)pick(h, 8);
	sim_send_raw(nd, to, type, buf_slice(&b));
	buf_fini(&b);
}

static void
say_noise(struct history *h, struct node *nd, uint32_t to)
{
	uint8_t b[48];
	const uint32_t len = pick(h, sizeof(b));

	for (uint32_t i = 0; i < len; i++)
		b[i] = (uint8_t)choice_weather(&h->sim.choice, 256);
	sim_send_raw(nd, to, (int32_t)pick(h, 10), slice_of(b, len));
}

static void
say_odd_config(struct history *h, struct node *nd, uint32_t to)
{
	struct liar *l = nd->impl;

	switch (pick(h, 4)) {
	case 0:
		l->index_id += 1;
		break;
	case 1:
		l->seq = INT64_MAX - 100;
		break;
	case 2:
		l->seq = 0;
		break;
	default:
		break;
	}
	say_config(nd, to);
}

static void
say_progress(struct history *h, struct node *nd, uint32_t to)
{
	const struct entry e = some_entry(h, nd);
	const int32_t block[] = { 0, -1, INT32_MAX };
	const struct progress_update up = { .name = e.name,
		.version = e.version,
		.block = block,
		.block_count = 1 + pick(h, 3),
		.block_size = (int32_t)pick(h, 2) * 131072 };
	struct message m = { .type = MESSAGE_PROGRESS };

	m.u.progress = (struct progress){ SLICE_LIT("f"), &up, 1 };
	sim_send(nd, to, &m, NULL);
}

void
node_liar_act(struct history *h, uint32_t node)
{
	struct node *nd = &h->sim.node[node];
	const uint32_t to = pick(h, node);
	const uint32_t what = pick(h, 32);

	if (!nd->running || !nd->told[to])
		return;
	sim_count(&h->sim, COUNT_LIED);
	if (what < 18)
		announce(h, nd);
	else if (what < 22)
		ask(h, nd, to);
	else if (what < 24)
		answer_nobody(h, nd, to);
	else if (what < 27)
		say_again(h, nd, to);
	else if (what < 28)
		say_noise(h, nd, to);
	else if (what < 30)
		say_odd_config(h, nd, to);
	else
		say_progress(h, nd, to);
}

/* What it hears */

/* Blocks of several files together would be a new content. */
static bool
is_simple(const struct entry *e)
{
	return e->block_count <= 1 &&
	       (e->block_count == 0 || e->block != NULL) &&
	       (e->version.count == 0 || e->version.counter != NULL);
}

static void
keep_entries(struct node *nd, const struct index_message *im)
{
	struct liar *l = nd->impl;
	struct arena *ar = &nd->sim->arena;

	for (uint32_t i = 0; i < im->entry_count; i++) {
		struct entry *to = &l->entry[l->entries % HEARD_MAX];

		if (!is_simple(&im->entry[i]))
			continue;
		*to = entry_dup(&im->entry[i], ar);
		l->entries++;
	}
}

static bool
is_kept(const struct message *m)
{
	if (m->type != MESSAGE_INDEX && m->type != MESSAGE_INDEX_UPDATE)
		return m->type != MESSAGE_RESPONSE;
	for (uint32_t i = 0; i < m->u.index.entry_count; i++)
		if (!is_simple(&m->u.index.entry[i]))
			return false;
	return true;
}

static void
keep_body(struct node *nd, const struct message *m)
{
	struct liar *l = nd->impl;
	const uint64_t at = l->bodies++ % HEARD_MAX;
	struct buf b = { 0 };

	message_encode(m, &b);
	l->body[at] = arena_dup(&nd->sim->arena, buf_slice(&b));
	l->type[at] = m->type;
	buf_fini(&b);
}

static void
answer(struct node *nd, uint32_t to, const struct request *rq)
{
	struct liar *l = nd->impl;
	struct choice *c = &nd->sim->choice;
	struct message m = { .type = MESSAGE_RESPONSE };
	struct payload *p = NULL;

	m.u.response.id = rq->id;
	m.u.response.code = RESPONSE_NO_SUCH_FILE;
	for (size_t i = 0; i < l->said.len && p == NULL; i++) {
		const struct said *sd = &l->said.item[i];

		if (rq->hash.len != sizeof(sd->hash.b) ||
		    memcmp(rq->hash.ptr, sd->hash.b, rq->hash.len) != 0)
			continue;
		p = payload_new(sd->data.len);
		memcpy(p->data, sd->data.ptr, p->len);
		m.u.response.code = RESPONSE_OK;
	}
	if (choice_weather(c, 8) == 7) { /* never */
		payload_free(p);
		return;
	}
	if (choice_weather(c, 4) == 3) { /* something else */
		payload_free(p);
		p = payload_new(1 + choice_weather(c, 30));
		memset(p->data, 'y', p->len);
		m.u.response.code = RESPONSE_OK;
		sim_count(nd->sim, COUNT_LIED_BYTES);
	}
	if (p != NULL)
		m.u.response.data = payload_slice(p);
	sim_send(nd, to, &m, p);
}

static void
message(struct node *nd, uint32_t from, const struct message *m,
    struct payload *p)
{
	payload_free(p);
	if (is_kept(m))
		keep_body(nd, m);
	if (m->type == MESSAGE_INDEX || m->type == MESSAGE_INDEX_UPDATE)
		keep_entries(nd, &m->u.index);
	else if (m->type == MESSAGE_REQUEST)
		answer(nd, from, &m->u.request);
}

static uint32_t
features(const struct node *nd)
{
	return nd->sim->features;
}

/* What it is */

static void
start(struct node *nd)
{
	struct liar *l = nd->impl;

	if (l == NULL)
		nd->impl = l = mem_zalloc(sizeof(*l));
	l->index_id = nd->life;
}

static void
peer(struct node *nd, uint32_t other, bool up)
{
	if (up)
		say_config(nd, other);
}

static void
stop(struct node *nd, bool power)
{
	(void)nd;
	(void)power;
}

static void
nothing(struct node *nd)
{
	nd->wake_at_ns = CLOCK_NEVER;
}

static void
no_job(struct node *nd, struct job *job)
{
	(void)nd;
	(void)job;
}

static void
abandon(struct node *nd, struct job *job, bool done)
{
	(void)done;
	no_job(nd, job);
}

static void
hints(struct node *nd, const struct job *job)
{
	(void)nd;
	(void)job;
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
	(void)nd;
	return true;
}

static void
free_node(struct node *nd)
{
	struct liar *l = nd->impl;

	if (l != NULL)
		VEC_FINI(&l->said);
	mem_free(l);
	nd->impl = NULL;
}

const struct node_ops node_liar_ops = {
	.name = "liar",
	.lies = true,
	.start = start,
	.stop = stop,
	.peer = peer,
	.message = message,
	.features = features,
	.effect = no_job,
	.abandon = abandon,
	.hints = hints,
	.tick = nothing,
	.setup = nothing,
	.scan = nothing,
	.resolve = resolve,
	.confirm = confirm,
	.is_well = is_well,
	.free = free_node,
};
