/*
 * A history.  See history.h.
 */
#include "history.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "engine/base/nfc.h"
#include "engine/base/path.h"

#define REST_STEPS 30000u        /* to rest; a history takes a few thousand */
#define LATE_NS (2 * CLOCK_HOUR) /* what is tried again later may take long */
#define FLUSH_NS (30 * CLOCK_S)  /* the kernel writes back what is older */

static uint32_t
pick(struct history *h, uint32_t n)
{
	return choice_below(&h->sim.choice, n);
}

/* Settings */

/* In so many parts of 256. */
static bool
chance(struct history *h, uint32_t parts)
{
	return pick(h, 256) >= 256 - parts;
}

/* ... by a byte of the tail. */
static bool
tail_chance(const struct history *h, enum tail which, uint32_t parts)
{
	return choice_tail(&h->sim.choice, which) >= 256 - parts;
}

/* One in 8 .. 1024, each power of two as likely. */
static uint32_t
rate(struct history *h)
{
	return 8u << pick(h, 8);
}

static void
roll_people(struct history *h, struct settings *set)
{
	set->dirs = chance(h, 192);
	set->links = chance(h, 100);
	set->moves = chance(h, 170);
	set->chmods = chance(h, 100);
	set->utimes = chance(h, 60);
	set->spellings = chance(h, 50);
	set->accents = chance(h, 25);
	set->ignores = chance(h, 60);
	set->big = chance(h, 12);
	set->opens = chance(h, 80);
	set->unflushed = chance(h, 128);
}

static void
roll_faults(struct history *h, struct settings *set)
{
	/* None at all, a few, many. */
	static const uint32_t often[] = { 0, 32, 64, 128 };
	const uint32_t parts = often[pick(h, 4)];
	struct vdisk_trouble *t = &h->sim.trouble;

	set->fault_rate = 2 + pick(h, 10);
	set->kills = chance(h, parts * 3 / 2);
	set->power = chance(h, parts * 3 / 2);
	set->hostile = chance(h, 128);
	set->syncfs = chance(h, 128);
	set->reuses = chance(h, 64);
	set->cuts = chance(h, parts * 3 / 2);
	set->one_way = chance(h, parts);
	set->full = chance(h, parts);
	set->away = chance(h, parts);
	set->read_only = chance(h, parts);
	set->index_lost = chance(h, parts / 2);
	set->index_restored = chance(h, parts / 2);
	set->clocks = chance(h, parts) && !set->index_restored &&
		      (!set->index_lost || tail_chance(h, TAIL_CLOCKS, 128));
	set->modes = chance(h, parts / 2);
	set->removals = chance(h, parts / 2);
	h->sim.lost_hints = chance(h, parts) ? rate(h) : 0;
	set->misses = h->sim.lost_hints > 0;
	h->sim.failed_commits = chance(h, parts / 2) ? 4 * rate(h) : 0;
	t->read_io = chance(h, parts) ? rate(h) : 0;
	t->write_io = chance(h, parts) ? rate(h) : 0;
	t->sync_io = chance(h, parts) ? rate(h) : 0;
	t->full = chance(h, parts) ? rate(h) : 0;
	for (uint32_t i = 0; i < SIM_NODES; i++) {
		set->folds[i] = set->spellings && chance(h, 100);
		set->normalises[i] = set->accents && chance(h, 100);
		set->blind[i] = chance(h, parts / 4);
		set->misses = set->misses || set->blind[i];
	}
	t->flips = chance(h, parts) ? rate(h) : 0;
}

static void
roll_wire(struct history *h)
{
	struct sim *s = &h->sim;

	_Static_assert(TAILS <= CHOICE_TAIL, "a byte each");
	s->bytes = tail_chance(h, TAIL_WIRE, 64);
	if (!s->bytes)
		return;
	s->compression = (enum message_compression)(
	    choice_tail(&s->choice, TAIL_COMPRESS) % 3);
	if (s->features != 0)
		s->features |= FEATURE_ZSTD;
}

/* One in 4 .. 512 of what is on; else 0. */
static uint32_t
tail_rate(const struct history *h, enum tail which, uint32_t parts)
{
	const uint8_t byte = choice_tail(&h->sim.choice, which);

	return byte >= 256 - parts ? 4u << byte % 8 : 0;
}

static void
roll_network(struct history *h, struct settings *set)
{
	static const uint64_t lag_ns[] = { CLOCK_S, 5 * CLOCK_S, CLOCK_S / 4 };

	if (tail_chance(h, TAIL_LAG, 24))
		set->lag_ns = lag_ns[choice_tail(&h->sim.choice, TAIL_LAG) % 3];
	set->twice = tail_rate(h, TAIL_TWICE, 64);
	set->replays = tail_rate(h, TAIL_REPLAY, 48) / 4;
}

/* Not where old indexes come back: docs/testing.md, known gaps. */
static void
roll_battery(struct history *h, struct settings *set)
{
	if (set->index_restored || h->sim.brake > 0 ||
	    !tail_chance(h, TAIL_BATTERY, 64))
		return;
	set->no_battery = true;
	set->index_lost =
	    set->index_lost || choice_tail(&h->sim.choice, TAIL_BATTERY) % 2;
	/* A program that goes on writing to what was just taken away, while
	 * the index that knows whose that is gets lost: known gaps. */
	set->opens = false;
	/* To the second as it was: an old word and a new one may be the same,
	 * and what is made of the one is taken for made of the other. */
	set->same_second = choice_tail(&h->sim.choice, TAIL_BATTERY) % 4 == 1;
	if (!set->same_second)
		return;
	h->sim.oracle.liar = true;
	/* Of the same bytes nobody asks whether the attributes are the same. */
	set->chmods = set->utimes = false;
}

/*
 * The brake in a world in which nothing but it decides what peers take away:
 * one writes, renames nothing, and what it flushed stays.
 */
static void
roll_brake(struct history *h, struct settings *set)
{
	if (set->liar || set->syncthing || !tail_chance(h, TAIL_BRAKE, 32))
		return;
	h->sim.brake = 1 + choice_tail(&h->sim.choice, TAIL_BRAKE) % 3;
	set->writers = WRITERS_ONE;
	set->moves = set->spellings = set->accents = set->opens = false;
	set->ignores = set->modes = set->removals = set->power = false;
	set->index_lost = set->index_restored = set->away = false;
	set->twice = set->replays = 0;
	/* It counts what is planned: what waits for a disk comes at once. */
	set->full = set->read_only = false;
	h->sim.trouble.full = h->sim.trouble.write_io = 0;
	h->sim.trouble.sync_io = 0;
	for (uint32_t i = 0; i < SIM_NODES; i++)
		set->folds[i] = set->normalises[i] = false;
}

/* The network, and what else is not a disk's, as the settings say. */
static void
trouble_network(struct history *h)
{
	h->sim.lag_ns = h->set.lag_ns;
	h->sim.twice = h->set.twice;
	h->sim.replays = h->set.replays;
	h->sim.flush_io = h->set.flush_io;
}

static void
roll(struct history *h)
{
	static const uint64_t delay_ns[] = { CLOCK_MS, 10 * CLOCK_MS,
		100 * CLOCK_MS, 100 * CLOCK_US };
	struct settings *set = &h->set;

	set->nodes = 2 + pick(h, 6) % 4;
	set->shape = (enum shape)pick(h, 4);
	set->writers = (enum writers)pick(h, 3);
	set->names = 1 + pick(h, 12);
	set->pause = pick(h, 2) == 0 ? 12 : 200;
	h->sim.delay_ns = delay_ns[pick(h, 4)];
	h->sim.features = pick(h, 2) == 0 ? 0 : FEATURE_CHUNKS;
	roll_people(h, set);
	roll_faults(h, set);
	roll_wire(h);
	roll_network(h, set);
	set->liar = tail_chance(h, TAIL_LIAR, 24);
	set->two = set->liar && tail_chance(h, TAIL_TWO, 128);
	set->syncthing = !set->liar && tail_chance(h, TAIL_SYNCTHING, 40);
	/* One of 2.x tells nobody of a deletion of what it never had: who has
	 * no other way to hear of it keeps the file, with Syncthings alone,
	 * too. */
	if (set->syncthing && set->shape == SHAPE_CHAIN)
		set->shape = SHAPE_STAR;
	/* A real one renames what is not composed: the model does not. */
	if (set->syncthing)
		set->accents = false;
	h->sim.syncthing_v1 =
	    choice_tail(&h->sim.choice, TAIL_SYNCTHING) % 2 == 1;
	h->sim.oracle.liar = set->liar || set->syncthing;
	roll_brake(h, set);
	set->flush_io =
	    tail_chance(h, TAIL_FLUSH, 128) ? h->sim.trouble.sync_io : 0;
	set->hides =
	    set->ignores && !set->syncthing && tail_chance(h, TAIL_HIDE, 128);
	/* Two are of use only where what they hide is written at. */
	set->works_on =
	    set->hides && choice_has_tail(&h->sim.choice, TAIL_LATE);
	if (set->works_on)
		set->names = 1 + set->names % 3;
	/* The brake counts what is planned: what waits comes at once. */
	if (h->sim.brake == 0 && tail_chance(h, TAIL_LATE, 64))
		h->sim.late = 1 + choice_tail(&h->sim.choice, TAIL_LATE) % 8;
	roll_battery(h, set);
	/* Others than ours read no log of who is who. */
	set->rotates =
	    !set->liar && !set->syncthing && tail_chance(h, TAIL_ROTATE, 32);
}

static void
tell_settings(const struct history *h)
{
	static const char *const shape[] = { "all connected", "in a chain",
		"in a ring", "in a star" };
	static const char *const writers[] = { "all write", "one writes",
		"they write in turn" };
	const struct settings *s = &h->set;

	printf("%u devices %s, %s; %u names%s%s%s%s%s%s%s%s; faults:", s->nodes,
	    shape[s->shape], writers[s->writers], s->names,
	    s->dirs ? ", directories" : "", s->links ? ", links" : "",
	    s->moves ? ", renames" : "", s->chmods ? ", chmod" : "",
	    s->spellings || s->accents ? ", spellings" : "",
	    s->ignores ? ", ignores" : "", s->opens ? ", open files" : "",
	    s->unflushed ? ", nothing flushed" : "");
	printf("%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s\n",
	    s->rotates ? " rotate" : "", h->sim.bytes ? " bytes" : "",
	    h->sim.late > 0 ? " late" : "", s->no_battery ? " no-battery" : "",
	    s->lag_ns > 0 ? " lag" : "", s->twice > 0 ? " twice" : "",
	    s->replays > 0 ? " replays" : "", s->liar ? " liar" : "",
	    s->syncthing ? " syncthing" : "", h->sim.brake > 0 ? " brake" : "",
	    s->kills ? " kill" : "", s->power ? " power" : "",
	    s->power && s->hostile ? "(hostile)" : "", s->cuts ? " cuts" : "",
	    s->one_way ? " one-way" : "", s->full ? " full" : "",
	    s->away ? " unmount" : "", s->read_only ? " read-only" : "",
	    s->index_lost ? " index-lost" : "",
	    s->index_restored ? " index-restored" : "",
	    s->clocks ? " clocks" : "", s->modes ? " modes" : "",
	    s->removals ? " removals" : "",
	    h->sim.trouble.read_io + h->sim.trouble.write_io +
			h->sim.trouble.sync_io + h->sim.trouble.full >
		    0
		? " errors"
		: "");
}

uint32_t
history_honest(const struct history *h)
{
	return h->set.liar ? h->sim.nodes - 1 : h->sim.nodes;
}

static const struct node_ops *
kind_of(const struct settings *set, uint32_t i)
{
	if (set->liar && i + 1 == set->nodes)
		return &node_liar_ops;
	return set->syncthing && i == 1 ? &node_syncthing_ops
					: &node_engine_ops;
}

/* What breaks now and then; a Syncthing's disk does not. */
static void
trouble_disks(struct history *h)
{
	for (uint32_t i = 0; i < h->sim.nodes; i++)
		if (h->sim.node[i].ops == &node_engine_ops)
			vdisk_set_trouble(h->sim.node[i].disk, &h->sim.trouble);
}

static void
make_world(struct history *h)
{
	const struct settings *set = &h->set;
	struct sim *s = &h->sim;

	/* Two forms of one name clash on any disk: on the wire they are one. */
	s->clashes = set->accents;
	s->uneven = set->ignores;
	for (uint32_t i = 0; i < set->nodes; i++) {
		const struct vdisk_make make = {
			.model = set->hostile ? VDISK_HOSTILE : VDISK_ORDERED,
			.names = set->syncthing && i == 1 ? VDISK_EXACT
				 : set->folds[i]          ? VDISK_FOLDS
				 : set->normalises[i]     ? VDISK_NORMALISES
							  : VDISK_EXACT,
			.syncfs = set->syncfs,
			.reuses = set->reuses,
		};

		sim_add(s, kind_of(set, i), &make);
		s->clashes = s->clashes || make.names != VDISK_EXACT;
	}
	for (uint32_t i = 0; i < set->nodes; i++) {
		for (uint32_t k = 0; k < set->nodes; k++)
			s->node[i].knows[k] = true;
		s->node[i].watches = !set->blind[i];
		if (set->ignores)
			vdisk_write(s->node[i].disk, ".stignore",
			    SLICE_LIT("*.ign\n"), true);
		sim_start(s, i);
	}
	faults_connect(h);
	trouble_network(h);
	trouble_disks(h);
}

/* Rest */

static bool
is_sound(const struct history *h)
{
	return h->sim.oracle.why[0] == '\0';
}

static void
rest(struct history *h, const char *after)
{
	for (uint32_t i = 0; i < REST_STEPS; i++)
		if (!sim_step(&h->sim))
			return;
	oracle_fault(&h->sim.oracle, "no quiet: %s", after);
}

static void
rescan(struct history *h)
{
	for (uint32_t i = 0; i < history_honest(h) && is_sound(h); i++)
		h->sim.node[i].ops->scan(&h->sim.node[i]);
}

/* Trees */

/* The path of a line of vdisk_dump(), as a disk that folds all sees it. */
static struct slice
folded(struct history *h, const char *line)
{
	const char *end = line;
	struct slice s;
	uint8_t *p;

	/* Names have no spaces. */
	while (*end != ' ' && *end != '\0')
		end++;
	s = nfc_of(slice_of(line, (size_t)(end - line)), &h->sim.arena);
	p = arena_alloc(&h->sim.arena, s.len + 1);
	for (size_t i = 0; i < s.len; i++)
		p[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z'
			   ? (uint8_t)(s.ptr[i] + 32)
			   : s.ptr[i];
	return slice_of(p, s.len);
}

/* A path as it is spelled on some disk, and as one that folds sees it. */
struct spelled {
	struct slice path, key;
};

struct spellings {
	VEC(struct spelled) all; /* of all disks */
	VEC(struct slice) odd;   /* keys that are spelled in two ways */
};

static void
add_spelled(struct history *h, struct spellings *sp, const char *line)
{
	const struct spelled one = { slice_of(line, strcspn(line, " ")),
		folded(h, line) };

	for (size_t i = 0; i < sp->all.len; i++) {
		const struct spelled *is = &sp->all.item[i];

		if (!slice_equal(is->key, one.key))
			continue;
		if (!slice_equal(is->path, one.path))
			*VEC_ADD(&sp->odd) = one.key;
		return;
	}
	*VEC_ADD(&sp->all) = one;
}

static bool
is_odd(const struct spellings *sp, struct slice key)
{
	for (size_t i = 0; i < sp->odd.len; i++)
		if (slice_equal(sp->odd.item[i], key) ||
		    path_is_below(key, sp->odd.item[i]))
			return true;
	for (size_t i = 0; i < key.len; i++)
		if (key.ptr[i] >= 128)
			return true;
	return false;
}

/* Without names that are spelled in two ways, what is below them and conflicts:
 * a device may have to hold back what another has.  (I26.) */
static void
drop_spellings(struct history *h, char *text)
{
	struct spellings sp = { 0 };
	char *to = text;

	for (uint32_t i = 0; i < history_honest(h); i++)
		for (char *line =
			 vdisk_dump(h->sim.node[i].disk, &h->sim.arena);
		     *line != '\0'; line = strchr(line, '\n') + 1)
			add_spelled(h, &sp, line);
	for (char *line = text, *end; *line != '\0'; line = end + 1) {
		const struct slice key = folded(h, line);

		end = strchr(line, '\n');
		if (is_odd(&sp, key) || slice_find(key, '.') != SIZE_MAX)
			continue;
		memmove(to, line, (size_t)(end - line) + 1);
		to += end - line + 1;
	}
	*to = '\0';
	VEC_FINI(&sp.all);
	VEC_FINI(&sp.odd);
}

static char *
tree(struct history *h, uint32_t node)
{
	char *text = vdisk_dump(h->sim.node[node].disk, &h->sim.arena);

	if (h->sim.clashes)
		drop_spellings(h, text);
	return text;
}

/* The first line in which two trees differ. */
static void
tell_difference(struct history *h, const char *what, const char *a,
    const char *b)
{
	while (*a != '\0' && *a == *b) {
		const char *x = strchr(a, '\n'), *y = strchr(b, '\n');

		if (x - a != y - b || memcmp(a, b, (size_t)(x - a)) != 0)
			break;
		a = x + 1;
		b = y + 1;
	}
	oracle_fault(&h->sim.oracle, "%s: \"%.*s\" or \"%.*s\"", what,
	    (int)strcspn(a, "\n"), a, (int)strcspn(b, "\n"), b);
}

static bool
is_same(struct history *h)
{
	const char *first = tree(h, 0);

	for (uint32_t i = 1; i < history_honest(h); i++)
		if (strcmp(first, tree(h, i)) != 0)
			return false;
	return true;
}

static void
check_well(struct history *h)
{
	const char *first = tree(h, 0);

	for (uint32_t i = 1; i < history_honest(h); i++)
		if (strcmp(first, tree(h, i)) != 0)
			tell_difference(h, "no convergence", first, tree(h, i));
	for (uint32_t i = 0; i < history_honest(h) && is_sound(h); i++)
		h->sim.node[i].ops->is_well(&h->sim.node[i]);
}

static bool
is_well(struct history *h)
{
	check_well(h);
	if (is_sound(h))
		return true;
	h->sim.oracle.why[0] = '\0'; /* only asked */
	return false;
}

/* Who is held is let. */
static bool
confirm_some(struct history *h)
{
	bool any = false;

	for (uint32_t i = 0; i < history_honest(h); i++) {
		struct node *nd = &h->sim.node[i];

		any = (nd->running && nd->ops->confirm(nd)) || any;
	}
	return any;
}

/* ... until nobody is. */
static void
confirm_all(struct history *h)
{
	bool any = h->sim.brake > 0;

	for (int round = 0; any && round < 20 && is_sound(h); round++) {
		/* It is quiet for a second before it is looked at. */
		sim_run(&h->sim, 15 * CLOCK_S);
		any = false;
		for (uint32_t i = 0; i < history_honest(h); i++)
			any =
			    h->sim.node[i].ops->confirm(&h->sim.node[i]) || any;
		rest(h, "after a word of a person");
	}
}

/* Does every change have its hint, which says where it was? */
static bool
is_told_all(const struct history *h)
{
	return !h->set.misses && !h->set.liar && !h->set.syncthing &&
	       !h->set.away && !h->set.hides && !h->set.modes &&
	       !h->set.removals && !h->sim.clashes && !h->sim.flush_failed &&
	       !h->sim.debts;
}

/* What is not well where nothing but a scan is left to mend it; or NULL. */
static const char *
untold(struct history *h)
{
	const char *why = NULL;

	if (!is_sound(h) || !is_told_all(h))
		return NULL;
	rest(h, "two hours later, and nobody looked");
	if (is_sound(h))
		check_well(h);
	if (!is_sound(h))
		why = arena_str(&h->sim.arena, slice_str(h->sim.oracle.why));
	h->sim.oracle.why[0] = '\0'; /* only asked */
	return why;
}

/* Everybody up and in sync; a second look after two hours. */
static void
come_to_rest(struct history *h)
{
	const char *unseen;

	faults_heal(h);
	/* Who watches nothing reads its rules again when it scans. */
	if (h->set.hides)
		rescan(h);
	rest(h, "after healing");
	confirm_all(h);
	if (!is_sound(h) || (is_same(h) && is_well(h)))
		return;
	sim_run(&h->sim, LATE_NS);
	unseen = untold(h);
	/* What nobody told of is found by the next full scan. */
	rescan(h);
	if (is_sound(h))
		rest(h, "two hours later");
	if (is_sound(h))
		confirm_all(h);
	/* Names that were held back are tried again when there is room. */
	if (is_sound(h) && h->sim.clashes)
		sim_run(&h->sim, LATE_NS);
	if (is_sound(h))
		check_well(h);
	if (unseen != NULL)
		oracle_fault(&h->sim.oracle, "unseen until a scan: %s", unseen);
}

/* Who is held passes on what it has, and not what it knows to be gone: those
 * who hear of the writer through it alone wait in vain, and then do what is to
 * be done where two disagree. */
static bool
hears_of_held(const struct history *h)
{
	return h->sim.brake > 0 &&
	       (h->set.shape != SHAPE_MESH || h->set.cuts || h->set.one_way);
}

/* One writer, and nothing that makes others' old states new: then the tree is
 * what the writer left. */
static bool
is_exact(const struct history *h)
{
	return !hears_of_held(h) && !h->sim.flush_failed &&
	       h->set.writers != WRITERS_ALL && !h->amnesia && !h->set.modes &&
	       !h->set.liar && !h->set.syncthing && !h->set.hides &&
	       !h->sim.clashes && !h->set.opens;
}

static void
rest_as_left(struct history *h)
{
	const bool exact = is_exact(h);
	char *left;

	vdisk_set_away(h->sim.node[h->writer].disk, VDISK_HERE);
	left = tree(h, h->writer);
	come_to_rest(h);
	for (uint32_t i = 0; i < history_honest(h) && is_sound(h) && exact; i++)
		if (strcmp(left, tree(h, i)) != 0)
			tell_difference(h, "not as its writer left it", left,
			    tree(h, i));
}

/* What could not be filed or named waits in staging for the next start. */
static void
pay_debts(struct history *h)
{
	h->sim.debts = false;
	for (uint32_t i = 0; i < history_honest(h) && is_sound(h); i++)
		sim_stop(&h->sim, i, false);
	if (is_sound(h))
		come_to_rest(h);
}

/* Rest stays rest: no messages, nothing found by a scan or a restart. */
static void
stay_at_rest(struct history *h)
{
	const char *before = tree(h, 0);
	const uint64_t messages = h->sim.messages;

	sim_run(&h->sim, 5 * CLOCK_MIN);
	rescan(h);
	if (is_sound(h))
		rest(h, "after a scan");
	if (is_sound(h) && h->sim.messages != messages && !h->sim.clashes)
		oracle_fault(&h->sim.oracle, "no quiet: %llu messages at rest",
		    (unsigned long long)(h->sim.messages - messages));
	if (is_sound(h) && strcmp(before, tree(h, 0)) != 0)
		tell_difference(h, "a scan changed", before, tree(h, 0));
	for (uint32_t i = 0; i < history_honest(h) && is_sound(h); i++)
		sim_stop(&h->sim, i, false);
	if (!is_sound(h))
		return;
	faults_heal(h);
	rest(h, "after a restart");
	if (is_sound(h) && strcmp(before, tree(h, 0)) != 0)
		tell_difference(h, "a restart changed", before, tree(h, 0));
	if (is_sound(h))
		check_well(h);
}

/* The acts */

static void
time_passes(struct history *h)
{
	const uint32_t what = pick(h, 10);
	const uint64_t before = h->sim.now.mono_ns;
	uint32_t steps = pick(h, h->set.pause + 1);

	if (h->sim.brake > 0 && choice_weather(&h->sim.choice, 16) == 15)
		confirm_some(h);
	if (what == 9)
		sim_run(&h->sim, (1 + pick(h, 60)) * CLOCK_S);
	else if (what >= 6)
		sim_run(&h->sim, pick(h, 400) * CLOCK_MS);
	else if (what >= 2)
		while (steps-- > 0 && sim_step(&h->sim))
			people_write_on(h);
	if (h->sim.now.mono_ns - before < FLUSH_NS)
		return;
	for (uint32_t i = 0; i < history_honest(h); i++)
		vdisk_flush(h->sim.node[i].disk);
}

static void
heal_for_turn(struct history *h)
{
	rest_as_left(h);
	h->writer = pick(h, history_honest(h));
	trouble_network(h);
	faults_admit(h);
	trouble_disks(h);
}

static void
live(struct history *h)
{
	while (is_sound(h) && choice_act(&h->sim.choice)) {
		if (h->set.writers == WRITERS_TURN && pick(h, 8) == 7) {
			heal_for_turn(h);
			continue;
		}
		if (pick(h, h->set.fault_rate) == h->set.fault_rate - 1) {
			faults_act(h);
		} else if (h->set.liar && pick(h, 3) == 2) {
			node_liar_act(h, h->sim.nodes - 1);
		} else {
			people_act(h, h->set.writers == WRITERS_ALL
					  ? pick(h, history_honest(h))
					  : h->writer);
			faults_strike(h);
		}
		if (is_sound(h))
			time_passes(h);
	}
}

static void
check_end(struct history *h)
{
	struct vdisk *disk[SIM_NODES];

	for (uint32_t i = 0; i < history_honest(h); i++)
		disk[i] = h->sim.node[i].disk;
	/* A failed flush is final: what was just put is then as if it had not
	 * been, and who deletes it then deletes what was there before. */
	oracle_check_end(&h->sim.oracle, disk, history_honest(h),
	    !h->amnesia && !h->set.liar && !h->set.syncthing && !h->set.hides &&
		!h->set.modes && !h->sim.clashes && h->sim.trouble.sync_io == 0,
	    is_exact(h));
}

static void
tell_end(struct history *h)
{
	for (uint32_t i = 0; i < history_honest(h); i++)
		printf("--- %s\n%s", h->sim.node[i].name,
		    vdisk_dump(h->sim.node[i].disk, &h->sim.arena));
	fflush(stdout);
}

void
history_run(const uint8_t *byte, size_t len, bool story, bool debug,
    struct history_result *out)
{
	struct history h;

	memset(&h, 0, sizeof(h));
	sim_init(&h.sim, byte, len);
	h.sim.story = story;
	h.sim.debug = debug;
	roll(&h);
	if (story)
		tell_settings(&h);
	make_world(&h);
	live(&h);
	if (is_sound(&h))
		rest_as_left(&h);
	if (is_sound(&h) && h.sim.debts)
		pay_debts(&h);
	if (is_sound(&h))
		check_end(&h);
	/* Of two names that clash the one or the other may be held back. */
	if (is_sound(&h) && !h.sim.clashes)
		stay_at_rest(&h);
	if (story)
		tell_end(&h);
	for (uint32_t i = 0; i < h.sim.nodes; i++)
		sim_mix(&h.sim, hash_u64(slice_str(vdisk_dump(
				    h.sim.node[i].disk, &h.sim.arena))));
	out->ok = is_sound(&h);
	memcpy(out->why, h.sim.oracle.why, sizeof(out->why));
	out->hash = h.sim.hash;
	out->events = h.sim.events;
	memcpy(out->count, h.sim.count, sizeof(out->count));
	faults_fini(&h);
	sim_fini(&h.sim);
}
