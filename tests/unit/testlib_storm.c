/*
 * Storms.  See testlib_storm.h.
 */
#include "testlib_storm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/base/vec.h"
#include "engine/core_state.h"
#include "engine/folder.h"
#include "engine/status.h"
#include "testlib_world.h"

#define ASKED_MAX 60u    /* times that people are asked before there is rest */
#define STEPS_MAX 30000u /* to rest; a storm takes a few thousand */
#define NAMES 6u
#define PATH_LEN 64u
#define BIG_LEN 300000u
#define LATE_NS (2 * CLOCK_HOUR)

/* Who acts. */
enum writers {
	WRITERS_ALL,  /* everybody at any time */
	WRITERS_ONE,  /* the first device only */
	WRITERS_TURN, /* one after the other, in sync in between */
};

/* Bytes that somebody wrote. */
struct token {
	struct buf data;
	bool dead; /* written over, or deleted, by somebody who had them */
	bool met;
};

struct storm {
	uint64_t seed;
	struct testlib_world *w;
	struct rng rng; /* of the act in work */
	uint32_t devices;
	bool chain;
	bool crashes, cuts, links, dirs, moves, modes, big, ignores, disks;
	enum writers writers;
	uint32_t names;
	uint32_t acts;
	uint32_t pause; /* longest run between acts, steps */
	bool cut[TESTLIB_DEVICES][TESTLIB_DEVICES];
	bool gone[TESTLIB_DEVICES]; /* its disk */
	uint32_t turn;
	VEC(struct token) token;
	uint32_t next_token;
	char *why;
	size_t why_len;
};

static bool fault(struct storm *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool
fault(struct storm *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, s->why_len, fmt, ap);
	va_end(ap);
	return false;
}

static uint32_t
pick(struct storm *s, uint32_t n)
{
	return (uint32_t)rng_below(&s->rng, n);
}

/* Names: a few, so that people meet; some below others. */

static void
pick_dir(struct storm *s, char path[PATH_LEN])
{
	static const char *const dir[] = { "", "d/", "e/", "d/d/" };

	snprintf(path, PATH_LEN, "%s", dir[s->dirs ? pick(s, 4) : 0]);
}

static void
pick_path(struct storm *s, char path[PATH_LEN])
{
	static const char *const name[] = { "a", "b", "c", "d", "e", "f" };
	char dir[PATH_LEN];

	pick_dir(s, dir);
	snprintf(path, PATH_LEN, "%s%s%s", dir, name[pick(s, s->names)],
	    s->ignores && dir[0] == '\0' && pick(s, 3) == 0 ? ".ign" : "");
}

/* Tokens */

static struct token *
token_of(struct storm *s, struct slice data)
{
	for (size_t i = 0; i < s->token.len; i++)
		if (slice_equal(buf_slice(&s->token.item[i].data), data))
			return &s->token.item[i];
	return NULL;
}

static void
token_dies(void *arg, struct slice data)
{
	struct token *t = token_of(arg, data);

	if (t != NULL)
		t->dead = true;
}

static void
token_lives(struct storm *s, struct slice data)
{
	struct token t = { 0 };

	buf_put(&t.data, data);
	*VEC_ADD(&s->token) = t;
}

static void
path_dies(struct storm *s, struct testlib_disk *dk, const char *path)
{
	testlib_disk_each(dk, path, token_dies, s);
}

/* What people do */

static void
put_text(struct storm *s, struct buf *out, uint32_t dev)
{
	char text[64];

	snprintf(text, sizeof(text), "%c%u.", (char)('A' + dev),
	    s->next_token++);
	buf_put(out, slice_str(text));
	if (s->big && pick(s, 3) == 0) {
		const uint32_t len = pick(s, BIG_LEN);
		struct rng fill;
		size_t at = out->len;

		rng_init(&fill, s->next_token * 7919u);
		buf_extend(out, len);
		out->len = at + len;
		for (uint32_t i = 0; i < len; i++)
			out->ptr[at + i] =
			    (uint8_t)('a' + (rng_u64(&fill) >> 60));
	}
}

static void
do_write(struct storm *s, uint32_t dev, const char *path, bool append,
    bool anew)
{
	struct testlib_disk *dk = testlib_world_disk(s->w, dev);
	struct buf data = { 0 };

	if (testlib_disk_is_dir(dk, path))
		return;
	if (append)
		buf_put(&data, testlib_disk_read(dk, path));
	put_text(s, &data, dev);
	if (testlib_disk_has(dk, path))
		path_dies(s, dk, path);
	/* Written beside and renamed over, as editors do. */
	if (anew) {
		if (testlib_disk_write(dk, "tmp.ign", buf_slice(&data)) &&
		    testlib_disk_rename(dk, "tmp.ign", path)) {
			token_lives(s, buf_slice(&data));
			testlib_world_say(s->w, dev, "writes anew", path);
		}
		testlib_disk_remove(dk, "tmp.ign");
	} else if (testlib_disk_write(dk, path, buf_slice(&data))) {
		token_lives(s, buf_slice(&data));
		testlib_world_say(s->w, dev, append ? "appends to" : "writes",
		    path);
	}
	testlib_world_hint(s->w, dev, path);
	buf_fini(&data);
}

static void
do_truncate(struct storm *s, uint32_t dev, const char *path)
{
	struct testlib_disk *dk = testlib_world_disk(s->w, dev);
	const struct slice old = testlib_disk_read(dk, path);
	struct buf data = { 0 };

	if (old.len == 0)
		return;
	buf_put(&data, slice_to(old, old.len - 1));
	path_dies(s, dk, path);
	if (testlib_disk_write(dk, path, buf_slice(&data)) &&
	    token_of(s, buf_slice(&data)) == NULL)
		token_lives(s, buf_slice(&data));
	testlib_world_say(s->w, dev, "cuts", path);
	testlib_world_hint(s->w, dev, path);
	buf_fini(&data);
}

static void
do_remove(struct storm *s, uint32_t dev, const char *path)
{
	path_dies(s, testlib_world_disk(s->w, dev), path);
	testlib_world_remove(s->w, dev, path);
}

static void
do_rename(struct storm *s, uint32_t dev, const char *from, const char *to)
{
	struct testlib_disk *dk = testlib_world_disk(s->w, dev);

	if (testlib_disk_has(dk, from) && testlib_disk_has(dk, to) &&
	    strcmp(from, to) != 0 && !testlib_disk_is_dir(dk, to) &&
	    !testlib_disk_is_dir(dk, from))
		path_dies(s, dk, to);
	testlib_world_rename(s->w, dev, from, to);
}

static void
do_swap(struct storm *s, uint32_t dev, const char *a, const char *b)
{
	struct testlib_disk *dk = testlib_world_disk(s->w, dev);
	const size_t la = strlen(a), lb = strlen(b);

	if (!testlib_disk_has(dk, a) || !testlib_disk_has(dk, b) ||
	    strncmp(a, b, la < lb ? la : lb) == 0)
		return;
	testlib_world_rename(s->w, dev, a, "swap");
	testlib_world_rename(s->w, dev, b, a);
	testlib_world_rename(s->w, dev, "swap", b);
}

static void
do_chmod(struct storm *s, uint32_t dev, const char *path)
{
	static const uint32_t mode[] = { 0644, 0600, 0755, 0444 };
	static const uint32_t dir_mode[] = { 0755, 0700, 0555, 0750 };
	struct testlib_disk *dk = testlib_world_disk(s->w, dev);

	if (testlib_disk_chmod(dk, path,
		testlib_disk_is_dir(dk, path) ? dir_mode[pick(s, 4)]
					      : mode[pick(s, 4)])) {
		testlib_world_say(s->w, dev, "chmods", path);
		testlib_world_hint(s->w, dev, path);
	}
}

static void
do_link(struct storm *s, uint32_t dev, const char *path)
{
	struct testlib_disk *dk = testlib_world_disk(s->w, dev);
	char target[32];

	snprintf(target, sizeof(target), "to%u", pick(s, 3));
	if (testlib_disk_link(dk, path, target)) {
		testlib_world_say(s->w, dev, "links", path);
		testlib_world_hint(s->w, dev, path);
	}
}

/* Something else of that name. */
static void
do_type(struct storm *s, uint32_t dev, const char *path)
{
	const uint32_t what = pick(s, 3);
	char in[PATH_LEN + 2];

	do_remove(s, dev, path);
	if (what == 0) {
		do_write(s, dev, path, false, false);
	} else if (what == 1 && s->links) {
		do_link(s, dev, path);
	} else if (s->dirs) {
		testlib_world_mkdir(s->w, dev, path);
		snprintf(in, sizeof(in), "%s/%c", path, 'a' + (int)pick(s, 2));
		if (pick(s, 2) == 0)
			do_write(s, dev, in, false, false);
	}
}

static void
person_acts(struct storm *s, uint32_t dev)
{
	char path[PATH_LEN], to[PATH_LEN];
	const uint32_t what = pick(s, 100);

	if (s->gone[dev])
		return;
	pick_path(s, path);
	pick_path(s, to);
	if (what < 30)
		do_write(s, dev, path, false, false);
	else if (what < 36)
		do_write(s, dev, path, true, false);
	else if (what < 42)
		do_write(s, dev, path, false, true);
	else if (what < 46)
		do_truncate(s, dev, path);
	else if (what < 58)
		do_remove(s, dev, path);
	else if (what < 74)
		s->moves ? do_rename(s, dev, path, to)
			 : do_write(s, dev, path, false, false);
	else if (what < 80)
		s->moves ? do_swap(s, dev, path, to) : do_remove(s, dev, path);
	else if (what < 88)
		s->dirs ? testlib_world_mkdir(s->w, dev, path)
			: do_remove(s, dev, path);
	else if (what < 91 && s->modes)
		do_chmod(s, dev, path);
	else if (what < 94 && s->links)
		do_link(s, dev, path);
	else if (what < 97)
		do_type(s, dev, path);
	else
		do_write(s, dev, path, false, false);
}

/* The network and the power */

static bool
has_link(const struct storm *s, uint32_t a, uint32_t b)
{
	return a != b && (!s->chain || a + 1 == b || b + 1 == a);
}

static void
connect_all(struct storm *s)
{
	for (uint32_t a = 0; a < s->devices; a++)
		for (uint32_t b = 0; b < a; b++)
			if (has_link(s, a, b) && !s->cut[a][b])
				testlib_world_connect(s->w, b, a);
}

static void
start(struct storm *s, uint32_t dev)
{
	if (testlib_world_engine(s->w, dev) == NULL) {
		testlib_world_say(s->w, dev, "starts", "");
		testlib_world_start(s->w, dev);
	}
}

/* The disk fills up, or is pulled out; or is well again. */
static void
disk_acts(struct storm *s, uint32_t dev)
{
	struct testlib_disk *dk = testlib_world_disk(s->w, dev);

	switch (pick(s, 4)) {
	case 0:
		testlib_disk_set_room(dk, pick(s, 40));
		testlib_world_say(s->w, dev, "fills", "the disk");
		break;
	case 1:
		testlib_disk_set_room(dk, INT64_MAX);
		testlib_world_say(s->w, dev, "makes", "room");
		break;
	default:
		s->gone[dev] = !s->gone[dev];
		testlib_disk_unmount(dk, s->gone[dev]);
		testlib_world_say(s->w, dev,
		    s->gone[dev] ? "unmounts" : "mounts", "the disk");
		break;
	}
}

static void
fault_acts(struct storm *s)
{
	const uint32_t a = pick(s, s->devices), b = pick(s, s->devices);

	if (s->disks && pick(s, 3) == 0) {
		disk_acts(s, a);
	} else if (s->crashes && pick(s, 2) == 0) {
		if (testlib_world_engine(s->w, a) == NULL) {
			start(s, a);
		} else {
			testlib_world_say(s->w, a, "pulls the plug", "");
			testlib_world_kill(s->w, a);
		}
	} else if (s->cuts && a != b) {
		const bool cut = !s->cut[a][b];

		s->cut[a][b] = s->cut[b][a] = cut;
		testlib_world_say(s->w, a, cut ? "cuts" : "joins",
		    (char[]){ (char)('A' + b), '\0' });
		if (cut)
			testlib_world_disconnect(s->w, a, b);
	}
	connect_all(s);
}

/* One in a while somebody waits until all is done. */
static void
time_passes(struct storm *s)
{
	const uint32_t what = pick(s, 10);
	uint32_t steps = 0;

	if (what == 0)
		testlib_world_run(s->w, (1 + pick(s, 30)) * CLOCK_S);
	else if (what <= 3)
		testlib_world_run(s->w, pick(s, 400) * CLOCK_MS);
	else if (what <= 7)
		steps = pick(s, s->pause + 1);
	while (steps-- > 0 && testlib_world_step(s->w))
		;
}

static bool
rests(struct storm *s)
{
	for (uint32_t i = 0; i < STEPS_MAX; i++)
		if (!testlib_world_step(s->w))
			return true;
	return false;
}

/* Is something held?  Somebody has looked at it and lets it be done. */
static bool
confirm(struct storm *s)
{
	struct arena ar = { 0 };
	bool any = false;

	for (uint32_t i = 0; i < s->devices; i++) {
		const struct engine *en = testlib_world_engine(s->w, i);
		struct status_report rp;

		if (en == NULL)
			continue;
		status_report(en, testlib_world_now(s->w), &ar, &rp);
		if (rp.folder[0].held_count == 0)
			continue;
		any = true;
		testlib_world_say(s->w, i, "confirms", "");
		testlib_world_command(s->w, i, COMMAND_CONFIRM);
	}
	arena_fini(&ar);
	return any;
}

static bool
settle(struct storm *s)
{
	for (uint32_t i = 0; i < ASKED_MAX; i++) {
		if (!rests(s))
			return false;
		if (!confirm(s))
			return true;
	}
	return false;
}

/* Everybody up and connected; false when there is no rest. */
static bool
calm(struct storm *s)
{
	memset(s->cut, 0, sizeof(s->cut));
	memset(s->gone, 0, sizeof(s->gone));
	for (uint32_t i = 0; i < s->devices; i++) {
		struct testlib_disk *dk = testlib_world_disk(s->w, i);

		testlib_disk_unmount(dk, false);
		testlib_disk_set_room(dk, INT64_MAX);
		start(s, i);
	}
	connect_all(s);
	return settle(s);
}

/* What must hold */

static bool
is_need(const struct need_totals *n)
{
	return n->items != 0 || n->deletes != 0 || n->bytes != 0;
}

static bool
is_well(struct storm *s, uint32_t dev)
{
	struct arena ar = { 0 };
	struct status_report rp;
	const struct engine *en = testlib_world_engine(s->w, dev);
	struct status_folder f;
	struct slice record;
	uint64_t id;
	bool ok = true;

	status_report(en, testlib_world_now(s->w), &ar, &rp);
	f = rp.folder[0];
	if (f.state != STATUS_IN_SYNC || !f.idle)
		ok = fault(s, "%c: state %s, %s", (char)('A' + dev),
		    status_state_name(f.state), f.idle ? "idle" : "busy");
	else if (is_need(&f.need))
		ok = fault(s, "%c: needs something", (char)('A' + dev));
	else if (f.problem_count != 0)
		ok = fault(s, "%c: problem %s %.*s", (char)('A' + dev),
		    reason_name(f.problem[0].reason),
		    SLICE_FMT(f.problem[0].path));
	/* A drop that met no disk is made up for at a later start. */
	else if (!s->disks &&
		 testlib_disk_temps(testlib_world_disk(s->w, dev)) != 0)
		ok = fault(s, "%c: %zu temps left", (char)('A' + dev),
		    testlib_disk_temps(testlib_world_disk(s->w, dev)));
	else if (index_next_intent(en->folder.item[0]->ix, 0, &id, &record,
		     &ar))
		ok = fault(s, "%c: an intent is left", (char)('A' + dev));
	for (uint32_t i = 0; ok && i < f.share_count; i++)
		if (f.share[i].connected &&
		    (!f.share[i].known || is_need(&f.share[i].need)))
			ok = fault(s, "%c: thinks device %u is behind",
			    (char)('A' + dev), i);
	arena_fini(&ar);
	return ok;
}

/* What of a disk is to be the same everywhere. */
static char *
tree(struct storm *s, uint32_t dev, struct arena *ar)
{
	char *text = testlib_disk_dump(testlib_world_disk(s->w, dev), ar);
	char *to = text;

	for (char *line = text, *end; *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		if (strstr(line, ".ign") == NULL) {
			memmove(to, line, (size_t)(end - line));
			to += end - line;
			*to++ = '\n';
		}
	}
	*to = '\0';
	return text;
}

static bool
all_same(struct storm *s)
{
	struct arena ar = { 0 };
	const char *first = tree(s, 0, &ar);
	bool same = true;

	for (uint32_t i = 1; i < s->devices; i++)
		same = same && strcmp(first, tree(s, i, &ar)) == 0;
	arena_fini(&ar);
	return same;
}

static bool
all_well(struct storm *s)
{
	if (!all_same(s))
		return fault(s, "trees differ");
	for (uint32_t i = 0; i < s->devices; i++)
		if (!is_well(s, i))
			return false;
	return true;
}

static void
token_met(void *arg, struct slice data)
{
	struct token *t = token_of(arg, data);

	if (t != NULL)
		t->met = true;
}

static bool
nothing_lost(struct storm *s)
{
	for (uint32_t i = 0; i < s->devices; i++)
		testlib_disk_each(testlib_world_disk(s->w, i), "", token_met,
		    s);
	for (size_t i = 0; i < s->token.len; i++)
		if (!s->token.item[i].dead && !s->token.item[i].met)
			return fault(s, "lost: %.*s",
			    (int)(s->token.item[i].data.len < 20
				      ? s->token.item[i].data.len
				      : 20),
			    (const char *)s->token.item[i].data.ptr);
	return true;
}

static bool
is_as_before(struct storm *s, const char *before, const char *when)
{
	struct arena ar = { 0 };
	bool same = true;

	for (uint32_t i = 0; same && i < s->devices; i++)
		if (strcmp(before, tree(s, i, &ar)) != 0)
			same = fault(s, "%s changed the tree of %c", when,
			    (char)('A' + i));
	arena_fini(&ar);
	return same;
}

/* Rest stays rest: no messages, nothing found by a scan or a restart. */
static bool
stays_quiet(struct storm *s)
{
	struct arena ar = { 0 };
	const char *before = tree(s, 0, &ar);
	uint64_t messages = testlib_world_messages(s->w);
	bool ok;

	testlib_world_run(s->w, 5 * CLOCK_MIN);
	for (uint32_t i = 0; i < s->devices; i++)
		testlib_world_command(s->w, i, COMMAND_SCAN);
	ok = settle(s) || fault(s, "a scan does not come to rest");
	if (ok && testlib_world_messages(s->w) != messages)
		ok = fault(s, "%llu messages at rest",
		    (unsigned long long)(testlib_world_messages(s->w) -
					 messages));
	ok = ok && is_as_before(s, before, "a scan") && all_well(s);
	for (uint32_t i = 0; ok && i < s->devices; i++)
		testlib_world_kill(s->w, i);
	ok = ok && (calm(s) || fault(s, "a restart does not come to rest"));
	ok = ok && is_as_before(s, before, "a restart") && all_well(s);
	arena_fini(&ar);
	return ok;
}

/* In sync within a time?  What is tried again later may take long. */
static bool
comes_to_rest(struct storm *s)
{
	if (!calm(s))
		return fault(s, "no rest");
	if (all_well(s))
		return true;
	/* Retries and leftover temps have timers far away. */
	testlib_world_run(s->w, LATE_NS);
	return settle(s) ? all_well(s) : fault(s, "no rest later");
}

/* What one person made with everybody else in sync is what all have. */
static bool
as_the_writer_left_it(struct storm *s, const char *left)
{
	struct arena ar = { 0 };
	bool ok = comes_to_rest(s);

	for (uint32_t i = 0; ok && i < s->devices; i++) {
		const char *now = tree(s, i, &ar);

		if (strcmp(left, now) != 0)
			ok = fault(s, "not as %c left it:\n%s--- but\n%s",
			    (char)('A' + s->turn), left, now);
	}
	arena_fini(&ar);
	return ok;
}

/* The storm */

static void
roll(struct storm *s)
{
	rng_init(&s->rng, s->seed);
	s->devices = 2 + pick(s, s->seed < TESTLIB_STORM_WILD ? 2 : 4);
	s->chain = pick(s, 2) == 0;
	s->crashes = pick(s, 3) == 0;
	s->cuts = pick(s, 2) == 0;
	s->links = pick(s, 2) == 0;
	s->dirs = pick(s, 4) != 0;
	s->moves = pick(s, 3) != 0;
	s->modes = pick(s, 2) == 0;
	s->big = pick(s, 12) == 0;
	s->writers = (enum writers)pick(s, 3);
	s->names = 1 + pick(s, NAMES);
	s->acts = 4 + pick(s, pick(s, 3) == 0 ? 100 : 25);
	s->pause = pick(s, 2) == 0 ? 12 : 200;
	testlib_world_set_delay(s->w, pick(s, 4) == 0   ? 100 * CLOCK_MS
				      : pick(s, 2) == 0 ? CLOCK_MS
							: 10 * CLOCK_MS);
	if (pick(s, 2) == 0)
		testlib_world_set_features(s->w, FEATURE_CHUNKS);
	if (s->seed < TESTLIB_STORM_WILD)
		return;
	s->ignores = pick(s, 3) == 0;
	s->disks = pick(s, 3) == 0;
	s->crashes = s->crashes || pick(s, 2) == 0;
}

static bool
blow(struct storm *s, const struct testlib_storm_cut *cut)
{
	struct arena ar = { 0 };
	bool ok = true;

	for (uint32_t i = 0; ok && i < s->acts; i++) {
		rng_init(&s->rng, s->seed * 1000 + i);
		if (cut != NULL && cut->skip[i])
			continue;
		if (s->writers == WRITERS_TURN && pick(s, 6) == 0) {
			arena_clear(&ar);
			ok = as_the_writer_left_it(s, tree(s, s->turn, &ar));
			if (!ok)
				break;
			s->turn = pick(s, s->devices);
		}
		if (pick(s, 6) == 0)
			fault_acts(s);
		else
			person_acts(s, s->writers == WRITERS_ALL
					   ? pick(s, s->devices)
					   : s->turn);
		time_passes(s);
	}
	arena_fini(&ar);
	return ok;
}

bool
testlib_storm_run(uint64_t seed, const struct testlib_storm_cut *cut, char *why,
    size_t why_len)
{
	struct storm s = { .seed = seed, .why = why, .why_len = why_len };
	struct arena ar = { 0 };
	uint32_t devices;
	bool ok;

	rng_init(&s.rng, seed);
	devices = 2 + pick(&s, seed < TESTLIB_STORM_WILD ? 2 : 4);
	s.w = testlib_world_new(seed, devices);
	roll(&s);
	for (uint32_t i = 0; i < s.devices; i++) {
		if (seed >= TESTLIB_STORM_BRAKED && (seed + i) % 3 != 0) {
			struct setup_folder *sf = testlib_world_folder(s.w, i);

			sf->brake_percent = 20;
			sf->brake_files = (uint32_t)(seed % 2);
		}
		if (s.ignores)
			testlib_disk_write(testlib_world_disk(s.w, i),
			    ".stignore", SLICE_LIT("*.ign\n"));
		testlib_world_start(s.w, i);
	}
	connect_all(&s);
	ok = blow(&s, cut);
	if (ok)
		ok = s.writers == WRITERS_ALL
			 ? comes_to_rest(&s)
			 : as_the_writer_left_it(&s, tree(&s, s.turn, &ar));
	ok = ok && nothing_lost(&s) && stays_quiet(&s);
	if (cut != NULL && cut->story) {
		testlib_world_print_log(s.w);
		for (uint32_t i = 0; i < s.devices; i++)
			printf("--- %c\n%s", (char)('A' + i), tree(&s, i, &ar));
	}
	for (size_t i = 0; i < s.token.len; i++)
		buf_fini(&s.token.item[i].data);
	VEC_FINI(&s.token);
	arena_fini(&ar);
	testlib_world_free(s.w);
	return ok;
}
